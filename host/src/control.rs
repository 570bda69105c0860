//! What a running host can be told and asked: a handle for whoever has something to say, and the
//! commands for whoever carries them out.
//!
//! ```text
//! Control ──Command, with a place for its answer──▶ control loop
//!    ▲                                                   │
//!    └────────── answer, or ControlError ◀───────────────┘
//! ```
//!
//! Requests and answers are plain values that can be written as JSON.

mod made;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

pub use made::{Made, MadeError, MadeJob, MadeJobs, MadeReply, MadeRun, RunState};

use crate::clock::{Timestamp, rfc3339_option};
use crate::job::{Diagnostic, JobId, Scope};
use crate::run::{RunId, SkipReason};

/// How many commands wait for the host at most; whoever has more waits with them.
const WAITING: usize = 64;

/// Tells a host what to do. Cheap to clone; all clones speak to one host.
#[derive(Debug, Clone)]
pub struct Control(mpsc::Sender<Command>);

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, ControlError>>;

/// Something that a host is told or asked.
#[derive(Debug)]
pub enum Command {
    /// How does it stand?
    Status(Reply<HostStatus>),
    /// How does each job stand? In the order of their ids.
    Jobs(Reply<Vec<LiveJob>>),
    /// Run a job now, whatever its trigger says.
    Trigger(Trigger, Reply<Triggered>),
    /// Pause something, or let it go on.
    SetPaused(Scope, bool, Reply<PauseSet>),
    /// Run a job for instants that have no run.
    Backfill(Backfill, Reply<Backfilled>),
    /// End a run.
    Cancel(RunId, Reply<Cancelled>),
    /// Does a run hold a place among those of its job?
    HasPlace(RunId, Reply<bool>),
    /// How does each source of definitions stand? In the order in which they are read.
    Sources(Reply<Vec<SourceStatus>>),
    /// When is a job due next, so many times?
    Next(JobId, usize, Reply<NextInstants>),
    /// What is the definition of a job of the host's own?
    OwnJob(JobId, Reply<OwnJob>),
    /// Take a definition in.
    PutJob(PutJob, Reply<JobPut>),
    /// Give a definition of the host's own up.
    RemoveJob(JobId, Condition, Option<Arc<str>>, Reply<JobRemoved>),
    /// What a job wants of those that it makes.
    Made(JobId, Made),
}

/// A definition that the host is to keep among its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutJob {
    /// The job.
    pub job: JobId,
    /// The definition: one JSON object, as in a job file.
    pub text: String,
    /// What has to hold for it.
    pub condition: Condition,
    /// Who asks: the name of a program's token. Nothing where that is whoever runs the host.
    pub by: Option<Arc<str>>,
}

/// What has to hold of a definition for it to be changed, so that nobody undoes unseen what
/// somebody else has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// That there is none.
    Absent,
    /// That it is the one of this tag.
    Is(String),
}

/// A definition among the host's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnJob {
    /// The job.
    pub job: JobId,
    /// Which text it is.
    pub etag: String,
    /// The text, as it was given.
    pub text: String,
    /// The job that made it; nothing if it was a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator: Option<JobId>,
}

/// What a definition was to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Put {
    /// The first of its job.
    Created,
    /// Another one than before.
    Updated,
    /// The one that it had.
    Unchanged,
}

/// What has become of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPut {
    /// The job.
    pub job: JobId,
    /// What it was to the host.
    pub was: Put,
    /// Which text it is.
    pub etag: String,
    /// Whether the job is in service as the definition has it.
    pub in_service: bool,
    /// What it waits for if it is not: a plugin, a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// When it is due next.
    #[serde(
        default,
        with = "rfc3339_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub next_at: Option<Timestamp>,
}

/// That a definition is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRemoved {
    /// The job.
    pub job: JobId,
}

/// How a source of definitions stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// The source, as the operator named it; `host` for the definitions that the host keeps.
    pub source: String,
    /// How many of its jobs are in service.
    pub jobs: usize,
    /// Of how many of its definitions something is wrong.
    pub wrong: usize,
    /// When it last said what it wants, be it to the host before this one; nothing if it never
    /// has.
    #[serde(
        default,
        with = "rfc3339_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub read_at: Option<Timestamp>,
    /// Why it cannot be read, if so: its jobs are those that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<Stale>,
    /// What it wants and is not done before it says so again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// That a source cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stale {
    /// Since when this host knows of it.
    #[serde(
        default,
        with = "rfc3339_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub since: Option<Timestamp>,
    /// Why.
    pub reason: String,
}

/// That a source would remove most of its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// How many.
    pub removed: usize,
    /// How many it has.
    pub jobs: usize,
}

/// A job that is to run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The job.
    pub job: JobId,
    /// Its parameters for this run, as JSON text; those of its definition where nothing is said.
    pub params: Option<Arc<str>>,
    /// Who asks: the name of a program's token. Nothing where that is whoever runs the host.
    pub by: Option<Arc<str>>,
}

