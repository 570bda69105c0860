//! Plugins: files of the plugins directory, read, checked, compiled and linked, and replaced
//! while the host runs.
//!
//! A file goes into service only whole and sound. What is being written is left alone until it
//! has stood still for a moment, and what turns out to be no job leaves the version before it
//! in service.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt as _};
use parking_lot::{Mutex, RwLock};
use wasmtime::component::{Component, InstancePre as ComponentPre};
use wasmtime::{InstancePre as CorePre, Module};
use wasmtime_wasi::p2::bindings::CommandPre;

use super::bindings::JobPre;
use super::cache::{CodeCache, Code};
use super::engine::Engine;
use super::guest::GuestState;
use super::shape::{self, Digest, Shape, ShapeError};
use crate::clock;

/// The largest file that is read as a plugin.
const MAX_FILE: u64 = 512 << 20;

/// How long a file must stand still before it is taken for whole.
const SETTLE: Duration = Duration::from_millis(200);

/// A file last changed longer ago than this is taken for whole at first sight.
const LONG_SETTLED: Duration = Duration::from_secs(2);

/// A plugin that can be run.
pub struct Plugin {
    /// SHA-256 of its file.
    pub digest: Digest,
    /// What kind of guest it is.
    pub shape: Shape,
    /// Whether it imports anything of WASI.
    pub(super) wasi: bool,
    /// How many slots of the engine's pool it takes.
    pub(super) slots: u32,
    pub(super) entry: Entry,
}

/// A plugin's code, linked, up to the point where a run begins.
pub(super) enum Entry {
    Typed(JobPre<GuestState>),
    Command(CommandPre<GuestState>),
    Core(CorePre<GuestState>),
}

/// Why a file is not a plugin.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// It could not be read.
    #[error("cannot read it: {0}")]
    Read(#[source] io::Error),
    /// It is a link to a place that is not inside the plugins directory.
    #[error(
        "it is a link that leads out of the plugins directory, or nowhere: put the file itself there"
    )]
    LeadsOut,
    /// It is too large.
    #[error("it has {size} bytes, more than the {max} that a plugin may have", max = MAX_FILE)]
    TooLarge {
        /// Bytes of the file.
        size: u64,
    },
    /// It changed while it was read.
    #[error("it changed while it was read")]
    Changing,
    /// It is none of the three kinds of job.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// It needs what the host does not have.
    #[error(
        "it imports {imports}, which this host does not offer to any job; see `quarterjack inspect`"
    )]
    Imports {
        /// The imports, in a list.
        imports: String,
    },
    /// It does not compile.
    #[error("it does not compile: {0}")]
    Compile(String),
    /// It imports or exports something under the right name with the wrong type.
    #[error("it does not fit the host: {0}")]
    Link(String),
    /// It needs more memories, tables or instances than a job may have.
    #[error("{0}")]
    TooMuch(String),
}

/// Turns files into plugins: one for each content, however many names it has.
pub struct Loader {
    engine: Engine,
    cache: Option<CodeCache>,
    loaded: Mutex<HashMap<Digest, Weak<Plugin>>>,
}

/// A plugin that has just been loaded.
pub struct Loaded {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// How long it took to compile; nothing if its code was already there.
    pub compiled_in: Option<Duration>,
}

impl Loader {
    /// A loader that compiles for `engine` and keeps the code in `cache`.
    pub fn new(engine: Engine, cache: Option<CodeCache>) -> Self {
        Loader {
            engine,
            cache,
            loaded: Mutex::new(HashMap::new()),
        }
    }

