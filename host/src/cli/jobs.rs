//! `quarterjack jobs`: how each job stands; and what the host is given to keep.

mod definitions;
mod history;

use std::collections::HashMap;
use std::io::{self, Write};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::client::{Client, NoAnswer};
use super::history::{Data, NAME_WIDTH, Past, View, short};
use super::output::grid::{Cell, Column, Grid};
use super::output::json::json_line;
use super::output::{Screen, Tone, ahead, cut, harmless, status_word};
use super::{Exit, Refusal, remark};
use crate::clock::{Timestamp, rfc3339_option};
use crate::control::LiveJob;
use crate::job::{JobId, Scope};
use crate::record::{JobSummary, Kind, LastRun};
use crate::run::RunId;

/// The arguments of `jobs`.
#[derive(Debug, Args)]
#[command(after_help = "\
NEXT is known while a host runs. FAILED counts the runs that have failed since one succeeded; cancelled ones do not count.\n\
`quarterjack runs JOB` lists the runs of one of them.")]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Jobs {
    #[command(subcommand)]
    change: Option<definitions::Change>,
    #[command(flatten)]
    data: Data,
    /// Print one JSON object a line for each
    #[arg(long)]
    json: bool,
}

/// A job as JSON.
#[derive(Serialize)]
struct JobJson<'a> {
    job: &'a JobId,
    in_service: bool,
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_by: Option<&'a Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<LastJson>,
    #[serde(with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    last_success_at: Option<Timestamp>,
    #[serde(with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    next_at: Option<Timestamp>,
    failures: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    creator: Option<&'a JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<usize>,
}

#[derive(Serialize)]
struct LastJson {
    run: RunId,
    #[serde(with = "rfc3339_option")]
    at: Option<Timestamp>,
    outcome: &'static str,
}

impl LastJson {
    fn of(last: &LastRun) -> LastJson {
        LastJson {
            run: last.id,
            at: Some(last.at),
            outcome: Kind::of(&last.status).as_str(),
        }
    }
}

impl<'a> JobJson<'a> {
    fn of(Standing { job, live }: &'a Standing) -> JobJson<'a> {
        let live = live.as_ref();
        JobJson {
            paused_by: live.and_then(|live| live.paused_by.as_ref()),
            creator: live.and_then(|live| live.creator.as_ref()),
            enabled: live.map(|live| live.enabled),
            in_flight: live.map(|live| live.in_flight),
            waiting: live.map(|live| live.waiting),
            job: &job.id,
            in_service: job.in_service,
            paused: job.paused,
            last_run: job.last_run.as_ref().map(LastJson::of),
            last_success_at: job.last_success,
            next_at: job.next,
            failures: job.failures,
        }
    }
}

/// A job, as the history and the running host have it.
struct Standing {
    job: JobSummary,
    /// Nothing if no host runs, or it does not have the job.
    live: Option<LiveJob>,
}

/// What the host of `GET /jobs` answers.
#[derive(Deserialize)]
struct Live {
    jobs: Vec<LiveJob>,
}

impl Jobs {
    /// Lists them.
    pub(super) fn execute(mut self, screen: Screen) -> Result<Exit, Refusal> {
        if let Some(change) = self.change.take() {
            return change.execute(screen);
        }
        let past = self.data.open()?;
        let live = match Client::of(&self.data.place()?).get::<Live>(&["jobs"]) {
            Ok(live) => Some(live.jobs),
            Err(NoAnswer::NoHost) => None,
            Err(why @ (NoAnswer::Refused(_) | NoAnswer::Trouble(_))) => {
                let why = Client::of(&self.data.place()?).explain(why, "").message;
                remark(&format!("when jobs are due is not known: {why}"));
                None
            }
        };
        let mut out = io::BufWriter::new(io::stdout().lock());
        let remarks = self.tell(&past, live, &View::of(screen), &mut out)?;
        out.flush()?;
        remarks.iter().for_each(|it| remark(it));
        Ok(Exit::Ok)
    }

