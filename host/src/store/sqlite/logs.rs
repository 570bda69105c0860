//! The lines of runs in a file of their own, written by a thread of its own: no firing ever waits
//! for a log.
//!
//! ```text
//! LogSink::append ──▶ queue ──a tenth of a second, or 64 KiB──▶ BEGIN … COMMIT ──▶ logs.db
//! ```
//!
//! A commit does not wait for the disk: when the machine goes down, the last moments may be
//! missing, and the file is whole. While it cannot be written to, the host goes on; what does not
//! fit into memory meanwhile is lost, counted, and told.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::file::{self, OpenError, explain};
use super::{lines, prune, read_error};
use crate::clock;
use crate::log::{LogBatch, LogQuery, LogSink, LogSummary};
use crate::run::RunId;
use crate::store::logs::{EachLine, LogStore};
use crate::store::{BoxFuture, StoreError};

/// How much time lies between two transactions, unless much is to be written.
const EVERY: Duration = Duration::from_millis(100);

/// How many bytes are much.
const MUCH: u64 = 64 << 10;

/// How many bytes one transaction writes at most, about.
const GROUP: u64 = 4 << 20;

/// How many bytes may wait to be written. What comes beyond that is lost: the disk is too slow.
const WAITING: u64 = 32 << 20;

/// How many bytes are kept for later when they cannot be written.
const LATER: u64 = 4 << 20;

/// How many bytes SQLite's own log keeps when all of it has been copied into the file.
const JOURNAL: u32 = 16 << 20;

/// How long until what could not be written is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// The lines that attempts printed, in a file of their own, apart from the runs'.
#[derive(Debug)]
pub struct SqliteLogs {
    /// The file.
    path: PathBuf,
    messages: Mutex<Option<Sender<Message>>>,
    /// Bytes that have been sent and not been taken up.
    waiting: Arc<AtomicU64>,
    beyond: Arc<Mutex<Losses>>,
    reader: Mutex<Option<Connection>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What has been given up of the logs of attempts, and must still be noted there: batches without
/// lines, as few as there are attempts, however much they print.
#[derive(Debug, Default)]
struct Losses {
    of_attempts: BTreeMap<(RunId, u32), LogBatch>,
    lines: u64,
}

impl Losses {
    /// Gives up the lines of a batch.
    fn add(&mut self, mut batch: LogBatch) {
        self.lines += batch.lines.len() as u64;
        batch.lose();
        match self.of_attempts.entry((batch.run, batch.attempt)) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.dropped += batch.dropped;
                known.ended |= batch.ended;
            }
            Entry::Vacant(place) => {
                place.insert(batch);
            }
        }
    }

    /// The batches to be noted, those of the newest runs where they are too many themselves.
    fn into_batches(self) -> impl Iterator<Item = LogBatch> {
        let room = usize::try_from(LATER / 2 / 64).unwrap_or(usize::MAX);
        let old = self.of_attempts.len().saturating_sub(room);
        self.of_attempts.into_values().skip(old)
    }
}

/// Answered once it is known whether it is written.
type Reply = oneshot::Sender<Result<(), StoreError>>;

#[derive(Debug)]
enum Message {
    Append(LogBatch),
    Remove(Vec<RunId>, Reply),
    /// Answered when all that came before it is written.
    Flush(Reply),
}

impl Message {
    fn weight(&self) -> u64 {
        match self {
            Message::Append(batch) => batch.weight(),
            _ => 0,
        }
    }
}

