//! Instants of a job that have fallen due together.

use chrono::TimeDelta;

use super::after;
use crate::clock::Timestamp;
use crate::trigger::Trigger;

/// The most missed instants of one job that are counted one by one.
const COUNTED: u64 = 1_000;

/// What has become of a job whose instant `first` is due.
pub(super) struct Late {
    /// The latest of its instants that are due.
    pub(super) latest: Timestamp,
    /// The first that is not.
    pub(super) next: Option<Timestamp>,
    /// How many are due besides the latest; nothing if they are too many to count.
    pub(super) missed: Option<u64>,
}

impl Late {
    pub(super) fn of(
        trigger: &Trigger,
        first: Timestamp,
        now: Timestamp,
        budget: &mut u64,
    ) -> Late {
        let mut latest = first;
        let mut missed = 0;
        loop {
            let next = after(trigger, latest);
            match next {
                Some(next) if next <= now && trigger.due(next) <= now => {
                    missed += 1;
                    latest = next;
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
                let latest = latest_due(trigger, latest, now);
                return Late {
                    latest,
                    next: after(trigger, latest),
                    missed: None,
                };
            }
            *budget -= 1;
        }
    }
}

/// The latest instant that is due by `now`, after one that is.
fn latest_due(trigger: &Trigger, known: Timestamp, now: Timestamp) -> Timestamp {
    let Some(latest) = trigger.latest_in(known, now) else {
        return known;
    };
    if trigger.due(latest) <= now {
        return latest;
    }
    // Each instant is due before the next one comes.
    trigger
        .latest_in(known, latest - TimeDelta::nanoseconds(1))
        .unwrap_or(known)
}
