//! What is handed out before it is due.

use super::*;

/// What will be due, as text: `job@time`.
fn ahead(scheduler: &mut Scheduler, now: Timestamp, horizon: Timestamp) -> Vec<String> {
    scheduler
        .ahead(now, horizon)
        .into_iter()
        .map(|ahead| {
            assert_eq!(ahead.firing.cause, Cause::Schedule);
            assert!(ahead.firing.scheduled_at <= ahead.due_at && ahead.due_at <= horizon);
            let time = ahead.firing.scheduled_at.format("%H:%M:%S%.f");
            format!("{}@{time}", ahead.firing.job.id)
        })
        .collect()
}

#[test]
fn every_instant_up_to_the_horizon_comes_once() {
    let mut scheduler = Scheduler::new();
    let now = at("10:00:00");
    let fast = Trigger::every(Duration::from_millis(500)).unwrap();
    scheduler.upsert(Arc::new(every("b", 1)), now);
    scheduler.upsert(Arc::new(with("a", fast)), now);
    scheduler.upsert(Arc::new(every("later", 60)), now);
    let first = ahead(&mut scheduler, now, at("10:00:01"));
    assert_eq!(first, ["a@10:00:00.500", "b@10:00:01", "a@10:00:01"]);
    assert!(ahead(&mut scheduler, now, at("10:00:01")).is_empty());
    assert!(due(&mut scheduler, at("10:00:01")).is_empty());
    assert_eq!(scheduler.next_wake(), Some(at("10:00:01.5")));
    let second = ahead(&mut scheduler, at("10:00:01"), at("10:00:02"));
    assert_eq!(second, ["a@10:00:01.500", "b@10:00:02", "a@10:00:02"]);
    // What was not handed out in time is due like anything else.
    assert_eq!(
        due(&mut scheduler, at("10:00:03")),
        [
            "a@10:00:02.500 missed Some(1)",
            "a@10:00:03 schedule",
            "b@10:00:03 schedule"
        ]
    );
}

#[test]
fn what_is_due_already_is_not_ahead() {
    let mut scheduler = Scheduler::new();
    let eager = Job {
        run_on_start: true,
        ..every("a", 1)
    };
    scheduler.upsert(Arc::new(eager), at("10:00:00"));
    assert!(ahead(&mut scheduler, at("10:00:00"), at("10:00:05")).is_empty());
    assert_eq!(due(&mut scheduler, at("10:00:00")), ["a@10:00:00 schedule"]);
    assert_eq!(
        ahead(&mut scheduler, at("10:00:00"), at("10:00:02")),
        ["a@10:00:01", "a@10:00:02"]
    );
    assert!(scheduler.remove(&"a".into()).is_some());
    assert!(ahead(&mut scheduler, at("10:00:00"), at("10:00:09")).is_empty());
}

#[test]
fn a_call_is_bounded_and_the_next_one_goes_on() {
    let mut scheduler = Scheduler::new();
    let now = at("10:00:00");
    let fast = Trigger::every(Duration::from_millis(10)).unwrap();
    scheduler.upsert(Arc::new(with("a", fast)), now);
    let horizon = now + seconds(1_000);
    assert_eq!(scheduler.ahead(now, horizon).len(), MOST_AHEAD);
    let rest = scheduler.ahead(now, horizon);
    assert_eq!(rest.len(), 100_000 - MOST_AHEAD);
    assert_eq!(rest.last().unwrap().due_at, horizon);
}

#[test]
fn jitter_moves_what_is_ahead() {
    let bounds = crate::trigger::Bounds {
        jitter: Some(Duration::from_secs(300)),
        ..Default::default()
    };
    let trigger = Trigger::parse("*/10 * * * *", Zone::UTC).unwrap();
    let job = with("a", trigger.within(bounds, "a").unwrap());
    let due_at = job.trigger.due(at("10:10:00"));
    let mut scheduler = Scheduler::new();
    scheduler.upsert(Arc::new(job), at("10:06:00"));
    let short = due_at - TimeDelta::milliseconds(1);
    assert!(ahead(&mut scheduler, at("10:06:00"), short).is_empty());
    let handed = scheduler.ahead(at("10:06:00"), due_at);
    assert_eq!(handed.len(), 1);
    assert_eq!(handed[0].due_at, due_at);
    assert_eq!(handed[0].firing.scheduled_at, at("10:10:00"));
}

proptest! {
    /// Looking ahead in any steps hands out what looking at every moment does.
    #[test]
    fn ahead_and_due_together_are_every_instant_once(
        periods in prop::collection::vec(1_u64..50, 1..12),
        steps in prop::collection::vec((1_i64..8, 0_i64..12), 1..40),
    ) {
        let start = at("10:00:00");
        let mut scheduler = Scheduler::new();
        let mut expected = Scheduler::new();
        for (id, period) in periods.iter().enumerate() {
            let job = Arc::new(patient(every(&id.to_string(), *period)));
            scheduler.upsert(job.clone(), start);
            expected.upsert(job, start);
        }
        let mut now = start;
        let mut reach = start;
        let mut got = Vec::new();
        for (by, horizon) in steps {
            // Never past what was handed out: nothing is late.
            now = (now + seconds(by)).min(reach.max(now));
            prop_assert!(scheduler.due(now).is_empty());
            let horizon = now + seconds(horizon);
            for ahead in scheduler.ahead(now, horizon) {
                prop_assert!(ahead.due_at > now && ahead.due_at <= horizon);
                got.push((ahead.due_at, ahead.firing.job.id.to_string()));
            }
            reach = reach.max(horizon);
        }
        let mut all = Vec::new();
        let mut moment = start;
        while moment < reach {
            moment += seconds(1);
            for due in expected.due(moment) {
                all.push((moment, due.firing().job.id.to_string()));
            }
        }
        prop_assert_eq!(got, all);
    }
}
