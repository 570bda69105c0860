//! The network: HTTP and sockets to what is granted, and to nothing else.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::support::{Event, Project, Record, repository};

/// Longer than anything here takes, shorter than anybody waits.
const FOREVER: Duration = Duration::from_secs(60);

/// A server on this machine, and what it was sent.
struct Server {
    port: u16,
    heard: Receiver<String>,
    /// Told when a connection was closed by its other end.
    closed: Receiver<()>,
}

impl Server {
    /// A server that reads once and then answers so.
    fn new(
        answer: impl Fn(&mut TcpStream, &str) -> std::io::Result<()> + Send + 'static,
    ) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let ((hearing, heard), (closing, closed)) = (channel(), channel());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut first = vec![0; 4096];
                let read = stream.read(&mut first).unwrap_or(0);
                let first = String::from_utf8_lossy(&first[..read]).into_owned();
                if hearing.send(first.clone()).is_err() {
                    return;
                }
                let _ = answer(&mut stream, &first);
                let _ = stream.read_to_end(&mut Vec::new());
                let _ = closing.send(());
            }
        });
        Server {
            port,
            heard,
            closed,
        }
    }

    fn saying(answer: &'static str) -> Server {
        Server::new(move |stream, _| stream.write_all(answer.as_bytes()))
    }

    /// An HTTP server that says hello.
    fn hello() -> Server {
        Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
    }

    /// An HTTPS server that says hello, with a certificate for `localhost`.
    fn secure() -> Server {
        let file = |name: &str| repository("tests/tls").join(name);
        let chain = vec![CertificateDer::from_pem_file(file("server.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let ((hearing, heard), (_, closed)) = (channel(), channel());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let mut stream = StreamOwned::new(connection, stream.unwrap());
                let mut first = vec![0; 4096];
                // Fails where the client does not like the certificate.
                let Ok(read) = stream.read(&mut first) else {
                    continue;
                };
                let first = String::from_utf8_lossy(&first[..read]).into_owned();
                if hearing.send(first).is_err() {
                    return;
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret");
                let _ = stream.flush();
                let _ = stream.read(&mut [0]);
            }
        });
        Server {
            port,
            heard,
            closed,
        }
    }

    fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What came first. Waits for it.
    fn heard(&self) -> String {
        self.heard.recv_timeout(FOREVER).unwrap()
    }

    /// Whether nobody has come: asked when the run is over.
    fn nobody_came(&self) -> bool {
        self.heard.try_recv().is_err()
    }
}

/// Sends GET requests to these authorities and paths.
fn fetch(project: &Project, flags: &[&str], targets: &[(&str, &str)]) -> Record {
    let mut arguments = flags.to_vec();
    arguments.push("--");
    for (authority, path) in targets {
        arguments.extend(["http", authority, path]);
    }
    project.record("http", &arguments)
}

#[test]
fn a_granted_origin_answers() {
    let server = Server::hello();
    let record = fetch(
        &Project::with(&[]),
        &["--http", &server.origin()],
        &[(&server.authority(), "/a?b")],
    );
    assert_eq!(record.succeeded().text("output"), "200 hello\n");
    let heard = server.heard();
    assert!(heard.starts_with("GET /a?b HTTP/1.1\r\n"), "{heard}");
    let host = format!("host: {}\r\n", server.authority());
    assert!(heard.contains(&host), "{heard}");
}

#[test]
fn nothing_else_does_and_the_log_says_why() {
    let server = Server::hello();
    let project = Project::with(&[]);
    let target = [(&*server.authority(), "/a?token=secret")];
    // 15 is HTTP-request-denied.
    for flags in [&[][..], &["--http", "http://localhost:1"]] {
        let record = fetch(&project, flags, &target).succeeded();
        assert_eq!(record.text("output"), "error 015\n");
        let origin = server.origin();
        let line = format!(
            "denied: GET {origin}/a; to allow it: \"grants\": {{ \"http\": [\"{origin}\"] }}\n"
        );
        assert_eq!(record.text("log"), line);
        assert_eq!(record.number("denied"), 1);
    }
    assert!(server.nobody_came());
}

#[test]
fn a_redirect_leads_nowhere_that_is_not_granted() {
    let inside = Server::hello();
    let location = inside.origin();
    let server = Server::new(move |stream, _| {
        let head = "HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: ";
        write!(stream, "{head}{location}\r\n\r\n")
    });
    let record = fetch(
        &Project::with(&[]),
        &["--http", &server.origin()],
        // As a guest that follows it would.
        &[(&server.authority(), "/"), (&inside.authority(), "/")],
    );
    assert_eq!(record.succeeded().text("output"), "302 \nerror 015\n");
    assert!(inside.nobody_came());
}

