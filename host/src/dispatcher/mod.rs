//! From a recorded run to its record: who may run, on which slot, until when, and how often.
//!
//! ```text
//! admit ──▶ Admission ─┐                        ┌───── wait ◀──── again ─┐
//!                      ├─dispatch──▶ queue ◀────┘                        │
//! store.fire ──▶ Run ──┘               └─▶ worker ──Executor──▶ attempt ─┴▶ FinishedRun ──▶ store
//!                                                                              ├────────▶ events
//!                                                                              └────────▶ ends
//! ```
//!
//! - A job has at most `max_instances` runs queued or running; [`Dispatcher::admit`] reserves
//!   the place *before* the firing is recorded, so that two firings of one moment cannot both
//!   take the last one. What becomes of one more is for the job's `overlap` to say: it is
//!   refused, or recorded and waits for a place, or has the oldest make way.
//! - The host runs at most `max_running` at once, and each group of jobs as many as it says. More
//!   of them wait: the higher priority first, then first come, first served.
//! - A failed attempt is followed by another one as the job's `retry` says. Until that is due the
//!   run keeps its place among those of its job, but no worker.
//! - A worker that is done takes the next run from the queue: no task is made for it. Another
//!   worker is added only when a run waits or computes for long while others are queued, so that
//!   a thousand short runs take as many tasks as there are threads.
//! - An end that cannot be recorded is kept, and its run keeps its place, until it can be.
//! - A panic in an executor ends that run as failed, and nothing else.
//! - The time limit is the executor's to enforce: it alone can end a guest that spins.

mod cancel;
mod ends;
mod pauses;
mod queue;
mod retry;
mod session;
mod slots;
#[cfg(test)]
mod tests;
mod trouble;
mod work;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::clock::{Clock, Timestamp};
use crate::event::Events;
use crate::job::{Job, JobId};
use crate::run::{Attempt, Execution, FinishedRun, Firing, Run, RunId, SkipReason};
use crate::store::{Store, StoreError};

use queue::Queued;
use slots::{Seat, Slots};
use trouble::Trouble;

pub use cancel::{Cancel, CancelReason};
pub use ends::{Ends, RunEnded};
pub use pauses::Pauses;
pub use session::{Notices, Session};

/// What carries out attempts.
pub trait Executor: Send + Sync + 'static {
    /// Whether a job could run now. Asked before its firing is recorded, often: must be quick.
    ///
    /// # Errors
    /// Why not, such as a missing plugin. The firing is skipped for that reason.
    fn ready(&self, job: &Job) -> Result<(), SkipReason> {
        let _ = job;
        Ok(())
    }

    /// Carries out one attempt and tells how it ended. It ends the attempt at its deadline, and
    /// soon after the session asks for it.
    fn execute(&self, attempt: Attempt, session: Session)
    -> impl Future<Output = Execution> + Send;
}

/// What a [`Dispatcher`] works with.
#[derive(Clone)]
pub struct Parts {
    /// Where runs are recorded.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who is told.
    pub events: Events,
    /// Who is told of the ends that other jobs wait for.
    pub ends: Ends,
    /// Where attempts are carried out.
    pub runtime: Handle,
    /// How many runs may be carried out at once; at least 1.
    pub max_running: usize,
}

/// Starts recorded runs and sees them to their end. Cheap to clone.
pub struct Dispatcher<E> {
    inner: Arc<Inner<E>>,
}

impl<E> Clone for Dispatcher<E> {
    fn clone(&self) -> Self {
        Dispatcher {
            inner: self.inner.clone(),
        }
    }
}

impl<E> fmt::Debug for Dispatcher<E> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Dispatcher")
            .field("slots", &self.inner.slots)
            .finish_non_exhaustive()
    }
}

struct Inner<E> {
    parts: Parts,
    executor: E,
    slots: Slots,
    pauses: Pauses,
    trouble: Trouble,
    /// How many threads carry out runs.
    threads: usize,
}

/// Whom an [`Admission`] gives its seat back to.
trait Seats: Send + Sync {
    fn give_back(self: Arc<Self>, job: &JobId, seat: Seat);
}

impl<E: Executor> Seats for Inner<E> {
    fn give_back(self: Arc<Self>, job: &JobId, seat: Seat) {
        self.slots.state.lock().give_back(job, seat);
        // Others may have waited for it.
        self.add_workers();
    }
}

