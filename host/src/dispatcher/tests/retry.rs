//! Runs of more than one attempt.

use super::*;
use crate::job::{Failure, Failures, Limits, Overlap, Policies, RetryPolicy};
use crate::record::{RunRecord, Status};

/// A job that ends as the script says, of three attempts 10 s and 20 s apart.
fn three(change: impl FnOnce(&mut Policies)) -> Arc<Job> {
    let mut policies = Policies::default();
    policies.retry = RetryPolicy {
        attempts: 3,
        ..policies.retry
    };
    change(&mut policies);
    Arc::new(Job {
        policies: Arc::new(policies),
        ..(*component("a", "script.wasm")).clone()
    })
}

fn failing(outcome: Outcome, retry: Retry) -> Execution {
    Execution {
        retry,
        ..execution(outcome)
    }
}

fn fails() -> Execution {
    failing(Outcome::Failed, Retry::ByPolicy)
}

impl Host {
    pub(super) fn script(&self, script: impl IntoIterator<Item = Execution>) {
        self.dispatcher.executor().script.lock().extend(script);
    }

    async fn after(&mut self, seconds: u64) -> String {
        self.clock.advance(Duration::from_secs(seconds));
        self.told().await
    }

    async fn newest(&self) -> RunRecord {
        let query = RunQuery::newest(1).of(&"a".into());
        let records = self.dispatcher.store().runs(query).await.unwrap();
        records.into_iter().next().expect("it is recorded")
    }

    async fn error(&self) -> String {
        let record = self.newest().await;
        record.execution().unwrap().error.clone().unwrap()
    }

    /// Nothing is told as long as nothing happens.
    pub(super) async fn is_silent(&mut self) {
        self.settle().await;
        assert!(self.events.try_recv().is_none());
    }
}

#[tokio::test]
async fn attempts_belong_to_one_run_and_come_after_their_waits() {
    let mut host = host(4);
    let succeeds = execution(Outcome::Succeeded);
    host.script([
        fails(),
        failing(Outcome::TimedOut, Retry::ByPolicy),
        succeeds,
    ]);
    let run = host.fire(&three(|_| {})).await.unwrap();
    assert_eq!(run.max_attempts, 3);
    assert_eq!(host.told().await, "started a");
    assert_eq!(host.told().await, "retrying a failed at 1010");
    host.clock.advance(Duration::from_secs(9));
    host.is_silent().await;
    // It keeps its place among those of its job, and no worker.
    assert_eq!(host.dispatcher.in_flight(), 1);
    assert_eq!(host.dispatcher.inner.slots.state.lock().workers, 0);
    let refused = SkipReason::MaxInstances(1);
    assert_eq!(host.fire(&three(|_| {})).await.unwrap_err(), refused);
    assert_eq!(host.newest().await.status, Status::Recorded);

    assert_eq!(host.after(1).await, "started a");
    assert_eq!(host.told().await, "retrying a timed_out at 1030");
    assert_eq!(host.after(20).await, "started a");
    assert_eq!(host.told().await, "finished a succeeded");
    let record = host.newest().await;
    assert_eq!(record.id, run.id);
    assert_eq!(record.status, Status::Finished(Outcome::Succeeded));
    let attempts: Vec<(u32, i64)> = record
        .attempts
        .iter()
        .map(|attempt| (attempt.number, attempt.started_at.timestamp()))
        .collect();
    assert_eq!(attempts, [(1, 1_000), (2, 1_010), (3, 1_030)]);
    host.settle().await;
    assert!(host.dispatcher.inner.slots.state.lock().jobs.is_empty());
    let totals = host.totals().await;
    assert_eq!((totals.started, totals.finished()), (3, 1));
}

