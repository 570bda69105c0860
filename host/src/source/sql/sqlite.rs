//! A query of an SQLite file, which is opened for reading alone.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::rows::{Builder, Cell, Columns, Listing};
use super::{Failure, PATIENCE};
use crate::clock;
use crate::units::format_duration_exact;

/// How long a lock of another program is waited for.
const LOCKED: Duration = Duration::from_secs(5);

/// How many of SQLite's steps are taken between two looks at the time.
const STEPS: i32 = 10_000;

/// An SQLite file.
pub(super) struct Database {
    path: PathBuf,
    /// Kept open: only whoever has it open is told that others have changed it.
    open: Option<Open>,
    /// Whether it was not there when it was to be read.
    missing: bool,
    patience: Duration,
    locked: Duration,
}

struct Open {
    connection: Connection,
    /// Which file it is: another may be put in its place.
    file: (u64, u64),
    /// What SQLite counted when it was read: another number after each change.
    version: i64,
}

impl Database {
    /// The file need not be there yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Database {
            path,
            open: None,
            missing: false,
            patience: PATIENCE,
            locked: LOCKED,
        }
    }

    /// Waits so long, for a query and for locks of others.
    #[cfg(test)]
    pub(super) fn hurry(&mut self, patience: Duration) {
        (self.patience, self.locked) = (patience, patience);
        self.open = None;
    }

    /// Whether it has changed since it was read.
    pub(super) fn changed(&mut self) -> bool {
        let Some(open) = &self.open else {
            return self.missing && self.path.exists();
        };
        match identity(&self.path) {
            // Locked: somebody is writing, and will be done.
            Ok(file) if file == open.file => {
                version(&open.connection).is_ok_and(|version| version != open.version)
            }
            _ => true,
        }
    }

    /// What the query yields.
    pub(super) fn read(&mut self, query: &str) -> Result<Listing, Failure> {
        let file = identity(&self.path);
        self.missing = file.is_err();
        let file = file.map_err(|error| {
            self.open = None;
            self.no_file(&error)
        })?;
        let last = self.open.take().filter(|open| open.file == file);
        let failure = |error: rusqlite::Error| self.failure(&error);
        let connection = match last {
            Some(open) => open.connection,
            None => connect(&self.path, self.locked).map_err(failure)?,
        };
        let started = clock::monotonic();
        let patience = self.patience;
        connection
            .progress_handler(STEPS, Some(move || started.elapsed() > patience))
            .map_err(failure)?;
        // Before the rows: a change between the two is then found by the next look.
        let version = version(&connection).map_err(failure)?;
        let listing = select(&connection, query).map_err(|error| match error {
            Trouble::Sqlite(error) => self.failure(&error),
            Trouble::Other(failure) => failure,
        });
        connection
            .progress_handler(0, None::<fn() -> bool>)
            .map_err(failure)?;
        self.open = Some(Open {
            connection,
            file,
            version,
        });
        listing
    }

    fn no_file(&self, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::NotFound => match self.path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() && !parent.exists() => Failure::new(
                    "no such file",
                    format!("there is no directory {}", parent.display()),
                ),
                _ => Failure::new("no such file", "whoever writes the definitions creates it"),
            },
            io::ErrorKind::PermissionDenied => Failure::new("permission denied", NOT_ALLOWED),
            io::ErrorKind::InvalidInput => {
                Failure::new("is no regular file", "name a database, such as jobs.db")
            }
            _ => Failure::new(format!("cannot be read: {error}"), "is the disk in order?"),
        }
    }

    fn failure(&self, error: &rusqlite::Error) -> Failure {
        if let rusqlite::Error::SqlInputError { msg, offset, .. } = error {
            let failure = Failure::new(msg.clone(), "");
            return match usize::try_from(*offset) {
                Ok(at) => failure.at(at),
                // It has not said where.
                Err(_) => failure.at(0),
            };
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Failure::new(
                "is not an SQLite database",
                "is it the right file, and not an encrypted one?",
            ),
            Some(ErrorCode::DatabaseCorrupt) => Failure::new(
                format!("the database is damaged: {}", told(error)),
                "`PRAGMA integrity_check` of sqlite3 tells what is",
            ),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Failure::new(
                format!(
                    "the database has been locked by another program for {}",
                    format_duration_exact(self.locked)
                ),
                "programs that write should keep transactions short; with `PRAGMA journal_mode=WAL` they lock nobody out",
            ),
            Some(ErrorCode::OperationInterrupted) => Failure::new(
                format!(
                    "the query took longer than {}",
                    format_duration_exact(self.patience)
                ),
                "does it lack an index?",
            )
            .at(0),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Failure::new(format!("cannot be opened: {}", told(error)), NOT_ALLOWED)
            }
            Some(ErrorCode::ReadOnly) => Failure::new(
                format!("cannot be read without writing: {}", told(error)),
                "a program that wrote it has crashed: let it start again, and mend what it left",
            ),
            _ if matches!(error, rusqlite::Error::MultipleStatement) => {
                Failure::new("the query is more than one statement", "leave one SELECT").at(0)
            }
            _ => Failure::new(told(error), "").at(0),
        }
    }
}

const NOT_ALLOWED: &str = "the user that runs the host may not read it, or not enter its directory";

/// What SQLite says, without what the library adds.
fn told(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        _ => error.to_string(),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::metadata(path)?;
    // Opening a pipe would wait for who writes to it.
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok((metadata.dev(), metadata.ino()))
}

fn connect(path: &Path, locked: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(locked)?;
    // The definitions are another program's: nothing in its schema is to do more than yield rows.
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;")?;
    Ok(connection)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0))
}

/// Why a query yields nothing.
enum Trouble {
    Sqlite(rusqlite::Error),
    Other(Failure),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Trouble::Sqlite(error)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Other(failure)
    }
}

fn select(connection: &Connection, query: &str) -> Result<Listing, Trouble> {
    let mut statement = connection.prepare(query)?;
    if !statement.readonly() {
        let advice = "it has to be a SELECT; nothing was written";
        return Err(Failure::new("the query writes", advice).at(0).into());
    }
    let names = statement.column_names();
    let count = names.len();
    let columns = Columns::new(names.into_iter().map(String::from).collect())?;
    let mut builder = Builder::new(columns);
    let mut cells = Vec::with_capacity(count);
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        cells.clear();
        for index in 0..count {
            cells.push(cell(row.get_ref(index)?));
        }
        builder.push(&cells)?;
    }
    Ok(builder.finish())
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Json(number.to_string().into()),
        ValueRef::Real(number) => match serde_json::Number::from_f64(number) {
            Some(number) => Cell::Json(number.to_string().into()),
            None => Cell::Unusable("an infinite number".into()),
        },
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Cell::Text(text.to_owned()),
            Err(_) => Cell::Unusable("a text that is not UTF-8".into()),
        },
        ValueRef::Blob(bytes) => Cell::Unusable(match bytes.len() {
            1 => "a BLOB of 1 byte".into(),
            length => format!("a BLOB of {length} bytes"),
        }),
    }
}
