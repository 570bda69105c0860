//! The stream of events for a person: a header and a table of jobs, then a line for each thing
//! that happens.
//!
//! Jobs that come and go at once (a file was edited) are told in one line, once the host says
//! that it has followed the edit.

use std::io::{self, Write};
use std::path::Path;

use crate::cli::output::printer::Renderer;
use crate::cli::output::table::{JobTable, NAME_WIDTH};
use crate::cli::output::{Paint, Tone, Viewer, cut, harmless, outcome_word, plural, summary};
use crate::clock::{Jump, Timestamp};
use crate::event::{Event, Stamped};
use crate::job::{Diagnostic, JobId, Severity};
use crate::run::{Attempt, Cause, Denial, FinishedRun, Outcome, Progress};
use crate::units::{format_count, format_duration, format_size};

/// Columns that the time of day takes, with the gap after it.
const INDENT: usize = 14;

/// How many lines of a failed run's log are shown.
const LOG_LINES: usize = 3;

/// How many problems of one file are drawn in full.
const PROBLEMS_SHOWN: usize = 10;

/// How many names of one kind a line about an edit lists.
const NAMES_SHOWN: usize = 8;

/// Writes events for a person.
#[derive(Debug)]
pub(in crate::cli) struct Human {
    options: HumanOptions,
    /// What has been heard before the host started; nothing once it has.
    opening: Option<Opening>,
    /// What to add where something could not be used: nothing has run before the start.
    consolation: &'static str,
    /// The date that the last line was written under.
    day: Option<String>,
    /// Columns of the names in front of each line.
    name_width: usize,
    changes: Changes,
}

/// What the rendering depends on besides the events.
#[derive(Debug)]
pub(in crate::cli) struct HumanOptions {
    /// How to colour.
    pub(in crate::cli) paint: Paint,
    /// Columns of a line; longer ones are cut where what is lost is not needed.
    pub(in crate::cli) width: usize,
    /// Whose time of day is shown.
    pub(in crate::cli) viewer: Viewer,
    /// Whether a run's start is a line too.
    pub(in crate::cli) verbose: bool,
    /// The version of the time-zone database.
    pub(in crate::cli) tz_database: String,
    /// Whether the first lines say what there is: versions, and a table of the jobs.
    pub(in crate::cli) opening: bool,
}

#[derive(Debug, Default)]
struct Opening {
    table: JobTable,
    /// Lines for below the table.
    held: Vec<Stamped>,
}

/// Changes of definitions that no line has told yet.
#[derive(Debug, Default)]
struct Changes {
    added: Vec<JobId>,
    updated: Vec<(JobId, Vec<&'static str>)>,
    removed: Vec<JobId>,
}

impl Human {
    /// Nothing has happened yet.
    pub(in crate::cli) fn new(options: HumanOptions) -> Human {
        Human {
            options,
            opening: Some(Opening::default()),
            consolation: "",
            day: None,
            name_width: "plugins".len(),
            changes: Changes::default(),
        }
    }

    fn open(
        &mut self,
        at: Timestamp,
        plugins: usize,
        data: Option<&Path>,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        let Some(opening) = self.opening.take() else {
            return Ok(());
        };
        let options = &self.options;
        self.day = Some(options.viewer.date(at));
        if options.opening {
            header(&opening.table, at, plugins, options, to)?;
            kept(data, options.paint, to)?;
            opening.table.write(at, options, to)?;
        }
        for stamped in &opening.held {
            self.line(stamped, to)?;
        }
        self.consolation = "; what ran before goes on";
        Ok(())
    }

    /// Starts a line: the time, and whose line it is.
    fn start(&mut self, at: Timestamp, name: &str, to: &mut dyn Write) -> io::Result<()> {
        self.time(at, to)?;
        write!(
            to,
            "{:width$}  ",
            cut(&harmless(name), NAME_WIDTH),
            width = self.name_width
        )
    }

    fn time(&mut self, at: Timestamp, to: &mut dyn Write) -> io::Result<()> {
        let viewer = &self.options.viewer;
        let day = viewer.date(at);
        if self.day.as_ref() != Some(&day) {
            if self.day.is_some() {
                writeln!(to, "{}", self.options.paint.paint(Tone::Dim, &day))?;
            }
            self.day = Some(day);
        }
        write!(to, "{}  ", self.options.viewer.clock(at))
    }

    fn knows(&mut self, job: &JobId) {
        let width = job.as_str().chars().count().min(NAME_WIDTH);
        self.name_width = self.name_width.max(width);
    }

