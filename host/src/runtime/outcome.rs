//! From how a call ended to what is told of it: the outcome, the reason in words, the output.

use std::time::Duration;

use serde_json::value::RawValue;
use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::bindings::quarterjack::job::types as wit;
use super::capability::Left;
use super::guest::{Ended, Refusal};
use super::redaction::{aside, clean, first_in};
use super::shape::{Shape, brief_name};
use crate::dispatcher::CancelReason;
use crate::job::Limits;
use crate::run::{Attempt, Execution, Outcome, Output, Retry};
use crate::secret::Redactor;
use crate::units::{format_count, format_duration_exact, format_size};

/// How calling a guest ended.
pub(super) enum Ending {
    /// A typed job returned.
    Typed(Result<Option<wit::Output>, wit::Failure>),
    /// A command ended with an exit code.
    Exited(i32),
    /// The host ended it.
    Ended(Ended),
    /// It broke a rule of WebAssembly.
    Trapped(Trap, String),
    /// It wanted to hold more of the host than it may.
    NoHandles(String),
    /// The host could not make or call the instance, or a host function gave up.
    Broken(String),
}

impl Ending {
    pub(super) fn from_error(error: wasmtime::Error) -> Ending {
        if let Some(ended) = error.downcast_ref::<Ended>() {
            Ending::Ended(*ended)
        } else if let Some(exit) = error.downcast_ref::<I32Exit>() {
            Ending::Exited(exit.0)
        } else if let Some(ResourceTableError::Full) = error.downcast_ref() {
            Ending::NoHandles(place(&error))
        } else if let Some(trap) = error.downcast_ref::<Trap>() {
            Ending::Trapped(*trap, place(&error))
        } else {
            Ending::Broken(format!("{:#}{}", error.root_cause(), place(&error)))
        }
    }
}

/// Where in the guest an error came up, innermost first, as far as the guest has names.
fn place(error: &wasmtime::Error) -> String {
    const SHOWN: usize = 3;
    let names: Vec<_> = error
        .downcast_ref::<WasmBacktrace>()
        .map(WasmBacktrace::frames)
        .unwrap_or_default()
        .iter()
        .filter_map(|frame| frame.func_name())
        .take(SHOWN)
        .map(brief_name)
        .collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" (in {})", names.join(" < "))
    }
}

/// What an attempt used.
pub(super) struct Spent {
    pub(super) fuel: u64,
    pub(super) memory_peak: u64,
    pub(super) memory_refused: Option<Refusal>,
    pub(super) cpu_time: Duration,
    pub(super) elapsed: Duration,
}

/// What a pipe kept, and how many bytes it dropped.
pub(super) type Printed = (Vec<u8>, u64);

/// The record of an attempt for which no instance was ever made.
pub(super) fn not_started(error: String) -> Execution {
    Execution::without_guest(Outcome::Failed, error, Retry::ByPolicy)
}

/// The record of an attempt. `cancelled` is why it was asked to end, if it was and could know.
pub(super) fn conclude(
    attempt: &Attempt,
    cancelled: Option<CancelReason>,
    shape: Shape,
    ending: Ending,
    spent: Spent,
    left: Left,
    ((printed, printed_dropped), (log, log_dropped)): (Printed, Printed),
) -> Execution {
    let ending = match &left.redactor {
        Some(redactor) => without_secrets(redactor, ending),
        None => ending,
    };
    let mut verdict = judge(attempt, ending, &spent);
    if let Some(reason) = cancelled
        && matches!(verdict.outcome, Outcome::Failed)
    {
        // It was asked to end, and gave up in time.
        let said = verdict.error.unwrap_or_default();
        verdict = Verdict::failed(Outcome::Cancelled, format!("{reason}: {said}"));
    }
    if let Some(redactor) = &left.redactor {
        verdict.error = verdict.error.map(|error| clean(redactor, error));
    }
    let (output, output_dropped) = match verdict.output {
        Some((output, dropped)) => (Some(output), dropped),
        None if shape == Shape::Typed || printed.is_empty() => (None, printed_dropped),
        None => (Some(text_or_bytes(printed)), printed_dropped),
    };
    Execution {
        plugin: None, // whoever ran it says which it was
        outcome: verdict.outcome,
        error: verdict.error,
        retry: verdict.retry,
        output,
        output_dropped,
        log,
        log_dropped,
        fuel_used: spent.fuel,
        memory_peak: spent.memory_peak,
        cpu_time: spent.cpu_time,
        elapsed: spent.elapsed,
        denials: left.denials,
        entries: left.entries,
        progress: left.progress,
        state: left.state.filter(|_| verdict.outcome == Outcome::Succeeded),
    }
}

