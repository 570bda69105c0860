//! The scheduler as a program has it, on a clock that is moved by hand.

mod jobs;
mod native;
mod whole;

use std::time::Duration;

use super::*;
use crate::clock::{ManualClock, Timestamp, parse_instant};
use crate::job::JobId;
use crate::record::{RunQuery, RunRecord};

const START: &str = "2026-03-02T10:00:00Z";

fn at(text: &str) -> Timestamp {
    parse_instant(text).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A scheduler that remembers nothing, at 10 o'clock.
async fn start() -> (Scheduler, ManualClock) {
    let clock = ManualClock::at(START);
    let builder = Scheduler::builder().clock(clock.clone());
    (builder.start().await.unwrap(), clock)
}

/// A job that does nothing.
fn idle(id: &str) -> Job {
    Job::native(id, |_| async { Ok(()) })
}

/// Returns when the scheduler has seen what time it is: it looks after each thing that it is told.
async fn settled(scheduler: &Scheduler) {
    scheduler.status().await.unwrap();
    scheduler.status().await.unwrap();
}

/// The records of a job, the newest first.
async fn runs(scheduler: &Scheduler, job: &str) -> Vec<RunRecord> {
    let query = RunQuery::newest(100).of(&JobId::from(job));
    scheduler.runs(query).await.unwrap()
}
