use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::job::Manifest;
use crate::secret::{self, Provider};

const ONE: &str = r#"[{"id": "a", "component": "a.wasm", "trigger": "0 0 * * *"}]"#;
const TWO: &str = r#"[{"id": "b", "component": "a.wasm", "trigger": "0 0 * * *"}]"#;

/// What a server is asked: the first line and the headers, in small letters.
struct Asked {
    path: String,
    headers: Vec<String>,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let own = self.headers.iter().filter_map(|line| line.split_once(": "));
        let mut own = own.filter(|(key, _)| *key == name);
        own.next().map(|(_, value)| value)
    }
}

/// A server that answers as a function says, a thread for each connection.
struct Server {
    address: SocketAddr,
    asked: Receiver<Asked>,
}

impl Server {
    fn new(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = channel();
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tell, answer) = (tell.clone(), answer.clone());
                thread::spawn(move || {
                    let mut stream = stream;
                    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    let Some(Ok(first)) = lines.next() else {
                        return;
                    };
                    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                    let headers = lines.map_while(Result::ok).take_while(|it| !it.is_empty());
                    let headers = headers.map(|line| match line.split_once(": ") {
                        Some((key, value)) => format!("{}: {value}", key.to_ascii_lowercase()),
                        None => line,
                    });
                    let asked = Asked {
                        path: path.clone(),
                        headers: headers.collect(),
                    };
                    let _ = tell.send(asked);
                    answer(&path, &mut stream);
                });
            }
        });
        Server { address, asked }
    }

    /// A server of these answers, one after the other, the last one for ever.
    fn of(answers: &[String]) -> Server {
        let answers = Mutex::new(answers.to_vec());
        Server::new(move |_, stream| {
            let mut answers = answers.lock();
            let answer = match answers.len() {
                1 => answers[0].clone(),
                _ => answers.remove(0),
            };
            let _ = stream.write_all(answer.as_bytes());
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn next(&self) -> Asked {
        self.asked.try_recv().unwrap()
    }
}

/// An answer with a status and headers.
fn answer(status: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|it| format!("{it}\r\n")).collect();
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

fn ok(headers: &[&str], body: &str) -> String {
    answer("200 OK", headers, body)
}

fn settings(url: &str) -> HttpSettings {
    HttpSettings {
        url: HttpUrl::parse(url).unwrap(),
        token: None,
        timeout: Duration::from_secs(10),
        max_size: HttpSettings::MAX_SIZE,
        base: PathBuf::from("/etc/quarterjack"),
    }
}

/// A source at a URL, which is to be read every minute.
fn source_with(url: &str, change: impl FnOnce(&mut HttpSettings)) -> HttpSource {
    let mut settings = settings(url);
    change(&mut settings);
    let minute = Some(Duration::from_secs(60));
    HttpSource::new("central", &settings, minute, Arc::default())
}

fn source(server: &Server) -> HttpSource {
    source_with(&server.url("/jobs.json"), |_| {})
}

fn manifest(snapshot: &Snapshot) -> &Arc<Manifest> {
    let [document] = &snapshot.documents[..] else {
        panic!("{snapshot:?}")
    };
    document.read.as_ref().unwrap()
}

/// The id of the first job, and whether it is what it was.
fn read(source: &HttpSource) -> (String, bool) {
    let snapshot = source.read().unwrap_or_else(|error| panic!("{error}"));
    let id = manifest(&snapshot).jobs().next().unwrap().id.to_string();
    (id, snapshot.unchanged)
}

/// What is wrong, with the server's address taken out.
fn told(source: &HttpSource, servers: &[&Server]) -> String {
    let mut told = source.read().unwrap_err().to_string();
    for (name, server) in ["HERE", "THERE"].iter().zip(servers) {
        told = told.replace(&server.address.to_string(), name);
    }
    told
}

/// A source whose token is in a directory of secrets, with that directory.
fn with_token(url: &str, token: &str) -> (HttpSource, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("central-token"), token).unwrap();
    let mut policy = Policy::default();
    policy.secrets = secret::Settings {
        dir: Some(dir.path().to_owned()),
        order: vec![Provider::Directory],
        ..secret::Settings::default()
    };
    let settings = HttpSettings {
        token: Some("central-token".into()),
        ..settings(url)
    };
    let source = HttpSource::new("central", &settings, None, Arc::new(policy));
    (source, dir)
}

#[test]
fn what_the_server_says_it_has_not_changed_is_not_sent_again() {
    let server = Server::of(&[
        ok(
            &[
                "ETag: \"v1\"",
                "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
            ],
            ONE,
        ),
        answer("304 Not Modified", &[], ""),
        ok(&["ETag: \"v2\""], TWO),
        answer("304 Not Modified", &[], ""),
    ]);
    let source = source(&server);
    assert_eq!(read(&source), ("a".into(), false));
    let asked = server.next();
    assert_eq!(asked.path, "/jobs.json");
    assert_eq!(asked.header("accept"), Some("application/json"));
    assert_eq!(asked.header("if-none-match"), None);
    assert_eq!(asked.header("authorization"), None);

    assert_eq!(read(&source), ("a".into(), true));
    let asked = server.next();
    assert_eq!(asked.header("if-none-match"), Some("\"v1\""));
    let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(asked.header("if-modified-since"), date);

    assert_eq!(read(&source), ("b".into(), false));
    assert_eq!(read(&source), ("b".into(), true));
    let asked = [server.next(), server.next()];
    assert_eq!(asked[1].header("if-none-match"), Some("\"v2\""));
    assert_eq!(asked[1].header("if-modified-since"), None);
    assert_eq!(source.pace(), Some(Duration::from_secs(60)));
}

#[test]
fn a_server_without_validators_is_compared_by_what_it_says() {
    let server = Server::of(&[ok(&[], ONE), ok(&[], ONE), ok(&[], TWO)]);
    let source = source(&server);
    assert_eq!(read(&source), ("a".into(), false));
    assert_eq!(read(&source), ("a".into(), true));
    assert_eq!(read(&source), ("b".into(), false));
}

#[test]
fn another_policy_is_another_reading_though_nothing_was_changed() {
    let server = Server::new(|_, stream| {
        let _ = stream.write_all(ok(&["ETag: \"v1\""], ONE).as_bytes());
    });
    let source = source(&server);
    read(&source);
    source.set_policy(Arc::default());
    assert_eq!(read(&source), ("a".into(), false));
    let asked = [server.next(), server.next()];
    // Nothing that could be said to be the same.
    assert_eq!(asked[1].header("if-none-match"), None);
}

#[test]
fn what_is_wrong_in_the_text_is_told_at_its_place_and_not_parsed_again() {
    let wrong = r#"[
  {"id": "a", "component": "a.wasm", "trigger": "0 0 * * *", "enabled": "yes"},
  {"id": "b", "component": "a.wasm", "trigger": "0 0 * * *"}
]"#;
    let server = Server::of(&[
        ok(&["ETag: \"v1\""], wrong),
        ok(&["ETag: \"v2\""], "[{"),
        answer("304 Not Modified", &[], ""),
        ok(&[], ONE),
    ]);
    let source = source(&server);
    let snapshot = source.read().unwrap();
    let problems = manifest(&snapshot).problems();
    let problem = problems.first().unwrap();
    assert_eq!((problem.line, problem.column), (2, 73));
    let file = problem.file.replace(&server.address.to_string(), "HERE");
    assert_eq!(file, "http://HERE/jobs.json");
    // The other one is good.
    assert_eq!(manifest(&snapshot).jobs().count(), 1);

    let broken = source.read().unwrap_err();
    assert!(
        matches!(&broken, SourceError::Unusable(problems) if problems[0].line == 1),
        "{broken}"
    );
    assert_eq!(source.read().unwrap_err(), broken);
    assert_eq!(read(&source), ("a".into(), false));
}

