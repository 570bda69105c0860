//! "Did you mean": the one function that finds the known word nearest to a mistyped one.

/// The word among `known` that a person most likely meant by `word`; nothing if none is near.
///
/// Case, `-`, `_` and spaces do not count, so `maxInstances` is `max_instances`. Otherwise a
/// third of the letters may be wrong, or one word may be the beginning of the other, if that
/// leaves no choice.
///
/// ```
/// use quarterjack::suggest::nearest;
/// let known = ["component", "trigger", "max_instances"];
/// assert_eq!(nearest("componnet", known.into_iter()), Some("component"));
/// assert_eq!(nearest("maxInstances", known.into_iter()), Some("max_instances"));
/// assert_eq!(nearest("colour", known.into_iter()), None);
/// ```
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A word so long is no slip of the fingers, and distances cost time by the square.
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let word = simplified(word);
    let letters = word.chars().count();
    let mut best: Option<(usize, &str)> = None;
    let mut beginnings = 0;
    let mut beginning = None;
    for candidate in known {
        let simple = simplified(candidate);
        let begins = letters >= 3 && simple.starts_with(&word);
        if begins || (simple.len() >= 3 && word.starts_with(&simple)) {
            beginnings += 1;
            beginning = Some(candidate);
        }
        let distance = strsim::damerau_levenshtein(&word, &simple);
        let allowed = letters.max(simple.chars().count()).div_ceil(3).min(4);
        // One wrong letter of two says nothing, so a short word must differ in less than all.
        let near = distance == 0 || (distance <= allowed && distance < letters);
        if near && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    match best {
        Some((_, candidate)) => Some(candidate),
        None if beginnings == 1 => beginning,
        None => None,
    }
}

fn simplified(word: &str) -> String {
    word.chars()
        .filter(|letter| !matches!(letter, '-' | '_' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    fn near(word: &str) -> Option<&'static str> {
        nearest(
            word,
            [
                "id",
                "component",
                "trigger",
                "params",
                "args",
                "limits",
                "enabled",
                "version",
                "run_on_start",
                "cron_expression",
                "memory",
                "output",
                "env",
                "dirs",
                "fuel",
            ]
            .into_iter(),
        )
    }

    #[test]
    fn slips_of_the_fingers_are_understood() {
        assert_eq!(near("trigegr"), Some("trigger"));
        assert_eq!(near("parms"), Some("params"));
        assert_eq!(near("runOnStart"), Some("run_on_start"));
        assert_eq!(near("Limits"), Some("limits"));
        assert_eq!(near("limit"), Some("limits"));
        assert_eq!(near("cron"), Some("cron_expression"));
        assert_eq!(near("dir"), Some("dirs"));
        assert_eq!(near("environment"), Some("env"));
        assert_eq!(near("ID"), Some("id"));
    }

    #[test]
    fn strangers_are_not_forced_on_anybody() {
        for word in [
            "",
            "x",
            "colour",
            "q",
            "schedule",
            "wasm",
            &"m".repeat(100_000),
        ] {
            assert_eq!(near(word), None, "{word}");
        }
    }
}
