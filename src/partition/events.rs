//! Events on their way from the slice to subscribers: the one place that publishes them.

use super::partition::Partition;
use crate::exec::Publisher;
use crate::keyspace::Raised;
use crate::mesh::{ClientRef, Envelope, ReplyTo};
use crate::pubsub::Cause;

impl Partition {
    /// Publishes the events of the slice, and tells tracking clients what has changed. Call it
    /// after every batch, and after everything else that may change keys or find expired ones.
    #[inline]
    pub(super) fn tell_events(&mut self) {
        self.tell_trackers();
        if self.slice.has_events() {
            let events = self.slice.take_events();
            self.tell(&events);
        }
    }

    /// Publishes the events of a command that has run away from its slice.
    pub fn tell(&self, events: &[Raised]) {
        if !events.is_empty() {
            self.publisher.tell(&self.env.config, events);
        }
    }

    /// Returns what publishes in the name of the partition.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Sets the connection whose command runs: its own messages go behind the command's reply, and
    /// keys are tracked for it.
    /// `home` is the shard of the connection.
    pub fn begin_cause(&mut self, home: u16, to: ReplyTo) {
        let cause =
            |client: ClientRef| Cause { home, conn: client.conn, generation: client.generation };
        self.publisher.cause = to.client().map(cause);
        self.enter_caller(to.caller(home));
    }

    /// Sets the connection whose part runs.
    pub(super) fn begin_part(&mut self, part: &Envelope) {
        self.begin_cause(part.home, part.reply_to);
    }

    /// Records that the command has run.
    pub fn end_cause(&mut self) {
        self.publisher.cause = None;
        self.enter_caller(None);
    }
}