#[test]
fn a_server_is_who_its_certificate_says() {
    let server = Server::secure();
    let project = Project::with(&["http"]);
    let fetch = |host: &str, trusting: &str| {
        let authority = format!("{host}:{}", server.port);
        let mut command = project.command(&["run", "plugins/http.wasm", "--json"]);
        command
            .args(["--http", &format!("https://{authority}")])
            .args(["--", "https", &authority, "/"])
            .env("SSL_CERT_FILE", repository("tests/tls").join(trusting));
        let output = command.output().unwrap();
        Record::from(Event(serde_json::from_slice(&output.stdout).unwrap())).succeeded()
    };
    let record = fetch("localhost", "authority.pem");
    assert_eq!(record.text("output"), "200 secret\n", "{record}");
    assert!(server.heard().starts_with("GET / HTTP/1.1\r\n"));
    // 13 is TLS-certificate-error, 37 is configuration-error.
    for (host, trusting, error, why) in [
        ("localhost", "stranger.pem", "error 013\n", "UnknownIssuer"),
        (
            "127.0.0.1",
            "authority.pem",
            "error 013\n",
            "not valid for name",
        ),
        ("localhost", "missing.pem", "error 037\n", "SSL_CERT_FILE"),
    ] {
        let record = fetch(host, trusting);
        assert_eq!(record.text("output"), error, "{record}");
        assert!(record.text("log").contains(why), "{record}");
    }
    assert!(server.nobody_came());
}

#[test]
fn a_request_ends_with_its_run() {
    let server = Server::saying("");
    let record = fetch(
        &Project::with(&[]),
        &["--http", &server.origin(), "--timeout", "300ms"],
        &[(&server.authority(), "/")],
    );
    record.ended("timed_out", &[]);
    server.heard();
    server.closed.recv_timeout(FOREVER).unwrap();
}

#[test]
fn a_request_ends_with_its_run_while_the_host_goes_on() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    let echo = Server::saying("");
    let project = Project::with(&["http", "tcp"]);
    let port = echo.port.to_string();
    project.jobs(&serde_json::json!([
        { "id": "reads", "component": "http.wasm", "trigger": "@yearly", "run_on_start": true,
          "args": ["http", server.authority(), "/"], "limits": { "timeout": "300ms" },
          "grants": { "http": [server.origin()] } },
        { "id": "talks", "component": "tcp.wasm", "trigger": "@yearly", "run_on_start": true,
          "args": ["localhost", port], "limits": { "timeout": "300ms" },
          "grants": { "sockets": [format!("tcp://localhost:{port}")] } },
    ]));
    let host = project.serve(&[]);
    host.record("reads").ended("timed_out", &[]);
    host.record("talks").ended("timed_out", &[]);
    server.closed.recv_timeout(FOREVER).unwrap();
    assert_eq!(echo.heard(), "ping\n");
    echo.closed.recv_timeout(FOREVER).unwrap();
    host.stop().in_order();
}

/// Looks a host up and says ping to it.
fn ping(flags: &[&str], host: &str, port: u16) -> Record {
    let port = port.to_string();
    let mut arguments = flags.to_vec();
    arguments.extend(["--", host, &port]);
    Project::with(&[]).record("tcp", &arguments)
}

/// Answers and hangs up.
fn pong() -> Server {
    Server::new(|stream, heard| {
        assert_eq!(heard, "ping\n");
        stream.write_all(b"pong\n")?;
        stream.shutdown(std::net::Shutdown::Both)
    })
}

#[test]
fn a_granted_peer_is_talked_to() {
    for host in ["localhost", "127.0.0.1"] {
        let server = pong();
        let granted = format!("tcp://{host}:{}", server.port);
        let record = ping(&["--socket", &granted], host, server.port).succeeded();
        assert_eq!(record.text("output"), "pong\n");
        assert!(record.0.get("log").is_none(), "{record}");
    }
}

