//! The store of a host that keeps nothing: runs live in memory, the newest of them, within
//! bounds.
//!
//! One lock, held for a few hash look-ups; what is dropped to keep the bounds is freed after it
//! is released.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{
    BoxFuture, FinishError, FireResult, Recovered, Schedule, Skip, Store, StoreError, Totals,
    is_unique, quota_of, to_run,
};
use crate::clock::Timestamp;
use crate::job::{Job, JobId, OwnDefinition, Scope};
use crate::record::{
    AttemptRecord, JobChange, KEPT_CHANGES, Pause, Retention, RunQuery, RunRecord, Status,
};
use crate::record::{Delivery, DeliveryId};
use crate::run::{Attempt, FinishedRun, Firing, Outcome, Run, RunId, RunMap};
use crate::state::{Changes, Snapshot, StateError};
use crate::store::definitions::{DefinitionStore, Kept, Last, noted};
use crate::store::outbox::{KEPT_DEAD, Outbox, Sent};

/// How many instants of each job are known to be recorded, the newest: far more than a
/// scheduler that never goes back needs, little enough for a million jobs.
const INSTANTS: usize = 32;

/// Runs in memory. Nothing outlives the process.
#[derive(Debug)]
pub struct MemoryStore {
    bounds: Bounds,
    state: Mutex<State>,
    started: AtomicU64,
}

/// How much a [`MemoryStore`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Runs that have ended, and as many skips.
    pub runs: usize,
    /// Bytes of output, log and error of all kept runs together. The newest run is kept whatever
    /// it weighs.
    pub bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            runs: 10_000,
            bytes: 64 << 20,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    jobs: HashMap<JobId, JobRecord>,
    /// What jobs keep between their runs.
    spaces: HashMap<JobId, Snapshot>,
    /// Runs that have not ended.
    live: RunMap<Live>,
    /// Runs that have, in the order of their ends.
    history: VecDeque<Past>,
    bytes: u64,
    skips: VecDeque<RunRecord>,
    /// What is paused, and since when.
    pauses: BTreeMap<Scope, Timestamp>,
    /// What each source of definitions said last.
    kept: HashMap<Arc<str>, Kept>,
    changes: HashMap<JobId, VecDeque<JobChange>>,
    waiting: BTreeMap<DeliveryId, Delivery>,
    given_up: BTreeMap<DeliveryId, Delivery>,
    /// The host's own definitions.
    own: BTreeMap<JobId, OwnDefinition>,
    totals: Totals,
}

/// A run that has not ended.
#[derive(Debug)]
struct Live {
    run: Arc<Run>,
    recorded_at: Timestamp,
    /// The number of its present attempt and when that began.
    attempt: Option<(u32, Timestamp)>,
    /// Its attempts before that.
    attempts: Vec<Arc<FinishedRun>>,
}

impl Live {
    fn record(&self) -> RunRecord {
        let mut record = RunRecord::of(&self.run, self.recorded_at);
        record.attempts.extend(self.ended());
        if let Some((number, started_at)) = self.attempt {
            record.status = Status::Running;
            record.attempts.push(AttemptRecord {
                number,
                started_at,
                end: None,
            });
        }
        record
    }

    fn ended(&self) -> impl Iterator<Item = AttemptRecord> {
        self.attempts
            .iter()
            .map(|attempt| AttemptRecord::of(attempt))
    }
}

/// A run that has ended.
#[derive(Debug)]
struct Past {
    before: Live,
    end: Arc<FinishedRun>,
}

impl Past {
    fn record(&self) -> RunRecord {
        let mut record = RunRecord::of(&self.before.run, self.before.recorded_at);
        record.status = Status::Finished(self.end.execution.outcome);
        record.attempts.extend(self.before.ended());
        record.attempts.push(AttemptRecord::of(&self.end));
        record
    }

    /// How many bytes count against the bound.
    fn weight(&self) -> u64 {
        self.before
            .attempts
            .iter()
            .map(|run| weight(run))
            .sum::<u64>()
            + weight(&self.end)
    }
}

#[derive(Debug, Default)]
struct JobRecord {
    last_success: Option<Timestamp>,
    /// The newest instants that are recorded, in the order of recording.
    recorded: VecDeque<Timestamp>,
}

impl JobRecord {
    /// Whether an instant is new; it is known from then on.
    fn record(&mut self, instant: Timestamp) -> bool {
        // The newest are the ones that a duplicate is of.
        if self.recorded.iter().rev().any(|known| *known == instant) {
            return false;
        }
        if self.recorded.len() == INSTANTS {
            self.recorded.pop_front();
        }
        self.recorded.push_back(instant);
        true
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new(Bounds::default())
    }
}

