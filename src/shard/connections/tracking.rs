//! Client tracking at the home of the clients: who is tracking, and what they are told.
//!
//! `partition/tracking` says why an invalidation arrives in time.

use super::push::Push;
use crate::exec::{ClientHome, TrackingMode};
use crate::io::ConnId;
use crate::keyspace::{Caller, Invalidation};
use crate::mesh::{ClientRef, FlightId, HoldId, Redirected, Told};
use crate::resp::{Output, Protocol, Reply};
use crate::shard::state::Shard;
use std::sync::Arc;

/// Stands for the owner of a hold that lasts until units have ended. No shard has this number.
const UNITS: u16 = u16::MAX;

/// The channel in whose name a client gets the invalidations of other clients in RESP2.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// Names of invalid keys; none means all keys.
type Names = Option<Vec<Arc<[u8]>>>;

impl Shard {
    /// Compares what is noted about a connection with its session, which may have begun, changed or
    /// ended tracking. All shards then know the change before the connection gets a reply.
    pub(in crate::shard) fn note_tracking(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let tracking = connection.session.tracking.as_ref();
        let new = tracking.filter(|_| !connection.is_closing).map(|it| &it.prefixes);
        let noted = &mut self.clients.trackers;
        let old = noted.noted(conn);
        if old != new {
            self.env.process.trackers.replace(self.env.me, old, new);
            if old.is_some() != new.is_some() {
                self.port.mesh().partial().count_tracker(new.is_some());
            }
            noted.note(conn, new);
        }
    }

    /// Makes the next replies of a connection wait if it is tracking, and if a unit has run on some
    /// of its shards only: a reply that shows the change of one part goes behind what the client
    /// must be told of the others. `partition/tracking` says why this suffices.
    #[inline]
    pub(in crate::shard) fn await_units(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.session.tracking.is_none() || !self.port.mesh().rules().await_units {
            return;
        }
        let client = ClientRef { conn, generation: connection.generation };
        let ticket = self.port.mesh().partial().begun();
        if ticket >= self.clients.trackers.settled_below {
            connection.holds.push((UNITS, HoldId(ticket)));
            self.clients.trackers.unsettled.push((client, ticket));
        }
    }

    /// Releases the replies whose units had ended before this drain of the inbox began. `clear` is
    /// the ticket below which all units had ended then.
    pub(in crate::shard) fn settle_units(&mut self, clear: u64) {
        let trackers = &mut self.clients.trackers;
        trackers.settled_below = clear;
        if trackers.unsettled.is_empty() {
            return;
        }
        let all = std::mem::take(&mut trackers.unsettled);
        let (settled, left): (Vec<_>, _) = all.into_iter().partition(|(_, it)| *it < clear);
        trackers.unsettled = left;
        for (client, ticket) in settled {
            self.release_connection(client, (UNITS, HoldId(ticket)));
        }
    }

    /// Returns whether replies wait for units that have ended, so that the next drain of the inbox
    /// releases them. If none have ended, the shard is woken when one ends.
    pub(in crate::shard) fn can_settle_units(&self) -> bool {
        let trackers = &self.clients.trackers;
        let partial = self.port.mesh().partial();
        let first = trackers.unsettled.iter().map(|(_, ticket)| *ticket).min();
        first.is_some_and(|ticket| !partial.wake_after(ticket, self.env.me))
    }

    /// Takes a message about tracked keys from the inbox.
    pub(in crate::shard) fn take_told(&mut self, told: Told) {
        match told {
            Told::Invalid(_, invalidations) => self.tell_own(&invalidations),
            Told::Redirected(redirected) => self.take_redirected(redirected),
            Told::Broken(client) => self.break_redirect(client),
            // The end of the drain looks at the units that have ended.
            Told::Settled => {}
        }
    }

    /// Tells the clients of this shard what has changed.
    pub(in crate::shard) fn tell_own(&mut self, invalidations: &[Arc<Invalidation>]) {
        for invalidation in invalidations {
            match &**invalidation {
                Invalidation::Key { key, to, is_own } => self.tell_reader(key, to, *is_own),
                Invalidation::Prefix { prefix, keys } => {
                    for conn in self.clients.trackers.with_prefix(prefix) {
                        let is_own = |changer: &Option<Caller>| self.is_caller(conn, *changer);
                        let own = keys.values().find(|changer| is_own(changer)).copied().flatten();
                        let is_noloop = self.is_noloop(conn);
                        let told = keys.iter().filter(|(_, changer)| {
                            !is_noloop || own.is_none() || !self.is_caller(conn, **changer)
                        });
                        let names: Vec<Arc<[u8]>> = told.map(|(key, _)| Arc::clone(key)).collect();
                        if !names.is_empty() {
                            self.tell_client(conn, own.map(|own| own.flight), &Some(names));
                        }
                    }
                }
                Invalidation::All(caller) => {
                    for conn in self.clients.trackers.all() {
                        let own = caller.filter(|caller| self.is_caller(conn, Some(*caller)));
                        self.tell_client(conn, own.map(|own| own.flight), &None);
                    }
                }
            }
        }
    }

    /// Returns whether a connection of this shard is the client.
    fn is_caller(&self, conn: ConnId, caller: Option<Caller>) -> bool {
        let is_here = |caller: &Caller| {
            usize::from(caller.home) == self.env.me
                && caller.conn == conn
                && self.connections.get(conn).is_some_and(|it| it.generation == caller.generation)
        };
        caller.as_ref().is_some_and(is_here)
    }

