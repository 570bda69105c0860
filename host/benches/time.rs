//! What time costs: `cargo bench --bench time`.
//!
//! Triggers are measured against the crates `cron` and `croner` in the same run, as ratios: the
//! three take turns (A B C A B C …), and a ratio is the median of the turns' ratios, so that a
//! machine that changes its speed changes all alike. Where the aim is a time, the figure is one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::disallowed_methods)] // a benchmark reads the clock

use std::fmt::Write;
use std::hint::black_box;
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use quarterjack::trigger::{Trigger, Zone};

fn main() {
    next_after_against_the_crates();
    next_after_of_other_expressions();
    slow_expressions();
    random_expressions();
    parsing();
    processes();
}

const TURNS: usize = 21;

// ---------------------------------------------------------------- ordinary expressions

/// Expressions as crontab and `croner` have them, and as the crate `cron` has them: seconds
/// first, weekdays by name (it counts them from 1).
const ORDINARY: &[(&str, &str)] = &[
    ("* * * * *", "0 * * * * *"),
    ("*/5 * * * *", "0 */5 * * * *"),
    ("17 * * * *", "0 17 * * * *"),
    ("30 2 * * *", "0 30 2 * * *"),
    ("0 */6 * * *", "0 0 */6 * * *"),
    ("0 9 * * mon-fri", "0 0 9 * * mon-fri"),
    ("0,30 8-18 * * mon-fri", "0 0,30 8-18 * * mon-fri"),
    ("0 0 * * sun", "0 0 0 * * sun"),
    ("0 0 1 * *", "0 0 0 1 * *"),
    ("15 10 1,15 * *", "0 15 10 1,15 * *"),
    ("0 0 31 * *", "0 0 0 31 * *"),
    ("0 12 1 1,7 *", "0 0 12 1 1,7 *"),
    ("0 0 1 1 *", "0 0 0 1 1 *"),
    ("* * * * * *", "* * * * * *"),
    ("*/10 * * * * *", "*/10 * * * * *"),
    (
        "0 0 12 * * mon-fri 2020-2090",
        "0 0 12 * * mon-fri 2020-2090",
    ),
];

const AGAINST_CRON: f64 = 1.5;
const AGAINST_CRONER: f64 = 1.0;

fn next_after_against_the_crates() {
    title("next_after, ordinary expressions");
    println!(
        "{:<30} {:<14} {:>9} {:>9} {:>15} {:>9} {:>15}",
        "", "", "ours", "cron", "at most 1.5x", "croner", "at most 1x"
    );
    for zone in ["UTC", "Europe/Berlin"] {
        let tz: Tz = zone.parse().unwrap();
        for (expression, of_cron) in ORDINARY {
            let ours = trigger(expression, zone);
            let cron = cron::Schedule::from_str(of_cron).unwrap();
            let croner = croner::Cron::from_str(expression).unwrap();
            if zone == "UTC" {
                // The same work: elsewhere they differ where clocks change.
                for start in starts() {
                    let next = ours.next_after(start);
                    assert_eq!(next, cron.after(&start).next(), "{expression}");
                    let theirs = croner.find_next_occurrence(&start, false);
                    assert_eq!(next, theirs.ok(), "{expression}");
                }
            }
            let [a, b, c] = turns([
                &|| per_call(&starts(), |start| ours.next_after(*start)),
                &|| per_call(&starts_in(tz), |start| cron.after(start).next()),
                &|| {
                    per_call(&starts_in(tz), |start| {
                        croner.find_next_occurrence(start, false).ok()
                    })
                },
            ]);
            println!(
                "{expression:<30} {zone:<14} {} {} {} {} {}",
                time(median(a.clone())),
                time(median(b.clone())),
                ratio(&a, &b, AGAINST_CRON),
                time(median(c.clone())),
                ratio(&a, &c, AGAINST_CRONER),
            );
        }
    }
}

/// What `cron` cannot say, or says otherwise, and what never fires.
const SPECIAL: &[&str] = &[
    "0 0 13 * fri",
    "0 0 L * *",
    "0 0 15W * *",
    "0 0 * * friL",
    "0 0 * * fri#2",
    "0 0 8-14 * +sun",
    "0 0 29 2 *",
    "0 0 29 2 mon",
    "0 0 29 2 +mon",
    "0 0 * 2 fri#5",
    "0 0 30 2 *",
];

