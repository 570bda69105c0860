//! The plugins directory: what is in it, what of that is in service, and what has changed.
//!
//! A file goes into service only whole and sound. What is being written is left alone until it
//! has stood still for a moment, and what turns out to be no job leaves the version before it
//! in service. So does what the lock file does not allow. Of what it does allow there are copies, so
//! that the version before it is there, too, when the host has just started.
//!
//! A version that a job pins by its digest stays in service for that job after its file has been
//! replaced.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt as _};
use parking_lot::{Mutex, RwLock};

use super::accepted::AcceptedCopies;
use super::lock::{LockFile, Noted};
use super::plugin::{Loaded, Loader, Plugin, PluginError, read_in};
use super::shape::{Digest, Shape};
use crate::clock;
use crate::policy::PluginSettings;

/// How long a file must stand still before it is taken for whole.
const SETTLE: Duration = Duration::from_millis(200);

/// A file last changed longer ago than this is taken for whole at first sight.
const LONG_SETTLED: Duration = Duration::from_secs(2);

/// What tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &cap_std::fs::Metadata) -> Self {
        Stamp {
            size: metadata.len(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            // Also changes when a file is replaced by one with the same age and size.
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file has not changed for so long that nobody can still be writing it.
    fn long_settled(&self) -> bool {
        let changed = Duration::from_secs(u64::try_from(self.changed.0).unwrap_or(0));
        clock::file_time()
            .duration_since(std::time::UNIX_EPOCH + changed)
            .is_ok_and(|age| age > LONG_SETTLED)
    }
}

/// The plugins directory: what is in it, and what of that is in service.
pub struct Plugins {
    path: PathBuf,
    /// Opened anew at each look: the directory itself may be replaced.
    dir: RwLock<Dir>,
    loader: Loader,
    lock: Option<LockFile>,
    /// Copies of what the lock file allows, if they are kept.
    copies: Option<AcceptedCopies>,
    in_service: RwLock<HashMap<Arc<str>, Arc<Plugin>>>,
    /// Versions whose files were replaced, and that jobs pin.
    older: RwLock<HashMap<Arc<str>, Vec<Arc<Plugin>>>>,
    /// The versions that jobs pin.
    pins: RwLock<HashSet<(Arc<str>, Digest)>>,
    /// Whether what was not usable is to be tried again.
    again: AtomicBool,
    seen: Mutex<HashMap<Arc<str>, Seen>>,
}

/// What is known of a file.
#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    since: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Waiting for the file to stand still.
    Settling,
    /// Somebody reads and compiles it.
    Loading,
    /// In service.
    Ready,
    /// Not usable.
    Rejected(String),
    /// Not accepted.
    Held(String),
}

/// What a look at the directory found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Files to load, each exactly once.
    pub load: Vec<Arc<str>>,
    /// Plugins whose files are gone, and that are out of service now.
    pub removed: Vec<Arc<str>>,
    /// Whether a file is still settling, so that a second look is due soon.
    pub settling: bool,
}

/// How loading a file ended.
#[derive(Debug)]
pub enum Change {
    /// It is in service.
    Loaded {
        /// The name of the file.
        name: Arc<str>,
        /// SHA-256 of the file.
        digest: Digest,
        /// The digest of the version that it replaced.
        replaced: Option<Digest>,
        /// What kind of guest it is.
        shape: Shape,
        /// How long it took to compile; nothing if its code was already there.
        compiled_in: Option<Duration>,
        /// What was noted of it in the lock file.
        noted: Option<Noted>,
    },
    /// It is in service already: the file was touched, not changed.
    Unchanged,
    /// It cannot be used.
    Rejected {
        /// The name of the file.
        name: Arc<str>,
        /// Why.
        error: PluginError,
        /// Whether a version before it stays in service.
        in_service: bool,
        /// That version, if it has come into service just now: from its copy, as the host has
        /// started since.
        restored: Option<Restored>,
    },
}

/// A plugin that has come into service from the copy of its file.
#[derive(Debug)]
pub struct Restored {
    /// SHA-256 of the file.
    pub digest: Digest,
    /// What kind of guest it is.
    pub shape: Shape,
    /// How long it took to compile; nothing if its code was already there.
    pub compiled_in: Option<Duration>,
}

/// Whether a plugin can be run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// Yes.
    Ready,
    /// Not yet: it is being read or compiled.
    Loading,
    /// No: there is no such file.
    Missing,
    /// No: its file cannot be used, for this reason.
    Rejected(String),
}

