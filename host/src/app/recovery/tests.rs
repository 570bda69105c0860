//! Each row of the table, on the file that a host leaves.

use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::task::yield_now;

use super::*;
use crate::clock::{Clock as _, ManualClock};
use crate::dispatcher::{Ends, Parts, Session};
use crate::event::Subscription;
use crate::job::{Policies, RetryPolicy, Scope};
use crate::store::conformance::{execution, finished, firing, instant, job, record};
use crate::store::{SqliteStore, Store as _};
use crate::trigger::{Bounds, Trigger};

/// Succeeds, and keeps the attempts that it was given.
#[derive(Default)]
struct Fake(Arc<Mutex<Vec<Attempt>>>);

impl Executor for Fake {
    async fn execute(&self, attempt: Attempt, _: Session) -> Execution {
        self.0.lock().push(attempt);
        execution(Outcome::Succeeded)
    }
}

/// What is due at 1 000 of a job with these policies, of three attempts.
fn defined(change: impl FnOnce(&mut Policies)) -> Arc<Job> {
    let mut policies = Policies {
        retry: RetryPolicy {
            attempts: 3,
            ..RetryPolicy::default()
        },
        ..Policies::default()
    };
    change(&mut policies);
    Arc::new(Job {
        policies: Arc::new(policies),
        ..(*job("a")).clone()
    })
}

fn plain() -> Arc<Job> {
    defined(|_| {})
}

fn rerun() -> Arc<Job> {
    defined(|policies| policies.on_lost = OnLost::Rerun)
}

/// A data directory, and the host on it.
struct Left {
    dir: TempDir,
    store: SqliteStore,
}

impl Left {
    fn new() -> Left {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path(), instant(1_000)).unwrap();
        Left { dir, store }
    }

    /// A run that is recorded for 1 000.
    async fn recorded(&self, job: &Arc<Job>, cause: Cause) -> Arc<Run> {
        record(&self.store, firing(job, cause, 1_000)).await
    }

    /// An attempt of it begins.
    async fn begin(&self, run: &Arc<Run>, number: u32, second: i64) {
        let attempt = Attempt {
            run: run.clone(),
            number,
            started_at: instant(second),
            run_started_at: instant(1_000),
        };
        match number {
            1 => self.store.started(&attempt),
            _ => self.store.started_again(&attempt).await.unwrap(),
        }
    }

    /// It fails, and another one is to come.
    async fn fail(&self, run: &Arc<Run>, number: u32, second: i64) {
        let mut end = Arc::into_inner(finished(run, second, execution(Outcome::Failed))).unwrap();
        end.attempt.number = number;
        end.attempt.started_at = instant(1_000);
        self.store.attempted(Arc::new(end)).await.unwrap();
    }

    /// A run whose first attempt goes on.
    async fn begun(job: &Arc<Job>) -> Left {
        let left = Left::new();
        let run = left.recorded(job, Cause::Schedule).await;
        left.begin(&run, 1, 1_000).await;
        left
    }

    /// A run whose first attempt has failed.
    async fn between(job: &Arc<Job>, cause: Cause) -> Left {
        let left = Left::new();
        let run = left.recorded(job, cause).await;
        left.begin(&run, 1, 1_000).await;
        left.fail(&run, 1, 1_001).await;
        left
    }

    /// The host ends, and the next one comes at 1 010.
    async fn next(self, job: Option<&Arc<Job>>) -> Next {
        self.next_with(job, |_| {}, |_| {}).await
    }

    async fn next_with(
        self,
        job: Option<&Arc<Job>>,
        prepare: impl FnOnce(&Dispatcher<Fake>),
        change: impl FnOnce(&mut Vec<Unfinished>),
    ) -> Next {
        drop(self.store);
        let clock = ManualClock::new(instant(1_010));
        let store = Arc::new(SqliteStore::open(self.dir.path(), clock.now()).unwrap());
        let events = Events::new();
        let told = events.subscribe();
        let attempts = Arc::default();
        let dispatcher = Dispatcher::new(
            Fake(Arc::clone(&attempts)),
            Parts {
                store: store.clone(),
                clock: Arc::new(clock.clone()),
                events: events.clone(),
                ends: Ends::default(),
                runtime: tokio::runtime::Handle::current(),
                max_running: 4,
            },
        );
        let mut scheduler = Scheduler::new();
        if let Some(job) = job {
            scheduler.upsert(job.clone(), clock.now());
        }
        prepare(&dispatcher);
        let mut unfinished = store.recover().await.unwrap().unfinished;
        change(&mut unfinished);
        let mut next = Next {
            _dir: self.dir,
            planner: Planner::new(store),
            scheduler,
            dispatcher,
            clock,
            told,
            attempts,
        };
        settle(
            unfinished,
            &next.scheduler,
            &mut next.planner,
            &next.dispatcher,
            &events,
            next.clock.now(),
        )
        .await;
        next
    }
}

