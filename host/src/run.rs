//! The noun that travels from the scheduler to the views: a run, its outcome, its record, and
//! the events that tell of it.
//!
//! ```text
//! Firing ──store──▶ Run ──dispatcher──▶ Attempt ──runtime──▶ Execution
//!    │                                                          │
//!    └──────────▶ Event::RunSkipped          FinishedRun ◀──────┘
//! ```

mod map;

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::clock::Timestamp;
use crate::job::Job;
use crate::state::Changes;

pub use map::RunMap;

/// The id of a run: unique, and ordered by the time it was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(Ulid);

impl RunId {
    /// A fresh id for a run recorded at `now`. Of those that one thread gives out for one
    /// millisecond each is greater than the one before it.
    pub fn new(now: Timestamp) -> Self {
        thread_local! {
            static LAST: Cell<Ulid> = const { Cell::new(Ulid::nil()) };
        }
        // An id before 1970 has the same time part as one at 1970.
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        let fresh = Ulid::from_parts(millis, fastrand::u128(..));
        let last = LAST.get();
        let id = if last.timestamp_ms() == fresh.timestamp_ms() {
            // Far enough apart that ids cannot be taken for one another.
            let next = last
                .random()
                .saturating_add(1 + u128::from(fastrand::u32(..)));
            Ulid::from_parts(millis, next)
        } else {
            fresh
        };
        LAST.set(id);
        RunId(id)
    }

    /// The id as a number, which sorts as the id does.
    pub fn to_u128(self) -> u128 {
        self.0.0
    }

    /// The id as it is written. The same as `to_string` and several times as quick.
    pub fn to_text(self) -> String {
        self.0.to_string()
    }

    /// The id that is this number.
    pub fn from_u128(number: u128) -> RunId {
        RunId(Ulid(number))
    }
}

impl FromStr for RunId {
    type Err = ();

    /// Reads an id as it is written.
    fn from_str(text: &str) -> Result<RunId, ()> {
        Ulid::from_string(text).map(RunId).map_err(drop)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<RunId, D::Error> {
        let text = String::deserialize(from)?;
        let no_id = |()| serde::de::Error::custom(format_args!("`{text}` is no id of a run"));
        text.parse().map_err(no_id)
    }
}

/// What made a run start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Its trigger fired.
    Schedule,
    /// A person started it.
    Manual,
    /// A program started it through the API.
    Api,
    /// It makes up for an instant that was missed.
    CatchUp,
    /// A job that it depends on has finished.
    Upstream,
}

impl Cause {
    /// All causes, in the order of their declaration.
    pub const ALL: [Cause; 5] = [
        Cause::Schedule,
        Cause::Manual,
        Cause::Api,
        Cause::CatchUp,
        Cause::Upstream,
    ];

    /// The cause that is written so.
    pub fn from_name(text: &str) -> Option<Cause> {
        Cause::ALL.into_iter().find(|cause| cause.as_str() == text)
    }

    /// The cause as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Schedule => "schedule",
            Cause::Manual => "manual",
            Cause::Api => "api",
            Cause::CatchUp => "catch-up",
            Cause::Upstream => "upstream",
        }
    }
}

/// A job that is due: what the scheduler hands on. It becomes a [`Run`] once it is recorded.
#[derive(Debug, Clone)]
pub struct Firing {
    /// The job, as it is defined at this instant.
    pub job: Arc<Job>,
    /// What made it due.
    pub cause: Cause,
    /// The instant it was due.
    pub scheduled_at: Timestamp,
}

/// A recorded intention to run a job once, in one or more attempts.
#[derive(Debug, Clone)]
pub struct Run {
    /// Unique.
    pub id: RunId,
    /// The job, as it was defined when the run was recorded. A later edit does not touch it.
    pub job: Arc<Job>,
    /// What made it start.
    pub cause: Cause,
    /// The instant the run is for.
    pub scheduled_at: Timestamp,
    /// How many attempts it has at most.
    pub max_attempts: u32,
    /// When the job's last successful run finished.
    pub last_success: Option<Timestamp>,
}

/// One try at a run: what the dispatcher hands to an executor.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The run it belongs to.
    pub run: Arc<Run>,
    /// Counted from 1.
    pub number: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When the first attempt of its run started.
    pub run_started_at: Timestamp,
}