#[test]
fn a_server_that_fails_is_asked_less_often_until_it_is_well() {
    let server = Server::of(&[
        ok(&["ETag: \"v1\""], ONE),
        answer("500 Internal Server Error", &[], "oops"),
        answer("503 Service Unavailable", &["Retry-After: 1800"], ""),
        answer("502 Bad Gateway", &[], "<html>"),
        ok(&["ETag: \"v1\""], ONE),
    ]);
    let source = source(&server);
    read(&source);
    let said = told(&source, &[&server]);
    assert_eq!(
        said,
        "http://HERE/jobs.json: is answered with 500 Internal Server Error: the server or what is \
         before it has a problem; what is in service stays"
    );
    let delay = source.pace().unwrap().as_secs();
    assert!((90..=120).contains(&delay), "{delay}");
    // As long as the server asks for.
    told(&source, &[&server]);
    assert_eq!(source.pace(), Some(Duration::from_secs(1800)));
    told(&source, &[&server]);
    let delay = source.pace().unwrap().as_secs();
    assert!((360..=480).contains(&delay), "{delay}");
    // The host has to hear that it is over.
    assert_eq!(read(&source), ("a".into(), false));
    assert_eq!(source.pace(), Some(Duration::from_secs(60)));
}

#[test]
fn a_trouble_that_lasts_is_one_trouble() {
    let server = Server::of(&[answer("404 Not Found", &["Date: today"], "no")]);
    let source = source(&server);
    let first = source.read().unwrap_err();
    assert_eq!(source.read().unwrap_err(), first);
    assert!(matches!(first, SourceError::Unreadable(_)));
    assert_eq!(
        told(&source, &[&server]),
        "http://HERE/jobs.json: is answered with 404 Not Found: is the URL right?"
    );
}

