//! The configuration as the host follows it, and what a change of it comes to.

use std::collections::HashSet;
use std::sync::Arc;

use super::host::Host;
use super::readers::ConfigNews;
use crate::event::{Event, LateSetting};
use crate::job::JobId;
use crate::policy::Policy;

/// The configuration as the host follows it.
pub(super) struct FollowedConfig {
    /// What is in force.
    pub(super) last: Arc<Policy>,
    /// The file it was last read from.
    pub(super) file: Option<Arc<str>>,
    /// What the file said at the start of the memory of all runs, if it was the file that said it:
    /// that holds until the next start.
    pub(super) max_memory: Option<Option<u64>>,
    /// What was in force at the start: its sources are those that are read until the next one.
    pub(super) sources: Arc<Policy>,
    /// Whether the file as it is now cannot be used.
    pub(super) broken: bool,
    /// A change that the sources have not followed yet.
    pub(super) pending: Option<PendingConfig>,
}

pub(super) struct PendingConfig {
    sections: Vec<&'static str>,
    recovered: bool,
    /// The jobs that were above the ceiling before it.
    refused: HashSet<JobId>,
}

impl FollowedConfig {
    fn file(&self) -> Arc<str> {
        let file = self.last.file().or(self.file.as_ref());
        file.cloned().unwrap_or_else(|| "the configuration".into())
    }

    /// What the file sets and this host does not take up.
    fn late_settings(&self) -> Vec<LateSetting> {
        let differs = self
            .max_memory
            .is_some_and(|at_start| at_start != self.last.host.max_memory);
        let memory = self.last.max_memory_place().filter(|_| differs);
        let source = self.last.changed_source(&self.sources);
        [("[host] max_memory", memory), ("[[source]]", source)]
            .into_iter()
            .filter_map(|(setting, place)| {
                let place = format!("{:#}", place?);
                Some(LateSetting { setting, place })
            })
            .collect()
    }
}

impl Host {
    /// Follows the configuration.
    pub(super) fn config_news(&mut self, news: ConfigNews) {
        match news {
            ConfigNews::Changed(policy) => {
                self.config.pending = Some(PendingConfig {
                    sections: self.config.last.changed_sections(&policy),
                    recovered: std::mem::take(&mut self.config.broken),
                    refused: self.catalog.refused(),
                });
                // What it means for the jobs comes with their sources, which are read now.
                self.config.last = policy.clone();
                self.policy.set(policy.clone());
                self.secrets.set(policy.secrets.clone());
                self.components.set_settings(policy.plugins);
                self.catalog.set_policy(policy);
            }
            ConfigNews::Restored => {
                self.config.broken = false;
                self.tell(Event::ConfigChanged {
                    file: self.config.file(),
                    sections: Vec::new(),
                    recovered: true,
                    refused: 0,
                    restored: 0,
                    restart: self.config.late_settings(),
                });
            }
            ConfigNews::Broken(problems) => {
                self.config.broken = true;
                let file = problems.first().map(|problem| problem.file.clone());
                self.tell(Event::ConfigRejected {
                    file: file.unwrap_or_else(|| self.config.file()),
                    problems,
                });
            }
        }
    }

    /// Tells what a change of the configuration has come to.
    pub(super) fn config_followed(&mut self) {
        let Some(pending) = self.config.pending.take() else {
            return;
        };
        let refused = self.catalog.refused();
        // A definition that is gone, or wrong in another way, does not come back.
        let back = |job: &&JobId| !refused.contains(*job) && self.catalog.wants(job);
        self.tell(Event::ConfigChanged {
            file: self.config.file(),
            sections: pending.sections,
            recovered: pending.recovered,
            refused: refused.difference(&pending.refused).count(),
            restored: pending.refused.iter().filter(back).count(),
            restart: self.config.late_settings(),
        });
    }
}
