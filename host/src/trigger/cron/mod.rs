//! Cron triggers: an expression on the wall clock of a zone.
//!
//! The days come from `dates`, the times of the day are bit sets, and the way from the wall
//! clock to instants is here. It does what Debian's cron does when clocks change:
//!
//! - A **fixed-time** job fires when the wall clock first reaches its time. So when its time lies
//!   in a skipped hour, it fires once, at the first instant after the gap; and in a repeated hour
//!   it fires the first time only. A skip of more than three hours (a zone that changed sides of
//!   the date line) is not caught up with.
//! - A **wildcard** job, one whose minute or hour begins with `*`, follows real time: it fires at
//!   every instant at which the wall clock matches, in both passes of a repeated hour, and not at
//!   all for times that were skipped.
//!
//! Expressions with seconds or a year follow the same rules.

mod dates;
mod parse;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use self::dates::Dates;
use super::zone::{Reach, Transitions};
use super::{TriggerError, Zone};

/// A skip of the clock up to this long is a change of daylight saving; fixed-time jobs inside it
/// run after it. In seconds.
const LONGEST_CATCH_UP: i64 = 3 * 60 * 60;

const DAY: i64 = 86_400;

/// Fires when the wall clock of a zone matches an expression. Two are equal if their expressions
/// (but for white space) and their zones are.
#[derive(Debug, Clone)]
pub struct CronTrigger {
    /// As it was written, one space between the fields, without the zone.
    text: Box<str>,
    dates: Arc<Dates>,
    times: Times,
    zone: Zone,
    /// Follows real time through changes of the clock.
    wildcard: bool,
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
        zone: Zone,
    ) -> Result<CronTrigger, TriggerError> {
        let parsed = parse::parse(expression, offset)?;
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
            zone,
            wildcard: parsed.wildcard,
        })
    }

    /// The zone whose wall clock it follows.
    pub fn zone(&self) -> Zone {
        self.zone
    }

    /// The first instant strictly after `after`; None: never again.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let zone = self.zone.transitions();
        let after = after.timestamp();
        let next = if self.wildcard {
            self.next_wildcard(zone, after.checked_add(1)?)
        } else {
            self.next_fixed(zone, after)
        };
        DateTime::from_timestamp(next?, 0)
    }

    /// The latest instant after `after` and not after `until`.
    pub fn latest_in(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let zone = self.zone.transitions();
        let latest = if self.wildcard {
            self.latest_wildcard(zone, after.timestamp(), until.timestamp())
        } else {
            self.latest_fixed(zone, until.timestamp())
        };
        DateTime::from_timestamp(latest?, 0).filter(|instant| *instant > after)
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

    /// The first matching instant from `utc` on, following real time.
    fn next_wildcard(&self, zone: &Transitions, utc: i64) -> Option<i64> {
        let mut index = zone.index_at(utc);
        let mut segment = zone.segment(index);
        // No wall time in low..wall matches. None: nothing from `low` on does.
        let mut low = segment.wall(utc);
        let mut wall = self.next_wall(low);
        loop {
            let found = wall.map(|wall| segment.utc(wall));
            let Some(next) = zone.get(index + 1) else {
                return found;
            };
            if let Some(found) = found
                && found < next.start
            {
                return Some(found);
            }
            index += 1;
            segment = next;
            let begin = segment.start_wall();
            // Set back to before what was searched, or forward over what was found: search anew.
            if begin < low || wall.is_some_and(|wall| begin > wall) {
                low = begin;
                wall = self.next_wall(low);
            }
        }
    }

    /// The latest matching instant in after+1..=until, following real time.
    fn latest_wildcard(&self, zone: &Transitions, after: i64, until: i64) -> Option<i64> {
        let mut index = zone.index_at(until);
        let mut segment = zone.segment(index);
        // No wall time in wall+1..=high matches.
        let mut high = segment.wall(until);
        let mut wall = self.latest_wall(high);
        loop {
            if let Some(wall) = wall
                && wall >= segment.start_wall()
            {
                return Some(segment.utc(wall));
            }
            if segment.start <= after {
                return None;
            }
            index = index.checked_sub(1)?;
            let end = segment.start - 1;
            segment = zone.segment(index);
            let last = segment.wall(end);
            if last > high || wall.is_some_and(|wall| wall > last) {
                high = last;
                wall = self.latest_wall(high);
            }
        }
    }

    /// The latest wall time that the clock has shown up to `utc`: what fixed-time jobs go by.
    fn reached(zone: &Transitions, utc: i64) -> i64 {
        let segment = zone.segment(zone.index_at(utc));
        segment.wall(utc).max(segment.reach.saturating_sub(1))
    }

    fn next_fixed(&self, zone: &Transitions, after: i64) -> Option<i64> {
        let mut wall = self.next_wall(Self::reached(zone, after).checked_add(1)?)?;
        loop {
            match zone.first_reach(wall) {
                Reach::At { utc, .. } => return Some(utc),
                Reach::Gap {
                    start,
                    begin_wall,
                    end_wall,
                } => {
                    if end_wall - begin_wall <= LONGEST_CATCH_UP {
                        return Some(start);
                    }
                    wall = self.next_wall(end_wall)?;
                }
            }
        }
    }

    fn latest_fixed(&self, zone: &Transitions, until: i64) -> Option<i64> {
        let mut wall = self.latest_wall(Self::reached(zone, until))?;
        loop {
            match zone.first_reach(wall) {
                Reach::At { utc, .. } => return Some(utc),
                Reach::Gap {
                    start,
                    begin_wall,
                    end_wall,
                } => {
                    if end_wall - begin_wall <= LONGEST_CATCH_UP {
                        return Some(start);
                    }
                    wall = self.latest_wall(begin_wall - 1)?;
                }
            }
        }
    }

    /// The first matching wall time from `wall` on, in seconds.
    fn next_wall(&self, wall: i64) -> Option<i64> {
        let day = wall.div_euclid(DAY);
        if self.dates.matches(day)
            && let Some(time) = self.times.next(wall.rem_euclid(DAY))
        {
            return Some(day * DAY + time);
        }
        Some(self.dates.next_after(day)? * DAY + self.times.next(0)?)
    }

    /// The latest matching wall time up to and with `wall`, in seconds.
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
        self.zone == other.zone && self.text == other.text
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
