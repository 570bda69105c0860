//! When a job runs: a pure function from an instant to the next.
//!
//! ```text
//!   text ──parse──► Trigger ──next_after(instant)──► instant
//!                     │
//!    ┌────────────┬───┴──────┬────────┬──────────────┬───────────────┐
//!  cron/      calendar/      at    interval    combined (any, all)  bounded (start, end,
//!    │ parse      │          │                                      max_runs, not_on, jitter)
//!    │ dates      │          │
//!    └────────────┴──► wall ─┴─► zone: wall clock ◄─► instant, gaps and folds
//! ```
//!
//! Nothing here reads a clock or keeps state: `next_after` of an instant is the same however one
//! came there, its answers strictly increase, and two equal triggers fire at the same instants.
//! Triggers that go by a wall clock answer for the years 1970 to 2100.
//!
//! Some triggers have no instants of their own: [`Trigger::Manual`] waits for a person,
//! [`Trigger::Reboot`] for the start of the host and [`Trigger::After`] for another job.

mod at;
mod bounded;
mod calendar;
mod changes;
mod civil;
mod combined;
mod cron;
mod describe;
mod exclusion;
mod fingerprint;
mod ics;
mod instants;
mod interval;
mod left_out;
mod older;
mod spread;
mod text;
mod wall;
mod zone;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

pub use at::{AtTrigger, LocalTime, Moment};
pub use bounded::{Bounded, Bounds};
pub use calendar::CalendarTrigger;
pub(crate) use calendar::{CalendarError, Part as CalendarPart};
pub use changes::{ChangeKind, ClockChange, Effect};
pub use combined::Combined;
pub use cron::CronTrigger;
pub use exclusion::{Days, Inner, Instead, NotOn};
pub use ics::{IcsError, MAX_ICS_BYTES, parse_ics};
pub use instants::Instants;
pub use interval::IntervalTrigger;
pub use left_out::LeftOut;
pub use older::{Disagreement, OlderRules};
pub use wall::Dst;
pub use zone::{TzDatabase, TzOrigin, UnknownZone, WallInstant, Zone, tz_database};

use text::Source;

/// When a job runs. Two definitions with an equal trigger keep their schedule on a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// When the wall clock of a zone matches an expression.
    Cron(CronTrigger),
    /// Every so often, in real time.
    Interval(IntervalTrigger),
    /// At times of every so many days, weeks, months or years.
    Calendar(CalendarTrigger),
    /// Once.
    At(AtTrigger),
    /// Whenever one of several triggers fires.
    Any(Combined),
    /// At the instants at which all of several triggers fire.
    All(Combined),
    /// Another trigger, within bounds.
    Bounded(Box<Bounded>),
    /// When a run of another job has ended.
    After(After),
    /// When the host starts.
    Reboot,
    /// Never by itself: only when someone asks.
    Manual,
}

/// The end of another job's run, as a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// The id of the other job.
    pub job: Arc<str>,
    /// How its run must have ended.
    pub on: Ending,
}

/// How a run must have ended for what comes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// It succeeded.
    #[default]
    Success,
    /// It ended in any other way.
    Failure,
    /// It ended.
    Always,
}

/// What the text of a trigger is read with.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The zone of a cron expression that names no other.
    pub zone: Zone,
    /// What becomes of a run whose time a change of the clock skips.
    pub dst: Dst,
    /// The id of the job, by which `H` is spread. Without one `H` is refused.
    pub job: Option<&'a str>,
}

impl From<Zone> for Reading<'_> {
    /// In a zone, with the rules of crontab and without `H`.
    fn from(zone: Zone) -> Self {
        Reading {
            zone,
            dst: Dst::default(),
            job: None,
        }
    }
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

