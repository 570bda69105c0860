//! How a run in flight is told to end.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// Tells an executor that an attempt is to end. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// 0 while nobody has asked; else a [`CancelReason`].
    reason: AtomicU8,
    asked: Notify,
}

/// Why an attempt is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CancelReason {
    /// Somebody asked for it.
    Requested = 1,
    /// The host is stopping.
    Stopping = 2,
    /// A later run of the job takes its place.
    Replaced = 3,
    /// The job was removed or disabled while the run waited for another attempt.
    Removed = 4,
}

impl fmt::Display for CancelReason {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.pad(match self {
            CancelReason::Requested => "cancelled on request",
            CancelReason::Stopping => "cancelled: the host is stopping",
            CancelReason::Replaced => "cancelled: a later run of the job takes its place",
            CancelReason::Removed => "cancelled: the job was removed or disabled",
        })
    }
}

impl Cancel {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Cancel::default()
    }

    /// Asks the attempt to end. The first to ask says why.
    pub fn cancel(&self, reason: CancelReason) {
        let first =
            self.0
                .reason
                .compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.0.asked.notify_waiters();
        }
    }

    /// Whether the attempt is to end. Cheap enough to ask in a loop.
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Why the attempt is to end; nothing while it is not.
    pub fn reason(&self) -> Option<CancelReason> {
        match self.0.reason.load(Ordering::Acquire) {
            0 => None,
            1 => Some(CancelReason::Requested),
            2 => Some(CancelReason::Stopping),
            3 => Some(CancelReason::Replaced),
            _ => Some(CancelReason::Removed),
        }
    }

    /// Resolves once the attempt is to end; at once if it is already.
    pub async fn cancelled(&self) {
        let mut asked = pin!(self.0.asked.notified());
        // Enlisted before the look, so that nothing is missed between the two.
        asked.as_mut().enable();
        if !self.is_cancelled() {
            asked.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_wait_and_those_who_come_later_learn_of_it() {
        let cancel = Cancel::new();
        let waiter = tokio::spawn({
            let cancel = cancel.clone();
            async move { cancel.cancelled().await }
        });
        tokio::task::yield_now().await;
        assert!(!cancel.is_cancelled());
        assert!(!waiter.is_finished());
        cancel.cancel(CancelReason::Stopping);
        cancel.cancel(CancelReason::Requested);
        waiter.await.unwrap();
        cancel.cancelled().await;
        assert_eq!(cancel.reason(), Some(CancelReason::Stopping));
    }
}
