//! The store that outlives the host: one SQLite file in a data directory.
//!
//! ```text
//! Store ──Command──▶ writer thread ──▶ quarterjack.db (write-ahead log, synchronous=FULL)
//!   │  └──started──▶ starts, a list without waiting          ▲
//!   └──queries──▶ a connection of their own ─────────────────┘
//! LogSink ──LogBatch──▶ a thread of its own ──▶ logs.db (synchronous=NORMAL)
//! ```
//!
//! What is answered is on the disk. Two hosts never share a data directory. Whoever only reads
//! opens a [`Reader`], beside a running host or without one.

mod backup;
mod by_hand;
mod checkpoints;
mod definitions;
mod file;
mod lines;
mod logs;
mod outbox;
mod prune;
mod reader;
mod restore;
mod rows;
mod starts;
mod tables;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _};
use tokio::sync::oneshot;

use super::{
    Begun, BoxFuture, FinishError, FireResult, LogStore as _, Recovered, Schedule, Skip, Store,
    StoreError, Totals, Unfinished, quota_of,
};
use crate::clock::Timestamp;
use crate::job::{Job, JobId, Scope};
use crate::record::{Detail, Pause, Retention, RunQuery, RunRecord, Status};
use crate::run::{Attempt, FinishedRun, Firing, Run, RunId};
use crate::state::{Changes, Snapshot, StateError};
use checkpoints::{Checkpoints, Log};
use file::Hold;
use starts::Starts;
use writer::{Command, Note, Reply, Writer};

pub use backup::backup;
pub use by_hand::set_paused_at_rest;
pub use file::{FILE, OpenError};
pub use lines::LogReader;
pub use logs::SqliteLogs;
pub use reader::Reader;
pub use restore::restore;

/// How long before it is due a run is recorded: many times what a commit takes, and little enough
/// that a definition that changes meanwhile hardly matters.
const LEAD: Duration = Duration::from_millis(200);

/// Runs in a file. See the [module](self).
#[derive(Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
    writer: Mutex<Option<JoinHandle<()>>>,
    logs: Arc<SqliteLogs>,
    _checkpoints: Checkpoints,
}

#[derive(Debug)]
struct Inner {
    /// The file.
    path: PathBuf,
    commands: Mutex<Option<Sender<Command>>>,
    reader: Mutex<Connection>,
    starts: Arc<Starts>,
    counts: Arc<Counts>,
    /// What was found of the host before this one, until it is asked for.
    recovered: Mutex<Option<Recovered>>,
    /// Dropped last: until then no other host may come.
    _hold: Hold,
}

/// What has been counted since the host was started.
#[derive(Debug, Default)]
struct Counts(Mutex<Totals>);

impl SqliteStore {
    /// Opens the store of a data directory, which is made if it is not there, and takes it for
    /// this process.
    ///
    /// # Errors
    /// [`OpenError`]: what is there is not harmed.
    pub fn open(directory: &Path, now: Timestamp) -> Result<SqliteStore, OpenError> {
        let hold = Hold::take(directory, now)?;
        let mut connection = file::open(directory)?;
        let path = directory.join(FILE);
        let named = |error: &rusqlite::Error| file::name(&path, error);
        let (starts, begun) = Starts::open(directory).map_err(|error| OpenError::Directory {
            path: directory.to_owned(),
            error,
        })?;
        let recovered = recover(&mut connection, &begun).map_err(|error| named(&error))?;
        starts.clear(); // what it said is in the tables now
        let reader = file::open_to_read(directory)?;
        let starts = Arc::new(starts);
        let counts = Arc::new(Counts::default());
        let (sender, commands) = channel();
        let writer = Writer::new(
            connection,
            commands,
            starts.clone(),
            counts.clone(),
            Log::of(&path),
        );
        let failed = |error| OpenError::Directory {
            path: directory.to_owned(),
            error,
        };
        let writer = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run())
            .map_err(failed)?;
        let checkpoints = Checkpoints::start(&path)?;
        let logs = Arc::new(SqliteLogs::open(directory)?);
        Ok(SqliteStore {
            logs,
            inner: Arc::new(Inner {
                path,
                commands: Mutex::new(Some(sender)),
                reader: Mutex::new(reader),
                starts,
                counts,
                recovered: Mutex::new(Some(recovered)),
                _hold: hold,
            }),
            writer: Mutex::new(Some(writer)),
            _checkpoints: checkpoints,
        })
    }

    /// Where the lines of its runs are kept: in a file beside it, until this store is dropped.
    pub fn logs(&self) -> Arc<SqliteLogs> {
        self.logs.clone()
    }
}

