//! `[[source]]`: places of definitions that the operator names in the configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::de::{DeTable, DeValue};
use url::Url;

use super::address::HttpUrl;
use super::place::Place;
use super::reader::{Node, Reader, SOURCE, shortened};
use super::sections::absolute;
use crate::job::{MAX_SOURCE_BYTES, check_secret_name};
use crate::units::format_duration_exact;

/// A place of definitions that the operator names in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// What it is called in events and errors; no two have the same.
    pub name: Arc<str>,
    /// Where its definitions are.
    pub origin: SourceOrigin,
    /// How often it is read at least; what the host says where it says nothing.
    pub refresh: Option<Duration>,
    /// Whether it may remove more than half of its jobs at once without being read a second time.
    pub allow_mass_removal: bool,
    /// Where it is set.
    pub place: Place,
}

/// Where the definitions of a source are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceOrigin {
    /// In a job file.
    File(PathBuf),
    /// In the job files of a directory.
    Directory(PathBuf),
    /// In a job file that is fetched over HTTP.
    Http(HttpSettings),
    /// In the rows of a database.
    Sql(SqlSettings),
}

/// A job file that is fetched over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where it is.
    pub url: HttpUrl,
    /// The name of the secret that is the bearer token, if one is sent.
    pub token: Option<Arc<str>>,
    /// How long fetching it may take, redirects and all.
    pub timeout: Duration,
    /// The most bytes that it may have.
    pub max_size: u64,
    /// What relative paths in it are relative to.
    pub base: PathBuf,
}

impl HttpSettings {
    /// How long fetching may take where nothing is said.
    pub const TIMEOUT: Duration = Duration::from_secs(10);
    /// The most bytes where nothing is said.
    pub const MAX_SIZE: u64 = 16 << 20;
}

/// Definitions in the rows that a query gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlSettings {
    /// The database: `sqlite:` and a path, or a URL of PostgreSQL without a password.
    pub url: Arc<str>,
    /// What gives the definitions.
    pub query: Arc<str>,
    /// The name of the secret that is the password, if one is sent.
    pub password: Option<Arc<str>>,
    /// The channel of PostgreSQL on which a change is told, if not the usual one.
    pub channel: Option<Arc<str>>,
    /// What relative paths, in the URL and in definitions, are relative to.
    pub base: PathBuf,
}

impl SourceSettings {
    /// Whether another one says the same, be it elsewhere.
    pub(super) fn says_as(&self, other: &SourceSettings) -> bool {
        let SourceSettings {
            name,
            origin,
            refresh,
            allow_mass_removal,
            place: _,
        } = self;
        *name == other.name
            && *origin == other.origin
            && *refresh == other.refresh
            && *allow_mass_removal == other.allow_mass_removal
    }
}

/// The keys that say where a source is, each with the keys that go with it.
const ORIGINS: [(&str, &[&str]); 4] = [
    ("file", &[]),
    ("directory", &[]),
    ("http", &["token", "timeout", "max_size"]),
    ("sql", &["query", "password", "channel"]),
];

/// What the definitions are called that the host keeps itself.
const OWN: &str = "host";
/// The longest name of a source, in bytes.
const LONGEST_NAME: usize = 64;
/// The seldomest that a source may be read.
const LONGEST_REFRESH: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest that fetching may take.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// All `[[source]]`.
pub(super) fn sources(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
    base: &Path,
) -> Arc<[SourceSettings]> {
    let DeValue::Array(sections) = node.get_ref() else {
        let label = match node.get_ref() {
            DeValue::Table(_) => "write [[source]] in two pairs of brackets",
            _ => "",
        };
        reader.wrong_type("[[source]]", "a list of tables", node, label);
        return Arc::default();
    };
    let mut sources: Vec<SourceSettings> = Vec::new();
    for section in sections.iter() {
        let Some(table) = reader.table(section, &SOURCE) else {
            continue;
        };
        let name = name(reader, section, table, &sources);
        let origin = origin(reader, section, table, base);
        let refresh = table.get("refresh").and_then(|node| {
            let most = (LONGEST_REFRESH, format_duration_exact(LONGEST_REFRESH));
            reader.duration("`refresh`", node, Some(most))
        });
        let allow_mass_removal = table
            .get("allow_mass_removal")
            .and_then(|node| reader.truth("`allow_mass_removal`", node));
        if let (Some(name), Some(origin)) = (name, origin) {
            sources.push(SourceSettings {
                name,
                origin,
                refresh,
                allow_mass_removal: allow_mass_removal.unwrap_or(false),
                place: reader.place(&section.span()),
            });
        }
    }
    sources.into()
}