impl Trigger {
    /// Reads a trigger as people write it: a cron expression, a macro such as `@daily`,
    /// `@every 90s`, `@reboot`, or `@manually`. A zone in front of it (`CRON_TZ=` or `TZ=`) wins
    /// over that of `reading`, which may be just a zone.
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
    pub fn parse<'a>(
        text: &'a str,
        reading: impl Into<Reading<'a>>,
    ) -> Result<Trigger, TriggerError> {
        let source = Source::read(text, reading.into())?;
        source.no_zone_in_vain()?;
        match source.keyword() {
            Some("every") => source.interval().map(Trigger::Interval),
            Some("manually") => source.alone().map(|()| Trigger::Manual),
            Some("reboot") => source.alone().map(|()| Trigger::Reboot),
            _ => source.cron().map(Trigger::Cron),
        }
    }

    /// Reads a cron expression or a macro such as `@daily`, as [`Trigger::parse`] does.
    ///
    /// # Errors
    /// What is wrong with the text, where, and what may stand there.
    pub fn cron<'a>(
        expression: &'a str,
        reading: impl Into<Reading<'a>>,
    ) -> Result<Trigger, TriggerError> {
        let source = Source::read(expression, reading.into())?;
        let instead = match source.keyword() {
            Some("every") => "\"@every …\" is a trigger of its own, or {\"interval\": \"5s\"}",
            Some("manually") => "\"@manually\" is a trigger of its own",
            Some("reboot") => "\"@reboot\" is a trigger of its own",
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
            Trigger::Calendar(calendar) => calendar.next_after(after),
            Trigger::At(at) => at.next_after(after),
            Trigger::Any(any) => any.next_of_any(after),
            Trigger::All(all) => all.next_of_all(after),
            Trigger::Bounded(bounded) => bounded.next_after(after),
            Trigger::After(_) | Trigger::Reboot | Trigger::Manual => None,
        }
    }

    /// The latest instant after `after` and not after `until`: what to catch up with when
    /// firings were missed. As fast over a year as over a minute.
    pub fn latest_in(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Trigger::Cron(cron) => cron.latest_in(after, until),
            Trigger::Interval(interval) => interval.latest_in(after, until),
            Trigger::Calendar(calendar) => calendar.latest_in(after, until),
            Trigger::At(at) => at.latest_in(after, until),
            Trigger::Any(any) => any.latest_of_any(after, until),
            Trigger::All(all) => all.latest_of_all(after, until),
            Trigger::Bounded(bounded) => bounded.latest_in(after, until),
            Trigger::After(_) | Trigger::Reboot | Trigger::Manual => None,
        }
    }

    /// When the run for an instant of the trigger is due: at the instant, or as much later as
    /// its jitter says. Never as late as the next instant.
    pub fn due(&self, scheduled: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Trigger::Bounded(bounded) => bounded.due(scheduled),
            _ => scheduled,
        }
    }

    /// The most that [`due`](Self::due) may be late.
    pub fn jitter(&self) -> Duration {
        match self {
            Trigger::Bounded(bounded) => bounded.bounds().jitter.unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }

    /// The instant that is past at `now`, or just then, and whose run is not due yet; at most
    /// one is, for each is due before the next one comes.
    pub fn pending(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let jitter = TimeDelta::from_std(self.jitter()).ok()?;
        if jitter.is_zero() {
            return None;
        }
        let from = now.checked_sub_signed(jitter)?;
        let past = self.latest_in(from, now)?;
        (self.due(past) > now).then_some(past)
    }

    /// The instants whose runs are due after `after`, in order.
    pub fn due_after(&self, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let first = self.pending(after).or_else(|| self.next_after(after));
        std::iter::successors(first, |last| self.next_after(*last))
    }

    /// The trigger with its number of runs counted from `now`, where it does not say from when
    /// they count itself. None if there is nothing to count: the trigger is then good as it is.
    pub fn counted_from(&self, now: DateTime<Utc>) -> Option<Trigger> {
        match self {
            Trigger::Any(any) => any.counted_from(now).map(Trigger::Any),
            Trigger::All(all) => all.counted_from(now).map(Trigger::All),
            Trigger::Bounded(bounded) => {
                let counted = bounded.counted_from(now)?;
                Some(Trigger::Bounded(Box::new(counted)))
            }
            _ => None,
        }
    }

    /// Whether another trigger is the same but for the days that its calendars exclude.
    pub fn is_same_but_for_days(&self, other: &Trigger) -> bool {
        match (self, other) {
            (Trigger::Any(a), Trigger::Any(b)) | (Trigger::All(a), Trigger::All(b)) => {
                a.parts().len() == b.parts().len()
                    && std::iter::zip(a.parts(), b.parts()).all(|(a, b)| a.is_same_but_for_days(b))
            }
            (Trigger::Bounded(a), Trigger::Bounded(b)) => a.is_same_but_for_days(b),
            _ => self == other,
        }
    }

    /// Why the trigger never fires although it was written to: for a warning, e.g.
    /// `30 February does not exist`. None for one that does fire, or is meant not to.
    pub fn never_fires(&self) -> Option<String> {
        match self {
            Trigger::Cron(cron) => cron.never_fires(),
            Trigger::Calendar(calendar) => calendar.never_fires(),
            Trigger::Any(any) => any.never_any(),
            Trigger::All(all) => all.never_all(),
            Trigger::Bounded(bounded) => bounded.never_fires(),
            Trigger::Interval(_)
            | Trigger::At(_)
            | Trigger::After(_)
            | Trigger::Reboot
            | Trigger::Manual => None,
        }
    }

    /// Whether the trigger has instants: it goes by time, be it among other things.
    pub fn has_instants(&self) -> bool {
        match self {
            Trigger::After(_) | Trigger::Reboot | Trigger::Manual => false,
            Trigger::Any(any) => any.parts().iter().any(Trigger::has_instants),
            _ => true,
        }
    }

    /// Whether it fires when the host starts.
    pub fn fires_at_start(&self) -> bool {
        match self {
            Trigger::Reboot => true,
            Trigger::Any(any) => any.parts().iter().any(Trigger::fires_at_start),
            _ => false,
        }
    }

    /// The jobs whose end it waits for.
    pub fn upstreams(&self) -> Vec<&After> {
        match self {
            Trigger::After(after) => vec![after],
            Trigger::Any(any) => any.parts().iter().flat_map(Trigger::upstreams).collect(),
            _ => Vec::new(),
        }
    }

    /// The zone whose wall clock the trigger follows; None if it follows none, or several.
    pub fn zone(&self) -> Option<Zone> {
        match self {
            Trigger::Cron(cron) => Some(cron.zone()),
            Trigger::Calendar(calendar) => Some(calendar.zone()),
            Trigger::At(at) => at.zone(),
            Trigger::Any(parts) | Trigger::All(parts) => parts.zone(),
            Trigger::Bounded(bounded) => bounded.zone(),
            Trigger::Interval(_) | Trigger::After(_) | Trigger::Reboot | Trigger::Manual => None,
        }
    }
}

/// As it was written (`*/5 * * * *`), or in words (`every 5 s`); without the zone.
impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Cron(cron) => cron.fmt(f),
            Trigger::Interval(interval) => interval.fmt(f),
            Trigger::Calendar(calendar) => calendar.fmt(f),
            Trigger::At(at) => at.fmt(f),
            Trigger::Any(any) => any.write(" or ", f),
            Trigger::All(all) => all.write(" and ", f),
            Trigger::Bounded(bounded) => bounded.fmt(f),
            Trigger::After(after) => after.fmt(f),
            Trigger::Reboot => f.write_str("@reboot"),
            Trigger::Manual => f.write_str("@manually"),
        }
    }
}

impl Ending {
    /// Whether a run that did or did not succeed is meant.
    pub fn includes(self, succeeded: bool) -> bool {
        match self {
            Ending::Success => succeeded,
            Ending::Failure => !succeeded,
            Ending::Always => true,
        }
    }
}

/// `after report`, `after report fails`, `after report ends`.
impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.on {
            Ending::Success => "",
            Ending::Failure => " fails",
            Ending::Always => " ends",
        };
        write!(f, "after {}{verb}", self.job)
    }
}

#[cfg(test)]
mod properties;
