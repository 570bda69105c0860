//! The sandbox: runs one attempt of a job in a fresh instance, inside its limits.
//!
//! ```text
//! plugins/*.wasm ──shape──▶ what is it? ──cache, engine──▶ Plugin (compiled, linked)
//!                                                             │
//! Attempt ─▶ Runtime::execute ─▶ store + instance ─▶ call ─▶ Execution
//!                                   │ guest.rs: memory, time, output
//! ```
//!
//! What ends a guest: its own return; the epoch callback in [`guest`] when it computes past its
//! deadline; dropping its future when it waits past its deadline in the host; fuel; and a trap.

pub mod accepted;
pub mod bindings;
pub mod cache;
pub mod capability;
pub mod compiler;
pub mod determinism;
pub mod directory;
pub mod engine;
pub mod guest;
mod imports;
mod lines;
pub mod lock;
mod nesting;
pub mod plugin;
mod redaction;
pub mod shape;

mod outcome;
mod turns;
#[cfg(feature = "wasi-03")]
mod wasi03;
mod way;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::Store;
use wasmtime_wasi::clocks::HostWallClock;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiView as _};

use bindings::quarterjack::job::types as wit;
use capability::filesystem::{Directories, Within};
use capability::resolve::Network;
use capability::secrets::Secrets;
use capability::{Desk, Equipment, Peers, allow_sockets};
use determinism::GuestTime;
use directory::Plugins;
use engine::Engine;
use guest::{CappedPipe, Echo, Ended, GuestState, Pipe, Stream, Wasi};
use lines::Lines;
use outcome::{Ending, Spent};
use plugin::{Entry, Plugin};
use shape::Digest;
use turns::{CpuTime, Turns};
use way::way_to;

use crate::clock::{self, Clock, Timestamp, format_instant};
use crate::control::Control;
use crate::dispatcher::{Cancel, CancelReason, Executor, Session};
use crate::job::{EnvValue, Job};
use crate::log::{LogSink, LogStream};
use crate::policy::Current;
use crate::run::{Attempt, Cause, Execution, SkipReason};
use crate::secret::Providers;

/// How long a guest that can ask whether it is to end may go on when it is.
pub const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// The most random bytes that a run may ask for in one call.
const MAX_RANDOM: u64 = 4 << 20;

/// Runs jobs in the sandbox.
pub struct Runtime {
    sandbox: Sandbox,
    plugins: Arc<Plugins>,
}

impl Runtime {
    /// A runtime for the plugins of one directory.
    pub fn new(sandbox: Sandbox, plugins: Arc<Plugins>) -> Self {
        Runtime { sandbox, plugins }
    }

    fn plugin_of(&self, job: &Job) -> Option<Arc<Plugin>> {
        match job.sha256 {
            None => self.plugins.get(&job.component),
            Some(pin) => self.plugins.pinned(&job.component, pin.into()),
        }
    }
}

/// What all runs have in common. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    engine: Engine,
    clock: Arc<dyn Clock>,
    turns: Turns,
    secrets: Arc<Providers>,
    policy: Current,
    /// The way to the network, for those that are granted one.
    network: Arc<Network>,
    /// Where the lines of runs go, if they are kept.
    logs: Option<Arc<dyn LogSink>>,
    /// The host that keeps the definitions which its guests make, if one does.
    control: Option<Control>,
}

impl Executor for Runtime {
    fn ready(&self, job: &Job) -> Result<(), SkipReason> {
        if self.plugin_of(job).is_some() {
            return Ok(());
        }
        Err(SkipReason::PluginMissing(match job.sha256 {
            None => job.component.clone(),
            Some(pin) => format!("{} with the sha256 {}", job.component, Digest::from(pin)).into(),
        }))
    }

    async fn execute(&self, attempt: Attempt, session: Session) -> Execution {
        match self.plugin_of(&attempt.run.job) {
            Some(plugin) => pin!(self.sandbox.run(&plugin, &attempt, session, None)).await,
            None => outcome::not_started(format!(
                "plugin {} is missing: it was removed before the run could start",
                attempt.run.job.component
            )),
        }
    }
}

impl Sandbox {
    /// A sandbox whose guests run on so many threads, and whose time of day is that of `clock`.
    pub fn new(engine: Engine, clock: Arc<dyn Clock>, threads: usize) -> Sandbox {
        Sandbox {
            engine,
            clock,
            turns: Turns::new(threads),
            secrets: Arc::default(),
            policy: Current::default(),
            network: Arc::default(),
            logs: None,
            control: None,
        }
    }

