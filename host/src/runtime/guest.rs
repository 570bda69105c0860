//! What the host keeps of one running guest: what it has used, what it may still use, and what
//! it prints.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, UpdateDeadline};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView};

use super::capability::{Desk, http_context};
use super::determinism::{GuestTime, Timers};
use super::lines::Lines;
use crate::clock;
use crate::dispatcher::CancelReason;
use crate::log::LogStream;
use crate::run::LogEntry;
use crate::secret::{self as redact, Redactor};

/// The host's side of one guest; the data of its store.
pub struct GuestState {
    meter: Meter,
    deadline: Option<Instant>,
    desk: Desk,
    wasi: Wasi,
    http: WasiHttpCtx,
    /// What a component holds of the host. A core module's is in its context.
    table: ResourceTable,
    /// Those of a deterministic run.
    timers: Option<Timers>,
}

/// The WASI that a guest sees. A guest that imports none costs none.
pub enum Wasi {
    /// For components.
    P2(Box<WasiCtx>),
    /// For core modules.
    P1(Box<WasiP1Ctx>),
    /// For components that import nothing of WASI.
    None,
}

/// Why the host ended a guest that was computing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// Its time was up.
    #[error("its time was up")]
    TimedOut,
    /// It was cancelled.
    #[error("{0}")]
    Cancelled(CancelReason),
}

impl GuestState {
    /// The state of a guest whose attempt is to end at `deadline`, with a time of its own if it
    /// has one.
    pub(super) fn new(
        desk: Desk,
        deadline: Option<Instant>,
        wasi: Wasi,
        memory: Arc<HostMemory>,
        time: Option<GuestTime>,
    ) -> Self {
        let limits = &desk.attempt.run.job.limits;
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles as usize);
        GuestState {
            meter: Meter::new(limits.memory, memory),
            deadline,
            desk,
            wasi,
            http: http_context(),
            table,
            timers: time.map(Timers::new),
        }
    }

    /// The timers of a deterministic run, and its time.
    pub(super) fn timers(&mut self) -> Option<&mut Timers> {
        self.timers.as_mut()
    }

    /// What serves the guest.
    pub(super) fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }

    /// What the guest, a component, holds of the host.
    pub(super) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// The parts of it that `wasi:http` works with.
    pub(super) fn view_http(&mut self) -> WasiHttpCtxView<'_> {
        self.desk.collect();
        WasiHttpCtxView {
            hooks: &mut self.desk,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }

    /// What the guest has used.
    pub fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }

    /// The WASI 0.1 context.
    ///
    /// # Panics
    /// If the guest is not a core module. Only the linker of core modules calls this, and only
    /// the state of a core module is run with it.
    #[allow(clippy::panic)]
    pub fn wasi_p1(&mut self) -> &mut WasiP1Ctx {
        match &mut self.wasi {
            Wasi::P1(context) => context,
            _ => panic!("a component called a function of WASI 0.1"),
        }
    }

    /// Called while the guest computes, every few milliseconds: ends it if its time is up, and
    /// otherwise lets others have the thread for a moment.
    ///
    /// # Errors
    /// [`Ended`], which ends the guest.
    pub fn on_tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        if let Some(reason) = self.desk.end_now() {
            return Err(Ended::Cancelled(reason).into());
        }
        // A tick may come early after a stall of the ticker: only the clock decides.
        if self
            .deadline
            .is_some_and(|deadline| clock::monotonic() >= deadline)
        {
            return Err(Ended::TimedOut.into());
        }
        Ok(UpdateDeadline::Yield(1))
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.desk.collect();
        if !matches!(self.wasi, Wasi::P2(..)) {
            // Never reached by a guest that was prepared for what it imports.
            self.wasi = Wasi::P2(Box::default());
        }
        match &mut self.wasi {
            Wasi::P2(ctx) => WasiCtxView {
                ctx,
                table: &mut self.table,
            },
            #[allow(clippy::unreachable)] // set just above
            _ => unreachable!(),
        }
    }
}

/// Counts the memory of a guest, all memories and tables together, and refuses what passes the
/// limit.
#[derive(Debug)]
pub struct Meter {
    limit: u64,
    used: u64,
    /// What all guests of the host have together.
    all: Arc<HostMemory>,
    /// What was used before the last growth, which may yet fail.
    before: u64,
    refused: Option<Refusal>,
}

