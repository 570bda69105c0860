//! Runs that are recorded before they are due, so that none of them waits for the disk when it is.
//!
//! ```text
//! Scheduler::ahead ──▶ Store::fire (one group) ──▶ recorded, not due ──due──▶ admit ──▶ dispatch
//!        ▲                  │ fails                                             │ refused
//!        └── not asked ◀────┴──▶ held, tried again                              └──▶ run.skipped
//! ```
//!
//! While the store cannot record, nothing is asked of the schedule: what falls due meanwhile is
//! late when it can again, and dealt with as such.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;

use chrono::TimeDelta;

use super::{Fired, admit, fire_due};
use crate::clock::Timestamp;
use crate::dispatcher::{Admission, Dispatcher, Executor};
use crate::job::{Coalesce, JobId};
use crate::run::{Firing, Run, RunId, SkipReason};
use crate::scheduler::{Ahead, PUNCTUAL, Scheduler};
use crate::store::{FireResult, Store, StoreError};

/// How long until what could not be recorded is tried again.
const AGAIN: TimeDelta = TimeDelta::milliseconds(500);

/// Records runs ahead, and hands them on when they are due.
pub struct Planner {
    store: Arc<dyn Store>,
    lead: TimeDelta,
    /// A group that is being recorded.
    recording: Option<Recording>,
    /// A group that could not be.
    held: Option<Held>,
    /// Runs that are recorded and wait for their time, with the order they came in.
    waiting: BTreeMap<(Timestamp, u64), Arc<Run>>,
    planned: u64,
}

struct Recording {
    group: Vec<Ahead>,
    recorded: Recorded,
    /// Whether it could not be recorded the last time.
    again: bool,
}

type Recorded = Pin<Box<dyn Future<Output = Result<Vec<FireResult>, StoreError>> + Send>>;

struct Held {
    group: Vec<Ahead>,
    /// When it is to be tried again, once that is decided.
    again: Option<Timestamp>,
}

/// A turn in what the store can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It cannot record any more: nothing starts until it can.
    Failing(StoreError),
    /// It records again.
    Recovered,
}

impl Planner {
    /// A planner that records as long before it is due as the store would have it.
    pub fn new(store: Arc<dyn Store>) -> Planner {
        Planner {
            lead: TimeDelta::from_std(store.lead()).unwrap_or_default(),
            store,
            recording: None,
            held: None,
            waiting: BTreeMap::new(),
            planned: 0,
        }
    }

    /// Whether the store cannot record: then nothing is to be asked of the schedule.
    pub fn is_holding(&self) -> bool {
        self.held.is_some() || self.recording.as_ref().is_some_and(|it| it.again)
    }

    /// How many runs are recorded and wait for their time.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Has a recorded run wait until it is due.
    pub fn wait(&mut self, run: Arc<Run>, due_at: Timestamp) {
        self.planned += 1;
        self.waiting.insert((due_at, self.planned), run);
    }

    /// Takes a recorded run that is not due yet out of those that wait, if it is one of them.
    pub fn take(&mut self, run: RunId) -> Option<Arc<Run>> {
        let key =
            |(key, waiting): (&(Timestamp, u64), &Arc<Run>)| (waiting.id == run).then_some(*key);
        let key = self.waiting.iter().find_map(key)?;
        self.waiting.remove(&key)
    }

    /// Looks at the time: starts what is recorded and due, fires what is due and was not recorded,
    /// unless the store cannot, and begins to record what will soon be due.
    pub async fn step<E: Executor>(
        &mut self,
        scheduler: &mut Scheduler,
        dispatcher: &Dispatcher<E>,
        now: Timestamp,
    ) -> Fired {
        let mut fired = self.release(scheduler, dispatcher, now);
        if !self.is_holding() {
            let due = fire_due(scheduler, dispatcher, now).await;
            fired.dispatched += due.dispatched;
            fired.skipped += due.skipped;
            fired.duplicates += due.duplicates;
        }
        self.plan(scheduler, now);
        fired
    }

    /// Begins to record what will soon be due, or what could not be recorded before. For whoever
    /// has just fired what is due.
    fn plan(&mut self, scheduler: &mut Scheduler, now: Timestamp) {
        if self.recording.is_some() {
            return;
        }
        let (group, again) = if let Some(held) = &mut self.held {
            if *held.again.get_or_insert(now + AGAIN) > now {
                return;
            }
            (std::mem::take(&mut held.group), true)
        } else if self.is_time(scheduler, now) {
            (scheduler.ahead(now, now + self.lead), false)
        } else {
            return;
        };
        self.held = None;
        if group.is_empty() {
            return;
        }
        let firings = group.iter().map(|it| it.firing.clone()).collect();
        let store = self.store.clone();
        self.recording = Some(Recording {
            group,
            recorded: Box::pin(async move { store.fire(firings, now).await }),
            again,
        });
    }

    /// All of the lead is recorded at once, when half of it is over: few groups, none too late.
    fn is_time(&self, scheduler: &Scheduler, now: Timestamp) -> bool {
        let latest = now + self.lead / 2;
        !self.lead.is_zero() && scheduler.next_wake().is_some_and(|next| next <= latest)
    }

