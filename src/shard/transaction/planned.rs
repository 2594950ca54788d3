//! The plan of a transaction: where its commands run, and which shards take part.

use crate::gate::Place;

/// Where the commands of a transaction run. Kept for reuse.
#[derive(Debug, Default)]
pub(in crate::shard) struct Plan {
    /// Place of each command.
    pub(in crate::shard) places: Vec<Place>,
    /// Shards that take part.
    pub(in crate::shard) shards: Vec<u16>,
    /// Whether a command gathers keys of several shards.
    pub(in crate::shard) gathers: bool,
    /// Whether a command runs on the session.
    pub(in crate::shard) has_session: bool,
    /// Whether a session command may send a request to all shards. If so, no other unit may see the
    /// keys before the replies have come.
    pub(in crate::shard) has_ask: bool,
}

impl Plan {
    /// Empties the plan.
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.shards.clear();
        self.gathers = false;
        self.has_session = false;
        self.has_ask = false;
    }

    /// Adds a shard that takes part.
    pub(super) fn add(&mut self, shard: u16) {
        if !self.shards.contains(&shard) {
            self.shards.push(shard);
        }
    }
}
