//! The host: reads definitions and plugins, fires what is due, follows every change, and stops
//! in order.
//!
//! ```text
//! watch ─▶ sources ──┐
//!                    ├─ messages ─▶ control loop ─▶ scheduler ─▶ firing ─▶ dispatcher
//! watch ─▶ plugins ──┘                  ▲                                     │
//!                       clock, stop, api ─▶ control               guest threads
//! ```
//!
//! The control loop owns the schedule and never blocks: files are read and compiled on other
//! threads, and guests run on theirs.

mod backfill;
mod config;
mod control;
mod definitions;
mod host;
mod readers;
mod retention;
mod sources;
mod stop;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::catalog::Catalog;
use super::data::Opened;
use super::machine::memory_for_runs;
use super::watch::Watcher;
use super::{AppError, CachePlace, DataPlace, Guests, engine_for, loader_for};
use crate::api::socket::{self, Socket};
use crate::api::{Api, tcp};
use crate::clock::{Clock, SystemClock, format_instant, is_unset};
use crate::control::Control;
use crate::dispatcher::{Dispatcher, Ends, Parts};
use crate::event::Events;
use crate::firing::Planner;
use crate::policy::{Current, Policy, PolicyFile};
use crate::run::RunId;
use crate::runtime::directory::Plugins;
use crate::runtime::lock::LockFile;
use crate::runtime::{Runtime, Sandbox};
use crate::scheduler::Scheduler;
use crate::secret::{CurrentSettings, Providers};
use crate::source::{self, OwnSource, SourceError, directory_of};

use config::FollowedConfig;
use host::{Arriving, Host};
use readers::{SourceReader, follow_files, read_plugins};
use sources::{First, FollowedSource};
pub use stop::Stop;

/// How a host is set up.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The job files, directories of them, and URLs; none for the usual ones.
    pub jobs: Vec<PathBuf>,
    /// The plugins directory, with what is defined beside the plugins.
    pub plugins: PathBuf,
    /// How often definitions and plugins are looked at even if nothing tells of a change.
    pub refresh: Duration,
    /// Whether a source may remove more than half of its jobs at once without being read a second
    /// time.
    pub allow_mass_removal: bool,
    /// How long runs in flight are waited for when the host stops.
    pub grace: Duration,
    /// What the operator allows, as the configuration says at the start.
    pub policy: Policy,
    /// The configuration, which is read again when it may have changed.
    pub config: PolicyFile,
    /// How many runs may be in flight at once.
    pub max_running: usize,
    /// How many bytes of memory all runs in flight may have together; what is sensible for the
    /// machine where nothing is said.
    pub max_memory: Option<u64>,
    /// Where the history, the schedules and the states of jobs are kept.
    pub data: DataPlace,
    /// Where compiled code is kept.
    pub cache: CachePlace,
    /// The lock file that plugins are held to, if any.
    pub lock: Option<LockOptions>,
    /// Where to listen for requests, besides the socket in the data directory.
    pub listen: Option<SocketAddr>,
}

/// How plugins are held to a lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockOptions {
    /// The file. It is made if it is not there.
    pub path: PathBuf,
    /// Whether nothing is taken that is not in it as it is.
    pub strict: bool,
}

