//! Time zones: names, and the way between the wall clock and the instant, gaps and folds
//! included.
//!
//! A zone's identity and name come from chrono-tz. Its transitions do not: they come from the
//! newest of the system's time-zone database and the bundled one, because a database a year old
//! is an hour wrong somewhere. [`tz_database`] says which one is in use.
//!
//! Each zone's transitions from 1970 to 2100 are laid out once, on first use, as a sorted table
//! that is then shared by all triggers of that zone. Instants outside those years take the
//! offset of the nearest end.

mod database;
mod older;
mod transitions;

use std::fmt;
use std::sync::{LazyLock, OnceLock};

use chrono::{DateTime, NaiveDateTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

pub use database::{TzDatabase, TzOrigin, tz_database};
pub(super) use older::{Older, older_databases};
pub(super) use transitions::{Reach, Segment, Transitions};

/// A time zone by its IANA name. Small and cheap to copy.
///
/// ```
/// use quarterjack::trigger::Zone;
/// let zone = Zone::parse("Europe/Berlin")?;
/// let noon = "2026-07-01T10:00:00Z".parse().unwrap();
/// let (wall, offset) = zone.to_wall(noon);
/// assert_eq!((wall.to_string().as_str(), offset), ("2026-07-01 12:00:00", 7200));
/// # Ok::<(), quarterjack::trigger::UnknownZone>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Zone(Tz);

/// A name that no time zone has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownZone {
    /// The name as it was given.
    pub name: String,
    /// Names that look like it, the nearest first; at most three.
    pub suggestions: Vec<String>,
}

/// The instants at which a wall clock shows a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WallInstant {
    /// Once: the ordinary case.
    One(DateTime<Utc>),
    /// Never: the clock jumped over it.
    Gap {
        /// The first instant after the jump.
        end: DateTime<Utc>,
        /// How far the clock jumped, in seconds.
        seconds: i64,
    },
    /// Twice: the clock was set back over it.
    Fold {
        /// The first time.
        first: DateTime<Utc>,
        /// The second time.
        second: DateTime<Utc>,
    },
}

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Zone = Zone(Tz::UTC);

    /// Finds a zone by its IANA name, in any case.
    ///
    /// # Errors
    /// There is no such zone; near names are suggested.
    pub fn parse(name: &str) -> Result<Zone, UnknownZone> {
        let name = name.trim();
        if let Ok(zone) = name.parse::<Tz>() {
            return Ok(Zone(zone));
        }
        TZ_VARIANTS
            .iter()
            .find(|zone| zone.name().eq_ignore_ascii_case(name))
            .map(|zone| Zone(*zone))
            .ok_or_else(|| UnknownZone {
                name: name.to_owned(),
                suggestions: near_names(name),
            })
    }

    /// The IANA name, e.g. `Europe/Berlin`.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Every zone there is, by name.
    pub fn all() -> impl Iterator<Item = Zone> {
        TZ_VARIANTS.iter().map(|zone| Zone(*zone))
    }

    /// What the wall clock shows at an instant, and its offset from UTC in seconds (east is
    /// positive).
    pub fn to_wall(&self, instant: DateTime<Utc>) -> (NaiveDateTime, i32) {
        let offset = self
            .transitions()
            .segment(self.transitions().index_at(instant.timestamp()))
            .offset;
        let shift = chrono::TimeDelta::seconds(i64::from(offset));
        let wall = instant.naive_utc();
        (wall.checked_add_signed(shift).unwrap_or(wall), offset)
    }

    /// The instants at which the wall clock shows a time.
    pub fn from_wall(&self, wall: NaiveDateTime) -> WallInstant {
        let transitions = self.transitions();
        let seconds = wall.and_utc().timestamp();
        let nanos = wall.and_utc().timestamp_subsec_nanos();
        // A leap second's nanoseconds exceed a second: `from_timestamp` wants :59 for those.
        let instant = |seconds: i64, nanos: u32| {
            DateTime::from_timestamp(seconds, nanos % 1_000_000_000).unwrap_or(wall.and_utc())
        };
        match transitions.first_reach(seconds) {
            Reach::Gap {
                start,
                end_wall,
                begin_wall,
            } => WallInstant::Gap {
                end: instant(start, 0),
                seconds: end_wall - begin_wall,
            },
            Reach::At { utc, index } => {
                let first = instant(utc, nanos);
                match transitions.again_after(index, seconds) {
                    Some(second) => WallInstant::Fold {
                        first,
                        second: instant(second, nanos),
                    },
                    None => WallInstant::One(first),
                }
            }
        }
    }

    /// The zone's transitions, laid out on first use.
    pub(super) fn transitions(&self) -> &'static Transitions {
        static TABLES: [OnceLock<Transitions>; TZ_VARIANTS.len()] =
            [const { OnceLock::new() }; TZ_VARIANTS.len()];
        static UTC: LazyLock<Transitions> = LazyLock::new(|| Transitions::fixed(0));
        if self.0 == Tz::UTC {
            return &UTC;
        }
        match TABLES.get(self.0 as usize) {
            Some(table) => table.get_or_init(|| Transitions::load(self.name())),
            // Every variant is listed in TZ_VARIANTS, so every discriminant is below its length.
            None => &UTC,
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl UnknownZone {
    /// The suggestions as a question, `did you mean "Europe/Berlin"?`; None if there are none.
    pub fn hint(&self) -> Option<String> {
        let (last, others) = self.suggestions.split_last()?;
        let last = format!("\"{last}\"");
        Some(if others.is_empty() {
            format!("did you mean {last}?")
        } else {
            let others: Vec<String> = others.iter().map(|name| format!("\"{name}\"")).collect();
            format!("did you mean {} or {last}?", others.join(", "))
        })
    }
}

impl fmt::Display for UnknownZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no such time zone: \"{}\"", self.name)?;
        match self.hint() {
            Some(hint) => write!(f, "; {hint}"),
            None => write!(
                f,
                "; write an IANA name such as \"Europe/Berlin\" or \"UTC\""
            ),
        }
    }
}

