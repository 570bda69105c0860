//! The texts of a calendar schedule: how often and at what times. The days are in `on`.
//!
//! Words are read in any case, and white space does not count. What is commonly written and could
//! mean two things (`-3`, `2w`, `9am`) is refused with the spelling that means one.

mod on;

use std::ops::Range;

pub(super) use self::on::on;
use super::DAY;
use super::dates::Unit;
use super::words;
use crate::suggest::nearest;
use crate::trigger::TriggerError;

/// How often: of so many periods, one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Period {
    pub(super) count: u32,
    pub(super) unit: Unit,
}

/// The most periods of a unit between two that count.
const MOST: u32 = 1000;
/// The same for years: all those that schedules answer for.
const MOST_YEARS: u32 = 131;

const EVERY_LABEL: &str = "a period is `day`, `2 weeks`, `3 months` or `year`";
const AT_LABEL: &str = "a time is 00:00 to 23:59, or with seconds 00:00:00 to 23:59:59";

/// How periods are written; those that stand without a number come after.
const UNITS: &[(&str, Unit, bool)] = &[
    ("day", Unit::Day, true),
    ("days", Unit::Day, true),
    ("week", Unit::Week, true),
    ("weeks", Unit::Week, true),
    ("month", Unit::Month, true),
    ("months", Unit::Month, true),
    ("year", Unit::Year, true),
    ("years", Unit::Year, true),
    ("daily", Unit::Day, false),
    ("weekly", Unit::Week, false),
    ("monthly", Unit::Month, false),
    ("yearly", Unit::Year, false),
    ("annually", Unit::Year, false),
];

/// What is written for a period elsewhere, and here.
const OTHERWISE: &[(&str, &str)] = &[
    ("d", "day"),
    ("w", "week"),
    ("wk", "week"),
    ("wks", "week"),
    ("mo", "month"),
    ("mon", "month"),
    ("mth", "month"),
    ("y", "year"),
    ("yr", "year"),
    ("yrs", "year"),
];

/// Periods that are a number of others.
const COMPOUND: &[(&str, u32, &str)] = &[
    ("fortnight", 2, "week"),
    ("fortnightly", 2, "week"),
    ("biweekly", 2, "week"),
    ("bimonthly", 2, "month"),
    ("quarter", 3, "month"),
    ("quarterly", 3, "month"),
    ("semester", 6, "month"),
    ("decade", 10, "year"),
];

/// A piece of a text and where it begins.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Piece<'a> {
    fn of(text: &'a str) -> Piece<'a> {
        Piece { text, at: 0 }
    }

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
        let at = self.at + middle;
        (
            Piece {
                text: left,
                at: self.at,
            },
            Piece { text: right, at },
        )
    }

    /// What is on either side of the first `separator`.
    fn split_once(self, separator: char) -> Option<(Piece<'a>, Piece<'a>)> {
        let (left, right) = self.split_at(self.text.find(separator)?);
        Some((left, right.split_at(separator.len_utf8()).1))
    }

    /// The digits that it begins with, and the rest.
    fn split_number(self) -> (Piece<'a>, Piece<'a>) {
        let end = self
            .text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(self.text.len());
        self.split_at(end)
    }

    /// What stands between commas; a piece of its own where there are none.
    fn parts(self) -> impl Iterator<Item = Piece<'a>> {
        let mut rest = Some(self);
        std::iter::from_fn(move || {
            let current = rest?;
            let (part, after) = match current.split_once(',') {
                Some((part, after)) => (part, Some(after)),
                None => (current, None),
            };
            rest = after;
            Some(part.trimmed())
        })
    }

    /// What stands between white space.
    fn words(self) -> Vec<Piece<'a>> {
        let mut found = Vec::new();
        let mut rest = self.trimmed();
        while !rest.text.is_empty() {
            let end = rest
                .text
                .find(|c: char| c.is_ascii_whitespace())
                .unwrap_or(rest.text.len());
            let (word, after) = rest.split_at(end);
            found.push(word);
            rest = after.trimmed();
        }
        found
    }

    fn is(self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }

    fn span(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    /// As it is told in a message: not at any length.
    fn shown(self) -> String {
        const LONGEST: usize = 40;
        match self.text.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("`{}…`", self.text.get(..end).unwrap_or_default()),
            None => format!("`{}`", self.text),
        }
    }

    fn error(self, message: impl Into<String>, label: &str) -> TriggerError {
        TriggerError {
            message: message.into(),
            label: label.to_owned(),
            hint: None,
            span: self.span(),
        }
    }
}

