//! What is remembered of runs: plain values, which outlive the definitions and the host that they
//! came from. Stores keep them; views read them and nothing else.

mod change;
mod delivery;
mod pattern;
mod summary;

use std::sync::Arc;
use std::time::Duration;

pub use change::{ChangeKind, FieldChange, JobChange, KEPT_CHANGES};
pub use delivery::{Delivery, DeliveryId};
pub use pattern::RunPattern;
pub use summary::{JobStats, JobSummary, LastRun, Tally, is_failure};

use crate::clock::Timestamp;
use crate::job::{DefinitionDigest, JobId, Scope};
use crate::run::{Cause, Execution, FinishedRun, Outcome, Output, Run, RunId, SkipReason};

/// A run, or a firing that did not become one, as a store remembers it.
#[derive(Debug, Clone)]
pub struct RunRecord {
    /// Unique. A firing that did not become a run has one too.
    pub id: RunId,
    /// The job.
    pub job: JobId,
    /// The name of the plugin's file, as the job was defined then.
    pub component: Arc<str>,
    /// How the job was defined then; nothing where it came from no file.
    pub definition: Option<DefinitionDigest>,
    /// What made it start, or would have.
    pub cause: Cause,
    /// The instant it is for; the first of them where it stands for several that were missed.
    pub scheduled_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// How many attempts it has at most.
    pub max_attempts: u32,
    /// When the job's last successful run before it finished.
    pub last_success: Option<Timestamp>,
    /// Whether its randomness and time come from this record.
    pub deterministic: bool,
    /// Its parameters, a JSON value, if they were given for it: else those of the definition count.
    pub params: Option<Arc<str>>,
    /// How far it has come.
    pub status: Status,
    /// The attempts that are known to have begun, the first one first.
    pub attempts: Vec<AttemptRecord>,
}

/// How far a run has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It is recorded, and has not started.
    Recorded,
    /// It has started, and not ended.
    Running,
    /// It has ended so.
    Finished(Outcome),
    /// It did not become a run, or was recorded and did not start.
    Skipped(SkipReason),
}

impl Status {
    /// Whether nothing more will become of it.
    pub fn is_final(&self) -> bool {
        matches!(self, Status::Finished(_) | Status::Skipped(_))
    }
}

/// One try at a run, as a store remembers it.
#[derive(Debug, Clone)]
pub struct AttemptRecord {
    /// Counted from 1.
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How it ended, if it has.
    pub end: Option<AttemptEnd>,
}

/// The end of an attempt.
#[derive(Debug, Clone)]
pub struct AttemptEnd {
    /// When it ended.
    pub at: Timestamp,
    /// How. Shared, as it may be large.
    pub execution: Arc<Execution>,
}

impl RunRecord {
    /// The record of a run that was just recorded, at `now`.
    pub fn of(run: &Run, now: Timestamp) -> RunRecord {
        RunRecord {
            id: run.id,
            job: run.job.id.clone(),
            component: run.job.component.clone(),
            definition: run.job.origin.definition,
            cause: run.cause,
            scheduled_at: run.scheduled_at,
            recorded_at: now,
            max_attempts: run.max_attempts,
            last_success: run.last_success,
            deterministic: run.job.deterministic,
            params: run.job.given_params().cloned(),
            status: Status::Recorded,
            attempts: Vec::new(),
        }
    }

    /// The last attempt, if one has begun.
    pub fn attempt(&self) -> Option<&AttemptRecord> {
        self.attempts.last()
    }

    /// When it started, if it did.
    pub fn started_at(&self) -> Option<Timestamp> {
        Some(self.attempts.first()?.started_at)
    }

    /// When it ended, if it ran and has ended.
    pub fn finished_at(&self) -> Option<Timestamp> {
        match self.status {
            Status::Finished(_) => Some(self.attempts.last()?.end.as_ref()?.at),
            _ => None,
        }
    }

    /// Whether it has ended, and did its work.
    pub fn has_succeeded(&self) -> bool {
        self.status == Status::Finished(Outcome::Succeeded)
    }

    /// What it left behind, if it has ended and did.
    pub fn output(&self) -> Option<&Output> {
        self.execution()?.output.as_ref()
    }

    /// Why it failed, in a sentence, if it has.
    pub fn error(&self) -> Option<&str> {
        self.execution()?.error.as_deref()
    }

