//! `quarterjack backfill`: the instants of a job that have no run, made up for.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::client::Client;
use super::history::{Data, View};
use super::output::json::json_line;
use super::output::{Screen, harmless, plural};
use super::plan::when;
use super::subject::viewers_zone;
use super::{Exit, Refusal, remark};
use crate::clock::{Timestamp, format_instant, parse_instant};
use crate::control::{Backfill as Request, Backfilled};

/// The arguments of `backfill`.
#[derive(Debug, Args)]
#[command(after_help = "  \
quarterjack backfill report --from 2026-11-01 --to 2026-11-08 --dry-run\n  \
quarterjack backfill report --from -2d --to now\n\
The job runs for each instant of its trigger, from the one time on and before the other, that has no\n\
run: it was paused, skipped or missed, or the job was not defined yet. Days off are none. Those that\n\
ran count, however they ended, as far back as the history goes. The runs wait for their turn one\n\
after another, the earliest first, whatever the job's `overlap` says; their cause is `catch-up`.")]
pub(super) struct Backfill {
    /// The job
    #[arg(value_name = "JOB", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    job: String,
    /// The beginning: today, -2d from now, a day, a time, an instant
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    from: String,
    /// The end, which is not part of it: now, +1d from the beginning, a day, a time, an instant
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    to: String,
    /// At most so many runs, the earliest
    #[arg(long, value_name = "N", default_value_t = Request::LIMIT as u64, value_parser = clap::value_parser!(u64).range(1..=Request::MOST as u64))]
    limit: u64,
    /// Only list the instants that have no run
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    data: Data,
    /// Print a JSON object that says what has become of it
    #[arg(long)]
    json: bool,
}

/// What the host is sent.
#[derive(Serialize)]
struct Body {
    from: String,
    to: String,
    limit: u64,
    dry_run: bool,
}

impl Backfill {
    /// Makes up for them.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let view = View::of(screen);
        let (from, to) = self.range(view.now)?;
        let client = Client::of(&self.data.place()?);
        let body = Body {
            from: format_instant(from),
            to: format_instant(to),
            limit: self.limit,
            dry_run: self.dry_run,
        };
        let told: Backfilled = client
            .post(&["jobs", &self.job, "backfill"], &body)
            .map_err(|why| client.explain(why, ", and ask it then"))?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            json_line(&told, &mut out)?;
            out.flush()?;
        } else {
            let summary = tell(&told, &view, &mut out)?;
            out.flush()?;
            remark(&summary);
        }
        Ok(if told.skipped == 0 {
            Exit::Ok
        } else {
            Exit::Failure
        })
    }

    fn range(&self, now: Timestamp) -> Result<(Timestamp, Timestamp), Refusal> {
        let zone = viewers_zone();
        let refuse = |flag: &str, error: String| Refusal::usage(format_args!("{flag}: {error}"));
        let from = when::read(&self.from, now, now, zone).map_err(|it| refuse("--from", it))?;
        let to = when::read(&self.to, from, now, zone).map_err(|it| refuse("--to", it))?;
        if from >= to {
            return Err(Refusal::usage(format_args!(
                "the end, {}, is not after the beginning, {}: --to +1d is a day later",
                format_instant(to),
                format_instant(from)
            )));
        }
        Ok((from, to))
    }
}

/// Lists the instants if nothing was done about them; gives what else is to be said.
fn tell(told: &Backfilled, view: &View, to: &mut dyn Write) -> Result<String, Refusal> {
    let job = harmless(told.job.as_str());
    if told.dry_run {
        for instant in &told.instants {
            match parse_instant(instant) {
                Ok(instant) => writeln!(to, "{}", view.when_exactly(instant))?,
                Err(_) => writeln!(to, "{}", harmless(instant))?,
            }
        }
    }
    let count = told.instants.len();
    let had = match told.had_runs {
        0 => String::new(),
        1 => "; 1 has one".to_owned(),
        had => format!("; {had} have one"),
    };
    if count == 0 {
        return Ok(format!(
            "{job}: no instant of that time is without a run{had}"
        ));
    }
    let mut text = if told.dry_run {
        format!("{job}: {} without a run{had}", plural(count, "instant"))
    } else {
        format!(
            "{job}: {} for {} without a run{had}",
            plural(told.fired, "run"),
            plural(count, "instant")
        )
    };
    if told.more {
        text.push_str("; there are more: --limit takes more of them at once");
    }
    if told.skipped > 0 {
        text.push_str(&format!(
            "\n{} not started: `quarterjack runs {job} --outcome skipped` says why",
            told.skipped
        ));
    }
    if !told.enabled {
        text.push_str(&format!(
            "\njob `{job}` is disabled: it runs because you ask for it, not by its trigger"
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::history::fixtures::{seen, view};
    use super::*;

    fn told(dry_run: bool, instants: &[&str], had_runs: usize) -> Backfilled {
        Backfilled {
            job: "report".into(),
            dry_run,
            instants: instants.iter().map(|it| (*it).to_owned()).collect(),
            more: false,
            had_runs,
            fired: if dry_run { 0 } else { instants.len() },
            skipped: 0,
            enabled: true,
        }
    }

    fn said(told: &Backfilled) -> String {
        seen(|to| tell(told, &view(100), to).map(|text| vec![text]))
    }

    #[test]
    fn what_would_be_done_is_listed_and_what_was_done_is_counted() {
        let instants = ["2026-11-23T03:00:00Z", "2026-11-23T04:00:00Z"];
        insta::assert_snapshot!(said(&told(true, &instants, 3)), @"
        today 04:00:00
        today 05:00:00
        (report: 2 instants without a run; 3 have one)
        ");
        insta::assert_snapshot!(said(&told(false, &instants, 1)), @"(report: 2 runs for 2 instants without a run; 1 has one)");
        insta::assert_snapshot!(said(&told(false, &[], 7)), @"(report: no instant of that time is without a run; 7 have one)");
        let partly = Backfilled {
            more: true,
            fired: 1,
            skipped: 1,
            enabled: false,
            ..told(false, &instants, 0)
        };
        insta::assert_snapshot!(said(&partly), @"
        (report: 1 run for 2 instants without a run; there are more: --limit takes more of them at once
        1 not started: `quarterjack runs report --outcome skipped` says why
        job `report` is disabled: it runs because you ask for it, not by its trigger)
        ");
    }
}
