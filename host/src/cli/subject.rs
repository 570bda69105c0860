//! What a verb about schedules is asked about, an expression or a job of the job file, and its
//! coming instants. Shared by `next` and `explain`.

use std::io::{self, Write};
use std::sync::Arc;

use chrono::{NaiveDateTime, Timelike as _};
use clap::Args;

use super::definitions::{Definition, LookedUp, warn_of_ceiling};
use super::options::Config;
use super::output::{Paint, Screen, Tone, Viewer, ahead, harmless};
use super::{Exit, Refusal, remark};
use crate::clock::{Timestamp, format_instant, parse_instant};
use crate::job::{Diagnostic, Job, SourceText};
use crate::trigger::{Dst, Reading, Trigger, TriggerError, Zone};

/// What it is about, and which of its instants.
#[derive(Debug, Args)]
pub(super) struct About {
    /// A cron expression, a macro such as @daily or '@every 5s', or a job of the job file
    #[arg(value_name = "EXPR|JOB")]
    pub(super) what: String,
    /// The zone that an expression is read in; for a job, the zone that is shown
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    pub(super) timezone: Option<Zone>,
    /// Instants after this one, such as 2026-01-01T00:00:00Z [default: now]
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    pub(super) after: Option<Timestamp>,
    /// How many
    #[arg(
        long,
        short = 'n',
        value_name = "N",
        default_value = "5",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub(super) count: u32,
    /// The id of the job that an expression is for: `H` is spread by it
    #[arg(long, value_name = "ID")]
    job_id: Option<String>,
    #[command(flatten)]
    pub(super) definitions: LookedUp,
    /// Read where it is about jobs: those above the ceiling are warned of.
    #[command(flatten)]
    pub(super) config: Config,
}

/// An expression, or a job of the job file.
#[derive(Debug)]
pub(super) struct Subject {
    /// The expression, or the job and its trigger.
    pub(super) title: String,
    /// The trigger.
    pub(super) trigger: Trigger,
    /// The job, if it is one.
    pub(super) job: Option<Arc<Job>>,
}

impl About {
    /// What it is about: an expression, or a job of the job file.
    ///
    /// # Errors
    /// It is neither; what is wrong has been drawn or is in the refusal.
    pub(super) fn subject(&self, screen: Screen) -> Result<Subject, Refusal> {
        let what = self.what.as_str();
        let reading = Reading {
            zone: self.timezone.unwrap_or(Zone::UTC),
            dst: Dst::default(),
            job: self.job_id.as_deref(),
        };
        let error = match Trigger::parse(what, reading) {
            Ok(trigger) => {
                return Ok(Subject {
                    title: trigger.to_string(),
                    trigger,
                    job: None,
                });
            }
            Err(error) => error,
        };
        if !looks_like_an_expression(what) {
            let definitions = self.definitions.places().read(&Default::default());
            return match definitions.find(what, screen) {
                Ok(found) => {
                    let job = self.under_ceiling(found, screen)?;
                    if !job.enabled {
                        remark(&format!(
                            "job `{what}` is disabled; enabled, it would fire at these instants"
                        ));
                    }
                    Ok(of_job(job))
                }
                Err(mut refusal) => {
                    refusal.message.push_str(
                        "\n  (an expression has five fields, '30 2 * * *', or is a macro, @daily)",
                    );
                    Err(refusal)
                }
            };
        }
        // The id of a job may look like an expression, too.
        let definitions = self.definitions.places().read(&Default::default());
        if let Some(found) = definitions.find_quietly(what) {
            return Ok(of_job(self.under_ceiling(found, screen)?));
        }
        let any_job = Reading {
            job: Some(""),
            ..reading
        };
        let lacks_id = self.job_id.is_none() && Trigger::parse(what, any_job).is_ok();
        Err(wrong_expression(what, error, lacks_id, screen.err))
    }

    /// A job; if it is above the operator's ceiling, that has been said.
    fn under_ceiling(&self, found: Definition, screen: Screen) -> Result<Arc<Job>, Refusal> {
        let Definition { job, manifest } = found;
        let policy = self.config.policy(screen)?;
        warn_of_ceiling(&manifest, &policy, screen, |other| other.id == job.id);
        Ok(job)
    }

    /// The coming instants of a subject, seen from `now`.
    pub(super) fn upcoming(&self, subject: &Subject, now: Timestamp) -> Upcoming {
        let after = self.after.unwrap_or(now);
        // As many runs as if it came into service then.
        let counted = subject.trigger.counted_from(after);
        let trigger = counted.as_ref().unwrap_or(&subject.trigger);
        // When runs are due, which is what people wait for.
        let instants: Vec<Timestamp> = trigger
            .due_after(after)
            .map(|instant| trigger.due(instant))
            .take(self.count as usize)
            .collect();
        // An expression is read in the zone that was asked for, unless it names its own.
        let asked = self
            .timezone
            .filter(|_| subject.job.is_some() || trigger.zone().is_none());
        Upcoming {
            end: end(trigger, &instants, after, self.count),
            zone: trigger.zone(),
            shown: asked.or(trigger.zone()).unwrap_or_else(viewers_zone),
            // "in 11 h" counts from now, which says nothing beside another start.
            now: self.after.is_none().then_some(now),
            instants,
        }
    }
}

