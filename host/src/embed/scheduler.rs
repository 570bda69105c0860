//! The handle of a scheduler: what a program tells it and asks it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::{Notify, watch};

use super::builder::SchedulerBuilder;
use super::context::{IntoOutput, RunContext};
use super::error::{Error, Failure};
use super::events::EventStream;
use super::job::{Function, Job, erased};
use super::thread::{Ends, Guard};
use super::trigger::Trigger;
use crate::app::Stop;
use crate::clock::Timestamp;
use crate::control::{
    Backfill, Backfilled, Cancelled, Condition, Control, ControlError, HostStatus, LiveJob, OwnJob,
    PauseSet, PutJob, SourceStatus,
};
use crate::event::Events;
use crate::job::{JobId, Scope, SourceText, native_name, plain_json};
use crate::native::Natives;
use crate::record::{RunQuery, RunRecord};
use crate::run::RunId;
use crate::store::Store;

/// How often a change is tried again that somebody else's came before.
const TRIES: usize = 16;

/// A scheduler that runs inside the program. Cheap to clone; all clones are one.
///
/// ```
/// use std::time::Duration;
/// use quarterjack::{Job, ManualClock, Scheduler};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), quarterjack::Error> {
/// // Time is moved by hand here, as in a test.
/// let clock = ManualClock::at("2026-03-02T10:00:00Z");
/// let scheduler = Scheduler::builder().clock(clock.clone()).start().await?;
/// let mut events = scheduler.subscribe();
///
/// let hello = Job::native("hello", |run| async move { Ok(format!("hello at {}", run.scheduled_at())) });
/// scheduler.add_job(hello.trigger("*/5 * * * *")).await?;
///
/// clock.advance(Duration::from_secs(300));
/// let run = events.next_end_of("hello").await.unwrap();
/// let output = run.execution.output.as_ref().unwrap();
/// assert_eq!(output.as_bytes(), b"hello at 2026-03-02 10:05:00 UTC");
/// scheduler.shutdown(true).await;
/// # Ok(())
/// # }
/// ```
///
/// Its methods need no runtime of their own, and can be awaited anywhere. When the last clone is
/// dropped without a [`shutdown`](Scheduler::shutdown), the runs in flight are cancelled, and the
/// drop waits until that is recorded, for five seconds at most.
#[derive(Clone)]
pub struct Scheduler {
    inner: Arc<Inner>,
    /// Nothing in handles that do not keep the scheduler alive.
    _guard: Option<Arc<Guard>>,
}

/// What all handles share.
pub(super) struct Inner {
    control: Control,
    pub(super) events: Events,
    natives: Natives,
    pub(super) stop: Stop,
    /// There while the scheduler runs: as long as somebody has it, its directory is in use.
    pub(super) store: Mutex<Option<Arc<dyn Store>>>,
    pub(super) awaited: Awaited,
    /// Whether everything is recorded.
    pub(super) closed: watch::Sender<bool>,
    /// Whether its directory is free again.
    pub(super) ended: watch::Sender<bool>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Inner")
            .field("natives", &self.natives)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Scheduler")
            .field("functions", &self.inner.natives)
            .finish_non_exhaustive()
    }
}

/// The runs that somebody waits for.
#[derive(Default)]
pub(super) struct Awaited(Mutex<Vec<(RunId, JobId, Arc<Notify>)>>);

impl Awaited {
    /// Wakes those who wait for runs that are so. Says whether there are any.
    pub(super) fn wake(&self, is_so: impl Fn(RunId, &JobId) -> bool) -> bool {
        let mut any = false;
        for (run, job, notify) in &*self.0.lock() {
            if is_so(*run, job) {
                any = true;
                notify.notify_one();
            }
        }
        any
    }
}

/// Waits for one run, for as long as it lives.
struct Awaiting<'a> {
    awaited: &'a Awaited,
    notify: Arc<Notify>,
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        let mut awaited = self.awaited.0.lock();
        awaited.retain(|(_, _, notify)| !Arc::ptr_eq(notify, &self.notify));
    }
}

