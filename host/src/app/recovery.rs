//! What becomes of the runs that the host before this one left without an end.
//!
//! | had it begun? | what becomes of it |
//! |---|---|
//! | no | it runs now, if it is not too late and its job is still defined; or is skipped |
//! | between two attempts | the next one comes now, if its job is still defined; or it is cancelled |
//! | yes, or nobody knows | it is lost, or runs again where `on_lost` says so |

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::dispatcher::{CancelReason, Dispatcher, Executor};
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
        let mut job = defined.clone().unwrap_or_else(|| unknown(&record.job));
        if let Some(params) = &record.params {
            job = Arc::new(job.with_params(params));
        }
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
        let waited = record
            .attempt()
            .filter(|attempt| attempt.end.is_some() && attempt.number < run.max_attempts);
        let is_defined = defined.is_some();
        let again = defined.filter(|job| job.policies.on_lost == OnLost::Rerun);
        match waited {
            // It waited for another attempt, which comes a little early then.
            Some(attempt) if is_defined => {
                go_on(run, attempt.number + 1, dispatcher);
                Ok(())
            }
            Some(attempt) => {
                let (number, most) = (attempt.number + 1, run.max_attempts);
                let why = format!(
                    "{}, before attempt {number} of {most}",
                    CancelReason::Removed
                );
                let end = self.end(run, now, number, now, Outcome::Cancelled, &why);
                finish(end, dispatcher, events, now).await
            }
            None if again.is_some() => {
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
            None => finish(self.lost(run, now), dispatcher, events, now).await,
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
        self.end(run, now, number, started_at, Outcome::Lost, why)
    }

    /// An end that no executor tells of.
    fn end(
        &self,
        run: Arc<Run>,
        now: Timestamp,
        number: u32,
        started_at: Timestamp,
        outcome: Outcome,
        why: &str,
    ) -> Arc<FinishedRun> {
        Arc::new(FinishedRun {
            attempt: Attempt {
                run,
                number,
                started_at,
                run_started_at: self.record.started_at().unwrap_or(started_at),
            },
            finished_at: now,
            execution: Execution::without_guest(outcome, why, Retry::Never),
        })
    }
}

/// Records an end, then tells of it.
async fn finish<E: Executor>(
    run: Arc<FinishedRun>,
    dispatcher: &Dispatcher<E>,
    events: &Events,
    now: Timestamp,
) -> Result<(), StoreError> {
    match dispatcher.store().finished(run.clone(), None).await {
        Err(FinishError::Store(error)) => Err(error),
        // It changes no state.
        Ok(()) | Err(FinishError::State(_)) => {
            events.emit(now, Event::RunFinished { run });
            Ok(())
        }
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