impl Attempt {
    /// The instant at which the attempt will be ended: when its own time is up, or that of its
    /// run.
    pub fn deadline(&self) -> Timestamp {
        let own = later(self.started_at, self.run.job.limits.timeout);
        self.run_deadline().map_or(own, |run| run.min(own))
    }

    /// The instant at which the run will be ended, if it has a deadline.
    pub fn run_deadline(&self) -> Option<Timestamp> {
        let deadline = self.run.job.policies.deadline?;
        Some(later(self.run_started_at, deadline))
    }

    /// How long the attempt may take, and whether that is for the deadline of its run.
    pub fn time(&self) -> (Duration, bool) {
        let timeout = self.run.job.limits.timeout;
        let left = self
            .run_deadline()
            .map(|deadline| (deadline - self.started_at).to_std().unwrap_or_default());
        match left {
            Some(left) if left < timeout => (left, true),
            _ => (timeout, false),
        }
    }
}

/// An instant so much later; the last there is if that is out of range.
fn later(instant: Timestamp, by: Duration) -> Timestamp {
    chrono::TimeDelta::from_std(by)
        .ok()
        .and_then(|by| instant.checked_add_signed(by))
        .unwrap_or(Timestamp::MAX_UTC)
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The job did its work.
    Succeeded,
    /// The job said that it failed, or could not be started.
    Failed,
    /// The job broke a rule of WebAssembly: unreachable code, memory out of bounds, a stack overflow.
    Trapped,
    /// Its time was up.
    TimedOut,
    /// Its fuel was used up.
    OutOfFuel,
    /// It gave up after the memory limit refused it more.
    OutOfMemory,
    /// The host ended it, because it stopped or because somebody asked.
    Cancelled,
    /// The host itself ended while it ran, or while it may have run: what became of it is not
    /// known.
    Lost,
}

impl Outcome {
    /// All outcomes, in the order of their declaration.
    pub const ALL: [Outcome; 8] = [
        Outcome::Succeeded,
        Outcome::Failed,
        Outcome::Trapped,
        Outcome::TimedOut,
        Outcome::OutOfFuel,
        Outcome::OutOfMemory,
        Outcome::Cancelled,
        Outcome::Lost,
    ];

    /// The outcome that programs read so.
    pub fn from_name(text: &str) -> Option<Outcome> {
        Outcome::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
    }

    /// The outcome as programs read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::Trapped => "trapped",
            Outcome::TimedOut => "timed_out",
            Outcome::OutOfFuel => "out_of_fuel",
            Outcome::OutOfMemory => "out_of_memory",
            Outcome::Cancelled => "cancelled",
            Outcome::Lost => "lost",
        }
    }
}

/// What a successful run left behind.
#[derive(Debug, Clone)]
pub enum Output {
    /// JSON that parses.
    Json(Box<RawValue>),
    /// Text.
    Text(String),
    /// Bytes that are not text.
    Bytes(Vec<u8>),
}

impl Output {
    /// What kind of output it is: `json`, `text` or `bytes`.
    pub fn kind(&self) -> &'static str {
        match self {
            Output::Json(_) => "json",
            Output::Text(_) => "text",
            Output::Bytes(_) => "bytes",
        }
    }

    /// The output as the bytes that the job wrote.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Output::Json(json) => json.get().as_bytes(),
            Output::Text(text) => text.as_bytes(),
            Output::Bytes(bytes) => bytes,
        }
    }
}

impl Serialize for Output {
    /// JSON as itself, text as a string, bytes as a string of Base64.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use base64::Engine as _;
        match self {
            Output::Json(json) => json.serialize(to),
            Output::Text(text) => to.serialize_str(text),
            Output::Bytes(bytes) => {
                to.serialize_str(&base64::engine::general_purpose::STANDARD.encode(bytes))
            }
        }
    }
}

/// What a failed job advises about another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Do not try again.
    Never,
    /// Try again when the job's policy says so.
    ByPolicy,
    /// Try again, but not before this much time has passed.
    After(Duration),
}

/// SHA-256 of the file of a plugin, as a record keeps it: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PluginDigest(pub [u8; 32]);

impl fmt::Display for PluginDigest {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(to, "{byte:02x}"))
    }
}