/// The host that comes after it.
struct Next {
    _dir: TempDir,
    planner: Planner,
    scheduler: Scheduler,
    dispatcher: Dispatcher<Fake>,
    clock: ManualClock,
    told: Subscription,
    attempts: Arc<Mutex<Vec<Attempt>>>,
}

impl Next {
    /// Looks at the time, lets everything that can go on end, and says what was told.
    async fn told(&mut self) -> Vec<String> {
        let now = self.clock.now();
        self.planner
            .step(&mut self.scheduler, &self.dispatcher, now)
            .await;
        while self.dispatcher.in_flight() + self.dispatcher.queued() > 0 {
            yield_now().await;
        }
        let mut told = Vec::new();
        while let Some(stamped) = self.told.try_recv() {
            told.push(match stamped.event {
                Event::RunStarted { attempt } => {
                    format!("started {} of {}", attempt.number, attempt.run.max_attempts)
                }
                Event::RunFinished { run } => {
                    let error = run.execution.error.as_deref().unwrap_or_default();
                    let (number, how) = (run.attempt.number, run.execution.outcome.as_str());
                    format!("{number} {how} {error}").trim_end().to_owned()
                }
                Event::RunSkipped { reason, .. } => format!("skipped: {reason}"),
                other => panic!("{other:?}"),
            });
        }
        told
    }
}

const LOST: &str = "1 lost the host ended while it ran; what it had done by then is not known";

#[tokio::test]
async fn what_had_not_begun_runs_if_it_is_not_too_late() {
    for (grace, told) in [
        (None, &["started 1 of 3", "1 succeeded"][..]),
        (Some(10), &["started 1 of 3", "1 succeeded"]),
        (
            Some(9),
            &["skipped: missed, and now too late (misfire_grace_time)"],
        ),
    ] {
        let job = defined(|policies| policies.misfire_grace_time = grace.map(Duration::from_secs));
        let left = Left::new();
        left.recorded(&job, Cause::Schedule).await;
        assert_eq!(left.next(Some(&job)).await.told().await, told, "{grace:?}");
    }
}

#[tokio::test]
async fn what_had_not_begun_is_skipped_where_its_job_is_gone_or_paused() {
    let removed = "skipped: the job was removed or disabled before it started";
    let disabled = Arc::new(Job {
        enabled: false,
        ..(*plain()).clone()
    });
    for job in [None, Some(&disabled)] {
        let left = Left::new();
        left.recorded(&plain(), Cause::Schedule).await;
        assert_eq!(left.next(job).await.told().await, [removed]);
    }
    let pause = |dispatcher: &Dispatcher<Fake>| {
        dispatcher.pauses().pause(Scope::All);
    };
    for (cause, told) in [
        (Cause::Schedule, &["skipped: paused (all jobs)"][..]),
        (Cause::Manual, &["started 1 of 3", "1 succeeded"]),
    ] {
        let left = Left::new();
        left.recorded(&plain(), cause).await;
        let mut next = left.next_with(Some(&plain()), pause, |_| {}).await;
        assert_eq!(next.told().await, told);
    }
}

#[tokio::test]
async fn what_had_not_begun_waits_for_its_jitter() {
    let bounds = Bounds {
        jitter: Some(Duration::from_secs(3_000)),
        ..Bounds::default()
    };
    let trigger = Trigger::every(Duration::from_secs(3_600)).unwrap();
    let job = Arc::new(Job {
        trigger: trigger.within(bounds, "a").unwrap(),
        ..(*plain()).clone()
    });
    let due_at = job.trigger.due(instant(0));
    assert!(due_at > instant(1_010), "{due_at}");
    let left = Left::new();
    record(&left.store, firing(&job, Cause::Schedule, 0)).await;
    let mut next = left.next(Some(&job)).await;
    assert_eq!(next.told().await, [""; 0]);
    assert_eq!(next.planner.waiting(), 1);
    next.clock.set(due_at - chrono::TimeDelta::milliseconds(1));
    assert_eq!(next.told().await, [""; 0]);
    next.clock.set(due_at);
    assert_eq!(next.told().await, ["started 1 of 3", "1 succeeded"]);
}

