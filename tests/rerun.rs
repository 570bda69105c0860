//! Deterministic runs, and past runs that are run again.

use std::io::Write as _;
use std::process::Stdio;

use base64::Engine as _;
use serde_json::{Value, json};

use super::support::{Project, Record, hello_from};

const HOUR: u64 = 3_600_000_000_000;

/// What a guest printed as bytes, in words of 8.
fn words(record: &Record) -> Vec<u64> {
    assert_eq!(record.text("output_type"), "bytes");
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(record.text("output"))
        .unwrap();
    let words = bytes.chunks_exact(8);
    words
        .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
        .collect()
}

/// A deterministic run of a guest, with `record.json` as its record.
fn recorded(project: &Project, name: &str, arguments: &[&str]) -> Record {
    let mut all = vec!["--deterministic"];
    all.extend(arguments);
    let record = project.record(name, &all);
    project.write("record.json", record.0.to_string());
    record
}

/// The record of a rerun, which came to the same.
fn same(project: &Project, arguments: &[&str]) -> Value {
    let mut all = vec!["rerun", "--json"];
    all.extend(arguments);
    let record = project.run(&all).exits(0).json();
    assert_eq!(
        (&record["same"], &record["differs"]),
        (&json!(true), &json!([]))
    );
    record
}

const FROM: [&str; 2] = ["--from", "record.json"];

#[test]
fn a_core_module_has_the_lots_and_the_times_of_its_record() {
    let project = Project::with(&["draw"]);
    let record = recorded(&project, "draw", &["--timeout", "2h"]).succeeded();
    assert_eq!(record.0["deterministic"], true);
    let seen = words(&record);
    let started = record.instant("started_at").timestamp_nanos_opt().unwrap();
    assert_eq!(seen[2], started.cast_unsigned());
    // One look before it; and the look with which an hour's sleep begins.
    assert_eq!(seen[3], 1_000);
    assert_eq!(seen[4], HOUR + 2_000);
    assert_eq!(seen[5], 10, "looks of a microsecond each");
    // Standard input is there at once, and the hour is not waited for.
    assert_eq!(seen[6], 1);
    assert_eq!(seen[7], HOUR + 14_000);

    let plugin = ["--plugin", "plugins/draw.wasm", "--timeout", "2h"];
    for _ in 0..2 {
        let again = same(&project, &[&FROM[..], &plugin].concat());
        for key in [
            "output",
            "run",
            "started_at",
            "fuel_used",
            "digest",
            "cause",
        ] {
            assert_eq!(again[key], record.0[key], "{key}");
        }
    }
    let other = words(&recorded(&project, "draw", &["--timeout", "2h"]).succeeded());
    assert_ne!(other[..2], seen[..2], "another run draws others");
    assert_eq!(other[3..], seen[3..]);
}

#[test]
fn a_component_has_the_lots_and_the_times_of_its_record() {
    let project = Project::with(&["command-draws"]);
    let record = recorded(&project, "command-draws", &["--timeout", "3h"]).succeeded();
    let seen = words(&record);
    let lots = &seen[..4];
    assert!(
        lots.iter()
            .all(|lot| lots.iter().filter(|other| *other == lot).count() == 1)
    );
    let started = record.instant("started_at");
    assert_eq!(seen[4], started.timestamp().cast_unsigned());
    assert_eq!(seen[5], u64::from(started.timestamp_subsec_nanos()));
    assert_eq!(seen[6], 1_000);
    assert_eq!(seen[7], HOUR + 2_000);
    assert_eq!(seen[8], 1, "one is ready, the first");
    assert_eq!(seen[9], 2 * HOUR + 3_000);
    assert_eq!(seen[10], 4);

    let plugin = ["--plugin", "plugins/command-draws.wasm", "--timeout", "3h"];
    let again = same(&project, &[&FROM[..], &plugin].concat());
    assert_eq!(again["output"], record.0["output"]);
    assert_eq!(again["fuel_used"], record.0["fuel_used"]);
}

