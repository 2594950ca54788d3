//! Replies at home: each goes to the flight, transaction or barrier that waits for it.

use crate::client::Blocked;
use crate::io::ConnId;
use crate::mesh::{ClientRef, Envelope, ReplyAddress, ReplyTo, Work};
use crate::shard::limits::FLIGHTS_POOLED_MAX;
use crate::shard::state::Shard;
use crate::shard::telemetry::large::LargeReplies;

impl Shard {
    /// Takes an answered envelope.
    pub(in crate::shard) fn land(&mut self, envelope: Box<Envelope>) {
        match envelope.reply_to {
            ReplyTo::Nobody => self.port.recycle(envelope),
            ReplyTo::Barrier(id) => self.land_barrier(id, envelope),
            ReplyTo::Transaction(id, _) => self.land_transaction(id, envelope),
            ReplyTo::Client(to) if matches!(envelope.work, Work::Blocked(_)) => {
                self.land_blocked(to, envelope);
            }
            ReplyTo::Client(to) => self.land_flight(to, envelope),
        }
    }

    /// Takes a reply for a connection's flight.
    fn land_flight(&mut self, to: ReplyAddress, mut envelope: Box<Envelope>) {
        let ClientRef { conn, generation } = to.client;
        let connection = self.connections.get_same(conn, generation);
        let Some(connection) = connection.filter(|connection| !connection.is_closing) else {
            return self.port.recycle(envelope);
        };
        connection.holds.extend(envelope.hold.take().map(|hold| (envelope.owner, hold)));
        let is_its = |blocked: &mut Box<Blocked>| blocked.flight == to.flight;
        connection.blocked.take_if(is_its);
        let mut flights = connection.flights.iter_mut();
        let flight = flights.find(|flight| flight.number == to.flight);
        flight.expect("a reply belongs to a flight").land(envelope);
        self.merge_landed(conn);
        let connection = self.connections.get_mut(conn).expect("checked above");
        if !connection.flights.is_empty() && self.port.mesh().rules().one_in_flight {
            return;
        }
        let has_input = !connection.input.is_empty();
        self.make_dirty(conn);
        self.check_output(conn);
        if has_input {
            self.make_ready(conn);
        } else {
            self.settle_input(conn);
        }
    }

    /// Merges the replies of the connection's complete flights, in order.
    fn merge_landed(&mut self, conn: ConnId) {
        loop {
            let connection = self.connections.get_mut(conn).expect("its reply has come");
            let Some(flight) = connection.flights.first().filter(|flight| flight.has_landed())
            else {
                return;
            };
            if flight.is_torn() {
                let generation = connection.generation;
                return self.repeat_survey(ClientRef { conn, generation });
            }
            let mut flight = connection.flights.remove(0);
            self.await_units(conn);
            let connection = self.connections.get_mut(conn).expect("checked above");
            let (protocol, rng) = (connection.session.protocol, &mut self.rng);
            if !connection.holds.is_empty() {
                let end = connection.outbox.output.mark();
                connection.outbox.hold(end);
                connection.held_flight = Some(flight.number);
            }
            let output = &mut connection.outbox.output;
            let mut replies = LargeReplies::new(&self.env.thresholds, output.len());
            let draw = |below| rng.below(below);
            flight.merge(protocol, output, draw, |at, output| replies.see(at, output.len()));
            let generation = connection.generation;
            if flight.is_notable() || !replies.found.is_empty() {
                self.log_flight(ClientRef { conn, generation }, &flight, &replies.found, None);
            }
            if let Some(entry) = flight.asks {
                let ns = flight.spent().first().map_or(0, |(_, ns)| *ns);
                self.partition.record_runs(entry, 1, ns);
            }
            if let Some(trace) = self.connections.get_mut(conn).and_then(|it| it.trace.as_mut()) {
                trace.land(flight.number);
            }
            for envelope in flight.drain() {
                self.port.recycle(envelope);
            }
            let connection = self.connections.get_mut(conn).expect("its reply has come");
            if connection.flights.is_empty() {
                connection.release_pushes();
            }
            if self.remote.flights.len() < FLIGHTS_POOLED_MAX {
                self.remote.flights.push(flight);
            }
        }
    }
}
