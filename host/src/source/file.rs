//! A job file on disk.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use parking_lot::Mutex;

use super::{JobSource, Snapshot, SourceError};
use crate::job::manifest::Options;
use crate::job::{Diagnostic, MAX_SOURCE_BYTES, Manifest, ReadFile, SourceText};
use crate::policy::Policy;
use crate::trigger::MAX_ICS_BYTES;

/// Reads definitions from a job file.
///
/// The operator named the file, so its links are the operator's word as well: they are followed
/// wherever they lead, anew at each reading. That is what an atomic switch of a link needs, as
/// in a directory that Kubernetes mounts for a ConfigMap. Relative directories in the file are
/// relative to where the operator's path says that the file is, not to where its links lead.
///
/// A file whose bytes have not changed is not parsed again. An empty file is an error rather
/// than a file without jobs: it is what a reader sees of a file that is being written.
#[derive(Debug)]
pub struct FileSource {
    name: Arc<str>,
    path: PathBuf,
    options: Options,
    /// What the operator allows.
    policy: Mutex<Arc<Policy>>,
    last: Mutex<Option<Last>>,
}

/// What the last reading gave.
#[derive(Debug)]
enum Last {
    /// Its bytes are those of the manifest's text.
    Good(Arc<Manifest>),
    Bad {
        bytes: Vec<u8>,
        error: SourceError,
    },
}

impl FileSource {
    /// A source that reads `path`, whose jobs are under the ceiling of `policy`. The file need
    /// not be there yet.
    pub fn new(path: impl Into<PathBuf>, policy: Arc<Policy>) -> Self {
        let path = path.into();
        FileSource {
            name: path.to_string_lossy().into(),
            options: Options {
                base: path.parent().map(Path::to_owned).unwrap_or_default(),
                read: read_beside,
                ..Options::default()
            },
            policy: Mutex::new(policy),
            path,
            last: Mutex::new(None),
        }
    }

    /// The file, as the operator named it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the jobs under the ceiling of another policy, from the next reading on, which is then
    /// not unchanged.
    pub fn set_policy(&self, policy: Arc<Policy>) {
        let mut last = self.last.lock();
        *self.policy.lock() = policy;
        *last = None;
    }

    fn read_bytes(&self) -> Result<Vec<u8>, Box<Diagnostic>> {
        // A pipe, such as /dev/stdin, has no path of its own: it is told for what it is.
        if std::fs::metadata(&self.path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(self.not_a_file());
        }
        let real = std::fs::canonicalize(&self.path).map_err(|error| self.unreadable(&error))?;
        // The root directory alone has no name or parent.
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
            return Err(self.not_a_file());
        };
        let dir = Dir::open_ambient_dir(parent, ambient_authority())
            .map_err(|error| self.unreadable(&error))?;
        // Asked before opening, which for a named pipe would wait for a writer.
        let metadata = dir
            .metadata(name)
            .map_err(|error| self.unreadable(&error))?;
        if !metadata.is_file() {
            return Err(self.not_a_file());
        }
        let file = dir.open(name).map_err(|error| self.unreadable(&error))?;
        let limit = MAX_SOURCE_BYTES as u64 + 1;
        let mut bytes = Vec::with_capacity(metadata.len().min(limit) as usize + 1);
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| self.unreadable(&error))?;
        if bytes.len() > MAX_SOURCE_BYTES {
            return Err(Box::new(Diagnostic::too_large(self.name.clone())));
        }
        Ok(bytes)
    }

    fn not_a_file(&self) -> Box<Diagnostic> {
        let message = if self.path.is_dir() {
            "is a directory"
        } else {
            "is not a regular file"
        };
        let problem = Diagnostic::of_file(self.name.clone(), message);
        Box::new(problem.with_label("name a job file, such as jobs.json"))
    }

    fn unreadable(&self, error: &io::Error) -> Box<Diagnostic> {
        let problem = |message: &str| Diagnostic::of_file(self.name.clone(), message);
        Box::new(match error.kind() {
            io::ErrorKind::NotFound => {
                let parent = self
                    .path
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty());
                match parent {
                    Some(parent) if !parent.exists() => problem("no such file")
                        .with_label(format!("there is no directory {}", parent.display())),
                    _ if self.path.is_symlink() => problem("no such file")
                        .with_label("it is a link to a file that is not there"),
                    _ => problem("no such file"),
                }
            }
            io::ErrorKind::PermissionDenied => problem("permission denied")
                .with_label("the user that runs the host may not read it"),
            _ => problem(&format!("cannot be read: {error}")),
        })
    }

    /// Gives the bytes back if they are of no use.
    fn parse(&self, bytes: Vec<u8>) -> Result<Arc<Manifest>, (Vec<u8>, SourceError)> {
        let text = if std::str::from_utf8(&bytes).is_ok() {
            SourceText::from_bytes(self.name.clone(), bytes)
        } else {
            // Making a text of it loses the bytes.
            match SourceText::from_bytes(self.name.clone(), bytes.clone()) {
                Err(problem) => return Err((bytes, SourceError::Unusable([*problem].into()))),
                text => text,
            }
        };
        let text = match text {
            Ok(text) => Arc::new(text),
            Err(problem) => return Err((Vec::new(), SourceError::Unusable([*problem].into()))),
        };
        match Manifest::parse(text.clone(), &self.options) {
            Ok(mut manifest) => {
                self.policy.lock().judge(&mut manifest);
                Ok(Arc::new(manifest))
            }
            Err(problems) => {
                let bytes = text.text().as_bytes().to_vec();
                Err((bytes, SourceError::Unusable(problems.into())))
            }
        }
    }
}

