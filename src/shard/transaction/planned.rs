//! The plan of a transaction: where its commands run, and which shards take part.

use crate::exec::Item;
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
    /// Whether a command publishes a message.
    pub(in crate::shard) publishes: bool,
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
        self.publishes = false;
        self.has_ask = false;
    }

    /// Decides where messages are published, after all commands were planned. If the other commands
    /// run in one step on one shard, so do these. Otherwise the home publishes, after the commands
    /// before: the locks keep everything that has changed from being seen until then.
    pub(super) fn place_publications(&mut self, home: u16, items: &[Item]) {
        if !self.publishes {
            return;
        }
        let is_one = self.shards.len() <= 1 && !self.has_session && !self.gathers;
        let place = match is_one {
            true => Place::Shard(self.shards.first().copied().unwrap_or(home)),
            false => Place::Several,
        };
        self.gathers |= !is_one;
        for (item, placed) in items.iter().zip(&mut self.places) {
            if item.entry.publishes() {
                *placed = place;
            }
        }
        if self.shards.is_empty() {
            self.add(home);
        }
    }

    /// Adds a shard that takes part.
    pub(super) fn add(&mut self, shard: u16) {
        if !self.shards.contains(&shard) {
            self.shards.push(shard);
        }
    }
}
