//! WATCH: a connection's watches are kept by the owners of the keys.

use super::Shard;
use super::replicas::NO_CONNECTION;
use crate::client::ReplySource;
use crate::exec::{Merge, Request};
use crate::io::ConnId;
use crate::mesh::{Envelope, Work};
use crate::resp::Reply;

/// Watches that are to end on other shards and wait for credits, at most; those of more clients
/// stay until the process ends, which costs memory and breaks nothing: ids are not used twice.
const UNWATCH_DUE_MAX: usize = 1 << 16;

impl Shard {
    /// Watches keys for the connection.
    pub(super) fn watch(&mut self, conn: ConnId, keys: Vec<Vec<u8>>) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let session = &mut connection.session;
        let (client, db) = (session.id, session.db);
        self.board.gauges.clients_watching.add(i64::from(connection.watched.is_empty()));
        let names = keys.iter().map(|key| (db, self.slice.key(key).hash));
        connection.watched.extend(names);
        let mut by_shard: Vec<Vec<Vec<u8>>> = vec![Vec::new(); self.router.shards()];
        for key in keys {
            let owner = self.router.owner_of(&key);
            if !session.watched_shards.contains(&owner) {
                session.watched_shards.push(owner);
            }
            by_shard[usize::from(owner)].push(key);
        }
        // A transaction of this connection may be over for it and still have to store here: that
        // lies in the inbox, and comes first.
        if self.locks.is_empty() {
            self.watch_here(client, db, &std::mem::take(&mut by_shard[self.me]));
        }
        let mut flight = self.flights.pop().unwrap_or_default();
        let mut envelopes: Vec<Box<Envelope>> = Vec::new();
        for (shard, keys) in by_shard.into_iter().enumerate().filter(|(_, keys)| !keys.is_empty()) {
            let mut envelope = self.port.envelope(shard);
            envelope.part = envelopes.len() as u16;
            envelope.work = Work::Ask(Request::WatchHere { client, db, keys });
            flight.members.push(envelope.part);
            envelopes.push(envelope);
        }
        if envelopes.is_empty() {
            let connection = self.connections.get_mut(conn).expect("it is being served");
            let protocol = connection.session.protocol;
            return Reply::new(&mut connection.outbox.output, protocol).ok();
        }
        flight.order.push(ReplySource::Merged(Merge::Ok, 0..envelopes.len() as u32));
        self.launch(conn, flight, envelopes);
    }

    /// Watches keys of this shard.
    pub(super) fn watch_here(&mut self, client: u64, db: usize, keys: &[Vec<u8>]) {
        for key in keys {
            let key = self.slice.key(key);
            self.slice.watch(client, db, &key);
        }
        self.board.gauges.keys_watched.set(self.slice.watched_keys() as i64);
    }

    /// The connection watches nothing more; which shards kept its watches.
    pub(super) fn take_watched(&mut self, conn: ConnId) -> Vec<u16> {
        let Some(connection) = self.connections.get_mut(conn) else { return Vec::new() };
        let watched = std::mem::take(&mut connection.watched);
        self.board.gauges.clients_watching.add(-i64::from(!watched.is_empty()));
        std::mem::take(&mut connection.session.watched_shards)
    }

    /// Forgets what a client watches on this shard.
    pub(super) fn unwatch_here(&mut self, client: u64) {
        self.slice.unwatch(client);
        self.board.gauges.keys_watched.set(self.slice.watched_keys() as i64);
    }

    /// Forgets what the connection watches, on all shards. Nobody waits for that.
    pub(super) fn unwatch(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let client = connection.session.id;
        for shard in self.take_watched(conn) {
            if usize::from(shard) == self.me {
                self.unwatch_here(client);
            } else if self.unwatch_due.len() < UNWATCH_DUE_MAX {
                self.unwatch_due.push((shard, client));
            }
        }
        self.unwatch_due();
    }

    /// Tells other shards which watches are to end, as far as there are credits.
    pub(super) fn unwatch_due(&mut self) {
        let mut due = std::mem::take(&mut self.unwatch_due);
        due.retain(|&(shard, client)| {
            if !self.port.has_credit(usize::from(shard)) {
                return true;
            }
            let mut envelope = self.port.envelope(usize::from(shard));
            envelope.connection = NO_CONNECTION;
            envelope.work = Work::Ask(Request::UnwatchHere(client));
            self.port.post(std::iter::once(envelope), self.moment());
            false
        });
        self.unwatch_due = due;
    }
}
