//! A copy put in the place of what a data directory keeps, where no host works with it.
//!
//! ```text
//! FILE ──checked──▶ quarterjack.db.new, logs.db.new ──▶ quarterjack.db, logs.db
//!                   what was there before ──▶ quarterjack.db.before-…, logs.db.before-…
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _};

use super::backup::{
    LINES, attach, copying, make_private, open_copy, sync_directory, vacuum_into, written,
};
use super::file::{self, FILE, Hold, OpenError, with_ending};
use super::lines;
use crate::clock::{Timestamp, format_instant};

/// Puts a copy in the place of what a data directory keeps, with which no host works. What was
/// there is kept beside it, under the names that are given back, the history's first.
///
/// The copy is what [`backup`](super::backup()) has written, or the file of a store as it is: then
/// the file of lines beside it is taken with it.
///
/// # Errors
/// [`OpenError`]; all is as it was then.
pub fn restore(directory: &Path, from: &Path, now: Timestamp) -> Result<Vec<PathBuf>, OpenError> {
    let copy = Copy::check(from).map_err(|error| match error {
        OpenError::Damaged { path, why } => OpenError::NoBackup { path, why },
        other => other,
    })?;
    let _hold = Hold::take(directory, now)?;
    let store = directory.join(FILE);
    let young = Young {
        whole: directory.join(format!("{FILE}.all")),
        history: directory.join(format!("{FILE}.new")),
        lines: directory.join(format!("{}.new", lines::FILE)),
    };
    // What a restore left that did not come to its end, and what this one leaves if it does not.
    young.clear().map_err(|error| written(&store, error))?;
    let restored = copy.unpack(&young, &store).and_then(|with_lines| {
        let put = young.put(directory, with_lines, now);
        put.map_err(|error| written(&store, error))
    });
    let _ = young.clear();
    restored
}

/// A sound copy.
struct Copy<'a> {
    path: &'a Path,
    connection: Connection,
    lines: Lines,
}

/// Where the lines of a copy are.
enum Lines {
    /// There are none.
    None,
    /// In the copy itself, of this version.
    Within(usize),
    /// In a file beside it.
    Beside(PathBuf),
}

impl Copy<'_> {
    /// Checks whether a file is a sound store, or copy of one, that this version knows.
    fn check(path: &Path) -> Result<Copy<'_>, OpenError> {
        let named = |error: rusqlite::Error| file::name(path, &error);
        let readable = File::open(path).and_then(|file| file.metadata());
        match readable {
            Ok(found) if found.is_file() => {}
            Ok(_) => return Err(unusable(path, "it is not a file")),
            Err(error) => return Err(unusable(path, error)),
        }
        let connection = file::open_store_to_read(path)?;
        is_sound(&connection, path, &["runs", "jobs"])?;
        let marked = has_table(&connection, "backup").map_err(named)?;
        let lines = if marked {
            let version: Option<Option<i64>> = connection
                .query_row("SELECT lines FROM backup", [], |row| row.get(0))
                .optional()
                .map_err(named)?;
            match version.flatten() {
                None => Lines::None,
                Some(version) => {
                    has_tables(&connection, path, &LINES)?;
                    let version = usize::try_from(version).unwrap_or(usize::MAX);
                    Lines::Within(file::known_version(path, version, lines::STEPS.len())?)
                }
            }
        } else {
            match beside(path).filter(|beside| beside.is_file()) {
                None => Lines::None,
                Some(beside) => {
                    let connection = file::open_to_read_with(&beside, lines::STEPS.len())?;
                    is_sound(&connection, &beside, &LINES)?;
                    Lines::Beside(beside)
                }
            }
        };
        Ok(Copy {
            path,
            connection,
            lines,
        })
    }

    /// Writes what is in the copy to the files of a store, on the disk. Says whether there are
    /// lines.
    fn unpack(&self, young: &Young, store: &Path) -> Result<bool, OpenError> {
        let fresh = |path: &Path| make_private(path).map_err(|error| written(store, error));
        let settled = |file: File| file.sync_all().map_err(|error| written(store, error));
        let lines = match &self.lines {
            Lines::None => false,
            Lines::Beside(beside) => {
                let file = fresh(&young.lines)?;
                let connection = file::open_to_read_with(beside, lines::STEPS.len())?;
                vacuum_into(&connection, beside, &young.lines, store)?;
                settled(file)?;
                true
            }
            Lines::Within(version) => {
                let file = fresh(&young.lines)?;
                let steps = lines::STEPS.get(..*version).unwrap_or(lines::STEPS);
                drop(file::open_with(&young.lines, steps)?);
                let unpacked = unpack_lines(self.path, &young.lines);
                unpacked.map_err(|error| copying(self.path, store, &error))?;
                settled(file)?;
                true
            }
        };
        let file = fresh(&young.history)?;
        if matches!(self.lines, Lines::None | Lines::Beside(_)) {
            vacuum_into(&self.connection, self.path, &young.history, store)?;
        } else {
            // Without the lines, and without the room that they took.
            let whole = fresh(&young.whole)?;
            vacuum_into(&self.connection, self.path, &young.whole, store)?;
            let copy = open_copy(&young.whole);
            let copy = copy.map_err(|error| copying(&young.whole, store, &error))?;
            copy.execute_batch("DROP TABLE lines; DROP TABLE logs")
                .map_err(|error| copying(&young.whole, store, &error))?;
            vacuum_into(&copy, &young.whole, &young.history, store)?;
            drop(copy);
            drop(whole);
        }
        let unmarked = open_copy(&young.history)
            .and_then(|copy| copy.execute_batch("DROP TABLE IF EXISTS backup"));
        unmarked.map_err(|error| copying(&young.history, store, &error))?;
        settled(file)?;
        Ok(lines)
    }
}

