//! The operator's configuration file, `quarterjack.toml`: above all the ceiling, which no
//! definition may exceed.
//!
//! ```toml
//! [ceiling]
//! timeout = "10m"
//! memory = "256MiB"
//!
//! [ceiling.grants]
//! dirs = ["/srv/data", "/srv/out:rw"]
//! http = ["https://*.example.com"]
//!
//! [[ceiling.jobs]]
//! match = "report-*"
//! timeout = "1h"
//! ```
//!
//! What `[ceiling]` does not say is not limited, beyond the maxima of every host. For a job whose
//! id fits the `match` of a `[[ceiling.jobs]]`, what that section says replaces what `[ceiling]`
//! says, key by key, those of `grants` as well; the first section that fits is the one that
//! counts. A flag takes the place of its key in `[ceiling]`, and no `[[ceiling.jobs]]` allows
//! more than it.
//!
//! A limit that no definition sets is lowered to the ceiling; what a definition asks above it is
//! refused. A mistake anywhere spoils the whole file: half a ceiling is none.

mod address;
mod ceiling;
mod changes;
mod creator;
mod find;
mod hooks;
mod judge;
mod pattern;
mod place;
mod reach;
mod reader;
mod roots;
mod sections;
mod sources;
#[cfg(test)]
mod tests;
mod verdict;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeTable;

pub use address::HttpUrl;
pub use ceiling::{Ceiling, Item, Refusal};
pub use creator::{bounded, judge_made};
pub use find::{Choice, Current, Look, PolicyFile};
pub use hooks::HookSettings;
pub use pattern::Pattern;
pub use place::Place;
pub use roots::{Confinement, normal as normal_path};
pub use sources::{HttpSettings, SourceOrigin, SourceSettings, SqlSettings};
pub use verdict::Verdict;

use ceiling::Rules;
use place::Placed;
use reader::Reader;

use crate::job::{Diagnostic, JobId, SourceText};
use crate::record::Retention;
use crate::secret;

/// What the operator's configuration says. The default, as without a file, forbids nothing but
/// what is above the maxima of every host.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Where secrets come from.
    pub secrets: secret::Settings,
    /// What a plugin may be, and what compiling it may take.
    pub plugins: PluginSettings,
    /// What the whole host may take.
    pub host: HostSettings,
    /// How much of the history is kept.
    pub history: Retention,
    /// Places of definitions, beside those that the command line names.
    pub sources: Arc<[SourceSettings]>,
    /// Whom the host tells of events.
    pub hooks: Arc<[HookSettings]>,
    file: Option<Arc<str>>,
    /// Where `host.max_memory` is set.
    max_memory_place: Option<Place>,
    general: Arc<Rules>,
    /// For jobs with ids that fit: all that holds for them. The first counts.
    jobs: Arc<[(Vec<Pattern>, Arc<Rules>)]>,
}

/// Limits that the command line sets for all jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--max-timeout`.
    pub timeout: Option<Duration>,
    /// `--max-fuel`, in units of fuel.
    pub fuel: Option<u64>,
    /// `--max-memory`, in bytes.
    pub memory: Option<u64>,
    /// `--max-output`, in bytes.
    pub output: Option<u64>,
}

/// What a plugin may be, and what compiling it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginSettings {
    /// The largest `.wasm` file, in bytes.
    pub max_size: u64,
    /// How long compiling one may take.
    pub compile_timeout: Duration,
    /// How much memory compiling one may take, in bytes.
    pub compile_memory: u64,
}

impl PluginSettings {
    /// The most that `max_size` may be, in bytes: no WebAssembly file is larger.
    pub const MAX_SIZE: u64 = 4 << 30;
}

impl Default for PluginSettings {
    /// 512 MiB, two minutes, 4 GiB.
    fn default() -> Self {
        PluginSettings {
            max_size: 512 << 20,
            compile_timeout: Duration::from_secs(120),
            compile_memory: 4 << 30,
        }
    }
}

/// What the whole host may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostSettings {
    /// The most memory, in bytes, that all live runs may have together; nothing for no limit.
    pub max_memory: Option<u64>,
}

impl Policy {
    /// Reads a configuration file that is there.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the text.
    pub fn load(path: &Path) -> Result<Policy, Vec<Diagnostic>> {
        let name = path.to_string_lossy().into_owned();
        let bytes = find::read_bytes(path).map_err(|problem| vec![*problem])?;
        let source = SourceText::from_bytes(name, bytes).map_err(|problem| vec![*problem])?;
        Policy::parse(&Arc::new(source), path.parent().unwrap_or(Path::new("")))
    }

