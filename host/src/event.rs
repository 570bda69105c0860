//! What the host tells of itself: events, how they are handed to whoever listens, and their
//! form as JSON.
//!
//! The log for people, `--json` and every later view read these and nothing else. A listener
//! that cannot keep up loses events, counted; it never holds up a run. What is past is told with
//! the same keys: see [`EventJson::of_record`].

mod past;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::clock::{Jump, Timestamp, rfc3339_option};
use crate::job::{DefinitionDigest, Diagnostic, Job, JobId};
use crate::run::{
    Attempt, Cause, Denial, Execution, FinishedRun, Level, LogEntry, Outcome, Output, Progress,
    RunId, SkipReason,
};
use crate::trigger::tz_database;

/// Something that happened in the host.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The host has read its definitions and plugins and starts to fire.
    HostStarted {
        /// How many jobs are scheduled.
        jobs: usize,
        /// How many plugins are in service.
        plugins: usize,
        /// The data directory; nothing if nothing is kept.
        data: Option<PathBuf>,
    },
    /// The host has been asked to stop and waits for the runs in flight.
    HostStopping {
        /// How many runs are in flight.
        in_flight: usize,
        /// How long it waits for them.
        grace: Duration,
    },
    /// The host has stopped; nothing follows.
    HostStopped {
        /// How many runs ended, by outcome.
        runs: Vec<(Outcome, u64)>,
        /// How many firings did not become a run.
        skipped: u64,
    },
    /// The clock was set, or the machine was suspended.
    ClockJumped {
        /// What happened, and by how much.
        jump: Jump,
    },
    /// Runs cannot be recorded, and none starts until they can.
    StoreFailing {
        /// Why, and what would help.
        error: String,
    },
    /// Runs can be recorded again. What fell due meanwhile is late.
    StoreRecovered,
    /// A job is new.
    JobAdded {
        /// Its definition.
        job: Arc<Job>,
        /// When it fires next.
        next: Option<Timestamp>,
    },
    /// A job's definition has changed.
    JobUpdated {
        /// The new definition.
        job: Arc<Job>,
        /// The keys that changed.
        fields: Vec<&'static str>,
        /// When it fires next.
        next: Option<Timestamp>,
    },
    /// A job is no longer defined.
    JobRemoved {
        /// Its last definition.
        job: Arc<Job>,
    },
    /// A definition cannot be used, or a whole file of them, or the file cannot even be read. What
    /// ran before goes on.
    JobRejected {
        /// The job, where the mistake is inside one whose id could be read.
        job: Option<JobId>,
        /// Everything wrong with it.
        problems: Vec<Diagnostic>,
    },
    /// The summary of a change of definitions; each job's own event has gone before.
    JobsReloaded {
        /// The source, such as the path of a file.
        source: String,
        /// How many jobs are new.
        added: usize,
        /// How many jobs have another definition.
        updated: usize,
        /// How many jobs are gone.
        removed: usize,
        /// How many definitions cannot be used that could, or that are new.
        rejected: usize,
        /// How many jobs have not changed.
        unchanged: usize,
    },
    /// A source does not want most of its jobs any more. They stay in service until a second
    /// reading says the same.
    RemovalHeld {
        /// The source, such as the path of a file.
        source: String,
        /// How many jobs it does not want any more.
        removed: usize,
        /// How many jobs it has in service.
        jobs: usize,
    },
    /// The operator's configuration says something else, or can be used again, and is in force. What
    /// that means for each job has been told before.
    ConfigChanged {
        /// The file.
        file: Arc<str>,
        /// The sections that say something else, such as `[ceiling]`; none if only what it says
        /// them with has changed.
        sections: Vec<&'static str>,
        /// Whether it could not be used before.
        recovered: bool,
        /// How many jobs are above the ceiling that were not.
        refused: usize,
        /// How many jobs are no longer above the ceiling.
        restored: usize,
        /// What it sets and a host only takes up when it starts.
        restart: Vec<LateSetting>,
    },
    /// The operator's configuration cannot be used any more. The last good one stays in force.
    ConfigRejected {
        /// The file.
        file: Arc<str>,
        /// Everything wrong with it.
        problems: Vec<Diagnostic>,
    },
    /// A plugin is in service.
    PluginLoaded {
        /// The name of its file.
        name: Arc<str>,
        /// SHA-256 of the file, in hexadecimal.
        digest: String,
        /// The digest of the file that it replaced.
        replaced: Option<String>,
        /// What kind of guest it is.
        shape: &'static str,
        /// How long it took to compile; nothing if it came from the cache.
        compiled_in: Option<Duration>,
    },
    /// A file in the plugins directory cannot be used.
    PluginRejected {
        /// The name of the file.
        name: Arc<str>,
        /// Why.
        error: String,
        /// Whether the version before it stays in service.
        in_service: bool,
    },
    /// A plugin was noted in the lock file: it is new, or imports no more than the one before it.
    PluginLocked {
        /// The name of its file.
        name: Arc<str>,
        /// SHA-256 of the file, in hexadecimal.
        digest: String,
        /// The digest that stood there before.
        replaced: Option<String>,
    },
    /// A plugin's file is gone.
    PluginRemoved {
        /// The name of the file.
        name: Arc<str>,
    },
    /// An event was not sent to somebody who wants to hear of it, and is not tried again.
    HookFailed {
        /// The hook, by its name.
        hook: Arc<str>,
        /// The id of the delivery; nothing where it is about all that comes.
        delivery: Option<RunId>,
        /// How many times it was tried.
        attempts: u32,
        /// Why.
        error: String,
    },
    /// A run has started.
    RunStarted {
        /// Its attempt.
        attempt: Attempt,
    },
    /// A run was refused something. Each thing is told once for a run, the first few; all are
    /// counted when the run ends.
    RunDenied {
        /// Its attempt.
        attempt: Attempt,
        /// What it was refused.
        denial: Denial,
    },
    /// A run says how far it has come. Told a few times a second at most.
    RunProgress {
        /// Its attempt.
        attempt: Attempt,
        /// How far.
        progress: Progress,
    },
    /// An attempt has failed, and there is to be another one.
    RunRetrying {
        /// The record of the attempt.
        run: Arc<FinishedRun>,
        /// When the next attempt is due.
        next_at: Timestamp,
    },
    /// A run has ended.
    RunFinished {
        /// Its record.
        run: Arc<FinishedRun>,
    },
    /// A job was due and did not run.
    RunSkipped {
        /// The job.
        job: Arc<Job>,
        /// The instant it was due.
        scheduled_at: Timestamp,
        /// Why it did not run.
        reason: SkipReason,
    },
}

