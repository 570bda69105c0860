//! Secrets: given to whom they are granted, and told to nobody.

use serde_json::json;

use super::support::Project;

const SECRET: &str = "s3cr/et \"key\"";

/// A project whose host has the secret `api-key`.
fn project() -> Project {
    let mut project = Project::with(&["capabilities", "environ"]);
    project.set("QUARTERJACK_SECRET_API_KEY", SECRET);
    project
}

/// Nothing of the secret is in what was told.
#[track_caller]
fn is_clean(told: &str) {
    for form in [SECRET, "s3cr/et", "s3cr\\/et", "s3cr%2Fet", "et \\\"key"] {
        assert!(!told.contains(form), "{form:?} is in {told}");
    }
}

#[test]
fn a_secret_in_the_environment_is_blotted_out_of_all_that_is_printed() {
    let project = project();
    let flags = ["--secret-env", "TOKEN=api-key", "--env", "OTHER=plain"];
    let record = project
        .record("environ", &flags)
        .ended("failed", &["exit code 7"]);
    for stream in ["output", "log"] {
        let text = record.text(stream);
        assert!(text.contains("TOKEN=[secret api-key]\0"), "{text}");
        assert!(text.contains("OTHER=plain\0"), "{text}");
    }
    is_clean(&record.0.to_string());
    // What goes through as it is printed, too.
    let mut all = vec!["run", "plugins/environ.wasm"];
    all.extend(flags);
    let ended = project.run(&all).exits(1);
    assert!(
        ended.stdout.contains("TOKEN=[secret api-key]"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stderr.contains("TOKEN=[secret api-key]"),
        "{}",
        ended.stderr
    );
    is_clean(&ended.stdout);
    is_clean(&ended.stderr);
}

#[test]
fn a_revealed_secret_is_told_nowhere_and_kept_nowhere() {
    let project = project();
    project.jobs(&json!([{
        "id": "asks",
        "component": "capabilities.wasm",
        "trigger": "@manually",
        "run_on_start": true,
        "args": ["x"],
        "grants": {"secrets": ["api-key"], "state": true},
    }]));
    let host = project.serve(&[]);
    let record = host.record("asks").succeeded();
    let messages: Vec<_> = record.0["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["message"].as_str().unwrap())
        .collect();
    assert_eq!(
        messages,
        [
            "[secret api-key]",
            "denied: a secret in its state: secrets are kept nowhere"
        ]
    );
    assert_eq!(record.0["progress"]["note"], "[secret api-key]");
    for event in host.events() {
        is_clean(&event.0.to_string());
    }
}

#[test]
fn a_secret_that_is_not_granted_or_not_there_is_not_given() {
    let mut project = project();
    project
        .record("capabilities", &["--", "x"])
        .ended("failed", &["exit code 1"])
        .says_log("denied: the secret \"api-key\"; to allow it: \"grants\": { \"secrets\": [\"api-key\"] }");
    project.set("QUARTERJACK_SECRET_API_KEY", "");
    project
        .record("capabilities", &["--secret", "api-key", "--", "x"])
        .ended("failed", &["exit code 1"])
        .says_log("too short to be blotted out");
    // Who is to find it in the environment does not even start.
    project
        .record("environ", &["--secret-env", "TOKEN=nobody-has-it"])
        .ended(
            "failed",
            &[
                "there is no secret \"nobody-has-it\"",
                "QUARTERJACK_SECRET_NOBODY_HAS_IT",
            ],
        );
}

#[test]
fn a_denial_and_what_would_allow_it_are_clean() {
    let mut project = Project::with(&["secret-typed"]);
    project.set("QUARTERJACK_SECRET_TOKEN", SECRET);
    project.jobs(&json!([{
        "id": "asks",
        "component": "secret-typed.wasm",
        "trigger": "@manually",
        "run_on_start": true,
        "params": "d",
        "grants": {"secrets": ["token"]},
    }]));
    let host = project.serve(&[]);
    let denial = json!({
        "what": "the secret \"[secret token]\"",
        "grant": "\"grants\": { \"secrets\": [\"[secret token]\"] }",
    });
    let record = host.record("asks").succeeded();
    assert_eq!(record.0["denials"], json!([denial]));
    assert_eq!(host.event("run.denied", "asks").0["denial"], denial);
    for event in host.events() {
        is_clean(&event.0.to_string());
    }
}

#[test]
fn a_note_that_is_cut_leaves_no_beginning_of_a_secret() {
    let mut project = Project::with(&["secret-typed"]);
    let long: String = (0..100).map(|number| format!("{number:03}")).collect();
    project.set("QUARTERJACK_SECRET_TOKEN", long);
    let record = project
        .record("secret-typed", &["--secret", "token", "--params", "\"p\""])
        .succeeded();
    assert_eq!(record.0["progress"]["note"], "[secret token]");
}

#[test]
fn where_secrets_come_from_changes_without_a_restart() {
    let project = project();
    project.write(
        "quarterjack.toml",
        "[secrets]\nenv_prefix = \"ELSEWHERE_\"\n",
    );
    project.jobs(&json!([{
        "id": "asks",
        "component": "environ.wasm",
        "trigger": "@every 1s",
        "grants": { "env": { "TOKEN": { "secret": "api-key" } } },
    }]));
    let host = project.serve(&["--refresh", "200ms"]);
    host.record("asks")
        .ended("failed", &["set ELSEWHERE_API_KEY"]);
    let mark = host.mark();
    project.replace("quarterjack.toml", "[secrets]\n");
    let changed = host.wait("the change", mark, |event| event.is("config.changed"));
    assert_eq!(changed.0["sections"], json!(["[secrets]"]));
    assert_eq!(changed.0.get("restart"), None);
    let record = host.fresh_record(host.mark(), "asks");
    let output = record.text("output");
    assert!(output.contains("TOKEN=[secret api-key]"), "{record}");
    for event in host.stop().in_order().events {
        is_clean(&event.0.to_string());
    }
}
