//! Which definitions are in service: what the sources want, as far as it is sound and its
//! plugins are there.
//!
//! A definition goes into service when its plugin does, be it later; until then, and while it
//! is broken, the last good one stays, unless the operator has lowered the ceiling beneath it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::components::Components;
use super::made::{as_allowed, creators_of, is_to_leave};
use super::problems::{
    Chains, missing_component, missing_dirs, other_digest, rejected_plugin, taken,
};
use crate::job::manifest::Entry;
use crate::job::{Diagnostic, Job, JobId, Manifest, SourceText};
use crate::policy::{Policy, Refusal};
use crate::record::FieldChange;
use crate::runtime::directory::Availability;
use crate::runtime::shape::Digest;
use crate::source::{Claim, Diff, Snapshot, Wanted};

/// All sources and the jobs in service.
#[derive(Debug)]
pub(super) struct Catalog {
    sources: Vec<Source>,
    /// What the operator allows.
    policy: Arc<Policy>,
    /// Which source a job in service belongs to.
    owners: HashMap<JobId, usize>,
}

/// One source of definitions.
#[derive(Debug)]
struct Source {
    name: Arc<str>,
    /// What it wants, once it has said so, in its order: a document that is broken now wants what
    /// it wanted last.
    manifests: Option<Vec<Arc<Manifest>>>,
    /// What it wanted before, until it is known what has changed.
    former: Vec<Arc<Manifest>>,
    /// Whether a document is broken, so that it may want more than is known.
    incomplete: bool,
    /// Its jobs in service, in no order.
    in_service: HashMap<JobId, Arc<Job>>,
    /// What has been said of each broken definition, so that it is said once.
    reported: HashMap<String, String>,
    /// Whether a sound definition waits for something that the host does not have yet.
    waits: bool,
    /// Whether the ceiling has changed since its jobs in service were judged.
    to_judge: bool,
    /// The jobs that the ceiling took out of service although their definitions, as they are now,
    /// have something else to them.
    taken_out: HashSet<JobId>,
}

/// What is to be done, and told, to bring the jobs in service up to date.
#[derive(Debug)]
pub(super) enum Change {
    /// A job is new.
    Added(Arc<Job>),
    /// A job has a new definition: the fields that are others, and what is written otherwise.
    Updated(Arc<Job>, Vec<&'static str>, Vec<FieldChange>),
    /// A job's definition stands elsewhere. Nothing to tell.
    Moved(Arc<Job>),
    /// A job is gone.
    Removed(Arc<Job>),
    /// A definition cannot be used.
    Rejected(Option<JobId>, Vec<Diagnostic>),
}

/// What one look at a source gave.
#[derive(Debug, Default)]
pub(super) struct Reconciled {
    pub(super) changes: Vec<Change>,
    /// How many jobs stay as they are.
    pub(super) unchanged: usize,
}

/// How many changes there are of each kind.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) added: usize,
    pub(super) updated: usize,
    pub(super) removed: usize,
    pub(super) rejected: usize,
}

impl Reconciled {
    /// How many changes there are of each kind.
    pub(super) fn counted(&self) -> Counted {
        let mut counted = Counted::default();
        for change in &self.changes {
            *match change {
                Change::Added(_) => &mut counted.added,
                Change::Updated(..) => &mut counted.updated,
                Change::Removed(_) => &mut counted.removed,
                Change::Rejected(..) => &mut counted.rejected,
                Change::Moved(_) => continue,
            } += 1;
        }
        counted
    }

    /// Whether the jobs in service have changed.
    pub(super) fn is_change(&self) -> bool {
        self.changes.iter().any(|change| {
            matches!(
                change,
                Change::Added(_) | Change::Updated(..) | Change::Removed(_)
            )
        })
    }
}

