//! The text of an expression: crontab(5) with Debian's rules, and what Quartz added.
//!
//! Five fields; six with seconds first; seven with a year last. A parse error names the field,
//! points to the offending bytes and says what may stand there; where the intent is plain, it
//! spells the legal form.

use std::ops::Range;

use super::Times;
use super::dates::{DateRule, MonthDays, Weekdays, YEARS, Years};
use crate::trigger::TriggerError;

/// What an expression says.
pub(super) struct Parsed {
    pub(super) times: Times,
    pub(super) rule: DateRule,
    /// The minute or the hour begins with `*`.
    pub(super) wildcard: bool,
}

/// A field: its name, its range and its names.
struct Field {
    name: &'static str,
    lowest: u32,
    highest: u32,
    /// Three-letter names, from the lowest value on.
    names: &'static [&'static str],
    /// For a caret: what may stand there.
    label: &'static str,
}

const SECOND: Field = Field {
    name: "second",
    lowest: 0,
    highest: 59,
    names: &[],
    label: "a second is 0-59",
};
const MINUTE: Field = Field {
    name: "minute",
    lowest: 0,
    highest: 59,
    names: &[],
    label: "a minute is 0-59",
};
const HOUR: Field = Field {
    name: "hour",
    lowest: 0,
    highest: 23,
    names: &[],
    label: "an hour is 0-23",
};
const MONTH_DAY: Field = Field {
    name: "day of the month",
    lowest: 1,
    highest: 31,
    names: &[],
    label: "a day of the month is 1-31, L, L-3, LW or 15W",
};
const MONTH: Field = Field {
    name: "month",
    lowest: 1,
    highest: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
    label: "a month is 1-12 or jan-dec",
};
const WEEKDAY: Field = Field {
    name: "day of the week",
    lowest: 0,
    highest: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    label: "a day of the week is 0-7 (0 and 7 are Sunday), sun-sat, fri#2 or friL",
};
const YEAR: Field = Field {
    name: "year",
    lowest: YEARS.0,
    highest: YEARS.1,
    names: &[],
    label: "a year is 1970-2100",
};

/// A piece of the text and where it begins.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    at: usize,
}

/// The values of one part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Values {
    from: u32,
    to: u32,
    step: u32,
}

/// Reads an expression that begins at byte `at` of the text that errors point into.
pub(super) fn parse(text: &str, at: usize) -> Result<Parsed, TriggerError> {
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
    let open_step = count > 5;

    let seconds = match second {
        Some(piece) => set(&SECOND, piece, open_step)?,
        None => 1,
    };
    let minutes = set(&MINUTE, minute, open_step)?;
    // An hour's bits are below 24, a month's below 13.
    let hours = set(&HOUR, hour, open_step)? as u32;
    let month_days = month_days(month_day, open_step)?;
    let months = set(&MONTH, month, open_step)? as u16;
    let (weekdays, plus) = weekdays(weekday, open_step)?;
    let years = match year {
        Some(piece) => years(piece)?,
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

impl<'a> Piece<'a> {
    fn trimmed(self) -> Piece<'a> {
        let text = self.text.trim_ascii_start();
        Piece {
            at: self.at + self.text.len() - text.len(),
            text: text.trim_ascii_end(),
        }
    }

    /// Cuts at a byte between two characters.
    fn split_at(self, middle: usize) -> (Piece<'a>, Piece<'a>) {
        let (left, right) = self.text.split_at(middle);
        (
            Piece {
                text: left,
                at: self.at,
            },
            Piece {
                text: right,
                at: self.at + middle,
            },
        )
    }

    /// What is on either side of the first `separator`.
    fn split_once(self, separator: char) -> Option<(Piece<'a>, Piece<'a>)> {
        let middle = self.text.find(separator)?;
        let (left, right) = self.split_at(middle);
        Some((left, right.split_at(separator.len_utf8()).1))
    }

    /// The part without a prefix or suffix in any case.
    fn without_suffix(self, suffix: char) -> Option<Piece<'a>> {
        let text = self
            .text
            .strip_suffix(|c: char| c.eq_ignore_ascii_case(&suffix))?;
        Some(Piece { text, at: self.at })
    }

    fn span(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    fn error(self, message: impl Into<String>, label: impl Into<String>) -> TriggerError {
        TriggerError {
            message: message.into(),
            label: label.into(),
            hint: None,
            span: self.span(),
        }
    }
}

fn hinted(mut error: TriggerError, hint: impl Into<String>) -> TriggerError {
    error.hint = Some(hint.into());
    error
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
fn set(field: &Field, piece: Piece, open_step: bool) -> Result<u64, TriggerError> {
    let mut bits = 0;
    for part in parts(piece) {
        bits |= values(field, part, piece, open_step)?.bits();
    }
    Ok(bits)
}

fn years(piece: Piece) -> Result<Years, TriggerError> {
    if matches!(piece.text, "*" | "?") {
        return Ok(Years::ALL);
    }
    let mut years = Years::NONE;
    for part in parts(piece) {
        for year in values(&YEAR, part, piece, true)?.iter() {
            years.insert(year);
        }
    }
    Ok(years)
}

fn month_days(piece: Piece, open_step: bool) -> Result<MonthDays, TriggerError> {
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
            found.days |= values(&MONTH_DAY, part, piece, open_step)?.bits() as u32;
        }
    }
    Ok(found)
}

