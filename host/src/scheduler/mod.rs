//! Which job is due when: jobs in, due firings out. Pure: no I/O, no clock, no threads.
//!
//! ```text
//! upsert / remove ──▶ Scheduler ──due(now)──▶ Fire(Firing) | Skip { reason }
//! resume ─────────────▶  │   ──ahead(now, horizon)──▶ Firing, and when it will be due
//! ended(run) ─────────▶  │   ──▶ Fire(Firing) of the jobs that come after
//!                        └─next_wake()──▶ when to ask again
//! ```
//!
//! # Rules
//!
//! - **No drift.** A job's next instant is computed from the instant it was scheduled for,
//!   never from the time it was looked at.
//! - **Jitter.** An instant is due as much later as its trigger says; it keeps its name, and the
//!   next one is computed from it all the same. A job that comes into service between an
//!   instant and the time it is due still has it before it.
//! - **Counted runs.** A trigger that allows so many runs and does not say from when they count
//!   is counted from when the job came into service; a definition with an equal trigger, or one
//!   with other days off, goes on counting.
//! - **After another job.** The end of a run is an instant of each job that waits for it: see
//!   [`Scheduler::ended`].
//! - **A reload keeps the tick.** A new definition with an equal trigger keeps its next
//!   instant; a changed trigger (or a job that is enabled again) counts from now.
//! - **Late.** Instants of a job that have fallen due while nobody looked (the host was down,
//!   stalled or suspended, or the clock was set forward): those that were due longer ago than the
//!   job's `misfire_grace_time` are one skip, [`SkipReason::Misfired`]. Of the others, `coalesce`
//!   says which fire; those for which others stand in are one skip, [`SkipReason::Missed`]. A
//!   firing more than [`PUNCTUAL`] late is a [`Cause::CatchUp`]; less late is on time, whatever
//!   the policies say.
//! - **After a restart.** A job [resumes](Scheduler::resume) where its schedule had come to: what
//!   fell due meanwhile is late like anything else.
//! - **Days off.** What a calendar leaves out is not due. When its instant has come, it is one skip,
//!   [`SkipReason::Excluded`], with all that is left out of the job on the rest of that day; after a
//!   restart, with all since the last such skip. It is not a step of the schedule.
//! - **Not enabled.** Nothing of a job falls due while it is not enabled, so nothing of that time
//!   is late or missed: once it is enabled, it counts from then, over a restart too.
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

mod ahead;
mod chains;
mod days_off;
mod late;
mod over;
mod passed;

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use chrono::TimeDelta;

use crate::clock::Timestamp;
use crate::job::{Coalesce, Job, JobId};
use crate::run::{Cause, Firing, SkipReason};
use crate::trigger::{After, Trigger};
use chains::Chains;
use days_off::DaysOff;
use late::{Late, Stretch};
use passed::Passed;

pub use ahead::{Ahead, MOST_AHEAD};

/// How late a firing may be and still count as on time.
pub const PUNCTUAL: TimeDelta = TimeDelta::seconds(1);

/// How far the clock may be set back without any job being rescheduled.
pub const WAITED_OUT: TimeDelta = TimeDelta::seconds(1);

/// The most missed instants of all jobs together that one call of [`Scheduler::due`] counts:
/// bounds the time it takes after a suspended night.
const COUNTED_IN_ALL: u64 = 50_000;

/// How many things one call of [`Scheduler::due`] hands out before it leaves the rest of the jobs
/// to the next one: bounds the memory it takes when very many jobs catch up with very much.
const MOST_DUE: usize = 1 << 20;

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

/// How far the schedule of a job had come when the host before this one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// Since when the job was in service with its trigger.
    pub since: Timestamp,
    /// Up to where its instants were dealt with; nothing if none was.
    pub dealt_with: Option<Timestamp>,
    /// Up to where what its calendars leave out was told of; nothing if none was.
    pub days_off: Option<Timestamp>,
    /// Whether it was enabled.
    pub enabled: bool,
}

