//! `quarterjack compile-plugin`: what the host runs to have a plugin compiled apart from itself.
//! Not for people.

use std::io::Write as _;

use clap::{Args, ValueEnum};

use super::{Exit, Refusal};
use crate::runtime::compiler::compile_as_child;

/// The arguments of `compile-plugin`.
#[derive(Debug, Args)]
pub(super) struct CompilePlugin {
    /// What standard input holds
    kind: Kind,
    /// The most bytes of memory to take
    #[arg(long)]
    memory: u64,
    /// The most seconds to take
    #[arg(long)]
    seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Component,
    Module,
}

impl CompilePlugin {
    /// Compiles standard input to standard output. The reason for a failure goes to standard
    /// error as it is, for the host to read.
    pub(super) fn execute(self) -> Result<Exit, Refusal> {
        match compile_as_child(self.kind == Kind::Component, self.memory, self.seconds) {
            Ok(()) => Ok(Exit::Ok),
            Err((code, words)) => {
                let _ = writeln!(std::io::stderr(), "{words}");
                std::process::exit(code.into())
            }
        }
    }
}