impl MemoryStore {
    /// An empty store that keeps no more than `bounds`.
    pub fn new(bounds: Bounds) -> Self {
        MemoryStore {
            bounds,
            state: Mutex::new(State::default()),
            started: AtomicU64::new(0),
        }
    }

    /// How many bytes of output, log and error it holds.
    pub fn bytes(&self) -> u64 {
        self.state.lock().bytes
    }

    fn record(&self, firings: Vec<Firing>, now: Timestamp) -> Vec<FireResult> {
        let mut results = Vec::with_capacity(firings.len());
        let mut state = self.state.lock();
        let state = &mut *state;
        for firing in firings {
            // `entry` would clone the id of every job that is known already.
            let job = match state.jobs.get_mut(&firing.job.id) {
                Some(job) => job,
                None => state.jobs.entry(firing.job.id.clone()).or_default(),
            };
            results.push(
                if is_unique(firing.cause) && !job.record(firing.scheduled_at) {
                    FireResult::Duplicate(firing)
                } else {
                    state.totals.recorded += 1;
                    let run = Arc::new(to_run(firing, now, job.last_success));
                    let live = Live {
                        run: run.clone(),
                        recorded_at: now,
                        attempt: None,
                        attempts: Vec::new(),
                    };
                    state.live.insert(run.id, live);
                    FireResult::Recorded(run)
                },
            );
        }
        results
    }

    fn land(&self, job: &Job, changes: &Changes) -> Result<Snapshot, StateError> {
        let mut state = self.state.lock();
        let quota = quota_of(job);
        let after = match state.spaces.get(&job.id) {
            Some(before) => before.apply(changes, quota)?,
            None => Snapshot::default().apply(changes, quota)?,
        };
        state.spaces.insert(job.id.clone(), after.clone());
        Ok(after)
    }

    fn keep(&self, run: Arc<FinishedRun>) {
        let mut dropped = Vec::new();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.totals.count(run.execution.outcome);
        if run.execution.outcome == Outcome::Succeeded
            && let Some(job) = state.jobs.get_mut(&run.attempt.run.job.id)
        {
            // Runs may end in another order than they are told of.
            job.last_success = job.last_success.max(Some(run.finished_at));
        }
        let before = state.live.remove(&run.attempt.run.id);
        let past = Past {
            before: before.unwrap_or_else(|| Live {
                run: run.attempt.run.clone(),
                recorded_at: run.attempt.started_at,
                attempt: None,
                attempts: Vec::new(),
            }),
            end: run,
        };
        state.bytes += past.weight();
        state.history.push_back(past);
        while state.history.len() > self.bounds.runs
            || (state.bytes > self.bounds.bytes && state.history.len() > 1)
        {
            let Some(oldest) = state.history.pop_front() else {
                break;
            };
            state.bytes -= oldest.weight();
            dropped.push(oldest);
        }
        drop(guard);
        // `dropped` is freed here, after the lock.
    }
}

/// How many bytes of a run count against the bound.
fn weight(run: &FinishedRun) -> u64 {
    let execution = &run.execution;
    let output = execution
        .output
        .as_ref()
        .map_or(0, |output| output.as_bytes().len());
    let error = execution.error.as_ref().map_or(0, String::len);
    (output + error + execution.log.len()) as u64
}

/// A store in memory always answers at once.
fn ready<'a, T: Send + 'a>(answer: T) -> BoxFuture<'a, Result<T, StoreError>> {
    Box::pin(std::future::ready(Ok(answer)))
}

impl Store for MemoryStore {
    fn fire(
        &self,
        firings: Vec<Firing>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<FireResult>, StoreError>> {
        ready(self.record(firings, now))
    }

    fn recover(&self) -> BoxFuture<'_, Result<Recovered, StoreError>> {
        ready(Recovered::default())
    }

    fn enter(&self, _: Vec<(JobId, Schedule)>) {}

