//! Sources over a PostgreSQL server: a real one where one is installed, and what is none.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use tokio_postgres::NoTls;

use super::*;
use crate::secret;

/// How long what is told at once may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn settings(url: String, query: &str) -> SqlSettings {
    SqlSettings {
        name: "jobs-pg".into(),
        url,
        query: query.into(),
        password: None,
        channel: None,
        refresh: None,
        base: PathBuf::new(),
    }
}

fn open(settings: SqlSettings) -> SqlSource {
    SqlSource::new(settings, Arc::default(), Arc::default()).unwrap()
}

fn hurried(mut source: SqlSource, patience: Duration) -> SqlSource {
    let remote = source.remote.as_mut().unwrap();
    Arc::get_mut(&mut remote.server).unwrap().hurry(patience);
    source
}

fn told(source: &SqlSource) -> String {
    source.read().unwrap_err().to_string()
}

/// A server of its own, that listens in a directory of its own.
struct Server {
    dir: tempfile::TempDir,
    process: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.process.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        }
        let _ = self.process.wait();
    }
}

/// The newest of Debian's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.flatten().map(|entry| entry.path().join("bin"));
    programs.filter(|it| it.join("initdb").exists()).max()
}

/// PostgreSQL does not run as root: then this is nobody.
fn as_somebody(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).env("LC_ALL", "C.UTF-8");
    if rustix::process::getuid().is_root() {
        command.uid(65534).gid(65534);
    }
    command
}