    fn line(&mut self, stamped: &Stamped, to: &mut dyn Write) -> io::Result<()> {
        let at = stamped.at;
        let paint = self.options.paint;
        match &stamped.event {
            Event::HostStarted { .. }
            | Event::JobAdded { .. }
            | Event::JobUpdated { .. }
            | Event::JobRemoved { .. } => Ok(()), // seen to by `render`
            Event::HostStopping { in_flight, grace } => {
                self.time(at, to)?;
                if *in_flight == 0 {
                    return writeln!(to, "stopping");
                }
                writeln!(
                    to,
                    "stopping: {} in flight, waiting up to {} (^C again to stop now)",
                    plural(*in_flight, "run"),
                    format_duration(*grace).replace(".0 s", " s"),
                )
            }
            Event::HostStopped { runs, skipped } => {
                self.time(at, to)?;
                writeln!(to, "stopped   {}", totals(runs, *skipped))
            }
            Event::ClockJumped { jump } => {
                self.start(at, "clock", to)?;
                let (what, by, then) = match jump {
                    Jump::Forward(by) => ("set forward by", by, "what was missed is told below"),
                    Jump::Back(by) => (
                        "set back by",
                        by,
                        "no instant runs twice, and frequent jobs go on at once",
                    ),
                    Jump::Suspended(by) => (
                        "stood still: the machine was suspended for",
                        by,
                        "what was missed is told below",
                    ),
                };
                let what = paint.paint(Tone::Warn, what);
                writeln!(to, "{what} {}; {then}", format_duration(*by))
            }
            Event::StoreFailing { error } => {
                self.start(at, "store", to)?;
                let word = paint.paint(Tone::Bad, "FAILING");
                writeln!(to, "{word}  {error}; nothing starts until it is")
            }
            Event::HookFailed {
                hook,
                attempts,
                error,
                ..
            } => {
                self.start(at, "hook", to)?;
                let word = paint.paint(Tone::Bad, "NOT SENT");
                let tries = match attempts {
                    0 => String::new(),
                    attempts => format!(" ({})", plural(*attempts as usize, "attempt")),
                };
                writeln!(
                    to,
                    "{word}  to {}{tries}: {}",
                    harmless(hook),
                    harmless(error)
                )
            }
            Event::StoreRecovered => {
                self.start(at, "store", to)?;
                writeln!(to, "records runs again; what fell due meanwhile is late")
            }
            Event::JobRejected { job, problems } => {
                let name = job.as_ref().map_or("jobs", JobId::as_str);
                self.rejected(at, name, problems, self.consolation, to)
            }
            Event::ConfigRejected { problems, .. } => {
                let consolation = "; the last good configuration stays in force";
                self.rejected(at, "config", problems, consolation, to)
            }
            Event::ConfigChanged {
                file,
                sections,
                recovered,
                refused,
                restored,
                restart,
            } => {
                self.start(at, "config", to)?;
                let mut words = vec![match (sections.is_empty(), recovered) {
                    (true, true) => "can be used again, and says what is in force".to_owned(),
                    (true, false) => "changed, and says the same".to_owned(),
                    (false, true) => format!("can be used again; changed: {}", sections.join(", ")),
                    (false, false) => format!("changed: {}", sections.join(", ")),
                }];
                if *refused > 0 {
                    let above = plural(*refused, "job");
                    words.push(
                        paint
                            .paint(Tone::Bad, format!("{above} refused"))
                            .to_string(),
                    );
                }
                if *restored > 0 {
                    words.push(format!("{} no longer refused", plural(*restored, "job")));
                }
                writeln!(to, "{} {}", harmless(file), words.join("; "))?;
                for late in restart {
                    let what = format!("{} ({})", late.setting, harmless(&late.place));
                    let rest = "counts when the host is started anew";
                    let indent = INDENT + self.name_width + 2;
                    writeln!(to, "{:indent$}{} {rest}", "", paint.paint(Tone::Warn, what))?;
                }
                Ok(())
            }
            Event::JobsReloaded {
                source, unchanged, ..
            } => self.edited(at, source, *unchanged, to),
            Event::RemovalHeld {
                source,
                removed,
                jobs,
            } => {
                self.start(at, "jobs", to)?;
                let word = paint.paint(Tone::Warn, "HELD BACK");
                let of = plural(*jobs, "job");
                let source = harmless(source);
                writeln!(
                    to,
                    "{word}  {source} would remove {removed} of {of}; they stay until a second look says the same"
                )
            }
            Event::PluginLoaded {
                name,
                digest,
                replaced,
                compiled_in,
                ..
            } => {
                self.start(at, "plugins", to)?;
                let name = harmless(name);
                match replaced {
                    Some(old) => write!(
                        to,
                        "{name} replaced (sha256 {} -> {})",
                        short(old),
                        short(digest)
                    )?,
                    None => write!(to, "{name} added (sha256 {})", short(digest))?,
                }
                match compiled_in {
                    Some(time) => write!(to, ", compiled in {}", format_duration(*time))?,
                    None => write!(to, ", compiled before")?,
                }
                writeln!(to, ", in service")
            }
            Event::PluginRejected {
                name,
                error,
                in_service,
            } => {
                self.start(at, "plugins", to)?;
                let rest = if *in_service {
                    "the version before it stays in service"
                } else {
                    "no version of it is in service"
                };
                writeln!(
                    to,
                    "{} {}: {}; {rest}",
                    harmless(name),
                    paint.paint(Tone::Bad, "REJECTED"),
                    harmless(error),
                )
            }
            Event::PluginLocked {
                name,
                digest,
                replaced,
            } => {
                self.start(at, "plugins", to)?;
                let name = harmless(name);
                match replaced {
                    Some(old) => writeln!(
                        to,
                        "{name} changed in the lock file (sha256 {} -> {}): it imports no more than before",
                        short(old),
                        short(digest)
                    ),
                    None => writeln!(
                        to,
                        "{name} is new: accepted into the lock file (sha256 {})",
                        short(digest)
                    ),
                }
            }
            Event::PluginRemoved { name } => {
                self.start(at, "plugins", to)?;
                writeln!(to, "{} removed", harmless(name))
            }
            Event::RunStarted { attempt } => self.started(at, attempt, to),
            Event::RunDenied { attempt, denial } => self.denied(at, attempt, denial, to),
            Event::RunProgress { attempt, progress } => {
                self.start(at, attempt.run.job.id.as_str(), to)?;
                writeln!(to, "progress   {}", progress_words(progress))
            }
            Event::RunRetrying { run, next_at } => self.retrying(at, run, *next_at, to),
            Event::RunFinished { run } => self.finished(at, run, to),
            Event::RunSkipped { job, reason, .. } => {
                self.start(at, job.id.as_str(), to)?;
                let word = paint.paint(Tone::Warn, "skipped");
                writeln!(to, "{word}    {}", harmless(&reason.to_string()))
            }
        }
    }

