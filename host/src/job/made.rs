//! Definitions that the host keeps itself, and who made them.

use super::{JobId, OnRemoval};

/// A definition that the host keeps itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDefinition {
    /// The job.
    pub job: JobId,
    /// The definition: one JSON object, as in a job file.
    pub text: String,
    /// The job that made it; nothing if that was a person.
    pub made_by: Option<MadeBy>,
}

/// That a definition was made by a job, to which it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeBy {
    /// The job that made it.
    pub creator: JobId,
    /// What becomes of it when that one is removed.
    pub on_removal: OnRemoval,
}
