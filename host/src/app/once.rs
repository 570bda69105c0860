//! One run, now, in the foreground: no schedule, no history.

use std::path::PathBuf;
use std::sync::Arc;

use super::{AppError, CachePlace, Guests, engine_for};
use crate::clock::{Clock, SystemClock};
use crate::dispatcher::{Cancel, Session};
use crate::job::Job;
use crate::policy::{Current, Policy};
use crate::run::{Attempt, Cause, FinishedRun, Run, RunId};
use crate::runtime::Sandbox;
use crate::runtime::compiler::Compiler;
use crate::runtime::guest::Echo;
use crate::runtime::plugin::{Loader, PluginError, read_file};
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
    /// Where compiled code is kept.
    pub cache: CachePlace,
    /// What compiles the file.
    pub compiler: Compiler,
    /// Told what the guest prints, as it prints it.
    pub echo: Option<Echo>,
}

/// Runs a job once and gives its record, however it ended.
///
/// # Errors
/// If it could not even be tried: no such file, not a job, no engine.
pub async fn run_once(request: RunOnce, cancel: Cancel) -> Result<FinishedRun, AppError> {
    let RunOnce {
        job,
        plugin,
        policy,
        cache,
        compiler,
        echo,
    } = request;
    let engine = engine_for(1, u64::MAX)?;
    let cache = cache.open(&engine)?;
    let loader = Loader::new(engine.clone(), cache).with(compiler, policy.plugins);
    let failed = |error| AppError::Plugin {
        path: plugin.clone(),
        error,
    };
    let bytes = read_file(&plugin, policy.plugins.max_size).map_err(failed)?;
    let loaded = loader.load(&bytes).map_err(failed)?;
    drop(bytes);
    if let Some(pinned) = job.sha256.map(Digest::from)
        && pinned != loaded.plugin.digest
    {
        let has = loaded.plugin.digest;
        return Err(failed(PluginError::Pinned { has, pinned }));
    }

    let guests = Guests::start()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now = clock.now();
    let attempt = Attempt {
        run: Arc::new(Run {
            id: RunId::new(now),
            job,
            cause: Cause::Manual,
            scheduled_at: now,
            max_attempts: 1,
            last_success: None,
        }),
        number: 1,
        started_at: now,
    };
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
