//! The days of a period: `on`.

mod hints;

use chrono::{Datelike, NaiveDate};

use self::hints::{meant, meant_of_month, meant_of_year};
use super::{Piece, hinted, is_number, missing, number, strange};
use crate::trigger::TriggerError;
use crate::trigger::calendar::dates::{MonthDays, Pattern, Unit, WEEK};
use crate::trigger::calendar::words::{self, ORDINALS, WEEKDAYS};
use crate::trigger::civil::{self, MONTHS};

const WEEK_LABEL: &str = "a day of the week is mon-sun, or a range such as mon-fri";
const MONTH_LABEL: &str = "a day of the month is 1-31, `last`, `3 before last`, `second tue`, `last fri`, `first workday`";
const YEAR_LABEL: &str = "a day of the year is `12-24`, `24 dec`, `last fri of november`";
const MONTH_NAME_LABEL: &str = "a month is jan-dec, or its full name";
/// The most days that are Monday to Friday in a month.
const MOST_WORKDAYS: u32 = 23;

/// Reads the days of a period; without any, they come from the first day. An error comes with
/// the index of the text that is wrong.
pub(in crate::trigger::calendar) fn on(
    unit: Unit,
    texts: &[&str],
    anchor: Option<NaiveDate>,
) -> Result<Pattern, (usize, TriggerError)> {
    let mut weekdays = 0;
    let mut days = MonthDays::default();
    let mut months: Vec<(u32, MonthDays)> = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let read = |part: Piece| -> Result<(), TriggerError> {
            match unit {
                Unit::Day => return Err(of_days(Piece::of(text))),
                Unit::Week => weekdays |= of_week(part, text)?,
                Unit::Month => days.add(of_month(part, text)?),
                Unit::Year => {
                    let (month, of_month) = of_year(part, text)?;
                    match months.binary_search_by_key(&month, |(month, _)| *month) {
                        Ok(index) => {
                            if let Some((_, days)) = months.get_mut(index) {
                                days.add(of_month);
                            }
                        }
                        Err(index) => months.insert(index, (month, of_month)),
                    }
                }
            }
            Ok(())
        };
        Piece::of(text)
            .parts()
            .try_for_each(read)
            .map_err(|error| (index, error))?;
    }
    // Nothing was said: the first of the period, or what the first day is.
    let first = anchor.map_or((0, 1, 1), |date| {
        let weekday = date.weekday().num_days_from_monday();
        (weekday, date.month(), date.day())
    });
    if texts.is_empty() {
        weekdays = 1 << first.0;
        days = MonthDays::day(first.2);
        months = vec![(first.1, days)];
    }
    Ok(match unit {
        Unit::Day => Pattern::Day,
        Unit::Week => Pattern::Week(weekdays),
        Unit::Month => Pattern::Month(days),
        Unit::Year => Pattern::Year(months.into_boxed_slice()),
    })
}

/// A weekday by its name or the first three letters of it; 0 is Monday.
fn weekday(word: Piece) -> Option<u32> {
    position(&WEEKDAYS, word)
}

/// A month by its name or the first three letters of it, 1 to 12.
fn month(word: Piece) -> Option<u32> {
    position(&MONTHS, word).map(|index| index + 1)
}

fn position(names: &[&str], word: Piece) -> Option<u32> {
    let index = names
        .iter()
        .position(|name| word.is(name) || name.get(..3).is_some_and(|short| word.is(short)));
    u32::try_from(index?).ok()
}

/// `15`, `15th`: a number of a day, as it is written.
fn day_number(word: Piece) -> Option<u32> {
    let (digits, suffix) = word.split_number();
    let day = number(digits.text)?;
    (suffix.text.is_empty() || word.is(&civil::numbered(day))).then_some(day)
}

/// Periods of days have no days to choose from.
fn of_days(whole: Piece) -> TriggerError {
    let day = whole.trimmed();
    let first = day.words().first().copied().unwrap_or(day);
    let first = first.split_once('-').map_or(first, |(from, _)| from);
    let every = if weekday(first).is_some() {
        "week"
    } else if month(first).is_some() {
        "year"
    } else {
        "month"
    };
    hinted(
        whole.error("a period of days has no days to choose from", "remove this"),
        format!("with `on`, write \"every\": \"{every}\""),
    )
}

