//! What the records of a job come to: how it stands, and how its runs have been.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{RunRecord, Status};
use crate::clock::Timestamp;
use crate::job::JobId;
use crate::run::{Outcome, RunId, SkipReason};

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSummary {
    /// The job.
    pub id: JobId,
    /// Whether a host has it, or had it when it ended; what is left of one that is no longer
    /// defined is its history.
    pub in_service: bool,
    /// Whether somebody holds it back: it, all jobs, or its group where it is known which that is.
    pub paused: bool,
    /// The newest of its records.
    pub last_run: Option<LastRun>,
    /// When its last successful run finished.
    pub last_success: Option<Timestamp>,
    /// When it is due next, as far as that is known.
    pub next: Option<Timestamp>,
    /// How many of its runs have failed since one succeeded: see [`is_failure`].
    pub failures: u64,
}

/// The newest record of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// The run.
    pub id: RunId,
    /// When it started; if it did not, when it was recorded.
    pub at: Timestamp,
    /// How far it has come.
    pub status: Status,
}

impl LastRun {
    /// What is said of a record.
    pub fn of(record: &RunRecord) -> LastRun {
        LastRun {
            id: record.id,
            at: record.started_at().unwrap_or(record.recorded_at),
            status: record.status.clone(),
        }
    }
}

/// Whether a run that ended so has failed. One that was cancelled has not: it says nothing of its
/// job.
pub fn is_failure(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Succeeded | Outcome::Cancelled)
}

/// How the runs of a job have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStats {
    /// The job.
    pub id: JobId,
    /// How many runs ended so, for each outcome that there has been, in the order of their
    /// declaration.
    pub outcomes: Vec<(Outcome, u64)>,
    /// How many firings did not become a run for this reason, by the name of the reason (the
    /// first part of [`SkipReason::to_parts`]), the most frequent first.
    pub skips: Vec<(String, u64)>,
    /// How long the last attempt of half of the runs took at most, of those that came to a guest.
    pub p50: Option<Duration>,
    /// The same, of 95 in 100.
    pub p95: Option<Duration>,
    /// The longest.
    pub longest: Option<Duration>,
    /// Fuel used by all known attempts.
    pub fuel: u64,
    /// CPU time used by all known attempts.
    pub cpu: Duration,
}

impl JobStats {
    /// How many runs have ended.
    pub fn runs(&self) -> u64 {
        self.outcomes.iter().map(|(_, count)| count).sum()
    }

    /// How many of them ended so.
    pub fn ended(&self, outcome: Outcome) -> u64 {
        let mut all = self.outcomes.iter();
        all.find(|(known, _)| *known == outcome)
            .map_or(0, |(_, count)| *count)
    }

    /// How many firings did not become a run.
    pub fn skipped(&self) -> u64 {
        self.skips.iter().map(|(_, count)| count).sum()
    }
}

/// Counts records. What has not ended counts for nothing yet.
#[derive(Debug, Default)]
pub struct Tally {
    jobs: BTreeMap<JobId, Counts>,
}

/// The counts of one job.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    outcomes: [u64; Outcome::ALL.len()],
    skips: BTreeMap<&'static str, u64>,
    times: Vec<Duration>,
    fuel: u64,
    cpu: Duration,
}

impl Tally {
    /// Counts one.
    pub fn count(&mut self, record: &RunRecord) {
        let counts = self.of(&record.job);
        match &record.status {
            Status::Recorded | Status::Running => return,
            Status::Skipped(reason) => return counts.skipped(reason),
            Status::Finished(outcome) => {
                let last = record.execution().map(|execution| execution.elapsed);
                counts.ended(*outcome, last);
            }
        }
        for end in record.attempts.iter().filter_map(|it| it.end.as_ref()) {
            counts.used(end.execution.fuel_used, end.execution.cpu_time);
        }
    }

    /// The counts of a job.
    pub(crate) fn of(&mut self, job: &JobId) -> &mut Counts {
        self.jobs.entry(job.clone()).or_default()
    }

    /// What has been counted, in the order of the jobs' ids; nothing of jobs with nothing that
    /// has ended.
    pub fn stats(self) -> Vec<JobStats> {
        self.jobs
            .into_iter()
            .map(|(id, counts)| counts.stats(id))
            .filter(|stats| stats.runs() + stats.skipped() > 0)
            .collect()
    }
}

impl Counts {
    /// Counts firings that did not become a run.
    pub(crate) fn skipped(&mut self, reason: &SkipReason) {
        let firings = match reason {
            SkipReason::Missed(Some(count)) | SkipReason::Misfired(Some(count)) => *count,
            // A day off is one, however often its job would run on another day.
            _ => 1,
        };
        *self.skips.entry(reason.to_parts().0).or_default() += firings;
    }

    /// Counts a run that has ended, and how long its last attempt took.
    pub(crate) fn ended(&mut self, outcome: Outcome, last: Option<Duration>) {
        if let Some(count) = self.outcomes.get_mut(outcome as usize) {
            *count += 1;
        }
        // What took no time at all never came to a guest, or was lost with its host.
        self.times.extend(last.filter(|last| !last.is_zero()));
    }

    /// Counts what an attempt used.
    pub(crate) fn used(&mut self, fuel: u64, cpu: Duration) {
        self.fuel = self.fuel.saturating_add(fuel);
        self.cpu = self.cpu.saturating_add(cpu);
    }

    fn stats(mut self, id: JobId) -> JobStats {
        self.times.sort_unstable();
        let mut skips: Vec<(String, u64)> = self
            .skips
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect();
        skips.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        JobStats {
            id,
            outcomes: Outcome::ALL
                .into_iter()
                .zip(self.outcomes)
                .filter(|(_, count)| *count > 0)
                .collect(),
            skips,
            p50: percentile(&self.times, 50),
            p95: percentile(&self.times, 95),
            longest: self.times.last().copied(),
            fuel: self.fuel,
            cpu: self.cpu,
        }
    }
}

/// The least of the sorted times that so many of a hundred do not exceed.
fn percentile(sorted: &[Duration], of_hundred: usize) -> Option<Duration> {
    let rank = (sorted.len() * of_hundred).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_percentile_is_the_least_that_enough_do_not_exceed(
            mut millis in proptest::collection::vec(0_u64..1_000, 1..200), of_hundred in 1_usize..=100,
        ) {
            millis.sort_unstable();
            let times: Vec<_> = millis.iter().copied().map(Duration::from_millis).collect();
            let found = percentile(&times, of_hundred).unwrap();
            let within = |bound: Duration| times.iter().filter(|time| **time <= bound).count();
            prop_assert!(within(found) * 100 >= times.len() * of_hundred);
            if let Some(below) = times.iter().rev().find(|time| **time < found) {
                prop_assert!(within(*below) * 100 < times.len() * of_hundred);
            }
        }
    }

    #[test]
    fn nothing_has_no_percentiles() {
        assert_eq!(percentile(&[], 50), None);
        let one = [Duration::from_secs(1)];
        assert_eq!(percentile(&one, 1), Some(one[0]));
    }
}
