//! Which job is due when: jobs in, due firings out. Pure: no I/O, no clock, no threads.
//!
//! ```text
//! upsert / remove ──▶ Scheduler ──due(now)──▶ Fire(Firing) | Skip { reason }
//!                        │
//!                        └─next_wake()──▶ when to ask again
//! ```
//!
//! # Rules
//!
//! - **No drift.** A job's next instant is computed from the instant it was scheduled for,
//!   never from the time it was looked at.
//! - **A reload keeps the tick.** A new definition with an equal trigger keeps its next
//!   instant; a changed trigger (or a job that is enabled again) counts from now.
//! - **Late.** When several instants of a job have fallen due at once (the host was stalled,
//!   suspended, or the clock was set forward), the latest fires and those before it are one
//!   skip that says how many they were. A firing more than [`PUNCTUAL`] late is a
//!   [`Cause::CatchUp`].
//! - **The clock set back.** No instant fires twice, and no job falls silent for the length of
//!   the step:
//!   - A step of up to [`WAITED_OUT`] is waited out.
//!   - After a larger one a job keeps its next instant if it will come within two of the job's
//!     own gaps: a nightly job that has run does not run again because the night comes twice.
//!   - A job that would otherwise be silent for longer (every 5 seconds, and the clock went
//!     back an hour) goes on with the new time at once. The instants that it passes for the
//!     second time are new ones, and named so: a microsecond is added to their `scheduled_at`
//!     for each time that they have been passed before. So (job, scheduled instant) stays
//!     unique for ever, which is what the store relies on.
//!   - Time that never was, because the clock had leapt forward and was corrected, counts as
//!     not passed.
//!
//! Every operation on one job costs O(log n). The queue deletes lazily: an entry counts only
//! while it is its job's next instant, and the queue is rebuilt when most of it is stale.

mod passed;

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use chrono::TimeDelta;

use crate::clock::Timestamp;
use crate::job::{Job, JobId};
use crate::run::{Cause, Firing, SkipReason};
use passed::Passed;

/// How late a firing may be and still count as on time.
pub const PUNCTUAL: TimeDelta = TimeDelta::seconds(1);

/// How far the clock may be set back without any job being rescheduled.
pub const WAITED_OUT: TimeDelta = TimeDelta::seconds(1);

/// The most missed instants of one job that are counted one by one.
const COUNTED: u64 = 1_000;

/// The most missed instants of all jobs together that one call of [`Scheduler::due`] counts:
/// bounds the time it takes after a suspended night.
const COUNTED_IN_ALL: u64 = 50_000;

/// What a definition did to the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The job is new.
    Added,
    /// The job has a new definition and keeps its next instant.
    Kept,
    /// The job has a new definition and a next instant computed from now.
    Rescheduled,
}

/// Something that has fallen due.
#[derive(Debug, Clone)]
pub enum Due {
    /// A job is to run.
    Fire(Firing),
    /// Instants of a job have passed, and a later one stands in for them.
    Skip {
        /// The job.
        job: Arc<Job>,
        /// The first of the instants.
        scheduled_at: Timestamp,
        /// Why they are not run.
        reason: SkipReason,
    },
}

/// The jobs of a host and their next instants. See the [module](self) for the rules.
#[derive(Debug, Default)]
pub struct Scheduler {
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: HashMap<JobId, u32>,
    queue: BinaryHeap<Reverse<Entry>>,
    /// How many jobs have ever been added: the order of definition.
    added: u64,
    passed: Passed,
}

/// A job's place.
#[derive(Debug)]
struct Slot {
    /// Nothing in a place that is free.
    job: Option<Arc<Job>>,
    sequence: u64,
    /// When it is due next. With `starting` set, the instant it was added; else the first
    /// instant of its trigger after `base`.
    next: Option<Timestamp>,
    /// Up to here the trigger's instants are dealt with.
    base: Timestamp,
    /// Whether the next firing is the one that `run_on_start` asks for.
    starting: bool,
}

/// A job's next instant, or one that it used to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    at: Timestamp,
    sequence: u64,
    slot: u32,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Slot {
    /// The first instant of the job's trigger after `base`, or none if it is not to fire.
    fn compute(&self) -> Option<Timestamp> {
        let job = self.job.as_deref()?;
        job.enabled.then(|| after(job, self.base)).flatten()
    }
}

/// The job's first instant after `instant`. A trigger that did not advance would make the
/// callers' loops endless: it counts as one that never fires again.
fn after(job: &Job, instant: Timestamp) -> Option<Timestamp> {
    job.trigger
        .next_after(instant)
        .filter(|next| *next > instant)
}

impl Scheduler {
    /// No jobs.
    pub fn new() -> Self {
        Scheduler::default()
    }

