//! Whether the host lives, does its work, and how it stands.

use http::StatusCode;
use serde::Serialize;

use super::openapi;
use super::problem::Problem;
use super::routes::{Answer, Call, NoBody, read};

#[derive(Serialize)]
struct Well {
    status: &'static str,
}

pub(super) async fn alive(_: Call) -> Result<Answer, Problem> {
    Ok(Answer::ok(&Well { status: "ok" }))
}

/// The host reads its sources before it answers anything at all, so that what is left to ask is
/// whether it can record runs.
pub(super) async fn ready(call: Call) -> Result<Answer, Problem> {
    let status = call.api.control.status().await?;
    if status.recording && status.started_at.is_some() {
        return Ok(Answer::ok(&Well { status: "ok" }));
    }
    Err(Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "urn:quarterjack:store-failing",
        "The store does not do its work",
        "runs cannot be recorded, and none starts until they can; the host's log says why",
    ))
}

pub(super) async fn status(call: Call) -> Result<Answer, Problem> {
    read::<NoBody>(&call.body)?;
    Ok(Answer::ok(&call.api.control.status().await?))
}

pub(super) async fn document(call: Call) -> Result<Answer, Problem> {
    read::<NoBody>(&call.body)?;
    Ok(Answer::ok(&openapi::document()))
}
