//! Where an older time-zone database would fire a trigger at another time: other programs on the
//! same host may go by one, and disagree.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::zone::{Older, older_databases};
use super::{Trigger, Zone};
use crate::units::format_duration_exact;

/// The older databases at hand, and where they differ from the one in use during a stretch of
/// time. Made once for all triggers of a check.
#[derive(Debug)]
pub struct OlderRules {
    from: i64,
    until: i64,
    databases: Vec<Older>,
    /// By the database's place and the zone.
    found: HashMap<(usize, Zone), Arc<[Stretch]>>,
}

/// An older database that would fire a trigger at another time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// The version of the database, e.g. `2025b`.
    pub version: String,
    /// The zone whose rules differ.
    pub zone: Zone,
    /// The first instant that it puts elsewhere.
    pub from: DateTime<Utc>,
    /// How much later it would fire; negative if earlier.
    pub later_by: TimeDelta,
}

/// Seconds since the epoch, the end not included, between which two databases differ in an
/// offset, by so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    start: i64,
    end: i64,
    later_by: i64,
}

/// How far apart offsets are compared, in seconds: rules that differ do so for longer.
const STEP: i64 = 3_600;

/// So many instants of a trigger are looked at in each stretch.
const MOST_INSTANTS: usize = 200;

impl Disagreement {
    /// How much later it would fire: `an hour later`, `30 min earlier`.
    pub fn shift_in_words(&self) -> String {
        let direction = if self.later_by < TimeDelta::zero() {
            "earlier"
        } else {
            "later"
        };
        let shift = self.later_by.abs().to_std().unwrap_or_default();
        match shift.as_secs() {
            3600 => format!("an hour {direction}"),
            _ => format!("{} {direction}", format_duration_exact(shift)),
        }
    }
}

impl OlderRules {
    /// The older databases, to be compared from one instant to another.
    pub fn between(from: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        OlderRules {
            from: from.timestamp(),
            until: until.timestamp(),
            databases: older_databases(),
            found: HashMap::new(),
        }
    }

    /// The first older database that would fire a trigger at another time, and from when.
    pub fn disagreement(&mut self, trigger: &Trigger) -> Option<Disagreement> {
        match trigger {
            Trigger::Any(any) => any.parts().iter().find_map(|part| self.disagreement(part)),
            Trigger::Bounded(bounded) if !goes_by_a_clock(bounded.inner()) => None,
            _ => {
                let zone = trigger.zone().filter(|zone| *zone != Zone::UTC)?;
                (0..self.databases.len()).find_map(|place| self.compare(place, trigger, zone))
            }
        }
    }

    fn compare(&mut self, place: usize, trigger: &Trigger, zone: Zone) -> Option<Disagreement> {
        let database = self.databases.get(place)?;
        let (from, until) = (self.from, self.until);
        let stretches = self
            .found
            .entry((place, zone))
            .or_insert_with(|| differences(database, zone, from, until).into());
        let instant = |seconds: i64| DateTime::from_timestamp(seconds, 0);
        stretches.iter().find_map(|stretch| {
            let later_by = TimeDelta::seconds(stretch.later_by);
            let start = instant(stretch.start)? - TimeDelta::nanoseconds(1);
            let end = instant(stretch.end)?;
            // What fires each hour does so by either.
            let moved =
                std::iter::successors(trigger.next_after(start), |last| trigger.next_after(*last))
                    .take_while(|instant| *instant < end)
                    .take(MOST_INSTANTS)
                    .find(|instant| !trigger.fires_at(*instant + later_by))?;
            Some(Disagreement {
                version: database.version.clone(),
                zone,
                from: moved,
                later_by,
            })
        })
    }
}

/// Whether a clock on a wall decides, at least among other things.
fn goes_by_a_clock(trigger: &Trigger) -> bool {
    match trigger {
        Trigger::Interval(_) | Trigger::After(_) | Trigger::Reboot | Trigger::Manual => false,
        Trigger::Any(parts) | Trigger::All(parts) => parts.parts().iter().any(goes_by_a_clock),
        Trigger::Bounded(bounded) => goes_by_a_clock(bounded.inner()),
        _ => true,
    }
}

