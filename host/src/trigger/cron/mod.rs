//! Cron triggers: an expression on the wall clock of a zone.
//!
//! The days come from `dates`, the times of the day are bit sets, and the way from the wall
//! clock to instants is that of `wall`. As with Debian's cron, a **fixed-time** job goes by the
//! clock (a skipped time runs after the gap, a repeated one the first time only), and a
//! **wildcard** job, one whose minute or hour begins with `*`, goes by elapsed time. Expressions
//! with seconds or a year follow the same rules.

mod dates;
mod parse;
mod words;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use self::dates::Dates;
use super::civil::DAY;
use super::instants::WallInstants;
use super::wall::{self, Pace, WallTimes};
use super::{Reading, TriggerError, Zone};

/// Fires when the wall clock of a zone matches an expression. Two are equal if their expressions
/// (but for white space), their zones, and what they do at changes of the clock are.
#[derive(Debug, Clone)]
pub struct CronTrigger {
    /// As it was written, one space between the fields, without the zone.
    text: Box<str>,
    dates: Arc<Dates>,
    times: Times,
    zone: Zone,
    pace: Pace,
}

/// The times of a day that match: a bit for each second, minute and hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    seconds: u64,
    minutes: u64,
    hours: u32,
}

impl CronTrigger {
    /// Reads an expression. `shown` is what to display for it, and `offset` where it begins in
    /// the text that errors point into.
    pub(super) fn parse(
        expression: &str,
        shown: &str,
        offset: usize,
        reading: Reading<'_>,
    ) -> Result<CronTrigger, TriggerError> {
        let parsed = parse::parse(expression, offset, reading.job)?;
        let mut text = String::with_capacity(shown.len());
        for word in shown.split_ascii_whitespace() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        Ok(CronTrigger {
            text: text.into_boxed_str(),
            dates: Dates::shared(parsed.rule),
            times: parsed.times,
            zone: reading.zone,
            pace: if parsed.wildcard {
                Pace::Elapsed
            } else {
                Pace::Clock(reading.dst)
            },
        })
    }

    /// The zone whose wall clock it follows.
    pub fn zone(&self) -> Zone {
        self.zone
    }

    /// Whether its times are due when the clock first reaches them, and not whenever the clock
    /// shows them: no `*` begins its minute or hour.
    pub fn is_fixed_time(&self) -> bool {
        self.pace != Pace::Elapsed
    }

    /// How it keeps step with the clock.
    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// The first instant strictly after `after`; None: never again.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        wall::next_after(self, self.zone, self.pace, after)
    }

    /// The latest instant after `after` and not after `until`.
    pub fn latest_in(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        wall::latest_in(self, self.zone, self.pace, after, until)
    }

    /// The instants from `from` until `until` (exclusive), in seconds since the epoch.
    pub(super) fn wall_instants(
        &self,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> WallInstants<'_, CronTrigger> {
        WallInstants::new(self, self.zone, self.pace, from, until)
    }

    /// Why the trigger never fires, if it does not.
    pub fn never_fires(&self) -> Option<String> {
        if self
            .next_after(DateTime::UNIX_EPOCH - chrono::TimeDelta::days(2))
            .is_some()
        {
            return None;
        }
        Some(self.dates.never().unwrap_or_else(|| {
            format!(
                "in {} the clock always skips the times it asks for",
                self.zone
            )
        }))
    }
}

impl WallTimes for CronTrigger {
    fn next_wall(&self, wall: i64) -> Option<i64> {
        let day = wall.div_euclid(DAY);
        if self.dates.matches(day)
            && let Some(time) = self.times.next(wall.rem_euclid(DAY))
        {
            return Some(day * DAY + time);
        }
        Some(self.dates.next_after(day)? * DAY + self.times.next(0)?)
    }

    fn following_wall(&self, wall: i64) -> Option<i64> {
        // The day matches, as the time does: no need to look at it again.
        let day = wall.div_euclid(DAY);
        if let Some(time) = self.times.following(wall.rem_euclid(DAY)) {
            return Some(day * DAY + time);
        }
        Some(self.dates.next_after(day)? * DAY + self.times.next(0)?)
    }

    fn latest_wall(&self, wall: i64) -> Option<i64> {
        let day = wall.div_euclid(DAY);
        if self.dates.matches(day)
            && let Some(time) = self.times.latest(wall.rem_euclid(DAY))
        {
            return Some(day * DAY + time);
        }
        Some(self.dates.latest_before(day)? * DAY + self.times.latest(DAY - 1)?)
    }
}

impl PartialEq for CronTrigger {
    fn eq(&self, other: &Self) -> bool {
        // The same text means different times in two jobs where `H` spreads them.
        self.zone == other.zone
            && self.pace == other.pace
            && self.text == other.text
            && self.times == other.times
            && Arc::ptr_eq(&self.dates, &other.dates) // equal rules share theirs
    }
}

impl Eq for CronTrigger {}

impl fmt::Display for CronTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl Times {
    /// The first matching second of the day from `time` on.
    fn next(&self, time: i64) -> Option<i64> {
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1
                && let Some(second) = lowest(self.seconds, second)
            {
                return Some(hour * 3600 + minute * 60 + second);
            }
            if let Some(minute) = lowest(self.minutes, minute + 1) {
                return Some(hour * 3600 + minute * 60 + lowest(self.seconds, 0)?);
            }
        }
        let hour = lowest(u64::from(self.hours), hour + 1)?;
        Some(hour * 3600 + lowest(self.minutes, 0)? * 60 + lowest(self.seconds, 0)?)
    }

    /// The first matching second of the day after `time`, which is one itself.
    fn following(&self, time: i64) -> Option<i64> {
        if time < DAY - 1 {
            self.next(time + 1)
        } else {
            None
        }
    }

    /// The latest matching second of the day up to and with `time`.
    fn latest(&self, time: i64) -> Option<i64> {
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1
                && let Some(second) = highest(self.seconds, second)
            {
                return Some(hour * 3600 + minute * 60 + second);
            }
            if let Some(minute) = highest(self.minutes, minute - 1) {
                return Some(hour * 3600 + minute * 60 + highest(self.seconds, 59)?);
            }
        }
        let hour = highest(u64::from(self.hours), hour - 1)?;
        Some(hour * 3600 + highest(self.minutes, 59)? * 60 + highest(self.seconds, 59)?)
    }
}

/// The lowest set bit from `from` (0 to 63) on.
fn lowest(bits: u64, from: i64) -> Option<i64> {
    let rest = bits >> from;
    (rest != 0).then(|| from + i64::from(rest.trailing_zeros()))
}

/// The highest set bit up to and with `to` (-1 to 62).
fn highest(bits: u64, to: i64) -> Option<i64> {
    let rest = bits & ((1 << (to + 1)) - 1);
    (rest != 0).then(|| 63 - i64::from(rest.leading_zeros()))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