#[test]
fn a_wait_past_the_time_limit_ends_the_run_there_and_then() {
    let project = Project::with(&[]);
    for name in ["sleep", "command-sleeps"] {
        let plugin = format!("plugins/{name}.wasm");
        let arguments = [&FROM[..], &["--plugin", &plugin]].concat();
        recorded(&project, name, &["--timeout", "61m"]).succeeded();
        same(&project, &[&arguments[..], &["--timeout", "61m"]].concat());
        recorded(&project, name, &["--timeout", "59m"]).ended("timed_out", &["59 min"]);
        same(&project, &[&arguments[..], &["--timeout", "59m"]].concat());
    }
}

#[test]
fn what_a_host_has_told_of_its_runs_is_run_again() {
    let project = Project::with(&["echo", "draw"]);
    project.jobs(&json!([
        { "id": "told", "component": "echo.wasm", "trigger": "@every 1s", "deterministic": true,
          "params": { "n": 1 }, "args": ["a"], "grants": { "env": { "TOWER": "north" } } },
        { "id": "lots", "component": "draw.wasm", "trigger": "@every 1s", "deterministic": true,
          "limits": { "timeout": "2h" } },
    ]));
    let host = project.serve(&[]);
    let told = host.records("told", 2);
    let lots = host.records("lots", 1);
    let events: Vec<String> = host
        .events()
        .iter()
        .map(|event| event.0.to_string())
        .collect();
    host.stop().in_order();
    project.write("events.jsonl", events.join("\n"));

    assert_eq!(told[1].text("last_success_at"), told[0].text("finished_at"));
    assert_eq!(told[1].text("plugin"), "echo.wasm");
    for record in told.iter().chain(&lots) {
        let run = record.text("run");
        let again = same(&project, &[run, "--from", "events.jsonl"]);
        assert_eq!(again["output"], record.0["output"]);
        assert_eq!(again["scheduled_at"], record.0["scheduled_at"]);
    }
    // By its end, in words.
    let run = told[1].text("run");
    let words = project.run(&["rerun", &run[14..], "--from", "events.jsonl"]);
    let words = words
        .exits(0)
        .says(&["the same: outcome, output, ", " fuel"]);
    assert_eq!(words.stdout.trim_end(), told[1].text("output").trim_end());
    // All ids of these years begin with a zero.
    let several = project
        .run(&["rerun", "0", "--from", "events.jsonl"])
        .exits(1);
    several.says(&["several runs in events.jsonl", run, "more of the id"]);
    let job = project
        .run(&["rerun", "lots", "--from", "events.jsonl"])
        .exits(1);
    job.says(&["no run `lots` in events.jsonl", "its last run is"]);
}

#[test]
fn a_record_that_does_not_fit_is_told() {
    let project = Project::with(&["hello"]);
    let record = recorded(&project, "hello", &[]).succeeded();
    let rerun = |arguments: &[&str]| {
        let all = [
            &["rerun", "--plugin", "plugins/hello.wasm"],
            &FROM[..],
            arguments,
        ]
        .concat();
        project.run(&all)
    };
    let ended = rerun(&[]).exits(0);
    assert_eq!(ended.stdout, "hello from the tower\n");
    ended.says(&["one line of log", "the same: outcome, output, log, "]);

    for (key, value, told) in [
        (
            "output",
            json!("hello from the tunnel\n"),
            "output: it was `…o from the tunnel\\n`, and is `…o from the tower\\n`",
        ),
        (
            "log",
            json!("no line of log\n"),
            "log: it was `no line of log",
        ),
        ("fuel_used", json!(1), "fuel used: it was `1`, and is `"),
        (
            "outcome",
            json!("failed"),
            "outcome: it was `failed`, and is `succeeded`",
        ),
        (
            "error",
            json!("exit code 3"),
            "error: it was `exit code 3`, and is gone",
        ),
    ] {
        let mut changed = record.0.clone();
        changed[key] = value;
        project.write("record.json", changed.to_string());
        rerun(&[]).exits(1).says(&["NOT the same", told]);
        let json = rerun(&["--json"]).exits(1).json();
        assert_eq!(
            (&json["same"], &json["differs"]),
            (&json!(false), &json!([key]))
        );
    }
    let mut changed = record.0.clone();
    changed.as_object_mut().unwrap().remove("started_at");
    project.write("record.json", changed.to_string());
    rerun(&[])
        .exits(1)
        .says(&["record.json cannot be used", "no `started_at`"]);
    project.write("record.json", "{\"event\":\n\"run.finished\"}\n");
    rerun(&[])
        .exits(1)
        .says(&["no run in record.json", "on one line"]);
    project
        .run(&["rerun", "--from", "none.json"])
        .exits(1)
        .says(&["none.json"]);
    project.run(&["rerun"]).exits(2).says(&["--from"]);
}

