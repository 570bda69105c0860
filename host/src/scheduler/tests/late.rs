//! What becomes of instants that fell due while nobody looked, and of schedules that outlive
//! their host.

use super::*;
use crate::job::Coalesce;

fn with_policies(job: Job, grace: Option<u64>, coalesce: Coalesce) -> Job {
    let policies = Policies {
        misfire_grace_time: grace.map(Duration::from_secs),
        coalesce,
        ..Policies::default()
    };
    Job {
        policies: Arc::new(policies),
        ..job
    }
}

/// What is due to a job that fires every minute, added at 10:00:00, at 10:05:30.
fn five_minutes(grace: Option<u64>, coalesce: Coalesce) -> Vec<String> {
    let mut scheduler = Scheduler::new();
    let job = with_policies(every("a", 60), grace, coalesce);
    scheduler.upsert(Arc::new(job), at("10:00:00"));
    let told = due(&mut scheduler, at("10:05:30"));
    assert_eq!(scheduler.next_of(&"a".into()), Some(at("10:06:00")));
    assert!(due(&mut scheduler, at("10:05:30")).is_empty());
    told
}

#[test]
fn each_way_to_coalesce() {
    assert_eq!(
        five_minutes(None, Coalesce::Latest),
        ["a@10:01:00 missed Some(4)", "a@10:05:00 catch-up"]
    );
    assert_eq!(
        five_minutes(None, Coalesce::Earliest),
        ["a@10:01:00 catch-up", "a@10:02:00 missed Some(4)"]
    );
    assert_eq!(
        five_minutes(None, Coalesce::All(3)),
        [
            "a@10:01:00 missed Some(2)",
            "a@10:03:00 catch-up",
            "a@10:04:00 catch-up",
            "a@10:05:00 catch-up"
        ]
    );
    assert_eq!(five_minutes(None, Coalesce::All(5)).len(), 5);
    assert_eq!(
        five_minutes(None, Coalesce::All(1)),
        five_minutes(None, Coalesce::Latest)
    );
}

#[test]
fn what_is_later_than_the_grace_time_does_not_run() {
    // 10:03:00 is exactly as late as may be.
    assert_eq!(
        five_minutes(Some(150), Coalesce::Latest),
        [
            "a@10:01:00 misfired Some(2)",
            "a@10:03:00 missed Some(2)",
            "a@10:05:00 catch-up"
        ]
    );
    assert_eq!(
        five_minutes(Some(149), Coalesce::Earliest),
        [
            "a@10:01:00 misfired Some(3)",
            "a@10:04:00 catch-up",
            "a@10:05:00 missed Some(1)"
        ]
    );
    assert_eq!(
        five_minutes(Some(29), Coalesce::All(9)),
        ["a@10:01:00 misfired Some(5)"]
    );
}

#[test]
fn a_grace_time_below_a_second_keeps_no_punctual_run() {
    let mut scheduler = Scheduler::new();
    let policies = Policies {
        misfire_grace_time: Some(Duration::from_millis(1)),
        ..Policies::default()
    };
    let job = Job {
        policies: Arc::new(policies),
        ..every("a", 60)
    };
    scheduler.upsert(Arc::new(job), at("10:00:00"));
    assert_eq!(
        due(&mut scheduler, at("10:01:00.9")),
        ["a@10:01:00 schedule"]
    );
    assert_eq!(due(&mut scheduler, at("10:02:01")), ["a@10:02:00 catch-up"]);
    assert_eq!(
        due(&mut scheduler, at("10:03:01.5")),
        ["a@10:03:00 misfired Some(1)"]
    );
}

#[test]
fn a_night_is_told_with_its_ends() {
    let mut scheduler = Scheduler::new();
    let nightly = cron("nightly", "0 2 * * *");
    scheduler.upsert(Arc::new(nightly), at("00:30:00"));
    scheduler.upsert(Arc::new(every("often", 1)), at("00:30:00"));
    let all = scheduler.due(at("08:00:00"));
    let [
        Due::Skip {
            firing: often,
            through: often_through,
            reason: SkipReason::Misfired(None),
        },
        Due::Skip {
            firing: missed,
            through: missed_through,
            reason: SkipReason::Missed(None),
        },
        Due::Fire(fired),
        Due::Skip {
            firing: nightly,
            through: nightly_through,
            reason: SkipReason::Misfired(Some(1)),
        },
    ] = &all[..]
    else {
        panic!("{all:?}");
    };
    assert_eq!(often.scheduled_at, at("00:30:01"));
    assert_eq!(*often_through, at("06:59:59"));
    assert_eq!(missed.scheduled_at, at("07:00:00"));
    assert_eq!(*missed_through, at("07:59:59"));
    assert_eq!(fired.scheduled_at, at("08:00:00"));
    assert_eq!(nightly.scheduled_at, at("02:00:00"));
    assert_eq!(*nightly_through, at("02:00:00"));
}

