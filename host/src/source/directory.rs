//! A directory of files that hold definitions.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::DefinitionFile;
use super::document::DocumentReader;
use super::{JobSource, Snapshot, SourceError};
use crate::job::manifest::{Form, Options};
use crate::job::{Diagnostic, SourceText};
use crate::policy::Policy;

/// How many files of definitions a directory may have.
const MAX_FILES: usize = 10_000;

/// Reads definitions from the files of a directory, in the order of their names.
///
/// Which files count is told by how their names end; hidden ones, such as what editors and
/// Kubernetes leave beside the real ones, never do, nor does what is in directories beneath. Each
/// file is one document: one that is broken keeps its own jobs as they are, and no others.
///
/// Links are followed, as for a [`FileSource`](super::FileSource).
#[derive(Debug)]
pub struct DirectorySource {
    name: Arc<str>,
    path: PathBuf,
    kind: Kind,
    reading: Mutex<Reading>,
}

/// Which files of a directory count, and how they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Job files.
    JobFiles,
    /// Jobs beside their plugins, one in each file.
    Sidecars,
}

#[derive(Debug)]
struct Reading {
    /// What the operator allows.
    policy: Arc<Policy>,
    /// The readers of the files that there are.
    documents: BTreeMap<OsString, DocumentReader>,
    /// Whether it was read before, and could be.
    was_read: bool,
}

/// How the name of the one job of a plugin ends, after the plugin's own name.
const SIDECAR: &str = ".job.json";

impl DirectorySource {
    /// A source of the job files in the directory `path`: all that are named `.json` or `.jsonc`.
    /// Their jobs are under the ceiling of `policy`.
    pub fn new(path: impl Into<PathBuf>, policy: Arc<Policy>) -> Self {
        Self::of(path.into(), Kind::JobFiles, policy)
    }

    /// A source of the jobs beside the plugins in the directory `path`: `report.job.json` is the
    /// job `report` of `report.wasm`. Their jobs are under the ceiling of `policy`.
    pub fn sidecars(path: impl Into<PathBuf>, policy: Arc<Policy>) -> Self {
        Self::of(path.into(), Kind::Sidecars, policy)
    }

    /// Whether there is any job beside the plugins in the directory `path`.
    pub(super) fn has_sidecars(path: &Path) -> bool {
        let sidecars = Self::sidecars(path, Arc::default());
        sidecars.files().is_ok_and(|files| !files.is_empty())
    }

    fn of(path: PathBuf, kind: Kind, policy: Arc<Policy>) -> Self {
        let name = match kind {
            Kind::JobFiles => path.to_string_lossy().into(),
            Kind::Sidecars => path.join(format!("*{SIDECAR}")).to_string_lossy().into(),
        };
        DirectorySource {
            name,
            path,
            kind,
            reading: Mutex::new(Reading {
                policy,
                documents: BTreeMap::new(),
                was_read: false,
            }),
        }
    }

    /// The names of the files that count, in their order.
    fn files(&self) -> Result<Vec<OsString>, Box<Diagnostic>> {
        let mut files = Vec::new();
        // Through its links, as the operator named it.
        let entries = std::fs::read_dir(&self.path).map_err(|error| self.unreadable(&error))?;
        for entry in entries {
            let entry = entry.map_err(|error| self.unreadable(&error))?;
            let name = entry.file_name();
            if !self.counts(&name) || self.path.join(&name).is_dir() {
                continue;
            }
            if files.len() == MAX_FILES {
                let message = format!("has more than {MAX_FILES} files of definitions");
                let problem = Diagnostic::of_file(self.name.clone(), message);
                return Err(Box::new(problem.with_label("put many jobs into one file")));
            }
            files.push(name);
        }
        files.sort();
        Ok(files)
    }

    fn counts(&self, file: &OsString) -> bool {
        let Some(file) = file.to_str() else {
            return false; // no name that we could tell of
        };
        !file.starts_with('.')
            && match self.kind {
                Kind::JobFiles => file.ends_with(".json") || file.ends_with(".jsonc"),
                Kind::Sidecars => file.len() > SIDECAR.len() && file.ends_with(SIDECAR),
            }
    }

