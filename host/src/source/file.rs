//! A job file on disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{DefinitionFile, directory_of};
use super::document::DocumentReader;
use super::{Document, JobSource, Snapshot, SourceError};
use crate::job::SourceText;
use crate::job::manifest::Options;
use crate::policy::Policy;

/// Reads definitions from a job file.
///
/// The operator named the file, so its links are the operator's word as well: they are followed
/// wherever they lead, anew at each reading. That is what an atomic switch of a link needs, as
/// in a directory that Kubernetes mounts for a ConfigMap. Relative directories in the file are
/// relative to where the operator's path says that the file is, not to where its links lead.
#[derive(Debug)]
pub struct FileSource {
    name: Arc<str>,
    path: PathBuf,
    reading: Mutex<Reading>,
}

#[derive(Debug)]
struct Reading {
    /// What the operator allows.
    policy: Arc<Policy>,
    document: DocumentReader,
}

impl FileSource {
    /// A source that reads `path`, whose jobs are under the ceiling of `policy`. The file need
    /// not be there yet.
    pub fn new(path: impl Into<PathBuf>, policy: Arc<Policy>) -> Self {
        let path = path.into();
        let name: Arc<str> = path.to_string_lossy().into();
        let options = Options {
            base: path.parent().map(Path::to_owned).unwrap_or_default(),
            ..Options::default()
        };
        FileSource {
            reading: Mutex::new(Reading {
                policy,
                document: DocumentReader::new(name.clone(), options),
            }),
            name,
            path,
        }
    }
}

impl JobSource for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self) -> Result<Snapshot, SourceError> {
        // Held throughout: two readers at once would only do the same work twice.
        let Reading { policy, document } = &mut *self.reading.lock();
        let file = DefinitionFile {
            name: &self.name,
            path: &self.path,
        };
        let (document, unchanged) = document.read(file.read(), policy);
        let Document { name, read } = document;
        Ok(Snapshot {
            documents: vec![Document {
                name,
                read: Ok(read?),
            }],
            unchanged,
        })
    }

    fn set_policy(&self, policy: Arc<Policy>) {
        let reading = &mut *self.reading.lock();
        reading.policy = policy;
        reading.document.forget();
    }

    fn restore(&self, documents: &[Arc<SourceText>]) -> Snapshot {
        let Reading { policy, document } = &*self.reading.lock();
        let ours = documents.iter().filter(|text| *text.name() == self.name);
        Snapshot {
            documents: ours.map(|text| document.restore(text, policy)).collect(),
            unchanged: false,
        }
    }

    fn directories(&self) -> Vec<PathBuf> {
        vec![directory_of(&self.path)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Manifest;
    use std::fs;

    const ONE: &str = r#"[{"id": "a", "component": "a.wasm", "trigger": "0 0 * * *"}]"#;
    const TWO: &str = r#"[{"id": "b", "component": "a.wasm", "trigger": "0 0 * * *"}]"#;

    fn source(path: impl Into<PathBuf>) -> FileSource {
        FileSource::new(path, Arc::default())
    }

    /// What the one document of a snapshot says.
    fn manifest(snapshot: &Snapshot) -> &Arc<Manifest> {
        let [document] = &snapshot.documents[..] else {
            panic!("{snapshot:?}")
        };
        document.read.as_ref().unwrap()
    }

    fn first_id(snapshot: &Snapshot) -> String {
        manifest(snapshot).jobs().next().unwrap().id.to_string()
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
        assert!(second.unchanged && Arc::ptr_eq(manifest(&first), manifest(&second)));
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
        assert!(manifest(&source(&path).read().unwrap()).entries.is_empty());
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
        let job = manifest(&snapshot).jobs().next().unwrap();
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
            let problems = manifest(snapshot).problems();
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
            |snapshot: &Snapshot| manifest(snapshot).jobs().next().unwrap().trigger.clone();
        assert_ne!(trigger(&first), trigger(&second));
        fs::write(&calendar, "nonsense").unwrap();
        assert!(told(&source.read().unwrap()).contains("cannot be used"));
    }
}
