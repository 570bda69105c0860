//! Runs that wait for a worker: by priority, then first come, first served, within the limits of
//! their groups.
//!
//! A run whose group is full is parked aside when its turn comes, so that it is looked at but
//! once; each run of the group that ends lets one of them back in.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::cancel::Cancel;
use crate::clock::Timestamp;
use crate::job::{Group, Job};
use crate::run::Run;

/// An attempt that waits.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) run: Arc<Run>,
    pub(super) cancel: Cancel,
    /// The number of the attempt, from 1.
    pub(super) number: u32,
    /// When the first attempt of the run started, if one has.
    pub(super) since: Option<Timestamp>,
}

/// The place of a run in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    priority: Reverse<i8>,
    number: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Those whose groups are not known to be full.
    ready: BTreeMap<Turn, Queued>,
    groups: HashMap<Arc<str>, Members>,
    /// How many are parked, in all groups together.
    parked: usize,
    /// How many turns have been given out.
    turns: u64,
}

/// The runs of one group.
#[derive(Debug, Default)]
struct Members {
    /// How many are being carried out.
    running: u32,
    parked: BTreeMap<Turn, Queued>,
}

fn most(group: &Group) -> u32 {
    group.max_running.unwrap_or(u32::MAX)
}

impl Queue {
    /// Puts a run behind those of its priority.
    pub(super) fn push(&mut self, queued: Queued) -> Turn {
        let turn = Turn {
            priority: Reverse(queued.run.job.policies.priority),
            number: self.turns,
        };
        self.turns += 1;
        self.ready.insert(turn, queued);
        turn
    }

    /// Takes the first that may run now; it counts as running until it [has
    /// ended](Self::ended).
    pub(super) fn pop(&mut self) -> Option<Queued> {
        loop {
            let (turn, queued) = self.ready.pop_first()?;
            let Some(group) = &queued.run.job.policies.group else {
                return Some(queued);
            };
            let members = match self.groups.get_mut(&group.name) {
                Some(members) => members,
                None => self.groups.entry(group.name.clone()).or_default(),
            };
            if members.running < most(group) {
                members.running += 1;
                return Some(queued);
            }
            members.parked.insert(turn, queued);
            self.parked += 1;
        }
    }

    /// An attempt of a job that was taken from here is over.
    pub(super) fn ended(&mut self, job: &Job) {
        if let Some(group) = &job.policies.group {
            if let Some(members) = self.groups.get_mut(&group.name) {
                members.running = members.running.saturating_sub(1);
            }
            self.let_in(group);
        }
    }

    /// Takes out the run that has a turn; nothing if it does not wait any more.
    pub(super) fn remove(&mut self, turn: Turn, job: &Job) -> Option<Queued> {
        let found = self.ready.remove(&turn);
        let Some(group) = &job.policies.group else {
            return found;
        };
        if found.is_some() {
            // It may have been let in for a place that it does not take now.
            self.let_in(group);
            return found;
        }
        let found = self.groups.get_mut(&group.name)?.parked.remove(&turn)?;
        self.parked -= 1;
        Some(found)
    }

