//! The table of jobs that `serve` opens with, the next to fire first.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use chrono::Timelike as _;

use crate::cli::output::human::HumanOptions;
use crate::cli::output::{Tone, Viewer, ahead, cut, harmless};
use crate::clock::Timestamp;
use crate::job::{Job, JobId};
use crate::trigger::Trigger;

/// Columns that a job's id takes at most, here and in the lines below the table.
pub(super) const NAME_WIDTH: usize = 24;

/// Columns that a trigger takes at most.
const WHEN_WIDTH: usize = 44;

/// More jobs than this are not listed one by one.
const LIST_MAX: usize = 50;

/// How many jobs are listed if there are more than [`LIST_MAX`].
const LIST_FIRST: usize = 20;

/// Jobs and when they fire next.
#[derive(Debug, Default)]
pub(super) struct JobTable {
    rows: Vec<Row>,
    places: HashMap<JobId, usize>,
}

#[derive(Debug)]
struct Row {
    job: Arc<Job>,
    next: Option<Timestamp>,
}

impl JobTable {
    /// How many jobs there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds a job, or replaces the one with its id.
    pub(super) fn set(&mut self, job: &Arc<Job>, next: Option<Timestamp>) {
        let row = Row {
            job: job.clone(),
            next,
        };
        match self.places.get(&job.id) {
            Some(&place) => {
                if let Some(old) = self.rows.get_mut(place) {
                    *old = row;
                }
            }
            None => {
                self.places.insert(job.id.clone(), self.rows.len());
                self.rows.push(row);
            }
        }
    }

    /// Takes a job out.
    pub(super) fn remove(&mut self, id: &JobId) {
        if let Some(place) = self.places.remove(id) {
            self.rows.remove(place);
            for later in self.places.values_mut().filter(|later| **later > place) {
                *later -= 1;
            }
        }
    }

    /// Writes the table as it stands at `now`.
    pub(super) fn write(
        mut self,
        now: Timestamp,
        options: &HumanOptions,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        if self.rows.is_empty() {
            return writeln!(
                to,
                "  no jobs yet: they appear here as soon as a job file has some"
            );
        }
        // Jobs without a next instant come last; equal instants keep the file's order.
        self.rows.sort_by_key(|row| (row.next.is_none(), row.next));
        let shown = if self.rows.len() > LIST_MAX {
            LIST_FIRST
        } else {
            self.rows.len()
        };
        let lines: Vec<[String; 5]> = self
            .rows
            .iter()
            .take(shown)
            .map(|row| row.cells(now, &options.viewer))
            .collect();
        let mut widths = ["NEXT", "JOB", "WHEN", "COMPONENT", ""].map(str::len);
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let header = ["NEXT", "JOB", "WHEN", "COMPONENT", ""].map(str::to_owned);
        let header = layout(&header, &widths, options.width);
        writeln!(to, "{}", options.paint.paint(Tone::Dim, header))?;
        for line in &lines {
            writeln!(to, "{}", layout(line, &widths, options.width))?;
        }
        match self.rows.len() - shown {
            0 => Ok(()),
            more => writeln!(
                to,
                "  … and {more} more jobs; `quarterjack next JOB` says when one of them fires"
            ),
        }
    }
}

impl Row {
    fn cells(&self, now: Timestamp, viewer: &Viewer) -> [String; 5] {
        let job = &self.job;
        let next = match self.next {
            Some(next) => ahead(now, next),
            None if !job.enabled => "disabled".to_owned(),
            None if matches!(job.trigger, Trigger::Manual) => "on demand".to_owned(),
            None if !job.trigger.upstreams().is_empty() => "in turn".to_owned(),
            None if job.trigger.fires_at_start() => "at start".to_owned(),
            None => "never".to_owned(),
        };
        let elsewhere = job.trigger.zone().filter(|zone| !viewer.is_at(zone.name()));
        let mut when = cut(&job.trigger.to_string(), WHEN_WIDTH);
        if let Some(zone) = elsewhere {
            when = format!("{when}  {}", zone.name());
        }
        let mut notes = Vec::new();
        if let (Some(zone), Some(next)) = (elsewhere, self.next) {
            let (wall, _) = zone.to_wall(next);
            let seconds = if wall.second() == 0 {
                "%H:%M"
            } else {
                "%H:%M:%S"
            };
            notes.push(format!("({} there)", wall.format(seconds)));
        }
        notes.extend(job.trigger.never_fires());
        notes.extend(job.description.as_deref().map(harmless));
        [
            next,
            cut(&harmless(job.id.as_str()), NAME_WIDTH),
            when,
            harmless(&job.component),
            notes.join("  "),
        ]
    }
}

fn layout(cells: &[String; 5], widths: &[usize; 5], room: usize) -> String {
    let mut line = String::from(" ");
    for (cell, width) in cells.iter().zip(widths) {
        line.push_str(&format!(" {cell:width$} "));
    }
    cut(line.trim_end(), room)
}
