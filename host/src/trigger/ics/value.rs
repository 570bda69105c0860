//! The values of properties: dates, times and durations.

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono::{DateTime, NaiveDate};

use super::IcsError;
use super::line::{At, Line, shorten};
use super::zones::Zones;
use crate::trigger::exclusion::number;
use crate::trigger::{WallInstant, Zone};

pub(super) use crate::trigger::civil::DAY;

/// The longest name of a zone, in bytes.
const LONGEST_ZONE: usize = 200;

/// What a time is told by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Clock {
    /// None in particular: the time of the wall clock, wherever it hangs.
    Floating,
    Zone(Zone),
    /// A zone that only the file knows, by its name.
    Private(String),
}

/// A date, or a date and a time of a clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    /// In days since 1970-01-01.
    pub(super) day: i64,
    /// In seconds since midnight; None for a date.
    pub(super) time: Option<i64>,
    pub(super) clock: Clock,
}

impl Moment {
    /// Reads a value of a line; the line's TZID says what clock a local time is of.
    pub(super) fn parse(line: &Line, text: &str) -> Result<Moment, IcsError> {
        let text = text.trim();
        let refuse = || {
            line.at.refuse(format!(
                "`{}` is neither a date such as 20261225 nor a time such as 20261225T090000Z",
                shorten(text)
            ))
        };
        let (date, time) = match text.split_once(['T', 't']) {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let [year, month, day] = numbers(date, [4, 2, 2]).ok_or_else(refuse)?;
        let date = i32::try_from(year)
            .ok()
            .and_then(|year| NaiveDate::from_ymd_opt(year, month, day))
            .ok_or_else(|| {
                line.at
                    .refuse(format!("there is no day {year:04}-{month:02}-{day:02}"))
            })?;
        let day = number(date);
        let Some(time) = time else {
            return Ok(Moment {
                day,
                time: None,
                clock: Clock::Floating,
            });
        };
        let local = time.strip_suffix(['Z', 'z']);
        let [hour, minute, second] =
            numbers(local.unwrap_or(time), [2, 2, 2]).ok_or_else(refuse)?;
        if hour > 23 || minute > 59 || second > 60 {
            return Err(line.at.refuse(format!(
                "there is no time {hour:02}:{minute:02}:{second:02}"
            )));
        }
        let clock = match line.parameter("TZID") {
            _ if local.is_some() => Clock::Zone(Zone::UTC),
            None => Clock::Floating,
            Some(name) if name.len() > LONGEST_ZONE => {
                return Err(line.at.refuse("the TZID is too long to be a name"));
            }
            Some(name) => match zone(name) {
                Some(zone) => Clock::Zone(zone),
                None => Clock::Private(name.to_owned()),
            },
        };
        Ok(Moment {
            day,
            // A leap second is the last second of its minute.
            time: Some(i64::from(hour * 3600 + minute * 60 + second.min(59))),
            clock,
        })
    }

    /// What a clock shows at this moment, in seconds since 1970-01-01T00:00:00 of that clock. A
    /// date and a time without a zone are taken as they are.
    pub(super) fn wall_on(&self, clock: &Clock, zones: &Zones, at: &At) -> Result<i64, IcsError> {
        let wall = self.wall();
        if self.time.is_none() || self.clock == *clock {
            return Ok(wall);
        }
        let utc = match &self.clock {
            Clock::Floating => return Ok(wall),
            Clock::Zone(zone) => {
                let Some(shown) = DateTime::from_timestamp(wall, 0) else {
                    return Ok(wall);
                };
                let instant = match zone.from_wall(shown.naive_utc()) {
                    WallInstant::One(instant) => instant,
                    WallInstant::Gap { end, .. } => end,
                    WallInstant::Fold { first, .. } => first,
                };
                instant.timestamp()
            }
            Clock::Private(name) => zones.to_utc(name, wall, at)?,
        };
        match clock {
            Clock::Floating => Ok(wall),
            Clock::Zone(zone) => Ok(DateTime::from_timestamp(utc, 0).map_or(wall, |instant| {
                zone.to_wall(instant).0.and_utc().timestamp()
            })),
            Clock::Private(name) => zones.to_wall(name, utc, at),
        }
    }

    /// What its own clock shows, in seconds since 1970-01-01T00:00:00 of that clock.
    pub(super) fn wall(&self) -> i64 {
        self.day * DAY + self.time.unwrap_or(0)
    }
}

/// Reads a duration such as `P1D`, `P2W` or `PT12H30M`, in seconds.
pub(super) fn duration(line: &Line, text: &str) -> Result<i64, IcsError> {
    let refuse = || {
        line.at.refuse(format!(
            "`{}` is not a duration such as P1D or PT12H",
            shorten(text)
        ))
    };
    let body = text.trim().to_ascii_uppercase();
    if body.starts_with('-') {
        return Err(line.at.refuse("the duration is negative"));
    }
    let body = body.trim_start_matches('+');
    let mut rest = body.strip_prefix('P').ok_or_else(refuse)?;
    let (mut total, mut of_day) = (0_i64, false);
    if rest.is_empty() || rest.ends_with('T') {
        return Err(refuse());
    }
    while !rest.is_empty() {
        if !of_day && let Some(time) = rest.strip_prefix('T') {
            (rest, of_day) = (time, true);
            continue;
        }
        let unit = rest
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(refuse)?;
        let (count, tail) = rest.split_at(unit);
        let count: u32 = count.parse().map_err(|_| refuse())?;
        let mut letters = tail.chars();
        let seconds = match (letters.next(), of_day) {
            (Some('W'), false) => 7 * DAY,
            (Some('D'), false) => DAY,
            (Some('H'), true) => 3600,
            (Some('M'), true) => 60,
            (Some('S'), true) => 1,
            _ => return Err(refuse()),
        };
        total = total.saturating_add(i64::from(count) * seconds);
        rest = letters.as_str();
    }
    Ok(total)
}

/// A zone by what a file calls it: an IANA name, or a path that ends with one, as some programs
/// write it.
fn zone(name: &str) -> Option<Zone> {
    // A file asks a million times if it likes.
    static BY_NAME: LazyLock<HashMap<String, Zone>> = LazyLock::new(|| {
        Zone::all()
            .map(|zone| (zone.name().to_ascii_lowercase(), zone))
            .collect()
    });
    let name = name.trim().to_ascii_lowercase();
    let mut rest = Some(name.as_str());
    while let Some(name) = rest {
        if let Some(zone) = BY_NAME.get(name) {
            return Some(*zone);
        }
        rest = name.split_once('/').map(|(_, rest)| rest);
    }
    None
}

/// Reads an offset from UTC such as `+0100`, in seconds.
pub(super) fn offset(line: &Line) -> Result<i64, IcsError> {
    let read = || {
        let (sign, digits) = match line.value.split_at_checked(1)? {
            ("+", digits) => (1, digits),
            ("-", digits) => (-1, digits),
            _ => return None,
        };
        let [hours, minutes, seconds] =
            numbers(digits, [2, 2, 2]).or_else(|| numbers(digits, [2, 2, 0]))?;
        let small = hours < 24 && minutes < 60 && seconds < 60;
        small.then(|| sign * i64::from(hours * 3600 + minutes * 60 + seconds))
    };
    read().ok_or_else(|| {
        line.at.refuse(format!(
            "`{}` is not an offset such as +0100",
            shorten(&line.value)
        ))
    })
}

/// Reads three numbers, each of so many digits; one of none is 0.
fn numbers(text: &str, lengths: [usize; 3]) -> Option<[u32; 3]> {
    let [first, second, third] = lengths;
    if text.len() != first + second + third || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| match text.get(range)? {
        "" => Some(0),
        digits => digits.parse().ok(),
    };
    Some([
        number(0..first)?,
        number(first..first + second)?,
        number(first + second..text.len())?,
    ])
}
