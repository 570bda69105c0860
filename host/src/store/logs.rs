//! Where the lines of runs are kept, apart from the runs: what a store of logs promises, and the
//! one of a host that keeps nothing.
//!
//! Every such store passes the suite in `conformance`.

#[cfg(test)]
pub mod conformance;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use parking_lot::Mutex;

use super::{BoxFuture, StoreError};
use crate::job::JobId;
use crate::log::{LogBatch, LogLine, LogQuery, LogSink, LogSummary, LoggedLine};
use crate::run::RunId;

/// Told of one line after the other, until it has seen enough.
pub type EachLine<'a> = &'a mut dyn FnMut(LoggedLine) -> ControlFlow<()>;

/// Where the lines of runs are kept. A line that comes twice, by its run, attempt and number, is
/// kept once.
pub trait LogStore: LogSink {
    /// Tells of the lines that are wanted, those that have been appended before this among them as
    /// far as they were not lost. Blocks.
    ///
    /// # Errors
    /// They cannot be read; some may have been told of.
    fn lines(&self, query: &LogQuery, each: EachLine<'_>) -> Result<(), StoreError>;

    /// What is known of the logs of a run's attempts, as far as they have logged anything. Blocks.
    ///
    /// # Errors
    /// It cannot be read.
    fn summaries(&self, run: RunId) -> Result<Vec<LogSummary>, StoreError>;

    /// Removes all lines of some runs. It is done once this has answered.
    ///
    /// # Errors
    /// Some may be there still.
    fn remove(&self, runs: Vec<RunId>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Removes all lines of the runs that are older than this one: of those there are no records.
    ///
    /// # Errors
    /// Some may be there still.
    fn remove_before(&self, run: RunId) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// How many bytes of lines a [`MemoryLogs`] keeps.
const MEMORY: u64 = 32 << 20;

/// Lines in memory, those of the newest runs. Nothing outlives the process.
#[derive(Debug)]
pub struct MemoryLogs {
    most: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    logs: BTreeMap<(RunId, u32), Log>,
    bytes: u64,
}

#[derive(Debug)]
struct Log {
    job: JobId,
    lines: BTreeMap<u64, LogLine>,
    dropped: u64,
    ended: bool,
}

impl Log {
    fn weight(&self) -> u64 {
        self.lines.values().map(LogLine::weight).sum()
    }
}

impl MemoryLogs {
    /// One that keeps about so many bytes.
    pub fn new(most: u64) -> MemoryLogs {
        MemoryLogs {
            most,
            kept: Mutex::default(),
        }
    }
}

impl Default for MemoryLogs {
    fn default() -> Self {
        MemoryLogs::new(MEMORY)
    }
}

impl Kept {
    fn remove(&mut self, keys: &[(RunId, u32)]) {
        for key in keys {
            if let Some(log) = self.logs.remove(key) {
                self.bytes -= log.weight();
            }
        }
    }
}

impl LogSink for MemoryLogs {
    fn append(&self, batch: LogBatch) {
        let mut kept = self.kept.lock();
        let kept = &mut *kept;
        let key = (batch.run, batch.attempt);
        let log = kept.logs.entry(key).or_insert_with(|| Log {
            job: batch.job,
            lines: BTreeMap::new(),
            dropped: 0,
            ended: false,
        });
        for line in batch.lines {
            if let std::collections::btree_map::Entry::Vacant(place) = log.lines.entry(line.number)
            {
                kept.bytes += line.weight();
                place.insert(line);
            }
        }
        log.dropped += batch.dropped;
        log.ended |= batch.ended;
        // The oldest make room; a log that is alone in being too large keeps its newest lines.
        while kept.bytes > self.most
            && let Some((oldest, log)) = kept.logs.iter_mut().find(|it| !it.1.lines.is_empty())
        {
            if *oldest == key {
                if let Some((_, line)) = log.lines.pop_first() {
                    kept.bytes -= line.weight();
                    log.dropped += line.text.len() as u64 + 1;
                }
            } else {
                let oldest = *oldest;
                kept.remove(&[oldest]);
            }
        }
    }
}

impl LogStore for MemoryLogs {
    fn lines(&self, query: &LogQuery, each: EachLine<'_>) -> Result<(), StoreError> {
        let mut found = Vec::new();
        for ((run, attempt), log) in &self.kept.lock().logs {
            let logged = log.lines.values().map(|line| LoggedLine {
                run: *run,
                job: log.job.clone(),
                attempt: *attempt,
                line: line.clone(),
            });
            found.extend(logged.filter(|line| query.wants(line)));
        }
        // Not under the lock: whoever is told may take its time.
        for line in found {
            if each(line).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn summaries(&self, run: RunId) -> Result<Vec<LogSummary>, StoreError> {
        let kept = self.kept.lock();
        let of_run = kept.logs.range((run, 0)..=(run, u32::MAX));
        Ok(of_run
            .map(|((_, attempt), log)| LogSummary {
                attempt: *attempt,
                dropped: log.dropped,
                ended: log.ended,
            })
            .collect())
    }

    fn remove(&self, runs: Vec<RunId>) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut kept = self.kept.lock();
        for run in runs {
            let of_run = kept.logs.range((run, 0)..=(run, u32::MAX));
            let keys: Vec<_> = of_run.map(|(key, _)| *key).collect();
            kept.remove(&keys);
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove_before(&self, run: RunId) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut kept = self.kept.lock();
        let keys: Vec<_> = kept.logs.range(..(run, 0)).map(|(key, _)| *key).collect();
        kept.remove(&keys);
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::conformance::{batch, read};
    use super::*;

    #[tokio::test]
    async fn it_conforms() {
        conformance::run(|| Box::new(MemoryLogs::default())).await;
    }

    #[test]
    fn the_oldest_lines_make_room() {
        let logs = MemoryLogs::new(400);
        logs.append(batch(1, "a", &["one", "two"]));
        logs.append(batch(2, "a", &["three", "four"]));
        assert_eq!(read(&logs, &LogQuery::default()).len(), 4);
        let many = ["five"; 30];
        logs.append(batch(3, "a", &many));
        let left = read(&logs, &LogQuery::default());
        assert!((1..8).contains(&left.len()), "{left:?}");
        assert!(left.iter().all(|line| line.ends_with("five")));
        let summaries = logs.summaries(RunId::from_u128(3)).unwrap();
        assert_eq!(summaries[0].dropped, (30 - left.len() as u64) * 5);
        assert!(logs.kept.lock().bytes <= 400);
    }
}
