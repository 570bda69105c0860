//! What the host keeps of definitions, by intent: its own, and what each of its sources said last.

use std::collections::HashMap;
use std::sync::Arc;

use super::{BoxFuture, StoreError};
use crate::clock::Timestamp;
use crate::job::{JobId, SourceText};

/// Where definitions are kept. Every backend passes the suite in `conformance`.
pub trait DefinitionStore: Send + Sync + 'static {
    /// What each source said last, by the name of the source.
    ///
    /// # Errors
    /// The store cannot be read.
    fn kept(&self) -> BoxFuture<'_, Result<HashMap<Arc<str>, Kept>, StoreError>>;

    /// The host's own definitions: the text of each, by its job.
    ///
    /// # Errors
    /// The store cannot be read.
    fn own(&self) -> BoxFuture<'_, Result<Vec<(JobId, String)>, StoreError>>;

    /// Keeps a definition of the host's own, in the place of one of the same job.
    ///
    /// After a crash: once this has answered, it is kept.
    ///
    /// # Errors
    /// All is as it was.
    fn put(&self, job: JobId, text: Arc<str>) -> BoxFuture<'_, Result<(), StoreError>>;

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
            own.sort();
            let own = own.into_iter().map(|(job, text)| format!("{job} {text}"));
            own.collect::<Vec<_>>()
        };
        assert!(own().await.is_empty());
        store.put("a".into(), "1".into()).await.unwrap();
        store.put("b".into(), "2".into()).await.unwrap();
        store.put("a".into(), "3".into()).await.unwrap();
        assert_eq!(own().await, ["a 3", "b 2"]);
        assert!(store.remove("a".into()).await.unwrap());
        assert!(!store.remove("a".into()).await.unwrap());
        assert_eq!(own().await, ["b 2"]);
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
