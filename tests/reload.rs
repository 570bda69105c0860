//! Definitions that change while the host runs.

use std::os::unix::fs::symlink;

use super::support::{Event, Host, Project};
use serde_json::{Value, json};

/// Only the system's word that a file has changed makes a host with this re-read it.
const NEVER: [&str; 2] = ["--refresh", "1h"];

fn tutorial(project: &Project, jobs: &str) {
    project.write("jobs.json", jobs);
}

#[track_caller]
fn has_field(event: &Event, field: &str) {
    let fields = event.0["fields"].as_array().unwrap();
    assert!(
        fields.iter().any(|known| known == field),
        "no {field} in {event}"
    );
}

#[test]
fn the_tutorial_file_is_followed() {
    let project = Project::with(&["hello"]);
    tutorial(
        &project,
        r#"[
        {"id": 1, "cron_expression": "* * * * *", "version": 0, "component": "hello.wasm"},
        {"id": 2, "cron_expression": "0 12-21 * * *", "version": 0, "component": "hello.wasm"}
    ]"#,
    );
    let host = project.serve(&NEVER);
    assert_eq!(
        host.event("job.added", "1").instant("next_at").timestamp() % 60,
        0
    );
    assert_eq!(
        host.event("job.added", "2").instant("next_at").timestamp() % 3600,
        0
    );

    // A new job.
    let mark = host.mark();
    tutorial(
        &project,
        r#"[
        {"id": 1, "cron_expression": "* * * * *", "version": 0, "component": "hello.wasm"},
        {"id": 2, "cron_expression": "0 12-21 * * *", "version": 0, "component": "hello.wasm"},
        {"id": 3, "cron_expression": "* * * * * *", "version": 0, "component": "hello.wasm"}
    ]"#,
    );
    host.event_from(mark, "job.added", "3");
    host.record("3").succeeded();

    // A changed version.
    let mark = host.mark();
    tutorial(
        &project,
        r#"[
        {"id": 1, "cron_expression": "* * * * *", "version": 1, "component": "hello.wasm"},
        {"id": 2, "cron_expression": "0 12-21 * * *", "version": 0, "component": "hello.wasm"},
        {"id": 3, "cron_expression": "* * * * * *", "version": 0, "component": "hello.wasm"}
    ]"#,
    );
    has_field(&host.event_from(mark, "job.updated", "1"), "version");

    // Changed content under the same version.
    let mark = host.mark();
    tutorial(
        &project,
        r#"[
        {"id": 1, "cron_expression": "* * * * *", "version": 1, "component": "hello.wasm"},
        {"id": 2, "cron_expression": "* * * * * *", "version": 0, "component": "hello.wasm"},
        {"id": 3, "cron_expression": "* * * * * *", "version": 0, "component": "hello.wasm"}
    ]"#,
    );
    has_field(&host.event_from(mark, "job.updated", "2"), "trigger");
    host.record("2").succeeded();

    // A removed job.
    let mark = host.mark();
    tutorial(
        &project,
        r#"[
        {"id": 1, "cron_expression": "* * * * *", "version": 1, "component": "hello.wasm"},
        {"id": 3, "cron_expression": "* * * * * *", "version": 0, "component": "hello.wasm"}
    ]"#,
    );
    host.event_from(mark, "job.removed", "2");
    let mark = host.mark();
    host.fresh_record(mark, "3").succeeded();

    let stopped = host.stop().in_order();
    let removed = stopped
        .events
        .iter()
        .position(|event| event.of("job.removed", "2"))
        .unwrap();
    let late = stopped.events[removed..]
        .iter()
        .find(|event| event.of("run.started", "2"));
    assert_eq!(late, None, "a removed job has fired");
    // What has not changed was left alone.
    let changes = |job: &str| {
        let events = stopped.events.iter().filter(|event| event.0["job"] == job);
        let names = events.map(|event| event.text("event").to_owned());
        names
            .filter(|name| name.starts_with("job."))
            .collect::<Vec<_>>()
    };
    assert_eq!(changes("1"), ["job.added", "job.updated"]);
    assert_eq!(changes("2"), ["job.added", "job.updated", "job.removed"]);
    assert_eq!(changes("3"), ["job.added"]);
}

fn hello(id: &str, trigger: &str) -> Value {
    json!({ "id": id, "component": "hello.wasm", "trigger": trigger })
}