    /// Reads a text; relative directories in it are relative to `base`.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the text.
    pub fn parse(source: &Arc<SourceText>, base: &Path) -> Result<Policy, Vec<Diagnostic>> {
        /// How many mistakes in the grammar are told: after some, the next ones follow from them.
        const TOLD: usize = 8;
        // The byte-order mark is no part of the grammar, but its bytes count in places.
        let text = source.text();
        let start = text.len() - text.trim_start_matches('\u{FEFF}').len();
        let blank = format!("{}{}", " ".repeat(start), text.get(start..).unwrap_or(""));
        let (document, errors) = DeTable::parse_recoverable(&blank);
        let mut reader = Reader {
            source,
            problems: Vec::new(),
        };
        for error in errors.iter().take(TOLD) {
            reader.grammar(error);
        }
        if !errors.is_empty() {
            return Err(sorted(reader.problems));
        }
        let table = document.get_ref();
        reader.known_keys(table, &reader::FILE);
        let mut policy = Policy {
            file: Some(source.name().clone()),
            ..Policy::default()
        };
        let mut sections = Vec::new();
        if let Some(node) = table.get("ceiling") {
            let general;
            (general, sections) = sections::ceiling(&mut reader, node, base);
            policy.general = Arc::new(general);
        }
        if let Some(node) = table.get("secrets") {
            policy.secrets = sections::secrets(&mut reader, node, base);
        }
        if let Some(node) = table.get("plugins") {
            policy.plugins = sections::plugins(&mut reader, node);
        }
        if let Some(node) = table.get("host") {
            (policy.host, policy.max_memory_place) = sections::host(&mut reader, node);
        }
        if let Some(node) = table.get("history") {
            policy.history = sections::history(&mut reader, node);
        }
        if let Some(node) = table.get("source") {
            policy.sources = sources::sources(&mut reader, node, base);
        }
        if let Some(node) = table.get("hook") {
            policy.hooks = hooks::hooks(&mut reader, node);
        }
        if !reader.problems.is_empty() {
            return Err(sorted(reader.problems));
        }
        policy.jobs = sections
            .into_iter()
            .map(|(patterns, rules)| (patterns, Arc::new(rules.over(&policy.general))))
            .collect();
        Ok(policy)
    }

    /// The policy with limits from the command line. Each takes the place of its key in
    /// `[ceiling]`, and no section for some jobs allows more.
    #[must_use]
    pub fn with_flags(mut self, flags: &Flags) -> Policy {
        fn set<T: Ord + Copy>(
            rule: &mut Option<Placed<T>>,
            general: &Option<Placed<T>>,
            flag: Option<T>,
            name: &'static str,
        ) {
            let Some(flag) = flag else { return };
            // A section's own rule stays where it is lower.
            let own = rule.as_ref().filter(|_| *rule != *general);
            if own.is_none_or(|own| own.value > flag) {
                *rule = Some(Placed {
                    value: flag,
                    place: Place::Flag(name),
                });
            }
        }
        if *flags == Flags::default() {
            return self;
        }
        let apply = |rules: &mut Rules, general: &Rules| {
            let own = &general.timeout;
            set(&mut rules.timeout, own, flags.timeout, "--max-timeout");
            set(&mut rules.fuel, &general.fuel, flags.fuel, "--max-fuel");
            let own = &general.memory;
            set(&mut rules.memory, own, flags.memory, "--max-memory");
            let own = &general.output;
            set(&mut rules.output, own, flags.output, "--max-output");
        };
        self.jobs = self
            .jobs
            .iter()
            .map(|(patterns, rules)| {
                let mut rules = (**rules).clone();
                apply(&mut rules, &self.general);
                (patterns.clone(), Arc::new(rules))
            })
            .collect();
        let before = self.general.clone();
        apply(Arc::make_mut(&mut self.general), &before);
        self
    }

    /// What it says of where definitions and secrets are, without any ceiling.
    #[must_use]
    pub fn without_ceiling(&self) -> Policy {
        Policy {
            secrets: self.secrets.clone(),
            sources: self.sources.clone(),
            ..Policy::default()
        }
    }

    /// The file that it was read from, as it was named or found; nothing without one.
    pub fn file(&self) -> Option<&Arc<str>> {
        self.file.as_ref()
    }

    /// What no definition of a job may exceed.
    pub fn ceiling_for(&self, job: &JobId) -> Ceiling {
        let own = self
            .jobs
            .iter()
            .find(|(patterns, _)| patterns.iter().any(|pattern| pattern.fits(job.as_str())));
        Ceiling {
            rules: own.map_or(&self.general, |(_, rules)| rules).clone(),
            file: self.file.clone(),
        }
    }

    /// Whether no definition can be above it.
    fn limits_nothing(&self) -> bool {
        *self.general == Rules::default() && self.jobs.is_empty()
    }
}

fn sorted(mut problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
    problems.sort_by_key(|problem| problem.span.start);
    problems
}
