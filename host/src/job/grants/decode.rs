//! Grants, read from a definition.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::decode::Decoder;
use super::super::definition::check_id;
use super::super::diagnostic::quoted;
use super::super::document::{Member, Node, Value};
use super::super::keys::{GRANTS, HTTP, Keys, SCHEDULE, SOCKETS, STATE};
use super::dirs::decode_dirs;
use super::network::{AddressRange, Endpoint, OriginPattern};
use super::{EnvValue, Grants, HttpGrant, OnRemoval, ScheduleGrant, SocketGrant, StateQuota};
use crate::suggest::nearest;
use crate::units::{format_count, format_size};

/// Where in the text each grant stands, in bytes; in the order of the grants themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantPlaces {
    /// The names of variables.
    pub env: Vec<Range<usize>>,
    /// The host sides of directories.
    pub dirs: Vec<Range<usize>>,
    /// The keys of settings.
    pub config: Vec<Range<usize>>,
    /// The origins.
    pub http: Vec<Range<usize>>,
    /// The ranges of addresses that origins may lead to.
    pub http_addresses: Vec<Range<usize>>,
    /// The endpoints.
    pub sockets: Vec<Range<usize>>,
    /// The ranges of addresses that endpoints may lead to.
    pub socket_addresses: Vec<Range<usize>>,
    /// The names of secrets.
    pub secrets: Vec<Range<usize>>,
    /// The state.
    pub state: Option<Range<usize>>,
    /// The jobs that it may define.
    pub schedule: Option<Range<usize>>,
}

/// Checks the name of an environment variable.
///
/// # Errors
/// What is wrong with it.
pub fn check_env_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        Err("the name of a variable is empty".into())
    } else if name.contains(['=', '\0']) {
        Err(format!(
            "the name {} holds `=` or NUL, which no variable's name can",
            quoted(name)
        ))
    } else {
        Ok(())
    }
}

/// Checks the name of a secret: it may become the name of a variable or of a file.
///
/// # Errors
/// What is wrong with it, and after a colon what would be right.
pub fn check_secret_name(name: &str) -> Result<(), String> {
    const LONGEST: usize = 128;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
    if name.is_empty() {
        Err("the name of a secret is empty".to_owned())
    } else if name.len() > LONGEST {
        Err(format!(
            "the name of a secret is {} bytes long: at most {LONGEST}",
            name.len()
        ))
    } else if name.starts_with('.') || !name.chars().all(fits) {
        Err(format!(
            "{} is no name of a secret: letters, digits, `_`, `-` and `.`, the last not first",
            quoted(name)
        ))
    } else {
        Ok(())
    }
}

/// Reads `grants`, and where each stands in the text.
pub(in crate::job) fn decode(
    decoder: &mut Decoder<'_>,
    node: &Node<'_>,
    base: &Path,
) -> (Arc<Grants>, Option<Box<GrantPlaces>>) {
    let mut reading = Reading {
        decoder,
        grants: Grants::default(),
        places: GrantPlaces::default(),
    };
    let example = r#"{"dirs": ["data::/data"]}"#;
    for member in reading
        .decoder
        .object("`grants`", node, example)
        .unwrap_or_default()
    {
        reading.member(member, base);
    }
    let Reading { grants, places, .. } = reading;
    if grants == Grants::default() {
        (Grants::none(), None)
    } else {
        (Arc::new(grants), Some(Box::new(places)))
    }
}

/// Grants that are being read.
struct Reading<'d, 's> {
    decoder: &'d mut Decoder<'s>,
    grants: Grants,
    places: GrantPlaces,
}

impl Reading<'_, '_> {
    fn member(&mut self, member: &Member<'_>, base: &Path) {
        let value = &member.value;
        match &*member.key {
            "env" => self.env(value),
            "dirs" => decode_dirs(
                self.decoder,
                value,
                base,
                &mut self.grants,
                &mut self.places.dirs,
            ),
            "config" => self.config(value),
            "http" => self.http(value),
            "sockets" => self.sockets(value),
            "secrets" => self.secrets(value),
            "state" => self.state(value),
            "schedule" => self.schedule(value),
            _ => {
                self.decoder.unknown_key(member, &GRANTS);
            }
        }
    }

