//! The hostile suite: guests that each try one thing that must not work, all of them in one host,
//! beside a job that must not notice.
//!
//! Each is a file of `guests/hostile`. Its first lines say what it tries and what becomes of it:
//!
//! ```text
//! ;; Asks for all of a 32-bit memory at once.
//! ;; outcome: out_of_memory      one or several (a|b), if the engine may choose
//! ;; says: it wanted 4 GiB       what the reason holds
//! ;; denied: 200                 how often it was refused something
//! ;; rejected: `env.system`      instead: why its file is no plugin
//! ;; limits: {"timeout": "1s"}   of its job
//! ;; grants: {"state": true}
//! ```

use std::path::Path;

use serde_json::{Value, json};

use super::support::{Event, Host, Project, Record, repository};

/// A hostile guest and what is to become of it.
#[derive(Debug, Clone)]
struct Guest {
    name: String,
    text: String,
    outcomes: Vec<String>,
    says: String,
    denied: Option<u64>,
    rejected: Option<String>,
    limits: Value,
    grants: Value,
}

impl Guest {
    fn read(path: &Path) -> Guest {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut guest = Guest {
            name,
            text: String::new(),
            outcomes: Vec::new(),
            says: String::new(),
            denied: None,
            rejected: None,
            limits: json!({}),
            grants: json!({}),
        };
        for line in text.lines().map_while(|line| line.strip_prefix(";; ")) {
            let Some((key, value)) = line.split_once(": ") else {
                continue;
            };
            match key {
                "outcome" => guest.outcomes = value.split('|').map(str::to_owned).collect(),
                "says" => guest.says = value.to_owned(),
                "denied" => guest.denied = Some(value.parse().unwrap()),
                "rejected" => guest.rejected = Some(value.to_owned()),
                "limits" => guest.limits = serde_json::from_str(value).unwrap(),
                "grants" => guest.grants = serde_json::from_str(value).unwrap(),
                _ => {} // words of the description
            }
        }
        let expected = !guest.outcomes.is_empty() || guest.rejected.is_some();
        assert!(expected, "{}: what becomes of it is not said", guest.name);
        guest.text = text;
        guest
    }

    fn job(&self) -> Value {
        json!({
            "id": self.name,
            "component": format!("{}.wasm", self.name),
            "trigger": "@manually",
            "run_on_start": true,
            "limits": self.limits,
            "grants": self.grants,
        })
    }

    /// What is wrong with its end, if anything is.
    fn judge(&self, record: &Record) -> Option<String> {
        let outcome = record.text("outcome");
        let error = record.0["error"].as_str().unwrap_or_default();
        let denied = record.0["denied"].as_u64().unwrap_or(0);
        let fits = self.outcomes.iter().any(|expected| *expected == outcome)
            && error.contains(&self.says)
            && self.denied.is_none_or(|expected| expected == denied);
        (!fits).then(|| format!("{}: {outcome}, {denied} denied: {error}", self.name))
    }
}

fn guests() -> Vec<Guest> {
    let mut paths: Vec<_> = std::fs::read_dir(repository("tests/guests/hostile"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wat"))
        .collect();
    paths.sort();
    paths.iter().map(|path| Guest::read(path)).collect()
}

/// A job that does nothing, each second.
fn bystander() -> Value {
    json!({"id": "bystander", "component": "hello.wasm", "trigger": "* * * * * *"})
}

/// The instants for which the bystander ran, in order.
fn seconds(events: &[Event]) -> Vec<i64> {
    let runs = events
        .iter()
        .filter(|event| event.of("run.finished", "bystander"));
    runs.map(|event| {
        assert_eq!(event.0["outcome"], "succeeded", "{event}");
        event.instant("scheduled_at").timestamp()
    })
    .collect()
}

#[test]
fn nothing_gets_out_and_nobody_notices() {
    let guests = guests();
    assert!(guests.len() >= 60, "{} hostile guests", guests.len());
    let project = Project::with(&["hello"]);
    let mut jobs = vec![bystander()];
    for guest in &guests {
        let wasm =
            wat::parse_str(&guest.text).unwrap_or_else(|error| panic!("{}: {error}", guest.name));
        project.write(&format!("plugins/{}.wasm", guest.name), wasm);
        if guest.rejected.is_none() {
            jobs.push(guest.job());
        }
    }
    project.jobs(&Value::Array(jobs));
    let host = project.serve(&[]);

    let mut wrong = Vec::new();
    for guest in &guests {
        match &guest.rejected {
            Some(why) => {
                let plugin = format!("{}.wasm", guest.name);
                let event = host.plugin_from(0, "plugin.rejected", &plugin);
                let error = event.text("error");
                if !error.contains(why) {
                    wrong.push(format!("{}: rejected: {error}", guest.name));
                }
            }
            None => {
                let end = host.wait(&format!("an end of {}", guest.name), 0, |event| {
                    event.of("run.finished", &guest.name)
                        || event.of_plugin("plugin.rejected", &format!("{}.wasm", guest.name))
                });
                if end.is("plugin.rejected") {
                    wrong.push(format!("{}: rejected: {}", guest.name, end.text("error")));
                } else {
                    wrong.extend(guest.judge(&Record::from(end)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Once all is over, the bystander has not missed a second.
    host.records("bystander", 2);
    let seconds = seconds(&host.events());
    for pair in seconds.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "the bystander ran for {seconds:?}");
    }
    let skipped = host
        .events()
        .iter()
        .filter(|it| it.is("run.skipped"))
        .count();
    assert_eq!(skipped, 0);
}

#[test]
fn what_they_took_comes_back() {
    // The same few over and over: what one run leaves behind would add up.
    const ROUNDS: usize = 5;
    let names = [
        "grow-and-touch",
        "hoard-timers",
        "fill-the-state",
        "trap-in-start",
        "recurse",
        "return-from-nowhere",
        "flood-log",
    ];
    let guests: Vec<Guest> = guests()
        .into_iter()
        .filter(|guest| names.contains(&&*guest.name))
        .collect();
    assert_eq!(guests.len(), names.len());
    let project = Project::with(&["hello"]);
    let mut jobs = Vec::new();
    for guest in &guests {
        let wasm = wat::parse_str(&guest.text).unwrap();
        project.write(&format!("plugins/{}.wasm", guest.name), wasm);
        let mut job = guest.job();
        job["trigger"] = json!({"interval": "20ms"});
        // What is kept of a run for its record is not what is looked for here.
        job["limits"]["output"] = json!("1KiB");
        jobs.push(job);
    }
    project.jobs(&Value::Array(jobs));
    let host = project.serve(&[]);
    let round = |from: usize| {
        for guest in &guests {
            host.records(&guest.name, from);
        }
        (host.resident_kib(), host.open_files())
    };
    round(3);
    let (memory, files) = round(10);
    let (mut memory_after, mut files_after) = (memory, files);
    for more in 1..=ROUNDS {
        (memory_after, files_after) = round(10 + more * 10);
    }
    // Events and records of runs are kept, a few KiB each; what leaked would be MiBs a run.
    assert!(
        memory_after < memory + (96 << 10),
        "{memory} KiB became {memory_after} KiB"
    );
    assert!(
        files_after <= files + 2,
        "{files} files became {files_after}"
    );
    drop(host);
}

/// The host's memory and files while it runs.
trait Footprint {
    fn resident_kib(&self) -> u64;
    fn open_files(&self) -> usize;
}

impl Footprint for Host {
    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let digits = line.unwrap().trim().trim_end_matches(" kB");
        digits.parse().unwrap()
    }

    fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id()))
            .unwrap()
            .count()
    }
}
