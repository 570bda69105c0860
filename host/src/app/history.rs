//! What is past, as the command line asks for it: of a host that runs as of one that has stopped.
//!
//! ```text
//! data directory ──open──▶ History ──▶ runs, show, logs, jobs, stats, rerun
//! ```
//!
//! Nothing here writes.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use crate::clock::Timestamp;
use crate::job::JobId;
use crate::log::{LogQuery, LogSummary};
use crate::record::Delivery;
use crate::record::{
    Detail, JobChange, JobStats, JobSummary, Pause, RunPattern, RunQuery, RunRecord,
};
use crate::run::RunId;
use crate::store::StoreError;
use crate::store::logs::EachLine;
use crate::store::sqlite::{FILE, LogReader, OpenError, Reader};

/// The records that a host has left, or is leaving while they are read.
pub trait History {
    /// Records, the newest first. Outputs, logs, and all attempts but the last may be left out.
    ///
    /// # Errors
    /// It cannot be read.
    fn runs(&self, query: RunQuery) -> Result<Vec<RunRecord>, StoreError>;

    /// One record with all of its attempts; nothing if there is none. What they left behind may be
    /// large, and is there as far as it is wanted.
    ///
    /// # Errors
    /// It cannot be read.
    fn run(&self, id: RunId, detail: Detail) -> Result<Option<RunRecord>, StoreError>;

    /// The ids of the records that are meant by a part of an id, the newest first, at most
    /// [`CANDIDATES`] of them.
    ///
    /// # Errors
    /// It cannot be read.
    fn find_run(&self, pattern: &RunPattern) -> Result<Vec<RunId>, StoreError>;

    /// How each job stands that is in service or has records, in the order of their ids.
    ///
    /// # Errors
    /// It cannot be read.
    fn jobs(&self) -> Result<Vec<JobSummary>, StoreError>;

    /// What has become of the definition of a job, the newest change first.
    ///
    /// # Errors
    /// It cannot be read.
    fn changes(&self, job: &JobId) -> Result<Vec<JobChange>, StoreError>;

    /// What is still to be sent to hooks, in the order of the events, and what was given up, the
    /// newest first.
    ///
    /// # Errors
    /// It cannot be read.
    fn deliveries(&self) -> Result<(Vec<Delivery>, Vec<Delivery>), StoreError>;

    /// What is paused, the widest first.
    ///
    /// # Errors
    /// It cannot be read.
    fn pauses(&self) -> Result<Vec<Pause>, StoreError>;

    /// How the runs of each job have been that were recorded at this instant or later, in the
    /// order of their ids: as a [`Tally`](crate::record::Tally) of them counts.
    ///
    /// # Errors
    /// It cannot be read.
    fn stats(&self, since: Option<Timestamp>) -> Result<Vec<JobStats>, StoreError>;

    /// Whether a host is at work, so that what has not ended may go on.
    fn is_written(&self) -> bool;

