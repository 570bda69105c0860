//! What stands in for a kind of source that this build of the host cannot read.

use std::path::PathBuf;
use std::sync::Arc;

use super::{JobSource, Snapshot, SourceError};
use crate::job::{Diagnostic, SourceText};
use crate::policy::Policy;

/// A source that says at each reading that it cannot be read, so that the host does not start
/// without jobs that its operator counts on.
pub(super) struct UnavailableSource {
    place: Arc<str>,
}

impl UnavailableSource {
    /// Stands in for what would be read from a place, as it is named for people.
    pub(super) fn new(place: &Arc<str>) -> Self {
        UnavailableSource {
            place: place.clone(),
        }
    }
}

impl JobSource for UnavailableSource {
    fn name(&self) -> &str {
        &self.place
    }

    fn read(&self) -> Result<Snapshot, SourceError> {
        let message = "cannot be read: this build of the host reads no databases";
        let problem = Diagnostic::of_file(self.place.clone(), message)
            .with_label("take its [[source]] out, or a build that does");
        Err(SourceError::Unreadable(Box::new(problem)))
    }

    fn set_policy(&self, _: Arc<Policy>) {}

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
