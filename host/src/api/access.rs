//! Who may do what: the roles of routes, and the tokens of those that come over TCP.
//!
//! A token is 256 random bits, and what is kept of it is its SHA-256: there is nothing to guess, so
//! that a slow hash made for passwords would only slow down every request. The file is read again
//! when it has changed.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::clock::{Timestamp, rfc3339_option};

/// The name of the file in a data directory.
const FILE: &str = "tokens.json";

/// What tokens begin with, so that they are known where they have no business to be.
const PREFIX: &str = "qj_";

/// How many tokens there are at most.
const MOST: usize = 1_000;

/// What somebody may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look at jobs, runs, logs and events.
    Read,
    /// Start, end, pause and resume as well.
    Operate,
    /// Change definitions as well.
    Admin,
}

impl Role {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Operate => "operate",
            Role::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    /// Reads the name of a role.
    fn from_str(text: &str) -> Result<Role, String> {
        [Role::Read, Role::Operate, Role::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| "there are read, operate and admin".to_owned())
    }
}

/// What is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Whom it was given to.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Its SHA-256 in hexadecimal.
    sha256: String,
    /// When it was made.
    #[serde(with = "rfc3339_option")]
    pub made_at: Option<Timestamp>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    tokens: Vec<Token>,
}

/// Why tokens cannot be used or changed.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("cannot use the tokens in {}: {error}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file says something else.
    #[error("{} is not a file of tokens: {error}; put it right, or remove it and add the tokens again", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
    /// There is one of that name.
    #[error(
        "there is a token `{0}` already: take another name, or remove it with `quarterjack token rm {0}`"
    )]
    Exists(String),
    /// There is none of that name.
    #[error("there is no token `{0}`: `quarterjack token list` tells which there are")]
    Unknown(String),
    /// It cannot be a name.
    #[error(
        "`{0}` cannot be the name of a token: take 1 to 64 letters, digits and `-._@` of ASCII"
    )]
    Name(String),
    /// There are too many.
    #[error("there are {MOST} tokens, which is the most: remove one that nobody needs")]
    TooMany,
}

/// The tokens of a data directory.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    /// What the file said, and how it looked then.
    last: Mutex<Option<(Look, Vec<Token>)>>,
}

/// What tells one state of a file from another: they are replaced, never written over.
type Look = (u64, i64, i64, u64);

impl Tokens {
    /// Those in a data directory; there need not be any.
    pub fn of(data: &Path) -> Tokens {
        Tokens {
            path: data.join(FILE),
            last: Mutex::new(None),
        }
    }