    fn tell(
        &self,
        past: &Past,
        live: Option<Vec<LiveJob>>,
        view: &View,
        to: &mut dyn Write,
    ) -> Result<Vec<String>, Refusal> {
        let jobs = past.history.jobs().map_err(Refusal::failure)?;
        if jobs.is_empty() && live.as_ref().is_none_or(Vec::is_empty) {
            return Ok(vec![format!(
                "no jobs yet in the history in {}",
                past.place
            )]);
        }
        let mut remarks = Vec::new();
        if live.is_none() {
            // Which jobs these are, only a host knows.
            let pauses = past.history.pauses().map_err(Refusal::failure)?;
            let groups = pauses.iter().filter_map(|pause| match &pause.scope {
                Scope::Group(group) => Some(harmless(group)),
                Scope::All | Scope::Job(_) => None,
            });
            remarks.extend(groups.map(|group| format!("the group {group} is paused")));
        }
        let mut live: HashMap<JobId, LiveJob> = (live.into_iter().flatten())
            .map(|live| (live.job.clone(), live))
            .collect();
        let mut jobs: Vec<Standing> = jobs
            .into_iter()
            .map(|job| Standing::of(job, &mut live))
            .collect();
        // Those that have only just come have no records yet.
        let new: Vec<JobId> = live.keys().cloned().collect();
        jobs.extend(
            new.into_iter()
                .map(|id| Standing::of(nothing_of(id), &mut live)),
        );
        jobs.sort_by(|one, other| one.job.id.cmp(&other.job.id));
        if self.json {
            for job in &jobs {
                json_line(&JobJson::of(job), to)?;
            }
        } else {
            table(&jobs, view).write(view.paint, view.width, to)?;
        }
        Ok(remarks)
    }
}

/// A job that has no records.
fn nothing_of(id: JobId) -> JobSummary {
    JobSummary {
        id,
        in_service: false,
        paused: false,
        last_run: None,
        last_success: None,
        next: None,
        failures: 0,
    }
}

impl Standing {
    /// A job of the history, with what the host says of it.
    fn of(mut job: JobSummary, live: &mut HashMap<JobId, LiveJob>) -> Standing {
        let live = live.remove(&job.id);
        if let Some(live) = &live {
            job.in_service = true;
            job.paused = live.paused_by.is_some();
            job.next = live.next_at;
        }
        Standing { job, live }
    }