    /// Checks, compiles and links the content of a file. May take seconds for a large one:
    /// never on the way of a firing.
    ///
    /// # Errors
    /// Why it is not a plugin.
    pub fn load(&self, bytes: &[u8]) -> Result<Loaded, PluginError> {
        let digest = Digest::of(bytes);
        if let Some(plugin) = self.loaded.lock().get(&digest).and_then(Weak::upgrade) {
            return Ok(Loaded {
                plugin,
                compiled_in: None,
            });
        }
        let inspection = shape::inspect(bytes)?;
        let unknown: Vec<String> = inspection
            .unknown_imports()
            .map(|import| format!("`{}`", import.name))
            .collect();
        if !unknown.is_empty() {
            return Err(PluginError::Imports {
                imports: unknown.join(", "),
            });
        }
        let component = inspection.shape != Shape::CoreCommand;
        let (code, compiled_in) = self.code(bytes, digest, component)?;
        let (entry, slots) = self.link(code, inspection.shape)?;
        let plugin = Arc::new(Plugin {
            digest,
            shape: inspection.shape,
            wasi: inspection
                .imports
                .iter()
                .any(|import| import.name.starts_with("wasi")),
            slots,
            entry,
        });
        let mut loaded = self.loaded.lock();
        loaded.retain(|_, plugin| plugin.strong_count() > 0);
        loaded.insert(digest, Arc::downgrade(&plugin));
        Ok(Loaded {
            plugin,
            compiled_in,
        })
    }

    fn code(
        &self,
        bytes: &[u8],
        digest: Digest,
        component: bool,
    ) -> Result<(Code, Option<Duration>), PluginError> {
        let engine = self.engine.wasmtime();
        if let Some(code) = self
            .cache
            .as_ref()
            .and_then(|cache| cache.load(engine, digest, component))
        {
            return Ok((code, None));
        }
        let started = clock::monotonic();
        let code = if component {
            Component::from_binary(engine, bytes).map(Code::Component)
        } else {
            Module::from_binary(engine, bytes).map(Code::Module)
        }
        .map_err(|error| PluginError::Compile(format!("{error:#}")))?;
        let compiled_in = started.elapsed();
        if let Some(cache) = &self.cache {
            cache.store(digest, &code);
        }
        Ok((code, Some(compiled_in)))
    }

    fn link(&self, code: Code, shape: Shape) -> Result<(Entry, u32), PluginError> {
        let link = |error: wasmtime::Error| PluginError::Link(format!("{error:#}"));
        match code {
            Code::Component(component) => {
                let needs = component.resources_required().ok_or_else(|| {
                    PluginError::TooMuch(
                        "it imports core modules, and this host has none to give".into(),
                    )
                })?;
                let slots = self
                    .engine
                    .slots_for(&needs)
                    .map_err(PluginError::TooMuch)?;
                let pre: ComponentPre<GuestState> = self
                    .engine
                    .components()
                    .instantiate_pre(&component)
                    .map_err(link)?;
                let entry = if shape == Shape::Typed {
                    Entry::Typed(JobPre::new(pre).map_err(link)?)
                } else {
                    Entry::Command(CommandPre::new(pre).map_err(link)?)
                };
                Ok((entry, slots))
            }
            Code::Module(module) => {
                let slots = self
                    .engine
                    .slots_for(&module.resources_required())
                    .map_err(PluginError::TooMuch)?;
                let pre = self
                    .engine
                    .modules()
                    .instantiate_pre(&module)
                    .map_err(link)?;
                Ok((Entry::Core(pre), slots))
            }
        }
    }
}

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
    dir: Dir,
    loader: Loader,
    in_service: RwLock<HashMap<Arc<str>, Arc<Plugin>>>,
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
    },
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
            dir: Dir::open_ambient_dir(path, ambient_authority())?,
            loader,
            in_service: RwLock::default(),
            seen: Mutex::default(),
        })
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
            Some(State::Rejected(error)) => Availability::Rejected(error.clone()),
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
        for entry in self.dir.entries()? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| is_plugin_name(name)) else {
                continue;
            };
            // Follows links, but never out of the directory: such a one is looked at itself,
            // and reading it will tell what is wrong. What has vanished meanwhile is not there.
            if let Ok(metadata) = self
                .dir
                .metadata(name)
                .or_else(|_| self.dir.symlink_metadata(name))
                && !metadata.is_dir()
            {
                present.insert(name.into(), Stamp::of(&metadata));
            }
        }

        let mut seen = self.seen.lock();
        seen.retain(|name, _| {
            let stays = present.contains_key(name);
            if !stays && self.in_service.write().remove(name).is_some() {
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
            if matches!(entry.state, State::Settling) {
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
            self.loader.load(&bytes).map(|loaded| (stamp, loaded))
        });
        let mut seen = self.seen.lock();
        let Some(entry) = seen.get_mut(name) else {
            // Deleted while it was read.
            return Change::Unchanged;
        };
        match result {
            Ok((stamp, loaded)) => {
                if entry.stamp == stamp {
                    entry.state = State::Ready;
                }
                let digest = loaded.plugin.digest;
                let shape = loaded.plugin.shape;
                let replaced = self
                    .in_service
                    .write()
                    .insert(name.clone(), loaded.plugin)
                    .map(|plugin| plugin.digest);
                if replaced == Some(digest) {
                    return Change::Unchanged;
                }
                Change::Loaded {
                    name: name.clone(),
                    digest,
                    replaced,
                    shape,
                    compiled_in: loaded.compiled_in,
                }
            }
            Err(PluginError::Changing) => {
                // The next scan sees another stamp, and waits for it to settle.
                entry.state = State::Settling;
                Change::Unchanged
            }
            Err(error) => {
                entry.state = State::Rejected(error.to_string());
                Change::Rejected {
                    name: name.clone(),
                    error,
                    in_service: self.in_service.read().contains_key(name),
                }
            }
        }
    }

    fn read(&self, name: &str) -> Result<(Stamp, Vec<u8>), PluginError> {
        let link = self.dir.symlink_metadata(name).map_err(PluginError::Read)?;
        if link.is_symlink() && self.dir.metadata(name).is_err() {
            return Err(PluginError::LeadsOut);
        }
        let before = Stamp::of(&self.dir.metadata(name).map_err(PluginError::Read)?);
        if before.size > MAX_FILE {
            return Err(PluginError::TooLarge { size: before.size });
        }
        let bytes = self.dir.read(name).map_err(PluginError::Read)?;
        let after = Stamp::of(&self.dir.metadata(name).map_err(PluginError::Read)?);
        if before != after || bytes.len() as u64 != after.size {
            return Err(PluginError::Changing);
        }
        Ok((after, bytes))
    }
}

