//! Job files, good and bad, as their authors write them.

mod policies;
mod triggers;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::manifest::Options;
use super::*;
use crate::trigger::Zone;

fn source(text: &str) -> Arc<SourceText> {
    Arc::new(SourceText::new("jobs.json", text))
}

fn options() -> Options {
    let maximum = Limits {
        fuel: 1_000_000_000_000,
        ..Limits::MAXIMUM
    };
    Options {
        base: "/srv/jobs".into(),
        maximum,
        ..Options::default()
    }
}

fn parse(text: &str) -> Result<Manifest, Vec<Diagnostic>> {
    Manifest::parse(source(text), &options())
}

fn good(text: &str) -> Vec<Arc<Job>> {
    let manifest = parse(text).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let problems: Vec<_> = manifest
        .problems()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");
    manifest.jobs().cloned().collect()
}

fn problems(text: &str) -> Vec<Diagnostic> {
    match parse(text) {
        Ok(manifest) => manifest.problems().into_iter().cloned().collect(),
        Err(problems) => problems,
    }
}

/// A file with one job, to which `rest` adds its keys.
fn one(rest: &str) -> String {
    let trigger = if rest.contains("\"trigger\"") || rest.contains("cron_expression") {
        ""
    } else {
        r#", "trigger": "@daily""#
    };
    let component = if rest.contains("\"component\"") {
        ""
    } else {
        r#", "component": "a.wasm""#
    };
    format!(r#"[{{"id": "a"{component}{trigger}, {rest}}}]"#)
}

const TUTORIAL: &str = r#"[{"id": 1, "cron_expression": "* * * * *", "version": 0, "component": "hello.wasm"}, {"id": 2, "cron_expression": "0 12-21 * * *", "version": 0, "component": "hello.wasm"}]"#;

const FULL: &str = r#"{
  "$schema": "./schema.json",
  "timezone": "Europe/Berlin", // for all
  "defaults": {
    "limits": { "timeout": "90s", "memory": "32MiB" },
    "max_instances": 2,
  },
  "jobs": [
    {
      "id": "report",
      "description": "what people read at nine",
      "component": "report.wasm",
      "trigger": { "cron": "0 9 * * 1-5", "timezone": "America/New_York" },
      "params": { "b": 1.0, /* why */ "a": [1e400, "\u00e4",], },
      "args": ["-v", "a b"],
      "limits": {
        "timeout": "1h30m",
        "fuel": "10M",
        "output": 4096,
      },
      "grants": {
        "env": { "LANG": "C" },
        "dirs": [
          { "host": "out", "guest": "/out", "mode": "rw" },
          "/var/data::/data",
        ],
      },
      "enabled": false,
      "version": 7,
      "run_on_start": true,
      "max_instances": 3,
    },
    { "id": "plain", "component": "report.wasm", "trigger": "0 9 * * *" },
    { "id": "often", "component": "often.wasm", "trigger": { "interval": "5s" } },
    { "id": "asked", "component": "often.wasm", "trigger": "@manually" },
  ],
}"#;

#[test]
fn the_tutorial_form_is_read() {
    let jobs = good(TUTORIAL);
    let ids: Vec<_> = jobs.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, ["1", "2"]);
    let second = &jobs[1];
    assert_eq!(
        second.trigger,
        Trigger::cron("0 12-21 * * *", Zone::UTC).unwrap()
    );
    assert_eq!(
        (second.version, &*second.component),
        (Some(0), "hello.wasm")
    );
    assert_eq!((second.limits, second.max_instances), (Limits::DEFAULT, 1));
    assert!(second.enabled && !second.run_on_start);
    assert!(
        Arc::ptr_eq(&jobs[0].component, &second.component),
        "one text for both"
    );
    assert!(Arc::ptr_eq(&jobs[0].grants, &second.grants));
}

