//! Exclusion calendars: the days on which a trigger does not fire, and what happens to the
//! firings of such a day.
//!
//! A calendar is a set of days without a time zone ([`Days`]); the day of a firing is the one that
//! the wall clock of the trigger's zone shows. What falls on an excluded day is either left out
//! ([`Instead::Skip`]) or moved to the same time of the next business day
//! ([`Instead::NextBusinessDay`]), a day from Monday to Friday that is not excluded itself:
//!
//! ```text
//!            Fri 9:00   Sat 9:00   Sun 9:00   Mon 9:00        sat and sun are excluded
//!   skip        x          -          -          x
//!   next        x          └──────────┴─────────►x            several that meet are one
//! ```
//!
//! What falls on a day that is not excluded stays where it is, on a weekend too if the calendar
//! does not name it. A moved firing whose time is skipped by the clock on the day it moves to
//! happens at the first instant after the gap; one whose time comes twice, the first time.
//!
//! A trigger with a calendar fires in the years 1970 to 2100 of its zone and in no other.

mod days;
mod moved;

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

pub use days::Days;
pub(in crate::trigger) use days::{LAST_DAY, date, number};
pub(in crate::trigger) use moved::MovedTimes;

use super::Zone;
use super::civil::DAY;
use super::zone::{Reach, Transitions};

const SECOND_NANOS: i128 = 1_000_000_000;
const DAY_NANOS: i128 = DAY as i128 * SECOND_NANOS;

/// After this second no zone shows a day of 2100 any more.
const END: i64 = (LAST_DAY + 3) * DAY;

/// The days on which a trigger does not fire, and what it does instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotOn {
    days: Days,
    /// The days to which firings are moved, were there no zone that skips one.
    business: Days,
    names: Vec<String>,
    instead: Instead,
}

/// What becomes of a firing on an excluded day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Instead {
    /// It is left out.
    Skip,
    /// It happens at the same time of the wall clock on the next day that is one of Monday to
    /// Friday and not excluded.
    NextBusinessDay,
}

/// A trigger whose firings are subject to a calendar.
///
/// `next_after` must answer with an instant after `after`, and `latest_in` with one after `after`
/// and not after `until`, both out of one and the same set of instants.
pub trait Inner {
    /// The first instant strictly after `after`; None: never again.
    fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>>;

    /// The latest instant after `after` and not after `until`.
    fn latest_in(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>>;

    /// The zone whose wall clock says which day it is.
    fn zone(&self) -> Zone;
}

impl NotOn {
    /// Excludes `days`, which the calendars `names` say in the order of the trigger.
    pub fn new(days: Days, names: Vec<String>, instead: Instead) -> NotOn {
        NotOn {
            business: days.business_days(),
            days,
            names,
            instead,
        }
    }

    /// The excluded days.
    pub fn days(&self) -> &Days {
        &self.days
    }

    /// The names of the calendars that exclude them.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What becomes of a firing on an excluded day.
    pub fn instead(&self) -> Instead {
        self.instead
    }

    /// The first instant strictly after `after`; None: never again.
    pub fn next_after(&self, inner: &dyn Inner, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let query = Query::new(self, inner);
        match self.instead {
            Instead::Skip => query.next_kept(after, DateTime::<Utc>::MAX_UTC),
            Instead::NextBusinessDay => query.next(after),
        }
    }

    /// The first instant strictly after `after` that is left out; one that is moved is not.
    pub fn left_out_after(&self, inner: &dyn Inner, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.instead {
            Instead::Skip => {
                Query::new(self, inner).next_where(true, after, DateTime::<Utc>::MAX_UTC)
            }
            Instead::NextBusinessDay => None,
        }
    }

    /// The latest instant after `after` and not after `until` that is left out.
    pub fn latest_left_out(
        &self,
        inner: &dyn Inner,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        match self.instead {
            Instead::Skip => Query::new(self, inner).latest_where(true, after, until),
            Instead::NextBusinessDay => None,
        }
    }

