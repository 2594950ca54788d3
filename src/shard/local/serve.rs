//! The spine: from the bytes of a connection to its replies, or to the shards that have the keys.
//! Hot.

use super::gather::{Gathered, Gatherer};
use crate::client::Serving;
use crate::exec::Facts;
use crate::exec::{BATCH_COMMANDS_MAX, BatchArgs, Replies, Wait};
use crate::io::ConnId;
use crate::mesh::{ClientRef, FlightId, Registration};
use crate::partition::{Batch, BatchTiming, Probe, RunMode, args_of};
use crate::pubsub::Sort;
use crate::resp::Mark;
use crate::shard::limits::{BATCHES_PER_TURN_MAX, SERVE_NS_MAX};
use crate::shard::state::Shard;

impl Shard {
    /// Runs the commands at the head of the connection's input, batch by batch.
    pub(in crate::shard) fn serve(&mut self, conn: ConnId) {
        for batch in 0..BATCHES_PER_TURN_MAX {
            if batch > 0 && self.env.clock_ns() - self.env.now.monotonic_ns > SERVE_NS_MAX {
                break;
            }
            self.port.mesh().point();
            self.make_room();
            let counts_slots = self.counts_slots();
            if counts_slots {
                self.settle_slot(conn);
            }
            let one_in_flight = self.port.mesh().rules().one_in_flight;
            let mut gatherer = self.gatherer();
            let Some(mut connection) = self.connections.get_mut(conn) else { return };
            if connection.serving(one_in_flight) != Serving::Open {
                return;
            }
            if connection.session.users_version != self.env.process.acl.version() {
                if !self.refresh_user(conn, None) {
                    return;
                }
                let Some(same) = self.connections.get_mut(conn) else { return };
                connection = same;
            }
            let has_subscriptions = connection.session.has_subscriptions();
            if has_subscriptions && self.env.process.pubsub.awaits_own(self.env.me) {
                break;
            }
            connection.is_starved = false;
            gatherer.facts = gatherer.facts.and(connection.session.facts);
            gatherer.facts.set(Facts::OF_REPLICA, connection.link.is_some());
            if connection.session.is_loader() {
                gatherer.obey();
            }
            let has_all_replies = connection.session.replies == Replies::All;
            let unsent_bytes = connection.outbox.pending_bytes();
            let is_caching = connection.session.is_caching();
            let is_asking = connection.session.begin_asking();
            // Messages come between the replies of a subscriber's commands.
            if !has_all_replies
                || has_subscriptions
                || is_caching
                || is_asking
                || counts_slots
                || unsent_bytes > self.clients.output_bytes_batched
            {
                gatherer.commands_max = 1;
            }
            let gathered = gatherer.gather(connection, &mut self.batch, &self.env);
            if gatherer.may_stall
                && matches!(gathered, Gathered::Keys)
                && let Some(shard) = self.batch.lacks_credit(&self.port, self.env.router.shards())
            {
                self.batch.take_back(connection);
                return self.stall(conn, shard);
            }
            let has_begun = !matches!(gathered, Gathered::Nothing | Gathered::Postponed(_));
            if !has_all_replies && has_begun {
                connection.turn_replies();
            }
            let is_alone = connection.flights.is_empty();
            let may_be_large = connection.input.may_hold(self.env.thresholds.request_bytes);
            self.observe(conn, &gathered, may_be_large, has_all_replies);
            if counts_slots && has_begun {
                self.begin_slot(conn, &gathered);
            }
            let is_cached =
                is_caching && !gathered.alone().is_some_and(|item| item.entry.keeps_caching);
            match gathered {
                Gathered::Nothing => return self.settle_input(conn),
                Gathered::Keys if self.batch.is_local && is_alone => self.run_or_wait(conn),
                Gathered::Keys => self.post_batch(conn),
                Gathered::Joint(item) => self.run_gathering(conn, item),
                Gathered::ManyKeys(item) => self.run_many_keys(conn, item),
                Gathered::Queued(count) => self.reply_queued(conn, count),
                Gathered::Session(item) => self.run_session(conn, item),
                Gathered::Postponed(entry) => return self.postpone(conn, entry),
                Gathered::Refused(entry, error) => self.refuse(conn, entry, &error),
                Gathered::Denied(entry, denial, object) => self.deny(conn, entry, (denial, object)),
                Gathered::Malformed(error) => return self.reject_bytes(conn, error),
                Gathered::Http => return self.reject_http(conn),
            }
            if is_cached && let Some(connection) = self.connections.get_mut(conn) {
                connection.session.end_caching();
            }
            if is_asking && let Some(connection) = self.connections.get_mut(conn) {
                connection.session.end_asking();
            }
            self.check_output(conn);
        }
        self.make_ready(conn);
    }

