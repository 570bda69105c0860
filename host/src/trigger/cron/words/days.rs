//! Days in plain words: `on the 13th of every month and on every Friday`.

use super::super::dates::{
    ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS, DateRule, MonthDays, Weekdays, YEARS, Years, month_length,
};
use super::ranges;
use crate::trigger::civil::{self, bits, listed, numbered};

const WEEKDAY_NAMES: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const WEEKS: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];
const MONDAY_TO_FRIDAY: u8 = 0b011_1110;
/// The 1st, 3rd, … 31st, and the 2nd, 4th, … 30th.
const ODD_DAYS: u32 = 0xaaaa_aaaa;
const EVEN_DAYS: u32 = 0x5555_5554;

impl DateRule {
    /// On which days, as phrases to be put one after the other. `every day` is said only where
    /// `say_every_day`; `never` says that no day matches at all.
    pub(super) fn in_words(&self, say_every_day: bool, never: bool) -> Vec<String> {
        let months = months(self.months);
        let mut phrases = Vec::new();
        let any_day = self.month_days.are_all();
        let any_weekday = self.weekdays.are_all();
        let every_day = if self.both {
            any_day && any_weekday
        } else {
            any_day || any_weekday
        };
        if every_day {
            if say_every_day {
                phrases.push("every day".to_owned());
            }
            phrases.extend(months);
        } else if self.both && any_day {
            self.push_weekdays(months, &mut phrases);
        } else if self.both && !any_weekday {
            match self.as_one_of_the_month() {
                Some(day) => phrases.push(format!("on {day} of {}", self.of_months())),
                None => phrases.push(self.days_that_are(never)),
            }
        } else {
            phrases.push(self.days_of_months(never));
            if !self.both {
                phrases.push("and".to_owned());
                let same = months.map(|_| "in these months".to_owned());
                self.push_weekdays(same, &mut phrases);
            }
        }
        phrases.extend(years(self.years));
        phrases
    }

    fn is_only_february(&self) -> bool {
        self.months == 1 << 2 && self.years == Years::ALL
    }

    /// The months as what days are of: `every month`, `January and July`.
    fn of_months(&self) -> String {
        if self.months == ALL_MONTHS {
            return "every month".to_owned();
        }
        match run(u32::from(self.months)) {
            Some((from, to)) => format!("every month from {} to {}", month(from), month(to)),
            None => month_list(self.months),
        }
    }

    /// `on the 1st and 15th of every month`.
    fn days_of_months(&self, never: bool) -> String {
        let days = &self.month_days;
        let of = self.of_months();
        let mut phrases = Vec::new();
        // What counts from the end of the month.
        let mut last = Vec::new();
        let mut dates = Vec::new();
        match days.days {
            0 => {}
            ODD_DAYS => phrases.push(format!("on the odd days of {of}")),
            EVEN_DAYS => phrases.push(format!("on the even days of {of}")),
            set => dates = date_list(set),
        }
        if !dates.is_empty() {
            let missing = missing_days(days.days, self.months);
            let mut phrase = format!("on {} of {of}", listed(&dates, "and"));
            if missing != 0 && !never {
                phrase.push_str(&if days.days == 1 << 29 && self.is_only_february() {
                    ", in leap years".to_owned()
                } else if missing.count_ones() > 1 {
                    " (where there are such days)".to_owned()
                } else if days.days != missing {
                    let day = numbered(missing.trailing_zeros());
                    format!(" (the {day} where there is one)")
                } else if self.months == ALL_MONTHS {
                    " that has one".to_owned()
                } else {
                    " (where there is one)".to_owned()
                });
            }
            phrases.push(phrase);
        }
        for day in bits(u64::from(days.near)) {
            last.push(format!("on the weekday nearest to the {}", numbered(day)));
        }
        if days.last_workday {
            last.push("on the last weekday".to_owned());
        }
        for before in bits(u64::from(days.from_last)) {
            last.push(match before {
                0 => "on the last day".to_owned(),
                1 => "on the day before the last".to_owned(),
                _ => format!("on the {} day before the last", numbered(before)),
            });
        }
        if !last.is_empty() {
            // The shortest month has no 31st and no 30th day before its last.
            let most = shortest(self.months);
            let lacking = days.near >> most > 1 || days.from_last >> most != 0;
            let note = if lacking {
                " (where there is such a day)"
            } else {
                ""
            };
            phrases.push(format!("{} of {of}{note}", listed(&last, "and")));
        }
        listed(&phrases, "and")
    }

