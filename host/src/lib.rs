//! Quarterjack runs jobs on time: sandboxed WebAssembly components, and async functions of the
//! program that has it inside.
//!
//! ```
//! use std::time::Duration;
//! use quarterjack::{Job, ManualClock, Scheduler, Trigger};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), quarterjack::Error> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let (data, plugins) = (dir.path().join("data"), dir.path().join("plugins"));
//! # std::fs::create_dir(&plugins).unwrap();
//! let clock = ManualClock::at("2026-03-02T10:00:00Z"); // leave it out, and it is the machine's
//! let scheduler = Scheduler::builder()
//!     .clock(clock.clone())
//!     .data(data) // the history, and all that outlives a restart
//!     .plugins(plugins) // components such as `report.wasm`
//! #   .no_cache()
//!     .start()
//!     .await?;
//!
//! let cleanup = Job::native("cleanup", |run| async move {
//!     run.info("sweeping");
//!     Ok(format!("clean at {}", run.scheduled_at().format("%H:%M")))
//! });
//! scheduler.add_job(cleanup.trigger("*/15 * * * *").timeout(Duration::from_secs(30))).await?;
//!
//! let report = Job::component("report.wasm")
//!     .trigger(Trigger::cron("0 6 * * mon-fri").timezone("Europe/Berlin"))
//!     .grants(serde_json::json!({"http": ["https://api.example.com"]}));
//! scheduler.add_job(report).await?; // comes into service with its file
//!
//! let mut events = scheduler.subscribe();
//! clock.advance(Duration::from_secs(15 * 60));
//! let run = events.next_end_of("cleanup").await.unwrap();
//! assert_eq!(run.execution.output.as_ref().unwrap().as_bytes(), b"clean at 10:15");
//!
//! scheduler.shutdown(true).await;
//! # Ok(())
//! # }
//! ```
//!
//! [`Scheduler`] is what a program holds, [`Job`] and [`Trigger`] are what it gives it, and
//! [`RunContext`] is what a function that is a job is given. [`guide`] maps the words of other
//! schedulers to these. The command `quarterjack` is the same scheduler with a command line around
//! it.
//!
//! Nothing is global: a program may have several. A scheduler installs no signal handlers, prints
//! nothing (it logs with [`tracing`]), and never ends the process. It needs no runtime: it has a
//! thread of its own, and functions run in the tokio runtime in which it was started, of any flavour,
//! or else on its threads.
//!
//! # What is stable
//!
//! Versions follow [Semantic Versioning](https://semver.org) for what is named at the root of this
//! crate, and what can be reached through its methods and public fields. The modules are open to
//! whoever wants to look, build on them or test them, and change with any version.
//!
//! # The way of the data
//!
//! ```text
//! definition ─▶ trigger ─▶ scheduler ─▶ dispatcher ─▶ runtime ─▶ record ─▶ view
//! (source, job)                         (admits)      (wasmtime) (store)   (cli)
//! ```
//!
//! One direction, no step back. A [`run`] is the noun that travels from the scheduler to the
//! views.
//!
//! # The code map
//!
//! | module | owns |
//! |---|---|
//! | [`api`] | what a running host offers to other programs: HTTP, for now on a socket |
//! | [`app`] | the composition root: start, follow changes, stop |
//! | [`clock`] | time; the only file that reads it |
//! | [`trigger`] | when: cron, calendars, intervals, combinations, exclusions; zones and their clock changes; in words |
//! | [`job`] | what a job is, and the file format it is written in |
//! | [`plan`] | a look ahead: what jobs will do, on a simulated clock |
//! | [`policy`] | the operator's configuration file: the ceiling that no definition may exceed |
//! | [`source`] | where definitions come from, and what has changed in them |
//! | [`run`], [`event`] | runs, attempts, outcomes; what the host tells of itself |
//! | [`record`] | what is remembered of runs |
//! | [`log`] | what runs say along the way, line by line |
//! | [`secret`] | the operator's secrets, and how they are kept out of what is told |
//! | [`state`] | what a job keeps between its runs |
//! | [`store`] | what the host remembers |
//! | [`scheduler`] | which job is due when, and what becomes of what is late |
//! | [`firing`] | due, admitted, recorded, dispatched |
//! | [`dispatcher`] | concurrency, overlap, priorities, retries, pauses, cancellation |
//! | [`runtime`] | the sandbox: plugins, engine, limits, grants |
//! | [`native`] | jobs that are functions of the program that the host is part of |
//! | [`hook`] | who is told of events over HTTP |
//! | [`embed`], [`guide`] | the scheduler as a library; for those who know another |
//! | [`control`] | what a running host can be told and asked |
//! | [`cli`] | the command line: verbs and rendering |
//! | [`web`] | how the host itself speaks to web servers |
//! | [`units`], [`suggest`] | durations, sizes and counts in words; "did you mean" |
//!
//! # Invariants
//!
//! 1. Nothing imports `cli`, and only `cli` and `embed` import `app`. `app` mounts `api`, which knows nothing
//!    of it.
//! 2. `runtime` never sees the store; `store` never sees wasmtime.
//! 3. `clock` alone reads time, so that every test of when runs on a simulated clock. The
//!    guests' time of day is ours too.
//! 4. `scheduled_at` and `started_at` are different fields, and a job is told both.
//! 5. A run is recorded before it starts, once for its job and instant. The next instant is
//!    computed from the scheduled one.
//! 6. The store takes `now` as an argument.
//! 7. Views read records and events only; what is live and what is past share one renderer.
//! 8. A bad definition or plugin never stops the host, and never harms another job.

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod control;
pub mod dispatcher;
pub mod embed;
pub mod event;
pub mod firing;
pub mod guide;
pub mod hook;
pub mod job;
pub mod log;
pub mod native;
pub mod plan;
pub mod policy;
pub mod record;
pub mod run;
pub mod runtime;
pub mod scheduler;
pub mod secret;
pub mod source;
pub mod state;
pub mod store;
pub mod suggest;
pub mod trigger;
pub mod units;
pub mod web;

pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use control::{Backfill, Backfilled, Cancelled, HostStatus, PauseSet, SourceStatus};
pub use embed::{
    Error, EventStream, Failure, IntoOutput, Job, JobInfo, RecvError, RunContext, RunHandle,
    Scheduler, SchedulerBuilder, Trigger,
};
pub use event::{Event, Stamped};
pub use job::{Coalesce, JobId, OnLost, Overlap, RetryPolicy, Scope};
pub use policy::Policy;
pub use record::{Kind, RunQuery, RunRecord, Status};

pub use run::{Cause, Level, Outcome, Output, RunId, SkipReason};
pub use source::JobSource;
