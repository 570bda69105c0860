//! The news of runs that have ended, for the jobs that come after them.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::clock::Timestamp;
use crate::job::JobId;
use crate::run::{FinishedRun, Outcome};

/// A run that has ended, and its end is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnded {
    /// Its job.
    pub job: JobId,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// When it ended.
    pub at: Timestamp,
}

/// Where the ends of runs are told, of those jobs that something waits for. Nothing is lost and
/// nobody is held up: news that are not read yet wait. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ends {
    waited_for: Arc<RwLock<HashSet<JobId>>>,
    tell: UnboundedSender<RunEnded>,
}

impl Default for Ends {
    /// Nobody listens.
    fn default() -> Self {
        Ends::new().0
    }
}

impl Ends {
    /// A way for the news, and its end.
    pub fn new() -> (Ends, UnboundedReceiver<RunEnded>) {
        let (tell, news) = unbounded_channel();
        let ends = Ends {
            waited_for: Arc::default(),
            tell,
        };
        (ends, news)
    }

    /// From now on the ends of these jobs' runs are told, and no others.
    pub fn wait_for(&self, jobs: HashSet<JobId>) {
        *self.waited_for.write() = jobs;
    }

    pub(super) fn tell(&self, run: &FinishedRun) {
        let job = &run.attempt.run.job.id;
        if self.waited_for.read().contains(job) {
            // Nobody listens: the host is gone, or has no use for it.
            let _ = self.tell.send(RunEnded {
                job: job.clone(),
                succeeded: run.execution.outcome == Outcome::Succeeded,
                at: run.finished_at,
            });
        }
    }
}
