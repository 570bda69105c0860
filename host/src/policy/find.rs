//! Where the configuration file is, and whether it has changed.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use parking_lot::RwLock;

use super::{Flags, Policy};
use crate::job::{Diagnostic, SourceText};

/// The name of the file.
const NAME: &str = "quarterjack.toml";

/// The largest configuration file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Which configuration file is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// The first that exists of `quarterjack.toml` in the working directory, the same in
    /// `quarterjack` in the user's configuration directory, and in `/etc/quarterjack`.
    #[default]
    Usual,
    /// This one, which must be there.
    At(PathBuf),
    /// None.
    Nowhere,
}

/// A configuration file that may change, under the flags of the command line.
#[derive(Debug, Clone)]
pub struct PolicyFile {
    choice: Choice,
    flags: Flags,
    /// What was read last, and is in force.
    last: Option<(PathBuf, Vec<u8>)>,
    /// What was wrong at the last look, and has been told.
    told: Vec<Diagnostic>,
}

/// What a look at a configuration file finds.
#[derive(Debug)]
pub enum Look {
    /// Nothing new.
    Unchanged,
    /// It says something else.
    Changed(Box<Policy>),
    /// It was told to be broken, and is again what is in force.
    Restored,
    /// It cannot be used, in a way that was not found at the last look. What was in force stays.
    Broken(Vec<Diagnostic>),
}

/// The policy that is in force at this moment, for those who ask while it may change. Cheap to
/// clone; all clones see the same.
#[derive(Debug, Clone, Default)]
pub struct Current(Arc<RwLock<Arc<Policy>>>);

impl Current {
    /// This one, until another is set.
    pub fn new(policy: Arc<Policy>) -> Self {
        Current(Arc::new(RwLock::new(policy)))
    }

    /// The policy in force.
    pub fn get(&self) -> Arc<Policy> {
        self.0.read().clone()
    }

    /// Puts another one in force.
    pub fn set(&self, policy: Arc<Policy>) {
        *self.0.write() = policy;
    }
}

impl Policy {
    /// Finds the usual configuration file; nothing if there is none. One that exists but cannot
    /// be read is found, for a ceiling must not vanish unseen.
    ///
    /// ```no_run
    /// use quarterjack::policy::Policy;
    /// if let Some(path) = Policy::find() {
    ///     let policy = Policy::load(&path);
    /// }
    /// ```
    pub fn find() -> Option<PathBuf> {
        first_of(usual_places(|name| std::env::var_os(name)))
    }
}

/// The usual places of the file, the first first.
fn usual_places(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    // A relative one is to be ignored, says the standard that defines it.
    let absolute = |name: &str| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let users =
        absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    let mut places = vec![PathBuf::from(NAME)];
    places.extend(users.map(|users| users.join("quarterjack").join(NAME)));
    places.push(Path::new("/etc/quarterjack").join(NAME));
    places
}

fn first_of(places: Vec<PathBuf>) -> Option<PathBuf> {
    places
        .into_iter()
        .find(|path| match std::fs::symlink_metadata(path) {
            Ok(_) => true,
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ),
        })
}

impl PolicyFile {
    /// A file that has not been read yet.
    pub fn new(choice: Choice, flags: Flags) -> Self {
        PolicyFile {
            choice,
            flags,
            last: None,
            told: Vec::new(),
        }
    }

    /// The limits of the command line alone, as without a file.
    pub fn without_file(&self) -> Policy {
        Policy::default().with_flags(&self.flags)
    }

    /// The file as it is found now.
    fn path(&self) -> Option<PathBuf> {
        match &self.choice {
            Choice::Usual => Policy::find(),
            Choice::At(path) => Some(path.clone()),
            Choice::Nowhere => None,
        }
    }

