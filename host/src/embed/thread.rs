//! The thread of a scheduler: it puts the host together, runs it, and tells of its end.

use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use super::error::Error;
use super::scheduler::Inner;
use crate::app::{AppError, Assembled, Assembly, Stop};
use crate::control::{Command, Control};
use crate::event::{Event, Events, Subscription};
use crate::store::Store;

/// How long whoever lets go of a scheduler waits until all is recorded.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long after a skip its record may be on its way.
const RECORDED: [u64; 4] = [5, 50, 500, 2_000];

/// How many milliseconds a store is waited for that somebody else works with.
const LETTING_GO: u32 = 2_000;

/// What the thread needs of the handles.
pub(super) struct Ends {
    pub(super) commands: mpsc::Receiver<Command>,
    /// What tells it, for its own jobs.
    pub(super) control: Control,
    /// Every event, from the first on.
    pub(super) news: Subscription,
}

/// Stops the scheduler when the last handle is gone.
pub(super) struct Guard {
    stop: Stop,
    ended: Mutex<std_mpsc::Receiver<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop.force();
        // An error means that it has ended, or takes too long: then the next start finds what is
        // missing, and tells of it.
        let _ = self.ended.lock().recv_timeout(LAST_WORDS);
    }
}

/// Starts the thread, and waits until the host is put together.
pub(super) async fn start(
    inner: &Arc<Inner>,
    ends: Ends,
    assembly: Assembly,
    grace: Duration,
) -> Result<Guard, Error> {
    let (told, started) = oneshot::channel();
    let (end, ended) = std_mpsc::sync_channel(1);
    let stop = inner.stop.clone();
    let weak = Arc::downgrade(inner);
    let events = inner.events.clone();
    let last = Last {
        closed: inner.closed.clone(),
        ended: inner.ended.clone(),
        inner: weak.clone(),
        events: events.clone(),
        told: end,
    };
    std::thread::Builder::new()
        .name("quarterjack".to_owned())
        .spawn(move || {
            // Also if it panics: nobody is to wait for ever.
            let _last = last;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => {
                    // Nobody waits any more: nobody to tell.
                    let _ = told.send(Err(AppError::Threads(error)));
                    return;
                }
            };
            runtime.block_on(async move {
                let Ends {
                    commands,
                    control,
                    news,
                } = ends;
                let opening = open(assembly, (control, commands), events).await;
                let (store, mut host) = match opening {
                    Ok(opened) => opened,
                    Err(error) => {
                        let _ = told.send(Err(error));
                        return;
                    }
                };
                let awaited = tokio::spawn(tell_of_ends(news, weak));
                if told.send(Ok(store)).is_err() {
                    // Whoever started it has gone away meanwhile.
                    stop.force();
                }
                host.run(grace, &stop).await;
                // Ends when the events do.
                let _ = awaited.await;
                host.close().await;
            });
            // What blocks a thread of it does not hold up the end.
            runtime.shutdown_background();
        })
        .map_err(Error::Thread)?;
    let guard = Guard {
        stop: inner.stop.clone(),
        ended: Mutex::new(ended),
    };
    let store = started.await.map_err(|_| Error::Stopped)??;
    *inner.store.lock() = Some(store);
    Ok(guard)
}

/// Tells of the end of the thread when it is dropped.
struct Last {
    closed: watch::Sender<bool>,
    ended: watch::Sender<bool>,
    inner: Weak<Inner>,
    events: Events,
    told: std_mpsc::SyncSender<()>,
}

impl Drop for Last {
    fn drop(&mut self) {
        self.events.close();
        let inner = self.inner.upgrade();
        let store = inner.and_then(|inner| inner.store.lock().take());
        self.closed.send_replace(true);
        if let Some(store) = store {
            let_go(store);
        }
        self.ended.send_replace(true);
        // Nobody waits: the scheduler was shut down before it was let go of.
        let _ = self.told.try_send(());
    }
}

/// Lets go of a store, and waits until everybody else has: whoever comes next is to find its
/// directory free.
fn let_go(store: Arc<dyn Store>) {
    let weak = Arc::downgrade(&store);
    drop(store);
    for _ in 0..LETTING_GO {
        if weak.strong_count() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    tracing::warn!("something still works with the store of a scheduler that has stopped");
}

/// What a host is put together to, and its store.
type Opening = (Arc<dyn Store>, Assembled);

async fn open(
    assembly: Assembly,
    commands: (Control, mpsc::Receiver<Command>),
    events: Events,
) -> Result<Opening, AppError> {
    let opened = assembly.open()?;
    let store = opened.store.clone();
    let recovered = store.recover().await?;
    let host = assembly
        .assemble(opened, recovered, commands, events)
        .await?;
    Ok((store, host))
}

/// Wakes those who wait for the ends of runs.
async fn tell_of_ends(mut news: Subscription, inner: Weak<Inner>) {
    while let Some(stamped) = news.recv().await {
        let Some(inner) = inner.upgrade() else {
            return;
        };
        if news.take_lost() > 0 {
            inner.awaited.wake(|_, _| true);
        }
        match stamped.event {
            Event::RunFinished { run } => {
                let ended = run.attempt.run.id;
                inner.awaited.wake(|run, _| run == ended);
            }
            Event::RunSkipped { job, .. } => {
                if !inner.awaited.wake(|_, awaited| *awaited == job.id) {
                    continue;
                }
                // Its record is told to the store, and may not be there yet.
                let weak = Arc::downgrade(&inner);
                tokio::spawn(async move {
                    for millis in RECORDED {
                        tokio::time::sleep(Duration::from_millis(millis)).await;
                        let Some(inner) = weak.upgrade() else { return };
                        inner.awaited.wake(|_, awaited| *awaited == job.id);
                    }
                });
            }
            _ => {}
        }
    }
    if let Some(inner) = inner.upgrade() {
        inner.awaited.wake(|_, _| true);
    }
}
