//! What jobs do with the jobs that they make.

use std::sync::Arc;

use super::definitions::etag;
use super::host::Host;
use crate::control::{
    ControlError, Made, MadeError, MadeJob, MadeReply, MadeRun, Put, RunState, Trigger,
};
use crate::job::{Diagnostic, Job, JobId, MadeBy, Manifest, OnRemoval, OwnDefinition};
use crate::policy::{Policy, judge_made};
use crate::record::Status;
use crate::run::{Cause, RunId};
use crate::source::JobSource as _;
use crate::store::{Store, StoreError};

impl From<StoreError> for MadeError {
    fn from(error: StoreError) -> MadeError {
        MadeError::Unavailable(error.to_string())
    }
}

impl Host {
    /// Does what a job wants of those that it makes, or begins to.
    pub(super) async fn made(&mut self, creator: JobId, asked: Made) {
        // Whoever asked may not wait any more, here and below.
        match asked {
            Made::Put(job, text, reply) => {
                let put = self.put_made(&creator, job, &text).await;
                let _ = reply.send(put);
            }
            Made::Remove(job, reply) => {
                let removed = self.remove_made(&creator, job).await;
                let _ = reply.send(removed);
            }
            Made::Jobs(reply) => {
                let jobs = self.authority(&creator).map(|_| self.made_jobs(&creator));
                let _ = reply.send(jobs);
            }
            Made::Trigger(request, reply) => self.trigger_made(&creator, request, reply),
            Made::Run(run, reply) => {
                let made = self.own.made(&creator);
                let store = self.store.clone();
                self.answer_made(reply, async move { run_of(&*store, run, &made).await });
            }
        }
    }

    /// The definition of a job that may make others, as it is now: the run that asks may be of an
    /// older one.
    fn authority(&self, creator: &JobId) -> Result<Arc<Job>, MadeError> {
        let job = self.catalog.authority(creator);
        let job = job.filter(|job| job.grants.schedule.is_some());
        job.ok_or_else(|| {
            let why = format!("defining jobs: the job `{creator}` is not granted that any more");
            MadeError::Denied(why)
        })
    }

    /// Whether a job is one of those that another one has made.
    fn is_made_by(&self, creator: &JobId, job: &JobId) -> Result<(), MadeError> {
        let belongs_to = |whom: &str| {
            let what = format!("the job `{job}`, which {whom}");
            Err(MadeError::Denied(what))
        };
        match self.own.made_by(job) {
            Some(by) if by.creator == *creator => Ok(()),
            Some(by) => belongs_to(&format!("the job `{}` has made", by.creator)),
            None if self.own.get(job).is_some() => belongs_to("a person has put there"),
            None => match self.catalog.elsewhere(self.own_number, job) {
                Some(place) => belongs_to(&format!("is defined in {place}")),
                None => Err(MadeError::NotFound(format!(
                    "the job `{creator}` has no job `{job}`"
                ))),
            },
        }
    }

    async fn put_made(
        &mut self,
        creator: &JobId,
        job: JobId,
        text: &str,
    ) -> Result<Put, MadeError> {
        let authority = self.authority(creator)?;
        let is_new = match self.is_made_by(creator, &job) {
            Ok(()) => false,
            Err(MadeError::NotFound(_)) if job != *creator => true,
            Err(error) => return Err(error),
        };
        let on_removal = authority.grants.schedule.as_ref().map(|it| it.on_removal);
        let made_by = MadeBy {
            creator: creator.clone(),
            on_removal: on_removal.unwrap_or_default(),
        };
        let manifest = self.own.check(&job, text, Some(&made_by));
        let manifest = manifest.map_err(refused)?;
        sound(judge_made(&manifest, &authority))?;
        if is_new {
            self.has_room(&authority)?;
        }
        let before = self.own.get(&job);
        // As it is read: without a byte order mark.
        let text = manifest.source.text();
        let was = match &before {
            None => Put::Created,
            Some(before) if before.text() == text => Put::Unchanged,
            Some(_) => Put::Updated,
        };
        if was != Put::Unchanged || self.own.made_by(&job).as_ref() != Some(&made_by) {
            let definition = OwnDefinition {
                job: job.clone(),
                text: text.to_owned(),
                made_by: Some(made_by.clone()),
            };
            self.definitions.put(definition).await?;
            self.own.put(&job, manifest.source.clone(), Some(made_by));
            self.follow_own().await;
        }
        Ok(was)
    }