/// Copies the lines in a copy to a file of their own, which has the tables for them.
fn unpack_lines(from: &Path, to: &Path) -> rusqlite::Result<()> {
    let connection = open_copy(to)?;
    attach(&connection, from)?;
    connection.execute_batch(
        "BEGIN; INSERT INTO main.logs SELECT * FROM source.logs; \
         INSERT INTO main.lines SELECT * FROM source.lines; COMMIT",
    )
}

/// The file of lines that belongs to the file of a store: beside it, with the same ending.
fn beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let ending = name.strip_prefix(FILE)?;
    Some(path.with_file_name(format!("{}{ending}", lines::FILE)))
}

/// The files of a store that are not in their places yet.
struct Young {
    /// A whole copy, lines and all.
    whole: PathBuf,
    history: PathBuf,
    lines: PathBuf,
}

impl Young {
    fn clear(&self) -> io::Result<()> {
        for path in [&self.whole, &self.history, &self.lines] {
            for ending in ["", "-wal", "-shm", "-journal"] {
                remove(&with_ending(path, ending))?;
            }
        }
        Ok(())
    }

    /// Puts the files in their places. Gives the names of what was there.
    fn put(&self, directory: &Path, with_lines: bool, now: Timestamp) -> io::Result<Vec<PathBuf>> {
        let (store, log) = (directory.join(FILE), directory.join(lines::FILE));
        // What is only in their logs is brought into the files, and the logs go, if they are sound.
        if store.exists() {
            drop(file::open(directory));
        }
        if log.exists() {
            drop(file::open_with(&log, lines::STEPS));
        }
        let kept = [set_aside(&store, now)?, set_aside(&log, now)?];
        if with_lines {
            fs::rename(&self.lines, &log)?;
        } else {
            remove(&log)?;
        }
        // What began under the other store says nothing of this one.
        remove(&directory.join(super::starts::FILE))?;
        fs::rename(&self.history, &store)?;
        sync_directory(&store)?;
        Ok(kept.into_iter().flatten().collect())
    }
}

/// Gives a file a second name, if it is there, and takes what SQLite has left beside it there.
fn set_aside(path: &Path, now: Timestamp) -> io::Result<Option<PathBuf>> {
    if !path.exists() {
        return Ok(None);
    }
    let aside = with_ending(path, &format!(".before-{}", format_instant(now)));
    fs::hard_link(path, &aside).or_else(|_| fs::copy(path, &aside).map(drop))?;
    for ending in ["-wal", "-shm"] {
        let log = with_ending(path, ending);
        if log.exists() {
            fs::rename(log, with_ending(&aside, ending))?;
        }
    }
    Ok(Some(aside))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Refuses a file that SQLite finds fault with, or that has other tables.
fn is_sound(connection: &Connection, path: &Path, tables: &[&str]) -> Result<(), OpenError> {
    let said: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .map_err(|error| file::name(path, &error))?;
    if said == "ok" {
        return has_tables(connection, path, tables);
    }
    Err(OpenError::Damaged {
        path: path.to_owned(),
        why: said,
    })
}

fn has_tables(connection: &Connection, path: &Path, tables: &[&str]) -> Result<(), OpenError> {
    for table in tables {
        let found = has_table(connection, table).map_err(|error| file::name(path, &error))?;
        if !found {
            return Err(OpenError::Damaged {
                path: path.to_owned(),
                why: format!("it has no table `{table}`"),
            });
        }
    }
    Ok(())
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?")?
        .exists([name])
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> OpenError {
    OpenError::Other {
        path: path.to_owned(),
        why: why.to_string(),
    }
}
