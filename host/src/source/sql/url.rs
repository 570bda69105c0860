//! Where a database is, as the operator writes it.

use std::path::PathBuf;

use super::SqlSettingError;

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres(PostgresUrl),
}

/// The address of a database of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PostgresUrl {
    /// What the client's library is to know.
    pub(super) library: String,
    /// What people are to see.
    pub(super) shown: String,
    /// What is said of TLS.
    pub(super) sslmode: Option<SslMode>,
    /// The file of those whom it trusts.
    pub(super) sslrootcert: Option<String>,
}

/// When TLS is used. Where it is, the server has to prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SslMode {
    /// Never.
    Disable,
    /// If the server can.
    Prefer,
    /// Always.
    Require,
}

/// Reads a URL.
///
/// # Errors
/// If it is none of a database, or has a password in it. Never says a password.
pub(super) fn parse(url: &str) -> Result<Place, SqlSettingError> {
    let wrong = |message: &str, advice: &str| Err(SqlSettingError::new("url", message, advice));
    if url.contains(|it: char| it.is_control() || it == ' ') {
        return wrong(
            "the URL has a space or a control character in it",
            "write %20 for a space",
        );
    }
    let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
    match scheme {
        "sqlite" => {
            // `sqlite:///path` and `sqlite:/path` are absolute, `sqlite://path` and
            // `sqlite:path` are not.
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.contains(['?', '#']) {
                let message = "the URL of an SQLite file has no parameters";
                return wrong(
                    message,
                    "leave out what begins with `?`; it is only read in any case",
                );
            }
            match decoded(path) {
                Some(path) if !path.is_empty() && !path.contains('\0') => {
                    Ok(Place::Sqlite(path.into()))
                }
                _ => wrong(
                    "the URL names no file",
                    "such as sqlite:///var/lib/app/jobs.db",
                ),
            }
        }
        "postgres" | "postgresql" => match rest.strip_prefix("//") {
            Some(rest) => postgres(rest).map(Place::Postgres),
            None => wrong(
                "the URL names no server",
                "such as postgres://user@host:5432/database",
            ),
        },
        "mysql" | "mariadb" | "mssql" | "sqlserver" | "oracle" => wrong(
            &format!("`{scheme}` is no database that definitions can be read from"),
            "these are SQLite (sqlite:///path) and PostgreSQL (postgres://user@host/database)",
        ),
        _ => wrong(
            "the URL is none of a database",
            "it is sqlite:///path/file.db or postgres://user@host:port/database",
        ),
    }
}

fn postgres(rest: &str) -> Result<PostgresUrl, SqlSettingError> {
    let wrong = |message: String, advice: &str| Err(SqlSettingError::new("url", message, advice));
    let (address, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = address.split('/').next().unwrap_or_default();
    let with_password = authority
        .rsplit_once('@')
        .is_some_and(|(user, _)| user.contains(':'));
    let mut kept = Vec::new();
    let (mut sslmode, mut sslrootcert) = (None, None);
    let mut password = with_password;
    for parameter in parameters.split('&').filter(|it| !it.is_empty()) {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match key {
            "password" => password = true,
            "sslmode" => {
                sslmode = Some(match value {
                    "disable" => SslMode::Disable,
                    "allow" | "prefer" => SslMode::Prefer,
                    "require" | "verify-ca" | "verify-full" => SslMode::Require,
                    _ => {
                        return wrong(
                            format!("there is no `sslmode` {value:?}"),
                            "it is disable, prefer, require or verify-full",
                        );
                    }
                });
            }
            "sslrootcert" => sslrootcert = decoded(value).filter(|path| path != "system"),
            _ => kept.push(parameter),
        }
    }
    if password {
        return wrong(
            "the URL has a password in it".into(),
            "leave it out, and name a secret that holds it in `password`",
        );
    }
    let library = if kept.is_empty() {
        format!("postgres://{address}")
    } else {
        format!("postgres://{address}?{}", kept.join("&"))
    };
    Ok(PostgresUrl {
        library,
        shown: format!("postgres://{address}"),
        sslmode,
        sslrootcert,
    })
}

/// A text with `%20` for a space and the like; nothing if it is none.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(*first);
        if *first == b'%' {
            let digits = rest.get(..2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.pop();
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = rest.get(2..)?;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        let error = parse(url).unwrap_err();
        assert_eq!(error.key, "url");
        error.to_string()
    }

    #[test]
    fn files_are_absolute_or_relative() {
        for (url, path) in [
            ("sqlite:///var/jobs.db", "/var/jobs.db"),
            ("sqlite:/var/jobs.db", "/var/jobs.db"),
            ("sqlite:jobs.db", "jobs.db"),
            ("sqlite://sub/my%20jobs%3F.db", "sub/my jobs?.db"),
        ] {
            assert_eq!(parse(url).unwrap(), Place::Sqlite(path.into()), "{url}");
        }
    }

    #[test]
    fn what_is_said_of_tls_is_told_apart() {
        let url = "postgresql://me@db:5433/jobs?sslmode=verify-full&connect_timeout=3&sslrootcert=/etc/my%20ca.pem";
        let Place::Postgres(found) = parse(url).unwrap() else {
            panic!("no server")
        };
        assert_eq!(
            found.library,
            "postgres://me@db:5433/jobs?connect_timeout=3"
        );
        assert_eq!(found.shown, "postgres://me@db:5433/jobs");
        assert_eq!(found.sslmode, Some(SslMode::Require));
        assert_eq!(found.sslrootcert.as_deref(), Some("/etc/my ca.pem"));
    }

    #[test]
    fn what_is_none_of_a_database_is_refused() {
        let all: Vec<_> = [
            "jobs.db",
            "",
            "mysql://x/y",
            "https://x/y",
            "sqlite:",
            "sqlite:///a?mode=rw",
            "sqlite:///%zz",
            "sqlite:///%4",
            "sqlite:///%FF",
            "postgres:x",
            "postgres://a b/c",
            "postgres://a/b?sslmode=on",
        ]
        .map(refused)
        .into();
        insta::assert_snapshot!(all.join("\n"), @r#"
        the URL is none of a database: it is sqlite:///path/file.db or postgres://user@host:port/database
        the URL is none of a database: it is sqlite:///path/file.db or postgres://user@host:port/database
        `mysql` is no database that definitions can be read from: these are SQLite (sqlite:///path) and PostgreSQL (postgres://user@host/database)
        the URL is none of a database: it is sqlite:///path/file.db or postgres://user@host:port/database
        the URL names no file: such as sqlite:///var/lib/app/jobs.db
        the URL of an SQLite file has no parameters: leave out what begins with `?`; it is only read in any case
        the URL names no file: such as sqlite:///var/lib/app/jobs.db
        the URL names no file: such as sqlite:///var/lib/app/jobs.db
        the URL names no file: such as sqlite:///var/lib/app/jobs.db
        the URL names no server: such as postgres://user@host:5432/database
        the URL has a space or a control character in it: write %20 for a space
        there is no `sslmode` "on": it is disable, prefer, require or verify-full
        "#);
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for url in [
            "postgres://me:hunter22@db/jobs",
            "postgres://me:hunt@er22@db/jobs",
            "postgres://me@db/jobs?password=hunter22",
            "postgres://me@db/jobs?sslmode=disable&password=hunter22",
        ] {
            let told = refused(url);
            assert!(told.contains("name a secret"), "{told}");
            assert!(!told.contains("hunt") && !told.contains("er22"), "{told}");
        }
    }
}
