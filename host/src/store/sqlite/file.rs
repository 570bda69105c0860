//! The file of the store: opened, brought up to date, refused where it is not what it should be.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rusqlite_migration::{M, Migrations};
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::clock::{Timestamp, format_instant};

/// The name of the store's file in a data directory.
pub const FILE: &str = "quarterjack.db";

/// The name of the file that says which host holds a data directory.
const HOLDER: &str = "host.lock";

/// How long another process is waited for that writes to the file, such as one that pauses a job.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a hold is tried for, and how long after the last time.
const TRIES: u32 = 4;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// The most bytes of a holder's word.
const LONGEST_WORD: u64 = 1024;

/// The tables of every version, the oldest first. What is here is never changed: a new version
/// adds to it.
const STEPS: &[M<'static>] = &[
    M::up(include_str!("schema.sql")),
    M::up(include_str!("schema-2.sql")),
];

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The directory cannot be made or looked into.
    #[error("cannot use the data directory {}: {error}{}", path.display(), way_out(error))]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another host works with it.
    #[error(
        "the data directory {} is in use by another host ({holder}); stop that one first, or give this one a --data of its own", path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who, such as `process 123, since 2026-11-23T02:00:00Z`.
        holder: String,
    },
    /// There is no store in it.
    #[error(
        "there is no history in {}: a host makes one with `quarterjack serve --data {}`", path.display(), path.display()
    )]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// A newer version has written it.
    #[error(
        "{} was written by a newer quarterjack (its tables are of version {found}, this one knows {known}); use that one, or give this one a --data of its own", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The newest version that is known.
        known: usize,
    },
    /// It is no store, or is damaged.
    #[error(
        "{} is damaged, or was not written by quarterjack: {why}; nothing in it was changed. Put a backup in its place with `quarterjack restore`, or move the file away to go on without it", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A file that is to be put in the place of a store, and is none.
    #[error("{} is no sound backup of a history: {why}", path.display())]
    NoBackup {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A copy that cannot be written.
    #[error("cannot write {}: {why}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Anything else.
    #[error("cannot open {}: {why}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// What to do about a directory that cannot be used: the end of a sentence.
fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; let this user read and write there, or name another directory with --data"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; its file system is read-only: name another directory with --data"
        }
        io::ErrorKind::NotADirectory
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::IsADirectory => {
            "; there is something else of that name: name another directory with --data"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room on its disk",
        _ => "",
    }
}

/// That a data directory is held by this process, until it is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    _file: File,
}

impl Hold {
    /// Takes a data directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`OpenError::InUse`], [`OpenError::Directory`].
    pub(super) fn take(directory: &Path, now: Timestamp) -> Result<Hold, OpenError> {
        let failed = |error| OpenError::Directory {
            path: directory.to_owned(),
            error,
        };
        make_private(directory).map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join(HOLDER))
            .map_err(failed)?;
        if !lock(&file) {
            let mut word = String::new();
            // Whoever holds it may not have said so yet.
            let _ = (&file).take(LONGEST_WORD).read_to_string(&mut word);
            let word = word.trim();
            return Err(OpenError::InUse {
                path: directory.to_owned(),
                holder: if word.is_empty() { "unknown" } else { word }.to_owned(),
            });
        }
        let word = format!(
            "process {}, since {}\n",
            std::process::id(),
            format_instant(now)
        );
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        file.write_all(word.as_bytes()).map_err(failed)?;
        Ok(Hold { _file: file })
    }
}

