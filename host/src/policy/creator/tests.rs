use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::job::grants::network::Protocol;
use crate::job::manifest::Options;
use crate::job::{Access, Diagnostic, SourceText};

/// A definition with these keys besides what each needs.
fn manifest(id: &str, keys: &Value) -> Manifest {
    let mut job = json!({"id": id, "component": "x.wasm", "trigger": "@daily"});
    let all = job.as_object_mut().unwrap();
    all.extend(keys.as_object().unwrap().clone());
    let source = Arc::new(SourceText::new("jobs.json", format!("[\n  {job}\n]")));
    Manifest::parse(source, &Options::default()).unwrap()
}

#[track_caller]
fn job(id: &str, keys: &Value) -> Arc<Job> {
    let manifest = manifest(id, keys);
    let entry = &manifest.entries[0];
    let problems = |problems: &Vec<Diagnostic>| panic!("{problems:?} of {keys}");
    entry.result.as_ref().unwrap_or_else(problems).clone()
}

/// A creator with these keys, and a grant to schedule beside those that it has.
fn creator(keys: &Value) -> Arc<Job> {
    let mut keys = keys.clone();
    keys["grants"]["schedule"] = json!({"prefix": "sync/", "max_jobs": 10});
    job("sync", &keys)
}

/// What is said of a definition with `asked` whose creator has `held`.
#[track_caller]
fn said(held: &Value, asked: &Value) -> Vec<String> {
    match bounded(&creator(held), &job("sync/a", asked)) {
        Ok(_) => Vec::new(),
        Err(refusals) => refusals.iter().map(ToString::to_string).collect(),
    }
}

/// Checks what a creator with `held` may hand on: all of `narrower`, itself, and nothing of `wider`.
#[track_caller]
fn holds(held: Value, narrower: &[Value], wider: &[Value]) {
    for asked in std::iter::once(&held).chain(narrower) {
        assert_eq!(
            said(&held, asked),
            Vec::<String>::new(),
            "{held} holds {asked}"
        );
    }
    for asked in wider {
        assert_ne!(
            said(&held, asked),
            Vec::<String>::new(),
            "{held} holds {asked}"
        );
    }
}

#[test]
fn limits_are_no_higher_than_the_creators() {
    for (key, less, own, more) in [
        ("timeout", json!("5s"), json!("10s"), json!("11s")),
        ("fuel", json!("9M"), json!("10M"), json!("unlimited")),
        ("memory", json!("1MiB"), json!("2MiB"), json!("3MiB")),
        ("output", json!(1), json!("1KiB"), json!("2KiB")),
        ("log_rate", json!(1), json!("1KiB"), json!("2KiB")),
        ("handles", json!(8), json!(9), json!(10)),
    ] {
        let limits = |value: &Value| json!({"limits": {key: value}});
        holds(limits(&own), &[limits(&less), json!({})], &[limits(&more)]);
    }
    holds(
        json!({"deadline": "1h"}),
        &[json!({"deadline": "1m"}), json!({})],
        &[json!({"deadline": "2h"})],
    );
    holds(
        json!({"max_instances": 2}),
        &[json!({}), json!({"overlap": "queue"})],
        &[json!({"max_instances": 3}), json!({"overlap": "allow"})],
    );
    holds(
        json!({"overlap": "allow"}),
        &[json!({"max_instances": 30}), json!({})],
        &[],
    );
    holds(
        json!({"priority": -5}),
        &[json!({}), json!({"priority": -6})],
        &[json!({"priority": -4}), json!({"priority": 5})],
    );
    holds(
        json!({"priority": 5}),
        &[json!({})],
        &[json!({"priority": 6})],
    );
}

