//! `quarterjack runs`: what has run and what has not, the newest first.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use clap::Args;

use super::history::{Data, NAME_WIDTH, Past, View, short};
use super::output::grid::{Cell, Column, Grid};
use super::output::json::json_line;
use super::output::{Screen, cut, harmless, status_word};
use super::{Exit, Refusal, remark};
use crate::event::EventJson;
use crate::job::JobId;
use crate::record::{Kind, RunQuery, RunRecord, Status};
use crate::run::{Cause, Outcome};
use crate::suggest::nearest;
use crate::units::{format_count, format_duration, format_size};

/// The arguments of `runs`.
#[derive(Debug, Args)]
#[command(after_help = "  \
quarterjack runs report --since 1d\n  \
quarterjack runs --outcome failed,timed-out --limit 100\n  \
quarterjack runs --outcome skipped --since today --json\n\
Times are yours. `quarterjack show RUN` tells all of one of them; the end of its id will do.")]
pub(super) struct Runs {
    /// Of this job [default: of all]
    #[arg(value_name = "JOB")]
    job: Option<String>,
    /// Only those that ended so: succeeded, failed, skipped, running, … (repeatable, or with commas)
    #[arg(long, value_name = "OUTCOME", value_delimiter = ',', value_parser = kind)]
    outcome: Vec<Kind>,
    /// Only those since then: 1d or 2h ago, today, a day, a time, an instant
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    since: Option<String>,
    /// At most so many, the newest
    #[arg(long, short = 'n', value_name = "N", default_value = "20")]
    limit: NonZeroUsize,
    #[command(flatten)]
    data: Data,
    /// Print one JSON object a line for each, with the keys of the events
    #[arg(long)]
    json: bool,
}

impl Runs {
    /// Lists them.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let past = self.data.open()?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        let remarks = self.tell(&past, &View::of(screen), &mut out)?;
        out.flush()?;
        remarks.iter().for_each(|it| remark(it));
        Ok(Exit::Ok)
    }

    /// Writes them; what is left to be said besides is given back.
    fn tell(&self, past: &Past, view: &View, to: &mut dyn Write) -> Result<Vec<String>, Refusal> {
        let limit = self.limit.get();
        let job = self.job.as_deref().map(JobId::new);
        let query = RunQuery {
            job: job.clone(),
            kind: (!self.outcome.is_empty()).then(|| self.outcome.clone()),
            since: view.since(self.since.as_deref())?,
            // One more tells whether there are more.
            ..RunQuery::newest(limit.saturating_add(1))
        };
        let filtered = query.kind.is_some() || query.since.is_some();
        let mut records = past.history.runs(query).map_err(Refusal::failure)?;
        if records.is_empty() {
            if let Some(job) = &job {
                past.knows(job)?;
            }
            return Ok(vec![match (filtered, &job) {
                (true, _) => "no such runs".to_owned(),
                (false, Some(job)) => format!("no runs of `{}` yet", harmless(job.as_str())),
                (false, None) => format!("no runs yet in the history in {}", past.place),
            }]);
        }
        let more = records.len() > limit;
        records.truncate(limit);
        if self.json {
            for record in &records {
                json_line(&EventJson::of_record(record), to)?;
            }
        } else {
            table(&records, job.is_none(), view).write(view.paint, view.width, to)?;
        }
        Ok(if more {
            vec![format!(
                "older ones are not listed: --limit {} would list more",
                limit.saturating_mul(5)
            )]
        } else {
            Vec::new()
        })
    }
}

/// Reads an outcome, or what else a record can be, as people write it.
fn kind(text: &str) -> Result<Kind, String> {
    let simple = text.trim().to_lowercase().replace(['-', ' '], "_");
    let other = match simple.as_str() {
        "ok" | "success" | "succeeded" => Some(Kind::Finished(Outcome::Succeeded)),
        "failure" | "error" => Some(Kind::Finished(Outcome::Failed)),
        "timeout" => Some(Kind::Finished(Outcome::TimedOut)),
        "oom" => Some(Kind::Finished(Outcome::OutOfMemory)),
        "canceled" => Some(Kind::Finished(Outcome::Cancelled)),
        "started" => Some(Kind::Running),
        "waiting" => Some(Kind::Recorded),
        _ => Kind::all().find(|kind| kind.as_str() == simple),
    };
    other.ok_or_else(|| match nearest(&simple, Kind::all().map(Kind::as_str)) {
        Some(near) => format!("no such outcome: did you mean `{near}`?"),
        None => {
            let all: Vec<&str> = Kind::all().map(Kind::as_str).collect();
            format!("no such outcome: there are {}", all.join(", "))
        }
    })
}

