//! One automaton (Aho-Corasick, leftmost-longest) for all forms of one kind, and the walks along
//! it, byte by byte.
//!
//! Forms of some kinds need not be written in one piece: Base64 is broken into lines, digits are
//! set apart. What may stand between two letters of such a form is passed over, up to a limit, and
//! does not move the walk along.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ops::Range;

use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::contiguous::{Builder, NFA};
use aho_corasick::{Anchored, MatchKind};

use super::forms::DROPPED;

/// How many bytes may stand between two letters of a form that need not be in one piece: the end
/// of a line, and white space before the next one.
pub(super) const MOST_BETWEEN: usize = 24;

/// A form of a secret that was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) place: Range<usize>,
    pub(super) secret: usize,
}

impl Found {
    /// Whether this is the one to blot out of two: it begins first, or is the
    /// longer one.
    pub(super) fn is_before(&self, other: &Found) -> bool {
        let key = |it: &Found| (it.place.start, Reverse(it.place.end), it.secret);
        key(self) < key(other)
    }
}

/// How the forms of an automaton may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// Just so.
    Exact,
    /// In lines.
    Base64,
    /// Digit by digit, in upper or lower case.
    Hex,
}

impl Writing {
    /// How many letters of a form come before anything may stand between them. With fewer, the end
    /// of every tenth line would be held back for what might follow.
    pub(super) fn least_before(self) -> usize {
        match self {
            Writing::Exact => 0,
            Writing::Base64 => DROPPED + 1,
            // A byte.
            Writing::Hex => 2,
        }
    }
}

/// What a byte is to an automaton.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// In no form.
    Foreign,
    /// In some form, and none begins with it.
    Letter,
    /// The first of some form.
    First,
    /// Passed over between letters.
    Between,
    /// The beginning of an escape such as the `\n` of a string in JSON.
    Escape,
}

/// All forms of one kind.
pub(super) struct Matcher {
    automaton: NFA,
    start: StateID,
    classes: [Class; 256],
    writing: Writing,
    /// What the forms begin with.
    beginnings: HashSet<(u8, u8)>,
    /// How many letters of a form have been seen in a state, by the state's number.
    depths: Vec<u32>,
    /// Whose form a pattern is.
    owners: Vec<usize>,
}

impl Matcher {
    /// A matcher of these forms, each with the number of its owner; nothing if they are too many.
    pub(super) fn new(
        forms: impl IntoIterator<Item = (Vec<u8>, usize)>,
        writing: Writing,
    ) -> Option<Matcher> {
        let (patterns, owners): (Vec<Vec<u8>>, Vec<usize>) = forms.into_iter().unzip();
        let automaton = Builder::new()
            .match_kind(MatchKind::LeftmostLongest)
            // Prefilters are for whole texts; a stream walks byte by byte.
            .prefilter(false)
            .build(&patterns)
            .ok()?;
        let start = automaton.start_state(Anchored::No).ok()?;
        Some(Matcher {
            depths: depths(&automaton, start, &patterns),
            classes: classes(&patterns, writing),
            beginnings: patterns.iter().filter_map(|it| beginning(it)).collect(),
            writing,
            automaton,
            start,
            owners,
        })
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.automaton.memory_usage() + self.depths.len() * size_of::<u32>()
    }

    /// How many letters the longest form has.
    #[cfg(test)]
    pub(super) fn longest(&self) -> usize {
        self.automaton.max_pattern_len()
    }

    /// Whether some form begins with this byte.
    pub(super) fn begins_with(&self, byte: u8) -> bool {
        self.class(byte) == Class::First
    }

    /// The bytes that forms begin with, two and two: nothing stands between those. All forms have
    /// more than two.
    pub(super) fn beginnings(&self) -> impl Iterator<Item = (u8, u8)> {
        let both = |byte: u8| match self.writing {
            Writing::Hex => [byte, byte.to_ascii_uppercase()],
            _ => [byte; 2],
        };
        let pairs = self.beginnings.iter().flat_map(move |(first, second)| {
            both(*first).map(|first| both(*second).map(|second| (first, second)))
        });
        pairs.flatten()
    }

    fn class(&self, byte: u8) -> Class {
        // There is one for each byte.
        let class = self.classes.get(usize::from(byte));
        class.copied().unwrap_or(Class::Foreign)
    }
}

fn beginning(form: &[u8]) -> Option<(u8, u8)> {
    Some((*form.first()?, *form.get(1)?))
}

