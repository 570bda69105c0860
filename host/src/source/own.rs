//! The host's own definitions: those that it was given while it ran.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::document::DocumentReader;
use super::{JobSource, Snapshot, SourceError};
use crate::job::manifest::{Form, Options};
use crate::job::{Diagnostic, JobId, MadeBy, Manifest, OwnDefinition, SourceText};
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
    documents: BTreeMap<JobId, Own>,
    /// Whether it says what it said when it was read last.
    is_told: bool,
}

/// One of the definitions.
#[derive(Debug)]
struct Own {
    text: Arc<SourceText>,
    reader: DocumentReader,
    /// The job that made it, if it was not a person.
    made_by: Option<MadeBy>,
}

impl OwnSource {
    /// A source with these definitions, under the ceiling of `policy`.
    pub fn new(definitions: impl IntoIterator<Item = OwnDefinition>, policy: Arc<Policy>) -> Self {
        let document = |definition: OwnDefinition| {
            let OwnDefinition { job, text, made_by } = definition;
            let (name, reader) = reader(&job, made_by.as_ref());
            let text = Arc::new(SourceText::from_bytes(name, text.into_bytes()).ok()?);
            let own = Own {
                text,
                reader,
                made_by,
            };
            Some((job, own))
        };
        OwnSource {
            reading: Mutex::new(Reading {
                policy,
                documents: definitions.into_iter().filter_map(document).collect(),
                is_told: false,
            }),
        }
    }

    /// Reads a definition as if it were one of these, made by a job or not.
    ///
    /// # Errors
    /// Everything wrong with it, in its order.
    pub fn check(
        &self,
        id: &JobId,
        text: &str,
        made_by: Option<&MadeBy>,
    ) -> Result<Arc<Manifest>, Vec<Diagnostic>> {
        let (name, reader) = reader(id, made_by);
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
        reading.documents.get(id).map(|own| own.text.clone())
    }

    /// The job that made a definition; nothing if it was a person, or there is none.
    pub fn made_by(&self, id: &JobId) -> Option<MadeBy> {
        self.reading.lock().documents.get(id)?.made_by.clone()
    }

    /// The jobs that a job has made, in the order of their ids.
    pub fn made(&self, creator: &JobId) -> Vec<JobId> {
        let reading = self.reading.lock();
        let own = reading.documents.iter();
        let made = own.filter(|(_, own)| own.is_of(creator));
        made.map(|(id, _)| id.clone()).collect()
    }

    /// The jobs that have made others.
    pub fn creators(&self) -> BTreeSet<JobId> {
        let reading = self.reading.lock();
        let made_by = reading
            .documents
            .values()
            .filter_map(|own| own.made_by.as_ref());
        made_by.map(|by| by.creator.clone()).collect()
    }

    /// A job, and all that it has made, be it by way of others that it has made: each after the
    /// one that made it.
    pub fn lineage(&self, job: &JobId) -> Vec<JobId> {
        let reading = self.reading.lock();
        let mut made: BTreeMap<&JobId, Vec<&JobId>> = BTreeMap::new();
        for (id, own) in &reading.documents {
            if let Some(by) = &own.made_by {
                made.entry(&by.creator).or_default().push(id);
            }
        }
        let mut lineage = vec![job];
        let mut at = 0;
        while let Some(one) = lineage.get(at) {
            // Taken away, so that this ends whatever the store says.
            let made = made.remove(*one).unwrap_or_default();
            lineage.extend(made.into_iter().filter(|it| *it != job));
            at += 1;
        }
        lineage.into_iter().cloned().collect()
    }

