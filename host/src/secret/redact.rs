//! Blots secrets out of what is told: as they are, and in the forms that programs give them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::Secret;

/// The shortest line of a secret of several lines that is looked for by itself, in bytes.
const SHORTEST_LINE: usize = 8;

/// The shortest piece of Base64 that is looked for, in bytes.
const SHORTEST_PIECE: usize = 4;

/// Finds the secrets of one run in bytes, and puts their names in their place.
pub struct Redactor {
    automaton: AhoCorasick,
    /// What is looked for, by the automaton's number, and what takes its place.
    forms: Vec<(Vec<u8>, Arc<str>)>,
    /// Which bytes something that is looked for begins with.
    firsts: [bool; 256],
    longest: usize,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    /// A redactor of these secrets, by name; nothing if there are none.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a Secret)>) -> Option<Redactor> {
        let mut forms: Vec<(Vec<u8>, Arc<str>)> = Vec::new();
        let mut known = HashSet::new();
        for (name, secret) in secrets {
            let replacement: Arc<str> = format!("[secret {name}]").into();
            for form in forms_of(secret.reveal()) {
                if known.insert(form.clone()) {
                    forms.push((form, replacement.clone()));
                }
            }
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(forms.iter().map(|(form, _)| form))
            .ok()?;
        let mut firsts = [false; 256];
        for (form, _) in &forms {
            if let Some(first) = form
                .first()
                .and_then(|byte| firsts.get_mut(usize::from(*byte)))
            {
                *first = true;
            }
        }
        let longest = forms.iter().map(|(form, _)| form.len()).max()?;
        Some(Redactor {
            automaton,
            forms,
            firsts,
            longest,
        })
    }

    /// Whether there is a secret in some bytes, in any form.
    pub fn finds(&self, bytes: &[u8]) -> bool {
        self.automaton.is_match(bytes)
    }

    /// Some bytes without the secrets.
    pub fn redact<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        if !self.finds(bytes) {
            return Cow::Borrowed(bytes);
        }
        let mut stream = Stream::default();
        let mut clean = stream.push(self, bytes);
        clean.extend(stream.finish(self));
        Cow::Owned(clean)
    }

    /// A text without the secrets.
    pub fn redact_text(&self, text: String) -> String {
        match self.redact(text.as_bytes()) {
            Cow::Borrowed(_) => text,
            // What is cut out may have begun or ended inside of a character.
            Cow::Owned(clean) => String::from_utf8(clean)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        }
    }

    /// Where a tail begins that may be the beginning of something that is looked for.
    fn open_tail(&self, bytes: &[u8], from: usize) -> usize {
        let start = from.max(bytes.len().saturating_sub(self.longest - 1));
        let tail = bytes.get(start..).unwrap_or_default();
        for (place, byte) in tail.iter().enumerate() {
            if !self
                .firsts
                .get(usize::from(*byte))
                .copied()
                .unwrap_or(false)
            {
                continue;
            }
            let rest = tail.get(place..).unwrap_or_default();
            let is_open =
                |(form, _): &(Vec<u8>, Arc<str>)| form.len() > rest.len() && form.starts_with(rest);
            if self.forms.iter().any(is_open) {
                return start + place;
            }
        }
        bytes.len()
    }
}

/// Bytes that come in pieces: a secret that is cut in two is found all the same.
#[derive(Debug, Default)]
pub struct Stream {
    /// The beginning of what may become a secret.
    held: Vec<u8>,
}

impl Stream {
    /// Takes a piece, and gives what is certain by now.
    pub fn push(&mut self, redactor: &Redactor, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        self.clean(redactor, false)
    }

    /// Gives the rest, once there is nothing more to come.
    pub fn finish(&mut self, redactor: &Redactor) -> Vec<u8> {
        self.clean(redactor, true)
    }

    fn clean(&mut self, redactor: &Redactor, last: bool) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        let mut clean = Vec::with_capacity(held.len());
        let mut at = 0;
        let mut open = held.len();
        loop {
            // What begins before the open tail is whole: a longer one would be open itself.
            if !last {
                open = redactor.open_tail(&held, at);
            }
            let rest = held.get(at..).unwrap_or_default();
            match redactor.automaton.find(rest) {
                Some(found) if at + found.start() < open => {
                    clean.extend_from_slice(rest.get(..found.start()).unwrap_or_default());
                    let form = redactor.forms.get(found.pattern().as_usize());
                    if let Some((_, replacement)) = form {
                        clean.extend_from_slice(replacement.as_bytes());
                    }
                    at += found.end();
                }
                _ => break,
            }
        }
        clean.extend_from_slice(held.get(at..open).unwrap_or_default());
        self.held = held.get(open..).unwrap_or_default().to_vec();
        clean
    }
}

/// The forms in which a secret is looked for.
fn forms_of(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = encodings(secret);
    let lines = secret.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    for line in lines.filter(|line| line.len() >= SHORTEST_LINE && *line != secret) {
        forms.extend(encodings(line));
    }
    forms
}

