//! The flags of `run` and `rerun` that say what a job is, on top of its definition.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::value::RawValue;

use super::grants::GrantFlags;
use crate::cli::Refusal;
use crate::cli::options::{
    fuel, handles_limit, log_rate_limit, memory_limit, output_limit, timeout_limit,
};
use crate::cli::output::summary::LimitFlags;
use crate::job::{Job, Limits};
use crate::policy::Policy;

/// What the command line says of a job.
#[derive(Debug, Args)]
pub(in crate::cli) struct JobFlags {
    /// The parameters
    #[arg(long, value_name = "JSON", value_parser = params)]
    params: Option<Arc<str>>,
    /// Ends the run after this time, such as 5s
    #[arg(long, value_name = "TIME", value_parser = timeout_limit)]
    timeout: Option<Duration>,
    /// Ends the run after this much fuel, such as 10M, or `unlimited`
    #[arg(long, value_name = "FUEL", value_parser = fuel)]
    fuel: Option<u64>,
    /// The most memory that the run may have, such as 64MiB
    #[arg(long, value_name = "SIZE", value_parser = memory_limit)]
    memory: Option<u64>,
    /// How much is kept of the output, and of the log, such as 1MiB
    #[arg(long, value_name = "SIZE", value_parser = output_limit)]
    output: Option<u64>,
    /// How much log it may write in a second, such as 64KiB
    #[arg(long, value_name = "SIZE", value_parser = log_rate_limit)]
    log_rate: Option<u64>,
    /// How many files, sockets, streams and timers it may hold at once
    #[arg(long, value_name = "N", value_parser = handles_limit)]
    handles: Option<u32>,
    /// Take randomness and time from the run's record
    #[arg(long)]
    deterministic: bool,
    /// Arguments for the guest
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
    #[command(flatten)]
    pub(super) grants: GrantFlags,
}

impl JobFlags {
    /// The job with what the flags say instead.
    ///
    /// # Errors
    /// Two directories at one place.
    pub(super) fn on_top_of(&self, mut job: Job) -> Result<Job, Refusal> {
        let limits = &mut job.limits;
        *limits = Limits {
            timeout: self.timeout.unwrap_or(limits.timeout),
            fuel: self.fuel.unwrap_or(limits.fuel),
            memory: self.memory.unwrap_or(limits.memory),
            output: self.output.unwrap_or(limits.output),
            log_rate: self.log_rate.unwrap_or(limits.log_rate),
            handles: self.handles.unwrap_or(limits.handles),
        };
        job.deterministic |= self.deterministic;
        if let Some(params) = &self.params {
            job = job.with_params(params);
        }
        if !self.args.is_empty() {
            job.args = self.args.clone().into();
        }
        if let Some(grants) = self.grants.on_top_of(&job.grants)? {
            job.grants = Arc::new(grants);
        }
        Ok(job)
    }

    /// The same, if the operator allows what the job then asks for.
    ///
    /// # Errors
    /// He does not, or as [`on_top_of`](JobFlags::on_top_of).
    pub(in crate::cli) fn under(&self, job: Job, policy: &Policy) -> Result<Job, Refusal> {
        let job = self.on_top_of(job)?;
        match &*policy.ceiling_for(&job.id).refusals(&job) {
            [] => Ok(job),
            refusals => {
                let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
                Err(Refusal::failure(lines.join("\n")))
            }
        }
    }

    /// Which limits they set.
    pub(in crate::cli) fn limits(&self) -> LimitFlags {
        [
            self.timeout.is_some(),
            self.fuel.is_some(),
            self.memory.is_some(),
        ]
    }
}

/// Reads `--params`: JSON, kept as it was written.
fn params(text: &str) -> Result<Arc<str>, String> {
    serde_json::from_str::<&RawValue>(text)
        .map(|json| json.get().into())
        .map_err(|error| format!("not JSON ({error}); write it like '{{\"name\": \"tower\"}}'"))
}
