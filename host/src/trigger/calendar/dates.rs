//! The days that a calendar schedule matches.
//!
//! A month's days are a bit set, made from its length and its first weekday. A search goes from
//! one counted period to the next and never past the last day that matches, which is known from
//! the start; so it ends at once for a schedule that never fires, and looks at few months for any
//! other.

use chrono::{Datelike, NaiveDate};

/// The years that schedules can match, first and last.
pub(super) const YEARS: (i32, i32) = (1970, 2100);
/// The last day of [`YEARS`], counted from 1970-01-01, which is day 0.
const LAST_DAY: i64 = 47_846;
/// The months of [`YEARS`], counted from January 1970.
const MONTHS: i64 = 131 * 12;
/// Monday to Friday; bit 0 is Monday.
pub(super) const WORKDAYS: u8 = 0x1f;
/// The whole week.
pub(super) const WEEK: u8 = 0x7f;

/// What periods are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Day,
    Week,
    Month,
    Year,
}

/// The days of one period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    /// A period of days: its first.
    Day,
    /// Weekdays; bit 0 is Monday, and at least one is set.
    Week(u8),
    Month(MonthDays),
    /// Months 1 to 12, in order, each once, with their days; at least one.
    Year(Box<[(u32, MonthDays)]>),
}

/// Days of a month, each set of them by the way it is written. Weekdays: bit 0 is Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct MonthDays {
    /// Bits 1 to 31.
    pub(super) days: u32,
    /// Bit k: k days before the last of the month; 0 to 30.
    pub(super) from_last: u32,
    /// The weekdays whose first to fifth one counts.
    pub(super) nth: [u8; 5],
    /// The weekdays whose last one counts.
    pub(super) last: u8,
    /// Bit n: the n-th day that is Monday to Friday; 1 to 23.
    pub(super) workdays: u32,
    /// The last day that is Monday to Friday.
    pub(super) last_workday: bool,
}

/// The matching days of all time, counted from 1970-01-01.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Days {
    pub(super) pattern: Pattern,
    /// Of so many periods, one counts; at least 1.
    pub(super) every: i64,
    /// The number of the first period from 1970 on that counts; below `every`.
    phase: i64,
    /// The first and the last day that match; None: there is none.
    ends: Option<(i64, i64)>,
}

/// A month of the calendar.
struct Month {
    /// Its first day, counted from 1970-01-01.
    start: i64,
    length: u32,
    /// The weekday of its first day; 0 is Monday.
    weekday: u32,
}

impl Pattern {
    pub(super) fn unit(&self) -> Unit {
        match self {
            Pattern::Day => Unit::Day,
            Pattern::Week(_) => Unit::Week,
            Pattern::Month(_) => Unit::Month,
            Pattern::Year(_) => Unit::Year,
        }
    }
}

impl MonthDays {
    /// A day by its number, 1 to 31.
    pub(super) fn day(day: u32) -> MonthDays {
        MonthDays {
            days: 1 << day,
            ..MonthDays::default()
        }
    }

    pub(super) fn add(&mut self, other: MonthDays) {
        self.days |= other.days;
        self.from_last |= other.from_last;
        for (own, others) in self.nth.iter_mut().zip(other.nth) {
            *own |= others;
        }
        self.last |= other.last;
        self.workdays |= other.workdays;
        self.last_workday |= other.last_workday;
    }

    /// The number of its only day, if that is all there is.
    fn only_day(&self) -> Option<u32> {
        let day = self.days.trailing_zeros();
        (day < 32 && *self == MonthDays::day(day)).then_some(day)
    }

    /// The days of a month that match, bits 1 to 31.
    fn of(&self, month: &Month) -> u32 {
        let valid = (u32::MAX >> (31 - month.length)) & !1;
        // Reversed, bit k of `from_last` is bit 31 - k.
        let mut found = self.days | self.from_last.reverse_bits() >> (31 - month.length);
        for (shift, weekdays) in [1, 8, 15, 22, 29].into_iter().zip(self.nth) {
            if weekdays != 0 {
                found |= days_of_week(weekdays, month.weekday) << shift;
            }
        }
        if self.last != 0 {
            let end = month.length - 6;
            found |= days_of_week(self.last, (month.weekday + end - 1) % 7) << end;
        }
        if self.workdays != 0 || self.last_workday {
            let week = days_of_week(WORKDAYS, month.weekday);
            let mut left = valid & (week << 1 | week << 8 | week << 15 | week << 22 | week << 29);
            if self.last_workday {
                found |= 1_u32 << (31 - left.leading_zeros());
            }
            let mut wanted = self.workdays >> 1;
            while wanted != 0 && left != 0 {
                let lowest = left & left.wrapping_neg();
                if wanted & 1 == 1 {
                    found |= lowest;
                }
                left &= !lowest;
                wanted >>= 1;
            }
        }
        found & valid
    }
}

