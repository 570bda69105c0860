//! `quarterjack show`: all that is known of one run.

mod report;

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::history::{Data, Past, View};
use super::output::Screen;
use super::output::json::json_line;
use super::{Exit, Refusal};
use crate::clock::{Timestamp, rfc3339_option};
use crate::event::EventJson;
use crate::record::{Detail, RunRecord};

/// The arguments of `show`.
#[derive(Debug, Args)]
#[command(after_help = "  \
quarterjack show C5EH\n  \
quarterjack show 01KAN…C5EH --json\n  \
quarterjack show report --output > report.json")]
pub(super) struct Show {
    /// The beginning or the end of a run's id, or a job: its newest run
    #[arg(value_name = "RUN|JOB", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    run: String,
    #[command(flatten)]
    data: Data,
    /// Print the run's output as the job wrote it, and nothing else
    #[arg(long, conflicts_with = "json")]
    output: bool,
    /// Print one JSON object with the keys of the events, and with all attempts
    #[arg(long)]
    json: bool,
}

/// A run as JSON: its record as the events tell it, and what only a history knows.
#[derive(Serialize)]
struct ShowJson<'a> {
    #[serde(flatten)]
    record: EventJson<'a>,
    #[serde(with = "rfc3339_option")]
    recorded_at: Option<Timestamp>,
    attempts: Vec<EventJson<'a>>,
}

impl<'a> ShowJson<'a> {
    fn of(record: &'a RunRecord) -> Self {
        let attempts = record.attempts.iter();
        ShowJson {
            record: EventJson::of_record(record),
            recorded_at: Some(record.recorded_at),
            attempts: attempts.map(EventJson::of_attempt_record).collect(),
        }
    }
}

