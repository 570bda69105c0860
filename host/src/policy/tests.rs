use std::path::PathBuf;

use super::*;
use crate::job::grants::Need;
use crate::job::manifest::Options;
use crate::job::{Access, Limits, Manifest, StateQuota};
use crate::secret::{Provider, Settings};
use proptest::prelude::*;

fn parse(text: &str) -> Result<Policy, Vec<Diagnostic>> {
    let source = Arc::new(SourceText::new("quarterjack.toml", text));
    Policy::parse(&source, Path::new("/etc/quarterjack"))
}

#[track_caller]
fn policy(text: &str) -> Policy {
    parse(text).unwrap_or_else(|problems| panic!("{}", drawn(&problems)))
}

fn drawn(problems: &[Diagnostic]) -> String {
    let drawn: Vec<String> = problems.iter().map(|it| it.render(false)).collect();
    drawn.join("\n\n")
}

/// A job file with these jobs: each an id and what stands beside its component and trigger.
fn jobs(policy: &Policy, jobs: &[(&str, &str)]) -> Manifest {
    let jobs: Vec<String> = jobs
        .iter()
        .map(|(id, rest)| {
            format!(
                "  {{\"id\": \"{id}\", \"component\": \"x.wasm\", \"trigger\": \"@daily\"{rest}}}"
            )
        })
        .collect();
    let text = format!("[\n{}\n]", jobs.join(",\n"));
    let source = Arc::new(SourceText::new("jobs.json", text));
    let mut manifest = Manifest::parse(source, &Options::default()).unwrap();
    policy.judge(&mut manifest);
    manifest
}

/// What is wrong with one job, `job`, each on a line.
fn judged(policy: &Policy, rest: &str) -> String {
    let manifest = jobs(policy, &[("job", rest)]);
    let problems: Vec<String> = manifest
        .problems()
        .into_iter()
        .map(ToString::to_string)
        .collect();
    problems.join("\n")
}

fn job(grants: crate::job::Grants) -> crate::job::Job {
    let mut job = crate::job::Job::by_hand("job".into(), "x.wasm");
    job.grants = Arc::new(grants);
    job
}

#[test]
fn an_empty_file_says_nothing_and_so_does_none() {
    for policy in [policy(""), policy("\u{FEFF}# nothing\n"), Policy::default()] {
        assert!(policy.limits_nothing());
        assert_eq!(policy.plugins.max_size, 512 << 20);
        assert_eq!(policy.plugins.compile_timeout, Duration::from_secs(120));
        assert_eq!(policy.plugins.compile_memory, 4 << 30);
        assert_eq!(policy.host.max_memory, None);
        assert_eq!(policy.secrets, Settings::default());
        assert_eq!(
            judged(
                &policy,
                r#", "limits": {"timeout": "24h", "memory": "4GiB"}"#
            ),
            ""
        );
    }
}

#[test]
fn the_example_is_a_good_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quarterjack.toml");
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(policy(&text).sources.len(), 0);
    // The sources are comments, as they are nowhere.
    let (before, sources) = text.split_once("# [[source]]").unwrap();
    let (sources, after) = sources.split_once("\n\n").unwrap();
    let sources = sources.replace("\n# ", "\n").replace("\n#\n", "\n\n");
    let whole = policy(&format!("{before}[[source]]{sources}\n\n{after}"));
    assert_eq!(whole.sources.len(), 4);
    let (before, hook) = text.split_once("# [[hook]]").unwrap();
    let (hook, after) = hook.split_once("\n\n").unwrap();
    let hook = hook.replace("\n# ", "\n");
    let whole = policy(&format!("{before}[[hook]]{hook}\n\n{after}"));
    assert_eq!(whole.hooks.len(), 1);
}

