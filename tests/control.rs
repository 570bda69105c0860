//! A running host is told what to do, and one that has stopped what to do when it runs again.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStderr, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::support::{Event, Host, Project};

const SOCKET: &str = ".local/state/quarterjack/control.sock";

/// A job that starts only when somebody asks for it, within the time of a test.
fn by_hand(id: &str, component: &str, rest: &Value) -> Value {
    let mut job = json!({ "id": id, "component": component, "trigger": "@yearly" });
    for (key, value) in rest.as_object().unwrap() {
        job[key] = value.clone();
    }
    job
}

/// What the host answers to a request as it is.
fn http(project: &Project, request: &str) -> String {
    let mut stream = UnixStream::connect(project.path(SOCKET)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The id of a run that was just started by hand.
fn trigger(project: &Project, arguments: &[&str]) -> String {
    let told = project.run(&[&["trigger", "--json"], arguments].concat());
    told.exits(0).json()["run"].as_str().unwrap().to_owned()
}

/// Waits for the end of a run.
#[track_caller]
fn end_of(host: &Host, run: &str) -> Event {
    host.wait(&format!("the end of {run}"), 0, |event| {
        event.is("run.finished") && event.0["run"] == run
    })
}

#[test]
fn a_job_runs_when_somebody_asks_for_it() {
    let project = Project::with(&["echo", "command-fails", "hello"]);
    project.jobs(&json!([
        by_hand(
            "echo",
            "echo.wasm",
            &json!({ "params": { "the": "usual" } })
        ),
        by_hand("fails", "command-fails.wasm", &json!({})),
        by_hand("off", "hello.wasm", &json!({ "enabled": false })),
        by_hand("gone", "gone.wasm", &json!({})),
    ]));
    let host = project.serve(&[]);
    let own = project.run(&["trigger", "echo", "--wait"]).exits(0);
    assert!(own.stdout.contains(r#"{"the":"usual"}"#), "{own:?}");
    own.says(&["run 01", "ok "]);
    project.write("p.json", r#"{ "of": "a file" }"#);
    let given = project.run(&["trigger", "echo", "--params", "@p.json", "--wait", "--json"]);
    let record = given.exits(0).json();
    assert_eq!(record["event"], "run.finished");
    assert_eq!(record["cause"], "manual");
    let output = record["output"].as_str().unwrap();
    assert!(output.contains(r#"{ "of": "a file" }"#), "{output}");
    assert_eq!(
        end_of(&host, record["run"].as_str().unwrap()).0["output"],
        record["output"]
    );
    // The definition has not changed.
    let run = trigger(&project, &["echo"]);
    assert!(end_of(&host, &run).text("output").contains("usual"));

    project
        .run(&["trigger", "fails", "--wait"])
        .exits(1)
        .says(&["FAILED"]);
    let off = project.run(&["trigger", "off", "--wait"]).exits(0);
    off.says(&["job `off` is disabled", "one line of log"]);
    project
        .run(&["trigger", "ehco"])
        .exits(1)
        .says(&["no job `ehco`", "did you mean `echo`?"]);
    project
        .run(&["trigger", "gone"])
        .exits(1)
        .says(&["no job `gone`", "its plugin"]);
    project
        .run(&["trigger", "echo", "--params", "{x"])
        .exits(2)
        .says(&["not JSON"]);
    project
        .run(&["fire"])
        .exits(2)
        .says(&["quarterjack trigger"]);
    host.stop().in_order();
}

#[test]
fn a_run_is_cancelled_wherever_it_is() {
    let project = Project::with(&["sleep", "hello"]);
    project.jobs(&json!([
        by_hand("sleep", "sleep.wasm", &json!({ "overlap": "queue" })),
        by_hand("one", "sleep.wasm", &json!({})),
        by_hand("hello", "hello.wasm", &json!({})),
    ]));
    let host = project.serve(&[]);
    let running = trigger(&project, &["sleep"]);
    host.event("run.started", "sleep");
    let waiting = trigger(&project, &["sleep"]);
    let jobs = project.run(&["jobs", "--json"]).exits(0).stdout;
    let sleep = jobs
        .lines()
        .find(|line| line.contains(r#""job":"sleep""#))
        .unwrap();
    assert!(sleep.contains(r#""in_flight":1,"waiting":1"#), "{sleep}");
    // Either may be meant.
    let both = project.run(&["cancel", "sleep"]).exits(1);
    both.says(&["several runs", &running, &waiting, "waiting"]);
    let told = project.run(&["cancel", &waiting, "--json"]).exits(0).json();
    let expected = json!({ "run": &waiting, "job": "sleep", "was": "waiting" });
    assert_eq!(told, expected);
    assert_eq!(end_of(&host, &waiting).text("outcome"), "cancelled");
    let told = project.run(&["cancel", &running[20..]]).exits(0);
    assert_eq!(
        told.stdout,
        format!("run {running} of sleep was running, and is asked to end\n")
    );
    assert_eq!(end_of(&host, &running).text("outcome"), "cancelled");
    let told = project.run(&["cancel", &running]).exits(1);
    assert_eq!(
        told.stdout,
        format!("run {running} of sleep has ended already: cancelled\n")
    );

    // By the name of its job, while it is the only one; and one more is refused for its policy.
    trigger(&project, &["one"]);
    host.event("run.started", "one");
    let refused = project.run(&["trigger", "one"]).exits(1);
    refused.says(&["job `one` was not started: previous run still going"]);
    project.run(&["cancel", "one"]).exits(0);
    host.record("one").ended("cancelled", &[]);
    let told = project.run(&["cancel", "one"]).exits(1);
    assert!(told.stdout.contains("has ended already"), "{told:?}");
    let never = project.run(&["cancel", "hello"]).exits(1);
    never.says(&["job `hello` has no such run"]);

    // Nobody knows such a run.
    let nobodys = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    project
        .run(&["cancel", nobodys])
        .exits(1)
        .says(&["no run and no job"]);
    let answer = http(
        &project,
        &format!("POST /api/v1/runs/{nobodys}/cancel HTTP/1.1\r\nhost: h\r\n\r\n"),
    );
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(answer.contains("urn:quarterjack:unknown-run"), "{answer}");
    host.stop().in_order();
    let ended = project.run(&["cancel", &running]).exits(1);
    assert!(ended.stdout.contains("has ended already"), "{ended:?}");
}

/// Somebody who waits for a run of the job `sleep`, and what they are told.
fn waiting(project: &Project) -> (Child, BufReader<ChildStderr>) {
    let mut waiter = project
        .command(&["trigger", "sleep", "--wait"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(waiter.stderr.take().unwrap());
    let mut first = String::new();
    stderr.read_line(&mut first).unwrap();
    assert!(first.starts_with("run 01"), "{first}");
    (waiter, stderr)
}

#[test]
fn what_a_run_was_given_outlives_its_host() {
    let project = Project::with(&["sleep"]);
    project.jobs(&json!([by_hand(
        "sleep",
        "sleep.wasm",
        &json!({ "overlap": "queue" })
    )]));
    let host = project.serve(&[]);
    trigger(&project, &["sleep"]);
    host.event("run.started", "sleep");
    let waiting = trigger(&project, &["sleep", "--params", r#"{"day": 3}"#]);
    host.signal(Signal::KILL);
    host.end();
    let host = project.serve(&[]);
    let started = host.wait("the run that waited", 0, |event| {
        event.is("run.started") && event.0["run"] == waiting
    });
    assert_eq!(started.text("cause"), "manual");
    project.run(&["cancel", &waiting]).exits(0);
    assert_eq!(end_of(&host, &waiting).0["params"], json!({ "day": 3 }));
    host.stop().in_order();
}

#[test]
fn an_interrupt_leaves_the_run_alone_that_somebody_waits_for() {
    let project = Project::with(&["sleep"]);
    project.jobs(&json!([by_hand("sleep", "sleep.wasm", &json!({}))]));
    let host = project.serve(&[]);
    let (mut waiter, mut stderr) = waiting(&project);
    kill_process(Pid::from_child(&waiter), Signal::INT).unwrap();
    assert_eq!(waiter.wait().unwrap().code(), Some(130));
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("goes on"), "{rest}");
    host.event("run.started", "sleep");
    let told = project.run(&["cancel", "sleep"]).exits(0);
    assert!(told.stdout.contains("was running"), "{told:?}");
    host.record("sleep").ended("cancelled", &[]);
    host.stop().in_order();
}

#[test]
fn who_waits_learns_that_the_host_has_ended() {
    let project = Project::with(&["sleep"]);
    project.jobs(&json!([by_hand("sleep", "sleep.wasm", &json!({}))]));
    let host = project.serve(&[]);
    let (mut waiter, mut stderr) = waiting(&project);
    host.event("run.started", "sleep");
    host.signal(Signal::KILL);
    assert_eq!(host.end().code, None);
    assert_eq!(waiter.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert!(said.contains("the host has ended before run"), "{said}");
    // What it left in the place of its socket is in nobody's way.
    assert!(project.path(SOCKET).exists());
    project
        .run(&["trigger", "sleep"])
        .exits(1)
        .says(&["no host is running"]);
    let host = project.serve(&[]);
    trigger(&project, &["sleep"]);
    project.run(&["cancel", "sleep"]).exits(0);
    host.stop().in_order();
}

/// Waits for a firing of a job that comes to this from now on: an outcome, or why it was skipped.
/// What was in flight before may come to something else first.
#[track_caller]
fn comes_to(host: &Host, job: &str, expected: &str) {
    host.wait(&format!("{job}: {expected}"), host.mark(), |event| {
        event.of("run.finished", job) && event.text("outcome") == expected
            || event.of("run.skipped", job) && event.text("reason") == expected
    });
}

#[test]
fn pauses_hold_until_they_are_lifted_whatever_becomes_of_the_host() {
    let project = Project::with(&["hello"]);
    let tick = |id: &str, rest: &Value| {
        let mut job = by_hand(id, "hello.wasm", rest);
        job["trigger"] = json!("@every 100ms");
        job
    };
    project.jobs(&json!({
        "groups": { "db": { "max_running": 4 } },
        "jobs": [tick("a", &json!({})), tick("b", &json!({ "group": "db" }))],
    }));
    let host = project.serve(&[]);
    comes_to(&host, "a", "succeeded");
    let told = project.run(&["pause", "a"]).exits(0);
    assert_eq!(told.stdout, "the job a is paused\n");
    comes_to(&host, "a", "paused (the job a)");
    comes_to(&host, "b", "succeeded");
    let told = project
        .run(&["pause", "--group", "db", "--json"])
        .exits(0)
        .json();
    let expected =
        json!({ "scope": { "group": "db" }, "paused": true, "changed": true, "jobs": 1 });
    assert_eq!(told, expected);
    comes_to(&host, "b", "paused (the group db)");
    let told = project.run(&["pause", "a"]).exits(0);
    assert_eq!(told.stdout, "the job a is paused already\n");
    project
        .run(&["pause", "aa"])
        .exits(1)
        .says(&["no job `aa`"]);
    project
        .run(&["pause", "--group", "dbb"])
        .exits(1)
        .says(&["did you mean `db`?"]);
    project.run(&["pause"]).exits(2);
    // It is run by hand all the same, and nothing of it is made up for.
    let by_hand = project.run(&["trigger", "a", "--wait"]).exits(0);
    by_hand.says(&["job `a` is paused (the job a)"]);
    let range = ["backfill", "a", "--from", "-1m", "--to", "now"];
    project
        .run(&range)
        .exits(1)
        .says(&["job `a` is paused (the job a)"]);
    let jobs = project.run(&["jobs"]).exits(0).stdout;
    assert!(jobs.contains("paused (db)"), "{jobs}");
    host.signal(Signal::KILL);
    host.end();

    // Nothing runs when the next one starts, and all stands in the history.
    let jobs = project.run(&["jobs"]).exits(0);
    assert!(jobs.stdout.contains("paused"), "{jobs:?}");
    jobs.says(&["the group db is paused"]);
    let host = project.serve(&[]);
    host.wait_for("firings", |events| {
        let firing = |job| move |event: &&Event| event.of("run.skipped", job);
        let of = |job| events.iter().filter(firing(job)).count();
        (of("a") > 2 && of("b") > 2).then_some(())
    });
    assert!(!host.events().iter().any(|event| event.is("run.started")));
    host.stop().in_order();

    // While none is running, too.
    let told = project.run(&["pause", "--all"]).exits(0);
    assert_eq!(told.stdout, "all jobs are paused\n");
    told.says(&["no host is running", "from when one starts"]);
    let told = project.run(&["resume", "a"]).exits(0);
    assert_eq!(
        told.stdout,
        "the job a is paused no more; but all jobs are paused\n"
    );
    project
        .run(&["resume", "aaa"])
        .exits(1)
        .says(&["no job `aaa`"]);
    let host = project.serve(&[]);
    comes_to(&host, "a", "paused (all jobs)");
    let status = http(&project, "GET /api/v1/status HTTP/1.1\r\nhost: h\r\n\r\n");
    let body: Value = serde_json::from_str(status.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(
        (&body["pid"], &body["jobs"]),
        (&json!(host.id()), &json!(2))
    );
    assert_eq!(body["paused"][0]["scope"], "all");
    assert_eq!(body["paused"][1]["scope"], json!({ "group": "db" }));
    let told = project.run(&["resume", "--all"]).exits(0);
    assert_eq!(
        told.stdout,
        "all jobs are paused no more (2 jobs); still paused: the group db\n"
    );
    comes_to(&host, "a", "succeeded");
    comes_to(&host, "b", "paused (the group db)");
    let told = project.run(&["resume", "--all"]).exits(0);
    let still = "nothing paused all jobs (2 jobs); still paused: the group db\n";
    assert_eq!(told.stdout, still);
    project.run(&["resume", "--group", "db"]).exits(0);
    comes_to(&host, "b", "succeeded");
    host.stop().in_order();
}

#[test]
fn what_has_no_run_is_made_up_for_in_order_and_once() {
    let project = Project::with(&["nap"]);
    let hourly = json!({ "id": "report", "component": "nap.wasm", "args": ["30"],
        "trigger": { "cron": "0 * * * *", "timezone": "UTC" } });
    project.jobs(&json!([
        hourly,
        by_hand(
            "after",
            "nap.wasm",
            &json!({ "trigger": { "after": "report" } })
        )
    ]));
    let host = project.serve(&[]);
    let backfill = |arguments: &[&str]| {
        let range = [
            "backfill",
            "report",
            "--from",
            "2024-01-01T00:00:00Z",
            "--to",
            "2024-01-01T06:00:00Z",
        ];
        project.run(&[&range, arguments].concat())
    };
    let dry = backfill(&["--dry-run"]).exits(0);
    assert_eq!(dry.stdout.lines().count(), 6, "{dry:?}");
    dry.says(&["report: 6 instants without a run"]);
    backfill(&["--limit", "2"])
        .exits(0)
        .says(&["2 runs for 2 instants", "there are more"]);
    let told = backfill(&["--json"]).exits(0).json();
    assert_eq!((&told["fired"], &told["had_runs"]), (&json!(4), &json!(2)));
    assert_eq!(told["instants"][0], "2024-01-01T02:00:00Z");
    let records = host.records("report", 6);
    for (hour, record) in records.iter().enumerate() {
        assert_eq!(record.text("cause"), "catch-up");
        assert_eq!(
            record.text("scheduled_at"),
            format!("2024-01-01T{hour:02}:00:00Z")
        );
        // One after the other, although the job says `overlap: skip`.
        if let Some(before) = hour.checked_sub(1) {
            let before = records[before].instant("finished_at");
            assert!(record.instant("started_at") >= before);
        }
    }
    backfill(&[])
        .exits(0)
        .says(&["no instant of that time is without a run; 6 have one"]);

    let wrong = |arguments: &[&str], words: &[&str]| {
        project
            .run(&[&["backfill"], arguments].concat())
            .exits(1)
            .says(words);
    };
    wrong(
        &["reprot", "--from", "-1d", "--to", "now"],
        &["did you mean `report`?"],
    );
    wrong(
        &["report", "--from", "-1d", "--to", "+9w"],
        &["is still to come"],
    );
    wrong(
        &["after", "--from", "-1d", "--to", "now"],
        &["has no instants of its own"],
    );
    let usage = |arguments: &[&str], words: &[&str]| {
        project
            .run(&[&["backfill", "report"], arguments].concat())
            .exits(2)
            .says(words);
    };
    usage(
        &["--from", "now", "--to", "-1d"],
        &["is not after the beginning"],
    );
    usage(
        &["--from", "soon", "--to", "now"],
        &["--from: `soon` is no time"],
    );
    usage(&["--from", "-1d"], &["--to"]);
    usage(
        &["--from", "-1d", "--to", "now", "--limit", "0"],
        &["--limit"],
    );
    host.stop().in_order();
}

#[test]
fn what_was_skipped_while_it_was_paused_is_made_up_for() {
    let project = Project::with(&["hello"]);
    let mut job = by_hand("tick", "hello.wasm", &json!({}));
    job["trigger"] = json!("@every 500ms");
    project.jobs(&json!([job]));
    let host = project.serve(&[]);
    project.run(&["pause", "tick"]).exits(0);
    let skipped = host.wait("a skip", host.mark(), |event| {
        event.of("run.skipped", "tick")
    });
    let instant = skipped.text("scheduled_at").to_owned();
    project.run(&["resume", "tick"]).exits(0);
    let until = format!(
        "{}",
        skipped.instant("scheduled_at") + chrono::TimeDelta::milliseconds(1)
    );
    let range = [
        "backfill",
        "tick",
        "--json",
        "--from",
        &instant,
        "--to",
        &until.replace(" UTC", "Z").replace(' ', "T"),
    ];
    let told = project.run(&range).exits(0).json();
    assert_eq!(told["instants"], json!([instant]));
    assert_eq!(told["fired"], 1);
    host.wait("the run that makes up for it", 0, |event| {
        event.of("run.finished", "tick") && event.text("scheduled_at") == instant
    });
    let told = project.run(&range).exits(0).json();
    assert_eq!((&told["fired"], &told["had_runs"]), (&json!(0), &json!(1)));
    host.stop().in_order();
}

#[test]
fn the_socket_is_the_owners_alone_and_goes_with_the_host() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([by_hand("hello", "hello.wasm", &json!({}))]));
    let verbs: [&[&str]; 3] = [
        &["trigger", "hello"],
        &["backfill", "hello", "--from", "-1d", "--to", "now"],
        &["trigger", "hello", "--wait"],
    ];
    let without = |project: &Project| {
        for verb in verbs {
            project.run(verb).exits(1).says(&[
                "no host is running on the data directory",
                "`quarterjack serve --data ",
            ]);
        }
    };
    without(&project);
    project
        .run(&["trigger", "hello"])
        .exits(1)
        .says(&["`quarterjack run hello`"]);
    project
        .run(&["pause", "--all"])
        .exits(1)
        .says(&["there is no history"]);
    let host = project.serve(&[]);
    let mode = std::fs::metadata(project.path(SOCKET))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let jobs = project.run(&["jobs", "--json"]).exits(0).json();
    assert!(
        jobs["next_at"].is_string() && jobs["enabled"] == true,
        "{jobs}"
    );
    host.stop().in_order();
    assert!(!project.path(SOCKET).exists());
    without(&project);
    let host = project.serve(&["--ephemeral"]);
    assert!(!project.path(SOCKET).exists());
    host.stop().in_order();

    // A host that cannot listen does its work all the same.
    let long = "d".repeat(120);
    let host = project.serve(&["--data", &long]);
    let said = project.run(&["trigger", "hello", "--data", &long]).exits(1);
    said.says(&["too long a path for a socket"]);
    project
        .run(&["pause", "--all", "--data", &long])
        .exits(1)
        .says(&["in use by another host"]);
    let stopped = host.stop().in_order();
    assert!(
        stopped.stderr.contains("too long a path for a socket"),
        "{}",
        stopped.stderr
    );
}

#[test]
fn the_verbs_have_their_help() {
    let project = Project::with(&[]);
    let help = project.run(&["--help"]).exits(0).stdout;
    for verb in ["trigger", "cancel", "pause", "resume", "backfill"] {
        assert!(help.contains(verb), "{help}");
        let own = project.run(&["help", verb]).exits(0).stdout;
        assert!(
            own.contains("--data <DIR>") && own.contains("--json"),
            "{own}"
        );
    }
}
