//! The running host of a data directory, as the verbs ask it: over the socket in that directory.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, SERVER};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::Refusal;
use super::options::block_on;
use super::output::harmless;
use crate::api::problem::{self, Problem};
use crate::api::socket::{self, SERVER_NAME, SocketError};
use crate::api::{BASE, encode_segment};

/// How long it may take to be put through.
const CONNECTING: Duration = Duration::from_secs(5);

/// How long the host may take to answer: it may be about to start.
const ANSWERING: Duration = Duration::from_secs(60);

/// The most bytes of an answer.
const ANSWER: usize = 256 << 20;

/// A host that may be running.
#[derive(Debug)]
pub(super) struct Client {
    socket: Result<std::path::PathBuf, SocketError>,
    /// The data directory, as messages name it.
    place: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Nobody listens: no host is running, or it cannot be reached.
    NoHost,
    /// The host says no.
    Refused(Problem),
    /// Something is there that does not answer as it should.
    Trouble(String),
}

impl Client {
    /// The host of a data directory.
    pub(super) fn of(data: &Path) -> Client {
        Client {
            socket: socket::place(data),
            place: data.display().to_string(),
        }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(super) fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, NoAnswer> {
        self.ask(Method::GET, path, Bytes::new(), None)
    }

    /// Gives the host a text, on a condition that is a header.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(super) fn put<T: DeserializeOwned>(
        &self,
        path: &[&str],
        text: String,
        condition: Option<(&'static str, String)>,
    ) -> Result<T, NoAnswer> {
        self.ask(Method::PUT, path, text.into(), condition)
    }

    /// Has the host give something up.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(super) fn delete<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, NoAnswer> {
        self.ask(Method::DELETE, path, Bytes::new(), None)
    }

    /// Tells the host to do something.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, NoAnswer> {
        let body = serde_json::to_vec(body)
            .map_err(|error| NoAnswer::Trouble(format!("cannot write the request: {error}")))?;
        self.ask(Method::POST, path, body.into(), None)
    }

    /// Whether somebody listens.
    pub(super) fn is_there(&self) -> bool {
        let socket = self.socket.as_ref();
        socket.is_ok_and(|socket| std::os::unix::net::UnixStream::connect(socket).is_ok())
    }

    /// What to say to somebody who wanted an answer.
    ///
    /// `instead` is what else could be done, where no host is running.
    pub(super) fn explain(&self, why: NoAnswer, instead: &str) -> Refusal {
        match why {
            NoAnswer::NoHost => {
                let place = &self.place;
                let unreachable = match &self.socket {
                    Err(error) => format!(" that could be reached ({error})"),
                    Ok(_) => String::new(),
                };
                Refusal::failure(format_args!(
                    "no host is running on the data directory {place}{unreachable}: start one with `quarterjack serve --data {place}`{instead}"
                ))
            }
            NoAnswer::Refused(problem) => Refusal::failure(harmless(&problem.detail)),
            NoAnswer::Trouble(message) => Refusal::failure(message),
        }
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: Bytes,
        condition: Option<(&'static str, String)>,
    ) -> Result<T, NoAnswer> {
        let Ok(socket) = &self.socket else {
            return Err(NoAnswer::NoHost);
        };
        let mut uri = BASE.to_owned();
        for segment in path {
            uri.push('/');
            uri.push_str(&encode_segment(segment));
        }
        let unknown = if method != Method::GET {
            "; whether it has done what it was told is not known"
        } else {
            ""
        };
        let asked = block_on(async {
            let stream = self.connect(socket).await?;
            match timeout(ANSWERING, exchange(stream, method, &uri, body, condition)).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(why)) => Err(self.trouble(format_args!("broke off: {why}{unknown}"))),
                Err(_) => Err(self.trouble(format_args!(
                    "has not answered within {} s; it may be overloaded, or stopped by a debugger or SIGSTOP{unknown}",
                    ANSWERING.as_secs()
                ))),
            }
        });
        let answer = asked.map_err(|refusal| NoAnswer::Trouble(refusal.message))??;
        self.read(&answer)
    }

    async fn connect(&self, socket: &Path) -> Result<UnixStream, NoAnswer> {
        match timeout(CONNECTING, UnixStream::connect(socket)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(match error.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::NotADirectory => NoAnswer::NoHost,
                io::ErrorKind::PermissionDenied => NoAnswer::Trouble(format!(
                    "you may not speak to the host of {}: its socket is for the user alone who started it",
                    self.place
                )),
                _ => NoAnswer::Trouble(format!(
                    "cannot reach the host of {} at {}: {error}",
                    self.place,
                    socket.display()
                )),
            }),
            Err(_) => Err(self.trouble(format_args!(
                "has put nobody through within {} s; it may be overloaded, or stopped by a debugger or SIGSTOP",
                CONNECTING.as_secs()
            ))),
        }
    }

    fn trouble(&self, what: impl std::fmt::Display) -> NoAnswer {
        NoAnswer::Trouble(format!("the host of {} {what}", self.place))
    }

    /// Makes sense of an answer.
    fn read<T: DeserializeOwned>(&self, answer: &Heard) -> Result<T, NoAnswer> {
        if answer.status.is_success() {
            return serde_json::from_slice(&answer.body)
                .map_err(|error| self.not_understood(answer, &error.to_string()));
        }
        let media_type = answer.headers.get(CONTENT_TYPE);
        let is_problem =
            media_type.is_some_and(|it| it.as_bytes() == problem::MEDIA_TYPE.as_bytes());
        match serde_json::from_slice::<Problem>(&answer.body) {
            Ok(problem) if is_problem && problem.kind != "urn:quarterjack:no-such-path" => {
                Err(NoAnswer::Refused(problem))
            }
            _ => Err(self.not_understood(answer, &format!("status {}", answer.status.as_u16()))),
        }
    }

    fn not_understood(&self, answer: &Heard, why: &str) -> NoAnswer {
        let server = answer.headers.get(SERVER).and_then(|it| it.to_str().ok());
        let server = server.map_or_else(|| "something else".to_owned(), harmless);
        self.trouble(format_args!(
            "answers in a way that is not understood here ({why}): it is {server}, and this is {SERVER_NAME}"
        ))
    }
}

