//! `quarterjack compile-plugin`: compiles a plugin for the host that started it. Not for people,
//! and not in the help.

use clap::Args;

use super::{Exit, Refusal};
use crate::runtime::compiler::{Task, compile_for_host};

/// The arguments of `compile-plugin`.
#[derive(Debug, Args)]
pub(super) struct CompilePlugin {
    /// The most memory that it may take, in bytes
    #[arg(long, value_name = "BYTES")]
    memory: u64,
    /// The most CPU time that it may take, in seconds
    #[arg(long, value_name = "SECONDS")]
    cpu: u64,
    /// Only inspect it
    #[arg(long)]
    inspect: bool,
}

impl CompilePlugin {
    /// Compiles standard input to standard output.
    pub(super) fn execute(self) -> Result<Exit, Refusal> {
        let task = if self.inspect {
            Task::Inspect
        } else {
            Task::Compile
        };
        compile_for_host(task, self.memory, self.cpu)
            .map_err(|error| Refusal::failure(format_args!("cannot compile: {error}")))?;
        Ok(Exit::Ok)
    }
}
