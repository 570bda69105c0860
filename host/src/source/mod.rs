//! Where definitions come from, and what changes when they do.
//!
//! ```text
//! JobSource ──Snapshot──▶ Diff::between(in service, wanted) ──▶ added, updated, removed
//! ```
//!
//! A source tells everything that it wants each time it is read, never what has changed: a
//! missed notification, a restart and a first start are then the same thing. What has changed
//! is worked out here, once for all kinds of sources.
//!
//! What a source says is one document or several, such as the files of a directory. Each is read,
//! and may be broken, by itself; they own their jobs together.

mod configured;
mod diff;
mod directory;
mod disk;
mod document;
mod file;
mod function;
mod http;
mod own;
mod place;
mod sql;
mod unavailable;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use configured::ConfiguredSource;
pub use diff::{Claim, Diff, Update, Wanted};
pub use directory::DirectorySource;
pub use disk::directory_of;
pub use file::FileSource;
pub use function::FunctionSource;
pub use http::HttpSource;
pub use own::OwnSource;
pub use place::PlaceSource;
pub use sql::{CHANNEL, SqlSettingError, SqlSettings, SqlSource};
use unavailable::UnavailableSource;

use crate::job::{Diagnostic, Manifest, SourceText};
use crate::policy::{HttpUrl, Policy, SourceOrigin, SourceSettings};
use crate::secret::{CurrentSettings, Providers};

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

    /// Puts the jobs under the ceiling of another policy, from the next reading on, which is then
    /// not unchanged.
    fn set_policy(&self, policy: Arc<Policy>);

    /// What the source said at another time, of which these are the texts: as if it said so now.
    /// Says nothing about what is new at the next reading.
    fn restore(&self, documents: &[Arc<SourceText>]) -> Snapshot;

    /// The directories in which something changes when the source does; none where that cannot be
    /// seen in a directory.
    fn directories(&self) -> Vec<PathBuf>;

    /// How long after a reading to read it again even if nothing tells of a change. Nothing where
    /// that is the host's to say.
    fn pace(&self) -> Option<Duration> {
        None
    }

    /// Whether it is away from this machine, so that the host starts without waiting for it.
    fn is_remote(&self) -> bool {
        false
    }

    /// Whether [`wait`](JobSource::wait) is told of changes.
    fn tells(&self) -> bool {
        false
    }

    /// Waits until something tells of a change, but no longer than `timeout`; says whether it
    /// did. May block, as [`read`](JobSource::read).
    fn wait(&self, timeout: Duration) -> bool {
        let _ = timeout;
        false
    }

    /// Whether it may remove more than half of its jobs at once without being read a second time.
    fn allows_mass_removal(&self) -> bool {
        false
    }
}

/// Opens a place that the operator named: a directory of job files, a job file, or the URL of one.
pub fn open_one(path: &Path, policy: &Arc<Policy>) -> Arc<dyn JobSource> {
    if let Some(url) = path.to_str().filter(|text| HttpUrl::is_meant(text)) {
        return Arc::new(HttpSource::of_url(url, policy.clone()));
    }
    Arc::new(PlaceSource::new(path, policy))
}

/// Opens a source of the configuration.
pub fn open_configured(settings: &SourceSettings, policy: &Arc<Policy>) -> Arc<dyn JobSource> {
    let secrets = CurrentSettings::new(policy.secrets.clone());
    let source: Arc<dyn JobSource> = match &settings.origin {
        SourceOrigin::File(path) => Arc::new(FileSource::new(path, policy.clone())),
        SourceOrigin::Directory(path) => Arc::new(DirectorySource::new(path, policy.clone())),
        SourceOrigin::Http(http) => {
            let name = settings.name.clone();
            Arc::new(HttpSource::new(
                name,
                http,
                settings.refresh,
                policy.clone(),
            ))
        }
        SourceOrigin::Sql(sql) => {
            let sql = SqlSettings {
                name: settings.name.clone(),
                url: sql.url.to_string(),
                query: sql.query.to_string(),
                password: sql.password.as_deref().map(str::to_owned),
                channel: sql.channel.as_deref().map(str::to_owned),
                refresh: settings.refresh,
                base: sql.base.clone(),
            };
            let providers = Arc::new(Providers::following(secrets.clone()));
            match SqlSource::new(sql, policy.clone(), providers) {
                Ok(source) => Arc::new(source),
                Err(error) => {
                    let (wrong, right) = (&error.message, &error.advice);
                    Arc::new(UnavailableSource::new(settings, wrong, right))
                }
            }
        }
    };
    Arc::new(ConfiguredSource::new(settings, source, secrets))
}