impl Inner {
    pub(super) fn new(natives: Natives) -> (Arc<Inner>, Ends) {
        let (control, commands) = Control::new();
        let of_jobs = control.clone();
        let events = Events::new();
        let news = events.subscribe();
        let inner = Arc::new(Inner {
            control,
            events,
            natives,
            stop: Stop::new(),
            store: Mutex::default(),
            awaited: Awaited::default(),
            closed: watch::Sender::new(false),
            ended: watch::Sender::new(false),
        });
        let ends = Ends {
            commands,
            control: of_jobs,
            news,
        };
        (inner, ends)
    }

    /// Registers a function, without telling the host. Gives the one before it.
    pub(super) fn insert(
        self: &Arc<Self>,
        name: &str,
        function: Function,
    ) -> Option<Arc<crate::native::Function>> {
        // Weak: the scheduler holds its functions.
        let weak = Arc::downgrade(self);
        self.natives.insert(
            name,
            Arc::new(move |call| function(RunContext::new(call, weak.clone()))),
        )
    }

    fn store(&self) -> Result<Arc<dyn Store>, Error> {
        self.store.lock().clone().ok_or(Error::Stopped)
    }
}

/// A job, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobInfo {
    /// The job.
    pub id: JobId,
    /// When it is due next; nothing if it never is.
    pub next_run_time: Option<Timestamp>,
    /// Whether its trigger fires at all.
    pub enabled: bool,
    /// What holds it back, if it is paused: the widest if there are several.
    pub paused_by: Option<Scope>,
    /// The group that it belongs to.
    pub group: Option<String>,
    /// How many of its runs are in flight, those between two attempts too.
    pub running: usize,
    /// How many of its runs wait until one of those has ended.
    pub waiting: usize,
    /// Whether it is in service. It is not as long as its plugin or its function is not there.
    pub in_service: bool,
    /// What it waits for if it is not.
    pub waits_for: Option<String>,
}

impl JobInfo {
    /// Whether something holds it back.
    pub fn is_paused(&self) -> bool {
        self.paused_by.is_some()
    }

    fn of(live: LiveJob) -> JobInfo {
        JobInfo {
            id: live.job,
            next_run_time: live.next_at,
            enabled: live.enabled,
            paused_by: live.paused_by,
            group: live.group,
            running: live.in_flight,
            waiting: live.waiting,
            in_service: true,
            waits_for: None,
        }
    }

    fn out_of_service(id: JobId, waits_for: Option<String>) -> JobInfo {
        JobInfo {
            id,
            next_run_time: None,
            enabled: true,
            paused_by: None,
            group: None,
            running: 0,
            waiting: 0,
            in_service: false,
            waits_for,
        }
    }
}

/// A run that was asked for.
#[derive(Debug, Clone)]
pub struct RunHandle {
    /// The run, which is recorded, and runs or waits for its turn.
    pub id: RunId,
    /// The job.
    pub job: JobId,
    scheduler: Scheduler,
}

impl RunHandle {
    /// Waits until the run has ended and its place is free, and gives its record.
    ///
    /// # Errors
    /// The scheduler has stopped before, or its store cannot be read.
    pub async fn outcome(&self) -> Result<RunRecord, Error> {
        self.scheduler.outcome(self.id, &self.job).await
    }

    /// Asks the run to end.
    ///
    /// # Errors
    /// As for [`Scheduler::cancel`].
    pub async fn cancel(&self) -> Result<Cancelled, Error> {
        self.scheduler.cancel(self.id).await
    }
}

impl Scheduler {
    /// Sets a scheduler up.
    pub fn builder() -> SchedulerBuilder {
        SchedulerBuilder::default()
    }

    pub(super) fn with_guard(inner: Arc<Inner>, guard: Guard) -> Scheduler {
        Scheduler {
            inner,
            _guard: Some(Arc::new(guard)),
        }
    }

    pub(super) fn without_guard(inner: Arc<Inner>) -> Scheduler {
        Scheduler {
            inner,
            _guard: None,
        }
    }

    fn control(&self) -> &Control {
        &self.inner.control
    }

