//! Time-zone databases older than the one in use: what other programs on this host may go by.

use std::path::PathBuf;

use chrono::{DateTime, Offset as _, TimeZone as _};

use super::Zone;
use super::database::{bundled_rules, bundled_version, system_database, tz_database};

/// A database older than the one in use.
#[derive(Debug)]
pub(in crate::trigger) struct Older {
    /// Its version, e.g. `2025b`.
    pub(in crate::trigger) version: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// The system's files.
    System(PathBuf),
    /// Our own bundle, where the system's is in use.
    Bundle,
    /// The copy inside of chrono-tz, which other programs have, too.
    ChronoTz,
}

/// The older databases at hand, each version once, what other programs use most first.
pub(in crate::trigger) fn older_databases() -> Vec<Older> {
    let used = tz_database().version;
    let system = system_database().map(|(version, path)| (version, Place::System(path)));
    let others = [
        (bundled_version().to_owned(), Place::Bundle),
        (chrono_tz::IANA_TZDB_VERSION.to_owned(), Place::ChronoTz),
    ];
    let mut older: Vec<Older> = Vec::new();
    for (version, place) in system.into_iter().chain(others) {
        // Versions are ordered as their text is.
        if version < used && older.iter().all(|known| known.version != version) {
            older.push(Older { version, place });
        }
    }
    older
}

impl Older {
    /// The offset of a zone at an instant (both in seconds, east positive), by this database.
    /// None if it does not have the zone.
    pub(in crate::trigger) fn offsets(&self, zone: Zone) -> Option<Box<dyn Fn(i64) -> i32>> {
        let rules = match &self.place {
            Place::ChronoTz => {
                return Some(Box::new(move |utc| {
                    let instant = DateTime::from_timestamp(utc, 0).unwrap_or_default();
                    let offset = zone.0.offset_from_utc_datetime(&instant.naive_utc());
                    offset.fix().local_minus_utc()
                }));
            }
            Place::Bundle => bundled_rules(zone.name())?,
            Place::System(directory) => {
                let data = std::fs::read(directory.join(zone.name())).ok()?;
                jiff::tz::TimeZone::tzif(zone.name(), &data).ok()?
            }
        };
        Some(Box::new(move |utc| {
            let instant = jiff::Timestamp::from_second(utc).unwrap_or_default();
            rules.to_offset(instant).seconds()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_older_and_each_is_there_once() {
        let used = tz_database().version;
        let older = older_databases();
        assert!(older.iter().all(|it| it.version < used));
        for (place, it) in older.iter().enumerate() {
            assert!(
                older[..place]
                    .iter()
                    .all(|other| other.version != it.version)
            );
        }
    }

    #[test]
    fn each_tells_offsets() {
        let noon = DateTime::parse_from_rfc3339("2026-07-01T12:00:00Z").unwrap();
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        for place in [Place::Bundle, Place::ChronoTz] {
            let older = Older {
                version: String::new(),
                place,
            };
            assert_eq!(older.offsets(berlin).unwrap()(noon.timestamp()), 7200);
        }
        let nowhere = Older {
            version: String::new(),
            place: Place::System(PathBuf::from("no/such/directory")),
        };
        assert!(nowhere.offsets(berlin).is_none());
    }
}