fn before(since: Timestamp, dealt_with: Option<Timestamp>) -> Before {
    Before {
        since,
        dealt_with,
        days_off: None,
        enabled: true,
    }
}

/// Time while a job is not enabled is never missed, whenever it was disabled and enabled.
#[test]
fn what_passed_while_a_job_was_not_enabled_is_not_late() {
    let job = |enabled| {
        Arc::new(Job {
            enabled,
            ..every("a", 60)
        })
    };
    let was = |enabled| Before {
        enabled,
        ..before(at("08:00:00"), Some(at("09:50:00")))
    };
    // Enabled while the host was down: nobody knows when.
    let mut scheduler = Scheduler::new();
    scheduler.resume(job(true), was(false), at("10:00:30"));
    assert!(due(&mut scheduler, at("10:00:30")).is_empty());
    assert_eq!(due(&mut scheduler, at("10:01:00")), ["a@10:01:00 schedule"]);
    // Disabled while it was down, and enabled when it is up.
    let mut scheduler = Scheduler::new();
    scheduler.resume(job(false), was(true), at("10:00:30"));
    assert!(due(&mut scheduler, at("10:00:30")).is_empty());
    // What the store is told of it is not of the time before.
    assert_eq!(
        scheduler.progress_of(&"a".into()).unwrap().1,
        at("10:00:30")
    );
    assert!(due(&mut scheduler, at("10:05:10")).is_empty());
    scheduler.upsert(job(true), at("10:05:10"));
    assert!(due(&mut scheduler, at("10:05:10")).is_empty());
    assert_eq!(due(&mut scheduler, at("10:06:00")), ["a@10:06:00 schedule"]);
    // Disabled and enabled while it is up.
    scheduler.upsert(job(false), at("10:06:30"));
    scheduler.upsert(job(true), at("10:09:30"));
    assert!(due(&mut scheduler, at("10:09:30")).is_empty());
    assert_eq!(due(&mut scheduler, at("10:10:00")), ["a@10:10:00 schedule"]);
}

#[test]
fn a_schedule_goes_on_where_it_had_come_to() {
    let mut scheduler = Scheduler::new();
    let job = Arc::new(every("a", 60));
    let (since, dealt_with) = (at("08:00:00"), at("09:55:00"));
    let change = scheduler.resume(job.clone(), before(since, Some(dealt_with)), at("10:00:30"));
    assert_eq!(change, Change::Added);
    assert_eq!(
        due(&mut scheduler, at("10:00:30")),
        ["a@09:56:00 missed Some(4)", "a@10:00:00 catch-up"]
    );
    assert_eq!(due(&mut scheduler, at("10:01:00")), ["a@10:01:00 schedule"]);

    // One of which nothing was recorded counts from when it came into service.
    let mut scheduler = Scheduler::new();
    scheduler.resume(job.clone(), before(at("09:58:10"), None), at("10:00:30"));
    assert_eq!(
        due(&mut scheduler, at("10:00:30")),
        ["a@09:59:00 missed Some(1)", "a@10:00:00 catch-up"]
    );
    // There already: a definition like any other.
    assert_eq!(
        scheduler.resume(job, before(since, None), at("10:00:30")),
        Change::Kept
    );

    let mut scheduler = Scheduler::new();
    let off = Job {
        enabled: false,
        ..every("off", 60)
    };
    scheduler.resume(
        Arc::new(off),
        before(since, Some(dealt_with)),
        at("10:00:30"),
    );
    assert!(due(&mut scheduler, at("10:00:30")).is_empty());
}

#[test]
fn counted_runs_go_on_from_when_the_job_came_into_service() {
    let bounds = crate::trigger::Bounds {
        max_runs: Some(3),
        ..Default::default()
    };
    let trigger = Trigger::parse("@every 60s", Zone::UTC).unwrap();
    let job = Arc::new(with("a", trigger.within(bounds, "a").unwrap()));
    let mut scheduler = Scheduler::new();
    let dealt_with = Some(at("09:52:00"));
    scheduler.resume(job, before(at("09:50:30"), dealt_with), at("10:00:30"));
    // 09:51 and 09:52 were the first two.
    assert_eq!(due(&mut scheduler, at("10:00:30")), ["a@09:53:00 catch-up"]);
    assert_eq!(scheduler.next_of(&"a".into()), None);
}

