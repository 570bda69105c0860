//! The way of a firing: due, admitted, recorded, dispatched.
//!
//! ```text
//! Scheduler::due ──▶ Dispatcher::admit ──▶ Store::fire ──▶ Dispatcher::dispatch
//!      │ missed           │ refused            │ failed
//!      └──────────────────┴────────────────────┴──────▶ run.skipped, with the reason
//! ```

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::dispatcher::{Admission, Dispatcher, Executor};
use crate::run::{Firing, SkipReason};
use crate::scheduler::{Due, Scheduler};
use crate::store::FireResult;

/// How many firings are recorded in one group: enough that a commit is cheap for each, and few
/// enough that the first of a great many do not wait for the last to be recorded.
const GROUP: usize = 2_048;

/// What has become of what was due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fired {
    /// Firings that are recorded, and run or wait for their turn.
    pub dispatched: usize,
    /// Skips that were told of.
    pub skipped: usize,
    /// Firings of instants that had a run already.
    pub duplicates: usize,
}

/// Fires what is due by `now`. Returns when all of it is recorded and handed to the dispatcher,
/// which may be long before it has run.
pub async fn fire_due<E: Executor>(
    scheduler: &mut Scheduler,
    dispatcher: &Dispatcher<E>,
    now: Timestamp,
) -> Fired {
    if let Some(by) = scheduler.set_back_by(now) {
        tracing::warn!(
            seconds = by.num_seconds(),
            "the clock was set back; no instant runs twice, and frequent jobs go on at once"
        );
    }
    fire(scheduler.due(now), dispatcher, now).await
}

/// Fires what a scheduler said is [due](Scheduler::due). For callers who share their scheduler:
/// it need not be locked while the runs are recorded.
pub async fn fire<E: Executor>(due: Vec<Due>, dispatcher: &Dispatcher<E>, now: Timestamp) -> Fired {
    let mut fired = Fired::default();
    let mut due = due.into_iter();
    while due.len() > 0 {
        let mut firings = Vec::new();
        let mut admissions = Vec::new();
        for due in due.by_ref().take(GROUP) {
            match due {
                Due::Fire(firing) => match dispatcher.admit(&firing.job) {
                    Ok(admission) => {
                        firings.push(firing);
                        admissions.push(admission);
                    }
                    Err(reason) => {
                        fired.skipped += 1;
                        dispatcher.skip(firing.job, firing.scheduled_at, reason);
                    }
                },
                Due::Skip {
                    job,
                    scheduled_at,
                    reason,
                } => {
                    fired.skipped += 1;
                    dispatcher.skip(job, scheduled_at, reason);
                }
            }
        }
        if !firings.is_empty() {
            record(firings, admissions, dispatcher, now, &mut fired).await;
        }
    }
    fired
}

/// Records one group and dispatches it.
async fn record<E: Executor>(
    firings: Vec<Firing>,
    admissions: Vec<Admission>,
    dispatcher: &Dispatcher<E>,
    now: Timestamp,
    fired: &mut Fired,
) {
    // The store takes the firings; if it fails, these say what was lost.
    let due: Vec<_> = firings
        .iter()
        .map(|firing| (Arc::clone(&firing.job), firing.scheduled_at))
        .collect();
    match dispatcher.store().fire(firings, now).await {
        Ok(results) => {
            let mut runs = Vec::with_capacity(results.len());
            for (result, admission) in results.into_iter().zip(admissions) {
                match result {
                    FireResult::Recorded(run) => runs.push((run, admission)),
                    FireResult::Duplicate(firing) => {
                        fired.duplicates += 1;
                        tracing::debug!(
                            job = %firing.job.id,
                            scheduled_at = %firing.scheduled_at,
                            "the instant has a run already"
                        );
                    }
                }
            }
            fired.dispatched += runs.len();
            dispatcher.dispatch(runs);
        }
        Err(error) => {
            tracing::error!(runs = due.len(), %error, "runs that are due are not started");
            drop(admissions);
            let why = error.to_string();
            for (job, scheduled_at) in due {
                fired.skipped += 1;
                dispatcher.skip(job, scheduled_at, SkipReason::NotRecorded(why.clone()));
            }
        }
    }
}
