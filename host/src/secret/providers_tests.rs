use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

/// Providers with a directory `secrets` and an environment.
fn providers(dir: &Path, variables: &[(&str, &str)]) -> Providers {
    let settings = Settings {
        dir: Some(dir.join("secrets")),
        order: vec![
            Provider::Environment,
            Provider::Directory,
            Provider::Systemd,
        ],
        ..Settings::default()
    };
    environment(settings, variables)
}

fn environment(settings: Settings, variables: &[(&str, &str)]) -> Providers {
    let variables: Vec<(String, OsString)> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect();
    Providers::within(CurrentSettings::new(settings), move |name| {
        let found = variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    })
}

fn room() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("secrets")).unwrap();
    dir
}

/// An error, with the name of the temporary directory left out.
fn error(dir: &Path, providers: &Providers, name: &str) -> String {
    let error = providers.resolve(name).unwrap_err().to_string();
    error.replace(&dir.display().to_string(), "")
}

#[test]
fn providers_are_asked_in_order() {
    let dir = room();
    std::fs::write(dir.path().join("secrets/api-key.v2"), "from a file\r\n").unwrap();
    std::fs::write(dir.path().join("secrets/db"), "first\nsecond\n\n").unwrap();
    let variables = [("QUARTERJACK_SECRET_API_KEY_V2", "from a variable\n")];
    let value = |providers: &Providers, name: &str| {
        let secret = providers.resolve(name).unwrap();
        String::from_utf8(secret.reveal().to_vec()).unwrap()
    };
    let usual = providers(dir.path(), &variables);
    assert_eq!(value(&usual, "api-key.v2"), "from a variable\n");
    assert_eq!(value(&usual, "db"), "first\nsecond\n");
    let mut settings = (*usual.settings.get()).clone();
    settings.order.swap(0, 1);
    let files_first = environment(settings.clone(), &variables);
    assert_eq!(value(&files_first, "api-key.v2"), "from a file");
    settings.dir = None;
    settings.env_prefix = "VAULT_".to_owned();
    let other = environment(settings, &[("VAULT_DB", "from another variable")]);
    assert_eq!(value(&other, "db"), "from another variable");
}