    fn adopt(&self, _: RunId, _: Arc<Job>) -> BoxFuture<'_, Result<Option<Arc<Run>>, StoreError>> {
        ready(None) // there never was another host
    }

    fn started(&self, attempt: &Attempt) {
        self.started.fetch_add(1, Ordering::Relaxed);
        if let Some(live) = self.state.lock().live.get_mut(&attempt.run.id) {
            live.attempt = Some((attempt.number, attempt.started_at));
        }
    }

    fn started_again(&self, attempt: &Attempt) -> BoxFuture<'_, Result<(), StoreError>> {
        self.started(attempt);
        ready(())
    }

    fn attempted(&self, attempt: Arc<FinishedRun>) -> BoxFuture<'_, Result<(), StoreError>> {
        if let Some(live) = self.state.lock().live.get_mut(&attempt.attempt.run.id) {
            live.attempt = None;
            live.attempts.push(attempt);
        }
        ready(())
    }

    fn finished(
        &self,
        run: Arc<FinishedRun>,
        state: Option<Changes>,
    ) -> BoxFuture<'_, Result<(), FinishError>> {
        let landed = match state {
            Some(changes) => self.land(&run.attempt.run.job, &changes).map(drop),
            None => Ok(()),
        };
        if landed.is_ok() {
            self.keep(run);
        }
        Box::pin(std::future::ready(landed.map_err(FinishError::State)))
    }

    fn state(&self, job: &JobId) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        ready(
            self.state
                .lock()
                .spaces
                .get(job)
                .cloned()
                .unwrap_or_default(),
        )
    }

    fn checkpoint(
        &self,
        job: &Job,
        changes: Changes,
    ) -> BoxFuture<'_, Result<Snapshot, StateError>> {
        Box::pin(std::future::ready(self.land(job, &changes)))
    }

    fn skipped(&self, skip: Skip) {
        let mut state = self.state.lock();
        state.totals.skipped += skip.firings();
        let live = skip.run.and_then(|run| state.live.remove(&run));
        let mut record = match &live {
            Some(live) => live.record(),
            None => skip.record(),
        };
        record.status = Status::Skipped(skip.reason);
        state.skips.push_back(record);
        let oldest = if state.skips.len() > self.bounds.runs {
            state.skips.pop_front()
        } else {
            None
        };
        drop(state);
        drop(oldest);
    }

    fn runs(&self, query: RunQuery) -> BoxFuture<'_, Result<Vec<RunRecord>, StoreError>> {
        let state = self.state.lock();
        let live = state.live.values().map(Live::record);
        let past = state.history.iter().map(Past::record);
        let all = live.chain(past).chain(state.skips.iter().cloned());
        let mut wanted: Vec<RunRecord> = all.filter(|record| query.wants(record)).collect();
        drop(state);
        wanted.sort_by_key(|record| std::cmp::Reverse(record.id));
        wanted.truncate(query.limit);
        ready(wanted)
    }

    fn run(&self, id: RunId) -> BoxFuture<'_, Result<Option<RunRecord>, StoreError>> {
        let state = self.state.lock();
        let live = state.live.get(&id).map(Live::record);
        let past = || {
            state
                .history
                .iter()
                .find(|past| past.end.attempt.run.id == id)
        };
        let skip = || state.skips.iter().find(|record| record.id == id);
        ready(
            live.or_else(|| past().map(Past::record))
                .or_else(|| skip().cloned()),
        )
    }

    fn instants(
        &self,
        job: &JobId,
        from: Timestamp,
        until: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<Timestamp>, StoreError>> {
        let state = self.state.lock();
        let runs = (state.live.values().map(|live| &live.run))
            .chain(state.history.iter().map(|past| &past.end.attempt.run));
        let own = runs.filter(|run| run.job.id == *job && is_unique(run.cause));
        let mut instants: Vec<Timestamp> = own
            .map(|run| run.scheduled_at)
            .filter(|instant| *instant >= from && *instant < until)
            .collect();
        instants.sort_unstable();
        instants.dedup();
        ready(instants)
    }

    fn reopen(
        &self,
        job: &JobId,
        instants: Vec<Timestamp>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let skipped: HashSet<Timestamp> = (state.skips.iter())
            .filter(|skip| skip.job == *job && is_unique(skip.cause))
            .map(|skip| skip.scheduled_at)
            .filter(|instant| instants.contains(instant))
            .collect();
        if let Some(job) = state.jobs.get_mut(job) {
            job.recorded.retain(|known| !skipped.contains(known));
        }
        ready(())
    }

    fn pauses(&self) -> BoxFuture<'_, Result<Vec<Pause>, StoreError>> {
        let state = self.state.lock();
        let pauses = state.pauses.iter().map(|(scope, since)| Pause {
            scope: scope.clone(),
            since: *since,
        });
        ready(pauses.collect())
    }

    fn set_paused(
        &self,
        scope: Scope,
        since: Option<Timestamp>,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let pauses = &mut self.state.lock().pauses;
        ready(match since {
            None => pauses.remove(&scope).is_some(),
            Some(_) if pauses.contains_key(&scope) => false,
            Some(since) => pauses.insert(scope, since).is_none(),
        })
    }

    fn last_success(&self, job: &JobId) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>> {
        let state = self.state.lock();
        ready(state.jobs.get(job).and_then(|job| job.last_success))
    }

    fn totals(&self) -> BoxFuture<'_, Result<Totals, StoreError>> {
        ready(Totals {
            started: self.started.load(Ordering::Relaxed),
            ..self.state.lock().totals
        })
    }

    fn prune(&self, keep: Retention, now: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>> {
        let oldest = keep
            .age
            .and_then(|age| chrono::TimeDelta::from_std(age).ok())
            .and_then(|age| now.checked_sub_signed(age));
        let mut of_job: HashMap<JobId, u64> = HashMap::new();
        let mut is_kept = |job: &JobId, recorded_at: Timestamp| {
            let count = of_job.entry(job.clone()).or_default();
            *count += 1;
            keep.runs_per_job.is_none_or(|most| *count <= most)
                && oldest.is_none_or(|oldest| recorded_at >= oldest)
        };
        let mut state = self.state.lock();
        let state = &mut *state;
        let before = state.history.len() + state.skips.len();
        // The newest are counted first. Its own bounds hold besides.
        let history = std::mem::take(&mut state.history).into_iter().rev();
        let kept = history.filter(|it| is_kept(&it.before.run.job.id, it.before.recorded_at));
        state.history = kept.collect();
        state.history.make_contiguous().reverse();
        let skips = std::mem::take(&mut state.skips).into_iter().rev();
        state.skips = skips
            .filter(|it| is_kept(&it.job, it.recorded_at))
            .collect();
        state.skips.make_contiguous().reverse();
        state.bytes = state.history.iter().map(Past::weight).sum();
        let after = state.history.len() + state.skips.len();
        ready((before - after) as u64)
    }

    fn forget(&self, job: &JobId) -> BoxFuture<'_, Result<(), StoreError>> {
        let forgotten = self.state.lock().jobs.remove(job);
        drop(forgotten);
        ready(())
    }
}

