//! The thread that writes: what comes meanwhile goes into one transaction, so that a commit, which
//! waits for the disk, is shared by all who wait for it.
//!
//! ```text
//! many tasks ──Command──▶ queue ──▶ BEGIN, one after the other, COMMIT ──answers──▶ each
//! ```
//!
//! A command that cannot be written is answered so, and leaves nothing behind. What nobody waits
//! for (starts, skips, schedules) is written with the next transaction that succeeds.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::Counts;
use super::by_hand;
use super::checkpoints::Log;
use super::definitions;
use super::file::explain;
use super::starts::Starts;
use super::tables::{Caches, Tables};
use crate::clock::Timestamp;
use crate::job::{Job, JobId, OwnDefinition, Scope, StateQuota};
use crate::record::JobChange;
use crate::record::{Delivery, DeliveryId};
use crate::run::{Attempt, FinishedRun, Firing, Run, RunId};
use crate::state::{Changes, Snapshot, StateError};
use crate::store::definitions::Kept;
use crate::store::outbox::Sent;
use crate::store::{FinishError, FireResult, Schedule, Skip, StoreError};

/// How many rows one transaction writes at most, so that the first who wait do not wait for all.
const GROUP: usize = 4_096;

/// How long until what could not be written is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Who waits for an answer.
pub(super) type Reply<T> = oneshot::Sender<T>;

/// What is to be written, or read in its turn.
pub(super) enum Command {
    Fire(
        Vec<Firing>,
        Timestamp,
        Reply<Result<Vec<FireResult>, StoreError>>,
    ),
    /// Another attempt of a run begins.
    Started(Attempt, Reply<Result<(), StoreError>>),
    Adopt(RunId, Arc<Job>, Reply<Result<Option<Arc<Run>>, StoreError>>),
    Attempted(Arc<FinishedRun>, Reply<Result<(), StoreError>>),
    Finished(
        Arc<FinishedRun>,
        Option<Changes>,
        Reply<Result<(), FinishError>>,
    ),
    State(JobId, Reply<Result<Snapshot, StoreError>>),
    Checkpoint(
        JobId,
        StateQuota,
        Changes,
        Reply<Result<Snapshot, StateError>>,
    ),
    LastSuccess(JobId, Reply<Result<Option<Timestamp>, StoreError>>),
    Reopen(JobId, Vec<Timestamp>, Reply<Result<(), StoreError>>),
    SetPaused(Scope, Option<Timestamp>, Reply<Result<bool, StoreError>>),
    Forget(JobId, Reply<Result<(), StoreError>>),
    /// A definition of the host's own.
    Put(Box<OwnDefinition>, Reply<Result<(), StoreError>>),
    /// A definition that the host no longer has.
    GiveUp(JobId, Reply<Result<bool, StoreError>>),
    /// What a source says now. Nobody waits.
    Keep(Arc<str>, Kept),
    Remove(Vec<RunId>, Reply<Result<(), StoreError>>),
    /// Answered when all that came before it is written.
    Flush(Reply<Result<(), StoreError>>),
    Note(Note),
}

/// What nobody waits for.
pub(super) enum Note {
    Enter(Vec<(JobId, Schedule)>),
    /// An attempt, and the number of its note in the list of starts.
    Started(Attempt, u64),
    Skipped(Skip),
    Changed(Vec<JobChange>),
    Enqueued(Vec<Delivery>),
    Sent(DeliveryId, Sent),
}

impl Command {
    /// About how many rows it writes.
    fn rows(&self) -> usize {
        match self {
            Command::Fire(firings, ..) => firings.len(),
            Command::Note(Note::Enter(jobs)) => jobs.len(),
            Command::Note(Note::Changed(changes)) => changes.len(),
            Command::Note(Note::Enqueued(deliveries)) => deliveries.len(),
            Command::Remove(runs, _) => runs.len(),
            Command::Reopen(_, instants, _) => instants.len(),
            _ => 1,
        }
    }
}

/// Gives an answer, once it is known whether the transaction is written.
type Answer = Box<dyn FnOnce(Result<(), StoreError>)>;

