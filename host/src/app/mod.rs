//! The composition root: puts the parts together, starts them, and stops them in order.
//!
//! [`serve`] is the host; [`run_once`] and [`check`] do with the same parts what a person asks
//! for on the command line.

mod catalog;
mod chains;
mod check;
mod components;
mod data;
pub mod history;
mod in_service;
mod machine;
mod made;
#[cfg(test)]
mod model;
mod once;
mod problems;
mod recovery;
mod serve;
mod warnings;
mod watch;

use std::path::PathBuf;

use crate::job::Diagnostic;
use crate::policy::Policy;
use crate::runtime::cache::{CacheError, CodeCache};
use crate::runtime::compiler::Compiler;
use crate::runtime::engine::{Capacity, Engine, EngineError, WHOLE_MEMORY};
use crate::runtime::lock::LockError;
use crate::runtime::plugin::{Loader, PluginError};
use crate::source::SourceError;
use crate::store::StoreError;
use crate::store::sqlite::OpenError;

pub use check::{CheckReport, check};
pub use data::{DataPlace, backup, restore, set_paused, usual_data};
pub use once::{Identity, RunOnce, run_once};
pub(crate) use serve::{Assembled, Assembly};
pub use serve::{LockOptions, ServeOptions, Stop, serve};

/// Why the host, or a single run, could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The directory for compiled code that was asked for.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The lock file.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The address that requests were to come to.
    #[error(transparent)]
    Listen(#[from] crate::api::tcp::ListenError),
    /// The plugins directory.
    #[error(
        "cannot open the plugins directory {path}: {error}; make it with `mkdir`, or name another with --plugins"
    )]
    PluginsDirectory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file that is to be run.
    #[error("{path}: {error}")]
    Plugin {
        /// The file.
        path: PathBuf,
        /// Why it cannot be run.
        error: PluginError,
    },
    /// A file that is not the one that is to be run.
    #[error(
        "{path} is not the plugin that ran: its SHA-256 is {found}, and that of the record is {expected}; name the file that ran with --plugin FILE.wasm, or run this one all the same with --any-plugin"
    )]
    OtherPlugin {
        /// The file.
        path: PathBuf,
        /// The digest that it has.
        found: String,
        /// The digest that it was to have.
        expected: String,
    },
    /// A directory that a single run is granted, and that is not there.
    #[error("cannot open the granted directory {path}: {why}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A source of definitions that cannot be read at all.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The threads for the guests.
    #[error("cannot start the threads that jobs run on: {0}")]
    Threads(std::io::Error),
    /// The store in the data directory.
    #[error(transparent)]
    Data(#[from] OpenError),
    /// What is in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A definition that the host is given to begin with.
    #[error("{}", all_of(.0))]
    Definition(Vec<Diagnostic>),
    /// There is nowhere to keep a history.
    #[error(
        "there is no home directory to keep the history in; name a directory with --data DIR, or keep nothing with --ephemeral"
    )]
    NoDataPlace,
    /// A bug in the host.
    #[error("the host failed (a bug): {0}")]
    Internal(String),
}

fn all_of(problems: &[Diagnostic]) -> String {
    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
    all.join("; ")
}

/// Where compiled code is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CachePlace {
    /// In the user's cache directory; without one that can be used, nowhere.
    #[default]
    Usual,
    /// Here.
    At(PathBuf),
    /// Nowhere: everything is compiled at every start.
    Nowhere,
}

impl CachePlace {
    fn open(&self, engine: &Engine) -> Result<Option<CodeCache>, CacheError> {
        match self {
            CachePlace::Nowhere => Ok(None),
            CachePlace::At(path) => CodeCache::open(path, engine.wasmtime()).map(Some),
            CachePlace::Usual => {
                let Some(path) = CodeCache::usual_place() else {
                    tracing::warn!("no home directory to keep compiled code in: see --cache");
                    return Ok(None);
                };
                Ok(CodeCache::open(&path, engine.wasmtime())
                    .inspect_err(|error| tracing::warn!(%error, "compiled code is not kept"))
                    .ok())
            }
        }
    }
}

/// An engine for `max_running` runs at once, which have `max_memory` bytes together. Its pool always covers a whole 32-bit memory: that
/// costs only addresses, and code that is compiled for one size of pool does not fit another.
fn engine_for(max_running: usize, max_memory: u64) -> Result<Engine, EngineError> {
    Engine::new(Capacity {
        running: max_running,
        largest_memory: WHOLE_MEMORY,
        memory: max_memory,
    })
}

/// A loader that compiles with `compiler`, within the operator's limits.
fn loader_for(
    engine: &Engine,
    cache: Option<CodeCache>,
    compiler: Compiler,
    policy: &Policy,
) -> Loader {
    Loader::new(engine.clone(), cache).with(compiler, policy.plugins)
}

/// The threads that guests run on, as they are set up. A thread that is busy looks for new runs
/// and for timers every few stretches of guests, and not every sixty, as would be usual: guests
/// that spin and yield would be looked at so often first.
pub fn guest_threads() -> tokio::runtime::Builder {
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    threads
        .thread_name("guest")
        .global_queue_interval(2)
        .event_interval(4)
        .enable_all();
    threads
}

/// The threads that guests run on, apart from those that decide when: a guest that keeps a
/// thread busy delays other guests, but no decision.
struct Guests {
    runtime: Option<tokio::runtime::Runtime>,
}

impl Guests {
    fn start() -> Result<Guests, AppError> {
        let runtime = guest_threads().build().map_err(AppError::Threads)?;
        Ok(Guests {
            runtime: Some(runtime),
        })
    }

    fn handle(&self) -> tokio::runtime::Handle {
        // There until it is dropped.
        #[allow(clippy::unwrap_used)]
        self.runtime.as_ref().unwrap().handle().clone()
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Does not wait: dropped inside another runtime, and nothing on it matters any more.
            runtime.shutdown_background();
        }
    }
}
