//! What is recorded ahead, and all that may come between that and its time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::yield_now;

use super::*;
use crate::clock::{Clock as _, ManualClock};
use crate::dispatcher::{Ends, Parts, Session};
use crate::event::{Event, Events, Subscription};
use crate::job::{Overlap, Policies, Scope};
use crate::run::{Attempt, Cause, Execution, Outcome};
use crate::store::conformance::{execution, instant, job};
use crate::store::faulty::FaultyStore;
use crate::trigger::Trigger;

struct Fake;

impl Executor for Fake {
    async fn execute(&self, _: Attempt, _: Session) -> Execution {
        execution(Outcome::Succeeded)
    }
}

/// A host whose store wants runs 200 ms before they are due. Its clock shows seconds and
/// milliseconds after 1 000 000.
struct Host {
    store: Arc<FaultyStore>,
    scheduler: Scheduler,
    planner: Planner,
    dispatcher: Dispatcher<Fake>,
    clock: ManualClock,
    events: Subscription,
}

fn at(millis: i64) -> Timestamp {
    instant(1_000_000) + TimeDelta::milliseconds(millis)
}

/// A job that is due every 10 s.
fn with(change: impl FnOnce(&mut Policies)) -> Arc<Job> {
    let mut policies = Policies {
        misfire_grace_time: None,
        overlap: Overlap::Allow,
        ..Policies::default()
    };
    change(&mut policies);
    Arc::new(Job {
        trigger: Trigger::every(Duration::from_secs(10)).unwrap(),
        policies: Arc::new(policies),
        ..(*job("a")).clone()
    })
}

fn coalescing(coalesce: Coalesce) -> Arc<Job> {
    with(|policies| policies.coalesce = coalesce)
}

fn disabled() -> Arc<Job> {
    Arc::new(Job {
        enabled: false,
        ..(*with(|_| {})).clone()
    })
}

fn retimed() -> Arc<Job> {
    Arc::new(Job {
        trigger: Trigger::every(Duration::from_secs(7)).unwrap(),
        ..(*with(|_| {})).clone()
    })
}

impl Host {
    fn new(job: Arc<Job>) -> Host {
        let store = Arc::new(FaultyStore::default());
        store.lead.store(200, Ordering::SeqCst);
        let clock = ManualClock::new(at(0));
        let events = Events::new();
        let subscription = events.subscribe();
        let parts = Parts {
            store: store.clone(),
            clock: Arc::new(clock.clone()),
            events,
            ends: Ends::default(),
            runtime: tokio::runtime::Handle::current(),
            max_running: 100,
        };
        let mut scheduler = Scheduler::new();
        scheduler.upsert(job, clock.now());
        Host {
            planner: Planner::new(store.clone()),
            store,
            scheduler,
            dispatcher: Dispatcher::new(Fake, parts),
            clock,
            events: subscription,
        }
    }

    /// A host that has recorded what is due at 10 000.
    async fn ahead(job: Arc<Job>) -> Host {
        let mut host = Host::new(job);
        assert_eq!(host.step(9_900).await, Fired::default());
        assert_eq!(host.planner.recorded().await, None);
        assert_eq!(host.planner.waiting(), 1);
        host
    }

    /// A host that could not record what is due at 10 000.
    async fn holding(job: Arc<Job>) -> Host {
        let mut host = Host::new(job);
        host.fail(true);
        host.step(9_900).await;
        let turn = host.planner.recorded().await;
        assert!(matches!(turn, Some(Turn::Failing(_))), "{turn:?}");
        assert!(host.planner.is_holding());
        host
    }

    fn fail(&self, fails: bool) {
        self.store.no_fire.store(fails, Ordering::SeqCst);
    }

    async fn step(&mut self, millis: i64) -> Fired {
        self.clock.set(at(millis));
        self.planner
            .step(&mut self.scheduler, &self.dispatcher, at(millis))
            .await
    }

    fn give_up(&mut self, millis: i64) {
        let (scheduler, dispatcher) = (&mut self.scheduler, &self.dispatcher);
        self.planner
            .give_up(scheduler, dispatcher, &"a".into(), at(millis));
    }

    /// What was told, in order: the instants of runs that started, and of skips with the reason.
    async fn told(&mut self) -> Vec<String> {
        while self.dispatcher.in_flight() + self.dispatcher.queued() > 0 {
            yield_now().await;
        }
        let name = |scheduled_at: Timestamp| (scheduled_at - instant(1_000_000)).num_seconds();
        let mut told = Vec::new();
        while let Some(stamped) = self.events.try_recv() {
            match stamped.event {
                Event::RunStarted { attempt } => {
                    told.push(name(attempt.run.scheduled_at).to_string())
                }
                Event::RunSkipped {
                    scheduled_at,
                    reason,
                    ..
                } => told.push(format!("{} {}", name(scheduled_at), reason.to_parts().0)),
                _ => {}
            }
        }
        told
    }
}