/// Reads a file that a job file names: on the operator's word, as the job file itself.
fn read_beside(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let real = std::fs::canonicalize(path)?;
    let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let dir = Dir::open_ambient_dir(parent, ambient_authority())?;
    // Asked before opening, which for a named pipe would wait for a writer.
    if !dir.metadata(name)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let limit = limit as u64;
    dir.open(name)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!(
            "it is larger than {}",
            crate::units::format_size(limit)
        )));
    }
    Ok(bytes)
}

/// Whether the files that a manifest was read with are what they were.
fn same_files(manifest: &Manifest) -> bool {
    manifest.files.iter().all(|file| {
        let content = read_beside(&file.path, MAX_ICS_BYTES).ok();
        content.map(|content| ReadFile::digest_of(&content)) == file.digest
    })
}

impl JobSource for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self) -> Result<Snapshot, SourceError> {
        // Held throughout: two readers at once would only do the same work twice.
        let mut last = self.last.lock();
        let bytes = self.read_bytes().map_err(SourceError::Unreadable)?;
        match &*last {
            Some(Last::Good(manifest))
                if manifest.source.text().as_bytes() == bytes && same_files(manifest) =>
            {
                return Ok(Snapshot {
                    manifest: manifest.clone(),
                    unchanged: true,
                });
            }
            Some(Last::Bad { bytes: same, error }) if *same == bytes => return Err(error.clone()),
            _ => {}
        }
        match self.parse(bytes) {
            Ok(manifest) => {
                *last = Some(Last::Good(manifest.clone()));
                Ok(Snapshot {
                    manifest,
                    unchanged: false,
                })
            }
            Err((bytes, error)) => {
                *last = Some(Last::Bad {
                    bytes,
                    error: error.clone(),
                });
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ONE: &str = r#"[{"id": "a", "component": "a.wasm", "trigger": "0 0 * * *"}]"#;
    const TWO: &str = r#"[{"id": "b", "component": "a.wasm", "trigger": "0 0 * * *"}]"#;

    fn source(path: impl Into<PathBuf>) -> FileSource {
        FileSource::new(path, Arc::default())
    }

    fn first_id(snapshot: &Snapshot) -> String {
        snapshot.manifest.jobs().next().unwrap().id.to_string()
    }

    /// The error's text without the directory of the test.
    fn told(source: &FileSource, dir: &Path) -> String {
        let error = source.read().unwrap_err().to_string();
        error.replace(&dir.display().to_string(), "DIR")
    }

    #[test]
    fn an_unchanged_file_is_not_parsed_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        fs::write(&path, ONE).unwrap();
        let source = source(&path);
        let first = source.read().unwrap();
        assert!(!first.unchanged);
        fs::write(&path, ONE).unwrap();
        let second = source.read().unwrap();
        assert!(second.unchanged && Arc::ptr_eq(&first.manifest, &second.manifest));
        fs::write(&path, TWO).unwrap();
        let third = source.read().unwrap();
        assert!(!third.unchanged);
        assert_eq!(first_id(&third), "b");
        // As after an error: the host has to hear that it is over.
        fs::write(&path, "[").unwrap();
        assert_eq!(source.read().unwrap_err(), source.read().unwrap_err());
        fs::write(&path, TWO).unwrap();
        assert!(!source.read().unwrap().unchanged);
    }

    #[test]
    fn a_byte_order_mark_does_not_make_a_file_look_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        fs::write(&path, format!("\u{FEFF}{ONE}")).unwrap();
        let source = source(&path);
        assert!(!source.read().unwrap().unchanged);
        assert!(source.read().unwrap().unchanged);
    }

