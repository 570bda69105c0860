//! What one finished run came to, in words: its result, the limit that ended it, and the
//! summary that `run` closes with.

use crate::cli::output::{Paint, cut, harmless, outcome_word};
use crate::job::Limits;
use crate::run::{Execution, FinishedRun, Outcome, Output};
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
            Outcome::Succeeded
            | Outcome::Failed
            | Outcome::Trapped
            | Outcome::Cancelled
            | Outcome::Lost => None,
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

/// Why a run did not succeed: what the host says of it, and for a run that a limit ended where
/// that limit is set, as in `limit: timeout 1 s (jobs.json:21)`.
fn reason(run: &FinishedRun, flags: LimitFlags) -> Option<String> {
    let error = run.execution.error.as_deref();
    let Some(limit) = Limit::of(run.execution.outcome) else {
        return error.map(str::to_owned);
    };
    if error.is_some_and(|error| error.starts_with("limit: deadline")) {
        return error.map(str::to_owned); // another time was up
    }
    let job = &run.attempt.run.job;
    let ([timeout, fuel, memory, ..], [by_timeout, by_fuel, by_memory]) =
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
        format!("{}:{line}", job.origin.file)
    } else if job.origin.file.is_empty() {
        format!("the default; --{key} sets another")
    } else {
        "the default".to_owned()
    };
    let limit = format!("limit: {key} {}", limit.value(&job.limits));
    // The error names the limit too, and may go on.
    let rest = match error {
        None => String::new(),
        Some(error) => match error.strip_prefix(&limit) {
            Some(rest) => rest.to_owned(),
            None => format!("; {error}"),
        },
    };
    Some(format!("{limit} ({place}){rest}"))
}

/// What a run came to, in at most about `room` columns where it can be cut: the beginning of
/// its output, or why it did not get that far.
pub(super) fn result(run: &FinishedRun, room: usize) -> String {
    let execution = &run.execution;
    if let Some(reason) = reason(run, [false; 3]) {
        return harmless(reason.lines().next().unwrap_or_default());
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
pub(in crate::cli) fn last_lines(log: &[u8], count: usize) -> Vec<String> {
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
    closing_of(&run.execution, reason(run, flags).as_deref(), paint)
}

/// The same, where it is known why it did not succeed.
pub(in crate::cli) fn closing_of(
    execution: &Execution,
    reason: Option<&str>,
    paint: Paint,
) -> String {
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
    for line in reason.iter().flat_map(|reason| reason.lines()) {
        text.push_str(&format!("\n  {}", harmless(line)));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::parse_instant;
    use crate::job::{Job, Origin};
    use crate::run::{Attempt, Cause, Execution, Retry, Run, RunId};

    fn run(outcome: Outcome, error: Option<&str>, origin: Origin) -> FinishedRun {
        let now = parse_instant("2026-01-01T00:00:00Z").unwrap();
        let job = Job {
            origin,
            ..Job::by_hand("report".into(), "report.wasm")
        };
        FinishedRun {
            attempt: Attempt {
                run: Arc::new(Run {
                    id: RunId::new(now),
                    job: Arc::new(job),
                    cause: Cause::Manual,
                    scheduled_at: now,
                    max_attempts: 1,
                    last_success: None,
                }),
                number: 1,
                started_at: now,
                run_started_at: now,
            },
            finished_at: now,
            execution: Execution {
                outcome,
                error: error.map(str::to_owned),
                retry: Retry::ByPolicy,
                output: None,
                output_dropped: 0,
                log: Vec::new(),
                log_dropped: 0,
                fuel_used: 2_100_000,
                memory_peak: 3 << 20,
                cpu_time: Duration::from_millis(40),
                elapsed: Duration::from_millis(41),
                ..Execution::without_guest(outcome, "", Retry::ByPolicy)
            },
        }
    }

    fn close(run: &FinishedRun, flags: LimitFlags) -> String {
        closing(run, flags, Paint { on: false })
    }

    #[test]
    fn the_closing_lines() {
        let here = Origin::default;
        let good = run(Outcome::Succeeded, None, here());
        assert_eq!(close(&good, [false; 3]), "ok  41 ms   2.1 M fuel   3 MiB");
        let failed = run(Outcome::Failed, Some("exit code 3\nand \x1b more"), here());
        insta::assert_snapshot!(close(&failed, [false; 3]), @r"
        FAILED  41 ms   2.1 M fuel   3 MiB
          exit code 3
          and \u{1b} more
        ");
        let mut flood = run(Outcome::Succeeded, None, here());
        flood.execution.output_dropped = 5 << 20;
        flood.execution.log_dropped = 1;
        insta::assert_snapshot!(close(&flood, [false; 3]), @"ok  41 ms   2.1 M fuel   3 MiB   5 MiB of output not kept   1 B of log not kept");
    }

    #[test]
    fn a_limit_is_told_with_its_place_and_once() {
        let why = |error, origin, flags| {
            let text = close(&run(Outcome::TimedOut, error, origin), flags);
            text.lines()
                .skip(1)
                .collect::<Vec<_>>()
                .join("|")
                .trim()
                .to_owned()
        };
        let in_file = Origin {
            file: "jobs.json".into(),
            line: 3,
            limit_lines: [21, 0, 0, 0, 0, 0],
            definition: None,
            params_given: false,
            creator: None,
        };
        let said = Some("limit: timeout 1 min");
        assert_eq!(
            why(said, in_file.clone(), [false; 3]),
            "limit: timeout 1 min (jobs.json:21)"
        );
        assert_eq!(
            why(said, in_file, [true, false, false]),
            "limit: timeout 1 min (--timeout)"
        );
        let by_default = Origin {
            file: "jobs.json".into(),
            ..Origin::default()
        };
        assert_eq!(
            why(None, by_default, [false; 3]),
            "limit: timeout 1 min (the default)"
        );
        assert_eq!(
            why(
                Some("limit: timeout 1 min; it slept"),
                Origin::default(),
                [false; 3]
            ),
            "limit: timeout 1 min (the default; --timeout sets another); it slept"
        );
        assert_eq!(
            why(Some("it was too slow"), Origin::default(), [true; 3]),
            "limit: timeout 1 min (--timeout); it was too slow"
        );
    }

    #[test]
    fn the_end_of_a_log() {
        let log = b"one\r\n\ntwo\n\xff three\n\n";
        assert_eq!(last_lines(log, 2), ["two", "\u{fffd} three"]);
        assert_eq!(last_lines(log, 9).len(), 3);
        assert!(last_lines(b"", 3).is_empty());
    }
}
