//! How a host is asked to stop.

use tokio::sync::watch;

/// Asks a host to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<Stopping>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stopping {
    No,
    Graceful,
    AtOnce,
}

impl Default for Stop {
    fn default() -> Self {
        Stop::new()
    }
}

impl Stop {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Stop(watch::Sender::new(Stopping::No))
    }

    /// Asks for a graceful stop: nothing starts any more, runs in flight have their time of
    /// grace.
    pub fn request(&self) {
        self.raise(Stopping::Graceful);
    }

    /// Asks for a stop at once: runs in flight are cancelled.
    pub fn force(&self) {
        self.raise(Stopping::AtOnce);
    }

    fn raise(&self, to: Stopping) {
        self.0.send_if_modified(|now| {
            let higher = to > *now;
            if higher {
                *now = to;
            }
            higher
        });
    }

    pub(super) async fn reached(&self, level: Stopping) {
        // An error means that the sender is gone, and `self` is one.
        let _ = self.0.subscribe().wait_for(|now| *now >= level).await;
    }
}
