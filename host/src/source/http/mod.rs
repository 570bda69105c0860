//! Definitions that are fetched from a URL.

mod fetch;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;

use super::document::DocumentReader;
use super::{Document, JobSource, Snapshot, SourceError};
use crate::job::manifest::Options;
use crate::job::{Diagnostic, SourceText};
use crate::policy::{HttpSettings, HttpUrl, Policy};
use crate::secret::{CurrentSettings, Providers};
use fetch::{Answer, Failure, Fetcher, Question, Validators};

/// What a source is taken to be read every, once it cannot be, where nobody has said it.
const USUAL_REFRESH: Duration = Duration::from_secs(5);

/// The longest that a source that cannot be read is left alone for, unless its server asks for
/// more, or it is read less often anyway.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10 * 60);

/// The longest that a server may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// Reads definitions from a URL: a job file over HTTP or HTTPS.
///
/// It is one document, named by the URL without its query. What the server says it has not changed
/// is not sent, let alone parsed again. While it cannot be read it is asked less and less often.
/// Relative paths in the file are relative to a directory of this machine, which its owner sets.
pub struct HttpSource {
    name: Arc<str>,
    /// A URL, or why it is none.
    url: Result<HttpUrl, String>,
    /// The URL, for people.
    shown: Arc<str>,
    token: Option<Arc<str>>,
    /// Who has the token, as the operator says at this moment.
    settings: CurrentSettings,
    secrets: Providers,
    refresh: Option<Duration>,
    timeout: Duration,
    max_bytes: u64,
    fetcher: Fetcher,
    /// What the operator allows. Not under the lock of the reading, which can take its time.
    policy: Mutex<Arc<Policy>>,
    patience: Mutex<Patience>,
    reading: Mutex<Reading>,
}

/// How the readings went so far.
#[derive(Debug, Default)]
struct Patience {
    /// How many in a row failed.
    failures: u32,
    /// How long after the last one to read it again; nothing as long as it can be read.
    delay: Option<Duration>,
}

#[derive(Debug)]
struct Reading {
    document: DocumentReader,
    /// What it was judged by.
    policy: Arc<Policy>,
    /// Those of what the document was read from.
    validators: Validators,
}

impl HttpSource {
    /// A source that reads what settings say, whose jobs are under the ceiling of `policy`. Its
    /// token, if it has one, is asked for at each reading, of those that the policy names.
    pub fn new(
        name: impl Into<Arc<str>>,
        settings: &HttpSettings,
        refresh: Option<Duration>,
        policy: Arc<Policy>,
    ) -> Self {
        let url = settings.url.clone();
        let name = name.into();
        if settings.token.is_some() && !url.is_https() && !url.is_loopback() {
            tracing::warn!(
                source = %name,
                "the token of a source goes over the network for anybody to read: https:// would hide it"
            );
        }
        let shown = url.to_string().into();
        HttpSource {
            token: settings.token.clone(),
            timeout: settings.timeout,
            max_bytes: settings.max_size,
            refresh,
            ..Self::of(name, Ok(url), shown, &settings.base, policy)
        }
    }

    /// A source that reads a URL as somebody has written it. If it is none, that is what is wrong
    /// at each reading. Relative paths are relative to the working directory.
    pub fn of_url(url: &str, policy: Arc<Policy>) -> Self {
        let parsed = HttpUrl::parse(url);
        let shown: Arc<str> = match &parsed {
            Ok(url) => url.to_string().into(),
            // It may hold a password, wherever it is taken to be.
            Err(_) => match url.split_once("://") {
                Some((scheme, _)) => format!("{scheme}://…").into(),
                None => "…".into(),
            },
        };
        Self::of(shown.clone(), parsed, shown, Path::new(""), policy)
    }

    fn of(
        name: Arc<str>,
        url: Result<HttpUrl, String>,
        shown: Arc<str>,
        base: &Path,
        policy: Arc<Policy>,
    ) -> Self {
        let options = Options {
            base: base.to_owned(),
            ..Options::default()
        };
        let settings = CurrentSettings::new(policy.secrets.clone());
        HttpSource {
            name,
            url,
            token: None,
            secrets: Providers::following(settings.clone()),
            settings,
            refresh: None,
            timeout: HttpSettings::TIMEOUT,
            max_bytes: HttpSettings::MAX_SIZE,
            fetcher: Fetcher::default(),
            patience: Mutex::default(),
            reading: Mutex::new(Reading {
                document: DocumentReader::new(shown.clone(), options),
                policy: policy.clone(),
                validators: Validators::default(),
            }),
            policy: Mutex::new(policy),
            shown,
        }
    }

