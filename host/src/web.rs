//! How the host itself speaks to web servers: whom it trusts, through which proxy, and what it
//! means when that does not work.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::DateTime;
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName};
use rustls::pki_types::CertificateDer;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::clock::{Clock as _, SystemClock};
use crate::policy::HttpUrl;

/// How much the head of an answer may have, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// Why there is no answer that could be used.
#[derive(Debug)]
pub struct WebFailure {
    /// What is wrong. Never the same trouble in other words, so that one that lasts is told once.
    pub message: String,
    /// What to do.
    pub advice: String,
    /// How long not to ask again, if the server says so.
    pub retry_after: Option<Duration>,
}

impl WebFailure {
    /// What is wrong, and what to do; nothing is said about when to ask again.
    pub fn new(message: impl Into<String>, advice: impl Into<String>) -> WebFailure {
        WebFailure {
            message: message.into(),
            advice: advice.into(),
            retry_after: None,
        }
    }
}

/// Asks. Keeps whom the system trusts once that has been needed. It follows no redirects, and no
/// status is an error to it.
#[derive(Debug, Default)]
pub struct WebClient {
    plain: OnceLock<Agent>,
    secure: OnceLock<Agent>,
}

impl WebClient {
    /// What asks at a URL.
    ///
    /// # Errors
    /// This machine trusts no authority.
    pub fn agent(&self, url: &HttpUrl) -> Result<&Agent, WebFailure> {
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
    pub(crate) fn trusting(authorities: &[CertificateDer<'_>]) -> WebClient {
        WebClient {
            secure: OnceLock::from(agent(Some(tls_config(authorities)))),
            ..WebClient::default()
        }
    }
}

fn agent(tls: Option<TlsConfig>) -> Agent {
    let config = Agent::config_builder()
        .user_agent(concat!("quarterjack/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        // Whoever follows them decides what goes along.
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
fn trusted() -> Result<Vec<CertificateDer<'static>>, WebFailure> {
    let found = rustls_native_certs::load_native_certs();
    if !found.certs.is_empty() {
        return Ok(found.certs);
    }
    let why = match found.errors.first() {
        Some(error) => format!(" ({error})"),
        None => String::new(),
    };
    Err(WebFailure::new(
        format!("cannot be reached: this host trusts no certificate authority{why}"),
        "install the system's CA certificates, or name a file of them in SSL_CERT_FILE",
    ))
}

/// What an error means; nothing if the time was over.
pub fn failure(url: &HttpUrl, error: &ureq::Error) -> Option<WebFailure> {
    use ureq::Error;
    let peer = url.host_and_port();
    Some(match error {
        Error::Timeout(_) => return None,
        Error::HostNotFound => no_address(url, "it has none"),
        Error::Io(error) => of_io(url, error),
        Error::Tls(why) => tls(url, why),
        Error::Rustls(error) => of_tls(url, error),
        Error::LargeResponseHeader(..) => too_many_headers(),
        Error::Protocol(error) => match error.to_string() {
            why if why.contains("too many headers") => too_many_headers(),
            why => {
                let why = why.strip_prefix("http parse fail: ").unwrap_or(&why);
                WebFailure::new(
                    format!("is answered with something that is not HTTP: {why}"),
                    format!("is {peer} a web server, and is it http:// or https://?"),
                )
            }
        },
        Error::InvalidProxyUrl | Error::ConnectProxyFailed(_) => WebFailure::new(
            "cannot be reached through the proxy of this host's environment",
            "see ALL_PROXY, HTTPS_PROXY and HTTP_PROXY; NO_PROXY names the hosts without one",
        ),
        other => WebFailure::new(format!("cannot be read: {other}"), "is the URL right?"),
    })
}

fn too_many_headers() -> WebFailure {
    WebFailure::new("is answered with too many headers", "is the URL right?")
}

fn no_address(url: &HttpUrl, why: &str) -> WebFailure {
    let host = url.host();
    WebFailure::new(
        format!("cannot be reached: no address of {host} is known: {why}"),
        "is the name right, and does this machine have a name server?",
    )
}

fn of_io(url: &HttpUrl, error: &io::Error) -> WebFailure {
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
        io::ErrorKind::ConnectionRefused => WebFailure::new(
            format!("cannot be reached: {peer} refuses the connection"),
            "is the server running, and is this its port?",
        ),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => WebFailure::new(
            format!("is not answered: {peer} closed the connection"),
            "is it a web server, and is it http:// or https://?",
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => WebFailure::new(
            format!("cannot be reached: there is no way to {peer}"),
            "does this machine have a network, and may it reach that one?",
        ),
        _ => WebFailure::new(
            format!("cannot be read: {why}"),
            format!("is {peer} what it should be?"),
        ),
    }
}

fn of_tls(url: &HttpUrl, error: &rustls::Error) -> WebFailure {
    use rustls::CertificateError as Certificate;
    let wrong = match error {
        rustls::Error::InvalidCertificate(wrong) => wrong,
        rustls::Error::InvalidMessage(_) => {
            return WebFailure::new(
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
            return WebFailure::new(message, advice);
        }
    };
    WebFailure::new(
        format!("cannot be reached: the certificate of {host} {why}"),
        advice,
    )
}

fn tls(url: &HttpUrl, why: &str) -> WebFailure {
    let peer = url.host_and_port();
    WebFailure::new(
        format!("cannot be reached: no TLS connection with {peer}: {why}"),
        "is it https:// there, and are both sides up to date?",
    )
}

/// How long not to ask again: so many seconds, or until an instant, as the server's clock goes.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
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
}
