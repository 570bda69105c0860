//! Definitions under the ceiling: limits that nobody wrote are lowered, and what asks for more is
//! refused at its line of the job file.

use std::ops::Range;
use std::sync::Arc;

use super::{Ceiling, Item, Place, Policy, Refusal};
use crate::job::manifest::Entry;
use crate::job::{Diagnostic, Job, Manifest, SourceText};

impl Policy {
    /// Judges all jobs of a job file. Those above their ceiling are spoilt, each with everything
    /// that it asks for too much.
    pub fn judge(&self, manifest: &mut Manifest) {
        if self.limits_nothing() {
            return;
        }
        let source = manifest.source.clone();
        for entry in &mut manifest.entries {
            let Ok(job) = &mut entry.result else { continue };
            let ceiling = self.ceiling_for(&job.id);
            lower(&ceiling, job);
            let job = job.clone();
            let problems = refused(&ceiling, &source, entry, &job);
            if !problems.is_empty() {
                entry.result = Err(problems);
            }
        }
    }

    /// What the ceiling has against a sound definition of a job file that was not judged: each
    /// thing that it asks for too much, in the order of the text.
    pub fn above(&self, source: &Arc<SourceText>, entry: &Entry) -> Vec<Diagnostic> {
        let Ok(job) = &entry.result else {
            return Vec::new();
        };
        let ceiling = self.ceiling_for(&job.id);
        let mut job = job.clone();
        lower(&ceiling, &mut job);
        refused(&ceiling, source, entry, &job)
    }

    /// Whether a problem of a definition is that it asks for more than the ceiling allows, or than
    /// its creator holds.
    pub fn is_refusal(problem: &Diagnostic) -> bool {
        Place::is_exceeded(&problem.message)
    }
}

/// Lowers the limits that nobody wrote.
fn lower(ceiling: &Ceiling, job: &mut Arc<Job>) {
    if let Some(limits) = ceiling.lowered(job) {
        Arc::make_mut(job).limits = limits;
    }
}

/// All that a job asks for too much, in the order of the text.
fn refused(
    ceiling: &Ceiling,
    source: &Arc<SourceText>,
    entry: &Entry,
    job: &Job,
) -> Vec<Diagnostic> {
    told(source, entry, &ceiling.refusals(job))
}

/// Refusals at their places, in the order of the text.
pub(super) fn told(
    source: &Arc<SourceText>,
    entry: &Entry,
    refusals: &[Refusal],
) -> Vec<Diagnostic> {
    let told = refusals.iter().map(|refusal| tell(source, entry, refusal));
    let mut problems: Vec<Diagnostic> = told.collect();
    problems.sort_by_key(|problem| problem.span.start);
    problems
}

fn tell(source: &Arc<SourceText>, entry: &Entry, refusal: &Refusal) -> Diagnostic {
    let (span, is_value) = place_of(source, entry, refusal.item);
    // A value as it is written, so that it can be searched for.
    let asked = match (limit(refusal.item), source.text().get(span.clone())) {
        (Some((_, name)), Some(written)) if is_value => format!("`{name}` {written}"),
        _ => refusal.asked.clone(),
    };
    let Refusal { allowed, place, .. } = refusal;
    Diagnostic::error(source, span, format!("{asked} {}", place.exceeded()))
        .with_label(format!("{allowed} ({place})"))
        .with_job(entry.id.clone())
}

/// The slot of a limit in [`crate::job::Origin::limit_lines`], and its key.
fn limit(item: Item) -> Option<(usize, &'static str)> {
    Some(match item {
        Item::Timeout => (0, "timeout"),
        Item::Fuel => (1, "fuel"),
        Item::Memory => (2, "memory"),
        Item::Output => (3, "output"),
        Item::LogRate => (4, "log_rate"),
        Item::Handles => (5, "handles"),
        _ => return None,
    })
}

/// Where an item of a definition stands in the text, and whether that is its very value.
fn place_of(source: &SourceText, entry: &Entry, item: Item) -> (Range<usize>, bool) {
    if let Some((slot, _)) = limit(item)
        && let Some(Some(start)) = entry.limit_places.get(slot)
    {
        return (value_at(source, *start as usize), true);
    }
    let place = entry.places.as_ref().and_then(|places| {
        let (list, index) = match item {
            Item::Env(index) => (&places.env, index),
            Item::Config(index) => (&places.config, index),
            Item::Dir(index) => (&places.dirs, index),
            Item::HttpOrigin(index) => (&places.http, index),
            Item::HttpAddress(index) => (&places.http_addresses, index),
            Item::SocketEndpoint(index) => (&places.sockets, index),
            Item::SocketAddress(index) => (&places.socket_addresses, index),
            Item::Secret(index) => (&places.secrets, index),
            Item::State => return places.state.clone(),
            Item::Schedule => return places.schedule.clone(),
            Item::Http => (&places.http, 0),
            _ => return None, // limits
        };
        list.get(index).cloned()
    });
    // `max_instances` has no place of its own: it may be the file's default.
    (place.unwrap_or_else(|| entry.component_span.clone()), false)
}

/// A string or a number that begins at a place of JSON.
fn value_at(source: &SourceText, start: usize) -> Range<usize> {
    let text = source.text().get(start..).unwrap_or_default();
    let length = match text.strip_prefix('"') {
        // What a limit may hold has no escapes in it.
        Some(string) => string.find('"').map_or(text.len(), |end| end + 2),
        None => text
            .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '+' | '-'))
            .unwrap_or(text.len()),
    };
    start..start + length
}