impl Catalog {
    /// A catalog of sources of these names that have not said anything yet.
    pub(super) fn new<'n>(names: impl IntoIterator<Item = &'n str>, policy: Arc<Policy>) -> Self {
        let source = |name: &str| Source {
            name: name.into(),
            manifests: None,
            former: Vec::new(),
            incomplete: false,
            in_service: HashMap::new(),
            reported: HashMap::new(),
            waits: false,
            to_judge: false,
            taken_out: HashSet::new(),
        };
        Catalog {
            sources: names.into_iter().map(source).collect(),
            policy,
            owners: HashMap::new(),
        }
    }

    /// The operator allows something else. The jobs in service are judged when their sources are
    /// brought up to date.
    pub(super) fn set_policy(&mut self, policy: Arc<Policy>) {
        self.policy = policy;
        for source in &mut self.sources {
            source.to_judge = true;
        }
    }

    /// Whether the jobs of a source are to be judged under another ceiling.
    pub(super) fn is_to_judge(&self, source: usize) -> bool {
        self.sources
            .get(source)
            .is_some_and(|source| source.to_judge)
    }

    /// The jobs that are defined and that the ceiling keeps out of service.
    pub(super) fn refused(&self) -> HashSet<JobId> {
        let refused = |source: &Source, entry: &Entry| {
            let id = entry.id.clone()?;
            (is_refused(entry) || source.taken_out.contains(&id)).then_some(id)
        };
        self.sources
            .iter()
            .flat_map(|source| source.entries().filter_map(|entry| refused(source, entry)))
            .collect()
    }

    /// Whether some source has a sound definition of a job.
    pub(super) fn wants(&self, job: &JobId) -> bool {
        self.sources
            .iter()
            .flat_map(Source::wanted)
            .any(|wanted| wanted.id == *job)
    }

    /// How many jobs of a source would go out of service if it wanted just this, and how many it
    /// has in service.
    pub(super) fn removals(&self, source: usize, snapshot: &Snapshot) -> (usize, usize) {
        let Some(source) = self.sources.get(source) else {
            return (0, 0);
        };
        let manifests = source.with(snapshot);
        // At the start nothing is in service yet of what the source is taken to want.
        let expected = || source.wanted().map(|job| (job.id.clone(), job.clone()));
        let now = match source.in_service.is_empty() {
            true => &expected().collect(),
            false => &source.in_service,
        };
        let wanted = Wanted::among(&manifests, now);
        (wanted.missing(now).count(), now.len())
    }

    /// Another source than this one that has a definition of a job, good or not.
    pub(super) fn elsewhere(&self, source: usize, job: &JobId) -> Option<String> {
        let others = self.sources.iter().enumerate();
        let mut others = others.filter(|(number, _)| *number != source);
        others.find_map(|(_, other)| {
            let mut documents = other.manifests.iter().flatten();
            let document = documents.find(|document| {
                let mut entries = document.entries.iter();
                entries.any(|entry| entry.id.as_ref() == Some(job))
            })?;
            Some(document.source.name().to_string())
        })
    }

    /// How many jobs of a source are in service, and of how many of its definitions something is
    /// wrong.
    pub(super) fn counts(&self, source: usize) -> (usize, usize) {
        let source = self.sources.get(source);
        source.map_or((0, 0), |it| (it.in_service.len(), it.reported.len()))
    }

    /// What keeps a sound definition of a source out of service.
    pub(super) fn trouble(&self, source: usize, job: &JobId) -> Option<String> {
        let reported = &self.sources.get(source)?.reported;
        reported.get(job.as_str()).cloned()
    }

    /// What a source is taken to want until it says so itself.
    pub(super) fn expect(&mut self, source: usize, snapshot: &Snapshot) {
        self.set(source, snapshot);
        if let Some(source) = self.sources.get_mut(source) {
            source.incomplete = true;
        }
    }

    /// The texts in which a source wants what it wants.
    pub(super) fn texts(&self, source: usize) -> Vec<Arc<SourceText>> {
        let manifests = self
            .sources
            .get(source)
            .and_then(|it| it.manifests.as_ref());
        let texts = manifests.into_iter().flatten().map(|it| it.source.clone());
        texts.collect()
    }

    /// A source wants something new.
    pub(super) fn set(&mut self, source: usize, snapshot: &Snapshot) {
        let Some(source) = self.sources.get_mut(source) else {
            return;
        };
        let manifests = source.with(snapshot);
        source.former = source.manifests.replace(manifests).unwrap_or_default();
        source.incomplete = snapshot.documents.iter().any(|it| it.read.is_err());
        // What is still wrong is wrong at a new place: it is told again.
        source.reported.clear();
    }

    /// The jobs that the sources define, be they in service or not; nothing while that cannot be
    /// told for certain.
    pub(super) fn defined(&self) -> Option<HashSet<&JobId>> {
        let mut defined = HashSet::new();
        for source in &self.sources {
            let manifests = source.manifests.as_ref()?;
            if source.incomplete || manifests.iter().any(|it| !it.problems().is_empty()) {
                return None; // the broken ones may be among them
            }
            defined.extend(source.wanted().map(|job| &job.id));
        }
        Some(defined)
    }

    /// Whether any definition waits for, or is served by, one of these plugins.
    pub(super) fn concerns(&self, source: usize, plugins: &[Arc<str>]) -> bool {
        let is_one = |job: &Arc<Job>| plugins.iter().any(|plugin| *plugin == job.component);
        self.sources
            .get(source)
            .is_some_and(|source| source.wanted().any(is_one))
    }

    /// Whether a sound definition of a source waits for something that may come about without
    /// anybody telling, such as a directory that is not mounted yet.
    pub(super) fn waits(&self, source: usize) -> bool {
        self.sources.get(source).is_some_and(|source| source.waits)
    }

    /// Brings one source's jobs up to date with what it wants and which plugins are there.
    pub(super) fn reconcile(&mut self, source: usize, components: &Components) -> Reconciled {
        let mut done = Reconciled::default();
        let names: Vec<Arc<str>> = self.sources.iter().map(|it| it.name.clone()).collect();
        // Only worked out where a job comes after another one.
        let everything = self.has_chains(source).then(|| self.everything());
        let chains = everything.as_ref().map(Everything::chains);
        let creators = self.creators(source);
        let Some(state) = self.sources.get_mut(source) else {
            return done;
        };
        let Some(manifests) = state.manifests.clone() else {
            return done;
        };
        let manifests = as_allowed(manifests, &creators);
        state.waits = false;
        let former = std::mem::take(&mut state.former);
        let claims = Wanted::among(&manifests, &state.in_service);
        let diff = Diff::between(&state.in_service, &claims);
        done.unchanged = diff.unchanged;
        let good = good_claims(&claims, &diff);

        // What a job made and may not have made any more does not stay as it was.
        for Claim { entry, .. } in &claims.claims {
            if !is_to_leave(&state.in_service, entry) {
                continue;
            }
            let id = entry.id.as_ref().map_or("", JobId::as_str);
            if let Some(job) = state.in_service.remove(id) {
                self.owners.remove(id);
                done.unchanged = done.unchanged.saturating_sub(1);
                done.changes.push(Change::Removed(job));
            }
        }
        for job in diff.removed {
            state.in_service.remove(&job.id);
            self.owners.remove(&job.id);
            done.changes.push(Change::Removed(job));
        }
        for job in diff.moved {
            state.in_service.insert(job.id.clone(), job.clone());
            done.changes.push(Change::Moved(job));
        }
        let updated: HashSet<&JobId> = diff.updated.iter().map(|it| &it.new.id).collect();
        let written = members_of(&former, &updated);
        let wanted = diff
            .added
            .into_iter()
            .map(|job| (job, None))
            .chain(diff.updated.into_iter().map(|it| (it.new, Some(it.fields))));
        for (job, fields) in wanted {
            let Some(&Claim { manifest, entry }) = good.get(job.id.as_str()) else {
                continue; // every job wanted comes from an entry
            };
            let problems = match self.owners.get(&job.id) {
                Some(&owner) if owner != source => {
                    let owner = names.get(owner).map_or("another source", |name| name);
                    vec![taken(manifest, entry, &job.id, owner)]
                }
                // Its text may have been judged under another ceiling.
                _ if !self.policy.ceiling_for(&job.id).refusals(&job).is_empty() => continue,
                _ => match components.availability(&job.component) {
                    Availability::Ready if components.serves(&job) => {
                        missing_dirs(manifest, entry).collect()
                    }
                    Availability::Ready => components
                        .plugins()
                        .and_then(|plugins| other_digest(manifest, entry, &job, plugins))
                        .into_iter()
                        .collect(),
                    // It comes into service with its plugin.
                    Availability::Loading => {
                        done.unchanged += usize::from(fields.is_some());
                        continue;
                    }
                    Availability::Missing => {
                        vec![missing_component(
                            manifest,
                            entry,
                            &job.component,
                            components,
                        )]
                    }
                    Availability::Rejected(why) => {
                        vec![rejected_plugin(manifest, entry, &job.component, why)]
                    }
                },
            };
            let problems = match &chains {
                Some(chains) if problems.is_empty() => chains.problems(manifest, entry),
                _ => problems,
            };
            if problems.is_empty() {
                state.reported.remove(job.id.as_str());
                state.taken_out.remove(&job.id);
                state.in_service.insert(job.id.clone(), job.clone());
                self.owners.insert(job.id.clone(), source);
                done.changes.push(match fields {
                    None => Change::Added(job),
                    Some(fields) => {
                        let before = written.get(&job.id).map_or(&[][..], |before| before);
                        let differences = differences(before, manifest, entry, &fields);
                        Change::Updated(job, fields, differences)
                    }
                });
            } else {
                state.waits = true;
                done.unchanged += usize::from(fields.is_some());
                report(
                    state,
                    &mut done,
                    job.id.as_str(),
                    Some(job.id.clone()),
                    problems,
                );
            }
        }
        if std::mem::take(&mut state.to_judge) {
            for job in judge(state, &manifests, &self.policy, &mut done) {
                self.owners.remove(&job.id);
            }
        }
        // A job in service whose plugin was replaced by one that it does not pin goes on with the
        // version that it pins, as long as that is there.
        for &Claim { manifest, entry } in &claims.claims {
            let Ok(job) = &entry.result else { continue };
            if job.sha256.is_none() || state.in_service.get(&job.id) != Some(job) {
                continue;
            }
            let key = format!("#pin {}", job.id);
            let plugins = components.plugins();
            match plugins.and_then(|it| other_digest(manifest, entry, job, it)) {
                None => {
                    state.reported.remove(&key);
                }
                Some(problem) => {
                    report(state, &mut done, &key, Some(job.id.clone()), vec![problem]);
                }
            }
        }
        // A job in service whose upstream is gone stays, but it would wait in vain.
        if let Some(chains) = &chains {
            let chained = claims.claims.iter();
            for &Claim { manifest, entry } in chained.filter(|it| !it.entry.upstreams.is_empty()) {
                let Ok(job) = &entry.result else { continue };
                if !state.in_service.contains_key(job.id.as_str()) {
                    continue;
                }
                // Told apart from what else may be wrong with the job.
                let key = format!("#after {}", job.id);
                let problems = chains.problems(manifest, entry);
                if problems.is_empty() {
                    state.reported.remove(&key);
                } else {
                    report(state, &mut done, &key, Some(job.id.clone()), problems);
                }
            }
        }
        for (place, Claim { entry, .. }) in claims.claims.iter().enumerate() {
            match &entry.result {
                Err(problems) => {
                    let key = format!("#{place}");
                    report(state, &mut done, &key, entry.id.clone(), problems.clone());
                }
                // It is another one's fault, who may mend it and do it again.
                Ok(job) if job.origin.creator.is_some() => {
                    state.reported.remove(&format!("#{place}"));
                }
                Ok(_) => {}
            }
        }
        for (Claim { manifest, entry }, owner) in &claims.contested {
            let Some(id) = &entry.id else { continue };
            let key = format!("#taken {id} {}", manifest.source.name());
            let problem = taken(manifest, entry, id, owner);
            report(state, &mut done, &key, Some(id.clone()), vec![problem]);
        }
        done
    }

    /// The definition of a job as what it makes is judged by: the one that its source wants, or
    /// else the one in service; nothing where there is none that could be used.
    pub(super) fn authority(&self, id: &JobId) -> Option<Arc<Job>> {
        let owner = self.owners.get(id).copied();
        let first = owner.and_then(|owner| self.sources.get(owner));
        let in_service = || first?.in_service.get(id).cloned();
        if let Some(job) = in_service()
            && job.origin.creator.is_some()
        {
            return Some(job); // as its own creator allows it
        }
        let sources = first.into_iter().chain(&self.sources);
        let mut wanted = sources.flat_map(Source::wanted);
        let wanted = wanted.find(|job| {
            job.id == *id
                && job.origin.creator.is_none()
                // Its text may have been judged under another ceiling.
                && self.policy.ceiling_for(id).refusals(job).is_empty()
        });
        wanted.cloned().or_else(in_service)
    }

    /// Whether any source has a definition of a job, good or not.
    pub(super) fn defines(&self, job: &JobId) -> bool {
        let mut entries = self.sources.iter().flat_map(Source::entries);
        entries.any(|entry| entry.id.as_ref() == Some(job))
    }

    /// The creators of a source's jobs that nobody has made, as what they make is judged by.
    fn creators(&self, source: usize) -> HashMap<JobId, Arc<Job>> {
        let manifests = self
            .sources
            .get(source)
            .and_then(|it| it.manifests.as_ref());
        let ids: HashSet<&JobId> = manifests
            .into_iter()
            .flat_map(|it| creators_of(it))
            .collect();
        ids.into_iter()
            .filter_map(|id| Some((id.clone(), self.authority(id)?)))
            .filter(|(_, job)| job.origin.creator.is_none())
            .collect()
    }

    /// The versions of plugins that jobs pin, in service or wanted.
    pub(super) fn pins(&self) -> HashSet<(Arc<str>, Digest)> {
        let in_service = self.sources.iter().flat_map(|it| it.in_service.values());
        self.sources
            .iter()
            .flat_map(Source::wanted)
            .chain(in_service)
            .filter_map(|job| Some((job.component.clone(), job.sha256?.into())))
            .collect()
    }

    fn has_chains(&self, source: usize) -> bool {
        self.sources
            .get(source)
            .is_some_and(|source| source.entries().any(|it| !it.upstreams.is_empty()))
    }

    /// All that the sources want and all that is in service, at this moment.
    fn everything(&self) -> Everything {
        Everything {
            manifests: self
                .sources
                .iter()
                .flat_map(|source| source.manifests.iter().flatten().cloned())
                .collect(),
            in_service: self
                .sources
                .iter()
                .flat_map(|source| source.in_service.values().cloned())
                .collect(),
        }
    }
}

