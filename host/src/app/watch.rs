//! Notices changes of files: tells at once where the system can tell, and in any case every so
//! often, because some file systems tell nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use notify::{EventKind, RecursiveMode, Watcher as _};
use tokio::sync::watch;

/// How long a change is left alone before it is looked at: who writes a file in pieces is
/// given the time for it.
const DEBOUNCE: Duration = Duration::from_millis(50);

const UNTOLD: &str = "cannot be told of changes: they are found at the next refresh";

/// Watches directories for as long as it lives.
pub(super) struct Watcher {
    changed: watch::Receiver<()>,
    refresh: Duration,
    directories: BTreeSet<PathBuf>,
    /// Ends the watch when dropped. Nothing if the system cannot watch.
    system: Option<notify::RecommendedWatcher>,
}

impl Watcher {
    /// Watches what is directly in these directories. Where that is not possible it is logged,
    /// and the changes are found every `refresh`.
    pub(super) fn new(directories: impl IntoIterator<Item = PathBuf>, refresh: Duration) -> Self {
        let (tell, changed) = watch::channel(());
        let system = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too, and ours must not wake us.
            if !matches!(&event, Ok(event) if matches!(event.kind, EventKind::Access(_))) {
                // Nobody listens any more: nothing to tell.
                let _ = tell.send(());
            }
        });
        let system = system
            .inspect_err(|error| tracing::warn!(%error, "{UNTOLD}"))
            .ok();
        let mut watcher = Watcher {
            changed,
            refresh,
            directories: directories.into_iter().collect(),
            system,
        };
        for (directory, error) in watcher.arm() {
            tracing::warn!(directory = %directory.display(), %error, "{UNTOLD}");
        }
        watcher
    }

    /// Watches the directories that now are where the paths say. One that is watched already
    /// stays so; one that was replaced by another would otherwise not be heard of again.
    fn arm(&mut self) -> Vec<(PathBuf, notify::Error)> {
        let Some(system) = &mut self.system else {
            return Vec::new();
        };
        self.directories
            .iter()
            .filter_map(|directory| {
                let error = system.watch(directory, RecursiveMode::NonRecursive).err()?;
                Some((directory.clone(), error))
            })
            .collect()
    }

    /// Resolves when something has changed, or when it is time to look anyway.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            result = self.changed.changed() => {
                if result.is_err() {
                    // The system's watcher is gone; the refresh remains.
                    tokio::time::sleep(self.refresh).await;
                    return;
                }
                // Changes come in bursts: one look for all of a burst.
                tokio::time::sleep(DEBOUNCE).await;
                self.changed.mark_unchanged();
            }
            () = tokio::time::sleep(self.refresh) => {
                // What cannot be watched was told of once.
                self.arm();
            }
        }
    }
}
