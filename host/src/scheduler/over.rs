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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::job::Job;
    use crate::store::conformance::{instant, job};
    use crate::trigger::{Bounds, Trigger};

    fn every(seconds: u64, jitter: u64, run_on_start: bool) -> Scheduler {
        let bounds = Bounds {
            jitter: (jitter > 0).then(|| Duration::from_secs(jitter)),
            ..Bounds::default()
        };
        let trigger = Trigger::every(Duration::from_secs(seconds)).unwrap();
        let added = Job {
            trigger: trigger.within(bounds, "a").unwrap(),
            run_on_start,
            ..(*job("a")).clone()
        };
        let mut scheduler = Scheduler::new();
        scheduler.upsert(Arc::new(added), instant(1_000));
        scheduler
    }

    fn over(scheduler: &mut Scheduler, second: i64) -> Option<(i64, i64, Option<u64>)> {
        let due = scheduler.pass_over(&"a".into(), instant(second), SkipReason::Missed)?;
        let Due::Skip {
            firing,
            through,
            reason: SkipReason::Missed(count),
        } = due
        else {
            panic!("{due:?}");
        };
        let (first, last) = (firing.scheduled_at.timestamp(), through.timestamp());
        Some((first, last, count))
    }

    #[test]
    fn what_is_due_is_passed_over_once_and_the_rest_comes() {
        let mut scheduler = every(10, 0, false);
        let count = |scheduler: &Scheduler, second, most| {
            scheduler.count_due(&"a".into(), instant(second), most)
        };
        assert_eq!(count(&scheduler, 1_009, 9), 0);
        assert_eq!(over(&mut scheduler, 1_009), None);
        assert_eq!(count(&scheduler, 1_035, 9), 3);
        assert_eq!(count(&scheduler, 1_035, 2), 2);
        assert_eq!(over(&mut scheduler, 1_035), Some((1_010, 1_030, Some(3))));
        assert_eq!(over(&mut scheduler, 1_035), None);
        assert!(scheduler.due(instant(1_035)).is_empty());
        assert_eq!(scheduler.next_wake(), Some(instant(1_040)));
        assert_eq!(scheduler.due(instant(1_040)).len(), 1);
        // Too many to count.
        let first_and_last = over(&mut scheduler, 1_000_000).map(|it| (it.0, it.1, it.2));
        assert_eq!(first_and_last, Some((1_050, 1_000_000, None)));
        assert!(
            scheduler
                .pass_over(&"b".into(), instant(2_000_000), SkipReason::Missed)
                .is_none()
        );
        assert_eq!(scheduler.count_due(&"b".into(), instant(2_000_000), 1), 0);
    }

    #[test]
    fn jitter_and_the_start_are_looked_at() {
        let mut scheduler = every(100, 90, false);
        let due = scheduler.next_wake().unwrap();
        // The instant is past when the job comes, and not due yet.
        assert!(due > instant(1_001), "{due}");
        assert_eq!(scheduler.count_due(&"a".into(), instant(1_001), 1), 0);
        assert_eq!(over(&mut scheduler, 1_001), None);
        assert_eq!(over(&mut scheduler, 1_099), Some((1_000, 1_000, Some(1))));
        assert_eq!(over(&mut scheduler, 1_099), None);

        let mut scheduler = every(100, 0, true);
        assert_eq!(scheduler.count_due(&"a".into(), instant(1_250), 9), 1);
        assert_eq!(over(&mut scheduler, 1_050), Some((1_000, 1_000, Some(1))));
        assert_eq!(scheduler.next_wake(), Some(instant(1_100)));
    }
}