    fn is_noloop(&mut self, conn: ConnId) -> bool {
        let connection = self.connections.get_mut(conn);
        connection.and_then(|it| it.session.tracking.as_ref()).is_some_and(|it| it.is_noloop)
    }

    /// Tells a client that a key that it has read is invalid.
    fn tell_reader(&mut self, key: &Arc<[u8]>, to: &Caller, is_own: bool) {
        let Some(connection) = self.connections.get_same(to.conn, to.generation) else { return };
        let tracking = connection.session.tracking.as_ref();
        let hears = tracking.is_some_and(|tracking| {
            tracking.mode != TrackingMode::Broadcast && !(is_own && tracking.is_noloop)
        });
        if hears {
            self.tell_client(to.conn, Some(to.flight), &Some(vec![Arc::clone(key)]));
        }
    }

    /// Tells a client that keys are invalid: behind the replies of its batch `behind`, if these are
    /// not in the output yet or held there.
    fn tell_client(&mut self, conn: ConnId, behind: Option<u32>, names: &Names) {
        let behind = behind.map(FlightId);
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(tracking) = connection.session.tracking.as_ref() else { return };
        if tracking.redirect != 0 {
            return self.redirect(conn, names);
        }
        if connection.session.protocol != Protocol::Three {
            // RESP2 has no form for it.
            return;
        }
        let waits = connection.is_replying(behind);
        // A message that names no batch goes on both sides of replies that are on their way: the
        // client may have the old value from before, or get it with these replies.
        let is_of_any = behind.is_none() && connection.is_replying_at_all();
        let client = ClientRef { conn, generation: connection.generation };
        if !waits {
            let mut push = Output::default();
            write_invalid(&mut Reply::new(&mut push, Protocol::Three), names);
            connection.outbox.push_ahead(&push);
            self.make_dirty(conn);
            self.check_output(conn);
        }
        if waits || is_of_any {
            self.push_told(client, true, |reply| write_invalid(reply, names));
        }
    }

    fn push_told(&mut self, client: ClientRef, waits: bool, write: impl Fn(&mut Reply<'_>)) {
        let write = |protocol, output: &mut Output| write(&mut Reply::new(output, protocol));
        self.push_to(client, &mut Push::new(write), waits);
    }

    /// Passes an invalidation on to the client that gets it instead.
    fn redirect(&mut self, conn: ConnId, names: &Names) {
        let connection = self.connections.get_mut(conn).expect("the caller has found it");
        let from = ClientRef { conn, generation: connection.generation };
        let protocol = connection.session.protocol;
        let tracking = connection.session.tracking.as_ref().expect("the caller has found it");
        let Some(home) = self.env.process.client_homes.find(tracking.redirect) else {
            return self.break_redirect(from);
        };
        // As in the reference, all keys are written in the protocol of the tracking client.
        let mut output = Output::default();
        write_names(&mut Reply::new(&mut output, protocol), names);
        let ClientHome { shard, conn, generation } = home;
        let redirected = Redirected {
            to: ClientRef { conn, generation },
            from_shard: self.env.me as u16,
            from,
            names: output.to_vec(),
        };
        self.send_told(shard, Told::Redirected(redirected));
    }

    fn send_told(&mut self, shard: u16, told: Told) {
        if usize::from(shard) == self.env.me {
            self.take_told(told);
        } else {
            self.port.mesh().send_told(usize::from(shard), told);
        }
    }

    /// Tells a client of this shard what another client wants to be told to it.
    fn take_redirected(&mut self, redirected: Redirected) {
        let Redirected { to, from_shard, from, names } = redirected;
        let connection = self.connections.get_same(to.conn, to.generation);
        let is_there =
            |it: &&mut crate::client::Connection| !it.is_closing && !it.session.close_after_reply;
        let Some(connection) = connection.filter(is_there) else {
            return self.send_told(from_shard, Told::Broken(from));
        };
        // A client with subscriptions can tell a message from a reply in RESP2 too.
        match connection.session.protocol {
            Protocol::Three => self.push_told(to, false, |reply| {
                reply.push(2);
                reply.bulk(b"invalidate");
                reply.output().append_raw(&names);
            }),
            Protocol::Two if connection.session.has_subscriptions() => {
                self.push_told(to, false, |reply| {
                    reply.array(3);
                    reply.bulk(b"message");
                    reply.bulk(CHANNEL);
                    reply.output().append_raw(&names);
                });
            }
            Protocol::Two => {}
        }
    }

    /// Records that the client to which invalidations go is gone, and tells the tracking client.
    fn break_redirect(&mut self, client: ClientRef) {
        let Some(connection) = self.connections.get_same(client.conn, client.generation) else {
            return;
        };
        let Some(tracking) = &mut connection.session.tracking else { return };
        tracking.is_redirect_broken = true;
        let id = tracking.redirect;
        if connection.session.protocol == Protocol::Three {
            self.push_told(client, false, |reply| {
                reply.push(2);
                reply.bulk(b"tracking-redir-broken");
                reply.integer(id as i64);
            });
        }
    }
}

/// Writes an invalidation.
fn write_invalid(reply: &mut Reply<'_>, names: &Names) {
    reply.push(2);
    reply.bulk(b"invalidate");
    write_names(reply, names);
}

/// Writes the names of invalid keys.
fn write_names(reply: &mut Reply<'_>, names: &Names) {
    match names {
        None => reply.null(),
        Some(names) => {
            reply.array(names.len());
            names.iter().for_each(|name| reply.bulk(name));
        }
    }
}
