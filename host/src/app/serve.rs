//! The host: reads definitions and plugins, fires what is due, follows every change, and stops
//! in order.
//!
//! ```text
//! watch ─▶ sources ──┐
//!                    ├─ messages ─▶ control loop ─▶ scheduler ─▶ firing ─▶ dispatcher
//! watch ─▶ plugins ──┘                  ▲                                     │
//!                                 clock, stop                        guest threads
//! ```
//!
//! The control loop owns the schedule and never blocks: files are read and compiled on other
//! threads, and guests run on theirs.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{mpsc, watch};

use super::catalog::{Catalog, Change};
use super::machine::memory_for_runs;
use super::watch::{Watcher, directory_of};
use super::{AppError, CachePlace, DataPlace, Guests, engine_for, loader_for, recovery};
use crate::clock::{self, Clock, ClockWatch, Readings, SystemClock, Timestamp};
use crate::dispatcher::{Dispatcher, Ends, Parts, RunEnded};
use crate::event::{Event, Events, LateSetting};
use crate::firing::{Planner, Turn, fire, fire_due};
use crate::job::{Diagnostic, Job, JobId};
use crate::policy::{Current, Look, Policy, PolicyFile};
use crate::run::SkipReason;
use crate::runtime::directory::{self, Plugins};
use crate::runtime::lock::LockFile;
use crate::runtime::{Runtime, Sandbox};
use crate::scheduler::{self, Due, Left, Scheduler};
use crate::secret::{CurrentSettings, Providers};
use crate::source::{FileSource, JobSource, Snapshot, SourceError};
use crate::store::{Schedule, Store, Unfinished};

/// How a host is set up.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The job files.
    pub jobs: Vec<PathBuf>,
    /// The plugins directory.
    pub plugins: PathBuf,
    /// How often definitions and plugins are looked at even if nothing tells of a change.
    pub refresh: Duration,
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
}

/// How plugins are held to a lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockOptions {
    /// The file. It is made if it is not there.
    pub path: PathBuf,
    /// Whether nothing is taken that is not in it as it is.
    pub strict: bool,
}

/// Asks a host to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<Stopping>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stopping {
    No,
    Graceful,
    AtOnce,
}

impl Default for Stop {
    fn default() -> Self {
        Stop::new()
    }
}

impl Stop {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Stop(watch::Sender::new(Stopping::No))
    }

    /// Asks for a graceful stop: nothing starts any more, runs in flight have their time of
    /// grace.
    pub fn request(&self) {
        self.raise(Stopping::Graceful);
    }

    /// Asks for a stop at once: runs in flight are cancelled.
    pub fn force(&self) {
        self.raise(Stopping::AtOnce);
    }

    fn raise(&self, to: Stopping) {
        self.0.send_if_modified(|now| {
            let higher = to > *now;
            if higher {
                *now = to;
            }
            higher
        });
    }

    async fn reached(&self, level: Stopping) {
        // An error means that the sender is gone, and `self` is one.
        let _ = self.0.subscribe().wait_for(|now| *now >= level).await;
    }
}

/// How long the first plugins may take to compile before the host starts without the rest of
/// them; they follow when they are ready.
const FIRST_PLUGINS: Duration = Duration::from_secs(5);

/// How soon a file that is being written is looked at again.
const SETTLING: Duration = Duration::from_millis(100);

/// How long the scheduler sleeps at most, so that it notices a clock that was set back.
const LONGEST_SLEEP: Duration = Duration::from_secs(2);

/// What the threads that read files tell the control loop.
enum Message {
    /// The configuration has changed, or has become useless. The sources follow.
    Config(ConfigNews),
    /// The sources have been read under the configuration that has changed.
    ConfigFollowed,
    /// A source has been read.
    Read(usize, Result<Snapshot, SourceError>),
    /// Plugins have changed.
    Plugins(Vec<directory::Change>, Vec<Arc<str>>),
    /// The plugins that were there at the start are in service, or refused.
    FirstPlugins,
}

/// What has become of the configuration.
enum ConfigNews {
    /// It says something else, and is in force.
    Changed(Arc<Policy>),
    /// It is again as it was before it was broken.
    Restored,
    /// It cannot be used.
    Broken(Vec<Diagnostic>),
}