    /// Adds a job. It is kept with its definition, so that a scheduler with a
    /// [data directory](SchedulerBuilder::data) has it after a restart.
    ///
    /// What a process before this one has left of a native job is taken up rather than refused: its
    /// schedule goes on from where it was if its trigger is the same.
    ///
    /// # Errors
    /// There is a job of its id, unless it is to
    /// [take its place](Job::replace_existing); or its definition cannot be used. All is as it
    /// was then.
    pub async fn add_job(&self, job: Job) -> Result<JobInfo, Error> {
        let text = job.definition()?;
        let name = job.native_name().map(str::to_owned);
        let mut condition = match job.replace_existing {
            true => Condition::Always,
            false => Condition::Absent,
        };
        let mut inserted = None;
        if let (Some(name), Some(function)) = (name, &job.function) {
            if self.inner.natives.get(&name).is_none()
                && let Ok(left) = self.own(&job.id).await
                && component_of(&left).as_deref().and_then(native_name) == Some(&*name)
            {
                condition = Condition::Is(left.etag);
            }
            let before = self.inner.insert(&name, function.clone());
            inserted = Some((name, before));
        }
        let put = self.put(job.id.clone(), text, condition.clone()).await;
        match put {
            Ok(info) => {
                if let Some((name, _)) = inserted {
                    // Definitions of other places may name it, too.
                    self.inner.natives.tell(&name);
                }
                Ok(info)
            }
            Err(error) => {
                if let Some((name, before)) = inserted {
                    self.inner.natives.restore(&name, before);
                }
                Err(match error {
                    Error::Refused(ControlError::Changed { job, .. })
                        if condition == Condition::Absent =>
                    {
                        Error::AlreadyExists(job)
                    }
                    error => error,
                })
            }
        }
    }

