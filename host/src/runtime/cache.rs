//! Compiled code on disk, so that a plugin is compiled once and not at every start.
//!
//! An entry is named after the plugin's digest and everything of the engine that shapes code,
//! and has its own SHA-256 beside it: an entry that is cut short, was altered, or was made by
//! another version or machine is compiled anew. Loading maps the file into memory. What the host
//! must know of the plugin besides stands in a third file, so that a file whose code is here is
//! not looked into again.
//!
//! Code read from here runs with the rights of the host. So the directory must belong to the
//! user that the host runs as, and nobody else may write to it; a directory where that does
//! not hold is not used.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt as _, OpenOptions};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wasmtime::Module;
use wasmtime::component::Component;

use super::compiler::Face;
#[cfg(feature = "wasi-03")]
use super::engine;
use super::engine::Engine;
use super::shape::{Digest, Shape};
use crate::clock;

/// How long an entry is kept that nothing has used.
const KEEP: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The compiled code of plugins, in a directory of its own.
#[derive(Debug)]
pub struct CodeCache {
    path: PathBuf,
    dir: Dir,
    /// A hash of the engine's settings, version and target.
    settings: u64,
}

/// Why a directory cannot hold compiled code.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be made or opened.
    #[error("cannot use {path} for compiled code: {source}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody else could put code there.
    #[error(
        "will not use {path} for compiled code: {why}; name another directory with --cache, or make it yours with `chown` and `chmod go-w`"
    )]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// Who could write there.
        why: &'static str,
    },
}

/// What compiling a plugin gives.
pub enum Code {
    /// A component.
    Component(Component),
    /// A core module.
    Module(Module),
}

impl Code {
    /// Code from a process that compiled it for this one.
    ///
    /// # Errors
    /// If it is not for this engine, or needs more than the engine has.
    #[allow(unsafe_code)]
    pub(super) fn adopt(
        engine: &wasmtime::Engine,
        bytes: &[u8],
        component: bool,
    ) -> wasmtime::Result<Code> {
        // SAFETY: the bytes must be code that wasmtime has compiled, unaltered. They come whole
        // through a pipe from this same executable, which this process has started to compile
        // a plugin, and which does so as this process would have: who could make that child
        // write something else has broken the compiler, and would have broken it here.
        // wasmtime itself checks that version, target and settings are those of `engine`.
        unsafe {
            if component {
                Component::deserialize(engine, bytes).map(Code::Component)
            } else {
                Module::deserialize(engine, bytes).map(Code::Module)
            }
        }
    }

    /// The form that is kept on disk.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub(super) fn serialize(&self) -> wasmtime::Result<Vec<u8>> {
        match self {
            Code::Component(component) => component.serialize(),
            Code::Module(module) => module.serialize(),
        }
    }
}

/// What an entry says besides its code.
#[derive(Serialize, Deserialize)]
struct Card {
    /// SHA-256 of the code that it belongs to.
    code: String,
    face: Face,
}

impl CodeCache {
    /// The usual place: `quarterjack` in the user's cache directory. Nothing where there is no
    /// such directory.
    pub fn usual_place() -> Option<PathBuf> {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .map(|cache| cache.join("quarterjack"))
    }

    /// Opens a directory for the code of `engine`, making it if needed.
    ///
    /// # Errors
    /// If it cannot be opened, or if somebody else could write to it.
    pub fn open(path: &Path, engine: &wasmtime::Engine) -> Result<CodeCache, CacheError> {
        let failed = |source| CacheError::Open {
            path: path.to_owned(),
            source,
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(failed)?;
        let metadata = dir.dir_metadata().map_err(failed)?;
        let not_ours = |why| CacheError::NotOurs {
            path: path.to_owned(),
            why,
        };
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(not_ours("it belongs to another user"));
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(not_ours("others may write to it"));
        }
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        // An entry may be code of the other engine.
        #[cfg(feature = "wasi-03")]
        if let Ok(other) = engine::compile_only(engine::Kind::Tasks) {
            other.precompile_compatibility_hash().hash(&mut hasher);
        }
        let cache = CodeCache {
            // Absolute, as the working directory may change.
            path: path.canonicalize().map_err(failed)?,
            dir,
            settings: hasher.finish(),
        };
        cache.prune();
        Ok(cache)
    }

