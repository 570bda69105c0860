//! The control loop: it owns the schedule, and follows what it is told.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::super::catalog::{Catalog, Change};
use super::super::components::{Components, Runner};
use super::super::{chains, in_service, recovery};
use super::config::FollowedConfig;
use super::readers::Message;
use super::sources::{First, FollowedSource};
use super::stop::{Stop, Stopping};
use crate::clock::{self, Clock, ClockWatch, Readings, Timestamp};
use crate::control::Command;
use crate::dispatcher::{Dispatcher, Ends, RunEnded};
use crate::event::{Event, Events};
use crate::firing::{Planner, Turn, fire};
use crate::job::{Job, JobId};
use crate::policy::Current;
use crate::record::{ChangeKind, JobChange};
use crate::run::SkipReason;
use crate::runtime::directory;
use crate::scheduler::{Due, Scheduler};
use crate::secret::CurrentSettings;
use crate::source::OwnSource;
use crate::store::definitions::DefinitionStore;
use crate::store::{Schedule, Store, Unfinished};

/// How long the scheduler sleeps at most, so that it notices a clock that was set back.
const LONGEST_SLEEP: Duration = Duration::from_secs(2);

/// What the control loop works with.
pub(super) struct Host {
    pub(super) catalog: Catalog,
    pub(super) config: FollowedConfig,
    /// What the operator allows, as the runs see it.
    pub(super) policy: Current,
    /// Where secrets come from, as the runs see it.
    pub(super) secrets: CurrentSettings,
    pub(super) sources: Vec<FollowedSource>,
    pub(super) refresh: Duration,
    /// Whether a source may remove most of its jobs without being read a second time.
    pub(super) allow_mass_removal: bool,
    pub(super) components: Components,
    pub(super) scheduler: Scheduler,
    pub(super) planner: Planner,
    /// How far the schedules had come that the host before this one left, of the jobs that have
    /// not come into service yet.
    pub(super) left: HashMap<JobId, Schedule>,
    /// Jobs that are to run because the host starts, and are not in service yet.
    pub(super) at_start: HashSet<JobId>,
    pub(super) dispatcher: Dispatcher<Runner>,
    pub(super) ends: Ends,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Arc<dyn Store>,
    /// The host's own definitions, and which of the sources they are.
    pub(super) own: Arc<OwnSource>,
    pub(super) own_number: usize,
    /// What the sources said last.
    pub(super) definitions: Arc<dyn DefinitionStore>,
    pub(super) events: Events,
    /// Where what outlives it is kept, if anything is.
    pub(super) data: Option<PathBuf>,
    /// When it began to fire.
    pub(super) started_at: Timestamp,
    /// Who has asked for what is being carried out, if that was a program.
    pub(super) on_behalf_of: Option<Arc<str>>,
    /// Commands that are being carried out.
    pub(super) answering: JoinSet<()>,
}

/// Which jobs were changed by bringing a source up to date.
#[derive(Debug, Default)]
struct Changed {
    /// Those that are others than before, those removed among them.
    jobs: Vec<JobId>,
    /// Those that are out of service.
    removed: Vec<Arc<Job>>,
}

impl Changed {
    fn note(&mut self, change: &Change) {
        match change {
            Change::Added(job) | Change::Updated(job, ..) => self.jobs.push(job.id.clone()),
            Change::Removed(job) => {
                self.jobs.push(job.id.clone());
                self.removed.push(job.clone());
            }
            Change::Moved(_) | Change::Rejected(..) => {}
        }
    }
}

/// What comes to the control loop.
pub(super) struct Arriving {
    /// What its own tasks have found.
    pub(super) messages: mpsc::Receiver<Message>,
    /// What others tell it to do.
    pub(super) commands: mpsc::Receiver<Command>,
}

impl Arriving {
    /// Takes no more, and lets go of what waits: whoever told it is told that the host is stopping.
    pub(super) fn close(&mut self) {
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
    }
}

