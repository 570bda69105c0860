//! The text of an expression: crontab(5) with Debian's rules, and what Quartz added.
//!
//! Five fields; six with seconds first; seven with a year last. A parse error names the field,
//! points to the offending bytes and says what may stand there; where the intent is plain, it
//! spells the legal form.

mod values;

use self::values::{
    Field, Form, HOUR, MINUTE, MONTH, MONTH_DAY, Piece, SECOND, WEEKDAY, YEAR, hinted, is_number,
    not_a_value, out_of_range, value, values, whole_number,
};
use super::Times;
use super::dates::{DateRule, MonthDays, Weekdays, Years};
use crate::trigger::TriggerError;

/// What an expression says.
pub(super) struct Parsed {
    pub(super) times: Times,
    pub(super) rule: DateRule,
    /// The minute or the hour begins with `*`.
    pub(super) wildcard: bool,
}

/// Reads an expression that begins at byte `at` of the text that errors point into; `job` is the
/// id by which `H` is spread.
pub(super) fn parse(text: &str, at: usize, job: Option<&str>) -> Result<Parsed, TriggerError> {
    let whole = Piece { text, at }.trimmed();
    let mut fields = [whole; 7];
    let mut count = 0;
    let mut rest = whole;
    while !rest.text.is_empty() {
        let end = rest
            .text
            .find(|c: char| c.is_ascii_whitespace())
            .unwrap_or(rest.text.len());
        let (field, after) = rest.split_at(end);
        match fields.get_mut(count) {
            Some(slot) => *slot = field,
            None => {
                let extra = count + after.text.split_ascii_whitespace().count() + 1;
                return Err(wrong_count(whole, extra, Some(field)));
            }
        }
        count += 1;
        rest = after.trimmed();
    }
    let [a, b, c, d, e, f, g] = fields;
    // Only the five-field form is crontab's: there `N/step` means nothing.
    let (second, five, year) = match count {
        5 => (None, [a, b, c, d, e], None),
        6 => (Some(a), [b, c, d, e, f], None),
        7 => (Some(a), [b, c, d, e, f], Some(g)),
        _ => return Err(wrong_count(whole, count, None)),
    };
    let [minute, hour, month_day, month, weekday] = five;
    let form = Form {
        open_step: count > 5,
        job,
    };

    let seconds = match second {
        Some(piece) => set(&SECOND, piece, form)?,
        None => 1,
    };
    let minutes = set(&MINUTE, minute, form)?;
    // An hour's bits are below 24, a month's below 13.
    let hours = set(&HOUR, hour, form)? as u32;
    let month_days = month_days(month_day, form)?;
    let months = set(&MONTH, month, form)? as u16;
    let (weekdays, plus) = weekdays(weekday, form)?;
    let years = match year {
        Some(piece) => years(piece, form)?,
        None => Years::ALL,
    };
    let is_open = |piece: Piece| piece.text.starts_with(['*', '?']);
    Ok(Parsed {
        times: Times {
            seconds,
            minutes,
            hours,
        },
        rule: DateRule {
            month_days,
            weekdays,
            months,
            years,
            both: plus || is_open(month_day) || is_open(weekday),
        },
        wildcard: minute.text.starts_with('*') || hour.text.starts_with('*'),
    })
}

fn wrong_count(whole: Piece, count: usize, extra: Option<Piece>) -> TriggerError {
    let message = match count {
        0 => "the cron expression is empty".to_owned(),
        1 => "a cron expression has 5 fields, this has 1".to_owned(),
        8.. => format!("a cron expression has at most 7 fields, this has {count}"),
        _ => format!("a cron expression has 5 fields, this has {count}"),
    };
    hinted(
        extra.unwrap_or(whole).error(
            message,
            "minute, hour, day of the month, month, day of the week",
        ),
        "six fields begin with the second, seven end with the year; or write @daily, @every 90s, …",
    )
}

/// The parts of a comma-separated list.
fn parts(piece: Piece<'_>) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = Some(piece);
    std::iter::from_fn(move || {
        let current = rest?;
        match current.split_once(',') {
            Some((part, after)) => {
                rest = Some(after);
                Some(part)
            }
            None => {
                rest = None;
                Some(current)
            }
        }
    })
}

/// A field without specials, as a bit set.
fn set(field: &Field, piece: Piece, form: Form) -> Result<u64, TriggerError> {
    let mut bits = 0;
    for part in parts(piece) {
        bits |= values(field, part, piece, form)?.bits();
    }
    Ok(bits)
}