fn hinted(mut error: TriggerError, hint: impl Into<String>) -> TriggerError {
    error.hint = Some(hint.into());
    error
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A whole number; one too large for the type is the largest, which is out of every range.
fn number(text: &str) -> Option<u32> {
    is_number(text).then(|| text.parse().unwrap_or(u32::MAX))
}

/// A character that looks like a plain one and is not, as a hint.
fn strange(piece: Piece) -> Option<String> {
    let strange = piece.text.chars().find(|c| !c.is_ascii())?;
    Some(format!("`{strange}` is not a plain letter or digit"))
}

/// Reads `2 weeks`, `day`, `monthly`.
pub(super) fn every(text: &str) -> Result<Period, TriggerError> {
    let whole = Piece::of(text).trimmed();
    if whole.text.is_empty() {
        return Err(Piece::of(text).error("`every` does not say how often", EVERY_LABEL));
    }
    let (digits, rest) = whole.split_number();
    let name = rest.trimmed();
    let count = number(digits.text);
    let unit = UNITS
        .iter()
        .find(|(word, _, counts)| name.is(word) && (*counts || count.is_none()));
    let Some((_, unit, _)) = unit else {
        return Err(no_period(whole, count, name));
    };
    let most = match unit {
        Unit::Year => MOST_YEARS,
        Unit::Day | Unit::Week | Unit::Month => MOST,
    };
    match count.unwrap_or(1) {
        0 => Err(digits.error(
            format!("every 0 {}s is never", words::unit(*unit)),
            "a number from 1 on",
        )),
        count if count > most => Err(digits.error(
            format!(
                "{} {}s are too long a period",
                digits.shown(),
                words::unit(*unit)
            ),
            &format!("a number from 1 to {most}"),
        )),
        count => Ok(Period { count, unit: *unit }),
    }
}

/// What is wrong with a period: `name` is what follows the number.
fn no_period(whole: Piece, count: Option<u32>, name: Piece) -> TriggerError {
    let plain = |count: u32, unit: &str| match count {
        1 => format!("write `{unit}`"),
        _ => format!("write `{count} {unit}s`"),
    };
    let error = whole.error(
        format!("{} is not a period of the calendar", whole.shown()),
        EVERY_LABEL,
    );
    if name.text.is_empty() {
        let unsaid = whole.error(format!("{} of what?", whole.shown()), EVERY_LABEL);
        return hinted(unsaid, "write the unit after it, as in `2 weeks`");
    }
    if whole.text.starts_with(['-', '+', '.', ',']) || name.text.starts_with(['.', ',', '/']) {
        return hinted(error, "the number is a whole one from 1 on");
    }
    let words = name.words();
    if let [first, rest @ ..] = &*words
        && (first.is("every") || first.is("each"))
        && let Some(second) = rest.first()
        && !(second.is("every") || second.is("each"))
        && let Some(rest) = name.text.get(second.at - name.at..)
    {
        let hint = every(rest).is_ok().then(|| format!("write `{rest}`"));
        return TriggerError { hint, ..error };
    }
    let (first, second) = match *words {
        [first] => (first, None),
        [first, second] => (first, Some(second)),
        _ => return error,
    };
    let known = |word: Piece| {
        let unit = UNITS.iter().find(|(known, _, _)| word.is(known));
        unit.map(|(_, unit, _)| words::unit(*unit)).or_else(|| {
            let other = OTHERWISE.iter().find(|(other, _)| word.is(other));
            other.map(|(_, unit)| *unit)
        })
    };
    if let Some(second) = second {
        // `two weeks`, `other week`, `second week`.
        let times = if first.is("other") {
            Some(2)
        } else {
            [
                "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
            ]
            .iter()
            .zip(words::ORDINALS)
            .position(|(cardinal, ordinal)| first.is(cardinal) || first.is(ordinal))
            .and_then(|index| u32::try_from(index + 1).ok())
        };
        return match (count, times, known(second)) {
            (None, Some(times), Some(unit)) => hinted(error, plain(times, unit)),
            _ => error,
        };
    }
    if let Some(unit) = known(first) {
        return hinted(error, plain(count.unwrap_or(1), unit));
    }
    if let Some((_, times, unit)) = COMPOUND.iter().find(|(word, _, _)| {
        first.is(word)
            || first
                .text
                .strip_suffix('s')
                .is_some_and(|one| one.eq_ignore_ascii_case(word))
    }) {
        return hinted(error, plain(times.saturating_mul(count.unwrap_or(1)), unit));
    }
    let lower = first.text.to_ascii_lowercase();
    match lower.as_str() {
        "m" => hinted(error, "`m` could be minutes: write `month`, or an interval"),
        "s" | "sec" | "second" | "seconds" | "min" | "minute" | "minutes" | "h" | "hour"
        | "hours" | "hourly" => hinted(
            error,
            "a calendar counts days and more: for shorter periods write \"interval\" or \"cron\"",
        ),
        "workday" | "workdays" | "weekday" | "weekdays" => {
            hinted(error, "write \"every\": \"week\", \"on\": \"mon-fri\"")
        }
        _ => {
            let units = UNITS.iter().map(|(word, _, _)| *word);
            let near = nearest(first.text, units).map(|unit| match count {
                Some(count) => format!("did you mean `{count} {unit}`?"),
                None => format!("did you mean `{unit}`?"),
            });
            TriggerError {
                hint: strange(whole).or(near),
                ..error
            }
        }
    }
}

/// Reads times of the day into seconds since midnight: in order, each once.
pub(super) fn at(texts: &[&str]) -> Result<Vec<i64>, (usize, TriggerError)> {
    let mut times = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        for part in Piece::of(text).parts() {
            times.push(time(part, text).map_err(|error| (index, error))?);
        }
    }
    times.sort_unstable();
    times.dedup();
    if times.is_empty() {
        let error = Piece::of("").error("`at` does not say at what time", AT_LABEL);
        return Err((0, hinted(error, "write for example \"at\": \"09:00\"")));
    }
    Ok(times)
}

