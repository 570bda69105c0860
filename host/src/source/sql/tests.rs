//! Sources over real SQLite files.

use std::path::Path;

use rusqlite::Connection;

use super::*;
use crate::clock;

const TABLE: &str = "CREATE TABLE jobs (id TEXT, component TEXT, trigger TEXT, enabled BOOLEAN, \
    params TEXT, definition TEXT)";

const COLUMNS: &str = "SELECT id, component, trigger, enabled, params FROM jobs ORDER BY id";

fn settings(path: &Path, query: &str) -> SqlSettings {
    SqlSettings {
        name: "jobs-db".into(),
        url: format!("sqlite://{}", path.display()),
        query: query.into(),
        password: None,
        channel: None,
        refresh: Some(Duration::from_secs(7)),
        base: PathBuf::new(),
    }
}

fn source(path: &Path, query: &str) -> SqlSource {
    SqlSource::new(settings(path, query), Arc::default(), Arc::default()).unwrap()
}

/// A database with a table of jobs.
struct Fixture {
    dir: tempfile::TempDir,
    database: Connection,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Connection::open(dir.path().join("jobs.db")).unwrap();
        database.execute_batch(TABLE).unwrap();
        Fixture { dir, database }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("jobs.db")
    }

    fn source(&self, query: &str) -> SqlSource {
        source(&self.path(), query)
    }

    fn run(&self, sql: &str) {
        self.database.execute_batch(sql).unwrap();
    }

    fn add(&self, id: &str) {
        self.run(&format!(
            "INSERT INTO jobs (id, component, trigger) VALUES ('{id}', 'a.wasm', '@hourly')"
        ));
    }

    /// What is wrong, without the directory of the test.
    fn told(&self, source: &SqlSource) -> String {
        told(source, self.dir.path())
    }
}

fn told(source: &SqlSource, dir: &Path) -> String {
    let error = source.read().unwrap_err().to_string();
    error.replace(&dir.display().to_string(), "DIR")
}

fn manifest(snapshot: &Snapshot) -> &Arc<Manifest> {
    let [document] = &snapshot.documents[..] else {
        panic!("{snapshot:?}")
    };
    document.read.as_ref().unwrap()
}

fn ids(snapshot: &Snapshot) -> String {
    let jobs = manifest(snapshot).jobs();
    let ids: Vec<_> = jobs.map(|job| job.id.to_string()).collect();
    ids.join(" ")
}

#[test]
fn rows_are_jobs_and_changes_are_followed() {
    let fixture = Fixture::new();
    fixture.add("b");
    fixture.add("a");
    let source = fixture.source(COLUMNS);
    assert_eq!(source.pace(), Some(Duration::from_secs(7)));
    assert!(!source.is_remote() && source.directories().is_empty());
    let first = source.read().unwrap();
    assert_eq!(ids(&first), "a b");
    assert!(!first.unchanged);
    let second = source.read().unwrap();
    assert!(second.unchanged && Arc::ptr_eq(manifest(&first), manifest(&second)));
    fixture.run("UPDATE jobs SET enabled = 0 WHERE id = 'b'");
    let third = source.read().unwrap();
    assert!(!third.unchanged);
    assert!(!manifest(&third).jobs().nth(1).unwrap().enabled);
    fixture.run("DELETE FROM jobs WHERE id = 'a'");
    assert_eq!(ids(&source.read().unwrap()), "b");
    fixture.run("DELETE FROM jobs");
    let none = source.read().unwrap();
    assert!(!none.unchanged && manifest(&none).entries.is_empty());
}

