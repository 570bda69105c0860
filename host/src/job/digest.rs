//! What tells one definition of a job from another.

use std::fmt;

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::document::{Member, Node, Value};

/// A short name for what a definition says: the same for one that is only written in another
/// order, with other spaces or comments. Sixteen hexadecimal digits, the beginning of a SHA-256.
///
/// It is of the job's own text, of what its file says for all of its jobs, and of the files that
/// this one names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DefinitionDigest(pub u64);

impl fmt::Display for DefinitionDigest {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:016x}", self.0)
    }
}

impl Serialize for DefinitionDigest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// What a file says for all of its jobs, ready to be continued with each of them.
#[derive(Clone, Default)]
pub(super) struct Digester(Sha256);

impl Digester {
    /// Adds what a file says besides its jobs.
    pub(super) fn add_settings(&mut self, root: &Node<'_>) {
        if let Value::Object(members) = &root.value {
            members_of(members.iter().filter(|it| it.key != "jobs"), &mut self.0);
        }
    }

    /// Adds what another file holds.
    pub(super) fn add_file(&mut self, digest: Option<[u8; 32]>) {
        self.0.update(digest.unwrap_or_default());
    }

    /// The digest of one job.
    pub(super) fn of_job(&self, job: &Node<'_>) -> DefinitionDigest {
        let mut hash = self.0.clone();
        add(job, &mut hash);
        let digest: [u8; 32] = hash.finalize().into();
        let (first, _) = digest.split_at(8);
        DefinitionDigest(
            first
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        )
    }
}

/// Adds a value so that no two different ones add the same.
fn add(node: &Node<'_>, hash: &mut Sha256) {
    match &node.value {
        Value::Null => hash.update(b"n"),
        Value::Bool(true) => hash.update(b"t"),
        Value::Bool(false) => hash.update(b"f"),
        Value::Number(digits) => text(b'0', digits, hash),
        Value::String(string) => text(b's', string, hash),
        Value::Array(values) => {
            hash.update(b"[");
            values.iter().for_each(|value| add(value, hash));
            hash.update(b"]");
        }
        Value::Object(members) => members_of(members.iter(), hash),
    }
}

fn members_of<'n, 'a: 'n>(members: impl Iterator<Item = &'n Member<'a>>, hash: &mut Sha256) {
    let mut members: Vec<_> = members.collect();
    members.sort_by(|one, other| one.key.cmp(&other.key));
    hash.update(b"{");
    for member in members {
        text(b'k', &member.key, hash);
        add(&member.value, hash);
    }
    hash.update(b"}");
}

fn text(kind: u8, text: &str, hash: &mut Sha256) {
    hash.update([kind]);
    hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
    hash.update(text);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::job::manifest::Options;
    use crate::job::{Manifest, SourceText};

    fn digests(text: &str) -> Vec<String> {
        let source = SourceText::new("jobs.json", text.to_owned());
        let manifest = Manifest::parse(Arc::new(source), &Options::default()).unwrap();
        let digests = manifest.jobs().map(|job| job.origin.definition.unwrap());
        digests.map(|digest| digest.to_string()).collect()
    }

    #[test]
    fn what_is_said_counts_and_not_how() {
        let job = |more: &str| {
            format!(r#"{{"id": "a", "component": "a.wasm", "trigger": "@every 5s"{more}}}"#)
        };
        let plain = digests(&format!("[{}]", job("")));
        assert_eq!(plain[0].len(), 16);
        let same = r#"[ // the same
            {"trigger":"@every 5s", "component":"a.wasm", "id":"\u0061",}]"#;
        assert_eq!(digests(same), plain);
        let params = |text: &str| digests(&format!("[{}]", job(&format!(r#", "params": {text}"#))));
        let mut seen = vec![plain.clone()];
        for text in [
            "1",
            "1.0",
            "\"1\"",
            "[1]",
            "[[1]]",
            "{\"1\": 1}",
            "null",
            "true",
            "[1, 1]",
            "[11]",
        ] {
            seen.push(params(text));
        }
        // What the file says for all of its jobs is a part of each.
        let zoned = |zone: &str| {
            digests(&format!(
                r#"{{"timezone": "{zone}", "jobs": [{}]}}"#,
                job("")
            ))
        };
        seen.push(zoned("Europe/Berlin"));
        seen.push(zoned("Asia/Tokyo"));
        for (index, one) in seen.iter().enumerate() {
            assert!(!seen[..index].contains(one), "{index}: {seen:?}");
        }
        assert_eq!(digests(&format!(r#"{{"jobs": [{}]}}"#, job(""))).len(), 1);
    }
}
