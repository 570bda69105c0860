//! A source that the operator has named in the configuration: whatever is read, it is called so.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{JobSource, Snapshot, SourceError};
use crate::job::SourceText;
use crate::policy::{Policy, SourceSettings};
use crate::secret::CurrentSettings;

/// Reads what another source reads, under the name and at the pace that the operator has given it.
pub struct ConfiguredSource {
    name: Arc<str>,
    refresh: Option<Duration>,
    allow_mass_removal: bool,
    source: Arc<dyn JobSource>,
    /// Where it has its secrets from.
    secrets: CurrentSettings,
}

impl ConfiguredSource {
    /// A source as these settings say, which reads as another one does.
    pub fn new(
        settings: &SourceSettings,
        source: Arc<dyn JobSource>,
        secrets: CurrentSettings,
    ) -> Self {
        ConfiguredSource {
            name: settings.name.clone(),
            refresh: settings.refresh,
            allow_mass_removal: settings.allow_mass_removal,
            source,
            secrets,
        }
    }
}

impl JobSource for ConfiguredSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self) -> Result<Snapshot, SourceError> {
        self.source.read()
    }

    fn set_policy(&self, policy: Arc<Policy>) {
        self.secrets.set(policy.secrets.clone());
        self.source.set_policy(policy);
    }

    fn restore(&self, documents: &[Arc<SourceText>]) -> Snapshot {
        self.source.restore(documents)
    }

    fn directories(&self) -> Vec<PathBuf> {
        self.source.directories()
    }

    fn pace(&self) -> Option<Duration> {
        self.source.pace().or(self.refresh)
    }

    fn is_remote(&self) -> bool {
        self.source.is_remote()
    }

    fn tells(&self) -> bool {
        self.source.tells()
    }

    fn wait(&self, timeout: Duration) -> bool {
        self.source.wait(timeout)
    }

    fn allows_mass_removal(&self) -> bool {
        self.allow_mass_removal
    }
}
