//! Jobs that are functions of the program that the host is part of, beside the sandboxed ones.
//!
//! ```text
//! definition: "component": "native:NAME" ──▶ Natives::get(NAME) ──▶ Call ──▶ Execution
//! ```
//!
//! A function runs with all that its program may do: no grants and no limits of fuel and memory
//! hold it. What holds it is its time, a cancellation, and that a panic of it ends its run and
//! nothing else.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinHandle};

use crate::clock::{self, Clock};
use crate::dispatcher::{CancelReason, Session};
use crate::log::{LogBatch, LogLine, LogSink, LogStream};
use crate::run::{Attempt, Execution, LogEntry, Outcome, Output, Progress, Retry};
use crate::units::format_duration_exact;

/// How long a function that has asked whether it is to end may go on when it is.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// How many entries of a log are kept with their fields.
const MOST_ENTRIES: usize = 4096;

/// What a function's run comes to.
pub type Answer = Result<Option<Output>, Failure>;

/// A run of a function.
pub type Running = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A function that is a job.
pub type Function = dyn Fn(Call) -> Running + Send + Sync;

/// Why a function failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The reason, in a sentence.
    pub message: String,
    /// What it advises about another attempt.
    pub retry: Retry,
}

/// The functions of a program, by their names. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Natives(Arc<Registered>);

#[derive(Default)]
struct Registered {
    functions: RwLock<HashMap<Arc<str>, Arc<Function>>>,
    /// Those that have come or gone since it was last asked.
    news: Mutex<HashSet<Arc<str>>>,
    told: Notify,
}

impl fmt::Debug for Natives {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_list().entries(self.names()).finish()
    }
}

impl Natives {
    /// How the component of a job begins that is a function.
    pub const PREFIX: &'static str = crate::job::NATIVE;

    /// Registers a function, and gives the one that had its name before. The host learns of it
    /// when it is [told](Natives::tell), or looks anyway.
    pub fn insert(&self, name: &str, function: Arc<Function>) -> Option<Arc<Function>> {
        self.0.functions.write().insert(name.into(), function)
    }

    /// Takes back that a function was registered.
    pub fn restore(&self, name: &str, before: Option<Arc<Function>>) {
        match before {
            Some(before) => drop(self.insert(name, before)),
            None => drop(self.0.functions.write().remove(name)),
        }
    }

    /// Gives a function up. A run of it that is in flight goes on.
    pub fn remove(&self, name: &str) -> Option<Arc<Function>> {
        let gone = self.0.functions.write().remove(name);
        if gone.is_some() {
            self.tell(name);
        }
        gone
    }

    /// The function of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Function>> {
        self.0.functions.read().get(name).cloned()
    }

    /// The names of all functions, in order.
    pub fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.0.functions.read().keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// The components whose functions have come or gone since this was last asked; waits until
    /// there are any. Nothing is lost if it is dropped before.
    pub async fn changed(&self) -> Vec<Arc<str>> {
        loop {
            let told = self.0.told.notified();
            let news = std::mem::take(&mut *self.0.news.lock());
            if !news.is_empty() {
                let component = |name| format!("{}{name}", Natives::PREFIX).into();
                return news.into_iter().map(component).collect();
            }
            told.await;
        }
    }

    /// Tells the host that a function has come or gone.
    pub fn tell(&self, name: &str) {
        self.0.news.lock().insert(name.into());
        self.0.told.notify_one();
    }
}

/// Carries out the runs of functions.
#[derive(Clone)]
pub struct Carrier {
    natives: Natives,
    clock: Arc<dyn Clock>,
    logs: Arc<dyn LogSink>,
    /// Where they run; where they are asked for if nothing is said.
    threads: Option<Handle>,
}

impl Carrier {
    /// One whose functions run in a runtime of their program, if there is one. What they log goes
    /// to `logs`.
    pub fn new(
        natives: Natives,
        clock: Arc<dyn Clock>,
        logs: Arc<dyn LogSink>,
        threads: Option<Handle>,
    ) -> Carrier {
        Carrier {
            natives,
            clock,
            logs,
            threads,
        }
    }

    /// The functions that it knows.
    pub fn natives(&self) -> &Natives {
        &self.natives
    }

