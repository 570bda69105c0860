//! What a job can ask of its host beside plain WASI: state, settings, its log, control.

use serde_json::{Value, json};

use super::support::{Event, Project, Record};

/// Runs the guest once with an argument and flags.
fn ask(letter: &str, flags: &[&str]) -> Record {
    let project = Project::with(&["capabilities"]);
    let mut arguments = flags.to_vec();
    arguments.extend(["--", letter]);
    project.record("capabilities", &arguments)
}

/// The messages of a run's log entries.
fn said(record: &Event) -> Vec<String> {
    let entries = record.0["entries"].as_array().cloned().unwrap_or_default();
    let message = |entry: &Value| entry["message"].as_str().unwrap().to_owned();
    entries.iter().map(message).collect()
}

/// A job file with one job that runs the guest with an argument, at once and every so often.
fn job(letter: &str, every: &str, grants: &Value) -> Value {
    json!([{
        "id": "asks",
        "component": "capabilities.wasm",
        "trigger": {"interval": every},
        "run_on_start": true,
        "args": [letter],
        "grants": grants,
    }])
}

#[test]
fn state_lands_with_success_and_only_then() {
    let project = Project::with(&["capabilities"]);
    project.jobs(&job("c", "50ms", &json!({"state": true})));
    let host = project.serve(&[]);
    let records = host.records("asks", 5);
    // The third to count fails, and so do all that find what the second left.
    let outcomes: Vec<_> = records.iter().map(|it| it.text("outcome")).collect();
    assert_eq!(
        outcomes,
        ["succeeded", "succeeded", "failed", "failed", "failed"]
    );
    let counts: Vec<_> = records.iter().flat_map(|it| said(it)).collect();
    assert_eq!(counts, ["n=1", "n=2", "n=3", "n=3", "n=3"]);
}

#[test]
fn a_checkpoint_lands_whatever_becomes_of_the_run() {
    let project = Project::with(&["capabilities"]);
    project.jobs(&job("k", "50ms", &json!({"state": true})));
    let host = project.serve(&[]);
    let records = host.records("asks", 3);
    for record in &records {
        record.clone().ended("trapped", &["unreachable"]);
    }
    let counts: Vec<_> = records.iter().flat_map(|it| said(it)).collect();
    assert_eq!(counts, ["n=1", "n=2", "n=3"]);
}

#[test]
fn a_state_that_is_not_granted_is_denied_and_told() {
    let record = ask("g", &[]).succeeded();
    let line = "denied: its state; to allow it: \"grants\": { \"state\": true }";
    assert_eq!(said(&record), [line]);
    assert!(record.text("log").starts_with(line), "{record}");
    assert_eq!(record.0["denied"], 1);
    assert_eq!(record.0["denials"][0]["what"], "its state");
    let granted = ask("g", &["--state"]).succeeded();
    assert_eq!(said(&granted), ["nothing"]);
    assert!(granted.0.get("denied").is_none(), "{granted}");
}

#[test]
fn a_denial_is_an_event_with_what_would_open_the_door() {
    let project = Project::with(&["capabilities"]);
    project.jobs(&job("g", "1h", &json!({})));
    let host = project.serve(&[]);
    let denied = host.event("run.denied", "asks");
    assert_eq!(denied.0["denial"]["what"], "its state");
    assert_eq!(
        denied.0["denial"]["grant"],
        "\"grants\": { \"state\": true }"
    );
    host.record("asks").succeeded();
}

#[test]
fn a_quota_refuses_what_is_too_much() {
    let project = Project::with(&["capabilities"]);
    let grants = json!({"state": {"keys": 5, "size": "1KiB"}});
    project.jobs(&job("q", "1h", &grants));
    let record = project
        .record("capabilities", &["--state", "--", "q"])
        .succeeded();
    assert_eq!(said(&record), Vec::<String>::new());
    let record = project.serve(&[]).record("asks").succeeded();
    assert_eq!(
        said(&record),
        ["limit: state of 5 keys, 1 KiB; it wanted 6 keys"]
    );
}

#[test]
fn settings_come_from_the_definition() {
    assert_eq!(said(&ask("s", &[])), ["nothing"]);
    let record = ask("s", &["--setting", "greeting=good morning"]);
    assert_eq!(said(&record), ["good morning"]);
}

#[test]
fn the_state_is_a_bucket_for_portable_components() {
    assert_eq!(said(&ask("v", &["--state"]).succeeded()), ["5"]);
    let record = ask("v", &[]).ended("failed", &["exit code 1"]);
    assert_eq!(record.0["denied"], 1);
}

#[test]
fn the_log_has_levels_and_fields() {
    let record = ask("l", &[]).succeeded();
    let entries = record.0["entries"].as_array().unwrap();
    let levels: Vec<_> = entries.iter().map(|it| it["level"].clone()).collect();
    assert_eq!(levels, ["trace", "debug", "info", "warn", "error", "error"]);
    assert_eq!(entries[0]["fields"], json!([["rope", "two metres"]]));
    assert_eq!(entries[5]["fields"], json!([["context", "rope"]]));
    assert!(
        record
            .text("log")
            .contains("warn: the bell rope=\"two metres\"\n"),
        "{record}"
    );
}

#[test]
fn progress_is_told_while_it_is_made_and_kept_with_the_record() {
    let project = Project::with(&["capabilities"]);
    project.jobs(&job("p", "1h", &json!({})));
    let host = project.serve(&[]);
    let told = host.event("run.progress", "asks");
    assert_eq!(
        told.0["progress"],
        json!({"done": 1, "total": 3, "note": "reading"})
    );
    let record = host.record("asks").succeeded();
    assert_eq!(record.0["progress"]["done"], 3);
}

#[test]
fn a_run_that_asks_whether_it_is_to_end_has_a_moment_to_do_so() {
    let project = Project::with(&["capabilities"]);
    for (letter, outcome) in [("w", "succeeded"), ("f", "cancelled"), ("i", "cancelled")] {
        project.jobs(&job(letter, "1h", &json!({})));
        let host = project.serve(&["--grace", "0s"]);
        host.event("run.started", "asks");
        host.signal(rustix::process::Signal::TERM);
        let record = host.record("asks");
        assert_eq!(record.text("outcome"), outcome, "{letter}: {record}");
        if letter == "w" {
            assert_eq!(said(&record), ["asked to end"]);
        }
    }
}
