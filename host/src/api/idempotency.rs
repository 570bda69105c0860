//! Requests that are sent twice and carried out once: what was answered to a key is kept for a
//! while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;

use super::problem::Problem;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// How many are kept at most; more than that are refused, for a key that is forgotten too early
/// would start something twice.
const MOST: usize = 10_000;

/// The longest key.
const LONGEST: usize = 255;

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) status: StatusCode,
    pub(super) media_type: &'static str,
    pub(super) body: Bytes,
}

#[derive(Debug)]
struct Entry {
    request: [u8; 32],
    at: Instant,
    /// Nothing while it is being carried out.
    answer: Option<Kept>,
}

/// The keys that were used.
#[derive(Debug, Default)]
pub(super) struct Keys(Mutex<HashMap<String, Entry>>);

/// That a key is being used. Dropped without an answer, it may be used again.
pub(super) struct Begun<'a> {
    keys: &'a Keys,
    key: Option<String>,
}

impl Keys {
    /// Begins a request, or tells what was answered to it.
    pub(super) fn begin(
        &self,
        caller: &str,
        key: &str,
        request: [u8; 32],
        now: Instant,
    ) -> Result<Result<Begun<'_>, Kept>, Problem> {
        if key.is_empty() || key.len() > LONGEST {
            return Err(Problem::bad_request(format!(
                "`Idempotency-Key` is to have 1 to {LONGEST} letters"
            )));
        }
        let key = format!("{caller}\n{key}");
        let mut keys = self.0.lock();
        if let Some(entry) = keys.get(&key)
            && now.saturating_duration_since(entry.at) < KEPT
        {
            if entry.request != request {
                return Err(Problem::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "urn:quarterjack:key-used",
                    "The key belongs to another request",
                    "this `Idempotency-Key` was sent with another request: take a new one for each",
                ));
            }
            return match &entry.answer {
                Some(answer) => Ok(Err(answer.clone())),
                None => Err(Problem::new(
                    StatusCode::CONFLICT,
                    "urn:quarterjack:key-in-use",
                    "The request is being carried out",
                    "a request with this `Idempotency-Key` is being carried out: ask again in a moment",
                )),
            };
        }
        if keys.len() >= MOST {
            keys.retain(|_, entry| now.saturating_duration_since(entry.at) < KEPT);
        }
        if keys.len() >= MOST {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "urn:quarterjack:too-many",
                "Too many requests",
                format!("{MOST} keys were used within a day, which is the most that is kept"),
            ));
        }
        keys.insert(
            key.clone(),
            Entry {
                request,
                at: now,
                answer: None,
            },
        );
        Ok(Ok(Begun {
            keys: self,
            key: Some(key),
        }))
    }
}

impl Begun<'_> {
    /// Keeps what was answered.
    pub(super) fn answered(mut self, answer: Kept) {
        if let Some(key) = self.key.take()
            && let Some(entry) = self.keys.0.lock().get_mut(&key)
        {
            entry.answer = Some(answer);
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.keys.0.lock().remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn a_key_stands_for_one_request_and_its_answer() {
        let (keys, now) = (Keys::default(), monotonic());
        let answer = Kept {
            status: StatusCode::OK,
            media_type: "application/json",
            body: "{}".into(),
        };
        let status =
            |begun: Result<Result<Begun<'_>, Kept>, Problem>| begun.err().map(|it| it.status);
        let begun = keys.begin("a", "k", [1; 32], now).unwrap().ok().unwrap();
        assert_eq!(status(keys.begin("a", "k", [1; 32], now)), Some(409));
        // Somebody else's is another one.
        assert!(keys.begin("b", "k", [2; 32], now).unwrap().is_ok());
        begun.answered(answer.clone());
        assert_eq!(
            keys.begin("a", "k", [1; 32], now).unwrap().err(),
            Some(answer)
        );
        assert_eq!(status(keys.begin("a", "k", [2; 32], now)), Some(422));
        assert_eq!(status(keys.begin("a", "", [2; 32], now)), Some(400));
        let later = now + KEPT;
        // Dropped without an answer, it is free again.
        drop(keys.begin("a", "k", [2; 32], later).unwrap().ok().unwrap());
        assert!(keys.begin("a", "k", [3; 32], later).unwrap().is_ok());
    }
}
