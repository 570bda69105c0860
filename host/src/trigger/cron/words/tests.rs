//! Golden sentences, and two properties: what is said of times, read back, is what matches, and
//! no two sets of days share their words.

use std::collections::{BTreeSet, HashMap};

use chrono::NaiveDate;
use proptest::prelude::*;

use crate::trigger::cron::CronTrigger;
use crate::trigger::{Reading, Trigger, Zone};

/// Expressions of crontab(5), of what Quartz added, and of what people ask about.
const GOLDEN: &[(&str, &str)] = &[
    ("* * * * *", "Every minute"),
    ("*/5 * * * *", "Every 5 minutes"),
    ("*/2 * * * *", "Every 2 minutes"),
    ("*/7 * * * *", "At minutes 0, 7, 14, … 56 of every hour"),
    ("*/90 * * * *", "Every hour on the hour"),
    ("0 * * * *", "Every hour on the hour"),
    ("30 * * * *", "At minute 30 of every hour"),
    ("15,45 * * * *", "At minutes 15 and 45 of every hour"),
    ("0,30 * * * *", "Every 30 minutes"),
    (
        "3-59/10 * * * *",
        "At minutes 3, 13, 23, 33, 43 and 53 of every hour",
    ),
    (
        "5-59/15 * * * *",
        "At minutes 5, 20, 35 and 50 of every hour",
    ),
    ("0-29 * * * *", "At minutes 0 to 29 of every hour"),
    ("1-59/2 * * * *", "At minutes 1, 3, 5, … 59 of every hour"),
    ("0 */2 * * *", "Every 2 hours from 00:00 to 22:00"),
    ("0 */5 * * *", "Every 5 hours from 00:00 to 20:00"),
    ("0 */8 * * *", "At 00:00, 08:00 and 16:00 every day"),
    ("30 1-23/2 * * *", "Every 2 hours from 01:30 to 23:30"),
    ("*/10 9-17 * * *", "Every 10 minutes from 09:00 to 17:50"),
    (
        "0 9-17 * * 1-5",
        "Every hour from 09:00 to 17:00, from Monday to Friday",
    ),
    (
        "0,30 9-17 * * 1-5",
        "Every 30 minutes from 09:00 to 17:30, from Monday to Friday",
    ),
    ("5-59/15 9-17 * * *", "Every 15 minutes from 09:05 to 17:50"),
    ("*/15 9 * * *", "Every 15 minutes from 09:00 to 09:45"),
    ("* 9 * * *", "Every minute from 09:00 to 09:59"),
    (
        "* 9,17 * * *",
        "Every minute from 09:00 to 09:59 and from 17:00 to 17:59",
    ),
    (
        "*/10 9-11,14-17 * * *",
        "Every 10 minutes from 09:00 to 11:50 and from 14:00 to 17:50",
    ),
    (
        "*/20 */3 * * *",
        "At minutes 0, 20 and 40 of hours 0, 3, 6, … 21",
    ),
    ("* */2 * * *", "Every minute of hours 0, 2, 4, … 22"),
    ("7 9-17 * * *", "Every hour from 09:07 to 17:07"),
    ("5,7 9-17 * * *", "At minutes 5 and 7 of hours 9 to 17"),
    (
        "5,20 9,13 * * *",
        "At 09:05, 09:20, 13:05 and 13:20 every day",
    ),
    ("0-59 0-23 * * *", "Every minute"),
    ("23 0-20/2 * * *", "Every 2 hours from 00:23 to 20:23"),
    ("30 2 * * *", "At 02:30 every day"),
    ("30 2,4 * * *", "At 02:30 and 04:30 every day"),
    ("0 9 * * 1-5", "At 09:00 from Monday to Friday"),
    ("5 4 * * sun", "At 04:05 on every Sunday"),
    ("0 22 * * 1-5", "At 22:00 from Monday to Friday"),
    (
        "0 0,12 1 */2 *",
        "At 00:00 and 12:00 on the 1st of January, March, May, July, September and November",
    ),
    ("0 4 8-14 * *", "At 04:00 on the 8th to 14th of every month"),
    (
        "0 0 1,15 * 3",
        "At 00:00 on the 1st and 15th of every month and on every Wednesday",
    ),
    ("15 14 1 * *", "At 14:15 on the 1st of every month"),
    ("0 0 1 * *", "At 00:00 on the 1st of every month"),
    ("15 10 L * *", "At 10:15 on the last day of every month"),
    (
        "0 0 L-3 * *",
        "At 00:00 on the 3rd day before the last of every month",
    ),
    (
        "0 0 L-1 * *",
        "At 00:00 on the day before the last of every month",
    ),
    ("0 0 LW * *", "At 00:00 on the last weekday of every month"),
    (
        "0 0 15W * *",
        "At 00:00 on the weekday nearest to the 15th of every month",
    ),
    (
        "0 0 1W * *",
        "At 00:00 on the weekday nearest to the 1st of every month",
    ),
    (
        "0 0 31W * *",
        "At 00:00 on the weekday nearest to the 31st of every month (where there is such a day)",
    ),
    (
        "0 0 * * fri#2",
        "At 00:00 on the second Friday of every month",
    ),
    ("0 0 * * friL", "At 00:00 on the last Friday of every month"),
    (
        "0 0 * * 5#5",
        "At 00:00 on the fifth Friday of every month that has one",
    ),
    (
        "0 0 * * mon#1,mon#3",
        "At 00:00 on the first and third Monday of every month",
    ),
    (
        "0 0 * * mon,fri#2",
        "At 00:00 on every Monday and on the second Friday of every month",
    ),
    ("0 0 * * 0", "At 00:00 on every Sunday"),
    ("0 0 * * 6,0", "At 00:00 on every Saturday and Sunday"),
    ("0 0 * * fri-sun", "At 00:00 from Friday to Sunday"),
    (
        "0 0 * * 1,3,5",
        "At 00:00 on every Monday, Wednesday and Friday",
    ),
    ("0 0 * * 1-6", "At 00:00 from Monday to Saturday"),
    (
        "0 0 13 * 5",
        "At 00:00 on the 13th of every month and on every Friday",
    ),
    (
        "0 0 13 * +5",
        "At 00:00 on the 13th of every month if it is a Friday",
    ),
    (
        "0 0 */2 * 5",
        "At 00:00 on the odd days of every month, but only if it is a Friday",
    ),
    (
        "0 0 13 * */2",
        "At 00:00 on the 13th of every month if it is a Tuesday, a Thursday, a Saturday or a Sunday",
    ),
    (
        "0 0 1-7 * */7",
        "At 00:00 on the first Sunday of every month",
    ),
    (
        "0 0 8-14 * +tue",
        "At 00:00 on the second Tuesday of every month",
    ),
    (
        "0 0 1,15 * +mon-fri",
        "At 00:00 on the 1st and 15th of every month, but only if it is a weekday",
    ),
    (
        "0 0 L * +fri",
        "At 00:00 on the last day of every month, but only if it is a Friday",
    ),
    ("0 0 1-31 * 5", "At 00:00 every day"),
    ("0 0 13 * 0-6", "At 00:00 every day"),
    ("0 0 ? * 5", "At 00:00 on every Friday"),
    (
        "0 0 15,L * *",
        "At 00:00 on the 15th of every month and on the last day of every month",
    ),
    (
        "0 0 31 * *",
        "At 00:00 on the 31st of every month that has one",
    ),
    (
        "0 0 30,31 * *",
        "At 00:00 on the 30th and 31st of every month (where there are such days)",
    ),
    (
        "0 0 29 2 *",
        "At 00:00 on the 29th of February, in leap years",
    ),
    (
        "0 0 1,29 2 *",
        "At 00:00 on the 1st and 29th of February (the 29th where there is one)",
    ),
    (
        "0 0 30 2 *",
        "At 00:00 on the 30th of February, which never comes",
    ),
    (
        "0 0 31 1,3,5 *",
        "At 00:00 on the 31st of January, March and May",
    ),
    (
        "0 0 31 4,6 *",
        "At 00:00 on the 31st of April and June, which never comes",
    ),
    (
        "0 0 20-31 * *",
        "At 00:00 on the 20th to the last day of every month",
    ),
    ("0 0 */2 * *", "At 00:00 on the odd days of every month"),
    ("0 0 2-30/2 * *", "At 00:00 on the even days of every month"),
    (
        "0 0 */3 * *",
        "At 00:00 on the 1st, 4th, 7th, … 31st of every month (the 31st where there is one)",
    ),
    (
        "0 0 1-10,20 * *",
        "At 00:00 on the 1st to 10th and 20th of every month",
    ),
    (
        "0 0 L-30 * *",
        "At 00:00 on the 30th day before the last of every month (where there is such a day)",
    ),
    ("0 0 1 1 *", "At 00:00 on the 1st of January"),
    (
        "0 0 1 1,4,7,10 *",
        "At 00:00 on the 1st of January, April, July and October",
    ),
    (
        "0 9 * 3-10 1-5",
        "At 09:00 from Monday to Friday, from March to October",
    ),
    (
        "0 9 13 3-10 5",
        "At 09:00 on the 13th of every month from March to October and on every Friday in these months",
    ),
    ("*/5 * * 6 *", "Every 5 minutes in June"),
    ("0 12 * 12-12 *", "At 12:00 every day in December"),
    (
        "0 0 1 */3 *",
        "At 00:00 on the 1st of January, April, July and October",
    ),
    ("@yearly", "At 00:00 on the 1st of January"),
    ("@monthly", "At 00:00 on the 1st of every month"),
    ("@weekly", "At 00:00 on every Sunday"),
    ("@daily", "At 00:00 every day"),
    ("@hourly", "Every hour on the hour"),
    ("CRON_TZ=Asia/Tokyo 0 9 * * *", "At 09:00 every day"),
    ("* * * * * *", "Every second"),
    ("*/20 * * * * *", "Every 20 seconds"),
    ("*/7 * * * * *", "At seconds 0, 7, 14, … 56 of every minute"),
    ("15 * * * * *", "At second 15 of every minute"),
    ("0 */5 * * * *", "Every 5 minutes"),
    (
        "15 */5 * * * *",
        "At second 15 of minutes 0, 5, 10, … 55 of every hour",
    ),
    ("0 0 12 * * ?", "At 12:00 every day"),
    ("0 15 10 ? * MON-FRI", "At 10:15 from Monday to Friday"),
    ("0 0/5 14 * * ?", "Every 5 minutes from 14:00 to 14:55"),
    (
        "0 0/5 14,18 * * ?",
        "Every 5 minutes from 14:00 to 14:55 and from 18:00 to 18:55",
    ),
    ("0 0-5 14 * * ?", "Every minute from 14:00 to 14:05"),
    (
        "0 10,44 14 ? 3 WED",
        "At 14:10 and 14:44 on every Wednesday in March",
    ),
    (
        "0 15 10 ? * 6L 2026-2030",
        "At 10:15 on the last Saturday of every month from 2026 to 2030",
    ),
    (
        "0 15 10 ? * 6#3",
        "At 10:15 on the third Saturday of every month",
    ),
    (
        "0 0 12 1/5 * ?",
        "At 12:00 on the 1st, 6th, 11th, … 31st of every month (the 31st where there is one)",
    ),
    ("0 11 11 11 11 ?", "At 11:11 on the 11th of November"),
    ("30 0 9 * * *", "At 09:00:30 every day"),
    (
        "*/10 0-4 9 * * *",
        "Every 10 seconds from 09:00:00 to 09:04:50",
    ),
    ("* * 9 * * *", "Every second from 09:00:00 to 09:59:59"),
    (
        "*/10 0-4 * * * *",
        "Every 10 seconds of minutes 0 to 4 of every hour",
    ),
    ("* 5 * * * *", "Every second of minute 5 of every hour"),
    (
        "10,20 * 9 * * *",
        "At seconds 10 and 20 of every minute of hour 9",
    ),
    ("0 0 0 1 1 * 2027", "At 00:00 on the 1st of January in 2027"),
    (
        "0 0 0 1 1 * 2027,2029",
        "At 00:00 on the 1st of January in 2027 and 2029",
    ),
    (
        "0 0 0 * * * 2027-2030",
        "At 00:00 every day from 2027 to 2030",
    ),
    ("0 0 0 * * * 2027-2100", "At 00:00 every day from 2027 on"),
    (
        "0 0 0 1 1 * 2000/4",
        "At 00:00 on the 1st of January in 2000, 2004, 2008, … 2100",
    ),
    (
        "0 0 0 29 2 * 2027",
        "At 00:00 on the 29th of February in 2027, which never comes",
    ),
    ("0 0 0 L 2 * *", "At 00:00 on the last day of February"),
];