#[test]
fn another_plugin_is_not_taken_for_the_one_that_ran() {
    let project = Project::with(&["hello"]);
    let before = recorded(&project, "hello", &[]).succeeded();
    project.write("plugins/hello.wasm", hello_from("bells"));
    let now = project.record("hello", &[]).succeeded();
    let all = [
        "rerun",
        "--plugin",
        "plugins/hello.wasm",
        "--from",
        "record.json",
    ];
    let refused = project.run(&all).exits(1);
    assert_eq!(refused.stdout, "");
    refused.says(&[before.text("digest"), now.text("digest"), "--any-plugin"]);
    let taken = project
        .run(&[&all[..], &["--any-plugin"]].concat())
        .exits(1);
    assert_eq!(taken.stdout, "hello from the bells\n");
    taken.says(&["NOT the same", "tower", "bells"]);
}

#[test]
fn a_run_that_was_not_deterministic_is_run_again_with_a_warning() {
    let project = Project::with(&["hello"]);
    let record = project.record("hello", &[]).succeeded();
    assert_eq!(record.0.get("deterministic"), None);
    let mut rerun = project
        .command(&["rerun", "--from", "-", "--plugin", "plugins/hello.wasm"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = rerun.stdin.take().unwrap();
    stdin.write_all(record.0.to_string().as_bytes()).unwrap();
    drop(stdin);
    let ended = rerun.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(
        said.contains("warning: the run was not deterministic"),
        "{said}"
    );
    // It looks at nothing that could differ.
    assert!(said.contains("the same: outcome"), "{said}");
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn a_rerun_is_under_the_ceiling_of_today() {
    let project = Project::with(&["hello"]);
    recorded(&project, "hello", &["--env", "TOWER=north"]).succeeded();
    let ceiling = "[ceiling.grants]\nenv = [\"APP_*\"]\n";
    project.write("quarterjack.toml", ceiling);
    let all = [
        "rerun",
        "--from",
        "record.json",
        "--plugin",
        "plugins/hello.wasm",
    ];
    same(&project, &all[1..]);
    let refused = project.run(&[&all[..], &["--env", "TOWER=north"]].concat());
    let refused = refused
        .exits(1)
        .says(&["\"TOWER\"", "quarterjack.toml:2:7"]);
    assert_eq!(refused.stdout, "");
}

#[test]
fn a_run_that_was_given_parameters_is_given_them_again() {
    let project = Project::with(&["echo"]);
    project.jobs(&json!([{
        "id": "echo", "component": "echo.wasm", "trigger": "@yearly", "deterministic": true,
        "params": { "the": "usual" },
    }]));
    project.write("p.json", "{\n  \"of\": \"a run\"\n}\n");
    let host = project.serve(&[]);
    let trigger = |params: &[&str]| {
        let all = [&["trigger", "echo", "--wait", "--json"], params].concat();
        let told = project.run(&all).exits(0);
        (told.json(), told.stdout)
    };
    let (usual, _) = trigger(&[]);
    assert!(usual.get("params").is_none(), "{usual}");
    let (given, printed) = trigger(&["--params", "@p.json"]);
    assert_eq!(given["params"], json!({ "of": "a run" }));
    host.stop().in_order();

    let id = |record: &Value| record["run"].as_str().unwrap().to_owned();
    let again = same(&project, &[&id(&given)]);
    assert_eq!(again["output"], given["output"]);
    assert_eq!(again["params"], given["params"]);
    assert!(again["output"].as_str().unwrap().contains("a run"));
    assert_eq!(same(&project, &[&id(&usual)])["output"], usual["output"]);
    let shown = project.run(&["show", &id(&given)]).exits(0).stdout;
    assert!(
        shown.contains(r#"params      {   "of": "a run" }"#),
        "{shown}"
    );
    // From what was printed as well, and what is said now is above what was said then.
    project.write("record.json", printed);
    assert_eq!(same(&project, &FROM)["params"], given["params"]);
    let other = project.run(&["rerun", &id(&given), "--params", "1", "--json"]);
    assert_eq!(other.exits(1).json()["params"], 1);
}
