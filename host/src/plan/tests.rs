use std::convert::Infallible;

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::job::Overlap;
use crate::trigger::Bounds;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn job(id: &str, trigger: Trigger) -> Job {
    Job {
        trigger,
        ..Job::by_hand(JobId::from(id), "a.wasm")
    }
}

fn cron(id: &str, text: &str) -> Job {
    job(id, Trigger::parse(text, Zone::UTC).unwrap())
}

fn after(upstream: &str, on: Ending) -> Trigger {
    Trigger::After(After {
        job: upstream.into(),
        on,
    })
}

fn minutes(usual: u64) -> Durations {
    Durations {
        usual: Some(Duration::from_secs(usual * 60)),
        of_jobs: HashMap::new(),
    }
}

fn outlook(jobs: Vec<Job>, from: &str, until: &str, durations: &Durations) -> Outlook {
    Outlook::new(
        jobs.into_iter().map(Arc::new),
        at(from),
        at(until),
        durations,
    )
}

/// A day of jobs.
fn day(jobs: Vec<Job>, durations: &Durations) -> Outlook {
    outlook(
        jobs,
        "2026-11-23T00:00:00Z",
        "2026-11-24T00:00:00Z",
        durations,
    )
}

fn plan(outlook: &Outlook) -> Plan {
    let plan = outlook.plan(Zone::UTC, |_| Ok::<(), Infallible>(()));
    plan.unwrap_or_else(|never| match never {})
}

/// `02:00 a`, with what is special about it.
fn lines(outlook: &Outlook) -> Vec<String> {
    let name = |place: usize| outlook.job(place).unwrap().id.to_string();
    outlook
        .firings()
        .map(|firing| {
            let mut line = format!("{} {}", firing.due_at.format("%H:%M"), name(firing.job));
            if let Some(upstream) = firing.after {
                line.push_str(&format!(" after {}", name(upstream)));
            }
            if firing.skipped {
                line.push_str(" skipped");
            }
            line
        })
        .collect()
}

#[test]
fn firings_come_in_order_and_are_counted() {
    let jobs = vec![
        cron("late", "0 6,18 * * *"),
        cron("early", "0 */6 * * *"),
        cron("leap", "0 0 30 2 *"),
        cron("weekly", "0 0 * * sun"),
    ];
    let outlook = day(jobs, &Durations::default());
    assert_eq!(
        lines(&outlook),
        [
            "00:00 early",
            "06:00 late",
            "06:00 early",
            "12:00 early",
            "18:00 late",
            "18:00 early"
        ]
    );
    let plan = plan(&outlook);
    assert_eq!((plan.firings, plan.skipped, plan.cut), (6, 0, false));
    assert_eq!(plan.overlaps, None);
    let busiest: Vec<_> = plan
        .busiest
        .iter()
        .map(|it| (it.start, it.firings))
        .collect();
    assert_eq!(
        busiest,
        [
            (at("2026-11-23T06:00:00Z"), 2),
            (at("2026-11-23T18:00:00Z"), 2),
            (at("2026-11-23T00:00:00Z"), 1),
            (at("2026-11-23T12:00:00Z"), 1),
        ]
    );
    assert_eq!(plan.hours.len(), 24);
    assert_eq!(plan.hours[6].firings, 2);
    let quiet = plan.quiet();
    assert_eq!(quiet.len(), 4);
    assert_eq!(quiet[0].from, at("2026-11-23T01:00:00Z"));
    assert_eq!(quiet[0].until, at("2026-11-23T06:00:00Z"));
    let early = &plan.jobs[1];
    assert_eq!(
        (early.firings, early.first),
        (4, Some(at("2026-11-23T00:00:00Z")))
    );
    assert_eq!(early.last, Some(at("2026-11-23T18:00:00Z")));
    assert_eq!(
        plan.jobs[2].never.as_deref(),
        Some("30 February does not exist")
    );
    assert_eq!(plan.jobs[3].next, Some(at("2026-11-29T00:00:00Z")));
}

#[test]
fn the_ends_are_inclusive_and_exclusive() {
    let outlook = outlook(
        vec![cron("a", "0 * * * *")],
        "2026-11-23T01:00:00Z",
        "2026-11-23T03:00:00Z",
        &Durations::default(),
    );
    assert_eq!(lines(&outlook), ["01:00 a", "02:00 a"]);
}

