//! A store that cannot record ends: none is lost, and none is told of before it has landed.

use super::*;
use crate::dispatcher::RunEnded;
use crate::job::{Overlap, Policies};
use crate::store::StoreError;

fn failing(max_running: usize) -> (Host, Arc<FaultyStore>) {
    let store = Arc::new(FaultyStore::default());
    store.no_finish.store(true, Ordering::SeqCst);
    (host_with(max_running, store.clone()), store)
}

const FAILING: &str = "failing: the end of a run could not be recorded: the disk is full";

impl Host {
    fn pass(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }
}

#[tokio::test]
async fn an_end_waits_until_it_can_be_recorded() {
    let (mut host, store) = failing(4);
    host.fire(&job("a")).await.unwrap();
    assert_eq!(host.told().await, "started a");
    assert_eq!(host.told().await, FAILING);
    host.pass(10_000);
    host.is_silent().await;
    // It has its place until then, so that the next one sees what it has done.
    let refused = host.dispatcher.admit(&job("a")).map(drop);
    assert_eq!(refused, Err(SkipReason::MaxInstances(1)));
    assert_eq!(host.dispatcher.unrecorded(), 1);
    assert_eq!(host.totals().await.finished(), 0);

    store.no_finish.store(false, Ordering::SeqCst);
    host.pass(499);
    host.is_silent().await;
    host.pass(1);
    assert_eq!(host.told().await, "recovered");
    assert_eq!(host.told().await, "finished a succeeded");
    host.is_silent().await;
    assert_eq!(host.totals().await.finished(), 1);
    let finished_at = newest(&*store).await.finished_at();
    assert_eq!(finished_at, Some(instant(1_000)), "when it ended");
    assert!(host.dispatcher.admit(&job("a")).is_ok());
}

#[tokio::test]
async fn ends_of_one_job_land_in_their_order_and_once() {
    let (mut host, store) = failing(4);
    let policies = Policies {
        overlap: Overlap::Allow,
        ..Policies::default()
    };
    let job = Arc::new(Job {
        policies: Arc::new(policies),
        ..(*component("a", "script.wasm")).clone()
    });
    let outcomes = [Outcome::Failed, Outcome::TimedOut, Outcome::Succeeded];
    for outcome in outcomes {
        host.script([execution(outcome)]);
        host.fire(&job).await.unwrap();
        host.settle().await;
    }
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(host.told().await);
    }
    assert_eq!(told, ["started a", FAILING, "started a", "started a"]);
    assert_eq!(host.dispatcher.unrecorded(), 3);
    store.no_finish.store(false, Ordering::SeqCst);
    host.pass(500);
    // One wait for the first; the others come right behind it.
    assert_eq!(host.told().await, "finished a failed");
    assert_eq!(host.told().await, "finished a timed_out");
    assert_eq!(host.told().await, "recovered");
    assert_eq!(host.told().await, "finished a succeeded");
    host.is_silent().await;
    let totals = host.totals().await;
    assert!(outcomes.iter().all(|outcome| totals.ended(*outcome) == 1));
}

#[tokio::test]
async fn as_many_ends_are_kept_as_may_run_at_once() {
    let (mut host, store) = failing(2);
    for id in ["a", "b", "c"] {
        host.fire(&job(id)).await.unwrap();
        host.settle().await;
    }
    assert_eq!(host.told().await, "started a");
    assert_eq!(host.told().await, FAILING);
    assert_eq!(host.told().await, "started b");
    host.is_silent().await;
    store.no_finish.store(false, Ordering::SeqCst);
    host.pass(500);
    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(host.told().await);
    }
    told.sort();
    assert_eq!(
        told,
        [
            "finished a succeeded",
            "finished b succeeded",
            "finished c succeeded",
            "recovered",
            "started c",
        ]
    );
}

#[tokio::test]
async fn what_comes_after_a_job_comes_after_its_end_has_landed() {
    let (mut host, store) = failing(2);
    let (ends, mut news) = Ends::new();
    ends.wait_for([JobId::from("a")].into());
    let parts = Parts {
        ends,
        ..host.dispatcher.inner.parts.clone()
    };
    let fake = Fake {
        gate: Semaphore::new(0),
        script: Mutex::default(),
        running: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    };
    host.dispatcher = Dispatcher::new(fake, parts);
    host.fire(&job("a")).await.unwrap();
    host.settle().await;
    assert!(news.try_recv().is_err());
    store.no_finish.store(false, Ordering::SeqCst);
    host.pass(500);
    host.settle().await;
    let ended = RunEnded {
        job: "a".into(),
        succeeded: true,
        at: instant(1_000),
    };
    assert_eq!(news.try_recv(), Ok(ended));
}

#[tokio::test]
async fn a_host_that_stops_tries_once_more() {
    for recovers in [false, true] {
        let (mut host, store) = failing(2);
        host.fire(&job("a")).await.unwrap();
        assert_eq!(host.told().await, "started a");
        assert_eq!(host.told().await, FAILING);
        store.no_finish.store(!recovers, Ordering::SeqCst);
        host.dispatcher.drain(Duration::ZERO).await;
        assert_eq!(host.told().await, "recovered", "nothing waits any more");
        assert_eq!(host.told().await, "finished a succeeded");
        assert_eq!(host.totals().await.finished(), u64::from(recovers));
        assert_eq!(host.dispatcher.in_flight(), 0);
    }
}

#[tokio::test]
async fn an_attempt_is_recorded_before_the_next_one_comes() {
    let (mut host, store) = failing(1);
    host.script([
        Execution {
            retry: Retry::ByPolicy,
            ..execution(Outcome::Failed)
        },
        execution(Outcome::Succeeded),
    ]);
    let mut policies = Policies::default();
    policies.retry.attempts = 2;
    let job = Arc::new(Job {
        policies: Arc::new(policies),
        ..(*component("a", "script.wasm")).clone()
    });
    host.fire(&job).await.unwrap();
    assert_eq!(host.told().await, "started a");
    assert!(host.told().await.starts_with("failing"));
    host.pass(20_000);
    host.is_silent().await;
    store.no_finish.store(false, Ordering::SeqCst);
    host.pass(500);
    assert_eq!(host.told().await, "recovered");
    assert_eq!(host.told().await, "retrying a failed at 1010");
    // It was due meanwhile.
    assert_eq!(host.told().await, "started a");
    assert_eq!(host.told().await, "finished a succeeded");
    assert_eq!(newest(&*store).await.attempts.len(), 2);
}

#[tokio::test]
async fn the_trouble_is_told_once_whatever_fails() {
    let (mut host, store) = failing(2);
    let error = StoreError::Write {
        what: "a run",
        why: "no space".to_owned(),
    };
    host.dispatcher.firings_fail(Some(&error));
    assert_eq!(
        host.told().await,
        "failing: a run could not be recorded: no space"
    );
    host.dispatcher.firings_fail(Some(&error));
    host.fire(&job("a")).await.unwrap();
    assert_eq!(host.told().await, "started a");
    host.settle().await;
    host.dispatcher.firings_fail(None);
    host.is_silent().await;
    store.no_finish.store(false, Ordering::SeqCst);
    host.pass(500);
    assert_eq!(host.told().await, "recovered");
}
