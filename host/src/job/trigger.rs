//! A job's trigger in a job file: a text, or an object with one kind of trigger and what bounds
//! it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::calendars::Calendars;
use super::decode::Decoder;
use super::diagnostic::quoted;
use super::document::{Member, Node, Value};
use super::keys::{CALENDAR, TRIGGER};
use crate::suggest::nearest;
use crate::trigger::{
    After, AtTrigger, Bounds, CalendarError, CalendarPart, CalendarTrigger, Dst, Ending, Instead,
    IntervalTrigger, Moment, NotOn, Reading, Trigger, TriggerError, Zone,
};

/// What holds where a trigger does not say otherwise.
#[derive(Clone, Copy)]
pub(super) struct Context<'c> {
    /// The zone of local times.
    pub(super) zone: Zone,
    /// What becomes of runs that a change of the clock skips.
    pub(super) dst: Dst,
    /// The file's exclusion calendars.
    pub(super) calendars: &'c Calendars,
    /// The id of the job.
    pub(super) job: &'c str,
}

impl<'c> Context<'c> {
    fn reading(self) -> Reading<'c> {
        Reading {
            zone: self.zone,
            dst: self.dst,
            job: Some(self.job),
        }
    }
}

/// The keys that say what kind of trigger it is.
const KINDS: [&str; 7] = ["cron", "interval", "calendar", "at", "any", "all", "after"];

/// The keys that bound one.
const BOUNDS: [&str; 6] = ["start", "end", "max_runs", "not_on", "instead", "jitter"];

/// Reads a trigger in any of its forms.
pub(super) fn read(
    decoder: &mut Decoder<'_>,
    name: &str,
    node: &Node<'_>,
    context: Context<'_>,
) -> Option<Trigger> {
    match &node.value {
        Value::String(text) => match Trigger::parse(text, context.reading()) {
            Ok(trigger) => Some(trigger),
            Err(error) => {
                decoder.trigger_error(node, error);
                None
            }
        },
        Value::Object(members) => read_object(decoder, node, members, context),
        _ => {
            let expected = "a string such as \"*/5 * * * *\" or \"@every 5s\", or an object such as {\"interval\": \"5s\"}";
            decoder.wrong_type(name, expected, node, "");
            None
        }
    }
}

/// Reads a cron expression.
pub(super) fn cron(
    decoder: &mut Decoder<'_>,
    node: &Node<'_>,
    context: Context<'_>,
) -> Option<Trigger> {
    let Value::String(text) = &node.value else {
        let expected = "a cron expression such as \"*/5 * * * *\"";
        decoder.wrong_type("`cron`", expected, node, "");
        return None;
    };
    match Trigger::cron(text, context.reading()) {
        Ok(trigger) => Some(trigger),
        Err(error) => {
            decoder.trigger_error(node, error);
            None
        }
    }
}

/// Where a trigger says when: at what kind of trigger it is, if it is an object.
pub(super) fn place(node: &Node<'_>) -> Range<usize> {
    match &node.value {
        Value::Object(members) => members
            .iter()
            .find(|member| KINDS.contains(&&*member.key))
            .map_or(node.span.clone(), |member| member.value.span.clone()),
        _ => node.span.clone(),
    }
}

/// The jobs that a trigger comes after, and where each is named.
pub(super) fn upstreams(node: &Node<'_>, to: &mut Vec<(Arc<str>, Range<usize>)>) {
    let Value::Object(members) = &node.value else {
        return; // a text names no job
    };
    for member in members {
        match (&*member.key, &member.value.value) {
            ("after", Value::String(job)) => to.push(((**job).into(), member.value.span.clone())),
            ("after", Value::Number(job)) => to.push(((*job).into(), member.value.span.clone())),
            ("any", Value::Array(parts)) => parts.iter().for_each(|part| upstreams(part, to)),
            _ => {}
        }
    }
}

