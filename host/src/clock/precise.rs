//! Sleeps that end within a fraction of a millisecond of when they should. The executor's own
//! timers keep to whole milliseconds, round up twice, and so are one late on average and two at
//! most: more than all else that comes between an instant and the start of what is due at it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How long before its end a sleep becomes precise: what comes before costs less, and may be late
/// by less than this.
const FINAL: Duration = Duration::from_millis(4);

/// Sleeps for so long or less: whoever wants to sleep until an instant asks again.
pub(super) async fn nap(length: Duration) {
    if length > FINAL * 2 {
        tokio::time::sleep(length - FINAL).await;
        return;
    }
    match timer(length) {
        // That it cannot be waited for is no different from that it is over.
        Ok(timer) => drop(timer.readable().await),
        // The process has too many files open.
        Err(_) => tokio::time::sleep(length).await,
    }
}

/// A timer of the system's that can be read when the time is over.
fn timer(length: Duration) -> io::Result<AsyncFd<OwnedFd>> {
    let timer = timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
    )?;
    let zero = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let once = Itimerspec {
        it_interval: zero,
        // A timer of no length would never end.
        it_value: Timespec::try_from(length.max(Duration::from_nanos(1)))
            .map_err(|_| io::ErrorKind::InvalidInput)?,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
    // Deprecated for types that may come to stand for another descriptor while it is registered,
    // which this one never does. What is to be used instead is `unsafe`.
    #[allow(deprecated)]
    AsyncFd::with_interest(timer, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use super::super::monotonic;
    use super::*;

    #[tokio::test]
    async fn a_nap_is_as_long_as_it_should_be() {
        for length in [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_micros(300),
            Duration::from_millis(2),
        ] {
            let started = monotonic();
            nap(length).await;
            assert!(started.elapsed() >= length, "{length:?}");
        }
        // One that is long ends before its end.
        nap(FINAL * 2 + Duration::from_millis(1)).await;
    }
}
