//! What the host remembers of its runs, by intent.
//!
//! ```text
//! Firing ──fire──▶ recorded ──started──▶ running ──finished──▶ FinishedRun
//!    │                │                                            │
//!    │                └──────────skipped (stopping)                ▼
//!    └──────────────────skipped (reason)                recent, last_success, totals
//! ```
//!
//! A run is recorded before it starts, so that no instant of a job can start twice. What each
//! step means after a crash is said at its method; a backend that keeps nothing over a restart
//! (the one in [`memory`]) keeps the same promises for as long as the host lives. Every backend
//! passes the suite in `conformance`.
//!
//! A store never reads the time: it is told.

pub mod definitions;
pub mod logs;
pub mod memory;
pub mod outbox;
pub mod sqlite;

#[cfg(test)]
pub mod conformance;
#[cfg(test)]
pub mod faulty;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::clock::Timestamp;
use crate::job::{Job, JobId, Scope, StateQuota};
use crate::record::{Pause, Retention, RunQuery, RunRecord, Status};
use crate::run::{Attempt, Cause, FinishedRun, Firing, Outcome, Run, RunId, SkipReason};
use crate::state::{Changes, Snapshot, StateError};

pub use logs::{LogStore, MemoryLogs};
pub use memory::MemoryStore;
pub use sqlite::SqliteStore;

