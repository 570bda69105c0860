//! Requests through the desk of a run, to small servers on this machine.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use wasmtime_wasi::runtime::spawn;

use super::super::Equipment;
use super::*;
use crate::clock::Timestamp;
use crate::dispatcher::{Cancel, Session};
use crate::job::grants::network::{AddressRange, OriginPattern};
use crate::job::{Grants, Job, JobId, SourceText};
use crate::policy::{Current, Policy};
use crate::run::{Attempt, Cause, Run, RunId};
use crate::runtime::capability::resolve::Network;
use crate::runtime::capability::resolve::tests::Script;
use crate::runtime::guest::{CappedPipe, Pipe};

/// A server of one answer to everything, and what it was asked.
struct Server {
    port: u16,
    asked: Receiver<String>,
    /// Told when a connection was closed by its other end.
    closed: Receiver<()>,
}

impl Server {
    /// Answers every request, by its number, with these bytes.
    fn new(answer: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + 'static) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let ((asking, asked), (closing, closed)) = (channel(), channel());
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let request = read_request(&mut connection);
                if asking.send(request).is_err() {
                    return;
                }
                let _ = answer(&mut connection);
                let _ = connection.read_to_end(&mut Vec::new());
                let _ = closing.send(());
            }
        });
        Server {
            port,
            asked,
            closed,
        }
    }

    fn saying(answer: &'static str) -> Server {
        Server::new(move |connection| connection.write_all(answer.as_bytes()))
    }

    fn ok() -> Server {
        Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
    }

    /// Whether nobody has come. What was going to come has come when this is asked: the exchange
    /// is over.
    fn nobody_came(&self) -> bool {
        self.asked.try_recv().is_err()
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.port)
    }
}

/// Reads a request up to the end of its head, and of its body if that has a length.
fn read_request(connection: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        match connection.read(&mut piece) {
            Ok(read @ 1..) => all.extend_from_slice(&piece[..read]),
            _ => return String::from_utf8_lossy(&all).into_owned(),
        }
    }
}

/// The desk of a run with a grant, and its log.
struct Fetcher {
    desk: Desk,
    log: CappedPipe,
}

impl Fetcher {
    fn new(origins: &[String]) -> Fetcher {
        Fetcher::with(origins, |_| {}, Network::default())
    }

    fn with(origins: &[String], change: impl Fn(&mut HttpGrant), network: Network) -> Fetcher {
        let mut grant = HttpGrant {
            origins: origins
                .iter()
                .map(|origin| OriginPattern::parse(origin).unwrap())
                .collect(),
            addresses: Vec::new(),
            timeout: HttpGrant::TIMEOUT,
            requests: HttpGrant::REQUESTS,
            body: HttpGrant::BODY,
        };
        change(&mut grant);
        Fetcher::granted(Some(grant), network)
    }

    fn granted(grant: Option<HttpGrant>, network: Network) -> Fetcher {
        let mut job = Job::by_hand(JobId::new("fetch"), "fetch.wasm");
        job.grants = Arc::new(Grants {
            http: grant,
            ..Grants::default()
        });
        let now = Timestamp::UNIX_EPOCH;
        let attempt = Attempt {
            run: Arc::new(Run {
                id: RunId::new(now),
                job: Arc::new(job),
                cause: Cause::Manual,
                scheduled_at: now,
                max_attempts: 1,
                last_success: None,
            }),
            number: 1,
            started_at: now,
            run_started_at: now,
        };
        let log = CappedPipe::new(Pipe::of(1 << 20));
        let session = Session::alone(Cancel::new());
        let given = Equipment {
            log: Some(log.clone()),
            ..Equipment::default()
        };
        let desk = Desk::new(
            attempt,
            session,
            Arc::new(network),
            given,
            crate::clock::monotonic(),
        );
        Fetcher { desk, log }
    }

    /// Sends a request with what wasi:http would hand over.
    fn begin(&mut self, request: http::Request<Bytes>, options: RequestOptions) -> Pin<Sent> {
        let request = request.map(|body| {
            Full::new(body)
                .map_err(|never| match never {})
                .boxed_unsync()
        });
        let ended = Box::new(std::future::ready(Ok(())));
        Pin::from(self.desk.send_request(request, Some(options), ended))
    }