/// The memory of all guests that run, together.
#[derive(Debug)]
pub struct HostMemory {
    limit: u64,
    used: AtomicU64,
}

impl HostMemory {
    /// At most `limit` bytes for all guests together.
    pub fn new(limit: u64) -> Self {
        HostMemory {
            limit,
            used: AtomicU64::new(0),
        }
    }

    /// The most bytes that all guests may have together.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// How many bytes they have.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes so many bytes more, if there are as many.
    fn take(&self, bytes: u64) -> bool {
        let take = |used: u64| used.checked_add(bytes).filter(|after| *after <= self.limit);
        self.used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The first growth that a guest was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It would have held this many bytes, more than its limit.
    Limit(u64),
    /// One of its memories or tables would have had this many bytes, more than the most that
    /// it declares itself or that the host allows one to have.
    Maximum(u64),
    /// All guests together would have held more than this many bytes, which the host allows them.
    Together(u64),
    /// The host had no more.
    Host,
}

/// Bytes of one element of a table.
const TABLE_ELEMENT: u64 = size_of::<usize>() as u64;

impl Meter {
    /// A meter that has counted nothing yet.
    pub fn new(limit: u64, all: Arc<HostMemory>) -> Self {
        Meter {
            limit,
            used: 0,
            all,
            before: 0,
            refused: None,
        }
    }

    /// The most bytes held at once. Memories never shrink, so it is what is held now.
    pub fn peak(&self) -> u64 {
        self.used
    }

    /// The first growth that was refused.
    pub fn refused(&self) -> Option<Refusal> {
        self.refused
    }

    fn grow(&mut self, current: u64, desired: u64, maximum: Option<u64>) -> bool {
        let wanted = self.used.saturating_add(desired.saturating_sub(current));
        let refusal = if wanted > self.limit {
            Refusal::Limit(wanted)
        } else if maximum.is_some_and(|maximum| desired > maximum) {
            Refusal::Maximum(desired)
        } else if !self.all.take(wanted - self.used) {
            Refusal::Together(self.all.limit())
        } else {
            self.before = self.used;
            self.used = wanted;
            return true;
        };
        self.refused.get_or_insert(refusal);
        false
    }

    /// The growth that was just allowed did not come about. To the guest it is a refusal like
    /// any other.
    fn growth_failed(&mut self) {
        self.all.give_back(self.used - self.before);
        self.used = self.before;
        self.refused.get_or_insert(Refusal::Host);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.all.give_back(self.used);
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = |size: usize| size as u64;
        Ok(self.grow(bytes(current), bytes(desired), maximum.map(bytes)))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = |elements: usize| (elements as u64).saturating_mul(TABLE_ELEMENT);
        Ok(self.grow(bytes(current), bytes(desired), maximum.map(bytes)))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.growth_failed();
        Ok(())
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.growth_failed();
        Ok(())
    }
}

/// Which of its two streams a guest writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// What a command leaves behind.
    Output,
    /// What it says along the way.
    Log,
}

/// Told of every piece that a guest writes, as it writes it.
pub type Echo = Arc<dyn Fn(Stream, &[u8]) + Send + Sync>;

/// What becomes of what a guest writes to a stream.
pub struct Pipe {
    /// How many bytes are kept.
    pub limit: u64,
    /// How many bytes may come in a second, and at once.
    pub rate: Option<u64>,
    /// What blots secrets out.
    pub redactor: Option<Arc<Redactor>>,
    /// Who is told.
    pub echo: Option<(Stream, Echo)>,
    /// Where its lines go.
    pub(super) lines: Option<Lines>,
}

impl Pipe {
    /// One that keeps so many bytes, as they come.
    pub fn of(limit: u64) -> Self {
        Pipe {
            limit,
            rate: None,
            redactor: None,
            echo: None,
            lines: None,
        }
    }
}

/// A stream that keeps the first bytes up to a limit, and counts and drops the rest. A guest
/// that floods it costs time, which has its own limit, and no memory.
#[derive(Clone)]
pub struct CappedPipe {
    shared: Arc<Mutex<Capped>>,
    /// What its lines are called.
    stream: LogStream,
}

struct Capped {
    kept: Vec<u8>,
    limit: usize,
    dropped: u64,
    rate: Option<Rate>,
    redactor: Option<Box<redact::Stream>>,
    echo: Option<(Stream, Echo)>,
    lines: Option<Lines>,
}