fn next_after_of_other_expressions() {
    title("next_after, other expressions");
    println!(
        "{:<30} {:<14} {:>9} {:>9} {:>15}",
        "", "", "ours", "croner", "at most 1x"
    );
    for zone in ["UTC", "America/New_York"] {
        let tz: Tz = zone.parse().unwrap();
        for expression in SPECIAL {
            let ours = trigger(expression, zone);
            let croner = croner::Cron::from_str(expression).unwrap();
            let starts = &starts()[..8]; // croner takes milliseconds over some
            let starts_in = &starts_in(tz)[..8];
            let [a, b] = turns([
                &|| per_call(starts, |start| ours.next_after(*start)),
                &|| {
                    per_call(starts_in, |start| {
                        croner.find_next_occurrence(start, false).ok()
                    })
                },
            ]);
            println!(
                "{expression:<30} {zone:<14} {} {} {}",
                time(median(a.clone())),
                time(median(b.clone())),
                ratio(&a, &b, AGAINST_CRONER),
            );
        }
    }
}

/// Instants all over a year, at all times of the day.
fn starts() -> Vec<DateTime<Utc>> {
    let first: DateTime<Utc> = "2026-01-01T00:00:07Z".parse().unwrap();
    (0..256)
        .map(|index| first + TimeDelta::seconds(index * 122_213))
        .collect()
}

fn starts_in(tz: Tz) -> Vec<DateTime<Tz>> {
    let starts = starts().into_iter();
    starts.map(|start| start.with_timezone(&tz)).collect()
}

// ---------------------------------------------------------------- the slowest

/// The classes of slow expressions that a search through random ones found, with the zones that
/// make them slow.
const SLOW: &[(&str, &str)] = &[
    // Days that do not exist.
    ("0 0 30 2 *", "UTC"),
    ("0 0 31 2,4,6,9,11 *", "UTC"),
    ("0 0 15W * +sun", "UTC"),
    ("0 0 15W,31 2,4,6,9,11 +sat,sun", "UTC"),
    // Days that are years apart, at most 40 around 2100.
    ("0 0 29 2 *", "Europe/Berlin"),
    ("0 0 29 2 mon", "Europe/Berlin"),
    ("0 0 29 2 +mon", "Europe/Berlin"),
    ("0 0 29W 2 *", "UTC"),
    ("0 0 L-28 2 +sun", "UTC"),
    ("0 0 * 2 fri#5", "Asia/Tokyo"),
    ("0 0 31 12 +sun", "UTC"),
    // Years far away, and years that leave out the leap ones.
    ("0 0 0 1 1 * 2099", "UTC"),
    ("0 0 0 29 2 * 2096", "America/New_York"),
    ("0 0 0 29 2 * 1971-2100/4", "UTC"),
    ("0 0 0 29 2 +mon 1970-2043,2045-2100", "UTC"),
    ("0 0 0 29 2 +mon 1970-2100/2", "UTC"),
    ("0 0 0 L 2 +tue 1970-2100/7", "UTC"),
    // Times that the clock skips every year: each year's change is looked at.
    ("*/5 2 8-14 3 +sun", "America/New_York"),
    ("*/5 2 * 3 sunL", "Europe/Berlin"),
    ("*/5 1 * 3 sunL", "Europe/London"),
    ("*/5 2 * 10 sun#1", "Australia/Sydney"),
    ("*/5 0 * 3 sun#2", "America/Havana"),
    ("*/5 0 2-8 9 +sun", "America/Santiago"),
    ("*/29 2 * 10 sun#1", "Australia/Lord_Howe"),
];

const AT_MOST: Duration = Duration::from_micros(50);

