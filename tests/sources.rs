//! Where definitions come from besides one file: directories, and files beside the plugins.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::support::{Event, Host, Project};

/// Only the system's word that a file has changed makes a host with this re-read it.
const NEVER: [&str; 2] = ["--refresh", "1h"];

fn one(id: &str) -> String {
    json!([{ "id": id, "component": "hello.wasm", "trigger": "@every 300ms" }]).to_string()
}

/// Waits until a source has been followed.
#[track_caller]
fn reloaded(host: &Host, from: usize, source: &str) -> Event {
    host.wait(&format!("{source} to be followed"), from, |event| {
        event.is("jobs.reloaded") && event.text("source").ends_with(source)
    })
}

#[test]
fn dropping_two_files_is_all_it_takes() {
    let project = Project::with(&["hello"]);
    project.write("plugins/hello.job.json", r#"{"trigger": "@every 300ms"}"#);
    // There is no job file at all.
    let host = project.serve(&NEVER);
    let added = host.event("job.added", "hello");
    assert_eq!(added.text("origin"), "plugins/hello.job.json:1");
    assert_eq!(added.text("plugin"), "hello.wasm");
    host.record("hello").succeeded();

    // Others come while it runs, the definition first.
    project.write(
        "plugins/greet.job.json",
        "// A second one\n{\"id\": \"greeter\", \"trigger\": \"@every 300ms\", \"params\": {\"name\": \"you\"}}",
    );
    host.event("job.rejected", "greeter");
    fs::copy(
        project.path("plugins/hello.wasm"),
        project.path("plugins/greet.wasm"),
    )
    .unwrap();
    host.record("greeter").succeeded();

    // And go again.
    let mark = host.mark();
    fs::remove_file(project.path("plugins/greet.job.json")).unwrap();
    host.event_from(mark, "job.removed", "greeter");
    host.stop().in_order();

    project.run(&["check"]).exits(0);
    let next = project.run(&["next", "--json"]).exits(0).json();
    assert_eq!(next["next"][0]["job"], "hello");
    project.run(&["run", "hello"]).exits(0);
    let plan = project.run(&["plan", "--to", "+1s", "--json"]).exits(0);
    assert!(plan.stdout.contains("hello"), "{plan:?}");
    project
        .run(&["explain", "helo"])
        .exits(1)
        .says(&["no job `helo` in plugins/*.job.json: did you mean `hello`?"]);
}

#[test]
fn the_files_of_a_directory_own_their_jobs_together() {
    let project = Project::with(&["hello"]);
    project.write("jobs.d/10-a.json", one("a"));
    project.write("jobs.d/20-b.json", one("b"));
    project.write("jobs.d/20-b.json~", one("backup"));
    // Found without being named.
    let host = project.serve(&NEVER);
    host.record("a").succeeded();
    let first = host.record("b").instant("scheduled_at");

    // A broken file is told of, keeps its jobs, and harms no other file.
    let mark = host.mark();
    project.write("jobs.d/10-a.json", "[{");
    project.write("jobs.d/30-c.json", one("c"));
    let rejected = host.wait("10-a.json to be refused", mark, |event| {
        event.is("job.rejected")
    });
    assert!(
        rejected.problem()["file"]
            .as_str()
            .unwrap()
            .ends_with("10-a.json")
    );
    host.event_from(mark, "job.added", "c");
    let mark = host.mark();
    host.fresh_record(mark, "a").succeeded();

    // A job that goes to another file is the same job, to the tick.
    let mark = host.mark();
    let both = json!([
        { "id": "a", "component": "hello.wasm", "trigger": "@every 300ms" },
        { "id": "b", "component": "hello.wasm", "trigger": "@every 300ms" },
        { "id": "d", "component": "hello.wasm", "trigger": "@yearly" }
    ]);
    project.write("jobs.d/20-b.json", "[]");
    project.replace("jobs.d/10-a.json", both.to_string());
    host.event_from(mark, "job.added", "d");
    let mark = host.mark();
    let later = host.fresh_record(mark, "b").instant("scheduled_at");
    let micros = (later - first).num_microseconds().unwrap();
    assert_eq!(micros % 300_000, 0);

    // An id that two files have stays where it is, and the other one is told so.
    let mark = host.mark();
    project.write("jobs.d/00-thief.json", one("c"));
    let refused = host.event_from(mark, "job.rejected", "c");
    assert!(refused.text("error").contains("00-thief.json"), "{refused}");
    assert!(
        refused
            .text("error")
            .contains("is taken by a job of jobs.d/30-c.json"),
        "{refused}"
    );
    // Its owner gone, it is free.
    let mark = host.mark();
    fs::remove_file(project.path("jobs.d/30-c.json")).unwrap();
    reloaded_or_moved(&host, mark);
    project.run(&["check"]).exits(0);
    host.stop().in_order();
}

/// Waits until a run of `c` starts: under which definition does not show in it.
#[track_caller]
fn reloaded_or_moved(host: &Host, from: usize) {
    host.fresh_record(from, "c").succeeded();
    let gone = host
        .events()
        .iter()
        .skip(from)
        .any(|event| event.of("job.removed", "c"));
    assert!(!gone, "the job of the other file takes its place");
}

#[test]
fn a_directory_that_kubernetes_mounts_is_followed() {
    let project = Project::with(&["hello"]);
    for (version, id) in [("v1", "a"), ("v2", "b")] {
        project.write(&format!("map/..{version}/jobs.json"), one(id));
    }
    let map = project.path("map");
    symlink("..v1", map.join("..data")).unwrap();
    symlink("..data/jobs.json", map.join("jobs.json")).unwrap();
    let host = project.serve(&["map", "--refresh", "1h", "--allow-mass-removal"]);
    host.record("a").succeeded();
    symlink("..v2", map.join("..data_tmp")).unwrap();
    fs::rename(map.join("..data_tmp"), map.join("..data")).unwrap();
    host.event("job.removed", "a");
    host.record("b").succeeded();
    host.stop().in_order();
}

#[test]
fn an_emptied_source_is_read_twice_before_its_jobs_go() {
    let project = Project::with(&["hello"]);
    let jobs = json!([
        { "id": "a", "component": "hello.wasm", "trigger": "@every 300ms" },
        { "id": "b", "component": "hello.wasm", "trigger": "@yearly" }
    ]);
    project.jobs(&jobs);
    let host = project.serve(&NEVER);
    host.record("a").succeeded();

    // A slip that is mended at once costs nothing.
    let mark = host.mark();
    project.write("jobs.json", "[]");
    let held = host.wait("the removal to be held back", mark, |event| {
        event.is("removal.held")
    });
    assert_eq!(held.text("source"), "jobs.json");
    assert_eq!((held.number("removed"), held.number("jobs")), (2, 2));
    project.jobs(&jobs);
    let mark = host.mark();
    host.fresh_record(mark, "a").succeeded();
    assert!(!host.events().iter().any(|event| event.is("job.removed")));

    // One that stays is meant.
    let mark = host.mark();
    project.write("jobs.json", "[]");
    host.wait("the removal to be held back", mark, |event| {
        event.is("removal.held")
    });
    host.event_from(mark, "job.removed", "a");
    let summary = reloaded(&host, mark, "jobs.json");
    assert_eq!(summary.number("removed"), 2);
    host.stop().in_order();
}

#[test]
fn what_is_wrong_with_a_directory_is_said() {
    let project = Project::with(&["hello"]);
    project
        .run(&["serve", "no.d"])
        .exits(1)
        .says(&["no.d: no such file"]);
    fs::create_dir(project.path("jobs.d")).unwrap();
    // An empty one is no mistake.
    let host = project.serve(&["jobs.d", "--refresh", "200ms"]);
    let mark = host.mark();
    fs::remove_dir(project.path("jobs.d")).unwrap();
    let told = host.wait("the directory to be missed", mark, |event| {
        event.is("job.rejected")
    });
    assert!(
        told.text("error").contains("jobs.d: no such file"),
        "{told}"
    );
    project.write("jobs.d/a.json", one("a"));
    host.record("a").succeeded();
    host.stop().in_order();
    project.write("jobs.d/b.json", one("a"));
    project
        .run(&["check"])
        .exits(1)
        .says(&["jobs.d/b.json", "is taken by a job of jobs.d/a.json"]);
}

#[test]
fn what_a_source_said_last_outlives_the_host() {
    let project = Project::with(&["hello"]);
    let serve = || project.serve(&["--refresh", "300ms", "jobs.d"]);
    project.write("jobs.d/a.json", one("a"));
    project.write("jobs.d/b.json", one("b"));
    let host = serve();
    host.record("a").succeeded();
    host.stop().in_order();

    // One file is broken by the time the host comes back.
    project.write("jobs.d/a.json", "[{");
    let host = serve();
    let told = host.wait("a.json to be refused", 0, |event| event.is("job.rejected"));
    assert!(told.text("error").contains("a.json"), "{told}");
    host.record("a").succeeded();
    host.record("b").succeeded();
    host.stop().in_order();

    // The whole directory is gone.
    fs::rename(project.path("jobs.d"), project.path("away")).unwrap();
    let host = serve();
    let told = host.wait("the directory to be missed", 0, |event| {
        event.is("job.rejected")
    });
    assert!(told.text("error").contains("no such"), "{told}");
    host.record("a").succeeded();
    fs::rename(project.path("away"), project.path("jobs.d")).unwrap();
    project.write("jobs.d/a.json", one("c"));
    host.record("c").succeeded();
    host.stop().in_order();

    // It has been emptied.
    fs::remove_file(project.path("jobs.d/a.json")).unwrap();
    fs::remove_file(project.path("jobs.d/b.json")).unwrap();
    let host = serve();
    let held = host.wait("the removal to be held back", 0, |event| {
        event.is("removal.held")
    });
    assert_eq!((held.number("removed"), held.number("jobs")), (2, 2));
    host.event("job.added", "b");
    host.event("job.removed", "b");
    host.stop().in_order();

    // A host that keeps nothing knows of nothing.
    project.write("jobs.d/a.json", "[{");
    let host = project.serve(&["--ephemeral", "jobs.d"]);
    let stopped = host.stop().in_order();
    assert!(!stopped.events.iter().any(|event| event.is("job.added")));
}

/// A web server with one job file, which may be changed.
struct Web {
    address: SocketAddr,
    /// The status and the text that are answered.
    answer: Arc<Mutex<(&'static str, String)>>,
}

impl Web {
    /// A server of a text, for whoever has the token.
    fn new(text: String, token: &'static str) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(("200 OK", text)));
        let answered = answer.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<String> = lines
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .map(|line| line.to_ascii_lowercase())
                    .collect();
                let (status, text) = answered.lock().unwrap().clone();
                let tag = format!("\"{}\"", text.len());
                let is_allowed = head.contains(&format!("authorization: bearer {token}"));
                let is_known = head.contains(&format!("if-none-match: {tag}"));
                let (status, text) = match (is_allowed, is_known) {
                    (false, _) => ("401 Unauthorized", String::new()),
                    (true, true) if status == "200 OK" => ("304 Not Modified", String::new()),
                    (true, _) => (status, text),
                };
                let length = text.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nETag: {tag}\r\nContent-Length: {length}\r\n\r\n{text}"
                );
            }
        });
        Web { address, answer }
    }

    fn set(&self, status: &'static str, text: String) {
        *self.answer.lock().unwrap() = (status, text);
    }
}