/// `name`, which no source before has.
fn name(
    reader: &mut Reader<'_>,
    section: &Node<'_>,
    table: &DeTable<'_>,
    before: &[SourceSettings],
) -> Option<Arc<str>> {
    let Some(node) = table.get("name") else {
        let label = "add name = \"central\": it is what events and errors call it";
        reader.error(section.span(), "the source has no name", label);
        return None;
    };
    let name = reader.string("`name`", node)?;
    let fits = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
    if !name.chars().all(fits) || name.len() > LONGEST_NAME {
        let message = format!("{:?} is no name of a source", shortened(name));
        let label = format!("letters, digits, `-`, `_` and `.`, at most {LONGEST_NAME} bytes");
        reader.error(node.span(), message, label);
        return None;
    }
    if name == OWN {
        let message = format!("{name:?} is the name of the definitions that the host keeps itself");
        reader.error(node.span(), message, "give this one another name");
        return None;
    }
    if let Some(other) = before.iter().find(|other| *other.name == *name) {
        let message = format!("another source is named {name:?}");
        let label = format!("at {:#}: give this one another name", other.place);
        reader.error(node.span(), message, label);
        return None;
    }
    Some(name.into())
}

/// Where it is: exactly one of the keys that say so, and those that go with it.
fn origin(
    reader: &mut Reader<'_>,
    section: &Node<'_>,
    table: &DeTable<'_>,
    base: &Path,
) -> Option<SourceOrigin> {
    let named = |(key, _): &&(&'static str, _)| table.contains_key(*key);
    let mut said = ORIGINS.iter().filter(named);
    let Some((kind, own)) = said.next() else {
        let message = "the source does not say where its jobs are";
        let label = "add one of `file`, `directory`, `http` and `sql`";
        reader.error(section.span(), message, label);
        return None;
    };
    let mut good = true;
    for (other, _) in said {
        if let Some((key, _)) = table.get_key_value(*other) {
            let message = format!("a source has `{kind}` or `{other}`, not both");
            reader.error(key.span(), message, "make a [[source]] of its own of it");
            good = false;
        }
    }
    for (key, _) in table.iter() {
        let name = &**key.get_ref();
        let home = ORIGINS.iter().find(|(_, keys)| keys.contains(&name));
        if let Some((home, _)) = home
            && !own.contains(&name)
            && !table.contains_key(*home)
        {
            let message = format!("`{name}` says nothing of a source with `{kind}`");
            reader.error(key.span(), message, format!("it goes with `{home}`"));
            good = false;
        }
    }
    let node = table.get(*kind)?;
    let origin = match *kind {
        "file" => path(reader, "`file`", node, base).map(SourceOrigin::File),
        "directory" => path(reader, "`directory`", node, base).map(SourceOrigin::Directory),
        "http" => http(reader, node, table, base).map(SourceOrigin::Http),
        _ => sql(reader, section, node, table, base).map(SourceOrigin::Sql),
    };
    origin.filter(|_| good)
}

fn path(reader: &mut Reader<'_>, name: &str, node: &Node<'_>, base: &Path) -> Option<PathBuf> {
    let path = reader.string(name, node)?;
    if path == "~" || path.starts_with("~/") {
        reader.error(
            node.span(),
            "`~` is not expanded here",
            "write the path out",
        );
        return None;
    }
    if HttpUrl::is_meant(path) {
        let message = format!("{name} is a path, not a URL");
        reader.error(node.span(), message, "it goes with `http`");
        return None;
    }
    Some(absolute(base, path))
}

fn http(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
    table: &DeTable<'_>,
    base: &Path,
) -> Option<HttpSettings> {
    let url = reader.string("`http`", node).and_then(|url| {
        HttpUrl::parse(url)
            .map_err(|why| reader.told(node.span(), &format!("`http`: {why}")))
            .ok()
    });
    let token = secret(reader, table, "token");
    let timeout = table.get("timeout").and_then(|node| {
        let most = (LONGEST_TIMEOUT, format_duration_exact(LONGEST_TIMEOUT));
        reader.duration("`timeout`", node, Some(most))
    });
    let max_size = table
        .get("max_size")
        .and_then(|node| reader.size("`max_size`", node, 1, MAX_SOURCE_BYTES as u64));
    Some(HttpSettings {
        url: url?,
        token,
        timeout: timeout.unwrap_or(HttpSettings::TIMEOUT),
        max_size: max_size.unwrap_or(HttpSettings::MAX_SIZE),
        base: base.to_owned(),
    })
}

fn sql(
    reader: &mut Reader<'_>,
    section: &Node<'_>,
    node: &Node<'_>,
    table: &DeTable<'_>,
    base: &Path,
) -> Option<SqlSettings> {
    let url = reader
        .string("`sql`", node)
        .and_then(|url| match check_database(url) {
            Ok(()) => Some(url),
            Err(why) => {
                reader.told(node.span(), &format!("`sql`: {why}"));
                None
            }
        });
    let query = match table.get("query") {
        Some(node) => reader.string("`query`", node),
        None => {
            let message = "the source does not say which rows are its jobs";
            let label = "add query = \"SELECT definition FROM jobs\"";
            reader.error(section.span(), message, label);
            None
        }
    };
    let password = secret(reader, table, "password");
    let channel = table.get("channel");
    let channel = channel.and_then(|node| reader.string("`channel`", node));
    Some(SqlSettings {
        url: url?.into(),
        query: query?.into(),
        password,
        channel: channel.map(Into::into),
        base: base.to_owned(),
    })
}

/// Whether a text can be the URL of a database, and tells no password.
fn check_database(text: &str) -> Result<(), String> {
    const USUAL: &str = "write \"sqlite:jobs.db\" or \"postgres://user@host/database\"";
    if let Some(path) = text.strip_prefix("sqlite:") {
        return match path.trim_start_matches('/') {
            "" => Err(format!("no file is named: {USUAL}")),
            _ => Ok(()),
        };
    }
    let (scheme, _) = text.split_once("://").unwrap_or_default();
    if !["postgres", "postgresql"].contains(&scheme) {
        return Err(format!("it is no URL of a database: {USUAL}"));
    }
    // What cannot be parsed is for whoever connects to tell; it may be the path of a socket.
    let Ok(url) = Url::parse(text) else {
        return Ok(());
    };
    let in_query = url.query_pairs().any(|(key, _)| key == "password");
    if url.password().is_some() || in_query {
        return Err("a password would be told in errors and logs: put it into a secret, and name it with `password`".into());
    }
    Ok(())
}

/// The name of a secret.
pub(super) fn secret(reader: &mut Reader<'_>, table: &DeTable<'_>, key: &str) -> Option<Arc<str>> {
    let node = table.get(key)?;
    let name = reader.string(&format!("`{key}`"), node)?;
    if let Err(message) = check_secret_name(name) {
        // Somebody may have written the secret itself.
        let (_, right) = message.split_once(": ").unwrap_or((&message, ""));
        let message = format!("`{key}` names a secret, and no secret has such a name");
        reader.error(node.span(), message, right);
        return None;
    }
    Some(name.into())
}
