//! `quarterjack jobs`: how each job stands.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::history::{Data, NAME_WIDTH, Past, View, short};
use super::output::grid::{Cell, Column, Grid};
use super::output::json::json_line;
use super::output::{Screen, Tone, ahead, harmless, status_word};
use super::{Exit, Refusal, remark};
use crate::clock::{Timestamp, rfc3339_option};
use crate::job::JobId;
use crate::record::{JobSummary, Kind, LastRun};
use crate::run::RunId;

/// The arguments of `jobs`.
#[derive(Debug, Args)]
#[command(after_help = "\
FAILED counts the runs that have failed since one succeeded; cancelled ones do not count.\n\
`quarterjack runs JOB` lists the runs of one of them.")]
pub(super) struct Jobs {
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
    last_run: Option<LastJson>,
    #[serde(with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    last_success_at: Option<Timestamp>,
    #[serde(with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    next_at: Option<Timestamp>,
    failures: u64,
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
    fn of(job: &'a JobSummary) -> JobJson<'a> {
        JobJson {
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

impl Jobs {
    /// Lists them.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let past = self.data.open()?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        let remarks = self.tell(&past, &View::of(screen), &mut out)?;
        out.flush()?;
        remarks.iter().for_each(|it| remark(it));
        Ok(Exit::Ok)
    }

    fn tell(&self, past: &Past, view: &View, to: &mut dyn Write) -> Result<Vec<String>, Refusal> {
        let jobs = past.history.jobs().map_err(Refusal::failure)?;
        if jobs.is_empty() {
            return Ok(vec![format!(
                "no jobs yet in the history in {}",
                past.place
            )]);
        }
        if self.json {
            for job in &jobs {
                json_line(&JobJson::of(job), to)?;
            }
        } else {
            table(&jobs, view).write(view.paint, view.width, to)?;
        }
        Ok(Vec::new())
    }
}

fn table(jobs: &[JobSummary], view: &View) -> Grid {
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
    for job in jobs {
        let state = match (job.in_service, job.paused) {
            (true, false) => "in service".into(),
            (true, true) => Cell::toned(Tone::Warn, "paused"),
            (false, _) => Cell::toned(Tone::Dim, "gone"),
        };
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
    use super::super::history::fixtures::{nothing, past, seen, view};
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
        seen(|to| line.jobs.tell(past, &view(width), to))
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