impl Show {
    /// Shows it.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let past = self.data.open()?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        self.tell(&past, &View::of(screen), &mut out)?;
        out.flush()?;
        Ok(Exit::Ok)
    }

    fn tell(&self, past: &Past, view: &View, to: &mut dyn Write) -> Result<(), Refusal> {
        let detail = if self.json { Detail::All } else { Detail::Last };
        let record = past.find(&self.run, view, None, detail)?;
        if self.output {
            let output = record.execution().and_then(|it| it.output.as_ref());
            let Some(output) = output else {
                return Err(Refusal::failure(format_args!(
                    "run {} left no output",
                    record.id
                )));
            };
            to.write_all(output.as_bytes())?;
        } else if self.json {
            json_line(&ShowJson::of(&record), to)?;
        } else {
            report::write(&record, view, to)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::fixtures::{STRANGE, past, seen, view};
    use super::*;
    use crate::cli::output::columns;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        show: Show,
    }

    fn shown(line: &[&str], width: usize) -> String {
        let line = Line::try_parse_from([&["show"], line].concat()).unwrap();
        seen(|to| {
            line.show
                .tell(&past(), &view(width), to)
                .map(|()| Vec::new())
        })
    }

    #[test]
    fn a_run_that_went_well() {
        insta::assert_snapshot!(shown(&["C5EH"], 100), @r#"
        run         01M844Q4EPR3D9T6B4RX2VC5EH
        job         report
        outcome     ok
        cause       schedule
        due         Mon 23 Nov 2026 13:05:00.000   30 s ago   Europe/Berlin
        recorded    Mon 23 Nov 2026 13:04:59.990   10 ms before it was due
        started     Mon 23 Nov 2026 13:05:00.001   1.0 ms after it was due
        finished    Mon 23 Nov 2026 13:05:00.042   41 ms after it started
        last ok     Mon 23 Nov 2026 12:50:00.250   the job's last success before it
        attempts    1
          NO  OUTCOME  STARTED              TOOK   FUEL  MEMORY    CPU  PLUGIN
           1  ok       today 13:05:00.001  41 ms  2.1 M   3 MiB  36 ms  9f9f9f9f…
        plugin      report.wasm, sha256 9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f
        definition  9f0c5e1b0000beef
        denied      3 times
                    GET https://api.example.com/v1/sales
                      to allow it: "grants": { "http": ["https://api.example.com"] }
                      the operator's ceiling permits it
        progress    40 %   400 of 1000   reading
        output      46 B of JSON
          {
            "rows": [
              1,
              2.50,
              3
            ],
            "title": "Zahlen \u001b[2J"
          }
        log         the last 10 of 14 lines, 257 B; 2 KiB more did not fit and were not kept
          | line 5 of the log
          | line 6 of the log
          | line 7 of the log
          | line 8 of the log
          | line 9 of the log
          | line 10 of the log
          | line 11 of the log
          | line 12 of the log
          | line 13 of the log
          | line 14 of the log
          … all of it: quarterjack logs 01M84…C5EH
        "#);
    }

    #[test]
    fn a_run_that_was_tried_twice() {
        insta::assert_snapshot!(shown(&["C5E3"], 100), @"
        run         01M8444TGPR3D9T6B4RX2VC5E3
        job         report
        outcome     TIMED OUT   limit: timeout 1 min
        cause       schedule   deterministic: `quarterjack rerun` comes to the same
        due         Mon 23 Nov 2026 12:55:00.000   10 min 30 s ago   Europe/Berlin
        recorded    Mon 23 Nov 2026 12:54:59.990   10 ms before it was due
        started     Mon 23 Nov 2026 12:55:00.001   1.0 ms after it was due
        finished    Mon 23 Nov 2026 12:56:00.082   1 min after it started
        attempts    2 of 3
          NO  OUTCOME    STARTED              TOOK   FUEL  MEMORY     CPU  PLUGIN     ERROR
           1  FAILED     today 12:55:00.001  80 ms  1.9 G  64 MiB   72 ms  9f9f9f9f…  exit code 3
           2  TIMED OUT  today 12:55:00.082  1 min  1.9 G  64 MiB  54.0 s  9f9f9f9f…  limit: timeout 1 min
        plugin      report.wasm, sha256 9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f
        definition  9f0c5e1b0000beef
        log         1 line, 18 B
          | waiting for a lock
          … all of it: quarterjack logs 01M84…C5E3
        ");
    }

    #[test]
    fn runs_that_have_not_ended_or_never_began() {
        let all = ["C5E2", "C5E7", "C5E4", "C5E8"].map(|run| shown(&[run], 100));
        insta::assert_snapshot!(all.join("\n"), @"
        run         01M844N9VPR3D9T6B4RX2VC5E2
        job         backup
        outcome     running
        cause       schedule
        due         Mon 23 Nov 2026 13:04:00.000   1 min 30 s ago   Europe/Berlin
        recorded    Mon 23 Nov 2026 13:03:59.990   10 ms before it was due
        started     Mon 23 Nov 2026 13:04:00.001   1.0 ms after it was due
        attempts    1
          NO  OUTCOME  STARTED
           1  running  today 13:04:00.001
        definition  9f0c5e1b0000beef

        run         01M844R1R6R3D9T6B4RX2VC5E7
        job         tidy
        outcome     waiting
        cause       schedule
        due         Mon 23 Nov 2026 13:05:30.000   just now   Europe/Berlin
        recorded    Mon 23 Nov 2026 13:05:29.990   10 ms before it was due

        run         01M844DZFPR3D9T6B4RX2VC5E4
        job         report
        outcome     skipped   previous run still going (max_instances 1)
        cause       schedule
        due         Mon 23 Nov 2026 13:00:00.000   5 min 30 s ago   Europe/Berlin
        recorded    Mon 23 Nov 2026 13:00:00.002   2.0 ms after it was due

        run         01KD8MV7KPR3D9T6B4RX2VC5E8
        job         report
        outcome     LOST   the host ended while it ran
        cause       schedule
        due         Wed 24 Dec 2025 18:00:00.000   333 d 19 h ago   Europe/Berlin
        recorded    Wed 24 Dec 2025 17:59:59.990   10 ms before it was due
        started     Wed 24 Dec 2025 18:00:00.001   1.0 ms after it was due
        finished    Wed 24 Dec 2025 18:00:00.001   at that instant
        attempts    1
          NO  OUTCOME  STARTED
           1  LOST     24 Dec 2025 18:00:00.001
        definition  9f0c5e1b0000beef
        ");
    }

    #[test]
    fn a_late_run_and_bytes() {
        insta::assert_snapshot!(shown(&["C5E6"], 100), @"
        run         01M7XX9X7PR3D9T6B4RX2VC5E6
        job         backup
        outcome     ok
        cause       catch-up
        due         Sat 21 Nov 2026 03:00:00.000   2 d 10 h ago   Europe/Berlin
        recorded    Sat 21 Nov 2026 02:59:59.990   10 ms before it was due
        started     Sat 21 Nov 2026 10:30:00.000   7 h 30 min after it was due
        finished    Sat 21 Nov 2026 10:30:05.200   5.2 s after it started
        attempts    1
          NO  OUTCOME  STARTED               TOOK  FUEL   MEMORY    CPU  PLUGIN
           1  ok       Sat 21 Nov 10:30:00  5.2 s  12 k  200 KiB  4.7 s  9f9f9f9f…
        plugin      backup.wasm, sha256 9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f
        definition  9f0c5e1b0000beef
        output      2 KiB of data that is not text: show it with --output
        ");
    }

    #[test]
    fn nothing_drives_the_terminal_or_is_wider() {
        let text = shown(&[STRANGE], 60);
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        insta::assert_snapshot!(text, @r"
        run         01M82QSQW2R3D9T6B4RX2VC5E5
        job         Grüße 你好 �evil and so on for a while
        outcome     OUT OF MEMORY   trap: unreachable \u{1b}[2J
                    at main
        cause       schedule
        due         Sun 22 Nov 2026 23:59:59.500   13 h 5 min ago
                    Europe/Berlin
        recorded    Sun 22 Nov 2026 23:59:59.490   10 ms before it
                    was due
        started     Sun 22 Nov 2026 23:59:59.501   1.0 ms after it
                    was due
        finished    Mon 23 Nov 2026 00:00:01.001   1.5 s after it
                    started
        attempts    1
          NO  OUTCOME        STARTED                  TOOK   FUEL  …
           1  OUT OF MEMORY  yesterday 23:59:59.501  1.5 s  1.9 G  …
        plugin      Grüße 你好 �evil and so on for a while.wasm,
                    sha256 9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9
                    f9f9f9f9f9f9f9f9f9f9f9f
        definition  9f0c5e1b0000beef
        ");
        for width in [40, 60, 80] {
            for run in ["C5EH", "C5E3", "C5E2", "C5E4", "C5E5", "C5E6", "C5E8"] {
                for line in shown(&[run], width).lines() {
                    assert!(columns(line) <= width, "{width}: {line}");
                }
            }
        }
    }

    #[test]
    fn programs_get_all_of_it() {
        insta::assert_snapshot!(shown(&["C5E3", "--json"], 80), @r#"{"event":"run.finished","at":"2026-11-23T11:56:00.082Z","job":"report","run":"01M8444TGPR3D9T6B4RX2VC5E3","attempt":2,"max_attempts":3,"cause":"schedule","scheduled_at":"2026-11-23T11:55:00Z","started_at":"2026-11-23T11:55:00.082Z","run_started_at":"2026-11-23T11:55:00.001Z","finished_at":"2026-11-23T11:56:00.082Z","deterministic":true,"outcome":"timed_out","error":"limit: timeout 1 min","log":"waiting for a lock","fuel_used":1900000000,"memory_peak_bytes":67108864,"cpu_ms":54000.0,"duration_ms":60000.0,"plugin":"report.wasm","digest":"9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f","definition":"9f0c5e1b0000beef","recorded_at":"2026-11-23T11:54:59.990Z","attempts":[{"event":"run.attempt","at":"2026-11-23T11:55:00.081Z","attempt":1,"started_at":"2026-11-23T11:55:00.001Z","finished_at":"2026-11-23T11:55:00.081Z","outcome":"failed","error":"exit code 3\nand more of it","log":"no such table\n\u001b[31mgiving up","fuel_used":1900000000,"memory_peak_bytes":67108864,"cpu_ms":72.0,"duration_ms":80.0,"digest":"9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f"},{"event":"run.attempt","at":"2026-11-23T11:56:00.082Z","attempt":2,"started_at":"2026-11-23T11:55:00.082Z","finished_at":"2026-11-23T11:56:00.082Z","outcome":"timed_out","error":"limit: timeout 1 min","log":"waiting for a lock","fuel_used":1900000000,"memory_peak_bytes":67108864,"cpu_ms":54000.0,"duration_ms":60000.0,"digest":"9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f"}]}"#);
    }

    #[test]
    fn an_output_is_had_by_itself() {
        assert_eq!(
            shown(&["C5EH", "--output"], 80),
            r#"{"rows":[1,2.50,3],"title":"Zahlen \u001b[2J"}"#
        );
        assert!(shown(&["C5E4", "--output"], 80).ends_with("left no output\n"));
    }
}
