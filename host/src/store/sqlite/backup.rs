//! A copy of the store, made while a host works with it, and put back where none does.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::file::{self, FILE, Hold, OpenError};
use crate::clock::{Timestamp, format_instant};

/// Copies the store of a data directory to a file that is not there yet: all that was committed
/// when the copy began. A host goes on writing meanwhile.
///
/// # Errors
/// [`OpenError`].
pub fn backup(directory: &Path, to: &Path) -> Result<(), OpenError> {
    let connection = file::open_to_read(directory)?;
    let other = |why: String| OpenError::Other {
        path: to.to_owned(),
        why,
    };
    if to.exists() {
        return Err(other(
            "it is there already; a backup overwrites nothing".to_owned(),
        ));
    }
    let Some(name) = to.to_str() else {
        return Err(other("its name is not text".to_owned()));
    };
    connection
        .execute("VACUUM INTO ?", [name])
        .map_err(|error| other(file::explain(&error)))?;
    Ok(())
}

/// Puts a copy in the place of the store of a data directory that no host works with. What was
/// there is kept beside it, under the name that is given back.
///
/// # Errors
/// [`OpenError`]; the store is as it was then.
pub fn restore(
    directory: &Path,
    from: &Path,
    now: Timestamp,
) -> Result<Option<PathBuf>, OpenError> {
    check(from)?;
    let _hold = Hold::take(directory, now)?;
    let store = directory.join(FILE);
    let failed = |error| OpenError::Directory {
        path: directory.to_owned(),
        error,
    };
    let copy = directory.join("quarterjack.db.new");
    fs::copy(from, &copy).map_err(failed)?;
    fs::File::open(&copy)
        .and_then(|copy| copy.sync_all())
        .map_err(failed)?;
    let mut kept = None;
    if store.exists() {
        // What is only in the log is brought into the file before that is put aside.
        drop(file::open(directory));
        let aside = directory.join(format!("{FILE}.before-{}", format_instant(now)));
        fs::rename(&store, &aside).map_err(failed)?;
        kept = Some(aside);
    }
    for beside in ["-wal", "-shm"] {
        let _ = fs::remove_file(directory.join(format!("{FILE}{beside}"))); // not there as a rule
    }
    // What began under the other store says nothing of this one.
    let _ = fs::remove_file(directory.join(super::starts::FILE));
    fs::rename(&copy, &store).map_err(failed)?;
    Ok(kept)
}

/// Whether a file is a sound store that this version knows.
fn check(path: &Path) -> Result<(), OpenError> {
    if !path.is_file() {
        return Err(OpenError::Other {
            path: path.to_owned(),
            why: "there is no such file".to_owned(),
        });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let named = |error: rusqlite::Error| file::name(path, &error);
    let connection = Connection::open_with_flags(path, flags).map_err(named)?;
    file::check_version(&connection, path)?;
    let said: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .map_err(named)?;
    let tables: i64 = connection
        .query_row(
            "SELECT count(*) FROM sqlite_master WHERE name IN ('runs', 'jobs')",
            [],
            |row| row.get(0),
        )
        .map_err(named)?;
    if said != "ok" || tables != 2 {
        return Err(OpenError::Damaged {
            path: path.to_owned(),
            why: if said == "ok" {
                "it has other tables".to_owned()
            } else {
                said
            },
        });
    }
    Ok(())
}
