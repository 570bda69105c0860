//! The days that an expression matches.
//!
//! The crate `cron` does the calendar arithmetic: it is asked for days only, as midnights of a
//! wall clock posing as UTC, where its results are in order. It knows neither crontab's rule that
//! joins the two day fields nor `L`, `W` and `#`; so each rule becomes one schedule, or two where
//! either day field may match, of all days that *could* match, and [`DateRule::matches`] has the
//! last word on each. Equal rules share one [`Dates`]: most jobs run on one of few sets of days.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use chrono::{DateTime, Datelike, NaiveDate, Weekday};

use super::DAY;

/// The years that expressions can match, first and last.
pub(super) const YEARS: (u32, u32) = (1970, 2100);
/// The same in days since the epoch.
const DAYS: std::ops::RangeInclusive<i64> = 0..=47_846;
/// How many days are looked at one by one before the calendar is asked for the next that could
/// match: what `L`, `W` and `#` leave of its candidates lies that close together.
const WEEK: i64 = 7;

pub(super) const ALL_DAYS: u32 = 0xffff_fffe;
pub(super) const ALL_WEEKDAYS: u8 = 0x7f;
pub(super) const ALL_MONTHS: u16 = 0x1ffe;

const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
pub(super) const MONTHS: [&str; 13] = [
    "",
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// What the day, month, weekday and year fields say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct DateRule {
    pub(super) month_days: MonthDays,
    pub(super) weekdays: Weekdays,
    /// Bits 1 to 12.
    pub(super) months: u16,
    pub(super) years: Years,
    /// Both day fields must match, not either.
    pub(super) both: bool,
}

/// The day-of-month field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct MonthDays {
    /// Bits 1 to 31.
    pub(super) days: u32,
    /// Bit k: `L-k`, k days before the last of the month; 0 to 30.
    pub(super) from_last: u32,
    /// Bit n: `nW`, the weekday nearest to day n, in its month; 1 to 31.
    pub(super) near: u32,
    /// `LW`, the month's last weekday.
    pub(super) last_workday: bool,
}

/// The day-of-week field. Bit 0 is Sunday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Weekdays {
    pub(super) days: u8,
    /// `fri#2`: the weekdays that count in the first to the fifth week of the month.
    pub(super) nth: [u8; 5],
    /// `friL`: the weekdays whose last one of the month counts.
    pub(super) last: u8,
}

/// The year field: a bit for each of [`YEARS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Years([u64; 3]);

impl Years {
    pub(super) const ALL: Years = Years([u64::MAX; 3]);
    pub(super) const NONE: Years = Years([0; 3]);

