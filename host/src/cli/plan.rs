//! `quarterjack plan`: what the jobs of job files will do, before it happens. Computed, not run:
//! no engine, no host.

mod heat;
mod ics;
mod json;
mod report;
pub(super) mod when;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::definitions::JobFiles;
use super::options::{Config, duration};
use super::output::{Paint, Screen, Tone, harmless};
use super::subject::{offset_text, viewers_zone, zone};
use super::{Exit, Refusal};
use crate::clock::{Clock, SystemClock, Timestamp, format_instant};
use crate::job::{Job, JobId};
use crate::plan::{Durations, Firing, Outlook};
use crate::trigger::Zone;

/// The arguments of `plan`.
#[derive(Debug, Args)]
#[command(after_help = "  \
quarterjack plan jobs.json --from today --to +1d\n  \
quarterjack plan --duration 10m --duration report=45m\n  \
quarterjack plan --from 2027-03-28 --to +1w --job backup --list\n  \
quarterjack plan --to +30d --ics > jobs.ics\n\
Nothing runs at the beginning, and runs succeed. What comes after another job is known only\n\
with the --duration of that one.")]
pub(super) struct Plan {
    #[command(flatten)]
    files: JobFiles,
    /// The beginning: now, today, tomorrow, +1d or -2h from now, a day, a time, an instant
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "now",
        allow_hyphen_values = true
    )]
    from: String,
    /// The end, exclusive: the same; +1d or -2h count from the beginning
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "+1d",
        allow_hyphen_values = true
    )]
    to: String,
    /// The zone of the times that are given and shown [default: yours]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    timezone: Option<Zone>,
    /// If a run takes so long, or that of one job: 10m, report=45m (repeatable)
    #[arg(long, value_name = "[JOB=]TIME", value_parser = length)]
    duration: Vec<Length>,
    /// Only this job (repeatable)
    #[arg(long, value_name = "ID")]
    job: Vec<String>,
    /// Print every firing on a line of its own
    #[arg(long, group = "form")]
    list: bool,
    /// Print the plan and all firings as one JSON object
    #[arg(long, group = "form")]
    json: bool,
    /// Print the firings as an iCalendar
    #[arg(long, group = "form")]
    ics: bool,
    #[command(flatten)]
    config: Config,
}

/// How long runs take: all, or those of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Length {
    job: Option<String>,
    time: Duration,
}

/// What is asked for, in terms of the plan.
#[derive(Debug)]
struct Query {
    from: Timestamp,
    until: Timestamp,
    zone: Zone,
    durations: Durations,
}

/// Reads `10m` or `report=10m`.
fn length(text: &str) -> Result<Length, String> {
    let (job, time) = match text.rsplit_once('=') {
        Some(("", _)) => return Err("the id of the job is missing before `=`".to_owned()),
        Some((job, time)) => (Some(job.trim().to_owned()), time),
        None => (None, text),
    };
    Ok(Length {
        job,
        time: duration(time)?,
    })
}

impl Plan {
    /// Prints the plan; exits with 1 if a job is missing from it because it is wrong.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
        let exit = self.answer(&SystemClock, screen, &mut out)?;
        out.flush()?;
        Ok(exit)
    }

    fn answer(
        &self,
        clock: &dyn Clock,
        screen: Screen,
        to: &mut dyn Write,
    ) -> Result<Exit, Refusal> {
        let now = clock.now();
        let query = self.query(now)?;
        let (jobs, exit) = self.jobs(screen)?;
        let outlook = Outlook::new(jobs, query.from, query.until, &query.durations);
        if self.json {
            json::write(&outlook, &query, to)?;
        } else if self.ics {
            ics::begin(to)?;
            for firing in outlook.firings() {
                if let Some(job) = outlook.job(firing.job) {
                    ics::event(to, &firing, job, now)?;
                }
            }
            ics::end(to)?;
        } else if self.list {
            for firing in outlook.firings() {
                write_firing(&firing, &outlook, query.zone, screen.out, to)?;
            }
        } else {
            let report = report::Report {
                plan: &outlook.counted(query.zone),
                query: &query,
                paint: screen.out,
                width: screen.width,
            };
            report.write(to)?;
        }
        Ok(exit)
    }

    /// What is asked for.
    fn query(&self, now: Timestamp) -> Result<Query, Refusal> {
        let zone = self.timezone.unwrap_or_else(viewers_zone);
        let refuse = |flag: &str, error: String| Refusal::usage(format_args!("{flag}: {error}"));
        let from = when::read(&self.from, now, now, zone).map_err(|it| refuse("--from", it))?;
        let until = when::read(&self.to, from, now, zone).map_err(|it| refuse("--to", it))?;
        if until <= from {
            return Err(Refusal::usage(format_args!(
                "the end, {}, is not after the beginning, {}: --to +1d is a day later",
                format_instant(until),
                format_instant(from)
            )));
        }
        let mut durations = Durations::default();
        for length in &self.duration {
            match &length.job {
                Some(job) => {
                    durations
                        .of_jobs
                        .insert(JobId::from(job.as_str()), length.time);
                }
                None => durations.usual = Some(length.time),
            }
        }
        Ok(Query {
            from,
            until,
            zone,
            durations,
        })
    }

    /// The jobs of the files that were asked for, and the exit code: what is wrong with others has
    /// been drawn.
    fn jobs(&self, screen: Screen) -> Result<(Vec<Arc<Job>>, Exit), Refusal> {
        let policy = self.config.policy(screen)?;
        let mut found = self.files.places().read(&policy).all(screen)?;
        for id in self
            .job
            .iter()
            .chain(self.duration.iter().filter_map(|it| it.job.as_ref()))
        {
            if !found.knows(id) {
                return Err(Refusal::failure(found.unknown(id)));
            }
        }
        if !self.job.is_empty() {
            found
                .jobs
                .retain(|job| self.job.iter().any(|id| id == job.id.as_str()));
        }
        Ok((found.jobs, found.exit))
    }
}

/// Writes a firing on a line of its own.
fn write_firing(
    firing: &Firing,
    outlook: &Outlook,
    zone: Zone,
    paint: Paint,
    to: &mut dyn Write,
) -> io::Result<()> {
    let name = |place: usize| {
        outlook
            .job(place)
            .map_or_else(String::new, |job| harmless(job.id.as_str()))
    };
    let (wall, offset) = zone.to_wall(firing.due_at);
    let format = if firing.due_at.timestamp_subsec_nanos() == 0 {
        "%a %d %b %Y %H:%M:%S"
    } else {
        "%a %d %b %Y %H:%M:%S%.3f"
    };
    write!(
        to,
        "{} {}  {}",
        wall.format(format),
        offset_text(offset),
        name(firing.job)
    )?;
    if firing.due_at != firing.scheduled_at {
        let scheduled = zone.to_wall(firing.scheduled_at).0;
        let format = if scheduled.date() == wall.date() {
            "  scheduled for %H:%M:%S"
        } else {
            "  scheduled for %a %d %b %H:%M:%S"
        };
        let text = scheduled.format(format).to_string();
        write!(to, "{}", paint.paint(Tone::Dim, text))?;
    }
    if let Some(upstream) = firing.after {
        write!(
            to,
            "{}",
            paint.paint(Tone::Dim, format!("  after {}", name(upstream)))
        )?;
    }
    if firing.skipped {
        let text = "  skipped: previous run still going";
        write!(to, "{}", paint.paint(Tone::Warn, text))?;
    }
    writeln!(to)
}

#[cfg(test)]
mod tests;
