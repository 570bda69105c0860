//! A host on a simulated clock, and all that may befall it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

use super::fake::{Fake, MOST, MOST_OF_GROUP, Watch};
use super::reference::{Expected, Spec};
use super::store::Disks;
use crate::app::{in_service, recovery};
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::dispatcher::{Dispatcher, Ends, Parts};
use crate::event::Events;
use crate::firing::{Planner, Turn};
use crate::job::{Coalesce, Group, Job, JobId, OnLost, Overlap, Policies, Scope};
use crate::scheduler::Scheduler;
use crate::store::conformance::job;
use crate::store::{Schedule, Store as _};

/// What a world is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Climate {
    pub(super) seed: u64,
    pub(super) jobs: usize,
    pub(super) steps: usize,
}

struct Host {
    scheduler: Scheduler,
    planner: Planner,
    dispatcher: Dispatcher<Fake>,
}

/// See the [module](self).
pub(super) struct World {
    rng: fastrand::Rng,
    clock: ManualClock,
    disks: Arc<Disks>,
    watch: Arc<Mutex<Watch>>,
    /// What is defined.
    defined: BTreeMap<JobId, Arc<Job>>,
    specs: HashMap<JobId, Spec>,
    expected: HashMap<JobId, Expected>,
    host: Option<Host>,
    /// What the host's tasks run on: dropped with it, and they are gone.
    runtime: Runtime,
    /// Whether the clock is set back in this world.
    is_set_back: bool,
    names: usize,
    /// What has happened, the latest.
    log: Vec<String>,
}