    pub(super) fn insert(&mut self, year: u32) {
        let bit = year.saturating_sub(YEARS.0);
        if let Some(word) = self.0.get_mut(bit as usize / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    pub(super) fn contains(&self, year: u32) -> bool {
        year.checked_sub(YEARS.0)
            .and_then(|bit| Some(self.0.get(bit as usize / 64)? >> (bit % 64) & 1 == 1))
            .unwrap_or(false)
    }
}

impl MonthDays {
    fn matches(&self, date: NaiveDate) -> bool {
        let (day, length) = (date.day(), month_length(date.year(), date.month()));
        if self.days >> day & 1 == 1 || self.from_last >> (length - day) & 1 == 1 {
            return true;
        }
        if self.near == 0 && !self.last_workday {
            return false;
        }
        let weekday = date.weekday();
        if matches!(weekday, Weekday::Sat | Weekday::Sun) {
            return false;
        }
        // Which days' nearest weekday is this one? Itself, and on the edges of a weekend its
        // Saturday or Sunday; two days off only where the nearer one is in another month.
        let near = |n: u32| n >= 1 && n <= length && self.near >> n & 1 == 1;
        near(day)
            || (weekday == Weekday::Fri && (near(day + 1) || (day + 2 == length && near(day + 2))))
            || (weekday == Weekday::Mon && (near(day - 1) || (day == 3 && near(1))))
            || (self.last_workday
                && (day == length || (weekday == Weekday::Fri && length - day <= 2)))
    }

    /// The days that could match in a month of `length` days, and whether only Monday to Friday.
    fn candidates(&self, length: u32) -> u32 {
        let valid = days_up_to(length);
        let mut days = self.days;
        for k in bits(self.from_last).filter(|k| *k < length) {
            days |= 1 << (length - k);
        }
        for n in bits(self.near).filter(|n| *n <= length) {
            days |= days_up_to((n + 2).min(31)) & !days_up_to(n.saturating_sub(3));
        }
        if self.last_workday {
            days |= valid & !days_up_to(length - 3);
        }
        days & valid
    }

    /// Nothing but numbers of days.
    pub(super) fn is_plain(&self) -> bool {
        self.from_last == 0 && self.near == 0 && !self.last_workday
    }

    fn only_workdays(&self) -> bool {
        self.days == 0 && self.from_last == 0
    }
}

impl Weekdays {
    fn matches(&self, date: NaiveDate) -> bool {
        let bit = 1_u8 << date.weekday().num_days_from_sunday();
        if self.days & bit != 0 {
            return true;
        }
        let week = (date.day() - 1) / 7;
        self.nth
            .get(week as usize)
            .is_some_and(|days| days & bit != 0)
            || (self.last & bit != 0 && month_length(date.year(), date.month()) - date.day() < 7)
    }

    /// The days of a month that could match, and the weekdays.
    fn candidates(&self) -> (u32, u8) {
        let (mut days, mut weekdays) = (0, self.days | self.last);
        if self.days != 0 {
            days = ALL_DAYS;
        }
        if self.last != 0 {
            days |= ALL_DAYS & !days_up_to(21);
        }
        for (week, set) in (1_u32..).zip(self.nth) {
            if set != 0 {
                days |= days_up_to((week * 7).min(31)) & !days_up_to(week * 7 - 7);
                weekdays |= set;
            }
        }
        (days, weekdays)
    }
}

impl DateRule {
    /// Whether a day matches.
    fn matches(&self, date: NaiveDate) -> bool {
        if self.months >> date.month() & 1 == 0
            || !u32::try_from(date.year()).is_ok_and(|year| self.years.contains(year))
        {
            return false;
        }
        if self.both {
            self.month_days.matches(date) && self.weekdays.matches(date)
        } else {
            self.month_days.matches(date) || self.weekdays.matches(date)
        }
    }

    /// Whether matching days are mostly more than a week apart.
    fn is_sparse(&self) -> bool {
        let few_weekdays = self.weekdays.candidates().0.count_ones() <= 7;
        let few_days = self.month_days.candidates(31).count_ones() <= 7;
        self.months.count_ones() <= 4
            || if self.both {
                few_days || few_weekdays
            } else {
                few_days && few_weekdays
            }
    }

    /// Schedules of days among which all matching ones are. None where no day could match.
    fn schedules(&self) -> Vec<::cron::Schedule> {
        let (weekday_days, mut weekdays) = self.weekdays.candidates();
        if self.both {
            if self.month_days.only_workdays() {
                weekdays &= 0b011_1110;
            }
            return self
                .schedule(
                    &|length| self.month_days.candidates(length) & weekday_days,
                    weekdays,
                )
                .into_iter()
                .collect();
        }
        let by_month_day =
            self.schedule(&|length| self.month_days.candidates(length), ALL_WEEKDAYS);
        let by_weekday = self.schedule(&|length| weekday_days & days_up_to(length), weekdays);
        by_month_day.into_iter().chain(by_weekday).collect()
    }

    /// One schedule; `days` are those that could match in a month of a given length. Months that
    /// have none are left out, so that the crate does not search 131 years for a 30 February.
    fn schedule(&self, days: &dyn Fn(u32) -> u32, weekdays: u8) -> Option<::cron::Schedule> {
        let mut months = 0;
        let mut all_days = 0;
        for month in bits(u32::from(self.months & ALL_MONTHS)) {
            let mut of_month = days(month_length(2023, month));
            if month == 2 {
                of_month |= days(29);
            }
            if of_month != 0 {
                months |= 1 << month;
                all_days |= of_month;
            }
        }
        if months == 0 || weekdays == 0 {
            return None;
        }
        let list = |set: u32, all: u32| {
            if set == all {
                return "*".to_owned();
            }
            let numbers: Vec<String> = bits(set).map(|bit| bit.to_string()).collect();
            numbers.join(",")
        };
        // By name: the crate counts weekdays from 1 for Sunday.
        let names: Vec<&str> = WEEKDAYS
            .iter()
            .enumerate()
            .filter(|(bit, _)| weekdays >> bit & 1 == 1)
            .map(|(_, name)| *name)
            .collect();
        let years = if self.years == Years::ALL {
            "*".to_owned()
        } else {
            let years: Vec<String> = (YEARS.0..=YEARS.1)
                .filter(|year| self.years.contains(*year))
                .map(|year| year.to_string())
                .collect();
            years.join(",")
        };
        let expression = format!(
            "0 0 0 {} {} {} {years}",
            list(all_days, ALL_DAYS),
            list(months, u32::from(ALL_MONTHS)),
            if weekdays == ALL_WEEKDAYS {
                "*".to_owned()
            } else {
                names.join(",")
            },
        );
        let schedule = ::cron::Schedule::from_str(&expression);
        debug_assert!(schedule.is_ok(), "{expression}: {schedule:?}");
        schedule.ok()
    }
}

/// A rule and its schedules.
#[derive(Debug)]
pub(super) struct Dates {
    rule: DateRule,
    schedules: Box<[::cron::Schedule]>,
    /// How many days to look at one by one before asking the schedules: one or a [`WEEK`].
    near: i64,
}

/// The rules in use, so that equal ones share their schedules.
struct Shared {
    by_rule: HashMap<DateRule, Arc<Dates>>,
    /// When the map grows to this, those that nothing uses are dropped.
    sweep_at: usize,
}

/// A few rules stay though nothing uses them: parsing the same file again finds them ready.
const SWEEP_FROM: usize = 256;

static SHARED: LazyLock<Mutex<Shared>> = LazyLock::new(|| {
    Mutex::new(Shared {
        by_rule: HashMap::new(),
        sweep_at: SWEEP_FROM,
    })
});

impl Dates {
    /// The days of a rule, shared with everyone who asks for the same ones.
    pub(super) fn shared(rule: DateRule) -> Arc<Dates> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dates) = shared.by_rule.get(&rule) {
            return Arc::clone(dates);
        }
        if shared.by_rule.len() >= shared.sweep_at {
            shared
                .by_rule
                .retain(|_, dates| Arc::strong_count(dates) > 1);
            shared.sweep_at = SWEEP_FROM.max(shared.by_rule.len() * 2);
        }
        let dates = Arc::new(Dates {
            rule,
            schedules: rule.schedules().into_boxed_slice(),
            near: if rule.is_sparse() { 1 } else { WEEK },
        });
        shared.by_rule.insert(rule, Arc::clone(&dates));
        dates
    }

