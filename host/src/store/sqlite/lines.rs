//! Lines as rows, and back; and a look into their file beside a running host or without one.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};
use rusqlite_migration::M;

use super::file::{self, OpenError};
use super::read_error;
use super::rows::{from_count, from_key, from_nanos, strange, to_count, to_key, to_nanos};
use crate::job::JobId;
use crate::log::{LogBatch, LogLine, LogQuery, LogStream, LogSummary, LoggedLine};
use crate::run::{Level, RunId};
use crate::store::StoreError;
use crate::store::logs::EachLine;

/// The name of the file in a data directory.
pub(super) const FILE: &str = "logs.db";

/// The tables of every version, the oldest first. What is here is never changed: a new version
/// adds to it.
pub(super) const STEPS: &[M<'static>] = &[M::up(include_str!("logs.sql"))];

/// Writes a batch, within a transaction.
pub(super) fn write(connection: &Connection, batch: &LogBatch) -> rusqlite::Result<()> {
    let key = to_key(batch.run);
    let last_at = batch.lines.iter().map(|line| to_nanos(line.at)).max();
    connection
        .prepare_cached(
            "INSERT INTO logs (run, attempt, job, last_at, dropped, ended) \
             VALUES (?1, ?2, ?3, coalesce(?4, 0), ?5, ?6) \
             ON CONFLICT DO UPDATE SET last_at = max(last_at, coalesce(?4, last_at)), \
             dropped = dropped + ?5, ended = max(ended, ?6)",
        )?
        .execute(params![
            key,
            batch.attempt,
            batch.job.as_str(),
            last_at,
            to_count(batch.dropped),
            batch.ended
        ])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO lines (run, attempt, number, at, stream, level, text, cut, fields) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )?;
    for line in &batch.lines {
        let fields = (!line.fields.is_empty())
            .then(|| serde_json::to_string(&line.fields).unwrap_or_default());
        insert.execute(params![
            key,
            batch.attempt,
            to_count(line.number),
            to_nanos(line.at),
            line.stream.as_str(),
            line.level.map(Level::as_str),
            line.text,
            to_count(line.cut),
            fields,
        ])?;
    }
    Ok(())
}

/// Removes all that belongs to some runs.
pub(super) fn remove(connection: &Connection, runs: &[RunId]) -> rusqlite::Result<()> {
    for run in runs {
        for sql in [
            "DELETE FROM lines WHERE run = ?",
            "DELETE FROM logs WHERE run = ?",
        ] {
            connection.prepare_cached(sql)?.execute([to_key(*run)])?;
        }
    }
    Ok(())
}

/// The runs with lines that are older than this one.
pub(super) fn older(
    connection: &Connection,
    than: RunId,
    most: u32,
) -> rusqlite::Result<Vec<RunId>> {
    connection
        .prepare_cached("SELECT DISTINCT run FROM logs WHERE run < ? ORDER BY run LIMIT ?")?
        .query_map(params![to_key(than), most], |row| row.get(0).map(from_key))?
        .collect()
}

/// How many bytes of lines are read at once.
const PAGE: u64 = 256 << 10;

/// Where a page ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    run: RunId,
    attempt: u32,
    number: u64,
}

/// Tells of the lines that are wanted. They are read in pages, and nothing is open while they are
/// told of: whoever is told may take its time, and the log of the file would grow meanwhile.
pub(super) fn read(
    mut page: impl FnMut(Option<Place>) -> Result<(Vec<LoggedLine>, Option<Place>), StoreError>,
    each: EachLine<'_>,
) -> Result<(), StoreError> {
    let mut from = None;
    loop {
        let (lines, next) = page(from)?;
        for line in lines {
            if each(line) == ControlFlow::Break(()) {
                return Ok(());
            }
        }
        if next.is_none() {
            return Ok(());
        }
        from = next;
    }
}

