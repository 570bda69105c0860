//! What a running host offers to other programs: HTTP/1.1 with JSON.
//!
//! ```text
//! socket ─┐                                ┌▶ Control ──▶ the host
//!         ├─▶ conversation ──▶ routes ─────┤
//! tcp ────┘        ◀── JSON, or a problem  └▶ store, logs, events
//! ```
//!
//! What a request does knows nothing of how it came: over a [`socket`] in the host's data directory,
//! which its owner alone may use, or over [`tcp`], for those whose tokens give them the
//! [role](access::Role) that the route needs. Everything is bounded: the size of a request, the time
//! that it may take, how many there are at once. A mistake of the client's is answered with a status
//! of 4xx and a [`problem`] that says what would be right.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::control::Control;
use crate::event::Events;
use crate::run::RunId;
use crate::store::{LogStore, Store};

pub mod access;
mod conversation;
mod feed;
mod health;
mod idempotency;
mod jobs;
mod openapi;
pub mod problem;
mod routes;
mod runs;
pub mod socket;
mod stream;
pub mod tcp;

/// Where all paths begin.
pub const BASE: &str = "/api/v1";

/// What requests are answered from.
pub struct Api {
    control: Control,
    store: Arc<dyn Store>,
    logs: Arc<dyn LogStore>,
    feed: feed::Feed,
    /// Places for those who follow.
    followers: Arc<Semaphore>,
    /// What was asked with a key.
    keys: idempotency::Keys,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Api").finish_non_exhaustive()
    }
}

impl Api {
    /// What is to be asked of a host: the host itself, what it keeps, and what happens in it. The
    /// id is one of its own, by which its events are told from those of the host before it.
    pub fn new(
        control: Control,
        store: Arc<dyn Store>,
        logs: Arc<dyn LogStore>,
        events: Events,
        host: RunId,
    ) -> Arc<Api> {
        Arc::new(Api {
            control,
            store,
            logs,
            feed: feed::Feed::new(events, host.to_string()),
            followers: Arc::new(Semaphore::new(stream::FOLLOWERS)),
            keys: idempotency::Keys::default(),
        })
    }

    /// One that keeps nothing.
    #[cfg(test)]
    fn of(control: Control) -> Arc<Api> {
        let store = Arc::new(crate::store::MemoryStore::default());
        let logs = Arc::new(crate::store::MemoryLogs::default());
        let id = RunId::new(crate::clock::Timestamp::UNIX_EPOCH);
        Api::new(control, store, logs, Events::new(), id)
    }
}

/// Writes one segment of a path: all but letters, digits and `-._~` as `%XX`.
pub fn encode_segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
/// Reads one segment of a path; nothing if that is not text.
fn decode_segment(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = others.split_at_checked(2)?;
            // Not from_str_radix alone, which takes a sign.
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = others;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_is_a_segment(text in any::<String>()) {
            let segment = encode_segment(&text);
            prop_assert!(!segment.contains(['/', '?', '#', ' ']));
            prop_assert_eq!(decode_segment(&segment), Some(text));
        }

        #[test]
        fn no_segment_is_too_strange_to_be_read_or_refused(segment in any::<String>()) {
            let _ = decode_segment(&segment);
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for segment in ["%", "%4", "%+1", "%zz", "a%ff"] {
            assert_eq!(decode_segment(segment), None, "{segment}");
        }
        assert_eq!(decode_segment("sync%2Fa%20b").as_deref(), Some("sync/a b"));
    }
}
