//! Durations, sizes and counts as people write them, and back.
//!
//! The one place that knows what `90s`, `64MiB` and `10M` mean, so that a job file, a flag and
//! an `@every` trigger agree. Sizes follow Kubernetes: `Ki`, `Mi`, `Gi` are powers of 1024 and
//! `k`, `M`, `G` powers of 1000, each with or without a final `B`.

use std::time::Duration;

/// Why a text is no duration, size or count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UnitError {
    /// What is wrong, with the offending text.
    pub message: String,
    /// What may stand there; short, to be drawn under the text.
    pub label: String,
}

impl UnitError {
    fn new(message: impl Into<String>, label: impl Into<String>) -> Self {
        UnitError {
            message: message.into(),
            label: label.into(),
        }
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// The longest duration there is a use for; the sums that use one stay far from overflow.
const LONGEST: Duration = Duration::from_secs(1000 * 365 * 24 * 60 * 60);

/// What may be said of a duration's form, wherever one is refused.
const DURATION_FORM: &str = "a duration is a number and a unit: 250ms, 90s, 5m, 1h30m, 2d";

/// Units of time, short name first, with their length in nanoseconds.
const TIME_UNITS: &[(&[&str], u128)] = &[
    (
        &["ms", "msec", "msecs", "millisecond", "milliseconds"],
        1_000_000,
    ),
    (&["s", "sec", "secs", "second", "seconds"], NANOS_PER_SECOND),
    (
        &["m", "min", "mins", "minute", "minutes"],
        60 * NANOS_PER_SECOND,
    ),
    (
        &["h", "hr", "hrs", "hour", "hours"],
        3_600 * NANOS_PER_SECOND,
    ),
    (&["d", "day", "days"], 86_400 * NANOS_PER_SECOND),
    (&["w", "week", "weeks"], 604_800 * NANOS_PER_SECOND),
];

/// Units of size, in lower case, with their length in bytes.
const SIZE_UNITS: &[(&[&str], u128)] = &[
    (&["", "b", "byte", "bytes"], 1),
    (&["kib", "ki"], 1 << 10),
    (&["mib", "mi"], 1 << 20),
    (&["gib", "gi"], 1 << 30),
    (&["tib", "ti"], 1 << 40),
    (&["kb", "k"], 1_000),
    (&["mb", "m"], 1_000_000),
    (&["gb", "g"], 1_000_000_000),
    (&["tb", "t"], 1_000_000_000_000),
];

/// Units of count, in lower case.
const COUNT_UNITS: &[(&[&str], u128)] = &[
    (&[""], 1),
    (&["k"], 1_000),
    (&["m"], 1_000_000),
    (&["g"], 1_000_000_000),
    (&["t"], 1_000_000_000_000),
];

/// Reads a duration: `250ms`, `90s`, `5m`, `1.5h`, `1h30m`, `2 days`.
///
/// Units are `ms`, `s`, `m` (or `min`), `h`, `d` and `w`, and their long names, in any case but
/// `M`, which could be a month. Several parts add up.
///
/// ```
/// use quarterjack::units::parse_duration;
/// use std::time::Duration;
/// assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
/// assert!(parse_duration("90").is_err()); // 90 of what?
/// ```
///
/// # Errors
/// A missing or unknown unit, anything that is not a number and a unit, and more than a
/// thousand years.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(UnitError::new("the duration is empty", DURATION_FORM));
    }
    if rest.starts_with('-') {
        return Err(UnitError::new(
            format!("a duration cannot be negative: `{}`", shorten(text)),
            DURATION_FORM,
        ));
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (number, after) = Decimal::take(rest).ok_or_else(|| {
            UnitError::new(
                format!("`{}` is not a duration", shorten(text)),
                DURATION_FORM,
            )
        })?;
        let after = after.trim_start();
        let (unit, after) = take_unit(after);
        if unit.is_empty() {
            let written = rest.trim_end();
            return Err(if after.is_empty() {
                UnitError::new(
                    format!("a unit is missing: did you mean `{}s`?", shorten(written)),
                    DURATION_FORM,
                )
            } else {
                UnitError::new(
                    format!("`{}` is not a duration", shorten(text)),
                    DURATION_FORM,
                )
            });
        }
        if unit == "M" {
            return Err(UnitError::new(
                "`M` is not a unit of time: write `m` for minutes",
                DURATION_FORM,
            ));
        }
        let nanos = find(TIME_UNITS, unit).ok_or_else(|| unknown_unit(unit))?;
        total = number
            .times(nanos)
            .and_then(|part| total.checked_add(part))
            .filter(|sum| *sum <= LONGEST.as_nanos())
            .ok_or_else(|| {
                UnitError::new(
                    format!("`{}` is longer than 1000 years", shorten(text)),
                    DURATION_FORM,
                )
            })?;
        rest = after.trim_start();
    }
    // Both fit: the sum is below a thousand years.
    let seconds = u64::try_from(total / NANOS_PER_SECOND).unwrap_or(u64::MAX);
    let nanos = u32::try_from(total % NANOS_PER_SECOND).unwrap_or(0);
    Ok(Duration::new(seconds, nanos))
}

