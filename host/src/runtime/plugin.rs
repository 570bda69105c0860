//! A plugin: the content of a `.wasm` file, checked, compiled and linked, up to the point where
//! a run begins.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions, OpenOptionsExt as _};
use parking_lot::Mutex;
use rustix::fs::OFlags;
use wasmtime::InstancePre as CorePre;
use wasmtime::component::InstancePre as ComponentPre;
use wasmtime_wasi::p2::bindings::CommandPre;

use super::bindings::JobPre;
use super::cache::{Code, CodeCache};
use super::compiler::{Artifact, Compiled, Compiler, Face, does_not_compile};
use super::engine::{Engine, EngineError};
use super::guest::GuestState;
use super::lock::Held;
use super::shape::{Digest, Shape, ShapeError, brief};
#[cfg(feature = "wasi-03")]
use super::wasi03;
use crate::clock;
use crate::policy::PluginSettings;
use crate::units::format_size;

/// A plugin that can be run.
pub struct Plugin {
    /// SHA-256 of its file.
    pub digest: Digest,
    /// What kind of guest it is.
    pub shape: Shape,
    /// What it imports, in the file's order: interfaces, or for a core module functions.
    pub interfaces: Vec<String>,
    /// Whether it imports anything that does something.
    pub(super) imports: bool,
    /// Whether it can ask if it is to end.
    pub(super) cooperates: bool,
    /// Whether it can open files.
    pub(super) files: bool,
    /// Whether it can ask for its arguments and environment.
    pub(super) environment: bool,
    /// How many slots of the engine's pool it takes.
    pub(super) slots: u32,
    pub(super) entry: Entry,
}

/// A plugin's code, linked, up to the point where a run begins.
pub(super) enum Entry {
    Typed(JobPre<GuestState>),
    Command(CommandPre<GuestState>),
    #[cfg(feature = "wasi-03")]
    Command03(wasi03::CommandPre<GuestState>),
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
    /// It is no file: a directory, a pipe, a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// It is too large.
    #[error(
        "it has {size}, more than the {max} that a plugin may have; allow more with `max_size` under [plugins] in quarterjack.toml",
        size = format_size(*size), max = format_size(*max)
    )]
    TooLarge {
        /// Bytes of the file.
        size: u64,
        /// The most that are allowed.
        max: u64,
    },
    /// It changed while it was read.
    #[error("it changed while it was read")]
    Changing,
    /// It is none of the three kinds of job.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The same, as the process that compiles plugins says it.
    #[error("{0}")]
    NotAJob(String),
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
    /// It needs an engine that cannot be had.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It needs more memories, tables or instances than a job may have.
    #[error("{0}")]
    TooMuch(String),
    /// It is not what was accepted before.
    #[error(transparent)]
    Held(#[from] Box<Held>),
    /// It is not the file that the job's definition pins.
    #[error("its sha256 is {has}, and the definition pins {pinned}")]
    Pinned {
        /// The digest of the file.
        has: Digest,
        /// The digest that it should have.
        pinned: Digest,
    },
    /// The host stops before it was compiled.
    #[error("the host stops before it is compiled")]
    Stopping,
}

/// Turns files into plugins: one for each content, however many names it has.
pub struct Loader {
    engine: Engine,
    cache: Option<CodeCache>,
    compiler: Compiler,
    settings: Mutex<PluginSettings>,
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
    /// A loader that compiles for `engine`, in this process, and keeps the code in `cache`.
    pub fn new(engine: Engine, cache: Option<CodeCache>) -> Self {
        Loader {
            engine,
            cache,
            compiler: Compiler::InProcess,
            settings: Mutex::default(),
            loaded: Mutex::new(HashMap::new()),
        }
    }

    /// The same, with another compiler, and with limits.
    #[must_use]
    pub fn with(self, compiler: Compiler, settings: PluginSettings) -> Self {
        Loader {
            compiler,
            settings: Mutex::new(settings),
            ..self
        }
    }

    /// What a plugin may be, and what compiling it may take.
    pub fn settings(&self) -> PluginSettings {
        *self.settings.lock()
    }

