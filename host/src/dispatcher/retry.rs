//! Whether a failed attempt is followed by another one, and when. Pure.

use std::time::Duration;

use chrono::TimeDelta;

use crate::clock::Timestamp;
use crate::job::{Failure, RetryPolicy};
use crate::run::{FinishedRun, Outcome, Retry, RunId};

/// The longest wait that a job itself may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What comes after an attempt.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Nothing: the run has ended.
    End,
    /// Nothing, though there might have been another attempt; why not.
    EndFor(String),
    /// Another attempt, due then.
    Again(Timestamp),
}

/// What comes after an attempt, by the policy of its job.
pub(super) fn verdict(run: &FinishedRun) -> Verdict {
    let attempt = &run.attempt;
    let policy = &attempt.run.job.policies.retry;
    let execution = &run.execution;
    let Some(failure) = failure(execution.outcome) else {
        return Verdict::End;
    };
    let wanted = match policy.on {
        Some(on) => on.contains(failure),
        None => execution.retry != Retry::Never,
    };
    if !wanted || attempt.number >= attempt.run.max_attempts {
        return Verdict::End;
    }
    let mut wait = jittered(policy, attempt.run.id, attempt.number);
    if let Retry::After(asked) = execution.retry
        && asked > wait
    {
        if asked > LONGEST_ASKED {
            return Verdict::EndFor("it asks for a wait of more than 7 days".to_owned());
        }
        wait = asked;
    }
    let next = TimeDelta::from_std(wait)
        .ok()
        .and_then(|wait| run.finished_at.checked_add_signed(wait));
    let Some(next) = next else {
        return Verdict::EndFor("the next attempt would never come".to_owned());
    };
    if attempt
        .run_deadline()
        .is_some_and(|deadline| next >= deadline)
    {
        return Verdict::EndFor("the run's deadline comes before the next attempt".to_owned());
    }
    Verdict::Again(next)
}

/// The outcome as a way to fail; nothing where no other attempt can follow.
fn failure(outcome: Outcome) -> Option<Failure> {
    match outcome {
        Outcome::Failed => Some(Failure::Failed),
        Outcome::Trapped => Some(Failure::Trapped),
        Outcome::TimedOut => Some(Failure::TimedOut),
        Outcome::OutOfFuel => Some(Failure::OutOfFuel),
        Outcome::OutOfMemory => Some(Failure::OutOfMemory),
        Outcome::Succeeded | Outcome::Cancelled | Outcome::Lost => None,
    }
}

