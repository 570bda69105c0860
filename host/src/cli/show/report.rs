//! A run for people.

use std::io::{self, Write};
use std::time::Duration;

use crate::cli::history::{View, short};
use crate::cli::output::grid::{Cell, Column, Grid};
use crate::cli::output::{
    Tone, ago, columns, cut, harmless, human, outcome_word, plural, status_word, summary,
};
use crate::clock::Timestamp;
use crate::record::{RunRecord, Status};
use crate::run::{Denials, Execution, Output};
use crate::units::{format_count, format_duration, format_size};

/// Columns of the words in front.
const LABEL: usize = 12;

/// How many lines of the output, and of the end of the log, are shown.
const OUTPUT_LINES: usize = 60;
const LOG_LINES: usize = 10;

/// How many columns of parameters are shown.
const PARAMS: usize = 300;

/// How many bytes of the output are laid out: more do not fit so many lines.
const OUTPUT_BYTES: usize = 1 << 16;

/// Columns of a line at most, where it is broken and not cut.
const LONGEST: usize = 100;

/// Writes all of it.
pub(super) fn write(record: &RunRecord, view: &View, to: &mut dyn Write) -> io::Result<()> {
    let report = Report { record, view };
    report.head(to)?;
    report.times(to)?;
    report.attempts(to)?;
    if let Some(execution) = record.execution() {
        report.denials(&execution.denials, to)?;
        if let Some(progress) = &execution.progress {
            report.line("progress", &human::progress_words(progress), to)?;
        }
        report.output(execution, to)?;
        report.log(execution, to)?;
    }
    Ok(())
}

struct Report<'a> {
    record: &'a RunRecord,
    view: &'a View,
}

