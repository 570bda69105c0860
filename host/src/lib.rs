//! Quarterjack runs sandboxed WebAssembly jobs on time.
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
//! | [`embed`] | the scheduler as a library |
//! | [`control`] | what a running host can be told and asked |
//! | [`cli`] | the command line: verbs and rendering |
//! | [`web`] | how the host itself speaks to web servers |
//! | [`units`], [`suggest`] | durations, sizes and counts in words; "did you mean" |
//!
//! # Invariants
//!
//! 1. Nothing imports `cli`, and only `cli` imports `app`. `app` mounts `api`, which knows nothing
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
pub use record::{Kind, RunQuery, RunRecord, Status};
pub use run::{Cause, Level, Outcome, Output, RunId, SkipReason};
