//! Grants: nothing without one, and nothing beyond it.

use std::os::unix::fs::symlink;

use super::support::{Project, Record};
use serde_json::json;

/// A project with a granted directory `data`, and a secret beside it.
fn project() -> Project {
    let project = Project::with(&["read", "write"]);
    project.write("data/inside.txt", "inside\n");
    project.write("data/deep/er.txt", "deeper\n");
    project.write("secret.txt", "the secret");
    symlink("../secret.txt", project.path("data/link-out")).unwrap();
    symlink(
        project.path("secret.txt"),
        project.path("data/absolute-link-out"),
    )
    .unwrap();
    symlink("..", project.path("data/directory-out")).unwrap();
    symlink("inside.txt", project.path("data/link-inside")).unwrap();
    project
}

fn read(project: &Project, path: &str) -> Record {
    project.record("read", &["--dir", "data::/data:ro", "--", path])
}

#[test]
fn a_granted_file_can_be_read() {
    let project = project();
    assert_eq!(
        read(&project, "inside.txt").succeeded().text("output"),
        "inside\n"
    );
    assert_eq!(
        read(&project, "deep/er.txt").succeeded().text("output"),
        "deeper\n"
    );
    assert_eq!(
        read(&project, "deep/../inside.txt")
            .succeeded()
            .text("output"),
        "inside\n"
    );
    assert_eq!(
        read(&project, "link-inside").succeeded().text("output"),
        "inside\n"
    );
}

#[test]
fn nothing_outside_can_be_read() {
    let project = project();
    let absolute = project.path("secret.txt").display().to_string();
    for path in [
        "../secret.txt",
        "deep/../../secret.txt",
        "/etc/passwd",
        &absolute,
        "link-out",
        "absolute-link-out",
        "directory-out/secret.txt",
    ] {
        let record = read(&project, path).ended("failed", &["exit code"]);
        assert!(record.0.get("output").is_none(), "{path}: {}", record);
    }
}

#[test]
fn without_a_grant_there_are_no_files() {
    let project = project();
    for path in ["data/inside.txt", "inside.txt", "/etc/passwd", "."] {
        // 8 is EBADF: there is no directory at all to start from.
        project
            .record("read", &["--", path])
            .ended("failed", &["exit code 8"]);
    }
}

#[test]
fn a_directory_is_read_only_unless_said_otherwise() {
    let project = project();
    for grant in ["data::/data", "data::/data:ro"] {
        project
            .record("write", &["--dir", grant, "--", "new.txt"])
            .ended("failed", &["exit code"]);
        project
            .record("write", &["--dir", grant, "--", "inside.txt"])
            .ended("failed", &["exit code"]);
    }
    assert!(!project.path("data/new.txt").exists());
    assert_eq!(
        std::fs::read(project.path("data/inside.txt")).unwrap(),
        b"inside\n"
    );
}

#[test]
fn a_writable_directory_can_be_written_and_nothing_outside() {
    let project = project();
    let write = |path| project.record("write", &["--dir", "data::/data:rw", "--", path]);
    write("new.txt").succeeded();
    assert_eq!(
        std::fs::read(project.path("data/new.txt")).unwrap(),
        b"written\n"
    );
    for path in [
        "../new.txt",
        "link-out",
        "absolute-link-out",
        "directory-out/new.txt",
    ] {
        write(path).ended("failed", &["exit code"]);
    }
    assert!(!project.path("new.txt").exists());
    assert_eq!(
        std::fs::read(project.path("secret.txt")).unwrap(),
        b"the secret"
    );
}

#[test]
fn a_definition_grants_directories_relative_to_its_file() {
    let project = project();
    let job = |id: &str, component: &str, path: &str, dirs| {
        json!({
            "id": id, "component": component, "trigger": "@hourly", "run_on_start": true,
            "args": [path], "grants": { "dirs": dirs },
        })
    };
    let data = |mode: &str| json!([{ "host": "data", "guest": "/data", "mode": mode }]);
    project.jobs(&json!([
        job("reads", "read.wasm", "inside.txt", data("ro")),
        job("short", "read.wasm", "inside.txt", json!(["data::/data"])),
        job("escapes", "read.wasm", "../secret.txt", data("rw")),
        job("writes", "write.wasm", "made.txt", data("rw")),
        job("may-not", "write.wasm", "not-made.txt", data("ro")),
        job("has-none", "read.wasm", "inside.txt", json!([])),
    ]));
    let jobs = project.path("jobs.json").display().to_string();
    let plugins = project.path("plugins").display().to_string();
    // Started elsewhere: what counts is where the job file is.
    let elsewhere = Project::with(&[]);
    let host = elsewhere.serve(&[&jobs, "--plugins", &plugins]);
    assert_eq!(host.record("reads").succeeded().text("output"), "inside\n");
    assert_eq!(host.record("short").succeeded().text("output"), "inside\n");
    host.record("escapes").ended("failed", &["exit code"]);
    host.record("writes").succeeded();
    host.record("may-not").ended("failed", &["exit code"]);
    host.record("has-none").ended("failed", &["exit code 8"]);
    host.stop().in_order();
    assert_eq!(
        std::fs::read(project.path("data/made.txt")).unwrap(),
        b"written\n"
    );
    assert!(!project.path("data/not-made.txt").exists());
}

/// What the guest `echo` was told: its arguments, its environment, its standard input.
fn told(record: &Record) -> [Vec<String>; 3] {
    let parts: Vec<&str> = record.text("output").splitn(3, "\n--\n").collect();
    let entries = |text: &str| text.split_terminator('\0').map(str::to_owned).collect();
    [
        entries(parts[0]),
        entries(parts[1]),
        vec![parts[2].to_owned()],
    ]
}

