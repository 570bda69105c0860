//! What has become of a job's definition, one change after the other.

use serde::{Deserialize, Serialize};

use crate::clock::{Timestamp, rfc3339_option};
use crate::job::{DefinitionDigest, JobId};

/// How many changes of a job are kept, the newest.
pub const KEPT_CHANGES: u32 = 100;

/// The longest value that is kept of a key, in bytes: what is longer is cut.
const LONGEST_VALUE: usize = 1 << 10;

/// A change of a job's definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobChange {
    /// The job.
    pub job: JobId,
    /// When it came into force.
    #[serde(with = "instant")]
    pub at: Timestamp,
    /// What became of it.
    pub change: ChangeKind,
    /// Where the definition stands, or stood: a file and a line, a URL, `host:` and the job.
    pub origin: String,
    /// Who made the change, where a host was told to: nothing where a source has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The author's version of the definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Which definition it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<DefinitionDigest>,
    /// What differs from the definition before. Empty where that is not known: it was changed
    /// while no host ran.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It came into service, and was not before.
    Added,
    /// It has another definition.
    Updated,
    /// It went out of service.
    Removed,
}

impl ChangeKind {
    /// Its name: `added`, `updated`, `removed`.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Added => "added",
            ChangeKind::Updated => "updated",
            ChangeKind::Removed => "removed",
        }
    }

    /// The kind of a name.
    pub fn of_name(name: &str) -> Option<ChangeKind> {
        [Self::Added, Self::Updated, Self::Removed]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

/// A key of a definition that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The key.
    pub field: String,
    /// Its value before, as compact JSON; nothing where there was none, or where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its value now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl FieldChange {
    /// The keys in which two definitions differ, each a list of keys and their values as JSON, in
    /// the order of the newer one; what it no longer has comes last.
    pub fn between(before: &[(String, String)], after: &[(String, String)]) -> Vec<FieldChange> {
        fn find<'v>(them: &'v [(String, String)], key: &str) -> Option<&'v str> {
            them.iter()
                .find_map(|(name, value)| (name == key).then_some(value.as_str()))
        }
        let changed = after.iter().filter_map(|(key, value)| {
            let old = find(before, key);
            (old != Some(value)).then(|| FieldChange {
                field: key.clone(),
                before: old.map(short),
                after: Some(short(value)),
            })
        });
        let gone = before.iter().filter(|(key, _)| find(after, key).is_none());
        let gone = gone.map(|(key, value)| FieldChange {
            field: key.clone(),
            before: Some(short(value)),
            after: None,
        });
        changed.chain(gone).collect()
    }

    /// A key of which only the name is known.
    pub fn named(field: &str) -> FieldChange {
        FieldChange {
            field: field.to_owned(),
            before: None,
            after: None,
        }
    }
}

/// As much of a value as is kept.
fn short(value: &str) -> String {
    if value.len() <= LONGEST_VALUE {
        return value.to_owned();
    }
    let end = value.floor_char_boundary(LONGEST_VALUE);
    format!("{}…", value.get(..end).unwrap_or_default())
}

mod instant {
    use super::{Timestamp, rfc3339_option};
    use serde::Serializer;

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        rfc3339_option::serialize(&Some(*at), to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(them: &[(&str, &str)]) -> Vec<(String, String)> {
        them.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_differs_is_told_with_both_values() {
        let before = members(&[
            ("trigger", "\"@hourly\""),
            ("args", "[1]"),
            ("version", "1"),
        ]);
        let after = members(&[
            ("version", "2"),
            ("trigger", "\"@hourly\""),
            ("group", "\"x\""),
        ]);
        let told: Vec<String> = FieldChange::between(&before, &after)
            .iter()
            .map(|it| format!("{} {:?} {:?}", it.field, it.before, it.after))
            .collect();
        assert_eq!(
            told,
            [
                r#"version Some("1") Some("2")"#,
                r#"group None Some("\"x\"")"#,
                r#"args Some("[1]") None"#,
            ]
        );
        assert!(FieldChange::between(&after, &after).is_empty());
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let long = members(&[("params", &"ü".repeat(LONGEST_VALUE))]);
        let [change] = &FieldChange::between(&[], &long)[..] else {
            panic!("one key");
        };
        let kept = change.after.as_ref().unwrap();
        assert!(kept.len() <= LONGEST_VALUE + '…'.len_utf8() && kept.ends_with('…'));
    }

    #[test]
    fn a_kind_comes_back_from_its_name() {
        for kind in [ChangeKind::Added, ChangeKind::Updated, ChangeKind::Removed] {
            assert_eq!(ChangeKind::of_name(kind.as_str()), Some(kind));
        }
        assert_eq!(ChangeKind::of_name("gone"), None);
    }
}
