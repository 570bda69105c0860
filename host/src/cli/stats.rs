//! `quarterjack stats`: how the runs of each job have been.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use super::history::{Data, NAME_WIDTH, Past, View};
use super::output::grid::{Cell, Column, Grid};
use super::output::json::json_line;
use super::output::{Screen, Tone, harmless, outcome_word};
use super::{Exit, Refusal, remark};
use crate::job::JobId;
use crate::record::{JobStats, is_failure};
use crate::run::Outcome;
use crate::units::{format_count, format_duration};

/// The arguments of `stats`.
#[derive(Debug, Args)]
#[command(after_help = "  \
quarterjack stats --since 7d\n\
P50, P95 and MAX are how long the last attempts took: half of them, 95 in 100, all of them at most.\n\
FUEL and CPU are the sums over all attempts.")]
pub(super) struct Stats {
    /// Only what was recorded since then: 1d or 2h ago, today, a day, a time, an instant
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    since: Option<String>,
    #[command(flatten)]
    data: Data,
    /// Print one JSON object a line for each job
    #[arg(long)]
    json: bool,
}

/// The figures of a job as JSON.
#[derive(Serialize)]
struct StatsJson<'a> {
    job: &'a JobId,
    runs: u64,
    outcomes: Map<String, Value>,
    skipped: u64,
    reasons: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_p95_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_max_ms: Option<f64>,
    fuel_used: u64,
    cpu_ms: f64,
}

impl<'a> StatsJson<'a> {
    fn of(stats: &'a JobStats) -> StatsJson<'a> {
        let outcomes = stats.outcomes.iter();
        let reasons = stats.skips.iter();
        StatsJson {
            job: &stats.id,
            runs: stats.runs(),
            outcomes: outcomes
                .map(|(outcome, count)| (outcome.as_str().to_owned(), (*count).into()))
                .collect(),
            skipped: stats.skipped(),
            reasons: reasons
                .map(|(reason, count)| (reason.clone(), (*count).into()))
                .collect(),
            duration_p50_ms: stats.p50.map(millis),
            duration_p95_ms: stats.p95.map(millis),
            duration_max_ms: stats.longest.map(millis),
            fuel_used: stats.fuel,
            cpu_ms: millis(stats.cpu),
        }
    }
}

/// Milliseconds, to the microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

impl Stats {
    /// Shows them.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let past = self.data.open()?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        let remarks = self.tell(&past, &View::of(screen), &mut out)?;
        out.flush()?;
        remarks.iter().for_each(|it| remark(it));
        Ok(Exit::Ok)
    }

    fn tell(&self, past: &Past, view: &View, to: &mut dyn Write) -> Result<Vec<String>, Refusal> {
        let since = view.since(self.since.as_deref())?;
        let all = past.history.stats(since).map_err(Refusal::failure)?;
        if all.is_empty() {
            return Ok(vec![match since {
                Some(since) => format!("nothing has ended since {}", view.when(since)),
                None => format!("nothing has ended yet in the history in {}", past.place),
            }]);
        }
        if self.json {
            for stats in &all {
                json_line(&StatsJson::of(stats), to)?;
            }
        } else {
            table(&all).write(view.paint, view.width, to)?;
        }
        Ok(Vec::new())
    }
}

fn table(all: &[JobStats]) -> Grid {
    let mut grid = Grid::new([
        Column::left("JOB").at_most(NAME_WIDTH),
        Column::right("RUNS"),
        Column::right("OK"),
        Column::right("FAILED"),
        Column::right("SKIPPED"),
        Column::right("P50"),
        Column::right("P95"),
        Column::right("MAX"),
        Column::right("FUEL").spare(),
        Column::right("CPU").spare(),
        Column::left("WHICH").or_below(),
    ]);
    for stats in all {
        let time = |time: Option<Duration>| time.map(format_duration).unwrap_or_default().into();
        let failed: u64 = (stats.outcomes.iter())
            .filter(|(outcome, _)| is_failure(*outcome))
            .map(|(_, count)| count)
            .sum();
        let toned = |tone: Tone, count: u64| match count {
            0 => Cell::from("0"),
            count => Cell::toned(tone, count.to_string()),
        };
        grid.row([
            harmless(stats.id.as_str()).into(),
            stats.runs().to_string().into(),
            share(stats.ended(Outcome::Succeeded), stats.runs()).into(),
            toned(Tone::Bad, failed),
            toned(Tone::Warn, stats.skipped()),
            time(stats.p50),
            time(stats.p95),
            time(stats.longest),
            format_count(stats.fuel).into(),
            format_duration(stats.cpu).into(),
            which(stats).into(),
        ]);
    }
    grid
}