    /// The same; the jobs that its guests define are this host's.
    #[must_use]
    pub fn with_control(mut self, control: Control) -> Sandbox {
        self.control = Some(control);
        self
    }

    /// The same; what its guests print and log goes there too, line by line.
    #[must_use]
    pub fn with_logs(mut self, logs: Arc<dyn LogSink>) -> Sandbox {
        self.logs = Some(logs);
        self
    }

    /// The same, with secrets from these providers.
    pub fn with_secrets(self, providers: Providers) -> Sandbox {
        Sandbox {
            secrets: Arc::new(providers),
            ..self
        }
    }

    /// The sandbox under what the operator allows, as it is when a run asks.
    #[must_use]
    pub fn under(mut self, policy: Current) -> Sandbox {
        self.policy = policy;
        self
    }

    /// Runs one attempt of a job with a plugin that need not be in the plugins directory. `echo`
    /// is told what the guest prints, as it prints it.
    pub async fn run(
        &self,
        plugin: &Plugin,
        attempt: &Attempt,
        session: Session,
        echo: Option<Echo>,
    ) -> Execution {
        // Pinned where it is made, and so below: by value, a few KiB would be moved each time.
        let mut execution = pin!(self.carry_out(plugin, attempt, session, echo)).await;
        execution.plugin = Some(plugin.digest.into());
        execution
    }

    async fn carry_out(
        &self,
        plugin: &Plugin,
        attempt: &Attempt,
        session: Session,
        echo: Option<Echo>,
    ) -> Execution {
        let Sandbox {
            engine,
            clock,
            turns,
            policy,
            network,
            ..
        } = self;
        let engine = match engine.for_shape(plugin.shape) {
            Ok(engine) => engine,
            Err(error) => return outcome::not_started(error.to_string()),
        };
        let cancel = session.cancel.clone();
        let _place = engine.enter(plugin.slots).await;
        let job = &attempt.run.job;
        let started = clock::monotonic();
        let deadline = started.checked_add(attempt.time().0);

        // As bounded as the run itself: a disk may never answer. Whoever has no secrets is first.
        let resolved = tokio::select! {
            biased;
            resolved = Secrets::resolve(&self.secrets, &job.grants) => resolved,
            () = cancel.cancelled() => Err("it was cancelled before it had its secrets".to_owned()),
            () = sleep_until(deadline) => Err("its time was up before it had its secrets".to_owned()),
        };
        let secrets = match resolved {
            Ok(secrets) => secrets,
            Err(error) => return outcome::not_started(error),
        };
        let pipe = |stream| {
            let mut pipe = Pipe::of(job.limits.output);
            pipe.echo = echo.clone().map(|echo| (stream, echo));
            pipe.redactor = secrets.redactor().cloned();
            if stream == Stream::Log {
                pipe.rate = Some(job.limits.log_rate);
                pipe.lines = (self.logs.as_ref()).map(|logs| {
                    Lines::new(logs.clone(), clock.clone(), attempt, secrets.redactor())
                });
            }
            CappedPipe::new(pipe)
        };
        let peers = Peers::of(&job.grants);
        let time = job.deterministic.then(|| GuestTime::of(attempt));
        let mut printed = None;
        let (wasi, directories) = if plugin.imports {
            let printed = printed.insert((pipe(Stream::Output), pipe(Stream::Log)));
            let given = Given {
                clocks: match &time {
                    Some(time) => Clocks::Own(time),
                    None => Clocks::Host(clock),
                },
                secrets: &secrets,
                policy,
                peers: peers.as_ref(),
                printed,
            };
            match wasi_for(plugin, attempt, given) {
                Ok(opened) => opened,
                Err(error) => return outcome::not_started(error),
            }
        } else {
            // What imports nothing prints nothing.
            (Wasi::None, Directories::default())
        };
        let log = printed.as_ref().map(|(_, log)| log.clone());
        let given = Equipment {
            log,
            policy: Some(policy.clone()),
            cooperates: plugin.cooperates,
            secrets,
            peers,
            directories,
            made: (self.control.as_ref())
                .filter(|_| job.grants.schedule.is_some())
                .map(|control| control.made_by(job.id.clone())),
        };
        let desk = Desk::new(attempt.clone(), session, network.clone(), given, started);
        let state = GuestState::new(desk, deadline, wasi, engine.memory().clone(), time);
        let mut store = engine.store(state, job.limits.fuel);

        let cpu = CpuTime::default();
        let ending = {
            let call = pin!(call(plugin, &mut store, attempt));
            let call = pin!(turns.take(&cpu, call));
            tokio::select! {
                // The guest first: a run that ends in its first stretch never arms a timer.
                biased;
                ending = call => ending,
                () = to_be_ended(&cancel, plugin.cooperates) => Ending::Ended(Ended::Cancelled(
                    cancel.reason().unwrap_or(CancelReason::Requested),
                )),
                () = sleep_until(deadline) => Ending::Ended(Ended::TimedOut),
            }
        };

        let fuel_left = store.get_fuel().unwrap_or(0);
        let meter = store.data_mut().meter();
        let spent = Spent {
            fuel: job.limits.fuel.saturating_sub(fuel_left),
            memory_peak: meter.peak(),
            memory_refused: meter.refused(),
            cpu_time: cpu.total(),
            elapsed: started.elapsed(),
        };
        let left = store.data_mut().desk().leave();
        drop(store);
        let printed = printed.map(|(output, log)| (output.take(), log.take()));
        outcome::conclude(
            attempt,
            cancel.reason().filter(|_| plugin.cooperates),
            plugin.shape,
            ending,
            spent,
            left,
            printed.unwrap_or_default(),
        )
    }
}