/// The day-of-week field, and whether a `+` asks for both day fields to match.
fn weekdays(piece: Piece, open_step: bool) -> Result<(Weekdays, bool), TriggerError> {
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
            let bits = values(&WEEKDAY, part, field, open_step)?.bits();
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

/// One part of a list: `*`, `5`, `5-9`, each with or without `/step`.
fn values(
    field: &Field,
    part: Piece,
    list: Piece,
    open_step: bool,
) -> Result<Values, TriggerError> {
    if part.text.is_empty() {
        // Point to a comma beside it, or to the whole where there is none.
        let at = if part.at > list.at {
            part.at - 1
        } else {
            part.at
        };
        return Err(TriggerError {
            message: format!("a {} is missing", field.name),
            label: field.label.to_owned(),
            hint: None,
            span: at..at + 1,
        });
    }
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (part, None),
    };
    let every = step.map(|step| step_of(field, part, step)).transpose()?;
    let (from, to) = if range.text == "*" {
        (field.lowest, field.highest)
    } else if range.text == "?" {
        if !matches!(field.name, "day of the month" | "day of the week") {
            return Err(hinted(
                range.error(
                    "`?` may stand only for a day of the month or of the week",
                    field.label,
                ),
                "write `*`",
            ));
        }
        (field.lowest, field.highest)
    } else if range.text.is_empty() {
        return Err(hinted(
            part.error(
                format!("a {} is missing before `/`", field.name),
                field.label,
            ),
            format!("write `*{}`", part.text),
        ));
    } else if let Some((first, last)) = range.split_once('-') {
        range_of(field, range, first, last, every)?
    } else {
        let from = value(field, range)?;
        match step {
            None => (from, from),
            // Sunday to Saturday; 7 would count Sunday twice.
            Some(step) => {
                let highest = field
                    .highest
                    .min(if field.names.len() == 7 { 6 } else { u32::MAX });
                if !open_step {
                    return Err(hinted(
                        part.error(
                            format!("`{}` steps through no range", part.text),
                            "a step follows `*` or a range",
                        ),
                        format!("write `{}-{highest}/{}`", range.text, step.text),
                    ));
                }
                (from, highest.max(from))
            }
        }
    };
    Ok(Values {
        from,
        to,
        step: every.unwrap_or(1),
    })
}

fn step_of(field: &Field, part: Piece, step: Piece) -> Result<u32, TriggerError> {
    const LABEL: &str = "a step is a whole number from 1 on";
    if step.text.is_empty() {
        return Err(part.error(
            format!("the {}'s step is missing after `/`", field.name),
            LABEL,
        ));
    }
    // A step beyond the range is legal and leaves the first value; so is one beyond any number.
    match whole_number(step.text) {
        Some(0) => Err(step.error("a step of 0 goes nowhere", LABEL)),
        Some(step) => Ok(step),
        None => Err(step.error(format!("`{}` is not a step", step.text), LABEL)),
    }
}

/// The ends of a range, in order.
fn range_of(
    field: &Field,
    range: Piece,
    first: Piece,
    last: Piece,
    step: Option<u32>,
) -> Result<(u32, u32), TriggerError> {
    if first.text.is_empty() || last.text.is_empty() {
        // `-5` is meant as a negative number more often than as half a range.
        return Err(range.error(
            format!("`{}` is not a {}", range.text, field.name),
            field.label,
        ));
    }
    let from = value(field, first)?;
    let mut to = value(field, last)?;
    // The week ends on Sunday as well as it begins on it, when it is called by name.
    let named_sunday = field.names.len() == 7 && last.text.eq_ignore_ascii_case("sun");
    if named_sunday && from > 0 {
        to = 7;
    }
    if from <= to {
        return Ok((from, to));
    }
    let error = range.error(
        format!("`{}` runs backwards", range.text),
        "a range runs from the lower to the higher value",
    );
    Err(match two_part_list(field, first, last, from, to, step) {
        Some(list) => hinted(error, format!("write `{list}`")),
        None => error,
    })
}