impl Report<'_> {
    /// Writes what belongs under a word, broken into lines where it is too long.
    fn line(&self, label: &str, text: &str, to: &mut dyn Write) -> io::Result<()> {
        self.lines(label, None, text, to)
    }

    fn lines(
        &self,
        label: &str,
        tone: Option<Tone>,
        text: &str,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        let paint = self.view.paint;
        let mut label = label;
        for piece in broken(text, self.room(LABEL)) {
            write!(to, "{}", paint.paint(Tone::Dim, format!("{label:LABEL$}")))?;
            match tone {
                Some(tone) => writeln!(to, "{}", paint.paint(tone, piece))?,
                None => writeln!(to, "{piece}")?,
            }
            label = "";
        }
        Ok(())
    }

    /// Writes a remark below what it is about.
    fn dim(&self, text: &str, to: &mut dyn Write) -> io::Result<()> {
        for line in broken(text, self.room(2)) {
            writeln!(to, "  {}", self.view.paint.paint(Tone::Dim, line))?;
        }
        Ok(())
    }

    /// Columns that are left after so many.
    fn room(&self, used: usize) -> usize {
        self.view.width.saturating_sub(used).clamp(8, LONGEST)
    }

    fn head(&self, to: &mut dyn Write) -> io::Result<()> {
        let record = self.record;
        self.line("run", &record.id.to_string(), to)?;
        self.lines(
            "job",
            Some(Tone::Strong),
            &harmless(record.job.as_str()),
            to,
        )?;
        self.outcome(to)?;
        let mut cause = record.cause.as_str().to_owned();
        if record.deterministic {
            cause.push_str("   deterministic: `quarterjack rerun` comes to the same");
        }
        self.line("cause", &cause, to)?;
        match &record.params {
            Some(params) => self.line("params", &harmless(&cut(params, PARAMS)), to),
            None => Ok(()),
        }
    }

    /// The outcome, and why it is that.
    fn outcome(&self, to: &mut dyn Write) -> io::Result<()> {
        let (word, tone) = status_word(&self.record.status);
        let reason = match &self.record.status {
            Status::Skipped(reason) => reason.to_string(),
            _ => {
                let execution = self.record.execution();
                let error = execution.and_then(|it| it.error.clone());
                error.unwrap_or_default()
            }
        };
        let mut lines = reason.lines();
        // On one line if it fits.
        let used = LABEL + columns(word) + 3;
        match lines.next().map(harmless) {
            Some(first) if columns(&first) <= self.view.width.saturating_sub(used) => {
                let paint = self.view.paint;
                let label = paint.paint(Tone::Dim, format!("{:LABEL$}", "outcome"));
                writeln!(to, "{label}{}   {first}", paint.paint(tone, word))?;
            }
            first => {
                self.lines("outcome", Some(tone), word, to)?;
                if let Some(first) = first {
                    self.line("", &first, to)?;
                }
            }
        }
        lines.try_for_each(|line| self.line("", &harmless(line), to))
    }

    fn times(&self, to: &mut dyn Write) -> io::Result<()> {
        let (record, view) = (self.record, self.view);
        let due = record.scheduled_at;
        let instant = |at: Timestamp| format!("{} {}", view.viewer.date(at), view.viewer.clock(at));
        let zone = view.viewer.zone_name(due);
        self.line(
            "due",
            &format!("{}   {}   {zone}", instant(due), ago(view.now, due)),
            to,
        )?;
        let recorded = record.recorded_at;
        self.line(
            "recorded",
            &format!(
                "{}   {}",
                instant(recorded),
                apart(due, recorded, "it was due")
            ),
            to,
        )?;
        if let Some(started) = record.started_at() {
            self.line(
                "started",
                &format!(
                    "{}   {}",
                    instant(started),
                    apart(due, started, "it was due")
                ),
                to,
            )?;
            if let Some(finished) = record.finished_at() {
                self.line(
                    "finished",
                    &format!(
                        "{}   {}",
                        instant(finished),
                        apart(started, finished, "it started")
                    ),
                    to,
                )?;
            }
        }
        match record.last_success {
            Some(success) => self.line(
                "last ok",
                &format!("{}   the job's last success before it", instant(success)),
                to,
            ),
            None => Ok(()),
        }
    }

    fn attempts(&self, to: &mut dyn Write) -> io::Result<()> {
        let (record, view) = (self.record, self.view);
        if record.attempts.is_empty() {
            return Ok(());
        }
        let most = record.max_attempts as usize;
        let count = record.attempts.len();
        let title = match most {
            most if most > count => format!("{count} of {most}"),
            _ => count.to_string(),
        };
        self.line("attempts", &title, to)?;
        let mut grid = Grid::new([
            Column::right("NO"),
            Column::left("OUTCOME"),
            Column::left("STARTED"),
            Column::right("TOOK"),
            Column::right("FUEL"),
            Column::right("MEMORY"),
            Column::right("CPU").spare(),
            Column::left("PLUGIN").spare(),
            Column::left("ERROR"),
        ]);
        for attempt in &record.attempts {
            let started = view.when_exactly(attempt.started_at);
            let Some(end) = &attempt.end else {
                let (word, tone) = match record.status {
                    Status::Finished(outcome) => outcome_word(outcome),
                    _ => ("running", Tone::Strong),
                };
                grid.row(
                    [
                        attempt.number.to_string().into(),
                        Cell::toned(tone, word),
                        started.into(),
                    ]
                    .into_iter()
                    .chain(std::iter::repeat_n(Cell::from(""), 6)),
                );
                continue;
            };
            let execution = &end.execution;
            let (word, tone) = outcome_word(execution.outcome);
            // Where no guest was called, nothing was used.
            let used = |text: String| {
                Cell::from(if execution.elapsed.is_zero() {
                    String::new()
                } else {
                    text
                })
            };
            let plugin = execution.plugin.map(|digest| digest.to_string());
            // Of a single one it is said above.
            let error = execution.error.as_deref().filter(|_| count > 1);
            let error = error.unwrap_or_default();
            grid.row([
                attempt.number.to_string().into(),
                Cell::toned(tone, word),
                started.into(),
                used(format_duration(execution.elapsed)),
                used(format_count(execution.fuel_used)),
                used(format_size(execution.memory_peak)),
                used(format_duration(execution.cpu_time)),
                cut(&plugin.unwrap_or_default(), 9).into(),
                harmless(error.lines().next().unwrap_or_default()).into(),
            ]);
        }
        grid.write(view.paint, view.width, to)?;
        if let Some(digest) = record.execution().and_then(|it| it.plugin) {
            let name = harmless(&record.component);
            self.line("plugin", &format!("{name}, sha256 {digest}"), to)?;
        }
        match record.definition {
            Some(digest) => self.line("definition", &digest.to_string(), to),
            None => Ok(()),
        }
    }

    fn denials(&self, denials: &Denials, to: &mut dyn Write) -> io::Result<()> {
        if denials.count == 0 {
            return Ok(());
        }
        let times = match denials.count {
            1 => "once".to_owned(),
            count => format!("{count} times"),
        };
        self.lines("denied", Some(Tone::Warn), &times, to)?;
        for denial in &denials.first {
            self.line("", &harmless(&denial.what), to)?;
            if let Some(grant) = &denial.grant {
                self.line("", &format!("  to allow it: {}", harmless(grant)), to)?;
            }
            if let Some(ceiling) = &denial.ceiling {
                self.line("", &format!("  {}", harmless(ceiling)), to)?;
            }
        }
        Ok(())
    }

    fn output(&self, execution: &Execution, to: &mut dyn Write) -> io::Result<()> {
        let Some(output) = &execution.output else {
            return Ok(());
        };
        let size = format_size(output.as_bytes().len() as u64);
        let mut title = match output {
            Output::Json(_) => format!("{size} of JSON"),
            Output::Text(_) => format!("{size} of text"),
            Output::Bytes(_) => format!("{size} of data that is not text"),
        };
        if execution.output_dropped > 0 {
            let dropped = format_size(execution.output_dropped);
            title.push_str(&format!("; {dropped} more did not fit and were not kept"));
        }
        let text = match output {
            Output::Json(json) => pretty(json.get()),
            Output::Text(text) => text.clone(),
            Output::Bytes(_) => {
                title.push_str(": show it with --output");
                String::new()
            }
        };
        self.line("output", &title, to)?;
        // Nothing of a line beyond this could be among those that are shown.
        let whole = text.len() <= OUTPUT_BYTES;
        let end = text.floor_char_boundary(OUTPUT_BYTES);
        let room = self.room(2);
        let mut lines = text
            .get(..end)
            .unwrap_or_default()
            .lines()
            .flat_map(|line| broken(&harmless(line), room));
        for line in lines.by_ref().take(OUTPUT_LINES) {
            writeln!(to, "{}", format!("  {line}").trim_end())?;
        }
        if lines.next().is_some() || !whole {
            let all = format!("… all of it: quarterjack show {} --output", self.record.id);
            self.dim(&all, to)?;
        }
        Ok(())
    }

    fn log(&self, execution: &Execution, to: &mut dyn Write) -> io::Result<()> {
        if execution.log.is_empty() && execution.log_dropped == 0 {
            return Ok(());
        }
        let size = format_size(execution.log.len() as u64);
        let mut lines = summary::last_lines(&execution.log, usize::MAX);
        let count = lines.len();
        let shown = lines.split_off(count.saturating_sub(LOG_LINES));
        let mut title = match count {
            count if count > LOG_LINES => format!("the last {LOG_LINES} of {count} lines"),
            count => plural(count, "line"),
        };
        title.push_str(&format!(", {size}"));
        if execution.log_dropped > 0 {
            let dropped = format_size(execution.log_dropped);
            title.push_str(&format!("; {dropped} more did not fit and were not kept"));
        }
        self.line("log", &title, to)?;
        for line in shown {
            let line = cut(&line, self.view.width.saturating_sub(4));
            writeln!(to, "  | {}", self.view.paint.paint(Tone::Dim, line))?;
        }
        if count > LOG_LINES || self.record.attempts.len() > 1 {
            let all = format!("… all of it: quarterjack logs {}", short(self.record.id));
            self.dim(&all, to)?;
        }
        Ok(())
    }
}