#[test]
fn every_key_of_the_object_form_is_read() {
    let jobs = good(FULL);
    let report = &jobs[0];
    let new_york = Zone::parse("America/New_York").unwrap();
    assert_eq!(
        report.trigger,
        Trigger::cron("0 9 * * 1-5", new_york).unwrap()
    );
    assert_eq!(
        report.description.as_deref(),
        Some("what people read at nine")
    );
    assert_eq!(
        report.params.as_deref(),
        Some(r#"{"b":1.0,"a":[1e400,"\u00e4"]}"#)
    );
    assert_eq!(*report.args, ["-v", "a b"]);
    assert_eq!(
        report.limits,
        Limits {
            timeout: Duration::from_secs(5400),
            fuel: 10_000_000,
            memory: 32 << 20,
            output: 4096,
            ..Limits::DEFAULT
        }
    );
    let dir = |host: &str, guest: &str, access| DirGrant {
        host: host.into(),
        guest: guest.into(),
        access,
        quota: None,
        beneath: Vec::new(),
    };
    assert_eq!(
        report.grants.env,
        [("LANG".to_owned(), EnvValue::Text("C".to_owned()))]
    );
    assert_eq!(
        report.grants.dirs,
        [
            dir("/srv/jobs/out", "/out", Access::ReadWrite),
            dir("/var/data", "/data", Access::ReadOnly)
        ]
    );
    assert!(!report.enabled && report.run_on_start);
    assert_eq!((report.version, report.max_instances), (Some(7), 3));
    assert_eq!(report.origin.to_string(), "jobs.json:9");
    assert_eq!(report.origin.limit_lines, [17, 18, 5, 19, 0, 0]);

    let plain = &jobs[1];
    let berlin = Zone::parse("Europe/Berlin").unwrap();
    assert_eq!(plain.trigger, Trigger::parse("0 9 * * *", berlin).unwrap());
    assert_eq!(
        (plain.limits.timeout, plain.max_instances),
        (Duration::from_secs(90), 2)
    );
    assert_eq!(plain.origin.limit_lines, [5, 0, 5, 0, 0, 0]);
    assert_eq!(
        jobs[2].trigger,
        Trigger::every(Duration::from_secs(5)).unwrap()
    );
    assert_eq!(jobs[3].trigger, Trigger::Manual);
}

#[test]
fn the_example_files_are_good() {
    for name in ["jobs.json", "tutorial.json"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../examples")
            .join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        let manifest = Manifest::parse(source(&text), &Options::default()).unwrap();
        let told: Vec<_> = manifest
            .problems()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            told.is_empty() && manifest.jobs().count() > 0,
            "{name}: {told:#?}"
        );
    }
}

#[test]
fn entries_know_where_their_component_and_directories_are() {
    let manifest = parse(FULL).unwrap();
    let entry = &manifest.entries[0];
    assert_eq!(&FULL[entry.component_span.clone()], "\"report.wasm\"");
    assert!(FULL[entry.trigger_span.clone()].starts_with('"'));
    let places = entry.places.as_ref().unwrap();
    let dirs: Vec<_> = places.dirs.iter().map(|span| &FULL[span.clone()]).collect();
    assert_eq!(dirs, ["\"out\"", "\"/var/data::/data\""]);
    let problem = manifest
        .component_problem(entry, "no such plugin")
        .with_label("nearest: x");
    assert_eq!(
        problem.to_string(),
        "jobs.json:12:20: no such plugin: nearest: x"
    );
    assert_eq!(problem.job, Some("report".into()));
}

#[test]
fn parameters_are_kept_to_the_letter() {
    for (written, kept) in [
        ("null", "null"),
        ("-0", "-0"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("1.500E+3", "1.500E+3"),
        (r#" "a\u00E9\/\n é" "#, r#""a\u00E9\/\n é""#),
        ("[ 1 , [ ] , { } , ]", "[1,[],{}]"),
        (
            r#"{ "z" : 1 , "a" : { "m" : [ true , ] } , "\u0062" : 2 }"#,
            r#"{"z":1,"a":{"m":[true]},"\u0062":2}"#,
        ),
        ("[1, // one\n 2 /* two */]", "[1,2]"),
    ] {
        let jobs = good(&one(&format!("\"params\": {written}")));
        assert_eq!(jobs[0].params.as_deref(), Some(kept));
        let raw: Result<Box<serde_json::value::RawValue>, _> = serde_json::from_str(kept);
        assert!(raw.is_ok());
    }
    assert_eq!(good(&one("\"args\": []"))[0].params, None);
}

#[test]
fn a_broken_job_leaves_the_others_alone() {
    let text = r#"[
      {"id": "a", "component": "a.wasm", "trigger": "@daily"},
      {"id": "b", "component": "b.wasm", "trigger": "61 * * * *", "argz": [], "limits": {"timeout": 5}},
      "c",
      {"id": "d", "component": "d.wasm", "trigger": "@daily"},
      {"id": "a", "component": "e.wasm", "trigger": "@daily"}
    ]"#;
    let manifest = parse(text).unwrap();
    let ids: Vec<_> = manifest.jobs().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, ["a", "d"]);
    let broken = manifest.entries[1].result.as_ref().unwrap_err();
    assert_eq!(broken.len(), 3, "{broken:#?}");
    assert!(broken.iter().all(|problem| problem.job == Some("b".into())));
    assert_eq!(manifest.entries[2].id, None);
    assert_eq!(manifest.entries[4].id, Some("a".into()));
    assert_eq!(
        manifest.entries[4].result.as_ref().unwrap_err()[0].to_string(),
        "jobs.json:6:14: the id \"a\" is used twice: it was first used on line 2"
    );
}

