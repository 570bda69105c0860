//! Records as rows, and back.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::job::{DefinitionDigest, JobId};
use crate::record::{AttemptEnd, AttemptRecord, Detail, Kind, RunQuery, RunRecord, Status};
use crate::run::{
    Cause, Denial, Denials, Execution, Level, LogEntry, Outcome, Output, PluginDigest, Progress,
    Retry, RunId, SkipReason,
};

/// An instant as it is kept: nanoseconds since 1970, which end in 1677 and 2262.
pub(super) fn to_nanos(instant: Timestamp) -> i64 {
    instant.timestamp_nanos_opt().unwrap_or_else(|| {
        if instant < Timestamp::UNIX_EPOCH {
            i64::MIN
        } else {
            i64::MAX
        }
    })
}

pub(super) fn from_nanos(nanos: i64) -> Timestamp {
    Timestamp::from_timestamp_nanos(nanos)
}

/// A count as it is kept.
pub(super) fn to_count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn from_count(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

fn to_length(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

pub(super) fn to_key(run: RunId) -> [u8; 16] {
    run.to_u128().to_be_bytes()
}

pub(super) fn from_key(key: [u8; 16]) -> RunId {
    RunId::from_u128(u128::from_be_bytes(key))
}

/// The first key that a record of an instant or a later one may have.
pub(super) fn first_key(instant: Timestamp) -> [u8; 16] {
    let millis = u64::try_from(instant.timestamp_millis()).unwrap_or(0);
    (u128::from(millis) << 80).to_be_bytes()
}

/// A value that no version has written: the file is not what it should be.
pub(super) fn strange(column: &str, value: impl std::fmt::Debug) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        0,
        rusqlite::types::Type::Null,
        format!("{column} is {value:?}").into(),
    )
}

/// The columns of [`run_of`].
const RUN: &str = "runs.id, jobs.name, cause, scheduled_at, recorded_at, max_attempts, \
     runs.last_success, deterministic, status, reason, reason_number, reason_text, \
     components.name, definition";

/// What [`RUN`] needs besides `runs`.
const NAMES: &str = "CROSS JOIN jobs ON jobs.id = runs.job \
     CROSS JOIN components ON components.id = runs.component";

fn run_of(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    let cause: String = row.get(2)?;
    Ok(RunRecord {
        id: from_key(row.get(0)?),
        job: JobId::from(&*row.get::<_, String>(1)?),
        component: row.get::<_, String>(12)?.into(),
        definition: row
            .get::<_, Option<i64>>(13)?
            .map(|digest| DefinitionDigest(digest.cast_unsigned())),
        cause: Cause::from_name(&cause).ok_or_else(|| strange("cause", cause))?,
        scheduled_at: from_nanos(row.get(3)?),
        recorded_at: from_nanos(row.get(4)?),
        max_attempts: row.get(5)?,
        last_success: row.get::<_, Option<i64>>(6)?.map(from_nanos),
        deterministic: row.get(7)?,
        params: None,
        status: status_of(row, 8)?,
        attempts: Vec::new(),
    })
}

/// The status, of the column `status` and the three of a reason after it.
pub(super) fn status_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Status> {
    let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    Ok(match text(column)? {
        "recorded" => Status::Recorded,
        "running" => Status::Running,
        "skipped" => {
            let name = text(column + 1)?;
            let number: Option<i64> = row.get(column + 2)?;
            let more: Option<String> = row.get(column + 3)?;
            SkipReason::from_parts(name, number.map(from_count), more.as_deref())
                .map(Status::Skipped)
                .ok_or_else(|| strange("reason", name))?
        }
        outcome => Outcome::from_name(outcome)
            .map(Status::Finished)
            .ok_or_else(|| strange("status", outcome))?,
    })
}

/// The columns of [`attempt_of`], of `attempts`.
const ATTEMPT: &str = "number, started_at, ended_at, outcome, error, fuel, memory, cpu, elapsed, \
     plugin, output_dropped, log_dropped, denied";

fn attempt_of(row: &Row<'_>) -> rusqlite::Result<AttemptRecord> {
    let outcome: Option<String> = row.get(3)?;
    let ended_at: Option<i64> = row.get(2)?;
    let end = match (ended_at, outcome) {
        (Some(at), Some(outcome)) => {
            let count = |column| row.get::<_, i64>(column).map(from_count);
            let length = |column| count(column).map(Duration::from_nanos);
            let execution = Execution {
                plugin: row.get::<_, Option<[u8; 32]>>(9)?.map(PluginDigest),
                fuel_used: count(5)?,
                memory_peak: count(6)?,
                cpu_time: length(7)?,
                elapsed: length(8)?,
                output_dropped: count(10)?,
                log_dropped: count(11)?,
                error: row.get(4)?,
                denials: Denials {
                    count: count(12)?,
                    first: Vec::new(),
                },
                ..Execution::without_guest(
                    Outcome::from_name(&outcome).ok_or_else(|| strange("outcome", outcome))?,
                    "",
                    Retry::Never,
                )
            };
            Some(AttemptEnd {
                at: from_nanos(at),
                execution: Arc::new(execution),
            })
        }
        _ => None,
    };
    Ok(AttemptRecord {
        number: row.get(0)?,
        started_at: from_nanos(row.get(1)?),
        end,
    })
}

