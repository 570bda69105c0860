//! What runs say along the way: while they run, when they have ended, and when their host is
//! killed.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use quarterjack::clock::monotonic;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Event, Project};

fn talking(millis: &str) -> Project {
    let project = Project::with(&["talk", "capabilities"]);
    project.jobs(&json!([
        { "id": "talk", "component": "talk.wasm", "trigger": "@reboot", "args": [millis] },
        { "id": "leveled", "component": "capabilities.wasm", "trigger": "@reboot",
          "args": ["l"] },
    ]));
    project
}

#[test]
fn a_log_is_followed_while_its_run_lives() {
    let project = talking("2500");
    let host = project.serve(&[]);
    host.event("run.started", "talk");
    let mut follow = project
        .command(&["logs", "talk", "--attempt", "1", "--follow"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "begun");
    let ended = |events: &[Event]| events.iter().any(|event| event.of("run.finished", "talk"));
    assert!(!ended(&host.events()), "it was told when it was over");
    let record = host.record("talk");
    assert_eq!(record.text("outcome"), "succeeded");
    assert_eq!(lines.next().unwrap().unwrap(), "\u{1b}[31mended");
    // Of a job, the next run is waited for.
    follow.kill().unwrap();
    follow.wait().unwrap();

    // Beside a running host and without one it is the same.
    let of_run = ["logs", "talk", "--timestamps"];
    let beside = project.run(&of_run).exits(0);
    let text: Vec<&str> = beside.stdout.lines().collect();
    assert!(text[0].ends_with("Z stderr begun"), "{text:?}");
    assert!(text[1].ends_with("Z stderr \u{1b}[31mended"), "{text:?}");
    host.stop();
    assert_eq!(project.run(&of_run).exits(0).stdout, beside.stdout);

    // What it left behind is no part of it.
    let objects = project.run(&["logs", "talk", "--json"]).exits(0).stdout;
    let objects: Vec<Value> = objects
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["text"], "begun");
    assert!(objects[0]["at"].as_str() < objects[1]["at"].as_str());
    assert_eq!(objects[0]["stream"], "stderr");

    // One that has ended is followed to its end.
    let id = objects[0]["run"].as_str().unwrap();
    let ended = project.run(&["logs", id, "-f"]).exits(0);
    assert_eq!(ended.stdout, "begun\n\u{1b}[31mended\n");
    ended.says(&[&format!("run {id}: ok after ")]);

    let leveled = project
        .run(&["logs", "leveled", "--level", "warn"])
        .exits(0)
        .stdout;
    let levels: Vec<&str> = leveled
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    assert!(levels.len() >= 2, "{leveled}");
    assert!(
        levels.iter().all(|it| ["warn", "error"].contains(it)),
        "{leveled}"
    );

    let found = project.run(&["logs", "--grep", "begu", "--since", "1h"]);
    let found = found.exits(0).stdout;
    assert!(found.starts_with(&format!("{id} talk ")), "{found}");
    assert_eq!(found.lines().count(), 1);
}

#[test]
fn what_a_run_said_before_its_host_was_killed_is_there() {
    let project = talking("60000");
    let host = project.serve(&[]);
    host.event("run.started", "talk");
    let since = monotonic();
    while project.run(&["logs", "talk"]).stdout != "begun\n" {
        assert!(since.elapsed() < Duration::from_secs(20), "it never comes");
    }
    host.signal(Signal::KILL);
    host.end();
    assert_eq!(project.run(&["logs", "talk"]).exits(0).stdout, "begun\n");
    let followed = project.run(&["logs", "talk", "--follow"]).exits(0);
    assert_eq!(followed.stdout, "begun\n");
    followed.says(&["no host is at work"]);
    let file = project.path(".local/state/quarterjack/logs.db");
    let connection = rusqlite::Connection::open(file).unwrap();
    let check = "PRAGMA integrity_check";
    let said: String = connection.query_row(check, [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
}
