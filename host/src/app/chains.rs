//! Ends of runs after which another job was to come, when the host ended in between.
//!
//! The newest end that a follower's runs are named after tells how far it has followed; what ended
//! after that, and is what the follower waits for, is made up for.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::clock::Timestamp;
use crate::job::{Job, JobId};
use crate::record::{RunQuery, RunRecord, Status};
use crate::run::{Cause, Outcome, SkipReason};
use crate::scheduler::{Due, Scheduler};
use crate::store::{Store, StoreError};

/// How many records of a job are looked at: few runs end just before their host does.
const LOOKED_AT: usize = 100;

/// What is due because of runs that ended before the host started, in the order of their ends.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn unfollowed(
    scheduler: &mut Scheduler,
    store: &dyn Store,
    now: Timestamp,
) -> Result<Vec<Due>, StoreError> {
    let followers = scheduler.iter().map(|(job, _)| job);
    let followers: Vec<Arc<Job>> = followers
        .filter(|job| job.enabled && !job.trigger.upstreams().is_empty())
        .cloned()
        .collect();
    let mut due = Vec::new();
    for follower in followers {
        for at in ends(&follower, scheduler, store).await? {
            due.extend(scheduler.follow(&follower.id, at).map(|firing| {
                let late = now - at;
                let grace = follower.policies.misfire_grace_time;
                let grace = grace.and_then(|grace| TimeDelta::from_std(grace).ok());
                if grace.is_some_and(|grace| late > grace) {
                    return Due::Skip {
                        firing,
                        through: at,
                        reason: SkipReason::Misfired(Some(1)),
                    };
                }
                Due::Fire(firing)
            }));
        }
    }
    due.sort_by_key(|due| due.firing().scheduled_at);
    Ok(due)
}

/// When runs ended that a job waits for and has not followed, the first one first.
async fn ends(
    follower: &Job,
    scheduler: &Scheduler,
    store: &dyn Store,
) -> Result<Vec<Timestamp>, StoreError> {
    let Some((_, base)) = scheduler.progress_of(&follower.id) else {
        return Ok(Vec::new());
    };
    let own = newest(store, &follower.id).await?;
    let own = own.iter().filter(|record| record.cause == Cause::Upstream);
    let mut names: Vec<Timestamp> = own.map(|record| record.scheduled_at).collect();
    // Runs of one moment, or of a clock that was set back, are in no order by their ids.
    names.sort_unstable_by(|a, b| b.cmp(a));
    let followed = Followed::by(names.into_iter());
    let mut ends = Vec::new();
    for after in follower.trigger.upstreams() {
        for record in newest(store, &JobId::from(&*after.job)).await? {
            let Status::Finished(outcome) = record.status else {
                continue;
            };
            if let Some(at) = record.finished_at()
                && at > base
                && followed.is_none_or(|followed| at >= followed.first)
                && after.on.includes(outcome == Outcome::Succeeded)
            {
                ends.push((at, record.id));
            }
        }
    }
    // One that is waited for twice is followed once.
    ends.sort_unstable();
    ends.dedup();
    let mut ends: Vec<Timestamp> = ends.into_iter().map(|(at, _)| at).collect();
    if let Some(followed) = followed {
        let together = ends.partition_point(|at| *at <= followed.last);
        ends.drain(..followed.count.min(together));
    }
    Ok(ends)
}

/// The last ends that were followed: one, or several that came at once and were given names one
/// after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Followed {
    first: Timestamp,
    last: Timestamp,
    count: usize,
}

impl Followed {
    /// By the names of the runs that followed, the newest first.
    fn by(mut names: impl Iterator<Item = Timestamp>) -> Option<Followed> {
        let last = names.next()?;
        let mut followed = Followed {
            first: last,
            last,
            count: 1,
        };
        for name in names {
            if name != followed.first - TimeDelta::microseconds(1) {
                break;
            }
            followed.first = name;
            followed.count += 1;
        }
        Some(followed)
    }
}

