//! Who runs, who waits, and for what: the dispatcher's books.
//!
//! ```text
//!  admit ─▶ Seat::Wait ──enter──▶ held ─┐ a run of the job ends
//!    └────▶ Seat::Place ─enter──▶ queue ◀┴────────── backoff ◀─┐
//!                                   └─pop──▶ running ─▶ again ──┘
//!                                               └─────▶ landed
//! ```
//!
//! A run *holds a place* among those of its job from its admission, or from when one is free for
//! it, to its end, waits between attempts included. It has a *worker* only while an attempt is
//! carried out.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::cancel::{Cancel, CancelReason};
use super::queue::{Queue, Queued, Turn};
use crate::job::{Job, JobId, Overlap};
use crate::run::{Run, RunId, RunMap, SkipReason};

/// The most runs that are in flight or wait at once: about a gigabyte of them.
const MOST: usize = 1 << 20;

/// The books. Locked for a few look-ups, never while anything runs.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) state: Mutex<State>,
    /// Told when the last run in flight has ended while the host is stopping.
    idle: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Runs that wait for a worker.
    pub(super) queue: Queue,
    /// Every run that has not ended, those that wait too.
    pub(super) flights: RunMap<Flight>,
    /// The jobs that have any.
    pub(super) jobs: HashMap<JobId, Instances>,
    /// How many runs have ever come.
    came: u64,
    /// How many runs wait for a place among those of their job.
    held: usize,
    pub(super) workers: usize,
    /// How many of the workers are in the first stretch of a run: it has not yet waited, nor
    /// computed for long. As many as there are threads at most, for more would only wait.
    pub(super) fresh: usize,
    pub(super) stopping: bool,
}

/// A run that has not ended.
#[derive(Debug)]
pub(super) struct Flight {
    run: Arc<Run>,
    cancel: Cancel,
    /// How many had come before it.
    order: u64,
    place: Place,
    /// Whether its job is gone: the attempt that is being carried out is its last.
    withdrawn: bool,
}

/// Where a run in flight is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It waits for a place among those of its job.
    Held,
    /// It has been given this turn: it waits in the queue, or is being carried out.
    Turn(Turn),
    /// It waits for its next attempt to be due.
    Backoff,
}

/// The runs of one job.
#[derive(Debug, Default)]
pub(super) struct Instances {
    /// How many are admitted and have not ended, besides those that wait for a place.
    count: u32,
    /// How many are admitted to wait for a place, and not yet here.
    expected: u32,
    /// Those that wait for a place, first come, first served.
    held: VecDeque<Queued>,
}

impl Instances {
    fn is_over(&self) -> bool {
        self.count == 0 && self.expected == 0 && self.held.is_empty()
    }
}

/// What a run was admitted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seat {
    /// A place among the runs of its job.
    Place,
    /// To wait for one, or to have another run make way.
    Wait,
}

/// How many runs of a job may be in flight at once.
fn most(job: &Job) -> u32 {
    match job.policies.overlap {
        Overlap::Allow => u32::MAX,
        _ => job.max_instances,
    }
}

impl State {
    /// Admits one more run of a job.
    ///
    /// # Errors
    /// Why it may not run.
    pub(super) fn admit(&mut self, job: &Job) -> Result<Seat, SkipReason> {
        if self.stopping {
            return Err(SkipReason::Stopping);
        }
        if self.flights.len() >= MOST {
            return Err(SkipReason::HostFull(MOST as u64));
        }
        // `entry` would clone the id of every job that is known already.
        let Some(instances) = self.jobs.get_mut(&job.id) else {
            let first = Instances {
                count: 1,
                ..Instances::default()
            };
            self.jobs.insert(job.id.clone(), first);
            return Ok(Seat::Place);
        };
        // Whoever waits already has the place that comes free.
        let none_waits = instances.held.is_empty() && instances.expected == 0;
        if none_waits && instances.count < most(job) {
            instances.count += 1;
            return Ok(Seat::Place);
        }
        match job.policies.overlap {
            Overlap::Skip => return Err(SkipReason::MaxInstances(job.max_instances)),
            Overlap::Queue(most) => {
                let waiting = instances.held.len() + instances.expected as usize;
                if waiting >= most as usize {
                    return Err(SkipReason::QueueFull(most));
                }
            }
            Overlap::Allow => {
                // Those that wait do so by an older definition.
                instances.count = instances.count.saturating_add(1);
                return Ok(Seat::Place);
            }
            Overlap::Replace => {}
        }
        instances.expected += 1;
        Ok(Seat::Wait)
    }

