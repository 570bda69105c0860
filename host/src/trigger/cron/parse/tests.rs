//! What a person reads who wrote an expression that is none.

use crate::trigger::{Trigger, TriggerError, Zone};

fn refused(text: &str) -> TriggerError {
    match Trigger::parse(text, Zone::UTC) {
        Ok(trigger) => panic!("accepted: {text} as {trigger}"),
        Err(error) => error,
    }
}

fn hint(text: &str) -> String {
    refused(text).hint.unwrap_or_default()
}

/// Asserts what is said, and that the marked part is what the caret should be under.
fn assert_refused(text: &str, marked: &str, message: &str) {
    let error = refused(text);
    assert_eq!(
        (text.get(error.span.clone()), error.message.as_str()),
        (Some(marked), message),
        "{text}"
    );
}

#[test]
fn the_wrong_part_is_marked_and_named() {
    assert_refused("61 * * * *", "61", "minute 61 is out of range");
    assert_refused("0 0,24 * * *", "24", "hour 24 is out of range");
    assert_refused("0 0 0 * *", "0", "day of the month 0 is out of range");
    assert_refused("0 0 * 13 *", "13", "month 13 is out of range");
    assert_refused("0 0 * * 1-8", "8", "day of the week 8 is out of range");
    assert_refused("60 * * * * *", "60", "second 60 is out of range");
    assert_refused("0 0 0 1 1 * 1969", "1969", "year 1969 is out of range");
    assert_refused(
        "99999999999 * * * *",
        "99999999999",
        "minute 99999999999 is out of range",
    );
    assert_refused("*/0 * * * *", "0", "a step of 0 goes nowhere");
    assert_refused("*/ * * * *", "*/", "the minute's step is missing after `/`");
    assert_refused("1/2/3 * * * *", "2/3", "`2/3` is not a step");
    assert_refused("1,,2 * * * *", ",", "a minute is missing");
    assert_refused(", * * * *", ",", "a minute is missing");
    assert_refused("5, * * * *", ",", "a minute is missing");
    assert_refused("-5 * * * *", "-5", "`-5` is not a minute");
    assert_refused("x * * * *", "x", "`x` is not a minute");
    assert_refused("0 0 * * fri#6", "#6", "`6` is not one of a month's weeks");
    assert_refused("0 0 32W * *", "32", "day of the month 32 is out of range");
    assert_refused(
        "0 0 L-31 * *",
        "31",
        "no month has a day 31 days before its last",
    );
    assert_refused(
        "0 0 * * mon-fri#1",
        "mon-fri#1",
        "`mon-fri#1` is not a day of the week",
    );
    assert_refused("0 0 * * +", "+", "a day of the week is missing after `+`");
    assert_refused(
        "0 0 * * L",
        "L",
        "`L` alone does not say which day of the week",
    );
    assert_refused("\t 0 é * * *", "é", "`é` is not an hour");
}

#[test]
fn the_number_of_fields_is_counted() {
    assert_refused("", "", "the cron expression is empty");
    assert_refused("  ", "", "the cron expression is empty");
    assert_refused("5", "5", "a cron expression has 5 fields, this has 1");
    assert_refused(
        " * * * * ",
        "* * * *",
        "a cron expression has 5 fields, this has 4",
    );
    assert_refused(
        "* * * * * * * a b",
        "a",
        "a cron expression has at most 7 fields, this has 9",
    );
}

#[test]
fn what_is_plainly_meant_is_spelled_out() {
    assert_eq!(hint("5/15 * * * *"), "write `5-59/15`");
    assert_eq!(hint("0 8/2 * * *"), "write `8-23/2`");
    assert_eq!(hint("0 0 * * mon/2"), "write `mon-6/2`");
    assert_eq!(hint("0 22-6 * * *"), "write `22-23,0-6`");
    assert_eq!(hint("0 23-6 * * *"), "write `23,0-6`");
    assert_eq!(hint("0 22-6/3 * * *"), "write `22,1-6/3`");
    assert_eq!(hint("50-10/20 * * * *"), "write `50,10`");
    assert_eq!(hint("0 0 * * fri-mon"), "write `fri-sat,sun-mon`");
    assert_eq!(hint("0 0 * * FRI-TUE"), "write `FRI-SAT,SUN-TUE`");
    assert_eq!(hint("0 0 * * 5-1"), "write `5-6,0-1`");
    assert_eq!(hint("0 0 * NOV-feb *"), "write `NOV-DEC,JAN-FEB`");
    assert_eq!(hint("0 0 25-5 * *"), "write `25-31,1-5`");
    assert_eq!(hint("/5 * * * *"), "write `*/5`");
    assert_eq!(hint("? * * * *"), "write `*`");
    assert_eq!(hint("0 0 * * Monday"), "did you mean `mon`?");
    assert_eq!(hint("0 0 * Sept *"), "did you mean `sep`?");
    assert_eq!(hint("0 0 * * mo"), "did you mean `mon`?");
    assert!(hint("0 0 * * ＭＯＮ").contains("`Ｍ` is not a plain letter"));
    assert!(hint("0 0 * * L").contains("`friL`"));
}

