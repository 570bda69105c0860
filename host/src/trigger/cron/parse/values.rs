//! Values: what may stand in one part of a field's list, and what to say of what may not.

use std::ops::Range;

use super::super::dates::YEARS;
use crate::trigger::TriggerError;
use crate::trigger::spread::spread;

/// A field: its name, its range and its names.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) lowest: u32,
    pub(super) highest: u32,
    /// Three-letter names, from the lowest value on.
    pub(super) names: &'static [&'static str],
    /// For a caret: what may stand there.
    pub(super) label: &'static str,
}

pub(super) const SECOND: Field = Field {
    name: "second",
    lowest: 0,
    highest: 59,
    names: &[],
    label: "a second is 0-59",
};
pub(super) const MINUTE: Field = Field {
    name: "minute",
    lowest: 0,
    highest: 59,
    names: &[],
    label: "a minute is 0-59",
};
pub(super) const HOUR: Field = Field {
    name: "hour",
    lowest: 0,
    highest: 23,
    names: &[],
    label: "an hour is 0-23",
};
pub(super) const MONTH_DAY: Field = Field {
    name: "day of the month",
    lowest: 1,
    highest: 31,
    names: &[],
    label: "a day of the month is 1-31, L, L-3, LW or 15W",
};
pub(super) const MONTH: Field = Field {
    name: "month",
    lowest: 1,
    highest: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
    label: "a month is 1-12 or jan-dec",
};
pub(super) const WEEKDAY: Field = Field {
    name: "day of the week",
    lowest: 0,
    highest: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    label: "a day of the week is 0-7 (0 and 7 are Sunday), sun-sat, fri#2 or friL",
};
pub(super) const YEAR: Field = Field {
    name: "year",
    lowest: YEARS.0,
    highest: YEARS.1,
    names: &[],
    label: "a year is 1970-2100",
};

/// What holds for all fields of an expression.
#[derive(Clone, Copy)]
pub(super) struct Form<'a> {
    /// `N/step` means from N on: in any form but crontab's own of five fields.
    pub(super) open_step: bool,
    /// The id of the job, by which `H` is spread.
    pub(super) job: Option<&'a str>,
}

/// A piece of the text and where it begins.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

/// The values of one part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Values {
    from: u32,
    to: u32,
    step: u32,
}

impl Field {
    /// Its name with an article.
    fn one(&self) -> String {
        let article = if self.name == "hour" { "an" } else { "a" };
        format!("{article} {}", self.name)
    }
}