impl SqliteLogs {
    /// Opens the lines of a data directory that this process holds.
    ///
    /// # Errors
    /// [`OpenError`]: what is there is not harmed.
    pub(super) fn open(directory: &Path) -> Result<SqliteLogs, OpenError> {
        let path = directory.join(lines::FILE);
        let connection = file::open_with(&path, lines::STEPS)?;
        connection
            .pragma_update(None, "synchronous", "NORMAL")
            .and_then(|()| connection.pragma_update(None, "journal_size_limit", JOURNAL))
            .map_err(|error| file::name(&path, &error))?;
        let reader = file::open_to_read_with(&path, lines::STEPS.len())?;
        let (sender, messages) = channel();
        let waiting = Arc::new(AtomicU64::new(0));
        let beyond = Arc::<Mutex<Losses>>::default();
        let writer = Writer {
            connection,
            messages,
            waiting: waiting.clone(),
            beyond: beyond.clone(),
            unwritten: Vec::new(),
            lost: 0,
            failing: false,
            behind: false,
        };
        let writer = std::thread::Builder::new()
            .name("logs".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| OpenError::Directory {
                path: directory.to_owned(),
                error,
            })?;
        Ok(SqliteLogs {
            path,
            messages: Mutex::new(Some(sender)),
            waiting,
            beyond,
            reader: Mutex::new(Some(reader)),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Waits until all that was told is written. What is told after that is lost.
    pub(super) fn close(&self) {
        // Before the one that writes is told to end: it tidies up as the last one.
        self.reader.lock().take();
        self.messages.lock().take();
        if let Some(writer) = self.writer.lock().take() {
            // A panic of its own has been told.
            let _ = writer.join();
        }
    }

    /// How many bytes of the file are in use.
    pub(super) fn used(&self) -> rusqlite::Result<u64> {
        self.reader.lock().as_ref().map_or(Ok(0), prune::used)
    }

    /// Reads what is written.
    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        match &*self.reader.lock() {
            Some(reader) => {
                read(reader).map_err(|error| read_error("the logs", &self.path, &error))
            }
            None => Err(gone()),
        }
    }

    fn send(&self, message: Message) {
        if let Some(sender) = &*self.messages.lock() {
            // Whoever waits learns that nobody answers.
            let _ = sender.send(message);
        }
    }

    fn ask(&self, message: impl FnOnce(Reply) -> Message) -> BoxFuture<'_, Result<(), StoreError>> {
        let (reply, answer) = oneshot::channel();
        self.send(message(reply));
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(gone())) })
    }
}

fn gone() -> StoreError {
    StoreError::Write {
        what: "the logs",
        why: "the thread that writes them has ended".to_owned(),
    }
}

impl Drop for SqliteLogs {
    fn drop(&mut self) {
        self.close();
    }
}

impl LogSink for SqliteLogs {
    fn append(&self, batch: LogBatch) {
        let weight = batch.weight();
        if self.waiting.fetch_add(weight, Ordering::Relaxed) + weight > WAITING {
            self.waiting.fetch_sub(weight, Ordering::Relaxed);
            // What waits is taken up, and this then: no message says so, or they would be many.
            self.beyond.lock().add(batch);
            return;
        }
        self.send(Message::Append(batch));
    }
}

impl LogStore for SqliteLogs {
    fn lines(&self, query: &LogQuery, each: EachLine<'_>) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Flush(reply));
        // Whether or not it could be written: what is there is told.
        let _ = answer.blocking_recv();
        let page = |from| self.read(|reader| lines::read_page(reader, query, from));
        lines::read(page, each)
    }

    fn summaries(&self, run: RunId) -> Result<Vec<LogSummary>, StoreError> {
        self.read(|reader| lines::summaries(reader, run))
    }

    fn remove(&self, runs: Vec<RunId>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.ask(|reply| Message::Remove(runs, reply))
    }

    fn older(&self, than: RunId, most: u32) -> Result<Vec<RunId>, StoreError> {
        self.read(|reader| lines::older(reader, than, most))
    }
}

/// The writing half.
struct Writer {
    connection: Connection,
    messages: Receiver<Message>,
    waiting: Arc<AtomicU64>,
    /// What came while too much waited.
    beyond: Arc<Mutex<Losses>>,
    /// What could not be written yet.
    unwritten: Vec<LogBatch>,
    /// How many lines were lost that have not been told of.
    lost: u64,
    /// Whether the last transaction failed.
    failing: bool,
    /// Whether more came than could be written.
    behind: bool,
}