    /// Lets the first of a group's parked runs back in, if the group is not full.
    fn let_in(&mut self, group: &Group) {
        let Some(members) = self.groups.get_mut(&group.name) else {
            return;
        };
        if let Some(first) = members.parked.first_entry() {
            // Files may differ about the limit: each job keeps to that of its own.
            let own = first.get().run.job.policies.group.as_ref();
            if members.running < own.map_or(u32::MAX, |group| most(group)) {
                let (turn, queued) = first.remove_entry();
                self.parked -= 1;
                self.ready.insert(turn, queued);
            }
        } else if members.running == 0 {
            self.groups.remove(&group.name);
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.parked
    }

    /// Takes out all that wait.
    pub(super) fn drain(&mut self) -> Vec<Queued> {
        self.parked = 0;
        let parked = self.groups.values_mut();
        let parked = parked.flat_map(|members| std::mem::take(&mut members.parked));
        let all = std::mem::take(&mut self.ready).into_iter().chain(parked);
        let mut all: Vec<(Turn, Queued)> = all.collect();
        all.sort_by_key(|(turn, _)| *turn);
        all.into_iter().map(|(_, queued)| queued).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::job::Policies;
    use crate::run::{Cause, RunId};
    use crate::store::conformance::{instant, job};

    fn queued(id: &str, priority: i8, group: Option<(&str, u32)>) -> Queued {
        let policies = Policies {
            priority,
            group: group.map(|(name, most)| {
                Arc::new(Group {
                    name: name.into(),
                    max_running: Some(most),
                })
            }),
            ..Policies::default()
        };
        let job = Arc::new(Job {
            policies: Arc::new(policies),
            ..(*job(id)).clone()
        });
        Queued {
            run: Arc::new(Run {
                id: RunId::from_u128(fastrand::u128(..)),
                job,
                cause: Cause::Manual,
                scheduled_at: instant(1),
                max_attempts: 1,
                last_success: None,
            }),
            cancel: Cancel::new(),
            number: 1,
            since: None,
        }
    }

    fn popped(queue: &mut Queue) -> Option<String> {
        queue.pop().map(|queued| queued.run.job.id.to_string())
    }

    #[test]
    fn the_higher_go_first_and_equals_in_their_order() {
        let mut queue = Queue::default();
        for (id, priority) in [("a", 0), ("b", 5), ("c", -5), ("d", 5), ("e", 0)] {
            queue.push(queued(id, priority, None));
        }
        let order: String = std::iter::from_fn(|| popped(&mut queue)).collect();
        assert_eq!(order, "bdaec");
    }

    #[test]
    fn a_full_group_does_not_hold_up_others() {
        let mut queue = Queue::default();
        let group = Some(("db", 2));
        let first = queued("a", 9, group);
        let job = first.run.job.clone();
        queue.push(first);
        for id in ["b", "c", "d"] {
            queue.push(queued(id, 9, group));
        }
        queue.push(queued("x", 0, None));
        assert_eq!(popped(&mut queue).as_deref(), Some("a"));
        assert_eq!(popped(&mut queue).as_deref(), Some("b"));
        assert_eq!(popped(&mut queue).as_deref(), Some("x"));
        assert_eq!((popped(&mut queue), queue.len()), (None, 2));
        queue.ended(&job);
        assert_eq!(popped(&mut queue).as_deref(), Some("c"));
        assert_eq!(popped(&mut queue), None);
        queue.ended(&job);
        queue.ended(&job);
        assert_eq!(popped(&mut queue).as_deref(), Some("d"));
        queue.ended(&job);
        queue.ended(&job);
        assert!(queue.groups.is_empty());
    }

    proptest! {
        /// Whatever comes, is taken, ends and is taken out: no group has more running than it
        /// may, none that may run is held back, and the first that may is the one that does.
        #[test]
        fn any_sequence_keeps_order_and_limits(
            steps in prop::collection::vec((0..4_u8, 0..3_u8, -2..3_i8, any::<prop::sample::Index>()), 1..120)
        ) {
            let mut queue = Queue::default();
            let mut waiting: BTreeSet<(Turn, u8)> = BTreeSet::new();
            let mut jobs = BTreeMap::new();
            let mut running: Vec<(u8, Arc<Job>)> = Vec::new();
            for (step, group, priority, which) in steps {
                match step {
                    0 | 1 => {
                        // Group 0 is none; group n has a limit of n.
                        let name = format!("{group}");
                        let limit = (group > 0).then_some((&*name, u32::from(group)));
                        let new = queued("a", priority, limit);
                        let (id, job) = (new.run.id, new.run.job.clone());
                        let turn = queue.push(new);
                        waiting.insert((turn, group));
                        jobs.insert(turn, (id, job));
                    }
                    2 => {
                        let full = |group: u8| {
                            group > 0
                                && running.iter().filter(|(other, _)| *other == group).count()
                                    >= usize::from(group)
                        };
                        let expected = waiting.iter().find(|(_, group)| !full(*group)).copied();
                        let got = queue.pop();
                        prop_assert_eq!(
                            got.as_ref().map(|queued| queued.run.id),
                            expected.map(|(turn, _)| jobs[&turn].0)
                        );
                        if let Some((turn, group)) = expected {
                            waiting.remove(&(turn, group));
                            running.push((group, jobs[&turn].1.clone()));
                        }
                    }
                    _ if !running.is_empty() && priority > 0 => {
                        let (_, job) = running.swap_remove(which.index(running.len()));
                        queue.ended(&job);
                    }
                    _ if !waiting.is_empty() => {
                        let place = which.index(waiting.len());
                        let (turn, group) = *waiting.iter().nth(place).unwrap();
                        waiting.remove(&(turn, group));
                        let (id, job) = &jobs[&turn];
                        prop_assert_eq!(queue.remove(turn, job).map(|it| it.run.id), Some(*id));
                        prop_assert!(queue.remove(turn, job).is_none());
                    }
                    _ => {}
                }
                prop_assert_eq!(queue.len(), waiting.len());
            }
            prop_assert_eq!(queue.drain().len(), waiting.len());
            prop_assert_eq!(queue.len(), 0);
        }
    }
}