impl Host {
    /// The control loop. Returns when the host is asked to stop.
    pub(super) async fn run(
        &mut self,
        first: Vec<First>,
        unfinished: Vec<Unfinished>,
        arriving: &mut Arriving,
        ended: &mut UnboundedReceiver<RunEnded>,
        stop: &Stop,
    ) {
        let Arriving { messages, commands } = arriving;
        // Nothing is put into service before the plugins of the start are, so that a job does
        // not miss its plugin by a moment; what the sources say meanwhile is kept.
        let mut early: Vec<Message> = Vec::new();
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
        self.begin_with(first).await;
        for message in early {
            self.handle(message).await;
        }
        // Those of the host before this one may be defined no more.
        self.forget_the_orphans().await;
        self.tell(Event::HostStarted {
            jobs: self.scheduler.len(),
            plugins: self.components.count(),
            data: self.data.clone(),
        });
        self.forget_the_undefined().await;
        let now = self.clock.now();
        self.started_at = now;
        // Asked before anything starts: what ends from here on is told as it ends.
        let after_the_last = self.after_the_last_ends(now).await;
        recovery::settle(
            unfinished,
            &self.scheduler,
            &mut self.planner,
            &self.dispatcher,
            &self.events,
            now,
        )
        .await;
        fire(after_the_last, &self.dispatcher, now).await;

        let natives = self.components.natives().clone();
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
            let now = self.step().await;
            let wake = self.wake(now);
            tokio::select! {
                biased;
                () = stop.reached(Stopping::Graceful) => return,
                message = messages.recv() => match message {
                    Some(message) => {
                        // What is due by the old definitions comes before the new ones.
                        self.step().await;
                        self.handle(message).await;
                    }
                    None => return,
                },
                // What is told before the host has started waits until it has.
                Some(command) = commands.recv() => self.command(command).await,
                names = natives.changed() => self.components_changed(&names).await,
                Some(run) = ended.recv() => {
                    let due = self.scheduler.ended(&run.job, run.succeeded, run.at);
                    fire(due, &self.dispatcher, self.clock.now()).await;
                }
                turn = self.planner.recorded() => match turn {
                    Some(Turn::Failing(error)) => self.dispatcher.firings_fail(Some(&error)),
                    Some(Turn::Recovered) => self.dispatcher.firings_fail(None),
                    None => {}
                },
                () = self.clock.sleep_precisely_until(wake) => {}
            }
        }
    }

    /// Fires what is due, and gives the time at which it was.
    async fn step(&mut self) -> Timestamp {
        let now = self.clock.now();
        self.planner
            .step(&mut self.scheduler, &self.dispatcher, now)
            .await;
        now
    }

    /// What was to come after runs that ended just before the last host did.
    async fn after_the_last_ends(&mut self, now: Timestamp) -> Vec<Due> {
        let due = chains::unfollowed(&mut self.scheduler, &*self.store, now).await;
        due.unwrap_or_else(|error| {
            tracing::error!(%error, "what comes after the last runs is not known");
            Vec::new()
        })
    }

    /// Forgets the jobs of the host before this one that are defined no more.
    pub(super) async fn forget_the_undefined(&mut self) {
        if self.left.is_empty() {
            return;
        }
        let Some(defined) = self.catalog.defined() else {
            return;
        };
        let undefined = self.left.keys().filter(|id| !defined.contains(id));
        let gone: Vec<JobId> = undefined.cloned().collect();
        let at = self.clock.now();
        let removed = gone.iter().map(|job| JobChange {
            job: job.clone(),
            at,
            change: ChangeKind::Removed,
            // While no host ran, from wherever it stood.
            origin: String::new(),
            by: None,
            version: None,
            definition: None,
            fields: Vec::new(),
        });
        self.definitions.changed(removed.collect());
        for id in gone {
            self.left.remove(&id);
            self.forget(&id).await;
        }
    }

    /// Sees to the jobs of creators that were removed while no host ran.
    pub(super) async fn forget_the_orphans(&mut self) {
        if self.settle_orphans(&[]).await {
            self.own_changed();
            self.reconcile(self.own_number).await;
        }
    }

    async fn forget(&self, id: &JobId) {
        if let Err(error) = self.store.forget(id).await {
            tracing::warn!(job = %id, %error, "a removed job is not forgotten");
        }
    }

    /// Looks whether what a definition waits for has come about.
    async fn look_again(&mut self) {
        for source in 0..self.sources.len() {
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
            Message::Read(source, read) => self.source_read(source, read).await,
            Message::Plugins(changes, removed) => {
                let names = changed_names(&changes, &removed);
                self.tell_plugins(changes, removed);
                self.components_changed(&names).await;
            }
            Message::FirstPlugins => {}
        }
    }

    /// Components of these names have come, changed or gone.
    async fn components_changed(&mut self, names: &[Arc<str>]) {
        if names.is_empty() {
            return;
        }
        for source in 0..self.sources.len() {
            if self.catalog.concerns(source, names) {
                self.reconcile(source).await;
            }
        }
    }

    /// Brings the jobs of a source up to date, and those that they have made.
    pub(super) async fn reconcile(&mut self, source: usize) {
        // Each pass is about jobs made by those of the one before, in a narrower namespace.
        const PASSES: usize = 256;
        let mut source = source;
        for _ in 0..PASSES {
            let Changed { jobs, removed } = self.reconcile_alone(source).await;
            let orphans = self.settle_orphans(&removed).await;
            let has_made = |creators: &BTreeSet<JobId>| jobs.iter().any(|id| creators.contains(id));
            if orphans {
                self.own_changed();
            } else if jobs.is_empty() || !has_made(&self.own.creators()) {
                return;
            }
            source = self.own_number;
        }
    }

    async fn reconcile_alone(&mut self, source: usize) -> Changed {
        let mut changed = Changed::default();
        let done = self.catalog.reconcile(source, &self.components);
        self.components.keep(self.catalog.pins());
        let is_change = done.is_change();
        let counted = done.counted();
        let now = self.clock.now();
        self.note(&done.changes, now);
        let mut entered = Vec::new();
        // First of all: what is skipped is known of a job that is not forgotten yet.
        self.planner
            .withdraw(&self.dispatcher, &gone(&done.changes));
        for change in done.changes {
            changed.note(&change);
            match change {
                Change::Added(job) => {
                    let at_start = self.at_start.remove(&job.id);
                    let (scheduler, left) = (&mut self.scheduler, &mut self.left);
                    entered.extend(in_service::enter(scheduler, left, at_start, &job, now));
                    let next = self.scheduler.next_of(&job.id);
                    self.tell(Event::JobAdded { job, next });
                }
                Change::Updated(job, fields, _) => {
                    let (scheduler, planner) = (&mut self.scheduler, &mut self.planner);
                    let dispatcher = &self.dispatcher;
                    let updated = in_service::update(scheduler, planner, dispatcher, &job, now);
                    entered.extend(updated);
                    let next = self.scheduler.next_of(&job.id);
                    self.tell(Event::JobUpdated { job, fields, next });
                }
                Change::Moved(job) => {
                    self.scheduler.upsert(job, now);
                }
                Change::Removed(job) => {
                    let (scheduler, planner) = (&mut self.scheduler, &mut self.planner);
                    in_service::leave(scheduler, planner, &self.dispatcher, &job.id, now);
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
        if is_change && let Some(followed) = self.sources.get(source) {
            self.tell(Event::JobsReloaded {
                source: followed.name().to_owned(),
                added: counted.added,
                updated: counted.updated,
                removed: counted.removed,
                rejected: counted.rejected,
                unchanged: done.unchanged,
            });
        }
        changed
    }

    /// Has the changes of jobs remembered.
    fn note(&self, changes: &[Change], at: Timestamp) {
        let noted = changes.iter().filter_map(|change| {
            let (job, change, fields) = match change {
                Change::Added(job) => (job, ChangeKind::Added, Vec::new()),
                Change::Updated(job, _, fields) => (job, ChangeKind::Updated, fields.clone()),
                Change::Removed(job) => (job, ChangeKind::Removed, Vec::new()),
                Change::Moved(_) | Change::Rejected(..) => return None,
            };
            Some(JobChange {
                job: job.id.clone(),
                at,
                change,
                origin: job.origin.to_string(),
                by: match &self.on_behalf_of {
                    Some(who) => Some(who.to_string()),
                    None => job.origin.creator.as_ref().map(ToString::to_string),
                },
                version: job.version,
                definition: job.origin.definition,
                fields,
            })
        });
        let noted: Vec<JobChange> = noted.collect();
        if !noted.is_empty() {
            self.definitions.changed(noted);
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
                    restored,
                } => {
                    if let Some(restored) = restored {
                        self.tell(Event::PluginLoaded {
                            name: name.clone(),
                            digest: restored.digest.to_string(),
                            replaced: None,
                            shape: restored.shape.id(),
                            compiled_in: restored.compiled_in,
                        });
                    }
                    self.tell(Event::PluginRejected {
                        name,
                        error: error.to_string(),
                        in_service,
                    });
                }
                directory::Change::Unchanged => {}
            }
        }
        for name in removed {
            self.tell(Event::PluginRemoved { name });
        }
    }

    pub(super) fn tell(&self, event: Event) {
        self.events.emit(self.clock.now(), event);
    }

    /// Starts nothing more, waits for what is in flight, and takes leave.
    pub(super) async fn come_to_rest(
        &mut self,
        grace: Duration,
        ended: &mut UnboundedReceiver<RunEnded>,
        stop: &Stop,
    ) {
        let in_flight = self.dispatcher.in_flight();
        if in_flight > 0 {
            self.tell(Event::HostStopping { in_flight, grace });
        }
        self.answer_the_last().await;
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

/// The jobs among these changes that are not to run any more.
fn gone(changes: &[Change]) -> HashSet<JobId> {
    let gone = changes.iter().filter_map(|change| match change {
        Change::Removed(job) => Some(job),
        Change::Updated(job, _, _) => Some(job).filter(|job| !job.enabled),
        Change::Added(_) | Change::Moved(_) | Change::Rejected(..) => None,
    });
    gone.map(|job| job.id.clone()).collect()
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
