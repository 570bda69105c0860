//! Webhooks: events that are told to somebody over HTTP, in order, until they have arrived.
//!
//! ```text
//! Events ──who wants it?──▶ outbox ──one after the other, a task for each hook──▶ POST
//!                             │ delivered: forgotten     failed: later, or given up
//! ```
//!
//! What is to be sent is kept in the store, so that it outlives the host. A hook that does not
//! answer holds up nobody but itself. What is sent is signed as
//! [Standard Webhooks](https://www.standardwebhooks.com/) has it.

mod post;
mod sign;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::clock::{Clock, Timestamp};
use crate::event::{Event, EventJson, Events, Stamped, Subscription};
use crate::policy::{Current, HookSettings};
use crate::record::Delivery;
use crate::record::is_failure;
use crate::run::RunId;
use crate::secret::Providers;
use crate::store::StoreError;
use crate::store::outbox::{Outbox, Sent};
use post::{Poster, Trouble};

/// How many deliveries of one hook wait at most. What comes beyond that is not sent.
const WAITING: usize = 10_000;

/// The longest body that is sent, in bytes. Of a longer one what the run left behind stays out.
const LONGEST_BODY: usize = 256 << 10;

/// How long until the second try; each one after it waits three times as long.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest time between two tries.
const LONGEST_DELAY: Duration = Duration::from_secs(60 * 60);

/// What sends events to hooks, until it is told to finish.
#[derive(Debug)]
pub struct Hooks {
    finish: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// What it takes to send events.
pub struct HookParts {
    /// Which hooks there are, as the operator says at the time.
    pub policy: Current,
    /// Who has the secrets that they sign with.
    pub secrets: Arc<Providers>,
    /// Where deliveries are kept.
    pub outbox: Arc<dyn Outbox>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where events come from, and where is told what is given up.
    pub events: Events,
}

impl Hooks {
    /// Begins to send: what the host before this one has left, and what happens from now on.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn start(parts: HookParts) -> Result<Hooks, StoreError> {
        let policy = parts.policy.clone();
        let subscription = parts
            .events
            .subscribe_while(move || !policy.get().hooks.is_empty());
        let mut desk = Desk {
            sender: Arc::new(Sender {
                policy: parts.policy,
                secrets: parts.secrets,
                outbox: parts.outbox,
                clock: parts.clock,
                events: parts.events,
                poster: Arc::default(),
            }),
            queues: HashMap::new(),
        };
        for delivery in desk.sender.outbox.waiting().await? {
            desk.send(delivery);
        }
        let (finish, finished) = oneshot::channel();
        let task = tokio::spawn(desk.run(subscription, finished));
        Ok(Hooks { finish, task })
    }

    /// Takes up what has been told until now, and ends. What is not sent by then is sent by the
    /// next host.
    pub async fn finish(self) {
        // It has ended already only after a bug, which its panic has told of.
        let _ = self.finish.send(());
        let _ = self.task.await;
    }
}

/// Decides who is told what.
struct Desk {
    sender: Arc<Sender>,
    /// By the names of the hooks.
    queues: HashMap<Arc<str>, Queue>,
}

/// What waits to be sent to a hook, by a task of its own.
struct Queue {
    deliveries: mpsc::Sender<Delivery>,
    task: JoinHandle<()>,
    /// Whether it is known to be full.
    is_full: bool,
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Desk {
    async fn run(mut self, mut events: Subscription, mut finished: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                biased;
                _ = &mut finished => break,
                event = events.recv() => match event {
                    Some(event) => self.note(&event),
                    None => break,
                },
            }
        }
        while let Some(event) = events.try_recv() {
            self.note(&event);
        }
    }

    /// Has an event sent to those who want to hear of it.
    fn note(&mut self, stamped: &Stamped) {
        let policy = self.sender.policy.get();
        if policy.hooks.is_empty() {
            return;
        }
        let Some(json) = EventJson::of(stamped) else {
            return;
        };
        // Of its own trouble it tells nobody whom it cannot reach.
        if matches!(stamped.event, Event::HookFailed { .. }) {
            return;
        }
        let wants = |hook: &&HookSettings| {
            hook.wants(json.event, json.job()) && (!hook.failures_only || tells_of_failure(stamped))
        };
        let hooks: Vec<&HookSettings> = policy.hooks.iter().filter(wants).collect();
        if hooks.is_empty() {
            return;
        }
        let name: Arc<str> = json.event.into();
        let Some(body) = body_of(json) else { return };
        for hook in hooks {
            let delivery = Delivery {
                id: RunId::new(stamped.at),
                hook: hook.name.clone(),
                event: name.clone(),
                at: stamped.at,
                body: body.clone(),
                attempts: 0,
                error: None,
            };
            if self.has_room(&hook.name) {
                self.sender.outbox.enqueue(vec![delivery.clone()]);
                self.send(delivery);
            }
        }
    }

    /// Whether something more may wait for a hook. That it may not is told once.
    fn has_room(&mut self, hook: &Arc<str>) -> bool {
        let queue = self.queue(hook);
        let has_room = queue.deliveries.capacity() > 0;
        if !std::mem::replace(&mut queue.is_full, !has_room) && !has_room {
            let error = format!(
                "{WAITING} events wait to be sent already; until some are, what happens is not sent"
            );
            self.sender.tell(hook, None, 0, error);
        }
        has_room
    }

    fn send(&mut self, delivery: Delivery) {
        let hook = delivery.hook.clone();
        // Where there is no room, it is sent by a later host: only what one has left comes to that.
        let _ = self.queue(&hook).deliveries.try_send(delivery);
    }

    fn queue(&mut self, hook: &Arc<str>) -> &mut Queue {
        let sender = &self.sender;
        self.queues.entry(hook.clone()).or_insert_with(|| {
            let (deliveries, waiting) = mpsc::channel(WAITING);
            Queue {
                deliveries,
                task: tokio::spawn(sender.clone().send_all(waiting)),
                is_full: false,
            }
        })
    }
}

