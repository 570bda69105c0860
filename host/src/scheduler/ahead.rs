//! A look at what is due next, for those who prepare for it.

use std::cmp::Reverse;
use std::sync::Arc;

use super::{PUNCTUAL, Scheduler, Slot, after, enqueue, is_live};
use crate::clock::Timestamp;
use crate::job::{Job, JobId};
use crate::run::{Cause, Firing};

/// The most that one look ahead hands out.
const MOST: usize = 65_536;

/// A firing that is not due yet.
#[derive(Debug, Clone)]
pub struct Ahead {
    /// When it is due.
    pub due_at: Timestamp,
    /// What will be due.
    pub firing: Firing,
}

/// How far the schedule of a job had come when its host ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Since when the job had been in service with its trigger.
    pub since: Timestamp,
    /// The latest instant that was dealt with, if any was.
    pub dealt_with: Option<Timestamp>,
}

impl Scheduler {
    /// Hands out what is due by `horizon` and not by `now`, each instant by itself, in the order
    /// in which [`due`](Self::due) would; that will not hand it out any more. For whoever has just
    /// asked what is due.
    pub fn ahead(&mut self, now: Timestamp, horizon: Timestamp) -> Vec<Ahead> {
        let mut ahead = Vec::new();
        while let Some(Reverse(entry)) = self.queue.peek().copied() {
            if entry.at > horizon || ahead.len() >= MOST {
                break;
            }
            let Some(slot) = self.slots.get_mut(entry.slot as usize) else {
                self.queue.pop();
                continue;
            };
            if is_live(slot, &entry) && (entry.at <= now || slot.starting) {
                break; // it is due: nobody has asked
            }
            self.queue.pop();
            if !is_live(slot, &entry) {
                continue;
            }
            let (Some(job), Some(instant)) = (slot.job.clone(), slot.next) else {
                continue;
            };
            let next = slot.trigger().and_then(|trigger| after(trigger, instant));
            slot.base = instant;
            slot.set(next);
            ahead.push(Ahead {
                due_at: entry.at,
                firing: Firing {
                    job,
                    cause: Cause::Schedule,
                    scheduled_at: self.passed.name(instant),
                },
            });
            enqueue(&mut self.queue, slot, entry.slot);
        }
        self.tidy();
        ahead
    }

    /// Adds a job as the host starts, whose schedule had come so far: what fell due since then is
    /// due now. A job that is there already is replaced, as [`upsert`](Self::upsert) does.
    /// If the host itself starts now, `@reboot` fires.
    pub fn restore(&mut self, job: Arc<Job>, left: Left, at_start: bool, now: Timestamp) {
        if self.index.contains_key(&job.id) {
            self.upsert(job, now);
            return;
        }
        let mut slot = Slot::new(job, self.added, left.since.min(now));
        // A clock that was set back by a little meanwhile does not bring the last instant again.
        let limit = now + PUNCTUAL;
        slot.base = left.dealt_with.unwrap_or(left.since).min(limit);
        slot.starting = slot.job.as_ref().is_some_and(|job| {
            job.enabled && (job.run_on_start || at_start && job.trigger.fires_at_start())
        });
        if slot.starting {
            slot.set(Some(now));
        } else {
            slot.advance();
        }
        self.insert(slot);
    }

    /// How far the schedule of a job has come; nothing if there is no such job.
    pub fn left_of(&self, id: &JobId) -> Option<Left> {
        let slot = self.slot(id)?;
        Some(Left {
            since: slot
                .counted
                .as_ref()
                .map_or(slot.base, |counted| counted.since),
            dealt_with: Some(slot.base),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::TimeDelta;

    use super::*;
    use crate::scheduler::Due;
    use crate::store::conformance::{instant, job};
    use crate::trigger::Trigger;

    fn every(id: &str, millis: u64) -> Arc<Job> {
        Arc::new(Job {
            trigger: Trigger::every(Duration::from_millis(millis)).unwrap(),
            ..(*job(id)).clone()
        })
    }

    fn told(ahead: &[Ahead]) -> Vec<(String, i64)> {
        let one = |it: &Ahead| {
            (
                it.firing.job.id.to_string(),
                it.firing.scheduled_at.timestamp_millis(),
            )
        };
        ahead.iter().map(one).collect()
    }

    #[test]
    fn each_instant_is_handed_out_once_and_by_itself() {
        let mut scheduler = Scheduler::new();
        let now = instant(1_000);
        scheduler.upsert(every("fast", 50), now);
        scheduler.upsert(every("slow", 100), now);
        let ahead = scheduler.ahead(now, now + TimeDelta::milliseconds(150));
        let at = |id: &str, millis: i64| (id.to_owned(), 1_000_000 + millis);
        assert_eq!(
            told(&ahead),
            [
                at("fast", 50),
                at("fast", 100),
                at("slow", 100),
                at("fast", 150)
            ]
        );
        assert!(scheduler.due(now + TimeDelta::milliseconds(199)).is_empty());
        let due = scheduler.due(now + TimeDelta::milliseconds(200));
        assert_eq!(due.len(), 2);
    }

    #[test]
    fn what_is_due_already_is_left_to_those_who_ask_for_it() {
        let mut scheduler = Scheduler::new();
        let now = instant(1_000);
        scheduler.upsert(every("a", 100), now);
        let later = now + TimeDelta::milliseconds(250);
        assert!(
            scheduler
                .ahead(later, later + TimeDelta::seconds(1))
                .is_empty()
        );
        // One that stands for two.
        assert_eq!(scheduler.due(later).len(), 2);
        assert_eq!(
            scheduler
                .ahead(later, later + TimeDelta::milliseconds(50))
                .len(),
            1
        );
    }

    #[test]
    fn a_schedule_goes_on_where_it_was_left() {
        let now = instant(10_000);
        let left = |dealt_with: Option<i64>| Left {
            since: instant(9_000),
            dealt_with: dealt_with.map(instant),
        };
        let due = |dealt_with| {
            let mut scheduler = Scheduler::new();
            scheduler.restore(every("a", 60_000), left(dealt_with), false, now);
            let due = scheduler.due(now);
            due.into_iter()
                .map(|due| match due {
                    Due::Fire(firing) => (firing.scheduled_at.timestamp(), firing.cause.as_str()),
                    Due::Skip { firing, .. } => (firing.scheduled_at.timestamp(), "skip"),
                })
                .collect::<Vec<_>>()
        };
        // Each minute: 9960 is the last one before 10 000.
        assert_eq!(due(Some(9_960)), []);
        assert_eq!(due(Some(9_900)), [(9_960, "catch-up")]);
        assert_eq!(due(Some(9_840)), [(9_900, "skip"), (9_960, "catch-up")]);
        assert_eq!(due(None), [(9_000 + 60, "skip"), (9_960, "catch-up")]);
        // Another clock had it come further.
        assert_eq!(due(Some(20_000)), []);
    }
}
