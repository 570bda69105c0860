//! What is said about a text that is not JSON: the place, what is wrong there, what was expected.

use std::ops::Range;

use jsonc_parser::ParseStringErrorKind;
use jsonc_parser::errors::{ParseError, ParseErrorKind};

use crate::suggest::nearest;

/// A string that is broken.
pub(super) struct BrokenString {
    /// Where.
    pub(super) span: Range<usize>,
    /// What is wrong.
    pub(super) message: String,
    /// What would be right.
    pub(super) label: &'static str,
}

/// Finds a string that does not end on its line, or holds another control character: JSON
/// forbids both and the parser allows both, with the effect that a forgotten quote is noticed
/// only lines later.
pub(super) fn check_strings(text: &str) -> Result<(), BrokenString> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1)) {
            (b'"', _) => at = check_string(bytes, at)?,
            (b'/', Some(b'/')) => {
                let rest = bytes.get(at..).unwrap_or_default();
                at += rest
                    .iter()
                    .position(|byte| matches!(byte, b'\n' | b'\r'))
                    .unwrap_or(rest.len());
            }
            (b'/', Some(b'*')) => {
                let rest = bytes.get(at + 2..).unwrap_or_default();
                // A comment without an end is the parser's to tell.
                at += rest
                    .windows(2)
                    .position(|pair| pair == b"*/")
                    .map_or(rest.len() + 2, |end| end + 4);
            }
            _ => at += 1,
        }
    }
    Ok(())
}

/// Checks the string that begins at `start`; gives the place after it.
fn check_string(bytes: &[u8], start: usize) -> Result<usize, BrokenString> {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return Ok(at + 1),
            b'\\' if bytes.get(at + 1).is_some_and(|next| *next >= b' ') => at += 2,
            b'\n' | b'\r' => break,
            0..b' ' => {
                return Err(BrokenString {
                    span: at..at + 1,
                    message: format!(
                        "the character {:?} stands raw in a string",
                        char::from(*byte)
                    ),
                    label: if *byte == b'\t' {
                        "write \\t"
                    } else {
                        "write it as \\u and four digits"
                    },
                });
            }
            _ => at += 1,
        }
    }
    Err(BrokenString {
        span: start..at.min(bytes.len()),
        message: "the string is not closed".into(),
        label: "a `\"` is missing on this line",
    })
}

