//! Triggers that delay, count, or wait for other jobs.

use super::*;

fn bounded(id: &str, text: &str, bounds: crate::trigger::Bounds) -> Job {
    let trigger = Trigger::parse(text, Zone::UTC).unwrap();
    with(id, trigger.within(bounds, id).unwrap())
}

fn jittered(seconds: u64) -> crate::trigger::Bounds {
    crate::trigger::Bounds {
        jitter: Some(Duration::from_secs(seconds)),
        ..Default::default()
    }
}

#[test]
fn jitter_delays_a_run_and_not_its_name() {
    let job = Arc::new(bounded("a", "*/10 * * * *", jittered(300)));
    let mut scheduler = Scheduler::new();
    scheduler.upsert(job.clone(), at("10:06:00"));
    let scheduled = at("10:10:00");
    let due_at = job.trigger.due(scheduled);
    assert!(due_at > scheduled, "the id is one that is delayed");
    assert_eq!(scheduler.next_wake(), Some(due_at));
    assert_eq!(scheduler.next_of(&job.id), Some(due_at));
    assert!(due(&mut scheduler, due_at - TimeDelta::milliseconds(1)).is_empty());
    assert_eq!(due(&mut scheduler, due_at), ["a@10:10:00 schedule"]);
    assert_eq!(
        scheduler.next_of(&job.id),
        Some(job.trigger.due(at("10:20:00")))
    );
}

#[test]
fn a_reload_and_a_restart_keep_the_jitter() {
    let job = bounded("a", "*/10 * * * *", jittered(300));
    let due_at = job.trigger.due(at("10:10:00"));
    let between = at("10:10:00") + (due_at - at("10:10:00")) / 2;
    // A host that starts between the instant and its run still runs it, once.
    let mut restarted = Scheduler::new();
    restarted.upsert(Arc::new(job.clone()), between);
    assert_eq!(restarted.next_wake(), Some(due_at));
    assert_eq!(due(&mut restarted, due_at), ["a@10:10:00 schedule"]);
    // And one that starts after it does not.
    let mut late = Scheduler::new();
    late.upsert(Arc::new(job.clone()), due_at);
    assert_eq!(late.next_wake(), Some(job.trigger.due(at("10:20:00"))));
    // Another jitter for a job whose run of 10:10 is over does not run 10:10 again.
    let longer = (301..600)
        .map(|longest| bounded("a", "*/10 * * * *", jittered(longest)))
        .find(|job| job.trigger.due(at("10:10:00")) > due_at + seconds(1))
        .unwrap();
    restarted.upsert(Arc::new(longer.clone()), due_at + seconds(1));
    assert_eq!(
        restarted.next_wake(),
        Some(longer.trigger.due(at("10:20:00")))
    );
}

#[test]
fn late_instants_with_jitter_are_told_like_others() {
    let job = bounded("a", "*/10 * * * *", jittered(300));
    let due_at = job.trigger.due(at("10:50:00"));
    let mut scheduler = Scheduler::new();
    scheduler.upsert(Arc::new(job.clone()), at("10:06:00"));
    assert_eq!(
        due(&mut scheduler, due_at),
        ["a@10:10:00 missed Some(4)", "a@10:50:00 schedule"]
    );
    // The instant of the moment is not yet due: the one before it stands in.
    let mut scheduler = Scheduler::new();
    scheduler.upsert(Arc::new(job), at("10:06:00"));
    assert_eq!(
        due(&mut scheduler, due_at - TimeDelta::milliseconds(1)),
        ["a@10:10:00 missed Some(3)", "a@10:40:00 catch-up"]
    );
}

#[test]
fn runs_are_counted_from_when_a_job_comes_into_service() {
    let three = crate::trigger::Bounds {
        max_runs: Some(3),
        ..Default::default()
    };
    let job = bounded("a", "@every 10s", three.clone());
    let mut scheduler = Scheduler::new();
    scheduler.upsert(Arc::new(job.clone()), at("10:00:00"));
    assert_eq!(fired(&mut scheduler, at("10:00:00"), 25).len(), 2);
    // The same trigger in a new definition goes on counting.
    let edited = Job {
        version: Some(2),
        ..job.clone()
    };
    assert_eq!(
        scheduler.upsert(Arc::new(edited), at("10:00:25")),
        Change::Kept
    );
    assert_eq!(fired(&mut scheduler, at("10:00:25"), 100).len(), 1);
    assert_eq!(scheduler.next_of(&job.id), None);
    // Disabled and enabled again, it has had its runs; another trigger counts anew.
    let off = Job {
        enabled: false,
        ..job.clone()
    };
    scheduler.upsert(Arc::new(off), at("10:03:00"));
    scheduler.upsert(Arc::new(job), at("10:04:00"));
    assert_eq!(scheduler.next_of(&"a".into()), None);
    // Other days off are the same trigger as far as counting goes.
    let off_days = |day: &str| crate::trigger::Bounds {
        not_on: Some(crate::trigger::NotOn::new(
            crate::trigger::Days::parse_day(day).unwrap(),
            vec!["free".into()],
            crate::trigger::Instead::Skip,
        )),
        ..three.clone()
    };
    let free = bounded("free", "@every 10s", off_days("2026-12-25"));
    scheduler.upsert(Arc::new(free), at("10:04:30"));
    assert_eq!(fired(&mut scheduler, at("10:04:30"), 25).len(), 2);
    let edited = bounded("free", "@every 10s", off_days("2026-12-24"));
    assert_eq!(
        scheduler.upsert(Arc::new(edited), at("10:04:55")),
        Change::Rescheduled
    );
    assert_eq!(fired(&mut scheduler, at("10:04:55"), 60).len(), 1);
    let other = bounded("a", "@every 20s", three);
    scheduler.upsert(Arc::new(other), at("10:05:00"));
    assert_eq!(fired(&mut scheduler, at("10:05:00"), 200).len(), 3);
}

