//! Which time has been passed already, in a world where clocks are set.

use std::ops::Range;

use chrono::TimeDelta;

use super::WAITED_OUT;
use crate::clock::Timestamp;

/// How far time must have leapt, over instants that were due, to count as not passed.
const LEAP: TimeDelta = TimeDelta::minutes(10);

/// How many stretches of time passed before are remembered, the newest ones.
const STRETCHES: usize = 16;

/// Which time has been passed: what it takes to know an instant that comes round again.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// The latest time seen since the clock was last set.
    latest: Option<Timestamp>,
    /// Since when time has passed without a leap.
    since: Option<Timestamp>,
    /// Stretches of time that were passed before the clock was set, oldest first.
    stretches: Vec<Range<Timestamp>>,
}

impl Passed {
    fn set_back_by(&self, now: Timestamp) -> Option<TimeDelta> {
        let by = self.latest? - now;
        (by > WAITED_OUT).then_some(by)
    }

    /// Looks at the clock; true if it was set back.
    pub(super) fn observe(&mut self, now: Timestamp) -> bool {
        if self.set_back_by(now).is_none() {
            self.since.get_or_insert(now);
            return false;
        }
        self.close();
        self.since = Some(now);
        self.latest = Some(now);
        true
    }

    /// Time was passed from `since` to `latest` before this host was started.
    pub(super) fn remember(&mut self, since: Timestamp, latest: Timestamp) {
        self.since = Some(self.since.map_or(since, |own| own.min(since)));
        self.latest = Some(self.latest.map_or(latest, |own| own.max(latest)));
    }

    /// Time has come to `now`, over instants that were due in between or not.
    pub(super) fn advance(&mut self, now: Timestamp, missed: bool) {
        if missed && self.latest.is_some_and(|latest| now - latest > LEAP) {
            self.close();
            self.since = Some(now);
        }
        self.latest = Some(self.latest.map_or(now, |latest| latest.max(now)));
    }

    fn close(&mut self) {
        if let (Some(since), Some(latest)) = (self.since, self.latest)
            && since < latest
        {
            if self.stretches.len() == STRETCHES {
                self.stretches.remove(0);
            }
            self.stretches.push(since..latest);
        }
    }

    /// The name of an instant: the instant itself, or one of its own if it comes round again.
    pub(super) fn name(&self, instant: Timestamp) -> Timestamp {
        let times = self
            .stretches
            .iter()
            .filter(|stretch| stretch.start < instant && instant <= stretch.end)
            .count();
        let micros = i64::try_from(times).unwrap_or(i64::MAX);
        instant + TimeDelta::microseconds(micros)
    }
}