#[test]
fn patience_has_its_bounds() {
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    assert_eq!(backoff(second, 1, 1.0, None), second * 2);
    assert_eq!(backoff(second, 5, 0.75, None), second * 24);
    assert_eq!(backoff(second, 1000, 1.0, None), LONGEST_BACKOFF);
    assert_eq!(
        backoff(second, u32::MAX, 0.75, None),
        LONGEST_BACKOFF * 3 / 4
    );
    // What is read seldom anyway is not read more often.
    assert_eq!(backoff(minute * 30, 3, 0.75, None), minute * 30);
    assert_eq!(backoff(second, 1, 1.0, Some(minute)), minute);
    assert_eq!(backoff(minute, 1, 1.0, Some(second)), minute * 2);
    assert_eq!(
        backoff(second, 1, 1.0, Some(Duration::MAX)),
        LONGEST_RETRY_AFTER
    );
}

#[test]
fn an_answer_that_is_no_job_file_is_told_for_what_it_is() {
    let cut_off = format!("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{ONE}");
    let half_a_chunk = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n{ONE}");
    let large = "X-Large: 1\r\n".repeat(10_000);
    let answers = [
        ok(
            &["Content-Type: text/html; charset=utf-8"],
            "<!doctype html><p>Log in",
        ),
        ok(&["Content-Type: application/xml"], "<Error/>"),
        ok(&[], ""),
        answer("204 No Content", &[], ""),
        answer("304 Not Modified", &[], ""),
        answer("401 Unauthorized", &[], ""),
        answer("429 Too Many Requests", &[], ""),
        answer("451 Unavailable For Legal Reasons", &[], ""),
        answer("799 What", &[], ""),
        ok(&["Content-Encoding: gzip"], "..."),
        cut_off,
        half_a_chunk,
        "SSH-2.0-OpenSSH_10.0\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{large}\r\n"),
        String::new(),
    ];
    let said: Vec<String> = answers
        .iter()
        .map(|answer| {
            let server = Server::of(std::slice::from_ref(answer));
            told(&source(&server), &[&server])
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    http://HERE/jobs.json: is a web page (HTML), not a job file: is it a page to log in, or a view of the file instead of the file itself?
    http://HERE/jobs.json: is markup, such as a web page, not a job file: is it a page to log in, or a view of the file instead of the file itself?
    http://HERE/jobs.json:1:1: the file is empty: a file without jobs holds []
    http://HERE/jobs.json: is answered with 204 No Content: a job file is answered with 200 OK: is the URL right?
    http://HERE/jobs.json: is answered with 304 Not Modified: nothing is known of what it may be the same as: the server is to answer with a text
    http://HERE/jobs.json: is answered with 401 Unauthorized: if it wants a bearer token, name a secret that has it with `token`
    http://HERE/jobs.json: is answered with 429 Too Many Requests: it is asked too often: raise `refresh`
    http://HERE/jobs.json: is answered with 451 Unavailable For Legal Reasons: a job file is answered with 200 OK: is the URL right?
    http://HERE/jobs.json: is answered with 799: a job file is answered with 200 OK: is the URL right?
    http://HERE/jobs.json: is compressed (gzip), which was not asked for: the server is to send it as it is
    http://HERE/jobs.json: is cut off before its end: the server, or what is before it, closed the connection; what is in service stays
    http://HERE/jobs.json: is cut off before its end: the server, or what is before it, closed the connection; what is in service stays
    http://HERE/jobs.json: is answered with something that is not HTTP: invalid HTTP version: is HERE a web server, and is it http:// or https://?
    http://HERE/jobs.json: is answered with too many headers: is the URL right?
    http://HERE/jobs.json: is not answered: HERE closed the connection: is it a web server, and is it http:// or https://?
    "#);
}

#[test]
fn a_server_that_is_not_there_is_told_with_where_it_should_be() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("http://127.0.0.1:{port}/jobs.json?sig=hunter22");
    let said = told(&source_with(&url, |_| {}), &[]).replace(&port.to_string(), "PORT");
    assert_eq!(
        said,
        "http://127.0.0.1:PORT/jobs.json?…: cannot be reached: 127.0.0.1:PORT refuses the \
         connection: is the server running, and is this its port?"
    );
}