    /// Reads it. From then on [`look`](PolicyFile::look) tells what is new.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the text.
    pub fn read(&mut self) -> Result<Policy, Vec<Diagnostic>> {
        let Some(path) = self.path() else {
            self.last = None;
            return Ok(self.without_file());
        };
        let bytes = read_bytes(&path).map_err(|problem| vec![*problem])?;
        let policy = self.parse(&path, bytes.clone())?;
        self.last = Some((path, bytes));
        Ok(policy)
    }

    /// Looks whether it says something else than what is in force. One that is gone is broken
    /// rather than empty: what takes a ceiling away is to be said in the file.
    pub fn look(&mut self) -> Look {
        let found = match (self.path(), &self.last) {
            (None, None) => return Look::Unchanged,
            (None, Some((path, _))) => Err(vec![
                Diagnostic::of_file(&*path.to_string_lossy(), "the file is gone")
                    .with_label("an empty one sets no ceiling"),
            ]),
            (Some(path), last) => match read_bytes(&path) {
                Err(problem) => Err(vec![*problem]),
                Ok(bytes) => match last {
                    Some((known, same)) if *known == path && *same == bytes => {
                        let was_broken = !std::mem::take(&mut self.told).is_empty();
                        return if was_broken {
                            Look::Restored
                        } else {
                            Look::Unchanged
                        };
                    }
                    _ => self
                        .parse(&path, bytes.clone())
                        .map(|policy| (policy, path, bytes)),
                },
            },
        };
        match found {
            Ok((policy, path, bytes)) => {
                self.told.clear();
                self.last = Some((path, bytes));
                Look::Changed(Box::new(policy))
            }
            Err(problems) if problems == self.told => Look::Unchanged,
            Err(problems) => {
                self.told.clone_from(&problems);
                Look::Broken(problems)
            }
        }
    }

    fn parse(&self, path: &Path, bytes: Vec<u8>) -> Result<Policy, Vec<Diagnostic>> {
        let name = path.to_string_lossy().into_owned();
        let source = SourceText::from_bytes(name, bytes).map_err(|problem| vec![*problem])?;
        let base = path.parent().unwrap_or(Path::new(""));
        let policy = Policy::parse(&Arc::new(source), base)?;
        Ok(policy.with_flags(&self.flags))
    }

    /// The file that was read last, as it was named or found; nothing where none was.
    pub fn name(&self) -> Option<Arc<str>> {
        let (path, _) = self.last.as_ref()?;
        Some(path.to_string_lossy().into())
    }

    /// The directory that is worth watching for a change; nothing where no file is read.
    pub fn directory(&self) -> Option<PathBuf> {
        let (path, _) = self.last.as_ref()?;
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => Some(parent.to_owned()),
            _ => Some(PathBuf::from(".")),
        }
    }
}

