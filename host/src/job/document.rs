//! A job file's text as a tree of values that know their place: JSON with comments and
//! trailing commas, and strict in everything else.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::diagnostic::{Diagnostic, SourceText, quoted};
use super::syntax::{check_strings, explain};

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node<'a> {
    /// The bytes of the text, quotes and brackets included.
    pub(super) span: Range<usize>,
    /// What it is.
    pub(super) value: Value<'a>,
}

/// A JSON value.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, with the digits it was written with.
    Number(&'a str),
    /// A string, unescaped.
    String(Cow<'a, str>),
    /// A list.
    Array(Vec<Node<'a>>),
    /// Members in the order of the text. A key may be there twice: see [`Document::repeated`].
    Object(Vec<Member<'a>>),
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Member<'a> {
    /// The key, unescaped.
    pub(super) key: Cow<'a, str>,
    /// Where the key stands, quotes included.
    pub(super) key_span: Range<usize>,
    /// Its value.
    pub(super) value: Node<'a>,
}

/// What a text holds.
#[derive(Debug)]
pub(super) struct Document<'a> {
    /// The outermost value.
    pub(super) root: Node<'a>,
    /// Keys that an object holds a second time, in the order of the text. The rest of the
    /// document is good, so they are left to whoever knows which job they spoil.
    pub(super) repeated: Vec<Repeated<'a>>,
}

/// A key that its object already had.
#[derive(Debug)]
pub(super) struct Repeated<'a> {
    /// The key.
    pub(super) key: Cow<'a, str>,
    /// Where it stands the second time.
    pub(super) span: Range<usize>,
    /// Where it stood the first time.
    pub(super) first: Range<usize>,
}

/// Reads a text.
///
/// # Errors
/// The first place at which it is not JSON, and what was expected there.
pub(super) fn parse(source: &Arc<SourceText>) -> Result<Document<'_>, Box<Diagnostic>> {
    let text = source.text();
    let start = if text.starts_with('\u{FEFF}') {
        '\u{FEFF}'.len_utf8()
    } else {
        0
    };
    let body = text.get(start..).unwrap_or_default();
    let problem = |span: Range<usize>, message: String, label: &str| {
        Box::new(
            Diagnostic::error(source, span.start + start..span.end + start, message)
                .with_label(label),
        )
    };
    if let Err(broken) = check_strings(body) {
        return Err(problem(broken.span, broken.message, broken.label));
    }
    // Nesting is bounded by the parser, at 512 values one inside the other; what walks through
    // its result by recursion is bounded with it.
    let parsed = parse_to_ast(body, &CollectOptions::default(), &STRICT)
        .map_err(|error| {
            let (span, message, label) = explain(body, &error);
            problem(span, message, &label)
        })?
        .value;
    let Some(parsed) = parsed else {
        return Err(Box::new(
            Diagnostic::error(source, 0..0, "the file is empty")
                .with_label("a file without jobs holds []"),
        ));
    };
    let mut builder = Builder {
        offset: start,
        repeated: Vec::new(),
    };
    let root = builder.node(parsed);
    Ok(Document {
        root,
        repeated: builder.repeated,
    })
}

const STRICT: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Turns the parser's tree into ours.
struct Builder<'a> {
    offset: usize,
    repeated: Vec<Repeated<'a>>,
}

impl<'a> Builder<'a> {
    fn span(&self, ranged: &impl Ranged) -> Range<usize> {
        let range = ranged.range();
        range.start + self.offset..range.end + self.offset
    }

    fn node(&mut self, value: ast::Value<'a>) -> Node<'a> {
        let span = self.span(&value);
        let value = match value {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
            ast::Value::NumberLit(literal) => Value::Number(literal.value),
            ast::Value::StringLit(literal) => Value::String(literal.value),
            ast::Value::Array(array) => Value::Array(
                array
                    .elements
                    .into_iter()
                    .map(|element| self.node(element))
                    .collect(),
            ),
            ast::Value::Object(object) => Value::Object(self.members(object)),
        };
        Node { span, value }
    }

    fn members(&mut self, object: ast::Object<'a>) -> Vec<Member<'a>> {
        let mut members: Vec<Member<'a>> = Vec::with_capacity(object.properties.len());
        for property in object.properties {
            let key_span = self.span(&property.name);
            let key = match property.name {
                ast::ObjectPropName::String(literal) => literal.value,
                ast::ObjectPropName::Word(word) => Cow::Borrowed(word.value),
            };
            let value = self.node(property.value);
            members.push(Member {
                key,
                key_span,
                value,
            });
        }
        self.find_repeated(&members);
        members
    }

    fn find_repeated(&mut self, members: &[Member<'a>]) {
        /// Up to here comparing each with each is quicker than hashing.
        const FEW: usize = 16;
        let mut repeat = |member: &Member<'a>, first: &Range<usize>| {
            self.repeated.push(Repeated {
                key: member.key.clone(),
                span: member.key_span.clone(),
                first: first.clone(),
            });
        };
        if members.len() <= FEW {
            for (index, member) in members.iter().enumerate() {
                let mut earlier = members.iter().take(index);
                if let Some(first) = earlier.find(|first| first.key == member.key) {
                    repeat(member, &first.key_span);
                }
            }
            return;
        }
        let mut seen: HashMap<&str, &Range<usize>> = HashMap::with_capacity(members.len());
        for member in members {
            match seen.entry(&member.key) {
                Entry::Vacant(place) => {
                    place.insert(&member.key_span);
                }
                Entry::Occupied(first) => repeat(member, first.get()),
            }
        }
    }
}

impl Node<'_> {
    /// What kind of value it is, for "…, not a number".
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(true) => "true",
            Value::Bool(false) => "false",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    /// Writes the value as compact JSON: without comments and trailing commas, otherwise with
    /// the very digits, escapes and order of keys that the text has.
    pub(super) fn write_json(&self, text: &str, to: &mut String) {
        match &self.value {
            Value::Array(elements) => {
                to.push('[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        to.push(',');
                    }
                    element.write_json(text, to);
                }
                to.push(']');
            }
            Value::Object(members) => {
                to.push('{');
                for (index, member) in members.iter().enumerate() {
                    if index > 0 {
                        to.push(',');
                    }
                    to.push_str(text.get(member.key_span.clone()).unwrap_or_default());
                    to.push(':');
                    member.value.write_json(text, to);
                }
                to.push('}');
            }
            // What is neither list nor object stands in the text as it stands in JSON.
            _ => to.push_str(text.get(self.span.clone()).unwrap_or_default()),
        }
    }