#[test]
fn whole_definitions_are_read_from_one_column() {
    let fixture = Fixture::new();
    let definition = |id: &str| {
        format!(r#"{{"id": "{id}", "component": "a.wasm", "trigger": {{"interval": "5s"}}}}"#)
    };
    for id in ["x", "y"] {
        let definition = definition(id);
        fixture.run(&format!(
            "INSERT INTO jobs (definition) VALUES ('{definition}')"
        ));
    }
    let source = fixture.source("SELECT definition FROM jobs ORDER BY rowid;\n");
    assert_eq!(ids(&source.read().unwrap()), "x y");
    // SQLite's own kind of JSON is told how to select it.
    fixture.run("UPDATE jobs SET definition = jsonb(definition) WHERE rowid = 1");
    let snapshot = source.read().unwrap();
    let problems = manifest(&snapshot).problems();
    insta::assert_snapshot!(problems[0], @"jobs-db: row 1, `definition`: is a BLOB of 46 bytes, which no definition can hold: select it as text, or as JSON text: json(…) in SQLite");
    let json = fixture.source("SELECT json(definition) FROM jobs");
    assert_eq!(ids(&json.read().unwrap()), "x y");
}

#[test]
fn a_broken_row_is_told_of_and_the_others_are_read() {
    let fixture = Fixture::new();
    fixture.add("a");
    fixture.add("b");
    fixture.add("c");
    fixture.run("UPDATE jobs SET trigger = '@hurly' WHERE id = 'b'");
    let source = fixture.source(COLUMNS);
    let snapshot = source.read().unwrap();
    assert_eq!(ids(&snapshot), "a c");
    insta::assert_snapshot!(manifest(&snapshot).problems()[0], @"jobs-db: row 2, `trigger`: no such macro: `@hurly`: a macro is @yearly, @monthly, @weekly, @daily, @hourly, @every, @reboot or @manually; did you mean `@hourly`?");
    assert!(source.read().unwrap().unchanged);
    fixture.run("UPDATE jobs SET trigger = '@daily' WHERE id = 'b'");
    assert_eq!(ids(&source.read().unwrap()), "a b c");
}

#[test]
fn what_cannot_be_read_is_told() {
    let fixture = Fixture::new();
    let dir = fixture.dir.path();
    let mut all = Vec::new();
    all.push(told(&source(&dir.join("no.db"), COLUMNS), dir));
    all.push(told(&source(&dir.join("sub/no.db"), COLUMNS), dir));
    all.push(told(&source(dir, COLUMNS), dir));
    let text = dir.join("text.db");
    std::fs::write(
        &text,
        "no database at all, but long enough to be one".repeat(50),
    )
    .unwrap();
    all.push(told(&source(&text, COLUMNS), dir));
    for query in [
        "SELECT definition FROM jobz",
        "SELECT id,\n  componnent, trigger FROM jobs",
        "SELECT id, component AS componnent, trigger FROM jobs",
        "SELECT * FROM jobs ORDER",
        "SELECTT 1",
        "SELECT definition FROM jobs; SELECT 1",
        "-- nothing",
        "SELECT id, trigger FROM jobs",
        "SELECT raise(ABORT, 'x') FROM jobs",
        "ATTACH DATABASE 'other.db' AS other",
    ] {
        all.push(fixture.told(&fixture.source(query)));
    }
    insta::assert_snapshot!(all.join("\n"), @r#"
    jobs-db: DIR/no.db: no such file: whoever writes the definitions creates it
    jobs-db: DIR/sub/no.db: no such file: there is no directory DIR/sub
    jobs-db: DIR: is no regular file: name a database, such as jobs.db
    jobs-db: DIR/text.db: is not an SQLite database: is it the right file, and not an encrypted one?
    jobs-db (query):1:1: no such table: jobz: asked of DIR/jobs.db
    jobs-db (query):2:3: no such column: componnent: asked of DIR/jobs.db
    jobs-db: DIR/jobs.db: the query yields a column `componnent`, which no job has: did you mean `component`? AS gives a column another name
    jobs-db (query):1:1: incomplete input: asked of DIR/jobs.db
    jobs-db (query):1:1: near "SELECTT": syntax error: asked of DIR/jobs.db
    jobs-db (query):1:1: the query is more than one statement: leave one SELECT; asked of DIR/jobs.db
    jobs-db: DIR/jobs.db: the query yields no columns: it has to be a SELECT
    jobs-db: DIR/jobs.db: the query yields no column `component`: a job needs one; or select whole definitions as `definition`
    jobs-db (query):1:1: RAISE() may only be used within a trigger-program: asked of DIR/jobs.db
    jobs-db: DIR/jobs.db: the query yields no columns: it has to be a SELECT
    "#);
    assert!(!dir.join("other.db").exists() && !Path::new("other.db").exists());
    let error = fixture
        .source("SELECT id,\n  componnent, trigger FROM jobs")
        .read()
        .unwrap_err();
    let drawn = error.problems()[0].render(false);
    let drawn = drawn.replace(&dir.display().to_string(), "DIR");
    insta::assert_snapshot!(drawn, @"
    error: no such column: componnent
     --> jobs-db (query):2:3
      |
    2 |   componnent, trigger FROM jobs
      |   ^^^^^^^^^^
      |
      = help: asked of DIR/jobs.db
    ");
}

#[test]
fn what_writes_is_refused() {
    let fixture = Fixture::new();
    fixture.add("a");
    for query in [
        "DELETE FROM jobs RETURNING definition",
        "INSERT INTO jobs (id) VALUES ('x') RETURNING definition",
        "UPDATE jobs SET id = 'x' RETURNING id AS definition",
        "DROP TABLE jobs",
        "PRAGMA user_version = 5",
        "PRAGMA journal_mode = WAL",
        "VACUUM INTO 'copy.db'",
        "WITH x AS (SELECT 1) DELETE FROM jobs RETURNING definition",
    ] {
        let told = fixture.told(&fixture.source(query));
        assert!(told.contains("the query writes: it has to be"), "{told}");
    }
    assert_eq!(ids(&fixture.source(COLUMNS).read().unwrap()), "a");
    assert!(!Path::new("copy.db").exists());
    let mode: String = fixture
        .database
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "delete");
}

#[test]
fn a_trouble_that_is_over_is_a_change() {
    let fixture = Fixture::new();
    fixture.add("a");
    let source = fixture.source(COLUMNS);
    let first = source.read().unwrap();
    fixture.run("ALTER TABLE jobs RENAME TO other");
    assert_eq!(source.read().unwrap_err(), source.read().unwrap_err());
    fixture.run("ALTER TABLE other RENAME TO jobs");
    let again = source.read().unwrap();
    assert!(!again.unchanged && Arc::ptr_eq(manifest(&first), manifest(&again)));
    assert!(source.read().unwrap().unchanged);
}

#[test]
fn another_policy_is_another_judgement() {
    let fixture = Fixture::new();
    fixture.add("a");
    let source = fixture.source(COLUMNS);
    let first = source.read().unwrap();
    source.set_policy(Arc::default());
    let second = source.read().unwrap();
    assert!(!second.unchanged && !Arc::ptr_eq(manifest(&first), manifest(&second)));
    assert!(source.read().unwrap().unchanged);
}

#[test]
fn a_locked_database_is_waited_for_and_told_of() {
    let fixture = Fixture::new();
    fixture.add("a");
    let source = fixture.source(COLUMNS);
    let patience = Duration::from_millis(50);
    source.reading.lock().file.as_mut().unwrap().hurry(patience);
    fixture.run("BEGIN EXCLUSIVE");
    insta::assert_snapshot!(fixture.told(&source), @"jobs-db: DIR/jobs.db: the database has been locked by another program for 50 ms: programs that write should keep transactions short; with `PRAGMA journal_mode=WAL` they lock nobody out");
    fixture.run("COMMIT");
    assert_eq!(ids(&source.read().unwrap()), "a");
    // Who uses a write-ahead log locks no reader out.
    fixture.run("PRAGMA journal_mode = WAL; BEGIN EXCLUSIVE; DELETE FROM jobs");
    assert_eq!(ids(&source.read().unwrap()), "a");
    fixture.run("COMMIT");
    assert_eq!(ids(&source.read().unwrap()), "");
}

#[test]
fn a_query_without_end_is_cut_short() {
    let fixture = Fixture::new();
    let source = fixture.source(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) \
         SELECT max(x) AS definition FROM n",
    );
    let patience = Duration::from_millis(100);
    source.reading.lock().file.as_mut().unwrap().hurry(patience);
    insta::assert_snapshot!(fixture.told(&source), @"jobs-db (query):1:1: the query took longer than 100 ms: does it lack an index?; asked of DIR/jobs.db");
}

#[test]
fn changes_are_noticed_without_asking() {
    let fixture = Fixture::new();
    let path = fixture.path();
    let source = fixture.source(COLUMNS);
    let now = Duration::ZERO;
    assert_eq!(ids(&source.read().unwrap()), "");
    assert!(!source.wait(now));
    fixture.add("a");
    assert!(source.wait(now));
    assert_eq!(ids(&source.read().unwrap()), "a");
    assert!(!source.wait(now));
    // Another file in its place.
    let other = Fixture::new();
    other.add("b");
    std::fs::rename(other.path(), &path).unwrap();
    assert!(source.wait(now));
    assert_eq!(ids(&source.read().unwrap()), "b");
    assert!(!source.wait(now));
    std::fs::remove_file(&path).unwrap();
    assert!(source.wait(now));
    assert!(source.read().is_err());
    assert!(!source.wait(now));
    Connection::open(&path)
        .unwrap()
        .execute_batch(TABLE)
        .unwrap();
    assert!(source.wait(now));
    assert!(!source.read().unwrap().unchanged);
    assert!(!source.wait(now));
}

#[test]
fn relative_paths_are_relative_to_the_base() {
    let fixture = Fixture::new();
    fixture.add("a");
    let here = SqlSettings {
        url: "sqlite:jobs.db".into(),
        query: r#"SELECT id, component, trigger, '{"dirs": ["data::/data"]}' AS grants FROM jobs"#
            .into(),
        base: fixture.dir.path().to_owned(),
        ..settings(Path::new(""), "")
    };
    let source = SqlSource::new(here, Arc::default(), Arc::default()).unwrap();
    let snapshot = source.read().unwrap();
    let job = manifest(&snapshot).jobs().next().unwrap();
    assert_eq!(job.grants.dirs[0].host, fixture.dir.path().join("data"));
}

#[test]
fn settings_that_cannot_be_used_are_refused() {
    let base = settings(Path::new("/x.db"), COLUMNS);
    let told = |settings: SqlSettings| {
        let error = SqlSource::new(settings, Arc::default(), Arc::default()).unwrap_err();
        format!("{}: {error}", error.key)
    };
    let all = [
        told(SqlSettings {
            query: " ;\n".into(),
            ..base.clone()
        }),
        told(SqlSettings {
            query: "SELECT '\0'".into(),
            ..base.clone()
        }),
        told(SqlSettings {
            password: Some("db".into()),
            ..base.clone()
        }),
        told(SqlSettings {
            channel: Some("jobs".into()),
            ..base.clone()
        }),
        told(SqlSettings {
            url: "jobs.db".into(),
            ..base
        }),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    query: the query is empty: such as "SELECT definition FROM jobs ORDER BY id"
    query: the query holds a NUL character: leave it out
    password: an SQLite file has no password: leave it out
    channel: an SQLite file has no channel: leave it out
    url: the URL is none of a database: it is sqlite:///path/file.db or postgres://user@host:port/database
    "#);
}

#[test]
fn a_hundred_thousand_rows_are_read_in_time() {
    let fixture = Fixture::new();
    fixture.run(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100000)
         INSERT INTO jobs (id, component, trigger, enabled, params)
         SELECT printf('job-%06d', x), 'a.wasm', '*/5 * * * *', x % 2, '{\"number\": ' || x || '}' FROM n",
    );
    let source = fixture.source(COLUMNS);
    // A busy machine is given the time for it.
    let patience = Duration::from_secs(300);
    source.reading.lock().file.as_mut().unwrap().hurry(patience);
    let timed = || {
        let start = clock::thread_cpu_time();
        let snapshot = source.read().unwrap();
        (snapshot, clock::thread_cpu_time() - start)
    };
    let (first, parsed) = timed();
    assert_eq!(manifest(&first).jobs().count(), 100_000);
    let (second, same) = timed();
    assert!(second.unchanged);
    fixture.run("UPDATE jobs SET enabled = 1 WHERE id = 'job-050000'");
    assert!(!source.read().unwrap().unchanged);
    println!("100 000 rows: {parsed:?}, unchanged {same:?}");
    // CPU time, and far more than it takes: what goes by the square takes hours.
    assert!(parsed < Duration::from_secs(60), "{parsed:?}");
    assert!(same < parsed, "{same:?} {parsed:?}");
}

#[cfg(feature = "postgres")]
mod postgres;