/// Starts a server; nothing if somebody has the port.
fn run(programs: &Path, dir: &Path, port: u16, ssl: bool) -> Option<Child> {
    let mut command = as_somebody(&programs.join("postgres"), dir);
    command
        .args([
            "-D",
            "data",
            "-c",
            "fsync=off",
            "-c",
            "log_min_messages=log",
        ])
        .args(["-c", "listen_addresses=127.0.0.1", "-p", &port.to_string()])
        .arg("-k")
        .arg(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if ssl {
        let file = |name: &str| dir.join(name).display().to_string();
        command.args(["-c", "ssl=on"]);
        command.args(["-c", &format!("ssl_cert_file={}", file("server.crt"))]);
        command.args(["-c", &format!("ssl_key_file={}", file("server.key"))]);
    }
    let mut process = command.spawn().unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    while let Some(Ok(line)) = log.next() {
        if line.contains("ready to accept connections") {
            // It would stop where nobody reads what it says.
            std::thread::spawn(move || log.for_each(drop));
            return Some(process);
        }
        said.push(line);
    }
    process.wait().unwrap();
    let taken = said.iter().any(|line| line.contains("could not bind"));
    assert!(taken, "no server: {said:?}");
    None
}

impl Server {
    /// Nothing where PostgreSQL is not installed, which is said.
    fn start() -> Option<Server> {
        let Some(programs) = programs() else {
            eprintln!("SKIPPED: there is no PostgreSQL in /usr/lib/postgresql");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let certificate = Command::new("openssl")
            .args("req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost".split(' '))
            .args(["-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "server.key", "-out", "server.crt"])
            .current_dir(dir.path())
            .output();
        let ssl = certificate.is_ok_and(|it| it.status.success());
        if !ssl {
            eprintln!("SKIPPED: TLS, because openssl cannot make a certificate");
        }
        if rustix::process::getuid().is_root() {
            let own = |path: &Path| std::os::unix::fs::chown(path, Some(65534), Some(65534));
            own(dir.path()).unwrap();
            let files = std::fs::read_dir(dir.path()).unwrap().flatten();
            files.for_each(|file| own(&file.path()).unwrap());
        }
        let made = as_somebody(&programs.join("initdb"), dir.path())
            .args(["-D", "data", "-U", "postgres", "-A", "trust", "--no-sync"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let rules = "local all locked scram-sha-256\nhost all barred all reject\n\
            host all locked all scram-sha-256\nlocal all all trust\nhost all all all trust\n";
        std::fs::write(dir.path().join("data/pg_hba.conf"), rules).unwrap();
        // Below those that systems give to whoever asks for any.
        let attempt = |_| {
            let port = fastrand::u16(20_000..32_000);
            Some((run(&programs, dir.path(), port, ssl)?, port))
        };
        let (process, port) = (0..10).find_map(attempt).unwrap();
        let server = Server { dir, process, port };
        server.run(
            "CREATE TABLE jobs (id text PRIMARY KEY, component text NOT NULL, trigger text,
               enabled boolean, params jsonb, args text[], version bigint, definition json);
             CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN NOTIFY quarterjack_jobs; RETURN NULL; END $$;
             CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON jobs
               FOR EACH STATEMENT EXECUTE FUNCTION tell();
             CREATE USER reader; GRANT SELECT ON jobs TO reader;
             CREATE USER stranger; CREATE USER barred;
             CREATE USER locked PASSWORD 'open sesame'; GRANT SELECT ON jobs TO locked;",
        );
        Some(server)
    }

    fn tls(&self) -> bool {
        self.dir.path().join("server.crt").exists()
    }

    /// By the socket.
    fn url(&self, user: &str) -> String {
        let dir = self.dir.path().display().to_string().replace('/', "%2F");
        format!("postgres://{user}@{dir}:{}/postgres", self.port)
    }

    fn source(&self, query: &str) -> SqlSource {
        open(settings(self.url("reader"), query))
    }

    fn run(&self, sql: &str) {
        let config = self.url("postgres").parse::<tokio_postgres::Config>();
        let config = config.unwrap();
        super::super::postgres::block_on(async {
            let (client, connection) = config.connect(NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(sql).await.unwrap();
        })
        .unwrap();
    }

    fn told(&self, source: &SqlSource) -> String {
        let dir = self.dir.path().display().to_string();
        let text = told(source).replace(&dir, "DIR");
        let text = text.replace(&dir.replace('/', "%2F"), "DIR");
        text.replace(&self.port.to_string(), "PORT")
    }
}

const COLUMNS: &str =
    "SELECT id, component, trigger, enabled, params, args, version FROM jobs ORDER BY id";

#[test]
fn a_server_is_read_and_followed() {
    let Some(server) = Server::start() else {
        return;
    };
    rows_of_all_types_are_jobs(&server);
    changes_are_told_of_at_once(&server);
    what_is_wrong_with_a_query_is_told(&server);
    nothing_is_written(&server);
    passwords_are_secrets(&server);
    if server.tls() {
        tls_is_checked(&server);
    }
    a_hundred_thousand_rows_are_read(&server);
}

fn rows_of_all_types_are_jobs(server: &Server) {
    server.run(
        "INSERT INTO jobs VALUES
           ('b', 'a.wasm', '@hourly', false, '{\"n\": 12345678901234567890.5}', '{-v,\"a b\"}', 3),
           ('a', 'a.wasm', '{\"interval\": \"5s\"}', NULL, '\"text\"', NULL, NULL),
           ('c', 'a.wasm', '@hurly', NULL, NULL, NULL, NULL)",
    );
    let source = server.source(COLUMNS);
    assert!(source.is_remote());
    let snapshot = source.read().unwrap();
    assert_eq!(ids(&snapshot), "a b");
    insta::assert_snapshot!(manifest(&snapshot).problems()[0], @"jobs-pg: row 3, `trigger`: no such macro: `@hurly`: a macro is @yearly, @monthly, @weekly, @daily, @hourly, @every, @reboot or @manually; did you mean `@hourly`?");
    let jobs: Vec<_> = manifest(&snapshot).jobs().collect();
    assert_eq!(jobs[0].params.as_deref(), Some("\"text\""));
    assert_eq!(
        jobs[1].params.as_deref(),
        Some("{\"n\":12345678901234567890.5}")
    );
    assert!(jobs[0].enabled && !jobs[1].enabled);
    assert_eq!(*jobs[1].args, ["-v".to_owned(), "a b".to_owned()]);
    assert_eq!(jobs[1].version, Some(3));
    assert!(source.read().unwrap().unchanged);
    // Whole definitions, as text, in either kind of JSON, and made by the query.
    server.run(
        "UPDATE jobs SET definition = json_build_object('id', id, 'component', component,
           'trigger', E'@daily')",
    );
    for query in [
        "SELECT definition FROM jobs ORDER BY id -- all of them",
        "SELECT definition::jsonb FROM jobs ORDER BY id;",
        "SELECT definition::text AS d FROM jobs ORDER BY id",
        "WITH all_of_them AS (TABLE jobs) SELECT definition FROM all_of_them ORDER BY id",
        "VALUES ('{\"id\": \"a\", \"component\": \"a.wasm\", \"trigger\": \"@daily\"}'),
           ('{\"id\": \"b\", \"component\": \"a.wasm\", \"trigger\": \"@daily\"}'),
           ('{\"id\": \"c\", \"component\": \"a.wasm\", \"trigger\": \"@daily\"}')",
    ] {
        assert_eq!(
            ids(&server.source(query).read().unwrap()),
            "a b c",
            "{query}"
        );
    }
    server.run("DELETE FROM jobs");
    let none = source.read().unwrap();
    assert!(!none.unchanged && manifest(&none).entries.is_empty());
}

fn changes_are_told_of_at_once(server: &Server) {
    let source = server.source(COLUMNS);
    // From the moment when it listens: there may have been changes before.
    assert!(source.wait(SOON));
    assert_eq!(ids(&source.read().unwrap()), "");
    assert!(!source.wait(Duration::ZERO));
    let follow = |sql: &str| {
        server.run(sql);
        assert!(source.wait(SOON), "{sql}");
        let snapshot = source.read().unwrap();
        assert!(!snapshot.unchanged, "{sql}");
        snapshot
    };
    let first = follow("INSERT INTO jobs VALUES ('a', 'a.wasm', '@hourly')");
    assert_eq!(ids(&first), "a");
    let second = follow("INSERT INTO jobs VALUES ('b', 'a.wasm', '@hourly')");
    assert_eq!(ids(&second), "a b");
    let third = follow("UPDATE jobs SET enabled = false WHERE id = 'b'");
    assert!(!manifest(&third).jobs().nth(1).unwrap().enabled);
    assert_eq!(ids(&follow("DELETE FROM jobs WHERE id = 'a'")), "b");
    assert_eq!(ids(&follow("TRUNCATE jobs")), "");
    // What is rolled back is no change, and nobody is told.
    server.run("BEGIN; INSERT INTO jobs VALUES ('x', 'a.wasm', '@hourly'); ROLLBACK");
    assert!(!source.wait(Duration::ZERO));
    // A connection that breaks is made again; what happened meanwhile is found.
    let again = follow(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%';
         ALTER TABLE jobs DISABLE TRIGGER tell;
         INSERT INTO jobs VALUES ('c', 'a.wasm', '@hourly');
         ALTER TABLE jobs ENABLE TRIGGER tell",
    );
    assert_eq!(ids(&again), "c");
    assert_eq!(
        ids(&follow(
            "INSERT INTO jobs VALUES ('d', 'a.wasm', '@hourly')"
        )),
        "c d"
    );
    // Another channel.
    let other = open(SqlSettings {
        channel: Some("Other \"jobs\"".into()),
        ..settings(server.url("reader"), COLUMNS)
    });
    assert!(other.wait(SOON));
    server.run("NOTIFY \"Other \"\"jobs\"\"\"");
    assert!(other.wait(SOON));
}

fn what_is_wrong_with_a_query_is_told(server: &Server) {
    let mut all = Vec::new();
    for query in [
        "SELECT definition FROM jobz",
        "SELECT 'ä', id, componnent FROM jobs",
        "SELECT id, component AS componnent, trigger FROM jobs",
        "SELECT id, id, trigger FROM jobs",
        "SELECTT 1",
        "SELECT definition FROM jobs; SELECT 1",
        "SELECT 1; -- done",
        "SELECT definition FROM jobs) AS x, (SELECT 1",
        "-- nothing",
        "SELECT (1 / (count(*) - count(*)))::text AS definition FROM jobs",
        "SELECT rolpassword FROM pg_authid",
        "SHOW work_mem",
        "LISTEN x",
    ] {
        all.push(server.told(&server.source(query)));
    }
    let slow = server.source("SELECT pg_sleep(600)::text AS definition");
    all.push(server.told(&hurried(slow, Duration::from_millis(300))));
    all.push(server.told(&open(settings(server.url("nobody_here"), COLUMNS))));
    let mut url = server.url("reader");
    url.truncate(url.len() - "postgres".len());
    all.push(server.told(&open(settings(format!("{url}nothing"), COLUMNS))));
    all.push(server.told(&open(settings(server.url("stranger"), COLUMNS))));
    let tcp = format!("postgres://barred@127.0.0.1:{}/postgres", server.port);
    all.push(server.told(&open(settings(tcp, COLUMNS))));
    insta::assert_snapshot!(all.join("\n"), @r#"
    jobs-pg (query):1:24: relation "jobz" does not exist: asked of postgres://reader@DIR:PORT/postgres
    jobs-pg (query):1:17: column "componnent" does not exist: Perhaps you meant to reference the column "jobs.component".; asked of postgres://reader@DIR:PORT/postgres
    jobs-pg: postgres://reader@DIR:PORT/postgres: the query yields a column `componnent`, which no job has: did you mean `component`? AS gives a column another name
    jobs-pg: postgres://reader@DIR:PORT/postgres: the query yields two columns `id`: leave one of them out, or name it with AS
    jobs-pg (query):1:1: syntax error at or near "SELECTT": asked of postgres://reader@DIR:PORT/postgres
    jobs-pg (query):1:1: cannot insert multiple commands into a prepared statement: asked of postgres://reader@DIR:PORT/postgres
    jobs-pg (query):1:1: the query is not one that only reads: it has to be one SELECT, WITH, VALUES or TABLE; asked of postgres://reader@DIR:PORT/postgres
    jobs-pg (query):1:28: syntax error at or near ")": asked of postgres://reader@DIR:PORT/postgres
    jobs-pg: postgres://reader@DIR:PORT/postgres: the query yields no columns: it has to be a SELECT
    jobs-pg (query):1:1: division by zero: asked of postgres://reader@DIR:PORT/postgres
    jobs-pg (query):1:1: permission denied for table pg_authid: GRANT SELECT ON the tables of the query TO its user; asked of postgres://reader@DIR:PORT/postgres
    jobs-pg (query):1:1: the query is not one that only reads: it has to be one SELECT, WITH, VALUES or TABLE; asked of postgres://reader@DIR:PORT/postgres
    jobs-pg: postgres://reader@DIR:PORT/postgres: the query yields no columns: it has to be a SELECT
    jobs-pg (query):1:1: canceling statement due to statement timeout: does it lack an index, or wait for a lock?; asked of postgres://reader@DIR:PORT/postgres
    jobs-pg: postgres://nobody_here@DIR:PORT/postgres: role "nobody_here" does not exist: the server's pg_hba.conf says who may connect from where, and how
    jobs-pg: postgres://reader@DIR:PORT/nothing: database "nothing" does not exist: the URL ends with the name of the database
    jobs-pg (query):1:1: permission denied for table jobs: GRANT SELECT ON the tables of the query TO its user; asked of postgres://stranger@DIR:PORT/postgres
    jobs-pg: postgres://barred@127.0.0.1:PORT/postgres: pg_hba.conf rejects connection for host "127.0.0.1", user "barred", database "postgres", no encryption: the server's pg_hba.conf says who may connect from where, and how
    "#);
}

fn nothing_is_written(server: &Server) {
    server.run(
        "DELETE FROM jobs; INSERT INTO jobs VALUES ('a', 'a.wasm', '@hourly');
        CREATE SEQUENCE counter; CREATE FUNCTION sly() RETURNS text LANGUAGE sql AS
        $$ DELETE FROM jobs; SELECT 'x'::text $$",
    );
    let mut all = Vec::new();
    for query in [
        "DELETE FROM jobs RETURNING definition",
        "WITH x AS (DELETE FROM jobs RETURNING definition) SELECT definition FROM x",
        "SELECT sly() AS definition",
        "SELECT nextval('counter')::text AS definition",
        "COMMIT",
        "CREATE TABLE x (y text)",
        "SELECT * INTO x FROM jobs",
    ] {
        let owner = open(settings(server.url("postgres"), query));
        all.push(server.told(&owner));
    }
    insta::assert_snapshot!(all.join("\n"), @"
    jobs-pg (query):1:1: the query is not one that only reads: it has to be one SELECT, WITH, VALUES or TABLE; asked of postgres://postgres@DIR:PORT/postgres
    jobs-pg (query):1:6: WITH clause containing a data-modifying statement must be at the top level: asked of postgres://postgres@DIR:PORT/postgres
    jobs-pg (query):1:1: cannot execute DELETE in a read-only transaction: it has to be a SELECT; nothing was written; asked of postgres://postgres@DIR:PORT/postgres
    jobs-pg (query):1:1: cannot execute nextval() in a read-only transaction: it has to be a SELECT; nothing was written; asked of postgres://postgres@DIR:PORT/postgres
    jobs-pg: postgres://postgres@DIR:PORT/postgres: the query yields no columns: it has to be a SELECT
    jobs-pg: postgres://postgres@DIR:PORT/postgres: the query yields no columns: it has to be a SELECT
    jobs-pg: postgres://postgres@DIR:PORT/postgres: the query yields no columns: it has to be a SELECT
    ");
    assert_eq!(ids(&server.source(COLUMNS).read().unwrap()), "a");
}

fn passwords_are_secrets(server: &Server) {
    let dir = tempfile::tempdir().unwrap();
    let secrets = secret::Settings {
        dir: Some(dir.path().to_owned()),
        order: vec![secret::Provider::Directory],
        ..secret::Settings::default()
    };
    let secrets = Arc::new(Providers::new(secrets));
    let with = |password: Option<&str>| {
        let settings = SqlSettings {
            password: password.map(String::from),
            ..settings(server.url("locked"), COLUMNS)
        };
        SqlSource::new(settings, Arc::default(), secrets.clone()).unwrap()
    };
    let source = with(Some("db"));
    let told = server.told(&source);
    assert!(told.contains("there is no secret \"db\""), "{told}");
    std::fs::write(dir.path().join("db"), "opun sesame\n").unwrap();
    let told = server.told(&source);
    assert!(!told.contains("sesame"), "{told}");
    insta::assert_snapshot!(told, @r#"jobs-pg: postgres://locked@DIR:PORT/postgres: password authentication failed for user "locked": the secret `db` has another password than the server"#);
    insta::assert_snapshot!(server.told(&with(None)), @"jobs-pg: postgres://locked@DIR:PORT/postgres: password missing: the server asks for a password: name a secret that holds it in `password`");
    // Asked for anew.
    std::fs::write(dir.path().join("db"), "open sesame\n").unwrap();
    assert_eq!(ids(&source.read().unwrap()), "a");
    assert!(source.wait(SOON));
    assert!(!format!("{source:?}").contains("sesame"));
}

fn tls_is_checked(server: &Server) {
    let with = |host: &str, rest: &str| {
        let url = format!("postgres://reader@{host}:{}/postgres{rest}", server.port);
        SqlSettings {
            base: server.dir.path().to_owned(),
            ..settings(url, COLUMNS)
        }
    };
    let trusting = "?sslmode=verify-full&sslrootcert=server.crt";
    for settings in [
        with("localhost", trusting),
        with("localhost", "?sslmode=prefer&sslrootcert=server.crt"),
        // Nobody listens in on what stays on this machine.
        with("127.0.0.1", ""),
        with("localhost", "?sslmode=disable"),
    ] {
        assert_eq!(ids(&open(settings).read().unwrap()), "a");
    }
    let query =
        "SELECT 'is', ssl::text AS definition FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let encrypted = |settings: SqlSettings| {
        let query = query.replace("'is', ", "");
        let source = open(SqlSettings { query, ..settings });
        manifest(&source.read().unwrap()).source.text().to_owned()
    };
    assert_eq!(encrypted(with("localhost", trusting)), "[true]\n");
    assert_eq!(encrypted(with("localhost", "")), "[false]\n");
    let mut all = Vec::new();
    for settings in [
        with("127.0.0.1", trusting),
        with("localhost", "?sslmode=require&sslrootcert=no.crt"),
        with("localhost", "?sslmode=require&sslrootcert=server.key"),
    ] {
        all.push(server.told(&open(settings)));
    }
    insta::assert_snapshot!(all.join("\n"), @r#"
    jobs-pg: postgres://reader@127.0.0.1:PORT/postgres: no TLS with the server: invalid peer certificate: certificate not valid for name "127.0.0.1"; certificate is only valid for DnsName("localhost"): the host's name in the URL has to be one of the certificate's
    jobs-pg: postgres://reader@localhost:PORT/postgres: no TLS: the certificates of DIR/no.crt: I/O error: No such file or directory (os error 2): `sslmode=disable` is for a network that nobody listens in on
    jobs-pg: postgres://reader@localhost:PORT/postgres: no TLS: there are no certificates in DIR/server.key: install the system's CA certificates, or name a file of them with `sslrootcert` in the URL: `sslmode=disable` is for a network that nobody listens in on
    "#);
    // Whom this machine trusts, it is not; and it may trust nobody at all.
    let told = server.told(&open(with("localhost", "?sslmode=require")));
    assert!(
        told.contains("no TLS") && told.contains("sslrootcert"),
        "{told}"
    );
}

fn a_hundred_thousand_rows_are_read(server: &Server) {
    server.run(
        "INSERT INTO jobs (id, component, trigger, params)
         SELECT 'job-' || lpad(n::text, 6, '0'), 'a.wasm', '*/5 * * * *', jsonb_build_object('n', n)
         FROM generate_series(1, 99999) n",
    );
    // A busy machine is given the time for it.
    let source = hurried(server.source(COLUMNS), Duration::from_secs(300));
    let start = clock::monotonic();
    let first = source.read().unwrap();
    println!("100 000 rows: {:?}", start.elapsed());
    assert_eq!(manifest(&first).jobs().count(), 100_000);
    assert!(source.read().unwrap().unchanged);
    server.run("UPDATE jobs SET enabled = false WHERE id = 'job-050000'");
    assert!(!source.read().unwrap().unchanged);
}

/// A server that is none, which says this to each who comes, or nothing and waits.
fn impostor(says: Option<&'static [u8]>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = move |mut stream: TcpStream| {
        let mut heard = [0; 8];
        let _ = stream.read(&mut heard);
        match says {
            Some(bytes) => drop(stream.write_all(bytes)),
            // Until the other side has gone.
            None => drop(stream.read_to_end(&mut Vec::new())),
        }
    };
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
    port
}

#[test]
fn what_is_no_server_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = |port: u16, rest: &str| {
        settings(
            format!("postgres://me@127.0.0.1:{port}/x{rest}"),
            "SELECT 1",
        )
    };
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = free.local_addr().unwrap().port();
    drop(free);
    let mut all = Vec::new();
    let mut tell = |settings: SqlSettings| {
        let port = settings.url.rsplit(':').next().unwrap().split('/').next();
        let port = port.unwrap().to_owned();
        let source = hurried(open(settings), Duration::from_millis(500));
        let told = told(&source).replace(&port, "PORT");
        let dir = dir.path().display().to_string().replace('/', "%2F");
        all.push(told.replace(&dir, "DIR"));
    };
    tell(at(closed, ""));
    tell(at(impostor(None), ""));
    tell(at(impostor(Some(b"")), ""));
    tell(at(impostor(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n")), ""));
    tell(at(
        impostor(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        "?sslmode=require",
    ));
    let socket = dir.path().display().to_string().replace('/', "%2F");
    tell(settings(
        format!("postgres://me@{socket}:5432/x"),
        "SELECT 1",
    ));
    insta::assert_snapshot!(all.join("\n"), @"
    jobs-pg: postgres://me@127.0.0.1:PORT/x: connection refused: is the server running, and does it listen there?
    jobs-pg: postgres://me@127.0.0.1:PORT/x: the server does not answer: 500 ms are over: is it busy, or does something between here and there swallow what is sent?
    jobs-pg: postgres://me@127.0.0.1:PORT/x: the server has closed the connection: is it being restarted, and is it a PostgreSQL server?
    jobs-pg: postgres://me@127.0.0.1:PORT/x: the server has closed the connection: is it being restarted, and is it a PostgreSQL server?
    jobs-pg: postgres://me@127.0.0.1:PORT/x: server does not support TLS: `sslmode=disable` in the URL is for a network that nobody listens in on
    jobs-pg: postgres://me@DIR:PORT/x: there is no such socket: is the server running, and is its socket in this directory?
    ");
}

#[test]
fn urls_that_no_server_has_are_refused() {
    let told = |url: &str| {
        let error = SqlSource::new(
            settings(url.into(), "SELECT 1"),
            Arc::default(),
            Arc::default(),
        );
        error.unwrap_err().to_string()
    };
    let all = [
        told("postgres://me@db:port/x"),
        told("postgres://me@db/x?nonsense=1"),
    ];
    insta::assert_snapshot!(all.join("\n"), @"
    the URL cannot be used: invalid value for option `port`: such as postgres://user@host:5432/database?sslmode=require
    the URL cannot be used: unknown option `nonsense`: such as postgres://user@host:5432/database?sslmode=require
    ");
    let error = SqlSource::new(
        SqlSettings {
            channel: Some("x".repeat(64)),
            ..settings("postgres://me@db/x".into(), "SELECT 1")
        },
        Arc::default(),
        Arc::default(),
    );
    assert_eq!(error.unwrap_err().key, "channel");
}
