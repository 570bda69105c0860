//! Copies of the plugins that the lock file accepts, so that a host which starts while a file is
//! held back has the version before it.
//!
//! A copy is named after its digest and is taken only if it has that digest and the lock file
//! still names it: whoever writes to the directory can take a version away, and put none in. What
//! the lock file names no more goes; and there is a bound for all copies together.

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use parking_lot::Mutex;

use super::plugin::read_in;
use super::shape::Digest;
use crate::units::format_size;

/// How many bytes all copies may have together.
const MOST: u64 = 1 << 30;

/// What the names of copies end with, and of those that are being written.
const COPY: &str = ".wasm";
const UNFINISHED: &str = ".tmp";

/// The digests that are accepted, in hexadecimal, if that can be known.
type Accepted = Option<HashSet<String>>;

/// A directory of copies.
#[derive(Debug)]
pub struct AcceptedCopies {
    path: PathBuf,
    dir: Dir,
    most: u64,
    /// Plugins are loaded several at once: what is counted and pruned is counted by one.
    writing: Mutex<()>,
}

impl AcceptedCopies {
    /// Opens a directory, making it for its owner alone if it is not there.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<AcceptedCopies> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)?;
        Ok(AcceptedCopies {
            path: path.to_owned(),
            dir: Dir::open_ambient_dir(path, ambient_authority())?,
            most: MOST,
            writing: Mutex::default(),
        })
    }

    /// Keeps the content of a file that is accepted, and of the other copies those that are
    /// `accepted` too. That it cannot be kept costs nothing before the file is replaced and the
    /// host starts again, so it is logged and otherwise let go.
    pub(super) fn keep(&self, bytes: &[u8], digest: Digest, accepted: impl FnOnce() -> Accepted) {
        let sha256 = digest.to_string();
        let _alone = self.writing.lock();
        if self.read(&sha256, bytes.len() as u64).is_some() {
            return;
        }
        // Asked for under the lock: what others keep from now on is accepted by then.
        let Some(accepted) = accepted() else {
            return; // whoever reads the lock file tells what is wrong with it
        };
        let kept = self.prune(&accepted).and_then(|used| {
            if used.saturating_add(bytes.len() as u64) > self.most {
                return Err(io::Error::other(format!(
                    "with it, the copies there would have more than {}",
                    format_size(self.most)
                )));
            }
            self.write(&name_of(&sha256), bytes)
        });
        if let Err(error) = kept {
            tracing::warn!(
                directory = %self.path.display(),
                %error,
                "no copy of an accepted plugin is kept: should its file be held back when the host starts, no version of it is in service"
            );
        }
    }

    /// The content of the file with a digest, in hexadecimal, if there is a sound copy of at most
    /// `max` bytes.
    pub(super) fn get(&self, sha256: &str, max: u64) -> Option<Vec<u8>> {
        let bytes = self.read(sha256, max);
        if bytes.is_none() && self.size(&name_of(sha256)).is_some() {
            tracing::warn!(
                directory = %self.path.display(),
                sha256,
                "the copy of an accepted plugin was altered, cannot be read or is too large, and is not used"
            );
        }
        bytes
    }

    /// Removes what is not accepted any more.
    pub(super) fn tidy(&self, accepted: impl FnOnce() -> Accepted) {
        let _alone = self.writing.lock();
        if let Some(accepted) = accepted()
            && let Err(error) = self.prune(&accepted)
        {
            tracing::warn!(
                directory = %self.path.display(),
                %error,
                "copies of plugins that are accepted no more are not removed"
            );
        }
    }

    fn read(&self, sha256: &str, max: u64) -> Option<Vec<u8>> {
        let (_, bytes) = read_in(&self.dir, Path::new(&name_of(sha256)), max).ok()?;
        (Digest::of(&bytes).to_string() == sha256).then_some(bytes)
    }

    /// The bytes of a copy, if it is there.
    fn size(&self, name: &str) -> Option<u64> {
        let it = self.dir.symlink_metadata(name).ok()?;
        it.is_file().then_some(it.len())
    }

    /// Removes what is not accepted any more, and gives the bytes of what is left.
    fn prune(&self, accepted: &HashSet<String>) -> io::Result<u64> {
        let mut left = 0_u64;
        for entry in self.dir.entries()? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let is_old = match name.strip_suffix(COPY) {
                Some(sha256) => !accepted.contains(sha256),
                // Nobody else writes here: its writer was killed.
                None => name.ends_with(UNFINISHED),
            };
            if is_old {
                self.dir.remove_file(name)?;
            } else {
                left = left.saturating_add(self.size(name).unwrap_or(0));
            }
        }
        Ok(left)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let unfinished = format!("{name}{UNFINISHED}");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let result = self
            .dir
            .open_with(&unfinished, &options)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            })
            .and_then(|()| self.dir.rename(&unfinished, &self.dir, name));
        if result.is_err() {
            // It may never have been there.
            let _ = self.dir.remove_file(&unfinished);
        }
        result
    }
}

