//! Jobs that schedule jobs: the example's scheduler keeps its jobs as a list says, and no more than
//! it may.

use serde_json::{Value, json};

use super::support::{Host, Project};

/// The list that the scheduler reads.
fn list(project: &Project, jobs: &Value) {
    project.write("lists/new.json", jobs.to_string());
    std::fs::rename(
        project.path("lists/new.json"),
        project.path("lists/jobs.json"),
    )
    .unwrap();
}

fn hello(id: &str, version: u32) -> Value {
    json!({"id": id, "component": "hello.wasm", "cron_expression": "0 0 1 1 *", "version": version})
}

/// The definition of the scheduler, with what stands here beside its grants.
fn sync(schedule: &Value) -> Value {
    json!({
        "id": "sync",
        "component": "scheduler.wasm",
        "trigger": "@every 200ms",
        "run_on_start": true,
        "params": {"list": "/lists/jobs.json", "prefix": "sync/"},
        "limits": {"timeout": "20s"},
        "grants": {
            "dirs": [{"host": "lists", "guest": "/lists", "mode": "ro"}],
            "schedule": schedule,
        }
    })
}

/// A project with the scheduler, and the list that it reads.
fn project(schedule: &Value, jobs: &Value) -> Project {
    let mut project = Project::with(&["hello"]);
    let data = project.path("data").display().to_string();
    project.set("QUARTERJACK_DATA", data);
    let wasm = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/scheduler.wasm");
    project.write("plugins/scheduler.wasm", std::fs::read(wasm).unwrap());
    list(&project, jobs);
    project.jobs(&json!([sync(schedule)]));
    project
}

/// Waits for a failed run of the scheduler that says all of these.
#[track_caller]
fn fails_saying(host: &Host, from: usize, words: &[&str]) {
    host.wait(&format!("a run that says {words:?}"), from, |event| {
        let said = event.0.to_string();
        event.of("run.finished", "sync") && words.iter().all(|word| said.contains(word))
    });
}

