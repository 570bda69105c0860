//! The host's own definitions: those that it was given while it ran.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::document::DocumentReader;
use super::{JobSource, Snapshot, SourceError};
use crate::job::manifest::{Form, Options};
use crate::job::{Diagnostic, JobId, Manifest, SourceText};
use crate::policy::Policy;

/// The name of the source.
const NAME: &str = "host";

/// The definitions that a host keeps itself, each a document of its own, in the order of their
/// ids. Relative paths in them are relative to the working directory of the host.
#[derive(Debug, Default)]
pub struct OwnSource {
    reading: Mutex<Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    /// What the operator allows.
    policy: Arc<Policy>,
    documents: BTreeMap<JobId, (Arc<SourceText>, DocumentReader)>,
    /// Whether it says what it said when it was read last.
    is_told: bool,
}

impl OwnSource {
    /// A source with these definitions, under the ceiling of `policy`.
    pub fn new(
        definitions: impl IntoIterator<Item = (JobId, String)>,
        policy: Arc<Policy>,
    ) -> Self {
        let document = |(id, text): (JobId, String)| {
            let (name, reader) = reader(&id);
            let text = Arc::new(SourceText::from_bytes(name, text.into_bytes()).ok()?);
            Some((id, (text, reader)))
        };
        OwnSource {
            reading: Mutex::new(Reading {
                policy,
                documents: definitions.into_iter().filter_map(document).collect(),
                is_told: false,
            }),
        }
    }

    /// Reads a definition as if it were one of these.
    ///
    /// # Errors
    /// Everything wrong with it, in its order.
    pub fn check(&self, id: &JobId, text: &str) -> Result<Arc<Manifest>, Vec<Diagnostic>> {
        let (name, reader) = reader(id);
        let text =
            SourceText::from_bytes(name, text.as_bytes().to_vec()).map_err(|it| vec![*it])?;
        let text = Arc::new(text);
        if text.text().trim().is_empty() {
            let problem = Diagnostic::error(&text, 0..0, "the definition is empty");
            return Err(vec![problem.with_label("a job is a JSON object")]);
        }
        let policy = self.reading.lock().policy.clone();
        let document = reader.restore(&text, &policy);
        let manifest = document.read.map_err(|error| error.problems().to_vec())?;
        for entry in &manifest.entries {
            if let Err(problems) = &entry.result {
                return Err(problems.clone());
            }
            if let Some(other) = entry.id.as_ref().filter(|other| *other != id) {
                let message = format!("the definition of `{id}` says that it is `{other}`");
                let problem = Diagnostic::error(&text, 0..1, message);
                return Err(vec![
                    problem.with_label("leave the `id` out, or give it the same"),
                ]);
            }
        }
        Ok(manifest)
    }

    /// The definition of a job, as it was given.
    pub fn get(&self, id: &JobId) -> Option<Arc<SourceText>> {
        let reading = self.reading.lock();
        reading.documents.get(id).map(|(text, _)| text.clone())
    }

    /// Takes a definition in, in the place of one that it has of the same job.
    pub fn put(&self, id: &JobId, manifest: &Manifest) {
        let reading = &mut *self.reading.lock();
        let (_, reader) = reader(id);
        let text = manifest.source.clone();
        reading.documents.insert(id.clone(), (text, reader));
        reading.is_told = false;
    }

    /// Gives a definition up. Says whether there was one.
    pub fn remove(&self, id: &JobId) -> bool {
        let reading = &mut *self.reading.lock();
        let was_there = reading.documents.remove(id).is_some();
        reading.is_told &= !was_there;
        was_there
    }
}

/// How the definition of a job is read, and what it is called.
fn reader(id: &JobId) -> (Arc<str>, DocumentReader) {
    let name: Arc<str> = format!("{NAME}:{id}").into();
    let options = Options {
        form: Form::One {
            id: id.as_str().into(),
            component: None,
        },
        ..Options::default()
    };
    (name.clone(), DocumentReader::new(name, options))
}

impl JobSource for OwnSource {
    fn name(&self) -> &str {
        NAME
    }

    fn read(&self) -> Result<Snapshot, SourceError> {
        let Reading {
            policy,
            documents,
            is_told,
        } = &mut *self.reading.lock();
        let documents = documents.values_mut().map(|(text, reader)| {
            let (document, _) = reader.read(Ok(text.text().as_bytes().to_vec()), policy);
            document
        });
        Ok(Snapshot {
            documents: documents.collect(),
            unchanged: std::mem::replace(is_told, true),
        })
    }

    fn set_policy(&self, policy: Arc<Policy>) {
        let reading = &mut *self.reading.lock();
        reading.policy = policy;
        reading.is_told = false;
        for (_, document) in reading.documents.values_mut() {
            document.forget();
        }
    }

    fn restore(&self, _: &[Arc<SourceText>]) -> Snapshot {
        Snapshot {
            documents: Vec::new(),
            unchanged: false,
        }
    }

    fn directories(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"component": "a.wasm", "trigger": "@hourly"}"#;

    fn names(source: &OwnSource) -> (Vec<String>, bool) {
        let snapshot = source.read().unwrap();
        let names = snapshot.manifests().flat_map(|it| it.jobs());
        let names = names
            .map(|job| format!("{} from {}", job.id, job.origin))
            .collect();
        (names, snapshot.unchanged)
    }

    fn put(source: &OwnSource, id: &str, text: &str) {
        let id = JobId::from(id);
        source.put(&id, &source.check(&id, text).unwrap());
    }

    #[test]
    fn definitions_come_and_go() {
        let source = OwnSource::new([("b".into(), GOOD.to_owned())], Arc::default());
        assert_eq!(names(&source), (vec!["b from host:b:1".to_owned()], false));
        put(&source, "a", &format!("// first\n{GOOD}"));
        let both = ["a from host:a:2".to_owned(), "b from host:b:1".to_owned()];
        assert_eq!(names(&source), (both.to_vec(), false));
        assert!(names(&source).1);
        assert!(
            source
                .get(&"a".into())
                .unwrap()
                .text()
                .starts_with("// first")
        );
        assert!(source.remove(&"a".into()));
        assert!(!source.remove(&"a".into()));
        assert_eq!(names(&source), (vec!["b from host:b:1".to_owned()], false));
    }

    #[test]
    fn what_cannot_be_used_is_told_at_its_place() {
        let source = OwnSource::default();
        let said = |text: &str| {
            let problems = source.check(&"a".into(), text).unwrap_err();
            problems.first().unwrap().to_string()
        };
        insta::assert_snapshot!(said(""), @"host:a:1:1: the definition is empty: a job is a JSON object");
        insta::assert_snapshot!(said("[]"), @r#"host:a:1:1: a job is an object such as {"id": "hello", "component": "hello.wasm", "trigger": "@every 5s"}, not a list"#);
        insta::assert_snapshot!(said(r#"{"trigger": "@hourly"}"#), @r#"host:a:1:1: job `a` has no `component`: add "component": "NAME.wasm", a file of the plugins directory"#);
        insta::assert_snapshot!(said(r#"{"component": "a.wasm", "trigger": "@hurly"}"#), @"host:a:1:37: no such macro: `@hurly`: a macro is @yearly, @monthly, @weekly, @daily, @hourly, @every, @reboot or @manually; did you mean `@hourly`?");
        insta::assert_snapshot!(said(r#"{"id": "b", "component": "a.wasm", "trigger": "@hourly"}"#), @"host:a:1:1: the definition of `a` says that it is `b`: leave the `id` out, or give it the same");
    }
}
