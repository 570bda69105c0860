//! Finds secrets in streams of bytes and puts `[secret NAME]` in their place.
//!
//! All forms of all secrets are three automata ([`Matcher`]): one for those that are written just
//! so, one for Base64, which may be broken into lines, and one for hexadecimal digits, which may be
//! set apart. A [`Stream`] walks all of them as bytes come in, and holds back no more than what may
//! be the beginning of a secret: the depth of a state in an automaton says how much that is.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::Secret;
use super::forms::{forms, parts};
use super::matcher::{Found, Matcher, Walk, Writing};

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
    matchers: [Matcher; 3],
    /// For each byte, the matchers that have a form which begins with it, a bit for each.
    begins: [u8; 256],
    /// The same for two bytes, by [`pair`]: some may be there too much.
    pairs: Box<[u8]>,
    secrets: Vec<Blot>,
}

/// What is put in the place of a secret.
struct Blot {
    name: Arc<str>,
    text: Vec<u8>,
}

/// A bit for each matcher.
const BITS: [u8; 3] = [1, 2, 4];

/// How many places there are for pairs of bytes.
const PAIRS: usize = 1 << 14;

/// The place of a pair of bytes. Several share one.
fn pair(first: u8, second: u8) -> usize {
    (usize::from(first) << 6) ^ usize::from(second)
}

/// The forms of one kind, each with the secret that it is one of.
type Known = HashMap<Vec<u8>, usize>;

