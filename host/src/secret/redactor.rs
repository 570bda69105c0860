//! Finds secrets in streams of bytes and puts `[secret NAME]` in their place.
//!
//! All forms of all secrets are one automaton (Aho-Corasick, leftmost-longest). A [`Stream`]
//! walks it as bytes come in, and holds back no more than what may be the beginning of a secret:
//! the depth of a state in the automaton says how much that is.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::contiguous::{Builder, NFA};
use aho_corasick::{Anchored, MatchKind};

use super::Secret;
use super::forms::{forms, parts};

/// The most bytes that all forms of all secrets of a run may have together: what an automaton
/// needs of memory is a small multiple of it.
const MOST_BYTES: usize = 8 << 20;

/// Why secrets cannot be blotted out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the secrets of this job are too large, taken together, to be blotted out of what it prints: grant fewer or smaller ones"
)]
pub struct TooLarge;

/// Finds certain secrets in all their forms. It has their bytes in it: it is as secret as they
/// are.
pub struct Redactor {
    automaton: NFA,
    start: StateID,
    /// How many bytes of a form have been seen in a state, by the state's number.
    depths: Vec<u32>,
    /// Whose form a pattern is: an index of `secrets`.
    owners: Vec<usize>,
    secrets: Vec<Blot>,
}

/// What is put in the place of a secret.
struct Blot {
    name: Arc<str>,
    text: Vec<u8>,
}

/// A form of a secret that was found.
#[derive(Debug, Clone)]
struct Found {
    place: Range<usize>,
    secret: usize,
}

impl Redactor {
    /// A redactor of these secrets, by their names; nothing if there are none.
    ///
    /// # Errors
    /// If they are too large, taken together.
    pub fn new<'a>(
        secrets: impl IntoIterator<Item = (&'a Arc<str>, &'a Secret)>,
    ) -> Result<Option<Redactor>, TooLarge> {
        let mut blots = Vec::new();
        let mut patterns = Vec::new();
        let mut known = HashMap::new();
        let mut bytes = 0_usize;
        for (index, (name, secret)) in secrets.into_iter().enumerate() {
            blots.push(Blot {
                name: name.clone(),
                text: format!("[secret {name}]").into_bytes(),
            });
            for part in parts(secret.reveal()) {
                for form in forms(part) {
                    bytes = bytes.saturating_add(form.len());
                    if bytes > MOST_BYTES {
                        return Err(TooLarge);
                    }
                    known.entry(form).or_insert(index);
                }
            }
        }
        if known.is_empty() {
            return Ok(None);
        }
        let mut owners = Vec::with_capacity(known.len());
        for (form, owner) in known {
            patterns.push(form);
            owners.push(owner);
        }
        let automaton = Builder::new()
            .match_kind(MatchKind::LeftmostLongest)
            // Prefilters are for whole texts; a stream walks byte by byte.
            .prefilter(false)
            .build(&patterns)
            .map_err(|_| TooLarge)?;
        let start = automaton.start_state(Anchored::No).map_err(|_| TooLarge)?;
        let depths = depths(&automaton, start, &patterns);
        Ok(Some(Redactor {
            automaton,
            start,
            depths,
            owners,
            secrets: blots,
        }))
    }

    /// A text without the secrets.
    pub fn redact<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(mut found) = self.find(text, 0) else {
            return Cow::Borrowed(text);
        };
        let mut clean = Vec::with_capacity(text.len());
        let mut done = 0;
        loop {
            clean.extend_from_slice(between(text, done..found.place.start));
            clean.extend_from_slice(self.blot(&found));
            done = found.place.end;
            match self.find(text, done) {
                Some(next) => found = next,
                None => break,
            }
        }
        clean.extend_from_slice(between(text, done..text.len()));
        Cow::Owned(clean)
    }

    /// The same for a text of characters. Where a secret that is no text itself has cut a
    /// character in two, what is left of the character is U+FFFD.
    pub fn redact_text(&self, text: String) -> String {
        let clean = match self.redact(text.as_bytes()) {
            Cow::Borrowed(_) => None,
            Cow::Owned(clean) => Some(clean),
        };
        match clean.map(String::from_utf8) {
            None => text,
            Some(Ok(clean)) => clean,
            Some(Err(error)) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }

    /// The name of the first secret that a text holds in any form.
    pub fn name_of_first(&self, text: &[u8]) -> Option<&str> {
        let found = self.find(text, 0)?;
        self.secrets.get(found.secret).map(|secret| &*secret.name)
    }

    /// Bytes of memory that it takes.
    pub fn memory(&self) -> usize {
        self.automaton.memory_usage() + self.depths.len() * size_of::<u32>()
    }

    /// The first form from a place on; of those that begin there, the longest.
    fn find(&self, text: &[u8], from: usize) -> Option<Found> {
        let mut found = None;
        let mut state = self.start;
        let mut at = from;
        for byte in between(text, from..text.len()) {
            state = self.automaton.next_state(Anchored::No, state, *byte);
            at += 1;
            if self.automaton.is_special(state) {
                if self.automaton.is_dead(state) {
                    break;
                }
                found = self.found_at(state, at).or(found);
            }
        }
        found
    }

    /// The form that ends in a state, at a place.
    fn found_at(&self, state: StateID, end: usize) -> Option<Found> {
        if !self.automaton.is_match(state) {
            return None;
        }
        let pattern = self.automaton.match_pattern(state, 0);
        Some(Found {
            place: end.checked_sub(self.automaton.pattern_len(pattern))?..end,
            secret: *self.owners.get(pattern.as_usize())?,
        })
    }

    /// How many bytes before a place may be the beginning of a form.
    fn depth(&self, state: StateID) -> usize {
        let depth = self.depths.get(state.as_usize());
        depth.map_or(0, |depth| *depth as usize)
    }

    fn blot(&self, found: &Found) -> &[u8] {
        let secret = self.secrets.get(found.secret);
        secret.map_or(b"[secret]", |secret| &secret.text)
    }
}