    /// The code of a plugin and what it says of itself, if they are here and sound.
    pub(super) fn load(&self, engine: &Engine, digest: Digest) -> Option<(Face, Code)> {
        let name = self.name(digest);
        let sum = self.dir.read_to_string(sum_name(&name)).ok()?;
        let card = self.dir.read(card_name(&name)).ok()?;
        // What cannot be read was cut short, or is of another version: as if it were not there.
        let Card { code, face } = serde_json::from_slice(&card).ok()?;
        let shape = face.shape()?;
        let component = shape != Shape::CoreCommand;
        if code != sum.trim() {
            return None;
        }
        let bytes = self.dir.read(&name).ok()?;
        if hex_sum(&bytes) != sum.trim() {
            tracing::warn!(
                entry = name,
                "the compiled code was altered or cut short: compiling again"
            );
            return None;
        }
        drop(bytes);
        // Without an engine for it, compiling says why.
        let engine = engine.for_shape(shape).ok()?.wasmtime();
        let code = self.map(engine, &self.path.join(&name), component);
        match code {
            Ok(code) => {
                for name in [&name, &sum_name(&name), &card_name(&name)] {
                    self.touch(name);
                }
                Some((face, code))
            }
            Err(error) => {
                tracing::warn!(entry = name, %error, "the compiled code is not for this engine: compiling again");
                None
            }
        }
    }

    #[allow(unsafe_code)]
    fn map(
        &self,
        engine: &wasmtime::Engine,
        path: &Path,
        component: bool,
    ) -> wasmtime::Result<Code> {
        // SAFETY: the file must be code that wasmtime has compiled, unaltered. Its content has
        // the SHA-256 that was recorded when the host wrote it, and both lie in a directory
        // that only the host's own user can write to (checked in `open`), so whoever could
        // alter them, also between the check and the map, has the host's rights already.
        // wasmtime itself checks that version, target and settings are those of `engine`.
        unsafe {
            if component {
                Component::deserialize_file(engine, path).map(Code::Component)
            } else {
                Module::deserialize_file(engine, path).map(Code::Module)
            }
        }
    }

    /// Keeps the code of a plugin. That it cannot be kept costs time at the next start, so it
    /// is logged and otherwise let go.
    pub(super) fn store(&self, digest: Digest, face: Face, code: &[u8]) {
        if let Err(error) = self.write(digest, face, code) {
            tracing::warn!(%error, "cannot keep compiled code in {}", self.path.display());
        }
    }

    fn write(&self, digest: Digest, face: Face, bytes: &[u8]) -> std::io::Result<()> {
        let name = self.name(digest);
        let code = hex_sum(bytes);
        let sum = code.clone();
        let card = serde_json::to_vec(&Card { code, face })?;
        // Each is replaced at once and whole. Between them, they do not fit each other, which
        // `load` takes as nothing there.
        self.replace(&name, bytes)?;
        self.replace(&card_name(&name), &card)?;
        self.replace(&sum_name(&name), sum.as_bytes())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let temporary = format!("{name}.{:016x}.tmp", fastrand::u64(..));
        let result = self
            .dir
            .open_with(&temporary, OpenOptions::new().write(true).create_new(true))
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            })
            .and_then(|()| self.dir.rename(&temporary, &self.dir, name));
        if result.is_err() {
            // It may never have been there.
            let _ = self.dir.remove_file(&temporary);
        }
        result
    }

    fn name(&self, digest: Digest) -> String {
        format!("{digest}-{:016x}.cwasm", self.settings)
    }

    /// Marks an entry as used today.
    fn touch(&self, name: &str) {
        if let Ok(file) = self.dir.open_with(name, OpenOptions::new().append(true)) {
            // Only its age suffers if this fails.
            let _ = file.into_std().set_modified(clock::file_time());
        }
    }

    /// Removes what nothing has used for a long time, so that the directory does not grow for
    /// ever.
    fn prune(&self) {
        let now = clock::file_time();
        let Ok(entries) = self.dir.entries() else {
            return;
        };
        for entry in entries.flatten() {
            let old = entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|modified| {
                    now.duration_since(modified.into_std())
                        .is_ok_and(|age| age > KEEP)
                });
            if old {
                // Another host may have been quicker.
                let _ = self.dir.remove_file(entry.file_name());
            }
        }
    }
}

fn sum_name(name: &str) -> String {
    format!("{name}.sha256")
}

fn card_name(name: &str) -> String {
    format!("{name}.json")
}

fn hex_sum(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