#[tokio::test]
async fn the_last_attempt_is_the_end_whatever_it_says() {
    let mut host = host(4);
    host.script([fails(), fails(), fails()]);
    host.fire(&three(|_| {})).await.unwrap();
    host.told().await;
    host.told().await;
    host.after(10).await;
    host.told().await;
    assert_eq!(host.after(20).await, "started a");
    assert_eq!(host.told().await, "finished a failed");

    // And the first one is, if the job says that another is of no use.
    host.settle().await;
    host.script([failing(Outcome::Failed, Retry::Never)]);
    host.fire(&three(|_| {})).await.unwrap();
    assert_eq!(host.told().await, "started a");
    assert_eq!(host.told().await, "finished a failed");
    assert_eq!(host.error().await, "it did not work");
}

#[tokio::test]
async fn a_wait_that_the_job_asks_for_is_kept() {
    let mut host = host(4);
    let later = Retry::After(Duration::from_secs(100));
    host.script([
        failing(Outcome::Failed, later),
        execution(Outcome::Succeeded),
    ]);
    host.fire(&three(|_| {})).await.unwrap();
    host.told().await;
    assert_eq!(host.told().await, "retrying a failed at 1100");
    host.clock.advance(Duration::from_secs(99));
    host.is_silent().await;
    assert_eq!(host.after(1).await, "started a");
}

#[tokio::test]
async fn a_run_that_waits_for_its_next_attempt_can_be_cancelled() {
    let mut host = host(4);
    host.script([fails()]);
    let run = host.fire(&three(|_| {})).await.unwrap();
    host.told().await;
    host.told().await;
    host.settle().await;
    assert!(host.dispatcher.cancel(run.id));
    assert_eq!(host.told().await, "finished a cancelled");
    assert_eq!(
        host.error().await,
        "cancelled on request before attempt 2 of 3"
    );
    host.clock.advance(Duration::from_secs(100));
    host.is_silent().await;
    assert_eq!(host.dispatcher.in_flight(), 0);
    assert_eq!(host.totals().await.started, 1);
}

#[tokio::test]
async fn a_run_that_was_cancelled_and_fails_is_not_tried_again() {
    let mut host = host(4);
    let job = Arc::new(Job {
        component: "keep.wasm".into(),
        ..(*three(|_| {})).clone()
    });
    let gated = Arc::new(Job {
        grants: counter().grants.clone(),
        ..(*job).clone()
    });
    // It fails because what it did to its state cannot land.
    for n in 0..2 {
        let job = Job {
            max_instances: 2,
            ..(*gated).clone()
        };
        let run = host.fire(&Arc::new(job)).await.unwrap();
        host.told().await;
        host.settle().await;
        if n == 1 {
            assert!(host.dispatcher.cancel(run.id));
        }
    }
    host.open(2);
    assert_eq!(host.told().await, "finished a succeeded");
    assert_eq!(host.told().await, "finished a failed");
}

#[tokio::test]
async fn state_that_cannot_land_is_a_failure_that_may_pass() {
    let mut host = host(4);
    let job = Arc::new(Job {
        component: "keep.wasm".into(),
        grants: counter().grants.clone(),
        max_instances: 2,
        ..(*three(|_| {})).clone()
    });
    for _ in 0..2 {
        host.fire(&job).await.unwrap();
        assert_eq!(host.told().await, "started a");
        host.settle().await; // both have read before one of them ends
    }
    host.open(2);
    assert_eq!(host.told().await, "finished a succeeded");
    assert_eq!(host.told().await, "retrying a failed at 1010");
    host.open(1);
    assert_eq!(host.after(10).await, "started a");
    assert_eq!(host.told().await, "finished a succeeded");
    let state = host.dispatcher.store().state(&job.id).await.unwrap();
    assert_eq!(state.get("count").map(|value| value[0]), Some(2));
}

#[tokio::test]
async fn a_host_that_stops_does_not_wait_for_attempts_to_come() {
    let mut host = host(4);
    host.script([fails()]);
    host.fire(&three(|_| {})).await.unwrap();
    host.told().await;
    host.told().await;
    host.settle().await;
    let drained = host.dispatcher.drain(Duration::from_secs(1_000)).await;
    let expected = Drained {
        skipped: 0,
        finished: 0,
        cancelled: 1,
    };
    assert_eq!(drained, expected);
    assert_eq!(host.told().await, "finished a cancelled");
    assert_eq!(
        host.error().await,
        "cancelled: the host is stopping, before attempt 2 of 3"
    );
}