/// Runs the host until it is asked to stop. Everything that it has to say, it says in `events`;
/// the last one is [`Event::HostStopped`](crate::event::Event::HostStopped).
///
/// # Errors
/// If it cannot start: no engine, no plugins directory, a job file that is not there. Nothing
/// that a definition or a plugin does is an error of the host.
pub async fn serve(options: ServeOptions, events: Events, stop: Stop) -> Result<(), AppError> {
    allow_many_files();
    // Before anything that takes its time: another host may hold it.
    let now = SystemClock.now();
    if is_unset(now) {
        tracing::warn!(
            "the clock of this machine says {}, so it is not set: jobs fire by it all the same, and what is recorded bears that time; set it, and they go on with the new one",
            format_instant(now)
        );
    }
    let Opened {
        store,
        definitions,
        logs,
    } = options.data.open(now)?;
    let recovered = store.recover().await?;
    let (control, commands) = Control::new();
    // Dropped before the store is: as long as it is there, nobody else listens.
    let host = RunId::new(now);
    let api = Api::new(control, store.clone(), logs.clone(), events.clone(), host);
    let listening = listen(&options, api).await?;
    let max_memory = options.max_memory.unwrap_or_else(memory_for_runs);
    let engine = engine_for(options.max_running, max_memory)?;
    let cache = options.cache.open(&engine)?;
    let loader = loader_for(&engine, cache, &options.policy);
    let plugins =
        Plugins::open(&options.plugins, loader).map_err(|error| AppError::PluginsDirectory {
            path: options.plugins.clone(),
            error,
        })?;
    let lock = options.lock.map(|lock| {
        let plugins = options.plugins.clone();
        LockFile::new(lock.path, lock.strict, plugins, Arc::new(SystemClock))
    });
    let beside_lock = lock.as_ref().map(|lock| directory_of(lock.path()));
    let mut copies = None;
    if let Some(lock) = &lock {
        lock.read()?;
        copies = options.data.accepted_copies()?;
    }
    let plugins = Arc::new(plugins.under(lock, copies));
    let policy = Arc::new(options.policy);
    let mut sources = source::open(&options.jobs, &options.plugins, &policy);
    let own = Arc::new(OwnSource::new(definitions.own().await?, policy.clone()));
    let own_number = sources.len();
    sources.push(own.clone());
    // Watched before they are read, so that no change falls between the two.
    let of_sources = sources.iter().flat_map(|source| source.directories());
    let file_watcher = Watcher::new(
        of_sources.chain(options.config.directory()),
        options.refresh,
    );
    let plugin_watcher = Watcher::new(
        beside_lock.into_iter().chain([options.plugins.clone()]),
        options.refresh,
    );
    let kept = definitions.kept().await?;
    let first = sources
        .iter()
        .map(|source| First::of(&**source, kept.get(source.name())))
        .collect::<Result<Vec<First>, SourceError>>()?;
    drop(kept);

    let config_file = options.config.name();
    let guests = Guests::start()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let threads = guests.handle().metrics().num_workers();
    let current = Current::new(policy.clone());
    let secrets = CurrentSettings::new(policy.secrets.clone());
    let sandbox = Sandbox::new(engine, clock.clone(), threads)
        .under(current.clone())
        .with_secrets(Providers::following(secrets.clone()))
        .with_logs(logs);
    let runtime = Runtime::new(sandbox, plugins.clone());
    let (ends, mut ended) = Ends::new();
    let dispatcher = Dispatcher::new(
        runtime,
        Parts {
            store: store.clone(),
            clock: clock.clone(),
            events: events.clone(),
            ends: ends.clone(),
            runtime: guests.handle(),
            max_running: options.max_running,
        },
    );

    Host::restore_pauses(&*store, &dispatcher).await?;

    let (tell, messages) = mpsc::channel(64);
    let (readers, mut tasks): (Vec<SourceReader>, Vec<_>) = sources
        .iter()
        .enumerate()
        .map(|(number, source)| {
            SourceReader::start(number, source.clone(), options.refresh, tell.clone())
        })
        .unzip();
    let followed = sources.iter().zip(&readers);
    let followed = followed.map(|(source, reader)| FollowedSource::new(&**source, reader.clone()));
    let followed = followed.collect();
    let names = sources.iter().map(|source| source.name());
    let catalog = Catalog::new(names, policy.clone());
    tasks.extend([
        tokio::spawn(follow_files(
            sources.into_iter().zip(readers).collect(),
            options.config,
            file_watcher,
            tell.clone(),
        )),
        tokio::spawn(read_plugins(plugins.clone(), plugin_watcher, tell)),
        tokio::spawn(retention::keep(
            store.clone(),
            current.clone(),
            clock.clone(),
        )),
    ]);

    let mut host = Host {
        config: FollowedConfig {
            // What a flag says is above what the file says, now and later.
            max_memory: (options.max_memory == policy.host.max_memory)
                .then_some(policy.host.max_memory),
            sources: policy.clone(),
            last: policy.clone(),
            file: config_file,
            broken: false,
            pending: None,
        },
        catalog,
        policy: current,
        secrets,
        sources: followed,
        refresh: options.refresh,
        allow_mass_removal: options.allow_mass_removal,
        plugins,
        scheduler: Scheduler::new(),
        planner: Planner::new(store.clone()),
        left: recovered.schedules,
        at_start: HashSet::new(),
        dispatcher,
        ends,
        clock,
        store,
        own,
        own_number,
        definitions,
        events,
        data: options.data.directory()?,
        started_at: SystemClock.now(),
        answering: tokio::task::JoinSet::new(),
    };
    let arriving = Arriving { messages, commands };
    host.run(first, recovered.unfinished, arriving, &mut ended, &stop)
        .await;
    for task in &tasks {
        task.abort();
    }
    host.plugins.stop();
    host.come_to_rest(options.grace, &mut ended, &stop).await;
    drop(listening);
    // Not left to whoever lets go of it last: the process may have ended by then.
    host.store.close().await;
    Ok(())
}

/// That the host listens to what it is told, until it is dropped.
#[derive(Default)]
struct Listening {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _socket: Option<Socket>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Listens on the socket of the data directory, which is held by this process, and where else it is
/// to. A host that cannot do the first does its work all the same.
async fn listen(options: &ServeOptions, api: Arc<Api>) -> Result<Listening, AppError> {
    let mut listening = Listening::default();
    let directory = options.data.directory()?;
    if let Some(directory) = &directory {
        match Socket::bind(directory) {
            Ok((socket, listener)) => {
                let serve = socket::serve(listener, api.clone());
                listening.tasks.push(tokio::spawn(serve));
                listening._socket = Some(socket);
            }
            Err(error) => {
                tracing::warn!(%error, "nobody can tell this host what to do (trigger, cancel, pause, backfill)");
            }
        }
    }
    if let Some(address) = options.listen {
        let listener = tcp::Listener::bind(address, directory.as_deref()).await?;
        if let Ok(address) = listener.address() {
            tracing::info!("listening on http://{address}");
        }
        listening.tasks.push(tokio::spawn(listener.serve(api)));
    }
    Ok(listening)
}

/// Lets the process have as many files open as the system allows it: each running job may hold
/// some, and the usual limit is meant for programs that use `select`.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}
