//! A store that outlives the hosts of the model, and forgets what a real one may forget.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::job::{Job, JobId, Scope};
use crate::record::{AttemptRecord, Pause, Retention, RunQuery, RunRecord, Status};
use crate::run::{Attempt, FinishedRun, Firing, Outcome, Run, RunId, SkipReason};
use crate::state::{Changes, Snapshot, StateError};
use crate::store::{
    Begun, BoxFuture, FinishError, FireResult, Recovered, Schedule, Skip, Store, StoreError,
    Totals, Unfinished, is_unique, to_run,
};

/// What has become durable of an instant, or of several.
#[derive(Debug, Clone)]
pub(super) enum Dealt {
    /// It became a run.
    Run,
    /// Those from one to another are skipped; how many, if they were counted.
    Skip(Timestamp, Option<u64>, bool),
}

/// What nobody waits for.
enum Note {
    Enter(Vec<(JobId, Schedule)>),
    Started(RunId, u32, Timestamp),
    Skipped(Skip),
}

/// What a host leaves: on the disk.
#[derive(Default)]
struct Disk {
    schedules: HashMap<JobId, Schedule>,
    instants: HashSet<(JobId, Timestamp)>,
    open: BTreeMap<RunId, Open>,
    /// What has been dealt with since this was last taken, in the order of writing.
    dealt: Vec<(JobId, Timestamp, Dealt)>,
    /// Notes that are not written.
    notes: Vec<Note>,
    /// Runs that have begun, by the list of starts.
    begun: HashSet<RunId>,
    recorded: u64,
    ended: u64,
    /// How many operations the present host has left to live; none for ever.
    left: Option<u32>,
    /// What must never be and was.
    wrong: Vec<String>,
    /// Whether the present host is dead: nothing it does counts any more.
    dead: bool,
    failing: bool,
}

struct Open {
    run: Arc<Run>,
    record: RunRecord,
}

/// See the [module](self).
pub(super) struct Disks {
    disk: Mutex<Disk>,
    lead: Duration,
    /// Counts everything, to see whether anything is going on.
    pub(super) steps: AtomicU64,
}

impl Disks {
    pub(super) fn new(lead: Duration) -> Disks {
        Disks {
            disk: Mutex::default(),
            lead,
            steps: AtomicU64::new(0),
        }
    }

    /// The present host dies after so many more operations.
    pub(super) fn die_after(&self, operations: u32) {
        self.disk.lock().left = Some(operations);
    }

    /// The present host is not going to die.
    pub(super) fn live_on(&self) {
        self.disk.lock().left = None;
    }

    pub(super) fn is_dead(&self) -> bool {
        self.disk.lock().dead
    }

    pub(super) fn fail(&self, failing: bool) {
        self.disk.lock().failing = failing;
    }

    pub(super) fn is_failing(&self) -> bool {
        self.disk.lock().failing
    }

    /// Something is as it must never be. Kept, for a panic in a task would go unseen.
    pub(super) fn wrong(&self, what: String) {
        self.disk.lock().wrong.push(what);
    }

    pub(super) fn take_wrong(&self) -> Vec<String> {
        std::mem::take(&mut self.disk.lock().wrong)
    }

    /// Writes what nobody waits for, if it can.
    pub(super) fn flush(&self) {
        let mut disk = self.disk.lock();
        if !disk.failing && !disk.dead {
            disk.write_notes();
        }
    }

    pub(super) fn take_dealt(&self) -> Vec<(JobId, Timestamp, Dealt)> {
        std::mem::take(&mut self.disk.lock().dealt)
    }

    /// How many runs are recorded, have ended or were skipped, and are open.
    pub(super) fn counts(&self) -> (u64, u64, usize) {
        let disk = self.disk.lock();
        (disk.recorded, disk.ended, disk.open.len())
    }

    /// The runs that have no end, in words.
    pub(super) fn open(&self) -> String {
        let disk = self.disk.lock();
        let each = disk.open.values().map(|open| {
            let record = &open.record;
            let attempts = record.attempts.len();
            let (job, at, status) = (&record.job, record.scheduled_at, &record.status);
            format!("{job} for {at}, {status:?}, {attempts} attempts")
        });
        each.collect::<Vec<_>>().join("\n")
    }