#[tokio::test]
async fn no_attempt_follows_one_that_fails_while_the_host_stops() {
    let mut host = host(4);
    host.script([fails()]);
    let gate = component("gate", "gate.wasm");
    host.fire(&gate).await.unwrap();
    assert_eq!(host.told().await, "started gate");
    host.dispatcher.inner.slots.state.lock().stopping = true;
    let attempt = Queued {
        run: host.record(firing(&three(|_| {}), Cause::Manual, 1)).await,
        cancel: Cancel::new(),
        number: 1,
        since: None,
    };
    let mut displaced = Vec::new();
    {
        let mut state = host.dispatcher.inner.slots.state.lock();
        state.stopping = false;
        let seat = state.admit(&attempt.run.job).unwrap();
        state.enter(attempt, seat, &mut displaced);
    }
    host.dispatcher.inner.add_workers();
    host.dispatcher.inner.slots.state.lock().stopping = true;
    assert_eq!(host.told().await, "started a");
    assert_eq!(host.told().await, "finished a failed");
    let error = host.error().await;
    assert!(
        error.ends_with("not tried again: the host is stopping"),
        "{error}"
    );
    host.dispatcher.drain(Duration::ZERO).await;
}

#[tokio::test]
async fn the_deadline_of_the_run_bounds_all_attempts() {
    let mut host = host(1);
    let minute = Duration::from_secs(60);
    let job = three(|policies| policies.deadline = Some(minute));
    host.script([fails(), fails(), fails()]);
    host.fire(&job).await.unwrap();
    host.told().await;
    host.told().await;
    assert_eq!(host.after(10).await, "started a");
    assert_eq!(host.told().await, "retrying a failed at 1030");
    // What is left of it is less than the timeout.
    host.settle().await;
    let attempt = Attempt {
        run: host.record(firing(&job, Cause::Manual, 1)).await,
        number: 3,
        started_at: instant(1_030),
        run_started_at: instant(1_000),
    };
    assert_eq!(attempt.deadline(), instant(1_060));
    assert_eq!(attempt.time(), (Duration::from_secs(30), true));
    let first = Attempt {
        run_started_at: instant(1_030),
        ..attempt
    };
    assert_eq!(first.time(), (Limits::DEFAULT.timeout, false));

    // The worker is busy for so long that the third attempt has no time left.
    let other = host.fire(&component("b", "gate.wasm")).await.unwrap();
    assert_eq!(host.told().await, "started b");
    host.clock.advance(minute);
    host.settle().await;
    assert!(host.dispatcher.cancel(other.id));
    assert_eq!(host.told().await, "finished b cancelled");
    assert_eq!(host.told().await, "finished a timed_out");
    let query = RunQuery::newest(9)
        .of(&job.id)
        .only(crate::record::Kind::finished());
    let ended = host.dispatcher.store().runs(query).await.unwrap();
    let error = ended[0].execution().unwrap().error.as_deref();
    assert_eq!(
        error,
        Some("limit: deadline of the run, before attempt 3 of 3")
    );
}

#[tokio::test]
async fn an_attempt_that_waits_makes_way_for_a_replacement() {
    let mut host = host(4);
    let job = three(|policies| policies.overlap = Overlap::Replace);
    host.script([fails(), execution(Outcome::Succeeded)]);
    host.fire(&job).await.unwrap();
    host.told().await;
    host.told().await;
    host.settle().await;
    host.fire(&job).await.unwrap();
    assert_eq!(host.told().await, "finished a cancelled");
    assert_eq!(host.told().await, "started a");
    assert_eq!(host.told().await, "finished a succeeded");
    host.settle().await;
    assert!(host.dispatcher.inner.slots.state.lock().jobs.is_empty());
}