#[test]
fn a_job_may_run_at_the_start_of_the_host_only() {
    let mut scheduler = Scheduler::new();
    let job = Arc::new(with("a", Trigger::Reboot));
    scheduler.start(job.clone(), at("10:00:00"));
    assert_eq!(due(&mut scheduler, at("10:00:00")), ["a@10:00:00 schedule"]);
    assert_eq!(scheduler.next_wake(), None);
    // Not on a reload, nor when it is added later.
    scheduler.start(job.clone(), at("10:00:01"));
    assert_eq!(scheduler.next_wake(), None);
    scheduler.remove(&job.id);
    scheduler.upsert(job, at("10:00:02"));
    assert_eq!(scheduler.next_wake(), None);
    let any = Trigger::any(vec![
        Trigger::Reboot,
        Trigger::parse("0 * * * *", Zone::UTC).unwrap(),
    ]);
    scheduler.start(Arc::new(with("b", any.unwrap())), at("10:30:00"));
    assert_eq!(due(&mut scheduler, at("10:30:00")), ["b@10:30:00 schedule"]);
    assert_eq!(scheduler.next_of(&"b".into()), Some(at("11:00:00")));
}

fn after_job(id: &str, upstream: &str, on: crate::trigger::Ending) -> Arc<Job> {
    let after = crate::trigger::After {
        job: upstream.into(),
        on,
    };
    Arc::new(with(id, Trigger::After(after)))
}

/// What the end of a run of `a` makes due.
fn following(scheduler: &mut Scheduler, succeeded: bool, at: Timestamp) -> Vec<String> {
    scheduler
        .ended(&"a".into(), succeeded, at)
        .into_iter()
        .map(|due| match due {
            Due::Fire(firing) => format!(
                "{}@{} {}",
                firing.job.id,
                firing.scheduled_at.format("%H:%M:%S%.f"),
                firing.cause.as_str()
            ),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn the_end_of_a_run_is_an_instant_of_those_that_wait_for_it() {
    use crate::trigger::Ending;
    let mut scheduler = Scheduler::new();
    let now = at("10:00:00");
    for (id, on) in [
        ("z", Ending::Success),
        ("f", Ending::Failure),
        ("e", Ending::Always),
    ] {
        scheduler.upsert(after_job(id, "a", on), now);
    }
    scheduler.upsert(after_job("other", "b", Ending::Always), now);
    assert_eq!(scheduler.next_wake(), None);
    let mut waited: Vec<&str> = scheduler.waited_for().collect();
    waited.sort_unstable();
    assert_eq!(waited, ["a", "b"]);
    assert_eq!(
        following(&mut scheduler, true, at("10:00:01")),
        ["z@10:00:01 upstream", "e@10:00:01 upstream"]
    );
    // Each run has an instant of its own, though two end at once or the clock goes back.
    assert_eq!(
        following(&mut scheduler, false, at("10:00:01")),
        ["f@10:00:01 upstream", "e@10:00:01.000001 upstream"]
    );
    assert_eq!(
        following(&mut scheduler, true, at("09:00:00")),
        ["z@10:00:01.000001 upstream", "e@10:00:01.000002 upstream"]
    );
    // Who is gone, disabled, or waits for something else now is not told.
    scheduler.remove(&"e".into());
    let off = Job {
        enabled: false,
        ..(*after_job("z", "a", Ending::Success)).clone()
    };
    scheduler.upsert(Arc::new(off), now);
    assert!(following(&mut scheduler, true, at("11:00:00")).is_empty());
    scheduler.upsert(after_job("f", "b", Ending::Failure), now);
    assert!(following(&mut scheduler, false, at("11:00:00")).is_empty());
}
