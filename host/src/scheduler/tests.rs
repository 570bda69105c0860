//! The schedule on a simulated clock, and a model of it.

mod ahead;
mod days_off;
mod late;
mod triggers;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::parse_instant;
use crate::job::Policies;
use crate::store::conformance::job as minutely;
use crate::trigger::{Trigger, Zone};

fn at(time: &str) -> Timestamp {
    parse_instant(&format!("2026-03-10T{time}Z")).unwrap()
}

fn seconds(count: i64) -> TimeDelta {
    TimeDelta::seconds(count)
}

fn with(id: &str, trigger: Trigger) -> Job {
    Job {
        trigger,
        ..(*minutely(id)).clone()
    }
}

fn every(id: &str, period: u64) -> Job {
    with(id, Trigger::every(Duration::from_secs(period)).unwrap())
}

fn cron(id: &str, expression: &str) -> Job {
    with(id, Trigger::parse(expression, Zone::UTC).unwrap())
}

/// The same job, which runs however late it is.
fn patient(job: Job) -> Job {
    let policies = Policies {
        misfire_grace_time: None,
        ..(*job.policies).clone()
    };
    Job {
        policies: Arc::new(policies),
        ..job
    }
}

/// What is due, as text: `job@time cause` or `job@time missed count`.
fn due(scheduler: &mut Scheduler, now: Timestamp) -> Vec<String> {
    let time = |at: Timestamp| at.format("%H:%M:%S%.f").to_string();
    scheduler
        .due(now)
        .into_iter()
        .map(|due| match due {
            Due::Fire(firing) => format!(
                "{}@{} {}",
                firing.job.id,
                time(firing.scheduled_at),
                firing.cause.as_str()
            ),
            Due::Skip {
                firing,
                reason: SkipReason::Missed(count),
                ..
            } => {
                let first = time(firing.scheduled_at);
                format!("{}@{first} missed {count:?}", firing.job.id)
            }
            Due::Skip {
                firing,
                reason: SkipReason::Misfired(count),
                ..
            } => {
                let first = time(firing.scheduled_at);
                format!("{}@{first} misfired {count:?}", firing.job.id)
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

/// How often it fires when looked at every second, from `from` for `length`.
fn fired(scheduler: &mut Scheduler, from: Timestamp, length: i64) -> Vec<String> {
    (0..=length)
        .flat_map(|second| due(scheduler, from + seconds(second)))
        .collect()
}

#[test]
fn a_job_fires_at_its_instants_and_not_between() {
    let mut scheduler = Scheduler::new();
    let added = scheduler.upsert(Arc::new(every("a", 5)), at("10:00:00"));
    assert_eq!(added, Change::Added);
    assert_eq!(scheduler.next_wake(), Some(at("10:00:05")));
    assert!(due(&mut scheduler, at("10:00:04")).is_empty());
    assert_eq!(due(&mut scheduler, at("10:00:05")), ["a@10:00:05 schedule"]);
    assert!(due(&mut scheduler, at("10:00:05")).is_empty());
    assert_eq!(scheduler.next_wake(), Some(at("10:00:10")));
}

#[test]
fn looking_late_does_not_make_it_drift() {
    let mut scheduler = Scheduler::new();
    scheduler.upsert(Arc::new(every("a", 5)), at("10:00:00"));
    for tick in 1..1_000 {
        let instant = at("10:00:00") + seconds(5 * tick);
        let late = instant + TimeDelta::milliseconds(37 * (tick % 25));
        let [Due::Fire(firing)] = &scheduler.due(late)[..] else {
            panic!("one firing at {late}");
        };
        assert_eq!(firing.scheduled_at, instant);
        assert_eq!(firing.cause, Cause::Schedule);
    }
}

#[test]
fn a_reload_keeps_the_tick_and_a_changed_trigger_counts_from_now() {
    let mut scheduler = Scheduler::new();
    let old = every("a", 60);
    scheduler.upsert(Arc::new(old.clone()), at("10:00:30"));

    let edited = Job {
        version: Some(2),
        ..old.clone()
    };
    let change = scheduler.upsert(Arc::new(edited), at("10:00:59"));
    assert_eq!(change, Change::Kept);
    // Long overdue, and reloaded before anybody looked: still the same instant.
    let change = scheduler.upsert(Arc::new(old), at("10:01:20"));
    assert_eq!(change, Change::Kept);
    let all = scheduler.due(at("10:01:20"));
    let [Due::Fire(firing)] = &all[..] else {
        panic!("{all:?}");
    };
    assert_eq!(firing.scheduled_at, at("10:01:00"));
    assert_eq!(firing.job.version, None);

    let change = scheduler.upsert(Arc::new(every("a", 7)), at("10:01:21"));
    assert_eq!(change, Change::Rescheduled);
    assert_eq!(
        scheduler.next_of(&"a".into()),
        every("a", 7).trigger.next_after(at("10:01:21"))
    );
    assert_eq!(scheduler.len(), 1);
}

#[test]
fn a_disabled_job_has_no_next_and_comes_back_from_now() {
    let mut scheduler = Scheduler::new();
    let on = every("a", 60);
    let off = Job {
        enabled: false,
        run_on_start: true,
        ..on.clone()
    };
    scheduler.upsert(Arc::new(off.clone()), at("10:00:00"));
    assert_eq!(scheduler.next_wake(), None);
    assert!(due(&mut scheduler, at("11:00:00")).is_empty());

    scheduler.upsert(Arc::new(on), at("11:00:30"));
    assert_eq!(due(&mut scheduler, at("11:01:00")), ["a@11:01:00 schedule"]);
    scheduler.upsert(Arc::new(off), at("11:01:30"));
    assert_eq!(scheduler.next_of(&"a".into()), None);
    assert_eq!(scheduler.next_wake(), None);
    assert!(due(&mut scheduler, at("12:00:00")).is_empty());
    assert!(scheduler.remove(&"a".into()).is_some());
    assert!(scheduler.remove(&"a".into()).is_none());
    assert!(scheduler.is_empty());
}

#[test]
fn run_on_start_fires_once_when_the_job_is_added() {
    let mut scheduler = Scheduler::new();
    let eager = |period| Job {
        run_on_start: true,
        ..every("a", period)
    };
    scheduler.upsert(Arc::new(eager(60)), at("10:00:30"));
    assert_eq!(scheduler.next_wake(), Some(at("10:00:30")));
    // An edit before it fired neither takes the start away nor doubles it.
    scheduler.upsert(Arc::new(eager(90)), at("10:00:31"));
    assert_eq!(due(&mut scheduler, at("10:00:31")), ["a@10:00:30 schedule"]);
    assert_eq!(due(&mut scheduler, at("10:01:30")), ["a@10:01:30 schedule"]);
    scheduler.upsert(Arc::new(eager(60)), at("10:01:40"));
    assert_eq!(due(&mut scheduler, at("10:02:00")), ["a@10:02:00 schedule"]);

    // One that has no instants of its own runs once, and one that is disabled never.
    let once = Job {
        run_on_start: true,
        ..with("once", Trigger::Manual)
    };
    scheduler.upsert(Arc::new(once.clone()), at("10:02:10"));
    assert_eq!(
        due(&mut scheduler, at("10:02:10")),
        ["once@10:02:10 schedule"]
    );
    assert_eq!(scheduler.next_of(&"once".into()), None);
    let off = Job {
        id: "off".into(),
        enabled: false,
        ..once
    };
    scheduler.upsert(Arc::new(off), at("10:02:10"));
    assert!(due(&mut scheduler, at("10:02:20")).is_empty());
}

#[test]
fn the_latest_of_the_missed_fires_and_the_rest_are_counted() {
    let mut scheduler = Scheduler::new();
    scheduler.upsert(Arc::new(every("a", 60)), at("10:00:30"));
    assert_eq!(
        due(&mut scheduler, at("10:05:00.5")),
        ["a@10:01:00 missed Some(4)", "a@10:05:00 schedule"]
    );
    assert_eq!(due(&mut scheduler, at("10:06:30")), ["a@10:06:00 catch-up"]);
    assert_eq!(
        due(&mut scheduler, at("10:08:30")),
        ["a@10:07:00 missed Some(1)", "a@10:08:00 catch-up"]
    );
    assert_eq!(scheduler.next_wake(), Some(at("10:09:00")));
}

#[test]
fn a_year_of_seconds_is_not_walked() {
    let mut scheduler = Scheduler::new();
    scheduler.upsert(Arc::new(patient(every("a", 1))), at("10:00:00"));
    scheduler.upsert(Arc::new(patient(every("b", 3600))), at("10:00:00"));
    let year = at("10:00:00") + TimeDelta::days(365);
    assert_eq!(
        due(&mut scheduler, year),
        [
            "a@10:00:01 missed None",
            "a@10:00:00 schedule",
            "b@11:00:00 missed None",
            "b@10:00:00 schedule"
        ]
    );
    assert_eq!(scheduler.next_of(&"a".into()), Some(year + seconds(1)));
    // A month of hours is within what is counted.
    assert_eq!(
        due(&mut scheduler, year + TimeDelta::days(30) + seconds(1)),
        [
            "a@10:00:01 missed None",
            "a@10:00:01 schedule",
            "b@11:00:00 missed Some(719)",
            "b@10:00:00 catch-up"
        ]
    );
}

#[test]
fn many_jobs_that_slept_together_share_one_budget() {
    let mut scheduler = Scheduler::new();
    let jobs = 500;
    for n in 0..jobs {
        let job = patient(every(&n.to_string(), 10));
        scheduler.upsert(Arc::new(job), at("00:00:00"));
    }
    let all = scheduler.due(at("02:00:00")); // 720 instants each: 360 000 in all
    let (mut counted, mut uncounted) = (0, 0);
    for due in &all {
        match due {
            Due::Skip { reason, .. } if *reason == SkipReason::Missed(Some(719)) => counted += 1,
            Due::Skip { reason, .. } if *reason == SkipReason::Missed(None) => uncounted += 1,
            Due::Skip { reason, .. } => panic!("{reason}"),
            Due::Fire(firing) => assert_eq!(firing.scheduled_at, at("02:00:00")),
        }
    }
    assert_eq!(all.len(), 2 * jobs);
    assert_eq!(counted, COUNTED_IN_ALL / 719);
    assert_eq!(counted + uncounted, jobs as u64);
}

#[test]
fn one_instant_fires_in_the_order_of_definition() {
    let mut scheduler = Scheduler::new();
    for id in ["d", "a", "x", "c", "b"] {
        scheduler.upsert(Arc::new(every(id, 60)), at("10:00:00"));
    }
    scheduler.remove(&"x".into());
    // Takes the place of `x` in memory, but comes last; an edit does not move a job.
    scheduler.upsert(Arc::new(every("e", 60)), at("10:00:01"));
    scheduler.upsert(Arc::new(every("a", 30)), at("10:00:02"));
    scheduler.upsert(Arc::new(every("a", 60)), at("10:00:03"));
    let order = ["d", "a", "c", "b", "e"];
    for minute in 1..4 {
        let instant = at("10:00:00") + seconds(60 * minute);
        let ids: Vec<String> = scheduler
            .due(instant)
            .into_iter()
            .map(|due| match due {
                Due::Fire(firing) => firing.job.id.to_string(),
                skip @ Due::Skip { .. } => panic!("{skip:?}"),
            })
            .collect();
        assert_eq!(ids, order);
    }
}

#[test]
fn views_see_the_jobs_in_the_order_of_their_next_instants() {
    let mut scheduler = Scheduler::new();
    let now = at("10:00:00");
    scheduler.upsert(Arc::new(with("never", Trigger::Manual)), now);
    scheduler.upsert(Arc::new(every("hour", 3600)), now);
    scheduler.upsert(Arc::new(every("second", 1)), now);
    scheduler.upsert(Arc::new(every("minute", 60)), now);
    scheduler.upsert(Arc::new(every("also a minute", 60)), now);
    let ids = |limit| {
        let upcoming = scheduler.upcoming(limit);
        let ids = upcoming.iter().map(|(job, _)| job.id.as_str().to_owned());
        ids.collect::<Vec<_>>()
    };
    let all = ["second", "minute", "also a minute", "hour", "never"];
    for limit in 0..=6 {
        assert_eq!(ids(limit), all[..limit.min(5)]);
    }
    assert_eq!(scheduler.upcoming(9)[4].1, None);
    assert_eq!(scheduler.iter().count(), 5);
    assert_eq!(scheduler.job(&"hour".into()).unwrap().id, "hour".into());
}

#[test]
fn a_small_step_back_is_waited_out() {
    let mut scheduler = Scheduler::new();
    scheduler.upsert(Arc::new(every("a", 5)), at("10:00:00"));
    assert_eq!(due(&mut scheduler, at("10:00:05")), ["a@10:00:05 schedule"]);
    assert!(due(&mut scheduler, at("10:00:04.2")).is_empty());
    assert!(due(&mut scheduler, at("10:00:05")).is_empty());
    // Nor does an edit in that second bring the instant back.
    scheduler.upsert(Arc::new(every("a", 1)), at("10:00:04.2"));
    assert!(due(&mut scheduler, at("10:00:05")).is_empty());
    assert_eq!(due(&mut scheduler, at("10:00:06")), ["a@10:00:06 schedule"]);
}

#[test]
fn a_clock_set_back_neither_repeats_a_run_nor_silences_a_job() {
    let mut scheduler = Scheduler::new();
    let start = at("01:00:00");
    for job in [
        every("often", 60),
        cron("nightly", "0 2 * * *"),
        cron("burst", "0-5 2 * * *"),
    ] {
        scheduler.upsert(Arc::new(job), start);
    }
    let before = fired(&mut scheduler, start, 90 * 60);
    assert_eq!(before.iter().filter(|f| f.starts_with("often")).count(), 90);
    assert_eq!(
        before.iter().filter(|f| f.starts_with("nightly")).count(),
        1
    );
    assert_eq!(before.iter().filter(|f| f.starts_with("burst")).count(), 6);

    // 02:30 becomes 01:30:20.
    let set = at("01:30:20");
    let second = fired(&mut scheduler, set, 90 * 60);
    assert_eq!(second[0], "often@01:31:00.000001 schedule");
    assert_eq!(second.len(), 90, "the night's jobs have run: {second:?}");
    // The hour that comes for the second time has names of its own, up to where it began.
    assert!(second.contains(&"often@02:30:00.000001 schedule".to_owned()));
    assert!(second.contains(&"often@02:31:00 schedule".to_owned()));

    // And a third time.
    let third = fired(&mut scheduler, at("02:20:10"), 60 * 60);
    assert_eq!(third[0], "often@02:21:00.000002 schedule");
    assert!(third.contains(&"often@02:31:00.000001 schedule".to_owned()));
    assert!(third.contains(&"often@03:01:00 schedule".to_owned()));

    let mut all: Vec<&String> = before.iter().chain(&second).chain(&third).collect();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "no instant fired twice");
    // The next night is a new one.
    let next = at("02:00:00") + TimeDelta::days(1);
    assert_eq!(scheduler.next_of(&"nightly".into()), Some(next));
}

#[test]
fn a_leap_that_is_corrected_leaves_no_trace() {
    let mut scheduler = Scheduler::new();
    scheduler.upsert(Arc::new(patient(every("often", 60))), at("10:00:00"));
    let daily = patient(cron("daily", "0 12 * * *"));
    scheduler.upsert(Arc::new(daily), at("10:00:00"));
    let eager = Job {
        run_on_start: true,
        ..every("eager", 3600)
    };
    assert_eq!(fired(&mut scheduler, at("10:00:01"), 119).len(), 2);
    // The clock leaps ten years ahead, and is put right a little later.
    let wrong = at("10:02:00") + TimeDelta::days(3650);
    assert_eq!(
        scheduler.due(wrong).len(),
        4,
        "one run for all that was missed"
    );
    scheduler.upsert(Arc::new(eager), wrong);
    let right = at("10:03:30");
    assert_eq!(
        due(&mut scheduler, right),
        ["eager@10:03:30 schedule"],
        "what was added at a time that never was starts all the same"
    );
    assert_eq!(
        due(&mut scheduler, at("10:04:00")),
        ["often@10:04:00 schedule"]
    );
    assert_eq!(scheduler.next_of(&"daily".into()), Some(at("12:00:00")));
    assert_eq!(scheduler.next_of(&"eager".into()), Some(at("11:00:00")));
}

#[test]
fn a_step_back_of_any_size_never_repeats_and_never_silences() {
    // Every ten seconds, set back again and again by all kinds of amounts.
    let mut scheduler = Scheduler::new();
    scheduler.upsert(Arc::new(every("a", 10)), at("12:00:00"));
    let mut now = at("12:00:00");
    let mut seen = std::collections::HashSet::new();
    for step in [0, 1, 3, 9, 10, 11, 25, 60, 601, 3599, 7200, 2, 86_400, 40] {
        now -= seconds(step);
        let mut silence = 0;
        for _ in 0..120 {
            now += seconds(1);
            silence += 1;
            for fired in due(&mut scheduler, now) {
                silence = 0;
                assert!(
                    seen.insert((now.date_naive(), fired.clone())),
                    "{fired} again"
                );
            }
            assert!(
                silence <= 30,
                "silent for {silence} s after a step of {step} s"
            );
        }
    }
}

#[test]
fn a_queue_of_edits_does_not_grow() {
    let mut scheduler = Scheduler::new();
    for round in 0..10_000_u64 {
        let period = 60 + round % 7;
        scheduler.upsert(Arc::new(every("a", period)), at("10:00:00"));
        scheduler.upsert(Arc::new(every("b", 3600)), at("10:00:00"));
        scheduler.remove(&"b".into());
    }
    assert!(scheduler.queue.len() < 100, "{}", scheduler.queue.len());
    assert!(scheduler.slots.len() <= 2);
    assert!(scheduler.next_wake().is_some());
}

#[test]
fn a_hundred_thousand_jobs_fit_and_fire() {
    let jobs = 100_000_u32;
    let now = at("10:00:00");
    let template = every("template", 60);
    let mut scheduler = Scheduler::new();
    for n in 0..jobs {
        let id = JobId::from(n.to_string().as_str());
        let job = Job {
            id,
            ..template.clone()
        };
        scheduler.upsert(Arc::new(job), now);
    }
    // What a job costs the schedule: its place, its entry in the queue (one, and room for one
    // that is stale) and its entry in the index, with the slack that growing leaves.
    let index = size_of::<(JobId, u32)>() + 1;
    let each = size_of::<Slot>() + 2 * size_of::<Reverse<Entry>>() + index;
    assert!(each <= 144, "{each} bytes");
    let slack = scheduler.slots.capacity() * size_of::<Slot>()
        + scheduler.queue.capacity() * size_of::<Reverse<Entry>>()
        + scheduler.index.capacity() * 8 / 7 * index;
    assert!(slack / (jobs as usize) <= 200, "{slack} bytes in all");

    assert_eq!(scheduler.next_wake(), Some(at("10:01:00")));
    assert_eq!(scheduler.due(at("10:01:00")).len(), jobs as usize);
    assert!(scheduler.due(at("10:01:59")).is_empty());
    assert_eq!(scheduler.upcoming(3).len(), 3);
    for n in 0..jobs {
        assert!(
            scheduler
                .remove(&JobId::from(n.to_string().as_str()))
                .is_some()
        );
    }
    assert_eq!(scheduler.next_wake(), None);
    assert!(scheduler.queue.len() <= 64);
}

/// A schedule as simple as can be: every instant of every job, one by one.
#[derive(Default)]
struct Model {
    jobs: BTreeMap<u32, (u64, bool, i64)>, // period, enabled, dealt with up to
}

impl Model {
    /// (job, scheduled, missed before it) of all that is due, by the first instant missed.
    fn due(&mut self, now: i64) -> Vec<(u32, i64, u64)> {
        let mut due = Vec::new();
        for (id, (period, enabled, done)) in &mut self.jobs {
            let period = i64::try_from(*period).unwrap();
            let mut instants = Vec::new();
            let mut instant = (*done / period + 1) * period;
            while *enabled && instant <= now {
                instants.push(instant);
                instant += period;
            }
            if let Some((last, missed)) = instants.split_last() {
                due.push((*id, *last, missed.len() as u64));
                *done = *last;
            }
        }
        due.sort_unstable();
        due
    }
}

/// Something that happens to a schedule.
#[derive(Debug, Clone)]
enum Step {
    Define(u32, u64, bool),
    Remove(u32),
    Look(i64),
}

fn step(jobs: u32) -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..jobs, 30_u64..20_000, prop::bool::weighted(0.9))
            .prop_map(|(job, period, enabled)| Step::Define(job, period, enabled)),
        1 => (0..jobs).prop_map(Step::Remove),
        3 => (1_i64..120).prop_map(Step::Look),
        1 => (1_i64..4_000).prop_map(Step::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// A day of a thousand jobs, edited, removed and looked at whenever, is what the model says.
    #[test]
    fn a_day_of_a_thousand_random_jobs(
        periods in prop::collection::vec(60_u64..40_000, 1_000),
        steps in prop::collection::vec(step(1_000), 150),
    ) {
        let midnight = at("00:00:00");
        let zero = midnight.timestamp();
        let mut scheduler = Scheduler::new();
        let mut model = Model::default();
        let mut now = 0;
        let opening = periods
            .iter()
            .enumerate()
            .map(|(id, period)| Step::Define(u32::try_from(id).unwrap(), *period, true));
        let rest = std::iter::repeat_n(Step::Look(900), 96);
        for step in opening.chain(steps).chain(rest) {
            match step {
                Step::Define(id, period, enabled) => {
                    let job = Job { enabled, ..patient(every(&id.to_string(), period)) };
                    scheduler.upsert(Arc::new(job), midnight + seconds(now));
                    let same = model
                        .jobs
                        .get(&id)
                        .is_some_and(|old| (old.0, old.1) == (period, enabled));
                    if !same {
                        model.jobs.insert(id, (period, enabled, zero + now));
                    }
                }
                Step::Remove(id) => {
                    let removed = scheduler.remove(&JobId::from(id.to_string().as_str()));
                    prop_assert_eq!(removed.is_some(), model.jobs.remove(&id).is_some());
                }
                Step::Look(_) if now >= 86_400 => break,
                Step::Look(by) => {
                    now += by;
                    let mut due: Vec<(u32, i64, u64)> = Vec::new();
                    let mut missed = 0;
                    for one in scheduler.due(midnight + seconds(now)) {
                        match one {
                            Due::Skip { reason: SkipReason::Missed(Some(count)), .. } => {
                                missed = count;
                            }
                            Due::Fire(firing) => {
                                let id = firing.job.id.as_str().parse().unwrap();
                                due.push((id, firing.scheduled_at.timestamp(), missed));
                                missed = 0;
                            }
                            other => panic!("{other:?}"),
                        }
                    }
                    due.sort_unstable();
                    prop_assert_eq!(due, model.due(zero + now));
                }
            }
        }
        prop_assert!(scheduler.next_wake().is_none_or(|next| next > midnight + seconds(now)));
    }
}
