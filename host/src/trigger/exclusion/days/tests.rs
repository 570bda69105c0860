use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn days(text: &str) -> Days {
    Days::parse_day(text).unwrap()
}

fn refused(text: &str) -> (String, Option<String>, Range<usize>) {
    let error = Days::parse_day(text).unwrap_err();
    assert_eq!(error.label, FORM);
    (error.message, error.hint, error.span)
}

#[test]
fn the_range_of_years_is_all_there_is() {
    assert_eq!(number(day("2100-12-31")), LAST_DAY);
    assert_eq!(WORDS as i64, LAST_DAY / 64 + 1);
    let all = days("mon-sun");
    assert_eq!(all.len() as i64, LAST_DAY + 1);
    assert_eq!(all.next(0, false), None);
    assert_eq!(all.latest(LAST_DAY, false), None);
    assert!(!all.has(-1) && !all.has(LAST_DAY + 1) && !all.has(i64::MAX) && !all.has(i64::MIN));
    assert_eq!(Days::none().next(i64::MAX, false), None);
    assert_eq!(Days::none().latest(i64::MIN, false), None);
    assert_eq!(Days::none().latest(i64::MAX, false), Some(LAST_DAY));
}

#[test]
fn dates_ranges_yearly_days_and_weekdays() {
    assert_eq!(format!("{:?}", days(" 2026-12-25 ")), "Days(1: 2026-12-25)");
    assert_eq!(
        format!("{:?}", days("2026-12-24/2027-01-01")),
        "Days(9: 2026-12-24/2027-01-01)"
    );
    let boxing = days("12-26");
    assert_eq!(boxing.len(), 131);
    assert_eq!(boxing.first(), Some(day("1970-12-26")));
    assert_eq!(boxing.last(), Some(day("2100-12-26")));
    assert_eq!(days("02-29").len(), 32);
    assert_eq!(days("02-28/03-01").len(), 131 * 2 + 32);
    assert_eq!(days("12-31/01-01").len(), 131 * 2);
    assert_eq!(days("01-01/12-31"), days("mon-sun"));
    for text in ["sat", "SAT", "Saturday", "saturday-sat"] {
        assert!(days(text).contains(day("2026-07-04")), "{text}");
        assert!(!days(text).contains(day("2026-07-05")), "{text}");
    }
    let long = days("fri-mon");
    for (date, expected) in [
        ("2026-07-02", false),
        ("2026-07-03", true),
        ("2026-07-06", true),
        ("2026-07-07", false),
    ] {
        assert_eq!(long.contains(day(date)), expected, "{date}");
    }
    let mut both = days("12-26");
    both.add(&days("sun"));
    assert!(both.contains(day("2028-12-26")) && both.contains(day("2026-07-05")));
    assert_eq!(
        format!("{:?}", days("01-01")),
        "Days(131: 1970-01-01, 1971-01-01, 1972-01-01, 1973-01-01, 1974-01-01, …)"
    );
}

#[test]
fn what_is_no_day_says_what_one_is() {
    for (text, message, hint, span) in [
        ("", "the day is empty", None, 0..0),
        ("2026-02-30", "February 2026 has no day 30", None, 0..10),
        ("02-30", "February has no day 30", None, 0..5),
        (
            "25-12",
            "there is no month 25",
            Some("the month comes first: `12-25`"),
            0..5,
        ),
        (
            "1969-12-31",
            "the year 1969 is not one of 1970 to 2100",
            None,
            0..10,
        ),
        (
            " 2027-01-01/2026-12-24",
            "the range ends before it begins: 2027-01-01 is after 2026-12-24",
            Some("write `2026-12-24/2027-01-01`"),
            1..22,
        ),
        (
            "2026-12-24/2026-12-32",
            "December 2026 has no day 32",
            None,
            11..21,
        ),
        (
            "24.12.2026",
            "`24.12.2026` is not a day",
            Some("write `2026-12-24`"),
            0..10,
        ),
        ("12/25", "`12` is not a day", Some("write `12-25`"), 0..2),
        (
            "12/25/2026",
            "`12` is not a day",
            Some("write `2026-12-25`"),
            0..2,
        ),
        (
            "20261225",
            "`20261225` is not a day",
            Some("write `2026-12-25`"),
            0..8,
        ),
        (
            "2026-12",
            "`2026-12` is not a day",
            Some("write `2026-12-01/2026-12-31`"),
            0..7,
        ),
        (
            "12-24/2026-12-26",
            "one end of the range has a year and the other has none",
            Some("write both as dates, such as `2026-12-24/2027-01-01`, or both without a year"),
            0..16,
        ),
        (
            "saturdya",
            "`saturdya` is not a weekday",
            Some("did you mean `saturday`?"),
            0..8,
        ),
        (
            "sat-sunn",
            "`sunn` is not a weekday",
            Some("did you mean `sun`?"),
            4..8,
        ),
        (
            "weekend",
            "`weekend` is not a weekday",
            Some("write `sat-sun`, or the weekend as it is where you are"),
            0..7,
        ),
    ] {
        let expected = (message.to_owned(), hint.map(str::to_owned), span);
        assert_eq!(refused(text), expected, "{text:?}");
    }
    assert!(refused(&"9".repeat(100_000)).0.len() < 200);
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "(?s).{0,30}") {
        let _ = Days::parse_day(&text).map_err(|error| {
            assert!(text.get(error.span).is_some());
        });
    }

    #[test]
    fn almost_a_day(text in "[0-9]{1,5}[-/. ]?[0-9]{0,3}[-/.]?[0-9]{0,5}[/-]?[0-9a-z-]{0,10}") {
        let _ = Days::parse_day(&text).map_err(|error| {
            assert!(text.get(error.span).is_some());
            // A hint that shows how to write it is one that can be read.
            let hint = error.hint.as_deref().and_then(|hint| hint.split('`').nth(1));
            if let Some(hint) = hint {
                assert!(Days::parse_day(hint).is_ok(), "{}", hint);
            }
        });
    }

    /// Against a plain set of numbers.
    #[test]
    fn a_set_of_days_is_a_set(ranges in prop::collection::vec((-100_i64..48_000, 0_i64..200), 0..20), probes in prop::collection::vec(-70_i64..48_000, 20)) {
        let mut days = Days::none();
        let mut plain = BTreeSet::new();
        for (first, length) in ranges {
            days.insert(first, first + length);
            plain.extend((first..=first + length).filter(|day| (0..=LAST_DAY).contains(day)));
        }
        prop_assert_eq!(days.len(), plain.len());
        for probe in probes {
            prop_assert_eq!(days.has(probe), plain.contains(&probe));
            prop_assert_eq!(days.next(probe, true), plain.range(probe..).next().copied());
            prop_assert_eq!(days.latest(probe, true), plain.range(..=probe).next_back().copied());
            prop_assert_eq!(days.next(probe, false), (probe.max(0)..=LAST_DAY).find(|day| !plain.contains(day)));
            prop_assert_eq!(days.latest(probe, false), (0..=probe.min(LAST_DAY)).rev().find(|day| !plain.contains(day)));
        }
    }
}
