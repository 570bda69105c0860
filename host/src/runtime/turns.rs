//! Who computes when: guests that compute for long take turns, so that one that is quick finds a
//! thread within moments, however many others spin; and the CPU time that each has used.
//!
//! A guest runs freely for its first milliseconds. From then on it computes only in its turn: as
//! many at once as there are threads, the longest waiting first, each for one slice. So at most
//! that many wait on the threads themselves, where a new run queues behind them.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::clock;

/// How long a guest computes before it takes turns, and how long a turn is.
const SLICE: Duration = Duration::from_millis(2);

/// A guest that is pending after less than this was not computing: it waits for the host.
const COMPUTING: Duration = Duration::from_micros(100);

/// The turns of all guests. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<Semaphore>);

impl Turns {
    /// Turns for guests that run on so many threads.
    pub(super) fn new(threads: usize) -> Self {
        Turns(Arc::new(Semaphore::new(threads.max(1))))
    }

    /// Carries out a guest's call in turns, and adds the CPU time that it uses to `cpu`.
    pub(super) async fn take<F: Future>(&self, cpu: &CpuTime, call: F) -> F::Output {
        let mut call = pin!(call);
        let mut turn = Turn::Free;
        let mut slice = Duration::ZERO;
        std::future::poll_fn(|context| {
            if turn.poll(&self.0, context).is_pending() {
                return Poll::Pending;
            }
            let before = cpu.total();
            let polled = cpu.measure(|| call.as_mut().poll(context));
            if polled.is_pending() {
                let spent = cpu.total().saturating_sub(before);
                slice += spent;
                if slice >= SLICE {
                    slice = Duration::ZERO;
                    turn = Turn::Over;
                } else if spent < COMPUTING && !matches!(turn, Turn::Free) {
                    turn = Turn::Over;
                }
            }
            polled
        })
        .await
    }
}

type Acquire = dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send;

/// Where a guest stands.
enum Turn {
    /// It has not computed for long.
    Free,
    /// It has had its turn, and queues for the next when it has something to do.
    Over,
    /// It waits for its turn.
    Queued(Pin<Box<Acquire>>),
    /// It is its turn.
    Mine {
        _permit: Option<OwnedSemaphorePermit>,
    },
}

impl Turn {
    /// Ready when the guest may compute.
    fn poll(&mut self, turns: &Arc<Semaphore>, context: &mut Context<'_>) -> Poll<()> {
        if matches!(self, Turn::Over) {
            *self = Turn::Queued(Box::pin(turns.clone().acquire_owned()));
        }
        if let Turn::Queued(acquire) = self {
            match acquire.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                // The semaphore is never closed.
                Poll::Ready(permit) => {
                    *self = Turn::Mine {
                        _permit: permit.ok(),
                    };
                }
            }
        }
        Poll::Ready(())
    }
}

/// The CPU time of one run.
///
/// Its first stretch, which the ticker ends after a few milliseconds at the latest, counts by the
/// monotonic clock, as if the thread had the CPU to itself: reading a thread's CPU clock is a
/// system call, and two of them cost more than a short run does. What a run does after its first
/// stretch counts by the CPU clock.
#[derive(Debug, Default)]
pub(super) struct CpuTime(Mutex<Spent>);

#[derive(Debug, Default, Clone, Copy)]
struct Spent {
    total: Duration,
    begun: bool,
}

impl CpuTime {
    /// All of it so far.
    pub(super) fn total(&self) -> Duration {
        self.0.lock().total
    }

    fn measure<T>(&self, stretch: impl FnOnce() -> T) -> T {
        let begun = std::mem::replace(&mut self.0.lock().begun, true);
        let (result, spent) = if begun {
            let before = clock::thread_cpu_time();
            let result = stretch();
            (result, clock::thread_cpu_time().saturating_sub(before))
        } else {
            let started = clock::monotonic();
            let result = stretch();
            (result, started.elapsed())
        };
        self.0.lock().total += spent;
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Computes for a while, and lets others have the thread.
    async fn compute(slices: usize) {
        for _ in 0..slices {
            let until = clock::thread_cpu_time() + SLICE;
            while clock::thread_cpu_time() < until {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_quick_one_does_not_wait_for_all_that_spin() {
        // One thread, so that the order of the polls is certain.
        let turns = Turns::new(1);
        let slices = Arc::new(AtomicUsize::new(0));
        let mut spinners = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (turns, slices) = (turns.clone(), slices.clone());
            spinners.spawn(async move {
                let call = async {
                    loop {
                        compute(1).await;
                        slices.fetch_add(1, Ordering::Relaxed);
                    }
                };
                turns.take(&CpuTime::default(), call).await;
            });
        }
        // Each has had its free slice.
        while slices.load(Ordering::Relaxed) < 25 {
            tokio::task::yield_now().await;
        }
        // A task like any other: what a runtime is entered with comes round less often.
        let waited = tokio::spawn(async move {
            let mut waited = Vec::new();
            for _ in 0..20 {
                let before = slices.load(Ordering::Relaxed);
                let turns = turns.clone();
                let quick = async move { turns.take(&CpuTime::default(), async {}).await };
                tokio::spawn(quick).await.unwrap();
                waited.push(slices.load(Ordering::Relaxed) - before);
            }
            waited
        });
        let waited = waited.await.unwrap();
        // It queues twice, and so does who asks: behind one turn each time, not behind all twenty.
        assert!(waited.iter().all(|slices| *slices <= 4), "{waited:?}");
        spinners.shutdown().await;
    }

    #[tokio::test]
    async fn one_that_waits_for_the_host_holds_no_turn() {
        let turns = Turns::new(1);
        let sleeper = tokio::spawn({
            let turns = turns.clone();
            async move {
                let call = async {
                    compute(2).await;
                    std::future::pending::<()>().await;
                };
                turns.take(&CpuTime::default(), call).await;
            }
        });
        let other = CpuTime::default();
        turns.take(&other, compute(4)).await;
        assert!(other.total() >= SLICE * 4);
        sleeper.abort();
    }
}