/// A setting that has changed and counts from the next start of the host on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LateSetting {
    /// Its name, such as `[host] max_memory`.
    pub setting: &'static str,
    /// Where it is set, such as `quarterjack.toml:2`.
    pub place: String,
}

/// An event and when it happened.
#[derive(Debug, Clone)]
pub struct Stamped {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// How many events may wait for a listener before it starts to lose some.
const BACKLOG: usize = 1 << 17;

/// Hands events to whoever listens. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Events {
    listeners: Arc<RwLock<Vec<Listener>>>,
}

struct Listener {
    sender: mpsc::Sender<Stamped>,
    lost: Arc<AtomicU64>,
    /// Whether it wants to hear of anything at the moment.
    listens: Option<Box<Listens>>,
}

/// Says whether somebody wants to hear of anything at the moment.
type Listens = dyn Fn() -> bool + Send + Sync;

impl fmt::Debug for Listener {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Listener").finish_non_exhaustive()
    }
}

/// The receiving end of [`Events`].
#[derive(Debug)]
pub struct Subscription {
    receiver: mpsc::Receiver<Stamped>,
    lost: Arc<AtomicU64>,
}

impl Events {
    /// Nobody listens yet.
    pub fn new() -> Self {
        Events::default()
    }

    /// Starts to listen: every event from now on, in order.
    pub fn subscribe(&self) -> Subscription {
        self.listen(None)
    }

