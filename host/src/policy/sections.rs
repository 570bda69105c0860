//! The sections of the configuration file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::ceiling::{Rules, ScheduleRule, StateRule};
use super::pattern::Pattern;
use super::place::{Place, Placed, Rule};
use super::reach::{Endpoints, Origins};
use super::reader::{
    CEILING, GRANTS, HISTORY, HOST, JOBS, Node, PLUGINS, Reader, SCHEDULE, SECRETS, STATE,
    shortened,
};
use super::roots::Root;
use super::{HostSettings, PluginSettings};
use crate::job::grants::network::AddressRange;
use crate::job::{Limits, ScheduleGrant, StateQuota};
use crate::record::Retention;
use crate::secret::{Provider, Settings};
use crate::suggest::nearest;
use crate::units::format_duration_exact;

/// One page of WebAssembly memory: less does not let a guest begin.
const LEAST_MEMORY: u64 = 64 << 10;
/// Less is hardly more than empty tables.
const LEAST_HISTORY: u64 = 1 << 20;
/// Fewer do not let a guest begin.
const LEAST_HANDLES: u64 = 8;

/// `[ceiling]` with its `[[ceiling.jobs]]`: the rules for all jobs, and those for some, with the
/// ids that they are for.
pub(super) fn ceiling(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
    base: &Path,
) -> (Rules, Vec<(Vec<Pattern>, Rules)>) {
    let Some(table) = reader.table(node, &CEILING) else {
        return Default::default();
    };
    let general = rules(reader, table, base);
    let mut jobs = Vec::new();
    match table.get("jobs").map(|node| (node, node.get_ref())) {
        None => {}
        Some((_, DeValue::Array(sections))) => {
            for section in sections.iter() {
                let Some(table) = reader.table(section, &JOBS) else {
                    continue;
                };
                let patterns = patterns(reader, section, table);
                jobs.push((patterns, rules(reader, table, base)));
            }
        }
        Some((node, other)) => {
            let label = match other {
                DeValue::Table(_) => "write [[ceiling.jobs]] in two pairs of brackets",
                _ => "",
            };
            reader.wrong_type("[[ceiling.jobs]]", "a list of tables", node, label);
        }
    }
    (general, jobs)
}

/// `match`: which jobs a section is for.
fn patterns(reader: &mut Reader<'_>, section: &Node<'_>, table: &DeTable<'_>) -> Vec<Pattern> {
    let Some(node) = table.get("match") else {
        let known = |name: &str| nearest(name, ["match"].into_iter()).is_some();
        if !table.iter().any(|(key, _)| known(key.get_ref())) {
            reader.error(
                section.span(),
                "the section does not say which jobs it is for",
                "add match = \"report-*\"",
            );
        }
        return Vec::new();
    };
    match node.get_ref() {
        DeValue::String(_) => reader
            .string("`match`", node)
            .map(Pattern::new)
            .into_iter()
            .collect(),
        DeValue::Array(items) if items.is_empty() => {
            let label = "name a job, or leave the section out";
            reader.error(node.span(), "`match` is empty", label);
            Vec::new()
        }
        DeValue::Array(items) => items
            .iter()
            .filter_map(|item| reader.string("an item of `match`", item).map(Pattern::new))
            .collect(),
        _ => {
            let expected = "the id of a job such as \"report-*\", or a list of them";
            reader.wrong_type("`match`", expected, node, "");
            Vec::new()
        }
    }
}

/// What `[ceiling]` and `[[ceiling.jobs]]` have in common.
fn rules(reader: &mut Reader<'_>, table: &DeTable<'_>, base: &Path) -> Rules {
    let most = Limits::MAXIMUM;
    let mut rules = Rules::default();
    for (key, node) in table.iter() {
        let name = &**key.get_ref();
        let shown = format!("`{name}`");
        match name {
            "timeout" => {
                let longest = (most.timeout, format_duration_exact(most.timeout));
                let timeout = reader.duration(&shown, node, Some(longest));
                rules.timeout = timeout.map(|it| reader.placed(node, it));
            }
            "fuel" => {
                rules.fuel = reader.fuel(&shown, node).map(|it| reader.placed(node, it));
            }
            "memory" => rules.memory = size(reader, node, &shown, LEAST_MEMORY, most.memory),
            "output" => rules.output = size(reader, node, &shown, 0, most.output),
            "log_rate" => rules.log_rate = size(reader, node, &shown, 1, most.log_rate),
            "handles" => rules.handles = small(reader, node, &shown, LEAST_HANDLES, most.handles),
            "max_instances" => rules.max_instances = small(reader, node, &shown, 1, u32::MAX),
            "grants" => {
                if let Some(table) = reader.table(node, &GRANTS) {
                    grants(reader, table, base, &mut rules);
                }
            }
            _ => {} // told of, or another's
        }
    }
    rules
}

fn size(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
    name: &str,
    least: u64,
    most: u64,
) -> Option<Placed<u64>> {
    let size = reader.size(name, node, least, most)?;
    Some(reader.placed(node, size))
}