/// Opens the places that the command line names, or else the [usual ones](usual_places), those
/// that the configuration names, and what stands beside the plugins of a directory, if there is
/// one.
pub fn open(places: &[PathBuf], plugins: &Path, policy: &Arc<Policy>) -> Vec<Arc<dyn JobSource>> {
    let usual;
    let places = match places {
        [] => {
            usual = usual_places(plugins, policy);
            &usual
        }
        named => named,
    };
    open_named(places, Some(plugins), policy)
}

/// Opens the places that a program names, and none besides: those that its configuration names, and
/// what stands beside the plugins of a directory, come with them.
pub fn open_named(
    places: &[PathBuf],
    plugins: Option<&Path>,
    policy: &Arc<Policy>,
) -> Vec<Arc<dyn JobSource>> {
    let mut sources: Vec<_> = places.iter().map(|path| open_one(path, policy)).collect();
    let configured = policy.sources.iter();
    sources.extend(configured.map(|settings| open_configured(settings, policy)));
    if let Some(plugins) = plugins.filter(|path| path.is_dir()) {
        let sidecars = DirectorySource::sidecars(plugins, policy.clone());
        sources.push(Arc::new(sidecars));
    }
    sources
}

/// The places of definitions where the command line names none: `jobs.json` and `jobs.d` of the
/// working directory, as far as they are there. If nothing is, neither in the configuration nor
/// beside the plugins, it is `jobs.json` that is missed.
pub fn usual_places(plugins: &Path, policy: &Policy) -> Vec<PathBuf> {
    let usual = [PathBuf::from("jobs.json"), PathBuf::from("jobs.d")];
    let is_there = |path: &PathBuf| path.symlink_metadata().is_ok();
    let there: Vec<PathBuf> = usual
        .iter()
        .filter(|path| is_there(path))
        .cloned()
        .collect();
    if there.is_empty() && policy.sources.is_empty() && !DirectorySource::has_sidecars(plugins) {
        return usual.into_iter().take(1).collect();
    }
    there
}

/// Everything that a source wants at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What it says, in its order. No two have the same name.
    pub documents: Vec<Document>,
    /// Whether the source had exactly this to say the last time there was something to read;
    /// there is nothing to do then.
    pub unchanged: bool,
}

impl Snapshot {
    /// Whether it was read from just these texts.
    pub fn is_of(&self, texts: &[Arc<SourceText>]) -> bool {
        let same = |(document, text): (&Document, &Arc<SourceText>)| {
            document.read.as_ref().is_ok_and(|manifest| {
                manifest.source.name() == text.name() && manifest.source.text() == text.text()
            })
        };
        self.documents.len() == texts.len() && self.documents.iter().zip(texts).all(same)
    }

    /// Those of its documents that can be read.
    pub fn manifests(&self) -> impl Iterator<Item = &Arc<Manifest>> {
        self.documents
            .iter()
            .filter_map(|document| document.read.as_ref().ok())
    }
}

/// One text that a source has.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its name, as that of the manifest's text: the path of a file.
    pub name: Arc<str>,
    /// What it says, or why nothing can be made of it: its jobs in service stay in service.
    pub read: Result<Arc<Manifest>, SourceError>,
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
