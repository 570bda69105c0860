//! All instants of a trigger in a stretch of time, one after the other.
//!
//! The same instants as asking [`Trigger::next_after`] again and again, but for a fraction of the
//! work: between two changes of the clock a wall-clock schedule is a plain sequence of wall times
//! that all lie the same offset away from their instants, and the next one of the day is found
//! without looking at the day again. What a look ahead over a year of many jobs needs.

use std::iter::Peekable;

use chrono::{DateTime, TimeDelta, Utc};

use super::cron::CronTrigger;
use super::wall::{Pace, WallTimes, is_caught_up};
use super::zone::{Segment, Transitions, Zone};
use super::{Bounded, Bounds, Combined, Trigger};

/// The instants of a trigger from one instant until another, in order; made by
/// [`Trigger::instants`].
#[derive(Debug)]
pub struct Instants<'a>(Kind<'a>);

#[derive(Debug)]
enum Kind<'a> {
    /// None, or no more.
    Nothing,
    Cron(WallInstants<'a, CronTrigger>),
    /// In milliseconds: the next one, the end, the period.
    Interval(i64, i64, i64),
    /// Whichever comes first; each counts once.
    Any(Vec<Peekable<Instants<'a>>>),
    /// Asked for one by one: the trigger, the last answer, and the end.
    Asked(&'a Trigger, DateTime<Utc>, DateTime<Utc>),
}

impl Trigger {
    /// The instants from `from` (if it is one, it is the first) until `until` (exclusive).
    ///
    /// ```
    /// use quarterjack::trigger::{Trigger, Zone};
    /// let trigger = Trigger::parse("0 */6 * * *", Zone::UTC)?;
    /// let [from, until] = ["2026-07-01T00:00:00Z", "2026-07-02T00:00:00Z"].map(|it| it.parse().unwrap());
    /// assert_eq!(trigger.instants(from, until).count(), 4);
    /// # Ok::<(), quarterjack::trigger::TriggerError>(())
    /// ```
    pub fn instants(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> Instants<'_> {
        if from >= until {
            return Instants(Kind::Nothing);
        }
        Instants(match self {
            Trigger::Cron(cron) => Kind::Cron(cron.wall_instants(from, until)),
            Trigger::Interval(interval) => {
                let period = i64::try_from(interval.period().as_millis()).unwrap_or(i64::MAX);
                match interval.next_after(before(from)) {
                    Some(next) => {
                        Kind::Interval(next.timestamp_millis(), ceil_millis(until), period)
                    }
                    None => Kind::Nothing,
                }
            }
            Trigger::Any(any) => Kind::Any(parts_in(any, from, until)),
            Trigger::Bounded(bounded) if bounded.bounds().not_on.is_none() => {
                return within(bounded, from, until);
            }
            Trigger::Bounded(_) | Trigger::Calendar(_) | Trigger::At(_) | Trigger::All(_) => {
                Kind::Asked(self, before(from), until)
            }
            Trigger::After(_) | Trigger::Reboot | Trigger::Manual => Kind::Nothing,
        })
    }
}

/// The last moment before an instant: what is strictly after it begins with the instant.
fn before(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant
        .checked_sub_signed(TimeDelta::nanoseconds(1))
        .unwrap_or(instant)
}

/// The first whole millisecond that is not before an instant.
fn ceil_millis(instant: DateTime<Utc>) -> i64 {
    let part = instant.timestamp_subsec_nanos() % 1_000_000;
    instant
        .timestamp_millis()
        .saturating_add(i64::from(part > 0))
}

/// The first whole second that is not before an instant.
fn ceil_seconds(instant: DateTime<Utc>) -> i64 {
    let part = instant.timestamp_subsec_nanos();
    instant.timestamp().saturating_add(i64::from(part > 0))
}

fn parts_in(
    any: &Combined,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Vec<Peekable<Instants<'_>>> {
    any.parts()
        .iter()
        .map(|part| part.instants(from, until).peekable())
        .collect()
}

/// The instants of what is bounded, as far as the bounds let them.
fn within(bounded: &Bounded, from: DateTime<Utc>, until: DateTime<Utc>) -> Instants<'_> {
    // By name, so that whoever adds a bound comes by here: one that moves or removes instants, as
    // `not_on` does, has them asked for one by one (`Kind::Asked`).
    let Bounds {
        start,
        end: _,
        max_runs: _, // these two: `last`
        not_on: _,   // not here
        jitter: _,   // of when they are due
        zone: _,
    } = bounded.bounds();
    let from = start.map_or(from, |start| from.max(start));
    let until = match bounded.last() {
        // The last one counts still.
        Some(last) => until.min(
            last.checked_add_signed(TimeDelta::nanoseconds(1))
                .unwrap_or(last),
        ),
        None => until,
    };
    bounded.inner().instants(from, until)
}

impl Iterator for Instants<'_> {
    type Item = DateTime<Utc>;

    fn next(&mut self) -> Option<DateTime<Utc>> {
        match &mut self.0 {
            Kind::Nothing => None,
            Kind::Cron(cron) => cron.next().and_then(|utc| DateTime::from_timestamp(utc, 0)),
            Kind::Interval(next, until, period) => {
                let now = *next;
                if now >= *until {
                    return None;
                }
                *next = now.saturating_add(*period);
                DateTime::from_timestamp_millis(now)
            }
            Kind::Any(parts) => {
                let first = parts.iter_mut().filter_map(|it| it.peek().copied()).min()?;
                for part in parts {
                    part.next_if_eq(&first);
                }
                Some(first)
            }
            Kind::Asked(trigger, after, until) => {
                let next = trigger.next_after(*after).filter(|next| next < until);
                match next {
                    Some(next) => *after = next,
                    None => self.0 = Kind::Nothing,
                }
                next
            }
        }
    }
}

