//! WASI 0.3 commands, which hosts that are built with the feature `wasi-03` run: inside the same
//! limits and grants as all others.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};

use base64::Engine as _;
use serde_json::json;

use super::support::{Project, Record};

/// Runs the guest, which does what a letter says.
fn run(letter: &str, flags: &[&str]) -> Record {
    run_in(&Project::with(&[]), letter, flags)
}

fn run_in(project: &Project, letter: &str, flags: &[&str]) -> Record {
    project.record("command-03", &[flags, &["--", letter]].concat())
}

#[test]
fn what_it_prints_is_its_output_and_its_log() {
    let record = run("greet", &[]).succeeded();
    assert_eq!(record.text("output"), "hello from 0.3\n");
    assert_eq!(record.text("log"), "said along the way\n");
    assert_eq!(record.0["memory_peak_bytes"], 131_072);
    assert!(record.0["fuel_used"].as_u64().unwrap() > 100);
}

#[test]
fn it_has_its_parameters_its_environment_and_what_it_is_granted_of_it() {
    let record = run("input", &["--params", "{\"week\": 7}"]).succeeded();
    assert_eq!(record.text("output"), "{\"week\": 7}");
    let record = run("environment", &["--env", "LANG=C", "--fuel", "100000"]).succeeded();
    let lines: Vec<&str> = record.text("output").lines().collect();
    let own = format!("QUARTERJACK_RUN_ID={}", record.text("run"));
    assert!(
        lines.contains(&"LANG=C") && lines.contains(&&*own),
        "{lines:?}"
    );
    assert!(!record.text("output").contains("PATH="));
}

#[test]
fn its_secrets_are_blotted_out_of_what_it_streams() {
    let mut project = Project::with(&[]);
    project.set("QUARTERJACK_SECRET_API_KEY", "hunter2-hunter2");
    let flags = ["--secret-env", "TOKEN=api-key"];
    let record = run_in(&project, "environment", &flags).succeeded();
    assert!(record.text("output").contains("TOKEN=[secret api-key]\n"));
    assert!(!record.to_string().contains("hunter2"), "{record}");
}

#[test]
fn its_end_is_told_by_its_result_its_exit_code_or_its_trap() {
    run("fail", &[]).ended("failed", &["exit code 1"]);
    run("xit with 7", &[]).ended("failed", &["exit code 7"]);
    run("unreachable", &[]).ended("trapped", &["unreachable"]);
    run("quit without a result", &[]).ended("trapped", &["result"]);
}

#[test]
fn it_sleeps_and_works_on_after_its_result() {
    let record = run("nap", &[]).succeeded();
    assert_eq!(record.text("output"), "awake\n");
    assert!(record.0["duration_ms"].as_f64().unwrap() >= 20.0);
    let record = run("keep on", &[]).succeeded();
    assert_eq!(record.text("output"), "still at work\n");
}

#[test]
fn whatever_it_does_for_ever_ends_in_time() {
    for letter in ["spin", "yield", "wait for nothing", "Wait for a day"] {
        run(letter, &["--timeout", "300ms"]).ended("timed_out", &["300 ms"]);
    }
    run("spin", &["--fuel", "10M"]).ended("out_of_fuel", &["10 M"]);
    run("yield", &["--fuel", "10000"]).ended("out_of_fuel", &["10 k"]);
}

#[test]
fn one_of_many_parts_has_a_stack_for_each_that_waits() {
    let project = Project::with(&["command-03-composed", "command-03"]);
    let job = |id: &str, component: &str| {
        json!({
            "id": id, "component": component, "trigger": "@every 1s", "args": ["greet"],
            "limits": { "timeout": "500ms" },
        })
    };
    let names = ["one", "two", "three"];
    let mut jobs = names.map(|id| job(id, "command-03-composed.wasm")).to_vec();
    jobs.push(job("bystander", "command-03.wasm"));
    project.jobs(&json!(jobs));
    let host = project.serve(&["--max-running", "8"]);
    for name in names {
        for record in host.records(name, 2) {
            record.ended("timed_out", &["500 ms"]);
        }
    }
    for record in host.records("bystander", 2) {
        record.succeeded();
    }
    host.stop();
}

#[test]
fn it_holds_no_more_than_it_may() {
    for letter in [
        "hoard streams",
        "z: sleep in many tasks",
        "open standard output",
    ] {
        let flags = ["--handles", "100"];
        run(letter, &flags).ended(
            "failed",
            &["limit: 100 open files, sockets, streams, timers"],
        );
    }
    let record = run("bytes", &["--output", "1000"]).succeeded();
    assert_eq!(record.0["output_dropped_bytes"], 64 * 131_072 - 1000);
}

