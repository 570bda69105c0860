//! Examples, and properties against a brute force that moves each firing by itself.

use std::collections::BTreeSet;

use chrono::{Datelike, NaiveDate, Weekday};
use proptest::prelude::*;

use super::*;
use crate::trigger::{Trigger, WallInstant};

/// A trigger in a zone.
#[derive(Debug)]
struct InZone(Trigger, Zone);

impl Inner for InZone {
    fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.next_after(after)
    }

    fn latest_in(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.latest_in(after, until)
    }

    fn zone(&self) -> Zone {
        self.1
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn zone(name: &str) -> Zone {
    Zone::parse(name).unwrap()
}

fn trigger(text: &str, name: &str) -> InZone {
    InZone(Trigger::parse(text, zone(name)).unwrap(), zone(name))
}

fn not_on(days: &[&str], instead: Instead) -> NotOn {
    let mut all = Days::none();
    for day in days {
        all.add(&Days::parse_day(day).unwrap());
    }
    NotOn::new(all, vec!["holidays".to_owned()], instead)
}

/// The first so many firings after an instant, as the wall clock shows them.
fn walls(not_on: &NotOn, inner: &InZone, after: &str, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut from = at(after);
    while found.len() < count {
        let Some(next) = not_on.next_after(inner, from) else {
            break;
        };
        assert!(next > from, "{next} after {from}");
        assert_eq!(
            not_on.latest_in(inner, from, next),
            Some(next),
            "{from} {next}"
        );
        found.push(inner.1.to_wall(next).0.format("%a %F %T").to_string());
        from = next;
    }
    found
}

#[test]
fn excluded_days_are_skipped() {
    let holidays = not_on(&["sat-sun", "12-25/12-26", "2027-01-01"], Instead::Skip);
    assert_eq!(
        walls(
            &holidays,
            &trigger("0 9 * * *", "Europe/Berlin"),
            "2026-12-23T12:00:00Z",
            6
        ),
        [
            "Thu 2026-12-24 09:00:00",
            "Mon 2026-12-28 09:00:00",
            "Tue 2026-12-29 09:00:00",
            "Wed 2026-12-30 09:00:00",
            "Thu 2026-12-31 09:00:00",
            "Mon 2027-01-04 09:00:00",
        ]
    );
    // A trigger that fires all the time goes on with the first instant of the next day.
    assert_eq!(
        walls(
            &holidays,
            &trigger("@every 5s", "Asia/Tokyo"),
            "2026-12-24T14:59:50Z",
            3
        ),
        [
            "Thu 2026-12-24 23:59:55",
            "Mon 2026-12-28 00:00:00",
            "Mon 2026-12-28 00:00:05",
        ]
    );
}

#[test]
fn excluded_days_move_to_the_next_business_day() {
    let holidays = not_on(&["sat", "12-25"], Instead::NextBusinessDay);
    // Friday is Christmas, Saturday is named, and Sunday is not: it stays.
    assert_eq!(
        walls(
            &holidays,
            &trigger("0 9,12 * * *", "America/New_York"),
            "2026-12-24T15:00:00Z",
            6
        ),
        [
            "Thu 2026-12-24 12:00:00",
            "Sun 2026-12-27 09:00:00",
            "Sun 2026-12-27 12:00:00",
            "Mon 2026-12-28 09:00:00",
            "Mon 2026-12-28 12:00:00",
            "Tue 2026-12-29 09:00:00",
        ]
    );
    // Saturday's 23:00 and Sunday's 1:00 both move to Monday, and change places.
    let weekends = not_on(&["sat-sun"], Instead::NextBusinessDay);
    assert_eq!(
        walls(
            &weekends,
            &trigger("0 23,1 * * 6,0", "UTC"),
            "2026-07-03T00:00:00Z",
            4
        ),
        [
            "Mon 2026-07-06 01:00:00",
            "Mon 2026-07-06 23:00:00",
            "Mon 2026-07-13 01:00:00",
            "Mon 2026-07-13 23:00:00",
        ]
    );
    // The first of the month, paid on a business day.
    assert_eq!(
        walls(
            &weekends,
            &trigger("30 8 1 * *", "UTC"),
            "2026-07-31T00:00:00Z",
            3
        ),
        [
            "Mon 2026-08-03 08:30:00",
            "Tue 2026-09-01 08:30:00",
            "Thu 2026-10-01 08:30:00",
        ]
    );
}

#[test]
fn the_clock_of_the_day_it_moves_to_decides() {
    // In Cairo the clock jumps on a Friday, at midnight.
    let thursday = not_on(&["2026-04-23"], Instead::NextBusinessDay);
    assert_eq!(
        walls(
            &thursday,
            &trigger("30 0 23 4 *", "Africa/Cairo"),
            "2026-01-01T00:00:00Z",
            1
        ),
        ["Fri 2026-04-24 01:00:00"]
    );
    // And is set back to Thursday at midnight: an hour of the day before comes again.
    let fold = not_on(&["2026-10-29"], Instead::NextBusinessDay);
    assert_eq!(
        walls(
            &fold,
            &trigger("*/30 23 29 10 *", "Africa/Cairo"),
            "2026-01-01T00:00:00Z",
            3
        ),
        [
            "Fri 2026-10-30 23:00:00",
            "Fri 2026-10-30 23:30:00",
            "Fri 2027-10-29 23:00:00",
        ]
    );
    // What fires in that hour alone, by another clock, moves as well.
    let other_clock = InZone(
        Trigger::parse("30 21 29 10 *", Zone::UTC).unwrap(),
        zone("Africa/Cairo"),
    );
    assert_eq!(
        fold.next_after(&other_clock, at("2026-10-29T21:45:00Z")),
        Some(at("2026-10-30T21:30:00Z"))
    );
    // Moved to the hour that comes twice, it happens in the first of the two.
    let wednesday = not_on(&["2026-10-28"], Instead::NextBusinessDay);
    let late = trigger("15,45 23 28 10 *", "Africa/Cairo");
    assert_eq!(
        wednesday.next_after(&late, at("2026-10-29T20:15:00Z")),
        Some(at("2026-10-29T20:45:00Z"))
    );
    assert_eq!(
        wednesday.next_after(&late, at("2026-10-29T21:20:00Z")),
        Some(at("2027-10-28T20:15:00Z"))
    );
    // Samoa had no Friday in that week.
    let samoa = not_on(&["2011-12-29"], Instead::NextBusinessDay);
    assert_eq!(
        walls(
            &samoa,
            &trigger("0 9 29 12 *", "Pacific/Apia"),
            "2011-12-01T00:00:00Z",
            1
        ),
        ["Mon 2012-01-02 09:00:00"]
    );
}

#[test]
fn a_day_may_begin_twice() {
    // In Newfoundland the clock was set back from a minute past midnight.
    let calendar = not_on(&[], Instead::NextBusinessDay);
    let inner = trigger("0 0 * * *", "America/St_Johns");
    let query = Query::new(&calendar, &inner);
    let sunday = number("2010-11-07".parse().unwrap());
    assert_eq!(
        query.first_shown(sunday),
        at("2010-11-07T02:30:00Z").timestamp()
    );
    assert_eq!(
        query.settled(sunday),
        at("2010-11-07T03:30:00Z").timestamp()
    );
}

#[test]
fn calendars_without_a_day_and_without_a_gap() {
    for instead in [Instead::Skip, Instead::NextBusinessDay] {
        let never = not_on(&["mon-sun"], instead);
        let always = not_on(&[], instead);
        for (text, name) in [
            ("* * * * * *", "Africa/Casablanca"),
            ("@every 1ms", "UTC"),
            ("0 0 29 2 *", "Asia/Gaza"),
        ] {
            let inner = trigger(text, name);
            for from in [
                DateTime::<Utc>::MIN_UTC,
                at("1970-01-01T00:00:00Z"),
                at("2026-01-01T00:00:00Z"),
                at("2100-12-31T23:59:59Z"),
                DateTime::<Utc>::MAX_UTC,
            ] {
                assert_eq!(never.next_after(&inner, from), None);
                assert_eq!(
                    never.latest_in(&inner, from, DateTime::<Utc>::MAX_UTC),
                    None
                );
                assert_eq!(
                    never.latest_in(&inner, DateTime::<Utc>::MIN_UTC, from),
                    None
                );
            }
            let from = at("2026-07-01T12:34:56.789Z");
            assert_eq!(always.next_after(&inner, from), inner.next_after(from));
            assert_eq!(
                always.latest_in(&inner, at("2000-01-01T00:00:00Z"), from),
                inner.latest_in(at("2000-01-01T00:00:00Z"), from)
            );
        }
        // The calendar begins and ends where the days do.
        let inner = trigger("@every 1h", "UTC");
        assert_eq!(
            always.next_after(&inner, DateTime::<Utc>::MIN_UTC),
            Some(at("1970-01-01T00:00:00Z"))
        );
        assert_eq!(
            always.latest_in(&inner, DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC),
            Some(at("2100-12-31T23:00:00Z"))
        );
        assert_eq!(always.next_after(&inner, at("2100-12-31T23:00:00Z")), None);
        assert_eq!(
            always.latest_in(&inner, at("2101-01-01T00:00:00Z"), DateTime::<Utc>::MAX_UTC),
            None
        );
    }
}

#[test]
fn a_firing_may_wait_for_years() {
    let long = not_on(
        &["2000-01-01/2049-12-31", "sat-sun"],
        Instead::NextBusinessDay,
    );
    assert_eq!(
        walls(
            &long,
            &trigger("0 12 4 7 *", "UTC"),
            "2000-01-01T00:00:00Z",
            2
        ),
        ["Mon 2050-01-03 12:00:00", "Mon 2050-07-04 12:00:00"]
    );
    assert_eq!(
        long.latest_in(
            &trigger("0 12 4 7 *", "UTC"),
            at("1999-12-01T00:00:00Z"),
            at("2050-01-03T11:59:59Z")
        ),
        None
    );
}

#[test]
fn it_says_what_it_does() {
    let mut both = not_on(&["sat"], Instead::Skip);
    assert_eq!(both.to_string(), "not on holidays");
    both = NotOn::new(
        both.days().clone(),
        vec!["holidays".to_owned(), "closing".to_owned()],
        Instead::NextBusinessDay,
    );
    assert_eq!(
        both.to_string(),
        "not on holidays and closing but on the next business day"
    );
}

/// Where a firing happens, moved day by day.
fn moved(
    instant: DateTime<Utc>,
    zone: Zone,
    excluded: &BTreeSet<NaiveDate>,
    instead: Instead,
) -> Option<DateTime<Utc>> {
    let wall = zone.to_wall(instant).0;
    if !excluded.contains(&wall.date()) {
        return Some(instant);
    }
    if instead == Instead::Skip {
        return None;
    }
    let mut date = wall.date();
    loop {
        date = date.succ_opt()?;
        let skipped = (0..24).all(|hour| {
            let wall = date.and_hms_opt(hour, 30, 0).unwrap();
            matches!(zone.from_wall(wall), WallInstant::Gap { .. })
        });
        if !matches!(date.weekday(), Weekday::Sat | Weekday::Sun)
            && !excluded.contains(&date)
            && !skipped
        {
            break;
        }
    }
    Some(match zone.from_wall(date.and_time(wall.time())) {
        WallInstant::One(instant) => instant,
        WallInstant::Gap { end, .. } => end,
        WallInstant::Fold { first, .. } => first,
    })
}

/// A zone, the beginning of two months, and a second of them in which its clock is set, if it
/// ever is.
fn zone_and_time() -> impl Strategy<Value = (Zone, DateTime<Utc>, i64)> {
    // Whose clocks are set at midnight, by half an hour, by a day, often, or never.
    let zones = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Africa/Cairo",
        "Asia/Gaza",
        "America/Havana",
        "America/St_Johns",
        "America/Asuncion",
        "America/Sao_Paulo",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "Asia/Pyongyang",
        "Atlantic/Azores",
        "Pacific/Apia",
        "Pacific/Kwajalein",
        "Antarctica/Casey",
        "Asia/Kathmandu",
    ];
    (
        prop::sample::select(zones.to_vec()),
        any::<prop::sample::Index>(),
        0_i64..60 * DAY,
        any::<bool>(),
    )
        .prop_map(|(name, index, back, at_change)| {
            let zone = zone(name);
            let table = zone.transitions();
            let changes = table.index_at(4_102_444_800);
            let second = if at_change && changes > 0 {
                table.segment(1 + index.index(changes)).start
            } else {
                index.index(4_000_000_000) as i64
            };
            (
                zone,
                DateTime::from_timestamp(second - back, 0).unwrap(),
                second,
            )
        })
}