    /// Carries out one attempt. The function is dropped at its deadline, and when it is to end;
    /// one that has asked whether it is to end has a moment more.
    pub async fn execute(&self, name: &str, attempt: Attempt, session: Session) -> Execution {
        let Some(function) = self.natives.get(name) else {
            return Execution::without_guest(
                Outcome::Failed,
                format!("the function `{name}` is not registered any more"),
                Retry::ByPolicy,
            );
        };
        let started = clock::monotonic();
        let call = Call(Arc::new(Calling {
            clock: self.clock.clone(),
            logs: self.logs.clone(),
            attempt,
            session,
            started,
            cooperates: AtomicBool::new(false),
            told: Mutex::default(),
        }));
        let attempt = &call.0.attempt;
        let cancel = &call.0.session.cancel;
        let running = {
            let call = call.clone();
            async move { function(call).await }
        };
        let mut task = Aborted(match &self.threads {
            Some(threads) => threads.spawn(running),
            None => tokio::spawn(running),
        });
        let ended = tokio::select! {
            biased;
            answer = &mut task.0 => Ended::Itself(answer),
            () = to_be_ended(&call) => Ended::Cancelled,
            () = self.clock.sleep(attempt.time().0) => Ended::TimedOut,
        };
        drop(task);
        let asked = cancel.reason();
        let verdict = match ended {
            Ended::Itself(Ok(Ok(output))) => Verdict {
                outcome: Outcome::Succeeded,
                error: None,
                retry: Retry::Never,
                output,
            },
            Ended::Itself(Ok(Err(failure))) => match asked {
                // It was asked to end, and gave up in time.
                Some(reason) => {
                    Verdict::failed(Outcome::Cancelled, format!("{reason}: {}", failure.message))
                }
                None => Verdict {
                    retry: failure.retry,
                    ..Verdict::failed(Outcome::Failed, failure.message)
                },
            },
            Ended::Itself(Err(error)) => Verdict::failed(Outcome::Failed, panicked(error)),
            Ended::Cancelled => {
                let reason = asked.unwrap_or(CancelReason::Requested);
                Verdict::failed(Outcome::Cancelled, reason.to_string())
            }
            Ended::TimedOut => Verdict::failed(Outcome::TimedOut, out_of_time(attempt)),
        };
        let limit = usize::try_from(attempt.run.job.limits.output).unwrap_or(usize::MAX);
        let (output, output_dropped) = match verdict.output {
            Some(output) => {
                let (output, dropped) = cut(output, limit);
                (Some(output), dropped)
            }
            None => (None, 0),
        };
        let over = Told {
            over: true,
            ..Told::default()
        };
        let told = std::mem::replace(&mut *call.0.told.lock(), over);
        call.0.end_log(&told);
        Execution {
            output,
            output_dropped,
            log: told.log,
            log_dropped: told.dropped,
            entries: told.entries,
            progress: told.progress,
            elapsed: started.elapsed(),
            error: verdict.error,
            ..Execution::without_guest(verdict.outcome, "", verdict.retry)
        }
    }
}

