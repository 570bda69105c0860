//! Definitions from a database: the rows that a query yields.
//!
//! ```text
//! query ─▶ rows ─▶ a list of jobs in JSON, one a line ─▶ Manifest
//! ```
//!
//! Either a row has a column for each key that its job sets (`id`, `component`, `trigger`,
//! `params`, …; NULL is not set), or one column, `definition`, that holds the whole job in JSON.
//! An `ORDER BY` keeps the jobs in an order of their own.
//!
//! SQLite is looked at every second for whether anything was committed; a PostgreSQL server tells
//! who listens. This has it tell of every change of a table, at the end of each transaction:
//!
//! ```sql
//! CREATE FUNCTION tell_quarterjack() RETURNS trigger LANGUAGE plpgsql AS
//!   $$ BEGIN NOTIFY quarterjack_jobs; RETURN NULL; END $$;
//! CREATE TRIGGER tell_quarterjack AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON jobs
//!   FOR EACH STATEMENT EXECUTE FUNCTION tell_quarterjack();
//! ```

#[cfg(feature = "postgres")]
mod listen;
#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sqlite;
#[cfg(feature = "postgres")]
mod tls;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{Document, JobSource, Snapshot, SourceError};
use crate::job::manifest::Options;
use crate::job::{Diagnostic, Manifest, SourceText};
use crate::policy::Policy;
use crate::secret::Providers;
use rows::Listing;

/// The channel on which a PostgreSQL server tells of changes where the operator names none.
pub const CHANNEL: &str = "quarterjack_jobs";

/// How long connecting and asking may take together.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often an SQLite file is looked at for changes.
const LOOK: Duration = Duration::from_secs(1);

/// What the operator says of a database with definitions.
#[derive(Debug, Clone)]
pub struct SqlSettings {
    /// The source's name.
    pub name: Arc<str>,
    /// Where the database is: `sqlite:///path/file.db`, or `sqlite:file.db` relative to `base`;
    /// or `postgres://user@host:port/database?sslmode=…`. Without a password.
    pub url: String,
    /// The query that yields definitions.
    pub query: String,
    /// The name of the secret that is the user's password; only for PostgreSQL.
    pub password: Option<String>,
    /// The channel on which a PostgreSQL server tells of changes; [`CHANNEL`] if none is named.
    pub channel: Option<String>,
    /// How often the query is asked at least; nothing for as often as the host looks at anything.
    pub refresh: Option<Duration>,
    /// The directory that relative paths, in the URL and in definitions, are relative to.
    pub base: PathBuf,
}

/// A setting of a database that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}: {advice}")]
pub struct SqlSettingError {
    /// Which: `url`, `query`, `password` or `channel`.
    pub key: &'static str,
    /// What is wrong with it.
    pub message: String,
    /// What would be right.
    pub advice: String,
}

impl SqlSettingError {
    fn new(key: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        SqlSettingError {
            key,
            message: message.into(),
            advice: advice.into(),
        }
    }
}

/// Reads definitions from the rows that a query yields.
///
/// What it asks never writes: the file is opened for reading alone, the transaction is a
/// read-only one, and a statement that writes is refused.
pub struct SqlSource {
    name: Arc<str>,
    /// Where the database is, for people; without a password.
    place: String,
    query: String,
    refresh: Option<Duration>,
    options: Options,
    reading: Mutex<Reading>,
    remote: Option<Remote>,
    /// Never told of anything: sleeping on it is sleeping.
    nothing: Condvar,
}

/// What takes a source to a server.
#[cfg(feature = "postgres")]
struct Remote {
    server: Arc<postgres::Server>,
    channel: String,
    /// Since somebody has waited for changes.
    listener: std::sync::OnceLock<listen::Listener>,
}

/// No server is known.
#[cfg(not(feature = "postgres"))]
enum Remote {}

struct Reading {
    policy: Arc<Policy>,
    /// The file, where it is one.
    file: Option<sqlite::Database>,
    /// What was read last of what could be.
    last: Option<Arc<Manifest>>,
    /// Whether that is not in force any more: another policy is, or reading has failed since.
    stale: bool,
}