#[test]
fn credentials_of_systemd_are_secrets() {
    let dir = room();
    let credentials = dir.path().join("secrets");
    std::fs::write(credentials.join("db"), "from systemd\n").unwrap();
    let variables = [(CREDENTIALS, credentials.to_str().unwrap())];
    let on = environment(Settings::default(), &variables);
    assert_eq!(on.resolve("db").unwrap().reveal(), b"from systemd");
    insta::assert_snapshot!(error(dir.path(), &on, "key"), @r#"there is no secret "key": there is no /secrets/key, the host's environment has no QUARTERJACK_SECRET_KEY; write LoadCredential=key:PATH in the host's unit of systemd, or set QUARTERJACK_SECRET_KEY"#);
    let settings = Settings {
        order: vec![Provider::Environment],
        ..Settings::default()
    };
    let off = environment(settings, &variables);
    insta::assert_snapshot!(error(dir.path(), &off, "db"), @r#"there is no secret "db": the host's environment has no QUARTERJACK_SECRET_DB; set QUARTERJACK_SECRET_DB"#);
}

#[test]
fn a_secret_that_is_nowhere_tells_who_was_asked_and_what_would_help() {
    let dir = room();
    let usual = providers(dir.path(), &[]);
    insta::assert_snapshot!(error(dir.path(), &usual, "api-key"), @r#"there is no secret "api-key": the host's environment has no QUARTERJACK_SECRET_API_KEY, there is no /secrets/api-key; set QUARTERJACK_SECRET_API_KEY, or create the file /secrets/api-key"#);
    std::fs::remove_dir(dir.path().join("secrets")).unwrap();
    insta::assert_snapshot!(error(dir.path(), &usual, "api-key"), @r#"there is no secret "api-key": the host's environment has no QUARTERJACK_SECRET_API_KEY, cannot open the directory /secrets: No such file or directory (os error 2); set QUARTERJACK_SECRET_API_KEY, or create the file /secrets/api-key"#);
    let nobody = environment(
        Settings {
            order: Vec::new(),
            ..Settings::default()
        },
        &[],
    );
    insta::assert_snapshot!(error(dir.path(), &nobody, "api-key"), @r#"there is no secret "api-key": this host asks nobody for secrets"#);
}

#[test]
fn a_name_is_no_path() {
    let dir = room();
    std::fs::write(dir.path().join("outside"), "out of bounds").unwrap();
    let usual = providers(dir.path(), &[]);
    for name in ["../outside", "/etc/passwd", "..", ".", "", "a/b", "a\0b"] {
        let refused = usual.resolve(name).unwrap_err();
        assert!(matches!(refused, SecretError::Name(_)), "{name}: {refused}");
    }
}

#[test]
fn no_link_leads_out_of_the_directory() {
    let dir = room();
    let secrets = dir.path().join("secrets");
    std::fs::write(dir.path().join("outside"), "out of bounds").unwrap();
    symlink("../outside", secrets.join("relative")).unwrap();
    symlink(dir.path().join("outside"), secrets.join("absolute")).unwrap();
    let usual = providers(dir.path(), &[]);
    insta::assert_snapshot!(error(dir.path(), &usual, "relative"), @r#"the secret "relative" cannot be used: /secrets/relative: a path led outside of the filesystem"#);
    assert!(usual.resolve("absolute").is_err());
    // One that stays inside is how secrets are mounted into containers.
    std::fs::create_dir(secrets.join("..2026")).unwrap();
    std::fs::write(secrets.join("..2026/db"), "mounted").unwrap();
    symlink("..2026", secrets.join("..data")).unwrap();
    symlink("..data/db", secrets.join("db")).unwrap();
    assert_eq!(usual.resolve("db").unwrap().reveal(), b"mounted");
}

#[test]
fn only_a_regular_file_of_some_length_is_a_secret() {
    let dir = room();
    let secrets = dir.path().join("secrets");
    std::fs::create_dir(secrets.join("directory")).unwrap();
    let pipe = secrets.join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let write = |name: &str, length: usize| {
        std::fs::write(secrets.join(name), vec![b'a'; length]).unwrap();
    };
    write("short", 3);
    write("empty", 0);
    write("long", LONGEST + 1);
    write("longest", LONGEST);
    let usual = providers(dir.path(), &[("QUARTERJACK_SECRET_BLANK", "      ")]);
    let errors = ["directory", "pipe", "short", "empty", "long", "blank"]
        .map(|name| error(dir.path(), &usual, name));
    insta::assert_snapshot!(errors.join("\n"), @r#"
    the secret "directory" cannot be used: /secrets/directory: it is not a regular file
    the secret "pipe" cannot be used: /secrets/pipe: it is not a regular file
    the secret "short" cannot be used: /secrets/short: it is too short to be blotted out of what a job prints: at least 4 bytes
    the secret "empty" cannot be used: /secrets/empty: it is too short to be blotted out of what a job prints: at least 4 bytes
    the secret "long" cannot be used: /secrets/long: it is too long: at most 64 KiB
    the secret "blank" cannot be used: QUARTERJACK_SECRET_BLANK in the host's environment: it is too short to be blotted out of what a job prints: at least 4 bytes
    "#);
    assert_eq!(usual.resolve("longest").unwrap().reveal().len(), LONGEST);
    // With the end of a line, too.
    let mut file = vec![b'a'; LONGEST];
    file.extend_from_slice(b"\r\n");
    std::fs::write(secrets.join("line"), file).unwrap();
    assert_eq!(usual.resolve("line").unwrap().reveal().len(), LONGEST);
}

#[test]
fn a_file_that_all_can_read_is_warned_of_once() {
    let dir = room();
    let path = dir.path().join("secrets/db");
    std::fs::write(&path, "password").unwrap();
    let usual = providers(dir.path(), &[]);
    let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o640);
    usual.resolve("db").unwrap();
    assert!(usual.warned.lock().is_empty());
    mode(0o644);
    usual.resolve("db").unwrap();
    usual.resolve("db").unwrap();
    assert_eq!(*usual.warned.lock(), HashSet::from([path]));
}

#[test]
fn the_secrets_of_a_run_are_resolved_together() {
    let variables = [
        ("QUARTERJACK_SECRET_A", "first secret"),
        ("QUARTERJACK_SECRET_B", "second secret"),
    ];
    let usual = environment(Settings::default(), &variables);
    let resolve = |names: &[&str]| {
        let names = names.iter().map(|name| Arc::from(*name));
        usual.resolve_all(names).unwrap()
    };
    let run = resolve(&["a", "missing", "b", "a"]);
    assert_eq!(run.secrets.len(), 3);
    assert_eq!(run.get("b").unwrap().unwrap().reveal(), b"second secret");
    assert!(run.get("missing").unwrap().is_err());
    assert!(run.get("other").is_none());
    let redactor = run.redactor().unwrap();
    let clean = redactor.redact_text("first secret, second secret".to_owned());
    assert_eq!(clean, "[secret a], [secret b]");
    // The next run has the same one, and other secrets have another.
    assert!(Arc::ptr_eq(
        redactor,
        resolve(&["a", "b"]).redactor().unwrap()
    ));
    assert!(!Arc::ptr_eq(redactor, resolve(&["a"]).redactor().unwrap()));
    assert!(resolve(&["missing"]).redactor().is_none());
    assert!(resolve(&[]).redactor().is_none());
    assert!(!format!("{run:?}").contains("first"));
}

#[test]
fn a_secret_that_changes_is_read_anew_and_few_redactors_are_kept() {
    let dir = room();
    let usual = providers(dir.path(), &[]);
    for number in 0..KEPT + 10 {
        let value = format!("password number {number}");
        std::fs::write(dir.path().join("secrets/db"), &value).unwrap();
        let run = usual.resolve_all(["db".into()]).unwrap();
        let clean = run.redactor().unwrap().redact_text(value);
        assert_eq!(clean, "[secret db]");
    }
    assert_eq!(usual.kept.lock().len(), KEPT);
}
