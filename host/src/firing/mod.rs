//! The way of a firing: due, admitted, recorded, dispatched.
//!
//! ```text
//! Scheduler::due ──▶ Pauses ──▶ Dispatcher::admit ──▶ Store::fire ──▶ Dispatcher::dispatch
//!      │ missed        │ paused       │ refused            │ failed
//!      └───────────────┴──────────────┴────────────────────┴──────▶ run.skipped, with the reason
//! ```

mod by_hand;
mod planner;

use std::cmp::Reverse;

use crate::clock::Timestamp;
use crate::dispatcher::{Admission, Dispatcher, Executor};
use crate::run::{Firing, SkipReason};
use crate::scheduler::{Due, Scheduler};
use crate::store::FireResult;

pub use by_hand::fire_one;
pub use planner::{Planner, Turn};

/// How many firings are recorded in one group: enough that a commit is cheap for each, and few
/// enough that the first of a great many do not wait for the last to be recorded.
const GROUP: usize = 2_048;

/// What has become of what was due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fired {
    /// Firings that are recorded, and run or wait for their turn.
    pub dispatched: usize,
    /// Skips that were told of.
    pub skipped: usize,
    /// Firings of instants that had a run already.
    pub duplicates: usize,
}

/// Fires what is due by `now`. Returns when all of it is recorded and handed to the dispatcher,
/// which may be long before it has run.
pub async fn fire_due<E: Executor>(
    scheduler: &mut Scheduler,
    dispatcher: &Dispatcher<E>,
    now: Timestamp,
) -> Fired {
    fire(scheduler.due(now), dispatcher, now).await
}

/// Fires what a scheduler said is [due](Scheduler::due). For callers who share their scheduler:
/// it need not be locked while the runs are recorded.
pub async fn fire<E: Executor>(
    mut due: Vec<Due>,
    dispatcher: &Dispatcher<E>,
    now: Timestamp,
) -> Fired {
    let mut fired = Fired::default();
    let priority = |due: &Due| due.firing().job.policies.priority;
    if due.iter().any(|due| priority(due) != 0) {
        // Of more than one group the urgent ones are not to come last. Each job's own stay in order.
        due.sort_by_key(|due| Reverse(priority(due)));
    }
    let mut due = due.into_iter();
    while due.len() > 0 {
        let mut firings = Vec::new();
        let mut admissions = Vec::new();
        for due in due.by_ref().take(GROUP) {
            match due {
                Due::Fire(firing) => match admit(&firing, dispatcher) {
                    Ok(admission) => {
                        firings.push(firing);
                        admissions.push(admission);
                    }
                    Err(reason) => {
                        fired.skipped += 1;
                        dispatcher.skip(firing, None, reason);
                    }
                },
                Due::Skip {
                    firing,
                    through,
                    reason,
                } => {
                    fired.skipped += 1;
                    dispatcher.skip(firing, Some(through), reason);
                }
            }
        }
        if !firings.is_empty() {
            record(firings, admissions, dispatcher, now, &mut fired).await;
        }
    }
    fired
}

/// Admits a firing, unless its job is paused.
///
/// # Errors
/// Why it is not to run.
pub fn admit<E: Executor>(
    firing: &Firing,
    dispatcher: &Dispatcher<E>,
) -> Result<Admission, SkipReason> {
    match dispatcher.pauses().refuses(firing) {
        Some(reason) => Err(reason),
        None => dispatcher.admit(&firing.job),
    }
}

