//! `quarterjack logs`: what runs said along the way, line by line: of one run, as it says it, or
//! of all that said something.

mod follow;
mod line;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write};
use std::ops::ControlFlow;

use clap::Args;
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser};

use super::history::{Data, Past, View};
use super::output::{Screen, harmless, plural};
use super::{Exit, Refusal, remark};
use crate::job::JobId;
use crate::log::{LogQuery, LogStream, LoggedLine};
use crate::record::{AttemptRecord, Detail, Kind, RunRecord, Status};
use crate::run::{Level, RunId};
use crate::units::format_size;
use line::Look;

/// The arguments of `logs`.
#[derive(Debug, Args)]
#[command(after_help = "  \
quarterjack logs C5EH\n  \
quarterjack logs report --follow\n  \
quarterjack logs report --level warn --tail 20\n  \
quarterjack logs --grep timeout --since 1d\n\
With --grep, a job stands for all of its runs, and without RUN|JOB all runs are searched; with\n\
--since too. On a terminal every line has its time and its stream, and control characters are\n\
written out; elsewhere it is as the job wrote it, unless --timestamps asks for more. Everything\n\
else goes to stderr.")]
pub(super) struct Logs {
    /// The beginning or the end of a run's id, or a job: its newest run that has started
    #[arg(value_name = "RUN|JOB", required_unless_present = "grep", value_parser = NonEmptyStringValueParser::new())]
    run: Option<String>,
    /// Go on until the run ends, and then say how; of a job, go on with its next runs
    #[arg(long, short, requires = "run", conflicts_with = "since")]
    follow: bool,
    /// Only of this attempt [default: of all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Only of this stream: stdout, stderr, or log, which has what was logged with a level and
    /// what the host refused; may be given more than once
    #[arg(long = "stream", value_name = "STREAM", value_parser = PossibleValuesParser::new(LogStream::ALL.map(LogStream::as_str)), hide_possible_values = true)]
    streams: Vec<String>,
    /// Only what was logged with this level or a higher one: trace, debug, info, warn, error
    #[arg(long, value_name = "LEVEL", value_parser = PossibleValuesParser::new(Level::ALL.map(Level::as_str)), hide_possible_values = true)]
    level: Option<String>,
    /// Only lines with this text in them, letter for letter
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    grep: Option<String>,
    /// Of all runs of the job, since then: 1d, 2h, today, a day, an instant
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only the last lines, so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tail: Option<u32>,
    /// Begin every line with its time and its stream, as on a terminal
    #[arg(long, short)]
    timestamps: bool,
    #[command(flatten)]
    data: Data,
    /// Print one JSON object for each line
    #[arg(long)]
    json: bool,
}

/// Where it is told.
struct Out<'a> {
    view: &'a View,
    on_terminal: bool,
    to: &'a mut dyn Write,
    say: &'a mut dyn FnMut(&str),
}