    /// Sets other limits from now on, and tells whether they differ.
    pub fn set_settings(&self, settings: PluginSettings) -> bool {
        std::mem::replace(&mut *self.settings.lock(), settings) != settings
    }

    /// Compiles nothing more, and ends what is compiled in processes of its own.
    pub fn stop(&self) {
        self.compiler.stop();
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
        let (face, code, compiled_in) = self.code(bytes, digest)?;
        let shape = face.shape().ok_or_else(unknown_shape)?;
        let (entry, slots) = self.link(code, shape)?;
        #[cfg(feature = "wasi-03")]
        let slots = slots.max(wasi03::slots_for(shape, bytes));
        let imports = |start: &str| face.imports.iter().any(|name| name.starts_with(start));
        let plugin = Arc::new(Plugin {
            digest,
            shape,
            imports: face
                .imports
                .iter()
                .any(|name| !name.starts_with("quarterjack:job/types@")),
            cooperates: imports("quarterjack:job/control@"),
            files: imports("wasi:filesystem/")
                || imports("wasi_snapshot_preview1.path_")
                || imports("wasi_snapshot_preview1.fd_prestat"),
            environment: face.imports.iter().any(|name| {
                ["environ_", "args_", "wasi:cli/environment@"]
                    .iter()
                    .any(|part| name.contains(part))
            }),
            slots,
            entry,
            interfaces: face.imports,
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
    ) -> Result<(Face, Code, Option<Duration>), PluginError> {
        let engine = &self.engine;
        let cached = self.cache.as_ref();
        if let Some((face, code)) = cached.and_then(|cache| cache.load(engine, digest)) {
            return Ok((face, code, None));
        }
        let started = clock::monotonic();
        let Compiled { face, code } = self.compiler.compile(engine, bytes, &self.settings())?;
        let keep = |bytes: &[u8]| {
            if let Some(cache) = cached {
                cache.store(digest, face.clone(), bytes);
            }
        };
        let (code, compiled_in) = match code {
            Artifact::Ready(code) => {
                let compiled_in = started.elapsed();
                match code.serialize() {
                    Ok(bytes) => keep(&bytes),
                    Err(error) => tracing::warn!(%error, "compiled code cannot be kept"),
                }
                (code, compiled_in)
            }
            Artifact::Serialized(bytes) => {
                let shape = face.shape().ok_or_else(unknown_shape)?;
                let engine = engine.for_shape(shape)?.wasmtime();
                let code = Code::adopt(engine, &bytes, shape != Shape::CoreCommand)
                    .map_err(|error| does_not_compile(&error))?;
                let compiled_in = started.elapsed();
                keep(&bytes);
                (code, compiled_in)
            }
        };
        Ok((face, code, Some(compiled_in)))
    }

    fn link(&self, code: Code, shape: Shape) -> Result<(Entry, u32), PluginError> {
        let engine = self.engine.for_shape(shape)?;
        let link = |error: wasmtime::Error| PluginError::Link(brief(&format!("{error:#}")));
        match code {
            Code::Component(component) => {
                let needs = component.resources_required().ok_or_else(|| {
                    PluginError::TooMuch(
                        "it imports core modules, and this host has none to give".into(),
                    )
                })?;
                let slots = engine.slots_for(&needs).map_err(PluginError::TooMuch)?;
                #[cfg(feature = "wasi-03")]
                if shape == Shape::Command03 {
                    let pre = wasi03::link(engine, &component).map_err(link)?;
                    return Ok((Entry::Command03(pre), slots));
                }
                let pre: ComponentPre<GuestState> = engine
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
                let slots = engine
                    .slots_for(&module.resources_required())
                    .map_err(PluginError::TooMuch)?;
                let pre = engine.modules().instantiate_pre(&module).map_err(link)?;
                Ok((Entry::Core(pre), slots))
            }
        }
    }
}

fn unknown_shape() -> PluginError {
    PluginError::Compile("it is of a kind that this version does not know (a bug)".into())
}

/// Reads a file that a person named as a plugin, wherever it is, of at most `max` bytes.
///
/// # Errors
/// If it cannot be read, is no regular file, or is too large.
pub fn read_file(path: &Path, max: u64) -> Result<Vec<u8>, PluginError> {
    let path = path.canonicalize().map_err(PluginError::Read)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(PluginError::NotAFile);
    };
    let dir = Dir::open_ambient_dir(parent, ambient_authority()).map_err(PluginError::Read)?;
    read_in(&dir, Path::new(name), max).map(|(_, bytes)| bytes)
}

/// Reads a plugin's file in a directory, and what the file was like while it was read.
///
/// # Errors
/// If it cannot be read, is no regular file, is too large, or leads out of the directory.
pub(super) fn read_in(
    dir: &Dir,
    name: &Path,
    max: u64,
) -> Result<(Metadata, Vec<u8>), PluginError> {
    // Without waiting: to open a pipe would wait for somebody who writes to it.
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(nonblocking);
    let file = dir.open_with(name, &options).map_err(PluginError::Read)?;
    let metadata = file.metadata().map_err(PluginError::Read)?;
    if !metadata.is_file() {
        return Err(PluginError::NotAFile);
    }
    let size = metadata.len();
    if size > max {
        return Err(PluginError::TooLarge { size, max });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    file.take(max)
        .read_to_end(&mut bytes)
        .map_err(PluginError::Read)?;
    Ok((metadata, bytes))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::engine::Capacity;

    /// A loader of a small engine, without a cache.
    pub(in crate::runtime) fn loader() -> Loader {
        Loader::new(engine(), None)
    }

    /// A small engine.
    pub(in crate::runtime) fn engine() -> Engine {
        Engine::new(Capacity {
            running: 4,
            largest_memory: 1 << 20,
            memory: u64::MAX,
        })
        .unwrap()
    }

    /// A command that does nothing; another marker makes it another file.
    pub(in crate::runtime) fn command(marker: &str) -> Vec<u8> {
        wat::parse_str(format!(
            r#"(module (memory 1) (data (i32.const 0) "{marker}") (func (export "_start")))"#
        ))
        .unwrap()
    }

    #[test]
    fn one_content_is_one_plugin() {
        let loader = loader();
        let first = loader.load(&command("same")).unwrap();
        let second = loader.load(&command("same")).unwrap();
        assert!(Arc::ptr_eq(&first.plugin, &second.plugin));
        assert!(first.compiled_in.is_some() && second.compiled_in.is_none());
    }

    /// The guests of the integration tests, small enough to be compiled many times.
    fn guests() -> Vec<Vec<u8>> {
        let names = [
            "typed",
            "command",
            "echo",
            "capabilities",
            "memories",
            "tables",
        ];
        let read = |name: &&str| {
            let path = format!("{}/../tests/guests/{name}.wat", env!("CARGO_MANIFEST_DIR"));
            wat::parse_file(path).unwrap()
        };
        names.iter().map(read).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

        /// Sound files with a few bytes changed, cut or doubled are plugins or are refused.
        #[test]
        fn mutated_guests_are_loaded_or_refused(
            which in 0_usize..6,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in prop::option::of(any::<prop::sample::Index>()),
            twice in prop::option::of((any::<prop::sample::Index>(), 1_usize..64)),
        ) {
            thread_local! {
                static LOADER: (Loader, Vec<Vec<u8>>) = (loader(), guests());
            }
            LOADER.with(|(loader, guests)| {
                let mut bytes = guests[which].clone();
                for (place, value) in changes {
                    let place = place.index(bytes.len());
                    bytes[place] = value;
                }
                if let Some((place, length)) = twice {
                    let from = place.index(bytes.len());
                    let piece = bytes[from..(from + length).min(bytes.len())].to_vec();
                    bytes.splice(from..from, piece);
                }
                if let Some(place) = cut {
                    bytes.truncate(place.index(bytes.len()));
                }
                if let Err(error) = loader.load(&bytes) {
                    assert!(!error.to_string().is_empty());
                }
            });
        }
    }

    #[test]
    fn imports_that_nothing_grants_are_named() {
        let wasm =
            wat::parse_str(r#"(module (import "env" "abort" (func)) (func (export "_start")))"#)
                .unwrap();
        let Err(error) = loader().load(&wasm) else {
            panic!("loaded");
        };
        assert!(error.to_string().contains("`env.abort`"), "{error}");
    }
}