/// Calls the guest's entry and says how that ended.
async fn call(plugin: &Plugin, store: &mut Store<GuestState>, attempt: &Attempt) -> Ending {
    match &plugin.entry {
        Entry::Typed(pre) => {
            let context = context_of(attempt);
            let called = pin!(async {
                let instance = pin!(pre.instantiate_async(&mut *store)).await?;
                instance.call_run(&mut *store, &context).await
            });
            called.await.map_or_else(Ending::from_error, Ending::Typed)
        }
        Entry::Command(pre) => {
            let called = pin!(async {
                let instance = pin!(pre.instantiate_async(&mut *store)).await?;
                instance.wasi_cli_run().call_run(&mut *store).await
            });
            called.await.map_or_else(Ending::from_error, |result| {
                Ending::Exited(i32::from(result.is_err()))
            })
        }
        #[cfg(feature = "wasi-03")]
        Entry::Command03(pre) => wasi03::call(pre, store).await,
        Entry::Core(pre) => {
            let called = pin!(async {
                let instance = pin!(pre.instantiate_async(&mut *store)).await?;
                let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
                start.call_async(&mut *store, ()).await
            });
            called
                .await
                .map_or_else(Ending::from_error, |()| Ending::Exited(0))
        }
    }
}

/// Resolves when a run that was asked to end is to be ended: at once, unless its guest can ask
/// whether it is to end.
async fn to_be_ended(cancel: &Cancel, cooperates: bool) {
    cancel.cancelled().await;
    if cooperates {
        tokio::time::sleep(CANCEL_GRACE).await;
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Where a guest's time comes from.
enum Clocks<'a> {
    /// From the host.
    Host(&'a Arc<dyn Clock>),
    /// From the record of its run.
    Own(&'a GuestTime),
}

/// What a run's WASI is made of, besides the run itself.
struct Given<'a> {
    clocks: Clocks<'a>,
    secrets: &'a Secrets,
    policy: &'a Current,
    peers: Option<&'a Arc<Peers>>,
    /// Where its output and its log go.
    printed: &'a (CappedPipe, CappedPipe),
}

/// The WASI that a run sees: what its job is granted, and the run itself as standard input and
/// environment.
fn wasi_for(
    plugin: &Plugin,
    attempt: &Attempt,
    given: Given<'_>,
) -> Result<(Wasi, Directories), String> {
    let job = &attempt.run.job;
    let Given {
        clocks,
        secrets,
        policy,
        peers,
        printed: (output, log),
    } = given;
    let (mut builder, mut directories) = (WasiCtx::builder(), Directories::default());
    let command = !matches!(plugin.entry, Entry::Typed(_));
    if command {
        let params = match &job.params {
            Some(params) => Bytes::copy_from_slice(params.as_bytes()),
            None => Bytes::from_static(b"null"),
        };
        builder.stdin(MemoryInputPipe::new(params));
        builder.stdout(output.clone());
    } else {
        // A typed job returns its output: what it prints is its log.
        builder.stdout(log.called(LogStream::Stdout));
    }
    builder.stderr(log.clone());
    if plugin.environment {
        builder.arg(&job.component);
        builder.args(&job.args);
        describe_run(&mut builder, attempt);
        // After the host's own, so that a definition that sets one of those names has its way.
        for (name, value) in &job.grants.env {
            match value {
                EnvValue::Text(value) => builder.env(name, value),
                EnvValue::Secret(secret) => builder.env(name, secret_text(secrets, secret)?),
            };
        }
    }
    let dirs: &[_] = if plugin.files { &job.grants.dirs } else { &[] };
    for dir in dirs {
        // The links may have changed since the definition was judged.
        let way = way_to(dir, &policy.get().ceiling_for(&job.id))?;
        let within = way.as_ref().map(|way| Within {
            root: &way.from.root,
            below: &way.from.below,
            then: &way.then,
        });
        directories.grant(dir, within)?;
    }
    match clocks {
        Clocks::Own(time) => determinism::equip(&mut builder, attempt, time),
        Clocks::Host(clock) => {
            builder.wall_clock(GuestClock(clock.clone()));
        }
    }
    allow_sockets(&mut builder, peers);
    // One call of the host is not interrupted: this bounds how long it takes.
    builder.max_random_size(MAX_RANDOM);
    let wasi = match plugin.entry {
        Entry::Core(_) => {
            directories.number(&mut builder)?;
            let mut context = Box::new(builder.build_p1());
            let handles = job.limits.handles as usize;
            context.ctx().table.set_max_capacity(handles);
            Wasi::P1(context)
        }
        _ => Wasi::P2(Box::new(builder.build())),
    };
    Ok((wasi, directories))
}

/// A secret as the value of a variable, which is text.
fn secret_text<'s>(secrets: &'s Secrets, name: &str) -> Result<&'s str, String> {
    match secrets.get(name) {
        Some(Ok(value)) => value
            .reveal_text()
            .ok_or_else(|| format!("the secret {name} is no text: a variable cannot hold it")),
        Some(Err(error)) => Err(error.to_string()),
        None => Err(format!("the secret {name} was not looked for")),
    }
}