#[tokio::test]
async fn what_is_due_soon_is_recorded_and_starts_when_it_is_due() {
    let mut host = Host::new(with(|_| {}));
    assert_eq!(host.planner.wake(&host.scheduler, at(0)), Some(at(9_900)));
    host.step(9_899).await;
    assert!(host.planner.recording.is_none());
    host.step(9_900).await;
    assert_eq!(host.planner.wake(&host.scheduler, at(9_900)), None);
    host.planner.recorded().await;
    assert_eq!(
        host.planner.wake(&host.scheduler, at(9_900)),
        Some(at(10_000))
    );
    assert_eq!(host.step(9_999).await.dispatched, 0);
    assert_eq!(host.step(10_000).await.dispatched, 1);
    assert_eq!(host.told().await, ["10"]);
    assert_eq!(host.step(19_899).await, Fired::default());
}

#[tokio::test]
async fn while_the_store_fails_nothing_starts_and_afterwards_one_catches_up() {
    let policies = |coalesce, grace| {
        with(|policies| {
            policies.coalesce = coalesce;
            policies.misfire_grace_time = grace;
        })
    };
    let late = Some(Duration::from_secs(20));
    for (job, told) in [
        (
            policies(Coalesce::Latest, None),
            &["10 missed", "20 missed", "30"][..],
        ),
        (policies(Coalesce::Earliest, None), &["10", "20 missed"]),
        (policies(Coalesce::All(2), None), &["10 missed", "20", "30"]),
        (policies(Coalesce::All(9), None), &["10", "20", "30"]),
        (
            policies(Coalesce::Latest, late),
            &["10 misfired", "20 missed", "30"],
        ),
        (
            policies(Coalesce::Earliest, late),
            &["10 misfired", "20", "30 missed"],
        ),
    ] {
        let mut host = Host::holding(job.clone()).await;
        for millis in [10_000, 20_000, 30_000] {
            assert_eq!(host.step(millis).await, Fired::default());
            if host.planner.recording.is_some() {
                assert_eq!(host.planner.recorded().await, None, "it has been told");
            }
        }
        host.fail(false);
        host.step(34_000).await;
        host.step(35_000).await;
        assert_eq!(host.planner.recorded().await, Some(Turn::Recovered));
        host.step(35_000).await;
        let mut heard = host.told().await;
        heard.sort();
        assert_eq!(heard, told, "{:?}", job.policies);
        assert!(!host.planner.is_holding());
        // From here on it goes as ever.
        host.step(39_900).await;
        host.planner.recorded().await;
        host.step(40_000).await;
        assert_eq!(host.told().await, ["40"]);
    }
}

#[tokio::test]
async fn what_is_held_is_tried_again_though_the_clock_is_set_back() {
    let mut host = Host::holding(with(|_| {})).await;
    host.step(9_950).await;
    assert_eq!(
        host.planner.wake(&host.scheduler, at(9_950)),
        Some(at(10_450))
    );
    let hour_before = -3_600_000;
    let again = hour_before + 500;
    assert_eq!(
        host.planner.wake(&host.scheduler, at(hour_before)),
        Some(at(again))
    );
    host.fail(false);
    host.step(hour_before).await;
    assert!(host.planner.recording.is_none());
    host.step(again).await;
    assert_eq!(host.planner.recorded().await, Some(Turn::Recovered));
}

#[tokio::test]
async fn the_clock_is_set_forward_between_the_record_and_the_time() {
    for (coalesce, told) in [
        (Coalesce::Latest, &["10 missed", "20 missed", "60"][..]),
        (Coalesce::Earliest, &["10", "20 missed"]),
        (Coalesce::All(1), &["10 missed", "20 missed", "60"]),
        (
            Coalesce::All(3),
            &["10 missed", "20 missed", "40", "50", "60"],
        ),
    ] {
        let mut host = Host::ahead(coalescing(coalesce)).await;
        host.step(65_000).await;
        let mut heard = host.told().await;
        heard.sort();
        assert_eq!(heard, told, "{coalesce:?}");
    }
    let hasty = with(|policies| policies.misfire_grace_time = Some(Duration::ZERO));
    let mut host = Host::ahead(hasty.clone()).await;
    host.step(11_001).await;
    assert_eq!(host.told().await, ["10 misfired"]);
    // By less than a second it is on time, whatever the policies say.
    let mut host = Host::ahead(hasty).await;
    host.step(10_999).await;
    assert_eq!(host.told().await, ["10"]);
}

