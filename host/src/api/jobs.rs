//! What is asked and told of jobs.

use std::sync::Arc;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::problem::Problem;
use super::routes::{Answer, Call, NoBody, read, required};
use crate::clock::{Timestamp, parse_instant};
use crate::control::{Backfill, Condition, ControlError, Put, PutJob, Trigger};
use crate::job::{JobId, Scope};

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

pub(super) async fn list(call: Call) -> Result<Answer, Problem> {
    read::<NoBody>(&call.body)?;
    #[derive(Serialize)]
    struct Jobs<T> {
        jobs: T,
    }
    let jobs = call.api.control.jobs().await?;
    // They may be a million, and the host is not to wait for them to be written.
    let written = tokio::task::spawn_blocking(move || Answer::ok(&Jobs { jobs }));
    Ok(written.await.map_err(|_| ControlError::Stopping)?)
}

pub(super) async fn sources(call: Call) -> Result<Answer, Problem> {
    read::<NoBody>(&call.body)?;
    #[derive(Serialize)]
    struct Sources<T> {
        sources: T,
    }
    let sources = call.api.control.sources().await?;
    Ok(Answer::ok(&Sources { sources }))
}

pub(super) async fn get(call: Call) -> Result<Answer, Problem> {
    read::<NoBody>(&call.body)?;
    let job = call.api.control.own_job(call.job()).await?;
    Ok(Answer::ok(&job).with_etag(job.etag))
}

pub(super) async fn put(call: Call) -> Result<Answer, Problem> {
    let Ok(text) = std::str::from_utf8(&call.body) else {
        return Err(Problem::bad_request("the definition is not UTF-8 text"));
    };
    let condition = call.condition()?;
    put_text(&call, text.to_owned(), condition).await
}

async fn put_text(call: &Call, text: String, condition: Condition) -> Result<Answer, Problem> {
    let request = PutJob {
        job: call.job(),
        text,
        condition,
        by: call.by.clone(),
    };
    let put = call.api.control.put_job(request).await?;
    let status = match put.was {
        Put::Created => StatusCode::CREATED,
        Put::Updated | Put::Unchanged => StatusCode::OK,
    };
    let answer = Answer::ok(&put).with_etag(put.etag);
    Ok(Answer { status, ..answer })
}

/// Changes some keys of a definition (RFC 7396), and no other definition than the one that is looked
/// at.
pub(super) async fn patch(call: Call) -> Result<Answer, Problem> {
    let patch: Map<String, Value> = required(&call.body)?;
    let wanted = call.condition()?;
    let now = call.api.control.own_job(call.job()).await?;
    let mut definition: Value = serde_json::from_str(&now.text).map_err(|error| {
        Problem::new(
            StatusCode::CONFLICT,
            "urn:quarterjack:not-plain",
            "The definition is not plain JSON",
            format!(
                "the definition of `{}` has comments or the like, which would be lost ({error}): send it whole, with PUT",
                now.job
            ),
        )
    })?;
    merge(&mut definition, Value::Object(patch));
    let condition = match wanted {
        Condition::Always => Condition::Is(now.etag),
        wanted => wanted,
    };
    let text = serde_json::to_string_pretty(&definition)
        .map_err(|error| Problem::bad_request(error.to_string()))?;
    put_text(&call, text, condition).await
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.shift_remove(&key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

pub(super) async fn remove(call: Call) -> Result<Answer, Problem> {
    read::<NoBody>(&call.body)?;
    let condition = call.condition()?;
    let control = &call.api.control;
    let removed = control.remove_job(call.job(), condition, call.by.clone());
    let removed = removed.await?;
    Ok(Answer::ok(&removed))
}

pub(super) async fn next(call: Call) -> Result<Answer, Problem> {
    read::<NoBody>(&call.body)?;
    let query = call.query(&["count"])?;
    let count = query.number("count", 5, 1, 1_000)?;
    Ok(Answer::ok(&call.api.control.next(call.job(), count).await?))
}

pub(super) async fn trigger(call: Call) -> Result<Answer, Problem> {
    let body: TriggerBody = read(&call.body)?;
    let request = Trigger {
        job: call.job(),
        params: body.params.map(|params| Arc::from(params.get())),
        by: call.by.clone(),
    };
    Ok(Answer::ok(&call.api.control.trigger(request).await?))
}

pub(super) async fn backfill(call: Call) -> Result<Answer, Problem> {
    let request = to_backfill(call.job(), required(&call.body)?)?;
    Ok(Answer::ok(&call.api.control.backfill(request).await?))
}

fn to_backfill(job: JobId, body: BackfillBody) -> Result<Backfill, Problem> {
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
        job,
        from: instant("from", &body.from)?,
        until: instant("to", &body.to)?,
        limit,
        dry_run: body.dry_run,
    })
}

pub(super) async fn pause(call: Call) -> Result<Answer, Problem> {
    let job = Scope::Job(call.job());
    set_paused(call, job, true).await
}

pub(super) async fn resume(call: Call) -> Result<Answer, Problem> {
    let job = Scope::Job(call.job());
    set_paused(call, job, false).await
}

pub(super) async fn pause_group(call: Call) -> Result<Answer, Problem> {
    let group = Scope::Group(call.param().into());
    set_paused(call, group, true).await
}

pub(super) async fn resume_group(call: Call) -> Result<Answer, Problem> {
    let group = Scope::Group(call.param().into());
    set_paused(call, group, false).await
}

pub(super) async fn pause_all(call: Call) -> Result<Answer, Problem> {
    set_paused(call, Scope::All, true).await
}

pub(super) async fn resume_all(call: Call) -> Result<Answer, Problem> {
    set_paused(call, Scope::All, false).await
}

async fn set_paused(call: Call, scope: Scope, paused: bool) -> Result<Answer, Problem> {
    read::<NoBody>(&call.body)?;
    let set = call.api.control.set_paused(scope, paused).await?;
    Ok(Answer::ok(&set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_merged_as_its_standard_has_it() {
        for (target, patch, merged) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (
                r#"{"a":{"b":"c"}}"#,
                r#"{"a":{"b":"d","c":null}}"#,
                r#"{"a":{"b":"d"}}"#,
            ),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
            (r#"["a","b"]"#, r#"["c"]"#, r#"["c"]"#),
        ] {
            let mut value = serde_json::from_str(target).unwrap();
            merge(&mut value, serde_json::from_str(patch).unwrap());
            assert_eq!(value.to_string(), merged, "{target} {patch}");
        }
    }
}
