//! What a job is: a validated definition, ready to be scheduled.
//!
//! A [`Job`] comes out of [`manifest`] only when everything in it is right; the rest of the
//! host never sees a definition that it would have to doubt.

mod calendars;
mod chains;
mod decode;
mod definition;
mod diagnostic;
mod digest;
mod document;
mod execution;
pub mod grants;
mod keys;
mod limits;
mod made;
pub mod manifest;
pub mod schema;
mod scope;
mod syntax;
#[cfg(test)]
mod tests;
mod trigger;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use calendars::ReadFile;
pub use chains::Circles;
pub use diagnostic::{Diagnostic, MAX_SOURCE_BYTES, Rows, Severity, SourceText};
pub use digest::DefinitionDigest;
pub use execution::{Coalesce, Failure, Failures, Group, OnLost, Overlap, Policies, RetryPolicy};
pub use grants::{
    Access, DirGrant, EnvValue, Grants, HttpGrant, OnRemoval, ScheduleGrant, SocketGrant,
    StateQuota, check_env_name, check_secret_name,
};
pub use made::{MadeBy, OwnDefinition};
pub use manifest::Manifest;
pub use scope::Scope;

use crate::trigger::Trigger;

/// The id of a job: unique among all jobs of a host. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Arc<str>);

impl JobId {
    /// Makes an id of a text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        JobId(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.pad(&self.0)
    }
}

impl Borrow<str> for JobId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for JobId {
    fn from(text: &str) -> Self {
        JobId::new(text)
    }
}

impl Serialize for JobId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<JobId, D::Error> {
        String::deserialize(from).map(JobId::new)
    }
}

/// How the component of a job begins that is a function of the program that the host is part of.
pub const NATIVE: &str = "native:";

/// The name of the function that a component is; nothing if it is a plugin.
pub fn native_name(component: &str) -> Option<&str> {
    component.strip_prefix(NATIVE)
}

/// A definition as JSON for programs: one line, without comments and trailing commas.
///
/// # Errors
/// The first place at which it is not JSON.
pub fn plain_json(source: &Arc<SourceText>) -> Result<String, Box<Diagnostic>> {
    let document = document::parse(source)?;
    let mut json = String::with_capacity(source.text().len());
    document.root.write_json(source.text(), &mut json);
    Ok(json)
}

/// One job: what runs, when, with what, inside which limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Unique among all jobs of the host.
    pub id: JobId,
    /// What the author says about it, for people.
    pub description: Option<Box<str>>,
    /// The name of the file in the plugins directory, `hello.wasm`, or that of a function of the
    /// program that the host is part of, `native:hello`.
    pub component: Arc<str>,
    /// SHA-256 that the file must have; any will do if nothing is said.
    pub sha256: Option<[u8; 32]>,
    /// When it runs.
    pub trigger: Trigger,
    /// Whether it also runs as soon as it is added to the host.
    pub run_on_start: bool,
    /// Whether its trigger fires at all.
    pub enabled: bool,
    /// The author's version of the definition. A change of it is a change of the job, but so
    /// is any other.
    pub version: Option<u64>,
    /// The parameters, as JSON text.
    pub params: Option<Arc<str>>,
    /// Command-line arguments, after the program's name.
    pub args: Arc<[String]>,
    /// What ends a run.
    pub limits: Limits,
    /// What a run may touch.
    pub grants: Arc<Grants>,
    /// How many runs of the job may be in flight at once, at least 1.
    pub max_instances: u32,
    /// What becomes of firings and runs that do not go as planned.
    pub policies: Arc<Policies>,
    /// Whether a run's randomness and time come from its record, so that it can be run again
    /// just so.
    pub deterministic: bool,
    /// Where the definition stands. Not part of the job's identity: a job that moves within its
    /// file has not changed.
    pub origin: Origin,
}

impl Job {
    /// A job of nothing but a component: started by hand, with the default limits and no grants.
    pub fn by_hand(id: JobId, component: impl Into<Arc<str>>) -> Job {
        Job {
            id,
            description: None,
            component: component.into(),
            sha256: None,
            trigger: Trigger::Manual,
            run_on_start: false,
            enabled: true,
            version: None,
            params: None,
            args: Arc::default(),
            limits: Limits::DEFAULT,
            grants: Grants::none(),
            max_instances: 1,
            policies: Arc::default(),
            deterministic: false,
            origin: Origin::default(),
        }
    }

    /// The name of the function that it is; nothing if it is a plugin.
    pub fn native(&self) -> Option<&str> {
        native_name(&self.component)
    }

    /// The same job with parameters that are given for one run of it, a JSON value.
    #[must_use]
    pub fn with_params(&self, params: &str) -> Job {
        let mut job = self.clone();
        // Line breaks between its parts mean nothing, and records are lines.
        job.params = Some(params.trim().replace(['\n', '\r'], " ").into());
        job.origin.params_given = true;
        job
    }

    /// The parameters, if they are not those of the definition but were given for a run.
    pub fn given_params(&self) -> Option<&Arc<str>> {
        self.params.as_ref().filter(|_| self.origin.params_given)
    }
}

/// Where a definition comes from.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The file as the operator named it; empty for a job from the command line.
    pub file: Arc<str>,
    /// The line of the job's definition, counted from 1.
    pub line: u32,
    /// The line of each limit that the definition sets (its own or the file's defaults), in the
    /// order timeout, fuel, memory, output, log_rate, handles; 0 where the host's default
    /// holds.
    pub limit_lines: [u32; 6],
    /// What the definition says; nothing for a job from the command line.
    pub definition: Option<DefinitionDigest>,
    /// Whether the parameters are not from there, but given for one run.
    pub params_given: bool,
    /// The job that made it, if it was not a person.
    pub creator: Option<JobId>,
}

impl PartialEq for Origin {
    /// Always equal: see [`Job::origin`].
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}:{}", self.file, self.line)?;
        match &self.creator {
            Some(creator) => write!(to, " (by {creator})"),
            None => Ok(()),
        }
    }
}

/// What ends a run, each measured for every attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Wall-clock time, from the start of the attempt.
    pub timeout: Duration,
    /// Fuel: about one unit for each instruction executed. [`Limits::UNLIMITED_FUEL`] for none.
    pub fuel: u64,
    /// Bytes of linear memory, all memories together, and tables.
    pub memory: u64,
    /// Bytes kept of the output, and as many of the log. More is counted and dropped.
    pub output: u64,
    /// Bytes of log that a run may write in a second, and at once. More is counted and dropped.
    pub log_rate: u64,
    /// Open files, sockets, streams, timers and other things of the host that a run may hold at
    /// once.
    pub handles: u32,
}

impl Limits {
    /// Fuel without a limit. It is still measured.
    pub const UNLIMITED_FUEL: u64 = u64::MAX;

    /// What holds where neither a job nor its file says otherwise.
    pub const DEFAULT: Limits = Limits {
        timeout: Duration::from_secs(60),
        fuel: 1_000_000_000_000,
        memory: 64 << 20,
        output: 1 << 20,
        log_rate: 1 << 20,
        handles: 256,
    };

    /// The most that any job may ask for, where the operator does not lower it.
    pub const MAXIMUM: Limits = Limits {
        timeout: Duration::from_secs(24 * 60 * 60),
        fuel: Limits::UNLIMITED_FUEL,
        memory: 4 << 30,
        output: 64 << 20,
        log_rate: 64 << 20,
        handles: 4096,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}
