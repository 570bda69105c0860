//! Keeps the history within its bounds, in the background.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::policy::Current;
use crate::store::{Store, StoreError};

/// How often it is looked whether there is too much.
const EVERY: Duration = Duration::from_secs(60);

/// A pause between two lots, so that nobody who fires waits for a long row of them.
const BETWEEN: Duration = Duration::from_millis(50);

/// Removes what is too old or too much, as the configuration says at the time. Never returns.
pub(super) async fn keep(store: Arc<dyn Store>, policy: Current, clock: Arc<dyn Clock>) {
    let mut failed = false;
    loop {
        let removed = removed(&*store, &policy, &*clock).await;
        match removed {
            Ok(0) => failed = false,
            Ok(removed) => {
                failed = false;
                tracing::debug!(removed, "old records are removed");
            }
            // Told once: the store itself tells of a trouble that lasts.
            Err(error) if !std::mem::replace(&mut failed, true) => {
                tracing::warn!(%error, "old records are not removed");
            }
            Err(_) => {}
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Removes all that is too old or too much, and says how many records that were.
async fn removed(
    store: &dyn Store,
    policy: &Current,
    clock: &dyn Clock,
) -> Result<u64, StoreError> {
    let mut removed = 0;
    loop {
        match store.prune(policy.get().history, clock.now()).await? {
            0 => return Ok(removed),
            some => removed += some,
        }
        tokio::time::sleep(BETWEEN).await;
    }
}