fn table(records: &[RunRecord], with_job: bool, view: &View) -> Grid {
    let mut grid = Grid::new([
        Column::left("RUN"),
        Column::left("JOB").at_most(NAME_WIDTH),
        Column::left("WHEN"),
        Column::right("TOOK"),
        Column::left("OUTCOME"),
        Column::right("FUEL").spare(),
        Column::right("MEMORY").spare(),
        Column::left("WHY").or_below(),
    ]);
    for record in records {
        let (word, tone) = status_word(&record.status);
        let job = if with_job {
            harmless(record.job.as_str())
        } else {
            String::new()
        };
        let used = record.execution().filter(|it| !it.elapsed.is_zero());
        let [fuel, memory] = match used {
            Some(used) => [format_count(used.fuel_used), format_size(used.memory_peak)],
            None => [String::new(), String::new()],
        };
        grid.row([
            short(record.id).into(),
            job.into(),
            view.shown(record).into(),
            took(record, view).into(),
            Cell::toned(tone, word),
            fuel.into(),
            memory.into(),
            why(record, view).into(),
        ]);
    }
    grid
}

/// How long the last attempt of a run took, or how long it has been going on.
fn took(record: &RunRecord, view: &View) -> String {
    let running = matches!(record.status, Status::Running);
    match (record.execution(), record.attempt()) {
        (Some(execution), _) if !execution.elapsed.is_zero() => format_duration(execution.elapsed),
        (None, Some(attempt)) if running => match (view.now - attempt.started_at).to_std() {
            Ok(length) => format_duration(length),
            Err(_) => "-".to_owned(),
        },
        _ => "-".to_owned(),
    }
}

/// What there is to say of a run: why it did not succeed, or what was unusual about it.
fn why(record: &RunRecord, view: &View) -> String {
    let mut parts = Vec::new();
    let execution = record.execution();
    match &record.status {
        Status::Skipped(reason) => parts.push(harmless(&reason.to_string())),
        Status::Finished(_) => {
            let error = execution.and_then(|it| it.error.as_deref());
            parts.extend(error.and_then(|error| error.lines().next()).map(harmless));
        }
        Status::Recorded | Status::Running => {}
    }
    if record.cause == Cause::CatchUp {
        parts.push(format!("for {}", view.when(record.scheduled_at)));
    }
    if let Some(attempt) = record.attempt().filter(|it| it.number > 1) {
        let most = record.max_attempts.max(attempt.number);
        parts.push(format!("attempt {} of {most}", attempt.number));
    }
    match execution.map_or(0, |it| it.denials.count) {
        0 => {}
        1 => parts.push("denied once".to_owned()),
        count => parts.push(format!("denied {count} times")),
    }
    parts.retain(|part| !part.is_empty());
    cut(&parts.join("; "), MOST_WHY)
}

/// Columns of a reason at most, where there is no screen to end it.
const MOST_WHY: usize = 400;

