//! `quarterjack check`: every mistake in job files, triggers, plugins and grants, at once.
//!
//! The problems go to standard error, as a compiler's do; with `--json` one object goes to
//! standard output.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::definitions::{JobFiles, Places};
use super::options::{Cache, Ceiling, Config, draw};
use super::output::{Screen, plural};
use super::{Exit, Refusal, remark};
use crate::app::{self, CheckReport};
use crate::clock::SystemClock;
use crate::job::Diagnostic;

/// The arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    files: JobFiles,
    #[command(flatten)]
    cache: Cache,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    ceiling: Ceiling,
}

#[derive(Debug, Serialize)]
struct ReportJson<'a> {
    errors: usize,
    warnings: usize,
    jobs: usize,
    good: usize,
    problems: &'a [Diagnostic],
}

impl Check {
    /// Checks, and exits with 1 if there is a mistake.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let Places { jobs, plugins } = self.files.places();
        let report = app::check(
            &jobs,
            &plugins,
            self.config.file(self.ceiling.flags()),
            &self.cache.place(),
            &SystemClock,
        )
        .map_err(Refusal::failure)?;
        if self.json {
            let mut out = io::stdout().lock();
            write_json(&report, &mut out)?;
            out.flush()?;
        } else {
            draw(&report.diagnostics, screen);
            remark(&conclusion(&report));
        }
        Ok(if report.errors() == 0 {
            Exit::Ok
        } else {
            Exit::Failure
        })
    }
}

fn write_json(report: &CheckReport, to: &mut dyn Write) -> io::Result<()> {
    let json = ReportJson {
        errors: report.errors(),
        warnings: report.warnings(),
        jobs: report.jobs,
        good: report.good,
        problems: &report.diagnostics,
    };
    writeln!(to, "{}", serde_json::to_string(&json)?)
}

/// `2 errors, 1 warning; 3 of 5 jobs are good and would run`.
fn conclusion(report: &CheckReport) -> String {
    let found = match (report.errors(), report.warnings()) {
        (0, 0) => "no mistakes".to_owned(),
        (errors, 0) => plural(errors, "error"),
        (0, warnings) => plural(warnings, "warning"),
        (errors, warnings) => format!(
            "{}, {}",
            plural(errors, "error"),
            plural(warnings, "warning")
        ),
    };
    let (good, jobs) = (report.good, report.jobs);
    match (good, jobs) {
        (_, 0) if report.errors() > 0 => format!("{found}; no job can be read"),
        (_, 0) => format!("{found}; there are no jobs"),
        (1, 1) => format!("{found}; the one job is good and would run"),
        (_, _) if good == jobs => format!("{found}; all {jobs} jobs are good and would run"),
        (0, 1) => format!("{found}; the one job would not run"),
        (1, _) => format!("{found}; 1 of {jobs} jobs is good and would run"),
        _ => format!("{found}; {good} of {jobs} jobs are good and would run"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::manifest::Options;
    use crate::job::{Limits, Manifest, Severity, SourceText};
    use std::path::PathBuf;
    use std::sync::Arc;

    fn report(errors: usize, good: usize, jobs: usize) -> CheckReport {
        let source = SourceText::new("jobs.json", "{\"jobs\": 1}".to_owned());
        let options = Options {
            base: PathBuf::new(),
            maximum: Limits::MAXIMUM,
            ..Options::default()
        };
        let problem = Manifest::parse(Arc::new(source), &options).unwrap_err();
        CheckReport {
            diagnostics: problem.iter().cycle().take(errors).cloned().collect(),
            good,
            jobs,
        }
    }

    #[test]
    fn the_conclusion_counts() {
        let say = |errors, good, jobs| conclusion(&report(errors, good, jobs));
        assert_eq!(say(0, 0, 0), "no mistakes; there are no jobs");
        assert_eq!(say(1, 0, 0), "1 error; no job can be read");
        assert_eq!(
            say(0, 1, 1),
            "no mistakes; the one job is good and would run"
        );
        assert_eq!(
            say(0, 5, 5),
            "no mistakes; all 5 jobs are good and would run"
        );
        assert_eq!(say(2, 3, 5), "2 errors; 3 of 5 jobs are good and would run");
        assert_eq!(say(1, 0, 1), "1 error; the one job would not run");
        let mut mixed = report(3, 3, 5);
        mixed.diagnostics[0].severity = Severity::Warning;
        assert_eq!(
            conclusion(&mixed),
            "2 errors, 1 warning; 3 of 5 jobs are good and would run"
        );
    }

    #[test]
    fn the_json_form_has_the_same_facts() {
        let mut bytes = Vec::new();
        write_json(&report(1, 3, 4), &mut bytes).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["errors"], 1);
        assert_eq!(json["warnings"], 0);
        assert_eq!((&json["good"], &json["jobs"]), (&3.into(), &4.into()));
        assert_eq!(json["problems"][0]["file"], "jobs.json");
        assert_eq!(json["problems"][0]["line"], 1);
    }
}