    /// How its last attempt ended, if it has.
    pub fn execution(&self) -> Option<&Execution> {
        Some(&*self.attempts.last()?.end.as_ref()?.execution)
    }
}

impl AttemptRecord {
    /// The record of an attempt that has ended.
    pub fn of(run: &FinishedRun) -> AttemptRecord {
        AttemptRecord {
            number: run.attempt.number,
            started_at: run.attempt.started_at,
            end: Some(AttemptEnd {
                at: run.finished_at,
                execution: Arc::new(run.execution.clone()),
            }),
        }
    }
}

/// That something is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// What.
    pub scope: Scope,
    /// Since when.
    pub since: Timestamp,
}

/// How much of the history is kept. What has not ended is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// For how long; for ever if nothing is said.
    pub age: Option<Duration>,
    /// The newest so many records of each job; all if nothing is said.
    pub runs_per_job: Option<u64>,
    /// At most about so many bytes in all; as many as there are if nothing is said.
    pub size: Option<u64>,
}

impl Default for Retention {
    /// Ninety days, and the newest 100 000 records of each job.
    fn default() -> Self {
        Retention {
            age: Some(Duration::from_secs(90 * 24 * 60 * 60)),
            runs_per_job: Some(100_000),
            size: None,
        }
    }
}

/// How much of a record is wanted besides what it comes to. There may be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Nothing: no output and no log.
    Outline,
    /// The log of each attempt.
    Logs,
    /// What the last attempt left behind.
    Last,
    /// What each attempt left behind.
    All,
}

/// Which records are wanted. The newest come first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunQuery {
    /// Of this job; of all where nothing is said.
    pub job: Option<JobId>,
    /// Those that are so; all where nothing is said.
    pub kind: Option<Vec<Kind>>,
    /// Recorded at this instant or later.
    pub since: Option<Timestamp>,
    /// Recorded before this instant.
    pub until: Option<Timestamp>,
    /// Older than this record: where the page before this one ended.
    pub before: Option<RunId>,
    /// At most so many.
    pub limit: usize,
}

impl RunQuery {
    /// The newest of all, at most so many.
    pub fn newest(limit: usize) -> RunQuery {
        RunQuery {
            job: None,
            kind: None,
            since: None,
            until: None,
            before: None,
            limit,
        }
    }

    /// The same, of one job.
    #[must_use]
    pub fn of(mut self, job: &JobId) -> RunQuery {
        self.job = Some(job.clone());
        self
    }

    /// The same, only those that are of one of these kinds.
    #[must_use]
    pub fn only(mut self, kinds: impl IntoIterator<Item = Kind>) -> RunQuery {
        self.kind = Some(kinds.into_iter().collect());
        self
    }

    /// Whether a record is wanted, whatever the limit.
    pub fn wants(&self, record: &RunRecord) -> bool {
        self.job.as_ref().is_none_or(|job| *job == record.job)
            && self
                .kind
                .as_ref()
                .is_none_or(|kinds| kinds.contains(&Kind::of(&record.status)))
            && self.since.is_none_or(|since| record.recorded_at >= since)
            && self.until.is_none_or(|until| record.recorded_at < until)
            && self.before.is_none_or(|before| record.id < before)
    }
}

/// What records can be asked for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Recorded and not started.
    Recorded,
    /// Started and not ended.
    Running,
    /// Ended so.
    Finished(Outcome),
    /// Not run.
    Skipped,
}

impl Kind {
    /// The kind of a record that has come so far.
    pub fn of(status: &Status) -> Kind {
        match status {
            Status::Recorded => Kind::Recorded,
            Status::Running => Kind::Running,
            Status::Finished(outcome) => Kind::Finished(*outcome),
            Status::Skipped(_) => Kind::Skipped,
        }
    }

    /// Every kind, those of runs that have ended first.
    pub fn all() -> impl Iterator<Item = Kind> {
        Kind::finished().chain([Kind::Skipped, Kind::Running, Kind::Recorded])
    }

    /// Every kind of run that has ended.
    pub fn finished() -> impl Iterator<Item = Kind> {
        Outcome::ALL.into_iter().map(Kind::Finished)
    }

    /// The kind as it is written: an outcome, or `recorded`, `running`, `skipped`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Recorded => "recorded",
            Kind::Running => "running",
            Kind::Finished(outcome) => outcome.as_str(),
            Kind::Skipped => "skipped",
        }
    }
}
