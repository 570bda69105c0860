//! The days that an expression matches.
//!
//! Within a month, a rule is a set of bits: what it matches depends on the month's length and the
//! weekday of its first day alone ([`Shape`]). That is crontab's rule that joins the two day
//! fields, and `L`, `W` and `#`. Nearly every rule has a day in one of its next few months.
//!
//! For those that have not (29 February on a Monday is 28 years away), the crate `cron` searches
//! the calendar: it is asked for days only, as midnights of a wall clock posing as UTC, where its
//! results are in order. It knows neither rule above; so its schedule is of all days that *could*
//! match, in any year, and the bits of the month have the last word.
//!
//! Equal rules share one [`Dates`]: most jobs run on one of few sets of days.

mod month;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use chrono::DateTime;

pub(super) use self::month::{ALL_DAYS, month_length};
use self::month::{Month, Shape, days_up_to};
use crate::trigger::civil::{self, DAY, bits};

/// The years that expressions can match, first and last.
pub(super) const YEARS: (u32, u32) = (1970, 2100);
/// The same in days since the epoch.
const DAYS: std::ops::RangeInclusive<i64> = 0..=47_846;
/// How many months that a rule allows are looked at before the calendar is searched: ordinary
/// rules match a day in one of the next two, 29 February in the next eight.
const NEAR_MONTHS: u32 = 12;

/// Sunday to Saturday.
pub(super) const ALL_WEEKDAYS: u8 = 0x7f;
/// Bits 1 to 12.
pub(super) const ALL_MONTHS: u16 = 0x1ffe;

const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

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
    fn days_of(&self, shape: Shape) -> u32 {
        let mut days = self.days;
        if !self.is_plain() {
            for before_last in bits(self.from_last).filter(|n| *n < shape.length) {
                days |= 1 << (shape.length - before_last);
            }
            for day in bits(self.near).filter(|day| *day <= shape.length) {
                days |= 1 << shape.workday_near(day);
            }
            if self.last_workday {
                days |= 1 << shape.workday_near(shape.length);
            }
        }
        days & days_up_to(shape.length)
    }

    /// Nothing but numbers of days.
    pub(super) fn is_plain(&self) -> bool {
        self.from_last == 0 && self.near == 0 && !self.last_workday
    }
}

impl Weekdays {
    fn days_of(&self, shape: Shape) -> u32 {
        let mut days = shape.days_on(self.days);
        if self.last != 0 {
            days |= shape.days_on(self.last) & !days_up_to(shape.length - 7);
        }
        if self.nth != [0; 5] {
            for (week, weekdays) in (0_u32..).zip(self.nth) {
                let of_week = days_up_to((week * 7 + 7).min(31)) & !days_up_to(week * 7);
                days |= shape.days_on(weekdays) & of_week;
            }
        }
        days & days_up_to(shape.length)
    }
}

impl DateRule {
    /// The matching days of a month of such a shape, if its number and year match.
    fn days_of(&self, shape: Shape) -> u32 {
        let by_month_day = self.month_days.days_of(shape);
        let by_weekday = self.weekdays.days_of(shape);
        if self.both {
            by_month_day & by_weekday
        } else {
            by_month_day | by_weekday
        }
    }

    /// The matching days of a month.
    fn days_in(&self, month: &Month) -> u32 {
        if self.months >> month.number & 1 == 0 || !self.years.contains(month.year) {
            return 0;
        }
        self.days_of(month.shape())
    }

    /// The first month after one that its number and year allow.
    fn month_after(&self, month: &Month) -> Option<Month> {
        let later = u32::from(self.months) & !days_up_to(month.number);
        if later != 0 && self.years.contains(month.year) {
            return Month::new(month.year, later.trailing_zeros());
        }
        let year = (month.year + 1..=YEARS.1).find(|year| self.years.contains(*year))?;
        Month::new(year, u32::from(self.months).trailing_zeros())
    }

    /// The last month before one that its number and year allow.
    fn month_before(&self, month: &Month) -> Option<Month> {
        let earlier = u32::from(self.months) & days_up_to(month.number - 1);
        if earlier != 0 && self.years.contains(month.year) {
            return Month::new(month.year, 31 - earlier.leading_zeros());
        }
        let mut years = (YEARS.0..month.year).rev();
        let year = years.find(|year| self.years.contains(*year))?;
        Month::new(
            year,
            31_u32.checked_sub(u32::from(self.months).leading_zeros())?,
        )
    }

