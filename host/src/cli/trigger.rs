//! `quarterjack trigger`: a job of the running host, now.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::client::Client;
use super::foreground::print_record;
use super::history::{Data, Past};
use super::output::json::json_line;
use super::output::summary::closing_of;
use super::output::{Screen, harmless};
use super::{Exit, Refusal, remark, signals};
use crate::control::Triggered;
use crate::event::EventJson;
use crate::record::{Detail, RunRecord, Status};
use crate::run::{Outcome, Output, RunId};

/// How often it is looked whether a run has ended.
const LOOK: Duration = Duration::from_millis(50);

/// How many looks there are until it is seen whether the host is still there.
const LOOKS: u32 = 40;

/// The arguments of `trigger`.
#[derive(Debug, Args)]
#[command(after_help = "  \
quarterjack trigger report\n  \
quarterjack trigger report --params '{\"day\": \"2026-11-22\"}' --wait\n  \
quarterjack trigger import --params @rows.json\n\
The run is one like any other: `overlap` and `max_instances` hold. Disabled and paused jobs run,\n\
too. With --wait the exit code says how the run ended, as with `run`; ^C leaves it alone.")]
pub(super) struct Trigger {
    /// The job
    #[arg(value_name = "JOB", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    job: String,
    /// Parameters for this run in place of the job's own, or @ and a file that has them
    #[arg(long, value_name = "JSON|@FILE")]
    params: Option<String>,
    /// Wait for the end of the run, and print what it left
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    data: Data,
    /// Print a JSON object: the run; with --wait its record
    #[arg(long)]
    json: bool,
}

/// What the host is sent.
#[derive(Serialize)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<Box<RawValue>>,
}

impl Trigger {
    /// Runs it.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let params = self.params.as_deref().map(params).transpose()?;
        let place = self.data.place()?;
        let client = Client::of(&place);
        let told: Triggered = client
            .post(&["jobs", &self.job, "trigger"], &Body { params })
            .map_err(|why| {
                let job = harmless(&self.job);
                client.explain(
                    why,
                    &format!(", or run the job once, here and now, with `quarterjack run {job}`"),
                )
            })?;
        let job = harmless(told.job.as_str());
        if !told.enabled {
            remark(&format!(
                "job `{job}` is disabled: it runs because you ask for it, not by its trigger"
            ));
        } else if let Some(by) = &told.paused_by {
            let by = harmless(&by.to_string());
            remark(&format!(
                "job `{job}` is paused ({by}): it runs because you ask for it, not by its trigger"
            ));
        }
        if !self.wait {
            let mut out = io::stdout().lock();
            if self.json {
                json_line(&told, &mut out)?;
            } else {
                writeln!(out, "run {} of {job}", told.run)?;
            }
            out.flush()?;
            return Ok(Exit::Ok);
        }
        let record = wait(told.run, &self.data.open()?, &client)?;
        if self.json {
            print_record(&EventJson::of_record(&record))?;
        } else {
            print(&record, screen)?;
        }
        Ok(match record.status {
            Status::Finished(Outcome::Succeeded) => Exit::Ok,
            _ => Exit::Failure,
        })
    }
}

/// Reads `--params`.
fn params(text: &str) -> Result<Box<RawValue>, Refusal> {
    let (text, place) = match text.strip_prefix('@') {
        None => (text.to_owned(), String::new()),
        Some(file) => {
            let read = std::fs::read_to_string(Path::new(file));
            let text = read.map_err(|error| {
                Refusal::failure(format_args!("--params: cannot read {file}: {error}"))
            })?;
            (text, format!("{file} is "))
        }
    };
    RawValue::from_string(text.trim().to_owned()).map_err(|error| {
        Refusal::usage(format_args!(
            "--params: {place}not JSON ({error}); write it like '{{\"name\": \"tower\"}}', or @FILE"
        ))
    })
}

/// Waits until a run has ended.
fn wait(run: RunId, past: &Past, client: &Client) -> Result<RunRecord, Refusal> {
    signals::listen(move |_, exit| {
        remark(&format!(
            "run {run} goes on; `quarterjack show {run}` shows how it ends, `quarterjack cancel {run}` ends it"
        ));
        std::process::exit(exit.code().into());
    })?;
    remark(&format!("run {run}; ^C leaves it alone"));
    let look = || -> Result<Option<RunRecord>, Refusal> {
        let read = |detail| past.history.run(run, detail).map_err(Refusal::failure);
        let record = match read(Detail::Outline)? {
            // It stays as it is now.
            Some(record) if record.status.is_final() => read(Detail::All)?,
            record => record,
        };
        let Some(record) = record else {
            return Err(Refusal::failure(format_args!(
                "run {run} is not in the history in {} any more",
                past.place
            )));
        };
        Ok(Some(record).filter(|record| record.status.is_final()))
    };
    loop {
        for _ in 0..LOOKS {
            if let Some(record) = look()? {
                return Ok(record);
            }
            std::thread::sleep(LOOK);
        }
        if !client.is_there() {
            // It may have ended with its host.
            return look()?.ok_or_else(|| {
                Refusal::failure(format_args!(
                    "the host has ended before run {run} did; what becomes of the run is decided when the next one starts (see `on_lost`)"
                ))
            });
        }
    }
}

/// Prints what a run left, as if it had been in the foreground.
fn print(record: &RunRecord, screen: Screen) -> Result<(), Refusal> {
    let Some(execution) = record.execution() else {
        if let Status::Skipped(reason) = &record.status {
            remark(&format!("not started: {}", harmless(&reason.to_string())));
        }
        return Ok(());
    };
    let mut log = io::stderr().lock();
    log.write_all(&execution.log)?;
    if !execution.log.is_empty() && !execution.log.ends_with(b"\n") {
        log.write_all(b"\n")?;
    }
    drop(log);
    if let Some(output) = &execution.output {
        let mut out = io::stdout().lock();
        out.write_all(output.as_bytes())?;
        if !matches!(output, Output::Bytes(_)) && !output.as_bytes().ends_with(b"\n") {
            out.write_all(b"\n")?;
        }
        out.flush()?;
    }
    let why = execution.error.as_deref().map(Arc::from);
    remark(&closing_of(execution, why.as_deref(), screen.err));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_json_from_the_command_line_or_a_file() {
        let read = |text: &str| {
            let read = params(text).map(|it| it.get().to_owned());
            read.map_err(|refusal| (refusal.exit, refusal.message))
        };
        assert_eq!(read(r#" {"b": 1.0} "#).unwrap(), r#"{"b": 1.0}"#);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.json");
        std::fs::write(&file, "[1]\n").unwrap();
        let named = format!("@{}", file.display());
        assert_eq!(read(&named).unwrap(), "[1]");
        std::fs::write(&file, "[1").unwrap();
        let (exit, said) = read(&named).unwrap_err();
        assert_eq!(exit, Exit::Usage);
        assert!(said.contains("p.json is not JSON"), "{said}");
        let (exit, said) = read("@no-such-file").unwrap_err();
        assert_eq!(exit, Exit::Failure);
        assert!(said.contains("cannot read no-such-file"), "{said}");
        assert_eq!(read("tower").unwrap_err().0, Exit::Usage);
    }
}
