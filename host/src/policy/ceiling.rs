//! What no definition may exceed, for one job: its rules, and what a definition asks above them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::pattern::Pattern;
use super::place::{Answer, Place, Placed, Rule, ask, only};
use super::reach::{Endpoints, Origins, addresses_named, holds_range};
use super::roots::{Confinement, Outside, Root, confine};
use crate::job::grants::network::{AddressRange, HostPattern};
use crate::job::{
    Access, DirGrant, EnvValue, HttpGrant, Job, Limits, Overlap, ScheduleGrant, StateQuota,
};
use crate::units::{format_count, format_duration_exact, format_size};

/// What a ceiling says, each rule by itself; nothing where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) timeout: Option<Placed<Duration>>,
    pub(super) fuel: Option<Placed<u64>>,
    pub(super) memory: Option<Placed<u64>>,
    pub(super) output: Option<Placed<u64>>,
    pub(super) log_rate: Option<Placed<u64>>,
    pub(super) handles: Option<Placed<u32>>,
    pub(super) max_instances: Option<Placed<u32>>,
    pub(super) env: Rule<Pattern>,
    pub(super) config: Rule<Pattern>,
    pub(super) dirs: Rule<Root>,
    pub(super) dir_quota: Option<Placed<u64>>,
    pub(super) http: Rule<Origins>,
    pub(super) sockets: Rule<Endpoints>,
    pub(super) addresses: Rule<AddressRange>,
    pub(super) secrets: Rule<Pattern>,
    pub(super) state: Option<Placed<StateRule>>,
    pub(super) schedule: Option<Placed<ScheduleRule>>,
    // What only the definition of a job's creator says.
    pub(super) deadline: Option<Placed<Duration>>,
    pub(super) priority: Option<Placed<i8>>,
    pub(super) http_limits: Option<Placed<HttpLimits>>,
    pub(super) http_addresses: Rule<AddressRange>,
    pub(super) socket_addresses: Rule<AddressRange>,
}

/// What a ceiling says of the jobs that a job may define.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ScheduleRule {
    None,
    UpTo {
        /// How many.
        jobs: u32,
        /// What the prefix of their ids has to begin with, and be longer than.
        prefix: Option<Arc<str>>,
    },
}

/// How many HTTP requests a run may send, how large, and how long each may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HttpLimits {
    pub(super) timeout: Duration,
    pub(super) requests: u32,
    pub(super) body: u64,
}

/// What a ceiling says of a job's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StateRule {
    None,
    UpTo(StateQuota),
}

impl Rules {
    /// These rules where there are some, and those of `general` for the rest.
    pub(super) fn over(self, general: &Rules) -> Rules {
        macro_rules! each {
            ($($rule:ident),*) => {
                Rules { $($rule: self.$rule.or_else(|| general.$rule.clone())),* }
            };
        }
        each!(
            timeout,
            fuel,
            memory,
            output,
            log_rate,
            handles,
            max_instances,
            env,
            config,
            dirs,
            dir_quota,
            http,
            sockets,
            addresses,
            secrets,
            state,
            schedule,
            deadline,
            priority,
            http_limits,
            http_addresses,
            socket_addresses
        )
    }
}

/// A limit or a grant of a definition. The grants of a list are counted from 0, in the order of
/// the definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Item {
    /// `timeout` of its limits.
    Timeout,
    /// `fuel` of its limits.
    Fuel,
    /// `memory` of its limits.
    Memory,
    /// `output` of its limits.
    Output,
    /// `log_rate` of its limits.
    LogRate,
    /// `handles` of its limits.
    Handles,
    /// `max_instances`.
    MaxInstances,
    /// A variable of its environment.
    Env(usize),
    /// A setting.
    Config(usize),
    /// A directory.
    Dir(usize),
    /// An origin of `http`.
    HttpOrigin(usize),
    /// A range of `addresses` in `http`.
    HttpAddress(usize),
    /// An endpoint of `sockets`.
    SocketEndpoint(usize),
    /// A range of `addresses` in `sockets`.
    SocketAddress(usize),
    /// A secret.
    Secret(usize),
    /// The state.
    State,
    /// The jobs that it may define.
    Schedule,
    /// `deadline`.
    Deadline,
    /// `priority`.
    Priority,
    /// `http` as a whole: its limits.
    Http,
    /// Its id.
    Id,
}

