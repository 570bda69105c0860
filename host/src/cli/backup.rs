//! `quarterjack backup` and `quarterjack restore`: a copy of the history, taken and put back.

use std::path::PathBuf;

use clap::Args;

use super::history::Data;
use super::{Exit, Refusal, remark};
use crate::app;
use crate::clock::{Clock as _, SystemClock};
use crate::units::format_size;

/// The arguments of `backup`.
#[derive(Debug, Args)]
#[command(after_help = "\
The copy has all that was recorded when it began: runs with the log as it was when they ended, schedules,\n\
the states of jobs. A host may go on meanwhile. The single lines of logs (logs.db) are not in it, nor are\n\
job files, plugins and what jobs wrote to granted directories.")]
pub(super) struct Backup {
    /// The file to write, which must not be there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    data: Data,
}

impl Backup {
    /// Takes a copy.
    pub(super) fn execute(self) -> Result<Exit, Refusal> {
        let data = self.data.place()?;
        let size = app::backup(&data, &self.file).map_err(Refusal::failure)?;
        let file = self.file.display();
        remark(&format!(
            "{file}: {} of history from {}",
            format_size(size),
            data.display()
        ));
        Ok(Exit::Ok)
    }
}

/// The arguments of `restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
The host of the data directory must be stopped. What was there is kept beside the restored history.\n\
When the host starts again, all since the backup was taken counts as time that it was down:\n\
`misfire_grace_time` and `coalesce` say what becomes of what was due then.")]
pub(super) struct Restore {
    /// A file that `backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    data: Data,
}

impl Restore {
    /// Puts a copy back.
    pub(super) fn execute(self) -> Result<Exit, Refusal> {
        let data = self.data.place()?;
        let now = SystemClock.now();
        let kept = app::restore(&data, &self.file, now).map_err(Refusal::failure)?;
        let (file, data) = (self.file.display(), data.display());
        remark(&match kept {
            Some(kept) => format!(
                "{data}: restored from {file}; what was there before is kept as {}",
                kept.display()
            ),
            None => format!("{data}: restored from {file}"),
        });
        Ok(Exit::Ok)
    }
}
