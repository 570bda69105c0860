//! Recurrence rules: `FREQ=YEARLY;BYMONTH=11;BYDAY=4TH` and the days it stands for.
//!
//! Only what repeats by days or longer: a calendar of days has no use for the rest. Each step
//! costs the same, and all are counted, so that no rule takes long, one that never comes true
//! included.

use std::collections::BTreeSet;

use chrono::{Datelike, NaiveDate, Weekday};

use super::line::{At, Line, shorten};
use super::value::{DAY, Moment};
use super::zones::Zones;
use super::{Budget, IcsError};
use crate::trigger::exclusion::{LAST_DAY, date, number};

/// A recurrence rule.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    frequency: Frequency,
    interval: i64,
    count: Option<u64>,
    until: Option<Moment>,
    months: Vec<i64>,
    weeks: Vec<i64>,
    year_days: Vec<i64>,
    month_days: Vec<i64>,
    /// A weekday, and which one of the month or year: 0 for each, 2 for the second, -1 for the
    /// last.
    weekdays: Vec<(i64, Weekday)>,
    hours: Vec<i64>,
    minutes: Vec<i64>,
    seconds: Vec<i64>,
    positions: Vec<i64>,
    week_start: Weekday,
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frequency {
    Yearly,
    Monthly,
    Weekly,
    Daily,
}

impl Rule {
    /// Reads the value of a line.
    pub(super) fn parse(line: &Line) -> Result<Rule, IcsError> {
        let mut rule = Rule {
            frequency: Frequency::Yearly,
            interval: 1,
            count: None,
            until: None,
            months: Vec::new(),
            weeks: Vec::new(),
            year_days: Vec::new(),
            month_days: Vec::new(),
            weekdays: Vec::new(),
            hours: Vec::new(),
            minutes: Vec::new(),
            seconds: Vec::new(),
            positions: Vec::new(),
            week_start: Weekday::Mon,
            at: line.at.clone(),
        };
        let mut frequency = None;
        for part in line.value.split(';').filter(|part| !part.trim().is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = name.trim().to_ascii_uppercase();
            let value = value.trim().to_ascii_uppercase();
            let numbers = |lowest: i64, highest: i64, both: bool| {
                value
                    .split(',')
                    .map(|number| {
                        let number: i64 = number.trim().parse().ok()?;
                        let size = if both { number.abs() } else { number };
                        (lowest..=highest).contains(&size).then_some(number)
                    })
                    .collect::<Option<BTreeSet<i64>>>()
                    .map(Vec::from_iter)
                    .ok_or_else(|| {
                        let sign = if both { ", or as much before the end" } else { "" };
                        line.at.refuse(format!(
                            "{name} is a list of numbers from {lowest} to {highest}{sign}, not `{}`",
                            shorten(&value)
                        ))
                    })
            };
            match name.as_str() {
                "FREQ" => frequency = Some(rule.frequency(&value)?),
                "INTERVAL" => rule.interval = rule.number(&name, &value)?,
                "COUNT" => rule.count = Some(rule.number(&name, &value)?.unsigned_abs()),
                "UNTIL" => rule.until = Some(Moment::parse(line, &value)?),
                "BYMONTH" => rule.months = numbers(1, 12, false)?,
                "BYWEEKNO" => rule.weeks = numbers(1, 53, true)?,
                "BYYEARDAY" => rule.year_days = numbers(1, 366, true)?,
                "BYMONTHDAY" => rule.month_days = numbers(1, 31, true)?,
                "BYDAY" => rule.weekdays = rule.weekdays(&value)?,
                "BYHOUR" => rule.hours = numbers(0, 23, false)?,
                "BYMINUTE" => rule.minutes = numbers(0, 59, false)?,
                "BYSECOND" => rule.seconds = numbers(0, 59, false)?,
                "BYSETPOS" => rule.positions = numbers(1, 366, true)?,
                "WKST" => {
                    rule.week_start = weekday(&value).ok_or_else(|| rule.no_weekday(&value))?;
                }
                "RSCALE" if value == "GREGORIAN" => {}
                "SKIP" if value == "OMIT" => {}
                name if name.starts_with("X-") => {}
                _ => {
                    return Err(line.at.refuse(format!(
                        "`{}` is no part of a rule that is known here",
                        shorten(part)
                    )));
                }
            }
        }
        rule.frequency = frequency.ok_or_else(|| line.at.refuse("FREQ is missing"))?;
        let numbered = rule.weekdays.iter().any(|(which, _)| *which != 0);
        let by_month = matches!(rule.frequency, Frequency::Yearly | Frequency::Monthly);
        if numbered && !by_month {
            return Err(line
                .at
                .refuse("a numbered weekday such as 2MO needs FREQ=MONTHLY or YEARLY"));
        }
        if !rule.weeks.is_empty() && rule.frequency != Frequency::Yearly {
            return Err(line.at.refuse("BYWEEKNO needs FREQ=YEARLY"));
        }
        Ok(rule)
    }

