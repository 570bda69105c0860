//! What is written where: each command in terms of rows, within the transaction of the caller.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::Counts;
use super::rows::{self, to_count, to_key, to_nanos, write_end};
use super::writer::Note;
use super::{definitions, outbox};
use crate::clock::Timestamp;
use crate::job::{Job, JobId, StateQuota};
use crate::record::{AttemptEnd, ChangeKind, Detail, Kind, RunRecord, Status};
use crate::run::{Attempt, FinishedRun, Firing, Outcome, Run, RunId, SkipReason};
use crate::state::{Changes, Snapshot, StateError};
use crate::store::{FinishError, FireResult, Schedule, Skip, is_unique, quota_of, to_run};

/// How many bytes of states are kept in memory.
const STATES: u64 = 64 << 20;

/// How far the schedule of a job has come that is not enabled: whatever is recorded of an instant
/// of it does not change that.
pub(super) const NOT_ENABLED: i64 = i64::MAX;

/// What is known of a job without asking.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    id: i64,
    pub(super) last_success: Option<Timestamp>,
    /// Whether it was forgotten, and nothing has fired since.
    forgotten: bool,
}

/// What need not be read again. Only true as long as no transaction fails.
#[derive(Default)]
pub(super) struct Caches {
    jobs: HashMap<JobId, Known>,
    components: HashMap<Arc<str>, i64>,
    states: HashMap<JobId, Snapshot>,
    /// Bytes of all states.
    held: u64,
}

/// The tables, within a transaction.
pub(super) struct Tables<'a> {
    pub(super) connection: &'a Connection,
    pub(super) caches: &'a mut Caches,
    pub(super) counts: &'a Arc<Counts>,
    /// The number of the last start that was noted here.
    pub(super) settled: Option<u64>,
}

