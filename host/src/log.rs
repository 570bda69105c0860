//! What runs say along the way, line by line: apart from the runs themselves, so that no firing
//! waits for a log.
//!
//! ```text
//! guest ──▶ lines (redacted) ──LogBatch──▶ LogSink ──▶ a store of logs ──LogQuery──▶ views
//! ```

use std::fmt;

use crate::clock::Timestamp;
use crate::job::JobId;
use crate::run::{Level, RunId, write_entry};

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// The standard output of a job that returns its output.
    Stdout,
    /// Standard error.
    Stderr,
    /// An interface for logs, or the host, which tells what it refused.
    Log,
}

impl LogStream {
    /// All streams.
    pub const ALL: [LogStream; 3] = [LogStream::Stdout, LogStream::Stderr, LogStream::Log];

    /// The stream as programs read it.
    pub fn as_str(self) -> &'static str {
        match self {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
            LogStream::Log => "log",
        }
    }

    /// The stream that is written so.
    pub fn from_name(text: &str) -> Option<LogStream> {
        LogStream::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// One line of the log of an attempt. Its text is the guest's: secrets are blotted out, control
/// characters are not, so that only what makes them harmless may show it on a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its place among the lines of its attempt, from 1.
    pub number: u64,
    /// When it was begun.
    pub at: Timestamp,
    /// Where it comes from.
    pub stream: LogStream,
    /// How much it matters, where that was said.
    pub level: Option<Level>,
    /// What it says, without its end. Bytes that are no UTF-8 are `U+FFFD`.
    pub text: String,
    /// How many of its bytes were not kept.
    pub cut: u64,
    /// Names and values.
    pub fields: Vec<(String, String)>,
}

impl LogLine {
    /// About how many bytes it takes to keep it.
    pub fn weight(&self) -> u64 {
        let fields = self.fields.iter().map(|it| it.0.len() + it.1.len());
        (self.text.len() + fields.sum::<usize>()) as u64 + 48
    }
}

impl fmt::Display for LogLine {
    /// One line: the level where it has one, the text, and the fields as `name=value`.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write_entry(level, &self.text, &self.fields, to),
            None => to.write_str(&self.text),
        }
    }
}

/// Some lines of one attempt, on their way to where they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogBatch {
    /// The run.
    pub run: RunId,
    /// Its job.
    pub job: JobId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The lines, in their order.
    pub lines: Vec<LogLine>,
    /// How many more bytes of the log were not kept, those cut off lines among them.
    pub dropped: u64,
    /// Whether nothing more will come of this attempt.
    pub ended: bool,
}

impl LogBatch {
    /// About how many bytes it takes to keep it.
    pub fn weight(&self) -> u64 {
        64 + self.lines.iter().map(LogLine::weight).sum::<u64>()
    }

    /// Gives up the lines, and counts them as bytes that were not kept.
    pub fn lose(&mut self) {
        let lost = self.lines.drain(..).map(|line| line.text.len() as u64 + 1);
        self.dropped += lost.sum::<u64>();
    }
}

/// Takes the lines of runs while they live.
pub trait LogSink: Send + Sync + 'static {
    /// Takes some lines. Does not wait, and never fails: what cannot be kept is counted, and told
    /// of.
    ///
    /// After a crash of the host: what was told in its last tenth of a second may be missing.
    /// After one of the machine: in its last moments.
    fn append(&self, batch: LogBatch);
}

/// A line, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedLine {
    /// The run.
    pub run: RunId,
    /// Its job.
    pub job: JobId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The line.
    pub line: LogLine,
}

/// What is known of the log of one attempt besides its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSummary {
    /// The number of the attempt.
    pub attempt: u32,
    /// How many bytes were not kept.
    pub dropped: u64,
    /// Whether nothing more will come.
    pub ended: bool,
}

/// Which lines are wanted. They come in the order of their runs, attempts and numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Of this run; of all where nothing is said.
    pub run: Option<RunId>,
    /// Of the runs of this job.
    pub job: Option<JobId>,
    /// Of attempts with this number.
    pub attempt: Option<u32>,
    /// After this line of a run: the number of its attempt, and its own.
    pub after: Option<(u32, u64)>,
    /// Begun at this instant or later.
    pub since: Option<Timestamp>,
    /// Of these streams; of all where none is named.
    pub streams: Vec<LogStream>,
    /// Of this level or a higher one; lines without a level are not.
    pub level: Option<Level>,
    /// With this text in them, letter for letter.
    pub text: Option<String>,
}

impl LogQuery {
    /// All lines of a run.
    pub fn of(run: RunId) -> LogQuery {
        LogQuery {
            run: Some(run),
            ..LogQuery::default()
        }
    }

    /// Whether a line is wanted.
    pub fn wants(&self, logged: &LoggedLine) -> bool {
        let LoggedLine { attempt, line, .. } = logged;
        self.run.is_none_or(|run| run == logged.run)
            && self.job.as_ref().is_none_or(|job| *job == logged.job)
            && self.attempt.is_none_or(|wanted| wanted == *attempt)
            && self
                .after
                .is_none_or(|after| (*attempt, line.number) > after)
            && self.since.is_none_or(|since| line.at >= since)
            && (self.streams.is_empty() || self.streams.contains(&line.stream))
            && self
                .level
                .is_none_or(|least| line.level.is_some_and(|level| level >= least))
            && self
                .text
                .as_ref()
                .is_none_or(|text| line.to_string().contains(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_as_it_was_told() {
        let mut line = LogLine {
            number: 1,
            at: Timestamp::UNIX_EPOCH,
            stream: LogStream::Stderr,
            level: None,
            text: "a = b".to_owned(),
            cut: 0,
            fields: Vec::new(),
        };
        assert_eq!(line.to_string(), "a = b");
        line.level = Some(Level::Warn);
        line.fields = vec![
            ("rows".to_owned(), "3".to_owned()),
            ("why".to_owned(), "too late".to_owned()),
        ];
        assert_eq!(line.to_string(), "warn: a = b rows=3 why=\"too late\"");
    }

    #[test]
    fn what_is_lost_is_counted() {
        let line = LogLine {
            number: 1,
            at: Timestamp::UNIX_EPOCH,
            stream: LogStream::Log,
            level: None,
            text: "four".to_owned(),
            cut: 0,
            fields: Vec::new(),
        };
        let mut batch = LogBatch {
            run: RunId::from_u128(1),
            job: "a".into(),
            attempt: 1,
            lines: vec![line.clone(), line],
            dropped: 3,
            ended: true,
        };
        batch.lose();
        assert_eq!((batch.lines.len(), batch.dropped), (0, 13));
    }
}
