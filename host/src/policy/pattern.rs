//! Names with wildcards: `report-*`, `AWS_*`, `*`.

use std::fmt;

/// A name in which each `*` stands for any characters, also for none. All else stands for itself;
/// upper and lower case differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    /// Whether a `*` is one too.
    is_plain: bool,
}

impl Pattern {
    /// Takes a text as a pattern; every text is one.
    pub fn new(text: &str) -> Pattern {
        Pattern {
            text: text.into(),
            is_plain: false,
        }
    }

    /// The one that a name alone fits, whatever letters it has.
    pub(super) fn only(name: &str) -> Pattern {
        Pattern {
            text: name.into(),
            is_plain: true,
        }
    }

    /// Whether a whole name fits. Takes time by the product of both lengths at most.
    ///
    /// ```
    /// use quarterjack::policy::Pattern;
    /// assert!(Pattern::new("report-*").fits("report-daily"));
    /// assert!(!Pattern::new("report-*").fits("my-report-daily"));
    /// ```
    pub fn fits(&self, name: &str) -> bool {
        if self.is_plain {
            return *self.text == *name;
        }
        let mut parts = self.text.split('*');
        // There is always a first part.
        let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty(); // no wildcard at all
        };
        // The leftmost place of each part leaves the most for those after it.
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else {
                return false;
            };
            rest = after;
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_wildcard_stands_for_any_characters() {
        let fits = |pattern: &str, name: &str| Pattern::new(pattern).fits(name);
        assert!(fits("*", "") && fits("*", "anything") && fits("**", "x"));
        assert!(fits("report", "report") && !fits("report", "reports"));
        assert!(fits("a*", "a") && fits("a*c", "abc") && !fits("a*c", "abcd"));
        assert!(fits("*-report-*", "my-report-1") && !fits("*-report-*", "report-1"));
        assert!(fits("a*b*a", "aba") && !fits("aba*aba", "aba"));
        assert!(fits("ab*ba", "abba") && !fits("ab*ba", "aba"));
        assert!(!fits("", "a") && fits("", ""));
        assert!(!fits("Report", "report"));
        assert!(fits("*ä*", "xäy"));
        // No name makes it slow.
        let long = "a".repeat(100_000);
        assert!(!fits("*a*a*a*a*a*a*a*a*b", &long));
    }

    /// The plain definition of a wildcard, slow.
    fn slowly(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            [] => name.is_empty(),
            [b'*', rest @ ..] => (0..=name.len()).any(|at| slowly(rest, &name[at..])),
            [first, rest @ ..] => name.first() == Some(first) && slowly(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn it_fits_as_by_definition(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
            prop_assert_eq!(
                Pattern::new(&pattern).fits(&name),
                slowly(pattern.as_bytes(), name.as_bytes())
            );
        }
    }
}
