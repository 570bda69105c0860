//! Jobs that run after other jobs.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::clock::Timestamp;
use crate::job::{Job, JobId};

/// Who waits for whom.
#[derive(Debug, Default)]
pub(super) struct Chains {
    /// For each job that is waited for, those that wait; never none.
    followers: HashMap<Arc<str>, Vec<JobId>>,
    /// The last instant that each job was given by the end of another one.
    given: HashMap<JobId, Timestamp>,
}

impl Chains {
    pub(super) fn add(&mut self, job: &Job) {
        for after in job.trigger.upstreams() {
            let followers = self.followers.entry(after.job.clone()).or_default();
            if !followers.contains(&job.id) {
                followers.push(job.id.clone());
            }
        }
    }

    pub(super) fn remove(&mut self, job: &Job) {
        for after in job.trigger.upstreams() {
            if let Some(followers) = self.followers.get_mut(&after.job) {
                followers.retain(|follower| *follower != job.id);
                if followers.is_empty() {
                    self.followers.remove(&after.job);
                }
            }
        }
    }

    /// The jobs that wait for one.
    pub(super) fn after(&self, job: &JobId) -> &[JobId] {
        self.followers.get(job.as_str()).map_or(&[], Vec::as_slice)
    }

    pub(super) fn waited_for(&self) -> impl Iterator<Item = &str> {
        self.followers.keys().map(|job| &**job)
    }

    /// The instant for a run of `job` that the end of another one at `at` makes due: each
    /// instant is given once, though two runs may end at the same one, or a clock be set back.
    pub(super) fn instant(&mut self, job: &JobId, at: Timestamp) -> Timestamp {
        let instant = match self.given.get(job) {
            Some(last) if *last >= at => *last + TimeDelta::microseconds(1),
            _ => at,
        };
        self.given.insert(job.clone(), instant);
        instant
    }
}
