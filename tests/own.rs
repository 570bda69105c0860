//! Definitions that the running host is given, and keeps.

use serde_json::json;

use super::support::{Event, Project};

const HELLO: &str = r#"{"component": "hello.wasm", "trigger": "@every 300ms"}"#;

/// A project whose host has one job in a file.
fn project() -> Project {
    let mut project = Project::with(&["hello"]);
    let data = project.path("data").display().to_string();
    project.set("QUARTERJACK_DATA", data);
    project.jobs(&json!([{ "id": "filed", "component": "hello.wasm", "trigger": "@yearly" }]));
    project
}

fn is_added(event: &Event, job: &str) -> bool {
    event.of("job.added", job)
}

#[test]
fn a_definition_that_is_put_runs_and_outlives_the_host() {
    let project = project();
    project.write("a.json", format!("// Says hello\n{HELLO}\n"));
    project
        .run(&["jobs", "put", "a.json", "--id", "a"])
        .exits(1)
        .says(&["no host is running", "job file"]);
    let host = project.serve(&[]);
    let put = project
        .run(&["jobs", "put", "a.json", "--id", "a"])
        .exits(0);
    // How long until then depends on the moment.
    assert!(put.stdout.starts_with("a added; next "), "{put:?}");
    assert_eq!(host.event("job.added", "a").text("origin"), "host:a:2");
    host.record("a").succeeded();
    let again = project
        .run(&["jobs", "put", "a.json", "--id", "a"])
        .exits(0);
    assert!(again.stdout.starts_with("a unchanged"), "{again:?}");

    // A list of them at once.
    let two = json!([
        { "id": "a", "component": "hello.wasm", "trigger": "@hourly", "version": 2 },
        { "id": 7, "component": "hello.wasm", "trigger": "@hourly" }
    ]);
    project.write("two.json", two.to_string());
    let mark = host.mark();
    let put = project.run(&["jobs", "put", "two.json"]).exits(0);
    assert!(put.stdout.contains("a updated; "), "{put:?}");
    assert!(put.stdout.contains("7 added; "), "{put:?}");
    host.event_from(mark, "job.updated", "a");

    // They are as they were given.
    let got = project.run(&["jobs", "get", "7"]).exits(0);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&got.stdout).unwrap(),
        two[1]
    );
    host.stop().in_order();
    let host = project.serve(&[]);
    host.event("job.added", "a");
    assert!(host.events().iter().any(|event| is_added(event, "7")));
    let removed = project.run(&["jobs", "rm", "a", "7"]).exits(0);
    assert_eq!(removed.stdout, "a removed\n7 removed\n");
    host.event("job.removed", "a");
    host.stop().in_order();
    let host = project.serve(&[]);
    assert!(!host.events().iter().any(|event| is_added(event, "7")));
    host.stop().in_order();
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_changed() {
    let project = project();
    let host = project.serve(&[]);
    project.write(
        "bad.json",
        "[{\"id\": \"a\", \"component\": \"hello.wasm\",\n \"trigger\": \"61 * * * *\"}]",
    );
    project
        .run(&["jobs", "put", "bad.json"])
        .exits(1)
        .says(&["bad.json:2:14", "61"]);
    project.write("file.json", "{\"timezone\": \"UTC\", \"jobs\": []}");
    project
        .run(&["jobs", "put", "file.json"])
        .exits(1)
        .says(&["this is a job file"]);
    project.write("a.json", HELLO);
    project
        .run(&["jobs", "put", "a.json"])
        .exits(1)
        .says(&["the job has no `id`"]);
    // What a job file has is changed there.
    project
        .run(&["jobs", "put", "a.json", "--id", "filed"])
        .exits(1)
        .says(&["`filed` is defined in jobs.json: change it there"]);
    project
        .run(&["jobs", "rm", "filed"])
        .exits(1)
        .says(&["`filed` is defined in jobs.json: change it there"]);
    project
        .run(&["jobs", "get", "flied"])
        .exits(1)
        .says(&["no job `flied` in service on this host: did you mean `filed`?"]);
    // One that has no plugin yet is kept until it has.
    project.write(
        "late.json",
        r#"{"component": "late.wasm", "trigger": "@every 300ms"}"#,
    );
    let put = project
        .run(&["jobs", "put", "late.json", "--id", "late"])
        .exits(1);
    assert!(
        put.stdout.contains("late added; not in service yet: "),
        "{put:?}"
    );
    assert!(put.stdout.contains("no such plugin: late.wasm"), "{put:?}");
    std::fs::copy(
        project.path("plugins/hello.wasm"),
        project.path("plugins/late.wasm"),
    )
    .unwrap();
    host.record("late").succeeded();
    // Nor does a later job file take it away.
    let mark = host.mark();
    project.jobs(&json!([
        { "id": "filed", "component": "hello.wasm", "trigger": "@yearly" },
        { "id": "late", "component": "hello.wasm", "trigger": "@yearly" }
    ]));
    let refused = host.event_from(mark, "job.rejected", "late");
    assert!(
        refused.text("error").contains("is taken by a job of host"),
        "{refused}"
    );
    project
        .run(&["jobs", "put", "late.json", "--id", "late", "--new"])
        .exits(1);
    host.stop().in_order();
}

#[test]
fn a_definition_is_edited_and_what_somebody_else_did_is_not_undone() {
    let mut project = project();
    let host = project.serve(&[]);
    project.write("a.json", HELLO);
    project
        .run(&["jobs", "put", "a.json", "--id", "a"])
        .exits(0);
    project.set("EDITOR", "sed -i s/300ms/400ms/");
    let mark = host.mark();
    let edited = project.run(&["jobs", "edit", "a"]).exits(0);
    assert!(edited.stdout.starts_with("a updated; "), "{edited:?}");
    host.event_from(mark, "job.updated", "a");
    project
        .run(&["jobs", "edit", "a"])
        .exits(0)
        .says(&["a is as it was"]);
    // A mistake costs nothing of what was written.
    project.set("EDITOR", "sed -i s/400ms/400mss/");
    project
        .run(&["jobs", "edit", "a"])
        .exits(1)
        .says(&["400mss", "what you wrote is in "]);
    project.set("EDITOR", "false");
    project
        .run(&["jobs", "edit", "a"])
        .exits(1)
        .says(&["nothing was changed"]);
    // Meanwhile somebody else puts another one.
    let other = format!(
        "{} jobs put a.json --id a; sed -i s/400ms/500ms/ $1",
        env!("CARGO_BIN_EXE_quarterjack")
    );
    project.set("EDITOR", format!("f() {{ {other}; }}; f"));
    project
        .run(&["jobs", "edit", "a"])
        .exits(1)
        .says(&["is another one by now", "what you wrote is in "]);
    let got = project.run(&["jobs", "get", "a"]).exits(0);
    assert!(got.stdout.contains("300ms"), "{got:?}");
    host.stop().in_order();
}
