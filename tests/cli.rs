//! The command line: exit codes, what stands on standard output, and the verbs that run nothing.

use std::io::Read as _;
use std::process::Stdio;

use super::support::{Event, Project, repository};
use serde_json::{Value, json};

#[test]
fn exit_codes_tell_ok_failure_and_usage() {
    let project = Project::with(&["hello", "exit"]);
    project.run(&["--help"]).exits(0);
    project.run(&["--version"]).exits(0);
    project.run(&["run", "plugins/hello.wasm"]).exits(0);
    project
        .run(&["run", "plugins/exit.wasm", "--", "3"])
        .exits(1);
    project.run(&["run", "plugins/none.wasm"]).exits(1);
    for wrong in [
        &[][..],
        &["srve"],
        &["run"],
        &["run", "plugins/hello.wasm", "--nothing"],
        &["run", "plugins/hello.wasm", "--timeout", "5"],
        &["run", "plugins/hello.wasm", "--memory", "lots"],
        &["run", "plugins/hello.wasm", "--params", "{"],
        &["run", "plugins/hello.wasm", "--env", "NAME"],
        &["run", "plugins/hello.wasm", "--dir", "data"],
        &["next", "61 * * * *"],
        &["next", "@daily", "--timezone", "Europe/Berln"],
        &["next", "@daily", "--after", "yesterday"],
        &["serve", "--grace", "10"],
    ] {
        let ended = project.run(wrong).exits(2);
        assert_eq!(ended.stdout, "", "{wrong:?}");
        assert_ne!(ended.stderr, "", "{wrong:?}");
    }
}

#[test]
fn mistakes_on_the_command_line_say_what_would_be_right() {
    let project = Project::with(&["hello"]);
    let says = |line: &[&str], words: &[&str]| {
        let ended = project.run(line);
        assert_ne!(ended.code, Some(0), "{line:?}");
        ended.says(words);
    };
    says(&["srve"], &["srve", "serve"]);
    says(
        &["plugins/hello.wasm"],
        &["quarterjack run plugins/hello.wasm"],
    );
    says(
        &["run", "plugins/helo.wasm"],
        &["plugins/helo.wasm", "plugins/hello.wasm"],
    );
    says(
        &["run", "plugins/hello.wasm", "--timeout", "5"],
        &["5", "5s"],
    );
    says(
        &["next", "@daily", "--timezone", "Europe/Berln"],
        &["Europe/Berln", "Europe/Berlin"],
    );
    says(&["next", "61 * * * *"], &["61", "0-59", "^"]);
    project.jobs(&json!([
        { "id": "report", "component": "hello.wasm", "trigger": "@daily" },
        { "id": "broken", "component": "hello.wasm", "trigger": "0 25 * * *" },
    ]));
    says(&["run", "reprot"], &["reprot", "`report`", "jobs.json"]);
    says(&["next", "reprot"], &["reprot", "`report`", "jobs.json"]);
    says(&["run", "broken"], &["jobs.json:", "25", "broken"]);
}

#[test]
fn run_lets_through_what_the_guest_prints() {
    let project = Project::with(&["hello", "typed"]);
    let ended = project.run(&["run", "plugins/hello.wasm"]).exits(0);
    assert_eq!(ended.stdout, "hello from the tower\n");
    let ended = ended.says(&["one line of log\n", "fuel"]);
    assert!(!ended.stderr.contains('\x1b'), "colours on a pipe");
    let ended = project
        .run(&["run", "plugins/typed.wasm", "--params", "\"json\""])
        .exits(0);
    assert_eq!(ended.stdout, "{\"struck\": [1, 2]}\n");
    let ended = project
        .run(&["run", "plugins/typed.wasm", "--params", "\"never\""])
        .exits(1);
    assert_eq!(ended.stdout, "");
    ended.says(&["the bell rope is missing"]);
}

#[test]
fn run_tells_which_limit_was_hit() {
    let project = Project::with(&["spin", "grow"]);
    let spin = |flags: &[&str]| {
        let mut line = vec!["run", "plugins/spin.wasm"];
        line.extend(flags);
        project.run(&line).exits(1)
    };
    spin(&["--timeout", "200ms"]).says(&["timeout 200", "--timeout"]);
    spin(&["--fuel", "1M"]).says(&["fuel 1", "--fuel"]);
    project
        .run(&["run", "plugins/grow.wasm", "--memory", "2MiB", "--", "trap"])
        .exits(1)
        .says(&["memory 2", "--memory"]);
}