impl fmt::Debug for PluginDigest {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

impl Serialize for PluginDigest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// What an executor tells of an attempt.
#[derive(Debug, Clone)]
pub struct Execution {
    /// The plugin that ran; nothing where none could be had.
    pub plugin: Option<PluginDigest>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in a sentence; always there unless it succeeded.
    pub error: Option<String>,
    /// What the job advises after a failure.
    pub retry: Retry,
    /// What it left behind.
    pub output: Option<Output>,
    /// Bytes of output that did not fit the limit.
    pub output_dropped: u64,
    /// What it printed besides its output.
    pub log: Vec<u8>,
    /// Bytes of log that did not fit the limit.
    pub log_dropped: u64,
    /// Fuel used.
    pub fuel_used: u64,
    /// The most bytes of linear memory and tables that it held at once.
    pub memory_peak: u64,
    /// CPU time used.
    pub cpu_time: Duration,
    /// How long it took, by the monotonic clock.
    pub elapsed: Duration,
    /// What it was refused, and how often.
    pub denials: Denials,
    /// What it logged with levels and fields. Also part of the log, as lines.
    pub entries: Vec<LogEntry>,
    /// How far it said that it has come.
    pub progress: Option<Progress>,
    /// What it changed in the state of its job, to land with the record of its success; taken out
    /// of the record itself.
    pub state: Option<Changes>,
}

impl Execution {
    /// What is told of an attempt for which no guest was ever called, or that no guest can tell
    /// of any more.
    pub fn without_guest(outcome: Outcome, error: impl Into<String>, retry: Retry) -> Self {
        Execution {
            plugin: None,
            outcome,
            error: Some(error.into()),
            retry,
            output: None,
            output_dropped: 0,
            log: Vec::new(),
            log_dropped: 0,
            fuel_used: 0,
            memory_peak: 0,
            cpu_time: Duration::ZERO,
            elapsed: Duration::ZERO,
            denials: Denials::default(),
            entries: Vec::new(),
            progress: None,
            state: None,
        }
    }
}

/// Something that a run asked for and was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Denial {
    /// What it wanted, such as `GET https://api.example.com/v1/sales`.
    pub what: String,
    /// What in the job's definition would allow it, such as `"http": ["https://api.example.com"]`
    /// among its grants; nothing if nothing would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// What the operator's ceiling has to say of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<String>,
}

impl fmt::Display for Denial {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "denied: {}", self.what)?;
        if let Some(grant) = &self.grant {
            write!(to, "; to allow it: {grant}")?;
        }
        if let Some(ceiling) = &self.ceiling {
            write!(to, "; {ceiling}")?;
        }
        Ok(())
    }
}

/// All that a run was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Denials {
    /// How often it was refused something.
    pub count: u64,
    /// What, each once, in the order in which it was first asked for; the first few.
    pub first: Vec<Denial>,
}

impl Denials {
    /// How many different denials are kept.
    pub const KEPT: usize = 32;

    /// Counts one. True if it is new, and kept.
    pub fn add(&mut self, denial: &Denial) -> bool {
        self.count += 1;
        let new = self.first.len() < Denials::KEPT && !self.first.contains(denial);
        if new {
            self.first.push(denial.clone());
        }
        new
    }
}

/// How much an entry of a log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Every step.
    Trace,
    /// What helps to find a mistake.
    Debug,
    /// What happened.
    Info,
    /// What may become a problem.
    Warn,
    /// What went wrong.
    Error,
}

impl Level {
    /// All levels, the least one first.
    pub const ALL: [Level; 5] = [
        Level::Trace,
        Level::Debug,
        Level::Info,
        Level::Warn,
        Level::Error,
    ];

    /// The level that is written so.
    pub fn from_name(text: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|it| it.as_str() == text)
    }

    /// The level as programs read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// One entry of a run's log that has a level and fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub message: String,
    /// Names and values.
    pub fields: Vec<(String, String)>,
    /// How long after the start of the attempt.
    pub after: Duration,
}

impl fmt::Display for LogEntry {
    /// One line: the level, the message, and the fields as `name=value`, quoted where they need
    /// to be.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_entry(self.level, &self.message, &self.fields, to)
    }
}

/// Writes an entry of a log as one line.
pub(crate) fn write_entry(
    level: Level,
    message: &str,
    fields: &[(String, String)],
    to: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let message = message.replace(['\n', '\r'], " ");
    write!(to, "{}: {message}", level.as_str())?;
    for (name, value) in fields {
        let plain = |letter: char| !letter.is_whitespace() && !"\"=".contains(letter);
        if !value.is_empty() && value.chars().all(plain) {
            write!(to, " {name}={value}")?;
        } else {
            write!(to, " {name}={value:?}")?;
        }
    }
    Ok(())
}

