//! The operator's configuration file: found, followed, and above every definition.

use super::support::Project;
use serde_json::{Value, json};

/// A job that would run as soon as the host starts, with more beside.
fn job(id: &str, more: &Value) -> Value {
    let mut job = json!({
        "id": id, "component": "hello.wasm", "trigger": "@yearly", "run_on_start": true,
    });
    for (key, value) in more.as_object().unwrap() {
        job[key] = value.clone();
    }
    job
}

fn project(jobs: &[Value]) -> Project {
    let project = Project::with(&["hello", "spin"]);
    project.jobs(&json!(jobs));
    project
}

#[test]
fn a_definition_above_the_ceiling_is_refused_with_both_lines() {
    let project = project(&[
        job("good", &json!({})),
        job("greedy", &json!({ "limits": { "timeout": "1h" } })),
        job(
            "dirs",
            &json!({ "grants": { "dirs": ["plugins::/p", ".::/here:rw"] } }),
        ),
        job("report-1", &json!({ "limits": { "timeout": "1h" } })),
    ]);
    project.write(
        "quarterjack.toml",
        "[ceiling]\ntimeout = \"30s\"\n[ceiling.grants]\ndirs = [\"plugins\"]\n\
         [[ceiling.jobs]]\nmatch = \"report-*\"\ntimeout = \"2h\"\n",
    );
    let report = project.run(&["check", "--json"]).exits(1).json();
    assert_eq!((&report["jobs"], &report["good"]), (&4.into(), &2.into()));
    let problems = report["problems"].as_array().unwrap();
    let about = |id: &str| {
        let of_job: Vec<&Value> = problems.iter().filter(|it| it["job"] == id).collect();
        let [problem] = &*of_job else {
            panic!("not one problem of {id}: {report:#}")
        };
        format!(
            "{}: {}",
            problem["message"].as_str().unwrap(),
            problem["hint"].as_str().unwrap()
        )
    };
    assert_eq!(
        about("greedy"),
        "`timeout` \"1h\" is above the operator's ceiling: at most 30 s (quarterjack.toml:2:11)"
    );
    assert!(about("dirs").contains("(quarterjack.toml:4:8)"));

    // Drawn for a person, it names the lines of both files.
    project
        .run(&["check"])
        .exits(1)
        .says(&["jobs.json:", "\"1h\"", "quarterjack.toml:2:11"]);

    let host = project.serve(&[]);
    for id in ["greedy", "dirs"] {
        let rejected = host.event("job.rejected", id);
        assert!(rejected.text("error").contains("quarterjack.toml:"));
    }
    host.record("good").succeeded();
    host.record("report-1").succeeded();
    let stopped = host.stop().in_order();
    for id in ["greedy", "dirs"] {
        assert!(
            !stopped
                .events
                .iter()
                .any(|event| event.of("run.started", id))
        );
    }
}

#[test]
fn a_limit_that_nobody_wrote_is_lowered() {
    let project = project(&[job("spins", &json!({ "component": "spin.wasm" }))]);
    project.write(
        "other.toml",
        "[ceiling]\ntimeout = \"9m\"\n[[ceiling.jobs]]\nmatch = \"spin*\"\ntimeout = \"250ms\"\n",
    );
    let host = project.serve(&["--config", "other.toml"]);
    host.record("spins").ended("timed_out", &["timeout", "250"]);
    host.stop().in_order();
    project
        .run(&["run", "spins", "--config", "other.toml"])
        .exits(1)
        .says(&["timeout", "250"]);
}

#[test]
fn flags_are_above_the_file() {
    let project = project(&[job("a", &json!({ "limits": { "timeout": "10s" } }))]);
    project.write("quarterjack.toml", "[ceiling]\ntimeout = \"30s\"\n");
    project.run(&["check"]).exits(0);
    project
        .run(&["check", "--max-timeout", "5s"])
        .exits(1)
        .says(&["\"10s\"", "at most 5 s (--max-timeout)"]);
    project.write("quarterjack.toml", "[ceiling]\ntimeout = \"1s\"\n");
    project.run(&["check", "--max-timeout", "20s"]).exits(0);
    project.run(&["check", "--config", "none"]).exits(0);
    project.run(&["check"]).exits(1);
}