    /// Registers a function that definitions may name as their component, `native:NAME`, in the
    /// place of one of that name.
    pub fn register<F, R, O>(&self, name: impl AsRef<str>, function: F)
    where
        F: Fn(RunContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, Failure>> + Send + 'static,
        O: IntoOutput,
    {
        self.inner.insert(name.as_ref(), erased(function));
        self.inner.natives.tell(name.as_ref());
    }

    /// Changes a job that was added. Its id and its history stay, and so does its schedule, if the
    /// trigger does. Runs in flight go on as they are.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use quarterjack::{Job, Scheduler};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), quarterjack::Error> {
    /// # let scheduler = Scheduler::builder().start().await?;
    /// # let job = Job::native("report", |_| async { Ok(()) });
    /// # scheduler.add_job(job.trigger(Duration::from_secs(60))).await?;
    /// scheduler.modify_job("report", |job| job.max_instances(3).priority(10)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no such job, it is defined in another place, such as a file, or what it would be
    /// cannot be used. All is as it was then.
    pub async fn modify_job(
        &self,
        id: impl AsRef<str>,
        change: impl Fn(Job) -> Job,
    ) -> Result<JobInfo, Error> {
        let id = JobId::new(id.as_ref());
        let mut tries = 0;
        loop {
            let own = self.own(&id).await?;
            let job = change(Job::of(id.clone(), parsed(&own)?));
            let condition = Condition::Is(own.etag);
            tries += 1;
            match self.put(id.clone(), job.definition()?, condition).await {
                // Somebody else's change came before.
                Err(Error::Refused(ControlError::Changed { .. })) if tries < TRIES => {}
                result => return result,
            }
        }
    }

    /// Gives a job another trigger. Its id and its history stay.
    ///
    /// # Errors
    /// As for [`modify_job`](Scheduler::modify_job).
    pub async fn reschedule_job(
        &self,
        id: impl AsRef<str>,
        trigger: impl Into<Trigger>,
    ) -> Result<JobInfo, Error> {
        let trigger = trigger.into();
        self.modify_job(id, |job| job.trigger(trigger.clone()))
            .await
    }

    /// Removes a job that was added. Runs in flight go on; its history stays.
    ///
    /// # Errors
    /// There is no such job, or it is defined in another place, such as a file.
    pub async fn remove_job(&self, id: impl AsRef<str>) -> Result<(), Error> {
        let id = JobId::new(id.as_ref());
        let own = self.own(&id).await?;
        let removed = self
            .control()
            .remove_job(id.clone(), Condition::Always, None);
        removed.await?;
        // One that has the name of its job is only that job's.
        if component_of(&own).as_deref().and_then(native_name) == Some(id.as_str()) {
            self.inner.natives.remove(id.as_str());
        }
        Ok(())
    }

    /// Holds a job back: what falls due of it meanwhile is skipped, and recorded as such. It stays
    /// so over a restart, until it is let go on.
    ///
    /// # Errors
    /// There is no such job.
    pub async fn pause_job(&self, id: impl AsRef<str>) -> Result<PauseSet, Error> {
        self.set_paused(Scope::Job(JobId::new(id.as_ref())), true)
            .await
    }

    /// Lets a job go on.
    ///
    /// # Errors
    /// There is no such job.
    pub async fn resume_job(&self, id: impl AsRef<str>) -> Result<PauseSet, Error> {
        self.set_paused(Scope::Job(JobId::new(id.as_ref())), false)
            .await
    }

    /// Holds a job, a group of jobs or all jobs back, or lets them go on. Each pause is by itself:
    /// a job goes on when nothing holds it any more.
    ///
    /// # Errors
    /// There is no such job or group.
    pub async fn set_paused(&self, scope: Scope, paused: bool) -> Result<PauseSet, Error> {
        Ok(self.control().set_paused(scope, paused).await?)
    }

    /// A job, and how it stands; nothing if there is none of that id. One that was added and waits
    /// for its plugin or its function is there, and not in service.
    ///
    /// # Errors
    /// The scheduler has stopped.
    pub async fn get_job(&self, id: impl AsRef<str>) -> Result<Option<JobInfo>, Error> {
        let id = id.as_ref();
        let mut jobs = self.control().jobs().await?.into_iter();
        if let Some(live) = jobs.find(|live| live.job.as_str() == id) {
            return Ok(Some(JobInfo::of(live)));
        }
        let id = JobId::new(id);
        match self.control().own_job(id.clone()).await {
            Ok(_) => Ok(Some(JobInfo::out_of_service(id, None))),
            Err(ControlError::Stopping) => Err(Error::Stopped),
            Err(_) => Ok(None),
        }
    }

    /// The jobs in service, whatever place defines them, in the order of their ids.
    ///
    /// # Errors
    /// The scheduler has stopped.
    pub async fn get_jobs(&self) -> Result<Vec<JobInfo>, Error> {
        let jobs = self.control().jobs().await?;
        Ok(jobs.into_iter().map(JobInfo::of).collect())
    }

    /// Runs a job now, whatever its trigger says, also while it is paused.
    ///
    /// ```
    /// # use quarterjack::{Job, Scheduler};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), quarterjack::Error> {
    /// # let scheduler = Scheduler::builder().start().await?;
    /// # scheduler.add_job(Job::native("report", |_| async { Ok("done") })).await?;
    /// let run = scheduler.trigger("report").await?.outcome().await?;
    /// assert!(run.has_succeeded());
    /// assert_eq!(run.output().unwrap().as_bytes(), b"done");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no such job in service, or it cannot start, as when as many of its runs are in
    /// flight as it allows.
    pub async fn trigger(&self, id: impl AsRef<str>) -> Result<RunHandle, Error> {
        self.trigger_params(id.as_ref(), None).await
    }

    /// The same with other parameters than those of the definition.
    ///
    /// # Errors
    /// As for [`trigger`](Scheduler::trigger); or the parameters are no JSON.
    pub async fn trigger_with(
        &self,
        id: impl AsRef<str>,
        params: impl Serialize,
    ) -> Result<RunHandle, Error> {
        let id = id.as_ref();
        let params = serde_json::to_string(&params).map_err(|error| Error::Json {
            what: format!("the parameters of a run of `{id}`"),
            error: error.to_string(),
        })?;
        self.trigger_params(id, Some(params.into())).await
    }

    async fn trigger_params(&self, id: &str, params: Option<Arc<str>>) -> Result<RunHandle, Error> {
        let request = crate::control::Trigger {
            job: JobId::new(id),
            params,
            by: None,
        };
        let triggered = self.control().trigger(request).await?;
        Ok(RunHandle {
            id: triggered.run,
            job: triggered.job,
            scheduler: self.clone(),
        })
    }

    /// Runs a job for the instants of some time that have no run.
    ///
    /// # Errors
    /// There is no such job, or what is asked for makes no sense.
    pub async fn backfill(&self, request: Backfill) -> Result<Backfilled, Error> {
        Ok(self.control().backfill(request).await?)
    }

    /// Asks a run to end, and says how far it had come. It is recorded as cancelled when it has.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn cancel(&self, run: RunId) -> Result<Cancelled, Error> {
        Ok(self.control().cancel(run).await?)
    }

