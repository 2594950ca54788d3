//! Batches with keys on other shards: out in envelopes, and back into the connection's output.
//!
//! A batch is cut into one part per shard. The commands keep their order in each part, and the
//! flight remembers for each command which part's next reply is its own.

use super::Shard;
use super::command_log::{LargeReplies, written_large};
use super::limits::FLIGHTS_POOLED_MAX;
use super::replicas::NO_CONNECTION;
use super::wake::Waker;
use crate::base::slot::slot_of;
use crate::client::{Flight, ReplySource};
use crate::exec::{BatchArgs, Item, Merge, Request};
use crate::gate::{Place, Router};
use crate::io::ConnId;
use crate::mesh::{Envelope, Port, Work};
use crate::txn::ReplyTo;

/// The parts of one unit while they are being filled.
pub(super) struct Parts<'a> {
    port: &'a mut Port,
    flight: &'a mut Flight,
    /// Per shard, its part's envelope.
    open: Vec<Option<Box<Envelope>>>,
    /// Shards in the order in which their parts were opened: a part's number is its place here.
    shards: Vec<u16>,
}

impl<'a> Parts<'a> {
    /// No part yet.
    fn new(port: &'a mut Port, flight: &'a mut Flight, shards: usize) -> Parts<'a> {
        let open = (0..shards).map(|_| None).collect();
        Parts { port, flight, open, shards: Vec::with_capacity(shards) }
    }

    /// The first `count` parts of a transaction's flight, one for each of its shards, to get more
    /// commands. Behind them are the answers to what it has asked all shards.
    pub(super) fn reopen(
        port: &'a mut Port,
        flight: &'a mut Flight,
        shards: usize,
        count: usize,
    ) -> Parts<'a> {
        let mut parts = Parts::new(port, flight, shards);
        for envelope in parts.flight.take_first(count) {
            let shard = envelope.owner;
            parts.shards.push(shard);
            parts.open[usize::from(shard)] = Some(envelope);
        }
        parts
    }

    /// The opposite.
    pub(super) fn put_back(self) {
        let Parts { open, flight, .. } = self;
        open.into_iter().flatten().for_each(|envelope| flight.put_back(envelope));
    }

    /// The part of a shard, opened if it is not yet.
    fn part(&mut self, shard: u16) -> u16 {
        let at = usize::from(shard);
        if let Some(envelope) = &self.open[at] {
            return envelope.part;
        }
        let mut envelope = self.port.envelope(at);
        envelope.part = self.shards.len() as u16;
        self.shards.push(shard);
        let part = envelope.part;
        self.open[at] = Some(envelope);
        part
    }

    fn envelope(&mut self, shard: u16) -> &mut Envelope {
        self.part(shard);
        self.open[usize::from(shard)].as_mut().expect("it was opened")
    }

    /// Adds a whole command to the part of one shard, and moves its large words there.
    fn add_whole(&mut self, shard: u16, item: &Item, batch_args: &mut BatchArgs<'_>) -> u16 {
        let envelope = self.envelope(shard);
        envelope.begin(item, item.slot);
        let mut args = batch_args.of(item);
        for at in 0..args.len() {
            push(envelope, &mut args, at);
        }
        envelope.part
    }

    /// Adds a copy of a whole command to the part of every shard.
    fn add_everywhere(&mut self, item: &Item, batch_args: &mut BatchArgs<'_>, router: Router) {
        for shard in 0..router.shards() as u16 {
            let envelope = self.envelope(shard);
            envelope.begin(&Item { is_part: true, ..*item }, item.slot);
            for word in batch_args.of(item).iter_from(0) {
                envelope.push_arg(word);
            }
            let part = envelope.part;
            self.flight.members.push(part);
        }
    }

    /// Adds to each owner of keys the command with its own keys only.
    fn add_by_keys(&mut self, item: &Item, batch_args: &mut BatchArgs<'_>, router: Router) {
        let keys = item.entry.keys;
        let mut args = batch_args.of(item);
        let last = keys.last_of(args.len());
        let mut begun = vec![false; router.shards()];
        for at in (keys.first..=last).step_by(keys.step) {
            let slot = slot_of(&args[at]);
            let shard = router.owner(slot);
            let envelope = self.envelope(shard);
            if !std::mem::replace(&mut begun[usize::from(shard)], true) {
                envelope.begin(item, slot);
                push(envelope, &mut args, 0);
            }
            for word in at..(at + keys.step).min(args.len()) {
                push(envelope, &mut args, word);
            }
            let part = envelope.part;
            self.flight.members.push(part);
        }
    }

    /// Adds one command of the batch, and says where its reply comes from.
    pub(super) fn add(
        &mut self,
        item: &Item,
        place: Place,
        batch_args: &mut BatchArgs<'_>,
        router: Router,
    ) {
        let first = self.flight.members.len();
        let slot = match (place, item.entry.merge()) {
            (Place::Shard(shard), _) => ReplySource::One(self.add_whole(shard, item, batch_args)),
            (Place::Several, Some(merge)) => {
                if item.entry.is_per_key() {
                    self.add_by_keys(item, batch_args, router);
                } else {
                    self.add_everywhere(item, batch_args, router);
                }
                if merge != Merge::ByKey {
                    dedup(&mut self.flight.members, first);
                }
                ReplySource::Merged(merge, first as u32..self.flight.members.len() as u32)
            }
            _ => unreachable!("only a spread command has several places"),
        };
        self.flight.order.push(slot);
    }
}

