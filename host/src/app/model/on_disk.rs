//! The same on the store that a host really has: jobs that count their successes in their state,
//! fail and are tried again, wait for their jitter, and come one after the other; under hosts that
//! are killed at any moment.
//!
//! Every instant is to have its run, so that all can be told from the records:
//! - each instant of a job became a run, once, and each run has an end;
//! - no attempt began twice, and none followed where the policies do not say so;
//! - a state is what exactly the runs that succeeded made of it, whenever a host comes;
//! - each success of the first job was followed by one run of the job that waits for it;
//! - the file is whole.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::yield_now;

use super::number;
use crate::app::{chains, in_service, recovery};
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::dispatcher::{Dispatcher, Ends, Executor, Parts, RunEnded, Session};
use crate::event::Events;
use crate::firing::{Planner, fire};
use crate::job::{
    Coalesce, Grants, Job, JobId, OnLost, Overlap, Policies, RetryPolicy, StateQuota,
};
use crate::record::{RunQuery, RunRecord, Status};
use crate::run::{Attempt, Cause, Execution, Outcome, Retry, RunId};
use crate::scheduler::Scheduler;
use crate::state::Changes;
use crate::store::conformance::{execution, job};
use crate::store::sqlite::tests::is_whole;
use crate::store::{SqliteStore, Store as _};
use crate::trigger::{After, Bounds, Ending, Trigger};

/// How many runs start by default, and for each that the other worlds are asked for.
const STARTS: u64 = 300;
const OF_THOSE_ASKED: u64 = 100;

/// What is true of all hosts of a world together.
struct Books {
    rng: fastrand::Rng,
    begun: HashSet<(RunId, u32)>,
    /// Attempts that failed, for a reason that may pass: another one may follow.
    failed: HashSet<(RunId, u32)>,
    wrong: Vec<String>,
}

struct Fake {
    books: Arc<Mutex<Books>>,
    clock: ManualClock,
    is_dead: Arc<AtomicBool>,
}

impl Fake {
    /// How long an attempt lasts, and how it ends.
    fn begin(&self, attempt: &Attempt) -> (Duration, Outcome) {
        let mut books = self.books.lock();
        let (run, number) = (attempt.run.id, attempt.number);
        let what = format!("attempt {number} of {run} of {}", attempt.run.job.id);
        if !books.begun.insert((run, number)) {
            books.wrong.push(format!("{what} begins twice"));
        }
        let reruns = attempt.run.job.policies.on_lost == OnLost::Rerun;
        if number > 1 && !reruns && !books.failed.contains(&(run, number - 1)) {
            books
                .wrong
                .push(format!("{what} follows one that did not fail"));
        }
        let length = match books.rng.u32(..4) {
            0 => Duration::from_millis(books.rng.u64(1..9_000)),
            _ => Duration::ZERO,
        };
        let outcome = match books.rng.u32(..5) {
            0 => Outcome::Failed,
            _ => Outcome::Succeeded,
        };
        (length, outcome)
    }
}

impl Executor for Fake {
    async fn execute(&self, attempt: Attempt, session: Session) -> Execution {
        if self.is_dead.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let (length, outcome) = self.begin(&attempt);
        let mut execution = Execution {
            retry: Retry::ByPolicy,
            ..execution(outcome)
        };
        if outcome == Outcome::Succeeded
            && let Some(space) = session.state
        {
            let mut changes = Changes::on(space.load().await.unwrap());
            let count = changes.get("count").map_or(0, |count| counted(&count)) + 1;
            let value: Arc<[u8]> = count.to_be_bytes().into();
            for key in ["count", "again"] {
                let value = Some(value.clone());
                changes.write(key, value, StateQuota::DEFAULT).unwrap();
            }
            execution.state = Some(changes);
        }
        if !length.is_zero() {
            self.clock.sleep(length).await;
        }
        // Whether it succeeds is only known when its state lands; then it may be tried again.
        let mut books = self.books.lock();
        books.failed.insert((attempt.run.id, attempt.number));
        execution
    }
}

fn counted(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().unwrap())
}

/// One life of a host.
struct Host {
    runtime: Runtime,
    scheduler: Scheduler,
    planner: Planner,
    dispatcher: Dispatcher<Fake>,
    ended: UnboundedReceiver<RunEnded>,
    store: Arc<SqliteStore>,
    is_dead: Arc<AtomicBool>,
}

