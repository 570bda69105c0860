//! A trigger within bounds: from when and until when, on which days, how many runs, and how
//! exactly.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use super::at::show;
use super::combined::holds_all;
use super::exclusion::{Inner, Instead, MovedTimes, NotOn};
use super::spread::spread;
use super::{Trigger, TriggerError, Zone, wall};
use crate::units::format_duration_exact;

/// The most runs that may be counted: the last one is found by counting.
const MOST_RUNS: u32 = 10_000;

/// The same where each instant is the result of a search.
const MOST_RUNS_OF_ALL: u32 = 1_000;

/// What holds a trigger back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// No instant before this one.
    pub start: Option<DateTime<Utc>>,
    /// No instant after this one.
    pub end: Option<DateTime<Utc>>,
    /// So many instants, from `start` on; without a start, from when the job comes into service.
    pub max_runs: Option<u32>,
    /// No instant on these days, or another one instead.
    pub not_on: Option<NotOn>,
    /// Each run is due up to so much after its instant: how much is decided by the job's id and
    /// the instant, so that it is the same after every reload and restart.
    pub jitter: Option<Duration>,
    /// The zone that the bounds are shown in, and whose days `not_on` means where the trigger
    /// follows no wall clock.
    pub zone: Option<Zone>,
}

/// A trigger as an exclusion calendar sees it.
struct InZone<'t> {
    trigger: &'t Trigger,
    zone: Zone,
}

impl Inner for InZone<'_> {
    fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.trigger.next_after(after)
    }

    fn latest_in(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.trigger.latest_in(after, until)
    }

    fn zone(&self) -> Zone {
        self.zone
    }
}

/// A trigger and its bounds.
#[derive(Debug, Clone)]
pub struct Bounded {
    inner: Trigger,
    bounds: Bounds,
    /// The id of the job, by which jitter is spread.
    job: Arc<str>,
    /// The last instant that `max_runs` allows, once somebody has asked for it.
    last: OnceLock<Option<DateTime<Utc>>>,
}

impl Trigger {
    /// The trigger within bounds, for the job with the id `job`.
    ///
    /// # Errors
    /// It has no instants that could be bound, or the bounds contradict each other.
    pub fn within(self, bounds: Bounds, job: &str) -> Result<Trigger, TriggerError> {
        if bounds == Bounds::default() {
            return Ok(self);
        }
        let refuse = |message: String, label: &str| TriggerError {
            message,
            label: label.to_owned(),
            hint: None,
            span: 0..0,
        };
        if !self.has_instants() {
            return Err(refuse(
                format!("`{self}` has no instants that could be bound"),
                "start, end, max_runs, not_on and jitter go with triggers of time",
            ));
        }
        if let (Some(start), Some(end)) = (bounds.start, bounds.end)
            && end < start
        {
            return Err(refuse(
                "`end` is before `start`".to_owned(),
                "exchange the two",
            ));
        }
        let most = if holds_all(&self) {
            MOST_RUNS_OF_ALL
        } else {
            MOST_RUNS
        };
        if let Some(runs) = bounds.max_runs
            && !(1..=most).contains(&runs)
        {
            return Err(refuse(
                format!("`max_runs` {runs} is out of range"),
                &format!("1 to {most} runs; use `end` for more"),
            ));
        }
        Ok(Trigger::Bounded(Box::new(Bounded {
            inner: self,
            bounds,
            job: job.into(),
            last: OnceLock::new(),
        })))
    }
}

impl Bounded {
    /// The trigger that is bounded.
    pub fn inner(&self) -> &Trigger {
        &self.inner
    }

    /// Its bounds.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The zone that its instants are shown in.
    pub fn zone(&self) -> Option<Zone> {
        self.inner.zone().or(self.bounds.zone)
    }