impl Writer {
    /// Writes until whoever opened it is done, and then what is left.
    fn run(mut self) {
        let mut last: Option<Instant> = None;
        loop {
            let first = if self.unwritten.is_empty() {
                self.messages.recv().ok()
            } else {
                match self.messages.recv_timeout(AGAIN) {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => {
                        self.write(Vec::new());
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => None,
                }
            };
            let Some(first) = first else {
                self.write(Vec::new());
                self.tell_of_loss();
                return;
            };
            let group = self.gather(first, last.and_then(|last| last.checked_add(EVERY)));
            self.write(group);
            last = Some(clock::monotonic());
        }
    }

    /// What is written together with a message: what comes until then, unless that is much or
    /// somebody waits.
    fn gather(&mut self, first: Message, until: Option<Instant>) -> Vec<Message> {
        let mut bytes = first.weight();
        let mut urgent = !matches!(first, Message::Append(_));
        let mut group = vec![first];
        while bytes < GROUP {
            let left = until
                .map(|until| until.saturating_duration_since(clock::monotonic()))
                .filter(|left| !urgent && bytes < MUCH && !left.is_zero());
            let next = match left {
                Some(left) => self.messages.recv_timeout(left).ok(),
                None => self.messages.try_recv().ok(),
            };
            match next {
                Some(message) => {
                    bytes += message.weight();
                    urgent |= !matches!(message, Message::Append(_));
                    group.push(message);
                }
                // It is time, nothing more is there, or nothing more will come.
                None => break,
            }
        }
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        group
    }

    fn write(&mut self, group: Vec<Message>) {
        let mut others = Vec::new();
        for message in group {
            match message {
                Message::Append(batch) => self.unwritten.push(batch),
                other => others.push(other),
            }
        }
        self.take_losses();
        let written = self.transact(&others);
        match &written {
            Ok(()) => {
                self.unwritten.clear();
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the logs of runs are written again");
                    self.tell_of_loss();
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(
                        error = explain(error),
                        "the logs of runs cannot be written; the runs go on"
                    );
                }
                self.shrink();
            }
        }
        let outcome = written.map_err(|error| StoreError::Write {
            what: "the logs",
            why: explain(&error),
        });
        for other in others {
            if let Message::Remove(_, reply) | Message::Flush(reply) = other {
                // Nobody waits any more.
                let _ = reply.send(outcome.clone());
            }
        }
    }

