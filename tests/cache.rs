//! Compiled code on disk: used, never trusted, never in the way.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::support::Project;
use serde_json::json;

/// Runs a guest with the cache in the project, and checks that it does what it does.
#[track_caller]
fn run(project: &Project, name: &str, output: &str) {
    let record = project.record(name, &["--cache", "code"]).succeeded();
    assert_eq!(record.text("output"), output);
}

/// The only entry of the cache.
#[track_caller]
fn entry(project: &Project) -> PathBuf {
    let entries = fs::read_dir(project.path("code")).unwrap();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "cwasm"))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn sum_file(entry: &Path) -> PathBuf {
    let mut name = entry.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

#[test]
fn a_damaged_entry_is_compiled_again() {
    let project = Project::with(&[]);
    run(&project, "hello", "hello from the tower\n");
    let entry = entry(&project);
    let good = fs::read(&entry).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        bytes
    };
    let damaged = [
        Vec::new(),
        good[..good.len() / 2].to_vec(),
        good[..good.len() - 1].to_vec(),
        flipped(0),
        flipped(good.len() / 2),
        flipped(good.len() - 1),
        b"not code at all".to_vec(),
        vec![0xff; good.len()],
    ];
    for bytes in damaged {
        fs::write(&entry, &bytes).unwrap();
        run(&project, "hello", "hello from the tower\n");
        assert_ne!(fs::read(&entry).unwrap(), bytes, "it was not put right");
    }
}

#[test]
fn an_entry_that_is_sound_and_foreign_is_compiled_again() {
    let project = Project::with(&[]);
    run(&project, "hello", "hello from the tower\n");
    let hello = entry(&project);
    let good = fs::read(&hello).unwrap();
    // Code of another kind of guest, and of no version of the engine, each with its right sum.
    let other = Project::with(&[]);
    run(&other, "command", "hello from 0.2\n");
    let component = fs::read(entry(&other)).unwrap();
    // The engine writes its major version into what it compiles, as a string with its length.
    let mut old = good.clone();
    let version = old.windows(3).position(|seen| seen == b"\x0248");
    old[version.expect("the engine's major version") + 1] = b'3';
    for foreign in [component, old, b"\x7fELF and nothing else".to_vec()] {
        fs::write(&hello, &foreign).unwrap();
        fs::write(sum_file(&hello), format!("{:x}", Sha256::digest(&foreign))).unwrap();
        run(&project, "hello", "hello from the tower\n");
        assert_ne!(fs::read(&hello).unwrap(), foreign, "it was not put right");
    }
}

#[test]
fn an_entry_without_its_sum_is_compiled_again() {
    let project = Project::with(&[]);
    run(&project, "hello", "hello from the tower\n");
    let sum = sum_file(&entry(&project));
    for damage in [None, Some("")] {
        match damage {
            None => fs::remove_file(&sum).unwrap(),
            Some(text) => fs::write(&sum, text).unwrap(),
        }
        run(&project, "hello", "hello from the tower\n");
        assert_eq!(fs::read_to_string(&sum).unwrap().trim().len(), 64);
    }
}

#[test]
fn code_is_compiled_once() {
    let project = Project::with(&["hello", "typed"]);
    project.jobs(&json!([]));
    for first in [true, false] {
        let host = project.serve(&["--cache", "code"]);
        for name in ["hello.wasm", "typed.wasm"] {
            let loaded = host.plugin_from(0, "plugin.loaded", name);
            assert_eq!(loaded.0.get("compiled_ms").is_some(), first, "{loaded}");
        }
        host.stop().in_order();
    }
}

#[test]
fn a_directory_that_others_may_write_to_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Project::with(&["hello"]);
    fs::create_dir(project.path("shared")).unwrap();
    fs::set_permissions(project.path("shared"), fs::Permissions::from_mode(0o777)).unwrap();
    let refused = project
        .run(&["run", "plugins/hello.wasm", "--cache", "shared"])
        .exits(1);
    refused.says(&["shared", "others may write", "--cache"]);
    assert_eq!(fs::read_dir(project.path("shared")).unwrap().count(), 0);
}
