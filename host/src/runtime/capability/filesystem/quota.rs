//! How much a directory may hold for a job to be let write more into it.
//!
//! What it holds is measured when a run first makes it grow. From then on growth is counted, and
//! nothing else: what is deleted is seen when the quota seems to be used up, because then it is
//! measured again. So a run that stays below its quota pays for one look at the directory, and
//! one that is at it pays for each try.
//!
//! What holds the quota is each run for itself. Runs that write into the same directory at the
//! same time, or other programs, are seen when it is measured again: together they can pass the
//! quota by what each has room for at the time. A directory that is also granted at another place
//! without a quota can be filled from there.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use cap_std::fs::{Dir, MetadataExt as _};
use parking_lot::Mutex;

/// The most files, directories and links that a directory with a quota may hold: what is looked
/// at to measure it.
pub(super) const MAX_ENTRIES: u64 = 100_000;

/// What a directory holds, or how much more it is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Growth {
    /// Bytes of all files, by their sizes, whether or not they have holes.
    pub(super) bytes: u64,
    /// Files, directories and links.
    pub(super) entries: u64,
}

impl Growth {
    /// One more file, directory or link, of so many bytes.
    pub(super) fn of_entry(bytes: usize) -> Growth {
        Growth {
            bytes: bytes as u64,
            entries: 1,
        }
    }

    /// What writing so many bytes to a file adds, from `offset` on or, without one, at its end.
    pub(super) fn of_write(file: &File, offset: Option<u64>, bytes: usize) -> Growth {
        let size = size_of(file);
        let end = offset.unwrap_or(size).saturating_add(bytes as u64);
        Growth::of_bytes(end.saturating_sub(size))
    }

    /// What giving a file a size adds.
    pub(super) fn of_resize(file: &File, size: u64) -> Growth {
        Growth::of_bytes(size.saturating_sub(size_of(file)))
    }

    fn of_bytes(bytes: u64) -> Growth {
        Growth { bytes, entries: 0 }
    }

    fn and(self, other: Growth) -> Growth {
        Growth {
            bytes: self.bytes.saturating_add(other.bytes),
            entries: self.entries.saturating_add(other.entries),
        }
    }
}

/// The size of an open file, in bytes: the kernel knows it. What cannot be asked has none, so that
/// all that is written to it counts.
fn size_of(file: &File) -> u64 {
    file.metadata().map_or(0, |it| it.len())
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// It would hold too many bytes.
    Bytes,
    /// It would hold too many files.
    Entries,
    /// It cannot be said what it holds.
    Unmeasured,
}

/// The quota of one directory, as one run sees it.
pub(super) struct Quota {
    dir: Arc<File>,
    limit: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What it held when it was measured, and all growth since; nothing before.
    held: Option<Growth>,
    /// Bytes of growth that were allowed and may not be there yet.
    in_flight: u64,
    /// The files that the guest may have open. What is deleted and still open is in no directory.
    open: Vec<Weak<File>>,
    /// What was refused and not yet told.
    refused: Vec<Full>,
}

impl Quota {
    /// A quota of so many bytes.
    pub(super) fn new(dir: Arc<File>, limit: u64) -> Quota {
        Quota {
            dir,
            limit,
            state: Mutex::default(),
        }
    }

    /// The most that it may hold, in bytes.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Has an open file counted even when it is in no directory any more.
    pub(super) fn watch(&self, file: &Arc<File>) {
        let open = &mut self.state.lock().open;
        if open.len() == open.capacity() {
            open.retain(|file| file.strong_count() > 0);
        }
        open.push(Arc::downgrade(file));
    }

    /// Counts some growth, if there is certainly room for it.
    pub(super) fn take(&self, growth: Growth) -> bool {
        self.try_take(growth).is_ok()
    }

    fn try_take(&self, growth: Growth) -> Result<(), Full> {
        if growth == Growth::default() {
            return Ok(());
        }
        let held = &mut self.state.lock().held;
        let after = held.ok_or(Full::Unmeasured)?.and(growth);
        if growth.bytes > 0 && after.bytes > self.limit {
            return Err(Full::Bytes);
        }
        if growth.entries > 0 && after.entries > MAX_ENTRIES {
            return Err(Full::Entries);
        }
        *held = Some(after);
        Ok(())
    }

