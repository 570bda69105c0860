//! The host: reads definitions and plugins, fires what is due, follows every change, and stops
//! in order.
//!
//! ```text
//! watch ─▶ sources ──┐
//!                    ├─ messages ─▶ control loop ─▶ scheduler ─▶ firing ─▶ dispatcher
//! watch ─▶ plugins ──┘                  ▲                                     │
//!                       clock, stop, api ─▶ control               guest threads
//! ```
//!
//! The control loop owns the schedule and never blocks: files are read and compiled on other
//! threads, and guests run on theirs.

mod assembly;
mod backfill;
mod config;
mod control;
mod definitions;
mod host;
mod made;
mod readers;
mod retention;
mod sources;
mod stop;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{AppError, CachePlace, DataPlace};
use crate::api::socket::{self, Socket};
use crate::api::{Api, tcp};
use crate::clock::{Clock as _, SystemClock, format_instant, is_unset};
use crate::control::Control;
use crate::event::Events;
use crate::native::Natives;
use crate::policy::{Policy, PolicyFile};
use crate::run::RunId;
use crate::runtime::compiler::Compiler;
use crate::source;

pub(crate) use assembly::{Assembled, Assembly};
pub use stop::Stop;

/// How a host is set up.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The job files, directories of them, and URLs; none for the usual ones.
    pub jobs: Vec<PathBuf>,
    /// The plugins directory, with what is defined beside the plugins.
    pub plugins: PathBuf,
    /// How often definitions and plugins are looked at even if nothing tells of a change.
    pub refresh: Duration,
    /// Whether a source may remove more than half of its jobs at once without being read a second
    /// time.
    pub allow_mass_removal: bool,
    /// How long runs in flight are waited for when the host stops.
    pub grace: Duration,
    /// What the operator allows, as the configuration says at the start.
    pub policy: Policy,
    /// The configuration, which is read again when it may have changed.
    pub config: PolicyFile,
    /// How many runs may be in flight at once.
    pub max_running: usize,
    /// How many bytes of memory all runs in flight may have together; what is sensible for the
    /// machine where nothing is said.
    pub max_memory: Option<u64>,
    /// Where the history, the schedules and the states of jobs are kept.
    pub data: DataPlace,
    /// Where compiled code is kept.
    pub cache: CachePlace,
    /// The lock file that plugins are held to, if any.
    pub lock: Option<LockOptions>,
    /// Where to listen for requests, besides the socket in the data directory.
    pub listen: Option<SocketAddr>,
}

/// How plugins are held to a lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockOptions {
    /// The file. It is made if it is not there.
    pub path: PathBuf,
    /// Whether nothing is taken that is not in it as it is.
    pub strict: bool,
}

/// Runs the host until it is asked to stop. Everything that it has to say, it says in `events`;
/// the last one is [`Event::HostStopped`](crate::event::Event::HostStopped).
///
/// # Errors
/// If it cannot start: no engine, no plugins directory, a job file that is not there. Nothing
/// that a definition or a plugin does is an error of the host.
pub async fn serve(options: ServeOptions, events: Events, stop: Stop) -> Result<(), AppError> {
    allow_many_files();
    // Before anything that takes its time: another host may hold it.
    let now = SystemClock.now();
    if is_unset(now) {
        tracing::warn!(
            "the clock of this machine says {}, so it is not set: jobs fire by it all the same, and what is recorded bears that time; set it, and they go on with the new one",
            format_instant(now)
        );
    }
    let opened = options.data.open(now)?;
    let recovered = opened.store.recover().await?;
    let (control, commands) = Control::new();
    // Dropped before the store is: as long as it is there, nobody else listens.
    let api = Api::new(
        control.clone(),
        opened.store.clone(),
        opened.logs.clone(),
        events.clone(),
        RunId::new(now),
    );
    let listening = listen(&options, api).await?;
    let policy = Arc::new(options.policy);
    let assembly = Assembly {
        sources: source::open(&options.jobs, &options.plugins, &policy),
        plugins: Some(options.plugins),
        natives: Natives::default(),
        threads: None,
        own: Vec::new(),
        refresh: options.refresh,
        allow_mass_removal: options.allow_mass_removal,
        policy,
        config: options.config,
        max_running: options.max_running,
        max_memory: options.max_memory,
        data: options.data,
        cache: options.cache,
        compiler: Compiler::child(),
        lock: options.lock,
        clock: Arc::new(SystemClock),
    };
    let mut host = assembly
        .assemble(opened, recovered, (control, commands), events)
        .await?;
    host.run(options.grace, &stop).await;
    drop(listening);
    host.close().await;
    Ok(())
}

/// That the host listens to what it is told, until it is dropped.
#[derive(Default)]
struct Listening {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _socket: Option<Socket>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Listens on the socket of the data directory, which is held by this process, and where else it is
/// to. A host that cannot do the first does its work all the same.
async fn listen(options: &ServeOptions, api: Arc<Api>) -> Result<Listening, AppError> {
    let mut listening = Listening::default();
    let directory = options.data.directory()?;
    if let Some(directory) = &directory {
        match Socket::bind(directory) {
            Ok((socket, listener)) => {
                let serve = socket::serve(listener, api.clone());
                listening.tasks.push(tokio::spawn(serve));
                listening._socket = Some(socket);
            }
            Err(error) => {
                tracing::warn!(%error, "nobody can tell this host what to do (trigger, cancel, pause, backfill)");
            }
        }
    }
    if let Some(address) = options.listen {
        let listener = tcp::Listener::bind(address, directory.as_deref()).await?;
        if let Ok(address) = listener.address() {
            tracing::info!("listening on http://{address}");
        }
        listening.tasks.push(tokio::spawn(listener.serve(api)));
    }
    Ok(listening)
}

/// Lets the process have as many files open as the system allows it: each running job may hold
/// some, and the usual limit is meant for programs that use `select`.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}
