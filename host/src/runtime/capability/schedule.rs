//! `quarterjack:job/schedule`: the jobs that the job defines.

use super::Desk;
use crate::control::{MadeError, MadeJob, MadeJobs, Put, RunState};
use crate::job::JobId;
use crate::job::grants::Need;
use crate::run::{Denial, Outcome, RunId};
use crate::runtime::bindings::quarterjack::job::schedule::{
    Change, Entry, Error, Host, RunOutcome, Status,
};
use crate::runtime::guest::GuestState;
use crate::runtime::redaction::first_in;

/// How often one run may change something or start a run.
const MOST_CHANGES: u32 = 1_000;
/// How often one run may ask for something.
const MOST_QUESTIONS: u32 = 10_000;
/// How many bytes of parameters a run may be given: as many as a definition has at most are more
/// than any run needs.
const MOST_PARAMS: usize = 1 << 20;

/// How often a run has used the interface.
#[derive(Debug, Default)]
pub(super) struct Calls {
    changes: u32,
    questions: u32,
}

impl Desk {
    /// The jobs of this one.
    fn made(&mut self, wanted: &str) -> Result<MadeJobs, Error> {
        if self.grants().schedule.is_none() {
            let id = match wanted {
                "" => format!("{}/", self.attempt.run.job.id),
                wanted => wanted.to_owned(),
            };
            let what = match wanted {
                "" => "the jobs that it defines".to_owned(),
                wanted => format!("defining the job {wanted:?}"),
            };
            return Err(Error::Denied(self.deny(what, &Need::Schedule(id))));
        }
        match &self.made {
            Some(made) => Ok(made.clone()),
            None => Err(Error::Unavailable(
                "no host runs that would keep definitions".to_owned(),
            )),
        }
    }

    /// Counts a call that asks for something.
    fn question(&mut self) -> Result<(), Error> {
        count(&mut self.schedule_calls.questions, MOST_QUESTIONS)
    }

    /// The jobs of this one, to change one of them.
    fn changing(&mut self, id: &str) -> Result<(MadeJobs, JobId), Error> {
        let made = self.made(id)?;
        let prefix = self.grants().schedule.as_ref().map(|it| it.prefix.clone());
        if let Some(prefix) = prefix.filter(|prefix| !id.starts_with(&**prefix)) {
            let what = format!("the job {id:?}: its own jobs begin with {prefix:?}");
            return Err(self.forbid(what));
        }
        count(&mut self.schedule_calls.changes, MOST_CHANGES)?;
        Ok((made, JobId::from(id)))
    }

    /// Refuses what no other grant than the present one would allow.
    fn forbid(&mut self, what: String) -> Error {
        Error::Denied(self.refuse(Denial {
            what,
            grant: None,
            ceiling: None,
        }))
    }

    /// Whether a text holds a secret of the run.
    fn holds_a_secret(&self, text: &str) -> bool {
        let redactor = self.secrets.redactor();
        redactor.is_some_and(|redactor| first_in(redactor, text.as_bytes()).is_some())
    }

    /// An error in the words of the contract. What is denied is noted.
    fn told(&mut self, error: MadeError) -> Error {
        match error {
            MadeError::Denied(what) => self.forbid(what),
            MadeError::Invalid(_) => Error::Invalid(error.to_string()),
            MadeError::Quota(why) => Error::Quota(why),
            MadeError::NotFound(why) => Error::NotFound(why),
            MadeError::Unavailable(why) => Error::Unavailable(why),
        }
    }

    async fn put_job(&mut self, id: String, text: String) -> Result<Change, Error> {
        let (made, job) = self.changing(&id)?;
        if self.holds_a_secret(&text) {
            let what = format!("a secret in the definition of {id:?}: secrets are kept nowhere");
            return Err(self.forbid(what));
        }
        match made.put(job, text).await {
            Ok(Put::Created) => Ok(Change::Added),
            Ok(Put::Updated) => Ok(Change::Updated),
            Ok(Put::Unchanged) => Ok(Change::Unchanged),
            Err(error) => Err(self.told(error)),
        }
    }

