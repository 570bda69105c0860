//! What becomes known of a run away from its desk: in the tasks that carry its requests, and
//! where its sockets' addresses are checked. The desk collects it at the run's next call.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Desk;
use crate::job::grants::Need;
use crate::run::Denial;

/// How much may wait to be collected. A run makes a call of the host for each of them, so that
/// this is never reached.
const MOST: usize = 1024;

/// Where tasks of a run leave word for its desk. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Reports {
    waiting: Arc<Mutex<Vec<Report>>>,
}

/// One word for the desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// The run wanted something that it has no grant for.
    Denied(String, Need),
    /// The run was refused something, with a grant or without.
    Refused(Denial),
    /// A line for the log.
    Line(String),
}

impl Reports {
    /// Leaves word.
    pub(super) fn leave(&self, report: Report) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < MOST {
            waiting.push(report);
        }
    }

    /// Leaves a line for the log.
    pub(super) fn line(&self, line: String) {
        self.leave(Report::Line(line));
    }

    /// Takes all that waits.
    pub(super) fn take(&self) -> Vec<Report> {
        std::mem::take(&mut *self.waiting.lock())
    }
}

impl Desk {
    /// Where tasks of this run leave word.
    pub(super) fn reports(&mut self) -> Reports {
        self.reports.get_or_insert_default().clone()
    }

    /// Tells what tasks of this run have left word of.
    pub(in crate::runtime) fn collect(&mut self) {
        let Some(reports) = &self.reports else { return };
        for report in reports.take() {
            match report {
                Report::Denied(what, need) => drop(self.deny(what, &need)),
                Report::Refused(mut denial) => {
                    denial.what = self.redacted(denial.what);
                    self.refuse(denial);
                }
                Report::Line(line) => self.print(&line),
            }
        }
    }
}
