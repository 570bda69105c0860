//! A running host is asked over TCP, by those who may and those who may not.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::Project;

/// A port that nobody uses.
fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Somebody who asks.
struct Asker {
    port: u16,
    token: Option<String>,
}

impl Asker {
    fn send(&self, line: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let token = self.token.as_ref();
        let token = token.map(|it| format!("authorization: Bearer {it}\r\n"));
        let request = format!(
            "{line} HTTP/1.1\r\nhost: localhost:{}\r\n{}{headers}content-length: {}\r\n\r\n{body}",
            self.port,
            token.unwrap_or_default(),
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// The status and what is said.
    fn ask(&self, line: &str, headers: &str, body: &str) -> (u16, Value) {
        let mut answer = String::new();
        let mut stream = self.send(line, headers, body);
        stream.read_to_string(&mut answer).unwrap();
        let status = answer[9..12].parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let body = serde_json::from_str(body);
        (status, body.unwrap_or(Value::String(answer)))
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.ask(&format!("GET {path}"), "", "")
    }
}

/// Reads from a stream until it has said something.
#[track_caller]
fn hears(stream: &mut TcpStream, heard: &mut String, word: &str) {
    while !heard.contains(word) {
        let mut some = [0; 4096];
        let length = stream.read(&mut some).unwrap();
        assert!(length > 0, "no {word} in {heard}");
        heard.push_str(&String::from_utf8_lossy(&some[..length]));
    }
}

fn project() -> Project {
    let project = Project::with(&["echo", "hello"]);
    project.jobs(&json!([
        { "id": "echo", "component": "echo.wasm", "trigger": "@yearly" },
        { "id": "hello", "component": "hello.wasm", "trigger": "@yearly" },
    ]));
    project
}

#[test]
fn who_has_no_token_may_look_and_who_has_one_may_do_what_it_says() {
    let project = project();
    let port = port();
    let _host = project.serve(&["--listen", &format!("127.0.0.1:{port}")]);
    let nobody = Asker { port, token: None };
    assert_eq!(nobody.get("/healthz").0, 200);
    assert_eq!(nobody.get("/readyz").0, 200);
    let (status, jobs) = nobody.get("/api/v1/jobs");
    assert_eq!((status, &jobs["jobs"][0]["job"]), (200, &json!("echo")));
    let (status, problem) = nobody.ask("POST /api/v1/jobs/echo/trigger", "", "{}");
    assert_eq!(status, 401, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("token add"));
    let (status, _) = nobody.ask("GET /api/v1/jobs", "origin: http://evil.example\r\n", "");
    assert_eq!(status, 403);

    let add = |name: &str, role: &str| {
        let told = project
            .run(&["token", "add", name, "--role", role])
            .exits(0);
        Asker {
            port,
            token: Some(told.stdout.trim().to_owned()),
        }
    };
    let (reader, operator) = (add("r", "read"), add("o", "operate"));
    let admin = add("a", "admin");
    assert_eq!(nobody.get("/api/v1/jobs").0, 401);
    assert_eq!(nobody.get("/healthz").0, 200);
    assert_eq!(reader.get("/api/v1/jobs").0, 200);
    let trigger = "POST /api/v1/jobs/echo/trigger";
    let (status, problem) = reader.ask(trigger, "", "{}");
    assert_eq!(status, 403, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("role operate"));
    let definition = r#"{"component": "hello.wasm", "trigger": "@daily"}"#;
    let put = "PUT /api/v1/jobs/mine";
    assert_eq!(operator.ask(put, "", definition).0, 403);

    // Two have looked at the same text; the second one to change it hears of it.
    let (status, first) = admin.ask(put, "", definition);
    assert_eq!(status, 201, "{first}");
    let seen = format!("if-match: \"{}\"\r\n", first["etag"].as_str().unwrap());
    let patch = "PATCH /api/v1/jobs/mine";
    let (status, told) = admin.ask(patch, &seen, r#"{"enabled": false}"#);
    assert_eq!((status, &told["was"]), (200, &json!("updated")), "{told}");
    let (status, told) = admin.ask(patch, &seen, r#"{"enabled": true}"#);
    assert_eq!(status, 412, "{told}");
    let (_, now) = reader.get("/api/v1/jobs/mine");
    let text: Value = serde_json::from_str(now["text"].as_str().unwrap()).unwrap();
    assert_eq!(text["enabled"], false);
    assert_eq!(text["trigger"], "@daily");
    // Who it was is remembered.
    assert_eq!(admin.ask("DELETE /api/v1/jobs/mine", "", "").0, 200);
    let history = project.run(&["jobs", "history", "mine", "--json"]).exits(0);
    let changes = history.stdout.lines().map(|line| {
        let change: Value = serde_json::from_str(line).unwrap();
        format!("{} by {}", change["change"], change["by"])
    });
    let changes: Vec<String> = changes.collect();
    let by = "by \"a\"";
    assert_eq!(changes.len(), 3, "{changes:?}");
    assert!(
        changes.iter().all(|change| change.ends_with(by)),
        "{changes:?}"
    );
    assert_eq!(admin.ask(put, "", definition).0, 201);
    let (status, next) = reader.get("/api/v1/jobs/mine/next?count=3");
    assert_eq!(status, 200);
    assert_eq!(next["next"].as_array().unwrap().len(), 3, "{next}");

    project.run(&["token", "rm", "o"]).exits(0);
    assert_eq!(operator.ask(trigger, "", "{}").0, 401);
    let list = project.run(&["token", "list", "--json"]).exits(0).stdout;
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(!list.contains(&admin.token.unwrap()[3..]));
}

#[test]
fn a_run_is_started_once_followed_and_found_again() {
    let project = project();
    let port = port();
    let secret = project.run(&["token", "add", "o", "--role", "operate"]);
    let asker = Asker {
        port,
        token: Some(secret.exits(0).stdout.trim().to_owned()),
    };
    let _host = project.serve(&["--listen", &format!("127.0.0.1:{port}")]);
    let mut events = asker.send("GET /api/v1/events", "accept: text/event-stream\r\n", "");
    let mut heard = String::new();
    hears(&mut events, &mut heard, ": here");
    assert!(heard.contains("content-type: text/event-stream"), "{heard}");

    let trigger = "POST /api/v1/jobs/hello/trigger";
    let key = "idempotency-key: one\r\n";
    let (status, first) = asker.ask(trigger, key, "{}");
    assert_eq!(status, 200, "{first}");
    assert_eq!(asker.ask(trigger, key, "{}"), (200, first.clone()));
    let (status, problem) = asker.ask(trigger, key, r#"{"params": 1}"#);
    assert_eq!(status, 422, "{problem}");
    let run = first["run"].as_str().unwrap();
    hears(&mut events, &mut heard, "\"run.finished\"");
    assert!(heard.contains(run), "{heard}");

    let (_, runs) = asker.get("/api/v1/runs?job=hello&outcome=succeeded&limit=5");
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "{runs}");
    assert_eq!(runs["runs"][0]["run"], run);
    let (status, record) = asker.get(&format!("/api/v1/runs/{run}"));
    assert_eq!((status, &record["outcome"]), (200, &json!("succeeded")));
    assert_eq!(record["cause"], "api");
    let path = format!("GET /api/v1/runs/{run}/logs");
    let mut lines = asker.send(&path, "accept: text/event-stream\r\n", "");
    let mut said = String::new();
    hears(&mut lines, &mut said, "event: end");
    assert!(said.contains("one line of log"), "{said}");

    let (status, again) = asker.ask(&format!("POST /api/v1/runs/{run}/rerun"), "", "");
    assert_eq!(status, 200, "{again}");
    let (_, page) = asker.get("/api/v1/runs?limit=1");
    let before = page["next"].as_str().unwrap();
    let (_, page) = asker.get(&format!("/api/v1/runs?limit=1&before={before}"));
    assert_eq!(page["runs"][0]["run"], run, "{page}");
    assert_eq!(page["next"], Value::Null);
    for wrong in ["limit=0", "limit=x", "outcome=good", "nope=1", "before=x"] {
        let (status, problem) = asker.get(&format!("/api/v1/runs?{wrong}"));
        assert_eq!(status, 400, "{wrong}: {problem}");
    }
}

#[test]
fn an_address_that_others_reach_is_refused_without_tokens() {
    let project = project();
    let serve = ["serve", "--listen"];
    project
        .run(&[&serve[..], &["0.0.0.0:0"]].concat())
        .exits(1)
        .says(&[
            "other machines can reach this address",
            "quarterjack token add",
        ]);
    project
        .run(&[&serve[..], &["here"]].concat())
        .exits(2)
        .says(&["such as 127.0.0.1:7171"]);
}
