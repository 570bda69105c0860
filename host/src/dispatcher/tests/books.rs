//! The books alone, whatever happens in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::dispatcher::slots::{After, Seat, Slots};
use crate::job::{Overlap, Policies};

/// Something that happens to the books.
#[derive(Debug, Clone)]
enum Step {
    /// A job fires; its record fails if so said.
    Fire(usize, bool),
    /// A worker takes the next run.
    Take,
    /// An attempt ends, and with it its run if so said.
    End(prop::sample::Index, bool),
    /// The next attempt of a run is due.
    Due(prop::sample::Index),
    Cancel(prop::sample::Index),
    Withdraw(usize),
}

fn step() -> impl Strategy<Value = Step> {
    use prop::sample::Index;
    prop_oneof![
        6 => (0..JOBS.len(), prop::bool::weighted(0.1)).prop_map(|(job, fails)| Step::Fire(job, fails)),
        4 => Just(Step::Take),
        3 => (any::<Index>(), prop::bool::weighted(0.7)).prop_map(|(which, ends)| Step::End(which, ends)),
        1 => any::<Index>().prop_map(Step::Due),
        1 => any::<Index>().prop_map(Step::Cancel),
        1 => (0..JOBS.len()).prop_map(Step::Withdraw),
    ]
}

/// The jobs: how they overlap, and how many instances they have.
const JOBS: [(Overlap, u32); 6] = [
    (Overlap::Skip, 1),
    (Overlap::Skip, 3),
    (Overlap::Queue(2), 1),
    (Overlap::Queue(3), 2),
    (Overlap::Allow, 1),
    (Overlap::Replace, 2),
];

/// The books, and what is known of every run on them.
struct Model {
    slots: Slots,
    jobs: Vec<Arc<Job>>,
    running: Vec<Queued>,
    backoff: Vec<Queued>,
    /// Taken out of the queues to be recorded as ended.
    ending: Vec<Queued>,
    next_id: u128,
}

impl Model {
    fn new() -> Model {
        let jobs = JOBS.iter().enumerate().map(|(n, (overlap, most))| {
            let policies = Policies {
                overlap: *overlap,
                ..Policies::default()
            };
            Arc::new(Job {
                max_instances: *most,
                policies: Arc::new(policies),
                ..(*job(&n.to_string())).clone()
            })
        });
        Model {
            jobs: jobs.collect(),
            slots: Slots::default(),
            running: Vec::new(),
            backoff: Vec::new(),
            ending: Vec::new(),
            next_id: 0,
        }
    }

    fn queued(&mut self, job: usize) -> Queued {
        self.next_id += 1;
        Queued {
            run: Arc::new(Run {
                id: RunId::from_u128(self.next_id),
                job: self.jobs[job].clone(),
                cause: Cause::Schedule,
                scheduled_at: instant(1),
                max_attempts: 3,
                last_success: None,
            }),
            cancel: Cancel::new(),
            number: 1,
            since: None,
        }
    }

    fn take(&mut self) {
        let mut state = self.slots.state.lock();
        if let Some(queued) = state.queue.pop() {
            state.workers += 1;
            drop(state);
            self.running.push(queued);
        }
    }

    fn end(&mut self, which: usize, after: After) {
        let queued = self.running.swap_remove(which);
        let next = self.slots.done_and_take(&queued.run, after, false, 1);
        // The books count a worker with a fresh run: here all of them are old at once.
        if next.is_some() {
            self.slots.state.lock().fresh = 0;
        }
        self.running.extend(next);
        if after == After::Again {
            self.backoff.push(Queued {
                number: queued.number + 1,
                ..queued
            });
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Fire(job, fails) => {
                let queued = self.queued(job);
                let mut displaced = Vec::new();
                let mut state = self.slots.state.lock();
                match state.admit(&queued.run.job) {
                    Ok(seat) if fails => state.give_back(&queued.run.job.id, seat),
                    Ok(seat) => {
                        let waits = !matches!(JOBS[job].0, Overlap::Skip | Overlap::Allow);
                        assert!(waits || seat == Seat::Place);
                        state.enter(queued, seat, &mut displaced);
                    }
                    Err(SkipReason::MaxInstances(_)) => assert_eq!(JOBS[job].0, Overlap::Skip),
                    Err(SkipReason::QueueFull(most)) => {
                        assert_eq!(JOBS[job].0, Overlap::Queue(most));
                    }
                    Err(other) => panic!("{other:?}"),
                }
                drop(state);
                displaced.retain(|queued| queued.number > 1);
                self.ending.append(&mut displaced);
            }
            Step::Take => self.take(),
            Step::End(which, ends) if !self.running.is_empty() => {
                let after = if ends { After::Ended } else { After::Again };
                self.end(which.index(self.running.len()), after);
            }
            Step::Due(which) if !self.backoff.is_empty() => {
                let queued = self.backoff.swap_remove(which.index(self.backoff.len()));
                if queued.cancel.is_cancelled() {
                    self.ending.push(queued);
                } else {
                    self.slots.take_up(queued).unwrap();
                }
            }
            Step::Cancel(which) => {
                let mut state = self.slots.state.lock();
                let mut ids: Vec<RunId> = state.flights.keys().copied().collect();
                ids.sort();
                if !ids.is_empty() {
                    let id = ids[which.index(ids.len())];
                    let taken = state.cancel(id, CancelReason::Requested);
                    self.ending.extend(taken.expect("it is in flight"));
                }
            }
            Step::Withdraw(job) => {
                let withdrawn = self.slots.state.lock().withdraw(&self.jobs[job].id);
                let begun = withdrawn.into_iter().filter(|queued| queued.number > 1);
                self.ending.extend(begun);
            }
            Step::End(..) | Step::Due(_) => {}
        }
        // What is to be recorded is, at once.
        for queued in std::mem::take(&mut self.ending) {
            self.slots.land(&queued.run);
        }
    }

    /// What must always be true.
    fn check(&self) {
        let state = self.slots.state.lock();
        let started = self.running.len() + self.backoff.len();
        assert_eq!(state.flights.len(), started + state.waiting());
        assert_eq!(state.in_flight(), started);
        let known: BTreeSet<RunId> = self
            .running
            .iter()
            .chain(&self.backoff)
            .map(|queued| queued.run.id)
            .collect();
        assert!(known.iter().all(|id| state.flights.contains_key(id)));
        let placed: BTreeMap<String, (usize, usize)> = state.by_job();
        for (n, (overlap, most)) in JOBS.iter().enumerate() {
            let (placed, held) = placed.get(&n.to_string()).copied().unwrap_or_default();
            match overlap {
                Overlap::Allow => assert_eq!(held, 0),
                _ => assert!(placed <= *most as usize, "{overlap:?}: {placed}"),
            }
            if let Overlap::Queue(waiting) = overlap {
                assert!(held <= *waiting as usize);
            }
            if *overlap == Overlap::Replace {
                assert!(held <= 1, "each takes the place of the one before");
            }
            assert!(
                held == 0 || placed == *most as usize,
                "nobody waits in vain"
            );
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nobody_waits_in_vain(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut model = Model::new();
        for step in steps {
            model.apply(step);
            model.check();
        }
        // Left alone, everything ends.
        for _ in 0..10_000 {
            while let Some(queued) = model.backoff.pop() {
                model.slots.take_up(queued).unwrap();
            }
            model.take();
            if model.running.is_empty() {
                break;
            }
            model.end(0, After::Ended);
        }
        let state = model.slots.state.lock();
        prop_assert!(state.flights.is_empty() && state.jobs.is_empty());
        prop_assert_eq!(state.waiting(), 0);
    }
}