    /// How the file of this name is read.
    fn reader(&self, file: &Path) -> DocumentReader {
        let path = self.path.join(file);
        let file = file.to_string_lossy();
        let form = match (self.kind, file.strip_suffix(SIDECAR)) {
            (Kind::Sidecars, Some(stem)) => Form::One {
                id: stem.into(),
                component: Some(format!("{stem}.wasm").into()),
            },
            _ => Form::File,
        };
        let options = Options {
            base: self.path.clone(),
            form,
            ..Options::default()
        };
        DocumentReader::new(path.to_string_lossy().into(), options)
    }

    fn unreadable(&self, error: &io::Error) -> Box<Diagnostic> {
        let problem = |message: &str| Diagnostic::of_file(self.name.clone(), message);
        Box::new(match error.kind() {
            io::ErrorKind::NotFound => problem("no such directory"),
            io::ErrorKind::PermissionDenied => problem("permission denied")
                .with_label("the user that runs the host may not look into it"),
            _ => problem(&format!("cannot be read: {error}")),
        })
    }
}

impl JobSource for DirectorySource {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self) -> Result<Snapshot, SourceError> {
        // Held throughout: two readers at once would only do the same work twice.
        let Reading {
            policy,
            documents: readers,
            was_read,
        } = &mut *self.reading.lock();
        let files = self.files().map_err(|problem| {
            *was_read = false;
            SourceError::Unreadable(problem)
        })?;
        let mut unchanged = std::mem::replace(was_read, true);
        let before = std::mem::take(readers);
        let mut documents = Vec::with_capacity(files.len());
        let mut known = before;
        for file in files {
            let path = self.path.join(&file);
            let mut reader = known
                .remove(&file)
                .unwrap_or_else(|| self.reader(Path::new(&file)));
            let bytes = DefinitionFile {
                name: reader.name(),
                path: &path,
            }
            .read();
            // It was there a moment ago: whoever saves a file may put another in its place.
            if bytes.is_err() && !path.exists() && !path.is_symlink() {
                unchanged = false;
                continue;
            }
            let (document, same) = reader.read(bytes, policy);
            unchanged &= same;
            documents.push(document);
            readers.insert(file, reader);
        }
        // Those that are gone are left over.
        unchanged &= known.is_empty();
        Ok(Snapshot {
            documents,
            unchanged,
        })
    }

    fn set_policy(&self, policy: Arc<Policy>) {
        let reading = &mut *self.reading.lock();
        reading.policy = policy;
        for document in reading.documents.values_mut() {
            document.forget();
        }
    }

    fn restore(&self, documents: &[Arc<SourceText>]) -> Snapshot {
        let policy = self.reading.lock().policy.clone();
        let documents = documents.iter().filter_map(|text| {
            let file = Path::new(&**text.name()).file_name()?;
            let reader = self.reader(Path::new(file));
            (reader.name() == text.name()).then(|| reader.restore(text, &policy))
        });
        Snapshot {
            documents: documents.collect(),
            unchanged: false,
        }
    }

    fn directories(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn one(id: &str) -> String {
        format!(r#"[{{"id": "{id}", "component": "a.wasm", "trigger": "0 0 * * *"}}]"#)
    }

    fn source(path: impl Into<PathBuf>) -> DirectorySource {
        DirectorySource::new(path, Arc::default())
    }

    /// Each document: its file and its jobs, or what is wrong with it.
    fn told(snapshot: &Snapshot, dir: &Path) -> Vec<String> {
        let of_document = |document: &super::super::Document| {
            let name = document.name.rsplit('/').next().unwrap().to_owned();
            match &document.read {
                Ok(manifest) => {
                    let entries = manifest.entries.iter().map(|entry| match &entry.result {
                        Ok(job) => format!("{} of {}", job.id, job.component),
                        Err(problems) => problems[0].message.clone(),
                    });
                    format!("{name}: {}", entries.collect::<Vec<_>>().join(", "))
                }
                Err(error) => error
                    .to_string()
                    .replace(&format!("{}/", dir.display()), ""),
            }
        };
        snapshot.documents.iter().map(of_document).collect()
    }

    #[test]
    fn files_are_read_in_the_order_of_their_names_and_what_is_none_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("20-b.json", &one("b"));
        write("10-a.jsonc", &format!("// first\n{}", one("a")));
        write(".hidden.json", &one("h"));
        write("a.json~", &one("h"));
        write("README.md", "# no jobs");
        fs::create_dir(dir.path().join("sub.json")).unwrap();
        let source = source(dir.path());
        let snapshot = source.read().unwrap();
        assert_eq!(
            told(&snapshot, dir.path()),
            ["10-a.jsonc: a of a.wasm", "20-b.json: b of a.wasm"]
        );
        assert!(!snapshot.unchanged);
        assert!(source.read().unwrap().unchanged);
        // A new file, a changed one and one that is gone are all a change.
        write("30-c.json", &one("c"));
        assert!(!source.read().unwrap().unchanged);
        write("20-b.json", &one("bb"));
        assert!(!source.read().unwrap().unchanged);
        fs::remove_file(dir.path().join("30-c.json")).unwrap();
        let fewer = source.read().unwrap();
        assert!(!fewer.unchanged);
        assert_eq!(fewer.documents.len(), 2);
        assert!(source.read().unwrap().unchanged);
    }

    #[test]
    fn a_broken_file_is_told_of_and_the_others_are_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.json"), "[").unwrap();
        fs::write(dir.path().join("b.json"), one("b")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("c.json")).unwrap();
        let source = source(dir.path());
        let snapshot = source.read().unwrap();
        assert_eq!(
            told(&snapshot, dir.path()),
            [
                "a.json:1:1: the `[` is never closed: its `]` is missing",
                "b.json: b of a.wasm",
                "c.json: no such file: it is a link to a file that is not there",
            ]
        );
        assert!(source.read().unwrap().unchanged);
        fs::write(dir.path().join("a.json"), one("a")).unwrap();
        let snapshot = source.read().unwrap();
        assert!(!snapshot.unchanged && snapshot.documents[0].read.is_ok());
    }

    #[test]
    fn a_directory_that_is_not_there_is_told_of_until_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.d");
        let source = source(&path);
        let error = source.read().unwrap_err().to_string();
        assert!(error.ends_with("jobs.d: no such directory"), "{error}");
        fs::create_dir(&path).unwrap();
        let snapshot = source.read().unwrap();
        // The host has to hear that the trouble is over.
        assert!(!snapshot.unchanged && snapshot.documents.is_empty());
        assert!(source.read().unwrap().unchanged);
        // As is what one says that is empty from the beginning.
        assert!(
            !DirectorySource::new(&path, Arc::default())
                .read()
                .unwrap()
                .unchanged
        );
    }

    #[test]
    fn a_file_beside_a_plugin_is_one_job_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("report.job.json", r#"{"trigger": "@hourly"}"#);
        write(
            "two.job.json",
            r#"{"id": "2", "component": "report.wasm", "trigger": "@hourly"}"#,
        );
        write("bad.job.json", r#"{"trigger": "@hurly"}"#);
        write("list.job.json", &one("x"));
        write("jobs.json", &one("x"));
        write(".job.json", &one("x"));
        let source = DirectorySource::sidecars(dir.path(), Arc::default());
        insta::assert_snapshot!(told(&source.read().unwrap(), dir.path()).join("\n"), @r#"
        bad.job.json: no such macro: `@hurly`
        list.job.json: a job is an object such as {"id": "hello", "component": "hello.wasm", "trigger": "@every 5s"}, not a list
        report.job.json: report of report.wasm
        two.job.json: 2 of report.wasm
        "#);
    }
}
