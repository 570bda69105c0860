//! Bounds on the instants of triggers: examples, and properties of jitter.

use super::*;
use crate::trigger::{Days, Dst, Reading};
use proptest::prelude::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn within(text: &str, bounds: Bounds) -> Trigger {
    let trigger = Trigger::parse(text, Zone::UTC).unwrap();
    trigger.within(bounds, "job").unwrap()
}

fn all(trigger: &Trigger) -> Vec<String> {
    let first = trigger.next_after(at("2026-01-01T00:00:00Z"));
    std::iter::successors(first, |last| trigger.next_after(*last))
        .take(50)
        .map(|instant| instant.format("%d %H:%M").to_string())
        .collect()
}

#[test]
fn start_and_end_are_inside() {
    let trigger = within(
        "0 9 * * *",
        Bounds {
            start: Some(at("2026-02-03T09:00:00Z")),
            end: Some(at("2026-02-05T09:00:00Z")),
            ..Bounds::default()
        },
    );
    assert_eq!(all(&trigger), ["03 09:00", "04 09:00", "05 09:00"]);
    let before = at("2026-01-01T00:00:00Z");
    assert_eq!(
        trigger.latest_in(before, at("2027-01-01T00:00:00Z")),
        Some(at("2026-02-05T09:00:00Z"))
    );
    assert_eq!(trigger.latest_in(before, at("2026-02-03T08:59:59Z")), None);
}

#[test]
fn runs_are_counted_from_the_start_or_from_service() {
    let mut bounds = Bounds {
        start: Some(at("2026-02-03T00:00:00Z")),
        max_runs: Some(3),
        ..Bounds::default()
    };
    let trigger = within("0 9 * * *", bounds.clone());
    assert_eq!(all(&trigger), ["03 09:00", "04 09:00", "05 09:00"]);
    assert_eq!(trigger.counted_from(at("2026-02-04T00:00:00Z")), None);
    // Fewer than allowed.
    bounds.end = Some(at("2026-02-04T10:00:00Z"));
    assert_eq!(
        all(&within("0 9 * * *", bounds.clone())),
        ["03 09:00", "04 09:00"]
    );
    // Without a start, whoever counts says from when.
    bounds = Bounds {
        max_runs: Some(2),
        ..Bounds::default()
    };
    let open = within("0 9 * * *", bounds);
    assert_eq!(all(&open).len(), 50);
    let counted = open.counted_from(at("2026-02-03T09:00:00Z")).unwrap();
    assert_eq!(all(&counted), ["04 09:00", "05 09:00"]);
    let both = Trigger::any(vec![open, Trigger::parse("0 0 28 1 *", Zone::UTC).unwrap()]).unwrap();
    let counted = both.counted_from(at("2026-02-03T09:00:00Z")).unwrap();
    assert_eq!(all(&counted)[..3], ["28 00:00", "04 09:00", "05 09:00"]);
}

#[test]
fn excluded_days_come_before_the_counting() {
    let mut days = Days::parse_day("2026-02-04").unwrap();
    days.add(&Days::parse_day("sat-sun").unwrap());
    let mut bounds = Bounds {
        start: Some(at("2026-02-03T00:00:00Z")),
        max_runs: Some(4),
        not_on: Some(NotOn::new(days.clone(), vec!["free".into()], Instead::Skip)),
        ..Bounds::default()
    };
    let skip = within("0 9 * * *", bounds.clone());
    assert_eq!(all(&skip), ["03 09:00", "05 09:00", "06 09:00", "09 09:00"]);
    assert_eq!(
        skip.latest_in(at("2026-02-01T00:00:00Z"), at("2026-02-08T00:00:00Z")),
        Some(at("2026-02-06T09:00:00Z"))
    );
    assert!(
        skip.to_string().contains(", not on free, 4 times"),
        "{skip}"
    );
    bounds.not_on = Some(NotOn::new(
        days,
        vec!["free".into()],
        Instead::NextBusinessDay,
    ));
    // Wednesday goes to Thursday, where there is a run already.
    let moved = within("0 9 3,4,7 * *", bounds);
    assert_eq!(
        all(&moved),
        ["03 09:00", "05 09:00", "09 09:00", "03 09:00"]
    );
}

/// The instants of a job in a zone whose weekends and some days are off.
fn moved(text: &str, zone: &str, dst: Dst, days: &[&str], after: &str) -> Vec<String> {
    let zone = Zone::parse(zone).unwrap();
    let reading = Reading { dst, ..zone.into() };
    let mut off = Days::none();
    for day in days {
        off.add(&Days::parse_day(day).unwrap());
    }
    let bounds = Bounds {
        not_on: Some(NotOn::new(
            off,
            vec!["off".into()],
            Instead::NextBusinessDay,
        )),
        ..Bounds::default()
    };
    let trigger = Trigger::parse(text, reading).unwrap();
    let trigger = trigger.within(bounds, "job").unwrap();
    let first = trigger.next_after(at(after));
    std::iter::successors(first, |last| trigger.next_after(*last))
        .take(4)
        .map(|instant| zone.to_wall(instant).0.format("%a %d %H:%M").to_string())
        .collect()
}