#[cfg(test)]
mod tests {
    use super::super::history::fixtures::{nothing, past, seen, view};
    use super::*;
    use crate::cli::output::columns;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        runs: Runs,
    }

    fn parse(line: &[&str]) -> Result<Runs, clap::Error> {
        Line::try_parse_from([&["runs"], line].concat()).map(|line| line.runs)
    }

    fn listed(line: &[&str], width: usize) -> String {
        let runs = parse(line).unwrap();
        seen(|to| runs.tell(&past(), &view(width), to))
    }

    #[test]
    fn runs_are_listed_the_newest_first() {
        insta::assert_snapshot!(listed(&[], 160), @r"
        RUN         JOB                       WHEN                          TOOK  OUTCOME         FUEL   MEMORY  WHY
        01M84…C5E7  tidy                      today 13:05:30                   -  waiting
        01M84…C5EH  report                    today 13:05:00               41 ms  ok             2.1 M    3 MiB  denied 3 times
        01M84…C5E2  backup                    today 13:04:00          1 min 30 s  running
        01M84…C5E4  report                    today 13:00:00                   -  skipped                        previous run still going (max_instances 1)
        01M84…C5E3  report                    today 12:55:00               1 min  TIMED OUT      1.9 G   64 MiB  limit: timeout 1 min; attempt 2 of 3
        01M82…C5E5  Grüße 你好 �evil and so…  yesterday 23:59:59.500       1.5 s  OUT OF MEMORY  1.9 G   64 MiB  trap: unreachable \u{1b}[2J
        01M7X…C5E6  backup                    Sat 21 Nov 10:30:00          5.2 s  ok              12 k  200 KiB  for Sat 21 Nov 03:00:00
        01M7V…D25E  report                    Fri 20 Nov 09:00:00              -  skipped                        3 firings missed while the host was not running them…
        01KD8…C5E8  report                    24 Dec 2025 18:00:00             -  LOST                           the host ended while it ran
        ");
    }

    #[test]
    fn those_of_one_job_have_no_column_for_it() {
        insta::assert_snapshot!(listed(&["report", "--since", "7d"], 120), @"
        RUN         WHEN                  TOOK  OUTCOME     FUEL  MEMORY  WHY
        01M84…C5EH  today 13:05:00       41 ms  ok         2.1 M   3 MiB  denied 3 times
        01M84…C5E4  today 13:00:00           -  skipped                   previous run still going (max_instances 1)
        01M84…C5E3  today 12:55:00       1 min  TIMED OUT  1.9 G  64 MiB  limit: timeout 1 min; attempt 2 of 3
        01M7V…D25E  Fri 20 Nov 09:00:00      -  skipped                   3 firings missed while the host was not running the…
        ");
    }

    #[test]
    fn what_is_asked_for_is_listed_and_no_more() {
        let lines = |line: &[&str]| listed(line, 160);
        insta::assert_snapshot!(lines(&["--outcome", "skipped,Timed-Out"]), @"
        RUN         JOB     WHEN                  TOOK  OUTCOME     FUEL  MEMORY  WHY
        01M84…C5E4  report  today 13:00:00           -  skipped                   previous run still going (max_instances 1)
        01M84…C5E3  report  today 12:55:00       1 min  TIMED OUT  1.9 G  64 MiB  limit: timeout 1 min; attempt 2 of 3
        01M7V…D25E  report  Fri 20 Nov 09:00:00      -  skipped                   3 firings missed while the host was not running them; another run stands in
        ");
        insta::assert_snapshot!(lines(&["--limit", "1", "--since", "today"]), @"
          RUN         JOB   WHEN            TOOK  OUTCOME
          01M84…C5E7  tidy  today 13:05:30     -  waiting
        (older ones are not listed: --limit 5 would list more)
        ");
        insta::assert_snapshot!(lines(&["--outcome=lost", "--since=today"]), @"(no such runs)");
        insta::assert_snapshot!(lines(&["new"]), @"(no runs of `new` yet)");
        insta::assert_snapshot!(lines(&["repotr"]), @"error: no job `repotr` in the history in DIR: did you mean `report`?");
        let empty = seen(|to| parse(&[]).unwrap().tell(&nothing(), &view(80), to));
        insta::assert_snapshot!(empty, @"(no runs yet in the history in DIR)");
    }

    #[test]
    fn nothing_is_wider_than_the_screen() {
        for width in [40, 60, 80, 100, 132, 200] {
            for line in listed(&[], width).lines() {
                assert!(columns(line) <= width, "{width}: {line}");
            }
        }
        insta::assert_snapshot!(listed(&[], 80), @r"
        RUN         JOB         WHEN                          TOOK  OUTCOME
        01M84…C5E7  tidy        today 13:05:30                   -  waiting
        01M84…C5EH  report      today 13:05:00               41 ms  ok
            denied 3 times
        01M84…C5E2  backup      today 13:04:00          1 min 30 s  running
        01M84…C5E4  report      today 13:00:00                   -  skipped
            previous run still going (max_instances 1)
        01M84…C5E3  report      today 12:55:00               1 min  TIMED OUT
            limit: timeout 1 min; attempt 2 of 3
        01M82…C5E5  Grüße 你…   yesterday 23:59:59.500       1.5 s  OUT OF MEMORY
            trap: unreachable \u{1b}[2J
        01M7X…C5E6  backup      Sat 21 Nov 10:30:00          5.2 s  ok
            for Sat 21 Nov 03:00:00
        01M7V…D25E  report      Fri 20 Nov 09:00:00              -  skipped
            3 firings missed while the host was not running them; another run stands …
        01KD8…C5E8  report      24 Dec 2025 18:00:00             -  LOST
            the host ended while it ran
        ");
    }

    #[test]
    fn programs_get_the_keys_of_the_events() {
        insta::assert_snapshot!(listed(
            &[
                "--json",
                "--since=today",
                "--outcome=ok,skipped,running,waiting"
            ],
            80
        ), @r#"
        {"event":"run.recorded","at":"2026-11-23T12:05:29.990Z","job":"tidy","run":"01M844R1R6R3D9T6B4RX2VC5E7","cause":"schedule","scheduled_at":"2026-11-23T12:05:30Z","plugin":"tidy.wasm","definition":"9f0c5e1b0000beef"}
        {"event":"run.finished","at":"2026-11-23T12:05:00.042Z","job":"report","run":"01M844Q4EPR3D9T6B4RX2VC5EH","attempt":1,"cause":"schedule","scheduled_at":"2026-11-23T12:05:00Z","started_at":"2026-11-23T12:05:00.001Z","finished_at":"2026-11-23T12:05:00.042Z","last_success_at":"2026-11-23T11:50:00.250Z","outcome":"succeeded","output":{"rows":[1,2.50,3],"title":"Zahlen \u001b[2J"},"output_type":"json","log":"line 1 of the log\nline 2 of the log\nline 3 of the log\nline 4 of the log\nline 5 of the log\nline 6 of the log\nline 7 of the log\nline 8 of the log\nline 9 of the log\nline 10 of the log\nline 11 of the log\nline 12 of the log\nline 13 of the log\nline 14 of the log\n","log_dropped_bytes":2048,"denied":3,"denials":[{"what":"GET https://api.example.com/v1/sales","grant":"\"grants\": { \"http\": [\"https://api.example.com\"] }","ceiling":"the operator's ceiling permits it"}],"progress":{"done":400,"total":1000,"note":"reading"},"fuel_used":2100000,"memory_peak_bytes":3145728,"cpu_ms":36.0,"duration_ms":41.0,"plugin":"report.wasm","digest":"9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f","definition":"9f0c5e1b0000beef"}
        {"event":"run.started","at":"2026-11-23T12:04:00.001Z","job":"backup","run":"01M844N9VPR3D9T6B4RX2VC5E2","attempt":1,"cause":"schedule","scheduled_at":"2026-11-23T12:04:00Z","started_at":"2026-11-23T12:04:00.001Z","plugin":"backup.wasm","definition":"9f0c5e1b0000beef"}
        {"event":"run.skipped","at":"2026-11-23T12:00:00.002Z","job":"report","run":"01M844DZFPR3D9T6B4RX2VC5E4","cause":"schedule","scheduled_at":"2026-11-23T12:00:00Z","reason":"previous run still going (max_instances 1)","plugin":"report.wasm","definition":"9f0c5e1b0000beef","kind":"overlapped"}
        "#);
    }

    #[test]
    fn a_wrong_outcome_suggests_the_right_one() {
        let said = |text: &str| kind(text).unwrap_err();
        assert_eq!(said("faild"), "no such outcome: did you mean `failed`?");
        assert_eq!(said("skip"), "no such outcome: did you mean `skipped`?");
        insta::assert_snapshot!(said("purple"), @"no such outcome: there are succeeded, failed, trapped, timed_out, out_of_fuel, out_of_memory, cancelled, lost, skipped, running, recorded");
        for known in Kind::all() {
            assert_eq!(kind(known.as_str()), Ok(known));
            assert_eq!(
                kind(&known.as_str().to_uppercase().replace('_', " ")),
                Ok(known)
            );
        }
        assert!(
            parse(&["--outcome", "faild"])
                .unwrap_err()
                .to_string()
                .contains("`failed`")
        );
        assert!(parse(&["--limit", "0"]).is_err());
    }
}
