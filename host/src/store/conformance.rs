//! What every store must do: one suite for all of them.
//!
//! A backend's own tests call [`run`] with a function that makes an empty store. Each check is
//! a public function too, for a backend that wants to run one alone.

use std::sync::Arc;
use std::time::Duration;

use super::{FinishError, FireResult, Skip, Store};
use crate::clock::Timestamp;
use crate::job::{Grants, Job, JobId, Limits, Origin, Scope, StateQuota};
use crate::record::{Kind, Pause, Retention, RunQuery, RunRecord, Status};
use crate::run::{Attempt, Cause, Execution, FinishedRun, Firing, Outcome, Retry, Run, SkipReason};
use crate::state::{Changes, StateError};
use crate::trigger::Trigger;

/// Runs every check, each on a store of its own.
pub async fn run<S: Store>(mut make: impl FnMut() -> S) {
    a_run_carries_what_fired_it(&make()).await;
    an_instant_is_recorded_once(&make()).await;
    a_group_cannot_hold_an_instant_twice(&make()).await;
    what_people_start_is_never_a_duplicate(&make()).await;
    the_last_success_is_of_the_job_alone(&make()).await;
    the_newest_comes_first(&make()).await;
    of_each_kind_those_are_found(&make()).await;
    state_lands_with_the_end_of_a_run(&make()).await;
    state_lands_whole_or_not_at_all(&make()).await;
    what_is_old_or_too_much_goes(&make()).await;
    pauses_are_kept(&make()).await;
    a_skipped_instant_can_be_reopened(&make()).await;
    everything_is_counted(&make()).await;
    skips_are_kept_with_their_reason(&make()).await;
    a_forgotten_job_starts_anew(&make()).await;
    many_at_once_lose_nothing(Arc::new(make())).await;
}

/// An instant, in seconds since 1970.
pub fn instant(second: i64) -> Timestamp {
    Timestamp::from_timestamp(second, 0).unwrap()
}

/// A job that runs every minute.
pub fn job(id: &str) -> Arc<Job> {
    Arc::new(Job {
        id: JobId::from(id),
        description: None,
        component: "hello.wasm".into(),
        sha256: None,
        trigger: Trigger::every(Duration::from_secs(60)).unwrap(),
        run_on_start: false,
        enabled: true,
        version: None,
        params: None,
        args: Arc::new([]),
        limits: Limits::DEFAULT,
        grants: Arc::new(Grants::default()),
        max_instances: 1,
        policies: Arc::default(),
        deterministic: false,
        origin: Origin::default(),
    })
}

/// A firing of a job for an instant.
pub fn firing(job: &Arc<Job>, cause: Cause, second: i64) -> Firing {
    Firing {
        job: job.clone(),
        cause,
        scheduled_at: instant(second),
    }
}

/// A way to end.
pub fn execution(outcome: Outcome) -> Execution {
    Execution {
        outcome,
        error: (outcome != Outcome::Succeeded).then(|| "it did not work".to_owned()),
        retry: Retry::Never,
        output: None,
        output_dropped: 0,
        log: Vec::new(),
        log_dropped: 0,
        fuel_used: 7,
        memory_peak: 65_536,
        cpu_time: Duration::from_micros(3),
        elapsed: Duration::from_micros(5),
        ..Execution::without_guest(outcome, "", Retry::Never)
    }
}

/// The record of a run whose first attempt ended at `second`.
pub fn finished(run: &Arc<Run>, second: i64, execution: Execution) -> Arc<FinishedRun> {
    Arc::new(FinishedRun {
        attempt: attempt(run, second),
        finished_at: instant(second),
        execution,
    })
}

/// A skip of a job for an instant.
pub fn skip(job: &Arc<Job>, second: i64) -> Skip {
    Skip {
        job: job.clone(),
        cause: Cause::Schedule,
        scheduled_at: instant(second),
        through: None,
        run: None,
        at: instant(second),
        reason: SkipReason::MaxInstances(1),
    }
}

fn attempt(run: &Arc<Run>, second: i64) -> Attempt {
    Attempt {
        run: run.clone(),
        number: 1,
        started_at: instant(second),
        run_started_at: instant(second),
    }
}

/// Records one firing, which must not be a duplicate.
pub async fn record(store: &impl Store, firing: Firing) -> Arc<Run> {
    let now = firing.scheduled_at;
    match store.fire(vec![firing], now).await.unwrap().remove(0) {
        FireResult::Recorded(run) => run,
        FireResult::Duplicate(firing) => panic!("already recorded: {firing:?}"),
    }
}