#[tokio::test]
async fn the_clock_is_set_back_between_the_record_and_the_time() {
    let mut host = Host::ahead(with(|_| {})).await;
    // A little is waited out.
    assert_eq!(host.step(9_000).await, Fired::default());
    assert_eq!(host.planner.waiting(), 1);
    // After more it does not wait for the same time to come again, nor does it run twice.
    assert_eq!(host.step(-3_600_000).await.dispatched, 1);
    assert_eq!(host.told().await, ["10"]);
}

#[tokio::test]
async fn its_job_is_removed_disabled_or_paused_between_the_record_and_the_time() {
    let gone: HashSet<JobId> = ["a".into()].into();
    let mut host = Host::ahead(with(|_| {})).await;
    host.planner.withdraw(&host.dispatcher, &HashSet::new());
    assert_eq!(host.planner.waiting(), 1);
    host.planner.withdraw(&host.dispatcher, &gone);
    assert_eq!(host.told().await, ["10 removed"]);

    let mut host = Host::ahead(with(|_| {})).await;
    host.scheduler.remove(&"a".into());
    host.step(10_000).await;
    assert_eq!(host.told().await, ["10 removed"]);

    let mut host = Host::ahead(with(|_| {})).await;
    host.scheduler.upsert(disabled(), at(9_950));
    host.step(10_000).await;
    assert_eq!(host.told().await, ["10 removed"]);

    let mut host = Host::ahead(with(|_| {})).await;
    host.dispatcher.pauses().pause(Scope::All);
    host.step(10_000).await;
    host.dispatcher.pauses().resume(&Scope::All);
    host.step(19_900).await;
    host.planner.recorded().await;
    host.step(20_000).await;
    assert_eq!(host.told().await, ["10 paused", "20"]);
}

#[tokio::test]
async fn its_job_is_updated_between_the_record_and_the_time() {
    for new in [with(|policies| policies.priority = 3), retimed()] {
        let mut host = Host::ahead(with(|_| {})).await;
        assert_eq!(host.scheduler.keeps(&new), new.policies.priority == 3);
        host.give_up(9_950);
        host.scheduler.upsert(new, at(9_950));
        host.step(10_000).await;
        assert_eq!(host.told().await, ["10"], "as it was recorded");
    }
}

#[tokio::test]
async fn what_the_store_could_not_record_is_skipped_when_its_job_goes() {
    let mut host = Host::holding(with(|_| {})).await;
    host.step(31_000).await;
    host.give_up(35_000);
    // One was to be recorded ahead; the others are one skip.
    assert_eq!(host.told().await, ["10 not_recorded", "20 not_recorded"]);
    host.give_up(35_000);
    host.scheduler.upsert(retimed(), at(35_000));
    host.fail(false);
    host.step(35_500).await;
    assert_eq!(host.planner.recorded().await, Some(Turn::Recovered));
    // 1 000 041 is the next of every 7 s.
    host.step(40_900).await;
    host.planner.recorded().await;
    host.step(41_000).await;
    assert_eq!(host.told().await, ["41"]);
}

#[tokio::test]
async fn of_what_is_late_nothing_starts_while_more_of_it_is_being_recorded() {
    let mut host = Host::new(coalescing(Coalesce::Earliest));
    host.step(9_900).await;
    // The host is suspended in the middle of the commit.
    assert_eq!(host.step(35_000).await, Fired::default());
    assert_eq!(host.planner.wake(&host.scheduler, at(35_000)), None);
    host.planner.recorded().await;
    host.step(35_000).await;
    let mut heard = host.told().await;
    heard.sort();
    assert_eq!(heard, ["10", "20 missed"]);
}

#[tokio::test]
async fn an_instant_that_was_recorded_before_does_not_wait_again() {
    let mut host = Host::new(with(|_| {}));
    let firing = Firing {
        job: with(|_| {}),
        cause: Cause::Schedule,
        scheduled_at: at(10_000),
    };
    host.store.fire(vec![firing], at(0)).await.unwrap();
    host.step(9_900).await;
    assert_eq!(host.planner.recorded().await, None);
    assert_eq!(host.planner.waiting(), 0);
    assert_eq!(host.step(10_000).await, Fired::default());
}
