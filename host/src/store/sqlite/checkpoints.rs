//! The write-ahead log, copied into the file where no run waits for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::file::{self, OpenError};

/// How often a thread of its own looks whether there is enough to copy.
const EVERY: Duration = Duration::from_secs(1);

/// How long the log is before it is worth it.
const ENOUGH: u64 = 4 << 20;

/// How long it may become. While many write, the copying does not come to the end of it, which
/// alone would let it begin anew; then the thread that writes sees to that itself.
const LONGEST: u64 = 64 << 20;

/// How long those who read are waited for at the end.
const LAST: Duration = Duration::from_millis(500);

/// After how many transactions the thread that writes looks at the length of the log.
const LOOKS: u32 = 64;

/// The thread that copies. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Checkpoints {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts the thread for a file.
    ///
    /// # Errors
    /// The file cannot be opened once more.
    pub(super) fn start(path: &Path) -> Result<Checkpoints, OpenError> {
        let connection = Connection::open(path).map_err(|error| file::name(path, &error))?;
        let log = Log::of(path);
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new()
            .name("store-checkpoints".to_owned())
            .spawn(move || {
                while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(EVERY) {
                    if log.length() > ENOUGH {
                        copy(&connection);
                    }
                }
            })
            .map_err(|error| OpenError::Directory {
                path: path.to_owned(),
                error,
            })?;
        Ok(Checkpoints {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic of its own has been told.
            let _ = thread.join();
        }
    }
}

/// The write-ahead log of a file.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    /// Transactions since its length was last looked at.
    transactions: u32,
}

impl Log {
    /// The log of the file at `path`.
    pub(super) fn of(path: &Path) -> Log {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        Log {
            path: log.into(),
            transactions: 0,
        }
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |it| it.len())
    }

    /// Called after each transaction, on the thread that writes.
    pub(super) fn keep_short(&mut self, connection: &Connection) {
        self.transactions += 1;
        if self.transactions >= LOOKS {
            self.transactions = 0;
            if self.length() > LONGEST {
                copy(connection);
            }
        }
    }

    /// Called after the last transaction: the file is whole by itself then, unless somebody reads
    /// it for long.
    pub(super) fn finish(&self, connection: &Connection) {
        let whole = connection.busy_timeout(LAST).and_then(|()| {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        });
        if !matches!(whole, Ok(0)) {
            copy(connection);
        }
    }
}

/// Copies as much of the log into the file as nobody still reads.
fn copy(connection: &Connection) {
    let copied = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    if let Err(error) = copied {
        // What is in the log is not lost: it is copied the next time.
        tracing::debug!(%error, "the log of the store is not copied yet");
    }
}
