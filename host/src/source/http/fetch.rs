//! One look at a URL: asked, its redirects followed, and read within a time and a size.

use std::io::{self, Read as _};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chrono::DateTime;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED, LOCATION, RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::clock::{self, Clock as _, SystemClock};
use crate::policy::HttpUrl;
use crate::units::{format_duration_exact, format_size};

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

/// How much the head of an answer may have, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// What an answer says by which a later one can be told to be the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Validators {
    etag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
}

impl Validators {
    fn of(headers: &HeaderMap) -> Self {
        Validators {
            etag: headers.get(ETAG).cloned(),
            modified: headers.get(LAST_MODIFIED).cloned(),
        }
    }

    fn is_empty(&self) -> bool {
        *self == Validators::default()
    }
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) url: &'a HttpUrl,
    /// What goes into the header `Authorization`, to the origin of the URL alone.
    pub(super) authorization: Option<HeaderValue>,
    /// Those of the last answer, if only another one is wanted.
    pub(super) validators: &'a Validators,
    /// How long all of it may take.
    pub(super) timeout: Duration,
    /// The most bytes that are taken.
    pub(super) max_bytes: u64,
}

/// What is answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// What the validators are of.
    Same,
    /// A text, and what a later one can be compared by.
    Text(Vec<u8>, Validators),
}

/// Why there is no answer that could be used.
#[derive(Debug)]
pub(super) struct Failure {
    /// What is wrong. Never the same trouble in other words, so that one that lasts is told once.
    pub(super) message: String,
    /// What to do.
    pub(super) advice: String,
    /// How long not to ask again, if the server says so.
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>, advice: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            advice: advice.into(),
            retry_after: None,
        }
    }
}

/// Asks. Keeps whom the system trusts once that has been needed.
#[derive(Debug, Default)]
pub(super) struct Fetcher {
    plain: OnceLock<Agent>,
    secure: OnceLock<Agent>,
}

impl Fetcher {
    /// Fetches what is at a URL. Blocks until then.
    ///
    /// # Errors
    /// Why it cannot be had, or used.
    pub(super) fn fetch(&self, question: &Question<'_>) -> Result<Answer, Failure> {
        let errand = Errand {
            fetcher: self,
            question,
            deadline: clock::monotonic().checked_add(question.timeout),
        };
        let mut url = question.url.clone();
        let mut passed = Vec::new();
        loop {
            let found = errand
                .ask(&url)
                .map_err(|failure| match passed.is_empty() {
                    true => failure,
                    // The URL that the operator knows is another one.
                    false => Failure {
                        message: format!("{}, redirected to {url}", failure.message),
                        ..failure
                    },
                })?;
            let next = match found {
                Found::Answer(answer) => return Ok(answer),
                Found::Redirect(next) => next,
            };
            passed.push(std::mem::replace(&mut url, next));
            if passed.contains(&url) {
                return Err(Failure::new(
                    format!("is redirected in a circle: {}", chain(&passed, &url)),
                    "that is for whoever runs the server to mend; is the URL right?",
                ));
            }
            if passed.len() > MAX_REDIRECTS {
                return Err(Failure::new(
                    format!("is redirected more than {MAX_REDIRECTS} times, at last to {url}"),
                    "name the URL that it ends at",
                ));
            }
        }
    }

    fn agent(&self, url: &HttpUrl) -> Result<&Agent, Failure> {
        let kept = match url.is_https() {
            true => &self.secure,
            false => &self.plain,
        };
        if let Some(agent) = kept.get() {
            return Ok(agent);
        }
        let tls = match url.is_https() {
            true => Some(tls_config(&trusted()?)),
            false => None,
        };
        Ok(kept.get_or_init(|| agent(tls)))
    }

