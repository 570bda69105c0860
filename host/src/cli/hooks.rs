//! `quarterjack hooks`: what is still to be sent to hooks, and what was given up.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::history::{Data, Past, View};
use super::output::grid::{Cell, Column, Grid};
use super::output::json::json_line;
use super::output::{Screen, Tone, harmless};
use super::{Exit, Refusal, remark};
use crate::clock::{Timestamp, rfc3339_option};
use crate::record::{Delivery, DeliveryId};

/// The arguments of `hooks`.
#[derive(Debug, Args)]
#[command(after_help = "\
A hook is a [[hook]] of quarterjack.toml. What has arrived is not listed; of what was given up, the newest 1000 of\n\
each hook are kept, and --json shows them whole.")]
pub(super) struct Hooks {
    #[command(flatten)]
    data: Data,
    /// Print one JSON object a line for each event that has not arrived
    #[arg(long)]
    json: bool,
}

/// An event that has not arrived, as JSON.
#[derive(Serialize)]
struct DeliveryJson<'a> {
    delivery: DeliveryId,
    hook: &'a str,
    given_up: bool,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    event: &'a str,
    #[serde(with = "rfc3339_option")]
    at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
}

impl<'a> DeliveryJson<'a> {
    fn of(delivery: &'a Delivery, given_up: bool) -> Self {
        DeliveryJson {
            delivery: delivery.id,
            hook: &delivery.hook,
            given_up,
            attempts: delivery.attempts,
            error: delivery.error.as_deref(),
            event: &delivery.event,
            at: Some(delivery.at),
            body: serde_json::from_str(&delivery.body).ok(),
        }
    }
}

/// How it stands with one hook.
#[derive(Default)]
struct Standing<'a> {
    waiting: usize,
    given_up: usize,
    /// The one that waits longest, or else the newest that was given up.
    shown: Option<&'a Delivery>,
}

impl Hooks {
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
        let (waiting, given_up) = past.history.deliveries().map_err(Refusal::failure)?;
        if waiting.is_empty() && given_up.is_empty() {
            return Ok(vec!["all that was to be sent has arrived".to_owned()]);
        }
        if self.json {
            for delivery in &waiting {
                json_line(&DeliveryJson::of(delivery, false), to)?;
            }
            for delivery in &given_up {
                json_line(&DeliveryJson::of(delivery, true), to)?;
            }
        } else {
            table(&waiting, &given_up, view).write(view.paint, view.width, to)?;
        }
        Ok(Vec::new())
    }
}

fn table(waiting: &[Delivery], given_up: &[Delivery], view: &View) -> Grid {
    let mut hooks: BTreeMap<&str, Standing<'_>> = BTreeMap::new();
    for delivery in waiting {
        let hook = hooks.entry(&delivery.hook).or_default();
        hook.waiting += 1;
        hook.shown.get_or_insert(delivery);
    }
    for delivery in given_up {
        let hook = hooks.entry(&delivery.hook).or_default();
        hook.given_up += 1;
        hook.shown.get_or_insert(delivery);
    }
    let mut grid = Grid::new([
        Column::left("HOOK"),
        Column::right("WAITING"),
        Column::right("GIVEN UP"),
        Column::left("EVENT"),
        Column::left("WHEN"),
        Column::right("ATTEMPTS"),
        Column::left("WHY").or_below(),
    ]);
    for (name, hook) in hooks {
        let given_up = match hook.given_up {
            0 => "0".into(),
            given_up => Cell::toned(Tone::Bad, given_up.to_string()),
        };
        let shown = hook.shown;
        let error = shown.and_then(|it| it.error.as_deref());
        grid.row([
            harmless(name).into(),
            hook.waiting.to_string().into(),
            given_up,
            shown
                .map(|it| harmless(&it.event))
                .unwrap_or_default()
                .into(),
            shown.map(|it| view.when(it.at)).unwrap_or_default().into(),
            shown
                .map(|it| it.attempts.to_string())
                .unwrap_or_default()
                .into(),
            error.map(harmless).unwrap_or_default().into(),
        ]);
    }
    grid
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::app::history::tests::MemoryHistory;
    use crate::cli::history::fixtures::{at, nothing, seen, view};
    use crate::run::RunId;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        hooks: Hooks,
    }

    fn past() -> Past {
        let delivery = |number: u128, hook: &str, attempts, error: Option<&str>| Delivery {
            id: RunId::from_u128(number << 80),
            hook: hook.into(),
            event: "run.finished".into(),
            at: at("2026-11-23T12:05:00Z"),
            body: r#"{"event":"run.finished","job":"report"}"#.into(),
            attempts,
            error: error.map(str::to_owned),
        };
        let down = "cannot be reached: \u{1b}[2Jexample.com refuses the connection";
        Past {
            history: Box::new(MemoryHistory {
                waiting: vec![
                    delivery(1, "chat", 2, Some(down)),
                    delivery(2, "chat", 0, None),
                ],
                given_up: vec![delivery(
                    3,
                    "on-call",
                    12,
                    Some("is answered with 410 Gone"),
                )],
                ..MemoryHistory::default()
            }),
            place: "DIR".to_owned(),
        }
    }

    fn told(past: &Past, line: &[&str]) -> String {
        let line = Line::try_parse_from([&["hooks"], line].concat()).unwrap();
        seen(|to| line.hooks.tell(past, &view(140), to))
    }

    #[test]
    fn what_has_not_arrived_is_told() {
        insta::assert_snapshot!(told(&past(), &[]), @r"
        HOOK     WAITING  GIVEN UP  EVENT         WHEN            ATTEMPTS  WHY
        chat           2         0  run.finished  today 13:05:00         2  cannot be reached: \u{1b}[2Jexample.com refuses the connection
        on-call        0         1  run.finished  today 13:05:00        12  is answered with 410 Gone
        ");
        insta::assert_snapshot!(told(&past(), &["--json"]), @r#"
        {"delivery":"00000000010000000000000000","hook":"chat","given_up":false,"attempts":2,"error":"cannot be reached: \u001b[2Jexample.com refuses the connection","event":"run.finished","at":"2026-11-23T12:05:00Z","body":{"event":"run.finished","job":"report"}}
        {"delivery":"00000000020000000000000000","hook":"chat","given_up":false,"attempts":0,"event":"run.finished","at":"2026-11-23T12:05:00Z","body":{"event":"run.finished","job":"report"}}
        {"delivery":"00000000030000000000000000","hook":"on-call","given_up":true,"attempts":12,"error":"is answered with 410 Gone","event":"run.finished","at":"2026-11-23T12:05:00Z","body":{"event":"run.finished","job":"report"}}
        "#);
        insta::assert_snapshot!(told(&nothing(), &[]), @"(all that was to be sent has arrived)");
    }
}
