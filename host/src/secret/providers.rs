//! Who has the operator's secrets: the host's environment, files in a directory, systemd.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt as _, OpenOptions, OpenOptionsExt as _};
use parking_lot::{Mutex, RwLock};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::{LONGEST, Redactor, Secret, SecretError, TooLarge, Unfit};
use crate::job::check_secret_name;

/// The variable in which systemd says where it has put a service's credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// How many redactors are kept for the next run with the same secrets.
const KEPT: usize = 64;

/// How many bytes of memory they may take together.
const KEPT_BYTES: usize = 32 << 20;

/// Who is asked for secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What the variables of the host's environment that hold secrets begin with. The rest is the
    /// secret's name in capitals, with `_` for `-` and `.`.
    pub env_prefix: String,
    /// The directory whose files are secrets, by their names.
    pub dir: Option<PathBuf>,
    /// Who is asked, the first first; nobody else is.
    pub order: Vec<Provider>,
}

impl Settings {
    /// What variables begin with where nobody says otherwise.
    pub const ENV_PREFIX: &str = "QUARTERJACK_SECRET_";
}

impl Default for Settings {
    /// systemd's credentials, then the environment; no directory.
    fn default() -> Self {
        Settings {
            env_prefix: Settings::ENV_PREFIX.to_owned(),
            dir: None,
            order: vec![Provider::Systemd, Provider::Environment],
        }
    }
}

/// Who is asked for secrets at this moment, for providers whose settings may change. Cheap to
/// clone; all clones see the same.
#[derive(Debug, Clone, Default)]
pub struct CurrentSettings(Arc<RwLock<Arc<Settings>>>);

impl CurrentSettings {
    /// These, until others are set.
    pub fn new(settings: Settings) -> Self {
        CurrentSettings(Arc::new(RwLock::new(Arc::new(settings))))
    }

    /// Puts others in force: for every secret that is asked for from now on.
    pub fn set(&self, settings: Settings) {
        *self.0.write() = Arc::new(settings);
    }

    fn get(&self) -> Arc<Settings> {
        self.0.read().clone()
    }
}

/// A kind of provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Credentials that systemd passes to a service; none where it passes none.
    Systemd,
    /// Files in a directory.
    Directory,
    /// Variables of the host's environment.
    Environment,
}

impl Provider {
    /// All, in the order in which they are asked where the file does not say.
    pub const ALL: [Provider; 3] = [
        Provider::Systemd,
        Provider::Directory,
        Provider::Environment,
    ];

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Systemd => "systemd",
            Provider::Directory => "dir",
            Provider::Environment => "env",
        }
    }
}
/// A look into an environment.
type Environment = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// The operator's providers of secrets. Asked anew for every run, so that a secret can be
/// changed while the host runs.
pub struct Providers {
    settings: CurrentSettings,
    environment: Box<Environment>,
    /// Files of which it was said that others can read them.
    warned: Mutex<HashSet<PathBuf>>,
    /// Redactors of the runs before, the last one used last.
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    secrets: Vec<(Arc<str>, Secret)>,
    redactor: Arc<Redactor>,
}

impl Default for Providers {
    fn default() -> Self {
        Providers::new(Settings::default())
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Providers({:?})", self.settings.get())
    }
}

impl Providers {
    /// Providers that look into the process's own environment.
    pub fn new(settings: Settings) -> Providers {
        Providers::following(CurrentSettings::new(settings))
    }

    /// The same, whose settings may change.
    pub fn following(settings: CurrentSettings) -> Providers {
        Providers::within(settings, |name| std::env::var_os(name))
    }

