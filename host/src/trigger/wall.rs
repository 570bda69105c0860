//! From times on a wall clock to instants: what happens when clocks are changed.
//!
//! A schedule that is written down in the time of the wall clock says which times it means
//! ([`WallTimes`]); here is when they come. There are two ways to keep step with the clock, as in
//! Debian's cron:
//!
//! - By the **clock** ([`Pace::Clock`]): a time is due when the clock first reaches it. So in a
//!   skipped hour it is due at the first instant after the gap, once for all times inside it, and
//!   in a repeated hour the first time only. A skip of more than three hours (a zone that changed
//!   sides of the date line) is not caught up with.
//! - By **elapsed** time ([`Pace::Elapsed`]): due at every instant at which the clock shows a
//!   matching time, in both passes of a repeated hour, and not at all for times that were skipped.

use chrono::{DateTime, Utc};

use super::zone::{Reach, Transitions, Zone};

/// Times of a wall clock, in seconds since 1970-01-01T00:00:00 on that clock.
pub(super) trait WallTimes {
    /// The first matching time from `wall` on.
    fn next_wall(&self, wall: i64) -> Option<i64>;
    /// The first matching time after `wall`, which is one itself.
    fn following_wall(&self, wall: i64) -> Option<i64> {
        self.next_wall(wall.checked_add(1)?)
    }
    /// The latest matching time up to and with `wall`.
    fn latest_wall(&self, wall: i64) -> Option<i64>;
}

/// What becomes of a run whose time a change of the clock skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dst {
    /// It runs once, at the first instant after the gap.
    #[default]
    RunAfter,
    /// It does not run that day.
    Skip,
}

/// How a schedule keeps step with the clock on the wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Its times are due when the clock first reaches them.
    Clock(Dst),
    /// It is due whenever the clock shows a matching time.
    Elapsed,
}

/// A skip of the clock up to this long is a change of daylight saving; what it skipped runs after
/// it. In seconds.
const LONGEST_CATCH_UP: i64 = 3 * 60 * 60;

/// The first instant strictly after `after` at which one of the times is due.
pub(super) fn next_after(
    times: &impl WallTimes,
    zone: Zone,
    pace: Pace,
    after: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let zone = zone.transitions();
    let after = after.timestamp();
    let next = match pace {
        Pace::Elapsed => next_elapsed(times, zone, after.checked_add(1)?),
        Pace::Clock(dst) => next_by_clock(times, zone, dst, after),
    };
    DateTime::from_timestamp(next?, 0)
}

/// The latest instant after `after` and not after `until` at which one of the times is due.
pub(super) fn latest_in(
    times: &impl WallTimes,
    zone: Zone,
    pace: Pace,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let zone = zone.transitions();
    let latest = match pace {
        Pace::Elapsed => latest_elapsed(times, zone, after.timestamp(), until.timestamp()),
        Pace::Clock(dst) => latest_by_clock(times, zone, dst, until.timestamp()),
    };
    DateTime::from_timestamp(latest?, 0).filter(|instant| *instant > after)
}

/// The first matching instant from `utc` on.
fn next_elapsed(times: &impl WallTimes, zone: &Transitions, utc: i64) -> Option<i64> {
    let mut index = zone.index_at(utc);
    let mut segment = zone.segment(index);
    // No wall time in low..wall matches. None: nothing from `low` on does.
    let mut low = segment.wall(utc);
    let mut wall = times.next_wall(low);
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
            wall = times.next_wall(low);
        }
    }
}

/// The latest matching instant in after+1..=until.
fn latest_elapsed(
    times: &impl WallTimes,
    zone: &Transitions,
    after: i64,
    until: i64,
) -> Option<i64> {
    let mut index = zone.index_at(until);
    let mut segment = zone.segment(index);
    // No wall time in wall+1..=high matches.
    let mut high = segment.wall(until);
    let mut wall = times.latest_wall(high);
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
            wall = times.latest_wall(high);
        }
    }
}

/// The latest time that the clock has shown up to `utc`.
fn reached(zone: &Transitions, utc: i64) -> i64 {
    let segment = zone.segment(zone.index_at(utc));
    segment.wall(utc).max(segment.reach.saturating_sub(1))
}

/// Whether what a gap of so many seconds skips runs after it.
pub(super) fn is_caught_up(dst: Dst, gap: i64) -> bool {
    dst == Dst::RunAfter && gap <= LONGEST_CATCH_UP
}

fn next_by_clock(times: &impl WallTimes, zone: &Transitions, dst: Dst, after: i64) -> Option<i64> {
    let mut wall = times.next_wall(reached(zone, after).checked_add(1)?)?;
    loop {
        match zone.first_reach(wall) {
            Reach::At { utc, .. } => return Some(utc),
            Reach::Gap {
                start,
                begin_wall,
                end_wall,
            } => {
                if is_caught_up(dst, end_wall - begin_wall) {
                    return Some(start);
                }
                wall = times.next_wall(end_wall)?;
            }
        }
    }
}

fn latest_by_clock(
    times: &impl WallTimes,
    zone: &Transitions,
    dst: Dst,
    until: i64,
) -> Option<i64> {
    let mut wall = times.latest_wall(reached(zone, until))?;
    loop {
        match zone.first_reach(wall) {
            Reach::At { utc, .. } => return Some(utc),
            Reach::Gap {
                start,
                begin_wall,
                end_wall,
            } => {
                if is_caught_up(dst, end_wall - begin_wall) {
                    return Some(start);
                }
                wall = times.latest_wall(begin_wall - 1)?;
            }
        }
    }
}