#[test]
fn a_time_is_moved_as_it_is_written() {
    // The Sunday on which the clock skips 02:30: on Monday it is there again.
    let after = "2027-03-26T12:00:00Z";
    let off = ["sat-sun"];
    assert_eq!(
        moved("30 2 * * *", "Europe/Berlin", Dst::RunAfter, &off, after),
        [
            "Mon 29 02:30",
            "Tue 30 02:30",
            "Wed 31 02:30",
            "Thu 01 02:30"
        ]
    );
    assert_eq!(
        moved("30 2 * * sun", "Europe/Berlin", Dst::RunAfter, &off, after)[0],
        "Mon 29 02:30"
    );
    // Moved to a night that lacks the time: after the gap, or not at all.
    let after = "2027-04-28T00:00:00Z";
    let thursdays = |dst| moved("30 0 * * thu", "Africa/Cairo", dst, &["thu"], after);
    assert_eq!(
        thursdays(Dst::RunAfter)[..2],
        ["Fri 30 01:00", "Fri 07 00:30"]
    );
    assert_eq!(thursdays(Dst::Skip)[..2], ["Fri 07 00:30", "Fri 14 00:30"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let daily = || Trigger::parse("@daily", Zone::UTC).unwrap();
    let runs = |runs| Bounds {
        max_runs: Some(runs),
        ..Bounds::default()
    };
    assert!(daily().within(runs(0), "j").is_err());
    assert!(daily().within(runs(10_001), "j").is_err());
    assert!(Trigger::Manual.within(runs(1), "j").is_err());
    assert!(Trigger::Reboot.within(runs(1), "j").is_err());
    let backwards = Bounds {
        start: Some(at("2026-02-03T00:00:00Z")),
        end: Some(at("2026-02-02T00:00:00Z")),
        ..Bounds::default()
    };
    assert!(daily().within(backwards, "j").is_err());
    assert_eq!(daily().within(Bounds::default(), "j").unwrap(), daily());
}

#[test]
fn bounds_that_leave_nothing_are_told() {
    let bounds = Bounds {
        start: Some(at("2026-02-03T10:00:00Z")),
        end: Some(at("2026-02-04T08:00:00Z")),
        zone: Some(Zone::UTC),
        ..Bounds::default()
    };
    assert_eq!(
        within("0 9 * * *", bounds).never_fires().unwrap(),
        "it has no instant between 2026-02-03 10:00 and 2026-02-04 08:00"
    );
}

#[test]
fn it_says_what_it_is() {
    let bounds = Bounds {
        start: Some(at("2026-02-03T10:00:00Z")),
        end: None,
        max_runs: Some(5),
        not_on: None,
        jitter: Some(Duration::from_secs(90)),
        zone: None,
    };
    assert_eq!(
        within("@every 90m", bounds).to_string(),
        "every 1 h 30 min, from 2026-02-03 10:00Z, 5 times, jitter 1 min 30 s"
    );
}

proptest! {
    /// Jitter is the same whenever it is asked for, and keeps the order of the instants.
    #[test]
    fn jitter_is_stable_and_keeps_order(job in "[a-z]{1,8}", jitter in 1_u64..10_000_000, step in 1_i64..200, start in 0_i64..2_000_000_000) {
        let trigger = Trigger::parse(&format!("@every {step}s"), Zone::UTC).unwrap();
        let bounds = Bounds { jitter: Some(Duration::from_millis(jitter)), ..Bounds::default() };
        let jittered = trigger.clone().within(bounds.clone(), &job).unwrap();
        let first = trigger.next_after(DateTime::from_timestamp(start, 0).unwrap()).unwrap();
        let second = trigger.next_after(first).unwrap();
        let due = jittered.due(first);
        prop_assert!(first <= due && due < second);
        prop_assert!(due - first <= TimeDelta::milliseconds(jitter as i64));
        prop_assert!(due < jittered.due(second));
        prop_assert_eq!(due, trigger.clone().within(bounds, &job).unwrap().due(first));
        // The instants themselves do not move.
        prop_assert_eq!(jittered.next_after(first), Some(second));
    }
}

#[test]
fn jitter_spreads() {
    let bounds = Bounds {
        jitter: Some(Duration::from_secs(600)),
        ..Bounds::default()
    };
    let noon = at("2026-02-03T12:00:00Z");
    let delays: std::collections::HashSet<i64> = (0..100)
        .map(|n| {
            let daily = Trigger::parse("0 12 * * *", Zone::UTC).unwrap();
            let job = format!("job-{n}");
            (daily.within(bounds.clone(), &job).unwrap().due(noon) - noon).num_minutes()
        })
        .collect();
    assert!(delays.len() > 8, "{delays:?}");
}