fn read_object(
    decoder: &mut Decoder<'_>,
    node: &Node<'_>,
    members: &[Member<'_>],
    context: Context<'_>,
) -> Option<Trigger> {
    let before = decoder.problems.len();
    let mut known = true;
    for member in members {
        if member.key == "cron_expression" {
            known = false;
            let message = "unknown key \"cron_expression\" in a trigger";
            let label = "inside of `trigger` it is \"cron\"";
            decoder.error(&member.key_span, message, label);
        } else if !TRIGGER.known.contains(&&*member.key) {
            known = false;
            decoder.unknown_key(member, &TRIGGER);
        }
    }
    let find = |key: &str| members.iter().find(|member| member.key == key);
    let context = Context {
        zone: find("timezone")
            .and_then(|member| decoder.zone(&member.value))
            .unwrap_or(context.zone),
        dst: find("dst")
            .and_then(|member| dst(decoder, &member.value))
            .unwrap_or(context.dst),
        ..context
    };
    let mut kinds = members
        .iter()
        .filter(|member| KINDS.contains(&&*member.key));
    let Some(kind) = kinds.next() else {
        // A misspelt key has been told of, and is the one that is missing.
        if known {
            let start = node.span.start..node.span.start + 1;
            let label = "add \"cron\": \"*/5 * * * *\" or \"interval\": \"5s\"";
            decoder.error(&start, "the trigger does not say when", label);
        }
        return None;
    };
    // The same key twice has been told of.
    if let Some(second) = kinds.find(|member| member.key != kind.key) {
        let message = format!("a trigger has either `{}` or `{}`", kind.key, second.key);
        let label = format!(
            "for both: {{\"any\": [{{\"{}\": …}}, {{\"{}\": …}}]}}",
            kind.key, second.key
        );
        decoder.error(&second.key_span, message, label);
        return None;
    }
    if misplaced(decoder, members, kind) {
        return None;
    }
    let bounds = bounds(decoder, members, context);
    let value = &kind.value;
    let trigger = match &*kind.key {
        "cron" => cron(decoder, value, context),
        "interval" => interval(decoder, value, bounds.start),
        "calendar" => calendar(decoder, value, bounds.start, context),
        "at" => at(decoder, value, context.zone),
        "after" => after(decoder, value, find("on")),
        key => combined(decoder, key, value, context),
    }?;
    let bounded = bound(decoder, members, kind, trigger, bounds, context);
    // What is wrong with a bound spoils the trigger.
    bounded.filter(|_| decoder.problems.len() == before)
}

/// Tells of keys that say nothing beside this kind of trigger; true if there are any.
fn misplaced(decoder: &mut Decoder<'_>, members: &[Member<'_>], kind: &Member<'_>) -> bool {
    let mut found = false;
    for member in members {
        let allowed: &[&str] = match &*member.key {
            "timezone" => &["cron", "calendar", "at", "any", "all"],
            "dst" => &["cron", "calendar", "any", "all"],
            "on" => &["after"],
            key if BOUNDS.contains(&key) => &["cron", "interval", "calendar", "any", "all"],
            _ => continue,
        };
        if allowed.contains(&&*kind.key) {
            continue;
        }
        // A bound is in local time, and so a zone says something beside one.
        let has_bounds = members
            .iter()
            .any(|member| matches!(&*member.key, "start" | "end" | "not_on"));
        if member.key == "timezone" && has_bounds && kind.key == "interval" {
            continue;
        }
        let why = match (&*member.key, &*kind.key) {
            ("timezone", "interval") => "an interval has no time zone: leave it out",
            ("dst", "interval") => "an interval does not follow the wall clock: leave it out",
            ("on", _) => "`on` goes with `after`",
            (_, "at") => "it fires once: leave it out",
            (_, "after") => "it follows another job: leave it out",
            _ => "leave it out",
        };
        decoder.error(
            &member.key_span,
            format!("`{}` beside `{}`", member.key, kind.key),
            why,
        );
        found = true;
    }
    found
}

fn dst(decoder: &mut Decoder<'_>, node: &Node<'_>) -> Option<Dst> {
    choice(
        decoder,
        "`dst`",
        node,
        &[("run", Dst::RunAfter), ("skip", Dst::Skip)],
    )
}

/// One of a few words.
fn choice<T: Copy>(
    decoder: &mut Decoder<'_>,
    name: &str,
    node: &Node<'_>,
    choices: &[(&str, T)],
) -> Option<T> {
    let words: Vec<String> = choices
        .iter()
        .map(|(word, _)| format!("\"{word}\""))
        .collect();
    let expected = words.join(" or ");
    let Value::String(text) = &node.value else {
        decoder.wrong_type(name, &expected, node, "");
        return None;
    };
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == &**text) {
        return Some(*value);
    }
    let label = match nearest(text, choices.iter().map(|(word, _)| *word)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => expected.clone(),
    };
    decoder.error(
        &node.span,
        format!("{name} is {expected}, not {}", quoted(text)),
        label,
    );
    None
}

/// A moment: an instant, a local time or a day.
fn moment(decoder: &mut Decoder<'_>, name: &str, node: &Node<'_>, zone: Zone) -> Option<Moment> {
    let text = decoder.string(name, node)?;
    match Moment::parse(text, zone) {
        Ok(moment) => Some(moment),
        Err(mut error) => {
            error.message = format!("{name}: {}", error.message);
            decoder.trigger_error(node, error);
            None
        }
    }
}