/// Reads a file that a person named as a plugin, wherever it is.
///
/// # Errors
/// If it cannot be read or is too large.
pub fn read_file(path: &Path) -> Result<Vec<u8>, PluginError> {
    let path = path.canonicalize().map_err(PluginError::Read)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(PluginError::Read(io::ErrorKind::IsADirectory.into()));
    };
    let dir = Dir::open_ambient_dir(parent, ambient_authority()).map_err(PluginError::Read)?;
    let size = dir.metadata(name).map_err(PluginError::Read)?.len();
    if size > MAX_FILE {
        return Err(PluginError::TooLarge { size });
    }
    dir.read(name).map_err(PluginError::Read)
}

/// Whether a file of this name is a plugin: not hidden, as temporary files of editors and
/// copying tools are.
fn is_plugin_name(name: &str) -> bool {
    name.ends_with(".wasm") && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loader() -> Loader {
        Loader::new(Engine::new(4, 1 << 20).unwrap(), None)
    }

    fn command(marker: &str) -> Vec<u8> {
        wat::parse_str(format!(
            r#"(module (memory 1) (data (i32.const 0) "{marker}") (func (export "_start")))"#
        ))
        .unwrap()
    }

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
        assert!(matches!(&settle(&plugins)[..], [Change::Loaded { replaced: None, .. }]));
        let first = plugins.get("job.wasm").unwrap().digest;

        let whole = command("two");
        std::fs::write(&file, &whole[..whole.len() - 4]).unwrap();
        assert!(matches!(
            &settle(&plugins)[..],
            [Change::Rejected { in_service: true, .. }]
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
            [Change::Rejected { error: PluginError::LeadsOut, .. }]
        ));
    }

    #[test]
    fn one_content_is_one_plugin() {
        let loader = loader();
        let first = loader.load(&command("same")).unwrap();
        let second = loader.load(&command("same")).unwrap();
        assert!(Arc::ptr_eq(&first.plugin, &second.plugin));
        assert!(first.compiled_in.is_some() && second.compiled_in.is_none());
    }

    #[test]
    fn imports_that_nothing_grants_are_named() {
        let wasm = wat::parse_str(
            r#"(module (import "env" "abort" (func)) (func (export "_start")))"#,
        )
        .unwrap();
        let Err(error) = loader().load(&wasm) else {
            panic!("loaded");
        };
        assert!(error.to_string().contains("`env.abort`"), "{error}");
    }
}
