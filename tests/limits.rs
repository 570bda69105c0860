//! Limits: what is counted against them, what is measured, and the operator's ceiling.

use super::support::Project;
use serde_json::json;

#[test]
fn memories_are_limited_together() {
    const PAGE: u64 = 65536;
    let project = Project::with(&[]);
    // 10 pages of one memory and 9 of another.
    let record = project.record("memories", &["--memory", "1MiB"]);
    let record = record.ended("out_of_memory", &["memory", "1", "MiB"]);
    assert_eq!(record.number("memory_peak_bytes"), 11 * PAGE);
    let record = project
        .record("memories", &["--memory", "2MiB"])
        .succeeded();
    assert_eq!(record.number("memory_peak_bytes"), 19 * PAGE);
}

#[test]
fn tables_are_memory() {
    let project = Project::with(&[]);
    let record = project.record("tables", &["--memory", "256KiB"]);
    let record = record.ended("out_of_memory", &["memory", "256", "KiB"]);
    let peak = record.number("memory_peak_bytes");
    assert!((200 << 10..=256 << 10).contains(&peak), "{}", record);
    // However much memory a job may have, tables have an end of their own.
    let record = project.record("tables", &["--memory", "4GiB"]);
    record.ended("out_of_memory", &[]);
}

#[test]
fn a_flood_is_counted_and_dropped() {
    const FLOOD: u64 = 100 << 20;
    const KEPT: u64 = 64 << 10;
    let project = Project::with(&[]);
    let record = project
        .record("flood", &["--output", "64KiB", "--", "1"])
        .succeeded();
    assert_eq!(record.text("output").len() as u64, KEPT);
    assert_eq!(record.number("output_dropped_bytes"), FLOOD - KEPT);
    let record = project
        .record("flood", &["--output", "64KiB", "--", "2"])
        .succeeded();
    assert_eq!(record.text("log").len() as u64, KEPT);
    assert_eq!(record.number("log_dropped_bytes"), FLOOD - KEPT);
    assert!(record.0.get("output").is_none(), "{}", record);
}

#[test]
fn what_a_typed_job_returns_is_cut_to_its_limit() {
    let project = Project::with(&[]);
    let record = project
        .record("typed", &["--params", "\"text\"", "--output", "5B"])
        .succeeded();
    assert_eq!(record.text("output"), "plain");
    assert_eq!(record.number("output_dropped_bytes"), 6);
}

#[test]
fn the_same_run_takes_the_same_fuel() {
    let project = Project::with(&[]);
    let first = project.record("hello", &[]).succeeded();
    let second = project.record("hello", &[]).succeeded();
    assert_eq!(first.number("fuel_used"), second.number("fuel_used"));
}

#[test]
fn fuel_without_a_limit_is_still_measured() {
    let record = Project::with(&[])
        .record("hello", &["--fuel", "unlimited"])
        .succeeded();
    let limited = Project::with(&[]).record("hello", &[]).succeeded();
    assert_eq!(record.number("fuel_used"), limited.number("fuel_used"));
}

#[test]
fn processor_time_is_measured() {
    let project = Project::with(&[]);
    // However busy the machine is, so much fuel takes its time.
    let spun = project.record("spin", &["--fuel", "1G", "--timeout", "1m"]);
    let slept = project.record("sleep", &["--timeout", "300ms"]);
    let time = |record: &super::support::Record| record.0["cpu_ms"].as_f64().unwrap();
    assert!(time(&spun) > time(&slept), "{} {}", spun, slept);
    assert!(time(&slept) >= 0.0);
}

#[test]
fn the_limits_of_a_definition_hold() {
    let project = Project::with(&["spin", "grow", "flood"]);
    project.jobs(&json!({
        "defaults": { "limits": { "timeout": "250ms" } },
        "jobs": [
            { "id": "default", "component": "spin.wasm", "trigger": "@hourly", "run_on_start": true },
            { "id": "own", "component": "spin.wasm", "trigger": "@hourly", "run_on_start": true,
              "limits": { "timeout": "1h", "fuel": "2M" } },
            { "id": "memory", "component": "grow.wasm", "trigger": "@hourly", "run_on_start": true,
              "limits": { "memory": "2MiB", "timeout": "20s" }, "args": ["exit"] },
            { "id": "output", "component": "flood.wasm", "trigger": "@hourly", "run_on_start": true,
              "limits": { "output": "1KiB", "timeout": "20s" }, "args": ["1"] },
        ],
    }));
    let host = project.serve(&[]);
    host.record("default")
        .ended("timed_out", &["timeout", "250"]);
    host.record("own").ended("out_of_fuel", &["fuel", "2"]);
    host.record("memory")
        .ended("out_of_memory", &["memory", "2", "MiB"]);
    let record = host.record("output").succeeded();
    assert_eq!(record.text("output").len(), 1024);
    host.stop().in_order();
}

#[test]
fn no_job_asks_for_more_than_the_operator_allows() {
    let project = Project::with(&["spin", "hello"]);
    project.jobs(&json!([
        { "id": "greedy", "component": "spin.wasm", "trigger": "@hourly",
          "limits": { "timeout": "10s" } },
        { "id": "modest", "component": "spin.wasm", "trigger": "@hourly", "run_on_start": true },
        { "id": "good", "component": "hello.wasm", "trigger": "@hourly", "run_on_start": true },
    ]));
    let host = project.serve(&["--max-timeout", "300ms"]);
    let rejected = host.event("job.rejected", "greedy");
    assert!(rejected.text("error").contains("10s"), "{rejected}");
    assert!(rejected.text("error").contains("300"), "{rejected}");
    // Where a job asks for nothing, the ceiling is below the default.
    host.record("modest")
        .ended("timed_out", &["timeout", "300"]);
    host.record("good").succeeded();
    host.stop().in_order();
    project
        .run(&["check", "--max-timeout", "300ms"])
        .exits(1)
        .says(&["10s", "300"]);
    project.run(&["check"]).exits(0);
}

#[test]
fn flags_do_not_pass_the_hosts_maximum() {
    let project = Project::with(&["hello"]);
    let run = |flag: &str, value: &str| project.run(&["run", "plugins/hello.wasm", flag, value]);
    run("--memory", "99TiB").exits(2).says(&["99TiB", "4 GiB"]);
    run("--timeout", "99d").exits(2).says(&["99d"]);
    run("--output", "99GiB").exits(2).says(&["99GiB"]);
}

#[test]
fn a_pipe_keeps_no_run_waiting() {
    let project = Project::with(&["read"]);
    std::fs::create_dir(project.path("data")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(project.path("data/pipe"))
        .status();
    assert!(made.unwrap().success());
    project.jobs(&json!([{
        "id": "waits", "component": "read.wasm", "trigger": "@yearly", "run_on_start": true,
        "args": ["pipe"], "grants": { "dirs": ["data::/data"] }, "limits": { "timeout": "200ms" },
    }]));
    let host = project.serve(&[]);
    // Refused, and not opened: who opens it waits until somebody else does.
    let record = host.record("waits").ended("failed", &["exit code 63"]);
    assert!(record.text("log").contains("open /data/pipe: it is a pipe"));
    host.stop().in_order();
}

#[test]
fn what_a_guest_makes_in_the_host_has_an_end_too() {
    let record = Project::with(&[]).record("hoard", &["--timeout", "20s"]);
    assert_ne!(record.text("outcome"), "timed_out", "{record}");
    assert!(record.text("error").contains("limit"), "{record}");
}
