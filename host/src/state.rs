//! The state of a job: what it keeps between its runs, as snapshots and sets of changes.
//!
//! A run reads one [`Snapshot`], and what it changes lands as one set of [`Changes`], or not at
//! all. Where snapshots come from and where changes go is behind [`StateSpace`].

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::job::StateQuota;
use crate::units::{format_count, format_size};

/// The values of a job's keys at one moment. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    entries: Arc<BTreeMap<Arc<str>, Entry>>,
    /// Bytes of all keys and values.
    size: u64,
    /// How many sets of changes have landed.
    version: u64,
}

/// A value and when it landed.
#[derive(Debug, Clone)]
struct Entry {
    value: Arc<[u8]>,
    /// The version of the snapshot that first had it.
    since: u64,
}

/// What a run has read and changed of its job's state.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The new value of each key that was written; nothing for one that was deleted.
    pub writes: BTreeMap<Arc<str>, Option<Arc<[u8]>>>,
    /// The keys that were looked at.
    pub reads: BTreeSet<Arc<str>>,
    /// The prefixes under which keys were listed.
    pub listed: BTreeSet<String>,
    /// The snapshot that they were made on.
    pub base: Snapshot,
    /// How many keys and bytes the run sees, once it has written something.
    seen: Option<(usize, u64)>,
}

impl Changes {
    /// Nothing read or changed yet of a snapshot.
    pub fn on(base: Snapshot) -> Self {
        Changes {
            base,
            ..Changes::default()
        }
    }

    /// Whether there is nothing to land.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The value of a key as the run sees it, which rests on it from now on.
    pub fn get(&mut self, key: &str) -> Option<Arc<[u8]>> {
        if let Some(written) = self.writes.get(key) {
            return written.clone();
        }
        if !self.reads.contains(key) {
            self.reads.insert(key.into());
        }
        self.base.get(key).cloned()
    }

    /// The keys that begin so, in order, as the run sees them.
    pub fn keys(&mut self, prefix: &str) -> Vec<Arc<str>> {
        self.listed.insert(prefix.to_owned());
        let written = self
            .writes
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        let mut keys: BTreeSet<Arc<str>> = self.base.keys(prefix).cloned().collect();
        for (key, value) in written {
            match value {
                Some(_) => keys.insert(key.clone()),
                None => keys.remove(key),
            };
        }
        keys.into_iter().collect()
    }

    /// Gives a key a value, or takes it away.
    ///
    /// # Errors
    /// [`StateError::Quota`] if the run would then see more than `quota` allows and than it saw
    /// before; nothing is changed.
    pub fn write(
        &mut self,
        key: &str,
        value: Option<Arc<[u8]>>,
        quota: StateQuota,
    ) -> Result<(), StateError> {
        let before = self.totals();
        let old = match self.writes.get(key) {
            Some(written) => written.as_ref(),
            None => self.base.get(key),
        };
        let (mut keys, mut size) = before;
        if let Some(old) = old {
            (keys, size) = (keys - 1, size - weight(key, old));
        }
        if let Some(new) = &value {
            (keys, size) = (keys + 1, size + weight(key, new));
        }
        check_quota(quota, before, (keys, size))?;
        self.writes.insert(key.into(), value);
        self.seen = Some((keys, size));
        Ok(())
    }

    /// How many keys and bytes the run sees.
    fn totals(&self) -> (usize, u64) {
        self.seen.unwrap_or((self.base.len(), self.base.size))
    }
}

/// Why changes do not land.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Another run has changed what this one has looked at.
    #[error(
        "another run of the job changed `{key}` in its state while this one was at work; nothing of this one's landed"
    )]
    Conflict {
        /// The first key, in order, that was changed.
        key: String,
    },
    /// More than the job may keep.
    #[error("limit: state of {}, {}; it wanted {wanted}", format_keys(&.quota.keys), format_size(.quota.size))]
    Quota {
        /// What it may keep.
        quota: StateQuota,
        /// What it wanted, in words.
        wanted: String,
    },
    /// The store does not do its work.
    #[error("{0}")]
    Unavailable(String),
}

fn format_keys(keys: &u64) -> String {
    match *keys {
        1 => "1 key".to_owned(),
        keys => format!("{} keys", format_count(keys)),
    }
}

