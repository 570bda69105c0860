//! What becomes of the runs that the host before this one left without an end.
//!
//! | had it begun? | what becomes of it |
//! |---|---|
//! | no | it runs now, if it is not too late and its job is still defined; or is skipped |
//! | between two attempts | the next one comes now |
//! | yes, or nobody knows | it is lost, or runs again where `on_lost` says so |

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::dispatcher::{Dispatcher, Executor};
use crate::event::{Event, Events};
use crate::firing::Planner;
use crate::job::{Job, JobId, OnLost};
use crate::run::{Attempt, Execution, FinishedRun, Outcome, Retry, Run, SkipReason};
use crate::scheduler::Scheduler;
use crate::store::{Begun, FinishError, StoreError, Unfinished};

/// Deals with every run that has no end: those that may start wait in the planner then.
pub(super) async fn settle<E: Executor>(
    unfinished: Vec<Unfinished>,
    scheduler: &Scheduler,
    planner: &mut Planner,
    dispatcher: &Dispatcher<E>,
    events: &Events,
    now: Timestamp,
) {
    for one in unfinished {
        let (id, job) = (one.record.id, one.record.job.clone());
        let defined = scheduler.job(&job).filter(|job| job.enabled).cloned();
        let settled = one.settle(defined, planner, dispatcher, events, now).await;
        if let Err(error) = settled {
            tracing::error!(%job, run = %id, %error, "a run of the host before this one keeps without an end");
        }
    }
}

impl Unfinished {
    async fn settle<E: Executor>(
        self,
        defined: Option<Arc<Job>>,
        planner: &mut Planner,
        dispatcher: &Dispatcher<E>,
        events: &Events,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let record = &self.record;
        let store = dispatcher.store();
        let job = defined.clone().unwrap_or_else(|| unknown(&record.job));
        let Some(run) = store.adopt(record.id, job).await? else {
            return Ok(()); // it has an end after all
        };
        if self.begun == Begun::No {
            let late = (now - record.scheduled_at).to_std().unwrap_or_default();
            match defined.map(|job| job.policies.misfire_grace_time) {
                None => dispatcher.skip_run(&run, SkipReason::Removed),
                Some(Some(grace)) if late > grace => {
                    dispatcher.skip_run(&run, SkipReason::Misfired(Some(1)));
                }
                Some(_) => planner.wait(run, record.scheduled_at),
            }
            return Ok(());
        }
        let again = defined.filter(|job| job.policies.on_lost == OnLost::Rerun);
        match record.attempt() {
            // It waited for another attempt, which comes a little early then.
            Some(attempt) if attempt.end.is_some() && attempt.number < run.max_attempts => {
                go_on(run, attempt.number + 1, dispatcher);
                Ok(())
            }
            _ if again.is_some() => {
                let lost = self.lost(run, now);
                store.attempted(lost.clone()).await?;
                let attempt = &lost.attempt;
                let number = attempt.number + 1;
                let run = Run {
                    max_attempts: attempt.run.max_attempts.max(number),
                    ..Run::clone(&attempt.run)
                };
                go_on(Arc::new(run), number, dispatcher);
                Ok(())
            }
            _ => {
                let lost = self.lost(run, now);
                match store.finished(lost.clone(), None).await {
                    Err(FinishError::Store(error)) => Err(error),
                    // It changes no state.
                    Ok(()) | Err(FinishError::State(_)) => {
                        events.emit(now, Event::RunFinished { run: lost });
                        Ok(())
                    }
                }
            }
        }
    }

    /// The end of the attempt of which nobody knows what became.
    fn lost(&self, run: Arc<Run>, now: Timestamp) -> Arc<FinishedRun> {
        let record = &self.record;
        let began = record.scheduled_at.max(record.recorded_at);
        let (number, started_at) = match record.attempt() {
            Some(attempt) if attempt.end.is_none() => (attempt.number, attempt.started_at),
            Some(attempt) => (attempt.number + 1, began),
            None => (1, began),
        };
        let why = match self.begun {
            Begun::Maybe => {
                "its end is not recorded: the machine went down, or a backup was restored; it may have run"
            }
            _ => "the host ended while it ran; what it had done by then is not known",
        };
        Arc::new(FinishedRun {
            attempt: Attempt {
                run,
                number,
                started_at,
                run_started_at: record.started_at().unwrap_or(started_at),
            },
            finished_at: now,
            execution: Execution::without_guest(Outcome::Lost, why, Retry::Never),
        })
    }
}

/// Has a run attempted again that the host before this one had begun.
fn go_on<E: Executor>(run: Arc<Run>, number: u32, dispatcher: &Dispatcher<E>) {
    match dispatcher.admit(&run.job) {
        Ok(admission) => dispatcher.dispatch_from(run, number, admission),
        Err(reason) => dispatcher.skip_run(&run, reason),
    }
}

/// A job of which nothing is known but its id.
fn unknown(id: &JobId) -> Arc<Job> {
    Arc::new(Job::by_hand(id.clone(), ""))
}
