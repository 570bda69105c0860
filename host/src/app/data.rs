//! Where a host keeps what must outlive it, and what it makes of what the host before it left.

use std::path::PathBuf;
use std::sync::Arc;

use super::AppError;
use crate::clock::Timestamp;
use crate::store::{MemoryStore, SqliteStore, Store};

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

    /// Opens the store that is kept there.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(&self, now: Timestamp) -> Result<Arc<dyn Store>, AppError> {
        Ok(match self.directory()? {
            None => Arc::new(MemoryStore::default()),
            Some(directory) => Arc::new(SqliteStore::open(&directory, now)?),
        })
    }
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
