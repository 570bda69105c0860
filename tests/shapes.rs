//! The three shapes of a job, what each is told and gives back, and what is none of them.

use base64::Engine as _;
use chrono::{DateTime, Utc};

use super::support::{Project, Record, guest, repository};
use serde_json::json;

fn typed(params: &str) -> Record {
    Project::with(&[]).record("typed", &["--params", params])
}

#[test]
fn a_typed_job_returns_json_text_bytes_or_nothing() {
    let record = typed("\"json\"").succeeded();
    assert_eq!(record.0["output"], json!({ "struck": [1, 2] }));
    assert_eq!(record.text("output_type"), "json");
    let record = typed("\"text\"").succeeded();
    assert_eq!(record.text("output"), "plain words");
    assert_eq!(record.text("output_type"), "text");
    let record = typed("\"bytes\"").succeeded();
    assert_eq!(record.text("output"), "AAH+/w==");
    assert_eq!(record.text("output_type"), "bytes");
    let record = typed("\"\"").succeeded();
    assert!(record.0.get("output").is_none() && record.0.get("output_type").is_none());
}

#[test]
fn a_typed_job_that_fails_says_why_whatever_it_advises() {
    for advice in ["\"never\"", "\"policy\"", "\"after\""] {
        typed(advice).ended("failed", &["the bell rope is missing"]);
    }
}

#[test]
fn what_a_typed_job_prints_is_its_log() {
    let record = Project::with(&[]).record("typed-prints", &[]).succeeded();
    assert_eq!(record.text("log"), "said along the way\n");
    assert!(record.0.get("output").is_none(), "{record}");
}

#[test]
fn json_that_is_none_is_a_failure() {
    typed("\"malformed\"").ended("failed", &["JSON"]);
}

#[test]
fn an_output_outside_of_the_guests_memory_is_the_guests_fault() {
    // By the component model it is a trap, though the host finds it.
    let record = typed("\"wild\"");
    assert!(
        ["trapped", "failed"].contains(&record.text("outcome")),
        "{}",
        record
    );
    assert!(!record.text("error").is_empty());
}

#[test]
fn parameters_reach_a_typed_job_as_they_are_written() {
    let record = typed("\"e: \\\"quoted\\\", ¼, \\u00e9\"").succeeded();
    assert_eq!(record.text("output"), "e: \"quoted\", ¼, é");
    assert_eq!(typed("\"id\"").succeeded().text("output"), "typed");
}

/// What a typed job is told, read from the bytes in which it lies in the guest's memory.
struct Context {
    attempt: u32,
    max_attempts: u32,
    cause: u8,
    scheduled_at: DateTime<Utc>,
    started_at: DateTime<Utc>,
    deadline: DateTime<Utc>,
    last_success: Option<DateTime<Utc>>,
}

impl Context {
    fn of(record: &Record) -> Context {
        let raw = base64::engine::general_purpose::STANDARD
            .decode(record.text("output"))
            .unwrap();
        assert_eq!(raw.len(), 112);
        let u32_at = |at: usize| u32::from_le_bytes(raw[at..at + 4].try_into().unwrap());
        let instant_at = |at: usize| {
            let seconds = u64::from_le_bytes(raw[at..at + 8].try_into().unwrap());
            DateTime::from_timestamp(seconds.try_into().unwrap(), u32_at(at + 8)).unwrap()
        };
        Context {
            attempt: u32_at(16),
            max_attempts: u32_at(20),
            cause: raw[24],
            scheduled_at: instant_at(32),
            started_at: instant_at(48),
            deadline: instant_at(64),
            last_success: (raw[80] == 1).then(|| instant_at(88)),
        }
    }
}

#[test]
fn a_typed_job_is_told_of_its_run() {
    let project = Project::with(&["typed"]);
    project.jobs(&json!([{
        "id": "context", "component": "typed.wasm", "trigger": "@every 1s", "params": "raw",
        "limits": { "timeout": "7s" },
    }]));
    let host = project.serve(&[]);
    let [first, second] = host.records("context", 2).try_into().unwrap();
    let context = Context::of(&first);
    assert_eq!((context.attempt, context.max_attempts), (1, 1));
    assert_eq!(context.cause, 0, "schedule");
    assert_eq!(context.scheduled_at, first.instant("scheduled_at"));
    assert_eq!(context.started_at, first.instant("started_at"));
    assert_eq!(
        (context.deadline - context.started_at).num_milliseconds(),
        7000
    );
    assert_eq!(context.last_success, None);
    let context = Context::of(&second);
    assert_eq!(context.last_success, Some(first.instant("finished_at")));
    host.stop().in_order();

    let record = project
        .record("typed", &["--params", "\"raw\""])
        .succeeded();
    assert_eq!(Context::of(&record).cause, 1, "manual");
    let record = project.record("typed", &["--params", "\"I\""]).succeeded();
    assert_eq!(record.text("output"), record.text("run"));
}