/// Moves one word into an envelope: copied, or with its buffer.
fn push(envelope: &mut Envelope, args: &mut crate::resp::Args<'_>, at: usize) {
    match args.take_large(at) {
        Some(large) => envelope.push_large(large),
        None => envelope.push_arg(&args[at]),
    }
}

/// Leaves each member from `first` on in the list once.
fn dedup(members: &mut Vec<u16>, first: usize) {
    let mut at = first;
    while at < members.len() {
        if members[first..at].contains(&members[at]) {
            members.swap_remove(at);
        } else {
            at += 1;
        }
    }
}

/// A reply that is made later, at its connection's home.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited {
    pub(super) conn: ConnId,
    pub(super) generation: u32,
    pub(super) flight: u32,
}

impl Awaited {
    /// The same for other shards, which send it to this one's home.
    pub(super) fn of(self, home: usize) -> ReplyTo {
        let Awaited { conn: connection, generation, flight } = self;
        ReplyTo { home: home as u16, connection, generation, flight }
    }
}

impl Shard {
    /// The connection waits for one answer, and what it pipelined behind waits with it.
    pub(super) fn defer(&mut self, conn: ConnId) -> Awaited {
        let mut flight = self.flights.pop().unwrap_or_default();
        flight.order.push(ReplySource::One(0));
        flight.launch(1);
        let connection = self.connections.get_mut(conn).expect("it is being served");
        flight.number = connection.flight_number;
        connection.flight_number = connection.flight_number.wrapping_add(1);
        let number = flight.number;
        connection.flights.push(flight);
        Awaited { conn, generation: connection.generation, flight: number }
    }

    /// An envelope for an answer that is awaited; [`Shard::land_answer`] takes it.
    pub(super) fn answer_to(&mut self, awaited: Awaited) -> Box<Envelope> {
        let mut answer = self.port.envelope(self.me);
        answer.connection = awaited.conn;
        answer.generation = awaited.generation;
        answer.flight = awaited.flight;
        answer.part = 0;
        answer
    }

    /// The answer is written.
    pub(super) fn land_answer(&mut self, mut answer: Box<Envelope>) {
        let end = answer.output.mark();
        answer.ends.push(end);
        self.land(answer);
    }

    /// Posts the gathered batch. The caller has made sure of the credits.
    pub(super) fn post_batch(&mut self, conn: ConnId) {
        let mut flight = self.flights.pop().unwrap_or_default();
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let (text, large) = connection.input.parts();
        let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
        flight.written = written_large(&self.thresholds, &self.batch.items, &mut batch_args);
        let mut parts = Parts::new(&mut self.port, &mut flight, self.router.shards());
        for (item, place) in self.batch.items.iter().zip(&self.batch.places) {
            parts.add(item, *place, &mut batch_args, self.router);
        }
        let Parts { mut open, shards, .. } = parts;
        connection.input.consume();
        let last = self.batch.items.last().map(|item| item.entry.index);
        let now_ms = self.now.monotonic_ms();
        connection.session.note_commands(self.batch.items.len(), last, now_ms);
        let mut envelopes: Vec<_> =
            shards.iter().map(|shard| open[usize::from(*shard)].take().expect("opened")).collect();
        if self.batch.is_local && !connection.flights.is_empty() {
            // Only without the rule that forbids it: an earlier flight is out. The replies wait
            // for it, the run does not.
            let part = envelopes.pop().expect("a local batch has one part");
            return self.run_ahead(conn, flight, part);
        }
        if self.batch.may_wait {
            let number = connection.flight_number;
            let ticket = self.begin_attempt(conn, number);
            envelopes[0].work = Work::Try(ticket);
        }
        if self.batch.traced.is_some() {
            self.trace_posting(conn, &mut envelopes);
        }
        self.launch(conn, flight, envelopes);
    }

    /// Sends a request to all shards; their replies are merged into the reply.
    pub(super) fn post_ask(&mut self, conn: ConnId, request: &Request, merge: Merge) {
        let mut flight = self.flights.pop().unwrap_or_default();
        let shards = self.router.shards();
        let mut envelopes = Vec::with_capacity(shards);
        for shard in 0..shards {
            let mut envelope = self.port.envelope(shard);
            envelope.part = shard as u16;
            envelope.work = Work::Ask(request.clone());
            flight.members.push(shard as u16);
            envelopes.push(envelope);
        }
        flight.order.push(ReplySource::Merged(merge, 0..shards as u32));
        self.launch(conn, flight, envelopes);
    }

