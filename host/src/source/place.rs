//! A path that the operator named, be it a job file or a directory of them.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirectorySource, FileSource, JobSource, Snapshot, SourceError};
use crate::job::SourceText;
use crate::policy::Policy;

/// Reads definitions from whatever is at a path when it is read: a [`FileSource`] or a
/// [`DirectorySource`]. Where nothing is, a file is missed.
#[derive(Debug)]
pub struct PlaceSource {
    path: PathBuf,
    file: FileSource,
    directory: DirectorySource,
    /// Whether it was a directory when it was last read.
    was_directory: Mutex<bool>,
}

impl PlaceSource {
    /// A source that reads what is at `path`, whose jobs are under the ceiling of `policy`.
    pub fn new(path: impl Into<PathBuf>, policy: &Arc<Policy>) -> Self {
        let path = path.into();
        PlaceSource {
            was_directory: Mutex::new(path.is_dir()),
            file: FileSource::new(path.clone(), policy.clone()),
            directory: DirectorySource::new(path.clone(), policy.clone()),
            path,
        }
    }
}

impl JobSource for PlaceSource {
    fn name(&self) -> &str {
        self.file.name()
    }

    fn read(&self) -> Result<Snapshot, SourceError> {
        let is_directory = self.path.is_dir();
        let is_same = std::mem::replace(&mut *self.was_directory.lock(), is_directory);
        let is_same = is_same == is_directory;
        let snapshot = match is_directory {
            true => self.directory.read()?,
            false => self.file.read()?,
        };
        Ok(Snapshot {
            unchanged: snapshot.unchanged && is_same,
            ..snapshot
        })
    }

    fn set_policy(&self, policy: Arc<Policy>) {
        self.file.set_policy(policy.clone());
        self.directory.set_policy(policy);
    }

    fn restore(&self, documents: &[Arc<SourceText>]) -> Snapshot {
        match documents {
            [text] if **text.name() == *self.name() => self.file.restore(documents),
            _ => self.directory.restore(documents),
        }
    }

    fn directories(&self) -> Vec<PathBuf> {
        let mut directories = self.file.directories();
        if self.path.is_dir() {
            directories.extend(self.directory.directories());
        }
        directories
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ONE: &str = r#"[{"id": "a", "component": "a.wasm", "trigger": "0 0 * * *"}]"#;

    #[test]
    fn a_file_may_become_a_directory_and_a_directory_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let source = PlaceSource::new(&path, &Arc::default());
        let names = || -> Result<Vec<String>, String> {
            let snapshot = source.read().map_err(|error| error.to_string())?;
            assert!(!snapshot.unchanged);
            assert!(source.read().unwrap().unchanged);
            let documents = snapshot.documents.iter();
            Ok(documents
                .map(|it| it.name.replace(dir.path().to_str().unwrap(), ""))
                .collect())
        };
        assert!(names().unwrap_err().ends_with("jobs: no such file"));
        fs::write(&path, ONE).unwrap();
        assert_eq!(names().unwrap(), ["/jobs"]);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a.json"), ONE).unwrap();
        assert_eq!(names().unwrap(), ["/jobs/a.json"]);
        fs::remove_dir_all(&path).unwrap();
        fs::write(&path, ONE).unwrap();
        assert_eq!(names().unwrap(), ["/jobs"]);
    }

    #[test]
    fn what_it_said_is_restored_though_nothing_is_there() {
        let source = PlaceSource::new("gone", &Arc::default());
        for name in ["gone", "gone/a.json"] {
            let text = Arc::new(SourceText::new(name, ONE));
            let snapshot = source.restore(&[text]);
            assert_eq!(snapshot.manifests().count(), 1, "{name}");
        }
    }
}
