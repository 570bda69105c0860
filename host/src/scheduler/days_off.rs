//! What the calendars of jobs leave out: it is never due, and is told of all the same, once for each
//! day of a job.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use super::{COUNTED_IN_ALL, Due, MOST_DUE, Slot};
use crate::clock::{Timestamp, format_instant};
use crate::run::{Cause, Firing, SkipReason};
use crate::trigger::LeftOut;

/// Which instants that are left out come next, of the jobs that have any. An entry of the queue
/// counts only while it is its job's next one.
#[derive(Debug, Default)]
pub(super) struct DaysOff {
    jobs: HashMap<u32, Next>,
    queue: BinaryHeap<Reverse<Next>>,
}

/// The next instant of a job that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    at: Timestamp,
    sequence: u64,
    slot: u32,
}

impl DaysOff {
    /// Looks out for what a job leaves out after an instant; for nothing if it is not enabled.
    pub(super) fn watch(&mut self, place: u32, slot: &Slot, after: Timestamp) {
        self.jobs.remove(&place);
        let enabled = slot.job.as_ref().is_some_and(|job| job.enabled);
        let next = slot
            .trigger()
            .filter(|_| enabled)
            .and_then(|trigger| trigger.left_out_after(after))
            // One that did not advance would be told of without end.
            .filter(|next| *next > after);
        if let Some(at) = next {
            let next = Next {
                at,
                sequence: slot.sequence,
                slot: place,
            };
            self.jobs.insert(place, next);
            self.queue.push(Reverse(next));
        }
        self.tidy();
    }

    /// When to ask again.
    pub(super) fn next(&self) -> Option<Timestamp> {
        // `tidy` keeps the head of the queue a live one.
        self.queue.peek().map(|next| next.0.at)
    }

    /// What was left out by `now`, and with it the rest of the day.
    pub(super) fn pass(&mut self, slots: &[Slot], now: Timestamp) -> Vec<Due> {
        let mut passed = Vec::new();
        let mut budget = COUNTED_IN_ALL;
        while let Some(Reverse(next)) = self.queue.peek().copied() {
            if next.at > now || passed.len() >= MOST_DUE {
                break;
            }
            self.queue.pop();
            let Some(slot) = slots.get(next.slot as usize) else {
                continue;
            };
            let (Some(job), Some(trigger)) = (slot.job.clone(), slot.trigger()) else {
                continue;
            };
            if !self.is_live(&next) {
                continue;
            }
            let found = trigger.left_out_from(next.at, now, &mut budget);
            passed.push(Due::Skip {
                firing: Firing {
                    job,
                    cause: Cause::Schedule,
                    scheduled_at: found.first,
                },
                through: found.last,
                reason: SkipReason::Excluded(found.count, days(&trigger.days_off(), &found)),
            });
            self.watch(next.slot, slot, found.last);
        }
        self.tidy();
        passed
    }

    fn is_live(&self, next: &Next) -> bool {
        self.jobs.get(&next.slot) == Some(next)
    }

    fn tidy(&mut self) {
        while let Some(Reverse(next)) = self.queue.peek()
            && !self.is_live(next)
        {
            self.queue.pop();
        }
        if self.queue.len() > 64 + 2 * self.jobs.len() {
            self.queue = self.jobs.values().copied().map(Reverse).collect();
        }
    }
}

/// Why they are left out, in words.
fn days(names: &[&str], found: &LeftOut) -> Arc<str> {
    let mut words = format!("not_on {}", names.join(", "));
    if found.last > found.first {
        words.push_str(&format!(
            "; the last one for {}",
            format_instant(found.last)
        ));
    }
    words.into()
}