    async fn remove_job(&mut self, id: String) -> Result<(), Error> {
        let (made, job) = self.changing(&id)?;
        made.remove(job).await.map_err(|error| self.told(error))
    }

    async fn made_jobs(&mut self) -> Result<Vec<Entry>, Error> {
        let made = self.made("")?;
        self.question()?;
        let jobs = made.jobs().await.map_err(|error| self.told(error))?;
        let entry = |it: MadeJob| Entry {
            id: it.job.as_str().to_owned(),
            digest: it.etag,
            version: it.version,
            in_service: it.in_service,
        };
        Ok(jobs.into_iter().map(entry).collect())
    }

    async fn trigger_job(&mut self, id: String, params: Option<String>) -> Result<String, Error> {
        let (made, job) = self.changing(&id)?;
        if let Some(params) = &params {
            if params.len() > MOST_PARAMS {
                return Err(Error::Quota(format!(
                    "parameters of {} bytes; at most {MOST_PARAMS}",
                    params.len()
                )));
            }
            if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(params) {
                return Err(Error::Invalid(format!(
                    "the parameters are no JSON: {error}"
                )));
            }
            if self.holds_a_secret(params) {
                let what = format!("a secret in parameters for {id:?}: secrets are kept nowhere");
                return Err(self.forbid(what));
            }
        }
        let triggered = made.trigger(job, params.map(Into::into)).await;
        let run = triggered.map_err(|error| self.told(error))?;
        Ok(run.to_text())
    }

    async fn run_outcome(&mut self, run: String) -> Result<RunOutcome, Error> {
        let made = self.made("")?;
        self.question()?;
        let id: RunId = run
            .parse()
            .map_err(|()| Error::NotFound(format!("{run:?} is no id of a run")))?;
        let run = made.run(id).await.map_err(|error| self.told(error))?;
        Ok(RunOutcome {
            job_id: run.job.as_str().to_owned(),
            status: match run.state {
                RunState::Waiting => Status::Waiting,
                RunState::Running => Status::Running,
                RunState::Skipped => Status::Skipped,
                RunState::Ended(outcome) => match outcome {
                    Outcome::Succeeded => Status::Succeeded,
                    Outcome::Failed => Status::Failed,
                    Outcome::Trapped => Status::Trapped,
                    Outcome::TimedOut => Status::TimedOut,
                    Outcome::OutOfFuel => Status::OutOfFuel,
                    Outcome::OutOfMemory => Status::OutOfMemory,
                    Outcome::Cancelled => Status::Cancelled,
                    Outcome::Lost => Status::Lost,
                },
            },
            message: run.message,
        })
    }
}

fn count(calls: &mut u32, most: u32) -> Result<(), Error> {
    if *calls >= most {
        return Err(Error::Quota(format!("one run may do this {most} times")));
    }
    *calls += 1;
    Ok(())
}

impl Host for GuestState {
    async fn put(
        &mut self,
        id: String,
        definition: String,
    ) -> wasmtime::Result<Result<Change, Error>> {
        Ok(self.desk().put_job(id, definition).await)
    }

    async fn remove(&mut self, id: String) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.desk().remove_job(id).await)
    }

    async fn jobs(&mut self) -> wasmtime::Result<Result<Vec<Entry>, Error>> {
        Ok(self.desk().made_jobs().await)
    }

    async fn trigger(
        &mut self,
        id: String,
        params: Option<String>,
    ) -> wasmtime::Result<Result<String, Error>> {
        Ok(self.desk().trigger_job(id, params).await)
    }

    async fn outcome(&mut self, run: String) -> wasmtime::Result<Result<RunOutcome, Error>> {
        Ok(self.desk().run_outcome(run).await)
    }
}
