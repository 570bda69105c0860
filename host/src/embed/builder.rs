//! How a scheduler is set up, and started.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::context::{IntoOutput, RunContext};
use super::error::{Error, Failure};
use super::job::{Function, Job, erased};
use super::scheduler::{Inner, Scheduler};
use super::thread;
use crate::app::{Assembly, CachePlace, DataPlace, LockOptions};
use crate::clock::{Clock, SystemClock};
use crate::native::Natives;
use crate::policy::{Choice, Flags, Policy, PolicyFile};
use crate::runtime::compiler::Compiler;
use crate::source::{self, FunctionSource, JobSource};

/// Sets a [`Scheduler`] up.
///
/// Nothing is read from the working directory, the environment or the user's directories that is
/// not named here, but for the cache of compiled code, see [`cache`](SchedulerBuilder::cache).
pub struct SchedulerBuilder {
    plugins: Option<PathBuf>,
    data: DataPlace,
    places: Vec<PathBuf>,
    sources: Vec<Arc<dyn JobSource>>,
    jobs: Vec<Job>,
    functions: Vec<(String, Function)>,
    policy: Policy,
    config: Option<PathBuf>,
    clock: Arc<dyn Clock>,
    refresh: Duration,
    grace: Duration,
    max_running: usize,
    max_memory: Option<u64>,
    allow_mass_removal: bool,
    cache: CachePlace,
    lock: Option<LockOptions>,
}

impl Default for SchedulerBuilder {
    fn default() -> Self {
        SchedulerBuilder {
            plugins: None,
            data: DataPlace::Nowhere,
            places: Vec::new(),
            sources: Vec::new(),
            jobs: Vec::new(),
            functions: Vec::new(),
            policy: Policy::default(),
            config: None,
            clock: Arc::new(SystemClock),
            refresh: Duration::from_secs(5),
            grace: Duration::from_secs(10),
            max_running: 256,
            max_memory: None,
            allow_mass_removal: false,
            cache: CachePlace::Usual,
            lock: None,
        }
    }
}

impl SchedulerBuilder {
    /// A directory of `.wasm` files that jobs may be, and of definitions beside them
    /// (`report.job.json` beside `report.wasm`). Without one, no WebAssembly engine is made.
    #[must_use]
    pub fn plugins(mut self, directory: impl Into<PathBuf>) -> Self {
        self.plugins = Some(directory.into());
        self
    }

    /// Where the history, the schedules, the jobs that are added, their pauses and states are kept
    /// over a restart. One process at a time works with a directory. The command line can read it:
    /// `quarterjack runs --data DIR`.
    #[must_use]
    pub fn data(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data = DataPlace::At(directory.into());
        self
    }

    /// Keeps everything in memory: all is forgotten with the scheduler. So it is if nothing is
    /// said.
    #[must_use]
    pub fn ephemeral(mut self) -> Self {
        self.data = DataPlace::Nowhere;
        self
    }

    /// A place of definitions, which is followed as it changes: a job file, a directory of them, or
    /// the URL of one. May be called several times.
    #[must_use]
    pub fn jobs(mut self, place: impl Into<PathBuf>) -> Self {
        self.places.push(place.into());
        self
    }

    /// A source of definitions of another kind. May be called several times.
    #[must_use]
    pub fn source(mut self, source: impl JobSource) -> Self {
        self.sources.push(Arc::new(source));
        self
    }

    /// A source of definitions that is a function: it gives the text of a job file, and is asked
    /// again every so often. It may block. If it fails, the jobs that it had go on.
    ///
    /// Its definitions may name [functions](SchedulerBuilder::register) of the program:
    /// `{"id": "a", "component": "native:sync", "trigger": "@hourly"}`.
    #[must_use]
    pub fn source_fn(
        self,
        name: impl Into<Arc<str>>,
        every: Duration,
        function: impl FnMut() -> Result<String, String> + Send + 'static,
    ) -> Self {
        self.source(FunctionSource::new(name, every, function))
    }

    /// A job that is there from the start, in the place of one of its id that was added at another
    /// time. May be called several times.
    #[must_use]
    pub fn job(mut self, job: Job) -> Self {
        self.jobs.push(job);
        self
    }

    /// A function that definitions may name as their component, `native:NAME`. May be called
    /// several times.
    #[must_use]
    pub fn register<F, R, O>(mut self, name: impl Into<String>, function: F) -> Self
    where
        F: Fn(RunContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, Failure>> + Send + 'static,
        O: IntoOutput,
    {
        self.functions.push((name.into(), erased(function)));
        self
    }

    /// What definitions may ask for at most.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self.config = None;
        self
    }

