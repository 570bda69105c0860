//! `[[hook]]`: whom the host tells of events, by HTTP.

use std::sync::Arc;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::address::HttpUrl;
use super::pattern::Pattern;
use super::place::Place;
use super::reader::{HOOK, Node, Reader, shortened};
use super::sources::secret;
use crate::event::EVENT_NAMES;
use crate::job::JobId;
use crate::suggest::nearest;
use crate::units::format_duration_exact;

/// Somebody who is told of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookSettings {
    /// What it is called in events and errors; no two have the same.
    pub name: Arc<str>,
    /// Where events are sent.
    pub url: HttpUrl,
    /// Which events, by their names: any of these.
    pub events: Arc<[Pattern]>,
    /// Of which jobs, by their ids: any of these. Events that are of no job are told whatever it
    /// says.
    pub jobs: Arc<[Pattern]>,
    /// Whether of runs that end only those are told that failed.
    pub failures_only: bool,
    /// The name of the secret that what is sent is signed with.
    pub secret: Option<Arc<str>>,
    /// How long sending one may take.
    pub timeout: Duration,
    /// How many times it is tried to send one.
    pub attempts: u32,
    /// Where it is set.
    pub place: Place,
}

impl HookSettings {
    /// How long sending an event may take where nothing is said.
    pub const TIMEOUT: Duration = Duration::from_secs(10);
    /// How many times it is tried where nothing is said: for about a day.
    pub const ATTEMPTS: u32 = 12;

    /// Whether it wants to hear of events of a name, of a job if they are of one.
    pub fn wants(&self, event: &str, job: Option<&JobId>) -> bool {
        let fits = |them: &[Pattern], name: &str| them.iter().any(|pattern| pattern.fits(name));
        fits(&self.events, event) && job.is_none_or(|job| fits(&self.jobs, job.as_str()))
    }

    /// Whether another one says the same, be it elsewhere.
    pub(super) fn says_as(&self, other: &HookSettings) -> bool {
        let HookSettings {
            name,
            url,
            events,
            jobs,
            failures_only,
            secret,
            timeout,
            attempts,
            place: _,
        } = self;
        *name == other.name
            && *url == other.url
            && *events == other.events
            && *jobs == other.jobs
            && *failures_only == other.failures_only
            && *secret == other.secret
            && *timeout == other.timeout
            && *attempts == other.attempts
    }
}

/// The longest name of a hook, in bytes.
const LONGEST_NAME: usize = 64;
/// The longest that sending may take.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The most times that it may be tried.
const MOST_ATTEMPTS: u64 = 100;

/// All `[[hook]]`.
pub(super) fn hooks(reader: &mut Reader<'_>, node: &Node<'_>) -> Arc<[HookSettings]> {
    let DeValue::Array(sections) = node.get_ref() else {
        let label = match node.get_ref() {
            DeValue::Table(_) => "write [[hook]] in two pairs of brackets",
            _ => "",
        };
        reader.wrong_type("[[hook]]", "a list of tables", node, label);
        return Arc::default();
    };
    let mut hooks: Vec<HookSettings> = Vec::new();
    for section in sections.iter() {
        let Some(table) = reader.table(section, &HOOK) else {
            continue;
        };
        let name = name(reader, section, table, &hooks);
        let url = url(reader, section, table);
        let events = patterns(reader, table, "events", "run.finished");
        let jobs = patterns(reader, table, "jobs", "*");
        let failures_only = table
            .get("failures_only")
            .and_then(|node| reader.truth("`failures_only`", node));
        let secret = secret(reader, table, "secret");
        let timeout = table.get("timeout").and_then(|node| {
            let most = (LONGEST_TIMEOUT, format_duration_exact(LONGEST_TIMEOUT));
            reader.duration("`timeout`", node, Some(most))
        });
        let attempts = table
            .get("attempts")
            .and_then(|node| reader.count("`attempts`", node, 1, MOST_ATTEMPTS));
        if let (Some(name), Some(url)) = (name, url) {
            hooks.push(HookSettings {
                name,
                url,
                events,
                jobs,
                failures_only: failures_only.unwrap_or(false),
                secret,
                timeout: timeout.unwrap_or(HookSettings::TIMEOUT),
                attempts: attempts
                    .and_then(|attempts| u32::try_from(attempts).ok())
                    .unwrap_or(HookSettings::ATTEMPTS),
                place: reader.place(&section.span()),
            });
        }
    }
    hooks.into()
}

fn name(
    reader: &mut Reader<'_>,
    section: &Node<'_>,
    table: &DeTable<'_>,
    before: &[HookSettings],
) -> Option<Arc<str>> {
    let Some(node) = table.get("name") else {
        let label = "add name = \"on-call\": it is what events and errors call it";
        reader.error(section.span(), "the hook has no name", label);
        return None;
    };
    let name = reader.string("`name`", node)?;
    let fits = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
    if name.is_empty() || !name.chars().all(fits) || name.len() > LONGEST_NAME {
        let message = format!("{:?} is no name of a hook", shortened(name));
        let label = format!("letters, digits, `-`, `_` and `.`, at most {LONGEST_NAME} bytes");
        reader.error(node.span(), message, label);
        return None;
    }
    if let Some(other) = before.iter().find(|other| *other.name == *name) {
        let message = format!("another hook is named {name:?}");
        let label = format!("at {:#}: give this one another name", other.place);
        reader.error(node.span(), message, label);
        return None;
    }
    Some(name.into())
}

fn url(reader: &mut Reader<'_>, section: &Node<'_>, table: &DeTable<'_>) -> Option<HttpUrl> {
    let Some(node) = table.get("url") else {
        let label = "add url = \"https://example.com/hooks/quarterjack\"";
        reader.error(
            section.span(),
            "the hook does not say where events are sent",
            label,
        );
        return None;
    };
    let url = reader.string("`url`", node)?;
    HttpUrl::parse(url)
        .map_err(|why| reader.told(node.span(), &format!("`url`: {why}")))
        .ok()
}

/// A list of patterns, or the one that holds where nothing is said.
fn patterns(
    reader: &mut Reader<'_>,
    table: &DeTable<'_>,
    key: &str,
    usual: &str,
) -> Arc<[Pattern]> {
    let Some(node) = table.get(key) else {
        return Arc::new([Pattern::new(usual)]);
    };
    let DeValue::Array(items) = node.get_ref() else {
        let label = format!("such as {key} = [{usual:?}]");
        reader.wrong_type(&format!("`{key}`"), "a list of patterns", node, &label);
        return Arc::default();
    };
    if items.is_empty() {
        let message = format!("`{key}` is empty, so that the hook would hear of nothing");
        reader.error(node.span(), message, "leave it out for the usual ones");
    }
    let name = format!("a pattern of `{key}`");
    let mut patterns = Vec::new();
    for item in items.iter() {
        let Some(text) = reader.string(&name, item) else {
            continue;
        };
        let pattern = Pattern::new(text);
        if key == "events" && !EVENT_NAMES.iter().any(|event| pattern.fits(event)) {
            let label = match nearest(text, EVENT_NAMES.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "such as `run.finished`, `run.*`, `job.rejected`".to_owned(),
            };
            let message = format!("there is no event {:?}", shortened(text));
            reader.error(item.span(), message, label);
            continue;
        }
        patterns.push(pattern);
    }
    patterns.into()
}
