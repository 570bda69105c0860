//! What a plugin may be replaced by: pins in definitions, and the lock file.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::support::{Host, Project, guest, hello_from};

const LOCK: [&str; 2] = ["--lock", "quarterjack.lock"];

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn job(id: &str, more: &Value) -> Value {
    let mut job = json!({ "id": id, "component": "hello.wasm", "trigger": "@every 300ms" });
    for (key, value) in more.as_object().unwrap() {
        job[key] = value.clone();
    }
    job
}

fn project(jobs: &[Value]) -> Project {
    let project = Project::with(&["hello"]);
    project.jobs(&json!(jobs));
    project
}

fn lock_of(project: &Project) -> Value {
    let text = std::fs::read_to_string(project.path("quarterjack.lock")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A `hello` that also reads files.
fn greedy() -> Vec<u8> {
    guest("read")
}

#[track_caller]
fn says(host: &Host, job: &str, output: &str) {
    let record = host.fresh_record(host.mark(), job).succeeded();
    assert_eq!(record.text("output"), output);
}

#[test]
fn a_plugin_that_imports_more_is_held_back_until_accepted() {
    let project = project(&[job("a", &json!({}))]);
    let host = project.serve(&LOCK);
    let noted = host.plugin_from(0, "plugin.locked", "hello.wasm");
    assert_eq!(noted.text("digest"), sha256(&guest("hello")));
    assert!(noted.0.get("replaced").is_none());
    says(&host, "a", "hello from the tower\n");

    // The same imports are taken, and noted.
    let mark = host.mark();
    let abbey = hello_from("abbey");
    project.replace("plugins/hello.wasm", &abbey);
    let noted = host.plugin_from(mark, "plugin.locked", "hello.wasm");
    assert_eq!(noted.text("replaced"), sha256(&guest("hello")));
    says(&host, "a", "hello from the abbey\n");
    let locked = &lock_of(&project)["plugins"]["hello.wasm"];
    assert_eq!(locked["sha256"], sha256(&abbey));

    // More are not, and the old one goes on.
    let mark = host.mark();
    project.replace("plugins/hello.wasm", greedy());
    let held = host.plugin_from(mark, "plugin.rejected", "hello.wasm");
    assert_eq!(held.0["in_service"], true);
    for words in [
        "held back",
        "wasi_snapshot_preview1.path_open",
        "quarterjack accept hello.wasm",
    ] {
        assert!(held.text("error").contains(words), "no `{words}` in {held}");
    }
    says(&host, "a", "hello from the abbey\n");
    assert_eq!(&lock_of(&project)["plugins"]["hello.wasm"], locked);

    // Until somebody accepts it.
    let mark = host.mark();
    let shown = project.run(&["accept", "hello", "--dry-run"]).exits(0);
    let abbey = sha256(&abbey);
    for words in [
        "path_open",
        "(needs \"grants.dirs\")",
        &abbey,
        &sha256(&greedy()),
        "would be",
    ] {
        assert!(shown.stdout.contains(words), "no `{words}` in {shown:#?}");
    }
    assert_eq!(&lock_of(&project)["plugins"]["hello.wasm"], locked);
    let accepted = project
        .run(&["accept", "hello.wasm", "--json"])
        .exits(0)
        .json();
    assert_eq!(accepted["accepted"], true);
    let loaded = host.plugin_from(mark, "plugin.loaded", "hello.wasm");
    assert_eq!(loaded.text("digest"), sha256(&greedy()));
    assert_eq!(loaded.text("replaced"), abbey);
    host.stop().in_order();
}

#[test]
fn the_old_one_stays_in_service_when_the_host_starts_again() {
    let project = project(&[job("a", &json!({}))]);
    let host = project.serve(&LOCK);
    let abbey = hello_from("abbey");
    host.plugin_from(0, "plugin.locked", "hello.wasm");
    let mark = host.mark();
    project.replace("plugins/hello.wasm", &abbey);
    host.plugin_from(mark, "plugin.loaded", "hello.wasm");
    says(&host, "a", "hello from the abbey\n");
    let mark = host.mark();
    project.replace("plugins/hello.wasm", greedy());
    host.plugin_from(mark, "plugin.rejected", "hello.wasm");
    host.stop().in_order();

    // Replaced before it starts, and by what is no plugin at all.
    for (file, why) in [(greedy(), "held back"), (b"no plugin".to_vec(), "")] {
        project.replace("plugins/hello.wasm", file);
        let host = project.serve(&LOCK);
        let loaded = host.plugin_from(0, "plugin.loaded", "hello.wasm");
        assert_eq!(loaded.text("digest"), sha256(&abbey));
        let held = host.plugin_from(0, "plugin.rejected", "hello.wasm");
        assert_eq!(held.0["in_service"], true);
        assert!(held.text("error").contains(why), "{held}");
        says(&host, "a", "hello from the abbey\n");
        host.stop().in_order();
    }

    // Only what is locked is kept.
    assert_eq!(copies(&project), [sha256(&abbey)]);
    project.replace("plugins/hello.wasm", greedy());
    project.run(&["accept", "hello.wasm"]).exits(0);
    let host = project.serve(&LOCK);
    let loaded = host.plugin_from(0, "plugin.loaded", "hello.wasm");
    assert_eq!(loaded.text("digest"), sha256(&greedy()));
    assert_eq!(copies(&project), [sha256(&greedy())]);
    // What is gone is gone: a copy stands in for a file that is another, not for one that is not.
    project.replace("plugins/hello.wasm", &abbey);
    host.stop().in_order();
    std::fs::remove_file(project.path("plugins/hello.wasm")).unwrap();
    let host = project.serve(&LOCK);
    host.event("job.rejected", "a");
    host.stop().in_order();
}

/// The digests of the accepted plugins that the host keeps, by the names of the copies.
fn copies(project: &Project) -> Vec<String> {
    let path = project.path(".local/state/quarterjack/accepted");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".wasm").expect("a copy").to_owned()
    };
    std::fs::read_dir(path).unwrap().map(name).collect()
}