impl fmt::Debug for SqlSource {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "SqlSource({} at {})", self.name, self.place)
    }
}

impl SqlSource {
    /// A source of the definitions that a query yields, under the ceiling of `policy`; `secrets`
    /// has the password. The database need not be there yet.
    ///
    /// # Errors
    /// If a setting cannot be used.
    pub fn new(
        settings: SqlSettings,
        policy: Arc<Policy>,
        secrets: Arc<Providers>,
    ) -> Result<Self, SqlSettingError> {
        let SqlSettings {
            name,
            url,
            query,
            password,
            channel,
            refresh,
            base,
        } = settings;
        // A statement's end, which a query within another cannot have.
        let query = query.trim().trim_end_matches([';', ' ', '\n', '\r', '\t']);
        if query.is_empty() {
            return Err(SqlSettingError::new(
                "query",
                "the query is empty",
                "such as \"SELECT definition FROM jobs ORDER BY id\"",
            ));
        }
        if query.contains('\0') {
            return Err(SqlSettingError::new(
                "query",
                "the query holds a NUL character",
                "leave it out",
            ));
        }
        let (place, file, remote) = match url::parse(&url)? {
            url::Place::Sqlite(path) => {
                let unused = [
                    ("password", password.is_some()),
                    ("channel", channel.is_some()),
                ];
                if let Some((key, _)) = unused.into_iter().find(|(_, given)| *given) {
                    return Err(SqlSettingError::new(
                        key,
                        format!("an SQLite file has no {key}"),
                        "leave it out",
                    ));
                }
                let path = base.join(path);
                let place = path.display().to_string();
                (place, Some(sqlite::Database::new(path)), None)
            }
            #[cfg(feature = "postgres")]
            url::Place::Postgres(url) => {
                let channel = channel.unwrap_or_else(|| CHANNEL.to_owned());
                // What the server itself would cut off without a word.
                if channel.is_empty() || channel.len() > 63 || channel.contains('\0') {
                    return Err(SqlSettingError::new(
                        "channel",
                        format!("there is no channel {channel:?}"),
                        "its name has 1 to 63 bytes",
                    ));
                }
                let server = postgres::Server::new(&url, &base, password, secrets)?;
                let remote = Remote {
                    server: Arc::new(server),
                    channel,
                    listener: std::sync::OnceLock::new(),
                };
                (url.shown, None, Some(remote))
            }
            #[cfg(not(feature = "postgres"))]
            url::Place::Postgres(_) => {
                drop(secrets);
                return Err(SqlSettingError::new(
                    "url",
                    "this quarterjack was built without PostgreSQL",
                    "build it with the feature `postgres`",
                ));
            }
        };
        Ok(SqlSource {
            name,
            place,
            query: query.to_owned(),
            refresh,
            options: Options {
                base,
                ..Options::default()
            },
            reading: Mutex::new(Reading {
                policy,
                file,
                last: None,
                stale: false,
            }),
            remote,
            nothing: Condvar::new(),
        })
    }

    /// How often it wants to be read at least; nothing if it has no wish.
    pub fn pace(&self) -> Option<Duration> {
        self.refresh
    }

