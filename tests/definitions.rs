//! Bad input: each mistake is told with its place, the offending text, and what would be right.
//!
//! In the texts here a `➤` stands before the place that a message must name.

use super::support::{Project, guest};
use serde_json::Value;

/// A project that has a good plugin and some that are none.
fn project() -> Project {
    let project = Project::with(&["hello", "library", "foreign"]);
    let whole = guest("hello");
    project.write("plugins/short.wasm", &whole[..whole.len() / 2]);
    project.write("data/file.txt", "");
    project
}

/// A job file with one good job, and on line 3 what is given here.
fn with_job(job: &str) -> String {
    let good = r#"{"id": "good", "component": "hello.wasm", "trigger": "@every 1s"}"#;
    format!("{{\"jobs\": [\n  {good},\n  {job}\n]}}\n")
}

/// Takes the mark out of a text: the text, and the line and the column where it stood.
#[track_caller]
fn place_of_mark(text: &str) -> (String, u64, u64) {
    let (before, after) = text.split_once('➤').expect("a text with a mark");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    (format!("{before}{after}"), line as u64, column as u64)
}

/// Checks the file and finds the problem at the mark, which must have all the words in its
/// message or its advice.
#[track_caller]
fn problem(project: &Project, text: &str, words: &[&str]) -> Value {
    let (text, line, column) = place_of_mark(text);
    project.write("jobs.json", &text);
    let report = project.run(&["check", "--json"]).exits(1).json();
    let problems = report["problems"].as_array().unwrap();
    let found = problems
        .iter()
        .find(|problem| problem["line"] == line && problem["column"] == column)
        .unwrap_or_else(|| panic!("nothing at {line}:{column} in {report:#} of\n{text}"));
    assert_eq!(found["file"], "jobs.json");
    assert_eq!(found["severity"], "error");
    let message = found["message"].as_str().unwrap();
    let said = format!("{message} {}", found["hint"].as_str().unwrap_or_default());
    for word in words {
        assert!(said.contains(word), "no `{word}` in `{said}`");
    }
    report
}

/// Checks a mistake inside of one job: the other job stays good.
#[track_caller]
fn mistake(job: &str, words: &[&str]) {
    let report = problem(&project(), &with_job(job), words);
    assert_eq!(
        (&report["jobs"], &report["good"]),
        (&2.into(), &1.into()),
        "{report:#}"
    );
}

