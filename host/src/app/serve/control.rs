//! What somebody tells the running host: to run a job now, to hold jobs back, to end a run. What
//! a [backfill](super::backfill) comes to is said there.
//!
//! The control loop decides; what has to wait for the disk then goes on beside it.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::host::Host;
use crate::app::components::Runner;
use crate::clock::format_instant;
use crate::control::{
    Cancelled, Command, ControlError, HostStatus, LiveJob, NextInstants, PauseSet, PausedSince,
    Reply, Trigger, Triggered, Was,
};
use crate::dispatcher::Dispatcher;
use crate::firing::fire_one;
use crate::job::{Job, JobId, Scope};
use crate::record::{Kind, Status};
use crate::run::{Cause, Firing, Run, RunId};
use crate::store::{Store, StoreError};
use crate::suggest::nearest;

/// How many names are listed where none is near.
const LISTED: usize = 6;

impl From<StoreError> for ControlError {
    fn from(error: StoreError) -> ControlError {
        ControlError::Store(error.to_string())
    }
}

/// How long commands that are being carried out are waited for when the host stops.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Host {
    /// Answers when it is known what has become of a command. Whoever asked may not wait any more.
    fn answer_later<T: Send + 'static>(
        &mut self,
        reply: Reply<T>,
        answer: impl Future<Output = Result<T, ControlError>> + Send + 'static,
    ) {
        while self.answering.try_join_next().is_some() {}
        self.answering.spawn(async move {
            let _ = reply.send(answer.await);
        });
    }

    /// Waits until what was begun is carried out.
    pub(super) async fn answer_the_last(&mut self) {
        let all = async { while self.answering.join_next().await.is_some() {} };
        // Nothing of it takes so long, unless the store hangs.
        let _ = tokio::time::timeout(LAST_WORDS, all).await;
    }

    /// Puts what is paused in force again that was so when the host before this one ended.
    pub(super) async fn restore_pauses(
        store: &dyn Store,
        dispatcher: &Dispatcher<Runner>,
    ) -> Result<(), StoreError> {
        for pause in store.pauses().await? {
            dispatcher.pauses().pause(pause.scope);
        }
        Ok(())
    }

    /// Carries out a command, or begins to.
    pub(super) async fn command(&mut self, command: Command) {
        match command {
            Command::Status(reply) => {
                let status = self.status();
                self.answer_later(reply, status);
            }
            Command::Sources(reply) => {
                let sources = self.source_statuses();
                self.answer_later(reply, async { Ok(sources) });
            }
            Command::Jobs(reply) => {
                let mut jobs = self.live_jobs();
                self.answer_later(reply, async move {
                    // They may be a million.
                    let sorted = tokio::task::spawn_blocking(move || {
                        jobs.sort_unstable_by(|one, other| one.job.cmp(&other.job));
                        jobs
                    });
                    sorted.await.map_err(|_| ControlError::Stopping)
                });
            }
            Command::Trigger(request, reply) => match self.in_service(&request.job) {
                Ok(job) => {
                    let cause = match request.by {
                        Some(_) => Cause::Api,
                        None => Cause::Manual,
                    };
                    let triggered = self.trigger(job, request, cause);
                    self.answer_later(reply, triggered);
                }
                // Whoever asked may not wait any more, here and below.
                Err(error) => drop(reply.send(Err(error))),
            },
            Command::SetPaused(scope, paused, reply) => {
                // In the order in which it is asked for.
                let set = self.set_paused(scope, paused).await;
                let _ = reply.send(set);
            }
            Command::Backfill(request, reply) => match self.backfill(request) {
                Ok(backfill) => self.answer_later(reply, backfill),
                Err(error) => drop(reply.send(Err(error))),
            },
            Command::Next(job, count, reply) => match self.in_service(&job) {
                Ok(found) => {
                    let trigger = self.scheduler.trigger_of(&job).unwrap_or(&found.trigger);
                    let (trigger, now) = (trigger.clone(), self.clock.now());
                    self.answer_later(reply, async move {
                        // Years of a trigger take their time.
                        let look = tokio::task::spawn_blocking(move || {
                            let due = trigger.due_after(now).take(count);
                            due.map(format_instant).collect()
                        });
                        let next = look.await.map_err(|_| ControlError::Stopping)?;
                        Ok(NextInstants { job, next })
                    });
                }
                Err(error) => drop(reply.send(Err(error))),
            },
            Command::OwnJob(job, reply) => drop(reply.send(self.own_job(&job))),
            Command::PutJob(request, reply) => {
                self.on_behalf_of = request.by.clone();
                let put = self.put_job(request).await;
                self.on_behalf_of = None;
                let _ = reply.send(put);
            }
            Command::Made(creator, asked) => self.made(creator, asked).await,
            Command::RemoveJob(job, condition, by, reply) => {
                self.on_behalf_of = by;
                let removed = self.remove_job(job, condition).await;
                self.on_behalf_of = None;
                let _ = reply.send(removed);
            }
            Command::HasPlace(run, reply) => drop(reply.send(Ok(self.dispatcher.has(run)))),
            Command::Cancel(run, reply) => {
                let not_due = self.planner.take(run);
                let cancelled = cancel(run, not_due, self.dispatcher.clone());
                self.answer_later(reply, cancelled);
            }
        }
    }

    fn status(&self) -> impl Future<Output = Result<HostStatus, ControlError>> + Send + use<> {
        let mut status = HostStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: Some(self.started_at),
            jobs: self.scheduler.len(),
            in_flight: self.dispatcher.in_flight(),
            waiting: self.dispatcher.queued() + self.planner.waiting(),
            recording: !self.planner.is_holding(),
            paused: Vec::new(),
        };
        let store = self.store.clone();
        async move {
            let pauses = store.pauses().await?.into_iter();
            status.paused = pauses
                .map(|pause| PausedSince {
                    scope: pause.scope,
                    since: Some(pause.since),
                })
                .collect();
            Ok(status)
        }
    }

    /// How each job stands, in no order.
    fn live_jobs(&self) -> Vec<LiveJob> {
        let counts: HashMap<JobId, (usize, usize)> = self.dispatcher.by_job();
        let pauses = self.dispatcher.pauses();
        self.scheduler
            .iter()
            .map(|(job, next)| {
                let (in_flight, waiting) = counts.get(&job.id).copied().unwrap_or_default();
                LiveJob {
                    job: job.id.clone(),
                    enabled: job.enabled,
                    next_at: next,
                    group: job.policies.group.as_ref().map(|it| it.name.to_string()),
                    paused_by: pauses.is_paused(job),
                    creator: job.origin.creator.clone(),
                    in_flight,
                    waiting,
                }
            })
            .collect()
    }

    /// The job of this id.
    pub(super) fn in_service(&self, id: &JobId) -> Result<Arc<Job>, ControlError> {
        if let Some(job) = self.scheduler.job(id) {
            return Ok(job.clone());
        }
        let hint = if self.catalog.wants(id) {
            ": it is defined, but its plugin, its function or a directory that it needs is not there, as the host's log says".to_owned()
        } else {
            let names = self.scheduler.iter().map(|(job, _)| job.id.as_str());
            hint(id.as_str(), names.collect())
        };
        Err(ControlError::UnknownJob {
            job: id.clone(),
            hint,
        })
    }

    pub(super) fn trigger(
        &self,
        mut job: Arc<Job>,
        request: Trigger,
        cause: Cause,
    ) -> impl Future<Output = Result<Triggered, ControlError>> + Send + use<> {
        let paused_by = self.dispatcher.pauses().is_paused(&job);
        if let Some(params) = request.params {
            job = Arc::new(job.with_params(&params));
        }
        let (dispatcher, now) = (self.dispatcher.clone(), self.clock.now());
        async move {
            let firing = Firing {
                job: job.clone(),
                cause,
                scheduled_at: now,
            };
            match fire_one(firing, &dispatcher, now).await {
                Ok(run) => Ok(Triggered {
                    run: run.id,
                    job: job.id.clone(),
                    enabled: job.enabled,
                    paused_by,
                }),
                Err(reason) => Err(ControlError::NotStarted {
                    job: job.id.clone(),
                    reason,
                }),
            }
        }
    }

    async fn set_paused(&mut self, scope: Scope, paused: bool) -> Result<PauseSet, ControlError> {
        let members = self.members(&scope);
        let pauses = self.dispatcher.pauses().clone();
        // What is gone may still be paused, and is let go on.
        let is_known = !members.is_empty() || pauses.list().contains(&scope);
        match &scope {
            Scope::Job(id) if !is_known && (paused || !self.catalog.wants(id)) => {
                self.in_service(id)?;
            }
            Scope::Group(group) if !is_known => {
                let jobs = self.scheduler.iter();
                let groups: HashSet<&str> = jobs
                    .filter_map(|(job, _)| Some(&*job.policies.group.as_ref()?.name))
                    .collect();
                return Err(ControlError::UnknownGroup {
                    group: group.to_string(),
                    hint: hint(group, groups.into_iter().collect()),
                });
            }
            _ => {}
        }
        let since = paused.then(|| self.clock.now());
        let changed = self.store.set_paused(scope.clone(), since).await?;
        if paused {
            pauses.pause(scope.clone());
        } else {
            pauses.resume(&scope);
        }
        let held_by = members
            .first()
            .and_then(|job| pauses.is_paused(job))
            .filter(|holder| *holder < scope);
        Ok(PauseSet {
            paused,
            changed,
            jobs: Some(members.len()),
            held_by,
            still_paused: match scope {
                Scope::All if !paused => pauses.list(),
                _ => Vec::new(),
            },
            scope,
        })
    }

    /// The jobs in service that a scope is about.
    fn members(&self, scope: &Scope) -> Vec<Arc<Job>> {
        let is_member = |job: &Job| match scope {
            Scope::All => true,
            Scope::Group(name) => {
                let group = job.policies.group.as_ref();
                group.is_some_and(|group| group.name == *name)
            }
            Scope::Job(id) => job.id == *id,
        };
        let jobs = self.scheduler.iter().map(|(job, _)| job);
        jobs.filter(|job| is_member(job)).cloned().collect()
    }
}

