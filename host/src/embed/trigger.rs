//! When a job runs, as a program says it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::error::Error;
use crate::clock::{Timestamp, format_instant};
use crate::job::manifest::{Form, Options};
use crate::job::{Diagnostic, Manifest, SourceText};
use crate::trigger;
use crate::units::format_duration_exact;

/// When a job runs: by a cron expression, at an interval, by the calendar, at an instant, or by
/// several of these.
///
/// What it says is checked when its job is added, or at once by [`Trigger::check`] and
/// [`Trigger::parse`].
///
/// ```
/// use std::time::Duration;
/// use quarterjack::Trigger;
///
/// let weekdays = Trigger::cron("30 9 * * mon-fri").timezone("Europe/Berlin");
/// let often = Trigger::interval(Duration::from_secs(90));
/// let either = Trigger::any([weekdays, often]).jitter(Duration::from_secs(5));
/// # either.check().unwrap();
///
/// let next = Trigger::cron("0 0 29 2 *").next_after("2026-01-01T00:00:00Z".parse().unwrap());
/// assert_eq!(next.unwrap().unwrap().to_rfc3339(), "2028-02-29T00:00:00+00:00");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger(pub(super) Value);

impl Trigger {
    /// A cron expression of 5 to 7 fields, or a macro such as `@daily`, by Debian's rules. In UTC,
    /// unless a [`timezone`](Trigger::timezone) is said.
    pub fn cron(expression: impl Into<String>) -> Trigger {
        Trigger(json!({"cron": expression.into()}))
    }

    /// Every so often, from when the job is added on; from its [`start`](Trigger::start) if it has
    /// one. Whole milliseconds count.
    pub fn interval(period: Duration) -> Trigger {
        Trigger(json!({"interval": format_duration_exact(period)}))
    }

    /// Once, at an instant.
    pub fn date(instant: Timestamp) -> Trigger {
        Trigger(json!({"at": format_instant(instant)}))
    }

    /// By the calendar: every so many days, weeks, months or years, on some of their days, at some
    /// times.
    ///
    /// ```
    /// # use quarterjack::Trigger;
    /// let payday = Trigger::calendar("month", ["last workday"], ["09:00"]).timezone("Europe/Berlin");
    /// let next = payday.next_after("2026-10-01T00:00:00Z".parse().unwrap());
    /// assert_eq!(next.unwrap().unwrap().to_rfc3339(), "2026-10-30T08:00:00+00:00");
    /// ```
    pub fn calendar<O, A>(every: impl Into<String>, on: O, at: A) -> Trigger
    where
        O: IntoIterator<Item: Into<String>>,
        A: IntoIterator<Item: Into<String>>,
    {
        let mut calendar = Map::new();
        calendar.insert("every".to_owned(), Value::String(every.into()));
        let mut texts = |key: &str, texts: Vec<Value>| {
            if !texts.is_empty() {
                calendar.insert(key.to_owned(), Value::Array(texts));
            }
        };
        let text = |text: String| Value::String(text);
        texts("on", on.into_iter().map(Into::into).map(text).collect());
        texts("at", at.into_iter().map(Into::into).map(text).collect());
        Trigger(json!({ "calendar": calendar }))
    }

    /// Whenever one of these fires.
    pub fn any(triggers: impl IntoIterator<Item = Trigger>) -> Trigger {
        let parts: Vec<Value> = triggers.into_iter().map(|it| it.0).collect();
        Trigger(json!({ "any": parts }))
    }

    /// Whenever all of these fire at once.
    pub fn all(triggers: impl IntoIterator<Item = Trigger>) -> Trigger {
        let parts: Vec<Value> = triggers.into_iter().map(|it| it.0).collect();
        Trigger(json!({ "all": parts }))
    }

    /// Whenever a run of another job has succeeded.
    pub fn after(job: impl Into<String>) -> Trigger {
        Trigger(json!({"after": job.into()}))
    }

