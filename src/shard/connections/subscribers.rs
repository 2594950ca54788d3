//! The subscribers among a shard's connections, by name.

use crate::io::ConnId;
use crate::mesh::ClientRef;
use crate::pubsub::Sort;
use ahash::RandomState;
use bytes::Bytes;
use std::collections::HashMap;

/// A subscription of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscriber {
    pub(super) client: ClientRef,
    /// Version of the first message that is for it.
    pub(super) since: u64,
    /// Version of the first message that is not for it any more, if the subscription is ending.
    pub(super) until: u64,
}

impl Subscriber {
    pub(super) fn new(client: ClientRef, since: u64) -> Subscriber {
        Subscriber { client, since, until: u64::MAX }
    }

    /// Returns whether a message with this version is for the subscription.
    #[inline]
    pub(super) fn gets(&self, version: u64) -> bool {
        self.since <= version && version < self.until
    }
}

type Names = HashMap<Bytes, Vec<Subscriber>, RandomState>;

/// All subscribers of a shard. The list of a name is sorted by connection.
#[derive(Debug)]
pub(in crate::shard) struct Subscribers {
    names: [Names; Sort::COUNT],
    /// Connections that the present message is for; empty between messages.
    pub(super) reached: Vec<ClientRef>,
}

fn place(list: &[Subscriber], conn: ConnId) -> Result<usize, usize> {
    list.binary_search_by_key(&conn, |subscriber| subscriber.client.conn)
}

impl Subscribers {
    pub(super) fn new(hasher: &RandomState) -> Subscribers {
        let names = [(); Sort::COUNT].map(|()| Names::with_hasher(hasher.clone()));
        Subscribers { names, reached: Vec::new() }
    }

    pub(super) fn add(&mut self, sort: Sort, name: &Bytes, subscriber: Subscriber) {
        let list = self.names[sort as usize].entry(name.clone()).or_default();
        match place(list, subscriber.client.conn) {
            Ok(_) => unreachable!("a connection subscribes once to a name"),
            Err(at) => list.insert(at, subscriber),
        }
    }

    /// Sets the version from which on a subscription gets no messages.
    pub(super) fn end(&mut self, sort: Sort, name: &Bytes, conn: ConnId, until: u64) {
        let list = self.names[sort as usize].get_mut(name).expect("the connection has subscribed");
        let at = place(list, conn).expect("the connection has subscribed");
        list[at].until = until;
    }

    pub(super) fn remove(&mut self, sort: Sort, name: &Bytes, conn: ConnId) {
        let names = &mut self.names[sort as usize];
        let list = names.get_mut(name).expect("the connection has subscribed");
        let at = place(list, conn).expect("the connection has subscribed");
        list.remove(at);
        if list.is_empty() {
            names.remove(name);
        }
    }

    /// Returns the subscribers to a name.
    pub(super) fn of(&self, sort: Sort, name: &[u8]) -> &[Subscriber] {
        self.names[sort as usize].get(name).map_or(&[], |list| list)
    }
}