/// The writing half of a store.
pub(super) struct Writer {
    connection: Connection,
    commands: Receiver<Command>,
    starts: Arc<Starts>,
    counts: Arc<Counts>,
    /// Notes that could not be written yet.
    notes: Vec<Note>,
    caches: Caches,
    log: Log,
    /// Whether the last transaction failed.
    failing: bool,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        commands: Receiver<Command>,
        starts: Arc<Starts>,
        counts: Arc<Counts>,
        log: Log,
    ) -> Writer {
        Writer {
            log,
            connection,
            commands,
            starts,
            counts,
            notes: Vec::new(),
            caches: Caches::default(),
            failing: false,
        }
    }

    /// Writes until the last store is gone, and then what is left.
    pub(super) fn run(mut self) {
        loop {
            let first = if self.notes.is_empty() {
                self.commands.recv().ok()
            } else {
                match self.commands.recv_timeout(AGAIN) {
                    Ok(command) => Some(command),
                    Err(RecvTimeoutError::Timeout) => {
                        self.write(Vec::new());
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => None,
                }
            };
            let Some(first) = first else {
                self.write(Vec::new());
                self.log.finish(&self.connection);
                return;
            };
            let mut rows = first.rows();
            let mut group = vec![first];
            while rows < GROUP
                && let Ok(command) = self.commands.try_recv()
            {
                rows += command.rows();
                group.push(command);
            }
            self.write(group);
        }
    }

    /// Writes a group of commands, and the notes that wait, in one transaction.
    fn write(&mut self, group: Vec<Command>) {
        if group.is_empty() && self.notes.is_empty() {
            return;
        }
        let mut answers: Vec<Answer> = Vec::with_capacity(group.len());
        let mut commands = group.into_iter();
        let written = self.transact(&mut commands, &mut answers);
        match &written {
            Ok(settled) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the store does its work again");
                }
                self.notes.clear();
                if let Some(settled) = settled {
                    self.starts.settled(*settled);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(error = explain(error), "the store cannot be written to");
                }
                // What was rolled back is not what the caches say.
                self.caches = Caches::default();
            }
        }
        let outcome = written.map(drop).map_err(|error| write_error(&error));
        // Those that the transaction did not come to are as little written as the others.
        for command in commands {
            match command {
                Command::Note(note) => self.notes.push(note),
                command => answers.push(refuse(command)),
            }
        }
        for answer in answers {
            answer(outcome.clone());
        }
        self.log.keep_short(&self.connection);
    }

    /// Gives the number of the last start that is written, if any is.
    fn transact(
        &mut self,
        commands: &mut impl Iterator<Item = Command>,
        answers: &mut Vec<Answer>,
    ) -> rusqlite::Result<Option<u64>> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut tables = Tables {
            connection: &transaction,
            caches: &mut self.caches,
            counts: &self.counts,
            settled: None,
        };
        for note in &self.notes {
            tables.note(note)?;
        }
        for command in commands {
            match command {
                Command::Note(note) => {
                    // Kept until it is written.
                    self.notes.push(note);
                    if let Some(note) = self.notes.last() {
                        tables.note(note)?;
                    }
                }
                command => tables.apply(command, answers)?,
            }
        }
        let settled = tables.settled;
        transaction.commit()?;
        Ok(settled)
    }
}

fn write_error(error: &rusqlite::Error) -> StoreError {
    StoreError::Write {
        what: "what happened",
        why: explain(error),
    }
}

/// What a command that was never tried is answered.
fn refuse(command: Command) -> Answer {
    fn answer<T: 'static, E: From<StoreError> + 'static>(reply: Reply<Result<T, E>>) -> Answer {
        Box::new(move |outcome| {
            let why = outcome.err().unwrap_or(StoreError::Write {
                what: "what happened",
                why: "it was never tried".to_owned(),
            });
            // Nobody waits any more.
            let _ = reply.send(Err(why.into()));
        })
    }
    match command {
        Command::Fire(_, _, reply) => answer(reply),
        Command::Adopt(_, _, reply) => answer(reply),
        Command::Started(_, reply) => answer(reply),
        Command::Attempted(_, reply) => answer(reply),
        Command::Finished(_, _, reply) => answer(reply),
        Command::State(_, reply) => answer(reply),
        Command::Checkpoint(_, _, _, reply) => answer(reply),
        Command::LastSuccess(_, reply) => answer(reply),
        Command::Reopen(_, _, reply) => answer(reply),
        Command::SetPaused(_, _, reply) => answer(reply),
        Command::Forget(_, reply) => answer(reply),
        Command::Remove(_, reply) => answer(reply),
        Command::Put(_, reply) => answer(reply),
        Command::GiveUp(_, reply) => answer(reply),
        Command::Flush(reply) => answer(reply),
        Command::Keep(..) | Command::Note(_) => Box::new(drop),
    }
}