/// Where a database differs from the one in use, in order.
fn differences(database: &Older, zone: Zone, from: i64, until: i64) -> Vec<Stretch> {
    let Some(offset) = database.offsets(zone) else {
        return Vec::new();
    };
    let table = zone.transitions();
    let later_by = |utc: i64| {
        let used = table.segment(table.index_at(utc)).offset;
        i64::from(used) - i64::from(offset(utc))
    };
    let mut stretches = Vec::new();
    let mut begin = (from, later_by(from));
    for utc in (from..until).step_by(STEP as usize).skip(1).chain([until]) {
        let now = later_by(utc);
        if now == begin.1 && utc != until {
            continue;
        }
        // To the second: between the last two comparisons.
        let (mut same, mut other) = (utc - STEP, utc);
        while other - same > 1 && now != begin.1 {
            let middle = same + (other - same) / 2;
            if later_by(middle) == begin.1 {
                same = middle;
            } else {
                other = middle;
            }
        }
        if begin.1 != 0 {
            stretches.push(Stretch {
                start: begin.0,
                end: other,
                later_by: begin.1,
            });
        }
        begin = (other, now);
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn year() -> OlderRules {
        OlderRules::between(at("2026-06-01T00:00:00Z"), at("2027-06-01T00:00:00Z"))
    }

    fn vancouver(text: &str) -> Trigger {
        Trigger::parse(text, Zone::parse("America/Vancouver").unwrap()).unwrap()
    }

    #[test]
    fn a_zone_that_gave_up_winter_time() {
        let mut rules = year();
        // Bundled with chrono-tz, and so always there.
        assert!(rules.databases.iter().any(|it| it.version == "2025b"));
        let found = rules.disagreement(&vancouver("0 9 * * *")).unwrap();
        assert_eq!(found.zone.name(), "America/Vancouver");
        assert_eq!(found.from, at("2026-11-01T16:00:00Z"));
        assert_eq!(found.later_by, TimeDelta::hours(1));
        assert_eq!(found.shift_in_words(), "an hour later");
        // Bounded to before that, or with no instant that would move.
        let summer = crate::trigger::Bounds {
            end: Some(at("2026-10-01T00:00:00Z")),
            ..Default::default()
        };
        let in_summer = vancouver("0 9 * * *").within(summer, "job").unwrap();
        assert_eq!(rules.disagreement(&in_summer), None);
        assert_eq!(rules.disagreement(&vancouver("*/5 * * * *")), None);
        assert_eq!(rules.disagreement(&vancouver("@every 1h")), None);
        let both = Trigger::any(vec![vancouver("@every 1h"), vancouver("0 9 * * 1")]);
        assert_eq!(
            rules.disagreement(&both.unwrap()).unwrap().from,
            at("2026-11-02T16:00:00Z")
        );
    }

    #[test]
    fn where_all_databases_agree() {
        let mut rules = year();
        for zone in ["Europe/Berlin", "America/New_York", "UTC", "Asia/Tokyo"] {
            let daily = Trigger::parse("30 2 * * *", Zone::parse(zone).unwrap()).unwrap();
            assert_eq!(rules.disagreement(&daily), None, "{zone}");
        }
    }

    #[test]
    fn stretches_are_exact() {
        let rules = year();
        let zone = Zone::parse("America/Vancouver").unwrap();
        let older = rules.databases.iter().find(|it| it.version == "2025b");
        let found = differences(older.unwrap(), zone, rules.from, rules.until);
        let expected = Stretch {
            start: at("2026-11-01T09:00:00Z").timestamp(),
            end: at("2027-03-14T10:00:00Z").timestamp(),
            later_by: 3600,
        };
        assert_eq!(found, [expected]);
    }
}