impl Source {
    /// What it wants if this is what it says: a document that is broken wants what it last did.
    fn with(&self, snapshot: &Snapshot) -> Vec<Arc<Manifest>> {
        let last = |name: &Arc<str>| {
            let mut known = self.manifests.iter().flatten();
            known.find(|it| it.source.name() == name).cloned()
        };
        let documents = snapshot.documents.iter();
        let read = documents.filter_map(|document| match &document.read {
            Ok(manifest) => Some(manifest.clone()),
            Err(_) => last(&document.name),
        });
        read.collect()
    }

    /// Its definitions, good or not.
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        let manifests = self.manifests.iter().flatten();
        manifests.flat_map(|manifest| &manifest.entries)
    }

    /// The jobs that it wants.
    fn wanted(&self) -> impl Iterator<Item = &Arc<Job>> {
        let manifests = self.manifests.iter().flatten();
        manifests.flat_map(|manifest| manifest.jobs())
    }
}

/// What the sources want and what is in service, held while that changes.
struct Everything {
    manifests: Vec<Arc<Manifest>>,
    in_service: Vec<Arc<Job>>,
}

impl Everything {
    fn chains(&self) -> Chains<'_> {
        let entries = || self.manifests.iter().flat_map(|manifest| &manifest.entries);
        let good: HashSet<&str> = entries()
            .filter_map(|entry| Some(entry.result.as_ref().ok()?.id.as_str()))
            .collect();
        // A job whose present definition is broken goes on under the last good one.
        let stay = self
            .in_service
            .iter()
            .filter(|job| !good.contains(job.id.as_str()))
            .map(|job| &**job);
        let known = entries().filter_map(|entry| entry.id.as_ref());
        Chains::new(
            known,
            entries()
                .filter_map(|entry| entry.result.as_deref().ok())
                .chain(stay),
        )
    }
}