/// Takes the lock of a holder, if no other process has it. Whoever only asks has it for a moment.
fn lock(file: &File) -> bool {
    (0..TRIES).any(|tried| {
        if tried > 0 {
            std::thread::sleep(BETWEEN_TRIES);
        }
        flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
}

/// Whether a process holds a data directory.
pub(super) fn is_held(directory: &Path) -> bool {
    let Ok(file) = File::open(directory.join(HOLDER)) else {
        return false;
    };
    // It is let go with the file.
    flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

/// Makes a directory that only its owner may look into: outputs may be private.
fn make_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if directory.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Opens the store of a data directory to write to it, and brings its tables up to date.
///
/// # Errors
/// [`OpenError`]; nothing in the file has changed.
pub(super) fn open(directory: &Path) -> Result<Connection, OpenError> {
    let path = directory.join(FILE);
    let connection = open_with(&path, STEPS)?;
    set_up_store(&connection).map_err(|error| name(&path, &error))?;
    Ok(connection)
}

/// Opens a file to write to it, and brings its tables up to date by these steps.
///
/// # Errors
/// [`OpenError`]; nothing in the file has changed.
pub(super) fn open_with(path: &Path, steps: &[M<'static>]) -> Result<Connection, OpenError> {
    let named = |error: &rusqlite::Error| name(path, error);
    let mut connection = Connection::open(path).map_err(|error| named(&error))?;
    check_steps(&connection, path, steps.len())?;
    set_up(&connection).map_err(|error| named(&error))?;
    Migrations::from_slice(steps)
        .to_latest(&mut connection)
        .map_err(|error| match error {
            rusqlite_migration::Error::RusqliteError { err, .. } => named(&err),
            error => OpenError::Other {
                path: path.to_owned(),
                why: error.to_string(),
            },
        })?;
    Ok(connection)
}

/// Opens the store of a data directory to read it, whether or not a host works with it.
///
/// # Errors
/// [`OpenError`].
pub(super) fn open_to_read(directory: &Path) -> Result<Connection, OpenError> {
    let path = directory.join(FILE);
    match fs::metadata(&path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::Missing {
                path: directory.to_owned(),
            });
        }
        Err(error) => {
            return Err(OpenError::Directory {
                path: directory.to_owned(),
                error,
            });
        }
    }
    open_store_to_read(&path)
}

/// Opens the file of a store, or of a copy of one, to read it.
///
/// # Errors
/// [`OpenError`].
pub(super) fn open_store_to_read(path: &Path) -> Result<Connection, OpenError> {
    open_to_read_with(path, STEPS.len())
}

/// Opens a file to read it, whose version may be this one at most.
///
/// # Errors
/// [`OpenError`].
pub(super) fn open_to_read_with(path: &Path, known: usize) -> Result<Connection, OpenError> {
    let checked = |mode: &str| {
        let connection = open_as(path, mode)?;
        let version = version_of(&connection)?;
        Ok((connection, version))
    };
    let (connection, version) = match checked("mode=ro") {
        // To read, SQLite writes a file beside this one, by which it would know of others. Where it
        // may not and no host is at work, all is in the file itself, unless a log is left beside it.
        Err(error) if is_write_refused(&error) && !path.parent().is_some_and(is_held) => {
            if fs::metadata(with_ending(path, "-wal")).is_ok_and(|log| log.len() > 0) {
                return Err(OpenError::Other {
                    path: path.to_owned(),
                    why: format!(
                        "its directory cannot be written to, and its last records are still in {}; copy the whole directory to where you may write, and name that with --data",
                        with_ending(path, "-wal").display()
                    ),
                });
            }
            checked("mode=ro&immutable=1")
        }
        opened => opened,
    }
    .map_err(|error| name(path, &error))?;
    known_version(path, version, known)?;
    Ok(connection)
}

fn is_write_refused(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
}

/// Opens a file that nothing is written to.
fn open_as(path: &Path, mode: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri(path, mode), flags)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// The name of a file that also says how it is opened.
pub(super) fn uri(path: &Path, mode: &str) -> String {
    // What is not absolute would be taken for the name of a host.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri.push('?');
    uri.push_str(mode);
    uri
}

/// The same path with something after it.
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(ending);
    name.into()
}

/// Refuses a file that a newer version has written, before anything is done to it.
fn check_steps(connection: &Connection, path: &Path, known: usize) -> Result<(), OpenError> {
    let found = version_of(connection).map_err(|error| name(path, &error))?;
    known_version(path, found, known).map(drop)
}

/// Of which version the tables are.
fn version_of(connection: &Connection) -> rusqlite::Result<usize> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(found).unwrap_or(usize::MAX))
}

/// A version of tables, if it is known.
///
/// # Errors
/// [`OpenError::Newer`].
pub(super) fn known_version(path: &Path, found: usize, known: usize) -> Result<usize, OpenError> {
    if found > known {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    Ok(found)
}

/// What every connection that writes is set to.
fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Larger pages hold the rows of a run with fewer of them. Only heeded in a new file.
    connection.pragma_update(None, "page_size", 8192)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Until something else is said.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

/// What a connection that writes to the store is set to besides.
fn set_up_store(connection: &Connection) -> rusqlite::Result<()> {
    // A commit is on the disk when it is answered.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Another thread copies the log into the file, where no run waits for it.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -64 * 1024)?;
    Ok(())
}

/// What went wrong with a file, for the person who reads it.
pub(super) fn name(path: &Path, error: &rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::Damaged {
            path: path.to_owned(),
            why: error.to_string(),
        },
        _ => OpenError::Other {
            path: path.to_owned(),
            why: explain(error),
        },
    }
}

/// Why the store does not do its work, and what would help.
pub(super) fn explain(error: &rusqlite::Error) -> String {
    let help = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "; make room on the disk of the data directory",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "; see whether the host may write to the data directory and what is in it"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "; another program keeps the file locked: end it, or try again when it has ended (`fuser` tells which it is)"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "; the file is damaged: put a backup in its place with `quarterjack restore`, or move it away to go on without it"
        }
        _ => "",
    };
    format!("{error}{help}")
}
