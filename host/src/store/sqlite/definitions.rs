//! What is kept of definitions.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::SqliteStore;
use super::rows::{from_nanos, to_nanos};
use super::writer::{Command, Note};
use crate::job::{DefinitionDigest, JobId, MadeBy, OnRemoval, OwnDefinition, SourceText};
use crate::record::{ChangeKind, JobChange, KEPT_CHANGES};
use crate::store::definitions::{DefinitionStore, Kept, Last, noted};
use crate::store::{BoxFuture, StoreError};

/// How many changes are written in one go.
const CHANGES: usize = 1_000;

impl DefinitionStore for SqliteStore {
    fn kept(&self) -> BoxFuture<'_, Result<HashMap<Arc<str>, Kept>, StoreError>> {
        Box::pin(self.inner.clone().read(read_kept))
    }

    fn own(&self) -> BoxFuture<'_, Result<Vec<OwnDefinition>, StoreError>> {
        Box::pin(self.inner.clone().read(read_own))
    }

    fn put(&self, definition: OwnDefinition) -> BoxFuture<'_, Result<(), StoreError>> {
        let put = move |reply| Command::Put(Box::new(definition), reply);
        Box::pin(self.inner.ask(put))
    }

    fn remove(&self, job: JobId) -> BoxFuture<'_, Result<bool, StoreError>> {
        let give_up = move |reply| Command::GiveUp(job, reply);
        Box::pin(self.inner.ask(give_up))
    }

    fn keep(&self, source: Arc<str>, kept: Kept) {
        self.inner.send(Command::Keep(source, kept));
    }

    fn changed(&self, changes: Vec<JobChange>) {
        // Not all at once: those who wait for a run to be recorded would wait for all of them.
        let mut changes = changes.into_iter();
        loop {
            let some: Vec<JobChange> = changes.by_ref().take(CHANGES).collect();
            if some.is_empty() {
                return;
            }
            self.inner.send(Command::Note(Note::Changed(some)));
        }
    }

    fn changes(&self, job: JobId) -> BoxFuture<'_, Result<Vec<JobChange>, StoreError>> {
        let read = move |connection: &Connection| read_changes(connection, &job);
        Box::pin(self.inner.clone().read(read))
    }
}

/// The changes of a job, the newest first.
pub(super) fn read_changes(
    connection: &Connection,
    job: &JobId,
) -> rusqlite::Result<Vec<JobChange>> {
    connection
        .prepare_cached(
            "SELECT at, change, origin, changed_by, version, definition, fields FROM changes \
             WHERE job = (SELECT id FROM jobs WHERE name = ?) ORDER BY id DESC",
        )?
        .query_map([job.as_str()], |row| {
            let kind: String = row.get(1)?;
            let fields: Option<String> = row.get(6)?;
            Ok(JobChange {
                job: job.clone(),
                at: from_nanos(row.get(0)?),
                // Only those are written.
                change: ChangeKind::of_name(&kind).unwrap_or(ChangeKind::Updated),
                origin: row.get(2)?,
                by: row.get(3)?,
                version: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
                definition: digest(row.get(5)?),
                fields: fields
                    .and_then(|fields| serde_json::from_str(&fields).ok())
                    .unwrap_or_default(),
            })
        })?
        .collect()
}

fn digest(number: Option<i64>) -> Option<DefinitionDigest> {
    number.map(|number| DefinitionDigest(number.cast_unsigned()))
}

/// Notes a change of the job that has the number `of` here, if it is one.
pub(super) fn note_change(
    connection: &Connection,
    of: i64,
    change: &JobChange,
) -> rusqlite::Result<()> {
    let last = connection
        .prepare_cached(
            "SELECT change, definition FROM changes WHERE job = ? ORDER BY id DESC LIMIT 1",
        )?
        .query_row([of], |row| {
            let kind: String = row.get(0)?;
            Ok(Last {
                change: ChangeKind::of_name(&kind).unwrap_or(ChangeKind::Updated),
                definition: digest(row.get(1)?),
            })
        })
        .optional()?;
    let Some(kind) = noted(change, last) else {
        return Ok(());
    };
    // Names and texts: that can always be written.
    let fields = (!change.fields.is_empty())
        .then(|| serde_json::to_string(&change.fields).unwrap_or_default());
    connection
        .prepare_cached(
            "INSERT INTO changes (job, at, change, origin, changed_by, version, definition, fields) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            of,
            to_nanos(change.at),
            kind.as_str(),
            change.origin,
            change.by,
            change.version.map(u64::cast_signed),
            change.definition.map(|digest| digest.0.cast_signed()),
            fields,
        ])?;
    if last.is_some() {
        connection
            .prepare_cached(
                "DELETE FROM changes WHERE job = ?1 AND id <= \
                 (SELECT id FROM changes WHERE job = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![of, KEPT_CHANGES])?;
    }
    Ok(())
}