/// A place among the runs of a job, or among those that wait for one, held for a run that is
/// about to be recorded. Dropped, the place is free again.
#[must_use = "dropped, it admits nothing"]
pub struct Admission {
    seats: Arc<dyn Seats>,
    /// The job and its seat, until that has passed to a run.
    held: Option<(JobId, Seat)>,
}

impl fmt::Debug for Admission {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_tuple("Admission").field(&self.held).finish()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some((job, seat)) = self.held.take() {
            self.seats.clone().give_back(&job, seat);
        }
    }
}

/// How a [`Dispatcher`] came to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Runs that waited, and did not start.
    pub skipped: usize,
    /// Runs in flight that ended by themselves.
    pub finished: usize,
    /// Runs in flight that were asked to end: those between two attempts at once, the others when
    /// their time of grace was over.
    pub cancelled: usize,
}

impl<E: Executor> Dispatcher<E> {
    /// A dispatcher that carries out runs with `executor`. Nothing is paused.
    pub fn new(executor: E, parts: Parts) -> Self {
        let threads = parts.runtime.metrics().num_workers().max(1);
        Dispatcher {
            inner: Arc::new(Inner {
                trouble: Trouble::new(parts.events.clone(), parts.clock.clone()),
                parts,
                executor,
                slots: Slots::default(),
                pauses: Pauses::new(),
                threads,
            }),
        }
    }

    /// What carries out its attempts.
    pub fn executor(&self) -> &E {
        &self.inner.executor
    }

