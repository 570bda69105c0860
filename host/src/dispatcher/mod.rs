//! From a recorded run to its record: who may run, on which slot, until when.
//!
//! ```text
//! admit ──▶ Admission ─┐
//!                      ├─dispatch──▶ queue ──▶ worker ──Executor──▶ FinishedRun ──▶ store
//! store.fire ──▶ Run ──┘                                                  ├────────▶ events
//!                                                                        └────────▶ ends
//! ```
//!
//! - A job has at most `max_instances` runs queued or running; [`Dispatcher::admit`] reserves
//!   the place *before* the firing is recorded, so that two firings of one moment cannot both
//!   take the last one.
//! - The host runs at most `max_running` at once. More of them wait, first come, first served.
//! - A worker that is done takes the next run from the queue: no task is made for it. Another
//!   worker is added only when a run waits or computes for long while others are queued, so that
//!   a thousand short runs take as many tasks as there are threads.
//! - A panic in an executor ends that run as failed, and nothing else.
//! - The time limit is the executor's to enforce: it alone can end a guest that spins.

mod cancel;
mod ends;
mod session;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use chrono::TimeDelta;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;

use crate::clock::{Clock, Timestamp};
use crate::event::{Event, Events};
use crate::job::{Job, JobId};
use crate::run::{Attempt, Execution, FinishedRun, Firing, Outcome, Retry, Run, RunId, SkipReason};
use crate::state::StateSpace;
use crate::store::{FinishError, Skip, Store};

use session::StoredState;

pub use cancel::{Cancel, CancelReason};
pub use ends::{Ends, RunEnded};
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

impl<E> std::fmt::Debug for Dispatcher<E> {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Dispatcher")
            .field("slots", &self.inner.slots)
            .finish_non_exhaustive()
    }
}

struct Inner<E> {
    parts: Parts,
    executor: E,
    slots: Arc<Slots>,
    /// How many threads carry out runs.
    threads: usize,
}

/// Who is running and who waits. Locked for a few look-ups, never while anything runs.
#[derive(Debug, Default)]
struct Slots {
    state: Mutex<State>,
    /// Told when the last run in flight has ended while the host is stopping.
    idle: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Runs that wait for a worker.
    queue: VecDeque<Queued>,
    /// Every run that has not ended, the queued ones too.
    flights: HashMap<RunId, Cancel, BuildHasherDefault<RandomBits>>,
    /// For each job, how many runs are admitted and have not ended.
    instances: HashMap<JobId, u32>,
    workers: usize,
    /// How many of the workers are in the first stretch of a run: it has not yet waited, nor
    /// computed for long. As many as there are threads at most, for more would only wait.
    fresh: usize,
    stopping: bool,
}

/// Hashes run ids, most of whose bits are random already.
#[derive(Debug, Default)]
struct RandomBits(u64);

impl Hasher for RandomBits {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, id: u128) {
        #[allow(clippy::cast_possible_truncation)] // the lower half is random
        let bits = id as u64;
        self.0 = bits;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
struct Queued {
    run: Arc<Run>,
    cancel: Cancel,
}

impl State {
    fn release(&mut self, job: &JobId) {
        if let Some(count) = self.instances.get_mut(job) {
            *count -= 1;
            if *count == 0 {
                self.instances.remove(job);
            }
        }
    }

    /// A run has ended, or will not start.
    fn land(&mut self, run: &Run) {
        self.flights.remove(&run.id);
        self.release(&run.job.id);
    }
}

/// A place among the runs of a job, held for a run that is about to be recorded. Dropped, the
/// place is free again.
#[derive(Debug)]
#[must_use = "dropped, it admits nothing"]
pub struct Admission {
    slots: Arc<Slots>,
    /// The job, until the place has passed to a run.
    job: Option<JobId>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(job) = &self.job {
            self.slots.state.lock().release(job);
        }
    }
}

/// How a [`Dispatcher`] came to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Runs that were queued, and did not start.
    pub skipped: usize,
    /// Runs in flight that ended by themselves.
    pub finished: usize,
    /// Runs in flight that were asked to end when their time of grace was over.
    pub cancelled: usize,
}

