//! Runs that are recorded before they are due, so that none of them waits for the disk when it is.
//!
//! ```text
//! Scheduler::ahead ──▶ Store::fire (one group) ──▶ recorded, not due ──due──▶ admit ──▶ dispatch
//!        ▲                  │ fails                                             │ refused
//!        └── not asked ◀────┴──▶ held, tried again                              └──▶ run.skipped
//! ```
//!
//! While the store cannot record, nothing is asked of the schedule: what falls due meanwhile is
//! late when it can again, and dealt with as such. Whoever takes a job out of the schedule, or
//! retimes it, has that [given up](Planner::give_up) first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;

use chrono::TimeDelta;

use super::{Fired, admit, fire_due};
use crate::clock::Timestamp;
use crate::dispatcher::{Admission, Dispatcher, Executor};
use crate::job::{Coalesce, Job, JobId};
use crate::run::{Firing, Run, RunId, SkipReason};
use crate::scheduler::{Ahead, Due, PUNCTUAL, Scheduler, WAITED_OUT};
use crate::store::{FireResult, Store, StoreError};

/// How long until what could not be recorded is tried again.
const AGAIN: TimeDelta = TimeDelta::milliseconds(500);

/// Why what fell due is not recorded when its job is gone by the time that the store can.
const GIVEN_UP: &str =
    "the store failed until the job was removed, disabled or given another trigger";

/// Records runs ahead, and hands them on when they are due.
pub struct Planner {
    store: Arc<dyn Store>,
    lead: TimeDelta,
    /// A group that is being recorded.
    recording: Option<Recording>,
    /// A group that could not be.
    held: Option<Held>,
    /// Runs that are recorded and wait for their time, with the order they came in.
    waiting: BTreeMap<(Timestamp, u64), Waiting>,
    planned: u64,
}

struct Waiting {
    run: Arc<Run>,
    /// When it came.
    since: Timestamp,
}

struct Recording {
    /// When it began.
    since: Timestamp,
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

    /// Has a recorded run wait until it is due, from `now` on.
    pub fn wait(&mut self, run: Arc<Run>, due_at: Timestamp, now: Timestamp) {
        self.planned += 1;
        let waiting = Waiting { run, since: now };
        self.waiting.insert((due_at, self.planned), waiting);
    }

    /// Takes a recorded run that is not due yet out of those that wait, if it is one of them.
    pub fn take(&mut self, run: RunId) -> Option<Arc<Run>> {
        let mut waiting = self.waiting.iter();
        let (key, _) = waiting.find(|(_, waiting)| waiting.run.id == run)?;
        let key = *key;
        Some(self.waiting.remove(&key)?.run)
    }