    /// Gives a seat back that no run has taken.
    pub(super) fn give_back(&mut self, job: &JobId, seat: Seat) {
        match seat {
            Seat::Place => self.release(job),
            Seat::Wait => {
                if let Some(instances) = self.jobs.get_mut(job) {
                    instances.expected = instances.expected.saturating_sub(1);
                }
                self.promote(job);
            }
        }
    }

    /// A run takes its seat. Those that make way for it, and wait themselves, are added to
    /// `displaced`: they have left the queues, and those that never started have left the books.
    pub(super) fn enter(&mut self, queued: Queued, seat: Seat, displaced: &mut Vec<Queued>) {
        let run = queued.run.clone();
        let mut flight = Flight {
            run: run.clone(),
            cancel: queued.cancel.clone(),
            order: self.came,
            place: Place::Held,
            withdrawn: false,
        };
        self.came += 1;
        if seat == Seat::Place {
            flight.place = Place::Turn(self.queue.push(queued));
            self.flights.insert(run.id, flight);
            return;
        }
        if run.job.policies.overlap == Overlap::Replace {
            self.make_way(&run.job, displaced);
        }
        self.flights.insert(run.id, flight);
        if let Some(instances) = self.jobs.get_mut(&run.job.id) {
            instances.expected = instances.expected.saturating_sub(1);
            instances.held.push_back(queued);
            self.held += 1;
        }
        self.promote(&run.job.id);
    }

    /// Has the oldest runs of a job end, so that there is a place for one more.
    fn make_way(&mut self, job: &Job, displaced: &mut Vec<Queued>) {
        let Some(instances) = self.jobs.get_mut(&job.id) else {
            return;
        };
        let held = std::mem::take(&mut instances.held);
        let needed = (instances.count + 1).saturating_sub(job.max_instances);
        self.held -= held.len();
        for queued in held {
            self.flights.remove(&queued.run.id);
            // One of another host may have begun: then its end says why.
            queued.cancel.cancel(CancelReason::Replaced);
            displaced.push(queued);
        }
        let mut runs: Vec<(u64, Place, Cancel)> = self
            .flights
            .values()
            .filter(|flight| flight.run.job.id == job.id)
            .map(|flight| (flight.order, flight.place, flight.cancel.clone()))
            .collect();
        runs.sort_unstable_by_key(|(order, ..)| *order);
        for (_, place, cancel) in runs.into_iter().take(needed as usize) {
            cancel.cancel(CancelReason::Replaced);
            if let Place::Turn(turn) = place
                && let Some(queued) = self.queue.remove(turn, job)
            {
                if queued.number == 1 {
                    self.land(&queued.run);
                }
                displaced.push(queued);
            }
        }
    }

    /// Gives places that are free to those that wait for one.
    fn promote(&mut self, job: &JobId) {
        let Some(instances) = self.jobs.get_mut(job) else {
            return;
        };
        while let Some(next) = instances
            .held
            .pop_front_if(|next| instances.count < most(&next.run.job))
        {
            instances.count += 1;
            self.held -= 1;
            let id = next.run.id;
            let turn = self.queue.push(next);
            if let Some(flight) = self.flights.get_mut(&id) {
                flight.place = Place::Turn(turn);
            }
        }
        if instances.is_over() {
            self.jobs.remove(job);
        }
    }

