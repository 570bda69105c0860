//! A single firing that somebody asks for, and waits to hear of.

use std::sync::Arc;

use super::admit;
use crate::clock::Timestamp;
use crate::dispatcher::{Dispatcher, Executor};
use crate::run::{Firing, Run, SkipReason};
use crate::store::FireResult;

/// Fires one job by hand: admitted, recorded, dispatched.
///
/// # Errors
/// Why it is not started. That is recorded and told, too.
pub async fn fire_one<E: Executor>(
    firing: Firing,
    dispatcher: &Dispatcher<E>,
    now: Timestamp,
) -> Result<Arc<Run>, SkipReason> {
    let refuse = |reason: SkipReason| {
        dispatcher.skip(firing.clone(), None, reason.clone());
        reason
    };
    let admission = admit(&firing, dispatcher).map_err(refuse)?;
    let recorded = dispatcher.store().fire(vec![firing.clone()], now).await;
    match recorded.map(|mut results| results.pop()) {
        Ok(Some(FireResult::Recorded(run))) => {
            dispatcher.dispatch(vec![(run.clone(), admission)]);
            Ok(run)
        }
        // Not of what is fired by hand.
        Ok(Some(FireResult::Duplicate(_)) | None) => Err(refuse(SkipReason::NotRecorded(
            "the instant has a run already".to_owned(),
        ))),
        Err(error) => {
            tracing::error!(job = %firing.job.id, %error, "a run that was asked for is not started");
            Err(refuse(SkipReason::NotRecorded(error.why().to_owned())))
        }
    }
}
