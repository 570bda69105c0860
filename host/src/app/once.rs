//! One run, now, in the foreground: no schedule, no history.

use std::path::PathBuf;
use std::sync::Arc;

use super::problems::directory_problem;
use super::{AppError, CachePlace, Guests, engine_for, loader_for};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::dispatcher::{Cancel, Session};
use crate::job::Job;
use crate::policy::{Current, Policy};
use crate::run::{Attempt, Cause, FinishedRun, Run, RunId};
use crate::runtime::Sandbox;
use crate::runtime::compiler::Compiler;
use crate::runtime::guest::Echo;
use crate::runtime::plugin::{PluginError, read_file};
use crate::runtime::shape::Digest;
use crate::secret::Providers;
use crate::state::{Ephemeral, StateSpace};

/// A run that a person asks for.
pub struct RunOnce {
    /// What to run, with its parameters, limits and grants.
    pub job: Arc<Job>,
    /// The `.wasm` file. It need not be in a plugins directory.
    pub plugin: PathBuf,
    /// What the operator allows.
    pub policy: Arc<Policy>,
    /// The SHA-256 that the file must have, in hexadecimal, where only one will do.
    pub digest: Option<String>,
    /// Which run it is to be; a new one where nothing is said.
    pub identity: Option<Identity>,
    /// Where compiled code is kept.
    pub cache: CachePlace,
    /// Told what the guest prints, as it prints it.
    pub echo: Option<Echo>,
}

/// Which attempt of which run it is: what a job is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The id of the run.
    pub run: RunId,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// How many attempts the run has at most.
    pub max_attempts: u32,
    /// What made the run start.
    pub cause: Cause,
    /// The instant that the run is for.
    pub scheduled_at: Timestamp,
    /// When the attempt started.
    pub started_at: Timestamp,
    /// When the first attempt of the run started.
    pub run_started_at: Timestamp,
    /// When the last successful run of the job before it had finished.
    pub last_success: Option<Timestamp>,
}

impl Identity {
    /// A run that a person starts now.
    fn new(now: Timestamp) -> Identity {
        Identity {
            run: RunId::new(now),
            attempt: 1,
            max_attempts: 1,
            cause: Cause::Manual,
            scheduled_at: now,
            started_at: now,
            run_started_at: now,
            last_success: None,
        }
    }

    fn attempt_of(self, job: Arc<Job>) -> Attempt {
        Attempt {
            run: Arc::new(Run {
                id: self.run,
                job,
                cause: self.cause,
                scheduled_at: self.scheduled_at,
                max_attempts: self.max_attempts,
                last_success: self.last_success,
            }),
            number: self.attempt,
            started_at: self.started_at,
            run_started_at: self.run_started_at,
        }
    }
}

/// Runs a job once and gives its record, however it ended.
///
/// # Errors
/// If it could not even be tried: no such file, not a job, not the file that it must be, no engine.
pub async fn run_once(request: RunOnce, cancel: Cancel) -> Result<FinishedRun, AppError> {
    let RunOnce {
        job,
        plugin,
        policy,
        digest,
        identity,
        cache,
        echo,
    } = request;
    // Told whether or not the guest looks into it: whoever names a directory means one.
    for dir in &job.grants.dirs {
        if let Some(why) = directory_problem(&dir.host) {
            let path = dir.host.clone();
            return Err(AppError::Directory { path, why });
        }
    }
    let engine = engine_for(1, u64::MAX)?;
    let cache = cache.open(&engine)?;
    let loader = loader_for(&engine, cache, Compiler::child(), &policy);
    let failed = |error| AppError::Plugin {
        path: plugin.clone(),
        error,
    };
    let bytes = read_file(&plugin, policy.plugins.max_size).map_err(failed)?;
    if let Some(expected) = digest {
        let found = Digest::of(&bytes).to_string();
        if found != expected {
            return Err(AppError::OtherPlugin {
                path: plugin,
                found,
                expected,
            });
        }
    }
    let has = Digest::of(&bytes);
    match job.sha256.map(Digest::from) {
        Some(pinned) if pinned != has => return Err(failed(PluginError::Pinned { has, pinned })),
        _ => {}
    }
    let loaded = loader.load(&bytes).map_err(failed)?;
    drop(bytes);

    let guests = Guests::start()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let identity = identity.unwrap_or_else(|| Identity::new(clock.now()));
    let attempt = identity.attempt_of(job);
    let task = guests.handle().spawn({
        let attempt = attempt.clone();
        let clock = clock.clone();
        let secrets = Providers::new(policy.secrets.clone());
        let sandbox = Sandbox::new(engine, clock, 1)
            .under(Current::new(policy))
            .with_secrets(secrets);
        let mut session = Session::alone(cancel);
        session.state = attempt.run.job.grants.state.map(|quota| {
            let state: Arc<dyn StateSpace> = Arc::new(Ephemeral::new(quota));
            state
        });
        async move { sandbox.run(&loaded.plugin, &attempt, session, echo).await }
    });
    let execution = task
        .await
        .map_err(|error| AppError::Internal(error.to_string()))?;
    Ok(FinishedRun {
        attempt,
        finished_at: clock.now(),
        execution,
    })
}