#[test]
fn a_job_is_run_as_it_is_defined_with_the_flags_on_top() {
    let project = Project::with(&["typed", "spin"]);
    project.jobs(&json!([
        { "id": "report", "component": "typed.wasm", "trigger": "@daily", "params": "text" },
        { "id": "stuck", "component": "spin.wasm", "trigger": "@daily",
          "limits": { "timeout": "200ms" } },
    ]));
    let run = |line: &[&str]| project.run(line);
    assert_eq!(run(&["run", "report"]).exits(0).stdout, "plain words\n");
    assert_eq!(
        run(&["run", "report", "--params", "\"id\""])
            .exits(0)
            .stdout,
        "report\n"
    );
    run(&["run", "stuck"]).exits(1).says(&["timeout 200"]);
    run(&["run", "stuck", "--fuel", "1M"])
        .exits(1)
        .says(&["fuel 1"]);
}

/// The keys of a record, in order.
fn keys(event: &Event) -> Vec<&str> {
    let mut keys: Vec<&str> = event
        .0
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

#[test]
fn a_record_has_the_keys_of_its_event() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([{
        "id": "hello", "component": "hello.wasm", "trigger": "@yearly", "run_on_start": true,
    }]));
    let record = project.record("hello", &[]);
    let host = project.serve(&[]);
    let event = host.record("hello");
    // A file by itself has none.
    let defined = |key: &&str| *key != "definition";
    assert_eq!(
        keys(&record),
        keys(&event).into_iter().filter(defined).collect::<Vec<_>>()
    );
    host.stop().in_order();
    let ended = project
        .run(&["run", "plugins/hello.wasm", "--json"])
        .exits(0);
    assert_eq!(ended.stdout.lines().count(), 1, "one object on one line");
    assert_eq!(ended.stderr, "");
}

fn next(project: &Project, line: &[&str]) -> Vec<String> {
    let mut all = vec!["next", "--json"];
    all.extend(line);
    let json = project.run(&all).exits(0).json();
    let object = json.as_object().unwrap();
    assert_eq!(object.keys().collect::<Vec<_>>(), ["next"]);
    let instants = object["next"].as_array().unwrap().iter();
    instants
        .map(|instant| instant.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn next_prints_what_it_says() {
    let project = Project::with(&[]);
    let line = [
        "*/15 * * * *",
        "--after",
        "2026-01-01T00:00:00Z",
        "--count",
        "3",
    ];
    let ended = project
        .run(&[&["next", "--json"], &line[..]].concat())
        .exits(0);
    assert_eq!(
        ended.stdout.trim_end().replace(' ', ""),
        r#"{"next":["2026-01-01T00:15:00Z","2026-01-01T00:30:00Z","2026-01-01T00:45:00Z"]}"#
    );
    let line = ["@daily", "--after", "2026-01-01T00:00:00+01:00"];
    let instants = next(&project, &line);
    assert_eq!(instants.len(), 5);
    assert_eq!(instants[0], "2026-01-01T00:00:00Z");

    let ended = project
        .run(&[
            "next",
            "30 9 * * Mon-Fri",
            "--timezone",
            "Europe/Berlin",
            "--after",
            "2026-01-01T00:00:00Z",
            "--count",
            "2",
        ])
        .exits(0);
    for words in [
        "Europe/Berlin",
        "Thu 01 Jan 2026 09:30",
        "Fri 02 Jan 2026 09:30",
        "+01:00",
    ] {
        assert!(
            ended.stdout.contains(words),
            "no `{words}` in {}",
            ended.stdout
        );
    }
}

#[test]
fn next_knows_when_clocks_change() {
    let project = Project::with(&[]);
    let berlin = |expression: &str, after: &str| {
        next(
            &project,
            &[
                expression,
                "--timezone",
                "Europe/Berlin",
                "--after",
                after,
                "-n",
                "2",
            ],
        )
    };
    // 02:30 does not exist on 28 March 2027: right after the gap, once.
    assert_eq!(
        berlin("30 2 * * *", "2027-03-27T12:00:00Z"),
        ["2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"]
    );
    // 02:30 happens twice on 31 October 2027: the first time, once.
    assert_eq!(
        berlin("30 2 * * *", "2027-10-30T12:00:00Z"),
        ["2027-10-31T00:30:00Z", "2027-11-01T01:30:00Z"]
    );
    // A wildcard follows real time through both.
    assert_eq!(
        berlin("0 * * * *", "2027-10-30T23:30:00Z"),
        ["2027-10-31T00:00:00Z", "2027-10-31T01:00:00Z"]
    );
}

#[test]
fn next_says_when_nothing_comes() {
    let project = Project::with(&[]);
    let ended = project.run(&["next", "0 0 30 2 *", "--json"]).exits(0);
    assert_eq!(ended.json(), json!({ "next": [] }));
    ended.says(&["never fires"]);
}

#[test]
fn next_of_a_job_follows_its_definition() {
    let project = Project::with(&[]);
    // Whether its plugin is there does not matter: nothing is run.
    project.jobs(&json!({
        "timezone": "America/New_York",
        "jobs": [
            { "id": "new-york", "component": "x.wasm", "trigger": "0 12 * * *" },
            { "id": "tokyo", "component": "x.wasm",
              "trigger": { "cron": "0 12 * * *", "timezone": "Asia/Tokyo" } },
        ],
    }));
    let after = |job| {
        next(
            &project,
            &[job, "--after", "2026-01-01T00:00:00Z", "-n", "1"],
        )
    };
    assert_eq!(after("new-york"), ["2026-01-01T17:00:00Z"]);
    assert_eq!(after("tokyo"), ["2026-01-01T03:00:00Z"]);
}

#[test]
fn the_schema_is_one_of_what_the_host_reads() {
    let project = Project::with(&[]);
    let schema = project.run(&["schema"]).exits(0).json();
    assert!(
        schema["$schema"]
            .as_str()
            .unwrap()
            .contains("json-schema.org"),
        "{schema:#}"
    );
    // Every key of the example is in it, somewhere.
    fn properties(schema: &Value, names: &mut Vec<String>) {
        match schema {
            Value::Object(members) => {
                if let Some(Value::Object(known)) = members.get("properties") {
                    names.extend(known.keys().cloned());
                }
                members.values().for_each(|value| properties(value, names));
            }
            Value::Array(values) => values.iter().for_each(|value| properties(value, names)),
            _ => {}
        }
    }
    let mut names = Vec::new();
    properties(&schema, &mut names);
    for key in [
        "id",
        "component",
        "trigger",
        "cron_expression",
        "cron",
        "interval",
        "timezone",
        "params",
        "args",
        "limits",
        "timeout",
        "fuel",
        "memory",
        "output",
        "grants",
        "env",
        "dirs",
        "enabled",
        "version",
        "run_on_start",
        "max_instances",
        "defaults",
        "jobs",
    ] {
        assert!(
            names.iter().any(|name| name == key),
            "no `{key}` in the schema"
        );
    }
}

#[test]
fn the_examples_are_good() {
    let project = Project::with(&[]);
    let plugins = repository("plugins").display().to_string();
    for file in ["jobs.json", "tutorial.json", "schedule.json"] {
        let file = repository("examples").join(file).display().to_string();
        project
            .run(&["check", &file, "--plugins", &plugins])
            .exits(0)
            .says(&["no mistakes"]);
    }
}

#[test]
fn what_inspect_says_to_paste_can_be_pasted() {
    let project = Project::with(&["read"]);
    project.write("data/file.txt", "");
    let ended = project.run(&["inspect", "plugins/read.wasm"]).exits(0);
    let (_, entry) = ended.stdout.split_once("\n{").expect("an entry to paste");
    project.write("jobs.json", format!("[{{{entry}]"));
    project.run(&["check"]).exits(0).says(&["no mistakes"]);
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let project = Project::with(&["hello", "flood"]);
    project.jobs(&json!([{ "id": "tick", "component": "hello.wasm", "trigger": "@every 100ms" }]));
    for line in [
        &["serve", "--json"][..],
        &["next", "* * * * *", "-n", "1000000"],
        &["run", "plugins/flood.wasm", "--", "1"],
    ] {
        let mut child = project
            .command(line)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0]).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("panic"), "{line:?}: {said}");
        assert!(!said.contains("error"), "{line:?}: {said}");
        assert!(output.status.code().is_some(), "{line:?}: killed");
    }
}