    /// What the days are asked of.
    pub(super) fn rule(&self) -> &DateRule {
        &self.rule
    }

    /// Whether a day, counted from the epoch, matches.
    pub(super) fn matches(&self, day: i64) -> bool {
        DAYS.contains(&day) && date_of(day).is_some_and(|date| self.rule.matches(date))
    }

    /// The first matching day after `day`, both counted from the epoch.
    pub(super) fn next_after(&self, day: i64) -> Option<i64> {
        let day = day.max(DAYS.start() - 1);
        // Most jobs run every week: the next day is near.
        if let Some(near) = (day + 1..=day + self.near).find(|day| self.matches(*day)) {
            return Some(near);
        }
        let first = |schedule: &::cron::Schedule| {
            let mut searched = day + self.near;
            loop {
                let candidate = next_midnight(schedule, searched)?;
                let mut week = candidate..candidate + WEEK;
                if let Some(found) = week.find(|day| self.matches(*day)) {
                    return Some(found);
                }
                searched = week.end - 1;
            }
        };
        self.schedules.iter().filter_map(first).min()
    }

    /// The latest matching day before `day`, both counted from the epoch.
    pub(super) fn latest_before(&self, day: i64) -> Option<i64> {
        let day = day.min(DAYS.end() + 1);
        if let Some(near) = (day - self.near..day).rev().find(|day| self.matches(*day)) {
            return Some(near);
        }
        let latest = |schedule: &::cron::Schedule| {
            let mut searched = day - self.near;
            loop {
                let candidate = previous_midnight(schedule, searched)?;
                let week = candidate - WEEK + 1..candidate + 1;
                if let Some(found) = week.clone().rev().find(|day| self.matches(*day)) {
                    return Some(found);
                }
                searched = week.start;
            }
        };
        self.schedules.iter().filter_map(latest).max()
    }

    /// Why no day ever matches, if none does.
    pub(super) fn never(&self) -> Option<String> {
        if self.next_after(DAYS.start() - 1).is_some() {
            return None;
        }
        // The everyday mistake is a day that its month does not have: name it.
        let days: Vec<u32> = bits(self.rule.month_days.days).collect();
        let months: Vec<u32> = bits(u32::from(self.rule.months)).collect();
        if let ([day], [month]) = (days.as_slice(), months.as_slice())
            && self.rule.month_days.is_plain()
            && let Some(name) = MONTHS.get(*month as usize)
        {
            if *day > month_length(2024, *month) {
                return Some(format!("{day} {name} does not exist"));
            }
            if *day > month_length(2023, *month) && self.rule.years != Years::ALL {
                return Some(format!(
                    "{day} {name} does not exist in the years it asks for"
                ));
            }
        }
        Some(format!(
            "no day from {} to {} matches its day, month{} fields",
            YEARS.0,
            YEARS.1,
            if self.rule.years == Years::ALL {
                " and weekday"
            } else {
                ", weekday and year"
            }
        ))
    }
}

/// A schedule's first day after `day`. The search begins at the day's last second, for schedules
/// are of midnights.
fn next_midnight(schedule: &::cron::Schedule, day: i64) -> Option<i64> {
    let end = DateTime::from_timestamp((day + 1).checked_mul(DAY)? - 1, 0)?;
    let next = schedule.after(&end).next()?;
    Some(next.timestamp().div_euclid(DAY))
}

/// A schedule's latest day before `day`.
fn previous_midnight(schedule: &::cron::Schedule, day: i64) -> Option<i64> {
    if day <= *DAYS.start() {
        return None;
    }
    let start = DateTime::from_timestamp(day.checked_mul(DAY)?, 0)?;
    let previous = schedule.after(&start).next_back()?;
    Some(previous.timestamp().div_euclid(DAY))
}

fn date_of(day: i64) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(i32::try_from(day).ok()?)
}

/// The days of a month; `month` is 1 to 12.
pub(super) fn month_length(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Bits 1 to `day`; `day` is at most 31.
fn days_up_to(day: u32) -> u32 {
    ALL_DAYS & !(u32::MAX.checked_shl(day + 1).unwrap_or(0))
}

/// The numbers of the set bits, from the lowest.
fn bits(mut set: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        (set != 0).then(|| {
            let bit = set.trailing_zeros();
            set &= set - 1;
            bit
        })
    })
}