    /// Whether a job, and each that it was made by, may have one more.
    fn has_room(&self, authority: &Arc<Job>) -> Result<(), MadeError> {
        let mut one = Some(authority.clone());
        while let Some(job) = one {
            let most = job.grants.schedule.as_ref().map_or(0, |it| it.max_jobs);
            let has = self.own.lineage(&job.id).len().saturating_sub(1);
            if has >= most as usize {
                return Err(MadeError::Quota(format!(
                    "the job `{}` has {has} jobs; its `max_jobs` is {most}",
                    job.id
                )));
            }
            let by = self.own.made_by(&job.id);
            one = by.and_then(|by| self.catalog.authority(&by.creator));
        }
        Ok(())
    }

    async fn remove_made(&mut self, creator: &JobId, job: JobId) -> Result<(), MadeError> {
        self.authority(creator)?;
        self.is_made_by(creator, &job)?;
        self.release(&job, self.on_removal_of(&job)).await?;
        self.definitions.remove(job.clone()).await?;
        self.own.remove(&job);
        self.follow_own().await;
        Ok(())
    }

    fn made_jobs(&self, creator: &JobId) -> Vec<MadeJob> {
        let made = self.own.made(creator).into_iter();
        made.filter_map(|job| {
            let text = self.own.get(&job)?;
            let in_service = self.scheduler.job(&job);
            // What is not in service has a version as well.
            let version = match in_service {
                Some(job) => job.version,
                None => {
                    let read = self.own.check(&job, text.text(), None).ok();
                    read.and_then(|it| it.jobs().next()?.version)
                }
            };
            Some(MadeJob {
                etag: etag(text.text()),
                version,
                in_service: in_service.is_some(),
                job,
            })
        })
        .collect()
    }

