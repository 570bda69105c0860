//! Events on their way to those who want to hear of them.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::run::RunId;

/// An event on its way to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Unique, and in the order of the events.
    pub id: DeliveryId,
    /// The hook, by its name.
    pub hook: Arc<str>,
    /// The name of the event.
    pub event: Arc<str>,
    /// When the event was.
    pub at: Timestamp,
    /// What is sent: the event as JSON.
    pub body: Arc<str>,
    /// How many times it was tried to send it.
    pub attempts: u32,
    /// Why the last try failed.
    pub error: Option<String>,
}

/// Which delivery it is: made as the ids of runs are.
pub type DeliveryId = RunId;