impl Tables<'_> {
    /// Carries out a command, and has it answered. If this fails, so does the transaction, and the
    /// command has been told.
    fn apply(&mut self, command: Command, answers: &mut Vec<Answer>) -> rusqlite::Result<()> {
        /// Has `reply` answered with what was found, or why it could not be written.
        fn done<T: 'static, E: From<StoreError> + 'static>(
            found: rusqlite::Result<Result<T, E>>,
            reply: Reply<Result<T, E>>,
            answers: &mut Vec<Answer>,
        ) -> rusqlite::Result<()> {
            let (found, failed) = match found {
                Ok(found) => (Some(found), Ok(())),
                Err(error) => (None, Err(error)),
            };
            answers.push(Box::new(move |outcome| {
                let answer = match (outcome, found) {
                    (Ok(()), Some(found)) => found,
                    (Err(error), _) => Err(error.into()),
                    (Ok(()), None) => return, // a transaction does not succeed without this
                };
                // Nobody waits any more.
                let _ = reply.send(answer);
            }));
            failed
        }
        match command {
            Command::Fire(firings, now, reply) => {
                let found = self.fire(firings, now);
                if let Ok(results) = &found {
                    let is_recorded = |it: &&FireResult| matches!(it, FireResult::Recorded(_));
                    let recorded = results.iter().filter(is_recorded).count() as u64;
                    let counts = self.counts.clone();
                    answers.push(Box::new(move |outcome| {
                        if outcome.is_ok() {
                            counts.0.lock().recorded += recorded;
                        }
                    }));
                }
                done(found.map(Ok), reply, answers)
            }
            Command::Adopt(run, job, reply) => done(self.adopt(run, job).map(Ok), reply, answers),
            Command::Started(attempt, reply) => {
                let found = self.started(&attempt);
                if found.is_ok() {
                    let counts = self.counts.clone();
                    answers.push(Box::new(move |outcome| {
                        if outcome.is_ok() {
                            counts.0.lock().started += 1;
                        }
                    }));
                }
                done(found.map(Ok), reply, answers)
            }
            Command::Attempted(attempt, reply) => {
                done(self.attempted(&attempt).map(Ok), reply, answers)
            }
            Command::Finished(run, changes, reply) => {
                let found = self.finished(&run, changes);
                if let Ok(Ok(())) = &found {
                    let (counts, outcome) = (self.counts.clone(), run.execution.outcome);
                    answers.push(Box::new(move |written| {
                        if written.is_ok() {
                            counts.0.lock().count(outcome);
                        }
                    }));
                }
                done(found, reply, answers)
            }
            Command::State(job, reply) => done(self.state(&job).map(Ok), reply, answers),
            Command::Checkpoint(job, quota, changes, reply) => {
                done(self.land(&job, quota, &changes), reply, answers)
            }
            Command::LastSuccess(job, reply) => {
                let known = self.known(&job);
                done(
                    known.map(|it| Ok(it.and_then(|it| it.last_success))),
                    reply,
                    answers,
                )
            }
            Command::Reopen(job, instants, reply) => {
                let reopened = by_hand::reopen(self.connection, &job, &instants);
                done(reopened.map(Ok), reply, answers)
            }
            Command::SetPaused(scope, since, reply) => {
                let set = by_hand::set_paused(self.connection, &scope, since);
                done(set.map(Ok), reply, answers)
            }
            Command::Forget(job, reply) => done(self.forget(&job).map(Ok), reply, answers),
            Command::Remove(runs, reply) => done(self.remove(&runs).map(Ok), reply, answers),
            Command::Flush(reply) => done(Ok(Ok(())), reply, answers),
            Command::Put(definition, reply) => {
                let put = definitions::put(self.connection, &definition);
                done(put.map(Ok), reply, answers)
            }
            Command::GiveUp(job, reply) => {
                let given_up = definitions::give_up(self.connection, &job);
                done(given_up.map(Ok), reply, answers)
            }
            Command::Keep(source, kept) => definitions::keep(self.connection, &source, &kept),
            Command::Note(_) => Ok(()), // the caller keeps those
        }
    }
}
