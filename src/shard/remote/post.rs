//! Batches with keys on other shards: out in envelopes, and back into the connection's output.
//!
//! A batch is split into one part per shard. The commands keep their order in each part. The flight
//! stores for each command the part whose next reply belongs to the command.

use crate::base::slot::slot_of;
use crate::client::{Flight, ReplySource, Spread};
use crate::exec::{BatchArgs, Item, Merge, Request, SuspendedScript};
use crate::gate::{Place, Router};
use crate::io::ConnId;
use crate::mesh::{ClientRef, Envelope, FlightId, Port, ReplyAddress, ReplyTo, Survey, Work};
use crate::partition::logged_if_large;
use crate::resp::{Args, Mark};
use crate::shard::state::Shard;

/// The most keys of one command in a part, if the keys of a client's command are spread over
/// several commands. They take about 25 us.
const KEYS_TOGETHER_MAX: usize = 256;

/// The parts of one unit while they are being filled.
pub(in crate::shard) struct Parts<'a> {
    port: &'a mut Port,
    flight: &'a mut Flight,
    /// Per shard, the envelope of its part.
    open: &'a mut Vec<Option<Box<Envelope>>>,
    /// Number of parts, which is the number of the next part.
    count: u16,
}

impl<'a> Parts<'a> {
    /// Creates an empty set of parts. `open` must be empty; only its memory is reused.
    pub(in crate::shard) fn new(
        port: &'a mut Port,
        flight: &'a mut Flight,
        open: &'a mut Vec<Option<Box<Envelope>>>,
        shards: usize,
    ) -> Parts<'a> {
        open.resize_with(shards, || None);
        Parts { port, flight, open, count: 0 }
    }

    /// Opens the first `count` parts of a transaction's flight, one for each of its shards, to add
    /// more commands. The parts behind them are replies to its requests to all shards.
    pub(in crate::shard) fn reopen(mut self, count: usize) -> Parts<'a> {
        for envelope in self.flight.take_first(count) {
            let shard = usize::from(envelope.owner);
            self.open[shard] = Some(envelope);
        }
        self.count = count as u16;
        self
    }

    /// Puts the parts back into their flight.
    pub(in crate::shard) fn put_back(self) {
        let Parts { open, flight, .. } = self;
        open.iter_mut().filter_map(Option::take).for_each(|envelope| flight.put_back(envelope));
    }

    /// Moves the parts into a unit.
    #[allow(clippy::vec_box)]
    fn close(self, unit: &mut Vec<Box<Envelope>>) {
        unit.extend(self.open.iter_mut().filter_map(Option::take));
    }

    /// Returns the envelope of a shard's part, and opens it if necessary.
    fn envelope(&mut self, shard: u16) -> &mut Envelope {
        let at = usize::from(shard);
        if self.open[at].is_none() {
            let mut envelope = self.port.envelope(at);
            envelope.part = self.count;
            self.count += 1;
            self.open[at] = Some(envelope);
        }
        self.open[at].as_mut().expect("opened above")
    }

    /// Adds a whole command to the part of one shard, and moves its large arguments there.
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
    fn add_everywhere(&mut self, item: &Item, batch_args: &mut BatchArgs<'_>, router: &Router) {
        for shard in router.all_shards() {
            let envelope = self.envelope(shard);
            let is_counted = shard > 0;
            envelope.begin(&Item { is_part: true, is_counted, ..*item }, item.slot);
            for arg in batch_args.of(item).iter_from(0) {
                envelope.push_arg(arg);
            }
            let part = envelope.part;
            self.flight.members.push(part);
        }
    }

    /// Adds the command to the part of each owner, with the owner's keys only.
    fn add_by_keys(&mut self, item: &Item, batch_args: &mut BatchArgs<'_>, router: &Router) {
        let keys = item.entry.keys;
        let mut args = batch_args.of(item);
        let last = keys.last_of(args.len());
        for at in (keys.first..=last).step_by(keys.step) {
            let slot = slot_of(&args[at]);
            let shard = router.owner(slot);
            let envelope = self.envelope(shard);
            let has_begun = envelope.items.last().is_some_and(|last| last.at == item.at);
            if !has_begun {
                envelope.begin(&Item { is_counted: at > keys.first, ..*item }, slot);
                push(envelope, &mut args, 0);
            }
            for arg in at..(at + keys.step).min(args.len()) {
                push(envelope, &mut args, arg);
            }
            let part = envelope.part;
            self.flight.members.push(part);
        }
    }

    /// Adds one command of the batch, and records the source of its reply.
    pub(in crate::shard) fn add(
        &mut self,
        item: &Item,
        place: Place,
        batch_args: &mut BatchArgs<'_>,
        router: &Router,
    ) {
        let first = self.flight.members.len();
        let source = match (place, item.entry.merge()) {
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
        self.flight.order.push(source);
    }
}