impl Host {
    /// Lets it do something, until a time to die comes: after so many turns of its tasks.
    fn live(&mut self, turns: usize, now: Timestamp) {
        let Host {
            runtime,
            scheduler,
            planner,
            dispatcher,
            ended,
            store,
            ..
        } = self;
        runtime.block_on(async {
            let work = async {
                for _ in 0..3 {
                    planner.step(scheduler, dispatcher, now).await;
                    // The store answers in the order in which it is asked.
                    tokio::select! {
                        biased;
                        turn = planner.recorded() => assert_eq!(turn, None),
                        known = store.last_success(&"0".into()) => drop(known.unwrap()),
                    }
                    while let Ok(run) = ended.try_recv() {
                        let due = scheduler.ended(&run.job, run.succeeded, run.at);
                        fire(due, dispatcher, now).await;
                    }
                    store.last_success(&"0".into()).await.unwrap();
                    for _ in 0..20 {
                        yield_now().await;
                    }
                }
            };
            let death = async {
                for _ in 0..turns {
                    yield_now().await;
                }
            };
            tokio::select! {
                biased;
                () = work => {}
                () = death => {}
            }
        });
    }

    /// It is killed. What it told the store by then is written, and it hears of none of it.
    fn die(self) {
        self.is_dead.store(true, Ordering::SeqCst);
        let Host {
            runtime,
            planner,
            dispatcher,
            store,
            ..
        } = self;
        drop((runtime, planner, dispatcher));
        let store = Arc::into_inner(store);
        assert!(store.is_some(), "something of the host outlives it");
    }
}

struct World {
    rng: fastrand::Rng,
    clock: ManualClock,
    dir: tempfile::TempDir,
    jobs: Vec<Arc<Job>>,
    books: Arc<Mutex<Books>>,
    began: Timestamp,
}

