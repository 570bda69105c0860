//! The events of the host for those who follow them over HTTP: the last ones, numbered, so that
//! somebody who was cut off can go on where they were.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::event::Events;

/// How many events are kept.
const KEPT: usize = 4_096;

/// The last events.
#[derive(Debug)]
pub(super) struct Feed {
    events: Events,
    /// Tells this host's numbers from those of the one before it.
    host: String,
    kept: OnceLock<Arc<Kept>>,
}

#[derive(Debug)]
struct Kept {
    ring: Mutex<Ring>,
    /// The number of the last one.
    last: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    /// The number of the last one; the first is 1.
    last: u64,
    lines: VecDeque<Arc<str>>,
}

/// An event as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// An event, with its id.
    Event {
        /// Its id.
        id: String,
        /// JSON.
        line: Arc<str>,
    },
    /// So many are not there any more; nothing where that cannot be known.
    Missed(Option<u64>),
}

/// Somebody who follows.
#[derive(Debug)]
pub(super) struct Follower {
    kept: Arc<Kept>,
    host: String,
    last: watch::Receiver<u64>,
    /// The number of the last one that was told.
    seen: u64,
    /// Whether it is to be said that nobody knows what was before.
    unknown: bool,
}

impl Feed {
    /// The events of a host. They are kept from the first time on that somebody
    /// [listens](Feed::listen).
    pub(super) fn new(events: Events, host: String) -> Feed {
        Feed {
            events,
            host,
            kept: OnceLock::new(),
        }
    }

    /// Keeps the events from now on. To be called within the async runtime.
    pub(super) fn listen(&self) {
        let _ = self.kept();
    }

    fn kept(&self) -> Arc<Kept> {
        let kept = self.kept.get_or_init(|| {
            let kept = Arc::new(Kept {
                ring: Mutex::default(),
                last: watch::Sender::new(0),
            });
            let mut subscription = self.events.subscribe();
            // Ends with the events, or with whoever asks for them.
            let told = Arc::downgrade(&kept);
            tokio::spawn(async move {
                while let Some(event) = subscription.recv().await {
                    let Some(kept) = told.upgrade() else { return };
                    // Those that came faster than this: their numbers are gone.
                    let lost = subscription.take_lost();
                    if let Some(line) = event.to_json_line() {
                        kept.push(line.trim_end().into(), lost);
                    }
                }
            });
            kept
        });
        kept.clone()
    }

    /// Starts to follow: after the event of this id, or from now on.
    pub(super) fn follow(&self, after: Option<&str>) -> Follower {
        let kept = self.kept();
        let last = kept.last.subscribe();
        let now = kept.ring.lock().last;
        let known = after.and_then(|id| {
            let (host, number) = id.rsplit_once('-')?;
            let number = number.parse().ok().filter(|number| *number <= now)?;
            (host == self.host).then_some(number)
        });
        Follower {
            kept,
            host: self.host.clone(),
            last,
            seen: known.unwrap_or(now),
            unknown: after.is_some() && known.is_none(),
        }
    }
}

impl Kept {
    fn push(&self, line: Arc<str>, lost: u64) {
        let mut ring = self.ring.lock();
        if lost > 0 {
            ring.lines.clear();
            ring.last += lost;
        }
        if ring.lines.len() == KEPT {
            ring.lines.pop_front();
        }
        ring.lines.push_back(line);
        ring.last += 1;
        self.last.send_replace(ring.last);
    }
}

impl Follower {
    /// What comes next. Waits for it.
    pub(super) async fn next(&mut self) -> Told {
        loop {
            if let Some(told) = self.take() {
                return told;
            }
            if self.last.changed().await.is_err() {
                // It lives as long as this does.
                return std::future::pending().await;
            }
        }
    }

    fn take(&mut self) -> Option<Told> {
        if std::mem::take(&mut self.unknown) {
            return Some(Told::Missed(None));
        }
        let ring = self.kept.ring.lock();
        self.last.mark_unchanged();
        if self.seen >= ring.last {
            return None;
        }
        let before_first = ring.last - ring.lines.len() as u64;
        if self.seen < before_first {
            let missed = before_first - self.seen;
            self.seen = before_first;
            return Some(Told::Missed(Some(missed)));
        }
        let place = usize::try_from(self.seen - before_first).ok()?;
        let line = ring.lines.get(place)?.clone();
        self.seen += 1;
        Some(Told::Event {
            id: format!("{}-{}", self.host, self.seen),
            line,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::event::Event;

    fn id(told: &Told) -> String {
        match told {
            Told::Event { id, .. } => id.clone(),
            Told::Missed(missed) => format!("missed {missed:?}"),
        }
    }

    #[tokio::test]
    async fn who_was_cut_off_goes_on_or_hears_what_is_gone() {
        let events = Events::new();
        let feed = Feed::new(events.clone(), "h".into());
        let mut first = feed.follow(None);
        for _ in 0..KEPT + 2 {
            events.emit(Timestamp::UNIX_EPOCH, Event::StoreRecovered);
        }
        assert_eq!(id(&first.next().await), "h-1");
        // Until all of them are there.
        while feed.kept().ring.lock().last < KEPT as u64 + 2 {
            tokio::task::yield_now().await;
        }
        let next = |id: &str| feed.follow(Some(id)).take();
        assert_eq!(id(&next("h-2").unwrap()), "h-3");
        assert_eq!(id(&next("h-0").unwrap()), "missed Some(2)");
        assert_eq!(id(&first.take().unwrap()), "missed Some(1)");
        assert_eq!(id(&first.take().unwrap()), "h-3");
        for other in ["g-3", "3", "", "h-", "h-99999"] {
            assert_eq!(id(&next(other).unwrap()), "missed None", "{other}");
        }
        assert_eq!(next(&format!("h-{}", KEPT + 2)), None);
    }
}