#[tokio::test]
async fn a_removed_job_is_not_attempted_again() {
    // Between two attempts.
    let mut host = host(1);
    let job = three(|_| {});
    host.script([fails()]);
    host.fire(&job).await.unwrap();
    host.told().await;
    assert!(host.told().await.starts_with("retrying"));
    host.settle().await;
    host.dispatcher.withdraw(&job.id);
    assert_eq!(host.told().await, "finished a cancelled");
    assert_eq!(
        host.error().await,
        "cancelled: the job was removed or disabled, before attempt 2 of 3"
    );
    // The next attempt is due, and waits for a worker.
    host.script([fails()]);
    host.fire(&job).await.unwrap();
    host.told().await;
    assert!(host.told().await.starts_with("retrying"));
    host.settle().await;
    host.fire(&component("b", "gate.wasm")).await.unwrap();
    assert_eq!(host.told().await, "started b");
    host.clock.advance(Duration::from_secs(60));
    host.is_silent().await;
    host.dispatcher.withdraw(&job.id);
    assert_eq!(host.told().await, "finished a cancelled");
    host.open(1);
    assert_eq!(host.told().await, "finished b succeeded");
    host.settle().await;
    assert!(host.dispatcher.inner.slots.state.lock().jobs.is_empty());
}

#[tokio::test]
async fn the_attempt_of_a_removed_job_is_the_last() {
    let mut host = host(1);
    let job = three(|policies| {
        let mut on = Failures::default();
        on.insert(Failure::Failed);
        policies.retry.on = Some(on);
    });
    let job = Arc::new(Job {
        component: "panic.wasm".into(),
        ..(*job).clone()
    });
    for (gone, told) in [
        (false, "retrying a failed at 1010"),
        (true, "finished a failed"),
    ] {
        host.fire(&job).await.unwrap();
        assert_eq!(host.told().await, "started a");
        if gone {
            host.dispatcher.withdraw(&job.id); // before the panic: it yields first
        }
        assert_eq!(host.told().await, told);
        host.settle().await;
        host.dispatcher.withdraw(&job.id);
        if !gone {
            assert_eq!(host.told().await, "finished a cancelled");
        }
    }
    assert!(
        host.error()
            .await
            .ends_with("; not tried again: the job was removed or disabled")
    );
}

#[tokio::test]
async fn a_run_of_another_host_that_makes_way_has_an_end() {
    let mut host = host(4);
    let job = three(|policies| policies.overlap = Overlap::Replace);
    let job = Arc::new(Job {
        component: "gate.wasm".into(),
        ..(*job).clone()
    });
    host.fire(&job).await.unwrap();
    assert_eq!(host.told().await, "started a");
    for second in [1, 2] {
        let admission = host.dispatcher.admit(&job).unwrap();
        let run = host.record(firing(&job, Cause::Manual, second)).await;
        host.dispatcher
            .dispatch_from(run, 2, instant(1_000), admission);
    }
    let mut told = [host.told().await, host.told().await, host.told().await];
    told.sort();
    let cancelled = "finished a cancelled";
    assert_eq!(told, [cancelled, cancelled, "started a"]);
}

#[tokio::test]
async fn a_run_of_another_host_goes_on_counting() {
    let mut host = host(4);
    host.script([fails(), fails()]);
    let job = three(|_| {});
    let admission = host.dispatcher.admit(&job).unwrap();
    let run = host.record(firing(&job, Cause::Manual, 1)).await;
    host.dispatcher
        .dispatch_from(run, 2, instant(1_000), admission);
    assert_eq!(host.told().await, "started a");
    assert_eq!(host.told().await, "retrying a failed at 1020");
    assert_eq!(host.after(20).await, "started a");
    assert_eq!(host.told().await, "finished a failed");
    let record = host.newest().await;
    let numbers: Vec<u32> = record
        .attempts
        .iter()
        .map(|attempt| attempt.number)
        .collect();
    assert_eq!(numbers, [2, 3]);
}
