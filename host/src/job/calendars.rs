//! The exclusion calendars of a job file: days by name, written down or read from an `.ics` file
//! beside it.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::decode::Decoder;
use super::diagnostic::{Diagnostic, Severity, quoted};
use super::document::{Node, Value};
use super::keys::DAYS;
use super::manifest::Options;
use crate::suggest::nearest;
use crate::trigger::{Days, MAX_ICS_BYTES, parse_ics};

/// Calendars by their names.
#[derive(Debug, Default)]
pub(super) struct Calendars {
    by_name: HashMap<String, Calendar>,
    /// The files that were read.
    pub(super) files: Vec<ReadFile>,
}

/// What a calendar holds, or what is wrong with it, which spoils the jobs that use it and no
/// others.
#[derive(Debug)]
struct Calendar {
    days: Result<Days, Vec<Diagnostic>>,
    is_used: Cell<bool>,
}

/// A file that a job file is read together with, and what it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFile {
    /// Where it is.
    pub path: PathBuf,
    /// The SHA-256 of its content; nothing if it could not be read.
    pub digest: Option<[u8; 32]>,
}

impl ReadFile {
    /// What a content is known by.
    pub fn digest_of(content: &[u8]) -> [u8; 32] {
        Sha256::digest(content).into()
    }
}

impl Calendars {
    /// Reads `{"holidays": ["2026-12-25"], "de": {"ics": "de.ics"}}`.
    pub(super) fn read(decoder: &mut Decoder<'_>, node: &Node<'_>, options: &Options) -> Self {
        let mut calendars = Calendars::default();
        let example = r#"{"holidays": ["2026-12-25", "01-01"]}"#;
        for member in decoder
            .object("`calendars`", node, example)
            .unwrap_or_default()
        {
            if Days::parse_day(&member.key).is_ok() {
                let message = format!("a calendar cannot be called {}", quoted(&member.key));
                decoder.error(&member.key_span, message, "that is a day by itself");
            }
            let mut own = Decoder::new(decoder.source);
            let days = calendars.days(&mut own, &member.value, options);
            let calendar = Calendar {
                days: days.ok_or(own.problems),
                is_used: Cell::new(false),
            };
            calendars.by_name.insert(member.key.to_string(), calendar);
        }
        calendars
    }

    fn days(
        &mut self,
        decoder: &mut Decoder<'_>,
        node: &Node<'_>,
        options: &Options,
    ) -> Option<Days> {
        let members = match &node.value {
            Value::Array(_) | Value::String(_) => return written(decoder, node),
            Value::Object(members) => members,
            _ => {
                let expected = "a list of days, or an object such as {\"ics\": \"holidays.ics\"}";
                decoder.wrong_type("a calendar", expected, node, "");
                return None;
            }
        };
        let mut days = Days::none();
        let before = decoder.problems.len();
        for member in members {
            match &*member.key {
                "days" => {
                    if let Some(more) = written(decoder, &member.value) {
                        days.add(&more);
                    }
                }
                "ics" => {
                    for file in elements(&member.value) {
                        if let Some(more) = self.ics(decoder, file, options) {
                            days.add(&more);
                        }
                    }
                }
                _ => {
                    decoder.unknown_key(member, &DAYS);
                }
            }
        }
        if members.is_empty() {
            let label = "add \"days\": [\"2026-12-25\"] or \"ics\": \"holidays.ics\"";
            decoder.error(&node.span, "the calendar has no days", label);
        }
        (decoder.problems.len() == before).then_some(days)
    }