    /// Looks at the time: starts what is recorded and due, fires what is due and was not recorded,
    /// unless the store cannot, and begins to record what will soon be due.
    pub async fn step<E: Executor>(
        &mut self,
        scheduler: &mut Scheduler,
        dispatcher: &Dispatcher<E>,
        now: Timestamp,
    ) -> Fired {
        if self.waits_for_more(scheduler, now) {
            return Fired::default();
        }
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
            let again = held.again.get_or_insert(now + AGAIN);
            // The clock may have been set back since.
            *again = (*again).min(now + AGAIN);
            if *again > now {
                return;
            }
            (std::mem::take(&mut held.group), true)
        } else if self.is_time(scheduler, now) {
            (scheduler.ahead(now, now + self.lead), false)
        } else {
            return;
        };
        self.held = None;
        // What was held may have been given up; then this is how the end of that is told.
        if group.is_empty() && !again {
            return;
        }
        let firings = group.iter().map(|it| it.firing.clone()).collect();
        let store = self.store.clone();
        self.recording = Some(Recording {
            since: now,
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
                        FireResult::Recorded(run) => {
                            self.wait(run, ahead.due_at, recording.since);
                        }
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
        let is_gone = |_: &_, waiting: &mut Waiting| jobs.contains(&waiting.run.job.id);
        for (_, waiting) in self.waiting.extract_if(.., is_gone) {
            dispatcher.skip_run(&waiting.run, SkipReason::Removed);
        }
        for job in jobs {
            dispatcher.withdraw(job);
        }
    }

    /// A job leaves service, or gets another schedule: what of it has fallen due by `now` and could
    /// not be recorded never will be, and is skipped.
    pub fn give_up<E: Executor>(
        &mut self,
        scheduler: &mut Scheduler,
        dispatcher: &Dispatcher<E>,
        job: &JobId,
        now: Timestamp,
    ) {
        let why = |_| SkipReason::NotRecorded(GIVEN_UP.to_owned());
        if let Some(held) = &mut self.held {
            let is_given_up = |ahead: &mut Ahead| ahead.firing.job.id == *job;
            for ahead in held.group.extract_if(.., is_given_up) {
                dispatcher.skip(ahead.firing, None, why(None));
            }
        }
        pass_over(scheduler, dispatcher, job, now, why);
    }

    /// Whether something is so late that it matters what else is, while that is still being
    /// recorded: no more is started until it is.
    fn waits_for_more(&self, scheduler: &Scheduler, now: Timestamp) -> bool {
        let is_late = |due_at: Timestamp| is_late(due_at, now);
        self.recording.is_some()
            && (self.first_due().is_some_and(is_late) || scheduler.next_wake().is_some_and(is_late))
    }

    fn first_due(&self) -> Option<Timestamp> {
        Some(self.waiting.first_key_value()?.0.0)
    }

    /// Starts what is recorded and due by `now`, as far as it may start.
    fn release<E: Executor>(
        &mut self,
        scheduler: &mut Scheduler,
        dispatcher: &Dispatcher<E>,
        now: Timestamp,
    ) -> Fired {
        let mut fired = Fired::default();
        let mut runs = Vec::new();
        let mut due = Vec::new();
        while let Some(first) = self.waiting.first_entry() {
            // When the clock was set back, it does not wait for the same time to come again.
            let is_set_back = first.get().since - now > WAITED_OUT;
            if first.key().0 > now && !is_set_back {
                break;
            }
            let ((due_at, _), waiting) = first.remove_entry();
            due.push((due_at, waiting.run));
        }
        let mut late = LateRuns::of(&due, scheduler, now);
        for (due_at, run) in due {
            let admitted = match late.refuses(&run, due_at, scheduler, now) {
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
        for job in late.stood_in_for {
            let skipped = pass_over(scheduler, dispatcher, &job, now, SkipReason::Missed);
            fired.skipped += usize::from(skipped);
        }
        fired.dispatched += runs.len();
        dispatcher.dispatch(runs);
        fired
    }

    /// When to come again; nothing if there is nothing to come for.
    pub fn wake(&self, scheduler: &Scheduler, now: Timestamp) -> Option<Timestamp> {
        if self.waits_for_more(scheduler, now) {
            return None; // the end of the recording wakes whoever waits
        }
        let due = self.first_due();
        let next = if self.recording.is_some() {
            None // its end wakes whoever waits
        } else if let Some(held) = &self.held {
            held.again
                .map_or(Some(now), |again| Some(again.min(now + AGAIN)))
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

/// Skips what of a job is due and not fired. False if there is nothing.
fn pass_over<E: Executor>(
    scheduler: &mut Scheduler,
    dispatcher: &Dispatcher<E>,
    job: &JobId,
    now: Timestamp,
    reason: impl FnOnce(Option<u64>) -> SkipReason,
) -> bool {
    let Some(Due::Skip {
        firing,
        through,
        reason,
    }) = scheduler.pass_over(job, now, reason)
    else {
        return false;
    };
    dispatcher.skip(firing, Some(through), reason);
    true
}

/// Recorded runs that are due, some of them late: the rules for what is late hold for them too,
/// together with what else of their jobs is due. To be asked before the schedule is.
#[derive(Default)]
struct LateRuns {
    /// For each job that has any which is late, how many come that are not too late.
    left: HashMap<JobId, usize>,
    /// Jobs of which one run stands in for all that come after it.
    stood_in_for: HashSet<JobId>,
}

impl LateRuns {
    fn of(due: &[(Timestamp, Arc<Run>)], scheduler: &Scheduler, now: Timestamp) -> LateRuns {
        let mut late = LateRuns::default();
        for (due_at, run) in due {
            if is_late(*due_at, now) {
                late.left.insert(run.job.id.clone(), 0);
            }
        }
        if !late.left.is_empty() {
            for (due_at, run) in due {
                if !is_misfired(run, *due_at, scheduler, now)
                    && let Some(left) = late.left.get_mut(&run.job.id)
                {
                    *left += 1;
                }
            }
        }
        late
    }

    /// Why a recorded run is not to start any more, if it is not. To be asked of each once, in
    /// their order.
    fn refuses(
        &mut self,
        run: &Run,
        due_at: Timestamp,
        scheduler: &Scheduler,
        now: Timestamp,
    ) -> Option<SkipReason> {
        let left = self.left.get_mut(&run.job.id)?;
        if is_misfired(run, due_at, scheduler, now) {
            return Some(SkipReason::Misfired(Some(1)));
        }
        *left -= 1;
        let is_late = is_late(due_at, now);
        let is_one_too_many = match job_now(run, scheduler).policies.coalesce {
            Coalesce::Earliest if self.stood_in_for.contains(&run.job.id) => true,
            Coalesce::Earliest => {
                if is_late {
                    self.stood_in_for.insert(run.job.id.clone());
                }
                false
            }
            Coalesce::Latest => is_late && *left + scheduler.count_due(&run.job.id, now, 1) >= 1,
            Coalesce::All(most) => {
                let most = most as usize;
                is_late && *left + scheduler.count_due(&run.job.id, now, most) >= most
            }
        };
        is_one_too_many.then_some(SkipReason::Missed(Some(1)))
    }
}

/// The job of a run as it is now: that says what becomes of what is late.
fn job_now<'a>(run: &'a Run, scheduler: &'a Scheduler) -> &'a Job {
    scheduler.job(&run.job.id).unwrap_or(&run.job)
}

/// Whether a recorded run is so late that it is not to start.
fn is_misfired(run: &Run, due_at: Timestamp, scheduler: &Scheduler, now: Timestamp) -> bool {
    let late = (now - due_at).to_std().unwrap_or_default();
    let grace = job_now(run, scheduler).policies.misfire_grace_time;
    is_late(due_at, now) && grace.is_some_and(|grace| late > grace)
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

#[cfg(test)]
mod tests;
