//! Where definitions come from, and what changes when they do.
//!
//! ```text
//! JobSource ──Snapshot──▶ Diff::between(in service, snapshot) ──▶ added, updated, removed
//! ```
//!
//! A source tells everything that it wants each time it is read, never what has changed: a
//! missed notification, a restart and a first start are then the same thing. What has changed
//! is worked out here, once for all kinds of sources.

mod file;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use file::FileSource;

use crate::job::{Diagnostic, Job, Manifest, Policies};

/// A place that definitions of jobs are read from.
///
/// [`read`](JobSource::read) may block, for a file system or a network: the host calls it on a
/// thread of its own, away from the path from a due instant to a run, so that a slow source
/// makes definitions late and never runs.
pub trait JobSource: Send + Sync + 'static {
    /// The source, as the operator named it, such as the path of a file.
    fn name(&self) -> &str;

    /// Reads all that the source wants now.
    ///
    /// # Errors
    /// If nothing could be made of it. What is in service stays in service.
    fn read(&self) -> Result<Snapshot, SourceError>;
}

/// Everything that a source wants at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The definitions.
    pub manifest: Arc<Manifest>,
    /// Whether the source had exactly this to say the last time there was something to read;
    /// `manifest` is then the very same, and there is nothing to do.
    pub unchanged: bool,
}

/// Why a source has nothing to say. Two are equal if they say the same, so that a trouble that
/// lasts need be told only once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It could not be read.
    #[error("{0}")]
    Unreadable(Box<Diagnostic>),
    /// It was read, and nothing in it can be used.
    #[error("{}", first_of(.0))]
    Unusable(Arc<[Diagnostic]>),
}

impl SourceError {
    /// Everything that is wrong, in the order of the text.
    pub fn problems(&self) -> &[Diagnostic] {
        match self {
            SourceError::Unreadable(problem) => std::slice::from_ref(&**problem),
            SourceError::Unusable(problems) => problems,
        }
    }
}

fn first_of(problems: &[Diagnostic]) -> String {
    match problems {
        [] => "nothing in it can be used".into(),
        [only] => only.to_string(),
        [first, others @ ..] => format!("{first} (and {} more)", others.len()),
    }
}

/// What it takes to go from the jobs in service to those that a source wants.
#[derive(Debug, Default)]
pub struct Diff {
    /// New jobs, in the order of the source.
    pub added: Vec<Arc<Job>>,
    /// Jobs whose definition has changed, in the order of the source.
    pub updated: Vec<Update>,
    /// Jobs whose definition is the same at another place of the source, in its order. Put in
    /// service so that their origin is true; nothing else about them changes.
    pub moved: Vec<Arc<Job>>,
    /// Jobs in service that the source no longer has, in the order in which they were given.
    pub removed: Vec<Arc<Job>>,
    /// How many jobs stay as they are: those moved, and those that stay on their last good
    /// definition because the present one is broken.
    pub unchanged: usize,
}

/// A job whose definition has changed.
#[derive(Debug, Clone)]
pub struct Update {
    /// The definition in service.
    pub old: Arc<Job>,
    /// The definition that takes its place.
    pub new: Arc<Job>,
    /// The keys that differ, in the order of the job's documentation; never empty.
    pub fields: Vec<&'static str>,
}

