//! The hostile suite: guests that each try one thing that must not work, all of them in one host,
//! beside a job that must not notice.
//!
//! Each is a file of `guests/hostile`: text, or the source in C or Rust of a program that lies beside
//! it, as `guests/hostile/build` makes it. Its first lines say what it tries and what becomes of it:
//!
//! ```text
//! ;; Asks for all of a 32-bit memory at once.
//! ;; outcome: out_of_memory      one or several (a|b), if the engine may choose
//! ;; says: it wanted 4 GiB       what the reason holds
//! ;; denied: 200                 how often it was refused something
//! ;; rejected: `env.system`      instead: why its file is no plugin
//! ;; limits: {"timeout": "1s"}   of its job
//! ;; grants: {"state": true}     a directory of `data` is made for it
//! ;; prints: [secret             what its output holds
//! ```
//!
//! (with `//` before them in C and Rust).

use std::path::Path;

use serde_json::{Value, json};

use super::support::{Event, Host, Project, Record, repository};

/// What a guest may know, and tell nobody.
const SECRET: &str = "hush-hush/42+?";

/// The same in hexadecimal digits, in Base64, and with percent signs.
const CODED: [&str; 3] = [
    "687573682d687573682f34322b3f",
    "aHVzaC1odXNoLzQyKz8",
    "hush-hush%2F42%2B%3F",
];

/// Files beside the directories that guests are granted.
const OUTSIDE: [&str; 2] = ["secret.txt", "data/secret.txt"];

/// What is in them.
const OUT_OF_REACH: &str = "nobody's business";

/// A hostile guest and what is to become of it.
#[derive(Debug, Clone)]
struct Guest {
    name: String,
    wasm: Vec<u8>,
    outcomes: Vec<String>,
    says: String,
    prints: String,
    denied: Option<u64>,
    rejected: Option<String>,
    limits: Value,
    grants: Value,
}

impl Guest {
    /// Reads the source in a file, and what is made of it.
    fn read(path: &Path) -> Guest {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut guest = Guest {
            name,
            wasm: Vec::new(),
            outcomes: Vec::new(),
            says: String::new(),
            prints: String::new(),
            denied: None,
            rejected: None,
            limits: json!({}),
            grants: json!({}),
        };
        let comment = |line: &'_ str| -> Option<String> {
            let start = [";; ", "// ", "//! "]
                .into_iter()
                .find(|it| line.starts_with(it))?;
            Some(line[start.len()..].to_owned())
        };
        for line in text.lines().map_while(comment) {
            let Some((key, value)) = line.split_once(": ") else {
                continue;
            };
            match key {
                "outcome" => guest.outcomes = value.split('|').map(str::to_owned).collect(),
                "prints" => guest.prints = value.to_owned(),
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
        guest.wasm = match path.extension().and_then(|it| it.to_str()).unwrap() {
            "wat" => {
                wat::parse_str(&text).unwrap_or_else(|error| panic!("{}: {error}", guest.name))
            }
            "rs" => built(path.ancestors().nth(3).unwrap(), &guest.name),
            _ => built(path.parent().unwrap(), &guest.name),
        };
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
        let output = record.0["output"].as_str().unwrap_or_default();
        let fits = self.outcomes.iter().any(|expected| *expected == outcome)
            && error.contains(&self.says)
            && (self.prints.is_empty() || output.contains(&self.prints))
            && self.denied.is_none_or(|expected| expected == denied);
        (!fits).then(|| {
            let output: String = output.chars().take(500).collect();
            format!(
                "{}: {outcome}, {denied} denied: {error}: {output}",
                self.name
            )
        })
    }

    /// Makes the directories that it is granted.
    fn directories(&self, project: &Project) {
        for dir in self.grants["dirs"].as_array().into_iter().flatten() {
            let path = project.path(dir["host"].as_str().unwrap());
            std::fs::create_dir_all(path).unwrap();
        }
    }
}

/// The program of this name that was made of a source.
fn built(directory: &Path, name: &str) -> Vec<u8> {
    let path = directory.join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn guests() -> Vec<Guest> {
    let mut paths = Vec::new();
    for (directory, ending) in [("", "wat"), ("c", "c"), ("rust/src/bin", "rs")] {
        let directory = repository("tests/guests/hostile").join(directory);
        let entries = std::fs::read_dir(directory).unwrap();
        let files = entries.map(|entry| entry.unwrap().path());
        paths.extend(files.filter(|path| path.extension().is_some_and(|it| it == ending)));
    }
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
    let mut project = Project::with(&["hello"]);
    project.set("QUARTERJACK_SECRET_API_KEY", SECRET);
    for outside in OUTSIDE {
        project.write(outside, OUT_OF_REACH);
    }
    let mut jobs = vec![bystander()];
    for guest in &guests {
        project.write(&format!("plugins/{}.wasm", guest.name), &guest.wasm);
        guest.directories(&project);
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

    // What lies outside is as it was, and nothing of it, or of a secret, was told. Nor was an
    // event: what the host did not say would be strange to whoever reads its events here.
    for outside in OUTSIDE {
        let now = std::fs::read_to_string(project.path(outside)).unwrap();
        assert_eq!(now, OUT_OF_REACH, "{outside}");
    }
    for event in host.events() {
        let told = event.to_string();
        for form in [OUT_OF_REACH, SECRET].into_iter().chain(CODED) {
            assert!(!told.contains(form), "{form}: {told}");
        }
        assert_ne!(event.0["job"], "forged", "{told}");
        assert!(
            !event.is("host.stopped") && !told.contains('\u{1b}'),
            "{told}"
        );
    }

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
        project.write(&format!("plugins/{}.wasm", guest.name), &guest.wasm);
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
