//! `wasi:logging`: the run's log, for portable components.

use crate::run::Level;
use crate::runtime::bindings::portable::wasi::logging::logging;
use crate::runtime::guest::GuestState;

impl logging::Host for GuestState {
    fn log(
        &mut self,
        level: logging::Level,
        context: String,
        message: String,
    ) -> wasmtime::Result<()> {
        let level = match level {
            logging::Level::Trace => Level::Trace,
            logging::Level::Debug => Level::Debug,
            logging::Level::Info => Level::Info,
            logging::Level::Warn => Level::Warn,
            logging::Level::Error | logging::Level::Critical => Level::Error,
        };
        let fields = if context.is_empty() {
            Vec::new()
        } else {
            vec![("context".to_owned(), context)]
        };
        self.desk().log(level, message, fields);
        Ok(())
    }
}