/// How much a guest may write in one go.
const WRITE_PERMIT: usize = 64 << 10;

impl CappedPipe {
    /// A pipe that nothing has been written to.
    pub fn new(pipe: Pipe) -> Self {
        CappedPipe {
            shared: Arc::new(Mutex::new(Capped {
                kept: Vec::new(),
                limit: usize::try_from(pipe.limit).unwrap_or(usize::MAX),
                dropped: 0,
                rate: pipe.rate.map(Rate::new),
                redactor: (pipe.redactor).map(|redactor| Box::new(redact::Stream::new(redactor))),
                echo: pipe.echo,
                lines: pipe.lines,
            })),
            stream: LogStream::Stderr,
        }
    }

    /// Another way into the same pipe, whose lines are called so.
    pub(super) fn called(&self, stream: LogStream) -> CappedPipe {
        CappedPipe {
            shared: self.shared.clone(),
            stream,
        }
    }

    /// Takes what was kept, and how many bytes were dropped. Nothing is written after that.
    pub fn take(&self) -> (Vec<u8>, u64) {
        let mut shared = self.shared.lock();
        drop(shared.lines.take());
        if let Some(stream) = shared.redactor.take() {
            let rest = stream.finish();
            shared.keep(&rest);
        }
        (std::mem::take(&mut shared.kept), shared.dropped)
    }

    /// Adds a line of the host's own making, after what is there. False if there is no room left
    /// for all of it.
    pub fn line(&self, line: &str) -> bool {
        let mut shared = self.shared.lock();
        if let Some(lines) = &mut shared.lines {
            lines.note(line);
        }
        shared.line(line)
    }

    /// Adds an entry as a line, in the same way.
    pub fn entry(&self, entry: &LogEntry) -> bool {
        let mut shared = self.shared.lock();
        if let Some(lines) = &mut shared.lines {
            lines.entry(entry);
        }
        shared.line(&entry.to_string())
    }

    fn push(&self, bytes: &[u8]) {
        let mut shared = self.shared.lock();
        if let Some(lines) = &mut shared.lines {
            lines.push(self.stream, bytes);
        }
        shared.push(bytes);
    }
}

impl Capped {
    /// Adds a line after what is there. False if there is no room left for all of it.
    fn line(&mut self, line: &str) -> bool {
        let mut text = String::with_capacity(line.len() + 2);
        if self.kept.last().is_some_and(|last| *last != b'\n') {
            text.push('\n');
        }
        text.push_str(line);
        text.push('\n');
        self.push(text.as_bytes())
    }