/// Whether an event is about a run that failed, or about no run that has ended at all.
fn tells_of_failure(stamped: &Stamped) -> bool {
    match &stamped.event {
        Event::RunFinished { run } => is_failure(run.execution.outcome),
        _ => true,
    }
}

/// What is sent of an event.
fn body_of(json: EventJson<'_>) -> Option<Arc<str>> {
    let body = serde_json::to_string(&json).ok()?;
    if body.len() <= LONGEST_BODY {
        return Some(body.into());
    }
    let body = serde_json::to_string(&json.without_what_was_left()).ok()?;
    Some(body.into())
}

/// Sends what is to be sent.
struct Sender {
    policy: Current,
    secrets: Arc<Providers>,
    outbox: Arc<dyn Outbox>,
    clock: Arc<dyn Clock>,
    events: Events,
    poster: Arc<Poster>,
}

impl Sender {
    /// Sends what comes for one hook, one after the other.
    async fn send_all(self: Arc<Self>, mut waiting: mpsc::Receiver<Delivery>) {
        while let Some(delivery) = waiting.recv().await {
            self.deliver(delivery).await;
        }
    }

    /// Tries until it has arrived, or there is no sense in it any more.
    async fn deliver(&self, mut delivery: Delivery) {
        loop {
            let policy = self.policy.get();
            let hook = policy.hooks.iter().find(|it| it.name == delivery.hook);
            let Some(hook) = hook.cloned() else {
                let error = "the configuration has no such hook any more".to_owned();
                return self.give_up(&delivery, error);
            };
            drop(policy);
            let trouble = match self.post(&hook, &delivery).await {
                Ok(()) => return self.outbox.settle(delivery.id, Sent::Delivered),
                Err(trouble) => trouble,
            };
            delivery.attempts = delivery.attempts.saturating_add(1);
            if trouble.is_final || delivery.attempts >= hook.attempts {
                return self.give_up(&delivery, trouble.message);
            }
            let failed = Sent::Failed(delivery.attempts, trouble.message);
            self.outbox.settle(delivery.id, failed);
            let delay = delay(delivery.attempts, fastrand::f64());
            self.clock
                .sleep(trouble.retry_after.unwrap_or_default().max(delay))
                .await;
        }
    }

    async fn post(&self, hook: &HookSettings, delivery: &Delivery) -> Result<(), Trouble> {
        let (hook, delivery) = (hook.clone(), delivery.clone());
        let (poster, secrets) = (self.poster.clone(), self.secrets.clone());
        let now = self.clock.now();
        let posted =
            tokio::task::spawn_blocking(move || poster.post(&hook, &delivery, &secrets, now));
        // A bug, logged by its panic.
        posted
            .await
            .unwrap_or_else(|_| Err(Trouble::lasting("the host failed to send it (a bug)")))
    }

    fn give_up(&self, delivery: &Delivery, error: String) {
        let given_up = Sent::GivenUp(delivery.attempts, error.clone());
        self.outbox.settle(delivery.id, given_up);
        self.tell(&delivery.hook, Some(delivery.id), delivery.attempts, error);
    }

    fn tell(&self, hook: &Arc<str>, delivery: Option<RunId>, attempts: u32, error: String) {
        let event = Event::HookFailed {
            hook: hook.clone(),
            delivery,
            attempts,
            error,
        };
        self.events.emit(self.clock.now(), event);
    }
}

/// How long to wait after so many tries; `luck`, from 0 to 1, keeps those apart who failed
/// together.
fn delay(attempts: u32, luck: f64) -> Duration {
    let factor = 3u32.saturating_pow(attempts.saturating_sub(1));
    let delay = FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY);
    delay.mul_f64(0.8 + 0.4 * luck)
}

/// The instant of a try, as it is signed: whole seconds since 1970.
fn seconds(now: Timestamp) -> String {
    now.timestamp().to_string()
}

#[cfg(test)]
mod tests;