#[test]
fn what_a_server_says_is_followed() {
    const TOKEN: &str = "t0ken-of-the-test";
    let mut project = Project::with(&["hello"]);
    let web = Web::new(one("a"), TOKEN);
    let source = |rest: &str| {
        format!(
            "[[source]]\nname = \"central\"\nhttp = \"http://{}/jobs.json\"\n\
             token = \"central\"\nrefresh = \"200ms\"\n{rest}",
            web.address
        )
    };
    project.write("quarterjack.toml", source(""));
    // Whoever asks without the token is told what it lacks.
    project
        .run(&["check"])
        .exits(1)
        .says(&["QUARTERJACK_SECRET_CENTRAL"]);
    project.set("QUARTERJACK_SECRET_CENTRAL", TOKEN);
    project.run(&["check"]).exits(0);
    let next = project.run(&["next", "--json"]).exits(0).json();
    assert_eq!(next["next"][0]["job"], "a");
    project.run(&["run", "a"]).exits(0);
    project.run(&["explain", "a"]).exits(0);

    // There is no job file, and none is missed.
    let host = project.serve(&NEVER);
    let added = host.event("job.added", "a");
    let origin = format!("http://{}/jobs.json:1", web.address);
    assert_eq!(added.text("origin"), origin);
    reloaded(&host, 0, "central");
    host.record("a").succeeded();

    // Changed, and followed at the pace of the source.
    let mark = host.mark();
    let both = json!([
        { "id": "a", "component": "hello.wasm", "trigger": "@every 300ms" },
        { "id": "b", "component": "hello.wasm", "trigger": "@every 300ms" }
    ]);
    web.set("200 OK", both.to_string());
    host.event_from(mark, "job.added", "b");

    // Broken for a while, which is told once and harms nobody.
    let mark = host.mark();
    web.set("500 Internal Server Error", String::new());
    let told = host.wait("the failure to be told", mark, |event| {
        event.is("job.rejected")
    });
    assert!(
        told.text("error")
            .contains("is answered with 500 Internal Server Error"),
        "{told}"
    );
    let mark = host.mark();
    host.fresh_record(mark, "b").succeeded();

    // Of what is said of the sources now, the next host will hear.
    let mark = host.mark();
    project.replace("quarterjack.toml", source("timeout = \"5s\"\n"));
    let changed = host.wait("the change", mark, |event| event.is("config.changed"));
    let late = json!([{ "setting": "[[source]]", "place": "quarterjack.toml:1" }]);
    assert_eq!(changed.0["restart"], late);

    let mark = host.mark();
    web.set("200 OK", one("c"));
    // Most of its jobs are gone, which is looked at twice.
    host.wait("the removal to be held back", mark, |event| {
        event.is("removal.held")
    });
    host.event_from(mark, "job.added", "c");
    host.event_from(mark, "job.removed", "b");
    let events = host.events();
    host.stop().in_order();
    let all: Vec<String> = events.iter().map(ToString::to_string).collect();
    assert!(!all.concat().contains(TOKEN));
}