/// How far an instant is from another: `1 ms after it was due`.
fn apart(from: Timestamp, to: Timestamp, what: &str) -> String {
    let (length, side) = match (to - from).to_std() {
        Ok(Duration::ZERO) => return "at that instant".to_owned(),
        Ok(length) => (length, "after"),
        Err(_) => ((from - to).to_std().unwrap_or_default(), "before"),
    };
    format!("{} {side} {what}", format_duration(length))
}

/// A text in pieces of at most `room` columns: broken at spaces where there are some.
fn broken(text: &str, room: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while columns(rest) > room {
        let mut end = 0;
        for (at, letter) in rest.char_indices() {
            let next = at + letter.len_utf8();
            // At least one letter, however little room there is.
            if at > 0 && columns(rest.get(..next).unwrap_or_default()) > room {
                break;
            }
            end = next;
        }
        let (piece, _) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let space = piece
            .trim_start()
            .rfind(' ')
            .map(|at| at + (piece.len() - piece.trim_start().len()));
        let end = match space {
            Some(at) if at * 2 > end => at,
            _ => end,
        };
        let (piece, more) = rest.split_at_checked(end).unwrap_or((rest, ""));
        pieces.push(piece.trim_end().to_owned());
        rest = more.strip_prefix(' ').unwrap_or(more);
    }
    pieces.push(rest.to_owned());
    pieces
}

