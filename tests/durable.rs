//! What outlives the host: runs, schedules and states, whenever and however it ends.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use quarterjack::clock::{Clock, SystemClock, monotonic};
use quarterjack::record::{RunQuery, RunRecord, Status};
use quarterjack::run::{Outcome, SkipReason};
use quarterjack::store::sqlite::FILE;
use quarterjack::store::{SqliteStore, Store};
use rustix::process::Signal;
use serde_json::json;

use crate::support::Project;

/// Where the host keeps its data if nothing else is said.
const DATA: &str = ".local/state/quarterjack";

/// How often the host is killed; more where `QUARTERJACK_KILLS` says so.
const KILLS: u32 = 6;

const WITNESSES: usize = 150;
const PAIRS: usize = 50;

/// All that is recorded, the oldest first.
fn records(project: &Project) -> Vec<RunRecord> {
    let store = SqliteStore::open(&project.path(DATA), SystemClock.now()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let query = RunQuery::newest(10_000_000);
    let mut records = runtime.block_on(store.runs(query)).unwrap();
    records.reverse();
    records
}

fn is_sound(project: &Project) {
    let connection = rusqlite::Connection::open(project.path(DATA).join(FILE)).unwrap();
    let check = "PRAGMA integrity_check";
    let said: String = connection.query_row(check, [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
}

/// What the witness has seen: which job, for which instant.
fn seen(project: &Project) -> Vec<(String, DateTime<Utc>)> {
    let witness = std::fs::read_to_string(project.path("data/witness")).unwrap();
    let line = |line: &str| {
        let variables: HashMap<&str, &str> = line
            .split('\0')
            .filter_map(|it| it.split_once('='))
            .collect();
        let instant = variables["QUARTERJACK_SCHEDULED_AT"].parse().unwrap();
        (variables["QUARTERJACK_JOB_ID"].to_owned(), instant)
    };
    witness.lines().map(line).collect()
}

#[test]
fn killed_at_any_instant_nothing_is_forgotten_and_nothing_starts_twice() {
    let kills =
        std::env::var("QUARTERJACK_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let project = Project::with(&["witness", "pair"]);
    project.write("data/witness", "");
    let witness = |n| {
        json!({ "id": format!("witness-{n}"), "component": "witness.wasm",
                "trigger": "@every 1s", "grants": { "dirs": ["data::/data:rw"] } })
    };
    let pair = |n| {
        json!({ "id": format!("pair-{n}"), "component": "pair.wasm",
                "trigger": "@every 1s", "grants": { "state": true } })
    };
    let jobs: Vec<_> = (0..WITNESSES)
        .map(witness)
        .chain((0..PAIRS).map(pair))
        .collect();
    project.jobs(&json!(jobs));
    let random = &mut Random(u64::from(std::process::id()));
    for _ in 0..kills {
        let host = project.serve(&[]);
        host.wait_for("the first run of this host", |events| {
            events
                .iter()
                .find(|event| event.is("run.finished"))
                .map(drop)
        });
        let until = monotonic() + Duration::from_micros(random.below(1_200_000));
        while monotonic() < until {
            std::thread::yield_now();
        }
        host.signal(Signal::KILL);
        host.end();
        is_sound(&project);
    }
    let host = project.serve(&[]);
    for n in 0..3 {
        host.records(&format!("witness-{n}"), 2);
    }
    host.stop().in_order();
    is_sound(&project);

    let records = records(&project);
    let seen = seen(&project);
    let once: HashSet<_> = seen.iter().cloned().collect();
    assert_eq!(once.len(), seen.len(), "an instant was seen twice");
    let mut instants: HashMap<&str, Vec<DateTime<Utc>>> = HashMap::new();
    let mut outcomes: HashMap<&str, usize> = HashMap::new();
    for record in &records {
        let job = record.job.as_str();
        let was_seen = once.contains(&(job.to_owned(), record.scheduled_at));
        let dealt_with = instants.entry(job).or_default();
        let mut count = 1;
        match &record.status {
            Status::Finished(outcome) => {
                *outcomes.entry(outcome.as_str()).or_default() += 1;
                assert!(
                    matches!(
                        outcome,
                        Outcome::Succeeded | Outcome::Lost | Outcome::Cancelled
                    ),
                    "{record:?}"
                );
                if job.starts_with("witness") && *outcome == Outcome::Succeeded {
                    assert!(was_seen, "said to have run: {record:?}");
                }
            }
            Status::Skipped(SkipReason::Missed(Some(missed))) => {
                *outcomes.entry("missed").or_default() += 1;
                assert!(!was_seen || *missed > 1, "{record:?}");
                count = *missed;
            }
            Status::Skipped(reason) => {
                *outcomes.entry("skipped").or_default() += 1;
                assert!(!was_seen, "{reason}: {record:?}");
            }
            Status::Recorded => {
                assert!(!was_seen, "not begun: {record:?}");
            }
            Status::Running => panic!("left without an end: {record:?}"),
        }
        for n in 0..count {
            let after = TimeDelta::seconds(i64::try_from(n).unwrap());
            dealt_with.push(record.scheduled_at + after);
        }
    }
    for (job, mut instants) in instants {
        instants.sort();
        for pair in instants.windows(2) {
            assert_eq!(pair[1] - pair[0], TimeDelta::seconds(1), "{job}: {pair:?}");
        }
    }
    println!("{kills} kills, {} records: {outcomes:?}", records.len());
    assert!(outcomes["succeeded"] > WITNESSES + PAIRS);
}

/// Numbers that differ from run to run; a xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 |= 1;
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn a_second_host_is_told_who_holds_the_data() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([{ "id": "a", "component": "hello.wasm", "trigger": "@yearly" }]));
    let host = project.serve(&[]);
    let words = format!("in use by another host (process {}", host.id());
    let second = project.run(&["serve", "--json"]).exits(1);
    second.says(&[&words, "--data"]);
    host.stop().in_order();
    project.serve(&["--data", "elsewhere"]).stop().in_order();
    project.serve(&[]).stop().in_order();
}

#[test]
fn what_was_missed_between_two_hosts_is_made_up_for() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([{ "id": "a", "component": "hello.wasm", "trigger": "@every 1s" }]));
    let host = project.serve(&[]);
    let first = host.record("a").instant("scheduled_at");
    host.stop().in_order();
    // Another host tells how the time passes.
    let clock = project.serve(&["--ephemeral"]);
    clock.records("a", 3);
    clock.stop().in_order();
    let host = project.serve(&[]);
    let skipped = host.event("run.skipped", "a");
    assert!(skipped.text("reason").contains("missed"), "{skipped}");
    assert!(skipped.instant("scheduled_at") > first);
    assert!(host.record("a").succeeded().instant("scheduled_at") > first);
    host.stop().in_order();
}