impl<'a> Piece<'a> {
    pub(super) fn trimmed(self) -> Piece<'a> {
        let text = self.text.trim_ascii_start();
        Piece {
            at: self.at + self.text.len() - text.len(),
            text: text.trim_ascii_end(),
        }
    }

    /// Cuts at a byte between two characters.
    pub(super) fn split_at(self, middle: usize) -> (Piece<'a>, Piece<'a>) {
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
    pub(super) fn split_once(self, separator: char) -> Option<(Piece<'a>, Piece<'a>)> {
        let middle = self.text.find(separator)?;
        let (left, right) = self.split_at(middle);
        Some((left, right.split_at(separator.len_utf8()).1))
    }

    /// The part without a prefix or suffix in any case.
    pub(super) fn without_suffix(self, suffix: char) -> Option<Piece<'a>> {
        let text = self
            .text
            .strip_suffix(|c: char| c.eq_ignore_ascii_case(&suffix))?;
        Some(Piece { text, at: self.at })
    }

    pub(super) fn span(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    pub(super) fn error(
        self,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> TriggerError {
        TriggerError {
            message: message.into(),
            label: label.into(),
            hint: None,
            span: self.span(),
        }
    }
}

pub(super) fn hinted(mut error: TriggerError, hint: impl Into<String>) -> TriggerError {
    error.hint = Some(hint.into());
    error
}

/// One part of a list: `*`, `5`, `5-9`, `H`, `H(5-9)`, each with or without `/step`.
pub(super) fn values(
    field: &Field,
    part: Piece,
    list: Piece,
    form: Form,
) -> Result<Values, TriggerError> {
    if part.text.is_empty() {
        // Point to a comma beside it, or to the whole where there is none.
        let at = if part.at > list.at {
            part.at - 1
        } else {
            part.at
        };
        return Err(TriggerError {
            message: format!("{} is missing", field.one()),
            label: field.label.to_owned(),
            hint: None,
            span: at..at + 1,
        });
    }
    // Most parts are one number.
    if let Some(number) = whole_number(part.text)
        && (field.lowest..=field.highest).contains(&number)
    {
        return Ok(Values {
            from: number,
            to: number,
            step: 1,
        });
    }
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (part, None),
    };
    let every = step.map(|step| step_of(field, part, step)).transpose()?;
    if let Some(inside) = spread_part(range) {
        return spread_values(field, range, inside, every, form);
    }
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
                format!("{} is missing before `/`", field.one()),
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
                if !form.open_step {
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

/// What follows the `H` of a part that begins with one, if it does: nothing, or `(5-9)`.
fn spread_part(range: Piece<'_>) -> Option<Piece<'_>> {
    let head = range.text.get(..1)?;
    let (_, inside) = range.split_at(1);
    (head.eq_ignore_ascii_case("h") && (inside.text.is_empty() || inside.text.starts_with('(')))
        .then_some(inside)
}

/// `H`: one value of the field, or every `step`-th from one on, which the job's id decides. As in
/// Jenkins, a day of the month is one that every month has.
fn spread_values(
    field: &Field,
    range: Piece,
    inside: Piece,
    step: Option<u32>,
    form: Form,
) -> Result<Values, TriggerError> {
    const LABEL: &str = "H, H(9-17), H/15 or H(0-29)/10";
    if field.name == YEAR.name {
        return Err(range.error("`H` does not stand for a year", field.label));
    }
    let (from, to) = if inside.text.is_empty() {
        let highest = match field.name {
            name if name == MONTH_DAY.name => 28,
            name if name == WEEKDAY.name => 6,
            _ => field.highest,
        };
        (field.lowest, highest)
    } else {
        let ends = inside
            .text
            .strip_prefix('(')
            .and_then(|it| it.strip_suffix(')'));
        let ends = ends.map(|text| Piece {
            text,
            at: inside.at + 1,
        });
        match ends.and_then(|ends| Some((ends, ends.split_once('-')?))) {
            Some((ends, (first, last))) => {
                range_of(field, ends, first, last, step).map_err(|mut error| {
                    error.hint = None; // a list of two is not one place
                    error
                })?
            }
            None => {
                return Err(range.error(
                    format!("`{}` says not between which values", range.text),
                    LABEL,
                ));
            }
        }
    };
    let Some(job) = form.job else {
        return Err(hinted(
            range.error(
                "`H` is spread by the id of a job, and there is none",
                field.label,
            ),
            "name the job whose id it is, or write the value itself",
        ));
    };
    let values = to - from + 1;
    // Each field has a place of its own, or all jobs of one minute would share their hour.
    let place = |bound: u32| spread(job, field.name.as_bytes(), u64::from(bound)) as u32; // < bound
    Ok(match step {
        None => {
            let value = from + place(values);
            Values {
                from: value,
                to: value,
                step: 1,
            }
        }
        Some(step) => Values {
            from: from + place(step.min(values)),
            to,
            step,
        },
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
            format!("`{}` is not {}", range.text, field.one()),
            field.label,
        ));
    }
    let (mut from, mut to) = (value(field, first)?, value(field, last)?);
    if field.names.len() == 7 {
        // The week begins and ends on Sunday, whichever way it is written: FRI-SUN, 5-0, 7-MON.
        if from == 7 && to < 7 {
            from = 0;
        } else if to == 0 && from > 0 {
            to = 7;
        }
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
pub(super) fn value(field: &Field, piece: Piece) -> Result<u32, TriggerError> {
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

pub(super) fn out_of_range(field: &Field, piece: Piece) -> TriggerError {
    piece.error(
        format!("{} {} is out of range", field.name, piece.text),
        field.label,
    )
}

pub(super) fn not_a_value(field: &Field, piece: Piece) -> TriggerError {
    let text = piece.text;
    let error = piece.error(format!("`{text}` is not {}", field.one()), field.label);
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

pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A whole number; one too large for the type is the largest, which is out of every range.
pub(super) fn whole_number(text: &str) -> Option<u32> {
    is_number(text).then(|| {
        text.bytes().fold(0, |number: u32, digit| {
            number
                .saturating_mul(10)
                .saturating_add(u32::from(digit - b'0'))
        })
    })
}

impl Values {
    pub(super) fn iter(self) -> impl Iterator<Item = u32> {
        (self.from..=self.to).step_by(self.step as usize)
    }

    /// As a bit set; the values are below 64.
    pub(super) fn bits(self) -> u64 {
        if self.step == 1 {
            return (u64::MAX >> (63 - self.to)) & (u64::MAX << self.from);
        }
        self.iter().fold(0, |bits, value| bits | 1 << value)
    }
}
