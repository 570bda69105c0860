//! From the rows of a query to the text of a list of jobs, one job a line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use serde_json::value::RawValue;

use super::Failure;
use crate::job::manifest::{Form, Options};
use crate::job::schema::json_schema;
use crate::job::{Diagnostic, MAX_SOURCE_BYTES, Manifest, Rows, SourceText};
use crate::suggest::nearest;
use crate::units::format_size;

/// How many rows a query may yield.
pub(super) const MAX_ROWS: usize = 1_000_000;

/// The column that holds a whole definition.
const WHOLE: &str = "definition";

/// The keys of a job, as its documentation lists them.
static KEYS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let schema: serde_json::Value = serde_json::from_str(json_schema()).unwrap_or_default();
    let keys = schema.pointer("/$defs/job/properties");
    let keys = keys.and_then(serde_json::Value::as_object);
    keys.into_iter()
        .flat_map(|keys| keys.keys().cloned())
        .collect()
});

/// Keys whose values are never plain strings: a text in such a column is JSON.
const STRUCTURED: [&str; 4] = ["params", "args", "limits", "grants"];

/// Keys whose values may be objects: a text that looks like one is JSON.
const PERHAPS_STRUCTURED: [&str; 2] = ["trigger", "retry"];

/// Keys whose values are `true` or `false`, which not all databases know.
const TRUTHS: [&str; 3] = ["enabled", "run_on_start", "deterministic"];

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    /// The key is not set.
    Null,
    /// A text of the database.
    Text(String),
    /// JSON: a number, a truth, or what the database itself calls JSON.
    Json(Box<RawJson>),
    /// What no definition can hold: what it is.
    Unusable(String),
}

/// A text known to be one JSON value.
pub(super) type RawJson = str;

/// What each column of a query is to a job.
#[derive(Debug, PartialEq)]
pub(super) struct Columns {
    names: Vec<String>,
    /// Which of them holds whole definitions.
    whole: Option<usize>,
}

impl Columns {
    /// The columns of a query.
    ///
    /// # Errors
    /// If no definitions can be made of such columns.
    pub(super) fn new(names: Vec<String>) -> Result<Self, Failure> {
        let failure = |message: String, advice: String| Err(Failure::new(message, advice));
        if names.is_empty() {
            return failure(
                "the query yields no columns".into(),
                "it has to be a SELECT".into(),
            );
        }
        for (index, name) in names.iter().enumerate() {
            if names.iter().take(index).any(|other| other == name) {
                return failure(
                    format!("the query yields two columns `{name}`"),
                    "leave one of them out, or name it with AS".into(),
                );
            }
        }
        let whole = match &names[..] {
            [_] => Some(0),
            _ => names.iter().position(|name| name == WHOLE),
        };
        for (index, name) in names.iter().enumerate() {
            if whole == Some(index) || KEYS.contains(name) {
                continue;
            }
            let near = nearest(name, KEYS.iter().map(String::as_str));
            let advice = match near {
                Some(near) => format!("did you mean `{near}`? AS gives a column another name"),
                None => format!(
                    "select what a definition is made of: {}; or whole definitions as `{WHOLE}`",
                    KEYS.join(", ")
                ),
            };
            return failure(
                format!("the query yields a column `{name}`, which no job has"),
                advice,
            );
        }
        if whole.is_none() {
            let has = |key: &str| names.iter().any(|name| name == key);
            let missing = ["id", "component"].into_iter().find(|key| !has(key));
            let missing =
                missing.or((!has("trigger") && !has("cron_expression")).then_some("trigger"));
            if let Some(missing) = missing {
                return failure(
                    format!("the query yields no column `{missing}`"),
                    format!("a job needs one; or select whole definitions as `{WHOLE}`"),
                );
            }
        }
        Ok(Columns { names, whole })
    }

    fn rows(&self) -> Rows {
        let whole = self.whole.and_then(|index| self.names.get(index));
        let keys = self.names.iter().enumerate();
        let keys = keys.filter(|(index, _)| self.whole != Some(*index));
        Rows {
            columns: keys.map(|(_, name)| name.as_str().into()).collect(),
            whole: whole.map(|name| name.as_str().into()),
        }
    }
}

