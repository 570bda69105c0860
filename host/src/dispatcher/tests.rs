//! The dispatcher on a simulated clock, with jobs that do as they are told.

mod books;
mod overlap;
mod retry;
mod trouble;

use std::collections::VecDeque;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::clock::ManualClock;
use crate::event::{Event, Stamped, Subscription};
use crate::job::{Grants, StateQuota};
use crate::record::RunQuery;
use crate::run::{Cause, Firing, Outcome, Retry};
use crate::state::Changes;
use crate::store::conformance::{execution, firing, instant, job, newest};
use crate::store::faulty::FaultyStore;
use crate::store::{FireResult, MemoryStore, Totals};

/// What a fake job does, by its component.
struct Fake {
    /// `gate.wasm` waits for a permit, or for its cancellation.
    gate: Semaphore,
    /// `script.wasm` ends as the first of these says.
    script: Mutex<VecDeque<Execution>>,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Executor for Fake {
    fn ready(&self, job: &Job) -> Result<(), SkipReason> {
        match &*job.component {
            "gone.wasm" => Err(SkipReason::PluginMissing(job.component.clone())),
            _ => Ok(()),
        }
    }

    fn execute(
        &self,
        attempt: Attempt,
        Session { cancel, state, .. }: Session,
    ) -> impl Future<Output = Execution> + Send {
        assert_ne!(&*attempt.run.job.component, "panic-at-once.wasm", "at once");
        async move {
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(running, Ordering::SeqCst);
            let outcome = match &*attempt.run.job.component {
                "gate.wasm" => tokio::select! {
                    permit = self.gate.acquire() => {
                        permit.unwrap().forget();
                        Outcome::Succeeded
                    }
                    () = cancel.cancelled() => Outcome::Cancelled,
                },
                "panic.wasm" => {
                    self.running.fetch_sub(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    panic!("{} of {}", attempt.number, attempt.run.max_attempts);
                }
                _ => Outcome::Succeeded,
            };
            let mut execution = execution(outcome);
            if &*attempt.run.job.component == "script.wasm" {
                let next = self.script.lock().pop_front();
                execution = next.expect("the script goes on");
            }
            if &*attempt.run.job.component == "keep.wasm" {
                let space = state.expect("it is granted a state");
                let mut changes = Changes::on(space.load().await.unwrap());
                let count = changes.get("count").map_or(0, |value| value[0]) + 1;
                let value = Some(Arc::from([count]));
                changes.write("count", value, StateQuota::DEFAULT).unwrap();
                let _ = self.gate.acquire().await;
                execution.state = Some(changes);
            }
            self.running.fetch_sub(1, Ordering::SeqCst);
            execution
        }
    }
}

struct Host {
    dispatcher: Dispatcher<Fake>,
    clock: ManualClock,
    events: Subscription,
}

fn host(max_running: usize) -> Host {
    host_with(max_running, Arc::new(MemoryStore::default()))
}

fn host_with(max_running: usize, store: Arc<dyn Store>) -> Host {
    let clock = ManualClock::new(instant(1_000));
    let events = Events::new();
    let subscription = events.subscribe();
    let fake = Fake {
        gate: Semaphore::new(0),
        script: Mutex::default(),
        running: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    };
    let parts = Parts {
        store,
        clock: Arc::new(clock.clone()),
        events,
        ends: Ends::default(),
        runtime: Handle::current(),
        max_running,
    };
    Host {
        dispatcher: Dispatcher::new(fake, parts),
        clock,
        events: subscription,
    }
}

fn component(id: &str, component: &str) -> Arc<Job> {
    Arc::new(Job {
        component: component.into(),
        ..(*job(id)).clone()
    })
}

impl Host {
    /// Admits, records and dispatches one run.
    async fn fire(&self, job: &Arc<Job>) -> Result<Arc<Run>, SkipReason> {
        let admission = self.dispatcher.admit(job)?;
        let run = self.record(firing(job, Cause::Manual, 1_000)).await;
        self.dispatcher.dispatch(vec![(run.clone(), admission)]);
        Ok(run)
    }

    async fn record(&self, firing: Firing) -> Arc<Run> {
        let store = self.dispatcher.store();
        match store
            .fire(vec![firing], instant(1_000))
            .await
            .unwrap()
            .remove(0)
        {
            FireResult::Recorded(run) => run,
            FireResult::Duplicate(firing) => panic!("{firing:?}"),
        }
    }

    /// The next event: `started a`, `finished a succeeded` or `skipped a: reason`.
    async fn told(&mut self) -> String {
        tell(&self.events.recv().await.unwrap())
    }

    fn open(&self, runs: usize) {
        self.dispatcher.executor().gate.add_permits(runs);
    }

    async fn totals(&self) -> Totals {
        self.dispatcher.store().totals().await.unwrap()
    }

    /// Lets every task run until all of them wait.
    async fn settle(&self) {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }
}

fn tell(stamped: &Stamped) -> String {
    match &stamped.event {
        Event::RunStarted { attempt } => format!("started {}", attempt.run.job.id),
        Event::RunFinished { run } => format!(
            "finished {} {}",
            run.attempt.run.job.id,
            run.execution.outcome.as_str()
        ),
        Event::RunRetrying { run, next_at } => format!(
            "retrying {} {} at {}",
            run.attempt.run.job.id,
            run.execution.outcome.as_str(),
            next_at.timestamp()
        ),
        Event::RunSkipped { job, reason, .. } => format!("skipped {}: {reason}", job.id),
        Event::StoreFailing { error } => format!("failing: {error}"),
        Event::StoreRecovered => "recovered".to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_run_is_started_recorded_and_told_of() {
    let mut host = host(4);
    let run = host.fire(&job("a")).await.unwrap();
    assert_eq!(host.told().await, "started a");
    assert_eq!(host.told().await, "finished a succeeded");
    let record = newest(&**host.dispatcher.store()).await;
    assert_eq!(record.id, run.id);
    let attempt = record.attempt().unwrap();
    assert_eq!(attempt.number, 1);
    assert_eq!(attempt.started_at, instant(1_000));
    assert_eq!(host.totals().await.started, 1);
    host.settle().await;
    assert_eq!(host.dispatcher.in_flight(), 0);
    assert!(host.dispatcher.inner.slots.state.lock().jobs.is_empty());
}

#[tokio::test]
async fn a_job_that_is_still_running_is_not_admitted_again() {
    let mut host = host(4);
    let gate = component("a", "gate.wasm");
    host.fire(&gate).await.unwrap();
    let refused = host.dispatcher.admit(&gate).unwrap_err();
    assert_eq!(refused, SkipReason::MaxInstances(1));
    assert!(host.dispatcher.admit(&job("b")).is_ok());

    let twice = Arc::new(Job {
        max_instances: 2,
        ..(*gate).clone()
    });
    host.fire(&twice).await.unwrap();
    assert_eq!(
        host.fire(&twice).await.unwrap_err(),
        SkipReason::MaxInstances(2)
    );
    for _ in 0..2 {
        host.told().await;
    }
    assert_eq!(host.dispatcher.in_flight(), 2);
    host.open(1);
    host.told().await;
    host.settle().await;
    // A place is free for whoever allows two, and none for the old definition's one.
    assert_eq!(
        host.dispatcher.admit(&gate).unwrap_err(),
        SkipReason::MaxInstances(1)
    );
    assert!(host.dispatcher.admit(&twice).is_ok());
}

#[tokio::test]
async fn an_admission_holds_its_place_until_it_is_dropped() {
    let host = host(4);
    let a = job("a");
    let admission = host.dispatcher.admit(&a).unwrap();
    assert_eq!(
        host.dispatcher.admit(&a).unwrap_err(),
        SkipReason::MaxInstances(1)
    );
    drop(admission);
    drop(host.dispatcher.admit(&a).unwrap());
    assert!(host.dispatcher.inner.slots.state.lock().jobs.is_empty());
}

#[tokio::test]
async fn an_executor_that_is_not_ready_says_why() {
    let host = host(4);
    let refused = host.fire(&component("a", "gone.wasm")).await.unwrap_err();
    assert_eq!(refused, SkipReason::PluginMissing("gone.wasm".into()));
}

#[tokio::test]
async fn a_worker_is_added_only_for_a_run_that_waits() {
    let mut host = host(4);
    let workers = |host: &Host| host.dispatcher.inner.slots.state.lock().workers;
    for n in 0..3 {
        host.fire(&component(&n.to_string(), "quick.wasm"))
            .await
            .unwrap();
    }
    // The test's runtime has one thread, and no run has begun.
    assert_eq!(workers(&host), 1);
    for n in 0..3 {
        assert_eq!(host.told().await, format!("started {n}"));
        assert!(host.told().await.starts_with("finished"));
    }
    for n in 3..6 {
        host.fire(&component(&n.to_string(), "gate.wasm"))
            .await
            .unwrap();
    }
    for n in 3..6 {
        assert_eq!(host.told().await, format!("started {n}"));
    }
    assert_eq!(workers(&host), 3);
    host.open(3);
    host.settle().await;
    assert_eq!(workers(&host), 0);
}

#[tokio::test]
async fn more_than_the_host_allows_wait_their_turn_in_order() {
    let mut host = host(2);
    for n in 0..6 {
        host.fire(&component(&n.to_string(), "gate.wasm"))
            .await
            .unwrap();
    }
    assert_eq!(host.told().await, "started 0");
    assert_eq!(host.told().await, "started 1");
    assert_eq!(
        (host.dispatcher.in_flight(), host.dispatcher.queued()),
        (2, 4)
    );
    for n in 2..6 {
        host.open(1);
        let finished = host.told().await;
        assert!(finished.starts_with("finished"), "{finished}");
        assert_eq!(host.told().await, format!("started {n}"));
    }
    host.open(2);
    host.told().await;
    host.told().await;
    host.settle().await;
    assert_eq!(
        (host.dispatcher.in_flight(), host.dispatcher.queued()),
        (0, 0)
    );
    assert_eq!(host.dispatcher.executor().most.load(Ordering::SeqCst), 2);
    assert_eq!(host.dispatcher.inner.slots.state.lock().workers, 0);
}

#[tokio::test]
async fn a_running_and_a_queued_run_can_be_cancelled() {
    let mut host = host(1);
    let running = host.fire(&component("a", "gate.wasm")).await.unwrap();
    let queued = host.fire(&component("b", "gate.wasm")).await.unwrap();
    assert_eq!(host.told().await, "started a");
    // The one that waits is recorded at once; it need not wait for its turn.
    assert!(host.dispatcher.cancel(queued.id));
    assert_eq!(host.told().await, "finished b cancelled");
    let record = newest(&**host.dispatcher.store()).await;
    assert_eq!(
        record.execution().unwrap().error.as_deref(),
        Some("cancelled on request before it started")
    );
    assert!(host.dispatcher.cancel(running.id));
    assert_eq!(host.told().await, "finished a cancelled");
    host.settle().await;
    assert!(!host.dispatcher.cancel(running.id));
    assert!(!host.dispatcher.cancel(queued.id));
    assert_eq!(host.dispatcher.in_flight(), 0);
    assert_eq!(host.totals().await.ended(Outcome::Cancelled), 2);
    assert_eq!(host.totals().await.started, 1);
    assert!(host.fire(&job("b")).await.is_ok());
}

#[tokio::test]
async fn what_a_worker_has_taken_and_not_begun_is_withdrawn_too() {
    let mut host = host(1);
    // A worker has it, and has had no turn yet.
    host.fire(&job("a")).await.unwrap();
    host.dispatcher.withdraw(&"a".into());
    let removed = "skipped a: the job was removed or disabled before it started";
    assert_eq!(host.told().await, removed);
    let begun_before = host.record(firing(&job("b"), Cause::Manual, 1_000)).await;
    let admission = host.dispatcher.admit(&job("b")).unwrap();
    host.dispatcher
        .dispatch_from(begun_before, 2, instant(1_000), admission);
    host.dispatcher.withdraw(&"b".into());
    assert_eq!(host.told().await, "finished b cancelled");
    host.settle().await;
    assert_eq!(host.dispatcher.in_flight(), 0);
    assert_eq!(host.totals().await.started, 0);
    assert!(host.fire(&job("a")).await.is_ok());
    assert_eq!(host.told().await, "started a");
}

#[tokio::test]
async fn a_panic_fails_its_run_and_keeps_no_slot() {
    let mut host = host(1);
    for (id, how) in [("a", "panic.wasm"), ("b", "panic-at-once.wasm")] {
        host.fire(&component(id, how)).await.unwrap();
        assert_eq!(host.told().await, format!("started {id}"));
        host.clock.advance(Duration::from_millis(7));
        assert_eq!(host.told().await, format!("finished {id} failed"));
    }
    for (id, words) in [("a", "1 of 1"), ("b", "at once")] {
        let query = RunQuery::newest(1).of(&id.into());
        let records = host.dispatcher.store().runs(query).await.unwrap();
        let error = records[0].execution().unwrap().error.clone().unwrap();
        assert!(error.contains(words), "{error}");
    }
    host.fire(&job("a")).await.unwrap();
    assert_eq!(host.told().await, "started a");
    assert_eq!(host.told().await, "finished a succeeded");
}

#[tokio::test]
async fn draining_gives_grace_then_cancels_and_starts_nothing() {
    let mut host = host(2);
    let late = host.dispatcher.admit(&job("late")).unwrap();
    for id in ["a", "b", "c"] {
        host.fire(&component(id, "gate.wasm")).await.unwrap();
    }
    let draining = tokio::spawn({
        let dispatcher = host.dispatcher.clone();
        async move { dispatcher.drain(Duration::from_secs(10)).await }
    });
    host.settle().await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(host.told().await);
    }
    told.sort();
    assert_eq!(
        told,
        ["skipped c: the host is stopping", "started a", "started b"]
    );
    assert_eq!(
        host.dispatcher.admit(&job("d")).unwrap_err(),
        SkipReason::Stopping
    );

    // A run whose record was still on its way is not started either.
    let run = host
        .record(firing(&job("late"), Cause::Schedule, 1_000))
        .await;
    host.dispatcher.dispatch(vec![(run, late)]);
    assert_eq!(host.told().await, "skipped late: the host is stopping");

    host.open(1);
    assert!(host.told().await.starts_with("finished"));
    host.clock.advance(Duration::from_millis(9_999));
    host.settle().await;
    assert!(!draining.is_finished(), "one is still in its time of grace");
    assert_eq!(host.dispatcher.in_flight(), 1);
    host.clock.advance(Duration::from_millis(1));
    let drained = draining.await.unwrap();
    assert_eq!(
        drained,
        Drained {
            skipped: 1,
            finished: 1,
            cancelled: 1
        }
    );
    assert!(host.told().await.ends_with("cancelled"));
    let totals = host.totals().await;
    assert_eq!((totals.recorded, totals.skipped), (4, 2));
    assert_eq!(totals.finished(), 2);
    assert!(host.dispatcher.inner.slots.state.lock().jobs.is_empty());
}

#[tokio::test]
async fn draining_an_idle_host_takes_no_time() {
    let host = host(2);
    let drained = host.dispatcher.drain(Duration::MAX).await;
    assert_eq!(
        drained,
        Drained {
            skipped: 0,
            finished: 0,
            cancelled: 0
        }
    );
}

#[tokio::test]
async fn short_runs_do_not_keep_others_from_the_thread() {
    let host = host(1);
    for n in 0..5_000 {
        host.fire(&job(&n.to_string())).await.unwrap();
    }
    // One worker, one thread, and runs that never wait: a task that only yields gets its turns.
    let mut turns = 0;
    while host.totals().await.finished() < 5_000 {
        tokio::task::yield_now().await;
        turns += 1;
    }
    assert!(turns > 10, "{turns} turns");
}

#[tokio::test]
async fn a_store_that_panics_loses_no_slot() {
    let store = Arc::new(FaultyStore::default());
    let mut host = host_with(1, store.clone());
    for (id, panics) in [("a", true), ("b", false)] {
        store.panic.store(panics, Ordering::SeqCst);
        host.fire(&job(id)).await.unwrap();
        assert_eq!(host.told().await, format!("started {id}"));
        assert_eq!(host.told().await, format!("finished {id} succeeded"));
    }
    host.settle().await;
    assert_eq!(host.dispatcher.in_flight(), 0);
    assert_eq!(host.totals().await.finished(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_many_threads_the_limits_hold_and_nothing_is_lost() {
    let host = host(8);
    let (done, mut rest) = mpsc::channel::<()>(1);
    for part in 0..4 {
        let dispatcher = host.dispatcher.clone();
        let done = done.clone();
        tokio::spawn(async move {
            for n in 0..500 {
                let how = if n % 50 == 0 {
                    "panic.wasm"
                } else {
                    "fine.wasm"
                };
                let job = component(&format!("{part}-{n}"), how);
                let admission = dispatcher.admit(&job).unwrap();
                let firing = firing(&job, Cause::Schedule, n);
                let results = dispatcher.store().fire(vec![firing], instant(n)).await;
                let FireResult::Recorded(run) = results.unwrap().remove(0) else {
                    panic!("a duplicate");
                };
                dispatcher.dispatch(vec![(run, admission)]);
            }
            drop(done);
        });
    }
    drop(done);
    assert!(rest.recv().await.is_none());
    while host.totals().await.finished() < 2_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.totals().await.ended(Outcome::Failed), 40);
    host.dispatcher.drain(Duration::ZERO).await;
    let state = host.dispatcher.inner.slots.state.lock();
    assert!(state.flights.is_empty() && state.jobs.is_empty());
    assert!(host.dispatcher.executor().most.load(Ordering::SeqCst) <= 8);
}

/// Nothing that waits for ever keeps a drained host from its end.
#[tokio::test]
async fn a_run_that_never_ends_by_itself_is_ended() {
    struct Stubborn;
    impl Executor for Stubborn {
        async fn execute(&self, _: Attempt, Session { cancel, .. }: Session) -> Execution {
            tokio::select! {
                () = pending() => {}
                () = cancel.cancelled() => {}
            }
            assert_eq!(cancel.reason(), Some(CancelReason::Stopping));
            execution(Outcome::Cancelled)
        }
    }
    let parts = host(1).dispatcher.inner.parts.clone();
    let dispatcher = Dispatcher::new(Stubborn, parts);
    let admission = dispatcher.admit(&job("a")).unwrap();
    let firings = vec![firing(&job("a"), Cause::Schedule, 1)];
    let results = dispatcher.store().fire(firings, instant(1)).await.unwrap();
    let [FireResult::Recorded(run)] = &results[..] else {
        panic!("{results:?}");
    };
    dispatcher.dispatch(vec![(run.clone(), admission)]);
    let drained = dispatcher.drain(Duration::ZERO).await;
    assert_eq!(drained.cancelled, 1);
    let totals = dispatcher.store().totals().await.unwrap();
    assert_eq!(totals.ended(Outcome::Cancelled), 1);
}

/// A job that counts its runs in its state, two of which may be in flight.
fn counter() -> Arc<Job> {
    Arc::new(Job {
        grants: Arc::new(Grants {
            state: Some(StateQuota::DEFAULT),
            ..Grants::default()
        }),
        max_instances: 2,
        ..(*component("a", "keep.wasm")).clone()
    })
}

#[tokio::test]
async fn what_a_run_changes_lands_when_it_has_succeeded() {
    let mut host = host(4);
    let counter = counter();
    for _ in 0..3 {
        host.open(1);
        host.fire(&counter).await.unwrap();
        assert_eq!(host.told().await, "started a");
        assert_eq!(host.told().await, "finished a succeeded");
    }
    let store = host.dispatcher.store();
    let state = store.state(&counter.id).await.unwrap();
    assert_eq!(state.get("count").map(|value| value[0]), Some(3));
    let record = newest(&**store).await;
    assert!(
        record.execution().unwrap().state.is_none(),
        "the record keeps no copy"
    );
}

#[tokio::test]
async fn of_two_runs_that_change_the_same_the_second_to_end_fails() {
    let mut host = host(4);
    let counter = counter();
    for _ in 0..2 {
        host.fire(&counter).await.unwrap();
        assert_eq!(host.told().await, "started a");
        host.settle().await; // both have read before one of them ends
    }
    host.open(2);
    assert_eq!(host.told().await, "finished a succeeded");
    assert_eq!(host.told().await, "finished a failed");
    let store = host.dispatcher.store();
    let state = store.state(&counter.id).await.unwrap();
    assert_eq!(state.get("count").map(|value| value[0]), Some(1));
    let record = newest(&**store).await;
    let execution = record.execution().unwrap();
    let error = execution.error.as_deref().unwrap();
    assert!(
        error.contains("another run of the job changed `count`"),
        "{error}"
    );
    assert_eq!(execution.retry, Retry::ByPolicy);
}
