//! What is asked and told of runs, and of what they logged.

use std::ops::ControlFlow;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::problem::Problem;
use super::routes::{Answer, Call, NoBody, read};
use super::stream::{self, Lines};
use crate::clock::{format_instant, parse_instant};
use crate::control::{ControlError, Trigger};
use crate::event::EventJson;
use crate::job::JobId;
use crate::log::{LogQuery, LoggedLine};
use crate::record::{Kind, RunQuery, RunRecord};
use crate::run::{Level, RunId};
use crate::store::StoreError;

/// How often it is looked for new lines of a run.
const LOOK: Duration = Duration::from_millis(500);

/// How many lines are read at once.
const LINES: usize = 1_000;

/// One page of records.
#[derive(Debug, Serialize)]
struct Runs {
    runs: Vec<Box<RawValue>>,
    /// What to say as `before` for the page after this one; nothing where this is the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<RunId>,
}

pub(super) async fn list(call: Call) -> Result<Answer, Problem> {
    read::<NoBody>(&call.body)?;
    let query = call.query(&["job", "outcome", "since", "before", "limit"])?;
    let limit = query.number("limit", 20, 1, 1_000)?;
    let kinds = query.get("outcome").map(|text| {
        text.split(',')
            .map(|name| {
                Kind::all()
                    .find(|kind| kind.as_str() == name)
                    .ok_or_else(|| {
                        let all: Vec<&str> = Kind::all().map(Kind::as_str).collect();
                        Problem::bad_request(format!(
                            "outcome: no such outcome: there are {}",
                            all.join(", ")
                        ))
                    })
            })
            .collect::<Result<Vec<Kind>, Problem>>()
    });
    let since = query.get("since").map(|text| {
        parse_instant(text).map_err(|error| Problem::bad_request(format!("since: {error}")))
    });
    let wanted = RunQuery {
        job: query.get("job").map(JobId::from),
        kind: kinds.transpose()?,
        since: since.transpose()?,
        before: query.get("before").map(to_run).transpose()?,
        // One more tells whether there are more.
        ..RunQuery::newest(limit + 1)
    };
    let mut records = call.api.store.runs(wanted).await.map_err(store)?;
    let more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| more).map(|record| record.id);
    let runs = records.iter().map(written).collect::<Result<_, _>>()?;
    Ok(Answer::ok(&Runs { runs, next }))
}

fn written(record: &RunRecord) -> Result<Box<RawValue>, Problem> {
    serde_json::value::to_raw_value(&EventJson::of_record(record)).map_err(|error| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "urn:quarterjack:bug",
            "The host failed",
            format!("a record cannot be written (a bug in the host): {error}"),
        )
    })
}

async fn record(call: &Call) -> Result<RunRecord, Problem> {
    let id = to_run(call.param())?;
    let record = call.api.store.run(id).await.map_err(store)?;
    Ok(record.ok_or(ControlError::UnknownRun(id))?)
}

fn store(error: StoreError) -> Problem {
    ControlError::Store(error.to_string()).into()
}

fn to_run(run: &str) -> Result<RunId, Problem> {
    run.parse().map_err(|()| {
        Problem::bad_request(format!(
            "`{run}` is no id of a run: write all 26 letters of it"
        ))
    })
}

pub(super) async fn get(call: Call) -> Result<Answer, Problem> {
    read::<NoBody>(&call.body)?;
    Ok(Answer::ok(&written(&record(&call).await?)?))
}

pub(super) async fn cancel(call: Call) -> Result<Answer, Problem> {
    read::<NoBody>(&call.body)?;
    let run = to_run(call.param())?;
    Ok(Answer::ok(&call.api.control.cancel(run).await?))
}

/// Starts the job of a run once more, with the parameters that the run had.
pub(super) async fn rerun(call: Call) -> Result<Answer, Problem> {
    read::<NoBody>(&call.body)?;
    let record = record(&call).await?;
    let request = Trigger {
        job: record.job,
        params: record.params,
        by: call.by.clone(),
    };
    Ok(Answer::ok(&call.api.control.trigger(request).await?))
}

/// A line as JSON: the keys of the command line's.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    at: String,
    job: &'a JobId,
    run: RunId,
    attempt: u32,
    number: u64,
    stream: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<Level>,
    text: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    fields: &'a [(String, String)],
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_bytes: Option<u64>,
}

fn line(logged: &LoggedLine) -> String {
    let LoggedLine { line, .. } = logged;
    let json = Line {
        event: "run.log",
        at: format_instant(line.at),
        job: &logged.job,
        run: logged.run,
        attempt: logged.attempt,
        number: line.number,
        stream: line.stream.as_str(),
        level: line.level,
        text: &line.text,
        fields: &line.fields,
        dropped_bytes: (line.cut > 0).then_some(line.cut),
    };
    // Strings and numbers: that can always be written.
    serde_json::to_string(&json).unwrap_or_default()
}

/// The lines of a run: those that there are, or, as server-sent events, also those to come until it
/// has ended.
pub(super) async fn logs(call: Call) -> Result<Answer, Problem> {
    read::<NoBody>(&call.body)?;
    call.query(&[])?;
    let run = record(&call).await?.id;
    let follow = call.wants_events();
    let after = match call.header("last-event-id").filter(|_| follow) {
        None => None,
        Some(text) => {
            let place = text.split_once('.');
            let place = place
                .and_then(|(attempt, number)| Some((attempt.parse().ok()?, number.parse().ok()?)));
            Some(place.ok_or_else(|| {
                Problem::bad_request("`Last-Event-ID` is not the id of a line of this run")
            })?)
        }
    };
    let (to, answer) = stream::open(&call.api, follow)?;
    tokio::spawn(tell_lines(call, run, after, follow, to));
    Ok(answer)
}

async fn tell_lines(
    call: Call,
    run: RunId,
    mut after: Option<(u32, u64)>,
    follow: bool,
    to: mpsc::Sender<Lines>,
) {
    loop {
        // Looked at before the lines are: what came before the end is told before the end.
        let has_ended = match call.api.store.run(run).await {
            Ok(Some(record)) => record.status.is_final(),
            _ => true,
        };
        loop {
            let logs = call.api.logs.clone();
            let query = LogQuery {
                after,
                ..LogQuery::of(run)
            };
            let found = tokio::task::spawn_blocking(move || {
                let mut found = Vec::new();
                let read = logs.lines(&query, &mut |logged| {
                    found.push((logged.attempt, logged.line.number, line(&logged)));
                    match found.len() < LINES {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    }
                });
                read.map(|()| found)
            });
            let found = match found.await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => {
                    let _ = to.send(stream::failed(follow, &error.to_string())).await;
                    return;
                }
                Err(_) => return,
            };
            let all = found.len() < LINES;
            let mut text = String::new();
            for (attempt, number, json) in found {
                after = Some((attempt, number));
                if follow {
                    text.push_str(&format!(
                        "id: {attempt}.{number}\nevent: run.log\ndata: {json}\n\n"
                    ));
                } else {
                    text.push_str(&json);
                    text.push('\n');
                }
            }
            if !text.is_empty() && to.send(text.into()).await.is_err() {
                return;
            }
            if all {
                break;
            }
        }
        if !follow {
            return;
        }
        if has_ended {
            // A client of server-sent events would ask again and again otherwise.
            let _ = to.send("event: end\ndata: {}\n\n".into()).await;
            return;
        }
        tokio::select! {
            () = to.closed() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
