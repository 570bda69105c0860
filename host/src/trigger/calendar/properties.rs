//! Properties, against a calendar that is read day by day and knows nothing of bit sets.

use chrono::{Datelike, TimeDelta, Weekday};
use proptest::prelude::*;

use super::*;

const FIRST: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
const LAST: NaiveDate = NaiveDate::from_ymd_opt(2100, 12, 31).unwrap();

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const NTH: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

/// A day of a month, by what it means.
#[derive(Debug, Clone, Copy)]
enum DayOf {
    Number(u32),
    BeforeLast(u32),
    Nth(usize, usize),
    LastWeekday(usize),
    Workday(u32),
    LastWorkday,
}

/// A day of a period.
#[derive(Debug, Clone, Copy)]
enum On {
    Weekday(usize),
    Weekdays(usize, usize),
    Month(DayOf),
    Year(u32, DayOf),
}

#[derive(Debug, Clone)]
struct Case {
    unit: &'static str,
    count: i64,
    on: Vec<On>,
    /// Seconds of the day.
    at: Vec<i64>,
    anchor: Option<NaiveDate>,
}

fn day_of() -> impl Strategy<Value = DayOf> {
    prop_oneof![
        3 => (1_u32..=31).prop_map(DayOf::Number),
        1 => (28_u32..=31).prop_map(DayOf::Number),
        2 => (0_u32..=30).prop_map(DayOf::BeforeLast),
        2 => (0_usize..5, 0_usize..7).prop_map(|(nth, day)| DayOf::Nth(nth, day)),
        2 => (0_usize..7).prop_map(DayOf::LastWeekday),
        2 => (1_u32..=23).prop_map(DayOf::Workday),
        1 => Just(DayOf::LastWorkday),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let days = |on: BoxedStrategy<On>| prop::collection::vec(on, 0..4);
    let weekday = prop_oneof![
        (0_usize..7).prop_map(On::Weekday),
        (0_usize..7, 0_usize..7).prop_map(|(a, b)| On::Weekdays(a.min(b), a.max(b))),
    ];
    let count = |most: i64| prop_oneof![3 => 1..=4_i64, 2 => 1..=14_i64, 1 => 1..=most];
    let rule = prop_oneof![
        (Just("day"), count(1000), Just(Vec::new())),
        (Just("week"), count(1000), days(weekday.boxed())),
        (
            Just("month"),
            count(1000),
            days(day_of().prop_map(On::Month).boxed())
        ),
        (
            Just("year"),
            count(131),
            days(
                (1_u32..=12, day_of())
                    .prop_map(|(month, day)| On::Year(month, day))
                    .boxed()
            )
        ),
    ];
    let anchor = prop_oneof![
        2 => Just(None),
        4 => (-3_000_i64..48_500).prop_map(|day| FIRST.checked_add_signed(TimeDelta::days(day))),
    ];
    let at = prop::collection::vec(
        prop_oneof![0_i64..86_400, (0_i64..1440).prop_map(|m| m * 60)],
        1..4,
    );
    (rule, at, anchor).prop_map(|((unit, count, on), at, anchor)| Case {
        unit,
        count,
        on,
        at,
        anchor,
    })
}

fn is_workday(date: NaiveDate) -> bool {
    !matches!(date.weekday(), Weekday::Sat | Weekday::Sun)
}

/// The days after `date` in its month.
fn rest_of_month(date: NaiveDate) -> impl Iterator<Item = NaiveDate> {
    date.iter_days()
        .skip(1)
        .take_while(move |other| other.month() == date.month())
}

impl DayOf {
    fn text(self) -> String {
        match self {
            DayOf::Number(day) => day.to_string(),
            DayOf::BeforeLast(0) => "last".to_owned(),
            DayOf::BeforeLast(days) => format!("{days} before last"),
            DayOf::Nth(nth, day) => format!("{} {}", NTH[nth], DAYS[day]),
            DayOf::LastWeekday(day) => format!("Last  {}", DAYS[day].to_uppercase()),
            DayOf::Workday(n) if n <= 5 => format!("{} workday", NTH[n as usize - 1]),
            DayOf::Workday(n) => format!("{} workday", crate::trigger::civil::numbered(n)),
            DayOf::LastWorkday => "last workday".to_owned(),
        }
    }

    fn matches(self, date: NaiveDate) -> bool {
        let is = |day: usize| date.weekday().num_days_from_monday() as usize == day;
        match self {
            DayOf::Number(day) => date.day() == day,
            DayOf::BeforeLast(days) => rest_of_month(date).count() == days as usize,
            DayOf::Nth(nth, day) => is(day) && date.day0() as usize / 7 == nth,
            DayOf::LastWeekday(day) => {
                is(day) && (date + TimeDelta::days(7)).month() != date.month()
            }
            DayOf::Workday(n) => {
                let before = (1..=date.day())
                    .filter(|day| date.with_day(*day).is_some_and(is_workday))
                    .count();
                is_workday(date) && before == n as usize
            }
            DayOf::LastWorkday => is_workday(date) && !rest_of_month(date).any(is_workday),
        }
    }
}

impl On {
    fn text(self) -> String {
        match self {
            On::Weekday(day) => DAYS[day].to_owned(),
            On::Weekdays(from, to) => format!("{}-{}", DAYS[from], DAYS[to]),
            On::Month(day) => day.text(),
            On::Year(month, DayOf::Number(day)) if day % 2 == 0 => format!("{month:02}-{day}"),
            On::Year(month, day) => {
                format!("{} of {}", day.text(), MONTHS[month as usize - 1])
            }
        }
    }

    fn matches(self, date: NaiveDate) -> bool {
        let weekday = date.weekday().num_days_from_monday() as usize;
        match self {
            On::Weekday(day) => weekday == day,
            On::Weekdays(from, to) => (from..=to).contains(&weekday),
            On::Month(day) => day.matches(date),
            On::Year(month, day) => date.month() == month && day.matches(date),
        }
    }
}

impl Case {
    fn trigger(&self) -> Schedule {
        let every = match self.count {
            1 => self.unit.to_owned(),
            count => format!("{count} {}s", self.unit),
        };
        let on: Vec<String> = self.on.iter().map(|on| on.text()).collect();
        let on: Vec<&str> = on.iter().map(String::as_str).collect();
        let at: Vec<String> = self
            .at
            .iter()
            .map(|at| format!("{}:{:02}:{:02}", at / 3600, at / 60 % 60, at % 60))
            .collect();
        let at: Vec<&str> = at.iter().map(String::as_str).collect();
        Schedule::new(&every, &on, &at, self.anchor).unwrap()
    }

    fn matches(&self, date: NaiveDate) -> bool {
        let anchor = self.anchor.unwrap_or(FIRST);
        if self.anchor.is_some_and(|anchor| date < anchor) {
            return false;
        }
        let monday =
            |date: NaiveDate| date - TimeDelta::days(date.weekday().num_days_from_monday().into());
        let years = i64::from(date.year() - anchor.year());
        let periods = match self.unit {
            "day" => (date - anchor).num_days(),
            "week" => (monday(date) - monday(anchor)).num_days() / 7,
            "month" => years * 12 + i64::from(date.month()) - i64::from(anchor.month()),
            _ => years,
        };
        if periods % self.count != 0 {
            return false;
        }
        if !self.on.is_empty() {
            return self.on.iter().any(|on| on.matches(date));
        }
        match (self.unit, self.anchor) {
            ("day", _) => true,
            ("week", None) => date.weekday() == Weekday::Mon,
            ("week", Some(anchor)) => date.weekday() == anchor.weekday(),
            ("month", _) => date.day() == anchor.day(),
            _ => (date.month(), date.day()) == (anchor.month(), anchor.day()),
        }
    }

    /// Every time of every matching day, in order.
    fn walls(&self) -> Vec<i64> {
        let mut times = self.at.clone();
        times.sort_unstable();
        times.dedup();
        FIRST
            .iter_days()
            .take_while(|date| *date <= LAST)
            .filter(|date| self.matches(*date))
            .flat_map(|date| {
                let midnight = i64::from(date.to_epoch_days()) * DAY;
                times.iter().map(move |time| midnight + time)
            })
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// From anywhere, forwards and backwards, the times are those that reading the calendar finds.
    #[test]
    fn times_agree_with_reading_the_calendar(
        case in case(),
        walls in prop::collection::vec(-90_000_000_i64..4_140_000_000, 40),
    ) {
        let trigger = case.trigger();
        let expected = case.walls();
        prop_assert_eq!(trigger.never_fires().is_some(), expected.is_empty());

        // All of them in one go, both ways: strictly monotonic, none left out, none too many.
        let mut next = i64::MIN;
        for wall in &expected {
            prop_assert_eq!(trigger.next_wall(next), Some(*wall));
            next = wall + 1;
        }
        prop_assert_eq!(trigger.next_wall(next), None);
        let mut latest = i64::MAX;
        for wall in expected.iter().rev() {
            prop_assert_eq!(trigger.latest_wall(latest), Some(*wall));
            latest = wall - 1;
        }
        prop_assert_eq!(trigger.latest_wall(latest), None);

        // And from anywhere, however one came there.
        let near = expected.iter().step_by(expected.len() / 20 + 1);
        for wall in near.flat_map(|wall| [wall - 1, *wall, wall + 1]).chain(walls) {
            let index = expected.partition_point(|other| *other < wall);
            prop_assert_eq!(trigger.next_wall(wall), expected.get(index).copied());
            let index = expected.partition_point(|other| *other <= wall);
            let latest = index.checked_sub(1).map(|index| expected[index]);
            prop_assert_eq!(trigger.latest_wall(wall), latest);
        }
    }

    /// What is shown reads back to the same schedule.
    #[test]
    fn the_canonical_text_reads_back(case in case()) {
        let trigger = case.trigger();
        let text = trigger.to_string();
        let (every, at) = text.strip_prefix("every ").unwrap().split_once(" at ").unwrap();
        let (every, on) = match every.split_once(" on ") {
            Some((every, on)) => (every, vec![on]),
            None => (every, Vec::new()),
        };
        let again = Schedule::new(every, &on, &[at], case.anchor);
        prop_assert_eq!(again.as_ref(), Ok(&trigger), "{}", text);
        prop_assert_eq!(again.unwrap().to_string(), text);
        prop_assert!(trigger.describe().starts_with("At "));
    }

    /// Whatever is written, the answer is a schedule or an error that points into the text.
    #[test]
    fn any_text_is_read_or_refused(
        every in "\\PC{0,20}",
        unit in prop::sample::select(vec!["day", "week", "month", "2 years"]),
        texts in prop::collection::vec(
            "([0-9]{1,3}|[a-zäé]{1,6}|last|first|mon|Feb|of|before|workday|[-–,:/#.L ]|[ap]m){0,6}",
            1..4,
        ),
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for result in [
            Schedule::new(&every, &texts, &["9:00"], None),
            Schedule::new(unit, &texts, &["9:00"], None),
            Schedule::new(unit, &[], &texts, None),
        ] {
            let Err(CalendarError { part, error }) = result else { continue };
            let text = match part {
                Part::Every => &every,
                Part::On(index) | Part::At(index) => texts[index],
            };
            prop_assert!(text.get(error.span.clone()).is_some(), "{:?}: {:?}", text, error);
            prop_assert!(!error.message.is_empty() && !error.label.is_empty());
        }
    }
}
