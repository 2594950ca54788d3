//! Connections come and go. Shard 0 accepts for all, so that they are spread exactly evenly and
//! `maxclients` is exact; the shard that gets one adopts it.

use crate::base::alloc;
use crate::client::Connection;
use crate::exec::Session;
use crate::io::{ConnId, Socket};
use crate::mesh::Handover;
use crate::resp::{Error, Reply};
use crate::shard::limits::ACCEPT_BACKLOG_MAX;
use crate::shard::state::Shard;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;

/// The acceptor's side: sockets that their shard could not take at once.
#[derive(Default)]
pub(in crate::shard) struct Acceptor {
    waiting: VecDeque<(usize, Box<Handover>)>,
    /// Monotonic seconds of the last logged failure: one line a second is enough.
    failure_logged_s: u64,
}

impl Shard {
    /// A listener has a new connection: it goes to the shard with the fewest.
    pub(in crate::shard) fn accepted(&mut self, socket: Socket) {
        self.env.board.counters.connections_received.add(1);
        let clients = &self.env.process.clients;
        let total: u64 = clients.iter().map(|n| n.load(Ordering::Relaxed)).sum();
        let client_id = self.env.process.client_id();
        if total >= u64::from(self.env.config.maxclients) {
            self.env.board.counters.connections_rejected.add(1);
            return self.refuse_socket(socket, client_id, Error::MaxClients);
        }
        let counts = clients.iter().map(|n| n.load(Ordering::Relaxed)).enumerate();
        let (shard, _) = counts.min_by_key(|(_, n)| *n).expect("there is a shard");
        clients[shard].fetch_add(1, Ordering::Relaxed);
        let handover = Handover { socket, client_id };
        if shard == self.env.me {
            return self.adopt(handover);
        }
        if let Err(handover) = self.port.mesh().hand_over(shard, Box::new(handover)) {
            self.hold(shard, handover);
        }
    }

    /// Keeps a socket until its shard can take it. Beyond the bound it stays on this shard: less
    /// evenly spread, but nobody below `maxclients` is turned away.
    fn hold(&mut self, shard: usize, handover: Box<Handover>) {
        if self.accept.waiting.len() < ACCEPT_BACKLOG_MAX {
            self.accept.waiting.push_back((shard, handover));
            return;
        }
        self.env.process.clients[shard].fetch_sub(1, Ordering::Relaxed);
        self.env.process.clients[self.env.me].fetch_add(1, Ordering::Relaxed);
        self.adopt(*handover);
    }

    /// Whether sockets wait for their shard to take them.
    pub(in crate::shard) fn has_waiting(&self) -> bool {
        !self.accept.waiting.is_empty()
    }

    /// Tries again to hand over what had to wait.
    pub(in crate::shard) fn hand_over_waiting(&mut self) {
        while let Some((shard, handover)) = self.accept.waiting.pop_front() {
            if let Err(handover) = self.port.mesh().hand_over(shard, handover) {
                self.accept.waiting.push_front((shard, handover));
                return;
            }
        }
    }

