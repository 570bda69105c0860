//! SIGINT (^C) and SIGTERM, counted.
//!
//! They are listened to on a thread of their own: compiling a large plugin may keep the main
//! thread busy for seconds, and ^C must be heard at once all the same.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Exit, Refusal};
use crate::clock;

/// Within this time of the first, another signal of the same kind counts for nothing. Some send
/// one to a process and to the group that it is in; a person takes longer to insist.
const TOGETHER: Duration = Duration::from_millis(200);

/// Counts signals.
#[derive(Default)]
struct Count {
    signals: u32,
    last: Option<(Exit, Instant)>,
}

impl Count {
    /// Counts a signal; gives nothing for one that came together with another.
    fn add(&mut self, exit: Exit, now: Instant) -> Option<u32> {
        if let Some((last, at)) = self.last
            && last == exit
            && now.duration_since(at) < TOGETHER
        {
            return None;
        }
        self.last = Some((exit, now));
        self.signals += 1;
        Some(self.signals)
    }
}

/// Calls `heard` on each signal that asks the process to end, with how many there have been,
/// this one included, and the exit code of a process that it ends at once.
///
/// # Errors
/// The signals cannot be listened to.
pub(super) fn listen(heard: impl FnMut(u32, Exit) + Send + 'static) -> Result<(), Refusal> {
    let (ready, is_ready) = mpsc::channel();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build();
            let result = match runtime {
                Ok(runtime) => runtime.block_on(wait(heard, &ready)),
                Err(error) => Err(error),
            };
            // Nobody listens any more if this comes after the first success.
            let _ = ready.send(result);
        })
        .map_err(refused)?;
    match is_ready.recv() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(refused(error)),
        Err(mpsc::RecvError) => Err(refused("the thread ended")),
    }
}

fn refused(error: impl std::fmt::Display) -> Refusal {
    Refusal::failure(format_args!("cannot listen to signals: {error}"))
}

type Ready = mpsc::Sender<std::io::Result<()>>;

#[cfg(unix)]
async fn wait(mut heard: impl FnMut(u32, Exit), ready: &Ready) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Whoever limits the size of files gets an error from each write, and not a dead host.
    let _too_large = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
    let _ = ready.send(Ok(()));
    let mut count = Count::default();
    loop {
        let exit = tokio::select! {
            Some(()) = interrupt.recv() => Exit::Interrupted,
            Some(()) = terminate.recv() => Exit::Terminated,
            else => return Ok(()),
        };
        if let Some(count) = count.add(exit, clock::monotonic()) {
            heard(count, exit);
        }
    }
}

#[cfg(not(unix))]
async fn wait(mut heard: impl FnMut(u32, Exit), ready: &Ready) -> std::io::Result<()> {
    let _ = ready.send(Ok(()));
    let mut count = Count::default();
    loop {
        tokio::signal::ctrl_c().await?;
        if let Some(count) = count.add(Exit::Interrupted, clock::monotonic()) {
            heard(count, Exit::Interrupted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_come_together_are_one() {
        let start = clock::monotonic();
        let after = |millis| start + Duration::from_millis(millis);
        let mut count = Count::default();
        assert_eq!(count.add(Exit::Interrupted, start), Some(1));
        assert_eq!(count.add(Exit::Interrupted, after(1)), None);
        assert_eq!(count.add(Exit::Interrupted, after(199)), None);
        // Another kind is meant.
        assert_eq!(count.add(Exit::Terminated, after(199)), Some(2));
        assert_eq!(count.add(Exit::Terminated, after(399)), Some(3));
    }
}
