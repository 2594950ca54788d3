//! Opening and closing connections. Shard 0 accepts for all shards, so that connections are spread
//! evenly and `maxclients` is exact. The shard that receives a connection adopts it.

use crate::base::alloc;
use crate::client::Connection;
use crate::control::is_tls_listener;
use crate::exec::{ClientHome, Session};
use crate::io::{ConnId, ListenerId, Socket};
use crate::mesh::Handover;
use crate::net::Stream;
use crate::net::tls::TlsStream;
use crate::observe::Level;
use crate::resp::{Error, Reply};
use crate::shard::limits::ACCEPT_BACKLOG_MAX;
use crate::shard::state::Shard;
use std::io;
use std::sync::atomic::Ordering;

impl Shard {
    /// Assigns a new connection to the shard whose port it has come to, or to the shard with the
    /// fewest clients.
    pub(in crate::shard) fn accepted(&mut self, listener: ListenerId, socket: Socket) {
        self.env.board.counters.connections_received.add(1);
        let clients = &self.env.process.clients;
        let total: u64 = clients.iter().map(|n| n.load(Ordering::Relaxed)).sum();
        let client_id = self.env.process.client_id();
        let is_tls = is_tls_listener(listener);
        if total >= u64::from(self.env.config.maxclients) {
            self.env.board.counters.connections_rejected.add(1);
            // A handshake only to send an error would cost more than the client is worth.
            if !is_tls {
                self.refuse_socket(socket, client_id, Error::MaxClients);
            }
            return;
        }
        let counts = clients.iter().map(|n| n.load(Ordering::Relaxed)).enumerate();
        let (idle, _) = counts.min_by_key(|(_, n)| *n).expect("at least one shard");
        let port_of = self.env.process.listeners.offset(listener).checked_sub(1);
        let shard = port_of.map_or(idle, usize::from);
        clients[shard].fetch_add(1, Ordering::Relaxed);
        let handover = Handover { socket, client_id, is_tls, port_of };
        if shard == self.env.me {
            return self.adopt(handover);
        }
        if let Err(handover) = self.port.mesh().hand_over(shard, Box::new(handover)) {
            self.hold(shard, handover);
        }
    }

    /// Keeps a socket until its shard can take it. If too many wait, the connection stays on this
    /// shard: the spread is less even, but no client below `maxclients` is rejected.
    fn hold(&mut self, shard: usize, handover: Box<Handover>) {
        if self.accept.waiting.len() < ACCEPT_BACKLOG_MAX {
            self.accept.waiting.push_back((shard, handover));
            return;
        }
        self.env.process.clients[shard].fetch_sub(1, Ordering::Relaxed);
        self.env.process.clients[self.env.me].fetch_add(1, Ordering::Relaxed);
        self.adopt(*handover);
    }

    /// Returns whether sockets wait for their shard to take them.
    pub(in crate::shard) fn has_waiting(&self) -> bool {
        !self.accept.waiting.is_empty()
    }

    /// Tries again to hand over waiting sockets.
    pub(in crate::shard) fn hand_over_waiting(&mut self) {
        while let Some((shard, handover)) = self.accept.waiting.pop_front() {
            if let Err(handover) = self.port.mesh().hand_over(shard, handover) {
                self.accept.waiting.push_front((shard, handover));
                return;
            }
        }
    }

    /// Applies a change of `bind` or `port`: opens the new listeners before it closes the old ones.
    pub(in crate::shard) fn change_listeners(&mut self) {
        if self.env.me != 0 {
            return;
        }
        let orders = self.env.process.listeners.take_orders();
        for (number, socket) in orders.opened {
            if let Err(error) = self.driver.listen(number, Socket::Kernel(socket)) {
                self.env.process.log.warning(&format!("Cannot listen on a new address: {error}"));
            }
        }
        for number in orders.closed {
            self.driver.unlisten(number);
        }
    }

    pub(in crate::shard) fn accept_failed(&mut self, error: &io::Error) {
        let now_s = self.env.now.monotonic_ms() / 1_000 + 1;
        if self.accept.failure_logged_s != now_s {
            self.accept.failure_logged_s = now_s;
            self.env.process.log.warning(&format!("Accepting client connection: {error}"));
        }
    }

    /// Adopts a connection that is already counted for this shard.
    pub(in crate::shard) fn adopt(&mut self, handover: Handover) {
        let Some(conn) = self.open(handover) else {
            self.env.process.clients[self.env.me].fetch_sub(1, Ordering::Relaxed);
            return;
        };
        let connection = self.connections.get_mut(conn).expect("just opened");
        connection.is_counted = true;
        self.env.board.counters.connections_accepted.add(1);
        let is_remote = !connection.session.is_local();
        if is_remote && self.env.config.protected_mode && self.env.process.acl.is_unprotected() {
            self.env.board.counters.connections_rejected.add(1);
            self.turn_away(conn, &Error::Protected);
        }
    }

    /// Replies with an error to a client that is not served, and closes the connection. The
    /// connection is not counted.
    fn refuse_socket(&mut self, socket: Socket, client_id: u64, error: Error) {
        if let Some(conn) = self.open(Handover { socket, client_id, is_tls: false, port_of: None })
        {
            self.turn_away(conn, &error);
        }
    }

