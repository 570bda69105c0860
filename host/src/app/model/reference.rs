//! What must become of the instants of a job, by rules so plain that they can be seen to be right.

use std::collections::{BTreeSet, HashMap};

use chrono::{TimeDelta, Timelike as _};

use super::store::Dealt;
use crate::clock::Timestamp;
use crate::trigger::{Trigger, Zone};

/// When a job is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spec {
    /// Every so many seconds since 1970.
    Every(i64),
    /// At these minutes of every hour, in order.
    Minutes(Vec<i64>),
}

impl Spec {
    pub(super) fn trigger(&self) -> Trigger {
        match self {
            Spec::Every(seconds) => {
                Trigger::every(std::time::Duration::from_secs(seconds.unsigned_abs()))
            }
            Spec::Minutes(minutes) => {
                let minutes: Vec<String> = minutes.iter().map(i64::to_string).collect();
                Trigger::parse(&format!("{} * * * *", minutes.join(",")), Zone::UTC)
            }
        }
        .unwrap()
    }

    /// The first instant after another one.
    fn after(&self, instant: Timestamp) -> Timestamp {
        let second = instant.timestamp();
        let next = match self {
            Spec::Every(seconds) => (second.div_euclid(*seconds) + 1) * seconds,
            Spec::Minutes(minutes) => {
                let hour = second.div_euclid(3_600) * 3_600;
                let this = minutes.iter().map(|minute| hour + minute * 60);
                let next = hour + 3_600 + minutes[0] * 60;
                this.chain([next]).find(|it| *it > second).unwrap()
            }
        };
        Timestamp::from_timestamp(next, 0).unwrap()
    }
}

/// How long after an edit it is left open what becomes of an instant: it may have been recorded
/// ahead.
const BLURRED: TimeDelta = TimeDelta::seconds(1);

/// One job, as it should be.
#[derive(Debug)]
pub(super) struct Expected {
    spec: Spec,
    /// Whether its instants count: it is defined and enabled.
    counts: bool,
    /// Up to here its instants are known.
    seen: Timestamp,
    /// Up to here instants may be dealt with, or not.
    blurred: Timestamp,
    /// Instants that must be dealt with.
    open: BTreeSet<Timestamp>,
    /// What has been dealt with, and whether by a run.
    done: HashMap<Timestamp, bool>,
    /// Stretches in which nothing of it was due.
    silent: Vec<(Timestamp, Timestamp)>,
    since: Timestamp,
}

impl Expected {
    pub(super) fn new(spec: Spec, counts: bool, now: Timestamp) -> Expected {
        Expected {
            spec,
            counts,
            seen: now,
            blurred: now,
            open: BTreeSet::new(),
            done: HashMap::new(),
            silent: Vec::new(),
            since: now,
        }
    }

    /// Time has come to `now`.
    pub(super) fn pass(&mut self, now: Timestamp) {
        if self.counts {
            loop {
                let next = self.spec.after(self.seen);
                if next > now {
                    break;
                }
                self.seen = next;
                if next > self.blurred && !self.done.contains_key(&next) {
                    self.open.insert(next);
                }
            }
        }
        self.seen = self.seen.max(now);
    }

    /// Another definition counts from `now` on. False if it has the same instants.
    pub(super) fn edit(&mut self, spec: Spec, counts: bool, now: Timestamp) -> bool {
        if spec == self.spec && counts == self.counts {
            return false;
        }
        self.pass(now);
        if !self.counts {
            self.silent.push((self.since + BLURRED, now));
        }
        (self.spec, self.counts, self.since) = (spec, counts, now);
        // What was due before is not forgotten.
        self.blurred = self.blurred.max(now + BLURRED);
        true
    }

    /// Nobody knows what becomes of what is due by `now`.
    pub(super) fn blur(&mut self, now: Timestamp) {
        self.blurred = self.blurred.max(now + BLURRED);
        let later = self.open.split_off(&self.blurred);
        self.open = later;
    }

    /// The clock was set back: what has been passed comes again.
    pub(super) fn set_back(&mut self) {
        self.blur(self.seen);
        self.silent.clear();
        self.since = self.seen;
    }

    /// Something was dealt with.
    pub(super) fn dealt(&mut self, instant: Timestamp, how: &Dealt) -> Result<(), String> {
        let name = instant;
        let instant = whole(name);
        if name != instant {
            // It comes round again: once by this name.
            self.once(name, matches!(how, Dealt::Run))?;
            if !matches!(how, Dealt::Skip(_, _, true)) {
                return Ok(());
            }
        }
        match how {
            Dealt::Run => self.account(instant, true),
            Dealt::Skip(_, _, false) => self.account(instant, false),
            Dealt::Skip(through, count, true) => {
                let through = whole(*through);
                if instant <= self.blurred {
                    // They may be of a definition before this one.
                    let is_other = |open: &Timestamp| *open < instant || *open > through;
                    self.open.retain(is_other);
                }
                let (mut each, mut counted) = (instant, 1);
                self.pass_over(instant)?;
                loop {
                    each = self.spec.after(each);
                    if each > through {
                        break;
                    }
                    counted += 1;
                    self.pass_over(each)?;
                }
                let is_exact = instant > self.blurred && name == instant;
                match count {
                    Some(count) if is_exact && *count != counted => Err(format!(
                        "{count} are said to be missed from {instant} to {through}, which are {counted}"
                    )),
                    _ => Ok(()),
                }
            }
        }
    }

    /// One of several that are skipped. Only the first has a name, so one that comes round again
    /// cannot be told from the one before it.
    fn pass_over(&mut self, instant: Timestamp) -> Result<(), String> {
        if instant <= self.blurred {
            self.done.entry(instant).or_default();
            return Ok(());
        }
        self.account(instant, false)
    }

    fn account(&mut self, instant: Timestamp, run: bool) -> Result<(), String> {
        let silent = |(from, to): &(Timestamp, Timestamp)| *from < instant && instant <= *to;
        if self.silent.iter().any(silent) {
            return Err(format!("{instant} is dealt with, when nothing was due"));
        }
        if !self.counts && instant > self.blurred && instant > self.since + BLURRED {
            return Err(format!("{instant} is dealt with, and nothing is due"));
        }
        self.open.remove(&instant);
        self.once(instant, run)
    }

    fn once(&mut self, instant: Timestamp, run: bool) -> Result<(), String> {
        let before = self.done.insert(instant, run);
        let twice = match before {
            None => false,
            // What was skipped may come again, by the same name, when the clock is set back.
            Some(was_run) if instant <= self.blurred => was_run && run,
            Some(_) => true,
        };
        if let Some(was_run) = before {
            self.done.insert(instant, was_run || run);
        }
        if twice {
            return Err(format!("{instant} is dealt with twice"));
        }
        Ok(())
    }

    /// The first instant that must have been dealt with, and was not.
    pub(super) fn forgotten(&self) -> Option<Timestamp> {
        self.open.first().copied()
    }
}

/// The instant of a trigger that has this name.
fn whole(name: Timestamp) -> Timestamp {
    name - TimeDelta::nanoseconds(i64::from(name.nanosecond()))
}