/// Runs the host until it is asked to stop. Everything that it has to say, it says in `events`;
/// the last one is [`Event::HostStopped`].
///
/// # Errors
/// If it cannot start: no engine, no plugins directory, a job file that is not there. Nothing
/// that a definition or a plugin does is an error of the host.
pub async fn serve(options: ServeOptions, events: Events, stop: Stop) -> Result<(), AppError> {
    allow_many_files();
    // Before anything that takes its time: another host may hold it.
    let store = options.data.open(SystemClock.now())?;
    let recovered = store.recover().await?;
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
    if let Some(lock) = &lock {
        lock.read()?;
    }
    let plugins = Arc::new(plugins.under(lock));
    let policy = Arc::new(options.policy);
    let sources: Vec<Arc<FileSource>> = options
        .jobs
        .iter()
        .map(|path| Arc::new(FileSource::new(path, policy.clone())))
        .collect();
    // Watched before they are read, so that no change falls between the two.
    let beside_jobs = options.jobs.iter().map(|path| directory_of(path));
    let file_watcher = Watcher::new(
        beside_jobs.chain(options.config.directory()),
        options.refresh,
    );
    let plugin_watcher = Watcher::new(
        beside_lock.into_iter().chain([options.plugins.clone()]),
        options.refresh,
    );
    let mut first = Vec::with_capacity(sources.len());
    for source in &sources {
        match source.read() {
            // A file that is not there when the host starts is a slip of the operator's, who is
            // there to see it. One that vanishes later stops nothing.
            Err(error @ SourceError::Unreadable(_)) => return Err(error.into()),
            read => first.push(read),
        }
    }

    let config_file = options.config.name();
    let guests = Guests::start()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let threads = guests.handle().metrics().num_workers();
    let current = Current::new(policy.clone());
    let secrets = CurrentSettings::new(policy.secrets.clone());
    let sandbox = Sandbox::new(engine, clock.clone(), threads)
        .under(current.clone())
        .with_secrets(Providers::following(secrets.clone()));
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

    let (tell, messages) = mpsc::channel(64);
    let readers = [
        tokio::spawn(read_sources(
            sources.clone(),
            options.config,
            file_watcher,
            tell.clone(),
        )),
        tokio::spawn(read_plugins(plugins.clone(), plugin_watcher, tell)),
    ];

    let mut host = Host {
        config: FollowedConfig {
            // What a flag says is above what the file says, now and later.
            max_memory: (options.max_memory == policy.host.max_memory)
                .then_some(policy.host.max_memory),
            last: policy.clone(),
            file: config_file,
            broken: false,
            pending: None,
        },
        catalog: Catalog::new(sources.len(), policy),
        policy: current,
        secrets,
        failures: vec![None; sources.len()],
        refresh: options.refresh,
        names: sources
            .iter()
            .map(|source| source.name().to_owned())
            .collect(),
        plugins,
        scheduler: Scheduler::new(),
        planner: Planner::new(store.clone()),
        left: recovered.schedules,
        at_start: HashSet::new(),
        dispatcher,
        ends,
        clock,
        store,
        events,
    };
    host.run(first, recovered.unfinished, messages, &mut ended, &stop)
        .await;
    for reader in &readers {
        reader.abort();
    }
    host.plugins.stop();
    host.come_to_rest(options.grace, &mut ended, &stop).await;
    Ok(())
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

/// Reads the configuration and all sources again whenever one may have changed.
async fn read_sources(
    sources: Vec<Arc<FileSource>>,
    mut config: PolicyFile,
    mut watcher: Watcher,
    tell: mpsc::Sender<Message>,
) {
    loop {
        watcher.changed().await;
        let mut changed = false;
        let look = tokio::task::spawn_blocking({
            let mut config = config.clone();
            move || (config.look(), config)
        });
        // Not looked at for a bug, logged by its panic: what was in force stays.
        if let Ok((look, looked)) = look.await {
            config = looked;
            let news = match look {
                Look::Unchanged => None,
                Look::Changed(policy) => {
                    let policy = Arc::new(*policy);
                    for source in &sources {
                        source.set_policy(policy.clone());
                    }
                    Some(ConfigNews::Changed(policy))
                }
                Look::Restored => Some(ConfigNews::Restored),
                Look::Broken(problems) => Some(ConfigNews::Broken(problems)),
            };
            if let Some(news) = news {
                changed = matches!(news, ConfigNews::Changed(_));
                if tell.send(Message::Config(news)).await.is_err() {
                    return;
                }
            }
        }
        for (index, source) in sources.iter().enumerate() {
            let source = source.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || source.read()).await else {
                continue; // a bug, logged by its panic; the others still count
            };
            if !matches!(&read, Ok(snapshot) if snapshot.unchanged)
                && tell.send(Message::Read(index, read)).await.is_err()
            {
                return;
            }
        }
        if changed && tell.send(Message::ConfigFollowed).await.is_err() {
            return;
        }
    }
}