/// How far a run has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// How much is done.
    pub done: u64,
    /// Of how much, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What it is doing; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Progress {
    /// How much of the whole is done, in percent, rounded down; nothing if the whole is not known.
    pub fn percent(&self) -> Option<u8> {
        let total = self.total.filter(|total| *total > 0)?;
        let percent = u128::from(self.done) * 100 / u128::from(total);
        Some(u8::try_from(percent.min(100)).unwrap_or(100))
    }
}

impl Execution {
    /// The same, failed for a reason that only came up when it was over.
    pub fn failed(self, error: String) -> Execution {
        Execution {
            outcome: Outcome::Failed,
            error: Some(error),
            retry: Retry::ByPolicy,
            output: None,
            output_dropped: 0,
            state: None,
            ..self
        }
    }
}

/// The record of a run that has ended.
#[derive(Debug)]
pub struct FinishedRun {
    /// The last attempt.
    pub attempt: Attempt,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How it ended.
    pub execution: Execution,
}

/// Why a firing did not become a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// As many runs of the job are in flight as it allows.
    MaxInstances(u32),
    /// As many more runs of the job wait as it allows.
    QueueFull(u32),
    /// As many runs are in flight or wait as the host can keep.
    HostFull(u64),
    /// A later firing of the job took its place before it started.
    Replaced,
    /// The job is paused; by what, such as `all jobs`.
    Paused(Arc<str>),
    /// The job was removed before the run started.
    Removed,
    /// The plugin is not there, or never was usable.
    PluginMissing(Arc<str>),
    /// The host was not looking (suspended, stalled, or its clock was set); a later instant
    /// runs in its place. How many were missed, if that could be counted.
    Missed(Option<u64>),
    /// The host was not looking, and by now it is too late to run. How many such there are, if
    /// that could be counted.
    Misfired(Option<u64>),
    /// Calendars leave them out: the firings of a day off, one record for all of them. How many
    /// they are, if that could be counted, and which calendars, with the last of several.
    Excluded(Option<u64>, Arc<str>),
    /// The host is stopping.
    Stopping,
    /// The run could not be recorded.
    NotRecorded(String),
}

impl SkipReason {
    /// The reason in parts, as a store keeps it: its name, a number and a text, where it has them.
    pub fn to_parts(&self) -> (&'static str, Option<u64>, Option<&str>) {
        match self {
            SkipReason::MaxInstances(max) => ("overlapped", Some(u64::from(*max)), None),
            SkipReason::QueueFull(most) => ("queue_full", Some(u64::from(*most)), None),
            SkipReason::HostFull(most) => ("host_full", Some(*most), None),
            SkipReason::Replaced => ("replaced", None, None),
            SkipReason::Paused(scope) => ("paused", None, Some(scope)),
            SkipReason::Removed => ("removed", None, None),
            SkipReason::PluginMissing(name) => ("plugin_missing", None, Some(name)),
            SkipReason::Missed(count) => ("missed", *count, None),
            SkipReason::Misfired(count) => ("misfired", *count, None),
            SkipReason::Excluded(count, days) => ("excluded", *count, Some(days)),
            SkipReason::Stopping => ("stopping", None, None),
            SkipReason::NotRecorded(why) => ("not_recorded", None, Some(why)),
        }
    }