#[test]
fn grants_are_no_wider_than_the_creators() {
    let g = |grants: Value| json!({ "grants": grants });
    holds(
        g(json!({"env": {"A*": "x", "KEY": {"secret": "k"}}})),
        &[
            json!({}),
            // Whatever text it is: it says it itself.
            g(json!({"env": {"A*": "y"}})),
            // It knows that one.
            g(json!({"secrets": ["k"]})),
            g(json!({"env": {"A*": {"secret": "k"}}})),
        ],
        &[
            // A star is a letter here.
            g(json!({"env": {"AB": "x"}})),
            g(json!({"env": {"KEY": {"secret": "other"}}})),
            g(json!({"secrets": ["other"]})),
        ],
    );
    holds(
        g(json!({"config": {"a": "1"}})),
        &[json!({})],
        &[g(json!({"config": {"b": "1"}}))],
    );
    holds(
        g(json!({"dirs": ["/no/such/in::/in", "/no/such/out::/out:rw"]})),
        &[
            g(json!({"dirs": ["/no/such/in/deep::/x"]})),
            g(json!({"dirs": ["/no/such/out/../out/a::/x:rw"]})),
            g(json!({"dirs": ["/no/such/out::/x"]})),
        ],
        &[
            g(json!({"dirs": ["/no/such/in::/in:rw"]})),
            g(json!({"dirs": ["/no/such::/in"]})),
            g(json!({"dirs": ["/no/such/inside::/in"]})),
            g(json!({"dirs": ["/no/such/out/../../..::/in"]})),
        ],
    );
    let quota = |quota: &str| {
        let dir = json!({"host": "/no/such/out", "guest": "/x", "mode": "rw", "quota": quota});
        g(json!({ "dirs": [dir] }))
    };
    holds(
        quota("1MiB"),
        &[quota("1KiB"), g(json!({"dirs": ["/no/such/out::/x"]}))],
        &[quota("2MiB"), g(json!({"dirs": ["/no/such/out::/x:rw"]}))],
    );
    holds(
        g(json!({"http": ["https://*.example.com", "http://localhost:8080"]})),
        &[
            g(json!({"http": ["https://a.example.com"]})),
            g(json!({"http": ["https://*.b.example.com", "http://localhost:8080"]})),
        ],
        &[
            g(json!({"http": ["https://example.com"]})),
            g(json!({"http": ["http://a.example.com"]})),
            g(json!({"http": ["https://a.example.com:8443"]})),
            g(json!({"http": ["https://*.example.org"]})),
            g(json!({"http": ["http://127.0.0.1:8080"]})),
            g(json!({"http": {"origins": ["https://a.example.com"], "addresses": ["10.0.0.0/8"]}})),
            g(json!({"http": {"origins": ["https://a.example.com"], "requests": 101}})),
            g(json!({"sockets": ["tcp://a.example.com:443"]})),
        ],
    );
    let http = |addresses: &str, timeout: &str, requests: u32, body: &str| {
        g(
            json!({"http": {"origins": ["https://a.example.com"], "addresses": [addresses],
            "timeout": timeout, "requests": requests, "body": body}}),
        )
    };
    holds(
        http("10.1.0.0/16", "10s", 10, "1MiB"),
        &[http("10.1.2.0/24", "9s", 9, "1KiB")],
        &[
            http("10.0.0.0/8", "10s", 10, "1MiB"),
            http("10.1.0.0/16", "11s", 10, "1MiB"),
            http("10.1.0.0/16", "10s", 11, "1MiB"),
            http("10.1.0.0/16", "10s", 10, "2MiB"),
        ],
    );
    holds(
        g(json!({"sockets": {"endpoints": ["db.example.com:5432"], "addresses": ["10.0.0.0/8"]}})),
        &[
            g(json!({"sockets": ["tcp://db.example.com:5432"]})),
            g(
                json!({"sockets": {"endpoints": ["udp://db.example.com:5432"],
                "addresses": ["10.1.0.0/16"]}}),
            ),
        ],
        &[
            g(json!({"sockets": ["tcp://db.example.com:5433"]})),
            g(json!({"sockets": ["tcp://*.example.com:5432"]})),
            g(json!({"sockets": {"endpoints": ["db.example.com:5432"],
                "addresses": ["0.0.0.0/0"]}})),
            // Those of the sockets are none of HTTP's.
            g(json!({"http": {"origins": ["http://db.example.com:5432"]}})),
        ],
    );
    let state = |keys: u32, size: &str| g(json!({"state": {"keys": keys, "size": size}}));
    holds(
        state(10, "1KiB"),
        &[state(9, "1KiB"), json!({})],
        &[
            state(11, "1KiB"),
            state(10, "2KiB"),
            g(json!({"state": true})),
        ],
    );
}

#[test]
fn a_grant_to_schedule_is_handed_on_for_a_narrower_namespace() {
    let schedule = |prefix: &str, max_jobs: u32| json!({"grants": {"schedule": {"prefix": prefix, "max_jobs": max_jobs}}});
    assert!(said(&json!({}), &schedule("sync/a/", 10)).is_empty());
    for wider in [
        schedule("sync/", 1),
        schedule("s", 1),
        schedule("other/", 1),
        schedule("sync/a/", 11),
    ] {
        assert_eq!(said(&json!({}), &wider).len(), 1, "{wider}");
    }
    let without = job("plain", &json!({}));
    assert!(bounded(&without, &job("plain/a", &json!({}))).is_err());
    assert!(bounded(&creator(&json!({})), &job("other", &json!({}))).is_err());
}