/// Looks at the plugins directory now, and again whenever it may have changed; loads what is
/// new, each file on a thread of its own.
async fn read_plugins(plugins: Arc<Plugins>, mut watcher: Watcher, tell: mpsc::Sender<Message>) {
    let mut failed = false;
    // How often to look again before the host starts, for the sake of files being written.
    let mut first_looks = 20;
    let mut loading = tokio::task::JoinSet::new();
    loop {
        let scan = tokio::task::spawn_blocking({
            let plugins = plugins.clone();
            move || plugins.scan()
        });
        let scan = match scan.await {
            Ok(Ok(scan)) => {
                failed = false;
                scan
            }
            result => {
                if !std::mem::replace(&mut failed, true) {
                    let error = match result {
                        Ok(Err(error)) => error.to_string(),
                        _ => "a bug in the host".into(),
                    };
                    tracing::warn!(
                        directory = %plugins.path().display(),
                        error,
                        "cannot look into the plugins directory; what is in service stays"
                    );
                }
                directory::Scan::default()
            }
        };
        if !scan.removed.is_empty()
            && tell
                .send(Message::Plugins(Vec::new(), scan.removed))
                .await
                .is_err()
        {
            return;
        }
        for name in scan.load {
            let plugins = plugins.clone();
            let tell = tell.clone();
            loading.spawn(async move {
                let change = tokio::task::spawn_blocking(move || plugins.load(&name)).await;
                if let Ok(change) = change {
                    // The host is stopping: nobody wants to know.
                    let _ = tell.send(Message::Plugins(vec![change], Vec::new())).await;
                }
            });
        }
        if first_looks > 0 && (!scan.settling || first_looks == 1) {
            first_looks = 0;
            // Those of the start are waited for, within reason; later ones come as they come.
            let all = async { while loading.join_next().await.is_some() {} };
            // Not all in time: the rest follow on their own.
            let _ = tokio::time::timeout(FIRST_PLUGINS, all).await;
            if tell.send(Message::FirstPlugins).await.is_err() {
                return;
            }
        }
        if first_looks == 0 {
            loading.detach_all();
        } else {
            first_looks -= 1;
        }
        if scan.settling {
            tokio::time::sleep(SETTLING).await;
        } else {
            watcher.changed().await;
        }
    }
}

/// What the control loop works with.
struct Host {
    catalog: Catalog,
    config: FollowedConfig,
    /// What the operator allows, as the runs see it.
    policy: Current,
    /// Where secrets come from, as the runs see it.
    secrets: CurrentSettings,
    /// What was last wrong with each source as a whole.
    failures: Vec<Option<SourceError>>,
    names: Vec<String>,
    refresh: Duration,
    plugins: Arc<Plugins>,
    scheduler: Scheduler,
    planner: Planner,
    /// How far the schedules had come that the host before this one left, of the jobs that have
    /// not come into service yet.
    left: HashMap<JobId, Schedule>,
    /// Jobs that are to run because the host starts, and are not in service yet.
    at_start: HashSet<JobId>,
    dispatcher: Dispatcher<Runtime>,
    ends: Ends,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    events: Events,
}

/// The configuration as the host follows it.
struct FollowedConfig {
    /// What is in force.
    last: Arc<Policy>,
    /// The file it was last read from.
    file: Option<Arc<str>>,
    /// What the file said at the start of the memory of all runs, if it was the file that said it:
    /// that holds until the next start.
    max_memory: Option<Option<u64>>,
    /// Whether the file as it is now cannot be used.
    broken: bool,
    /// A change that the sources have not followed yet.
    pending: Option<PendingConfig>,
}

struct PendingConfig {
    sections: Vec<&'static str>,
    recovered: bool,
    /// The jobs that were above the ceiling before it.
    refused: HashSet<JobId>,
}

impl FollowedConfig {
    fn file(&self) -> Arc<str> {
        let file = self.last.file().or(self.file.as_ref());
        file.cloned().unwrap_or_else(|| "the configuration".into())
    }