impl<E: Executor> Dispatcher<E> {
    /// A dispatcher that carries out runs with `executor`.
    pub fn new(executor: E, parts: Parts) -> Self {
        let threads = parts.runtime.metrics().num_workers().max(1);
        Dispatcher {
            inner: Arc::new(Inner {
                parts,
                executor,
                slots: Arc::default(),
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

    /// Admits one more run of a job, to be recorded and then [dispatched](Self::dispatch).
    ///
    /// # Errors
    /// Why it may not run now: the host is stopping, as many runs of the job are in flight as it
    /// allows, or the executor is not ready for it.
    pub fn admit(&self, job: &Job) -> Result<Admission, SkipReason> {
        self.inner.executor.ready(job)?;
        let mut state = self.inner.slots.state.lock();
        if state.stopping {
            return Err(SkipReason::Stopping);
        }
        match state.instances.get_mut(&job.id) {
            Some(count) if *count >= job.max_instances => {
                return Err(SkipReason::MaxInstances(job.max_instances));
            }
            Some(count) => *count += 1,
            None => {
                state.instances.insert(job.id.clone(), 1);
            }
        }
        drop(state);
        Ok(Admission {
            slots: self.inner.slots.clone(),
            job: Some(job.id.clone()),
        })
    }

    /// Starts recorded runs, or queues them while as many run as the host allows. Never waits.
    /// Once the host is stopping they are skipped instead.
    pub fn dispatch(&self, runs: Vec<(Arc<Run>, Admission)>) {
        let mut refused = Vec::new();
        let mut state = self.inner.slots.state.lock();
        for (run, mut admission) in runs {
            if state.stopping {
                refused.push((run, admission));
                continue;
            }
            admission.job = None; // the place is the run's from here on
            let cancel = Cancel::new();
            state.flights.insert(run.id, cancel.clone());
            state.queue.push_back(Queued { run, cancel });
        }
        drop(state);
        self.inner.add_workers();
        for (run, admission) in refused {
            self.inner.skip_run(&run, SkipReason::Stopping);
            drop(admission);
        }
    }

    /// Records and tells that a firing did not become a run.
    /// If it stands for several, the last of them is `through`.
    pub fn skip(&self, firing: Firing, through: Option<Timestamp>, reason: SkipReason) {
        self.inner.skip(firing, through, None, reason);
    }

    /// Records and tells that a recorded run will not start.
    pub fn skip_recorded(&self, run: &Run, reason: SkipReason) {
        self.inner.skip_run(run, reason);
    }

    /// Asks a run to end, whether it is running or waits for its turn. False if there is none of
    /// that id in flight.
    pub fn cancel(&self, run: RunId) -> bool {
        let waiting = {
            let mut state = self.inner.slots.state.lock();
            let Some(cancel) = state.flights.get(&run) else {
                return false;
            };
            cancel.cancel(CancelReason::Requested);
            let place = state.queue.iter().position(|queued| queued.run.id == run);
            place.and_then(|place| state.queue.remove(place))
        };
        if let Some(queued) = waiting {
            let inner = self.inner.clone();
            drop(self.inner.parts.runtime.spawn(async move {
                let now = inner.parts.clock.now();
                let attempt = first_attempt(queued.run, now);
                let execution = ended(
                    Outcome::Cancelled,
                    format!("{} before it started", CancelReason::Requested),
                );
                inner.record(attempt, now, execution).await;
            }));
        }
        true
    }

    /// How many runs are being carried out.
    pub fn in_flight(&self) -> usize {
        let state = self.inner.slots.state.lock();
        state.flights.len() - state.queue.len()
    }

    /// How many runs wait for others to end.
    pub fn queued(&self) -> usize {
        self.inner.slots.state.lock().queue.len()
    }

    /// Comes to rest: admits and starts nothing more, skips what is queued, gives the runs in
    /// flight `grace` to end, then asks them to, and returns when each has its record.
    pub async fn drain(&self, grace: Duration) -> Drained {
        let inner = &self.inner;
        let (queued, in_flight) = {
            let mut state = inner.slots.state.lock();
            state.stopping = true;
            let queued = std::mem::take(&mut state.queue);
            for waiting in &queued {
                state.land(&waiting.run);
            }
            (queued, state.flights.len())
        };
        for waiting in &queued {
            inner.skip_run(&waiting.run, SkipReason::Stopping);
        }
        let deadline = TimeDelta::from_std(grace)
            .ok()
            .and_then(|grace| inner.parts.clock.now().checked_add_signed(grace))
            .unwrap_or(Timestamp::MAX_UTC);
        tokio::select! {
            biased;
            () = inner.slots.idle() => {}
            () = inner.parts.clock.sleep_until(deadline) => {}
        }
        let cancelled = {
            let state = inner.slots.state.lock();
            for cancel in state.flights.values() {
                cancel.cancel(CancelReason::Stopping);
            }
            state.flights.len()
        };
        inner.slots.idle().await;
        Drained {
            skipped: queued.len(),
            finished: in_flight - cancelled,
            cancelled,
        }
    }
}

impl Slots {
    /// Resolves once no run is in flight. Only while the host is stopping.
    async fn idle(&self) {
        loop {
            let mut idle = pin!(self.idle.notified());
            // Enlisted before the look, so that nothing is missed between the two.
            idle.as_mut().enable();
            if self.state.lock().flights.is_empty() {
                return;
            }
            idle.await;
        }
    }

    /// A run has its record: its places are free.
    fn land(&self, run: &Run) {
        let mut state = self.state.lock();
        state.land(run);
        self.tell_if_idle(&state);
    }

    /// The same for the run of a worker, which is given the next one, or dismissed. `fresh` says
    /// whether the run was over within its first stretch.
    fn land_and_take(&self, run: &Run, fresh: bool, threads: usize) -> Option<Queued> {
        let mut state = self.state.lock();
        state.land(run);
        if fresh {
            state.fresh -= 1;
        }
        let next = if state.fresh < threads {
            state.queue.pop_front()
        } else {
            None // enough workers are about to take it
        };
        if next.is_some() {
            state.fresh += 1;
        } else {
            state.workers -= 1;
        }
        self.tell_if_idle(&state);
        next
    }

    fn tell_if_idle(&self, state: &State) {
        if state.stopping && state.flights.is_empty() {
            self.idle.notify_waiters();
        }
    }
}

impl<E: Executor> Inner<E> {
    /// Adds workers for what is queued, as far as there are threads for their first stretches.
    fn add_workers(self: &Arc<Self>) {
        loop {
            let queued = {
                let mut state = self.slots.state.lock();
                if state.fresh >= self.threads || state.workers >= self.parts.max_running.max(1) {
                    return;
                }
                let Some(queued) = state.queue.pop_front() else {
                    return;
                };
                state.workers += 1;
                state.fresh += 1;
                queued
            };
            drop(self.parts.runtime.spawn(self.clone().work(queued)));
        }
    }

    /// Carries out one run after the other until there is none for it.
    async fn work(self: Arc<Self>, first: Queued) {
        let mut next = Some(first);
        while let Some(queued) = next {
            let run = queued.run.clone();
            let mut fresh = true;
            {
                let mut carried_out = pin!(self.carry_out(queued));
                poll_fn(|context| {
                    let polled = carried_out.as_mut().poll(context);
                    if polled.is_pending() && std::mem::take(&mut fresh) {
                        // It may take its time: another worker sees to the queue meanwhile.
                        self.slots.state.lock().fresh -= 1;
                        self.add_workers();
                    }
                    polled
                })
                .await;
            }
            next = self.slots.land_and_take(&run, fresh, self.threads);
            // A queue of runs that never wait must not keep other tasks from this thread.
            consume_budget().await;
        }
    }

    async fn carry_out(&self, Queued { run, cancel }: Queued) {
        let attempt = first_attempt(run, self.parts.clock.now());
        self.parts.store.started(&attempt);
        self.parts.events.emit(
            attempt.started_at,
            Event::RunStarted {
                attempt: attempt.clone(),
            },
        );
        let execution = caught(
            self.executor
                .execute_lazily(attempt.clone(), self.session(&attempt, cancel)),
        )
        .await;
        let finished_at = self.parts.clock.now();
        let execution = execution.unwrap_or_else(|panic| {
            tracing::error!(
                job = %attempt.run.job.id,
                run = %attempt.run.id,
                panic,
                "the host's own code panicked while it carried out a run"
            );
            Execution {
                elapsed: (finished_at - attempt.started_at)
                    .to_std()
                    .unwrap_or_default(),
                ..ended(
                    Outcome::Failed,
                    format!("the host panicked while it ran the job (a bug in the host): {panic}"),
                )
            }
        });
        self.tell(attempt, finished_at, execution).await;
    }

    /// Records the end of a run that no worker carries, and frees its places.
    async fn record(&self, attempt: Attempt, finished_at: Timestamp, execution: Execution) {
        let run = attempt.run.clone();
        self.tell(attempt, finished_at, execution).await;
        self.slots.land(&run);
    }

    fn session(&self, attempt: &Attempt, cancel: Cancel) -> Session {
        let parts = &self.parts;
        let job = &attempt.run.job;
        Session {
            cancel,
            notices: Notices::new(parts.events.clone(), parts.clock.clone(), attempt.clone()),
            state: job.grants.state.map(|_| {
                Arc::new(StoredState {
                    store: parts.store.clone(),
                    job: job.clone(),
                }) as Arc<dyn StateSpace>
            }),
        }
    }

    /// Records the end of a run, then tells of it.
    async fn tell(&self, attempt: Attempt, finished_at: Timestamp, mut execution: Execution) {
        let state = execution.state.take();
        let mut run = Arc::new(FinishedRun {
            attempt,
            finished_at,
            execution,
        });
        let mut recorded = caught(self.parts.store.finished(run.clone(), state)).await;
        if let Ok(Err(FinishError::State(error))) = &recorded {
            // What it did to its state cannot land, so it has not done its work.
            run = Arc::new(FinishedRun {
                attempt: run.attempt.clone(),
                finished_at,
                execution: run.execution.clone().failed(error.to_string()),
            });
            recorded = caught(self.parts.store.finished(run.clone(), None)).await;
        }
        let error = match recorded {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(panic),
        };
        if let Some(error) = error {
            tracing::error!(
                job = %run.attempt.run.job.id,
                run = %run.attempt.run.id,
                outcome = run.execution.outcome.as_str(),
                error,
                "a run has ended and its end could not be recorded"
            );
        }
        let event = Event::RunFinished { run: run.clone() };
        self.parts.events.emit(finished_at, event);
        // What comes after the run comes after the news of its end.
        self.parts.ends.tell(&run);
    }

    fn skip_run(&self, run: &Run, reason: SkipReason) {
        let firing = Firing {
            job: run.job.clone(),
            cause: run.cause,
            scheduled_at: run.scheduled_at,
        };
        self.skip(firing, None, Some(run.id), reason);
    }

    fn skip(
        &self,
        firing: Firing,
        through: Option<Timestamp>,
        run: Option<RunId>,
        reason: SkipReason,
    ) {
        let at = self.parts.clock.now();
        let Firing {
            job,
            cause,
            scheduled_at,
        } = firing;
        self.parts.store.skipped(Skip {
            job: job.clone(),
            cause,
            scheduled_at,
            through,
            run,
            at,
            reason: reason.clone(),
        });
        self.parts.events.emit(
            at,
            Event::RunSkipped {
                job,
                scheduled_at,
                reason,
            },
        );
    }
}

/// [`Executor::execute`], called only when it is polled: so a panic before its first await is
/// caught with those after.
trait ExecuteLazily: Executor {
    fn execute_lazily(
        &self,
        attempt: Attempt,
        session: Session,
    ) -> impl Future<Output = Execution> + Send {
        async move { self.execute(attempt, session).await }
    }
}

impl<E: Executor> ExecuteLazily for E {}

fn first_attempt(run: Arc<Run>, started_at: Timestamp) -> Attempt {
    Attempt {
        run,
        number: 1,
        started_at,
    }
}

/// The end of an attempt that no executor tells of.
fn ended(outcome: Outcome, error: String) -> Execution {
    Execution::without_guest(outcome, error, Retry::Never)
}

/// Awaits a future, and gives the message of a panic instead of passing it on.
async fn caught<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // After a panic it is dropped and never polled again: nothing half-done is looked at.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(panic) => Poll::Ready(Err(panic_message(&*panic))),
        }
    })
    .await
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|message| (*message).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