    /// A closed door: what was behind it, and what would open it, below.
    fn denied(
        &mut self,
        at: Timestamp,
        attempt: &Attempt,
        denial: &Denial,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        let job = &attempt.run.job;
        self.start(at, job.id.as_str(), to)?;
        let word = self.options.paint.paint(Tone::Warn, "denied");
        writeln!(to, "{word}     {}", harmless(&denial.what))?;
        let indent = " ".repeat("13:10:00.412  ".len() + self.name_width + 2 + "denied     ".len());
        if let Some(grant) = &denial.grant {
            write!(to, "{indent}to allow it: {}", harmless(grant))?;
            if job.origin.file.is_empty() {
                writeln!(to)?;
            } else {
                writeln!(to, "   (job `{}`, {})", job.id, job.origin)?;
            }
        }
        match &denial.ceiling {
            Some(ceiling) => writeln!(to, "{indent}{}", harmless(ceiling)),
            None => Ok(()),
        }
    }

    fn rejected(
        &mut self,
        at: Timestamp,
        name: &str,
        problems: &[Diagnostic],
        consolation: &str,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        let paint = self.options.paint;
        let errors = problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .count();
        self.start(at, name, to)?;
        if errors == 0 {
            let word = paint.paint(Tone::Warn, "warning");
            writeln!(to, "{word}    {}", plural(problems.len(), "remark"))?;
        } else {
            let word = paint.paint(Tone::Bad, "REJECTED");
            let errors = plural(errors, "error");
            writeln!(to, "{word}   {errors}{consolation}")?;
        }
        for problem in problems.iter().take(PROBLEMS_SHOWN) {
            writeln!(to, "{}", problem.render(paint.on).trim_end())?;
        }
        match problems.len().saturating_sub(PROBLEMS_SHOWN) {
            0 => Ok(()),
            more => writeln!(to, "… and {more} more: `quarterjack check` shows all"),
        }
    }

    fn started(&mut self, at: Timestamp, attempt: &Attempt, to: &mut dyn Write) -> io::Result<()> {
        if !self.options.verbose {
            return Ok(());
        }
        self.start(at, attempt.run.job.id.as_str(), to)?;
        writeln!(to, "{}", self.options.paint.paint(Tone::Dim, "started"))
    }

