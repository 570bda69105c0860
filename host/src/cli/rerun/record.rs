//! The records of past runs, as `serve --json` and `run --json` print them, and as the history
//! tells them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::app::Identity;
use crate::cli::Refusal;
use crate::cli::history::{Past, View};
use crate::cli::output::{harmless, plural};
use crate::clock::{Timestamp, parse_instant};
use crate::event::EventJson;
use crate::record::{Detail, Kind, RunRecord, Status};
use crate::run::Cause;

/// The longest line that is read: far more than the record of the largest output and log takes.
const LONGEST_LINE: u64 = 1 << 30;

/// How many runs are named where one has to be chosen.
const NAMED: usize = 5;

/// What is read of an event's line. Everything may be missing: the line may tell of anything.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Record {
    #[serde(default)]
    event: String,
    run: Option<String>,
    attempt: Option<u32>,
    max_attempts: Option<u32>,
    cause: Option<String>,
    scheduled_at: Option<String>,
    started_at: Option<String>,
    run_started_at: Option<String>,
    last_success_at: Option<String>,
    /// The id of the job.
    pub(super) job: Option<String>,
    /// The name of the plugin's file.
    pub(super) plugin: Option<String>,
    /// SHA-256 of the plugin's file, in hexadecimal.
    pub(super) digest: Option<String>,
    /// How the job was defined, in short.
    pub(super) definition: Option<String>,
    /// Whether randomness and time came from the record.
    #[serde(default)]
    pub(super) deterministic: bool,
    /// Its parameters, if they were given for it.
    pub(super) params: Option<Box<RawValue>>,
    /// How it ended.
    pub(super) outcome: Option<String>,
    /// Why.
    pub(super) error: Option<String>,
    /// What it left behind.
    pub(super) output: Option<Box<RawValue>>,
    /// What kind of output that is.
    pub(super) output_type: Option<String>,
    /// Bytes of output that were not kept.
    pub(super) output_dropped_bytes: Option<u64>,
    /// What it said along the way.
    pub(super) log: Option<String>,
    /// Bytes of log that were not kept.
    pub(super) log_dropped_bytes: Option<u64>,
    /// Fuel used.
    pub(super) fuel_used: Option<u64>,
}

impl Record {
    /// Which run it is the record of.
    ///
    /// # Errors
    /// What is wrong with the record.
    pub(super) fn identity(&self) -> Result<Identity, String> {
        fn there<'a>(key: &str, value: Option<&'a String>) -> Result<&'a str, String> {
            value
                .map(String::as_str)
                .ok_or_else(|| format!("it has no `{key}`"))
        }
        fn instant(key: &str, value: Option<&String>) -> Result<Timestamp, String> {
            parse_instant(there(key, value)?).map_err(|error| format!("its `{key}`: {error}"))
        }
        let run = there("run", self.run.as_ref())?;
        let cause = there("cause", self.cause.as_ref())?;
        let attempt = self.attempt().max(1);
        let started_at = instant("started_at", self.started_at.as_ref())?;
        Ok(Identity {
            run: run
                .parse()
                .map_err(|()| format!("`{}` is not the id of a run", harmless(run)))?,
            attempt,
            // Told where there may be more than one.
            max_attempts: self.max_attempts.unwrap_or(attempt),
            cause: Cause::ALL
                .into_iter()
                .find(|known| known.as_str() == cause)
                .ok_or_else(|| format!("`{}` is not a cause of a run", harmless(cause)))?,
            scheduled_at: instant("scheduled_at", self.scheduled_at.as_ref())?,
            started_at,
            run_started_at: match &self.run_started_at {
                None => started_at,
                text => instant("run_started_at", text.as_ref())?,
            },
            last_success: match &self.last_success_at {
                None => None,
                text => Some(instant("last_success_at", text.as_ref())?),
            },
        })
    }

    /// The id of the run.
    pub(super) fn run(&self) -> &str {
        self.run.as_deref().unwrap_or_default()
    }

    fn attempt(&self) -> u32 {
        self.attempt.unwrap_or(1)
    }
}