#[test]
fn a_job_without_parameters_gets_null() {
    let record = Project::with(&[]).record("echo", &[]).succeeded();
    assert!(record.text("output").ends_with("\n--\nnull"), "{}", record);
}

#[test]
fn a_command_of_wasi_0_2_prints_its_output() {
    let record = Project::with(&[]).record("command", &[]).succeeded();
    assert_eq!(record.text("output"), "hello from 0.2\n");
}

/// `inspect --json` of a file in the project.
fn inspected(project: &Project, file: &str) -> serde_json::Value {
    project.run(&["inspect", file, "--json"]).exits(0).json()
}

#[test]
fn inspect_tells_the_shape_the_imports_and_what_they_need() {
    let project = Project::with(&["typed", "command", "read", "network"]);
    let shape = |name: &str| {
        let seen = inspected(&project, &format!("plugins/{name}.wasm"));
        assert_eq!(seen["size_bytes"], guest(name).len());
        assert_eq!(seen["sha256"].as_str().unwrap().len(), 64);
        assert_eq!(seen["runnable"], true);
        seen["shape"].as_str().unwrap().to_owned()
    };
    assert_eq!(shape("typed"), "typed");
    assert_eq!(shape("command"), "command");
    assert_eq!(shape("read"), "core-command");
    assert_eq!(shape("network"), "command");

    let read = project.run(&["inspect", "plugins/read.wasm"]).exits(0);
    for words in ["_start", "path_open", "grants", "dirs"] {
        assert!(
            read.stdout.contains(words),
            "no `{words}` in {}",
            read.stdout
        );
    }
    let typed = project.run(&["inspect", "plugins/typed.wasm"]).exits(0);
    assert!(typed.stdout.contains("run"), "{}", typed.stdout);
    assert!(typed.stdout.contains("quarterjack:job"), "{}", typed.stdout);
    let command = project.run(&["inspect", "plugins/command.wasm"]).exits(0);
    for words in ["wasi:cli/run@0.2.6", "wasi:cli/stdout@0.2.6"] {
        assert!(
            command.stdout.contains(words),
            "no `{words}` in {}",
            command.stdout
        );
    }
}

#[test]
fn what_is_no_job_is_refused_with_what_it_is() {
    let project = Project::with(&["library", "foreign", "mistyped", "hello"]);
    let whole = guest("hello");
    project.write("plugins/short.wasm", &whole[..whole.len() / 2]);
    project.write("plugins/text.wasm", "(module)");
    project.write("plugins/empty.wasm", "");
    project.write("plugins/program.wasm", b"\x7fELF\x02\x01\x01\0\0\0\0\0");
    for (name, words) in [
        ("library", &["`add`", "`main`", "_start"][..]),
        ("foreign", &["env.emscripten_run_script"]),
        ("mistyped", &["run"]),
        ("short", &["not valid WebAssembly"]),
        ("text", &["not a WebAssembly file", "WebAssembly text"]),
        ("empty", &["empty"]),
        ("program", &["not a WebAssembly file", "native program"]),
    ] {
        let file = format!("plugins/{name}.wasm");
        let refused = project
            .run(&["run", &file])
            .exits(1)
            .says(&[&file])
            .says(words);
        assert_eq!(refused.stdout, "");
    }
    let library = project.run(&["inspect", "plugins/library.wasm"]).exits(1);
    library.says(&["`add`", "`main`", "_start"]);
}

#[test]
fn the_plugins_of_the_repository_are_all_jobs() {
    let project = Project::with(&[]);
    let mut shapes: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(repository("plugins")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "wasm") {
            let seen = inspected(&project, path.to_str().unwrap());
            shapes.push(seen["shape"].as_str().unwrap().to_owned());
        }
    }
    for shape in ["typed", "command"] {
        assert!(
            shapes.iter().any(|known| known == shape),
            "no {shape} in {shapes:?}"
        );
    }
}
