//! A single instant: as such, or as a time on the wall clock of a zone.

use std::fmt;

use chrono::{
    DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike as _, Utc,
};

use super::{TriggerError, WallInstant, Zone};

/// Fires once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtTrigger {
    instant: DateTime<Utc>,
    /// The time and the zone that it was written in; None for an instant with an offset of its
    /// own.
    written: Option<(NaiveDateTime, Zone)>,
}

/// What an instant was read from: how exact it is, and what the zone made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The instant. Of a day, its first one.
    pub instant: DateTime<Utc>,
    /// How it was written, if it was written in the time of a zone.
    pub local: Option<LocalTime>,
}

/// A moment that was written in the time of a wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// The zone.
    pub zone: Zone,
    /// The time; of a day, its midnight.
    pub wall: NaiveDateTime,
    /// Without a time of the day: the whole day is meant.
    pub is_day: bool,
    /// The time does not exist or comes twice.
    pub change: Option<WallInstant>,
}

impl Moment {
    /// Reads `2026-12-24T18:00:00Z`, with any offset; or, in the time of `zone`,
    /// `2026-12-24T18:00`, `2026-12-24 18:00:30`, or a day, `2026-12-24`. A time that a change of
    /// the clock skips is the first instant after it, and one that comes twice is the first.
    ///
    /// # Errors
    /// It is none of these, or outside of the years 1970 to 2100.
    pub fn parse(text: &str, zone: Zone) -> Result<Moment, TriggerError> {
        let trimmed = text.trim();
        let start = text.len() - text.trim_start().len();
        let refuse = |message: String, label: &str| TriggerError {
            message,
            label: label.to_owned(),
            hint: None,
            span: start..start + trimmed.len(),
        };
        let moment = if let Ok(instant) = DateTime::parse_from_rfc3339(trimmed) {
            Moment {
                instant: instant.to_utc(),
                local: None,
            }
        } else if let Some((wall, is_day)) = local(trimmed) {
            let found = zone.from_wall(wall);
            let instant = match found {
                WallInstant::One(one) => one,
                WallInstant::Gap { end, .. } => end,
                WallInstant::Fold { first, .. } => first,
            };
            Moment {
                instant,
                local: Some(LocalTime {
                    zone,
                    wall,
                    is_day,
                    change: (!is_day && !matches!(found, WallInstant::One(_))).then_some(found),
                }),
            }
        } else {
            return Err(refuse(
                format!("`{trimmed}` is not an instant"),
                "write 2026-12-24T18:00:00Z, or 2026-12-24T18:00 for the time of the zone",
            ));
        };
        let year = zone.to_wall(moment.instant).0.date();
        if !(1970..=2100).contains(&year.year()) {
            return Err(refuse(
                format!("`{trimmed}` is out of range"),
                "the years are 1970 to 2100",
            ));
        }
        Ok(moment)
    }

    /// The last instant that it stands for: of a day, the last one of the day.
    pub fn last_instant(&self) -> DateTime<Utc> {
        let Some(local) = self.local.filter(|local| local.is_day) else {
            return self.instant;
        };
        let date = local.wall.date();
        let midnight = date.succ_opt().unwrap_or(date).and_time(NaiveTime::MIN);
        let end = match local.zone.from_wall(midnight) {
            WallInstant::One(one) => one,
            WallInstant::Gap { end, .. } => end,
            WallInstant::Fold { first, .. } => first,
        };
        end - TimeDelta::nanoseconds(1)
    }
}