/// What an attempt told, as it is kept.
#[derive(Serialize, Deserialize, Default)]
struct Told {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    entries: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    denials: Vec<Denial>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
}

/// An entry of a log, as it is kept.
#[derive(Serialize, Deserialize)]
struct Entry {
    level: Level,
    message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<(String, String)>,
    /// Nanoseconds after the start of the attempt.
    after: u64,
}

/// Keeps the end of an attempt that is known to have begun.
pub(super) fn write_end(
    connection: &Connection,
    run: RunId,
    number: u32,
    started_at: Timestamp,
    end: &AttemptEnd,
) -> rusqlite::Result<()> {
    let how = &*end.execution;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO attempts (run, number, started_at, ended_at, outcome, error, \
             fuel, memory, cpu, elapsed, plugin, output_dropped, log_dropped, denied) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            to_key(run),
            number,
            to_nanos(started_at),
            to_nanos(end.at),
            how.outcome.as_str(),
            how.error,
            to_count(how.fuel_used),
            to_count(how.memory_peak),
            to_length(how.cpu_time),
            to_length(how.elapsed),
            how.plugin.map(|digest| digest.0),
            to_count(how.output_dropped),
            to_count(how.log_dropped),
            to_count(how.denials.count),
        ])?;
    let told = Told {
        entries: how.entries.iter().map(Entry::of).collect(),
        denials: how.denials.first.clone(),
        progress: how.progress.clone(),
    };
    let told = (!told.is_empty()).then(|| serde_json::to_string(&told).unwrap_or_default());
    if how.output.is_some() || !how.log.is_empty() || told.is_some() {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO results (run, number, output_type, output, log, told) \
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                to_key(run),
                number,
                how.output.as_ref().map(Output::kind),
                how.output.as_ref().map(Output::as_bytes),
                (!how.log.is_empty()).then_some(&how.log),
                told,
            ])?;
    }
    Ok(())
}

impl Told {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.denials.is_empty() && self.progress.is_none()
    }
}

