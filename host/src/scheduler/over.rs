//! Instants that are due and are not to be handed out: something else stands in for them, or their
//! job leaves, or goes by another schedule from now on.

use super::late::Stretch;
use super::{Due, Scheduler, after, enqueue};
use crate::clock::Timestamp;
use crate::job::JobId;
use crate::run::{Cause, Firing, SkipReason};

impl Scheduler {
    /// How many instants of a job are due by `now` and not handed out; no more than `most` are
    /// counted.
    pub fn count_due(&self, id: &JobId, now: Timestamp, most: usize) -> usize {
        let Some(slot) = self.slot(id) else {
            return 0;
        };
        let mut next = slot.next.filter(|_| slot.due.is_some_and(|due| due <= now));
        let mut count = 0;
        while let Some(instant) = next
            && count < most
        {
            count += 1;
            let trigger = slot.trigger().filter(|_| !slot.starting);
            next = trigger.and_then(|trigger| {
                after(trigger, instant).filter(|next| trigger.due(*next) <= now)
            });
        }
        count
    }

    /// Passes over the instants of a job that are due by `now` and not handed out: they never are.
    /// Gives them, with a reason that may tell how many they are, where they could be counted;
    /// nothing if there are none.
    pub fn pass_over(
        &mut self,
        id: &JobId,
        now: Timestamp,
        reason: impl FnOnce(Option<u64>) -> SkipReason,
    ) -> Option<Due> {
        let place = *self.index.get(id)?;
        let slot = self.slots.get_mut(place as usize)?;
        let (job, first) = (slot.job.clone()?, slot.next?);
        if slot.due? > now {
            return None;
        }
        let stretch = if slot.starting {
            slot.starting = false;
            slot.advance();
            Stretch {
                first,
                last: first,
                count: Some(1),
            }
        } else {
            let (stretch, next) = Stretch::due(slot.trigger()?, first, now);
            slot.base = stretch.last;
            slot.set(next);
            stretch
        };
        enqueue(&mut self.queue, slot, place);
        let due = Due::Skip {
            firing: Firing {
                job,
                cause: Cause::CatchUp,
                scheduled_at: self.passed.name(stretch.first),
            },
            through: self.passed.name(stretch.last),
            reason: reason(stretch.count),
        };
        self.tidy();
        Some(due)
    }
}