#[test]
fn the_default_limits_stay_under_the_hosts_maximum() {
    let maximum = Limits {
        timeout: Duration::from_secs(10),
        fuel: 1000,
        memory: 1 << 20,
        output: 100,
        ..Limits::DEFAULT
    };
    let options = Options {
        maximum,
        ..Options::default()
    };
    let manifest = Manifest::parse(source(TUTORIAL), &options).unwrap();
    assert_eq!(manifest.jobs().next().unwrap().limits, maximum);
}

/// Draws all that is wrong with each text.
fn drawn<T: AsRef<str>>(texts: &[T]) -> String {
    let mut drawn = String::new();
    for text in texts {
        let found = problems(text.as_ref());
        assert!(!found.is_empty(), "nothing is wrong with {}", text.as_ref());
        for problem in found {
            drawn.push_str(&problem.render(false));
            drawn.push_str("\n\n");
        }
    }
    drawn
}

#[test]
fn mistakes_in_a_file() {
    insta::assert_snapshot!(drawn(&[
        "",
        "3",
        "{}",
        r#"{"jobs": {}}"#,
        r#"{"job": []}"#,
        r#"{"jobs": [], "jobs": []}"#,
        r#"{"timezone": "Europe/Berln", "jobs": []}"#,
        r#"{"timezone": "Nowhere", "jobs": []}"#,
        r#"{"timezone": 1, "jobs": []}"#,
        r#"{"id": "a", "component": "a.wasm", "trigger": "@daily"}"#,
        r#"{"defaults": {"grants": {}}, "jobs": []}"#,
        r#"{"defaults": {"timezone": "UTC", "component": "a.wasm", "limits": {"timeout": "2d"}}, "jobs": []}"#,
        r#"{"limits": {}, "jobs": [{"id": "a", "component": "a", "trigger": "@daily"}]}"#,
    ]));
}

