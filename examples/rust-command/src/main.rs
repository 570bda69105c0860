//! `clock.wasm`: tells the time of its run, and strikes the quarters like a tower clock.
//!
//! An ordinary program. The host speaks to it as a shell would: parameters as JSON on stdin,
//! the context in `QUARTERJACK_*` variables; what it prints on stdout is the run's output,
//! what it prints on stderr the run's log, and its exit code the outcome.

use std::process::ExitCode;
use std::{env, io};

use serde::Deserialize;

/// What the job's definition may say under `params`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Whose clock it is.
    name: String,
    /// Whether the clock strikes at each quarter of an hour.
    strike: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            name: "clock".to_owned(),
            strike: true,
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("clock: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    // Empty or `null` where the definition has no params; so also when run by hand.
    let text =
        io::read_to_string(io::stdin()).map_err(|error| format!("cannot read stdin: {error}"))?;
    let params: Option<Params> = match text.trim() {
        "" => None,
        json => serde_json::from_str(json).map_err(|error| {
            format!(r#"cannot use the params {json}: {error}; they look like {{"name": "tower", "strike": true}}"#)
        })?,
    };
    let Params { name, strike } = params.unwrap_or_default();

    // The log is for whoever looks into this very run: who, why, how long it may take.
    eprintln!(
        "job {}, run {}, attempt {} of {}, cause: {}",
        variable("QUARTERJACK_JOB_ID")?,
        variable("QUARTERJACK_RUN_ID")?,
        variable("QUARTERJACK_ATTEMPT")?,
        variable("QUARTERJACK_MAX_ATTEMPTS")?,
        variable("QUARTERJACK_CAUSE")?,
    );
    eprintln!(
        "started at {}, to end by {}",
        variable("QUARTERJACK_STARTED_AT")?,
        variable("QUARTERJACK_DEADLINE")?,
    );
    // The only variable that may be absent: the first run has nothing before it.
    match env::var("QUARTERJACK_LAST_SUCCESS") {
        Ok(instant) => eprintln!("last success at {instant}"),
        Err(_) => eprintln!("no success before this run"),
    }

    // The instant the run is for, not the moment it got going: the same on every attempt.
    let scheduled_at = variable("QUARTERJACK_SCHEDULED_AT")?;
    let strokes = if strike { strokes(&scheduled_at) } else { None };
    Ok(match strokes {
        Some(strokes) => format!("{name}: {scheduled_at}, {strokes}"),
        None => format!("{name}: {scheduled_at}"),
    })
}

/// A variable that the host always sets.
fn variable(name: &str) -> Result<String, String> {
    env::var(name)
        .map_err(|_| format!("{name} is not set: this program is meant to be run by quarterjack"))
}

/// What the bells have to say at this instant: one "ting-tang" a quarter, and after the fourth
/// the hours. `None` between the quarters. `instant` is RFC 3339 in UTC.
fn strokes(instant: &str) -> Option<String> {
    let time = instant.split_once('T')?.1;
    let hour: usize = time.get(0..2)?.parse().ok()?;
    let quarters = match time.get(2..8)? {
        ":15:00" => 1,
        ":30:00" => 2,
        ":45:00" => 3,
        ":00:00" => 4,
        _ => return None,
    };
    let mut bells = vec!["ting-tang"; quarters];
    if quarters == 4 {
        bells.resize(quarters + (hour + 11) % 12 + 1, "bong");
    }
    Some(bells.join(" "))
}

#[cfg(test)]
mod tests {
    use super::strokes;

    #[test]
    fn quarters_and_hours_are_struck() {
        assert_eq!(
            strokes("2026-01-01T09:15:00Z").as_deref(),
            Some("ting-tang")
        );
        assert_eq!(
            strokes("2026-01-01T09:45:00.25Z").as_deref(),
            Some("ting-tang ting-tang ting-tang")
        );
        let three = "ting-tang ting-tang ting-tang ting-tang bong bong bong";
        assert_eq!(strokes("2026-01-01T15:00:00Z").as_deref(), Some(three));
        let midnight = strokes("2026-01-01T00:00:00Z").unwrap_or_default();
        assert_eq!(midnight.matches("bong").count(), 12);
    }

    #[test]
    fn between_the_quarters_it_is_quiet() {
        assert_eq!(strokes("2026-01-01T09:15:01Z"), None);
        assert_eq!(strokes("not an instant"), None);
        assert_eq!(strokes("T"), None);
    }
}