impl Plugins {
    /// Opens the plugins directory. Nothing is loaded yet.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path, loader: Loader) -> io::Result<Plugins> {
        Ok(Plugins {
            path: path.to_owned(),
            dir: RwLock::new(Dir::open_ambient_dir(path, ambient_authority())?),
            loader,
            lock: None,
            copies: None,
            in_service: RwLock::default(),
            older: RwLock::default(),
            pins: RwLock::default(),
            again: AtomicBool::new(false),
            seen: Mutex::default(),
        })
    }

    /// The same, with nothing in service but what a lock file allows. Of that, copies are kept in
    /// `copies`, if that is something.
    #[must_use]
    pub fn under(self, lock: Option<LockFile>, copies: Option<AcceptedCopies>) -> Plugins {
        if let (Some(lock), Some(copies)) = (&lock, &copies) {
            copies.tidy(|| lock.read().ok().map(|lock| lock.digests()));
        }
        Plugins {
            lock,
            copies,
            ..self
        }
    }

    /// Sets what plugins may be from now on. What was not usable is tried again at the next
    /// look, if that differs.
    pub fn set_settings(&self, settings: PluginSettings) {
        if self.loader.set_settings(settings) {
            self.again.store(true, Ordering::Relaxed);
        }
    }

    /// Loads nothing more, and ends what is being compiled.
    pub fn stop(&self) {
        self.loader.stop();
    }

    /// The plugin in service under a name for jobs that pin a digest.
    pub fn pinned(&self, name: &str, digest: Digest) -> Option<Arc<Plugin>> {
        // What is replaced is among the older ones before another takes its place.
        let current = self.get(name);
        current
            .filter(|plugin| plugin.digest == digest)
            .or_else(|| {
                let older = self.older.read();
                let mut versions = older.get(name)?.iter();
                versions.find(|plugin| plugin.digest == digest).cloned()
            })
    }

    /// Keeps these versions in service for the jobs that pin them, also when their files are
    /// replaced, and no others.
    pub fn keep(&self, pins: HashSet<(Arc<str>, Digest)>) {
        let mut older = self.older.write();
        older.retain(|name, versions| {
            versions.retain(|plugin| pins.contains(&(name.clone(), plugin.digest)));
            !versions.is_empty()
        });
        *self.pins.write() = pins;
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The plugin in service under a name.
    pub fn get(&self, name: &str) -> Option<Arc<Plugin>> {
        self.in_service.read().get(name).cloned()
    }

    /// Whether a plugin can be run now.
    pub fn availability(&self, name: &str) -> Availability {
        if self.in_service.read().contains_key(name) {
            return Availability::Ready;
        }
        match self.seen.lock().get(name).map(|seen| &seen.state) {
            Some(State::Rejected(error) | State::Held(error)) => {
                Availability::Rejected(error.clone())
            }
            Some(State::Settling | State::Loading) => Availability::Loading,
            Some(State::Ready) | None => Availability::Missing,
        }
    }

    /// The names of all plugins in service, in order.
    pub fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.in_service.read().keys().cloned().collect();
        names.sort();
        names
    }

    /// Looks at the directory: what is new, changed or gone. Reads no file.
    ///
    /// # Errors
    /// If the directory cannot be listed; what is in service stays.
    pub fn scan(&self) -> io::Result<Scan> {
        self.look(SETTLE)
    }

    /// The same, for one look only: takes every file for whole as it is, and names it.
    ///
    /// # Errors
    /// If the directory cannot be listed.
    pub fn scan_all(&self) -> io::Result<Vec<Arc<str>>> {
        self.look(Duration::ZERO).map(|scan| scan.load)
    }

    fn look(&self, settle: Duration) -> io::Result<Scan> {
        let now = clock::monotonic();
        let mut scan = Scan::default();
        let mut present: HashMap<Arc<str>, Stamp> = HashMap::new();
        let dir = Dir::open_ambient_dir(&self.path, ambient_authority())?;
        for entry in dir.entries()? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| is_plugin_name(name)) else {
                continue;
            };
            // Follows links, but never out of the directory: such a one is looked at itself,
            // and reading it will tell what is wrong. What has vanished meanwhile is not there.
            if let Ok(metadata) = dir.metadata(name).or_else(|_| dir.symlink_metadata(name))
                && !metadata.is_dir()
            {
                present.insert(name.into(), Stamp::of(&metadata));
            }
        }

        *self.dir.write() = dir;

        let again = self.again.swap(false, Ordering::Relaxed);
        // What was held back may be accepted by now.
        let accepted = self.lock.as_ref().is_some_and(LockFile::has_changed);
        let mut seen = self.seen.lock();
        seen.retain(|name, _| {
            let stays = present.contains_key(name);
            if !stays && self.in_service.write().remove(name).is_some() {
                self.older.write().remove(name);
                scan.removed.push(name.clone());
            }
            stays
        });
        for (name, stamp) in present {
            let entry = seen.entry(name.clone()).or_insert_with(|| Seen {
                stamp,
                since: now,
                state: State::Settling,
            });
            if entry.stamp != stamp {
                *entry = Seen {
                    stamp,
                    since: now,
                    state: State::Settling,
                };
            }
            let retry = match entry.state {
                State::Held(_) => accepted || again,
                State::Rejected(_) => again,
                State::Settling | State::Loading | State::Ready => false,
            };
            if retry {
                entry.state = State::Loading;
                scan.load.push(name);
            } else if matches!(entry.state, State::Settling) {
                if stamp.long_settled() || now.duration_since(entry.since) >= settle {
                    entry.state = State::Loading;
                    scan.load.push(name);
                } else {
                    scan.settling = true;
                }
            }
        }
        scan.load.sort();
        scan.removed.sort();
        Ok(scan)
    }

    /// Reads, compiles and puts into service one file that [`Plugins::scan`] named. May take
    /// seconds.
    pub fn load(&self, name: &Arc<str>) -> Change {
        let result = self.read(name).and_then(|(stamp, bytes)| {
            let loaded = self.loader.load(&bytes)?;
            let plugin = &loaded.plugin;
            let Some(lock) = &self.lock else {
                return Ok((stamp, loaded, None));
            };
            let noted = lock.admit(name, plugin.digest, &plugin.interfaces)?;
            if let Some(copies) = &self.copies {
                let accepted = || lock.read().ok().map(|lock| lock.digests());
                copies.keep(&bytes, plugin.digest, accepted);
            }
            Ok((stamp, loaded, noted))
        });
        // Before anything is locked: it may have to be compiled.
        let before = match &result {
            Ok(_) | Err(PluginError::Changing | PluginError::Stopping) => None,
            Err(_) => self.accepted_before(name),
        };
        let mut seen = self.seen.lock();
        let Some(entry) = seen.get_mut(name) else {
            // Deleted while it was read.
            return Change::Unchanged;
        };
        match result {
            Ok((stamp, loaded, noted)) => {
                if entry.stamp == stamp {
                    entry.state = State::Ready;
                }
                let digest = loaded.plugin.digest;
                let shape = loaded.plugin.shape;
                self.keep_pinned(name);
                let replaced = self
                    .in_service
                    .write()
                    .insert(name.clone(), loaded.plugin)
                    .map(|plugin| plugin.digest);
                self.forget_older(name, digest);
                if replaced == Some(digest) {
                    return Change::Unchanged;
                }
                Change::Loaded {
                    name: name.clone(),
                    digest,
                    replaced,
                    shape,
                    compiled_in: loaded.compiled_in,
                    noted,
                }
            }
            Err(PluginError::Changing) => {
                // The next scan sees another stamp, and waits for it to settle.
                entry.state = State::Settling;
                Change::Unchanged
            }
            Err(PluginError::Stopping) => Change::Unchanged,
            Err(error) => {
                let said = error.to_string();
                entry.state = match &error {
                    PluginError::Held(_) => State::Held(said),
                    _ => State::Rejected(said),
                };
                let mut in_service = self.in_service.write();
                let restored = before.map(|before| {
                    let restored = Restored {
                        digest: before.plugin.digest,
                        shape: before.plugin.shape,
                        compiled_in: before.compiled_in,
                    };
                    in_service.insert(name.clone(), before.plugin);
                    restored
                });
                Change::Rejected {
                    name: name.clone(),
                    error,
                    in_service: in_service.contains_key(name),
                    restored,
                }
            }
        }
    }

    /// The version of a plugin that was accepted, if none is in service and there is a copy.
    fn accepted_before(&self, name: &str) -> Option<Loaded> {
        let (lock, copies) = (self.lock.as_ref()?, self.copies.as_ref()?);
        if self.get(name).is_some() {
            return None;
        }
        let lock = lock.read().ok()?;
        let max = self.loader.settings().max_size;
        let bytes = copies.get(&lock.get(name)?.sha256, max)?;
        let loaded = self.loader.load(&bytes);
        loaded
            .inspect_err(|error| {
                tracing::warn!(plugin = name, %error, "the accepted version cannot be used any more");
            })
            .ok()
    }

    /// Keeps the version in service of a plugin for the jobs that pin it, as another one is about
    /// to take its place.
    fn keep_pinned(&self, name: &Arc<str>) {
        let mut older = self.older.write();
        if let Some(current) = self.get(name)
            && self.pins.read().contains(&(name.clone(), current.digest))
        {
            older.entry(name.clone()).or_default().push(current);
        }
    }

    /// Lets go of an older version that is the one in service now.
    fn forget_older(&self, name: &str, digest: Digest) {
        if let Some(versions) = self.older.write().get_mut(name) {
            versions.retain(|plugin| plugin.digest != digest);
        }
    }

    fn read(&self, name: &str) -> Result<(Stamp, Vec<u8>), PluginError> {
        let dir = self.dir.read().try_clone().map_err(PluginError::Read)?;
        let link = dir.symlink_metadata(name).map_err(PluginError::Read)?;
        if link.is_symlink() && dir.metadata(name).is_err() {
            return Err(PluginError::LeadsOut);
        }
        let (before, bytes) = read_in(&dir, Path::new(name), self.loader.settings().max_size)?;
        let before = Stamp::of(&before);
        let after = Stamp::of(&dir.metadata(name).map_err(PluginError::Read)?);
        if before != after || bytes.len() as u64 != after.size {
            return Err(PluginError::Changing);
        }
        Ok((after, bytes))
    }
}