    /// The same, from a configuration file (`quarterjack.toml`), which is followed as it changes.
    #[must_use]
    pub fn config(mut self, file: impl Into<PathBuf>) -> Self {
        self.config = Some(file.into());
        self
    }

    /// What time it is, and how it passes: a [`ManualClock`](crate::ManualClock) for tests.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How many runs may be in flight at once, 256 if nothing is said; more wait. At least 1.
    #[must_use]
    pub fn max_running(mut self, runs: usize) -> Self {
        self.max_running = runs.max(1);
        self
    }

    /// How many bytes of memory all runs of components may have together; three quarters of the
    /// machine's if nothing is said.
    #[must_use]
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.max_memory = Some(bytes);
        self
    }

    /// How often definitions and plugins are looked at even if nothing tells of a change; every 5
    /// seconds if nothing is said.
    #[must_use]
    pub fn refresh(mut self, every: Duration) -> Self {
        self.refresh = every.max(Duration::from_millis(10));
        self
    }

    /// How long runs in flight may go on at a [`shutdown`](Scheduler::shutdown) that waits for
    /// them; 10 seconds if nothing is said.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Lets a place of definitions remove more than half of its jobs at once without being read a
    /// second time.
    #[must_use]
    pub fn allow_mass_removal(mut self) -> Self {
        self.allow_mass_removal = true;
        self
    }

    /// Where compiled code of plugins is kept; in the user's cache directory if nothing is said.
    #[must_use]
    pub fn cache(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache = CachePlace::At(directory.into());
        self
    }

    /// Keeps no compiled code: plugins are compiled at every start.
    #[must_use]
    pub fn no_cache(mut self) -> Self {
        self.cache = CachePlace::Nowhere;
        self
    }

    /// Holds plugins to what this file says was accepted; it is made if it is not there. If it is
    /// `strict`, nothing is taken that is not in it as it is.
    #[must_use]
    pub fn lock(mut self, file: impl Into<PathBuf>, strict: bool) -> Self {
        self.lock = Some(LockOptions {
            path: file.into(),
            strict,
        });
        self
    }

    /// Starts the scheduler, and returns when its jobs are in service.
    ///
    /// It decides on a thread of its own, so that nothing that the program does makes it late.
    /// Called inside a tokio runtime, of any flavour, the functions that are jobs run there; called
    /// outside of one, they run on threads of the scheduler, which are a tokio runtime, too.
    ///
    /// # Errors
    /// It cannot start: a directory or a file that is not there, a definition that cannot be used,
    /// a data directory that another process works with.
    pub async fn start(self) -> Result<Scheduler, Error> {
        let mut config = match self.config {
            Some(path) => PolicyFile::new(Choice::At(path), Flags::default()),
            None => PolicyFile::new(Choice::Nowhere, Flags::default()),
        };
        let policy = match config.read() {
            Ok(policy) if config.name().is_some() => policy,
            Ok(_) => self.policy,
            Err(problems) => return Err(Error::Config(problems)),
        };
        let max_memory = policy.host.max_memory;
        let policy = Arc::new(policy);
        let mut sources = source::open_named(&self.places, self.plugins.as_deref(), &policy);
        for source in self.sources {
            source.set_policy(policy.clone());
            sources.push(source);
        }
        let natives = Natives::default();
        let (inner, thread) = Inner::new(natives.clone());
        for (name, function) in self.functions {
            inner.insert(&name, function);
        }
        let mut own = Vec::with_capacity(self.jobs.len());
        for job in self.jobs {
            own.push((job.id.clone(), job.definition()?));
            if let (Some(name), Some(function)) = (job.native_name(), &job.function) {
                inner.insert(name, function.clone());
            }
        }
        let assembly = Assembly {
            sources,
            plugins: self.plugins,
            natives,
            threads: tokio::runtime::Handle::try_current().ok(),
            own,
            refresh: self.refresh,
            allow_mass_removal: self.allow_mass_removal,
            policy,
            config,
            max_running: self.max_running,
            max_memory: self.max_memory.or(max_memory),
            data: self.data,
            cache: self.cache,
            compiler: Compiler::InProcess,
            lock: self.lock,
            clock: self.clock,
        };
        let guard = thread::start(&inner, thread, assembly, self.grace).await?;
        let scheduler = Scheduler::with_guard(inner, guard);
        // Answered once it has begun.
        scheduler.status().await?;
        Ok(scheduler)
    }
}