fn small(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
    name: &str,
    least: u64,
    most: u32,
) -> Option<Placed<u32>> {
    let count = reader.count(name, node, least, most.into())?;
    Some(reader.placed(node, u32::try_from(count).ok()?))
}

fn grants(reader: &mut Reader<'_>, table: &DeTable<'_>, base: &Path, rules: &mut Rules) {
    for (key, node) in table.iter() {
        let name = &**key.get_ref();
        let shown = format!("`{name}`");
        match name {
            "env" => rules.env = names(reader, &shown, node, "names such as \"APP_*\""),
            "config" => rules.config = names(reader, &shown, node, "keys such as \"app.*\""),
            "secrets" => rules.secrets = names(reader, &shown, node, "names such as \"api-*\""),
            "dirs" => {
                let expected = "directories such as \"/srv/data\" or \"/srv/out:rw\"";
                rules.dirs = reader.rule(&shown, node, expected, |it| Root::parse(it, base));
            }
            "dir_quota" => rules.dir_quota = size(reader, node, &shown, 1, u64::MAX),
            "http" => {
                let expected = "origins such as \"https://*.example.com\"";
                rules.http = reader.rule(&shown, node, expected, Origins::parse);
            }
            "sockets" => {
                let expected = "endpoints such as \"tcp://db.example.com:5432\"";
                rules.sockets = reader.rule(&shown, node, expected, Endpoints::parse);
            }
            "addresses" => {
                let expected = "ranges such as \"10.0.0.0/8\"";
                rules.addresses = reader.rule(&shown, node, expected, AddressRange::parse);
            }
            "state" => rules.state = state(reader, node),
            "schedule" => rules.schedule = schedule(reader, node),
            _ => {} // told of
        }
    }
}

fn names(reader: &mut Reader<'_>, name: &str, node: &Node<'_>, expected: &str) -> Rule<Pattern> {
    reader.rule(name, node, expected, |text| Ok(Pattern::new(text)))
}

