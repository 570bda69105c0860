//! Several triggers as one: any of them, or all at once.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Trigger, TriggerError, Zone};

/// How often the parts of `all` are asked before they count as having no further instant in
/// common: bounds the time that two schedules take which never meet.
const MOST_STEPS: usize = 4_000;

/// The parts of a combined trigger, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Combined(Box<[Trigger]>);

impl Trigger {
    /// A trigger that fires whenever one of `parts` does; once where several fire together.
    ///
    /// # Errors
    /// There are no parts, or one of them fires only when it is asked to.
    pub fn any(parts: Vec<Trigger>) -> Result<Trigger, TriggerError> {
        if parts.contains(&Trigger::Manual) {
            return Err(refuse(
                "`@manually` adds nothing to other triggers",
                "leave it out",
            ));
        }
        Combined::new(parts).map(Trigger::Any)
    }

    /// A trigger that fires at the instants at which all of `parts` fire. Parts that meet so
    /// rarely that thousands of their instants lie in between count as never meeting again.
    ///
    /// # Errors
    /// There are no parts, or one of them has no instants of its own (`@reboot`, `after`), or
    /// holds another `all` deep inside.
    pub fn all(parts: Vec<Trigger>) -> Result<Trigger, TriggerError> {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            if !part.has_instants() || part.fires_at_start() || !part.upstreams().is_empty() {
                return Err(refuse(
                    format!("`{part}` has no instants that could be those of another trigger"),
                    "`all` takes triggers that go by time",
                ));
            }
            match part {
                Trigger::All(inner) => flat.extend(inner.0),
                // Each step of the search would be a search of its own.
                part if holds_all(&part) => {
                    return Err(refuse(
                        "an `all` stands deep inside of another `all`",
                        "write the parts of the inner one beside those of the outer one",
                    ));
                }
                part => flat.push(part),
            }
        }
        Combined::new(flat).map(Trigger::All)
    }
}

fn refuse(message: impl Into<String>, label: &str) -> TriggerError {
    TriggerError {
        message: message.into(),
        label: label.to_owned(),
        hint: None,
        span: 0..0,
    }
}

/// Whether an `all` is somewhere inside.
pub(super) fn holds_all(trigger: &Trigger) -> bool {
    match trigger {
        Trigger::All(_) => true,
        Trigger::Any(any) => any.0.iter().any(holds_all),
        Trigger::Bounded(bounded) => holds_all(bounded.inner()),
        _ => false,
    }
}

impl Combined {
    fn new(parts: Vec<Trigger>) -> Result<Combined, TriggerError> {
        if parts.is_empty() {
            return Err(refuse(
                "there is nothing to combine",
                "at least one trigger stands here",
            ));
        }
        Ok(Combined(parts.into()))
    }

    /// The triggers that are combined.
    pub fn parts(&self) -> &[Trigger] {
        &self.0
    }

    pub(super) fn next_of_any(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0
            .iter()
            .filter_map(|part| part.next_after(after))
            .min()
    }

    pub(super) fn latest_of_any(
        &self,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let latest = |part: &Trigger| part.latest_in(after, until);
        self.0.iter().filter_map(latest).max()
    }

    pub(super) fn next_of_all(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut floor = after;
        for _ in 0..MOST_STEPS {
            let mut highest: Option<DateTime<Utc>> = None;
            let mut meet = true;
            for part in &self.0 {
                let next = part.next_after(floor)?;
                meet &= highest.is_none_or(|highest| highest == next);
                highest = highest.max(Some(next));
            }
            if meet {
                return highest;
            }
            // No part fires with all others before the latest of their next instants.
            floor = highest? - TimeDelta::nanoseconds(1);
        }
        None
    }

    pub(super) fn latest_of_all(
        &self,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let mut ceiling = until;
        for _ in 0..MOST_STEPS {
            let mut lowest: Option<DateTime<Utc>> = None;
            let mut meet = true;
            for part in &self.0 {
                let latest = part.latest_in(after, ceiling)?;
                meet &= lowest.is_none_or(|lowest| lowest == latest);
                lowest = Some(lowest.map_or(latest, |lowest| lowest.min(latest)));
            }
            if meet {
                return lowest;
            }
            ceiling = lowest?;
        }
        None
    }

    pub(super) fn never_any(&self) -> Option<String> {
        let mut reasons = self.0.iter().map(Trigger::never_fires);
        let first = reasons.next()??;
        reasons.all(|reason| reason.is_some()).then_some(first)
    }

    pub(super) fn never_all(&self) -> Option<String> {
        if let Some(reason) = self.0.iter().find_map(Trigger::never_fires) {
            return Some(reason);
        }
        // Parts that meet rarely are looked for in each decade: a search ends after so many steps.
        let epoch = DateTime::UNIX_EPOCH - TimeDelta::days(2);
        let mut decades = (0..14).map(|decade| epoch + TimeDelta::days(decade * 3_652));
        decades
            .all(|start| self.next_of_all(start).is_none())
            .then(|| "its parts never fire at the same instant".to_owned())
    }

    /// Each part counted from `now`; None if none of them counts.
    pub(super) fn counted_from(&self, now: DateTime<Utc>) -> Option<Combined> {
        let counted: Vec<Option<Trigger>> =
            self.0.iter().map(|part| part.counted_from(now)).collect();
        if counted.iter().all(Option::is_none) {
            return None;
        }
        let parts = counted.into_iter().zip(&self.0);
        let parts = parts.map(|(counted, part)| counted.unwrap_or_else(|| part.clone()));
        Some(Combined(parts.collect()))
    }