/// Instants that are to be made up for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// The job.
    pub job: JobId,
    /// The first instant that counts.
    pub from: Timestamp,
    /// The first that does not count any more. Never later than now.
    pub until: Timestamp,
    /// At most so many, the earliest.
    pub limit: usize,
    /// Only say which.
    pub dry_run: bool,
}

impl Backfill {
    /// How many instants are made up for where nothing is said.
    pub const LIMIT: usize = 1_000;
    /// The most that may be asked for at once.
    pub const MOST: usize = 10_000;
}

/// How a host stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// The version of its program.
    pub version: String,
    /// The id of its process.
    pub pid: u32,
    /// When it began to fire.
    #[serde(with = "rfc3339_option")]
    pub started_at: Option<Timestamp>,
    /// How many jobs are in service.
    pub jobs: usize,
    /// How many runs have started and not ended.
    pub in_flight: usize,
    /// How many runs are recorded and wait, for others to end or until they are due.
    pub waiting: usize,
    /// Whether runs can be recorded: nothing starts while they cannot.
    pub recording: bool,
    /// What is paused, the widest first.
    pub paused: Vec<PausedSince>,
}

/// Something that is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedSince {
    /// What.
    pub scope: Scope,
    /// Since when.
    #[serde(with = "rfc3339_option")]
    pub since: Option<Timestamp>,
}

/// How a job in service stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveJob {
    /// The job.
    pub job: JobId,
    /// Whether its trigger fires at all.
    pub enabled: bool,
    /// When it is due next; nothing if it never is.
    #[serde(
        default,
        with = "rfc3339_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub next_at: Option<Timestamp>,
    /// The group that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What holds it, the widest if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<Scope>,
    /// The job that made it; nothing if it was a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator: Option<JobId>,
    /// How many of its runs are in flight, those between two attempts too.
    pub in_flight: usize,
    /// How many of its runs wait until one of those has ended.
    pub waiting: usize,
}

/// When a job is due next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextInstants {
    /// The job.
    pub job: JobId,
    /// The instants, the earliest first, in RFC 3339.
    pub next: Vec<String>,
}

/// That a job runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triggered {
    /// The run, which is recorded, and runs or waits for its turn.
    pub run: RunId,
    /// The job.
    pub job: JobId,
    /// Whether its trigger fires at all. What is asked for by hand runs all the same.
    pub enabled: bool,
    /// What holds it back otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<Scope>,
}

/// What has become of a pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseSet {
    /// What was to be paused or to go on.
    pub scope: Scope,
    /// Whether it is paused now.
    pub paused: bool,
    /// Whether it was not so before.
    pub changed: bool,
    /// How many jobs in service it is about; nothing where no host runs that could know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<usize>,
    /// What else is paused that it is part of: it does not go on before that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<Scope>,
    /// What stays paused by itself where all jobs were to go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub still_paused: Vec<Scope>,
}

/// What has become of a backfill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfilled {
    /// The job.
    pub job: JobId,
    /// Whether it was only looked at what would be done.
    pub dry_run: bool,
    /// The instants that had no run, the earliest first, in RFC 3339; no more than were asked for.
    pub instants: Vec<String>,
    /// Whether there are more of them.
    pub more: bool,
    /// How many instants of the same time have a run.
    pub had_runs: usize,
    /// How many runs are recorded now, and run or wait for their turn.
    pub fired: usize,
    /// How many were refused; each is a record with its reason.
    pub skipped: usize,
    /// Whether the trigger of the job fires at all.
    pub enabled: bool,
}

/// What has become of a run that was to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// The run.
    pub run: RunId,
    /// Its job.
    pub job: JobId,
    /// How far it had come.
    pub was: Was,
    /// How it ended, if it had: an outcome, or `skipped`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// How far a run had come when it was to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Was {
    /// It was running, or waited for another attempt: it is asked to end.
    Running,
    /// It waited for its turn: it does not start.
    Waiting,
    /// It had ended: nothing is done.
    Ended,
}

