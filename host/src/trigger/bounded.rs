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

    /// The first instant strictly after `after` that calendars leave out.
    pub(super) fn left_out_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = self.not_before(after);
        let not_on = self.bounds.not_on.as_ref();
        let own = not_on.and_then(|it| it.left_out_after(&self.in_zone(&self.inner), after));
        let found = [own, self.inner.left_out_after(after)];
        let first = found.into_iter().flatten().min();
        first.filter(|first| self.last().is_none_or(|last| *first <= last))
    }

    /// The latest instant after `after` and not after `until` that calendars leave out.
    pub(super) fn latest_left_out(
        &self,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let until = self.last().map_or(until, |last| last.min(until));
        let after = self.not_before(after);
        let not_on = self.bounds.not_on.as_ref();
        let inner = self.in_zone(&self.inner);
        let own = not_on.and_then(|it| it.latest_left_out(&inner, after, until));
        own.max(self.inner.latest_left_out(after, until))
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
mod tests;
