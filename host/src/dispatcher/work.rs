//! Workers: they carry out one attempt after the other, and see to what comes after each.

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::coop::consume_budget;

use super::cancel::{Cancel, CancelReason};
use super::queue::Queued;
use super::retry::{Verdict, verdict};
use super::session::{Notices, Session, StoredState};
use super::slots::After;
use super::{Executor, Inner};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::run::{Attempt, Execution, FinishedRun, Firing, Outcome, Retry, Run, RunId, SkipReason};
use crate::state::{Changes, StateError, StateSpace};
use crate::store::{BoxFuture, FinishError, Skip};

/// How long until an end that could not be recorded is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Why an end is not recorded, and never will be by this host.
enum Unrecorded {
    State(StateError),
    /// The host is stopping, or its own code panicked.
    GivenUp(String),
}

impl<E: Executor> Inner<E> {
    /// Adds workers for what is queued, as far as there are threads for their first stretches.
    pub(super) fn add_workers(self: &Arc<Self>) {
        loop {
            let queued = {
                let mut state = self.slots.state.lock();
                if state.fresh >= self.threads || state.workers >= self.parts.max_running.max(1) {
                    return;
                }
                let Some(queued) = state.queue.pop() else {
                    return;
                };
                state.workers += 1;
                state.fresh += 1;
                queued
            };
            drop(self.parts.runtime.spawn(self.clone().work(queued)));
        }
    }

    /// Carries out one attempt after the other until there is none for it.
    async fn work(self: Arc<Self>, first: Queued) {
        let mut next = Some(first);
        while let Some(queued) = next {
            let run = queued.run.clone();
            let mut fresh = true;
            let again = {
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
                .await
            };
            let after = match again {
                None => After::Ended,
                Some(_) => After::Again,
            };
            next = self.slots.done_and_take(&run, after, fresh, self.threads);
            if let Some((queued, at)) = again {
                let waiting = self.clone().wait_for(queued, at);
                drop(self.parts.runtime.spawn(waiting));
            }
            // A queue of runs that never wait must not keep other tasks from this thread.
            consume_budget().await;
        }
    }

    /// Carries out one attempt. Gives the next one and when it is due, if there is one.
    async fn carry_out(&self, queued: Queued) -> Option<(Queued, Timestamp)> {
        let attempt = self.begin(&queued).await?;
        self.parts.events.emit(
            attempt.started_at,
            Event::RunStarted {
                attempt: attempt.clone(),
            },
        );
        let session = self.session(&attempt, queued.cancel.clone());
        let execution = {
            // Pinned where it is made, and so below: by value, a few KiB would be moved each time.
            let execute = pin!(self.executor.execute_lazily(attempt.clone(), session));
            caught(execute).await
        };
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
        let since = Some(attempt.run_started_at);
        let next_at = pin!(self.tell(attempt, finished_at, execution, &queued.cancel)).await?;
        let next = Queued {
            number: queued.number.saturating_add(1),
            since,
            ..queued
        };
        Some((next, next_at))
    }