/// Reads the bounds that are there, as far as they are right by themselves.
fn bounds(decoder: &mut Decoder<'_>, members: &[Member<'_>], context: Context<'_>) -> Bounds {
    let mut bounds = Bounds::default();
    for member in members {
        let value = &member.value;
        match &*member.key {
            "start" => {
                let start = moment(decoder, "`start`", value, context.zone);
                bounds.start = start.map(|moment| moment.instant);
            }
            "end" => {
                let end = moment(decoder, "`end`", value, context.zone);
                bounds.end = end.map(|moment| moment.last_instant());
            }
            "max_runs" => {
                // What is too much for the type is too much for the trigger, too.
                let runs = decoder.integer("`max_runs`", value, 1);
                bounds.max_runs = runs.map(|runs| u32::try_from(runs).unwrap_or(u32::MAX));
            }
            "jitter" => bounds.jitter = decoder.duration("`jitter`", value),
            "not_on" => bounds.not_on = not_on(decoder, members, value, context),
            "instead" if !members.iter().any(|member| member.key == "not_on") => {
                let message = "`instead` without `not_on`";
                let label = "it says what happens on the days of `not_on`";
                decoder.error(&member.key_span, message, label);
            }
            _ => {}
        }
    }
    if bounds.start.is_some() || bounds.end.is_some() || bounds.not_on.is_some() {
        bounds.zone = Some(context.zone);
    }
    bounds
}

