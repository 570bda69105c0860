//! Which runs meet.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use super::Firing;
use crate::clock::Timestamp;

/// How many meetings of two runs are looked at, and how many pairs of jobs are kept: a thousand
/// jobs at midnight are half a million pairs, every night.
const MOST_MEETINGS: u64 = 5_000_000;
const MOST_PAIRS: usize = 100_000;

/// Which runs would be in flight at the same time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlaps {
    /// Two jobs whose runs meet, the pairs that meet most often first.
    pub pairs: Vec<Pair>,
    /// There are more meetings than can be looked at: those before this instant are counted.
    pub counted_until: Option<Timestamp>,
    /// The most runs in flight at once, and when there first are so many; None if nothing runs.
    pub peak: Option<Peak>,
}

/// Two jobs whose runs meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The jobs, by their places, the lower one first.
    pub jobs: (usize, usize),
    /// How many times a run of one started while one of the other was in flight.
    pub times: u64,
    /// When one did for the first time.
    pub first: Timestamp,
}

/// The most runs in flight at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peak {
    /// How many.
    pub runs: usize,
    /// Since when.
    pub at: Timestamp,
}

/// Looks at firings in order and finds out which runs meet.
#[derive(Debug)]
pub(super) struct Meetings {
    running: BinaryHeap<Reverse<(Timestamp, usize)>>,
    pairs: HashMap<u64, (u64, Timestamp), BuildHasherDefault<PairHasher>>,
    meetings: u64,
    counted_until: Option<Timestamp>,
    peak: Option<Peak>,
    most_meetings: u64,
}

/// Hashes the numbers of two jobs: they come from nowhere else, so speed is all that matters.
#[derive(Debug, Default)]
struct PairHasher(u64);

impl Hasher for PairHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

impl Meetings {
    pub(super) fn new() -> Self {
        Meetings::at_most(MOST_MEETINGS)
    }

    fn at_most(most_meetings: u64) -> Self {
        Meetings {
            running: BinaryHeap::new(),
            pairs: HashMap::default(),
            meetings: 0,
            counted_until: None,
            peak: None,
            most_meetings,
        }
    }

    /// Takes in the next firing.
    pub(super) fn add(&mut self, firing: &Firing) {
        let Some(end) = firing.ends_at else {
            return;
        };
        let now = firing.due_at;
        while self
            .running
            .peek()
            .is_some_and(|Reverse((end, _))| *end <= now)
        {
            self.running.pop();
        }
        if self.counted_until.is_none() {
            self.meet(firing.job, now);
        }
        self.running.push(Reverse((end, firing.job)));
        let runs = self.running.len();
        if self.peak.is_none_or(|peak| runs > peak.runs) {
            self.peak = Some(Peak { runs, at: now });
        }
    }

    /// The job starts at `now`, while others run.
    fn meet(&mut self, job: usize, now: Timestamp) {
        self.meetings += self.running.len() as u64;
        if self.meetings > self.most_meetings || self.pairs.len() > MOST_PAIRS {
            self.counted_until = Some(now);
            return;
        }
        for Reverse((_, other)) in &self.running {
            if *other != job {
                let pair = (job.min(*other) as u64) << 32 | job.max(*other) as u64;
                self.pairs.entry(pair).or_insert((0, now)).0 += 1;
            }
        }
    }

    /// What was found.
    pub(super) fn finish(self) -> Overlaps {
        let mut pairs: Vec<Pair> = self
            .pairs
            .into_iter()
            .map(|(pair, (times, first))| Pair {
                jobs: ((pair >> 32) as usize, (pair & 0xffff_ffff) as usize),
                times,
                first,
            })
            .collect();
        pairs.sort_unstable_by_key(|pair| (Reverse(pair.times), pair.first, pair.jobs));
        Overlaps {
            pairs,
            counted_until: self.counted_until,
            peak: self.peak,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;

    fn minute(minute: i64) -> Timestamp {
        DateTime::from_timestamp(minute * 60, 0).unwrap()
    }

    fn run(job: usize, start: i64, length: i64) -> Firing {
        Firing {
            job,
            scheduled_at: minute(start),
            due_at: minute(start),
            after: None,
            skipped: false,
            ends_at: Some(minute(start) + TimeDelta::minutes(length)),
        }
    }

    fn found(runs: &[Firing], most: u64) -> Overlaps {
        let mut meetings = Meetings::at_most(most);
        for run in runs {
            meetings.add(run);
        }
        meetings.finish()
    }

    #[test]
    fn an_end_is_no_meeting() {
        let overlaps = found(&[run(0, 0, 10), run(1, 10, 10), run(2, 19, 5)], 100);
        let pair = Pair {
            jobs: (1, 2),
            times: 1,
            first: minute(19),
        };
        assert_eq!(overlaps.pairs, [pair]);
        let peak = Peak {
            runs: 2,
            at: minute(19),
        };
        assert_eq!((overlaps.peak, overlaps.counted_until), (Some(peak), None));
    }

    #[test]
    fn too_many_are_counted_as_far_as_it_goes() {
        let runs: Vec<Firing> = (0..10).map(|job| run(job, job as i64, 60)).collect();
        let overlaps = found(&runs, 10);
        assert_eq!(overlaps.counted_until, Some(minute(5)));
        assert_eq!(overlaps.pairs.len(), 10);
        assert_eq!(overlaps.peak.unwrap().runs, 10);
    }

    proptest! {
        /// Against looking at every two runs.
        #[test]
        fn every_two_runs(runs in proptest::collection::vec((0_usize..4, 0_i64..300, 1_i64..60), 0..40)) {
            let mut runs: Vec<Firing> =
                runs.into_iter().map(|(job, start, length)| run(job, start, length)).collect();
            runs.sort_by_key(|run| (run.due_at, run.job));
            let mut expected: HashMap<(usize, usize), (u64, Timestamp)> = HashMap::new();
            for (place, later) in runs.iter().enumerate() {
                for earlier in &runs[..place] {
                    if earlier.job != later.job && earlier.ends_at.unwrap() > later.due_at {
                        let pair = (later.job.min(earlier.job), later.job.max(earlier.job));
                        expected.entry(pair).or_insert((0, later.due_at)).0 += 1;
                    }
                }
            }
            let overlaps = found(&runs, u64::MAX);
            prop_assert!(overlaps.pairs.is_sorted_by_key(|pair| Reverse(pair.times)));
            let pairs: HashMap<_, _> =
                overlaps.pairs.iter().map(|pair| (pair.jobs, (pair.times, pair.first))).collect();
            prop_assert_eq!(pairs, expected);
        }
    }
}
