//! How a host and a run end when they are asked to.

use rustix::process::Signal;

use super::support::Project;
use serde_json::json;

fn napping(millis: &str) -> Project {
    let project = Project::with(&["nap"]);
    project.jobs(&json!([{
        "id": "nap", "component": "nap.wasm", "trigger": "@yearly", "run_on_start": true,
        "args": [millis],
    }]));
    project
}

fn sleeping() -> Project {
    let project = Project::with(&["sleep"]);
    project.jobs(&json!([{
        "id": "sleep", "component": "sleep.wasm", "trigger": "@yearly", "run_on_start": true,
        "limits": { "timeout": "1h" },
    }]));
    project
}

#[test]
fn a_run_in_flight_is_waited_for() {
    for signal in [Signal::TERM, Signal::INT] {
        let host = napping("700").serve(&[]);
        host.event("run.started", "nap");
        host.signal(signal);
        let stopped = host.end().in_order();
        let [record] = stopped.records("nap").try_into().unwrap();
        assert_eq!(record.succeeded().text("output"), "awake\n");
    }
}

#[test]
fn nothing_starts_once_the_host_is_asked_to_stop() {
    let project = Project::with(&["nap", "hello"]);
    project.jobs(&json!([
        { "id": "nap", "component": "nap.wasm", "trigger": "@yearly", "run_on_start": true,
          "args": ["1200"] },
        { "id": "tick", "component": "hello.wasm", "trigger": "@every 100ms" },
    ]));
    let host = project.serve(&[]);
    host.event("run.started", "nap");
    host.record("tick");
    let mark = host.mark();
    host.signal(Signal::TERM);
    let stopped = host.end().in_order();
    stopped.records("nap")[0].clone().succeeded();
    // Ten would have been due meanwhile; one or two may have started before the signal came.
    let late = stopped.events[mark..]
        .iter()
        .filter(|event| event.of("run.started", "tick"));
    assert!(late.count() <= 5, "{stopped:#?}");
    // Every start has its end.
    for event in stopped
        .events
        .iter()
        .filter(|event| event.is("run.started"))
    {
        let ends =
            |end: &&super::support::Event| end.is("run.finished") && end.0["run"] == event.0["run"];
        assert_eq!(stopped.events.iter().filter(ends).count(), 1, "{event}");
    }
}

#[test]
fn when_the_grace_is_over_runs_are_cancelled() {
    let host = sleeping().serve(&["--grace", "200ms"]);
    host.event("run.started", "sleep");
    let stopped = host.stop().in_order();
    let [record] = stopped.records("sleep").try_into().unwrap();
    record.ended("cancelled", &["stopping"]);
}

#[test]
fn a_spinning_run_is_cancelled_too() {
    let project = Project::with(&["spin"]);
    project.jobs(&json!([{
        "id": "spin", "component": "spin.wasm", "trigger": "@yearly", "run_on_start": true,
        "limits": { "timeout": "1h", "fuel": "unlimited" },
    }]));
    let host = project.serve(&["--grace", "0s"]);
    host.event("run.started", "spin");
    let stopped = host.stop().in_order();
    stopped.records("spin")[0].clone().ended("cancelled", &[]);
}

#[test]
fn a_second_signal_ends_the_host_at_once() {
    let host = sleeping().serve(&["--grace", "1h"]);
    host.event("run.started", "sleep");
    // Two different ones: two of a kind may be delivered as one.
    host.signal(Signal::INT);
    host.signal(Signal::TERM);
    let stopped = host.end().told_its_end();
    assert!(matches!(stopped.code, Some(130 | 143)), "{stopped:#?}");
    stopped.records("sleep")[0].clone().ended("cancelled", &[]);
}

#[test]
fn a_host_without_runs_stops_at_once() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([{ "id": "rare", "component": "hello.wasm", "trigger": "@yearly" }]));
    let stopped = project.serve(&["--grace", "1h"]).stop().in_order();
    assert_eq!(stopped.events.last().unwrap().number("runs"), 0);
    assert_eq!(stopped.stderr, "");
}

#[test]
fn an_interrupted_run_is_cancelled_and_shown() {
    let project = Project::with(&["sleep"]);
    let mut child = project
        .command(&["run", "plugins/sleep.wasm", "--timeout", "1h"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // What a guest prints is shown as it prints it: the run goes on.
    let mut shown = [0; 11];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut shown).unwrap();
    assert_eq!(&shown, b"good night\n");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap().to_lowercase();
    assert!(said.contains("cancelled"), "{said}");
}
