//! Intervals: a job every so often, in real time, whatever clocks on walls do.
//!
//! An interval is anchored at the Unix epoch: its instants are the whole multiples of its
//! period since 1970-01-01T00:00:00Z. So it never drifts, a restart or a reload keeps the tick,
//! two hosts agree on it, and `next` can tell it without asking a running host. What it costs:
//! a job every 5 s does not begin 5 s after it was added but at the next multiple, and one every
//! 7 days does so on Thursdays at midnight UTC; a cron expression says such things better, or
//! another instant to count from.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::TriggerError;
use crate::units;

/// Fires every so often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IntervalTrigger {
    /// In milliseconds; at least 1.
    period: i64,
    /// A tick, in milliseconds since the epoch: from 0 to the period, exclusive.
    phase: i64,
}

impl IntervalTrigger {
    /// A trigger that fires once in every `period`.
    ///
    /// # Errors
    /// A period below one millisecond, or one that is not whole milliseconds.
    pub fn new(period: Duration) -> Result<Self, TriggerError> {
        Self::with_span(period, 0..0)
    }

    /// A trigger that fires once in every `period`, at `start` among others.
    ///
    /// # Errors
    /// A period below one millisecond, or one that is not whole milliseconds, or a start that
    /// is not.
    pub fn from(period: Duration, start: DateTime<Utc>) -> Result<Self, TriggerError> {
        let interval = Self::new(period)?;
        if !start.timestamp_subsec_nanos().is_multiple_of(1_000_000) {
            return Err(TriggerError {
                message: "the interval starts between two milliseconds".to_owned(),
                label: "an interval is counted in whole milliseconds, and so is its start"
                    .to_owned(),
                hint: None,
                span: 0..0,
            });
        }
        Ok(IntervalTrigger {
            phase: start.timestamp_millis().rem_euclid(interval.period),
            ..interval
        })
    }

    /// The same; an error points to `span` of the text it was read from.
    pub(super) fn with_span(period: Duration, span: Range<usize>) -> Result<Self, TriggerError> {
        let refuse = |message: &str, label: &str| TriggerError {
            message: message.to_owned(),
            label: label.to_owned(),
            hint: None,
            span: span.clone(),
        };
        if period.is_zero() {
            return Err(refuse(
                "an interval of nothing would fire without end",
                "an interval is at least 1ms",
            ));
        }
        if !period.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(refuse(
                "an interval is counted in whole milliseconds",
                "an interval is at least 1ms",
            ));
        }
        match i64::try_from(period.as_millis()) {
            Ok(period) => Ok(IntervalTrigger { period, phase: 0 }),
            Err(_) => Err(refuse(
                "the interval is too long",
                "an interval is at most 1000 years",
            )),
        }
    }

    /// Whether the Unix epoch is one of its instants.
    pub fn counts_from_epoch(&self) -> bool {
        self.phase == 0
    }

    /// How long from one firing to the next.
    pub fn period(&self) -> Duration {
        Duration::from_millis(self.period.unsigned_abs())
    }

    /// The first instant strictly after `after`; None beyond the end of the calendar.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // Whole milliseconds below `after`: the multiple after them is after it, too.
        let ticks = (after.timestamp_millis() - self.phase).div_euclid(self.period);
        ticks
            .checked_add(1)?
            .checked_mul(self.period)?
            .checked_add(self.phase)
            .and_then(DateTime::from_timestamp_millis)
    }

    /// The latest instant after `after` and not after `until`.
    pub fn latest_in(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let ticks = (until.timestamp_millis() - self.phase).div_euclid(self.period);
        ticks
            .checked_mul(self.period)?
            .checked_add(self.phase)
            .and_then(DateTime::from_timestamp_millis)
            .filter(|instant| *instant > after)
    }
}

impl fmt::Display for IntervalTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "every {}", units::format_duration_exact(self.period()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn every(millis: u64) -> IntervalTrigger {
        IntervalTrigger::new(Duration::from_millis(millis)).unwrap()
    }

    #[test]
    fn ticks_are_multiples_of_the_period() {
        let trigger = every(5_000);
        assert_eq!(
            trigger.next_after(at("2026-01-01T00:00:00Z")),
            Some(at("2026-01-01T00:00:05Z"))
        );
        assert_eq!(
            trigger.next_after(at("2026-01-01T00:00:04.9999Z")),
            Some(at("2026-01-01T00:00:05Z"))
        );
        assert_eq!(
            every(250).next_after(at("2026-01-01T00:00:00.250Z")),
            Some(at("2026-01-01T00:00:00.5Z"))
        );
        // Before the epoch as after it.
        assert_eq!(
            trigger.next_after(at("1969-12-31T23:59:58Z")),
            Some(at("1970-01-01T00:00:00Z"))
        );
    }

    #[test]
    fn it_may_count_from_another_instant() {
        let start = at("2026-01-01T00:00:07Z");
        let trigger = IntervalTrigger::from(Duration::from_secs(3600), start).unwrap();
        assert_eq!(
            trigger.next_after(start - chrono::TimeDelta::milliseconds(1)),
            Some(start)
        );
        assert_eq!(trigger.next_after(start), Some(at("2026-01-01T01:00:07Z")));
        assert_eq!(
            trigger.latest_in(start, at("2026-01-01T03:00:06Z")),
            Some(at("2026-01-01T02:00:07Z"))
        );
        assert_ne!(trigger, every(3_600_000));
        let fine = start + chrono::TimeDelta::microseconds(500);
        assert!(IntervalTrigger::from(Duration::from_secs(1), fine).is_err());
    }

    #[test]
    fn only_whole_milliseconds() {
        assert!(IntervalTrigger::new(Duration::ZERO).is_err());
        assert!(IntervalTrigger::new(Duration::from_micros(1500)).is_err());
        assert!(IntervalTrigger::new(Duration::from_micros(500)).is_err());
        assert!(IntervalTrigger::new(Duration::MAX).is_err());
        assert!(IntervalTrigger::new(Duration::from_millis(1)).is_ok());
        assert_eq!(every(90_000).to_string(), "every 1 min 30 s");
    }

    #[test]
    fn the_end_of_time_is_an_end() {
        assert_eq!(every(5_000).next_after(DateTime::<Utc>::MAX_UTC), None);
        assert!(every(5_000).next_after(DateTime::<Utc>::MIN_UTC).is_some());
    }

    proptest! {
        #[test]
        fn next_and_latest_agree(period in 1_u64..10_000_000_000, start in -2_000_000_000_000_i64..4_000_000_000_000, length in 0_i64..100_000_000_000) {
            let trigger = every(period);
            let after = DateTime::from_timestamp_millis(start).unwrap();
            let until = DateTime::from_timestamp_millis(start + length).unwrap();
            let next = trigger.next_after(after).unwrap();
            prop_assert!(next > after);
            prop_assert!(next - after <= chrono::TimeDelta::milliseconds(period as i64));
            match trigger.latest_in(after, until) {
                None => prop_assert!(next > until),
                Some(latest) => {
                    prop_assert!(next <= latest && latest <= until);
                    prop_assert!(trigger.next_after(latest).unwrap() > until);
                }
            }
        }
    }
}
