//! The lock file: which plugins the operator has accepted, and what each imports. A replaced
//! `.wasm` that imports more than was accepted is held back until somebody accepts it.
//!
//! ```text
//! a file ──▶ digest, imports ──▶ known, new, no more than before ──▶ in service, and locked
//!                            └─▶ more than before, or any change where all is locked ──▶ held
//! ```
//!
//! The file is read anew for each decision and replaced whole, under a lock of the system on its
//! directory, so that a host and `quarterjack accept` never undo what the other wrote.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, MetadataExt as _, OpenOptions};
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::plugin::PluginError;
use super::shape::Digest;
use crate::clock::{Clock, format_instant};

/// The name of the lock file where nothing else is said.
pub const DEFAULT_LOCK: &str = "quarterjack.lock";

/// The largest lock file, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// How often, and how long each time, another who writes the lock file is waited for.
const TRIES: u32 = 250;
const PAUSE: Duration = Duration::from_millis(20);

/// The version of the format.
const VERSION: u32 = 1;

/// The content of a lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    /// What was accepted, by the name of the plugin's file.
    plugins: BTreeMap<String, Locked>,
}

/// What was accepted of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// SHA-256 of its file, in hexadecimal.
    pub sha256: String,
    /// What it imports, in order, each once.
    pub imports: Vec<String>,
    /// When it was accepted (RFC 3339).
    pub accepted_at: String,
}

/// What a lock says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the one that was accepted.
    Known,
    /// Nothing was accepted under this name.
    New,
    /// It is another one, with such imports.
    Changed {
        /// The digest of the one that was accepted.
        accepted: String,
        /// What it imports and the accepted one does not.
        added: Vec<String>,
        /// What the accepted one imports and it does not.
        removed: Vec<String>,
    },
}

impl Default for Lock {
    fn default() -> Self {
        Lock {
            version: VERSION,
            plugins: BTreeMap::new(),
        }
    }
}

impl Lock {
    /// Reads the text of a lock file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Lock, String> {
        let lock: Lock = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if lock.version != VERSION {
            return Err(format!(
                "it has the version {}, and this host knows {VERSION}",
                lock.version
            ));
        }
        for (name, locked) in &lock.plugins {
            let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            if locked.sha256.len() != 64 || !locked.sha256.bytes().all(hex) {
                return Err(format!(
                    "the `sha256` of {name} is not 64 lower-case hexadecimal digits"
                ));
            }
        }
        Ok(lock)
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        // Strings and numbers: nothing that could fail.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The digests of all that was accepted, in hexadecimal.
    pub(super) fn digests(&self) -> HashSet<String> {
        self.plugins.values().map(|it| it.sha256.clone()).collect()
    }

    /// What was accepted under a name.
    pub fn get(&self, name: &str) -> Option<&Locked> {
        self.plugins.get(name)
    }

    /// Compares a file with what was accepted under its name.
    pub fn judge(&self, name: &str, digest: Digest, imports: &[String]) -> Verdict {
        let Some(locked) = self.plugins.get(name) else {
            return Verdict::New;
        };
        if locked.sha256 == digest.to_string() {
            return Verdict::Known;
        }
        Verdict::Changed {
            accepted: locked.sha256.clone(),
            added: beyond(imports, &locked.imports),
            removed: beyond(&locked.imports, imports),
        }
    }

    /// Notes that a file is accepted. Gives the digest of the one before it.
    pub fn accept(
        &mut self,
        name: &str,
        digest: Digest,
        imports: &[String],
        accepted_at: String,
    ) -> Option<String> {
        let locked = Locked {
            sha256: digest.to_string(),
            imports: beyond(imports, &[]),
            accepted_at,
        };
        let old = self.plugins.insert(name.to_owned(), locked);
        old.map(|old| old.sha256)
    }
}

/// What some imports have beyond others, in order, each interface once.
fn beyond(imports: &[String], others: &[String]) -> Vec<String> {
    let others: BTreeSet<_> = others.iter().map(|name| track(name)).collect();
    let mut more = BTreeMap::new();
    for name in imports {
        if !others.contains(&track(name)) {
            more.entry(track(name)).or_insert_with(|| name.clone());
        }
    }
    more.into_values().collect()
}

/// An interface and its line of versions: `wasi:cli/stdout@0.2.3` and `…@0.2.6` are one, as their
/// later versions only ever fix.
fn track(name: &str) -> &str {
    let Some((_, version)) = name.split_once('@') else {
        return name;
    };
    // A draft is itself alone.
    if version.contains('-') {
        return name;
    }
    match version.match_indices('.').nth(1) {
        Some((at, _)) => {
            let end = name.len() - version.len() + at;
            name.get(..end).unwrap_or(name)
        }
        None => name,
    }
}

