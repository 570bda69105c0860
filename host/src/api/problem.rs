//! What is answered instead of what was asked for: problem details, as RFC 9457 has them.

use std::borrow::Cow;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::control::ControlError;
use crate::job::Diagnostic;
use crate::run::SkipReason;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which kind of problem it is, for programs: `urn:quarterjack:unknown-job` and the like.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The kind in words.
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// What it is this time, and what would help: as the command line says it.
    pub detail: String,
    /// All that is wrong with a definition, where one was sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Place>,
}

impl Problem {
    /// A problem of a kind.
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        Problem {
            kind: kind.into(),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into(),
            problems: Vec::new(),
        }
    }

    /// A request that is not as it should be.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "urn:quarterjack:bad-request",
            "The request is not as it should be",
            detail,
        )
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        // Always made of one.
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Problem {
        let (status, kind, title) = match &error {
            ControlError::UnknownJob { .. } => (
                StatusCode::NOT_FOUND,
                "urn:quarterjack:unknown-job",
                "No such job",
            ),
            ControlError::UnknownGroup { .. } => (
                StatusCode::NOT_FOUND,
                "urn:quarterjack:unknown-group",
                "No such group",
            ),
            ControlError::UnknownRun(_) => (
                StatusCode::NOT_FOUND,
                "urn:quarterjack:unknown-run",
                "No such run",
            ),
            ControlError::NotStarted {
                reason: SkipReason::Stopping,
                ..
            }
            | ControlError::Stopping => (
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:quarterjack:stopping",
                "The host is stopping",
            ),
            ControlError::NotStarted {
                reason: SkipReason::NotRecorded(_),
                ..
            }
            | ControlError::Store(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:quarterjack:store-failing",
                "The store does not do its work",
            ),
            ControlError::NotStarted { .. } => (
                StatusCode::CONFLICT,
                "urn:quarterjack:not-started",
                "The job was not started",
            ),
            ControlError::Paused { .. } => (
                StatusCode::CONFLICT,
                "urn:quarterjack:paused",
                "The job is paused",
            ),
            ControlError::Rejected { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "urn:quarterjack:rejected",
                "The definition cannot be used",
            ),
            ControlError::Elsewhere { .. } => (
                StatusCode::CONFLICT,
                "urn:quarterjack:elsewhere",
                "The job is defined in another place",
            ),
            ControlError::Changed { .. } => (
                StatusCode::PRECONDITION_FAILED,
                "urn:quarterjack:changed",
                "The definition is another one",
            ),
            ControlError::Invalid(_) => return Problem::bad_request(error.to_string()),
        };
        let problem = Problem::new(status, kind, title, error.to_string());
        match error {
            ControlError::Rejected { problems, .. } => Problem {
                problems: problems.iter().map(Place::of).collect(),
                ..problem
            },
            _ => problem,
        }
    }
}

/// Something wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
    /// What is wrong there.
    pub message: String,
    /// What would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Place {
    fn of(problem: &Diagnostic) -> Place {
        Place {
            line: problem.line,
            column: problem.column,
            message: problem.message.clone(),
            hint: problem.advice(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Scope;

    #[test]
    fn each_refusal_has_its_status_and_the_words_of_the_command_line() {
        let job = || "a".into();
        let hint = || ": did you mean `b`?".to_owned();
        let not_started = |reason| ControlError::NotStarted { job: job(), reason };
        let errors = [
            ControlError::UnknownJob {
                job: job(),
                hint: hint(),
            },
            ControlError::UnknownGroup {
                group: "a".into(),
                hint: hint(),
            },
            not_started(SkipReason::MaxInstances(1)),
            not_started(SkipReason::NotRecorded("the disk is full".into())),
            not_started(SkipReason::Stopping),
            ControlError::Paused {
                job: job(),
                by: Scope::All,
            },
            ControlError::Invalid("the range is empty".into()),
            ControlError::Stopping,
        ];
        let mut said = String::new();
        for error in errors {
            let problem = Problem::from(error);
            assert_eq!(problem.status().as_u16(), problem.status);
            said.push_str(&serde_json::to_string(&problem).unwrap());
            said.push('\n');
        }
        insta::assert_snapshot!(said, @r#"
        {"type":"urn:quarterjack:unknown-job","title":"No such job","status":404,"detail":"no job `a` in service on this host: did you mean `b`?"}
        {"type":"urn:quarterjack:unknown-group","title":"No such group","status":404,"detail":"no job of this host is in a group `a`: did you mean `b`?"}
        {"type":"urn:quarterjack:not-started","title":"The job was not started","status":409,"detail":"job `a` was not started: previous run still going (max_instances 1)"}
        {"type":"urn:quarterjack:store-failing","title":"The store does not do its work","status":503,"detail":"job `a` was not started: the run could not be recorded: the disk is full"}
        {"type":"urn:quarterjack:stopping","title":"The host is stopping","status":503,"detail":"job `a` was not started: the host is stopping"}
        {"type":"urn:quarterjack:paused","title":"The job is paused","status":409,"detail":"job `a` is paused (all jobs): nothing of it would start; let it go on first"}
        {"type":"urn:quarterjack:bad-request","title":"The request is not as it should be","status":400,"detail":"the range is empty"}
        {"type":"urn:quarterjack:stopping","title":"The host is stopping","status":503,"detail":"the host is stopping"}
        "#);
    }
}