/// An answer as it came.
#[derive(Debug)]
struct Heard {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

async fn exchange(
    stream: UnixStream,
    method: Method,
    uri: &str,
    body: Bytes,
    condition: Option<(&'static str, String)>,
) -> Result<Heard, String> {
    let said = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(uri);
    if let Some((header, value)) = condition {
        request = request.header(header, value);
    }
    let request = request
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    let (head, body) = sender
        .send_request(request)
        .await
        .map_err(said)?
        .into_parts();
    let body = Limited::new(body, ANSWER).collect().await;
    connection.abort();
    Ok(Heard {
        status: head.status,
        headers: head.headers,
        body: body.map_err(|error| error.to_string())?.to_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::control::HostStatus;

    /// What is said to somebody who asks a host that answers so.
    fn asked(answer: &'static [u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(socket::place(dir.path()).unwrap()).unwrap();
        let host = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap();
            stream.write_all(answer).unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        let client = Client::of(dir.path());
        let why = client.get::<HostStatus>(&["jobs", "a/b"]).unwrap_err();
        let head = host.join().unwrap();
        assert!(
            head.starts_with("GET /api/v1/jobs/a%2Fb HTTP/1.1\r\n"),
            "{head}"
        );
        let said = client.explain(why, "").message;
        let said = said.replace(&dir.path().display().to_string(), "DIR");
        said.replace(SERVER_NAME, "quarterjack/THIS")
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_told_with_both_versions() {
        insta::assert_snapshot!(asked(b"HTTP/1.1 200 OK\r\nserver: quarterjack/9.1.0\r\ncontent-length: 14\r\n\r\n{\"version\": 9}"), @"the host of DIR answers in a way that is not understood here (invalid type: integer `9`, expected a string at line 1 column 13): it is quarterjack/9.1.0, and this is quarterjack/THIS");
        insta::assert_snapshot!(asked(b"HTTP/1.1 404 No\r\nserver: quarterjack/0.0.9\r\ncontent-type: application/problem+json\r\n\r\n{\"type\":\"urn:quarterjack:no-such-path\",\"title\":\"t\",\"status\":404,\"detail\":\"d\"}"), @"the host of DIR answers in a way that is not understood here (status 404): it is quarterjack/0.0.9, and this is quarterjack/THIS");
        insta::assert_snapshot!(asked(b"HTTP/1.1 404 No\r\ncontent-type: application/problem+json\r\n\r\n{\"type\":\"x\",\"title\":\"t\",\"status\":404,\"detail\":\"no job `a\\u001b[2J`\"}"), @r"no job `a\u{1b}[2J`");
        insta::assert_snapshot!(asked(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), @"the host of DIR broke off: invalid HTTP version parsed");
        insta::assert_snapshot!(asked(b""), @"the host of DIR broke off: connection closed before message completed");
    }

    #[test]
    fn where_nobody_listens_it_is_said_how_to_start_a_host() {
        let dir = tempfile::tempdir().unwrap();
        let said = |data: &Path| {
            let client = Client::of(data);
            assert!(!client.is_there());
            let why = client.get::<HostStatus>(&["status"]).unwrap_err();
            let said = client.explain(why, ", or wait").message;
            said.replace(&dir.path().display().to_string(), "DIR")
        };
        let expected = "no host is running on the data directory DIR: start one with `quarterjack serve --data DIR`, or wait";
        assert_eq!(said(dir.path()), expected);
        // Left by a host that was killed.
        drop(UnixListener::bind(socket::place(dir.path()).unwrap()).unwrap());
        assert_eq!(said(dir.path()), expected);
        let long = said(&dir.path().join("d".repeat(100)));
        assert!(long.contains(" that could be reached ("), "{long}");
    }
}
