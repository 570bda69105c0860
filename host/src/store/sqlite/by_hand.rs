//! What is held back, and which instants of a job have a run: what is asked about a host that
//! somebody steers by hand.

use std::path::Path;

use rusqlite::{Connection, params};

use super::file::{self, FILE, Hold, OpenError};
use super::rows::{from_nanos, to_nanos};
use crate::clock::Timestamp;
use crate::job::{JobId, Scope};
use crate::record::Pause;

/// What is paused, the widest first.
pub(super) fn read_pauses(connection: &Connection) -> rusqlite::Result<Vec<Pause>> {
    let mut rows = connection.prepare_cached("SELECT kind, name, since FROM pauses")?;
    let rows = rows.query_map([], |row| {
        let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
        let since = from_nanos(row.get(2)?);
        Ok(Scope::from_parts(&kind, &name).map(|scope| Pause { scope, since }))
    })?;
    let mut pauses = Vec::new();
    for pause in rows {
        pauses.extend(pause?);
    }
    pauses.sort_unstable_by(|one, other| one.scope.cmp(&other.scope));
    Ok(pauses)
}

/// Pauses something since an instant, or lets it go on. Says whether that was a change.
pub(super) fn set_paused(
    connection: &Connection,
    scope: &Scope,
    since: Option<Timestamp>,
) -> rusqlite::Result<bool> {
    let (kind, name) = scope.to_parts();
    let changed = match since {
        Some(since) => connection
            .prepare_cached(
                "INSERT INTO pauses (kind, name, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            )?
            .execute(params![kind, name, to_nanos(since)])?,
        None => connection
            .prepare_cached("DELETE FROM pauses WHERE kind = ? AND name = ?")?
            .execute(params![kind, name])?,
    };
    Ok(changed > 0)
}

/// Pauses something in a data directory that no host works with, or lets it go on. Says whether
/// that was a change. What the last host left is for the next one to look at.
///
/// # Errors
/// [`OpenError`]: there is no store, or a host works with it.
pub fn set_paused_at_rest(
    directory: &Path,
    scope: &Scope,
    paused: bool,
    now: Timestamp,
) -> Result<bool, OpenError> {
    let path = directory.join(FILE);
    if !path.exists() {
        return Err(OpenError::Missing {
            path: directory.to_owned(),
        });
    }
    let _hold = Hold::take(directory, now)?;
    let connection = file::open(directory)?;
    let since = paused.then_some(now);
    set_paused(&connection, scope, since).map_err(|error| file::name(&path, &error))
}

/// The instants of a job from `from` on and before `until` that have a run.
pub(super) fn instants(
    connection: &Connection,
    job: &JobId,
    from: Timestamp,
    until: Timestamp,
) -> rusqlite::Result<Vec<Timestamp>> {
    connection
        .prepare_cached(
            "SELECT scheduled_at FROM runs WHERE job = (SELECT id FROM jobs WHERE name = ?) \
             AND is_unique = 1 AND status != 'skipped' \
             AND scheduled_at >= ? AND scheduled_at < ? ORDER BY scheduled_at",
        )?
        .query_map(
            params![job.as_str(), to_nanos(from), to_nanos(until)],
            |row| row.get(0).map(from_nanos),
        )?
        .collect()
}

/// Has instants of a job be recorded once more whose runs were skipped.
pub(super) fn reopen(
    connection: &Connection,
    job: &JobId,
    instants: &[Timestamp],
) -> rusqlite::Result<()> {
    let mut reopen = connection.prepare_cached(
        "UPDATE runs SET is_unique = 0 WHERE job = (SELECT id FROM jobs WHERE name = ?) \
         AND is_unique = 1 AND scheduled_at = ? AND status = 'skipped'",
    )?;
    for instant in instants {
        reopen.execute(params![job.as_str(), to_nanos(*instant)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Cause;
    use crate::store::conformance::{firing, instant, job, record};
    use crate::store::sqlite::Reader;
    use crate::store::{SqliteStore, Store};

    #[tokio::test]
    async fn a_pause_at_rest_takes_nothing_from_the_next_host() {
        let dir = tempfile::tempdir().unwrap();
        let set = |paused| set_paused_at_rest(dir.path(), &Scope::All, paused, instant(7));
        assert!(matches!(set(true), Err(OpenError::Missing { .. })));
        let a = job("a");
        let store = SqliteStore::open(dir.path(), instant(0)).unwrap();
        let run = record(&store, firing(&a, Cause::Schedule, 60)).await;
        assert!(matches!(set(true), Err(OpenError::InUse { .. })));
        drop(store);
        assert!(set(true).unwrap());
        assert!(!set(true).unwrap());
        let all = Pause {
            scope: Scope::All,
            since: instant(7),
        };
        assert_eq!(
            Reader::open(dir.path()).unwrap().pauses().unwrap(),
            std::slice::from_ref(&all)
        );

        let store = SqliteStore::open(dir.path(), instant(99)).unwrap();
        let recovered = store.recover().await.unwrap();
        assert_eq!(recovered.unfinished.len(), 1);
        assert_eq!(recovered.unfinished[0].record.id, run.id);
        assert_eq!(store.pauses().await.unwrap(), [all]);
        drop(store);
        assert!(set(false).unwrap());
        assert!(!set(false).unwrap());
    }
}
