//! The direction of the data, kept true: which module of the host may name which.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Every module and all that it may name, besides itself. What is not here is forbidden: before
/// adding to a line, see whether the data would flow backwards.
const MAY_NAME: &[(&str, &[&str])] = &[
    // `event`, `log`, `record` and `store` to read what has happened.
    (
        "api",
        &[
            "clock", "control", "event", "job", "log", "record", "run", "store", "units",
        ],
    ),
    (
        "app",
        &[
            "api",
            "clock",
            "control",
            "dispatcher",
            "event",
            "firing",
            "hook",
            "job",
            "log",
            "native",
            "policy",
            "record",
            "run",
            "runtime",
            "scheduler",
            "secret",
            "source",
            "state",
            "store",
            "suggest",
            "trigger",
        ],
    ),
    (
        "cli",
        &[
            "api",
            "app",
            "clock",
            "control",
            "dispatcher",
            "event",
            "job",
            "log",
            "plan",
            "policy",
            "record",
            "run",
            "runtime",
            "source",
            "suggest",
            "trigger",
            "units",
        ],
    ),
    ("clock", &[]),
    ("control", &["clock", "job", "run"]),
    (
        "dispatcher",
        &["clock", "event", "job", "run", "state", "store"],
    ),
    // The host as it is put together, for programs that have one in them.
    (
        "embed",
        &[
            "app", "clock", "control", "event", "job", "native", "policy", "record", "run",
            "runtime", "source", "store", "trigger", "units",
        ],
    ),
    ("event", &["clock", "job", "record", "run", "trigger"]),
    (
        "firing",
        &["clock", "dispatcher", "job", "run", "scheduler", "store"],
    ),
    (
        "hook",
        &[
            "clock", "event", "policy", "record", "run", "secret", "store", "units", "web",
        ],
    ),
    ("guide", &[]),
    ("job", &["suggest", "trigger", "units"]),
    ("log", &["clock", "job", "run"]),
    // `dispatcher` for what an executor is given.
    (
        "native",
        &["clock", "dispatcher", "job", "log", "run", "units"],
    ),
    ("plan", &["clock", "job", "trigger"]),
    (
        "policy",
        &["event", "job", "record", "secret", "suggest", "units"],
    ),
    ("record", &["clock", "job", "run"]),
    ("run", &["clock", "job", "state"]),
    // `dispatcher` for the trait that it implements.
    (
        "runtime",
        &[
            "clock",
            "control",
            "dispatcher",
            "job",
            "log",
            "policy",
            "run",
            "secret",
            "state",
            "units",
        ],
    ),
    ("scheduler", &["clock", "job", "run", "trigger"]),
    ("secret", &["job"]),
    (
        "source",
        &[
            "clock", "job", "policy", "secret", "suggest", "trigger", "units", "web",
        ],
    ),
    ("state", &["job", "units"]),
    ("store", &["clock", "job", "log", "record", "run", "state"]),
    ("suggest", &[]),
    ("trigger", &["suggest", "units"]),
    ("units", &[]),
    ("web", &["clock", "policy"]),
];

/// Crates that only some modules may name.
const CONFINED: &[(&str, &[&str])] = &[
    ("wasmtime", &["runtime"]),
    // What guests send goes out in one place.
    // What the host offers comes in in one place, and its own verbs ask there.
    ("hyper", &["api", "cli", "runtime"]),
    ("rustls", &["runtime", "source", "web"]),
    ("ureq", &["source", "web"]),
    ("axum", &["api"]),
    ("clap", &["cli"]),
    ("notify", &["app"]),
    ("jsonc_parser", &["job"]),
    ("toml", &["policy"]),
    ("rusqlite", &["source", "store"]),
    ("tokio_postgres", &["source"]),
    ("cron", &["trigger"]),
    ("jiff", &["cli", "trigger"]),
];

#[test]
fn no_module_names_what_it_may_not() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).unwrap();
        let first = relative.components().next().unwrap().as_os_str();
        let module = first.to_str().unwrap().trim_end_matches(".rs");
        if ["lib", "main"].contains(&module) {
            continue;
        }
        seen.insert(module.to_owned());
        let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == module) else {
            panic!("the module {module} is not in the table of this test");
        };
        for (number, line) in product_lines(&file) {
            for other in names_after(&line, "crate::") {
                if other != module && !allowed.contains(&&*other) {
                    wrong.push(format!("{}:{number}: names {other}", relative.display()));
                }
            }
            for (krate, homes) in CONFINED {
                if line.contains(&format!("{krate}::")) && !homes.contains(&module) {
                    wrong.push(format!("{}:{number}: names {krate}", relative.display()));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    let table: BTreeSet<String> = MAY_NAME
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(seen, table, "the table names modules that are not there");
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The lines of a file that are code of the product: no comments, no tests.
fn product_lines(file: &Path) -> Vec<(usize, String)> {
    let tests_only = ["tests.rs", "conformance.rs", "faulty.rs"];
    let in_tests = file.parent().unwrap().ends_with("tests");
    if in_tests || tests_only.contains(&file.file_name().unwrap().to_str().unwrap()) {
        return Vec::new();
    }
    std::fs::read_to_string(file)
        .unwrap()
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim().to_owned()))
        .take_while(|(_, line)| line != "mod tests {")
        .filter(|(_, line)| !line.starts_with("//"))
        .collect()
}

/// The identifiers that directly follow a prefix in a line.
fn names_after(line: &str, prefix: &str) -> Vec<String> {
    line.match_indices(prefix)
        .filter(|(at, _)| !line[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        .map(|(at, _)| {
            line[at + prefix.len()..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}
