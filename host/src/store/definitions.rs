//! What the host keeps of definitions, by intent: its own, and what each of its sources said last.

use std::collections::HashMap;
use std::sync::Arc;

use super::{BoxFuture, StoreError};
use crate::clock::Timestamp;
use crate::job::{DefinitionDigest, JobId, OwnDefinition, SourceText};
use crate::record::{ChangeKind, JobChange};

/// Where definitions are kept. Every backend passes the suite in `conformance`.
pub trait DefinitionStore: Send + Sync + 'static {
    /// What each source said last, by the name of the source.
    ///
    /// # Errors
    /// The store cannot be read.
    fn kept(&self) -> BoxFuture<'_, Result<HashMap<Arc<str>, Kept>, StoreError>>;

    /// The host's own definitions.
    ///
    /// # Errors
    /// The store cannot be read.
    fn own(&self) -> BoxFuture<'_, Result<Vec<OwnDefinition>, StoreError>>;

    /// Keeps a definition of the host's own, in the place of one of the same job.
    ///
    /// After a crash: once this has answered, it is kept.
    ///
    /// # Errors
    /// All is as it was.
    fn put(&self, definition: OwnDefinition) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Gives a definition of the host's own up. Says whether there was one.
    ///
    /// After a crash: once this has answered, it is gone.
    ///
    /// # Errors
    /// All is as it was.
    fn remove(&self, job: JobId) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Keeps what a source says in the place of what it said before. Does not wait.
    ///
    /// After a crash: what the source said before may be what is kept; never a mixture.
    fn keep(&self, source: Arc<str>, kept: Kept);

    /// Notes what has become of jobs. Does not wait.
    ///
    /// A job that comes into service as it was when it last changed has not changed: that is how
    /// a host starts. Whether it was added or updated is told by what was noted of it before, and
    /// only the newest [`KEPT_CHANGES`](crate::record::KEPT_CHANGES) of a job are kept.
    ///
    /// After a crash: the note may be missing.
    fn changed(&self, changes: Vec<JobChange>);

    /// The changes of a job, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    fn changes(&self, job: JobId) -> BoxFuture<'_, Result<Vec<JobChange>, StoreError>>;
}

/// What is noted of a change, given the newest one that was noted of the job: nothing if it is
/// none.
pub(super) fn noted(change: &JobChange, last: Option<Last>) -> Option<ChangeKind> {
    let in_service = last.filter(|last| last.change != ChangeKind::Removed);
    match (change.change, in_service) {
        (ChangeKind::Removed, last) => last.map(|_| ChangeKind::Removed),
        (_, None) => Some(ChangeKind::Added),
        (_, Some(last)) if last.definition == change.definition && change.fields.is_empty() => None,
        (_, Some(_)) => Some(ChangeKind::Updated),
    }
}

/// What was noted last of a job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last {
    pub(super) change: ChangeKind,
    pub(super) definition: Option<DefinitionDigest>,
}

/// What a source said, sound enough to be put into service.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its documents, in its order.
    pub documents: Vec<Arc<SourceText>>,
    /// When it said so.
    pub at: Timestamp,
}

#[cfg(test)]
pub(in crate::store) mod conformance {
    use super::super::conformance::instant;
    use super::*;
    use crate::job::{MadeBy, OnRemoval};
    use crate::record::{FieldChange, KEPT_CHANGES};

    fn text(name: &str, text: &str) -> Arc<SourceText> {
        Arc::new(SourceText::new(name, text))
    }

    async fn told(store: &impl DefinitionStore) -> Vec<String> {
        let kept = store.kept().await.unwrap();
        let mut told: Vec<String> = kept
            .iter()
            .map(|(source, kept)| {
                let documents = kept.documents.iter();
                let documents: Vec<String> = documents
                    .map(|it| format!("{} {}", it.name(), it.text()))
                    .collect();
                format!(
                    "{source} at {}: {}",
                    kept.at.timestamp(),
                    documents.join(", ")
                )
            })
            .collect();
        told.sort();
        told
    }

