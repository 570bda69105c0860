use super::*;
use crate::clock::ManualClock;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn digest(marker: &str) -> Digest {
    Digest::of(marker.as_bytes())
}

fn file_in(dir: &Path, strict: bool) -> LockFile {
    let clock = Arc::new(ManualClock::at("2026-11-22T12:00:00Z"));
    let path = dir.join(DEFAULT_LOCK);
    LockFile::new(path, strict, "plugins".into(), clock)
}

#[test]
fn interfaces_are_compared_by_their_line_of_versions() {
    assert_eq!(track("wasi:cli/stdout@0.2.6"), "wasi:cli/stdout@0.2");
    assert_eq!(track("wasi:cli/stdout@0.3.0"), "wasi:cli/stdout@0.3");
    assert_eq!(track("wasi:cli/stdout@1.0.6"), "wasi:cli/stdout@1.0");
    assert_eq!(track("wasi:x/y@0.2.0-draft"), "wasi:x/y@0.2.0-draft");
    assert_eq!(track("wasi:x/y@2"), "wasi:x/y@2");
    assert_eq!(track("env.abort"), "env.abort");
    let old = names(&["a:b/c@0.2.1", "a:b/d@0.2.1", "m.f"]);
    let new = names(&["a:b/c@0.2.9", "a:b/c@0.3.0", "m.g", "m.g"]);
    assert_eq!(beyond(&new, &old), names(&["a:b/c@0.3.0", "m.g"]));
    assert_eq!(beyond(&old, &new), names(&["a:b/d@0.2.1", "m.f"]));
}

#[test]
fn more_imports_are_held_back_until_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(dir.path(), false);
    let few = names(&["wasi:cli/stdout@0.2.6"]);
    let many = names(&["wasi:cli/stdout@0.2.6", "wasi:sockets/tcp@0.2.6"]);
    let new = file.admit("a.wasm", digest("1"), &few).unwrap();
    assert_eq!(new, Some(Noted { replaced: None }));
    assert_eq!(file.admit("a.wasm", digest("1"), &few).unwrap(), None);
    assert!(!file.has_changed());
    let text = std::fs::read_to_string(file.path()).unwrap();
    insta::assert_snapshot!(text, @r#"
    {
      "version": 1,
      "plugins": {
        "a.wasm": {
          "sha256": "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
          "imports": [
            "wasi:cli/stdout@0.2.6"
          ],
          "accepted_at": "2026-11-22T12:00:00Z"
        }
      }
    }
    "#);
    // The same imports are taken; more are not, and nothing is written.
    let same = file.admit("a.wasm", digest("2"), &few).unwrap().unwrap();
    assert_eq!(same.replaced, Some(digest("1").to_string()));
    let held = file.admit("a.wasm", digest("3"), &many).unwrap_err();
    let shown = held
        .to_string()
        .replace(&*dir.path().to_string_lossy(), "D");
    insta::assert_snapshot!(shown, @"held back: it imports wasi:sockets/tcp@0.2.6, which the accepted version does not; to accept it: quarterjack accept a.wasm --lock D/quarterjack.lock");
    let sha256 = digest("2").to_string();
    assert_eq!(file.read().unwrap().get("a.wasm").unwrap().sha256, sha256);
    // Somebody else accepts it.
    let other = file_in(dir.path(), false);
    other.accept("a.wasm", digest("3"), &many).unwrap();
    assert!(file.has_changed());
    assert_eq!(file.admit("a.wasm", digest("3"), &many).unwrap(), None);
    // Fewer imports are noted: to have them back is to have more.
    file.admit("a.wasm", digest("4"), &few).unwrap().unwrap();
    assert!(file.admit("a.wasm", digest("3"), &many).is_err());
}

#[test]
fn a_final_lock_takes_nothing_that_is_not_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let strict = file_in(dir.path(), true);
    let said = |name: &str, marker: &str| {
        let held = strict.admit(name, digest(marker), &[]);
        held.unwrap_err().to_string()
    };
    assert!(said("a.wasm", "1").contains("it is new"));
    strict.accept("a.wasm", digest("1"), &[]).unwrap();
    assert_eq!(strict.admit("a.wasm", digest("1"), &[]).unwrap(), None);
    let other = said("a.wasm", "2");
    for words in [&*digest("1").to_string(), &*digest("2").to_string()] {
        assert!(other.contains(words), "{other}");
    }
}

#[test]
fn a_broken_or_vanished_lock_holds_everything_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(dir.path(), false);
    let path = file.path();
    let sha = "a".repeat(64);
    for broken in [
        "",
        "{",
        "[]",
        r#"{"version": 2, "plugins": {}}"#,
        r#"{"version": 1, "plugins": {}, "more": 1}"#,
        r#"{"version": 1, "plugins": {"a.wasm": {"sha256": "A", "imports": [], "accepted_at": ""}}}"#,
        &format!(r#"{{"version": 1, "plugins": {{"a.wasm": {{"sha256": "{sha}"}}}}}}"#),
        "{\"version\": 1, \"plugins\": {}}\u{0}",
    ] {
        std::fs::write(path, broken).unwrap();
        let held = file.admit("a.wasm", digest("1"), &[]).unwrap_err();
        assert!(held.to_string().contains("is broken"), "{broken}: {held}");
        assert_eq!(std::fs::read_to_string(path).unwrap(), broken);
        assert!(file.accept("a.wasm", digest("1"), &[]).is_err());
    }
    std::fs::remove_file(path).unwrap();
    let held = file.admit("a.wasm", digest("1"), &[]).unwrap_err();
    assert!(held.to_string().contains("is gone"), "{held}");
    assert!(!path.exists());
    // A directory, or a place that is not there.
    let nowhere = LockFile {
        path: dir.path().join("no/such.lock"),
        ..file_in(dir.path(), false)
    };
    assert!(nowhere.admit("a.wasm", digest("1"), &[]).is_err());
    std::fs::create_dir(path).unwrap();
    assert!(file.read().is_err());
}

#[test]
fn what_is_to_be_pasted_into_a_shell_is_one_word() {
    assert_eq!(quoted("report.wasm"), "report.wasm");
    assert_eq!(quoted("a b.wasm"), "'a b.wasm'");
    assert_eq!(quoted("$(reboot).wasm"), "'$(reboot).wasm'");
    assert_eq!(quoted("it's.wasm"), r"'it'\''s.wasm'");
    assert_eq!(quoted("--lock.wasm"), "'--lock.wasm'");
}

#[test]
fn hosts_that_write_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let file = file_in(dir.path(), false);
            scope.spawn(move || {
                for number in 0..5 {
                    let name = format!("{writer}-{number}.wasm");
                    file.admit(&name, digest(&name), &[]).unwrap().unwrap();
                }
            });
        }
    });
    let lock = file_in(dir.path(), false).read().unwrap();
    assert_eq!(lock.plugins.len(), 20);
}
