//! `quarterjack jobs history`: what has become of a job's definition.

use std::io::{self, Write};

use clap::Args;

use crate::cli::history::{Data, Past, View};
use crate::cli::output::grid::{Cell, Column, Grid};
use crate::cli::output::json::json_line;
use crate::cli::output::{Screen, Tone, cut, harmless};
use crate::cli::{Exit, Refusal, remark};
use crate::job::JobId;
use crate::record::{ChangeKind, FieldChange, JobChange};

/// The columns that one value may take.
const VALUE_WIDTH: usize = 40;

/// The arguments of `jobs history`.
#[derive(Debug, Args)]
#[command(after_help = "The newest comes first; the host keeps the last 100 changes of each job.")]
pub(in crate::cli) struct JobHistory {
    /// The job
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    data: Data,
    /// Print one JSON object a line for each, with the whole values
    #[arg(long)]
    json: bool,
}

impl JobHistory {
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let past = self.data.open()?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        let remarks = self.tell(&past, &View::of(screen), &mut out)?;
        out.flush()?;
        remarks.iter().for_each(|it| remark(it));
        Ok(Exit::Ok)
    }

    fn tell(&self, past: &Past, view: &View, to: &mut dyn Write) -> Result<Vec<String>, Refusal> {
        let job = JobId::from(self.job.as_str());
        let changes = past.history.changes(&job).map_err(Refusal::failure)?;
        if changes.is_empty() {
            past.knows(&job)?;
            return Ok(vec!["nothing is known of its definition".to_owned()]);
        }
        if self.json {
            for change in &changes {
                json_line(change, to)?;
            }
        } else {
            table(&changes, view).write(view.paint, view.width, to)?;
        }
        Ok(Vec::new())
    }
}

fn table(changes: &[JobChange], view: &View) -> Grid {
    let mut grid = Grid::new([
        Column::left("WHEN"),
        Column::left("CHANGE"),
        Column::left("WHERE"),
        Column::left("BY"),
        Column::left("WHAT").or_below(),
    ]);
    for change in changes {
        let tone = match change.change {
            ChangeKind::Added => Some(Tone::Good),
            ChangeKind::Updated => None,
            ChangeKind::Removed => Some(Tone::Warn),
        };
        let mut lines = what(change).into_iter();
        let (first, more) = (lines.next().unwrap_or_default(), lines);
        grid.row([
            view.when(change.at).into(),
            match tone {
                Some(tone) => Cell::toned(tone, change.change.as_str()),
                None => change.change.as_str().into(),
            },
            harmless(&change.origin).into(),
            change
                .by
                .as_deref()
                .map(harmless)
                .unwrap_or_default()
                .into(),
            first.into(),
        ]);
        for line in more {
            grid.row(["".into(), "".into(), "".into(), "".into(), line.into()]);
        }
    }
    grid
}

/// What there is to say of a change, line by line.
fn what(change: &JobChange) -> Vec<String> {
    let unseen = || vec!["while no host ran".to_owned()];
    match change.change {
        ChangeKind::Added => {
            let version = change.version.map(|version| format!("version {version}"));
            version.into_iter().collect()
        }
        ChangeKind::Updated if change.fields.is_empty() => unseen(),
        ChangeKind::Updated => change.fields.iter().map(field).collect(),
        ChangeKind::Removed if change.origin.is_empty() => unseen(),
        ChangeKind::Removed => Vec::new(),
    }
}

fn field(change: &FieldChange) -> String {
    let shown = |value: &String| cut(&harmless(value), VALUE_WIDTH);
    let name = harmless(&change.field);
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => format!("{name} {} → {}", shown(before), shown(after)),
        (None, Some(after)) => format!("{name} {} is new", shown(after)),
        (Some(before), None) => format!("{name} {} is gone", shown(before)),
        (None, None) => name,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::app::history::tests::MemoryHistory;
    use crate::cli::history::fixtures::{at, seen, view};
    use crate::job::DefinitionDigest;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        history: JobHistory,
    }

    fn told(line: &[&str], width: usize) -> String {
        let change = |second: &str, change, origin: &str, fields| JobChange {
            job: "report".into(),
            at: at(&format!("2026-11-23T12:00:{second}Z")),
            change,
            origin: origin.to_owned(),
            by: (origin == "host:report:1").then(|| "deploy".to_owned()),
            version: Some(3),
            definition: Some(DefinitionDigest(0xbeef)),
            fields,
        };
        let field = |name: &str, before: Option<&str>, after: Option<&str>| FieldChange {
            field: name.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        let long = format!("\"{}\"", "x".repeat(90));
        let changes = vec![
            change("09", ChangeKind::Removed, "", vec![]),
            change("08", ChangeKind::Updated, "jobs.json:7", vec![]),
            change(
                "07",
                ChangeKind::Updated,
                "host:report:1",
                vec![
                    field("trigger", Some("\"@hourly\""), Some("\"@daily\"")),
                    field("args", None, Some("[\"\u{202e}\"]")),
                    field("params", Some(&long), None),
                    FieldChange::named("limits"),
                ],
            ),
            change("05", ChangeKind::Added, "jobs.json:5", vec![]),
        ];
        let past = Past {
            history: Box::new(MemoryHistory {
                changes,
                in_service: vec![("old".into(), None)],
                ..MemoryHistory::default()
            }),
            place: "DIR".to_owned(),
        };
        let line = Line::try_parse_from([&["history"], line].concat()).unwrap();
        seen(|to| line.history.tell(&past, &view(width), to))
    }

    #[test]
    fn each_change_is_told_the_newest_first() {
        insta::assert_snapshot!(told(&["report"], 140), @r#"
        WHEN            CHANGE   WHERE          BY      WHAT
        today 13:00:09  removed                         while no host ran
        today 13:00:08  updated  jobs.json:7            while no host ran
        today 13:00:07  updated  host:report:1  deploy  trigger "@hourly" → "@daily"
                                                        args ["�"] is new
                                                        params "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx… is gone
                                                        limits
        today 13:00:05  added    jobs.json:5            version 3
        "#);
        insta::assert_snapshot!(told(&["report", "--json"], 140).replace('\u{202e}', "RLO"), @r#"
        {"job":"report","at":"2026-11-23T12:00:09Z","change":"removed","origin":"","version":3,"definition":"000000000000beef"}
        {"job":"report","at":"2026-11-23T12:00:08Z","change":"updated","origin":"jobs.json:7","version":3,"definition":"000000000000beef"}
        {"job":"report","at":"2026-11-23T12:00:07Z","change":"updated","origin":"host:report:1","by":"deploy","version":3,"definition":"000000000000beef","fields":[{"field":"trigger","before":"\"@hourly\"","after":"\"@daily\""},{"field":"args","after":"[\"RLO\"]"},{"field":"params","before":"\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\""},{"field":"limits"}]}
        {"job":"report","at":"2026-11-23T12:00:05Z","change":"added","origin":"jobs.json:5","version":3,"definition":"000000000000beef"}
        "#);
    }

    #[test]
    fn a_job_of_which_nothing_is_known_is_told() {
        insta::assert_snapshot!(told(&["old"], 80), @"(nothing is known of its definition)");
        insta::assert_snapshot!(told(&["reprot"], 80), @"error: no job `reprot` in the history in DIR; it has old");
    }
}