/// The minute, hour, day, month and weekday of the next instant.
fn spread(text: &str, job: &str) -> Vec<u32> {
    use chrono::{Datelike, Timelike};
    let reading = crate::trigger::Reading {
        job: Some(job),
        ..Zone::UTC.into()
    };
    let trigger = Trigger::parse(text, reading).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(trigger.to_string(), text);
    let next = trigger
        .next_after("2025-12-31T23:59:59Z".parse().unwrap())
        .unwrap();
    vec![
        next.minute(),
        next.hour(),
        next.day(),
        next.month(),
        next.weekday().num_days_from_sunday(),
    ]
}

#[test]
fn jobs_are_spread_by_their_ids() {
    let mut places = std::collections::HashSet::new();
    for n in 0..50 {
        let job = format!("job-{n}");
        let place = spread("H H * * *", &job);
        assert_eq!(place, spread("H H * * *", &job));
        places.insert(place);
        let inside = spread("H(10-19) H(22-23) H H(3-4) *", &job);
        assert!((10..20).contains(&inside[0]) && (22..24).contains(&inside[1]));
        assert!((1..=28).contains(&inside[2]) && (3..=4).contains(&inside[3]));
        assert!((5..=6).contains(&spread("0 0 * * H(fri-sat)", &job)[4]));
        // Every tenth minute from one of the first ten on; the hours do not matter for that.
        assert!(spread("H/10 * * * *", &job)[0] < 10);
        assert!((30..=33).contains(&spread("H(30-59)/4 * * * *", &job)[0]));
        assert!(spread("H/90 * * * *", &job)[0] < 60);
    }
    assert!(places.len() > 40);
    let reading = crate::trigger::Reading {
        job: Some("a"),
        ..Zone::UTC.into()
    };
    let hourly = Trigger::parse("H/15 * * * *", reading).unwrap();
    let first = hourly
        .next_after("2026-01-01T00:00:00Z".parse().unwrap())
        .unwrap();
    let second = hourly.next_after(first).unwrap();
    assert_eq!((second - first).num_minutes(), 15);
    // The same text in another job is another trigger.
    let other = crate::trigger::Reading {
        job: Some("b"),
        ..reading
    };
    assert_ne!(
        Trigger::parse("H H * * *", reading),
        Trigger::parse("H H * * *", other)
    );
}

#[test]
fn a_spread_that_cannot_be_is_refused() {
    assert_refused(
        "H 4 * * *",
        "H",
        "`H` is spread by the id of a job, and there is none",
    );
    assert_refused(
        "H(5) 4 * * *",
        "H(5)",
        "`H(5)` says not between which values",
    );
    assert_refused("H(5-99) 4 * * *", "99", "minute 99 is out of range");
    assert_refused("H(9-5) 4 * * *", "9-5", "`9-5` runs backwards");
    assert_refused("H-5 4 * * *", "H", "`H` is not a minute");
    assert_refused("0 0 0 1 1 * H", "H", "`H` does not stand for a year");
}

#[test]
fn wrap_around_hints_say_the_same() {
    use chrono::{DateTime, TimeDelta};
    // Every hour range that wraps, with every step, against its own expansion.
    for from in 1..24_u32 {
        for to in 0..from {
            for step in [1, 2, 3, 5, 7, 30] {
                let hint = hint(&format!("0 {from}-{to}/{step} * * *"));
                let list = hint.trim_start_matches("write `").trim_end_matches('`');
                let trigger = Trigger::parse(&format!("0 {list} * * *"), Zone::UTC).unwrap();
                let mut expected: Vec<u32> = (from..=to + 24)
                    .step_by(step)
                    .map(|hour| hour % 24)
                    .collect();
                expected.sort_unstable();
                let start = DateTime::UNIX_EPOCH - TimeDelta::seconds(1);
                let found: Vec<u32> =
                    std::iter::successors(trigger.next_after(start), |at| trigger.next_after(*at))
                        .take_while(|at| at.timestamp() < 86_400)
                        .map(|at| (at.timestamp() / 3600) as u32)
                        .collect();
                assert_eq!(found, expected, "{from}-{to}/{step}: {list}");
            }
        }
    }
}

