use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::log::{LogQuery, LogSink as _};
use crate::record::RunQuery;
use crate::run::{Cause, RunId};
use crate::store::conformance::{firing, instant, job, record};
use crate::store::logs::conformance::batch;
use crate::store::sqlite::{LogReader, restore};
use crate::store::{LogStore as _, SqliteStore, Store};

fn lines_of(directory: &Path, query: &LogQuery) -> Vec<String> {
    let mut lines = Vec::new();
    let reader = LogReader::open(directory).unwrap();
    reader
        .lines(query, &mut |line| {
            lines.push(line.line.text);
            ControlFlow::Continue(())
        })
        .unwrap();
    lines
}

fn said(directory: &Path, run: RunId) -> Vec<String> {
    lines_of(directory, &LogQuery::of(run))
}

fn all_said(directory: &Path) -> usize {
    lines_of(directory, &LogQuery::default()).len()
}

async fn instants(directory: &Path) -> Vec<i64> {
    let store = SqliteStore::open(directory, instant(100)).unwrap();
    let runs = store.runs(RunQuery::newest(100)).await.unwrap();
    runs.iter()
        .map(|run| run.scheduled_at.timestamp())
        .collect()
}

#[tokio::test]
async fn what_was_there_when_it_was_copied_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let copy = dir.path().join("copy.db");
    let store = SqliteStore::open(&data, instant(0)).unwrap();
    let first = record(&store, firing(&job("a"), Cause::Schedule, 1))
        .await
        .id;
    store.logs().append(batch(7, "a", &["of no run"]));
    store
        .logs()
        .append(batch(first.to_u128(), "a", &["one", "two"]));
    let size = backup(&data, &copy).unwrap();
    assert_eq!(size, fs::metadata(&copy).unwrap().len());
    assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o777, 0o600);
    let second = record(&store, firing(&job("a"), Cause::Schedule, 2))
        .await
        .id;
    store
        .logs()
        .append(batch(second.to_u128(), "a", &["three"]));
    let held = restore(&data, &copy, instant(3)).unwrap_err();
    assert!(matches!(held, OpenError::InUse { .. }), "{held}");
    drop(store);
    let aside = restore(&data, &copy, instant(3)).unwrap();
    let names: Vec<&str> = aside
        .iter()
        .map(|it| it.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "quarterjack.db.before-1970-01-01T00:00:03Z",
            "logs.db.before-1970-01-01T00:00:03Z"
        ]
    );
    assert_eq!(instants(&data).await, [1]);
    assert_eq!(said(&data, first), ["one", "two"]);
    assert_eq!(all_said(&data), 2, "what belongs to no run is left out");
    let tables: i64 = Connection::open(data.join(FILE))
        .unwrap()
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name IN ('logs', 'lines', 'backup')",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(tables, 0, "the lines have a file of their own");
    // And what was there before is a backup too.
    restore(&data, &aside[0], instant(4)).unwrap();
    assert_eq!(instants(&data).await, [2, 1]);
    assert_eq!(said(&data, second), ["three"]);
    assert_eq!(all_said(&data), 4);
    let new = dir.path().join("new");
    assert!(restore(&new, &copy, instant(5)).unwrap().is_empty());
    assert_eq!(instants(&new).await, [1]);
    assert_eq!(said(&new, first), ["one", "two"]);
}

#[tokio::test]
async fn what_a_host_has_left_in_the_log_of_a_file_is_restored_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let (data, cold) = (dir.path().join("data"), dir.path().join("cold"));
    let store = SqliteStore::open(&data, instant(0)).unwrap();
    let run = record(&store, firing(&job("a"), Cause::Schedule, 1))
        .await
        .id;
    store.logs().append(batch(run.to_u128(), "a", &["one"]));
    store.logs().remove(Vec::new()).await.unwrap(); // after it
    // As somebody copies a directory whose host was killed.
    fs::create_dir(&cold).unwrap();
    for file in [
        "quarterjack.db",
        "quarterjack.db-wal",
        "logs.db",
        "logs.db-wal",
    ] {
        fs::copy(data.join(file), cold.join(file)).unwrap();
    }
    drop(store);
    let new = dir.path().join("new");
    restore(&new, &cold.join(FILE), instant(2)).unwrap();
    assert_eq!(instants(&new).await, [1]);
    assert_eq!(said(&new, run), ["one"]);
}