/// An ending without the secrets of its run. What it printed has lost them on its way already.
fn without_secrets(redactor: &Redactor, ending: Ending) -> Ending {
    let Ending::Typed(Ok(Some(output))) = ending else {
        return ending;
    };
    let output = match output {
        wit::Output::Text(text) => wit::Output::Text(clean(redactor, text)),
        wit::Output::Bytes(bytes) => {
            let clean = aside(bytes.len(), || redactor.redact(&bytes).into_owned());
            wit::Output::Bytes(clean)
        }
        wit::Output::Json(json) if first_in(redactor, json.as_bytes()).is_some() => {
            let is_json = |text: &str| serde_json::from_str::<&RawValue>(text).is_ok();
            let clean = clean(redactor, json.clone());
            // Where a secret had some of the JSON's own marks in it, what is left is none.
            if is_json(&json) && !is_json(&clean) {
                wit::Output::Text(clean)
            } else {
                wit::Output::Json(clean)
            }
        }
        json @ wit::Output::Json(_) => json,
    };
    Ending::Typed(Ok(Some(output)))
}

struct Verdict {
    outcome: Outcome,
    error: Option<String>,
    retry: Retry,
    output: Option<(Output, u64)>,
}

impl Verdict {
    fn failed(outcome: Outcome, error: String) -> Verdict {
        Verdict {
            outcome,
            error: Some(error),
            retry: Retry::ByPolicy,
            output: None,
        }
    }

    const SUCCESS: Verdict = Verdict {
        outcome: Outcome::Succeeded,
        error: None,
        retry: Retry::Never,
        output: None,
    };
}

fn judge(attempt: &Attempt, ending: Ending, spent: &Spent) -> Verdict {
    let limits = &attempt.run.job.limits;
    match ending {
        Ending::Ended(Ended::Cancelled(reason)) => {
            Verdict::failed(Outcome::Cancelled, reason.to_string())
        }
        Ending::Ended(Ended::TimedOut) => Verdict::failed(
            Outcome::TimedOut,
            match (attempt.time(), attempt.run.job.policies.deadline) {
                ((_, true), Some(deadline)) => format!(
                    "limit: deadline {} of the run with all its attempts",
                    format_duration_exact(deadline)
                ),
                _ => format!("limit: timeout {}", format_duration_exact(limits.timeout)),
            },
        ),
        Ending::Trapped(Trap::OutOfFuel, _) => Verdict::failed(
            Outcome::OutOfFuel,
            format!("limit: fuel {}", format_count(limits.fuel)),
        ),
        Ending::Exited(0) => Verdict::SUCCESS,
        Ending::Typed(Ok(output)) => returned(output, limits.output),
        // Whoever was refused memory and then gave up, gave up for want of memory.
        ending => match spent.memory_refused {
            Some(refusal) => {
                let what = match refusal {
                    Refusal::Limit(wanted) => format!(
                        "limit: memory {}; it wanted {}",
                        format_size(limits.memory),
                        format_size(wanted)
                    ),
                    Refusal::Maximum(wanted) => format!(
                        "it wanted a memory or table of {}, more than the most that it declares or that the host allows one to have",
                        format_size(wanted)
                    ),
                    Refusal::Together(most) => format!(
                        "limit: {} of memory for all runs of the host together",
                        format_size(most)
                    ),
                    Refusal::Host => "the host had no more memory for it".to_owned(),
                };
                Verdict::failed(
                    Outcome::OutOfMemory,
                    format!("{what}, and then {}", gave_up(&ending)),
                )
            }
            None => failed(ending, limits),
        },
    }
}

fn gave_up(ending: &Ending) -> String {
    match ending {
        Ending::Exited(code) => format!("exited with code {}", shown(*code)),
        Ending::Trapped(trap, place) => format!("trapped: {trap}{place}"),
        Ending::Typed(Err(failure)) => format!("failed: {}", failure.message),
        Ending::Broken(error) => format!("could not go on: {error}"),
        Ending::NoHandles(_) => "wanted to hold too much of the host".to_owned(),
        Ending::Typed(Ok(_)) | Ending::Ended(_) => "ended".into(),
    }
}