/// A weekday or a range of them.
fn of_week(part: Piece, text: &str) -> Result<u8, TriggerError> {
    if part.text.is_empty() {
        return Err(missing(part, text, "a day of the week", WEEK_LABEL));
    }
    if let Some(day) = weekday(part) {
        return Ok(1 << day);
    }
    if let Some((from, to)) = part.split_once('-')
        && let (Some(from), Some(to)) = (weekday(from.trimmed()), weekday(to.trimmed()))
    {
        let tail = WEEK << from & WEEK;
        let head = WEEK >> (6 - to);
        if from <= to {
            return Ok(tail & head);
        }
        let list: Vec<String> = [tail, head]
            .iter()
            .flat_map(|days| words::runs(*days, "-", &words::short))
            .collect();
        return Err(hinted(
            part.error(
                format!("{} runs backwards", part.shown()),
                "a week begins on Monday and ends on Sunday",
            ),
            format!("write `{}`", list.join(", ")),
        ));
    }
    let error = part.error(
        format!("{} is not a day of the week", part.shown()),
        WEEK_LABEL,
    );
    if single_rule(part).is_some() {
        return Err(hinted(
            error,
            "for days of the month write \"every\": \"month\"",
        ));
    }
    if calendar_day(part).is_some() {
        return Err(hinted(
            error,
            "for days of the year write \"every\": \"year\"",
        ));
    }
    let words = part.words();
    let hint = match part.text.to_ascii_lowercase().as_str() {
        "workday" | "workdays" | "weekday" | "weekdays" => Some("write `mon-fri`".to_owned()),
        "weekend" | "weekends" => Some("write `sat-sun`".to_owned()),
        _ if words.len() > 1 => {
            let days: Option<Vec<String>> = words
                .iter()
                .filter(|word| !word.is("and"))
                .map(|word| weekday(*word))
                .map(|day| WEEKDAYS.get(day? as usize).map(|name| words::short(name)))
                .collect();
            days.map(|days| format!("write `{}`", days.join(", ")))
        }
        _ => strange(part).or_else(|| meant(part, &WEEKDAYS)),
    };
    Err(TriggerError { hint, ..error })
}

/// Days of a month, if that is what it says.
fn single_rule(part: Piece) -> Option<MonthDays> {
    rule(&part.words()).ok().flatten()
}

/// Days of a month. None: it is nothing that could be one; an error: it nearly is.
fn rule(words: &[Piece]) -> Result<Option<MonthDays>, TriggerError> {
    match *words {
        [word] if word.is("last") => Ok(Some(MonthDays {
            from_last: 1,
            ..MonthDays::default()
        })),
        [word] => match day_number(word) {
            Some(day @ 1..=31) => Ok(Some(MonthDays::day(day))),
            Some(_) => Err(out_of_range(word)),
            None => Ok(None),
        },
        [count, before, last] if before.is("before") && last.is("last") => match number(count.text)
        {
            Some(count @ 1..=30) => Ok(Some(MonthDays {
                from_last: 1 << count,
                ..MonthDays::default()
            })),
            Some(_) => Err(count.error(
                format!("no month has a day {} before its last", count.shown()),
                "1 to 30 days before the last",
            )),
            None => Ok(None),
        },
        [nth, what] => nth_of_month(nth, what),
        _ => Ok(None),
    }
}

fn out_of_range(day: Piece) -> TriggerError {
    let error = day.error(
        format!("day {} of a month is out of range", day.shown()),
        "a day of the month is 1-31",
    );
    match day_number(day) {
        Some(0) => error,
        _ => hinted(error, "the last day of every month is `last`"),
    }
}

/// `second tue`, `last workday`, `first day`.
fn nth_of_month(nth: Piece, what: Piece) -> Result<Option<MonthDays>, TriggerError> {
    let day = weekday(what);
    let is_workday = what.is("workday");
    if day.is_none() && !is_workday && !what.is("day") {
        return Ok(None);
    }
    let mut found = MonthDays::default();
    if nth.is("last") {
        match day {
            Some(day) => found.last = 1 << day,
            None if is_workday => found.last_workday = true,
            None => found.from_last = 1,
        }
        return Ok(Some(found));
    }
    let word = ORDINALS.iter().position(|word| nth.is(word));
    let number = match word {
        Some(index) => u32::try_from(index + 1).ok(),
        // `2 tue` could be a day that must be both.
        None => day_number(nth).filter(|_| !is_number(nth.text)),
    };
    let Some(number) = number else {
        let counted = day_number(nth).and_then(|n| ORDINALS.get(n.checked_sub(1)? as usize));
        return match counted {
            Some(ordinal) => Err(hinted(
                nth.error(
                    format!("{} does not say which", nth.shown()),
                    "`first` to `fifth`, or `last`",
                ),
                format!("write `{ordinal} {}`", what.text),
            )),
            None => Ok(None),
        };
    };
    let most = match day {
        Some(_) => 5,
        None if is_workday => MOST_WORKDAYS,
        None => 31,
    };
    if !(1..=most).contains(&number) {
        return Err(nth.error(
            format!("no month has a {} {}", nth.shown(), what.shown()),
            &format!(
                "`first` to `{}`, or `last`",
                match most {
                    5 => "fifth".to_owned(),
                    most => civil::numbered(most),
                }
            ),
        ));
    }
    match day {
        Some(day) => {
            if let Some(days) = found.nth.get_mut(number as usize - 1) {
                *days = 1 << day;
            }
        }
        None if is_workday => found.workdays = 1 << number,
        None => found.days = 1 << number,
    }
    Ok(Some(found))
}