fn classes(patterns: &[Vec<u8>], writing: Writing) -> [Class; 256] {
    let mut classes = [Class::Foreign; 256];
    let mut set = |byte: u8, class: Class| {
        if let Some(slot) = classes.get_mut(usize::from(byte)) {
            *slot = class;
        }
    };
    for byte in patterns.iter().flatten() {
        set(*byte, Class::Letter);
    }
    for byte in patterns.iter().filter_map(|pattern| pattern.first()) {
        set(*byte, Class::First);
    }
    let between: &[u8] = match writing {
        Writing::Exact => b"",
        Writing::Base64 => b"\r\n\t ",
        Writing::Hex => b"\r\n\t :-",
    };
    for byte in between {
        set(*byte, Class::Between);
    }
    if writing != Writing::Exact {
        set(b'\\', Class::Escape);
    }
    if writing == Writing::Hex {
        for upper in b'A'..=b'F' {
            let lower = classes.get(usize::from(upper.to_ascii_lowercase()));
            if let Some(class) = lower.copied()
                && let Some(slot) = classes.get_mut(usize::from(upper))
            {
                *slot = class;
            }
        }
    }
    classes
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

/// A walk along one automaton. Places are counted from the beginning of all that is walked.
#[derive(Debug)]
pub(super) struct Walk {
    state: StateID,
    /// Where bytes were passed over, since the state was last that of the start.
    between: Vec<usize>,
    /// How many of them stand before the next letter.
    gap: usize,
    /// Whether the last byte began an escape.
    escape: bool,
    /// The longest form so far of those that begin first.
    pub(super) found: Option<Found>,
    /// Whether no longer one can come of it.
    pub(super) settled: bool,
}

impl Walk {
    /// A walk that has not begun.
    pub(super) fn new(matcher: &Matcher) -> Walk {
        Walk {
            state: matcher.start,
            between: Vec::new(),
            gap: 0,
            escape: false,
            found: None,
            settled: false,
        }
    }

    /// Begins anew.
    pub(super) fn reset(&mut self, matcher: &Matcher) {
        self.state = matcher.start;
        self.between.clear();
        self.gap = 0;
        self.escape = false;
        self.found = None;
        self.settled = false;
    }

    /// Whether nothing of a form has been seen, so that the next byte only counts if some form
    /// begins with it.
    pub(super) fn is_idle(&self, matcher: &Matcher) -> bool {
        self.state == matcher.start
    }

    /// Takes the byte at a place. True if a form ends with it.
    pub(super) fn step(&mut self, matcher: &Matcher, at: usize, byte: u8) -> bool {
        if self.settled {
            return false;
        }
        if self.escape {
            self.escape = false;
            match byte {
                b'n' | b'r' | b't' if self.pass_over(matcher, at) => return false,
                b'/' => {}
                // It may be the first of another form.
                _ => self.break_off(matcher),
            }
        }
        match matcher.class(byte) {
            Class::First => {}
            _ if self.is_idle(matcher) || self.settled => return false,
            Class::Letter => {}
            Class::Between => {
                self.pass_over(matcher, at);
                return false;
            }
            Class::Escape => {
                self.escape = self.pass_over(matcher, at);
                return false;
            }
            Class::Foreign => {
                self.break_off(matcher);
                return false;
            }
        }
        if self.settled {
            return false;
        }
        self.gap = 0;
        let letter = if matcher.writing == Writing::Hex {
            byte.to_ascii_lowercase()
        } else {
            byte
        };
        let automaton = &matcher.automaton;
        self.state = automaton.next_state(Anchored::No, self.state, letter);
        if self.state == matcher.start {
            self.between.clear();
        } else if automaton.is_special(self.state) {
            if automaton.is_dead(self.state) {
                self.settled = true;
            } else if automaton.is_match(self.state) {
                let pattern = automaton.match_pattern(self.state, 0);
                let letters = automaton.pattern_len(pattern);
                if let Some(owner) = matcher.owners.get(pattern.as_usize()) {
                    self.found = Some(Found {
                        place: self.back(at + 1, letters)..at + 1,
                        secret: *owner,
                    });
                    return true;
                }
            }
        }
        false
    }

    /// Passes over a byte. False if there have been too many, or it is too early.
    fn pass_over(&mut self, matcher: &Matcher, at: usize) -> bool {
        if self.gap == MOST_BETWEEN || self.depth(matcher) < matcher.writing.least_before() {
            self.break_off(matcher);
            return false;
        }
        if self.between.len() == self.between.capacity() {
            // What lies before all that counts is forgotten.
            let open = self.open(matcher, at).unwrap_or(at);
            self.between.retain(|place| *place >= open);
        }
        self.gap += 1;
        self.between.push(at);
        true
    }

    /// No form goes on here.
    fn break_off(&mut self, matcher: &Matcher) {
        if self.found.is_some() {
            self.settled = true;
        } else {
            self.reset(matcher);
        }
    }

    /// Where what has been walked up to a place may be the beginning of a form; nothing if no
    /// longer one can come.
    pub(super) fn open(&self, matcher: &Matcher, at: usize) -> Option<usize> {
        if self.settled || self.is_idle(matcher) {
            return None;
        }
        // What was passed over last belongs to it.
        let end = at.saturating_sub(self.gap);
        Some(self.back(end, self.depth(matcher)))
    }

    /// How many letters of a form have been seen.
    fn depth(&self, matcher: &Matcher) -> usize {
        let depth = matcher.depths.get(self.state.as_usize());
        depth.map_or(0, |depth| *depth as usize)
    }

    /// Where so many letters before a place begin.
    fn back(&self, end: usize, letters: usize) -> usize {
        let passed = self.between.partition_point(|place| *place < end);
        // Each byte passed over puts the beginning one further back. Those before the beginning are
        // the first of all, so that they can be told apart by halves.
        let (mut low, mut high) = (0, passed);
        while low < high {
            let middle = low.midpoint(high);
            let place = self.between.get(middle).copied().unwrap_or(end);
            if place + letters + passed > end + middle {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        end.saturating_sub(letters + passed - low)
    }
}
