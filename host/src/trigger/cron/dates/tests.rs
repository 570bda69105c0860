//! The search against reading every day of the calendar. That the bits of a month mean what they
//! should is held by the properties of the whole trigger.

use chrono::{Datelike, NaiveDate};
use proptest::prelude::*;

use super::*;

fn date(day: i64) -> NaiveDate {
    NaiveDate::from_epoch_days(i32::try_from(day).unwrap()).unwrap()
}

fn day(text: &str) -> i64 {
    let date: NaiveDate = text.parse().unwrap();
    i64::from(date.to_epoch_days())
}

#[test]
fn every_month_has_its_shape() {
    assert_eq!(date(*DAYS.start()).to_string(), "1970-01-01");
    assert_eq!(date(*DAYS.end()).to_string(), "2100-12-31");
    for day in DAYS {
        let date = date(day);
        let month = Month::of(day).unwrap();
        let shape = month.shape();
        assert_eq!(shape.length, u32::from(date.num_days_in_month()), "{date}");
        let weekday = date.weekday().num_days_from_sunday();
        assert_eq!(shape.weekday(date.day()), weekday, "{date}");
        assert_eq!(shape.days_on(1 << weekday) >> date.day() & 1, 1, "{date}");
        assert_eq!(
            shape.days_on(!(1 << weekday) & 0x7f) >> date.day() & 1,
            0,
            "{date}"
        );
        let again = Month::new(month.year, month.number).unwrap();
        assert_eq!(again.first, month.first);
    }
}

/// Few days, so that they are far apart: the bits of each field are those that two or three
/// random sets share.
fn rare() -> impl Strategy<Value = DateRule> {
    let set = || (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(a, b, c)| a & b & c);
    let one = |highest: u32| prop_oneof![3 => Just(0), 1 => (0..=highest).prop_map(|n| 1 << n)];
    let years = prop_oneof![
        3 => Just(Years::ALL),
        1 => prop::collection::vec(YEARS.0..=YEARS.1, 1..40).prop_map(|years| {
            let mut set = Years::NONE;
            for year in years {
                set.insert(year);
            }
            set
        }),
    ];
    (
        (set(), one(30), one(31), prop::bool::weighted(0.1)),
        (set(), prop::array::uniform5(one(6)), one(6)),
        prop_oneof![Just(1 << 2), set()],
        years,
        prop::bool::weighted(0.8),
    )
        .prop_map(|(month_days, weekdays, months, years, both)| {
            let (days, from_last, near, last_workday) = month_days;
            let (on, nth, last) = weekdays;
            DateRule {
                month_days: MonthDays {
                    days: days & ALL_DAYS,
                    from_last,
                    near: near & ALL_DAYS,
                    last_workday,
                },
                weekdays: Weekdays {
                    days: (on & 0x7f) as u8,
                    nth: nth.map(|days| days as u8),
                    last: last as u8,
                },
                months: months as u16 & ALL_MONTHS,
                years,
                both,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn the_search_misses_no_day(rule in rare(), from in DAYS) {
        let dates = Dates::shared(rule);
        let expected: Vec<i64> = DAYS.filter(|day| dates.matches(*day)).collect();
        let ahead = |day| std::iter::successors(dates.next_after(day), |day| dates.next_after(*day));
        prop_assert!(ahead(i64::MIN).eq(expected.iter().copied()));
        prop_assert!(ahead(from).eq(expected.iter().copied().filter(|day| *day > from)));
        let back = |day| {
            std::iter::successors(dates.latest_before(day), |day| dates.latest_before(*day))
        };
        // Beyond the calendar of the crate chrono there is no day at all.
        prop_assert_eq!(dates.latest_before(i64::MIN), None);
        prop_assert!(back(i64::MAX).eq(expected.iter().rev().copied()));
        prop_assert!(back(from).eq(expected.iter().rev().copied().filter(|day| *day < from)));
    }
}

#[test]
fn the_calendar_takes_over_at_the_end_of_a_month() {
    // A Friday the 13th is at most 14 months away: just beyond what is looked at before.
    for (day, weekday) in [1, 13, 28, 31]
        .into_iter()
        .flat_map(|d| (0..7).map(move |w| (d, w)))
    {
        let dates = Dates::shared(DateRule {
            month_days: MonthDays {
                days: 1 << day,
                ..MonthDays::default()
            },
            weekdays: Weekdays {
                days: 1 << weekday,
                ..Weekdays::default()
            },
            months: 0x1ffe,
            years: Years::ALL,
            both: true,
        });
        let expected: Vec<i64> = DAYS.filter(|day| dates.matches(*day)).collect();
        for pair in expected.windows(2).filter(|pair| pair[1] - pair[0] > 365) {
            for day in pair[0]..pair[1] {
                assert_eq!(dates.next_after(day), Some(pair[1]));
                assert_eq!(dates.latest_before(day + 1), Some(pair[0]));
            }
        }
        assert!(dates.schedule.get().is_some());
    }
}

#[test]
fn far_days_are_found_in_the_calendar() {
    let leap_monday = DateRule {
        month_days: MonthDays {
            days: 1 << 29,
            ..MonthDays::default()
        },
        weekdays: Weekdays {
            days: 1 << 1,
            ..Weekdays::default()
        },
        months: 1 << 2,
        years: Years::ALL,
        both: true,
    };
    let dates = Dates::shared(leap_monday);
    assert_eq!(dates.next_after(day("2016-02-29")), Some(day("2044-02-29")));
    assert!(dates.schedule.get().is_some());
    assert_eq!(
        dates.latest_before(day("2072-02-29")),
        Some(day("2044-02-29"))
    );
    assert_eq!(dates.next_after(day("2072-02-29")), None);
    // An ordinary rule has no need of the crate.
    let either = DateRule {
        both: false,
        ..leap_monday
    };
    let dates = Dates::shared(either);
    assert_eq!(dates.next_after(day("2027-02-22")), Some(day("2028-02-07")));
    assert!(dates.schedule.get().is_none());
}

#[test]
fn what_no_day_can_match_is_no_schedule() {
    let rule = DateRule {
        month_days: MonthDays {
            days: 1 << 31,
            near: 1 << 15,
            ..MonthDays::default()
        },
        weekdays: Weekdays {
            days: 1,
            ..Weekdays::default()
        },
        months: 1 << 4 | 1 << 6,
        years: Years::ALL,
        both: true,
    };
    assert!(rule.schedule().is_none());
    assert_eq!(Dates::shared(rule).next_after(0), None);
    let rule = DateRule {
        months: 1 << 4 | 1 << 5,
        ..rule
    };
    // The 31st of May may be a Sunday.
    assert!(rule.schedule().is_some());
    assert_eq!(
        Dates::shared(rule).next_after(day("2020-06-01")),
        Some(day("2026-05-31"))
    );
}
