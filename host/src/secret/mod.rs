//! Secrets: where the operator keeps them, and how they are kept out of everything that is told.

mod redact;

use std::env::VarError;
use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt as _};
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::job::check_secret_name;

pub use redact::{Redactor, Stream};

/// The largest secret, in bytes.
const LARGEST: u64 = 16 << 10;

/// The shortest secret, in bytes: what is shorter cannot be told from ordinary text.
const SHORTEST: usize = 4;

/// A secret's value: never printed, and wiped from memory when it is dropped.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// The value itself. Whoever asks for it must keep it out of everything that is told.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("[secret]")
    }
}

/// Where the operator keeps secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What the names of variables in the host's environment begin with that hold a secret: the
    /// secret `api-key` is in `QUARTERJACK_SECRET_API_KEY`.
    pub env_prefix: String,
    /// The directory that has a file for each secret.
    pub dir: Option<PathBuf>,
    /// Who is asked, the first first; nobody else is. The first to have a secret gives it.
    pub order: Vec<Provider>,
}

impl Default for Settings {
    /// systemd's credentials, then the environment.
    fn default() -> Self {
        Settings {
            env_prefix: "QUARTERJACK_SECRET_".to_owned(),
            dir: None,
            order: vec![Provider::Systemd, Provider::Environment],
        }
    }
}

/// Who knows secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// The files that systemd puts in `$CREDENTIALS_DIRECTORY`; none where that is not set.
    Systemd,
    /// The files of a directory.
    Directory,
    /// The environment.
    Environment,
}

impl Provider {
    /// All, in the order in which they are asked where the file does not say.
    pub const ALL: [Provider; 3] = [
        Provider::Systemd,
        Provider::Directory,
        Provider::Environment,
    ];

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Systemd => "systemd",
            Provider::Directory => "dir",
            Provider::Environment => "env",
        }
    }
}

/// Why a secret cannot be given. Never says anything of its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Its name is none.
    #[error("{0}")]
    Name(String),
    /// Nobody has it.
    #[error("no provider has the secret {name}; asked: {}", .asked.join(", "))]
    Missing {
        /// Its name.
        name: String,
        /// Where it was looked for.
        asked: Vec<String>,
    },
    /// A provider has it and cannot give it.
    #[error("the secret {name} cannot be read from {place}: {why}")]
    Unreadable {
        /// Its name.
        name: String,
        /// Where it is.
        place: String,
        /// What is wrong.
        why: String,
    },
}

/// The operator's providers of secrets.
#[derive(Debug, Default)]
pub struct Providers {
    settings: Settings,
    /// Files that others may read, and of which that has been told.
    told: Mutex<Vec<PathBuf>>,
}

impl Providers {
    /// Providers as they are set up.
    pub fn new(settings: Settings) -> Self {
        Providers {
            settings,
            told: Mutex::default(),
        }
    }

    /// The secret of a name. Reads files: not for threads that must not wait.
    ///
    /// # Errors
    /// Nobody has it, or whoever has it cannot give it.
    pub fn resolve(&self, name: &str) -> Result<Secret, SecretError> {
        check_secret_name(name).map_err(SecretError::Name)?;
        let mut asked = Vec::new();
        for provider in &self.settings.order {
            let dir = match provider {
                Provider::Environment => {
                    let variable = format!("{}{}", self.settings.env_prefix, as_variable(name));
                    match std::env::var(&variable) {
                        Ok(value) => return checked(name, &variable, value.into_bytes()),
                        Err(VarError::NotUnicode(_)) => {
                            return Err(unreadable(name, &variable, "it is not UTF-8"));
                        }
                        Err(VarError::NotPresent) => {
                            asked.push(format!("the variable {variable}"));
                            continue;
                        }
                    }
                }
                Provider::Directory => self.settings.dir.clone(),
                Provider::Systemd => credentials(),
            };
            let Some(dir) = dir else { continue };
            if let Some(value) = self.read(&dir, name)? {
                return Ok(value);
            }
            asked.push(format!("the file {}", dir.join(name).display()));
        }
        if asked.is_empty() {
            asked.push("nobody, as none is set up".to_owned());
        }
        let name = name.to_owned();
        Err(SecretError::Missing { name, asked })
    }