    /// Counts some growth, after another look at the directory if that is needed.
    ///
    /// # Errors
    /// Why there is no room.
    pub(super) async fn room(&self, growth: Growth) -> Result<(), Full> {
        if self.take(growth) {
            return Ok(());
        }
        if growth.bytes > self.limit {
            return Err(Full::Bytes);
        }
        let dir = self.dir.clone();
        let open: Vec<Arc<File>> = {
            let open = &mut self.state.lock().open;
            open.retain(|file| file.strong_count() > 0);
            open.iter().filter_map(Weak::upgrade).collect()
        };
        let measured = tokio::task::spawn_blocking(move || measure(&dir, &open, MAX_ENTRIES));
        let measured = measured.await.unwrap_or(Err(Full::Unmeasured))?;
        {
            let mut state = self.state.lock();
            let coming = Growth::of_bytes(state.in_flight);
            state.held = Some(measured.and(coming));
        }
        self.try_take(growth)
    }

    /// Notes that growth which was allowed is on its way.
    pub(super) fn sent(&self, bytes: u64) {
        self.state.lock().in_flight += bytes;
    }

    /// Notes that growth which was on its way has arrived.
    pub(super) fn landed(&self, bytes: u64) {
        let in_flight = &mut self.state.lock().in_flight;
        *in_flight = in_flight.saturating_sub(bytes);
    }

    /// Notes that something was refused.
    pub(super) fn note(&self, full: Full) {
        self.state.lock().refused.push(full);
    }

    /// Takes what was refused since this was last asked.
    pub(super) fn refused(&self) -> Vec<Full> {
        std::mem::take(&mut self.state.lock().refused)
    }
}

/// What a directory holds, and those of the open files that were deleted. Blocks.
fn measure(dir: &File, open: &[Arc<File>], most: u64) -> Result<Growth, Full> {
    let root = Dir::from_std_file(dir.try_clone().map_err(|_| Full::Unmeasured)?);
    let mut held = Growth::default();
    // Files of several names count once.
    let mut seen = HashSet::new();
    // Every directory by the one that it is in, so that neither open ones nor long paths pile up.
    let mut dirs: Vec<(usize, OsString)> = vec![(0, ".".into())];
    let mut next = 0;
    while next < dirs.len() {
        let entries = match root.read_dir(path_to(&dirs, next)) {
            Ok(entries) => entries,
            Err(error) if next > 0 && is_passable(&error) => {
                next += 1;
                continue;
            }
            Err(_) => return Err(Full::Unmeasured),
        };
        for entry in entries {
            let entry = entry.map_err(|_| Full::Unmeasured)?;
            held.entries += 1;
            if held.entries > most {
                return Err(Full::Entries);
            }
            // Of the entry itself: links are not followed.
            let it = match entry.metadata() {
                Ok(it) => it,
                Err(error) if is_passable(&error) => continue,
                Err(_) => return Err(Full::Unmeasured),
            };
            if it.is_dir() {
                dirs.push((next, entry.file_name()));
            } else if it.nlink() < 2 || seen.insert((it.dev(), it.ino())) {
                held.bytes = held.bytes.saturating_add(it.len());
            }
        }
        next += 1;
    }
    for file in open {
        let Ok(it) = file.metadata() else { continue };
        if it.nlink() == 0 && seen.insert((it.dev(), it.ino())) {
            held.bytes = held.bytes.saturating_add(it.len());
        }
    }
    Ok(held)
}

/// Whether an entry may be left out that gives this error: it has just gone, or the host may not
/// look into it, and so cannot write there for any guest.
fn is_passable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory
    )
}