    /// Providers that look into this environment.
    fn within(
        settings: CurrentSettings,
        environment: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static,
    ) -> Providers {
        Providers {
            settings,
            environment: Box::new(environment),
            warned: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// The secret of a name. Reads files: not for a thread that must not wait.
    ///
    /// # Errors
    /// If no provider has it, or the first that has it has something that is no secret.
    pub fn resolve(&self, name: &str) -> Result<Secret, SecretError> {
        check_secret_name(name).map_err(SecretError::Name)?;
        let mut asked = Vec::new();
        let mut help = Vec::new();
        // One state of the settings for all of it.
        let settings = self.settings.get();
        for provider in &settings.order {
            let answer = match provider {
                Provider::Environment => self.ask_environment(&settings.env_prefix, name),
                Provider::Directory => settings
                    .dir
                    .as_deref()
                    .map(|dir| (self.ask_directory(dir, name), advice(dir, name))),
                Provider::Systemd => self.ask_systemd(name),
            };
            match answer {
                None => {}
                Some((Answer::Has(secret), _)) => return Ok(secret),
                Some((Answer::HasNot(why), advice)) => {
                    asked.push(why);
                    help.push(advice);
                }
                Some((Answer::Unusable(place, why), _)) => {
                    return Err(SecretError::Unusable {
                        name: name.to_owned(),
                        place,
                        why,
                    });
                }
            }
        }
        let name = name.to_owned();
        if asked.is_empty() {
            return Err(SecretError::NoProviders { name });
        }
        Err(SecretError::NotFound {
            name,
            asked: asked.join(", "),
            help: help.join(", or "),
        })
    }

    /// All secrets of a run, and what blots them out. Those that cannot be had are told when
    /// they are asked for. Reads files: not for a thread that must not wait.
    ///
    /// # Errors
    /// If they are too large, taken together, to be blotted out.
    pub fn resolve_all(
        &self,
        names: impl IntoIterator<Item = Arc<str>>,
    ) -> Result<Resolved, TooLarge> {
        let mut resolved = Resolved::default();
        for name in names {
            if resolved.get(&name).is_none() {
                let secret = self.resolve(&name);
                resolved.secrets.push((name, secret));
            }
        }
        let had: Vec<(Arc<str>, Secret)> = resolved
            .secrets
            .iter()
            .filter_map(|(name, secret)| Some((name.clone(), secret.as_ref().ok()?.clone())))
            .collect();
        resolved.redactor = self.redactor(had)?;
        Ok(resolved)
    }

    /// What blots out these secrets: that of a run before, if they have not changed since.
    fn redactor(
        &self,
        secrets: Vec<(Arc<str>, Secret)>,
    ) -> Result<Option<Arc<Redactor>>, TooLarge> {
        {
            let mut kept = self.kept.lock();
            if let Some(place) = kept.iter().position(|kept| kept.secrets == secrets) {
                let found = kept.remove(place);
                let redactor = found.redactor.clone();
                kept.push(found);
                return Ok(Some(redactor));
            }
        }
        let pairs = secrets.iter().map(|(name, secret)| (name, secret));
        let Some(redactor) = Redactor::new(pairs)? else {
            return Ok(None);
        };
        let redactor = Arc::new(redactor);
        let mut kept = self.kept.lock();
        kept.push(Kept {
            secrets,
            redactor: redactor.clone(),
        });
        let mut memory: usize = kept.iter().map(|kept| kept.redactor.memory()).sum();
        let mut too_many = 0;
        for oldest in kept.iter() {
            let left = kept.len() - too_many;
            // The newest stays whatever it takes: making it anew for each run would take more.
            if left <= 1 || (left <= KEPT && memory <= KEPT_BYTES) {
                break;
            }
            memory -= oldest.redactor.memory();
            too_many += 1;
        }
        kept.drain(..too_many);
        Ok(Some(redactor))
    }

    fn ask_environment(&self, prefix: &str, name: &str) -> Option<(Answer, String)> {
        let capitals = name.to_ascii_uppercase().replace(['-', '.'], "_");
        let variable = format!("{prefix}{capitals}");
        let advice = format!("set {variable}");
        let answer = match (self.environment)(&variable) {
            None => Answer::HasNot(format!("the host's environment has no {variable}")),
            Some(value) => Answer::of(value.into_vec(), || {
                format!("{variable} in the host's environment")
            }),
        };
        Some((answer, advice))
    }

    fn ask_systemd(&self, name: &str) -> Option<(Answer, String)> {
        let dir = PathBuf::from((self.environment)(CREDENTIALS)?);
        let advice = format!("write LoadCredential={name}:PATH in the host's unit of systemd");
        Some((self.ask_directory(&dir, name), advice))
    }

    fn ask_directory(&self, dir: &Path, name: &str) -> Answer {
        let path = dir.join(name);
        match self.read(dir, name) {
            Ok(value) => Answer::of(value, || path.display().to_string()),
            Err(Unread::NoDirectory(error)) => Answer::HasNot(format!(
                "cannot open the directory {}: {error}",
                dir.display()
            )),
            Err(Unread::Failed(error)) if error.kind() == io::ErrorKind::NotFound => {
                Answer::HasNot(format!("there is no {}", path.display()))
            }
            Err(Unread::Failed(error)) => {
                Answer::Unusable(path.display().to_string(), error.to_string())
            }
            Err(Unread::NotAFile) => Answer::Unusable(
                path.display().to_string(),
                "it is not a regular file".to_owned(),
            ),
        }
    }

    /// Reads a file, no more of it than a secret may have, and the end of its last line cut off.
    fn read(&self, dir: &Path, name: &str) -> Result<Vec<u8>, Unread> {
        let opened =
            Dir::open_ambient_dir(dir, ambient_authority()).map_err(Unread::NoDirectory)?;
        // Not blocking: opening a pipe would wait for somebody to write to it.
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(nonblocking);
        let file = opened.open_with(name, &options)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Unread::NotAFile);
        }
        if metadata.mode() & 0o004 != 0 {
            self.warn_of(dir.join(name));
        }
        // Of one piece from the start, with room for one byte too many and the end of a line:
        // growing would leave copies behind.
        let mut value = Zeroizing::new(Vec::with_capacity(LONGEST + 3));
        file.take(LONGEST as u64 + 3).read_to_end(&mut value)?;
        if value.last() == Some(&b'\n') {
            value.pop();
            if value.last() == Some(&b'\r') {
                value.pop();
            }
        }
        Ok(std::mem::take(&mut value))
    }