/// Why a host did not do what it was told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// There is no such job in service.
    #[error("no job `{job}` in service on this host{hint}")]
    UnknownJob {
        /// The job.
        job: JobId,
        /// What may be meant, or why it is not there: the end of the sentence.
        hint: String,
    },
    /// There is no such group.
    #[error("no job of this host is in a group `{group}`{hint}")]
    UnknownGroup {
        /// The group.
        group: String,
        /// What may be meant: the end of the sentence.
        hint: String,
    },
    /// There is no such run.
    #[error("no run {0} in the history of this host")]
    UnknownRun(RunId),
    /// The run is not refused for itself, but it cannot be started.
    #[error("job `{job}` was not started: {reason}")]
    NotStarted {
        /// The job.
        job: JobId,
        /// Why.
        reason: SkipReason,
    },
    /// What is paused is not made up for.
    #[error("job `{job}` is paused ({by}): nothing of it would start; let it go on first")]
    Paused {
        /// The job.
        job: JobId,
        /// What holds it.
        by: Scope,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A definition cannot be used.
    #[error("the definition of `{job}` cannot be used: {}", all_of(problems))]
    Rejected {
        /// The job.
        job: JobId,
        /// Everything wrong with it.
        problems: Vec<Diagnostic>,
    },
    /// A job is defined in another place than among the host's own definitions.
    #[error("`{job}` is defined in {place}: change it there")]
    Elsewhere {
        /// The job.
        job: JobId,
        /// Where.
        place: String,
    },
    /// A definition is not what somebody took it for.
    #[error("the definition of `{job}` {}; nothing was changed", changed(etag.as_deref()))]
    Changed {
        /// The job.
        job: JobId,
        /// Which one it is now, if there is one.
        etag: Option<String>,
    },
    /// The store does not do its work.
    #[error("{0}")]
    Store(String),
    /// The host is going away.
    #[error("the host is stopping")]
    Stopping,
}

fn all_of(problems: &[Diagnostic]) -> String {
    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
    all.join("; ")
}

fn changed(etag: Option<&str>) -> String {
    match etag {
        Some(etag) => format!("is another one by now (\"{etag}\")"),
        None => "is not there".to_owned(),
    }
}

impl Control {
    /// A handle, and where its commands arrive.
    pub fn new() -> (Control, mpsc::Receiver<Command>) {
        let (sender, commands) = mpsc::channel(WAITING);
        (Control(sender), commands)
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, ControlError> {
        let (reply, answer) = oneshot::channel();
        if self.0.send(command(reply)).await.is_err() {
            return Err(ControlError::Stopping);
        }
        answer.await.unwrap_or(Err(ControlError::Stopping))
    }

    /// How the host stands.
    ///
    /// # Errors
    /// [`ControlError`], as with all that a host is told.
    pub async fn status(&self) -> Result<HostStatus, ControlError> {
        self.ask(Command::Status).await
    }

    /// How each job in service stands, in the order of their ids.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn jobs(&self) -> Result<Vec<LiveJob>, ControlError> {
        self.ask(Command::Jobs).await
    }

    /// Runs a job now. Answers once the run is recorded.
    ///
    /// # Errors
    /// [`ControlError`]: nothing starts.
    pub async fn trigger(&self, request: Trigger) -> Result<Triggered, ControlError> {
        self.ask(|reply| Command::Trigger(request, reply)).await
    }

    /// Pauses something, or lets it go on. Answers once that would outlive the host.
    ///
    /// # Errors
    /// [`ControlError`]: all is as it was.
    pub async fn set_paused(&self, scope: Scope, paused: bool) -> Result<PauseSet, ControlError> {
        self.ask(|reply| Command::SetPaused(scope, paused, reply))
            .await
    }

    /// Runs a job for instants that have no run. Answers once all of those runs are recorded.
    ///
    /// # Errors
    /// [`ControlError`]: nothing starts.
    pub async fn backfill(&self, request: Backfill) -> Result<Backfilled, ControlError> {
        self.ask(|reply| Command::Backfill(request, reply)).await
    }

    /// Whether a run holds a place among those of its job, or waits for one. For a moment after its
    /// end it still does.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn has_place(&self, run: RunId) -> Result<bool, ControlError> {
        self.ask(|reply| Command::HasPlace(run, reply)).await
    }

    /// How each source of definitions stands, in the order in which they are read.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn sources(&self) -> Result<Vec<SourceStatus>, ControlError> {
        self.ask(Command::Sources).await
    }

    /// When a job is due next, so many times at most: a pause or a job that is not enabled changes
    /// nothing of it.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn next(&self, job: JobId, count: usize) -> Result<NextInstants, ControlError> {
        self.ask(|reply| Command::Next(job, count, reply)).await
    }

    /// The definition of a job among the host's own.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn own_job(&self, job: JobId) -> Result<OwnJob, ControlError> {
        self.ask(|reply| Command::OwnJob(job, reply)).await
    }

    /// Takes a definition in among the host's own. Answers once it is kept, and in service if it
    /// can be.
    ///
    /// # Errors
    /// [`ControlError`]: all is as it was.
    pub async fn put_job(&self, request: PutJob) -> Result<JobPut, ControlError> {
        self.ask(|reply| Command::PutJob(request, reply)).await
    }

    /// Gives a definition among the host's own up. Runs in flight go on.
    ///
    /// # Errors
    /// [`ControlError`]: all is as it was.
    pub async fn remove_job(
        &self,
        job: JobId,
        condition: Condition,
        by: Option<Arc<str>>,
    ) -> Result<JobRemoved, ControlError> {
        let remove = |reply| Command::RemoveJob(job, condition, by, reply);
        self.ask(remove).await
    }

    /// Asks a run to end. Answers before it has.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn cancel(&self, run: RunId) -> Result<Cancelled, ControlError> {
        self.ask(|reply| Command::Cancel(run, reply)).await
    }
}
