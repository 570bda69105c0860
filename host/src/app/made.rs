//! Jobs that jobs have made, as far as their definitions are concerned: each is what its creator
//! allows it to be.

use std::collections::HashMap;
use std::sync::Arc;

use crate::job::manifest::Entry;
use crate::job::{Diagnostic, Job, JobId, Manifest};
use crate::policy::judge_made;

/// The documents of a source, those that jobs have made as their creators allow them. `creators`
/// are those that nobody has made, as far as they can be used.
pub(super) fn as_allowed(
    manifests: Vec<Arc<Manifest>>,
    creators: &HashMap<JobId, Arc<Job>>,
) -> Vec<Arc<Manifest>> {
    let mut allowed = manifests;
    // What was made by one of them comes after it.
    let mut made: HashMap<JobId, Arc<Job>> = HashMap::new();
    let mut left: Vec<usize> = (0..allowed.len())
        .filter(|at| allowed.get(*at).is_some_and(|it| creator_of(it).is_some()))
        .collect();
    while !left.is_empty() {
        let before = left.len();
        left.retain(|at| {
            let Some(manifest) = allowed.get_mut(*at) else {
                return false;
            };
            let creator = creator_of(manifest).and_then(|it| creators.get(it).or(made.get(it)));
            let Some(creator) = creator else {
                return true;
            };
            let judged = judge_made(manifest, creator);
            made.extend(judged.jobs().map(|job| (job.id.clone(), job.clone())));
            *manifest = Arc::new(judged);
            false
        });
        if left.len() == before {
            break;
        }
    }
    for at in left {
        if let Some(manifest) = allowed.get_mut(at) {
            *manifest = Arc::new(orphaned(manifest));
        }
    }
    allowed
}

/// The job that made a document.
fn creator_of(manifest: &Manifest) -> Option<&JobId> {
    manifest.jobs().next()?.origin.creator.as_ref()
}

/// The creators of a source's documents.
pub(super) fn creators_of<'m>(
    manifests: &'m [Arc<Manifest>],
) -> impl Iterator<Item = &'m JobId> + 'm {
    manifests.iter().filter_map(|manifest| creator_of(manifest))
}

/// A document whose creator cannot be used.
fn orphaned(manifest: &Manifest) -> Manifest {
    let mut manifest = manifest.clone();
    let source = manifest.source.clone();
    for entry in &mut manifest.entries {
        let Ok(job) = &entry.result else { continue };
        let Some(creator) = &job.origin.creator else {
            continue;
        };
        let message = format!("the job `{creator}`, which made this one, is not in service");
        let problem = Diagnostic::error(&source, entry.component_span.clone(), message)
            .with_label("this job comes and goes with it")
            .with_job(entry.id.clone());
        entry.result = Err(vec![problem]);
    }
    manifest
}

/// Whether a job in service is to leave it for what its definition has become: it was made by
/// another one, which does not allow it any more. What a person wrote stays while it is broken.
pub(super) fn is_to_leave(in_service: &HashMap<JobId, Arc<Job>>, entry: &Entry) -> bool {
    let job = entry.id.as_ref().and_then(|id| in_service.get(id));
    entry.result.is_err() && job.is_some_and(|job| job.origin.creator.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::manifest::{Form, Options};
    use crate::job::{Grants, OnRemoval, ScheduleGrant, SourceText};

    fn made(id: &str, creator: &str, rest: &str) -> Arc<Manifest> {
        let text = format!(r#"{{"component": "a.wasm", "trigger": "@daily"{rest}}}"#);
        let source = Arc::new(SourceText::new(format!("host:{id}"), text));
        let options = Options {
            form: Form::One {
                id: id.into(),
                component: None,
            },
            creator: Some(creator.into()),
            ..Options::default()
        };
        Arc::new(Manifest::parse(source, &options).unwrap())
    }

    fn creator() -> HashMap<JobId, Arc<Job>> {
        let mut job = Job::by_hand("a".into(), "a.wasm");
        job.grants = Arc::new(Grants {
            schedule: Some(ScheduleGrant {
                prefix: "a/".into(),
                max_jobs: 10,
                on_removal: OnRemoval::Remove,
            }),
            ..Grants::default()
        });
        [(job.id.clone(), Arc::new(job))].into()
    }

    fn told(manifests: &[Arc<Manifest>]) -> String {
        let entries = manifests.iter().flat_map(|manifest| &manifest.entries);
        let told = entries.map(|entry| match &entry.result {
            Ok(job) => format!("{} of {}", job.id, job.origin),
            Err(problems) => problems[0].to_string(),
        });
        told.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_is_judged_after_the_one_that_made_it() {
        let schedule = r#", "grants": {"schedule": {"prefix": "a/b/", "max_jobs": 5}}"#;
        let manifests = vec![
            made("a/b/c/d", "a/b/c", ""),
            made("a/b/c", "a/b", ""),
            made("a/b", "a", schedule),
            made("a/e", "a", r#", "grants": {"state": true}"#),
            made("x/y", "x", ""),
            made("p", "q", ""),
            made("q", "p", ""),
        ];
        insta::assert_snapshot!(told(&as_allowed(manifests, &creator())), @r#"
        host:a/b/c/d:1:15: the id "a/b/c/d" is more than its creator holds: it may define no jobs (as `a/b/c`)
        a/b/c of host:a/b/c:1 (by a/b)
        a/b of host:a/b:1 (by a)
        host:a/e:1:66: `state` is more than its creator holds: none is allowed (as `a`)
        host:x/y:1:15: the job `x`, which made this one, is not in service: this job comes and goes with it
        host:p:1:15: the job `q`, which made this one, is not in service: this job comes and goes with it
        host:q:1:15: the job `p`, which made this one, is not in service: this job comes and goes with it
        "#);
    }
}