    /// Starts to listen: every event from now on, in order, that happens while `listens` says so.
    /// It is asked for each event, and costs next to nothing.
    pub fn subscribe_while(
        &self,
        listens: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Subscription {
        self.listen(Some(Box::new(listens)))
    }

    fn listen(&self, listens: Option<Box<Listens>>) -> Subscription {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let lost = Arc::new(AtomicU64::new(0));
        self.listeners.write().push(Listener {
            sender,
            lost: lost.clone(),
            listens,
        });
        Subscription { receiver, lost }
    }

    /// Tells everybody who listens. Never waits.
    pub fn emit(&self, at: Timestamp, event: Event) {
        let listeners = self.listeners.read();
        let Some((last, others)) = listeners.split_last() else {
            return;
        };
        for listener in others.iter().filter(|it| it.listens()) {
            listener.send(Stamped {
                at,
                event: event.clone(),
            });
        }
        if last.listens() {
            last.send(Stamped { at, event });
        }
    }

    /// Ends every subscription, after what has been sent.
    pub fn close(&self) {
        self.listeners.write().clear();
    }
}

impl Listener {
    fn listens(&self) -> bool {
        self.listens.as_ref().is_none_or(|listens| listens())
    }

    fn send(&self, event: Stamped) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.sender.try_send(event) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Subscription {
    /// The next event; nothing once the host has closed its events.
    pub async fn recv(&mut self) -> Option<Stamped> {
        self.receiver.recv().await
    }

    /// The next event, waiting for it on this thread; nothing once the host has closed its
    /// events. For threads outside the async runtime.
    pub fn blocking_recv(&mut self) -> Option<Stamped> {
        self.receiver.blocking_recv()
    }

    /// The next event if one waits.
    pub fn try_recv(&mut self) -> Option<Stamped> {
        self.receiver.try_recv().ok()
    }

    /// How many events were lost since this was last asked, because nobody took them in time.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

/// The names of all events that are told as JSON.
pub const EVENT_NAMES: &[&str] = &[
    "host.started",
    "host.stopped",
    "clock.jumped",
    "job.added",
    "job.updated",
    "job.removed",
    "job.rejected",
    "jobs.reloaded",
    "removal.held",
    "config.changed",
    "config.rejected",
    "hook.failed",
    "store.failing",
    "store.recovered",
    "plugin.loaded",
    "plugin.locked",
    "plugin.rejected",
    "plugin.removed",
    "run.started",
    "run.denied",
    "run.progress",
    "run.retrying",
    "run.finished",
    "run.skipped",
];

/// The JSON object of an event, or of a run's record: the keys that programs rely on.
#[derive(Debug, Default, Serialize)]
pub struct EventJson<'a> {
    /// The name of the event, such as `run.finished`.
    pub event: &'static str,
    /// When it happened.
    #[serde(with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tz_database: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ephemeral: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<&'a JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
    #[serde(with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    scheduled_at: Option<Timestamp>,
    #[serde(with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    /// Only of attempts after the first.
    #[serde(with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    run_started_at: Option<Timestamp>,
    #[serde(with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    finished_at: Option<Timestamp>,
    #[serde(with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    last_success_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deterministic: Option<bool>,
    /// Those given for the run, in place of its definition's.
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a SkipReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a Output>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dropped_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_dropped_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<EntryJson<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    denial: Option<&'a Denial>,
    #[serde(skip_serializing_if = "Option::is_none")]
    denied: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    denials: Option<&'a [Denial]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<&'a Progress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fuel_used: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_peak_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<f64>,
    #[serde(with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    next_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<&'a [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<&'a [Diagnostic]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sections: Option<&'a [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restored: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart: Option<&'a [LateSetting]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<DefinitionDigest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shape: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compiled_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_service: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unchanged: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugins: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    /// That what a run left behind is not there, for its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
}

/// An entry of a run's log as JSON.
#[derive(Debug, Serialize)]
struct EntryJson<'a> {
    level: Level,
    message: &'a str,
    /// A list of pairs: the same name may come twice.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    fields: &'a [(String, String)],
    after_ms: f64,
}

impl<'a> EntryJson<'a> {
    fn of(entry: &'a LogEntry) -> Self {
        EntryJson {
            level: entry.level,
            message: &entry.message,
            fields: &entry.fields,
            after_ms: millis(entry.after),
        }
    }
}

fn millis(time: Duration) -> f64 {
    // Whole microseconds: finer is noise.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

impl<'a> EventJson<'a> {
    /// The job that it is about, if it is about one.
    pub fn job(&self) -> Option<&'a JobId> {
        self.job
    }

    /// The same without what may be large: the output and the log of a run.
    #[must_use]
    pub fn without_what_was_left(self) -> EventJson<'a> {
        EventJson {
            output: None,
            log: None,
            entries: None,
            params: None,
            truncated: Some(true),
            ..self
        }
    }

