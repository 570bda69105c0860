use std::fs;

use super::super::conformance::{self, execution, finished, firing, instant, job, skip};
use super::*;
use crate::job::{Grants, StateQuota};
use crate::record::Status;
use crate::run::{
    Cause, Denial, Level, LogEntry, Outcome, Output, PluginDigest, Progress, SkipReason,
};

fn now() -> Timestamp {
    instant(1_000)
}

/// That the store in a directory is whole, in SQLite's own opinion.
pub(crate) fn is_whole(directory: &Path) -> bool {
    let connection = Connection::open(directory.join(FILE)).unwrap();
    let check = connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    check.unwrap() == "ok"
}

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir, now()).unwrap()
}

fn refused(dir: &Path) -> String {
    let error = SqliteStore::open(dir, now()).unwrap_err().to_string();
    error.replace(&dir.display().to_string(), "DATA")
}

async fn fire(store: &SqliteStore, firing: Firing) -> Arc<Run> {
    let at = firing.scheduled_at;
    match store.fire(vec![firing], at).await.unwrap().remove(0) {
        FireResult::Recorded(run) => run,
        FireResult::Duplicate(firing) => panic!("already recorded: {firing:?}"),
    }
}

fn begin(store: &SqliteStore, run: &Arc<Run>, second: i64) {
    store.started(&Attempt {
        run: run.clone(),
        number: 1,
        started_at: instant(second),
        run_started_at: instant(second),
    });
}

/// What a host that is killed leaves: the files as they are at this moment.
fn killed(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

#[tokio::test]
async fn it_conforms() {
    let mut dirs = Vec::new();
    conformance::run(|| {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        dirs.push(dir);
        store
    })
    .await;
}

#[tokio::test]
async fn everything_about_a_run_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let run = fire(&store, firing(&job("a"), Cause::CatchUp, 60)).await;
    begin(&store, &run, 61);
    let mut how = execution(Outcome::TimedOut);
    how.plugin = Some(PluginDigest([7; 32]));
    how.output = Some(Output::Bytes(vec![0, 255]));
    how.output_dropped = 5;
    how.log = b"one\ntwo\n".to_vec();
    how.log_dropped = 6;
    how.entries = vec![LogEntry {
        level: Level::Warn,
        message: "low".into(),
        fields: vec![("left".into(), "2".into())],
        after: Duration::from_millis(3),
    }];
    how.denials.add(&Denial {
        what: "a door".into(),
        grant: Some("a key".into()),
        ceiling: None,
    });
    how.denials.count = 9;
    how.progress = Some(Progress {
        done: 1,
        total: Some(2),
        note: "half".into(),
    });
    let end = finished(&run, 62, how.clone());
    store.finished(end, None).await.unwrap();
    drop(store);

    let store = open(dir.path());
    assert!(store.recover().await.unwrap().unfinished.is_empty());
    let record = store.run(run.id).await.unwrap().unwrap();
    assert_eq!(record.id, run.id);
    assert_eq!(record.job, "a".into());
    assert_eq!(record.cause, Cause::CatchUp);
    assert_eq!(record.scheduled_at, instant(60));
    assert_eq!(record.status, Status::Finished(Outcome::TimedOut));
    let [attempt] = record.attempts.as_slice() else {
        panic!("{record:?}");
    };
    assert_eq!((attempt.number, attempt.started_at), (1, instant(62)));
    assert_eq!(record.finished_at(), Some(instant(62)));
    // The advice about another attempt is for the host alone.
    assert_eq!(
        format!("{:?}", record.execution().unwrap()),
        format!("{how:?}")
    );
    // A list has all but what may be large.
    let listed = conformance::newest(&store).await;
    let listed = listed.execution().unwrap();
    assert_eq!((listed.fuel_used, listed.denials.count), (7, 9));
    assert!(listed.output.is_none() && listed.log.is_empty());
}

