//! A log as it grows: what is there, and then what comes, until the run has ended.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use super::super::history::Past;
use super::super::output::{harmless, status_word};
use super::{Logs, Out, line};
use crate::cli::Refusal;
use crate::log::{LogQuery, LoggedLine};
use crate::record::{Detail, Kind, RunQuery, RunRecord, Status};
use crate::units::{format_duration, format_size};

/// How often it is looked for more.
pub(super) const EVERY: Duration = Duration::from_millis(200);

/// How often it is looked once more for the lines of a run that has ended: they are written apart
/// from its record, and may come later.
const AFTER_END: u32 = 5;

/// The same, for one of which no line is known.
const AFTER_SILENCE: u32 = 2;

/// How many runs of a job are looked at for the one that comes next.
const NEWEST: usize = 100;

impl Logs {
    /// Tells of a run until it has ended; of a job, of its runs one after the other.
    pub(super) fn follow(
        &self,
        past: &Past,
        record: RunRecord,
        is_job: bool,
        query: &LogQuery,
        out: &mut Out<'_>,
        pause: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<(), Refusal> {
        let mut record = record;
        loop {
            if is_job && !self.json {
                (out.say)(&format!("run {}, {}:", record.id, out.view.shown(&record)));
            }
            if self
                .follow_one(past, &record, query, out, pause)?
                .is_break()
                || !is_job
            {
                return Ok(());
            }
            record = loop {
                let mut newer = RunQuery::newest(NEWEST)
                    .of(&record.job)
                    .only(Kind::finished().chain([Kind::Running]));
                newer.since = Some(record.recorded_at);
                let newer = past.history.runs(newer).map_err(Refusal::failure)?;
                // The oldest that is newer.
                let next = newer.into_iter().rev().find(|it| it.id > record.id);
                if let Some(next) = next {
                    break next;
                }
                if pause().is_break() {
                    return Ok(());
                }
            };
        }
    }

    fn follow_one(
        &self,
        past: &Past,
        record: &RunRecord,
        query: &LogQuery,
        out: &mut Out<'_>,
        pause: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Refusal> {
        let mut query = LogQuery {
            run: Some(record.id),
            ..query.clone()
        };
        // Only the first lot is cut to its end.
        let mut last = VecDeque::new();
        let mut first = true;
        let mut looked = 0;
        loop {
            // Asked first: what is read after it is all that there will be.
            let is_written = past.history.is_written();
            let now = past.history.run(record.id, Detail::Logs);
            let now = now.map_err(Refusal::failure)?;
            let Some(now) = now else {
                (out.say)(&format!("the record of run {} is gone", record.id));
                return Ok(ControlFlow::Continue(()));
            };
            let mut failed = None;
            let told = past
                .history
                .lines(&query.clone(), &mut |logged: LoggedLine| {
                    query.after = Some((logged.attempt, logged.line.number));
                    let written = if first {
                        self.take(logged, &mut last, out)
                    } else {
                        self.write(&logged, out)
                    };
                    match written {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(error) => {
                            failed = Some(error);
                            ControlFlow::Break(())
                        }
                    }
                });
            if let Some(error) = failed {
                return Err(error.into());
            }
            told.map_err(Refusal::failure)?;
            self.finish(std::mem::take(&mut last), out)?;
            out.to.flush()?;
            first = false;
            if now.status.is_final() {
                looked += 1;
                let logs = past.history.logs(record.id).map_err(Refusal::failure)?;
                let of_last = (logs.iter())
                    .find(|log| Some(log.attempt) == now.attempt().map(|it| it.number));
                let is_all = match of_last {
                    Some(log) => log.ended || looked > AFTER_END,
                    None => looked > AFTER_SILENCE,
                };
                if is_all && logs.is_empty() && has_log(&now) {
                    // Its lines are not there, or never were: as without following.
                    self.one(past, &now, &query, out)?;
                }
                if is_all {
                    for log in logs.iter().filter(|log| log.dropped > 0) {
                        if self.json {
                            line::write_dropped(&now, log.attempt, log.dropped, out.to)?;
                        } else {
                            (out.say)(&format!(
                                "{} of the log of attempt {} did not fit its limit and were not kept",
                                format_size(log.dropped),
                                log.attempt
                            ));
                        }
                    }
                    out.to.flush()?;
                    (out.say)(&closing(&now));
                    return Ok(ControlFlow::Continue(()));
                }
            }
            if !now.status.is_final() && !is_written {
                (out.say)(&format!(
                    "run {} has no end, and no host is at work: the next one says what became of it",
                    record.id
                ));
                return Ok(ControlFlow::Break(()));
            }
            if pause().is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
}

/// Whether something of the log of a run is in its record.
fn has_log(record: &RunRecord) -> bool {
    let ends = record.attempts.iter().filter_map(|it| it.end.as_ref());
    ends.into_iter().any(|end| !end.execution.log.is_empty())
}

/// How a run has ended, in a line.
fn closing(record: &RunRecord) -> String {
    let (word, _) = status_word(&record.status);
    let id = record.id;
    let reason = match &record.status {
        Status::Skipped(reason) => Some(reason.to_string()),
        _ => record.execution().and_then(|it| it.error.clone()),
    };
    let took = (record.started_at().zip(record.finished_at()))
        .and_then(|(start, end)| (end - start).to_std().ok())
        .map(|took| format!(" after {}", format_duration(took)))
        .unwrap_or_default();
    match reason {
        Some(reason) => format!("run {id}: {word}{took}: {}", harmless(&reason)),
        None => format!("run {id}: {word}{took}"),
    }
}
