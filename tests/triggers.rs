//! Triggers beyond cron and intervals: chains, bounds, the start of the host.

#![allow(clippy::disallowed_methods)] // instants of the real executable are those of the real clock

use chrono::{TimeDelta, Utc};
use serde_json::json;

use super::support::Project;

#[test]
fn jobs_run_after_other_jobs_by_how_those_ended() {
    let project = Project::with(&["hello", "exit"]);
    let after = |id: &str, job: &str, on: &str| json!({ "id": id, "component": "hello.wasm", "trigger": { "after": job, "on": on } });
    project.jobs(&json!([
        // Those that wait may stand before what they wait for.
        after("then", "good", "success"),
        after("never", "good", "failure"),
        after("instead", "bad", "failure"),
        after("not-this", "bad", "success"),
        after("anyway", "bad", "always"),
        after("last", "then", "success"),
        { "id": "good", "component": "hello.wasm", "trigger": "@reboot" },
        { "id": "bad", "component": "exit.wasm", "trigger": "@reboot" },
    ]));
    let host = project.serve(&[]);
    let upstream = host.record("good").succeeded();
    for (id, upstream) in [
        ("then", "good"),
        ("last", "then"),
        ("instead", "bad"),
        ("anyway", "bad"),
    ] {
        let run = host.record(id).succeeded();
        assert_eq!(run.text("cause"), "upstream", "{id}");
        // The instant that it is for is the one at which the other ended.
        assert_eq!(
            run.instant("scheduled_at"),
            host.record(upstream).instant("finished_at"),
            "{id}"
        );
    }
    assert_eq!(upstream.text("cause"), "schedule");
    let stopped = host.stop().in_order();
    for id in ["never", "not-this"] {
        assert!(stopped.records(id).is_empty(), "{id} has run: {stopped:#?}");
    }
    assert_eq!(stopped.records("good").len(), 1);
}

#[test]
fn a_job_waits_until_the_one_before_it_is_defined() {
    let project = Project::with(&["hello"]);
    let last = json!({ "id": "last", "component": "hello.wasm", "trigger": { "after": "frist" } });
    project.jobs(&json!([last]));
    let host = project.serve(&["--refresh", "1h"]);
    let rejected = host.event("job.rejected", "last");
    assert!(
        rejected.text("error").contains("no such job: frist"),
        "{rejected}"
    );
    let mark = host.mark();
    let first = json!({ "id": "frist", "component": "hello.wasm", "trigger": { "interval": "1d" }, "run_on_start": true });
    project.jobs(&json!([last, first]));
    host.event_from(mark, "job.added", "last");
    let run = host.record("last").succeeded();
    assert_eq!(run.text("cause"), "upstream");
    // It would wait in vain if the other went, and that is told.
    let mark = host.mark();
    project.jobs(&json!([last]));
    let rejected = host.event_from(mark, "job.rejected", "last");
    assert!(
        rejected.text("error").contains("no such job: frist"),
        "{rejected}"
    );
    host.stop().in_order();
}

#[test]
fn circles_between_files_are_refused() {
    let project = Project::with(&["hello"]);
    let job = |id: &str, job: &str| json!([{ "id": id, "component": "hello.wasm", "trigger": { "any": [{ "after": job }, "@reboot"] } }]);
    project.write("a.json", job("a", "b").to_string());
    project.write("b.json", job("b", "a").to_string());
    project
        .run(&["check", "a.json", "b.json"])
        .exits(1)
        .says(&["job `a` comes after itself", "`b` after `a` after `b`"]);
    project.write("b.json", job("b", "nobody").to_string());
    project
        .run(&["check", "a.json", "b.json"])
        .exits(1)
        .says(&["no such job: nobody"]);
}

#[test]
fn a_number_of_runs_is_not_exceeded() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([
        { "id": "thrice", "component": "hello.wasm", "trigger": { "interval": "100ms", "max_runs": 3 } },
        { "id": "beat", "component": "hello.wasm", "trigger": { "interval": "100ms" } },
    ]));
    let host = project.serve(&[]);
    host.records("thrice", 3);
    // Long enough for a fourth.
    let beats = host.records("beat", 1).len();
    host.wait_for("more beats", |events| {
        let count = events
            .iter()
            .filter(|it| it.of("run.finished", "beat"))
            .count();
        (count >= beats + 8).then_some(())
    });
    let stopped = host.stop().in_order();
    assert_eq!(stopped.records("thrice").len(), 3);
}

#[test]
fn a_single_instant_comes_once() {
    let project = Project::with(&["hello"]);
    let soon = Utc::now() + TimeDelta::seconds(2);
    project.jobs(&json!([
        { "id": "once", "component": "hello.wasm", "trigger": { "at": soon.to_rfc3339() } },
        { "id": "over", "component": "hello.wasm", "trigger": { "at": "2001-01-01T00:00", "timezone": "Europe/Berlin" } },
    ]));
    let host = project.serve(&[]);
    let run = host.record("once").succeeded();
    assert_eq!(
        run.instant("scheduled_at").timestamp_micros(),
        soon.timestamp_micros()
    );
    let stopped = host.stop().in_order();
    assert_eq!(stopped.records("once").len(), 1);
    assert!(stopped.records("over").is_empty());
}

#[test]
fn the_start_of_the_host_is_one_only_for_jobs_that_were_there() {
    let project = Project::with(&["hello"]);
    let job = |id: &str| json!({ "id": id, "component": "hello.wasm", "trigger": "@reboot" });
    project.jobs(&json!([job("there")]));
    let host = project.serve(&["--refresh", "1h"]);
    host.record("there").succeeded();
    let mark = host.mark();
    let beat =
        json!({ "id": "beat", "component": "hello.wasm", "trigger": { "interval": "200ms" } });
    project.jobs(&json!([job("there"), job("later"), beat]));
    host.event_from(mark, "job.added", "later");
    host.records("beat", 2);
    let stopped = host.stop().in_order();
    assert_eq!(stopped.records("there").len(), 1);
    assert!(stopped.records("later").is_empty());
}