    /// A file of a directory; nothing if there is none of the name.
    fn read(&self, dir: &Path, name: &str) -> Result<Option<Secret>, SecretError> {
        let place = dir.join(name);
        let shown = place.display().to_string();
        let failed = |error: io::Error| unreadable(name, &shown, &error.to_string());
        // No link leads out of the directory: a link to another of its files, as Kubernetes
        // makes them, may be followed.
        let opened = match Dir::open_ambient_dir(dir, ambient_authority()) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let metadata = match opened.metadata(name) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if !metadata.is_file() {
            return Err(unreadable(name, &shown, "it is not a regular file"));
        }
        let file = opened.open(name).map_err(failed)?;
        let mut value = Zeroizing::new(Vec::new());
        file.take(LARGEST + 2)
            .read_to_end(&mut value)
            .map_err(failed)?;
        if metadata.mode() & 0o004 != 0 {
            let mut told = self.told.lock();
            if !told.contains(&place) {
                tracing::warn!(file = shown, "everybody on this machine can read a secret");
                told.push(place);
            }
        }
        // Editors and `echo` end a file with a newline that is no part of the secret.
        if value.last() == Some(&b'\n') {
            value.pop();
            if value.last() == Some(&b'\r') {
                value.pop();
            }
        }
        checked(name, &shown, std::mem::take(&mut *value)).map(Some)
    }
}

/// The directory of the credentials that systemd passes.
fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

/// A secret's name as the end of a variable's.
fn as_variable(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            '-' | '.' => '_',
            letter => letter.to_ascii_uppercase(),
        })
        .collect()
}

fn checked(name: &str, place: &str, value: Vec<u8>) -> Result<Secret, SecretError> {
    let value = Zeroizing::new(value);
    if value.len() < SHORTEST {
        let why = format!(
            "it has fewer than {SHORTEST} bytes, too few to be kept out of what a job prints"
        );
        return Err(unreadable(name, place, &why));
    }
    if value.len() as u64 > LARGEST {
        let why = format!("it has more than {LARGEST} bytes");
        return Err(unreadable(name, place, &why));
    }
    Ok(Secret(Arc::new(value)))
}

fn unreadable(name: &str, place: &str, why: &str) -> SecretError {
    SecretError::Unreadable {
        name: name.to_owned(),
        place: place.to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
impl Secret {
    pub(crate) fn of(value: &[u8]) -> Secret {
        Secret(Arc::new(Zeroizing::new(value.to_vec())))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn files(dir: &Path) -> Providers {
        Providers::new(Settings {
            dir: Some(dir.to_owned()),
            order: vec![Provider::Directory],
            ..Settings::default()
        })
    }

    #[test]
    fn a_file_of_the_directory_is_a_secret() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("secrets");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(root.path().join("outside"), "outside").unwrap();
        for (name, value) in [
            ("api-key", "s3cret\n"),
            ("two.lines", "one\ntwo\r\n"),
            ("short", "abc\n"),
            ("empty", ""),
        ] {
            std::fs::write(dir.join(name), value).unwrap();
        }
        std::fs::write(dir.join("large"), "x".repeat(20_000)).unwrap();
        std::fs::create_dir(dir.join("directory")).unwrap();
        symlink("api-key", dir.join("link")).unwrap();
        symlink("../outside", dir.join("link-out")).unwrap();
        let providers = files(&dir);
        let value = |name: &str| providers.resolve(name).map(|it| it.reveal().to_vec());
        assert_eq!(value("api-key"), Ok(b"s3cret".to_vec()));
        assert_eq!(value("two.lines"), Ok(b"one\ntwo".to_vec()));
        assert_eq!(value("link"), Ok(b"s3cret".to_vec()));
        let mut told = String::new();
        for name in [
            "missing",
            "short",
            "empty",
            "large",
            "directory",
            "link-out",
            "../outside",
            "",
        ] {
            let error = value(name).unwrap_err().to_string();
            let error = error.replace(&dir.display().to_string(), "DIR");
            told.push_str(&format!("{error}\n"));
        }
        insta::assert_snapshot!(told);
        let none = files(&root.path().join("nowhere")).resolve("a-b");
        assert!(matches!(none, Err(SecretError::Missing { .. })));
    }

    #[test]
    fn a_variable_is_named_after_the_secret() {
        assert_eq!(as_variable("api-key.v2"), "API_KEY_V2");
        let providers = Providers::default();
        let error = providers.resolve("surely-not-set").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("QUARTERJACK_SECRET_SURELY_NOT_SET"),
            "{error}"
        );
    }

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret = Secret::of(b"s3cret");
        assert_eq!(format!("{secret:?}"), "[secret]");
    }
}