    fn finished(&mut self, at: Timestamp, run: &FinishedRun, to: &mut dyn Write) -> io::Result<()> {
        let execution = &run.execution;
        self.start(at, run.attempt.run.job.id.as_str(), to)?;
        let (word, tone) = outcome_word(execution.outcome);
        let time = format_duration(execution.elapsed);
        // A long word takes its room from the time after it, so that what follows stays in line.
        let time_width = 19_usize.saturating_sub(word.len().max(9) + 2);
        let head = format!(
            "{time:time_width$}  {:>10}  {:>9}",
            format!("{} fuel", format_count(execution.fuel_used)),
            format_size(execution.memory_peak),
        );
        let word = self.options.paint.paint(tone, format!("{word:9}"));
        let used = INDENT + self.name_width + 2 + 19 + 2 + 10 + 2 + 9 + 3;
        let room = self.options.width.saturating_sub(used).max(12);
        let mut tail = summary::result(run, room);
        if run.attempt.run.cause == Cause::CatchUp {
            let scheduled = self.options.viewer.clock(run.attempt.run.scheduled_at);
            tail = format!("{tail}   (for {scheduled})")
                .trim_start()
                .to_owned();
        }
        if run.attempt.number > 1 {
            tail = format!("{tail}   ({})", attempt_of(&run.attempt))
                .trim_start()
                .to_owned();
        }
        writeln!(to, "{}", format!("{word}  {head}   {tail}").trim_end())?;
        if matches!(execution.outcome, Outcome::Succeeded | Outcome::Cancelled) {
            return Ok(());
        }
        self.last_lines(run, to)
    }

    /// An attempt that failed, and when the next one is due.
    fn retrying(
        &mut self,
        at: Timestamp,
        run: &FinishedRun,
        next_at: Timestamp,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        self.start(at, run.attempt.run.job.id.as_str(), to)?;
        let word = self.options.paint.paint(Tone::Warn, "retrying");
        let ended = outcome_word(run.execution.outcome).0.to_lowercase();
        let next = self.options.viewer.clock(next_at);
        let room = self.options.width.saturating_sub(INDENT).max(24);
        writeln!(
            to,
            "{word}   {} {ended}: {}; the next one at {next}",
            attempt_of(&run.attempt),
            summary::result(run, room)
        )?;
        self.last_lines(run, to)
    }

    /// The last lines of a run's log, below.
    fn last_lines(&self, run: &FinishedRun, to: &mut dyn Write) -> io::Result<()> {
        let execution = &run.execution;
        let room = self.options.width.saturating_sub(INDENT + 2).max(24);
        for line in summary::last_lines(&execution.log, LOG_LINES) {
            let line = self.options.paint.paint(Tone::Dim, cut(&line, room));
            writeln!(to, "{:INDENT$}| {line}", "")?;
        }
        Ok(())
    }

    fn edited(
        &mut self,
        at: Timestamp,
        source: &str,
        unchanged: usize,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        let changes = std::mem::take(&mut self.changes);
        if changes.is_empty() {
            return Ok(()); // only broken definitions changed, and each has told its own story
        }
        self.start(at, "jobs", to)?;
        writeln!(
            to,
            "{} changed:{}  = {unchanged} unchanged",
            harmless(source),
            changes.in_words()
        )
    }
}

impl Renderer for Human {
    fn render(&mut self, stamped: &Stamped, to: &mut dyn Write) -> io::Result<()> {
        match &stamped.event {
            Event::JobAdded { job, .. } | Event::JobUpdated { job, .. } => self.knows(&job.id),
            Event::JobRejected { job: Some(job), .. } => self.knows(job),
            _ => {}
        }
        if let Some(opening) = &mut self.opening {
            match &stamped.event {
                Event::HostStarted { plugins, data, .. } => {
                    self.open(stamped.at, *plugins, data.as_deref(), to)?;
                }
                Event::JobAdded { job, next } | Event::JobUpdated { job, next, .. } => {
                    opening.table.set(job, *next);
                }
                Event::JobRemoved { job } => opening.table.remove(&job.id),
                // The table and the header say as much.
                Event::PluginLoaded { .. } | Event::JobsReloaded { .. } => {}
                _ => opening.held.push(stamped.clone()),
            }
            return Ok(());
        }
        match &stamped.event {
            Event::JobAdded { job, .. } => self.changes.added.push(job.id.clone()),
            Event::JobUpdated { job, fields, .. } => {
                self.changes.updated.push((job.id.clone(), fields.clone()));
            }
            Event::JobRemoved { job } => self.changes.removed.push(job.id.clone()),
            Event::HostStopped { .. } => {
                self.untold(stamped.at, to)?;
                self.line(stamped, to)?;
            }
            _ => self.line(stamped, to)?,
        }
        Ok(())
    }