/// Something that has fallen due.
#[derive(Debug, Clone)]
pub enum Due {
    /// A job is to run.
    Fire(Firing),
    /// Instants of a job have passed, and are not run.
    Skip {
        /// The first of them.
        firing: Firing,
        /// The last of them.
        through: Timestamp,
        /// Why they are not run.
        reason: SkipReason,
    },
}

impl Due {
    /// What is to run, or the first of what is not.
    pub fn firing(&self) -> &Firing {
        match self {
            Due::Fire(firing) | Due::Skip { firing, .. } => firing,
        }
    }
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
    chains: Chains,
    days_off: DaysOff,
}

/// A job's place.
#[derive(Debug)]
struct Slot {
    /// Nothing in a place that is free.
    job: Option<Arc<Job>>,
    sequence: u64,
    /// The job's trigger, where it had to be told from when to count runs.
    counted: Option<Box<Counted>>,
    /// Its next instant. With `starting` set, the instant it was added; else the first instant
    /// of its trigger after `base`.
    next: Option<Timestamp>,
    /// When that is due.
    due: Option<Timestamp>,
    /// Up to here the trigger's instants are dealt with.
    base: Timestamp,
    /// Whether the next firing is the one that `run_on_start` asks for.
    starting: bool,
}

/// When a job is due next, or used to be.
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
    /// A job that came into service at `now`.
    fn new(job: Arc<Job>, sequence: u64, now: Timestamp) -> Slot {
        Slot {
            counted: counted_from(&job.trigger, now),
            job: Some(job),
            sequence,
            next: None,
            due: None,
            base: now,
            starting: false,
        }
    }

    fn trigger(&self) -> Option<&Trigger> {
        match &self.counted {
            Some(counted) => Some(&counted.trigger),
            None => Some(&self.job.as_ref()?.trigger),
        }
    }

    /// Sets the next instant to be dealt with.
    fn set(&mut self, next: Option<Timestamp>) {
        self.due = match (next, self.trigger()) {
            (Some(next), Some(trigger)) if !self.starting => Some(trigger.due(next)),
            _ => next,
        };
        self.next = next;
    }

    /// Sets the first instant of the trigger after `base`, or none if it is not to fire.
    fn advance(&mut self) {
        let enabled = self.job.as_ref().is_some_and(|job| job.enabled);
        let next = self
            .trigger()
            .filter(|_| enabled)
            .and_then(|trigger| after(trigger, self.base));
        self.set(next);
    }

    /// Begins at `now`: with the instant that is past but not yet due, if there is one that is
    /// not dealt with, or else with the first after it.
    fn begin(&mut self, now: Timestamp, dealt_with: Option<Timestamp>) {
        self.base = now;
        let Some(trigger) = self.trigger() else {
            return;
        };
        if let Some(past) = trigger.pending(now)
            && dealt_with.is_none_or(|dealt_with| past > dealt_with)
        {
            self.base = past - TimeDelta::nanoseconds(1);
        }
        self.advance();
    }
}

/// A trigger whose runs are counted, and from when.
#[derive(Debug)]
struct Counted {
    trigger: Trigger,
    since: Timestamp,
}

fn counted_from(trigger: &Trigger, since: Timestamp) -> Option<Box<Counted>> {
    let trigger = trigger.counted_from(since)?;
    Some(Box::new(Counted { trigger, since }))
}