/// The wait after an attempt. What chance has to say is decided by the run and the attempt, so
/// that the same record always gives the same wait.
fn jittered(policy: &RetryPolicy, run: RunId, attempt: u32) -> Duration {
    let wait = policy.wait(attempt);
    if policy.jitter <= 0.0 {
        return wait;
    }
    #[allow(clippy::cast_possible_truncation)] // the lower half is random
    let seed = run.to_u128() as u64 ^ u64::from(attempt).rotate_left(32);
    let chance = fastrand::Rng::with_seed(seed).f64() * 2.0 - 1.0;
    let seconds = wait.as_secs_f64() * (1.0 + policy.jitter * chance);
    Duration::try_from_secs_f64(seconds).unwrap_or(wait)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::job::{Failures, Job, Policies};
    use crate::run::{Attempt, Cause, Execution, Run};
    use crate::store::conformance::{execution, instant, job};

    fn on(failures: &[Failure]) -> Option<Failures> {
        let mut all = Failures::default();
        failures.iter().for_each(|failure| all.insert(*failure));
        Some(all)
    }

    /// The record of an attempt that began with its run at 1000 and ended at 1005.
    fn ended(policies: Policies, number: u32, outcome: Outcome, retry: Retry) -> FinishedRun {
        let attempts = policies.retry.attempts;
        let job = Arc::new(Job {
            policies: Arc::new(policies),
            ..(*job("a")).clone()
        });
        FinishedRun {
            attempt: Attempt {
                run: Arc::new(Run {
                    id: RunId::from_u128(7),
                    job,
                    cause: Cause::Manual,
                    scheduled_at: instant(1_000),
                    max_attempts: attempts,
                    last_success: None,
                }),
                number,
                started_at: instant(1_000),
                run_started_at: instant(1_000),
            },
            finished_at: instant(1_005),
            execution: Execution {
                retry,
                ..execution(outcome)
            },
        }
    }

    fn policies(retry: RetryPolicy) -> Policies {
        Policies {
            retry,
            ..Policies::default()
        }
    }

    fn three() -> RetryPolicy {
        RetryPolicy {
            attempts: 3,
            ..RetryPolicy::default()
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again_unless_outcomes_are_named() {
        for outcome in Outcome::ALL {
            let fails = failure(outcome).is_some();
            for retry in [Retry::Never, Retry::ByPolicy] {
                let usual = verdict(&ended(policies(three()), 1, outcome, retry));
                let again = fails && retry == Retry::ByPolicy;
                assert_eq!(usual != Verdict::End, again, "{outcome:?} {retry:?}");

                let named = RetryPolicy {
                    on: on(&[Failure::TimedOut]),
                    ..three()
                };
                let named = verdict(&ended(policies(named), 1, outcome, retry));
                let again = outcome == Outcome::TimedOut;
                assert_eq!(named != Verdict::End, again, "{outcome:?} {retry:?}");
            }
        }
    }

    #[test]
    fn attempts_end_and_waits_grow() {
        let failed = |number| {
            verdict(&ended(
                policies(three()),
                number,
                Outcome::Failed,
                Retry::ByPolicy,
            ))
        };
        assert_eq!(failed(1), Verdict::Again(instant(1_015)));
        assert_eq!(failed(2), Verdict::Again(instant(1_025)));
        assert_eq!(failed(3), Verdict::End);
        // One that was run again after the host died may have a higher number than there are.
        assert_eq!(failed(9), Verdict::End);
    }

    #[test]
    fn what_a_job_asks_for_is_obeyed_within_reason() {
        let asks = |wait: u64| {
            let retry = Retry::After(Duration::from_secs(wait));
            verdict(&ended(policies(three()), 1, Outcome::Failed, retry))
        };
        assert_eq!(asks(3), Verdict::Again(instant(1_015)));
        assert_eq!(asks(300), Verdict::Again(instant(1_305)));
        assert!(matches!(asks(u64::MAX), Verdict::EndFor(why) if why.contains("7 days")));
    }

    #[test]
    fn no_attempt_comes_after_the_deadline() {
        let within = |seconds| {
            let policies = Policies {
                deadline: Some(Duration::from_secs(seconds)),
                ..policies(three())
            };
            verdict(&ended(policies, 1, Outcome::Failed, Retry::ByPolicy))
        };
        assert_eq!(within(16), Verdict::Again(instant(1_015)));
        assert!(matches!(within(15), Verdict::EndFor(why) if why.contains("deadline")));
    }

    proptest! {
        #[test]
        fn chance_stays_within_its_part_and_is_the_same_for_the_same_run(
            id: u128, attempt in 1..50_u32, jitter in 0.0..=1.0_f64, backoff in 1..100_000_u64,
        ) {
            let policy = RetryPolicy {
                attempts: 50,
                backoff: Duration::from_millis(backoff),
                jitter,
                ..RetryPolicy::default()
            };
            let run = RunId::from_u128(id);
            let wait = jittered(&policy, run, attempt);
            prop_assert_eq!(wait, jittered(&policy, run, attempt));
            let (plain, wait) = (policy.wait(attempt).as_secs_f64(), wait.as_secs_f64());
            prop_assert!((wait - plain).abs() <= plain * jitter + 1e-6, "{wait} of {plain}");
        }
    }
}
