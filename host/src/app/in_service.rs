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
                days_off: left.days_off,
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
        days_off: None,
        enabled: job.enabled,
    };
    Some((job.id.clone(), schedule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::parse_instant;
    use crate::record::{Retention, RunQuery};
    use crate::run::{Cause, Outcome};
    use crate::scheduler::Due;
    use crate::store::conformance::{execution, finished, firing, instant, job, record};
    use crate::store::{FireResult, SqliteStore, Store};

    #[tokio::test]
    async fn a_clock_that_says_1970_silences_no_job_and_loses_no_record() {
        let dir = tempfile::tempdir().unwrap();
        let minutely = job("a");
        let then = parse_instant("2026-11-23T10:00:00Z").unwrap();
        let store = SqliteStore::open(dir.path(), then).unwrap();
        let mut scheduler = Scheduler::new();
        let nothing = &mut HashMap::new();
        store.enter(
            enter(&mut scheduler, nothing, false, &minutely, then)
                .into_iter()
                .collect(),
        );
        let due = firing(&minutely, Cause::Schedule, then.timestamp() + 60);
        let run = record(&store, due).await;
        let end = finished(&run, then.timestamp() + 61, execution(Outcome::Succeeded));
        store.finished(end, None).await.unwrap();
        drop(store);

        // The battery is empty, and nobody has told the machine the time yet.
        let store = SqliteStore::open(dir.path(), instant(5)).unwrap();
        let mut left = store.recover().await.unwrap().schedules;
        let mut scheduler = Scheduler::new();
        enter(&mut scheduler, &mut left, true, &minutely, instant(5));
        assert!(scheduler.due(instant(5)).is_empty());
        let mut due = scheduler.due(instant(60));
        let Some(Due::Fire(firing)) = due.pop() else {
            panic!("it fires every minute");
        };
        assert_eq!((firing.scheduled_at, due.len()), (instant(60), 0));
        let fired = store.fire(vec![firing], instant(60)).await.unwrap();
        assert!(matches!(&*fired, [FireResult::Recorded(_)]));
        assert_eq!(store.prune(Retention::default(), instant(61)).await, Ok(0));
        let runs = store.runs(RunQuery::newest(9)).await.unwrap();
        assert_eq!(runs.len(), 2);

        // It is told, and what was due while the clock was wrong was never due.
        let now = then + chrono::TimeDelta::hours(1);
        let due = scheduler.due(now);
        let fires = due.iter().filter(|due| matches!(due, Due::Fire(_)));
        assert_eq!(fires.count(), 1, "{due:?}");
        assert_eq!(store.prune(Retention::default(), now).await, Ok(0));
        assert!(store.run(run.id).await.unwrap().is_some());
    }
}