    #[test]
    fn what_cannot_be_read_is_told_and_recovers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        let file = source(&path);
        assert_eq!(told(&file, dir.path()), "DIR/jobs.json: no such file");
        fs::write(&path, "").unwrap();
        assert_eq!(
            told(&file, dir.path()),
            "DIR/jobs.json:1:1: the file is empty: a file without jobs holds []"
        );
        fs::write(&path, b"[\xFF]").unwrap();
        assert_eq!(
            told(&file, dir.path()),
            "DIR/jobs.json:1:2: the file is not UTF-8 text: byte 0xFF begins no character: save the file as UTF-8"
        );
        fs::write(&path, ONE).unwrap();
        assert_eq!(first_id(&file.read().unwrap()), "a");
        assert_eq!(
            told(&source(dir.path()), dir.path()),
            "DIR: is a directory: name a job file, such as jobs.json"
        );
        assert_eq!(
            told(&source(dir.path().join("sub/jobs.json")), dir.path()),
            "DIR/sub/jobs.json: no such file: there is no directory DIR/sub"
        );
    }

    #[test]
    fn a_file_without_jobs_is_one_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        fs::write(&path, "[]").unwrap();
        assert!(source(&path).read().unwrap().manifest.entries.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_a_switched_link_is_a_changed_file() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        for (name, text) in [("v1", ONE), ("v2", TWO)] {
            fs::create_dir(elsewhere.path().join(name)).unwrap();
            fs::write(elsewhere.path().join(name).join("jobs.json"), text).unwrap();
        }
        // As Kubernetes lays out a ConfigMap: jobs.json -> ..data/jobs.json, ..data -> v1.
        symlink(elsewhere.path().join("v1"), dir.path().join("..data")).unwrap();
        symlink("..data/jobs.json", dir.path().join("jobs.json")).unwrap();
        let file = source(dir.path().join("jobs.json"));
        assert_eq!(first_id(&file.read().unwrap()), "a");
        symlink(elsewhere.path().join("v2"), dir.path().join("..new")).unwrap();
        fs::rename(dir.path().join("..new"), dir.path().join("..data")).unwrap();
        assert_eq!(first_id(&file.read().unwrap()), "b");
        fs::remove_dir_all(elsewhere.path().join("v2")).unwrap();
        assert_eq!(
            told(&file, dir.path()),
            "DIR/jobs.json: no such file: it is a link to a file that is not there"
        );
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("jobs.json");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(
            told(&source(&socket), dir.path()),
            "DIR/jobs.json: is not a regular file: name a job file, such as jobs.json"
        );
    }

    #[test]
    fn host_directories_are_relative_to_the_job_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        fs::write(
            &path,
            r#"[{"id": "a", "component": "a.wasm", "trigger": "0 0 * * *", "grants": {"dirs": ["data::/data"]}}]"#,
        )
        .unwrap();
        let snapshot = source(&path).read().unwrap();
        let job = snapshot.manifest.jobs().next().unwrap();
        assert_eq!(job.grants.dirs[0].host, dir.path().join("data"));
    }

    #[test]
    fn a_calendar_beside_the_file_is_followed_too() {
        let dir = tempfile::tempdir().unwrap();
        let jobs = dir.path().join("jobs.json");
        let calendar = dir.path().join("free.ics");
        let event = |day: &str| {
            format!(
                "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1\nDTSTART;VALUE=DATE:{day}\n\
                 END:VEVENT\nEND:VCALENDAR\n"
            )
        };
        let text = r#"{"calendars": {"free": {"ics": "free.ics"}}, "jobs": [
            {"id": "a", "component": "a.wasm", "trigger": {"cron": "0 9 * * *", "not_on": "free"}}]}"#;
        fs::write(&jobs, text).unwrap();
        let source = source(&jobs);
        let told = |snapshot: &Snapshot| {
            let problems = snapshot.manifest.problems();
            problems.first().map_or(String::new(), ToString::to_string)
        };
        let without = source.read().unwrap();
        assert!(told(&without).contains("the calendar file cannot be read"));
        assert!(source.read().unwrap().unchanged);
        fs::write(&calendar, event("20261225")).unwrap();
        let first = source.read().unwrap();
        assert!(!first.unchanged);
        assert!(source.read().unwrap().unchanged);
        fs::write(&calendar, event("20261226")).unwrap();
        let second = source.read().unwrap();
        assert!(!second.unchanged);
        let trigger =
            |snapshot: &Snapshot| snapshot.manifest.jobs().next().unwrap().trigger.clone();
        assert_ne!(trigger(&first), trigger(&second));
        fs::write(&calendar, "nonsense").unwrap();
        assert!(told(&source.read().unwrap()).contains("cannot be used"));
    }
}