async fn newest(store: &dyn Store, job: &JobId) -> Result<Vec<RunRecord>, StoreError> {
    store.runs(RunQuery::newest(LOOKED_AT).of(job)).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::job::manifest::Options;
    use crate::job::{Manifest, SourceText};
    use crate::run::Firing;
    use crate::scheduler::Before;
    use crate::store::MemoryStore;
    use crate::store::conformance::{execution, finished, firing, instant, record};

    const JOBS: &str = r#"[
        { "id": "up", "component": "a.wasm", "trigger": "@every 10s" },
        { "id": "well", "component": "a.wasm", "trigger": { "after": "up" } },
        { "id": "badly", "component": "a.wasm", "trigger": { "after": "up", "on": "failure" },
          "misfire_grace_time": "30s" },
        { "id": "off", "component": "a.wasm", "trigger": { "after": "up" }, "enabled": false }
    ]"#;

    fn jobs() -> Vec<Arc<Job>> {
        let source = SourceText::new("jobs.json", JOBS.to_owned());
        let manifest = Manifest::parse(Arc::new(source), &Options::default()).unwrap();
        manifest.jobs().cloned().collect()
    }

    fn told(due: &[Due]) -> Vec<(String, i64, bool)> {
        let told = |due: &Due| {
            let firing = due.firing();
            assert_eq!(firing.cause, Cause::Upstream);
            let at = firing.scheduled_at.timestamp();
            (firing.job.id.to_string(), at, matches!(due, Due::Fire(_)))
        };
        due.iter().map(told).collect()
    }

    #[tokio::test]
    async fn ends_that_nobody_followed_are_made_up_for_once() {
        let store = MemoryStore::default();
        let jobs = jobs();
        let outcomes = [
            (10, Outcome::Succeeded),
            (20, Outcome::Failed),
            (30, Outcome::Succeeded),
            (40, Outcome::Succeeded),
        ];
        for (second, outcome) in outcomes {
            let run = record(&store, firing(&jobs[0], Cause::Schedule, second)).await;
            let end = finished(&run, second + 1, execution(outcome));
            store.finished(end, None).await.unwrap();
        }
        // The end of the first was followed.
        let follow = Firing {
            cause: Cause::Upstream,
            ..firing(&jobs[1], Cause::Upstream, 11)
        };
        record(&store, follow).await;

        let start = |since: i64| {
            let mut scheduler = Scheduler::new();
            for job in &jobs {
                let before = Before {
                    since: instant(since),
                    dealt_with: None,
                    days_off: None,
                    enabled: true,
                };
                scheduler.resume(job.clone(), before, instant(60));
            }
            scheduler
        };
        let mut scheduler = start(5);
        let due = unfollowed(&mut scheduler, &store, instant(60))
            .await
            .unwrap();
        let yes = |job: &str, at| (job.to_owned(), at, true);
        let late = ("badly".to_owned(), 21, false);
        assert_eq!(told(&due), [late, yes("well", 31), yes("well", 41)]);
        for due in due {
            record(&store, due.firing().clone()).await;
        }
        let again = unfollowed(&mut start(5), &store, instant(61))
            .await
            .unwrap();
        assert_eq!(told(&again), []);
        // Of ends that came at once, those are made up for that were not followed.
        let store = MemoryStore::default();
        for second in [10, 11, 12] {
            let run = record(&store, firing(&jobs[0], Cause::Schedule, second)).await;
            let end = finished(&run, 20, execution(Outcome::Succeeded));
            store.finished(end, None).await.unwrap();
        }
        for (done, left) in [(0, 3), (1, 2), (2, 1), (3, 0)] {
            let due = unfollowed(&mut start(5), &store, instant(60)).await;
            let well = |due: &&Due| due.firing().job.id == "well".into();
            assert_eq!(due.unwrap().iter().filter(well).count(), left, "{done}");
            let follow = Firing {
                scheduled_at: instant(20) + TimeDelta::microseconds(done),
                ..firing(&jobs[1], Cause::Upstream, 20)
            };
            record(&store, follow).await;
        }
        // Both ends are followed, whichever of the two runs has the newer id.
        let store = MemoryStore::default();
        for second in [10, 20] {
            let run = record(&store, firing(&jobs[0], Cause::Schedule, second)).await;
            let end = finished(&run, second + 1, execution(Outcome::Succeeded));
            store.finished(end, None).await.unwrap();
        }
        let followed = [21, 11].map(|second| firing(&jobs[1], Cause::Upstream, second));
        store.fire(followed.into(), instant(30)).await.unwrap();
        let due = unfollowed(&mut start(5), &store, instant(60)).await;
        assert_eq!(told(&due.unwrap()), []);
        // What ended before the follower was in service is nothing to it.
        let store = MemoryStore::default();
        let run = record(&store, firing(&jobs[0], Cause::Schedule, 10)).await;
        let end = finished(&run, 11, execution(Outcome::Succeeded));
        store.finished(end, None).await.unwrap();
        let none = unfollowed(&mut start(12), &store, instant(60))
            .await
            .unwrap();
        assert_eq!(told(&none), []);
        let one = unfollowed(&mut start(9), &store, instant(60))
            .await
            .unwrap();
        assert_eq!(told(&one), [yes("well", 11)]);
    }
}
