//! What a host is put together from, and the host put together: for the command line, and for
//! programs that have one in them.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use super::LockOptions;
use super::config::FollowedConfig;
use super::host::{Arriving, Host};
use super::readers::{SourceReader, follow_files, read_plugins};
use super::retention;
use super::sources::{First, FollowedSource};
use super::stop::Stop;
use crate::app::catalog::Catalog;
use crate::app::components::{Components, Runner};
use crate::app::data::Opened;
use crate::app::machine::memory_for_runs;
use crate::app::watch::Watcher;
use crate::app::{AppError, CachePlace, DataPlace, Guests, engine_for, loader_for};
use crate::clock::Clock;
use crate::control::{Command, Control};
use crate::dispatcher::{Dispatcher, Ends, Parts, RunEnded};
use crate::event::Events;
use crate::firing::Planner;
use crate::hook::{HookParts, Hooks};
use crate::job::{JobId, OwnDefinition};
use crate::native::{Carrier, Natives};
use crate::policy::{Current, Policy, PolicyFile};
use crate::runtime::compiler::Compiler;
use crate::runtime::directory::Plugins;
use crate::runtime::engine::Engine;
use crate::runtime::lock::LockFile;
use crate::runtime::{Runtime, Sandbox};
use crate::scheduler::Scheduler;
use crate::secret::{CurrentSettings, Providers};
use crate::source::{JobSource, OwnSource, SourceError, directory_of};
use crate::store::{Recovered, Unfinished};

/// What a host is put together from.
pub(crate) struct Assembly {
    /// Where definitions come from, besides the host's own, which come last.
    pub(crate) sources: Vec<Arc<dyn JobSource>>,
    /// The plugins directory, if there is one.
    pub(crate) plugins: Option<PathBuf>,
    /// The functions of the program that the host is part of.
    pub(crate) natives: Natives,
    /// Where those run; on the threads of the host if nothing is said.
    pub(crate) threads: Option<Handle>,
    /// Definitions that the host is to have among its own, in the place of those of the same jobs.
    pub(crate) own: Vec<(JobId, String)>,
    /// How often definitions and plugins are looked at even if nothing tells of a change.
    pub(crate) refresh: Duration,
    /// Whether a source may remove more than half of its jobs at once without being read a second
    /// time.
    pub(crate) allow_mass_removal: bool,
    /// What the operator allows, as the configuration says at the start.
    pub(crate) policy: Arc<Policy>,
    /// The configuration, which is read again when it may have changed.
    pub(crate) config: PolicyFile,
    /// How many runs may be in flight at once.
    pub(crate) max_running: usize,
    /// How many bytes of memory all runs in flight may have together; what is sensible for the
    /// machine where nothing is said.
    pub(crate) max_memory: Option<u64>,
    /// Where what outlives the host is kept.
    pub(crate) data: DataPlace,
    /// Where compiled code is kept.
    pub(crate) cache: CachePlace,
    /// What compiles plugins.
    pub(crate) compiler: Compiler,
    /// The lock file that plugins are held to, if any.
    pub(crate) lock: Option<LockOptions>,
    /// What time it is.
    pub(crate) clock: Arc<dyn Clock>,
}

/// A host, put together. Nothing falls due before it is [run](Assembled::run).
pub(crate) struct Assembled {
    host: Host,
    first: Vec<First>,
    unfinished: Vec<Unfinished>,
    arriving: Arriving,
    ended: UnboundedReceiver<RunEnded>,
    tasks: Vec<JoinHandle<()>>,
    hooks: Option<Hooks>,
    /// Held as long as runs may be carried out.
    _guests: Guests,
}

impl Assembly {
    /// Opens what it keeps.
    ///
    /// # Errors
    /// It cannot be opened, or another host works with it.
    pub(crate) fn open(&self) -> Result<Opened, AppError> {
        self.data.open(self.clock.now())
    }