impl SqliteStore {
    async fn remove_lines(&self, of: &[RunId]) -> Result<(), StoreError> {
        for some in of.chunks(prune::LINES_OF) {
            self.logs.remove(some.to_vec()).await?;
        }
        Ok(())
    }

    /// Removes lines of runs that are older than all records, some thousands of runs at most.
    async fn remove_lines_before(&self, oldest: RunId) -> Result<(), StoreError> {
        let logs = self.logs.clone();
        let find = move |_: &Connection| Ok(logs.older(oldest, prune::FOUND));
        let found = self.inner.clone().read(find).await??;
        self.remove_lines(&found).await
    }

    async fn is_too_much(&self, keep: Retention) -> Result<bool, StoreError> {
        let logs = self.logs.clone();
        let ask = move |reader: &Connection| prune::is_too_much(reader, &keep, || logs.used());
        self.inner.clone().read(ask).await
    }
}

impl Drop for SqliteStore {
    /// Waits until all that was told is written.
    fn drop(&mut self) {
        self.last_words()();
    }
}

impl SqliteStore {
    /// What it takes to wait until all that was told is written.
    fn last_words(&self) -> impl FnOnce() + Send + 'static {
        let (writer, logs) = (self.writer.lock().take(), self.logs.clone());
        self.inner.commands.lock().take();
        move || {
            if let Some(writer) = writer {
                // A panic of its own has been told.
                let _ = writer.join();
            }
            logs.close();
        }
    }
}

/// What the host before this one left.
fn recover(connection: &mut Connection, begun: &starts::Begun) -> rusqlite::Result<Recovered> {
    let transaction = connection.transaction()?;
    let recovered = look_back(&transaction, begun)?;
    transaction.commit()?;
    Ok(recovered)
}

fn look_back(connection: &Connection, begun: &starts::Begun) -> rusqlite::Result<Recovered> {
    let schedules = connection
        .prepare(
            "SELECT name, trigger, since, dealt_with, days_off FROM jobs \
             WHERE trigger IS NOT NULL",
        )?
        .query_map([], |row| {
            let dealt_with: Option<i64> = row.get(3)?;
            let enabled = dealt_with != Some(tables::NOT_ENABLED);
            let schedule = Schedule {
                trigger: row.get::<_, i64>(1)?.cast_unsigned(),
                since: rows::from_nanos(row.get(2)?),
                dealt_with: dealt_with.filter(|_| enabled).map(rows::from_nanos),
                days_off: row.get::<_, Option<i64>>(4)?.map(rows::from_nanos),
                enabled,
            };
            Ok((JobId::from(&*row.get::<_, String>(0)?), schedule))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let last_boot: Option<String> = connection
        .query_row("SELECT value FROM host WHERE name = 'boot'", [], |row| {
            row.get(0)
        })
        .optional()?;
    let boot = starts::boot_id();
    let same_boot = boot.is_some() && boot == last_boot;
    if let Some(boot) = &boot {
        connection.execute(
            "INSERT OR REPLACE INTO host (name, value) VALUES ('boot', ?)",
            [boot],
        )?;
    }
    let unfinished: Vec<Unfinished> = rows::read_open(connection)?
        .into_iter()
        .map(|record| Unfinished {
            begun: match begun.has(record.id) {
                // Nobody knows how old this is; what had not begun may have since.
                None if record.attempt().is_some_and(|last| last.end.is_some()) => Begun::Maybe,
                _ if record.status == Status::Running => Begun::Yes,
                Some(true) => Begun::Yes,
                Some(false) if same_boot => Begun::No,
                _ => Begun::Maybe,
            },
            record,
        })
        .collect();
    // What is known now may not be known to the next host, should this one not get far.
    let mut running = connection.prepare("UPDATE runs SET status = 'running' WHERE id = ?")?;
    for one in unfinished.iter().filter(|one| one.begun != Begun::No) {
        running.execute([rows::to_key(one.record.id)])?;
    }
    Ok(Recovered {
        schedules,
        unfinished,
    })
}

impl Inner {
    /// Has something written; the answer comes when it is on the disk.
    async fn ask<T, E: From<StoreError>>(
        &self,
        command: impl FnOnce(Reply<Result<T, E>>) -> Command,
    ) -> Result<T, E> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply));
        let gone = || StoreError::Write {
            what: "what happened",
            why: "the thread that writes has ended (a bug in the host)".to_owned(),
        };
        answer.await.unwrap_or_else(|_| Err(gone().into()))
    }

    fn send(&self, command: Command) {
        if let Some(sender) = &*self.commands.lock() {
            // Whoever waits learns that nobody answers.
            let _ = sender.send(command);
        }
    }

    /// Reads on a thread that may wait for the disk, after all that was told is written.
    async fn read<T: Send + 'static>(
        self: Arc<Self>,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(Command::Flush).await?;
        let inner = self.clone();
        let read = tokio::task::spawn_blocking(move || read(&inner.reader.lock())).await;
        match read {
            Ok(read) => read.map_err(|error| read_error("the history", &self.path, &error)),
            Err(error) => Err(StoreError::Read {
                what: "the history",
                why: error.to_string(),
            }),
        }
    }
}