    /// `on the 13th of every month if it is a Friday`.
    fn days_that_are(&self, never: bool) -> String {
        let days = self.days_of_months(never);
        let days_are_one = self.month_days.is_plain() && self.month_days.days.count_ones() == 1;
        let only = if days_are_one { "" } else { ", but only" };
        format!("{days}{only} if it is {}", self.weekdays.as_condition())
    }

    /// `1-7` with one weekday is the first such day of the month.
    fn as_one_of_the_month(&self) -> Option<String> {
        let (days, weekdays) = (&self.month_days, &self.weekdays);
        if !days.is_plain() || weekdays.nth != [0; 5] || weekdays.last != 0 {
            return None;
        }
        let week = WEEKS.iter().enumerate().find(|(week, _)| {
            let first = *week as u32 * 7 + 1;
            (first..first + 7)
                .filter(|day| *day <= 31)
                .fold(0, |set, day| set | 1 << day)
                == days.days
        })?;
        (weekdays.days.count_ones() == 1)
            .then(|| format!("the {} {}", week.1, weekday(weekdays.days.trailing_zeros())))
    }

    /// `on every Friday in March`.
    fn push_weekdays(&self, months: Option<String>, phrases: &mut Vec<String>) {
        let mut said = Vec::new();
        let weekdays = &self.weekdays;
        if weekdays.days != 0 {
            phrases.push(match week_run(weekdays.days) {
                _ if weekdays.days == ALL_WEEKDAYS => "on every day".to_owned(),
                Some((from, to)) => format!("from {} to {}", weekday(from), weekday(to)),
                None => format!("on every {}", listed(&names(weekdays.days), "and")),
            });
            phrases.extend(months);
        }
        for (place, set) in weekdays.nth.into_iter().enumerate() {
            let same = |(_, other): &(&&str, u8)| *other == set;
            // `the first and third Monday`, at the first of them.
            if set != 0 && !weekdays.nth.iter().take(place).any(|other| *other == set) {
                let weeks: Vec<String> = WEEKS
                    .iter()
                    .zip(weekdays.nth)
                    .filter(same)
                    .map(|(week, _)| (*week).to_owned())
                    .collect();
                let weeks = listed(&weeks, "and");
                said.push(format!("the {weeks} {}", listed(&names(set), "and")));
            }
        }
        if weekdays.last != 0 {
            said.push(format!("the last {}", listed(&names(weekdays.last), "and")));
        }
        if said.is_empty() {
            return;
        }
        if weekdays.days != 0 {
            phrases.push("and".to_owned());
        }
        let fifth = weekdays.nth.last().is_some_and(|set| *set != 0);
        // Few months have a fifth Friday.
        let is_one =
            weekdays.last == 0 && weekdays.nth.iter().map(|set| set.count_ones()).sum::<u32>() == 1;
        let if_any = match fifth {
            false => "",
            true if is_one && self.months == ALL_MONTHS => " that has one",
            true => " (a fifth where there is one)",
        };
        phrases.push(format!(
            "on {} of {}{if_any}",
            listed(&said, "and"),
            self.of_months()
        ));
    }
}

impl MonthDays {
    fn are_all(&self) -> bool {
        self.days == ALL_DAYS
    }
}

impl Weekdays {
    fn are_all(&self) -> bool {
        self.days == ALL_WEEKDAYS
    }

    /// What a day must be, after `if it is`.
    fn as_condition(&self) -> String {
        let mut said = Vec::new();
        if self.days == MONDAY_TO_FRIDAY {
            said.push("a weekday".to_owned());
        } else {
            said.extend(names(self.days).iter().map(|name| format!("a {name}")));
        }
        for (week, set) in WEEKS.iter().zip(self.nth) {
            said.extend(names(set).iter().map(|name| format!("the {week} {name}")));
        }
        said.extend(
            names(self.last)
                .iter()
                .map(|name| format!("the last {name}")),
        );
        listed(&said, "or")
    }
}