/// `state`: a truth, or how much.
fn state(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Placed<StateRule>> {
    let most = StateQuota::MAXIMUM;
    let rule = match node.get_ref() {
        DeValue::Boolean(false) => StateRule::None,
        DeValue::Boolean(true) => StateRule::UpTo(most),
        DeValue::Table(table) => {
            reader.known_keys(table, &STATE);
            let mut quota = most;
            if let Some(node) = table.get("keys") {
                quota.keys = reader.count("`keys`", node, 1, most.keys)?;
            }
            if let Some(node) = table.get("size") {
                quota.size = reader.size("`size`", node, 1, most.size)?;
            }
            StateRule::UpTo(quota)
        }
        _ => {
            let expected = "true, false, or a table such as { keys = 1000, size = \"1MiB\" }";
            reader.wrong_type("`state`", expected, node, "");
            return None;
        }
    };
    Some(reader.placed(node, rule))
}

/// `schedule`: a truth, or how many jobs.
fn schedule(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Placed<ScheduleRule>> {
    let up_to = |jobs| ScheduleRule::UpTo { jobs, prefix: None };
    let most = ScheduleGrant::MOST_JOBS;
    let rule = match node.get_ref() {
        DeValue::Boolean(false) => ScheduleRule::None,
        DeValue::Boolean(true) => up_to(most),
        DeValue::Table(table) => {
            reader.known_keys(table, &SCHEDULE);
            let jobs = table
                .get("max_jobs")
                .map(|node| small(reader, node, "`max_jobs`", 1, most));
            up_to(jobs.map_or(Some(most), |it| Some(it?.value))?)
        }
        _ => {
            let expected = "true, false, or a table such as { max_jobs = 10 }";
            reader.wrong_type("`schedule`", expected, node, "");
            return None;
        }
    };
    Some(reader.placed(node, rule))
}

/// `[secrets]`.
pub(super) fn secrets(reader: &mut Reader<'_>, node: &Node<'_>, base: &Path) -> Settings {
    let mut providers = Settings::default();
    let Some(table) = reader.table(node, &SECRETS) else {
        return providers;
    };
    if let Some(node) = table.get("env_prefix")
        && let Some(prefix) = reader.string("`env_prefix`", node)
    {
        if prefix.contains('=') {
            let label = "no variable's name holds `=`";
            reader.error(node.span(), "`env_prefix` holds `=`", label);
        } else {
            providers.env_prefix = prefix.to_owned();
        }
    }
    if let Some(node) = table.get("dir")
        && let Some(dir) = reader.string("`dir`", node)
    {
        if dir == "~" || dir.starts_with("~/") {
            let label = "write the directory out";
            reader.error(node.span(), "`~` is not expanded here", label);
        }
        providers.dir = Some(absolute(base, dir));
    }
    let mut systemd = true;
    if let Some(node) = table.get("systemd") {
        systemd = reader.truth("`systemd`", node).unwrap_or(systemd);
    }
    let usable = |provider: Provider, has_dir: bool| match provider {
        Provider::Systemd => systemd,
        Provider::Directory => has_dir,
        Provider::Environment => true,
    };
    let has_dir = table.get("dir").is_some();
    providers.order = match table.get("order") {
        None => Provider::ALL
            .into_iter()
            .filter(|provider| usable(*provider, has_dir))
            .collect(),
        Some(node) => order(reader, node, |provider| usable(provider, has_dir)),
    };
    // Something that is set up and never asked is a mistake that nobody would find.
    if table
        .get("order")
        .is_some_and(|node| node.get_ref().is_array())
    {
        let keys = [
            (Provider::Environment, "env_prefix"),
            (Provider::Directory, "dir"),
        ];
        for (provider, key) in keys {
            if let Some((key, _)) = table.get_key_value(key)
                && !providers.order.contains(&provider)
            {
                let message = format!("`{}` is set and never asked", key.get_ref());
                let label = format!("add \"{}\" to `order`", provider.name());
                reader.error(key.span(), message, label);
            }
        }
    }
    providers
}

fn order(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
    usable: impl Fn(Provider) -> bool,
) -> Vec<Provider> {
    let DeValue::Array(items) = node.get_ref() else {
        let expected = "a list such as [\"systemd\", \"dir\", \"env\"]";
        reader.wrong_type("`order`", expected, node, "");
        return Vec::new();
    };
    let mut order = Vec::new();
    for item in items.iter() {
        let Some(name) = reader.string("a provider", item) else {
            continue;
        };
        let names = || Provider::ALL.into_iter().map(Provider::name);
        let Some(provider) = Provider::ALL
            .into_iter()
            .find(|provider| provider.name() == name)
        else {
            let label = match nearest(name, names()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "they are \"systemd\", \"dir\" and \"env\"".into(),
            };
            let message = format!("no such provider of secrets: {:?}", shortened(name));
            reader.error(item.span(), message, label);
            continue;
        };
        if order.contains(&provider) {
            let message = format!("the provider {name:?} is named twice");
            reader.error(item.span(), message, "leave one out");
        } else if !usable(provider) {
            let (message, label) = match provider {
                Provider::Directory => ("no `dir` is set", "add dir = \"/run/secrets\""),
                _ => ("`systemd` is false", "leave \"systemd\" out"),
            };
            reader.error(item.span(), message, label);
        } else {
            order.push(provider);
        }
    }
    order
}

/// `[plugins]`.
pub(super) fn plugins(reader: &mut Reader<'_>, node: &Node<'_>) -> PluginSettings {
    /// Compiling even a small plugin takes this much.
    const LEAST_COMPILER: u64 = 64 << 20;
    let mut settings = PluginSettings::default();
    let Some(table) = reader.table(node, &PLUGINS) else {
        return settings;
    };
    if let Some(node) = table.get("max_size") {
        let most = PluginSettings::MAX_SIZE;
        let size = reader.size("`max_size`", node, 1 << 10, most);
        settings.max_size = size.unwrap_or(settings.max_size);
    }
    if let Some(node) = table.get("compile_timeout") {
        let day = Duration::from_secs(24 * 60 * 60);
        let most = Some((day, format_duration_exact(day)));
        let timeout = reader.duration("`compile_timeout`", node, most);
        settings.compile_timeout = timeout.unwrap_or(settings.compile_timeout);
    }
    if let Some(node) = table.get("compile_memory") {
        let memory = reader.size("`compile_memory`", node, LEAST_COMPILER, u64::MAX);
        settings.compile_memory = memory.unwrap_or(settings.compile_memory);
    }
    settings
}

/// `[host]`.
pub(super) fn host(reader: &mut Reader<'_>, node: &Node<'_>) -> (HostSettings, Option<Place>) {
    let mut settings = HostSettings::default();
    let mut place = None;
    if let Some(table) = reader.table(node, &HOST)
        && let Some(node) = table.get("max_memory")
    {
        settings.max_memory = reader.size("`max_memory`", node, LEAST_MEMORY, u64::MAX);
        place = Some(reader.place(&node.span()));
    }
    (settings, place)
}

/// `[history]`.
pub(super) fn history(reader: &mut Reader<'_>, node: &Node<'_>) -> Retention {
    let mut kept = Retention::default();
    let Some(table) = reader.table(node, &HISTORY) else {
        return kept;
    };
    let unlimited =
        |node: &Node<'_>| matches!(node.get_ref(), DeValue::String(text) if text == "unlimited");
    if let Some(node) = table.get("age") {
        kept.age = match unlimited(node) {
            true => None,
            false => reader.duration("`age`", node, None),
        };
    }
    if let Some(node) = table.get("runs_per_job") {
        kept.runs_per_job = match unlimited(node) {
            true => None,
            false => reader.count("`runs_per_job`", node, 1, u64::MAX),
        };
    }
    if let Some(node) = table.get("size") {
        kept.size = match unlimited(node) {
            true => None,
            false => reader.size("`size`", node, LEAST_HISTORY, u64::MAX),
        };
    }
    kept
}

/// A directory, relative to the one of the configuration file.
pub(super) fn absolute(base: &Path, dir: &str) -> PathBuf {
    let path = base.join(dir);
    // Fails only where there is no working directory any more.
    std::path::absolute(&path).unwrap_or(path)
}
