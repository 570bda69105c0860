//! Runs of one job that meet, and runs of many that wait for the same.

use super::*;
use crate::job::{Group, Overlap, Policies};
use crate::record::{Kind, Status};

/// A job that waits at the gate, with policies of its own.
fn with(id: &str, change: impl FnOnce(&mut Policies)) -> Arc<Job> {
    let mut policies = Policies::default();
    change(&mut policies);
    Arc::new(Job {
        policies: Arc::new(policies),
        ..(*component(id, "gate.wasm")).clone()
    })
}

fn overlapping(id: &str, overlap: Overlap) -> Arc<Job> {
    with(id, |policies| policies.overlap = overlap)
}

fn nothing_is_left(host: &Host) {
    let state = host.dispatcher.inner.slots.state.lock();
    assert!(state.flights.is_empty() && state.jobs.is_empty());
    assert_eq!((state.waiting(), state.workers, state.fresh), (0, 0, 0));
}

#[tokio::test]
async fn one_that_may_wait_runs_when_the_other_has_ended() {
    let mut host = host(8);
    let job = overlapping("a", Overlap::Queue(2));
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(host.fire(&job).await.unwrap().id);
    }
    // A fourth would be the third that waits.
    let full = SkipReason::QueueFull(2);
    assert_eq!(host.fire(&job).await.unwrap_err(), full);
    assert_eq!(host.told().await, "started a");
    host.settle().await;
    assert_eq!(
        (host.dispatcher.in_flight(), host.dispatcher.queued()),
        (1, 2)
    );
    let store = host.dispatcher.store();
    let waiting = store.run(runs[1]).await.unwrap().unwrap();
    assert_eq!(waiting.status, Status::Recorded);
    for _ in 0..2 {
        host.open(1);
        assert_eq!(host.told().await, "finished a succeeded");
        assert_eq!(host.told().await, "started a");
    }
    host.open(1);
    assert_eq!(host.told().await, "finished a succeeded");
    for run in &runs {
        let record = host.dispatcher.store().run(*run).await.unwrap().unwrap();
        assert_eq!(record.status, Status::Finished(Outcome::Succeeded));
    }
    host.settle().await;
    nothing_is_left(&host);
    assert_eq!(host.dispatcher.executor().most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_seat_that_is_given_back_lets_the_next_one_in() {
    let mut host = host(8);
    let job = overlapping("a", Overlap::Queue(1));
    let first = host.dispatcher.admit(&job).unwrap();
    host.fire(&job).await.unwrap();
    host.settle().await;
    assert_eq!(host.dispatcher.queued(), 1);
    // The first could not be recorded.
    drop(first);
    assert_eq!(host.told().await, "started a");
    // Nor could one that would have waited.
    let waits = host.dispatcher.admit(&job).unwrap();
    assert!(host.dispatcher.admit(&job).is_err());
    drop(waits);
    drop(host.dispatcher.admit(&job).unwrap());
    host.open(1);
    host.told().await;
    host.settle().await;
    nothing_is_left(&host);
}

#[tokio::test]
async fn one_that_waits_can_be_cancelled() {
    let mut host = host(8);
    let job = overlapping("a", Overlap::Queue(5));
    host.fire(&job).await.unwrap();
    let second = host.fire(&job).await.unwrap();
    let third = host.fire(&job).await.unwrap();
    assert_eq!(host.told().await, "started a");
    assert!(host.dispatcher.cancel(second.id));
    assert_eq!(host.told().await, "finished a cancelled");
    host.open(2);
    assert_eq!(host.told().await, "finished a succeeded");
    assert_eq!(host.told().await, "started a");
    assert_eq!(host.told().await, "finished a succeeded");
    host.settle().await;
    assert!(!host.dispatcher.cancel(third.id));
    nothing_is_left(&host);
}

#[tokio::test]
async fn where_overlaps_are_allowed_nothing_is_counted() {
    let mut host = host(100);
    let job = overlapping("a", Overlap::Allow);
    for _ in 0..50 {
        host.fire(&job).await.unwrap();
        assert_eq!(host.told().await, "started a");
    }
    // An edit that allows no more finds them there.
    let strict = component("a", "gate.wasm");
    let refused = SkipReason::MaxInstances(1);
    assert_eq!(host.fire(&strict).await.unwrap_err(), refused);
    host.open(50);
    for _ in 0..50 {
        assert_eq!(host.told().await, "finished a succeeded");
    }
    host.settle().await;
    nothing_is_left(&host);
}

#[tokio::test]
async fn the_oldest_makes_way_and_the_new_one_waits_for_its_end() {
    let mut host = host(8);
    let job = Arc::new(Job {
        max_instances: 2,
        ..(*overlapping("a", Overlap::Replace)).clone()
    });
    let first = host.fire(&job).await.unwrap();
    let second = host.fire(&job).await.unwrap();
    for _ in 0..2 {
        assert_eq!(host.told().await, "started a");
    }
    let third = host.fire(&job).await.unwrap();
    assert_eq!(host.told().await, "finished a cancelled");
    assert_eq!(host.told().await, "started a");
    host.open(2);
    for _ in 0..2 {
        assert_eq!(host.told().await, "finished a succeeded");
    }
    host.settle().await;
    nothing_is_left(&host);
    let store = host.dispatcher.store();
    let status = async |run: &Run| store.run(run.id).await.unwrap().unwrap().status;
    assert_eq!(status(&first).await, Status::Finished(Outcome::Cancelled));
    assert_eq!(status(&second).await, Status::Finished(Outcome::Succeeded));
    assert_eq!(status(&third).await, Status::Finished(Outcome::Succeeded));
    assert_eq!(host.dispatcher.executor().most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_never_started_is_replaced_without_a_trace_of_a_run() {
    let mut host = host(1);
    let other = host.fire(&component("other", "gate.wasm")).await.unwrap();
    assert_eq!(host.told().await, "started other");
    let job = overlapping("a", Overlap::Replace);
    // The first waits for a worker; each later one takes the place of the one before.
    for _ in 0..3 {
        host.fire(&job).await.unwrap();
    }
    let skipped = "skipped a: a later firing took its place (overlap replace)";
    assert_eq!(host.told().await, skipped);
    assert_eq!(host.told().await, skipped);
    assert!(host.dispatcher.cancel(other.id));
    assert_eq!(host.told().await, "finished other cancelled");
    assert_eq!(host.told().await, "started a");
    host.open(1);
    assert_eq!(host.told().await, "finished a succeeded");
    let query = RunQuery::newest(9).only([Kind::Skipped]);
    let skips = host.dispatcher.store().runs(query).await.unwrap();
    assert_eq!(skips.len(), 2);
    assert_eq!(skips[0].status, Status::Skipped(SkipReason::Replaced));
    host.settle().await;
    nothing_is_left(&host);
}

#[tokio::test]
async fn priorities_and_groups_decide_whose_turn_it_is() {
    let mut host = host(2);
    let db = Arc::new(Group {
        name: "db".into(),
        max_running: Some(1),
    });
    let grouped = |id: &str, priority| {
        let group = Some(db.clone());
        with(id, |it| (it.priority, it.group) = (priority, group))
    };
    for job in [
        component("first", "gate.wasm"),
        grouped("db-1", 50),
        grouped("db-2", 50),
        with("low", |it| it.priority = -1),
        component("plain", "gate.wasm"),
        grouped("db-3", 100),
    ] {
        host.fire(&job).await.unwrap();
    }
    assert_eq!(host.told().await, "started first");
    // All were queued before the first of the others could start.
    assert_eq!(host.told().await, "started db-3");
    for (ended, next) in [
        ("first", "plain"),
        ("db-3", "db-1"),
        ("plain", "low"),
        ("db-1", "db-2"),
    ] {
        host.open(1);
        assert_eq!(host.told().await, format!("finished {ended} succeeded"));
        assert_eq!(host.told().await, format!("started {next}"));
        assert_eq!(host.dispatcher.in_flight(), 2);
    }
    host.open(2);
    host.told().await;
    host.told().await;
    host.settle().await;
    nothing_is_left(&host);
}

#[tokio::test]
async fn a_removed_job_loses_what_waits_and_keeps_what_runs() {
    let mut host = host(1);
    let job = Arc::new(Job {
        max_instances: 2,
        ..(*overlapping("a", Overlap::Queue(5))).clone()
    });
    for _ in 0..4 {
        host.fire(&job).await.unwrap();
    }
    host.fire(&component("b", "gate.wasm")).await.unwrap();
    assert_eq!(host.told().await, "started a");
    host.dispatcher.withdraw(&job.id);
    for _ in 0..3 {
        let told = host.told().await;
        assert_eq!(
            told,
            "skipped a: the job was removed or disabled before it started"
        );
    }
    host.dispatcher.withdraw(&job.id); // nothing is left to skip
    host.open(2);
    assert_eq!(host.told().await, "finished a succeeded");
    assert_eq!(host.told().await, "started b");
    assert_eq!(host.told().await, "finished b succeeded");
    host.settle().await;
    nothing_is_left(&host);
}

#[tokio::test]
async fn draining_skips_what_waits_for_a_place() {
    let mut host = host(4);
    let job = overlapping("a", Overlap::Queue(5));
    for _ in 0..3 {
        host.fire(&job).await.unwrap();
    }
    assert_eq!(host.told().await, "started a");
    let drained = host.dispatcher.drain(Duration::ZERO).await;
    let expected = Drained {
        skipped: 2,
        finished: 0,
        cancelled: 1,
    };
    assert_eq!(drained, expected);
    nothing_is_left(&host);
}