/// Why a file is held back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Held {
    why: Why,
    /// The command that accepts it.
    command: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    /// The lock file cannot be used, for this reason.
    Broken(String),
    /// It imports what the accepted one does not.
    Imports(Vec<String>),
    /// Everything is locked, and it is new.
    Unknown,
    /// Everything is locked, and it is another one.
    Other { accepted: String, has: Digest },
}

impl fmt::Display for Held {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = &self.command;
        match &self.why {
            Why::Broken(why) => return write!(to, "held back: {why}"),
            Why::Imports(added) => {
                const SHOWN: usize = 4;
                to.write_str("held back: it imports ")?;
                for (place, name) in added.iter().take(SHOWN).enumerate() {
                    let name: String = name.chars().take(100).collect();
                    write!(to, "{}{name}", if place > 0 { ", " } else { "" })?;
                }
                if added.len() > SHOWN {
                    write!(to, " and {} more", added.len() - SHOWN)?;
                }
                to.write_str(", which the accepted version does not")?;
            }
            Why::Unknown => to.write_str("held back: it is new, and the lock file is final")?,
            Why::Other { accepted, has } => write!(
                to,
                "held back: its sha256 is {has}, {accepted} was accepted, and the lock file is final"
            )?,
        }
        write!(to, "; to accept it: {command}")
    }
}

/// A lock file on disk.
pub struct LockFile {
    path: PathBuf,
    strict: bool,
    plugins: PathBuf,
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

/// What this process has seen of the file.
#[derive(Debug, Default)]
struct Seen {
    /// Whether it was ever there.
    there: bool,
    stamp: Option<Stamp>,
}

type Stamp = (u64, u64, i64, i64, i64, i64);

/// What a host has written into its lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The digest that stood there before.
    pub replaced: Option<String>,
}

/// Why a lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read or written.
    #[error("the lock file {path} cannot be {done}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        done: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// It does not say what a lock file says.
    #[error(
        "the lock file {path} is broken: {why}; restore it, or remove it and accept each plugin anew"
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It was there before.
    #[error("the lock file {path} is gone: restore it, or start the host again to begin a new one")]
    Gone {
        /// The file.
        path: PathBuf,
    },
}

