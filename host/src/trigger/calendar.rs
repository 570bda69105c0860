//! Calendar schedules: what cron cannot say, such as every second Monday or the last workday of a
//! quarter.
//!
//! A schedule counts periods (`every`), chooses days in each that counts (`on`) and times of those
//! days (`at`). It is a matter of the wall clock alone: which instants its times are, and what
//! becomes of those that a change of the clock skips or repeats, is decided in `wall`.
//!
//! - Periods are counted from the one that holds the first day, the trigger's `start`: nothing
//!   before that day matches. Without a start they are counted from the one that holds 1970-01-01:
//!   that day, the week from Monday 1969-12-29, January 1970, the year 1970.
//! - Weeks are ISO weeks: they begin on Monday.
//! - A period without the day that is asked for (31 April, a fifth Monday) has none: it is
//!   skipped, as in cron. `last` is the last day of every month.
//! - Without `on`, the day is that of the start: its weekday, its day of the month, its date.
//!   Without a start, it is the first of the period.
//!
//! ```text
//!   every, on, at ──parse──► Pattern + times ──► Schedule ──words──► text
//!                               │
//!                             dates: which days match
//! ```
//!
//! Schedules answer for the years 1970 to 2100.

mod dates;
mod parse;
mod words;

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};

use self::dates::Days;
use super::civil::DAY;
use super::wall::{self, Dst, Pace, WallTimes};
use super::{TriggerError, Zone};

/// Fires when the wall clock of a zone shows a time of a calendar schedule, as fixed-time cron
/// jobs do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarTrigger {
    schedule: Box<Schedule>,
    zone: Zone,
    dst: Dst,
}

/// Given times of given days of every so many days, weeks, months or years.
///
/// Two are equal if they count the same periods from the same first match on, and name the same
/// days and times, however they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Schedule {
    days: Days,
    times: Times,
}

/// Times of the day in seconds since midnight, in order, each once; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Times(Box<[i64]>);

/// Which of the texts of a calendar schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// How often.
    Every,
    /// The day of this index.
    On(usize),
    /// The time of this index; index 0 with an empty span where there is none at all.
    At(usize),
}

/// Why texts are no calendar schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub(crate) struct CalendarError {
    /// The text that is wrong.
    pub(crate) part: Part,
    /// What is wrong with it, and where in it.
    pub(crate) error: TriggerError,
}

impl CalendarTrigger {
    /// Reads a schedule for a zone: see the fields of a calendar trigger in the manual.
    ///
    /// - `every`: `day`, `2 weeks`, `3 months`, `year`.
    /// - `on`: days of the period, each text one or several between commas.
    /// - `at`: times of the day, `09:00` or `9:30:15`, each text one or several between commas.
    /// - `start`: the first day that may match, from whose period on periods are counted.
    ///
    /// # Errors
    /// Which text is wrong, where, and what may stand there.
    pub(crate) fn new(
        every: &str,
        on: &[&str],
        at: &[&str],
        start: Option<NaiveDate>,
        zone: Zone,
        dst: Dst,
    ) -> Result<Self, CalendarError> {
        Ok(CalendarTrigger {
            schedule: Box::new(Schedule::new(every, on, at, start)?),
            zone,
            dst,
        })
    }

    /// The zone whose wall clock it follows.
    pub fn zone(&self) -> Zone {
        self.zone
    }

    /// Its times, as they are on the wall.
    pub(super) fn times(&self) -> &impl WallTimes {
        &*self.schedule
    }

    /// How it keeps step with the clock.
    pub(super) fn pace(&self) -> Pace {
        Pace::Clock(self.dst)
    }