/// The newest of all records.
pub async fn newest(store: &(impl Store + ?Sized)) -> RunRecord {
    let newest = store.runs(RunQuery::newest(1)).await.unwrap();
    newest.into_iter().next().expect("something is recorded")
}

/// How a group was answered: true for each that was recorded.
async fn recorded(store: &impl Store, firings: Vec<Firing>) -> Vec<bool> {
    let results = store.fire(firings, instant(0)).await.unwrap();
    let recorded = |result: &FireResult| matches!(result, FireResult::Recorded(_));
    results.iter().map(recorded).collect()
}

/// A run says which job, which instant and which cause it is of, in the order of the firings.
pub async fn a_run_carries_what_fired_it(store: &impl Store) {
    let (a, b) = (job("a"), job("b"));
    let group = vec![
        firing(&a, Cause::Schedule, 60),
        firing(&b, Cause::Manual, 61),
    ];
    let results = store.fire(group, instant(62)).await.unwrap();
    let [FireResult::Recorded(first), FireResult::Recorded(second)] = results.as_slice() else {
        panic!("both are new: {results:?}");
    };
    assert!(Arc::ptr_eq(&first.job, &a) || first.job == a);
    assert_eq!(first.scheduled_at, instant(60));
    assert_eq!(first.cause, Cause::Schedule);
    assert_eq!(first.max_attempts, 1);
    assert_eq!(first.last_success, None);
    assert_eq!(second.job.id, b.id);
    assert_eq!(second.cause, Cause::Manual);
    assert_ne!(first.id, second.id);
    assert!(
        store
            .fire(Vec::new(), instant(63))
            .await
            .unwrap()
            .is_empty()
    );
}

/// A second firing of an instant is a duplicate, whichever of the two causes it has.
pub async fn an_instant_is_recorded_once(store: &impl Store) {
    let a = job("a");
    for second in (60..=600).step_by(60) {
        record(store, firing(&a, Cause::Schedule, second)).await;
    }
    for second in (60..=600).step_by(60) {
        for cause in [Cause::Schedule, Cause::CatchUp] {
            assert_eq!(
                recorded(store, vec![firing(&a, cause, second)]).await,
                [false]
            );
        }
    }
    // Another job's instants are its own, and a microsecond makes another instant.
    record(store, firing(&job("b"), Cause::Schedule, 60)).await;
    let mut near = firing(&a, Cause::Schedule, 60);
    near.scheduled_at += chrono::TimeDelta::microseconds(1);
    record(store, near).await;
}

/// The second of two firings in one call is the duplicate; the rest of the group is recorded.
pub async fn a_group_cannot_hold_an_instant_twice(store: &impl Store) {
    let a = job("a");
    let group = vec![
        firing(&a, Cause::Schedule, 60),
        firing(&a, Cause::CatchUp, 60),
        firing(&a, Cause::Schedule, 120),
    ];
    assert_eq!(recorded(store, group).await, [true, false, true]);
}

/// A person, a program or an upstream job may start any number of runs at an instant.
pub async fn what_people_start_is_never_a_duplicate(store: &impl Store) {
    let a = job("a");
    let causes = [
        Cause::Schedule,
        Cause::Manual,
        Cause::Manual,
        Cause::Api,
        Cause::Api,
        Cause::Upstream,
        Cause::Upstream,
    ];
    let group = causes.map(|cause| firing(&a, cause, 60)).to_vec();
    assert_eq!(recorded(store, group).await, [true; 7]);
    // Nor do they take the instant of a run by schedule.
    let group = vec![
        firing(&a, Cause::Manual, 120),
        firing(&a, Cause::Schedule, 120),
    ];
    assert_eq!(recorded(store, group).await, [true, true]);
}

/// The last success is the latest end of a successful run of that job, told to its next run.
pub async fn the_last_success_is_of_the_job_alone(store: &impl Store) {
    let (a, b) = (job("a"), job("b"));
    assert_eq!(store.last_success(&a.id).await.unwrap(), None);
    for (second, end, outcome) in [
        (60, 90, Outcome::Succeeded),
        (120, 80, Outcome::Succeeded), // told late: ended before the other
        (180, 200, Outcome::Failed),
        (240, 260, Outcome::Cancelled),
    ] {
        let run = record(store, firing(&a, Cause::Schedule, second)).await;
        let end = finished(&run, end, execution(outcome));
        store.finished(end, None).await.unwrap();
    }
    assert_eq!(store.last_success(&a.id).await.unwrap(), Some(instant(90)));
    assert_eq!(store.last_success(&b.id).await.unwrap(), None);
    let next = record(store, firing(&a, Cause::Schedule, 300)).await;
    assert_eq!(next.last_success, Some(instant(90)));
    let other = record(store, firing(&b, Cause::Schedule, 300)).await;
    assert_eq!(other.last_success, None);
}

