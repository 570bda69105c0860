//! The firings of all jobs, in order.
//!
//! Batch by batch: a stretch of time, short enough that its firings fit in memory, is filled job
//! by job and sorted, which takes a fraction of the time that merging the jobs one firing at a
//! time does. Runs in flight, and what comes after them, are woven in as the batch is read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use chrono::{DateTime, TimeDelta};

use super::{Firing, Outlook};
use crate::clock::Timestamp;
use crate::job::Overlap;
use crate::trigger::Trigger;

/// The most firings in a batch: 6 MiB.
const BATCH: usize = 1 << 18;
/// How long the first batch is, and the shortest one, in nanoseconds.
const FIRST_STEP: i64 = 3_600_000_000_000;
const SHORTEST_STEP: i64 = 1_000_000;

/// A time that a job's own trigger gives. All times are in nanoseconds since the epoch: from 1677
/// to 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Timed {
    due: i64,
    job: u32,
    scheduled: i64,
}

/// The firings of an [`Outlook`] in the order in which they are due.
#[derive(Debug)]
pub struct Firings<'a> {
    outlook: &'a Outlook,
    batch: Vec<Timed>,
    /// Room to sort it in.
    dealt: Vec<Timed>,
    /// How many of the batch have been read.
    read: usize,
    /// Where the next batch begins.
    start: i64,
    until: i64,
    /// How long the next batch is.
    step: i64,
    /// The most firings in a batch.
    most: usize,
    /// Runs in flight: when they end, and of which job.
    running: BinaryHeap<Reverse<(i64, u32)>>,
    /// What comes after runs that have ended: when, which job, and after which.
    chained: BinaryHeap<Reverse<(i64, u32, u32)>>,
    jobs: Vec<State>,
}

/// What is kept of each job on the way.
#[derive(Debug, Clone, Copy)]
struct State {
    in_flight: u32,
    /// The instant it last fired for.
    fired: i64,
}

impl<'a> Firings<'a> {
    pub(super) fn new(outlook: &'a Outlook) -> Self {
        let state = State {
            in_flight: 0,
            fired: i64::MIN,
        };
        Firings {
            batch: Vec::new(),
            dealt: Vec::new(),
            read: 0,
            start: nanos_of(outlook.from),
            until: nanos_of(outlook.until),
            step: FIRST_STEP,
            most: BATCH,
            running: BinaryHeap::new(),
            chained: BinaryHeap::new(),
            jobs: vec![state; outlook.jobs.len()],
            outlook,
        }
    }

    /// The same with batches of another size.
    #[cfg(test)]
    pub(super) fn with_batches_of(outlook: &'a Outlook, most: usize) -> Self {
        Firings {
            most,
            ..Firings::new(outlook)
        }
    }

    /// Fills the next batch that has anything in it; false at the end.
    fn fill(&mut self) -> bool {
        self.batch.clear();
        self.read = 0;
        while self.batch.is_empty() && self.start < self.until {
            let end = self.start.saturating_add(self.step).min(self.until);
            if !self.collect(self.start, end) {
                self.batch.clear();
                self.step = (self.step / 4).max(SHORTEST_STEP);
                continue;
            }
            self.start = end;
            if self.batch.len() < self.most / 4 {
                self.step = self.step.saturating_mul(2);
            }
        }
        self.sort();
        !self.batch.is_empty()
    }