fn read_own(connection: &Connection) -> rusqlite::Result<Vec<OwnDefinition>> {
    connection
        .prepare_cached("SELECT job, text, creator, on_removal FROM definitions ORDER BY job")?
        .query_map([], |row| {
            let (job, creator): (String, Option<String>) = (row.get(0)?, row.get(2)?);
            let on_removal: Option<String> = row.get(3)?;
            Ok(OwnDefinition {
                job: JobId::from(job.as_str()),
                text: row.get(1)?,
                made_by: creator.map(|creator| MadeBy {
                    creator: JobId::from(creator.as_str()),
                    // Only those are written.
                    on_removal: match on_removal.as_deref() {
                        Some("keep") => OnRemoval::Keep,
                        _ => OnRemoval::Remove,
                    },
                }),
            })
        })?
        .collect()
}

/// Keeps a definition of the host's own.
pub(super) fn put(connection: &Connection, definition: &OwnDefinition) -> rusqlite::Result<()> {
    let by = definition.made_by.as_ref();
    connection
        .prepare_cached(
            "INSERT INTO definitions (job, text, creator, on_removal) VALUES (?, ?, ?, ?) \
             ON CONFLICT (job) DO UPDATE SET text = excluded.text, creator = excluded.creator, \
             on_removal = excluded.on_removal",
        )?
        .execute(params![
            definition.job.as_str(),
            definition.text,
            by.map(|by| by.creator.as_str()),
            by.map(|by| by.on_removal.as_str()),
        ])?;
    Ok(())
}

/// Gives a definition of the host's own up. Says whether there was one.
pub(super) fn give_up(connection: &Connection, job: &JobId) -> rusqlite::Result<bool> {
    let removed = connection
        .prepare_cached("DELETE FROM definitions WHERE job = ?")?
        .execute([job.as_str()])?;
    Ok(removed > 0)
}

fn read_kept(connection: &Connection) -> rusqlite::Result<HashMap<Arc<str>, Kept>> {
    let mut sources = HashMap::new();
    let mut of_source = HashMap::new();
    let mut rows = connection.prepare_cached("SELECT id, name, said_at FROM sources")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let (id, name): (i64, String) = (row.get(0)?, row.get(1)?);
        let name: Arc<str> = name.into();
        let kept = Kept {
            documents: Vec::new(),
            at: from_nanos(row.get(2)?),
        };
        of_source.insert(id, name.clone());
        sources.insert(name, kept);
    }
    let mut rows = connection
        .prepare_cached("SELECT source, name, text FROM documents ORDER BY source, place")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let source = of_source.get(&row.get::<_, i64>(0)?);
        let Some(kept) = source.and_then(|name| sources.get_mut(name)) else {
            continue; // of no source: nothing that this host wrote
        };
        let (name, text): (String, String) = (row.get(1)?, row.get(2)?);
        // Longer than it was when it was kept it cannot be; if it is, it is not ours.
        if let Ok(text) = SourceText::from_bytes(name, text.into_bytes()) {
            kept.documents.push(Arc::new(text));
        }
    }
    Ok(sources)
}

/// Puts what a source says in the place of what it said before.
pub(super) fn keep(connection: &Connection, source: &str, kept: &Kept) -> rusqlite::Result<()> {
    let id: i64 = connection
        .prepare_cached(
            "INSERT INTO sources (name, said_at) VALUES (?, ?) \
             ON CONFLICT (name) DO UPDATE SET said_at = excluded.said_at RETURNING id",
        )?
        .query_row(params![source, to_nanos(kept.at)], |row| row.get(0))?;
    connection
        .prepare_cached("DELETE FROM documents WHERE source = ?")?
        .execute([id])?;
    let mut insert = connection
        .prepare_cached("INSERT INTO documents (source, place, name, text) VALUES (?, ?, ?, ?)")?;
    for (place, document) in (0_i64..).zip(&kept.documents) {
        insert.execute(params![id, place, &**document.name(), document.text()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::instant;
    use crate::store::definitions::conformance;

    #[tokio::test]
    async fn definitions_are_kept_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path(), instant(0)).unwrap();
        conformance::what_was_said_last_is_kept(&store).await;
        conformance::own_definitions_are_kept(&store).await;
        conformance::changes_are_noted(&store).await;
        drop(store);
        let store = SqliteStore::open(dir.path(), instant(9)).unwrap();
        let kept = store.kept().await.unwrap();
        assert_eq!(kept["a"].documents[0].text(), "[3]");
        assert_eq!(kept.len(), 2);
        assert_eq!(
            store.changes("a".into()).await.unwrap()[0].version,
            Some(199)
        );
        let own = store.own().await.unwrap();
        let told = own.iter().map(|it| (it.job.as_str(), it.made_by.is_some()));
        assert_eq!(told.collect::<Vec<_>>(), [("b", false), ("d", true)]);
    }
}