    /// The first instant strictly after `after`.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.next_unbounded(self.not_before(after))
            .filter(|next| self.last().is_none_or(|last| *next <= last))
    }

    /// The latest instant after `after` and not after `until`.
    pub fn latest_in(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let until = self.last().map_or(until, |last| last.min(until));
        let after = self.not_before(after);
        match &self.bounds.not_on {
            Some(not_on) => self.latest_off(&self.inner, not_on, after, until),
            None => self.inner.latest_in(after, until),
        }
    }

    /// The first instant after `after` on a day that is not excluded, whatever the other bounds.
    fn next_unbounded(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.bounds.not_on {
            Some(not_on) => self.next_off(&self.inner, not_on, after),
            None => self.inner.next_after(after),
        }
    }

    /// The first instant of a trigger that is left or moved by a calendar.
    fn next_off(
        &self,
        trigger: &Trigger,
        not_on: &NotOn,
        after: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        match trigger {
            Trigger::Cron(cron) if moves(not_on) && cron.is_fixed_time() => {
                let times = MovedTimes::new(cron, not_on, cron.zone());
                wall::next_after(&times, cron.zone(), cron.pace(), after)
            }
            Trigger::Calendar(calendar) if moves(not_on) => {
                let times = MovedTimes::new(calendar.times(), not_on, calendar.zone());
                wall::next_after(&times, calendar.zone(), calendar.pace(), after)
            }
            // Each part by itself, where they have one idea of what day it is.
            Trigger::Any(any) if trigger.zone() == self.zone() => {
                let parts = any.parts().iter();
                parts
                    .filter_map(|part| self.next_off(part, not_on, after))
                    .min()
            }
            _ => not_on.next_after(&self.in_zone(trigger), after),
        }
    }

    /// The latest one, after `after` and not after `until`.
    fn latest_off(
        &self,
        trigger: &Trigger,
        not_on: &NotOn,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        match trigger {
            Trigger::Cron(cron) if moves(not_on) && cron.is_fixed_time() => {
                let times = MovedTimes::new(cron, not_on, cron.zone());
                wall::latest_in(&times, cron.zone(), cron.pace(), after, until)
            }
            Trigger::Calendar(calendar) if moves(not_on) => {
                let times = MovedTimes::new(calendar.times(), not_on, calendar.zone());
                wall::latest_in(&times, calendar.zone(), calendar.pace(), after, until)
            }
            Trigger::Any(any) if trigger.zone() == self.zone() => {
                let parts = any.parts().iter();
                parts
                    .filter_map(|part| self.latest_off(part, not_on, after, until))
                    .max()
            }
            _ => not_on.latest_in(&self.in_zone(trigger), after, until),
        }
    }

    fn in_zone<'t>(&self, trigger: &'t Trigger) -> InZone<'t> {
        InZone {
            trigger,
            zone: self.zone().unwrap_or(Zone::UTC),
        }
    }

    /// `after`, or the instant before the start where that is later.
    fn not_before(&self, after: DateTime<Utc>) -> DateTime<Utc> {
        match self.bounds.start {
            Some(start) => after.max(start - TimeDelta::nanoseconds(1)),
            None => after,
        }
    }

    /// The last instant that the bounds allow; None: there is no last one.
    pub(super) fn last(&self) -> Option<DateTime<Utc>> {
        let (Some(runs), Some(_)) = (self.bounds.max_runs, self.bounds.start) else {
            return self.bounds.end;
        };
        let counted = *self.last.get_or_init(|| {
            let mut last = None;
            let mut after = self.not_before(DateTime::<Utc>::MIN_UTC);
            for _ in 0..runs {
                match self.next_unbounded(after) {
                    Some(next) => {
                        after = next;
                        last = Some(next);
                    }
                    // There are not so many.
                    None => break,
                }
            }
            last
        });
        // Both bounds hold; one that is never reached does not matter.
        [counted, self.bounds.end].into_iter().flatten().min()
    }

    /// When the run for an instant is due.
    pub fn due(&self, scheduled: DateTime<Utc>) -> DateTime<Utc> {
        let Some(jitter) = self.bounds.jitter else {
            return scheduled;
        };
        // In whole milliseconds, as all of time that people see.
        let mut room = i64::try_from(jitter.as_millis()).unwrap_or(i64::MAX);
        if let Some(next) = self.next_after(scheduled) {
            room = room.min((next - scheduled).num_milliseconds() - 1);
        }
        let Ok(room) = u64::try_from(room) else {
            return scheduled;
        };
        let salt = scheduled.timestamp_millis().to_be_bytes();
        // Below an i64 and so still one.
        let delay = spread(&self.job, &salt, room.saturating_add(1)) as i64;
        scheduled + TimeDelta::milliseconds(delay)
    }

    pub(super) fn counted_from(&self, now: DateTime<Utc>) -> Option<Bounded> {
        let inner = self.inner.counted_from(now);
        let start = match self.bounds.max_runs {
            // From the first instant after now on.
            Some(_) if self.bounds.start.is_none() => Some(now + TimeDelta::nanoseconds(1)),
            _ => None,
        };
        if inner.is_none() && start.is_none() {
            return None;
        }
        Some(Bounded {
            inner: inner.unwrap_or_else(|| self.inner.clone()),
            bounds: Bounds {
                start: start.or(self.bounds.start),
                ..self.bounds.clone()
            },
            job: self.job.clone(),
            last: OnceLock::new(),
        })
    }

    pub(super) fn is_same_but_for_days(&self, other: &Bounded) -> bool {
        let said = |bounded: &Bounded| {
            let not_on = bounded.bounds.not_on.as_ref();
            not_on.map(|not_on| (not_on.names().to_vec(), not_on.instead()))
        };
        let rest = |bounded: &Bounded| Bounds {
            not_on: None,
            ..bounded.bounds.clone()
        };
        self.inner.is_same_but_for_days(&other.inner)
            && said(self) == said(other)
            && rest(self) == rest(other)
    }

    pub(super) fn never_fires(&self) -> Option<String> {
        if let Some(reason) = self.inner.never_fires() {
            return Some(reason);
        }
        if self.next_after(DateTime::<Utc>::MIN_UTC).is_some() {
            return None;
        }
        let bounds = &self.bounds;
        let when = match (bounds.start, bounds.end) {
            (Some(start), Some(end)) => format!(
                "between {} and {}",
                show_start(start, bounds.zone),
                show_end(end, bounds.zone)
            ),
            (Some(start), None) => format!("from {} on", show_start(start, bounds.zone)),
            (None, Some(end)) => format!("up to {}", show_end(end, bounds.zone)),
            (None, None) => "on the days that are left".to_owned(),
        };
        Some(format!("it has no instant {when}"))
    }
}

