//! One line of a log, as people and programs read it.

use std::io::{self, Write};

use chrono::SecondsFormat;
use serde::Serialize;

use super::super::history::{View, short};
use super::super::output::json::json_line;
use super::super::output::{Tone, harmless};
use crate::clock::format_instant;
use crate::job::JobId;
use crate::log::{LogLine, LogStream, LoggedLine};
use crate::record::{AttemptRecord, RunRecord};
use crate::run::{Level, RunId};
use crate::units::format_size;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// As the job wrote it.
    Plain,
    /// With its time and its stream.
    Timed,
    /// With its job and its run besides.
    Across,
    /// For programs.
    Json,
}

/// A line as JSON.
#[derive(Serialize)]
struct Json<'a> {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    job: &'a JobId,
    run: RunId,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<Level>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// A list of pairs: the same name may come twice.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    fields: &'a [(String, String)],
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_bytes: Option<u64>,
}

/// Writes a line.
pub(super) fn write(
    logged: &LoggedLine,
    look: Look,
    on_terminal: bool,
    view: &View,
    to: &mut dyn Write,
) -> io::Result<()> {
    let LoggedLine { line, .. } = logged;
    if look == Look::Json {
        return json_line(
            &Json {
                event: "run.log",
                at: Some(format_instant(line.at)),
                job: &logged.job,
                run: logged.run,
                attempt: logged.attempt,
                stream: Some(line.stream.as_str()),
                level: line.level,
                text: Some(&line.text),
                fields: &line.fields,
                dropped_bytes: (line.cut > 0).then_some(line.cut),
            },
            to,
        );
    }
    let paint = view.paint;
    if look == Look::Across {
        let job = harmless(logged.job.as_str());
        if on_terminal {
            let run = short(logged.run);
            write!(to, "{} {job} ", paint.paint(Tone::Dim, run))?;
        } else {
            write!(to, "{} {job} ", logged.run)?;
        }
    }
    if look != Look::Plain {
        let time = match (look, on_terminal) {
            // As many digits in each, so that lines stand below each other.
            (_, false) => line.at.to_rfc3339_opts(SecondsFormat::Millis, true),
            (Look::Across, true) => view.when_exactly(line.at),
            (_, true) => view.viewer.clock(line.at),
        };
        let stream = match line.stream {
            LogStream::Stderr => paint.paint(Tone::Warn, line.stream.as_str()),
            _ => paint.paint(Tone::Dim, line.stream.as_str()),
        };
        write!(to, "{} {stream:<6} ", paint.paint(Tone::Dim, time))?;
    }
    // One line stays one, whatever is in it.
    let text = line.to_string().replace('\n', " ");
    let text = if on_terminal { harmless(&text) } else { text };
    match line.level.map(|level| (level, text.split_once(':'))) {
        Some((level, Some((word, rest)))) if paint.on => {
            write!(to, "{}:{rest}", paint.paint(tone_of(level), word))?;
        }
        _ => to.write_all(text.as_bytes())?,
    }
    if line.cut > 0 {
        let cut = format!(" … {} of this line not kept", format_size(line.cut));
        write!(to, "{}", paint.paint(Tone::Dim, cut))?;
    }
    writeln!(to)
}

fn tone_of(level: Level) -> Tone {
    match level {
        Level::Error => Tone::Bad,
        Level::Warn => Tone::Warn,
        Level::Info => Tone::Good,
        Level::Debug | Level::Trace => Tone::Dim,
    }
}

/// Writes for programs how much of a log was not kept.
pub(super) fn write_dropped(
    record: &RunRecord,
    attempt: u32,
    dropped: u64,
    to: &mut dyn Write,
) -> io::Result<()> {
    json_line(
        &Json {
            event: "run.log_dropped",
            at: None,
            job: &record.job,
            run: record.id,
            attempt,
            stream: None,
            level: None,
            text: None,
            fields: &[],
            dropped_bytes: Some(dropped),
        },
        to,
    )
}

/// The lines of a log that is only known from the record of its run: as of the start of their
/// attempt, for there are no better times.
pub(super) fn of_record(
    record: &RunRecord,
    attempt: &AttemptRecord,
    log: &[u8],
) -> Vec<LoggedLine> {
    let lines = log.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    });
    (1..)
        .zip(lines)
        .map(|(number, line)| LoggedLine {
            run: record.id,
            job: record.job.clone(),
            attempt: attempt.number,
            line: LogLine {
                number,
                at: attempt.started_at,
                stream: LogStream::Stderr,
                level: None,
                text: String::from_utf8_lossy(line).into_owned(),
                cut: 0,
                fields: Vec::new(),
            },
        })
        .collect()
}
