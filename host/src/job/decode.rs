//! From values of a document to values of a definition, collecting everything that is wrong
//! with them: the helpers that know types, units and ranges. Which keys there are, [`super::keys`]
//! says; what a section of a definition makes of them, its own module.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::diagnostic::{Diagnostic, SourceText, quoted};
use super::document::{Member, Node, Value};
use super::keys::{Keys, TRIGGER};
use crate::trigger::{TriggerError, Zone};
use crate::units::{format_size, parse_duration, parse_size};

/// Reads values and keeps what is wrong with them.
pub(super) struct Decoder<'s> {
    /// The text that the values come from.
    pub(super) source: &'s Arc<SourceText>,
    /// What is wrong, in the order in which it was found.
    pub(super) problems: Vec<Diagnostic>,
}

impl<'s> Decoder<'s> {
    /// Nothing is wrong yet.
    pub(super) fn new(source: &'s Arc<SourceText>) -> Self {
        Decoder {
            source,
            problems: Vec::new(),
        }
    }

    /// Notes something wrong at a place; the label may be empty.
    pub(super) fn error(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> &mut Diagnostic {
        let problem = Diagnostic::error(self.source, span.clone(), message).with_label(label);
        self.problems.push(problem);
        let last = self.problems.len() - 1;
        #[allow(clippy::indexing_slicing)] // it was just pushed
        &mut self.problems[last]
    }

    /// Notes that a value is of the wrong type: "`args` is a list of strings, not a number".
    pub(super) fn wrong_type(&mut self, name: &str, expected: &str, found: &Node<'_>, label: &str) {
        let message = format!("{name} is {expected}, not {}", found.kind());
        self.error(&found.span, message, label);
    }

    /// Notes a key that its object does not have. Gives the key of the object that was probably
    /// meant, which is then not to be called missing as well.
    pub(super) fn unknown_key(
        &mut self,
        member: &Member<'_>,
        keys: &'static Keys,
    ) -> Option<&'static str> {
        let key = &*member.key;
        let message = format!("unknown key {} in {}", quoted(key), keys.of);
        let home = Keys::with(key);
        let near = keys.meant_by(key);
        if let Some(home) = home {
            let label = format!("it belongs {}", home.home);
            self.error(&member.key_span, message, label);
            std::ptr::eq(home, &TRIGGER).then_some("trigger")
        } else if let Some(near) = near {
            let label = format!("did you mean \"{near}\"?");
            self.error(&member.key_span, message, label);
            Some(near)
        } else {
            let list = format!("{} has the keys {}", keys.of, keys.known.join(", "));
            self.error(&member.key_span, message, list);
            None
        }
    }

