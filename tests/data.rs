//! The data directory: what a host says of it, a copy of it, and what becomes of it and of those
//! who look into it when something is wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{Host, Project};

/// Where the host keeps its data if nothing else is said.
const DATA: &str = ".local/state/quarterjack";

/// The files of it that are databases.
const DATABASES: [&str; 2] = ["quarterjack.db", "logs.db"];

fn by_hand(id: &str, component: &str) -> Value {
    json!({ "id": id, "component": component, "trigger": "@yearly" })
}

fn hello() -> Project {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([by_hand("hello", "hello.wasm")]));
    project
}

/// Runs the job `hello` on the running host. Gives the id of the run.
#[track_caller]
fn run_hello(project: &Project) -> String {
    let told = project.run(&["trigger", "hello", "--wait", "--json"]);
    told.exits(0).json()["run"].as_str().unwrap().to_owned()
}

/// A project whose host has run `hello` once and has stopped.
fn with_a_run() -> (Project, String) {
    let project = hello();
    let host = project.serve(&[]);
    let run = run_hello(&project);
    host.stop().in_order();
    (project, run)
}

/// The runs in the history, the newest first.
#[track_caller]
fn runs(project: &Project) -> Vec<String> {
    let listed = project.run(&["runs", "--json"]).exits(0).stdout;
    let id = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["run"].as_str().unwrap().to_owned()
    };
    listed.lines().map(id).collect()
}

#[test]
fn a_host_says_where_its_data_is() {
    let project = hello();
    let data = |host: &Host| host.events().into_iter().find(|it| it.is("host.started"));
    let host = project.serve(&[]);
    let started = data(&host).unwrap();
    assert_eq!(Path::new(started.text("data")), project.path(DATA));
    assert!(started.0.get("ephemeral").is_none());
    host.stop().in_order();
    let host = project.serve(&["--ephemeral"]);
    let started = data(&host).unwrap();
    assert_eq!(started.0["ephemeral"], true);
    assert!(started.0.get("data").is_none());
    host.stop().in_order();
}

#[test]
fn a_copy_has_the_lines_of_its_runs_and_is_put_back() {
    let project = hello();
    let host = project.serve(&[]);
    let first = run_hello(&project);
    let copied = project.run(&["backup", "copy.db"]).exits(0);
    copied.says(&["copy.db: ", "the history and the logs of "]);
    let second = run_hello(&project);
    project
        .run(&["backup", "copy.db"])
        .exits(1)
        .says(&["copy.db", "a backup replaces none"]);
    project
        .run(&["restore", "copy.db"])
        .exits(1)
        .says(&["in use by another host", "stop that one first"]);
    host.stop().in_order();
    project.run(&["backup", "both.db"]).exits(0);

    let restored = project.run(&["restore", "copy.db"]).exits(0);
    restored.says(&[
        "restored from copy.db",
        "quarterjack.db.before-",
        "logs.db.before-",
    ]);
    assert_eq!(runs(&project), [&*first]);
    let log = ["logs", "--grep", "one line"];
    let found = project.run(&log).exits(0);
    assert_eq!(found.stdout.lines().count(), 1, "{found:?}");
    project.run(&["restore", "both.db"]).exits(0);
    assert_eq!(runs(&project), [&*second, &*first]);
    assert_eq!(project.run(&log).exits(0).stdout.lines().count(), 2);
    // What it is now goes on.
    let host = project.serve(&[]);
    run_hello(&project);
    host.stop().in_order();
    assert_eq!(runs(&project).len(), 3);
    project
        .run(&["restore", "jobs.json"])
        .exits(1)
        .says(&["jobs.json is no sound backup"]);
    assert_eq!(runs(&project).len(), 3);
}

/// Something that happens to a file.
type Harm = (&'static str, fn(&Path), &'static str);

const HARMS: [Harm; 4] = [
    (
        "cut short",
        |path| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(12_000).unwrap();
        },
        "malformed",
    ),
    (
        "overwritten",
        |path| {
            let length = fs::metadata(path).unwrap().len();
            let mut state = 7_u64;
            let mut random = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            };
            let bytes: Vec<u8> = (0..length).map(|_| random()).collect();
            fs::write(path, bytes).unwrap();
        },
        "is not a database",
    ),
    (
        "damaged inside",
        |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[8192..].fill(0x55);
            fs::write(path, bytes).unwrap();
        },
        "malformed",
    ),
    (
        "of a newer version",
        |path| {
            let connection = Connection::open(path).unwrap();
            connection.pragma_update(None, "user_version", 99).unwrap();
        },
        "was written by a newer quarterjack",
    ),
];

