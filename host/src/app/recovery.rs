//! What becomes of the runs that the host before this one left without an end.
//!
//! | had it begun? | what becomes of it |
//! |---|---|
//! | no | it runs now, if it is not too late and its job is still defined; or is skipped |
//! | between two attempts | the next one comes now; if it may not, it is cancelled |
//! | yes, or nobody knows | it is lost; or runs again where `on_lost` says so, if it may |
//!
//! A run may go on if its job is still defined, and neither paused nor refused for a reason that
//! holds for any other run. Its deadline is counted from its first start, whichever host that was.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::dispatcher::{Admission, CancelReason, Dispatcher, Executor};
use crate::event::{Event, Events};
use crate::firing::{self, Planner};
use crate::job::{Job, JobId, OnLost};
use crate::record::RunRecord;
use crate::run::{Attempt, Cause, Execution, FinishedRun, Firing, Outcome, Retry, Run, SkipReason};
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
            match defined {
                None => dispatcher.skip_run(&run, SkipReason::Removed),
                // Whether it is too late is decided with all else that is due.
                Some(job) => planner.wait(run, due_at(record, &job), now),
            }
            return Ok(());
        }
        // The next attempt is on record before it begins: if it is not, it has not begun. What a
        // backup says is not known to be so.
        let ended = record.attempt().filter(|attempt| attempt.end.is_some());
        if let Some(ended) = ended.filter(|_| self.begun == Begun::Yes) {
            let number = ended.number + 1;
            let may_go_on = match defined {
                Some(_) => admit(&run, dispatcher).map_err(|reason| format!("cancelled: {reason}")),
                None => Err(CancelReason::Removed.to_string()),
            };
            return match may_go_on {
                Ok(admission) => {
                    let since = record.started_at().unwrap_or(ended.started_at);
                    go_on(run, number, since, admission, dispatcher);
                    Ok(())
                }
                Err(why) => {
                    let most = run.max_attempts.max(number);
                    let why = format!("{why}, before attempt {number} of {most}");
                    let end = self.end(run, now, number, now, Outcome::Cancelled, &why);
                    finish(end, dispatcher, events, now).await
                }
            };
        }
        let again = defined.is_some_and(|job| job.policies.on_lost == OnLost::Rerun);
        let may_go_on = again.then(|| admit(&run, dispatcher));
        match may_go_on {
            Some(Ok(admission)) => {
                let lost = self.lost(run, now, None);
                store.attempted(lost.clone()).await?;
                let Attempt {
                    run,
                    number,
                    run_started_at,
                    ..
                } = lost.attempt.clone();
                go_on(run, number + 1, run_started_at, admission, dispatcher);
                Ok(())
            }
            Some(Err(reason)) => {
                let lost = self.lost(run, now, Some(reason));
                finish(lost, dispatcher, events, now).await
            }
            None => finish(self.lost(run, now, None), dispatcher, events, now).await,
        }
    }

    /// The end of the attempt of which nobody knows what became, and why it is not run again
    /// where it was to be.
    fn lost(
        &self,
        run: Arc<Run>,
        now: Timestamp,
        not_again: Option<SkipReason>,
    ) -> Arc<FinishedRun> {
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
        let not_again = not_again.map(|reason| format!("; not run again: {reason}"));
        let why = format!("{why}{}", not_again.unwrap_or_default());
        self.end(run, now, number, started_at, Outcome::Lost, &why)
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
            events.emit(now, Event::RunFinished { run: run.clone() });
            dispatcher.tell_end(&run);
            Ok(())
        }
    }
}

/// When a recorded run is due.
fn due_at(record: &RunRecord, job: &Job) -> Timestamp {
    match record.cause {
        Cause::Schedule | Cause::CatchUp => job.trigger.due(record.scheduled_at),
        Cause::Manual | Cause::Api | Cause::Upstream => record.scheduled_at,
    }
}

/// Admits a run that had begun, as any other.
fn admit<E: Executor>(run: &Run, dispatcher: &Dispatcher<E>) -> Result<Admission, SkipReason> {
    let firing = Firing {
        job: run.job.clone(),
        cause: run.cause,
        scheduled_at: run.scheduled_at,
    };
    firing::admit(&firing, dispatcher)
}

/// Has a run attempted again that a host before this one began at `since`.
fn go_on<E: Executor>(
    run: Arc<Run>,
    number: u32,
    since: Timestamp,
    admission: Admission,
    dispatcher: &Dispatcher<E>,
) {
    let run = Run {
        max_attempts: run.max_attempts.max(number),
        ..Run::clone(&run)
    };
    dispatcher.dispatch_from(Arc::new(run), number, since, admission);
}

/// A job of which nothing is known but its id.
fn unknown(id: &JobId) -> Arc<Job> {
    Arc::new(Job::by_hand(id.clone(), ""))
}

#[cfg(test)]
mod tests;
