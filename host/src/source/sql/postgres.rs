//! A query of a PostgreSQL server, in a transaction that only reads.

use std::collections::HashMap;
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio_postgres::config::{Host, SslMode as LibrarySslMode};
use tokio_postgres::error::{ErrorPosition, SqlState};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, Connection, Error, Socket};

use super::rows::{Builder, Cell, Columns, Listing, MAX_ROWS};
use super::tls::{self, Tls};
use super::url::{PostgresUrl, SslMode};
use super::{Failure, PATIENCE, SqlSettingError};
use crate::secret::Providers;
use crate::units::format_duration_exact;

/// Where servers of this machine listen, unless the URL says where.
const SOCKETS: &str = "/run/postgresql";

/// A database of a server.
pub(super) struct Server {
    /// All but the password.
    config: Config,
    /// The file of those whom it trusts, or nothing for whom this machine trusts.
    trusted: Option<PathBuf>,
    /// The name of the secret that is the password.
    password: Option<String>,
    secrets: Arc<Providers>,
    patience: Duration,
}

/// A connection before it is driven.
pub(super) type Link = Connection<Socket, tls::Stream>;

impl Server {
    /// The server of a URL; relative paths in it are relative to `base`.
    ///
    /// # Errors
    /// If the URL is none that the library takes.
    pub(super) fn new(
        url: &PostgresUrl,
        base: &Path,
        password: Option<String>,
        secrets: Arc<Providers>,
    ) -> Result<Self, SqlSettingError> {
        let mut config: Config = url.library.parse().map_err(|error: Error| {
            let why = match error.source() {
                Some(why) => why.to_string(),
                None => error.to_string(),
            };
            let advice = "such as postgres://user@host:5432/database?sslmode=require";
            SqlSettingError::new("url", format!("the URL cannot be used: {why}"), advice)
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host_path(SOCKETS);
        }
        config.ssl_mode(match url.sslmode {
            Some(SslMode::Disable) => LibrarySslMode::Disable,
            Some(SslMode::Prefer) => LibrarySslMode::Prefer,
            Some(SslMode::Require) => LibrarySslMode::Require,
            // Nobody listens in on what stays on this machine.
            None if config.get_hosts().iter().all(is_here) => LibrarySslMode::Disable,
            None => LibrarySslMode::Require,
        });
        if config.get_application_name().is_none() {
            config.application_name("quarterjack");
        }
        // A server that is gone without a word is noticed within a minute.
        config.keepalives_idle(Duration::from_secs(30));
        config.keepalives_interval(Duration::from_secs(10));
        config.keepalives_retries(3);
        Ok(Server {
            config,
            trusted: url.sslrootcert.as_ref().map(|path| base.join(path)),
            password,
            secrets,
            patience: PATIENCE,
        })
    }

    /// Waits so long.
    #[cfg(test)]
    pub(super) fn hurry(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// What the query yields.
    pub(super) fn read(&self, query: &str) -> Result<Listing, Failure> {
        // On a thread of its own: the caller's may belong to a runtime already.
        let read = || block_on(self.select(query))?;
        let done = std::thread::scope(|scope| scope.spawn(read).join());
        done.unwrap_or_else(|_| Err(Failure::new("reading it has failed", "this is a bug")))
    }

    /// A new connection, which has to be driven. Reads files.
    pub(super) async fn connect(&self) -> Result<(Client, Link), Failure> {
        let mut config = self.config.clone();
        if let Some(name) = &self.password {
            // Anew each time: a secret may be changed while the host runs.
            let secret = self.secrets.resolve(name).map_err(|error| {
                Failure::new(
                    format!("there is no password for it: {error}"),
                    "see `password`",
                )
            })?;
            config.password(secret.reveal().trim_ascii_end());
        }
        let tls = match config.get_ssl_mode() {
            LibrarySslMode::Disable => Tls::none(),
            _ => Tls::trusting(self.trusted.as_deref()).map_err(|why| {
                let advice = "`sslmode=disable` is for a network that nobody listens in on";
                Failure::new(format!("no TLS: {why}"), advice)
            })?,
        };
        let connected = tokio::time::timeout(self.patience, config.connect(tls)).await;
        match connected {
            Ok(connected) => connected.map_err(|error| self.failure(&error, 0)),
            Err(_) => Err(self.timed_out("the server does not answer")),
        }
    }

    async fn select(&self, query: &str) -> Result<Listing, Failure> {
        let (mut client, link) = self.connect().await?;
        // Ends when the client does.
        tokio::spawn(link);
        // The server ends it earlier, if it is there at all.
        let patience = self.patience + Duration::from_secs(1);
        let asked = tokio::time::timeout(patience, self.ask(&mut client, query)).await;
        asked.unwrap_or_else(|_| Err(self.timed_out("the query took too long").at(0)))
    }

    async fn ask(&self, client: &mut Client, query: &str) -> Result<Listing, Failure> {
        let failure = |error: Error| self.failure(&error, 0);
        let transaction = client.build_transaction().read_only(true).start().await;
        let transaction = transaction.map_err(failure)?;
        // So that the server does not go on when nobody waits any more.
        let limit = format!(
            "SET LOCAL statement_timeout = {}",
            self.patience.as_millis()
        );
        transaction.batch_execute(&limit).await.map_err(failure)?;
        // As the operator wrote it: what is wrong with it is told in its own words.
        let statement = transaction
            .prepare(query)
            .await
            .map_err(|error| asked(self.failure(&error, 0), query))?;
        let names = statement.columns().iter().map(|it| it.name().to_owned());
        let names: Vec<String> = names.collect();
        let kinds: Vec<Type> = statement
            .columns()
            .iter()
            .map(|it| it.type_().clone())
            .collect();
        let mut builder = Builder::new(Columns::new(names.clone())?);
        // The server knows best how its types are written as JSON.
        let before = "SELECT row_to_json(\"q\")::text FROM (\n";
        let whole = format!("{before}{query}\n) AS \"q\" LIMIT {}", MAX_ROWS + 1);
        let statement = transaction.prepare(&whole).await.map_err(|error| {
            let failure = asked(self.failure(&error, before.len()), query);
            if error.code() == Some(&SqlState::SYNTAX_ERROR) {
                let message = "the query is not one that only reads";
                return Failure::new(message, "it has to be one SELECT, WITH, VALUES or TABLE")
                    .at(0);
            }
            failure
        })?;
        let failure = |error: Error| asked(self.failure(&error, before.len()), query);
        let none: [i32; 0] = [];
        let rows = transaction.query_raw(&statement, none).await;
        let mut rows = pin!(rows.map_err(failure)?);
        let mut cells = Vec::with_capacity(names.len());
        loop {
            use futures_core::Stream as _;
            let Some(row) = poll_fn(|context| rows.as_mut().poll_next(context)).await else {
                return Ok(builder.finish());
            };
            let row = row.map_err(failure)?;
            let text: &str = row.try_get(0).map_err(failure)?;
            let unreadable =
                |error| Failure::new(format!("the server's JSON cannot be read: {error}"), "");
            let row: HashMap<String, &RawValue> = serde_json::from_str(text).map_err(unreadable)?;
            cells.clear();
            for (name, kind) in names.iter().zip(&kinds) {
                cells.push(row.get(name).map_or(Cell::Null, |value| cell(value, kind)));
            }
            builder.push(&cells)?;
        }
    }

    fn timed_out(&self, what: &str) -> Failure {
        let advice = "is it busy, or does something between here and there swallow what is sent?";
        Failure::new(
            format!("{what}: {} are over", format_duration_exact(self.patience)),
            advice,
        )
    }

    /// What an error is to people. `before` is how many bytes stand before the operator's query
    /// in what was asked.
    pub(super) fn failure(&self, error: &Error, before: usize) -> Failure {
        let Some(said) = error.as_db_error() else {
            return self.broken(error);
        };
        let detail = said.detail().map_or(String::new(), |it| format!(" ({it})"));
        let code = said.code();
        let advice = if *code == SqlState::INVALID_PASSWORD {
            match &self.password {
                Some(name) => format!("the secret `{name}` has another password than the server"),
                None => "name a secret that holds the password in `password`".into(),
            }
        } else if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
            "the server's pg_hba.conf says who may connect from where, and how".into()
        } else if *code == SqlState::INVALID_CATALOG_NAME {
            "the URL ends with the name of the database".into()
        } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
            "GRANT SELECT ON the tables of the query TO its user".into()
        } else if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
            "it has to be a SELECT; nothing was written".into()
        } else if *code == SqlState::QUERY_CANCELED {
            "does it lack an index, or wait for a lock?".into()
        } else {
            match said.hint() {
                Some(hint) => hint.to_owned(),
                None => String::new(),
            }
        };
        let failure = Failure::new(format!("{}{detail}", said.message()), advice);
        match said.position() {
            // Counted in characters from 1; turned into bytes by `asked`.
            Some(ErrorPosition::Original(at)) => {
                failure.at((*at as usize).saturating_sub(1 + before))
            }
            _ => failure,
        }
    }

    /// What an error is that the server has not told of.
    fn broken(&self, error: &Error) -> Failure {
        let mut cause = error.source();
        let mut last = error.to_string();
        while let Some(inner) = cause {
            if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
                return tls_failure(tls);
            }
            if let Some(error) = inner.downcast_ref::<io::Error>()
                && error.get_ref().is_none()
            {
                return io_failure(error);
            }
            last = inner.to_string();
            // An I/O error says what is in it, and hides it.
            cause = match inner.downcast_ref::<io::Error>() {
                Some(error) => error.get_ref().map(|inner| inner as &dyn std::error::Error),
                None => inner.source(),
            };
        }
        let advice = match &*last {
            "password missing" => {
                "the server asks for a password: name a secret that holds it in `password`"
            }
            "server does not support TLS" => {
                "`sslmode=disable` in the URL is for a network that nobody listens in on"
            }
            _ if last.contains("lookup") => "is the host's name in the URL right?",
            _ if error.is_closed() => "is it being restarted?",
            _ => "is it a PostgreSQL server?",
        };
        Failure::new(last, advice)
    }
}