    /// Whether what it says is on another machine, which may keep one waiting.
    pub fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// Waits until the database tells of a change, or may have changed while nobody could be
    /// told, but no longer than `timeout`. Whether it did: then it wants to be read.
    ///
    /// Blocks its thread. May be called with short times again and again: what goes on behind it
    /// (a connection to the server that listens, is made again if it breaks, after longer and
    /// longer pauses) goes on between the calls.
    pub fn wait(&self, timeout: Duration) -> bool {
        #[cfg(feature = "postgres")]
        if let Some(remote) = &self.remote {
            let listener = remote.listener.get_or_init(|| {
                let (server, channel) = (remote.server.clone(), remote.channel.clone());
                listen::Listener::start(self.name.clone(), server, channel)
            });
            return listener.wait(timeout);
        }
        let mut left = timeout;
        loop {
            let nap = left.min(LOOK);
            self.nothing.wait_for(&mut Mutex::new(()).lock(), nap);
            left -= nap;
            let reading = &mut *self.reading.lock();
            if reading.file.as_mut().is_some_and(sqlite::Database::changed) {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }

    fn ask(&self, reading: &mut Reading) -> Result<Listing, Failure> {
        if let Some(file) = &mut reading.file {
            return file.read(&self.query);
        }
        #[cfg(feature = "postgres")]
        if let Some(remote) = &self.remote {
            return remote.server.read(&self.query);
        }
        Err(Failure::new("there is no database", ""))
    }

    fn problem(&self, failure: Failure) -> SourceError {
        let Failure {
            message,
            advice,
            at,
        } = failure;
        let problem = match at {
            None => Diagnostic::of_file(self.name.clone(), format!("{}: {message}", self.place)),
            Some(at) => {
                let name = format!("{} (query)", self.name);
                let source = Arc::new(SourceText::new(name, self.query.clone()));
                let rest = self.query.get(at..).unwrap_or_default();
                let word =
                    rest.find(|it: char| !it.is_alphanumeric() && !matches!(it, '_' | '.' | '"'));
                let word = word.unwrap_or(rest.len()).max(1);
                Diagnostic::error(&source, at..at.saturating_add(word), message)
                    .with_hint(format!("asked of {}", self.place))
            }
        };
        SourceError::Unreadable(Box::new(problem.with_label(advice)))
    }
}

impl JobSource for SqlSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self) -> Result<Snapshot, SourceError> {
        // Held throughout: two readers at once would only do the same work twice.
        let reading = &mut *self.reading.lock();
        let stale = std::mem::replace(&mut reading.stale, true);
        let listing = self.ask(reading).map_err(|failure| self.problem(failure))?;
        let mut unchanged = !stale;
        let manifest = match &reading.last {
            Some(last) if last.source.text() == listing.text() => last.clone(),
            _ => {
                unchanged = false;
                let mut manifest = listing
                    .parse(&self.name, &self.options)
                    .map_err(|problems| SourceError::Unusable(problems.into()))?;
                reading.policy.judge(&mut manifest);
                let manifest = Arc::new(manifest);
                reading.last = Some(manifest.clone());
                manifest
            }
        };
        reading.stale = false;
        Ok(Snapshot {
            documents: vec![Document {
                name: self.name.clone(),
                read: Ok(manifest),
            }],
            unchanged,
        })
    }

    fn set_policy(&self, policy: Arc<Policy>) {
        let reading = &mut *self.reading.lock();
        reading.policy = policy;
        reading.last = None;
    }

    fn restore(&self, documents: &[Arc<SourceText>]) -> Snapshot {
        let policy = self.reading.lock().policy.clone();
        let documents = documents.iter().map(|text| {
            let read = Manifest::parse(text.clone(), &self.options).map(|mut manifest| {
                policy.judge(&mut manifest);
                Arc::new(manifest)
            });
            Document {
                name: text.name().clone(),
                read: read.map_err(|problems| SourceError::Unusable(problems.into())),
            }
        });
        Snapshot {
            documents: documents.collect(),
            unchanged: false,
        }
    }

    /// None: what else is in a database changes too often to be told of it. See
    /// [`wait`](SqlSource::wait).
    fn directories(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn pace(&self) -> Option<Duration> {
        SqlSource::pace(self)
    }

    fn is_remote(&self) -> bool {
        SqlSource::is_remote(self)
    }

    fn tells(&self) -> bool {
        true
    }

    fn wait(&self, timeout: Duration) -> bool {
        SqlSource::wait(self, timeout)
    }
}

/// Why a database yields no definitions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}{advice}", if advice.is_empty() { "" } else { ": " })]
struct Failure {
    /// What is wrong.
    message: String,
    /// What to do; may be empty.
    advice: String,
    /// Which byte of the query it is about.
    at: Option<usize>,
}

impl Failure {
    fn new(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Failure {
            message: message.into(),
            advice: advice.into(),
            at: None,
        }
    }

    /// At a byte of the query.
    fn at(mut self, at: usize) -> Self {
        self.at = Some(at);
        self
    }
}

#[cfg(test)]
mod tests;
