//! What each request does, however it came: method, path and body in, status and JSON out.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::problem::{self, Problem};
use super::{BASE, decode_segment};
use crate::clock::{Timestamp, parse_instant};
use crate::control::{Backfill, Control, ControlError, Trigger};
use crate::job::{JobId, Scope};
use crate::run::RunId;

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) media_type: &'static str,
    /// The methods that the path has, where another one was used.
    pub(super) allow: Option<&'static str>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    fn ok(value: &impl Serialize) -> Answer {
        match serde_json::to_vec(value) {
            Ok(body) => Answer {
                status: StatusCode::OK,
                media_type: "application/json",
                allow: None,
                body,
            },
            Err(error) => Answer::from(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "urn:quarterjack:bug",
                "The host failed",
                format!("the answer cannot be written (a bug in the host): {error}"),
            )),
        }
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Answer {
        Answer {
            status: problem.status(),
            media_type: problem::MEDIA_TYPE,
            allow: None,
            // Strings and a number: that can always be written.
            body: serde_json::to_vec(&problem).unwrap_or_default(),
        }
    }
}

/// What is sent to start a job.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TriggerBody {
    /// Parameters for this run in place of those of the definition.
    params: Option<Box<RawValue>>,
}

/// What is sent to make up for instants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackfillBody {
    from: String,
    to: String,
    limit: Option<usize>,
    #[serde(default)]
    dry_run: bool,
}

/// What is sent where there is nothing to say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoBody {}

/// Carries out a request.
pub(super) async fn answer(control: &Control, method: &Method, path: &str, body: &[u8]) -> Answer {
    let Some(path) = path.strip_prefix(BASE).and_then(|it| it.strip_prefix('/')) else {
        return not_found(path).into();
    };
    let Some(segments) = path
        .split('/')
        .map(decode_segment)
        .collect::<Option<Vec<_>>>()
    else {
        return Problem::bad_request(
            "the path is not text: write what is not ASCII as %XX of its UTF-8",
        )
        .into();
    };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let Some((allow, action)) = find(&segments) else {
        return not_found(&format!("{BASE}/{path}")).into();
    };
    if method != allow {
        let problem = Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "urn:quarterjack:method",
            "Another method is needed",
            format!("{BASE}/{path} takes {allow}, not {method}"),
        );
        return Answer {
            allow: Some(if allow == Method::GET { "GET" } else { "POST" }),
            ..problem.into()
        };
    }
    carry_out(control, action, body)
        .await
        .unwrap_or_else(Answer::from)
}

/// What a path stands for.
#[derive(Debug, PartialEq, Eq)]
enum Action<'a> {
    Status,
    Jobs,
    Trigger(&'a str),
    Backfill(&'a str),
    SetPaused(Scope, bool),
    Cancel(&'a str),
}

/// What a path stands for, and the method that it takes.
fn find<'a>(segments: &[&'a str]) -> Option<(Method, Action<'a>)> {
    let paused = |verb: &str| match verb {
        "pause" => Some(true),
        "resume" => Some(false),
        _ => None,
    };
    let post = |action| Some((Method::POST, action));
    match *segments {
        ["status"] => Some((Method::GET, Action::Status)),
        ["jobs"] => Some((Method::GET, Action::Jobs)),
        ["jobs", job, "trigger"] => post(Action::Trigger(job)),
        ["jobs", job, "backfill"] => post(Action::Backfill(job)),
        ["jobs", job, verb] => post(Action::SetPaused(Scope::Job(job.into()), paused(verb)?)),
        ["groups", group, verb] => {
            post(Action::SetPaused(Scope::Group(group.into()), paused(verb)?))
        }
        ["runs", run, "cancel"] => post(Action::Cancel(run)),
        [verb] => post(Action::SetPaused(Scope::All, paused(verb)?)),
        _ => None,
    }
}

async fn carry_out(control: &Control, action: Action<'_>, body: &[u8]) -> Result<Answer, Problem> {
    Ok(match action {
        Action::Status => {
            read::<NoBody>(body)?;
            Answer::ok(&control.status().await?)
        }
        Action::Jobs => {
            read::<NoBody>(body)?;
            #[derive(Serialize)]
            struct Jobs<T> {
                jobs: T,
            }
            let jobs = control.jobs().await?;
            // They may be a million, and the host is not to wait for them to be written.
            let written = tokio::task::spawn_blocking(move || Answer::ok(&Jobs { jobs }));
            written.await.map_err(|_| ControlError::Stopping)?
        }
        Action::Trigger(job) => {
            let body: TriggerBody = read(body)?;
            let request = Trigger {
                job: JobId::from(job),
                params: body.params.map(|params| Arc::from(params.get())),
            };
            Answer::ok(&control.trigger(request).await?)
        }
        Action::Backfill(job) => {
            let request = to_backfill(job, required(body)?)?;
            Answer::ok(&control.backfill(request).await?)
        }
        Action::SetPaused(scope, paused) => {
            read::<NoBody>(body)?;
            Answer::ok(&control.set_paused(scope, paused).await?)
        }
        Action::Cancel(run) => {
            read::<NoBody>(body)?;
            let run: RunId = run.parse().map_err(|()| {
                Problem::bad_request(format!(
                    "`{run}` is no id of a run: write all 26 letters of it"
                ))
            })?;
            Answer::ok(&control.cancel(run).await?)
        }
    })
}

fn to_backfill(job: &str, body: BackfillBody) -> Result<Backfill, Problem> {
    let instant = |key: &str, text: &str| -> Result<Timestamp, Problem> {
        parse_instant(text).map_err(|error| Problem::bad_request(format!("{key}: {error}")))
    };
    let limit = body.limit.unwrap_or(Backfill::LIMIT);
    if limit == 0 || limit > Backfill::MOST {
        return Err(Problem::bad_request(format!(
            "limit: {limit} is out of range: 1 to {}",
            Backfill::MOST
        )));
    }
    Ok(Backfill {
        job: JobId::from(job),
        from: instant("from", &body.from)?,
        until: instant("to", &body.to)?,
        limit,
        dry_run: body.dry_run,
    })
}

/// Reads a body, which may be left out where all that it could say may be.
fn read<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    required(body)
}

fn required<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.trim_ascii().is_empty() {
        return Err(Problem::bad_request(
            "the body is missing: send a JSON object",
        ));
    }
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::bad_request("the body is no JSON object: send one"));
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("the body is not as it should be: {error}")))
}

fn not_found(path: &str) -> Problem {
    let shown: String = path.chars().take(200).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        "urn:quarterjack:no-such-path",
        "No such path",
        format!("there is nothing at {shown}"),
    )
}

#[cfg(test)]
mod tests;