/// The instants of a wall-clock schedule in a stretch of time, in seconds since the epoch.
///
/// Goes from one change of the clock to the next. Between two of them an instant is a matching
/// time of the wall clock that, if the schedule goes by the clock, has not been shown before; and
/// for what a gap skipped there is one more at its end.
#[derive(Debug)]
pub(super) struct WallInstants<'a, T> {
    times: &'a T,
    zone: &'static Transitions,
    pace: Pace,
    /// The number of the segment it is in.
    index: usize,
    offset: i64,
    /// The next matching wall time of the segment.
    wall: Option<i64>,
    /// Where the segment, or the stretch, ends on the wall clock; exclusive.
    end_wall: i64,
    /// The end of a gap that has to be told of first.
    gap_end: Option<i64>,
    /// Exclusive.
    until: i64,
}

impl<'a, T: WallTimes> WallInstants<'a, T> {
    /// From `from` until `until` (exclusive).
    pub(super) fn new(
        times: &'a T,
        zone: Zone,
        pace: Pace,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Self {
        let zone = zone.transitions();
        let from = ceil_seconds(from);
        let mut instants = WallInstants {
            times,
            zone,
            pace,
            index: zone.index_at(from),
            offset: 0,
            wall: None,
            end_wall: i64::MIN,
            gap_end: None,
            until: ceil_seconds(until),
        };
        instants.enter(zone.segment(instants.index), from);
        instants
    }

    /// Goes on in a segment, from an instant in it.
    fn enter(&mut self, segment: Segment, from: i64) {
        self.offset = i64::from(segment.offset);
        let end = self
            .zone
            .get(self.index + 1)
            .map_or(i64::MAX, |next| next.start);
        self.end_wall = segment.wall(end.min(self.until));
        let mut low = segment.wall(from);
        self.gap_end = None;
        if let Pace::Clock(dst) = self.pace {
            let (begin, end) = (segment.reach, segment.start_wall());
            if from == segment.start
                && begin < end
                && is_caught_up(dst, end.saturating_sub(begin))
                && self.times.next_wall(begin).is_some_and(|wall| wall < end)
            {
                self.gap_end = Some(from);
                // Should a time of its own be due just then, it is the same run.
                low = low.saturating_add(1);
            }
            low = low.max(begin);
        }
        self.wall = if low < self.end_wall {
            self.times.next_wall(low)
        } else {
            None
        };
    }

    fn next(&mut self) -> Option<i64> {
        loop {
            if let Some(end) = self.gap_end.take()
                && end < self.until
            {
                return Some(end);
            }
            if let Some(wall) = self.wall
                && wall < self.end_wall
            {
                self.wall = self.times.following_wall(wall);
                return Some(wall - self.offset);
            }
            let next = self.zone.get(self.index + 1)?;
            if next.start >= self.until {
                // Nothing is left, however often it is asked.
                self.wall = None;
                return None;
            }
            self.index += 1;
            self.enter(next, next.start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dst, Reading};
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn second(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// The same by asking for one after the other.
    fn asked(trigger: &Trigger, from: DateTime<Utc>, until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        std::iter::successors(trigger.next_after(before(from)), |last| {
            trigger.next_after(*last)
        })
        .take_while(|instant| *instant < until)
        .collect()
    }

    fn check(trigger: &Trigger, from: DateTime<Utc>, until: DateTime<Utc>) {
        let found: Vec<_> = trigger.instants(from, until).collect();
        assert_eq!(
            found,
            asked(trigger, from, until),
            "{trigger} {from} {until}"
        );
    }

    /// Clocks with every kind of change: an hour, half an hour, a day, backwards in summer, in
    /// Ramadan, offsets with seconds.
    const ZONES: [&str; 9] = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Europe/Dublin",
        "Africa/Casablanca",
        "Africa/Monrovia",
        "Pacific/Kwajalein",
    ];

    fn field(lowest: u32, highest: u32) -> impl Strategy<Value = String> {
        let number = lowest..=highest;
        prop_oneof![
            3 => Just("*".to_owned()),
            1 => (2_u32..8).prop_map(|step| format!("*/{step}")),
            3 => number.clone().prop_map(|one| one.to_string()),
            1 => (number.clone(), number).prop_map(|(a, b)| format!("{},{}", a.min(b), a.max(b))),
        ]
    }

    fn expression() -> impl Strategy<Value = String> {
        (
            prop_oneof![3 => Just(String::new()), 1 => (0_u32..60).prop_map(|s| format!("{s},59 "))],
            field(0, 59),
            field(0, 4),
            field(1, 31),
            field(1, 12),
            field(0, 7),
        )
            .prop_map(|(s, m, h, day, month, weekday)| format!("{s}{m} {h} {day} {month} {weekday}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Against `next_after`, for any expression, in any zone, over any stretch of some days.
        #[test]
        fn a_stretch_of_an_expression(
            text in expression(),
            zone in 0..ZONES.len(),
            skip in any::<bool>(),
            start in 0_i64..4_133_980_800,
            nanos in prop_oneof![Just(0_u32), 1_u32..1_000_000_000],
            length in 0_i64..12 * 86_400,
        ) {
            let reading = Reading {
                zone: Zone::parse(ZONES[zone]).unwrap(),
                dst: if skip { Dst::Skip } else { Dst::RunAfter },
                job: None,
            };
            let trigger = Trigger::parse(&text, reading).unwrap();
            let from = DateTime::from_timestamp(start, nanos).unwrap();
            check(&trigger, from, from + TimeDelta::seconds(length));
        }

        /// Around the changes of the clock, where a stretch may begin or end at any second.
        #[test]
        fn a_stretch_around_a_change(
            text in expression(),
            zone in 1..ZONES.len(),
            change in 0_usize..60,
            before in -7_200_i64..7_200,
            after in -7_200_i64..90_000,
        ) {
            let zone = Zone::parse(ZONES[zone]).unwrap();
            let count = (1..).take_while(|index| zone.transitions().get(*index).is_some()).count();
            let change = zone.transitions().segment(1 + change % count).start;
            let trigger = Trigger::parse(&text, zone).unwrap();
            check(&trigger, second(change - before), second(change + after));
        }

        /// Everything that is not an expression alone.
        #[test]
        fn a_stretch_of_anything_else(
            texts in proptest::collection::vec(expression(), 1..4),
            millis in 1_u64..100_000_000,
            start in 1_700_000_000_000_i64..1_800_000_000_000,
            length in 0_i64..200_000_000,
            first in -200_000_i64..200_000,
            runs in 1_u32..20,
        ) {
            let berlin = Zone::parse("Europe/Berlin").unwrap();
            let from = DateTime::from_timestamp_millis(start).unwrap();
            let until = from + TimeDelta::milliseconds(length);
            let interval = Trigger::every(std::time::Duration::from_millis(millis.max(40_000))).unwrap();
            check(&interval, from, until);
            let mut parts: Vec<Trigger> =
                texts.iter().map(|text| Trigger::parse(text, berlin).unwrap()).collect();
            parts.push(interval);
            let any = Trigger::any(parts.clone()).unwrap();
            check(&any, from, until);
            let bounds = Bounds {
                start: Some(from + TimeDelta::seconds(first)),
                max_runs: Some(runs),
                ..Bounds::default()
            };
            check(&any.within(bounds, "job").unwrap(), from, until);
            check(&Trigger::all(parts).unwrap(), from, until);
        }
    }

    #[test]
    fn the_skipped_and_the_repeated_hour() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let count = |text: &str, from: &str, until: &str| {
            let trigger = Trigger::parse(text, berlin).unwrap();
            check(&trigger, at(from), at(until));
            trigger.instants(at(from), at(until)).count()
        };
        // Once after the gap, though two times are in it and one is its end.
        let spring = ("2027-03-27T23:00:00Z", "2027-03-28T22:00:00Z");
        assert_eq!(count("15,45 2 * * *", spring.0, spring.1), 1);
        assert_eq!(count("30 2,3 * * *", spring.0, spring.1), 2);
        assert_eq!(count("0 2,3 * * *", spring.0, spring.1), 1);
        assert_eq!(count("0 * * * *", spring.0, spring.1), 23);
        let autumn = ("2027-10-30T22:00:00Z", "2027-10-31T23:00:00Z");
        assert_eq!(count("15,45 2 * * *", autumn.0, autumn.1), 2);
        assert_eq!(count("0 * * * *", autumn.0, autumn.1), 25);
    }

    #[test]
    fn the_ends_of_a_stretch() {
        let noon = Trigger::parse("0 12 * * *", Zone::UTC).unwrap();
        let (noon_at, next) = (at("2026-11-22T12:00:00Z"), at("2026-11-23T12:00:00Z"));
        assert_eq!(noon.instants(noon_at, next).collect::<Vec<_>>(), [noon_at]);
        let nano = TimeDelta::nanoseconds(1);
        assert_eq!(
            noon.instants(noon_at + nano, next + nano)
                .collect::<Vec<_>>(),
            [next]
        );
        assert_eq!(noon.instants(next, noon_at).count(), 0);
        assert_eq!(Trigger::Manual.instants(noon_at, next).count(), 0);
        // All of time.
        let (first, last) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
        assert_eq!(noon.instants(first, last).count(), 47_847);
        let mut once = noon.instants(noon_at, next);
        once.next();
        assert_eq!((once.next(), once.next()), (None, None));
    }
}