    /// Records of runs, and of those that were skipped, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn runs(&self, query: RunQuery) -> Result<Vec<RunRecord>, Error> {
        Ok(self.inner.store()?.runs(query).await?)
    }

    /// The whole record of a run, with what it left behind; nothing if there is none.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn run(&self, id: RunId) -> Result<Option<RunRecord>, Error> {
        Ok(self.inner.store()?.run(id).await?)
    }

    /// How each place of definitions stands, those of the scheduler's own last.
    ///
    /// # Errors
    /// The scheduler has stopped.
    pub async fn sources(&self) -> Result<Vec<SourceStatus>, Error> {
        Ok(self.control().sources().await?)
    }

    /// How the scheduler stands.
    ///
    /// # Errors
    /// It has stopped.
    pub async fn status(&self) -> Result<HostStatus, Error> {
        Ok(self.control().status().await?)
    }

    /// Starts to listen: everything that happens from now on.
    pub fn subscribe(&self) -> EventStream {
        EventStream::new(self.inner.events.subscribe())
    }

    /// Stops the scheduler, and returns when all is recorded: at once, so that runs in flight are
    /// cancelled; or, to `wait` for them, when they have ended or their time of
    /// [grace](SchedulerBuilder::grace) is over. May be called by several, and again; a job that
    /// calls it waits for itself, until that time is over.
    pub async fn shutdown(&self, wait: bool) {
        match wait {
            true => self.inner.stop.request(),
            false => self.inner.stop.force(),
        }
        // An error means that the sender is gone, which `self` holds.
        let _ = self.inner.ended.subscribe().wait_for(|it| *it).await;
    }

    #[cfg(test)]
    pub(super) fn inner_events(&self) -> &Events {
        &self.inner.events
    }

    async fn outcome(&self, id: RunId, job: &JobId) -> Result<RunRecord, Error> {
        // Kept until the end is known, which may be when all ends.
        let store = self.inner.store()?;
        let notify = Arc::new(Notify::new());
        let awaited = &self.inner.awaited;
        awaited.0.lock().push((id, job.clone(), notify.clone()));
        let awaiting = Awaiting { awaited, notify };
        let mut closed = self.inner.closed.subscribe();
        loop {
            // Asked before the look: what is written before the end is seen then.
            let is_closed = *closed.borrow();
            if let Some(record) = store.run(id).await?
                && record.status.is_final()
            {
                // Its place is free a moment later: whoever runs the job again is to have it. A
                // scheduler that stops has none to give.
                while let Ok(true) = self.control().has_place(id).await {}
                return Ok(record);
            }
            if is_closed {
                return Err(Error::Stopped);
            }
            tokio::select! {
                () = awaiting.notify.notified() => {}
                _ = closed.changed() => {}
            }
        }
    }

    async fn own(&self, id: &JobId) -> Result<OwnJob, Error> {
        Ok(self.control().own_job(id.clone()).await?)
    }

    async fn put(&self, id: JobId, text: String, condition: Condition) -> Result<JobInfo, Error> {
        let put = self.control().put_job(PutJob {
            job: id.clone(),
            text,
            condition,
            by: None,
        });
        let put = put.await?;
        if put.in_service
            && let Some(info) = self.get_job(&id.as_str()).await?
        {
            return Ok(info);
        }
        Ok(JobInfo::out_of_service(id, put.waits_for))
    }
}

/// A definition that was added, as an object.
fn parsed(own: &OwnJob) -> Result<Map<String, Value>, Error> {
    let name = format!("host:{}", own.job);
    let source = Arc::new(SourceText::new(name, own.text.clone()));
    let json = plain_json(&source).map_err(|problem| Error::Definition {
        job: own.job.clone(),
        problems: vec![*problem],
    })?;
    serde_json::from_str(&json).map_err(|error| Error::Json {
        what: format!("the definition of `{}`", own.job),
        error: error.to_string(),
    })
}

fn component_of(own: &OwnJob) -> Option<String> {
    let definition = parsed(own).ok()?;
    Some(definition.get("component")?.as_str()?.to_owned())
}