/// Says what is wrong with a definition, unless just that has been said.
fn report(
    source: &mut Source,
    done: &mut Reconciled,
    key: &str,
    job: Option<JobId>,
    problems: Vec<Diagnostic>,
) {
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let said = said.join("\n");
    if source.reported.get(key) != Some(&said) {
        source.reported.insert(key.to_owned(), said);
        done.changes.push(Change::Rejected(job, problems));
    }
}

/// Takes the jobs out of service that are above their ceiling, and lowers the limits of the others
/// that nobody wrote. Gives those taken out.
fn judge(
    source: &mut Source,
    manifests: &[Arc<Manifest>],
    policy: &Policy,
    done: &mut Reconciled,
) -> Vec<Arc<Job>> {
    let mut out = Vec::new();
    let mut lower = Vec::new();
    for job in source.in_service.values() {
        let ceiling = policy.ceiling_for(&job.id);
        let mut job = job.clone();
        let lowered = ceiling.lowered(&job);
        if let Some(limits) = lowered {
            Arc::make_mut(&mut job).limits = limits;
        }
        let refusals = ceiling.refusals(&job);
        if !refusals.is_empty() {
            out.push((job, refusals));
        } else if lowered.is_some() {
            lower.push(job);
        }
    }
    for job in lower {
        source.in_service.insert(job.id.clone(), job.clone());
        let differences = vec![FieldChange::named("limits")];
        let change = Change::Updated(job, vec!["limits"], differences);
        done.changes.push(change);
    }
    let told: HashSet<&str> = manifests
        .iter()
        .flat_map(|manifest| &manifest.entries)
        .filter(|entry| is_refused(entry))
        .filter_map(|entry| Some(entry.id.as_ref()?.as_str()))
        .collect();
    for (job, refusals) in &out {
        source.in_service.remove(job.id.as_str());
        done.unchanged = done.unchanged.saturating_sub(1);
        done.changes.push(Change::Removed(job.clone()));
        // Its present definition has something else to it, or cannot be read.
        if !told.contains(job.id.as_str()) {
            source.taken_out.insert(job.id.clone());
            let problems = refusals.iter().map(|refusal| above(job, refusal));
            let change = Change::Rejected(Some(job.id.clone()), problems.collect());
            done.changes.push(change);
        }
    }
    out.into_iter().map(|(job, _)| job).collect()
}

