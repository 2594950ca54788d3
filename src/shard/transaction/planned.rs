//! The plan of a transaction: where its commands run, and which shards take part.

use crate::exec::{Item, Session};
use crate::gate::Place;

/// Where the commands of a transaction run. Kept for reuse.
#[derive(Debug, Default)]
pub(in crate::shard) struct Plan {
    /// Place of each command.
    pub(in crate::shard) places: Vec<Place>,
    /// Shards that take part.
    pub(in crate::shard) shards: Vec<u16>,
    /// Whether it needs locks: a command gathers keys of several shards, or what
    /// [`Plan::complete`] says.
    pub(in crate::shard) gathers: bool,
    /// Whether a command runs on the session.
    pub(in crate::shard) has_session: bool,
    /// Whether a command publishes a message.
    pub(in crate::shard) publishes: bool,
    /// Whether a session command may send a request to all shards. If so, no other unit may see the
    /// keys before the replies have come, and no shard may hand its slice over.
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

    /// Completes the plan of a unit on a server with `shards` shards after all commands were
    /// planned.
    ///
    /// A request to all shards may need their slices. So a unit that makes one takes part on all
    /// shards: its lock keeps each slice here until the unit is over. Otherwise another unit could
    /// have one slice while it waits for this unit's locks on other shards.
    ///
    /// A session command that follows the commands before it needs a round of its own.
    ///
    /// If the client has subscriptions, a transaction on several shards locks its keys, and so has
    /// one moment among the messages that the client gets. Messages of a transaction that runs in
    /// one step on one shard are published there. Otherwise the home publishes them, after the
    /// commands before: the locks hide until then what these have changed.
    pub(super) fn complete(
        &mut self,
        (home, shards): (u16, usize),
        items: &[Item],
        session: &Session,
    ) {
        if self.has_ask {
            (0..shards as u16).for_each(|shard| self.add(shard));
        }
        let follows = |item: &Item| item.entry.command.follows_commands;
        self.gathers |= self.has_session && !self.shards.is_empty() && items.iter().any(follows);
        self.gathers |= session.has_subscriptions() && self.shards.len() > 1;
        if self.publishes {
            self.place_publications(home, items);
        }
        self.shards.sort_unstable();
    }

    fn place_publications(&mut self, home: u16, items: &[Item]) {
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