#[test]
fn runs_meet_others_and_themselves() {
    let jobs = vec![
        cron("backup", "0 2 * * *"),
        cron("report", "5 2 * * *"),
        cron("busy", "*/10 1 * * *"),
        cron("apart", "0 12 * * *"),
    ];
    let mut durations = minutes(10);
    durations
        .of_jobs
        .insert("busy".into(), Duration::from_secs(15 * 60));
    let plan = plan(&day(jobs, &durations));
    // 01:00 to 01:15, so not 01:10; 01:20, 01:40, and so on.
    let busy = plan.overlapping_themselves();
    assert_eq!((busy.len(), busy[0].firings, busy[0].skipped), (1, 6, 3));
    let overlaps = plan.overlaps.unwrap();
    assert_eq!(
        overlaps.pairs,
        [Pair {
            jobs: (0, 1),
            times: 1,
            first: at("2026-11-23T02:05:00Z"),
        }]
    );
    assert_eq!(overlaps.peak.map(|peak| peak.runs), Some(2));
}

#[test]
fn a_job_may_be_allowed_to_overlap_itself() {
    let mut twice = cron("a", "0,10,20 3 * * *");
    twice.max_instances = 2;
    let outlook = day(vec![twice], &minutes(25));
    assert_eq!(lines(&outlook), ["03:00 a", "03:10 a", "03:20 a skipped"]);
    let with = |overlap| {
        let mut job = cron("a", "0,10,20 3 * * *");
        job.policies = Arc::new(crate::job::Policies {
            overlap,
            ..crate::job::Policies::default()
        });
        lines(&day(vec![job], &minutes(25)))
    };
    assert_eq!(
        with(Overlap::Queue(1)),
        ["03:00 a", "03:10 a", "03:20 a skipped"]
    );
    for overlap in [Overlap::Queue(2), Overlap::Allow, Overlap::Replace] {
        assert_eq!(with(overlap), ["03:00 a", "03:10 a", "03:20 a"]);
    }
}