#[test]
fn functions_of_the_program_are_not_for_jobs_to_run() {
    let native = json!({"component": "native:format-the-disk"});
    let said = said(&json!({}), &native);
    insta::assert_snapshot!(said.join("\n"), @r#"the function "format-the-disk", which no sandbox is around, is more than its creator holds: only plugins (as `sync`)"#);
}

#[test]
fn what_is_not_allowed_is_told_at_its_place() {
    let held = creator(&json!({"limits": {"timeout": "10s"}, "grants": {"secrets": ["a", "b"]}}));
    let asked = json!({
        "limits": {"timeout": "1m"},
        "grants": {"secrets": ["c"], "state": true}
    });
    let judged = judge_made(&manifest("sync/a", &asked), &held);
    let problems = judged.entries[0].result.as_ref().unwrap_err();
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    jobs.json:2:78: `timeout` "1m" is more than its creator holds: at most 10 s (as `sync`)
    jobs.json:2:105: the secret "c" is more than its creator holds: only a, b (as `sync`)
    jobs.json:2:118: `state` is more than its creator holds: none is allowed (as `sync`)
    "#);
    let judged = judge_made(&manifest("report", &json!({})), &held);
    let problems = judged.entries[0].result.as_ref().unwrap_err();
    insta::assert_snapshot!(problems[0], @r#"jobs.json:2:30: the id "report" is more than its creator holds: only what begins with "sync/" (as `sync`)"#);
}

#[test]
fn what_nobody_wrote_is_the_creators() {
    let held = json!({
        "limits": {"timeout": "10s", "memory": "1MiB"}, "deadline": "1h", "priority": -3,
        "grants": {"dirs": ["/no/such::/all:rw"]}
    });
    let parent = creator(&held);
    let mut grouped = (*parent).clone();
    let mut policies = (*grouped.policies).clone();
    policies.group = Some(Arc::new(crate::job::Group {
        name: "few".into(),
        max_running: Some(1),
    }));
    grouped.policies = Arc::new(policies);
    let asked = json!({"grants": {"dirs": ["/no/such/a::/a"]}});
    let made = bounded(&grouped, &job("sync/a", &asked)).unwrap();
    assert_eq!(made.limits.timeout, Duration::from_secs(10));
    assert_eq!(made.limits.memory, 1 << 20);
    assert_eq!(made.policies.deadline, Some(Duration::from_secs(3600)));
    assert_eq!(made.policies.priority, -3);
    assert_eq!(made.policies.group, grouped.policies.group);
    assert_eq!(made.grants.dirs[0].beneath, [Path::new("/no/such")]);
    assert_eq!(made.origin.to_string(), "jobs.json:2 (by sync)");
    // And the way of what that one makes goes on from there.
    let mut made = (*made).clone();
    Arc::make_mut(&mut made.grants).schedule = Some(crate::job::ScheduleGrant {
        prefix: "sync/a/".into(),
        max_jobs: 1,
        on_removal: crate::job::OnRemoval::Remove,
    });
    let asked = json!({"grants": {"dirs": ["/no/such/a/b::/b"]}});
    let second = bounded(&made, &job("sync/a/b", &asked)).unwrap();
    let way = ["/no/such", "/no/such/a"].map(Path::new);
    assert_eq!(second.grants.dirs[0].beneath, way);
}

/// Some of a list.
fn some(of: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(of, 0..=of.len())
}

const DIRS: &[&str] = &["/n", "/n/a", "/n/a/b", "/n/b"];
const HOSTS: &[&str] = &["a.example.com", "b.a.example.com", "10.1.2.3", "localhost"];
const ADDRESSES: &[&str] = &[
    "10.1.2.3",
    "10.9.9.9",
    "192.168.0.1",
    "127.0.0.1",
    "8.8.8.8",
];

prop_compose! {
    fn definition()(
        timeout in 1u32..4, memory in 1u32..4, instances in 1u32..4, priority in -2i8..3,
        deadline in 1u32..4,
        (env, secrets) in (some(&["A", "B"]), some(&["k", "l"])),
        dirs in some(&["/n:ro", "/n/a:ro", "/n/a:rw", "/n/a/b:rw", "/n/b:rw"]),
        quota in proptest::option::of(1u32..3),
        origins in some(&["https://a.example.com", "https://*.example.com", "http://10.1.2.3",
            "https://*.a.example.com", "http://localhost"]),
        (ranges, requests) in (some(&["10.0.0.0/8", "10.1.0.0/16", "192.168.0.0/16"]), 1u32..4),
        endpoints in some(&["a.example.com:1", "tcp://a.example.com:1", "udp://10.1.2.3:2",
            "tcp://*.example.com:1"]),
        (state, schedule) in (proptest::option::of(1u32..4),
            proptest::option::of(proptest::sample::select(&["sync/", "sync/a/", "x/"]))),
    ) -> Value {
        let dirs: Vec<Value> = dirs.iter().enumerate().map(|(number, dir)| {
            let (host, mode) = dir.split_once(':').unwrap();
            let mut dir = json!({"host": host, "guest": format!("/{number}"), "mode": mode});
            if mode == "rw" && let Some(quota) = quota {
                dir["quota"] = quota.into();
            }
            dir
        }).collect();
        let mut grants = json!({
            "env": env.iter().map(|name| ((*name).to_owned(), json!("x")))
                .collect::<serde_json::Map<_, _>>(),
            "secrets": secrets,
            "dirs": dirs,
        });
        if !origins.is_empty() {
            grants["http"] = json!({"origins": origins, "addresses": ranges, "requests": requests});
        }
        if !endpoints.is_empty() {
            grants["sockets"] = json!({"endpoints": endpoints, "addresses": ranges});
        }
        if let Some(keys) = state {
            grants["state"] = json!({ "keys": keys });
        }
        if let Some(prefix) = schedule {
            grants["schedule"] = json!({ "prefix": prefix });
        }
        json!({
            "limits": {"timeout": format!("{timeout}s"), "memory": format!("{memory}MiB")},
            "max_instances": instances,
            "priority": priority,
            "deadline": format!("{deadline}h"),
            "grants": grants
        })
    }
}

/// Everything that a job can do among what these tests look at, each as a text.
fn powers(job: &Job) -> Vec<String> {
    let grants = &job.grants;
    let mut powers: Vec<String> = Vec::new();
    powers.extend(grants.env.iter().map(|(name, _)| format!("env {name}")));
    powers.extend(grants.all_secrets().map(|name| format!("secret {name}")));
    for dir in &grants.dirs {
        for path in DIRS
            .iter()
            .filter(|path| Path::new(path).starts_with(&dir.host))
        {
            powers.push(format!("read {path}"));
            if dir.access == Access::ReadWrite {
                let most = dir.quota.unwrap_or(4);
                powers.extend((1..=most).map(|size| format!("write {size} in {path}")));
            }
        }
    }
    for host in HOSTS {
        let addresses = || ADDRESSES.iter().map(|it| it.parse().unwrap());
        for (https, port) in [(true, 443), (false, 80)] {
            let Some(http) = &grants.http else { continue };
            let Some(origin) = http.origin(https, host, port) else {
                continue;
            };
            powers.push(format!("http {https} {host}"));
            for address in addresses().filter(|it| http.may_connect(origin, *it)) {
                powers.push(format!("http {https} {host} at {address}"));
            }
        }
    }
    if let Some(sockets) = &grants.sockets {
        for (protocol, name) in [(Protocol::Tcp, "tcp"), (Protocol::Udp, "udp")] {
            for endpoint in &sockets.endpoints {
                for host in HOSTS.iter().filter(|host| endpoint.host.matches(host)) {
                    for port in (1..3).filter(|port| endpoint.serves(protocol, *port)) {
                        powers.push(format!("{name} {host}:{port}"));
                    }
                }
            }
        }
        for address in ADDRESSES.iter().map(|it| it.parse().unwrap()) {
            if sockets
                .addresses
                .iter()
                .any(|range| range.contains(address))
            {
                powers.push(format!("sockets at {address}"));
            }
        }
    }
    if let Some(schedule) = &grants.schedule {
        let ids = ["sync/a", "sync/a/b", "x/a", "sync/b"];
        let some = ids.iter().filter(|id| id.starts_with(&*schedule.prefix));
        powers.extend(some.map(|id| format!("define {id}")));
    }
    powers
}

proptest! {
    /// What is let through can do nothing that its creator cannot.
    #[test]
    fn nothing_is_ever_wider(held in definition(), asked in definition()) {
        let parent = creator(&held);
        let Ok(made) = bounded(&parent, &job("sync/a", &asked)) else { return Ok(()) };
        let all = powers(&parent);
        for power in powers(&made) {
            prop_assert!(all.contains(&power), "{power} of {asked} not of {held}");
        }
        prop_assert!(made.limits.timeout <= parent.limits.timeout);
        prop_assert!(made.limits.memory <= parent.limits.memory);
        prop_assert!(made.max_instances <= parent.max_instances);
        prop_assert!(made.policies.priority <= parent.policies.priority);
        prop_assert!(made.policies.deadline <= parent.policies.deadline);
        let requests = |job: &Job| job.grants.http.as_ref().map_or(0, |it| it.requests);
        prop_assert!(requests(&made) <= requests(&parent));
        let keys = |job: &Job| job.grants.state.map_or(0, |it| it.keys);
        prop_assert!(keys(&made) <= keys(&parent));
        for dir in &made.grants.dirs {
            prop_assert!(!dir.beneath.is_empty());
        }
    }

    /// And whoever asks for what the creator has is let through.
    #[test]
    fn all_that_it_holds_can_be_handed_on(held in definition()) {
        let mut asked = held.clone();
        asked["grants"].as_object_mut().unwrap().remove("schedule");
        prop_assert_eq!(said(&held, &asked), Vec::<String>::new());
    }
}
