//! The host: jobs fire when they are due, whatever other jobs do.

use chrono::{TimeDelta, Timelike as _};
use rustix::process::Signal;

use super::support::{Event, Project, guest, repository};
use serde_json::{Value, json};

#[test]
fn a_cron_job_fires_on_the_tick() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([{ "id": "tick", "component": "hello.wasm", "trigger": "* * * * * *" }]));
    let host = project.serve(&[]);
    let added = host.event("job.added", "tick");
    assert_eq!(added.instant("next_at").nanosecond(), 0);
    let runs = host.records("tick", 3);
    for run in &runs {
        assert_eq!(run.instant("scheduled_at").nanosecond(), 0, "{}", run);
        assert_eq!(run.text("cause"), "schedule");
        assert_eq!(run.text("output"), "hello from the tower\n");
    }
    for pair in runs.windows(2) {
        assert!(pair[0].instant("scheduled_at") < pair[1].instant("scheduled_at"));
        assert_ne!(pair[0].text("run"), pair[1].text("run"));
    }
    // On a machine with much else to do one may be late, but not each.
    let second = TimeDelta::seconds(1);
    let in_time = runs
        .iter()
        .any(|run| run.instant("started_at") - run.instant("scheduled_at") < second);
    assert!(in_time, "none of {runs:#?} has started within its second");
    host.stop().in_order();
}

#[test]
fn an_interval_does_not_drift() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([{
        "id": "beat", "component": "hello.wasm", "trigger": { "interval": "400ms" },
    }]));
    let host = project.serve(&[]);
    let runs = host.records("beat", 4);
    for pair in runs.windows(2) {
        let apart = pair[1].instant("scheduled_at") - pair[0].instant("scheduled_at");
        let micros = apart.num_microseconds().unwrap();
        assert!(
            micros > 0 && micros % 400_000 == 0,
            "{apart} is no multiple of 400 ms"
        );
    }
    host.stop().in_order();
}

#[test]
fn every_event_of_a_run_is_told_in_order() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([{
        "id": "once", "component": "hello.wasm", "trigger": "@yearly", "run_on_start": true,
    }]));
    let host = project.serve(&[]);
    host.record("once").succeeded();
    let stopped = host.stop().in_order();
    let place = |name: &str| {
        let found: Vec<usize> = (0..stopped.events.len())
            .filter(|place| stopped.events[*place].is(name))
            .collect();
        assert_eq!(found.len(), 1, "{name}: {stopped:#?}");
        found[0]
    };
    let order = [
        "plugin.loaded",
        "job.added",
        "host.started",
        "run.started",
        "run.finished",
        "host.stopped",
    ];
    let places: Vec<usize> = order.iter().map(|name| place(name)).collect();
    assert!(places.is_sorted(), "{stopped:#?}");

    let event = |name: &str| &stopped.events[place(name)];
    let started = event("host.started");
    assert_eq!((started.number("jobs"), started.number("plugins")), (1, 1));
    let loaded = event("plugin.loaded");
    assert_eq!(loaded.text("plugin"), "hello.wasm");
    assert_eq!(loaded.text("digest").len(), 64);
    assert!(event("job.added").text("origin").contains("jobs.json:2"));
    let (started, finished) = (event("run.started"), event("run.finished"));
    for key in ["job", "run", "attempt", "scheduled_at", "started_at"] {
        assert_eq!(started.0[key], finished.0[key], "{key}");
    }
    let ended = event("host.stopped");
    assert_eq!((ended.number("runs"), ended.number("skipped")), (1, 0));
}