    /// The bytes of the file that a piece of this string's content stands at; the whole string
    /// where escapes make that unclear.
    pub(super) fn inner_span(&self, piece: &Range<usize>) -> Range<usize> {
        let content = self.span.start + 1..self.span.end.saturating_sub(1);
        match &self.value {
            Value::String(string)
                if string.len() == content.len()
                    && piece.end <= string.len()
                    && !piece.is_empty() =>
            {
                content.start + piece.start..content.start + piece.end
            }
            _ => self.span.clone(),
        }
    }
}

impl Repeated<'_> {
    /// What is wrong, for the job or the file that it is in.
    pub(super) fn message(&self) -> String {
        format!("the key {} is there twice", quoted(&self.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<SourceText> {
        Arc::new(SourceText::new("jobs.json", text))
    }

    fn compact(text: &str) -> String {
        let source = source(text);
        let document = parse(&source).unwrap_or_else(|error| panic!("{error}"));
        let mut json = String::new();
        document.root.write_json(source.text(), &mut json);
        json
    }

    #[test]
    fn comments_and_trailing_commas_are_read() {
        let text = "\u{FEFF}// one\n[ /* \"two */ {\"a\" : 1, /* three */ }, \"//\", ] // four";
        assert_eq!(compact(text), r#"[{"a":1},"//"]"#);
    }

    #[test]
    fn values_keep_their_digits_their_escapes_and_their_order() {
        let text =
            r#"{"z": 1.10e+05, "a": 123456789012345678901234567890, "😀\ud83d\ude00\/": [-0, {}]}"#;
        assert_eq!(
            compact(text),
            r#"{"z":1.10e+05,"a":123456789012345678901234567890,"😀\ud83d\ude00\/":[-0,{}]}"#
        );
    }

    #[test]
    fn what_is_not_json_is_told_with_its_place() {
        let mut told = String::new();
        for text in [
            "",
            " // nothing\n",
            "[1 2]",
            "{\"a\": 1 \"b\": 2}",
            "{\"a\" 1}",
            "{\"a\": }",
            "{\"a\":",
            "{a: 1}",
            "{'a': 1}",
            "[True]",
            "[None]",
            "[hello]",
            "[hello, 1]",
            "{\"a\": /* here */ ]",
            "[1",
            "{\"a\": 1",
            "{\"a\": [1}",
            "[{\"a\": 1]",
            "/* open",
            "[1] [2]",
            "[,]",
            "[1,,2]",
            "{,}",
            "[1:2]",
            "[@]",
            "[0x10]",
            "[+1]",
            "[.5]",
            "[5.]",
            "[01]",
            "[-]",
            "[1e]",
            "[\"a\\x41\"]",
            "[\"\\ud800\"]",
            "[\"\\u12\"]",
            "[\"a\n\"]",
            "{\n  \"id: \"a\",\n  \"b\": 1\n}",
            "[\"tab\there\"]",
            "[\"open",
            "[\"\\",
            "]",
            "}",
        ] {
            let source = source(text);
            let problem = parse(&source).expect_err(text);
            told.push_str(&format!("{text:?}\n    {problem}\n"));
        }
        insta::assert_snapshot!("syntax", told);
    }

    #[test]
    fn a_deep_file_is_refused_and_a_fairly_deep_one_is_not() {
        for open in ["[", "{\"a\":", "[{\"a\":"] {
            let problem = parse(&source(&open.repeat(1 << 18)))
                .map(|_| ())
                .unwrap_err();
            assert_eq!(problem.message, "too many values one inside the other");
        }
        assert!(parse(&source(&format!("{}{}", "[".repeat(500), "]".repeat(500)))).is_ok());
    }

    #[test]
    fn repeated_keys_are_found_in_small_and_large_objects() {
        let small = source(r#"{"a": 1, "b": {"c": 1, "\u0063": 2}, "a": 3, "a": 4}"#);
        let found: Vec<_> = parse(&small)
            .unwrap()
            .repeated
            .iter()
            .map(|repeated| {
                (
                    repeated.key.to_string(),
                    repeated.span.start,
                    repeated.first.start,
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("c".into(), 23, 15),
                ("a".into(), 37, 1),
                ("a".into(), 45, 1)
            ]
        );
        let keys: String = (0..1000).map(|key| format!("\"k{key}\": 0, ")).collect();
        let large = source(&format!("{{{keys} \"k7\": 1}}"));
        assert_eq!(parse(&large).unwrap().repeated.len(), 1);
    }
}