    fn ics(
        &mut self,
        decoder: &mut Decoder<'_>,
        node: &Node<'_>,
        options: &Options,
    ) -> Option<Days> {
        let name = decoder.string("`ics`", node)?;
        let path = options.base.join(name);
        let read = (options.read)(&path, MAX_ICS_BYTES);
        self.files.push(ReadFile {
            path: path.clone(),
            digest: read
                .as_ref()
                .ok()
                .map(|content| ReadFile::digest_of(content)),
        });
        let content = match read {
            Ok(content) => content,
            Err(error) => {
                let message = format!("the calendar file cannot be read: {error}");
                decoder.error(&node.span, message, path.display().to_string());
                return None;
            }
        };
        match parse_ics(&content) {
            Ok(days) => Some(days),
            Err(error) => {
                let message = format!("the calendar file {} cannot be used", quoted(name));
                let label = format!("{}:{}: {}", path.display(), error.line, error.message);
                decoder.error(&node.span, message, label);
                None
            }
        }
    }

    /// What is wrong with calendars that no job uses: it spoils nothing.
    pub(super) fn unused_problems(&self) -> impl Iterator<Item = Diagnostic> {
        self.by_name
            .values()
            .filter(|calendar| !calendar.is_used.get())
            .filter_map(|calendar| calendar.days.as_ref().err())
            .flatten()
            .map(|problem| Diagnostic {
                severity: Severity::Warning,
                ..problem.clone()
            })
    }

    /// The days that are meant by `"not_on"`: names of calendars, or days themselves; and what
    /// they are called.
    pub(super) fn excluded(
        &self,
        decoder: &mut Decoder<'_>,
        node: &Node<'_>,
    ) -> Option<(Days, Vec<String>)> {
        let mut days = Days::none();
        let mut names = Vec::new();
        let before = decoder.problems.len();
        for element in elements(node) {
            let Value::String(name) = &element.value else {
                let expected = "the name of a calendar or a list of them";
                decoder.wrong_type("`not_on`", expected, element, "");
                continue;
            };
            let known = self.by_name.get(&**name);
            if let Some(calendar) = known {
                calendar.is_used.set(true);
                names.push(name.to_string());
                match &calendar.days {
                    Ok(of_name) => days.add(of_name),
                    Err(problems) => decoder.problems.extend_from_slice(problems),
                }
                continue;
            }
            match Days::parse_day(name) {
                Ok(of_name) => {
                    days.add(&of_name);
                    names.push(name.to_string());
                }
                // It is written like a day, and is none.
                Err(error) if name.trim_start().starts_with(|c: char| c.is_ascii_digit()) => {
                    decoder.trigger_error(element, error);
                }
                Err(_) => {
                    let known = || self.by_name.keys().map(String::as_str);
                    let label = match nearest(name, known()) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None if self.by_name.is_empty() => {
                            "the file has no `calendars`; a day is written 2026-12-25, 12-25 or sat"
                                .to_owned()
                        }
                        None => {
                            let mut names: Vec<&str> = known().collect();
                            names.sort_unstable();
                            format!("the file's calendars are {}", names.join(", "))
                        }
                    };
                    let message = format!("no such calendar {}", quoted(name));
                    decoder.error(&element.span, message, label);
                }
            }
        }
        if names.is_empty() && decoder.problems.len() == before {
            decoder.error(&node.span, "`not_on` names no calendar", "leave it out");
        }
        (decoder.problems.len() == before).then_some((days, names))
    }
}

/// Days that are written down: one, or a list of them.
fn written(decoder: &mut Decoder<'_>, node: &Node<'_>) -> Option<Days> {
    let mut days = Days::none();
    let before = decoder.problems.len();
    for element in elements(node) {
        let Some(text) = decoder.string("a day", element) else {
            continue;
        };
        match Days::parse_day(text) {
            Ok(more) => days.add(&more),
            Err(error) => decoder.trigger_error(element, error),
        }
    }
    (decoder.problems.len() == before).then_some(days)
}

/// The elements of a list, or the one value that stands in place of a list.
fn elements<'n, 'a>(node: &'n Node<'a>) -> &'n [Node<'a>] {
    match &node.value {
        Value::Array(elements) => elements,
        _ => std::slice::from_ref(node),
    }
}
