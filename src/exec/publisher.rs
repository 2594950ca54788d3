//! Publishes messages of commands, and events on keys, for one partition.

use super::process::Process;
use crate::config::{Config, EventClasses};
use crate::keyspace::Raised;
use crate::pubsub::{Cause, Sort};
use bytes::Bytes;
use std::io::Write;
use std::sync::Arc;

const KEYSPACE: EventClasses = EventClasses::of(b'K');
const KEYEVENT: EventClasses = EventClasses::of(b'E');

/// Publishes in the name of a shard.
pub struct Publisher {
    process: Arc<Process>,
    shard: usize,
    /// The connection whose command runs. Its own messages go behind the command's reply.
    pub cause: Option<Cause>,
}

impl Publisher {
    /// Creates the publisher of a shard.
    pub fn new(process: &Arc<Process>, shard: usize) -> Publisher {
        Publisher { process: Arc::clone(process), shard, cause: None }
    }

    /// Publishes a message. Returns the number of subscriptions that get it.
    pub fn publish(&self, sort: Sort, channel: &[u8], payload: impl FnOnce() -> Bytes) -> usize {
        let from = (self.shard as u16, self.cause);
        self.process.pubsub.publish(from, sort, channel, payload)
    }

    /// Publishes events on keys in their order, and passes them to the process's subscriber.
    pub fn tell(&self, config: &Config, events: &[Raised]) {
        self.process.events.tell(self.shard, events);
        let classes = config.notify_keyspace_events;
        if !classes.publishes() {
            return;
        }
        let mut channel = Vec::new();
        for raised in events.iter().filter(|raised| classes.has(raised.event.class().set())) {
            let name = raised.event.name();
            if classes.has(KEYSPACE) {
                channel.clear();
                let _ = write!(channel, "__keyspace@{}__:", raised.db);
                channel.extend_from_slice(&raised.key);
                self.publish(Sort::Channel, &channel, || Bytes::from_static(name.as_bytes()));
            }
            if classes.has(KEYEVENT) {
                channel.clear();
                let _ = write!(channel, "__keyevent@{}__:{name}", raised.db);
                let payload = || Bytes::copy_from_slice(&raised.key);
                self.publish(Sort::Channel, &channel, payload);
            }
        }
    }

    /// Returns the classes of events that have to be logged under these settings.
    pub fn logged(&self, config: &Config) -> EventClasses {
        match config.notify_keyspace_events {
            _ if self.process.events.is_on() => EventClasses::EVERY,
            classes if classes.publishes() => classes,
            _ => EventClasses::NONE,
        }
    }
}