/// The record of a run in the history: of the one whose id begins or ends so, or the newest of a
/// job that has ended.
///
/// # Errors
/// There is no such run, or it has not run to an end.
pub(super) fn find_past(past: &Past, wanted: &str, view: &View) -> Result<Record, Refusal> {
    let ended: Vec<Kind> = Kind::finished().collect();
    of_past(&past.find(wanted, view, Some(&ended), Detail::Last)?)
}

fn of_past(record: &RunRecord) -> Result<Record, Refusal> {
    let id = record.id;
    match &record.status {
        Status::Finished(_) => {}
        Status::Skipped(reason) => {
            return Err(Refusal::failure(format_args!(
                "run {id} never ran ({}): there is nothing to repeat; `quarterjack run {}` runs the job now",
                harmless(&reason.to_string()),
                harmless(record.job.as_str())
            )));
        }
        Status::Recorded | Status::Running => {
            return Err(Refusal::failure(format_args!(
                "run {id} has not ended yet: there is nothing to compare with"
            )));
        }
    }
    let told = serde_json::to_string(&EventJson::of_record(record));
    told.and_then(|told| serde_json::from_str(&told))
        .map_err(|error| {
            Refusal::failure(format_args!("cannot read the record of run {id}: {error}"))
        })
}

/// The record of a run in a file: of the one whose id begins or ends as `wanted` says, else of the last one.
/// Of a run that was tried several times, that of its last attempt; of one that is told twice, the
/// first.
///
/// # Errors
/// The file cannot be read, or it has no such run, or several.
pub(super) fn find(from: &Path, wanted: Option<&str>) -> Result<Record, Refusal> {
    let shown = from.display();
    let unreadable =
        |error: io::Error| Refusal::failure(format_args!("cannot read {shown}: {error}"));
    if from.as_os_str() == "-" {
        return find_in(io::stdin().lock(), "standard input", wanted);
    }
    let file = File::open(from).map_err(unreadable)?;
    find_in(BufReader::new(file), &shown.to_string(), wanted)
}

/// The same, in what a reader gives; `name` is what it is called.
fn find_in(mut from: impl BufRead, name: &str, wanted: Option<&str>) -> Result<Record, Refusal> {
    let mut search = Search::of(wanted);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let length = (&mut from)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .map_err(|error| Refusal::failure(format_args!("cannot read {name}: {error}")))?;
        if length == 0 {
            break;
        }
        if length as u64 == LONGEST_LINE {
            return Err(Refusal::failure(format_args!(
                "{name}:{number}: the line is longer than any record"
            )));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(&line) {
            Ok(record) => search.look_at(record),
            Err(_) => search.unread.push(number),
        }
    }
    search.end(name)
}

/// A search through records, in the order in which they are told.
struct Search<'a> {
    wanted: Option<&'a str>,
    found: Option<Record>,
    /// Other runs that are meant just as well.
    others: Vec<String>,
    /// How many records there were.
    records: usize,
    /// The last run of a job that has the id which a run was to have.
    of_job: Option<String>,
    /// The lines that are no JSON objects.
    unread: Vec<u64>,
}

impl<'a> Search<'a> {
    fn of(wanted: Option<&'a str>) -> Self {
        Search {
            wanted,
            found: None,
            others: Vec::new(),
            records: 0,
            of_job: None,
            unread: Vec::new(),
        }
    }

    fn look_at(&mut self, record: Record) {
        if record.event != "run.finished" {
            return;
        }
        self.records += 1;
        let again = self.found.as_ref().map(|found| {
            let again = found.run() == record.run();
            (again, record.attempt() > found.attempt())
        });
        if let Some(wanted) = self.wanted
            && !is_meant(record.run(), wanted)
        {
            if record.job.as_deref() == Some(wanted) {
                self.of_job = record.run;
            }
            return;
        }
        match again {
            Some((true, false)) => {}
            None | Some((true, true)) => self.found = Some(record),
            Some((false, _)) if self.wanted.is_none() => self.found = Some(record),
            Some((false, _)) => {
                let other = record.run.unwrap_or_default();
                if self.others.len() < NAMED && !self.others.contains(&other) {
                    self.others.push(other);
                }
            }
        }
    }

