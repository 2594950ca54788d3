//! The subscriber of events: what changed which key, for a part of the process that needs it.

use crate::keyspace::Raised;
use std::fmt::{Debug, Formatter};
use std::sync::{Arc, OnceLock};

/// Receives the events of all shards.
pub trait EventSubscriber: Send + Sync {
    /// Receives events of one shard in the order in which they were raised. Different shards call
    /// at the same time.
    fn receive(&self, shard: usize, events: &[Raised]);
}

/// The subscriber of a process, if there is one. Without one no shard logs events.
#[derive(Default)]
pub struct EventSubscription(OnceLock<Arc<dyn EventSubscriber>>);

impl EventSubscription {
    /// Sets the subscriber. Shards that exist already call it when they next read the settings.
    /// Returns false if there already is a subscriber.
    pub fn set(&self, subscriber: Arc<dyn EventSubscriber>) -> bool {
        self.0.set(subscriber).is_ok()
    }

    /// Returns whether there is a subscriber.
    pub fn is_on(&self) -> bool {
        self.0.get().is_some()
    }

    /// Passes events on to the subscriber.
    pub fn tell(&self, shard: usize, events: &[Raised]) {
        if let Some(subscriber) = self.0.get() {
            subscriber.receive(shard, events);
        }
    }
}

impl Debug for EventSubscription {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EventSubscription").field(&self.is_on()).finish()
    }
}
