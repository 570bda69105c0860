//! Ways out of a directory, each tried by a guest: nothing outside is read, written, made or
//! deleted, and what was denied is told with its reason.
//!
//! Each case has a directory of its own, with the granted ones and a secret in it:
//!
//! ```text
//! CASE/secret.txt  CASE/elsewhere/inside.txt  CASE/second/
//! CASE/in/inside.txt  CASE/in/deep/er.txt  CASE/in/ links to all of these
//! ```

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::support::{Host, Project, Record};

const SECRET: &str = "the secret";

/// How many files are made so that seven more make 100 000 of all entries.
const FILES: usize = 100_000 - 7 - 13;

/// What a guest tries, and what is to become of it.
struct Case {
    id: &'static str,
    /// What `files.wat` is to do.
    does: &'static [&'static str],
    /// How it is granted `in` and `second`: `r` or `w` each, `q` for 20 KiB at most.
    granted: &'static str,
    /// What it prints.
    prints: &'static str,
    /// Of what it was denied, words of each.
    denied: &'static [&'static str],
}

/// The error numbers of WASI 0.1.
///
/// 20 exist, 25 ilseq, 28 inval, 37 nametoolong, 44 noent, 51 nospc, 63 perm, 75 xdev.
#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { id: "parent", does: &["r", "../secret.txt"], granted: "rr", prints: "r 63\n",
        denied: &["/data/../secret.txt is outside what it is granted"] },
    Case { id: "parent-in-the-middle", does: &["r", "deep/../../secret.txt"], granted: "rr",
        prints: "r 63\n", denied: &["/data/deep/../../secret.txt is outside"] },
    Case { id: "parent-behind-a-link", does: &["r", "to-deep/../../secret.txt"], granted: "rr",
        prints: "r 63\n", denied: &["is outside"] },
    Case { id: "parents-that-stay", does: &["r", "deep/../inside.txt", "r", "./deep//./er.txt"],
        granted: "rr", prints: "inside\nr 00\ndeeper\nr 00\n", denied: &[] },
    Case { id: "absolute", does: &["r", "/etc/passwd"], granted: "rr", prints: "r 63\n",
        denied: &["denied: /etc/passwd is outside what it is granted"] },
    Case { id: "proc", does: &["r", "/proc/self/environ", "r", "/proc/self/fd/3"], granted: "ww",
        prints: "r 63\nr 63\n", denied: &["/proc/self/environ is", "/proc/self/fd/3 is"] },
    Case { id: "dev", does: &["w", "/dev/null"], granted: "ww", prints: "w 63\n",
        denied: &["/dev/null is outside"] },
    Case { id: "relative-link", does: &["r", "link-out"], granted: "rr", prints: "r 63\n",
        denied: &["/data/link-out is outside what it is granted"] },
    Case { id: "absolute-link", does: &["r", "absolute-link-out", "r", "to-proc"], granted: "rr",
        prints: "r 63\nr 63\n", denied: &["/data/absolute-link-out is", "/data/to-proc is"] },
    Case { id: "link-to-a-directory", does: &["r", "directory-out/secret.txt"], granted: "rr",
        prints: "r 63\n", denied: &["/data/directory-out/secret.txt is outside"] },
    Case { id: "link-in-a-circle", does: &["r", "circle"], granted: "rr", prints: "r 32\n",
        denied: &[] },
    Case { id: "write-through-a-link",
        does: &["w", "link-out", "w", "directory-out/new.txt", "d", "directory-out/new",
            "u", "directory-out/secret.txt"],
        granted: "ww", prints: "w 63\nw 63\nd 63\nu 63\n",
        denied: &["link-out is", "new.txt is", "new is", "secret.txt is"] },
    Case { id: "own-link", does: &["s", "../secret.txt", "mine"], granted: "ww",
        prints: "s 63\n", denied: &["/data/mine is outside"] },
    Case { id: "own-absolute-link", does: &["s", "/etc/passwd", "mine", "r", "mine"],
        granted: "ww", prints: "s 63\nr 44\n", denied: &["denied: /etc/passwd is outside"] },
    Case { id: "own-link-in-steps",
        does: &["l", "..", "deep/up", "l", "deep/up/..", "top", "r", "top/secret.txt"],
        granted: "ww", prints: "l 00\nl 00\nr 63\n", denied: &["/data/top/secret.txt is"] },
    Case { id: "hard-link-from-outside",
        does: &["h", "../secret.txt", "stolen", "h", "/etc/hostname", "stolen",
            "h", "directory-out/secret.txt", "stolen"],
        granted: "ww", prints: "h 63\nh 63\nh 63\n", denied: &["secret", "hostname", "directory"] },
    Case { id: "hard-link-to-the-outside", does: &["h", "inside.txt", "../leaked"],
        granted: "ww", prints: "h 63\n", denied: &["/second/../leaked is outside"] },
    // The link itself is linked, and leads out no more than before.
    Case { id: "hard-link-to-a-link", does: &["h", "link-out", "again", "r", "again"],
        granted: "both", prints: "h 00\nr 63\n", denied: &["/data/again is outside"] },
    Case { id: "hard-link-to-write-what-is-read-only", does: &["h", "inside.txt", "mine"],
        granted: "rw", prints: "h 63\n",
        denied: &["write to /data: it is granted read-only; to allow it: \"grants\": { \"dirs\": ["] },
    Case { id: "move-out", does: &["m", "deep", "../taken", "m", "inside.txt", "/tmp/taken"],
        granted: "ww", prints: "m 63\nm 63\n", denied: &["/second/../taken", "denied: /tmp/taken"] },
    Case { id: "move-in", does: &["m", "../secret.txt", "taken", "m", "directory-out", "link"],
        granted: "ww", prints: "m 63\nm 00\n", denied: &["/data/../secret.txt"] },
    Case { id: "move-itself", does: &["m", ".", "moved", "m", "..", "moved"],
        granted: "ww", prints: "m 10\nm 63\n", denied: &["/data/.. is outside"] },
    Case { id: "read-only",
        does: &["w", "inside.txt", "w", "new.txt", "d", "new", "u", "inside.txt", "l", "a", "b",
            "T", "inside.txt", "t", "inside.txt", "m", "inside.txt", "moved"],
        granted: "rr",
        prints: "w 63\nw 63\nd 63\nu 63\nl 63\nT 63\nt 63\nm 63\n",
        denied: &["write to /data: it is granted read-only", "write to /second: it is"] },
    // Refused by the system: the directory may be written, the descriptor may not.
    Case { id: "cut-what-is-open-for-reading", does: &["t", "inside.txt"], granted: "ww",
        prints: "t 28\n", denied: &[] },
    Case { id: "pipe", does: &["r", "pipe", "w", "pipe"], granted: "ww", prints: "r 63\nw 63\n",
        denied: &["open /data/pipe: it is a pipe, a socket or a device"] },
    Case { id: "socket", does: &["r", "socket", "r", "to-socket"], granted: "ww",
        prints: "r 63\nr 63\n", denied: &["open /data/socket", "open /data/to-socket"] },
    Case { id: "no-paths",
        does: &["x", "0", "x", "1", "x", "2", "x", "3", "x", "4", "x", "5"], granted: "ww",
        prints: "x 28\nx 25\nx 37\nx 37\nx 44\nx 28\n", denied: &[] },
    Case { id: "deep", does: &["D", "1000"], granted: "ww", prints: "D 00\n", denied: &[] },
    Case { id: "quota", does: &["o", "large", "k", "5", "k", "1", "u", "inside.txt", "k", "1"],
        granted: "qw", prints: "o 00\nk 51\nk 51\nu 00\nk 51\n",
        denied: &["write to /data: its quota of 20 KiB is used up; to allow it: \"grants\": { \"dirs\": [{"] },
    Case { id: "quota-by-size",
        does: &["o", "large", "z", "20000", "z", "30000", "z", "0", "z", "20000", "k", "2"],
        granted: "qw", prints: "o 00\nz 00\nz 51\nz 00\nz 00\nk 00\n", denied: &["is used up"] },
    // What is deleted and still open holds its place.
    Case { id: "quota-by-deleted-files",
        does: &["o", "gone", "k", "4", "u", "gone", "k", "3", "o", "gone", "k", "4"],
        granted: "qw", prints: "o 00\nk 00\nu 00\nk 51\no 00\nk 51\n", denied: &["is used up"] },
    Case { id: "quota-by-appending", does: &["o", "large", "z", "20000", "a", "1", "u", "large",
            "o", "large", "a", "3", "w", "inside.txt"],
        granted: "qw", prints: "o 00\nz 00\na 51\nu 00\no 00\na 51\nw 00\n",
        denied: &["is used up"] },
    // A file of a directory without a quota is not taken for one of the directory with it.
    Case { id: "quota-beside-none",
        does: &["O", "one", "o", "large", "O", "two", "k", "4", "k", "1"],
        granted: "qw", prints: "O 00\no 00\nO 00\nk 00\nk 51\n", denied: &["is used up"] },
    Case { id: "quota-by-moving-in", does: &["m", "inside.txt", "mine", "h", "inside.txt", "mine"],
        granted: "wq", prints: "m 75\nh 75\n", denied: &[] },
    Case { id: "many", does: &["M", "5000"], granted: "ww", prints: "M 00\n", denied: &[] },
    // `FILES` of them are there before.
    Case { id: "quota-by-number", does: &["M", "7", "M", "8", "d", "new", "l", "a", "b"],
        granted: "qw", prints: "M 00\nM 51\nd 51\nl 51\n",
        denied: &["it holds 100000 files and directories"] },
];