/// History is read newest first, of one job or of all, and no more than asked for.
pub async fn the_newest_comes_first(store: &impl Store) {
    let jobs = [job("a"), job("b")];
    for second in 1..=6 {
        let which = &jobs[usize::from(second % 2 == 0)];
        let run = record(store, firing(which, Cause::Schedule, second)).await;
        let end = finished(&run, second, execution(Outcome::Succeeded));
        store.finished(end, None).await.unwrap();
    }
    for (job, limit, expected) in [
        (None, 10, vec![6, 5, 4, 3, 2, 1]),
        (None, 2, vec![6, 5]),
        (Some("a"), 10, vec![5, 3, 1]),
        (Some("b"), 1, vec![6]),
        (Some("c"), 10, vec![]),
        (None, 0, vec![]),
    ] {
        let id = job.map(JobId::from);
        let query = RunQuery {
            job: id,
            ..RunQuery::newest(limit)
        };
        let runs = store.runs(query).await.unwrap();
        let of: Vec<i64> = runs
            .iter()
            .map(|run| run.scheduled_at.timestamp())
            .collect();
        assert_eq!(of, expected, "of {job:?}, at most {limit}");
    }
    let newest = newest(store).await;
    assert_eq!(newest.execution().unwrap().fuel_used, 7);
    assert_eq!(newest.finished_at(), Some(instant(6)));
    assert_eq!(newest.status, Status::Finished(Outcome::Succeeded));
    assert_eq!(newest.recorded_at, instant(6));
}

/// Whatever is asked for, exactly the records that it names are found, the newest first.
pub async fn of_each_kind_those_are_found(store: &impl Store) {
    let jobs = [job("a"), job("b")];
    for second in 1..=16 {
        let which = &jobs[usize::from(second % 3 == 0)];
        if second % 5 == 0 {
            store.skipped(skip(which, second));
            continue;
        }
        let run = record(store, firing(which, Cause::Schedule, second)).await;
        let outcome = match second % 4 {
            0 => continue,
            1 => Outcome::Succeeded,
            2 => Outcome::Failed,
            _ => Outcome::Lost,
        };
        let end = finished(&run, second, execution(outcome));
        store.finished(end, None).await.unwrap();
    }
    let all = store.runs(RunQuery::newest(100)).await.unwrap();
    assert_eq!(all.len(), 16);
    let [well, failed, lost] =
        [Outcome::Succeeded, Outcome::Failed, Outcome::Lost].map(Kind::Finished);
    let kinds: [&[Kind]; 8] = [
        &[],
        &[Kind::Recorded],
        &[Kind::Recorded, Kind::Running],
        &[Kind::Skipped],
        &[failed, lost],
        &[failed, Kind::Skipped],
        &[well],
        &[well, lost, Kind::Recorded],
    ];
    for kinds in kinds {
        for job in [None, Some("a"), Some("b"), Some("c")] {
            for limit in [2, 100] {
                let query = RunQuery {
                    job: job.map(JobId::from),
                    since: Some(instant(3)),
                    ..RunQuery::newest(limit).only(kinds.to_vec())
                };
                let wanted = all.iter().filter(|record| query.wants(record));
                let wanted: Vec<_> = wanted.map(|record| record.id).take(limit).collect();
                let found = store.runs(query.clone()).await.unwrap();
                let found: Vec<_> = found.iter().map(|record| record.id).collect();
                assert_eq!(found, wanted, "{query:?}");
            }
        }
    }
}

/// A job that may keep three keys.
fn keeper(id: &str) -> Arc<Job> {
    let grants = Grants {
        state: Some(StateQuota { keys: 3, size: 100 }),
        ..Grants::default()
    };
    Arc::new(Job {
        grants: Arc::new(grants),
        ..(*job(id)).clone()
    })
}

