//! Where definitions come from, and what changes when they do.
//!
//! ```text
//! JobSource ──Snapshot──▶ Diff::between(in service, wanted) ──▶ added, updated, removed
//! ```
//!
//! A source tells everything that it wants each time it is read, never what has changed: a
//! missed notification, a restart and a first start are then the same thing. What has changed
//! is worked out here, once for all kinds of sources.
//!
//! What a source says is one document or several, such as the files of a directory. Each is read,
//! and may be broken, by itself; they own their jobs together.

mod diff;
mod directory;
mod disk;
mod document;
mod file;

use std::path::PathBuf;
use std::sync::Arc;

pub use diff::{Claim, Diff, Update, Wanted};
pub use directory::DirectorySource;
pub use disk::directory_of;
pub use file::FileSource;

use crate::job::{Diagnostic, Manifest};
use crate::policy::Policy;

/// A place that definitions of jobs are read from.
///
/// [`read`](JobSource::read) may block, for a file system or a network: the host calls it on a
/// thread of its own, away from the path from a due instant to a run, so that a slow source
/// makes definitions late and never runs.
pub trait JobSource: Send + Sync + 'static {
    /// The source, as the operator named it, such as the path of a file.
    fn name(&self) -> &str;

    /// Reads all that the source wants now.
    ///
    /// # Errors
    /// If nothing could be made of it. What is in service stays in service.
    fn read(&self) -> Result<Snapshot, SourceError>;

    /// Puts the jobs under the ceiling of another policy, from the next reading on, which is then
    /// not unchanged.
    fn set_policy(&self, policy: Arc<Policy>);

    /// The directories in which something changes when the source does; none where that cannot be
    /// seen in a directory.
    fn directories(&self) -> Vec<PathBuf>;
}

/// Everything that a source wants at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What it says, in its order. No two have the same name.
    pub documents: Vec<Document>,
    /// Whether the source had exactly this to say the last time there was something to read;
    /// there is nothing to do then.
    pub unchanged: bool,
}

impl Snapshot {
    /// Those of its documents that can be read.
    pub fn manifests(&self) -> impl Iterator<Item = &Arc<Manifest>> {
        self.documents
            .iter()
            .filter_map(|document| document.read.as_ref().ok())
    }
}

/// One text that a source has.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its name, as that of the manifest's text: the path of a file.
    pub name: Arc<str>,
    /// What it says, or why nothing can be made of it: its jobs in service stay in service.
    pub read: Result<Arc<Manifest>, SourceError>,
}

/// Why a source has nothing to say. Two are equal if they say the same, so that a trouble that
/// lasts need be told only once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It could not be read.
    #[error("{0}")]
    Unreadable(Box<Diagnostic>),
    /// It was read, and nothing in it can be used.
    #[error("{}", first_of(.0))]
    Unusable(Arc<[Diagnostic]>),
}

impl SourceError {
    /// Everything that is wrong, in the order of the text.
    pub fn problems(&self) -> &[Diagnostic] {
        match self {
            SourceError::Unreadable(problem) => std::slice::from_ref(&**problem),
            SourceError::Unusable(problems) => problems,
        }
    }
}

fn first_of(problems: &[Diagnostic]) -> String {
    match problems {
        [] => "nothing in it can be used".into(),
        [only] => only.to_string(),
        [first, others @ ..] => format!("{first} (and {} more)", others.len()),
    }
}