    /// Takes a definition in, in the place of one that it has of the same job.
    pub fn put(&self, id: &JobId, text: Arc<SourceText>, made_by: Option<MadeBy>) {
        let reading = &mut *self.reading.lock();
        let (_, reader) = reader(id, made_by.as_ref());
        let own = Own {
            text,
            reader,
            made_by,
        };
        reading.documents.insert(id.clone(), own);
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

impl Own {
    fn is_of(&self, creator: &JobId) -> bool {
        let made_by = self.made_by.as_ref();
        made_by.is_some_and(|by| by.creator == *creator)
    }
}

/// How the definition of a job is read, and what it is called.
fn reader(id: &JobId, made_by: Option<&MadeBy>) -> (Arc<str>, DocumentReader) {
    let name: Arc<str> = format!("{NAME}:{id}").into();
    let options = Options {
        form: Form::One {
            id: id.as_str().into(),
            component: None,
        },
        creator: made_by.map(|by| by.creator.clone()),
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
        let documents = documents.values_mut().map(|own| {
            let bytes = own.text.text().as_bytes().to_vec();
            let (document, _) = own.reader.read(Ok(bytes), policy);
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
        for own in reading.documents.values_mut() {
            own.reader.forget();
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
    use crate::job::OnRemoval;

    const GOOD: &str = r#"{"component": "a.wasm", "trigger": "@hourly"}"#;

    fn own(id: &str, creator: Option<&str>) -> OwnDefinition {
        OwnDefinition {
            job: id.into(),
            text: GOOD.to_owned(),
            made_by: creator.map(|creator| MadeBy {
                creator: creator.into(),
                on_removal: OnRemoval::Remove,
            }),
        }
    }

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
        let manifest = source.check(&id, text, None).unwrap();
        source.put(&id, manifest.source.clone(), None);
    }

    #[test]
    fn definitions_come_and_go() {
        let source = OwnSource::new([own("b", None)], Arc::default());
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
    fn what_jobs_have_made_is_theirs() {
        let source = OwnSource::new(
            [
                own("a", None),
                own("a/1", Some("a")),
                own("a/2", Some("a")),
                own("a/2/x", Some("a/2")),
                // Nothing that this host would write.
                own("c", Some("d")),
                own("d", Some("c")),
            ],
            Arc::default(),
        );
        let (named, _) = names(&source);
        assert_eq!(named[0], "a from host:a:1");
        assert_eq!(named[1], "a/1 from host:a/1:1 (by a)");
        assert_eq!(source.made(&"a".into()), ["a/1".into(), "a/2".into()]);
        assert_eq!(source.creators().len(), 4);
        let count = |id: &str| source.lineage(&id.into()).len() - 1;
        assert_eq!(
            (count("a"), count("a/2"), count("a/1"), count("x")),
            (3, 1, 0, 0)
        );
        assert_eq!(source.made_by(&"a".into()), None);
        let text = source.get(&"a/2/x".into()).unwrap();
        source.put(&"a/2/x".into(), text, None);
        assert_eq!((count("a"), count("a/2")), (2, 0));
        assert!(
            !names(&source)
                .0
                .contains(&"a/2/x from host:a/2/x:1 (by a/2)".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_used_is_told_at_its_place() {
        let source = OwnSource::default();
        let said = |text: &str| {
            let problems = source.check(&"a".into(), text, None).unwrap_err();
            problems.first().unwrap().to_string()
        };
        insta::assert_snapshot!(said(""), @"host:a:1:1: the definition is empty: a job is a JSON object");
        insta::assert_snapshot!(said("[]"), @r#"host:a:1:1: a job is an object such as {"id": "hello", "component": "hello.wasm", "trigger": "@every 5s"}, not a list"#);
        insta::assert_snapshot!(said(r#"{"trigger": "@hourly"}"#), @r#"host:a:1:1: job `a` has no `component`: add "component": "NAME.wasm", a file of the plugins directory"#);
        insta::assert_snapshot!(said(r#"{"component": "a.wasm", "trigger": "@hurly"}"#), @"host:a:1:37: no such macro: `@hurly`: a macro is @yearly, @monthly, @weekly, @daily, @hourly, @every, @reboot or @manually; did you mean `@hourly`?");
        insta::assert_snapshot!(said(r#"{"id": "b", "component": "a.wasm", "trigger": "@hourly"}"#), @"host:a:1:1: the definition of `a` says that it is `b`: leave the `id` out, or give it the same");
    }
}
