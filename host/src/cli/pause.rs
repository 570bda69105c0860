//! `quarterjack pause` and `quarterjack resume`: jobs that are held back, and let go on.

use std::io::{self, Write as _};

use clap::Args;

use super::client::{Client, NoAnswer};
use super::history::Data;
use super::output::harmless;
use super::output::json::json_line;
use super::{Exit, Refusal, remark};
use crate::app;
use crate::clock::{Clock as _, SystemClock};
use crate::control::PauseSet;
use crate::job::{JobId, Scope};

/// How many other pauses are named.
const LISTED: usize = 6;

/// What is to be paused, or to go on.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// A job
    #[arg(value_name = "JOB", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    job: Option<String>,
    /// The jobs of a group
    #[arg(long, value_name = "GROUP", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    group: Option<String>,
    /// All jobs
    #[arg(long)]
    all: bool,
}

impl What {
    fn scope(&self) -> Scope {
        match (&self.job, &self.group) {
            (Some(job), _) => Scope::Job(JobId::from(job.as_str())),
            (None, Some(group)) => Scope::Group(group.as_str().into()),
            (None, None) => Scope::All,
        }
    }
}

/// The arguments of `pause`.
#[derive(Debug, Args)]
#[command(after_help = "  \
quarterjack pause report\n  \
quarterjack pause --group db\n\
What falls due while a job is paused is recorded as skipped; `backfill` makes up for it. Runs that\n\
are running or wait for their turn go on, and `trigger` starts a paused job all the same. A pause\n\
outlives the host, and may be set while none is running.")]
pub(super) struct Pause {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    data: Data,
    /// Print a JSON object that says what has become of it
    #[arg(long)]
    json: bool,
}

impl Pause {
    /// Pauses it.
    pub(super) fn execute(self) -> Result<Exit, Refusal> {
        set(&self.what, true, &self.data, self.json)
    }
}

/// The arguments of `resume`.
#[derive(Debug, Args)]
#[command(after_help = "  \
quarterjack resume report\n  \
quarterjack resume --all\n\
A job goes on when it, its group and all jobs do. What was skipped meanwhile stays so: `backfill`\n\
makes up for it.")]
pub(super) struct Resume {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    data: Data,
    /// Print a JSON object that says what has become of it
    #[arg(long)]
    json: bool,
}

impl Resume {
    /// Lets it go on.
    pub(super) fn execute(self) -> Result<Exit, Refusal> {
        set(&self.what, false, &self.data, self.json)
    }
}

fn set(what: &What, paused: bool, data: &Data, json: bool) -> Result<Exit, Refusal> {
    let scope = what.scope();
    let verb = if paused { "pause" } else { "resume" };
    let place = data.place()?;
    let client = Client::of(&place);
    let path = match &scope {
        Scope::All => vec![verb],
        Scope::Group(group) => vec!["groups", group, verb],
        Scope::Job(job) => vec!["jobs", job.as_str(), verb],
    };
    let told = match client.post(&path, &serde_json::Map::new()) {
        Ok(told) => told,
        Err(NoAnswer::NoHost) => {
            let past = data.open()?;
            let pauses = past.history.pauses().map_err(Refusal::failure)?;
            // What is gone may still be paused.
            if let Scope::Job(job) = &scope
                && !pauses.iter().any(|pause| pause.scope == scope)
            {
                past.knows(job)?;
            }
            let now = SystemClock.now();
            let changed = app::set_paused(&place, &scope, paused, now).map_err(|error| {
                // Held, and nobody listens.
                Refusal::failure(format_args!(
                    "{error}; it does not listen on its control socket, as its log says"
                ))
            })?;
            let others: Vec<Scope> = (pauses.into_iter().map(|pause| pause.scope))
                .filter(|other| *other != scope)
                .collect();
            let held_by = others.first().filter(|it| **it == Scope::All).cloned();
            let is_all = !paused && scope == Scope::All;
            PauseSet {
                scope,
                paused,
                changed,
                jobs: None,
                held_by,
                still_paused: if is_all { others } else { Vec::new() },
            }
        }
        Err(why) => return Err(client.explain(why, "")),
    };
    let mut out = io::stdout().lock();
    if json {
        json_line(&told, &mut out)?;
    } else {
        writeln!(out, "{}", words(&told))?;
    }
    out.flush()?;
    if told.jobs.is_none() {
        remark(&format!(
            "no host is running on {}: it holds from when one starts",
            place.display()
        ));
    }
    Ok(Exit::Ok)
}