fn not_on(
    decoder: &mut Decoder<'_>,
    members: &[Member<'_>],
    node: &Node<'_>,
    context: Context<'_>,
) -> Option<NotOn> {
    let choices = [
        ("skip", Instead::Skip),
        ("next business day", Instead::NextBusinessDay),
    ];
    let instead = members
        .iter()
        .find(|member| member.key == "instead")
        .map_or(Some(Instead::Skip), |member| {
            choice(decoder, "`instead`", &member.value, &choices)
        });
    let (days, names) = context.calendars.excluded(decoder, node)?;
    Some(NotOn::new(days, names, instead?))
}

fn bound(
    decoder: &mut Decoder<'_>,
    members: &[Member<'_>],
    kind: &Member<'_>,
    trigger: Trigger,
    bounds: Bounds,
    context: Context<'_>,
) -> Option<Trigger> {
    let find = |key: &str| members.iter().find(|member| member.key == key);
    // Where the only thing that can be wrong with bounds that are right by themselves stands.
    let place = if trigger.has_instants() {
        match (bounds.start, bounds.end) {
            (Some(start), Some(end)) if end < start => find("end"),
            _ => find("max_runs"),
        }
    } else {
        members.iter().find(|member| BOUNDS.contains(&&*member.key))
    };
    let place = place.unwrap_or(kind).value.span.clone();
    match trigger.within(bounds, context.job) {
        Ok(trigger) => Some(trigger),
        Err(error) => {
            decoder.error(&place, error.message, error.label).hint = error.hint;
            None
        }
    }
}

fn interval(
    decoder: &mut Decoder<'_>,
    node: &Node<'_>,
    start: Option<DateTime<Utc>>,
) -> Option<Trigger> {
    let period: Duration = decoder.duration("`interval`", node)?;
    let interval = match start {
        // It counts from where it begins.
        Some(start) => IntervalTrigger::from(period, start),
        None => IntervalTrigger::new(period),
    };
    match interval {
        Ok(interval) => Some(Trigger::Interval(interval)),
        Err(error) => {
            decoder.trigger_error(node, error);
            None
        }
    }
}

/// Reads `{"every", "on", "at"}`; periods are counted from the one of `start`.
fn calendar(
    decoder: &mut Decoder<'_>,
    node: &Node<'_>,
    start: Option<DateTime<Utc>>,
    context: Context<'_>,
) -> Option<Trigger> {
    let example = r#"{"every": "2 weeks", "on": "mon", "at": "09:00"}"#;
    let before = decoder.problems.len();
    let mut every = None;
    let (mut on, mut at) = (Vec::new(), Vec::new());
    let mut known = true;
    for member in decoder.object("`calendar`", node, example)? {
        let value = &member.value;
        match &*member.key {
            "every" => every = decoder.string("`every`", value).map(|text| (text, value)),
            "on" => on = texts(decoder, "`on`", value),
            "at" => at = texts(decoder, "`at`", value),
            _ => {
                known = false;
                decoder.unknown_key(member, &CALENDAR);
            }
        }
    }
    if decoder.problems.len() > before && !known {
        return None; // what is missing may be what is misspelt
    }
    let open = node.span.start..node.span.start + 1;
    let Some((every, every_node)) = every else {
        if decoder.problems.len() == before {
            let label = "add \"every\": \"2 weeks\"";
            decoder.error(&open, "the calendar does not say how often", label);
        }
        return None;
    };
    if decoder.problems.len() > before {
        return None;
    }
    let text = |texts: &[(&'_ str, &Node<'_>)]| -> Vec<String> {
        texts.iter().map(|(text, _)| (*text).to_owned()).collect()
    };
    let (on_texts, at_texts) = (text(&on), text(&at));
    let made = CalendarTrigger::new(
        every,
        &on_texts.iter().map(String::as_str).collect::<Vec<_>>(),
        &at_texts.iter().map(String::as_str).collect::<Vec<_>>(),
        start.map(|start| context.zone.to_wall(start).0.date()),
        context.zone,
        context.dst,
    );
    let CalendarError { part, error } = match made {
        Ok(calendar) => return Some(Trigger::Calendar(calendar)),
        Err(error) => error,
    };
    let place = match part {
        CalendarPart::Every => Some(every_node),
        CalendarPart::On(index) => on.get(index).map(|(_, node)| *node),
        CalendarPart::At(index) => at.get(index).map(|(_, node)| *node),
    };
    match place {
        Some(place) => decoder.trigger_error(place, error),
        None => {
            decoder.error(&open, error.message, error.label).hint = error.hint;
        }
    }
    None
}

/// A text, or a list of them; a whole number counts as its digits.
fn texts<'n, 'a>(
    decoder: &mut Decoder<'_>,
    name: &str,
    node: &'n Node<'a>,
) -> Vec<(&'n str, &'n Node<'a>)> {
    let one = std::slice::from_ref(node);
    let elements: &'n [Node<'a>] = match &node.value {
        Value::Array(elements) => elements,
        _ => one,
    };
    if elements.is_empty() {
        decoder.error(&node.span, format!("{name} is empty"), "leave it out");
    }
    let mut texts = Vec::with_capacity(elements.len());
    for element in elements {
        let text = match &element.value {
            Value::Number(digits) => Some(*digits),
            Value::String(text) => Some(&**text),
            _ => {
                decoder.wrong_type(name, "a string or a list of strings", element, "");
                None
            }
        };
        texts.extend(text.map(|text| (text, element)));
    }
    texts
}

fn at(decoder: &mut Decoder<'_>, node: &Node<'_>, zone: Zone) -> Option<Trigger> {
    let found = moment(decoder, "`at`", node, zone)?;
    if found.local.is_some_and(|local| local.is_day) {
        let label = "add the time: \"2026-12-24T18:00\"";
        decoder.error(&node.span, "`at` is a day without a time", label);
        return None;
    }
    Some(Trigger::At(AtTrigger::new(found)))
}

fn after(decoder: &mut Decoder<'_>, node: &Node<'_>, on: Option<&Member<'_>>) -> Option<Trigger> {
    let endings = [
        ("success", Ending::Success),
        ("failure", Ending::Failure),
        ("always", Ending::Always),
    ];
    let on = match on {
        Some(member) => choice(decoder, "`on`", &member.value, &endings)?,
        None => Ending::default(),
    };
    let job = match &node.value {
        // As an id itself may be written.
        Value::Number(digits) if !digits.contains(['.', 'e', 'E', '-']) => digits,
        _ => decoder.string("`after`", node)?,
    };
    Some(Trigger::After(After {
        job: job.into(),
        on,
    }))
}

fn combined(
    decoder: &mut Decoder<'_>,
    key: &str,
    node: &Node<'_>,
    context: Context<'_>,
) -> Option<Trigger> {
    let name = format!("`{key}`");
    let elements = decoder.list(&name, node, r#"["0 9 * * *", {"interval": "5h"}]"#)?;
    let mut parts = Vec::with_capacity(elements.len());
    for element in elements {
        if let Value::Object(members) = &element.value
            && let Some(jitter) = members.iter().find(|member| member.key == "jitter")
        {
            let label = format!("move it out, beside `{key}`");
            let message = "`jitter` is of the whole trigger, not of a part";
            decoder.error(&jitter.key_span, message, label);
            continue;
        }
        parts.extend(read(decoder, "a trigger", element, context));
    }
    if parts.len() < elements.len() {
        return None; // what is wrong with the others has been told
    }
    let combined: Result<Trigger, TriggerError> = if key == "any" {
        Trigger::any(parts)
    } else {
        Trigger::all(parts)
    };
    match combined {
        Ok(trigger) => Some(trigger),
        Err(error) => {
            decoder.error(&node.span, error.message, error.label).hint = error.hint;
            None
        }
    }
}
