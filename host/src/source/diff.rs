//! What it takes to go from the jobs in service to those that a source wants.

use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::job::manifest::Entry;
use crate::job::{Job, JobId, Manifest, Policies};

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
    /// Jobs in service that the source no longer has, in the order of their ids.
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

/// A definition in the document that it stands in.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The document.
    pub manifest: &'a Manifest,
    /// The definition.
    pub entry: &'a Entry,
}

/// What the documents of a source want together: each id in one of them.
#[derive(Debug, Default)]
pub struct Wanted<'a> {
    /// The definitions, in the order of the source.
    pub claims: Vec<Claim<'a>>,
    /// Those whose id a definition of another document has, and which document that is.
    pub contested: Vec<(Claim<'a>, &'a Arc<str>)>,
}

impl<'a> Wanted<'a> {
    /// What these documents want. An id that two of them have stays with the one that it is in
    /// service from, or else with the first.
    pub fn among(
        manifests: impl IntoIterator<Item = &'a Arc<Manifest>>,
        in_service: &HashMap<JobId, Arc<Job>>,
    ) -> Self {
        let manifests: Vec<&'a Arc<Manifest>> = manifests.into_iter().collect();
        let mut wanted = Wanted::default();
        let claims = manifests.iter().flat_map(|manifest| {
            let of_entry = |entry| Claim { manifest, entry };
            manifest.entries.iter().map(of_entry)
        });
        let [_, _, ..] = manifests[..] else {
            wanted.claims.extend(claims);
            return wanted;
        };
        let mut owners: HashMap<&'a str, &'a Arc<str>> = HashMap::new();
        for claim in claims.clone() {
            let Some(id) = &claim.entry.id else { continue };
            let document = claim.manifest.source.name();
            let incumbent = in_service
                .get(id)
                .is_some_and(|job| job.origin.file == *document);
            match owners.entry(id.as_str()) {
                Vacant(owner) => drop(owner.insert(document)),
                Occupied(mut owner) if incumbent => drop(owner.insert(document)),
                Occupied(_) => {}
            }
        }
        for claim in claims {
            let owner = claim
                .entry
                .id
                .as_ref()
                .and_then(|id| owners.get(id.as_str()));
            match owner {
                Some(&owner) if owner != claim.manifest.source.name() => {
                    wanted.contested.push((claim, owner));
                }
                _ => wanted.claims.push(claim),
            }
        }
        wanted
    }

    /// The jobs in service that are not wanted any more, in no order.
    pub fn missing<'j>(
        &self,
        in_service: &'j HashMap<JobId, Arc<Job>>,
    ) -> impl Iterator<Item = &'j Arc<Job>> {
        let good = || self.claims.iter().flat_map(|claim| &claim.entry.result);
        let still_wanted = good().filter(|job| in_service.contains_key(&job.id));
        // Most often none is, and then there is nothing to look for.
        let some = still_wanted.count() < in_service.len();
        some.then(|| self.not_among(in_service))
            .into_iter()
            .flatten()
    }

    /// The same, looked for one by one.
    fn not_among<'j>(
        &self,
        in_service: &'j HashMap<JobId, Arc<Job>>,
    ) -> impl Iterator<Item = &'j Arc<Job>> {
        let mut present = HashSet::with_capacity(self.claims.len());
        let good = self.claims.iter().flat_map(|claim| &claim.entry.result);
        present.extend(good.map(|job| job.id.as_str()));
        // The documents with a definition that does not tell whose it is.
        let mut unclear = HashSet::new();
        for Claim { manifest, entry } in &self.claims {
            if entry.result.is_ok() {
                continue;
            }
            let told = entry.id.as_ref().map(JobId::as_str);
            if !told.is_some_and(|id| present.insert(id)) {
                unclear.insert(manifest.source.name());
            }
        }
        in_service.values().filter(move |job| {
            !present.contains(job.id.as_str()) && !unclear.contains(&job.origin.file)
        })
    }
}