#[test]
fn every_key_is_read() {
    let policy = policy(
        r#"
[ceiling]
timeout = "10m"
fuel = "10G"
memory = 268435456
output = "1MiB"
log_rate = "64KiB"
handles = 64
max_instances = 4

[ceiling.grants]
env = ["APP_*", "TZ"]
config = true
dirs = ["/srv/data", "out:rw"]
dir_quota = "1GiB"
http = ["https://*.example.com"]
sockets = false
addresses = ["10.0.0.0/8"]
secrets = ["api-*"]
state = { keys = 100, size = "64KiB" }

[[ceiling.jobs]]
match = ["report-*", "digest"]
timeout = "1h"
grants = { http = true, state = false }

[[ceiling.jobs]]
match = "report-daily"
timeout = "2h"

[secrets]
env_prefix = "QJ_"
dir = "secrets"
systemd = false
order = ["dir", "env"]

[plugins]
max_size = "64MiB"
compile_timeout = "30s"
compile_memory = "1GiB"

[host]
max_memory = "8GiB"
"#,
    );
    let rules = |id: &str| policy.ceiling_for(&id.into()).rules;
    let general = rules("other");
    let value = |placed: &Option<Placed<u64>>| placed.as_ref().unwrap().value;
    assert_eq!(value(&general.fuel), 10_000_000_000);
    assert_eq!(value(&general.memory), 256 << 20);
    assert_eq!(value(&general.output), 1 << 20);
    assert_eq!(value(&general.log_rate), 64 << 10);
    assert_eq!(value(&general.dir_quota), 1 << 30);
    assert_eq!(general.handles.as_ref().unwrap().value, 64);
    assert_eq!(general.max_instances.as_ref().unwrap().value, 4);
    let timeout = |id: &str| rules(id).timeout.clone().unwrap();
    assert_eq!(timeout("other").value, Duration::from_secs(600));
    assert_eq!(timeout("other").place.to_string(), "quarterjack.toml:3:11");
    // The first section that fits counts, and replaces key by key.
    for id in ["report-daily", "report-", "digest"] {
        assert_eq!(timeout(id).value, Duration::from_secs(3600), "{id}");
        assert_eq!(timeout(id).place.to_string(), "quarterjack.toml:24:11");
        assert_eq!(rules(id).env, general.env);
        assert_ne!(rules(id).http, general.http);
        assert_ne!(rules(id).state, general.state);
    }
    assert_eq!(rules("my-report-1"), general);
    assert_eq!(
        policy.secrets,
        Settings {
            env_prefix: "QJ_".into(),
            dir: Some("/etc/quarterjack/secrets".into()),
            order: vec![Provider::Directory, Provider::Environment],
        }
    );
    assert_eq!(
        policy.plugins,
        PluginSettings {
            max_size: 64 << 20,
            compile_timeout: Duration::from_secs(30),
            compile_memory: 1 << 30,
        }
    );
    assert_eq!(policy.host.max_memory, Some(8 << 30));
}

#[test]
fn mistakes() {
    let texts = [
        // The grammar.
        "[ceiling\ntimeout = \"5m\"\n",
        "[ceiling]\ntimeout = 5m\nfuel = ,\n",
        "[ceiling]\ntimeout = \"5m\"\ntimeout = \"6m\"\n",
        // Keys.
        "[celing]\n",
        "timeout = \"5m\"\n",
        "[ceiling]\ntimout = \"5m\"\nhttp = false\ncolour = 1\n",
        "[ceiling.grants]\nenviron = true\nwasi = true\n",
        "ceiling = 5\n",
        // Limits.
        "[ceiling]\ntimeout = 30\nfuel = \"unlimted\"\nmemory = \"1KiB\"\noutput = -1\n",
        "[ceiling]\ntimeout = \"30\"\nfuel = 0\nmemory = \"1TiB\"\nhandles = 1\nlog_rate = true\n",
        "[ceiling]\ntimeout = \"48h\"\nmax_instances = \"many\"\nfuel = 99999999999999999999\n",
        // Grants.
        "[ceiling.grants]\nenv = \"APP_*\"\nconfig = [1, \"\"]\ndir_quota = false\n",
        "[ceiling.grants]\ndirs = [\"~/x\", \"/srv:wr\", \":rw\"]\n",
        "[ceiling.grants]\nstate = { key = 5, size = \"1TiB\" }\n",
        "[ceiling.grants]\nstate = 5\n",
        // Sections for some jobs.
        "[ceiling.jobs]\nmatch = \"a\"\n",
        "[[ceiling.jobs]]\ntimeout = \"5m\"\n\n[[ceiling.jobs]]\nmatch = []\n\n[[ceiling.jobs]]\nmatch = 5\n",
        "[[ceiling.jobs]]\nmatches = \"a\"\n",
        // The others.
        "[secrets]\norder = [\"dir\", \"vault\", \"env\", \"env\", \"sytemd\"]\n",
        "[secrets]\nsystemd = false\nenv_prefix = \"A_\"\ndir = \"/run/secrets\"\norder = [\"systemd\"]\n",
        "[secrets]\nenv_prefix = \"\"\norder = \"env\"\n",
        "[plugins]\nmax_size = 1\ncompile_timeout = \"0s\"\ncompile_memory = \"1MiB\"\n",
        "[host]\nmemory = \"1GiB\"\n",
    ];
    let told: Vec<String> = texts
        .iter()
        .map(|text| match parse(text) {
            Ok(_) => panic!("a good file: {text}"),
            Err(problems) => drawn(&problems),
        })
        .collect();
    insta::assert_snapshot!(told.join("\n\n---\n\n"));
}