    fn state(&self) -> Cell {
        let by = self.live.as_ref().and_then(|live| live.paused_by.as_ref());
        match (self.job.in_service, self.job.paused) {
            (false, _) => Cell::toned(Tone::Dim, "gone"),
            (true, true) => Cell::toned(
                Tone::Warn,
                match by {
                    Some(Scope::All) => "paused (all)".to_owned(),
                    Some(Scope::Group(group)) => {
                        format!("paused ({})", cut(&harmless(group), NAME_WIDTH))
                    }
                    Some(Scope::Job(_)) | None => "paused".to_owned(),
                },
            ),
            (true, false) if self.live.as_ref().is_some_and(|live| !live.enabled) => {
                Cell::toned(Tone::Dim, "disabled")
            }
            (true, false) => "in service".into(),
        }
    }
}

fn table(jobs: &[Standing], view: &View) -> Grid {
    let mut grid = Grid::new([
        Column::left("JOB").at_most(NAME_WIDTH),
        Column::left("STATE"),
        Column::left("NEXT"),
        Column::left("LAST"),
        Column::left("OUTCOME"),
        Column::right("FAILED"),
        Column::left("LAST SUCCESS"),
        Column::left("RUN").spare(),
    ]);
    for standing in jobs {
        let (job, state) = (&standing.job, standing.state());
        let (last, outcome, run) = match &job.last_run {
            None => ("-".to_owned(), "".into(), String::new()),
            Some(last) => {
                let (word, tone) = status_word(&last.status);
                (view.when(last.at), Cell::toned(tone, word), short(last.id))
            }
        };
        let failures = match job.failures {
            0 => "0".into(),
            failures => Cell::toned(Tone::Bad, failures.to_string()),
        };
        let success = job
            .last_success
            .map_or("never".to_owned(), |at| view.when(at));
        grid.row([
            harmless(job.id.as_str()).into(),
            state,
            job.next
                .map_or("-".to_owned(), |at| ahead(view.now, at))
                .into(),
            last.into(),
            outcome,
            failures,
            if job.last_run.is_some() {
                success
            } else {
                String::new()
            }
            .into(),
            run.into(),
        ]);
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::super::history::fixtures::{at, nothing, past, seen, view};
    use super::*;
    use crate::cli::output::columns;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        jobs: Jobs,
    }

    fn listed(past: &Past, line: &[&str], width: usize) -> String {
        let line = Line::try_parse_from([&["jobs"], line].concat()).unwrap();
        seen(|to| line.jobs.tell(past, None, &view(width), to))
    }

    #[test]
    fn each_job_is_a_line() {
        insta::assert_snapshot!(listed(&past(), &[], 140), @"
        JOB                       STATE       NEXT            LAST                OUTCOME        FAILED  LAST SUCCESS         RUN
        Grüße 你好 �evil and so…  gone        -               yesterday 23:59:59  OUT OF MEMORY       1  never                01M82…C5E5
        backup                    in service  in 13 h 54 min  today 13:04:00      running             0  Sat 21 Nov 10:30:05  01M84…C5E2
        new                       in service  in 1 s          -                                       0
        report                    in service  in 4 min 30 s   today 13:05:00      ok                  0  today 13:05:00       01M84…C5EH
        tidy                      paused      -               today 13:05:29      waiting             0  never                01M84…C5E7
        ");
        insta::assert_snapshot!(listed(&nothing(), &[], 140), @"(no jobs yet in the history in DIR)");
        for width in [40, 60, 80, 100] {
            for line in listed(&past(), &[], width).lines() {
                assert!(columns(line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_running_host_knows_more() {
        let live = |id: &str, paused_by, enabled| LiveJob {
            creator: None,
            job: id.into(),
            enabled,
            next_at: Some(at("2026-11-23T12:05:40Z")).filter(|_| enabled),
            group: Some("db".to_owned()),
            paused_by,
            in_flight: 1,
            waiting: 2,
        };
        let told = |line: &[&str]| {
            let line = Line::try_parse_from([&["jobs"], line].concat()).unwrap();
            let live = vec![
                live("backup", Some(Scope::All), true),
                live("new", None, false),
                live("report", Some(Scope::Group("db".into())), true),
                live("tidy", Some(Scope::Job("tidy".into())), true),
            ];
            seen(|to| line.jobs.tell(&past(), Some(live), &view(100), to))
        };
        insta::assert_snapshot!(told(&[]), @"
        JOB         STATE         NEXT     LAST                OUTCOME        FAILED  LAST SUCCESS
        Grüße 你…   gone          -        yesterday 23:59:59  OUT OF MEMORY       1  never
        backup      paused (all)  in 10 s  today 13:04:00      running             0  Sat 21 Nov 10:30:05
        new         disabled      -        -                                       0
        report      paused (db)   in 10 s  today 13:05:00      ok                  0  today 13:05:00
        tidy        paused        in 10 s  today 13:05:29      waiting             0  never
        ");
        insta::assert_snapshot!(told(&["--json"]).lines().nth(3).unwrap(), @r#"{"job":"report","in_service":true,"paused":true,"paused_by":{"group":"db"},"last_run":{"run":"01M844Q4EPR3D9T6B4RX2VC5EH","at":"2026-11-23T12:05:00.001Z","outcome":"succeeded"},"last_success_at":"2026-11-23T12:05:00.042Z","next_at":"2026-11-23T12:05:40Z","failures":0,"enabled":true,"in_flight":1,"waiting":2}"#);
    }

    #[test]
    fn programs_get_an_object_for_each() {
        // Rust does not let the override stand in a source.
        let text = listed(&past(), &["--json"], 80).replace('\u{202e}', "RLO");
        insta::assert_snapshot!(text, @r#"
        {"job":"Grüße 你好 RLOevil and so on for a while","in_service":false,"paused":false,"last_run":{"run":"01M82QSQW2R3D9T6B4RX2VC5E5","at":"2026-11-22T22:59:59.501Z","outcome":"out_of_memory"},"failures":1}
        {"job":"backup","in_service":true,"paused":false,"last_run":{"run":"01M844N9VPR3D9T6B4RX2VC5E2","at":"2026-11-23T12:04:00.001Z","outcome":"running"},"last_success_at":"2026-11-21T09:30:05.200Z","next_at":"2026-11-24T02:00:00Z","failures":0}
        {"job":"new","in_service":true,"paused":false,"next_at":"2026-11-23T12:05:31Z","failures":0}
        {"job":"report","in_service":true,"paused":false,"last_run":{"run":"01M844Q4EPR3D9T6B4RX2VC5EH","at":"2026-11-23T12:05:00.001Z","outcome":"succeeded"},"last_success_at":"2026-11-23T12:05:00.042Z","next_at":"2026-11-23T12:10:00Z","failures":0}
        {"job":"tidy","in_service":true,"paused":true,"last_run":{"run":"01M844R1R6R3D9T6B4RX2VC5E7","at":"2026-11-23T12:05:29.990Z","outcome":"recorded"},"failures":0}
        "#);
    }
}
