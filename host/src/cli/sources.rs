//! `quarterjack sources`: where the running host has its definitions from, and how that stands.

use std::io::{self, Write};

use clap::Args;
use serde::Deserialize;

use super::client::Client;
use super::history::{Data, View};
use super::output::grid::{Cell, Column, Grid};
use super::output::json::json_line;
use super::output::{Screen, Tone, harmless, plural};
use super::{Exit, Refusal};
use crate::control::SourceStatus;
use crate::units::format_duration;

/// The arguments of `sources`.
#[derive(Debug, Args)]
#[command(after_help = "\
A stale source cannot be read: its jobs are those that it had when it was read last.\n\
`quarterjack jobs history JOB` tells what has become of a definition.")]
pub(super) struct Sources {
    #[command(flatten)]
    data: Data,
    /// Print one JSON object a line for each
    #[arg(long)]
    json: bool,
}

/// What the host of `GET /sources` answers.
#[derive(Deserialize)]
struct Answer {
    sources: Vec<SourceStatus>,
}

impl Sources {
    /// Lists them.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let client = Client::of(&self.data.place()?);
        let answer: Answer = client
            .get(&["sources"])
            .map_err(|why| client.explain(why, ""))?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        self.tell(&answer.sources, &View::of(screen), &mut out)?;
        out.flush()?;
        Ok(Exit::Ok)
    }

    fn tell(
        &self,
        sources: &[SourceStatus],
        view: &View,
        to: &mut dyn Write,
    ) -> Result<Vec<String>, Refusal> {
        if self.json {
            for source in sources {
                json_line(source, to)?;
            }
        } else {
            table(sources, view).write(view.paint, view.width, to)?;
        }
        Ok(Vec::new())
    }
}

fn table(sources: &[SourceStatus], view: &View) -> Grid {
    let mut grid = Grid::new([
        Column::left("SOURCE"),
        Column::left("STATE"),
        Column::right("JOBS"),
        Column::right("WRONG"),
        Column::left("READ"),
        Column::left("WHY").or_below(),
    ]);
    for source in sources {
        let (state, why) = standing(source, view);
        let wrong = match source.wrong {
            0 => "0".into(),
            wrong => Cell::toned(Tone::Bad, wrong.to_string()),
        };
        let read = source.read_at.map(|at| view.when(at));
        grid.row([
            harmless(&source.source).into(),
            state,
            source.jobs.to_string().into(),
            wrong,
            read.unwrap_or_else(|| "never".to_owned()).into(),
            why.into(),
        ]);
    }
    grid
}

/// How a source stands, and why so.
fn standing(source: &SourceStatus, view: &View) -> (Cell, String) {
    if let Some(stale) = &source.stale {
        let age = source.read_at.and_then(|at| (view.now - at).to_std().ok());
        let word = match age {
            Some(age) => format!("stale for {}", format_duration(whole_seconds(age))),
            None => "stale".to_owned(),
        };
        return (Cell::toned(Tone::Bad, word), harmless(&stale.reason));
    }
    if let Some(held) = &source.held {
        let why = format!(
            "it would remove {} of {}: read once more before that",
            held.removed,
            plural(held.jobs, "job")
        );
        return (Cell::toned(Tone::Warn, "held"), why);
    }
    match source.read_at {
        Some(_) => ("ok".into(), String::new()),
        None => (Cell::toned(Tone::Dim, "not read yet"), String::new()),
    }
}

fn whole_seconds(age: std::time::Duration) -> std::time::Duration {
    std::time::Duration::from_secs(age.as_secs())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::history::fixtures::{at, seen, view};
    use super::*;
    use crate::control::{Held, Stale};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        sources: Sources,
    }

    fn told(line: &[&str], width: usize) -> String {
        let source = |name: &str| SourceStatus {
            source: name.to_owned(),
            jobs: 12,
            wrong: 0,
            read_at: Some(at("2026-11-23T12:05:29Z")),
            stale: None,
            held: None,
        };
        let sources = [
            source("jobs.json"),
            SourceStatus {
                wrong: 2,
                held: Some(Held {
                    removed: 7,
                    jobs: 12,
                }),
                ..source("jobs.d")
            },
            SourceStatus {
                read_at: Some(at("2026-11-23T10:00:00Z")),
                stale: Some(Stale {
                    since: Some(at("2026-11-23T10:00:05Z")),
                    reason: "https://example.com/jobs.json: connection refused\u{1b}[2J".to_owned(),
                }),
                ..source("central")
            },
            SourceStatus {
                jobs: 0,
                read_at: None,
                ..source("billing")
            },
        ];
        let line = Line::try_parse_from([&["sources"], line].concat()).unwrap();
        seen(|to| line.sources.tell(&sources, &view(width), to))
    }

    #[test]
    fn each_source_is_a_line() {
        insta::assert_snapshot!(told(&[], 140), @r"
        SOURCE     STATE                JOBS  WRONG  READ            WHY
        jobs.json  ok                     12      0  today 13:05:29
        jobs.d     held                   12      2  today 13:05:29  it would remove 7 of 12 jobs: read once more before that
        central    stale for 2 h 5 min    12      0  today 11:00:00  https://example.com/jobs.json: connection refused\u{1b}[2J
        billing    not read yet            0      0  never
        ");
        insta::assert_snapshot!(told(&["--json"], 140), @r#"
        {"source":"jobs.json","jobs":12,"wrong":0,"read_at":"2026-11-23T12:05:29Z"}
        {"source":"jobs.d","jobs":12,"wrong":2,"read_at":"2026-11-23T12:05:29Z","held":{"removed":7,"jobs":12}}
        {"source":"central","jobs":12,"wrong":0,"read_at":"2026-11-23T10:00:00Z","stale":{"since":"2026-11-23T10:00:05Z","reason":"https://example.com/jobs.json: connection refused\u001b[2J"}}
        {"source":"billing","jobs":0,"wrong":0}
        "#);
    }
}
