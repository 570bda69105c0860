//! A run in the foreground, as `run` and `rerun` have one.
//!
//! What the guest prints goes through as it comes, its output to standard output and its log to
//! standard error; a summary follows on standard error.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::options::block_on;
use super::output::Screen;
use super::output::summary::{LimitFlags, closing};
use super::{Refusal, remark, signals};
use crate::app::{self, RunOnce};
use crate::dispatcher::{Cancel, CancelReason};
use crate::job::Job;
use crate::policy::Policy;
use crate::run::{FinishedRun, Output};
use crate::runtime::guest::Stream;
use crate::suggest::nearest;

/// A job's default limits, where they are above the ceiling lowered to it.
pub(super) fn lowered(mut job: Job, policy: &Policy) -> Job {
    if let Some(limits) = policy.ceiling_for(&job.id).lowered(&job) {
        job.limits = limits;
    }
    job
}

/// Carries out a run: ^C ends it, and unless all is to be `quiet`, what it prints goes through as
/// it comes.
pub(super) fn in_foreground(
    mut request: RunOnce,
    quiet: bool,
) -> Result<(FinishedRun, Arc<Through>), Refusal> {
    let cancel = Cancel::new();
    signals::listen({
        let cancel = cancel.clone();
        move |count, exit| match count {
            1 => cancel.cancel(CancelReason::Requested),
            _ => std::process::exit(exit.code().into()),
        }
    })?;
    let through = Arc::new(Through::default());
    if !quiet {
        let (through, cancel) = (through.clone(), cancel.clone());
        request.echo = Some(Arc::new(move |stream, bytes: &[u8]| {
            if through.write(stream, bytes).is_err() && stream == Stream::Output {
                // Nobody reads what it writes: the run has no purpose any more.
                cancel.cancel(CancelReason::Requested);
            }
        }));
    }
    let run = block_on(app::run_once(request, cancel))?.map_err(Refusal::failure)?;
    Ok((run, through))
}

/// Says that a file is not there, and which one may be meant.
pub(super) fn missing_file(path: &Path) -> String {
    let shown = path.display();
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let beside: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".wasm"))
        .collect();
    let name = path.file_name().map(|name| name.to_string_lossy());
    let name = name.as_deref().unwrap_or_default();
    if let Some(near) = nearest(name, beside.iter().map(String::as_str)) {
        let near = path.with_file_name(near);
        return format!("no such file: {shown}; did you mean {}?", near.display());
    }
    let plugin = Path::new("plugins").join(name);
    if plugin.is_file() {
        return format!("no such file: {shown}; did you mean {}?", plugin.display());
    }
    if beside.is_empty() {
        return format!(
            "no such file: {shown}; there is no .wasm file in {}",
            parent.display()
        );
    }
    format!("no such file: {shown}")
}

/// Prints a run's record as one line of JSON.
pub(super) fn print_record(record: &impl Serialize) -> Result<(), Refusal> {
    let json = serde_json::to_string(record)
        .map_err(|error| Refusal::failure(format_args!("cannot write the record: {error}")))?;
    let mut out = io::stdout().lock();
    writeln!(out, "{json}")?;
    out.flush()?;
    Ok(())
}

/// What the guest prints, on its way through.
#[derive(Debug, Default)]
pub(super) struct Through {
    /// Whether it has printed any output.
    printed: AtomicBool,
    /// Whether its last piece of output, or of log, left a line open.
    open_output: AtomicBool,
    open_log: AtomicBool,
}

impl Through {
    fn write(&self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let Some(last) = bytes.last() else {
            return Ok(());
        };
        let open = *last != b'\n';
        match stream {
            Stream::Output => {
                self.printed.store(true, Ordering::Relaxed);
                self.open_output.store(open, Ordering::Relaxed);
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Stream::Log => {
                self.open_log.store(open, Ordering::Relaxed);
                io::stderr().lock().write_all(bytes)
            }
        }
    }

    /// Prints an output that was returned rather than printed, and the summary.
    pub(super) fn finish(
        &self,
        run: &FinishedRun,
        flags: LimitFlags,
        screen: Screen,
    ) -> Result<(), Refusal> {
        if self.open_log.load(Ordering::Relaxed) {
            remark("");
        }
        if !self.printed.load(Ordering::Relaxed)
            && let Some(output) = &run.execution.output
        {
            let mut out = io::stdout().lock();
            out.write_all(output.as_bytes())?;
            // Text that was returned is a line; bytes are what they are.
            if !matches!(output, Output::Bytes(_)) && !output.as_bytes().ends_with(b"\n") {
                out.write_all(b"\n")?;
            }
            out.flush()?;
        } else if self.open_output.load(Ordering::Relaxed) && io::stdout().is_terminal() {
            // On a terminal the summary would stick to the output. Not on standard output
            // itself, whose bytes are the guest's alone.
            remark("");
        }
        remark(&closing(run, flags, screen.err));
        Ok(())
    }
}
