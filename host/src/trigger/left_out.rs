//! What the calendars of a trigger leave out: instants that it would have on other days.
//!
//! Only what falls away counts, not what is moved to another day; and not an instant that another
//! part of the trigger has all the same. Parts that stand in an `all` are not looked into: what they
//! leave out need not have been an instant of the whole.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use super::{Bounded, Trigger, WallInstant, Zone};

/// The least step of time.
const TICK: TimeDelta = TimeDelta::nanoseconds(1);

/// How many instants in a row are looked at which one part leaves out and another one has. Beyond
/// that nothing counts as left out.
const MOST_STEPS: usize = 1_000;

/// Instants that calendars leave out, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The first of them.
    pub first: DateTime<Utc>,
    /// The last of them.
    pub last: DateTime<Utc>,
    /// How many they are; nothing if they are too many to count.
    pub count: Option<u64>,
}

impl Trigger {
    /// The names of the calendars that may leave instants out, each once.
    pub fn days_off(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.name_days_off(&mut names);
        names
    }

    fn name_days_off<'t>(&'t self, names: &mut Vec<&'t str>) {
        match self {
            Trigger::Any(any) => any.parts().iter().for_each(|it| it.name_days_off(names)),
            Trigger::Bounded(bounded) => {
                for name in bounded.names_left_out() {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                bounded.inner().name_days_off(names);
            }
            _ => {}
        }
    }

    /// The first instant strictly after `after` that calendars leave out; None: never again.
    pub fn left_out_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Trigger::Bounded(bounded) => bounded.left_out_after(after),
            Trigger::Any(any) => {
                let mut from = after;
                for _ in 0..MOST_STEPS {
                    let parts = any.parts().iter();
                    let found = parts.filter_map(|it| it.left_out_after(from)).min()?;
                    if !self.has(found) {
                        return Some(found);
                    }
                    from = found;
                }
                None
            }
            _ => None,
        }
    }

    /// The latest instant after `after` and not after `until` that calendars leave out.
    pub(super) fn latest_left_out(
        &self,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        match self {
            Trigger::Bounded(bounded) => bounded.latest_left_out(after, until),
            Trigger::Any(any) => {
                let mut to = until;
                for _ in 0..MOST_STEPS {
                    let parts = any.parts().iter();
                    let found = parts.filter_map(|it| it.latest_left_out(after, to)).max()?;
                    if !self.has(found) {
                        return Some(found);
                    }
                    to = found - TICK;
                }
                None
            }
            _ => None,
        }
    }

    fn has(&self, instant: DateTime<Utc>) -> bool {
        self.next_after(instant - TICK) == Some(instant)
    }

    /// What calendars leave out from `first` on, which is left out itself, up to the end of the day
    /// of `now`: the day of the zone that the trigger goes by. At most about `budget` instants are
    /// counted, one by one, and taken from it.
    pub fn left_out_from(
        &self,
        first: DateTime<Utc>,
        now: DateTime<Utc>,
        budget: &mut u64,
    ) -> LeftOut {
        let until = end_of_day(self.zone().unwrap_or(Zone::UTC), now);
        let last = self.latest_left_out(first, until).unwrap_or(first);
        LeftOut {
            first,
            last,
            count: self.count_left_out(first, last, budget),
        }
    }

    fn count_left_out(
        &self,
        first: DateTime<Utc>,
        last: DateTime<Utc>,
        budget: &mut u64,
    ) -> Option<u64> {
        if let Trigger::Bounded(bounded) = self
            && let Trigger::Interval(interval) = bounded.inner()
            && self.next_after(first).is_none_or(|kept| kept > last)
        {
            let period = i64::try_from(interval.period().as_millis()).ok()?;
            let more = (last - first).num_milliseconds().checked_div(period)?;
            return u64::try_from(more + 1).ok();
        }
        let (mut count, mut at) = (1, first);
        while at < last {
            if *budget == 0 {
                return None;
            }
            *budget -= 1;
            at = self.left_out_after(at).filter(|next| *next > at)?;
            count += 1;
        }
        Some(count)
    }
}

impl Bounded {
    fn names_left_out(&self) -> impl Iterator<Item = &str> {
        let leaves_out = |not_on: &&super::NotOn| not_on.instead() == super::Instead::Skip;
        let not_on = self.bounds().not_on.as_ref().filter(leaves_out);
        let names = not_on.filter(|not_on| !not_on.days().is_empty());
        (names.into_iter()).flat_map(|not_on| not_on.names().iter().map(String::as_str))
    }
}