    fn frequency(&self, value: &str) -> Result<Frequency, IcsError> {
        match value {
            "YEARLY" => Ok(Frequency::Yearly),
            "MONTHLY" => Ok(Frequency::Monthly),
            "WEEKLY" => Ok(Frequency::Weekly),
            "DAILY" => Ok(Frequency::Daily),
            "HOURLY" | "MINUTELY" | "SECONDLY" => Err(self.at.refuse(format!(
                "FREQ={value} repeats within a day, and here a calendar is a set of days; \
                 FREQ=DAILY is the most there is"
            ))),
            _ => Err(self.at.refuse(format!(
                "FREQ is YEARLY, MONTHLY, WEEKLY or DAILY, not `{}`",
                shorten(value)
            ))),
        }
    }

    fn number(&self, name: &str, value: &str) -> Result<i64, IcsError> {
        let number = value.parse::<u32>().ok().filter(|number| *number > 0);
        number.map(i64::from).ok_or_else(|| {
            self.at.refuse(format!(
                "{name} is a number from 1 on, not `{}`",
                shorten(value)
            ))
        })
    }

    fn weekdays(&self, value: &str) -> Result<Vec<(i64, Weekday)>, IcsError> {
        let mut weekdays = value
            .split(',')
            .map(|text| {
                let text = text.trim();
                let at = text.len().saturating_sub(2);
                let (which, name) = text.split_at_checked(at).unwrap_or(("", text));
                let which = match which {
                    "" => Some(0),
                    number => number
                        .parse()
                        .ok()
                        .filter(|which: &i64| (1..=53).contains(&which.abs())),
                };
                which
                    .zip(weekday(name))
                    .ok_or_else(|| self.no_weekday(text))
            })
            .collect::<Result<Vec<_>, _>>()?;
        weekdays.sort_unstable_by_key(|(which, weekday)| (*which, weekday.num_days_from_monday()));
        weekdays.dedup();
        Ok(weekdays)
    }

    fn no_weekday(&self, text: &str) -> IcsError {
        self.at.refuse(format!(
            "`{}` is not a weekday such as MO, 2MO or -1FR",
            shorten(text)
        ))
    }

    /// Calls `found` with the wall time (in seconds since 1970-01-01 of `start`'s clock) of each
    /// start up to 2100 that follows from a first one. `start` is the first in any case, whether
    /// it matches the rule or not, if `with_start`.
    pub(super) fn expand(
        &self,
        start: &Moment,
        with_start: bool,
        zones: &Zones,
        budget: &mut Budget,
        found: &mut dyn FnMut(i64),
    ) -> Result<(), IcsError> {
        let Some(first) = date(start.day) else {
            return Ok(());
        };
        let rule = self.filled_in(first);
        let until = rule.until_wall(start, zones)?;
        let times = rule.times(start)?;
        let start_wall = start.wall();
        let mut left = rule.count.unwrap_or(u64::MAX);
        if with_start {
            found(start_wall);
            left -= 1; // COUNT is at least 1
        }
        let lists = [&rule.months, &rule.weeks, &rule.year_days, &rule.month_days];
        let listed: usize = lists.iter().map(|list| list.len()).sum();
        // What a look at a day costs, in looks with short lists.
        let weight = 1 + (listed + rule.weekdays.len()) / 16;
        let mut days = Vec::new();
        let mut period = Period::first(&rule, first);
        loop {
            let begin = period.begin();
            if left == 0 || begin > LAST_DAY || begin * DAY > until {
                return Ok(());
            }
            days.clear();
            let looked_at = period.days(&rule, &mut days);
            let cost = 1 + looked_at * weight + days.len() * times.len();
            budget.spend(cost, &self.at)?;
            let walls = days
                .iter()
                .flat_map(|day| times.iter().map(move |time| day * DAY + time));
            let mut take = |wall: i64| {
                let counts = wall > start_wall || (wall == start_wall && !with_start);
                if counts && wall <= until && left > 0 {
                    left -= 1;
                    found(wall);
                }
            };
            if rule.positions.is_empty() {
                walls.for_each(&mut take);
            } else {
                let walls: Vec<i64> = walls.collect();
                rule.pick(&walls).into_iter().for_each(&mut take);
            }
            if !period.advance(&rule) {
                return Ok(());
            }
        }
    }