/// Something wrong with a row before it is looked at as a definition.
#[derive(Debug, Clone)]
struct Broken {
    /// The row, counted from 0.
    row: usize,
    /// The place in the text, in bytes.
    span: Range<usize>,
    message: String,
    label: String,
}

/// Makes the text of a list of jobs out of rows, in their order.
#[derive(Debug)]
pub(super) struct Builder {
    columns: Columns,
    text: String,
    /// Where each row's object stands in the text, for those that look sound.
    rows: Vec<Range<usize>>,
    broken: Vec<Broken>,
    max_rows: usize,
    max_bytes: usize,
}

/// A list of jobs as rows said it.
#[derive(Debug)]
pub(super) struct Listing {
    text: String,
    columns: Columns,
    rows: Vec<Range<usize>>,
    broken: Vec<Broken>,
}

impl Builder {
    /// No rows yet.
    pub(super) fn new(columns: Columns) -> Self {
        Builder {
            columns,
            text: String::new(),
            rows: Vec::new(),
            broken: Vec::new(),
            max_rows: MAX_ROWS,
            max_bytes: MAX_SOURCE_BYTES,
        }
    }

    /// Adds a row, with a cell for each column.
    ///
    /// # Errors
    /// If there are more rows than a source may have, or they are too long together.
    pub(super) fn push(&mut self, cells: &[Cell]) -> Result<(), Failure> {
        if self.rows.len() == self.max_rows {
            return Err(Failure::new(
                format!("the query yields more than {} rows", self.max_rows),
                "is it the right table? A source has fewer jobs than that",
            ));
        }
        self.text
            .push_str(if self.rows.is_empty() { "[" } else { ",\n " });
        let start = self.text.len();
        let row = self.rows.len();
        if let Err(broken) = self.object(cells) {
            self.text.truncate(start);
            self.broken_object(row, cells, broken);
        }
        self.rows.push(start..self.text.len());
        if self.text.len() > self.max_bytes {
            return Err(Failure::new(
                format!(
                    "the query yields more than {}",
                    format_size(self.max_bytes as u64)
                ),
                "is it the right table? Definitions may be spread over several sources",
            ));
        }
        Ok(())
    }

    /// All rows as a text.
    pub(super) fn finish(mut self) -> Listing {
        self.text
            .push_str(if self.rows.is_empty() { "[]" } else { "]" });
        self.text.push('\n');
        Listing {
            text: self.text,
            columns: self.columns,
            rows: self.rows,
            broken: self.broken,
        }
    }