#[tokio::test]
async fn between_two_attempts_the_next_one_comes() {
    let left = Left::between(&plain(), Cause::Schedule).await;
    let mut next = left.next(Some(&plain())).await;
    assert_eq!(next.told().await, ["started 2 of 3", "2 succeeded"]);
    let attempt = next.attempts.lock()[0].clone();
    assert_eq!(attempt.run_started_at, instant(1_000));
    // A definition with fewer attempts does not take away what was promised.
    let left = Left::between(&plain(), Cause::Schedule).await;
    let mut next = left.next(Some(&job("a"))).await;
    assert_eq!(next.told().await, ["started 2 of 3", "2 succeeded"]);
}

#[tokio::test]
async fn between_two_attempts_it_is_cancelled_where_the_next_may_not_come() {
    let left = Left::between(&plain(), Cause::Schedule).await;
    assert_eq!(
        left.next(None).await.told().await,
        ["2 cancelled cancelled: the job was removed or disabled, before attempt 2 of 3"]
    );
    let pause = |dispatcher: &Dispatcher<Fake>| {
        dispatcher.pauses().pause(Scope::Job("a".into()));
    };
    let left = Left::between(&plain(), Cause::Schedule).await;
    let mut next = left.next_with(Some(&plain()), pause, |_| {}).await;
    assert_eq!(
        next.told().await,
        ["2 cancelled cancelled: paused (the job a), before attempt 2 of 3"]
    );
    assert_eq!(next.dispatcher.in_flight(), 0);
    let left = Left::between(&plain(), Cause::Manual).await;
    let mut next = left.next_with(Some(&plain()), pause, |_| {}).await;
    assert_eq!(next.told().await, ["started 2 of 3", "2 succeeded"]);
}

#[tokio::test]
async fn what_had_begun_is_lost_or_runs_again() {
    let next = |on_lost: Option<Arc<Job>>| async move {
        let left = Left::begun(&plain()).await;
        left.next(on_lost.as_ref()).await.told().await
    };
    assert_eq!(next(Some(plain())).await, [LOST]);
    assert_eq!(next(None).await, [LOST]);
    assert_eq!(next(Some(rerun())).await, ["started 2 of 3", "2 succeeded"]);
    // One more than it has attempts is none the less.
    let last = job("a");
    let again = Arc::new(Job {
        policies: Arc::new(Policies {
            on_lost: OnLost::Rerun,
            ..Policies::default()
        }),
        ..(*last).clone()
    });
    let left = Left::begun(&last).await;
    let mut next = left.next(Some(&again)).await;
    assert_eq!(next.told().await, ["started 2 of 2", "2 succeeded"]);
}