    fn trigger_made(&mut self, creator: &JobId, request: Trigger, reply: MadeReply<RunId>) {
        let job = self
            .authority(creator)
            .and_then(|_| self.is_made_by(creator, &request.job))
            .and_then(|()| {
                let job = self.in_service(&request.job);
                job.map_err(|error| MadeError::Unavailable(error.to_string()))
            });
        match job {
            Ok(job) => {
                let triggered = self.trigger(job, request, Cause::Api);
                self.answer_made(reply, async move {
                    let triggered = triggered.await.map_err(|error| match error {
                        ControlError::Invalid(why) => MadeError::Denied(why),
                        error => MadeError::Unavailable(error.to_string()),
                    })?;
                    Ok(triggered.run)
                });
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Sees to the jobs whose creators are gone: they go too, or belong to whoever made those. Says
    /// whether there were any. `removed` are jobs that have just gone out of service.
    pub(super) async fn settle_orphans(&mut self, removed: &[Arc<Job>]) -> bool {
        let creators = self.own.creators();
        if creators.is_empty() {
            return false;
        }
        let defined = self.catalog.defined();
        let gone = |creator: &JobId| match &defined {
            Some(defined) => !defined.contains(creator),
            // Something is broken or not known yet, but not what has just been removed.
            None => {
                let is_removed = removed.iter().any(|job| job.id == *creator);
                is_removed && !self.catalog.defines(creator)
            }
        };
        let gone: Vec<JobId> = creators.into_iter().filter(gone).collect();
        for creator in &gone {
            let last = removed.iter().find(|job| job.id == *creator);
            let grant = last.and_then(|job| job.grants.schedule.as_ref());
            if let Err(error) = self.release(creator, grant.map(|it| it.on_removal)).await {
                tracing::warn!(%creator, %error, "the jobs of a removed job stay as they were");
            }
        }
        !gone.is_empty()
    }

    /// Gives the jobs that a job has made up, or hands them over to whoever made it, as its grant
    /// says, or else as it said when they were made. Done before the job itself goes, so that
    /// after a crash in between it is still known whose they are.
    pub(super) async fn release(
        &mut self,
        creator: &JobId,
        on_removal: Option<OnRemoval>,
    ) -> Result<(), StoreError> {
        let heir = self.own.made_by(creator);
        for job in self.own.made(creator) {
            let Some(by) = self.own.made_by(&job) else {
                continue;
            };
            match on_removal.unwrap_or(by.on_removal) {
                OnRemoval::Remove => {
                    // What it has made in its turn goes first, the last ones before all.
                    for job in self.own.lineage(&job).into_iter().rev() {
                        self.definitions.remove(job.clone()).await?;
                        self.own.remove(&job);
                    }
                }
                OnRemoval::Keep => {
                    let Some(text) = self.own.get(&job) else {
                        continue;
                    };
                    let definition = OwnDefinition {
                        job: job.clone(),
                        text: text.text().to_owned(),
                        made_by: heir.clone(),
                    };
                    self.definitions.put(definition).await?;
                    self.own.put(&job, text, heir.clone());
                }
            }
        }
        Ok(())
    }

    /// What becomes of the jobs that a job has made when it is removed, as it is granted now;
    /// nothing where it is not.
    pub(super) fn on_removal_of(&self, creator: &JobId) -> Option<OnRemoval> {
        let job = self.catalog.authority(creator)?;
        job.grants.schedule.as_ref().map(|it| it.on_removal)
    }

    /// The host's own definitions are others than the catalog knows.
    pub(super) fn own_changed(&mut self) {
        if let Ok(wanted) = self.own.read() {
            self.catalog.set(self.own_number, &wanted);
        }
    }

    fn answer_made<T: Send + 'static>(
        &mut self,
        reply: MadeReply<T>,
        answer: impl Future<Output = Result<T, MadeError>> + Send + 'static,
    ) {
        while self.answering.try_join_next().is_some() {}
        self.answering.spawn(async move {
            let _ = reply.send(answer.await);
        });
    }
}

/// Refuses a document with a definition that cannot be used.
fn sound(manifest: Manifest) -> Result<(), MadeError> {
    for entry in manifest.entries {
        entry.result.map_err(refused)?;
    }
    Ok(())
}

/// What is wrong with a definition: that it asks for more than it may, or something else.
fn refused(problems: Vec<Diagnostic>) -> MadeError {
    match problems.iter().all(Policy::is_refusal) {
        true => MadeError::Denied(MadeError::Invalid(problems).to_string()),
        false => MadeError::Invalid(problems),
    }
}

/// What has become of a run, if it is of one of these jobs.
async fn run_of(store: &dyn Store, run: RunId, made: &[JobId]) -> Result<MadeRun, MadeError> {
    let record = store.run(run).await?;
    let record = record.filter(|record| made.contains(&record.job));
    let record = record
        .ok_or_else(|| MadeError::NotFound(format!("no run {run} of a job that it has made")))?;
    let (state, message) = match record.status {
        Status::Recorded => (RunState::Waiting, None),
        Status::Running => (RunState::Running, None),
        Status::Finished(outcome) => {
            let last = record.attempts.into_iter().next_back();
            let error = last.and_then(|attempt| attempt.end?.execution.error.clone());
            (RunState::Ended(outcome), error)
        }
        Status::Skipped(reason) => (RunState::Skipped, Some(reason.to_string())),
    };
    Ok(MadeRun {
        job: record.job,
        state,
        message,
    })
}