#[test]
fn what_is_only_there_in_wasi_0_2_is_denied_and_told() {
    let record = run("post", &[]);
    record.ended("failed", &["wasi:http of WASI 0.3 is not offered yet"]);

    let project = Project::with(&[]);
    project.write("data/file", "");
    let record = run_in(&project, "directories", &["--dir", "data::/data"]).succeeded();
    assert_eq!(record.text("output"), "0\n1\n", "in 0.3, and in 0.2");
    record.says_log("denied: wasi:filesystem/preopens@0.3.0 get-directories:");
    // Where none is granted, none is the truth.
    let record = run("directories", &[]).succeeded();
    assert_eq!(record.text("output"), "0\n0\n");
    assert!(record.0.get("denied").is_none(), "{record}");
}

/// A server that is said ping to and says pong, and what it heard.
fn pong() -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).unwrap();
        stream.write_all(b"pong\n").unwrap();
        String::from_utf8(heard.to_vec()).unwrap()
    });
    (port, heard)
}

#[test]
fn it_talks_to_the_peers_that_it_is_granted_and_to_no_others() {
    let (port, heard) = pong();
    let ping = |socket: &str| {
        let project = Project::with(&[]);
        let port = port.to_string();
        let flags = ["--socket", socket, "--", "tcp", &port];
        project.record("command-03", &flags).succeeded()
    };
    let record = ping(&format!("udp://127.0.0.1:{port}"));
    assert_eq!(record.text("output"), "listen\nlookup\nconnect\n");
    assert_eq!(
        record.text("log"),
        format!(
            "denied: listening for TCP connections: nobody can connect to a job\n\
             denied: looking localhost up; to allow it: \"grants\": {{ \"sockets\": [\"localhost:PORT\"] }}\n\
             denied: TCP connection to 127.0.0.1:{port}; to allow it: \"grants\": {{ \"sockets\": [\"tcp://127.0.0.1:{port}\"] }}\n"
        )
    );
    // By the name that it has looked up.
    let record = ping(&format!("tcp://localhost:{port}"));
    assert_eq!(record.text("output"), "listen\npong\n");
    assert_eq!(heard.join().unwrap(), "ping\n");

    let record = run("tcp", &[]).succeeded();
    assert_eq!(record.text("output"), "create\n");
    record.says_log(
        "denied: a TCP socket; to allow it: \"grants\": { \"sockets\": [\"tcp://HOST:PORT\"] }",
    );
    let record = run("Datagrams", &["--socket", "udp://127.0.0.1:9"]).succeeded();
    assert_eq!(record.text("output"), "1\n");
    record.says_log("denied: a UDP socket of WASI 0.3: those are not offered yet");
}

#[test]
fn a_deterministic_run_sleeps_no_time_and_is_the_same_again() {
    let project = Project::with(&["command-03"]);
    project.jobs(&json!([{
        "id": "race", "component": "command-03.wasm", "trigger": "@every 1h", "args": ["race"],
        "deterministic": true, "limits": { "timeout": "4h" },
    }]));
    let record = project.run(&["run", "race", "--json"]).exits(0).json();
    // The sleep of one hour is over before that of three, though it began after it; then come the
    // time and a random number.
    let output = base64::engine::general_purpose::STANDARD
        .decode(record["output"].as_str().unwrap())
        .unwrap_or_else(|error| panic!("{error}: {record}"));
    assert!(
        output.starts_with(b"1\n1\n3\n3\n") && output.len() == 24,
        "{output:?}"
    );
    project.write("record.json", record.to_string());
    let again = project.run(&["rerun", "--json", "--from", "record.json"]);
    let again = again.exits(0).json();
    assert_eq!(
        (&again["same"], &again["differs"]),
        (&json!(true), &json!([]))
    );
    assert_eq!(again["output"], record["output"]);

    run("race", &["--deterministic", "--timeout", "2h"]).ended("timed_out", &["2 h"]);
}

#[test]
fn it_runs_beside_the_others_of_a_host() {
    let project = Project::with(&["command-03", "command", "typed"]);
    let job = |id: &str, args: &[&str]| json!({ "id": id, "component": format!("{id}.wasm"), "trigger": "@every 1s", "args": args });
    project.jobs(&json!([job("command-03", &["greet"]), job("command", &[])]));
    let host = project.serve(&["--max-running", "2"]);
    for record in host.records("command-03", 2) {
        assert_eq!(record.succeeded().text("output"), "hello from 0.3\n");
    }
    for record in host.records("command", 2) {
        assert_eq!(record.succeeded().text("output"), "hello from 0.2\n");
    }
    let loaded = host.plugin_from(0, "plugin.loaded", "command-03.wasm");
    assert_eq!(loaded.text("shape"), "command-0.3");
    host.stop().in_order();
}