    fn turn_away(&mut self, conn: ConnId, error: &Error) {
        let connection = self.connections.get_mut(conn).expect("just opened");
        let protocol = connection.session.protocol;
        Reply::new(&mut connection.outbox.output, protocol).error(error);
        connection.session.close_after_reply = true;
        self.make_dirty(conn);
    }

    fn open(&mut self, handover: Handover) -> Option<ConnId> {
        let Handover { socket, client_id, is_tls, port_of } = handover;
        let stream = match is_tls {
            false => Stream::Plain,
            // The port of TLS was closed meanwhile if there is no context.
            true => Stream::Tls(Box::new(TlsStream::new(&*self.env.process.tls.context()?))),
        };
        let mut session = Session::new(client_id, true, self.env.now.monotonic_ms());
        if session.is_loader() {
            session.is_no_evict = true;
        } else {
            session.begin_as_default(&self.env.process.acl);
        }
        let names = socket.describe();
        session.address = names.peer;
        session.local_address = names.local;
        session.descriptor = names.number;
        session.is_unix = names.unix;
        session.is_tls = is_tls;
        session.arrive_at(port_of);
        let (conn, generation) = self.connections.reserve();
        if let Err(error) = self.driver.open(conn, socket) {
            self.connections.unreserve(conn);
            self.env.process.log.warning(&format!("A connection could not be opened: {error}"));
            return None;
        }
        let home = ClientHome { shard: self.env.me as u16, conn, generation };
        self.env.process.client_homes.add(client_id, home);
        self.connections.insert(conn, Connection::new(session, stream, generation));
        self.count_bytes(conn);
        self.env.board.gauges.clients.set(self.connections.len() as i64);
        Some(conn)
    }

    /// Records that the peer sends no more, or closes the connection if it broke.
    pub(in crate::shard) fn hung_up(&mut self, conn: ConnId, error: Option<io::Error>) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.is_hung_up = true;
        if connection.stream.is_handshaking() {
            return self.hung_up_early(conn, error);
        }
        let is_blocked = connection.session.is_blocked;
        if error.is_some() || is_blocked {
            return self.close(conn);
        }
        // Earlier commands of the peer still run and get replies.
        self.make_ready(conn);
        self.make_dirty(conn);
    }

    /// Closes the connection. Its number stays in use until the driver has closed the socket.
    pub(in crate::shard) fn close(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if std::mem::replace(&mut connection.is_closing, true) {
            return;
        }
        connection.input = Default::default();
        connection.outbox.abandon();
        connection.queue = None;
        connection.drop_pushes();
        self.env.process.client_homes.remove(connection.session.id);
        self.count_bytes(conn);
        self.note_tracking(conn);
        self.end_all_subscriptions(conn);
        self.leave_block(conn);
        self.end_postponed(conn);
        let connection = self.connections.get_mut(conn).expect("checked above");
        for mut flight in connection.flights.drain(..) {
            for envelope in flight.drain() {
                self.port.recycle(envelope);
            }
        }
        self.unwatch(conn);
        self.detach_replica(conn);
        self.bid_farewell(conn);
        self.driver.close(conn);
    }

    /// Closes the connection and logs why.
    pub(in crate::shard) fn close_for(&mut self, conn: ConnId, why: &str) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let address = connection.session.address.clone();
        self.log_closed(&address, why);
        self.close(conn);
    }

    /// Logs why a connection is closed, unless there are too many such lines.
    pub(in crate::shard) fn log_closed(&mut self, address: &str, why: &str) {
        self.log_limited(&format!("Closing client {address}: {why}"));
    }

    /// Logs a line about a connection, unless there are too many such lines.
    pub(in crate::shard) fn log_limited(&mut self, line: &str) {
        self.log_limited_at(Level::Notice, line);
    }

    /// Logs a line about a connection at a level, unless there are too many such lines.
    pub(in crate::shard) fn log_limited_at(&mut self, level: Level, line: &str) {
        if let Some(withheld) = self.clients.log_limit.allow(self.env.now.monotonic_ns) {
            let more =
                if withheld > 0 { format!(" ({withheld} more before)") } else { String::new() };
            self.env.process.log.write(level, &format!("{line}{more}"));
        }
    }

    /// Removes a connection after the driver has closed its socket.
    pub(in crate::shard) fn closed(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.remove(conn) else { return };
        assert!(connection.is_closing, "the driver closes only connections that the shard closed");
        if let Some(shard) = connection.stalled_on {
            self.forget_stalled(conn, shard);
        }
        self.clients.buffered_bytes -= connection.counted_bytes;
        self.clients.passing_bytes -= connection.passing_bytes;
        // Makes the freed memory visible in the statistics at once.
        alloc::flush_local();
        if connection.is_counted {
            self.env.process.clients[self.env.me].fetch_sub(1, Ordering::Relaxed);
        }
        self.env.board.gauges.clients.set(self.connections.len() as i64);
    }
}
