//! The way in for programs on the same machine: a Unix-domain socket in the host's data directory.
//!
//! Only its owner may connect to it. It speaks HTTP/1.1, one request a connection: nobody keeps a
//! place that others need, whether out of malice or by standing still.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH, SERVER,
};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::problem::Problem;
use super::routes::{self, Answer, Asked};
use crate::control::Control;
use crate::units::format_size;

/// The name of the socket in a data directory.
const FILE: &str = "control.sock";

/// A directory that nobody else looks into, where the socket is made before it is put in its place.
const NURSERY: &str = ".control";

/// How many bytes the path of a socket may have. The system's 108, less one for its end.
const LONGEST_PATH: usize = 107;

/// How many bytes the body of a request may have.
const BODY: usize = 1 << 20;

/// How many bytes its head may have.
const HEAD: usize = 64 << 10;

/// How long to wait where the system hands over no connection.
const AGAIN: Duration = Duration::from_millis(200);

/// How long a client may take, and how many there may be.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// How many requests there are at once at most; more wait for the system to hand them over.
    connections: usize,
    /// How long the head and the body of a request may each take to arrive.
    arrival: Duration,
    /// How long a request may take with all that belongs to it, until its answer has been read.
    longest: Duration,
}

const BOUNDS: Bounds = Bounds {
    connections: 64,
    arrival: Duration::from_secs(10),
    longest: Duration::from_secs(120),
};

/// Who answers.
pub const SERVER_NAME: &str = concat!("quarterjack/", env!("CARGO_PKG_VERSION"));

/// Why a host cannot be reached over a socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The system does not allow for such a path.
    #[error(
        "{} is too long a path for a socket ({} bytes, and {LONGEST_PATH} is the most): name the data directory with a shorter --data", path.display(), path.as_os_str().len()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error("cannot make the socket {}: {error}", path.display())]
    Unusable {
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Where the socket of the host of a data directory is.
///
/// # Errors
/// [`SocketError::TooLong`]: there is none.
pub fn place(data: &Path) -> Result<PathBuf, SocketError> {
    let path = data.join(FILE);
    if path.as_os_str().len() > LONGEST_PATH {
        return Err(SocketError::TooLong { path });
    }
    Ok(path)
}

/// A socket in its place. Dropped, it is gone.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
}

impl Socket {
    /// Makes the socket of a data directory, in the place of one that was left there: whoever holds
    /// the directory knows that no other host listens.
    ///
    /// # Errors
    /// [`SocketError`]: there is none.
    pub fn bind(data: &Path) -> Result<(Socket, UnixListener), SocketError> {
        let path = place(data)?;
        let failed = |error| SocketError::Unusable {
            path: path.clone(),
            error,
        };
        // Made where nobody looks, and put in its place when nobody else may use it any more: there
        // is no moment at which somebody could.
        let nursery = data.join(NURSERY);
        let listener = make_private(&nursery, &path);
        // Left behind only if somebody put something else into it.
        let _ = std::fs::remove_dir(&nursery);
        let listener = listener.map_err(failed)?;
        Ok((Socket { path }, listener))
    }
}

fn make_private(nursery: &Path, path: &Path) -> io::Result<UnixListener> {
    match std::fs::DirBuilder::new().mode(0o700).create(nursery) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::set_permissions(nursery, std::fs::Permissions::from_mode(0o700))?;
        }
        made => made?,
    }
    let young = nursery.join("s");
    match std::fs::remove_file(&young) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&young)?;
    std::fs::set_permissions(&young, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&young, path)?;
    Ok(listener)
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The directory may be gone as well.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Answers whoever connects. Never returns.
pub async fn serve(listener: UnixListener, control: Control) {
    serve_within(BOUNDS, listener, control).await;
}