impl Redactor {
    /// A redactor of these secrets, by their names; nothing if there are none.
    ///
    /// # Errors
    /// If they are too large, taken together.
    pub fn new<'a>(
        secrets: impl IntoIterator<Item = (&'a Arc<str>, &'a Secret)>,
    ) -> Result<Option<Redactor>, TooLarge> {
        let mut blots = Vec::new();
        let (mut plain, mut base64, mut hex) = (Known::new(), Known::new(), Known::new());
        let mut bytes = 0_usize;
        for (index, (name, secret)) in secrets.into_iter().enumerate() {
            blots.push(Blot {
                name: name.clone(),
                text: format!("[secret {name}]").into_bytes(),
            });
            let mut add = |known: &mut Known, form: Vec<u8>| {
                bytes = bytes.saturating_add(form.len());
                known.entry(form).or_insert(index);
                if bytes > MOST_BYTES {
                    return Err(TooLarge);
                }
                Ok(())
            };
            for part in parts(secret.reveal()) {
                let forms = forms(part);
                for form in forms.plain {
                    add(&mut plain, form)?;
                }
                for form in forms.base64 {
                    add(&mut base64, form)?;
                }
                add(&mut hex, forms.hex)?;
            }
        }
        if blots.is_empty() {
            return Ok(None);
        }
        let matchers = [
            Matcher::new(plain, Writing::Exact).ok_or(TooLarge)?,
            Matcher::new(base64, Writing::Base64).ok_or(TooLarge)?,
            Matcher::new(hex, Writing::Hex).ok_or(TooLarge)?,
        ];
        let mut begins = [0; 256];
        let mut pairs = vec![0; PAIRS];
        for (byte, bits) in (0..=u8::MAX).zip(&mut begins) {
            for (bit, matcher) in BITS.into_iter().zip(&matchers) {
                *bits |= if matcher.begins_with(byte) { bit } else { 0 };
            }
        }
        for (bit, matcher) in BITS.into_iter().zip(&matchers) {
            for (first, second) in matcher.beginnings() {
                if let Some(bits) = pairs.get_mut(pair(first, second)) {
                    *bits |= bit;
                }
            }
        }
        Ok(Some(Redactor {
            matchers,
            begins,
            pairs: pairs.into(),
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
        let matchers: usize = self.matchers.iter().map(Matcher::memory).sum();
        matchers + PAIRS
    }

    /// The first form from a place on; of those that begin there, the longest.
    fn find(&self, text: &[u8], from: usize) -> Option<Found> {
        let mut search = Search::new(self);
        let mut at = from;
        while let Some(rest) = text.get(at..) {
            at += search.skip(self, rest);
            let Some(byte) = text.get(at) else { break };
            if search.step(self, at, *byte, text.get(at + 1)) {
                break;
            }
            at += 1;
        }
        search.found
    }

    /// The matchers that may have a form which begins with a byte and, if that is known, the next.
    fn begins(&self, byte: u8, next: Option<&u8>) -> u8 {
        // There is an entry for each.
        let bits = match next {
            Some(next) => self.pairs.get(pair(byte, *next)),
            None => self.begins.get(usize::from(byte)),
        };
        bits.copied().unwrap_or(0)
    }

    fn blot(&self, found: &Found) -> &[u8] {
        let secret = self.secrets.get(found.secret);
        secret.map_or(b"[secret]", |secret| &secret.text)
    }
}

/// The search for the next form of any kind.
#[derive(Debug)]
struct Search {
    walks: [Walk; 3],
    /// Those that are not idle.
    active: u8,
    /// The first form so far, which may yet turn out to be part of a longer one.
    found: Option<Found>,
}

impl Search {
    fn new(redactor: &Redactor) -> Search {
        Search {
            walks: redactor.matchers.each_ref().map(Walk::new),
            active: 0,
            found: None,
        }
    }

    fn reset(&mut self, redactor: &Redactor) {
        self.found = None;
        self.active = 0;
        for (walk, matcher) in self.walks.iter_mut().zip(&redactor.matchers) {
            walk.reset(matcher);
        }
    }

    /// How many bytes there are before the next one that counts.
    fn skip(&self, redactor: &Redactor, bytes: &[u8]) -> usize {
        if self.active != 0 {
            return 0;
        }
        // Most bytes of most texts are not even the beginning of a form.
        let pairs = bytes.iter().zip(bytes.iter().skip(1));
        let mut beginnings = pairs.map(|(byte, next)| redactor.begins(*byte, Some(next)));
        match beginnings.position(|bits| bits != 0) {
            Some(first) => first,
            // The last one has no other behind it yet.
            None => bytes.len().saturating_sub(1),
        }
    }

    /// Takes the byte at a place. True if what was found is certain to be the first and longest.
    fn step(&mut self, redactor: &Redactor, at: usize, byte: u8, next: Option<&u8>) -> bool {
        let concerned = self.active | redactor.begins(byte, next);
        let mut ends = false;
        let walks = self.walks.iter_mut().zip(&redactor.matchers);
        for (bit, (walk, matcher)) in BITS.into_iter().zip(walks) {
            if concerned & bit != 0 {
                ends |= walk.step(matcher, at, byte);
                if walk.is_idle(matcher) {
                    self.active &= !bit;
                } else {
                    self.active |= bit;
                }
            }
        }
        if ends {
            let all = self.walks.iter().filter_map(|walk| walk.found.as_ref());
            let first = all.reduce(|one, other| if other.is_before(one) { other } else { one });
            self.found = first.cloned();
        }
        match &self.found {
            None => false,
            Some(found) => self
                .open(redactor, at + 1)
                .is_none_or(|open| open > found.place.start),
        }
    }

    /// From where on what has been looked at, up to a place, may be the beginning of a form.
    fn open(&self, redactor: &Redactor, at: usize) -> Option<usize> {
        let walks = self.walks.iter().zip(&redactor.matchers);
        walks
            .filter_map(|(walk, matcher)| walk.open(matcher, at))
            .min()
    }
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
    /// How many bytes came before that.
    before: usize,
    /// How many bytes have been looked at, of all.
    seen: usize,
    /// Up to where they have gone out already, of all.
    done: usize,
    search: Search,
}

impl Stream {
    /// A stream of which nothing has come in.
    pub fn new(redactor: Arc<Redactor>) -> Stream {
        Stream {
            search: Search::new(&redactor),
            redactor,
            held: Vec::new(),
            before: 0,
            seen: 0,
            done: 0,
        }
    }

    /// Takes bytes in, and gives those that are certain.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut clean = Vec::with_capacity(bytes.len());
        self.held.extend_from_slice(bytes);
        self.look(&mut clean);
        let open = self.search.open(&self.redactor, self.seen);
        let open = open.unwrap_or(self.seen);
        let certain = match &self.search.found {
            Some(found) => open.min(found.place.start),
            None => open,
        };
        // What went out before was certain then.
        let certain = certain.clamp(self.before, self.seen);
        self.give(certain, &mut clean);
        self.held.drain(..certain - self.before);
        self.before = certain;
        clean
    }

    /// Gives what is left: nothing more will come in.
    pub fn finish(mut self) -> Vec<u8> {
        let mut clean = Vec::with_capacity(self.held.len());
        while self.search.found.is_some() {
            self.settle(&mut clean);
            self.look(&mut clean);
        }
        let end = self.before + self.held.len();
        self.give(end, &mut clean);
        clean
    }

    /// Looks at what has not been looked at.
    fn look(&mut self, clean: &mut Vec<u8>) {
        while let Some(rest) = self.held.get(self.seen - self.before..) {
            self.seen += self.search.skip(&self.redactor, rest);
            let at = self.seen - self.before;
            let Some(byte) = self.held.get(at) else { break };
            let next = self.held.get(at + 1);
            let certain = self.search.step(&self.redactor, self.seen, *byte, next);
            self.seen += 1;
            if certain {
                self.settle(clean);
            }
        }
    }

    /// No longer form will come of what was found: gives what is before it, blots it out, and
    /// begins anew behind it.
    fn settle(&mut self, clean: &mut Vec<u8>) {
        if let Some(found) = self.search.found.take() {
            self.give(found.place.start, clean);
            clean.extend_from_slice(self.redactor.blot(&found));
            self.done = found.place.end;
            self.seen = found.place.end;
        }
        self.search.reset(&self.redactor);
    }

    /// Gives what has not gone out yet before a place.
    fn give(&mut self, end: usize, clean: &mut Vec<u8>) {
        let range = self.done.max(self.before) - self.before..end - self.before;
        clean.extend_from_slice(between(&self.held, range));
        self.done = self.done.max(end);
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