fn expressions() -> impl Strategy<Value = String> {
    let minute = prop_oneof![
        Just("*/30"),
        Just("0"),
        Just("15,59"),
        Just("*"),
        Just("30 15")
    ];
    let hour = prop_oneof![
        Just("*"),
        Just("0"),
        Just("23"),
        Just("0-2"),
        Just("9,17"),
        Just("1,23"),
        Just("*/5")
    ];
    let days = prop_oneof![
        4 => Just("* * *"),
        1 => Just("* * 6,0"),
        1 => Just("1 * *"),
        1 => Just("*/9 * *"),
        1 => Just("* * 1-5"),
        1 => Just("31 12 *"),
    ];
    prop_oneof![
        6 => (minute, hour, days).prop_map(|(minute, hour, days)| format!("{minute} {hour} {days}")),
        1 => (1_u32..5_000).prop_map(|minutes| format!("@every {minutes}m")),
        1 => Just("@every 45296789ms".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_brute_force_agrees(
        (zone, begin, change) in zone_and_time(),
        text in expressions(),
        weekdays in prop_oneof![Just(vec![]), Just(vec![5, 6]), Just(vec![4, 5]), prop::collection::vec(0_u32..7, 0..4)],
        stretches in prop::collection::vec((-30_i64..70, 0_i64..12), 0..6),
        near in prop::collection::vec(-3_i64..2, 0..3),
        near_probes in prop::collection::vec((-4 * 3_600_000_i64..28 * 3_600_000, 0_i64..2 * DAY * 1000), 12),
        probes in prop::collection::vec((0_i64..60 * DAY * 1000, 0_i64..20 * DAY * 1000), 12),
        instead in prop_oneof![1 => Just(Instead::Skip), 3 => Just(Instead::NextBusinessDay)],
    ) {
        // The days, as a plain set; far from the two months that are looked at, none matters.
        let first = number(begin.date_naive());
        // A calendar knows no day before 1970 or after 2100.
        prop_assume!(first > 200 && first + 200 < LAST_DAY);
        let mut excluded = BTreeSet::new();
        for day in first - 200..first + 200 {
            let date = date(day).unwrap();
            let of_week = date.weekday().num_days_from_monday();
            if weekdays.contains(&of_week) || stretches.iter().any(|(start, length)| (*start..=start + length).contains(&(day - first))) {
                excluded.insert(date);
            }
        }
        // Days around the change of the clock, so that firings move to it and from it.
        excluded.extend(near.iter().filter_map(|day| date(change.div_euclid(DAY) + day)));
        let mut days = Days::none();
        for date in &excluded {
            days.insert(number(*date), number(*date));
        }
        let not_on = NotOn::new(days, Vec::new(), instead);
        let inner = InZone(Trigger::parse(&text, zone).unwrap(), zone);

        let end = begin + TimeDelta::days(60);
        let mut firings = BTreeSet::new();
        let mut from = begin - TimeDelta::days(150);
        while let Some(next) = inner.next_after(from) {
            if next > end + TimeDelta::days(2) {
                break;
            }
            firings.extend(moved(next, zone, &excluded, instead));
            from = next;
        }

        let expected: Vec<_> = firings.range(begin..=end).copied().collect();
        let mut found = Vec::new();
        let mut from = begin - TimeDelta::nanoseconds(1);
        while let Some(next) = not_on.next_after(&inner, from) {
            prop_assert!(next > from);
            if next > end || found.len() > 3_000 {
                break;
            }
            found.push(next);
            from = next;
        }
        let shown = expected.get(..found.len().min(expected.len())).unwrap();
        prop_assert_eq!(&found, shown);
        prop_assert!(found.len() == expected.len() || found.len() > 3_000);

        let near_probes = near_probes
            .into_iter()
            .map(|(start, length)| (start + 1000 * (change - begin.timestamp()), length));
        for (start, length) in probes.into_iter().chain(near_probes) {
            let after = (begin + TimeDelta::milliseconds(start)).clamp(begin, end);
            let until = (after + TimeDelta::milliseconds(length)).min(end);
            let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Included(end));
            let next = firings.range(range).next().copied();
            prop_assert_eq!(not_on.next_after(&inner, after).filter(|next| *next <= end), next);
            if until > after {
                let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Included(until));
                let latest = firings.range(range).next_back().copied();
                prop_assert_eq!(not_on.latest_in(&inner, after, until), latest);
            }
        }
    }
}

/// So what moves to a later day moves to a later instant.
#[test]
fn no_clock_is_set_back_by_a_day() {
    for zone in Zone::all() {
        let table = zone.transitions();
        for index in 1.. {
            let Some(segment) = table.get(index) else {
                break;
            };
            let before = table.segment(index - 1);
            assert!(before.offset - segment.offset < 20 * 3600, "{zone}");
        }
    }
}