#[test]
fn an_unchanged_job_keeps_its_schedule_to_the_tick() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([hello("steady", "@every 300ms")]));
    let host = project.serve(&NEVER);
    host.records("steady", 2);
    // It moves within the file, and jobs come and go around it.
    project.jobs(&json!([
        hello("other", "@yearly"),
        hello("steady", "@every 300ms")
    ]));
    host.event("job.added", "other");
    host.records("steady", 4);
    project.jobs(&json!([hello("steady", "@every 300ms")]));
    host.event("job.removed", "other");
    let runs = host.records("steady", 6);
    let first = runs[0].instant("scheduled_at");
    for run in &runs {
        let micros = (run.instant("scheduled_at") - first)
            .num_microseconds()
            .unwrap();
        assert_eq!(micros % 300_000, 0, "{}", run);
    }
    host.stop().in_order();
}

#[test]
fn a_run_in_flight_finishes_under_its_old_definition() {
    let project = Project::with(&["nap"]);
    let nap = |id: &str, millis: &str| {
        json!({ "id": id, "component": "nap.wasm", "trigger": "@every 1s", "args": [millis],
                "limits": { "timeout": "20s" } })
    };
    project.jobs(&json!([nap("removed", "1500"), nap("changed", "1500")]));
    let host = project.serve(&NEVER);
    let started = [
        host.event("run.started", "removed"),
        host.event("run.started", "changed"),
    ];
    let mut changed = nap("changed", "3600000");
    changed["limits"]["timeout"] = json!("250ms");
    project.replace("jobs.json", json!([changed]).to_string());
    host.event("job.removed", "removed");
    has_field(&host.event("job.updated", "changed"), "limits");
    for start in &started {
        let run = start.text("run");
        let finished = host.wait("the run to finish", 0, |event| {
            event.is("run.finished") && event.0["run"] == run
        });
        assert_eq!(finished.text("outcome"), "succeeded", "{finished}");
        assert_eq!(finished.text("output"), "awake\n");
    }
    // What starts now has the new one.
    let mark = host.mark();
    host.fresh_record(mark, "changed")
        .ended("timed_out", &["timeout", "250"]);
    host.stop().in_order();
}

/// Waits until the host has rejected something at this line of the job file.
#[track_caller]
fn rejected_at(host: &Host, from: usize, line: u64) -> Event {
    host.wait(&format!("a rejection at line {line}"), from, |event| {
        event.is("job.rejected") && event.problem()["line"] == line
    })
}

#[test]
fn a_broken_file_changes_nothing_until_it_is_mended() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([hello("steady", "@every 300ms")]));
    let host = project.serve(&NEVER);
    host.record("steady");
    let mark = host.mark();
    project.write("jobs.json", concat!(
        "[\n",
        "  {\"id\": \"steady\", \"component\": \"hello.wasm\", \"trigger\": \"@every 300ms\"},\n",
        "  {\"id\": \"new\", \"component\": \"hello.wasm\" \"trigger\": \"@every 300ms\"}\n",
        "]\n",
    ));
    let rejected = rejected_at(&host, mark, 3);
    assert_eq!(rejected.problem()["column"], 42);
    assert_eq!(rejected.problem()["file"], "jobs.json");
    assert!(
        rejected.text("error").contains("jobs.json:3:42"),
        "{rejected}"
    );
    assert!(rejected.text("error").contains("comma"), "{rejected}");
    let mark = host.mark();
    host.fresh_record(mark, "steady").succeeded();
    host.fresh_record(mark, "steady").succeeded();

    // Gone, empty, a directory: each is told, and what runs goes on.
    let mark = host.mark();
    std::fs::remove_file(project.path("jobs.json")).unwrap();
    host.wait("the missing file to be told", mark, |event| {
        event.is("job.rejected")
    });
    let mark = host.mark();
    project.write("jobs.json", "");
    host.wait("the empty file to be told", mark, |event| {
        event.is("job.rejected")
    });
    let mark = host.mark();
    host.fresh_record(mark, "steady").succeeded();

    let mark = host.mark();
    project.jobs(&json!([
        hello("steady", "@every 300ms"),
        hello("new", "@every 300ms")
    ]));
    host.event_from(mark, "job.added", "new");
    let stopped = host.stop().in_order();
    assert!(
        !stopped.events.iter().any(|event| event.is("job.removed")),
        "{stopped:#?}"
    );
}