/// What a run changes that begins with the state as it is now.
async fn changes(store: &impl Store, job: &Job, keys: &[&str]) -> Changes {
    let mut changes = Changes::on(store.state(&job.id).await.unwrap());
    for key in keys {
        changes.get(key);
        let value = Some(Arc::from(key.as_bytes()));
        changes
            .write(key, value, StateQuota::MAXIMUM)
            .expect("it is far below that quota");
    }
    changes
}

async fn keys(store: &impl Store, job: &Job) -> String {
    let state = store.state(&job.id).await.unwrap();
    let keys: Vec<&str> = state.keys("").map(|key| &**key).collect();
    keys.join(" ")
}

/// What a run changes lands with the record of its end; each job's state is its own, and it
/// outlives the definition.
pub async fn state_lands_with_the_end_of_a_run(store: &impl Store) {
    let (a, b) = (keeper("a"), keeper("b"));
    assert_eq!(keys(store, &a).await, "");
    let run = record(store, firing(&a, Cause::Manual, 1)).await;
    let state = changes(store, &a, &["x", "y"]).await;
    let end = finished(&run, 2, execution(Outcome::Succeeded));
    store.finished(end, Some(state)).await.unwrap();
    assert_eq!(
        (&*keys(store, &a).await, &*keys(store, &b).await),
        ("x y", "")
    );
    let state = changes(store, &a, &["z"]).await;
    let now = store.checkpoint(&a, state).await.unwrap();
    assert_eq!(now.len(), 3);
    assert_eq!(keys(store, &a).await, "x y z");
    store.forget(&a.id).await.unwrap();
    assert_eq!(keys(store, &a).await, "x y z");
}

/// Of changes that cannot land, nothing lands, and the end that they came with is not recorded.
pub async fn state_lands_whole_or_not_at_all(store: &impl Store) {
    let a = keeper("a");
    let run = record(store, firing(&a, Cause::Manual, 1)).await;
    let end = || finished(&run, 2, execution(Outcome::Succeeded));
    let too_much = changes(store, &a, &["v", "w", "x", "y"]).await;
    let refused = store.finished(end(), Some(too_much.clone())).await;
    assert!(
        matches!(refused, Err(FinishError::State(StateError::Quota { .. }))),
        "{refused:?}"
    );
    assert!(store.checkpoint(&a, too_much).await.is_err());
    let (first, second) = (
        changes(store, &a, &["x"]).await,
        changes(store, &a, &["x", "y"]).await,
    );
    store.checkpoint(&a, first).await.unwrap();
    let refused = store.finished(end(), Some(second)).await;
    assert_eq!(
        refused,
        Err(FinishError::State(StateError::Conflict { key: "x".into() }))
    );
    assert_eq!(keys(store, &a).await, "x");
    assert_eq!(store.totals().await.unwrap().finished(), 0);
    assert_eq!(newest(store).await.status, Status::Recorded);
    store.finished(end(), None).await.unwrap();
    assert_eq!(store.totals().await.unwrap().finished(), 1);
}

/// What is older than it is to be, or more, is removed; what has not ended stays.
pub async fn what_is_old_or_too_much_goes(store: &impl Store) {
    let (a, b) = (job("a"), job("b"));
    let open = record(store, firing(&a, Cause::Schedule, 1)).await;
    for second in 2..=9 {
        let which = if second % 2 == 0 { &a } else { &b };
        let run = record(store, firing(which, Cause::Schedule, second)).await;
        let end = finished(&run, second, execution(Outcome::Succeeded));
        store.finished(end, None).await.unwrap();
    }
    let left = async || {
        let runs = store.runs(RunQuery::newest(100)).await.unwrap();
        let seconds = runs.iter().map(|run| run.scheduled_at.timestamp());
        seconds.collect::<Vec<i64>>()
    };
    let nothing = Retention {
        age: None,
        runs_per_job: None,
        size: None,
    };
    assert_eq!(store.prune(nothing, instant(1_000)).await.unwrap(), 0);
    let old = Retention {
        age: Some(Duration::from_secs(100)),
        ..nothing
    };
    assert_eq!(store.prune(old, instant(104)).await.unwrap(), 2);
    assert_eq!(left().await, [9, 8, 7, 6, 5, 4, 1]);
    assert_eq!(store.prune(old, instant(104)).await.unwrap(), 0);
    let few = Retention {
        runs_per_job: Some(1),
        ..nothing
    };
    assert_eq!(store.prune(few, instant(104)).await.unwrap(), 4);
    assert_eq!(left().await, [9, 8, 1]);
    let end = finished(&open, 105, execution(Outcome::Succeeded));
    store.finished(end, None).await.unwrap();
    assert_eq!(store.run(open.id).await.unwrap().unwrap().attempts.len(), 1);
}