/// An empty part of a list: points to the comma beside it, or to the whole text.
fn missing(part: Piece, text: &str, what: &str, label: &str) -> TriggerError {
    let comma = if text.contains(',') {
        let before = text.get(..part.at).and_then(|before| before.rfind(','));
        before.or_else(|| text.find(','))
    } else {
        None
    };
    TriggerError {
        span: comma.map_or(0..text.len(), |comma| comma..comma + 1),
        ..part.error(format!("{what} is missing"), label)
    }
}

fn time(part: Piece, text: &str) -> Result<i64, TriggerError> {
    if part.text.is_empty() {
        return Err(missing(part, text, "a time", AT_LABEL));
    }
    let mut fields = part.text.split(':');
    let (hour, minute) = (fields.next().unwrap_or_default(), fields.next());
    let (second, more) = (fields.next(), fields.next());
    // Two digits each; the hour may do with one.
    let two = |text: &str| number(text).filter(|_| text.len() == 2);
    let read = (
        two(hour).or_else(|| number(hour).filter(|_| hour.len() == 1)),
        minute.and_then(two),
        second.map_or(Some(0), two),
        more,
    );
    let (Some(hour), Some(minute), Some(second), None) = read else {
        return Err(no_time(part));
    };
    let named = [
        ("hour", hour, 24),
        ("minute", minute, 60),
        ("second", second, 60),
    ];
    let mut at = part.at;
    for ((name, value, end), digits) in named.into_iter().zip(part.text.split(':')) {
        if value >= end {
            let error = TriggerError {
                span: at..at + digits.len(),
                ..part.error(
                    format!("{name} {value} is out of range"),
                    &format!(
                        "{} {name} is 0-{}",
                        if end == 24 { "an" } else { "a" },
                        end - 1
                    ),
                )
            };
            return Err(if (hour, minute, second) == (24, 0, 0) {
                hinted(error, "the day ends where the next begins: write `00:00`")
            } else {
                error
            });
        }
        at += digits.len() + 1;
    }
    let time = i64::from(hour * 3600 + minute * 60 + second);
    debug_assert!(time < DAY);
    Ok(time)
}

/// What is wrong with a time.
fn no_time(part: Piece) -> TriggerError {
    let error = part.error(
        format!("{} is not a time of the day", part.shown()),
        AT_LABEL,
    );
    let lower = part.text.to_ascii_lowercase();
    let clock = |hour: u32, minute: u32| format!("write `{hour:02}:{minute:02}`");
    let hint = match lower.as_str() {
        "noon" | "midday" => Some(clock(12, 0)),
        "midnight" => Some(clock(0, 0)),
        _ if lower.ends_with('z') || lower.contains(['+', '-']) => {
            Some("it is read in the trigger's `timezone`: write the time alone".to_owned())
        }
        _ => {
            // `9`, `9am`, `9:30 pm`, `9.30`, `0930`, `9h30`, `9:5`.
            let body = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '.');
            let half = lower.get(body.len()..).unwrap_or_default().replace('.', "");
            let mut numbers = body.trim_ascii().split([':', '.', 'h', ' ']);
            let (first, second, third) = (numbers.next(), numbers.next(), numbers.next());
            let (hour, minute) = match (first.unwrap_or_default(), second) {
                (digits, None) if digits.len() == 4 => (
                    digits.get(..2).and_then(number),
                    digits.get(2..).and_then(number),
                ),
                (hour, minute) => (number(hour), minute.map_or(Some(0), number)),
            };
            match (half.as_str(), hour, minute, third) {
                ("" | "h", Some(hour @ 0..24), Some(minute @ 0..60), None) => {
                    Some(clock(hour, minute))
                }
                ("am", Some(hour @ 1..=12), Some(minute @ 0..60), None) => {
                    Some(clock(hour % 12, minute))
                }
                ("pm", Some(hour @ 1..=12), Some(minute @ 0..60), None) => {
                    Some(clock(hour % 12 + 12, minute))
                }
                _ => strange(part),
            }
        }
    };
    TriggerError { hint, ..error }
}