fn of_month(part: Piece, text: &str) -> Result<MonthDays, TriggerError> {
    if part.text.is_empty() {
        return Err(missing(part, text, "a day of the month", MONTH_LABEL));
    }
    if let Some(days) = rule(&part.words())? {
        return Ok(days);
    }
    let error = part.error(
        format!("{} is not a day of the month", part.shown()),
        MONTH_LABEL,
    );
    if calendar_day(part).is_some() && !part.text.contains('-') {
        return Err(hinted(
            error,
            "for days of the year write \"every\": \"year\"",
        ));
    }
    Err(TriggerError {
        hint: meant_of_month(part),
        ..error
    })
}

/// A day of a year, if that is what it says.
fn calendar_day(part: Piece) -> Option<(u32, MonthDays)> {
    day_and_month(part).ok().flatten()
}

/// A day of a year. None: it is nothing that could be one; an error: it nearly is.
fn day_and_month(part: Piece) -> Result<Option<(u32, MonthDays)>, TriggerError> {
    let words = part.words();
    if let [days @ .., of, name] = &*words
        && of.is("of")
        && !days.is_empty()
    {
        let Some(days) = rule(days)? else {
            return Ok(None);
        };
        return match month(*name) {
            Some(month) => Ok(Some((month, days))),
            None => Err(TriggerError {
                hint: strange(*name).or_else(|| meant(*name, &MONTHS)),
                ..name.error(format!("{} is not a month", name.shown()), MONTH_NAME_LABEL)
            }),
        };
    }
    let (named, day) = match *words {
        [one] => match one.split_once('-') {
            Some((name, day)) if is_number(name.text) && is_number(day.text) => {
                let Some(month @ 1..=12) = number(name.text) else {
                    let error = name.error(
                        format!("month {} is out of range", name.shown()),
                        "the month comes first: 01-12",
                    );
                    return Err(match (number(name.text), number(day.text)) {
                        (Some(13..=31), Some(1..=12)) => {
                            hinted(error, format!("write `{}-{}`", day.text, name.text))
                        }
                        _ => error,
                    });
                };
                (month, day)
            }
            _ => return Ok(None),
        },
        [a, b] => match (month(a), month(b)) {
            (Some(month), None) => (month, b),
            (None, Some(month)) => (month, a),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    match day_number(day) {
        Some(day @ 1..=31) => Ok(Some((named, MonthDays::day(day)))),
        Some(_) => Err(TriggerError {
            hint: civil::month(named)
                .map(|name| format!("the last day is `last of {}`", words::short(name))),
            ..out_of_range(day)
        }),
        None => Ok(None),
    }
}

fn of_year(part: Piece, text: &str) -> Result<(u32, MonthDays), TriggerError> {
    if part.text.is_empty() {
        return Err(missing(part, text, "a day of the year", YEAR_LABEL));
    }
    if let Some(found) = day_and_month(part)? {
        return Ok(found);
    }
    if single_rule(part).is_some() {
        return Err(hinted(
            part.error(
                format!("{} does not say of which month", part.shown()),
                YEAR_LABEL,
            ),
            format!(
                "write `{}{} jan`, or \"every\": \"month\"",
                part.text,
                if day_number(part).is_some() {
                    ""
                } else {
                    " of"
                }
            ),
        ));
    }
    let error = part.error(
        format!("{} is not a day of the year", part.shown()),
        YEAR_LABEL,
    );
    Err(TriggerError {
        hint: meant_of_year(part),
        ..error
    })
}
