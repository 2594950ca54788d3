//! Events on their way from the slice to the process's subscriber: the one place that calls it.

use super::partition::Partition;
use crate::keyspace::Raised;

impl Partition {
    /// Passes the events of the slice on to the subscriber. Call it after every batch, and after
    /// everything else that may change keys or find expired ones.
    #[inline]
    pub(super) fn tell_events(&mut self) {
        if self.slice.has_events() {
            let events = self.slice.take_events();
            self.tell(&events);
        }
    }

    /// Passes the events of a command on that has run away from its slice.
    pub fn tell(&self, events: &[Raised]) {
        if !events.is_empty() {
            self.env.process.events.tell(self.env.me, events);
        }
    }
}