    /// Shows a batch that is about to run to the command log, LATENCY PROFILE and MONITOR.
    #[inline]
    fn observe(
        &mut self,
        conn: ConnId,
        gathered: &Gathered,
        may_be_large: bool,
        has_all_replies: bool,
    ) {
        if may_be_large {
            self.log_requests(conn, gathered.alone());
        }
        if has_all_replies && self.telemetry.profile.is_due() {
            self.trace_begin(conn, gathered);
        }
        if self.env.process.monitors.is_on() && gathered.runs_keys() {
            self.show_batch(conn, gathered.alone());
        }
    }

    fn gatherer(&self) -> Gatherer {
        Gatherer {
            table: self.env.process.commands,
            home: self.env.me as u16,
            facts: self.env.facts,
            bulk_len_max: self.env.config.proto_max_bulk_len,
            keeps_order: self.env.config.notify_keyspace_events.publishes()
                && self.env.process.pubsub.is_used(Sort::Channel),
            commands_max: self.port.mesh().batch_commands_max(BATCH_COMMANDS_MAX),
            may_stall: !self.port.has_all_credits(),
            long_elements_min: self.env.config.offload_elements_min as usize,
        }
    }

    /// Runs the batch here. If a lock conflicts, or a command must be offloaded, posts the batch
    /// through the inbox instead.
    fn run_or_wait(&mut self, conn: ConnId) {
        let may_be_long = self.batch.is_bulky && self.partition.may_offload();
        if !self.partition.has_no_locks() || may_be_long {
            let connection = self.connections.get_mut(conn).expect("connection is open");
            let (text, large) = connection.input.parts();
            let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
            let items = &self.batch.items;
            if (may_be_long && self.partition.has_long(items, &mut batch_args))
                || self.partition.would_wait(items, &mut batch_args, None)
            {
                return self.post_batch(conn);
            }
        }
        self.run_here(conn);
    }

    /// Runs the batch on this shard's own partition.
    fn run_here(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let caller = connection.begin_here(conn, self.env.me);
        let (text, large) = connection.input.parts();
        let mut args = BatchArgs { text, spans: &self.batch.spans, large };
        let (output, items) = (&mut connection.outbox.output, &self.batch.items);
        let begin = output.mark();
        let mut timing = BatchTiming::at_home(&self.env.thresholds, items, &mut args, output.len());
        timing.probe = Probe::new(self.batch.traced);
        let protocol = connection.session.protocol;
        let mode = if self.batch.may_wait { RunMode::Attempt } else { RunMode::Batch };
        let mut batch = Batch { items, args, output, ends: None, protocol };
        let ran = self.partition.run_local(&mut batch, mode, caller, &mut timing);
        if let Some(wait) = ran.wait {
            return self.block_here(conn, wait);
        }
        if let Some((at, script)) = ran.suspended {
            return self.suspend_here(conn, (at, begin), script);
        }
        if timing.has_news(&self.env.thresholds) {
            self.log_batch(conn, &timing);
        }
        let connection = self.connections.get_mut(conn).expect("connection is open");
        connection.input.consume();
        let last = self.batch.items.last().map(|item| item.entry.index);
        let now_ms = self.env.now.monotonic_ms();
        connection.session.note_commands(self.batch.items.len(), last, now_ms);
        self.hold_replies(conn, begin, FlightId(caller.flight));
        self.send_outgoing();
        if self.batch.traced.is_some() {
            self.trace_ran(conn, timing.probe.spent_ns());
        }
        self.env.board.counters.batches_local.add(1);
        self.make_dirty(conn);
    }

    /// Makes the connection's replies from `begin` on wait if its commands have forwarded others,
    /// or if it must be told first what other units change.
    #[inline]
    pub(in crate::shard) fn hold_replies(&mut self, conn: ConnId, begin: Mark, batch: FlightId) {
        self.await_units(conn);
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let client = ClientRef { conn, generation: connection.generation };
        if let Some(hold) = self.partition.hold_connection(client) {
            connection.holds.push((self.env.me as u16, hold));
        }
        if !connection.holds.is_empty() {
            connection.outbox.hold(begin);
            connection.held_flight = Some(batch);
        }
    }

    /// Blocks the only command of the batch, whose keys are here.
    fn block_here(&mut self, conn: ConnId, mut wait: Wait) {
        let item = self.batch.items[0];
        let to = self.defer(conn);
        let ticket = self.begin_attempt(conn, to.flight);
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let (text, large) = connection.input.parts();
        let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
        wait.args.get_or_insert_with(|| args_of(&item, &mut batch_args));
        connection.input.consume();
        let now_ms = self.env.now.monotonic_ms();
        connection.session.note_commands(1, Some(item.entry.index), now_ms);
        let protocol = connection.session.protocol;
        let me = self.env.me as u16;
        self.block(to, &ticket, item.entry, &wait, vec![me]);
        self.partition.block(Registration { ticket, item, to, wait }, me, protocol);
    }
}
