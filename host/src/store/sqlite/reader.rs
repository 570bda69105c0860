//! A look into the file of a store, beside a running host or without one. Nothing here writes.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, params};

use super::file::{self, OpenError};
use super::{by_hand, definitions, outbox, read_error, rows};
use crate::clock::Timestamp;
use crate::job::{JobId, Scope};
use crate::record::Delivery;
use crate::record::{
    Detail, JobChange, JobStats, JobSummary, LastRun, Pause, RunPattern, RunQuery, RunRecord,
    Status, Tally, is_failure,
};
use crate::run::{Outcome, RunId};
use crate::store::StoreError;

/// How many runs of a job are looked at to count its failures in a row.
const FAILURES: u32 = 1_000;

/// The records in a data directory.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    directory: PathBuf,
}

impl Reader {
    /// Opens the store in a data directory.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(directory: &Path) -> Result<Reader, OpenError> {
        Ok(Reader {
            connection: file::open_to_read(directory)?,
            directory: directory.to_owned(),
        })
    }

    fn named(&self, error: &rusqlite::Error) -> StoreError {
        read_error("the history", &self.directory.join(file::FILE), error)
    }

    /// Whether a host works with the data directory.
    pub fn is_written(&self) -> bool {
        file::is_held(&self.directory)
    }

    /// Records, the newest first, each with its last attempt and without what that left behind.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        rows::read_runs(&self.connection, query).map_err(|error| self.named(&error))
    }

    /// One record with all of its attempts, and of what they left behind as much as is wanted;
    /// nothing if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn run(&self, id: RunId, detail: Detail) -> Result<Option<RunRecord>, StoreError> {
        rows::read_run(&self.connection, id, detail).map_err(|error| self.named(&error))
    }

    /// The ids that are meant by a part of one, the newest first, at most `limit` of them.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn find_run(&self, pattern: &RunPattern, limit: usize) -> Result<Vec<RunId>, StoreError> {
        self.find(pattern, limit)
            .map_err(|error| self.named(&error))
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
        self.summaries().map_err(|error| self.named(&error))
    }

    fn summaries(&self) -> rusqlite::Result<Vec<JobSummary>> {
        let paused: HashSet<Scope> = self.paused()?.into_iter().map(|it| it.scope).collect();
        let mut jobs = self.connection.prepare(
            "SELECT jobs.id, name, jobs.trigger IS NOT NULL, jobs.last_success, \
             newest.id, status, reason, reason_number, reason_text, coalesce( \
               (SELECT started_at FROM attempts WHERE run = newest.id ORDER BY number LIMIT 1), \
               recorded_at \
             ) FROM jobs LEFT JOIN runs AS newest ON newest.id = \
               (SELECT id FROM runs WHERE job = jobs.id ORDER BY id DESC LIMIT 1) \
             ORDER BY name",
        )?;
        let mut jobs = jobs.query([])?;
        let mut summaries = Vec::new();
        while let Some(row) = jobs.next()? {
            let in_service: bool = row.get(2)?;
            let last_run = match row.get::<_, Option<[u8; 16]>>(4)? {
                Some(key) => Some(LastRun {
                    id: rows::from_key(key),
                    at: rows::from_nanos(row.get(9)?),
                    status: rows::status_of(row, 5)?,
                }),
                None if !in_service => continue,
                None => None,
            };
            let is_well = last_run
                .as_ref()
                .is_none_or(|last| last.status == Status::Finished(Outcome::Succeeded));
            let id = JobId::from(&*row.get::<_, String>(1)?);
            summaries.push(JobSummary {
                paused: paused.contains(&Scope::All) || paused.contains(&Scope::Job(id.clone())),
                id,
                in_service,
                last_success: row.get::<_, Option<i64>>(3)?.map(rows::from_nanos),
                next: None,
                failures: if is_well {
                    0
                } else {
                    self.failures(row.get(0)?)?
                },
                last_run,
            });
        }
        Ok(summaries)
    }

    /// What has become of the definition of a job, the newest change first.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn changes(&self, job: &JobId) -> Result<Vec<JobChange>, StoreError> {
        definitions::read_changes(&self.connection, job).map_err(|error| self.named(&error))
    }

    /// What is still to be sent to hooks, in the order of the events, and what was given up, the
    /// newest first.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn deliveries(&self) -> Result<(Vec<Delivery>, Vec<Delivery>), StoreError> {
        let read = || -> rusqlite::Result<_> {
            let waiting = outbox::read_waiting(&self.connection)?;
            Ok((waiting, outbox::read_given_up(&self.connection)?))
        };
        read().map_err(|error| self.named(&error))
    }

    /// What is paused, the widest first.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        self.paused().map_err(|error| self.named(&error))
    }

    fn paused(&self) -> rusqlite::Result<Vec<Pause>> {
        by_hand::read_pauses(&self.connection)
    }

    /// How many runs of a job have failed since the last one that succeeded.
    fn failures(&self, job: i64) -> rusqlite::Result<u64> {
        let mut statuses = self
            .connection
            .prepare_cached("SELECT status FROM runs WHERE job = ? ORDER BY id DESC LIMIT ?")?;
        let mut failures = 0;
        for status in statuses.query_map(params![job, FAILURES], |row| row.get(0))? {
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
        self.tally(since)
            .map(Tally::stats)
            .map_err(|error| self.named(&error))
    }

    /// Counts in one pass over the rows: of a long history there may be millions.
    fn tally(&self, since: Option<Timestamp>) -> rusqlite::Result<Tally> {
        let ids = self
            .connection
            .prepare("SELECT id, name FROM jobs")?
            .query_map([], |row| {
                Ok((row.get(0)?, JobId::from(&*row.get::<_, String>(1)?)))
            })?
            .collect::<rusqlite::Result<HashMap<i64, JobId>>>()?;
        let (first, since) = match since {
            Some(since) => (rows::first_key(since), rows::to_nanos(since)),
            None => ([0; 16], i64::MIN),
        };
        // Side by side in the order of the runs: a look for the attempts of each takes far longer.
        let mut runs = self.connection.prepare(
            "SELECT id, job, status, reason, reason_number, reason_text FROM runs \
             WHERE id >= ? AND recorded_at >= ? ORDER BY id",
        )?;
        let mut runs = runs.query(params![first, since])?;
        let mut attempts = self.connection.prepare(
            "SELECT run, ended_at IS NOT NULL, elapsed, fuel, cpu FROM attempts \
             WHERE run >= ? ORDER BY run, number",
        )?;
        let mut attempts = attempts.query(params![first])?;
        let mut attempt = attempts.next()?;
        let mut tally = Tally::default();
        while let Some(row) = runs.next()? {
            let run: [u8; 16] = row.get(0)?;
            let status = rows::status_of(row, 2)?;
            let job = ids.get(&row.get(1)?).filter(|_| status.is_final());
            let mut counts = job.map(|job| tally.of(job));
            let mut last = None;
            while let Some(row) = attempt {
                let of: [u8; 16] = row.get(0)?;
                if of > run {
                    break;
                }
                if of == run
                    && let Some(counts) = &mut counts
                {
                    let length = |column| -> rusqlite::Result<Duration> {
                        let nanos: Option<i64> = row.get(column)?;
                        Ok(Duration::from_nanos(rows::from_count(nanos.unwrap_or(0))))
                    };
                    let has_ended: bool = row.get(1)?;
                    last = has_ended.then(|| length(2)).transpose()?;
                    let fuel: Option<i64> = row.get(3)?;
                    counts.used(rows::from_count(fuel.unwrap_or(0)), length(4)?);
                }
                attempt = attempts.next()?;
            }
            match (status, counts) {
                (Status::Skipped(reason), Some(counts)) => counts.skipped(&reason),
                (Status::Finished(outcome), Some(counts)) => counts.ended(outcome, last),
                _ => {}
            }
        }
        Ok(tally)
    }
}

#[cfg(test)]
mod tests {

    use super::*;
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
        let one = reader.run(ids[0], Detail::All).unwrap().unwrap();
        assert_eq!(one.status, Status::Finished(Outcome::Failed));
        drop(store);
        // And without it.
        assert_eq!(reader.runs(&RunQuery::newest(9)).unwrap().len(), 6);
        assert_eq!(Reader::open(dir.path()).unwrap().jobs().unwrap().len(), 2);
    }
}