    fn env(&mut self, node: &Node<'_>) {
        for member in self
            .decoder
            .object("`env`", node, r#"{"NAME": "value"}"#)
            .unwrap_or_default()
        {
            if let Err(message) = check_env_name(&member.key) {
                self.decoder.error(&member.key_span, message, "");
                continue;
            }
            let value = match &member.value.value {
                Value::Object(members) => self.env_secret(&member.value, members),
                _ => {
                    let name = format!("the variable {}", quoted(&member.key));
                    self.decoder
                        .string(&name, &member.value)
                        .map(|text| EnvValue::Text(text.to_owned()))
                }
            };
            if let Some(value) = value {
                self.grants.env.push((member.key.to_string(), value));
                self.places.env.push(member.key_span.clone());
            }
        }
    }

    /// `{"secret": "NAME"}` as the value of a variable.
    fn env_secret(&mut self, node: &Node<'_>, members: &[Member<'_>]) -> Option<EnvValue> {
        let [member] = members else {
            let label = "write {\"secret\": \"NAME\"}";
            self.decoder.error(
                &node.span,
                "a variable's value is a text or a secret",
                label,
            );
            return None;
        };
        if member.key != "secret" {
            let message = format!("unknown key {} in a variable's value", quoted(&member.key));
            let label = "write {\"secret\": \"NAME\"}";
            self.decoder.error(&member.key_span, message, label);
            return None;
        }
        self.secret_name(&member.value).map(EnvValue::Secret)
    }

    fn secret_name(&mut self, node: &Node<'_>) -> Option<Arc<str>> {
        let name = self.decoder.string("the name of a secret", node)?;
        if let Err(message) = check_secret_name(name) {
            told(self.decoder, &node.span, &message);
            return None;
        }
        Some(name.into())
    }