/// Whether a file of this name is a plugin: not hidden, as temporary files of editors and
/// copying tools are.
fn is_plugin_name(name: &str) -> bool {
    name.ends_with(".wasm") && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::plugin::tests::{command, loader};

    /// Looks until nothing settles, loading what is found.
    fn settle(plugins: &Plugins) -> Vec<Change> {
        let mut changes = Vec::new();
        loop {
            let scan = plugins.scan().unwrap();
            changes.extend(scan.load.iter().map(|name| plugins.load(name)));
            if !scan.settling {
                return changes;
            }
            // Only the file system's clock tells when a file last changed.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_bad_replacement_leaves_the_old_one_in_service() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("job.wasm");
        let plugins = Plugins::open(dir.path(), loader()).unwrap();
        assert_eq!(plugins.availability("job.wasm"), Availability::Missing);

        std::fs::write(&file, command("one")).unwrap();
        assert_eq!(plugins.scan().unwrap().load.len(), 0, "still settling");
        assert_eq!(plugins.availability("job.wasm"), Availability::Loading);
        assert!(matches!(
            &settle(&plugins)[..],
            [Change::Loaded { replaced: None, .. }]
        ));
        let first = plugins.get("job.wasm").unwrap().digest;

        let whole = command("two");
        std::fs::write(&file, &whole[..whole.len() - 4]).unwrap();
        assert!(matches!(
            &settle(&plugins)[..],
            [Change::Rejected {
                in_service: true,
                ..
            }]
        ));
        assert_eq!(plugins.get("job.wasm").unwrap().digest, first);

        std::fs::write(&file, &whole).unwrap();
        let changes = settle(&plugins);
        assert!(
            matches!(&changes[..], [Change::Loaded { replaced: Some(old), .. }] if *old == first)
        );

        std::fs::remove_file(&file).unwrap();
        assert_eq!(plugins.scan().unwrap().removed.len(), 1);
        assert_eq!(plugins.availability("job.wasm"), Availability::Missing);
    }

    #[test]
    fn a_link_out_of_the_directory_is_refused_and_other_files_are_not_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("out.wasm"), command("out")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("out.wasm"), dir.path().join("out.wasm"))
            .unwrap();
        std::fs::write(dir.path().join(".job.wasm.swp.wasm"), command("x")).unwrap();
        std::fs::write(dir.path().join("README.md"), "no plugin").unwrap();
        let plugins = Plugins::open(dir.path(), loader()).unwrap();
        assert!(matches!(
            &settle(&plugins)[..],
            [Change::Rejected {
                error: PluginError::LeadsOut,
                ..
            }]
        ));
    }
}