/// Hostile jobs and how each must end: id, component, arguments or parameters, limits, outcome,
/// a word of the error.
fn hostile() -> Vec<(Value, &'static str, &'static str)> {
    let job = |id: &str, component: &str, what: Value, limits: Value| {
        json!({
            "id": id, "component": format!("{component}.wasm"), "trigger": "@every 1s",
            "run_on_start": true, "params": what, "args": [what], "limits": limits,
        })
    };
    let short = json!({ "timeout": "200ms" });
    let small = json!({ "memory": "2MiB" });
    vec![
        (
            job("spin", "spin", json!(""), short.clone()),
            "timed_out",
            "timeout",
        ),
        (
            job("burn", "spin", json!(""), json!({ "fuel": "1M" })),
            "out_of_fuel",
            "fuel",
        ),
        (
            job("spin-at-start", "spin-at-start", json!(""), short.clone()),
            "timed_out",
            "timeout",
        ),
        (
            job("spin-typed", "typed", json!("spin"), short.clone()),
            "timed_out",
            "timeout",
        ),
        (
            job("sleep", "sleep", json!(""), short.clone()),
            "timed_out",
            "timeout",
        ),
        (
            job("sleep-0.2", "command-sleeps", json!(""), short),
            "timed_out",
            "timeout",
        ),
        (
            job("recurse", "recurse", json!(""), json!({})),
            "trapped",
            "stack",
        ),
        (
            job("trap", "unreachable", json!(""), json!({})),
            "trapped",
            "unreachable",
        ),
        (
            job("divide", "divide", json!(""), json!({})),
            "trapped",
            "divide",
        ),
        (
            job("bounds", "out-of-bounds", json!(""), json!({})),
            "trapped",
            "bounds",
        ),
        (
            job("grow", "grow", json!("trap"), small.clone()),
            "out_of_memory",
            "memory",
        ),
        (
            job("grow-exit", "grow", json!("exit"), small.clone()),
            "out_of_memory",
            "memory",
        ),
        (
            job("large", "large", json!(""), small),
            "out_of_memory",
            "memory",
        ),
        (
            job("tables", "tables", json!(""), json!({ "memory": "256KiB" })),
            "out_of_memory",
            "memory",
        ),
        (
            job("exit", "exit", json!("3"), json!({})),
            "failed",
            "exit code 3",
        ),
        (
            job("read", "read", json!("/etc/passwd"), json!({})),
            "failed",
            "exit code",
        ),
        (
            job("network", "network", json!(""), json!({})),
            "failed",
            "exit code",
        ),
        (
            job("fails", "typed", json!("never"), json!({})),
            "failed",
            "bell rope",
        ),
        (
            job("malformed", "typed", json!("malformed"), json!({})),
            "failed",
            "JSON",
        ),
    ]
}

#[test]
fn a_bystander_keeps_firing_while_hostile_jobs_run() {
    let project = Project::with(&[
        "hello",
        "spin",
        "spin-at-start",
        "typed",
        "sleep",
        "command-sleeps",
        "recurse",
        "unreachable",
        "divide",
        "out-of-bounds",
        "grow",
        "large",
        "tables",
        "exit",
        "read",
        "network",
    ]);
    let hostile = hostile();
    let mut jobs: Vec<Value> = hostile.iter().map(|(job, ..)| job.clone()).collect();
    jobs.push(json!({ "id": "bystander", "component": "hello.wasm", "trigger": "@every 1s" }));
    project.jobs(&json!(jobs));
    let host = project.serve(&[]);
    for (job, outcome, word) in &hostile {
        for record in host.records(job["id"].as_str().unwrap(), 2) {
            record.ended(outcome, &[word]);
        }
    }
    // Each has had two goes by now, and the bystander is still served.
    let mark = host.mark();
    host.fresh_record(mark, "bystander").succeeded();
    let stopped = host.stop().in_order();
    for record in stopped.records("bystander") {
        let record = record.succeeded();
        assert_eq!(record.text("output"), "hello from the tower\n");
    }
}

#[test]
fn a_flood_of_output_holds_up_nobody() {
    let project = Project::with(&["hello", "flood"]);
    project.jobs(&json!([
        { "id": "flood", "component": "flood.wasm", "trigger": "@yearly", "run_on_start": true,
          "args": ["1"], "limits": { "output": "16B" } },
        { "id": "bystander", "component": "hello.wasm", "trigger": "@every 1s" },
    ]));
    let host = project.serve(&[]);
    let record = host.record("flood").succeeded();
    assert_eq!(record.text("output"), "................");
    assert_eq!(record.number("output_dropped_bytes"), (100 << 20) - 16);
    host.record("bystander").succeeded();
    host.stop().in_order();
}