    /// A schedule of days among which all matching ones are, in any year. None where no day could
    /// match: the crate would search 131 years for a 30 February.
    fn schedule(&self) -> Option<::cron::Schedule> {
        let (mut days, mut months, mut weekdays) = (0, 0, 0);
        for month in bits(u32::from(self.months)) {
            // Every shape that the month has in some year.
            let lengths = month_length(2023, month)..=month_length(2024, month);
            for (length, first_weekday) in lengths.flat_map(|n| (0..7).map(move |day| (n, day))) {
                let shape = Shape {
                    length,
                    first_weekday,
                };
                let of_shape = self.days_of(shape);
                if of_shape != 0 {
                    days |= of_shape;
                    months |= 1 << month;
                }
                for weekday in 0..7 {
                    if of_shape & shape.days_on(1 << weekday) != 0 {
                        weekdays |= 1 << weekday;
                    }
                }
            }
        }
        if months == 0 {
            return None;
        }
        let numbers = |set: u32, all: u32| {
            if set == all {
                return "*".to_owned();
            }
            let numbers: Vec<String> = bits(set).map(|bit| bit.to_string()).collect();
            numbers.join(",")
        };
        // By name: the crate counts weekdays from 1 for Sunday.
        let names: Vec<&str> = bits::<u32>(weekdays)
            .filter_map(|bit| WEEKDAYS.get(bit as usize).copied())
            .collect();
        let expression = format!(
            "0 0 0 {} {} {} *",
            numbers(days, ALL_DAYS),
            numbers(months, u32::from(ALL_MONTHS)),
            names.join(","),
        );
        let schedule = ::cron::Schedule::from_str(&expression);
        debug_assert!(schedule.is_ok(), "{expression}: {schedule:?}");
        schedule.ok()
    }
}

/// A rule, and the way to its days.
#[derive(Debug)]
pub(super) struct Dates {
    rule: DateRule,
    /// What [`DateRule::schedule`] makes of it, on first use: few rules ever need theirs.
    schedule: OnceLock<Option<Box<::cron::Schedule>>>,
}

/// Where the next month to look at comes from.
enum WayOn<'a> {
    /// It is the next that the rule allows.
    NextMonth,
    /// It is that of the schedule's next day.
    Calendar(&'a ::cron::Schedule),
    /// No month of any year has a matching day.
    Nowhere,
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
            schedule: OnceLock::new(),
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
        Month::of(day)
            .is_some_and(|month| self.rule.days_in(&month) >> (day - month.first + 1) & 1 == 1)
    }

    /// The first matching day after `day`, both counted from the epoch.
    pub(super) fn next_after(&self, day: i64) -> Option<i64> {
        let day = day.max(DAYS.start() - 1);
        let mut month = Month::of(day)?;
        let mut days = self.rule.days_in(&month) & !month.up_to(day);
        for looked in 1.. {
            if let Some(found) = month.lowest(days) {
                return Some(found);
            }
            month = match self.way_on(looked) {
                WayOn::NextMonth => self.rule.month_after(&month)?,
                WayOn::Calendar(schedule) => Month::of(next_midnight(schedule, month.last())?)?,
                WayOn::Nowhere => return None,
            };
            days = self.rule.days_in(&month);
        }
        None
    }

    /// The latest matching day before `day`, both counted from the epoch.
    pub(super) fn latest_before(&self, day: i64) -> Option<i64> {
        let day = day.min(DAYS.end() + 1);
        let mut month = Month::of(day)?;
        let mut days = self.rule.days_in(&month) & month.up_to(day - 1);
        for looked in 1.. {
            if let Some(found) = month.highest(days) {
                return Some(found);
            }
            month = match self.way_on(looked) {
                WayOn::NextMonth => self.rule.month_before(&month)?,
                WayOn::Calendar(schedule) => Month::of(previous_midnight(schedule, month.first)?)?,
                WayOn::Nowhere => return None,
            };
            days = self.rule.days_in(&month);
        }
        None
    }

    /// How to go on after so many months without a match.
    fn way_on(&self, looked: u32) -> WayOn<'_> {
        if looked <= NEAR_MONTHS {
            return WayOn::NextMonth;
        }
        let schedule = self
            .schedule
            .get_or_init(|| self.rule.schedule().map(Box::new));
        match schedule.as_deref() {
            None => WayOn::Nowhere,
            Some(schedule) if self.rule.years == Years::ALL => WayOn::Calendar(schedule),
            // The crate holds years of one's own as a set that takes longer to fill than all
            // their months take to be looked at.
            Some(_) => WayOn::NextMonth,
        }
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
            && let Some(name) = civil::month(*month)
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

#[cfg(test)]
mod tests;