/// Something that a definition asks and the ceiling does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it is in the definition.
    pub item: Item,
    /// What is asked, in words, such as `` `timeout` 1 h ``.
    pub asked: String,
    /// What would be allowed, such as `at most 30 s`.
    pub allowed: String,
    /// Where the ceiling says so.
    pub place: Place,
}

impl fmt::Display for Refusal {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal {
            asked,
            allowed,
            place,
            ..
        } = self;
        write!(to, "{asked} {}: {allowed} ({place})", place.exceeded())
    }
}

/// What no definition of one job may exceed. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Ceiling {
    pub(super) rules: Arc<Rules>,
    /// The file, if there is one.
    pub(super) file: Option<Arc<str>>,
}

impl Ceiling {
    /// The limits of a job where the ceiling is below a default that nobody wrote; nothing if
    /// they may stay as they are. What is written in a definition is left alone, and refused.
    pub fn lowered(&self, job: &Job) -> Option<Limits> {
        fn lower<T: Ord + Copy>(limit: &mut T, most: &Option<Placed<T>>, line: u32) {
            if let Some(most) = most
                && line == 0
            {
                *limit = most.value.min(*limit);
            }
        }
        let rules = &*self.rules;
        let [timeout, fuel, memory, output, log_rate, handles] = job.origin.limit_lines;
        let mut limits = job.limits;
        lower(&mut limits.timeout, &rules.timeout, timeout);
        lower(&mut limits.fuel, &rules.fuel, fuel);
        lower(&mut limits.memory, &rules.memory, memory);
        lower(&mut limits.output, &rules.output, output);
        lower(&mut limits.log_rate, &rules.log_rate, log_rate);
        lower(&mut limits.handles, &rules.handles, handles);
        (limits != job.limits).then_some(limits)
    }

    /// Everything that a job asks and the ceiling does not allow, in the order of [`Item`].
    pub fn refusals(&self, job: &Job) -> Vec<Refusal> {
        let mut found = Vec::new();
        self.judge_limits(job, &mut found);
        let grants = &*job.grants;
        for (index, (name, value)) in grants.env.iter().enumerate() {
            let item = Item::Env(index);
            let asked = format!("the variable {name:?}");
            refuse_unlisted(item, asked, &self.rules.env, name, &mut found);
            if let EnvValue::Secret(secret) = value {
                self.judge_secret(item, secret, &mut found);
            }
        }
        for (index, (key, _)) in grants.config.iter().enumerate() {
            let asked = format!("the setting {key:?}");
            let item = Item::Config(index);
            refuse_unlisted(item, asked, &self.rules.config, key, &mut found);
        }
        for (index, dir) in grants.dirs.iter().enumerate() {
            self.judge_dir(Item::Dir(index), dir, &mut found);
        }
        if let Some(http) = &grants.http {
            for (index, origin) in http.origins.iter().enumerate() {
                let item = Item::HttpOrigin(index);
                if let Answer::No(place, list) = ask(&self.rules.http, |it| it.hold(origin)) {
                    found.push(unlisted(item, format!("the origin {origin}"), place, list));
                } else {
                    self.judge_host(item, &origin.host, &mut found);
                }
            }
            let own = &self.rules.http_addresses;
            for (index, range) in http.addresses.iter().enumerate() {
                self.judge_range(Item::HttpAddress(index), range, own, &mut found);
            }
            self.judge_http(http, &mut found);
        }
        if let Some(sockets) = &grants.sockets {
            for (index, endpoint) in sockets.endpoints.iter().enumerate() {
                let item = Item::SocketEndpoint(index);
                if let Answer::No(place, list) = ask(&self.rules.sockets, |it| it.hold(endpoint)) {
                    found.push(unlisted(
                        item,
                        format!("the endpoint {endpoint}"),
                        place,
                        list,
                    ));
                } else {
                    self.judge_host(item, &endpoint.host, &mut found);
                }
            }
            let own = &self.rules.socket_addresses;
            for (index, range) in sockets.addresses.iter().enumerate() {
                self.judge_range(Item::SocketAddress(index), range, own, &mut found);
            }
        }
        for (index, name) in grants.secrets.iter().enumerate() {
            self.judge_secret(Item::Secret(index), name, &mut found);
        }
        if let Some(quota) = &grants.state {
            self.judge_state(quota, &mut found);
        }
        if let Some(schedule) = &grants.schedule {
            self.judge_schedule(schedule, &mut found);
        }
        found
    }