    fn transact(&mut self, others: &[Message]) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for batch in &self.unwritten {
            lines::write(&transaction, batch)?;
        }
        for other in others {
            match other {
                Message::Remove(runs, _) => lines::remove(&transaction, runs)?,
                Message::Append(_) | Message::Flush(_) => {}
            }
        }
        transaction.commit()
    }

    /// Gives up what is too much to be kept for later. How much that was is.
    fn shrink(&mut self) {
        if self.unwritten.iter().map(LogBatch::weight).sum::<u64>() <= LATER {
            return;
        }
        let mut losses = Losses::default();
        self.unwritten.drain(..).for_each(|batch| losses.add(batch));
        self.lost += losses.lines;
        self.unwritten = losses.into_batches().collect();
    }

    /// Takes up what was lost on its way here, and tells of it when that begins and when it ends.
    fn take_losses(&mut self) {
        let losses = std::mem::take(&mut *self.beyond.lock());
        let is_behind = losses.lines > 0;
        self.lost += losses.lines;
        self.unwritten.extend(losses.into_batches());
        match (std::mem::replace(&mut self.behind, is_behind), is_behind) {
            (false, true) => tracing::warn!(
                "runs log more than can be written; what does not fit into memory is lost"
            ),
            (true, false) if !self.failing => self.tell_of_loss(),
            _ => {}
        }
    }

    fn tell_of_loss(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            tracing::warn!(lines = lost, "some lines of logs are lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::logs::conformance::{self, batch, read};
    use crate::store::sqlite::LogReader;

    /// One in a directory that goes when it goes.
    struct Kept {
        logs: SqliteLogs,
        _dir: tempfile::TempDir,
    }

    impl LogSink for Kept {
        fn append(&self, batch: LogBatch) {
            self.logs.append(batch);
        }
    }

    impl LogStore for Kept {
        fn lines(&self, query: &LogQuery, each: EachLine<'_>) -> Result<(), StoreError> {
            // Not on the thread of a runtime, as everywhere.
            tokio::task::block_in_place(|| self.logs.lines(query, each))
        }

        fn summaries(&self, run: RunId) -> Result<Vec<LogSummary>, StoreError> {
            self.logs.summaries(run)
        }

        fn remove(&self, runs: Vec<RunId>) -> BoxFuture<'_, Result<(), StoreError>> {
            self.logs.remove(runs)
        }

        fn older(&self, than: RunId, most: u32) -> Result<Vec<RunId>, StoreError> {
            self.logs.older(than, most)
        }
    }

    fn open() -> Kept {
        let dir = tempfile::tempdir().unwrap();
        let logs = SqliteLogs::open(dir.path()).unwrap();
        Kept { logs, _dir: dir }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn it_conforms() {
        conformance::run(|| Box::new(open())).await;
    }

    #[test]
    fn what_was_told_is_there_when_it_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let before = LogReader::open(dir.path()).unwrap();
        assert_eq!(before.summaries(RunId::from_u128(1)).unwrap(), []);
        let logs = SqliteLogs::open(dir.path()).unwrap();
        for run in 0..1_000 {
            logs.append(batch(run, "a", &["one", "two"]));
        }
        logs.close();
        logs.append(batch(2_000, "a", &["too late"]));
        let reader = LogReader::open(dir.path()).unwrap();
        let mut count = 0;
        let query = LogQuery {
            text: Some("two".to_owned()),
            ..LogQuery::default()
        };
        reader
            .lines(&query, &mut |_| {
                count += 1;
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(count, 1_000);
        drop(logs);
        let again = SqliteLogs::open(dir.path()).unwrap();
        assert_eq!(read(&again, &LogQuery::of(RunId::from_u128(7))).len(), 2);
        assert!(again.used().unwrap() > 0);
    }

    #[test]
    fn what_cannot_be_written_is_kept_for_later_or_counted() {
        let dir = tempfile::tempdir().unwrap();
        let logs = SqliteLogs::open(dir.path()).unwrap();
        let other = Connection::open(dir.path().join(lines::FILE)).unwrap();
        // As good as a full disk: no row comes in.
        other
            .execute_batch(
                "CREATE TRIGGER full BEFORE INSERT ON lines \
                 BEGIN SELECT RAISE(ABORT, 'full'); END",
            )
            .unwrap();
        let text = "x".repeat(1 << 20);
        logs.append(batch(1, "a", &["small"]));
        assert!(read(&logs, &LogQuery::default()).is_empty());
        for _ in 0..8 {
            logs.append(batch(2, "a", &[&text]));
            assert!(read(&logs, &LogQuery::default()).is_empty());
        }
        logs.append(batch(3, "a", &["late"]));
        other.execute_batch("DROP TRIGGER full").unwrap();
        assert_eq!(read(&logs, &LogQuery::default()), ["3/1/1 a late"]);
        let lost = |run| logs.summaries(RunId::from_u128(run)).unwrap()[0].dropped;
        assert_eq!(lost(1), 6);
        assert!(lost(2) > 4 << 20, "{}", lost(2));
        assert_eq!(lost(3), 0);
    }

    #[test]
    fn what_comes_while_the_file_is_held_up_is_bounded_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let logs = SqliteLogs::open(dir.path()).unwrap();
        let other = Connection::open(dir.path().join(lines::FILE)).unwrap();
        // The writer waits for this one, for seconds.
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let text = "x".repeat(1 << 20);
        for run in 0..60 {
            let mut some = batch(run, "a", &[&text]);
            some.ended = true;
            logs.append(some);
        }
        for _ in 0..200 {
            logs.append(batch(59, "a", &[&text]));
        }
        assert!(logs.waiting.load(Ordering::Relaxed) <= WAITING);
        assert!(logs.beyond.lock().of_attempts.len() <= 60);
        other.execute_batch("COMMIT").unwrap();
        let found = read(&logs, &LogQuery::default()).len();
        let (mut kept, mut lost) = (0, 0);
        for run in 0..60 {
            let [of_run] = logs.summaries(RunId::from_u128(run)).unwrap()[..] else {
                panic!("nothing is known of the log of run {run}");
            };
            assert!(of_run.ended);
            match of_run.dropped {
                0 => kept += 1,
                dropped => lost += dropped,
            }
        }
        assert_eq!(kept, found as u64, "each has one line, or has lost it");
        assert!((20..60).contains(&kept), "{kept}");
        assert_eq!(lost, (60 - kept + 200) * ((1 << 20) + 1));
    }

    #[test]
    fn whoever_is_told_may_take_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let logs = SqliteLogs::open(dir.path()).unwrap();
        let text = "x".repeat(1_000);
        logs.append(batch(1, "a", &vec![&*text; 2_000]));
        logs.lines(&LogQuery::default(), &mut |_| {
            std::ops::ControlFlow::Break(())
        })
        .unwrap();
        let reader = LogReader::open(dir.path()).unwrap();
        let other = Connection::open(dir.path().join(lines::FILE)).unwrap();
        let mut seen = 0;
        reader
            .lines(&LogQuery::default(), &mut |_| {
                seen += 1;
                // Nobody who reads stands in its way.
                if seen % 500 == 1 {
                    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
                    let busy: i64 = other.query_row(sql, [], |row| row.get(0)).unwrap();
                    assert_eq!(busy, 0, "at line {seen}");
                }
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(seen, 2_000);
    }

    #[test]
    fn a_file_that_is_no_database_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(lines::FILE);
        std::fs::write(&path, "no database, but long enough to be taken for one").unwrap();
        let refused = SqliteLogs::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("logs.db is damaged"), "{refused}");
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .starts_with("no database")
        );
    }
}