    /// Tells of the lines of logs that are wanted, one after the other, until that is enough.
    ///
    /// # Errors
    /// They cannot be read; some may have been told of.
    fn lines(&self, query: &LogQuery, each: EachLine<'_>) -> Result<(), StoreError>;

    /// What is known of the logs of a run's attempts, as far as they have logged anything.
    ///
    /// # Errors
    /// It cannot be read.
    fn logs(&self, run: RunId) -> Result<Vec<LogSummary>, StoreError>;
}

/// How many ids [`History::find_run`] gives at most: enough to choose from.
pub const CANDIDATES: usize = 100;

/// Why there is no history to look at.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// No host has kept one there.
    #[error(
        "there is no history in {data}: a host makes one with `quarterjack serve --data {data}`"
    )]
    Missing {
        /// The directory.
        data: PathBuf,
    },
    /// It is not a directory.
    #[error("{data} is a file: name the directory that it is in, --data {parent}")]
    NoDirectory {
        /// What was to be the directory.
        data: PathBuf,
        /// The directory that it is in.
        parent: PathBuf,
    },
    /// It cannot be looked at.
    #[error("cannot look into {data}: {error}")]
    Unreadable {
        /// The directory.
        data: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is there, but does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Opens the history in a data directory, to read it. A host may be writing it meanwhile.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn open_history(data: &Path) -> Result<Box<dyn History>, HistoryError> {
    let database = data.join(FILE);
    match std::fs::metadata(&database) {
        Ok(found) if found.is_file() => Ok(Box::new(Kept {
            records: Reader::open(data)?,
            data: data.to_owned(),
            lines: OnceCell::new(),
        })),
        Ok(_) => Err(HistoryError::Missing {
            data: data.to_owned(),
        }),
        Err(_) if data.is_file() => Err(HistoryError::NoDirectory {
            parent: match data.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                _ => PathBuf::from("."),
            },
            data: data.to_owned(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(HistoryError::Missing {
            data: data.to_owned(),
        }),
        Err(error) => Err(HistoryError::Unreadable {
            data: data.to_owned(),
            error,
        }),
    }
}

/// The records and the lines in a data directory.
struct Kept {
    records: Reader,
    data: PathBuf,
    /// Opened when they are asked for: what is wrong with them is not in the way of others.
    lines: OnceCell<LogReader>,
}

impl Kept {
    fn open_lines(&self) -> Result<&LogReader, StoreError> {
        if let Some(lines) = self.lines.get() {
            return Ok(lines);
        }
        let opened = LogReader::open(&self.data).map_err(|error| StoreError::Read {
            what: "the logs",
            why: error.to_string(),
        })?;
        Ok(self.lines.get_or_init(|| opened))
    }
}

impl History for Kept {
    fn runs(&self, query: RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        self.records.runs(&query)
    }

    fn run(&self, id: RunId, detail: Detail) -> Result<Option<RunRecord>, StoreError> {
        self.records.run(id, detail)
    }

    fn find_run(&self, pattern: &RunPattern) -> Result<Vec<RunId>, StoreError> {
        self.records.find_run(pattern, CANDIDATES)
    }

    fn jobs(&self) -> Result<Vec<JobSummary>, StoreError> {
        self.records.jobs()
    }

    fn changes(&self, job: &JobId) -> Result<Vec<JobChange>, StoreError> {
        self.records.changes(job)
    }

    fn deliveries(&self) -> Result<(Vec<Delivery>, Vec<Delivery>), StoreError> {
        self.records.deliveries()
    }

    fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        self.records.pauses()
    }

    fn stats(&self, since: Option<Timestamp>) -> Result<Vec<JobStats>, StoreError> {
        self.records.stats(since)
    }

    fn is_written(&self) -> bool {
        self.records.is_written()
    }

    fn lines(&self, query: &LogQuery, each: EachLine<'_>) -> Result<(), StoreError> {
        self.open_lines()?.lines(query, each)
    }

    fn logs(&self, run: RunId) -> Result<Vec<LogSummary>, StoreError> {
        self.open_lines()?.summaries(run)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::job::Scope;
    use crate::record::{LastRun, Status, Tally, is_failure};
    use crate::run::Outcome;
    use crate::store::{LogStore, MemoryLogs};

    /// A history of records in memory, in any order.
    #[derive(Debug, Default)]
    pub(crate) struct MemoryHistory {
        pub(crate) records: Vec<RunRecord>,
        /// The jobs in service, and when they are due next.
        pub(crate) in_service: Vec<(JobId, Option<Timestamp>)>,
        pub(crate) paused: Vec<JobId>,
        pub(crate) changes: Vec<JobChange>,
        pub(crate) waiting: Vec<Delivery>,
        pub(crate) given_up: Vec<Delivery>,
        pub(crate) lines: MemoryLogs,
    }

    impl MemoryHistory {
        pub(crate) fn of(mut records: Vec<RunRecord>) -> MemoryHistory {
            records.sort_by_key(|record| std::cmp::Reverse(record.id));
            MemoryHistory {
                records,
                ..MemoryHistory::default()
            }
        }

        fn summary(&self, id: &JobId) -> JobSummary {
            let of_job = || self.records.iter().filter(|record| record.job == *id);
            let ended = || {
                of_job().filter_map(|record| match record.status {
                    Status::Finished(outcome) => Some((record, outcome)),
                    _ => None,
                })
            };
            let service = self.in_service.iter().find(|(job, _)| job == id);
            JobSummary {
                id: id.clone(),
                in_service: service.is_some(),
                paused: self.paused.contains(id),
                last_run: of_job().next().map(LastRun::of),
                last_success: ended()
                    .filter(|(_, outcome)| *outcome == Outcome::Succeeded)
                    .find_map(|(record, _)| record.finished_at()),
                next: service.and_then(|(_, next)| *next),
                failures: ended()
                    .take_while(|(_, outcome)| *outcome != Outcome::Succeeded)
                    .filter(|(_, outcome)| is_failure(*outcome))
                    .count() as u64,
            }
        }
    }

    impl History for MemoryHistory {
        fn runs(&self, query: RunQuery) -> Result<Vec<RunRecord>, StoreError> {
            let wanted = self.records.iter().filter(|record| query.wants(record));
            Ok(wanted.take(query.limit).cloned().collect())
        }

        fn run(&self, id: RunId, _: Detail) -> Result<Option<RunRecord>, StoreError> {
            Ok(self.records.iter().find(|record| record.id == id).cloned())
        }

        fn find_run(&self, pattern: &RunPattern) -> Result<Vec<RunId>, StoreError> {
            let ids = self.records.iter().map(|record| record.id);
            Ok(ids
                .filter(|id| pattern.matches(*id))
                .take(CANDIDATES)
                .collect())
        }

        fn jobs(&self) -> Result<Vec<JobSummary>, StoreError> {
            let mut ids: Vec<JobId> = (self.records.iter().map(|record| record.job.clone()))
                .chain(self.in_service.iter().map(|(id, _)| id.clone()))
                .collect();
            ids.sort();
            ids.dedup();
            Ok(ids.iter().map(|id| self.summary(id)).collect())
        }

        fn changes(&self, job: &JobId) -> Result<Vec<JobChange>, StoreError> {
            let of_job = self.changes.iter().filter(|change| change.job == *job);
            Ok(of_job.cloned().collect())
        }

        fn deliveries(&self) -> Result<(Vec<Delivery>, Vec<Delivery>), StoreError> {
            Ok((self.waiting.clone(), self.given_up.clone()))
        }

        fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
            let jobs = self.paused.iter().cloned();
            let pause = |job| Pause {
                scope: Scope::Job(job),
                since: Timestamp::UNIX_EPOCH,
            };
            Ok(jobs.map(pause).collect())
        }

        fn stats(&self, since: Option<Timestamp>) -> Result<Vec<JobStats>, StoreError> {
            let mut tally = Tally::default();
            self.records
                .iter()
                .filter(|record| since.is_none_or(|since| record.recorded_at >= since))
                .for_each(|record| tally.count(record));
            Ok(tally.stats())
        }

        fn is_written(&self) -> bool {
            true
        }

        fn lines(&self, query: &LogQuery, each: EachLine<'_>) -> Result<(), StoreError> {
            LogStore::lines(&self.lines, query, each)
        }

        fn logs(&self, run: RunId) -> Result<Vec<LogSummary>, StoreError> {
            self.lines.summaries(run)
        }
    }

    fn refused(data: &Path) -> String {
        match open_history(data) {
            Ok(_) => panic!("there is no history in {}", data.display()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn where_there_is_no_history_it_is_said_what_makes_one() {
        let dir = tempfile::tempdir().unwrap();
        let said = |path: &Path| refused(path).replace(&dir.path().display().to_string(), "DIR");
        insta::assert_snapshot!(said(dir.path()), @"there is no history in DIR: a host makes one with `quarterjack serve --data DIR`");
        assert_eq!(
            said(&dir.path().join("no")),
            said(dir.path()).replace("DIR", "DIR/no")
        );
        let file = dir.path().join("quarterjack.db");
        std::fs::create_dir(&file).unwrap();
        assert!(said(dir.path()).starts_with("there is no history in DIR"));
        std::fs::remove_dir(&file).unwrap();
        std::fs::write(&file, b"").unwrap();
        assert_eq!(
            said(&file),
            "DIR/quarterjack.db is a file: name the directory that it is in, --data DIR"
        );
    }
}