/// Reads a size in bytes: `64MiB`, `64Mi`, `1.5GiB`, `10MB`, `512` (bytes).
///
/// ```
/// use quarterjack::units::parse_size;
/// assert_eq!(parse_size("64MiB"), Ok(64 << 20));
/// assert_eq!(parse_size("1kB"), Ok(1000));
/// ```
///
/// # Errors
/// An unknown unit, anything that is not a number and a unit, and more than 2^64 bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    const FORM: &str = "a size is a number and a unit: 512, 64KiB, 64MiB, 2GiB, 10MB";
    if text.trim().ends_with('m') {
        return Err(UnitError::new(
            "`m` is not a unit of size: write `MiB` (or `M` for a million bytes)",
            FORM,
        ));
    }
    parse_one(text, SIZE_UNITS, "size", FORM)
}

/// Reads a count such as an amount of fuel: `10M`, `2.5k`, `10_000_000`.
///
/// # Errors
/// An unknown unit, anything that is not a number and a unit, a fraction of one, and more
/// than 2^64.
pub fn parse_count(text: &str) -> Result<u64, UnitError> {
    const FORM: &str = "a count is a whole number, with k, M, G or T if need be: 10M, 10_000_000";
    if text.trim().ends_with('m') {
        return Err(UnitError::new(
            "`m` is not a multiple: write `M` for a million",
            FORM,
        ));
    }
    parse_one(text, COUNT_UNITS, "count", FORM)
}

fn parse_one(
    text: &str,
    units: &[(&[&str], u128)],
    what: &str,
    form: &str,
) -> Result<u64, UnitError> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(UnitError::new(format!("the {what} is empty"), form));
    }
    let wrong = || UnitError::new(format!("`{}` is not a {what}", shorten(text)), form);
    let (number, rest) = Decimal::take(trimmed).ok_or_else(wrong)?;
    let (unit, rest) = take_unit(rest.trim_start());
    if !rest.is_empty() {
        return Err(wrong());
    }
    let scale = find(units, unit).ok_or_else(|| {
        UnitError::new(format!("`{}` is not a unit of {what}", shorten(unit)), form)
    })?;
    if !number.is_whole_in(scale) {
        return Err(UnitError::new(
            format!("`{}` is not a whole number", shorten(text)),
            form,
        ));
    }
    number
        .times(scale)
        .and_then(|value| u64::try_from(value).ok())
        .ok_or_else(|| UnitError::new(format!("`{}` is too large", shorten(text)), form))
}

/// Writes a duration for a person, to about two digits: `0.6 ms`, `41 ms`, `1.0 s`,
/// `1 min 30 s`, `2 h 5 min`, `3 d 4 h`.
pub fn format_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    if micros == 0 {
        return if duration.is_zero() {
            "0 ms".to_owned()
        } else {
            format!("{} ns", duration.as_nanos())
        };
    }
    // Each limit is where rounding would reach the next form.
    if micros < 50 {
        return format!("{micros} us");
    }
    if micros < 9_950 {
        let tenths = (micros + 50) / 100;
        return format!("{}.{} ms", tenths / 10, tenths % 10);
    }
    if micros < 999_500 {
        return format!("{} ms", (micros + 500) / 1000);
    }
    if micros < 59_950_000 {
        let tenths = (micros + 50_000) / 100_000;
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    let seconds = (micros + 500_000) / 1_000_000;
    let two = |large: u128, unit: &str, small: u128, small_unit: &str| {
        if small == 0 {
            format!("{large} {unit}")
        } else {
            format!("{large} {unit} {small} {small_unit}")
        }
    };
    if seconds < 3_600 {
        two(seconds / 60, "min", seconds % 60, "s")
    } else if seconds < 86_400 {
        two(seconds / 3_600, "h", seconds % 3_600 / 60, "min")
    } else {
        two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h")
    }
}

/// Writes a duration of whole milliseconds exactly: `5 s`, `1 h 30 min`, `1 s 250 ms`. What is
/// below a millisecond is left out.
pub fn format_duration_exact(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds % 86_400 / 3_600, "h"),
        (seconds % 3_600 / 60, "min"),
        (seconds % 60, "s"),
        (u64::from(duration.subsec_millis()), "ms"),
    ];
    let written: Vec<String> = parts
        .iter()
        .filter(|(amount, _)| *amount > 0)
        .map(|(amount, unit)| format!("{amount} {unit}"))
        .collect();
    if written.is_empty() {
        "0 ms".to_owned()
    } else {
        written.join(" ")
    }
}