    /// What was put is there until it is removed.
    pub(in crate::store) async fn own_definitions_are_kept(store: &impl DefinitionStore) {
        let own = async || {
            let mut own = store.own().await.unwrap();
            own.sort_by(|one, other| one.job.cmp(&other.job));
            let own = own.into_iter().map(|it| {
                let by = it.made_by.map(|by| {
                    let on_removal = by.on_removal.as_str();
                    format!(" of {}: {on_removal}", by.creator)
                });
                format!("{} {}{}", it.job, it.text, by.unwrap_or_default())
            });
            own.collect::<Vec<_>>()
        };
        let put = async |job: &str, text: &str, by: Option<OnRemoval>| {
            let definition = OwnDefinition {
                job: job.into(),
                text: text.to_owned(),
                made_by: by.map(|on_removal| MadeBy {
                    creator: "b".into(),
                    on_removal,
                }),
            };
            store.put(definition).await.unwrap();
        };
        assert!(own().await.is_empty());
        put("a", "1", None).await;
        put("b", "2", None).await;
        put("a", "3", None).await;
        assert_eq!(own().await, ["a 3", "b 2"]);
        // Whose it is, is kept with it.
        put("c", "4", Some(OnRemoval::Keep)).await;
        put("d", "5", Some(OnRemoval::Remove)).await;
        put("c", "6", Some(OnRemoval::Remove)).await;
        assert_eq!(
            own().await,
            ["a 3", "b 2", "c 6 of b: remove", "d 5 of b: remove"]
        );
        put("d", "5", Some(OnRemoval::Keep)).await;
        put("c", "6", None).await;
        assert_eq!(own().await, ["a 3", "b 2", "c 6", "d 5 of b: keep"]);
        assert!(store.remove("a".into()).await.unwrap());
        assert!(!store.remove("a".into()).await.unwrap());
        assert!(store.remove("c".into()).await.unwrap());
        assert_eq!(own().await, ["b 2", "d 5 of b: keep"]);
    }

    /// What became of a job is told, and what became of none is not.
    pub(in crate::store) async fn changes_are_noted(store: &impl DefinitionStore) {
        let change = |second, change, digest, fields: &[&str]| JobChange {
            job: "a".into(),
            at: instant(second),
            change,
            origin: format!("jobs.json:{second}"),
            by: (second == 3).then(|| "ann".to_owned()),
            version: Some(digest),
            definition: Some(DefinitionDigest(digest)),
            fields: fields.iter().map(|it| FieldChange::named(it)).collect(),
        };
        let told = async || {
            let changes = store.changes("a".into()).await.unwrap();
            let told = changes.iter().map(|it| {
                let fields: Vec<&str> = it.fields.iter().map(|it| it.field.as_str()).collect();
                let (at, what) = (it.at.timestamp(), it.change.as_str());
                assert_eq!(it.origin, format!("jobs.json:{at}"));
                let by = it.by.as_deref().unwrap_or("nobody");
                format!("{at} {what} {:?} {} {by}", it.version, fields.join(" "))
            });
            told.collect::<Vec<_>>()
        };
        assert!(told().await.is_empty());
        // Nobody knew it.
        store.changed(vec![change(1, ChangeKind::Removed, 1, &[])]);
        store.changed(vec![
            change(2, ChangeKind::Updated, 1, &[]),
            change(3, ChangeKind::Updated, 2, &["args"]),
        ]);
        // As it was: a host has started.
        store.changed(vec![change(4, ChangeKind::Added, 2, &[])]);
        // It was changed meanwhile, or only a ceiling was.
        store.changed(vec![change(5, ChangeKind::Added, 3, &[])]);
        store.changed(vec![change(6, ChangeKind::Updated, 3, &["limits"])]);
        store.changed(vec![
            change(7, ChangeKind::Removed, 3, &[]),
            change(8, ChangeKind::Removed, 3, &[]),
            change(9, ChangeKind::Added, 3, &[]),
        ]);
        assert_eq!(
            told().await,
            [
                "9 added Some(3)  nobody",
                "7 removed Some(3)  nobody",
                "6 updated Some(3) limits nobody",
                "5 updated Some(3)  nobody",
                "3 updated Some(2) args ann",
                "2 added Some(1)  nobody",
            ]
        );
        assert!(store.changes("b".into()).await.unwrap().is_empty());
        let many = (10..200).map(|it| change(it, ChangeKind::Updated, it.cast_unsigned(), &[]));
        store.changed(many.collect());
        let told = told().await;
        assert_eq!(told.len(), KEPT_CHANGES as usize);
        assert!(told[0].starts_with("199 updated"));
    }

    /// What a source said last is what is kept of it, in its order.
    pub(in crate::store) async fn what_was_said_last_is_kept(store: &impl DefinitionStore) {
        assert!(told(store).await.is_empty());
        let keep = |source: &str, documents: Vec<Arc<SourceText>>, second| {
            let at = instant(second);
            store.keep(source.into(), Kept { documents, at });
        };
        keep("a", vec![text("a", "[]")], 1);
        keep("d", vec![text("d/2", "[2]"), text("d/1", "[1]")], 2);
        keep("a", vec![text("a", "[3]")], 3);
        assert_eq!(
            told(store).await,
            ["a at 3: a [3]", "d at 2: d/2 [2], d/1 [1]"]
        );
        keep("d", vec![], 4);
        assert_eq!(told(store).await, ["a at 3: a [3]", "d at 4: "]);
    }
}