fn slow_expressions() {
    title("the slowest expressions: at most 50 us from any instant, in either direction");
    println!(
        "{:<34} {:<18} {:>12} {:>12} {:>12}",
        "", "", "first call", "next_after", "latest_in"
    );
    let instants: Vec<DateTime<Utc>> = (0..132)
        .map(|years| DateTime::from_timestamp(years * 31_557_600 - 86_400, 0).unwrap())
        .collect();
    let now = starts()[0];
    for (expression, zone) in SLOW {
        trigger("* * * * *", zone).next_after(now); // lays out the zone
        let first: Vec<Duration> = (0..TURNS)
            .map(|_| {
                forget_unused_rules();
                let trigger = trigger(expression, zone);
                once(|| trigger.next_after(now))
            })
            .collect();
        let trigger = trigger(expression, zone);
        // The slowest instant, each by the median of its turns.
        let slowest = |call: &dyn Fn(DateTime<Utc>) -> Option<DateTime<Utc>>| {
            let of_instant = |instant: &DateTime<Utc>| {
                median((0..TURNS).map(|_| once(|| call(*instant))).collect())
            };
            instants.iter().map(of_instant).max().unwrap()
        };
        println!(
            "{expression:<34} {zone:<18} {} {} {}",
            limited(median(first), AT_MOST),
            limited(slowest(&|instant| trigger.next_after(instant)), AT_MOST),
            limited(
                slowest(&|instant| trigger.latest_in(DateTime::<Utc>::MIN_UTC, instant)),
                AT_MOST
            ),
        );
    }
}

/// Equal rules share their days, and a few stay though nothing uses them: parse so many others
/// that they go.
fn forget_unused_rules() {
    for index in 0..600 {
        let (day, month, weekday) = (index % 28 + 1, index / 28 % 12 + 1, index / 336 % 7);
        black_box(trigger(&format!("0 0 {day} {month} {weekday}"), "UTC"));
    }
}

const RANDOM: usize = 200_000;

fn random_expressions() {
    title("random expressions in all zones, from any instant, first calls: at most 50 us");
    let zones: Vec<Zone> = Zone::all().collect();
    for zone in &zones {
        zone.to_wall(DateTime::UNIX_EPOCH); // lays it out
    }
    let mut random = fastrand::Rng::with_seed(3);
    let mut slowest = (Duration::ZERO, String::new());
    let mut sum = Duration::ZERO;
    for _ in 0..RANDOM {
        let zone = zones[random.usize(..zones.len())];
        let expression = random_expression(&mut random);
        let instant = DateTime::from_timestamp(random.i64(0..4_133_980_800), 0).unwrap();
        for forwards in [true, false] {
            let first_call = || {
                let trigger = Trigger::parse(&expression, zone).unwrap();
                once(|| match forwards {
                    true => trigger.next_after(instant),
                    false => trigger.latest_in(DateTime::<Utc>::MIN_UTC, instant),
                })
            };
            let mut time = first_call();
            sum += time;
            // Not the machine's own pauses: the least of a few.
            for _ in 0..5 {
                if time > slowest.0 {
                    forget_unused_rules();
                    time = time.min(first_call());
                }
            }
            if time > slowest.0 {
                slowest = (time, format!("{expression} in {zone} at {instant}"));
            }
        }
    }
    let mean = format!("the mean of {RANDOM} expressions, both ways");
    println!("{mean:<66} {}", limited(sum / (2 * RANDOM as u32), AT_MOST));
    println!("{:<66} {}", "the slowest", limited(slowest.0, AT_MOST));
    println!("    {}", slowest.1);
}