#[test]
fn what_comes_after_comes_at_the_end() {
    let jobs = vec![
        job("mail", after("report", Ending::Success)),
        job("clean", after("mail", Ending::Always)),
        job("alarm", after("report", Ending::Failure)),
        cron("report", "0 2,23 * * *"),
        job("orphan", after("nobody", Ending::Success)),
    ];
    let known = day(jobs.clone(), &minutes(30));
    // The run of 23:00 and that of 23:30 end at midnight or later: out of the plan.
    assert_eq!(
        lines(&known),
        [
            "02:00 report",
            "02:30 mail after report",
            "03:00 clean after mail",
            "23:00 report",
            "23:30 mail after report"
        ]
    );
    let plan_known = plan(&known);
    assert_eq!(plan_known.overlaps.unwrap().pairs, []);
    let unknowns = |plan: &Plan| -> Vec<(String, Unknown)> {
        let notes = plan.jobs.iter().flat_map(|plan| {
            plan.notes
                .iter()
                .map(|note| (plan.job.id.to_string(), note.clone()))
        });
        notes
            .map(|(id, note)| match note {
                Note::After { unknown, .. } => (id, unknown),
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let plan_known = plan(&known);
    assert_eq!(
        unknowns(&plan_known),
        [
            ("alarm".to_owned(), Unknown::Failure),
            ("orphan".to_owned(), Unknown::Absent)
        ]
    );
    let unknown = plan(&day(jobs, &Durations::default()));
    assert_eq!(unknown.firings, 2);
    assert_eq!(
        unknowns(&unknown)[..2],
        [
            ("mail".to_owned(), Unknown::Duration),
            ("clean".to_owned(), Unknown::Duration)
        ]
    );
}

#[test]
fn a_skipped_firing_has_nothing_after_it() {
    let jobs = vec![
        cron("slow", "0,10 2 * * *"),
        job("next", after("slow", Ending::Success)),
    ];
    let found = lines(&day(jobs, &minutes(20)));
    assert_eq!(
        found,
        ["02:00 slow", "02:10 slow skipped", "02:20 next after slow"]
    );
}

#[test]
fn several_ends_at_one_instant_are_one_firing() {
    let joined = Trigger::any(vec![
        after("a", Ending::Success),
        after("b", Ending::Success),
        Trigger::parse("10 2 * * *", Zone::UTC).unwrap(),
    ]);
    let jobs = vec![
        cron("a", "0 2 * * *"),
        cron("b", "0 2 * * *"),
        job("c", joined.unwrap()),
    ];
    let found = lines(&day(jobs, &minutes(10)));
    assert_eq!(found, ["02:00 a", "02:00 b", "02:10 c after a"]);
}

#[test]
fn a_circle_of_jobs_ends() {
    let start = |id: &str| {
        Trigger::any(vec![
            after(id, Ending::Success),
            Trigger::parse("0 2 * * *", Zone::UTC).unwrap(),
        ])
        .unwrap()
    };
    let jobs = vec![
        job("a", start("b")),
        job("b", start("a")),
        job("self", after("self", Ending::Always)),
    ];
    let outlook = day(jobs, &minutes(0));
    assert_eq!(lines(&outlook), ["02:00 a", "02:00 b"]);
    let plan = plan(&outlook);
    assert!(plan.jobs.iter().all(|job| matches!(
        job.notes[..],
        [Note::After {
            unknown: Unknown::Circle,
            ..
        }]
    )));
}

#[test]
fn what_is_not_in_the_plan_says_why() {
    let mut off = cron("off", "* * * * *");
    off.enabled = false;
    let mut warm = cron("warm", "0 12 * * *");
    warm.run_on_start = true;
    let jobs = vec![
        off,
        warm,
        job("boot", Trigger::Reboot),
        job("hand", Trigger::Manual),
    ];
    let plan = plan(&day(jobs, &Durations::default()));
    let notes: Vec<_> = plan
        .jobs
        .iter()
        .map(|job| (job.firings, job.notes.clone()))
        .collect();
    assert_eq!(
        notes,
        [
            (0, vec![Note::Disabled]),
            (1, vec![Note::AtStart]),
            (0, vec![Note::AtStart]),
            (0, vec![Note::OnDemand])
        ]
    );
}

#[test]
fn jitter_moves_what_is_due() {
    let bounds = Bounds {
        jitter: Some(Duration::from_secs(600)),
        ..Bounds::default()
    };
    let jobs: Vec<Job> = (0..50)
        .map(|n| {
            let id = format!("job-{n}");
            let trigger = Trigger::parse("0 12 * * *", Zone::UTC).unwrap();
            job(&id, trigger.within(bounds.clone(), &id).unwrap())
        })
        .collect();
    // A window that begins after the instants, and ends before the last of them is due.
    let outlook = outlook(
        jobs.clone(),
        "2026-11-23T12:03:00Z",
        "2026-11-23T12:07:00Z",
        &Durations::default(),
    );
    let noon = at("2026-11-23T12:00:00Z");
    let mut expected: Vec<Timestamp> = jobs.iter().map(|job| job.trigger.due(noon)).collect();
    expected.retain(|due| *due >= outlook.from() && *due < outlook.until());
    expected.sort();
    assert!(expected.len() > 5, "{expected:?}");
    let firings: Vec<Firing> = outlook.firings().collect();
    assert_eq!(
        firings.iter().map(|it| it.due_at).collect::<Vec<_>>(),
        expected
    );
    assert!(firings.iter().all(|it| it.scheduled_at == noon));
}

#[test]
fn runs_are_counted_from_the_beginning() {
    let bounds = Bounds {
        max_runs: Some(2),
        ..Bounds::default()
    };
    let trigger = Trigger::parse("0 * * * *", Zone::UTC).unwrap();
    let jobs = vec![job("a", trigger.within(bounds, "a").unwrap())];
    assert_eq!(
        lines(&day(jobs, &Durations::default())),
        ["00:00 a", "01:00 a"]
    );
}

#[test]
fn a_plan_of_too_much_ends_early() {
    let jobs = vec![cron("fast", "@every 1ms"), cron("slow", "@every 1h")];
    let outlook = day(jobs, &minutes(1));
    let result = tally::plan(&outlook, Zone::UTC, 10_000, |_| Ok::<(), Infallible>(()));
    let plan = result.unwrap_or_else(|never| match never {});
    assert!(plan.cut);
    assert_eq!(plan.firings, 10_000);
    // 9 999 of them and one of the other job.
    assert_eq!(plan.until, at("2026-11-23T00:00:09.999Z"));
    assert_eq!((plan.hours.len(), plan.hours[0].end), (1, plan.until));
    assert_eq!(plan.jobs[0].skipped, 9_998);
    let unknown = day(vec![cron("fast", "@every 1ms")], &Durations::default());
    let plan = tally::counted(&unknown, Zone::UTC, 10_000);
    assert_eq!((plan.cut, plan.until), (true, at("2026-11-23T00:00:10Z")));
}

#[test]
fn a_time_without_an_end_or_out_of_range_is_bounded() {
    let all = Outlook::new(
        [Arc::new(cron("a", "0 0 1 1 *"))],
        Timestamp::MIN_UTC,
        Timestamp::MAX_UTC,
        &Durations::default(),
    );
    assert_eq!(all.firings().count(), 131);
    let backwards = Outlook::new(
        [Arc::new(cron("a", "* * * * *"))],
        Timestamp::MAX_UTC,
        Timestamp::MIN_UTC,
        &Durations::default(),
    );
    assert_eq!(backwards.firings().count(), 0);
    assert_eq!(plan(&backwards).hours, []);
}

#[test]
fn the_caller_may_stop() {
    let outlook = day(vec![cron("a", "* * * * *")], &Durations::default());
    let mut seen = 0;
    let result = outlook.plan(Zone::UTC, |_| {
        seen += 1;
        if seen < 10 { Ok(()) } else { Err("enough") }
    });
    assert_eq!((result.map(|plan| plan.firings), seen), (Err("enough"), 10));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The stream against each job by itself; whatever the size of the batches.
    #[test]
    fn the_stream_is_all_jobs_in_order(
        steps in proptest::collection::vec((1_i64..5_000_000, prop::option::of(1_u64..10_000_000)), 1..6),
        most in 8_usize..200,
        start in 1_700_000_000_i64..1_800_000_000,
        length in 0_i64..40_000_000,
    ) {
        let from = DateTime::from_timestamp(start, 0).unwrap();
        let until = from + TimeDelta::milliseconds(length);
        let jobs: Vec<Arc<Job>> = steps
            .iter()
            .enumerate()
            .map(|(place, (step, jitter))| {
                let id = format!("job-{place}");
                let bounds = Bounds {
                    jitter: jitter.map(Duration::from_millis),
                    ..Bounds::default()
                };
                let trigger = Trigger::every(Duration::from_millis(step.unsigned_abs() + 50_000)).unwrap();
                Arc::new(job(&id, trigger.within(bounds, &id).unwrap()))
            })
            .collect();
        let mut expected = Vec::new();
        for (place, job) in jobs.iter().enumerate() {
            let early = from - TimeDelta::seconds(11_000);
            let mut next = job.trigger.next_after(early);
            while let Some(scheduled) = next.filter(|next| *next < until) {
                let due = job.trigger.due(scheduled);
                if due >= from && due < until {
                    expected.push((due, place, scheduled));
                }
                next = job.trigger.next_after(scheduled);
            }
        }
        expected.sort_unstable();
        let outlook = Outlook::new(jobs, from, until, &Durations::default());
        let key = |firing: Firing| (firing.due_at, firing.job, firing.scheduled_at);
        let found: Vec<_> = outlook.firings().map(key).collect();
        prop_assert_eq!(&found, &expected);
        let small: Vec<_> = Firings::with_batches_of(&outlook, most).map(key).collect();
        prop_assert_eq!(&small, &expected);
        let plan = plan(&outlook);
        let counted = outlook.counted(Zone::UTC);
        prop_assert_eq!(&counted.busiest, &plan.busiest);
        prop_assert_eq!(&counted.hours, &plan.hours);
        prop_assert_eq!(counted.firings, plan.firings);
        let facts = |plan: &Plan| -> Vec<_> {
            plan.jobs.iter().map(|job| (job.firings, job.first, job.last, job.next)).collect()
        };
        prop_assert_eq!(facts(&counted), facts(&plan));
        prop_assert_eq!(plan.firings, expected.len() as u64);
        prop_assert_eq!(plan.hours.iter().map(|hour| hour.firings).sum::<u64>(), plan.firings);
        for hour in &plan.hours {
            let inside = expected.iter().filter(|it| it.0 >= hour.start && it.0 < hour.end).count();
            prop_assert_eq!(hour.firings, inside as u64);
        }
        let mut per_minute: HashMap<i64, u64> = HashMap::new();
        for (due, ..) in &expected {
            *per_minute.entry(due.timestamp() / 60).or_default() += 1;
        }
        let mut counts: Vec<u64> = per_minute.values().copied().collect();
        counts.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
        counts.truncate(10);
        let busiest: Vec<u64> = plan.busiest.iter().map(|it| it.firings).collect();
        prop_assert_eq!(busiest, counts);
    }
}