impl Snapshot {
    /// The snapshot that a store has kept: each key with its value and the version that first had
    /// it, and the version of the whole.
    pub fn restored(
        kept: impl IntoIterator<Item = (Arc<str>, Arc<[u8]>, u64)>,
        version: u64,
    ) -> Snapshot {
        let entries: BTreeMap<_, _> = kept
            .into_iter()
            .map(|(key, value, since)| (key, Entry { value, since }))
            .collect();
        Snapshot {
            size: entries
                .iter()
                .map(|(key, entry)| weight(key, &entry.value))
                .sum(),
            entries: Arc::new(entries),
            version,
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Arc<[u8]>> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// The keys that begin so, in order.
    pub fn keys<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<str>> {
        self.entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map(|(key, _)| key)
            .take_while(move |key| key.starts_with(prefix))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all keys and values together.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many sets of changes have landed.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The snapshot after some changes. They may have been made on an earlier one, as long as
    /// nothing that they rest on has changed since.
    ///
    /// # Errors
    /// [`StateError::Conflict`], or [`StateError::Quota`] if more would be kept than `quota`
    /// allows and than there was before.
    pub fn apply(&self, changes: &Changes, quota: StateQuota) -> Result<Snapshot, StateError> {
        if let Some(key) = self.conflict(changes) {
            return Err(StateError::Conflict { key });
        }
        let version = self.version + 1;
        let mut entries = self.entries.clone();
        let mut size = self.size;
        let map = Arc::make_mut(&mut entries);
        for (key, value) in &changes.writes {
            let before = match value {
                Some(value) => {
                    size += weight(key, value);
                    let entry = Entry {
                        value: value.clone(),
                        since: version,
                    };
                    map.insert(key.clone(), entry)
                }
                None => map.remove(key),
            };
            if let Some(before) = before {
                size -= weight(key, &before.value);
            }
        }
        check_quota(quota, (self.len(), self.size), (map.len(), size))?;
        Ok(Snapshot {
            entries,
            size,
            version,
        })
    }

    /// The first key, of those that the changes rest on, that has changed since they were begun.
    fn conflict(&self, changes: &Changes) -> Option<String> {
        let base = &changes.base;
        if self.version == base.version {
            return None;
        }
        let since = |snapshot: &Snapshot, key: &str| snapshot.entries.get(key).map(|it| it.since);
        let read = changes
            .reads
            .iter()
            .find(|key| since(self, key) != since(base, key))
            .map(|key| key.to_string());
        read.or_else(|| {
            changes
                .listed
                .iter()
                .find_map(|prefix| first_difference(self.keys(prefix), base.keys(prefix)))
        })
    }
}

/// The first key that only one of two ordered listings has.
fn first_difference<'a>(
    mut these: impl Iterator<Item = &'a Arc<str>>,
    mut those: impl Iterator<Item = &'a Arc<str>>,
) -> Option<String> {
    loop {
        match (these.next(), those.next()) {
            (None, None) => return None,
            (this, that) if this == that => {}
            (this, that) => return this.into_iter().chain(that).min().map(|it| it.to_string()),
        }
    }
}

/// Bytes that a key and its value count for.
fn weight(key: &str, value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

/// Refuses more keys or bytes than the quota allows. What is there already may stay, and may
/// shrink: the quota may have been lowered since.
fn check_quota(
    quota: StateQuota,
    before: (usize, u64),
    after: (usize, u64),
) -> Result<(), StateError> {
    let wanted = if after.0 as u64 > quota.keys && after.0 > before.0 {
        format_keys(&(after.0 as u64))
    } else if after.1 > quota.size && after.1 > before.1 {
        format_size(after.1)
    } else {
        return Ok(());
    };
    Err(StateError::Quota { quota, wanted })
}

/// Where one job's state is kept. What runs a job is handed this, and nothing else of the store.
pub trait StateSpace: Send + Sync {
    /// The state as it is now.
    fn load(&self) -> BoxFuture<'_, Result<Snapshot, StateError>>;

    /// Lands changes at once, and gives the state with them.
    ///
    /// # Errors
    /// Nothing of them lands.
    fn commit(&self, changes: Changes) -> BoxFuture<'_, Result<Snapshot, StateError>>;
}

/// A state that is kept nowhere: empty at first, and gone when it is dropped.
#[derive(Debug)]
pub struct Ephemeral {
    quota: StateQuota,
    now: Mutex<Snapshot>,
}

impl Ephemeral {
    /// An empty state that may hold so much.
    pub fn new(quota: StateQuota) -> Self {
        Ephemeral {
            quota,
            now: Mutex::default(),
        }
    }
}

impl StateSpace for Ephemeral {
    fn load(&self) -> BoxFuture<'_, Result<Snapshot, StateError>> {
        Box::pin(std::future::ready(Ok(self.now.lock().clone())))
    }

    fn commit(&self, changes: Changes) -> BoxFuture<'_, Result<Snapshot, StateError>> {
        let mut now = self.now.lock();
        let landed = now.apply(&changes, self.quota);
        if let Ok(after) = &landed {
            *now = after.clone();
        }
        Box::pin(std::future::ready(landed))
    }
}

/// A future that a [`StateSpace`] hands out.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: StateQuota = StateQuota { keys: 3, size: 20 };