    /// Whenever a run of another job has failed for good.
    pub fn after_failure(job: impl Into<String>) -> Trigger {
        Trigger(json!({"after": job.into(), "on": "failure"}))
    }

    /// Whenever a run of another job has ended.
    pub fn after_any_end(job: impl Into<String>) -> Trigger {
        Trigger(json!({"after": job.into(), "on": "always"}))
    }

    /// Once, whenever the scheduler starts.
    pub fn at_start() -> Trigger {
        Trigger(Value::String("@reboot".to_owned()))
    }

    /// Only when somebody asks for it.
    pub fn manual() -> Trigger {
        Trigger(Value::String("@manually".to_owned()))
    }

    /// A trigger as a job file has it: an expression, or a JSON object.
    ///
    /// ```
    /// # use quarterjack::Trigger;
    /// assert!(Trigger::parse("@every 5s").is_ok());
    /// assert!(Trigger::parse(r#"{"interval": "5s", "max_runs": 3}"#).is_ok());
    /// let error = Trigger::parse("61 * * * *").unwrap_err();
    /// assert!(error.to_string().contains("61"), "{error}");
    /// ```
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Trigger, Error> {
        let value = match text.trim_start().starts_with('{') {
            true => serde_json::from_str(text)
                .map_err(|error| Error::Trigger(format!("the trigger is not JSON: {error}")))?,
            false => Value::String(text.to_owned()),
        };
        let trigger = Trigger(value);
        trigger.check()?;
        Ok(trigger)
    }

    /// In this time zone, such as `Europe/Berlin`.
    #[must_use]
    pub fn timezone(self, zone: impl Into<String>) -> Trigger {
        self.with("timezone", Value::String(zone.into()))
    }

    /// Runs that a change of the clock skips are left out, rather than made up for right after it.
    #[must_use]
    pub fn skip_in_clock_changes(self) -> Trigger {
        self.with("dst", Value::String("skip".to_owned()))
    }

    /// Not before this instant.
    #[must_use]
    pub fn start(self, instant: Timestamp) -> Trigger {
        self.with("start", Value::String(format_instant(instant)))
    }

    /// Not after this instant.
    #[must_use]
    pub fn end(self, instant: Timestamp) -> Trigger {
        self.with("end", Value::String(format_instant(instant)))
    }

    /// At most so many times, from its [`start`](Trigger::start) on.
    #[must_use]
    pub fn max_runs(self, runs: u32) -> Trigger {
        self.with("max_runs", Value::from(runs))
    }

    /// Each run up to so much later, by a chance that is always the same for the same job and
    /// instant.
    #[must_use]
    pub fn jitter(self, most: Duration) -> Trigger {
        self.with("jitter", Value::String(format_duration_exact(most)))
    }

    /// Sets a key of the trigger, as a job file has it.
    #[must_use]
    pub fn with(self, key: &str, value: Value) -> Trigger {
        let mut members = match self.0 {
            Value::Object(members) => members,
            // A text has no place for it; one of one trigger is that trigger.
            text => Map::from_iter([("any".to_owned(), Value::Array(vec![text]))]),
        };
        members.insert(key.to_owned(), value);
        Trigger(Value::Object(members))
    }

    /// Looks whether it makes sense.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Error> {
        self.read().map(drop)
    }

    /// When it fires next after an instant; nothing if it never does. An interval without a start
    /// counts from that instant. What comes after a job, or at the start of the scheduler, has no
    /// instants.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn next_after(&self, instant: Timestamp) -> Result<Option<Timestamp>, Error> {
        let trigger = self.read()?;
        let trigger = trigger.counted_from(instant).unwrap_or(trigger);
        Ok(trigger.next_after(instant))
    }

    /// The trigger as the scheduler has it.
    fn read(&self) -> Result<trigger::Trigger, Error> {
        let text = json!({"component": "native:it", "trigger": self.0}).to_string();
        let options = Options {
            form: Form::One {
                id: "trigger".into(),
                component: None,
            },
            ..Options::default()
        };
        let refused = |problems: &[Diagnostic]| {
            let said = problems.iter().map(|it| match it.label.as_str() {
                "" => it.message.clone(),
                label => format!("{}: {label}", it.message),
            });
            Error::Trigger(said.collect::<Vec<_>>().join("; "))
        };
        let source = Arc::new(SourceText::new("trigger", text));
        let manifest = Manifest::parse(source, &options).map_err(|problems| refused(&problems))?;
        let mut entries = manifest.entries.into_iter();
        match entries.next().map(|entry| entry.result) {
            Some(Ok(job)) => Ok(job.trigger.clone()),
            Some(Err(problems)) => Err(refused(&problems)),
            None => Err(Error::Trigger("the trigger does not say when".to_owned())),
        }
    }
}