#[test]
fn a_start_comes_before_what_was_missed() {
    let mut scheduler = Scheduler::new();
    let job = Job {
        run_on_start: true,
        ..every("a", 60)
    };
    let dealt_with = Some(at("09:58:00"));
    scheduler.resume(
        Arc::new(job),
        before(at("09:00:00"), dealt_with),
        at("10:00:30"),
    );
    let mut told = due(&mut scheduler, at("10:00:30"));
    told.sort();
    assert_eq!(
        told,
        [
            "a@09:59:00 missed Some(1)",
            "a@10:00:00 catch-up",
            "a@10:00:30 schedule"
        ]
    );
}

#[test]
fn a_clock_set_back_while_the_host_was_down_repeats_and_silences_nothing() {
    let mut scheduler = Scheduler::new();
    let since = at("08:00:00");
    let dealt_with = Some(at("12:00:00"));
    for job in [every("often", 60), cron("noon", "0 12 * * *")] {
        scheduler.resume(Arc::new(job), before(since, dealt_with), at("11:00:20"));
    }
    assert!(due(&mut scheduler, at("11:00:20")).is_empty());
    let told = fired(&mut scheduler, at("11:00:20"), 90 * 60);
    assert_eq!(told[0], "often@11:01:00.000001 schedule");
    assert!(told.contains(&"often@12:00:00.000001 schedule".to_owned()));
    assert!(told.contains(&"often@12:01:00 schedule".to_owned()));
    assert_eq!(told.len(), 90, "noon has been: {told:?}");
}

#[test]
fn what_is_too_much_for_one_call_comes_with_the_next() {
    let mut scheduler = Scheduler::new();
    let (jobs, each) = (1_100, 1_000);
    for n in 0..jobs {
        let job = with_policies(every(&n.to_string(), 1), None, Coalesce::All(each));
        scheduler.upsert(Arc::new(job), at("10:00:00"));
    }
    let now = at("10:00:00") + seconds(i64::from(each));
    let first = scheduler.due(now);
    assert!(first.len() >= MOST_DUE && first.len() < MOST_DUE + 2_000);
    assert!(scheduler.next_wake().is_some_and(|wake| wake <= now));
    let fires = |due: &[Due]| due.iter().filter(|it| matches!(it, Due::Fire(_))).count();
    let rest = scheduler.due(now);
    assert_eq!(fires(&first) + fires(&rest), jobs * each as usize);
    assert!(scheduler.due(now).is_empty());
}

/// One thing that is due, in seconds: a firing, or a skip's first, last and count.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Fire(i64, Cause),
    Missed(i64, i64, u64),
    Misfired(i64, i64, u64),
}

/// The rules, one by one, over a list of all instants that are due.
fn reference(instants: &[i64], now: i64, grace: Option<i64>, coalesce: Coalesce) -> Vec<Told> {
    let is_late = |instant: &i64| now - instant >= 1;
    let is_misfire = |instant: &i64| is_late(instant) && grace.is_some_and(|it| now - instant > it);
    let (too_late, rest): (Vec<i64>, Vec<i64>) = instants.iter().partition(|it| is_misfire(it));
    let ends = |list: &[i64]| (list[0], list[list.len() - 1], list.len() as u64);
    let mut told = Vec::new();
    if !too_late.is_empty() {
        let (first, last, count) = ends(&too_late);
        told.push(Told::Misfired(first, last, count));
    }
    let fire = |instant: &i64| {
        let cause = if is_late(instant) {
            Cause::CatchUp
        } else {
            Cause::Schedule
        };
        Told::Fire(*instant, cause)
    };
    let missed = |list: &[i64]| {
        let (first, last, count) = ends(list);
        Told::Missed(first, last, count)
    };
    let keep = match coalesce {
        Coalesce::All(most) => most as usize,
        Coalesce::Latest => 1,
        Coalesce::Earliest => {
            told.extend(rest.first().map(fire));
            if rest.len() > 1 {
                told.push(missed(&rest[1..]));
            }
            return told;
        }
    };
    let (others, kept) = rest.split_at(rest.len().saturating_sub(keep));
    if !others.is_empty() {
        told.push(missed(others));
    }
    told.extend(kept.iter().map(fire));
    told
}