fn path_to(dirs: &[(usize, OsString)], mut at: usize) -> PathBuf {
    let mut names = Vec::new();
    while let Some((parent, name)) = dirs.get(at) {
        names.push(name);
        if at == 0 {
            break;
        }
        at = *parent;
    }
    names.iter().rev().map(Path::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn held(dir: &Path) -> Growth {
        measure(&File::open(dir).unwrap(), &[], MAX_ENTRIES).unwrap()
    }

    #[test]
    fn all_that_a_directory_holds_is_measured_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        assert_eq!(held(dir.path()), Growth::default());
        std::fs::create_dir_all(path("a/b/c")).unwrap();
        std::fs::write(path("one"), [0; 1000]).unwrap();
        std::fs::write(path("a/b/c/two"), [0; 200]).unwrap();
        File::create(path("a/holes"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        std::fs::hard_link(path("one"), path("a/again")).unwrap();
        // To a directory above: not followed.
        symlink("../..", path("a/b/up")).unwrap();
        let expected = Growth {
            bytes: 1000 + 200 + (1 << 40) + "../..".len() as u64,
            entries: 8,
        };
        assert_eq!(held(dir.path()), expected);
    }

    #[test]
    fn what_is_deleted_and_still_open_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [0; 500]).unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        let measured = |open: &[Arc<File>]| {
            measure(&File::open(dir.path()).unwrap(), open, MAX_ENTRIES).unwrap()
        };
        let twice = [file.clone(), file];
        assert_eq!(measured(&twice).bytes, 500);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(measured(&twice).bytes, 500);
        assert_eq!(measured(&[]).bytes, 0);
    }

    #[test]
    fn neither_breadth_nor_depth_is_without_end() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..20 {
            std::fs::write(dir.path().join(number.to_string()), "").unwrap();
        }
        let all = File::open(dir.path()).unwrap();
        assert_eq!(measure(&all, &[], 20).unwrap().entries, 20);
        assert_eq!(measure(&all, &[], 19), Err(Full::Entries));

        // Deeper than a path can say: made by going down step by step.
        let root = Dir::from_std_file(File::open(dir.path()).unwrap());
        let mut at = root.try_clone().unwrap();
        let name = "d".repeat(200);
        for _ in 0..30 {
            at.create_dir(&name).unwrap();
            at = at.open_dir(&name).unwrap();
        }
        assert_eq!(measure(&all, &[], MAX_ENTRIES), Err(Full::Unmeasured));
    }

    #[tokio::test]
    async fn room_is_found_again_when_something_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [0; 600]).unwrap();
        let quota = Quota::new(Arc::new(File::open(dir.path()).unwrap()), 1000);
        let bytes = Growth::of_bytes;
        // Before it is measured nothing is certain.
        assert!(!quota.take(bytes(1)));
        assert!(quota.take(bytes(0)));
        assert_eq!(quota.room(bytes(400)).await, Ok(()));
        assert!(!quota.take(bytes(1)));
        // What was counted did not come about: another look shows it.
        assert_eq!(quota.room(bytes(300)).await, Ok(()));
        assert_eq!(quota.room(bytes(401)).await, Err(Full::Bytes));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(quota.room(bytes(1000)).await, Ok(()));
        assert_eq!(quota.room(bytes(1001)).await, Err(Full::Bytes));
        // What is on its way is not measured, and counts all the same.
        quota.sent(700);
        assert_eq!(quota.room(bytes(301)).await, Err(Full::Bytes));
        quota.landed(700);
        assert_eq!(quota.room(bytes(301)).await, Ok(()));
    }

    #[test]
    fn growth_is_what_comes_to_a_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(100).unwrap();
        let write = |offset, bytes| Growth::of_write(&file, offset, bytes).bytes;
        assert_eq!(write(Some(0), 100), 0);
        assert_eq!(write(Some(50), 100), 50);
        assert_eq!(write(Some(1000), 1), 901);
        assert_eq!(write(None, 7), 7);
        assert_eq!(write(Some(u64::MAX), 7), u64::MAX - 100);
        assert_eq!(Growth::of_resize(&file, 5).bytes, 0);
        assert_eq!(Growth::of_resize(&file, 500).bytes, 400);
    }
}