impl LockFile {
    /// The lock file at `path`, which need not be there yet, for the plugins in a directory. With
    /// `strict`, nothing is taken that is not in it as it is.
    pub fn new(path: PathBuf, strict: bool, plugins: PathBuf, clock: Arc<dyn Clock>) -> Self {
        LockFile {
            path,
            strict,
            plugins,
            clock,
            seen: Mutex::default(),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file; one that is not there is empty.
    ///
    /// # Errors
    /// If it cannot be read, or is broken, or is gone that was there before.
    pub fn read(&self) -> Result<Lock, LockError> {
        let dir = self.open_dir("read")?;
        self.read_in(&dir, &mut self.seen.lock())
    }

    /// Whether the file is another one than when this process last used it.
    pub(super) fn has_changed(&self) -> bool {
        let stamp = self.open_dir("read").ok().and_then(|dir| self.stamp(&dir));
        self.seen.lock().stamp != stamp
    }

    /// Decides on a plugin: takes it, noting it where it is new or imports no more than before,
    /// or holds it back. Tells what was noted.
    ///
    /// # Errors
    /// Why it is held back.
    pub(super) fn admit(
        &self,
        name: &str,
        digest: Digest,
        imports: &[String],
    ) -> Result<Option<Noted>, PluginError> {
        let held = |why| {
            PluginError::Held(Box::new(Held {
                why,
                command: self.command(name),
            }))
        };
        let broken = |error: LockError| held(Why::Broken(error.to_string()));
        let mut why = None;
        let noted = self.change(|lock| {
            why = match lock.judge(name, digest, imports) {
                Verdict::Known => return None,
                Verdict::New if self.strict => Some(Why::Unknown),
                Verdict::Changed { accepted, .. } if self.strict => Some(Why::Other {
                    accepted,
                    has: digest,
                }),
                Verdict::Changed { added, .. } if !added.is_empty() => Some(Why::Imports(added)),
                Verdict::New | Verdict::Changed { .. } => None,
            };
            if why.is_some() {
                return None;
            }
            let now = format_instant(self.clock.now());
            let replaced = lock.accept(name, digest, imports, now);
            Some(Noted { replaced })
        });
        match (noted.map_err(broken)?, why) {
            (_, Some(why)) => Err(held(why)),
            (noted, None) => Ok(noted),
        }
    }

    /// Accepts a plugin on a person's word.
    ///
    /// # Errors
    /// If the file is broken, or cannot be written.
    pub fn accept(&self, name: &str, digest: Digest, imports: &[String]) -> Result<(), LockError> {
        let now = format_instant(self.clock.now());
        self.change(|lock| Some(lock.accept(name, digest, imports, now)))
            .map(drop)
    }

    /// The command that accepts a plugin.
    fn command(&self, name: &str) -> String {
        let mut command = format!("quarterjack accept {}", quoted(name));
        if self.path != Path::new(DEFAULT_LOCK) {
            command += &format!(" --lock {}", quoted(&self.path.to_string_lossy()));
        }
        if self.plugins != Path::new("plugins") {
            command += &format!(" --plugins {}", quoted(&self.plugins.to_string_lossy()));
        }
        command
    }

    /// Reads the file, and replaces it if `change` gives something.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Lock) -> Option<T>,
    ) -> Result<Option<T>, LockError> {
        let dir = self.open_dir("read")?;
        let io = |error| self.io("written", error);
        let mut seen = self.seen.lock();
        let _exclusive = exclusive(&dir).map_err(io)?;
        let mut lock = self.read_in(&dir, &mut seen)?;
        let result = change(&mut lock);
        if result.is_some() {
            replace(&dir, self.name(), lock.to_text().as_bytes()).map_err(io)?;
            seen.stamp = self.stamp(&dir);
            seen.there = true;
        }
        Ok(result)
    }

    fn read_in(&self, dir: &Dir, seen: &mut Seen) -> Result<Lock, LockError> {
        // Taken first: a change that comes meanwhile is seen as one.
        seen.stamp = self.stamp(dir);
        let mut bytes = Vec::new();
        let read = dir.open(self.name()).and_then(|file| {
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("it is not a regular file"));
            }
            file.take(MAX_FILE + 1).read_to_end(&mut bytes)
        });
        let broken = |why| LockError::Broken {
            path: self.path.clone(),
            why,
        };
        match read {
            Ok(_) if bytes.len() as u64 > MAX_FILE => Err(broken("it is too large".into())),
            Ok(_) => {
                seen.there = true;
                let text =
                    std::str::from_utf8(&bytes).map_err(|error| broken(error.to_string()))?;
                Lock::parse(text).map_err(broken)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !seen.there => {
                Ok(Lock::default())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LockError::Gone {
                path: self.path.clone(),
            }),
            Err(error) => Err(self.io("read", error)),
        }
    }

    fn open_dir(&self, done: &'static str) -> Result<Dir, LockError> {
        let parent = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Dir::open_ambient_dir(parent, ambient_authority()).map_err(|error| self.io(done, error))
    }

    /// The file within its directory; for a path that names none, one that cannot be opened.
    fn name(&self) -> &Path {
        self.path.file_name().map_or(Path::new("."), Path::new)
    }

    fn stamp(&self, dir: &Dir) -> Option<Stamp> {
        let it = dir.metadata(self.name()).ok()?;
        let modified = (it.mtime(), it.mtime_nsec());
        let changed = (it.ctime(), it.ctime_nsec());
        Some((
            it.len(),
            it.ino(),
            modified.0,
            modified.1,
            changed.0,
            changed.1,
        ))
    }

    fn io(&self, done: &'static str, error: io::Error) -> LockError {
        LockError::Io {
            path: self.path.clone(),
            done,
            error,
        }
    }
}

/// Waits until nobody else writes a lock file in a directory, within reason, and keeps them from
/// it until what is given is dropped.
fn exclusive(dir: &Dir) -> io::Result<File> {
    // Opened again: what a `Dir` holds cannot be locked.
    let handle = dir.open(".")?;
    for _ in 0..TRIES {
        match flock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(handle),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
            Err(rustix::io::Errno::INTR) => {}
            // A file system without locks: the file itself is still replaced whole.
            Err(error) => {
                tracing::debug!(%error, "no lock on the directory of the lock file");
                return Ok(handle);
            }
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "another process keeps its directory locked",
    ))
}

/// Replaces a file at once and whole.
fn replace(dir: &Dir, name: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!(".{}.{:016x}.tmp", name.to_string_lossy(), fastrand::u64(..));
    let result = dir
        .open_with(&temporary, OpenOptions::new().write(true).create_new(true))
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| dir.rename(&temporary, dir, name));
    if result.is_err() {
        // It may never have been there.
        let _ = dir.remove_file(&temporary);
    }
    result
}

/// A word as a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/+:@%,".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
