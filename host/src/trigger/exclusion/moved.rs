//! Times of a wall clock, those of excluded days moved to the next business day.
//!
//! A schedule that goes by the clock is moved as it is written, before anybody asks which instants
//! its times are: so a time that the clock skips on the excluded day is itself on the day that it is
//! moved to, and one that it skips there is what [`wall`](crate::trigger::wall) makes of it.

use super::{Days, NotOn, Targets};
use crate::trigger::Zone;
use crate::trigger::civil::DAY;
use crate::trigger::wall::WallTimes;

/// After this wall time nothing is looked for: the calendar ends before.
const END: i64 = super::END + DAY;

/// Times and the calendar that moves some of them.
pub(in crate::trigger) struct MovedTimes<'a, T> {
    times: &'a T,
    days: &'a Days,
    targets: Targets<'a>,
}

impl<'a, T: WallTimes> MovedTimes<'a, T> {
    /// The times of a schedule in a zone, moved where they fall on a day of `not_on`.
    pub(in crate::trigger) fn new(times: &'a T, not_on: &'a NotOn, zone: Zone) -> Self {
        MovedTimes {
            times,
            days: &not_on.days,
            targets: Targets {
                business: &not_on.business,
                zone: zone.transitions(),
            },
        }
    }

    /// The first time from `wall` on, and not after `bound`, that stays where it is.
    fn next_kept(&self, mut wall: i64, bound: i64) -> Option<i64> {
        loop {
            let found = self.times.next_wall(wall).filter(|it| *it <= bound)?;
            let day = found.div_euclid(DAY);
            if !self.days.has(day) {
                return Some(found);
            }
            wall = self.days.next(day + 1, false)? * DAY;
        }
    }

    /// The first time from `wall` on, and not after `bound`, that is moved to.
    fn next_moved(&self, wall: i64, bound: i64) -> Option<i64> {
        let mut target = self.targets.target(wall.div_euclid(DAY))?;
        loop {
            let midnight = target * DAY;
            // On the day of `wall` itself, the times of day before it are over.
            let over = (wall - midnight).max(0);
            if let Some(time) = self.earliest_moved_to(target, over) {
                return Some(midnight + time).filter(|moved| *moved <= bound);
            }
            let source = self.next_excluded((target + 1) * DAY, bound)?;
            target = self.targets.target(source + 1)?;
        }
    }

    /// The first time of day from `over` on that is moved to the day `target`.
    fn earliest_moved_to(&self, target: i64, over: i64) -> Option<i64> {
        let mut earliest: Option<i64> = None;
        let mut source = self.days.next(self.targets.stretch_before(target), true);
        while let Some(day) = source.filter(|day| *day < target) {
            let Some(found) = self.times.next_wall(day * DAY + over) else {
                break;
            };
            let found_day = found.div_euclid(DAY);
            if found_day == day {
                let time = found - day * DAY;
                earliest = Some(earliest.map_or(time, |earliest| earliest.min(time)));
            }
            source = self.days.next(found_day.max(day + 1), true);
        }
        earliest
    }

    /// The first excluded day with a time of the schedule, from `wall` on and not after `bound`.
    fn next_excluded(&self, mut wall: i64, bound: i64) -> Option<i64> {
        loop {
            let found = self.times.next_wall(wall).filter(|it| *it <= bound)?;
            let day = found.div_euclid(DAY);
            if self.days.has(day) {
                return Some(day);
            }
            wall = self.days.next(day + 1, true)? * DAY;
        }
    }
}

impl<T: WallTimes> WallTimes for MovedTimes<'_, T> {
    fn next_wall(&self, wall: i64) -> Option<i64> {
        // Either kind may be years away while the other is near: look for both in a week, in
        // eight, and so on.
        let mut span = 7 * DAY;
        loop {
            let bound = wall.saturating_add(span);
            let kept = self.next_kept(wall, bound);
            let moved = self.next_moved(wall, kept.unwrap_or(bound));
            if kept.is_some() || moved.is_some() {
                return moved.or(kept);
            }
            if bound > END {
                return None;
            }
            span = span.saturating_mul(8);
        }
    }

    fn latest_wall(&self, wall: i64) -> Option<i64> {
        let up_to = |from: i64| self.next_wall(from).filter(|found| *found <= wall);
        let mut span = 7 * DAY;
        let mut latest = loop {
            let from = wall.saturating_sub(span);
            if let Some(first) = up_to(from) {
                break first;
            }
            if from < -DAY {
                return None;
            }
            span = span.saturating_mul(8);
        };
        // Nothing lies after `end` and up to `wall`.
        let mut end = wall;
        while latest < end {
            let middle = latest + (end - latest + 1) / 2;
            match up_to(middle) {
                Some(later) => latest = later,
                None => end = middle - 1,
            }
        }
        Some(latest)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::{Datelike, NaiveDate, Weekday};
    use proptest::prelude::*;

    use super::*;
    use crate::trigger::Instead;

    /// Given times of the day on given days.
    #[derive(Debug)]
    struct Given(BTreeSet<i64>);

    impl WallTimes for Given {
        fn next_wall(&self, wall: i64) -> Option<i64> {
            self.0.range(wall..).next().copied()
        }

        fn latest_wall(&self, wall: i64) -> Option<i64> {
            self.0.range(..=wall).next_back().copied()
        }
    }

    fn weekday(day: i64) -> Weekday {
        NaiveDate::from_epoch_days(day as i32).unwrap().weekday()
    }

    proptest! {
        /// Against moving each time by itself.
        #[test]
        fn times_are_moved_one_by_one(
            times in prop::collection::btree_set((20_000_i64..20_060, 0_i64..24), 0..60),
            off in prop::collection::btree_set(20_000_i64..20_060, 0..25),
            weekends in any::<bool>(),
            probes in prop::collection::vec(19_990_i64 * 24..20_070 * 24, 1..40),
        ) {
            let mut days = Days::none();
            if weekends {
                days.add(&Days::parse_day("sat-sun").unwrap());
            }
            for day in off {
                let date = NaiveDate::from_epoch_days(day as i32).unwrap();
                days.add(&Days::parse_day(&date.to_string()).unwrap());
            }
            let is_business = |day: i64| {
                !days.has(day) && !matches!(weekday(day), Weekday::Sat | Weekday::Sun)
            };
            let given: BTreeSet<i64> = times.iter().map(|(day, hour)| day * DAY + hour * 3600).collect();
            let expected: BTreeSet<i64> = given
                .iter()
                .map(|wall| {
                    let (mut day, time) = (wall.div_euclid(DAY), wall.rem_euclid(DAY));
                    if days.has(day) {
                        day = (day + 1..).find(|day| is_business(*day)).unwrap();
                    }
                    day * DAY + time
                })
                .collect();
            let not_on = NotOn::new(days, vec![], Instead::NextBusinessDay);
            let given = Given(given);
            let moved = MovedTimes::new(&given, &not_on, Zone::UTC);
            for probe in probes {
                let wall = probe * 3600;
                prop_assert_eq!(moved.next_wall(wall), expected.range(wall..).next().copied());
                prop_assert_eq!(moved.next_wall(wall + 1), expected.range(wall + 1..).next().copied());
                prop_assert_eq!(moved.latest_wall(wall), expected.range(..=wall).next_back().copied());
            }
        }
    }
}
