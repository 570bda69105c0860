//! The way in for programs on the same machine: a Unix-domain socket in the host's data directory.
//!
//! Only its owner may connect to it. It speaks HTTP/1.1, one request a connection: nobody keeps a
//! place that others need, whether out of malice or by standing still.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;

use super::Api;
use super::access::Role;
use super::conversation::{BOUNDS, Bounds, Caller, converse};
use super::routes::router;

/// The name of the socket in a data directory.
const FILE: &str = "control.sock";

/// A directory that nobody else looks into, where the socket is made before it is put in its place.
const NURSERY: &str = ".control";

/// How many bytes the path of a socket may have. The system's 108, less one for its end.
const LONGEST_PATH: usize = 107;

/// How long to wait where the system hands over no connection.
const AGAIN: Duration = Duration::from_millis(200);

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
pub async fn serve(listener: UnixListener, api: Arc<Api>) {
    serve_within(BOUNDS, listener, api).await;
}

async fn serve_within(bounds: Bounds, listener: UnixListener, api: Arc<Api>) {
    let router = router(api);
    let places = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return; // nobody closes it
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    converse(bounds, stream, router, |_| Ok(owner())).await;
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

/// Whoever may open the socket owns the data directory, and with it all that the host keeps.
pub(super) fn owner() -> Caller {
    Caller {
        name: String::new(),
        role: Some(Role::Admin),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::routes::BODY;
    use super::*;
    use crate::control::{Command, Control};
    use tokio::net::UnixStream;

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
        tokio::spawn(serve(listener, Api::of(control)));
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
        tokio::spawn(serve_within(bounds, listener, Api::of(control)));
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