/// A time of the wall clock, and whether it is a whole day.
fn local(text: &str) -> Option<(NaiveDateTime, bool)> {
    for format in [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
    ] {
        if let Ok(wall) = NaiveDateTime::parse_from_str(text, format) {
            return Some((wall, false));
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some((date.and_time(NaiveTime::MIN), true))
}

impl AtTrigger {
    /// Fires at a moment.
    pub fn new(moment: Moment) -> Self {
        AtTrigger {
            instant: moment.instant,
            written: moment.local.map(|local| (local.wall, local.zone)),
        }
    }

    /// When it fires.
    pub fn instant(&self) -> DateTime<Utc> {
        self.instant
    }

    /// The zone that its time was written in, if it was.
    pub fn zone(&self) -> Option<Zone> {
        self.written.map(|(_, zone)| zone)
    }

    /// Its time as it was written, if it was in the time of a zone. The clock may never show it.
    pub(super) fn written(&self) -> Option<(NaiveDateTime, Zone)> {
        self.written
    }

    /// The instant, if it is after `after`.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        (self.instant > after).then_some(self.instant)
    }

    /// The instant, if it is after `after` and not after `until`.
    pub fn latest_in(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        (self.instant > after && self.instant <= until).then_some(self.instant)
    }
}

/// `at 2026-12-24 18:00`, in the time of its zone or, with a Z, in UTC.
impl fmt::Display for AtTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.written {
            Some((wall, _)) => write!(f, "at {}", shortest(wall)),
            None => write!(f, "at {}", show(self.instant, None)),
        }
    }
}

/// An instant in the time of a zone, as short as it can be; with a Z without one.
pub(super) fn show(instant: DateTime<Utc>, zone: Option<Zone>) -> String {
    let (wall, suffix) = match zone {
        Some(zone) => (zone.to_wall(instant).0, ""),
        None => (instant.naive_utc(), "Z"),
    };
    format!("{}{suffix}", shortest(wall))
}

/// A time without the seconds that are none.
fn shortest(wall: NaiveDateTime) -> impl fmt::Display {
    wall.format(match wall.time() {
        time if time.nanosecond() != 0 => "%Y-%m-%d %H:%M:%S%.f",
        time if time.second() != 0 => "%Y-%m-%d %H:%M:%S",
        _ => "%Y-%m-%d %H:%M",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> Zone {
        Zone::parse("Europe/Berlin").unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn instants_and_local_times_are_read() {
        for (text, expected) in [
            ("2026-12-24T18:00:00Z", "2026-12-24T18:00:00Z"),
            ("2026-12-24T18:00:00+05:30", "2026-12-24T12:30:00Z"),
            ("2026-12-24T18:00", "2026-12-24T17:00:00Z"),
            (" 2026-07-24 18:00:30 ", "2026-07-24T16:00:30Z"),
            ("2026-07-24 18:00:30.25", "2026-07-24T16:00:30.25Z"),
            ("2026-07-24", "2026-07-23T22:00:00Z"),
            // Skipped: the first instant after. Twice: the first time.
            ("2027-03-28T02:30", "2027-03-28T01:00:00Z"),
            ("2026-10-25T02:30", "2026-10-25T00:30:00Z"),
        ] {
            let moment = Moment::parse(text, berlin()).unwrap();
            assert_eq!(moment.instant, at(expected), "{text}");
        }
        let day = Moment::parse("2026-10-25", berlin()).unwrap();
        assert_eq!(
            day.last_instant() - day.instant,
            TimeDelta::hours(25) - TimeDelta::nanoseconds(1)
        );
        let gap = Moment::parse("2027-03-28T02:30", berlin()).unwrap();
        assert!(matches!(
            gap.local.unwrap().change,
            Some(WallInstant::Gap { .. })
        ));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "tomorrow",
            "18:00",
            "2026-13-01",
            "2026-02-30T00:00",
            "1969-12-31T12:00",
            "2101-01-02",
            "2026-12-24T18:00 Europe/Berlin",
        ] {
            let error = Moment::parse(text, berlin()).unwrap_err();
            assert!(error.span.end <= text.len(), "{text}");
            assert!(!error.label.is_empty());
        }
    }

    #[test]
    fn it_fires_once() {
        let trigger = AtTrigger::new(Moment::parse("2026-12-24T18:00", berlin()).unwrap());
        let instant = at("2026-12-24T17:00:00Z");
        let before = instant - TimeDelta::nanoseconds(1);
        assert_eq!(trigger.next_after(before), Some(instant));
        assert_eq!(trigger.next_after(instant), None);
        assert_eq!(trigger.latest_in(before, instant), Some(instant));
        assert_eq!(trigger.latest_in(before, before), None);
        assert_eq!(trigger.latest_in(instant, instant), None);
        assert_eq!(trigger.to_string(), "at 2026-12-24 18:00");
    }
}