    /// The zone of all parts that have one, if it is the same.
    pub(super) fn zone(&self) -> Option<Zone> {
        let mut zones = self.0.iter().filter_map(Trigger::zone);
        let first = zones.next()?;
        zones.all(|zone| zone == first).then_some(first)
    }

    pub(super) fn write(&self, between: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, part) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(between)?;
            }
            match part {
                Trigger::Any(_) | Trigger::All(_) | Trigger::Bounded(_) => write!(f, "({part})")?,
                _ => write!(f, "{part}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cron(text: &str) -> Trigger {
        Trigger::parse(text, Zone::UTC).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn upcoming(trigger: &Trigger, after: DateTime<Utc>, count: usize) -> Vec<DateTime<Utc>> {
        std::iter::successors(trigger.next_after(after), |last| trigger.next_after(*last))
            .take(count)
            .collect()
    }

    #[test]
    fn any_of_them_once_each() {
        let any = Trigger::any(vec![cron("0 9 * * *"), cron("0 */9 * * *")]).unwrap();
        let found = upcoming(&any, at("2026-11-22T00:00:00Z"), 4);
        assert_eq!(
            found,
            [
                "2026-11-22T09:00:00Z",
                "2026-11-22T18:00:00Z",
                "2026-11-23T00:00:00Z",
                "2026-11-23T09:00:00Z"
            ]
            .map(at)
        );
        assert_eq!(any.to_string(), "0 9 * * * or 0 */9 * * *");
        assert_eq!(
            any.latest_in(at("2026-11-22T09:00:00Z"), at("2026-11-22T17:59:59Z")),
            None
        );
    }

    #[test]
    fn all_of_them_where_they_meet() {
        // Every 7 hours, where that is 09:00.
        let all = Trigger::all(vec![cron("@every 7h"), cron("0 9 * * *")]).unwrap();
        for instant in upcoming(&all, at("2026-11-22T00:00:00Z"), 20) {
            assert_eq!(instant.timestamp() % (7 * 3600), 0);
            assert_eq!(instant.timestamp() % 86_400, 9 * 3600);
        }
        let never = Trigger::all(vec![cron("0 9 * * *"), cron("0 10 * * *")]).unwrap();
        assert_eq!(never.next_after(at("2026-11-22T00:00:00Z")), None);
        assert!(never.never_fires().unwrap().contains("same instant"));
        assert_eq!(
            never.latest_in(at("1990-11-22T00:00:00Z"), at("2026-11-22T00:00:00Z")),
            None
        );
    }

    #[test]
    fn parts_that_meet_rarely_are_not_said_to_meet_never() {
        // Only where the clock skips 02:30, which then runs at 03:00; not before 1980.
        let berlin = |text: &str| Trigger::parse(text, Zone::parse("Europe/Berlin").unwrap());
        let parts = vec![berlin("30 2 * * *").unwrap(), berlin("0 3 * * *").unwrap()];
        let all = Trigger::all(parts).unwrap();
        assert_eq!(all.never_fires(), None);
        let next = all.next_after(at("2026-11-22T00:00:00Z"));
        assert_eq!(next, Some(at("2027-03-28T01:00:00Z")));
    }

    #[test]
    fn what_goes_not_by_time_meets_nothing() {
        for wrong in [Trigger::Manual, Trigger::Reboot] {
            assert!(Trigger::all(vec![cron("@daily"), wrong]).is_err());
        }
        assert!(Trigger::all(vec![]).is_err());
        assert!(Trigger::any(vec![Trigger::Manual]).is_err());
        let any = Trigger::any(vec![Trigger::Reboot, cron("@daily")]).unwrap();
        assert!(any.fires_at_start() && any.has_instants());
        assert!(Trigger::all(vec![any]).is_err());
        let inner = Trigger::all(vec![cron("@daily"), cron("@hourly")]).unwrap();
        let flat = Trigger::all(vec![inner.clone(), cron("@weekly")]).unwrap();
        assert_eq!(flat.to_string(), "@daily and @hourly and @weekly");
        let deep = Trigger::any(vec![inner, cron("@weekly")]).unwrap();
        assert_eq!(deep.to_string(), "(@daily and @hourly) or @weekly");
        assert!(Trigger::all(vec![deep]).is_err());
    }

    proptest! {
        /// Against the sets of instants of the parts.
        #[test]
        fn unions_and_intersections(a in 1_i64..40, b in 1_i64..40, c in 1_i64..40, after in 0_i64..100_000) {
            let every = |minutes: i64| cron(&format!("@every {minutes}m"));
            let parts = vec![every(a), every(b), every(c)];
            let any = Trigger::any(parts.clone()).unwrap();
            let all = Trigger::all(parts).unwrap();
            let start = DateTime::from_timestamp(after * 60, 0).unwrap();
            let fires = |minute: i64, step: i64| minute % step == 0;
            let first_any = (after + 1..).find(|m| fires(*m, a) || fires(*m, b) || fires(*m, c)).unwrap();
            let first_all = (after + 1..).find(|m| fires(*m, a) && fires(*m, b) && fires(*m, c)).unwrap();
            let instant = |minute: i64| DateTime::from_timestamp(minute * 60, 0);
            prop_assert_eq!(any.next_after(start), instant(first_any));
            prop_assert_eq!(all.next_after(start), instant(first_all));
            let until = instant(first_all).unwrap();
            prop_assert_eq!(all.latest_in(start, until), Some(until));
            prop_assert_eq!(all.latest_in(start, until - TimeDelta::seconds(1)), None);
            prop_assert_eq!(any.latest_in(start, instant(first_any).unwrap()), instant(first_any));
        }
    }
}