/// Whether a definition asks for more than the ceiling allows.
fn is_refused(entry: &Entry) -> bool {
    let problems = entry.result.as_ref().err();
    problems.is_some_and(|problems| problems.iter().any(Policy::is_refusal))
}

/// Says that a job in service is out of it.
fn above(job: &Job, refusal: &Refusal) -> Diagnostic {
    Diagnostic::of_file(job.origin.file.clone(), refusal.to_string())
        .with_label("the job is out of service")
        .with_job(Some(job.id.clone()))
}

/// What the definitions of these jobs said, key by key.
fn members_of(
    manifests: &[Arc<Manifest>],
    jobs: &HashSet<&JobId>,
) -> HashMap<JobId, Vec<(String, String)>> {
    if jobs.is_empty() {
        return HashMap::new();
    }
    let of_manifest = |manifest: &Arc<Manifest>| {
        let good = manifest.entries.iter().filter(|it| it.result.is_ok());
        let members = good.filter_map(|entry| {
            let id = entry.id.as_ref().filter(|id| jobs.contains(id))?;
            Some((id.clone(), manifest.members(entry)))
        });
        members.collect::<Vec<_>>()
    };
    manifests.iter().flat_map(of_manifest).collect()
}

/// What a definition says otherwise than before, and where that is not known or is said for all
/// jobs of a file, the names of its fields.
fn differences(
    before: &[(String, String)],
    manifest: &Manifest,
    entry: &Entry,
    fields: &[&str],
) -> Vec<FieldChange> {
    let mut differences = Vec::new();
    if !before.is_empty() {
        differences = FieldChange::between(before, &manifest.members(entry));
    }
    if differences.is_empty() {
        differences.extend(fields.iter().map(|field| FieldChange::named(field)));
    }
    differences
}

/// The definitions of the jobs that are new or have changed.
fn good_claims<'a>(wanted: &Wanted<'a>, diff: &Diff) -> HashMap<&'a str, Claim<'a>> {
    let added = diff.added.iter().map(|job| &job.id);
    let updated = diff.updated.iter().map(|it| &it.new.id);
    let changed: HashSet<&str> = added.chain(updated).map(JobId::as_str).collect();
    if changed.is_empty() {
        return HashMap::new();
    }
    let of_job = |claim: &Claim<'a>| {
        let id = claim.entry.result.as_ref().ok()?.id.as_str();
        changed.contains(id).then_some((id, *claim))
    };
    wanted.claims.iter().filter_map(of_job).collect()
}
