//! What becomes of firings and runs that do not go as planned, by the policies of their jobs.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::support::{Event, Project};

/// A job that runs once, as soon as the host starts.
fn once(id: &str, component: &str, rest: &Value) -> Value {
    let mut job = json!({
        "id": id, "component": component, "trigger": "@yearly", "run_on_start": true,
    });
    for (key, value) in rest.as_object().unwrap() {
        job[key] = value.clone();
    }
    job
}

/// The most runs of some jobs that were in flight at once.
fn most_at_once(events: &[Event], is_one: impl Fn(&str) -> bool) -> i32 {
    let (mut running, mut most) = (0, 0);
    for event in events {
        if event.0["job"].as_str().is_some_and(&is_one) {
            running += i32::from(event.is("run.started"));
            running -= i32::from(event.is("run.finished") || event.is("run.retrying"));
            most = most.max(running);
        }
    }
    most
}

#[test]
fn a_failed_run_is_attempted_again_within_its_policy() {
    let project = Project::with(&["typed", "environ", "spin"]);
    let retry = json!({ "attempts": 3, "backoff": "50ms", "factor": 3 });
    project.jobs(&json!([
        once("policy", "typed.wasm", &json!({ "params": "policy", "retry": retry })),
        once("never", "typed.wasm", &json!({ "params": "never", "retry": retry })),
        once("named", "typed.wasm",
            &json!({ "params": "never", "retry": { "attempts": 2, "backoff": "1ms", "on": ["failed"] } })),
        // It asks for 90 s, and the run has less.
        once("after", "typed.wasm", &json!({ "params": "after", "retry": retry, "deadline": "30s" })),
        once("told", "environ.wasm", &json!({ "retry": retry, "deadline": "30s" })),
        once("spin", "spin.wasm", &json!({ "retry": { "attempts": 9, "backoff": "1ms" }, "deadline": "2s",
            "limits": { "timeout": "500ms" } })),
    ]));
    let host = project.serve(&[]);
    let last = host.record("policy").ended("failed", &["the bell rope"]);
    assert_eq!(
        (last.number("attempt"), last.number("max_attempts")),
        (3, 3)
    );
    let never = host.record("never").ended("failed", &["the bell rope"]);
    assert_eq!(never.number("attempt"), 1);
    assert_eq!(host.record("named").number("attempt"), 2);
    let after = host
        .record("after")
        .ended("failed", &["not tried again", "deadline"]);
    assert_eq!(after.number("attempt"), 1);

    let told = host.record("told");
    let environment = told.text("output");
    for line in ["QUARTERJACK_ATTEMPT=3", "QUARTERJACK_MAX_ATTEMPTS=3"] {
        assert!(environment.contains(line), "{environment}");
    }
    // All attempts have the deadline of their run, which comes before that of their own.
    let run_started = told.instant("run_started_at");
    assert!(run_started < told.instant("started_at"));
    let deadline = environment
        .split(['\n', '\0'])
        .find_map(|line| line.strip_prefix("QUARTERJACK_DEADLINE="))
        .and_then(|instant| chrono::DateTime::parse_from_rfc3339(instant).ok());
    assert_eq!(
        deadline.unwrap() - run_started.fixed_offset(),
        TimeDelta::seconds(30)
    );

    let spin = host.record("spin").ended("timed_out", &["deadline"]);
    assert!(spin.number("attempt") >= 2, "{spin}");
    let took = spin.instant("finished_at") - spin.instant("run_started_at");
    assert!(took >= TimeDelta::milliseconds(1_500), "{took}");

    let stopped = host.stop().in_order();
    let of_policy: Vec<&Event> = stopped
        .events
        .iter()
        .filter(|event| event.0["job"] == "policy" && event.text("event").starts_with("run."))
        .collect();
    let names: Vec<&str> = of_policy.iter().map(|event| event.text("event")).collect();
    let (started, again) = ("run.started", "run.retrying");
    let expected = [started, again, started, again, started, "run.finished"];
    assert_eq!(names, expected);
    for (index, wait) in [(1, 50), (3, 150)] {
        let (ended, next) = (of_policy[index], of_policy[index + 1]);
        assert_eq!(ended.text("run"), last.text("run"));
        assert_eq!(ended.text("outcome"), "failed");
        assert_eq!(
            ended.instant("next_at") - ended.instant("finished_at"),
            TimeDelta::milliseconds(wait)
        );
        assert!(next.instant("started_at") >= ended.instant("next_at"));
        assert_eq!(next.number("attempt"), ended.number("attempt") + 1);
    }
}

#[test]
fn a_host_that_stops_ends_what_waits_for_another_attempt() {
    let project = Project::with(&["typed"]);
    let retry = json!({ "attempts": 3, "backoff": "1h" });
    project.jobs(&json!([once(
        "policy",
        "typed.wasm",
        &json!({ "params": "policy", "retry": retry })
    ),]));
    let host = project.serve(&[]);
    host.event("run.retrying", "policy");
    let stopped = host.stop().in_order();
    let record = stopped.records("policy").remove(0);
    record.ended(
        "cancelled",
        &["the host is stopping, before attempt 2 of 3"],
    );
}

#[test]
fn each_way_to_overlap() {
    let project = Project::with(&["nap"]);
    let napping = |id: &str, overlap: Value, args: &str| {
        json!({ "id": id, "component": "nap.wasm", "trigger": "@every 250ms", "args": [args],
                "overlap": overlap })
    };
    project.jobs(&json!([
        napping("queue", json!({ "queue": 2 }), "600"),
        napping("allow", json!("allow"), "1200"),
        napping("replace", json!("replace"), "60000"),
    ]));
    let host = project.serve(&[]);
    let skipped = host.event("run.skipped", "queue");
    assert_eq!(skipped.text("kind"), "queue_full");
    assert!(skipped.text("reason").contains("queue 2"), "{skipped}");
    host.records("queue", 3);
    for record in host.records("replace", 2) {
        record.ended("cancelled", &["a later run of the job takes its place"]);
    }
    host.record("allow").succeeded();
    let events = host.stop().in_order().events;
    assert_eq!(most_at_once(&events, |job| job == "queue"), 1);
    assert_eq!(most_at_once(&events, |job| job == "replace"), 1);
    let allowed = most_at_once(&events, |job| job == "allow");
    assert!(allowed > 1, "{allowed} at once");
    // Those that wait go in their order.
    let started: Vec<_> = events
        .iter()
        .filter(|event| event.of("run.started", "queue"))
        .map(|event| event.instant("scheduled_at"))
        .collect();
    assert!(started.is_sorted(), "{started:?}");
}

#[test]
fn a_group_shares_a_limit() {
    let project = Project::with(&["nap"]);
    let nap =
        |id: &str, group: Value| once(id, "nap.wasm", &json!({ "args": ["150"], "group": group }));
    let jobs = [
        nap("db-1", json!("db")),
        nap("db-2", json!("db")),
        nap("db-3", json!("db")),
        nap("other", json!(null)),
    ];
    project.jobs(&json!({ "groups": { "db": { "max_running": 1 } }, "jobs": jobs }));
    let host = project.serve(&[]);
    for job in ["db-1", "db-2", "db-3", "other"] {
        host.record(job).succeeded();
    }
    let events = host.stop().in_order().events;
    assert_eq!(most_at_once(&events, |job| job.starts_with("db-")), 1);
}
