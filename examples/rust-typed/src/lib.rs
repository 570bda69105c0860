//! `hello.wasm`: greets whom its parameters name, and tells what it was run for.
//!
//! A typed job is a library that exports one function, `run`. It needs no WASI: all that
//! it learns comes in with the context, all that it has to say goes out with the result.

// Writes the Rust side of wit/job.wit: the types, the trait `Guest`, the macro `export!`.
wit_bindgen::generate!({ path: "../../wit", world: "job" });

use quarterjack::job::types::{Cause, Retry};
use serde::{Deserialize, Serialize};

struct Hello;
export!(Hello);

impl Guest for Hello {
    fn run(context: RunContext) -> Result<Option<Output>, Failure> {
        // `params` is always there and always JSON; a job without any gets `null`.
        let params: Option<Params> = serde_json::from_str(&context.params).map_err(|error| {
            Failure {
                message: format!(
                    r#"cannot use the params {}: {error}; they look like {{"name": "tower"}}"#,
                    context.params
                ),
                // The same params will be as wrong the next time.
                retry: Retry::Never,
            }
        })?;
        let name = params.unwrap_or_default().name;

        let report = Report {
            greeting: format!("Hello, {name}!"),
            cause: cause_name(context.cause),
            // What the run is for, not when it got going: a late run still greets for its time.
            scheduled_at: rfc3339(context.scheduled_at.seconds),
            attempt: context.attempt,
        };
        let json = serde_json::to_string(&report).map_err(|error| Failure {
            message: format!("cannot write the report: {error}"),
            retry: Retry::ByPolicy,
        })?;
        Ok(Some(Output::Json(json)))
    }
}

/// What the job's definition may say under `params`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)] // a misspelt key is better refused than ignored
struct Params {
    name: String,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            name: "world".to_owned(),
        }
    }
}

/// The job's output.
#[derive(Serialize)]
struct Report {
    greeting: String,
    cause: &'static str,
    scheduled_at: String,
    attempt: u32,
}

/// A cause by its name in the contract.
fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Schedule => "schedule",
        Cause::Manual => "manual",
        Cause::Api => "api",
        Cause::CatchUp => "catch-up",
        Cause::Upstream => "upstream",
    }
}

/// Seconds since 1970 as people write them: `2026-01-01T00:00:00Z`.
///
/// The date is Howard Hinnant's `civil_from_days`: years counted from March, so that the leap
/// day is the last of its year. A crate would do it too, for more bytes than the rest of this job.
fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

// The plain parts of a job can be tested like any Rust: `cargo test`.
#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn instants_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_767_225_600), "2026-01-01T00:00:00Z");
        assert_eq!(rfc3339(4_107_542_400), "2100-03-01T00:00:00Z");
    }
}