#[test]
fn a_source_that_may_is_emptied_at_once() {
    let project = Project::with(&["hello"]);
    project.write("conf/local.json", one("a"));
    project.write(
        "conf/hosts.toml",
        "[[source]]\nname = \"local\"\nfile = \"local.json\"\nallow_mass_removal = true\n",
    );
    // Beside the configuration, wherever the host works.
    let host = project.serve(&["--config", "conf/hosts.toml", "--refresh", "1h"]);
    host.record("a").succeeded();
    let mark = host.mark();
    project.write("conf/local.json", "[]");
    host.event_from(mark, "job.removed", "a");
    assert!(!host.events().iter().any(|event| event.is("removal.held")));
    let summary = reloaded(&host, mark, "local");
    assert_eq!(summary.text("source"), "local");
    host.stop().in_order();
}

#[test]
fn a_url_stands_where_a_job_file_does() {
    let project = Project::with(&["hello"]);
    let url = |path: &str| format!("http://127.0.0.1:1/{path}");
    // Nobody listens at that port; what is beside the plugins is there.
    project.write("plugins/hello.job.json", r#"{"trigger": "@every 300ms"}"#);
    let host = project.serve(&[&url("jobs.json?key=hunter22"), "--refresh", "200ms"]);
    let told = host.wait("the URL to be missed", 0, |event| event.is("job.rejected"));
    let error = told.text("error");
    assert!(
        error.contains("127.0.0.1:1 refuses the connection"),
        "{told}"
    );
    assert!(!error.contains("hunter22"), "{told}");
    host.record("hello").succeeded();
    host.stop().in_order();
    let refused = project.run(&["serve", "https://me:hunter22@example.com/"]);
    let refused = refused.exits(1).says(&["https://…: cannot be read"]);
    assert!(!refused.stderr.contains("hunter22"), "{refused:?}");
}

/// What has become of a job: the kind of each change and the keys that it says are others, the
/// newest first.
#[track_caller]
fn history(project: &Project, job: &str) -> Vec<String> {
    let listed = project.run(&["jobs", "history", job, "--json"]).exits(0);
    let change = |line: &str| {
        let change: Value = serde_json::from_str(line).unwrap();
        assert_eq!(change["job"], job);
        let fields = change["fields"].as_array().cloned().unwrap_or_default();
        let fields: Vec<String> = fields.iter().map(Value::to_string).collect();
        let kind = change["change"].as_str().unwrap();
        format!("{kind} {} {}", change["origin"], fields.join(" "))
    };
    listed.stdout.lines().map(change).collect()
}

#[test]
fn what_became_of_a_job_is_remembered() {
    let project = Project::with(&["hello"]);
    let job = |rest: &str| {
        let text = r#"{"id": "a", "component": "hello.wasm", "trigger": "@yearly""#;
        project.write("jobs.json", format!("[\n// The one.\n{text}{rest}}}]"));
    };
    job(r#", "version": 1"#);
    let host = project.serve(&NEVER);
    host.event("job.added", "a");
    job(r#", "version": 2, "args": ["x"]"#);
    host.event("job.updated", "a");
    host.stop().in_order();
    let until_now = [
        r#"updated "jobs.json:3" {"field":"version","before":"1","after":"2"} {"field":"args","after":"[\"x\"]"}"#,
        r#"added "jobs.json:3" "#,
    ];
    assert_eq!(history(&project, "a"), until_now);

    // As it was: a start of the host is no change.
    let host = project.serve(&NEVER);
    host.event("job.added", "a");
    host.stop().in_order();
    assert_eq!(history(&project, "a"), until_now);
    // It was changed meanwhile, and then it was removed, before a host saw either.
    job(r#", "version": 3"#);
    let host = project.serve(&NEVER);
    host.event("job.added", "a");
    host.stop().in_order();
    assert_eq!(history(&project, "a")[0], r#"updated "jobs.json:3" "#);
    project.write("jobs.json", "[]");
    let host = project.serve(&["--allow-mass-removal"]);
    host.wait("the host to start", 0, |event| event.is("host.started"));
    host.stop().in_order();
    assert_eq!(history(&project, "a")[0], r#"removed "" "#);
    assert_eq!(history(&project, "a").len(), 4);
    project
        .run(&["jobs", "history", "b"])
        .exits(1)
        .says(&["no job `b` in the history"]);
}

#[test]
fn how_the_sources_stand_is_told() {
    let project = Project::with(&["hello"]);
    project.run(&["sources"]).exits(1).says(&["no host"]);
    project.write("good.json", one("a"));
    project.write("odd.json", one("b"));
    let host = project.serve(&["good.json", "odd.json"]);
    host.event("job.added", "b");
    let told = |name: &str| {
        let listed = project.run(&["sources", "--json"]).exits(0).stdout;
        let mut sources = listed
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        sources.find(|it| it["source"] == name).unwrap()
    };
    let good = told("good.json");
    assert_eq!((&good["jobs"], &good["wrong"]), (&json!(1), &json!(0)));
    assert!(
        good["read_at"].is_string() && good["stale"].is_null(),
        "{good}"
    );
    assert_eq!(told("host")["jobs"], 0);
    // Broken, it keeps its job, and says since when and why.
    let mark = host.mark();
    project.write("odd.json", "[{");
    host.wait("the file to be refused", mark, |event| {
        event.is("job.rejected")
    });
    let odd = told("odd.json");
    assert_eq!(odd["jobs"], 1);
    let why = odd.to_string();
    assert!(why.contains("odd.json:1:"), "{why}");
    host.stop().in_order();
}

#[test]
fn the_rows_of_a_database_are_followed() {
    let project = Project::with(&["hello"]);
    let database = Connection::open(project.path("jobs.db")).unwrap();
    let run = |sql: &str| database.execute_batch(sql).unwrap();
    run("PRAGMA journal_mode = WAL;
         CREATE TABLE jobs (id TEXT PRIMARY KEY, component TEXT, trigger TEXT, version INTEGER);
         INSERT INTO jobs VALUES ('a', 'hello.wasm', '@every 300ms', 1),
           ('bad', 'hello.wasm', '61 * * * *', 1);");
    project.write(
        "quarterjack.toml",
        "[[source]]\nname = \"rows\"\nsql = \"sqlite:jobs.db\"\nquery = \"SELECT * FROM jobs\"\n",
    );
    let host = project.serve(&["--refresh", "1h"]);
    host.record("a").succeeded();
    let refused = host.event("job.rejected", "bad");
    for words in ["rows", "row 2", "`trigger`", "61"] {
        assert!(refused.text("error").contains(words), "{refused}");
    }
    // By version, by content, by removal: each is followed without waiting for the refresh.
    let mark = host.mark();
    run("UPDATE jobs SET version = 2 WHERE id = 'a';
         INSERT INTO jobs VALUES ('b', 'hello.wasm', '@yearly', 1)");
    let updated = host.event_from(mark, "job.updated", "a");
    assert_eq!(updated.0["fields"], json!(["version"]));
    host.event_from(mark, "job.added", "b");
    let mark = host.mark();
    run("DELETE FROM jobs WHERE id = 'b'");
    host.event_from(mark, "job.removed", "b");
    // What the table becomes is no reason to lose its jobs.
    let mark = host.mark();
    run("ALTER TABLE jobs RENAME TO old_jobs");
    host.wait("the query to fail", mark, |event| {
        event.is("job.rejected") && event.text("error").contains("no such table")
    });
    let sources = project.run(&["sources"]).exits(0).stdout;
    let rows = sources
        .lines()
        .find(|it| it.trim_start().starts_with("rows"))
        .unwrap();
    assert!(
        rows.contains("stale") && rows.contains("no such table"),
        "{rows}"
    );
    host.fresh_record(host.mark(), "a").succeeded();
    host.stop().in_order();
}