fn ids(project: &Project) -> Vec<String> {
    let listed = project.run(&["jobs", "--json"]).exits(0);
    let lines = listed.stdout.lines();
    let jobs = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    jobs.filter(|job| job["in_service"] == true)
        .map(|job| job["job"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn its_jobs_are_what_the_list_says() {
    let schedule = json!({"prefix": "sync/"});
    let project = project(&schedule, &json!([hello("a", 1), hello("b", 1)]));
    let host = project.serve(&[]);
    let added = host.event("job.added", "sync/a");
    assert_eq!(added.text("origin"), "host:sync/a:1 (by sync)");
    host.event("job.added", "sync/b");

    // One is another, one is gone, one is new.
    let mark = host.mark();
    list(&project, &json!([hello("a", 2), hello("c", 1)]));
    let updated = host.event_from(mark, "job.updated", "sync/a");
    assert!(updated.0.to_string().contains("version"), "{updated:?}");
    host.event_from(mark, "job.removed", "sync/b");
    host.event_from(mark, "job.added", "sync/c");
    assert_eq!(ids(&project), ["sync", "sync/a", "sync/c"]);

    // It is told whose they are, and a person does not change them.
    let got = project
        .run(&["jobs", "get", "sync/a", "--json"])
        .exits(0)
        .json();
    assert_eq!(got["creator"], "sync");
    project.write(
        "a.json",
        r#"{"component": "hello.wasm", "trigger": "@hourly"}"#,
    );
    project
        .run(&["jobs", "put", "a.json", "--id", "sync/a"])
        .exits(1)
        .says(&["`sync/a` is defined in the job `sync`, which made it: change it there"]);
    project
        .run(&["jobs", "rm", "sync/a"])
        .exits(1)
        .says(&["the job `sync`"]);

    // A list that cannot be read says nothing.
    let mark = host.mark();
    project.write("lists/jobs.json", "[{");
    fails_saying(&host, mark, &["this is no list of jobs"]);
    assert_eq!(ids(&project), ["sync", "sync/a", "sync/c"]);

    // They outlive the host, also where the list stays unreadable.
    host.stop().in_order();
    let host = project.serve(&[]);
    host.event("job.added", "sync/a");
    host.event("job.added", "sync/c");

    // And go with the job that made them.
    let mark = host.mark();
    project.jobs(&json!([{ "id": "other", "component": "hello.wasm", "trigger": "@yearly" }]));
    host.event_from(mark, "job.removed", "sync/a");
    host.event_from(mark, "job.removed", "sync/c");
    host.stop().in_order();
    let host = project.serve(&[]);
    host.event("job.added", "other");
    assert_eq!(ids(&project), ["other"]);
    host.stop().in_order();
}

#[test]
fn it_is_held_to_what_it_has() {
    let schedule = json!({"prefix": "sync/own/", "max_jobs": 2});
    let wide = json!({"id": "own/wide", "component": "hello.wasm", "trigger": "@yearly",
        "limits": {"timeout": "21s"}, "grants": {"http": ["https://example.com"]}});
    let broken = json!({"id": "own/broken", "component": "hello.wasm", "trigger": "@hurly"});
    let project = project(
        &schedule,
        &json!([hello("own/a", 1), hello("else", 1), wide, broken]),
    );
    project.write(
        "p.json",
        r#"{"component": "hello.wasm", "trigger": "@yearly"}"#,
    );
    let host = project.serve(&[]);
    host.event("job.added", "sync/own/a");
    fails_saying(
        &host,
        0,
        &["3 of the jobs on the list were refused", "sync/else"],
    );
    let run = host.event("run.finished", "sync");
    let said = run.0.to_string();
    for words in [
        "its own jobs begin with",
        "more than its creator holds: at most 20 s (as `sync`)",
        "the origin https://example.com",
        "host:sync/own/broken:1:",
        "no such macro",
    ] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }

    // No more than its quota, and what goes makes room.
    let mark = host.mark();
    list(
        &project,
        &json!([hello("own/a", 1), hello("own/b", 1), hello("own/c", 1)]),
    );
    host.event_from(mark, "job.added", "sync/own/b");
    fails_saying(&host, mark, &["its `max_jobs` is 2"]);
    let mark = host.mark();
    list(&project, &json!([hello("own/b", 1), hello("own/c", 1)]));
    host.event_from(mark, "job.added", "sync/own/c");

    // What a person put there is not its to change.
    let mark = host.mark();
    list(&project, &json!([hello("own/b", 1)]));
    host.event_from(mark, "job.removed", "sync/own/c");
    project
        .run(&["jobs", "put", "p.json", "--id", "sync/own/p"])
        .exits(0);
    list(&project, &json!([hello("own/b", 1), hello("own/p", 2)]));
    fails_saying(&host, mark, &["`sync/own/p`, which a person has put there"]);
    host.stop().in_order();
}

#[test]
fn what_it_made_goes_when_it_is_lowered_and_comes_back() {
    let schedule = json!({"prefix": "sync/", "on_removal": "keep"});
    let deep = json!({"id": "deep", "component": "hello.wasm", "trigger": "@yearly",
        "limits": {"timeout": "15s"}});
    let project = project(&schedule, &json!([hello("a", 1), deep]));
    let host = project.serve(&[]);
    host.event("job.added", "sync/deep");
    let mark = host.mark();
    let mut lower = sync(&schedule);
    lower["limits"]["timeout"] = "10s".into();
    project.jobs(&json!([lower]));
    host.event_from(mark, "job.removed", "sync/deep");
    let rejected = host.event_from(mark, "job.rejected", "sync/deep");
    let said = rejected.0.to_string();
    assert!(said.contains("is more than its creator holds"), "{said}");
    // What nobody wrote follows.
    host.event_from(mark, "job.updated", "sync/a");
    let mark = host.mark();
    project.jobs(&json!([sync(&schedule)]));
    host.event_from(mark, "job.added", "sync/deep");

    // Kept, they are the host's own.
    let mark = host.mark();
    project.jobs(&json!([{ "id": "other", "component": "hello.wasm", "trigger": "@yearly" }]));
    host.event_from(mark, "job.added", "other");
    host.event_from(mark, "job.removed", "sync");
    let removed = project.run(&["jobs", "rm", "sync/a"]).exits(0);
    assert_eq!(removed.stdout, "sync/a removed\n");
    assert_eq!(ids(&project), ["other", "sync/deep"]);
    host.stop().in_order();
}

#[test]
fn without_the_grant_it_is_told_what_would_give_it() {
    let project = project(&json!({"prefix": "sync/"}), &json!([]));
    let mut plain = sync(&Value::Null);
    plain["grants"].as_object_mut().unwrap().remove("schedule");
    project.jobs(&json!([plain]));
    let host = project.serve(&[]);
    let denied = host.event("run.denied", "sync");
    assert!(
        denied
            .0
            .to_string()
            .contains(r#"\"schedule\": { \"prefix\": \"sync/\" }"#),
        "{denied:?}"
    );
    host.stop().in_order();

    // And where the operator forbids it, the definition is refused.
    project.write(
        "quarterjack.toml",
        "[ceiling.grants]\nschedule = { max_jobs = 50 }\n",
    );
    project.jobs(&json!([sync(&json!({"prefix": "sync/"}))]));
    let report = project
        .run(&["check", "--json", "--config", "quarterjack.toml"])
        .exits(1)
        .json();
    let problem = report["problems"][0]["message"].as_str().unwrap();
    assert_eq!(
        problem,
        "`schedule` of 100 jobs is above the operator's ceiling"
    );
}
