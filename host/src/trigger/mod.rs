//! When a job runs: a pure function from an instant to the next.
//!
//! ```text
//!   text ──parse──► Trigger ──next_after(instant)──► instant
//!                     │
//!       ┌─────────────┼───────────┐
//!     cron/         interval    manual
//!       │ fields: what the text says        (cron/parse.rs)
//!       │ dates:  which days match           (cron/dates.rs, on the crate `cron`)
//!       ▼
//!     zone: wall clock ◄─► instant, gaps and folds
//! ```
//!
//! Nothing here reads a clock or keeps state: `next_after` of an instant is the same however one
//! came there, its answers strictly increase, and two equal triggers fire at the same instants.
//! Cron triggers answer for the years 1970 to 2100.

mod cron;
mod interval;
mod zone;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use cron::CronTrigger;
pub use interval::IntervalTrigger;
pub use zone::{TzDatabase, TzOrigin, UnknownZone, WallInstant, Zone, tz_database};

use crate::units;

/// When a job runs. Two definitions with an equal trigger keep their schedule on a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// When the wall clock of a zone matches an expression.
    Cron(CronTrigger),
    /// Every so often, in real time.
    Interval(IntervalTrigger),
    /// Never by itself: only when someone asks.
    Manual,
}

/// Why a text is no trigger, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TriggerError {
    /// What is wrong, e.g. `minute 61 is out of range`.
    pub message: String,
    /// What may stand there, to be drawn under the text, e.g. `a minute is 0-59`.
    pub label: String,
    /// What to write instead, where that can be told.
    pub hint: Option<String>,
    /// The offending bytes of the given text.
    pub span: Range<usize>,
}

/// The macros of crontab(5) and the expressions they stand for.
const MACROS: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Trigger {
    /// Reads a trigger as people write it: a cron expression, a macro such as `@daily`,
    /// `@every 90s`, or `@manually`. `zone` is where a cron expression is read, unless the text
    /// begins with `CRON_TZ=` or `TZ=`.
    ///
    /// ```
    /// use quarterjack::trigger::{Trigger, Zone};
    /// let trigger = Trigger::parse("30 9 * * MON-FRI", Zone::parse("Europe/Berlin").unwrap())?;
    /// let friday_noon = "2026-07-03T12:00:00Z".parse().unwrap();
    /// assert_eq!(
    ///     trigger.next_after(friday_noon),
    ///     Some("2026-07-06T07:30:00Z".parse().unwrap()),
    /// );
    /// # Ok::<(), quarterjack::trigger::TriggerError>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong with the text, where, and what may stand there.
    pub fn parse(text: &str, zone: Zone) -> Result<Trigger, TriggerError> {
        let source = Source::read(text, zone)?;
        match source.keyword() {
            Some("every") => source.interval().map(Trigger::Interval),
            Some("manually") => source.alone().map(|()| Trigger::Manual),
            _ => source.cron().map(Trigger::Cron),
        }
    }

    /// Reads a cron expression or a macro such as `@daily`. `zone` is where it is read, unless
    /// the text begins with `CRON_TZ=` or `TZ=`.
    ///
    /// # Errors
    /// What is wrong with the text, where, and what may stand there.
    pub fn cron(expression: &str, zone: Zone) -> Result<Trigger, TriggerError> {
        let source = Source::read(expression, zone)?;
        let instead = match source.keyword() {
            Some("every") => "\"@every …\" is a trigger of its own, or {\"interval\": \"5s\"}",
            Some("manually") => "\"@manually\" is a trigger of its own",
            _ => return source.cron().map(Trigger::Cron),
        };
        Err(TriggerError {
            message: format!("`{}` is not a cron expression", source.body.trim_end()),
            label: "a cron expression stands here".to_owned(),
            hint: Some(instead.to_owned()),
            span: source.span(),
        })
    }

    /// A trigger that fires every `period`, at its whole multiples since the Unix epoch.
    ///
    /// # Errors
    /// A period below one millisecond, or one that is not whole milliseconds.
    pub fn every(period: Duration) -> Result<Trigger, TriggerError> {
        IntervalTrigger::new(period).map(Trigger::Interval)
    }

    /// The first instant strictly after `after`; None: never again.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Trigger::Cron(cron) => cron.next_after(after),
            Trigger::Interval(interval) => interval.next_after(after),
            Trigger::Manual => None,
        }
    }

    /// The latest instant after `after` and not after `until`: what to catch up with when
    /// firings were missed. As fast over a year as over a minute.
    pub fn latest_in(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Trigger::Cron(cron) => cron.latest_in(after, until),
            Trigger::Interval(interval) => interval.latest_in(after, until),
            Trigger::Manual => None,
        }
    }

    /// Why the trigger never fires although it was written to: for a warning, e.g.
    /// `30 February does not exist`. None for one that does fire, or is meant not to.
    pub fn never_fires(&self) -> Option<String> {
        match self {
            Trigger::Cron(cron) => cron.never_fires(),
            Trigger::Interval(_) | Trigger::Manual => None,
        }
    }

    /// The zone whose wall clock the trigger follows; None if it follows none.
    pub fn zone(&self) -> Option<Zone> {
        match self {
            Trigger::Cron(cron) => Some(cron.zone()),
            Trigger::Interval(_) | Trigger::Manual => None,
        }
    }
}

