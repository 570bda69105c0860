//! The facts in `tests/cron`, to the last case.

use serde_json::Value;

use super::*;
use crate::trigger::Trigger;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn lines(file: &str) -> Vec<Value> {
    let path = format!("{}/../tests/cron/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn upcoming(trigger: &Trigger, after: DateTime<Utc>, count: usize) -> Vec<DateTime<Utc>> {
    std::iter::successors(trigger.next_after(after), |last| trigger.next_after(*last))
        .take(count)
        .collect()
}

#[test]
fn every_sample_holds() {
    let mut wrong = Vec::new();
    let cases = lines("sample.jsonl");
    assert!(cases.len() >= 396);
    for case in &cases {
        let expression = case["expr"].as_str().unwrap();
        let zone = Zone::parse(case["tz"].as_str().unwrap()).unwrap();
        let after = at(case["after"].as_str().unwrap());
        let expected: Vec<DateTime<Utc>> = case["expect"]
            .as_array()
            .unwrap()
            .iter()
            .map(|instant| at(instant.as_str().unwrap()))
            .collect();
        let count = case["count"].as_u64().unwrap() as usize;
        match Trigger::parse(expression, zone) {
            Ok(trigger) => {
                let found = upcoming(&trigger, after, count);
                if found != expected {
                    wrong.push(format!("{case}\n  found {found:?}"));
                }
                // And back: each is the latest up to itself, and up to just before the next.
                let mut last = after;
                for instant in &expected {
                    let before = *instant - chrono::TimeDelta::nanoseconds(1);
                    assert_eq!(trigger.latest_in(last, before), None, "{case}");
                    assert_eq!(trigger.latest_in(last, *instant), Some(*instant), "{case}");
                    assert_eq!(trigger.latest_in(after, *instant), Some(*instant), "{case}");
                    last = *instant;
                }
            }
            Err(_) if expected.is_empty() => {}
            Err(error) => wrong.push(format!("{case}\n  refused: {error}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_invalid_sample_is_refused_where_it_is_wrong() {
    let cases = lines("invalid_sample.jsonl");
    assert!(cases.len() >= 60);
    for case in &cases {
        let expression = case["expr"].as_str().unwrap();
        let Err(error) = Trigger::parse(expression, Zone::UTC) else {
            panic!("accepted: {expression}");
        };
        assert!(
            expression.get(error.span.clone()).is_some(),
            "{expression}: {error:?}"
        );
        assert!(
            !error.message.is_empty() && !error.label.is_empty(),
            "{expression}"
        );
    }
}

fn cron(expression: &str, zone: &str) -> Trigger {
    Trigger::parse(expression, Zone::parse(zone).unwrap()).unwrap()
}

fn assert_upcoming(expression: &str, zone: &str, after: &str, expected: &[&str]) {
    let expected: Vec<DateTime<Utc>> = expected.iter().map(|text| at(text)).collect();
    let found = upcoming(&cron(expression, zone), at(after), expected.len());
    assert_eq!(found, expected, "{expression} in {zone}");
}

#[test]
fn a_fixed_time_in_a_gap_runs_once_right_after_it() {
    // 02:00 to 03:00 on 2026-03-29 does not exist in Berlin.
    for expression in [
        "30 2 * * *",
        "0,15,30 2 * * *",
        "10 30 2 * * *",
        "*/20 30 2 * * *",
    ] {
        assert_upcoming(
            expression,
            "Europe/Berlin",
            "2026-03-28T12:00:00Z",
            &["2026-03-29T01:00:00Z"],
        );
    }
    // What is due right after the gap anyway runs no second time.
    assert_upcoming(
        "30 2,3 * * *",
        "Europe/Berlin",
        "2026-03-28T12:00:00Z",
        &[
            "2026-03-29T01:00:00Z",
            "2026-03-29T01:30:00Z",
            "2026-03-30T00:30:00Z",
        ],
    );
    assert_upcoming(
        "0 2,3 * * *",
        "Europe/Berlin",
        "2026-03-28T12:00:00Z",
        &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"],
    );
}

#[test]
fn a_fixed_time_in_a_fold_runs_the_first_time_only() {
    for (expression, first) in [
        ("30 2 * * *", "2026-10-25T00:30:00Z"),
        ("15 30 2 * * *", "2026-10-25T00:30:15Z"),
    ] {
        let next = cron(expression, "Europe/Berlin");
        let found = upcoming(&next, at("2026-10-24T12:00:00Z"), 2);
        assert_eq!(found[0], at(first));
        assert_eq!(found[1] - found[0], chrono::TimeDelta::hours(25));
    }
    // Asked in between, from inside the second pass, the answer is the same.
    assert_upcoming(
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-25T01:10:00Z",
        &["2026-10-26T01:30:00Z"],
    );
}

#[test]
fn a_wildcard_follows_real_time_through_both() {
    assert_upcoming(
        "*/30 * * * *",
        "Europe/Berlin",
        "2026-03-29T00:30:00Z",
        &["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
    );
    assert_upcoming(
        "*/30 2 * * *",
        "Europe/Berlin",
        "2026-03-28T12:00:00Z",
        &["2026-03-30T00:00:00Z"],
    );
    assert_upcoming(
        "*/30 2 * * *",
        "Europe/Berlin",
        "2026-10-24T12:00:00Z",
        &[
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-26T01:00:00Z",
        ],
    );
    // The second pass counts even where the expression has nothing left after the first.
    assert_upcoming(
        "0 */30 2 25 10 * 2026",
        "Europe/Berlin",
        "2026-10-25T00:30:00Z",
        &["2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"],
    );
}

#[test]
fn a_skipped_day_is_not_caught_up_with() {
    assert_upcoming(
        "0 12 * * *",
        "Pacific/Apia",
        "2011-12-29T23:00:00Z",
        &["2011-12-30T22:00:00Z"],
    );
    // Kwajalein skipped 1993-08-21 altogether.
    let trigger = cron("0 12 21 8 *", "Pacific/Kwajalein");
    assert_eq!(
        trigger.next_after(at("1993-01-01T00:00:00Z")),
        Some(at("1994-08-21T00:00:00Z"))
    );
    assert_eq!(
        trigger.latest_in(at("1993-01-01T00:00:00Z"), at("1994-01-01T00:00:00Z")),
        None
    );
}

#[test]
fn what_never_fires_says_why() {
    for (expression, zone, reason) in [
        ("0 0 30 2 *", "UTC", "30 February does not exist"),
        ("0 0 31 apr *", "UTC", "31 April does not exist"),
        ("0 0 31 2,4 *", "UTC", "no day from 1970 to 2100"),
        ("0 0 31W 4 *", "UTC", "no day from 1970 to 2100"),
        (
            "0 0 0 29 2 * 2023",
            "UTC",
            "29 February does not exist in the years",
        ),
        ("* 12 30 12 +Fri", "Pacific/Apia", ""),
        (
            "0 */5 2 29 3 * 2026",
            "Europe/Berlin",
            "the clock always skips",
        ),
    ] {
        let trigger = cron(expression, zone);
        match trigger.never_fires() {
            Some(found) => assert!(!reason.is_empty() && found.contains(reason), "{found}"),
            None => assert!(reason.is_empty(), "{expression}"),
        }
        let first = trigger.next_after(DateTime::UNIX_EPOCH);
        assert_eq!(first.is_none(), !reason.is_empty(), "{expression}");
    }
    assert_eq!(Trigger::Manual.never_fires(), None);
}

#[test]
fn the_range_ends_in_2100() {
    let trigger = cron("0 0 1 1 *", "Pacific/Kiritimati");
    assert_eq!(
        trigger.next_after(at("2098-12-31T10:00:00Z")),
        Some(at("2099-12-31T10:00:00Z"))
    );
    assert_eq!(trigger.next_after(at("2099-12-31T10:00:00Z")), None);
    assert_eq!(trigger.next_after(DateTime::<Utc>::MAX_UTC), None);
    assert_eq!(
        trigger.latest_in(DateTime::<Utc>::MIN_UTC, at("1969-01-01T00:00:00Z")),
        None
    );
    assert_eq!(
        trigger.latest_in(DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC),
        Some(at("2099-12-31T10:00:00Z"))
    );
    assert!(trigger.next_after(DateTime::<Utc>::MIN_UTC).is_some());
}

#[test]
fn equal_are_those_with_the_same_text_and_zone() {
    assert_eq!(cron(" 0  0 * *\t* ", "UTC"), cron("0 0 * * *", "UTC"));
    assert_ne!(cron("0 0 * * *", "Europe/Berlin"), cron("0 0 * * *", "UTC"));
    assert_ne!(cron("0 0 * * *", "UTC"), cron("0 1 * * *", "UTC"));
    assert_eq!(
        cron("CRON_TZ=Europe/Berlin 0 0 * * *", "UTC"),
        cron("0 0 * * *", "Europe/Berlin")
    );
    assert_eq!(cron(" 0  0 * *\t* ", "UTC").to_string(), "0 0 * * *");
    assert_eq!(cron("@Daily", "UTC").to_string(), "@Daily");
}

#[test]
fn a_trigger_is_small() {
    assert!(size_of::<Trigger>() <= 64);
    let Trigger::Cron(one) = cron("0 4 * * *", "UTC") else {
        panic!("not cron");
    };
    let Trigger::Cron(other) = cron("7 5 * * *", "Asia/Tokyo") else {
        panic!("not cron");
    };
    assert!(Arc::ptr_eq(&one.dates, &other.dates));
}

#[test]
fn a_trigger_may_opt_out_of_the_run_after_a_gap() {
    let zone = Zone::parse("Europe/Berlin").unwrap();
    let reading = crate::trigger::Reading {
        dst: crate::trigger::Dst::Skip,
        ..zone.into()
    };
    let after = at("2027-03-27T12:00:00Z");
    let skip = Trigger::parse("30 2,4 * * *", reading).unwrap();
    let run = Trigger::parse("30 2,4 * * *", zone).unwrap();
    let gap = at("2027-03-28T01:00:00Z");
    assert_eq!(upcoming(&run, after, 2), [gap, at("2027-03-28T02:30:00Z")]);
    assert_eq!(
        upcoming(&skip, after, 2),
        [at("2027-03-28T02:30:00Z"), at("2027-03-29T00:30:00Z")]
    );
    assert_eq!(skip.latest_in(after, at("2027-03-28T02:00:00Z")), None);
    assert_eq!(run.latest_in(after, at("2027-03-28T02:00:00Z")), Some(gap));
    // A repeated hour runs once either way, and the two are not the same trigger.
    assert_ne!(skip, run);
    // A wildcard job follows elapsed time, whatever it says.
    let wildcard = Trigger::parse("*/30 * * * *", reading).unwrap();
    assert_eq!(Trigger::parse("*/30 * * * *", zone).unwrap(), wildcard);
}