impl DefinitionStore for MemoryStore {
    fn kept(&self) -> BoxFuture<'_, Result<HashMap<Arc<str>, Kept>, StoreError>> {
        ready(self.state.lock().kept.clone())
    }

    fn own(&self) -> BoxFuture<'_, Result<Vec<OwnDefinition>, StoreError>> {
        let state = self.state.lock();
        ready(state.own.values().cloned().collect())
    }

    fn put(&self, definition: OwnDefinition) -> BoxFuture<'_, Result<(), StoreError>> {
        let job = definition.job.clone();
        self.state.lock().own.insert(job, definition);
        ready(())
    }

    fn remove(&self, job: JobId) -> BoxFuture<'_, Result<bool, StoreError>> {
        ready(self.state.lock().own.remove(&job).is_some())
    }

    fn keep(&self, source: Arc<str>, kept: Kept) {
        self.state.lock().kept.insert(source, kept);
    }

    fn changed(&self, changes: Vec<JobChange>) {
        let state = &mut *self.state.lock();
        for change in changes {
            let of_job = state.changes.entry(change.job.clone()).or_default();
            let last = of_job.back().map(|it| Last {
                change: it.change,
                definition: it.definition,
            });
            let Some(kind) = noted(&change, last) else {
                continue;
            };
            of_job.push_back(JobChange {
                change: kind,
                ..change
            });
            if of_job.len() > KEPT_CHANGES as usize {
                of_job.pop_front();
            }
        }
    }

    fn changes(&self, job: JobId) -> BoxFuture<'_, Result<Vec<JobChange>, StoreError>> {
        let state = self.state.lock();
        let changes = state.changes.get(&job);
        ready(changes.into_iter().flatten().rev().cloned().collect())
    }
}