    /// The reason that has these parts; nothing if none has.
    pub fn from_parts(name: &str, number: Option<u64>, text: Option<&str>) -> Option<SkipReason> {
        Some(match (name, number, text) {
            ("overlapped", Some(max), _) => SkipReason::MaxInstances(u32::try_from(max).ok()?),
            ("queue_full", Some(most), _) => SkipReason::QueueFull(u32::try_from(most).ok()?),
            ("host_full", Some(most), _) => SkipReason::HostFull(most),
            ("replaced", ..) => SkipReason::Replaced,
            ("paused", _, Some(scope)) => SkipReason::Paused(scope.into()),
            ("removed", ..) => SkipReason::Removed,
            ("plugin_missing", _, Some(name)) => SkipReason::PluginMissing(name.into()),
            ("missed", count, _) => SkipReason::Missed(count),
            ("misfired", count, _) => SkipReason::Misfired(count),
            ("excluded", count, Some(days)) => SkipReason::Excluded(count, days.into()),
            ("stopping", ..) => SkipReason::Stopping,
            ("not_recorded", _, Some(why)) => SkipReason::NotRecorded(why.to_owned()),
            _ => return None,
        })
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::MaxInstances(max) => {
                write!(to, "previous run still going (max_instances {max})")
            }
            SkipReason::QueueFull(most) => {
                write!(to, "the queue of the job is full (overlap queue {most})")
            }
            SkipReason::HostFull(most) => {
                write!(to, "the host is full: {most} runs are in flight or wait")
            }
            SkipReason::Replaced => {
                write!(to, "a later firing took its place (overlap replace)")
            }
            SkipReason::Paused(scope) => write!(to, "paused ({scope})"),
            SkipReason::Removed => write!(to, "the job was removed or disabled before it started"),
            SkipReason::PluginMissing(name) => write!(to, "plugin {name} is missing"),
            SkipReason::Missed(count) => {
                let (firings, them) = firings(*count);
                write!(
                    to,
                    "{firings}missed while the host was not running {them}; another run stands in"
                )
            }
            SkipReason::Misfired(count) => {
                let (firings, _) = firings(*count);
                write!(to, "{firings}missed, and now too late (misfire_grace_time)")
            }
            SkipReason::Excluded(Some(1), days) => write!(to, "a day off ({days})"),
            SkipReason::Excluded(count, days) => {
                let (firings, _) = firings(*count);
                write!(to, "{firings}on days off ({days})")
            }
            SkipReason::Stopping => write!(to, "the host is stopping"),
            SkipReason::NotRecorded(why) => write!(to, "the run could not be recorded: {why}"),
        }
    }
}

/// How a count of firings begins a sentence, and what it is called later on.
fn firings(count: Option<u64>) -> (String, &'static str) {
    match count {
        Some(1) => (String::new(), "it"),
        Some(count) => (format!("{count} firings "), "them"),
        None => ("many firings ".to_owned(), "them"),
    }
}

impl Serialize for SkipReason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_kept_in_parts_and_said_in_words() {
        let name = || Arc::from("a name");
        let reasons = [
            SkipReason::MaxInstances(2),
            SkipReason::QueueFull(16),
            SkipReason::HostFull(1 << 40),
            SkipReason::Replaced,
            SkipReason::Paused(name()),
            SkipReason::Removed,
            SkipReason::PluginMissing(name()),
            SkipReason::Missed(Some(1)),
            SkipReason::Missed(None),
            SkipReason::Misfired(Some(41)),
            SkipReason::Misfired(None),
            SkipReason::Excluded(Some(1), "not_on holidays".into()),
            SkipReason::Excluded(
                Some(24),
                "not_on holidays; the last one for 2026-12-24T22:00:00Z".into(),
            ),
            SkipReason::Stopping,
            SkipReason::NotRecorded("the disk is full".into()),
        ];
        let mut said = String::new();
        for reason in reasons {
            let (kind, number, text) = reason.to_parts();
            let back = SkipReason::from_parts(kind, number, text);
            assert_eq!(back.as_ref(), Some(&reason));
            said.push_str(&format!("{kind}: {reason}\n"));
        }
        assert_eq!(SkipReason::from_parts("overlapped", None, None), None);
        assert_eq!(
            SkipReason::from_parts("unheard of", Some(1), Some("x")),
            None
        );
        insta::assert_snapshot!(said, @"
        overlapped: previous run still going (max_instances 2)
        queue_full: the queue of the job is full (overlap queue 16)
        host_full: the host is full: 1099511627776 runs are in flight or wait
        replaced: a later firing took its place (overlap replace)
        paused: paused (a name)
        removed: the job was removed or disabled before it started
        plugin_missing: plugin a name is missing
        missed: missed while the host was not running it; another run stands in
        missed: many firings missed while the host was not running them; another run stands in
        misfired: 41 firings missed, and now too late (misfire_grace_time)
        misfired: many firings missed, and now too late (misfire_grace_time)
        excluded: a day off (not_on holidays)
        excluded: 24 firings on days off (not_on holidays; the last one for 2026-12-24T22:00:00Z)
        stopping: the host is stopping
        not_recorded: the run could not be recorded: the disk is full
        ");
    }
}