    /// Adds a job, or replaces the definition of the one with its id.
    pub fn upsert(&mut self, job: Arc<Job>, now: Timestamp) -> Change {
        let change = match self.index.get(&job.id) {
            Some(&slot) => self.replace(slot, job, now),
            None => self.add(job, now),
        };
        self.tidy();
        change
    }

    fn add(&mut self, job: Arc<Job>, now: Timestamp) -> Change {
        let id = job.id.clone();
        let starting = job.run_on_start && job.enabled;
        let mut slot = Slot {
            job: Some(job),
            sequence: self.added,
            next: None,
            base: now,
            starting,
        };
        self.added += 1;
        slot.next = if starting { Some(now) } else { slot.compute() };
        let place = match self.free.pop() {
            Some(place) => place,
            None => u32::try_from(self.slots.len()).unwrap_or(u32::MAX),
        };
        enqueue(&mut self.queue, &slot, place);
        match self.slots.get_mut(place as usize) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        self.index.insert(id, place);
        Change::Added
    }

    fn replace(&mut self, place: u32, job: Arc<Job>, now: Timestamp) -> Change {
        let Some(slot) = self.slots.get_mut(place as usize) else {
            return Change::Kept; // the index names only places that exist
        };
        let same = slot
            .job
            .as_ref()
            .is_some_and(|old| old.enabled == job.enabled && old.trigger == job.trigger);
        slot.job = Some(job);
        if same {
            return Change::Kept;
        }
        // A clock that was set back by a little must not make the last instant due again.
        if slot.base - now > WAITED_OUT || slot.base < now {
            slot.base = now;
        }
        slot.starting &= slot.job.as_ref().is_some_and(|job| job.enabled);
        if !slot.starting {
            slot.next = slot.compute();
            enqueue(&mut self.queue, slot, place);
        }
        Change::Rescheduled
    }

    /// Removes a job, and returns its definition if there was one.
    pub fn remove(&mut self, id: &JobId) -> Option<Arc<Job>> {
        let place = self.index.remove(id)?;
        let slot = self.slots.get_mut(place as usize)?;
        let job = slot.job.take();
        slot.next = None;
        self.free.push(place);
        self.tidy();
        job
    }

    /// When something will be due next; nothing if nothing ever will.
    ///
    /// Whoever sleeps until then asks [`due`](Self::due) at least every few seconds all the
    /// same: only so does the scheduler learn that the clock was set back. Asking costs nothing
    /// while nothing is due.
    pub fn next_wake(&self) -> Option<Timestamp> {
        // `tidy` keeps the head of the queue a live one.
        self.queue.peek().map(|entry| entry.0.at)
    }

    /// What has fallen due by `now`, by the instant it was due and, within one, in the order of
    /// definition. Each is handed out once.
    pub fn due(&mut self, now: Timestamp) -> Vec<Due> {
        if self.passed.observe(now) {
            self.resume(now);
        }
        let mut due = Vec::new();
        let mut budget = COUNTED_IN_ALL;
        let mut missed = false;
        while let Some(Reverse(entry)) = self.queue.peek().copied() {
            if entry.at > now {
                break;
            }
            self.queue.pop();
            let Some(slot) = self.slots.get_mut(entry.slot as usize) else {
                continue;
            };
            if !is_live(slot, &entry) {
                continue;
            }
            let Some(job) = slot.job.clone() else {
                continue;
            };
            if slot.starting {
                slot.starting = false;
                slot.next = slot.compute();
                due.push(Due::Fire(Firing {
                    job,
                    cause: Cause::Schedule,
                    scheduled_at: entry.at,
                }));
            } else {
                let late = Late::of(&job, entry.at, now, &mut budget);
                slot.base = late.latest;
                slot.next = late.next;
                if late.missed != Some(0) {
                    missed = true;
                    due.push(Due::Skip {
                        job: job.clone(),
                        scheduled_at: self.passed.name(entry.at),
                        reason: SkipReason::Missed(late.missed),
                    });
                }
                let cause = if now - late.latest < PUNCTUAL {
                    Cause::Schedule
                } else {
                    Cause::CatchUp
                };
                due.push(Due::Fire(Firing {
                    job,
                    cause,
                    scheduled_at: self.passed.name(late.latest),
                }));
            }
            enqueue(&mut self.queue, slot, entry.slot);
        }
        self.passed.advance(now, missed);
        self.tidy();
        due
    }

    /// How far the clock stands behind what [`due`](Self::due) has seen of it, if it was set
    /// back by more than [`WAITED_OUT`].
    pub fn set_back_by(&self, now: Timestamp) -> Option<TimeDelta> {
        self.passed.set_back_by(now)
    }