/// A legal expression of five or seven fields, rather a rare one.
fn random_expression(random: &mut fastrand::Rng) -> String {
    let mut pick = |among: &[&str]| among[random.usize(..among.len())].to_owned();
    let minute = pick(&["*", "*/5", "0", "30", "7-9"]);
    let hour = pick(&["*", "0", "1", "2", "2", "3", "23", "*/2"]);
    let plus = pick(&["", "+", "+"]);
    let all_months = pick(&["", "", "*"]);
    let mut list = |most: usize, part: &dyn Fn(&mut fastrand::Rng) -> String| {
        let mut list = part(random);
        for _ in 1..random.usize(1..=most) {
            write!(list, ",{}", part(random)).unwrap();
        }
        list
    };
    let days = list(3, &|random| match random.u32(..8) {
        0 => "L".to_owned(),
        1 => format!("L-{}", random.u32(..31)),
        2 => "LW".to_owned(),
        3 => format!("{}W", random.u32(1..32)),
        4 => {
            let first = random.u32(1..32);
            format!("{first}-{}", random.u32(first..32))
        }
        5 => random.u32(28..32).to_string(),
        _ => random.u32(1..32).to_string(),
    });
    let months = if all_months.is_empty() {
        list(3, &|random| random.u32(1..13).to_string())
    } else {
        all_months
    };
    let weekdays = list(3, &|random| match random.u32(..4) {
        0 => format!("{}#{}", random.u32(..8), random.u32(1..6)),
        1 => format!("{}L", random.u32(..8)),
        _ => random.u32(..8).to_string(),
    });
    let five = format!("{minute} {hour} {days} {months} {plus}{weekdays}");
    if random.bool() {
        return five;
    }
    let year = random.u32(1970..2101);
    match random.u32(..3) {
        0 => format!("0 {five} {year}"),
        1 => format!("0 {five} {year}-2100/{}", random.u32(1..30)),
        _ => format!("0 {five} *"),
    }
}

// ---------------------------------------------------------------- parsing

fn parsing() {
    title("parsing: at most 3 us");
    let limit = Duration::from_micros(3);
    let parse = |text: &str| Trigger::parse(text, Zone::UTC).unwrap();
    let texts: Vec<&str> = ORDINARY.iter().map(|(text, _)| *text).collect();
    let of_cron: Vec<&str> = ORDINARY.iter().map(|(_, text)| *text).collect();
    let [ours, cron, croner] = turns([
        &|| per_call(&texts, |text| parse(text)),
        &|| per_call(&of_cron, |text| cron::Schedule::from_str(text).unwrap()),
        &|| per_call(&texts, |text| croner::Cron::from_str(text).unwrap()),
    ]);
    println!(
        "{:<60} {}",
        "the mean of the ordinary ones",
        limited(median(ours), limit)
    );
    println!(
        "    for orientation: cron {}, croner {}",
        time(median(cron)),
        time(median(croner))
    );
    for text in [
        "* * * * *",
        "@daily",
        "0,5,10,15,20,25,30,35,40,45,50,55 8,9,10,11,12,13,14,15,16,17,18 1-7,15-21 jan-nov/2 mon-fri",
        "0 0 L,L-3,LW,15W * fri#2,5L",
        "0 0 0 1 1 * 1970-2100",
        "CRON_TZ=America/Argentina/Buenos_Aires 0 4 * * *",
    ] {
        let [warm] = turns([&|| per_call(&[text; 256], |text| parse(text))]);
        let shown: String = text.chars().take(58).collect();
        println!("{shown:<60} {}", limited(median(warm), limit));
    }
    // Days that no trigger has asked for yet: the first load of a file of unlike jobs.
    let mut random = fastrand::Rng::with_seed(7);
    let unlike: Vec<String> = (0..TURNS * 1_000)
        .map(|_| random_expression(&mut random))
        .collect();
    let cold: Vec<Duration> = unlike
        .chunks(1_000)
        .map(|texts| per_call(texts, |text| parse(text)))
        .collect();
    println!(
        "{:<60} {}",
        "random ones, each with days that are new",
        limited(median(cold), limit)
    );
}

// ---------------------------------------------------------------- whole commands