impl Parts<'_> {
    /// Adds the next keys of a command to the parts of their owners, in commands of at most
    /// [`KEYS_TOGETHER_MAX`] keys. Reduces `left` by the number of keys, and stops if nothing is
    /// left. Returns whether all keys are added.
    pub(in crate::shard) fn add_some_keys(
        &mut self,
        item: &Item,
        batch_args: &mut BatchArgs<'_>,
        router: &Router,
        spread: &mut Spread,
        left: &mut usize,
    ) -> bool {
        let (keys, merge) = (item.entry.keys, item.entry.merge().expect("it runs in parts"));
        let mut args = batch_args.of(item);
        if spread.arg == 0 {
            *spread = Spread { arg: keys.first, first: self.flight.members.len() };
        }
        while spread.arg <= keys.last_of(args.len()) {
            if *left == 0 {
                return false;
            }
            *left -= 1;
            let slot = slot_of(&args[spread.arg]);
            let envelope = self.envelope(router.owner(slot));
            let part = envelope.part;
            let begun = envelope.items.last().filter(|last| last.at == item.at);
            let is_full =
                begun.is_none_or(|last| last.argc as usize > KEYS_TOGETHER_MAX * keys.step);
            if is_full {
                let is_counted = spread.arg > keys.first;
                envelope.begin(&Item { is_counted, ..*item }, slot);
                envelope.push_arg(&args[0]);
            }
            for arg in spread.arg..spread.arg + keys.step {
                push(envelope, &mut args, arg);
            }
            if is_full || merge == Merge::ByKey {
                self.flight.members.push(part);
            }
            spread.arg += keys.step;
        }
        let members = spread.first as u32..self.flight.members.len() as u32;
        self.flight.order.push(ReplySource::Spread(merge, members));
        *spread = Spread::default();
        true
    }
}

/// Moves one argument into an envelope: copied, or with its buffer.
fn push(envelope: &mut Envelope, args: &mut Args<'_>, at: usize) {
    match args.take_large(at) {
        Some(large) => envelope.push_large(large),
        None => envelope.push_arg(&args[at]),
    }
}

/// Removes duplicate members from index `first` on.
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

impl Shard {
    /// Makes the connection wait for one reply. Pipelined commands wait too.
    pub(in crate::shard) fn defer(&mut self, conn: ConnId) -> ReplyAddress {
        let mut flight = self.remote.flights.pop().unwrap_or_default();
        flight.order.push(ReplySource::One(0));
        self.enlist(conn, flight, 1)
    }

    /// Returns an envelope for a reply that is made at home. [`Shard::land_answer`] takes it back.
    pub(in crate::shard) fn answer_to(&mut self, to: ReplyAddress) -> Box<Envelope> {
        let mut answer = self.port.envelope(self.env.me);
        answer.reply_to = ReplyTo::Client(to);
        answer.part = 0;
        answer
    }

    /// Lands a reply that was written at home.
    pub(in crate::shard) fn land_answer(&mut self, mut answer: Box<Envelope>) {
        let end = answer.output.mark();
        answer.ends.push(end);
        self.land(answer);
    }

    /// Posts the gathered batch. The caller must have checked the credits.
    pub(in crate::shard) fn post_batch(&mut self, conn: ConnId) {
        let mut flight = self.remote.flights.pop().unwrap_or_default();
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let (text, large) = connection.input.parts();
        let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
        flight.written = logged_if_large(&self.env.thresholds, &self.batch.items, &mut batch_args);
        let (open, shards) = (&mut self.remote.open, self.env.router.shards());
        let mut parts = Parts::new(&mut self.port, &mut flight, open, shards);
        for (item, place) in self.batch.items.iter().zip(&self.batch.places) {
            parts.add(item, *place, &mut batch_args, &self.env.router);
        }
        parts.close(&mut self.remote.unit);
        if self.batch.items.iter().all(|item| item.entry.surveys_keys()) {
            self.remote.unit.iter_mut().for_each(|part| part.survey = Survey::AtOnce);
        }
        connection.input.consume();
        let last = self.batch.items.last().map(|item| item.entry.index);
        let now_ms = self.env.now.monotonic_ms();
        connection.session.note_commands(self.batch.items.len(), last, now_ms);
        if self.batch.is_local && !connection.flights.is_empty() {
            return self.run_ahead(conn, flight);
        }
        if self.batch.may_wait {
            let number = connection.flight_number;
            let ticket = self.begin_attempt(conn, number);
            self.remote.unit[0].work = Work::Attempt(ticket);
        }
        if self.batch.traced.is_some() {
            self.trace_posting(conn);
        }
        self.launch(conn, flight);
    }