    fn end(self, name: &str) -> Result<Record, Refusal> {
        let wanted = self.wanted.map(harmless).unwrap_or_default();
        let Some(found) = self.found else {
            let mut message = match (self.records, self.wanted) {
                (0, _) => format!(
                    "no run in {name}: it has no line of `run.finished`, as `quarterjack serve --json` and `quarterjack run --json` print them"
                ),
                (records, _) => format!(
                    "no run `{wanted}` in {name}, which has {} of runs",
                    plural(records, "record")
                ),
            };
            if let Some(run) = self.of_job {
                message.push_str(&format!(
                    "; `{wanted}` is a job: its last run is {}",
                    harmless(&run)
                ));
            }
            if let [first, ..] = *self.unread {
                let count = self.unread.len();
                message.push_str(&format!(
                    "\n  (lines that could not be read as JSON objects: {count}, such as line {first}; each record is to be on one line)"
                ));
            }
            return Err(Refusal::failure(message));
        };
        if self.others.is_empty() {
            return Ok(found);
        }
        let mut names = vec![harmless(found.run())];
        names.extend(self.others.iter().map(|other| harmless(other)));
        let more = if names.len() > NAMED { ", …" } else { "" };
        names.truncate(NAMED);
        Err(Refusal::failure(format_args!(
            "`{wanted}` is the beginning or the end of several runs in {name}: {}{more}; give more of the id",
            names.join(", ")
        )))
    }
}