#[test]
fn without_a_sound_copy_what_was_replaced_meanwhile_is_held_back() {
    let project = project(&[job("a", &json!({}))]);
    project.serve(&LOCK).stop().in_order();
    project.replace("plugins/hello.wasm", greedy());
    let held_back = |host: &Host| {
        let held = host.plugin_from(0, "plugin.rejected", "hello.wasm");
        assert_eq!(held.0["in_service"], false);
        let rejected = host.event("job.rejected", "a");
        assert!(rejected.text("error").contains("held back"), "{rejected}");
    };
    // It keeps nothing, and looks at nothing that is kept.
    let host = project.serve(&["--lock", "quarterjack.lock", "--ephemeral"]);
    held_back(&host);
    host.stop().in_order();
    // Another file under its name does not pass for it.
    let copy = format!("accepted/{}.wasm", sha256(&guest("hello")));
    let copy = format!(".local/state/quarterjack/{copy}");
    assert!(project.path(&copy).is_file());
    project.replace(&copy, greedy());
    let host = project.serve(&LOCK);
    held_back(&host);
    // The file that was accepted is taken as ever.
    let mark = host.mark();
    project.replace("plugins/hello.wasm", guest("hello"));
    host.plugin_from(mark, "plugin.loaded", "hello.wasm");
    host.event_from(mark, "job.added", "a");
    host.stop().in_order();
}

#[test]
fn a_final_lock_takes_nothing_new_and_nothing_changed() {
    let project = project(&[job("a", &json!({}))]);
    project.run(&["accept", "hello"]).exits(0);
    let host = project.serve(&["--lock", "quarterjack.lock", "--locked"]);
    says(&host, "a", "hello from the tower\n");
    let mark = host.mark();
    project.replace("plugins/hello.wasm", hello_from("abbey"));
    project.write("plugins/other.wasm", guest("hello"));
    for name in ["hello.wasm", "other.wasm"] {
        let held = host.plugin_from(mark, "plugin.rejected", name);
        assert!(held.text("error").contains("held back"), "{held}");
    }
    says(&host, "a", "hello from the tower\n");
    assert!(lock_of(&project)["plugins"].get("other.wasm").is_none());
    host.stop().in_order();
    project
        .run(&["serve", "--locked"])
        .exits(2)
        .says(&["--lock"]);
}