fn name_of(sha256: &str) -> String {
    format!("{sha256}{COPY}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha256(bytes: &[u8]) -> String {
        Digest::of(bytes).to_string()
    }

    /// Keeps the first of some files, all of which are accepted.
    fn keep(copies: &AcceptedCopies, files: &[&[u8]]) {
        let accepted = || Some(files.iter().map(|bytes| sha256(bytes)).collect());
        copies.keep(files[0], Digest::of(files[0]), accepted);
    }

    #[test]
    fn what_is_accepted_is_kept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/accepted");
        let copies = AcceptedCopies::open(&path).unwrap();
        keep(&copies, &[b"one"]);
        keep(&copies, &[b"two", b"one"]);
        std::fs::write(path.join("README"), "not ours").unwrap();
        std::fs::write(path.join("left.wasm.tmp"), "half").unwrap();
        let again = AcceptedCopies::open(&path).unwrap();
        assert_eq!(again.get(&sha256(b"one"), 3).unwrap(), b"one");
        assert_eq!(again.get(&sha256(b"two"), 9).unwrap(), b"two");
        assert_eq!(again.get(&sha256(b"two"), 2), None, "larger than allowed");
        assert_eq!(again.get(&sha256(b"three"), 9), None);
        keep(&again, &[b"three", b"two"]);
        assert_eq!(again.get(&sha256(b"one"), 9), None, "not accepted any more");
        let mut names: Vec<_> = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut expected = [sha256(b"two"), sha256(b"three")].map(|it| name_of(&it));
        expected.sort();
        let expected = [&expected[..], &["README".to_owned()]].concat();
        assert_eq!(names, expected);
        again.tidy(|| None);
        assert!(
            again.get(&sha256(b"two"), 9).is_some(),
            "not known is not none"
        );
        again.tidy(|| Some(HashSet::new()));
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
    }

    #[test]
    fn a_copy_that_was_altered_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let copies = AcceptedCopies::open(dir.path()).unwrap();
        let file = dir.path().join(name_of(&sha256(b"one")));
        keep(&copies, &[b"one"]);
        for wrong in ["", "on", "two", "one more"] {
            std::fs::write(&file, wrong).unwrap();
            assert_eq!(copies.get(&sha256(b"one"), 99), None, "{wrong}");
        }
        // It is mended where the file itself is at hand.
        keep(&copies, &[b"one"]);
        assert!(copies.get(&sha256(b"one"), 99).is_some());
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert_eq!(copies.get(&sha256(b"one"), 99), None);
        // Nothing can be kept there, and that is no error.
        keep(&copies, &[b"one"]);
    }

    #[test]
    fn all_copies_together_have_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let copies = AcceptedCopies {
            most: 5,
            ..AcceptedCopies::open(dir.path()).unwrap()
        };
        keep(&copies, &[b"one", b"two"]);
        keep(&copies, &[b"two", b"one"]);
        assert!(copies.get(&sha256(b"one"), 9).is_some());
        assert_eq!(copies.get(&sha256(b"two"), 9), None);
        // There is room once the other has gone.
        keep(&copies, &[b"two"]);
        assert!(copies.get(&sha256(b"two"), 9).is_some());
    }
}