/// Why something could not be read from a file.
fn read_error(what: &'static str, path: &Path, error: &rusqlite::Error) -> StoreError {
    StoreError::Read {
        what,
        why: format!("{}: {}", path.display(), file::explain(error)),
    }
}

impl Store for SqliteStore {
    fn lead(&self) -> Duration {
        LEAD
    }

    fn recover(&self) -> BoxFuture<'_, Result<Recovered, StoreError>> {
        let recovered = self.inner.recovered.lock().take().unwrap_or_default();
        Box::pin(std::future::ready(Ok(recovered)))
    }

    fn enter(&self, jobs: Vec<(JobId, Schedule)>) {
        self.inner.send(Command::Note(Note::Enter(jobs)));
    }

    fn fire(
        &self,
        firings: Vec<Firing>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<FireResult>, StoreError>> {
        Box::pin(async move {
            if firings.is_empty() {
                return Ok(Vec::new());
            }
            let fire = |reply| Command::Fire(firings, now, reply);
            self.inner.ask(fire).await
        })
    }

    fn adopt(
        &self,
        run: RunId,
        job: Arc<Job>,
    ) -> BoxFuture<'_, Result<Option<Arc<Run>>, StoreError>> {
        Box::pin(self.inner.ask(move |reply| Command::Adopt(run, job, reply)))
    }

    fn started(&self, attempt: &Attempt) {
        let number = self.inner.starts.note(attempt.run.id);
        self.inner.counts.0.lock().started += 1;
        let note = Note::Started(attempt.clone(), number);
        self.inner.send(Command::Note(note));
    }

    fn started_again(&self, attempt: &Attempt) -> BoxFuture<'_, Result<(), StoreError>> {
        let attempt = attempt.clone();
        Box::pin(
            self.inner
                .ask(move |reply| Command::Started(attempt, reply)),
        )
    }

    fn attempted(&self, attempt: Arc<FinishedRun>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(
            self.inner
                .ask(move |reply| Command::Attempted(attempt, reply)),
        )
    }

    fn finished(
        &self,
        run: Arc<FinishedRun>,
        state: Option<Changes>,
    ) -> BoxFuture<'_, Result<(), FinishError>> {
        Box::pin(
            self.inner
                .ask(move |reply| Command::Finished(run, state, reply)),
        )
    }

    fn state(&self, job: &JobId) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        let job = job.clone();
        Box::pin(self.inner.ask(move |reply| Command::State(job, reply)))
    }

    fn checkpoint(
        &self,
        job: &Job,
        changes: Changes,
    ) -> BoxFuture<'_, Result<Snapshot, StateError>> {
        let (id, quota) = (job.id.clone(), quota_of(job));
        let checkpoint = move |reply| Command::Checkpoint(id, quota, changes, reply);
        Box::pin(self.inner.ask(checkpoint))
    }

    fn skipped(&self, skip: Skip) {
        self.inner.counts.0.lock().skipped += skip.firings();
        self.inner.send(Command::Note(Note::Skipped(skip)));
    }

    fn runs(&self, query: RunQuery) -> BoxFuture<'_, Result<Vec<RunRecord>, StoreError>> {
        Box::pin(
            self.inner
                .clone()
                .read(move |reader| rows::read_runs(reader, &query)),
        )
    }

    fn run(&self, id: RunId) -> BoxFuture<'_, Result<Option<RunRecord>, StoreError>> {
        Box::pin(
            self.inner
                .clone()
                .read(move |reader| rows::read_run(reader, id, Detail::All)),
        )
    }

    fn instants(
        &self,
        job: &JobId,
        from: Timestamp,
        until: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<Timestamp>, StoreError>> {
        let job = job.clone();
        let read = move |reader: &Connection| by_hand::instants(reader, &job, from, until);
        Box::pin(self.inner.clone().read(read))
    }

    fn reopen(
        &self,
        job: &JobId,
        instants: Vec<Timestamp>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let job = job.clone();
        let reopen = move |reply| Command::Reopen(job, instants, reply);
        Box::pin(self.inner.ask(reopen))
    }

    fn pauses(&self) -> BoxFuture<'_, Result<Vec<Pause>, StoreError>> {
        Box::pin(self.inner.clone().read(by_hand::read_pauses))
    }

    fn set_paused(
        &self,
        scope: Scope,
        since: Option<Timestamp>,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let set = move |reply| Command::SetPaused(scope, since, reply);
        Box::pin(self.inner.ask(set))
    }

    fn last_success(&self, job: &JobId) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>> {
        let job = job.clone();
        Box::pin(
            self.inner
                .ask(move |reply| Command::LastSuccess(job, reply)),
        )
    }

    fn totals(&self) -> BoxFuture<'_, Result<Totals, StoreError>> {
        let totals = *self.inner.counts.0.lock();
        Box::pin(std::future::ready(Ok(totals)))
    }

    fn prune(&self, keep: Retention, now: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let logs = self.logs.clone();
            let find = move |reader: &Connection| {
                let found = prune::find(reader, &keep, now, || logs.used())?;
                Ok((found, prune::oldest(reader)?))
            };
            let (found, oldest) = self.inner.clone().read(find).await?;
            // Lines that cannot be removed are no reason to keep records.
            let mut lines = Ok(());
            let (mut removed, mut step) = (0, prune::GROUP);
            if found.by_size {
                step = prune::FIRST;
            }
            while removed < found.runs.len() {
                let rest = found.runs.iter().skip(removed);
                let group: Vec<RunId> = rest.take(step).copied().collect();
                removed += group.len();
                let runs = group.clone();
                self.inner
                    .ask(move |reply| Command::Remove(runs, reply))
                    .await?;
                lines = lines.and(self.remove_lines(&group).await);
                if found.by_size {
                    // What is too much goes, and hardly more.
                    if lines.is_err() || !self.is_too_much(keep).await? {
                        break;
                    }
                    step = (step * 2).min(prune::GROUP);
                }
            }
            // Whatever came of runs whose records went before their lines.
            if let Some(oldest) = oldest
                && found.runs.is_empty()
            {
                self.remove_lines_before(oldest).await?;
            }
            lines.map(|()| removed as u64)
        })
    }

    fn forget(&self, job: &JobId) -> BoxFuture<'_, Result<(), StoreError>> {
        let job = job.clone();
        Box::pin(self.inner.ask(move |reply| Command::Forget(job, reply)))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        let last_words = self.last_words();
        Box::pin(async move {
            // A panic of its own has been told.
            let _ = tokio::task::spawn_blocking(last_words).await;
        })
    }
}