    /// What the rule does not say, from the first day.
    fn filled_in(&self, first: NaiveDate) -> Rule {
        let mut rule = self.clone();
        if !rule.weekdays.is_empty() || !rule.month_days.is_empty() || !rule.year_days.is_empty() {
            return rule;
        }
        match rule.frequency {
            Frequency::Yearly if !rule.weeks.is_empty() => {
                rule.weekdays = vec![(0, first.weekday())];
            }
            Frequency::Yearly => {
                rule.month_days = vec![i64::from(first.day())];
                if rule.months.is_empty() {
                    rule.months = vec![i64::from(first.month())];
                }
            }
            Frequency::Monthly => rule.month_days = vec![i64::from(first.day())],
            Frequency::Weekly => rule.weekdays = vec![(0, first.weekday())],
            Frequency::Daily => {}
        }
        rule
    }

    /// The last wall time of the start's clock that UNTIL allows.
    fn until_wall(&self, start: &Moment, zones: &Zones) -> Result<i64, IcsError> {
        let Some(until) = &self.until else {
            return Ok(i64::MAX);
        };
        if until.time.is_none() || start.time.is_none() {
            // All of its day.
            return Ok(until.day * DAY + DAY - 1);
        }
        until.wall_on(&start.clock, zones, &self.at)
    }

    /// The times of a day, in seconds, ascending.
    fn times(&self, start: &Moment) -> Result<Vec<i64>, IcsError> {
        const MOST: usize = 96; // each quarter of an hour
        let Some(time) = start.time else {
            return Ok(vec![0]);
        };
        let or = |values: &[i64], value: i64| {
            let mut values = values.to_vec();
            if values.is_empty() {
                values.push(value);
            }
            values.sort_unstable();
            values.dedup();
            values
        };
        let hours = or(&self.hours, time / 3600);
        let minutes = or(&self.minutes, time / 60 % 60);
        let seconds = or(&self.seconds, time % 60);
        if hours.len() * minutes.len() * seconds.len() > MOST {
            return Err(self.at.refuse(format!("more than {MOST} times a day")));
        }
        let mut times = Vec::new();
        for hour in &hours {
            for minute in &minutes {
                times.extend(
                    seconds
                        .iter()
                        .map(|second| hour * 3600 + minute * 60 + second),
                );
            }
        }
        Ok(times)
    }

    /// What BYSETPOS leaves of a period.
    fn pick(&self, walls: &[i64]) -> Vec<i64> {
        let mut picked: Vec<i64> = self
            .positions
            .iter()
            .filter_map(|position| {
                let size = usize::try_from(position.unsigned_abs()).ok()?;
                let index = if *position > 0 {
                    size.checked_sub(1)?
                } else {
                    walls.len().checked_sub(size)?
                };
                walls.get(index).copied()
            })
            .collect();
        picked.sort_unstable();
        picked.dedup();
        picked
    }

    /// Whether a day is one that all parts of the rule allow.
    fn matches(&self, day: NaiveDate) -> bool {
        let of_month = |length: u32| (i64::from(day.day()), i64::from(length));
        let of_year = |length: i64| (i64::from(day.ordinal()), length);
        let (month_day, month_length) = of_month(u32::from(day.num_days_in_month()));
        let (year_day, year_length) = of_year(if day.leap_year() { 366 } else { 365 });
        let listed = |list: &[i64], value: i64, length: i64| {
            list.is_empty() || list.contains(&value) || list.contains(&(value - length - 1))
        };
        if !(self.months.is_empty() || self.months.contains(&i64::from(day.month())))
            || !listed(&self.month_days, month_day, month_length)
            || !listed(&self.year_days, year_day, year_length)
        {
            return false;
        }
        if !self.weeks.is_empty() {
            let (week, weeks) = self.week(day);
            if !listed(&self.weeks, week, weeks) {
                return false;
            }
        }
        if self.weekdays.is_empty() {
            return true;
        }
        let in_year = self.frequency == Frequency::Yearly && self.months.is_empty();
        let (place, length) = if in_year {
            (year_day, year_length)
        } else {
            (month_day, month_length)
        };
        self.weekdays.iter().any(|(which, weekday)| {
            *weekday == day.weekday()
                && match which {
                    0 => true,
                    1.. => (place - 1) / 7 + 1 == *which,
                    _ => (length - place) / 7 + 1 == -which,
                }
        })
    }

    /// The number of a day's week, and how many weeks its year has. Week 1 is the first with four
    /// days or more in the year.
    fn week(&self, day: NaiveDate) -> (i64, i64) {
        let day_number = number(day);
        let first_week = |year: i32| {
            // 4 January is always in week 1.
            NaiveDate::from_ymd_opt(year, 1, 4).map_or(0, |fourth| {
                number(fourth) - i64::from(fourth.weekday().days_since(self.week_start))
            })
        };
        let year = day.year();
        let year = if day_number < first_week(year) {
            year - 1
        } else if day_number >= first_week(year + 1) {
            year + 1
        } else {
            year
        };
        let begin = first_week(year);
        (
            (day_number - begin) / 7 + 1,
            (first_week(year + 1) - begin) / 7,
        )
    }
}