    /// False if not all of it was kept.
    fn push(&mut self, bytes: &[u8]) -> bool {
        match &mut self.redactor {
            Some(stream) => {
                // Before anything is cut off, so that no half of a secret is left at the cut.
                let clean = stream.push(bytes);
                self.keep(&clean)
            }
            None => self.keep(bytes),
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> bool {
        let room = self.limit - self.kept.len();
        let allowed = match &mut self.rate {
            Some(rate) => rate.take(bytes.len()),
            None => bytes.len(),
        };
        let shown = bytes.get(..allowed).unwrap_or(bytes);
        let kept = shown.get(..room).unwrap_or(shown);
        self.kept.extend_from_slice(kept);
        self.dropped += (bytes.len() - kept.len()) as u64;
        if let Some((stream, echo)) = &self.echo {
            echo(*stream, shown);
        }
        kept.len() == bytes.len()
    }
}

/// How many bytes may come: so many in a second, and as many at once.
pub(super) struct Rate {
    per_second: u64,
    left: u64,
    since: Option<Instant>,
}

impl Rate {
    pub(super) fn new(per_second: u64) -> Self {
        Rate {
            per_second,
            left: per_second,
            since: None,
        }
    }

    /// Takes as many of some bytes as may come now.
    pub(super) fn take(&mut self, wanted: usize) -> usize {
        // The clock is only looked at by those who write much.
        if self.left < wanted as u64 {
            let now = clock::monotonic();
            let since = self.since.replace(now);
            let gained = since.map_or(Duration::ZERO, |since| now.duration_since(since));
            self.gain(gained);
        }
        let taken = self.left.min(wanted as u64);
        self.left -= taken;
        usize::try_from(taken).unwrap_or(wanted)
    }

    fn gain(&mut self, time: Duration) {
        let bytes = time.as_secs_f64() * self.per_second as f64;
        // Never more than one second's worth, so that the number fits.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bytes = bytes.min(self.per_second as f64) as u64;
        self.left = self.left.saturating_add(bytes).min(self.per_second);
    }
}

impl IsTerminal for CappedPipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for CappedPipe {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for CappedPipe {
    async fn ready(&mut self) {}
}

impl OutputStream for CappedPipe {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT)
    }
}

impl AsyncWrite for CappedPipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let bytes = bytes.get(..WRITE_PERMIT).unwrap_or(bytes);
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_keeps_its_limit_and_counts_the_rest() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let echo: Echo = Arc::new({
            let seen = seen.clone();
            move |_, bytes: &[u8]| seen.lock().extend_from_slice(bytes)
        });
        let pipe = CappedPipe::new(Pipe {
            echo: Some((Stream::Log, echo)),
            ..Pipe::of(5)
        });
        pipe.push(b"abc");
        pipe.push(b"defg");
        pipe.push(b"h");
        assert_eq!(pipe.take(), (b"abcde".to_vec(), 3));
        assert_eq!(*seen.lock(), b"abcdefgh");
    }

    #[test]
    fn no_half_of_a_secret_is_left_where_a_pipe_is_full() {
        let secret = crate::secret::Secret::new(b"s3cret".to_vec()).unwrap();
        let redactor = Redactor::new([(&"key".into(), &secret)]);
        let redactor = redactor.unwrap().map(Arc::new);
        let pipe = |limit| {
            CappedPipe::new(Pipe {
                redactor: redactor.clone(),
                ..Pipe::of(limit)
            })
        };
        let small = pipe(5);
        small.push(b"is s3c");
        small.push(b"ret");
        assert_eq!(small.take(), (b"is [s".to_vec(), 10));
        let large = pipe(50);
        large.push(b"is s3c");
        assert_eq!(large.take(), (b"is s3c".to_vec(), 0));
    }

    #[test]
    fn a_rate_lets_a_seconds_worth_through_at_once() {
        let mut rate = Rate::new(100);
        assert_eq!((rate.take(60), rate.take(60)), (60, 40));
        rate.gain(Duration::from_millis(500));
        assert_eq!(rate.left, 50);
        rate.gain(Duration::from_secs(100));
        assert_eq!(rate.left, 100);
    }

    fn all() -> Arc<HostMemory> {
        Arc::new(HostMemory::new(u64::MAX))
    }

    #[test]
    fn all_guests_share_what_the_host_allows() {
        let all = Arc::new(HostMemory::new(1000));
        let mut one = Meter::new(800, all.clone());
        let mut other = Meter::new(800, all.clone());
        assert!(one.memory_growing(0, 700, None).unwrap());
        assert!(!other.memory_growing(0, 400, None).unwrap());
        assert_eq!(other.refused(), Some(Refusal::Together(1000)));
        assert!(other.memory_growing(0, 300, None).unwrap());
        assert_eq!(all.used(), 1000);
        drop(one);
        assert_eq!(all.used(), 300);
        assert!(other.memory_growing(300, 800, None).unwrap());
        other.growth_failed();
        assert_eq!(all.used(), 300);
        drop(other);
        assert_eq!(all.used(), 0);
    }

    #[test]
    fn memories_and_tables_share_one_limit() {
        let mut meter = Meter::new(1000, all());
        assert!(meter.memory_growing(0, 600, None).unwrap());
        assert!(meter.table_growing(0, 40, None).unwrap());
        assert_eq!((meter.peak(), meter.refused()), (920, None));
        assert!(!meter.table_growing(40, 60, None).unwrap());
        assert_eq!(meter.refused(), Some(Refusal::Limit(1080)));
        assert_eq!(meter.peak(), 920);
    }

    #[test]
    fn every_refusal_is_noted_and_a_growth_that_failed_is_not_held() {
        let mut meter = Meter::new(1000, all());
        assert!(!meter.memory_growing(0, 601, Some(600)).unwrap());
        assert_eq!(meter.refused(), Some(Refusal::Maximum(601)));
        let mut meter = Meter::new(1000, all());
        assert!(meter.memory_growing(0, 600, None).unwrap());
        assert!(meter.memory_growing(600, 700, None).unwrap());
        meter.growth_failed();
        assert_eq!((meter.peak(), meter.refused()), (600, Some(Refusal::Host)));
    }
}
