//! `quarterjack:job/log`: entries with levels and fields in the run's log.

use super::Desk;
use crate::run::{Level, LogEntry};
use crate::runtime::bindings::quarterjack::job::log;
use crate::runtime::guest::GuestState;

impl Desk {
    /// Adds an entry: as a line of the log, and as what programs read, as far as the log has room
    /// for it.
    pub(super) fn log(&mut self, level: Level, message: String, fields: Vec<(String, String)>) {
        let redacted = |text| self.redacted(text);
        let fields = fields
            .into_iter()
            .map(|(name, value)| (redacted(name), redacted(value)));
        let entry = LogEntry {
            level,
            message: redacted(message),
            fields: fields.collect(),
            after: self.elapsed(),
        };
        let kept = self.log.as_ref().is_some_and(|log| log.entry(&entry));
        if kept {
            self.entries.push(entry);
        }
    }
}

impl log::Host for GuestState {
    fn log(
        &mut self,
        level: log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Trace => Level::Trace,
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.desk().log(level, message, fields);
        Ok(())
    }
}