#[test]
fn a_broken_job_spoils_itself_alone_and_keeps_its_last_good_definition() {
    let project = Project::with(&["hello"]);
    let text = |trigger: &str, more: &str| {
        format!(
            "[\n{{\"id\": \"one\", \"component\": \"hello.wasm\", \"trigger\": \"{trigger}\"}},\n\
             {{\"id\": \"two\", \"component\": \"hello.wasm\", \"trigger\": \"@every 300ms\"}},{more}\n]"
        )
    };
    project.write("jobs.json", text("@every 300ms", ""));
    let host = project.serve(&NEVER);
    host.record("one");
    let mark = host.mark();
    let three =
        "\n{\"id\": \"three\", \"component\": \"hello.wasm\", \"trigger\": \"@every 300ms\"}";
    project.write("jobs.json", text("61 * * * *", three));
    let rejected = rejected_at(&host, mark, 2);
    assert!(rejected.of("job.rejected", "one"), "{rejected}");
    assert!(rejected.text("error").contains("61"), "{rejected}");
    // The job that came with the mistake runs, and so do the others, the broken one included.
    host.event_from(mark, "job.added", "three");
    let mark = host.mark();
    for job in ["one", "two", "three"] {
        host.fresh_record(mark, job).succeeded();
    }
    let mark = host.mark();
    project.write("jobs.json", text("@every 200ms", three));
    has_field(&host.event_from(mark, "job.updated", "one"), "trigger");
    host.stop().in_order();
}

#[test]
fn every_way_to_replace_a_file_is_noticed() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([hello("base", "@yearly")]));
    let host = project.serve(&NEVER);
    let with = |id: &str| json!([hello("base", "@yearly"), hello(id, "@yearly")]).to_string();
    // Rewritten in place.
    project.write("jobs.json", with("rewritten"));
    host.event("job.added", "rewritten");
    // Renamed over.
    project.replace("jobs.json", with("renamed"));
    host.event("job.added", "renamed");
    // Deleted and made anew.
    std::fs::remove_file(project.path("jobs.json")).unwrap();
    project.write("jobs.json", with("anew"));
    host.event("job.added", "anew");
    // A link that is pointed elsewhere, as mounted configuration is.
    project.write("first/jobs.json", with("linked"));
    project.write("second/jobs.json", with("relinked"));
    symlink("first", project.path("current")).unwrap();
    symlink("current/jobs.json", project.path("link~")).unwrap();
    std::fs::rename(project.path("link~"), project.path("jobs.json")).unwrap();
    host.event("job.added", "linked");
    symlink("second", project.path("current~")).unwrap();
    std::fs::rename(project.path("current~"), project.path("current")).unwrap();
    host.event("job.added", "relinked");
    host.stop().in_order();
}

#[test]
fn a_change_that_nothing_tells_of_is_found_by_looking() {
    let project = Project::with(&["hello"]);
    project.write(
        "elsewhere/jobs.json",
        json!([hello("base", "@yearly")]).to_string(),
    );
    // The directory that is watched does not change when the file behind the link does.
    symlink("elsewhere/jobs.json", project.path("jobs.json")).unwrap();
    let host = project.serve(&["--refresh", "200ms"]);
    let jobs = json!([hello("base", "@yearly"), hello("new", "@yearly")]);
    project.write("elsewhere/jobs.json", jobs.to_string());
    host.event("job.added", "new");
    host.stop().in_order();
}

#[test]
fn run_on_start_means_when_the_job_is_new() {
    let project = Project::with(&["hello"]);
    let mut at_once = hello("at-once", "@yearly");
    at_once["run_on_start"] = json!(true);
    project.jobs(&json!([hello("beat", "@every 300ms")]));
    let host = project.serve(&NEVER);
    project.jobs(&json!([hello("beat", "@every 300ms"), at_once]));
    host.record("at-once").succeeded();
    let mark = host.mark();
    project.jobs(&json!([hello("beat", "@every 301ms"), at_once]));
    host.event_from(mark, "job.updated", "beat");
    let mark = host.mark();
    host.fresh_record(mark, "beat");
    let stopped = host.stop().in_order();
    assert_eq!(
        stopped.records("at-once").len(),
        1,
        "it is not new any more"
    );
}

#[test]
fn a_job_is_switched_off_and_on() {
    let project = Project::with(&["hello"]);
    let jobs = |enabled: bool| {
        let mut job = hello("switch", "@every 200ms");
        job["enabled"] = json!(enabled);
        json!([job, hello("beat", "@every 200ms")])
    };
    project.jobs(&jobs(true));
    let host = project.serve(&NEVER);
    host.record("switch").succeeded();
    project.jobs(&jobs(false));
    let off = host.event("job.updated", "switch");
    has_field(&off, "enabled");
    assert!(off.0.get("next_at").is_none(), "{off}");
    let mark = host.mark();
    for _ in 0..4 {
        let mark = host.mark();
        host.fresh_record(mark, "beat");
    }
    let events = host.events();
    let fired = events[mark..]
        .iter()
        .find(|event| event.of("run.started", "switch"));
    assert_eq!(fired, None);
    let mark = host.mark();
    project.jobs(&jobs(true));
    assert!(
        host.event_from(mark, "job.updated", "switch")
            .0
            .get("next_at")
            .is_some()
    );
    host.fresh_record(mark, "switch").succeeded();
    host.stop().in_order();
}