    fn value(text: &str) -> Option<Arc<[u8]>> {
        Some(text.as_bytes().into())
    }

    fn landed(on: &Snapshot, writes: &[(&str, Option<&str>)]) -> Snapshot {
        let mut changes = Changes::on(on.clone());
        for (key, text) in writes {
            changes
                .write(key, text.and_then(value), StateQuota::DEFAULT)
                .unwrap();
        }
        on.apply(&changes, StateQuota::DEFAULT).unwrap()
    }

    #[test]
    fn a_run_sees_what_it_writes_and_nobody_else_does() {
        let base = landed(&Snapshot::default(), &[("a", Some("1")), ("ab", Some("2"))]);
        let mut run = Changes::on(base.clone());
        run.write("a", value("x"), QUOTA).unwrap();
        run.write("ab", None, QUOTA).unwrap();
        run.write("ac", value("3"), QUOTA).unwrap();
        assert_eq!(run.get("a").as_deref(), Some(&b"x"[..]));
        assert_eq!(run.get("ab"), None);
        assert_eq!(run.keys("a"), ["a".into(), "ac".into()]);
        assert_eq!(base.get("a").map(|it| &**it), Some(&b"1"[..]));
        let after = base.apply(&run, QUOTA).unwrap();
        assert_eq!((after.len(), after.size(), after.version()), (2, 5, 2));
    }

    #[test]
    fn what_a_run_rests_on_must_not_have_changed() {
        let base = landed(&Snapshot::default(), &[("a", Some("1")), ("b", Some("2"))]);
        let with = |read: &dyn Fn(&mut Changes)| {
            let mut run = Changes::on(base.clone());
            read(&mut run);
            run.write("mine", value("3"), QUOTA).unwrap();
            run
        };
        let conflict = |key: &str| StateError::Conflict { key: key.into() };
        let reads_a = with(&|run| drop(run.get("a")));
        let lists = with(&|run| drop(run.keys("")));
        let blind = with(&|_| {});
        let other = landed(&base, &[("b", Some("x"))]);
        assert!(other.apply(&reads_a, QUOTA).is_ok());
        assert!(other.apply(&lists, QUOTA).is_ok());
        let other = landed(&base, &[("a", None)]);
        assert_eq!(other.apply(&reads_a, QUOTA).unwrap_err(), conflict("a"));
        assert_eq!(other.apply(&lists, QUOTA).unwrap_err(), conflict("a"));
        assert!(other.apply(&blind, QUOTA).is_ok());
        // Deleted and made anew is another one.
        let again = landed(&other, &[("a", Some("1"))]);
        assert_eq!(again.apply(&reads_a, QUOTA).unwrap_err(), conflict("a"));
        let key_that_was_not_there = with(&|run| drop(run.get("new")));
        let new = landed(&base, &[("new", Some("1"))]);
        let refused = new.apply(&key_that_was_not_there, QUOTA).unwrap_err();
        assert_eq!(refused, conflict("new"));
    }

    #[test]
    fn a_quota_refuses_growth_and_lets_what_is_there_shrink() {
        let many: Vec<_> = ["a", "b", "c", "d"].map(|key| (key, Some("12345"))).into();
        let base = landed(&Snapshot::default(), &many);
        let mut run = Changes::on(base.clone());
        let refused = run.write("e", value(""), QUOTA).unwrap_err();
        insta::assert_snapshot!(refused, @"limit: state of 3 keys, 20 B; it wanted 5 keys");
        assert!(run.is_empty());
        run.write("a", value("1"), QUOTA).unwrap();
        run.write("b", None, QUOTA).unwrap();
        let refused = run.write("a", value("123456789"), QUOTA).unwrap_err();
        insta::assert_snapshot!(refused, @"limit: state of 3 keys, 20 B; it wanted 22 B");
        assert_eq!(base.apply(&run, QUOTA).unwrap().size(), 14);
        // Two runs that fit one by one do not fit together.
        let empty = Snapshot::default();
        let half = |key: &str| {
            let mut run = Changes::on(empty.clone());
            run.write(key, value("123456789"), QUOTA).unwrap();
            run
        };
        let first = empty.apply(&half("a"), QUOTA).unwrap();
        assert!(first.apply(&half("b"), QUOTA).is_ok());
        let small = StateQuota { keys: 3, size: 19 };
        assert!(first.apply(&half("b"), small).is_err());
    }
}