#[test]
fn unknown_keys_have_near_names() {
    let job = r#"{"id": "a", "component": "hello.wasm", ➤"triger": "@daily"}"#;
    mistake(job, &["triger", "\"trigger\""]);
    let job = r#"{"id": "a", "component": "hello.wasm", "trigger": "@daily", "limits": {➤"timout": "1s"}}"#;
    mistake(job, &["timout", "\"timeout\""]);
    let job = r#"{"id": "a", "component": "hello.wasm", "trigger": {"cron": "@daily", ➤"timezon": "UTC"}}"#;
    mistake(job, &["timezon", "\"timezone\""]);
    let job =
        r#"{"id": "a", "component": "hello.wasm", "trigger": "@daily", "grants": {➤"net": true}}"#;
    mistake(job, &["net", "env", "dirs"]);
    problem(&project(), "{➤\"job\": []}", &["\"job\"", "\"jobs\""]);
    // Columns are counted in characters, and lines whatever ends them.
    let job = r#"{"id": "Zürich 🕰", "component": "hello.wasm", ➤"triger": "@daily"}"#;
    mistake(job, &["triger"]);
    let text = with_job(r#"{"id": "a", ➤"componnet": "hello.wasm"}"#).replace('\n', "\r\n");
    problem(&project(), &text, &["componnet", "\"component\""]);
}

#[test]
fn wrong_types_say_what_would_be_right() {
    let job = r#"{"id": "a", "component": ➤7, "trigger": "@daily"}"#;
    mistake(job, &["component", "string", "number"]);
    let job = r#"{"id": "a", "component": "hello.wasm", "trigger": "@daily", "enabled": ➤"false"}"#;
    mistake(job, &["enabled", "without quotes"]);
    let job = r#"{"id": "a", "component": "hello.wasm", "trigger": "@daily", "args": ➤"-v"}"#;
    mistake(job, &["args", "list"]);
    let job = r#"{"id": "a", "component": "hello.wasm", "trigger": "@daily", "version": ➤-1}"#;
    mistake(job, &["version", "negative"]);
    let job = r#"{"id": "a", "component": "hello.wasm", "trigger": ➤5}"#;
    mistake(job, &["trigger"]);
    let job = r#"{"id": ➤true, "component": "hello.wasm", "trigger": "@daily"}"#;
    mistake(job, &["id"]);
    mistake(r#"➤"hello.wasm""#, &["job", "object"]);
}

#[test]
fn triggers_are_told_field_by_field() {
    let trigger = |trigger: &str| {
        format!(r#"{{"id": "a", "component": "hello.wasm", "trigger": {trigger}}}"#)
    };
    mistake(&trigger(r#""➤61 * * * *""#), &["minute", "61", "0-59"]);
    mistake(&trigger(r#"{"cron": "0 ➤25 * * *"}"#), &["hour", "25"]);
    mistake(&trigger(r#""0 0 * * ➤Mun""#), &["Mun"]);
    mistake(
        &trigger(r#"{"cron": "0 9 * * *", "timezone": ➤"Europe/Berln"}"#),
        &["Europe/Berln", "Europe/Berlin"],
    );
    mistake(&trigger(r#""@every ➤5""#), &["unit"]);
    mistake(&trigger(r#"{"interval": ➤"90"}"#), &["90", "unit", "90s"]);
    mistake(&trigger(r#"{"interval": ➤90}"#), &["unit", "90s"]);
    mistake(&trigger(r#"{"interval": ➤"0s"}"#), &["0"]);
}

#[test]
fn a_file_wide_zone_that_is_none_spoils_the_file() {
    let text = r#"{"timezone": ➤"Europe/Berln", "jobs": [
        {"id": "a", "component": "hello.wasm", "trigger": "@daily"}]}"#;
    problem(&project(), text, &["Europe/Berln", "Europe/Berlin"]);
}

#[test]
fn durations_and_sizes_have_units() {
    let limits = |limits: &str| {
        format!(
            r#"{{"id": "a", "component": "hello.wasm", "trigger": "@daily", "limits": {{{limits}}}}}"#
        )
    };
    mistake(&limits(r#""timeout": ➤"90""#), &["90", "unit", "90s"]);
    mistake(&limits(r#""timeout": ➤90"#), &["unit", "90s"]);
    mistake(&limits(r#""timeout": ➤"5 parsecs""#), &["parsecs"]);
    mistake(&limits(r#""timeout": ➤"48h""#), &["48h", "1 d"]);
    mistake(&limits(r#""memory": ➤"64 MeB""#), &["MeB"]);
    mistake(&limits(r#""memory": ➤"1TiB""#), &["1TiB", "4 GiB"]);
    mistake(&limits(r#""fuel": ➤"lots""#), &["lots"]);
    mistake(&limits(r#""output": ➤true"#), &["size"]);
}

#[test]
fn plugins_are_looked_at() {
    let component =
        |name: &str| format!(r#"{{"id": "a", "trigger": "@daily", "component": ➤"{name}"}}"#);
    mistake(&component("helo.wasm"), &["helo.wasm", "\"hello.wasm\""]);
    mistake(&component("../hello.wasm"), &["../hello.wasm"]);
    mistake(
        &component("library.wasm"),
        &["library.wasm", "`add`", "`main`", "_start"],
    );
    mistake(
        &component("foreign.wasm"),
        &["foreign.wasm", "env.emscripten_run_script"],
    );
    mistake(
        &component("short.wasm"),
        &["short.wasm", "not valid WebAssembly", "cut short"],
    );
    let job = r#"➤{"id": "a", "trigger": "@daily"}"#;
    mistake(job, &["component"]);
    let job = r#"➤{"id": "a", "component": "hello.wasm"}"#;
    mistake(job, &["trigger"]);
}

#[test]
fn ids_are_used_once() {
    let job = r#"{"id": ➤"good", "component": "hello.wasm", "trigger": "@daily"}"#;
    mistake(job, &["\"good\"", "twice", "line 2"]);
    let text = r#"[{"id": 1, "component": "hello.wasm", "trigger": "@daily"},
        {"id": ➤"1", "component": "hello.wasm", "trigger": "@daily"}]"#;
    problem(&project(), text, &["\"1\"", "twice", "line 1"]);
    let job = r#"➤{"component": "hello.wasm", "trigger": "@daily"}"#;
    mistake(job, &["`id`"]);
    let job =
        r#"{"id": "a", "component": "hello.wasm", "trigger": "@daily", ➤"component": "x.wasm"}"#;
    mistake(job, &["component", "twice"]);
}

#[test]
fn grants_are_looked_at() {
    let dirs = |dirs: &str| {
        format!(
            r#"{{"id": "a", "component": "hello.wasm", "trigger": "@daily", "grants": {{"dirs": [{dirs}]}}}}"#
        )
    };
    mistake(&dirs(r#"➤"data""#), &["HOST::GUEST"]);
    mistake(&dirs(r#"➤"data::/data:rx""#), &["rx", "ro", "rw"]);
    mistake(&dirs(r#"➤"data::data""#), &["absolute"]);
    mistake(
        &dirs(r#"➤"nowhere::/data""#),
        &["cannot be opened", "nowhere"],
    );
    mistake(
        &dirs(r#"{"host": ➤"data/file.txt", "guest": "/data"}"#),
        &["cannot be opened"],
    );
    mistake(&dirs(r#""data::/data", ➤"plugins::/data""#), &["twice"]);
    let job = r#"{"id": "a", "component": "hello.wasm", "trigger": "@daily", "grants": {"env": {"A": ➤1}}}"#;
    mistake(job, &["\"A\"", "string", "\"1\""]);
}

#[test]
fn broken_json_is_told_where_it_breaks() {
    let project = project();
    for (text, words) in [
        (
            "[{\"id\": \"a\"➤ \"component\": \"hello.wasm\"}]",
            &["comma"][..],
        ),
        ("[{\"id\": ➤\"a}]\n", &["string", "not closed"]),
        ("{\"jobs\": ➤[{\"id\": \"a\"}", &["never closed"]),
        ("[{➤id: \"a\"}]", &["double quotes", "\"id\""]),
        ("[] ➤[]", &["after the end"]),
        ("➤7", &["job file", "list of jobs"]),
    ] {
        problem(&project, text, words);
    }
}

#[test]
fn comments_and_trailing_commas_are_fine() {
    let project = project();
    project.write(
        "jobs.json",
        concat!(
            "\u{feff}// Each quarter of an hour.\n",
            "{ \"jobs\": [ /* one */ {\n",
            "  \"id\": \"a\", \"component\": \"hello.wasm\",\n",
            "  \"trigger\": { \"cron\": \"*/15 * * * *\", \"timezone\": \"Europe/Berlin\", },\n",
            "}, ], }\n",
        ),
    );
    project.run(&["check"]).exits(0).says(&["no mistakes"]);
    assert_eq!(project.run(&["check", "--json"]).exits(0).json()["good"], 1);
}

/// One of each, and a job that is good.
const ALL: &str = r#"{
  "jobs": [
    {"id": "good", "component": "hello.wasm", "trigger": "@every 300ms"},
    {"id": "key", "component": "hello.wasm", "trigger": "@daily", "enabld": true},
    {"id": "type", "component": "hello.wasm", "trigger": "@daily", "args": 7},
    {"id": "cron", "component": "hello.wasm", "trigger": "61 * * * *"},
    {"id": "zone", "component": "hello.wasm", "trigger": {"cron": "@daily", "timezone": "Europe/Berln"}},
    {"id": "missing", "component": "helo.wasm", "trigger": "@daily"},
    {"id": "invalid", "component": "short.wasm", "trigger": "@daily"},
    {"id": "imports", "component": "foreign.wasm", "trigger": "@daily"},
    {"id": "good", "component": "hello.wasm", "trigger": "@daily"},
    {"id": "unit", "component": "hello.wasm", "trigger": {"interval": "90"}},
  ],
}
"#;

/// The lines of [`ALL`] that have a mistake, and a word that must be said of each.
const MISTAKES: [(u64, &str); 9] = [
    (4, "enabld"),
    (5, "args"),
    (6, "61"),
    (7, "Europe/Berlin"),
    (8, "hello.wasm"),
    (9, "short.wasm"),
    (10, "env.emscripten_run_script"),
    (11, "twice"),
    (12, "90s"),
];

#[test]
fn check_tells_all_problems_at_once() {
    let project = project();
    project.write("jobs.json", ALL);
    let ended = project.run(&["check"]).exits(1);
    assert_eq!(ended.stdout, "");
    for (line, word) in MISTAKES {
        // Each with its place, and the line of the file below it.
        let ended = &ended.stderr;
        assert!(
            ended.contains(&format!("jobs.json:{line}:")),
            "no line {line} in {ended}"
        );
        assert!(ended.contains(word), "no `{word}` in {ended}");
    }
    let ended = ended.says(&["9 errors; 1 of 10 jobs is good and would run"]);
    assert!(!ended.stderr.contains('\x1b'), "colours on a pipe");
    let report = project.run(&["check", "--json"]).exits(1).json();
    assert_eq!(report["errors"], 9, "{report:#}");
}

#[test]
fn a_host_tells_all_of_them_too_and_runs_the_rest() {
    let project = project();
    project.write("jobs.json", ALL);
    let host = project.serve(&[]);
    for (line, word) in MISTAKES {
        let rejected = host.wait(&format!("line {line}"), 0, |event| {
            event.is("job.rejected") && event.problem()["line"] == line
        });
        assert!(
            rejected.text("error").contains(word),
            "no `{word}` in {rejected}"
        );
        assert!(
            rejected.problem()["column"].as_u64().unwrap() > 1,
            "{rejected}"
        );
    }
    host.records("good", 2).remove(1).succeeded();
    host.stop().in_order();
}

#[test]
fn a_host_starts_with_a_file_that_has_nothing_good_and_follows_it() {
    let project = project();
    project.write("jobs.json", "{\"jobs\": [}");
    let host = project.serve(&[]);
    let rejected = host.wait("the rejection", 0, |event| event.is("job.rejected"));
    assert_eq!(rejected.problem()["line"], 1);
    assert_eq!(
        host.wait("the start", 0, |event| event.is("host.started"))
            .number("jobs"),
        0
    );
    project.write("jobs.json", ALL);
    host.record("good").succeeded();
    host.stop().in_order();
}