    /// Has an attempt begin, and that is noted. Gives nothing if it is not to start: what became
    /// of its run is told then.
    ///
    /// That it is the second one, or a later one, is on record before it begins. Until the store
    /// can do that, it waits.
    async fn begin(&self, queued: &Queued) -> Option<Attempt> {
        let cancel = &queued.cancel;
        let mut is_told = false;
        loop {
            let now = self.parts.clock.now();
            let attempt = attempt_of(queued, now);
            // It may have been withdrawn since it was taken out of the queue.
            if !cancel.is_cancelled() && self.slots.state.lock().is_withdrawn(attempt.run.id) {
                if attempt.number == 1 {
                    self.skip_run(&attempt.run, SkipReason::Removed);
                    return None;
                }
                cancel.cancel(CancelReason::Removed);
            }
            if let Some(execution) = not_to_start(&attempt, cancel) {
                self.tell(attempt, now, execution, cancel).await;
                return None;
            }
            if attempt.number == 1 {
                self.parts.store.started(&attempt);
                return Some(attempt);
            }
            let Err(error) = self.parts.store.started_again(&attempt).await else {
                return Some(attempt);
            };
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(
                    job = %attempt.run.job.id,
                    run = %attempt.run.id,
                    attempt = attempt.number,
                    %error,
                    "an attempt is due and cannot be recorded yet: it waits until it can be"
                );
            }
            if self.slots.state.lock().stopping {
                cancel.cancel(CancelReason::Stopping);
                continue;
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = self.parts.clock.sleep(AGAIN) => {}
            }
        }
    }

    /// Waits until the next attempt of a run is due, and queues it. A run that is to end
    /// meanwhile ends so.
    async fn wait_for(self: Arc<Self>, mut queued: Queued, at: Timestamp) {
        let clock = &self.parts.clock;
        let wait = (at - clock.now()).to_std().unwrap_or_default();
        tokio::select! {
            biased;
            () = queued.cancel.cancelled() => {}
            () = clock.sleep_until(at) => {}
            // By the time of day it would wait for hours, should that be set back.
            () = clock.sleep(wait) => {}
        }
        if !queued.cancel.is_cancelled() {
            match self.slots.take_up(queued) {
                Ok(()) => return self.add_workers(),
                Err(refused) => {
                    refused.cancel.cancel(CancelReason::Stopping);
                    queued = refused;
                }
            }
        }
        self.end_waiting(queued).await;
    }

    /// Records that a run has ended that waited for its first or its next attempt, because it was
    /// asked to.
    pub(super) async fn end_waiting(self: Arc<Self>, queued: Queued) {
        let now = self.parts.clock.now();
        let attempt = attempt_of(&queued, now);
        let run = queued.run.clone();
        if let Some(execution) = not_to_start(&attempt, &queued.cancel) {
            self.tell(attempt, now, execution, &queued.cancel).await;
        }
        self.slots.land(&run);
        // Others may have waited for its places.
        self.add_workers();
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

    /// Records the end of an attempt, then tells of it. Gives when there is to be another one; if
    /// there is none, the run has ended.
    async fn tell(
        &self,
        attempt: Attempt,
        finished_at: Timestamp,
        mut execution: Execution,
        cancel: &Cancel,
    ) -> Option<Timestamp> {
        let state = execution.state.take();
        let mut run = FinishedRun {
            attempt,
            finished_at,
            execution,
        };
        if let Some(next_at) = self.next_attempt(&mut run, cancel) {
            return Some(self.tell_again(run, next_at).await);
        }
        let mut run = Arc::new(run);
        let mut recorded = self.finish(&run, state).await;
        if let Err(Unrecorded::State(error)) = &recorded {
            // What it did to its state cannot land, so it has not done its work.
            let mut failed = FinishedRun {
                attempt: run.attempt.clone(),
                finished_at,
                execution: run.execution.clone().failed(error.to_string()),
            };
            if let Some(next_at) = self.next_attempt(&mut failed, cancel) {
                return Some(self.tell_again(failed, next_at).await);
            }
            run = Arc::new(failed);
            recorded = self.finish(&run, None).await;
        }
        if let Err(error) = &recorded {
            tracing::error!(
                job = %run.attempt.run.job.id,
                run = %run.attempt.run.id,
                outcome = run.execution.outcome.as_str(),
                %error,
                "a run has ended and its end could not be recorded: when the host starts again, it counts as lost"
            );
        }
        let event = Event::RunFinished { run: run.clone() };
        self.parts.events.emit(finished_at, event);
        if recorded.is_ok() {
            // What comes after the run comes after the news of its end.
            self.parts.ends.tell(&run);
        }
        None
    }

    /// Records the end of a run, and what it changed in the state of its job.
    async fn finish(
        &self,
        run: &Arc<FinishedRun>,
        state: Option<Changes>,
    ) -> Result<(), Unrecorded> {
        self.land(run, || {
            self.parts.store.finished(run.clone(), state.clone())
        })
        .await
    }

    /// Records an end. While the store cannot, it is kept and tried again, after those of its job
    /// that came before it.
    async fn land<'a>(
        &self,
        run: &FinishedRun,
        record: impl Fn() -> BoxFuture<'a, Result<(), FinishError>>,
    ) -> Result<(), Unrecorded> {
        let settled = |recorded| match recorded {
            Ok(Ok(())) => Ok(Ok(())),
            Ok(Err(FinishError::Store(error))) => Err(error),
            Ok(Err(FinishError::State(error))) => Ok(Err(Unrecorded::State(error))),
            Err(panic) => Ok(Err(Unrecorded::GivenUp(panic))),
        };
        let job = &run.attempt.run.job.id;
        let mut error = None;
        if !self.trouble.has_ends_of(job) {
            match settled(caught(record()).await) {
                Ok(done) => return done,
                Err(why) => error = Some(why),
            }
        }
        let waiting = self.trouble.enlist(job, error.as_ref());
        tracing::warn!(
            %job,
            run = %run.attempt.run.id,
            "a run has ended and its end cannot be recorded yet: it is kept until it can be"
        );
        loop {
            // Asked before the try: what is asked meanwhile has one more coming.
            let last = self.trouble.is_last();
            if last || error.is_none() && waiting.is_first() {
                match settled(caught(record()).await) {
                    Ok(done) => return done,
                    Err(why) if last => return Err(Unrecorded::GivenUp(why.to_string())),
                    Err(_) => {}
                }
            }
            error = None;
            waiting.again(AGAIN).await;
        }
    }

    /// When the next attempt of a run is due, if there is to be one. Where there is none for a
    /// reason of its own, the error says so.
    fn next_attempt(&self, run: &mut FinishedRun, cancel: &Cancel) -> Option<Timestamp> {
        let verdict = match verdict(run) {
            Verdict::Again(_) if cancel.is_cancelled() => Verdict::End,
            Verdict::Again(next_at) => {
                let state = self.slots.state.lock();
                if state.stopping {
                    Verdict::EndFor(SkipReason::Stopping.to_string())
                } else if state.is_withdrawn(run.attempt.run.id) {
                    Verdict::EndFor("the job was removed or disabled".to_owned())
                } else {
                    Verdict::Again(next_at)
                }
            }
            verdict => verdict,
        };
        match verdict {
            Verdict::Again(next_at) => Some(next_at),
            Verdict::End => None,
            Verdict::EndFor(why) => {
                let error = run.execution.error.take().unwrap_or_default();
                run.execution.error = Some(format!("{error}; not tried again: {why}"));
                None
            }
        }
    }

    /// Records the end of an attempt after which another one comes, then tells of it.
    async fn tell_again(&self, run: FinishedRun, next_at: Timestamp) -> Timestamp {
        let run = Arc::new(run);
        let record = || {
            let attempted = self.parts.store.attempted(run.clone());
            Box::pin(async { attempted.await.map_err(FinishError::Store) }) as BoxFuture<'_, _>
        };
        if let Err(error) = self.land(&run, record).await {
            tracing::error!(
                job = %run.attempt.run.job.id,
                run = %run.attempt.run.id,
                attempt = run.attempt.number,
                %error,
                "an attempt has ended and its end could not be recorded"
            );
        }
        let at = run.finished_at;
        self.parts
            .events
            .emit(at, Event::RunRetrying { run, next_at });
        next_at
    }

    pub(super) fn skip_run(&self, run: &Run, reason: SkipReason) {
        let firing = Firing {
            job: run.job.clone(),
            cause: run.cause,
            scheduled_at: run.scheduled_at,
        };
        self.skip(firing, None, Some(run.id), reason);
    }

    pub(super) fn skip(
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

impl fmt::Display for Unrecorded {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unrecorded::State(error) => error.fmt(to),
            Unrecorded::GivenUp(why) => to.write_str(why),
        }
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
        async move { pin!(self.execute(attempt, session)).await }
    }
}

impl<E: Executor> ExecuteLazily for E {}

/// The attempt that has waited, starting now.
fn attempt_of(queued: &Queued, now: Timestamp) -> Attempt {
    Attempt {
        run: queued.run.clone(),
        number: queued.number,
        started_at: now,
        run_started_at: queued.since.unwrap_or(now),
    }
}

/// The end of an attempt that does not even start: its run is to end, or its time is up.
fn not_to_start(attempt: &Attempt, cancel: &Cancel) -> Option<Execution> {
    let before = match attempt.number {
        1 => "before it started".to_owned(),
        number => format!("before attempt {number} of {}", attempt.run.max_attempts),
    };
    if let Some(reason) = cancel.reason() {
        let comma = match reason {
            CancelReason::Requested => "",
            CancelReason::Stopping | CancelReason::Replaced | CancelReason::Removed => ",",
        };
        return Some(ended(
            Outcome::Cancelled,
            format!("{reason}{comma} {before}"),
        ));
    }
    let deadline = attempt.run_deadline()?;
    (deadline <= attempt.started_at).then(|| {
        let error = format!("limit: deadline of the run, {before}");
        ended(Outcome::TimedOut, error)
    })
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