/// A task that ends when nobody waits for it any more.
struct Aborted(JoinHandle<Answer>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Ended {
    Itself(Result<Answer, JoinError>),
    Cancelled,
    TimedOut,
}

struct Verdict {
    outcome: Outcome,
    error: Option<String>,
    retry: Retry,
    output: Option<Output>,
}

impl Verdict {
    fn failed(outcome: Outcome, error: String) -> Verdict {
        Verdict {
            outcome,
            error: Some(error),
            retry: Retry::ByPolicy,
            output: None,
        }
    }
}

/// Resolves when a run that was asked to end is to be ended: at once, unless its function has
/// asked whether it is to end.
async fn to_be_ended(call: &Call) {
    call.0.session.cancel.cancelled().await;
    if call.0.cooperates.load(Ordering::Relaxed) {
        tokio::time::sleep(CANCEL_GRACE).await;
    }
}

fn panicked(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => format!("panicked: {}", panic_message(&*panic)),
        Err(_) => "the runtime that the function ran in was shut down".to_owned(),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

fn out_of_time(attempt: &Attempt) -> String {
    let job = &attempt.run.job;
    match (attempt.time(), job.policies.deadline) {
        ((_, true), Some(deadline)) => format!(
            "limit: deadline {} of the run with all its attempts",
            format_duration_exact(deadline)
        ),
        _ => format!(
            "limit: timeout {}",
            format_duration_exact(job.limits.timeout)
        ),
    }
}

/// An output within its limit, and how many bytes did not fit. Cut JSON is text.
fn cut(output: Output, limit: usize) -> (Output, u64) {
    let length = output.as_bytes().len();
    if length <= limit {
        return (output, 0);
    }
    let text = match output {
        Output::Bytes(mut bytes) => {
            bytes.truncate(limit);
            return (Output::Bytes(bytes), (length - limit) as u64);
        }
        Output::Json(json) => json.get().to_owned(),
        Output::Text(text) => text,
    };
    let end = text.floor_char_boundary(limit);
    let kept = text.get(..end).unwrap_or_default().to_owned();
    (Output::Text(kept), (length - end) as u64)
}

/// One attempt, as the function sees it. Cheap to clone.
#[derive(Clone)]
pub struct Call(Arc<Calling>);

struct Calling {
    clock: Arc<dyn Clock>,
    logs: Arc<dyn LogSink>,
    attempt: Attempt,
    session: Session,
    started: Instant,
    /// Whether the function has asked whether it is to end.
    cooperates: AtomicBool,
    told: Mutex<Told>,
}

/// What a function has told of itself.
#[derive(Default)]
struct Told {
    log: Vec<u8>,
    dropped: u64,
    /// How many lines it has logged.
    lines: u64,
    entries: Vec<LogEntry>,
    progress: Option<Progress>,
    /// Whether the run is over: what is still said is not part of it.
    over: bool,
}

impl fmt::Debug for Call {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_tuple("Call").field(&self.0.attempt).finish()
    }
}

impl Call {
    /// The attempt.
    pub fn attempt(&self) -> &Attempt {
        &self.0.attempt
    }

    /// Why it is to end, if it is.
    pub fn cancelled(&self) -> Option<CancelReason> {
        self.0.cooperates.store(true, Ordering::Relaxed);
        self.0.session.cancel.reason()
    }

    /// Resolves once it is to end.
    pub async fn until_cancelled(&self) {
        self.0.cooperates.store(true, Ordering::Relaxed);
        self.0.session.cancel.cancelled().await;
    }

    /// Says how far it has come.
    pub fn progress(&self, progress: Progress) {
        let mut told = self.0.told.lock();
        if !told.over {
            told.progress = Some(progress.clone());
            // Told under the lock, so that nothing comes after the end.
            self.0.session.notices.progress(progress);
        }
    }

    /// Adds an entry to the log of the run, as far as there is room for it.
    pub fn log(&self, entry: LogEntry) {
        let limit = self.0.attempt.run.job.limits.output;
        let line = entry.to_string();
        let mut told = self.0.told.lock();
        if told.over {
            return;
        }
        let size = line.len() as u64 + 1;
        if told.dropped > 0 || told.log.len() as u64 + size > limit {
            told.dropped += size;
            return;
        }
        told.log.extend_from_slice(line.as_bytes());
        told.log.push(b'\n');
        told.lines += 1;
        let line = LogLine {
            number: told.lines,
            at: self.0.clock.now(),
            stream: LogStream::Log,
            level: Some(entry.level),
            text: entry.message.replace(['\n', '\r'], " "),
            cut: 0,
            fields: entry.fields.clone(),
        };
        // Sent under the lock, so that lines are where they belong.
        self.0.send(vec![line], 0, false);
        if told.entries.len() < MOST_ENTRIES {
            told.entries.push(entry);
        }
    }

    /// How long it has run, by the monotonic clock.
    pub fn elapsed(&self) -> Duration {
        self.0.started.elapsed()
    }
}

impl Calling {
    fn end_log(&self, told: &Told) {
        if told.lines > 0 || told.dropped > 0 {
            self.send(Vec::new(), told.dropped, true);
        }
    }

    fn send(&self, lines: Vec<LogLine>, dropped: u64, ended: bool) {
        self.logs.append(LogBatch {
            run: self.attempt.run.id,
            job: self.attempt.run.job.id.clone(),
            attempt: self.attempt.number,
            lines,
            dropped,
            ended,
        });
    }
}