impl Logs {
    /// Prints it.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let past = self.data.open()?;
        let mut to = io::BufWriter::new(io::stdout().lock());
        let mut out = Out {
            view: &View::of(screen),
            on_terminal: io::stdout().is_terminal(),
            to: &mut to,
            say: &mut remark,
        };
        self.tell(&past, &mut out, &mut || {
            std::thread::sleep(follow::EVERY);
            ControlFlow::Continue(())
        })?;
        to.flush()?;
        Ok(Exit::Ok)
    }

    /// `pause` is waited for where more may come, and says whether to go on.
    fn tell(
        &self,
        past: &Past,
        out: &mut Out<'_>,
        pause: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<(), Refusal> {
        let since = out.view.since(self.since.as_deref())?;
        let query = LogQuery {
            attempt: self.attempt,
            since,
            streams: self
                .streams
                .iter()
                .filter_map(|stream| LogStream::from_name(stream))
                .collect(),
            level: self.level.as_deref().and_then(Level::from_name),
            text: self.grep.clone(),
            ..LogQuery::default()
        };
        let Some(typed) = &self.run else {
            return self.search(past, query, out);
        };
        let begun: Vec<Kind> = Kind::finished().chain([Kind::Running]).collect();
        if since.is_some() {
            let job = JobId::new(&**typed);
            past.knows(&job)?;
            let query = LogQuery {
                job: Some(job),
                ..query
            };
            return self.search(past, query, out);
        }
        let mut found = past.find(typed, out.view, Some(&begun), Detail::Logs);
        if self.follow && found.is_err() {
            // One that waits can be waited for; and the record of one that has just begun may not
            // say so yet.
            let waiting = past.find(typed, out.view, Some(&[Kind::Recorded]), Detail::Outline);
            found = waiting.or(found);
        }
        let record = found?;
        let is_job = record.job.as_str() == typed;
        if self.follow {
            return self.follow(past, record, is_job, &query, out, pause);
        }
        if is_job && self.grep.is_some() {
            let query = LogQuery {
                job: Some(record.job),
                ..query
            };
            return self.search(past, query, out);
        }
        self.one(past, &record, &query, out)
    }

    /// Tells of one run what there is.
    fn one(
        &self,
        past: &Past,
        record: &RunRecord,
        query: &LogQuery,
        out: &mut Out<'_>,
    ) -> Result<(), Refusal> {
        let attempts = self.attempts(record)?;
        if let Some(remark) = nothing_to_show(record) {
            (out.say)(&remark);
        }
        let known = past.history.logs(record.id).map_err(Refusal::failure)?;
        let mut last = VecDeque::new();
        let mut left_out = false;
        for attempt in &attempts {
            if attempts.len() > 1 && !self.json && self.tail.is_none() {
                // In its place, if both streams go to one screen.
                out.to.flush()?;
                (out.say)(&format!(
                    "attempt {}, {}:",
                    attempt.number,
                    out.view.when_exactly(attempt.started_at)
                ));
            }
            let log = known.iter().find(|log| log.attempt == attempt.number);
            let whole = attempt.end.as_ref().map(|end| &end.execution);
            let dropped = match (log, whole) {
                (Some(log), _) => {
                    let of_attempt = LogQuery {
                        run: Some(record.id),
                        attempt: Some(attempt.number),
                        ..query.clone()
                    };
                    let found = self.print(past, &of_attempt, &mut last, out)?;
                    left_out |= found == 0;
                    log.dropped
                }
                // Its lines are not there, or never were: it is told as its record has it.
                (None, Some(whole)) if !whole.log.is_empty() => {
                    let lines = line::of_record(record, attempt, &whole.log);
                    for logged in lines.into_iter().filter(|line| query.wants(line)) {
                        self.take(logged, &mut last, out)?;
                    }
                    whole.log_dropped
                }
                (None, Some(whole)) => {
                    if whole.log_dropped == 0 && !self.json {
                        (out.say)("nothing was logged");
                    }
                    whole.log_dropped
                }
                (None, None) => 0,
            };
            out.to.flush()?;
            if dropped > 0 && self.json {
                line::write_dropped(record, attempt.number, dropped, out.to)?;
            } else if dropped > 0 {
                (out.say)(&format!(
                    "{} of the log did not fit its limit and were not kept",
                    format_size(dropped)
                ));
            }
        }
        self.finish(last, out)?;
        if left_out && self.is_choosy() {
            (out.say)("no line is so");
        }
        Ok(())
    }

    /// Whether not every line is wanted.
    fn is_choosy(&self) -> bool {
        self.grep.is_some() || self.level.is_some() || !self.streams.is_empty()
    }

    /// Tells of all lines that are so, whosever they are.
    fn search(&self, past: &Past, query: LogQuery, out: &mut Out<'_>) -> Result<(), Refusal> {
        let mut last = VecDeque::new();
        let mut runs: Option<RunId> = None;
        let mut count = 0_usize;
        let found = {
            let runs = &mut runs;
            let count = &mut count;
            self.print_each(past, &query, &mut last, out, &mut |line| {
                if runs.replace(line.run) != Some(line.run) {
                    *count += 1;
                }
            })?
        };
        self.finish(last, out)?;
        out.to.flush()?;
        if !self.json {
            (out.say)(&match found {
                0 => "no line is so".to_owned(),
                found => format!("{} of {}", plural(found, "line"), plural(count, "run")),
            });
        }
        Ok(())
    }

    /// Tells of the lines of one run that are wanted, and says how many there were.
    fn print(
        &self,
        past: &Past,
        query: &LogQuery,
        last: &mut VecDeque<LoggedLine>,
        out: &mut Out<'_>,
    ) -> Result<usize, Refusal> {
        self.print_each(past, query, last, out, &mut |_| {})
    }

    fn print_each(
        &self,
        past: &Past,
        query: &LogQuery,
        last: &mut VecDeque<LoggedLine>,
        out: &mut Out<'_>,
        seen: &mut dyn FnMut(&LoggedLine),
    ) -> Result<usize, Refusal> {
        let mut found = 0;
        let mut failed = None;
        let told = past.history.lines(query, &mut |logged| {
            found += 1;
            seen(&logged);
            match self.take(logged, last, out) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        told.map_err(Refusal::failure)?;
        Ok(found)
    }

    /// Writes a line, or keeps it in mind while it may be one of the last.
    fn take(
        &self,
        logged: LoggedLine,
        last: &mut VecDeque<LoggedLine>,
        out: &mut Out<'_>,
    ) -> io::Result<()> {
        let Some(tail) = self.tail else {
            return self.write(&logged, out);
        };
        if last.len() >= tail as usize {
            last.pop_front();
        }
        last.push_back(logged);
        Ok(())
    }

    /// Writes the lines that were the last.
    fn finish(&self, last: VecDeque<LoggedLine>, out: &mut Out<'_>) -> io::Result<()> {
        last.iter().try_for_each(|logged| self.write(logged, out))
    }

    fn write(&self, logged: &LoggedLine, out: &mut Out<'_>) -> io::Result<()> {
        let across = self.run.is_none() || self.since.is_some() || self.is_across(logged);
        let look = match (self.json, across) {
            (true, _) => Look::Json,
            (false, true) => Look::Across,
            (false, false) if self.timestamps || out.on_terminal => Look::Timed,
            (false, false) => Look::Plain,
        };
        line::write(logged, look, out.on_terminal, out.view, out.to)
    }

    /// Whether the runs of a job are searched.
    fn is_across(&self, logged: &LoggedLine) -> bool {
        self.grep.is_some() && !self.follow && self.run.as_deref() == Some(logged.job.as_str())
    }

    /// The attempts that are asked for.
    fn attempts<'a>(&self, record: &'a RunRecord) -> Result<Vec<&'a AttemptRecord>, Refusal> {
        let Some(wanted) = self.attempt else {
            return Ok(record.attempts.iter().collect());
        };
        let found = record.attempts.iter().find(|it| it.number == wanted);
        found.map(|found| vec![found]).ok_or_else(|| {
            let numbers: Vec<String> = (record.attempts.iter())
                .map(|attempt| attempt.number.to_string())
                .collect();
            let there = match &*numbers {
                [] => "it has none".to_owned(),
                numbers => format!("it has {}", numbers.join(", ")),
            };
            Refusal::failure(format_args!(
                "no attempt {wanted} of run {}: {there}",
                record.id
            ))
        })
    }
}

/// Why a run has no log, or not yet.
fn nothing_to_show(record: &RunRecord) -> Option<String> {
    let id = record.id;
    match &record.status {
        Status::Skipped(reason) => Some(format!(
            "run {id} did not start: {}",
            harmless(&reason.to_string())
        )),
        Status::Recorded => Some(format!("run {id} has not started yet")),
        Status::Running => Some(format!(
            "run {id} has not ended: this is what it has logged so far, --follow shows the rest"
        )),
        Status::Finished(_) if record.attempts.iter().all(|it| it.end.is_none()) => Some(format!(
            "nothing is known of what run {id} logged: the host ended before it did"
        )),
        Status::Finished(_) => None,
    }
}