/// Ends a run. One that is recorded and not due yet is not the dispatcher's yet.
async fn cancel(
    id: RunId,
    not_due: Option<Arc<Run>>,
    dispatcher: Dispatcher<Runner>,
) -> Result<Cancelled, ControlError> {
    let store = dispatcher.store().clone();
    if let Some(run) = not_due {
        match dispatcher.admit(&run.job) {
            Ok(admission) => dispatcher.dispatch(vec![(run, admission)]),
            Err(reason) => dispatcher.skip_run(&run, reason),
        }
    }
    let unknown = ControlError::UnknownRun(id);
    let record = store.run(id).await?.ok_or(unknown.clone())?;
    let mut told = Cancelled {
        run: id,
        job: record.job.clone(),
        was: match record.status {
            Status::Recorded => Was::Waiting,
            _ => Was::Running,
        },
        outcome: None,
    };
    if record.status.is_final() || !dispatcher.cancel(id) {
        // It may have ended between the two.
        let record = store.run(id).await?.ok_or(unknown)?;
        told.was = Was::Ended;
        if record.status.is_final() {
            told.outcome = Some(Kind::of(&record.status).as_str().to_owned());
        }
    }
    Ok(told)
}

/// What may be meant by a name that is not known: the end of a sentence.
fn hint(name: &str, mut known: Vec<&str>) -> String {
    if let Some(near) = nearest(name, known.iter().copied()) {
        return format!(": did you mean `{near}`?");
    }
    known.sort_unstable();
    match &*known {
        [] => ", which has none".to_owned(),
        known => {
            let first: Vec<&str> = known.iter().take(LISTED).copied().collect();
            let more = if known.len() > LISTED { ", …" } else { "" };
            format!("; it has {}{more}", first.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_what_is_near_or_what_there_is() {
        assert_eq!(
            hint("reprot", vec!["tidy", "report"]),
            ": did you mean `report`?"
        );
        assert_eq!(
            hint("xyzzy", vec!["tidy", "report"]),
            "; it has report, tidy"
        );
        assert_eq!(hint("xyzzy", Vec::new()), ", which has none");
    }
}
