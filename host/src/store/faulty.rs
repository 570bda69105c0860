//! A store for tests: one in memory, whose disk can be made to fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{
    BoxFuture, FinishError, FireResult, MemoryStore, Recovered, Schedule, Skip, Store, StoreError,
    Totals,
};
use crate::clock::Timestamp;
use crate::job::{Job, JobId, Scope};
use crate::record::{Pause, Retention, RunQuery, RunRecord};
use crate::run::{Attempt, FinishedRun, Firing, Run, RunId};
use crate::state::{Changes, Snapshot, StateError};

/// Fails while it is told to; otherwise a [`MemoryStore`].
#[derive(Debug, Default)]
pub struct FaultyStore {
    memory: MemoryStore,
    /// How many milliseconds before they are due runs are best recorded.
    pub lead: AtomicU64,
    /// Whether runs cannot be recorded, nor the starts of their later attempts.
    pub no_fire: AtomicBool,
    /// Whether ends of runs cannot be recorded.
    pub no_finish: AtomicBool,
    /// Whether recording the end of a run panics.
    pub panic: AtomicBool,
}

fn full<T>(what: &'static str) -> Result<T, StoreError> {
    Err(StoreError::Write {
        what,
        why: "the disk is full".to_owned(),
    })
}

impl Store for FaultyStore {
    fn lead(&self) -> Duration {
        Duration::from_millis(self.lead.load(Ordering::SeqCst))
    }

    fn fire(
        &self,
        firings: Vec<Firing>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<FireResult>, StoreError>> {
        if self.no_fire.load(Ordering::SeqCst) {
            return Box::pin(async { full("a run") });
        }
        self.memory.fire(firings, now)
    }

    fn recover(&self) -> BoxFuture<'_, Result<Recovered, StoreError>> {
        self.memory.recover()
    }

    fn enter(&self, jobs: Vec<(JobId, Schedule)>) {
        self.memory.enter(jobs);
    }

    fn adopt(
        &self,
        run: RunId,
        job: Arc<Job>,
    ) -> BoxFuture<'_, Result<Option<Arc<Run>>, StoreError>> {
        self.memory.adopt(run, job)
    }

    fn attempted(&self, attempt: Arc<FinishedRun>) -> BoxFuture<'_, Result<(), StoreError>> {
        if self.no_finish.load(Ordering::SeqCst) {
            return Box::pin(async { full("the end of an attempt") });
        }
        self.memory.attempted(attempt)
    }

    fn started(&self, attempt: &Attempt) {
        self.memory.started(attempt);
    }

    fn started_again(&self, attempt: &Attempt) -> BoxFuture<'_, Result<(), StoreError>> {
        if self.no_fire.load(Ordering::SeqCst) {
            return Box::pin(async { full("the start of an attempt") });
        }
        self.memory.started_again(attempt)
    }

    fn finished(
        &self,
        run: Arc<FinishedRun>,
        state: Option<Changes>,
    ) -> BoxFuture<'_, Result<(), FinishError>> {
        let (panic, fail) = (
            self.panic.load(Ordering::SeqCst),
            self.no_finish.load(Ordering::SeqCst),
        );
        Box::pin(async move {
            assert!(!panic, "the store panics");
            if fail {
                return full("the end of a run").map_err(FinishError::Store);
            }
            self.memory.finished(run, state).await
        })
    }

    fn state(&self, job: &JobId) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        self.memory.state(job)
    }

    fn checkpoint(
        &self,
        job: &Job,
        changes: Changes,
    ) -> BoxFuture<'_, Result<Snapshot, StateError>> {
        self.memory.checkpoint(job, changes)
    }

    fn skipped(&self, skip: Skip) {
        self.memory.skipped(skip);
    }

    fn runs(&self, query: RunQuery) -> BoxFuture<'_, Result<Vec<RunRecord>, StoreError>> {
        self.memory.runs(query)
    }

    fn run(&self, id: RunId) -> BoxFuture<'_, Result<Option<RunRecord>, StoreError>> {
        self.memory.run(id)
    }

    fn instants(
        &self,
        job: &JobId,
        from: Timestamp,
        until: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<Timestamp>, StoreError>> {
        self.memory.instants(job, from, until)
    }

    fn reopen(
        &self,
        job: &JobId,
        instants: Vec<Timestamp>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.memory.reopen(job, instants)
    }

    fn pauses(&self) -> BoxFuture<'_, Result<Vec<Pause>, StoreError>> {
        self.memory.pauses()
    }

    fn set_paused(
        &self,
        scope: Scope,
        since: Option<Timestamp>,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        if self.no_fire.load(Ordering::SeqCst) {
            return Box::pin(async { full("a pause") });
        }
        self.memory.set_paused(scope, since)
    }

    fn last_success(&self, job: &JobId) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>> {
        self.memory.last_success(job)
    }

    fn totals(&self) -> BoxFuture<'_, Result<Totals, StoreError>> {
        self.memory.totals()
    }

    fn prune(&self, keep: Retention, now: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.memory.prune(keep, now)
    }

    fn forget(&self, job: &JobId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.memory.forget(job)
    }
}
