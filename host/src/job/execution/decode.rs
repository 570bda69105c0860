//! The keys of a definition that say its policies.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::{Coalesce, Failure, Failures, Group, OnLost, Overlap, Policies, RetryPolicy};
use crate::job::decode::Decoder;
use crate::job::diagnostic::quoted;
use crate::job::document::{Member, Node, Value};
use crate::job::keys::{GROUP, GROUP_HERE, RETRY};
use crate::suggest::nearest;
use crate::units::format_duration_exact;

/// The groups of a file, by name.
pub(in crate::job) type Groups = HashMap<Arc<str>, Arc<Group>>;

/// The longest name of a group, in characters.
const LONGEST_NAME: usize = 128;

/// Reads one key of a job or of the defaults, if it is one of the policies; false if it is none.
pub(in crate::job) fn read(
    decoder: &mut Decoder<'_>,
    member: &Member<'_>,
    policies: &mut Arc<Policies>,
    groups: &Groups,
) -> bool {
    let node = &member.value;
    match &*member.key {
        "misfire_grace_time" => {
            if let Some(grace) = grace(decoder, node) {
                Arc::make_mut(policies).misfire_grace_time = grace;
            }
        }
        "coalesce" => {
            if let Some(coalesce) = coalesce(decoder, node) {
                Arc::make_mut(policies).coalesce = coalesce;
            }
        }
        "overlap" => {
            if let Some(overlap) = overlap(decoder, node) {
                Arc::make_mut(policies).overlap = overlap;
            }
        }
        "retry" => {
            if let Some(retry) = retry(decoder, node, &policies.retry) {
                Arc::make_mut(policies).retry = retry;
            }
        }
        "deadline" => {
            if let Some(deadline) = unlimited(decoder, "`deadline`", node) {
                Arc::make_mut(policies).deadline = deadline;
            }
        }
        "on_lost" => {
            let words = [("record", OnLost::Record), ("rerun", OnLost::Rerun)];
            if let Some(on_lost) = word(decoder, "`on_lost`", node, &words, "") {
                Arc::make_mut(policies).on_lost = on_lost;
            }
        }
        "priority" => {
            if let Some(priority) = priority(decoder, node) {
                Arc::make_mut(policies).priority = priority;
            }
        }
        "group" => {
            if let Some(group) = group(decoder, node, groups) {
                Arc::make_mut(policies).group = group;
            }
        }
        _ => return false,
    }
    true
}

/// Reads the `groups` of a file.
pub(in crate::job) fn groups(decoder: &mut Decoder<'_>, node: &Node<'_>) -> Groups {
    let mut groups = Groups::new();
    let example = r#"{"database": {"max_running": 2}}"#;
    for member in decoder
        .object("`groups`", node, example)
        .unwrap_or_default()
    {
        let name = &*member.key;
        check_name(decoder, name, &member.key_span);
        let mut group = Group {
            name: name.into(),
            max_running: None,
        };
        let example = r#"{"max_running": 2}"#;
        for member in decoder
            .object("a group", &member.value, example)
            .unwrap_or_default()
        {
            match &*member.key {
                "max_running" => {
                    group.max_running = decoder.small("`max_running`", &member.value, 1, u32::MAX);
                }
                _ => {
                    decoder.unknown_key(member, &GROUP);
                }
            }
        }
        groups.insert(group.name.clone(), Arc::new(group));
    }
    groups
}

fn grace(decoder: &mut Decoder<'_>, node: &Node<'_>) -> Option<Option<Duration>> {
    unlimited(decoder, "`misfire_grace_time`", node)
}

/// A duration, or `"unlimited"`.
fn unlimited(decoder: &mut Decoder<'_>, name: &str, node: &Node<'_>) -> Option<Option<Duration>> {
    if let Value::String(text) = &node.value {
        if text == "unlimited" {
            return Some(None);
        }
        let is_word = !text.contains(|letter: char| letter.is_ascii_digit());
        if is_word && let Some(word) = nearest(text, ["unlimited"].into_iter()) {
            let message = format!(
                "{name} is a duration or \"unlimited\", not {}",
                quoted(text)
            );
            decoder.error(&node.span, message, format!("did you mean \"{word}\"?"));
            return None;
        }
    }
    decoder.duration(name, node).map(Some)
}

/// One of some words, each of which stands for a value.
fn word<T: Copy>(
    decoder: &mut Decoder<'_>,
    name: &str,
    node: &Node<'_>,
    words: &[(&str, T)],
    or: &str,
) -> Option<T> {
    let list = || {
        let quoted: Vec<String> = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        format!("{}{or}", quoted.join(", "))
    };
    let Value::String(text) = &node.value else {
        decoder.wrong_type(name, &format!("one of {}", list()), node, "");
        return None;
    };
    let found = words.iter().find(|(word, _)| word == text);
    if found.is_none() {
        let label = match nearest(text, words.iter().map(|(word, _)| *word)) {
            Some(word) => format!("did you mean \"{word}\"?"),
            None => format!("one of {}", list()),
        };
        let message = format!("{name} cannot be {}", quoted(text));
        decoder.error(&node.span, message, label);
    }
    found.map(|(_, value)| *value)
}