impl Diff {
    /// Compares the jobs that a source has in service with what it wants now.
    ///
    /// A job whose definition is there and broken stays on its last good one. And while the
    /// source has a broken definition that does not tell whose it is (no readable id, or an id
    /// that another definition has too), nothing is removed: it may be the one that is missed.
    pub fn between<'a>(
        in_service: impl IntoIterator<Item = &'a Arc<Job>>,
        wanted: &Manifest,
    ) -> Diff {
        let mut diff = Diff::default();
        let in_service: Vec<&Arc<Job>> = in_service.into_iter().collect();
        let current: HashMap<&str, &Arc<Job>> = in_service
            .iter()
            .map(|job| (job.id.as_str(), *job))
            .collect();
        let mut present = HashSet::with_capacity(wanted.entries.len());
        for job in wanted.jobs() {
            present.insert(job.id.as_str());
            let Some(old) = current.get(job.id.as_str()) else {
                diff.added.push(job.clone());
                continue;
            };
            let fields = if Arc::ptr_eq(old, job) {
                Vec::new()
            } else {
                changed_fields(old, job)
            };
            if !fields.is_empty() {
                diff.updated.push(Update {
                    old: Arc::clone(old),
                    new: job.clone(),
                    fields,
                });
                continue;
            }
            diff.unchanged += 1;
            let same_place = old.origin.file == job.origin.file
                && old.origin.line == job.origin.line
                && old.origin.limit_lines == job.origin.limit_lines
                && old.origin.definition == job.origin.definition;
            if !same_place {
                diff.moved.push(job.clone());
            }
        }
        let mut anybody = false;
        for entry in wanted.entries.iter().filter(|entry| entry.result.is_err()) {
            match &entry.id {
                Some(id) if present.insert(id.as_str()) => {
                    diff.unchanged += usize::from(current.contains_key(id.as_str()));
                }
                _ => anybody = true,
            }
        }
        for job in in_service {
            if present.contains(job.id.as_str()) {
                continue;
            }
            if anybody {
                diff.unchanged += 1;
            } else {
                diff.removed.push(job.clone());
            }
        }
        diff
    }

    /// Whether nothing at all is to be done.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.updated.is_empty()
            && self.moved.is_empty()
            && self.removed.is_empty()
    }
}

