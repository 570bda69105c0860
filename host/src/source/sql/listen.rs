//! Listens to what a PostgreSQL server tells of changes.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use tokio_postgres::AsyncMessage;

use super::Failure;
use super::postgres::{Server, block_on};

/// The pause before a connection that broke is made again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest of these pauses, each of which is twice the one before.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A thread with a connection that listens, for as long as this lives.
pub(super) struct Listener {
    told: Arc<Told>,
    /// Ends the thread when it is dropped.
    _end: oneshot::Sender<()>,
}

/// Whether there may be something new.
#[derive(Default)]
struct Told {
    news: Mutex<bool>,
    changed: Condvar,
}

impl Told {
    fn tell(&self) {
        *self.news.lock() = true;
        self.changed.notify_all();
    }
}

impl Listener {
    /// Begins to listen on a channel.
    pub(super) fn start(name: Arc<str>, server: Arc<Server>, channel: String) -> Self {
        let told = Arc::new(Told::default());
        let (end, ended) = oneshot::channel();
        let tell = told.clone();
        let listen = move || {
            let _ = block_on(async {
                tokio::select! {
                    () = listen(&name, &server, &channel, &tell) => {}
                    _ = ended => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("listen".into());
        if let Err(error) = thread.spawn(listen) {
            tracing::warn!(%error, "{UNTOLD}");
        }
        Listener { told, _end: end }
    }

    /// Waits for news, but no longer than `timeout`. Whether there are any.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let mut news = self.told.news.lock();
        if !*news {
            self.told.changed.wait_for(&mut news, timeout);
        }
        std::mem::take(&mut *news)
    }
}

const UNTOLD: &str = "a database cannot tell of changes: they are found at the next refresh";

/// Tells whenever the server does. Never ends.
async fn listen(name: &str, server: &Server, channel: &str, told: &Told) {
    let mut pause = FIRST_PAUSE;
    let mut said = None;
    loop {
        let heard = follow(server, channel, told).await;
        let failure = match heard {
            Heard::Nothing(failure) => failure,
            Heard::Some(failure) => {
                // It worked for a while.
                (pause, said) = (FIRST_PAUSE, None);
                failure
            }
        };
        if said.as_ref() != Some(&failure) {
            tracing::warn!(source = name, channel, why = %failure, "{UNTOLD}");
            said = Some(failure);
        }
        // Not all hosts at the same moment.
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// How listening ended.
enum Heard {
    /// It never began.
    Nothing(Failure),
    /// It worked until then.
    Some(Failure),
}

/// Listens until the connection breaks.
async fn follow(server: &Server, channel: &str, told: &Told) -> Heard {
    let (client, mut link) = match server.connect().await {
        Ok(connected) => connected,
        Err(failure) => return Heard::Nothing(failure),
    };
    let mut listening = false;
    let statement = format!("LISTEN \"{}\"", channel.replace('"', "\"\""));
    let mut ask = std::pin::pin!(client.batch_execute(&statement));
    loop {
        let message = poll_fn(|context| link.poll_message(context));
        let message = tokio::select! {
            message = message => message,
            asked = &mut ask, if !listening => match asked {
                Ok(()) => {
                    listening = true;
                    // What happened before nobody was told of.
                    told.tell();
                    continue;
                }
                Err(error) => return Heard::Nothing(server.failure(&error, 0)),
            },
        };
        let failure = match message {
            Some(Ok(AsyncMessage::Notification(_))) => {
                told.tell();
                continue;
            }
            // A notice: nothing to us.
            Some(Ok(_)) => continue,
            Some(Err(error)) => server.failure(&error, 0),
            None => Failure::new(
                "the server has closed the connection",
                "is it being restarted?",
            ),
        };
        return if listening {
            Heard::Some(failure)
        } else {
            Heard::Nothing(failure)
        };
    }
}
