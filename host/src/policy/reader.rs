//! From TOML to values, collecting everything that is wrong with them. The counterpart of the job
//! file's decoder, in the same words.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::place::{Allowed, Place, Placed, Rule};
use crate::job::{Diagnostic, Limits, SourceText};
use crate::suggest::nearest;
use crate::units::{UnitError, format_size, parse_count, parse_duration, parse_size};

/// A value and where it stands.
pub(super) type Node<'d> = Spanned<DeValue<'d>>;
/// A key and where it stands.
pub(super) type Key<'d> = Spanned<DeString<'d>>;

/// The keys of one table.
pub(super) struct Keys {
    /// The table, as it is written.
    pub(super) of: &'static str,
    /// Its keys, in the order in which they are listed for people.
    pub(super) known: &'static [&'static str],
}

/// The keys of the file.
pub(super) static FILE: Keys = Keys {
    of: "the configuration file",
    known: &[
        "ceiling", "secrets", "plugins", "host", "history", "source", "hook",
    ],
};

/// The keys of `[ceiling]`.
pub(super) static CEILING: Keys = Keys {
    of: "[ceiling]",
    known: &[
        "timeout",
        "fuel",
        "memory",
        "output",
        "log_rate",
        "handles",
        "max_instances",
        "grants",
        "jobs",
    ],
};

/// The keys of `[[ceiling.jobs]]`.
pub(super) static JOBS: Keys = Keys {
    of: "[[ceiling.jobs]]",
    known: &[
        "match",
        "timeout",
        "fuel",
        "memory",
        "output",
        "log_rate",
        "handles",
        "max_instances",
        "grants",
    ],
};

/// The keys of `[ceiling.grants]`.
pub(super) static GRANTS: Keys = Keys {
    of: "[ceiling.grants]",
    known: &[
        "env",
        "config",
        "dirs",
        "dir_quota",
        "http",
        "sockets",
        "addresses",
        "secrets",
        "state",
        "schedule",
    ],
};

/// The keys of `schedule` in `[ceiling.grants]`.
pub(super) static SCHEDULE: Keys = Keys {
    of: "`schedule`",
    known: &["max_jobs"],
};

/// The keys of `state` in `[ceiling.grants]`.
pub(super) static STATE: Keys = Keys {
    of: "`state`",
    known: &["keys", "size"],
};

/// The keys of `[secrets]`.
pub(super) static SECRETS: Keys = Keys {
    of: "[secrets]",
    known: &["env_prefix", "dir", "systemd", "order"],
};

/// The keys of `[plugins]`.
pub(super) static PLUGINS: Keys = Keys {
    of: "[plugins]",
    known: &["max_size", "compile_timeout", "compile_memory"],
};

/// The keys of `[host]`.
pub(super) static HOST: Keys = Keys {
    of: "[host]",
    known: &["max_memory"],
};

/// The keys of `[history]`.
pub(super) static HISTORY: Keys = Keys {
    of: "[history]",
    known: &["age", "runs_per_job", "size"],
};

/// The keys of `[[source]]`.
pub(super) static SOURCE: Keys = Keys {
    of: "[[source]]",
    known: &[
        "name",
        "file",
        "directory",
        "http",
        "sql",
        "refresh",
        "allow_mass_removal",
        "token",
        "timeout",
        "max_size",
        "query",
        "password",
        "channel",
    ],
};

/// The keys of `[[hook]]`.
pub(super) static HOOK: Keys = Keys {
    of: "[[hook]]",
    known: &[
        "name",
        "url",
        "events",
        "jobs",
        "failures_only",
        "secret",
        "timeout",
        "attempts",
    ],
};

/// What amounts are measured in.
struct Unit {
    /// What a value looks like, for people.
    expected: &'static str,
    parse: fn(&str) -> Result<u64, UnitError>,
    shown: fn(u64) -> String,
}

