//! A store that does not do its work: what waits until it does, and that this is told, once.
//!
//! The end of a run that cannot be recorded is kept by the worker that carried it out, with the
//! place of the run: so no more are kept than may run at once, and while that many are, nothing
//! starts. Those of one job land in the order in which they came; those of different jobs wait
//! together, and land together.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::cancel::{Cancel, CancelReason};
use crate::clock::Clock;
use crate::event::{Event, Events};
use crate::job::JobId;
use crate::store::StoreError;

/// What the store cannot do just now.
pub(super) struct Trouble {
    books: Mutex<Books>,
    /// Told when something that waited is recorded.
    landed: Notify,
    /// Tells those who wait that this is their last try.
    last: Cancel,
    events: Events,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Books {
    /// Whether firings cannot be recorded.
    firings: bool,
    /// Those that wait to be recorded, by job, in the order in which they came; never none.
    ends: HashMap<JobId, VecDeque<u64>>,
    came: u64,
}

impl Books {
    fn is_trouble(&self) -> bool {
        self.firings || !self.ends.is_empty()
    }
}

impl Trouble {
    pub(super) fn new(events: Events, clock: Arc<dyn Clock>) -> Trouble {
        Trouble {
            books: Mutex::default(),
            landed: Notify::new(),
            last: Cancel::new(),
            events,
            clock,
        }
    }

    /// Does something to the books, and tells if that is the beginning or the end of the trouble.
    fn change<T>(&self, error: Option<&StoreError>, change: impl FnOnce(&mut Books) -> T) -> T {
        let mut books = self.books.lock();
        let before = books.is_trouble();
        let changed = change(&mut books);
        // Told under the lock: nobody is to hear of the end before the beginning.
        match (before, books.is_trouble()) {
            (false, true) => self.events.emit(
                self.clock.now(),
                Event::StoreFailing {
                    error: error.map(StoreError::to_string).unwrap_or_default(),
                },
            ),
            (true, false) => self.events.emit(self.clock.now(), Event::StoreRecovered),
            _ => {}
        }
        changed
    }

    /// Firings cannot be recorded, or can be again.
    pub(super) fn firings(&self, failing: Option<&StoreError>) {
        self.change(failing, |books| books.firings = failing.is_some());
    }

    /// How many ends wait to be recorded.
    pub(super) fn ends(&self) -> usize {
        self.books.lock().ends.values().map(VecDeque::len).sum()
    }

    /// Whether an end of this job waits already.
    pub(super) fn has_ends_of(&self, job: &JobId) -> bool {
        let books = self.books.lock();
        !books.ends.is_empty() && books.ends.contains_key(job)
    }

    /// An end of this job waits from now on.
    pub(super) fn enlist(&self, job: &JobId, error: Option<&StoreError>) -> Waiting<'_> {
        let number = self.change(error, |books| {
            let number = books.came;
            books.came += 1;
            books.ends.entry(job.clone()).or_default().push_back(number);
            number
        });
        Waiting {
            trouble: self,
            job: job.clone(),
            number,
        }
    }

    /// Has those who wait try once more, and then give up.
    pub(super) fn give_up(&self) {
        self.last.cancel(CancelReason::Stopping);
    }

    /// Whether whoever tries now tries for the last time.
    pub(super) fn is_last(&self) -> bool {
        self.last.is_cancelled()
    }
}

/// An end that waits to be recorded. Dropped, it waits no more.
pub(super) struct Waiting<'a> {
    trouble: &'a Trouble,
    job: JobId,
    number: u64,
}

impl Waiting<'_> {
    /// Whether it is the first of its job.
    pub(super) fn is_first(&self) -> bool {
        let books = self.trouble.books.lock();
        let first = books.ends.get(&self.job).and_then(VecDeque::front);
        first.is_none_or(|first| *first == self.number)
    }

    /// Resolves when it may be worth trying: when another one has landed, after a while, or
    /// for the last time.
    pub(super) async fn again(&self, after: std::time::Duration) {
        let trouble = self.trouble;
        let mut landed = std::pin::pin!(trouble.landed.notified());
        // Enlisted before the look, so that nothing is missed between the two.
        landed.as_mut().enable();
        tokio::select! {
            biased;
            () = trouble.last.cancelled() => {}
            () = landed => {}
            () = trouble.clock.sleep(after) => {}
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.trouble.change(None, |books| {
            if let Some(waiting) = books.ends.get_mut(&self.job) {
                waiting.retain(|number| *number != self.number);
                if waiting.is_empty() {
                    books.ends.remove(&self.job);
                }
            }
        });
        self.trouble.landed.notify_waiters();
    }
}