/// As it was written (`*/5 * * * *`), or in words (`every 5 s`); without the zone.
impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Cron(cron) => cron.fmt(f),
            Trigger::Interval(interval) => interval.fmt(f),
            Trigger::Manual => f.write_str("@manually"),
        }
    }
}

/// A trigger's text, its zone prefix taken off.
struct Source<'a> {
    zone: Zone,
    /// What is left: begins with something visible, or is empty.
    body: &'a str,
    /// Where `body` begins in the given text.
    offset: usize,
}

impl<'a> Source<'a> {
    fn read(text: &'a str, zone: Zone) -> Result<Source<'a>, TriggerError> {
        let mut source = Source {
            zone,
            body: text.trim_ascii_start(),
            offset: 0,
        };
        source.offset = text.len() - source.body.len();
        let prefix = ["CRON_TZ=", "TZ="]
            .into_iter()
            .find(|prefix| source.body.starts_with(prefix));
        if let Some(prefix) = prefix {
            let (assignment, rest) = source
                .body
                .split_once(|c: char| c.is_ascii_whitespace())
                .unwrap_or((source.body, ""));
            let name = assignment.strip_prefix(prefix).unwrap_or_default();
            let start = source.offset + prefix.len();
            source.zone = Zone::parse(name).map_err(|unknown| TriggerError {
                message: format!("no such time zone: \"{name}\""),
                label: "an IANA name such as Europe/Berlin stands here".to_owned(),
                hint: unknown.hint(),
                span: start..start + name.len(),
            })?;
            source.body = rest.trim_ascii_start();
            source.offset = text.len() - source.body.len();
        }
        Ok(source)
    }

    /// The text's bytes from its first to its last visible one.
    fn span(&self) -> Range<usize> {
        self.offset..self.offset + self.body.trim_ascii_end().len()
    }

    /// The first word and what follows it.
    fn split(&self) -> (&'a str, &'a str) {
        let end = self
            .body
            .find(|c: char| c.is_ascii_whitespace())
            .unwrap_or(self.body.len());
        self.body.split_at(end)
    }

    /// `every` or `manually` if that is what the text begins with.
    fn keyword(&self) -> Option<&'static str> {
        let word = self.split().0.strip_prefix('@')?;
        ["every", "manually"]
            .into_iter()
            .find(|keyword| word.eq_ignore_ascii_case(keyword))
    }

    /// That nothing follows the first word.
    fn alone(&self) -> Result<(), TriggerError> {
        let (word, rest) = self.split();
        if rest.trim_ascii().is_empty() {
            return Ok(());
        }
        let start = self.offset + self.body.len() - rest.trim_ascii_start().len();
        Err(TriggerError {
            message: format!("nothing may follow `{word}`"),
            label: "remove this".to_owned(),
            hint: None,
            span: start..self.span().end,
        })
    }

    fn interval(&self) -> Result<IntervalTrigger, TriggerError> {
        let (word, rest) = self.split();
        let duration = rest.trim_ascii();
        let start = self.offset + self.body.len() - rest.trim_ascii_start().len();
        let span = if duration.is_empty() {
            self.span()
        } else {
            start..start + duration.len()
        };
        if duration.is_empty() {
            return Err(TriggerError {
                message: format!("`{word}` says not how often"),
                label: "a duration is missing after this".to_owned(),
                hint: Some("write for example `@every 90s`".to_owned()),
                span,
            });
        }
        let period = units::parse_duration(duration).map_err(|error| TriggerError {
            message: error.message,
            label: error.label,
            hint: None,
            span: span.clone(),
        })?;
        IntervalTrigger::with_span(period, span)
    }

    fn cron(&self) -> Result<CronTrigger, TriggerError> {
        if !self.body.starts_with('@') {
            return CronTrigger::parse(self.body, self.body, self.offset, self.zone);
        }
        let (word, _) = self.split();
        let refuse = |message: String, hint: String| TriggerError {
            message,
            label: "a macro is @yearly, @monthly, @weekly, @daily, @hourly, @every or @manually"
                .to_owned(),
            hint: Some(hint),
            span: self.offset..self.offset + word.len(),
        };
        if let Some((_, expression)) = MACROS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word))
        {
            self.alone()?;
            return CronTrigger::parse(expression, word, self.offset, self.zone);
        }
        if word.eq_ignore_ascii_case("@reboot") {
            return Err(refuse(
                "`@reboot` is not a time".to_owned(),
                "to run once at each start of the host, write \"@manually\" and \
                 \"run_on_start\": true"
                    .to_owned(),
            ));
        }
        let lower = word.to_lowercase();
        let near = MACROS
            .iter()
            .map(|(name, _)| *name)
            .chain(["@every", "@manually"])
            .map(|name| (strsim::damerau_levenshtein(name, &lower), name))
            .min()
            .filter(|(distance, _)| *distance <= 3);
        Err(refuse(
            format!("no such macro: `{word}`"),
            match near {
                Some((_, name)) => format!("did you mean `{name}`?"),
                None => "write a cron expression of five fields, such as `0 4 * * *`".to_owned(),
            },
        ))
    }
}
