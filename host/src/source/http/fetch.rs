//! One look at a URL: asked, its redirects followed, and read within a time and a size.

use std::io::{self, Read as _};
use std::time::{Duration, Instant};

use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED, LOCATION,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
#[cfg(test)]
use rustls::pki_types::CertificateDer;
use ureq::Body;

use crate::clock;
use crate::policy::HttpUrl;
use crate::units::{format_duration_exact, format_size};
pub(super) use crate::web::WebFailure as Failure;
use crate::web::{self, WebClient, retry_after};

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

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

/// Asks.
#[derive(Debug, Default)]
pub(super) struct Fetcher(WebClient);

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

    /// One that trusts these authorities instead of the system's.
    #[cfg(test)]
    pub(super) fn trusting(authorities: &[CertificateDer<'_>]) -> Fetcher {
        Fetcher(WebClient::trusting(authorities))
    }
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
        let agent = self.fetcher.0.agent(url)?;
        let mut request = agent.get(url.as_str()).header(ACCEPT, "application/json");
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

    /// Says what went wrong on the way.
    fn failed(&self, url: &HttpUrl, error: &ureq::Error) -> Failure {
        web::failure(url, error).unwrap_or_else(|| self.too_late())
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
}

/// What a server says, cut where it says too much.
fn short(text: &str) -> String {
    text.trim().chars().take(20).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

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
