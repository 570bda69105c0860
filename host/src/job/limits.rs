//! `limits` of a definition: what is read of them, under the maximum of the host.

use super::Limits;
use super::decode::Decoder;
use super::diagnostic::quoted;
use super::document::{Node, Value};
use super::keys::LIMITS;
use crate::suggest::nearest;
use crate::units::{format_count, format_duration_exact, format_size, parse_count};

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

impl Decoder<'_> {
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
}
