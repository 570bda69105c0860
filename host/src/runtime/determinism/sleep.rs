//! Sleeping in WASI 0.3, where many tasks of a guest may sleep beside each other, and beside
//! others that compute or wait for something else.
//!
//! The clocks move when all that the guest could do is done: then who is due first wakes, and
//! nobody else. So tasks wake in the order of their times, whatever they do in between.
//!
//! A guest that may use the network may wait for that, too: its sleepers really sleep until
//! something else wakes the guest, and if nothing does, the clocks move to who is due first.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;
use wasmtime::component::{Accessor, HasSelf, Linker};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::p3::bindings::clocks::monotonic_clock::HostWithStore as _;

use super::{GuestTime, Timers};
use crate::runtime::guest::{Ended, GuestState};

/// The version of `wasi:clocks` that the library has; others that fit it are served by it too.
const MONOTONIC_CLOCK: &str = "wasi:clocks/monotonic-clock@0.3.0";

type Guest = Accessor<GuestState, HasSelf<GuestState>>;

/// Puts the functions that sleep in the place of WASI's own, which they fall back on for jobs
/// that are not deterministic.
///
/// # Errors
/// If the linker does not take them.
pub(in crate::runtime) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut clock = linker.instance(MONOTONIC_CLOCK)?;
    clock.func_wrap_concurrent("wait-until", |guest, (at,): (u64,)| {
        Box::pin(async move {
            match sleep(guest, |_| at) {
                Some(sleep) => sleep.await?,
                None => WasiClocks::wait_until(&of_library(guest), at).await?,
            }
            Ok(())
        })
    })?;
    clock.func_wrap_concurrent("wait-for", |guest, (duration,): (u64,)| {
        Box::pin(async move {
            match sleep(guest, |time| time.read().saturating_add(duration)) {
                Some(sleep) => sleep.await?,
                None => WasiClocks::wait_for(&of_library(guest), duration).await?,
            }
            Ok(())
        })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

fn of_library(guest: &Guest) -> Accessor<GuestState, WasiClocks> {
    guest.with_getter::<WasiClocks>(GuestState::clocks)
}

/// A sleep until a time, in nanoseconds since the start, if the run is a deterministic one.
fn sleep(guest: &Guest, until: impl FnOnce(&GuestTime) -> u64) -> Option<Sleep> {
    guest.with(|mut access| {
        let sleeping = access.get().timers()?.sleeping();
        let at = until(&sleeping.time);
        Some(sleeping.until(at))
    })
}

/// What the sleepers of a deterministic run have in common. Clones share it.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct Sleeping {
    time: GuestTime,
    sleepers: Sleepers,
}

impl Timers {
    /// What the run's sleepers have in common.
    pub(in crate::runtime) fn sleeping(&self) -> Sleeping {
        Sleeping {
            time: self.time.clone(),
            sleepers: self.sleepers.clone(),
        }
    }
}

impl Sleeping {
    fn until(self, at: u64) -> Sleep {
        Sleep {
            at,
            of: self,
            place: None,
        }
    }

    /// Who is due first, if anybody sleeps.
    fn first(&self) -> Option<Place> {
        let dormitory = self.sleepers.0.lock();
        dormitory.asleep.keys().next().copied()
    }

    /// Wakes who is due first.
    fn wake_first(&self) {
        let first = self.sleepers.0.lock().asleep.pop_first();
        if let Some(((at, _), waker)) = first {
            self.time.move_to(at.min(self.time.0.limit));
            waker.wake();
        }
    }
}

/// When a sleeper is due, in nanoseconds since the start, and how many came before it.
type Place = (u64, u64);

/// Who sleeps, by when they are due and in which order they came. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Sleepers(Arc<Mutex<Dormitory>>);

#[derive(Debug, Default)]
struct Dormitory {
    asleep: BTreeMap<Place, Waker>,
    /// How many have come.
    came: u64,
}

/// Ready when its time has come.
struct Sleep {
    at: u64,
    of: Sleeping,
    /// Its place among those who sleep, once it is there.
    place: Option<Place>,
}

impl Future for Sleep {
    type Output = Result<(), Ended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let sleepers = self.of.sleepers.clone();
        let mut dormitory = sleepers.0.lock();
        match self.place {
            Some(place) => match dormitory.asleep.get_mut(&place) {
                Some(waker) => {
                    waker.clone_from(context.waker());
                    Poll::Pending
                }
                None if self.at > self.of.time.0.limit => Poll::Ready(Err(Ended::TimedOut)),
                None => Poll::Ready(Ok(())),
            },
            // Its time has passed.
            None if self.at <= self.of.time.elapsed() => Poll::Ready(Ok(())),
            None => {
                let place = (self.at, dormitory.came);
                dormitory.came += 1;
                dormitory.asleep.insert(place, context.waker().clone());
                self.place = Some(place);
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.of.sleepers.0.lock().asleep.remove(&place);
        }
    }
}

/// Carries out a guest's call, and wakes its sleepers one after the other when there is nothing
/// else to do. With `beside`, it may wait for something outside.
pub(in crate::runtime) async fn drive<F: Future>(
    sleeping: Option<Sleeping>,
    beside: bool,
    call: F,
) -> F::Output {
    match sleeping {
        Some(sleeping) => wake_in_turn(sleeping, beside, call).await,
        None => call.await,
    }
}

async fn wake_in_turn<F: Future>(sleeping: Sleeping, beside: bool, call: F) -> F::Output {
    let mut call = pin!(call);
    // Whom it is waited for, and how long.
    let mut waiting: Option<(Place, Pin<Box<tokio::time::Sleep>>)> = None;
    let noted = Arc::new(Noted::default());
    let waker = Waker::from(noted.clone());
    std::future::poll_fn(|context| {
        noted.of.lock().clone_from(&Some(context.waker().clone()));
        noted.woken.store(false, Ordering::SeqCst);
        let polled = call.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() || noted.woken.load(Ordering::SeqCst) {
            return polled;
        }
        let Some(first) = sleeping.first() else {
            return polled;
        };
        if beside {
            if !matches!(&waiting, Some((of, _)) if *of == first) {
                let left = sleeping.time.left(first.0);
                waiting = Some((first, Box::pin(tokio::time::sleep(left))));
            }
            if let Some((_, timer)) = &mut waiting
                && timer.as_mut().poll(context).is_pending()
            {
                return polled;
            }
        }
        // This wakes the call, too: between two sleepers, others have the thread.
        sleeping.wake_first();
        polled
    })
    .await
}

/// A waker that notes that it was woken.
#[derive(Default)]
struct Noted {
    woken: AtomicBool,
    of: Mutex<Option<Waker>>,
}

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if let Some(of) = &*self.of.lock() {
            of.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runtime::determinism::Moving;

    fn timers(limit: u64) -> Timers {
        Timers::new(GuestTime(Arc::new(Moving {
            start: Duration::ZERO,
            limit,
            elapsed: Default::default(),
        })))
    }

    /// Lets others go first, and wakes itself at once, as a guest that computes does.
    async fn pause() {
        let mut paused = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut paused, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn until(timers: &Timers, at: u64) -> Sleep {
        timers.sleeping().until(at)
    }

    #[tokio::test]
    async fn sleepers_wake_by_their_times_and_not_by_when_they_came() {
        let timers = timers(1_000_000);
        let woke = Mutex::new(Vec::new());
        let one = async |at: u64| {
            until(&timers, at).await.unwrap();
            woke.lock().push((at, timers.time.elapsed()));
        };
        let all = async {
            tokio::join!(
                one(9_000),
                one(2_000),
                async {
                    one(3_000).await;
                    // Computing keeps the clock where it is.
                    pause().await;
                    one(4_000).await;
                    one(1_000).await;
                },
                one(9_000),
            );
        };
        drive(Some(timers.sleeping()), false, all).await;
        let expected = [2_000, 3_000, 4_000, 1_000, 9_000, 9_000];
        let woke = woke.into_inner();
        assert_eq!(woke.iter().map(|(at, _)| *at).collect::<Vec<_>>(), expected);
        assert!(woke.iter().all(|(at, time)| time == at || *at == 1_000));
        assert!(timers.sleepers.0.lock().asleep.is_empty());
    }

    #[tokio::test]
    async fn what_comes_from_outside_comes_before_a_long_sleep() {
        let timers = timers(u64::MAX);
        let race = async |at, outside: &mut (dyn Future<Output = ()> + Unpin)| {
            tokio::select! {
                _ = until(&timers, at) => "slept",
                () = outside => "heard",
            }
        };
        let both = async {
            // This is woken from outside of the call.
            let heard = race(1 << 60, &mut Box::pin(tokio::task::yield_now())).await;
            assert_eq!(
                timers.time.elapsed(),
                0,
                "what was not waited for moves nothing"
            );
            [heard, race(1_000_000, &mut std::future::pending()).await]
        };
        let both = drive(Some(timers.sleeping()), true, both).await;
        assert_eq!(both, ["heard", "slept"]);
        assert_eq!(timers.time.elapsed(), 1_000_000);
    }

    #[tokio::test]
    async fn whoever_sleeps_past_the_end_is_out_of_time() {
        let timers = timers(5_000);
        let sleep = until(&timers, 5_001);
        assert_eq!(
            drive(Some(timers.sleeping()), false, sleep).await,
            Err(Ended::TimedOut)
        );
        assert_eq!(timers.time.elapsed(), 5_000);
        // One that is given up leaves nothing behind.
        let race = async {
            tokio::select! {
                result = until(&timers, 6_000) => result,
                () = pause() => Ok(()),
            }
        };
        assert_eq!(drive(Some(timers.sleeping()), false, race).await, Ok(()));
        assert!(timers.sleepers.0.lock().asleep.is_empty());
    }
}