#[tokio::test]
async fn a_job_that_is_not_enabled_is_left_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (a, b) = (job("a"), job("b"));
    let schedule = |enabled| Schedule {
        trigger: 1,
        since: instant(5),
        dealt_with: Some(instant(60)),
        days_off: None,
        enabled,
    };
    store.enter(vec![
        (a.id.clone(), schedule(false)),
        (b.id.clone(), schedule(false)),
    ]);
    // A run that was recorded ahead, and is skipped because the job is disabled.
    let ahead = fire(&store, firing(&a, Cause::Schedule, 120)).await;
    store.skipped(Skip {
        run: Some(ahead.id),
        reason: SkipReason::Removed,
        ..skip(&a, 120)
    });
    store.enter(vec![(b.id.clone(), schedule(true))]);
    drop(store);
    let recovered = open(dir.path()).recover().await.unwrap();
    let left = recovered.schedules[&a.id];
    assert_eq!((left.enabled, left.dealt_with), (false, None));
    assert_eq!(recovered.schedules[&b.id], schedule(true));
}

#[tokio::test]
async fn what_a_killed_host_left_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (a, b) = (job("a"), job("b"));
    let schedule = Schedule {
        trigger: u64::MAX,
        since: instant(5),
        dealt_with: None,
        days_off: None,
        enabled: true,
    };
    store.enter(vec![(a.id.clone(), schedule), (b.id.clone(), schedule)]);
    let done = fire(&store, firing(&a, Cause::Schedule, 60)).await;
    let end = finished(&done, 61, execution(Outcome::Succeeded));
    store.finished(end, None).await.unwrap();
    store.skipped(Skip {
        through: Some(instant(110)),
        reason: SkipReason::Missed(Some(3)),
        ..skip(&b, 90)
    });
    // What a calendar leaves out is no step of the schedule.
    store.skipped(Skip {
        through: Some(instant(900)),
        reason: SkipReason::Excluded(Some(9), "not_on holidays".into()),
        ..skip(&b, 100)
    });
    let running = fire(&store, firing(&a, Cause::Schedule, 120)).await;
    let ahead = fire(&store, firing(&a, Cause::Schedule, 180)).await;
    begin(&store, &running, 120);
    // Its note is not in the file of the store yet, but in the list of starts.
    let left = killed(dir.path());
    drop(store);

    let store = open(left.path());
    let recovered = store.recover().await.unwrap();
    let dealt_with = |job: &str| recovered.schedules[&JobId::from(job)].dealt_with;
    assert_eq!(recovered.schedules.len(), 2);
    assert_eq!(dealt_with("a"), Some(instant(180)));
    assert_eq!(dealt_with("b"), Some(instant(110)));
    let days_off = |job: &str| recovered.schedules[&JobId::from(job)].days_off;
    assert_eq!((days_off("a"), days_off("b")), (None, Some(instant(900))));
    assert_eq!(recovered.schedules[&a.id].trigger, u64::MAX);
    assert_eq!(recovered.schedules[&a.id].since, instant(5));
    let begun: Vec<_> = recovered
        .unfinished
        .iter()
        .map(|it| (it.record.id, it.begun))
        .collect();
    assert_eq!(begun, [(running.id, Begun::Yes), (ahead.id, Begun::No)]);
    // The one that had not begun is taken up, and no instant has a second run.
    let adopted = store.adopt(ahead.id, a.clone()).await.unwrap().unwrap();
    assert_eq!(adopted.scheduled_at, instant(180));
    assert_eq!(adopted.last_success, Some(instant(61)));
    assert!(store.adopt(done.id, a.clone()).await.unwrap().is_none());
    assert!(store.adopt(ahead.id, b.clone()).await.unwrap().is_none());
    for second in [60, 120, 180] {
        let again = firing(&a, Cause::CatchUp, second);
        let result = store.fire(vec![again], now()).await.unwrap().remove(0);
        assert!(matches!(result, FireResult::Duplicate(_)), "{second}");
    }
    // Should this one be killed too, the next one knows as much.
    let left = killed(left.path());
    drop(store);
    let again = open(left.path());
    let begun: Vec<_> = again.recover().await.unwrap().unfinished;
    let begun: Vec<_> = begun.iter().map(|it| it.begun).collect();
    assert_eq!(begun, [Begun::Yes, Begun::No]);
    drop(again);
    // After the machine itself went down, nobody knows.
    let connection = Connection::open(left.path().join(FILE)).unwrap();
    connection
        .execute("UPDATE host SET value = 'another' WHERE name = 'boot'", [])
        .unwrap();
    drop(connection);
    let recovered = open(left.path()).recover().await.unwrap();
    let begun: Vec<_> = recovered.unfinished.iter().map(|it| it.begun).collect();
    assert_eq!(begun, [Begun::Yes, Begun::Maybe]);
}