    /// One that trusts these authorities instead of the system's.
    #[cfg(test)]
    pub(super) fn trusting(authorities: &[CertificateDer<'_>]) -> Fetcher {
        Fetcher {
            secure: OnceLock::from(agent(Some(tls_config(authorities)))),
            ..Fetcher::default()
        }
    }
}

fn agent(tls: Option<TlsConfig>) -> Agent {
    let config = Agent::config_builder()
        .accept("application/json")
        .user_agent(concat!("quarterjack/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        // Followed here: the token is for one origin alone.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(MAX_HEAD)
        // It is seldom asked: the server would be the first to close.
        .max_idle_connections(0);
    let config = match tls {
        Some(tls) => config.tls_config(tls),
        None => config,
    };
    config.build().new_agent()
}

fn tls_config(authorities: &[CertificateDer<'_>]) -> TlsConfig {
    let authorities = authorities.iter();
    let authorities = authorities.map(|it| Certificate::from_der(it).to_owned());
    TlsConfig::builder()
        .root_certs(RootCerts::from(authorities))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

/// Whom this machine trusts.
fn trusted() -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found = rustls_native_certs::load_native_certs();
    if !found.certs.is_empty() {
        return Ok(found.certs);
    }
    let why = match found.errors.first() {
        Some(error) => format!(" ({error})"),
        None => String::new(),
    };
    Err(Failure::new(
        format!("cannot be reached: this host trusts no certificate authority{why}"),
        "install the system's CA certificates, or name a file of them in SSL_CERT_FILE",
    ))
}

/// `A to B to A`, of which some may be left out.
fn chain(passed: &[HttpUrl], back: &HttpUrl) -> String {
    let circle = passed.iter().skip_while(|url| *url != back);
    let names: Vec<String> = circle.chain([back]).map(ToString::to_string).collect();
    names.join(" to ")
}

/// A question on its way.
struct Errand<'a> {
    fetcher: &'a Fetcher,
    question: &'a Question<'a>,
    deadline: Option<Instant>,
}

/// What is found at one URL.
enum Found {
    Answer(Answer),
    Redirect(HttpUrl),
}

impl Errand<'_> {
    fn ask(&self, url: &HttpUrl) -> Result<Found, Failure> {
        let Question {
            authorization,
            validators,
            ..
        } = self.question;
        let agent = self.fetcher.agent(url)?;
        let mut request = agent.get(url.as_str());
        let headers = [
            (IF_NONE_MATCH, validators.etag.as_ref()),
            (IF_MODIFIED_SINCE, validators.modified.as_ref()),
            (
                AUTHORIZATION,
                authorization.as_ref().filter(|_| self.is_trusted(url)),
            ),
        ];
        let headers = headers.into_iter().filter_map(|(name, value)| {
            value.map(|value| -> (HeaderName, HeaderValue) { (name, value.clone()) })
        });
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut config = request.config();
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                return Err(self.too_late());
            }
            config = config.timeout_global(Some(left));
        }
        if url.is_loopback() {
            config = config.proxy(None);
        }
        let response = config
            .build()
            .call()
            .map_err(|error| self.failed(url, &error))?;
        match response.status() {
            StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {
                self.text(url, response).map(Found::Answer)
            }
            StatusCode::NOT_MODIFIED if !validators.is_empty() => Ok(Found::Answer(Answer::Same)),
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => {
                redirect(url, response.headers()).map(Found::Redirect)
            }
            status => Err(Failure {
                retry_after: retry_after(response.headers()),
                ..self.refused(url, status)
            }),
        }
    }

    /// Whether this is where the token is for.
    fn is_trusted(&self, url: &HttpUrl) -> bool {
        url.is_same_origin(self.question.url)
    }

