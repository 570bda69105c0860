//! `quarterjack schema`: the JSON Schema of job files.

use std::io::{self, Write as _};

use clap::Args;

use super::{Exit, Refusal};

/// The arguments of `schema`.
#[derive(Debug, Args)]
#[command(
    after_help = "Save it beside a job file and point to it: \"$schema\": \"./jobs.schema.json\""
)]
pub(super) struct Schema {}

impl Schema {
    /// Prints the schema.
    pub(super) fn execute(self) -> Result<Exit, Refusal> {
        let schema = crate::job::schema::json_schema();
        let mut out = io::stdout().lock();
        writeln!(out, "{}", schema.trim_end())?;
        out.flush()?;
        Ok(Exit::Ok)
    }
}
