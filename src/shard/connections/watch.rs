//! WATCH at the client's home shard. The owners of the keys keep the watches.

use crate::client::ReplySource;
use crate::exec::{Facts, Merge, Request};
use crate::io::ConnId;
use crate::mesh::{OneWay, Work};
use crate::resp::Reply;
use crate::shard::state::Shard;

impl Shard {
    /// Watches keys for the connection.
    pub(in crate::shard) fn watch(&mut self, conn: ConnId, keys: Vec<Vec<u8>>) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let session = &mut connection.session;
        let (client, db) = (session.id, session.db);
        self.env.board.gauges.clients_watching.add(i64::from(connection.watched.is_empty()));
        let slice = self.partition.slice();
        for key in &keys {
            let is_new = connection.watched.insert((db, slice.key(key).hash));
            connection.watched_bytes += if is_new { key.len() } else { 0 };
        }
        let epoch = self.env.router.map().epoch();
        if session.watched_epoch != epoch && !session.watched_shards.is_empty() {
            // The earlier watches may have moved with their keys.
            session.watched_shards = self.env.router.all_shards().collect();
        }
        session.watched_epoch = epoch;
        let mut by_shard: Vec<Vec<Vec<u8>>> = vec![Vec::new(); self.env.router.shards()];
        for key in keys {
            let owner = self.env.router.owner_of(&key);
            if !session.watched_shards.contains(&owner) {
                session.watched_shards.push(owner);
            }
            by_shard[usize::from(owner)].push(key);
        }
        // A transaction of this connection may have replied already but still have to store values
        // here. Its last part is in the inbox and must run first.
        if self.partition.has_no_locks() {
            let here = std::mem::take(&mut by_shard[self.env.me]);
            self.partition.watch(client, db, &here);
        }
        let mut flight = self.remote.flights.pop().unwrap_or_default();
        for (shard, keys) in by_shard.into_iter().enumerate().filter(|(_, keys)| !keys.is_empty()) {
            let mut envelope = self.port.envelope(shard);
            envelope.part = self.remote.unit.len() as u16;
            let request = Request::WatchHere { client, db, keys };
            envelope.work = Work::Control { request, at: 0 };
            flight.members.push(envelope.part);
            self.remote.unit.push(envelope);
        }
        if self.remote.unit.is_empty() {
            let connection = self.connections.get_mut(conn).expect("connection is open");
            let protocol = connection.session.protocol;
            return Reply::new(&mut connection.outbox.output, protocol).ok();
        }
        flight.order.push(ReplySource::Merged(Merge::Ok, 0..self.remote.unit.len() as u32));
        self.launch(conn, flight);
    }

    /// Returns whether hash slots may have moved since a command was routed by the map of an epoch,
    /// or may be moving.
    pub(in crate::shard) fn may_have_moved(&self, epoch: u64) -> bool {
        self.env.facts.has(Facts::MOVING) || self.env.process.slot_map.epoch() != epoch
    }

    /// Removes all watched keys of the connection. Returns the shards that keep its watches: all
    /// shards, if hash slots may have moved since.
    pub(in crate::shard) fn take_watched(&mut self, conn: ConnId) -> Vec<u16> {
        let Some(connection) = self.connections.get_mut(conn) else { return Vec::new() };
        let watched = std::mem::take(&mut connection.watched);
        connection.watched_bytes = 0;
        self.env.board.gauges.clients_watching.add(-i64::from(!watched.is_empty()));
        let epoch = connection.session.watched_epoch;
        let shards = std::mem::take(&mut connection.session.watched_shards);
        match !shards.is_empty() && self.may_have_moved(epoch) {
            true => self.env.router.all_shards().collect(),
            false => shards,
        }
    }

    /// Removes the connection's watches on all shards, without waiting for them.
    pub(in crate::shard) fn unwatch(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let client = connection.session.id;
        for shard in self.take_watched(conn) {
            if usize::from(shard) == self.env.me {
                self.partition.unwatch(client);
            } else {
                self.post_one_way(shard, OneWay::Unwatch(client));
            }
        }
    }
}