/// Records one group and dispatches it.
async fn record<E: Executor>(
    firings: Vec<Firing>,
    admissions: Vec<Admission>,
    dispatcher: &Dispatcher<E>,
    now: Timestamp,
    fired: &mut Fired,
) {
    // The store takes the firings; if it fails, these say what was lost.
    let due = firings.clone();
    match dispatcher.store().fire(firings, now).await {
        Ok(results) => {
            let mut runs = Vec::with_capacity(results.len());
            for (result, admission) in results.into_iter().zip(admissions) {
                match result {
                    FireResult::Recorded(run) => runs.push((run, admission)),
                    FireResult::Duplicate(firing) => {
                        fired.duplicates += 1;
                        tracing::debug!(
                            job = %firing.job.id,
                            scheduled_at = %firing.scheduled_at,
                            "the instant has a run already"
                        );
                    }
                }
            }
            fired.dispatched += runs.len();
            dispatcher.dispatch(runs);
        }
        Err(error) => {
            tracing::error!(runs = due.len(), %error, "runs that are due are not started");
            drop(admissions);
            let why = error.why();
            for firing in due {
                fired.skipped += 1;
                dispatcher.skip(firing, None, SkipReason::NotRecorded(why.to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use chrono::TimeDelta;

    use super::*;
    use crate::clock::ManualClock;
    use crate::dispatcher::{Ends, Parts, Session};
    use crate::event::{Event, Events};
    use crate::job::{Coalesce, Job, JobId, Overlap, Policies, Scope};
    use crate::record::{Kind, RunQuery, Status};
    use crate::run::{Attempt, Cause, Execution, Outcome};
    use crate::store::conformance::{execution, instant, job, newest};
    use crate::store::faulty::FaultyStore;
    use crate::store::{MemoryStore, Store};
    use crate::trigger::Trigger;

    /// Jobs with the component `slow.wasm` end only when they are told to.
    struct Fake;

    impl Executor for Fake {
        fn ready(&self, job: &Job) -> Result<(), SkipReason> {
            if &*job.component == "gone.wasm" {
                return Err(SkipReason::PluginMissing(job.component.clone()));
            }
            Ok(())
        }

        async fn execute(&self, attempt: Attempt, session: Session) -> Execution {
            if &*attempt.run.job.component == "slow.wasm" {
                session.cancel.cancelled().await;
            }
            execution(Outcome::Succeeded)
        }
    }

    struct Host {
        scheduler: Scheduler,
        dispatcher: Dispatcher<Fake>,
        clock: ManualClock,
        events: Events,
    }

    impl Host {
        fn new() -> Host {
            Host::with(Arc::new(MemoryStore::default()))
        }

        fn with(store: Arc<dyn Store>) -> Host {
            let clock = ManualClock::new(instant(1_000_000));
            let events = Events::new();
            let parts = Parts {
                store,
                clock: Arc::new(clock.clone()),
                events: events.clone(),
                ends: Ends::default(),
                runtime: tokio::runtime::Handle::current(),
                max_running: 1_000,
            };
            Host {
                scheduler: Scheduler::new(),
                dispatcher: Dispatcher::new(Fake, parts),
                clock,
                events,
            }
        }

        fn add(&mut self, id: &str, component: &str, seconds: u64) {
            let added = Job {
                id: JobId::from(id),
                component: component.into(),
                trigger: Trigger::every(Duration::from_secs(seconds)).unwrap(),
                ..(*job(id)).clone()
            };
            self.scheduler.upsert(Arc::new(added), self.now());
        }

        fn now(&self) -> Timestamp {
            use crate::clock::Clock as _;
            self.clock.now()
        }

        /// Lets time pass, and fires what is due by then.
        async fn after(&mut self, seconds: u64) -> Fired {
            self.clock.advance(Duration::from_secs(seconds));
            let now = self.now();
            fire_due(&mut self.scheduler, &self.dispatcher, now).await
        }

        async fn finished(&self, runs: u64) {
            let store = self.dispatcher.store();
            while store.totals().await.unwrap().finished() < runs {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn what_is_due_is_recorded_and_runs() {
        let mut host = Host::new();
        host.add("a", "fine.wasm", 10);
        host.add("b", "fine.wasm", 20);
        assert_eq!(host.after(9).await, Fired::default());
        assert_eq!(host.after(1).await.dispatched, 1);
        host.finished(1).await;
        assert_eq!(host.after(10).await.dispatched, 2);
        host.finished(3).await;
        let last = newest(&**host.dispatcher.store()).await;
        assert_eq!(last.scheduled_at, instant(1_000_020));
        assert_eq!(last.last_success.is_some(), last.job == "a".into());
    }

    #[tokio::test]
    async fn every_firing_that_does_not_run_is_told_with_its_reason() {
        let mut host = Host::new();
        let mut events = host.events.subscribe();
        host.add("slow", "slow.wasm", 10);
        host.add("gone", "gone.wasm", 10);
        assert_eq!(
            host.after(10).await,
            Fired {
                dispatched: 1,
                skipped: 1,
                duplicates: 0
            }
        );
        assert_eq!(
            host.after(30).await,
            Fired {
                dispatched: 0,
                skipped: 4,
                duplicates: 0
            }
        );
        let mut told = Vec::new();
        while let Some(stamped) = events.try_recv() {
            if let Event::RunSkipped {
                job,
                scheduled_at,
                reason,
            } = stamped.event
            {
                told.push((
                    job.id.to_string(),
                    scheduled_at.timestamp() - 1_000_000,
                    reason,
                ));
            }
        }
        let gone = || SkipReason::PluginMissing("gone.wasm".into());
        let told: Vec<_> = told
            .iter()
            .map(|(id, at, why)| (id.as_str(), *at, why.clone()))
            .collect();
        assert_eq!(
            told,
            [
                ("gone", 10, gone()),
                ("slow", 20, SkipReason::Missed(Some(2))),
                ("slow", 40, SkipReason::MaxInstances(1)),
                ("gone", 20, SkipReason::Missed(Some(2))),
                ("gone", 40, gone()),
            ]
        );
        let totals = host.dispatcher.store().totals().await.unwrap();
        assert_eq!((totals.recorded, totals.skipped), (1, 7));
    }

    #[tokio::test]
    async fn what_is_paused_is_skipped_until_it_goes_on() {
        let mut host = Host::new();
        host.add("a", "fine.wasm", 10);
        host.add("b", "fine.wasm", 10);
        let pauses = host.dispatcher.pauses().clone();
        pauses.pause(Scope::Job("a".into()));
        let fired = host.after(10).await;
        assert_eq!((fired.dispatched, fired.skipped), (1, 1));
        pauses.pause(Scope::All);
        let fired = host.after(10).await;
        assert_eq!((fired.dispatched, fired.skipped), (0, 2));
        let skips = RunQuery::newest(9).only([Kind::Skipped]);
        let skips = host.dispatcher.store().runs(skips).await.unwrap();
        let mut why: Vec<String> = skips
            .iter()
            .map(|skip| format!("{} {:?}", skip.job, skip.status))
            .collect();
        why.sort();
        assert_eq!(
            why,
            [
                r#"a Skipped(Paused("all jobs"))"#,
                r#"a Skipped(Paused("the job a"))"#,
                r#"b Skipped(Paused("all jobs"))"#
            ]
        );
        // A person may start it all the same.
        let by_hand = Firing {
            job: host.scheduler.job(&"a".into()).unwrap().clone(),
            cause: Cause::Manual,
            scheduled_at: host.now(),
        };
        let now = host.now();
        let fired = fire(vec![Due::Fire(by_hand)], &host.dispatcher, now).await;
        assert_eq!(fired.dispatched, 1);
        host.finished(2).await;
        pauses.resume(&Scope::All);
        pauses.resume(&Scope::Job("a".into()));
        assert_eq!(host.after(10).await.dispatched, 2);
        host.finished(4).await;
    }

    #[tokio::test]
    async fn the_urgent_go_first_and_each_job_keeps_its_order() {
        let mut host = Host::new();
        let mut events = host.events.subscribe();
        for (id, priority) in [("low", -1), ("plain", 0), ("urgent", 7)] {
            let policies = Policies {
                priority,
                coalesce: Coalesce::All(2),
                overlap: Overlap::Queue(5),
                ..Policies::default()
            };
            let added = Job {
                policies: Arc::new(policies),
                ..(*job(id)).clone()
            };
            host.scheduler.upsert(Arc::new(added), host.now());
        }
        assert_eq!(host.after(180).await.dispatched, 6);
        host.finished(6).await;
        let mut started = Vec::new();
        while let Some(stamped) = events.try_recv() {
            if let Event::RunStarted { attempt } = stamped.event {
                let run = &attempt.run;
                started.push((run.job.id.to_string(), run.scheduled_at.timestamp()));
            }
        }
        let (first, second) = (1_000_080, 1_000_140);
        let of = |id: &str| -> Vec<i64> {
            let own = started.iter().filter(|(job, _)| job == id);
            own.map(|(_, at)| *at).collect()
        };
        for id in ["low", "plain", "urgent"] {
            assert_eq!(of(id), [first, second], "{id}");
        }
        let ids: Vec<&str> = started.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["urgent", "urgent", "plain", "plain", "low", "low"]);
    }

    #[tokio::test]
    async fn an_instant_that_has_a_run_is_not_run_again_and_holds_no_place() {
        let mut host = Host::new();
        host.add("a", "fine.wasm", 10);
        let now = host.now() + TimeDelta::seconds(10);
        let due = host.scheduler.due(now);
        let first = fire(due.clone(), &host.dispatcher, now).await;
        assert_eq!(first.dispatched, 1);
        host.finished(1).await;
        host.dispatcher.drain(Duration::ZERO).await;

        let mut host = Host {
            dispatcher: host.dispatcher,
            ..Host::new()
        };
        // A host that is stopping admits nothing: a new one on the same store does.
        let again = Host::with(host.dispatcher.store().clone());
        host.dispatcher = again.dispatcher;
        let second = fire(due, &host.dispatcher, now).await;
        assert_eq!(
            second,
            Fired {
                dispatched: 0,
                skipped: 0,
                duplicates: 1
            }
        );
        assert!(host.dispatcher.admit(&job("a")).is_ok());
    }

    #[tokio::test]
    async fn what_cannot_be_recorded_does_not_start() {
        let store = Arc::new(FaultyStore::default());
        let mut host = Host::with(store.clone());
        host.add("a", "fine.wasm", 10);
        store.no_fire.store(true, Ordering::SeqCst);
        let fired = host.after(10).await;
        assert_eq!((fired.dispatched, fired.skipped), (0, 1));
        assert_eq!(host.dispatcher.in_flight(), 0);
        let why = SkipReason::NotRecorded("the disk is full".into());
        assert_eq!(newest(&*store).await.status, Status::Skipped(why));
        // Its place is free, and the next instant runs as if nothing had been.
        store.no_fire.store(false, Ordering::SeqCst);
        assert_eq!(host.after(10).await.dispatched, 1);
        host.finished(1).await;
    }

    #[tokio::test]
    async fn who_asks_for_a_run_hears_what_becomes_of_it() {
        let store = Arc::new(FaultyStore::default());
        let host = Host::with(store.clone());
        let ask = |component: &str| {
            let job = Job {
                component: component.into(),
                ..(*job("a")).clone()
            };
            let firing = Firing {
                job: Arc::new(job),
                cause: Cause::Manual,
                scheduled_at: host.now(),
            };
            fire_one(firing, &host.dispatcher, host.now())
        };
        let run = ask("slow.wasm").await.unwrap();
        assert_eq!(run.cause, Cause::Manual);
        assert_eq!(host.dispatcher.by_job()[&run.job.id], (1, 0));
        let full = SkipReason::MaxInstances(1);
        assert_eq!(ask("slow.wasm").await.unwrap_err(), full);
        // That is on record, too.
        assert_eq!(newest(&*store).await.status, Status::Skipped(full));
        assert!(host.dispatcher.cancel(run.id));
        host.finished(1).await;
        while host.dispatcher.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
        store.no_fire.store(true, Ordering::SeqCst);
        let why = SkipReason::NotRecorded("the disk is full".into());
        assert_eq!(ask("fine.wasm").await.unwrap_err(), why);
        store.no_fire.store(false, Ordering::SeqCst);
        ask("fine.wasm").await.unwrap();
        host.finished(2).await;
    }

    #[tokio::test]
    async fn a_run_that_is_recorded_and_not_due_can_be_taken_back() {
        let host = Host::new();
        let mut planner = Planner::new(host.dispatcher.store().clone());
        let mut runs = Vec::new();
        for _ in 0..3 {
            let by_hand = Firing {
                job: job("a"),
                cause: Cause::Manual,
                scheduled_at: host.now(),
            };
            let recorded = host
                .dispatcher
                .store()
                .fire(vec![by_hand], host.now())
                .await;
            let Some(FireResult::Recorded(run)) = recorded.unwrap().pop() else {
                panic!("by hand is never a duplicate");
            };
            planner.wait(run.clone(), host.now() + TimeDelta::seconds(1), host.now());
            runs.push(run.id);
        }
        assert_eq!(planner.take(runs[1]).unwrap().id, runs[1]);
        assert!(planner.take(runs[1]).is_none());
        assert_eq!(planner.waiting(), 2);
        assert!(planner.take(runs[2]).is_some());
        assert!(planner.take(runs[0]).is_some());
        assert_eq!(planner.waiting(), 0);
    }

    #[tokio::test]
    async fn ten_thousand_at_once_all_run() {
        let mut host = Host::new();
        for n in 0..10_000 {
            host.add(&n.to_string(), "fine.wasm", 60);
        }
        let now = host.now() + TimeDelta::seconds(20); // 1 000 020 is a whole minute
        let fired = fire_due(&mut host.scheduler, &host.dispatcher, now).await;
        assert_eq!(fired.dispatched, 10_000);
        host.finished(10_000).await;
        let totals = host.dispatcher.store().totals().await.unwrap();
        assert_eq!(totals.ended(Outcome::Succeeded), 10_000);
    }
}
