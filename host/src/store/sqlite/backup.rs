//! A copy of what a data directory keeps, made while a host works with it: one file, with the
//! tables of the history and, beside them, those of the lines of its runs.
//!
//! ```text
//! quarterjack.db ──VACUUM INTO──▶ FILE.part ──▶ FILE
//! logs.db ──the lines of these runs──▶ │
//! ```
//!
//! The history is as it was when the copy began. The lines are read after it, so that none of its
//! runs lacks those that it had by then; those of later runs are left out.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

use super::file::{self, FILE, OpenError};
use super::lines;

/// How long after the end of a run all that it said is in the file of lines, unless the disk is in
/// trouble: some times what passes between two of its transactions.
const WRITTEN: Duration = Duration::from_millis(300);

/// What the copy says of itself: of which version its tables of lines are, or nothing where there
/// are none.
pub(super) const MARK: &str = "CREATE TABLE backup (lines INTEGER) STRICT";

/// The tables of lines, which have the same names in a copy as in a file of their own.
pub(super) const LINES: [&str; 2] = ["logs", "lines"];

/// Copies what a data directory keeps to a file that is not there yet: all that was committed when
/// the copy began. A host goes on writing meanwhile. Gives the bytes of the copy.
///
/// # Errors
/// [`OpenError`]; there is no copy then.
pub fn backup(directory: &Path, to: &Path) -> Result<u64, OpenError> {
    let history = file::open_to_read(directory)?;
    let lines = version_of_lines(directory)?;
    if fs::symlink_metadata(to).is_ok() {
        return Err(taken(to));
    }
    // Under another name until it is whole: half a copy is none.
    let part = file::with_ending(to, ".part");
    let copied = copy(directory, &history, lines, &part, to)
        .and_then(|()| publish(&part, to).map_err(|error| written(to, error)));
    if copied.is_err() {
        let _ = fs::remove_file(&part); // it may not have been made
    }
    copied
}

fn taken(to: &Path) -> OpenError {
    let why = "there is such a file already, and a backup replaces none";
    written(to, why)
}

/// Why a file cannot be written.
pub(super) fn written(path: &Path, why: impl std::fmt::Display) -> OpenError {
    OpenError::Write {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

/// Of which version the tables of lines are, if there is a file of them.
fn version_of_lines(directory: &Path) -> Result<Option<i64>, OpenError> {
    let path = directory.join(lines::FILE);
    if !path.exists() {
        return Ok(None);
    }
    let connection = file::open_to_read_with(&path, lines::STEPS.len())?;
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0));
    version.map(Some).map_err(|error| file::name(&path, &error))
}

/// Writes a whole copy to `part`; `to` is what it will be called.
fn copy(
    directory: &Path,
    history: &Connection,
    lines: Option<i64>,
    part: &Path,
    to: &Path,
) -> Result<(), OpenError> {
    // What another copy left here that did not come to its end.
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(written(to, error)),
        _ => {}
    }
    let file = make_private(part).map_err(|error| written(to, error))?;
    vacuum_into(history, &directory.join(FILE), part, to)?;
    if lines.is_some() && file::is_held(directory) {
        std::thread::sleep(WRITTEN);
    }
    let path = directory.join(lines::FILE);
    add_lines(&path, lines, part).map_err(|error| copying(&path, to, &error))?;
    // Not closed before SQLite has closed it: its locks would go with it.
    file.sync_all().map_err(|error| written(to, error))
}

/// Makes a file that is as private as a store. SQLite writes to an empty one.
pub(super) fn make_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Copies a whole database, of `from`, into the empty file `into`; `to` is what a message calls it.
pub(super) fn vacuum_into(
    connection: &Connection,
    from: &Path,
    into: &Path,
    to: &Path,
) -> Result<(), OpenError> {
    let name = into
        .to_str()
        .ok_or_else(|| written(to, "its name is not UTF-8"))?;
    connection
        .execute("VACUUM INTO ?", [name])
        .map(drop)
        .map_err(|error| copying(from, to, &error))
}

/// What went wrong with a copy: what is copied may be damaged, or the copy cannot be written.
pub(super) fn copying(from: &Path, to: &Path, error: &rusqlite::Error) -> OpenError {
    match file::name(from, error) {
        damaged @ OpenError::Damaged { .. } => damaged,
        _ => written(to, file::explain(error)),
    }
}

/// Adds the lines of the runs in a copy to it.
fn add_lines(from: &Path, version: Option<i64>, copy: &Path) -> rusqlite::Result<()> {
    let connection = open_copy(copy)?;
    if version.is_some() {
        attach(&connection, from)?;
    }
    connection.execute_batch("BEGIN")?;
    connection.execute_batch(MARK)?;
    connection.execute("INSERT INTO backup (lines) VALUES (?)", [version])?;
    if version.is_some() {
        for table in LINES {
            let sql: String = connection.query_row(
                "SELECT sql FROM source.sqlite_schema WHERE type = 'table' AND name = ?",
                params![table],
                |row| row.get(0),
            )?;
            connection.execute_batch(&sql)?;
        }
        connection.execute_batch(
            "INSERT INTO main.logs SELECT * FROM source.logs AS log \
               WHERE EXISTS (SELECT 1 FROM main.runs WHERE id = log.run) ORDER BY run, attempt; \
             INSERT INTO main.lines SELECT line.* FROM main.logs AS log \
               CROSS JOIN source.lines AS line ON line.run = log.run AND line.attempt = log.attempt \
               ORDER BY log.run, log.attempt, line.number",
        )?;
    }
    connection.execute_batch("COMMIT")
}

/// Opens a copy that is being made, which nobody else reads and which is thrown away if anything
/// goes wrong: it needs no journal, and is on the disk when all of it is there.
pub(super) fn open_copy(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    Ok(connection)
}

/// Lets a connection read another file, as `source`. Nothing there changes.
pub(super) fn attach(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    let uri = file::uri(path, "mode=ro");
    connection.execute("ATTACH ? AS source", [uri]).map(drop)
}

/// Gives a whole copy its name, unless there is such a file by now. Gives its size.
fn publish(part: &Path, to: &Path) -> io::Result<u64> {
    match fs::hard_link(part, to) {
        Ok(()) => fs::remove_file(part)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // Not every file system has such links.
        Err(_) => fs::rename(part, to)?,
    }
    sync_directory(to)?;
    Ok(fs::metadata(to)?.len())
}

/// Waits until the name of a file is on the disk.
pub(super) fn sync_directory(of: &Path) -> io::Result<()> {
    match of.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests;