    /// Sorts the batch. Its times are spread over a known stretch: they are dealt into drawers of
    /// equal length, and as most drawers then hold one instant, in the order of the jobs, little is
    /// left to do.
    fn sort(&mut self) {
        let drawers = self.batch.len().min(1 << 14);
        let dues = || self.batch.iter().map(|timed| timed.due);
        let (Some(low), Some(high)) = (dues().min(), dues().max()) else {
            return;
        };
        let width = (high.abs_diff(low) / drawers as u64).saturating_add(1);
        // Below the number of drawers.
        let drawer = |timed: &Timed| (timed.due.abs_diff(low) / width) as usize;
        let mut ends = vec![0_usize; drawers + 1];
        for timed in &self.batch {
            if let Some(count) = ends.get_mut(drawer(timed) + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for end in &mut ends {
            sum += *end;
            *end = sum;
        }
        self.dealt.clone_from(&self.batch);
        for timed in &self.batch {
            if let Some(end) = ends.get_mut(drawer(timed)) {
                if let Some(place) = self.dealt.get_mut(*end) {
                    *place = *timed;
                }
                *end += 1;
            }
        }
        let mut start = 0;
        for end in ends {
            if let Some(drawer) = self.dealt.get_mut(start..end)
                && !drawer.is_sorted()
            {
                drawer.sort_unstable();
            }
            start = start.max(end);
        }
        std::mem::swap(&mut self.batch, &mut self.dealt);
    }

    /// Puts into the batch what is due from `start` until `end`; false if that is too much.
    fn collect(&mut self, start: i64, end: i64) -> bool {
        let (from, until) = (instant(start), instant(end));
        for (place, prospect) in (0_u32..).zip(&self.outlook.jobs) {
            if !prospect.job.enabled {
                continue;
            }
            let trigger = &prospect.trigger;
            let jitter = TimeDelta::from_std(trigger.jitter()).unwrap_or(TimeDelta::MAX);
            // What was due later than it was scheduled may come from before.
            let earliest = from
                .checked_sub_signed(jitter)
                .unwrap_or(Timestamp::MIN_UTC);
            for scheduled in trigger.instants(earliest, until) {
                let due = if jitter.is_zero() {
                    scheduled
                } else {
                    trigger.due(scheduled)
                };
                if due < from || due >= until {
                    continue;
                }
                if self.batch.len() >= self.most && self.step > SHORTEST_STEP {
                    return false;
                }
                self.batch.push(Timed {
                    due: nanos_of(due),
                    job: place,
                    scheduled: nanos_of(scheduled),
                });
            }
        }
        true
    }

    /// Ends the run that ends first, and lets what comes after it fire.
    fn end_a_run(&mut self) {
        let Some(Reverse((end, job))) = self.running.pop() else {
            return;
        };
        if let Some(state) = self.jobs.get_mut(job as usize) {
            state.in_flight = state.in_flight.saturating_sub(1);
        }
        if end < self.until
            && let Some(prospect) = self.outlook.jobs.get(job as usize)
        {
            for below in &prospect.downstream {
                self.chained.push(Reverse((end, *below, job)));
            }
        }
    }

    /// Lets a job fire; None if it has fired for the instant already.
    fn fire(&mut self, timed: Timed, after: Option<u32>) -> Option<Firing> {
        let prospect = self.outlook.jobs.get(timed.job as usize)?;
        let state = self.jobs.get_mut(timed.job as usize)?;
        if state.fired == timed.scheduled {
            return None;
        }
        state.fired = timed.scheduled;
        let most = prospect.job.max_instances.max(1);
        let skipped = match prospect.job.policies.overlap {
            Overlap::Skip => state.in_flight >= most,
            Overlap::Queue(waiting) => state.in_flight >= most.saturating_add(waiting),
            Overlap::Allow | Overlap::Replace => false,
        };
        let mut ends_at = None;
        if let (Some(duration), false) = (prospect.duration, skipped) {
            let end = timed.due.saturating_add(duration);
            state.in_flight += 1;
            self.running.push(Reverse((end, timed.job)));
            ends_at = Some(instant(end));
        }
        let due_at = instant(timed.due);
        Some(Firing {
            job: timed.job as usize,
            scheduled_at: if timed.scheduled == timed.due {
                due_at
            } else {
                instant(timed.scheduled)
            },
            due_at,
            after: after.map(|job| job as usize),
            skipped,
            ends_at,
        })
    }
}

impl Iterator for Firings<'_> {
    type Item = Firing;

    fn next(&mut self) -> Option<Firing> {
        loop {
            if self.read >= self.batch.len() && self.start < self.until {
                self.fill();
            }
            let own = self.batch.get(self.read).copied();
            let chained = self.chained.peek().map(|Reverse(it)| *it);
            let own_key = own.map_or((i64::MAX, u32::MAX), |own| (own.due, own.job));
            let key = chained.map_or(own_key, |(due, job, _)| own_key.min((due, job)));
            // A run that ends now makes way for one that starts now.
            if let Some(Reverse((end, _))) = self.running.peek()
                && *end <= key.0
                && *end < self.until
            {
                self.end_a_run();
                continue;
            }
            let fired = match (chained, own) {
                (Some((due, job, after)), _) if (due, job) == key => {
                    self.chained.pop();
                    let timed = Timed {
                        due,
                        job,
                        scheduled: due,
                    };
                    self.fire(timed, Some(after))
                }
                (_, Some(own)) => {
                    self.read += 1;
                    self.fire(own, None)
                }
                _ => return None,
            };
            if fired.is_some() {
                return fired;
            }
        }
    }
}

/// The instants of a trigger that are due from `from` until `until`, and when they are.
pub(super) fn own_times(
    trigger: &Trigger,
    from: Timestamp,
    until: Timestamp,
) -> impl Iterator<Item = (Timestamp, Timestamp)> {
    let jitter = TimeDelta::from_std(trigger.jitter()).unwrap_or(TimeDelta::MAX);
    // What is due later than it is scheduled may come from before.
    let earliest = from
        .checked_sub_signed(jitter)
        .unwrap_or(Timestamp::MIN_UTC);
    let due = move |scheduled| {
        if jitter.is_zero() {
            scheduled
        } else {
            trigger.due(scheduled)
        }
    };
    trigger
        .instants(earliest, until)
        .map(move |scheduled| (scheduled, due(scheduled)))
        .filter(move |(_, due)| *due >= from && *due < until)
}

/// In nanoseconds; what is beyond 1677 to 2262 at that end.
fn nanos_of(instant: Timestamp) -> i64 {
    instant
        .timestamp_nanos_opt()
        .unwrap_or(if instant < Timestamp::UNIX_EPOCH {
            i64::MIN
        } else {
            i64::MAX
        })
}

fn instant(nanos: i64) -> Timestamp {
    DateTime::from_timestamp_nanos(nanos)
}