    /// A place among the runs of a job is free.
    fn release(&mut self, job: &JobId) {
        if let Some(instances) = self.jobs.get_mut(job) {
            instances.count = instances.count.saturating_sub(1);
        }
        self.promote(job);
    }

    /// A run has ended, or will not start.
    pub(super) fn land(&mut self, run: &Run) {
        if let Some(flight) = self.flights.remove(&run.id)
            && flight.place != Place::Held
        {
            self.release(&run.job.id);
        }
    }

    /// Asks a run to end. Gives it out of the queues if it waits there, and nothing if there is
    /// no such run in flight.
    pub(super) fn cancel(&mut self, run: RunId, reason: CancelReason) -> Option<Option<Queued>> {
        let flight = self.flights.get(&run)?;
        flight.cancel.cancel(reason);
        let (place, job) = (flight.place, flight.run.job.clone());
        Some(self.take_out(run, place, &job))
    }

    /// Takes a run out of the queues, if it waits in one.
    fn take_out(&mut self, run: RunId, place: Place, job: &Job) -> Option<Queued> {
        match place {
            Place::Held => {
                let held = &mut self.jobs.get_mut(&job.id)?.held;
                let index = held.iter().position(|queued| queued.run.id == run)?;
                let queued = held.remove(index);
                self.held -= usize::from(queued.is_some());
                queued
            }
            Place::Turn(turn) => self.queue.remove(turn, job),
            Place::Backoff => None,
        }
    }

    /// Whether a run holds a place, or waits for one.
    pub(super) fn has(&self, run: RunId) -> bool {
        self.flights.contains_key(&run)
    }

    /// Whether the job of a run is gone.
    pub(super) fn is_withdrawn(&self, run: RunId) -> bool {
        self.flights.get(&run).is_some_and(|it| it.withdrawn)
    }

    /// Takes all runs of a job out of the queues. Those that have not started are off the books;
    /// the others are to end, as are those that wait for another attempt to be due. What is being
    /// carried out goes on, and is not attempted again.
    pub(super) fn withdraw(&mut self, job: &JobId) -> Vec<Queued> {
        if !self.jobs.contains_key(job) {
            return Vec::new(); // spares a look at all the others
        }
        let mut waiting: Vec<(u64, Place, Arc<Run>)> = self
            .flights
            .values()
            .filter(|flight| flight.run.job.id == *job)
            .map(|flight| (flight.order, flight.place, flight.run.clone()))
            .collect();
        // Those that wait for a place first: or else they would be given those of the others.
        waiting.sort_unstable_by_key(|(order, place, _)| (*place != Place::Held, *order));
        let mut withdrawn = Vec::new();
        for (order, place, run) in waiting {
            let Some(queued) = self.take_out(run.id, place, &run.job) else {
                if let Some(flight) = self.flights.get_mut(&run.id) {
                    flight.withdrawn = true;
                    if place == Place::Backoff {
                        flight.cancel.cancel(CancelReason::Removed);
                    }
                }
                continue;
            };
            if queued.number == 1 {
                self.land(&run);
            } else {
                queued.cancel.cancel(CancelReason::Removed);
            }
            withdrawn.push((order, queued));
        }
        withdrawn.sort_unstable_by_key(|(order, _)| *order);
        withdrawn.into_iter().map(|(_, queued)| queued).collect()
    }

    /// Takes all runs out of the queues, in the order in which they would have started. They
    /// stay on the books.
    pub(super) fn take_waiting(&mut self) -> Vec<Queued> {
        let mut waiting = self.queue.drain();
        let mut held: Vec<Queued> = self
            .jobs
            .values_mut()
            .flat_map(|instances| std::mem::take(&mut instances.held))
            .collect();
        held.sort_unstable_by_key(|queued| self.flights.get(&queued.run.id).map(|it| it.order));
        self.held = 0;
        waiting.append(&mut held);
        waiting
    }