/// JSON with each part on a line of its own, its numbers and texts as they were written.
fn pretty(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let (mut in_text, mut escaped) = (false, false);
    let mut depth = 0_usize;
    let mut letters = json.chars().peekable();
    let new_line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth.min(40)));
    };
    while let Some(letter) = letters.next() {
        // Far more than is shown, however deep it goes.
        if text.len() > 8 * OUTPUT_BYTES {
            break;
        }
        if in_text {
            in_text = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
            text.push(letter);
            continue;
        }
        match letter {
            letter if letter.is_ascii_whitespace() => {}
            '"' => {
                in_text = true;
                text.push(letter);
            }
            '{' | '[' => {
                text.push(letter);
                while letters.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    text.push(end);
                } else {
                    depth += 1;
                    new_line(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut text, depth);
                text.push(letter);
            }
            ',' => {
                text.push(letter);
                new_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            _ => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_is_laid_out_with_its_numbers_as_they_were() {
        insta::assert_snapshot!(pretty(r#" {"a":[1.00,{ },[]],"b\"{":"x, [y]: {","c":1e400 , "d":{"e":null}} "#), @r#"
        {
          "a": [
            1.00,
            {},
            []
          ],
          "b\"{": "x, [y]: {",
          "c": 1e400,
          "d": {
            "e": null
          }
        }
        "#);
    }

    proptest! {
        #[test]
        fn what_is_laid_out_is_the_same_json(
            texts in proptest::collection::vec(".{0,12}", 0..4), number: f64, deep in 0_usize..60,
        ) {
            let mut value = serde_json::json!({"a": texts, "b": number, "c": {}, "d": [[], {"e": true}]});
            for _ in 0..deep {
                value = serde_json::json!([value]);
            }
            let laid_out = pretty(&value.to_string());
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            prop_assert_eq!(read(&laid_out), read(&value.to_string()));
        }

        #[test]
        fn pieces_fit_and_nothing_is_lost(text in "[a-z你 é]{0,80}", room in 2_usize..30) {
            let pieces = broken(&text, room);
            for piece in &pieces {
                prop_assert!(columns(piece) <= room, "{piece:?}");
            }
            let letters = |text: &str| text.replace(' ', "");
            prop_assert_eq!(letters(&pieces.concat()), letters(&text));
        }
    }

    #[test]
    fn how_far_instants_are_apart() {
        let at = |millis| Timestamp::from_timestamp_millis(millis).unwrap();
        assert_eq!(apart(at(0), at(0), "it was due"), "at that instant");
        assert_eq!(apart(at(0), at(1), "it was due"), "1.0 ms after it was due");
        assert_eq!(
            apart(at(1_500), at(0), "it was due"),
            "1.5 s before it was due"
        );
    }
}
