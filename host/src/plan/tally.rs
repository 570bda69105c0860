//! Counting the firings of an outlook as they pass.

use std::cmp::Reverse;
use std::convert::Infallible;

use chrono::{DateTime, TimeDelta};

use super::hours::{self, Hour};
use super::overlaps::Meetings;
use super::stream::own_times;
use super::{ClockChange, Firing, JobPlan, Outlook, Plan, Quiet};
use crate::clock::Timestamp;
use crate::trigger::Zone;

/// How many of the busiest minutes are kept.
const BUSIEST: usize = 10;

/// A minute, and what is due in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minute {
    /// Its first instant.
    pub start: Timestamp,
    /// How many firings are due in it.
    pub firings: u64,
}

/// The plan of an outlook that has at most `most` firings.
pub(super) fn plan<E>(
    outlook: &Outlook,
    zone: Zone,
    most: u64,
    mut each: impl FnMut(&Firing) -> Result<(), E>,
) -> Result<Plan, E> {
    let mut tally = Tally::new(outlook, zone);
    let mut cut = None;
    let mut last = None;
    for firing in outlook.firings() {
        // Never between two of the same instant, which is the end.
        if tally.firings >= most && last != Some(firing.due_at) {
            cut = Some(firing.due_at);
            break;
        }
        last = Some(firing.due_at);
        each(&firing)?;
        tally.add(&firing);
    }
    Ok(tally.finish(outlook, cut))
}

/// The plan of an outlook whose firings nobody needs to see. Where nothing depends on their order,
/// as no durations are known, they are counted job by job: several times as fast.
pub(super) fn counted(outlook: &Outlook, zone: Zone, most: u64) -> Plan {
    let tally = Tally::new(outlook, zone);
    if outlook.has_durations || !tally.is_by_the_minute() {
        return in_order(outlook, zone, most);
    }
    // Where a plan of too much ends, only the order tells.
    tally
        .count(outlook, most)
        .unwrap_or_else(|| in_order(outlook, zone, most))
}

fn in_order(outlook: &Outlook, zone: Zone, most: u64) -> Plan {
    match plan(outlook, zone, most, |_| Ok::<(), Infallible>(())) {
        Ok(plan) => plan,
        Err(never) => match never {},
    }
}

/// How many minutes are counted at a time: a month of them, 360 KiB.
const MINUTES: i64 = 31 * 24 * 60;

struct Tally {
    jobs: Vec<JobPlan>,
    firings: u64,
    skipped: u64,
    busiest: Vec<Minute>,
    /// The minute of the last firing, in minutes since the epoch, and how many it has.
    minute: (i64, u64),
    hours: Vec<Hour>,
    /// The hour of the last firing.
    hour: usize,
    meetings: Option<Meetings>,
}

impl Tally {
    fn new(outlook: &Outlook, zone: Zone) -> Tally {
        let jobs = outlook.jobs.iter().map(|prospect| JobPlan {
            job: prospect.job.clone(),
            firings: 0,
            skipped: 0,
            first: None,
            last: None,
            notes: prospect.notes.clone(),
            next: None,
            never: None,
        });
        Tally {
            jobs: jobs.collect(),
            firings: 0,
            skipped: 0,
            busiest: Vec::new(),
            minute: (i64::MIN, 0),
            hours: hours::hours(outlook.from, outlook.until, zone),
            hour: 0,
            meetings: outlook.has_durations.then(Meetings::new),
        }
    }

    fn add(&mut self, firing: &Firing) {
        let due = firing.due_at;
        self.firings += 1;
        self.skipped += u64::from(firing.skipped);
        if let Some(job) = self.jobs.get_mut(firing.job) {
            job.firings += 1;
            job.skipped += u64::from(firing.skipped);
            job.first.get_or_insert(due);
            job.last = Some(due);
        }
        let minute = due.timestamp().div_euclid(60);
        if minute == self.minute.0 {
            self.minute.1 += 1;
        } else {
            self.end_minute();
            self.minute = (minute, 1);
        }
        while self
            .hours
            .get(self.hour)
            .is_some_and(|hour| hour.end <= due)
        {
            self.hour += 1;
        }
        if let Some(hour) = self.hours.get_mut(self.hour) {
            hour.firings += 1;
        }
        if let Some(meetings) = &mut self.meetings {
            meetings.add(firing);
        }
    }