    /// What the file sets and this host does not take up.
    fn late_settings(&self) -> Vec<LateSetting> {
        let differs = self
            .max_memory
            .is_some_and(|at_start| at_start != self.last.host.max_memory);
        let place = self.last.max_memory_place().filter(|_| differs);
        place
            .map(|place| LateSetting {
                setting: "[host] max_memory",
                place: format!("{place:#}"),
            })
            .into_iter()
            .collect()
    }
}

impl Host {
    /// The control loop. Returns when the host is asked to stop.
    async fn run(
        &mut self,
        first: Vec<Result<Snapshot, SourceError>>,
        unfinished: Vec<Unfinished>,
        mut messages: mpsc::Receiver<Message>,
        ended: &mut UnboundedReceiver<RunEnded>,
        stop: &Stop,
    ) {
        for snapshot in first.iter().flatten() {
            let jobs = snapshot.manifest.jobs();
            let at_start = jobs.filter(|job| job.trigger.fires_at_start());
            self.at_start.extend(at_start.map(|job| job.id.clone()));
        }
        // Nothing is put into service before the plugins of the start are, so that a job does
        // not miss its plugin by a moment; what the sources say meanwhile is kept.
        let mut early: Vec<Message> = first
            .into_iter()
            .enumerate()
            .map(|(source, read)| Message::Read(source, read))
            .collect();
        loop {
            tokio::select! {
                biased;
                () = stop.reached(Stopping::Graceful) => return,
                message = messages.recv() => match message {
                    Some(Message::FirstPlugins) => break,
                    Some(Message::Plugins(changes, removed)) => self.tell_plugins(changes, removed),
                    Some(message) => early.push(message),
                    None => return,
                },
            }
        }
        for message in early {
            self.handle(message).await;
        }
        self.tell(Event::HostStarted {
            jobs: self.scheduler.len(),
            plugins: self.plugins.names().len(),
        });
        self.forget_the_undefined().await;
        let now = self.clock.now();
        recovery::settle(
            unfinished,
            &self.scheduler,
            &mut self.planner,
            &self.dispatcher,
            &self.events,
            now,
        )
        .await;

        let mut looked = clock::monotonic();
        let mut watch = ClockWatch::new(Readings::take());
        loop {
            for jump in watch.look(Readings::take()) {
                self.tell(Event::ClockJumped { jump });
            }
            if looked.elapsed() >= self.refresh {
                self.look_again().await;
                looked = clock::monotonic();
            }
            let now = self.clock.now();
            if !self.planner.is_holding() {
                fire_due(&mut self.scheduler, &self.dispatcher, now).await;
            }
            self.planner.release(&self.scheduler, &self.dispatcher, now);
            self.planner.plan(&mut self.scheduler, now);
            let wake = self.wake(now);
            tokio::select! {
                biased;
                () = stop.reached(Stopping::Graceful) => return,
                message = messages.recv() => match message {
                    Some(message) => self.handle(message).await,
                    None => return,
                },
                Some(run) = ended.recv() => {
                    let due = self.scheduler.ended(&run.job, run.succeeded, run.at);
                    fire(due, &self.dispatcher, self.clock.now()).await;
                }
                turn = self.planner.recorded() => match turn {
                    Some(Turn::Failing(error)) => self.tell(Event::StoreFailing {
                        error: error.to_string(),
                    }),
                    Some(Turn::Recovered) => self.tell(Event::StoreRecovered),
                    None => {}
                },
                () = self.clock.sleep_until(wake) => {}
            }
        }
    }

    /// Forgets the jobs of the host before this one that are defined no more.
    async fn forget_the_undefined(&mut self) {
        let Some(defined) = self.catalog.defined() else {
            return;
        };
        let undefined = self.left.keys().filter(|id| !defined.contains(id));
        let gone: Vec<JobId> = undefined.cloned().collect();
        for id in gone {
            self.left.remove(&id);
            self.forget(&id).await;
        }
    }

    async fn forget(&self, id: &JobId) {
        if let Err(error) = self.store.forget(id).await {
            tracing::warn!(job = %id, %error, "a removed job is not forgotten");
        }
    }

    /// A job comes into service: as new, or as the host before this one left it.
    fn enter(&mut self, job: &Arc<Job>, now: Timestamp, entered: &mut Vec<(JobId, Schedule)>) {
        let at_start = self.at_start.remove(&job.id);
        let fingerprint = job.trigger.fingerprint();
        match self.left.remove(&job.id) {
            Some(left) if left.trigger == fingerprint => {
                let left = Left {
                    since: left.since,
                    dealt_with: left.dealt_with,
                };
                self.scheduler.restore(job.clone(), left, at_start, now);
            }
            _ => {
                if at_start {
                    self.scheduler.start(job.clone(), now);
                } else {
                    self.scheduler.upsert(job.clone(), now);
                }
                entered.extend(self.schedule_of(job));
            }
        }
    }

