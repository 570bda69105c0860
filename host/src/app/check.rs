//! Everything that is wrong with job files and the plugins they name, at once, without running
//! anything.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::problems::{
    Chains, missing_dirs, missing_function, missing_plugin, other_digest, rejected_plugin, taken,
};
use super::warnings::Foresight;
use super::{AppError, CachePlace, engine_for, loader_for};
use crate::clock::Clock;
use crate::job::manifest::Entry;
use crate::job::{Diagnostic, JobId, Manifest, Severity, native_name};
use crate::native::Natives;
use crate::policy::{Policy, PolicyFile};
use crate::runtime::compiler::Compiler;
use crate::runtime::directory::{Availability, Plugins};
use crate::source;

/// What [`check`] found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Errors and warnings, file by file in the order of each.
    pub diagnostics: Vec<Diagnostic>,
    /// How many jobs would run.
    pub good: usize,
    /// How many jobs there are, as far as the files can be read.
    pub jobs: usize,
}

impl CheckReport {
    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    fn count(&self, severity: Severity) -> usize {
        self.diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }
}

/// Checks job files and directories of them, what the configuration names, and what is beside the
/// plugins, as `serve` would load them: definitions, triggers, plugins, grants, and the operator's configuration file, whose ceiling no definition may exceed. What
/// the year from the time of `clock` on holds for their triggers is warned of.
///
/// # Errors
/// Only if the check itself cannot be done: no engine. What is wrong with files is in the
/// report.
pub fn check(
    places: &[PathBuf],
    plugins: &Path,
    mut config: PolicyFile,
    cache: &CachePlace,
    clock: &dyn Clock,
) -> Result<CheckReport, AppError> {
    let mut report = CheckReport::default();
    let policy = Arc::new(config.read().unwrap_or_else(|problems| {
        report.diagnostics = problems;
        config.without_file()
    }));
    let mut manifests = Vec::new();
    for source in source::open(places, plugins, &policy) {
        match source.read() {
            Ok(snapshot) => {
                for document in snapshot.documents {
                    match document.read {
                        Ok(manifest) => manifests.push(manifest),
                        Err(error) => report.diagnostics.extend_from_slice(error.problems()),
                    }
                }
            }
            Err(error) => report.diagnostics.extend_from_slice(error.problems()),
        }
    }
    // Where no plugin is named there is nothing to compile for.
    let named = |manifest: &Arc<Manifest>| manifest.entries.iter().any(|it| it.component.is_some());
    let plugins = if manifests.iter().any(named) {
        Some(PluginCheck::open(plugins, cache, &policy)?)
    } else {
        None
    };
    let entries = || manifests.iter().flat_map(|manifest| &manifest.entries);
    let chains = Chains::new(
        entries().filter_map(|entry| entry.id.as_ref()),
        entries().filter_map(|entry| entry.result.as_deref().ok()),
    );
    let mut foresight = Foresight::from(clock.now());
    let mut owners: HashMap<JobId, Arc<str>> = HashMap::new();
    for manifest in &manifests {
        let mut found: Vec<Diagnostic> = manifest.warnings.clone();
        for entry in &manifest.entries {
            report.jobs += 1;
            found.extend(foresight.warnings(manifest, entry));
            let mut errors = entry.result.as_ref().err().cloned().unwrap_or_default();
            if let Some(plugins) = &plugins {
                errors.extend(plugins.problems(manifest, entry));
            }
            errors.extend(missing_dirs(manifest, entry));
            errors.extend(chains.problems(manifest, entry));
            if let Some(id) = &entry.id {
                match owners.get(id) {
                    Some(owner) if owner != manifest.source.name() => {
                        errors.push(taken(manifest, entry, id, owner));
                    }
                    _ => {
                        owners.insert(id.clone(), manifest.source.name().clone());
                    }
                }
            }
            if errors.is_empty() {
                report.good += 1;
            }
            found.extend(errors);
        }
        found.sort_by_key(|diagnostic| diagnostic.span.start);
        report.diagnostics.extend(found);
    }
    Ok(report)
}

/// The plugins directory, loaded as `serve` would.
enum PluginCheck {
    Open(Box<Plugins>),
    Unreadable(String),
}

impl PluginCheck {
    fn open(path: &Path, cache: &CachePlace, policy: &Policy) -> Result<PluginCheck, AppError> {
        let engine = engine_for(1, u64::MAX)?;
        let cache = cache.open(&engine)?;
        let opened = Plugins::open(path, loader_for(&engine, cache, Compiler::child(), policy))
            .and_then(|plugins| plugins.scan_all().map(|names| (plugins, names)));
        Ok(match opened {
            Ok((plugins, names)) => {
                for name in &names {
                    // Its availability tells what is wrong with it.
                    let _ = plugins.load(name);
                }
                PluginCheck::Open(Box::new(plugins))
            }
            Err(error) => PluginCheck::Unreadable(format!(
                "cannot open the plugins directory {}: {error}",
                path.display()
            )),
        })
    }

    /// What is wrong with the plugin of an entry.
    fn problems(&self, manifest: &Manifest, entry: &Entry) -> Option<Diagnostic> {
        let name = entry.component.as_deref()?;
        if let Some(function) = native_name(name) {
            let natives = Natives::default();
            let problem = missing_function(manifest, entry, function, &natives);
            return Some(problem.with_hint("only a program that has the host in it has functions"));
        }
        let plugins = match self {
            PluginCheck::Open(plugins) => plugins,
            PluginCheck::Unreadable(why) => {
                let problem = manifest.component_problem(entry, why.clone());
                return Some(problem.with_hint("name another directory with --plugins"));
            }
        };
        match plugins.availability(name) {
            Availability::Ready => {
                let job = entry.result.as_deref().ok()?;
                other_digest(manifest, entry, job, plugins)
            }
            Availability::Loading => None,
            Availability::Missing => Some(missing_plugin(manifest, entry, name, plugins)),
            Availability::Rejected(why) => Some(rejected_plugin(manifest, entry, name, why)),
        }
    }
}