    /// Warns, once, of a file that is open to all.
    fn warn_of(&self, path: PathBuf) {
        if !self.warned.lock().contains(&path) {
            tracing::warn!(
                "every user of this machine can read the secret in {}: `chmod o-r` would stop that",
                path.display()
            );
            self.warned.lock().insert(path);
        }
    }
}

fn advice(dir: &Path, name: &str) -> String {
    format!("create the file {}", dir.join(name).display())
}

/// What a provider says.
enum Answer {
    Has(Secret),
    /// Why not.
    HasNot(String),
    /// Where it is, and what is wrong with it.
    Unusable(String, String),
}

impl Answer {
    fn of(value: Vec<u8>, place: impl FnOnce() -> String) -> Answer {
        match Secret::new(value) {
            Ok(secret) => Answer::Has(secret),
            Err(unfit @ (Unfit::TooShort | Unfit::TooLong)) => {
                Answer::Unusable(place(), unfit.to_string())
            }
        }
    }
}

/// Why a file could not be read.
enum Unread {
    NoDirectory(io::Error),
    NotAFile,
    Failed(io::Error),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Unread::Failed(error)
    }
}

/// The secrets of a run. Those of a run without any cost nothing.
#[derive(Debug, Default)]
pub struct Resolved {
    secrets: Vec<(Arc<str>, Result<Secret, SecretError>)>,
    redactor: Option<Arc<Redactor>>,
}

impl Resolved {
    /// The secret of a name, if the run is to have one of that name.
    pub fn get(&self, name: &str) -> Option<Result<&Secret, &SecretError>> {
        let (_, secret) = self.secrets.iter().find(|(known, _)| **known == *name)?;
        Some(secret.as_ref())
    }

    /// What blots the secrets out of what the run says; nothing if there are none.
    pub fn redactor(&self) -> Option<&Arc<Redactor>> {
        self.redactor.as_ref()
    }
}

#[cfg(test)]
#[path = "providers_tests.rs"]
mod tests;
