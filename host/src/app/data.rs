//! Where a host keeps what must outlive it, and what it makes of what the host before it left.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::AppError;
use crate::clock::Timestamp;
use crate::job::Scope;
use crate::runtime::accepted::AcceptedCopies;
use crate::store::definitions::DefinitionStore;
use crate::store::outbox::Outbox;
use crate::store::sqlite::{self, OpenError};
use crate::store::{LogStore, MemoryLogs, MemoryStore, SqliteStore, Store};

/// Where a host keeps its history, its schedules and the states of its jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DataPlace {
    /// In the user's state directory.
    #[default]
    Usual,
    /// Here.
    At(PathBuf),
    /// Nowhere: all is forgotten when the host ends.
    Nowhere,
}

impl DataPlace {
    /// The directory; nothing if nothing is to be kept.
    ///
    /// # Errors
    /// There is no home directory.
    pub fn directory(&self) -> Result<Option<PathBuf>, AppError> {
        match self {
            DataPlace::Nowhere => Ok(None),
            DataPlace::At(path) => Ok(Some(path.clone())),
            DataPlace::Usual => usual_data().map(Some).ok_or(AppError::NoDataPlace),
        }
    }

    /// Opens the store that is kept there, and where the lines of its runs go.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(&self, now: Timestamp) -> Result<Opened, AppError> {
        Ok(match self.directory()? {
            None => {
                let store = Arc::new(MemoryStore::default());
                Opened {
                    store: store.clone(),
                    definitions: store.clone(),
                    outbox: store,
                    logs: Arc::new(MemoryLogs::default()),
                }
            }
            Some(directory) => {
                let store = Arc::new(SqliteStore::open(&directory, now)?);
                Opened {
                    store: store.clone(),
                    logs: store.logs(),
                    definitions: store.clone(),
                    outbox: store,
                }
            }
        })
    }

    /// Opens the directory for copies of accepted plugins. A host that cannot does its work all the
    /// same.
    ///
    /// # Errors
    /// There is no home directory.
    pub(super) fn accepted_copies(&self) -> Result<Option<AcceptedCopies>, AppError> {
        let Some(directory) = self.directory()? else {
            return Ok(None);
        };
        let path = directory.join(ACCEPTED);
        let opened = AcceptedCopies::open(&path).inspect_err(|error| {
            let path = path.display();
            tracing::warn!(%path, %error, "no copies of accepted plugins are kept");
        });
        Ok(opened.ok())
    }
}

/// Where copies of accepted plugins are, beneath the data directory.
const ACCEPTED: &str = "accepted";

/// What a host keeps, opened.
pub(crate) struct Opened {
    /// Its runs, schedules and states.
    pub(crate) store: Arc<dyn Store>,
    /// Its definitions.
    pub(super) definitions: Arc<dyn DefinitionStore>,
    /// What is to be sent to hooks.
    pub(super) outbox: Arc<dyn Outbox>,
    /// Where the lines of its runs go.
    pub(super) logs: Arc<dyn LogStore>,
}

/// Copies the history of a data directory and the lines of its runs to a file, whether or not a host
/// works with it, and gives the bytes of the copy.
///
/// # Errors
/// There is no history, or the copy cannot be written; there is none then.
pub fn backup(data: &Path, to: &Path) -> Result<u64, OpenError> {
    sqlite::backup(data, to)
}

/// Puts a backup in the place of the history of a data directory and of its lines. What was there is
/// kept, in the files that are given back.
///
/// # Errors
/// It is no sound backup, or a host works with the directory; all is as it was then.
pub fn restore(data: &Path, from: &Path, now: Timestamp) -> Result<Vec<PathBuf>, OpenError> {
    sqlite::restore(data, from, now)
}

/// Pauses something in a data directory that no host works with, or lets it go on. Says whether that
/// was a change.
///
/// # Errors
/// There is no history, or a host works with the directory.
pub fn set_paused(
    data: &Path,
    scope: &Scope,
    paused: bool,
    now: Timestamp,
) -> Result<bool, OpenError> {
    sqlite::set_paused_at_rest(data, scope, paused, now)
}

/// Where a host keeps what must outlive it if nothing else is said:
/// `$XDG_STATE_HOME/quarterjack`, or else `~/.local/state/quarterjack`. Nothing without a home
/// directory.
pub fn usual_data() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("quarterjack"))
}