fn of_job(job: Arc<Job>) -> Subject {
    Subject {
        title: format!("{}   {}", harmless(job.id.as_str()), job.trigger),
        trigger: job.trigger.clone(),
        job: Some(job),
    }
}

/// The coming instants of a trigger, and what there is to say about them.
#[derive(Debug)]
pub(super) struct Upcoming {
    /// In order.
    pub(super) instants: Vec<Timestamp>,
    /// The zone whose wall clock the trigger follows, if it follows one.
    pub(super) zone: Option<Zone>,
    /// The zone that the instants are shown in.
    pub(super) shown: Zone,
    /// The time now, where they are counted from it.
    now: Option<Timestamp>,
    /// Why there are fewer instants than asked for.
    pub(super) end: Option<String>,
}

impl Upcoming {
    /// The zone that is followed, and the one that is shown if that is another.
    pub(super) fn zones(&self) -> String {
        match self.zone {
            Some(zone) if zone != self.shown => {
                format!("{}, shown in {}", zone.name(), self.shown.name())
            }
            _ => self.shown.name().to_owned(),
        }
    }

    /// Writes a line for each instant.
    pub(super) fn write(&self, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        let walls: Vec<(NaiveDateTime, i32)> = self
            .instants
            .iter()
            .map(|instant| self.shown.to_wall(*instant))
            .collect();
        let format = time_format(&walls);
        for (place, ((wall, offset), instant)) in walls.iter().zip(&self.instants).enumerate() {
            write!(to, "  {} {}", wall.format(format), offset_text(*offset))?;
            if let (0, Some(now)) = (place, self.now) {
                write!(to, "   {}", paint.paint(Tone::Dim, ahead(now, *instant)))?;
            }
            writeln!(to)?;
        }
        Ok(())
    }
}

/// As fine as the finest of the instants needs.
pub(super) fn time_format(walls: &[(NaiveDateTime, i32)]) -> &'static str {
    if walls.iter().any(|(wall, _)| wall.nanosecond() != 0) {
        "%a %d %b %Y %H:%M:%S%.3f"
    } else if walls.iter().any(|(wall, _)| wall.second() != 0) {
        "%a %d %b %Y %H:%M:%S"
    } else {
        "%a %d %b %Y %H:%M"
    }
}

/// An offset from UTC, `+01:00`; with seconds in the rare place that once had such a one.
pub(super) fn offset_text(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let all = seconds.unsigned_abs();
    let (hours, minutes, seconds) = (all / 3600, all % 3600 / 60, all % 60);
    if seconds == 0 {
        format!("{sign}{hours:02}:{minutes:02}")
    } else {
        format!("{sign}{hours:02}:{minutes:02}:{seconds:02}")
    }
}

/// Why there are fewer instants than asked for.
fn end(trigger: &Trigger, found: &[Timestamp], after: Timestamp, count: u32) -> Option<String> {
    if found.len() >= count as usize {
        return None;
    }
    if matches!(trigger, Trigger::Manual) {
        return Some("it runs only when somebody asks: quarterjack run JOB".to_owned());
    }
    if !trigger.has_instants() {
        return Some("it has no times that could be told in advance".to_owned());
    }
    match (found.last(), trigger.never_fires()) {
        (_, Some(reason)) => Some(format!("it never fires: {reason}")),
        (Some(last), None) => Some(format!("it does not fire after {}", format_instant(*last))),
        (None, None) => Some(format!("it does not fire after {}", format_instant(after))),
    }
}

/// Whether somebody who typed this meant an expression, right or wrong, rather than a job's id.
fn looks_like_an_expression(text: &str) -> bool {
    text.contains(char::is_whitespace)
        || text.starts_with(['@', '*'])
        || text.starts_with("CRON_TZ=")
        || text.starts_with("TZ=")
}

/// Draws what is wrong with an expression under the place. `lacks_id`: nothing but that `H`
/// needs a job.
fn wrong_expression(text: &str, error: TriggerError, lacks_id: bool, paint: Paint) -> Refusal {
    let source = Arc::new(SourceText::new("expression", text));
    let mut problem = Diagnostic::error(&source, error.span, error.message).with_label(error.label);
    if lacks_id {
        problem = problem.with_hint("name the job with --job-id ID");
    } else if let Some(hint) = error.hint {
        problem = problem.with_hint(hint);
    }
    remark(problem.render(paint.on).trim_end());
    Refusal::said(Exit::Usage)
}

/// The zone that the machine is in, as far as it has a name.
pub(super) fn viewers_zone() -> Zone {
    Viewer::here()
        .name()
        .and_then(|name| Zone::parse(name).ok())
        .unwrap_or(Zone::UTC)
}

pub(super) fn zone(name: &str) -> Result<Zone, String> {
    Zone::parse(name).map_err(|unknown| unknown.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets() {
        assert_eq!(offset_text(0), "+00:00");
        assert_eq!(offset_text(-12_600), "-03:30");
        assert_eq!(offset_text(-2_670), "-00:44:30");
    }
}
