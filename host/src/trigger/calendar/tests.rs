//! Examples: what schedules mean, how they are told, and what is said of those that are none.

use std::fmt::Write;

use chrono::DateTime;

use super::*;

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn read(every: &str, on: &[&str], at: &[&str], anchor: Option<&str>) -> Schedule {
    Schedule::new(every, on, at, anchor.map(date)).unwrap()
}

fn seconds(text: &str) -> i64 {
    format!("{text}Z")
        .parse::<DateTime<chrono::Utc>>()
        .unwrap()
        .timestamp()
}

/// The next times from the beginning of a day on; without seconds.
fn upcoming(trigger: &Schedule, day: &str, count: usize) -> Vec<String> {
    let first = trigger.next_wall(seconds(&format!("{day}T00:00:00")));
    std::iter::successors(first, |wall| trigger.next_wall(wall + 1))
        .take(count)
        .map(|wall| {
            let wall = DateTime::from_timestamp(wall, 0).unwrap();
            wall.format("%a %Y-%m-%d %H:%M").to_string()
        })
        .collect()
}

#[test]
fn weeks_are_counted_from_monday() {
    let trigger = read(
        "2 weeks",
        &["mon", "Thursday"],
        &["09:00"],
        Some("2026-01-07"),
    );
    // The start is a Wednesday: that week's Monday is over, its Thursday is not.
    assert_eq!(
        upcoming(&trigger, "2025-01-01", 4),
        [
            "Thu 2026-01-08 09:00",
            "Mon 2026-01-19 09:00",
            "Thu 2026-01-22 09:00",
            "Mon 2026-02-02 09:00",
        ]
    );
    // Sunday is the last day of its week, not the first of the next.
    let trigger = read("2 weeks", &["sun", "mon"], &["09:00"], Some("2026-01-05"));
    assert_eq!(
        upcoming(&trigger, "2026-01-01", 3),
        [
            "Mon 2026-01-05 09:00",
            "Sun 2026-01-11 09:00",
            "Mon 2026-01-19 09:00"
        ]
    );
    // Without a start, from the week that holds 1970-01-01; and on Monday, unless it is said.
    let trigger = read("3 weeks", &["wed"], &["09:00"], None);
    assert_eq!(
        upcoming(&trigger, "1970-01-01", 2),
        ["Wed 1970-01-21 09:00", "Wed 1970-02-11 09:00"]
    );
    let trigger = read("weekly", &[], &["09:00"], None);
    assert_eq!(
        upcoming(&trigger, "2026-01-01", 1),
        ["Mon 2026-01-05 09:00"]
    );
}

#[test]
fn days_are_counted_from_the_start() {
    let trigger = read("10 days", &[], &["23:00", "1:00"], Some("2026-02-25"));
    assert_eq!(
        upcoming(&trigger, "2026-01-01", 3),
        [
            "Wed 2026-02-25 01:00",
            "Wed 2026-02-25 23:00",
            "Sat 2026-03-07 01:00"
        ]
    );
}

#[test]
fn a_month_without_the_day_is_skipped() {
    let trigger = read("month", &[], &["12:00"], Some("2026-01-31"));
    assert_eq!(
        upcoming(&trigger, "2026-01-01", 3),
        [
            "Sat 2026-01-31 12:00",
            "Tue 2026-03-31 12:00",
            "Sun 2026-05-31 12:00"
        ]
    );
    let trigger = read("month", &["last"], &["12:00"], Some("2026-01-31"));
    assert_eq!(
        upcoming(&trigger, "2026-02-01", 2),
        ["Sat 2026-02-28 12:00", "Tue 2026-03-31 12:00"]
    );
}