#[tokio::test]
async fn what_is_to_run_again_is_lost_where_it_may_not() {
    let pause = |dispatcher: &Dispatcher<Fake>| {
        dispatcher.pauses().pause(Scope::Job("a".into()));
    };
    let left = Left::begun(&rerun()).await;
    let mut next = left.next_with(Some(&rerun()), pause, |_| {}).await;
    assert_eq!(
        next.told().await,
        [format!("{LOST}; not run again: paused (the job a)")]
    );
    // Two of a job that has one place.
    let left = Left::begun(&rerun()).await;
    let second = record(&left.store, firing(&rerun(), Cause::Schedule, 1_005)).await;
    left.begin(&second, 1, 1_005).await;
    let mut next = left.next(Some(&rerun())).await;
    let mut told = next.told().await;
    told.sort();
    let full = "previous run still going (max_instances 1)";
    assert_eq!(
        told,
        [
            format!("{LOST}; not run again: {full}"),
            "2 succeeded".to_owned(),
            "started 2 of 3".to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_later_attempt_that_had_begun_is_not_begun_again() {
    for (job, told) in [
        (plain(), &[LOST.replacen('1', "2", 1)][..]),
        (rerun(), &["started 3 of 3".into(), "3 succeeded".into()]),
    ] {
        let left = Left::between(&job, Cause::Schedule).await;
        let run = left.store.recover().await.unwrap();
        assert!(run.unfinished.is_empty(), "it was asked for at the start");
        let open = left
            .store
            .runs(crate::record::RunQuery::newest(1))
            .await
            .unwrap();
        let run = left
            .store
            .adopt(open[0].id, job.clone())
            .await
            .unwrap()
            .unwrap();
        left.begin(&run, 2, 1_005).await;
        assert_eq!(left.next(Some(&job)).await.told().await, told);
    }
}

#[tokio::test]
async fn a_run_that_was_lost_and_waits_to_run_again_is_not_lost_twice() {
    let left = Left::begun(&rerun()).await;
    let open = left
        .store
        .runs(crate::record::RunQuery::newest(1))
        .await
        .unwrap();
    let run = left
        .store
        .adopt(open[0].id, rerun())
        .await
        .unwrap()
        .unwrap();
    let mut lost = Arc::into_inner(finished(&run, 1_003, execution(Outcome::Lost))).unwrap();
    lost.attempt.started_at = instant(1_000);
    left.store.attempted(Arc::new(lost)).await.unwrap();
    let mut next = left.next(Some(&rerun())).await;
    assert_eq!(next.told().await, ["started 2 of 3", "2 succeeded"]);
}

#[tokio::test]
async fn a_deadline_goes_on_while_no_host_is_there() {
    for (seconds, told) in [
        (11, &["started 2 of 3", "2 succeeded"][..]),
        (
            10,
            &["2 timed_out limit: deadline of the run, before attempt 2 of 3"],
        ),
    ] {
        let with = |on_lost| {
            defined(|policies| {
                policies.deadline = Some(Duration::from_secs(seconds));
                policies.on_lost = on_lost;
            })
        };
        let job = with(OnLost::Record);
        let left = Left::between(&job, Cause::Schedule).await;
        let mut next = left.next(Some(&job)).await;
        assert_eq!(next.told().await, told);
        let job = with(OnLost::Rerun);
        let left = Left::begun(&job).await;
        let mut next = left.next(Some(&job)).await;
        assert_eq!(next.told().await, told);
        for attempt in next.attempts.lock().iter() {
            assert_eq!(attempt.time(), (Duration::from_secs(1), true));
        }
    }
}

#[tokio::test]
async fn what_nobody_knows_counts_as_begun() {
    let nobody_knows = |unfinished: &mut Vec<Unfinished>| {
        unfinished
            .iter_mut()
            .for_each(|one| one.begun = Begun::Maybe);
    };
    let why =
        "its end is not recorded: the machine went down, or a backup was restored; it may have run";
    for (job, told) in [
        (plain(), vec![format!("1 lost {why}")]),
        (rerun(), vec!["started 2 of 3".into(), "2 succeeded".into()]),
    ] {
        let left = Left::new();
        left.recorded(&job, Cause::Schedule).await;
        let mut next = left.next_with(Some(&job), |_| {}, nobody_knows).await;
        assert_eq!(next.told().await, told);
    }
    // A backup may be older than the next attempt.
    let left = Left::between(&plain(), Cause::Schedule).await;
    std::fs::remove_file(left.dir.path().join("starts")).unwrap();
    let mut next = left.next(Some(&plain())).await;
    assert_eq!(next.told().await, [format!("2 lost {why}")]);
}

#[tokio::test]
async fn a_run_that_has_an_end_after_all_is_left_alone() {
    let left = Left::new();
    let run = left.recorded(&plain(), Cause::Schedule).await;
    let has_end = |unfinished: &mut Vec<Unfinished>| {
        let mut record = RunRecord::of(&run, instant(1_000));
        record.status = crate::record::Status::Running;
        let begun = Begun::Yes;
        unfinished.push(Unfinished { record, begun });
    };
    let end = finished(&run, 1_001, execution(Outcome::Succeeded));
    left.store.finished(end, None).await.unwrap();
    let mut next = left.next_with(Some(&plain()), |_| {}, has_end).await;
    assert_eq!(next.told().await, [""; 0]);
}