    /// Has those end that wait for another attempt to be due, and says how many they are.
    pub(super) fn give_up_backoff(&self) -> usize {
        let waiting = self.flights.values();
        let waiting = waiting.filter(|flight| flight.place == Place::Backoff);
        waiting
            .map(|flight| flight.cancel.cancel(CancelReason::Stopping))
            .count()
    }

    /// Asks all runs in flight to end, and says how many were not asked before.
    pub(super) fn cancel_all(&self) -> usize {
        let left = self.flights.values();
        let left = left.filter(|flight| !flight.cancel.is_cancelled());
        left.map(|flight| flight.cancel.cancel(CancelReason::Stopping))
            .count()
    }

    /// How many runs of each job have a place, and how many wait for one.
    pub(super) fn counts(&self) -> HashMap<JobId, (usize, usize)> {
        let jobs = self.jobs.iter();
        jobs.map(|(job, it)| (job.clone(), (it.count as usize, it.held.len())))
            .collect()
    }

    /// How many runs have started and not ended.
    pub(super) fn in_flight(&self) -> usize {
        self.flights.len().saturating_sub(self.waiting())
    }

    /// How many runs wait in the queues.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len() + self.held
    }
}

/// How an attempt left its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It has ended, and its end is recorded.
    Ended,
    /// It waits for another attempt.
    Again,
}

impl Slots {
    /// Resolves once no run is in flight. Only while the host is stopping.
    pub(super) async fn idle(&self) {
        loop {
            let mut idle = pin!(self.idle.notified());
            // Enlisted before the look, so that nothing is missed between the two.
            idle.as_mut().enable();
            if self.state.lock().flights.is_empty() {
                return;
            }
            idle.await;
        }
    }

    /// A run that no worker has, has its record: its places are free.
    pub(super) fn land(&self, run: &Run) {
        let mut state = self.state.lock();
        state.land(run);
        self.tell_if_idle(&state);
    }

    /// The worker of a run is done with its attempt, and is given the next run, or dismissed.
    /// `fresh` says whether the attempt was over within its first stretch.
    pub(super) fn done_and_take(
        &self,
        run: &Run,
        after: After,
        fresh: bool,
        threads: usize,
    ) -> Option<Queued> {
        let mut state = self.state.lock();
        state.queue.ended(&run.job);
        if after == After::Ended {
            state.land(run);
        } else {
            let stopping = state.stopping;
            if let Some(flight) = state.flights.get_mut(&run.id) {
                flight.place = Place::Backoff;
                if stopping {
                    flight.cancel.cancel(CancelReason::Stopping);
                }
            }
        }
        if fresh {
            state.fresh -= 1;
        }
        let next = if state.fresh < threads {
            state.queue.pop()
        } else {
            None // enough workers are about to take it
        };
        if next.is_some() {
            state.fresh += 1;
        } else {
            state.workers -= 1;
        }
        self.tell_if_idle(&state);
        next
    }

    /// A run whose next attempt is due waits for a worker.
    ///
    /// # Errors
    /// The host is stopping: it will not start.
    pub(super) fn take_up(&self, queued: Queued) -> Result<(), Queued> {
        let mut state = self.state.lock();
        if state.stopping {
            return Err(queued);
        }
        let id = queued.run.id;
        let turn = state.queue.push(queued);
        if let Some(flight) = state.flights.get_mut(&id) {
            flight.place = Place::Turn(turn);
        }
        Ok(())
    }

    fn tell_if_idle(&self, state: &State) {
        if state.stopping && state.flights.is_empty() {
            self.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
impl State {
    /// For each job, how many of its runs have a place, and how many wait for one.
    pub(super) fn by_job(&self) -> std::collections::BTreeMap<String, (usize, usize)> {
        let mut jobs = std::collections::BTreeMap::<String, (usize, usize)>::new();
        for flight in self.flights.values() {
            let (placed, held) = jobs.entry(flight.run.job.id.to_string()).or_default();
            *(if flight.place == Place::Held {
                held
            } else {
                placed
            }) += 1;
        }
        jobs
    }
}
