//! The sources as the host follows them: what has been said of each, and what each says now.

use std::collections::HashMap;
use std::sync::Arc;

use super::host::Host;
use crate::event::Event;
use crate::source::{Snapshot, SourceError};

/// What the host knows of a source.
pub(super) struct FollowedSource {
    name: String,
    /// What was last wrong with it as a whole.
    failure: Option<SourceError>,
    /// What is wrong with documents of it.
    broken: HashMap<Arc<str>, SourceError>,
}

impl FollowedSource {
    /// A source that has not been read yet.
    pub(super) fn new(name: impl Into<String>) -> Self {
        FollowedSource {
            name: name.into(),
            failure: None,
            broken: HashMap::new(),
        }
    }

    /// The source, as the operator named it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Takes note of what its documents hold, and gives what was not wrong with them before.
    fn note_documents(&mut self, snapshot: &Snapshot) -> Vec<SourceError> {
        let mut news = Vec::new();
        let mut broken = HashMap::new();
        for document in &snapshot.documents {
            let Err(error) = &document.read else { continue };
            if self.broken.get(&document.name) != Some(error) {
                news.push(error.clone());
            }
            broken.insert(document.name.clone(), error.clone());
        }
        self.broken = broken;
        news
    }
}

impl Host {
    /// A source has been read. A trouble that lasts is told once.
    pub(super) async fn source_read(&mut self, source: usize, read: Result<Snapshot, SourceError>) {
        let Some(followed) = self.sources.get_mut(source) else {
            return;
        };
        match read {
            Ok(snapshot) => {
                followed.failure = None;
                for error in followed.note_documents(&snapshot) {
                    self.reject(&error);
                }
                self.catalog.set(source, &snapshot);
                self.reconcile(source).await;
            }
            Err(error) => {
                if followed.failure.as_ref() != Some(&error) {
                    followed.failure = Some(error.clone());
                    self.reject(&error);
                }
                // An operator who lowers a ceiling means it, whatever became of the source.
                if self.catalog.is_to_judge(source) {
                    self.reconcile(source).await;
                }
            }
        }
    }

    fn reject(&self, error: &SourceError) {
        self.tell(Event::JobRejected {
            job: None,
            problems: error.problems().to_vec(),
        });
    }
}