    fn judge_limits(&self, job: &Job, found: &mut Vec<Refusal>) {
        let mut check = |item, name: &str, asked: String, most: Option<(String, &Place)>| {
            if let Some((most, place)) = most {
                found.push(Refusal {
                    item,
                    asked: format!("`{name}` {asked}"),
                    allowed: format!("at most {most}"),
                    place: place.clone(),
                });
            }
        };
        /// The maximum if it is passed, in words.
        fn passed<T: Ord + Copy>(
            asked: T,
            most: &Option<Placed<T>>,
            show: impl Fn(T) -> String,
        ) -> Option<(String, &Place)> {
            let most = most.as_ref().filter(|most| asked > most.value)?;
            Some((show(most.value), &most.place))
        }
        let (rules, limits) = (&*self.rules, &job.limits);
        let time = format_duration_exact;
        let size = exact_size;
        check(
            Item::Timeout,
            "timeout",
            time(limits.timeout),
            passed(limits.timeout, &rules.timeout, time),
        );
        check(
            Item::Fuel,
            "fuel",
            fuel(limits.fuel),
            passed(limits.fuel, &rules.fuel, fuel),
        );
        check(
            Item::Memory,
            "memory",
            size(limits.memory),
            passed(limits.memory, &rules.memory, size),
        );
        check(
            Item::Output,
            "output",
            size(limits.output),
            passed(limits.output, &rules.output, size),
        );
        check(
            Item::LogRate,
            "log_rate",
            size(limits.log_rate),
            passed(limits.log_rate, &rules.log_rate, size),
        );
        check(
            Item::Handles,
            "handles",
            limits.handles.to_string(),
            passed(limits.handles, &rules.handles, |it| it.to_string()),
        );
        // Where overlaps are allowed, `max_instances` does not count.
        let (instances, shown) = match job.policies.overlap {
            Overlap::Allow => (
                u32::MAX,
                "without a bound, by \"overlap\": \"allow\",".to_owned(),
            ),
            _ => (job.max_instances, job.max_instances.to_string()),
        };
        check(
            Item::MaxInstances,
            "max_instances",
            shown,
            passed(instances, &rules.max_instances, |it| it.to_string()),
        );
        let deadline = job.policies.deadline.unwrap_or(Duration::MAX);
        let shown = match job.policies.deadline {
            Some(deadline) => time(deadline),
            None => "without a bound".to_owned(),
        };
        check(
            Item::Deadline,
            "deadline",
            shown,
            passed(deadline, &rules.deadline, time),
        );
        let priority = job.policies.priority;
        check(
            Item::Priority,
            "priority",
            priority.to_string(),
            passed(priority, &rules.priority, |it| it.to_string()),
        );
    }

    fn judge_http(&self, http: &HttpGrant, found: &mut Vec<Refusal>) {
        let Some(most) = &self.rules.http_limits else {
            return;
        };
        let mut check = |passed: bool, asked: String, allowed: String| {
            if passed {
                found.push(Refusal {
                    item: Item::Http,
                    asked: format!("`http` with {asked}"),
                    allowed: format!("at most {allowed}"),
                    place: most.place.clone(),
                });
            }
        };
        let time = |it: &Duration| format_duration_exact(*it);
        let HttpLimits {
            timeout,
            requests,
            body,
        } = &most.value;
        check(
            http.timeout > *timeout,
            format!("`timeout` {}", time(&http.timeout)),
            time(timeout),
        );
        check(
            http.requests > *requests,
            format!("`requests` {}", http.requests),
            requests.to_string(),
        );
        check(
            http.body > *body,
            format!("`body` {}", exact_size(http.body)),
            exact_size(*body),
        );
    }