    /// An object's members.
    pub(super) fn object<'n, 'a>(
        &mut self,
        name: &str,
        node: &'n Node<'a>,
        example: &str,
    ) -> Option<&'n [Member<'a>]> {
        match &node.value {
            Value::Object(members) => Some(members),
            _ => {
                self.wrong_type(name, &format!("an object such as {example}"), node, "");
                None
            }
        }
    }

    /// A list's elements.
    pub(super) fn list<'n, 'a>(
        &mut self,
        name: &str,
        node: &'n Node<'a>,
        example: &str,
    ) -> Option<&'n [Node<'a>]> {
        match &node.value {
            Value::Array(elements) => Some(elements),
            _ => {
                self.wrong_type(name, &format!("a list such as {example}"), node, "");
                None
            }
        }
    }

    /// A string without NUL, which neither arguments nor variables nor names can hold.
    pub(super) fn string<'n>(&mut self, name: &str, node: &'n Node<'_>) -> Option<&'n str> {
        match &node.value {
            Value::String(string) if string.contains('\0') => {
                self.error(
                    &node.span,
                    format!("{name} holds a NUL character"),
                    "leave \\u0000 out",
                );
                None
            }
            Value::String(string) => Some(string),
            Value::Number(digits) => {
                self.wrong_type(name, "a string", node, &format!("write \"{digits}\""));
                None
            }
            Value::Bool(truth) => {
                self.wrong_type(name, "a string", node, &format!("write \"{truth}\""));
                None
            }
            _ => {
                self.wrong_type(name, "a string", node, "");
                None
            }
        }
    }

    /// A SHA-256 in hexadecimal, in either case.
    pub(super) fn sha256(&mut self, name: &str, node: &Node<'_>) -> Option<[u8; 32]> {
        let text = self.string(name, node)?;
        let mut digest = [0; 32];
        let mut digits = text.chars().map(|digit| digit.to_digit(16));
        let mut next = || u8::try_from(digits.next()??).ok();
        let whole = text.len() == 64
            && digest.iter_mut().all(|byte| match (next(), next()) {
                (Some(high), Some(low)) => {
                    *byte = high << 4 | low;
                    true
                }
                _ => false,
            });
        if whole {
            return Some(digest);
        }
        let message = format!("{name} {} is no SHA-256", quoted(&shortened(text)));
        let label = match text.chars().find(|it| !it.is_ascii_hexdigit()) {
            Some(other) => format!("{} is no hexadecimal digit", quoted(&other.to_string())),
            None => format!("it has {} hexadecimal digits, not 64", text.len()),
        };
        self.error(&node.span, message, label).hint =
            Some("`quarterjack inspect FILE.wasm` tells the right one".into());
        None
    }

    /// `true` or `false`.
    pub(super) fn truth(&mut self, name: &str, node: &Node<'_>) -> Option<bool> {
        match &node.value {
            Value::Bool(truth) => return Some(*truth),
            Value::String(string) if matches!(&**string, "true" | "false") => {
                self.wrong_type(
                    name,
                    "true or false",
                    node,
                    &format!("write {string} without quotes"),
                );
            }
            _ => self.wrong_type(name, "true or false", node, ""),
        }
        None
    }

    /// A whole number of at least `least`.
    pub(super) fn integer(&mut self, name: &str, node: &Node<'_>, least: u64) -> Option<u64> {
        let Value::Number(digits) = node.value else {
            let label = match &node.value {
                Value::String(string) if string.parse::<u64>().is_ok() => {
                    format!("write {string} without quotes")
                }
                _ => String::new(),
            };
            self.wrong_type(name, "a whole number", node, &label);
            return None;
        };
        self.digits(name, "a whole number", node, digits, least)
    }

    /// A whole number from `least` to `most`.
    pub(super) fn small(
        &mut self,
        name: &str,
        node: &Node<'_>,
        least: u32,
        most: u32,
    ) -> Option<u32> {
        let number = self.integer(name, node, u64::from(least))?;
        let small = u32::try_from(number).ok().filter(|small| *small <= most);
        if small.is_none() {
            let message = format!("{name} {number} is out of range");
            self.error(&node.span, message, format!("at most {most}"));
        }
        small
    }

    /// A number from `least` to `most`, with decimals or without.
    pub(super) fn decimal(
        &mut self,
        name: &str,
        node: &Node<'_>,
        least: f64,
        most: f64,
    ) -> Option<f64> {
        let Value::Number(digits) = node.value else {
            self.wrong_type(name, &format!("a number from {least} to {most}"), node, "");
            return None;
        };
        let number = digits
            .parse::<f64>()
            .ok()
            .filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let message = format!("{name} {} is out of range", shortened(digits));
            self.error(&node.span, message, format!("from {least} to {most}"));
        }
        number
    }

    /// The value of a number's digits.
    pub(super) fn digits(
        &mut self,
        name: &str,
        expected: &str,
        node: &Node<'_>,
        digits: &str,
        least: u64,
    ) -> Option<u64> {
        match digits.parse::<u64>() {
            Ok(number) if number >= least => Some(number),
            Ok(_) => {
                let label = format!("{name} is at least {least}");
                self.error(
                    &node.span,
                    format!("{name} {digits} is out of range"),
                    label,
                );
                None
            }
            Err(_) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let message = format!("{name} {} is out of range", shortened(digits));
                self.error(&node.span, message, format!("the largest is {}", u64::MAX));
                None
            }
            Err(_) => {
                let message = format!("{name} is {expected}, not {}", shortened(digits));
                let label = if digits.starts_with('-') {
                    "it cannot be negative"
                } else {
                    "write it in digits alone"
                };
                self.error(&node.span, message, label);
                None
            }
        }
    }

    /// A duration above zero.
    pub(super) fn duration(&mut self, name: &str, node: &Node<'_>) -> Option<Duration> {
        let text = match &node.value {
            Value::String(text) => text,
            other => {
                let label = match other {
                    Value::Number(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                        format!(
                            "a unit is missing: did you mean \"{}s\"?",
                            shortened(digits)
                        )
                    }
                    _ => String::new(),
                };
                self.wrong_type(name, "a duration such as \"90s\"", node, &label);
                return None;
            }
        };
        match parse_duration(text) {
            Ok(Duration::ZERO) => {
                self.error(
                    &node.span,
                    format!("{name} {} is out of range", quoted(text)),
                    format!("{name} is above 0"),
                );
                None
            }
            Ok(duration) => Some(duration),
            Err(error) => {
                self.error(
                    &node.span,
                    format!("{name}: {}", error.message),
                    error.label,
                );
                None
            }
        }
    }

    /// A size in bytes: a string with a unit, or a whole number.
    pub(super) fn size(&mut self, name: &str, node: &Node<'_>, least: u64) -> Option<u64> {
        const EXPECTED: &str = "a size such as \"64MiB\" or a whole number of bytes";
        match &node.value {
            Value::Number(digits) => self.digits(name, EXPECTED, node, digits, least),
            Value::String(text) => match parse_size(text) {
                Ok(size) if size >= least => Some(size),
                Ok(_) => {
                    let label = format!("{name} is at least {}", format_size(least));
                    self.error(
                        &node.span,
                        format!("{name} {} is too little", quoted(text)),
                        label,
                    );
                    None
                }
                Err(error) => {
                    self.error(
                        &node.span,
                        format!("{name}: {}", error.message),
                        error.label,
                    );
                    None
                }
            },
            _ => {
                self.wrong_type(name, EXPECTED, node, "");
                None
            }
        }
    }

    /// A time zone by its name.
    pub(super) fn zone(&mut self, node: &Node<'_>) -> Option<Zone> {
        const EXAMPLE: &str = "zones have names such as \"Europe/Berlin\" or \"UTC\"";
        let Value::String(name) = &node.value else {
            self.wrong_type("`timezone`", "the name of a time zone", node, EXAMPLE);
            return None;
        };
        match Zone::parse(name) {
            Ok(zone) => Some(zone),
            Err(unknown) => {
                let label = unknown.hint().unwrap_or_else(|| EXAMPLE.to_owned());
                self.error(
                    &node.span,
                    format!("no such time zone {}", quoted(name)),
                    label,
                );
                None
            }
        }
    }

    /// Notes what is wrong with a trigger that stands in the string `node`.
    pub(super) fn trigger_error(&mut self, node: &Node<'_>, error: TriggerError) {
        let span = node.inner_span(&error.span);
        self.error(&span, error.message, error.label).hint = error.hint;
    }
}

/// Digits for a message: all of them only where they are few.
fn shortened(digits: &str) -> String {
    match digits.get(..40) {
        Some(start) if digits.len() > 40 => format!("{start}…"),
        _ => digits.to_owned(),
    }
}