/// A future that a store hands out. Boxed, so that the host can choose its store when it starts.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where runs are recorded.
pub trait Store: Send + Sync + 'static {
    /// How long before a run is due it is best recorded, so that it need not wait for its record
    /// when it is: nothing where recording takes no time.
    fn lead(&self) -> Duration {
        Duration::ZERO
    }

    /// What is left of the host before this one: how far the schedule of each job had come, and
    /// the runs that have no end. Asked once, before anything is recorded.
    ///
    /// # Errors
    /// The store cannot be read.
    fn recover(&self) -> BoxFuture<'_, Result<Recovered, StoreError>>;

    /// Notes that jobs have come into service, or have another schedule. Does not wait.
    ///
    /// After a crash: the note may be missing, but not for a job of which something was recorded
    /// after it.
    fn enter(&self, jobs: Vec<(JobId, Schedule)>);

    /// Records runs before they start, all of them in one group, and answers for each firing in
    /// its place.
    ///
    /// A firing by [`Cause::Schedule`] or [`Cause::CatchUp`] is recorded once for its job and
    /// instant; another one is a [`FireResult::Duplicate`], in this call or in any later one,
    /// unless the instant was [reopened](Store::reopen). Other causes are never duplicates. Each
    /// run carries the job's last success.
    ///
    /// After a crash: once this has answered, the runs are known, and none of their instants can
    /// be recorded again. If it has not, either all of the group is known or nothing.
    ///
    /// # Errors
    /// Nothing of the group is recorded, and none of it may start.
    fn fire(
        &self,
        firings: Vec<Firing>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<FireResult>, StoreError>>;

    /// Takes up a run that the host before this one recorded: it is to be attempted by this one.
    /// Gives nothing if there is no such run without an end.
    ///
    /// # Errors
    /// It is not taken up, and may not start.
    fn adopt(
        &self,
        run: RunId,
        job: Arc<Job>,
    ) -> BoxFuture<'_, Result<Option<Arc<Run>>, StoreError>>;

    /// Notes that the first attempt of a run begins. Does not wait: nothing stands between a run
    /// that is due and its start.
    ///
    /// After a crash: the note may be missing. A run that is recorded and not finished may or
    /// may not have run.
    fn started(&self, attempt: &Attempt);

    /// Records that another attempt of a run begins. It may once this has answered: it has waited
    /// already, and a moment more costs less than not to know whether it has begun.
    ///
    /// After a crash: an attempt of which this was not recorded has not begun.
    ///
    /// # Errors
    /// It is not recorded, and must not begin.
    fn started_again(&self, attempt: &Attempt) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Records how an attempt ended after which there is to be another one.
    ///
    /// After a crash: as for a run whose end was not recorded.
    ///
    /// # Errors
    /// It is not recorded.
    fn attempted(&self, attempt: Arc<FinishedRun>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Records how a run ended and lands what it changed in the state of its job, both or
    /// neither. It is done once this has answered, and only then may the world be told.
    ///
    /// After a crash: a run whose end was not recorded is one that may or may not have run, and
    /// nothing that it changed since its last checkpoint has landed.
    ///
    /// # Errors
    /// Nothing has landed, and the end is not recorded: the run stays recorded as one that has
    /// not finished.
    fn finished(
        &self,
        run: Arc<FinishedRun>,
        state: Option<Changes>,
    ) -> BoxFuture<'_, Result<(), FinishError>>;

    /// The state of a job, as it is now. A job that has none has an empty one.
    ///
    /// # Errors
    /// The store cannot be read.
    fn state(&self, job: &JobId) -> BoxFuture<'_, Result<Snapshot, StoreError>>;

    /// Lands changes to the state of a job, whatever becomes of the run that made them, and gives
    /// the state with them.
    ///
    /// After a crash: once this has answered, the changes are there, all of them.
    ///
    /// # Errors
    /// Nothing of them has landed.
    fn checkpoint(
        &self,
        job: &Job,
        changes: Changes,
    ) -> BoxFuture<'_, Result<Snapshot, StateError>>;

    /// Notes that a firing did not become a run, or that a recorded run will not start. Does not
    /// wait.
    ///
    /// After a crash: the note may be missing. A recorded run whose skip is missing counts as
    /// one that has not finished.
    fn skipped(&self, skip: Skip);

    /// Records of runs, and of firings that did not become one, the newest first. How much of
    /// each they hold, see [`Store::run`].
    ///
    /// # Errors
    /// The store cannot be read.
    fn runs(&self, query: RunQuery) -> BoxFuture<'_, Result<Vec<RunRecord>, StoreError>>;

    /// The record of one run, with all of its attempts and all that they left behind. Lists may
    /// leave out parameters, outputs, logs, and all attempts but the last.
    ///
    /// # Errors
    /// The store cannot be read.
    fn run(&self, id: RunId) -> BoxFuture<'_, Result<Option<RunRecord>, StoreError>>;

    /// The instants of a job from `from` on and before `until` that have a run, or had one of
    /// which there still is a record; not those whose run was skipped.
    ///
    /// # Errors
    /// The store cannot be read.
    fn instants(
        &self,
        job: &JobId,
        from: Timestamp,
        until: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<Timestamp>, StoreError>>;

    /// Has instants of a job be recorded once more, of which each has a run that was
    /// [skipped](Store::skipped) and so never started. The other ones stay as they are.
    ///
    /// After a crash: all of them are so, or none.
    ///
    /// # Errors
    /// All is as it was.
    fn reopen(
        &self,
        job: &JobId,
        instants: Vec<Timestamp>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What is paused, the widest first.
    ///
    /// # Errors
    /// The store cannot be read.
    fn pauses(&self) -> BoxFuture<'_, Result<Vec<Pause>, StoreError>>;

    /// Notes that something is paused, since when, or goes on where nothing is said. What is
    /// paused already stays so since when it was. Says whether that was a change.
    ///
    /// After a crash: once this has answered, it is so.
    ///
    /// # Errors
    /// All is as it was.
    fn set_paused(
        &self,
        scope: Scope,
        since: Option<Timestamp>,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// When the last successful run of a job finished; nothing if none has.
    ///
    /// # Errors
    /// The store cannot be read.
    fn last_success(&self, job: &JobId) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>>;

    /// How many runs there have been since the host was started.
    ///
    /// # Errors
    /// The store cannot be read.
    fn totals(&self) -> BoxFuture<'_, Result<Totals, StoreError>>;

    /// Removes some of the records that are not to be kept any longer, the oldest first, and says
    /// how many: until it says none, there may be more. Never one of a run that has not ended.
    ///
    /// # Errors
    /// Some may have been removed.
    fn prune(&self, keep: Retention, now: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Forgets a job that is no longer defined: its last success and how far its schedule had
    /// come. Its runs stay until they age out; its state stays, for the job may come back.
    ///
    /// # Errors
    /// Nothing is forgotten.
    fn forget(&self, job: &JobId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Waits until all that was told is written, as far as it can be. Nothing is to be told after
    /// that: it would be lost.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// How far the schedule of a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Which trigger it is of: see [`Trigger::fingerprint`](crate::trigger::Trigger::fingerprint).
    pub trigger: u64,
    /// Since when the job has been in service with it.
    pub since: Timestamp,
    /// The latest instant that became a run or was skipped. Kept up by the store: whatever is
    /// recorded of an instant moves it on in the same transaction.
    pub dealt_with: Option<Timestamp>,
    /// Up to where the instants are recorded that its calendars leave out. Kept up by the store, when
    /// one is [skipped](Store::skipped) as such; that moves `dealt_with` nowhere.
    pub days_off: Option<Timestamp>,
    /// Whether the job is enabled. While it is not, nothing of it falls due: its instants of that
    /// time are never missed.
    pub enabled: bool,
}

/// What a host finds of the one before it.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// The schedules of the jobs that were in service.
    pub schedules: HashMap<JobId, Schedule>,
    /// The runs that have no end, the oldest first.
    pub unfinished: Vec<Unfinished>,
}

/// A run that the host before this one recorded, and of which no end is recorded.
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// What is recorded of it.
    pub record: RunRecord,
    /// Whether it had begun.
    pub begun: Begun,
}

/// Whether a run that has no end had begun when its host ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It had.
    Yes,
    /// It had not: nothing of it has been done.
    No,
    /// That cannot be known: the machine itself went down.
    Maybe,
}

/// What has become of a firing.
#[derive(Debug, Clone)]
pub enum FireResult {
    /// It is recorded, and may start.
    Recorded(Arc<Run>),
    /// Its job has a run of that instant already: it must not start.
    Duplicate(Firing),
}

/// A firing that did not become a run, or a recorded run that did not start.
#[derive(Debug, Clone)]
pub struct Skip {
    /// The job.
    pub job: Arc<Job>,
    /// What would have made it start.
    pub cause: Cause,
    /// The instant it was due; the first of them if there were several.
    pub scheduled_at: Timestamp,
    /// The last of them, if there were several.
    pub through: Option<Timestamp>,
    /// The run, if it was recorded already.
    pub run: Option<RunId>,
    /// When it was decided.
    pub at: Timestamp,
    /// Why.
    pub reason: SkipReason,
}

impl Skip {
    /// The record of a firing that was never recorded as a run.
    pub fn record(&self) -> RunRecord {
        RunRecord {
            id: self.run.unwrap_or_else(|| RunId::new(self.at)),
            job: self.job.id.clone(),
            component: self.job.component.clone(),
            definition: self.job.origin.definition,
            cause: self.cause,
            scheduled_at: self.scheduled_at,
            recorded_at: self.at,
            max_attempts: 1,
            last_success: None,
            deterministic: self.job.deterministic,
            params: self.job.given_params().cloned(),
            status: Status::Skipped(self.reason.clone()),
            attempts: Vec::new(),
        }
    }

    /// How many firings it stands for: one, unless it is a count of missed instants. Those that
    /// were too many to count are one.
    pub fn firings(&self) -> u64 {
        match self.reason {
            SkipReason::Missed(Some(count)) | SkipReason::Misfired(Some(count)) => count,
            _ => 1,
        }
    }
}

/// Counts of runs since the host was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many runs were recorded.
    pub recorded: u64,
    /// How many attempts were begun.
    pub started: u64,
    /// How many firings did not become a run, or became one that did not start.
    pub skipped: u64,
    finished: [u64; Outcome::ALL.len()],
}

impl Totals {
    /// How many runs have ended so.
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.finished.get(outcome as usize).copied().unwrap_or(0)
    }

    /// How many runs have ended, for each outcome that there has been.
    pub fn by_outcome(&self) -> Vec<(Outcome, u64)> {
        Outcome::ALL
            .into_iter()
            .map(|outcome| (outcome, self.ended(outcome)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// How many runs have ended in all.
    pub fn finished(&self) -> u64 {
        self.finished.iter().sum()
    }

    /// Counts a run that has ended.
    pub fn count(&mut self, outcome: Outcome) {
        if let Some(count) = self.finished.get_mut(outcome as usize) {
            *count += 1;
        }
    }
}

/// Why the end of a run could not be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FinishError {
    /// The store does not do its work.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What it changed in the state of its job cannot land: it has failed after all.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<StoreError> for StateError {
    fn from(error: StoreError) -> Self {
        StateError::Unavailable(error.to_string())
    }
}

/// What a job may keep in its state.
pub(crate) fn quota_of(job: &Job) -> StateQuota {
    job.grants.state.unwrap_or(StateQuota { keys: 0, size: 0 })
}

/// A store that does not do its work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// Something could not be recorded.
    #[error("{what} could not be recorded: {why}")]
    Write {
        /// What, such as `a run`.
        what: &'static str,
        /// Why, and what would help.
        why: String,
    },
    /// Something could not be read.
    #[error("{what} could not be read: {why}")]
    Read {
        /// What, such as `the history`.
        what: &'static str,
        /// Why, and what would help.
        why: String,
    },
}

impl StoreError {
    /// Why, without what.
    pub fn why(&self) -> &str {
        match self {
            StoreError::Write { why, .. } | StoreError::Read { why, .. } => why,
        }
    }
}

/// Whether a firing is the only one of its job and instant.
pub(crate) fn is_unique(cause: Cause) -> bool {
    match cause {
        Cause::Schedule | Cause::CatchUp => true,
        Cause::Manual | Cause::Api | Cause::Upstream => false,
    }
}

/// The run that a firing becomes: the same in every backend.
pub(crate) fn to_run(firing: Firing, now: Timestamp, last_success: Option<Timestamp>) -> Run {
    Run {
        id: RunId::new(now),
        max_attempts: firing.job.policies.retry.attempts,
        job: firing.job,
        cause: firing.cause,
        scheduled_at: firing.scheduled_at,
        last_success,
    }
}
