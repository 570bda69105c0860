//! Where the operator said something.

use std::fmt;
use std::sync::Arc;

use crate::job::JobId;

/// Where the operator said something: a line of the configuration file, or a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A place in the configuration file.
    Line {
        /// The file, as it was named or found.
        file: Arc<str>,
        /// The line, counted from 1.
        line: u32,
        /// The column, counted from 1 in characters.
        column: u32,
    },
    /// The configuration file as a whole: what it does not say.
    File(Arc<str>),
    /// A flag of the command line, such as `--max-timeout`.
    Flag(&'static str),
    /// The definition of a job, for those that it makes.
    Creator(JobId),
}

/// What every refusal of a definition by the operator's ceiling says.
const ABOVE: &str = "is above the operator's ceiling";
/// What every refusal of a definition by that of its creator says.
const BEYOND: &str = "is more than its creator holds";

impl Place {
    /// What is said of something that exceeds what is said here.
    pub(super) fn exceeded(&self) -> &'static str {
        match self {
            Place::Creator(_) => BEYOND,
            _ => ABOVE,
        }
    }

    /// Whether a message says that something exceeds what is said somewhere.
    pub(super) fn is_exceeded(message: &str) -> bool {
        [ABOVE, BEYOND].iter().any(|said| message.ends_with(said))
    }
}

impl fmt::Display for Place {
    /// `quarterjack.toml:3:11`, or in the alternate form `quarterjack.toml:3`.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line { file, line, .. } if to.alternate() => write!(to, "{file}:{line}"),
            Place::Line { file, line, column } => write!(to, "{file}:{line}:{column}"),
            Place::File(file) => to.write_str(file),
            Place::Flag(flag) => to.write_str(flag),
            Place::Creator(job) => write!(to, "as `{job}`"),
        }
    }
}

/// Something that the operator said, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// What may be granted of one kind: anything, or only what is listed. An empty list is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Allowed<T> {
    Any,
    Only(Vec<Placed<T>>),
}

/// A rule for grants of one kind; nothing where the operator has none.
pub(super) type Rule<T> = Option<Placed<Allowed<T>>>;

/// What a rule says of one thing.
pub(super) enum Answer<'r, T> {
    /// There is no rule.
    NoRule,
    /// It is allowed here.
    Yes(&'r Place),
    /// Nothing on the list allows it.
    No(&'r Place, &'r [Placed<T>]),
}

/// Asks a rule about something that fits what is listed, or not.
pub(super) fn ask<T>(rule: &Rule<T>, fits: impl Fn(&T) -> bool) -> Answer<'_, T> {
    match rule {
        None => Answer::NoRule,
        Some(rule) => match &rule.value {
            Allowed::Any => Answer::Yes(&rule.place),
            Allowed::Only(list) => match list.iter().find(|item| fits(&item.value)) {
                Some(item) => Answer::Yes(&item.place),
                None => Answer::No(&rule.place, list),
            },
        },
    }
}

/// What a list allows, in words: `only A, B` or `none`. The first few stand for a long list.
pub(super) fn only<T: fmt::Display>(list: &[Placed<T>]) -> String {
    const SHOWN: usize = 4;
    if list.is_empty() {
        return "none is allowed".into();
    }
    let names: Vec<String> = list
        .iter()
        .take(SHOWN)
        .map(|item| item.value.to_string())
        .collect();
    let more = if list.len() > SHOWN { ", …" } else { "" };
    format!("only {}{more}", names.join(", "))
}