#[test]
fn a_broken_lock_file_stops_the_start_and_later_holds_back() {
    let project = project(&[job("a", &json!({}))]);
    project.write("quarterjack.lock", "{\"version\": 1");
    let refused = project
        .run(&["serve", "--lock", "quarterjack.lock"])
        .exits(1);
    refused.says(&["quarterjack.lock", "is broken"]);
    std::fs::remove_file(project.path("quarterjack.lock")).unwrap();
    let host = project.serve(&LOCK);
    host.plugin_from(0, "plugin.locked", "hello.wasm");
    let good = std::fs::read(project.path("quarterjack.lock")).unwrap();
    project.replace("quarterjack.lock", "not JSON");
    let mark = host.mark();
    project.replace("plugins/hello.wasm", hello_from("abbey"));
    let held = host.plugin_from(mark, "plugin.rejected", "hello.wasm");
    assert!(held.text("error").contains("is broken"), "{held}");
    says(&host, "a", "hello from the tower\n");
    // Mended, it lets the file in.
    let mark = host.mark();
    project.replace("quarterjack.lock", good);
    host.plugin_from(mark, "plugin.loaded", "hello.wasm");
    says(&host, "a", "hello from the abbey\n");
    host.stop().in_order();
}

#[test]
fn a_job_that_pins_a_file_goes_on_with_it_when_it_is_replaced() {
    let (tower, abbey) = (sha256(&guest("hello")), sha256(&hello_from("abbey")));
    let pinned = job("pinned", &json!({ "sha256": tower.to_uppercase() }));
    let free = job("free", &json!({}));
    let project = project(&[pinned, free.clone()]);
    let host = project.serve(&[]);
    says(&host, "pinned", "hello from the tower\n");

    let mark = host.mark();
    project.replace("plugins/hello.wasm", hello_from("abbey"));
    let rejected = host.event_from(mark, "job.rejected", "pinned");
    for words in [&*tower, &*abbey, "stays in service"] {
        let problem = rejected.problem().to_string();
        assert!(problem.contains(words), "no `{words}` in {rejected}");
    }
    says(&host, "free", "hello from the abbey\n");
    says(&host, "pinned", "hello from the tower\n");

    // The definition follows.
    let mark = host.mark();
    project.jobs(&json!([job("pinned", &json!({ "sha256": abbey })), free]));
    let updated = host.event_from(mark, "job.updated", "pinned");
    assert_eq!(updated.0["fields"], json!(["sha256"]));
    says(&host, "pinned", "hello from the abbey\n");
    host.stop().in_order();
}

#[test]
fn a_job_whose_file_is_another_one_does_not_run() {
    let abbey = sha256(&hello_from("abbey"));
    let project = project(&[job("pinned", &json!({ "sha256": abbey }))]);
    let report = project.run(&["check", "--json"]).exits(1).json();
    let problem = report["problems"][0].to_string();
    for words in [&*sha256(&guest("hello")), &*abbey] {
        assert!(problem.contains(words), "no `{words}` in {problem}");
    }
    // At the pin, and not at the file's name.
    let text = std::fs::read_to_string(project.path("jobs.json")).unwrap();
    let place = |key: &str| report["problems"][0][key].as_u64().unwrap() as usize - 1;
    let pin = &text.lines().nth(place("line")).unwrap()[place("column")..];
    assert!(pin.starts_with(&format!("\"{abbey}\"")), "{pin}");
    project.run(&["run", "pinned"]).exits(1).says(&[&abbey]);
    let host = project.serve(&[]);
    host.event("job.rejected", "pinned");
    // It comes into service with its file.
    let mark = host.mark();
    project.replace("plugins/hello.wasm", hello_from("abbey"));
    host.event_from(mark, "job.added", "pinned");
    says(&host, "pinned", "hello from the abbey\n");
    host.stop().in_order();
}

#[test]
fn a_pin_that_is_none_is_told_in_words() {
    let cases = [
        (json!("ab12"), "it has 4 hexadecimal digits, not 64"),
        (json!("z".repeat(64)), "is no hexadecimal digit"),
        (json!("é".repeat(32)), "is no hexadecimal digit"),
        (json!(12), "a string"),
    ];
    for (pin, words) in cases {
        let project = project(&[job("a", &json!({ "sha256": pin }))]);
        project.run(&["check"]).exits(1).says(&["sha256", words]);
    }
}
