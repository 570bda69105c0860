//! Definitions that the running host is given, to keep among its own.

use sha2::{Digest as _, Sha256};

use super::host::Host;
use crate::control::{Condition, ControlError, JobPut, JobRemoved, OwnJob, Put, PutJob};
use crate::job::{JobId, OwnDefinition};
use crate::source::JobSource as _;

impl Host {
    /// Takes a definition in. What is wrong with it by itself is refused; if it waits for its
    /// plugin or a directory, that is said.
    pub(super) async fn put_job(&mut self, request: PutJob) -> Result<JobPut, ControlError> {
        let PutJob {
            job,
            text,
            condition,
            by: _,
        } = request;
        let before = self.own.get(&job).map(|before| before.text().to_owned());
        meets(&job, before.as_deref(), &condition)?;
        self.is_a_persons(&job)?;
        self.is_not_elsewhere(&job)?;
        let manifest =
            self.own
                .check(&job, &text, None)
                .map_err(|problems| ControlError::Rejected {
                    job: job.clone(),
                    problems,
                })?;
        // As it is read: without a byte order mark.
        let text = manifest.source.text();
        let was = match &before {
            None => Put::Created,
            Some(before) if before == text => Put::Unchanged,
            Some(_) => Put::Updated,
        };
        let etag = etag(text);
        if was != Put::Unchanged {
            let definition = OwnDefinition {
                job: job.clone(),
                text: text.to_owned(),
                made_by: None,
            };
            self.definitions.put(definition).await?;
            self.own.put(&job, manifest.source.clone(), None);
            self.follow_own().await;
        } else if self.scheduler.job(&job).is_none() {
            // What it waits for may have come about.
            self.reconcile(self.own_number).await;
        }
        let now = manifest.jobs().next();
        let in_service = self.scheduler.job(&job);
        Ok(JobPut {
            was,
            etag,
            in_service: in_service.is_some() && in_service == now,
            next_at: self.scheduler.next_of(&job),
            waits_for: self.catalog.trouble(self.own_number, &job),
            job,
        })
    }

    /// Gives a definition up.
    pub(super) async fn remove_job(
        &mut self,
        job: JobId,
        condition: Condition,
    ) -> Result<JobRemoved, ControlError> {
        let before = self.own_job(&job)?;
        meets(&job, Some(&before.text), &condition)?;
        self.is_a_persons(&job)?;
        self.release(&job, self.on_removal_of(&job)).await?;
        self.definitions.remove(job.clone()).await?;
        self.own.remove(&job);
        self.follow_own().await;
        Ok(JobRemoved { job })
    }

    /// A definition among the host's own.
    pub(super) fn own_job(&self, job: &JobId) -> Result<OwnJob, ControlError> {
        if let Some(text) = self.own.get(job) {
            let text = text.text().to_owned();
            return Ok(OwnJob {
                job: job.clone(),
                etag: etag(&text),
                text,
                creator: self.own.made_by(job).map(|by| by.creator),
            });
        }
        self.is_not_elsewhere(job)?;
        // The same words as for everything else that is asked of a job that is not there.
        self.in_service(job)?;
        Err(ControlError::UnknownJob {
            job: job.clone(),
            hint: String::new(),
        })
    }

    /// What another source defines is not the host's to change.
    fn is_not_elsewhere(&self, job: &JobId) -> Result<(), ControlError> {
        match self.catalog.elsewhere(self.own_number, job) {
            Some(place) => Err(ControlError::Elsewhere {
                job: job.clone(),
                place,
            }),
            None => Ok(()),
        }
    }

    /// What a job has made is that job's to change.
    fn is_a_persons(&self, job: &JobId) -> Result<(), ControlError> {
        match self.own.made_by(job) {
            Some(by) => Err(ControlError::Elsewhere {
                job: job.clone(),
                place: format!("the job `{}`, which made it", by.creator),
            }),
            None => Ok(()),
        }
    }

    pub(super) async fn follow_own(&mut self) {
        if let Ok(wanted) = self.own.read() {
            self.follow(self.own_number, &wanted).await;
        }
    }
}

/// What tells one text of a definition from another.
pub(super) fn etag(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether the definition is as somebody says that it is.
fn meets(job: &JobId, now: Option<&str>, condition: &Condition) -> Result<(), ControlError> {
    let met = match (condition, now) {
        (Condition::Always, _) | (Condition::Absent, None) => true,
        (Condition::Is(tag), Some(text)) => *tag == etag(text),
        _ => false,
    };
    if met {
        return Ok(());
    }
    Err(ControlError::Changed {
        job: job.clone(),
        etag: now.map(etag),
    })
}