#[test]
fn limits_above_the_ceiling_are_told_with_both_lines() {
    let policy = policy("[ceiling]\ntimeout = \"30s\"\nmemory = \"64MiB\"\nmax_instances = 2\n");
    let manifest = jobs(
        &policy,
        &[
            (
                "good",
                r#", "limits": {"timeout": "30s"}, "max_instances": 2"#,
            ),
            (
                "greedy",
                r#", "limits": {"timeout": "1h", "memory": 67108865}"#,
            ),
            ("many", r#", "max_instances": 3"#),
            ("any", r#", "overlap": "allow""#),
        ],
    );
    let problems: Vec<Diagnostic> = manifest.problems().into_iter().cloned().collect();
    insta::assert_snapshot!(drawn(&problems), @r#"
    error: `timeout` "1h" is above the operator's ceiling
     --> jobs.json:3:86
      |
    3 |   {"id": "greedy", "component": "x.wasm", "trigger": "@daily", "limits": {"timeout": "1h", "memory": 67108865}},
      |                                                                                      ^^^^ at most 30 s (quarterjack.toml:2:11)

    error: `memory` 67108865 is above the operator's ceiling
     --> jobs.json:3:102
      |
    3 |   {"id": "greedy", "component": "x.wasm", "trigger": "@daily", "limits": {"timeout": "1h", "memory": 67108865}},
      |                                                                                                      ^^^^^^^^ at most 64 MiB (quarterjack.toml:3:10)

    error: `max_instances` 3 is above the operator's ceiling
     --> jobs.json:4:31
      |
    4 |   {"id": "many", "component": "x.wasm", "trigger": "@daily", "max_instances": 3},
      |                               ^^^^^^^^ at most 2 (quarterjack.toml:4:17)

    error: `max_instances` without a bound, by "overlap": "allow", is above the operator's ceiling
     --> jobs.json:5:30
      |
    5 |   {"id": "any", "component": "x.wasm", "trigger": "@daily", "overlap": "allow"}
      |                              ^^^^^^^^ at most 2 (quarterjack.toml:4:17)
    "#);
    assert!(problems.iter().all(Policy::is_refusal));
    assert_eq!(manifest.jobs().count(), 1);
}

#[test]
fn limits_that_nobody_wrote_are_lowered() {
    let policy = policy("[ceiling]\ntimeout = \"5s\"\nmemory = \"32MiB\"\nhandles = 8\n");
    let manifest = jobs(&policy, &[("job", r#", "limits": {"memory": "1MiB"}"#)]);
    let job = manifest.jobs().next().unwrap();
    assert_eq!(
        job.limits,
        Limits {
            timeout: Duration::from_secs(5),
            memory: 1 << 20,
            handles: 8,
            ..Limits::DEFAULT
        }
    );
    // The defaults of the file are written, and judged for each of its jobs.
    let text = r#"{"defaults": {"limits": {"timeout": "6s"}},
        "jobs": [{"id": "a", "component": "x.wasm", "trigger": "@daily"},
                 {"id": "b", "component": "x.wasm", "trigger": "@daily",
                  "limits": {"timeout": "5s"}}]}"#;
    let source = Arc::new(SourceText::new("jobs.json", text));
    let mut manifest = Manifest::parse(source, &Options::default()).unwrap();
    policy.judge(&mut manifest);
    let [problem] = &*manifest.problems() else {
        panic!("{manifest:?}")
    };
    assert_eq!((problem.line, problem.column), (1, 37));
    assert_eq!(problem.job.as_ref().unwrap().as_str(), "a");
}

#[test]
fn flags_beat_the_file() {
    let flags = Flags {
        timeout: Some(Duration::from_secs(60)),
        memory: Some(1 << 20),
        ..Flags::default()
    };
    let text = "[ceiling]\ntimeout = \"30s\"\nfuel = 5\n\
        [[ceiling.jobs]]\nmatch = \"low\"\ntimeout = \"10s\"\n\
        [[ceiling.jobs]]\nmatch = \"high\"\ntimeout = \"5m\"\n\
        [[ceiling.jobs]]\nmatch = \"same\"\nfuel = 6\n";
    let policy = policy(text).with_flags(&flags);
    let timeout = |id: &str| {
        let rule = policy
            .ceiling_for(&id.into())
            .rules
            .timeout
            .clone()
            .unwrap();
        format!("{:?} {}", rule.value, rule.place)
    };
    assert_eq!(timeout("other"), "60s --max-timeout");
    assert_eq!(timeout("same"), "60s --max-timeout");
    assert_eq!(timeout("high"), "60s --max-timeout");
    assert_eq!(timeout("low"), "10s quarterjack.toml:6:11");
    let rules = policy.ceiling_for(&"high".into()).rules;
    assert_eq!(rules.memory.as_ref().unwrap().value, 1 << 20);
    assert_eq!(rules.fuel.as_ref().unwrap().value, 5);
    // Without a file, a flag is all there is.
    let policy = Policy::default().with_flags(&flags);
    let said = judged(&policy, r#", "limits": {"timeout": "2m"}"#);
    assert!(said.ends_with("at most 1 min (--max-timeout)"), "{said}");
}

#[test]
fn grants_above_the_ceiling_are_told() {
    use crate::job::grants::network::{AddressRange, Endpoint, OriginPattern};
    use crate::job::{DirGrant, EnvValue, Grants, HttpGrant, SocketGrant};
    let policy = policy(
        r#"[ceiling.grants]
env = ["APP_*"]
config = false
dirs = ["/no/such/data", "/no/such/out:rw"]
dir_quota = "1MiB"
http = ["https://*.example.com", "http://*"]
sockets = ["tcp://*:5432"]
addresses = ["10.0.0.0/8", "127.0.0.1/32"]
secrets = ["api-*", "db"]
state = { keys = 10 }
"#,
    );
    let dir = |host: &str, access, quota| DirGrant {
        host: host.into(),
        guest: "/d".into(),
        access,
        quota,
        beneath: Vec::new(),
    };
    let origins = [
        "https://a.example.com",
        "https://example.com",
        "http://10.1.2.3",
        "http://192.168.1.1",
        "http://localhost",
    ];
    let ranges = |texts: &[&str]| {
        let range = |text: &&str| AddressRange::parse(text).unwrap();
        texts.iter().map(range).collect()
    };
    let grants = Grants {
        env: vec![
            ("APP_A".into(), EnvValue::Text("1".into())),
            ("HOME".into(), EnvValue::Text("1".into())),
            ("APP_KEY".into(), EnvValue::Secret("root".into())),
            ("APP_DB".into(), EnvValue::Secret("db".into())),
        ],
        config: vec![("a".into(), "b".into())],
        dirs: vec![
            dir("/no/such/data/x", Access::ReadOnly, None),
            dir("/etc", Access::ReadOnly, None),
            dir("/no/such/data/y", Access::ReadWrite, Some(1)),
            dir("/no/such/out", Access::ReadWrite, None),
            dir("/no/such/out", Access::ReadWrite, Some(2 << 20)),
            dir("/no/such/out", Access::ReadWrite, Some(1 << 20)),
        ],
        http: Some(HttpGrant {
            origins: origins
                .iter()
                .map(|text| OriginPattern::parse(text).unwrap())
                .collect(),
            addresses: ranges(&["10.1.0.0/16", "0.0.0.0/0"]),
            timeout: HttpGrant::TIMEOUT,
            requests: HttpGrant::REQUESTS,
            body: HttpGrant::BODY,
        }),
        sockets: Some(SocketGrant {
            endpoints: ["tcp://db.example.com:5432", "db.example.com:5432"]
                .iter()
                .map(|text| Endpoint::parse(text).unwrap())
                .collect(),
            addresses: ranges(&["192.168.0.0/16"]),
        }),
        secrets: vec!["api-1".into(), "other".into()],
        state: Some(StateQuota { keys: 11, size: 1 }),
        schedule: None,
    };
    let ceiling = policy.ceiling_for(&"job".into());
    let told: Vec<String> = ceiling
        .refusals(&job(grants))
        .iter()
        .map(|refusal| format!("{:?}: {refusal}", refusal.item))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    Env(1): the variable "HOME" is above the operator's ceiling: only APP_* (quarterjack.toml:2:7)
    Env(2): the secret "root" is above the operator's ceiling: only api-*, db (quarterjack.toml:9:11)
    Config(0): the setting "a" is above the operator's ceiling: none is allowed (quarterjack.toml:3:10)
    Dir(1): the directory /etc is above the operator's ceiling: only in /no/such/data, /no/such/out:rw (quarterjack.toml:4:8)
    Dir(2): writing in the directory /no/such/data/y is above the operator's ceiling: it may only be read; only in /no/such/data, /no/such/out:rw (quarterjack.toml:4:8)
    Dir(3): the directory /no/such/out to write in without a quota is above the operator's ceiling: with a quota of at most 1 MiB (quarterjack.toml:5:13)
    Dir(4): the quota 2 MiB of /no/such/out is above the operator's ceiling: at most 1 MiB (quarterjack.toml:5:13)
    HttpOrigin(1): the origin https://example.com is above the operator's ceiling: only https://*.example.com, http://* (quarterjack.toml:6:8)
    HttpOrigin(3): the address 192.168.1.1, which is not public, is above the operator's ceiling: only 10.0.0.0/8, 127.0.0.1/32 (quarterjack.toml:8:13)
    HttpOrigin(4): localhost, that is ::1, which is not public, is above the operator's ceiling: only 10.0.0.0/8, 127.0.0.1/32 (quarterjack.toml:8:13)
    HttpAddress(1): the range 0.0.0.0/0 is above the operator's ceiling: only 10.0.0.0/8, 127.0.0.1/32 (quarterjack.toml:8:13)
    SocketEndpoint(1): the endpoint db.example.com:5432 is above the operator's ceiling: only tcp://*:5432 (quarterjack.toml:7:11)
    SocketAddress(0): the range 192.168.0.0/16 is above the operator's ceiling: only 10.0.0.0/8, 127.0.0.1/32 (quarterjack.toml:8:13)
    Secret(1): the secret "other" is above the operator's ceiling: only api-*, db (quarterjack.toml:9:11)
    State: a state of 11 keys is above the operator's ceiling: at most 10 (quarterjack.toml:10:9)
    "#);
}

#[test]
fn each_grant_is_refused_at_its_own_place() {
    let policy = policy(
        "[ceiling.grants]\nenv = [\"A\"]\nconfig = [\"a\"]\nhttp = [\"https://*.example.com\"]\n\
         sockets = false\naddresses = []\nsecrets = [\"s\"]\nstate = false\ndirs = []\n",
    );
    let text = r#"[{"id": "job", "component": "x.wasm", "trigger": "@daily", "grants": {
  "env": {"A": "1",
    "B": "2",
    "A2": {"secret": "t"}},
  "config": {"a": "1",
    "b": "2"},
  "http": {"origins": ["https://a.example.com",
    "https://example.org"], "addresses": [
    "10.0.0.0/8"]},
  "sockets": [
    "tcp://db.example.com:5432"],
  "secrets": ["s",
    "u"],
  "state":
    true,
  "dirs": [
    "data::/data"]
}}]"#;
    let source = Arc::new(SourceText::new("jobs.json", text));
    let mut manifest = Manifest::parse(source, &Options::default()).unwrap();
    policy.judge(&mut manifest);
    let told: Vec<String> = manifest
        .problems()
        .iter()
        .map(|problem| {
            let what = problem.source.text().get(problem.span.clone()).unwrap();
            format!("{} {what} {}", problem.line, problem.label)
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    3 "B" only A (quarterjack.toml:2:7)
    4 "A2" only A (quarterjack.toml:2:7)
    4 "A2" only s (quarterjack.toml:7:11)
    6 "b" only a (quarterjack.toml:3:10)
    8 "https://example.org" only https://*.example.com (quarterjack.toml:4:8)
    9 "10.0.0.0/8" none is allowed (quarterjack.toml:6:13)
    11 "tcp://db.example.com:5432" none is allowed (quarterjack.toml:5:11)
    13 "u" only s (quarterjack.toml:7:11)
    15 true none is allowed (quarterjack.toml:8:9)
    17 "data::/data" none is allowed (quarterjack.toml:9:8)
    "#);
}

#[test]
fn directories_are_refused_at_their_line() {
    let text = "[ceiling.grants]\ndirs = [\"/srv/data\"]\n";
    let said = judged(
        &policy(text),
        r#", "grants": {"dirs": ["/srv/data/in::/in", "/srv/data/../secret::/s"]}"#,
    );
    assert_eq!(
        said,
        "jobs.json:2:102: the directory /srv/data/../secret is above the operator's ceiling: \
         only in /srv/data (quarterjack.toml:2:8)"
    );
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    for name in ["root", "out"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    std::os::unix::fs::symlink(at("out"), at("root/link")).unwrap();
    let text = format!("[ceiling.grants]\ndirs = [{:?}]\n", at("root"));
    let policy = policy(&text);
    let grant = |path: &str| format!(r#", "grants": {{"dirs": ["{}::/d"]}}"#, at(path));
    assert_eq!(judged(&policy, &grant("root")), "");
    let said = judged(&policy, &grant("root/link"));
    let leads = format!("which leads to {}", at("out"));
    assert!(said.contains(&leads), "{said}");
}

#[test]
fn what_is_said_counts_and_not_where() {
    let one = "[ceiling]\nfuel = 1\n[ceiling.grants]\nhttp = [\"https://a.example\"]\nenv = true\n\
        [[ceiling.jobs]]\nmatch = \"a\"\nfuel = 2\n[secrets]\nenv_prefix = \"A_\"\n[host]\nmax_memory = \"1GiB\"\n";
    let changed = |from: &str, to: &str| {
        assert!(one.contains(from));
        let changed = policy(one).changed_sections(&policy(&one.replace(from, to)));
        changed.join(" ")
    };
    assert_eq!(changed("fuel = 1\n", "# more\nfuel = 1\n"), "");
    for (from, to) in [
        ("fuel = 1", "fuel = 3"),
        ("fuel = 1", "fuel = 1\nmemory = \"1MiB\""),
        ("a.example", "b.example"),
        ("env = true", "env = false"),
        ("env = true\n", ""),
        ("match = \"a\"", "match = \"b\""),
        ("fuel = 2", "fuel = 3"),
    ] {
        assert_eq!(changed(from, to), "[ceiling]", "{to}");
    }
    assert_eq!(changed("A_", "B_"), "[secrets]");
    assert_eq!(
        changed("1GiB\"", "2GiB\"\n[plugins]\nmax_size = \"1MiB\""),
        "[plugins] [host]"
    );
    let place = policy(one)
        .max_memory_place()
        .map(|place| format!("{place:#}"));
    assert_eq!(place.as_deref(), Some("quarterjack.toml:12"));
    assert_eq!(Policy::default().max_memory_place(), None);
}

#[test]
fn verdicts_name_the_line() {
    let text = "[ceiling.grants]\nhttp = [\n  \"https://*.example.com\",\n]\n\
        sockets = true\naddresses = []\nstate = false\nenv = [\"A\"]\ndirs = [\"/no/such\"]\n";
    let ceiling = policy(text).ceiling_for(&"job".into());
    let verdict = |need: Need| ceiling.verdict(&need).text().unwrap();
    let permits = |line: &str| format!("the operator's ceiling permits it ({line})");
    let forbids = |line: &str| format!("the operator's ceiling forbids it ({line})");
    let at = |line: u32| format!("quarterjack.toml:{line}");
    let http = |origin: &str| verdict(Need::Http(origin.into()));
    assert_eq!(http("https://a.example.com"), permits(&at(3)));
    assert_eq!(http("https://example.org"), forbids(&at(2)));
    assert_eq!(http("no origin"), forbids(&at(2)));
    let socket = |endpoint: &str| verdict(Need::Socket(endpoint.into()));
    assert_eq!(socket("tcp://db.example.com:1"), permits(&at(5)));
    assert_eq!(socket("tcp://127.0.0.1:1"), forbids(&at(6)));
    let address = |of| {
        verdict(Need::Address {
            ip: "10.0.0.5".parse().unwrap(),
            beside: "origins",
            of,
        })
    };
    assert_eq!(address("http"), forbids(&at(6)));
    assert_eq!(verdict(Need::State), forbids(&at(7)));
    assert_eq!(verdict(Need::Env("A".into())), permits(&at(8)));
    assert_eq!(verdict(Need::Env("B".into())), forbids(&at(8)));
    let dir = |host: &str, access| {
        verdict(Need::Dir {
            host: host.into(),
            guest: "/d".into(),
            access,
        })
    };
    assert_eq!(dir("/no/such/x", Access::ReadOnly), permits(&at(9)));
    assert_eq!(dir("/no/such/x", Access::ReadWrite), forbids(&at(9)));
    assert_eq!(dir("/", Access::ReadOnly), forbids(&at(9)));
    // What the file does not say is allowed.
    let secret = verdict(Need::Secret("x".into()));
    assert_eq!(secret, permits("quarterjack.toml"));
    let none = Ceiling::default().verdict(&Need::State);
    assert_eq!((none.text(), none), (None, Verdict::NoCeiling));
}

#[test]
fn a_directory_is_confined_where_roots_are_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    let grant = |path: PathBuf| crate::job::DirGrant {
        host: path,
        guest: "/d".into(),
        access: Access::ReadOnly,
        quota: None,
        beneath: Vec::new(),
    };
    let text = format!("[ceiling.grants]\ndirs = [{:?}]\n", dir.path());
    let ceiling = policy(&text).ceiling_for(&"job".into());
    let inside = ceiling.confine(&grant(dir.path().join("in")));
    assert!(inside.unwrap().unwrap().open().is_ok());
    let error = ceiling.confine(&grant("/".into())).unwrap_err();
    assert!(error.contains("quarterjack.toml:2:8"), "{error}");
    assert_eq!(Ceiling::default().confine(&grant("/".into())), Ok(None));
}

proptest! {
    /// No text makes it panic or loop, and every problem is at a place of the text.
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        if let Err(problems) = parse(&text) {
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn texts_that_are_nearly_right_are_read_or_refused(
        lines in prop::collection::vec(
            prop_oneof![
                Just("[ceiling]"), Just("[ceiling.grants]"), Just("[[ceiling.jobs]]"),
                Just("[secrets]"), Just("match = \"a*\""), Just("timeout = \"5m\""),
                Just("dirs = [\"/a\", \"/b:rw\"]"), Just("http = [\"https://*\", 5]"),
                Just("state = { keys = 5 }"), Just("grants.env = []"), Just("order = [\"env\"]"),
                Just("a.b.c = 1"), Just("fuel = 0x_1"), Just("\"\" = {}"),
            ],
            0..8,
        )
    ) {
        if let Err(problems) = parse(&lines.join("\n")) {
            prop_assert!(!problems.is_empty());
        }
    }
}

#[test]
fn deep_and_long_texts_are_refused_in_time() {
    for text in [
        "[".repeat(100_000),
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("{} = 1", vec!["a"; 100_000].join(".")),
        format!("[{}]", vec!["a"; 100_000].join(".")),
        "[ceiling]\n".repeat(20_000),
        "x\n".repeat(100_000),
        format!("[ceiling.grants]\nenv = [{}]", "\"\",".repeat(50_000)),
    ] {
        assert!(!parse(&text).unwrap_err().is_empty());
    }
}

#[test]
fn sources_are_read_with_their_paths_beside_the_file() {
    let policy = policy(
        r#"
[[source]]
name = "local"
file = "jobs/local.json"

[[source]]
name = "dropped"
directory = "/srv/jobs.d"
allow_mass_removal = true

[[source]]
name = "central"
http = "https://config.example.com/jobs.json?rev=main#top"
refresh = "30s"
token = "central-token"
timeout = "5s"
max_size = "1MiB"

[[source]]
name = "rows"
sql = "sqlite:jobs.db"
query = "SELECT definition FROM jobs"

[[source]]
name = "shared"
sql = "postgres://scheduler@db.example.com/jobs?sslmode=require"
query = "SELECT * FROM jobs"
password = "db-password"
channel = "jobs"
"#,
    );
    let [local, dropped, central, rows, shared] = &policy.sources[..] else {
        panic!("{:?}", policy.sources)
    };
    assert_eq!(format!("{:#}", local.place), "quarterjack.toml:2");
    assert_eq!(
        local.origin,
        SourceOrigin::File("/etc/quarterjack/jobs/local.json".into())
    );
    assert_eq!((local.refresh, local.allow_mass_removal), (None, false));
    assert_eq!(
        dropped.origin,
        SourceOrigin::Directory("/srv/jobs.d".into())
    );
    assert!(dropped.allow_mass_removal);
    let SourceOrigin::Http(http) = &central.origin else {
        panic!("{central:?}")
    };
    assert_eq!(
        http.url.as_str(),
        "https://config.example.com/jobs.json?rev=main"
    );
    assert_eq!(http.token.as_deref(), Some("central-token"));
    assert_eq!(
        (http.timeout, http.max_size),
        (Duration::from_secs(5), 1 << 20)
    );
    assert_eq!(http.base, Path::new("/etc/quarterjack"));
    assert_eq!(central.refresh, Some(Duration::from_secs(30)));
    let SourceOrigin::Sql(sql) = &rows.origin else {
        panic!("{rows:?}")
    };
    assert_eq!(&*sql.url, "sqlite:jobs.db");
    assert_eq!(sql.base, Path::new("/etc/quarterjack"));
    let SourceOrigin::Sql(sql) = &shared.origin else {
        panic!("{shared:?}")
    };
    assert_eq!(sql.password.as_deref(), Some("db-password"));
    assert_eq!(sql.channel.as_deref(), Some("jobs"));
}

#[test]
fn hooks_are_read_and_their_mistakes_told() {
    let hooks = policy(
        "[[hook]]\nname = \"a\"\nurl = \"https://example.com/x?key=1\"\n\
         [[hook]]\nname = \"b\"\nurl = \"http://127.0.0.1/\"\nevents = [\"run.*\", \"job.rejected\"]\n\
         jobs = [\"db-*\"]\nfailures_only = true\nsecret = \"hook\"\ntimeout = \"3s\"\nattempts = 2\n",
    )
    .hooks;
    let [usual, other] = &hooks[..] else {
        panic!("{hooks:?}")
    };
    assert!(usual.wants("run.finished", Some(&"any".into())));
    assert!(!usual.wants("run.started", Some(&"any".into())));
    assert_eq!((usual.attempts, usual.timeout.as_secs()), (12, 10));
    assert!(!usual.failures_only && usual.secret.is_none());
    assert!(other.wants("run.skipped", Some(&"db-1".into())) && other.failures_only);
    assert!(!other.wants("run.skipped", Some(&"web".into())));
    assert!(other.wants("job.rejected", None));
    assert_eq!(other.secret.as_deref(), Some("hook"));

    let problems = parse(
        "[[hook]]\n[[hook]]\nname = \"a b\"\nurl = \"ftp://x\"\nevents = [\"run.finish\", 3]\njobs = []\n\
         timeout = \"1h\"\nattempts = 0\nsecret = \"a/b\"\n[[hook]]\nname = \"c\"\nurl = \"https://u:p@x\"\nevent = []\n",
    )
    .unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    quarterjack.toml:1:1: the hook has no name: add name = "on-call": it is what events and errors call it
    quarterjack.toml:1:1: the hook does not say where events are sent: add url = "https://example.com/hooks/quarterjack"
    quarterjack.toml:3:8: "a b" is no name of a hook: letters, digits, `-`, `_` and `.`, at most 64 bytes
    quarterjack.toml:4:7: `url`: no ftp is spoken here: write http:// or https://
    quarterjack.toml:5:11: there is no event "run.finish": did you mean `run.finished`?
    quarterjack.toml:5:25: a pattern of `events` is a string, not a number
    quarterjack.toml:6:8: `jobs` is empty, so that the hook would hear of nothing: leave it out for the usual ones
    quarterjack.toml:7:11: `timeout` "1h" is above the maximum of every host: at most 1 min
    quarterjack.toml:8:12: `attempts` 0 is out of range: `attempts` is at least 1
    quarterjack.toml:9:10: `secret` names a secret, and no secret has such a name: letters, digits, `_`, `-` and `.`, the last not first
    quarterjack.toml:12:7: `url`: a user or a password in a URL would be told in errors and logs: put a bearer token into a secret, and name it with `token`
    quarterjack.toml:13:1: unknown key "event" in [[hook]]: did you mean `events`?
    "#);
}

#[test]
fn every_mistake_in_a_source_is_told_at_its_place() {
    let problems = parse(
        r#"
[[source]]
file = "a.json"

[[source]]
name = "host"
file = "a.json"

[[source]]
name = "nowhere"
refresh = "0s"

[[source]]
name = "both"
file = "~/jobs.json"
directory = "jobs.d"
token = "x-token"

[[source]]
name = "far away"
http = "https://user:hunter22@example.com/"
timeout = "1h"

[[source]]
name = "central"
http = "example.com/jobs.json"
token = "ghp hunter22"
max_size = "1GiB"

[[source]]
name = "central"
file = "https://example.com/jobs.json"
querry = "SELECT 1"

[[source]]
name = "rows"
sql = "mysql://db/jobs"

[[source]]
name = "shared"
sql = "postgres://scheduler:hunter22@db/jobs"
query = ""
allow_mass_removal = "true"
"#,
    )
    .unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let told = told.join("\n");
    assert!(!told.contains("hunter22"), "{told}");
    insta::assert_snapshot!(told, @r#"
    quarterjack.toml:2:1: the source has no name: add name = "central": it is what events and errors call it
    quarterjack.toml:6:8: "host" is the name of the definitions that the host keeps itself: give this one another name
    quarterjack.toml:9:1: the source does not say where its jobs are: add one of `file`, `directory`, `http` and `sql`
    quarterjack.toml:11:11: `refresh` "0s" is out of range: `refresh` is above 0
    quarterjack.toml:15:8: `~` is not expanded here: write the path out
    quarterjack.toml:16:1: a source has `file` or `directory`, not both: make a [[source]] of its own of it
    quarterjack.toml:17:1: `token` says nothing of a source with `file`: it goes with `http`
    quarterjack.toml:20:8: "far away" is no name of a source: letters, digits, `-`, `_` and `.`, at most 64 bytes
    quarterjack.toml:21:8: `http`: a user or a password in a URL would be told in errors and logs: put a bearer token into a secret, and name it with `token`
    quarterjack.toml:22:11: `timeout` "1h" is above the maximum of every host: at most 10 min
    quarterjack.toml:26:8: `http`: it is no URL: write one such as "https://example.com/jobs.json"
    quarterjack.toml:27:9: `token` names a secret, and no secret has such a name: letters, digits, `_`, `-` and `.`, the last not first
    quarterjack.toml:28:12: `max_size` "1GiB" is above the maximum of every host: at most 256 MiB
    quarterjack.toml:32:8: `file` is a path, not a URL: it goes with `http`
    quarterjack.toml:33:1: unknown key "querry" in [[source]]: did you mean `query`?
    quarterjack.toml:35:1: the source does not say which rows are its jobs: add query = "SELECT definition FROM jobs"
    quarterjack.toml:37:7: `sql`: it is no URL of a database: write "sqlite:jobs.db" or "postgres://user@host/database"
    quarterjack.toml:41:7: `sql`: a password would be told in errors and logs: put it into a secret, and name it with `password`
    quarterjack.toml:42:9: `query` is empty
    quarterjack.toml:43:22: `allow_mass_removal` is true or false, not a string: write true without quotes
    "#);
}

#[test]
fn one_pair_of_brackets_makes_no_list() {
    let problems = parse("[source]\nname = \"a\"\nfile = \"a.json\"\n").unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(
        problems[0].to_string(),
        "quarterjack.toml:1:1: [[source]] is a list of tables, not a table: write [[source]] in two pairs of brackets"
    );
}

#[test]
fn a_source_that_is_said_otherwise_is_told_with_its_place() {
    let source = |name: &str, rest: &str| {
        format!("[[source]]\nname = \"{name}\"\nfile = \"{name}.json\"\n{rest}\n")
    };
    let place = |before: &str, after: &str| {
        let place = policy(after).changed_source(&policy(before));
        place.map(|place| format!("{place:#}"))
    };
    let (a, b) = (source("a", ""), source("b", ""));
    let both = format!("{a}{b}");
    assert_eq!(place(&both, &both), None);
    // Where it stands does not count.
    assert_eq!(place(&both, &format!("# sources\n\n{a}\n{b}")), None);
    assert_eq!(place(&a, &both).as_deref(), Some("quarterjack.toml:5"));
    assert_eq!(place(&both, &a).as_deref(), Some("quarterjack.toml"));
    let seldom = format!("{a}{}", source("b", "refresh = \"1h\""));
    assert_eq!(place(&both, &seldom).as_deref(), Some("quarterjack.toml:5"));
    let sections = policy(&both).changed_sections(&policy(&seldom));
    assert_eq!(sections, ["[[source]]"]);
}