    /// Resolves when a group is recorded, or cannot be; never while none is being recorded.
    /// Dropped and called again, it goes on. Tells of a turn in what the store can do.
    pub async fn recorded(&mut self) -> Option<Turn> {
        let Some(recording) = &mut self.recording else {
            return std::future::pending().await;
        };
        let result = recording.recorded.as_mut().await;
        let recording = self.recording.take()?;
        match result {
            Ok(results) => {
                for (ahead, result) in recording.group.into_iter().zip(results) {
                    match result {
                        FireResult::Recorded(run) => self.wait(run, ahead.due_at),
                        FireResult::Duplicate(firing) => tracing::debug!(
                            job = %firing.job.id,
                            scheduled_at = %firing.scheduled_at,
                            "the instant has a run already"
                        ),
                    }
                }
                recording.again.then_some(Turn::Recovered)
            }
            Err(error) => {
                self.held = Some(Held {
                    group: recording.group,
                    again: None,
                });
                (!recording.again).then_some(Turn::Failing(error))
            }
        }
    }

    /// Has no run start of jobs that were removed or disabled: those that are recorded and wait
    /// for their time, or for others, are skipped.
    pub fn withdraw<E: Executor>(&mut self, dispatcher: &Dispatcher<E>, jobs: &HashSet<JobId>) {
        if jobs.is_empty() {
            return;
        }
        let is_gone = |_: &_, run: &mut Arc<Run>| jobs.contains(&run.job.id);
        for (_, run) in self.waiting.extract_if(.., is_gone) {
            dispatcher.skip_run(&run, SkipReason::Removed);
        }
        for job in jobs {
            dispatcher.withdraw(job);
        }
    }

    /// Starts what is recorded and due by `now`, as far as it may start.
    fn release<E: Executor>(
        &mut self,
        scheduler: &Scheduler,
        dispatcher: &Dispatcher<E>,
        now: Timestamp,
    ) -> Fired {
        let mut fired = Fired::default();
        let mut runs = Vec::new();
        let mut due = Vec::new();
        while let Some(first) = self.waiting.first_entry() {
            let ahead = first.key().0 - now;
            // What seems to be due far later than it was recorded for is so by a clock that was
            // set back: it does not wait for the same time to come again.
            if ahead > TimeDelta::zero() && ahead <= self.lead * 2 {
                break;
            }
            due.push(first.remove_entry());
        }
        // Of those that are late, which is the last of its job.
        let mut last: HashMap<JobId, u64> = HashMap::new();
        if due.iter().any(|((due_at, _), _)| is_late(*due_at, now)) {
            let each = due
                .iter()
                .map(|((_, number), run)| (run.job.id.clone(), *number));
            last.extend(each);
        }
        for ((due_at, number), run) in due {
            let is_last = last.get(&run.job.id).is_none_or(|last| *last == number);
            let admitted = match too_late(&run, due_at, is_last, scheduler, now) {
                Some(reason) => Err(reason),
                None => admit_recorded(&run, scheduler, dispatcher),
            };
            match admitted {
                Ok(admission) => runs.push((run, admission)),
                Err(reason) => {
                    fired.skipped += 1;
                    dispatcher.skip_run(&run, reason);
                }
            }
        }
        fired.dispatched += runs.len();
        dispatcher.dispatch(runs);
        fired
    }

    /// When to come again; nothing if there is nothing to come for.
    pub fn wake(&self, scheduler: &Scheduler, now: Timestamp) -> Option<Timestamp> {
        let due = self
            .waiting
            .first_key_value()
            .map(|((due_at, _), _)| *due_at);
        let next = if self.recording.is_some() {
            None // its end wakes whoever waits
        } else if let Some(held) = &self.held {
            Some(held.again.unwrap_or(now))
        } else {
            scheduler.next_wake().map(|next| next - self.lead / 2)
        };
        // What is left out is told of when it comes, unless nothing can be recorded.
        let day_off = scheduler.next_day_off().filter(|_| !self.is_holding());
        due.into_iter().chain(next).chain(day_off).min()
    }
}

fn is_late(due_at: Timestamp, now: Timestamp) -> bool {
    now - due_at > PUNCTUAL
}

/// Why a recorded run is not to start any more, if it is late: the rules for what is late hold
/// for it too. To be asked before the schedule is.
fn too_late(
    run: &Run,
    due_at: Timestamp,
    is_last: bool,
    scheduler: &Scheduler,
    now: Timestamp,
) -> Option<SkipReason> {
    if !is_late(due_at, now) {
        return None;
    }
    // The job as it is now says what becomes of what is late.
    let job = scheduler.job(&run.job.id).unwrap_or(&run.job);
    let late = (now - due_at).to_std().unwrap_or_default();
    if job
        .policies
        .misfire_grace_time
        .is_some_and(|grace| late > grace)
    {
        return Some(SkipReason::Misfired(Some(1)));
    }
    let is_later_due = !is_last || scheduler.next_of(&job.id).is_some_and(|next| next <= now);
    let stood_in_for = job.policies.coalesce == Coalesce::Latest && is_later_due;
    stood_in_for.then_some(SkipReason::Missed(Some(1)))
}

/// Admits a recorded run, unless its job is no longer there or is paused.
fn admit_recorded<E: Executor>(
    run: &Run,
    scheduler: &Scheduler,
    dispatcher: &Dispatcher<E>,
) -> Result<Admission, SkipReason> {
    if !scheduler.job(&run.job.id).is_some_and(|job| job.enabled) {
        return Err(SkipReason::Removed);
    }
    let firing = Firing {
        job: run.job.clone(),
        cause: run.cause,
        scheduled_at: run.scheduled_at,
    };
    admit(&firing, dispatcher)
}
