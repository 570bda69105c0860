//! Which runs have begun, noted faster than a transaction: a few bytes are appended to a file
//! before each start, and nobody waits for the disk.
//!
//! What was appended outlives the host, however it ends, as long as the machine goes on; so a run
//! that was recorded ahead and is not in the file has not begun. After the machine itself went
//! down nothing is certain: whether it did, its boot id tells.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::run::RunId;

/// The name of the file in the data directory.
pub(super) const FILE: &str = "starts";

/// How long the file may grow before it is emptied, once all that it says is in the store.
const LONGEST: u64 = 1 << 20;

/// Bytes of one entry.
const ENTRY: usize = 16;

/// The file of starts.
#[derive(Debug)]
pub(super) struct Starts {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// The open file; none while it cannot be written. It is then not there at all, so that the
    /// next host does not take what is missing in it for what has not begun.
    file: Option<File>,
    bytes: u64,
    /// How many starts were noted, or should have been.
    noted: u64,
}

/// Which runs had begun when the last host ended.
#[derive(Debug)]
pub(super) struct Begun {
    /// Those that had; nothing if that was not noted.
    noted: Option<HashSet<RunId>>,
}

impl Begun {
    /// Whether a run had begun, as far as it is known.
    pub(super) fn has(&self, run: RunId) -> Option<bool> {
        Some(self.noted.as_ref()?.contains(&run))
    }
}

impl Starts {
    /// Reads what the last host noted, and begins a new list after it.
    ///
    /// # Errors
    /// The file cannot be read or made.
    pub(super) fn open(directory: &Path) -> io::Result<(Starts, Begun)> {
        let path = directory.join(FILE);
        let noted = match fs::read(&path) {
            Ok(old) => {
                let entries = old.chunks_exact(ENTRY).filter_map(|entry| {
                    let number = u128::from_be_bytes(entry.try_into().ok()?);
                    Some(RunId::from_u128(number))
                });
                Some(entries.collect())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        // One that was cut short was not noted: its run had not begun.
        let whole = file.metadata()?.len() / ENTRY as u64 * ENTRY as u64;
        file.set_len(whole)?;
        let starts = Starts {
            inner: Mutex::new(Inner {
                path,
                file: Some(file),
                bytes: whole,
                noted: 0,
            }),
        };
        Ok((starts, Begun { noted }))
    }

    /// Notes that a run begins. Gives the number of the note.
    pub(super) fn note(&self, run: RunId) -> u64 {
        let mut inner = self.inner.lock();
        inner.noted += 1;
        inner.append(run);
        inner.noted
    }

    /// All notes up to this one are in the store: if there are no others, and the list is long or
    /// broken, it begins anew.
    pub(super) fn settled(&self, through: u64) {
        let mut inner = self.inner.lock();
        if inner.noted == through && (inner.bytes > LONGEST || inner.file.is_none()) {
            inner.renew();
        }
    }

    /// Empties the list: what the last host left is dealt with.
    pub(super) fn clear(&self) {
        self.inner.lock().renew();
    }
}

impl Inner {
    fn append(&mut self, run: RunId) {
        let Some(file) = &mut self.file else {
            return;
        };
        match file.write_all(&run.to_u128().to_be_bytes()) {
            Ok(()) => self.bytes += ENTRY as u64,
            Err(error) => {
                tracing::error!(
                    %error,
                    "cannot note which runs begin: should the host be killed now, those that are due count as begun"
                );
                self.file = None;
                if let Err(error) = fs::remove_file(&self.path) {
                    tracing::error!(%error, path = %self.path.display(), "nor can the list be removed");
                }
            }
        }
    }

    fn renew(&mut self) {
        let renewed = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)
            .and_then(|file| file.set_len(0).map(|()| file));
        match renewed {
            Ok(file) => {
                self.file = Some(file);
                self.bytes = 0;
            }
            Err(error) => tracing::debug!(%error, "the list of starts cannot be begun anew"),
        }
    }
}

/// What names the time since the machine was started; nothing where the system does not tell.
pub(super) fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> RunId {
        RunId::from_u128(number)
    }

    #[test]
    fn what_was_noted_is_found_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let (starts, begun) = Starts::open(dir.path()).unwrap();
        assert_eq!(begun.has(id(1)), None, "nobody noted anything");
        starts.note(id(1));
        starts.note(id(2));
        drop(starts);
        // Cut short in the middle of a note, as by a full disk.
        let path = dir.path().join(FILE);
        let mut cut = fs::read(&path).unwrap();
        cut.truncate(31);
        fs::write(&path, cut).unwrap();
        let (starts, begun) = Starts::open(dir.path()).unwrap();
        assert_eq!(begun.has(id(1)), Some(true));
        assert_eq!(begun.has(id(2)), Some(false));
        starts.note(id(3));
        let (starts, begun) = Starts::open(dir.path()).unwrap();
        assert_eq!(begun.has(id(3)), Some(true));
        starts.clear();
        let (_, begun) = Starts::open(dir.path()).unwrap();
        assert_eq!(begun.has(id(1)), Some(false));
    }

    #[test]
    fn what_cannot_be_noted_is_not_taken_for_what_has_not_begun() {
        let dir = tempfile::tempdir().unwrap();
        let (starts, _) = Starts::open(dir.path()).unwrap();
        starts.note(id(1));
        starts.inner.lock().file = Some(File::open("/dev/full").unwrap()); // not open to be written
        starts.note(id(2));
        let path = dir.path().join(FILE);
        assert!(!path.exists());
        starts.note(id(3));
        starts.settled(2);
        assert!(!path.exists(), "not all of it is in the store");
        starts.settled(3);
        starts.note(id(4));
        let (_, begun) = Starts::open(dir.path()).unwrap();
        assert_eq!(begun.has(id(4)), Some(true));
        assert_eq!(begun.has(id(3)), Some(false), "the store has it");
    }

    #[test]
    fn a_long_list_is_emptied_once_all_of_it_is_settled() {
        let dir = tempfile::tempdir().unwrap();
        let (starts, _) = Starts::open(dir.path()).unwrap();
        let entries = LONGEST / ENTRY as u64 + 1;
        let length = || fs::metadata(dir.path().join(FILE)).unwrap().len();
        for number in 0..entries {
            assert_eq!(starts.note(id(u128::from(number))), number + 1);
        }
        starts.settled(entries - 1);
        assert!(length() > LONGEST);
        starts.settled(entries);
        assert_eq!(length(), 0);
        starts.note(id(7));
        assert_eq!(length(), 16);
    }
}