    async fn send(
        &mut self,
        request: http::Request<Bytes>,
        options: RequestOptions,
    ) -> Result<(u16, String), Error> {
        let (response, driver) = self.begin(request, options).await?;
        let _driver = spawn(Pin::from(driver));
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8(body.to_vec()).unwrap()))
    }

    async fn get(&mut self, url: &str) -> Result<(u16, String), Error> {
        let request = Request::get(url).body(Bytes::new()).unwrap();
        self.send(request, RequestOptions::default()).await
    }

    /// What the run's log says by now, with the port of a server replaced.
    fn told(&mut self, server: &Server) -> String {
        self.desk.collect();
        let (log, _) = self.log.take();
        let log = String::from_utf8(log).unwrap();
        log.replace(&server.port.to_string(), "PORT")
    }
}

/// An error, told apart from others.
fn named<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    format!("{:?}", result.unwrap_err())
}

#[tokio::test]
async fn a_granted_request_goes_out_and_comes_back() {
    let server = Server::ok();
    let mut run = Fetcher::new(&[server.url("127.0.0.1", "")]);
    let request = Request::post(server.url("127.0.0.1", "/v1/sales?since=1"))
        .header("x-own", "yes")
        // wasi:http does not let a guest say this; nor does what comes after it.
        .header("host", "internal.example")
        .body(Bytes::from("body"))
        .unwrap();
    let answer = run.send(request, RequestOptions::default()).await.unwrap();
    assert_eq!(answer, (200, "hello".to_owned()));
    let asked = server.asked.recv().unwrap();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    lines.sort_unstable();
    let host = format!("host: 127.0.0.1:{}", server.port);
    assert_eq!(
        lines,
        [
            "POST /v1/sales?since=1 HTTP/1.1",
            "content-length: 4",
            &host,
            "x-own: yes"
        ]
    );
    assert_eq!(body, "body");
    assert_eq!(run.told(&server), "");
}

#[tokio::test]
async fn the_name_of_this_machine_is_enough() {
    let server = Server::ok();
    let mut run = Fetcher::new(&[server.url("localhost", "")]);
    // ::1 comes first on many machines, and nobody listens there.
    let answer = run.get(&server.url("LOCALHOST.", "")).await.unwrap();
    assert_eq!(answer.0, 200);
    let asked = server.asked.recv().unwrap();
    assert!(asked.starts_with("GET / HTTP/1.1\r\n"), "{asked}");
}

