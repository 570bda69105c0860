//! A stream into a file beneath a directory with a quota.

use std::fs::File;
use std::io;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynOutputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::quota::{Allowed, Full, Growth, Quota};

/// Writes to a file while the quota has room.
pub(super) struct Metered {
    inner: DynOutputStream,
    file: Arc<File>,
    quota: Arc<Quota>,
    /// Where the next bytes go; at the end of the file without one.
    position: Option<u64>,
    state: State,
    /// Growth that was handed on and may not have happened yet.
    in_flight: Allowed,
}

enum State {
    /// It can be written to.
    Open,
    /// These bytes wait for another look at the directory.
    Waiting(Bytes),
    /// There was no room, which has yet to be said.
    Full,
    /// It has been said.
    Closed,
}

/// The error that the guest gets.
fn no_space() -> StreamError {
    StreamError::LastOperationFailed(io::Error::from(Errno::NOSPC).into())
}

impl Metered {
    /// A stream into `file` from a position on or, without one, at its end.
    pub(super) fn new(
        inner: DynOutputStream,
        file: Arc<File>,
        quota: Arc<Quota>,
        position: Option<u64>,
    ) -> Metered {
        Metered {
            inner,
            file,
            quota,
            position,
            state: State::Open,
            in_flight: Allowed::nothing(),
        }
    }

    fn growth(&self, bytes: usize) -> Growth {
        Growth::of_write(&self.file, self.position, bytes)
    }

    /// Hands on what there is room for.
    fn send(&mut self, bytes: Bytes, growth: Allowed) -> StreamResult<()> {
        self.advance(bytes.len());
        self.in_flight.add(growth);
        self.inner.write(bytes)
    }

    fn advance(&mut self, bytes: usize) {
        if let Some(position) = &mut self.position {
            *position = position.saturating_add(bytes as u64);
        }
    }

    fn landed(&mut self) {
        self.in_flight = Allowed::nothing();
    }

    fn refuse(&mut self, full: Full) {
        self.quota.note(full);
        self.state = State::Full;
    }

    /// Says, once, that there was no room.
    fn said(&mut self) -> StreamResult<()> {
        match self.state {
            State::Open | State::Waiting(_) => Ok(()),
            State::Full => {
                self.state = State::Closed;
                Err(no_space())
            }
            State::Closed => Err(StreamError::Closed),
        }
    }
}

#[async_trait]
impl OutputStream for Metered {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        match self.state {
            State::Open => {}
            State::Closed => return Err(StreamError::Closed),
            State::Waiting(_) | State::Full => {
                return Err(StreamError::trap("a write without a permit"));
            }
        }
        if let Some(growth) = self.quota.take(self.growth(bytes.len())) {
            return self.send(bytes, growth);
        }
        // This may not wait: `ready` does.
        self.state = State::Waiting(bytes);
        Ok(())
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.ready().await;
        self.said()?;
        let growth = self.growth(bytes.len());
        let _allowed = match self.quota.room(growth).await {
            Ok(allowed) => allowed,
            Err(full) => {
                self.refuse(full);
                return self.said();
            }
        };
        let length = bytes.len();
        self.inner.blocking_write_and_flush(bytes).await?;
        self.advance(length);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.said()?;
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.said()?;
        if matches!(self.state, State::Waiting(_)) {
            return Ok(0);
        }
        let permit = self.inner.check_write()?;
        if permit > 0 {
            self.landed();
        }
        Ok(permit)
    }

    async fn cancel(&mut self) {
        // What was accepted is written, if there is room.
        self.ready().await;
        self.inner.cancel().await;
        self.landed();
        self.state = State::Closed;
    }
}

#[async_trait]
impl Pollable for Metered {
    async fn ready(&mut self) {
        self.inner.ready().await;
        self.landed();
        // Kept until there is an answer: this may be dropped while it waits.
        let State::Waiting(bytes) = &self.state else {
            return;
        };
        let growth = self.growth(bytes.len());
        let allowed = match self.quota.room(growth).await {
            Ok(allowed) => allowed,
            Err(full) => {
                self.refuse(full);
                return;
            }
        };
        if let State::Waiting(bytes) = mem::replace(&mut self.state, State::Open)
            && self.send(bytes, allowed).is_err()
        {
            // The file's own error was said before; the stream is over.
            self.state = State::Closed;
            return;
        }
        self.inner.ready().await;
        self.landed();
    }
}