/// The last instant of the day that a clock on the wall shows at an instant.
fn end_of_day(zone: Zone, at: DateTime<Utc>) -> DateTime<Utc> {
    let (wall, _) = zone.to_wall(at);
    let midnight = wall
        .date()
        .succ_opt()
        .map(|day| day.and_time(NaiveTime::MIN));
    let next = midnight.map(|midnight| match zone.from_wall(midnight) {
        WallInstant::One(first) | WallInstant::Fold { first, .. } => first,
        WallInstant::Gap { end, .. } => end,
    });
    // A clock that is set back over midnight has shown the next day before.
    next.map_or(at, |next| (next - TICK).max(at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trigger::{Bounds, Days, Instead, NotOn};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn berlin() -> Zone {
        Zone::parse("Europe/Berlin").unwrap()
    }

    fn not_on(trigger: &str, days: &[&str], instead: Instead) -> Trigger {
        let mut all = Days::none();
        for day in days {
            all.add(&Days::parse_day(day).unwrap());
        }
        let bounds = Bounds {
            not_on: Some(NotOn::new(all, vec!["closed".to_owned()], instead)),
            zone: Some(berlin()),
            ..Bounds::default()
        };
        let trigger = Trigger::parse(trigger, berlin()).unwrap();
        trigger.within(bounds, "job").unwrap()
    }

    fn left_out(
        trigger: &Trigger,
        after: &str,
        now: &str,
    ) -> Option<(String, String, Option<u64>)> {
        let first = trigger.left_out_after(at(after))?;
        let found = trigger.left_out_from(first, at(now).max(first), &mut 2_000);
        let text = |instant: DateTime<Utc>| instant.format("%d %H:%M:%S").to_string();
        Some((text(found.first), text(found.last), found.count))
    }

    fn said(first: &str, last: &str, count: u64) -> Option<(String, String, Option<u64>)> {
        Some((first.to_owned(), last.to_owned(), Some(count)))
    }

    #[test]
    fn what_falls_on_a_day_off_is_left_out_a_day_at_a_time() {
        // 24 December 2026 is a Thursday.
        let hourly = not_on("0 * * * *", &["12-24", "sat"], Instead::Skip);
        assert_eq!(hourly.days_off(), ["closed"]);
        let before = "2026-12-20T00:00:00Z";
        let day = said("23 23:00:00", "24 22:00:00", 24);
        assert_eq!(left_out(&hourly, before, before), day);
        let from_noon = said("24 11:00:00", "24 22:00:00", 12);
        let noon = "2026-12-24T10:30:00Z";
        assert_eq!(left_out(&hourly, noon, noon), from_noon);
        // Whoever looks late has all of it at once, but for the days between.
        let late = said("23 23:00:00", "26 22:00:00", 48);
        assert_eq!(left_out(&hourly, before, "2026-12-26T12:00:00Z"), late);
        assert_eq!(left_out(&hourly, before, "2026-12-28T12:00:00Z"), late);
        let saturday = said("25 23:00:00", "26 22:00:00", 24);
        let after = "2026-12-24T22:00:00Z";
        assert_eq!(left_out(&hourly, after, after), saturday);
    }

    #[test]
    fn many_are_counted_where_that_is_cheap() {
        let often = not_on("@every 1s", &["12-24"], Instead::Skip);
        let before = "2026-12-20T00:00:00Z";
        let day = said("23 23:00:00", "24 22:59:59", 86_400);
        assert_eq!(left_out(&often, before, before), day);
        let cron = not_on("* * * * * *", &["12-24"], Instead::Skip);
        let (first, last, count) = left_out(&cron, before, before).unwrap();
        assert_eq!(
            (&*first, &*last, count),
            ("23 23:00:00", "24 22:59:59", None)
        );
    }

    #[test]
    fn what_is_moved_or_has_another_reason_is_not_left_out() {
        let before = "2026-12-20T00:00:00Z";
        let moved = not_on("0 9 * * *", &["12-24"], Instead::NextBusinessDay);
        assert_eq!(moved.left_out_after(at(before)), None);
        assert!(moved.days_off().is_empty());
        let plain = Trigger::parse("0 9 * * *", berlin()).unwrap();
        assert_eq!(plain.left_out_after(at(before)), None);
        // The other part fires then.
        let daily = not_on("0 9,12 * * *", &["12-24"], Instead::Skip);
        let both = Trigger::any(vec![daily, plain]).unwrap();
        assert_eq!(
            left_out(&both, before, before),
            said("24 11:00:00", "24 11:00:00", 1)
        );
        assert_eq!(both.days_off(), ["closed"]);
    }

    #[test]
    fn bounds_hold_for_what_is_left_out() {
        let Trigger::Bounded(daily) = not_on("0 9 * * *", &["sat-sun"], Instead::Skip) else {
            panic!("it is bounded");
        };
        let bounds = Bounds {
            start: Some(at("2026-12-20T00:00:00Z")),
            end: Some(at("2026-12-26T12:00:00Z")),
            ..daily.bounds().clone()
        };
        let within = daily.inner().clone().within(bounds, "job").unwrap();
        let instants =
            std::iter::successors(within.left_out_after(at("2026-01-01T00:00:00Z")), |last| {
                within.left_out_after(*last)
            });
        let days: Vec<String> = instants.map(|it| it.format("%d").to_string()).collect();
        assert_eq!(days, ["20", "26"]);
    }

    const WEEK: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

    proptest! {
        /// Of the instants that a trigger would have, each is kept or left out, and none is both.
        #[test]
        fn what_is_not_kept_is_left_out(
            days in proptest::sample::subsequence(&WEEK[..], 0..=7),
            expression in prop_oneof![
                Just("0 */5 * * *"), Just("30 2 * * *"), Just("@every 7h"), Just("0 0 29 * *"),
            ],
            start in 1_740_000_000_i64..1_810_000_000,
        ) {
            let start = DateTime::from_timestamp(start, 0).unwrap();
            let end = start + TimeDelta::days(20);
            let plain = Trigger::parse(expression, berlin()).unwrap();
            let bound = not_on(expression, &days, Instead::Skip);
            let walk = |next: &dyn Fn(DateTime<Utc>) -> Option<DateTime<Utc>>| {
                let all = std::iter::successors(next(start), |last| next(*last));
                all.take_while(|it| *it < end).collect::<Vec<_>>()
            };
            let kept = walk(&|after| bound.next_after(after));
            let left = walk(&|after| bound.left_out_after(after));
            let mut both = [kept, left.clone()].concat();
            both.sort();
            prop_assert_eq!(both, walk(&|after| plain.next_after(after)));
            prop_assert_eq!(bound.latest_left_out(start, end - TICK), left.last().copied());
            if let Some(first) = left.first() {
                let found = bound.left_out_from(*first, end - TimeDelta::days(1), &mut 9_000);
                let within = left.iter().filter(|it| **it <= found.last).count();
                prop_assert_eq!(found.count, Some(within as u64));
            }
        }
    }
}
