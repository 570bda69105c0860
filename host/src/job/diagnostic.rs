//! What is wrong with a definition, and where: said in one line for logs and events, and drawn
//! under the line of the file for a person who is about to mend it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::JobId;

/// The largest text that is read as a job file, in bytes.
pub const MAX_SOURCE_BYTES: usize = 256 << 20;

/// The text of a job file under the name that the operator gave it, with an index that finds
/// lines and columns in it quickly.
pub struct SourceText {
    name: Arc<str>,
    text: String,
    /// Where each line begins.
    lines: Vec<u32>,
    /// How many characters begin before each block of [`BLOCK`] bytes: a file may be one line.
    characters: Vec<u32>,
    /// Where its lines are rows that a query yielded: nobody wrote it as a text.
    rows: Option<Rows>,
}

/// What the places of a text are called where each line of it is a row of a query.
///
/// The text is a list in JSON, whose elements stand on one line each, between a `[` or a space
/// and a `,` or a `]`.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// The query's columns that are keys of the object that a row became.
    pub columns: Box<[Box<str>]>,
    /// The query's column that holds an object whose keys stand beside those of `columns`.
    pub whole: Option<Box<str>>,
}

/// How many bytes may have to be counted to find a column.
const BLOCK: usize = 1024;

impl SourceText {
    /// Takes a text that is known to be one.
    ///
    /// # Panics
    /// If the text is 4 GiB or longer: offsets are kept in 32 bits. [`SourceText::from_bytes`]
    /// refuses such a text.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        let text = text.into();
        assert!(u32::try_from(text.len()).is_ok(), "a text below 4 GiB");
        let mut lines = vec![0];
        let mut characters = Vec::with_capacity(text.len() / BLOCK + 1);
        let mut counted = 0;
        for (block, bytes) in text.as_bytes().chunks(BLOCK).enumerate() {
            characters.push(counted);
            counted += characters_in(bytes);
            let breaks = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            // Below 4 GiB, as asserted.
            lines.extend(breaks.map(|(at, _)| (block * BLOCK + at + 1) as u32));
        }
        SourceText {
            name: name.into(),
            text,
            lines,
            characters,
            rows: None,
        }
    }

    /// The same text, each line of which is a row of a query.
    #[must_use]
    pub fn of_rows(mut self, rows: Rows) -> Self {
        self.rows = Some(rows);
        self
    }

    /// The row of a byte offset, counted from 1, and the query's column, if it is about one;
    /// nothing if the lines of the text are lines.
    pub fn row(&self, offset: usize) -> Option<(u32, Option<String>)> {
        let rows = self.rows.as_ref()?;
        let line = self.line(offset);
        let start = self.line_start(line);
        let row = self.text.get(self.line_range(line)).unwrap_or_default();
        let key = key_at(row, offset.saturating_sub(start));
        let column = match (key, &rows.whole) {
            (Some(key), Some(whole)) if !rows.columns.contains(&key) => Some(whole.to_string()),
            (None, Some(whole)) if rows.columns.is_empty() => Some(whole.to_string()),
            (key, _) => key.map(String::from),
        };
        Some((line, column))
    }

    /// What a line is called in a sentence: "on line 3".
    pub(crate) fn on_line(&self, line: u32) -> String {
        match self.rows {
            Some(_) => format!("in row {line}"),
            None => format!("on line {line}"),
        }
    }

    /// Takes the bytes of a file. A byte-order mark is accepted.
    ///
    /// # Errors
    /// A diagnostic if there are more than [`MAX_SOURCE_BYTES`], or if they are not UTF-8.
    pub fn from_bytes(name: impl Into<Arc<str>>, bytes: Vec<u8>) -> Result<Self, Box<Diagnostic>> {
        let name = name.into();
        if bytes.len() > MAX_SOURCE_BYTES {
            return Err(Box::new(Diagnostic::too_large(name)));
        }
        let error = match String::from_utf8(bytes) {
            Ok(text) => return Ok(SourceText::new(name, text)),
            Err(error) => error,
        };
        // All before the place is good text, so the place stays the same in the mended one.
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(at).copied().unwrap_or_default();
        let utf16 = matches!(error.as_bytes(), [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]);
        let mended = String::from_utf8_lossy(error.as_bytes()).into_owned();
        if mended.len() > u32::MAX as usize {
            return Err(Box::new(Diagnostic::too_large(name)));
        }
        let source = Arc::new(SourceText::new(name, mended));
        let span = at..at + char::REPLACEMENT_CHARACTER.len_utf8();
        let problem = Diagnostic::error(&source, span, "the file is not UTF-8 text");
        Err(Box::new(if utf16 {
            problem.with_label("this looks like UTF-16: save the file as UTF-8")
        } else {
            problem.with_label(format!(
                "byte 0x{byte:02X} begins no character: save the file as UTF-8"
            ))
        }))
    }

    /// The name of the file, as the operator gave it.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The text, with its byte-order mark if it has one.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line of a byte offset, counted from 1.
    pub fn line(&self, offset: usize) -> u32 {
        // There are fewer lines than bytes, which 32 bits count.
        self.lines
            .partition_point(|start| *start as usize <= offset) as u32
    }

    /// The line and the column of a byte offset, both counted from 1, the column in characters.
    /// An offset beyond the end is the end.
    pub fn position(&self, offset: usize) -> (u32, u32) {
        let offset = offset.min(self.text.len());
        let line = self.line(offset);
        let start = self.line_start(line);
        let mut column = self.characters_before(offset) - self.characters_before(start) + 1;
        if start == 0 && offset > 0 && self.text.starts_with('\u{FEFF}') {
            column -= 1; // the byte-order mark cannot be seen
        }
        (line, column.max(1))
    }

    fn line_start(&self, line: u32) -> usize {
        let index = (line as usize).saturating_sub(1);
        self.lines.get(index).copied().unwrap_or(0) as usize
    }

    /// The bytes of a line, without its line break.
    fn line_range(&self, line: u32) -> Range<usize> {
        let start = self.line_start(line);
        let end = self
            .lines
            .get(line as usize)
            .map_or(self.text.len(), |next| *next as usize);
        let text = self.text.get(start..end).unwrap_or_default();
        start..start + text.trim_end_matches(['\n', '\r']).len()
    }

    fn characters_before(&self, offset: usize) -> u32 {
        let block = offset / BLOCK;
        let Some(before) = self.characters.get(block) else {
            // The end of a text that fills its last block.
            let Some(last) = self.characters.last() else {
                return 0;
            };
            let rest = (self.characters.len() - 1) * BLOCK..self.text.len();
            return last + characters_in(self.text.as_bytes().get(rest).unwrap_or_default());
        };
        let rest = self.text.as_bytes().get(block * BLOCK..offset);
        before + characters_in(rest.unwrap_or_default())
    }
}