#[tokio::test]
async fn states_outlive_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let grants = Grants {
        state: Some(StateQuota { keys: 3, size: 100 }),
        ..Grants::default()
    };
    let a = Arc::new(Job {
        grants: Arc::new(grants),
        ..(*job("a")).clone()
    });
    let store = open(dir.path());
    let stale = store.state(&a.id).await.unwrap();
    let mut changes = Changes::on(stale.clone());
    for key in ["x", "y"] {
        changes.get(key);
        let value = Some(Arc::from(key.as_bytes()));
        changes.write(key, value, StateQuota::MAXIMUM).unwrap();
    }
    store.checkpoint(&a, changes).await.unwrap();
    let mut changes = Changes::on(store.state(&a.id).await.unwrap());
    changes.write("y", None, StateQuota::MAXIMUM).unwrap();
    store.checkpoint(&a, changes).await.unwrap();
    drop(store);
    let store = open(dir.path());
    let state = store.state(&a.id).await.unwrap();
    assert_eq!(state.get("x").map(|value| &**value), Some(&b"x"[..]));
    assert_eq!((state.len(), state.version(), state.size()), (1, 2, 2));
    // What rests on what was there before is still refused.
    let mut late = Changes::on(stale);
    late.get("x");
    late.write("x", Some(Arc::from(&b"z"[..])), StateQuota::MAXIMUM)
        .unwrap();
    assert_eq!(
        store.checkpoint(&a, late).await.unwrap_err(),
        StateError::Conflict { key: "x".into() }
    );
}

#[test]
fn a_data_directory_has_one_host() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = refused(dir.path()).replace(&std::process::id().to_string(), "N");
    insta::assert_snapshot!(error, @"the data directory DATA is in use by another host (process N, since 1970-01-01T00:16:40Z); stop that one first, or give this one a --data of its own");
    drop(store);
    open(dir.path());
}

#[test]
fn what_is_no_store_or_a_newer_one_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    fs::write(&path, "a shopping list, rather a long one: ".repeat(100)).unwrap();
    let before = fs::read(&path).unwrap();
    insta::assert_snapshot!(refused(dir.path()), @"DATA/quarterjack.db is damaged, or was not written by quarterjack: file is not a database; nothing in it was changed. Put a backup in its place with `quarterjack restore`, or move the file away to go on without it");
    assert_eq!(fs::read(&path).unwrap(), before);

    fs::remove_file(&path).unwrap();
    drop(open(dir.path()));
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    insta::assert_snapshot!(refused(dir.path()), @"DATA/quarterjack.db was written by a newer quarterjack (its tables are of version 99, this one knows 2); use that one, or give this one a --data of its own");

    let error = file::open_to_read(&dir.path().join("nowhere")).unwrap_err();
    let error = error
        .to_string()
        .replace(&dir.path().display().to_string(), "DATA");
    insta::assert_snapshot!(error, @"there is no history in DATA/nowhere: a host makes one with `quarterjack serve --data DATA/nowhere`");
}

