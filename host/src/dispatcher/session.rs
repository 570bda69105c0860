//! What connects an attempt with the host while it is carried out.

use std::sync::Arc;

use super::cancel::Cancel;
use crate::clock::Clock;
use crate::event::{Event, Events};
use crate::job::Job;
use crate::run::{Attempt, Denial, Progress};
use crate::state::{BoxFuture, Changes, Snapshot, StateError, StateSpace};
use crate::store::Store;

/// What an executor is given with an attempt. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    /// Tells it to end.
    pub cancel: Cancel,
    /// Where it tells what must be known before its end.
    pub notices: Notices,
    /// The state of its job, if the job is granted one.
    pub state: Option<Arc<dyn StateSpace>>,
}

impl Session {
    /// A session of an attempt that nobody listens to, whose job has no state.
    pub fn alone(cancel: Cancel) -> Session {
        Session {
            cancel,
            notices: Notices { told: None },
            state: None,
        }
    }
}

/// Tells, while a run goes on, what is seen live.
#[derive(Clone)]
pub struct Notices {
    told: Option<(Events, Arc<dyn Clock>, Attempt)>,
}

impl Notices {
    /// Tells of an attempt in the host's events.
    pub fn new(events: Events, clock: Arc<dyn Clock>, attempt: Attempt) -> Notices {
        Notices {
            told: Some((events, clock, attempt)),
        }
    }

    /// The run was refused something.
    pub fn denied(&self, denial: Denial) {
        self.tell(|attempt| Event::RunDenied { attempt, denial });
    }

    /// The run says how far it has come.
    pub fn progress(&self, progress: Progress) {
        self.tell(|attempt| Event::RunProgress { attempt, progress });
    }

    fn tell(&self, event: impl FnOnce(Attempt) -> Event) {
        if let Some((events, clock, attempt)) = &self.told {
            events.emit(clock.now(), event(attempt.clone()));
        }
    }
}

/// The state of one job in a store.
pub(super) struct StoredState {
    pub(super) store: Arc<dyn Store>,
    pub(super) job: Arc<Job>,
}

impl StateSpace for StoredState {
    fn load(&self) -> BoxFuture<'_, Result<Snapshot, StateError>> {
        Box::pin(async {
            let state = self.store.state(&self.job.id).await;
            state.map_err(|error| StateError::Unavailable(error.to_string()))
        })
    }

    fn commit(&self, changes: Changes) -> BoxFuture<'_, Result<Snapshot, StateError>> {
        self.store.checkpoint(&self.job, changes)
    }
}