    /// All of them, by their names.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn list(&self) -> Result<Vec<Token>, TokenError> {
        let failed = |error| TokenError::Unusable {
            path: self.path.clone(),
            error,
        };
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.map_err(failed)?,
        };
        let found = file.metadata().map_err(failed)?;
        let look = (found.ino(), found.mtime(), found.mtime_nsec(), found.size());
        let mut last = self.last.lock();
        if let Some((seen, tokens)) = &*last
            && *seen == look
        {
            return Ok(tokens.clone());
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let written: Written = serde_json::from_str(&text).map_err(|error| TokenError::Broken {
            path: self.path.clone(),
            error,
        })?;
        *last = Some((look, written.tokens.clone()));
        Ok(written.tokens)
    }

    /// What the bearer of a token may do, and the token's name; nothing if it is none of these.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn find(&self, secret: &str) -> Result<Option<(String, Role)>, TokenError> {
        let wanted = hash(secret);
        let mut found = None;
        // All of them are compared, and each to its end: the time tells nothing.
        for token in self.list()? {
            if is_same(&token.sha256, &wanted) {
                found = Some((token.name, token.role));
            }
        }
        Ok(found)
    }

    /// Makes a token. What is given back is told this once.
    ///
    /// # Errors
    /// [`TokenError`]: there is none.
    pub fn add(&self, name: &str, role: Role, now: Timestamp) -> Result<String, TokenError> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._@".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name) {
            return Err(TokenError::Name(name.to_owned()));
        }
        let mut tokens = self.list()?;
        if tokens.iter().any(|token| token.name == name) {
            return Err(TokenError::Exists(name.to_owned()));
        }
        if tokens.len() >= MOST {
            return Err(TokenError::TooMany);
        }
        let mut bits = [0; 32];
        File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut bits))
            .map_err(|error| TokenError::Unusable {
                path: "/dev/urandom".into(),
                error,
            })?;
        let secret = format!("{PREFIX}{}", hexadecimal(&bits));
        tokens.push(Token {
            name: name.to_owned(),
            role,
            sha256: hash(&secret),
            made_at: Some(now),
        });
        tokens.sort_by(|one, other| one.name.cmp(&other.name));
        self.write(tokens)?;
        Ok(secret)
    }

    /// Takes a token back.
    ///
    /// # Errors
    /// [`TokenError`]: all is as it was.
    pub fn remove(&self, name: &str) -> Result<(), TokenError> {
        let mut tokens = self.list()?;
        let before = tokens.len();
        tokens.retain(|token| token.name != name);
        if tokens.len() == before {
            return Err(TokenError::Unknown(name.to_owned()));
        }
        self.write(tokens)
    }

    fn write(&self, tokens: Vec<Token>) -> Result<(), TokenError> {
        let failed = |error| TokenError::Unusable {
            path: self.path.clone(),
            error,
        };
        let mut text = serde_json::to_string_pretty(&Written { tokens })
            .map_err(|error| failed(error.into()))?;
        text.push('\n');
        if let Some(directory) = self.path.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(failed)?;
        }
        let young = self
            .path
            .with_extension(format!("{}.new", std::process::id()));
        let written = (|| {
            let mut file = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&young)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&young, &self.path)
        })();
        written.map_err(|error| {
            // Nothing is left of it that could be.
            let _ = std::fs::remove_file(&young);
            failed(error)
        })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(secret: &str) -> String {
    hexadecimal(&Sha256::digest(secret))
}

fn is_same(one: &str, other: &str) -> bool {
    let differ = one
        .bytes()
        .zip(other.bytes())
        .fold(0, |differ, (one, other)| {
            std::hint::black_box(differ | (one ^ other))
        });
    one.len() == other.len() && differ == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_told_once_and_known_until_it_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let (here, host) = (Tokens::of(dir.path()), Tokens::of(dir.path()));
        assert_eq!(host.find("").unwrap(), None);
        let ci = here
            .add("ci", Role::Operate, Timestamp::UNIX_EPOCH)
            .unwrap();
        let ops = here
            .add("ops@b", Role::Admin, Timestamp::UNIX_EPOCH)
            .unwrap();
        assert_eq!(ci.len(), PREFIX.len() + 64);
        assert_ne!(ci, ops);
        assert_eq!(host.find(&ci).unwrap(), Some(("ci".into(), Role::Operate)));
        assert_eq!(
            host.find(&ops).unwrap(),
            Some(("ops@b".into(), Role::Admin))
        );
        assert_eq!(host.find(&ci[..66]).unwrap(), None);
        assert_eq!(host.find(&hash(&ci)).unwrap(), None);
        let path = dir.path().join(FILE);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert!(!std::fs::read_to_string(&path).unwrap().contains(&ci[3..]));
        here.remove("ci").unwrap();
        assert_eq!(host.find(&ci).unwrap(), None);
        assert!(host.find(&ops).unwrap().is_some());
    }

    #[test]
    fn mistakes_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(dir.path());
        let add = |name| tokens.add(name, Role::Read, Timestamp::UNIX_EPOCH);
        add("a").unwrap();
        assert!(matches!(add("a"), Err(TokenError::Exists(_))));
        for name in ["", "a b", "ä", "\u{1b}", &"x".repeat(65)] {
            assert!(matches!(add(name), Err(TokenError::Name(_))), "{name}");
        }
        assert!(matches!(tokens.remove("b"), Err(TokenError::Unknown(_))));
        std::fs::write(dir.path().join(FILE), "{\"tokens\": [{}]}").unwrap();
        assert!(matches!(tokens.find("qj_"), Err(TokenError::Broken { .. })));
        assert!("root".parse::<Role>().is_err());
    }
}
