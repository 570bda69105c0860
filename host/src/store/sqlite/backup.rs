//! A copy of the store, made while a host works with it, and put back where none does.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::file::{self, FILE, Hold, OpenError};
use crate::clock::{Timestamp, format_instant};

/// Copies the store of a data directory to a file that is not there yet: all that was committed
/// when the copy began. A host goes on writing meanwhile. Gives the bytes of the copy.
///
/// # Errors
/// [`OpenError`]; there is no copy then.
pub fn backup(directory: &Path, to: &Path) -> Result<u64, OpenError> {
    let connection = file::open_to_read(directory)?;
    let other = |why: String| OpenError::Write {
        path: to.to_owned(),
        why,
    };
    let name = to
        .to_str()
        .ok_or_else(|| other("its name is not UTF-8".to_owned()))?;
    // As private as the store, and never instead of another file. SQLite writes to an empty one.
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to);
    let copy = made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            other("there is such a file already, and a backup replaces none".to_owned())
        }
        _ => other(error.to_string()),
    })?;
    let copied = connection
        .execute("VACUUM INTO ?", [name])
        .map_err(|error| other(file::explain(&error)))
        .and_then(|_| settle(&copy, to).map_err(|error| other(error.to_string())));
    if copied.is_err() {
        let _ = fs::remove_file(to); // half a copy is none
    }
    copied
}

/// Waits until a file and its name are on the disk. Gives its size.
fn settle(file: &File, path: &Path) -> io::Result<u64> {
    file.sync_all()?;
    sync_directory(path)?;
    Ok(file.metadata()?.len())
}

/// Waits until the name of a file is on the disk.
fn sync_directory(of: &Path) -> io::Result<()> {
    match of.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
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
    check(from).map_err(|error| match error {
        OpenError::Damaged { path, why } => OpenError::NoBackup { path, why },
        other => other,
    })?;
    let _hold = Hold::take(directory, now)?;
    let copy = directory.join(format!("{FILE}.new"));
    let put = put(directory, from, &copy, now);
    if put.is_err() {
        let _ = fs::remove_file(&copy); // it may not have been made
    }
    put.map_err(|error| OpenError::Write {
        path: directory.join(FILE),
        why: error.to_string(),
    })
}

fn put(directory: &Path, from: &Path, copy: &Path, now: Timestamp) -> io::Result<Option<PathBuf>> {
    let store = directory.join(FILE);
    let mut target = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(copy)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    target.sync_all()?;
    let mut kept = None;
    if store.exists() {
        // What is only in its log is brought into the file, and the log goes, if it is sound.
        drop(file::open(directory));
        let aside = directory.join(format!("{FILE}.before-{}", format_instant(now)));
        fs::hard_link(&store, &aside).or_else(|_| fs::copy(&store, &aside).map(drop))?;
        for beside in ["-wal", "-shm"] {
            let log = directory.join(format!("{FILE}{beside}"));
            if log.exists() {
                let mut name = aside.clone().into_os_string();
                name.push(beside);
                fs::rename(log, name)?;
            }
        }
        kept = Some(aside);
    }
    // What began under the other store says nothing of this one.
    match fs::remove_file(directory.join(super::starts::FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(copy, &store)?;
    sync_directory(&store)?;
    Ok(kept)
}

/// Whether a file is a sound store that this version knows.
fn check(path: &Path) -> Result<(), OpenError> {
    let named = |error: rusqlite::Error| file::name(path, &error);
    let readable = File::open(path).and_then(|file| file.metadata());
    match readable {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(unusable(path, "it is not a file")),
        Err(error) => return Err(unusable(path, error)),
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
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
    let wrong = match (said.as_str(), tables) {
        ("ok", 2) => return Ok(()),
        ("ok", _) => "it has other tables".to_owned(),
        _ => said,
    };
    Err(OpenError::Damaged {
        path: path.to_owned(),
        why: wrong,
    })
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> OpenError {
    OpenError::Other {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RunQuery;
    use crate::run::Cause;
    use crate::store::conformance::{firing, instant, job, record};
    use crate::store::{SqliteStore, Store};

    async fn instants(directory: &Path) -> Vec<i64> {
        let store = SqliteStore::open(directory, instant(100)).unwrap();
        let runs = store.runs(RunQuery::newest(100)).await.unwrap();
        runs.iter()
            .map(|run| run.scheduled_at.timestamp())
            .collect()
    }

    #[tokio::test]
    async fn what_was_there_when_it_was_copied_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let copy = dir.path().join("copy.db");
        let store = SqliteStore::open(&data, instant(0)).unwrap();
        record(&store, firing(&job("a"), Cause::Schedule, 1)).await;
        let size = backup(&data, &copy).unwrap();
        assert_eq!(size, fs::metadata(&copy).unwrap().len());
        record(&store, firing(&job("a"), Cause::Schedule, 2)).await;
        let held = restore(&data, &copy, instant(3)).unwrap_err();
        assert!(matches!(held, OpenError::InUse { .. }), "{held}");
        drop(store);
        let aside = restore(&data, &copy, instant(3)).unwrap().unwrap();
        assert_eq!(instants(&data).await, [1]);
        // And what was there before is a backup too.
        restore(&data, &aside, instant(4)).unwrap();
        assert_eq!(instants(&data).await, [2, 1]);
        let new = dir.path().join("new");
        assert_eq!(restore(&new, &copy, instant(5)).unwrap(), None);
        assert_eq!(instants(&new).await, [1]);
    }

    #[tokio::test]
    async fn nothing_is_replaced_by_what_is_no_backup_or_by_a_backup() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let missing = backup(&data, &dir.path().join("copy")).unwrap_err();
        assert!(matches!(missing, OpenError::Missing { .. }), "{missing}");
        let store = SqliteStore::open(&data, instant(0)).unwrap();
        record(&store, firing(&job("a"), Cause::Schedule, 1)).await;
        drop(store);

        let text = dir.path().join("text");
        fs::write(&text, "a text of some length, which is no database at all").unwrap();
        let other = dir.path().join("other.db");
        let connection = Connection::open(&other).unwrap();
        connection.execute("CREATE TABLE runs (a)", []).unwrap();
        drop(connection);
        let damaged = dir.path().join("damaged.db");
        backup(&data, &damaged).unwrap();
        let mut bytes = fs::read(&damaged).unwrap();
        let half = bytes.len() / 2;
        bytes[half..].fill(0x55);
        fs::write(&damaged, bytes).unwrap();
        for wrong in [&text, &other, &damaged, &dir.path().join("gone"), &data] {
            let refused = restore(&data, wrong, instant(2)).unwrap_err().to_string();
            assert!(refused.contains(&wrong.display().to_string()), "{refused}");
        }
        let exists = backup(&data, &text).unwrap_err().to_string();
        assert!(exists.contains("replaces none"), "{exists}");
        let nowhere = dir.path().join("no/such/place");
        assert!(backup(&data, &nowhere).is_err());
        assert_eq!(instants(&data).await, [1]);
        let known = [FILE, "logs.db", "host.lock", "starts"];
        for file in fs::read_dir(&data).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            // SQLite may leave its own two beside each.
            let of = name.trim_end_matches("-wal").trim_end_matches("-shm");
            assert!(known.contains(&of), "nothing is left behind: {name}");
        }
    }
}