#[test]
fn a_job_that_still_runs_is_skipped() {
    let project = Project::with(&["nap"]);
    project.jobs(&json!([
        { "id": "slow", "component": "nap.wasm", "trigger": "@every 300ms", "args": ["1200"] },
        { "id": "twice", "component": "nap.wasm", "trigger": "@every 300ms", "args": ["1200"],
          "max_instances": 2 },
    ]));
    let host = project.serve(&[]);
    let skipped = host.event("run.skipped", "slow");
    assert!(
        skipped.text("reason").contains("max_instances 1"),
        "{skipped}"
    );
    skipped.instant("scheduled_at");
    assert!(skipped.0.get("run").is_none(), "{skipped}");
    let skipped = host.event("run.skipped", "twice");
    assert!(
        skipped.text("reason").contains("max_instances 2"),
        "{skipped}"
    );
    assert_eq!(host.record("slow").succeeded().text("output"), "awake\n");
    host.record("twice").succeeded();
    let stopped = host.stop().in_order();
    for (job, most) in [("slow", 1), ("twice", 2)] {
        let (mut running, mut at_most) = (0, 0);
        for event in &stopped.events {
            running += i32::from(event.of("run.started", job));
            running -= i32::from(event.of("run.finished", job));
            at_most = at_most.max(running);
        }
        assert_eq!(at_most, most, "{job}");
    }
    let skipped = stopped
        .events
        .iter()
        .filter(|event| event.is("run.skipped"))
        .count();
    assert_eq!(
        stopped.events.last().unwrap().number("skipped"),
        skipped as u64
    );
}

#[test]
fn the_host_has_a_limit_on_runs_too() {
    let project = Project::with(&["nap"]);
    let jobs: Vec<Value> = (0..5)
        .map(|number| {
            json!({ "id": number, "component": "nap.wasm", "trigger": "@yearly",
                    "run_on_start": true, "args": ["200"] })
        })
        .collect();
    project.jobs(&json!(jobs));
    let host = project.serve(&["--max-running", "2"]);
    for number in 0..5 {
        host.record(&number.to_string()).succeeded();
    }
    let stopped = host.stop().in_order();
    let (mut running, mut at_most) = (0, 0);
    for event in &stopped.events {
        running += i32::from(event.is("run.started"));
        running -= i32::from(event.is("run.finished"));
        at_most = at_most.max(running);
    }
    assert!((1..=2).contains(&at_most), "{at_most} at once");
}

#[test]
fn what_was_missed_while_the_host_stood_still_is_told() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([
        { "id": "tick", "component": "hello.wasm", "trigger": "@every 200ms" },
    ]));
    let (host, clock) = (project.serve(&[]), project.serve(&["--ephemeral"]));
    host.record("tick").succeeded();
    host.signal(Signal::STOP);
    // The other host tells how the time passes.
    for _ in 0..5 {
        let mark = clock.mark();
        clock.fresh_record(mark, "tick");
    }
    let mark = host.mark();
    host.signal(Signal::CONT);
    let skipped = host.event_from(mark, "run.skipped", "tick");
    assert!(skipped.text("reason").contains("missed"), "{skipped}");
    // One run stands in for all of them, and then the beat is as before.
    let first = host.fresh_record(mark, "tick").succeeded();
    let mark = host.mark();
    let second = host.fresh_record(mark, "tick").succeeded();
    let apart = second.instant("scheduled_at") - first.instant("scheduled_at");
    assert_eq!(apart.num_milliseconds() % 200, 0);
    host.stop().in_order();
    clock.stop().in_order();
}

#[test]
fn a_disabled_job_is_known_and_does_not_fire() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([
        { "id": "off", "component": "hello.wasm", "trigger": "@every 200ms", "enabled": false },
        { "id": "on", "component": "hello.wasm", "trigger": "@every 200ms" },
    ]));
    let host = project.serve(&[]);
    let added = host.event("job.added", "off");
    assert!(added.0.get("next_at").is_none(), "{added}");
    host.records("on", 5);
    let told = host
        .events()
        .iter()
        .any(|event| event.0["job"] == "off" && event.text("event").starts_with("run."));
    assert!(!told);
    host.stop().in_order();
}

#[test]
fn several_files_are_one_host() {
    let project = Project::with(&["hello"]);
    let job = |id: &str| json!([{ "id": id, "component": "hello.wasm", "trigger": "@yearly", "run_on_start": true }]);
    project.write("first.json", job("one").to_string());
    project.write("second.json", job("two").to_string());
    project.write("third.json", job("one").to_string());
    let host = project.serve(&["first.json", "second.json", "third.json"]);
    host.record("one").succeeded();
    host.record("two").succeeded();
    // An id is used once in the whole host.
    let rejected = host.event("job.rejected", "one");
    assert!(
        rejected.text("error").contains("third.json:1:"),
        "{rejected}"
    );
    assert!(rejected.text("error").contains("first.json"), "{rejected}");
    host.stop().in_order();
}