/// The keys in which two definitions of a job differ.
fn changed_fields(old: &Job, new: &Job) -> Vec<&'static str> {
    // Taken apart, so that a field added to a job cannot be forgotten here.
    let Job {
        id: _,
        description,
        component,
        sha256,
        trigger,
        run_on_start,
        enabled,
        version,
        params,
        args,
        limits,
        grants,
        max_instances,
        policies,
        deterministic,
        origin: _,
    } = old;
    // Taken apart for the same reason.
    let Policies {
        misfire_grace_time,
        coalesce,
        overlap,
        retry,
        deadline,
        on_lost,
        priority,
        group,
    } = &**policies;
    let after = &*new.policies;
    [
        ("description", *description != new.description),
        ("component", *component != new.component),
        ("sha256", *sha256 != new.sha256),
        ("trigger", *trigger != new.trigger),
        ("params", *params != new.params),
        ("args", *args != new.args),
        ("limits", *limits != new.limits),
        ("grants", *grants != new.grants),
        ("enabled", *enabled != new.enabled),
        ("version", *version != new.version),
        ("run_on_start", *run_on_start != new.run_on_start),
        ("max_instances", *max_instances != new.max_instances),
        ("overlap", *overlap != after.overlap),
        (
            "misfire_grace_time",
            *misfire_grace_time != after.misfire_grace_time,
        ),
        ("coalesce", *coalesce != after.coalesce),
        ("retry", *retry != after.retry),
        ("deadline", *deadline != after.deadline),
        ("on_lost", *on_lost != after.on_lost),
        ("priority", *priority != after.priority),
        ("group", *group != after.group),
        ("deterministic", *deterministic != new.deterministic),
    ]
    .into_iter()
    .filter_map(|(field, differs)| differs.then_some(field))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::SourceText;
    use crate::job::manifest::Options;

    fn manifest(text: &str) -> Manifest {
        let source = Arc::new(SourceText::new("jobs.json", text));
        Manifest::parse(source, &Options::default()).unwrap()
    }

    fn job(id: &str, rest: &str) -> String {
        format!(r#"{{"id": "{id}", "component": "x.wasm", "trigger": "0 0 * * *"{rest}}}"#)
    }

    fn list(jobs: &[String]) -> Manifest {
        manifest(&format!("[{}]", jobs.join(",\n")))
    }

    fn ids(jobs: &[Arc<Job>]) -> Vec<&str> {
        jobs.iter().map(|job| job.id.as_str()).collect()
    }

    #[test]
    fn new_changed_moved_and_vanished_jobs_are_told_apart_in_the_files_order() {
        let before = list(&[job("a", ""), job("b", ""), job("c", ""), job("d", "")]);
        let after = list(&[
            job("z", ""),
            job("a", ""),
            job("c", r#", "version": 2, "params": {}"#),
            job("y", ""),
        ]);
        let diff = Diff::between(before.jobs(), &after);
        assert_eq!(ids(&diff.added), ["z", "y"]);
        assert_eq!(ids(&diff.removed), ["b", "d"]);
        assert_eq!(ids(&diff.moved), ["a"]);
        assert_eq!(diff.unchanged, 1);
        let [update] = &*diff.updated else {
            panic!("{diff:?}")
        };
        assert_eq!(update.fields, ["params", "version"]);
        assert_eq!((update.old.version, update.new.version), (None, Some(2)));
        assert!(!diff.is_empty());
        assert!(Diff::between(after.jobs(), &after).is_empty());
    }

    #[test]
    fn each_field_is_told_by_the_name_of_its_key() {
        let base = list(&[job("a", "")]);
        let pinned = format!(r#", "sha256": "{}""#, "0a".repeat(32));
        for (rest, fields) in [
            (r#", "description": "d""#, vec!["description"]),
            (r#", "args": ["x"]"#, vec!["args"]),
            (&pinned, vec!["sha256"]),
            (r#", "limits": {"fuel": 5}"#, vec!["limits"]),
            (r#", "grants": {"env": {"A": "b"}}"#, vec!["grants"]),
            (r#", "enabled": false"#, vec!["enabled"]),
            (r#", "run_on_start": true"#, vec!["run_on_start"]),
            (r#", "max_instances": 2"#, vec!["max_instances"]),
            (r#", "overlap": "allow""#, vec!["overlap"]),
            (
                r#", "misfire_grace_time": "5m", "coalesce": "earliest""#,
                vec!["misfire_grace_time", "coalesce"],
            ),
            (
                r#", "retry": 3, "deadline": "5m""#,
                vec!["retry", "deadline"],
            ),
            (
                r#", "on_lost": "rerun", "priority": 5"#,
                vec!["on_lost", "priority"],
            ),
            (
                r#", "enabled": true, "grants": {}, "overlap": "skip", "retry": 1, "group": null"#,
                vec![],
            ),
        ] {
            let diff = Diff::between(base.jobs(), &list(&[job("a", rest)]));
            let told: Vec<_> = diff
                .updated
                .iter()
                .flat_map(|it| it.fields.clone())
                .collect();
            assert_eq!(told, fields, "{rest}");
        }
        let other = manifest(r#"[{"id": "a", "component": "y.wasm", "trigger": "1 0 * * *"}]"#);
        let diff = Diff::between(base.jobs(), &other);
        assert_eq!(diff.updated[0].fields, ["component", "trigger"]);
    }

    #[test]
    fn a_broken_definition_keeps_its_job_on_the_last_good_one() {
        let before = list(&[job("a", ""), job("b", ""), job("c", "")]);
        let after = list(&[job("a", r#", "enabled": 3"#), job("b", "")]);
        let diff = Diff::between(before.jobs(), &after);
        assert_eq!(ids(&diff.removed), ["c"]);
        assert_eq!(diff.unchanged, 2);
        // A job that never was good is neither added nor kept.
        let new = list(&[
            job("a", ""),
            job("b", ""),
            job("c", ""),
            job("n", r#", "args": 1"#),
        ]);
        let diff = Diff::between(before.jobs(), &new);
        assert!(diff.is_empty(), "{diff:?}");
        assert_eq!(diff.unchanged, 3);
    }

    #[test]
    fn nothing_is_removed_while_a_definition_does_not_tell_whose_it_is() {
        let before = list(&[job("a", ""), job("b", "")]);
        let nameless = job("b", "").replace("\"id\"", "\"idd\"");
        for unclear in [nameless, job("a", "")] {
            let after = list(&[job("a", ""), unclear]);
            let diff = Diff::between(before.jobs(), &after);
            assert!(diff.removed.is_empty(), "{diff:?}");
            assert_eq!(diff.unchanged, 2);
        }
    }
}