    /// Keeps the gathered batch from index `at` on: the script of this command is suspended. The
    /// replies before it begin at `begin`.
    #[cold]
    pub(in crate::shard) fn suspend_here(
        &mut self,
        conn: ConnId,
        (at, begin): (usize, Mark),
        script: Box<SuspendedScript>,
    ) {
        let mut flight = self.remote.flights.pop().unwrap_or_default();
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let (text, large) = connection.input.parts();
        let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
        let (open, shards) = (&mut self.remote.open, self.env.router.shards());
        let mut parts = Parts::new(&mut self.port, &mut flight, open, shards);
        let here = Place::Shard(self.env.me as u16);
        for item in &self.batch.items[at..] {
            parts.add(item, here, &mut batch_args, &self.env.router);
        }
        parts.close(&mut self.remote.unit);
        let mut part = self.remote.unit.pop().expect("the batch has one part");
        connection.input.consume();
        let last = self.batch.items.last().map(|item| item.entry.index);
        let now_ms = self.env.now.monotonic_ms();
        connection.session.note_commands(self.batch.items.len(), last, now_ms);
        (part.protocol, part.work) = (connection.session.protocol, Work::Batch);
        // The batch that has begun here has the last number.
        let batch = FlightId(connection.flight_number.0.wrapping_sub(1));
        self.hold_replies(conn, begin, batch);
        part.reply_to = ReplyTo::Client(self.enlist(conn, flight, 1));
        let sent = self.partition.moment();
        self.port.begin_here(&mut part, sent);
        self.partition.suspend_local(part, script);
        self.send_outgoing();
        self.make_dirty(conn);
    }

    /// Sends a request to all shards. Their replies are merged into the client's reply.
    pub(in crate::shard) fn post_request(&mut self, conn: ConnId, request: &Request, merge: Merge) {
        let mut flight = self.remote.flights.pop().unwrap_or_default();
        let shards = self.env.router.shards();
        for shard in 0..shards {
            let mut envelope = self.port.envelope(shard);
            envelope.part = shard as u16;
            envelope.work = Work::Control { request: request.clone(), at: 0 };
            flight.members.push(shard as u16);
            self.remote.unit.push(envelope);
        }
        flight.order.push(ReplySource::Merged(merge, 0..shards as u32));
        self.launch(conn, flight);
    }

    /// Posts the parts of the unit as a flight of the connection.
    pub(in crate::shard) fn launch(&mut self, conn: ConnId, flight: Box<Flight>) {
        let to = self.enlist(conn, flight, self.remote.unit.len());
        let connection = self.connections.get_mut(conn).expect("connection is open");
        for part in &mut self.remote.unit {
            part.reply_to = ReplyTo::Client(to);
            part.protocol = connection.session.protocol;
        }
        self.env.board.counters.batches_remote.add(1);
        self.env.board.counters.envelopes_posted.add(self.remote.unit.len() as u64);
        self.post_unit();
    }

    /// Sends the unit of a connection's first flight again, or when there are credits: it was a
    /// survey that was torn. Its parts wait for locks this time.
    #[cold]
    pub(super) fn repeat_survey(&mut self, client: ClientRef) {
        if !self.port.has_all_credits() {
            return self.remote.torn.push_back(client);
        }
        let connection = self.connections.get_same(client.conn, client.generation);
        let Some(connection) = connection.filter(|connection| !connection.is_closing) else {
            return;
        };
        let Some(flight) = connection.flights.first_mut().filter(|flight| flight.is_torn()) else {
            return;
        };
        let parts = flight.parts().count();
        for mut part in flight.take_first(parts) {
            if part.survey != Survey::Torn {
                part.items.iter_mut().for_each(|item| item.is_counted = true);
            }
            part.clear_replies();
            part.survey = Survey::Locked;
            self.remote.unit.push(part);
        }
        flight.launch(parts);
        self.env.board.counters.envelopes_posted.add(parts as u64);
        self.post_unit();
    }

    /// Returns whether a torn survey that waits for credits can be sent again.
    pub(in crate::shard) fn can_repeat_surveys(&self) -> bool {
        !self.remote.torn.is_empty() && self.port.has_all_credits()
    }

    /// Sends torn surveys again that waited for credits.
    pub(super) fn repeat_surveys(&mut self) {
        while self.port.has_all_credits()
            && let Some(client) = self.remote.torn.pop_front()
        {
            self.repeat_survey(client);
        }
    }

    /// Posts the parts of the unit. The unit is empty afterwards.
    pub(in crate::shard) fn post_unit(&mut self) {
        let sent = self.partition.moment();
        self.port.post(&mut self.remote.unit, sent);
    }

    /// Runs a part of the shard's own at once, although an earlier flight is in progress. Used only
    /// without the rule `one_in_flight`. The part runs now, but its replies wait for the earlier
    /// flight.
    #[cold]
    fn run_ahead(&mut self, conn: ConnId, flight: Box<Flight>) {
        assert!(!self.port.mesh().rules().one_in_flight, "one batch is in flight");
        let mut part = self.remote.unit.pop().expect("a local batch has one part");
        let to = self.enlist(conn, flight, 1);
        let connection = self.connections.get_mut(conn).expect("connection is open");
        part.protocol = connection.session.protocol;
        part.reply_to = ReplyTo::Client(to);
        part.work = Work::Batch;
        self.partition.run_ahead(&mut part);
        self.land(part);
    }

    /// Adds a flight of `parts` parts to the connection.
    fn enlist(&mut self, conn: ConnId, mut flight: Box<Flight>, parts: usize) -> ReplyAddress {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        flight.launch(parts);
        flight.number = connection.next_flight();
        let to = ReplyAddress {
            client: ClientRef { conn, generation: connection.generation },
            flight: flight.number,
        };
        connection.flights.push(flight);
        to
    }
}