/// Which of seven days, the first of which is `first`, are one of the weekdays; bit 0 is the first.
fn days_of_week(weekdays: u8, first: u32) -> u32 {
    let weekdays = u32::from(weekdays);
    (weekdays >> first | weekdays << (7 - first)) & u32::from(WEEK)
}

impl Month {
    /// A month counted from January 1970.
    fn at(index: i64) -> Option<Month> {
        let year = i32::try_from(index.div_euclid(12)).ok()? + YEARS.0;
        let first = NaiveDate::from_ymd_opt(year, index.rem_euclid(12) as u32 + 1, 1)?;
        Some(Month {
            start: i64::from(first.to_epoch_days()),
            length: u32::from(first.num_days_in_month()),
            weekday: first.weekday().num_days_from_monday(),
        })
    }
}

impl Days {
    /// The days of `pattern` in one of every so many periods, counted from the one that holds
    /// `anchor`; none before it. Without one, from the period that holds 1970-01-01.
    pub(super) fn new(pattern: Pattern, every: u32, anchor: Option<NaiveDate>) -> Days {
        let every = i64::from(every.max(1));
        let start = anchor.map_or(0, |day| i64::from(day.to_epoch_days()));
        let month = anchor.map_or(0, month_index);
        let period = match pattern.unit() {
            Unit::Day => start,
            Unit::Week => week(start).0,
            Unit::Month => month,
            Unit::Year => month.div_euclid(12),
        };
        let mut days = Days {
            pattern,
            every,
            phase: period.rem_euclid(every),
            ends: None,
        };
        if start <= LAST_DAY {
            let first = days.search_next(start.max(0));
            days.ends = first.and_then(|first| Some((first, days.search_latest(LAST_DAY)?)));
        }
        days
    }

    /// The first matching day from `day` on.
    pub(super) fn next(&self, day: i64) -> Option<i64> {
        let (first, last) = self.ends?;
        if day <= first {
            return Some(first);
        }
        if day > last {
            return None;
        }
        self.search_next(day)
    }

    /// The latest matching day up to and with `day`.
    pub(super) fn latest(&self, day: i64) -> Option<i64> {
        let (first, last) = self.ends?;
        if day >= last {
            return Some(last);
        }
        if day < first {
            return None;
        }
        self.search_latest(day)
    }

    /// Why no day ever matches, if none does.
    pub(super) fn never(&self) -> Option<String> {
        if self.ends.is_some() {
            return None;
        }
        let (from, to) = YEARS;
        // Does it match if it starts earlier?
        if self.search_next(0).is_some() {
            return Some(format!(
                "no day from its start to the end of {to} matches; schedules end there"
            ));
        }
        // The everyday mistake is a day that its month does not have: name it.
        if let Pattern::Year(months) = &self.pattern
            && let [(month, days)] = &**months
            && let Some(day) = days.only_day()
            && let Some(name) = crate::trigger::civil::month(*month)
        {
            return Some(if NaiveDate::from_ymd_opt(2000, *month, day).is_none() {
                format!("{day} {name} does not exist")
            } else {
                format!("{day} {name} does not exist in the years it counts")
            });
        }
        if let Pattern::Month(days) = &self.pattern
            && let Some(day) = days.only_day()
        {
            return Some(format!("no month that it counts has a day {day}"));
        }
        Some(format!("no day from {from} to {to} matches"))
    }

    /// The first period from `period` on that counts.
    fn counted_from(&self, period: i64) -> i64 {
        period + (self.phase - period).rem_euclid(self.every)
    }

    /// The latest period up to and with `period` that counts.
    fn counted_up_to(&self, period: i64) -> i64 {
        period - (period - self.phase).rem_euclid(self.every)
    }

