//! What is still to be sent to those who are told of events, and what was given up.

use super::{BoxFuture, StoreError};
use crate::record::{Delivery, DeliveryId};

/// How many deliveries that were given up are kept of each hook, the newest.
pub const KEPT_DEAD: u32 = 1_000;

/// What has become of a try to send something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// It has arrived, and is forgotten.
    Delivered,
    /// It has not, so many times by now, and will be tried again.
    Failed(u32, String),
    /// It has not, so many times, and is given up.
    GivenUp(u32, String),
}

/// Where deliveries are kept. Every backend passes the suite in `conformance`.
pub trait Outbox: Send + Sync + 'static {
    /// What is still to be sent, in the order of the events.
    ///
    /// # Errors
    /// The store cannot be read.
    fn waiting(&self) -> BoxFuture<'_, Result<Vec<Delivery>, StoreError>>;

    /// What was given up and is kept, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    fn given_up(&self) -> BoxFuture<'_, Result<Vec<Delivery>, StoreError>>;

    /// Keeps what is to be sent. Does not wait.
    ///
    /// After a crash: the newest may be missing.
    fn enqueue(&self, deliveries: Vec<Delivery>);

    /// Notes what has become of a delivery. Does not wait.
    ///
    /// After a crash: the note may be missing, and what has arrived is sent once more.
    fn settle(&self, id: DeliveryId, sent: Sent);
}

#[cfg(test)]
pub(in crate::store) mod conformance {
    use super::super::conformance::instant;
    use super::*;
    use crate::run::RunId;

    fn delivery(hook: &str, second: i64) -> Delivery {
        Delivery {
            id: RunId::from_u128((second.unsigned_abs() as u128) << 80),
            hook: hook.into(),
            event: "run.finished".into(),
            at: instant(second),
            body: format!("{{\"at\":{second}}}").into(),
            attempts: 0,
            error: None,
        }
    }

    fn told(them: &[Delivery]) -> Vec<String> {
        let told = them.iter().map(|it| {
            let second = it.at.timestamp();
            assert_eq!(*it.body, *format!("{{\"at\":{second}}}"));
            assert_eq!(&*it.event, "run.finished");
            let error = it.error.as_deref().unwrap_or_default();
            format!("{} {second} {} {error}", it.hook, it.attempts)
        });
        told.collect()
    }

    /// What was enqueued waits until it has arrived or is given up.
    pub(in crate::store) async fn deliveries_are_kept(store: &impl Outbox) {
        assert!(store.waiting().await.unwrap().is_empty());
        let (one, two, three) = (delivery("a", 1), delivery("b", 2), delivery("a", 3));
        store.enqueue(vec![one.clone(), two.clone()]);
        store.enqueue(vec![three.clone()]);
        store.settle(one.id, Sent::Failed(1, "refused".into()));
        let waiting = store.waiting().await.unwrap();
        assert_eq!(told(&waiting), ["a 1 1 refused", "b 2 0 ", "a 3 0 "]);
        store.settle(two.id, Sent::Delivered);
        store.settle(one.id, Sent::GivenUp(2, "gone".into()));
        assert_eq!(told(&store.waiting().await.unwrap()), ["a 3 0 "]);
        assert_eq!(told(&store.given_up().await.unwrap()), ["a 1 2 gone"]);
        // Only so many are kept of each.
        let many: Vec<Delivery> = (10..1_010 + 5).map(|it| delivery("a", it)).collect();
        store.enqueue(many.clone());
        for it in &many {
            store.settle(it.id, Sent::GivenUp(1, String::new()));
        }
        let given_up = store.given_up().await.unwrap();
        assert_eq!(given_up.len(), KEPT_DEAD as usize);
        assert_eq!(given_up[0].at, instant(1_014));
        assert_eq!(store.waiting().await.unwrap().len(), 1);
    }
}