    /// Whether hours begin with minutes. In some zones they once did not.
    fn is_by_the_minute(&self) -> bool {
        let later = self.hours.iter().skip(1);
        later.map(|hour| hour.start).all(|start| {
            start.timestamp().rem_euclid(60) == 0 && start.timestamp_subsec_nanos() == 0
        })
    }

    /// Counts all firings job by job, a stretch of minutes at a time; None if there are more than
    /// `most`.
    fn count(mut self, outlook: &Outlook, most: u64) -> Option<Plan> {
        let mut start = outlook.from;
        while start < outlook.until {
            let first = start.timestamp().div_euclid(60);
            let end = DateTime::from_timestamp((first + MINUTES) * 60, 0)
                .unwrap_or(outlook.until)
                .min(outlook.until);
            let mut minutes = vec![0_u64; MINUTES as usize];
            for (plan, prospect) in self.jobs.iter_mut().zip(&outlook.jobs) {
                if !plan.job.enabled {
                    continue;
                }
                for (_, due) in own_times(&prospect.trigger, start, end) {
                    let minute = due.timestamp().div_euclid(60) - first;
                    // Never negative: it is due from `start` on.
                    if let Some(count) = minutes.get_mut(minute as usize) {
                        *count += 1;
                    }
                    plan.firings += 1;
                    self.firings += 1;
                    if self.firings > most {
                        return None;
                    }
                    plan.first.get_or_insert(due);
                    plan.last = Some(due);
                }
            }
            for (minute, firings) in (first..).zip(minutes) {
                self.count_minute(minute, firings);
            }
            start = end;
        }
        self.minute.1 = 0; // all have been counted
        Some(self.finish(outlook, None))
    }

    /// Counts what is due in a minute.
    fn count_minute(&mut self, minute: i64, firings: u64) {
        if firings == 0 {
            return;
        }
        self.minute = (minute, firings);
        self.end_minute();
        let start = minute.saturating_mul(60);
        let is_over = |hour: &Hour| hour.end.timestamp() <= start;
        while self.hours.get(self.hour).is_some_and(is_over) {
            self.hour += 1;
        }
        if let Some(hour) = self.hours.get_mut(self.hour) {
            hour.firings += firings;
        }
    }

    /// Keeps the minute that is over if it is one of the busiest. Of equal ones the first.
    fn end_minute(&mut self) {
        let (minute, firings) = self.minute;
        let least = self.busiest.last().map_or(0, |last| last.firings);
        if firings == 0 || (self.busiest.len() >= BUSIEST && firings <= least) {
            return;
        }
        let Some(start) = DateTime::from_timestamp(minute.saturating_mul(60), 0) else {
            return;
        };
        let place = self.busiest.partition_point(|it| it.firings >= firings);
        self.busiest.insert(place, Minute { start, firings });
        self.busiest.truncate(BUSIEST);
    }

    fn finish(mut self, outlook: &Outlook, cut: Option<Timestamp>) -> Plan {
        self.end_minute();
        let until = cut.unwrap_or(outlook.until);
        if cut.is_some() {
            self.hours.retain(|hour| hour.start < until);
            if let Some(last) = self.hours.last_mut() {
                last.end = last.end.min(until);
            }
        }
        for (plan, prospect) in self.jobs.iter_mut().zip(&outlook.jobs) {
            if plan.firings == 0 && plan.job.enabled {
                plan.next = prospect
                    .trigger
                    .next_after(until - TimeDelta::nanoseconds(1));
                if plan.next.is_none() {
                    plan.never = prospect.trigger.never_fires();
                }
            }
        }
        Plan {
            from: outlook.from,
            until,
            cut: cut.is_some(),
            jobs: self.jobs,
            firings: self.firings,
            skipped: self.skipped,
            busiest: self.busiest,
            hours: self.hours,
            overlaps: self.meetings.map(Meetings::finish),
        }
    }
}

impl Plan {
    /// The stretches of whole hours in which nothing is due.
    pub fn quiet(&self) -> Vec<Quiet> {
        hours::quiet(&self.hours)
    }

    /// The changes of the clock, of the zone whose hours are counted.
    pub fn clock_changes(&self) -> Vec<ClockChange> {
        hours::changes(&self.hours)
    }

    /// The jobs that would overlap themselves: those with skipped firings, the most skipped
    /// first.
    pub fn overlapping_themselves(&self) -> Vec<&JobPlan> {
        let mut jobs: Vec<&JobPlan> = self.jobs.iter().filter(|job| job.skipped > 0).collect();
        jobs.sort_by_key(|job| Reverse(job.skipped));
        jobs
    }
}
