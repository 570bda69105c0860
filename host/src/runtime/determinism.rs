//! Runs that can be had again: randomness and time that come from the run's record.
//!
//! A deterministic job is told nothing that its record does not hold. From the id of the run and
//! the number of the attempt come all its random bytes, and its time starts where the record says
//! that the attempt started, and moves only by what the guest itself does:
//!
//! - with each look at a clock, or at whether a timer is due, by a microsecond, so that a loop
//!   that waits for a time to come ends;
//! - with each wait for nothing but time, to the end of that wait, at once. A guest that sleeps
//!   for an hour has slept for an hour a moment later.
//!
//! Time waited for beside something else (a socket, a file) is really waited for; if it comes
//! first, the clocks move to it, and otherwise they stay. A guest that waits past the time limit
//! of its attempt has run out of time, there and then.
//!
//! # What is the same when such a run is repeated
//!
//! With the same plugin, definition and record: every random byte, every time, the arguments, the
//! environment and what else the guest is told of its run; all that it computes, to the bits of
//! its NaNs; and so its outcome, its output, its log and its fuel.
//!
//! # What is not
//!
//! - What lies outside: the contents of granted directories and the times of their files, the
//!   network, secrets that have changed, the state of the job.
//! - When the host steps in: a real time limit that strikes while the guest computes, a request to
//!   end, memory that the host as a whole has no more of, and the rate of the log.
//! - What is measured of it: durations, CPU time, and the times of its log entries.
//! - Peculiarities of another version of the host: what wasmtime compiles to costs its own fuel.
//!
//! # No secrets
//!
//! Who knows the id of a run knows its random bytes. A deterministic job must not make keys,
//! passwords or tokens.

mod poll;
mod poll_oneoff;
#[cfg(feature = "wasi-03")]
pub(super) mod sleep;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chacha20::ChaCha12Rng;
use chacha20::rand_core::SeedableRng as _;
use sha2::{Digest as _, Sha256};
use wasmtime::Linker as CoreLinker;
use wasmtime::component::Linker as ComponentLinker;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock};

use super::guest::{Ended, GuestState};
use crate::clock::Timestamp;
use crate::run::Attempt;

/// How far a look at a clock moves it, in nanoseconds: a microsecond.
const READING: u64 = 1_000;

/// Puts the functions that wait for time in the place of WASI's own, which they fall back on for
/// jobs that are not deterministic.
///
/// # Errors
/// If the linkers do not have WASI's yet, or the wrong types.
pub(super) fn add_to_linkers(
    components: &mut ComponentLinker<GuestState>,
    modules: &mut CoreLinker<GuestState>,
) -> wasmtime::Result<()> {
    poll::add_to_linker(components)?;
    poll_oneoff::add_to_linker(modules)
}

/// Has a guest's randomness and time come from its attempt's record.
pub(super) fn equip(builder: &mut WasiCtxBuilder, attempt: &Attempt, time: &GuestTime) {
    let half = seed(attempt, "insecure-seed").first_chunk().copied();
    builder
        .secure_random(generator(attempt, "random"))
        .insecure_random(generator(attempt, "insecure"))
        .insecure_random_seed(u128::from_le_bytes(half.unwrap_or_default()))
        .wall_clock(time.clone())
        .monotonic_clock(time.clone());
}

/// Random bytes for one use of them in an attempt, the same on every machine.
fn generator(attempt: &Attempt, purpose: &str) -> ChaCha12Rng {
    ChaCha12Rng::from_seed(seed(attempt, purpose))
}

/// What the randomness of an attempt starts from, another for each use.
fn seed(attempt: &Attempt, purpose: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    // Each part but the last, which has a fixed length, ends with a byte that is in none.
    for part in [
        "quarterjack deterministic run 1",
        purpose,
        &attempt.run.id.to_string(),
    ] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(attempt.number.to_le_bytes());
    hash.finalize().into()
}

/// The time of one deterministic run, its time of day and its monotonic clock. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct GuestTime(Arc<Moving>);

#[derive(Debug)]
struct Moving {
    /// The time of day at which the attempt started, since 1970.
    start: Duration,
    /// Nanoseconds from there to the attempt's end.
    limit: u64,
    /// Nanoseconds since the start.
    elapsed: AtomicU64,
}

impl GuestTime {
    /// The time of an attempt, which has just started.
    pub(super) fn of(attempt: &Attempt) -> Self {
        GuestTime(Arc::new(Moving {
            start: (attempt.started_at - Timestamp::UNIX_EPOCH)
                .to_std()
                .unwrap_or_default(),
            limit: nanoseconds(attempt.time().0),
            elapsed: AtomicU64::new(0),
        }))
    }

    /// Looks at the clock: nanoseconds since the start.
    fn read(&self) -> u64 {
        let next = |elapsed: u64| Some(elapsed.saturating_add(READING));
        let before = self
            .0
            .elapsed
            .try_update(Ordering::Relaxed, Ordering::Relaxed, next);
        before.unwrap_or(u64::MAX)
    }

    /// Has the clock show at least this much.
    fn move_to(&self, at: u64) {
        self.0.elapsed.fetch_max(at, Ordering::Relaxed);
    }

    /// Waits for nothing but the time that lies so many nanoseconds after the start.
    ///
    /// # Errors
    /// [`Ended`] if the attempt's end comes first.
    async fn wait_until(&self, at: u64) -> wasmtime::Result<()> {
        if at > self.0.limit {
            return Err(Ended::TimedOut.into());
        }
        self.move_to(at);
        // A guest that does nothing but sleep is to let others have the thread all the same.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// What the clock shows, without a look at it that would move it.
    fn elapsed(&self) -> u64 {
        self.0.elapsed.load(Ordering::Relaxed)
    }

    /// How long is really waited for a time that is waited for beside something else.
    fn left(&self, at: u64) -> Duration {
        Duration::from_nanos(at.saturating_sub(self.elapsed()))
    }
}

impl HostWallClock for GuestTime {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(READING)
    }

    fn now(&self) -> Duration {
        self.0
            .start
            .saturating_add(Duration::from_nanos(self.read()))
    }
}

impl HostMonotonicClock for GuestTime {
    fn resolution(&self) -> u64 {
        READING
    }

    fn now(&self) -> u64 {
        self.read()
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The timers of one deterministic run.
#[derive(Debug)]
pub(super) struct Timers {
    time: GuestTime,
    /// When each is due, in nanoseconds since the start, by the index of its pollable.
    due: HashMap<u32, u64>,
    /// Who sleeps in WASI 0.3.
    #[cfg(feature = "wasi-03")]
    sleepers: sleep::Sleepers,
}

impl Timers {
    /// No timers yet.
    pub(super) fn new(time: GuestTime) -> Self {
        Timers {
            time,
            due: HashMap::new(),
            #[cfg(feature = "wasi-03")]
            sleepers: sleep::Sleepers::default(),
        }
    }
}

#[cfg(test)]
mod tests;