/// Reads values and keeps what is wrong with them.
pub(super) struct Reader<'s> {
    pub(super) source: &'s Arc<SourceText>,
    pub(super) problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    /// Where something stands.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let (line, column) = self.source.position(span.start);
        Place::Line {
            file: self.source.name().clone(),
            line,
            column,
        }
    }

    /// A value with its place.
    pub(super) fn placed<T>(&self, node: &Node<'_>, value: T) -> Placed<T> {
        Placed {
            value,
            place: self.place(&node.span()),
        }
    }

    /// Notes a mistake in the grammar. Of several at one place the last one counts.
    pub(super) fn grammar(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or_default();
        let written = self.source.text().get(span.clone()).unwrap_or_default();
        let is_word = written.starts_with(char::is_alphanumeric);
        let (message, label) = match error.message().split_once(", ") {
            Some(("string values must be quoted", _)) if is_word => (
                "a string stands in quotes".to_owned(),
                format!("write {:?}", shortened(written)),
            ),
            Some(("string values must be quoted", _)) => (
                "a value is missing".to_owned(),
                "expected a value".to_owned(),
            ),
            Some((message, expected)) => (message.to_owned(), expected.to_owned()),
            None if error.message() == "duplicate key" => (
                format!("`{}` is set twice", shortened(written)),
                "leave one of them out".to_owned(),
            ),
            None => (error.message().to_owned(), String::new()),
        };
        self.problems.retain(|other| other.span.start != span.start);
        self.error(span, message, label);
    }

    /// Notes something wrong at a place; the label may be empty.
    pub(super) fn error(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) {
        self.problems
            .push(Diagnostic::error(self.source, span, message).with_label(label));
    }

    /// Notes a message of the form "what is wrong: what would be right".
    pub(super) fn told(&mut self, span: Range<usize>, message: &str) {
        let (wrong, right) = message.split_once(": ").unwrap_or((message, ""));
        self.error(span, wrong, right);
    }

    /// Notes that a value is of the wrong type: "`env` is a list of names, not a number".
    pub(super) fn wrong_type(&mut self, name: &str, expected: &str, found: &Node<'_>, label: &str) {
        let message = format!("{name} is {expected}, not {}", kind(found.get_ref()));
        self.error(found.span(), message, label);
    }

    /// Notes a key that its table does not have.
    pub(super) fn unknown_key(&mut self, key: &Key<'_>, keys: &Keys) {
        let name = &**key.get_ref();
        let message = format!("unknown key {name:?} in {}", keys.of);
        let home = [
            &FILE, &CEILING, &GRANTS, &SECRETS, &PLUGINS, &HOST, &HISTORY, &JOBS, &STATE, &SOURCE,
            &HOOK,
        ]
        .into_iter()
        .find(|other| other.known.contains(&name));
        let label = match (home, nearest(name, keys.known.iter().copied())) {
            (Some(home), None) => format!("it belongs in {}", home.of),
            (_, Some(near)) => format!("did you mean `{near}`?"),
            (None, None) => format!("{} has the keys {}", keys.of, keys.known.join(", ")),
        };
        self.error(key.span(), message, label);
    }

    /// A table, which must have known keys only.
    pub(super) fn table<'n, 'd>(
        &mut self,
        node: &'n Node<'d>,
        keys: &Keys,
    ) -> Option<&'n DeTable<'d>> {
        let DeValue::Table(table) = node.get_ref() else {
            self.wrong_type(keys.of, "a table of keys", node, "");
            return None;
        };
        self.known_keys(table, keys);
        Some(table)
    }

    /// Notes the keys that a table does not have.
    pub(super) fn known_keys(&mut self, table: &DeTable<'_>, keys: &Keys) {
        for (key, _) in table.iter() {
            if !keys.known.contains(&&**key.get_ref()) {
                self.unknown_key(key, keys);
            }
        }
    }

    /// A string that is not empty, without NUL.
    pub(super) fn string<'n>(&mut self, name: &str, node: &'n Node<'_>) -> Option<&'n str> {
        match node.get_ref() {
            DeValue::String(text) if text.is_empty() => {
                self.error(node.span(), format!("{name} is empty"), "");
                None
            }
            DeValue::String(text) if text.contains('\0') => {
                let message = format!("{name} holds a NUL character");
                self.error(node.span(), message, "leave \\u0000 out");
                None
            }
            DeValue::String(text) => Some(text),
            _ => {
                self.wrong_type(name, "a string", node, "");
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn truth(&mut self, name: &str, node: &Node<'_>) -> Option<bool> {
        match node.get_ref() {
            DeValue::Boolean(truth) => return Some(*truth),
            DeValue::String(text) if matches!(&**text, "true" | "false") => {
                let label = format!("write {text} without quotes");
                self.wrong_type(name, "true or false", node, &label);
            }
            _ => self.wrong_type(name, "true or false", node, ""),
        }
        None
    }

    /// A duration above zero, of `most` at most.
    pub(super) fn duration(
        &mut self,
        name: &str,
        node: &Node<'_>,
        most: Option<(Duration, String)>,
    ) -> Option<Duration> {
        let text = match node.get_ref() {
            DeValue::String(text) => text,
            other => {
                let label = match other {
                    DeValue::Integer(number) if number.radix() == 10 => {
                        format!(
                            "a unit is missing: did you mean \"{}s\"?",
                            shortened(number.as_str())
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
                let label = format!("{name} is above 0");
                self.out_of_range(name, node, label);
                None
            }
            Ok(duration) => match most {
                Some((most, shown)) if duration > most => {
                    self.above_maximum(name, node, &shown);
                    None
                }
                _ => Some(duration),
            },
            Err(error) => {
                let message = format!("{name}: {}", error.message);
                self.error(node.span(), message, error.label);
                None
            }
        }
    }

    /// A size in bytes between two, both included.
    pub(super) fn size(
        &mut self,
        name: &str,
        node: &Node<'_>,
        least: u64,
        most: u64,
    ) -> Option<u64> {
        let unit = Unit {
            expected: "a size such as \"64MiB\" or a whole number of bytes",
            parse: parse_size,
            shown: format_size,
        };
        self.amount(name, node, &unit, least..=most)
    }

    /// A count between two, both included: a number, or a string such as `"10k"`.
    pub(super) fn count(
        &mut self,
        name: &str,
        node: &Node<'_>,
        least: u64,
        most: u64,
    ) -> Option<u64> {
        let unit = Unit {
            expected: "a whole number or a string such as \"10M\"",
            parse: parse_count,
            shown: |count| count.to_string(),
        };
        self.amount(name, node, &unit, least..=most)
    }

    /// A number, or a string in some unit.
    fn amount(
        &mut self,
        name: &str,
        node: &Node<'_>,
        unit: &Unit,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let amount = match node.get_ref() {
            DeValue::String(text) => match (unit.parse)(text) {
                Ok(amount) => amount,
                Err(error) => {
                    let message = format!("{name}: {}", error.message);
                    self.error(node.span(), message, error.label);
                    return None;
                }
            },
            _ => self.number(name, unit.expected, node)?,
        };
        if amount < *range.start() {
            let label = format!("{name} is at least {}", (unit.shown)(*range.start()));
            self.out_of_range(name, node, label);
            return None;
        }
        if amount > *range.end() {
            self.above_maximum(name, node, &(unit.shown)(*range.end()));
            return None;
        }
        Some(amount)
    }

    /// An amount of fuel, or `"unlimited"`.
    pub(super) fn fuel(&mut self, name: &str, node: &Node<'_>) -> Option<u64> {
        match node.get_ref() {
            DeValue::String(text) if text == "unlimited" => Some(Limits::UNLIMITED_FUEL),
            DeValue::String(text) if nearest(text, ["unlimited"].into_iter()).is_some() => {
                let message = format!("{name}: {:?} is not a count", shortened(text));
                self.error(node.span(), message, "did you mean \"unlimited\"?");
                None
            }
            _ => self.count(name, node, 1, Limits::UNLIMITED_FUEL),
        }
    }

    /// A whole number that is not negative.
    fn number(&mut self, name: &str, expected: &str, node: &Node<'_>) -> Option<u64> {
        let DeValue::Integer(number) = node.get_ref() else {
            self.wrong_type(name, expected, node, "");
            return None;
        };
        let (digits, radix) = (number.as_str(), number.radix());
        match u64::from_str_radix(digits, radix) {
            Ok(number) => Some(number),
            Err(_) if digits.starts_with('-') => {
                self.out_of_range(name, node, "it cannot be negative".into());
                None
            }
            Err(_) => {
                self.out_of_range(name, node, format!("the largest is {}", u64::MAX));
                None
            }
        }
    }

    fn out_of_range(&mut self, name: &str, node: &Node<'_>, label: String) {
        let asked = self.written(node);
        self.error(
            node.span(),
            format!("{name} {asked} is out of range"),
            label,
        );
    }

    fn above_maximum(&mut self, name: &str, node: &Node<'_>, most: &str) {
        let asked = self.written(node);
        let message = format!("{name} {asked} is above the maximum of every host");
        self.error(node.span(), message, format!("at most {most}"));
    }

    /// A value as it is written.
    fn written(&self, node: &Node<'_>) -> String {
        shortened(self.source.text().get(node.span()).unwrap_or_default())
    }

    /// A rule: `true` for anything, `false` for nothing, or a list of what may be. What cannot be
    /// read of the list is noted.
    pub(super) fn rule<T>(
        &mut self,
        name: &str,
        node: &Node<'_>,
        expected: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Rule<T> {
        let allowed = match node.get_ref() {
            DeValue::Boolean(true) => Allowed::Any,
            DeValue::Boolean(false) => Allowed::Only(Vec::new()),
            DeValue::Array(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items.iter() {
                    let one = format!("an item of {name}");
                    let Some(text) = self.string(&one, item) else {
                        continue;
                    };
                    match parse(text) {
                        Ok(value) => list.push(self.placed(item, value)),
                        Err(message) => self.told(item.span(), &message),
                    }
                }
                Allowed::Only(list)
            }
            other => {
                let label = match other {
                    DeValue::String(text) => format!("write [{:?}]", shortened(text)),
                    _ => String::new(),
                };
                let expected = format!("true, false, or a list of {expected}");
                self.wrong_type(name, &expected, node, &label);
                return None;
            }
        };
        Some(self.placed(node, allowed))
    }
}

fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(_) => "a string".into(),
        DeValue::Integer(_) | DeValue::Float(_) => "a number".into(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// A text for a message: all of it only where it is short.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
    }
}