fn years(piece: Piece, form: Form) -> Result<Years, TriggerError> {
    if matches!(piece.text, "*" | "?") {
        return Ok(Years::ALL);
    }
    let mut years = Years::NONE;
    for part in parts(piece) {
        for year in values(&YEAR, part, piece, form)?.iter() {
            years.insert(year);
        }
    }
    Ok(years)
}

fn month_days(piece: Piece, form: Form) -> Result<MonthDays, TriggerError> {
    let mut found = MonthDays::default();
    for part in parts(piece) {
        let last = part.text.get(..1).filter(|l| l.eq_ignore_ascii_case("l"));
        if last.is_some() {
            let (_, after) = part.split_at(1);
            if after.text.is_empty() {
                found.from_last |= 1;
            } else if after.text.eq_ignore_ascii_case("w") {
                found.last_workday = true;
            } else if let Some(days) = after.text.strip_prefix('-') {
                let (_, number) = after.split_at(after.text.len() - days.len());
                match whole_number(number.text) {
                    Some(days @ 0..=30) => found.from_last |= 1 << days,
                    Some(days) => {
                        return Err(number.error(
                            format!("no month has a day {days} days before its last"),
                            "L-0 to L-30",
                        ));
                    }
                    None => {
                        return Err(part.error(
                            format!("`{}` is not a day of the month", part.text),
                            "`L-` is followed by a number of days: L-3",
                        ));
                    }
                }
            } else {
                return Err(not_a_value(&MONTH_DAY, part));
            }
        } else if let Some(day) = part.without_suffix('w').filter(|day| is_number(day.text)) {
            match whole_number(day.text) {
                Some(n @ 1..=31) => found.near |= 1 << n,
                _ => return Err(out_of_range(&MONTH_DAY, day)),
            }
        } else {
            // Days are at most 31.
            found.days |= values(&MONTH_DAY, part, piece, form)?.bits() as u32;
        }
    }
    Ok(found)
}

/// The day-of-week field, and whether a `+` asks for both day fields to match.
fn weekdays(piece: Piece, form: Form) -> Result<(Weekdays, bool), TriggerError> {
    let mut found = Weekdays::default();
    let plus = piece.text.starts_with('+');
    let field = if plus { piece.split_at(1).1 } else { piece };
    if plus && field.text.is_empty() {
        return Err(piece.error("a day of the week is missing after `+`", WEEKDAY.label));
    }
    for part in parts(field) {
        if let Some((day, week)) = part.split_once('#') {
            let bit = weekday_bit(day, part)?;
            match whole_number(week.text) {
                Some(n @ 1..=5) => {
                    if let Some(days) = found.nth.get_mut(n as usize - 1) {
                        *days |= bit;
                    }
                }
                _ => {
                    let (_, mark) = part.split_at(day.text.len());
                    return Err(mark.error(
                        format!("`{}` is not one of a month's weeks", week.text),
                        "#1 to #5: the first to the fifth such day of the month",
                    ));
                }
            }
        } else if let Some(day) = part.without_suffix('l').filter(|day| {
            // A bare `L` is no weekday, nor is an unknown word that ends in l.
            day.text.is_empty() || value(&WEEKDAY, *day).is_ok() || is_number(day.text)
        }) {
            if day.text.is_empty() {
                return Err(hinted(
                    part.error(
                        "`L` alone does not say which day of the week",
                        WEEKDAY.label,
                    ),
                    "the month's last Friday is `5L` or `friL`",
                ));
            }
            found.last |= weekday_bit(day, part)?;
        } else {
            let bits = values(&WEEKDAY, part, field, form)?.bits();
            // 7 is Sunday, too.
            found.days |= (bits | bits >> 7) as u8 & 0x7f;
        }
    }
    Ok((found, plus))
}

/// The bit of the single weekday before `#` or `L`.
fn weekday_bit(day: Piece, part: Piece) -> Result<u8, TriggerError> {
    if day.text.is_empty() || day.text.contains(['-', '*', '/', '?']) {
        return Err(part.error(
            format!("`{}` is not a day of the week", part.text),
            "one day stands before `#` and `L`: fri#2, 5L",
        ));
    }
    value(&WEEKDAY, day).map(|day| 1 << (day % 7))
}

#[cfg(test)]
mod tests;