/// The trigger's first instant after `instant`. A trigger that did not advance would make the
/// callers' loops endless: it counts as one that never fires again.
fn after(trigger: &Trigger, instant: Timestamp) -> Option<Timestamp> {
    trigger.next_after(instant).filter(|next| *next > instant)
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
            None => self.add(job, now, false, None),
        };
        self.tidy();
        change
    }

    /// Adds a job at the start of the host: one with the trigger `@reboot` fires at once. A job
    /// that is there already is replaced, as [`upsert`](Self::upsert) does.
    pub fn start(&mut self, job: Arc<Job>, now: Timestamp) -> Change {
        if self.index.contains_key(&job.id) {
            return self.upsert(job, now);
        }
        let change = self.add(job, now, true, None);
        self.tidy();
        change
    }

    /// Adds a job at the start of the host as [`start`](Self::start) does, that was in service
    /// before with an equal trigger. What fell due since is due now, and late; nothing did while
    /// the job was not enabled, and when in that time it was enabled is not known.
    pub fn resume(&mut self, job: Arc<Job>, before: Before, now: Timestamp) -> Change {
        if self.index.contains_key(&job.id) {
            return self.upsert(job, now);
        }
        let since = before.since;
        let base = before
            .dealt_with
            .map_or(since, |dealt_with| dealt_with.max(since));
        if base > now {
            // The clock was set back while the host was down: as if it had been up.
            self.passed.remember(since, base);
        }
        let goes_on = before.enabled && job.enabled;
        let id = job.id.clone();
        let change = self.add(job, now, true, Some((since, goes_on.then_some(base))));
        if goes_on
            && let Some(place) = self.index.get(&id)
            && let Some(slot) = self.slots.get(*place as usize)
        {
            let told = before.days_off.map_or(base, |told| told.max(base));
            self.days_off.watch(*place, slot, told);
        }
        self.tidy();
        change
    }

    /// `before` says of a job that was in service before since when, and up to where its instants
    /// are dealt with, if it goes on from there.
    fn add(
        &mut self,
        job: Arc<Job>,
        now: Timestamp,
        at_start: bool,
        before: Option<(Timestamp, Option<Timestamp>)>,
    ) -> Change {
        let id = job.id.clone();
        self.chains.add(&job);
        let since = before.map_or(now, |(since, _)| since);
        let mut slot = Slot::new(job, self.added, since);
        self.added += 1;
        slot.starting = slot.job.as_ref().is_some_and(|job| {
            job.enabled && (job.run_on_start || at_start && job.trigger.fires_at_start())
        });
        let base = before.and_then(|(_, base)| base);
        slot.base = base.unwrap_or(now);
        if slot.starting {
            slot.set(Some(now));
        } else if base.is_some() {
            slot.advance();
        } else {
            slot.begin(now, None);
        }
        let place = match self.free.pop() {
            Some(place) => place,
            None => u32::try_from(self.slots.len()).unwrap_or(u32::MAX),
        };
        enqueue(&mut self.queue, &slot, place);
        self.days_off.watch(place, &slot, now);
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
        let old = slot.job.replace(job.clone());
        let same_trigger = old.as_ref().is_some_and(|old| old.trigger == job.trigger);
        if same_trigger && old.as_ref().is_some_and(|old| old.enabled == job.enabled) {
            return Change::Kept;
        }
        if let Some(old) = &old {
            self.chains.remove(old);
        }
        self.chains.add(&job);
        if !same_trigger {
            // Other days off are no reason to count anew.
            let goes_on = old
                .as_ref()
                .is_some_and(|old| old.trigger.is_same_but_for_days(&job.trigger));
            let before = slot.counted.as_ref().filter(|_| goes_on);
            let since = before.map_or(now, |counted| counted.since);
            slot.counted = counted_from(&job.trigger, since);
        }
        slot.starting &= job.enabled;
        if !slot.starting {
            let ahead = slot.base - now;
            if ahead > TimeDelta::zero() && ahead <= WAITED_OUT {
                // A clock that was set back by a little does not make the last instant due again.
                slot.advance();
            } else {
                let dealt_with = slot.base;
                slot.begin(now, Some(dealt_with));
            }
            enqueue(&mut self.queue, slot, place);
        }
        self.days_off.watch(place, slot, now);
        Change::Rescheduled
    }

    /// Whether a definition would leave the schedule of its job as it is: the job is there, its
    /// trigger is the same, and it is as much or as little enabled.
    pub fn keeps(&self, job: &Job) -> bool {
        self.job(&job.id)
            .is_some_and(|old| old.trigger == job.trigger && old.enabled == job.enabled)
    }

    /// Removes a job, and returns its definition if there was one.
    pub fn remove(&mut self, id: &JobId) -> Option<Arc<Job>> {
        let place = self.index.remove(id)?;
        let slot = self.slots.get_mut(place as usize)?;
        let job = slot.job.take();
        slot.set(None);
        slot.counted = None;
        self.days_off.watch(place, slot, Timestamp::MAX_UTC);
        self.free.push(place);
        if let Some(job) = &job {
            self.chains.remove(job);
        }
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

    /// When the next instant comes that a calendar leaves out: [`due`](Self::due) is to be asked
    /// then, too, to tell of it. It need not be recorded ahead.
    pub fn next_day_off(&self) -> Option<Timestamp> {
        self.days_off.next()
    }

    /// What has fallen due by `now`, by the instant it was due and, within one, in the order of
    /// definition. Each is handed out once.
    pub fn due(&mut self, now: Timestamp) -> Vec<Due> {
        if self.passed.observe(now) {
            self.go_on(now);
        }
        let mut due = self.days_off.pass(&self.slots, now);
        let mut budget = COUNTED_IN_ALL;
        let mut missed = false;
        while let Some(Reverse(entry)) = self.queue.peek().copied() {
            if entry.at > now || due.len() >= MOST_DUE {
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
                slot.advance();
                due.push(Due::Fire(Firing {
                    job,
                    cause: Cause::Schedule,
                    scheduled_at: entry.at,
                }));
            } else {
                let (Some(first), Some(trigger)) = (slot.next, slot.trigger()) else {
                    continue; // what is queued has an instant
                };
                let policies = &job.policies;
                let late = Late::of(policies, trigger, first, now, &mut budget);
                let is_punctual = |instant| now - trigger.due(instant) < PUNCTUAL;
                let passed = &self.passed;
                let skip = |stretch: Stretch, reason: fn(Option<u64>) -> SkipReason| Due::Skip {
                    firing: Firing {
                        job: job.clone(),
                        cause: Cause::CatchUp,
                        scheduled_at: passed.name(stretch.first),
                    },
                    through: passed.name(stretch.last),
                    reason: reason(stretch.count),
                };
                missed |= late.misfired.is_some() || late.missed.is_some();
                due.extend(late.misfired.map(|it| skip(it, SkipReason::Misfired)));
                let stood_in_for = late.missed.map(|it| skip(it, SkipReason::Missed));
                let (before, behind) = match policies.coalesce {
                    Coalesce::Earliest => (None, stood_in_for),
                    Coalesce::Latest | Coalesce::All(_) => (stood_in_for, None),
                };
                due.extend(before);
                due.extend(late.fire.into_iter().chain(late.more).map(|instant| {
                    Due::Fire(Firing {
                        job: job.clone(),
                        cause: if is_punctual(instant) {
                            Cause::Schedule
                        } else {
                            Cause::CatchUp
                        },
                        scheduled_at: passed.name(instant),
                    })
                }));
                due.extend(behind);
                slot.base = late.latest;
                slot.set(late.next);
            }
            enqueue(&mut self.queue, slot, entry.slot);
        }
        self.passed.advance(now, missed);
        self.tidy();
        due
    }

    /// Lets the jobs go on that a clock set back to `now` would silence.
    fn go_on(&mut self, now: Timestamp) {
        for (place, slot) in self.slots.iter_mut().enumerate() {
            let (Some(trigger), Some(next), Some(due)) = (slot.trigger(), slot.next, slot.due)
            else {
                continue;
            };
            let silent = due - now;
            if silent <= WAITED_OUT {
                continue;
            }
            if slot.starting {
                slot.base = now;
                slot.set(Some(now));
            } else {
                let Some(first) = after(trigger, now).filter(|first| *first < next) else {
                    continue;
                };
                // The job's gaps, at the old time and at the new: the longer is its pace.
                // A burst (five times around 02:00) is one occasion, not a fast job.
                let second = after(trigger, first).unwrap_or(next);
                let pace = (second - first).max(next - slot.base);
                if silent < pace * 2 {
                    continue;
                }
                slot.base = now;
                slot.set(Some(first));
            }
            if let Ok(place) = u32::try_from(place) {
                enqueue(&mut self.queue, slot, place);
            }
        }
    }

    /// What the end of a run makes due: the jobs that come after its job and are told by how
    /// it ended, in the order of definition. Each firing is for the instant `at` at which the run
    /// ended, or the first after it that the job has not had yet.
    pub fn ended(&mut self, job: &JobId, succeeded: bool, at: Timestamp) -> Vec<Due> {
        let mut due: Vec<(u64, Due)> = Vec::new();
        for follower in self.chains.after(job).to_vec() {
            let Some(slot) = self
                .index
                .get(&follower)
                .and_then(|place| self.slots.get_mut(*place as usize))
            else {
                continue;
            };
            let Some(follower) = slot.job.clone().filter(|follower| follower.enabled) else {
                continue;
            };
            let told = |after: &&After| *after.job == *job.as_str() && after.on.includes(succeeded);
            if !follower.trigger.upstreams().iter().any(told) {
                continue;
            }
            let sequence = slot.sequence;
            due.extend(
                self.follow(&follower.id, at)
                    .map(|firing| (sequence, Due::Fire(firing))),
            );
        }
        due.sort_by_key(|(sequence, _)| *sequence);
        due.into_iter().map(|(_, due)| due).collect()
    }

    /// The firing of a job that comes after a run that ended at `at`; nothing if there is no such
    /// job.
    pub fn follow(&mut self, follower: &JobId, at: Timestamp) -> Option<Firing> {
        let job = self.job(follower)?.clone();
        Some(Firing {
            scheduled_at: self.chains.instant(follower, at),
            job,
            cause: Cause::Upstream,
        })
    }

    /// The jobs that some other job waits for.
    pub fn waited_for(&self) -> impl Iterator<Item = &str> {
        self.chains.waited_for()
    }

    /// How far the schedule of a job has come: since when it counts, and up to where its instants
    /// are dealt with. Nothing if there is no such job.
    pub fn progress_of(&self, id: &JobId) -> Option<(Timestamp, Timestamp)> {
        let slot = self.slot(id)?;
        let since = slot.counted.as_ref().map(|counted| counted.since);
        Some((since.unwrap_or(slot.base), slot.base))
    }

    /// When a job is due next; nothing if it never is, or if there is no such job.
    pub fn next_of(&self, id: &JobId) -> Option<Timestamp> {
        self.slot(id)?.due
    }

    /// The trigger of a job, where its runs are counted with from when.
    pub fn trigger_of(&self, id: &JobId) -> Option<&Trigger> {
        self.slot(id)?.trigger()
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

    /// All jobs and when they are due next, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<Job>, Option<Timestamp>)> {
        self.slots
            .iter()
            .filter_map(|slot| Some((slot.job.as_ref()?, slot.due)))
    }

    /// The `limit` jobs that are due first, in the order in which they are due and, within
    /// one instant, of definition. Those that are never due come last.
    pub fn upcoming(&self, limit: usize) -> Vec<(&Arc<Job>, Option<Timestamp>)> {
        let key = |slot: &&Slot| (slot.due.is_none(), slot.due, slot.sequence);
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
            .filter_map(|slot| Some((slot.job.as_ref()?, slot.due)))
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
                        at: slot.due?,
                        sequence: slot.sequence,
                        slot: u32::try_from(place).ok()?,
                    }))
                })
                .collect();
        }
    }
}

fn enqueue(queue: &mut BinaryHeap<Reverse<Entry>>, slot: &Slot, place: u32) {
    if let Some(at) = slot.due {
        queue.push(Reverse(Entry {
            at,
            sequence: slot.sequence,
            slot: place,
        }));
    }
}

/// Whether an entry still says when its job is due.
fn is_live(slot: &Slot, entry: &Entry) -> bool {
    slot.sequence == entry.sequence && slot.due == Some(entry.at)
}

#[cfg(test)]
mod tests;