#[test]
fn what_a_person_is_shown_has_the_jobs_and_their_ends() {
    let project = Project::with(&["hello", "spin", "escape"]);
    project.jobs(&json!([
        { "id": "painter", "component": "escape.wasm", "trigger": "@every 1s" },
        { "id": "greeter", "component": "hello.wasm", "trigger": "@every 1s" },
        { "id": "spinner", "component": "spin.wasm", "trigger": "@every 1s",
          "limits": { "timeout": "200ms" } },
    ]));
    let mut command = project.command(&["serve"]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::inherit())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut shown = String::new();
    // Ends with the pipe at the latest; all jobs fire each second.
    for line in lines {
        shown.push_str(&line.unwrap());
        shown.push('\n');
        let ends = ["hello from the tower", "timeout 200", "exit code 1"];
        if ends.iter().all(|end| shown.contains(end)) {
            break;
        }
        assert!(shown.lines().count() < 100, "{shown}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for words in [
        "quarterjack",
        "greeter",
        "spinner",
        "hello.wasm",
        "spin.wasm",
        "jobs.json:",
    ] {
        assert!(shown.contains(words), "no `{words}` in {shown}");
    }
    assert!(shown.to_lowercase().contains("timed out"), "{shown}");
    // Neither the host colours what goes into a pipe, nor does a guest reach the terminal.
    assert!(!shown.contains('\x1b'), "{shown:?}");
    assert!(!shown.contains('\x07'), "{shown:?}");
}

#[test]
fn the_example_does_what_the_readme_says() {
    let project = Project::with(&[]);
    let jobs = repository("examples/jobs.json").display().to_string();
    let plugins = repository("plugins").display().to_string();
    let host = project.serve(&[&jobs, "--plugins", &plugins]);
    host.record("hello").succeeded();
    host.records("clock", 2);
    host.record("stuck").ended("timed_out", &["timeout"]);
    host.record("greedy").ended("out_of_fuel", &["fuel"]);
    host.record("broken").ended("failed", &["exit code 3"]);
    let rejected = |event: &Event| event.is("job.rejected") || event.is("plugin.rejected");
    assert!(!host.events().iter().any(rejected), "{:#?}", host.events());
    host.stop().in_order();
}

#[test]
fn a_host_that_cannot_start_says_why() {
    let project = Project::with(&["hello"]);
    project.run(&["serve"]).exits(1).says(&["jobs.json"]);
    project.jobs(&json!([]));
    project
        .run(&["serve", "--plugins", "plugin"])
        .exits(1)
        .says(&["plugin", "--plugins"]);
    project
        .run(&["serve", "--refresh", "5"])
        .exits(2)
        .says(&["5s"]);
    // A guest is no job file.
    project.write("jobs.json", guest("hello"));
    let host = project.serve(&[]);
    let rejected = host.wait("the file to be rejected", 0, |event| {
        event.is("job.rejected")
    });
    assert!(rejected.text("error").contains("jobs.json"), "{rejected}");
    host.stop().in_order();
}

#[test]
fn a_slow_compilation_holds_up_nobody() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([
        { "id": "bystander", "component": "hello.wasm", "trigger": "@every 100ms" },
        { "id": "large", "component": "large.wasm", "trigger": "@yearly", "run_on_start": true },
    ]));
    // Not in the cache that all tests share, or it would be compiled once in a machine's life.
    let host = project.serve(&["--cache", "code"]);
    host.event("job.rejected", "large");
    host.record("bystander").succeeded();
    let mark = host.mark();
    project.replace("plugins/large.wasm", many_functions());
    let loaded = host.plugin_from(mark, "plugin.loaded", "large.wasm");
    assert!(loaded.0["compiled_ms"].as_f64().unwrap() > 0.0);
    host.record("large").succeeded();
    let stopped = host.stop().in_order();
    let end = stopped
        .events
        .iter()
        .position(|event| *event == loaded)
        .unwrap();
    let meanwhile = stopped.events[mark..end]
        .iter()
        .filter(|event| event.of("run.finished", "bystander"))
        .count();
    assert!(meanwhile > 0, "nothing ran while {loaded} was compiled");
}

/// A job that takes a compiler some time and the machine none.
fn many_functions() -> Vec<u8> {
    let turns =
        "(local.set 0 (i64.rotl (i64.mul (local.get 0) (local.get 1)) (local.get 0)))".repeat(60);
    let function = format!("(func (param i64 i64) (result i64) {turns} (local.get 0))");
    let text = format!(
        "(module {} (func (export \"_start\")))",
        function.repeat(500)
    );
    wat::parse_str(text).unwrap()
}