/// The only member of an object that has but the key `key`.
fn only<'n, 'a>(
    decoder: &mut Decoder<'_>,
    name: &str,
    node: &'n Node<'a>,
    members: &'n [Member<'a>],
    key: &str,
    example: &str,
) -> Option<&'n Node<'a>> {
    for member in members.iter().filter(|member| member.key != key) {
        let message = format!("unknown key {} in {name}", quoted(&member.key));
        decoder.error(&member.key_span, message, format!("write {example}"));
    }
    let found = members.iter().find(|member| member.key == key);
    if members.is_empty() {
        decoder.error(
            &node.span,
            format!("{name} is empty"),
            format!("write {example}"),
        );
    }
    Some(&found?.value)
}

fn coalesce(decoder: &mut Decoder<'_>, node: &Node<'_>) -> Option<Coalesce> {
    let name = "`coalesce`";
    match &node.value {
        Value::Object(members) => {
            let most = only(decoder, name, node, members, "all", r#"{"all": 10}"#)?;
            let most = decoder.small("`all`", most, 1, Coalesce::MOST)?;
            Some(Coalesce::All(most))
        }
        // APScheduler has but the choice between one and all.
        Value::Bool(truth) => {
            let meant = if *truth { "latest" } else { "all" };
            let label = format!("write \"{meant}\"");
            let expected = "\"latest\", \"earliest\", \"all\" or {\"all\": 10}";
            decoder.wrong_type(name, expected, node, &label);
            None
        }
        _ => {
            let words = [
                ("latest", Coalesce::Latest),
                ("earliest", Coalesce::Earliest),
                ("all", Coalesce::All(Coalesce::ALL)),
            ];
            word(decoder, name, node, &words, " or {\"all\": 10}")
        }
    }
}

fn overlap(decoder: &mut Decoder<'_>, node: &Node<'_>) -> Option<Overlap> {
    let name = "`overlap`";
    if let Value::Object(members) = &node.value {
        let most = only(decoder, name, node, members, "queue", r#"{"queue": 10}"#)?;
        let most = decoder.small("`queue`", most, 1, Overlap::MOST)?;
        return Some(Overlap::Queue(most));
    }
    if let Value::String(text) = &node.value
        && text.eq_ignore_ascii_case("forbid")
    {
        // Kubernetes's word for it.
        let message = format!("{name} cannot be {}", quoted(text));
        decoder.error(&node.span, message, "did you mean \"skip\"?");
        return None;
    }
    let words = [
        ("skip", Overlap::Skip),
        ("queue", Overlap::Queue(Overlap::QUEUE)),
        ("allow", Overlap::Allow),
        ("replace", Overlap::Replace),
    ];
    word(decoder, name, node, &words, " or {\"queue\": 10}")
}

/// `retry`: what is set in `node`, and `before` for the rest.
fn retry(decoder: &mut Decoder<'_>, node: &Node<'_>, before: &RetryPolicy) -> Option<RetryPolicy> {
    let mut retry = before.clone();
    let attempts = |decoder: &mut Decoder<'_>, name: &str, node: &Node<'_>| {
        decoder.small(name, node, 1, RetryPolicy::MOST)
    };
    let members = match &node.value {
        Value::Number(_) => {
            retry.attempts = attempts(decoder, "`retry`", node)?;
            return Some(retry);
        }
        Value::Object(members) => members,
        _ => {
            let expected = "a number of attempts, or an object such as {\"attempts\": 3}";
            decoder.wrong_type("`retry`", expected, node, "");
            return None;
        }
    };
    let mut longest = None;
    for member in members {
        let value = &member.value;
        match &*member.key {
            "attempts" => {
                if let Some(count) = attempts(decoder, "`attempts`", value) {
                    retry.attempts = count;
                }
            }
            "backoff" => {
                if let Some(backoff) = decoder.duration("`backoff`", value) {
                    retry.backoff = backoff;
                }
            }
            "factor" => {
                let most = RetryPolicy::LARGEST_FACTOR;
                if let Some(factor) = decoder.decimal("`factor`", value, 1.0, most) {
                    retry.factor = factor;
                }
            }
            "max_backoff" => {
                if let Some(most) = decoder.duration("`max_backoff`", value) {
                    retry.max_backoff = most;
                    longest = Some(value);
                }
            }
            "jitter" => {
                if let Some(jitter) = decoder.decimal("`jitter`", value, 0.0, 1.0) {
                    retry.jitter = jitter;
                }
            }
            "on" => {
                if let Some(on) = failures(decoder, value) {
                    retry.on = Some(on);
                }
            }
            _ => {
                decoder.unknown_key(member, &RETRY);
            }
        }
    }
    if retry.max_backoff < retry.backoff {
        if let Some(node) = longest {
            let first = format_duration_exact(retry.backoff);
            decoder.error(
                &node.span,
                "`max_backoff` is shorter than the first wait",
                format!("at least {first}, the `backoff`"),
            );
        }
        retry.max_backoff = retry.backoff;
    }
    Some(retry)
}

fn failures(decoder: &mut Decoder<'_>, node: &Node<'_>) -> Option<Failures> {
    let elements = decoder.list("`on`", node, r#"["failed", "timed_out"]"#)?;
    if elements.is_empty() {
        let label = "leave it out for every failure that may pass, or write \"retry\": 1";
        decoder.error(&node.span, "`on` names no outcome", label);
    }
    let words = Failure::ALL.map(|failure| (failure.as_str(), failure));
    let mut failures = Failures::default();
    for element in elements {
        let never = match &element.value {
            Value::String(text) => match &**text {
                "succeeded" => Some("a run that has succeeded is done"),
                "cancelled" => Some("a run is cancelled because somebody wants it to end"),
                "lost" => Some("\"on_lost\": \"rerun\" beside `retry` does that"),
                _ => None,
            },
            _ => None,
        };
        if let Some(label) = never {
            let message = "no run is attempted again after that outcome";
            decoder.error(&element.span, message, label);
        } else if let Some(failure) = word(decoder, "an outcome in `on`", element, &words, "") {
            failures.insert(failure);
        }
    }
    Some(failures)
}

fn priority(decoder: &mut Decoder<'_>, node: &Node<'_>) -> Option<i8> {
    let highest = Policies::HIGHEST_PRIORITY;
    let Value::Number(digits) = node.value else {
        decoder.wrong_type("`priority`", "a whole number", node, "");
        return None;
    };
    let priority = digits
        .parse::<i8>()
        .ok()
        .filter(|priority| (-highest..=highest).contains(priority));
    if priority.is_none() {
        let label = format!("a whole number from -{highest} to {highest}");
        decoder.error(&node.span, "`priority` is out of range", label);
    }
    priority
}

/// A group that stands in the job itself, as a definition without a file has it.
fn group_here(decoder: &mut Decoder<'_>, node: &Node<'_>) -> Option<Arc<Group>> {
    let example = r#"{"name": "database", "max_running": 2}"#;
    let (mut name, mut max_running) = (None, None);
    for member in decoder.object("`group`", node, example)? {
        let value = &member.value;
        match &*member.key {
            "name" => name = decoder.string("`name`", value).map(|name| (name, value)),
            "max_running" => {
                max_running = decoder.small("`max_running`", value, 1, u32::MAX);
            }
            _ => {
                decoder.unknown_key(member, &GROUP_HERE);
            }
        }
    }
    let Some((name, value)) = name else {
        let open = node.span.start..node.span.start + 1;
        decoder.error(&open, "the group has no `name`", format!("write {example}"));
        return None;
    };
    check_name(decoder, name, &value.span);
    Some(Arc::new(Group {
        name: name.into(),
        max_running,
    }))
}

/// Says so if something is no name for a group.
fn check_name(decoder: &mut Decoder<'_>, name: &str, span: &Range<usize>) {
    if name.is_empty()
        || name.trim() != name
        || name.chars().any(char::is_control)
        || name.chars().nth(LONGEST_NAME).is_some()
    {
        let message = format!("{} is no name for a group", quoted(name));
        let label = format!("a name has 1 to {LONGEST_NAME} characters, and no spaces around them");
        decoder.error(span, message, label);
    }
}

/// The name of one of the file's groups; `null` for none, whatever the defaults say.
fn group(
    decoder: &mut Decoder<'_>,
    node: &Node<'_>,
    groups: &Groups,
) -> Option<Option<Arc<Group>>> {
    if matches!(node.value, Value::Null) {
        return Some(None);
    }
    if matches!(node.value, Value::Object(_)) {
        return group_here(decoder, node).map(Some);
    }
    let name = decoder.string("`group`", node)?;
    if let Some(group) = groups.get(name) {
        return Some(Some(group.clone()));
    }
    let label = match nearest(name, groups.keys().map(|name| &**name)) {
        Some(near) => format!("did you mean {}?", quoted(near)),
        None => {
            let example = format!("{}: {{\"max_running\": 1}}", quoted(name));
            format!("add \"groups\": {{{example}}} at the top of the file")
        }
    };
    decoder.error(&node.span, format!("no such group {}", quoted(name)), label);
    None
}