    // Boxed, because an envelope keeps its address on its way.
    #[allow(clippy::vec_box)]
    pub(super) fn launch(
        &mut self,
        conn: ConnId,
        flight: Box<Flight>,
        mut parts: Vec<Box<Envelope>>,
    ) {
        self.enlist(conn, flight, &mut parts);
        self.board.counters.batches_remote.add(1);
        self.board.counters.envelopes_posted.add(parts.len() as u64);
        self.post_unit(parts);
    }

    /// Posts all parts of one unit.
    #[allow(clippy::vec_box)]
    pub(super) fn post_unit(&mut self, parts: Vec<Box<Envelope>>) {
        let sent = self.moment();
        self.port.post(parts.into_iter(), sent);
    }

    /// Runs a part of one's own at once, although an earlier flight is out.
    #[cold]
    fn run_ahead(&mut self, conn: ConnId, flight: Box<Flight>, mut part: Box<Envelope>) {
        assert!(!self.port.mesh().rules().one_in_flight, "one batch is in flight");
        self.enlist(conn, flight, std::slice::from_mut(&mut part));
        let waker = Waker { at: 0, lock: None, records: None };
        self.run_commands(&mut part, waker, false, false);
        self.land(part);
    }

    /// The connection has one more flight, with these parts.
    fn enlist(&mut self, conn: ConnId, mut flight: Box<Flight>, parts: &mut [Box<Envelope>]) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        flight.launch(parts.len());
        flight.number = connection.flight_number;
        connection.flight_number = connection.flight_number.wrapping_add(1);
        for part in parts {
            part.flight = flight.number;
            part.connection = conn;
            part.generation = connection.generation;
            part.protocol = connection.session.protocol;
        }
        connection.flights.push(flight);
    }

    /// No credit: the connection waits for replies, in its order.
    pub(super) fn stall(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        assert!(!connection.is_stalled, "a stalled connection is not served");
        connection.is_stalled = true;
        self.board.counters.stalled_on_credits.add(1);
        self.stalled.push_back(conn);
    }

    /// Replies of other shards have freed credits: stalled connections get their turn.
    pub(super) fn unstall(&mut self) {
        while !self.stalled.is_empty() && self.port.has_all_credits() {
            let Some(conn) = self.stalled.pop_front() else { break };
            let connection = self.connections.get_mut(conn).expect("it leaves the list first");
            connection.is_stalled = false;
            self.make_ready(conn);
            // One per free credit would be exact; those that find none stall again, in order.
            if self.ready.len() > 64 {
                break;
            }
        }
    }

    /// Merges the replies of those flights of a connection that are answered and come next.
    fn merge_landed(&mut self, conn: ConnId) {
        loop {
            let connection = self.connections.get_mut(conn).expect("its answer has come");
            if !connection.flights.first().is_some_and(|flight| flight.has_landed()) {
                return;
            }
            let mut flight = connection.flights.remove(0);
            let (protocol, rng) = (connection.session.protocol, &mut self.rng);
            let output = &mut connection.outbox.output;
            let mut replies = LargeReplies::new(&self.thresholds, output.len());
            let draw = |below| rng.below(below);
            flight.merge(protocol, output, draw, |at, output| replies.see(at, output.len()));
            if flight.is_notable() || !replies.found.is_empty() {
                let whose = (conn, connection.generation);
                self.log_flight(whose, &flight, &replies.found, None);
            }
            if let Some(entry) = flight.asks {
                let ns = flight.spent().first().map_or(0, |(_, ns)| *ns);
                self.record_runs(entry, 1, ns);
            }
            if let Some(trace) = self.connections.get_mut(conn).and_then(|it| it.trace.as_mut()) {
                trace.land(flight.number);
            }
            for envelope in flight.drain() {
                self.port.recycle(envelope);
            }
            if self.flights.len() < FLIGHTS_POOLED_MAX {
                self.flights.push(flight);
            }
        }
    }

    /// An answered part is back.
    pub(super) fn land(&mut self, envelope: Box<Envelope>) {
        if envelope.hold.is_some() {
            return self.land_transaction(envelope);
        }
        if envelope.connection == NO_CONNECTION {
            return self.land_barrier(envelope);
        }
        if matches!(envelope.work, Work::Waits(_)) {
            return self.land_waits(envelope);
        }
        let conn = envelope.connection;
        let Some(connection) = self.connections.get_same(conn, envelope.generation) else {
            self.port.recycle(envelope);
            return;
        };
        if connection.is_closing {
            self.port.recycle(envelope);
            return;
        }
        let number = envelope.flight;
        connection.blocked.take_if(|blocked| blocked.flight == number);
        let mut flights = connection.flights.iter_mut();
        let flight = flights.find(|flight| flight.number == number);
        flight.expect("an answer belongs to a flight").land(envelope);
        self.merge_landed(conn);
        let connection = self.connections.get_mut(conn).expect("looked at above");
        if !connection.flights.is_empty() && self.port.mesh().rules().one_in_flight {
            return;
        }
        self.make_dirty(conn);
        self.check_output(conn);
        self.make_ready(conn);
    }
}