    /// Puts a host together on what it keeps, with what the host before it has left there. It
    /// does what arrives in `commands`, from its jobs by way of `control`, and tells of it in `events`.
    ///
    /// # Errors
    /// No engine, no plugins directory, a job file that is not there.
    pub(crate) async fn assemble(
        self,
        opened: Opened,
        recovered: Recovered,
        (control, commands): (Control, mpsc::Receiver<Command>),
        events: Events,
    ) -> Result<Assembled, AppError> {
        let Opened {
            store,
            definitions,
            outbox,
            logs,
        } = opened;
        let Assembly { clock, policy, .. } = self;
        let sandboxed = self.plugins.map(|path| Sandboxed {
            path,
            max_running: self.max_running,
            max_memory: self.max_memory.unwrap_or_else(memory_for_runs),
            lock: self.lock,
            compiler: self.compiler,
            cache: &self.cache,
            data: &self.data,
            clock: &clock,
            policy: &policy,
        });
        let (engine, plugins, watched) = match sandboxed {
            Some(sandboxed) => sandboxed.open()?,
            None => Opening::default(),
        };
        let mut sources = self.sources;
        let own = Arc::new(OwnSource::new(definitions.own().await?, policy.clone()));
        for (job, text) in self.own {
            let manifest = own.check(&job, &text, None).map_err(AppError::Definition)?;
            let definition = OwnDefinition {
                job: job.clone(),
                text,
                made_by: None,
            };
            definitions.put(definition).await?;
            own.put(&job, manifest.source.clone(), None);
        }
        let own_number = sources.len();
        sources.push(own.clone());
        // Watched before they are read, so that no change falls between the two.
        let of_sources = sources.iter().flat_map(|source| source.directories());
        let file_watcher = Watcher::new(of_sources.chain(self.config.directory()), self.refresh);
        let plugin_watcher = Watcher::new(watched, self.refresh);
        let kept = definitions.kept().await?;
        let first = sources
            .iter()
            .map(|source| First::of(&**source, kept.get(source.name())))
            .collect::<Result<Vec<First>, SourceError>>()?;
        drop(kept);

        let config_file = self.config.name();
        let guests = Guests::start()?;
        let threads = guests.handle().metrics().num_workers();
        let current = Current::new(policy.clone());
        let secrets = CurrentSettings::new(policy.secrets.clone());
        let carrier = Carrier::new(
            self.natives.clone(),
            clock.clone(),
            logs.clone(),
            self.threads,
        );
        let runtime = engine.zip(plugins.clone()).map(|(engine, plugins)| {
            let sandbox = Sandbox::new(engine, clock.clone(), threads)
                .under(current.clone())
                .with_secrets(Providers::following(secrets.clone()))
                .with_logs(logs)
                .with_control(control.clone());
            Runtime::new(sandbox, plugins)
        });
        let (ends, ended) = Ends::new();
        let dispatcher = Dispatcher::new(
            Runner { runtime, carrier },
            Parts {
                store: store.clone(),
                clock: clock.clone(),
                events: events.clone(),
                ends: ends.clone(),
                runtime: guests.handle(),
                max_running: self.max_running,
            },
        );
        Host::restore_pauses(&*store, &dispatcher).await?;

        let hooks = Hooks::start(HookParts {
            policy: current.clone(),
            secrets: Arc::new(Providers::following(secrets.clone())),
            outbox,
            clock: clock.clone(),
            events: events.clone(),
        });
        let hooks = hooks.await?;
        let (tell, messages) = mpsc::channel(64);
        let (readers, mut tasks): (Vec<SourceReader>, Vec<_>) = sources
            .iter()
            .enumerate()
            .map(|(number, source)| {
                SourceReader::start(number, source.clone(), self.refresh, tell.clone())
            })
            .unzip();
        let followed = sources.iter().zip(&readers);
        let followed =
            followed.map(|(source, reader)| FollowedSource::new(&**source, reader.clone()));
        let followed = followed.collect();
        let names = sources.iter().map(|source| source.name());
        let catalog = Catalog::new(names, policy.clone());
        tasks.extend([
            tokio::spawn(follow_files(
                sources.into_iter().zip(readers).collect(),
                self.config,
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

        let host = Host {
            config: FollowedConfig {
                // What a flag says is above what the file says, now and later.
                max_memory: (self.max_memory == policy.host.max_memory)
                    .then_some(policy.host.max_memory),
                sources: policy.clone(),
                last: policy,
                file: config_file,
                broken: false,
                pending: None,
            },
            catalog,
            policy: current,
            secrets,
            sources: followed,
            refresh: self.refresh,
            allow_mass_removal: self.allow_mass_removal,
            components: Components::new(plugins, self.natives),
            scheduler: Scheduler::new(),
            planner: Planner::new(store.clone()),
            left: recovered.schedules,
            at_start: HashSet::new(),
            dispatcher,
            ends,
            started_at: clock.now(),
            clock,
            store,
            own,
            own_number,
            definitions,
            events,
            data: self.data.directory()?,
            on_behalf_of: None,
            answering: tokio::task::JoinSet::new(),
        };
        Ok(Assembled {
            host,
            first,
            unfinished: recovered.unfinished,
            arriving: Arriving { messages, commands },
            ended,
            tasks,
            hooks: Some(hooks),
            _guests: guests,
        })
    }
}

/// What the plugins of a host are loaded with.
struct Sandboxed<'a> {
    path: PathBuf,
    max_running: usize,
    max_memory: u64,
    lock: Option<LockOptions>,
    compiler: Compiler,
    cache: &'a CachePlace,
    data: &'a DataPlace,
    clock: &'a Arc<dyn Clock>,
    policy: &'a Policy,
}

/// The engine and the plugins, if there are any, and the directories to watch for changes.
type Opening = (Option<Engine>, Option<Arc<Plugins>>, Vec<PathBuf>);

impl Sandboxed<'_> {
    fn open(self) -> Result<Opening, AppError> {
        let engine = engine_for(self.max_running, self.max_memory)?;
        let cache = self.cache.open(&engine)?;
        let loader = loader_for(&engine, cache, self.compiler, self.policy);
        let path = self.path;
        let plugins = Plugins::open(&path, loader).map_err(|error| AppError::PluginsDirectory {
            path: path.clone(),
            error,
        })?;
        let lock = self
            .lock
            .map(|lock| LockFile::new(lock.path, lock.strict, path.clone(), self.clock.clone()));
        let beside_lock = lock.as_ref().map(|lock| directory_of(lock.path()));
        let mut copies = None;
        if let Some(lock) = &lock {
            lock.read()?;
            copies = self.data.accepted_copies()?;
        }
        let plugins = Arc::new(plugins.under(lock, copies));
        let watched = beside_lock.into_iter().chain([path]).collect();
        Ok((Some(engine), Some(plugins), watched))
    }
}

impl Assembled {
    /// Runs the host until it is asked to stop, and sees the runs in flight to their end, which
    /// have `grace` for it. What it told its store is written then only once that is closed.
    pub(crate) async fn run(&mut self, grace: Duration, stop: &Stop) {
        let first = std::mem::take(&mut self.first);
        let unfinished = std::mem::take(&mut self.unfinished);
        self.host
            .run(first, unfinished, &mut self.arriving, &mut self.ended, stop)
            .await;
        // Nobody carries out what is told from here on, and no run is to wait for it.
        self.arriving.close();
        for task in &self.tasks {
            task.abort();
        }
        self.host.components.stop();
        self.host.come_to_rest(grace, &mut self.ended, stop).await;
        // What has been told by now, they take up; what they have not sent, the next host does.
        if let Some(hooks) = self.hooks.take() {
            hooks.finish().await;
        }
    }

    /// Closes the store: not left to whoever lets go of it last, as the process may have ended by
    /// then.
    pub(crate) async fn close(self) {
        self.host.store.close().await;
    }
}