/// What is paused stays so since when it was, until it goes on.
pub async fn pauses_are_kept(store: &impl Store) {
    let group = Scope::Group("a".into());
    let scopes = [Scope::All, group.clone(), Scope::Job("a".into())];
    assert_eq!(store.pauses().await.unwrap(), []);
    for (second, scope) in (1..).zip(scopes.iter().rev()) {
        let set = |since| store.set_paused(scope.clone(), since);
        assert!(!set(None).await.unwrap(), "{scope}");
        assert!(set(Some(instant(second))).await.unwrap(), "{scope}");
        assert!(!set(Some(instant(99))).await.unwrap(), "{scope}");
    }
    let paused = |scopes: &[Scope], seconds: &[i64]| -> Vec<Pause> {
        let both = scopes.iter().cloned().zip(seconds.iter().copied());
        both.map(|(scope, second)| Pause {
            scope,
            since: instant(second),
        })
        .collect()
    };
    assert_eq!(store.pauses().await.unwrap(), paused(&scopes, &[3, 2, 1]));
    assert!(store.set_paused(Scope::All, None).await.unwrap());
    assert!(!store.set_paused(Scope::All, None).await.unwrap());
    assert_eq!(store.pauses().await.unwrap(), paused(&scopes[1..], &[2, 1]));
}

/// An instant whose run was skipped can have another one; one that has a run is known for it.
pub async fn a_skipped_instant_can_be_reopened(store: &impl Store) {
    let a = job("a");
    let b = job("b");
    let due = |second| firing(&a, Cause::Schedule, second);
    let run = record(store, due(60)).await;
    record(store, due(120)).await;
    record(store, firing(&a, Cause::Manual, 90)).await;
    record(store, firing(&b, Cause::Schedule, 60)).await;
    let known = |from, until| store.instants(&a.id, instant(from), instant(until));
    assert_eq!(known(0, 999).await.unwrap(), [instant(60), instant(120)]);
    assert_eq!(known(60, 120).await.unwrap(), [instant(60)]);
    assert_eq!(recorded(store, vec![due(60)]).await, [false]);
    store.skipped(Skip {
        run: Some(run.id),
        ..skip(&a, 60)
    });
    assert_eq!(known(0, 999).await.unwrap(), [instant(120)]);
    let again = firing(&a, Cause::CatchUp, 60);
    assert_eq!(recorded(store, vec![again.clone()]).await, [false]);
    let reopened = vec![instant(60), instant(120), instant(180)];
    store.reopen(&b.id, reopened.clone()).await.unwrap();
    assert_eq!(recorded(store, vec![again.clone()]).await, [false]);
    store.reopen(&a.id, reopened).await.unwrap();
    assert_eq!(recorded(store, vec![again.clone()]).await, [true]);
    assert_eq!(recorded(store, vec![again, due(120)]).await, [false, false]);
    assert_eq!(known(0, 999).await.unwrap(), [instant(60), instant(120)]);
    // The skip stays on record.
    let skips = RunQuery::newest(9).only([Kind::Skipped]);
    let skips = store.runs(skips).await.unwrap();
    assert_eq!(skips.len(), 1);
    assert_eq!(skips[0].id, run.id);
}

/// Runs, starts, ends by outcome and skips are all counted.
pub async fn everything_is_counted(store: &impl Store) {
    assert_eq!(store.totals().await.unwrap(), super::Totals::default());
    let a = job("a");
    for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
        for extra in 0..=index {
            let second = i64::try_from(index * 100 + extra).unwrap();
            let run = record(store, firing(&a, Cause::Schedule, second)).await;
            store.started(&attempt(&run, second));
            let end = finished(&run, second, execution(outcome));
            store.finished(end, None).await.unwrap();
        }
    }
    assert_eq!(
        recorded(store, vec![firing(&a, Cause::Schedule, 600)]).await,
        [false]
    );
    store.skipped(skip(&a, 1));
    store.skipped(Skip {
        reason: SkipReason::Missed(Some(5)),
        ..skip(&a, 2)
    });
    store.skipped(Skip {
        reason: SkipReason::Missed(None),
        ..skip(&a, 3)
    });
    let totals = store.totals().await.unwrap();
    for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
        assert_eq!(totals.ended(outcome), index as u64 + 1, "{outcome:?}");
    }
    assert_eq!(totals.by_outcome().len(), Outcome::ALL.len());
    let runs = (1..=Outcome::ALL.len() as u64).sum::<u64>();
    assert_eq!(totals.finished(), runs);
    assert_eq!(totals.recorded, runs);
    assert_eq!(totals.started, runs);
    assert_eq!(totals.skipped, 7);
}