    /// The latest instant after `after` and not after `until`.
    pub fn latest_in(
        &self,
        inner: &dyn Inner,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let query = Query::new(self, inner);
        match self.instead {
            Instead::Skip => query.latest_kept(after, until),
            Instead::NextBusinessDay => query.latest(after, until),
        }
    }
}

/// `not on holidays`, or `not on holidays and closing but on the next business day`.
impl fmt::Display for NotOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not on ")?;
        match self.names.split_last() {
            None => f.write_str("no day")?,
            Some((only, [])) => f.write_str(only)?,
            Some((last, others)) => write!(f, "{} and {last}", others.join(", "))?,
        }
        match self.instead {
            Instead::Skip => Ok(()),
            Instead::NextBusinessDay => f.write_str(" but on the next business day"),
        }
    }
}

/// As it is written in a job file.
impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Instead::Skip => "skip",
            Instead::NextBusinessDay => "next business day",
        })
    }
}

/// A calendar, a trigger and its zone.
struct Query<'a> {
    days: &'a Days,
    targets: Targets<'a>,
    inner: &'a dyn Inner,
    zone: &'static Transitions,
}

impl<'a> Query<'a> {
    fn new(not_on: &'a NotOn, inner: &'a dyn Inner) -> Self {
        Query {
            days: &not_on.days,
            targets: Targets {
                business: &not_on.business,
                zone: inner.zone().transitions(),
            },
            inner,
            zone: inner.zone().transitions(),
        }
    }

    /// The first instant after `after` and not after `bound` that stays where it is.
    fn next_kept(&self, after: DateTime<Utc>, bound: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.next_where(false, after, bound)
    }

    /// The first instant of the trigger after `after` and not after `bound` whose day is excluded,
    /// or is not.
    fn next_where(
        &self,
        excluded: bool,
        after: DateTime<Utc>,
        bound: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let mut from = after;
        loop {
            let found = self.inner.next_after(from)?;
            if found > bound {
                return None;
            }
            let place = Place::of(self.zone, found);
            if self.days.next(place.day, excluded) == Some(place.day) {
                return Some(found);
            }
            from = place.skip_to(self.zone, self.days.next(place.day + 1, excluded))?;
        }
    }

    /// The latest instant after `after` and not after `until` that stays where it is.
    fn latest_kept(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.latest_where(false, after, until)
    }

    /// The latest instant of the trigger after `after` and not after `until` whose day is excluded,
    /// or is not.
    fn latest_where(
        &self,
        excluded: bool,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let mut to = until;
        loop {
            let found = self.inner.latest_in(after, to)?;
            let place = Place::of(self.zone, found);
            if self.days.latest(place.day, excluded) == Some(place.day) {
                return Some(found);
            }
            to = place.skip_back_to(self.days.latest(place.day - 1, excluded))?;
            if to <= after {
                return None;
            }
        }
    }