/// Writes a size for a person: `512 B`, `1.1 MiB`, `64 MiB`. `bytes` is in bytes.
pub fn format_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let bytes = u128::from(bytes);
    let mut scale: u128 = 1024;
    let mut last = "";
    for unit in UNITS {
        last = unit;
        // Stay below where rounding would show 1024.0.
        if (bytes * 10 + scale / 2) / scale < 10_240 {
            break;
        }
        scale *= 1024;
    }
    if bytes.is_multiple_of(scale) {
        return format!("{} {last}", bytes / scale);
    }
    let tenths = (bytes * 10 + scale / 2) / scale;
    format!("{}.{} {last}", tenths / 10, tenths % 10)
}

/// Writes a count for a person, to two digits or three: `999`, `1.2 k`, `31 k`, `10 M`.
pub fn format_count(count: u64) -> String {
    const UNITS: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if count < 1_000 {
        return count.to_string();
    }
    let count = u128::from(count);
    let mut scale: u128 = 1_000;
    let mut last = "";
    for unit in UNITS {
        last = unit;
        // Stay below where rounding would show 1000.
        if (count + scale / 2) / scale < 1_000 {
            break;
        }
        scale *= 1_000;
    }
    let tenths = (count * 10 + scale / 2) / scale;
    if tenths >= 100 || tenths.is_multiple_of(10) {
        format!("{} {last}", (count + scale / 2) / scale)
    } else {
        format!("{}.{} {last}", tenths / 10, tenths % 10)
    }
}

/// A decimal number, exactly: `digits / 10^decimals`.
struct Decimal {
    digits: u128,
    decimals: u32,
}

impl Decimal {
    /// Takes a number off the front of `text`. None if there is none, or it is absurdly long.
    fn take(text: &str) -> Option<(Decimal, &str)> {
        let mut digits: u128 = 0;
        let mut decimals = 0;
        let mut seen_point = false;
        let mut last_was_digit = false;
        let mut end = text.len();
        for (at, c) in text.char_indices() {
            match c {
                '0'..='9' => {
                    let digit = c.to_digit(10)?;
                    digits = digits.checked_mul(10)?.checked_add(u128::from(digit))?;
                    decimals += u32::from(seen_point);
                    last_was_digit = true;
                }
                '.' if !seen_point && last_was_digit => {
                    seen_point = true;
                    last_was_digit = false;
                }
                '_' if last_was_digit => last_was_digit = false,
                _ => {
                    end = at;
                    break;
                }
            }
        }
        // Neither `1.` nor `1_` is a number.
        last_was_digit.then_some(())?;
        Some((Decimal { digits, decimals }, text.get(end..)?))
    }

    /// The number times `scale`, rounded down; None if it does not fit.
    fn times(&self, scale: u128) -> Option<u128> {
        Some(self.digits.checked_mul(scale)? / 10_u128.checked_pow(self.decimals)?)
    }

    fn is_whole_in(&self, scale: u128) -> bool {
        match (
            self.digits.checked_mul(scale),
            10_u128.checked_pow(self.decimals),
        ) {
            (Some(product), Some(divisor)) => product.is_multiple_of(divisor),
            // Too large: refused as such later.
            _ => true,
        }
    }
}

/// Takes the letters off the front of `text`.
fn take_unit(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn find(units: &[(&[&str], u128)], unit: &str) -> Option<u128> {
    units
        .iter()
        .find(|(names, _)| names.iter().any(|name| name.eq_ignore_ascii_case(unit)))
        .map(|(_, scale)| *scale)
}

fn unknown_unit(unit: &str) -> UnitError {
    let lower = unit.to_lowercase();
    let near = TIME_UNITS
        .iter()
        .flat_map(|(names, _)| names.iter())
        .filter(|name| name.len() > 2)
        .map(|name| (strsim::damerau_levenshtein(name, &lower), name))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    let mut message = format!("`{}` is not a unit of time", shorten(unit));
    if let Some((_, name)) = near {
        message.push_str(&format!(": did you mean `{name}`?"));
    }
    UnitError::new(message, "the units are ms, s, m (or min), h, d and w")
}

/// What of a text is quoted in an error: its beginning, when it is long.
fn shorten(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= 40 {
        text.to_owned()
    } else {
        text.chars().take(40).chain(std::iter::once('…')).collect()
    }
}

#[cfg(test)]
mod tests;