impl std::error::Error for UnknownZone {}

/// Up to three zone names that look like `name`: as a whole, or in their last part, so that
/// `Berlin` finds `Europe/Berlin`.
fn near_names(name: &str) -> Vec<String> {
    let wanted = name.replace(' ', "_").to_lowercase();
    let wanted_city = wanted.rsplit('/').next().unwrap_or(&wanted);
    let mut near: Vec<(usize, &str)> = TZ_VARIANTS
        .iter()
        .filter_map(|zone| {
            let lower = zone.name().to_lowercase();
            let city = lower.rsplit('/').next().unwrap_or(&lower);
            // A city in the wrong region is a step worse than a slip of the pen.
            let distance = strsim::damerau_levenshtein(&lower, &wanted)
                .min(strsim::damerau_levenshtein(city, wanted_city) + 1);
            let allowed = 1 + wanted_city.chars().count() / 4;
            (distance <= allowed).then_some((distance, zone.name()))
        })
        .collect();
    near.sort_unstable();
    // What is clearly worse than the best is noise.
    let best = near.first().map_or(0, |(distance, _)| *distance);
    near.iter()
        .take_while(|(distance, _)| *distance <= best + 1)
        .take(3)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::database::{bundled_rules, load_rules};
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn wall(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    fn zone(name: &str) -> Zone {
        Zone::parse(name).unwrap()
    }

    #[test]
    fn names_are_found_in_any_case_and_near_ones_suggested() {
        assert_eq!(zone("europe/berlin").name(), "Europe/Berlin");
        assert_eq!(zone(" UTC "), Zone::UTC);
        let error = Zone::parse("Europe/Berln").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no such time zone: \"Europe/Berln\"; did you mean \"Europe/Berlin\"?"
        );
        assert_eq!(
            Zone::parse("Berlin").unwrap_err().suggestions,
            ["Europe/Berlin"]
        );
        assert_eq!(
            Zone::parse("America/New York").unwrap_err().suggestions,
            ["America/New_York"]
        );
        let error = Zone::parse("Middle-earth/Shire").unwrap_err();
        assert!(error.suggestions.is_empty());
        assert!(error.to_string().contains("an IANA name"));
        assert!(Zone::parse("").is_err());
    }

    #[test]
    fn every_zone_has_rules_in_the_bundle() {
        for zone in Zone::all() {
            assert!(bundled_rules(zone.name()).is_some(), "{zone}");
            assert!(TZ_VARIANTS.get(zone.0 as usize) == Some(&zone.0), "{zone}");
        }
    }

    #[test]
    fn a_gap_a_fold_and_an_ordinary_time() {
        let berlin = zone("Europe/Berlin");
        assert_eq!(
            berlin.from_wall(wall("2026-03-29T02:30:00")),
            WallInstant::Gap {
                end: at("2026-03-29T01:00:00Z"),
                seconds: 3600
            }
        );
        assert_eq!(
            berlin.from_wall(wall("2026-10-25T02:30:00")),
            WallInstant::Fold {
                first: at("2026-10-25T00:30:00Z"),
                second: at("2026-10-25T01:30:00Z")
            }
        );
        assert_eq!(
            berlin.from_wall(wall("2026-07-01T12:00:00.5")),
            WallInstant::One(at("2026-07-01T10:00:00.5Z"))
        );
        for (text, expected) in [
            ("2026-10-25T01:59:59", "2026-10-24T23:59:59Z"),
            ("2026-10-25T03:00:00", "2026-10-25T02:00:00Z"),
            ("2026-03-29T03:00:00", "2026-03-29T01:00:00Z"),
            ("2026-03-29T01:59:59", "2026-03-29T00:59:59Z"),
        ] {
            assert_eq!(
                berlin.from_wall(wall(text)),
                WallInstant::One(at(expected)),
                "{text}"
            );
        }
        assert_eq!(
            zone("Pacific/Apia").from_wall(wall("2011-12-30T12:00:00")),
            WallInstant::Gap {
                end: at("2011-12-30T10:00:00Z"),
                seconds: 86_400
            }
        );
    }

    #[test]
    fn rules_that_older_databases_lack() {
        // Vancouver stays on daylight time from 2026 on.
        assert_eq!(
            zone("America/Vancouver")
                .to_wall(at("2026-12-01T12:00:00Z"))
                .1,
            -7 * 3600
        );
        // Offsets to the second, and half-hour zones.
        assert_eq!(
            zone("Africa/Monrovia")
                .to_wall(at("1971-06-01T00:00:00Z"))
                .1,
            -2670
        );
        assert_eq!(
            zone("Australia/Lord_Howe")
                .to_wall(at("2026-01-01T00:00:00Z"))
                .1,
            11 * 3600
        );
    }

    proptest! {
        /// The table says what the rules say, at any second.
        #[test]
        fn offsets_agree_with_the_rules(index in 0..TZ_VARIANTS.len(), second in 0_i64..4_133_980_800) {
            let zone = Zone(TZ_VARIANTS[index]);
            let rules = load_rules(zone.name()).unwrap();
            let expected = rules.to_offset(jiff::Timestamp::from_second(second).unwrap()).seconds();
            let instant = DateTime::from_timestamp(second, 0).unwrap();
            let (wall, offset) = zone.to_wall(instant);
            prop_assert_eq!(offset, expected);
            // And the way back finds the instant.
            let back = zone.from_wall(wall);
            prop_assert!(match back {
                WallInstant::One(one) => one == instant,
                WallInstant::Fold { first, second } => first < second && (first == instant || second == instant),
                WallInstant::Gap { .. } => false,
            }, "{:?}", back);
        }
    }
}
