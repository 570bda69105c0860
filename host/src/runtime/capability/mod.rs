//! What a run can ask of the host beside plain WASI: one file for each interface.
//!
//! Everything is linked for every guest. What is behind an interface is decided when it is called,
//! by the grants of the job: what is not granted answers with an error that says so, and is told
//! in the run's log and in the host's events, with the line that would open the door.

pub(super) mod filesystem;
pub mod keyvalue;
pub mod secrets;

pub mod resolve;

mod config;
mod control;
mod http;
mod log;
mod logging;
mod reports;
mod schedule;
mod sockets;
mod state;

use std::sync::Arc;
use std::time::{Duration, Instant};

use filesystem::Directories;
use wasmtime::component::{HasSelf, Linker};

use super::CANCEL_GRACE;
use super::bindings::portable::wasi as portable;
use super::bindings::quarterjack::job as own;
use super::guest::{CappedPipe, GuestState};
use super::redaction::clean;
use crate::clock;
use crate::control::MadeJobs;
use crate::dispatcher::{CancelReason, Session};
use crate::job::Grants;
use crate::job::grants::Need;
use crate::policy::Current;
use crate::run::{Attempt, Denial, Denials, LogEntry, Progress};
use crate::secret::Redactor;
use crate::state::Changes;
use reports::Reports;
use resolve::{Lookups, Network};

pub(super) use http::context as http_context;
#[cfg(feature = "wasi-03")]
pub(super) use sockets::p3 as sockets_03;
pub(super) use sockets::{Peers, allow as allow_sockets};

use secrets::Secrets;

/// Links every interface of this module.
///
/// # Errors
/// If the linker knows one already.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    fn same(state: &mut GuestState) -> &mut GuestState {
        state
    }
    type Own = HasSelf<GuestState>;
    own::types::add_to_linker::<_, Own>(linker, same)?;
    own::state::add_to_linker::<_, Own>(linker, same)?;
    own::secrets::add_to_linker::<_, Own>(linker, same)?;
    own::log::add_to_linker::<_, Own>(linker, same)?;
    own::schedule::add_to_linker::<_, Own>(linker, same)?;
    own::control::add_to_linker::<_, Own>(linker, same)?;
    portable::config::store::add_to_linker::<_, Own>(linker, same)?;
    portable::keyvalue::store::add_to_linker::<_, Own>(linker, same)?;
    portable::keyvalue::atomics::add_to_linker::<_, Own>(linker, same)?;
    portable::keyvalue::batch::add_to_linker::<_, Own>(linker, same)?;
    portable::logging::logging::add_to_linker::<_, Own>(linker, same)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    // Last: it takes the place of some of the library's own.
    sockets::add_to_linker(linker)?;
    filesystem::add_to_linker(linker)?;
    Ok(())
}

impl own::types::Host for GuestState {}

/// What the host keeps for one run to serve what it asks.
pub(super) struct Desk {
    pub(super) attempt: Attempt,
    pub(super) session: Session,
    started: Instant,
    log: Option<CappedPipe>,
    /// What the operator allows, for the text of a denial.
    policy: Option<Current>,
    /// Whether the guest can ask if it is to end.
    cooperates: bool,
    /// The secrets that it is granted.
    secrets: Secrets,
    /// When it was first seen that the run is to end.
    asked: Option<Instant>,
    denials: Denials,
    entries: Vec<LogEntry>,
    progress: Option<Progress>,
    progress_told: Option<Instant>,
    /// What it has seen and changed of its state, once it has asked.
    state: Option<Changes>,
    network: Arc<Network>,
    /// Its lookups of names, once it has made one.
    lookups: Option<Lookups>,
    /// How many HTTP requests it has sent.
    requests: u32,
    /// Whom its sockets may talk to, if it may have sockets.
    peers: Option<Arc<Peers>>,
    /// Where its tasks leave word, once there is one.
    reports: Option<Reports>,
    /// The directories that it sees.
    pub(super) directories: Directories,
    /// The jobs that it makes, where a host keeps such.
    made: Option<MadeJobs>,
    /// How often it has asked for them.
    schedule_calls: schedule::Calls,
}

/// What is left on a desk when the run is over.
pub(super) struct Left {
    pub(super) denials: Denials,
    pub(super) entries: Vec<LogEntry>,
    pub(super) progress: Option<Progress>,
    pub(super) state: Option<Changes>,
    pub(super) redactor: Option<Arc<Redactor>>,
}