/// A skip can be read back with its reason, and with its run if it had one.
pub async fn skips_are_kept_with_their_reason(store: &impl Store) {
    let (a, b) = (job("a"), job("b"));
    let run = record(store, firing(&a, Cause::Schedule, 60)).await;
    store.skipped(skip(&b, 59));
    store.skipped(Skip {
        run: Some(run.id),
        reason: SkipReason::Stopping,
        ..skip(&a, 60)
    });
    let skips = store.runs(RunQuery::newest(10).only([Kind::Skipped])).await;
    let skips = skips.unwrap();
    let statuses: Vec<&Status> = skips.iter().map(|skip| &skip.status).collect();
    assert_eq!(
        statuses,
        [
            &Status::Skipped(SkipReason::Stopping),
            &Status::Skipped(SkipReason::MaxInstances(1))
        ]
    );
    let of_a = store.runs(RunQuery::newest(10).of(&a.id)).await.unwrap();
    assert_eq!(of_a.len(), 1);
    assert_eq!(of_a[0].id, run.id);
    assert_eq!(of_a[0].scheduled_at, instant(60));
    // It was skipped and not run: its instant is taken all the same.
    assert_eq!(
        recorded(store, vec![firing(&a, Cause::CatchUp, 60)]).await,
        [false]
    );
}

/// A job that comes back after it was forgotten has no past but its history.
pub async fn a_forgotten_job_starts_anew(store: &impl Store) {
    let a = job("a");
    let run = record(store, firing(&a, Cause::Schedule, 60)).await;
    let end = finished(&run, 61, execution(Outcome::Succeeded));
    store.finished(end, None).await.unwrap();
    let in_flight = record(store, firing(&a, Cause::Schedule, 120)).await;
    store.forget(&a.id).await.unwrap();
    store.forget(&JobId::from("never there")).await.unwrap();
    assert_eq!(store.last_success(&a.id).await.unwrap(), None);
    let finished_ones = || store.runs(RunQuery::newest(10).of(&a.id).only(Kind::finished()));
    assert_eq!(finished_ones().await.unwrap().len(), 1);
    // The end of a run that outlives its job is recorded, and brings nothing else back.
    let end = finished(&in_flight, 121, execution(Outcome::Succeeded));
    store.finished(end, None).await.unwrap();
    assert_eq!(finished_ones().await.unwrap().len(), 2);
    assert_eq!(store.last_success(&a.id).await.unwrap(), None);
    assert_eq!(
        record(store, firing(&a, Cause::Schedule, 180))
            .await
            .last_success,
        None
    );
}

/// Of those who record the same instants at the same time, each instant has one winner.
pub async fn many_at_once_lose_nothing<S: Store>(store: Arc<S>) {
    let jobs: Arc<Vec<Arc<Job>>> = Arc::new((0..50).map(|n| job(&n.to_string())).collect());
    let rivals: Vec<_> = (0..4)
        .map(|_| {
            let (store, jobs) = (store.clone(), jobs.clone());
            // Threads of their own: the runtime of a test has but one.
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let mut won = 0;
                    for second in 1..=20 {
                        let group = jobs
                            .iter()
                            .map(|job| firing(job, Cause::Schedule, second))
                            .collect();
                        for result in store.fire(group, instant(second)).await.unwrap() {
                            if let FireResult::Recorded(run) = result {
                                won += 1;
                                let end = finished(&run, second, execution(Outcome::Succeeded));
                                store.finished(end, None).await.unwrap();
                            }
                        }
                    }
                    won
                })
            })
        })
        .collect();
    let won: u64 = rivals.into_iter().map(|rival| rival.join().unwrap()).sum();
    assert_eq!(won, 50 * 20);
    let totals = store.totals().await.unwrap();
    assert_eq!(totals.recorded, 1_000);
    assert_eq!(totals.ended(Outcome::Succeeded), 1_000);
    assert_eq!(
        store.runs(RunQuery::newest(2_000)).await.unwrap().len(),
        1_000
    );
}
