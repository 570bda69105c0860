//! The hours of a wall clock between two instants, changes of the clock included.

use chrono::{NaiveDateTime, TimeDelta, Timelike as _};

use crate::clock::Timestamp;
use crate::trigger::Zone;

const HOUR: i64 = 3_600;

/// A stretch of time within one hour of the wall clock: a whole one, or what the ends of the plan
/// or a change of the clock leave of it. An hour that comes twice is two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hour {
    /// Its first instant.
    pub start: Timestamp,
    /// Its end, exclusive.
    pub end: Timestamp,
    /// What the wall clock shows at its first instant.
    pub wall: NaiveDateTime,
    /// The offset from UTC in seconds, east positive.
    pub offset: i32,
    /// How many firings are due in it.
    pub firings: u64,
}

/// A stretch of whole hours in which nothing is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    /// Its first instant.
    pub from: Timestamp,
    /// Its end, exclusive.
    pub until: Timestamp,
}

/// A change of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockChange {
    /// The first instant after it.
    pub at: Timestamp,
    /// What the clock would show then, had it not been changed.
    pub before: NaiveDateTime,
    /// What it shows instead.
    pub after: NaiveDateTime,
}

impl ClockChange {
    /// How far the clock is set forward, in seconds; negative if it is set back.
    pub fn seconds(&self) -> i64 {
        (self.after - self.before).num_seconds()
    }
}

/// All hours from `from` until `until`, with no firings yet.
pub(super) fn hours(from: Timestamp, until: Timestamp, zone: Zone) -> Vec<Hour> {
    let mut hours = Vec::new();
    let mut start = from;
    while start < until {
        let (wall, offset) = zone.to_wall(start);
        let into = TimeDelta::seconds(i64::from(wall.minute() * 60 + wall.second()))
            + TimeDelta::nanoseconds(i64::from(wall.nanosecond()));
        let full = start + (TimeDelta::seconds(HOUR) - into);
        let end = change_before(zone, start, full.min(until), offset);
        hours.push(Hour {
            start,
            end,
            wall,
            offset,
            firings: 0,
        });
        start = end;
    }
    hours
}

/// The first instant after `start` at which the offset is another one than `offset`, or `end` if
/// it is the same until then. The clock is not changed twice in an hour.
fn change_before(zone: Zone, start: Timestamp, end: Timestamp, offset: i32) -> Timestamp {
    let changed = |second: i64| {
        chrono::DateTime::from_timestamp(second, 0)
            .is_some_and(|instant| zone.to_wall(instant).1 != offset)
    };
    // Changes are at whole seconds. The last one before the end:
    let last = end.timestamp() - i64::from(end.timestamp_subsec_nanos() == 0);
    if last <= start.timestamp() || !changed(last) {
        return end;
    }
    let (mut before, mut after) = (start.timestamp(), last);
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if changed(middle) {
            after = middle;
        } else {
            before = middle;
        }
    }
    chrono::DateTime::from_timestamp(after, 0).unwrap_or(end)
}

/// The stretches of hours without a firing, each as long as it can be.
pub(super) fn quiet(hours: &[Hour]) -> Vec<Quiet> {
    let mut stretches: Vec<Quiet> = Vec::new();
    for hour in hours.iter().filter(|hour| hour.firings == 0) {
        match stretches.last_mut() {
            Some(last) if last.until == hour.start => last.until = hour.end,
            _ => stretches.push(Quiet {
                from: hour.start,
                until: hour.end,
            }),
        }
    }
    stretches
}

/// The changes of the clock between the hours.
pub(super) fn changes(hours: &[Hour]) -> Vec<ClockChange> {
    let pairs = hours.iter().zip(hours.iter().skip(1));
    pairs
        .filter(|(before, after)| before.offset != after.offset)
        .map(|(before, after)| ClockChange {
            at: after.start,
            before: before.wall + (after.start - before.start),
            after: after.wall,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn walls(zone: &str, from: &str, until: &str) -> Vec<String> {
        hours(at(from), at(until), Zone::parse(zone).unwrap())
            .iter()
            .map(|hour| {
                format!(
                    "{} {}",
                    hour.wall.format("%H:%M"),
                    (hour.end - hour.start).num_minutes()
                )
            })
            .collect()
    }

    #[test]
    fn the_ends_cut_hours() {
        let found = walls(
            "Asia/Kolkata",
            "2026-11-22T14:28:00Z",
            "2026-11-22T16:31:00Z",
        );
        assert_eq!(found, ["19:58 2", "20:00 60", "21:00 60", "22:00 1"]);
        assert!(walls("UTC", "2026-11-22T14:28:00Z", "2026-11-22T14:28:00Z").is_empty());
    }

    #[test]
    fn changes_of_the_clock_cut_hours() {
        // Skipped, repeated, and both by half an hour.
        let found = walls(
            "Europe/Berlin",
            "2027-03-28T00:00:00Z",
            "2027-03-28T02:00:00Z",
        );
        assert_eq!(found, ["01:00 60", "03:00 60"]);
        let found = walls(
            "Europe/Berlin",
            "2027-10-31T00:00:00Z",
            "2027-10-31T02:00:00Z",
        );
        assert_eq!(found, ["02:00 60", "02:00 60"]);
        let found = walls(
            "Australia/Lord_Howe",
            "2027-04-03T14:00:00Z",
            "2027-04-03T16:30:00Z",
        );
        assert_eq!(found, ["01:00 60", "01:30 30", "02:00 60"]);
        let found = walls(
            "Australia/Lord_Howe",
            "2027-10-02T15:00:00Z",
            "2027-10-02T16:30:00Z",
        );
        assert_eq!(found, ["01:30 30", "02:30 30", "03:00 30"]);
    }

    #[test]
    fn changes_are_told() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let year = hours(
            at("2027-01-01T00:00:00Z"),
            at("2028-01-01T00:00:00Z"),
            berlin,
        );
        let found = changes(&year);
        assert_eq!(
            found.iter().map(ClockChange::seconds).collect::<Vec<_>>(),
            [3600, -3600]
        );
        assert_eq!(found[0].at, at("2027-03-28T01:00:00Z"));
        assert_eq!(found[0].before.to_string(), "2027-03-28 02:00:00");
        assert_eq!(found[1].after.to_string(), "2027-10-31 02:00:00");
    }

    proptest! {
        /// Hours follow each other without a hole, each inside one hour of the clock.
        #[test]
        fn nothing_is_left_out(index in any::<proptest::sample::Index>(), from in 0_i64..4_100_000_000, nanos in 0_u32..1_000_000_000, length in 1_i64..600_000) {
            let zones: Vec<Zone> = Zone::all().collect();
            let zone = *index.get(&zones);
            let from = chrono::DateTime::from_timestamp(from, nanos).unwrap();
            let until = from + TimeDelta::seconds(length);
            let found = hours(from, until, zone);
            prop_assert_eq!((found[0].start, found[found.len() - 1].end), (from, until));
            for pair in found.windows(2) {
                prop_assert_eq!(pair[0].end, pair[1].start);
            }
            for hour in &found {
                prop_assert!(hour.start < hour.end);
                let last = hour.end - TimeDelta::nanoseconds(1);
                let (wall, offset) = zone.to_wall(last);
                prop_assert_eq!((wall.date(), wall.hour(), offset), (hour.wall.date(), hour.wall.hour(), hour.offset));
            }
        }
    }
}
