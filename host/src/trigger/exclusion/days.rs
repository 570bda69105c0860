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
    let valid = |year, month, day| {
        let year = i32::try_from(year)
            .ok()
            .filter(|year| YEARS.contains(year))?;
        NaiveDate::from_ymd_opt(year, month, day).map(drop)
    };
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
mod tests;
