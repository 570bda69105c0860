//! What the jobs of a host can be: plugins of a directory, if it has one, and functions of the
//! program that it is part of, if there are any.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

use crate::dispatcher::{Executor, Session};
use crate::job::{Job, native_name};
use crate::native::{Carrier, Natives};
use crate::policy::PluginSettings;
use crate::run::{Attempt, Execution, SkipReason};
use crate::runtime::Runtime;
use crate::runtime::directory::{Availability, Plugins};
use crate::runtime::shape::Digest;

/// What jobs can be.
#[derive(Clone)]
pub(super) struct Components {
    plugins: Option<Arc<Plugins>>,
    natives: Natives,
}

impl Components {
    pub(super) fn new(plugins: Option<Arc<Plugins>>, natives: Natives) -> Components {
        Components { plugins, natives }
    }

    /// The plugins, if there is a directory of them.
    pub(super) fn plugins(&self) -> Option<&Plugins> {
        self.plugins.as_deref()
    }

    /// The functions.
    pub(super) fn natives(&self) -> &Natives {
        &self.natives
    }

    /// Whether a component can be run now.
    pub(super) fn availability(&self, component: &str) -> Availability {
        if let Some(name) = native_name(component) {
            return match self.natives.get(name) {
                Some(_) => Availability::Ready,
                None => Availability::Missing,
            };
        }
        let plugins = self.plugins.as_ref();
        plugins.map_or(Availability::Missing, |it| it.availability(component))
    }

    /// Whether what is in service under the name of a job's component is what the job wants.
    pub(super) fn serves(&self, job: &Job) -> bool {
        let has = |pin: [u8; 32]| {
            let mut plugins = self.plugins.iter();
            plugins.any(|it| it.pinned(&job.component, pin.into()).is_some())
        };
        job.sha256.is_none_or(has)
    }

    /// How many plugins are in service.
    pub(super) fn count(&self) -> usize {
        self.plugins.as_ref().map_or(0, |it| it.names().len())
    }

    /// Keeps these versions of plugins in service, which jobs pin, and no other older ones.
    pub(super) fn keep(&self, pins: HashSet<(Arc<str>, Digest)>) {
        if let Some(plugins) = &self.plugins {
            plugins.keep(pins);
        }
    }

    /// Sets what plugins may be from now on.
    pub(super) fn set_settings(&self, settings: PluginSettings) {
        if let Some(plugins) = &self.plugins {
            plugins.set_settings(settings);
        }
    }

    /// Loads nothing more.
    pub(super) fn stop(&self) {
        if let Some(plugins) = &self.plugins {
            plugins.stop();
        }
    }
}

/// Carries out attempts, of whatever kind their jobs are.
pub(super) struct Runner {
    /// For plugins; nothing in a host that has none.
    pub(super) runtime: Option<Runtime>,
    /// For functions.
    pub(super) carrier: Carrier,
}

impl Executor for Runner {
    fn ready(&self, job: &Job) -> Result<(), SkipReason> {
        match (job.native(), &self.runtime) {
            (Some(name), _) if self.carrier.natives().get(name).is_some() => Ok(()),
            (None, Some(runtime)) => runtime.ready(job),
            _ => Err(SkipReason::PluginMissing(job.component.clone())),
        }
    }

    async fn execute(&self, attempt: Attempt, session: Session) -> Execution {
        let job = attempt.run.job.clone();
        match (job.native(), &self.runtime) {
            // Pinned where it is made: by value, a few KiB would be moved each time.
            (None, Some(runtime)) => pin!(runtime.execute(attempt, session)).await,
            // Without plugins, no job of one is ever ready.
            (name, _) => {
                let name = name.unwrap_or(&job.component);
                pin!(self.carrier.execute(name, attempt, session)).await
            }
        }
    }
}