    /// Reads what is answered, no more of it than may be.
    fn text(&self, url: &HttpUrl, mut response: Response<Body>) -> Result<Answer, Failure> {
        let most = self.question.max_bytes;
        let coding = response.headers().get(CONTENT_ENCODING);
        let coding = coding.map(|value| String::from_utf8_lossy(value.as_bytes()));
        if let Some(coding) = coding.filter(|it| !it.trim().eq_ignore_ascii_case("identity")) {
            return Err(Failure::new(
                format!(
                    "is compressed ({}), which was not asked for",
                    short(&coding)
                ),
                "the server is to send it as it is",
            ));
        }
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > most) {
            return Err(self.too_large());
        }
        let mut bytes = Vec::with_capacity(length.unwrap_or(0).min(1 << 20) as usize);
        let mut body = response.body_mut().as_reader().take(most.saturating_add(1));
        body.read_to_end(&mut bytes).map_err(|error| {
            let truncated = matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
            );
            match ureq::Error::from(error) {
                ureq::Error::Io(_) if truncated => Failure::new(
                    "is cut off before its end",
                    "the server, or what is before it, closed the connection; what is in service stays",
                ),
                error => self.failed(url, &error),
            }
        })?;
        if bytes.len() as u64 > most {
            return Err(self.too_large());
        }
        let headers = response.headers();
        if let Some(what) = page(headers, &bytes) {
            return Err(Failure::new(
                format!("is {what}, not a job file"),
                "is it a page to log in, or a view of the file instead of the file itself?",
            ));
        }
        Ok(Answer::Text(bytes, Validators::of(headers)))
    }

    fn too_large(&self) -> Failure {
        let most = format_size(self.question.max_bytes);
        Failure::new(
            format!("is larger than {most}"),
            "is this the job file? `max_size` of its [[source]] allows more",
        )
    }

    fn too_late(&self) -> Failure {
        let most = format_duration_exact(self.question.timeout);
        Failure::new(
            format!("did not arrive within {most}"),
            "is the server slow, or is there no way to it? `timeout` of its [[source]] allows more",
        )
    }

    /// Says what it means that a server answers with this status.
    fn refused(&self, url: &HttpUrl, status: StatusCode) -> Failure {
        let has_token = self.question.authorization.is_some();
        let advice = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => match has_token {
                true if !self.is_trusted(url) => {
                    "the token goes to the origin of the URL alone: name the URL that it ends at"
                }
                true => "the token is not accepted: is the secret the right one, and still valid?",
                false => "if it wants a bearer token, name a secret that has it with `token`",
            },
            StatusCode::NOT_FOUND | StatusCode::GONE => match has_token {
                true => "is the URL right, and may the token read it?",
                false => "is the URL right?",
            },
            StatusCode::TOO_MANY_REQUESTS => "it is asked too often: raise `refresh`",
            StatusCode::NOT_MODIFIED => {
                "nothing is known of what it may be the same as: the server is to answer with a text"
            }
            status if status.is_server_error() => {
                "the server or what is before it has a problem; what is in service stays"
            }
            _ => "a job file is answered with 200 OK: is the URL right?",
        };
        let reason = status.canonical_reason().unwrap_or("");
        let status = format!("{} {reason}", status.as_u16());
        Failure::new(format!("is answered with {}", status.trim_end()), advice)
    }

    /// Says what went wrong on the way.
    fn failed(&self, url: &HttpUrl, error: &ureq::Error) -> Failure {
        use ureq::Error;
        let peer = url.host_and_port();
        match error {
            Error::Timeout(_) => self.too_late(),
            Error::HostNotFound => no_address(url, "it has none"),
            Error::Io(error) => of_io(url, error),
            Error::Tls(why) => tls(url, why),
            Error::Rustls(error) => of_tls(url, error),
            Error::LargeResponseHeader(..) => too_many_headers(),
            Error::Protocol(error) => match error.to_string() {
                why if why.contains("too many headers") => too_many_headers(),
                why => {
                    let why = why.strip_prefix("http parse fail: ").unwrap_or(&why);
                    Failure::new(
                        format!("is answered with something that is not HTTP: {why}"),
                        format!("is {peer} a web server, and is it http:// or https://?"),
                    )
                }
            },
            Error::InvalidProxyUrl | Error::ConnectProxyFailed(_) => Failure::new(
                "cannot be reached through the proxy of this host's environment",
                "see ALL_PROXY, HTTPS_PROXY and HTTP_PROXY; NO_PROXY names the hosts without one",
            ),
            other => Failure::new(format!("cannot be read: {other}"), "is the URL right?"),
        }
    }
}

/// What a server says, cut where it says too much.
fn short(text: &str) -> String {
    text.trim().chars().take(20).collect()
}

fn too_many_headers() -> Failure {
    Failure::new("is answered with too many headers", "is the URL right?")
}

/// Where a redirect leads.
fn redirect(url: &HttpUrl, headers: &HeaderMap) -> Result<HttpUrl, Failure> {
    let advice = "that is for whoever runs the server to mend; is the URL right?";
    let Some(location) = headers.get(LOCATION) else {
        return Err(Failure::new(
            "is redirected without being told where to",
            advice,
        ));
    };
    let joined = match std::str::from_utf8(location.as_bytes()) {
        Ok(location) => url.join(location),
        Err(_) => Err("it is no text".to_owned()),
    };
    let next = joined.map_err(|why| {
        let why = why.split_once(": ").map_or(&*why, |(wrong, _)| wrong);
        let message = format!("is redirected to where it cannot be followed: {why}");
        Failure::new(message, advice)
    })?;
    if url.is_https() && !next.is_https() {
        // Who sits on the line would say what runs here.
        return Err(Failure::new(
            format!("is redirected to {next}, where anybody on the way could change it"),
            "name that URL if it is what you want",
        ));
    }
    Ok(next)
}

fn no_address(url: &HttpUrl, why: &str) -> Failure {
    let host = url.host();
    Failure::new(
        format!("cannot be reached: no address of {host} is known: {why}"),
        "is the name right, and does this machine have a name server?",
    )
}

