//! The sources as the host follows them: what has been said of each, and what each says now.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::host::Host;
use crate::clock;
use crate::event::Event;
use crate::source::{Snapshot, SourceError};

/// How soon a source that would remove most of its jobs is read a second time, unless it is read
/// more often anyway.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// What the host knows of a source.
pub(super) struct FollowedSource {
    name: String,
    /// What was last wrong with it as a whole.
    failure: Option<SourceError>,
    /// What is wrong with documents of it.
    broken: HashMap<Arc<str>, SourceError>,
    /// What it said that would remove most of its jobs, and when, until it has said so twice.
    held: Option<(Snapshot, Instant)>,
}

impl FollowedSource {
    /// A source that has not been read yet.
    pub(super) fn new(name: impl Into<String>) -> Self {
        FollowedSource {
            name: name.into(),
            failure: None,
            broken: HashMap::new(),
            held: None,
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
                if let Some(wanted) = self.confirmed(source, snapshot) {
                    self.catalog.set(source, &wanted);
                    self.reconcile(source).await;
                } else if self.catalog.is_to_judge(source) {
                    self.reconcile(source).await;
                }
            }
            Err(error) => {
                followed.held = None;
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

    /// What a source is to be followed in, if it says something new. What would remove more than
    /// half of its jobs, such as an emptied file, counts when a second reading says the same: it
    /// may be a slip, or something that is being written.
    fn confirmed(&mut self, source: usize, snapshot: Snapshot) -> Option<Snapshot> {
        let second_look = self.refresh.min(SECOND_LOOK);
        let (removed, jobs) = match snapshot.unchanged {
            true => (0, 0),
            false => self.catalog.removals(source, &snapshot),
        };
        let now = clock::monotonic();
        let followed = self.sources.get_mut(source)?;
        if snapshot.unchanged {
            // Something else beside it may have been the reason to look again so soon.
            let long_enough = |(_, since): &mut (_, Instant)| now - *since >= second_look * 9 / 10;
            return followed.held.take_if(long_enough).map(|(held, _)| held);
        }
        followed.held = None;
        if removed * 2 <= jobs || self.allow_mass_removal {
            return Some(snapshot);
        }
        followed.held = Some((snapshot, now));
        let name = followed.name.clone();
        self.tell(Event::RemovalHeld {
            source: name,
            removed,
            jobs,
        });
        let look_again = self.look_again.clone();
        tokio::spawn(async move {
            tokio::time::sleep(second_look).await;
            look_again.now();
        });
        None
    }

    fn reject(&self, error: &SourceError) {
        self.tell(Event::JobRejected {
            job: None,
            problems: error.problems().to_vec(),
        });
    }
}
