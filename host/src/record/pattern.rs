//! A part of a run's id, as somebody has typed or copied it.

use std::fmt;
use std::ops::RangeInclusive;

use crate::run::RunId;

/// The letters that ids are written in, each worth its place (Crockford's Base32).
const LETTERS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// How many letters an id has.
const LENGTH: usize = 26;

/// Bits of a letter. Those of 26 are two more than an id has: the first one is at most `7`.
const BITS: usize = 5;

/// Which ids are meant by a part of one: those that begin or end so, or those that do both where
/// the middle was left out, as in `01KJM…C5EH`.
///
/// ```
/// use quarterjack::record::RunPattern;
/// use quarterjack::run::RunId;
/// let id: RunId = "01KJMZ7Q8W3D9T6B4RX2VNC5EH".parse().unwrap();
/// for typed in ["01KJMZ", "c5eh", "01KJM…C5EH", "01kjm...c5eh"] {
///     assert!(RunPattern::parse(typed).unwrap().matches(id), "{typed}");
/// }
/// assert!(!RunPattern::parse("01KJN").unwrap().matches(id));
/// assert!(RunPattern::parse("backup").is_none(), "no id has a `u`");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPattern {
    /// As it was typed.
    text: String,
    /// The ids that begin so; nothing if none can.
    beginning: Option<RangeInclusive<u128>>,
    /// The lowest bits of the ids that end so, and what they are; nothing if none can.
    ending: Option<(u128, u128)>,
    /// Whether an id must begin and end so, and not just one of them.
    both: bool,
}

impl RunPattern {
    /// Reads a part of an id. Nothing if it cannot be one: it has other letters, or too many.
    /// Capitals and small letters are the same, and so are those that look alike.
    pub fn parse(typed: &str) -> Option<RunPattern> {
        let text = typed.trim();
        let middle = ["…", "...", ".."]
            .into_iter()
            .find_map(|dots| text.split_once(dots));
        let (first, last) = middle.unwrap_or((text, text));
        let (first, last) = (digits(first)?, digits(last)?);
        let both = middle.is_some();
        let length = if both {
            first.len() + last.len()
        } else {
            first.len()
        };
        if length == 0 || length > LENGTH {
            return None;
        }
        let pattern = RunPattern {
            text: text.to_owned(),
            beginning: beginning(&first),
            ending: ending(&last),
            both,
        };
        let possible = if both {
            pattern.beginning.is_some() && pattern.ending.is_some()
        } else {
            pattern.beginning.is_some() || pattern.ending.is_some()
        };
        possible.then_some(pattern)
    }

    /// Whether an id is meant.
    pub fn matches(&self, id: RunId) -> bool {
        let number = id.to_u128();
        let begins = (self.beginning.as_ref()).is_some_and(|range| range.contains(&number));
        let ends = self
            .ending
            .is_some_and(|(mask, bits)| number & mask == bits);
        if self.both {
            begins && ends
        } else {
            begins || ends
        }
    }

    /// The ids that begin so, as the first and the last of them; nothing if none can. Ids sort as
    /// their numbers do.
    pub fn beginning(&self) -> Option<RangeInclusive<RunId>> {
        let range = self.beginning.as_ref()?;
        Some(RunId::from_u128(*range.start())..=RunId::from_u128(*range.end()))
    }

    /// The lowest bits of the ids that end so, as a mask and what is under it; nothing if none
    /// can.
    pub fn ending(&self) -> Option<(u128, u128)> {
        self.ending
    }

    /// Whether an id must begin and end so, and not just one of them.
    pub fn is_both(&self) -> bool {
        self.both
    }
}

impl fmt::Display for RunPattern {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.pad(&self.text)
    }
}

/// What each letter is worth; nothing if one of them is none.
fn digits(text: &str) -> Option<Vec<u128>> {
    // No id is so long, and what is no letter need not be looked at to the end.
    if text.len() > LENGTH {
        return None;
    }
    text.chars()
        .map(|letter| {
            let letter = match letter.to_ascii_uppercase() {
                'I' | 'L' => '1',
                'O' => '0',
                other => other,
            };
            Some(LETTERS.find(letter)? as u128)
        })
        .collect()
}

fn number(digits: &[u128]) -> u128 {
    (digits.iter()).fold(0, |number, digit| number << BITS | digit)
}

fn beginning(digits: &[u128]) -> Option<RangeInclusive<u128>> {
    match digits.first() {
        None => return Some(0..=u128::MAX),
        Some(8..) => return None,
        Some(_) => {}
    }
    // At most 125: at least one letter is given.
    let rest = BITS * (LENGTH - digits.len());
    let least = number(digits) << rest;
    Some(least..=least | ((1 << rest) - 1))
}

fn ending(digits: &[u128]) -> Option<(u128, u128)> {
    if digits.len() < LENGTH {
        return Some(((1 << (BITS * digits.len())) - 1, number(digits)));
    }
    match digits.first() {
        Some(8..) => None,
        _ => Some((u128::MAX, number(digits))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_part_of_an_id_is_told_apart() {
        for typed in [
            "",
            " ",
            "…",
            "backup",
            "hello, tower",
            "01KJM-C5EH",
            "8…0",
            "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "01KJMZ7Q8W3D9T6B4RX2VNC5EH0",
            "01KJMZ7Q8W3D9…T6B4RX2VNC5EH0",
            "a…b…c",
            "é",
        ] {
            assert_eq!(RunPattern::parse(typed), None, "{typed}");
        }
    }

    #[test]
    fn letters_that_look_alike_are_the_same() {
        let id: RunId = "01KJMZ7Q8W3D9T6B4RX2VN0511".parse().unwrap();
        for typed in ["0LK", "oik", "O5il", "0IKJMZ7Q8W3D9T6B4RX2VNo5lI"] {
            assert!(RunPattern::parse(typed).unwrap().matches(id), "{typed}");
        }
    }

    proptest! {
        #[test]
        fn a_part_of_an_id_is_found_in_the_id_and_nowhere_else(
            id: u128, other: u128, first in 0_usize..=26, last in 0_usize..=26, small: bool,
        ) {
            let (id, other) = (RunId::from_u128(id), RunId::from_u128(other));
            let case = |text: &str| if small { text.to_lowercase() } else { text.to_owned() };
            let (text, stranger) = (id.to_string(), other.to_string());
            let (head, tail) = (&text[..first], &text[26 - last..]);
            if first > 0 {
                let pattern = RunPattern::parse(&case(head)).unwrap();
                prop_assert!(pattern.matches(id));
                prop_assert!(pattern.beginning().unwrap().contains(&id));
                let alike = stranger.starts_with(head) || stranger.ends_with(head);
                prop_assert_eq!(pattern.matches(other), alike);
            }
            if last > 0 {
                let pattern = RunPattern::parse(&case(tail)).unwrap();
                prop_assert!(pattern.matches(id));
                let (mask, bits) = pattern.ending().unwrap();
                prop_assert_eq!(id.to_u128() & mask, bits);
            }
            let pattern = RunPattern::parse(&case(&format!("{head}…{tail}")));
            if first + last == 0 || first + last > 26 {
                prop_assert_eq!(pattern, None);
            } else {
                let pattern = pattern.unwrap();
                prop_assert!(pattern.matches(id) && pattern.is_both());
                let alike = stranger.starts_with(head) && stranger.ends_with(tail);
                prop_assert_eq!(pattern.matches(other), alike);
            }
        }

        #[test]
        fn nothing_panics(typed in "[0-9a-zA-Z.…é ]{0,60}") {
            let _ = RunPattern::parse(&typed);
        }
    }
}