#[test]
fn a_url_that_is_none_is_told_without_its_password() {
    for (url, shown) in [
        ("http://user:hunter22@example.com/", "http://…"),
        ("https://", "https://…"),
    ] {
        let source = HttpSource::of_url(url, Arc::default());
        assert_eq!(source.name(), shown);
        assert!(!source.is_remote());
        let said = source.read().unwrap_err().to_string();
        assert!(!said.contains("hunter22"), "{said}");
        assert!(
            said.starts_with(&format!("{shown}: cannot be read: ")),
            "{said}"
        );
    }
}

#[test]
fn what_is_too_large_is_not_read_to_its_end() {
    let sent = Arc::new(Mutex::new(0_usize));
    let counted = sent.clone();
    let piece = vec![b' '; 64 << 10];
    // 50 MB, once with their length told and once without.
    let server = Server::new(move |path, stream| {
        let head = match path {
            "/told" => "HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n".to_owned(),
            _ => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
        };
        let _ = stream.write_all(head.as_bytes());
        for _ in 0..50_000_000 / piece.len() {
            if stream.write_all(&piece).is_err() {
                return;
            }
            *counted.lock() += piece.len();
        }
    });
    for path in ["/told", "/untold"] {
        *sent.lock() = 0;
        let source = source_with(&server.url(path), |it| it.max_size = 1 << 20);
        assert_eq!(
            told(&source, &[&server]),
            format!(
                "http://HERE{path}: is larger than 1 MiB: is this the job file? `max_size` of its \
                 [[source]] allows more"
            )
        );
        // What is on its way in the buffers of the system is sent, too.
        let sent = *sent.lock();
        assert!(sent < 40_000_000, "{sent}");
    }
    let roomy = |path: &str| source_with(&server.url(path), |it| it.max_size = 100 << 20);
    // Read, and found to be nothing but spaces.
    let said = told(&roomy("/untold"), &[&server]);
    assert!(!said.contains("larger"), "{said}");
}