    /// The next host takes over. Of the notes that wait so many are written; after a power cut the
    /// list of starts is gone too. Gives the jobs whose schedules were not noted.
    pub(super) fn take_over(&self, written: usize, power_cut: bool) -> HashSet<JobId> {
        let mut disk = self.disk.lock();
        let notes = std::mem::take(&mut disk.notes);
        let mut lost = HashSet::new();
        for (n, note) in notes.into_iter().enumerate() {
            if n < written {
                disk.write(note);
                continue;
            }
            match note {
                Note::Enter(jobs) => lost.extend(jobs.into_iter().map(|(job, _)| job)),
                // The job may be gone, and then nobody comes back to its instants.
                Note::Skipped(Skip { job, reason, .. }) => {
                    if matches!(reason, SkipReason::NotRecorded(_)) {
                        lost.insert(job.id.clone());
                    }
                }
                Note::Started(..) => {}
            }
        }
        let begun = std::mem::take(&mut disk.begun);
        for open in disk.open.values_mut() {
            let noted = open.record.status == Status::Running;
            if noted || power_cut || begun.contains(&open.record.id) {
                // What is known now stays known.
                open.record.status = Status::Running;
            }
        }
        disk.dead = false;
        disk.left = None;
        lost
    }

    /// Counts an operation. Nothing if the host is dead; else whether it fails.
    fn operation(&self) -> Option<bool> {
        self.steps.fetch_add(1, Ordering::Relaxed);
        let mut disk = self.disk.lock();
        if let Some(left) = &mut disk.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                disk.dead = true;
            }
        }
        (!disk.dead).then_some(disk.failing)
    }

    /// Writes something with all notes before it, unless the host dies before.
    fn write<T: Send + 'static, F: From<StoreError> + Send + 'static>(
        &self,
        write: impl FnOnce(&mut Disk) -> T,
    ) -> BoxFuture<'_, Result<T, F>> {
        let Some(fails) = self.operation() else {
            return Box::pin(pending());
        };
        if fails {
            let error = StoreError::Write {
                what: "what happened",
                why: "the disk is full".to_owned(),
            };
            return Box::pin(ready(Err(error.into())));
        }
        let mut disk = self.disk.lock();
        disk.write_notes();
        let written = write(&mut disk);
        drop(disk);
        // It may die between the writing and the answer.
        match self.operation() {
            Some(_) => Box::pin(ready(Ok(written))),
            None => Box::pin(pending()),
        }
    }

    fn note(&self, note: Note) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        let mut disk = self.disk.lock();
        if !disk.dead {
            disk.notes.push(note);
            if !disk.failing && disk.notes.len() > 100 {
                disk.write_notes();
            }
        }
    }
}

impl Disk {
    fn write_notes(&mut self) {
        for note in std::mem::take(&mut self.notes) {
            self.write(note);
        }
    }

    fn write(&mut self, note: Note) {
        match note {
            Note::Enter(jobs) => self.schedules.extend(jobs),
            Note::Started(run, number, started_at) => {
                if let Some(open) = self.open.get_mut(&run) {
                    open.record.status = Status::Running;
                    let known = open.record.attempts.iter().any(|it| it.number == number);
                    if !known {
                        open.record.attempts.push(AttemptRecord {
                            number,
                            started_at,
                            end: None,
                        });
                    }
                }
            }
            Note::Skipped(skip) => {
                if let Some(run) = skip.run {
                    self.close(run, &skip);
                } else if is_unique(skip.cause) {
                    let through = skip.through.unwrap_or(skip.scheduled_at);
                    let count = match skip.reason {
                        SkipReason::Missed(count) | SkipReason::Misfired(count) => count,
                        _ => None,
                    };
                    let counted = skip.through.is_some();
                    let dealt = Dealt::Skip(through, count, counted);
                    self.dealt
                        .push((skip.job.id.clone(), skip.scheduled_at, dealt));
                }
                if is_unique(skip.cause) {
                    self.deal(&skip.job.id, skip.through.unwrap_or(skip.scheduled_at));
                }
            }
        }
    }

    fn deal(&mut self, job: &JobId, instant: Timestamp) {
        if let Some(schedule) = self.schedules.get_mut(job) {
            schedule.dealt_with = schedule.dealt_with.max(Some(instant));
        }
    }

    fn end(&mut self, run: &FinishedRun) {
        self.close(run.attempt.run.id, run);
    }

    /// A run has an end.
    fn close(&mut self, run: RunId, how: &dyn std::fmt::Debug) {
        self.ended += 1;
        if self.open.remove(&run).is_none() {
            self.wrong.push(format!("{run} ended twice: {how:?}"));
        }
    }
}

impl Store for Disks {
    fn lead(&self) -> Duration {
        self.lead
    }

