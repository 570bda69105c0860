//! Plugins that come, change and go while the host runs.

use std::io::Write as _;
use std::os::unix::fs::symlink;

use super::support::{Host, Project, Record, guest, hello_from};
use serde_json::json;

const NEVER: [&str; 2] = ["--refresh", "1h"];

fn project() -> Project {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([
        { "id": "greeter", "component": "hello.wasm", "trigger": "@every 300ms" },
    ]));
    project
}

/// The first run of the greeter that starts from now on.
#[track_caller]
fn next_run(host: &Host) -> Record {
    let mark = host.mark();
    host.fresh_record(mark, "greeter").succeeded()
}

#[test]
fn a_plugin_that_comes_later_makes_its_job_run() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([
        { "id": "greeter", "component": "hello.wasm", "trigger": "@every 300ms" },
        { "id": "late", "component": "helo.wasm", "trigger": "@every 300ms" },
    ]));
    let host = project.serve(&NEVER);
    let rejected = host.event("job.rejected", "late");
    assert!(rejected.text("error").contains("helo.wasm"), "{rejected}");
    assert!(
        rejected
            .text("error")
            .contains("did you mean \"hello.wasm\"?"),
        "{rejected}"
    );
    assert!(
        rejected.problem()["line"].as_u64().unwrap() > 1,
        "{rejected}"
    );
    host.record("greeter").succeeded();
    let mark = host.mark();
    project.write("plugins/helo.wasm", hello_from("abbey"));
    let loaded = host.plugin_from(mark, "plugin.loaded", "helo.wasm");
    assert!(loaded.0.get("replaced").is_none(), "{loaded}");
    host.event_from(mark, "job.added", "late");
    assert_eq!(
        host.record("late").succeeded().text("output"),
        "hello from the abbey\n"
    );
    host.stop().in_order();
}

#[test]
fn a_replaced_plugin_is_used_from_the_next_run_on() {
    let project = project();
    let host = project.serve(&NEVER);
    let first = host.plugin_from(0, "plugin.loaded", "hello.wasm");
    assert_eq!(next_run(&host).text("output"), "hello from the tower\n");
    // At once, by a rename.
    let mark = host.mark();
    project.replace("plugins/hello.wasm", hello_from("abbey"));
    let second = host.plugin_from(mark, "plugin.loaded", "hello.wasm");
    assert_eq!(second.text("replaced"), first.text("digest"));
    assert_ne!(second.text("digest"), first.text("digest"));
    assert_eq!(next_run(&host).text("output"), "hello from the abbey\n");
    // In place, in pieces.
    let mark = host.mark();
    let mut file = std::fs::File::create(project.path("plugins/hello.wasm")).unwrap();
    for piece in hello_from("manor").chunks(64) {
        file.write_all(piece).unwrap();
        file.flush().unwrap();
    }
    drop(file);
    let third = host.wait("the third version", mark, |event| {
        event.of_plugin("plugin.loaded", "hello.wasm")
    });
    assert_eq!(third.text("replaced"), second.text("digest"));
    assert_eq!(next_run(&host).text("output"), "hello from the manor\n");
    // Touched, not changed: nothing to tell.
    let mark = host.mark();
    project.write("plugins/hello.wasm", hello_from("manor"));
    project.write("plugins/other.wasm", hello_from("chest"));
    host.plugin_from(mark, "plugin.loaded", "other.wasm");
    let stopped = host.stop().in_order();
    let told = stopped.events[mark..]
        .iter()
        .filter(|event| event.0["plugin"] == "hello.wasm" && event.is("plugin.loaded"));
    assert_eq!(told.count(), 0);
    for record in stopped.records("greeter") {
        record.succeeded();
    }
}

#[test]
fn a_run_in_flight_finishes_with_its_old_plugin() {
    let project = Project::with(&["nap"]);
    project.jobs(&json!([
        { "id": "greeter", "component": "nap.wasm", "trigger": "@every 1s", "args": ["1500"] },
    ]));
    let host = project.serve(&NEVER);
    let started = host.event("run.started", "greeter");
    project.replace("plugins/nap.wasm", hello_from("abbey"));
    host.wait("the new version", 0, |event| {
        event.of_plugin("plugin.loaded", "nap.wasm") && event.0.get("replaced").is_some()
    });
    let finished = host.record("greeter").succeeded();
    assert_eq!(finished.text("run"), started.text("run"));
    assert_eq!(finished.text("output"), "awake\n");
    assert_eq!(next_run(&host).text("output"), "hello from the abbey\n");
    host.stop().in_order();
}

#[test]
fn a_half_written_plugin_is_never_run() {
    let project = project();
    let host = project.serve(&NEVER);
    assert_eq!(next_run(&host).text("output"), "hello from the tower\n");
    let whole = hello_from("abbey");
    let (half, rest) = whole.split_at(whole.len() / 2);
    let mark = host.mark();
    let mut file = std::fs::File::create(project.path("plugins/hello.wasm")).unwrap();
    file.write_all(half).unwrap();
    // It stands still for so long that the host has to look at it: no plugin, and it says so.
    let rejected = host.plugin_from(mark, "plugin.rejected", "hello.wasm");
    assert_eq!(rejected.0["in_service"], true, "{rejected}");
    assert!(rejected.text("error").contains("cut short"), "{rejected}");
    assert_eq!(next_run(&host).text("output"), "hello from the tower\n");
    file.write_all(rest).unwrap();
    drop(file);
    host.plugin_from(mark, "plugin.loaded", "hello.wasm");
    assert_eq!(next_run(&host).text("output"), "hello from the abbey\n");
    let stopped = host.stop().in_order();
    for record in stopped.records("greeter") {
        record.succeeded();
    }
}

