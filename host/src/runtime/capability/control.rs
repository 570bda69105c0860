//! `quarterjack:job/control`: whether the run is to end, and how far it has come.

use std::time::Duration;

use super::Desk;
use crate::clock;
use crate::run::Progress;
use crate::runtime::bindings::quarterjack::job::control;
use crate::runtime::guest::GuestState;

/// How often progress is told at most; what comes in between is kept for the record only.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// How many bytes of a note are kept.
const LONGEST_NOTE: usize = 256;

impl Desk {
    fn come_so_far(&mut self, done: u64, total: Option<u64>, note: String) {
        // Before the cut, which would leave the beginning of a secret.
        let mut note = self.redacted(note);
        note.truncate(note.floor_char_boundary(LONGEST_NOTE));
        let progress = Progress { done, total, note };
        let now = clock::monotonic();
        let due = self
            .progress_told
            .is_none_or(|told| now.duration_since(told) >= TELL_EVERY);
        if due && self.progress.as_ref() != Some(&progress) {
            self.progress_told = Some(now);
            self.session.notices.progress(progress.clone());
        }
        self.progress = Some(progress);
    }
}

impl control::Host for GuestState {
    fn cancelled(&mut self) -> wasmtime::Result<bool> {
        Ok(self.desk().session.cancel.is_cancelled())
    }

    fn progress(&mut self, done: u64, total: Option<u64>, note: String) -> wasmtime::Result<()> {
        self.desk().come_so_far(done, total, note);
        Ok(())
    }
}