#[test]
fn macros_and_prefixes() {
    assert_refused("@dayly", "@dayly", "no such macro: `@dayly`");
    assert_eq!(hint("@dayly"), "did you mean `@daily`?");
    assert_eq!(hint("@rebot"), "did you mean `@reboot`?");
    assert_refused("@reboot now", "now", "nothing may follow `@reboot`");
    assert_eq!(Trigger::parse("@Reboot", Zone::UTC), Ok(Trigger::Reboot));
    assert_refused("@daily 5", "5", "nothing may follow `@daily`");
    assert_refused("@manually now", "now", "nothing may follow `@manually`");
    assert_refused("@every 90", "90", "a unit is missing: did you mean `90s`?");
    assert_refused("@every", "@every", "`@every` says not how often");
    assert_refused(
        "@every 0s",
        "0s",
        "an interval of nothing would fire without end",
    );
    assert_refused(
        "CRON_TZ=Europe/Berln 0 0 * * *",
        "Europe/Berln",
        "no such time zone: \"Europe/Berln\"",
    );
    assert_eq!(
        hint("TZ=Europe/Berln 0 0 * * *"),
        "did you mean \"Europe/Berlin\"?"
    );
    assert_refused("TZ=UTC 0 0 * * 9", "9", "day of the week 9 is out of range");
    let zone = |text| {
        Trigger::parse(text, Zone::UTC)
            .unwrap()
            .zone()
            .unwrap()
            .name()
    };
    assert_eq!(zone("TZ=Asia/Tokyo @daily"), "Asia/Tokyo");
    assert_eq!(zone("CRON_TZ=Asia/Tokyo  0 0 * * *"), "Asia/Tokyo");
    for (text, shown) in [
        ("@EVERY 1h 30m", "every 1 h 30 min"),
        ("@every 250ms", "every 250 ms"),
        ("@Manually", "@manually"),
    ] {
        assert_eq!(Trigger::parse(text, Zone::UTC).unwrap().to_string(), shown);
    }
    let error = Trigger::cron("@every 5s", Zone::UTC).unwrap_err();
    assert!(error.hint.unwrap().contains("{\"interval\": \"5s\"}"));
}

#[test]
fn spellings_that_are_legal() {
    for (text, same) in [
        ("07 00 * * *", "7 0 * * *"),
        ("*/90 * * * *", "0 * * * *"),
        ("0-30/99999999999999 0 * * *", "0 0 * * *"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * FRI-SUN", "0 0 * * 0,5,6"),
        ("0 0 * * fri-7", "0 0 * * 0,5,6"),
        ("0 0 * * fri-0", "0 0 * * 0,5,6"),
        ("0 0 * * 7-2", "0 0 * * 0-2"),
        ("0 0 * * Sun-Sun", "0 0 * * 0"),
        ("0 0 ? * MON", "0 0 * * MON"),
        ("0 0 1 * ?", "0 0 1 * *"),
        ("0 0 l * *", "0 0 L * *"),
        ("0 0 lw * *", "0 0 LW * *"),
        ("0 0 l-0 * *", "0 0 L * *"),
        ("0 0 15w * *", "0 0 15W * *"),
        ("0 0 * * friL", "0 0 * * 5l"),
        ("0 0 * * fri#2", "0 0 8-14 * +fri"),
        ("0 0 1-7 * */7", "0 0 1-7 * +0"),
        ("0 0 0 * * *", "0 0 * * *"),
        ("0 0 0 * * * *", "0 0 * * *"),
        ("0 5/15 * * * *", "5-59/15 * * * *"),
        ("0 0 * Jan-DEC Mon", "0 0 * * mon"),
    ] {
        let start = "2026-02-27T00:00:00Z".parse().unwrap();
        let next = |text: &str| {
            let trigger =
                Trigger::parse(text, Zone::UTC).unwrap_or_else(|error| panic!("{text}: {error}"));
            std::iter::successors(trigger.next_after(start), |at| trigger.next_after(*at))
                .take(40)
                .collect::<Vec<_>>()
        };
        assert_eq!(next(text), next(same), "{text}");
    }
}