#[test]
fn a_damaged_file_is_named_and_left_alone() {
    let (project, run) = with_a_run();
    for name in DATABASES {
        let file = project.path(DATA).join(name);
        let log = project.path(DATA).join(format!("{name}-wal"));
        let left = fs::metadata(&log).map_or(0, |log| log.len());
        assert_eq!(left, 0, "{name} is whole when its host has stopped");
        let whole = fs::read(&file).unwrap();
        for (what, harm, why) in HARMS {
            harm(&file);
            let harmed = fs::read(&file).unwrap();
            let refuses = |arguments: &[&str]| {
                let ended = project.run(arguments).exits(1).says(&[name, why]);
                assert_eq!(ended.stdout, "", "{arguments:?} of a file that is {what}");
                let lines = ended.stderr.lines().count();
                assert!(lines <= 2, "{what}, {arguments:?}: {}", ended.stderr);
            };
            refuses(&["logs", "hello"]);
            refuses(&["backup", "copy.db"]);
            assert!(!project.path("copy.db").exists());
            let is_history = name == DATABASES[0];
            for verb in [&["runs"][..], &["show", "hello"], &["jobs"], &["stats"]] {
                if is_history {
                    refuses(verb);
                } else {
                    project.run(verb).exits(0);
                }
            }
            if is_history {
                refuses(&["rerun", "hello"]);
                refuses(&["cancel", "hello"]);
            }
            // Damage inside is only seen where it is looked at.
            if is_history || what != "damaged inside" {
                refuses(&["serve", "jobs.json"]);
            }
            let now = fs::read(&file).unwrap();
            assert_eq!(now, harmed, "{name} that is {what} is left as it was");
            let _ = fs::remove_file(&log);
            fs::write(&file, &whole).unwrap();
        }
    }
    assert_eq!(runs(&project), [&*run]);
    let log = project.run(&["logs", "hello"]).exits(0).stdout;
    assert_eq!(log, "one line of log\n");
}

#[test]
fn a_file_that_another_program_locks_is_named_and_waited_for() {
    let (project, run) = with_a_run();
    let lock = |name: &str| {
        let other = Connection::open(project.path(DATA).join(name)).unwrap();
        other
            .pragma_update(None, "locking_mode", "EXCLUSIVE")
            .unwrap();
        other.execute_batch("BEGIN EXCLUSIVE; COMMIT").unwrap();
        other
    };
    let start = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let history = lock("quarterjack.db");
    // All at once, for each waits for some seconds.
    let verbs: [&[&str]; 5] = [
        &["runs"],
        &["logs", "hello"],
        &["pause", "hello"],
        &["backup", "copy.db"],
        &["serve", "jobs.json"],
    ];
    let waiting: Vec<_> = verbs.into_iter().map(|verb| (verb, start(verb))).collect();
    for (verb, child) in waiting {
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{verb:?}: {said}");
        for word in [
            "quarterjack.db",
            "database is locked",
            "another program",
            "fuser",
        ] {
            assert!(said.contains(word), "{verb:?}: {said}");
        }
    }
    assert!(!project.path("copy.db").exists());
    drop(history);
    assert_eq!(runs(&project), [&*run]);
}

/// The command of somebody who is not the owner of the project, if there is such a person here and
/// the executable is not out of reach.
fn as_somebody_else(project: &Project, arguments: &[&str]) -> Option<Command> {
    let mut command = project.command(arguments);
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
        let mut probe = project.command(&["--version"]);
        probe.uid(65_534).gid(65_534).stdout(Stdio::null());
        probe.status().ok()?;
    }
    Some(command)
}

/// Sets who may do what with all files of a directory, and with it.
fn set_mode(directory: &Path, files: u32, own: u32) {
    let paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    for path in paths {
        fs::set_permissions(path, fs::Permissions::from_mode(files)).unwrap();
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(own)).unwrap();
}