/// The first four are due by themselves; the last one comes after the first.
fn define(rng: &mut fastrand::Rng) -> Vec<Arc<Job>> {
    let define = |n: usize, rng: &mut fastrand::Rng| {
        let id = n.to_string();
        let trigger = if n == 4 {
            Trigger::After(After {
                job: "0".into(),
                on: Ending::Success,
            })
        } else {
            let bounds = Bounds {
                jitter: (n == 1).then_some(Duration::from_millis(1_500)),
                ..Bounds::default()
            };
            let period = Duration::from_secs(rng.u64(2..9));
            Trigger::every(period).unwrap().within(bounds, &id).unwrap()
        };
        let policies = Policies {
            misfire_grace_time: None,
            coalesce: Coalesce::All(10_000),
            overlap: if n == 2 {
                Overlap::Queue(10_000)
            } else {
                Overlap::Allow
            },
            on_lost: if rng.bool() {
                OnLost::Rerun
            } else {
                OnLost::Record
            },
            deadline: (n == 3).then_some(Duration::from_secs(20)),
            retry: RetryPolicy {
                attempts: 3,
                backoff: Duration::from_secs(rng.u64(0..4)),
                ..RetryPolicy::default()
            },
            ..Policies::default()
        };
        Arc::new(Job {
            trigger,
            policies: Arc::new(policies),
            grants: Arc::new(Grants {
                state: Some(StateQuota::DEFAULT),
                ..Grants::default()
            }),
            ..(*job(&id)).clone()
        })
    };
    (0..5).map(|n| define(n, rng)).collect()
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = fastrand::Rng::with_seed(seed);
        let millis = 1_800_000_000_000 + rng.i64(0..10_000);
        let began = Timestamp::from_timestamp_millis(millis).unwrap();
        let books = Books {
            rng: fastrand::Rng::with_seed(rng.u64(..)),
            begun: HashSet::new(),
            failed: HashSet::new(),
            wrong: Vec::new(),
        };
        World {
            clock: ManualClock::new(began),
            dir: tempfile::tempdir().unwrap(),
            jobs: define(&mut rng),
            books: Arc::new(Mutex::new(books)),
            began,
            rng,
        }
    }

    /// A host comes, and takes up what the one before it left.
    fn boot(&mut self) -> Host {
        let now = self.clock.now();
        let store = Arc::new(SqliteStore::open(self.dir.path(), now).unwrap());
        self.check_states(&store);
        let runtime = Builder::new_current_thread().build().unwrap();
        let (ends, ended) = Ends::new();
        ends.wait_for([JobId::from("0")].into());
        let is_dead = Arc::new(AtomicBool::new(false));
        let events = Events::new();
        let dispatcher = Dispatcher::new(
            Fake {
                books: self.books.clone(),
                clock: self.clock.clone(),
                is_dead: is_dead.clone(),
            },
            Parts {
                store: store.clone(),
                clock: Arc::new(self.clock.clone()),
                events: events.clone(),
                ends,
                runtime: runtime.handle().clone(),
                max_running: 8,
            },
        );
        let mut host = Host {
            runtime,
            scheduler: Scheduler::new(),
            planner: Planner::new(store.clone()),
            dispatcher,
            ended,
            store,
            is_dead,
        };
        host.runtime.block_on(async {
            let recovered = host.store.recover().await.unwrap();
            let mut left = recovered.schedules;
            let scheduler = &mut host.scheduler;
            let jobs = self.jobs.iter();
            let entered =
                jobs.filter_map(|job| in_service::enter(scheduler, &mut left, false, job, now));
            host.store.enter(entered.collect());
            let after = chains::unfollowed(scheduler, &*host.store, now).await;
            let (planner, dispatcher) = (&mut host.planner, &host.dispatcher);
            let unfinished = recovered.unfinished;
            recovery::settle(unfinished, scheduler, planner, dispatcher, &events, now).await;
            fire(after.unwrap(), dispatcher, now).await;
        });
        host
    }

    /// A state is what the runs that succeeded made of it: no less, no more, and all of it.
    fn check_states(&self, store: &SqliteStore) {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for job in &self.jobs {
                let state = store.state(&job.id).await.unwrap();
                let records = store
                    .runs(RunQuery::newest(usize::MAX >> 1).of(&job.id))
                    .await;
                let succeeded = Status::Finished(Outcome::Succeeded);
                let of = records
                    .unwrap()
                    .iter()
                    .filter(|it| it.status == succeeded)
                    .count();
                for key in ["count", "again"] {
                    let count = state.get(key).map_or(0, |value| counted(value));
                    assert_eq!(count, of as u64, "the `{key}` of job {}", job.id);
                }
            }
        });
    }

    /// Hosts come and go, and then one stays until all has an end.
    fn live(&mut self) -> u64 {
        for _ in 0..self.rng.usize(4..12) {
            let mut host = self.boot();
            for _ in 0..self.rng.usize(1..12) {
                let length = self.rng.i64(1..2_500);
                self.clock
                    .set(self.clock.now() + TimeDelta::milliseconds(length));
                host.live(usize::MAX, self.clock.now());
            }
            self.clock
                .set(self.clock.now() + TimeDelta::milliseconds(self.rng.i64(0..2_500)));
            host.live(self.rng.usize(0..400), self.clock.now());
            host.die();
            if self.rng.bool() {
                self.clock
                    .set(self.clock.now() + TimeDelta::milliseconds(self.rng.i64(0..30_000)));
            }
        }
        let last = self.clock.now();
        let mut host = self.boot();
        let now = self.clock.now();
        host.live(usize::MAX, now);
        for job in &self.jobs[..4] {
            let disabled = Arc::new(Job {
                enabled: false,
                ..(**job).clone()
            });
            host.scheduler.upsert(disabled, now);
        }
        // No more of them is due; all that is recorded goes on to its end.
        for _ in 0..400 {
            if host.dispatcher.in_flight() + host.dispatcher.queued() + host.planner.waiting() == 0
            {
                break;
            }
            self.clock.set(self.clock.now() + TimeDelta::seconds(1));
            host.live(usize::MAX, self.clock.now());
        }
        host.live(usize::MAX, self.clock.now());
        let records = host
            .runtime
            .block_on(host.store.runs(RunQuery::newest(usize::MAX >> 1)));
        host.die();
        self.check(&records.unwrap(), last);
        let store = SqliteStore::open(self.dir.path(), self.clock.now()).unwrap();
        self.check_states(&store);
        drop(store);
        assert!(is_whole(self.dir.path()), "the file is damaged");
        let books = self.books.lock();
        assert_eq!(books.wrong, [""; 0]);
        books.begun.len() as u64
    }

    /// All is told from the records. Up to `last` everything was due.
    fn check(&self, records: &[RunRecord], last: Timestamp) {
        for record in records {
            let Status::Finished(_) = record.status else {
                // Recorded ahead, when the jobs were disabled at the end.
                assert!(
                    record.scheduled_at > last - TimeDelta::seconds(3),
                    "{record:?}"
                );
                continue;
            };
        }
        for job in &self.jobs[..4] {
            let own = records.iter().filter(|record| record.job == job.id);
            let mut instants: BTreeMap<Timestamp, usize> = BTreeMap::new();
            own.for_each(|record| *instants.entry(record.scheduled_at).or_default() += 1);
            assert!(
                instants.values().all(|count| *count == 1),
                "{}: {instants:?}",
                job.id
            );
            let mut due = job.trigger.next_after(self.began);
            while let Some(instant) = due.filter(|instant| job.trigger.due(*instant) <= last) {
                assert!(
                    instants.contains_key(&instant),
                    "job {} forgets {instant}",
                    job.id
                );
                due = job.trigger.next_after(instant);
            }
        }
        let is_success = |record: &&RunRecord| {
            record.job == "0".into() && record.status == Status::Finished(Outcome::Succeeded)
        };
        let followed = records
            .iter()
            .filter(|record| record.cause == Cause::Upstream)
            .count();
        let successes = records.iter().filter(is_success).count();
        assert_eq!(followed, successes, "runs that follow, of so many ends");
    }
}

#[test]
fn on_the_store_of_a_host_all_is_done_once_and_nothing_by_halves() {
    let wanted = number("QUARTERJACK_MODEL_FIRINGS").map_or(STARTS, |them| them / OF_THOSE_ASKED);
    let mut seed = number("QUARTERJACK_MODEL_SEED").unwrap_or(1);
    let mut starts = 0;
    while starts < wanted {
        eprintln!("seed {seed}");
        starts += World::new(seed).live();
        seed += 1;
    }
}
