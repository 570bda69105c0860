//! Runs that last as long as chance has it, and watch that they may.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use super::store::Disks;
use crate::clock::{Clock as _, ManualClock};
use crate::dispatcher::{Executor, Session};
use crate::job::{Job, JobId, Overlap};
use crate::run::{Attempt, Execution, Outcome, Retry, RunId, SkipReason};

/// How many runs go on at once in all, and in the one group there is.
pub(super) const MOST: usize = 12;
pub(super) const MOST_OF_GROUP: usize = 3;

/// What is true of the jobs now, and what goes on.
pub(super) struct Watch {
    rng: fastrand::Rng,
    /// Jobs that may start runs.
    pub(super) enabled: HashSet<JobId>,
    pub(super) paused: HashSet<JobId>,
    /// Every attempt there has ever been.
    begun: HashSet<(RunId, u32)>,
    /// For each job, how many instances each of its running runs allows, and its id.
    running: HashMap<JobId, Vec<(RunId, u32)>>,
    in_group: usize,
    in_all: usize,
    pub(super) starts: u64,
}

impl Watch {
    pub(super) fn new(seed: u64) -> Watch {
        Watch {
            rng: fastrand::Rng::with_seed(seed),
            enabled: HashSet::new(),
            paused: HashSet::new(),
            begun: HashSet::new(),
            running: HashMap::new(),
            in_group: 0,
            in_all: 0,
            starts: 0,
        }
    }

    /// The host is dead, and all that ran in it.
    pub(super) fn all_end(&mut self) {
        self.running.clear();
        (self.in_group, self.in_all) = (0, 0);
    }
}

/// See the [module](self).
pub(super) struct Fake {
    pub(super) watch: Arc<Mutex<Watch>>,
    pub(super) disks: Arc<Disks>,
    pub(super) clock: ManualClock,
}

fn instances(job: &Job) -> u32 {
    match job.policies.overlap {
        Overlap::Allow => u32::MAX,
        _ => job.max_instances,
    }
}

impl Executor for Fake {
    fn ready(&self, job: &Job) -> Result<(), SkipReason> {
        if self.watch.lock().rng.u32(..1_000) == 0 {
            return Err(SkipReason::PluginMissing(job.component.clone()));
        }
        Ok(())
    }

    async fn execute(&self, attempt: Attempt, session: Session) -> Execution {
        if self.disks.is_dead() {
            return std::future::pending().await;
        }
        self.disks.steps.fetch_add(1, Ordering::Relaxed);
        let (job, run) = (&attempt.run.job, attempt.run.id);
        let (length, outcome) = {
            let mut watch = self.watch.lock();
            let watch = &mut *watch;
            watch.starts += 1;
            let what = || format!("{run} of {} for {}", job.id, attempt.run.scheduled_at);
            if !watch.begun.insert((run, attempt.number)) {
                let number = attempt.number;
                self.disks
                    .wrong(format!("attempt {number} of {} starts twice", what()));
            }
            if !watch.enabled.contains(&job.id) {
                self.disks
                    .wrong(format!("{} starts, and its job is gone", what()));
            }
            let running = watch.running.entry(job.id.clone()).or_default();
            running.push((run, instances(job)));
            let most = running.iter().map(|(_, most)| *most).max().unwrap_or(0);
            if running.len() > most as usize {
                let are = running.len();
                self.disks
                    .wrong(format!("{} starts, and {are} run of {most}", what()));
            }
            watch.in_all += 1;
            watch.in_group += usize::from(job.policies.group.is_some());
            if watch.in_all > MOST || watch.in_group > MOST_OF_GROUP {
                self.disks
                    .wrong(format!("{} starts, and too much runs", what()));
            }
            let length = match watch.rng.u32(..10) {
                0..6 => 0,
                6..9 => watch.rng.u64(1..5_000),
                _ => watch.rng.u64(5_000..100_000),
            };
            let outcome = match watch.rng.u32(..10) {
                0 => Outcome::Trapped,
                1 | 2 => Outcome::Failed,
                _ => Outcome::Succeeded,
            };
            (length, outcome)
        };
        let mut outcome = outcome;
        if length > 0 {
            tokio::select! {
                () = session.cancel.cancelled() => outcome = Outcome::Cancelled,
                () = self.clock.sleep(Duration::from_millis(length)) => {}
            }
        }
        self.disks.steps.fetch_add(1, Ordering::Relaxed);
        let mut watch = self.watch.lock();
        if let Some(running) = watch.running.get_mut(&job.id) {
            running.retain(|(id, _)| *id != run);
        }
        watch.in_all -= 1;
        watch.in_group -= usize::from(job.policies.group.is_some());
        Execution::without_guest(outcome, "", Retry::ByPolicy)
    }
}