#[test]
fn a_directory_that_cannot_be_written_to_can_be_read() {
    let project = hello();
    let open = |path: &str| {
        fs::set_permissions(project.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    };
    open("");
    let host = project.serve(&["--data", "data"]);
    let told = project.run(&["trigger", "hello", "--wait", "--json", "--data", "data"]);
    let run = told.exits(0).json()["run"].as_str().unwrap().to_owned();
    host.stop().in_order();
    set_mode(&project.path("data"), 0o444, 0o555);
    let said = |arguments: &[&str]| {
        let arguments = [arguments, &["--data", "data"]].concat();
        let ended = as_somebody_else(&project, &arguments)?.output().unwrap();
        Some((
            ended.status.code(),
            String::from_utf8(ended.stdout).unwrap(),
            String::from_utf8(ended.stderr).unwrap(),
        ))
    };
    if said(&["runs"]).is_none() {
        return; // nobody else can start the executable where it is
    }
    let read = |arguments: &[&str], word: &str| {
        let (code, out, err) = said(arguments).unwrap();
        assert_eq!(code, Some(0), "{arguments:?}: {err}");
        assert!(out.contains(word), "{arguments:?}: {out}");
    };
    let refused = |arguments: &[&str], words: &[&str]| {
        let (code, _, err) = said(arguments).unwrap();
        assert_eq!(code, Some(1), "{arguments:?}: {err}");
        for word in words {
            assert!(err.contains(word), "no `{word}`: {err}");
        }
    };
    read(&["runs", "--json"], &run);
    read(&["show", "hello"], &run);
    read(&["logs", "hello"], "one line of log");
    read(&["jobs"], "hello");
    let unwritable = ["data", "Permission denied", "--data"];
    refused(&["serve", "jobs.json"], &unwritable);
    refused(&["pause", "hello"], &unwritable);
    // Left by a host that was killed: what is in the log cannot be left out.
    set_mode(&project.path("data"), 0o644, 0o755);
    let host = project.serve(&["--data", "data"]);
    project
        .run(&["trigger", "hello", "--wait", "--data", "data"])
        .exits(0);
    host.signal(Signal::KILL);
    host.end();
    let _ = fs::remove_file(project.path("data/quarterjack.db-shm"));
    set_mode(&project.path("data"), 0o444, 0o555);
    refused(
        &["runs"],
        &["quarterjack.db-wal", "copy the whole directory"],
    );
    // Nobody may look at all.
    set_mode(&project.path("data"), 0o400, 0o000);
    refused(&["runs"], &["cannot look into data", "Permission denied"]);
    refused(&["backup", "copy.db"], &unwritable);
    refused(&["serve", "jobs.json"], &unwritable);
    set_mode_of_own(&project.path("data"));
    let listed = project.run(&["runs", "--json", "--data", "data"]).exits(0);
    assert_eq!(listed.stdout.lines().count(), 2, "nothing is lost");
}

/// Gives a directory back to its owner.
fn set_mode_of_own(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
    set_mode(directory, 0o600, 0o700);
}

#[test]
fn what_is_no_directory_is_refused() {
    let project = hello();
    for place in ["jobs.json", "jobs.json/data"] {
        let refused = project.run(&["serve", "--data", place]).exits(1);
        refused.says(&[place, "name another directory with --data"]);
    }
    project
        .run(&["runs", "--data", "jobs.json"])
        .exits(1)
        .says(&["jobs.json is a file"]);
}

#[test]
fn a_run_that_does_not_exist_is_said_so_by_every_verb() {
    let (project, _) = with_a_run();
    let nobodys = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    for verb in ["show", "logs", "rerun", "cancel"] {
        for typed in [
            nobodys,
            "01ARZ3",
            "../..",
            "\u{1b}[2J",
            "ÄÖÜ",
            &"9".repeat(400),
        ] {
            let ended = project.run(&[verb, typed]).exits(1);
            let ended = ended.says(&["no run and no job `", DATA, "`quarterjack runs`"]);
            assert_eq!(ended.stdout, "");
            assert!(!ended.stderr.contains('\u{1b}'), "{ended:?}");
        }
    }
    // The name of a job is never taken for a part of an id.
    project
        .run(&["show", "helo"])
        .exits(1)
        .says(&["did you mean `hello`?"]);
    project.run(&["show", ""]).exits(2);
}

#[test]
fn an_output_that_is_no_text_is_kept_as_it_is() {
    let project = Project::with(&["bytes"]);
    project.jobs(&json!([by_hand("bytes", "bytes.wasm")]));
    let host = project.serve(&[]);
    let record = project.run(&["trigger", "bytes", "--wait", "--json"]);
    let record = record.exits(0).json();
    assert_eq!(record["output_type"], "bytes");
    assert_eq!(record["output"], "//4AAQ==");
    let output = |arguments: &[&str]| project.command(arguments).output().unwrap().stdout;
    let bytes = b"\xff\xfe\x00\x01";
    assert_eq!(output(&["show", "bytes", "--output"]), bytes);
    assert_eq!(output(&["trigger", "bytes", "--wait"]), bytes);
    let shown = project.run(&["show", "bytes"]).exits(0);
    assert!(shown.stdout.contains("output      4 B"), "{shown:?}");
    let shown = project.run(&["show", "bytes", "--json"]).exits(0).json();
    assert_eq!(shown["output"], "//4AAQ==");
    host.stop().in_order();
}

#[test]
fn a_day_off_is_a_record_with_its_reason() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!({
        "calendars": { "always": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] },
        "jobs": [
            { "id": "resting", "component": "hello.wasm",
              "trigger": { "interval": "1s", "not_on": ["always"] } },
        ]
    }));
    let host = project.serve(&[]);
    let skipped = host.event("run.skipped", "resting");
    assert_eq!(skipped.text("kind"), "excluded");
    let reason = skipped.text("reason");
    assert!(reason.contains("not_on always"), "{reason}");
    host.stop().in_order();
    // One for all of the day, and a restart adds none.
    let host = project.serve(&[]);
    host.stop().in_order();
    let listed = project.run(&["runs", "resting", "--outcome", "skipped", "--json"]);
    let listed = listed.exits(0).stdout;
    let days: std::collections::HashSet<String> = listed
        .lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["kind"], "excluded", "{line}");
            record["scheduled_at"].as_str().unwrap()[..10].to_owned()
        })
        .collect();
    assert_eq!(listed.lines().count(), days.len(), "{listed}");
}