#[test]
fn the_environment_stands_in_for_flags() {
    let project = Project::with(&["hello"]);
    project.write(
        "elsewhere/mine.json",
        json!([
            { "id": "report", "component": "hello.wasm", "trigger": "@daily" },
        ])
        .to_string(),
    );
    let output = project
        .command(&["run", "report"])
        .env("QUARTERJACK_JOBS", "elsewhere/mine.json")
        .env("QUARTERJACK_PLUGINS", project.path("plugins"))
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"hello from the tower\n");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let project = Project::with(&["hello"]);
    let line = ["run", "plugins/hello.wasm", "--dir", "nowhere::/data"];
    let ended = project.run(&line);
    assert_ne!(ended.code, Some(0), "{ended:#?}");
    let ended = ended.says(&["nowhere", "No such file or directory"]);
    assert!(
        !ended.stderr.contains(":0"),
        "a place that is none: {}",
        ended.stderr
    );
}

#[cfg(target_os = "linux")]
#[test]
fn verbs_that_run_nothing_start_no_engine() {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([{ "id": "a", "component": "hello.wasm", "trigger": "@daily" }]));
    // An engine reserves far more addresses for its instances.
    let limited = |line: &[&str]| project.run_limited("ulimit -v 2000000", line);
    for line in [
        &["--help"][..],
        &["--version"],
        &["schema"],
        &["next", "@daily"],
        &["next", "a"],
        &["inspect", "plugins/hello.wasm"],
    ] {
        assert_ne!(limited(line).exits(0).stdout, "", "{line:?}");
    }
    // Whoever meets that limit with a verb that needs one is told what it is.
    let refused = limited(&["run", "plugins/hello.wasm"]).exits(1);
    refused.says(&["address space", "ulimit -v"]);
}