#[test]
fn other_peers_and_names_are_not() {
    let server = pong();
    let other = server.port.wrapping_add(1).max(1);
    let says = |record: Record, output: &str, line: String| {
        let record = record.ended("failed", &["exit code 1"]);
        assert_eq!(record.text("output"), output, "{record}");
        assert_eq!(record.text("log"), format!("denied: {line}\n"));
    };
    let port = server.port;
    // 1 is access-denied, 20 is permanent-resolver-failure.
    says(
        ping(
            &["--socket", &format!("localhost:{other}")],
            "127.0.0.1",
            port,
        ),
        "connect 001\n",
        format!(
            "TCP connection to 127.0.0.1:{port}; to allow it: \"grants\": {{ \"sockets\": [\"tcp://127.0.0.1:{port}\"] }}"
        ),
    );
    says(
        ping(
            &["--socket", &format!("localhost:{other}")],
            "localhost",
            port,
        ),
        "connect 001\n",
        format!(
            "TCP connection to localhost:{port} (127.0.0.1:{port}); to allow it: \"grants\": {{ \"sockets\": [\"tcp://localhost:{port}\"] }}"
        ),
    );
    says(
        ping(
            &["--socket", &format!("udp://127.0.0.1:{port}")],
            "127.0.0.1",
            port,
        ),
        "connect 001\n",
        format!(
            "TCP connection to 127.0.0.1:{port}; to allow it: \"grants\": {{ \"sockets\": [\"tcp://127.0.0.1:{port}\"] }}"
        ),
    );
    for flags in [&[][..], &["--socket", "tcp://db.example.com:5432"]] {
        says(
            ping(flags, "LocalHost", port),
            "lookup 020\n",
            "looking localhost up; to allow it: \"grants\": { \"sockets\": [\"localhost:PORT\"] }"
                .to_owned(),
        );
    }
    assert!(server.nobody_came());
}

/// Answers a datagram with `pong`, after somebody else has said something, too.
fn pong_by_datagram() -> (u16, Receiver<String>) {
    let at = (Ipv4Addr::LOCALHOST, 0);
    let (server, stranger) = (UdpSocket::bind(at).unwrap(), UdpSocket::bind(at).unwrap());
    let port = server.local_addr().unwrap().port();
    let (hearing, heard) = channel();
    std::thread::spawn(move || {
        let mut datagram = [0; 100];
        while let Ok((read, guest)) = server.recv_from(&mut datagram) {
            let text = String::from_utf8_lossy(&datagram[..read]).into_owned();
            if hearing.send(text).is_err() {
                return;
            }
            stranger.send_to(b"from a stranger\n", guest).unwrap();
            server.send_to(b"pong\n", guest).unwrap();
        }
    });
    (port, heard)
}

#[test]
fn datagrams_are_exchanged_with_a_granted_peer_alone() {
    let ((granted, heard), (other, nothing)) = (pong_by_datagram(), pong_by_datagram());
    let [granted, other] = [granted, other].map(|port| port.to_string());
    let project = Project::with(&[]);
    let send = |flags: &[&str]| project.record("udp", &[flags, &["--", &granted, &other]].concat());

    // 1 is access-denied.
    let denied = |port: &str| {
        format!(
            "denied: UDP datagram to 127.0.0.1:{port}; to allow it: \"grants\": {{ \"sockets\": [\"udp://127.0.0.1:{port}\"] }}\n"
        )
    };
    let flag = format!("udp://127.0.0.1:{granted}");
    let record = send(&["--socket", &flag]).succeeded();
    assert_eq!(record.text("output"), "pong\nsend 001\n");
    assert_eq!(record.text("log"), denied(&other));
    assert_eq!(heard.recv_timeout(FOREVER).unwrap(), "ping\n");

    // What is granted for TCP is not for UDP.
    let flag = format!("tcp://127.0.0.1:{granted}");
    let record = send(&["--socket", &flag]).succeeded();
    assert_eq!(record.text("output"), "send 001\nsend 001\n");
    assert_eq!(record.text("log"), denied(&granted) + &denied(&other));

    let record = send(&[]).ended("failed", &["exit code 1"]);
    assert_eq!(record.text("output"), "socket 001\n");
    assert!(
        record
            .text("log")
            .starts_with("denied: a UDP socket; to allow it: ")
    );
    assert!(heard.try_recv().is_err() && nothing.try_recv().is_err());
}

#[test]
fn without_a_grant_the_log_says_what_was_wanted() {
    let record = Project::with(&[]).record("network", &[]);
    insta::assert_snapshot!(record.text("log"), @r#"
    denied: a TCP socket; to allow it: "grants": { "sockets": ["tcp://HOST:PORT"] }
    denied: looking localhost up; to allow it: "grants": { "sockets": ["localhost:PORT"] }
    "#);
    assert_eq!(record.number("denied"), 2);
}

#[test]
fn sockets_are_counted() {
    let flags = ["--socket", "localhost:1", "--handles", "16"];
    let mut arguments = flags.to_vec();
    arguments.extend(["--", "localhost", "1", "hoard"]);
    let project = Project::with(&[]);
    let record = project.record("tcp", &arguments);
    record.ended("failed", &["16"]);
}
