//! The definitions that a verb is about: which sources it reads, and the jobs in them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::options::{Plugins, draw};
use super::output::{Screen, Tone, harmless};
use super::{Exit, Refusal, complain, remark};
use crate::job::{Job, JobId, Manifest};
use crate::policy::Policy;
use crate::source::{self, JobSource, SourceError};
use crate::suggest::nearest;

/// The sources of a verb that is about all of their jobs.
#[derive(Debug, Args)]
pub(super) struct JobFiles {
    /// Job files, and directories of them [default: jobs.json and jobs.d, as far as they are there]
    #[arg(value_name = "JOBS", env = "QUARTERJACK_JOBS", hide_env_values = true)]
    jobs: Vec<PathBuf>,
    #[command(flatten)]
    plugins: Plugins,
}

/// The sources of a verb that looks a job up in them.
#[derive(Debug, Args)]
pub(super) struct LookedUp {
    /// A job file, or a directory of them, that the job is looked up in (repeatable) [default:
    /// jobs.json and jobs.d, as far as they are there]
    #[arg(
        long = "jobs",
        value_name = "JOBS",
        env = "QUARTERJACK_JOBS",
        hide_env_values = true
    )]
    jobs: Vec<PathBuf>,
    #[command(flatten)]
    plugins: Plugins,
}

impl JobFiles {
    /// Where the definitions are.
    pub(super) fn places(&self) -> Places {
        Places::of(&self.jobs, &self.plugins)
    }
}

impl LookedUp {
    /// Where the definitions are.
    pub(super) fn places(&self) -> Places {
        Places::of(&self.jobs, &self.plugins)
    }

    /// Whether somebody said where they are.
    pub(super) fn is_given(&self) -> bool {
        !self.jobs.is_empty()
    }
}

/// Where definitions are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    /// Job files, and directories of them.
    pub(super) jobs: Vec<PathBuf>,
    /// The plugins directory, which may have definitions beside the plugins.
    pub(super) plugins: PathBuf,
}

impl Places {
    fn of(jobs: &[PathBuf], plugins: &Plugins) -> Self {
        let plugins = plugins.plugins.clone();
        let jobs = match jobs {
            [] => source::usual_places(&plugins),
            given => given.to_vec(),
        };
        Places { jobs, plugins }
    }

    /// All that is there, read under the ceiling of a policy.
    pub(super) fn read(&self, policy: &Arc<Policy>) -> Definitions {
        Definitions::read(&source::open(&self.jobs, &self.plugins, policy))
    }
}

/// What sources say at one moment.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    /// The documents that can be read, source by source in the order of each.
    manifests: Vec<Arc<Manifest>>,
    /// What is wrong with the others.
    errors: Vec<SourceError>,
    /// The sources, for people.
    name: String,
}

/// A job, and the document it was found in.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) job: Arc<Job>,
    pub(super) manifest: Arc<Manifest>,
}

impl Definitions {
    /// Reads one file, or one directory of them, under the ceiling of a policy.
    pub(super) fn of_place(path: &Path, policy: &Arc<Policy>) -> Self {
        Self::read(&[source::open_one(path, policy)])
    }

    fn read(sources: &[Arc<dyn JobSource>]) -> Self {
        let mut read = Definitions::default();
        for source in sources {
            match source.read() {
                Ok(snapshot) => {
                    for document in snapshot.documents {
                        match document.read {
                            Ok(manifest) => read.manifests.push(manifest),
                            Err(error) => read.errors.push(error),
                        }
                    }
                }
                Err(error) => read.errors.push(error),
            }
        }
        let names: Vec<&str> = sources.iter().map(|source| source.name()).collect();
        read.name = names.join(" or ");
        read
    }

    /// Which sources it is of, for people.
    pub(super) fn names(&self) -> &str {
        &self.name
    }

    /// Finds a job; nothing if there is no such job that can be used.
    pub(super) fn find_quietly(&self, id: &str) -> Option<Definition> {
        self.manifests.iter().find_map(|manifest| {
            let job = manifest.jobs().find(|job| job.id.as_str() == id)?.clone();
            let manifest = manifest.clone();
            Some(Definition { job, manifest })
        })
    }

    /// Finds a job.
    ///
    /// # Errors
    /// Nothing can be read, there is no such job (near names are suggested), or its definition is
    /// wrong; what is wrong has been drawn on standard error by then.
    pub(super) fn find(&self, id: &str, screen: Screen) -> Result<Definition, Refusal> {
        if let Some(found) = self.find_quietly(id) {
            return Ok(found);
        }
        let entries = || self.manifests.iter().flat_map(|manifest| &manifest.entries);
        let broken = entries()
            .filter(|entry| entry.id.as_ref().is_some_and(|known| known.as_str() == id))
            .find_map(|entry| entry.result.as_ref().err());
        if let Some(problems) = broken {
            draw(problems, screen);
            return Err(Refusal::failure(format_args!(
                "the definition of `{id}` is wrong, as shown above"
            )));
        }
        match (&self.errors[..], self.manifests.is_empty()) {
            ([SourceError::Unreadable(problem)], true) => {
                return Err(Refusal::failure(format_args!(
                    "no job `{id}`: the job file {problem}; name another one with --jobs FILE"
                )));
            }
            (errors, _) => errors
                .iter()
                .for_each(|error| draw(error.problems(), screen)),
        }
        let name = &self.name;
        if self.manifests.is_empty() && !self.errors.is_empty() {
            return Err(Refusal::failure(format_args!(
                "no job `{id}`: nothing in {name} can be used, as shown above"
            )));
        }
        let known = || entries().filter_map(|entry| Some(entry.id.as_ref()?.as_str()));
        let hint = match nearest(id, known()) {
            Some(near) => format!(": did you mean `{near}`?"),
            None => listing(known()),
        };
        Err(Refusal::failure(format_args!(
            "no job `{id}` in {name}{hint}"
        )))
    }

