//! What is too old or too much, found on the side of those who read, so that nobody who writes
//! waits for the search.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::{first_key, from_key, to_count};
use crate::clock::Timestamp;
use crate::record::Retention;
use crate::run::RunId;

/// How many records are found at most in one search.
const FOUND: u32 = 10_000;

/// How many are removed in one transaction: few enough that firings hardly wait.
pub(super) const GROUP: usize = 250;

/// That a record has an end.
const ENDED: &str = "status NOT IN ('recorded', 'running')";

/// The records that are not to be kept any longer, some thousands at most: the oldest first.
/// `logs` says how many bytes the lines of the runs take.
pub(super) fn find(
    connection: &Connection,
    keep: &Retention,
    now: Timestamp,
    logs: impl FnOnce() -> rusqlite::Result<u64>,
) -> rusqlite::Result<Vec<RunId>> {
    let mut found = Vec::new();
    if let Some(age) = keep.age {
        let since = chrono::TimeDelta::from_std(age)
            .ok()
            .and_then(|age| now.checked_sub_signed(age));
        if let Some(since) = since {
            let first_kept = first_key(since);
            let sql = format!("SELECT id FROM runs WHERE id < ? AND {ENDED} ORDER BY id LIMIT ?");
            found = ids(connection, &sql, params![first_kept, FOUND])?;
        }
    }
    if let Some(most) = keep.runs_per_job
        && found.is_empty()
    {
        found = beyond(connection, most)?;
    }
    if let Some(size) = keep.size
        && found.is_empty()
        && used(connection)?.saturating_add(logs()?) > size
    {
        let sql = format!("SELECT id FROM runs WHERE {ENDED} ORDER BY id LIMIT ?");
        found = ids(connection, &sql, params![FOUND])?;
    }
    Ok(found)
}

/// The oldest record there is.
pub(super) fn oldest(connection: &Connection) -> rusqlite::Result<Option<RunId>> {
    connection
        .prepare_cached("SELECT id FROM runs ORDER BY id LIMIT 1")?
        .query_row([], |row| row.get(0).map(from_key))
        .optional()
}

/// The records of each job beyond its newest so many.
fn beyond(connection: &Connection, most: u64) -> rusqlite::Result<Vec<RunId>> {
    let jobs: Vec<i64> = connection
        .prepare_cached("SELECT id FROM jobs")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let sql = format!(
        "SELECT id FROM (SELECT id, status FROM runs WHERE job = ? ORDER BY id DESC \
         LIMIT ? OFFSET ?) WHERE {ENDED}"
    );
    let mut found = Vec::new();
    for job in jobs {
        if found.len() >= FOUND as usize {
            break;
        }
        found.extend(ids(connection, &sql, params![job, FOUND, to_count(most)])?);
    }
    Ok(found)
}

/// How many bytes of the file are in use.
pub(super) fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))
    };
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok(u64::try_from(pages * pragma("page_size")?).unwrap_or(0))
}

fn ids(
    connection: &Connection,
    sql: &str,
    bounds: impl rusqlite::Params,
) -> rusqlite::Result<Vec<RunId>> {
    connection
        .prepare_cached(sql)?
        .query_map(bounds, |row| row.get(0).map(from_key))?
        .collect()
}