fn words(told: &PauseSet) -> String {
    let scope = harmless(&told.scope.to_string());
    let is = match told.scope {
        Scope::All => "are",
        Scope::Group(_) | Scope::Job(_) => "is",
    };
    let mut text = match (told.paused, told.changed) {
        (true, true) => format!("{scope} {is} paused"),
        (true, false) => format!("{scope} {is} paused already"),
        (false, true) => format!("{scope} {is} paused no more"),
        (false, false) if told.scope == Scope::All => "nothing paused all jobs".to_owned(),
        (false, false) => format!("{scope} {is} not paused"),
    };
    match (&told.scope, told.jobs) {
        (Scope::Job(_), Some(0)) => text.push_str(" (no such job is in service)"),
        (Scope::Job(_), _) | (_, None) => {}
        (_, Some(1)) => text.push_str(" (1 job)"),
        (_, Some(jobs)) => text.push_str(&format!(" ({jobs} jobs)")),
    }
    if let Some(holder) = told.held_by.as_ref().filter(|_| !told.paused) {
        let (holder, are) = match holder {
            Scope::All => ("all jobs".to_owned(), "are"),
            other => (harmless(&other.to_string()), "is"),
        };
        text.push_str(&format!("; but {holder} {are} paused"));
    }
    for (index, scope) in told.still_paused.iter().take(LISTED).enumerate() {
        let before = if index == 0 { "; still paused: " } else { ", " };
        text.push_str(&format!("{before}{}", harmless(&scope.to_string())));
    }
    if told.still_paused.len() > LISTED {
        text.push_str(", …");
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        what: What,
    }

    #[test]
    fn one_thing_is_paused_at_a_time() {
        let scope = |line: &[&str]| {
            let line = Line::try_parse_from([&["pause"], line].concat());
            line.map(|line| line.what.scope()).ok()
        };
        assert_eq!(scope(&["a"]), Some(Scope::Job("a".into())));
        assert_eq!(scope(&["--group", "g"]), Some(Scope::Group("g".into())));
        assert_eq!(scope(&["--all"]), Some(Scope::All));
        for wrong in [&[][..], &["a", "--all"], &["a", "--group", "g"], &[""]] {
            assert_eq!(scope(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_became_of_it_is_a_sentence() {
        let job = || Scope::Job("report".into());
        let group = || Scope::Group("db".into());
        let mut said = String::new();
        for (scope, paused, changed, jobs, held_by) in [
            (job(), true, true, Some(1), None),
            (job(), true, false, None, None),
            (job(), false, true, Some(1), Some(group())),
            (job(), false, false, Some(1), Some(Scope::All)),
            (job(), false, true, Some(0), None),
            (group(), true, true, Some(1), Some(Scope::All)),
            (group(), false, true, Some(3), Some(Scope::All)),
            (Scope::All, true, true, Some(12), None),
            (Scope::All, false, false, None, None),
        ] {
            said.push_str(&words(&PauseSet {
                paused,
                changed,
                jobs,
                still_paused: match scope {
                    Scope::All if !paused => vec![group(), job()],
                    _ => Vec::new(),
                },
                held_by,
                scope,
            }));
            said.push('\n');
        }
        insta::assert_snapshot!(said, @"
        the job report is paused
        the job report is paused already
        the job report is paused no more; but the group db is paused
        the job report is not paused; but all jobs are paused
        the job report is paused no more (no such job is in service)
        the group db is paused (1 job)
        the group db is paused no more (3 jobs); but all jobs are paused
        all jobs are paused (12 jobs)
        nothing paused all jobs; still paused: the group db, the job report
        ");
    }
}