#[test]
fn a_backup_is_taken_from_a_host_that_works_and_put_back() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([{ "id": "a", "component": "hello.wasm", "trigger": "@every 300ms" }]));
    let host = project.serve(&["--data", "data"]);
    let first = host.record("a");
    let (run, definition) = (first.text("run"), first.text("definition"));
    let backup = ["backup", "copy.db", "--data", "data"];
    let taken = project.run(&backup).exits(0);
    taken.says(&["copy.db", "the history and the logs of data"]);
    project.run(&backup).exits(1).says(&["replaces none"]);
    let mark = host.mark();
    let later = host.fresh_record(mark, "a");
    let restore = ["restore", "copy.db", "--data", "data"];
    project
        .run(&restore)
        .exits(1)
        .says(&["in use by another host"]);
    host.stop().in_order();

    let show = |run: &str| project.run(&["show", run, "--data", "data"]);
    show(later.text("run")).exits(0);
    let restored = project.run(&restore).exits(0);
    restored.says(&[
        "restored from copy.db",
        "kept as data/quarterjack.db.before-",
    ]);
    show(later.text("run")).exits(1);
    let shown = show(run).exits(0).stdout;
    assert!(shown.contains("hello.wasm, sha256"), "{shown}");
    assert!(shown.contains(definition), "{shown}");
    project.write("text", "no database, be it as long as it may");
    let wrong = ["restore", "text", "--data", "data"];
    project
        .run(&wrong)
        .exits(1)
        .says(&["text is no sound backup"]);
    show(run).exits(0);
    // The next host goes on from there.
    let host = project.serve(&["--data", "data"]);
    host.record("a").succeeded();
    host.stop().in_order();
}

/// Lets a process write files of so many bytes at most; nothing for any.
fn limit_files(host: &crate::support::Host, bytes: Option<u64>) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let pid = Pid::from_raw(i32::try_from(host.id()).unwrap());
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limit).unwrap();
}

#[test]
fn while_the_disk_fails_nothing_starts_and_nothing_is_lost() {
    let project = Project::with(&["hello", "nap"]);
    project.jobs(&json!([
        { "id": "tick", "component": "hello.wasm", "trigger": "@every 200ms" },
        { "id": "nap", "component": "nap.wasm", "trigger": "@every 1s", "args": ["300"] },
    ]));
    let host = project.serve(&[]);
    host.records("tick", 2);
    for _ in 0..3 {
        host.fresh_record(host.mark(), "nap");
        let mark = host.mark();
        limit_files(&host, Some(0));
        let failing = host.wait("store.failing", mark, |event| event.is("store.failing"));
        assert!(!failing.text("error").is_empty());
        limit_files(&host, None);
        host.wait("store.recovered", mark, |event| event.is("store.recovered"));
        let mark = host.mark();
        host.fresh_record(mark, "tick").succeeded();
    }
    let stopped = host.stop().in_order();
    is_sound(&project);

    let records = records(&project);
    let mut instants: HashMap<&str, Vec<DateTime<Utc>>> = HashMap::new();
    for record in &records {
        let all = instants.entry(record.job.as_str()).or_default();
        all.push(record.scheduled_at);
        match &record.status {
            Status::Finished(Outcome::Succeeded | Outcome::Cancelled) => {}
            Status::Skipped(SkipReason::NotRecorded(why)) => panic!("not recorded: {why}"),
            Status::Skipped(_) | Status::Recorded => {}
            other => panic!("{other:?}: {record:?}"),
        }
    }
    for (job, mut instants) in instants {
        instants.sort();
        let count = instants.len();
        instants.dedup();
        assert_eq!(instants.len(), count, "{job}: an instant is there twice");
    }
    // What was told is recorded, and what is recorded was told.
    let told: HashSet<String> = stopped
        .events
        .iter()
        .filter(|event| event.is("run.finished"))
        .map(|event| event.text("run").to_owned())
        .collect();
    let ended: HashSet<String> = records
        .iter()
        .filter(|record| matches!(record.status, Status::Finished(_)))
        .map(|record| record.id.to_string())
        .collect();
    assert_eq!(told, ended);
}
