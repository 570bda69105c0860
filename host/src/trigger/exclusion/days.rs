//! Sets of days, and the words that people write for them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use chrono::{Datelike, NaiveDate, Weekday};

use crate::suggest;
use crate::trigger::TriggerError;

/// The last day that a set can hold, 2100-12-31, in days since 1970-01-01; the first is 0.
pub(in crate::trigger) const LAST_DAY: i64 = 47_846;

/// The years that a set can hold.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=2100;

const WORDS: usize = 748; // LAST_DAY / 64 + 1

/// What may be said of a day's form, wherever one is refused.
const FORM: &str = "a day is a date (2026-12-25), a range of dates (2026-12-24/2027-01-01), \
                    a day of every year (12-26) or a weekday (sat)";

const WEEKDAYS: [(&str, &str, Weekday); 7] = [
    ("mon", "monday", Weekday::Mon),
    ("tue", "tuesday", Weekday::Tue),
    ("wed", "wednesday", Weekday::Wed),
    ("thu", "thursday", Weekday::Thu),
    ("fri", "friday", Weekday::Fri),
    ("sat", "saturday", Weekday::Sat),
    ("sun", "sunday", Weekday::Sun),
];

/// A set of days of the years 1970 to 2100, without a time zone. A copy is cheap.
///
/// A bit for each day: whether a day is in the set, and which day is the next that is not, is
/// told at once, however the set came about.
///
/// ```
/// use quarterjack::trigger::Days;
/// let mut days = Days::parse_day("12-24/12-26")?;
/// days.add(&Days::parse_day("sunday")?);
/// assert!(days.contains("2030-12-25".parse().unwrap()));
/// assert!(days.contains("2026-07-05".parse().unwrap()));
/// assert!(!days.contains("2026-07-06".parse().unwrap()));
/// # Ok::<(), quarterjack::trigger::TriggerError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Days {
    words: Arc<[u64]>,
}

impl Days {
    /// The set without a day.
    pub fn none() -> Days {
        Days {
            words: Arc::new([0; WORDS]),
        }
    }

    /// Reads what a person writes for one day or several: a date `2026-12-25`; the dates from one
    /// to another, both included, `2026-12-24/2027-01-01`; a day of every year `12-26`, or several
    /// `12-24/01-02`; a weekday `sat` or `Saturday`, or several `sat-sun`. 29 February is a day of
    /// the years that have it.
    ///
    /// # Errors
    /// What is wrong with the text, where, and what may stand there.
    pub fn parse_day(text: &str) -> Result<Days, TriggerError> {
        let mut days = Days::none();
        let start = text.len() - text.trim_ascii_start().len();
        let body = text.trim_ascii();
        let piece = Piece { text: body, start };
        if body.is_empty() {
            return Err(piece.refuse("the day is empty", None));
        }
        if body.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let (from, to) = piece.weekdays()?;
            days.insert_where(|date| {
                from.days_since(date.weekday()) == 0
                    || date.weekday().days_since(from) <= to.days_since(from)
            });
            return Ok(days);
        }
        let (first, last) = match body.split_once('/') {
            None => (piece.day(&piece)?, None),
            Some((first, last)) => {
                let first = Piece { text: first, start };
                let last = Piece {
                    text: last,
                    start: start + body.len() - last.len(),
                };
                (first.day(&piece)?, Some(last.day(&piece)?))
            }
        };
        match (first, last.unwrap_or(first)) {
            (Written::Date(first), Written::Date(last)) => {
                if last < first {
                    return Err(piece.refuse(
                        &format!("the range ends before it begins: {first} is after {last}"),
                        Some(format!("write `{last}/{first}`")),
                    ));
                }
                days.insert(number(first), number(last));
            }
            (Written::Yearly(first), Written::Yearly(last)) => days.insert_where(|date| {
                let day = (date.month(), date.day());
                if first <= last {
                    (first..=last).contains(&day)
                } else {
                    day >= first || day <= last // over New Year
                }
            }),
            _ => {
                return Err(piece.refuse(
                    "one end of the range has a year and the other has none",
                    Some("write both as dates, such as `2026-12-24/2027-01-01`, or both without a year".to_owned()),
                ));
            }
        }
        Ok(days)
    }

    /// Whether a date is in the set.
    pub fn contains(&self, date: NaiveDate) -> bool {
        self.has(number(date))
    }

    /// Adds the days of another set.
    pub fn add(&mut self, other: &Days) {
        for (word, more) in Arc::make_mut(&mut self.words)
            .iter_mut()
            .zip(other.words.iter())
        {
            *word |= more;
        }
    }

    /// How many days are in the set.
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Whether no day is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The first day of the set. With `last`, tells a calendar that ended years ago.
    pub fn first(&self) -> Option<NaiveDate> {
        self.next(0, true).and_then(date)
    }

    /// The last day of the set.
    pub fn last(&self) -> Option<NaiveDate> {
        self.latest(LAST_DAY, true).and_then(date)
    }

    /// Adds the days `first` to `last`, both included, in days since 1970; those outside 1970 to
    /// 2100 are left out.
    pub(in crate::trigger) fn insert(&mut self, first: i64, last: i64) {
        let (first, last) = (first.max(0), last.min(LAST_DAY));
        if first > last {
            return;
        }
        let (begin, end) = (first / 64, last / 64);
        let words = Arc::make_mut(&mut self.words);
        for index in begin..=end {
            let mut mask = u64::MAX;
            if index == begin {
                mask &= u64::MAX << (first % 64);
            }
            if index == end {
                mask &= u64::MAX >> (63 - last % 64);
            }
            if let Some(word) = usize::try_from(index).ok().and_then(|at| words.get_mut(at)) {
                *word |= mask;
            }
        }
    }

    /// Adds the days that a rule names.
    fn insert_where(&mut self, rule: impl Fn(NaiveDate) -> bool) {
        let Some(start) = date(0) else { return };
        for (day, date) in (0..=LAST_DAY).zip(start.iter_days()) {
            if rule(date) {
                self.insert(day, day);
            }
        }
    }

    /// The days from Monday to Friday that are not in the set.
    pub(super) fn business_days(&self) -> Days {
        let mut days = Days::none();
        days.insert_where(|date| date.weekday().num_days_from_monday() < 5 && !self.contains(date));
        days
    }

    fn word(&self, index: i64) -> Option<u64> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.words.get(index).copied())
    }

    /// Whether a day, in days since 1970, is in the set.
    pub(in crate::trigger) fn has(&self, day: i64) -> bool {
        self.word(day.div_euclid(64))
            .is_some_and(|word| word >> day.rem_euclid(64) & 1 == 1)
    }

    /// The first day from `from` on that is in the set or, if not `member`, is not; None if there
    /// is none up to the end of 2100.
    pub(super) fn next(&self, from: i64, member: bool) -> Option<i64> {
        let from = from.max(0);
        let mut mask = u64::MAX << (from % 64);
        (from / 64..=LAST_DAY / 64).find_map(|index| {
            let word = self.word(index)?;
            let found = if member { word } else { !word } & std::mem::replace(&mut mask, u64::MAX);
            let day = index * 64 + i64::from(found.trailing_zeros());
            (found != 0 && day <= LAST_DAY).then_some(day)
        })
    }

    /// The latest day up to and with `to` that is in the set or, if not `member`, is not; None if
    /// there is none from the beginning of 1970 on.
    pub(super) fn latest(&self, to: i64, member: bool) -> Option<i64> {
        let to = to.min(LAST_DAY);
        if to < 0 {
            return None;
        }
        let mut mask = u64::MAX >> (63 - to % 64);
        (0..=to / 64).rev().find_map(|index| {
            let word = self.word(index)?;
            let found = if member { word } else { !word } & std::mem::replace(&mut mask, u64::MAX);
            (found != 0).then(|| index * 64 + 63 - i64::from(found.leading_zeros()))
        })
    }
}

