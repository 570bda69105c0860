//! A look into the file of a store, beside a running host or without one. Nothing here writes.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::file::{self, OpenError};
use super::{by_hand, read_error, rows};
use crate::clock::Timestamp;
use crate::job::{JobId, Scope};
use crate::record::{
    JobStats, JobSummary, LastRun, Pause, RunPattern, RunQuery, RunRecord, Tally, is_failure,
};
use crate::run::{Outcome, RunId};
use crate::store::StoreError;

/// How many runs of a job are looked at to count its failures in a row.
const FAILURES: u32 = 1_000;

/// How many records are read at a time where all are looked at.
const PAGE: usize = 10_000;

/// The records in a data directory.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Opens the store in a data directory.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(directory: &Path) -> Result<Reader, OpenError> {
        Ok(Reader {
            connection: file::open_to_read(directory)?,
        })
    }

    /// Records, the newest first, each with its last attempt and without what that left behind.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        rows::read_runs(&self.connection, query).map_err(|error| read_error(&error))
    }

    /// One record, with all that its attempts left behind; nothing if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn run(&self, id: RunId) -> Result<Option<RunRecord>, StoreError> {
        rows::read_run(&self.connection, id).map_err(|error| read_error(&error))
    }

    /// The ids that are meant by a part of one, the newest first, at most `limit` of them.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn find_run(&self, pattern: &RunPattern, limit: usize) -> Result<Vec<RunId>, StoreError> {
        self.find(pattern, limit)
            .map_err(|error| read_error(&error))
    }

    fn find(&self, pattern: &RunPattern, limit: usize) -> rusqlite::Result<Vec<RunId>> {
        // What begins so lies together; what ends so is looked for among all, and an id that must
        // do both among all that begin so.
        let beginning = pattern.beginning();
        let (first, last) = match &beginning {
            Some(range) if pattern.is_both() || pattern.ending().is_none() => {
                (range.start().to_u128(), range.end().to_u128())
            }
            _ => (0, u128::MAX),
        };
        let mut ids = self
            .connection
            .prepare_cached("SELECT id FROM runs WHERE id BETWEEN ? AND ? ORDER BY id DESC")?;
        let bounds = params![first.to_be_bytes(), last.to_be_bytes()];
        let mut found = Vec::new();
        for id in ids.query_map(bounds, |row| row.get(0))? {
            let id = rows::from_key(id?);
            if pattern.matches(id) {
                found.push(id);
                if found.len() == limit {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// How each job stands that is in service or has records, in the order of their ids.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn jobs(&self) -> Result<Vec<JobSummary>, StoreError> {
        self.summaries().map_err(|error| read_error(&error))
    }

    fn summaries(&self) -> rusqlite::Result<Vec<JobSummary>> {
        let jobs = self
            .connection
            .prepare("SELECT name, trigger IS NOT NULL, last_success FROM jobs ORDER BY name")?
            .query_map([], |row| {
                let id = JobId::from(&*row.get::<_, String>(0)?);
                let last_success = row.get::<_, Option<i64>>(2)?.map(rows::from_nanos);
                Ok((id, row.get::<_, bool>(1)?, last_success))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let paused: Vec<Scope> = self.paused()?.into_iter().map(|it| it.scope).collect();
        let is_paused = |id: &JobId| {
            paused.first() == Some(&Scope::All) || paused.contains(&Scope::Job(id.clone()))
        };
        let mut summaries = Vec::with_capacity(jobs.len());
        for (id, in_service, last_success) in jobs {
            let newest = rows::read_runs(&self.connection, &RunQuery::newest(1).of(&id))?;
            if newest.is_empty() && !in_service {
                continue;
            }
            let failures = self.failures(&id)?;
            summaries.push(JobSummary {
                paused: is_paused(&id),
                id,
                in_service,
                last_run: newest.first().map(LastRun::of),
                last_success,
                next: None,
                failures,
            });
        }
        Ok(summaries)
    }

    /// What is paused, the widest first.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        self.paused().map_err(|error| read_error(&error))
    }

    fn paused(&self) -> rusqlite::Result<Vec<Pause>> {
        by_hand::read_pauses(&self.connection)
    }

    /// How many runs of a job have failed since the last one that succeeded.
    fn failures(&self, job: &JobId) -> rusqlite::Result<u64> {
        let id: Option<i64> = self
            .connection
            .prepare_cached("SELECT id FROM jobs WHERE name = ?")?
            .query_row([job.as_str()], |row| row.get(0))
            .optional()?;
        let mut statuses = self
            .connection
            .prepare_cached("SELECT status FROM runs WHERE job = ? ORDER BY id DESC LIMIT ?")?;
        let mut failures = 0;
        for status in statuses.query_map(params![id, FAILURES], |row| row.get(0))? {
            let status: String = status?;
            match Outcome::from_name(&status) {
                Some(Outcome::Succeeded) => break,
                Some(outcome) if is_failure(outcome) => failures += 1,
                _ => {} // neither done nor failed
            }
        }
        Ok(failures)
    }

    /// How the runs of each job have been that were recorded at this instant or later.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn stats(&self, since: Option<Timestamp>) -> Result<Vec<JobStats>, StoreError> {
        let mut tally = Tally::default();
        let mut query = RunQuery {
            since,
            ..RunQuery::newest(PAGE)
        };
        loop {
            let page = self.runs(&query)?;
            let Some(last) = page.last() else {
                return Ok(tally.stats());
            };
            query.before = Some(last.id);
            for record in &page {
                let retried = record.attempt().is_some_and(|attempt| attempt.number > 1);
                match retried.then(|| self.run(record.id)).transpose()?.flatten() {
                    Some(whole) => tally.count(&whole),
                    None => tally.count(record),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::record::Status;
    use crate::run::Cause;
    use crate::store::conformance::{execution, finished, firing, instant, job, skip};
    use crate::store::{FireResult, SqliteStore, Store};

    #[tokio::test]
    async fn what_a_host_writes_is_read_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path(), instant(0)).unwrap();
        let reader = Reader::open(dir.path()).unwrap();
        assert!(reader.jobs().unwrap().is_empty());
        let (a, b) = (job("a"), job("b"));
        let outcomes = [
            Outcome::Failed,
            Outcome::Succeeded,
            Outcome::TimedOut,
            Outcome::Cancelled,
            Outcome::Failed,
        ];
        let mut ids = Vec::new();
        for (second, outcome) in (1_700_000_000..).zip(outcomes) {
            let due = firing(&a, Cause::Schedule, second);
            let FireResult::Recorded(run) = store
                .fire(vec![due], instant(second))
                .await
                .unwrap()
                .remove(0)
            else {
                panic!("a new instant");
            };
            let end = finished(&run, second, execution(outcome));
            store.finished(end, None).await.unwrap();
            ids.push(run.id);
        }
        store.skipped(skip(&b, 1_700_000_100));
        store.state(&b.id).await.unwrap(); // after the skip

        let jobs = reader.jobs().unwrap();
        let ids_of_jobs: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
        assert_eq!(ids_of_jobs, ["a", "b"]);
        assert_eq!(jobs[0].failures, 2);
        assert_eq!(jobs[0].last_success, Some(instant(1_700_000_001)));
        assert!(jobs.iter().all(|job| !job.in_service));
        assert_eq!(jobs[0].last_run.as_ref().unwrap().id, ids[4]);

        for id in &ids {
            let typed = id.to_string();
            let found = |part: &str| {
                let pattern = RunPattern::parse(part).unwrap();
                reader.find_run(&pattern, 10).unwrap()
            };
            assert_eq!(found(&typed), [*id]);
            assert!(found(&typed[..6]).contains(id));
            assert_eq!(found(&typed[16..]), [*id]);
        }
        let stats = reader.stats(Some(instant(1_700_000_001))).unwrap();
        assert_eq!(stats[0].runs(), 4);
        assert_eq!(stats[0].fuel, 28);
        assert_eq!(stats[1].skipped(), 1);
        let one = reader.run(ids[0]).unwrap().unwrap();
        assert_eq!(one.status, Status::Finished(Outcome::Failed));
        drop(store);
        // And without it.
        assert_eq!(reader.runs(&RunQuery::newest(9)).unwrap().len(), 6);
        assert_eq!(Reader::open(dir.path()).unwrap().jobs().unwrap().len(), 2);
    }
}
