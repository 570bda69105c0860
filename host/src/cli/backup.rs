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
The copy is one file with all that was recorded when it began: runs and the lines of their logs,\n\
schedules, the states of jobs, pauses. A host may go on meanwhile. Job files, plugins and what jobs\n\
wrote to granted directories are not in it.")]
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
            "{file}: {}, the history and the logs of {}",
            format_size(size),
            data.display()
        ));
        Ok(Exit::Ok)
    }
}

/// The arguments of `restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
The host of the data directory must be stopped. What was there is kept beside what is restored, and\n\
can be restored in its turn.\n\
When the host starts again, all since the backup was taken counts as time that it was down:\n\
`misfire_grace_time` and `coalesce` say what becomes of what was due then.")]
pub(super) struct Restore {
    /// A file that `backup` wrote, or a quarterjack.db from elsewhere (with the logs.db beside it)
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
        let kept: Vec<String> = kept.iter().map(|it| it.display().to_string()).collect();
        remark(&match &*kept {
            [] => format!("{data}: restored from {file}"),
            kept => format!(
                "{data}: restored from {file}; what was there before is kept as {}",
                kept.join(" and ")
            ),
        });
        Ok(Exit::Ok)
    }
}