    /// The JSON form of an event; nothing for the few that only people see.
    pub fn of(stamped: &'a Stamped) -> Option<EventJson<'a>> {
        let json = Self::of_event(stamped)?;
        debug_assert!(EVENT_NAMES.contains(&json.event), "{}", json.event);
        Some(json)
    }

    fn of_event(stamped: &'a Stamped) -> Option<EventJson<'a>> {
        let mut json = match &stamped.event {
            Event::HostStarted {
                jobs,
                plugins,
                data,
            } => EventJson {
                event: "host.started",
                data: data.as_ref().map(|data| data.to_string_lossy()),
                ephemeral: data.is_none().then_some(true),
                version: Some(env!("CARGO_PKG_VERSION")),
                tz_database: Some(tz_database().to_string()),
                jobs: Some(*jobs),
                plugins: Some(*plugins),
                ..EventJson::default()
            },
            Event::HostStopping { .. } => return None,
            Event::JobsReloaded {
                source,
                added,
                updated,
                removed,
                rejected,
                unchanged,
            } => EventJson {
                event: "jobs.reloaded",
                source: Some(source),
                added: Some(*added),
                updated: Some(*updated),
                removed: Some(*removed),
                rejected: Some(*rejected),
                unchanged: Some(*unchanged),
                ..EventJson::default()
            },
            Event::RemovalHeld {
                source,
                removed,
                jobs,
            } => EventJson {
                event: "removal.held",
                source: Some(source),
                removed: Some(*removed),
                jobs: Some(*jobs),
                ..EventJson::default()
            },
            Event::HostStopped { runs, skipped } => EventJson {
                event: "host.stopped",
                runs: Some(runs.iter().map(|(_, count)| count).sum()),
                skipped: Some(*skipped),
                ..EventJson::default()
            },
            Event::ClockJumped { jump } => {
                let (kind, by) = match jump {
                    Jump::Forward(by) => ("set_forward", by),
                    Jump::Back(by) => ("set_back", by),
                    Jump::Suspended(by) => ("suspended", by),
                };
                EventJson {
                    event: "clock.jumped",
                    kind: Some(kind),
                    seconds: Some(millis(*by) / 1e3),
                    ..EventJson::default()
                }
            }
            Event::StoreFailing { error } => EventJson {
                event: "store.failing",
                error: Some(error.clone()),
                ..EventJson::default()
            },
            Event::HookFailed {
                hook,
                delivery,
                attempts,
                error,
            } => EventJson {
                event: "hook.failed",
                hook: Some(hook),
                delivery: *delivery,
                attempts: Some(*attempts),
                error: Some(error.clone()),
                ..EventJson::default()
            },
            Event::StoreRecovered => EventJson {
                event: "store.recovered",
                ..EventJson::default()
            },
            Event::JobAdded { job, next } => EventJson {
                event: "job.added",
                next_at: *next,
                ..EventJson::of_job(job)
            },
            Event::JobUpdated { job, fields, next } => EventJson {
                event: "job.updated",
                fields: Some(fields),
                next_at: *next,
                ..EventJson::of_job(job)
            },
            Event::JobRemoved { job } => EventJson {
                event: "job.removed",
                ..EventJson::of_job(job)
            },
            Event::JobRejected { job, problems } => EventJson {
                event: "job.rejected",
                job: job.as_ref(),
                error: Some(join_lines(problems)),
                problems: Some(problems),
                ..EventJson::default()
            },
            Event::ConfigChanged {
                file,
                sections,
                recovered,
                refused,
                restored,
                restart,
            } => EventJson {
                event: "config.changed",
                file: Some(file),
                sections: Some(sections),
                recovered: recovered.then_some(true),
                refused: Some(*refused),
                restored: Some(*restored),
                restart: (!restart.is_empty()).then_some(restart),
                ..EventJson::default()
            },
            Event::ConfigRejected { file, problems } => EventJson {
                event: "config.rejected",
                file: Some(file),
                error: Some(join_lines(problems)),
                problems: Some(problems),
                in_service: Some(true),
                ..EventJson::default()
            },
            Event::PluginLoaded {
                name,
                digest,
                replaced,
                shape,
                compiled_in,
            } => EventJson {
                event: "plugin.loaded",
                plugin: Some(name),
                digest: Some(digest.into()),
                replaced: replaced.as_deref(),
                shape: Some(shape),
                compiled_ms: compiled_in.map(millis),
                ..EventJson::default()
            },
            Event::PluginRejected {
                name,
                error,
                in_service,
            } => EventJson {
                event: "plugin.rejected",
                plugin: Some(name),
                error: Some(error.clone()),
                in_service: Some(*in_service),
                ..EventJson::default()
            },
            Event::PluginLocked {
                name,
                digest,
                replaced,
            } => EventJson {
                event: "plugin.locked",
                plugin: Some(name),
                digest: Some(digest.into()),
                replaced: replaced.as_deref(),
                ..EventJson::default()
            },
            Event::PluginRemoved { name } => EventJson {
                event: "plugin.removed",
                plugin: Some(name),
                ..EventJson::default()
            },
            Event::RunStarted { attempt } => EventJson {
                event: "run.started",
                ..EventJson::of_attempt(attempt)
            },
            Event::RunDenied { attempt, denial } => EventJson {
                event: "run.denied",
                denial: Some(denial),
                ..EventJson::of_attempt(attempt)
            },
            Event::RunProgress { attempt, progress } => EventJson {
                event: "run.progress",
                progress: Some(progress),
                ..EventJson::of_attempt(attempt)
            },
            Event::RunRetrying { run, next_at } => EventJson {
                event: "run.retrying",
                next_at: Some(*next_at),
                ..EventJson::of_run(run)
            },
            Event::RunFinished { run } => EventJson::of_run(run),
            Event::RunSkipped {
                job,
                scheduled_at,
                reason,
            } => EventJson {
                event: "run.skipped",
                job: Some(&job.id),
                scheduled_at: Some(*scheduled_at),
                kind: Some(reason.to_parts().0),
                reason: Some(reason),
                ..EventJson::default()
            },
        };
        json.at = Some(stamped.at);
        Some(json)
    }

    /// The JSON form of a run's record: what `run.finished` says.
    pub fn of_run(run: &'a FinishedRun) -> EventJson<'a> {
        let mut json = EventJson::of_attempt(&run.attempt);
        json.event = "run.finished";
        json.last_success_at = run.attempt.run.last_success;
        json.deterministic = run.attempt.run.job.deterministic.then_some(true);
        json.params = raw(run.attempt.run.job.given_params());
        json.plugin = Some(&run.attempt.run.job.component);
        json.definition = run.attempt.run.job.origin.definition;
        json.end(run.finished_at, &run.execution);
        json
    }

    /// Tells how an attempt ended.
    fn end(&mut self, at: Timestamp, execution: &'a Execution) {
        self.at = Some(at);
        self.finished_at = Some(at);
        self.digest = execution.plugin.map(|digest| digest.to_string().into());
        self.outcome = Some(execution.outcome);
        self.error = execution.error.clone();
        self.output = execution.output.as_ref();
        self.output_type = execution.output.as_ref().map(Output::kind);
        self.output_dropped_bytes = non_zero(execution.output_dropped);
        self.log(execution);
        self.denied = non_zero(execution.denials.count);
        self.denials = (!execution.denials.first.is_empty()).then_some(&execution.denials.first);
        self.progress = execution.progress.as_ref();
        self.fuel_used = Some(execution.fuel_used);
        self.memory_peak_bytes = Some(execution.memory_peak);
        self.cpu_ms = Some(millis(execution.cpu_time));
        self.duration_ms = Some(millis(execution.elapsed));
    }

    /// Tells what an attempt said along the way.
    fn log(&mut self, execution: &'a Execution) {
        self.log = (!execution.log.is_empty())
            .then(|| String::from_utf8_lossy(&execution.log).into_owned());
        self.log_dropped_bytes = non_zero(execution.log_dropped);
        self.entries = (!execution.entries.is_empty())
            .then(|| execution.entries.iter().map(EntryJson::of).collect());
    }

    fn of_attempt(attempt: &'a Attempt) -> EventJson<'a> {
        let run = &attempt.run;
        EventJson {
            job: Some(&run.job.id),
            run: Some(run.id),
            attempt: Some(attempt.number),
            max_attempts: (run.max_attempts > 1).then_some(run.max_attempts),
            cause: Some(run.cause),
            scheduled_at: Some(run.scheduled_at),
            started_at: Some(attempt.started_at),
            run_started_at: (attempt.number > 1).then_some(attempt.run_started_at),
            ..EventJson::default()
        }
    }

    fn of_job(job: &'a Job) -> EventJson<'a> {
        EventJson {
            job: Some(&job.id),
            origin: Some(job.origin.to_string()),
            plugin: Some(&job.component),
            definition: job.origin.definition,
            ..EventJson::default()
        }
    }
}

/// Parameters as they are, which are one JSON value.
fn raw(params: Option<&Arc<str>>) -> Option<&RawValue> {
    serde_json::from_str(params?).ok()
}

fn non_zero(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

fn join_lines(problems: &[Diagnostic]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

impl Stamped {
    /// The event as one line of JSON; nothing for the few that only people see.
    pub fn to_json_line(&self) -> Option<String> {
        // Nothing in the object can fail to serialise: no maps, no foreign code.
        serde_json::to_string(&EventJson::of(self)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::{execution, finished, firing, instant, job};
    use crate::store::to_run;

    fn json(event: Event) -> serde_json::Value {
        let stamped = Stamped {
            at: instant(7),
            event,
        };
        serde_json::to_value(EventJson::of(&stamped)).unwrap()
    }

    #[test]
    fn an_attempt_that_is_followed_by_another_says_when() {
        let firing = firing(&job("a"), Cause::Schedule, 5);
        let mut run = to_run(firing, instant(5), None);
        run.max_attempts = 3;
        let run = finished(&Arc::new(run), 6, execution(Outcome::TimedOut));
        let told = json(Event::RunRetrying {
            run: run.clone(),
            next_at: instant(16),
        });
        assert_eq!(told["event"], "run.retrying");
        assert_eq!(
            (&told["attempt"], &told["max_attempts"]),
            (&1.into(), &3.into())
        );
        assert_eq!(told["outcome"], "timed_out");
        assert_eq!(told["error"], "it did not work");
        assert_eq!(told["next_at"], "1970-01-01T00:00:16Z");
        let told = json(Event::RunFinished { run });
        assert!(told.get("next_at").is_none());
    }

    #[test]
    fn a_firing_that_does_not_run_says_why_in_a_word_and_in_words() {
        let told = json(Event::RunSkipped {
            job: job("a"),
            scheduled_at: instant(5),
            reason: SkipReason::Paused("the group db".into()),
        });
        assert_eq!(told["event"], "run.skipped");
        assert_eq!(told["kind"], "paused");
        assert_eq!(told["reason"], "paused (the group db)");
    }

    #[test]
    fn a_jump_of_the_clock_has_its_kind_and_size() {
        let stamped = Stamped {
            at: Timestamp::UNIX_EPOCH,
            event: Event::ClockJumped {
                jump: Jump::Back(Duration::from_millis(90_250)),
            },
        };
        let json = serde_json::to_value(EventJson::of(&stamped)).unwrap();
        assert_eq!(json["event"], "clock.jumped");
        assert_eq!(json["kind"], "set_back");
        assert_eq!(json["seconds"], 90.25);
    }
}