#[test]
fn days_of_months_and_years() {
    let trigger = read("3 months", &["last fri"], &["09:00"], Some("2026-03-01"));
    assert_eq!(
        upcoming(&trigger, "2026-01-01", 3),
        [
            "Fri 2026-03-27 09:00",
            "Fri 2026-06-26 09:00",
            "Fri 2026-09-25 09:00"
        ]
    );
    let trigger = read("month", &["first workday, LAST workday"], &["6:00"], None);
    assert_eq!(
        upcoming(&trigger, "2026-05-01", 4),
        [
            "Fri 2026-05-01 06:00",
            "Fri 2026-05-29 06:00",
            "Mon 2026-06-01 06:00",
            "Tue 2026-06-30 06:00",
        ]
    );
    let trigger = read(
        "year",
        &["dec 24", "last fri of november"],
        &["18:00"],
        None,
    );
    assert_eq!(
        upcoming(&trigger, "2026-01-01", 3),
        [
            "Fri 2026-11-27 18:00",
            "Thu 2026-12-24 18:00",
            "Fri 2027-11-26 18:00"
        ]
    );
    // A leap day, of every 25th year: those that are divisible by 4 are 100 years apart.
    let trigger = read("25 years", &[], &["00:00"], Some("2000-02-29"));
    assert_eq!(
        upcoming(&trigger, "1970-01-01", 9),
        ["Tue 2000-02-29 00:00"]
    );
}

#[test]
fn equal_however_it_is_written() {
    let same = [
        read("month", &["1", "last mon"], &["9:00", "17:00"], None),
        read(
            "monthly",
            &["LAST  Monday", "1st"],
            &["17:00:00", "09:00"],
            None,
        ),
        read(
            " 1 Months ",
            &["last mon, first day"],
            &["9:00, 17:00, 9:00"],
            Some("1969-11-03"),
        ),
    ];
    for other in &same {
        assert_eq!(*other, same[0]);
    }
    // Which weeks count, and from when on, makes a difference.
    let weeks = |start| read("2 weeks", &["mon"], &["9:00"], Some(start));
    assert_eq!(weeks("2026-01-05"), weeks("2025-12-23"));
    assert_ne!(weeks("2026-01-05"), weeks("2026-01-12"));
    assert_ne!(weeks("2026-01-05"), weeks("2026-01-19"));
}

#[test]
fn what_never_fires_says_why() {
    let reason = |every, on: &[&str], start| read(every, on, &["9:00"], start).never_fires();
    assert_eq!(
        reason("year", &["30 feb"], None).unwrap(),
        "30 February does not exist"
    );
    assert_eq!(
        reason("4 years", &["02-29"], Some("2025-01-01")).unwrap(),
        "29 February does not exist in the years it counts"
    );
    assert_eq!(reason("12 months", &[], Some("2026-04-30")), None,);
    assert_eq!(
        reason("12 months", &["31"], Some("2026-04-30")).unwrap(),
        "no month that it counts has a day 31"
    );
    assert_eq!(
        reason("year", &["30 feb", "31 apr"], None).unwrap(),
        "no day from 1970 to 2100 matches"
    );
    assert_eq!(
        reason("12 months", &["second mon"], Some("2100-12-20")).unwrap(),
        "no day from its start to the end of 2100 matches; schedules end there"
    );
    for start in ["2101-01-01", "+262142-12-31"] {
        assert!(reason("day", &[], Some(start)).is_some(), "{start}");
    }
    for start in ["1969-12-31", "-262143-01-01"] {
        assert_eq!(reason("1000 weeks", &[], Some(start)), None, "{start}");
    }
}

#[test]
fn the_ends_of_the_calendar_and_of_the_numbers() {
    let trigger = read("day", &[], &["00:00", "23:59:59"], None);
    let (first, last) = (0, seconds("2100-12-31T23:59:59"));
    assert_eq!(trigger.next_wall(i64::MIN), Some(first));
    assert_eq!(trigger.latest_wall(i64::MAX), Some(last));
    assert_eq!(trigger.next_wall(last), Some(last));
    assert_eq!(trigger.next_wall(last + 1), None);
    assert_eq!(trigger.next_wall(i64::MAX), None);
    assert_eq!(trigger.latest_wall(first), Some(first));
    assert_eq!(trigger.latest_wall(first - 1), None);
    assert_eq!(trigger.latest_wall(i64::MIN), None);
}