/// Reads a configuration file. The operator named it or put it there, so its links are followed
/// wherever they lead.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, Box<Diagnostic>> {
    let name: Arc<str> = path.to_string_lossy().into();
    let problem = |message: &str, label: &str| {
        Box::new(Diagnostic::of_file(name.clone(), message).with_label(label))
    };
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound if path.is_symlink() => {
            problem("no such file", "it is a link to a file that is not there")
        }
        io::ErrorKind::NotFound => problem("no such file", "no configuration file is there"),
        io::ErrorKind::PermissionDenied => problem(
            "permission denied",
            "the user that runs the host may not read it",
        ),
        _ => problem(&format!("cannot be read: {error}"), ""),
    };
    let not_a_file = || problem("is not a regular file", "name a file in TOML");
    let real = std::fs::canonicalize(path).map_err(failed)?;
    // The root directory alone has no name or parent.
    let (Some(parent), Some(file)) = (real.parent(), real.file_name()) else {
        return Err(not_a_file());
    };
    let dir = Dir::open_ambient_dir(parent, ambient_authority()).map_err(failed)?;
    // Asked before opening, which for a named pipe would wait for a writer.
    if !dir.metadata(file).map_err(failed)?.is_file() {
        return Err(not_a_file());
    }
    let mut bytes = Vec::new();
    let file = dir.open(file).map_err(failed)?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(problem(
            "the file is larger than 1 MiB",
            "is this the configuration file?",
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_places_are_the_usual_ones() {
        let places = |variables: &[(&str, &str)]| {
            let variables = variables.to_vec();
            usual_places(|name| {
                let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
                Some(value.into())
            })
        };
        let etc = PathBuf::from("/etc/quarterjack/quarterjack.toml");
        let here = PathBuf::from("quarterjack.toml");
        assert_eq!(places(&[]), [here.clone(), etc.clone()]);
        assert_eq!(
            places(&[("HOME", "/home/ann")]),
            [
                here.clone(),
                "/home/ann/.config/quarterjack/quarterjack.toml".into(),
                etc.clone()
            ]
        );
        let both = [("HOME", "/home/ann"), ("XDG_CONFIG_HOME", "/cfg")];
        assert_eq!(
            places(&both)[1],
            Path::new("/cfg/quarterjack/quarterjack.toml")
        );
        let relative = [("HOME", "/home/ann"), ("XDG_CONFIG_HOME", "cfg")];
        assert!(places(&relative)[1].starts_with("/home/ann"));
    }

    #[test]
    fn the_first_that_exists_is_found_be_it_of_use_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let places = || vec![at("a.toml"), at("none/b.toml"), at("c.toml")];
        assert_eq!(first_of(places()), None);
        std::fs::write(at("c.toml"), "").unwrap();
        assert_eq!(first_of(places()), Some(at("c.toml")));
        std::os::unix::fs::symlink("nowhere", at("a.toml")).unwrap();
        assert_eq!(first_of(places()), Some(at("a.toml")));
        let problems = Policy::load(&at("a.toml")).unwrap_err();
        assert!(problems[0].to_string().contains("link"), "{problems:?}");
    }

    fn changed(look: Look) -> Policy {
        match look {
            Look::Changed(policy) => *policy,
            other => panic!("{other:?}"),
        }
    }

    fn broken(look: Look) -> String {
        match look {
            Look::Broken(problems) => problems[0].to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_change_is_told_once_and_a_trouble_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q.toml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let mut file = PolicyFile::new(Choice::At(path.clone()), Flags::default());
        assert!(file.read().unwrap_err()[0].message.contains("no such file"));
        write("[host]\nmax_memory = \"1GiB\"\n");
        let policy = file.read().unwrap();
        assert_eq!(policy.host.max_memory, Some(1 << 30));
        assert_eq!(file.directory().as_deref(), path.parent());
        assert!(matches!(file.look(), Look::Unchanged));
        write("[host]\nmax_memory = \"2GiB\"\n");
        assert_eq!(changed(file.look()).host.max_memory, Some(2 << 30));
        assert!(matches!(file.look(), Look::Unchanged));
        write("[hosts]\n");
        assert!(broken(file.look()).contains("did you mean `host`?"));
        assert!(matches!(file.look(), Look::Unchanged));
        // What was in force came back.
        write("[host]\nmax_memory = \"2GiB\"\n");
        assert!(matches!(file.look(), Look::Restored));
        assert!(matches!(file.look(), Look::Unchanged));
        std::fs::remove_file(&path).unwrap();
        assert!(broken(file.look()).contains("no such file"));
        assert!(matches!(file.look(), Look::Unchanged));
        write("");
        assert_eq!(changed(file.look()).host.max_memory, None);
    }

    #[test]
    fn what_is_no_configuration_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let said = |path: &Path| Policy::load(path).unwrap_err()[0].to_string();
        assert!(said(dir.path()).contains("not a regular file"));
        assert!(said(Path::new("/")).contains("not a regular file"));
        let large = dir.path().join("large.toml");
        std::fs::write(&large, "#".repeat(2 << 20)).unwrap();
        assert!(said(&large).contains("larger than 1 MiB"));
        let bytes = dir.path().join("bytes.toml");
        std::fs::write(&bytes, b"[host]\n\xFF").unwrap();
        assert!(said(&bytes).contains("2:1: the file is not UTF-8"));
    }
}