#[test]
fn mistakes_in_a_job() {
    let mut texts = vec![
        r#"["hello"]"#.to_owned(),
        "[{}]".to_owned(),
        r#"[{"Id": "a", "componnet": "a.wasm", "trigegr": "@daily"}]"#.to_owned(),
        r#"[{"id": "a", "component": "a.wasm", "cron": "@daily"}]"#.to_owned(),
        r#"[{"id": "", "component": "a.wasm", "trigger": "@daily"}]"#.to_owned(),
        r#"[{"id": " a", "component": "a.wasm", "trigger": "@daily"}]"#.to_owned(),
        r#"[{"id": "a\nb", "component": "a.wasm", "trigger": "@daily"}]"#.to_owned(),
        r#"[{"id": 1.5, "component": "a.wasm", "trigger": "@daily"}]"#.to_owned(),
        r#"[{"id": null, "component": "a.wasm", "trigger": "@daily"}]"#.to_owned(),
        format!(r#"[{{"id": "{}", "component": "a.wasm", "trigger": "@daily"}}]"#, "x".repeat(129)),
        r#"[{"id": 1, "component": "a.wasm", "trigger": "@daily"}, {"id": "1", "component": "a.wasm", "trigger": "@daily"}]"#.to_owned(),
    ];
    texts.extend(
        [
            r#""component": """#,
            r#""component": "hello""#,
            r#""component": "hello.wsam""#,
            r#""component": "plugins/hello.wasm""#,
            r#""component": "../hello.wasm""#,
            r#""component": ".wasm""#,
            r#""component": 7"#,
            r#""componnet": "x.wasm""#,
            r#""schedule": "x""#,
            r#""timeout": "5s""#,
            r#""enabled": "true""#,
            r#""enabled": 1"#,
            r#""version": -1"#,
            r#""version": "3""#,
            r#""version": 1.5"#,
            r#""version": 99999999999999999999"#,
            r#""max_instances": 0"#,
            r#""max_instances": 4294967296"#,
            r#""args": "-v""#,
            r#""args": ["-n", 5, "a\u0000"]"#,
            r#""description": []"#,
            r#""enabled": true, "enabled": false"#,
            r#""params": {"a": 1, "a": 2}"#,
        ]
        .map(one),
    );
    insta::assert_snapshot!(drawn(&texts));
}

#[test]
fn mistakes_in_a_trigger() {
    let texts = [
        r#""trigger": 5"#,
        r#""trigger": {}"#,
        r#""trigger": {"cron": "61 * * * *"}"#,
        r#""trigger": "61 * * * *""#,
        r#""trigger": "\u0036\u0031 * * * *""#,
        r#""trigger": """#,
        r#""trigger": "@every 5""#,
        r#""trigger": {"cron": "@every 5s"}"#,
        r#""trigger": {"cron": 5}"#,
        r#""trigger": {"cron": "0 9 * * *", "timezone": "Europe/Berln"}"#,
        r#""trigger": {"interval": 90}"#,
        r#""trigger": {"interval": "90"}"#,
        r#""trigger": {"interval": "0s"}"#,
        r#""trigger": {"interval": "5s", "timezone": "UTC"}"#,
        r#""trigger": {"interval": "5s", "cron": "* * * * *"}"#,
        r#""trigger": {"intervall": "5s"}"#,
        r#""trigger": {"cron_expression": "* * * * *"}"#,
        r#""trigger": {"interval": "5s"}, "timezone": "UTC""#,
        r#""trigger": "@every 5s", "timezone": "UTC""#,
        r#""trigger": "@daily", "cron_expression": "* * * * *""#,
        r#""cron_expression": 5"#,
        r#""cron_expression": "0 0 30 2 *""#,
    ]
    .map(one);
    insta::assert_snapshot!(drawn(&texts));
}

#[test]
fn mistakes_in_limits_and_grants() {
    let texts = [
        r#""limits": 5"#,
        r#""limits": {"timeout": 90}"#,
        r#""limits": {"timeout": "90"}"#,
        r#""limits": {"timeout": "90 parsecs"}"#,
        r#""limits": {"timeout": "0s"}"#,
        r#""limits": {"timeout": "25h"}"#,
        r#""limits": {"timeout": true}"#,
        r#""limits": {"fuel": 0}"#,
        r#""limits": {"fuel": 1.5e9}"#,
        r#""limits": {"fuel": "lots"}"#,
        r#""limits": {"fuel": "unlimted"}"#,
        r#""limits": {"fuel": "unlimited"}"#,
        r#""limits": {"fuel": "2T"}"#,
        r#""limits": {"fuel": []}"#,
        r#""limits": {"memory": "64"}"#,
        r#""limits": {"memory": "1KiB"}"#,
        r#""limits": {"memory": 100}"#,
        r#""limits": {"memory": "5GiB"}"#,
        r#""limits": {"output": "1GiB"}"#,
        r#""limits": {"output": -1}"#,
        r#""limits": {"cpu": 1, "memroy": "64MiB"}"#,
        r#""grants": []"#,
        r#""grants": {"environment": {}}"#,
        r#""grants": {"net": {}}"#,
        r#""grants": {"env": ["A=b"]}"#,
        r#""grants": {"env": {"A": 5, "": "x", "B=C": "x", "D": "\u0000"}}"#,
        r#""grants": {"dirs": "data::/data"}"#,
        r#""grants": {"dirs": [5, "data", "data::data", "~/x::/x", "data::/../x"]}"#,
        r#""grants": {"dirs": ["a::/data", "b::/data/"]}"#,
        r#""grants": {"dirs": [{}, {"host": "a"}, {"guest": "/a"}, {"host": "", "guest": "a"}]}"#,
        r#""grants": {"dirs": [{"host": "a", "guest": "/a", "mode": "RW"}, {"host": "a", "guest": "/b", "mode": "write"}]}"#,
        r#""grants": {"dirs": [{"host": "a", "guest": "/a", "access": "rw"}]}"#,
        r#""grants": {"dirs": [{"host": "a", "guest": "/a", "quota": "1MiB"}, {"host": "a", "guest": "/b", "mode": "rw", "quota": "much"}]}"#,
        r#""limits": {"log_rate": 0, "handles": 7}"#,
        r#""limits": {"log_rate": "1GiB", "handles": 5000}"#,
        r#""grants": {"env": {"A": {"secret": "a/b"}, "B": {"secrets": "x"}, "C": {}, "D": {"secret": 5}}}"#,
        r#""grants": {"config": {"a": 1}}"#,
        r#""grants": {"http": "https://example.com"}"#,
        r#""grants": {"http": ["example.com", 5, "https://a.example/x", "https://a.example", "https://A.example/"]}"#,
        r#""grants": {"http": {"addresses": ["10.0.0.0/8"], "request": 1, "body": "x"}}"#,
        r#""grants": {"http": {"origins": ["https://a.example"], "addresses": ["lan"], "requests": 0, "timeout": "0s"}}"#,
        r#""grants": {"sockets": ["db:x", "tcp://db.example.com"]}"#,
        r#""grants": {"sockets": {"endpoint": []}}"#,
        r#""grants": {"secrets": ["a", "a", ".b", "", "c d"]}"#,
        r#""grants": {"state": 5}"#,
        r#""grants": {"state": {"keys": 1000000, "size": "1GiB", "bytes": 1}}"#,
        r#""deterministic": "yes""#,
        r#""grants": {"schedule": "sync/"}"#,
        r#""grants": {"schedule": {"prefx": "sync/", "max_jobs": 0, "on_removal": "kep"}}"#,
        r#""grants": {"schedule": {"prefix": "", "max_jobs": 10001, "on_removal": 5}}"#,
        r#""grants": {"schedule": {"prefix": " x", "on_removal": "x"}}"#,
        r#""deterministic": true, "grants": {"schedule": {"prefix": "sync/"}}"#,
    ]
    .map(one);
    insta::assert_snapshot!(drawn(&texts));
}

#[test]
fn relative_directories_are_the_job_files() {
    let jobs = good(&one(r#""grants": {"dirs": [".::."]}"#));
    assert_eq!(jobs[0].grants.dirs[0].host, Path::new("/srv/jobs/."));
}

#[test]
fn a_file_of_mistakes_is_told_in_linear_time() {
    // Each lookup of a place, and each search for repeated keys, must not walk the file.
    let text = format!("[{}]", r#"{"id": 0, "x": "ä"},"#.repeat(20_000));
    assert!(problems(&text).len() >= 80_000 - 1);
    let keys: String = (0..50_000)
        .map(|key| format!("\"{key}\":0,\"{key}\":0,"))
        .collect();
    assert_eq!(
        problems(&one(&format!("\"params\": {{{keys}}}"))).len(),
        50_000
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        check_places(&text);
    }

    #[test]
    fn any_soup_of_tokens_is_read_or_refused(
        tokens in proptest::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"", "\\", "//", "/*", "*/", "\n", "null", "1", "-",
                "\"id\"", "\"trigger\"", "\"limits\"", "\"grants\"", "\"dirs\"", "\"jobs\"", "é", "'",
                "\"a::/b\"", "\u{FEFF}", "\\u00", "e9", ".", " ",
            ]),
            0..60,
        )
    ) {
        check_places(&tokens.concat());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        match SourceText::from_bytes("jobs.json", bytes) {
            Ok(text) => check_places(text.text()),
            Err(problem) => {
                prop_assert!(problem.source.text().get(problem.span.clone()).is_some());
                problem.render(false);
            }
        }
    }

    #[test]
    fn a_mutilated_file_is_read_or_refused(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..4_u8, "\\PC|\n"), 1..4)
    ) {
        let mut text = FULL.to_owned();
        for (index, kind, inserted) in edits {
            let at = text.floor_char_boundary(index.index(text.len() + 1));
            match kind {
                0 => text.truncate(at),
                1 if at < text.len() => { text.remove(at); }
                2 => {
                    let copied = text[at..text.ceil_char_boundary((at + 40).min(text.len()))].to_owned();
                    text.insert_str(at, &copied);
                }
                _ => text.insert_str(at, &inserted),
            }
        }
        check_places(&text);
    }
}

/// Every place lies within the text and can be drawn and written; good parameters are JSON.
fn check_places(text: &str) {
    for problem in problems(text) {
        assert!(text.get(problem.span.clone()).is_some(), "{problem:?}");
        assert!(problem.line >= 1 && problem.column >= 1, "{problem:?}");
        assert_eq!(problem.to_string().lines().count(), 1, "{problem}");
        problem.render(false);
        assert!(serde_json::to_string(&problem).is_ok());
    }
    if let Ok(manifest) = parse(text) {
        for job in manifest.jobs() {
            let params = job.params.as_deref().unwrap_or("null");
            let raw: Result<&serde_json::value::RawValue, _> = serde_json::from_str(params);
            assert!(raw.is_ok(), "{params}");
        }
    }
}