/// Which limit a run met that wanted to hold too much.
fn handles(limits: &Limits, place: &str) -> String {
    let most = limits.handles;
    format!("limit: {most} open files, sockets, streams, timers and the like at once{place}")
}

fn failed(ending: Ending, limits: &Limits) -> Verdict {
    match ending {
        Ending::NoHandles(place) => Verdict::failed(Outcome::Failed, handles(limits, &place)),
        Ending::Exited(code) => {
            Verdict::failed(Outcome::Failed, format!("exit code {}", shown(code)))
        }
        Ending::Trapped(trap, place) => Verdict::failed(Outcome::Trapped, format!("{trap}{place}")),
        Ending::Typed(Err(failure)) => Verdict {
            outcome: Outcome::Failed,
            error: Some(failure.message),
            retry: match failure.retry {
                wit::Retry::Never => Retry::Never,
                wit::Retry::ByPolicy => Retry::ByPolicy,
                wit::Retry::After(millis) => Retry::After(Duration::from_millis(millis)),
            },
            output: None,
        },
        Ending::Broken(error) => Verdict::failed(Outcome::Failed, error),
        // Taken care of by `judge`.
        Ending::Typed(Ok(_)) | Ending::Ended(_) => Verdict::SUCCESS,
    }
}

/// An exit code as a shell shows it: -1 is 255.
fn shown(code: i32) -> i32 {
    if code < 0 { code & 0xff } else { code }
}

/// The output of a typed job, cut to its limit.
fn returned(output: Option<wit::Output>, limit: u64) -> Verdict {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let output = match output {
        None => None,
        Some(wit::Output::Bytes(bytes)) => Some(cut_bytes(bytes, limit)),
        Some(wit::Output::Text(text)) => Some(cut_text(text, limit)),
        // Cut JSON is no longer JSON.
        Some(wit::Output::Json(json)) if json.len() > limit => Some(cut_text(json, limit)),
        Some(wit::Output::Json(json)) => match RawValue::from_string(json) {
            Ok(json) => Some((Output::Json(json), 0)),
            Err(error) => {
                return Verdict {
                    retry: Retry::Never,
                    ..Verdict::failed(
                        Outcome::Failed,
                        format!("it returned as JSON what is not JSON: {error}"),
                    )
                };
            }
        },
    };
    Verdict {
        output,
        ..Verdict::SUCCESS
    }
}

fn cut_bytes(mut bytes: Vec<u8>, limit: usize) -> (Output, u64) {
    let dropped = bytes.len().saturating_sub(limit);
    bytes.truncate(limit);
    (Output::Bytes(bytes), dropped as u64)
}

fn cut_text(mut text: String, limit: usize) -> (Output, u64) {
    let end = text.floor_char_boundary(limit);
    let dropped = text.len() - end;
    text.truncate(end);
    (Output::Text(text), dropped as u64)
}

/// What a command printed: text if it is, up to a character that the limit cut in two.
fn text_or_bytes(bytes: Vec<u8>) -> Output {
    match String::from_utf8(bytes) {
        Ok(text) => Output::Text(text),
        Err(error) if error.utf8_error().error_len().is_none() => {
            let end = error.utf8_error().valid_up_to();
            let mut bytes = error.into_bytes();
            bytes.truncate(end);
            // Valid up to here, as the error said.
            Output::Text(String::from_utf8(bytes).unwrap_or_default())
        }
        Err(error) => Output::Bytes(error.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_cut_between_characters() {
        let (output, dropped) = cut_text("añb".into(), 2);
        assert_eq!((output.as_bytes(), dropped), ("a".as_bytes(), 3));
        let cut = text_or_bytes("añ".as_bytes()[..2].to_vec());
        assert_eq!((cut.kind(), cut.as_bytes()), ("text", "a".as_bytes()));
        assert_eq!(text_or_bytes(vec![0xff, 0x00]).kind(), "bytes");
    }

    #[test]
    fn json_that_is_not_json_is_a_failure_that_no_retry_mends() {
        let verdict = returned(Some(wit::Output::Json("{".into())), 100);
        assert_eq!(verdict.outcome, Outcome::Failed);
        assert_eq!(verdict.retry, Retry::Never);
        let verdict = returned(Some(wit::Output::Json("[1, 2]".into())), 3);
        assert_eq!(verdict.outcome, Outcome::Succeeded);
        let (output, dropped) = verdict.output.unwrap();
        assert_eq!((output.kind(), dropped), ("text", 3));
    }
}
