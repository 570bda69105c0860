//! What becomes of the runs that the host before this one left without an end.
//!
//! | had it begun? | what becomes of it |
//! |---|---|
//! | no | it runs now, if it is not too late and its job is still defined; or is skipped |
//! | yes, or nobody knows | it is lost |

use std::sync::Arc;
use std::time::Duration;

use super::data::GRACE;
use crate::clock::Timestamp;
use crate::dispatcher::{Dispatcher, Executor};
use crate::event::{Event, Events};
use crate::firing::Planner;
use crate::job::{Job, JobId};
use crate::run::{Attempt, Execution, FinishedRun, Outcome, Retry, Run, SkipReason};
use crate::scheduler::Scheduler;
use crate::store::{Begun, Store, StoreError, Unfinished};

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
        if self.begun != Begun::No {
            return lose(self, run, store, events, now).await;
        }
        let late = now - record.scheduled_at;
        if defined.is_none() {
            dispatcher.skip_recorded(&run, SkipReason::Removed);
        } else if late > GRACE {
            dispatcher.skip_recorded(&run, SkipReason::Missed(Some(1)));
        } else {
            planner.wait(run, record.scheduled_at);
        }
        Ok(())
    }
}

/// A job of which nothing is known but its id.
fn unknown(id: &JobId) -> Arc<Job> {
    Arc::new(Job::by_hand(id.clone(), ""))
}

/// Records and tells that nobody knows what became of a run.
async fn lose(
    lost: Unfinished,
    run: Arc<Run>,
    store: &Arc<dyn Store>,
    events: &Events,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (number, started_at) = match lost.record.attempt() {
        Some(attempt) => (attempt.number, attempt.started_at),
        None => (1, lost.record.scheduled_at.max(lost.record.recorded_at)),
    };
    let why = match lost.begun {
        Begun::Maybe => "the machine went down before its end was recorded; it may have run",
        _ => "the host ended while it ran; what it had done by then is not known",
    };
    let ended = Arc::new(FinishedRun {
        attempt: Attempt {
            run,
            number,
            started_at,
        },
        finished_at: now,
        execution: Execution {
            elapsed: Duration::ZERO,
            ..Execution::without_guest(Outcome::Lost, why, Retry::Never)
        },
    });
    match store.finished(ended.clone(), None).await {
        Ok(()) => {}
        Err(crate::store::FinishError::Store(error)) => return Err(error),
        Err(crate::store::FinishError::State(_)) => {} // it changes no state
    }
    events.emit(now, Event::RunFinished { run: ended });
    Ok(())
}