#[tokio::test]
async fn while_nothing_can_be_written_it_says_so_and_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let a = job("a");
    let run = fire(&store, firing(&a, Cause::Schedule, 60)).await;
    // Another program that keeps the file locked is what a test can do to a disk.
    let other = Connection::open(dir.path().join(FILE)).unwrap();
    let tables =
        "CREATE TRIGGER full BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'no room'); END";
    other.execute_batch(tables).unwrap();
    let failed = store
        .fire(vec![firing(&a, Cause::Schedule, 120)], now())
        .await;
    let error = failed.unwrap_err().to_string();
    assert!(error.contains("no room"), "{error}");
    store.skipped(skip(&a, 150));
    begin(&store, &run, 60);
    assert_eq!(store.totals().await.unwrap().recorded, 1);
    other.execute_batch("DROP TRIGGER full").unwrap();
    // What nobody waited for is written now, and what failed can be tried again.
    fire(&store, firing(&a, Cause::Schedule, 120)).await;
    let runs = store.runs(RunQuery::newest(10)).await.unwrap();
    let statuses: Vec<&Status> = runs.iter().map(|run| &run.status).collect();
    assert_eq!(runs.len(), 3);
    assert!(statuses.contains(&&Status::Skipped(SkipReason::MaxInstances(1))));
    assert!(statuses.contains(&&Status::Running));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn lines_go_with_their_records_and_count_towards_their_size() {
    use crate::log::{LogQuery, LogSink as _};
    use crate::store::logs::conformance::{batch, read};
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let logs = store.logs();
    let left = |of: &LogQuery| tokio::task::block_in_place(|| read(&*logs, of).len());
    // Of a run that has no record any more, older than all that have one.
    logs.append(batch(1, "gone", &["one"]));
    let mut ids = Vec::new();
    for second in 0..6 {
        let run = fire(&store, firing(&job("a"), Cause::Schedule, 100 + second)).await;
        let end = finished(&run, 100 + second, execution(Outcome::Succeeded));
        store.finished(end, None).await.unwrap();
        let text = "x".repeat(100_000);
        logs.append(batch(run.id.to_u128(), "a", &[&text, "two"]));
        ids.push(run.id);
    }
    let all = LogQuery::default();
    assert_eq!(left(&all), 13);
    let keep = |runs_per_job, size| Retention {
        age: None,
        runs_per_job,
        size,
    };
    let prune = |keep| store.prune(keep, instant(200));
    assert_eq!(prune(keep(None, None)).await.unwrap(), 0);
    assert_eq!(left(&all), 12);
    assert_eq!(prune(keep(Some(4), None)).await.unwrap(), 2);
    assert_eq!(left(&all), 8);
    assert_eq!(left(&LogQuery::of(ids[1])), 0);
    assert_eq!(left(&LogQuery::of(ids[2])), 2);
    // The records alone are far from that.
    assert_eq!(prune(keep(None, Some(1 << 20))).await.unwrap(), 0);
    assert_eq!(prune(keep(None, Some(360_000))).await.unwrap(), 3);
    assert_eq!(left(&all), 2);
    assert_eq!(prune(keep(None, Some(360_000))).await.unwrap(), 0);

    // Not more goes than is too much, or hardly.
    for second in 0..200 {
        let run = fire(&store, firing(&job("b"), Cause::Schedule, 100 + second)).await;
        let end = finished(&run, 100 + second, execution(Outcome::Succeeded));
        store.finished(end, None).await.unwrap();
        let text = "x".repeat(10_000);
        logs.append(batch(run.id.to_u128(), "b", &[&text]));
    }
    assert_eq!(left(&all), 202);
    let gone = prune(keep(None, Some(2_000_000))).await.unwrap();
    assert!((10..=63).contains(&gone), "{gone}");
    assert_eq!(left(&all) as u64, 201 - gone);
    assert_eq!(prune(keep(None, Some(2_000_000))).await.unwrap(), 0);

    // And records go though their lines cannot, unless it is for the sake of their size.
    let other = Connection::open(dir.path().join(lines::FILE)).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER full BEFORE DELETE ON lines \
             BEGIN SELECT RAISE(ABORT, 'no room'); END",
        )
        .unwrap();
    let records = || async { store.runs(RunQuery::newest(1_000)).await.unwrap().len() };
    let before = records().await;
    let failed = prune(keep(None, Some(1))).await.unwrap_err().to_string();
    assert!(failed.contains("no room"), "{failed}");
    assert_eq!(records().await, before - 1);
    prune(keep(Some(1), None)).await.unwrap_err();
    assert_eq!(records().await, 1);
    other.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(prune(keep(Some(1), None)).await.unwrap(), 0);
    assert_eq!(left(&all), 1);
}
