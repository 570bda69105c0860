//! What can go wrong with a scheduler in a program, in words for the person who reads them.

use std::fmt;
use std::io;

use crate::app::AppError;
use crate::control::ControlError;
use crate::job::{Diagnostic, JobId};
use crate::store::StoreError;

/// Why a scheduler could not be started, or did not do what it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] AppError),
    /// It could not be given a thread, or that has died.
    #[error("cannot start the thread of the scheduler: {0}")]
    Thread(io::Error),
    /// The configuration cannot be used.
    #[error("{}", all_of(.0))]
    Config(Vec<Diagnostic>),
    /// A definition cannot be used: everything that is wrong with it.
    #[error("the definition of `{job}` cannot be used: {}", all_of(problems))]
    Definition {
        /// The job.
        job: JobId,
        /// What is wrong, each with its place in the definition as JSON.
        problems: Vec<Diagnostic>,
    },
    /// There is a job of that id already.
    #[error(
        "there is a job `{0}` already: change it with `modify_job`, or add it with `replace_existing`"
    )]
    AlreadyExists(JobId),
    /// There is no such job.
    #[error("no job `{job}`{hint}")]
    UnknownJob {
        /// The job.
        job: JobId,
        /// What may be meant, or why it is not there: the end of the sentence.
        hint: String,
    },
    /// A trigger makes no sense.
    #[error("{0}")]
    Trigger(String),
    /// What was given to a job or to a run cannot be written as JSON.
    #[error("{what} cannot be written as JSON: {error}")]
    Json {
        /// What was given, such as "the parameters of `report`".
        what: String,
        /// What is wrong with it.
        error: String,
    },
    /// The scheduler did not do it, for another reason.
    #[error(transparent)]
    Refused(ControlError),
    /// Its store does not do its work.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The scheduler is stopping, or has stopped.
    #[error("the scheduler has stopped")]
    Stopped,
}

impl From<ControlError> for Error {
    fn from(error: ControlError) -> Error {
        match error {
            ControlError::UnknownJob { job, hint } => Error::UnknownJob { job, hint },
            ControlError::Rejected { job, problems } => Error::Definition { job, problems },
            ControlError::Stopping => Error::Stopped,
            other => Error::Refused(other),
        }
    }
}

fn all_of(problems: &[Diagnostic]) -> String {
    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
    all.join("; ")
}

/// Why a run of a native job failed.
///
/// Any error becomes one by `?`, with what caused it:
///
/// ```
/// use quarterjack::Failure;
/// fn parse(text: &str) -> Result<u32, Failure> {
///     Ok(text.parse()?)
/// }
/// assert_eq!(parse("x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
///
/// It says, too, whether another attempt may be worth it; the job's
/// [`retry`](crate::Job::retry) decides whether there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub(super) crate::native::Failure);

impl Failure {
    /// A failure for this reason. Another attempt follows if the job's policy says so.
    pub fn new(reason: impl fmt::Display) -> Failure {
        Failure(crate::native::Failure {
            message: reason.to_string(),
            retry: crate::run::Retry::ByPolicy,
        })
    }

    /// The same, and another attempt would be of no use.
    #[must_use]
    pub fn permanent(mut self) -> Failure {
        self.0.retry = crate::run::Retry::Never;
        self
    }

    /// The same, and another attempt is of no use before so much time has passed.
    #[must_use]
    pub fn retry_after(mut self, wait: std::time::Duration) -> Failure {
        self.0.retry = crate::run::Retry::After(wait);
        self
    }
}

// No `std::error::Error`: it would clash with the conversion from all errors.
impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0.message)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some repeat what caused them.
            if !reason.ends_with(&text) {
                reason.push_str(": ");
                reason.push_str(&text);
            }
            cause = error.source();
        }
        Failure::new(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the report")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_failure_tells_its_causes() {
        let error = Outer(io::Error::other("the disk is away"));
        let failure = Failure::from(error);
        assert_eq!(
            failure.to_string(),
            "cannot read the report: the disk is away"
        );
    }
}