fn cron(expression: &str) -> CronTrigger {
    match Trigger::parse(expression, Zone::UTC).unwrap() {
        Trigger::Cron(cron) => cron,
        other => panic!("{other}"),
    }
}

#[test]
fn expressions_in_words() {
    let wrong: Vec<String> = GOLDEN
        .iter()
        .map(|(expression, words)| (expression, words, cron(expression).describe()))
        .filter(|(_, words, found)| *words != found)
        .map(|(expression, words, found)| format!("{expression}: {found}, not {words}"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_a_job_s_id_decides_is_said() {
    let berlin = Reading {
        job: Some("nightly"),
        ..Zone::parse("Europe/Berlin").unwrap().into()
    };
    let say = |text| Trigger::parse(text, berlin).unwrap().describe();
    assert_eq!(say("H H * * *"), "At 18:42 every day");
    assert_eq!(
        say("H/15 * * * *"),
        "At minutes 12, 27, 42 and 57 of every hour"
    );
    // In a repeated hour only one of the two runs would elapsed time.
    assert_eq!(say("*/5 * * * *"), "Every 5 minutes");
    assert_eq!(
        say("0-59/5 0-23 * * *"),
        "Every 5 minutes of the wall clock"
    );
}

/// The times of the day that a sentence speaks of, in seconds: an independent reader.
fn read_times(sentence: &str) -> BTreeSet<u32> {
    let sentence = sentence.strip_suffix(" every day").unwrap_or(sentence);
    if sentence == "Every hour on the hour" {
        return (0..24).map(|hour| hour * 3600).collect();
    }
    if let Some(list) = sentence.strip_prefix("At ")
        && list.starts_with(|c: char| c.is_ascii_digit())
    {
        return list.replace(" and ", ", ").split(", ").map(clock).collect();
    }
    if let Some((step, stretches)) = sentence.split_once(" from ") {
        let step = step_of(step);
        let stretches = stretches
            .replace(" and from ", ", ")
            .replace(", from ", ", ");
        return stretches
            .split(", ")
            .flat_map(|stretch| {
                let (from, to) = stretch.split_once(" to ").unwrap();
                (clock(from)..=clock(to)).step_by(step as usize)
            })
            .collect();
    }
    let fields: Vec<&str> = sentence.split(" of ").collect();
    if let ["Every second" | "Every minute", ..] | [_] = fields.as_slice()
        && let [only] = fields.as_slice()
    {
        return (0..86_400).step_by(step_of(only) as usize).collect();
    }
    let mut sets: HashMap<&str, BTreeSet<u32>> = HashMap::new();
    for field in &fields {
        let field = field.strip_prefix("At ").unwrap_or(field);
        if let Some(unit) = field.strip_prefix("every ") {
            sets.insert(unit, (0..60).collect());
        } else if field.starts_with("Every ") {
            let (unit, step) = if field.contains("second") {
                ("second", step_of(field))
            } else {
                ("minute", step_of(field) / 60)
            };
            sets.insert(unit, (0..60).step_by(step as usize).collect());
        } else {
            let (unit, list) = field.split_once(' ').unwrap();
            sets.insert(unit.trim_end_matches('s'), numbers(list));
        }
    }
    // What stands before a field that is given and is not said itself is 0, or all of it.
    let all_seconds = sets.get("second").is_some_and(|set| set.len() == 60);
    let seconds = sets.get("second").cloned().unwrap_or([0].into());
    let minutes = sets.get("minute").cloned().unwrap_or_else(|| {
        assert!(all_seconds, "{sentence}");
        (0..60).collect()
    });
    let hours = sets.get("hour").cloned().unwrap_or((0..24).collect());
    let mut times = BTreeSet::new();
    for hour in hours.iter().filter(|hour| **hour < 24) {
        for minute in &minutes {
            times.extend(
                seconds
                    .iter()
                    .map(|second| hour * 3600 + minute * 60 + second),
            );
        }
    }
    times
}

/// `Every 5 minutes` in seconds.
fn step_of(words: &str) -> u32 {
    let words: Vec<&str> = words.split(' ').collect();
    let (count, unit) = match words.as_slice() {
        ["Every", unit] => (1, *unit),
        ["Every", count, unit] => (count.parse().unwrap(), unit.trim_end_matches('s')),
        _ => panic!("{words:?}"),
    };
    count * HashMap::from([("second", 1), ("minute", 60), ("hour", 3600)])[unit]
}

fn clock(text: &str) -> u32 {
    let parts: Vec<u32> = text.split(':').map(|part| part.parse().unwrap()).collect();
    parts[0] * 3600 + parts[1] * 60 + parts.get(2).unwrap_or(&0)
}

/// `0, 7, 14, … 56`, `0 to 29`, `5 and 7`.
fn numbers(list: &str) -> BTreeSet<u32> {
    if let Some((start, last)) = list.split_once(", … ") {
        let start: Vec<u32> = start.split(", ").map(|it| it.parse().unwrap()).collect();
        let step = (start[1] - start[0]) as usize;
        return (start[0]..=last.parse().unwrap()).step_by(step).collect();
    }
    let list = list.replace(" and ", ", ");
    let items = list.split(", ").flat_map(|item| {
        let (from, to) = item.split_once(" to ").unwrap_or((item, item));
        from.parse().unwrap()..=to.parse::<u32>().unwrap()
    });
    items.collect()
}

/// A field with a few more of the forms that have words of their own.
fn field(highest: u32) -> impl Strategy<Value = String> {
    let part = (0..=highest, 0..=highest, 1_u32..31).prop_map(|(a, b, step)| {
        let (a, b) = (a.min(b), a.max(b));
        match step {
            1..6 => a.to_string(),
            6..12 => format!("{a}-{b}"),
            _ => format!("{a}-{b}/{}", step - 11),
        }
    });
    prop_oneof![
        2 => Just("*".to_owned()),
        2 => Just("0".to_owned()),
        3 => (1_u32..35).prop_map(|step| format!("*/{step}")),
        2 => (0_u32..5, 1_u32..31).prop_map(move |(from, step)| format!("{from}-{highest}/{step}")),
        4 => prop::collection::vec(part, 1..4).prop_map(|parts| parts.join(",")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What is said of times is what matches: no more, no less.
    #[test]
    fn times_read_back(second in prop_oneof![2 => Just("0".to_owned()), 1 => field(59)], minute in field(59), hour in field(23)) {
        let trigger = cron(&format!("{second} {minute} {hour} * * *"));
        let expected: BTreeSet<u32> = trigger.times.of_day().into_iter().collect();
        let sentence = trigger.describe();
        prop_assert_eq!(read_times(&sentence), expected, "{}", sentence);
        prop_assert!(sentence.len() < 200, "{}", sentence);
    }
}

/// No two sets of days share their words, over many combinations of fields.
#[test]
fn days_are_told_apart() {
    let month_days = [
        "*", "?", "1", "2", "13", "28", "29", "30", "31", "1,15", "1-7", "8-14", "22-28", "29-31",
        "1-30", "2-31", "28-31", "30-31", "*/2", "2-31/2", "*/3", "*/10", "L", "L-1", "L-3",
        "L-29", "LW", "15W", "1W", "31W", "1,L", "31,L-30", "15W,15",
    ];
    let weekdays = [
        "*",
        "?",
        "0",
        "5",
        "1-5",
        "+1-5",
        "6,0",
        "fri-sun",
        "sat,sun,mon",
        "1,3,5",
        "+5",
        "+6,0",
        "*/7",
        "*/2",
        "fri#2",
        "+fri#2",
        "fri#5",
        "friL",
        "+friL",
        "mon#1,mon#3",
        "mon,fri#2",
        "mon#5,tue#5",
        "fri#1,friL",
        "1-6",
        "0-6",
    ];
    let months_of_years = [
        ("*", "*"),
        ("2", "*"),
        ("2", "2023-2026"),
        ("1,7", "*"),
        ("3-5", "2024"),
        ("2,4", "*"),
        ("1-11", "2025,2027"),
    ];
    let first = NaiveDate::from_ymd_opt(2023, 1, 1).unwrap().to_epoch_days();
    let last = NaiveDate::from_ymd_opt(2028, 12, 31)
        .unwrap()
        .to_epoch_days();
    let mut said: HashMap<String, (String, Vec<i64>)> = HashMap::new();
    let mut distinct = 0;
    for month_day in month_days {
        for weekday in weekdays {
            for (month, year) in months_of_years {
                let text = format!("0 0 0 {month_day} {month} {weekday} {year}");
                let trigger = cron(&text);
                let sentence = trigger.describe();
                if sentence.ends_with("never comes") {
                    continue;
                }
                let days: Vec<i64> = (i64::from(first)..=i64::from(last))
                    .filter(|day| trigger.dates.matches(*day))
                    .collect();
                match said.get(&sentence) {
                    Some((other, same)) => {
                        assert!(*same == days, "{other} and {text}: {sentence}");
                    }
                    None => {
                        distinct += 1;
                        said.insert(sentence, (text, days));
                    }
                }
            }
        }
    }
    assert!(distinct > 4_000, "{distinct}");
}
