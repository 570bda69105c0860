//! What will be due within moments, handed out before it is: so that it can be recorded in time.

use std::cmp::Reverse;

use super::{Scheduler, enqueue, is_live};
use crate::clock::Timestamp;
use crate::run::{Cause, Firing};

/// The most firings that one call of [`Scheduler::ahead`] hands out.
pub const MOST_AHEAD: usize = 1 << 16;

/// A firing that is not due yet.
#[derive(Debug, Clone)]
pub struct Ahead {
    /// When it will be due: its scheduled instant and the jitter.
    pub due_at: Timestamp,
    /// What is to run then.
    pub firing: Firing,
}

impl Scheduler {
    /// Everything that will fall due after `now` and by `horizon`, by the instant it is due and,
    /// within one, in the order of definition: every single instant, also where a job has
    /// several. Each is handed out once, here or by [`due`](Self::due). At most [`MOST_AHEAD`]
    /// at once: the rest at the next call.
    ///
    /// To be called after `due(now)`: while something is due already, nothing is handed out.
    /// What was handed out is for the caller to take back if its job is removed, changed or
    /// paused before it is due.
    pub fn ahead(&mut self, now: Timestamp, horizon: Timestamp) -> Vec<Ahead> {
        let mut ahead = Vec::new();
        while let Some(Reverse(entry)) = self.queue.peek().copied() {
            if entry.at > horizon || ahead.len() >= MOST_AHEAD {
                break;
            }
            let slot = self.slots.get_mut(entry.slot as usize);
            let Some(slot) = slot.filter(|slot| is_live(slot, &entry)) else {
                self.queue.pop();
                continue;
            };
            if entry.at <= now {
                break;
            }
            self.queue.pop();
            let (Some(job), Some(instant)) = (slot.job.clone(), slot.next) else {
                continue; // what is queued has both
            };
            if slot.starting {
                slot.starting = false;
            } else {
                slot.base = instant;
            }
            slot.advance();
            enqueue(&mut self.queue, slot, entry.slot);
            ahead.push(Ahead {
                due_at: entry.at,
                firing: Firing {
                    job,
                    cause: Cause::Schedule,
                    scheduled_at: self.passed.name(instant),
                },
            });
        }
        self.tidy();
        ahead
    }
}