    /// Lets the jobs go on that a clock set back to `now` would silence.
    fn resume(&mut self, now: Timestamp) {
        for (place, slot) in self.slots.iter_mut().enumerate() {
            let (Some(job), Some(next)) = (slot.job.as_deref(), slot.next) else {
                continue;
            };
            let silent = next - now;
            if silent <= WAITED_OUT {
                continue;
            }
            if slot.starting {
                slot.base = now;
                slot.next = Some(now);
            } else {
                let Some(first) = after(job, now).filter(|first| *first < next) else {
                    continue;
                };
                // The job's gaps, at the old time and at the new: the longer is its pace.
                // A burst (five times around 02:00) is one occasion, not a fast job.
                let second = after(job, first).unwrap_or(next);
                let pace = (second - first).max(next - slot.base);
                if silent < pace * 2 {
                    continue;
                }
                slot.base = now;
                slot.next = Some(first);
            }
            if let Ok(place) = u32::try_from(place) {
                enqueue(&mut self.queue, slot, place);
            }
        }
    }

    /// When a job is due next; nothing if it never is, or if there is no such job.
    pub fn next_of(&self, id: &JobId) -> Option<Timestamp> {
        self.slot(id)?.next
    }

    /// The definition that a job has now.
    pub fn job(&self, id: &JobId) -> Option<&Arc<Job>> {
        self.slot(id)?.job.as_ref()
    }

    fn slot(&self, id: &JobId) -> Option<&Slot> {
        self.slots.get(*self.index.get(id)? as usize)
    }

    /// How many jobs there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are no jobs.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// All jobs with their next instants, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<Job>, Option<Timestamp>)> {
        self.slots
            .iter()
            .filter_map(|slot| Some((slot.job.as_ref()?, slot.next)))
    }

    /// The `limit` jobs that are due first, in the order of their next instants and, within
    /// one, of definition. Those that are never due come last.
    pub fn upcoming(&self, limit: usize) -> Vec<(&Arc<Job>, Option<Timestamp>)> {
        let key = |slot: &&Slot| (slot.next.is_none(), slot.next, slot.sequence);
        let mut slots: Vec<&Slot> = self.slots.iter().filter(|s| s.job.is_some()).collect();
        if limit == 0 {
            return Vec::new();
        }
        if limit < slots.len() {
            // A screenful of a million jobs does not need all of them sorted.
            slots.select_nth_unstable_by_key(limit - 1, key);
            slots.truncate(limit);
        }
        slots.sort_unstable_by_key(key);
        slots
            .into_iter()
            .filter_map(|slot| Some((slot.job.as_ref()?, slot.next)))
            .collect()
    }

    /// Keeps the head of the queue live, and most of the queue with it.
    fn tidy(&mut self) {
        while let Some(Reverse(entry)) = self.queue.peek() {
            match self.slots.get(entry.slot as usize) {
                Some(slot) if is_live(slot, entry) => break,
                _ => self.queue.pop(),
            };
        }
        if self.queue.len() > 64 + 2 * self.index.len() {
            self.queue = self
                .slots
                .iter()
                .enumerate()
                .filter_map(|(place, slot)| {
                    Some(Reverse(Entry {
                        at: slot.next?,
                        sequence: slot.sequence,
                        slot: u32::try_from(place).ok()?,
                    }))
                })
                .collect();
        }
    }
}

fn enqueue(queue: &mut BinaryHeap<Reverse<Entry>>, slot: &Slot, place: u32) {
    if let Some(at) = slot.next {
        queue.push(Reverse(Entry {
            at,
            sequence: slot.sequence,
            slot: place,
        }));
    }
}

/// Whether an entry still says when its job is due.
fn is_live(slot: &Slot, entry: &Entry) -> bool {
    slot.sequence == entry.sequence && slot.next == Some(entry.at)
}

/// What has become of a job whose instant `first` is due.
struct Late {
    /// The latest of its instants that are due.
    latest: Timestamp,
    /// The first that is not.
    next: Option<Timestamp>,
    /// How many are due besides the latest; nothing if they are too many to count.
    missed: Option<u64>,
}

impl Late {
    fn of(job: &Job, first: Timestamp, now: Timestamp, budget: &mut u64) -> Late {
        let mut latest = first;
        let mut missed = 0;
        loop {
            let next = after(job, latest);
            match next {
                Some(due) if due <= now => {
                    missed += 1;
                    latest = due;
                }
                _ => {
                    return Late {
                        latest,
                        next,
                        missed: Some(missed),
                    };
                }
            }
            if missed >= COUNTED || *budget == 0 {
                let latest = job.trigger.latest_in(latest, now).unwrap_or(latest);
                return Late {
                    latest,
                    next: after(job, latest),
                    missed: None,
                };
            }
            *budget -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
