//! What to write instead of something that is no day of a month or a year.

use super::{day_number, month, rule, weekday};
use crate::suggest::nearest;
use crate::trigger::calendar::parse::{Piece, is_number, number, strange};
use crate::trigger::calendar::words::{self, ORDINALS, WEEKDAYS};
use crate::trigger::civil::{self, MONTHS};

/// Which of the names, whole or short, a mistyped word was meant to be.
pub(super) fn meant(word: Piece, names: &[&'static str]) -> Option<String> {
    let short = names.iter().filter_map(|name| name.get(..3));
    let near = nearest(word.text, names.iter().copied().chain(short))?;
    Some(format!("did you mean `{}`?", near.to_lowercase()))
}

/// What to write instead of something that is no day of a month.
pub(super) fn meant_of_month(part: Piece) -> Option<String> {
    let lower = part.text.to_ascii_lowercase();
    let words = part.words();
    if let [word] = *words {
        if let Some(day) = weekday(word).and_then(|day| WEEKDAYS.get(day as usize)) {
            let day = words::short(day);
            return Some(format!(
                "a month has several: write `first {day}` to `fifth {day}`, or `last {day}`"
            ));
        }
        // Other tools' spellings. `-1` is the last day to some, the one before it to others.
        let back = lower.strip_prefix("l-").or(lower.strip_prefix('-'));
        if let Some(days) = back.and_then(number) {
            let s = if days == 1 { "" } else { "s" };
            return Some(format!(
                "`last` is the last day, `{days} before last` the one {days} day{s} earlier"
            ));
        }
        if let Some((day, week)) = word.split_once('#')
            && let (Some(_), Some(week)) = (weekday(day), number(week.text))
            && let Some(nth) = ORDINALS.get(week.checked_sub(1)? as usize)
        {
            return Some(format!("write `{nth} {}`", day.text));
        }
        if let Some(day) = lower.strip_suffix('l')
            && weekday(Piece::of(day)).is_some()
        {
            return Some(format!("write `last {day}`"));
        }
        let (digits, suffix) = word.split_number();
        if let Some(day @ 1..=31) = number(digits.text)
            && ["st", "nd", "rd", "th"]
                .iter()
                .any(|known| suffix.is(known))
        {
            return Some(format!("write `{}`", civil::numbered(day)));
        }
        if let Some((from, to)) = word.split_once('-')
            && is_number(from.text)
            && is_number(to.text)
        {
            return Some(format!(
                "several days are a list: `{}, {}`; for a date of the year write \"every\": \"year\"",
                from.text, to.text
            ));
        }
        return match lower.as_str() {
            "l" => Some("write `last`".to_owned()),
            "lw" => Some("write `last workday`".to_owned()),
            "first" => Some("write `1`".to_owned()),
            "workday" | "workdays" | "weekday" | "weekdays" => Some(
                "write `first workday` or `last workday`; for all of them, \"every\": \"week\""
                    .to_owned(),
            ),
            "*" => Some("for every day write \"every\": \"day\"".to_owned()),
            _ if nearest(part.text, ["last"].into_iter()).is_some() => {
                Some("did you mean `last`?".to_owned())
            }
            _ => strange(part),
        };
    }
    if let [nth, what] = *words {
        let is_nth =
            nth.is("last") || ORDINALS.iter().any(|word| nth.is(word)) || day_number(nth).is_some();
        if is_nth {
            if what.is("weekday") {
                return Some(format!("write `{} workday`", nth.text));
            }
            let near = nearest(what.text, WEEKDAYS.into_iter().chain(["workday", "day"]))?;
            let near = match WEEKDAYS.contains(&near) {
                true => words::short(near),
                false => near.to_owned(),
            };
            return Some(format!("did you mean `{} {near}`?", nth.text));
        }
        let ordinals = ORDINALS.into_iter().take(5).chain(["last"]);
        if weekday(what).is_some() || what.is("workday") {
            let near = nearest(nth.text, ordinals)?;
            return Some(format!("did you mean `{near} {}`?", what.text));
        }
    }
    if let [nth, business, day] = *words
        && business.is("business")
        && day.is("day")
    {
        return Some(format!("write `{} workday`", nth.text));
    }
    if let [count, days, before, ..] = *words
        && (days.is("day") || days.is("days"))
        && before.is("before")
        && is_number(count.text)
    {
        return Some(format!("write `{} before last`", count.text));
    }
    strange(part)
}

/// What to write instead of something that is no day of a year.
pub(super) fn meant_of_year(part: Piece) -> Option<String> {
    let words = part.words();
    if let [word] = *words {
        if month(word).is_some() {
            return Some(format!("write which day: `1 {}`", part.text));
        }
        let numbers: Vec<&str> = word.text.split(['-', '.', '/']).collect();
        return match *numbers {
            [year, month, day] if year.len() == 4 && is_number(month) && is_number(day) => {
                Some(format!(
                    "a year comes only once: write `{month}-{day}`, or for one time \"at\" alone"
                ))
            }
            [a, b, ""] | [a, b] if is_number(a) && is_number(b) => {
                Some("write the month first, as in `12-24`, or by its name, as in `24 dec`".into())
            }
            _ if word.is("easter") => Some(
                "it moves from year to year: write its dates one by one, each as {\"at\": …}, in \
                 {\"any\": […]}"
                    .to_owned(),
            ),
            _ if weekday(word).is_some() => Some(format!(
                "write which one and of which month: `last {} of nov`",
                part.text
            )),
            _ => strange(part),
        };
    }
    if let [a, b] = *words {
        let name = if day_number(a).is_some() {
            Some(b)
        } else {
            day_number(b).map(|_| a)
        };
        if let Some(name) = name {
            return meant(name, &MONTHS);
        }
    }
    if let [days @ .., of, _] = &*words
        && of.is("of")
        && let (Some(from), Some(to)) = (days.first(), days.last())
    {
        // The day is wrong, not the month.
        let days = Piece {
            text: part.text.get(from.at - part.at..to.span().end - part.at)?,
            at: from.at,
        };
        return meant_of_month(days);
    }
    if let [days @ .., name] = &*words
        && month(*name).is_some()
        && rule(days).ok().flatten().is_some()
    {
        let (days, _) = part.split_at(name.at - part.at);
        return Some(format!("write `{} of {}`", days.trimmed().text, name.text));
    }
    strange(part)
}