    /// The same as `next`, for a day of [`YEARS`] and whatever the start.
    fn search_next(&self, day: i64) -> Option<i64> {
        let found = match &self.pattern {
            Pattern::Day => self.counted_from(day),
            Pattern::Week(weekdays) => {
                let (this, weekday) = week(day);
                let mut counted = self.counted_from(this);
                let mut rest = u32::from(*weekdays);
                if counted == this {
                    rest = rest >> weekday << weekday;
                    if rest == 0 {
                        counted += self.every;
                        rest = u32::from(*weekdays);
                    }
                }
                monday(counted) + i64::from(rest.trailing_zeros())
            }
            Pattern::Month(_) | Pattern::Year(_) => {
                let date = date_of(day)?;
                let this = month_index(date);
                let (mut index, mut days) = self.month_from(this)?;
                // In this month, not the days before `day`.
                let mut mask = if index == this {
                    u32::MAX << date.day()
                } else {
                    u32::MAX
                };
                loop {
                    let month = Month::at(index)?;
                    let rest = days.of(&month) & mask;
                    if rest != 0 {
                        break month.start + i64::from(rest.trailing_zeros()) - 1;
                    }
                    (index, days) = self.month_from(index + 1)?;
                    mask = u32::MAX;
                }
            }
        };
        (found <= LAST_DAY).then_some(found)
    }

    /// The same as `latest`, for a day of [`YEARS`] and whatever the start.
    fn search_latest(&self, day: i64) -> Option<i64> {
        let found = match &self.pattern {
            Pattern::Day => self.counted_up_to(day),
            Pattern::Week(weekdays) => {
                let (this, weekday) = week(day);
                let mut counted = self.counted_up_to(this);
                let mut rest = u32::from(*weekdays);
                if counted == this {
                    rest &= u32::from(WEEK) >> (6 - weekday);
                    if rest == 0 {
                        counted -= self.every;
                        rest = u32::from(*weekdays);
                    }
                }
                // At least one weekday is set.
                monday(counted) + 31 - i64::from(rest.leading_zeros())
            }
            Pattern::Month(_) | Pattern::Year(_) => {
                let date = date_of(day)?;
                let this = month_index(date);
                let (mut index, mut days) = self.month_up_to(this)?;
                let mut mask = if index == this {
                    u32::MAX >> (31 - date.day())
                } else {
                    u32::MAX
                };
                loop {
                    let month = Month::at(index)?;
                    let rest = days.of(&month) & mask;
                    if rest != 0 {
                        break month.start + 30 - i64::from(rest.leading_zeros());
                    }
                    (index, days) = self.month_up_to(index - 1)?;
                    mask = u32::MAX;
                }
            }
        };
        (found >= 0).then_some(found)
    }

    /// The first month from `index` on that has days, and which; None beyond [`YEARS`].
    fn month_from(&self, index: i64) -> Option<(i64, &MonthDays)> {
        let found = match &self.pattern {
            Pattern::Month(days) => Some((self.counted_from(index), days)),
            Pattern::Year(months) => {
                let this = index.div_euclid(12);
                let year = self.counted_from(this);
                let later = months
                    .iter()
                    .find(|(month, _)| year > this || number(*month) >= index.rem_euclid(12));
                match later {
                    Some((month, days)) => Some((year * 12 + number(*month), days)),
                    None => months
                        .first()
                        .map(|(month, days)| ((year + self.every) * 12 + number(*month), days)),
                }
            }
            Pattern::Day | Pattern::Week(_) => None,
        };
        found.filter(|(index, _)| *index < MONTHS)
    }

    /// The latest month up to and with `index` that has days, and which; None before [`YEARS`].
    fn month_up_to(&self, index: i64) -> Option<(i64, &MonthDays)> {
        let found = match &self.pattern {
            Pattern::Month(days) => Some((self.counted_up_to(index), days)),
            Pattern::Year(months) => {
                let this = index.div_euclid(12);
                let year = self.counted_up_to(this);
                let earlier = months
                    .iter()
                    .rfind(|(month, _)| year < this || number(*month) <= index.rem_euclid(12));
                match earlier {
                    Some((month, days)) => Some((year * 12 + number(*month), days)),
                    None => months
                        .last()
                        .map(|(month, days)| ((year - self.every) * 12 + number(*month), days)),
                }
            }
            Pattern::Day | Pattern::Week(_) => None,
        };
        found.filter(|(index, _)| *index >= 0)
    }
}

/// A month of the year, 1 to 12, counted from 0.
fn number(month: u32) -> i64 {
    i64::from(month) - 1
}

/// The week of a day, where 0 is the week from Monday 1969-12-29, and its weekday, where 0 is
/// Monday.
fn week(day: i64) -> (i64, i64) {
    ((day + 3).div_euclid(7), (day + 3).rem_euclid(7))
}

/// The first day of a week.
fn monday(week: i64) -> i64 {
    week * 7 - 3
}

/// The month of a date, counted from January 1970.
fn month_index(date: NaiveDate) -> i64 {
    (i64::from(date.year()) - i64::from(YEARS.0)) * 12 + i64::from(date.month0())
}

fn date_of(day: i64) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(i32::try_from(day).ok()?)
}