/// A year, a month, a week or a day: what a rule is applied to at a time.
#[derive(Clone, Copy)]
enum Period {
    Year(i32),
    Month(i32, u32),
    /// By its first day.
    Week(i64),
    Day(i64),
}

impl Period {
    fn first(rule: &Rule, first: NaiveDate) -> Period {
        let day = number(first);
        match rule.frequency {
            Frequency::Yearly => Period::Year(first.year()),
            Frequency::Monthly => Period::Month(first.year(), first.month()),
            Frequency::Weekly => {
                Period::Week(day - i64::from(first.weekday().days_since(rule.week_start)))
            }
            Frequency::Daily => Period::Day(day),
        }
    }

    /// Its first day.
    fn begin(&self) -> i64 {
        let (year, month) = match *self {
            Period::Year(year) => (year, 1),
            Period::Month(year, month) => (year, month),
            Period::Week(day) | Period::Day(day) => return day,
        };
        NaiveDate::from_ymd_opt(year, month, 1).map_or(i64::MAX, number)
    }

    /// Goes on by the rule's interval; false at the end of the calendar.
    fn advance(&mut self, rule: &Rule) -> bool {
        let years = |year: i32, more: i64| {
            let year = i64::from(year) + more;
            i32::try_from(year).ok().filter(|year| *year <= 2101)
        };
        match self {
            Period::Year(year) => match years(*year, rule.interval) {
                Some(next) => *year = next,
                None => return false,
            },
            Period::Month(year, month) => {
                let months = i64::from(*month) - 1 + rule.interval;
                match (years(*year, months / 12), u32::try_from(months % 12)) {
                    (Some(next), Ok(rest)) => (*year, *month) = (next, rest + 1),
                    _ => return false,
                }
            }
            Period::Week(day) => *day += 7 * rule.interval,
            Period::Day(day) => *day += rule.interval,
        }
        true
    }

    /// Adds its days that match, ascending; returns how many were looked at.
    fn days(&self, rule: &Rule, days: &mut Vec<i64>) -> usize {
        match *self {
            Period::Day(day) => scan(rule, day, 1, days),
            Period::Week(day) => scan(rule, day, 7, days),
            Period::Month(year, month) => month_days(rule, year, month, days),
            Period::Year(year) => {
                let by_day_of_year = !rule.weeks.is_empty() || !rule.year_days.is_empty();
                if by_day_of_year || (rule.months.is_empty() && rule.month_days.is_empty()) {
                    return scan(rule, self.begin(), 366, days);
                }
                (1..=12)
                    .map(|month| month_days(rule, year, month, days))
                    .sum()
            }
        }
    }
}

/// Adds the matching ones of so many days; those of the year of the first if there are many.
fn scan(rule: &Rule, first: i64, length: usize, days: &mut Vec<i64>) -> usize {
    let Some(first_date) = date(first) else {
        return 1;
    };
    let year = first_date.year();
    days.extend(
        first_date
            .iter_days()
            .take(length)
            .take_while(|day| length < 100 || day.year() == year)
            .filter(|day| rule.matches(*day))
            .map(number),
    );
    length
}

/// Adds the matching days of a month.
fn month_days(rule: &Rule, year: i32, month: u32, days: &mut Vec<i64>) -> usize {
    if !rule.months.is_empty() && !rule.months.contains(&i64::from(month)) {
        return 0;
    }
    let Some(first) = NaiveDate::from_ymd_opt(year, month, 1) else {
        return 1;
    };
    let length = i64::from(first.num_days_in_month());
    if rule.month_days.is_empty() {
        let all = usize::try_from(length).unwrap_or(31);
        return scan(rule, number(first), all, days);
    }
    // Far fewer than all, as a rule.
    let before = days.len();
    days.extend(
        rule.month_days
            .iter()
            .map(|day| if *day < 0 { length + day } else { day - 1 })
            .filter(|day| (0..length).contains(day))
            .map(|day| number(first) + day)
            .filter(|day| date(*day).is_some_and(|day| rule.matches(day))),
    );
    if let Some(added) = days.get_mut(before..) {
        added.sort_unstable();
    }
    days.dedup();
    rule.month_days.len()
}

fn weekday(text: &str) -> Option<Weekday> {
    Some(match text {
        "MO" => Weekday::Mon,
        "TU" => Weekday::Tue,
        "WE" => Weekday::Wed,
        "TH" => Weekday::Thu,
        "FR" => Weekday::Fri,
        "SA" => Weekday::Sat,
        "SU" => Weekday::Sun,
        _ => return None,
    })
}