fn of_io(url: &HttpUrl, error: &io::Error) -> Failure {
    let inner = error.get_ref();
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return of_tls(url, error);
    }
    let peer = url.host_and_port();
    let why = error.to_string();
    // What the standard library says; it has no kind of its own.
    if let Some(("failed to lookup address information", why)) = why.split_once(": ") {
        return no_address(url, why);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::new(
            format!("cannot be reached: {peer} refuses the connection"),
            "is the server running, and is this its port?",
        ),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => Failure::new(
            format!("is not answered: {peer} closed the connection"),
            "is it a web server, and is it http:// or https://?",
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Failure::new(
            format!("cannot be reached: there is no way to {peer}"),
            "does this machine have a network, and may it reach that one?",
        ),
        _ => Failure::new(
            format!("cannot be read: {why}"),
            format!("is {peer} what it should be?"),
        ),
    }
}

fn of_tls(url: &HttpUrl, error: &rustls::Error) -> Failure {
    use rustls::CertificateError as Certificate;
    let wrong = match error {
        rustls::Error::InvalidCertificate(wrong) => wrong,
        rustls::Error::InvalidMessage(_) => {
            return Failure::new(
                format!(
                    "cannot be reached: {} does not speak TLS",
                    url.host_and_port()
                ),
                "should it be http:// instead of https://, or another port?",
            );
        }
        other => return tls(url, &other.to_string()),
    };
    let host = url.host();
    let (why, advice) = match wrong {
        Certificate::UnknownIssuer => (
            "is of an authority that this machine does not trust",
            "install the authority's certificate, or name a file with it in SSL_CERT_FILE",
        ),
        Certificate::Expired | Certificate::ExpiredContext { .. } => {
            ("has expired", "that is for whoever runs the server to mend")
        }
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
            ("is not valid yet", "is the clock of this machine right?")
        }
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            ("is not for this name", "is the name in the URL right?")
        }
        Certificate::Revoked => ("was revoked", "that is for whoever runs the server to mend"),
        _ => {
            let advice = "that is for whoever runs the server to mend";
            let message = format!("cannot be reached: the certificate of {host} is wrong: {wrong}");
            return Failure::new(message, advice);
        }
    };
    Failure::new(
        format!("cannot be reached: the certificate of {host} {why}"),
        advice,
    )
}

fn tls(url: &HttpUrl, why: &str) -> Failure {
    let peer = url.host_and_port();
    Failure::new(
        format!("cannot be reached: no TLS connection with {peer}: {why}"),
        "is it https:// there, and are both sides up to date?",
    )
}

/// What a text is that is no JSON, and meant for a browser.
fn page(headers: &HeaderMap, bytes: &[u8]) -> Option<&'static str> {
    let declared = headers.get(CONTENT_TYPE);
    let declared = declared.and_then(|value| value.to_str().ok()).unwrap_or("");
    let declared = declared.split(';').next().unwrap_or("").trim();
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let is_markup = text.trim_ascii_start().first() == Some(&b'<');
    let is_html = declared.eq_ignore_ascii_case("text/html")
        || declared.eq_ignore_ascii_case("application/xhtml+xml");
    match (is_markup, is_html) {
        (true, true) => Some("a web page (HTML)"),
        (true, false) => Some("markup, such as a web page"),
        // Some servers call every file so.
        (false, _) => None,
    }
}

/// How long not to ask again: so many seconds, or until an instant, as the server's clock goes.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let asked = text(RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let instant = |text: &str| DateTime::parse_from_rfc2822(text).ok();
    let until = instant(asked)?.to_utc();
    let now = text(DATE).and_then(instant);
    let now = now.map_or_else(|| SystemClock.now(), |now| now.to_utc());
    (until - now).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(retry_after: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        super::retry_after(&headers)
    }

    #[test]
    fn a_server_may_ask_for_patience_in_two_ways() {
        let minutes = |count: u64| Some(Duration::from_secs(count * 60));
        assert_eq!(asked("120", None), minutes(2));
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(asked("Sun, 06 Nov 1994 08:59:37 GMT", date), minutes(10));
        assert_eq!(asked("Sun, 06 Nov 1994 08:39:37 GMT", date), None);
        for nonsense in ["-5", "soon", "Sun, 06 Nov 1994"] {
            assert_eq!(asked(nonsense, date), None, "{nonsense}");
        }
    }

    #[test]
    fn a_page_is_told_from_a_mistyped_content_type() {
        let told = |kind: &str, text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            page(&headers, text.as_bytes())
        };
        assert_eq!(
            told("text/html; charset=utf-8", "<!doctype html>"),
            Some("a web page (HTML)")
        );
        assert_eq!(
            told("application/xml", "\u{FEFF} <Error/>"),
            Some("markup, such as a web page")
        );
        assert_eq!(told("text/html", "[]"), None);
        assert_eq!(told("application/json", "// <b>\n[]"), None);
    }
}