/// How many of a hundred succeeded: `100 %` only if all did, and `0 %` only if none did.
fn share(succeeded: u64, runs: u64) -> String {
    if runs == 0 {
        return "-".to_owned();
    }
    let percent = u128::from(succeeded) * 100 / u128::from(runs);
    match percent {
        0 if succeeded > 0 => "1 %".to_owned(),
        percent => format!("{percent} %"),
    }
}

/// What became of those that did not succeed: `2 timed out, 1 lost; 3 overlapped`.
fn which(stats: &JobStats) -> String {
    let outcomes: Vec<String> = (stats.outcomes.iter())
        .filter(|(outcome, _)| *outcome != Outcome::Succeeded)
        .map(|(outcome, count)| format!("{count} {}", outcome_word(*outcome).0.to_lowercase()))
        .collect();
    let skips: Vec<String> = (stats.skips.iter())
        .map(|(reason, count)| format!("{count} {}", harmless(reason).replace('_', " ")))
        .collect();
    let parts = [outcomes.join(", "), skips.join(", ")];
    let parts: Vec<String> = parts.into_iter().filter(|it| !it.is_empty()).collect();
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::history::fixtures::{nothing, past, seen, view};
    use super::*;
    use crate::cli::output::columns;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        stats: Stats,
    }

    fn told(past: &Past, line: &[&str], width: usize) -> String {
        let line = Line::try_parse_from([&["stats"], line].concat()).unwrap();
        seen(|to| line.stats.tell(past, &view(width), to))
    }

    #[test]
    fn each_job_has_its_figures() {
        insta::assert_snapshot!(told(&past(), &[], 140), @"
        JOB                       RUNS     OK  FAILED  SKIPPED    P50    P95    MAX   FUEL     CPU  WHICH
        Grüße 你好 �evil and so…     1    0 %       1        0  1.5 s  1.5 s  1.5 s  1.9 G   1.4 s  1 out of memory
        backup                       1  100 %       0        0  5.2 s  5.2 s  5.2 s   12 k   4.7 s
        report                       3   33 %       2        4  41 ms  1 min  1 min  3.8 G  54.1 s  1 timed out, 1 lost; 3 missed, 1 overlapped
        ");
        insta::assert_snapshot!(told(&past(), &["--since", "today"], 140), @"
        JOB     RUNS    OK  FAILED  SKIPPED    P50    P95    MAX   FUEL     CPU  WHICH
        report     2  50 %       1        1  41 ms  1 min  1 min  3.8 G  54.1 s  1 timed out; 1 overlapped
        ");
        insta::assert_snapshot!(told(&past(), &["--since", "2026-11-23T12:06:00Z"], 140), @"(nothing has ended since today 13:06:00)");
        insta::assert_snapshot!(told(&nothing(), &[], 140), @"(nothing has ended yet in the history in DIR)");
        for width in [40, 60, 80, 100] {
            for line in told(&past(), &[], width).lines() {
                assert!(columns(line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn programs_get_an_object_for_each() {
        // Rust does not let the override stand in a source.
        let text = told(&past(), &["--json"], 80).replace('\u{202e}', "RLO");
        insta::assert_snapshot!(text, @r#"
        {"job":"Grüße 你好 RLOevil and so on for a while","runs":1,"outcomes":{"out_of_memory":1},"skipped":0,"reasons":{},"duration_p50_ms":1500.0,"duration_p95_ms":1500.0,"duration_max_ms":1500.0,"fuel_used":1900000000,"cpu_ms":1350.0}
        {"job":"backup","runs":1,"outcomes":{"succeeded":1},"skipped":0,"reasons":{},"duration_p50_ms":5200.0,"duration_p95_ms":5200.0,"duration_max_ms":5200.0,"fuel_used":12000,"cpu_ms":4680.0}
        {"job":"report","runs":3,"outcomes":{"succeeded":1,"timed_out":1,"lost":1},"skipped":4,"reasons":{"missed":3,"overlapped":1},"duration_p50_ms":41.0,"duration_p95_ms":60000.0,"duration_max_ms":60000.0,"fuel_used":3802100000,"cpu_ms":54108.0}
        "#);
    }

    #[test]
    fn all_and_nothing_are_never_rounded_to() {
        assert_eq!(share(0, 0), "-");
        assert_eq!(share(999, 1000), "99 %");
        assert_eq!(share(1, 1000), "1 %");
        assert_eq!(share(0, 1000), "0 %");
        assert_eq!(share(7, 7), "100 %");
    }
}