#[tokio::test]
async fn what_is_not_granted_does_not_go_out() {
    let server = Server::ok();
    let other = Server::ok();
    let mut run = Fetcher::new(&[server.url("localhost", "")]);
    for url in [
        server.url("127.0.0.1", "/path?token=secret"),
        server.url("localhost", "/").replace("http:", "https:"),
        other.url("localhost", "/").replace("localhost", "[::1]"),
        "http://localhost/".to_owned(),
        format!("http://sub.localhost:{}/", server.port),
    ] {
        assert_eq!(named(run.get(&url).await), "HttpRequestDenied", "{url}");
    }
    assert!(server.nobody_came());
    let told = run.told(&server).replace(&other.port.to_string(), "OTHER");
    insta::assert_snapshot!(told, @r#"
    denied: GET http://127.0.0.1:PORT/path; to allow it: "grants": { "http": ["http://127.0.0.1:PORT"] }
    denied: GET https://localhost:PORT/; to allow it: "grants": { "http": ["https://localhost:PORT"] }
    denied: GET http://[::1]:OTHER/; to allow it: "grants": { "http": ["http://[::1]:OTHER"] }
    denied: GET http://localhost/; to allow it: "grants": { "http": ["http://localhost"] }
    denied: GET http://sub.localhost:PORT/; to allow it: "grants": { "http": ["http://sub.localhost:PORT"] }
    "#);
    let mut run = Fetcher::granted(None, Network::default());
    let url = server.url("localhost", "");
    assert_eq!(named(run.get(&url).await), "HttpRequestDenied");
    insta::assert_snapshot!(run.told(&server), @r#"denied: GET http://localhost:PORT/; to allow it: "grants": { "http": ["http://localhost:PORT"] }"#);
}

#[tokio::test]
async fn a_target_that_can_be_read_in_two_ways_is_none() {
    let server = Server::ok();
    let mut run = Fetcher::new(&[server.url("127.0.0.1", ""), server.url("localhost", "")]);
    for host in [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "localhost@127.0.0.1",
        "user:password@localhost",
    ] {
        let url = server.url(host, "/?secret");
        assert_eq!(named(run.get(&url).await), "HttpRequestUriInvalid", "{url}");
    }
    let url = "http://localhost:0/";
    assert_eq!(named(run.get(url).await), "HttpRequestUriInvalid");
    let tunnel = Request::builder().method("CONNECT");
    let tunnel = tunnel.uri(server.url("localhost", "/"));
    let tunnel = tunnel.body(Bytes::new()).unwrap();
    let sent = run.send(tunnel, RequestOptions::default()).await;
    assert_eq!(named(sent), "HttpRequestMethodInvalid");
    assert!(server.nobody_came());
    insta::assert_snapshot!(run.told(&server), @r#"
    GET request not sent: "127.1" is neither a name nor an address
    GET request not sent: "2130706433" is neither a name nor an address
    GET request not sent: "0x7f000001" is neither a name nor an address
    GET request not sent: "0177.0.0.1" is neither a name nor an address
    GET request not sent: its authority has a user: a password goes into the header `authorization`
    GET request not sent: its authority has a user: a password goes into the header `authorization`
    GET request not sent: "localhost:0" has no usable port
    CONNECT http://localhost:PORT/: not sent: CONNECT is for proxies
    "#);
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_connected_to() {
    let server = Server::ok();
    let network = Network::with_resolver(Script::new(&[("evil.example", &["127.0.0.1", "::1"])]));
    let origins = [server.url("evil.example", ""), server.url("127.0.0.1", "")];
    let mut run = Fetcher::with(&origins, |_| {}, network);
    let sent = run.get(&server.url("evil.example", "/x?y")).await;
    assert_eq!(named(sent), "DestinationIpProhibited");
    assert!(server.nobody_came());
    insta::assert_snapshot!(run.told(&server), @r#"denied: GET http://evil.example:PORT/x: it leads to 127.0.0.1, a loopback address; to allow it: "addresses": ["127.0.0.1"] beside the "origins" of "http""#);
    assert_eq!(run.desk.denials.count, 1);

    // And what the operator has to say of that.
    let ceiling = "[ceiling.grants]\naddresses = [\"10.0.0.0/8\", \"::1\"]\n";
    for (at, verdict) in [("127.0.0.1", "forbids"), ("::1", "permits")] {
        let network = Network::with_resolver(Script::new(&[("evil.example", &[at])]));
        let mut run = Fetcher::with(&origins, |_| {}, network);
        let source = SourceText::new("quarterjack.toml", ceiling);
        let policy = Policy::parse(&Arc::new(source), Path::new("")).unwrap();
        run.desk.policy = Some(Current::new(Arc::new(policy)));
        let sent = run.get(&server.url("evil.example", "/")).await;
        assert_eq!(named(sent), "DestinationIpProhibited");
        let told = run.told(&server);
        let verdict = format!("\"http\"; the operator's ceiling {verdict} it (quarterjack.toml:2)");
        assert!(told.trim_end().ends_with(&verdict), "{told}");
    }
}

#[tokio::test]
async fn a_second_answer_of_the_name_server_is_judged_like_the_first() {
    let server = Server::ok();
    let script = Script::new(&[
        ("turns.example", &["127.0.0.1"]),
        ("turns.example", &["127.0.0.2"]),
    ]);
    let asked = script.asked.clone();
    let range = AddressRange::parse("127.0.0.1").unwrap();
    let mut run = Fetcher::with(
        &[server.url("turns.example", "")],
        |grant| grant.addresses = vec![range],
        Network::with_resolver(script),
    );
    let url = server.url("turns.example", "/");
    // What was judged is what is connected to: there is no second lookup in between.
    assert_eq!(run.get(&url).await.unwrap().0, 200);
    assert_eq!(*asked.lock(), ["turns.example"]);
    server.asked.recv().unwrap();
    assert_eq!(named(run.get(&url).await), "DestinationIpProhibited");
    assert_eq!(asked.lock().len(), 2);
    assert!(server.nobody_came());
}

#[tokio::test]
async fn the_next_address_has_its_turn() {
    let server = Server::ok();
    // The first one may not be, nobody listens at the second.
    let script = Script::new(&[("many.example", &["10.0.0.1", "127.0.0.9", "127.0.0.1"])]);
    let range = AddressRange::parse("127.0.0.0/8").unwrap();
    let mut run = Fetcher::with(
        &[server.url("many.example", "")],
        |grant| grant.addresses = vec![range],
        Network::with_resolver(script),
    );
    let answer = run.get(&server.url("many.example", "/")).await;
    assert_eq!(answer.unwrap().0, 200);
    let sent = run.get("http://unknown.example/").await;
    assert_eq!(named(sent), "HttpRequestDenied");
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let target = Server::ok();
    let location = target.url("127.0.0.1", "/inside");
    let server = Server::new(move |connection| {
        let head = "HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: ";
        write!(connection, "{head}{location}\r\n\r\n")
    });
    let mut run = Fetcher::new(&[server.url("127.0.0.1", "")]);
    let answer = run.get(&server.url("127.0.0.1", "/")).await.unwrap();
    assert_eq!(answer.0, 302);
    assert!(target.nobody_came());
    let followed = run.get(&target.url("127.0.0.1", "/inside")).await;
    assert_eq!(named(followed), "HttpRequestDenied");
    assert!(target.nobody_came());
}

#[tokio::test]
async fn a_run_sends_so_many_requests_and_no_more() {
    let server = Server::ok();
    let origins = [server.url("127.0.0.1", "")];
    let mut run = Fetcher::with(&origins, |grant| grant.requests = 2, Network::default());
    let url = server.url("127.0.0.1", "/");
    // What was denied does not count.
    assert!(run.get("http://127.0.0.1:1/").await.is_err());
    run.get(&url).await.unwrap();
    run.get(&url).await.unwrap();
    run.log.take();
    assert_eq!(named(run.get(&url).await), "HttpRequestDenied");
    assert_eq!(server.asked.try_iter().count(), 2);
    insta::assert_snapshot!(run.told(&server), @r#"denied: GET http://127.0.0.1:PORT/: it has sent 2 requests; to allow it: more "requests" in its grant of "http""#);
}

#[tokio::test]
async fn bodies_have_a_limit_in_both_directions() {
    let chunked = Server::saying(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nghijkl\r\n0\r\n\r\n",
    );
    let announced = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc");
    let exact = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789");
    let origins = [&chunked, &announced, &exact].map(|server| server.url("127.0.0.1", ""));
    let mut run = Fetcher::with(&origins, |grant| grant.body = 10, Network::default());
    let sent = run.get(&chunked.url("127.0.0.1", "/")).await;
    assert_eq!(named(sent), "HttpResponseBodySize(Some(10))");
    insta::assert_snapshot!(run.told(&chunked), @r#"GET http://127.0.0.1:PORT/: the body of the response is larger than the 10 B that are granted ("body")"#);
    let sent = run.get(&announced.url("127.0.0.1", "/")).await;
    assert_eq!(named(sent), "HttpResponseBodySize(Some(1000))");
    let (_, body) = run.get(&exact.url("127.0.0.1", "/")).await.unwrap();
    assert_eq!(body, "0123456789");
    // The head of a response to HEAD may speak of more than comes.
    let head = Request::head(announced.url("127.0.0.1", "/")).body(Bytes::new());
    let sent = run.send(head.unwrap(), RequestOptions::default()).await;
    assert_eq!(sent.unwrap().0, 200);
    run.told(&announced);

    let post = |size: usize| {
        let request = Request::post(exact.url("127.0.0.1", "/"));
        request.body(Bytes::from(vec![b'x'; size])).unwrap()
    };
    run.send(post(10), RequestOptions::default()).await.unwrap();
    let sent = run.send(post(11), RequestOptions::default()).await;
    assert_eq!(named(sent), "HttpRequestBodySize(Some(10))");
    insta::assert_snapshot!(run.told(&exact), @r#"POST http://127.0.0.1:PORT/: the body of the request is larger than the 10 B that are granted ("body")"#);
    let mut announced = post(0);
    let headers = announced.headers_mut();
    headers.insert("content-length", HeaderValue::from_static("11"));
    let sent = run.send(announced, RequestOptions::default()).await;
    assert_eq!(named(sent), "HttpRequestBodySize(Some(11))");
}

#[tokio::test]
async fn a_head_without_end_is_not_read() {
    let server = Server::new(|connection| {
        connection.write_all(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            connection.write_all(b"x-more: and more and more and more and more\r\n")?;
        }
    });
    let mut run = Fetcher::new(&[server.url("127.0.0.1", "")]);
    let sent = run.get(&server.url("127.0.0.1", "/")).await;
    assert_eq!(named(sent), "HttpResponseHeaderSectionSize(Some(65536))");
    let rubbish = Server::saying("220 mail.example ESMTP\r\n");
    let mut run = Fetcher::new(&[rubbish.url("127.0.0.1", "")]);
    let sent = run.get(&rubbish.url("127.0.0.1", "/")).await;
    assert_eq!(named(sent), "HttpProtocolError");
}

const SOON: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_exchange_is_over_in_time() {
    let silent = Server::saying("");
    let stuck = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    let origins = [&silent, &stuck].map(|server| server.url("127.0.0.1", ""));
    let mut run = Fetcher::with(&origins, |grant| grant.timeout = SOON, Network::default());
    let sent = run.get(&silent.url("127.0.0.1", "/")).await;
    assert_eq!(named(sent), "HttpResponseTimeout");
    insta::assert_snapshot!(run.told(&silent), @r#"GET http://127.0.0.1:PORT/: it was not over within the 50 ms that are granted ("timeout")"#);
    silent.closed.recv().unwrap();
    let sent = run.get(&stuck.url("127.0.0.1", "/")).await;
    assert_eq!(named(sent), "HttpResponseTimeout");
    insta::assert_snapshot!(run.told(&stuck), @r#"GET http://127.0.0.1:PORT/: it was not over within the 50 ms that are granted ("timeout")"#);
    stuck.closed.recv().unwrap();
}

#[tokio::test]
async fn a_guest_may_want_it_faster() {
    let silent = Server::saying("");
    let stuck = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    let mut run = Fetcher::new(&[&silent, &stuck].map(|server| server.url("127.0.0.1", "")));
    let request = |server: &Server| {
        let request = Request::get(server.url("127.0.0.1", "/"));
        request.body(Bytes::new()).unwrap()
    };
    let options = RequestOptions {
        first_byte_timeout: Some(SOON),
        ..RequestOptions::default()
    };
    let sent = run.send(request(&silent), options).await;
    assert_eq!(named(sent), "ConnectionReadTimeout");
    let options = RequestOptions {
        between_bytes_timeout: Some(SOON),
        // More than the clock can count is as if nothing was asked.
        connect_timeout: Some(Duration::MAX),
        first_byte_timeout: Some(Duration::MAX),
    };
    let sent = run.send(request(&stuck), options).await;
    assert_eq!(named(sent), "ConnectionReadTimeout");
    // It knows what it asked for.
    assert_eq!(run.told(&stuck), "");
}

#[tokio::test]
async fn what_is_dropped_is_closed() {
    let silent = Server::saying("");
    let stuck = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    let mut run = Fetcher::new(&[&silent, &stuck].map(|server| server.url("127.0.0.1", "")));
    let mut request = |server: &Server| {
        let request = Request::get(server.url("127.0.0.1", "/"));
        run.begin(
            request.body(Bytes::new()).unwrap(),
            RequestOptions::default(),
        )
    };
    let waiting = spawn(request(&silent));
    let asked = tokio::task::spawn_blocking(move || {
        silent.asked.recv().unwrap();
        silent
    });
    let silent = asked.await.unwrap();
    drop(waiting);
    let closed = tokio::task::spawn_blocking(move || silent.closed.recv());
    closed.await.unwrap().unwrap();

    let (response, driver) = request(&stuck).await.unwrap();
    let driver = spawn(Pin::from(driver));
    drop((response, driver));
    let closed = tokio::task::spawn_blocking(move || stuck.closed.recv());
    closed.await.unwrap().unwrap();
}

#[test]
fn what_is_told_has_no_secrets_and_an_end() {
    let told = |method: &str, url: &str| {
        let uri: Uri = url.parse().unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        told(&method, &target_of(&uri).unwrap(), &uri)
    };
    assert_eq!(
        told("GET", "https://API.example.com:443/a?key=1"),
        "GET https://api.example.com/a"
    );
    assert_eq!(
        told("GET", "http://[2001:db8::1]:8080"),
        "GET http://[2001:db8::1]:8080/"
    );
    let long = told(
        &"M".repeat(100),
        &format!("http://a.example/{}", "ä".repeat(500)),
    );
    assert_eq!(long.chars().count(), 32 + 1 + 16 + 200 + 1);
    assert!(long.ends_with('…'));
}

#[test]
fn a_path_stands_in_the_first_line_as_it_was_asked_for() {
    let path = |url: &str| path_of(&url.parse().unwrap()).to_string();
    assert_eq!(path("http://a.example"), "/");
    assert_eq!(path("http://a.example?x=/"), "/?x=/");
    assert_eq!(path("http://a.example/a//b/../c?d"), "/a//b/../c?d");
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    assert_eq!(path(&format!("http://{address}/%0d%0a")), "/%0d%0a");
}