fn coalesce() -> impl Strategy<Value = Coalesce> {
    prop_oneof![
        Just(Coalesce::Latest),
        Just(Coalesce::Earliest),
        (1..40_u32).prop_map(Coalesce::All),
    ]
}

proptest! {
    /// However often and whenever one looks, or dies and comes back, what is told is what the
    /// rules say, and every instant is told of exactly once.
    #[test]
    fn what_is_late_is_sorted_as_the_rules_say(
        period in 1..400_i64,
        grace in prop::option::of(0..4_000_u64),
        coalesce in coalesce(),
        looks in prop::collection::vec((1..6_000_i64, prop::bool::weighted(0.2)), 1..12),
    ) {
        let start = at("00:00:00");
        let zero = start.timestamp();
        let job = with_policies(every("a", period.unsigned_abs()), grace, coalesce);
        let job = Arc::new(job);
        let mut scheduler = Scheduler::new();
        scheduler.upsert(job.clone(), start);
        let (mut now, mut dealt_with) = (zero, zero);
        for (by, dies) in looks {
            now += by;
            let instants: Vec<i64> = (dealt_with / period + 1..=now / period)
                .map(|n| n * period)
                .collect();
            prop_assume!(instants.len() < 1_000, "more are not counted");
            let time = start + seconds(now - zero);
            if dies {
                scheduler = Scheduler::new();
                let dealt_with = start + seconds(dealt_with - zero);
                scheduler.resume(job.clone(), before(start, Some(dealt_with)), time);
            }
            let told: Vec<Told> = scheduler
                .due(time)
                .into_iter()
                .map(|due| match due {
                    Due::Fire(it) => Told::Fire(it.scheduled_at.timestamp(), it.cause),
                    Due::Skip { firing, through, reason } => {
                        let (first, last) = (firing.scheduled_at.timestamp(), through.timestamp());
                        match reason {
                            SkipReason::Missed(Some(count)) => Told::Missed(first, last, count),
                            SkipReason::Misfired(Some(count)) => Told::Misfired(first, last, count),
                            other => panic!("{other:?}"),
                        }
                    }
                })
                .collect();
            let grace = grace.map(|grace| i64::try_from(grace).unwrap());
            prop_assert_eq!(told, reference(&instants, now, grace, coalesce));
            dealt_with = instants.last().copied().unwrap_or(dealt_with);
        }
    }

    /// Where there are too many to count, all is the same but the counts.
    #[test]
    fn what_is_not_counted_is_sorted_all_the_same(
        period in 1..20_i64,
        grace in prop::option::of(0..100_000_u64),
        coalesce in coalesce(),
        length in 25_000..90_000_i64,
    ) {
        let start = at("00:00:00");
        let zero = start.timestamp();
        let mut scheduler = Scheduler::new();
        let job = with_policies(every("a", period.unsigned_abs()), grace, coalesce);
        scheduler.upsert(Arc::new(job), start);
        let now = zero + length;
        let instants: Vec<i64> = (zero / period + 1..=now / period).map(|n| n * period).collect();
        let grace = grace.map(|grace| i64::try_from(grace).unwrap());
        let expected = reference(&instants, now, grace, coalesce);
        let due = scheduler.due(start + seconds(length));
        prop_assert_eq!(due.len(), expected.len());
        for (due, expected) in due.into_iter().zip(expected) {
            match (due, expected) {
                (Due::Fire(it), Told::Fire(instant, cause)) => {
                    prop_assert_eq!((it.scheduled_at.timestamp(), it.cause), (instant, cause));
                }
                (
                    Due::Skip { firing, through, reason },
                    Told::Missed(first, last, count) | Told::Misfired(first, last, count),
                ) => {
                    prop_assert_eq!(firing.scheduled_at.timestamp(), first);
                    prop_assert_eq!(through.timestamp(), last);
                    let (SkipReason::Missed(told) | SkipReason::Misfired(told)) = reason else {
                        panic!("{reason:?}");
                    };
                    prop_assert!(told.is_none_or(|told| told == count), "{told:?}, {count}");
                    prop_assert!(told.is_some() || count >= 900, "few enough to count: {count}");
                }
                (due, expected) => panic!("{due:?}, not {expected:?}"),
            }
        }
        prop_assert!(scheduler.due(start + seconds(length)).is_empty());
    }
}