    fn judge_schedule(&self, grant: &ScheduleGrant, found: &mut Vec<Refusal>) {
        let Some(rule) = &self.rules.schedule else {
            return;
        };
        let mut refuse = |asked: String, allowed: String| {
            found.push(Refusal {
                item: Item::Schedule,
                asked,
                allowed,
                place: rule.place.clone(),
            });
        };
        match &rule.value {
            ScheduleRule::None => refuse("`schedule`".into(), "none is allowed".into()),
            ScheduleRule::UpTo { jobs, prefix } => {
                if grant.max_jobs > *jobs {
                    let asked = format!("`schedule` of {} jobs", grant.max_jobs);
                    refuse(asked, format!("at most {jobs}"));
                }
                if let Some(prefix) = prefix
                    && !(grant.prefix.starts_with(&**prefix) && grant.prefix.len() > prefix.len())
                {
                    refuse(
                        format!("`schedule` of {:?}", grant.prefix),
                        format!("what begins with {prefix:?} and is longer"),
                    );
                }
            }
        }
    }

    fn judge_dir(&self, item: Item, dir: &DirGrant, found: &mut Vec<Refusal>) {
        let shown = dir.host.display();
        let writes = dir.access == Access::ReadWrite;
        let mut quota = self.rules.dir_quota.clone();
        match self.answer_dir(dir) {
            DirAnswer::NoRule | DirAnswer::Yes(_, None) => {}
            DirAnswer::Yes(place, Some(confinement)) => {
                if let Some(value) = confinement.quota {
                    let place = place.clone();
                    quota = Some(Placed { value, place });
                }
            }
            DirAnswer::No(place, list, why) => {
                let (asked, allowed) = match why {
                    Outside::Elsewhere => (format!("the directory {shown}"), only_in(list)),
                    Outside::ReadOnly => (
                        format!("writing in the directory {shown}"),
                        format!("it may only be read; {}", only_in(list)),
                    ),
                    Outside::LeadsTo(real) => (
                        format!("the directory {shown}, which leads to {},", real.display()),
                        only_in(list),
                    ),
                };
                found.push(Refusal {
                    item,
                    asked,
                    allowed,
                    place: place.clone(),
                });
            }
        }
        if let Some(most) = &quota
            && writes
            && dir.quota.is_none_or(|quota| quota > most.value)
        {
            let asked = match dir.quota {
                None => format!("the directory {shown} to write in without a quota"),
                Some(quota) => format!("the quota {} of {shown}", exact_size(quota)),
            };
            let most_size = exact_size(most.value);
            found.push(Refusal {
                item,
                asked,
                allowed: match dir.quota {
                    None => format!("with a quota of at most {most_size}"),
                    Some(_) => format!("at most {most_size}"),
                },
                place: most.place.clone(),
            });
        }
    }

