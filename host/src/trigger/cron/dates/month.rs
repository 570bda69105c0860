//! A month of the calendar, and its days as bits: bit 1 is its first day.

use chrono::{Datelike, NaiveDate};

/// The 1st to the 31st.
pub(in crate::trigger::cron) const ALL_DAYS: u32 = 0xffff_fffe;

/// All that the days of a month depend on: its length and the weekday of its first day, with
/// Sunday as 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) length: u32,
    pub(super) first_weekday: u32,
}

impl Shape {
    /// The weekday of a day, with Sunday as 0.
    pub(super) fn weekday(self, day: u32) -> u32 {
        (self.first_weekday + day + 6) % 7
    }

    /// The days on any of some weekdays, up to the 31st.
    pub(super) fn days_on(self, weekdays: u8) -> u32 {
        // The weekdays in the order in which they come in this month, five times over.
        let twice = u32::from(weekdays) | u32::from(weekdays) << 7;
        let week = u64::from(twice >> self.first_weekday & 0x7f);
        // Cut to the 31 days: the last four bits of the fifth week fall away.
        ((week * 0x1020_4081) << 1) as u32
    }

    /// The day from Monday to Friday that is nearest to a day, in the same month.
    pub(super) fn workday_near(self, day: u32) -> u32 {
        match self.weekday(day) {
            6 if day == 1 => 3,
            6 => day - 1,
            0 if day == self.length => day - 2,
            0 => day + 1,
            _ => day,
        }
    }
}

/// A month of the calendar.
#[derive(Debug, Clone, Copy)]
pub(super) struct Month {
    pub(super) year: u32,
    /// 1 to 12.
    pub(super) number: u32,
    /// Its first day, counted from the epoch.
    pub(super) first: i64,
}

impl Month {
    /// None for a month or a year that no calendar has.
    pub(super) fn new(year: u32, number: u32) -> Option<Month> {
        let first = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, number, 1)?;
        Some(Month {
            year,
            number,
            first: i64::from(first.to_epoch_days()),
        })
    }

    /// The month that a day, counted from the epoch, lies in.
    pub(super) fn of(day: i64) -> Option<Month> {
        let date = NaiveDate::from_epoch_days(i32::try_from(day).ok()?)?;
        Some(Month {
            year: u32::try_from(date.year()).ok()?,
            number: date.month(),
            first: day - i64::from(date.day0()),
        })
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            length: month_length(self.year, self.number),
            // The epoch was a Thursday.
            first_weekday: (self.first + 4).rem_euclid(7) as u32,
        }
    }

    /// Its last day, counted from the epoch.
    pub(super) fn last(&self) -> i64 {
        self.first + i64::from(month_length(self.year, self.number)) - 1
    }

    /// The days up to and with one of the month, counted from the epoch.
    pub(super) fn up_to(&self, day: i64) -> u32 {
        days_up_to((day - self.first + 1) as u32)
    }

    /// The first day of a set, counted from the epoch.
    pub(super) fn lowest(&self, days: u32) -> Option<i64> {
        (days != 0).then(|| self.first - 1 + i64::from(days.trailing_zeros()))
    }

    /// The last day of a set, counted from the epoch.
    pub(super) fn highest(&self, days: u32) -> Option<i64> {
        (days != 0).then(|| self.first + 30 - i64::from(days.leading_zeros()))
    }
}

/// The days of a month; `month` is 1 to 12.
pub(in crate::trigger::cron) fn month_length(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

/// Bits 1 to `day`; `day` is at most 31.
pub(super) fn days_up_to(day: u32) -> u32 {
    ALL_DAYS & !(u32::MAX.checked_shl(day + 1).unwrap_or(0))
}
