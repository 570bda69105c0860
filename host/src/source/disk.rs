//! Files that the operator named, read with their links followed.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::job::{Diagnostic, MAX_SOURCE_BYTES};

/// A file of definitions.
#[derive(Debug, Clone, Copy)]
pub(super) struct DefinitionFile<'a> {
    /// As the operator named it.
    pub(super) name: &'a Arc<str>,
    pub(super) path: &'a Path,
}

impl DefinitionFile<'_> {
    /// All of it.
    pub(super) fn read(self) -> Result<Vec<u8>, Box<Diagnostic>> {
        // A pipe, such as /dev/stdin, has no path of its own: it is told for what it is.
        if std::fs::metadata(self.path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(self.not_a_file());
        }
        let real = std::fs::canonicalize(self.path).map_err(|error| self.unreadable(&error))?;
        // The root directory alone has no name or parent.
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
            return Err(self.not_a_file());
        };
        let dir = Dir::open_ambient_dir(parent, ambient_authority())
            .map_err(|error| self.unreadable(&error))?;
        // Asked before opening, which for a named pipe would wait for a writer.
        let metadata = dir
            .metadata(name)
            .map_err(|error| self.unreadable(&error))?;
        if !metadata.is_file() {
            return Err(self.not_a_file());
        }
        let file = dir.open(name).map_err(|error| self.unreadable(&error))?;
        let limit = MAX_SOURCE_BYTES as u64 + 1;
        let mut bytes = Vec::with_capacity(metadata.len().min(limit) as usize + 1);
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| self.unreadable(&error))?;
        if bytes.len() > MAX_SOURCE_BYTES {
            return Err(Box::new(Diagnostic::too_large(self.name.clone())));
        }
        Ok(bytes)
    }

    fn not_a_file(self) -> Box<Diagnostic> {
        let message = if self.path.is_dir() {
            "is a directory"
        } else {
            "is not a regular file"
        };
        let problem = Diagnostic::of_file(self.name.clone(), message);
        Box::new(problem.with_label("name a job file, such as jobs.json"))
    }

    fn unreadable(self, error: &io::Error) -> Box<Diagnostic> {
        let problem = |message: &str| Diagnostic::of_file(self.name.clone(), message);
        Box::new(match error.kind() {
            io::ErrorKind::NotFound => {
                let parent = self
                    .path
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty());
                match parent {
                    Some(parent) if !parent.exists() => problem("no such file")
                        .with_label(format!("there is no directory {}", parent.display())),
                    _ if self.path.is_symlink() => problem("no such file")
                        .with_label("it is a link to a file that is not there"),
                    _ => problem("no such file"),
                }
            }
            io::ErrorKind::PermissionDenied => problem("permission denied")
                .with_label("the user that runs the host may not read it"),
            _ => problem(&format!("cannot be read: {error}")),
        })
    }
}

/// Reads a file that a job file names: on the operator's word, as the job file itself.
pub(super) fn read_beside(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let real = std::fs::canonicalize(path)?;
    let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let dir = Dir::open_ambient_dir(parent, ambient_authority())?;
    // Asked before opening, which for a named pipe would wait for a writer.
    if !dir.metadata(name)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let limit = limit as u64;
    dir.open(name)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!(
            "it is larger than {}",
            crate::units::format_size(limit)
        )));
    }
    Ok(bytes)
}

/// The directory that a file is in.
pub fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
