//! Subscriptions of the shard's connections: how they begin and end.
//!
//! A subscription begins when the hub counts it. It has the version of that moment, so older
//! messages in the inbox do not reach it. When a subscription ends, the hub stops counting it
//! first. Then the shard takes the messages in its inbox, which were counted for it. Only then the
//! client learns that the subscription has ended.

use super::subscribers::Subscriber;
use crate::client::Subscriptions;
use crate::io::ConnId;
use crate::mesh::ClientRef;
use crate::pubsub::Sort;
use crate::resp::{Output, Protocol, Reply};
use crate::shard::state::Shard;
use bytes::Bytes;

impl Shard {
    /// Subscribes a connection to names. Returns the replies.
    pub(in crate::shard) fn subscribe(
        &mut self,
        conn: ConnId,
        sort: Sort,
        names: &[Bytes],
    ) -> Output {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let client = ClientRef { conn, generation: connection.generation };
        let hub = &self.env.process.pubsub;
        let new = || Box::new(Subscriptions::new(hub.hasher()));
        let subscriptions = connection.subscriptions.get_or_insert_with(new);
        let session = &mut connection.session;
        let had_any = session.has_subscriptions();
        let (mut added, mut output) = (Vec::new(), Output::default());
        for name in names {
            if subscriptions.add(sort, name) {
                session.subscriptions[sort as usize] = subscriptions.count(sort);
                added.push(name.clone());
            }
            let count = session.shown_subscriptions(sort);
            let what = (sort.subscribed(), Some(name), count);
            write_change(&mut output, session.protocol, what);
        }
        let since = self.env.process.pubsub.subscribe(self.env.me as u16, sort, &added);
        for name in &added {
            self.clients.subscribers.add(sort, name, Subscriber::new(client, since));
        }
        if !had_any {
            self.env.process.pubsub.count_client(true);
        }
        output
    }

    /// Ends subscriptions of a connection: to these names, or to all of a sort. Returns the
    /// replies, which follow the messages that this call delivers. Inside a transaction nothing can
    /// be delivered before the reply; messages that are on their way then are dropped.
    pub(in crate::shard) fn unsubscribe(
        &mut self,
        conn: ConnId,
        sort: Sort,
        names: Option<Vec<Bytes>>,
        is_inside: bool,
    ) -> Output {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let session = &mut connection.session;
        let hub = &self.env.process.pubsub;
        let new = || Box::new(Subscriptions::new(hub.hasher()));
        let subscriptions = connection.subscriptions.get_or_insert_with(new);
        let had_any = session.has_subscriptions();
        let names = names.unwrap_or_else(|| subscriptions.of(sort));
        let (mut removed, mut output) = (Vec::new(), Output::default());
        for name in &names {
            if subscriptions.remove(sort, name) {
                session.subscriptions[sort as usize] = subscriptions.count(sort);
                removed.push(name.clone());
            }
            let count = session.shown_subscriptions(sort);
            let what = (sort.unsubscribed(), Some(name), count);
            write_change(&mut output, session.protocol, what);
        }
        if names.is_empty() {
            let what = (sort.unsubscribed(), None, session.shown_subscriptions(sort));
            write_change(&mut output, session.protocol, what);
        }
        if !session.has_subscriptions() {
            connection.subscriptions = None;
            if had_any {
                hub.count_client(false);
            }
        }
        self.end_subscriptions(conn, sort, &removed, !is_inside);
        output
    }

    /// Ends subscriptions that the connection does not list any more.
    fn end_subscriptions(&mut self, conn: ConnId, sort: Sort, names: &[Bytes], delivers: bool) {
        if names.is_empty() {
            return;
        }
        let me = self.env.me as u16;
        let (until, has_messages) = self.env.process.pubsub.unsubscribe(me, sort, names);
        if has_messages && delivers {
            for name in names {
                self.clients.subscribers.end(sort, name, conn, until);
            }
            self.drain_inbox();
        }
        for name in names {
            self.clients.subscribers.remove(sort, name, conn);
        }
    }

    /// Ends all subscriptions of a connection without replies.
    pub(in crate::shard) fn end_all_subscriptions(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(subscriptions) = connection.subscriptions.take() else { return };
        let delivers = !connection.is_closing;
        if connection.session.has_subscriptions() {
            connection.session.subscriptions = Default::default();
            self.env.process.pubsub.count_client(false);
        }
        for sort in Sort::ALL {
            self.end_subscriptions(conn, sort, &subscriptions.of(sort), delivers);
        }
    }

    /// Writes replies about subscriptions. The client gets them even under CLIENT REPLY OFF.
    pub(in crate::shard) fn confirm(&mut self, conn: ConnId, replies: &Output) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        if !connection.is_closing {
            connection.outbox.push(replies);
            self.make_dirty(conn);
        }
    }

    /// RESET of a connection with subscriptions.
    pub(in crate::shard) fn reset(&mut self, conn: ConnId) {
        self.end_all_subscriptions(conn);
        let connection = self.connections.get_mut(conn).expect("connection is open");
        if connection.is_closing {
            return;
        }
        connection.session.reset(&self.env.process.acl);
        connection.queue = None;
        Reply::new(&mut connection.outbox.output, Protocol::Two).simple("RESET");
        self.unwatch(conn);
        self.note_tracking(conn);
    }
}

/// Writes that a subscription has begun or ended, and how many are left.
fn write_change(
    output: &mut Output,
    protocol: Protocol,
    (what, name, count): (&[u8], Option<&Bytes>, u32),
) {
    let mut reply = Reply::new(output, protocol);
    reply.push(3);
    reply.bulk(what);
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.integer(i64::from(count));
}