    /// How far the schedule of a job has come, for the store to remember.
    fn schedule_of(&self, job: &Job) -> Option<(JobId, Schedule)> {
        let left = self.scheduler.left_of(&job.id)?;
        let schedule = Schedule {
            trigger: job.trigger.fingerprint(),
            since: left.since,
            dealt_with: left.dealt_with,
        };
        Some((job.id.clone(), schedule))
    }

    /// Looks whether what a definition waits for has come about.
    async fn look_again(&mut self) {
        for source in 0..self.names.len() {
            if self.catalog.waits(source) {
                self.reconcile(source).await;
            }
        }
    }

    /// When to look at the schedule again.
    fn wake(&self, now: Timestamp) -> Timestamp {
        let latest = now + LONGEST_SLEEP;
        self.planner
            .wake(&self.scheduler, now)
            .map_or(latest, |next| next.min(latest))
    }

    async fn handle(&mut self, message: Message) {
        match message {
            Message::Config(news) => self.config_news(news),
            Message::ConfigFollowed => self.config_followed(),
            Message::Read(source, Ok(snapshot)) => {
                if let Some(failure) = self.failures.get_mut(source) {
                    *failure = None;
                }
                self.catalog.set(source, snapshot.manifest);
                self.reconcile(source).await;
            }
            Message::Read(source, Err(error)) => {
                let Some(last) = self.failures.get_mut(source) else {
                    return;
                };
                // A trouble that lasts is told once.
                if last.as_ref() != Some(&error) {
                    let problems = error.problems().to_vec();
                    *last = Some(error);
                    self.tell(Event::JobRejected {
                        job: None,
                        problems,
                    });
                }
                // An operator who lowers a ceiling means it, whatever became of the source.
                if self.catalog.is_to_judge(source) {
                    self.reconcile(source).await;
                }
            }
            Message::Plugins(changes, removed) => {
                let names = changed_names(&changes, &removed);
                self.tell_plugins(changes, removed);
                if names.is_empty() {
                    return;
                }
                for source in 0..self.names.len() {
                    if self.catalog.concerns(source, &names) {
                        self.reconcile(source).await;
                    }
                }
            }
            Message::FirstPlugins => {}
        }
    }

    /// Follows the configuration.
    fn config_news(&mut self, news: ConfigNews) {
        match news {
            ConfigNews::Changed(policy) => {
                self.config.pending = Some(PendingConfig {
                    sections: self.config.last.changed_sections(&policy),
                    recovered: std::mem::take(&mut self.config.broken),
                    refused: self.catalog.refused(),
                });
                // What it means for the jobs comes with their sources, which are read now.
                self.config.last = policy.clone();
                self.policy.set(policy.clone());
                self.secrets.set(policy.secrets.clone());
                self.plugins.set_settings(policy.plugins);
                self.catalog.set_policy(policy);
            }
            ConfigNews::Restored => {
                self.config.broken = false;
                self.tell(Event::ConfigChanged {
                    file: self.config.file(),
                    sections: Vec::new(),
                    recovered: true,
                    refused: 0,
                    restored: 0,
                    restart: self.config.late_settings(),
                });
            }
            ConfigNews::Broken(problems) => {
                self.config.broken = true;
                let file = problems.first().map(|problem| problem.file.clone());
                self.tell(Event::ConfigRejected {
                    file: file.unwrap_or_else(|| self.config.file()),
                    problems,
                });
            }
        }
    }

    /// Tells what a change of the configuration has come to.
    fn config_followed(&mut self) {
        let Some(pending) = self.config.pending.take() else {
            return;
        };
        let refused = self.catalog.refused();
        // A definition that is gone, or wrong in another way, does not come back.
        let back = |job: &&JobId| !refused.contains(*job) && self.catalog.wants(job);
        self.tell(Event::ConfigChanged {
            file: self.config.file(),
            sections: pending.sections,
            recovered: pending.recovered,
            refused: refused.difference(&pending.refused).count(),
            restored: pending.refused.iter().filter(back).count(),
            restart: self.config.late_settings(),
        });
    }