fn encodings(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.to_vec()];
    if let Ok(text) = std::str::from_utf8(secret)
        && let Ok(json) = serde_json::to_string(text)
    {
        let inner = json.get(1..json.len() - 1).unwrap_or_default();
        forms.push(inner.as_bytes().to_vec());
        forms.push(inner.replace('/', "\\/").into_bytes());
    }
    for upper in [true, false] {
        let mut hex = String::new();
        let mut all = String::new();
        let mut reserved = String::new();
        for byte in secret {
            let digits = if upper {
                format!("{byte:02X}")
            } else {
                format!("{byte:02x}")
            };
            hex.push_str(&digits);
            // Writing to a string cannot fail.
            let _ = write!(all, "%{digits}");
            if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
                reserved.push(char::from(*byte));
            } else {
                let _ = write!(reserved, "%{digits}");
            }
        }
        forms.push(hex.into_bytes());
        forms.push(all.into_bytes());
        forms.push(reserved.replace("%20", "+").into_bytes());
        forms.push(reserved.into_bytes());
    }
    for ahead in 0..3 {
        // What stands before and after the secret in the encoded bytes takes part in the
        // characters at its ends: only those between are certain.
        let mut bytes = vec![0; ahead];
        bytes.extend_from_slice(secret);
        let first = (ahead * 8).div_ceil(6);
        let end = bytes.len() * 8 / 6;
        for alphabet in [STANDARD.encode(&bytes), URL_SAFE.encode(&bytes)] {
            let certain = alphabet.as_bytes().get(first..end).unwrap_or_default();
            if certain.len() >= SHORTEST_PIECE {
                forms.push(certain.to_vec());
            }
        }
    }
    forms.retain(|form| !form.is_empty());
    forms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redactor(secrets: &[(&str, &[u8])]) -> Redactor {
        let secrets: Vec<(&str, Secret)> = secrets
            .iter()
            .map(|(name, value)| (*name, Secret::of(value)))
            .collect();
        Redactor::new(secrets.iter().map(|(name, secret)| (*name, secret))).unwrap()
    }

    fn clean(redactor: &Redactor, text: &str) -> String {
        redactor.redact_text(text.to_owned())
    }

    #[test]
    fn a_secret_is_found_in_all_its_forms() {
        let secret = "p@ss w/rd\"9";
        let redactor = redactor(&[("key", secret.as_bytes())]);
        for form in [
            secret,
            "p%40ss%20w%2Frd%229",
            "p%40ss%20w%2frd%229",
            "p%40ss+w%2Frd%229",
            "%70%40%73%73%20%77%2F%72%64%22%39",
            "p@ss w/rd\\\"9",
            "p@ss w\\/rd\\\"9",
            "7040737320772f72642239",
            "7040737320772F72642239",
        ] {
            let told = clean(&redactor, &format!("<{form}>"));
            assert_eq!(told, "<[secret key]>", "{form}");
        }
        for around in ["", "x", "xy", "user:", "Basic abc:"] {
            for engine in [&STANDARD, &URL_SAFE] {
                let encoded = engine.encode(format!("{around}{secret}{around}"));
                let told = clean(&redactor, &encoded);
                assert!(told.contains("[secret key]"), "{around}: {told}");
                // At most a character on either side has a few bits of it.
                let bare = encoded.len() - told.replace("[secret key]", "").len();
                assert!(bare >= secret.len() * 8 / 6 - 2, "{around}: {told}");
            }
        }
        assert_eq!(clean(&redactor, "p@ss w/rd"), "p@ss w/rd");
    }

    #[test]
    fn the_longest_of_those_that_begin_first_is_taken() {
        let redactor = redactor(&[("short", b"abcd"), ("long", b"abcdefgh")]);
        assert_eq!(
            clean(&redactor, "abcdefgh abcdefg abcd"),
            "[secret long] [secret short]efg [secret short]"
        );
    }

    #[test]
    fn each_line_of_a_key_is_a_secret() {
        let key = b"-----BEGIN KEY-----\nMIIEvQIBADANBg\nabc\n-----END KEY-----\n";
        let redactor = redactor(&[("tls.key", key)]);
        assert_eq!(
            clean(&redactor, "line 2 is MIIEvQIBADANBg, line 3 abc"),
            "line 2 is [secret tls.key], line 3 abc"
        );
    }

    #[test]
    fn what_holds_no_secret_is_not_touched_and_nothing_is_held_back() {
        let redactor = redactor(&[("key", b"s3cret")]);
        let mut stream = Stream::default();
        assert_eq!(stream.push(&redactor, b"a line\n"), b"a line\n");
        assert_eq!(stream.push(&redactor, b"s3c"), b"");
        assert_eq!(stream.push(&redactor, b"ond"), b"s3cond");
        assert_eq!(stream.push(&redactor, b" s3cr"), b" ");
        assert_eq!(stream.push(&redactor, b"et!"), b"[secret key]!");
        assert_eq!(stream.push(&redactor, b"s3"), b"");
        assert_eq!(stream.finish(&redactor), b"s3");
        assert!(matches!(redactor.redact(b"plain"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn pieces_are_as_good_as_the_whole(
            text in "[abAB01%=\\[\\] ]{0,60}",
            secrets in prop::collection::vec("[ab01]{4,8}", 1..3),
            cuts in prop::collection::vec(0_usize..60, 0..6),
        ) {
            let secrets: Vec<(&str, Secret)> = secrets
                .iter()
                .map(|secret| ("x", Secret::of(secret.as_bytes())))
                .collect();
            let redactor = Redactor::new(secrets.iter().map(|(name, secret)| (*name, secret)));
            let redactor = redactor.unwrap();
            let whole = redactor.redact(text.as_bytes()).into_owned();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut stream = Stream::default();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                pieces.extend(stream.push(&redactor, &text.as_bytes()[from..cut]));
                from = cut;
            }
            pieces.extend(stream.finish(&redactor));
            prop_assert_eq!(&pieces, &whole);
            // The replacement itself has no four of these letters in a row.
            for (_, secret) in &secrets {
                let shown = String::from_utf8(pieces.clone()).unwrap();
                let value = std::str::from_utf8(secret.reveal()).unwrap();
                let parts: Vec<&str> = shown.split("[secret x]").collect();
                prop_assert!(parts.iter().all(|part| !part.contains(value)), "{}", shown);
            }
        }
    }
}
