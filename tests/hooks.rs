//! Those who are told of events over HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::Project;

/// Listens for events, and answers that they have arrived.
fn listener(address: &str) -> (u16, Receiver<(Vec<String>, Value)>) {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if tell.send(take(stream.unwrap())).is_err() {
                return;
            }
        }
    });
    (port, told)
}

fn take(stream: TcpStream) -> (Vec<String>, Value) {
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    let mut line = String::new();
    while stream.read_line(&mut line).unwrap() > 2 {
        head.push(line.trim_end().to_owned());
        line.clear();
    }
    let length = head
        .iter()
        .find_map(|it| it.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    stream.get_mut().write_all(answer).unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

/// As long as anything may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn whoever_wants_to_hear_of_failures_does_so_even_after_a_restart() {
    let mut project = Project::with(&["hello", "exit"]);
    project.jobs(&json!([
        { "id": "good", "component": "hello.wasm", "trigger": "@manually" },
        { "id": "bad", "component": "exit.wasm", "args": ["3"], "trigger": "@manually" },
        { "id": "other", "component": "exit.wasm", "args": ["3"], "trigger": "@manually" }
    ]));
    // Nobody listens there yet.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    project.set("QUARTERJACK_SECRET_HOOK", "open sesame");
    project.write(
        "quarterjack.toml",
        format!(
            "[[hook]]\nname = \"on-call\"\nurl = \"http://127.0.0.1:{port}/\"\njobs = [\"good\", \"b*\"]\n\
             failures_only = true\nsecret = \"hook\"\n[secrets]\nenv_prefix = \"QUARTERJACK_SECRET_\"\n"
        ),
    );
    let host = project.serve(&[]);
    for job in ["good", "other", "bad"] {
        project.run(&["trigger", job, "--wait"]);
    }
    host.stop().in_order();
    let (_, told) = listener(&format!("127.0.0.1:{port}"));
    let host = project.serve(&[]);
    let (head, event) = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        (&event["event"], &event["job"]),
        (&json!("run.finished"), &json!("bad"))
    );
    assert_eq!(event["outcome"], "failed");
    for header in [
        "webhook-id: 01",
        "webhook-timestamp: ",
        "webhook-signature: v1,",
    ] {
        assert!(head.iter().any(|line| line.starts_with(header)), "{head:?}");
    }
    assert!(!format!("{head:?} {event}").contains("sesame"));
    project.run(&["trigger", "bad", "--wait"]);
    let (_, next) = told.recv_timeout(PATIENCE).unwrap();
    assert_ne!(next["run"], event["run"]);
    assert!(told.try_recv().is_err(), "of no other run");
    host.stop().in_order();
}