/// How deep each state of an automaton is: walking a pattern goes one deeper with each byte.
fn depths(automaton: &NFA, start: StateID, patterns: &[Vec<u8>]) -> Vec<u32> {
    let mut depths = Vec::new();
    for pattern in patterns {
        let mut state = start;
        for (depth, byte) in (1..).zip(pattern) {
            state = automaton.next_state(Anchored::No, state, *byte);
            let number = state.as_usize();
            if depths.len() <= number {
                depths.resize(number + 1, 0);
            }
            if let Some(known) = depths.get_mut(number) {
                *known = depth;
            }
        }
    }
    depths
}

fn between(text: &[u8], range: Range<usize>) -> &[u8] {
    text.get(range).unwrap_or_default()
}

impl fmt::Debug for Redactor {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.secrets.iter().map(|secret| &secret.name);
        to.write_str("Redactor ")?;
        to.debug_list().entries(names).finish()
    }
}

/// Takes secrets out of bytes as they come in: all pieces that it gives, put together, are what
/// [`Redactor::redact`] gives for all bytes put together.
pub struct Stream {
    redactor: Arc<Redactor>,
    /// What has come in and was not given yet.
    held: Vec<u8>,
    /// How many bytes of that have been looked at.
    seen: usize,
    /// Up to where that has gone out already.
    done: usize,
    state: StateID,
    /// A form in what is held that may yet turn out to be part of a longer one.
    found: Option<Found>,
}

impl Stream {
    /// A stream of which nothing has come in.
    pub fn new(redactor: Arc<Redactor>) -> Stream {
        Stream {
            state: redactor.start,
            redactor,
            held: Vec::new(),
            seen: 0,
            done: 0,
            found: None,
        }
    }

    /// Takes bytes in, and gives those that are certain.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut clean = Vec::with_capacity(bytes.len());
        self.held.extend_from_slice(bytes);
        self.look(&mut clean);
        let open = self.seen - self.redactor.depth(self.state).min(self.seen);
        let certain = match &self.found {
            Some(found) => open.min(found.place.start),
            None => open,
        };
        clean.extend_from_slice(between(&self.held, self.done..certain));
        self.held.drain(..certain);
        self.done = 0;
        self.seen -= certain;
        if let Some(found) = &mut self.found {
            found.place = found.place.start - certain..found.place.end - certain;
        }
        clean
    }

    /// Gives what is left: nothing more will come in.
    pub fn finish(mut self) -> Vec<u8> {
        let mut clean = Vec::with_capacity(self.held.len());
        while self.found.is_some() {
            self.settle(&mut clean);
            self.look(&mut clean);
        }
        clean.extend_from_slice(between(&self.held, self.done..self.held.len()));
        clean
    }

    /// Looks at what has not been looked at.
    fn look(&mut self, clean: &mut Vec<u8>) {
        while let Some(byte) = self.held.get(self.seen) {
            let automaton = &self.redactor.automaton;
            self.state = automaton.next_state(Anchored::No, self.state, *byte);
            self.seen += 1;
            if automaton.is_special(self.state) {
                if automaton.is_dead(self.state) {
                    self.settle(clean);
                } else if let Some(found) = self.redactor.found_at(self.state, self.seen) {
                    self.found = Some(found);
                }
            }
        }
    }

    /// No longer form will come of what was found: gives what is before it, blots it out, and
    /// begins anew behind it.
    fn settle(&mut self, clean: &mut Vec<u8>) {
        self.state = self.redactor.start;
        if let Some(found) = self.found.take() {
            clean.extend_from_slice(between(&self.held, self.done..found.place.start));
            clean.extend_from_slice(self.redactor.blot(&found));
            self.done = found.place.end;
            self.seen = found.place.end;
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Stream({:?})", self.redactor)
    }
}

#[cfg(test)]
#[path = "redactor_tests.rs"]
mod tests;
