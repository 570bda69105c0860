//! From values of a document to values of a definition, collecting everything that is wrong
//! with them: the helpers that know types, units and ranges, and the keys there are.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::Limits;
use super::diagnostic::{Diagnostic, SourceText, quoted};
use super::document::{Member, Node, Value};
use crate::suggest::nearest;
use crate::trigger::{TriggerError, Zone};
use crate::units::{
    format_count, format_duration_exact, format_size, parse_count, parse_duration, parse_size,
};

/// The keys of one kind of object.
pub(super) struct Keys {
    /// What the object is, for "… has the keys".
    pub(super) of: &'static str,
    /// Where such keys stand, for a key that was found elsewhere.
    home: &'static str,
    /// The keys, in the order in which they are listed for people.
    pub(super) known: &'static [&'static str],
}

impl Keys {
    /// The key that was probably meant by one that is not among them.
    pub(super) fn meant_by(&self, key: &str) -> Option<&'static str> {
        nearest(key, self.known.iter().copied())
    }
}

/// The keys of the object form of a file.
pub(super) static FILE: Keys = Keys {
    of: "a job file",
    home: "at the top of the file",
    known: &[
        "$schema",
        "timezone",
        "calendars",
        "groups",
        "defaults",
        "jobs",
    ],
};

/// The keys of `defaults`.
pub(super) static DEFAULTS: Keys = Keys {
    of: "`defaults`",
    home: "in `defaults`",
    known: &[
        "limits",
        "enabled",
        "run_on_start",
        "max_instances",
        "overlap",
        "misfire_grace_time",
        "coalesce",
        "retry",
        "deadline",
        "on_lost",
        "priority",
        "group",
    ],
};

/// The keys of a job.
pub(super) static JOB: Keys = Keys {
    of: "a job",
    home: "in each job",
    known: &[
        "id",
        "description",
        "component",
        "sha256",
        "trigger",
        "cron_expression",
        "timezone",
        "params",
        "args",
        "limits",
        "grants",
        "enabled",
        "version",
        "run_on_start",
        "max_instances",
        "overlap",
        "misfire_grace_time",
        "coalesce",
        "retry",
        "deadline",
        "on_lost",
        "priority",
        "group",
        "deterministic",
    ],
};

/// The keys of `retry`.
pub(super) static RETRY: Keys = Keys {
    of: "`retry`",
    home: "in the job's `retry`",
    known: &[
        "attempts",
        "backoff",
        "factor",
        "max_backoff",
        "jitter",
        "on",
    ],
};

/// The keys of a group.
pub(super) static GROUP: Keys = Keys {
    of: "a group",
    home: "in one of the file's `groups`",
    known: &["max_running"],
};

/// The keys of a trigger in its object form.
pub(super) static TRIGGER: Keys = Keys {
    of: "a trigger",
    home: "in the job's `trigger`",
    known: &[
        "cron", "interval", "calendar", "at", "any", "all", "after", "on", "timezone", "dst",
        "start", "end", "max_runs", "not_on", "instead", "jitter",
    ],
};

/// The keys of a calendar schedule.
pub(super) static CALENDAR: Keys = Keys {
    of: "`calendar`",
    home: "in the trigger's `calendar`",
    known: &["every", "on", "at"],
};

/// The keys of an exclusion calendar.
pub(super) static DAYS: Keys = Keys {
    of: "a calendar of days",
    home: "in one of the file's `calendars`",
    known: &["days", "ics"],
};

/// The keys of `limits`.
pub(super) static LIMITS: Keys = Keys {
    of: "`limits`",
    home: "in `limits`",
    known: &["timeout", "fuel", "memory", "output", "log_rate", "handles"],
};

/// The keys of `grants`.
pub(super) static GRANTS: Keys = Keys {
    of: "`grants`",
    home: "in the job's `grants`",
    known: &[
        "env", "dirs", "config", "http", "sockets", "secrets", "state",
    ],
};

/// The keys of a directory among `grants`.
pub(super) static DIR: Keys = Keys {
    of: "a directory",
    home: "in one of `dirs`",
    known: &["host", "guest", "mode", "quota"],
};

/// The keys of `http` among `grants`.
pub(super) static HTTP: Keys = Keys {
    of: "`http`",
    home: "in `http` among the job's `grants`",
    known: &["origins", "addresses", "timeout", "requests", "body"],
};

/// The keys of `sockets` among `grants`.
pub(super) static SOCKETS: Keys = Keys {
    of: "`sockets`",
    home: "in `sockets` among the job's `grants`",
    known: &["endpoints", "addresses"],
};

/// The keys of `state` among `grants`.
pub(super) static STATE: Keys = Keys {
    of: "`state`",
    home: "in `state` among the job's `grants`",
    known: &["keys", "size"],
};

