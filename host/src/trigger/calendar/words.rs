//! A calendar schedule in words: those that it is read from, and a sentence for people.

use std::fmt::Write;

use super::Times;
use super::dates::{Days, MonthDays, Pattern, Unit, WEEK};
use crate::trigger::civil::{bits, listed, month, numbered};

/// From Monday on.
pub(super) const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
/// From the first on.
pub(super) const ORDINALS: [&str; 12] = [
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "eleventh", "twelfth",
];
/// More times than these are counted, not told.
const TIMES_TOLD: usize = 6;

/// `mon` for `Monday`, `jan` for `January`.
pub(super) fn short(name: &str) -> String {
    name.chars().take(3).collect::<String>().to_lowercase()
}

/// `second`, and `13th` where words end.
fn ordinal(number: u32) -> String {
    match ORDINALS.get(number.saturating_sub(1) as usize) {
        Some(word) => (*word).to_owned(),
        None => numbered(number),
    }
}

pub(super) fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Day => "day",
        Unit::Week => "week",
        Unit::Month => "month",
        Unit::Year => "year",
    }
}

/// As it could have been written: `every 2 weeks on mon, thu at 09:00`.
pub(super) fn canonical(days: &Days, times: &Times) -> String {
    let unit = unit(days.pattern.unit());
    let mut text = match days.every {
        1 => format!("every {unit}"),
        count => format!("every {count} {unit}s"),
    };
    let on = match &days.pattern {
        Pattern::Day => Vec::new(),
        Pattern::Week(weekdays) => runs(*weekdays, "-", &short),
        Pattern::Month(days) => month_days(days, Style::Short, None),
        Pattern::Year(months) => year_days(months, Style::Short),
    };
    if !on.is_empty() {
        text += " on ";
        text += &on.join(", ");
    }
    let times: Vec<String> = times.0.iter().map(|time| clock(*time)).collect();
    text += " at ";
    text += &times.join(", ");
    text
}

/// As a person would say it: `At 09:00 on Monday and Thursday of every second week`.
pub(super) fn sentence(days: &Days, times: &Times) -> String {
    let told: Vec<String> = match &*times.0 {
        [first, .., last] if times.0.len() > TIMES_TOLD => vec![format!(
            "{} times from {} to {}",
            times.0.len(),
            clock(*first),
            clock(*last)
        )],
        times => times.iter().map(|time| clock(*time)).collect(),
    };
    let mut text = format!("At {}", listed(&told, "and"));
    let on = match &days.pattern {
        Pattern::Day => Vec::new(),
        Pattern::Week(WEEK) => vec!["every day".to_owned()],
        Pattern::Week(weekdays) => runs(*weekdays, " to ", &str::to_owned),
        Pattern::Month(days) => month_days(days, Style::Long, None),
        Pattern::Year(months) => year_days(months, Style::Long),
    };
    if !on.is_empty() {
        // A String takes whatever is written to it.
        let _ = write!(text, " on {} of", listed(&on, "and"));
    }
    text += " every ";
    let unit = unit(days.pattern.unit());
    if days.every > 1 {
        text += &ordinal(u32::try_from(days.every).unwrap_or(u32::MAX));
        text.push(' ');
    }
    text += unit;
    let rare = match &days.pattern {
        Pattern::Day | Pattern::Week(_) => false,
        Pattern::Month(days) => is_rare(days, 28),
        Pattern::Year(months) => months
            .iter()
            .any(|(month, days)| is_rare(days, shortest(*month))),
    };
    if rare {
        let _ = write!(text, "; where a {unit} has no such day, it is left out");
    }
    text
}

/// Whether a month may lack one of the days; its least length is given.
fn is_rare(days: &MonthDays, length: u32) -> bool {
    let beyond = |set: u32, highest: u32| 31 - set.max(1).leading_zeros() > highest;
    beyond(days.days, length)
        || beyond(days.from_last, length - 1)
        || days.nth.last().is_some_and(|weekdays| *weekdays != 0)
        // Four whole weeks, and of what is beyond them two days may be a weekend.
        || beyond(days.workdays, length.max(30) - 10)
}

fn shortest(month: u32) -> u32 {
    match month {
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `09:00`, or `09:00:15` where there are seconds.
fn clock(time: i64) -> String {
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    match second {
        0 => format!("{hour:02}:{minute:02}"),
        _ => format!("{hour:02}:{minute:02}:{second:02}"),
    }
}

/// Weekdays, three or more in a row as a range.
pub(super) fn runs(weekdays: u8, to: &str, name: &dyn Fn(&str) -> String) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest: &[&str] = &WEEKDAYS;
    let mut set = weekdays;
    while let Some((_, others)) = rest.split_first() {
        let length = set.trailing_ones() as usize;
        match rest.get(..length) {
            Some([first, .., last]) if length >= 3 => {
                found.push(format!("{}{to}{}", name(first), name(last)));
            }
            Some(run) => found.extend(run.iter().map(|day| name(day))),
            None => {}
        }
        // Past the run and past the day after it, which is not in the set.
        rest = others.get(length..).unwrap_or_default();
        set = set.checked_shr(length as u32 + 1).unwrap_or(0);
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// As it is read.
    Short,
    /// As it is said.
    Long,
}

/// Days of a month; with its name where they are days of a year.
fn month_days(days: &MonthDays, style: Style, month: Option<&str>) -> Vec<String> {
    let of = month.map_or(String::new(), |month| match style {
        Style::Short => format!(" of {}", short(month)),
        Style::Long => format!(" of {month}"),
    });
    let mut found: Vec<String> = bits(days.days)
        .map(|day| match (style, month) {
            (Style::Short, None) => day.to_string(),
            (Style::Short, Some(month)) => format!("{day} {}", short(month)),
            (Style::Long, None) => format!("the {}", numbered(day)),
            (Style::Long, Some(month)) => format!("{day} {month}"),
        })
        .collect();
    let mut named = |short: String, long: String| {
        found.push(match style {
            Style::Short => short + &of,
            Style::Long => format!("the {long}{of}"),
        });
    };
    for (weekdays, nth) in days.nth.iter().zip(ORDINALS) {
        for weekday in weekday_names(*weekdays) {
            named(
                format!("{nth} {}", short(weekday)),
                format!("{nth} {weekday}"),
            );
        }
    }
    for weekday in weekday_names(days.last) {
        named(
            format!("last {}", short(weekday)),
            format!("last {weekday}"),
        );
    }
    for n in bits(days.workdays) {
        let written = if n <= 5 { ordinal(n) } else { numbered(n) };
        named(
            format!("{written} workday"),
            format!("{} workday", ordinal(n)),
        );
    }
    if days.last_workday {
        named("last workday".to_owned(), "last workday".to_owned());
    }
    // From the earlier to the later.
    let mut from_last: Vec<u32> = bits(days.from_last).collect();
    from_last.reverse();
    for before in from_last {
        match before {
            0 => named("last".to_owned(), "last day".to_owned()),
            _ => named(
                format!("{before} before last"),
                match before {
                    1 => "day before the last".to_owned(),
                    _ => format!("day {before} days before the last"),
                },
            ),
        }
    }
    found
}

fn year_days(months: &[(u32, MonthDays)], style: Style) -> Vec<String> {
    months
        .iter()
        .flat_map(|(number, days)| month_days(days, style, month(*number)))
        .collect()
}

fn weekday_names(set: u8) -> impl Iterator<Item = &'static str> {
    bits(u32::from(set)).filter_map(|day| WEEKDAYS.get(day as usize).copied())
}