#[test]
fn a_guest_sees_no_variable_of_the_host() {
    let project = Project::with(&["echo"]);
    let run = |flags: &[&str]| {
        let mut arguments = vec!["run", "plugins/echo.wasm", "--json"];
        arguments.extend(flags);
        let mut command = project.command(&arguments);
        let output = command
            .env("DATABASE_PASSWORD", "hunter2")
            .env("VISIBLE", "from the host")
            .output()
            .unwrap();
        Record::from(super::support::Event(
            serde_json::from_slice(&output.stdout).unwrap(),
        ))
    };
    let nothing = run(&[]).succeeded();
    let [_, environment, _] = told(&nothing);
    // What the run is about, and nothing else.
    assert!(
        environment
            .iter()
            .all(|entry| entry.starts_with("QUARTERJACK_")),
        "{environment:?}"
    );
    assert!(!nothing.to_string().contains("hunter2"));
    let granted = run(&["--env", "VISIBLE=yes", "--env", "EMPTY="]).succeeded();
    let [_, environment, _] = told(&granted);
    let own: Vec<&str> = environment
        .iter()
        .map(String::as_str)
        .filter(|entry| !entry.starts_with("QUARTERJACK_"))
        .collect();
    assert_eq!(own, ["VISIBLE=yes", "EMPTY="]);
}

#[test]
fn a_command_is_told_its_arguments_parameters_and_run() {
    let project = Project::with(&["echo"]);
    project.jobs(&json!([{
        "id": "told", "component": "echo.wasm", "trigger": "@every 1s",
        "params": { "name": "tower", "bells": [1, 2.50] },
        "args": ["--loud", "two words", ""],
        "grants": { "env": { "LANG": "de_DE", "QUARTER": "¼" } },
    }]));
    let host = project.serve(&[]);
    let record = host.record("told").succeeded();
    let [arguments, environment, input] = told(&record);
    assert_eq!(arguments[1..], ["--loud", "two words", ""]);
    let params: serde_json::Value = serde_json::from_str(&input[0]).unwrap();
    assert_eq!(params, json!({ "name": "tower", "bells": [1, 2.5] }));
    let value = |name: &str| {
        let prefix = format!("{name}=");
        environment
            .iter()
            .find_map(|entry| entry.strip_prefix(&prefix))
            .map(str::to_owned)
    };
    assert_eq!(value("LANG").as_deref(), Some("de_DE"));
    assert_eq!(value("QUARTER").as_deref(), Some("¼"));
    assert_eq!(value("QUARTERJACK_JOB_ID").as_deref(), Some("told"));
    assert_eq!(
        value("QUARTERJACK_RUN_ID").as_deref(),
        Some(record.text("run"))
    );
    assert_eq!(value("QUARTERJACK_ATTEMPT").as_deref(), Some("1"));
    assert_eq!(value("QUARTERJACK_CAUSE").as_deref(), Some("schedule"));
    let instant = |name: &str| {
        chrono::DateTime::parse_from_rfc3339(&value(name).unwrap())
            .unwrap()
            .to_utc()
    };
    assert_eq!(
        instant("QUARTERJACK_SCHEDULED_AT"),
        record.instant("scheduled_at")
    );
    assert_eq!(
        instant("QUARTERJACK_STARTED_AT"),
        record.instant("started_at")
    );
    assert!(instant("QUARTERJACK_DEADLINE") > record.instant("started_at"));
    assert_eq!(
        value("QUARTERJACK_LAST_SUCCESS"),
        None,
        "there is no run before the first"
    );
    // The second one is told of the first.
    let second = host.records("told", 2).remove(1).succeeded();
    let [_, environment, _] = told(&second);
    let last = environment
        .iter()
        .find_map(|entry| entry.strip_prefix("QUARTERJACK_LAST_SUCCESS="))
        .unwrap();
    let last = chrono::DateTime::parse_from_rfc3339(last).unwrap().to_utc();
    assert_eq!(last, record.instant("finished_at"));
    host.stop().in_order();
}

#[test]
fn there_is_no_network() {
    let record = Project::with(&[])
        .record("network", &[])
        .ended("failed", &["exit code 1"]);
    // 1 is access-denied; D, the 20th, is what a resolver says that was never asked (one that
    // was asked and knows no answer says B).
    assert_eq!(record.text("output"), "tcp 1, names D\n");
}

#[test]
fn a_job_that_hoards_open_files_takes_none_from_others() {
    let project = Project::with(&["open-all", "read"]);
    project.write("data/file.txt", "inside\n");
    let dirs = json!({ "dirs": ["data::/data"] });
    project.jobs(&json!([
        { "id": "hoarder", "component": "open-all.wasm", "trigger": "@every 200ms",
          "grants": dirs, "limits": { "timeout": "1s" }, "max_instances": 3 },
        { "id": "reader", "component": "read.wasm", "trigger": "@every 200ms",
          "args": ["file.txt"], "grants": dirs },
    ]));
    // What a process usually has.
    let host = project.serve_with_open_files(1024);
    for record in host.records("hoarder", 4) {
        assert_ne!(record.text("outcome"), "succeeded", "{record}");
    }
    host.records("reader", 4);
    // The host itself still opens what it needs.
    let mark = host.mark();
    project.jobs(&json!([{ "id": "new", "component": "read.wasm", "trigger": "@yearly" }]));
    host.event_from(mark, "job.added", "new");
    let stopped = host.stop().in_order();
    for record in stopped.records("reader") {
        assert_eq!(record.succeeded().text("output"), "inside\n");
    }
}