/// Some of the lines that are wanted, after a place; and where they end, if there may be more.
pub(super) fn read_page(
    connection: &Connection,
    query: &LogQuery,
    from: Option<Place>,
) -> rusqlite::Result<(Vec<LoggedLine>, Option<Place>)> {
    let mut wanted = String::from("1");
    let mut values: Vec<Value> = Vec::new();
    let mut and = |condition: &str, value: Value| {
        wanted.push_str(" AND ");
        wanted.push_str(condition);
        values.push(value);
    };
    if let Some(run) = query.run {
        and("logs.run = ?", to_key(run).to_vec().into());
    }
    if let Some(job) = &query.job {
        and("logs.job = ?", job.as_str().to_owned().into());
    }
    if let Some(attempt) = query.attempt {
        and("logs.attempt = ?", i64::from(attempt).into());
    }
    let after = query.run.zip(query.after);
    let after = after.map(|(run, (attempt, number))| Place {
        run,
        attempt,
        number,
    });
    // A page of a run begins where the one before it ended, or else where it is asked for. It is
    // said so that the keys lead there.
    if let Some(place) = from.or(after) {
        let (key, attempt) = (to_key(place.run).to_vec(), i64::from(place.attempt));
        wanted.push_str(
            " AND (logs.run, logs.attempt) >= (?, ?) AND lines.number > \
             CASE WHEN logs.run = ? AND logs.attempt = ? THEN ? ELSE -1 END",
        );
        values.extend([key.clone().into(), attempt.into()]);
        values.extend([key.into(), attempt.into(), to_count(place.number).into()]);
    }
    if let Some(since) = query.since {
        // Most logs end before that, and need not be looked through.
        wanted.push_str(" AND logs.last_at >= ? AND lines.at >= ?");
        values.extend([to_nanos(since).into(), to_nanos(since).into()]);
    }
    if let Some(text) = &query.text {
        // What a line without a level says is its text: most others need not be built for that.
        wanted.push_str(" AND (lines.level IS NOT NULL OR instr(lines.text, ?) > 0)");
        values.push(text.clone().into());
    }
    // What is left is sorted out here: it is said in one place what a line has to have.
    let sql = format!(
        "SELECT logs.run, logs.attempt, job, number, at, stream, level, text, cut, fields \
         FROM logs CROSS JOIN lines ON lines.run = logs.run AND lines.attempt = logs.attempt \
         WHERE {wanted} ORDER BY logs.run, logs.attempt, lines.number"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let (mut lines, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let logged = line_of(row)?;
        if !query.wants(&logged) {
            continue;
        }
        let end = Place {
            run: logged.run,
            attempt: logged.attempt,
            number: logged.line.number,
        };
        bytes += logged.line.weight();
        lines.push(logged);
        if bytes >= PAGE {
            return Ok((lines, Some(end)));
        }
    }
    Ok((lines, None))
}

fn line_of(row: &Row<'_>) -> rusqlite::Result<LoggedLine> {
    let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let stream = text(5)?;
    let level: Option<String> = row.get(6)?;
    let fields: Option<String> = row.get(9)?;
    Ok(LoggedLine {
        run: from_key(row.get(0)?),
        attempt: row.get(1)?,
        job: JobId::from(text(2)?),
        line: LogLine {
            number: from_count(row.get(3)?),
            at: from_nanos(row.get(4)?),
            stream: LogStream::from_name(stream).ok_or_else(|| strange("stream", stream))?,
            level: level
                .map(|level| Level::from_name(&level).ok_or_else(|| strange("level", level)))
                .transpose()?,
            text: row.get(7)?,
            cut: from_count(row.get(8)?),
            fields: match fields {
                Some(fields) => {
                    serde_json::from_str(&fields).map_err(|error| strange("fields", error))?
                }
                None => Vec::new(),
            },
        },
    })
}

/// What is known of the logs of a run's attempts.
pub(super) fn summaries(connection: &Connection, run: RunId) -> rusqlite::Result<Vec<LogSummary>> {
    connection
        .prepare_cached("SELECT attempt, dropped, ended FROM logs WHERE run = ? ORDER BY attempt")?
        .query_map([to_key(run)], |row| {
            Ok(LogSummary {
                attempt: row.get(0)?,
                dropped: from_count(row.get(1)?),
                ended: row.get(2)?,
            })
        })?
        .collect()
}

/// The lines in a data directory, to be read.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    connection: Option<Connection>,
}

impl LogReader {
    /// Opens the lines of a data directory. Where there is no file yet there are none.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(directory: &Path) -> Result<LogReader, OpenError> {
        let path = directory.join(FILE);
        let connection = if path.exists() {
            Some(file::open_to_read_with(&path, STEPS.len())?)
        } else {
            None
        };
        Ok(LogReader { path, connection })
    }

    /// Tells of the lines that are wanted.
    ///
    /// # Errors
    /// They cannot be read; some may have been told of.
    pub fn lines(&self, query: &LogQuery, each: EachLine<'_>) -> Result<(), StoreError> {
        match &self.connection {
            Some(connection) => {
                let page = |from| read_page(connection, query, from);
                read(|from| page(from).map_err(|error| self.named(&error)), each)
            }
            None => Ok(()),
        }
    }

    /// What is known of the logs of a run's attempts, as far as they have logged anything.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn summaries(&self, run: RunId) -> Result<Vec<LogSummary>, StoreError> {
        match &self.connection {
            Some(connection) => summaries(connection, run).map_err(|error| self.named(&error)),
            None => Ok(Vec::new()),
        }
    }

    fn named(&self, error: &rusqlite::Error) -> StoreError {
        read_error("the logs", &self.path, error)
    }
}