/// Runs what has to do with a server on the present thread, which belongs to no runtime.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(
                format!("cannot be asked: {error}"),
                "has the host run out of something?",
            )
        })?;
    let done = runtime.block_on(future);
    // Looking a name up cannot be cut short, only left alone.
    runtime.shutdown_background();
    Ok(done)
}

/// Whether a host is this machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
        }
    }
}

/// The same failure with its place in bytes of the query instead of characters.
fn asked(mut failure: Failure, query: &str) -> Failure {
    failure.at = failure.at.map(|at| {
        let place = query.char_indices().nth(at);
        place.map_or(query.len(), |(byte, _)| byte)
    });
    if failure.at.is_none() {
        failure.at = Some(0);
    }
    failure
}

fn io_failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::new(
            "connection refused",
            "is the server running, and does it listen there?",
        ),
        io::ErrorKind::NotFound => Failure::new(
            "there is no such socket",
            "is the server running, and is its socket in this directory?",
        ),
        io::ErrorKind::PermissionDenied => Failure::new(
            "permission denied",
            "the user that runs the host may not use the server's socket",
        ),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => Failure::new(
            "the server has closed the connection",
            "is it being restarted, and is it a PostgreSQL server?",
        ),
        _ => Failure::new(error.to_string(), "is the server reachable from here?"),
    }
}

fn tls_failure(error: &rustls::Error) -> Failure {
    use rustls::CertificateError::{self as Certificate, UnknownIssuer};
    let advice = match error {
        // A bad signature: an authority of the same name is known.
        rustls::Error::InvalidCertificate(
            UnknownIssuer | Certificate::BadSignature | Certificate::Other(_),
        ) => "name the file of the authority that signed it with `sslrootcert` in the URL",
        rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => "the host's name in the URL has to be one of the certificate's",
        rustls::Error::InvalidCertificate(_) => "the server needs another certificate",
        _ => "is there a PostgreSQL server behind it?",
    };
    Failure::new(format!("no TLS with the server: {error}"), advice)
}

/// A value as the server writes it in JSON.
fn cell(value: &RawValue, kind: &Type) -> Cell {
    let json = value.get();
    if json == "null" {
        return Cell::Null;
    }
    if *kind == Type::BYTEA {
        return Cell::Unusable("a bytea".into());
    }
    if !json.starts_with('"') || [Type::JSON, Type::JSONB].contains(kind) {
        return Cell::Json(json.into());
    }
    match serde_json::from_str(json) {
        Ok(text) => Cell::Text(text),
        Err(_) => Cell::Unusable("a text with half a character in it".into()),
    }
}