#[test]
fn run_and_plan_are_under_the_ceiling() {
    let project = project(&[job("greedy", &json!({ "limits": { "timeout": "1h" } }))]);
    project.write(
        "quarterjack.toml",
        "[ceiling]\ntimeout = \"30s\"\n[ceiling.grants]\nenv = [\"APP_*\"]\n",
    );
    project
        .run(&["run", "greedy"])
        .exits(1)
        .says(&["\"1h\"", "quarterjack.toml:2:11"]);
    project
        .run(&["plan"])
        .exits(1)
        .says(&["\"1h\"", "quarterjack.toml:2:11"]);
    // What only looks at its times says so, and shows them.
    let warning = "warning: `greedy` would not run: jobs.json:";
    let verbs = [
        &["next", "greedy"][..],
        &["next", "jobs.json"],
        &["next", "--json"],
        &["explain", "greedy"],
    ];
    for verb in verbs {
        let ended = project.run(verb).exits(0);
        let said = [warning, "\"1h\"", "at most 30 s (quarterjack.toml:2:11)"];
        assert!(
            said.iter().all(|said| ended.stderr.contains(said)),
            "{ended:?}"
        );
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        let free = project
            .run(&[verb, &["--config", "none"]].concat())
            .exits(0);
        assert_eq!((free.stdout, free.stderr), (ended.stdout, String::new()));
    }
    // Times alone have nothing to do with it.
    project.write("broken.toml", "[ceiling\n");
    project
        .run(&["next", "@daily", "--config", "broken.toml"])
        .exits(0);
    project
        .run(&["next", "greedy", "--config", "broken.toml"])
        .exits(2)
        .says(&["broken.toml:1"]);
    let file = "plugins/hello.wasm";
    project.run(&["run", file, "--env", "APP_A=1"]).exits(0);
    project
        .run(&["run", file, "--env", "HOME=/", "--timeout", "31s"])
        .exits(1)
        .says(&["`timeout` 31 s", "\"HOME\"", "quarterjack.toml:4:7"]);
}

#[test]
fn nothing_is_served_under_a_broken_ceiling() {
    let project = project(&[job("good", &json!({}))]);
    project.write(
        "quarterjack.toml",
        "[ceiling]\ntimout = \"5s\"\nmemory = 1\n",
    );
    for verb in ["serve", "plan"] {
        project.run(&[verb]).exits(2).says(&[
            "quarterjack.toml:2:1",
            "did you mean `timeout`?",
            "quarterjack.toml:3:10",
        ]);
    }
    // All of it, beside what else is wrong.
    project.jobs(&json!([job("a", &json!({ "limits": { "timeout": 5 } }))]));
    let report = project.run(&["check", "--json"]).exits(1).json();
    let files: Vec<&str> = report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["file"].as_str().unwrap())
        .collect();
    assert_eq!(files, ["quarterjack.toml", "quarterjack.toml", "jobs.json"]);
    project
        .run(&["serve", "--config", "none.toml"])
        .exits(2)
        .says(&["none.toml", "no such file"]);
}

#[test]
fn the_users_configuration_is_found() {
    let project = project(&[job("a", &json!({ "limits": { "timeout": "10s" } }))]);
    let ceiling = "[ceiling]\ntimeout = \"5s\"\n";
    project.run(&["check"]).exits(0);
    project.write(".config/quarterjack/quarterjack.toml", ceiling);
    project
        .run(&["check"])
        .exits(1)
        .says(&[".config/quarterjack/quarterjack.toml:2:11"]);
    // The one in the working directory comes first, and says nothing.
    project.write("quarterjack.toml", "");
    project.run(&["check"]).exits(0);
}

#[test]
fn a_ceiling_that_is_lowered_takes_jobs_out_of_service() {
    let project = project(&[
        job("low", &json!({ "trigger": "@every 1s" })),
        job(
            "high",
            &json!({ "trigger": "@every 1s", "limits": { "timeout": "10s" } }),
        ),
    ]);
    project.write("quarterjack.toml", "[ceiling]\ntimeout = \"20s\"\n");
    let host = project.serve(&["--refresh", "200ms"]);
    host.record("low").succeeded();
    host.record("high").succeeded();

    // Lowered: what is above it goes, what is not stays, with what nobody wrote lowered too.
    let mark = host.mark();
    project.replace("quarterjack.toml", "[ceiling]\ntimeout = \"5s\"\n");
    let rejected = host.event_from(mark, "job.rejected", "high");
    assert!(
        rejected.text("error").contains("quarterjack.toml:2:11"),
        "{rejected}"
    );
    host.event_from(mark, "job.removed", "high");
    host.event_from(mark, "job.updated", "low");
    let mark = host.mark();
    host.fresh_record(mark, "low").succeeded();
    let late = |event: &super::support::Event| event.of("run.started", "high");
    let changed = host.wait("the change", 0, |event| event.is("config.changed"));
    assert_eq!(changed.text("file"), "quarterjack.toml");
    assert_eq!(changed.0["sections"], json!(["[ceiling]"]));
    assert_eq!(changed.number("refused"), 1);
    assert_eq!(changed.number("restored"), 0);
    assert!(!host.events()[mark..].iter().any(late));

    // Broken: told, and what was in force stays.
    let mark = host.mark();
    project.replace("quarterjack.toml", "[ceiling]\ntimeout = 5\n");
    let told = host.wait("the mistake", mark, |event| {
        event.is("config.rejected") && event.text("error").starts_with("quarterjack.toml:2:11")
    });
    assert_eq!(told.text("file"), "quarterjack.toml");
    assert_eq!(told.problem()["column"], 11);
    assert_eq!(told.0["in_service"], true);
    assert!(told.text("error").contains("5s"), "{told}");
    let mark = host.mark();
    host.fresh_record(mark, "low").succeeded();
    assert!(!host.events()[mark..].iter().any(late));

    // Raised again: the job is back.
    let mark = host.mark();
    project.replace("quarterjack.toml", "[ceiling]\ntimeout = \"1m\"\n");
    host.event_from(mark, "job.added", "high");
    host.fresh_record(mark, "high").succeeded();
    let changed = host.wait("the change", mark, |event| event.is("config.changed"));
    assert_eq!(changed.0["recovered"], true);
    assert_eq!(changed.number("refused"), 0);
    assert_eq!(changed.number("restored"), 1);
    host.stop().in_order();
}