impl Diff {
    /// Compares the jobs that a source has in service with what it wants now.
    ///
    /// A job whose definition is there and broken stays on its last good one. And while a document
    /// has a broken definition that does not tell whose it is (no readable id, or an id that
    /// another definition has too), none of the jobs that came from it is removed: it may be the
    /// one that is missed.
    pub fn between(in_service: &HashMap<JobId, Arc<Job>>, wanted: &Wanted<'_>) -> Diff {
        let mut diff = Diff::default();
        let mut known = 0;
        for claim in &wanted.claims {
            let Ok(job) = &claim.entry.result else {
                continue;
            };
            let Some(old) = in_service.get(&job.id) else {
                diff.added.push(job.clone());
                continue;
            };
            known += 1;
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
            let same_place = old.origin.file == job.origin.file
                && old.origin.line == job.origin.line
                && old.origin.limit_lines == job.origin.limit_lines
                && old.origin.definition == job.origin.definition;
            if !same_place {
                diff.moved.push(job.clone());
            }
        }
        // Each id is wanted once: if all are known, none is missing.
        if known < in_service.len() {
            diff.removed = wanted.not_among(in_service).cloned().collect();
        }
        diff.removed.sort_by(|a, b| a.id.cmp(&b.id));
        diff.unchanged = in_service.len() - diff.updated.len() - diff.removed.len();
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

    fn document(name: &str, text: &str) -> Arc<Manifest> {
        let source = Arc::new(SourceText::new(name, text));
        Arc::new(Manifest::parse(source, &Options::default()).unwrap())
    }

    fn manifest(text: &str) -> Arc<Manifest> {
        document("jobs.json", text)
    }

    /// As if all jobs of these documents were in service.
    fn in_service(documents: &[&Arc<Manifest>]) -> HashMap<JobId, Arc<Job>> {
        let jobs = documents.iter().flat_map(|document| document.jobs());
        jobs.map(|job| (job.id.clone(), job.clone())).collect()
    }

    /// From one text to another.
    fn between(before: &Arc<Manifest>, after: &Arc<Manifest>) -> Diff {
        let in_service = in_service(&[before]);
        Diff::between(&in_service, &Wanted::among([after], &in_service))
    }

    fn job(id: &str, rest: &str) -> String {
        format!(r#"{{"id": "{id}", "component": "x.wasm", "trigger": "0 0 * * *"{rest}}}"#)
    }

    fn list(jobs: &[String]) -> Arc<Manifest> {
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
        let diff = between(&before, &after);
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
        assert!(between(&after, &after).is_empty());
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
            let diff = between(&base, &list(&[job("a", rest)]));
            let told: Vec<_> = diff
                .updated
                .iter()
                .flat_map(|it| it.fields.clone())
                .collect();
            assert_eq!(told, fields, "{rest}");
        }
        let other = manifest(r#"[{"id": "a", "component": "y.wasm", "trigger": "1 0 * * *"}]"#);
        let diff = between(&base, &other);
        assert_eq!(diff.updated[0].fields, ["component", "trigger"]);
    }

    #[test]
    fn a_broken_definition_keeps_its_job_on_the_last_good_one() {
        let before = list(&[job("a", ""), job("b", ""), job("c", "")]);
        let after = list(&[job("a", r#", "enabled": 3"#), job("b", "")]);
        let diff = between(&before, &after);
        assert_eq!(ids(&diff.removed), ["c"]);
        assert_eq!(diff.unchanged, 2);
        // A job that never was good is neither added nor kept.
        let new = list(&[
            job("a", ""),
            job("b", ""),
            job("c", ""),
            job("n", r#", "args": 1"#),
        ]);
        let diff = between(&before, &new);
        assert!(diff.is_empty(), "{diff:?}");
        assert_eq!(diff.unchanged, 3);
    }

    #[test]
    fn nothing_is_removed_while_a_definition_does_not_tell_whose_it_is() {
        let before = list(&[job("a", ""), job("b", "")]);
        let nameless = job("b", "").replace("\"id\"", "\"idd\"");
        for unclear in [nameless, job("a", "")] {
            let after = list(&[job("a", ""), unclear]);
            let diff = between(&before, &after);
            assert!(diff.removed.is_empty(), "{diff:?}");
            assert_eq!(diff.unchanged, 2);
        }
    }

    #[test]
    fn the_documents_of_a_source_own_their_jobs_together() {
        let one = document("a.json", &format!("[{}, {}]", job("a", ""), job("b", "")));
        let two = document("b.json", &format!("[{}]", job("c", "")));
        let before = in_service(&[&one, &two]);
        // A job that goes from one document to the other is the same job.
        let fewer = document("a.json", &format!("[{}]", job("a", "")));
        let more = document("b.json", &format!("[{}, {}]", job("b", ""), job("c", "")));
        let diff = Diff::between(&before, &Wanted::among([&fewer, &more], &before));
        assert_eq!(ids(&diff.moved), ["b"]);
        assert_eq!((diff.unchanged, diff.removed.len()), (3, 0));
        // A document that is gone takes its jobs with it.
        let diff = Diff::between(&before, &Wanted::among([&one], &before));
        assert_eq!(ids(&diff.removed), ["c"]);
    }

    #[test]
    fn an_id_stays_with_the_document_that_it_is_in_service_from() {
        let one = document("a.json", &format!("[{}]", job("x", r#", "version": 1"#)));
        let two = document("b.json", &format!("[{}]", job("x", r#", "version": 2"#)));
        let told = |in_service: &HashMap<JobId, Arc<Job>>| {
            let wanted = Wanted::among([&one, &two], in_service);
            let [(claim, owner)] = wanted.contested[..] else {
                panic!("{wanted:?}")
            };
            assert!(Diff::between(in_service, &wanted).removed.is_empty());
            format!("{} has it, not {}", owner, claim.manifest.source.name())
        };
        assert_eq!(told(&in_service(&[])), "a.json has it, not b.json");
        assert_eq!(told(&in_service(&[&one])), "a.json has it, not b.json");
        assert_eq!(told(&in_service(&[&two])), "b.json has it, not a.json");
    }

    #[test]
    fn an_unclear_definition_protects_the_jobs_of_its_document_alone() {
        let one = document("a.json", &format!("[{}, {}]", job("a", ""), job("b", "")));
        let two = document("b.json", &format!("[{}]", job("c", "")));
        let before = in_service(&[&one, &two]);
        let nameless = job("b", "").replace("\"id\"", "\"idd\"");
        let unclear = document("a.json", &format!("[{nameless}]"));
        let diff = Diff::between(&before, &Wanted::among([&unclear], &before));
        assert_eq!(ids(&diff.removed), ["c"]);
        assert_eq!(diff.unchanged, 2);
    }
}