/// The number of days, and the first stretches of them.
impl fmt::Debug for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        write!(f, "Days({}", self.len())?;
        let mut from = 0;
        for count in 0.. {
            let Some(first) = self.next(from, true) else {
                break;
            };
            let last = self.next(first, false).unwrap_or(LAST_DAY + 1) - 1;
            from = last + 1;
            f.write_str(if count == 0 { ": " } else { ", " })?;
            if count == SHOWN {
                f.write_str("…")?;
                break;
            }
            match (date(first), date(last)) {
                (Some(first), Some(last)) if first != last => write!(f, "{first}/{last}")?,
                (Some(first), _) => write!(f, "{first}")?,
                _ => {}
            }
        }
        f.write_str(")")
    }
}

/// A date in days since 1970-01-01.
pub(in crate::trigger) fn number(date: NaiveDate) -> i64 {
    i64::from(date.to_epoch_days())
}

/// The date that lies so many days after 1970-01-01.
pub(in crate::trigger) fn date(number: i64) -> Option<NaiveDate> {
    i32::try_from(number)
        .ok()
        .and_then(NaiveDate::from_epoch_days)
}

/// A day as it was written.
#[derive(Clone, Copy)]
enum Written {
    Date(NaiveDate),
    /// A month and a day in it.
    Yearly((u32, u32)),
}

/// A part of the text, and where it begins.
struct Piece<'a> {
    text: &'a str,
    start: usize,
}