    /// All jobs that can be used; what is wrong with the others is drawn.
    ///
    /// # Errors
    /// Nothing can be read.
    pub(super) fn all(self, screen: Screen) -> Result<Found, Refusal> {
        let mut found = Found {
            jobs: Vec::new(),
            exit: Exit::Ok,
            manifests: Vec::new(),
            bad: Vec::new(),
        };
        for error in &self.errors {
            match error {
                SourceError::Unreadable(problem) => {
                    complain(screen, &format!("the job file {problem}"));
                }
                SourceError::Unusable(problems) => draw(problems, screen),
            }
            found.exit = Exit::Failure;
        }
        let mut origins = HashMap::new();
        for entry in self.manifests.iter().flat_map(|it| &it.entries) {
            match &entry.result {
                Ok(job) => match origins.get(&job.id) {
                    Some(origin) => {
                        let message =
                            format!("{}: the id `{}` is taken by {origin}", job.origin, job.id);
                        complain(screen, &message);
                        found.exit = Exit::Failure;
                    }
                    None => {
                        origins.insert(job.id.clone(), job.origin.clone());
                        found.jobs.push(job.clone());
                    }
                },
                Err(problems) => {
                    draw(problems, screen);
                    found.bad.extend(entry.id.clone());
                    found.exit = Exit::Failure;
                }
            }
        }
        if self.manifests.is_empty() && !self.errors.is_empty() {
            return Err(Refusal::said(Exit::Failure));
        }
        found.manifests = self.manifests;
        Ok(found)
    }
}

/// The good jobs of some sources, and whether there are others.
#[derive(Debug)]
pub(super) struct Found {
    /// In the order of the sources.
    pub(super) jobs: Vec<Arc<Job>>,
    /// Failure if something is wrong with others, which has been drawn.
    pub(super) exit: Exit,
    /// The documents, as far as they can be read.
    pub(super) manifests: Vec<Arc<Manifest>>,
    /// The ids of the others.
    bad: Vec<JobId>,
}

impl Found {
    /// Whether there is a job of this id, good or not.
    pub(super) fn knows(&self, id: &str) -> bool {
        let good = self.jobs.iter().map(|job| &job.id);
        good.chain(&self.bad).any(|known| known.as_str() == id)
    }

    /// Says that there is none.
    pub(super) fn unknown(&self, id: &str) -> String {
        let known = self.jobs.iter().map(|job| job.id.as_str());
        match nearest(id, known) {
            Some(near) => format!("no job `{id}`: did you mean `{near}`?"),
            None => format!("no job `{id}` in the job files"),
        }
    }
}

/// Says which of some jobs would not run, because they are above the operator's ceiling: a line
/// for each.
pub(super) fn warn_of_ceiling(
    manifest: &Manifest,
    policy: &Policy,
    screen: Screen,
    concerns: impl Fn(&Job) -> bool,
) {
    for entry in &manifest.entries {
        let Some(job) = entry.result.as_deref().ok().filter(|job| concerns(job)) else {
            continue;
        };
        let problems = policy.above(&manifest.source, entry);
        let Some(first) = problems.first() else {
            continue;
        };
        let more = match problems.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more: see `quarterjack check`"),
        };
        let id = harmless(job.id.as_str());
        let warning = screen.err.paint(Tone::Warn, "warning:");
        remark(&format!("{warning} `{id}` would not run: {first}{more}"));
    }
}

/// The first few of some names, to choose from.
fn listing<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let names: Vec<&str> = names.take(SHOWN + 1).collect();
    match names.get(..SHOWN.min(names.len())) {
        None | Some([]) => ", which has no jobs".to_owned(),
        Some(shown) => {
            let more = if names.len() > SHOWN { ", …" } else { "" };
            format!("; it has {}{more}", shown.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCREEN: Screen = Screen {
        out: super::super::output::Paint { on: false },
        err: super::super::output::Paint { on: false },
        width: 100,
    };

    fn said(id: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        let text = r#"{"jobs": [
            {"id": "report", "component": "a.wasm", "trigger": "@daily"},
            {"id": "broken", "component": "a.wasm", "trigger": "61 * * * *"},
        ]}"#;
        std::fs::write(&path, text).unwrap();
        match Definitions::of_place(&path, &Arc::default()).find(id, SCREEN) {
            Ok(found) => found.job.id.to_string(),
            Err(refusal) => {
                assert_eq!(refusal.exit, Exit::Failure);
                let path = path.display().to_string();
                refusal.message.replace(&path, "jobs.json")
            }
        }
    }

    #[test]
    fn a_job_is_found_or_something_near_it() {
        assert_eq!(said("report"), "report");
        assert_eq!(
            said("reprot"),
            "no job `reprot` in jobs.json: did you mean `report`?"
        );
        assert_eq!(
            said("xyzzy"),
            "no job `xyzzy` in jobs.json; it has report, broken"
        );
        assert_eq!(
            said("broken"),
            "the definition of `broken` is wrong, as shown above"
        );
    }

    #[test]
    fn a_missing_job_file_is_named() {
        let refusal = Definitions::of_place(Path::new("no/such.json"), &Arc::default())
            .find("a", SCREEN)
            .unwrap_err();
        assert!(refusal.message.contains("no/such.json"));
        assert!(refusal.message.contains("--jobs"));
    }
}
