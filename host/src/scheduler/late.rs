//! Instants of a job that have fallen due together: which of them run, and what is said of the
//! others.

use std::collections::VecDeque;

use chrono::TimeDelta;

use super::{PUNCTUAL, after};
use crate::clock::Timestamp;
use crate::job::{Coalesce, Policies};
use crate::trigger::Trigger;

/// The most instants of one job that are counted one by one, besides the last.
const COUNTED: u64 = 1_000;

/// The least step of time.
const TICK: TimeDelta = TimeDelta::nanoseconds(1);

/// Instants of a job that are skipped together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// How many they are; nothing if they are too many to count.
    pub(super) count: Option<u64>,
}

impl Stretch {
    /// All instants that are due by `now`, of which `first` is the first, and the first that is
    /// not.
    pub(super) fn due(
        trigger: &Trigger,
        first: Timestamp,
        now: Timestamp,
    ) -> (Stretch, Option<Timestamp>) {
        let walk = Walk::through(trigger, first, now, 1, &mut COUNTED.clone());
        let stretch = Stretch {
            first,
            last: walk.last,
            count: walk.skipped.map(|skipped| skipped + 1),
        };
        (stretch, walk.next)
    }
}

/// What has become of a job some of whose instants are due.
#[derive(Debug)]
pub(super) struct Late {
    /// Those that are too late to run. They come before all others.
    pub(super) misfired: Option<Stretch>,
    /// Those for which others run.
    pub(super) missed: Option<Stretch>,
    /// The one that runs, or the first that do.
    pub(super) fire: Option<Timestamp>,
    /// The others that run, in order.
    pub(super) more: VecDeque<Timestamp>,
    /// The latest of all that are due.
    pub(super) latest: Timestamp,
    /// The first that is not.
    pub(super) next: Option<Timestamp>,
}

impl Late {
    /// Sorts the instants that are due by `now`, of which `first` is the first.
    pub(super) fn of(
        policies: &Policies,
        trigger: &Trigger,
        first: Timestamp,
        now: Timestamp,
        budget: &mut u64,
    ) -> Late {
        let mut late = Late {
            misfired: None,
            missed: None,
            fire: None,
            more: VecDeque::new(),
            latest: first,
            next: None,
        };
        let mut first = first;
        if let Some(cutoff) = cutoff(policies, now)
            && trigger.due(first) <= cutoff
        {
            let walk = Walk::through(trigger, first, cutoff, 1, budget);
            late.latest = walk.last;
            late.next = walk.next;
            late.misfired = Some(Stretch {
                first,
                last: walk.last,
                count: walk.skipped.map(|skipped| skipped + 1),
            });
            match walk.next.filter(|next| is_due(trigger, *next, now)) {
                Some(next) => first = next,
                None => return late,
            }
        }
        let keep = match policies.coalesce {
            Coalesce::Latest | Coalesce::Earliest => 1,
            Coalesce::All(most) => most as usize,
        };
        let walk = Walk::through(trigger, first, now, keep, budget);
        late.latest = walk.last;
        late.next = walk.next;
        if policies.coalesce == Coalesce::Earliest {
            late.fire = Some(first);
            late.missed = walk.previous.and_then(|_| {
                Some(Stretch {
                    first: after(trigger, first)?,
                    last: walk.last,
                    count: walk.skipped,
                })
            });
            return late;
        }
        if keep == 1 {
            late.fire = Some(walk.last);
        } else {
            late.more = walk.kept;
        }
        late.missed = walk.previous.map(|last| Stretch {
            first,
            last,
            count: walk.skipped,
        });
        late
    }
}

/// The latest time at which an instant may have been due that is now too late to run.
fn cutoff(policies: &Policies, now: Timestamp) -> Option<Timestamp> {
    let grace = TimeDelta::from_std(policies.misfire_grace_time?).ok()?;
    // Late by less than that is on time.
    now.checked_sub_signed(grace.max(PUNCTUAL))?
        .checked_sub_signed(TICK)
}

fn is_due(trigger: &Trigger, instant: Timestamp, until: Timestamp) -> bool {
    instant <= until && trigger.due(instant) <= until
}

/// A walk over the instants of a job that are due by some time.
struct Walk {
    /// The last of them.
    last: Timestamp,
    /// The first after them.
    next: Option<Timestamp>,
    /// The latest ones, as many as were to be kept; none of them where that was but one.
    kept: VecDeque<Timestamp>,
    /// The one before those that were to be kept.
    previous: Option<Timestamp>,
    /// How many come before those that were to be kept; nothing if they are too many to count.
    skipped: Option<u64>,
}

impl Walk {
    /// Walks from `first`, which is due by `until`, and keeps the latest `keep`.
    fn through(
        trigger: &Trigger,
        first: Timestamp,
        until: Timestamp,
        keep: usize,
        budget: &mut u64,
    ) -> Walk {
        let keeps_many = keep > 1;
        let mut walk = Walk {
            last: first,
            next: None,
            kept: VecDeque::new(),
            previous: None,
            skipped: Some(0),
        };
        if keeps_many {
            walk.kept.push_back(first);
        }
        let mut steps = 0;
        loop {
            walk.next = after(trigger, walk.last);
            let Some(next) = walk.next.filter(|next| is_due(trigger, *next, until)) else {
                return walk;
            };
            steps += 1;
            if keeps_many {
                walk.kept.push_back(next);
                if walk.kept.len() > keep {
                    walk.previous = walk.kept.pop_front();
                    walk.skipped = walk.skipped.map(|skipped| skipped + 1);
                }
            } else {
                walk.previous = Some(walk.last);
                walk.skipped = Some(steps);
            }
            walk.last = next;
            if steps >= COUNTED || *budget == 0 {
                walk.leap(trigger, first, until, keep);
                return walk;
            }
            *budget -= 1;
        }
    }

    /// Goes to the last instant at once, and back over those that are to be kept.
    fn leap(&mut self, trigger: &Trigger, first: Timestamp, until: Timestamp, keep: usize) {
        let start = first - TICK;
        let before = |instant: Timestamp| trigger.latest_in(start, instant - TICK);
        self.last = latest_due(trigger, self.last, until);
        self.next = after(trigger, self.last);
        self.kept.clear();
        let mut oldest = self.last;
        if keep > 1 {
            self.kept.push_back(oldest);
            while self.kept.len() < keep
                && let Some(older) = before(oldest)
            {
                self.kept.push_front(older);
                oldest = older;
            }
        }
        self.previous = before(oldest);
        self.skipped = match self.previous {
            Some(_) => None,
            None => Some(0),
        };
    }
}

/// The latest instant that is due by `until`, after one that is.
fn latest_due(trigger: &Trigger, known: Timestamp, until: Timestamp) -> Timestamp {
    let Some(latest) = trigger.latest_in(known, until) else {
        return known;
    };
    if trigger.due(latest) <= until {
        return latest;
    }
    // Each instant is due before the next one comes.
    trigger.latest_in(known, latest - TICK).unwrap_or(known)
}
