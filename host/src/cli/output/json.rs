//! The stream of events for programs: one JSON object a line.

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::output::printer::Renderer;
use crate::event::Stamped;

/// Writes one object on a line.
///
/// # Errors
/// Those of the writer.
pub(in crate::cli) fn json_line(object: &impl Serialize, to: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *to, object)?;
    writeln!(to)
}

/// Writes events as lines of JSON.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::cli) struct JsonLines;

impl Renderer for JsonLines {
    fn render(&mut self, stamped: &Stamped, to: &mut dyn Write) -> io::Result<()> {
        match stamped.to_json_line() {
            Some(line) => writeln!(to, "{line}"),
            None => Ok(()), // only people see this one
        }
    }

    fn finish(&mut self, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}
