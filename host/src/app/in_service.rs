//! How jobs come into service and leave it, and what the store is told of it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::dispatcher::{Dispatcher, Executor};
use crate::firing::Planner;
use crate::job::{Job, JobId};
use crate::scheduler::{Before, Change, Scheduler};
use crate::store::Schedule;

/// A job comes into service: as new, as one that is to run because the host starts, or as the host
/// before this one left it. Gives its schedule if the store does not know it.
pub(super) fn enter(
    scheduler: &mut Scheduler,
    left: &mut HashMap<JobId, Schedule>,
    at_start: bool,
    job: &Arc<Job>,
    now: Timestamp,
) -> Option<(JobId, Schedule)> {
    match left.remove(&job.id) {
        Some(left) if left.trigger == job.trigger.fingerprint() => {
            let before = Before {
                since: left.since,
                dealt_with: left.dealt_with,
                enabled: left.enabled,
            };
            scheduler.resume(job.clone(), before, now);
            if left.enabled && job.enabled {
                return None;
            }
        }
        _ if at_start => {
            scheduler.start(job.clone(), now);
        }
        _ => {
            scheduler.upsert(job.clone(), now);
        }
    }
    schedule_of(scheduler, job)
}

/// A job in service has a new definition. Gives its schedule if the store does not know it.
pub(super) fn update<E: Executor>(
    scheduler: &mut Scheduler,
    planner: &mut Planner,
    dispatcher: &Dispatcher<E>,
    job: &Arc<Job>,
    now: Timestamp,
) -> Option<(JobId, Schedule)> {
    if !scheduler.keeps(job) {
        planner.give_up(scheduler, dispatcher, &job.id, now);
    }
    match scheduler.upsert(job.clone(), now) {
        Change::Kept => None,
        Change::Added | Change::Rescheduled => schedule_of(scheduler, job),
    }
}

/// A job leaves service: nothing of it falls due any more.
pub(super) fn leave<E: Executor>(
    scheduler: &mut Scheduler,
    planner: &mut Planner,
    dispatcher: &Dispatcher<E>,
    job: &JobId,
    now: Timestamp,
) {
    planner.give_up(scheduler, dispatcher, job, now);
    scheduler.remove(job);
}

/// How far the schedule of a job has come, for the store to remember.
fn schedule_of(scheduler: &Scheduler, job: &Job) -> Option<(JobId, Schedule)> {
    let (since, dealt_with) = scheduler.progress_of(&job.id)?;
    let schedule = Schedule {
        trigger: job.trigger.fingerprint(),
        since,
        dealt_with: Some(dealt_with),
        enabled: job.enabled,
    };
    Some((job.id.clone(), schedule))
}