    async fn reconcile(&mut self, source: usize) {
        let done = self.catalog.reconcile(source, &self.plugins);
        self.plugins.keep(self.catalog.pins());
        let is_change = done.is_change();
        let now = self.clock.now();
        let mut entered = Vec::new();
        for change in done.changes {
            match change {
                Change::Added(job) => {
                    self.enter(&job, now, &mut entered);
                    let next = self.scheduler.next_of(&job.id);
                    self.tell(Event::JobAdded { job, next });
                }
                Change::Updated(job, fields) => {
                    let change = self.scheduler.upsert(job.clone(), now);
                    if change != scheduler::Change::Kept {
                        entered.extend(self.schedule_of(&job));
                    }
                    let next = self.scheduler.next_of(&job.id);
                    self.tell(Event::JobUpdated { job, fields, next });
                }
                Change::Moved(job) => {
                    self.scheduler.upsert(job, now);
                }
                Change::Removed(job) => {
                    self.scheduler.remove(&job.id);
                    self.forget(&job.id).await;
                    self.tell(Event::JobRemoved { job });
                }
                Change::Rejected(job, problems) => {
                    self.tell(Event::JobRejected { job, problems });
                }
            }
        }
        if !entered.is_empty() {
            self.store.enter(entered);
        }
        if is_change {
            let waited_for = self.scheduler.waited_for();
            self.ends.wait_for(waited_for.map(JobId::from).collect());
        }
        if is_change && let Some(name) = self.names.get(source) {
            self.tell(Event::JobsReloaded {
                source: name.clone(),
                unchanged: done.unchanged,
            });
        }
    }

    fn tell_plugins(&self, changes: Vec<directory::Change>, removed: Vec<Arc<str>>) {
        for change in changes {
            match change {
                directory::Change::Loaded {
                    name,
                    digest,
                    replaced,
                    shape,
                    compiled_in,
                    noted,
                } => {
                    self.tell(Event::PluginLoaded {
                        name: name.clone(),
                        digest: digest.to_string(),
                        replaced: replaced.map(|digest| digest.to_string()),
                        shape: shape.id(),
                        compiled_in,
                    });
                    if let Some(noted) = noted {
                        self.tell(Event::PluginLocked {
                            name,
                            digest: digest.to_string(),
                            replaced: noted.replaced,
                        });
                    }
                }
                directory::Change::Rejected {
                    name,
                    error,
                    in_service,
                } => self.tell(Event::PluginRejected {
                    name,
                    error: error.to_string(),
                    in_service,
                }),
                directory::Change::Unchanged => {}
            }
        }
        for name in removed {
            self.tell(Event::PluginRemoved { name });
        }
    }

    fn tell(&self, event: Event) {
        self.events.emit(self.clock.now(), event);
    }

    /// Starts nothing more, waits for what is in flight, and takes leave.
    async fn come_to_rest(
        &mut self,
        grace: Duration,
        ended: &mut UnboundedReceiver<RunEnded>,
        stop: &Stop,
    ) {
        let in_flight = self.dispatcher.in_flight();
        if in_flight > 0 {
            self.tell(Event::HostStopping { in_flight, grace });
        }
        let drained = tokio::select! {
            biased;
            () = stop.reached(Stopping::AtOnce) => None,
            drained = self.dispatcher.drain(grace) => Some(drained),
        };
        if drained.is_none() {
            self.dispatcher.drain(Duration::ZERO).await;
        }
        // What would come after the last runs does not come any more, and that is told.
        while let Ok(run) = ended.try_recv() {
            for due in self.scheduler.ended(&run.job, run.succeeded, run.at) {
                if let Due::Fire(firing) = due {
                    self.dispatcher.skip(firing, None, SkipReason::Stopping);
                }
            }
        }
        let totals = self.store.totals().await.unwrap_or_default();
        self.tell(Event::HostStopped {
            runs: totals.by_outcome(),
            skipped: totals.skipped,
        });
        self.events.close();
    }
}

/// The plugins among these changes whose jobs may have to come into service or be refused.
fn changed_names(changes: &[directory::Change], removed: &[Arc<str>]) -> Vec<Arc<str>> {
    let changed = changes.iter().filter_map(|change| match change {
        directory::Change::Loaded { name, .. } | directory::Change::Rejected { name, .. } => {
            Some(name)
        }
        directory::Change::Unchanged => None,
    });
    changed.chain(removed).cloned().collect()
}