impl Case {
    fn prepare(&self, project: &Project) {
        let path = |name: &str| project.path(&format!("{}/{name}", self.id));
        for (name, text) in [
            ("secret.txt", SECRET),
            ("elsewhere/inside.txt", SECRET),
            ("second/.keep", ""),
            ("in/inside.txt", "inside\n"),
            ("in/deep/er.txt", "deeper\n"),
        ] {
            project.write(&format!("{}/{name}", self.id), text);
        }
        let absolute = path("secret.txt").display().to_string();
        for (target, link) in [
            ("../secret.txt", "link-out"),
            (&*absolute, "absolute-link-out"),
            ("..", "directory-out"),
            ("deep", "to-deep"),
            ("/proc/self/environ", "to-proc"),
            ("circle", "circle"),
            ("socket", "to-socket"),
        ] {
            symlink(target, path("in").join(link)).unwrap();
        }
        let (here, pipe) = (rustix::fs::CWD, path("in/pipe"));
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(here, &pipe, kind, mode, 0).unwrap();
        // Bound from inside: the names of sockets are short.
        let socket = project.path("s");
        drop(UnixListener::bind(&socket).unwrap());
        std::fs::rename(socket, path("in/socket")).unwrap();
        if self.id == "quota-by-number" {
            std::fs::create_dir(path("in/many")).unwrap();
            for number in 0..FILES {
                std::fs::File::create(path("in/many").join(number.to_string())).unwrap();
            }
        }
    }