    fn recover(&self) -> BoxFuture<'_, Result<Recovered, StoreError>> {
        let disk = self.disk.lock();
        let unfinished = disk.open.values().map(|open| Unfinished {
            begun: match open.record.status {
                Status::Recorded => Begun::No,
                _ if open.record.attempts.is_empty() => Begun::Maybe,
                _ => Begun::Yes,
            },
            record: open.record.clone(),
        });
        Box::pin(ready(Ok(Recovered {
            schedules: disk.schedules.clone(),
            unfinished: unfinished.collect(),
        })))
    }

    fn enter(&self, jobs: Vec<(JobId, Schedule)>) {
        self.note(Note::Enter(jobs));
    }

    fn fire(
        &self,
        firings: Vec<Firing>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<FireResult>, StoreError>> {
        self.write(move |disk| {
            let mut results = Vec::new();
            for firing in firings {
                let job = firing.job.id.clone();
                if !disk.instants.insert((job.clone(), firing.scheduled_at)) {
                    results.push(FireResult::Duplicate(firing));
                    continue;
                }
                disk.deal(&job, firing.scheduled_at);
                disk.dealt.push((job, firing.scheduled_at, Dealt::Run));
                let run = Arc::new(to_run(firing, now, None));
                let record = RunRecord::of(&run, now);
                disk.recorded += 1;
                let open = Open {
                    run: run.clone(),
                    record,
                };
                disk.open.insert(run.id, open);
                results.push(FireResult::Recorded(run));
            }
            results
        })
    }

    fn adopt(
        &self,
        id: RunId,
        job: Arc<Job>,
    ) -> BoxFuture<'_, Result<Option<Arc<Run>>, StoreError>> {
        self.write(move |disk| {
            let open = disk.open.get_mut(&id)?;
            let run = Run {
                job,
                ..(*open.run).clone()
            };
            open.run = Arc::new(run);
            Some(open.run.clone())
        })
    }

    fn started(&self, attempt: &Attempt) {
        let run = attempt.run.id;
        {
            let mut disk = self.disk.lock();
            if disk.dead {
                return;
            }
            if !disk.open.contains_key(&run) {
                disk.wrong.push(format!("{run} starts and is not open"));
            }
            disk.begun.insert(run);
        }
        self.note(Note::Started(run, attempt.number, attempt.started_at));
    }

    fn started_again(&self, attempt: &Attempt) -> BoxFuture<'_, Result<(), StoreError>> {
        let (run, number, at) = (attempt.run.id, attempt.number, attempt.started_at);
        self.write(move |disk| disk.write(Note::Started(run, number, at)))
    }

    fn attempted(&self, attempt: Arc<FinishedRun>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(move |disk| {
            let end = AttemptRecord::of(&attempt);
            if let Some(open) = disk.open.get_mut(&attempt.attempt.run.id) {
                open.record.attempts.retain(|it| it.number != end.number);
                open.record.attempts.push(end);
                open.record.status = Status::Running;
            }
        })
    }

    fn finished(
        &self,
        run: Arc<FinishedRun>,
        _: Option<Changes>,
    ) -> BoxFuture<'_, Result<(), FinishError>> {
        self.write(move |disk| disk.end(&run))
    }

    fn state(&self, _: &JobId) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        Box::pin(ready(Ok(Snapshot::default())))
    }

    fn checkpoint(&self, _: &Job, _: Changes) -> BoxFuture<'_, Result<Snapshot, StateError>> {
        Box::pin(ready(Ok(Snapshot::default())))
    }

    fn skipped(&self, skip: Skip) {
        self.note(Note::Skipped(skip));
    }

    fn runs(&self, _: RunQuery) -> BoxFuture<'_, Result<Vec<RunRecord>, StoreError>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    fn run(&self, _: RunId) -> BoxFuture<'_, Result<Option<RunRecord>, StoreError>> {
        Box::pin(ready(Ok(None)))
    }

    fn instants(
        &self,
        _: &JobId,
        _: Timestamp,
        _: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<Timestamp>, StoreError>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    fn reopen(&self, _: &JobId, _: Vec<Timestamp>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(ready(Ok(())))
    }

    fn pauses(&self) -> BoxFuture<'_, Result<Vec<Pause>, StoreError>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    fn set_paused(
        &self,
        _: Scope,
        _: Option<Timestamp>,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(ready(Ok(true)))
    }

    fn last_success(&self, _: &JobId) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>> {
        Box::pin(ready(Ok(None)))
    }

    fn totals(&self) -> BoxFuture<'_, Result<Totals, StoreError>> {
        let mut totals = Totals::default();
        totals.count(Outcome::Succeeded);
        Box::pin(ready(Ok(totals)))
    }

    fn prune(&self, _: Retention, _: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(ready(Ok(0)))
    }

    fn forget(&self, job: &JobId) -> BoxFuture<'_, Result<(), StoreError>> {
        let job = job.clone();
        self.write(move |disk| {
            disk.schedules.remove(&job);
        })
    }
}