/// Whether a calendar moves what it excludes, and does not leave it out.
pub(super) fn moves(not_on: &NotOn) -> bool {
    not_on.instead() == Instead::NextBusinessDay
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        // What has been worked out does not count.
        self.inner == other.inner && self.bounds == other.bounds && self.job == other.job
    }
}

impl Eq for Bounded {}

/// The first instant that counts; of a day, the day.
pub(super) fn show_start(start: DateTime<Utc>, zone: Option<Zone>) -> String {
    match zone.map(|zone| zone.to_wall(start).0) {
        Some(wall) if wall.time() == NaiveTime::MIN => wall.date().to_string(),
        _ => show(start, zone),
    }
}

/// The last instant that counts; of a day, the day.
pub(super) fn show_end(end: DateTime<Utc>, zone: Option<Zone>) -> String {
    let next = end + TimeDelta::nanoseconds(1);
    let wall = |instant| zone.map(|zone: Zone| zone.to_wall(instant).0);
    match (wall(end), wall(next)) {
        (Some(last), Some(next)) if last.date() != next.date() => last.date().to_string(),
        _ => show(end, zone),
    }
}

/// The trigger, and each bound in a few words.
impl fmt::Display for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounds = &self.bounds;
        self.inner.fmt(f)?;
        if let Some(start) = bounds.start {
            write!(f, ", from {}", show_start(start, bounds.zone))?;
        }
        if let Some(end) = bounds.end {
            write!(f, ", until {}", show_end(end, bounds.zone))?;
        }
        if let Some(not_on) = &bounds.not_on {
            write!(f, ", {not_on}")?;
        }
        match bounds.max_runs {
            Some(1) => f.write_str(", once")?,
            Some(runs) => write!(f, ", {runs} times")?,
            None => {}
        }
        if let Some(jitter) = bounds.jitter {
            write!(f, ", jitter {}", format_duration_exact(jitter))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
        let both =
            Trigger::any(vec![open, Trigger::parse("0 0 28 1 *", Zone::UTC).unwrap()]).unwrap();
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
}
