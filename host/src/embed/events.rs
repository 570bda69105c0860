//! What happens, as it happens.

use std::sync::Arc;

use crate::event::{Event, Stamped, Subscription};
use crate::run::FinishedRun;

/// Why there is no event now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecvError {
    /// So many events were lost, because they were not taken in time. There may be more to come.
    #[error("{0} events were lost: they were not taken in time")]
    Lagged(u64),
    /// The scheduler has stopped.
    #[error("the scheduler has stopped")]
    Closed,
}

/// Everything that happens in a scheduler, in order, from when it was
/// [subscribed](crate::Scheduler::subscribe) to.
///
/// About a hundred thousand events wait for a listener that is slow. What comes on top is lost to
/// it, and it is told so; nobody else is held up. What must not be missed is in the
/// [history](crate::Scheduler::runs).
#[derive(Debug)]
pub struct EventStream(Subscription);

impl EventStream {
    pub(super) fn new(subscription: Subscription) -> EventStream {
        EventStream(subscription)
    }

    /// The next event.
    ///
    /// # Errors
    /// Some were lost, or the scheduler has stopped and all have been taken.
    pub async fn recv(&mut self) -> Result<Stamped, RecvError> {
        match self.0.take_lost() {
            0 => self.0.recv().await.ok_or(RecvError::Closed),
            lost => Err(RecvError::Lagged(lost)),
        }
    }

    /// The next event, waiting for it on this thread, which is not one of an async runtime.
    ///
    /// # Errors
    /// As for [`recv`](EventStream::recv).
    pub fn blocking_recv(&mut self) -> Result<Stamped, RecvError> {
        match self.0.take_lost() {
            0 => self.0.blocking_recv().ok_or(RecvError::Closed),
            lost => Err(RecvError::Lagged(lost)),
        }
    }

    /// The next event if one waits.
    pub fn try_recv(&mut self) -> Option<Stamped> {
        self.0.try_recv()
    }

    /// The end of the next run of a job that has ended, passing over everything else; nothing if
    /// the scheduler stops before.
    pub async fn next_end_of(&mut self, job: &str) -> Option<Arc<FinishedRun>> {
        loop {
            match self.recv().await {
                Ok(Stamped {
                    event: Event::RunFinished { run },
                    ..
                }) if run.attempt.run.job.id.as_str() == job => return Some(run),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