    /// Writes a row as the object that it stands for; or gives all that is wrong with it: which
    /// column, and what.
    fn object(&mut self, cells: &[Cell]) -> Result<(), Vec<(usize, String, String)>> {
        let mut wrong = Vec::new();
        let mut whole = None;
        self.text.push('{');
        let mut comma = "";
        for (index, (name, cell)) in self.columns.names.iter().zip(cells).enumerate() {
            let value = if self.columns.whole == Some(index) {
                definition(cell)
            } else {
                value(name, cell)
            };
            match value {
                Err((message, label)) => wrong.push((index, message, label)),
                Ok(None) => {}
                Ok(Some(value)) if self.columns.whole == Some(index) => whole = Some(value),
                Ok(Some(value)) => {
                    let _ = write!(self.text, "{comma}{}: {value}", quote(name));
                    comma = ", ";
                }
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        if let Some(whole) = whole {
            if comma.is_empty() {
                // Nothing beside it: it says all, be it an object or not.
                self.text.pop();
                self.text.push_str(&whole);
                return Ok(());
            }
            let inside = whole
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'));
            let Some(inside) = inside else {
                let message = "a definition beside other columns is a JSON object".to_owned();
                let column = self.columns.whole.unwrap_or_default();
                return Err(vec![(
                    column,
                    message,
                    r#"such as {"trigger": "@hourly"}"#.into(),
                )]);
            };
            if !inside.trim().is_empty() {
                let _ = write!(self.text, "{comma}{}", inside.trim());
            }
        }
        self.text.push('}');
        Ok(())
    }

    /// Writes a row that is no definition in a form that is never taken for one: of the keys that
    /// every job needs, it has the id alone.
    fn broken_object(&mut self, row: usize, cells: &[Cell], wrong: Vec<(usize, String, String)>) {
        self.text.push('{');
        let id = self.columns.names.iter().position(|name| name == "id");
        if let Some(id) = id
            && self.columns.whole != Some(id)
            && let Some(cell) = cells.get(id)
            && let Ok(Some(value)) = value("id", cell)
        {
            let _ = write!(self.text, "\"id\": {value}, ");
        }
        for (index, message, label) in wrong {
            let held = match cells.get(index) {
                None | Some(Cell::Null) => "null".to_owned(),
                Some(Cell::Text(text)) => quote(text),
                Some(Cell::Json(json)) => on_one_line(json),
                Some(Cell::Unusable(what)) => quote(what),
            };
            let name = self.columns.names.get(index);
            let _ = write!(self.text, "{}: ", quote(name.map_or("", |name| name)));
            let start = self.text.len();
            self.text.push_str(&held);
            self.broken.push(Broken {
                row,
                span: start..self.text.len(),
                message,
                label,
            });
            self.text.push_str(", ");
        }
        self.text.truncate(self.text.len() - 2);
        self.text.push('}');
    }
}

impl Listing {
    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Reads the text as definitions.
    ///
    /// # Errors
    /// If nothing in it can be used, which one row's fault never is.
    pub(super) fn parse(
        self,
        name: &Arc<str>,
        options: &Options,
    ) -> Result<Manifest, Vec<Diagnostic>> {
        let rows = self.columns.rows();
        let source = Arc::new(SourceText::new(name.clone(), self.text).of_rows(rows.clone()));
        let (source, broken) = match Manifest::parse(source.clone(), options) {
            Ok(mut manifest) => {
                mark(&mut manifest, &self.broken);
                return Ok(manifest);
            }
            // Rows that are JSON, and still more than the reader of definitions takes, such as
            // one of a thousand brackets. They are found one by one.
            Err(_) => without_unreadable(&source, &self.rows, self.broken, rows, options),
        };
        let mut manifest = Manifest::parse(source, options)?;
        mark(&mut manifest, &broken);
        Ok(manifest)
    }
}

/// Puts what was found wrong with rows in the place of what a reader of definitions says of them.
fn mark(manifest: &mut Manifest, broken: &[Broken]) {
    let mut problems: BTreeMap<usize, Vec<Diagnostic>> = BTreeMap::new();
    for it in broken {
        let job = manifest.entries.get(it.row).and_then(|it| it.id.clone());
        let problem = Diagnostic::error(&manifest.source, it.span.clone(), it.message.clone())
            .with_label(it.label.clone())
            .with_job(job);
        problems.entry(it.row).or_default().push(problem);
    }
    for (row, problems) in problems {
        if let Some(entry) = manifest.entries.get_mut(row) {
            entry.result = Err(problems);
        }
    }
}

/// The same text with something readable in the place of each row that alone makes it useless.
fn without_unreadable(
    source: &SourceText,
    rows: &[Range<usize>],
    broken: Vec<Broken>,
    layout: Rows,
    options: &Options,
) -> (Arc<SourceText>, Vec<Broken>) {
    let mut text = String::with_capacity(source.text().len());
    let mut all = Vec::with_capacity(broken.len());
    let mut known = broken.into_iter().peekable();
    for (row, span) in rows.iter().enumerate() {
        text.push_str(if row == 0 { "[" } else { ",\n " });
        let start = text.len();
        let object = source.text().get(span.clone()).unwrap_or_default();
        let alone = SourceText::new(source.name().clone(), format!("[{object}]"));
        let problem = Manifest::parse(Arc::new(alone), options)
            .err()
            .and_then(|problems| problems.into_iter().next());
        while let Some(mut it) = known.next_if(|it| it.row == row) {
            let shift = |at: usize| at - span.start + start;
            it.span = shift(it.span.start)..shift(it.span.end);
            // Unless it is gone with its row.
            if problem.is_none() {
                all.push(it);
            }
        }
        match problem {
            None => text.push_str(object),
            Some(problem) => {
                text.push_str(&quote(object));
                all.push(Broken {
                    row,
                    span: start..text.len(),
                    message: problem.message,
                    label: problem.label,
                });
            }
        }
    }
    text.push_str("]\n");
    let source = SourceText::new(source.name().clone(), text).of_rows(layout);
    (Arc::new(source), all)
}

/// The JSON of a key's value; nothing if the key is not set.
fn value(key: &str, cell: &Cell) -> Result<Option<String>, (String, String)> {
    Ok(Some(match cell {
        Cell::Null => return Ok(None),
        Cell::Unusable(what) => return Err(unusable(what)),
        Cell::Json(json) => match (&**json, TRUTHS.contains(&key)) {
            ("0", true) => "false".into(),
            ("1", true) => "true".into(),
            (json, _) => on_one_line(json),
        },
        Cell::Text(text) if TRUTHS.contains(&key) => {
            match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" => "true".into(),
                "false" | "0" => "false".into(),
                _ => quote(text),
            }
        }
        Cell::Text(text)
            if STRUCTURED.contains(&key)
                || (PERHAPS_STRUCTURED.contains(&key)
                    && text.trim_start().starts_with(['{', '['])) =>
        {
            json(text)?
        }
        Cell::Text(text) => quote(text),
    }))
}

/// The JSON of a whole definition.
fn definition(cell: &Cell) -> Result<Option<String>, (String, String)> {
    match cell {
        Cell::Null => Err((
            "there is no definition: it is NULL".into(),
            "leave such rows out with WHERE … IS NOT NULL".into(),
        )),
        Cell::Unusable(what) => Err(unusable(what)),
        Cell::Json(json) => Ok(Some(on_one_line(json))),
        Cell::Text(text) => json(text).map(Some),
    }
}

fn unusable(what: &str) -> (String, String) {
    (
        format!("is {what}, which no definition can hold"),
        "select it as text, or as JSON text: json(…) in SQLite".into(),
    )
}

/// The JSON that a text of the database is.
fn json(text: &str) -> Result<String, (String, String)> {
    let error = match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => return Ok(on_one_line(raw.get())),
        Err(error) => error,
    };
    if text.trim().is_empty() {
        return Err((
            "is empty, and no JSON".into(),
            "NULL is what is not set".into(),
        ));
    }
    // The reader of job files explains better than the parser does.
    let source = Arc::new(SourceText::new("", text));
    let form = Form::One {
        id: "".into(),
        component: None,
    };
    let options = Options {
        form,
        ..Options::default()
    };
    let explained = Manifest::parse(source, &options).err();
    Err(match explained.and_then(|them| them.into_iter().next()) {
        Some(problem) => {
            let place = match (problem.line, problem.column) {
                (1, column) => format!("character {column}"),
                (line, column) => format!("line {line}, character {column}"),
            };
            let message = format!("is no JSON, at {place}: {}", problem.message);
            (message, problem.label)
        }
        // It reads comments and trailing commas, too.
        None => (
            format!("is no JSON: {error}"),
            "comments and trailing commas are for files".into(),
        ),
    })
}

