//! What a native job is given, and what it gives back.

use std::sync::Weak;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::Failure;
use super::scheduler::{Inner, Scheduler};
use crate::clock::Timestamp;
use crate::job::JobId;
use crate::native::Call;
use crate::run::{Attempt, Cause, Level, LogEntry, Output, Progress, RunId};

/// One attempt of a native job, as its function sees it. Cheap to clone.
///
/// ```
/// # use quarterjack::{Failure, RunContext};
/// #[derive(serde::Deserialize)]
/// struct Params { days: u32 }
///
/// async fn cleanup(run: RunContext) -> Result<String, Failure> {
///     let Params { days } = run.params()?;
///     for day in 0..days {
///         if run.is_cancelled() {
///             return Err(Failure::new("not all of it is done"));
///         }
///         run.progress(u64::from(day), Some(u64::from(days)), "");
///     }
///     run.info(format!("{days} days"));
///     Ok(format!("{days} days are clean"))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct RunContext {
    call: Call,
    scheduler: Weak<Inner>,
}

impl RunContext {
    pub(super) fn new(call: Call, scheduler: Weak<Inner>) -> RunContext {
        RunContext { call, scheduler }
    }

    fn attempt_(&self) -> &Attempt {
        self.call.attempt()
    }

    /// The job.
    pub fn job_id(&self) -> &JobId {
        &self.attempt_().run.job.id
    }

    /// The run.
    pub fn run_id(&self) -> RunId {
        self.attempt_().run.id
    }

    /// What made it start.
    pub fn cause(&self) -> Cause {
        self.attempt_().run.cause
    }

    /// The instant that the run is for, which may be earlier than when it started.
    pub fn scheduled_at(&self) -> Timestamp {
        self.attempt_().run.scheduled_at
    }

    /// When this attempt started.
    pub fn started_at(&self) -> Timestamp {
        self.attempt_().started_at
    }

    /// When this attempt will be ended.
    pub fn deadline(&self) -> Timestamp {
        self.attempt_().deadline()
    }

    /// Which attempt of the run it is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt_().number
    }

    /// How many attempts the run has at most.
    pub fn max_attempts(&self) -> u32 {
        self.attempt_().run.max_attempts
    }

    /// When the last successful run of the job before this one finished.
    pub fn last_success(&self) -> Option<Timestamp> {
        self.attempt_().run.last_success
    }

    /// The parameters as JSON; `null` if there are none.
    pub fn params_json(&self) -> &str {
        let params = &self.attempt_().run.job.params;
        params.as_deref().unwrap_or("null")
    }

    /// The parameters.
    ///
    /// # Errors
    /// They are not such: a failure that another attempt would not mend.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(self.params_json()).map_err(|error| {
            Failure::new(format_args!("the parameters cannot be used: {error}")).permanent()
        })
    }

    /// Whether the run is to end, because somebody has asked for it or the scheduler is stopping. A
    /// function that asks this, or waits for [`cancelled`](RunContext::cancelled), has two seconds
    /// to end by itself; others are dropped at once.
    pub fn is_cancelled(&self) -> bool {
        self.call.cancelled().is_some()
    }

    /// Resolves once the run is to end.
    pub async fn cancelled(&self) {
        self.call.until_cancelled().await;
    }

    /// Says how far it has come: so much, of how much if that is known, and what it is about.
    pub fn progress(&self, done: u64, total: impl Into<Option<u64>>, note: impl Into<String>) {
        self.call.progress(Progress {
            done,
            total: total.into(),
            note: note.into(),
        });
    }

    /// Adds an entry to the log of the run.
    pub fn log(&self, level: Level, message: impl Into<String>, fields: &[(&str, &str)]) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.call.log(LogEntry {
            level,
            message: message.into(),
            fields: fields.iter().map(owned).collect(),
            after: self.call.elapsed(),
        });
    }

    /// Logs what happened.
    pub fn info(&self, message: impl Into<String>) {
        self.log(Level::Info, message, &[]);
    }

    /// Logs what may become a problem.
    pub fn warn(&self, message: impl Into<String>) {
        self.log(Level::Warn, message, &[]);
    }

    /// Logs what went wrong.
    pub fn error(&self, message: impl Into<String>) {
        self.log(Level::Error, message, &[]);
    }

    /// How long the attempt has run.
    pub fn elapsed(&self) -> Duration {
        self.call.elapsed()
    }

    /// The scheduler that the job runs in, for jobs that add, change and start others. It does not
    /// keep the scheduler alive; nothing if that is gone.
    pub fn scheduler(&self) -> Option<Scheduler> {
        self.scheduler.upgrade().map(Scheduler::without_guard)
    }
}

/// What a native job leaves behind: kept with its run, within the job's
/// [`output_limit`](crate::Job::output_limit).
pub trait IntoOutput {
    /// The output; nothing if there is none.
    ///
    /// # Errors
    /// It cannot be written: the run has failed.
    fn into_output(self) -> Result<Option<Output>, Failure>;
}

impl IntoOutput for () {
    fn into_output(self) -> Result<Option<Output>, Failure> {
        Ok(None)
    }
}

impl IntoOutput for Output {
    fn into_output(self) -> Result<Option<Output>, Failure> {
        Ok(Some(self))
    }
}

impl IntoOutput for String {
    fn into_output(self) -> Result<Option<Output>, Failure> {
        Ok(Some(Output::Text(self)))
    }
}

impl IntoOutput for &str {
    fn into_output(self) -> Result<Option<Output>, Failure> {
        self.to_owned().into_output()
    }
}

impl IntoOutput for Vec<u8> {
    fn into_output(self) -> Result<Option<Output>, Failure> {
        Ok(Some(Output::Bytes(self)))
    }
}

impl IntoOutput for serde_json::Value {
    fn into_output(self) -> Result<Option<Output>, Failure> {
        Ok(Some(Output::Json(RawValue::from_string(self.to_string())?)))
    }
}

impl<T: IntoOutput> IntoOutput for Option<T> {
    fn into_output(self) -> Result<Option<Output>, Failure> {
        match self {
            Some(output) => output.into_output(),
            None => Ok(None),
        }
    }
}
