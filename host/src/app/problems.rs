//! What can be wrong with a definition that is sound by itself: its plugin, its directories,
//! another job with its id. Each is told at its place in the file.

use std::collections::HashSet;
use std::path::Path;

use super::components::Components;
use crate::job::manifest::Entry;
use crate::job::{Circles, Diagnostic, Job, JobId, Manifest, native_name};
use crate::native::Natives;
use crate::runtime::directory::Plugins;
use crate::runtime::shape::Digest;
use crate::suggest::nearest;

/// The problem of an entry whose id a job of another source has.
pub(super) fn taken(manifest: &Manifest, entry: &Entry, id: &JobId, owner: &str) -> Diagnostic {
    manifest
        .component_problem(
            entry,
            format!("the id \"{id}\" is taken by a job of {owner}"),
        )
        .with_label("this job is not loaded")
        .with_hint("give one of the two another id")
}

/// The jobs of all sources, as far as what comes after what is concerned.
pub(super) struct Chains<'j> {
    known: HashSet<&'j str>,
    circles: Circles<'j>,
}

impl<'j> Chains<'j> {
    /// `known` are the ids of all definitions, good or not, and `jobs` those that can be used.
    pub(super) fn new(
        known: impl IntoIterator<Item = &'j JobId>,
        jobs: impl IntoIterator<Item = &'j Job>,
    ) -> Self {
        Chains {
            known: known.into_iter().map(JobId::as_str).collect(),
            circles: Circles::among(jobs),
        }
    }

    /// The problems of an entry that comes after a job that is not there, or after itself.
    pub(super) fn problems(&self, manifest: &Manifest, entry: &Entry) -> Vec<Diagnostic> {
        let mut problems: Vec<Diagnostic> = entry
            .upstreams
            .iter()
            .filter(|(job, _)| !self.known.contains(&**job))
            .map(|(job, span)| {
                let problem = Diagnostic::error(
                    &manifest.source,
                    span.clone(),
                    format!("no such job: {job}"),
                )
                .with_label("this job would never run")
                .with_job(entry.id.clone());
                match nearest(job, self.known.iter().copied()) {
                    Some(near) => problem.with_hint(format!("did you mean \"{near}\"?")),
                    None => problem,
                }
            })
            .collect();
        // Within one file it has been told of.
        if entry.result.is_ok() {
            problems.extend(entry.circle_problem(&manifest.source, &self.circles));
        }
        problems
    }
}

/// The problem of an entry whose plugin is there and cannot be used.
pub(super) fn rejected_plugin(
    manifest: &Manifest,
    entry: &Entry,
    name: &str,
    why: String,
) -> Diagnostic {
    manifest
        .component_problem(entry, format!("the plugin {name} cannot be used"))
        .with_label(why)
}

/// The problem of an entry that pins another file than the one in service under the name.
pub(super) fn other_digest(
    manifest: &Manifest,
    entry: &Entry,
    job: &Job,
    plugins: &Plugins,
) -> Option<Diagnostic> {
    let pin = job.sha256.map(Digest::from)?;
    let has = plugins.get(&job.component)?.digest;
    if has == pin {
        return None;
    }
    let message = format!(
        "plugin {} has sha256 {has}, and the definition pins {pin}",
        job.component
    );
    let label = if plugins.pinned(&job.component, pin).is_some() {
        "the version that it pins stays in service for it"
    } else {
        "no version that it pins is there"
    };
    Some(
        manifest
            .pin_problem(entry, message)
            .with_label(label)
            .with_hint(format!(
                "if the new file is the right one, write \"sha256\": \"{has}\""
            )),
    )
}

/// The problem of an entry whose component is not there.
pub(super) fn missing_component(
    manifest: &Manifest,
    entry: &Entry,
    component: &str,
    components: &Components,
) -> Diagnostic {
    match (native_name(component), components.plugins()) {
        (Some(name), _) => missing_function(manifest, entry, name, components.natives()),
        (None, Some(plugins)) => missing_plugin(manifest, entry, component, plugins),
        (None, None) => manifest
            .component_problem(entry, format!("no such plugin: {component}"))
            .with_label("this host has no plugins directory"),
    }
}

/// The problem of an entry that is a function that the program does not have, or not yet.
pub(super) fn missing_function(
    manifest: &Manifest,
    entry: &Entry,
    name: &str,
    natives: &Natives,
) -> Diagnostic {
    let names = natives.names();
    let problem = manifest
        .component_problem(entry, format!("no such function: {name}"))
        .with_label("the program has not registered it");
    match nearest(name, names.iter().map(|name| &**name)) {
        Some(near) => problem.with_hint(format!("did you mean \"native:{near}\"?")),
        None => problem.with_hint("the job runs as soon as it does"),
    }
}

/// The problem of an entry whose plugin is not there.
pub(super) fn missing_plugin(
    manifest: &Manifest,
    entry: &Entry,
    name: &str,
    plugins: &Plugins,
) -> Diagnostic {
    let names = plugins.names();
    let problem = manifest
        .component_problem(entry, format!("no such plugin: {name}"))
        .with_label(format!(
            "there is no such file in {}",
            plugins.path().display()
        ));
    match nearest(name, names.iter().map(|name| &**name)) {
        Some(near) => problem.with_hint(format!("did you mean \"{near}\"?")),
        None if names.is_empty() => problem.with_hint("the directory has no plugin at all"),
        None => problem.with_hint("put the file there, and the job starts to run"),
    }
}

/// The problems of directories that an entry is granted and that are not there.
pub(super) fn missing_dirs<'a>(
    manifest: &'a Manifest,
    entry: &'a Entry,
) -> impl Iterator<Item = Diagnostic> + 'a {
    let places = entry.places.iter().flat_map(|places| &places.dirs);
    entry
        .grants
        .dirs
        .iter()
        .zip(places)
        .filter_map(move |(dir, span)| {
            let why = directory_problem(&dir.host)?;
            let message = format!("the granted directory cannot be opened: {why}");
            Some(
                Diagnostic::error(&manifest.source, span.clone(), message)
                    .with_label(dir.host.display().to_string())
                    .with_job(entry.id.clone()),
            )
        })
}

pub(super) fn directory_problem(path: &Path) -> Option<String> {
    cap_std::fs::Dir::open_ambient_dir(path, cap_std::ambient_authority())
        .err()
        .map(|error| error.to_string())
}
