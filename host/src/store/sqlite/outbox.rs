//! What is still to be sent, and what was given up.

use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::rows::{from_key, from_nanos, to_key, to_nanos};
use super::writer::{Command, Note};
use crate::record::{Delivery, DeliveryId};
use crate::store::outbox::{KEPT_DEAD, Outbox, Sent};
use crate::store::{BoxFuture, StoreError};

impl Outbox for SqliteStore {
    fn waiting(&self) -> BoxFuture<'_, Result<Vec<Delivery>, StoreError>> {
        Box::pin(self.inner.clone().read(read_waiting))
    }

    fn given_up(&self) -> BoxFuture<'_, Result<Vec<Delivery>, StoreError>> {
        Box::pin(self.inner.clone().read(read_given_up))
    }

    fn enqueue(&self, deliveries: Vec<Delivery>) {
        self.inner.send(Command::Note(Note::Enqueued(deliveries)));
    }

    fn settle(&self, id: DeliveryId, sent: Sent) {
        self.inner.send(Command::Note(Note::Sent(id, sent)));
    }
}

const COLUMNS: &str = "id, hook, event, at, body, attempts, error";

/// What is still to be sent, in the order of the events.
pub(super) fn read_waiting(connection: &Connection) -> rusqlite::Result<Vec<Delivery>> {
    read(connection, "given_up = 0 ORDER BY id")
}

/// What was given up, the newest first.
pub(super) fn read_given_up(connection: &Connection) -> rusqlite::Result<Vec<Delivery>> {
    read(connection, "given_up = 1 ORDER BY id DESC")
}

fn read(connection: &Connection, which: &str) -> rusqlite::Result<Vec<Delivery>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM deliveries WHERE {which}"))?
        .query_map([], of_row)?
        .collect()
}

fn of_row(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let text = |column| row.get::<_, String>(column);
    Ok(Delivery {
        id: from_key(row.get(0)?),
        hook: text(1)?.into(),
        event: text(2)?.into(),
        at: from_nanos(row.get(3)?),
        body: text(4)?.into(),
        attempts: row.get(5)?,
        error: row.get(6)?,
    })
}

/// Keeps what is to be sent.
pub(super) fn enqueue(connection: &Connection, deliveries: &[Delivery]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO deliveries (id, hook, event, at, body) VALUES (?, ?, ?, ?, ?)",
    )?;
    for it in deliveries {
        let (id, at) = (to_key(it.id), to_nanos(it.at));
        insert.execute(params![id, &*it.hook, &*it.event, at, &*it.body])?;
    }
    Ok(())
}

/// Notes what has become of a delivery.
pub(super) fn settle(connection: &Connection, id: DeliveryId, sent: &Sent) -> rusqlite::Result<()> {
    let id = to_key(id);
    let (attempts, error, given_up) = match sent {
        Sent::Delivered => {
            connection
                .prepare_cached("DELETE FROM deliveries WHERE id = ?")?
                .execute([id])?;
            return Ok(());
        }
        Sent::Failed(attempts, error) => (attempts, error, false),
        Sent::GivenUp(attempts, error) => (attempts, error, true),
    };
    connection
        .prepare_cached("UPDATE deliveries SET attempts = ?, error = ?, given_up = ? WHERE id = ?")?
        .execute(params![attempts, error, given_up, id])?;
    if given_up {
        connection
            .prepare_cached(
                "DELETE FROM deliveries WHERE given_up = 1 AND id <= ( \
                   SELECT id FROM deliveries WHERE given_up = 1 \
                   AND hook = (SELECT hook FROM deliveries WHERE id = ?1) \
                   ORDER BY id DESC LIMIT 1 OFFSET ?2 \
                 ) AND hook = (SELECT hook FROM deliveries WHERE id = ?1)",
            )?
            .execute(params![id, KEPT_DEAD])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::instant;
    use crate::store::outbox::conformance;

    #[tokio::test]
    async fn what_is_to_be_sent_outlives_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path(), instant(0)).unwrap();
        conformance::deliveries_are_kept(&store).await;
        drop(store);
        let store = SqliteStore::open(dir.path(), instant(9)).unwrap();
        assert_eq!(store.waiting().await.unwrap().len(), 1);
    }
}