    /// The first instant after `after`, kept or moved.
    fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // Either kind may be years away while the other is near: look for both in a week, in
        // eight, and so on.
        let mut span = TimeDelta::weeks(1);
        loop {
            let bound = after
                .checked_add_signed(span)
                .unwrap_or(DateTime::<Utc>::MAX_UTC);
            let kept = self.next_kept(after, bound);
            let moved = self.next_moved(after, kept.unwrap_or(bound));
            if moved.is_some() || kept.is_some() {
                return moved.or(kept);
            }
            if bound.timestamp() >= END {
                return None;
            }
            span = span.checked_mul(8)?;
        }
    }

    /// The latest instant after `after` and not after `until`, kept or moved.
    fn latest(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut span = TimeDelta::weeks(1);
        loop {
            let from = until
                .checked_sub_signed(span)
                .map_or(after, |from| from.max(after));
            let kept = self.latest_kept(from, until);
            let moved = self.latest_moved(kept.unwrap_or(from), until);
            if moved.is_some() || kept.is_some() {
                return moved.or(kept);
            }
            if from <= after {
                return None;
            }
            span = span.checked_mul(8)?;
        }
    }

    /// The first moved instant after `after` and not after `bound`.
    fn next_moved(&self, after: DateTime<Utc>, bound: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // What lands on an earlier day than the clock has shown lands before `after`.
        let reached = self.reached(after).div_euclid(DAY_NANOS);
        let target = self.targets.target(i64::try_from(reached).ok()?)?;
        let mut from = just_before(self.first_shown(self.targets.stretch_before(target)));
        loop {
            let found = self.inner.next_after(from)?;
            // A firing moves by a day or more, and no clock is set back as far.
            if found >= bound {
                return None;
            }
            let place = Place::of(self.zone, found);
            if !self.days.has(place.day) {
                from = place.skip_to(self.zone, self.days.next(place.day + 1, true))?;
                continue;
            }
            let target = self.targets.target(place.day + 1)?;
            if let Some(moved) = self.earliest_on(target, after) {
                return (moved <= bound).then_some(moved);
            }
            from = just_before(self.settled(target)).max(found);
        }
    }

    /// The first instant after `after` that is moved to the day `target`.
    fn earliest_on(&self, target: i64, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let midnight = i128::from(target) * DAY_NANOS;
        // Times of day up to this one have passed on the target day.
        let passed = self.reached(after) - midnight;
        let first = self.targets.stretch_before(target);
        let end = self.settled(target);
        let mut from = just_before(self.first_shown(first));
        let mut earliest: Option<i128> = None;
        while let Some(found) = self.inner.next_after(from) {
            if found.timestamp() >= end || passed >= DAY_NANOS {
                break;
            }
            let place = Place::of(self.zone, found);
            if (first..target).contains(&place.day) && self.days.has(place.day) {
                let time = place.time_of_day(found);
                if time <= passed {
                    from = place.later_today(self.zone, passed).max(found);
                    continue;
                }
                earliest = Some(earliest.map_or(time, |earliest| earliest.min(time)));
                if time == 0 {
                    break;
                }
            }
            let next = self.days.next((place.day + 1).max(first), true);
            match place.skip_to(self.zone, next) {
                Some(next) => from = next,
                None => break,
            }
        }
        let wall = midnight + earliest?;
        let seconds = i64::try_from(wall.div_euclid(SECOND_NANOS)).ok()?;
        let nanos = u32::try_from(wall.rem_euclid(SECOND_NANOS)).ok()?;
        match self.zone.first_reach(seconds) {
            Reach::At { utc, .. } => DateTime::from_timestamp(utc, nanos),
            Reach::Gap { start, .. } => DateTime::from_timestamp(start, 0),
        }
    }

    /// The latest moved instant after `after` and not after `until`.
    fn latest_moved(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut latest = self.next_moved(after, until)?;
        // Nothing is moved to after `end` and up to `until`.
        let mut end = until;
        while latest < end {
            let middle = latest + (end - latest) / 2;
            match self.next_moved(middle, until) {
                Some(later) => latest = later,
                None => end = middle,
            }
        }
        Some(latest)
    }

    /// The latest wall time, in nanoseconds, that the clock has shown up to an instant.
    fn reached(&self, instant: DateTime<Utc>) -> i128 {
        let second = instant.timestamp();
        let segment = self.zone.segment(self.zone.index_at(second));
        let now = i128::from(segment.wall(second)) * SECOND_NANOS
            + i128::from(instant.timestamp_subsec_nanos()).min(SECOND_NANOS - 1);
        // All before `reach` has been shown, to the last nanosecond.
        now.max(i128::from(segment.reach) * SECOND_NANOS - 1)
    }

    /// The second at which the clock first shows a day or a later one.
    fn first_shown(&self, day: i64) -> i64 {
        match self.zone.first_reach(day * DAY) {
            Reach::At { utc, .. } => utc,
            Reach::Gap { start, .. } => start,
        }
    }

    /// The second from which on the clock shows no day before `day` any more: later than
    /// `first_shown` where a clock is set back over midnight.
    fn settled(&self, day: i64) -> i64 {
        let mut settled = self.first_shown(day);
        let mut index = self.zone.index_at(settled) + 1;
        while let Some(segment) = self.zone.get(index)
            && segment.start <= settled + DAY
        {
            if segment.start_wall() < day * DAY {
                settled = segment.utc(day * DAY);
            }
            index += 1;
        }
        settled
    }
}