impl Outbox for MemoryStore {
    fn waiting(&self) -> BoxFuture<'_, Result<Vec<Delivery>, StoreError>> {
        ready(self.state.lock().waiting.values().cloned().collect())
    }

    fn given_up(&self) -> BoxFuture<'_, Result<Vec<Delivery>, StoreError>> {
        let state = self.state.lock();
        ready(state.given_up.values().rev().cloned().collect())
    }

    fn enqueue(&self, deliveries: Vec<Delivery>) {
        let deliveries = deliveries.into_iter().map(|it| (it.id, it));
        self.state.lock().waiting.extend(deliveries);
    }

    fn settle(&self, id: DeliveryId, sent: Sent) {
        let state = &mut *self.state.lock();
        let (attempts, error) = match sent {
            Sent::Delivered => {
                state.waiting.remove(&id);
                return;
            }
            Sent::Failed(attempts, error) => {
                if let Some(delivery) = state.waiting.get_mut(&id) {
                    delivery.attempts = attempts;
                    delivery.error = Some(error);
                }
                return;
            }
            Sent::GivenUp(attempts, error) => (attempts, error),
        };
        let Some(mut delivery) = state.waiting.remove(&id) else {
            return;
        };
        delivery.attempts = attempts;
        delivery.error = Some(error);
        let hook = delivery.hook.clone();
        state.given_up.insert(id, delivery);
        let of_hook = state.given_up.values().filter(|it| it.hook == hook);
        let too_many = of_hook.clone().count() > KEPT_DEAD as usize;
        let oldest = of_hook.map(|it| it.id).next();
        if let Some(oldest) = oldest.filter(|_| too_many) {
            state.given_up.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{self, execution, finished, firing, instant, job};
    use super::super::{definitions, outbox};
    use super::*;
    use crate::run::{Cause, Output};

    #[tokio::test]
    async fn it_conforms() {
        conformance::run(MemoryStore::default).await;
        definitions::conformance::what_was_said_last_is_kept(&MemoryStore::default()).await;
        definitions::conformance::own_definitions_are_kept(&MemoryStore::default()).await;
        definitions::conformance::changes_are_noted(&MemoryStore::default()).await;
        outbox::conformance::deliveries_are_kept(&MemoryStore::default()).await;
    }

    async fn keep(store: &MemoryStore, second: i64, output: usize) -> Arc<FinishedRun> {
        let firing = firing(&job("a"), Cause::Schedule, second);
        let results = store.fire(vec![firing], instant(second)).await.unwrap();
        let [FireResult::Recorded(run)] = results.as_slice() else {
            panic!("not recorded: {results:?}");
        };
        let mut how = execution(Outcome::Succeeded);
        how.output = Some(Output::Bytes(vec![0; output]));
        let run = finished(run, second, how);
        store.finished(run.clone(), None).await.unwrap();
        run
    }

    #[tokio::test]
    async fn the_oldest_runs_make_room() {
        let store = MemoryStore::new(Bounds {
            runs: 3,
            bytes: 1_000,
        });
        for second in 0..5 {
            keep(&store, second, 10).await;
        }
        let kept = store.runs(RunQuery::newest(100)).await.unwrap();
        let of: Vec<i64> = kept
            .iter()
            .map(|run| run.scheduled_at.timestamp())
            .collect();
        assert_eq!(of, [4, 3, 2]);
        assert_eq!(store.bytes(), 30);

        keep(&store, 5, 990).await;
        assert_eq!(store.runs(RunQuery::newest(100)).await.unwrap().len(), 2);
        assert_eq!(store.bytes(), 1_000);
        keep(&store, 6, 1_001).await;
        assert_eq!(store.runs(RunQuery::newest(100)).await.unwrap().len(), 1);
        assert_eq!(store.bytes(), 1_001);
        keep(&store, 7, 1).await;
        assert_eq!(store.bytes(), 1);
        // What is gone still counts.
        assert_eq!(store.totals().await.unwrap().ended(Outcome::Succeeded), 8);
    }

    #[tokio::test]
    async fn skips_are_bounded_too() {
        let store = MemoryStore::new(Bounds { runs: 2, bytes: 0 });
        for second in 0..4 {
            store.skipped(conformance::skip(&job("a"), second));
        }
        let kept = store.runs(RunQuery::newest(100)).await.unwrap();
        let at: Vec<i64> = kept
            .iter()
            .map(|skip| skip.recorded_at.timestamp())
            .collect();
        assert_eq!(at, [3, 2]);
        assert_eq!(store.totals().await.unwrap().skipped, 4);
    }

    #[test]
    fn a_job_costs_little() {
        let mut state = JobRecord::default();
        for second in 0..1_000 {
            assert!(state.record(instant(second)));
        }
        let bytes = size_of::<(JobId, JobRecord)>() + state.recorded.capacity() * 12;
        assert!(bytes < 512, "{bytes} bytes for a job that runs often");
        assert!(!state.record(instant(999)));
    }
}