    /// The first instant strictly after `after`; None: never again.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        wall::next_after(self.times(), self.zone, self.pace(), after)
    }

    /// The latest instant after `after` and not after `until`.
    pub fn latest_in(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        wall::latest_in(self.times(), self.zone, self.pace(), after, until)
    }

    /// Why the trigger never fires, if it does not, e.g. `30 February does not exist`.
    pub fn never_fires(&self) -> Option<String> {
        self.schedule.never_fires()
    }

    /// The schedule as a sentence without its full stop, e.g. `At 09:00 on the last Friday of
    /// every third month`.
    pub fn describe(&self) -> String {
        self.schedule.describe()
    }
}

/// In the words that it is read from: `every 2 weeks on mon, thu at 09:00`.
impl fmt::Display for CalendarTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.schedule.fmt(f)
    }
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// - `every`: `day`, `2 weeks`, `3 months`, `year`; or `daily`, `weekly`, `monthly`, `yearly`.
    ///   At most 1000 days, weeks or months, or 131 years.
    /// - `on`: days of the period, each text one or several between commas. None: see the
    ///   module's first lines. Of a week: `mon`, `Monday`, `mon-fri`. Of a month: `15`, `last`,
    ///   `3 before last`, `second tue`, `last fri`, `first workday` (Monday to Friday),
    ///   `10th workday`. Of a year: `12-24`, `24 dec`, `last fri of november`. Of days: none.
    /// - `at`: times, `09:00` or `9:30:15`, each text one or several between commas.
    /// - `anchor`: the first day that may match, from whose period on periods are counted.
    ///
    /// # Errors
    /// Which text is wrong, where, and what may stand there. A day that never comes (30 February)
    /// is no error: see [`Schedule::never_fires`].
    fn new(
        every: &str,
        on: &[&str],
        at: &[&str],
        anchor: Option<NaiveDate>,
    ) -> Result<Self, CalendarError> {
        let period = parse::every(every).map_err(|error| CalendarError {
            part: Part::Every,
            error,
        })?;
        let pattern = parse::on(period.unit, on, anchor).map_err(|(index, error)| {
            let part = Part::On(index);
            CalendarError { part, error }
        })?;
        let times = parse::at(at).map_err(|(index, error)| {
            let part = Part::At(index);
            CalendarError { part, error }
        })?;
        Ok(Schedule {
            days: Days::new(pattern, period.count, anchor),
            times: Times(times.into_boxed_slice()),
        })
    }

    /// Why the schedule never fires, if it does not, e.g. `30 February does not exist`.
    fn never_fires(&self) -> Option<String> {
        self.days.never()
    }

    /// The schedule as a sentence without its full stop, e.g. `At 09:00 on the last Friday of
    /// every third month`.
    fn describe(&self) -> String {
        words::sentence(&self.days, &self.times)
    }
}

/// In the words that it is read from: `every 2 weeks on mon, thu at 09:00`.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&words::canonical(&self.days, &self.times))
    }
}

impl WallTimes for Schedule {
    fn next_wall(&self, wall: i64) -> Option<i64> {
        let (day, time) = (wall.div_euclid(DAY), wall.rem_euclid(DAY));
        let mut found = self.days.next(day)?;
        if found == day {
            if let Some(time) = self.times.next(time) {
                return Some(day * DAY + time);
            }
            found = self.days.next(day + 1)?;
        }
        Some(found * DAY + self.times.next(0)?)
    }

    fn latest_wall(&self, wall: i64) -> Option<i64> {
        let (day, time) = (wall.div_euclid(DAY), wall.rem_euclid(DAY));
        let mut found = self.days.latest(day)?;
        if found == day {
            if let Some(time) = self.times.latest(time) {
                return Some(day * DAY + time);
            }
            found = self.days.latest(day - 1)?;
        }
        Some(found * DAY + self.times.latest(DAY - 1)?)
    }
}

impl Times {
    /// The first from `time` on.
    fn next(&self, time: i64) -> Option<i64> {
        let index = self.0.partition_point(|other| *other < time);
        self.0.get(index).copied()
    }

    /// The latest up to and with `time`.
    fn latest(&self, time: i64) -> Option<i64> {
        let index = self.0.partition_point(|other| *other <= time);
        self.0.get(index.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