/// The key of the outermost object of a row in whose key or value the byte at `offset` is.
fn key_at(row: &str, offset: usize) -> Option<Box<str>> {
    let bytes = row.as_bytes();
    // The list's own bracket may stand before the object.
    let mut at = bytes.iter().position(|byte| *byte == b'{')? + 1;
    let mut depth = 1_u32;
    let mut key = None;
    let mut before = b'{';
    while at <= offset && depth > 0 {
        let byte = *bytes.get(at)?;
        let start = at;
        at += 1;
        match byte {
            b'"' => {
                while let Some(inside) = bytes.get(at) {
                    at += if *inside == b'\\' { 2 } else { 1 };
                    if *inside == b'"' {
                        break;
                    }
                }
                if depth == 1 && matches!(before, b'{' | b',') {
                    key = Some(start..at);
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        if byte != b' ' {
            before = byte;
        }
    }
    serde_json::from_str(row.get(key?)?).ok()
}

/// How many characters begin in these bytes.
fn characters_in(bytes: &[u8]) -> u32 {
    let count = bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
    count as u32 // a text has less than 4 GiB
}

impl fmt::Debug for SourceText {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "SourceText({}, {} bytes)", self.name, self.text.len())
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The definition cannot be used.
    Error,
    /// The definition works, but perhaps not as meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.pad(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// Something wrong with a definition, at its place.
///
/// As text it is one line for logs and events; [`Diagnostic::render`] draws it for a person.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The job, where the mistake is inside one whose id could be read.
    pub job: Option<JobId>,
    /// What is wrong, as a sentence without its full stop; quotes the offending text.
    pub message: String,
    /// What would be right, short enough to stand under the place. May be empty.
    pub label: String,
    /// What else helps.
    pub hint: Option<String>,
    /// The file, as the operator named it.
    pub file: Arc<str>,
    /// The line, counted from 1; 0 if it is about the file as a whole.
    pub line: u32,
    /// The column, counted from 1 in characters; 0 if it is about the file as a whole.
    pub column: u32,
    /// The bytes of the text that it is about. Always within the text.
    pub span: Range<usize>,
    /// The text.
    pub source: Arc<SourceText>,
}

impl Diagnostic {
    /// Something that makes a definition unusable, at `span` (in bytes) of the text.
    pub fn error(source: &Arc<SourceText>, span: Range<usize>, message: impl Into<String>) -> Self {
        Diagnostic::at(Severity::Error, source, span, message.into())
    }

    /// Something that is perhaps not meant so, at `span` (in bytes) of the text.
    pub fn warning(
        source: &Arc<SourceText>,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        Diagnostic::at(Severity::Warning, source, span, message.into())
    }

    /// Something wrong with a file as a whole, such as that it is not there.
    pub fn of_file(file: impl Into<Arc<str>>, message: impl Into<String>) -> Self {
        let file = file.into();
        Diagnostic {
            line: 0,
            column: 0,
            ..Diagnostic::error(&Arc::new(SourceText::new(file, "")), 0..0, message)
        }
    }

    /// A file above [`MAX_SOURCE_BYTES`].
    pub(crate) fn too_large(file: impl Into<Arc<str>>) -> Self {
        let message = format!("the file is larger than {} MiB", MAX_SOURCE_BYTES >> 20);
        Diagnostic::of_file(file, message)
            .with_label("is this the job file? Definitions may be spread over several files")
    }

    fn at(
        severity: Severity,
        source: &Arc<SourceText>,
        span: Range<usize>,
        message: String,
    ) -> Self {
        let text = source.text();
        // A place between characters, or beyond the text, is the nearest one before it.
        let start = text.floor_char_boundary(span.start);
        let end = text.ceil_char_boundary(span.end.min(text.len())).max(start);
        let (line, column) = source.position(start);
        Diagnostic {
            severity,
            job: None,
            message,
            label: String::new(),
            hint: None,
            file: source.name().clone(),
            line,
            column,
            span: start..end,
            source: source.clone(),
        }
    }

    /// Says what would be right.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Says what else helps.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says which job it is about.
    #[must_use]
    pub fn with_job(mut self, job: Option<JobId>) -> Self {
        self.job = job;
        self
    }

    /// What would be right and what else helps, in one line; nothing if nothing is known.
    pub fn advice(&self) -> Option<String> {
        match (&self.hint, self.label.is_empty()) {
            (None, true) => None,
            (None, false) => Some(self.label.clone()),
            (Some(hint), true) => Some(hint.clone()),
            (Some(hint), false) => Some(format!("{}; {hint}", self.label)),
        }
    }

    /// Draws it for a person: the message, the line of the file, and what would be right under
    /// the place. Without a line break at the end.
    pub fn render(&self, color: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.message.as_str());
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut group = if self.line == 0 {
            let group = title.element(Origin::path(&*self.file));
            if self.label.is_empty() {
                group
            } else {
                group.element(Level::HELP.message(self.label.as_str()))
            }
        } else {
            self.excerpt(Group::with_title(title))
        };
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        let drawn = renderer.render(&[group]);
        if let Some(place) = self.row_place() {
            // The renderer knows lines and columns alone.
            let (title, rest) = drawn.split_once('\n').unwrap_or((&drawn, ""));
            let from = format!("{}:{}:", self.file, self.line);
            let Some((arrow, rest)) = rest.split_once(&from) else {
                return drawn;
            };
            let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
            return format!("{title}\n{arrow}{}, {place}{rest}", self.file);
        }
        match self.cut() {
            None => drawn,
            // The renderer counts the column from where the line was cut.
            Some(cut) => {
                let shown = self.source.position(self.span.start).1;
                let text = self.source.text();
                let kept = text.get(cut.start..self.span.start).unwrap_or_default();
                let counted = format!(":{}:{}", self.line, kept.chars().count() + 1);
                let (title, rest) = drawn.split_once('\n').unwrap_or((&drawn, ""));
                let right = format!(":{}:{shown}", self.line);
                format!("{title}\n{}", rest.replacen(&counted, &right, 1))
            }
        }
    }

    /// "row 3, `trigger`", where its text is made of rows.
    fn row_place(&self) -> Option<String> {
        if self.line == 0 {
            return None;
        }
        let (row, column) = self.source.row(self.span.start)?;
        Some(match column {
            Some(column) => format!("row {row}, `{column}`"),
            None => format!("row {row}"),
        })
    }

    /// Adds the line of the file, or what [`Diagnostic::cut`] leaves of it.
    fn excerpt<'a>(&'a self, group: Group<'a>) -> Group<'a> {
        let text = self.source.text();
        let mut line = self.cut().unwrap_or_else(|| {
            let mut line = self.source.line_range(self.line);
            if self.source.rows.is_some() && line.len() >= 2 {
                // What makes a list of the rows is no part of any.
                line = line.start + 1..line.end - 1;
            }
            line
        });
        let shown = text.get(line.clone()).unwrap_or_default();
        let shown = shown.strip_prefix('\u{FEFF}').unwrap_or(shown);
        line.start = line.end - shown.len();
        let start = self.span.start.clamp(line.start, line.end) - line.start;
        let end = self.span.end.clamp(line.start, line.end) - line.start;
        let mut mark = AnnotationKind::Primary.span(start..end.max(start));
        if !self.label.is_empty() {
            mark = mark.label(self.label.as_str());
        }
        let snippet = Snippet::source(shown)
            .path(&*self.file)
            .line_start(self.line as usize)
            .annotation(mark);
        group.element(snippet)
    }

    /// The part around the place, of a line too long to be drawn whole. The renderer walks
    /// through all that it is given and trims it to the width of a terminal, but a file may be
    /// large, and all in one line.
    fn cut(&self) -> Option<Range<usize>> {
        /// A line up to here is left to the renderer.
        const WHOLE: usize = 4096;
        /// How much is kept on either side of the place.
        const AROUND: usize = 1024;
        let text = self.source.text();
        let line = self.source.line_range(self.line);
        if self.line == 0 || line.len() <= WHOLE {
            return None;
        }
        let from = text.floor_char_boundary(self.span.start.saturating_sub(AROUND));
        let to = self.span.start.saturating_add(AROUND).min(text.len());
        let to = text.ceil_char_boundary(to);
        let start = line.start.max(from).min(line.end);
        Some(start..line.end.min(to).max(start))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}:", self.file)?;
        if let Some(place) = self.row_place() {
            write!(to, " {place}:")?;
        } else if self.line > 0 {
            write!(to, "{}:{}:", self.line, self.column)?;
        }
        write!(to, " {}", self.message)?;
        if let Some(advice) = self.advice() {
            write!(to, ": {advice}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

impl PartialEq for Diagnostic {
    /// Whether both say the same about the same place of a file of the same name.
    fn eq(&self, other: &Self) -> bool {
        self.severity == other.severity
            && self.job == other.job
            && (self.line, self.column) == (other.line, other.column)
            && self.file == other.file
            && self.message == other.message
            && self.label == other.label
            && self.hint == other.hint
    }
}

impl Eq for Diagnostic {}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let advice = self.advice();
        let placed = self.line > 0;
        let row = placed.then(|| self.source.row(self.span.start)).flatten();
        let keys = 3 + usize::from(self.job.is_some()) + 2 * usize::from(placed);
        let mut object = to.serialize_struct("Diagnostic", keys + usize::from(advice.is_some()))?;
        object.serialize_field("severity", &self.severity)?;
        if let Some(job) = &self.job {
            object.serialize_field("job", job)?;
        }
        object.serialize_field("file", &*self.file)?;
        if let Some((row, column)) = &row {
            object.serialize_field("row", row)?;
            object.serialize_field("field", column)?;
        } else if placed {
            object.serialize_field("line", &self.line)?;
            object.serialize_field("column", &self.column)?;
        }
        object.serialize_field("message", &self.message)?;
        if let Some(advice) = &advice {
            object.serialize_field("hint", advice)?;
        }
        object.end()
    }
}

/// Quotes a piece of a file in a message: on one line, and not the whole of a long one.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        None => format!("{text:?}"),
        Some((at, _)) => format!("{:?}", format!("{}…", text.get(..at).unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<SourceText> {
        Arc::new(SourceText::new("jobs.json", text))
    }

    #[test]
    fn positions_are_counted_in_lines_and_characters() {
        let text = source("ab\r\nä€x\n\nend");
        let place = |needle: &str| text.position(text.text().find(needle).unwrap());
        assert_eq!(place("ab"), (1, 1));
        assert_eq!(place("b"), (1, 2));
        assert_eq!(place("ä"), (2, 1));
        assert_eq!(place("x"), (2, 3));
        assert_eq!(place("end"), (4, 1));
        assert_eq!(text.position(usize::MAX), (4, 4));
        assert_eq!(source("").position(0), (1, 1));
        assert_eq!(source("\u{FEFF}x").position(3), (1, 1));
    }

    #[test]
    fn columns_of_one_long_line_agree_with_counting() {
        let text = source(&"aä€😀".repeat(3000));
        for (count, (at, _)) in text.text().char_indices().enumerate().step_by(97) {
            assert_eq!(text.position(at), (1, u32::try_from(count).unwrap() + 1));
        }
        let end = text.text().chars().count();
        assert_eq!(text.position(text.text().len()).1 as usize, end + 1);
        let full = source(&"x".repeat(BLOCK * 2));
        assert_eq!(full.position(BLOCK * 2), (1, 2049));
    }

    #[test]
    fn one_line_for_logs_and_an_object_for_programs() {
        let text = source("{\n  \"timezone\": \"Europe/Berln\"\n}");
        let problem = Diagnostic::error(&text, 16..30, "no such time zone \"Europe/Berln\"")
            .with_label("did you mean \"Europe/Berlin\"?")
            .with_job(Some("report".into()));
        assert_eq!(
            problem.to_string(),
            r#"jobs.json:2:15: no such time zone "Europe/Berln": did you mean "Europe/Berlin"?"#
        );
        assert_eq!(
            serde_json::to_string(&problem).unwrap(),
            r#"{"severity":"error","job":"report","file":"jobs.json","line":2,"column":15,"message":"no such time zone \"Europe/Berln\"","hint":"did you mean \"Europe/Berlin\"?"}"#
        );
        let whole = Diagnostic::of_file("jobs.json", "no such file").with_hint("look again");
        assert_eq!(whole.to_string(), "jobs.json: no such file: look again");
        assert_eq!(
            serde_json::to_string(&whole).unwrap(),
            r#"{"severity":"error","file":"jobs.json","message":"no such file","hint":"look again"}"#
        );
        insta::assert_snapshot!(problem.render(false));
        insta::assert_snapshot!(whole.render(false));
        assert!(problem.render(true).contains("\u{1b}["));
    }

    #[test]
    fn a_file_in_one_line_is_drawn_around_the_place() {
        let text = source(&format!(
            "[{} oops {}]",
            "0, ".repeat(9000),
            "1, ".repeat(9000)
        ));
        let at = text.text().find("oops").unwrap();
        let drawn = Diagnostic::warning(&text, at..at + 4, "not a value")
            .with_label("here")
            .render(false);
        insta::assert_snapshot!(drawn);
    }

    #[test]
    fn a_place_across_lines_is_drawn_on_its_first() {
        let text = source("[\n  {\"a\":\n 1}\n]");
        let drawn = Diagnostic::error(&text, 4..14, "no `id`").render(false);
        insta::assert_snapshot!(drawn);
    }

    #[test]
    fn bytes_that_are_no_text_are_placed() {
        let problem =
            SourceText::from_bytes("jobs.json", b"[\n \"\xC3\x28\"]".to_vec()).unwrap_err();
        insta::assert_snapshot!(problem.to_string());
        let utf16 = SourceText::from_bytes("jobs.json", vec![0xFF, 0xFE, b'[', 0]).unwrap_err();
        insta::assert_snapshot!(utf16.to_string());
        assert!(SourceText::from_bytes("jobs.json", b"\xEF\xBB\xBF[]".to_vec()).is_ok());
    }

    #[test]
    fn places_outside_the_text_do_no_harm() {
        let text = source("aä");
        for span in [2..3, 9..12, Range { start: 3, end: 1 }, 0..usize::MAX] {
            let problem = Diagnostic::error(&text, span, "odd");
            assert!(text.text().get(problem.span.clone()).is_some());
            problem.render(false);
        }
    }
}