#[test]
fn what_a_host_does_not_take_up_at_once_is_named() {
    let project = project(&[job("a", &json!({}))]);
    project.write("quarterjack.toml", "[host]\nmax_memory = \"1GiB\"\n");
    let host = project.serve(&["--refresh", "200ms"]);
    host.record("a").succeeded();
    let follow = |text: &str| {
        let mark = host.mark();
        project.replace("quarterjack.toml", text);
        host.wait("the change", mark, |event| event.is("config.changed"))
    };
    let changed = follow("# More.\n[host]\nmax_memory = \"2GiB\"\n");
    assert_eq!(changed.0["sections"], json!(["[host]"]));
    let late = json!([{ "setting": "[host] max_memory", "place": "quarterjack.toml:3" }]);
    assert_eq!(changed.0["restart"], late);
    // What was in force at the start needs no other start.
    let changed = follow("[host]\nmax_memory = \"1GiB\" # as before\n");
    assert_eq!(changed.0["sections"], json!(["[host]"]));
    assert_eq!(changed.0.get("restart"), None);
    // A comment is no change of a section.
    let changed = follow("[host]\nmax_memory = \"1GiB\"\n");
    assert_eq!(changed.0["sections"], json!([]));
    // What is broken and then as it was is told, too.
    let mark = host.mark();
    project.replace("quarterjack.toml", "[host]\nmax_memory = true\n");
    host.wait("the mistake", mark, |event| event.is("config.rejected"));
    let changed = follow("[host]\nmax_memory = \"1GiB\"\n");
    assert_eq!(
        (&changed.0["recovered"], &changed.0["sections"]),
        (&json!(true), &json!([]))
    );
    host.stop().in_order();
}

#[test]
fn a_broken_definition_does_not_keep_an_old_one_above_the_ceiling() {
    let high = json!({ "trigger": "@every 1s", "limits": { "timeout": "10s" } });
    let project = project(&[job("high", &high)]);
    project.write("quarterjack.toml", "");
    let host = project.serve(&["--refresh", "200ms"]);
    host.record("high").succeeded();
    let mark = host.mark();
    project.jobs(&json!([job("high", &json!({ "trigger": "61 * * * *" }))]));
    host.event_from(mark, "job.rejected", "high");
    let mark = host.mark();
    project.replace("quarterjack.toml", "[ceiling]\ntimeout = \"5s\"\n");
    host.event_from(mark, "job.removed", "high");
    let out = host.wait("the reason", mark, |event| {
        event.of("job.rejected", "high") && event.text("error").contains("out of service")
    });
    assert!(out.text("error").contains("quarterjack.toml:2:11"), "{out}");
    host.stop().in_order();
}

#[test]
fn a_denial_says_what_the_ceiling_has_to_say() {
    let project = Project::with(&["capabilities"]);
    let ask = || {
        let record = project.record("capabilities", &["--", "g"]);
        record.0["denials"][0]["ceiling"].clone()
    };
    assert_eq!(ask(), Value::Null);
    project.write("quarterjack.toml", "[ceiling.grants]\nstate = true\n");
    assert_eq!(
        ask(),
        "the operator's ceiling permits it (quarterjack.toml:2)"
    );
    project.write("quarterjack.toml", "[ceiling.grants]\nstate = false\n");
    assert_eq!(
        ask(),
        "the operator's ceiling forbids it (quarterjack.toml:2)"
    );
}

#[test]
fn a_directory_that_has_become_a_way_out_is_not_opened() {
    let project = Project::with(&["read"]);
    project.write("root/data/inside.txt", "inside\n");
    project.write("out/inside.txt", "outside\n");
    project.write("quarterjack.toml", "[ceiling.grants]\ndirs = [\"root\"]\n");
    project.jobs(&json!([{
        "id": "reads", "component": "read.wasm", "trigger": "@every 1s",
        "args": ["inside.txt"], "grants": { "dirs": ["root/data::/data"] },
    }]));
    let host = project.serve(&[]);
    let record = host.record("reads").succeeded();
    assert_eq!(record.text("output"), "inside\n");
    std::fs::rename(project.path("root/data"), project.path("moved")).unwrap();
    std::os::unix::fs::symlink("../out", project.path("root/data")).unwrap();
    let mark = host.mark();
    let refused = host.fresh_record(mark, "reads");
    assert!(
        refused.text("error").contains("which leads to"),
        "{refused}"
    );
    assert!(refused.0.get("output").is_none(), "{refused}");
    host.stop().in_order();
}