    /// Carries out what a change of `bind` or `port` has asked of the acceptor: what is new is
    /// listened on before what is old is closed.
    pub(in crate::shard) fn change_listeners(&mut self) {
        if self.env.me != 0 {
            return;
        }
        let orders = self.env.process.listeners.take_orders();
        for (number, socket) in orders.opened {
            if let Err(error) = self.driver.listen(number, Socket::Kernel(socket)) {
                self.env.process.log.warning(&format!("A new address is not listened on: {error}"));
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

    /// Takes a connection that is already counted as this shard's.
    pub(in crate::shard) fn adopt(&mut self, handover: Handover) {
        let Some(conn) = self.open(handover.socket, handover.client_id) else {
            self.env.process.clients[self.env.me].fetch_sub(1, Ordering::Relaxed);
            return;
        };
        let connection = self.connections.get_mut(conn).expect("it was just opened");
        connection.is_counted = true;
        self.env.board.counters.connections_accepted.add(1);
        let is_remote = !connection.session.is_local();
        if is_remote && self.env.config.protected_mode && self.env.config.requirepass.is_empty() {
            self.env.board.counters.connections_rejected.add(1);
            self.turn_away(conn, &Error::Protected);
        }
    }

    /// Tells a client why it is not served, and ends the connection. It is not counted.
    fn refuse_socket(&mut self, socket: Socket, client_id: u64, error: Error) {
        if let Some(conn) = self.open(socket, client_id) {
            self.turn_away(conn, &error);
        }
    }

    fn turn_away(&mut self, conn: ConnId, error: &Error) {
        let connection = self.connections.get_mut(conn).expect("it was just opened");
        let protocol = connection.session.protocol;
        Reply::new(&mut connection.outbox.output, protocol).error(error);
        connection.session.close_after_reply = true;
        self.make_dirty(conn);
    }

    fn open(&mut self, socket: Socket, client_id: u64) -> Option<ConnId> {
        let authenticated = self.env.config.requirepass.is_empty();
        let mut session = Session::new(client_id, authenticated, self.env.now.monotonic_ms());
        let names = socket.describe();
        session.address = names.peer;
        session.local_address = names.local;
        session.descriptor = names.number;
        session.is_unix = names.unix;
        let (conn, generation) = self.connections.reserve();
        if let Err(error) = self.driver.open(conn, socket) {
            self.connections.unreserve(conn);
            self.env.process.log.warning(&format!("A connection could not be opened: {error}"));
            return None;
        }
        self.connections.insert(conn, Connection::new(session, generation));
        self.count_bytes(conn);
        self.env.board.gauges.clients.set(self.connections.len() as i64);
        Some(conn)
    }

    /// The peer sends no more, or the connection broke.
    pub(in crate::shard) fn hung_up(&mut self, conn: ConnId, error: Option<io::Error>) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.is_hung_up = true;
        let is_blocked = connection.session.is_blocked;
        if error.is_some() || is_blocked {
            return self.close(conn);
        }
        // What it sent before is still run and replied to.
        self.make_ready(conn);
        self.make_dirty(conn);
    }

    /// Ends the connection. Its number lives until the driver has let go of it.
    pub(in crate::shard) fn close(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if std::mem::replace(&mut connection.is_closing, true) {
            return;
        }
        connection.input = Default::default();
        connection.outbox.abandon();
        connection.queue = None;
        self.count_bytes(conn);
        self.leave_block(conn);
        self.end_postponed(conn);
        let connection = self.connections.get_mut(conn).expect("looked at above");
        for mut flight in connection.flights.drain(..) {
            for envelope in flight.drain() {
                self.port.recycle(envelope);
            }
        }
        self.unwatch(conn);
        self.detach_replica(conn);
        self.driver.close(conn);
    }

    /// Ends the connection because of what it did, and logs why.
    pub(in crate::shard) fn close_for(&mut self, conn: ConnId, why: &str) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let address = connection.session.address.clone();
        self.log_closed(&address, why);
        self.close(conn);
    }

    /// Logs why a connection is ended, unless too many are.
    pub(in crate::shard) fn log_closed(&mut self, address: &str, why: &str) {
        self.log_limited(&format!("Closing client {address}: {why}"));
    }

    /// Logs what is said of a connection, unless too much is.
    pub(in crate::shard) fn log_limited(&mut self, line: &str) {
        if let Some(withheld) = self.clients.log_limit.allow(self.env.now.monotonic_ns) {
            let more =
                if withheld > 0 { format!(" ({withheld} more before)") } else { String::new() };
            self.env.process.log.notice(&format!("{line}{more}"));
        }
    }

    /// The driver has let go of the connection.
    pub(in crate::shard) fn closed(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.remove(conn) else { return };
        assert!(connection.is_closing, "the driver closes only what it is told to");
        if connection.is_stalled {
            self.queues.stalled.retain(|stalled| *stalled != conn);
        }
        self.clients.buffered_bytes -= connection.counted_bytes;
        self.clients.passing_bytes -= connection.passing_bytes;
        // What it held is seen to be free at once.
        alloc::flush_local();
        if connection.is_counted {
            self.env.process.clients[self.env.me].fetch_sub(1, Ordering::Relaxed);
        }
        self.env.board.gauges.clients.set(self.connections.len() as i64);
    }
}