/// What a desk has besides the run and a way to the network.
#[derive(Default)]
pub(super) struct Equipment {
    /// Its log, if it can say anything.
    pub(super) log: Option<CappedPipe>,
    /// What the operator allows, for the text of a denial.
    pub(super) policy: Option<Current>,
    /// Whether the guest can ask if it is to end.
    pub(super) cooperates: bool,
    /// The secrets that it is granted.
    pub(super) secrets: Secrets,
    /// Whom its sockets may talk to, if it may have sockets.
    pub(super) peers: Option<Arc<Peers>>,
    /// The directories that it sees.
    pub(super) directories: Directories,
    /// The jobs that it makes, where a host keeps such.
    pub(super) made: Option<MadeJobs>,
}

impl Desk {
    /// The desk of an attempt that started so.
    pub(super) fn new(
        attempt: Attempt,
        session: Session,
        network: Arc<Network>,
        given: Equipment,
        started: Instant,
    ) -> Self {
        Desk {
            attempt,
            session,
            started,
            log: given.log,
            policy: given.policy,
            cooperates: given.cooperates,
            secrets: given.secrets,
            asked: None,
            denials: Denials::default(),
            entries: Vec::new(),
            progress: None,
            progress_told: None,
            state: None,
            network,
            lookups: None,
            requests: 0,
            reports: given.peers.as_ref().map(|peers| peers.reports.clone()),
            peers: given.peers,
            directories: given.directories,
            made: given.made,
            schedule_calls: schedule::Calls::default(),
        }
    }

    /// Clears the desk.
    pub(super) fn leave(&mut self) -> Left {
        self.collect();
        self.tell_of_quotas();
        Left {
            denials: std::mem::take(&mut self.denials),
            entries: std::mem::take(&mut self.entries),
            progress: self.progress.take(),
            state: self.state.take().filter(|changes| !changes.is_empty()),
            redactor: self.secrets.redactor().cloned(),
        }
    }

    /// What the job is granted.
    fn grants(&self) -> &Grants {
        &self.attempt.run.job.grants
    }

    /// The lookups of names of this run.
    fn lookups(&mut self) -> Lookups {
        self.lookups
            .get_or_insert_with(|| Lookups::new(self.network.clone()))
            .clone()
    }

    /// How long the attempt has been going on.
    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Notes that the run wanted `what` and has no grant for it. Gives the words in which a guest
    /// is told.
    pub(super) fn deny(&mut self, what: impl Into<String>, need: &Need) -> String {
        self.refuse(Denial {
            what: what.into(),
            grant: Some(need.grant()),
            ceiling: self.ceiling(need),
        })
    }

    /// What the operator's ceiling has to say of a need.
    fn ceiling(&self, need: &Need) -> Option<String> {
        let policy = self.policy.as_ref()?.get();
        let job = &self.attempt.run.job.id;
        policy.ceiling_for(job).verdict(need).text()
    }

    /// Notes a denial: in the log, in the host's events and in the count.
    pub(super) fn refuse(&mut self, denial: Denial) -> String {
        // What it wanted, and so what would grant it, are the guest's words.
        let denial = Denial {
            what: self.redacted(denial.what),
            grant: denial.grant.map(|grant| self.redacted(grant)),
            ..denial
        };
        let text = denial.to_string();
        if self.denials.add(&denial) {
            self.print(&text);
            self.session.notices.denied(denial);
        }
        text
    }

    /// Why a guest that computes is to be ended now; nothing while it may go on.
    pub(super) fn end_now(&mut self) -> Option<CancelReason> {
        let reason = self.session.cancel.reason()?;
        if !self.cooperates {
            return Some(reason);
        }
        let asked = self.asked.get_or_insert_with(clock::monotonic);
        (asked.elapsed() >= CANCEL_GRACE).then_some(reason)
    }

    /// A text without the secrets of the run.
    fn redacted(&self, text: String) -> String {
        match self.secrets.redactor() {
            Some(redactor) => clean(redactor, text),
            None => text,
        }
    }

    /// Adds a line to the log.
    fn print(&self, line: &str) {
        if let Some(log) = &self.log {
            log.line(line);
        }
    }
}
