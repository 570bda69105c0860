//! What one finished run came to, in words: its result, the limit that ended it, and the
//! summary that `run` closes with.

use crate::cli::output::{Paint, cut, harmless, outcome_word};
use crate::job::Limits;
use crate::run::{FinishedRun, Outcome, Output};
use crate::units::{format_count, format_duration, format_duration_exact, format_size};

/// Which limit ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Timeout,
    Fuel,
    Memory,
}

impl Limit {
    fn of(outcome: Outcome) -> Option<Limit> {
        match outcome {
            Outcome::TimedOut => Some(Limit::Timeout),
            Outcome::OutOfFuel => Some(Limit::Fuel),
            Outcome::OutOfMemory => Some(Limit::Memory),
            Outcome::Succeeded | Outcome::Failed | Outcome::Trapped | Outcome::Cancelled => None,
        }
    }

    /// The key of a definition, which is also the name of the flag.
    fn key(self) -> &'static str {
        match self {
            Limit::Timeout => "timeout",
            Limit::Fuel => "fuel",
            Limit::Memory => "memory",
        }
    }

    fn value(self, limits: &Limits) -> String {
        match self {
            Limit::Timeout => format_duration_exact(limits.timeout),
            Limit::Fuel => format_count(limits.fuel),
            Limit::Memory => format_size(limits.memory),
        }
    }
}

/// Which limits the command line sets: timeout, fuel, memory.
pub(in crate::cli) type LimitFlags = [bool; 3];

/// `limit: timeout 1 s (jobs.json:21)` for a run that a limit ended.
fn limit_hit(run: &FinishedRun, flags: LimitFlags) -> Option<String> {
    let limit = Limit::of(run.execution.outcome)?;
    let job = &run.attempt.run.job;
    let ([timeout, fuel, memory, _], [by_timeout, by_fuel, by_memory]) =
        (job.origin.limit_lines, flags);
    let (line, by_flag) = match limit {
        Limit::Timeout => (timeout, by_timeout),
        Limit::Fuel => (fuel, by_fuel),
        Limit::Memory => (memory, by_memory),
    };
    let key = limit.key();
    let place = if by_flag {
        format!("--{key}")
    } else if line > 0 {
        format!("{}:{line}", harmless(&job.origin.file))
    } else if job.origin.file.is_empty() {
        format!("the default; --{key} sets another")
    } else {
        "the default".to_owned()
    };
    let value = limit.value(&job.limits);
    Some(format!("limit: {key} {value} ({place})"))
}

/// What a run came to, in at most about `room` columns where it can be cut: the beginning of
/// its output, or why it did not get that far.
pub(super) fn result(run: &FinishedRun, room: usize) -> String {
    let execution = &run.execution;
    if let Some(limit) = limit_hit(run, [false; 3]) {
        return limit;
    }
    if let Some(error) = &execution.error {
        return harmless(error.lines().next().unwrap_or_default());
    }
    let mut shown = execution
        .output
        .as_ref()
        .map(|output| preview(output, room))
        .unwrap_or_default();
    if execution.output_dropped > 0 {
        let dropped = format_size(execution.output_dropped);
        shown = format!("{shown}   ({dropped} of output dropped)");
    }
    shown
}

fn preview(output: &Output, room: usize) -> String {
    match output {
        Output::Json(json) => cut(&harmless(&json.get().replace(['\n', '\r'], " ")), room),
        Output::Text(text) => {
            let trimmed = text.trim_end();
            let first = trimmed.lines().next().unwrap_or_default();
            let more = if first.len() < trimmed.len() {
                "…"
            } else {
                ""
            };
            let first = cut(&harmless(first), room.saturating_sub(2 + more.len()));
            if first.is_empty() && more.is_empty() {
                return String::new();
            }
            format!("\"{first}\"{more}")
        }
        Output::Bytes(bytes) => format!("{} of data", format_size(bytes.len() as u64)),
    }
}

/// The last lines of a log that say something, the oldest first.
pub(super) fn last_lines(log: &[u8], count: usize) -> Vec<String> {
    let mut lines: Vec<String> = log
        .rsplit(|byte| *byte == b'\n')
        .map(|line| String::from_utf8_lossy(line.trim_ascii_end()))
        .filter(|line| !line.is_empty())
        .take(count)
        .map(|line| harmless(&line))
        .collect();
    lines.reverse();
    lines
}

/// The line or two that a run in the foreground closes with.
pub(in crate::cli) fn closing(run: &FinishedRun, flags: LimitFlags, paint: Paint) -> String {
    let execution = &run.execution;
    let (word, tone) = outcome_word(execution.outcome);
    let mut text = format!(
        "{}  {}   {} fuel   {}",
        paint.paint(tone, word),
        format_duration(execution.elapsed),
        format_count(execution.fuel_used),
        format_size(execution.memory_peak),
    );
    for (what, dropped) in [
        ("output", execution.output_dropped),
        ("log", execution.log_dropped),
    ] {
        if dropped > 0 {
            let dropped = format_size(dropped);
            text.push_str(&format!("   {dropped} of {what} not kept"));
        }
    }
    if let Some(error) = &execution.error {
        for line in error.lines() {
            text.push_str(&format!("\n  {}", harmless(line)));
        }
    }
    if let Some(limit) = limit_hit(run, flags) {
        text.push_str(&format!("\n  {limit}"));
    }
    text
}