/// Turns a parser's error into place, message and label.
pub(super) fn explain(text: &str, error: &ParseError) -> (Range<usize>, String, String) {
    use ParseErrorKind as Kind;
    let range = error.range();
    let token = text.get(range.start..range.end).unwrap_or_default();
    let found = if token.is_empty() {
        "the end of the file".to_owned()
    } else {
        format!("`{}`", shortened(token.trim()))
    };
    let first = range.start..(range.start + 1).min(text.len());
    let whole = range.start..range.end;
    let before = text.get(..range.start).unwrap_or_default();
    if matches!(token, "}" | "]" | ",") && before.trim_end().ends_with(':') {
        return (
            whole,
            format!("a value is missing before {found}"),
            "expected a value".into(),
        );
    }
    if is_word(token) && matches!(error.kind(), Kind::UnexpectedWord | Kind::UnexpectedToken) {
        return (
            whole,
            format!("{found} is not a value"),
            explain_word(token),
        );
    }
    let after = text.get(range.start..).unwrap_or_default();
    if matches!(error.kind(), Kind::ExpectedComma)
        && before.ends_with('0')
        && after.starts_with(|next: char| next.is_ascii_digit())
    {
        let zero = range.start - 1..range.start;
        return (
            zero,
            "a number does not begin with 0".into(),
            "leave the 0 out".into(),
        );
    }
    let (span, message, label) = match error.kind() {
        Kind::ExpectedComma => (first, "a comma is missing".into(), "expected `,` here"),
        Kind::ExpectedColonAfterObjectKey => (
            whole,
            format!("expected `:` after the key, found {found}"),
            "a key is followed by `:` and its value",
        ),
        Kind::ExpectedObjectValue => (
            whole,
            "a value is missing at the end of the file".into(),
            "expected a value",
        ),
        Kind::ExpectedStringObjectProperty => {
            let label = format!("write \"{}\"", shortened(token.trim()));
            return (
                whole,
                format!("the key {found} is not in double quotes"),
                label,
            );
        }
        Kind::SingleQuotedStringsNotAllowed => (
            whole,
            "strings stand in double quotes".into(),
            "write `\"` instead of `'`",
        ),
        Kind::UnterminatedObject => (
            first,
            "the `{` is never closed".into(),
            "its `}` is missing",
        ),
        Kind::UnterminatedArray => (
            first,
            "the `[` is never closed".into(),
            "its `]` is missing",
        ),
        Kind::UnterminatedCommentBlock => (
            range.start..range.start + 2,
            "the comment is never closed".into(),
            "its `*/` is missing",
        ),
        Kind::NestingDepthExceeded => (
            first,
            "too many values one inside the other".into(),
            "the limit is 512 levels",
        ),
        Kind::MultipleRootJsonValues => (
            first,
            format!("{found} follows after the end of the definitions"),
            "expected nothing more",
        ),
        Kind::UnexpectedTokenInObject if token == "]" => (
            whole,
            "`]` stands where a `{` is still open".into(),
            "expected a key or `}`",
        ),
        Kind::UnexpectedCloseBrace if before.trim_start().starts_with(['[', '{']) => (
            whole,
            "`}` stands where a `[` is still open".into(),
            "expected a value or `]`",
        ),
        Kind::UnexpectedCloseBracket | Kind::UnexpectedCloseBrace => {
            (whole, format!("{found} closes nothing"), "expected a value")
        }
        Kind::UnexpectedTokenInObject => (
            whole,
            format!("expected a key in double quotes or `}}`, found {found}"),
            "not a key",
        ),
        Kind::UnexpectedComma => (
            whole,
            "a comma without a value before it".into(),
            "expected a value",
        ),
        Kind::UnexpectedColon => (
            whole,
            "a `:` where none belongs".into(),
            "only the keys of an object, in `{ }`, have one",
        ),
        Kind::UnexpectedToken | Kind::UnexpectedWord => (
            whole,
            format!("{found} begins no value"),
            "expected a value",
        ),
        Kind::HexadecimalNumbersNotAllowed => (
            whole,
            "hexadecimal numbers are not JSON".into(),
            "write it in decimal digits",
        ),
        Kind::UnaryPlusNumbersNotAllowed => (
            whole,
            "a number has no `+` in front".into(),
            "leave the `+` out",
        ),
        Kind::BareDecimalPointNumbersNotAllowed => (
            whole,
            "a decimal point stands between digits".into(),
            "write a digit before and after it",
        ),
        Kind::NonFiniteNumbersNotAllowed => (
            whole,
            format!("{found} is not a JSON number"),
            "expected digits",
        ),
        Kind::ExpectedDigit
        | Kind::ExpectedDigitFollowingNegativeSign
        | Kind::ExpectedPlusMinusOrDigitInNumberLiteral => (
            whole,
            "the number is not complete".into(),
            "expected a digit",
        ),
        Kind::String(kind) => {
            let (message, label) = explain_string(kind);
            (whole, message, label)
        }
        // Both are allowed.
        Kind::CommentsNotAllowed | Kind::TrailingCommasNotAllowed => {
            (whole, error.kind().to_string(), "")
        }
    };
    (span, message, label.to_owned())
}

fn is_word(token: &str) -> bool {
    token.starts_with(char::is_alphabetic)
}

fn explain_word(word: &str) -> String {
    match nearest(word, ["true", "false", "null"].into_iter()) {
        Some(known) => format!("did you mean {known}?"),
        None if matches!(word, "None" | "nil" | "undefined") => "did you mean null?".into(),
        None => format!("a string stands in double quotes: \"{}\"", shortened(word)),
    }
}

/// A token for a message: all of it only where it is short.
fn shortened(token: &str) -> &str {
    const LONGEST: usize = 40;
    token
        .char_indices()
        .nth(LONGEST)
        .and_then(|(at, _)| token.get(..at))
        .unwrap_or(token)
}

fn explain_string(kind: &ParseStringErrorKind) -> (String, &'static str) {
    use ParseStringErrorKind as Kind;
    match kind {
        Kind::ExpectedFourHexDigits | Kind::ExpectedTwoHexDigits => (
            "the escape is not complete".into(),
            "\\u takes four hexadecimal digits",
        ),
        Kind::InvalidUnicodeEscapeSequence(code) => (
            format!(
                "\\u{} is no character",
                code.split(' ').next().unwrap_or(code)
            ),
            "a character beyond \\uFFFF is a pair of escapes, high then low",
        ),
        Kind::UnterminatedStringLiteral => (
            "the string is not closed".into(),
            "a `\"` is missing on this line",
        ),
        Kind::InvalidEscape
        | Kind::InvalidEscapeInDoubleQuoteString
        | Kind::InvalidEscapeInSingleQuoteString => (
            "no such escape".into(),
            "the escapes are \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX; a backslash itself is \\\\",
        ),
    }
}