    /// Where its runs are recorded.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.parts.store
    }

    /// What is paused. Asked of every firing before it is [admitted](Self::admit), which itself
    /// does not look.
    pub fn pauses(&self) -> &Pauses {
        &self.inner.pauses
    }

    /// Admits one more run of a job, to be recorded and then [dispatched](Self::dispatch).
    ///
    /// # Errors
    /// Why it may not run now: the host is stopping or full, as many runs of the job are in flight
    /// or wait as it allows, or the executor is not ready for it.
    pub fn admit(&self, job: &Job) -> Result<Admission, SkipReason> {
        self.inner.executor.ready(job)?;
        let seat = self.inner.slots.state.lock().admit(job)?;
        Ok(Admission {
            seats: self.inner.clone(),
            held: Some((job.id.clone(), seat)),
        })
    }

    /// Starts recorded runs, or queues them while as many run as the host, their group or their
    /// job allows. Never waits. Once the host is stopping they are skipped instead.
    pub fn dispatch(&self, runs: Vec<(Arc<Run>, Admission)>) {
        self.enter(runs.into_iter().map(|(run, seat)| (run, 1, None, seat)));
    }

    /// The same for a run that was begun at `since` by a host that died: its attempts are counted
    /// from `number` on, and its deadline from then.
    pub fn dispatch_from(
        &self,
        run: Arc<Run>,
        number: u32,
        since: Timestamp,
        admission: Admission,
    ) {
        let begun = (run, number.max(1), Some(since), admission);
        self.enter(std::iter::once(begun));
    }

    fn enter(&self, runs: impl Iterator<Item = (Arc<Run>, u32, Option<Timestamp>, Admission)>) {
        let mut refused = Vec::new();
        let mut displaced = Vec::new();
        let mut state = self.inner.slots.state.lock();
        for (run, number, since, mut admission) in runs {
            if state.stopping {
                refused.push((run, admission));
                continue;
            }
            // The seat is the run's from here on.
            if let Some((_, seat)) = admission.held.take() {
                let queued = Queued {
                    run,
                    cancel: Cancel::new(),
                    number,
                    since,
                };
                state.enter(queued, seat, &mut displaced);
            }
        }
        drop(state);
        self.inner.add_workers();
        for queued in displaced {
            if queued.number == 1 {
                self.inner.skip_run(&queued.run, SkipReason::Replaced);
            } else {
                self.end_waiting(queued);
            }
        }
        for (run, admission) in refused {
            self.inner.skip_run(&run, SkipReason::Stopping);
            drop(admission);
        }
    }

    /// Records, soon, that a run has ended that was taken out of the queues.
    fn end_waiting(&self, queued: Queued) {
        let ending = self.inner.clone().end_waiting(queued);
        drop(self.inner.parts.runtime.spawn(ending));
    }

    /// Records and tells that a firing did not become a run.
    /// If it stands for several, the last of them is `through`.
    pub fn skip(&self, firing: Firing, through: Option<Timestamp>, reason: SkipReason) {
        self.inner.skip(firing, through, None, reason);
    }

    /// Records and tells that a run that is recorded and was not dispatched will not start.
    pub fn skip_run(&self, run: &Run, reason: SkipReason) {
        self.inner.skip_run(run, reason);
    }

    /// Tells of the end of a run that it has not carried out, and that is recorded, to the jobs
    /// that come after it.
    pub fn tell_end(&self, run: &FinishedRun) {
        self.inner.parts.ends.tell(run);
    }

    /// Skips all runs of a job that was removed or disabled which are dispatched and have not
    /// started. Of those that have, what waits for another attempt ends, and what is being carried
    /// out goes on, for the last time.
    pub fn withdraw(&self, job: &JobId) {
        let withdrawn = self.inner.slots.state.lock().withdraw(job);
        for queued in withdrawn {
            if queued.number == 1 {
                self.inner.skip_run(&queued.run, SkipReason::Removed);
            } else {
                self.end_waiting(queued);
            }
        }
        self.inner.add_workers();
    }

    /// Asks a run to end, whether it is running or waits for its turn or its next attempt. False
    /// if there is none of that id in flight.
    pub fn cancel(&self, run: RunId) -> bool {
        let cancelled = self
            .inner
            .slots
            .state
            .lock()
            .cancel(run, CancelReason::Requested);
        if let Some(Some(queued)) = cancelled {
            self.end_waiting(queued);
            return true;
        }
        cancelled.is_some()
    }

    /// How many runs of each job that has any hold a place among its runs, and how many wait for
    /// one.
    pub fn by_job(&self) -> HashMap<JobId, (usize, usize)> {
        self.inner.slots.state.lock().counts()
    }

    /// Tells, once, that firings cannot be recorded for this reason; with none, that they can be
    /// again. What is said to the world is of the store as a whole: ends of runs that wait to be
    /// recorded count too.
    pub fn firings_fail(&self, why: Option<&StoreError>) {
        self.inner.trouble.firings(why);
    }

    /// How many ends of runs the store could not record yet.
    pub fn unrecorded(&self) -> usize {
        self.inner.trouble.ends()
    }

    /// How many runs have started and not ended, those between two attempts too.
    pub fn in_flight(&self) -> usize {
        self.inner.slots.state.lock().in_flight()
    }

    /// Whether a run holds a place or waits for one. For a moment after its end it still does.
    pub fn has(&self, run: RunId) -> bool {
        self.inner.slots.state.lock().has(run)
    }

    /// How many runs wait for others to end.
    pub fn queued(&self) -> usize {
        self.inner.slots.state.lock().waiting()
    }

    /// Comes to rest: admits and starts nothing more, skips what waits to start, ends what waits
    /// for another attempt, gives the runs in flight `grace` to end, then asks them to, and returns
    /// when each has its record. An end that the store still cannot record then is tried once more.
    pub async fn drain(&self, grace: Duration) -> Drained {
        let inner = &self.inner;
        let (started, not_started, mut cancelled, in_flight) = {
            let mut state = inner.slots.state.lock();
            state.stopping = true;
            let (started, not_started): (Vec<Queued>, Vec<Queued>) = state
                .take_waiting()
                .into_iter()
                .partition(|queued| queued.number > 1);
            for queued in &not_started {
                state.land(&queued.run);
            }
            for queued in &started {
                queued.cancel.cancel(CancelReason::Stopping);
            }
            let cancelled = started.len() + state.give_up_backoff();
            (started, not_started, cancelled, state.flights.len())
        };
        for queued in &not_started {
            inner.skip_run(&queued.run, SkipReason::Stopping);
        }
        for queued in started {
            self.end_waiting(queued);
        }
        tokio::select! {
            biased;
            () = inner.slots.idle() => {}
            () = inner.parts.clock.sleep(grace) => {}
        }
        cancelled += inner.slots.state.lock().cancel_all();
        inner.trouble.give_up();
        inner.slots.idle().await;
        Drained {
            skipped: not_started.len(),
            finished: in_flight.saturating_sub(cancelled),
            cancelled,
        }
    }
}