    fn config(&mut self, node: &Node<'_>) {
        for member in self
            .decoder
            .object("`config`", node, r#"{"greeting": "hello"}"#)
            .unwrap_or_default()
        {
            let name = format!("the setting {}", quoted(&member.key));
            if let Some(value) = self.decoder.string(&name, &member.value) {
                let setting = (member.key.to_string(), value.to_owned());
                self.grants.config.push(setting);
                self.places.config.push(member.key_span.clone());
            }
        }
    }

    fn http(&mut self, node: &Node<'_>) {
        let mut grant = HttpGrant::default();
        let list =
            r#"a list of origins such as ["https://api.example.com"], or an object with `origins`"#;
        let (items, addresses) = match &node.value {
            Value::Array(items) => (Some(&**items), None),
            Value::Object(members) => {
                for member in members {
                    let value = &member.value;
                    match &*member.key {
                        "origins" | "addresses" => {}
                        "timeout" => {
                            let timeout = self.decoder.duration("`timeout`", value);
                            grant.timeout = timeout.unwrap_or(Duration::ZERO);
                        }
                        "requests" => {
                            let count = self.decoder.integer("`requests`", value, 1);
                            let count = count.and_then(|count| u32::try_from(count).ok());
                            grant.requests = count.unwrap_or(u32::MAX);
                        }
                        "body" => {
                            grant.body = self.decoder.size("`body`", value, 1).unwrap_or_default();
                        }
                        _ => {
                            self.decoder.unknown_key(member, &HTTP);
                        }
                    }
                }
                self.listed(node, members, "origins", &HTTP)
            }
            _ => {
                self.decoder.wrong_type("`http`", list, node, "");
                return;
            }
        };
        let origins = self.read_all(items, "an origin", OriginPattern::parse);
        let ranges = self.read_all(addresses, "a range of addresses", AddressRange::parse);
        (grant.origins, self.places.http) = origins.into_iter().unzip();
        (grant.addresses, self.places.http_addresses) = ranges.into_iter().unzip();
        if !grant.origins.is_empty() {
            self.grants.http = Some(grant);
        }
    }

    fn sockets(&mut self, node: &Node<'_>) {
        let list = r#"a list of endpoints such as ["tcp://db.example.com:5432"], or an object with `endpoints`"#;
        let (items, addresses) = match &node.value {
            Value::Array(items) => (Some(&**items), None),
            Value::Object(members) => {
                for member in members {
                    if !SOCKETS.known.contains(&&*member.key) {
                        self.decoder.unknown_key(member, &SOCKETS);
                    }
                }
                self.listed(node, members, "endpoints", &SOCKETS)
            }
            _ => {
                self.decoder.wrong_type("`sockets`", list, node, "");
                return;
            }
        };
        let endpoints = self.read_all(items, "an endpoint", Endpoint::parse);
        let ranges = self.read_all(addresses, "a range of addresses", AddressRange::parse);
        let (endpoints, places) = endpoints.into_iter().unzip();
        self.places.sockets = places;
        let (addresses, places) = ranges.into_iter().unzip();
        self.places.socket_addresses = places;
        let grant = SocketGrant {
            endpoints,
            addresses,
        };
        if !grant.endpoints.is_empty() {
            self.grants.sockets = Some(grant);
        }
    }

    /// The two lists of an object that has whom to reach under `key`, and `addresses`.
    fn listed<'n, 'a>(
        &mut self,
        node: &Node<'_>,
        members: &'n [Member<'a>],
        key: &str,
        keys: &'static Keys,
    ) -> (Option<&'n [Node<'a>]>, Option<&'n [Node<'a>]>) {
        let find = |key: &str| members.iter().find(|member| member.key == key);
        let list = |decoder: &mut Decoder<'_>, member: Option<&'n Member<'a>>, example: &str| {
            let member = member?;
            decoder.list(&format!("`{}`", member.key), &member.value, example)
        };
        if find(key).is_none() {
            let message = format!("{} has no `{key}`", keys.of);
            let label = format!("without \"{key}\" it grants nothing");
            self.decoder.error(&node.span, message, label);
        }
        let items = list(self.decoder, find(key), "[…]");
        let addresses = list(self.decoder, find("addresses"), r#"["10.0.0.0/8"]"#);
        (items, addresses)
    }

    /// Reads the texts of a list, each of them once.
    fn read_all<T: PartialEq>(
        &mut self,
        items: Option<&[Node<'_>]>,
        what: &str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Vec<(T, Range<usize>)> {
        let mut read: Vec<(T, Range<usize>)> = Vec::new();
        for item in items.unwrap_or_default() {
            let Some(text) = self.decoder.string(what, item) else {
                continue;
            };
            match parse(text) {
                Err(message) => told(self.decoder, &item.span, &message),
                Ok(value) if read.iter().any(|(known, _)| *known == value) => {
                    let message = format!("{} is granted twice", quoted(text));
                    self.decoder.error(&item.span, message, "once is enough");
                }
                Ok(value) => read.push((value, item.span.clone())),
            }
        }
        read
    }

    fn secrets(&mut self, node: &Node<'_>) {
        for item in self
            .decoder
            .list("`secrets`", node, r#"["api-key"]"#)
            .unwrap_or_default()
        {
            let Some(name) = self.secret_name(item) else {
                continue;
            };
            if self.grants.secrets.contains(&name) {
                let message = format!("the secret {} is granted twice", quoted(&name));
                self.decoder.error(&item.span, message, "once is enough");
                continue;
            }
            self.grants.secrets.push(name);
            self.places.secrets.push(item.span.clone());
        }
    }

    fn state(&mut self, node: &Node<'_>) {
        let quota = match &node.value {
            Value::Bool(false) => return,
            Value::Bool(true) => StateQuota::DEFAULT,
            Value::Object(members) => {
                let mut quota = StateQuota::DEFAULT;
                for member in members {
                    match &*member.key {
                        "keys" => {
                            if let Some(keys) = self.decoder.integer("`keys`", &member.value, 1) {
                                quota.keys = keys;
                                let most = StateQuota::MAXIMUM.keys;
                                self.at_most("`keys`", keys, most, format_count(most), member);
                            }
                        }
                        "size" => {
                            if let Some(size) = self.decoder.size("`size`", &member.value, 1) {
                                quota.size = size;
                                let most = StateQuota::MAXIMUM.size;
                                self.at_most("`size`", size, most, format_size(most), member);
                            }
                        }
                        _ => {
                            self.decoder.unknown_key(member, &STATE);
                        }
                    }
                }
                quota
            }
            _ => {
                let expected = r#"true, or an object such as {"keys": 1000, "size": "1MiB"}"#;
                self.decoder.wrong_type("`state`", expected, node, "");
                return;
            }
        };
        self.grants.state = Some(quota);
        self.places.state = Some(node.span.clone());
    }

    fn schedule(&mut self, node: &Node<'_>) {
        let Value::Object(members) = &node.value else {
            let expected = r#"an object such as {"prefix": "sync/"}"#;
            self.decoder.wrong_type("`schedule`", expected, node, "");
            return;
        };
        let (mut prefix, mut has_prefix) = (None, false);
        let mut max_jobs = ScheduleGrant::MAX_JOBS;
        let mut on_removal = OnRemoval::default();
        for member in members {
            let value = &member.value;
            match &*member.key {
                "prefix" => {
                    has_prefix = true;
                    prefix = self.prefix(value);
                }
                "max_jobs" => {
                    let most = ScheduleGrant::MOST_JOBS;
                    max_jobs = self
                        .decoder
                        .small("`max_jobs`", value, 1, most)
                        .unwrap_or(1);
                }
                "on_removal" => {
                    let Some(word) = self.decoder.string("`on_removal`", value) else {
                        continue;
                    };
                    let all = [OnRemoval::Remove, OnRemoval::Keep];
                    match all.into_iter().find(|it| it.as_str() == word) {
                        Some(known) => on_removal = known,
                        None => {
                            let message = format!("`on_removal` cannot be {}", quoted(word));
                            let label = match nearest(word, all.into_iter().map(OnRemoval::as_str))
                            {
                                Some(near) => format!("did you mean \"{near}\"?"),
                                None => "it is \"remove\" or \"keep\"".to_owned(),
                            };
                            self.decoder.error(&value.span, message, label);
                        }
                    }
                }
                _ => {
                    self.decoder.unknown_key(member, &SCHEDULE);
                }
            }
        }
        if !has_prefix {
            let label = "add \"prefix\": \"sync/\", which the ids of its jobs begin with";
            self.decoder
                .error(&node.span, "`schedule` has no `prefix`", label);
        }
        let Some(prefix) = prefix else { return };
        self.grants.schedule = Some(ScheduleGrant {
            prefix,
            max_jobs,
            on_removal,
        });
        self.places.schedule = Some(node.span.clone());
    }

    /// What the ids of jobs begin with.
    fn prefix(&mut self, node: &Node<'_>) -> Option<Arc<str>> {
        let prefix = self.decoder.string("`prefix`", node)?;
        if prefix.is_empty() {
            let label = "name what the ids of its jobs begin with, such as \"sync/\"";
            self.decoder.error(&node.span, "`prefix` is empty", label);
            return None;
        }
        // With a letter more it has to be an id.
        if let Err((message, label)) = check_id(&format!("{prefix}x")) {
            let message = format!("no id begins with {}: {message}", quoted(prefix));
            self.decoder.error(&node.span, message, label);
            return None;
        }
        Some(prefix.into())
    }

    fn at_most(&mut self, name: &str, asked: u64, most: u64, shown: String, member: &Member<'_>) {
        if asked > most {
            let message = format!("{name} is above the maximum of every host");
            let label = format!("at most {shown}");
            self.decoder.error(&member.value.span, message, label);
        }
    }
}

/// Notes a message of the form "what is wrong: what would be right".
pub(super) fn told(decoder: &mut Decoder<'_>, span: &Range<usize>, message: &str) {
    let (wrong, right) = message.split_once(": ").unwrap_or((message, ""));
    decoder.error(span, wrong, right);
}