impl Piece<'_> {
    fn span(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    fn refuse(&self, message: &str, hint: Option<String>) -> TriggerError {
        TriggerError {
            message: message.to_owned(),
            label: FORM.to_owned(),
            hint,
            span: self.span(),
        }
    }

    /// A date or a day of every year; `whole` is the text it is a part of.
    fn day(&self, whole: &Piece<'_>) -> Result<Written, TriggerError> {
        let numbers: Option<Vec<u32>> = self.text.split('-').map(digits).collect();
        let lengths: Vec<usize> = self.text.split('-').map(str::len).collect();
        match (numbers.as_deref(), lengths.as_slice()) {
            (Some(&[year, month, day]), [4, 2, 2]) => {
                let year = i32::try_from(year).unwrap_or_default();
                if !YEARS.contains(&year) {
                    return Err(
                        self.refuse(&format!("the year {year} is not one of 1970 to 2100"), None)
                    );
                }
                NaiveDate::from_ymd_opt(year, month, day)
                    .map(Written::Date)
                    .ok_or_else(|| self.impossible(Some(year), month, day))
            }
            // A leap year has every day.
            (Some(&[month, day]), [2, 2]) => match NaiveDate::from_ymd_opt(2000, month, day) {
                Some(_) => Ok(Written::Yearly((month, day))),
                None => Err(self.impossible(None, month, day)),
            },
            _ => Err(self.refuse(
                &format!("`{}` is not a day", shorten(self.text)),
                guess(whole.text),
            )),
        }
    }

    fn impossible(&self, year: Option<i32>, month: u32, day: u32) -> TriggerError {
        let of_year = year.map_or_else(String::new, |year| format!(" {year}"));
        let (message, hint) = match month {
            13..=31 if (1..=12).contains(&day) => (
                format!("there is no month {month}"),
                Some(format!(
                    "the month comes first: `{}{day:02}-{month:02}`",
                    year.map_or_else(String::new, |year| format!("{year}-"))
                )),
            ),
            1..=12 => (
                format!("{}{of_year} has no day {day}", month_name(month)),
                None,
            ),
            _ => (format!("there is no month {month}"), None),
        };
        self.refuse(&message, hint)
    }

    /// The first and the last of the weekdays that the text names.
    fn weekdays(&self) -> Result<(Weekday, Weekday), TriggerError> {
        let (first, last) = self.text.split_once('-').unwrap_or((self.text, self.text));
        let weekday = |text: &str, start: usize| {
            WEEKDAYS
                .iter()
                .find(|(short, long, _)| {
                    text.eq_ignore_ascii_case(short) || text.eq_ignore_ascii_case(long)
                })
                .map(|(_, _, weekday)| *weekday)
                .ok_or_else(|| {
                    let near = suggest::nearest(
                        text,
                        WEEKDAYS.iter().flat_map(|(short, long, _)| [*short, *long]),
                    );
                    let hint = if text.to_ascii_lowercase().starts_with("weekend") {
                        Some("write `sat-sun`, or the weekend as it is where you are".to_owned())
                    } else {
                        near.map(|near| format!("did you mean `{near}`?"))
                    };
                    Piece { text, start }
                        .refuse(&format!("`{}` is not a weekday", shorten(text)), hint)
                })
        };
        let last_start = self.start + self.text.len() - last.len();
        Ok((weekday(first, self.start)?, weekday(last, last_start)?))
    }
}

fn digits(text: &str) -> Option<u32> {
    let all = text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// What a text that is no day was meant for, if that can be told.
fn guess(text: &str) -> Option<String> {
    let numbers: Option<Vec<u32>> = text
        .split(['.', '/', '-', ' '])
        .filter(|part| !part.is_empty())
        .map(digits)
        .collect();
    let valid =
        |year, month, day| NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day).map(drop);
    let hint = match *numbers.as_deref()? {
        [whole] if text.len() == 8 => {
            let (year, month, day) = (whole / 10_000, whole / 100 % 100, whole % 100);
            valid(year, month, day)?;
            format!("{year:04}-{month:02}-{day:02}")
        }
        [year, month, day] if year > 999 => {
            valid(year, month, day)?;
            format!("{year:04}-{month:02}-{day:02}")
        }
        // 5/6/2026 is in May here and in June there: nobody but the writer knows.
        [day, month, year] if year > 999 && (day > 12 || text.contains('.')) => {
            valid(year, month, day)?;
            format!("{year:04}-{month:02}-{day:02}")
        }
        [month, day, year] if year > 999 && day > 12 => {
            valid(year, month, day)?;
            format!("{year:04}-{month:02}-{day:02}")
        }
        [year, month] if year > 999 && month <= 12 => {
            valid(year, month, 1)?;
            let next = NaiveDate::from_ymd_opt(
                i32::try_from(year).ok()? + i32::from(month == 12),
                month % 12 + 1,
                1,
            )?;
            format!("{year:04}-{month:02}-01/{}", next.pred_opt()?)
        }
        [month, day] if text.contains('.') && day <= 12 => {
            valid(2000, day, month)?;
            format!("{day:02}-{month:02}")
        }
        [month, day] => {
            valid(2000, month, day)?;
            format!("{month:02}-{day:02}")
        }
        _ => return None,
    };
    Some(format!("write `{hint}`"))
}

/// So much of a text as fits into a message.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 40;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

fn month_name(month: u32) -> &'static str {
    u8::try_from(month)
        .ok()
        .and_then(|month| chrono::Month::try_from(month).ok())
        .map_or("the month", |month| month.name())
}

#[cfg(test)]
mod tests {
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
                Some(
                    "write both as dates, such as `2026-12-24/2027-01-01`, or both without a year",
                ),
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
                    let year: Option<i32> = hint.get(..4).and_then(|year| year.parse().ok());
                    assert!(year.is_some_and(|year| !YEARS.contains(&year)) || Days::parse_day(hint).is_ok(), "{}", hint);
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
}
