//! What each request does, however it came: method, path and body in, status and JSON out.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::problem::{self, Problem};
use super::{BASE, decode_segment};
use crate::clock::{Timestamp, parse_instant};
use crate::control::{
    Backfill, Condition, Control, ControlError, Put, PutJob, SourceStatus, Trigger,
};
use crate::job::{JobId, Scope};
use crate::run::RunId;

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) media_type: &'static str,
    /// The methods that the path has, where another one was used.
    pub(super) allow: Option<String>,
    /// Which text the answer is about, where there may be another one.
    pub(super) etag: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    fn ok(value: &impl Serialize) -> Answer {
        match serde_json::to_vec(value) {
            Ok(body) => Answer {
                status: StatusCode::OK,
                media_type: "application/json",
                allow: None,
                etag: None,
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

impl Answer {
    fn with_etag(self, etag: String) -> Answer {
        Answer {
            etag: Some(etag),
            ..self
        }
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Answer {
        Answer {
            status: problem.status(),
            media_type: problem::MEDIA_TYPE,
            allow: None,
            etag: None,
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

/// What is asked.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    /// `If-Match`, where it is said.
    pub(super) if_match: Option<&'a str>,
    /// `If-None-Match`, where it is said.
    pub(super) if_none_match: Option<&'a str>,
    pub(super) body: &'a [u8],
}

impl Asked<'_> {
    /// What has to hold of a definition for it to be changed.
    fn condition(&self) -> Result<Condition, Problem> {
        match (self.if_match, self.if_none_match) {
            (None, None) | (Some("*"), None) => Ok(Condition::Always),
            (None, Some("*")) => Ok(Condition::Absent),
            (Some(tag), None) => {
                let tag = tag.trim();
                let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                Ok(Condition::Is(inner.unwrap_or(tag).to_owned()))
            }
            _ => Err(Problem::bad_request(
                "say either `If-Match` with the tag of one text or `If-None-Match: *`",
            )),
        }
    }
}

/// Carries out a request.
pub(super) async fn answer(control: &Control, asked: Asked<'_>) -> Answer {
    let Asked { method, path, .. } = asked;
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
    let Some(mut actions) = find(&segments) else {
        return not_found(&format!("{BASE}/{path}")).into();
    };
    let methods = actions.iter().map(|(method, _)| method.as_str());
    let allow = methods.collect::<Vec<_>>().join(", ");
    let wanted = actions.iter().position(|(known, _)| known == method);
    let Some((_, action)) = wanted.map(|wanted| actions.swap_remove(wanted)) else {
        let problem = Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "urn:quarterjack:method",
            "Another method is needed",
            format!("{BASE}/{path} takes {allow}, not {method}"),
        );
        return Answer {
            allow: Some(allow),
            ..problem.into()
        };
    };
    carry_out(control, action, &asked)
        .await
        .unwrap_or_else(Answer::from)
}

/// What a path stands for.
#[derive(Debug, PartialEq, Eq)]
enum Action<'a> {
    Status,
    Jobs,
    Sources,
    Trigger(&'a str),
    Backfill(&'a str),
    SetPaused(Scope, bool),
    Cancel(&'a str),
    Definition(&'a str),
    Put(&'a str),
    Remove(&'a str),
}

/// What a path stands for, by the methods that it takes.
fn find<'a>(segments: &[&'a str]) -> Option<Vec<(Method, Action<'a>)>> {
    let paused = |verb: &str| match verb {
        "pause" => Some(true),
        "resume" => Some(false),
        _ => None,
    };
    let get = |action| Some(vec![(Method::GET, action)]);
    let post = |action| Some(vec![(Method::POST, action)]);
    match *segments {
        ["status"] => get(Action::Status),
        ["jobs"] => get(Action::Jobs),
        ["sources"] => get(Action::Sources),
        ["jobs", job] => Some(vec![
            (Method::GET, Action::Definition(job)),
            (Method::PUT, Action::Put(job)),
            (Method::DELETE, Action::Remove(job)),
        ]),
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

async fn carry_out(
    control: &Control,
    action: Action<'_>,
    asked: &Asked<'_>,
) -> Result<Answer, Problem> {
    let body = asked.body;
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
        Action::Sources => {
            read::<NoBody>(body)?;
            #[derive(Serialize)]
            struct Sources {
                sources: Vec<SourceStatus>,
            }
            let sources = control.sources().await?;
            Answer::ok(&Sources { sources })
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
        Action::Definition(job) => {
            read::<NoBody>(body)?;
            let job = control.own_job(JobId::from(job)).await?;
            Answer::ok(&job).with_etag(job.etag)
        }
        Action::Put(job) => {
            let Ok(text) = std::str::from_utf8(body) else {
                return Err(Problem::bad_request("the definition is not UTF-8 text"));
            };
            let request = PutJob {
                job: JobId::from(job),
                text: text.to_owned(),
                condition: asked.condition()?,
            };
            let put = control.put_job(request).await?;
            let status = match put.was {
                Put::Created => StatusCode::CREATED,
                Put::Updated | Put::Unchanged => StatusCode::OK,
            };
            let answer = Answer::ok(&put).with_etag(put.etag);
            Answer { status, ..answer }
        }
        Action::Remove(job) => {
            read::<NoBody>(body)?;
            let condition = asked.condition()?;
            Answer::ok(&control.remove_job(JobId::from(job), condition).await?)
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