impl Entry {
    fn of(entry: &LogEntry) -> Entry {
        Entry {
            level: entry.level,
            message: entry.message.clone(),
            fields: entry.fields.clone(),
            after: u64::try_from(entry.after.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    fn restored(self) -> LogEntry {
        LogEntry {
            level: self.level,
            message: self.message,
            fields: self.fields,
            after: Duration::from_nanos(self.after),
        }
    }
}

/// Adds to the end of an attempt what it left behind; its output only if it is wanted.
fn read_result(
    connection: &Connection,
    run: RunId,
    attempt: &mut AttemptRecord,
    with_output: bool,
) -> rusqlite::Result<()> {
    let Some(end) = &mut attempt.end else {
        return Ok(());
    };
    type Result = (
        Option<String>,
        Option<Vec<u8>>,
        Option<Vec<u8>>,
        Option<String>,
    );
    let result: Option<Result> = connection
        .prepare_cached(if with_output {
            "SELECT output_type, output, log, told FROM results WHERE run = ? AND number = ?"
        } else {
            "SELECT NULL, NULL, log, told FROM results WHERE run = ? AND number = ?"
        })?
        .query_row(params![to_key(run), attempt.number], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((kind, output, log, told)) = result else {
        return Ok(());
    };
    let mut how = (*end.execution).clone();
    how.output = match (kind, output) {
        (Some(kind), Some(bytes)) => Some(output_of(&kind, bytes)?),
        _ => None,
    };
    how.log = log.unwrap_or_default();
    if let Some(told) = told {
        let told: Told = serde_json::from_str(&told).map_err(|error| strange("told", error))?;
        how.entries = told.entries.into_iter().map(Entry::restored).collect();
        how.denials.first = told.denials;
        how.progress = told.progress;
    }
    end.execution = Arc::new(how);
    Ok(())
}

fn output_of(kind: &str, bytes: Vec<u8>) -> rusqlite::Result<Output> {
    let text = |bytes| String::from_utf8(bytes).map_err(|_| strange("output", "not text"));
    Ok(match kind {
        "bytes" => Output::Bytes(bytes),
        "json" => Output::Json(
            RawValue::from_string(text(bytes)?).map_err(|error| strange("output", error))?,
        ),
        _ => Output::Text(text(bytes)?),
    })
}

/// The index over the few records among which those of a query are, if there is one, and what
/// holds for all that it is over.
fn index_for(query: &RunQuery) -> Option<(&'static str, &'static str)> {
    let kinds = query.kind.as_ref()?;
    let is_open = |kind: &Kind| matches!(kind, Kind::Recorded | Kind::Running);
    if kinds.iter().all(is_open) {
        return Some(("INDEXED BY runs_open", "status IN ('recorded', 'running')"));
    }
    let is_well = |kind: &Kind| *kind == Kind::Finished(Outcome::Succeeded);
    if kinds.iter().any(|kind| is_open(kind) || is_well(kind)) {
        return None;
    }
    let name = match query.job {
        Some(_) => "INDEXED BY runs_apart_of_job",
        None => "INDEXED BY runs_apart",
    };
    Some((name, "status NOT IN ('recorded', 'running', 'succeeded')"))
}

/// The records that are wanted, each with its last attempt and without what that left behind.
pub(super) fn read_runs(
    connection: &Connection,
    query: &RunQuery,
) -> rusqlite::Result<Vec<RunRecord>> {
    if query.kind.as_ref().is_some_and(|kinds| kinds.is_empty()) {
        return Ok(Vec::new());
    }
    let mut wanted = String::from("1");
    let mut values: Vec<Value> = Vec::new();
    let mut and = |condition: &str, value: Value| {
        wanted.push_str(" AND ");
        wanted.push_str(condition);
        values.push(value);
    };
    if let Some(job) = &query.job {
        let id: Option<i64> = connection
            .prepare_cached("SELECT id FROM jobs WHERE name = ?")?
            .query_row([job.as_str()], |row| row.get(0))
            .optional()?;
        let Some(id) = id else {
            return Ok(Vec::new());
        };
        and("runs.job = ?", id.into());
    }
    // Ids sort by the time of the record, to the millisecond: what is left is sorted out below.
    let from = |instant| first_key(instant).to_vec();
    if let Some(since) = query.since {
        and("runs.id >= ?", from(since).into());
        and("recorded_at >= ?", to_nanos(since).into());
    }
    if let Some(until) = query.until {
        and("recorded_at < ?", to_nanos(until).into());
    }
    if let Some(before) = query.before {
        and("runs.id < ?", to_key(before).to_vec().into());
    }
    let index = index_for(query);
    if let Some((_, holds)) = index {
        wanted.push_str(" AND ");
        wanted.push_str(holds);
    }
    if let Some(kinds) = &query.kind {
        let marks = vec!["?"; kinds.len()].join(", ");
        wanted.push_str(&format!(" AND status IN ({marks})"));
        values.extend(kinds.iter().map(|kind| kind.as_str().to_owned().into()));
    }
    values.push(to_count(query.limit as u64).into());
    let by = index.map(|(name, _)| name).unwrap_or_default();
    let sql =
        format!("SELECT {RUN} FROM runs {by} {NAMES} WHERE {wanted} ORDER BY runs.id DESC LIMIT ?");
    let mut runs = connection
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), run_of)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let last = format!("SELECT {ATTEMPT} FROM attempts WHERE run = ? ORDER BY number DESC LIMIT 1");
    let mut last = connection.prepare_cached(&last)?;
    for run in &mut runs {
        run.attempts = last
            .query_map([to_key(run.id)], attempt_of)?
            .collect::<rusqlite::Result<_>>()?;
    }
    Ok(runs)
}

/// A record with all of its attempts, and of what they left behind as much as is wanted.
pub(super) fn read_run(
    connection: &Connection,
    id: RunId,
    detail: Detail,
) -> rusqlite::Result<Option<RunRecord>> {
    let sql = format!("SELECT {RUN} FROM runs {NAMES} WHERE runs.id = ?");
    let run = connection
        .prepare_cached(&sql)?
        .query_row([to_key(id)], run_of)
        .optional()?;
    let Some(mut run) = run else {
        return Ok(None);
    };
    let sql = format!("SELECT {ATTEMPT} FROM attempts WHERE run = ? ORDER BY number");
    run.attempts = connection
        .prepare_cached(&sql)?
        .query_map([to_key(id)], attempt_of)?
        .collect::<rusqlite::Result<_>>()?;
    let before_the_last = run.attempts.len().saturating_sub(1);
    for (index, attempt) in run.attempts.iter_mut().enumerate() {
        match detail {
            Detail::Logs => read_result(connection, id, attempt, false)?,
            Detail::All => read_result(connection, id, attempt, true)?,
            Detail::Last if index == before_the_last => {
                read_result(connection, id, attempt, true)?;
            }
            Detail::Last | Detail::Outline => {}
        }
    }
    run.params = connection
        .prepare_cached("SELECT params FROM given WHERE run = ?")?
        .query_row([to_key(id)], |row| row.get::<_, String>(0))
        .optional()?
        .map(Into::into);
    Ok(Some(run))
}

/// The records of all runs that have no end, the oldest first, with their attempts.
pub(super) fn read_open(connection: &Connection) -> rusqlite::Result<Vec<RunRecord>> {
    let ids = connection
        .prepare("SELECT id FROM runs WHERE status IN ('recorded', 'running') ORDER BY id")?
        .query_map([], |row| row.get(0).map(from_key))?
        .collect::<rusqlite::Result<Vec<RunId>>>()?;
    let runs = ids
        .into_iter()
        .map(|id| read_run(connection, id, Detail::Outline));
    Ok(runs
        .collect::<rusqlite::Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}
