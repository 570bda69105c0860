//! What stands in for a source that cannot even be opened.

use std::path::PathBuf;
use std::sync::Arc;

use super::{JobSource, Snapshot, SourceError};
use crate::job::{Diagnostic, SourceText};
use crate::policy::{Policy, SourceSettings};

/// A source that says at each reading why it cannot be read, so that the host does not start
/// without jobs that its operator counts on.
pub(super) struct UnavailableSource {
    name: Arc<str>,
    problem: Diagnostic,
}

impl UnavailableSource {
    /// Stands in for a source of the configuration: what is wrong, and what would be right.
    pub(super) fn new(settings: &SourceSettings, wrong: &str, right: &str) -> Self {
        let message = format!("the source {:?} cannot be read: {wrong}", settings.name);
        let problem = Diagnostic::of_file(settings.place.to_string(), message);
        UnavailableSource {
            name: settings.name.clone(),
            problem: problem.with_label(right),
        }
    }
}

impl JobSource for UnavailableSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self) -> Result<Snapshot, SourceError> {
        Err(SourceError::Unreadable(Box::new(self.problem.clone())))
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
