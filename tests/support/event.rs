//! Events as `serve --json` prints them, and the records of runs.

use std::ops::Deref;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Ended;

/// The keys that events are documented to have.
const EVENT_KEYS: &[&str] = &[
    "event",
    "at",
    "version",
    "tz_database",
    "data",
    "ephemeral",
    "kind",
    "seconds",
    "hook",
    "delivery",
    "attempts",
    "truncated",
    "job",
    "run",
    "attempt",
    "max_attempts",
    "cause",
    "scheduled_at",
    "started_at",
    "run_started_at",
    "finished_at",
    "last_success_at",
    "deterministic",
    "params",
    "outcome",
    "reason",
    "error",
    "output",
    "output_type",
    "output_dropped_bytes",
    "log",
    "log_dropped_bytes",
    "entries",
    "denial",
    "denied",
    "denials",
    "progress",
    "fuel_used",
    "memory_peak_bytes",
    "cpu_ms",
    "duration_ms",
    "next_at",
    "fields",
    "definition",
    "origin",
    "file",
    "sections",
    "recovered",
    "refused",
    "restored",
    "restart",
    "problems",
    "plugin",
    "digest",
    "replaced",
    "shape",
    "compiled_ms",
    "in_service",
    "source",
    "added",
    "updated",
    "removed",
    "rejected",
    "unchanged",
    "jobs",
    "plugins",
    "runs",
    "skipped",
];

/// The names that events are documented to have.
const EVENT_NAMES: &[&str] = &[
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

/// The record of a run that has ended.
#[derive(Debug, Clone)]
pub(crate) struct Record(Event);

impl Deref for Record {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.0
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(to)
    }
}

impl Record {
    #[track_caller]
    pub(super) fn of(ended: Ended) -> Record {
        let record = Record::from(Event(ended.json()));
        let succeeded = record.text("outcome") == "succeeded";
        assert_eq!(ended.code, Some(i32::from(!succeeded)), "{ended:#?}");
        record
    }

    /// Checks what every record of a run has, whatever the outcome.
    #[track_caller]
    pub(crate) fn from(event: Event) -> Record {
        assert!(event.is("run.finished"), "{event}");
        for key in ["job", "run", "at", "outcome"] {
            event.text(key);
        }
        let scheduled = event.instant("scheduled_at");
        assert!(scheduled <= event.instant("started_at"), "{event}");
        assert!(
            event.instant("started_at") <= event.instant("finished_at"),
            "{event}"
        );
        for key in ["attempt", "fuel_used", "memory_peak_bytes"] {
            event.number(key);
        }
        let succeeded = event.text("outcome") == "succeeded";
        assert_eq!(event.0.get("error").is_none(), succeeded, "{event}");
        Record(event)
    }

    /// Checks the outcome, and that the error has certain words.
    #[track_caller]
    pub(crate) fn ended(self, outcome: &str, words: &[&str]) -> Record {
        assert_eq!(self.text("outcome"), outcome, "{self}");
        for word in words {
            assert!(
                self.text("error").contains(word),
                "no `{word}` in the error of {self}"
            );
        }
        self
    }

    /// Checks that its log has certain words.
    #[track_caller]
    pub(crate) fn says_log(self, words: &str) -> Record {
        assert!(
            self.text("log").contains(words),
            "no `{words}` in the log of {self}"
        );
        self
    }

    /// Checks that it succeeded.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Record {
        self.ended("succeeded", &[])
    }
}

/// One event, as `serve --json` prints it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event(pub(crate) Value);

impl std::fmt::Display for Event {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = self.0.to_string();
        if let Some((at, _)) = text.char_indices().nth(2000) {
            text.truncate(at);
        }
        write!(to, "{text}")
    }
}

impl Event {
    /// Whether it is of this name.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.0["event"] == name
    }

    /// Whether it is of this name and about this job.
    pub(crate) fn of(&self, name: &str, job: &str) -> bool {
        self.is(name) && self.0["job"] == job
    }

    /// Whether it is of this name and about this plugin.
    pub(crate) fn of_plugin(&self, name: &str, plugin: &str) -> bool {
        self.is(name) && self.0["plugin"] == plugin
    }

    #[track_caller]
    pub(crate) fn text(&self, key: &str) -> &str {
        self.0[key]
            .as_str()
            .unwrap_or_else(|| panic!("no text `{key}` in {self}"))
    }

    #[track_caller]
    pub(crate) fn number(&self, key: &str) -> u64 {
        self.0[key]
            .as_u64()
            .unwrap_or_else(|| panic!("no number `{key}` in {self}"))
    }

    #[track_caller]
    pub(crate) fn instant(&self, key: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(self.text(key))
            .unwrap_or_else(|error| panic!("`{key}` is no instant ({error}) in {self}"))
            .to_utc()
    }

    /// The first of the problems of a rejected job.
    #[track_caller]
    pub(crate) fn problem(&self) -> &Value {
        self.0["problems"]
            .get(0)
            .unwrap_or_else(|| panic!("no problems in {self}"))
    }
}

/// Reads a line of `serve --json`, and checks that it is what is documented.
pub(super) fn read_event(line: &str) -> Result<Event, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("not JSON ({error})"))?;
    let object = value.as_object().ok_or("not an object")?;
    if let Some(key) = object
        .keys()
        .find(|key| !EVENT_KEYS.contains(&key.as_str()))
    {
        return Err(format!("the key `{key}` is not documented"));
    }
    if !value["event"]
        .as_str()
        .is_some_and(|name| EVENT_NAMES.contains(&name))
    {
        return Err("no event of a documented name".into());
    }
    if value["at"]
        .as_str()
        .is_none_or(|at| DateTime::parse_from_rfc3339(at).is_err())
    {
        return Err("no instant `at`".into());
    }
    Ok(Event(value))
}
