//! What every trigger keeps, whatever it is made of.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use proptest::prelude::*;

use super::*;

fn zone() -> impl Strategy<Value = Zone> {
    prop_oneof![
        Just("UTC"),
        Just("Europe/Berlin"),
        Just("America/New_York"),
        Just("Australia/Lord_Howe"),
        Just("Africa/Casablanca"),
        Just("Pacific/Apia"),
    ]
    .prop_map(|name| Zone::parse(name).unwrap())
}

fn dst() -> impl Strategy<Value = Dst> {
    prop_oneof![Just(Dst::RunAfter), Just(Dst::Skip)]
}

fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    // 1970 to 2099.
    (0_i64..4_100_000_000).prop_map(|second| DateTime::from_timestamp(second, 0).unwrap())
}

/// A trigger that is not made of others.
fn simple() -> impl Strategy<Value = Trigger> {
    let cron = (
        prop_oneof![
            Just("*/20 * * * *"),
            Just("30 2 * * *"),
            Just("0 9 * * mon-fri"),
            Just("15 1,2,3 L * *"),
            Just("H H(1-3) * * *"),
            Just("0 0 1-7 * */7"),
            Just("0 12 15W 2,8 *"),
            Just("*/30 30 2 * * sun"),
        ],
        zone(),
        dst(),
    )
        .prop_map(|(text, zone, dst)| {
            let job = Some("a job");
            Trigger::parse(text, Reading { zone, dst, job }).unwrap()
        });
    let interval = (1_u64..2_000_000, instant()).prop_map(|(seconds, start)| {
        let period = Duration::from_secs(seconds);
        Trigger::Interval(IntervalTrigger::from(period, start).unwrap())
    });
    let calendar = (
        prop_oneof![
            Just(("2 weeks", "mon, thu")),
            Just(("3 days", "")),
            Just(("month", "last workday")),
            Just(("year", "last fri of november")),
        ],
        prop_oneof![Just("02:30"), Just("09:00, 17:30")],
        prop::option::of(0_i32..40_000),
        zone(),
        dst(),
    )
        .prop_map(|((every, on), at, start, zone, dst)| {
            let on: &[&str] = if on.is_empty() { &[] } else { &[on] };
            let start = start.and_then(NaiveDate::from_epoch_days);
            let calendar = CalendarTrigger::new(every, on, &[at], start, zone, dst);
            Trigger::Calendar(calendar.unwrap())
        });
    let at = instant().prop_map(|instant| {
        Trigger::At(AtTrigger::new(Moment {
            instant,
            local: None,
        }))
    });
    prop_oneof![4 => cron, 2 => interval, 2 => calendar, 1 => at]
}

fn not_on() -> impl Strategy<Value = NotOn> {
    let days = prop::collection::vec(
        prop_oneof![
            Just("sat-sun"),
            Just("12-24/01-02"),
            Just("mon"),
            Just("05-01")
        ],
        1..3,
    );
    let instead = prop_oneof![Just(Instead::Skip), Just(Instead::NextBusinessDay)];
    (days, instead).prop_map(|(names, instead)| {
        let mut days = Days::none();
        for name in &names {
            days.add(&Days::parse_day(name).unwrap());
        }
        NotOn::new(
            days,
            names.iter().map(ToString::to_string).collect(),
            instead,
        )
    })
}

fn bounded(inner: impl Strategy<Value = Trigger>) -> impl Strategy<Value = Trigger> {
    (
        inner,
        prop::option::of(instant()),
        prop::option::of(1_i64..3_000),
        prop::option::of(1_u32..50),
        prop::option::of(not_on()),
        prop::option::of(1_u64..10_000),
        zone(),
    )
        .prop_map(|(inner, start, days, max_runs, not_on, jitter, zone)| {
            let bounds = Bounds {
                start,
                end: start
                    .zip(days)
                    .map(|(start, days)| start + TimeDelta::days(days)),
                max_runs,
                not_on,
                jitter: jitter.map(Duration::from_secs),
                zone: Some(zone),
            };
            inner.within(bounds, "a job").unwrap()
        })
}

fn trigger() -> impl Strategy<Value = Trigger> {
    let parts = || prop::collection::vec(prop_oneof![simple(), bounded(simple()).boxed()], 1..4);
    let any = parts().prop_map(|parts| Trigger::any(parts).unwrap());
    let all = parts().prop_map(|parts| Trigger::all(parts).unwrap());
    prop_oneof![
        2 => simple(),
        3 => bounded(simple()),
        2 => any,
        1 => all,
        2 => bounded(parts().prop_map(|parts| Trigger::any(parts).unwrap())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn answers_increase_and_do_not_depend_on_how_one_came_there(trigger in trigger(), after in instant(), part in 0.0_f64..1.0) {
        prop_assert_eq!(&trigger, &trigger.clone());
        let moment = TimeDelta::nanoseconds(1);
        let mut after = after;
        for _ in 0..8 {
            let Some(next) = trigger.next_after(after) else {
                prop_assert_eq!(trigger.latest_in(after, after + TimeDelta::days(400)), None);
                break;
            };
            prop_assert!(next > after);
            let between = after + TimeDelta::milliseconds(
                ((next - after).num_milliseconds() as f64 * part) as i64,
            );
            if between < next {
                prop_assert_eq!(trigger.next_after(between), Some(next));
            }
            prop_assert_eq!(trigger.next_after(next - moment), Some(next));
            prop_assert_eq!(trigger.latest_in(after, next), Some(next));
            prop_assert_eq!(trigger.latest_in(after, next - moment), None);
            let due = trigger.due(next);
            prop_assert!(due >= next);
            if let Some(following) = trigger.next_after(next) {
                prop_assert!(due < following);
            }
            after = next;
        }
    }
}