    /// The header with the token, if there is to be one.
    fn authorization(&self) -> Result<Option<HeaderValue>, Failure> {
        let Some(name) = &self.token else {
            return Ok(None);
        };
        let token = self.secrets.resolve(name).map_err(|error| {
            let advice = "the token of this source is that secret";
            Failure::new(format!("is not asked for: {error}"), advice)
        })?;
        let bearer = [b"Bearer ", token.reveal().trim_ascii()].concat();
        let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(bearer))
            .ok()
            .filter(|value| value.to_str().is_ok())
            .ok_or_else(|| {
                Failure::new(
                    format!("is not asked for: the secret {name:?} is no bearer token"),
                    "a token is one line of plain characters",
                )
            })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn fetch(&self, validators: &Validators) -> Result<Answer, Failure> {
        let url = self.url.as_ref().map_err(|why| {
            let (wrong, right) = why.split_once(": ").unwrap_or((why, ""));
            Failure::new(format!("cannot be read: {wrong}"), right)
        })?;
        let authorization = self.authorization()?;
        let answer = self.fetcher.fetch(&Question {
            url,
            authorization: authorization.clone(),
            validators,
            timeout: self.timeout,
            max_bytes: self.max_bytes,
        })?;
        if let (Answer::Text(text, _), Some(token)) = (&answer, &authorization)
            && repeats(text, token)
        {
            // What is wrong in a text is told together with the line that it is in.
            return Err(Failure::new(
                "holds the token that it is asked for with",
                "a job file is no place for it: it is shown in errors, and kept",
            ));
        }
        Ok(answer)
    }

    /// Takes note of how a reading went, for the pace of the next ones.
    fn note(&self, failure: Option<&Failure>) {
        let mut patience = self.patience.lock();
        let Some(failure) = failure else {
            *patience = Patience::default();
            return;
        };
        patience.failures = patience.failures.saturating_add(1);
        let refresh = self.refresh.unwrap_or(USUAL_REFRESH);
        // Hosts that have failed together are not to come back together.
        let part = 0.75 + 0.25 * fastrand::f64();
        patience.delay = Some(backoff(
            refresh,
            patience.failures,
            part,
            failure.retry_after,
        ));
    }
}

/// How long to leave a source alone that has failed so many times: twice as long each time, of
/// which a part from 0 to 1 is taken.
fn backoff(refresh: Duration, failures: u32, part: f64, retry_after: Option<Duration>) -> Duration {
    let doubled = refresh.saturating_mul(2_u32.saturating_pow(failures));
    let own = doubled.min(LONGEST_BACKOFF).mul_f64(part).max(refresh);
    let asked = retry_after.map(|asked| asked.min(LONGEST_RETRY_AFTER));
    own.max(asked.unwrap_or_default())
}

/// Whether a text holds what an `Authorization` header says after its scheme.
fn repeats(text: &[u8], authorization: &HeaderValue) -> bool {
    let header = authorization.as_bytes();
    let token = header.strip_prefix(b"Bearer ").unwrap_or(header);
    // Bearer tokens are plain characters.
    let token = std::str::from_utf8(token).unwrap_or_default();
    !token.is_empty() && String::from_utf8_lossy(text).contains(token)
}

impl JobSource for HttpSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self) -> Result<Snapshot, SourceError> {
        let reading = &mut *self.reading.lock();
        let policy = self.policy.lock().clone();
        if !Arc::ptr_eq(&policy, &reading.policy) {
            self.settings.set(policy.secrets.clone());
            reading.policy = policy.clone();
            reading.document.forget();
            reading.validators = Validators::default();
        }
        let fetched = self.fetch(&reading.validators);
        self.note(fetched.as_ref().err());
        // What it was before is known only as long as nothing comes between.
        let validators = std::mem::take(&mut reading.validators);
        let (document, unchanged) = match fetched {
            Ok(Answer::Same) => {
                reading.validators = validators;
                reading.document.read_again(&policy)
            }
            Ok(Answer::Text(bytes, validators)) => {
                reading.validators = validators;
                reading.document.read(Ok(bytes), &policy)
            }
            Err(Failure {
                message, advice, ..
            }) => {
                let problem = Diagnostic::of_file(self.shown.clone(), message).with_label(advice);
                reading.document.read(Err(Box::new(problem)), &policy)
            }
        };
        let Document { name, read } = document;
        Ok(Snapshot {
            documents: vec![Document {
                name,
                read: Ok(read?),
            }],
            unchanged,
        })
    }

    fn set_policy(&self, policy: Arc<Policy>) {
        *self.policy.lock() = policy;
    }

    fn restore(&self, documents: &[Arc<SourceText>]) -> Snapshot {
        let policy = self.policy.lock().clone();
        let document = &self.reading.lock().document;
        let ours = documents.iter().filter(|text| *text.name() == self.shown);
        Snapshot {
            documents: ours.map(|text| document.restore(text, &policy)).collect(),
            unchanged: false,
        }
    }

    fn directories(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// As the operator says, and longer while it cannot be read.
    fn pace(&self) -> Option<Duration> {
        self.patience.lock().delay.or(self.refresh)
    }

    /// What is no URL is wrong without asking anybody.
    fn is_remote(&self) -> bool {
        self.url.is_ok()
    }
}

impl fmt::Debug for HttpSource {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "HttpSource({}, {})", self.name, self.shown)
    }
}