#[test]
fn what_is_shown() {
    let many: Vec<String> = (0..24).map(|hour| format!("{hour}:00")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str], Option<&'a str>);
    let cases: &[Case] = &[
        ("day", &[], &["9:00"], None),
        ("2 days", &[], &["17:00", "9:00:05", "12:00"], None),
        ("week", &[], &many, None),
        ("2 weeks", &["mon", "thu"], &["9:00"], None),
        ("week", &["sun", "mon-fri"], &["9:00"], None),
        ("13 weeks", &["fri-sun", "mon", "tue"], &["9:00"], None),
        ("week", &["mon-sun"], &["9:00"], None),
        ("week", &["mon-tue", "sat-sun"], &["9:00"], None),
        ("month", &[], &["9:00"], Some("2026-01-15")),
        ("3 months", &["last fri"], &["9:00"], None),
        ("month", &["31"], &["9:00"], None),
        (
            "month",
            &["1st", "22", "last", "3 before last"],
            &["9:00"],
            None,
        ),
        (
            "month",
            &["second tue", "4th thursday", "fifth day"],
            &["9:00"],
            None,
        ),
        (
            "month",
            &["first workday", "10th workday", "last workday"],
            &["9:00"],
            None,
        ),
        ("month", &["fifth fri"], &["9:00"], None),
        ("month", &["21st workday"], &["9:00"], None),
        ("year", &["24 dec"], &["18:00"], None),
        ("year", &[], &["18:00"], None),
        ("4 years", &[], &["18:00"], Some("2028-02-29")),
        (
            "2 years",
            &[
                "11th november",
                "last fri of Nov",
                "last day of feb",
                "1 before last of jun",
            ],
            &["18:00"],
            None,
        ),
    ];
    let mut shown = String::new();
    for (every, on, at, start) in cases {
        let trigger = read(every, on, at, *start);
        writeln!(shown, "{trigger}\n    {}", trigger.describe()).unwrap();
    }
    insta::assert_snapshot!("shown", shown);
}

/// An error with its caret.
fn drawn(error: &TriggerError, text: &str, told: &mut String) {
    let before = text[..error.span.start].chars().count();
    let width = text[error.span.clone()].chars().count().max(1);
    writeln!(told, "{text:?}: {}", error.message).unwrap();
    // One column for the quotation mark.
    writeln!(
        told,
        " {}{} {}",
        " ".repeat(before),
        "^".repeat(width),
        error.label
    )
    .unwrap();
    if let Some(hint) = &error.hint {
        writeln!(told, "    hint: {hint}").unwrap();
    }
}