/// In which months, after weekdays and days; None for all.
fn months(set: u16) -> Option<String> {
    if set == ALL_MONTHS {
        return None;
    }
    Some(match run(u32::from(set)) {
        Some((from, to)) => format!("from {} to {}", month(from), month(to)),
        None => format!("in {}", month_list(set)),
    })
}

fn month_list(set: u16) -> String {
    let names: Vec<String> = bits(u64::from(set))
        .map(|it| month(it).to_owned())
        .collect();
    listed(&names, "and")
}

/// In which years; None for all.
fn years(set: Years) -> Option<String> {
    if set == Years::ALL {
        return None;
    }
    let years: Vec<u32> = (YEARS.0..=YEARS.1)
        .filter(|year| set.contains(*year))
        .collect();
    let (first, last) = (*years.first()?, *years.last()?);
    let is_run = years.len() > 2 && (last - first) as usize + 1 == years.len();
    Some(match (first, last) {
        (first, last) if is_run && last == YEARS.1 => format!("from {first} on"),
        (first, last) if is_run => format!("from {first} to {last}"),
        _ => {
            // As in any other field; from 1970 on the years fit no set of 64.
            let years: Vec<String> = match years.as_slice() {
                [first, second, third, .., last]
                    if years.len() > 6
                        && years
                            .windows(2)
                            .all(|pair| matches!(pair, [a, b] if b - a == second - first)) =>
                {
                    vec![format!("{first}, {second}, {third}, … {last}")]
                }
                years => years.iter().map(u32::to_string).collect(),
            };
            format!("in {}", listed(&years, "and"))
        }
    })
}

/// Dates of a month: `the 1st`, `the 2nd to 5th`, `the 20th to the last day`.
fn date_list(set: u32) -> Vec<String> {
    let to_the_end = (1..=28).find(|from| {
        // From it on all, and not the day before it.
        let rest = ALL_DAYS & (u32::MAX << from);
        set & rest == rest && set >> (from - 1) & 1 == 0
    });
    let head = to_the_end.map_or(set, |from| set & !(u32::MAX << from));
    let mut dates = ranges(u64::from(head), numbered);
    if let Some(first) = dates.first_mut() {
        first.insert_str(0, "the ");
    }
    if let Some(from) = to_the_end {
        dates.push(format!("the {} to the last day", numbered(from)));
    }
    dates
}

/// Which dates of a set some of the months lack, other than in a range to the month's end.
fn missing_days(set: u32, months: u16) -> u32 {
    if set >> 28 == 0b1111 {
        return 0; // up to the last day, whichever that is
    }
    set & !(u32::MAX >> (31 - shortest(months)))
}

/// How many days the shortest of the months has.
fn shortest(months: u16) -> u32 {
    bits(u64::from(months))
        .map(|month| month_length(2023, month))
        .min()
        .unwrap_or(31)
}

/// The ends of three and more numbers without a gap.
fn run(set: u32) -> Option<(u32, u32)> {
    let (from, to) = (
        set.trailing_zeros(),
        31_u32.checked_sub(set.leading_zeros())?,
    );
    (to - from >= 2 && set.count_ones() == to - from + 1).then_some((from, to))
}

/// The same for days of the week, which may run over its end.
fn week_run(set: u8) -> Option<(u32, u32)> {
    let has = |day: u32| set >> (day % 7) & 1 == 1;
    let mut starts = (0..7).filter(|day| has(*day) && !has(day + 6));
    let start = starts.next()?;
    let count = set.count_ones();
    (starts.next().is_none() && count >= 3).then_some((start, (start + count - 1) % 7))
}

/// The names of days of the week, from Monday on.
fn names(set: u8) -> Vec<String> {
    (1..=7)
        .map(|day| day % 7)
        .filter(|day| set >> day & 1 == 1)
        .map(|day| weekday(day).to_owned())
        .collect()
}

fn month(number: u32) -> &'static str {
    civil::month(number).unwrap_or_default()
}

fn weekday(day: u32) -> &'static str {
    WEEKDAY_NAMES.get(day as usize).copied().unwrap_or_default()
}
