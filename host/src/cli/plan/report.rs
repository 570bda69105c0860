//! The plan for people.

use std::io::{self, Write};

use chrono::NaiveDateTime;

use super::{Query, heat};
use crate::cli::output::{Paint, Tone, cut, harmless, plural};
use crate::clock::Timestamp;
use crate::plan::{JobPlan, MOST_FIRINGS, Note, Overlaps, Plan, Quiet, Unknown};
use crate::units::format_duration_exact;

/// How many lines a part of the report has at most.
const MOST_LINES: usize = 10;
/// More jobs than this are not listed one by one, only the first few.
const MOST_JOBS: usize = 50;
const FIRST_JOBS: usize = 20;
/// Columns of a job's id at most.
const NAME_WIDTH: usize = 32;

/// A plan, and what it is shown with.
pub(super) struct Report<'a> {
    pub(super) plan: &'a Plan,
    pub(super) query: &'a Query,
    pub(super) paint: Paint,
    /// Columns of a line.
    pub(super) width: usize,
}

impl Report<'_> {
    /// Writes all of it.
    pub(super) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "{}", self.paint.paint(Tone::Strong, self.headline()))?;
        writeln!(to, "{}", self.paint.paint(Tone::Dim, self.stretch()))?;
        if self.plan.cut {
            writeln!(
                to,
                "the plan ends early, after {MOST_FIRINGS} firings: ask for less with --to or --job"
            )?;
        }
        heat::write(self.plan, self.width, self.paint, to)?;
        self.changes(to)?;
        self.busiest(to)?;
        self.nothing(to)?;
        if let Some(overlaps) = &self.plan.overlaps {
            self.overlaps(overlaps, to)?;
        }
        self.jobs(to)?;
        self.others(to)
    }

    /// `312 firings of 9 jobs, busiest minute 00:00 (6 firings)`.
    fn headline(&self) -> String {
        let jobs = self.plan.jobs.iter().filter(|job| job.firings > 0).count();
        let Some(busiest) = self.plan.busiest.first() else {
            return format!("no firing of {}", plural(self.plan.jobs.len(), "job"));
        };
        let firings = count(self.plan.firings, "firing");
        if busiest.firings == 1 && self.plan.firings > 1 {
            return format!(
                "{firings} of {}, never two in a minute",
                plural(jobs, "job")
            );
        }
        format!(
            "{firings} of {}, busiest minute {} ({})",
            plural(jobs, "job"),
            self.time(busiest.start),
            count(busiest.firings, "firing")
        )
    }

    /// `Mon 23 Nov 2026 00:00 to Tue 24 Nov 2026 00:00, Europe/Berlin`.
    fn stretch(&self) -> String {
        let show = |instant| self.wall(instant).format("%a %d %b %Y %H:%M").to_string();
        format!(
            "{} to {}, {}",
            show(self.plan.from),
            show(self.plan.until),
            self.query.zone.name()
        )
    }

    fn wall(&self, instant: Timestamp) -> NaiveDateTime {
        self.query.zone.to_wall(instant).0
    }

    /// Whether a time of the day alone says when something is.
    fn is_one_day(&self) -> bool {
        let last = self.plan.until - chrono::TimeDelta::nanoseconds(1);
        self.wall(self.plan.from).date() == self.wall(last.max(self.plan.from)).date()
    }

    /// A minute of the plan: with its day if there are several, with its year if there are.
    fn time(&self, instant: Timestamp) -> String {
        let wall = self.wall(instant);
        let format = if self.is_one_day() {
            "%H:%M"
        } else if (self.plan.until - self.plan.from).num_days() < 300 {
            "%a %d %b %H:%M"
        } else {
            "%a %d %b %Y %H:%M"
        };
        wall.format(format).to_string()
    }

    /// Days of other than 24 hours.
    fn changes(&self, to: &mut dyn Write) -> io::Result<()> {
        let changes = self.plan.clock_changes();
        let days = (self.plan.until - self.plan.from).num_days();
        let shown = changes.iter().take(if days > 800 { 0 } else { MOST_LINES });
        let mut listed = 0;
        for change in shown {
            listed += 1;
            // Samoa skipped a whole day.
            let format = if change.before.date() == change.after.date() {
                "%H:%M"
            } else {
                "%a %d %b %H:%M"
            };
            writeln!(
                to,
                "clock change: {}, {} becomes {}",
                change.after.format("%a %d %b %Y"),
                change.before.format(format),
                change.after.format(format)
            )?;
        }
        match changes.len() - listed {
            0 => Ok(()),
            more if listed == 0 => writeln!(to, "{} within", plural(more, "clock change")),
            more => writeln!(to, "  … and {more} more"),
        }
    }

    fn busiest(&self, to: &mut dyn Write) -> io::Result<()> {
        // One firing in a minute is not busy, and the first minute is in the headline.
        let busy = self.plan.busiest.iter().filter(|minute| minute.firings > 1);
        let busy: Vec<String> = busy
            .take(5)
            .map(|minute| format!("{} ({})", self.time(minute.start), minute.firings))
            .collect();
        if busy.len() < 2 {
            return Ok(());
        }
        let line = format!("busiest minutes: {}", busy.join(", "));
        writeln!(to, "{}", cut(&line, self.width))
    }

    /// `nothing from 01:00 to 05:59`.
    fn nothing(&self, to: &mut dyn Write) -> io::Result<()> {
        if self.plan.firings == 0 {
            return Ok(());
        }
        let quiet = self.plan.quiet();
        if self.is_one_day() {
            if quiet.is_empty() {
                return Ok(());
            }
            let stretches: Vec<String> = quiet.iter().map(|quiet| self.stretch_of(quiet)).collect();
            return writeln!(to, "nothing {}", stretches.join(", "));
        }
        // Of several days: which hours are free on every one of them, and the longest rest.
        let mut used = [false; 24];
        for hour in &self.plan.hours {
            let hour_of_day = chrono::Timelike::hour(&hour.wall) as usize;
            if let Some(used) = used.get_mut(hour_of_day) {
                *used |= hour.firings > 0;
            }
        }
        // A plan of less than a day has not seen all of them.
        let is_whole = (self.plan.until - self.plan.from).num_hours() >= 23;
        if is_whole && used.contains(&false) {
            writeln!(to, "nothing on any day {}", free_hours(&used).join(", "))?;
        }
        let length = |quiet: &&Quiet| quiet.until - quiet.from;
        // Of several equally long ones the first.
        if let Some(longest) = quiet.iter().rev().max_by_key(length)
            && quiet.len() > usize::from(is_whole)
        {
            let hours = length(&longest).to_std().unwrap_or_default();
            let line = format!(
                "longest time with nothing: {} ({})",
                self.stretch_of(longest),
                format_duration_exact(std::time::Duration::from_secs(hours.as_secs() / 60 * 60))
            );
            writeln!(to, "{}", cut(&line, self.width))?;
        }
        Ok(())
    }

    /// `from 01:00 to 05:59`: the last minute is still quiet.
    fn stretch_of(&self, quiet: &Quiet) -> String {
        let last = quiet.until - chrono::TimeDelta::nanoseconds(1);
        format!("from {} to {}", self.time(quiet.from), self.time(last))
    }

    fn overlaps(&self, overlaps: &Overlaps, to: &mut dyn Write) -> io::Result<()> {
        let name = |place: usize| {
            let id = self
                .plan
                .jobs
                .get(place)
                .map_or("", |plan| plan.job.id.as_str());
            cut(&harmless(id), NAME_WIDTH)
        };
        let pairs = &overlaps.pairs;
        let assumed = self.assumed();
        let lines: Vec<String> = pairs
            .iter()
            .take(MOST_LINES)
            .map(|pair| {
                let times = match pair.times {
                    1 => String::new(),
                    times => format!(" ({times} times)"),
                };
                let (one, other) = (name(pair.jobs.0), name(pair.jobs.1));
                format!("{one} x {other} at {}{times}", self.time(pair.first))
            })
            .collect();
        match lines.as_slice() {
            [] => writeln!(to, "no overlaps of different jobs {assumed}")?,
            [only] => writeln!(to, "overlaps {assumed}: {only}")?,
            _ => {
                writeln!(to, "overlaps {assumed}:")?;
                for line in &lines {
                    writeln!(to, "  {}", cut(line, self.width.saturating_sub(2)))?;
                }
                if pairs.len() > lines.len() {
                    let more = pairs.len() - lines.len();
                    writeln!(to, "  … and {} more; --json has all", plural(more, "pair"))?;
                }
            }
        }
        if let Some(until) = overlaps.counted_until {
            let until = self.time(until);
            writeln!(
                to,
                "  (those up to {until}: there are too many to count all)"
            )?;
        }
        if let Some(peak) = overlaps.peak.filter(|peak| peak.runs > 1) {
            writeln!(
                to,
                "at most {} runs at once, first at {}",
                peak.runs,
                self.time(peak.at)
            )?;
        }
        let own = self.plan.overlapping_themselves();
        for job in own.iter().take(MOST_LINES) {
            writeln!(
                to,
                "{} would overlap itself: {} of {} skipped (max_instances {})",
                name_of(job),
                job.skipped,
                count(job.firings, "firing"),
                job.job.max_instances
            )?;
        }
        match own.len().saturating_sub(MOST_LINES) {
            0 => Ok(()),
            more => writeln!(to, "  … and {} more that would", plural(more, "job")),
        }
    }

    /// `if a run takes 10 min`.
    fn assumed(&self) -> String {
        let durations = &self.query.durations;
        match durations.usual {
            Some(usual) if durations.of_jobs.is_empty() => {
                format!("if a run takes {}", format_duration_exact(usual))
            }
            Some(usual) => format!(
                "if a run takes {} where nothing else is said",
                format_duration_exact(usual)
            ),
            None => "if runs take as long as said".to_owned(),
        }
    }

    fn jobs(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut jobs: Vec<&JobPlan> = self
            .plan
            .jobs
            .iter()
            .filter(|job| job.firings > 0)
            .collect();
        if jobs.is_empty() {
            return Ok(());
        }
        jobs.sort_by_key(|job| (std::cmp::Reverse(job.firings), job.first));
        let shown = if jobs.len() > MOST_JOBS {
            FIRST_JOBS
        } else {
            jobs.len()
        };
        let cells: Vec<[String; 4]> = jobs
            .iter()
            .take(shown)
            .map(|plan| {
                let trigger = &plan.job.trigger;
                let zone = trigger.zone().filter(|zone| *zone != self.query.zone);
                let zone = zone.map_or_else(String::new, |zone| format!("  {}", zone.name()));
                [
                    plan.firings.to_string(),
                    name_of(plan),
                    plan.first
                        .map_or_else(String::new, |first| self.time(first)),
                    format!("{trigger}{zone}"),
                ]
            })
            .collect();
        let header = ["FIRINGS", "JOB", "FIRST", "WHEN"].map(str::to_owned);
        let mut widths = [0; 4];
        for line in cells.iter().chain([&header]) {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        let row = |[firings, job, first, when]: &[String; 4]| {
            let [a, b, c, _] = widths;
            cut(
                &format!("  {firings:>a$}  {job:b$}  {first:c$}  {when}"),
                self.width,
            )
        };
        writeln!(to, "{}", self.paint.paint(Tone::Dim, row(&header)))?;
        for line in &cells {
            writeln!(to, "{}", row(line))?;
        }
        match jobs.len() - shown {
            0 => Ok(()),
            more => writeln!(
                to,
                "  … and {more} more jobs; --json has all, --job ID shows one"
            ),
        }
    }

    /// The jobs that are not in the table, and what else there is to say.
    fn others(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut idle = Vec::new();
        for plan in &self.plan.jobs {
            if plan.firings > 0 || !plan.job.trigger.has_instants() || !plan.job.enabled {
                continue;
            }
            idle.push(match (&plan.never, plan.next) {
                (Some(reason), _) => format!("{} (never: {reason})", name_of(plan)),
                (None, Some(next)) => {
                    let next = self.wall(next).format("%a %d %b %Y %H:%M");
                    format!("{} (next {next})", name_of(plan))
                }
                (None, None) => format!("{} (no more)", name_of(plan)),
            });
        }
        self.list("does not fire in this time", idle, to)?;
        let with = |note: &Note| -> Vec<String> {
            let jobs = self
                .plan
                .jobs
                .iter()
                .filter(|plan| plan.notes.contains(note));
            jobs.map(name_of).collect()
        };
        self.list("also at the start of the host", with(&Note::AtStart), to)?;
        self.list("only on demand", with(&Note::OnDemand), to)?;
        self.list("disabled", with(&Note::Disabled), to)?;
        let mut waiting = Vec::new();
        for plan in &self.plan.jobs {
            for note in &plan.notes {
                if let Note::After { after, unknown } = note {
                    let upstream = harmless(&after.job);
                    let why = match unknown {
                        Unknown::Failure => "runs are taken to succeed".to_owned(),
                        Unknown::Duration => {
                            format!("how long that takes is not known: --duration {upstream}=10m")
                        }
                        Unknown::Absent => format!("{upstream} is not in the plan"),
                        Unknown::Circle => "they wait for each other".to_owned(),
                    };
                    waiting.push(format!(
                        "{} {} ({why})",
                        name_of(plan),
                        harmless(&after.to_string())
                    ));
                }
            }
        }
        self.list("not told", waiting, to)
    }

    /// Some names behind a word, a line at most each where they are long.
    fn list(&self, what: &str, names: Vec<String>, to: &mut dyn Write) -> io::Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let line = format!("{what}: {}", names.join(", "));
        if line.chars().count() <= self.width {
            return writeln!(to, "{line}");
        }
        writeln!(to, "{what}:")?;
        for name in names.iter().take(MOST_LINES) {
            writeln!(to, "  {}", cut(name, self.width.saturating_sub(2)))?;
        }
        match names.len().saturating_sub(MOST_LINES) {
            0 => Ok(()),
            more => writeln!(to, "  … and {more} more"),
        }
    }
}

fn name_of(plan: &JobPlan) -> String {
    cut(&harmless(plan.job.id.as_str()), NAME_WIDTH)
}

/// `1 firing`, `312 firings`.
fn count(number: u64, word: &str) -> String {
    plural(usize::try_from(number).unwrap_or(usize::MAX), word)
}

/// The hours of the day that are not used, as stretches: `from 01:00 to 05:59`.
fn free_hours(used: &[bool; 24]) -> Vec<String> {
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    for (hour, _) in used.iter().enumerate().filter(|(_, used)| !**used) {
        match stretches.last_mut() {
            Some((_, last)) if *last + 1 == hour => *last = hour,
            _ => stretches.push((hour, hour)),
        }
    }
    let show = |(first, last)| format!("from {first:02}:00 to {last:02}:59");
    stretches.into_iter().map(show).collect()
}