impl World {
    pub(super) fn new(climate: Climate) -> World {
        let mut rng = fastrand::Rng::with_seed(climate.seed);
        let lead = if rng.bool() { 200 } else { 0 };
        let start = Timestamp::from_timestamp(1_800_000_000, 0).unwrap();
        let mut world = World {
            clock: ManualClock::new(start + TimeDelta::milliseconds(rng.i64(0..1_000))),
            disks: Arc::new(Disks::new(Duration::from_millis(lead))),
            watch: Arc::new(Mutex::new(Watch::new(rng.u64(..)))),
            defined: BTreeMap::new(),
            specs: HashMap::new(),
            expected: HashMap::new(),
            host: None,
            runtime: Builder::new_current_thread().build().unwrap(),
            is_set_back: rng.u32(..3) == 0,
            names: climate.jobs,
            log: Vec::new(),
            rng,
        };
        for n in 0..climate.jobs {
            world.define(&n.to_string());
        }
        world.boot(&HashSet::new());
        world
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn note(&mut self, what: String) {
        let line = format!("{} {what}", self.now());
        self.log.push(line);
    }

    /// Lives through so many steps, and comes to rest.
    ///
    /// # Errors
    /// What is wrong, and what went before.
    pub(super) fn live(&mut self, steps: usize) -> Result<(), String> {
        for _ in 0..steps {
            self.happen();
            self.check()?;
        }
        self.come_to_rest();
        self.check()?;
        let (recorded, ended, open) = self.disks.counts();
        if open > 0 || recorded != ended {
            return Err(self.told(format!(
                "of {recorded} runs {ended} have ended, {open} are open: {}",
                self.disks.open()
            )));
        }
        Ok(())
    }

    /// How many runs have started.
    pub(super) fn starts(&self) -> u64 {
        self.watch.lock().starts
    }

    fn told(&self, what: String) -> String {
        let from = self.log.len().saturating_sub(60);
        format!("{what}\nwhat went before:\n{}", self.log[from..].join("\n"))
    }

    fn happen(&mut self) {
        match self.rng.u32(..24) {
            0..12 => {
                let length = self.rng.i64(1..400_000);
                self.pass(TimeDelta::milliseconds(length));
            }
            12..14 => {
                let length = self.some_time();
                self.note(format!("stalls for {length}"));
                self.clock.set(self.now() + length);
            }
            14 if self.is_set_back => {
                let length = self.some_time();
                self.note(format!("is set back by {length}"));
                self.set_back(length);
            }
            15..17 => self.crash(),
            17..20 => self.edit(),
            20 => self.pause(),
            21 => {
                let failing = !self.disks.is_failing();
                self.note(format!("the disk fails: {failing}"));
                self.disks.fail(failing);
            }
            _ => {
                let operations = self.rng.u32(1..200);
                self.note(format!("will die after {operations}"));
                self.disks.die_after(operations);
            }
        }
        self.turn();
    }

    /// A second, or hours.
    fn some_time(&mut self) -> TimeDelta {
        let most = [1_000, 20_000, 600_000, 3_000_000, 10_000_000];
        let most = most[self.rng.usize(..most.len())];
        TimeDelta::milliseconds(self.rng.i64(1..most))
    }

    fn set_back(&mut self, length: TimeDelta) {
        let now = self.now();
        for expected in self.expected.values_mut() {
            expected.pass(now);
            expected.set_back();
        }
        self.clock.set(now - length);
    }

    /// Time passes, and the host looks at it as often as it wants to.
    fn pass(&mut self, length: TimeDelta) {
        let until = self.now() + length;
        self.note(format!("passes until {until}"));
        while self.now() < until {
            let now = self.now();
            let tick = now + TimeDelta::milliseconds(self.rng.i64(100..4_000));
            let wake = self.host.as_ref().and_then(|host| {
                let wake = host.planner.wake(&host.scheduler, now)?;
                Some(wake.max(now + TimeDelta::milliseconds(1)))
            });
            self.clock.set(tick.min(wake.unwrap_or(tick)).min(until));
            self.turn();
        }
    }

    /// The host looks at the time, and all that can go on goes on; or it dies meanwhile.
    fn turn(&mut self) {
        let now = self.now();
        self.drive(async |host: &mut Host, disks: &Disks| {
            quiet(disks).await;
            let (scheduler, planner) = (&mut host.scheduler, &mut host.planner);
            for _ in 0..2 {
                planner.step(scheduler, &host.dispatcher, now).await;
                tokio::select! {
                    biased;
                    turn = planner.recorded() => match turn {
                        Some(Turn::Failing(error)) => host.dispatcher.firings_fail(Some(&error)),
                        Some(Turn::Recovered) => host.dispatcher.firings_fail(None),
                        None => {}
                    },
                    () = yield_now() => {}
                }
            }
            quiet(disks).await;
        });
        if self.disks.is_dead() {
            self.after_death();
        }
    }

    /// Has the host do something, unless it dies.
    fn drive(&mut self, work: impl AsyncFnOnce(&mut Host, &Disks)) {
        let Some(host) = &mut self.host else {
            return;
        };
        let disks = &*self.disks;
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = work(host, disks) => {}
                () = death(disks) => {}
            }
        });
    }

    /// The host is killed, or the power goes; another one comes, at once or later.
    fn crash(&mut self) {
        self.note("is killed".to_owned());
        self.after_death();
    }

    fn after_death(&mut self) {
        let power_cut = self.rng.u32(..4) == 0;
        let written = self.rng.usize(..20);
        self.host = None;
        // Tasks end where they are.
        self.runtime = Builder::new_current_thread().build().unwrap();
        self.watch.lock().all_end();
        let lost = self.disks.take_over(written, power_cut);
        let down = if self.rng.bool() {
            self.some_time()
        } else {
            TimeDelta::zero()
        };
        self.note(format!(
            "was down for {down}; power cut: {power_cut}; lost: {lost:?}"
        ));
        if self.is_set_back && self.rng.u32(..4) == 0 {
            self.set_back(down);
        } else {
            self.clock.set(self.now() + down);
        }
        let mut vague = lost;
        for _ in 0..self.rng.usize(..3) {
            if let Some(edited) = self.redefine() {
                vague.insert(edited);
            }
        }
        self.boot(&vague);
    }

    /// A host starts. Of some jobs nobody knows when their definitions changed.
    fn boot(&mut self, vague: &HashSet<JobId>) {
        self.disks.fail(false);
        let now = self.now();
        self.disks.flush();
        self.take_dealt();
        for (id, expected) in &mut self.expected {
            let definition = self.defined.get(id);
            let counts = definition.is_some_and(|job| job.enabled);
            // What fell due by a definition that changed while no host was there, is not known.
            let is_edited = expected.edit(self.specs[id].clone(), counts, now);
            if is_edited || vague.contains(id) {
                expected.blur(now);
            }
        }
        for (id, job) in &self.defined {
            let spec = self.specs[id].clone();
            let new = || Expected::new(spec, job.enabled, now);
            self.expected.entry(id.clone()).or_insert_with(new);
        }
        self.watch_jobs();
        let dispatcher = Dispatcher::new(
            Fake {
                watch: self.watch.clone(),
                disks: self.disks.clone(),
                clock: self.clock.clone(),
            },
            Parts {
                store: self.disks.clone(),
                clock: Arc::new(self.clock.clone()),
                events: Events::new(),
                ends: Ends::default(),
                runtime: self.runtime.handle().clone(),
                max_running: MOST,
            },
        );
        for paused in &self.watch.lock().paused {
            dispatcher.pauses().pause(Scope::Job(paused.clone()));
        }
        self.host = Some(Host {
            scheduler: Scheduler::new(),
            planner: Planner::new(self.disks.clone()),
            dispatcher,
        });
        let defined: Vec<Arc<Job>> = self.defined.values().cloned().collect();
        self.drive(async |host, disks| {
            let recovered = disks.recover().await.unwrap();
            let mut left: HashMap<JobId, Schedule> = recovered.schedules;
            let entered = defined.iter().filter_map(|job| {
                in_service::enter(&mut host.scheduler, &mut left, false, job, now)
            });
            let entered: Vec<(JobId, Schedule)> = entered.collect();
            disks.enter(entered);
            for gone in left.keys() {
                let _ = disks.forget(gone).await;
            }
            recovery::settle(
                recovered.unfinished,
                &host.scheduler,
                &mut host.planner,
                &host.dispatcher,
                &Events::new(),
                now,
            )
            .await;
        });
        self.turn();
    }

    fn watch_jobs(&self) {
        let enabled = self.defined.values().filter(|job| job.enabled);
        self.watch.lock().enabled = enabled.map(|job| job.id.clone()).collect();
    }

    /// A job as chance has it.
    fn define(&mut self, name: &str) {
        let rng = &mut self.rng;
        let id = JobId::from(name);
        let spec = match rng.u32(..4) {
            0 => {
                let minutes = [&[0][..], &[0, 1, 2], &[7, 30, 59], &[10, 40]];
                Spec::Minutes(minutes[rng.usize(..minutes.len())].to_vec())
            }
            _ => {
                let seconds = [1, 2, 5, 7, 30, 60, 300, 3_600];
                Spec::Every(seconds[rng.usize(..seconds.len())])
            }
        };
        // Most edits leave the trigger as it is.
        let spec = match self.specs.get(&id) {
            Some(old) if rng.u32(..3) > 0 => old.clone(),
            _ => spec,
        };
        let graces = [None, Some(0), Some(30), Some(600), Some(3_600)];
        let grace = graces[rng.usize(..graces.len())];
        let mut policies = Policies {
            misfire_grace_time: grace.map(Duration::from_secs),
            coalesce: [
                Coalesce::Latest,
                Coalesce::Earliest,
                Coalesce::All(5),
                Coalesce::All(1),
            ][rng.usize(..4)],
            overlap: [
                Overlap::Skip,
                Overlap::Queue(3),
                Overlap::Allow,
                Overlap::Replace,
            ][rng.usize(..4)],
            on_lost: [OnLost::Record, OnLost::Rerun][rng.usize(..2)],
            priority: rng.i8(-1..2),
            ..Policies::default()
        };
        if rng.u32(..4) == 0 {
            policies.group = Some(Arc::new(Group {
                name: "group".into(),
                max_running: Some(u32::try_from(MOST_OF_GROUP).unwrap()),
            }));
        }
        policies.retry.attempts = rng.u32(1..4);
        policies.deadline = (rng.u32(..4) == 0).then_some(Duration::from_secs(60));
        let definition = Job {
            id: id.clone(),
            trigger: spec.trigger(),
            enabled: rng.u32(..5) > 0,
            max_instances: rng.u32(1..4),
            policies: Arc::new(policies),
            ..(*job(name)).clone()
        };
        self.specs.insert(id.clone(), spec);
        self.defined.insert(id, Arc::new(definition));
    }

    /// A job is added, removed or gets another definition; says which.
    fn redefine(&mut self) -> Option<JobId> {
        let name = self.rng.usize(..self.names).to_string();
        let id = JobId::from(&*name);
        if self.rng.u32(..5) == 0 {
            self.defined.remove(&id)?;
            self.note(format!("job {id} is removed"));
        } else {
            self.define(&name);
            let job = &self.defined[&id];
            let what = format!(
                "job {id}: {:?}, enabled {}, {} instances, {:?}",
                self.specs[&id], job.enabled, job.max_instances, job.policies
            );
            self.note(what);
        }
        Some(id)
    }

    fn edit(&mut self) {
        self.turn();
        let before = self.defined.clone();
        let Some(id) = self.redefine() else {
            return;
        };
        let now = self.now();
        let after = self.defined.get(&id).cloned();
        let counts = after.as_ref().is_some_and(|job| job.enabled);
        let spec = self.specs[&id].clone();
        let expected = self.expected.entry(id.clone());
        expected
            .or_insert_with(|| Expected::new(spec.clone(), false, now))
            .edit(spec, counts, now);
        let was_defined = before.contains_key(&id);
        let watch = self.watch.clone();
        let gone: HashSet<JobId> = (!counts).then(|| id.clone()).into_iter().collect();
        self.drive(async |host, disks| {
            host.planner.withdraw(&host.dispatcher, &gone);
            match &after {
                Some(_) if counts => watch.lock().enabled.insert(id.clone()),
                _ => watch.lock().enabled.remove(&id),
            };
            match &after {
                Some(job) if was_defined => {
                    let (scheduler, planner) = (&mut host.scheduler, &mut host.planner);
                    let dispatcher = &host.dispatcher;
                    let entered = in_service::update(scheduler, planner, dispatcher, job, now);
                    disks.enter(entered.into_iter().collect());
                }
                Some(job) => {
                    let left = &mut HashMap::new();
                    let entered = in_service::enter(&mut host.scheduler, left, false, job, now);
                    disks.enter(entered.into_iter().collect());
                }
                None => {
                    let (scheduler, planner) = (&mut host.scheduler, &mut host.planner);
                    in_service::leave(scheduler, planner, &host.dispatcher, &id, now);
                    let _ = disks.forget(&id).await;
                }
            }
        });
        if self.disks.is_dead() {
            if let Some(expected) = self.expected.get_mut(&id) {
                expected.blur(now);
            }
            self.after_death();
        }
    }

    fn pause(&mut self) {
        let id = JobId::from(&*self.rng.usize(..self.names).to_string());
        let Some(host) = &self.host else {
            return;
        };
        let mut watch = self.watch.lock();
        if watch.paused.remove(&id) {
            host.dispatcher.pauses().resume(&Scope::Job(id));
        } else {
            host.dispatcher.pauses().pause(Scope::Job(id.clone()));
            watch.paused.insert(id);
        }
    }

    /// Nothing new comes, and all that goes on ends.
    fn come_to_rest(&mut self) {
        self.note("comes to rest".to_owned());
        self.disks.fail(false);
        self.disks.live_on();
        self.turn();
        for id in self.defined.keys().cloned().collect::<Vec<_>>() {
            let job = Job {
                enabled: false,
                ..(*self.defined[&id]).clone()
            };
            let job = Arc::new(job);
            self.defined.insert(id.clone(), job.clone());
            let now = self.now();
            let spec = self.specs[&id].clone();
            if let Some(expected) = self.expected.get_mut(&id) {
                expected.edit(spec, false, now);
            }
            self.drive(async |host, _| {
                let gone = [id.clone()].into();
                host.planner.withdraw(&host.dispatcher, &gone);
                let (scheduler, planner) = (&mut host.scheduler, &mut host.planner);
                in_service::update(scheduler, planner, &host.dispatcher, &job, now);
            });
        }
        self.watch_jobs();
        for _ in 0..200 {
            self.clock.set(self.now() + TimeDelta::seconds(2));
            self.turn();
        }
    }

    fn take_dealt(&mut self) {
        for (job, instant, how) in self.disks.take_dealt() {
            let Some(expected) = self.expected.get_mut(&job) else {
                continue;
            };
            if let Err(wrong) = expected.dealt(instant, &how) {
                self.disks.wrong(format!("job {job}: {wrong} ({how:?})"));
            }
        }
    }

    /// Everything is as it must be.
    fn check(&mut self) -> Result<(), String> {
        let now = self.now();
        self.disks.flush();
        for expected in self.expected.values_mut() {
            expected.pass(now);
        }
        self.take_dealt();
        if let Some(wrong) = self.disks.take_wrong().first() {
            return Err(self.told(wrong.clone()));
        }
        let holds = self
            .host
            .as_ref()
            .is_none_or(|host| host.planner.is_holding());
        if holds || self.disks.is_failing() {
            return Ok(());
        }
        for (id, expected) in &self.expected {
            if let Some(instant) = expected.forgotten() {
                return Err(self.told(format!("job {id} forgets {instant}: {expected:?}")));
            }
        }
        Ok(())
    }
}

/// Lets every task go on until all of them wait.
async fn quiet(disks: &Disks) {
    let mut quiet = 0;
    let mut steps = disks.steps.load(Ordering::Relaxed);
    while quiet < 6 {
        yield_now().await;
        let now = disks.steps.load(Ordering::Relaxed);
        quiet = if now == steps { quiet + 1 } else { 0 };
        steps = now;
    }
}

async fn death(disks: &Disks) {
    while !disks.is_dead() {
        yield_now().await;
    }
}
