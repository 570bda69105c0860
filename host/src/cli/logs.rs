//! `quarterjack logs`: what a run said along the way, as it said it.

use std::io::{self, IsTerminal as _, Write};

use clap::Args;

use super::history::{Data, Past, View};
use super::output::json::json_line;
use super::output::{Screen, harmless};
use super::{Exit, Refusal, remark};
use crate::event::EventJson;
use crate::record::{AttemptRecord, Kind, RunRecord, Status};
use crate::units::format_size;

/// The arguments of `logs`.
#[derive(Debug, Args)]
#[command(after_help = "  \
quarterjack logs C5EH\n  \
quarterjack logs report | grep -i error\n\
The log goes to stdout as the job wrote it, without the control characters on a terminal;\n\
everything else goes to stderr.")]
pub(super) struct Logs {
    /// The beginning or the end of a run's id, or a job: its newest run that has started
    #[arg(value_name = "RUN|JOB", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    run: String,
    /// Only of this attempt [default: of all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    #[command(flatten)]
    data: Data,
    /// Print one JSON object a line for each attempt
    #[arg(long)]
    json: bool,
}

impl Logs {
    /// Prints it.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let past = self.data.open()?;
        let on_terminal = io::stdout().is_terminal();
        let mut out = io::BufWriter::new(io::stdout().lock());
        self.tell(&past, &View::of(screen), on_terminal, &mut out, &mut remark)?;
        out.flush()?;
        Ok(Exit::Ok)
    }

    fn tell(
        &self,
        past: &Past,
        view: &View,
        on_terminal: bool,
        to: &mut dyn Write,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), Refusal> {
        let begun: Vec<Kind> = Kind::finished().chain([Kind::Running]).collect();
        let record = past.find(&self.run, view, Some(&begun))?;
        let attempts = self.attempts(&record)?;
        if let Some(remark) = nothing_to_show(&record) {
            say(&remark);
        }
        for attempt in &attempts {
            if self.json {
                json_line(&EventJson::of_log(&record, attempt), to)?;
                continue;
            }
            let Some(end) = &attempt.end else {
                continue;
            };
            if attempts.len() > 1 {
                // In its place, if both streams go to one screen.
                to.flush()?;
                say(&format!(
                    "attempt {}, {}:",
                    attempt.number,
                    view.when_exactly(attempt.started_at)
                ));
            }
            let log = &end.execution.log;
            if on_terminal {
                write_harmless(log, to)?;
            } else {
                to.write_all(log)?;
            }
            to.flush()?;
            let dropped = end.execution.log_dropped;
            if dropped > 0 {
                say(&format!(
                    "the log goes on for {}, which did not fit its limit and were not kept",
                    format_size(dropped)
                ));
            } else if log.is_empty() {
                say("nothing was logged");
            }
        }
        Ok(())
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
            "run {id} has not ended: its log is kept when its attempt ends"
        )),
        Status::Finished(_) if record.attempts.iter().all(|it| it.end.is_none()) => Some(format!(
            "nothing is known of what run {id} logged: the host ended before it did"
        )),
        Status::Finished(_) => None,
    }
}

/// Writes a log line by line, so that it cannot move the cursor or recolour the screen.
fn write_harmless(log: &[u8], to: &mut dyn Write) -> io::Result<()> {
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        writeln!(to, "{}", harmless(&String::from_utf8_lossy(line)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::history::fixtures::{past, view};
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        logs: Logs,
    }

    /// What goes to stdout, and what to stderr.
    fn logged(line: &[&str], on_terminal: bool) -> (String, String) {
        let logs = Line::try_parse_from([&["logs"], line].concat())
            .unwrap()
            .logs;
        let (mut out, mut said) = (Vec::new(), String::new());
        let told = logs.tell(&past(), &view(80), on_terminal, &mut out, &mut |remark| {
            said.push_str(remark);
            said.push('\n');
        });
        if let Err(refusal) = told {
            said.push_str(&refusal.message);
        }
        (String::from_utf8(out).unwrap(), said)
    }

    #[test]
    fn the_log_is_told_as_it_was() {
        let (out, said) = logged(&["C5EH"], false);
        assert_eq!(out.lines().count(), 14);
        assert!(out.starts_with("line 1 of the log\nline 2"), "{out}");
        assert_eq!(
            said,
            "the log goes on for 2 KiB, which did not fit its limit and were not kept\n"
        );
        // The newest of the job that has started: the same.
        assert_eq!(logged(&["report"], false).0, out);
    }

    #[test]
    fn attempts_are_told_apart_and_no_log_drives_the_terminal() {
        let (out, said) = logged(&["C5E3"], false);
        assert_eq!(out, "no such table\n\u{1b}[31mgiving upwaiting for a lock");
        insta::assert_snapshot!(said, @"
        attempt 1, today 12:55:00.001:
        attempt 2, today 12:55:00.082:
        ");
        let (out, _) = logged(&["C5E3", "--attempt", "1"], true);
        assert_eq!(out, "no such table\n\\u{1b}[31mgiving up\n");
        let (out, said) = logged(&["C5E3", "--attempt", "3"], true);
        assert_eq!(out, "");
        assert!(said.ends_with(": it has 1, 2"), "{said}");
    }

    #[test]
    fn where_there_is_no_log_it_is_said_why() {
        let said: Vec<String> = ["C5E4", "C5E7", "C5E2", "C5E8", "C5E6", "new"]
            .into_iter()
            .map(|run| logged(&[run], false))
            .map(|(out, said)| {
                assert_eq!(out, "");
                said.trim_end().to_owned()
            })
            .collect();
        insta::assert_snapshot!(said.join("\n"), @"
        run 01M844DZFPR3D9T6B4RX2VC5E4 did not start: previous run still going (max_instances 1)
        run 01M844R1R6R3D9T6B4RX2VC5E7 has not started yet
        run 01M844N9VPR3D9T6B4RX2VC5E2 has not ended: its log is kept when its attempt ends
        nothing was logged
        nothing was logged
        job `new` has no such run in the history in DIR: `quarterjack runs new` lists what it has
        ");
    }

    #[test]
    fn programs_get_an_object_for_each_attempt() {
        insta::assert_snapshot!(logged(&["C5E3", "--json"], false).0, @r#"
        {"event":"run.log","at":"2026-11-23T11:55:00.081Z","job":"report","run":"01M8444TGPR3D9T6B4RX2VC5E3","attempt":1,"cause":"schedule","scheduled_at":"2026-11-23T11:55:00Z","started_at":"2026-11-23T11:55:00.001Z","finished_at":"2026-11-23T11:55:00.081Z","log":"no such table\n\u001b[31mgiving up","duration_ms":80.0,"plugin":"report.wasm","definition":"9f0c5e1b0000beef"}
        {"event":"run.log","at":"2026-11-23T11:56:00.082Z","job":"report","run":"01M8444TGPR3D9T6B4RX2VC5E3","attempt":2,"cause":"schedule","scheduled_at":"2026-11-23T11:55:00Z","started_at":"2026-11-23T11:55:00.082Z","finished_at":"2026-11-23T11:56:00.082Z","log":"waiting for a lock","duration_ms":60000.0,"plugin":"report.wasm","definition":"9f0c5e1b0000beef"}
        "#);
    }
}