    fn finish(&mut self, to: &mut dyn Write) -> io::Result<()> {
        // A host that never came to fire has still said why.
        if let Some(opening) = self.opening.take() {
            for stamped in &opening.held {
                self.line(stamped, to)?;
            }
        }
        Ok(())
    }
}

impl Human {
    /// Tells the changes that no summary came for.
    fn untold(&mut self, at: Timestamp, to: &mut dyn Write) -> io::Result<()> {
        let changes = std::mem::take(&mut self.changes);
        if changes.is_empty() {
            return Ok(());
        }
        self.start(at, "jobs", to)?;
        writeln!(to, "changed:{}", changes.in_words())
    }
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.updated.is_empty() && self.removed.is_empty()
    }

    fn in_words(&self) -> String {
        let id = |id: &JobId| harmless(id.as_str());
        let updated = |(job, fields): &(JobId, Vec<&'static str>)| {
            if fields.is_empty() {
                id(job)
            } else {
                format!("{} ({})", id(job), fields.join(", "))
            }
        };
        let mut words = String::new();
        for (sign, names) in [
            ('+', names(&self.added, id)),
            ('~', names(&self.updated, updated)),
            ('-', names(&self.removed, id)),
        ] {
            if !names.is_empty() {
                words.push_str(&format!(" {sign} {names} "));
            }
        }
        words.truncate(words.trim_end().len());
        words
    }
}

fn names<T>(jobs: &[T], name: impl Fn(&T) -> String) -> String {
    let shown: Vec<String> = jobs.iter().take(NAMES_SHOWN).map(name).collect();
    match jobs.len().saturating_sub(NAMES_SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `attempt 2 of 3`.
fn attempt_of(attempt: &Attempt) -> String {
    format!("attempt {} of {}", attempt.number, attempt.run.max_attempts)
}

/// How far a run has come, as in `40 %   400 of 1000   reading`.
pub(in crate::cli) fn progress_words(progress: &Progress) -> String {
    let mut parts = Vec::new();
    parts.extend(progress.percent().map(|percent| format!("{percent} %")));
    parts.push(match progress.total {
        Some(total) => format!("{} of {total}", progress.done),
        None => progress.done.to_string(),
    });
    if !progress.note.is_empty() {
        parts.push(harmless(&progress.note));
    }
    parts.join("   ")
}

/// What there is, in one line.
fn header(
    jobs: &JobTable,
    at: Timestamp,
    plugins: usize,
    options: &HumanOptions,
    to: &mut dyn Write,
) -> io::Result<()> {
    write!(
        to,
        "{} {}   {}   {}   tz database {}",
        options.paint.paint(Tone::Strong, "quarterjack"),
        env!("CARGO_PKG_VERSION"),
        plural(jobs.len(), "job"),
        plural(plugins, "plugin"),
        options.tz_database,
    )?;
    if !options.viewer.is_utc() {
        write!(to, "   times in {}", options.viewer.zone_name(at))?;
    }
    writeln!(to)
}

/// Where what happens is kept, in one line.
fn kept(data: Option<&Path>, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
    match data {
        Some(data) => {
            let place = harmless(&data.display().to_string());
            writeln!(to, "{}", paint.paint(Tone::Dim, format!("data in {place}")))
        }
        None => {
            let word = paint.paint(Tone::Warn, "nothing is kept");
            writeln!(
                to,
                "{word} (--ephemeral): history, schedules and the states of jobs end with this host"
            )
        }
    }
}

/// `41 runs: 38 ok, 3 timed out; 2 skipped`.
fn totals(runs: &[(Outcome, u64)], skipped: u64) -> String {
    let total: u64 = runs.iter().map(|(_, count)| count).sum();
    let mut words = plural(usize::try_from(total).unwrap_or(usize::MAX), "run");
    let kinds: Vec<String> = runs
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(outcome, count)| {
            let word = outcome_word(*outcome).0.to_lowercase();
            format!("{count} {word}")
        })
        .collect();
    if !kinds.is_empty() {
        words = format!("{words}: {}", kinds.join(", "));
    }
    if skipped > 0 {
        words = format!("{words}; {skipped} skipped");
    }
    words
}

/// The beginning of a digest: enough to tell two apart.
fn short(digest: &str) -> String {
    format!("{}…", digest.get(..8).unwrap_or(digest))
}

#[cfg(test)]
#[path = "human_tests.rs"]
mod tests;