async fn serve_within(bounds: Bounds, listener: UnixListener, control: Control) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return; // nobody closes it
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let control = control.clone();
                tokio::spawn(async move {
                    // Whoever takes longer has lost interest.
                    let _ = timeout(bounds.longest, converse(bounds, stream, control)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket hands over no connection");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Answers one request.
async fn converse(bounds: Bounds, stream: UnixStream, control: Control) {
    let service = service_fn(|request| {
        let control = control.clone();
        async move { Ok::<_, Infallible>(respond(bounds, &control, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.arrival)
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the control socket ended early");
    }
}

async fn respond(
    bounds: Bounds,
    control: &Control,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let answer = match timeout(bounds.arrival, Limited::new(body, BODY).collect()).await {
        Ok(Ok(body)) => {
            let body = body.to_bytes();
            let header = |name| head.headers.get(name).and_then(|it| it.to_str().ok());
            let asked = Asked {
                method: &head.method,
                path: head.uri.path(),
                if_match: header(IF_MATCH),
                if_none_match: header(IF_NONE_MATCH),
                body: &body,
            };
            routes::answer(control, asked).await
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "urn:quarterjack:too-large",
            "The request is too large",
            format!("the body has more than {}", format_size(BODY as u64)),
        )
        .into(),
        Ok(Err(error)) => Problem::bad_request(format!("the body cannot be read: {error}")).into(),
        Err(_) => Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "urn:quarterjack:too-slow",
            "The request is too slow",
            format!(
                "the body did not come within {} s",
                bounds.arrival.as_secs()
            ),
        )
        .into(),
    };
    to_response(answer)
}

fn to_response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.media_type));
    headers.insert(SERVER, HeaderValue::from_static(SERVER_NAME));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let allow = answer.allow.map(|allow| (ALLOW, allow));
    let etag = answer.etag.map(|etag| (ETAG, format!("\"{etag}\"")));
    for (name, value) in allow.into_iter().chain(etag) {
        // Methods and digits: that can always be sent.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::control::Command;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// Sends bytes, and reads until the host has no more to say.
    async fn exchange(path: &Path, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        // It may have heard enough before the end.
        let _ = stream.write_all(bytes).await;
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard).await;
        String::from_utf8(heard).unwrap()
    }

    #[tokio::test]
    async fn the_socket_is_private_takes_the_place_of_a_stale_one_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = place(dir.path()).unwrap();
        let (first, listener) = Socket::bind(dir.path()).unwrap();
        assert_eq!(mode(&path), 0o600);
        drop(listener);
        std::mem::forget(first); // as a host that is killed does
        assert!(UnixStream::connect(&path).await.is_err());
        std::fs::create_dir(dir.path().join(NURSERY)).unwrap();
        std::fs::write(dir.path().join(NURSERY).join("s"), "left").unwrap();
        let (second, _listener) = Socket::bind(dir.path()).unwrap();
        assert!(UnixStream::connect(&path).await.is_ok());
        assert!(!dir.path().join(NURSERY).exists());
        drop(second);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn where_there_can_be_no_socket_it_is_said_why() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("d".repeat(120));
        let said = Socket::bind(&long).unwrap_err().to_string();
        assert!(said.contains("too long a path for a socket"), "{said}");
        assert!(said.contains("shorter --data"), "{said}");
        let missing = dir.path().join("no");
        let said = Socket::bind(&missing).unwrap_err().to_string();
        assert!(said.starts_with("cannot make the socket"), "{said}");
    }

    #[tokio::test]
    async fn what_is_no_sensible_request_is_answered_or_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let (_socket, listener) = Socket::bind(dir.path()).unwrap();
        let (control, mut commands) = Control::new();
        tokio::spawn(serve(listener, control));
        tokio::spawn(async move {
            while let Some(Command::Jobs(reply)) = commands.recv().await {
                let _ = reply.send(Ok(Vec::new()));
            }
        });
        let path = place(dir.path()).unwrap();
        let get = exchange(&path, b"GET /api/v1/jobs HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert!(get.starts_with("HTTP/1.1 200 OK\r\n"), "{get}");
        assert!(get.contains("content-type: application/json\r\n"), "{get}");
        assert!(get.contains(&format!("server: {SERVER_NAME}\r\n")), "{get}");
        // One request a connection.
        assert!(get.contains("connection: close\r\n"), "{get}");
        assert!(get.ends_with(r#"{"jobs":[]}"#), "{get}");

        let two = b"GET /api/v1/jobs HTTP/1.1\r\nhost: h\r\n\r\n".repeat(2);
        assert_eq!(exchange(&path, &two).await.matches("HTTP/1.1").count(), 1);
        let put = exchange(&path, b"PUT /api/v1/pause HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert!(put.starts_with("HTTP/1.1 405 "), "{put}");
        assert!(put.contains("allow: POST\r\n"), "{put}");
        let garbage = exchange(&path, b"\x16\x03\x01\x02\0\x01\r\n\r\n").await;
        assert!(garbage.starts_with("HTTP/1.1 400 "), "{garbage}");
        let head = [&b"GET / HTTP/1.1\r\nx: "[..], &vec![b'x'; 1 << 17]].concat();
        let large = exchange(&path, &head).await;
        assert!(large.starts_with("HTTP/1.1 431 "), "{large}");

        let length = BODY + 1;
        let mut post = format!(
            "POST /api/v1/jobs/a/trigger HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n"
        )
        .into_bytes();
        post.resize(post.len() + length, b' ');
        let large = exchange(&path, &post).await;
        assert!(large.starts_with("HTTP/1.1 413 "), "{large}");
        assert!(large.contains("application/problem+json"), "{large}");
    }

    #[tokio::test]
    async fn who_is_slow_is_dropped_and_none_waits_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (_socket, listener) = Socket::bind(dir.path()).unwrap();
        let (control, mut commands) = Control::new();
        let bounds = Bounds {
            connections: 4,
            arrival: Duration::from_millis(20),
            longest: Duration::from_secs(20),
        };
        tokio::spawn(serve_within(bounds, listener, control));
        tokio::spawn(async move {
            while let Some(Command::Jobs(reply)) = commands.recv().await {
                let _ = reply.send(Ok(Vec::new()));
            }
        });
        let path = place(dir.path()).unwrap();
        // More than there are places for, and none says a word.
        let mut silent = Vec::new();
        for _ in 0..9 {
            silent.push(UnixStream::connect(&path).await.unwrap());
        }
        let get = exchange(&path, b"GET /api/v1/jobs HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert!(get.starts_with("HTTP/1.1 200 OK\r\n"), "{get}");
        let head = b"POST /api/v1/pause HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n{";
        let slow = exchange(&path, head).await;
        assert!(slow.starts_with("HTTP/1.1 408 "), "{slow}");
        drop(silent);
    }
}