/// The run's context as environment variables, for jobs without the typed interface.
fn describe_run(builder: &mut WasiCtxBuilder, attempt: &Attempt) {
    let run = &attempt.run;
    builder
        .env("QUARTERJACK_JOB_ID", run.job.id.as_str())
        .env("QUARTERJACK_RUN_ID", run.id.to_text())
        .env("QUARTERJACK_ATTEMPT", attempt.number.to_string())
        .env("QUARTERJACK_MAX_ATTEMPTS", run.max_attempts.to_string())
        .env("QUARTERJACK_CAUSE", run.cause.as_str())
        .env("QUARTERJACK_SCHEDULED_AT", format_instant(run.scheduled_at))
        .env("QUARTERJACK_STARTED_AT", format_instant(attempt.started_at))
        .env("QUARTERJACK_DEADLINE", format_instant(attempt.deadline()));
    if let Some(last_success) = run.last_success {
        builder.env("QUARTERJACK_LAST_SUCCESS", format_instant(last_success));
    }
}

fn context_of(attempt: &Attempt) -> wit::RunContext {
    let run = &attempt.run;
    wit::RunContext {
        job_id: run.job.id.as_str().to_owned(),
        run_id: run.id.to_text(),
        attempt: attempt.number,
        max_attempts: run.max_attempts,
        cause: match run.cause {
            Cause::Schedule => wit::Cause::Schedule,
            Cause::Manual => wit::Cause::Manual,
            Cause::Api => wit::Cause::Api,
            Cause::CatchUp => wit::Cause::CatchUp,
            Cause::Upstream => wit::Cause::Upstream,
        },
        scheduled_at: instant_of(run.scheduled_at),
        started_at: instant_of(attempt.started_at),
        deadline: instant_of(attempt.deadline()),
        last_success: run.last_success.map(instant_of),
        params: run.job.params.as_deref().unwrap_or("null").to_owned(),
    }
}

/// An instant as the contract has it; one before 1970, which the contract cannot say, is 1970.
fn instant_of(instant: Timestamp) -> wit::Instant {
    match u64::try_from(instant.timestamp()) {
        Ok(seconds) => wit::Instant {
            seconds,
            nanoseconds: instant.timestamp_subsec_nanos().min(999_999_999),
        },
        Err(_) => wit::Instant {
            seconds: 0,
            nanoseconds: 0,
        },
    }
}

/// The host's clock as the guests' time of day.
struct GuestClock(Arc<dyn Clock>);

impl HostWallClock for GuestClock {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        (self.0.now() - Timestamp::UNIX_EPOCH)
            .to_std()
            .unwrap_or_default()
    }
}