/// What a person waits for who asks: the process from its start to its end.
fn processes() {
    title("commands, from start to end");
    let dir = tempfile::tempdir().unwrap();
    let few = dir.path().join("few.json");
    std::fs::write(&few, jobs(20)).unwrap();
    let many = dir.path().join("many.json");
    std::fs::write(&many, jobs(1_000)).unwrap();
    let (few, many) = (few.to_str().unwrap(), many.to_str().unwrap());
    let day = ["--from=2027-03-01", "--to=+1d", "--timezone=Europe/Berlin"];
    let year = [
        "--from=2027-01-01",
        "--to=2028-01-01",
        "--timezone=Europe/Berlin",
    ];
    let quick = Duration::from_millis(20);
    let night = "30 2 * * *";
    let zone = "--timezone=Europe/Berlin";
    for (what, line, limit, runs) in [
        (
            "next of an expression",
            vec!["next", night, zone],
            quick,
            TURNS,
        ),
        ("next of a file of 20 jobs", vec!["next", few], quick, TURNS),
        (
            "explain an expression",
            vec!["explain", night, zone],
            quick,
            TURNS,
        ),
        (
            "plan of a day, 20 jobs",
            [&["plan", few][..], &day].concat(),
            quick,
            TURNS,
        ),
        (
            "plan of a year, 1 000 jobs",
            [&["plan", many][..], &year].concat(),
            Duration::from_secs(2),
            5,
        ),
    ] {
        let run = || {
            once(|| {
                let ended = Command::new(env!("CARGO_BIN_EXE_quarterjack"))
                    .args(&line)
                    .output()
                    .unwrap();
                assert!(ended.status.success(), "{what}: {ended:?}");
            })
        };
        let took = median((0..runs).map(|_| run()).collect());
        println!(
            "{what:<58} {:>9.1} ms {:>18}{}",
            took.as_secs_f64() * 1e3,
            format!("at most {} ms", limit.as_millis()),
            if took > limit { "  OVER" } else { "" },
        );
    }
}

/// A job file as there are some: most jobs run once a day or less, some every hour, and one in
/// ten every five minutes.
fn jobs(count: usize) -> String {
    let zones = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo"];
    let jobs: Vec<String> = (0..count)
        .map(|n| {
            let (minute, hour, day) = (n * 7 % 60, n * 5 % 24, n % 28 + 1);
            let cron = match n % 10 {
                0 => "*/5 * * * *".to_owned(),
                1..=3 => format!("{minute} * * * *"),
                4..=7 => format!("{minute} {hour} * * *"),
                8 => format!("{minute} {hour} * * {}", n % 7),
                _ => format!("{minute} {hour} {day} * *"),
            };
            let zone = zones[n % zones.len()];
            format!(
                r#"{{"id": "job-{n}", "component": "a.wasm", "trigger": {{"cron": "{cron}", "timezone": "{zone}"}}}}"#
            )
        })
        .collect();
    format!("[{}]", jobs.join(",\n"))
}

// ---------------------------------------------------------------- measuring

fn trigger(expression: &str, zone: &str) -> Trigger {
    Trigger::parse(expression, Zone::parse(zone).unwrap()).unwrap()
}

/// The mean time of a call.
fn per_call<T, R>(inputs: &[T], call: impl Fn(&T) -> R) -> Duration {
    let started = Instant::now();
    for input in inputs {
        black_box(call(black_box(input)));
    }
    started.elapsed() / inputs.len() as u32
}

fn once<R>(call: impl FnOnce() -> R) -> Duration {
    let started = Instant::now();
    black_box(call());
    started.elapsed()
}

/// Measures a few things in turn, once each to warm up.
fn turns<const N: usize>(measured: [&dyn Fn() -> Duration; N]) -> [Vec<Duration>; N] {
    let mut times = [const { Vec::new() }; N];
    for turn in 0..=TURNS {
        for (times, measure) in times.iter_mut().zip(measured) {
            let time = measure();
            if turn > 0 {
                times.push(time);
            }
        }
    }
    times
}

fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[values.len() / 2]
}

fn title(text: &str) {
    println!("\n{text}");
}

fn time(time: Duration) -> String {
    format!("{:>6.2} us", time.as_secs_f64() * 1e6)
}

/// A time, marked if it is over its limit.
fn limited(value: Duration, limit: Duration) -> String {
    let mark = if value > limit { " OVER" } else { "" };
    format!("{:>12}", time(value) + mark)
}

/// The median of the turns' ratios, marked if it is over the aim.
fn ratio(ours: &[Duration], other: &[Duration], aim: f64) -> String {
    let ratios = ours.iter().zip(other);
    let ratio = median(
        ratios
            .map(|(a, b)| a.as_secs_f64() / b.as_secs_f64())
            .collect(),
    );
    let mark = if ratio > aim { " OVER" } else { "" };
    format!("{:>15}", format!("{ratio:.2}x{mark}"))
}