    fn job(&self) -> Value {
        let id = self.id;
        let dir = |host: &str, guest: &str, granted: char| match granted {
            'r' => json!({ "host": format!("{id}/{host}"), "guest": guest }),
            'w' => json!({ "host": format!("{id}/{host}"), "guest": guest, "mode": "rw" }),
            'q' => json!({ "host": format!("{id}/{host}"), "guest": guest, "mode": "rw",
                "quota": "20KiB" }),
            other => panic!("{other}"),
        };
        let dirs = match self.granted.chars().collect::<Vec<_>>()[..] {
            [one, two] => json!([dir("in", "/data", one), dir("second", "/second", two)]),
            _ => json!([dir("in", "/data", 'w'), dir("in", "/again", 'w')]),
        };
        json!({
            "id": id, "component": "files.wasm", "trigger": "@manually", "run_on_start": true,
            "args": self.does, "grants": { "dirs": dirs },
        })
    }

    /// What is wrong with its end, if anything is.
    fn judge(&self, project: &Project, record: &Record) -> Vec<String> {
        let mut wrong = Vec::new();
        let printed = record.0["output"].as_str().unwrap_or_default();
        if printed != self.prints {
            wrong.push(format!("printed {printed:?}: {record}"));
        }
        let log = record.0["log"].as_str().unwrap_or_default();
        let lines: Vec<&str> = log
            .lines()
            .filter(|it| it.starts_with("denied: "))
            .collect();
        if lines.len() != self.denied.len()
            || !lines
                .iter()
                .zip(self.denied)
                .all(|(line, words)| line.contains(words))
        {
            wrong.push(format!("denials {lines:#?}"));
        }
        let path = |name: &str| project.path(&format!("{}/{name}", self.id));
        if names(&path("")) != ["elsewhere", "in", "second", "secret.txt"]
            || names(&path("elsewhere")) != ["inside.txt"]
        {
            wrong.push("something came or went outside".to_owned());
        }
        for name in ["secret.txt", "elsewhere/inside.txt"] {
            let text = std::fs::read_to_string(path(name)).unwrap_or_default();
            if text != SECRET || path(name).metadata().unwrap().nlink() != 1 {
                wrong.push(format!("{name} was changed or linked"));
            }
        }
        if record.to_string().contains(SECRET) {
            wrong.push("it knows the secret".to_owned());
        }
        wrong
            .iter()
            .map(|it| format!("{}: {it}", self.id))
            .collect()
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn bytes_in(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}

#[test]
fn no_way_leads_out_of_a_directory() {
    let project = Project::with(&["files"]);
    for case in CASES {
        case.prepare(&project);
    }
    project.jobs(&CASES.iter().map(Case::job).collect());
    let host = project.serve(&[]);
    let records: Vec<Record> = CASES.iter().map(|case| end_of(&host, case.id)).collect();
    let wrong: Vec<String> = CASES
        .iter()
        .zip(&records)
        .flat_map(|(case, record)| case.judge(&project, record))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    host.stop().in_order();
    for case in CASES
        .iter()
        .filter(|case| case.id.starts_with("quota-by-d"))
    {
        assert!(
            bytes_in(&project.path(case.id).join("in")) <= 20 << 10,
            "{}",
            case.id
        );
    }
    assert_eq!(
        std::fs::metadata(project.path("quota/in/large"))
            .unwrap()
            .len(),
        4 << 12
    );
}

fn end_of(host: &Host, job: &str) -> Record {
    host.records(job, 1).remove(0)
}

#[test]
fn a_directory_that_becomes_a_link_leads_nowhere() {
    let case = Case {
        id: "race",
        does: &["R", "deep/inside.txt"],
        granted: "ww",
        prints: "",
        denied: &[],
    };
    let project = Project::with(&["files"]);
    case.prepare(&project);
    project.write("race/in/deep/inside.txt", "inside\n");
    symlink("../elsewhere", project.path("race/in/swapped")).unwrap();
    let stop = AtomicBool::new(false);
    let record = std::thread::scope(|scope| {
        scope.spawn(|| {
            let dir = std::fs::File::open(project.path("race/in")).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(&dir, "deep", &dir, "swapped", flags).unwrap();
            }
        });
        let dir = "race/in::/data:rw";
        let record = project.record("files", &["--dir", dir, "--", "R", "deep/inside.txt"]);
        stop.store(true, Ordering::Relaxed);
        record.succeeded()
    });
    let printed = record.text("output");
    let reads = printed.lines().filter(|line| *line == "inside").count();
    assert_eq!(printed.lines().count(), reads + 1, "nothing else: {record}");
    assert!(0 < reads && reads < 5000, "{reads} reads met the directory");
    assert!(record.text("log").contains("is outside what it is granted"));
}

#[test]
fn a_quota_holds_streams_too() {
    let project = Project::with(&["fill-through-streams"]);
    project.write("out/.keep", "");
    project.jobs(&json!([{
        "id": "fill", "component": "fill-through-streams.wasm", "trigger": "@manually",
        "run_on_start": true,
        "grants": { "dirs": [{ "host": "out", "guest": "/out", "mode": "rw", "quota": "20KiB" }] },
    }]));
    let host = project.serve(&[]);
    let record = end_of(&host, "fill").succeeded();
    assert!(
        record
            .text("log")
            .contains("write to /out: its quota of 20 KiB is used up")
    );
    assert_eq!(record.number("denied"), 4);
    host.stop().in_order();
    assert_eq!(bytes_in(&project.path("out")), 20 << 10);
}

#[test]
fn jobs_that_share_a_directory_do_not_pass_its_quota_together() {
    let project = Project::with(&["files"]);
    project.write("out/.keep", "");
    let names = ["a", "b", "c", "d"];
    let job = |name: &&str| {
        json!({
            "id": name, "component": "files.wasm", "trigger": "@manually", "run_on_start": true,
            "args": ["o", name, "k", "1", "k", "1", "k", "1", "k", "1", "k", "1"],
            "grants": {
                "dirs": [{ "host": "out", "guest": "/out", "mode": "rw", "quota": "20KiB" }],
            },
        })
    };
    project.jobs(&names.iter().map(job).collect());
    let host = project.serve(&[]);
    let printed: String = names
        .iter()
        .map(|name| end_of(&host, name).succeeded().text("output").to_owned())
        .collect();
    host.stop().in_order();
    let pieces = printed.matches("k 00\n").count() as u64;
    assert_eq!(bytes_in(&project.path("out")), pieces * 4096, "{printed}");
    // Each alone would have had room for five.
    assert!((4..=5).contains(&pieces), "{printed}");
    assert!(printed.contains("k 51\n"), "{printed}");
}

#[test]
fn the_hosts_own_directories_are_granted_to_no_job() {
    let project = Project::with(&["read"]);
    symlink("/proc/self", project.path("innocent")).unwrap();
    for (dir, words) in [
        ("/proc", "/proc is the host's own"),
        ("/proc/self/fd", "as is all of /proc"),
        ("/sys/kernel", "as is all of /sys"),
        ("/dev", "/dev is the host's own"),
        ("innocent", "as is all of /proc"),
        ("/", "/proc, /sys, /dev, which are the host's own"),
    ] {
        project
            .record(
                "read",
                &["--dir", &format!("{dir}::/data"), "--", "environ"],
            )
            .ended("failed", &["cannot open the granted directory", words]);
    }
}

#[test]
fn a_guest_that_keeps_opening_is_ended_by_its_limit() {
    let project = Project::with(&["files"]);
    project.write("data/inside.txt", "inside\n");
    let record = project.record("files", &["--dir", "data::/data", "--", "H", "inside.txt"]);
    assert_ne!(record.text("outcome"), "succeeded", "{record}");
}
