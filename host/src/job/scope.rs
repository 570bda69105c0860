//! What people name as one where they hold jobs back: all of them, a group, a single one.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::JobId;

/// What can be paused as one. The widest come first in order.
///
/// ```
/// # use quarterjack::job::Scope;
/// let json = |scope: &Scope| serde_json::to_string(scope).unwrap();
/// assert_eq!(json(&Scope::All), r#""all""#);
/// assert_eq!(json(&Scope::Group("db".into())), r#"{"group":"db"}"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All jobs of the host.
    All,
    /// The jobs of the group of this name.
    Group(Arc<str>),
    /// One job.
    Job(JobId),
}

impl Scope {
    /// The scope in parts, as a store keeps it: what kind it is, and the name, which may be empty.
    pub fn to_parts(&self) -> (&'static str, &str) {
        match self {
            Scope::All => ("all", ""),
            Scope::Group(name) => ("group", name),
            Scope::Job(id) => ("job", id.as_str()),
        }
    }

    /// The scope that has these parts; nothing if none has.
    pub fn from_parts(kind: &str, name: &str) -> Option<Scope> {
        match kind {
            "all" => Some(Scope::All),
            "group" => Some(Scope::Group(name.into())),
            "job" => Some(Scope::Job(name.into())),
            _ => None,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::All => to.write_str("all jobs"),
            Scope::Group(name) => write!(to, "the group {name}"),
            Scope::Job(id) => write!(to, "the job {id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_comes_back_from_its_parts_and_its_json() {
        for scope in [
            Scope::All,
            Scope::Group("db".into()),
            Scope::Job("".into()),
            Scope::Job("a/b".into()),
        ] {
            let (kind, name) = scope.to_parts();
            assert_eq!(Scope::from_parts(kind, name), Some(scope.clone()));
            let json = serde_json::to_string(&scope).unwrap();
            assert_eq!(serde_json::from_str::<Scope>(&json).unwrap(), scope);
        }
        assert_eq!(Scope::from_parts("some", "a"), None);
    }
}
