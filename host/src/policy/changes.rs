//! What one configuration says otherwise than another. Where it says it does not count: a comment
//! more changes nothing.

use super::Policy;
use super::ceiling::Rules;
use super::place::{Allowed, Place, Placed, Rule};

impl Policy {
    /// The sections, such as `[ceiling]`, that say something else in another configuration.
    pub fn changed_sections(&self, other: &Policy) -> Vec<&'static str> {
        let sections = [
            ("[ceiling]", self.same_ceiling(other)),
            ("[secrets]", self.secrets == other.secrets),
            ("[plugins]", self.plugins == other.plugins),
            ("[host]", self.host == other.host),
            ("[history]", self.history == other.history),
            ("[[source]]", self.changed_source(other).is_none()),
            ("[[hook]]", self.same_hooks(other)),
        ];
        let changed = sections.into_iter().filter(|(_, same)| !same);
        changed.map(|(name, _)| name).collect()
    }

    /// Where it says how much memory the runs may have; the file as a whole if it says nothing of
    /// that, and nothing without a file.
    pub fn max_memory_place(&self) -> Option<Place> {
        let said = self.max_memory_place.clone();
        said.or_else(|| Some(Place::File(self.file.clone()?)))
    }

    /// Where it says something of a source that another configuration does not, or that one
    /// something that it does not; nothing if both have the same sources.
    pub fn changed_source(&self, other: &Policy) -> Option<Place> {
        let (ours, theirs) = (&self.sources, &other.sources);
        let differs = ours
            .iter()
            .zip(&**theirs)
            .find(|(it, other)| !it.says_as(other));
        let own = differs.map(|(it, _)| it).or_else(|| ours.get(theirs.len()));
        if own.is_none() && ours.len() == theirs.len() {
            return None;
        }
        let place = own.map(|source| source.place.clone());
        place.or_else(|| Some(Place::File(self.file.clone().or(other.file.clone())?)))
    }

    fn same_hooks(&self, other: &Policy) -> bool {
        let (ours, theirs) = (&self.hooks, &other.hooks);
        ours.len() == theirs.len()
            && ours
                .iter()
                .zip(&**theirs)
                .all(|(it, other)| it.says_as(other))
    }

    fn same_ceiling(&self, other: &Policy) -> bool {
        let sections = || self.jobs.iter().zip(&*other.jobs);
        self.general.says_as(&other.general)
            && self.jobs.len() == other.jobs.len()
            && sections().all(|((patterns, rules), (others, other))| {
                patterns == others && rules.says_as(other)
            })
    }
}

impl Rules {
    /// Whether others say the same, be it elsewhere.
    fn says_as(&self, other: &Rules) -> bool {
        macro_rules! each {
            ($($rule:ident: $same:ident),* $(,)?) => {{
                // Taken apart so that none is forgotten.
                let Rules { $($rule),* } = self;
                $($same($rule, &other.$rule))&&*
            }};
        }
        each!(
            timeout: same,
            fuel: same,
            memory: same,
            output: same,
            log_rate: same,
            handles: same,
            max_instances: same,
            env: same_list,
            config: same_list,
            dirs: same_list,
            dir_quota: same,
            http: same_list,
            sockets: same_list,
            addresses: same_list,
            secrets: same_list,
            state: same,
            schedule: same,
            deadline: same,
            priority: same,
            http_limits: same,
            http_addresses: same_list,
            socket_addresses: same_list,
        )
    }
}

fn same<T: PartialEq>(one: &Option<Placed<T>>, other: &Option<Placed<T>>) -> bool {
    one.as_ref().map(|it| &it.value) == other.as_ref().map(|it| &it.value)
}

fn same_list<T: PartialEq>(one: &Rule<T>, other: &Rule<T>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return one.is_none() && other.is_none();
    };
    match (&one.value, &other.value) {
        (Allowed::Any, Allowed::Any) => true,
        (Allowed::Only(list), Allowed::Only(others)) => {
            let values = list.iter().map(|it| &it.value);
            values.eq(others.iter().map(|it| &it.value))
        }
        _ => false,
    }
}
