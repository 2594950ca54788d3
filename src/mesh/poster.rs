//! Messages of pub/sub, posted to the inboxes of the shards with subscribers.

use super::inbox::{Mesh, Message};
use crate::pubsub::{Poster, Published};
use std::sync::Arc;

impl Poster for Mesh {
    /// Posts the message by rules 4 and 5 of the mesh. The caller holds the lock of the
    /// subscriptions, and nobody waits for that lock while holding the sequencer.
    fn post(&self, mut message: Published) {
        let is_alone = message.homes.len() == 1 || !self.rules.sequencer;
        message.sequence = if is_alone { 0 } else { self.sequencer.begin(|| self.point()) };
        let sequence = message.sequence;
        let message = Arc::new(message);
        for &(home, _) in &message.homes {
            self.push(usize::from(home), Message::Published(Arc::clone(&message)));
        }
        if !is_alone {
            self.sequencer.end(sequence);
        }
        for &(home, _) in &message.homes {
            // A holder of the shard's partition finds the message, and rings for it.
            if self.is_free(usize::from(home)) {
                self.wake(usize::from(home));
            }
        }
    }

    fn idle(&self) {
        Mesh::idle(self);
    }
}