#[tokio::test]
async fn a_history_without_lines_is_one_too() {
    let dir = tempfile::tempdir().unwrap();
    let (data, copy) = (dir.path().join("data"), dir.path().join("copy"));
    let store = SqliteStore::open(&data, instant(0)).unwrap();
    let run = record(&store, firing(&job("a"), Cause::Schedule, 1))
        .await
        .id;
    drop(store);
    fs::remove_file(data.join("logs.db")).unwrap();
    backup(&data, &copy).unwrap();
    let store = SqliteStore::open(&data, instant(1)).unwrap();
    store.logs().append(batch(run.to_u128(), "a", &["later"]));
    drop(store);
    assert_eq!(restore(&data, &copy, instant(2)).unwrap().len(), 2);
    assert_eq!(all_said(&data), 0);
    assert_eq!(instants(&data).await, [1]);
}

#[tokio::test]
async fn nothing_is_replaced_by_what_is_no_backup_or_by_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let missing = backup(&data, &dir.path().join("copy")).unwrap_err();
    assert!(matches!(missing, OpenError::Missing { .. }), "{missing}");
    let store = SqliteStore::open(&data, instant(0)).unwrap();
    record(&store, firing(&job("a"), Cause::Schedule, 1)).await;
    drop(store);

    let text = dir.path().join("text");
    fs::write(&text, "a text of some length, which is no database at all").unwrap();
    let other = dir.path().join("other.db");
    let connection = Connection::open(&other).unwrap();
    connection.execute("CREATE TABLE runs (a)", []).unwrap();
    drop(connection);
    let damaged = dir.path().join("damaged.db");
    backup(&data, &damaged).unwrap();
    let newer = dir.path().join("newer.db");
    fs::copy(&damaged, &newer).unwrap();
    let connection = Connection::open(&newer).unwrap();
    connection
        .execute("UPDATE backup SET lines = 99", [])
        .unwrap();
    drop(connection);
    let unfinished = dir.path().join("unfinished.db");
    fs::copy(&damaged, &unfinished).unwrap();
    let connection = Connection::open(&unfinished).unwrap();
    connection.execute("DROP TABLE lines", []).unwrap();
    drop(connection);
    let mut bytes = fs::read(&damaged).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0x55);
    fs::write(&damaged, bytes).unwrap();
    for wrong in [
        &text,
        &other,
        &damaged,
        &newer,
        &unfinished,
        &dir.path().join("gone"),
        &data,
    ] {
        let refused = restore(&data, wrong, instant(2)).unwrap_err().to_string();
        assert!(refused.contains(&wrong.display().to_string()), "{refused}");
    }
    let exists = backup(&data, &text).unwrap_err().to_string();
    assert!(exists.contains("replaces none"), "{exists}");
    let nowhere = dir.path().join("no/such/place");
    assert!(backup(&data, &nowhere).is_err());
    // A copy that was begun and not ended is not in its way.
    fs::write(dir.path().join("again.part"), "half").unwrap();
    backup(&data, &dir.path().join("again")).unwrap();
    assert!(!dir.path().join("again.part").exists());
    assert_eq!(instants(&data).await, [1]);
    let known = [FILE, "logs.db", "host.lock", "starts"];
    for file in fs::read_dir(&data).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        // SQLite may leave its own two beside each.
        let of = name.trim_end_matches("-wal").trim_end_matches("-shm");
        assert!(known.contains(&of), "nothing is left behind: {name}");
    }
}