impl Tables<'_> {
    pub(super) fn note(&mut self, note: &Note) -> rusqlite::Result<()> {
        match note {
            Note::Enter(jobs) => {
                for (job, schedule) in jobs {
                    self.enter(job, schedule)?;
                }
                Ok(())
            }
            Note::Started(attempt, number) => {
                self.settled = self.settled.max(Some(*number));
                self.started(attempt)
            }
            Note::Skipped(skip) => self.skipped(skip),
            Note::Enqueued(deliveries) => outbox::enqueue(self.connection, deliveries),
            Note::Sent(id, sent) => outbox::settle(self.connection, *id, sent),
            Note::Changed(changes) => {
                for change in changes {
                    // One that goes is known, or has nothing that could be noted.
                    let known = match change.change {
                        ChangeKind::Removed => self.known(&change.job)?,
                        _ => Some(self.entered(&change.job)?),
                    };
                    if let Some(known) = known {
                        definitions::note_change(self.connection, known.id, change)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// What is known of a job; nothing if nothing was ever recorded of it.
    pub(super) fn known(&mut self, job: &JobId) -> rusqlite::Result<Option<Known>> {
        if let Some(known) = self.caches.jobs.get(job) {
            return Ok(Some(*known));
        }
        let known = self
            .connection
            .prepare_cached("SELECT id, last_success, forgotten FROM jobs WHERE name = ?")?
            .query_row([job.as_str()], |row| {
                Ok(Known {
                    id: row.get(0)?,
                    last_success: row.get::<_, Option<i64>>(1)?.map(rows::from_nanos),
                    forgotten: row.get(2)?,
                })
            })
            .optional()?;
        if let Some(known) = known {
            self.caches.jobs.insert(job.clone(), known);
        }
        Ok(known)
    }

    /// The same, and the job is entered if it is not known yet.
    fn entered(&mut self, job: &JobId) -> rusqlite::Result<Known> {
        if let Some(known) = self.known(job)? {
            return self.remembered(job, known);
        }
        self.connection
            .prepare_cached("INSERT INTO jobs (name) VALUES (?)")?
            .execute([job.as_str()])?;
        let known = Known {
            id: self.connection.last_insert_rowid(),
            last_success: None,
            forgotten: false,
        };
        self.caches.jobs.insert(job.clone(), known);
        Ok(known)
    }

    fn enter(&mut self, job: &JobId, schedule: &Schedule) -> rusqlite::Result<()> {
        let known = self.entered(job)?;
        self.connection
            .prepare_cached(
                "UPDATE jobs SET trigger = ?, since = ?, dealt_with = ?, days_off = ? WHERE id = ?",
            )?
            .execute(params![
                schedule.trigger.cast_signed(),
                to_nanos(schedule.since),
                if schedule.enabled {
                    schedule.dealt_with.map(to_nanos)
                } else {
                    Some(NOT_ENABLED)
                },
                schedule.days_off.map(to_nanos),
                known.id
            ])?;
        Ok(())
    }

    /// A job that was forgotten is back.
    fn remembered(&mut self, job: &JobId, mut known: Known) -> rusqlite::Result<Known> {
        if known.forgotten {
            known.forgotten = false;
            self.connection
                .prepare_cached("UPDATE jobs SET forgotten = 0 WHERE id = ?")?
                .execute([known.id])?;
            self.caches.jobs.insert(job.clone(), known);
        }
        Ok(known)
    }

    /// The number of a plugin's name.
    fn component(&mut self, name: &Arc<str>) -> rusqlite::Result<i64> {
        if let Some(id) = self.caches.components.get(name) {
            return Ok(*id);
        }
        self.connection
            .prepare_cached("INSERT INTO components (name) VALUES (?) ON CONFLICT DO NOTHING")?
            .execute([&**name])?;
        let id = self
            .connection
            .prepare_cached("SELECT id FROM components WHERE name = ?")?
            .query_row([&**name], |row| row.get(0))?;
        self.caches.components.insert(name.clone(), id);
        Ok(id)
    }

    /// An instant of a job became a run, or was skipped.
    fn dealt_with(&mut self, job: i64, instant: Timestamp) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "UPDATE jobs SET dealt_with = max(coalesce(dealt_with, ?1), ?1) \
                 WHERE id = ?2 AND trigger IS NOT NULL",
            )?
            .execute(params![to_nanos(instant), job])?;
        Ok(())
    }

    pub(super) fn fire(
        &mut self,
        firings: Vec<Firing>,
        now: Timestamp,
    ) -> rusqlite::Result<Vec<FireResult>> {
        let mut results = Vec::with_capacity(firings.len());
        for firing in firings {
            let job = self.entered(&firing.job.id)?;
            let unique = is_unique(firing.cause);
            let run = to_run(firing.clone(), now, job.last_success);
            let record = RunRecord::of(&run, now);
            if !self.insert(&record, job.id, unique)? {
                results.push(FireResult::Duplicate(firing));
                continue;
            }
            if unique {
                self.dealt_with(job.id, run.scheduled_at)?;
            }
            results.push(FireResult::Recorded(Arc::new(run)));
        }
        Ok(results)
    }

    /// Inserts a record. False if its instant has one already.
    fn insert(&mut self, record: &RunRecord, job: i64, unique: bool) -> rusqlite::Result<bool> {
        let component = self.component(&record.component)?;
        let reason = match &record.status {
            Status::Skipped(reason) => Some(reason.to_parts()),
            _ => None,
        };
        let inserted = self
            .connection
            .prepare_cached(
                "INSERT INTO runs (id, job, component, definition, cause, scheduled_at, is_unique, recorded_at, \
                 max_attempts, last_success, deterministic, status, reason, reason_number, \
                 reason_text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                to_key(record.id),
                job,
                component,
                record.definition.map(|digest| digest.0.cast_signed()),
                record.cause.as_str(),
                to_nanos(record.scheduled_at),
                unique,
                to_nanos(record.recorded_at),
                record.max_attempts,
                record.last_success.map(to_nanos),
                record.deterministic,
                Kind::of(&record.status).as_str(),
                reason.map(|it| it.0),
                reason.and_then(|it| it.1).map(to_count),
                reason.and_then(|it| it.2),
            ])?;
        if let Some(params) = &record.params
            && inserted == 1
        {
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO given (run, params) VALUES (?, ?)")?
                .execute(params![to_key(record.id), &**params])?;
        }
        Ok(inserted == 1)
    }

    pub(super) fn adopt(&mut self, id: RunId, job: Arc<Job>) -> rusqlite::Result<Option<Arc<Run>>> {
        let Some(record) = rows::read_run(self.connection, id, Detail::Outline)? else {
            return Ok(None);
        };
        if record.status.is_final() || record.job != job.id {
            return Ok(None);
        }
        Ok(Some(Arc::new(Run {
            id,
            cause: record.cause,
            scheduled_at: record.scheduled_at,
            max_attempts: record.max_attempts,
            last_success: record.last_success,
            job,
        })))
    }

    fn set_status(&self, run: RunId, status: &str) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("UPDATE runs SET status = ? WHERE id = ?")?
            .execute(params![status, to_key(run)])?;
        Ok(())
    }

    pub(super) fn started(&self, attempt: &Attempt) -> rusqlite::Result<()> {
        let run = attempt.run.id;
        // Not if it has ended meanwhile: this is told in another order than it is written.
        self.connection
            .prepare_cached(
                "INSERT INTO attempts (run, number, started_at) VALUES (?, ?, ?) \
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                to_key(run),
                attempt.number,
                to_nanos(attempt.started_at)
            ])?;
        self.connection
            .prepare_cached(
                "UPDATE runs SET status = 'running' WHERE id = ? AND status = 'recorded'",
            )?
            .execute(params![to_key(run)])?;
        Ok(())
    }

    pub(super) fn attempted(&self, attempt: &FinishedRun) -> rusqlite::Result<()> {
        write_end(
            self.connection,
            attempt.attempt.run.id,
            attempt.attempt.number,
            attempt.attempt.started_at,
            &end_of(attempt),
        )
    }

    pub(super) fn finished(
        &mut self,
        run: &FinishedRun,
        changes: Option<Changes>,
    ) -> rusqlite::Result<Result<(), FinishError>> {
        let (job, outcome) = (&run.attempt.run.job, run.execution.outcome);
        if let Some(changes) = changes
            && let Err(error) = self.land(&job.id, quota_of(job), &changes)?
        {
            return Ok(Err(error.into()));
        }
        self.attempted(run)?;
        self.set_status(run.attempt.run.id, outcome.as_str())?;
        if outcome == Outcome::Succeeded
            && let Some(known) = self.known(&job.id)?
            && !known.forgotten
            // Runs may end in another order than they are told of.
            && known.last_success.is_none_or(|last| last < run.finished_at)
        {
            self.connection
                .prepare_cached("UPDATE jobs SET last_success = ? WHERE id = ?")?
                .execute(params![to_nanos(run.finished_at), known.id])?;
            if let Some(known) = self.caches.jobs.get_mut(&job.id) {
                known.last_success = Some(run.finished_at);
            }
        }
        Ok(Ok(()))
    }

    fn skipped(&mut self, skip: &Skip) -> rusqlite::Result<()> {
        let job = self.entered(&skip.job.id)?;
        let (name, number, text) = skip.reason.to_parts();
        if let Some(run) = skip.run {
            self.connection
                .prepare_cached(
                    "UPDATE runs SET status = 'skipped', reason = ?, reason_number = ?, \
                     reason_text = ? WHERE id = ?",
                )?
                .execute(params![name, number.map(to_count), text, to_key(run)])?;
        } else {
            self.insert(&skip.record(), job.id, false)?;
        }
        let through = skip.through.unwrap_or(skip.scheduled_at);
        if let SkipReason::Excluded(..) = skip.reason {
            // No step of the schedule: what is due on the same day is still to come.
            self.connection
                .prepare_cached(
                    "UPDATE jobs SET days_off = max(coalesce(days_off, ?1), ?1) \
                     WHERE id = ?2 AND trigger IS NOT NULL",
                )?
                .execute(params![to_nanos(through), job.id])?;
        } else if is_unique(skip.cause) {
            self.dealt_with(job.id, through)?;
        }
        Ok(())
    }

    pub(super) fn state(&mut self, job: &JobId) -> rusqlite::Result<Snapshot> {
        if let Some(state) = self.caches.states.get(job) {
            return Ok(state.clone());
        }
        let row: Option<(i64, i64)> = self
            .connection
            .prepare_cached("SELECT id, state_version FROM jobs WHERE name = ?")?
            .query_row([job.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let state = match row {
            None => Snapshot::default(),
            Some((id, version)) => {
                let kept = self
                    .connection
                    .prepare_cached("SELECT key, value, since FROM state WHERE job = ?")?
                    .query_map([id], |row| {
                        let key: String = row.get(0)?;
                        let value: Vec<u8> = row.get(1)?;
                        let since: i64 = row.get(2)?;
                        Ok((key.into(), value.into(), since.cast_unsigned()))
                    })?
                    .collect::<rusqlite::Result<Vec<_>>>()?;
                Snapshot::restored(kept, version.cast_unsigned())
            }
        };
        self.keep_state(job, state.clone());
        Ok(state)
    }

    fn keep_state(&mut self, job: &JobId, state: Snapshot) {
        let caches = &mut self.caches;
        if caches.held > STATES {
            // They are read again when they are asked for.
            caches.states.clear();
            caches.held = 0;
        }
        caches.held += state.size();
        if let Some(before) = caches.states.insert(job.clone(), state) {
            caches.held -= before.size();
        }
    }

    pub(super) fn land(
        &mut self,
        job: &JobId,
        quota: StateQuota,
        changes: &Changes,
    ) -> rusqlite::Result<Result<Snapshot, StateError>> {
        let after = match self.state(job)?.apply(changes, quota) {
            Ok(after) => after,
            Err(error) => return Ok(Err(error)),
        };
        let id = self.entered(job)?.id;
        for (key, value) in &changes.writes {
            match value {
                Some(value) => self
                    .connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO state (job, key, value, since) VALUES (?, ?, ?, ?)",
                    )?
                    .execute(params![id, &**key, &**value, after.version().cast_signed()])?,
                None => self
                    .connection
                    .prepare_cached("DELETE FROM state WHERE job = ? AND key = ?")?
                    .execute(params![id, &**key])?,
            };
        }
        self.connection
            .prepare_cached("UPDATE jobs SET state_version = ? WHERE id = ?")?
            .execute(params![after.version().cast_signed(), id])?;
        self.keep_state(job, after.clone());
        Ok(Ok(after))
    }

    /// Removes records that have an end, with all that belongs to them.
    pub(super) fn remove(&self, runs: &[RunId]) -> rusqlite::Result<()> {
        for run in runs {
            let key = to_key(*run);
            for sql in [
                "DELETE FROM given WHERE run = ?",
                "DELETE FROM results WHERE run = ?",
                "DELETE FROM attempts WHERE run = ?",
                "DELETE FROM runs WHERE id = ? AND status NOT IN ('recorded', 'running')",
            ] {
                self.connection.prepare_cached(sql)?.execute([key])?;
            }
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, job: &JobId) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "UPDATE jobs SET trigger = NULL, since = NULL, dealt_with = NULL, \
                 days_off = NULL, last_success = NULL, forgotten = 1 WHERE name = ?",
            )?
            .execute([job.as_str()])?;
        self.caches.jobs.remove(job);
        Ok(())
    }
}

fn end_of(run: &FinishedRun) -> AttemptEnd {
    AttemptEnd {
        at: run.finished_at,
        execution: Arc::new(run.execution.clone()),
    }
}
