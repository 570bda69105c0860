//! Content lines: folded lines joined, names, parameters and values told apart.

use std::fmt;
use std::rc::Rc;

use super::IcsError;

/// A property: `NAME;PARAMETER=value:value`.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) at: At,
    /// The names in upper case, the values without quotes.
    parameters: Vec<(String, String)>,
    pub(super) value: String,
}

/// Which property it is and where it stands, for errors. A copy is cheap.
#[derive(Debug, Clone)]
pub(super) struct At {
    /// The line it begins in; the first of a file is 1.
    pub(super) number: usize,
    /// In upper case.
    pub(super) name: Rc<str>,
}

impl At {
    /// An error about this property.
    pub(super) fn refuse(&self, message: impl fmt::Display) -> IcsError {
        IcsError::new(self.number, format!("{}: {message}", self.name))
    }
}

impl Line {
    /// A parameter's value by its name, which is given in upper case.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(parameter, _)| parameter == name)
            .map(|(_, value)| value.as_str())
    }

    fn parse(number: usize, text: &str) -> Result<Line, IcsError> {
        let mut quoted = false;
        let mut ends = Vec::new(); // of the name and of each parameter
        for (at, c) in text.char_indices() {
            match c {
                '"' => quoted = !quoted,
                ';' if !quoted => ends.push(at),
                ':' if !quoted => {
                    ends.push(at);
                    break;
                }
                _ => {}
            }
            if ends.len() > MOST_PARAMETERS {
                return Err(IcsError::new(number, "a property with so many parameters"));
            }
        }
        let colon = ends.last().copied();
        let colon = colon.filter(|at| text.get(*at..).is_some_and(|rest| rest.starts_with(':')));
        let name = text.get(..ends.first().copied().unwrap_or(0));
        let (Some(colon), Some(name)) = (colon, name) else {
            return Err(IcsError::new(
                number,
                format!(
                    "`{}` is not a property: a line is `NAME:value`",
                    shorten(text)
                ),
            ));
        };
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(word) {
            return Err(IcsError::new(
                number,
                format!("`{}` is not the name of a property", shorten(name)),
            ));
        }
        let parameters = ends
            .iter()
            .zip(ends.iter().skip(1))
            .filter_map(|(start, end)| text.get(start + 1..*end))
            .map(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                let value = value.trim_matches('"');
                (name.trim().to_ascii_uppercase(), value.to_owned())
            })
            .collect();
        Ok(Line {
            at: At {
                number,
                name: name.to_ascii_uppercase().into(),
            },
            parameters,
            value: text.get(colon + 1..).unwrap_or_default().trim().to_owned(),
        })
    }
}

/// More than any property has.
const MOST_PARAMETERS: usize = 64;

/// The content lines of a file. Lines end with CR LF, with LF or, in a file without LF, with CR;
/// empty ones are passed over.
pub(super) fn lines(content: &[u8]) -> impl Iterator<Item = Result<Line, IcsError>> {
    let end = if content.contains(&b'\n') {
        b'\n'
    } else {
        b'\r'
    };
    let mut physical = content
        .split(move |byte| *byte == end)
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .zip(1..)
        .filter(|(line, _)| !line.trim_ascii().is_empty())
        .peekable();
    std::iter::from_fn(move || {
        let (first, number) = physical.next()?;
        let mut joined = first.to_vec();
        // A fold may lie inside a character: join bytes, not text.
        while let Some((next, _)) = physical.next_if(|(next, _)| matches!(next, [b' ' | b'\t', ..]))
        {
            joined.extend(next.iter().skip(1));
        }
        Some(Line::parse(number, String::from_utf8_lossy(&joined).trim()))
    })
}

/// So much of a text as fits into a message.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut short: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}