#[test]
fn mistakes() {
    let mut told = String::new();
    let every = [
        "",
        "  ",
        "2",
        "0 days",
        "1001 weeks",
        "132 years",
        "99999999999999999999 days",
        "-2 weeks",
        "1.5 weeks",
        "2w",
        "3 mo",
        "m",
        "every 2 weeks",
        "other week",
        "two weeks",
        "third month",
        "2 weekly",
        "fortnight",
        "2 quarters",
        "hour",
        "30 minutes",
        "weekdays",
        "montly",
        "3 yeers",
        "2 weeks on mon",
        "2 ｗeeks",
        "bananas",
    ];
    told += "every\n";
    for text in every {
        let error = Schedule::new(text, &[], &["9:00"], None).unwrap_err();
        assert_eq!(error.part, Part::Every);
        drawn(&error.error, text, &mut told);
    }
    let on: [(&str, &[&str]); 4] = [
        ("2 days", &["mon", "mon-fri", "15", "dec 24", ""]),
        (
            "week",
            &[
                "",
                "mon,,tue",
                "mon,",
                "mondy",
                "mon tue",
                "mon and thu",
                "sat-mon",
                "sun-thu",
                "weekdays",
                "weekend",
                "15",
                "first mon",
                "dec 24",
                "mon-",
                "mоn",
                "*",
            ],
        ),
        (
            "month",
            &[
                "",
                "1,,2",
                "0",
                "32",
                "99999999999",
                "-1",
                "-3",
                "L",
                "L-3",
                "LW",
                "friL",
                "fri#2",
                "2th",
                "1-7",
                "12-24",
                "dec 24",
                "mon",
                "first",
                "2 tue",
                "sixth mon",
                "6th mon",
                "24th workday",
                "32nd day",
                "frist mon",
                "first mondy",
                "first weekday",
                "last business day",
                "31 before last",
                "0 before last",
                "3 days before last",
                "last fri of november",
                "workdays",
                "lats",
                "*",
                "middle",
                "a very long text that nobody wants to see once more in the message",
            ],
        ),
        (
            "year",
            &[
                "",
                "15",
                "first mon",
                "last",
                "dec",
                "fri",
                "easter",
                "2026-12-24",
                "24.12.",
                "12/24",
                "24-12",
                "13-32",
                "12-32",
                "00-10",
                "32 dec",
                "24 dez",
                "24th of decembre",
                "last fri november",
                "lst fri of november",
                "last friday of of",
                "24 31",
                "of",
            ],
        ),
    ];
    for (every, texts) in on {
        writeln!(told, "\non, every {every}").unwrap();
        for text in texts {
            let error = Schedule::new(every, &[text], &["9:00"], None).unwrap_err();
            assert_eq!(error.part, Part::On(0));
            drawn(&error.error, text, &mut told);
        }
    }
    told += "\nat\n";
    for text in [
        "",
        "9:00,",
        "9",
        "24:00",
        "24:01",
        "9:60",
        "9:00:60",
        "009:00",
        "9:5",
        "9.30",
        "0930",
        "9am",
        "9:30 PM",
        "12 a.m.",
        "13pm",
        "9h30",
        "noon",
        "midnight",
        "9:00Z",
        "9:00+02:00",
        "9:00:00:00",
        "9:00:00.5",
        "９:00",
        "soon",
    ] {
        let error = Schedule::new("day", &[], &[text], None).unwrap_err();
        assert_eq!(error.part, Part::At(0));
        drawn(&error.error, text, &mut told);
    }
    insta::assert_snapshot!("mistakes", told);
}

#[test]
fn however_long_a_text_is() {
    let length = 100_000;
    let start = |text: &str| text.repeat(length);
    for text in [
        "every ", "1", "mon ", "mon,", "last ", "of ", ":", "-", " ", "ä",
    ]
    .map(start)
    {
        for unit in ["day", "week", "month", "year"] {
            let found = Schedule::new(unit, &[&text], &["9:00"], None);
            assert!(found.unwrap_err().error.message.len() < 200);
        }
        for found in [
            Schedule::new(&text, &[], &["9:00"], None),
            Schedule::new("day", &[], &[&text], None),
        ] {
            assert!(found.unwrap_err().error.message.len() < 200);
        }
    }
}

#[test]
fn errors_name_the_text_that_is_wrong() {
    let part =
        |every, on: &[&str], at: &[&str]| Schedule::new(every, on, at, None).unwrap_err().part;
    assert_eq!(part("weak", &["mon", "x"], &["9:00"]), Part::Every);
    assert_eq!(part("week", &["mon", "x"], &["9:00"]), Part::On(1));
    assert_eq!(part("week", &["mon"], &["9:00", "8:00", "7"]), Part::At(2));
    let none = Schedule::new("week", &["mon"], &[], None).unwrap_err();
    assert_eq!((none.part, none.error.span), (Part::At(0), 0..0));
}