#[test]
fn a_server_that_takes_its_time_is_not_waited_for() {
    // Never a byte, a head that does not end, a body that drips.
    let server = Server::new(|path, stream| {
        let (head, drip): (&[u8], &[u8]) = match path {
            "/silent" => (b"", b""),
            "/head" => (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
            _ => (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" "),
        };
        let _ = stream.write_all(head);
        // Until the other side gives up.
        stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let mut nothing = [0; 1];
        loop {
            match std::io::Read::read(stream, &mut nothing) {
                Ok(_) => return,
                Err(_) if stream.write_all(drip).is_err() => return,
                Err(_) => {}
            }
        }
    });
    for path in ["/silent", "/head", "/body"] {
        let source = source_with(&server.url(path), |it| {
            it.timeout = Duration::from_millis(200);
        });
        let before = crate::clock::monotonic();
        assert_eq!(
            told(&source, &[&server]),
            format!(
                "http://HERE{path}: did not arrive within 200 ms: is the server slow, or is there \
                 no way to it? `timeout` of its [[source]] allows more"
            )
        );
        let took = crate::clock::monotonic() - before;
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let server = Server::new(|path, stream| {
        let to = |location: &str| answer("302 Found", &[&format!("Location: {location}")], "");
        let text = match path {
            "/once" => to("/a/twice?sig=hunter22"),
            "/a/twice?sig=hunter22" => to("../jobs.json"),
            "/jobs.json" => ok(&[], ONE),
            "/circle" => to("/round"),
            "/round" => to("/circle"),
            "/file" => to("file:///etc/passwd"),
            "/nowhere" => answer("301 Moved Permanently", &[], ""),
            "/missing" => to("/gone?sig=hunter22"),
            "/gone?sig=hunter22" => answer("410 Gone", &[], ""),
            other => to(&format!("{other}x")),
        };
        let _ = stream.write_all(text.as_bytes());
    });
    let at = |path: &str| source_with(&server.url(path), |_| {});
    assert_eq!(read(&at("/once")), ("a".into(), false));
    let paths = ["/circle", "/far", "/file", "/nowhere", "/missing"];
    let said = paths.map(|path| told(&at(path), &[&server]));
    insta::assert_snapshot!(said.join("\n"), @r#"
    http://HERE/circle: is redirected in a circle: http://HERE/circle to http://HERE/round to http://HERE/circle: that is for whoever runs the server to mend; is the URL right?
    http://HERE/far: is redirected more than 5 times, at last to http://HERE/farxxxxxx: name the URL that it ends at
    http://HERE/file: is redirected to where it cannot be followed: no file is spoken here: that is for whoever runs the server to mend; is the URL right?
    http://HERE/nowhere: is redirected without being told where to: that is for whoever runs the server to mend; is the URL right?
    http://HERE/missing: is answered with 410 Gone, redirected to http://HERE/gone?…: is the URL right?
    "#);
}

#[test]
fn the_token_goes_to_its_own_origin_alone() {
    let there = Server::of(&[ok(&[], ONE)]);
    let away = there.url("/jobs.json");
    let here = Server::new(move |path, stream| {
        let text = match path {
            "/away" => answer(
                "307 Temporary Redirect",
                &[&format!("Location: {away}")],
                "",
            ),
            "/near" => answer("308 Permanent Redirect", &["Location: /jobs.json"], ""),
            _ => ok(&[], ONE),
        };
        let _ = stream.write_all(text.as_bytes());
    });
    let sent = Some("Bearer s3cr3t-t0ken");
    let (source, dir) = with_token(&here.url("/away"), "s3cr3t-t0ken\n");
    read(&source);
    assert_eq!(here.next().header("authorization"), sent);
    assert_eq!(there.next().header("authorization"), None);

    let (near, _dir) = with_token(&here.url("/near"), "s3cr3t-t0ken");
    read(&near);
    assert_eq!(here.next().header("authorization"), sent);
    assert_eq!(here.next().header("authorization"), sent);

    // Asked for anew at each reading.
    std::fs::write(dir.path().join("central-token"), "an0ther-t0ken").unwrap();
    read(&source);
    assert_eq!(
        here.next().header("authorization"),
        Some("Bearer an0ther-t0ken")
    );
}

#[test]
fn the_token_is_never_told() {
    const TOKEN: &str = "s3cr3t-t0ken";
    let echo = format!("[{{\"id\": \"{TOKEN}\", 7}}]");
    let lost = format!("Location: https://{TOKEN}@example.com/");
    let answers = [
        answer("401 Unauthorized", &["WWW-Authenticate: Bearer"], TOKEN),
        answer("404 Not Found", &[], TOKEN),
        ok(&[], &echo),
        answer("302 Found", &[&lost], ""),
        format!("HTTP/1.1 200 {TOKEN}\r\nContent-Length: 900\r\n\r\n{TOKEN}"),
        format!("{TOKEN}\r\n\r\n"),
    ];
    let mut said = Vec::new();
    for answer in &answers {
        let server = Server::of(std::slice::from_ref(answer));
        let (source, _dir) = with_token(&server.url("/jobs.json"), TOKEN);
        let error = source.read().unwrap_err();
        let drawn: Vec<_> = error.problems().iter().map(|it| it.render(false)).collect();
        let all = format!("{error} {} {error:?} {source:?}", drawn.join("\n"));
        assert!(!all.contains(TOKEN), "{all}");
        said.push(told(&source, &[&server]));
        assert_eq!(
            server.next().header("authorization"),
            Some("Bearer s3cr3t-t0ken")
        );
    }
    // And one that cannot be sent.
    let server = Server::of(&[ok(&[], ONE)]);
    let (source, dir) = with_token(&server.url("/jobs.json"), "s3cr3t\nt0ken");
    said.push(told(&source, &[&server]));
    std::fs::remove_file(dir.path().join("central-token")).unwrap();
    let missing = told(&source, &[&server]);
    said.push(missing.replace(&dir.path().display().to_string(), "DIR"));
    assert!(server.asked.try_recv().is_err());
    let said = said.join("\n");
    assert!(
        !said.contains("s3cr3t") && !said.contains("t0ken"),
        "{said}"
    );
    insta::assert_snapshot!(said, @r#"
    http://HERE/jobs.json: is answered with 401 Unauthorized: the token is not accepted: is the secret the right one, and still valid?
    http://HERE/jobs.json: is answered with 404 Not Found: is the URL right, and may the token read it?
    http://HERE/jobs.json: holds the token that it is asked for with: a job file is no place for it: it is shown in errors, and kept
    http://HERE/jobs.json: is redirected to where it cannot be followed: a user or a password in a URL would be told in errors and logs: that is for whoever runs the server to mend; is the URL right?
    http://HERE/jobs.json: is cut off before its end: the server, or what is before it, closed the connection; what is in service stays
    http://HERE/jobs.json: is answered with something that is not HTTP: invalid HTTP version: is HERE a web server, and is it http:// or https://?
    http://HERE/jobs.json: is not asked for: the secret "central-token" is no bearer token: a token is one line of plain characters
    http://HERE/jobs.json: is not asked for: there is no secret "central-token": there is no DIR/central-token; create the file DIR/central-token: the token of this source is that secret
    "#);
}

/// A certificate of the tests, or several.
fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes());
    found.map(Result::unwrap).collect()
}

#[test]
fn only_a_server_that_the_system_trusts_is_believed() {
    const AUTHORITY: &str = include_str!("../../../../tests/tls/authority.pem");
    const STRANGER: &str = include_str!("../../../../tests/tls/stranger.pem");
    const SERVER: &str = include_str!("../../../../tests/tls/server.pem");
    const KEY: &str = include_str!("../../../../tests/tls/server.key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            certificates(SERVER),
            PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let mut lines = BufReader::new(&mut stream).lines();
            let Some(Ok(first)) = lines.next() else {
                continue;
            };
            drop(lines.find(|line| line.as_ref().map_or(true, String::is_empty)));
            let text = match first.contains("/open") {
                true => answer("302 Found", &["Location: http://localhost:1/"], ""),
                false => ok(&[], ONE),
            };
            let _ = stream.write_all(text.as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    let at = |host: &str, path: &str, authority: &str| HttpSource {
        fetcher: Fetcher::trusting(&certificates(authority)),
        ..source_with(&format!("https://{host}:{port}{path}"), |_| {})
    };
    assert_eq!(read(&at("localhost", "/", AUTHORITY)), ("a".into(), false));
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain_port = plain.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let mut said = vec![
        told(&at("localhost", "/", STRANGER), &[]),
        told(&at("127.0.0.1", "/", AUTHORITY), &[]),
        told(&at("localhost", "/open", AUTHORITY), &[]),
    ];
    let not_tls = HttpSource {
        fetcher: Fetcher::trusting(&certificates(AUTHORITY)),
        ..source_with(&format!("https://localhost:{plain_port}/"), |_| {})
    };
    said.push(told(&not_tls, &[]));
    for said in &mut said {
        *said = said.replace(&port.to_string(), "PORT");
        *said = said.replace(&plain_port.to_string(), "PLAIN");
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    https://localhost:PORT/: cannot be reached: the certificate of localhost is of an authority that this machine does not trust: install the authority's certificate, or name a file with it in SSL_CERT_FILE
    https://127.0.0.1:PORT/: cannot be reached: the certificate of 127.0.0.1 is not for this name: is the name in the URL right?
    https://localhost:PORT/open: is redirected to http://localhost:1/, where anybody on the way could change it: name that URL if it is what you want
    https://localhost:PLAIN/: cannot be reached: localhost:PLAIN does not speak TLS: should it be http:// instead of https://, or another port?
    "#);
}

#[test]
fn a_source_of_the_configuration_has_the_name_and_the_pace_that_it_says() {
    let server = Server::of(&[ok(&[], ONE), answer("500 Internal Server Error", &[], "")]);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("local.json"), TWO).unwrap();
    let text = format!(
        "[[source]]\nname = \"central\"\nhttp = \"{}\"\nrefresh = \"1m\"\n\
         [[source]]\nname = \"local\"\nfile = \"local.json\"\nrefresh = \"2m\"\nallow_mass_removal = true\n\
         [[source]]\nname = \"rest\"\ndirectory = \".\"\n",
        server.url("/jobs.json")
    );
    let text = Arc::new(SourceText::new("quarterjack.toml", text));
    let policy = Arc::new(Policy::parse(&text, dir.path()).unwrap());
    let sources = super::super::open(&[], Path::new("no/such/plugins"), &policy);
    let minutes = |count: u64| Some(Duration::from_secs(60 * count));
    let told: Vec<_> = sources
        .iter()
        .map(|it| {
            (
                it.name(),
                it.pace(),
                it.is_remote(),
                it.allows_mass_removal(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("central", minutes(1), true, false),
            ("local", minutes(2), false, true),
            ("rest", None, false, false),
        ]
    );
    let first = sources[0].read().unwrap();
    // What was kept of it is what it said.
    let kept = sources[0].restore(&[manifest(&first).source.clone()]);
    assert_eq!(manifest(&kept).jobs().next().unwrap().id.as_str(), "a");
    let stranger = Arc::new(SourceText::new("elsewhere", ONE));
    assert!(sources[0].restore(&[stranger]).documents.is_empty());
    sources[0].read().unwrap_err();
    assert!(sources[0].pace() > minutes(1));
    for source in &sources[1..] {
        let snapshot = source.read().unwrap();
        assert_eq!(manifest(&snapshot).jobs().next().unwrap().id.as_str(), "b");
    }
}