    pub(super) fn answer_dir(&self, dir: &DirGrant) -> DirAnswer<'_> {
        use super::place::Allowed;
        let Some(rule) = &self.rules.dirs else {
            return DirAnswer::NoRule;
        };
        match &rule.value {
            Allowed::Any => DirAnswer::Yes(&rule.place, None),
            Allowed::Only(roots) => match confine(roots, dir) {
                Ok((confinement, root)) => DirAnswer::Yes(&root.place, Some(confinement)),
                Err(why) => DirAnswer::No(&rule.place, roots, why),
            },
        }
    }

    /// Where a granted directory is to be opened so that it stays beneath the root that allows
    /// it; nothing if the ceiling names no roots, and it may be opened by its own path.
    ///
    /// # Errors
    /// If it is beneath none of the roots, or leads out of them, as it is now: in words.
    pub fn confine(&self, dir: &DirGrant) -> Result<Option<Confinement>, String> {
        match self.answer_dir(dir) {
            DirAnswer::NoRule => Ok(None),
            DirAnswer::Yes(_, confinement) => Ok(confinement),
            DirAnswer::No(place, roots, why) => {
                let shown = dir.host.display();
                let what = match why {
                    Outside::Elsewhere => String::new(),
                    Outside::ReadOnly => " to write in".into(),
                    Outside::LeadsTo(real) => format!(", which leads to {},", real.display()),
                };
                Err(format!(
                    "the directory {shown}{what} is above the operator's ceiling: {} ({place})",
                    only_in(roots)
                ))
            }
        }
    }

    /// Judges the addresses of one's own networks that a host reaches by its very name.
    fn judge_host(&self, item: Item, host: &HostPattern, found: &mut Vec<Refusal>) {
        for address in addresses_named(host) {
            let answer = ask(&self.rules.addresses, |range| range.contains(address));
            if let Answer::No(place, list) = answer {
                let class = "which is not public,";
                let asked = match host {
                    HostPattern::Name(name) => format!("{name}, that is {address}, {class}"),
                    _ => format!("the address {address}, {class}"),
                };
                found.push(unlisted(item, asked, place, list));
                return;
            }
        }
    }

    /// Judges a range by the rule for all, and by the one for ranges of its kind.
    fn judge_range(
        &self,
        item: Item,
        asked: &AddressRange,
        own: &Rule<AddressRange>,
        found: &mut Vec<Refusal>,
    ) {
        for rule in [&self.rules.addresses, own] {
            if let Answer::No(place, list) = ask(rule, |range| holds_range(range, asked)) {
                found.push(unlisted(item, format!("the range {asked}"), place, list));
            }
        }
    }

    fn judge_secret(&self, item: Item, name: &str, found: &mut Vec<Refusal>) {
        let asked = format!("the secret {name:?}");
        refuse_unlisted(item, asked, &self.rules.secrets, name, found);
    }

    fn judge_state(&self, quota: &StateQuota, found: &mut Vec<Refusal>) {
        let Some(rule) = &self.rules.state else {
            return;
        };
        let mut refuse = |asked: String, allowed: String| {
            found.push(Refusal {
                item: Item::State,
                asked,
                allowed,
                place: rule.place.clone(),
            });
        };
        match &rule.value {
            StateRule::None => refuse("`state`".into(), "none is allowed".into()),
            StateRule::UpTo(most) => {
                if quota.keys > most.keys {
                    refuse(
                        format!("a state of {} keys", quota.keys),
                        format!("at most {}", most.keys),
                    );
                }
                if quota.size > most.size {
                    refuse(
                        format!("a state of {}", exact_size(quota.size)),
                        format!("at most {}", exact_size(most.size)),
                    );
                }
            }
        }
    }
}

/// What the ceiling says of a directory.
pub(super) enum DirAnswer<'r> {
    NoRule,
    Yes(&'r Place, Option<Confinement>),
    No(&'r Place, &'r [Placed<Root>], Outside),
}

fn refuse_unlisted(
    item: Item,
    asked: String,
    rule: &Rule<Pattern>,
    name: &str,
    found: &mut Vec<Refusal>,
) {
    if let Answer::No(place, list) = ask(rule, |pattern| pattern.fits(name)) {
        found.push(unlisted(item, asked, place, list));
    }
}

fn unlisted<T: fmt::Display>(
    item: Item,
    asked: String,
    place: &Place,
    list: &[Placed<T>],
) -> Refusal {
    Refusal {
        item,
        asked,
        allowed: only(list),
        place: place.clone(),
    }
}

fn only_in(roots: &[Placed<Root>]) -> String {
    only(roots).replacen("only ", "only in ", 1)
}

fn fuel(fuel: u64) -> String {
    match fuel {
        Limits::UNLIMITED_FUEL => "unlimited".into(),
        // Exactly, where rounding would hide by how little it is above.
        fuel if !fuel.is_multiple_of(1_000_000) => fuel.to_string(),
        fuel => format_count(fuel),
    }
}

fn exact_size(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 10) && !bytes.is_multiple_of(1 << 20) {
        format!("{} KiB", bytes >> 10)
    } else if bytes.is_multiple_of(1 << 20) && !bytes.is_multiple_of(1 << 30) {
        format!("{} MiB", bytes >> 20)
    } else if bytes.is_multiple_of(1 << 30) {
        format_size(bytes)
    } else {
        format!("{bytes} bytes")
    }
}