/// Whether an id begins or ends as somebody has typed it.
fn is_meant(id: &str, typed: &str) -> bool {
    let (id, typed) = (id.as_bytes(), typed.as_bytes());
    let same = |part: Option<&[u8]>| part.is_some_and(|part| part.eq_ignore_ascii_case(typed));
    let start = id.len().wrapping_sub(typed.len());
    same(id.get(..typed.len())) || same(id.get(start..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::history::fixtures;

    const FILE: &str = r#"{"event":"host.started","at":"2026-01-01T00:00:00Z","jobs":2,"plugins":1}
{"event":"run.started","run":"01AB3","job":"report"}
{"event":"run.finished","run":"01AB3","job":"report","attempt":1,"outcome":"failed"}
{"event":"run.finished","run":"01AB3","job":"report","attempt":2,"outcome":"succeeded","output":{"a": 1.0}}
{"event":"run.finished","run":"01AB3","job":"report","attempt":2,"outcome":"trapped"}

half a li
{"event":"run.finished","run":"01CD3","job":"tidy","attempt":1,"outcome":"timed_out"}
"#;

    fn found(wanted: Option<&str>) -> Result<(String, String), String> {
        find_in(FILE.as_bytes(), "log", wanted)
            .map(|record| (record.run().to_owned(), record.outcome.unwrap()))
            .map_err(|refusal| refusal.message)
    }

    #[test]
    fn a_run_is_found_by_either_end_of_its_id_or_is_the_last() {
        let report = || Ok(("01AB3".to_owned(), "succeeded".to_owned()));
        assert_eq!(found(Some("01AB3")), report());
        assert_eq!(found(Some("01a")), report());
        assert_eq!(found(Some("b3")), report());
        let last = Ok(("01CD3".to_owned(), "timed_out".to_owned()));
        assert_eq!(found(None), last);
        let record = find_in(FILE.as_bytes(), "log", Some("01AB")).unwrap();
        assert_eq!(record.output.unwrap().get(), "{\"a\": 1.0}");
    }

    #[test]
    fn what_is_not_found_is_said_with_what_there_is() {
        let said = |wanted| found(wanted).unwrap_err();
        insta::assert_snapshot!(said(Some("01")), @"`01` is the beginning or the end of several runs in log: 01AB3, 01CD3; give more of the id");
        insta::assert_snapshot!(said(Some("99")), @r"
        no run `99` in log, which has 4 records of runs
          (lines that could not be read as JSON objects: 1, such as line 7; each record is to be on one line)
        ");
        insta::assert_snapshot!(said(Some("tidy")), @r"
        no run `tidy` in log, which has 4 records of runs; `tidy` is a job: its last run is 01CD3
          (lines that could not be read as JSON objects: 1, such as line 7; each record is to be on one line)
        ");
        let empty = find_in(&b"\n{\"event\":\"host.stopped\"}\n[1]\n"[..], "log", None);
        insta::assert_snapshot!(empty.unwrap_err().message, @r"
        no run in log: it has no line of `run.finished`, as `quarterjack serve --json` and `quarterjack run --json` print them
          (lines that could not be read as JSON objects: 1, such as line 3; each record is to be on one line)
        ");
    }

    #[test]
    fn a_run_in_the_history_is_told_what_it_was_told() {
        let find = |wanted: &str| find_past(&fixtures::past(), wanted, &fixtures::view(80));
        let record = find("C5E3").unwrap();
        let identity = record.identity().unwrap();
        assert!(identity.run.to_string().ends_with("C5E3"));
        assert_eq!((identity.attempt, identity.cause), (2, Cause::Schedule));
        let due = fixtures::at("2026-11-23T11:55:00Z");
        assert_eq!(identity.scheduled_at, due);
        assert_eq!(
            identity.started_at,
            due + chrono::TimeDelta::milliseconds(82)
        );
        assert!(record.deterministic);
        assert_eq!(record.outcome.as_deref(), Some("timed_out"));
        assert_eq!(record.log.as_deref(), Some("waiting for a lock"));
        assert_eq!(record.fuel_used, Some(1_900_000_000));

        assert!(find("report").unwrap().run().ends_with("C5EH"));
        let said = |wanted: &str| find(wanted).unwrap_err().message;
        assert!(said("C5E4").contains("never ran (previous run still going (max_instances 1))"));
        assert!(said("C5E2").contains("has not ended yet"));
        assert!(said("ZZZZ").starts_with("no run and no job `ZZZZ` in the history in DIR"));
    }

    #[test]
    fn a_record_that_is_not_whole_says_what_it_lacks() {
        let identity = |line: &str| serde_json::from_str::<Record>(line).unwrap().identity();
        let whole = r#"{"run":"01KJMZ7Q8W3D9T6B4RX2VNC5EH","attempt":3,"cause":"catch-up",
            "scheduled_at":"2026-01-01T00:00:00Z","started_at":"2026-01-01T00:00:01.5Z",
            "last_success_at":"2025-12-31T00:00:00Z"}"#;
        let read = identity(whole).unwrap();
        assert_eq!(read.run.to_string(), "01KJMZ7Q8W3D9T6B4RX2VNC5EH");
        assert_eq!((read.attempt, read.cause), (3, Cause::CatchUp));
        assert_eq!(
            read.started_at,
            parse_instant("2026-01-01T00:00:01.5Z").unwrap()
        );
        assert_eq!(
            read.last_success,
            Some(parse_instant("2025-12-31T00:00:00Z").unwrap())
        );
        let said = |from: &str, to: &str| identity(&whole.replace(from, to)).unwrap_err();
        assert_eq!(
            said("01KJM", "01KJ"),
            "`01KJZ7Q8W3D9T6B4RX2VNC5EH` is not the id of a run"
        );
        assert_eq!(said("\"cause\"", "\"x\""), "it has no `cause`");
        assert_eq!(
            said("catch-up", "\\u001b"),
            "`\\u{1b}` is not a cause of a run"
        );
        assert!(said("2026-01-01T00:00:01.5Z", "soon").starts_with("its `started_at`: `soon`"));
    }
}