/// The days that firings are moved to.
struct Targets<'a> {
    business: &'a Days,
    zone: &'static Transitions,
}

impl Targets<'_> {
    /// The first day from `day` on that firings are moved to: a business day that the clock does
    /// not skip as a whole, as Samoa's did in 2011.
    fn target(&self, day: i64) -> Option<i64> {
        let mut from = day;
        loop {
            let day = self.business.next(from, true)?;
            if self.exists(day) {
                return Some(day);
            }
            from = day + 1;
        }
    }

    /// The first day whose excluded firings are moved to the day `target`, if it is excluded.
    fn stretch_before(&self, target: i64) -> i64 {
        let mut to = target - 1;
        loop {
            match self.business.latest(to, true) {
                None => return 0,
                Some(day) if self.exists(day) => return day + 1,
                Some(day) => to = day - 1,
            }
        }
    }

    fn exists(&self, day: i64) -> bool {
        match self.zone.first_reach(day * DAY) {
            Reach::At { .. } => true,
            Reach::Gap { end_wall, .. } => end_wall < (day + 1) * DAY,
        }
    }
}

/// Where an instant lies in its zone.
struct Place {
    /// The number of the segment.
    index: usize,
    /// Its first second and its offset from UTC in seconds.
    start: i64,
    offset: i64,
    /// The day that the wall clock shows.
    day: i64,
}

impl Place {
    fn of(zone: &Transitions, instant: DateTime<Utc>) -> Place {
        let second = instant.timestamp();
        let index = zone.index_at(second);
        let segment = zone.segment(index);
        Place {
            index,
            start: segment.start,
            offset: i64::from(segment.offset),
            day: segment.wall(second).div_euclid(DAY),
        }
    }

    /// What the wall clock shows at an instant of this segment and day, in nanoseconds.
    fn time_of_day(&self, instant: DateTime<Utc>) -> i128 {
        let second = (instant.timestamp() + self.offset).rem_euclid(DAY);
        i128::from(second) * SECOND_NANOS
            + i128::from(instant.timestamp_subsec_nanos()).min(SECOND_NANOS - 1)
    }

    /// The last instant before the clock, as it goes, shows the beginning of `day`, but no later
    /// than the clock is set: then other days may come. None if there is neither.
    fn skip_to(&self, zone: &Transitions, day: Option<i64>) -> Option<DateTime<Utc>> {
        let shown = day.map(|day| day * DAY - self.offset);
        let set = zone.get(self.index + 1).map(|next| next.start);
        let second = match (shown, set) {
            (Some(shown), Some(set)) => shown.min(set),
            (shown, set) => shown.or(set)?,
        };
        Some(just_before(second))
    }

    /// The same the other way: the last instant of `day`, but no earlier than before the clock
    /// was set.
    fn skip_back_to(&self, day: Option<i64>) -> Option<DateTime<Utc>> {
        let shown = day.map(|day| (day + 1) * DAY - self.offset);
        let set = (self.index > 0).then_some(self.start);
        // None is less than Some.
        shown.max(set).map(just_before)
    }

    /// The instant of this day at a time of day in nanoseconds, but before the clock is set.
    fn later_today(&self, zone: &Transitions, time: i128) -> DateTime<Utc> {
        let second = i64::try_from(time.div_euclid(SECOND_NANOS)).unwrap_or(DAY);
        let nanos = u32::try_from(time.rem_euclid(SECOND_NANOS)).unwrap_or(0);
        let utc = self.day * DAY + second - self.offset;
        let instant = DateTime::from_timestamp(utc, nanos).unwrap_or(DateTime::<Utc>::MAX_UTC);
        match zone.get(self.index + 1) {
            Some(next) => instant.min(just_before(next.start)),
            None => instant,
        }
    }
}

/// The last nanosecond before a second.
fn just_before(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second.saturating_sub(1), 999_999_999).unwrap_or(if second < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    })
}

#[cfg(test)]
mod tests;
