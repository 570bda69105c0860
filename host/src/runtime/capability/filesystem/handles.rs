//! Directories that runs have been granted a moment ago, still open: a job that fires many times
//! a second finds its directories without that each run opens and closes them.
//!
//! Where its path leads decides for each run anew. A handle is used only if the path leads to the
//! very directory that it holds, which nothing else can be as long as it is held. It is held no
//! longer than [`HELD`], so that what else there is to see of a directory when it is opened is
//! seen soon, and that no file system is kept from being unmounted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmtime_wasi::filesystem::Dir;

use super::beneath::Identity;
use crate::clock;

/// How long a handle is held for others to come.
const HELD: Duration = Duration::from_millis(100);

/// How many are held.
const MOST: usize = 64;

static HANDLES: Mutex<Handles> = Mutex::new(Handles {
    by_path: BTreeMap::new(),
    swept: false,
});

struct Handles {
    by_path: BTreeMap<PathBuf, Handle>,
    /// Whether somebody sees to it that they are closed.
    swept: bool,
}

struct Handle {
    dir: Dir,
    identity: Identity,
    opened: Instant,
}

/// The directory that a path leads to, if there is a handle of it.
pub(super) fn find(path: &Path) -> Option<Dir> {
    let (dir, identity) = {
        let handles = HANDLES.lock();
        let handle = handles.by_path.get(path)?;
        if handle.opened.elapsed() >= HELD {
            return None;
        }
        (handle.dir.clone(), handle.identity)
    };
    // Looked at while the directory is held: its number cannot be that of another one.
    let now = Identity::of_path(path).ok()?;
    (now == identity).then_some(dir)
}

/// Holds a directory that a path has led to, for a while.
pub(super) fn hold(path: &Path, dir: &Dir, identity: Identity) {
    // Only where there is somebody to close it.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    let mut handles = HANDLES.lock();
    if handles.by_path.len() >= MOST && !handles.by_path.contains_key(path) {
        return;
    }
    let handle = Handle {
        dir: dir.clone(),
        identity,
        opened: clock::monotonic(),
    };
    let before = handles.by_path.insert(path.to_owned(), handle);
    let is_swept = std::mem::replace(&mut handles.swept, true);
    // What is closed, and what a runtime that is shutting down does not take, is dropped after it.
    drop(handles);
    drop(before);
    if !is_swept {
        drop(runtime.spawn(Sweep.until_none_is_left()));
    }
}

/// Closes handles in time, and all of them when it is dropped: that is when none is left, or with
/// the runtime that it is on.
struct Sweep;

impl Sweep {
    async fn until_none_is_left(self) {
        loop {
            tokio::time::sleep(HELD).await;
            let mut handles = HANDLES.lock();
            let by_path = &mut handles.by_path;
            let old = by_path.extract_if(.., |_, handle| handle.opened.elapsed() >= HELD);
            let old: Vec<_> = old.collect();
            let none_is_left = by_path.is_empty();
            drop(handles);
            drop(old);
            if none_is_left {
                return;
            }
        }
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        let mut handles = HANDLES.lock();
        handles.swept = false;
        let left = std::mem::take(&mut handles.by_path);
        drop(handles);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::{Arc, Weak};

    use wasmtime_wasi::FsPerms;
    use wasmtime_wasi::filesystem::OpenMode;

    use super::super::beneath;
    use super::*;

    fn open(path: &Path) -> (Dir, Identity) {
        let file = beneath::open(path).unwrap();
        let identity = Identity::of(&file).unwrap();
        let dir = Dir::new(file, FsPerms::ReadOnly, OpenMode::READ, false);
        (dir, identity)
    }

    fn is_same(found: Option<Dir>, dir: &Dir) -> bool {
        found.is_some_and(|found| Arc::ptr_eq(&found.dir, &dir.dir))
    }

    #[tokio::test]
    async fn a_handle_is_used_only_for_what_its_path_leads_to_now() {
        let all = tempfile::tempdir().unwrap();
        let (one, two) = (all.path().join("one"), all.path().join("two"));
        std::fs::create_dir(&one).unwrap();
        std::fs::create_dir(&two).unwrap();
        let path = all.path().join("granted");
        symlink(&one, &path).unwrap();
        assert!(find(&path).is_none());
        let (dir, identity) = open(&path);
        hold(&path, &dir, identity);
        // As long as it is held at all: a slow machine may be too late.
        let found = find(&path);
        assert!(found.is_none() || is_same(found, &dir));
        std::fs::remove_file(&path).unwrap();
        assert!(find(&path).is_none(), "it leads nowhere");
        symlink(&two, &path).unwrap();
        assert!(find(&path).is_none(), "it leads elsewhere");
        let (other, identity) = open(&path);
        hold(&path, &other, identity);
        let found = find(&path);
        assert!(found.is_none() || is_same(found, &other));
        // Another one in the place of the directory itself, which is still held.
        std::fs::remove_dir(&two).unwrap();
        std::fs::create_dir(&two).unwrap();
        assert!(find(&path).is_none(), "it leads to a new directory");
    }

    #[tokio::test]
    async fn a_handle_is_closed_soon() {
        let all = tempfile::tempdir().unwrap();
        let (dir, identity) = open(all.path());
        hold(all.path(), &dir, identity);
        let held: Weak<std::fs::File> = Arc::downgrade(&dir.dir);
        drop(dir);
        while held.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(find(all.path()).is_none());
    }

    #[test]
    fn a_handle_does_not_outlive_its_runtime_and_none_is_held_without_one() {
        let all = tempfile::tempdir().unwrap();
        let (dir, identity) = open(all.path());
        hold(all.path(), &dir, identity);
        assert_eq!(Arc::strong_count(&dir.dir), 1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async { hold(all.path(), &dir, identity) });
        drop(runtime);
        // Another test's runtime may see to it instead, in a moment.
        while Arc::strong_count(&dir.dir) > 1 {
            std::thread::yield_now();
        }
    }
}
