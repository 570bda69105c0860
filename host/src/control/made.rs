//! What a job can tell and ask a running host of the jobs that it makes.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::oneshot;

use super::{Command, Control, Put, Trigger};
use crate::job::{Diagnostic, JobId};
use crate::run::{Outcome, RunId};

/// Where an answer to a job goes.
pub type MadeReply<T> = oneshot::Sender<Result<T, MadeError>>;

/// Something that a job tells or asks of the jobs that it makes.
#[derive(Debug)]
pub enum Made {
    /// Take a definition in: the job, and one JSON object as in a job file.
    Put(JobId, String, MadeReply<Put>),
    /// Give one up.
    Remove(JobId, MadeReply<()>),
    /// Which are there?
    Jobs(MadeReply<Vec<MadeJob>>),
    /// Run one now.
    Trigger(Trigger, MadeReply<RunId>),
    /// What has become of a run?
    Run(RunId, MadeReply<MadeRun>),
}

/// A job that another one has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeJob {
    /// The job.
    pub job: JobId,
    /// Which text its definition is.
    pub etag: String,
    /// The version that the definition says.
    pub version: Option<u64>,
    /// Whether it is in service.
    pub in_service: bool,
}

/// What has become of a run of a job that another one has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeRun {
    /// The job.
    pub job: JobId,
    /// How far it has come.
    pub state: RunState,
    /// Why it failed, or did not start.
    pub message: Option<String>,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// It is recorded, and waits for its turn.
    Waiting,
    /// It has started, and not ended.
    Running,
    /// It has ended so.
    Ended(Outcome),
    /// It did not start.
    Skipped,
}

/// Why a job did not get what it asked for. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MadeError {
    /// It may not: in words.
    #[error("{0}")]
    Denied(String),
    /// The definition cannot be used, or asks for more than it may.
    #[error("{}", each_of(.0))]
    Invalid(Vec<Diagnostic>),
    /// Too many.
    #[error("{0}")]
    Quota(String),
    /// There is no such job, or none such run.
    #[error("{0}")]
    NotFound(String),
    /// The host cannot do it now.
    #[error("{0}")]
    Unavailable(String),
}

impl MadeError {
    /// What is said where the host goes away.
    pub const STOPPING: &'static str = "the host is stopping";

    fn stopping() -> MadeError {
        MadeError::Unavailable(MadeError::STOPPING.to_owned())
    }
}

/// All problems, a line for each.
fn each_of(problems: &[Diagnostic]) -> String {
    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
    all.join("\n")
}

/// The jobs that one job makes on a running host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MadeJobs {
    control: Control,
    creator: JobId,
}

impl Control {
    /// What a job can do with those that it makes.
    pub fn made_by(&self, creator: JobId) -> MadeJobs {
        MadeJobs {
            control: self.clone(),
            creator,
        }
    }
}

impl MadeJobs {
    async fn ask<T>(&self, made: impl FnOnce(MadeReply<T>) -> Made) -> Result<T, MadeError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Made(self.creator.clone(), made(reply));
        if self.control.0.send(command).await.is_err() {
            return Err(MadeError::stopping());
        }
        answer.await.unwrap_or(Err(MadeError::stopping()))
    }

    /// Takes a definition in. Answers once it is kept, and in service if it can be.
    ///
    /// # Errors
    /// [`MadeError`]: all is as it was.
    pub async fn put(&self, job: JobId, text: String) -> Result<Put, MadeError> {
        self.ask(|reply| Made::Put(job, text, reply)).await
    }

    /// Gives a definition up. Runs in flight go on.
    ///
    /// # Errors
    /// [`MadeError`]: all is as it was.
    pub async fn remove(&self, job: JobId) -> Result<(), MadeError> {
        self.ask(|reply| Made::Remove(job, reply)).await
    }

    /// The jobs that it has made, in the order of their ids.
    ///
    /// # Errors
    /// [`MadeError`].
    pub async fn jobs(&self) -> Result<Vec<MadeJob>, MadeError> {
        self.ask(Made::Jobs).await
    }

    /// Runs one of them now. Answers once the run is recorded.
    ///
    /// # Errors
    /// [`MadeError`]: nothing starts.
    pub async fn trigger(&self, job: JobId, params: Option<Arc<str>>) -> Result<RunId, MadeError> {
        let request = Trigger {
            job,
            params,
            by: None,
        };
        self.ask(|reply| Made::Trigger(request, reply)).await
    }

    /// What has become of a run of one of them.
    ///
    /// # Errors
    /// [`MadeError`].
    pub async fn run(&self, run: RunId) -> Result<MadeRun, MadeError> {
        self.ask(|reply| Made::Run(run, reply)).await
    }
}