/// As a job file has it: a cron expression, `@every 5s`, `@manually`.
impl From<&str> for Trigger {
    fn from(text: &str) -> Trigger {
        Trigger(Value::String(text.to_owned()))
    }
}

/// Every so often.
impl From<Duration> for Trigger {
    fn from(period: Duration) -> Trigger {
        Trigger::interval(period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::parse_instant;

    #[test]
    fn every_kind_says_what_it_is_to_say() {
        let from = parse_instant("2026-03-02T10:00:00Z").unwrap();
        let later = parse_instant("2026-03-05T00:00:00Z").unwrap();
        let minute = Duration::from_secs(60);
        for (trigger, next) in [
            (Trigger::cron("0 12 * * *"), "2026-03-02T12:00:00Z"),
            (
                Trigger::cron("0 12 * * *").timezone("Asia/Tokyo"),
                "2026-03-03T03:00:00Z",
            ),
            (Trigger::interval(minute), "2026-03-02T10:01:00Z"),
            (
                Trigger::interval(minute).start(later),
                "2026-03-05T00:00:00Z",
            ),
            (Trigger::date(later), "2026-03-05T00:00:00Z"),
            (
                Trigger::calendar("week", ["fri"], ["08:15"]),
                "2026-03-06T08:15:00Z",
            ),
            (
                Trigger::any([Trigger::date(later), Trigger::cron("0 11 * * *")]),
                "2026-03-02T11:00:00Z",
            ),
            (
                Trigger::all([Trigger::cron("* * 4 * *"), Trigger::cron("0 * * * *")]),
                "2026-03-04T00:00:00Z",
            ),
            (
                Trigger::from("*/7 * * * *").start(later),
                "2026-03-05T00:00:00Z",
            ),
            (
                Trigger::from(Duration::from_millis(1_500)),
                "2026-03-02T10:00:01.500Z",
            ),
        ] {
            let found = trigger.next_after(from).unwrap().map(format_instant);
            assert_eq!(found.as_deref(), Some(next), "{trigger:?}");
        }
        let over = Trigger::cron("0 12 * * *").end(from);
        assert_eq!(over.next_after(from).unwrap(), None);
        for trigger in [
            Trigger::after("a"),
            Trigger::after_failure("a"),
            Trigger::after_any_end("a"),
            Trigger::at_start(),
            Trigger::manual(),
        ] {
            assert_eq!(trigger.next_after(from).unwrap(), None);
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let said = |trigger: Trigger| trigger.check().unwrap_err().to_string();
        insta::assert_snapshot!(said(Trigger::cron("0 25 * * *")), @"hour 25 is out of range: an hour is 0-23");
        insta::assert_snapshot!(said(Trigger::interval(Duration::ZERO)), @r#"`interval` "0 ms" is out of range: `interval` is above 0"#);
        insta::assert_snapshot!(said(Trigger::cron("@daily").timezone("Mars/Olympus")), @r#"no such time zone "Mars/Olympus": zones have names such as "Europe/Berlin" or "UTC""#);
        insta::assert_snapshot!(said(Trigger::manual().max_runs(3)), @"`@manually` adds nothing to other triggers: leave it out");
        assert!(Trigger::parse("{").is_err());
    }
}