/// Limits and the line that sets each, as in [`super::Origin::limit_lines`].
#[derive(Debug, Clone, Copy)]
pub(super) struct PlacedLimits {
    /// The limits.
    pub(super) values: Limits,
    /// The lines.
    pub(super) lines: [u32; 6],
    /// Where in the text each value begins, in bytes; a file has far fewer than four billion.
    pub(super) places: [Option<u32>; 6],
}

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
        let home = [
            &JOB, &LIMITS, &GRANTS, &TRIGGER, &CALENDAR, &DAYS, &DIR, &FILE, &HTTP, &SOCKETS,
            &STATE, &RETRY, &GROUP,
        ]
        .into_iter()
        .find(|other| other.known.contains(&key));
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
    fn digits(
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

    /// An amount of fuel: a whole number, a string such as `"10M"`, or `"unlimited"`.
    fn fuel(&mut self, name: &str, node: &Node<'_>) -> Option<u64> {
        const EXPECTED: &str = "a whole number, a string such as \"10M\", or \"unlimited\"";
        match &node.value {
            Value::Number(digits) => self.digits(name, EXPECTED, node, digits, 1),
            Value::String(text) if text == "unlimited" => Some(Limits::UNLIMITED_FUEL),
            Value::String(text) => match parse_count(text) {
                Ok(0) => {
                    let message = format!("{name} {} is out of range", quoted(text));
                    self.error(&node.span, message, format!("{name} is at least 1"));
                    None
                }
                Ok(fuel) => Some(fuel),
                Err(error) => {
                    let label = match nearest(text, ["unlimited"].into_iter()) {
                        Some(word) => format!("did you mean \"{word}\"?"),
                        None => error.label,
                    };
                    self.error(&node.span, format!("{name}: {}", error.message), label);
                    None
                }
            },
            _ => {
                self.wrong_type(name, EXPECTED, node, "");
                None
            }
        }
    }

    /// `limits`: what is set in `node`, and `defaults` for the rest.
    pub(super) fn limits(
        &mut self,
        node: &Node<'_>,
        defaults: &PlacedLimits,
        maximum: &Limits,
    ) -> PlacedLimits {
        /// One page of WebAssembly memory: less does not let a guest begin.
        const LEAST_MEMORY: u64 = 64 << 10;
        /// The standard streams and what a language's library holds to begin with.
        const LEAST_HANDLES: u64 = 8;
        let mut limits = *defaults;
        let Some(members) = self.object("`limits`", node, r#"{"timeout": "90s"}"#) else {
            return limits;
        };
        for member in members {
            let value = &member.value;
            // The first problem is told; a value that could not be read is not compared.
            let slot = match &*member.key {
                "timeout" => {
                    if let Some(timeout) = self.duration("`timeout`", value) {
                        if timeout > maximum.timeout {
                            let most = format_duration_exact(maximum.timeout);
                            self.above_maximum("`timeout`", &most, value);
                        }
                        limits.values.timeout = timeout;
                    }
                    0
                }
                "fuel" => {
                    if let Some(fuel) = self.fuel("`fuel`", value) {
                        if fuel > maximum.fuel {
                            let most = format_count(maximum.fuel);
                            self.above_maximum("`fuel`", &most, value);
                        }
                        limits.values.fuel = fuel;
                    }
                    1
                }
                "memory" => {
                    if let Some(memory) = self.size("`memory`", value, LEAST_MEMORY) {
                        if memory > maximum.memory {
                            let most = format_size(maximum.memory);
                            self.above_maximum("`memory`", &most, value);
                        }
                        limits.values.memory = memory;
                    }
                    2
                }
                "output" => {
                    if let Some(output) = self.size("`output`", value, 0) {
                        if output > maximum.output {
                            let most = format_size(maximum.output);
                            self.above_maximum("`output`", &most, value);
                        }
                        limits.values.output = output;
                    }
                    3
                }
                "log_rate" => {
                    if let Some(rate) = self.size("`log_rate`", value, 1) {
                        if rate > maximum.log_rate {
                            let most = format_size(maximum.log_rate);
                            self.above_maximum("`log_rate`", &most, value);
                        }
                        limits.values.log_rate = rate;
                    }
                    4
                }
                "handles" => {
                    if let Some(handles) = self.integer("`handles`", value, LEAST_HANDLES) {
                        if handles > u64::from(maximum.handles) {
                            let most = maximum.handles.to_string();
                            self.above_maximum("`handles`", &most, value);
                        }
                        limits.values.handles = u32::try_from(handles).unwrap_or(u32::MAX);
                    }
                    5
                }
                _ => {
                    self.unknown_key(member, &LIMITS);
                    continue;
                }
            };
            if let Some(line) = limits.lines.get_mut(slot) {
                *line = self.source.line(member.key_span.start);
            }
            if let Some(place) = limits.places.get_mut(slot) {
                *place = u32::try_from(value.span.start).ok();
            }
        }
        limits
    }

    fn above_maximum(&mut self, name: &str, most: &str, node: &Node<'_>) {
        // As it is written, so that it can be searched for.
        let asked = self
            .source
            .text()
            .get(node.span.clone())
            .unwrap_or_default();
        let message = format!("{name} {asked} is above the maximum of this host");
        self.error(&node.span, message, format!("at most {most}"));
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