/// JSON without line breaks, which stand between its parts alone.
fn on_one_line(json: &str) -> String {
    json.trim().replace(['\n', '\r'], " ")
}

/// A JSON string.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn columns(names: &[&str]) -> Result<Columns, Failure> {
        Columns::new(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn text(text: &str) -> Cell {
        Cell::Text(text.into())
    }

    fn number(number: i64) -> Cell {
        Cell::Json(number.to_string().into())
    }

    fn manifest(names: &[&str], rows: &[Vec<Cell>]) -> Manifest {
        let mut builder = Builder::new(columns(names).unwrap());
        rows.iter().for_each(|row| builder.push(row).unwrap());
        let name = "jobs-db".into();
        builder.finish().parse(&name, &Options::default()).unwrap()
    }

    /// Each row: its job, or what is wrong with it.
    fn told(manifest: &Manifest) -> String {
        let mut told = String::new();
        for entry in &manifest.entries {
            match &entry.result {
                Ok(job) => writeln!(told, "{}: {}", job.id, job.component).unwrap(),
                Err(problems) => {
                    for problem in problems {
                        let id = entry.id.as_ref().map_or("?", |id| id.as_str());
                        writeln!(told, "({id}) {problem}").unwrap();
                    }
                }
            }
        }
        told
    }

    const BASE: [&str; 3] = ["id", "component", "trigger"];

    #[test]
    fn columns_are_the_keys_of_a_job() {
        let names = [
            "id",
            "component",
            "trigger",
            "cron_expression",
            "enabled",
            "params",
            "limits",
            "version",
            "timezone",
            "description",
        ];
        let manifest = manifest(
            &names,
            &[
                vec![
                    text("a"),
                    text("a.wasm"),
                    text(
                        r#" {"cron": "0 9 * * *",
                        "timezone": "Europe/Berlin"}"#,
                    ),
                    Cell::Null,
                    number(0),
                    text("{\"x\":\n[1, 2]}"),
                    text(r#"{"timeout": "5s"}"#),
                    number(7),
                    Cell::Null,
                    text("it's \"quoted\"\nand broken"),
                ],
                vec![
                    number(12),
                    text("a.wasm"),
                    Cell::Null,
                    text("*/5 * * * *"),
                    text("TRUE"),
                    Cell::Json("\"plain\"".into()),
                    Cell::Null,
                    Cell::Null,
                    text("Europe/Berlin"),
                    Cell::Null,
                ],
            ],
        );
        assert_eq!(told(&manifest), "a: a.wasm\n12: a.wasm\n");
        let jobs: Vec<_> = manifest.jobs().collect();
        assert!(!jobs[0].enabled && jobs[1].enabled);
        assert_eq!(jobs[0].version, Some(7));
        assert_eq!(jobs[0].params.as_deref(), Some(r#"{"x":[1,2]}"#));
        assert_eq!(jobs[1].params.as_deref(), Some(r#""plain""#));
        assert_eq!(jobs[0].limits.timeout.as_secs(), 5);
        assert_eq!(
            jobs[0].description.as_deref(),
            Some("it's \"quoted\"\nand broken")
        );
        assert_eq!(jobs[1].origin.line, 2);
    }

    #[test]
    fn one_column_is_whole_definitions() {
        let row = |id: &str| {
            format!("{{\"id\": \"{id}\",\n \"component\": \"a.wasm\", \"trigger\": \"@hourly\"}}")
        };
        for name in ["definition", "job"] {
            let rows = [vec![text(&row("a"))], vec![Cell::Json(row("b").into())]];
            assert_eq!(told(&manifest(&[name], &rows)), "a: a.wasm\nb: a.wasm\n");
        }
        // Columns beside it set keys of their own.
        let names = ["id", "enabled", "definition"];
        let rest = text(r#"{"component": "a.wasm", "trigger": "@hourly"}"#);
        let rows = [
            vec![text("a"), number(0), rest.clone()],
            vec![text("b"), number(1), text(&row("b"))],
            vec![text("c"), Cell::Null, text("3")],
            vec![text("d"), Cell::Null, text("{}")],
        ];
        let manifest = manifest(&names, &rows);
        insta::assert_snapshot!(told(&manifest), @r#"
        a: a.wasm
        (b) jobs-db: row 2, `id`: the key "id" is there twice: it was first in row 2
        (c) jobs-db: row 3, `definition`: a definition beside other columns is a JSON object: such as {"trigger": "@hourly"}
        (d) jobs-db: row 4: job `d` has no `trigger`: add "trigger": "*/5 * * * *" or {"interval": "5s"}; "@manually" is for a job that runs only when asked to
        (d) jobs-db: row 4: job `d` has no `component`: add "component": "NAME.wasm", a file of the plugins directory
        "#);
        assert!(!manifest.jobs().next().unwrap().enabled);
    }

    #[test]
    fn what_is_wrong_is_told_by_row_and_column() {
        let names = [
            "id",
            "component",
            "trigger",
            "params",
            "enabled",
            "definition",
        ];
        let rest = || text("{}");
        let good = || {
            vec![
                text("ok"),
                text("a.wasm"),
                text("@hourly"),
                Cell::Null,
                Cell::Null,
                rest(),
            ]
        };
        let with = |id: &str, column: usize, cell: Cell| {
            let mut row = good();
            row[0] = text(id);
            row[column] = cell;
            row
        };
        let manifest = manifest(
            &names,
            &[
                good(),
                with("macro", 2, text("@hurly")),
                with("json", 3, text("{\"a\": 1")),
                with("comment", 3, text("{\"a\": 1, } // no")),
                with("empty", 3, text("")),
                with("blob", 1, Cell::Unusable("a BLOB of 3 bytes".into())),
                with("truth", 4, text("perhaps")),
                with("null", 5, Cell::Null),
                with("within", 5, text(r#"{"version": "one", "priority": 5}"#)),
                with("no trigger", 2, Cell::Null),
                with("", 3, Cell::Null),
                with("ok", 3, Cell::Null),
                with("twice", 5, text(r#"{"id": "other"}"#)),
            ],
        );
        insta::assert_snapshot!(told(&manifest), @r#"
        ok: a.wasm
        (macro) jobs-db: row 2, `trigger`: no such macro: `@hurly`: a macro is @yearly, @monthly, @weekly, @daily, @hourly, @every, @reboot or @manually; did you mean `@hourly`?
        (json) jobs-db: row 3, `params`: is no JSON, at character 1: the `{` is never closed: its `}` is missing
        (comment) jobs-db: row 4, `params`: is no JSON: key must be a string at line 1 column 10: comments and trailing commas are for files
        (empty) jobs-db: row 5, `params`: is empty, and no JSON: NULL is what is not set
        (blob) jobs-db: row 6, `component`: is a BLOB of 3 bytes, which no definition can hold: select it as text, or as JSON text: json(…) in SQLite
        (truth) jobs-db: row 7, `enabled`: `enabled` is true or false, not a string
        (null) jobs-db: row 8, `definition`: there is no definition: it is NULL: leave such rows out with WHERE … IS NOT NULL
        (within) jobs-db: row 9, `definition`: `version` is a whole number, not a string
        (no trigger) jobs-db: row 10: job `no trigger` has no `trigger`: add "trigger": "*/5 * * * *" or {"interval": "5s"}; "@manually" is for a job that runs only when asked to
        (?) jobs-db: row 11, `id`: the id is empty: give the job a name of its own
        (ok) jobs-db: row 12, `id`: the id "ok" is used twice: it was first used in row 1
        (twice) jobs-db: row 13, `id`: the key "id" is there twice: it was first in row 13
        "#);
        let problems = manifest.problems();
        insta::assert_snapshot!(problems[0].render(false), @r#"
        error: no such macro: `@hurly`
         --> jobs-db, row 2, `trigger`
          |
        2 | {"id": "macro", "component": "a.wasm", "trigger": "@hurly"}
          |                                                    ^^^^^^ a macro is @yearly, @monthly, @weekly, @daily, @hourly, @every, @reboot or @manually
          |
          = help: did you mean `@hourly`?
        "#);
        insta::assert_snapshot!(problems[1].render(false), @r#"
        error: is no JSON, at character 1: the `{` is never closed
         --> jobs-db, row 3, `params`
          |
        3 | {"id": "json", "params": "{\"a\": 1"}
          |                          ^^^^^^^^^^^ its `}` is missing
        "#);
        insta::assert_snapshot!(serde_json::to_string(problems[1]).unwrap(), @r#"{"severity":"error","job":"json","file":"jobs-db","row":3,"field":"params","message":"is no JSON, at character 1: the `{` is never closed","hint":"its `}` is missing"}"#);
    }

    #[test]
    fn a_definition_that_is_none_is_told_by_its_row() {
        let broken = [
            "",
            "nonsense",
            "3",
            "[]",
            "null",
            "{\"id\": \"a\",",
            "{\"id\": \"a\"}",
            r#"{"id": "a", "component": "a.wasm", "trigger": "@hurly"}"#,
            "{\"id\": \"\\ud800\"}",
        ];
        let rows: Vec<_> = broken.iter().map(|it| vec![text(it)]).collect();
        insta::assert_snapshot!(told(&manifest(&["definition"], &rows)), @r#"
        (?) jobs-db: row 1, `definition`: is empty, and no JSON: NULL is what is not set
        (?) jobs-db: row 2, `definition`: is no JSON, at character 1: `nonsense` is not a value: a string stands in double quotes: "nonsense"
        (?) jobs-db: row 3, `definition`: a job is an object such as {"id": "hello", "component": "hello.wasm", "trigger": "@every 5s"}, not a number
        (?) jobs-db: row 4, `definition`: a job is an object such as {"id": "hello", "component": "hello.wasm", "trigger": "@every 5s"}, not a list
        (?) jobs-db: row 5, `definition`: a job is an object such as {"id": "hello", "component": "hello.wasm", "trigger": "@every 5s"}, not null
        (?) jobs-db: row 6, `definition`: is no JSON, at character 1: the `{` is never closed: its `}` is missing
        (a) jobs-db: row 7, `definition`: job `a` has no `trigger`: add "trigger": "*/5 * * * *" or {"interval": "5s"}; "@manually" is for a job that runs only when asked to
        (a) jobs-db: row 7, `definition`: job `a` has no `component`: add "component": "NAME.wasm", a file of the plugins directory
        (a) jobs-db: row 8, `definition`: the id "a" is used twice: it was first used in row 7
        (a) jobs-db: row 8, `definition`: no such macro: `@hurly`: a macro is @yearly, @monthly, @weekly, @daily, @hourly, @every, @reboot or @manually; did you mean `@hourly`?
        (?) jobs-db: row 9, `definition`: \ud800 is no character: a character beyond \uFFFF is a pair of escapes, high then low
        "#);
    }

    #[test]
    fn a_row_that_alone_would_spoil_the_list_spoils_itself() {
        let good = |id: &str| vec![text(id), text("a.wasm"), text("@hourly"), Cell::Null];
        let mut deep = good("deep");
        deep[3] = text(&format!("{}{}", "[".repeat(900), "]".repeat(900)));
        let mut blob = good("blob");
        blob[3] = Cell::Unusable("a BLOB of 1 byte".into());
        let rows = [blob.clone(), deep, good("a"), blob];
        let manifest = manifest(&["id", "component", "trigger", "params"], &rows);
        let told = told(&manifest);
        let told: String = told
            .lines()
            .map(|line| {
                let line: String = line.chars().take(90).collect();
                line + "\n"
            })
            .collect();
        insta::assert_snapshot!(told, @"
        (blob) jobs-db: row 1, `params`: is a BLOB of 1 byte, which no definition can hold: select
        (?) jobs-db: row 2: too many values one inside the other: the limit is 512 levels
        a: a.wasm
        (blob) jobs-db: row 4, `params`: is a BLOB of 1 byte, which no definition can hold: select
        ");
    }

    #[test]
    fn columns_that_make_no_job_are_refused() {
        let told = |names: &[&str]| columns(names).unwrap_err().to_string();
        let mut all = String::new();
        for names in [
            &[][..],
            &["id", "id"],
            &["id", "componnent", "trigger"],
            &["id", "created_at"],
            &["id", "trigger"],
            &["component", "id"],
        ] {
            writeln!(all, "{}", told(names)).unwrap();
        }
        insta::assert_snapshot!(all, @"
        the query yields no columns: it has to be a SELECT
        the query yields two columns `id`: leave one of them out, or name it with AS
        the query yields a column `componnent`, which no job has: did you mean `component`? AS gives a column another name
        the query yields a column `created_at`, which no job has: select what a definition is made of: id, description, component, sha256, trigger, cron_expression, timezone, params, args, limits, grants, enabled, version, run_on_start, max_instances, overlap, misfire_grace_time, coalesce, retry, deadline, on_lost, priority, group, deterministic; or whole definitions as `definition`
        the query yields no column `component`: a job needs one; or select whole definitions as `definition`
        the query yields no column `trigger`: a job needs one; or select whole definitions as `definition`
        ");
    }

    #[test]
    fn too_many_rows_are_refused_before_they_fill_the_memory() {
        let row = [text("a"), text("a.wasm"), text("@hourly")];
        let mut builder = Builder::new(columns(&BASE).unwrap());
        builder.max_rows = 2;
        assert!(builder.push(&row).is_ok() && builder.push(&row).is_ok());
        insta::assert_snapshot!(builder.push(&row).unwrap_err(), @"the query yields more than 2 rows: is it the right table? A source has fewer jobs than that");
        let mut builder = Builder::new(columns(&BASE).unwrap());
        builder.max_bytes = 1 << 10;
        let pushed = (0..1 << 10).find_map(|_| builder.push(&row).err());
        insta::assert_snapshot!(pushed.unwrap(), @"the query yields more than 1 KiB: is it the right table? Definitions may be spread over several sources");
        assert!(builder.text.len() < 2 << 10);
    }

    #[test]
    fn a_query_without_rows_is_a_list_without_jobs() {
        let manifest = manifest(&BASE, &[]);
        assert!(manifest.entries.is_empty());
        assert_eq!(manifest.source.text(), "[]\n");
    }

    #[test]
    fn a_broken_row_is_never_taken_for_a_good_one() {
        // As it is when the text is kept and read again, without what was found wrong with it.
        let mut row = vec![text("a"), text("a.wasm"), text("@hourly"), text("{")];
        for (column, cell) in [(3, text("{")), (0, Cell::Unusable("a BLOB".into()))] {
            row[column] = cell;
            let manifest = manifest(&["id", "component", "trigger", "params"], &[row.clone()]);
            let again = SourceText::new("x", manifest.source.text());
            let again = Manifest::parse(Arc::new(again), &Options::default()).unwrap();
            assert!(again.entries[0].result.is_err());
        }
    }

    fn cell() -> impl Strategy<Value = Cell> {
        prop_oneof![
            Just(Cell::Null),
            "\\PC{0,12}".prop_map(Cell::Text),
            "[\\[\\]{}\",:0-9a-z\\\\\n ]{0,12}".prop_map(Cell::Text),
            any::<i64>().prop_map(number),
            Just(Cell::Json("{\"a\": [\n1]}".into())),
            Just(Cell::Unusable("a BLOB".into())),
        ]
    }

    proptest! {
        #[test]
        fn every_row_is_one_entry_on_a_line_of_its_own(
            rows in prop::collection::vec(prop::collection::vec(cell(), 5), 0..6),
            whole in any::<bool>(),
        ) {
            let last = if whole { "definition" } else { "params" };
            let names = ["id", "component", "trigger", "enabled", last];
            let manifest = manifest(&names, &rows);
            prop_assert_eq!(manifest.entries.len(), rows.len());
            for problem in manifest.problems() {
                let (row, _) = problem.source.row(problem.span.start).unwrap();
                prop_assert!(row as usize <= rows.len());
                prop_assert!(problem.line > 0);
                problem.render(false);
            }
            for (at, entry) in manifest.entries.iter().enumerate() {
                prop_assert_eq!(manifest.source.line(entry.component_span.start) as usize, at + 1);
            }
        }
    }
}
