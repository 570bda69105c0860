//! SIGINT (^C) and SIGTERM, counted.
//!
//! They are listened to on a thread of their own: compiling a large plugin may keep the main
//! thread busy for seconds, and ^C must be heard at once all the same.

use std::sync::mpsc;

use super::{Exit, Refusal};

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
    let _ = ready.send(Ok(()));
    for count in 1.. {
        let exit = tokio::select! {
            Some(()) = interrupt.recv() => Exit::Interrupted,
            Some(()) = terminate.recv() => Exit::Terminated,
            else => break,
        };
        heard(count, exit);
    }
    Ok(())
}

#[cfg(not(unix))]
async fn wait(mut heard: impl FnMut(u32, Exit), ready: &Ready) -> std::io::Result<()> {
    let _ = ready.send(Ok(()));
    for count in 1.. {
        tokio::signal::ctrl_c().await?;
        heard(count, Exit::Interrupted);
    }
    Ok(())
}
