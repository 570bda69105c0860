//! Changes of clocks all over the world, and the property that what is told is what happens.

use proptest::prelude::*;

use super::*;
use crate::trigger::{Bounds, CalendarTrigger, Moment as Instant, Reading};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn trigger(zone: &str, text: &str) -> Trigger {
    Trigger::parse(text, Zone::parse(zone).unwrap()).unwrap()
}

/// `2027-03-28 02:30 does not exist: runs once, …`, one a line.
fn told(trigger: &Trigger, from: &str, until: &str) -> String {
    let lines: Vec<String> = trigger
        .clock_changes(at(from), at(until))
        .iter()
        .map(|change| {
            let (times, effect) = (change.times_in_words(), change.effect_in_words());
            format!("{} {times}: {effect}", change.times[0].date())
        })
        .collect();
    lines.join("\n")
}

fn in_berlin(text: &str) -> String {
    let trigger = trigger("Europe/Berlin", text);
    told(&trigger, "2026-11-22T00:00:00Z", "2027-11-22T00:00:00Z")
}

#[test]
fn a_year_in_berlin() {
    insta::assert_snapshot!(in_berlin("30 2 * * *"), @"
    2027-03-28 02:30 does not exist: runs once, at 03:00 +02:00
    2027-10-31 02:30 happens twice: runs once, the first time (+02:00)
    ");
    insta::assert_snapshot!(in_berlin("0,30 2 * * *"), @"
    2027-03-28 02:00 and 02:30 do not exist: runs once, at 03:00 +02:00
    2027-10-31 02:00 and 02:30 happen twice: runs the first time only (+02:00)
    ");
    insta::assert_snapshot!(in_berlin("0 9 * * *"), @"");
    insta::assert_snapshot!(in_berlin("30 2 * * 1-5"), @"");
    insta::assert_snapshot!(in_berlin("*/5 * * * *"), @"
    2027-03-28 02:00 to 02:55 do not exist: 12 runs fewer that day, at an even pace
    2027-10-31 02:00 to 02:55 happen twice: runs both times: 12 runs more that day, at an even pace
    ");
    insta::assert_snapshot!(in_berlin("0 */2 * * *"), @"
    2027-03-28 02:00 does not exist: 1 run fewer that day
    2027-10-31 02:00 happens twice: runs both times: 1 run more that day
    ");
    insta::assert_snapshot!(in_berlin("*/20 2 * * *"), @"
    2027-03-28 02:00, 02:20 and 02:40 do not exist: 3 runs fewer that day
    2027-10-31 02:00, 02:20 and 02:40 happen twice: runs both times: 3 runs more that day, at an even pace
    ");
    insta::assert_snapshot!(in_berlin("15 30 2 * * *"), @"
    2027-03-28 02:30:15 does not exist: runs once, at 03:00 +02:00
    2027-10-31 02:30:15 happens twice: runs once, the first time (+02:00)
    ");
    insta::assert_snapshot!(in_berlin("@every 1h"), @"");
}

#[test]
fn a_job_may_opt_out() {
    let reading = Reading {
        dst: Dst::Skip,
        ..Zone::parse("Europe/Berlin").unwrap().into()
    };
    let trigger = Trigger::parse("30 2 * * *", reading).unwrap();
    insta::assert_snapshot!(told(&trigger, "2026-11-22T00:00:00Z", "2027-11-22T00:00:00Z"), @"
    2027-03-28 02:30 does not exist: does not run
    2027-10-31 02:30 happens twice: runs once, the first time (+02:00)
    ");
}

#[test]
fn the_rest_of_the_world() {
    let apia = trigger("Pacific/Apia", "0 9 * * *");
    insta::assert_snapshot!(told(&apia, "2011-12-01T00:00:00Z", "2012-01-10T00:00:00Z"), @"2011-12-30 09:00 does not exist: does not run: a jump of more than 3 h is not caught up with");
    let lord_howe = trigger("Australia/Lord_Howe", "15 2 * * *");
    insta::assert_snapshot!(told(&lord_howe, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"), @"2026-10-04 02:15 does not exist: runs once, at 02:30 +11:00");
    let half = trigger("Australia/Lord_Howe", "45 1 * * *");
    insta::assert_snapshot!(told(&half, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"), @"2026-04-05 01:45 happens twice: runs once, the first time (+11:00)");
    let casablanca = trigger("Africa/Casablanca", "30 2 * * *");
    insta::assert_snapshot!(told(&casablanca, "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"), @"
    2025-02-23 02:30 happens twice: runs once, the first time (+01:00)
    2025-04-06 02:30 does not exist: runs once, at 03:00 +01:00
    ");
    let cairo = trigger("Africa/Cairo", "30 0,23 * * *");
    insta::assert_snapshot!(told(&cairo, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"), @"
    2026-04-24 00:30 does not exist: runs once, at 01:00 +03:00
    2026-10-29 23:30 happens twice: runs once, the first time (+03:00)
    ");
}

#[test]
fn combined_and_bounded_triggers() {
    let year = ("2026-11-22T00:00:00Z", "2027-11-22T00:00:00Z");
    let berlin = |text: &str| trigger("Europe/Berlin", text);
    let any = Trigger::any(vec![
        berlin("30 2 * * *"),
        berlin("30 2 * * sun"),
        trigger("America/New_York", "30 2 * * *"),
        berlin("@every 1h"),
    ]);
    insta::assert_snapshot!(told(&any.unwrap(), year.0, year.1), @"
    2027-03-14 02:30 does not exist: runs once, at 03:00 -04:00
    2027-03-28 02:30 does not exist: runs once, at 03:00 +02:00
    2027-10-31 02:30 happens twice: runs once, the first time (+02:00)
    ");
    let all = |parts: [&str; 2]| -> String {
        let all = Trigger::all(parts.map(berlin).to_vec()).unwrap();
        told(&all, year.0, year.1)
    };
    insta::assert_snapshot!(all(["30 2 * * *", "*/30 * * * sun"]), @"
    2027-03-28 02:30 does not exist: runs once, at 03:00 +02:00
    2027-10-31 02:30 happens twice: runs once, the first time (+02:00)
    ");
    insta::assert_snapshot!(all(["30 2,3 * * *", "0,30 2 * * *"]), @"
    2027-03-28 02:30 does not exist: runs once, at 03:00 +02:00
    2027-10-31 02:30 happens twice: runs once, the first time (+02:00)
    ");
    insta::assert_snapshot!(all(["30 2 * * *", "30 9 * * *"]), @"");
    insta::assert_snapshot!(all(["30 2 * * *", "@every 1h"]), @"2027-03-28 02:30 does not exist: runs once, at 03:00 +02:00");
    // Elapsed time of a part says nothing of the whole where an interval has a say, too.
    insta::assert_snapshot!(all(["* * * * *", "@every 7m"]), @"");
    // A moment that is skipped, and one between two parts that go by calendars.
    let moment = Instant::parse("2027-03-28T02:30", Zone::parse("Europe/Berlin").unwrap());
    let once = Trigger::At(AtTrigger::new(moment.unwrap()));
    insta::assert_snapshot!(told(&once, year.0, year.1), @"2027-03-28 02:30 does not exist: runs once, at 03:00 +02:00");
    let zone = Zone::parse("Europe/Berlin").unwrap();
    let calendar = CalendarTrigger::new("day", &[], &["02:30"], None, zone, Dst::RunAfter).unwrap();
    let all_of = Trigger::all(vec![Trigger::Calendar(calendar), berlin("30 2 * * sun")]).unwrap();
    insta::assert_snapshot!(told(&all_of, year.0, year.1), @"
    2027-03-28 02:30 does not exist: runs once, at 03:00 +02:00
    2027-10-31 02:30 happens twice: runs once, the first time (+02:00)
    ");
    let within = |text: &str, start: &str, end: &str| {
        let bounds = Bounds {
            start: Some(at(start)),
            end: Some(at(end)),
            ..Bounds::default()
        };
        let bounded = berlin(text).within(bounds, "job").unwrap();
        told(&bounded, year.0, year.1)
    };
    insta::assert_snapshot!(within("30 2 * * *", "2027-03-01T00:00:00Z", "2027-05-01T00:00:00Z"), @"2027-03-28 02:30 does not exist: runs once, at 03:00 +02:00");
    insta::assert_snapshot!(within("*/5 2 * * *", "2027-04-01T00:00:00Z", "2027-12-01T00:00:00Z"), @"2027-10-31 02:00 to 02:55 happen twice: runs both times: 12 runs more that day, at an even pace");
    // Written in the time of a zone that comes twice.
    let moment = Instant::parse("2027-10-31T02:30", Zone::parse("Europe/Berlin").unwrap());
    let once = Trigger::At(AtTrigger::new(moment.unwrap()));
    insta::assert_snapshot!(told(&once, year.0, year.1), @"2027-10-31 02:30 happens twice: runs once, the first time (+02:00)");
}

fn any_zone() -> impl Strategy<Value = Zone> {
    let zones: Vec<Zone> = Zone::all().collect();
    (0..zones.len()).prop_map(move |index| zones[index])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What is told is what the trigger does, in any zone and year.
    #[test]
    fn what_is_told_happens(zone in any_zone(), minute in 0_u32..60, step in 1_u32..31, hours in 0_u32..24, more in 0_u32..24, form in 0..4, skip: bool, year in 1970..2099) {
        let text = match form {
            0 => format!("{minute} {hours},{more} * * *"),
            1 => format!("*/{step} {hours} * * *"),
            2 => format!("{minute} */{} * * *", step.min(12)),
            _ => format!("{minute}-59/{step} 0-23 * * *"),
        };
        let dst = if skip { Dst::Skip } else { Dst::RunAfter };
        let trigger = Trigger::parse(&text, Reading { dst, ..zone.into() }).unwrap();
        let from = at(&format!("{year}-01-01T00:00:00Z"));
        let until = at(&format!("{}-01-01T00:00:00Z", year + 1));
        let between = |after: DateTime<Utc>, until: DateTime<Utc>| {
            std::iter::successors(trigger.next_after(after), |last| trigger.next_after(*last))
                .take_while(|instant| *instant < until)
                .count() as u32
        };
        let nano = TimeDelta::nanoseconds(1);
        let changes = trigger.clock_changes(from, until);
        for change in &changes {
            prop_assert!(change.at > from && change.at <= until);
            prop_assert!(change.times.iter().all(|time| change.from <= *time && *time < change.to));
            let length = change.to - change.from;
            match change.effect {
                Effect::RunsOnceAt(instant) => {
                    prop_assert!(trigger.fires_at(instant), "{:?}", change);
                    prop_assert_eq!(instant, change.at);
                }
                Effect::DoesNotRun | Effect::NotCaughtUp | Effect::Fewer { .. } => {
                    for time in &change.times {
                        let is_gap = matches!(zone.from_wall(*time), crate::trigger::WallInstant::Gap { .. });
                        prop_assert!(is_gap || matches!(change.effect, Effect::Fewer { .. }), "{:?}", change);
                    }
                }
                Effect::RunsFirstTimeOnly => {
                    prop_assert_eq!(between(change.at - nano, change.at + length), 0, "{:?}", change);
                    prop_assert!(first_pass(change).all(|first| first < change.at));
                }
                Effect::More { runs, .. } => {
                    prop_assert_eq!(between(change.at - nano, change.at + length), runs, "{:?}", change);
                }
            }
        }
        // Where nothing is told the instants are the times on the wall, one by one.
        if changes.is_empty() && (form != 3 || step > 20) {
            let utc = Trigger::parse(&text, Zone::UTC).unwrap();
            let (first, _) = zone.to_wall(from);
            let (last, _) = zone.to_wall(until);
            let walls = std::iter::successors(utc.next_after(first.and_utc() - nano), |last| utc.next_after(*last))
                .take_while(|wall| wall.naive_utc() < last)
                .count() as u32;
            prop_assert_eq!(between(from - nano, until), walls);
        }
    }
}