#[test]
fn a_bad_replacement_leaves_the_old_one_in_service() {
    let project = project();
    let host = project.serve(&NEVER);
    for (bad, word) in [
        (guest("library"), "`main`"),
        (guest("foreign"), "env.emscripten_run_script"),
        (guest("mistyped"), "run"),
        (b"#!/bin/sh\n".to_vec(), "not a WebAssembly file"),
    ] {
        let mark = host.mark();
        project.replace("plugins/hello.wasm", bad);
        let rejected = host.plugin_from(mark, "plugin.rejected", "hello.wasm");
        assert!(rejected.text("error").contains(word), "{rejected}");
        assert_eq!(rejected.0["in_service"], true, "{rejected}");
        assert_eq!(next_run(&host).text("output"), "hello from the tower\n");
    }
    let stopped = host.stop().in_order();
    let removed = stopped.events.iter().find(|event| event.is("job.removed"));
    assert_eq!(removed, None);
}

#[test]
fn without_its_plugin_a_job_is_skipped_until_it_is_back() {
    let project = project();
    let host = project.serve(&NEVER);
    host.record("greeter").succeeded();
    let mark = host.mark();
    std::fs::remove_file(project.path("plugins/hello.wasm")).unwrap();
    let skipped = host.event_from(mark, "run.skipped", "greeter");
    assert!(skipped.text("reason").contains("hello.wasm"), "{skipped}");
    assert!(skipped.text("reason").contains("missing"), "{skipped}");
    skipped.instant("scheduled_at");
    let mark = host.mark();
    project.write("plugins/hello.wasm", hello_from("abbey"));
    host.plugin_from(mark, "plugin.loaded", "hello.wasm");
    assert_eq!(next_run(&host).text("output"), "hello from the abbey\n");
    host.stop().in_order();
}

#[test]
fn a_plugin_that_is_none_is_told_and_its_job_waits() {
    let project = Project::with(&["hello", "library", "foreign"]);
    project.jobs(&json!([
        { "id": "greeter", "component": "hello.wasm", "trigger": "@every 300ms" },
        { "id": "waits", "component": "library.wasm", "trigger": "@every 300ms" },
    ]));
    let host = project.serve(&NEVER);
    let rejected = host.plugin_from(0, "plugin.rejected", "library.wasm");
    assert_eq!(rejected.0["in_service"], false, "{rejected}");
    let rejected = host.plugin_from(0, "plugin.rejected", "foreign.wasm");
    assert!(
        rejected.text("error").contains("env.emscripten_run_script"),
        "{rejected}"
    );
    let rejected = host.event("job.rejected", "waits");
    assert!(
        rejected.text("error").contains("`add`, `main`"),
        "{rejected}"
    );
    host.record("greeter").succeeded();
    project.replace("plugins/library.wasm", hello_from("abbey"));
    assert_eq!(
        host.record("waits").succeeded().text("output"),
        "hello from the abbey\n"
    );
    host.stop().in_order();
}

#[test]
fn what_is_no_plugin_by_name_is_left_alone() {
    let project = project();
    project.write("plugins/README.md", "no plugin");
    project.write("plugins/.hello.wasm.swp", "an editor's");
    project.write("plugins/.hidden.wasm", guest("library"));
    project.write("outside.wasm", guest("hello"));
    symlink("../outside.wasm", project.path("plugins/link.wasm")).unwrap();
    symlink("hello.wasm", project.path("plugins/alias.wasm")).unwrap();
    let host = project.serve(&NEVER);
    let rejected = host.wait("the link to be rejected", 0, |event| {
        event.is("plugin.rejected")
    });
    assert_eq!(rejected.text("plugin"), "link.wasm");
    host.plugin_from(0, "plugin.loaded", "alias.wasm");
    host.record("greeter").succeeded();
    let stopped = host.stop().in_order();
    let rejected = stopped
        .events
        .iter()
        .filter(|event| event.is("plugin.rejected"));
    assert_eq!(rejected.count(), 1, "{stopped:#?}");
}

#[test]
fn a_pipe_among_the_plugins_stops_nothing() {
    let project = project();
    // Whoever opens it waits for somebody who writes, and nobody will.
    let made = std::process::Command::new("mkfifo")
        .arg(project.path("plugins/pipe.wasm"))
        .status();
    assert!(made.unwrap().success());
    let host = project.serve(&NEVER);
    let rejected = host.plugin_from(0, "plugin.rejected", "pipe.wasm");
    assert!(
        rejected.text("error").contains("regular file"),
        "{rejected}"
    );
    next_run(&host);
    host.stop().in_order();
}

#[test]
fn a_directory_that_is_replaced_is_followed() {
    let project = project();
    project.write("releases/1/hello.wasm", guest("hello"));
    project.write("releases/2/hello.wasm", hello_from("abbey"));
    project.write("releases/2/new.wasm", hello_from("manor"));
    symlink("releases/1", project.path("current")).unwrap();
    let host = project.serve(&["--plugins", "current", "--refresh", "200ms"]);
    assert_eq!(next_run(&host).text("output"), "hello from the tower\n");
    let mark = host.mark();
    symlink("releases/2", project.path("current~")).unwrap();
    std::fs::rename(project.path("current~"), project.path("current")).unwrap();
    host.plugin_from(mark, "plugin.loaded", "new.wasm");
    host.plugin_from(mark, "plugin.loaded", "hello.wasm");
    assert_eq!(next_run(&host).text("output"), "hello from the abbey\n");
    host.stop().in_order();
}
