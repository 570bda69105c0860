//! The policies of jobs and of files, good and bad, as their authors write them.

use super::*;

fn policies(rest: &str) -> Policies {
    (*good(&one(rest))[0].policies).clone()
}

/// The usual policies, but for some.
fn but(change: impl FnOnce(&mut Policies)) -> Policies {
    let mut policies = Policies::default();
    change(&mut policies);
    policies
}

#[test]
fn every_policy_is_read_in_all_its_forms() {
    let usual = Policies::default();
    let minutes = |count: u64| Duration::from_secs(60 * count);
    for (rest, expected) in [
        (r#""misfire_grace_time": "1h""#, usual.clone()),
        (
            r#""misfire_grace_time": "unlimited""#,
            but(|it| it.misfire_grace_time = None),
        ),
        (
            r#""misfire_grace_time": "5m""#,
            but(|it| it.misfire_grace_time = Some(minutes(5))),
        ),
        (
            r#""coalesce": "earliest""#,
            but(|it| it.coalesce = Coalesce::Earliest),
        ),
        (
            r#""coalesce": "all""#,
            but(|it| it.coalesce = Coalesce::All(100)),
        ),
        (
            r#""coalesce": {"all": 1000}"#,
            but(|it| it.coalesce = Coalesce::All(1_000)),
        ),
        (
            r#""overlap": "queue""#,
            but(|it| it.overlap = Overlap::Queue(16)),
        ),
        (
            r#""overlap": {"queue": 1}"#,
            but(|it| it.overlap = Overlap::Queue(1)),
        ),
        (
            r#""overlap": "allow""#,
            but(|it| it.overlap = Overlap::Allow),
        ),
        (
            r#""overlap": "replace""#,
            but(|it| it.overlap = Overlap::Replace),
        ),
        (r#""retry": 5"#, but(|it| it.retry.attempts = 5)),
        (
            r#""retry": {"attempts": 3, "backoff": "2h", "factor": 1.5, "jitter": 0.25, "on": ["failed", "timed_out"]}"#,
            but(|it| {
                let mut on = Failures::default();
                on.insert(Failure::Failed);
                on.insert(Failure::TimedOut);
                it.retry = RetryPolicy {
                    attempts: 3,
                    backoff: minutes(120),
                    factor: 1.5,
                    // No shorter than the first wait.
                    max_backoff: minutes(120),
                    jitter: 0.25,
                    on: Some(on),
                };
            }),
        ),
        (
            r#""deadline": "10m", "on_lost": "rerun", "priority": -100"#,
            but(|it| {
                it.deadline = Some(minutes(10));
                it.on_lost = OnLost::Rerun;
                it.priority = -100;
            }),
        ),
        (r#""deadline": "unlimited", "group": null"#, usual),
    ] {
        assert_eq!(policies(rest), expected, "{rest}");
    }
}

#[test]
fn the_defaults_of_a_file_hold_where_a_job_says_nothing() {
    let jobs = good(
        r#"{
          "defaults": { "retry": { "attempts": 3, "backoff": "1s" }, "group": "db", "priority": 5 },
          "groups": { "db": { "max_running": 2 }, "label": {} },
          "jobs": [
            { "id": "a", "component": "a.wasm", "trigger": "@daily" },
            { "id": "b", "component": "a.wasm", "trigger": "@daily" },
            { "id": "c", "component": "a.wasm", "trigger": "@daily", "group": "label", "retry": { "factor": 1 } },
            { "id": "d", "component": "a.wasm", "trigger": "@daily", "group": null, "priority": 0 },
          ],
        }"#,
    );
    let [a, b, c, d] = &jobs[..] else {
        panic!("{jobs:?}")
    };
    assert!(Arc::ptr_eq(&a.policies, &b.policies), "one for both");
    let group = a.policies.group.as_ref().unwrap();
    assert_eq!((&*group.name, group.max_running), ("db", Some(2)));
    assert_eq!((a.policies.retry.attempts, a.policies.priority), (3, 5));
    let retry = &c.policies.retry;
    assert_eq!((retry.attempts, retry.factor), (3, 1.0));
    assert_eq!(retry.backoff, Duration::from_secs(1));
    let group = c.policies.group.as_ref().unwrap();
    assert_eq!((&*group.name, group.max_running), ("label", None));
    assert_eq!((&d.policies.group, d.policies.priority), (&None, 0));
}

#[test]
fn mistakes_in_policies() {
    let mut texts: Vec<String> = [
        r#""misfire_grace_time": 60"#,
        r#""misfire_grace_time": "unlimted""#,
        r#""misfire_grace_time": "soon""#,
        r#""coalesce": true"#,
        r#""coalesce": "last""#,
        r#""coalesce": "Earliest""#,
        r#""coalesce": {"all": 0}"#,
        r#""coalesce": {"all": 1001, "latest": 1}"#,
        r#""coalesce": {}"#,
        r#""overlap": "forbid""#,
        r#""overlap": "wait""#,
        r#""overlap": ["queue"]"#,
        r#""overlap": {"queue": "10"}"#,
        r#""retry": 0"#,
        r#""retry": "3""#,
        r#""retry": {"attempts": 2000, "backoff": "0s", "factor": 0.5, "jitter": 2, "max_backoff": 5}"#,
        r#""retry": {"attempts": 3, "backoff": "1m", "max_backoff": "30s"}"#,
        r#""retry": {"attempts": 3, "factor": "2", "on": []}"#,
        r#""retry": {"attempts": 3, "on": ["faild", "lost", "cancelled", "succeeded", 5]}"#,
        r#""retry": {"delay": "5s", "timeout": "5s"}"#,
        r#""backoff": "5s""#,
        r#""deadline": "0s""#,
        r#""limits": {"deadline": "5m"}"#,
        r#""on_lost": "retry""#,
        r#""priority": 101"#,
        r#""priority": "high""#,
        r#""priority": 1.5"#,
        r#""group": "db""#,
        r#""groups": {}"#,
    ]
    .map(one)
    .into();
    let file = |rest: &str| {
        format!(
            r#"{{{rest}, "jobs": [{{"id": "a", "component": "a.wasm", "trigger": "@daily", "group": "databse"}}]}}"#
        )
    };
    texts.push(file(r#""groups": {"database": {"max_running": 2}}"#));
    texts.push(file(
        r#""groups": {"": {}, " db": {"max_running": 0, "max_instances": 1}, "x": 5}"#,
    ));
    texts.push(file(r#""groups": ["databse"]"#));
    texts.push(file(
        r#""defaults": {"group": "other", "retry": {"attempts": 0}}, "groups": {"databse": {}}"#,
    ));
    insta::assert_snapshot!(drawn(&texts));
}