/// What a range that wraps around would mean, as a list of two that do not.
fn two_part_list(
    field: &Field,
    first: Piece,
    last: Piece,
    from: u32,
    to: u32,
    step: Option<u32>,
) -> Option<String> {
    if field.names.is_empty() && field.name == "year" {
        return None;
    }
    let is_week = field.names.len() == 7;
    // Sunday to Saturday, for a Sunday must not come twice.
    let highest = if is_week { 6 } else { field.highest };
    let named = !is_number(first.text) || !is_number(last.text);
    let show = |value: u32| {
        let name = field.names.get((value - field.lowest) as usize);
        match name.filter(|_| named) {
            Some(name) if first.text.chars().all(|c| c.is_ascii_uppercase()) => name.to_uppercase(),
            Some(name) => (*name).to_owned(),
            None => value.to_string(),
        }
    };
    let every = step.unwrap_or(1);
    let suffix = step.map(|step| format!("/{step}")).unwrap_or_default();
    let written = |from: u32, to: u32| {
        if to - from < every {
            show(from)
        } else {
            format!("{}-{}{suffix}", show(from), show(to))
        }
    };
    if is_week && from == 7 {
        // 7 is where the week begins.
        return Some(written(0, to));
    }
    let head = written(from, highest);
    // Where the steps land after the turn.
    let over = (highest - from) % every;
    let start = field.lowest.checked_add(every - over - 1)?;
    Some(if start <= to {
        format!("{head},{}", written(start, to))
    } else {
        head
    })
}

/// A number or a name.
fn value(field: &Field, piece: Piece) -> Result<u32, TriggerError> {
    if let Some(index) = field
        .names
        .iter()
        .position(|name| name.eq_ignore_ascii_case(piece.text))
    {
        // At most twelve names.
        return Ok(field.lowest + index as u32);
    }
    match whole_number(piece.text) {
        Some(value) if (field.lowest..=field.highest).contains(&value) => Ok(value),
        Some(_) => Err(out_of_range(field, piece)),
        None => Err(not_a_value(field, piece)),
    }
}

fn out_of_range(field: &Field, piece: Piece) -> TriggerError {
    piece.error(
        format!("{} {} is out of range", field.name, piece.text),
        field.label,
    )
}

fn not_a_value(field: &Field, piece: Piece) -> TriggerError {
    let text = piece.text;
    if text.eq_ignore_ascii_case("h") || text.to_ascii_lowercase().starts_with("h(") {
        return hinted(
            piece.error(
                "`H`, a value spread by the job's name, is not supported",
                field.label,
            ),
            format!("write the {} itself", field.name),
        );
    }
    let error = piece.error(format!("`{text}` is not a {}", field.name), field.label);
    let lower = text.to_lowercase();
    // `Monday` for `mon`, `sept` for `sep`.
    let meant = field
        .names
        .iter()
        .find(|name| lower.starts_with(*name))
        .or_else(|| {
            field
                .names
                .iter()
                .find(|name| strsim::damerau_levenshtein(name, &lower) == 1 && lower.len() > 1)
        });
    match meant {
        Some(name) => hinted(error, format!("did you mean `{name}`?")),
        None => match text.chars().position(|c| !c.is_ascii()) {
            // A digit or letter from another script looks right and is not.
            Some(at) => {
                let other: String = text.chars().skip(at).take(1).collect();
                hinted(error, format!("`{other}` is not a plain letter or digit"))
            }
            None => error,
        },
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A whole number; one too large for the type is the largest, which is out of every range.
fn whole_number(text: &str) -> Option<u32> {
    is_number(text).then(|| {
        text.bytes().fold(0, |number: u32, digit| {
            number
                .saturating_mul(10)
                .saturating_add(u32::from(digit - b'0'))
        })
    })
}

impl Values {
    fn iter(self) -> impl Iterator<Item = u32> {
        (self.from..=self.to).step_by(self.step as usize)
    }

    /// As a bit set; the values are below 64.
    fn bits(self) -> u64 {
        if self.step == 1 {
            return (u64::MAX >> (63 - self.to)) & (u64::MAX << self.from);
        }
        self.iter().fold(0, |bits, value| bits | 1 << value)
    }
}

#[cfg(test)]
mod tests;
