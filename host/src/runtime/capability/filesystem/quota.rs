//! How much a directory may hold for a job to be let write more into it.
//!
//! What it holds is measured when a run first makes it grow. From then on growth is counted, and
//! nothing else: what is deleted is seen when the quota seems to be used up, because then it is
//! measured again. So a run that stays below its quota pays for one look at the directory, and
//! one that is at it pays for each try.
//!
//! All live runs that may write into a directory count together, be they of one job or of several,
//! each against the quota of its own grant. What another program writes, or a run that is granted
//! only a directory further down, is seen when the directory is measured again, and a directory
//! that is also granted at another place without a quota can be filled from there. A write to a
//! file that another run cuts short in that very moment counts when the directory is next measured.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Weak};

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

    fn less(self, other: Growth) -> Growth {
        Growth {
            bytes: self.bytes.saturating_sub(other.bytes),
            entries: self.entries.saturating_sub(other.entries),
        }
    }

    fn most(self, other: Growth) -> Growth {
        Growth {
            bytes: self.bytes.max(other.bytes),
            entries: self.entries.max(other.entries),
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
    usage: Arc<Usage>,
    limit: u64,
    own: Mutex<Own>,
}

/// What only concerns one run.
#[derive(Default)]
struct Own {
    /// Whether this run has had the directory measured.
    measured: bool,
    /// What was refused and not yet told.
    refused: Vec<Full>,
}

/// What a directory holds, for all live runs that may write there.
struct Usage {
    dir: Arc<File>,
    /// Its device and number; nothing if it has no company.
    identity: Option<Identity>,
    state: Mutex<State>,
}

/// What tells a directory from all others while it is open: its device and its number there.
type Identity = (u64, u64);

/// The directories with a quota that live runs have. Those of all hosts in the process are one.
static LIVE: LazyLock<Mutex<HashMap<Identity, Weak<Usage>>>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct State {
    /// What it held when it was measured, and all growth since; nothing before.
    held: Option<Growth>,
    /// Growth that was allowed and may not be there yet.
    in_flight: Growth,
    /// All growth that was ever allowed.
    allowed: Growth,
    /// How many moves within it are under way, and how many are over.
    moving: u64,
    moved: u64,
    /// The files that guests may have open. What is deleted and still open is in no directory.
    open: Vec<Weak<File>>,
}

/// Growth that was allowed. To be kept until it is there, or will not come.
#[must_use]
pub(super) struct Allowed(Option<(Arc<Usage>, Growth)>);

/// A move within a directory. To be kept until it is over.
#[must_use]
pub(super) struct Moving(Arc<Usage>);

/// How often a directory is looked at for one answer, as long as others write to it meanwhile.
const LOOKS: usize = 3;

impl Quota {
    /// A quota of so many bytes.
    pub(super) fn new(dir: Arc<File>, limit: u64) -> Quota {
        Quota {
            usage: Usage::of(dir),
            limit,
            own: Mutex::default(),
        }
    }

    /// The most that it may hold, in bytes.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Has an open file counted even when it is in no directory any more.
    pub(super) fn watch(&self, file: &Arc<File>) {
        let open = &mut self.usage.state.lock().open;
        if open.len() == open.capacity() {
            open.retain(|file| file.strong_count() > 0);
        }
        open.push(Arc::downgrade(file));
    }

    /// Counts some growth, if there is certainly room for it.
    pub(super) fn take(&self, growth: Growth) -> Option<Allowed> {
        let known = growth == Growth::default() || self.own.lock().measured;
        known.then(|| self.usage.take(growth, self.limit).ok())?
    }

    /// Counts some growth, after another look at the directory if that is needed.
    ///
    /// # Errors
    /// Why there is no room.
    pub(super) async fn room(&self, growth: Growth) -> Result<Allowed, Full> {
        if let Some(allowed) = self.take(growth) {
            return Ok(allowed);
        }
        if growth.bytes > self.limit {
            return Err(Full::Bytes);
        }
        let mut look = 1;
        loop {
            let usage = self.usage.clone();
            let measured = tokio::task::spawn_blocking(move || usage.measure());
            let certain = measured.await.unwrap_or(Err(Full::Unmeasured))?;
            self.own.lock().measured = true;
            match self.usage.take(growth, self.limit) {
                // What others were about to write may have counted twice.
                Err(_) if !certain && look < LOOKS => look += 1,
                answer => return answer,
            }
        }
    }

    /// Notes that something is moved within the directory, from now on until this is dropped.
    pub(super) fn moving(&self) -> Moving {
        self.usage.state.lock().moving += 1;
        Moving(self.usage.clone())
    }

    /// Notes that something was refused.
    pub(super) fn note(&self, full: Full) {
        self.own.lock().refused.push(full);
    }

    /// Takes what was refused since this was last asked.
    pub(super) fn refused(&self) -> Vec<Full> {
        std::mem::take(&mut self.own.lock().refused)
    }
}

impl Usage {
    /// What a directory holds: one for all who have it open.
    fn of(dir: Arc<File>) -> Arc<Usage> {
        let identity = dir.metadata().ok().map(|it| (it.dev(), it.ino()));
        let usage = |dir| {
            Arc::new(Usage {
                dir,
                identity,
                state: Mutex::default(),
            })
        };
        let Some(identity) = identity else {
            return usage(dir);
        };
        let mut live = LIVE.lock();
        if let Some(known) = live.get(&identity).and_then(Weak::upgrade) {
            return known;
        }
        let new = usage(dir);
        live.insert(identity, Arc::downgrade(&new));
        new
    }

    fn take(self: &Arc<Self>, growth: Growth, limit: u64) -> Result<Allowed, Full> {
        if growth == Growth::default() {
            return Ok(Allowed::nothing());
        }
        let mut state = self.state.lock();
        let after = state.held.ok_or(Full::Unmeasured)?.and(growth);
        if growth.bytes > 0 && after.bytes > limit {
            return Err(Full::Bytes);
        }
        if growth.entries > 0 && after.entries > MAX_ENTRIES {
            return Err(Full::Entries);
        }
        state.held = Some(after);
        state.in_flight = state.in_flight.and(growth);
        state.allowed = state.allowed.and(growth);
        Ok(Allowed(Some((self.clone(), growth))))
    }

    /// Looks at what the directory holds. False if that may be more than there is, because others
    /// were at work there. Blocks.
    fn measure(&self) -> Result<bool, Full> {
        let (open, coming, allowed, quiet, moved) = {
            let mut state = self.state.lock();
            state.open.retain(|file| file.strong_count() > 0);
            let open: Vec<Arc<File>> = state.open.iter().filter_map(Weak::upgrade).collect();
            let quiet = state.moving == 0;
            (open, state.in_flight, state.allowed, quiet, state.moved)
        };
        let measured = measure(&self.dir, &open, MAX_ENTRIES)?;
        let mut state = self.state.lock();
        // None of what was on its way, or was allowed meanwhile, may have been seen.
        let unseen = coming.and(state.allowed.less(allowed));
        let mut held = measured.and(unseen);
        let settled = quiet && state.moving == 0 && state.moved == moved;
        if let Some(before) = state.held.filter(|_| !settled) {
            // What moves can be missed, so that no room is found now.
            held = held.most(before);
        }
        state.held = Some(held);
        Ok(settled && unseen == Growth::default())
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        let Some(identity) = &self.identity else {
            return;
        };
        let mut live = LIVE.lock();
        // Another one may have taken its place.
        if live.get(identity).is_some_and(|it| it.strong_count() == 0) {
            live.remove(identity);
        }
    }
}

impl Allowed {
    /// No growth at all.
    pub(super) fn nothing() -> Allowed {
        Allowed(None)
    }

    /// How much it is.
    #[cfg(test)]
    fn growth(&self) -> Growth {
        self.0.as_ref().map_or(Growth::default(), |(_, it)| *it)
    }

    /// Adds more of the same directory.
    pub(super) fn add(&mut self, mut other: Allowed) {
        match (&mut self.0, &mut other.0) {
            (Some((_, growth)), Some((_, more))) => *growth = growth.and(std::mem::take(more)),
            (None, more) => self.0 = more.take(),
            (_, None) => {}
        }
    }
}

impl Drop for Allowed {
    fn drop(&mut self) {
        if let Some((usage, growth)) = &self.0 {
            let in_flight = &mut usage.state.lock().in_flight;
            *in_flight = in_flight.less(*growth);
        }
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        let state = &mut self.0.state.lock();
        state.moving -= 1;
        state.moved += 1;
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
        let room = async |wanted| {
            let room = quota.room(bytes(wanted)).await;
            room.map(|allowed| allowed.growth().bytes)
        };
        // Before it is measured nothing is certain.
        assert!(quota.take(bytes(1)).is_none());
        assert!(quota.take(bytes(0)).is_some());
        assert_eq!(room(400).await, Ok(400));
        assert!(quota.take(bytes(1)).is_none());
        // What was counted did not come about: another look shows it.
        assert_eq!(room(300).await, Ok(300));
        assert_eq!(room(401).await, Err(Full::Bytes));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(room(1000).await, Ok(1000));
        assert_eq!(room(1001).await, Err(Full::Bytes));
        // What is on its way is not measured, and counts all the same.
        let mut coming = quota.room(bytes(400)).await.ok().unwrap();
        coming.add(quota.room(bytes(300)).await.ok().unwrap());
        assert_eq!(room(301).await, Err(Full::Bytes));
        drop(coming);
        assert_eq!(room(301).await, Ok(301));
    }

    #[tokio::test]
    async fn runs_that_share_a_directory_count_together() {
        let dir = tempfile::tempdir().unwrap();
        let quota = |limit| Quota::new(Arc::new(File::open(dir.path()).unwrap()), limit);
        let (one, other, small) = (quota(1000), quota(1000), quota(500));
        let bytes = Growth::of_bytes;
        let allowed = one.room(bytes(600)).await.ok().unwrap();
        // Nothing is there yet.
        assert_eq!(other.room(bytes(401)).await.err(), Some(Full::Bytes));
        assert_eq!(small.room(bytes(1)).await.err(), Some(Full::Bytes));
        let rest = other.room(bytes(400)).await.ok().unwrap();
        drop((allowed, rest));
        // Nor did anything come.
        assert!(small.room(bytes(500)).await.is_ok());
        // Another directory has nothing to do with it, and nobody remembers those that are gone.
        let elsewhere = tempfile::tempdir().unwrap();
        let alone = Quota::new(Arc::new(File::open(elsewhere.path()).unwrap()), 10);
        assert!(alone.room(bytes(10)).await.is_ok());
        let identity = one.usage.identity.unwrap();
        assert!(LIVE.lock().contains_key(&identity));
        drop((one, other, small));
        assert!(!LIVE.lock().contains_key(&identity));
    }

    #[tokio::test]
    async fn no_room_is_found_while_something_moves() {
        let dir = tempfile::tempdir().unwrap();
        let quota = Quota::new(Arc::new(File::open(dir.path()).unwrap()), 1000);
        let bytes = Growth::of_bytes;
        drop(quota.room(bytes(700)).await.ok().unwrap());
        let moving = quota.moving();
        assert_eq!(quota.room(bytes(301)).await.err(), Some(Full::Bytes));
        drop(moving);
        assert!(quota.room(bytes(301)).await.is_ok());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn runs_that_write_at_once_do_not_pass_the_quota() {
        const LIMIT: u64 = 100_000;
        let dir = tempfile::tempdir().unwrap();
        let mut runs = tokio::task::JoinSet::new();
        for run in 0..8_u64 {
            let dir = dir.path().to_owned();
            runs.spawn(async move {
                let quota = Quota::new(Arc::new(File::open(&dir).unwrap()), LIMIT);
                let path = dir.join(run.to_string());
                let mut written = 0;
                for piece in 0..400 {
                    let wanted = Growth::of_entry(100 + piece % 50);
                    match quota.room(wanted).await {
                        Ok(_allowed) => {
                            let name = format!("{}-{piece}", path.display());
                            std::fs::write(&name, vec![0; 100 + piece % 50]).unwrap();
                            written += wanted.bytes;
                            if piece % 7 == 0 {
                                std::fs::remove_file(&name).unwrap();
                                written -= wanted.bytes;
                            }
                        }
                        Err(full) => assert_eq!(full, Full::Bytes),
                    }
                }
                written
            });
        }
        let written: u64 = runs.join_all().await.iter().sum();
        assert_eq!(held(dir.path()).bytes, written);
        assert!(written <= LIMIT, "{written}");
        // And it is used up: nobody was refused for nothing.
        assert!(written > LIMIT - 8 * 150, "{written}");
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
