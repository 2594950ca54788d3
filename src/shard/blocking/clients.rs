//! Commands that block, at the home shards of their connections: when they begin to block and when
//! they give up.

use crate::acl::Denial;
use crate::client::{Blocked, Connection, GivingUp, TimeoutReply, TransactionAttempt, Waiting};
use crate::exec::{Entry, NO_AOF, Null, Ticket, TicketState, Wait};
use crate::gate::denial_error;
use crate::io::ConnId;
use crate::mesh::{ClientRef, Envelope, FlightId, OneWay, ReplyAddress, Work};
use crate::resp::{Error, Output, Reply};
use crate::shard::state::Shard;
use crate::txn::Queue;
use std::sync::Arc;

/// Bits of a ticket's number that count the shard's own tickets. The shard's number is above them.
const TICKET_BITS: u32 = 48;

/// Reply of a command that CLIENT UNBLOCK ends with an error.
const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

impl Shard {
    /// Returns the ticket of a command that may block and is about to run in this flight.
    pub(in crate::shard) fn begin_attempt(
        &mut self,
        conn: ConnId,
        flight: FlightId,
    ) -> Arc<Ticket> {
        self.blocking.next_ticket += 1;
        let number = ((self.env.me as u64) << TICKET_BITS) | self.blocking.next_ticket;
        let ticket = Arc::new(Ticket::new(number));
        let (epoch, of_client) = (self.env.router.map().epoch(), Arc::clone(&ticket));
        let blocked = Blocked { ticket: of_client, flight, epoch, wait: None, giving_up: None };
        let connection = self.connections.get_mut(conn).expect("connection is open");
        connection.blocked = Some(Box::new(blocked));
        ticket
    }

    /// Records that a command of the connection has blocked on keys of these shards.
    pub(in crate::shard) fn block(
        &mut self,
        to: ReplyAddress,
        ticket: &Ticket,
        entry: &'static Entry,
        wait: &Wait,
        shards: Vec<u16>,
    ) {
        let (deadline_ms, on_timeout) = (wait.deadline_ms, TimeoutReply::Null(wait.null));
        let args = wait.args.clone();
        self.begin_waiting(to, ticket, Waiting { entry, args, deadline_ms, on_timeout, shards });
    }

    /// Records that a command of the connection has blocked. If the client has left, its owners
    /// remove the command from their lists.
    pub(in crate::shard) fn begin_waiting(
        &mut self,
        to: ReplyAddress,
        ticket: &Ticket,
        waiting: Waiting,
    ) {
        let ClientRef { conn, generation } = to.client;
        let connection = self.connections.get_same(conn, generation);
        let is_its = |blocked: &Blocked| blocked.ticket.number() == ticket.number();
        let is_there = |it: &&mut Connection| it.blocked.as_deref().is_some_and(is_its);
        let Some(connection) = connection.filter(is_there) else {
            let all: Vec<u16> = self.env.router.all_shards().collect();
            let is_listed = !waiting.shards.is_empty();
            return self.forget_at(ticket.number(), if is_listed { &all } else { &[] }, None);
        };
        let blocked = connection.blocked.as_mut().expect("checked above");
        let deadline_ms = waiting.deadline_ms;
        blocked.wait = Some(waiting);
        connection.session.is_blocked = true;
        connection.release_pushes();
        // The command counts when it ends.
        connection.session.commands -= 1;
        let is_hung_up = connection.is_hung_up;
        self.env.board.gauges.clients_blocked.add(1);
        if let Some(deadline_ms) = deadline_ms {
            self.blocking.deadlines.insert((deadline_ms, conn));
        }
        if is_hung_up {
            return self.close(conn);
        }
        // A blocked client that hangs up must be noticed behind any amount of pipelined input.
        self.resume_receiving(conn);
    }

    /// Records that the owner of a command's keys has blocked the command.
    pub(in crate::shard) fn land_blocked(&mut self, to: ReplyAddress, mut part: Box<Envelope>) {
        let Work::Blocked(is) = std::mem::replace(&mut part.work, Work::Batch) else {
            unreachable!("checked before")
        };
        let entry = part.items[0].entry;
        self.block(to, &is.0, entry, &is.1, vec![part.owner]);
        self.port.recycle(part);
    }

    /// Ends the blocked state of the connection's command, if any. The shards that list the command
    /// are told, except the one that has served it.
    pub(in crate::shard) fn end_block(
        &mut self,
        conn: ConnId,
        served_by: Option<u16>,
    ) -> Option<Box<Blocked>> {
        let connection = self.connections.get_mut(conn)?;
        let mut blocked = connection.blocked.take()?;
        connection.session.is_blocked = false;
        let Some(wait) = &mut blocked.wait else { return Some(blocked) };
        connection.session.commands += 1;
        self.env.board.gauges.clients_blocked.add(-1);
        if let Some(deadline_ms) = wait.deadline_ms {
            self.blocking.deadlines.remove(&(deadline_ms, conn));
        }
        if wait.on_timeout == TimeoutReply::Acks {
            self.forget_acks(conn);
        }
        let mut shards = std::mem::take(&mut wait.shards);
        if !shards.is_empty() && self.may_have_moved(blocked.epoch) {
            shards = self.env.router.all_shards().collect();
        }
        self.forget_at(blocked.ticket.number(), &shards, served_by);
        Some(blocked)
    }

    /// Tells shards, except `but`, that a client no longer waits.
    pub(super) fn forget_at(&mut self, ticket: u64, shards: &[u16], but: Option<u16>) {
        for &shard in shards.iter().filter(|shard| Some(**shard) != but) {
            self.post_one_way(shard, OneWay::Forget(ticket));
        }
    }

    /// Lands the reply of a command that an owner has served.
    pub(in crate::shard) fn land_served(&mut self, to: ReplyAddress, by: u16, output: Output) {
        if self.blocked_in(to).is_some() {
            self.end_block(to.client.conn, Some(by));
            self.land_output(to, output);
        }
    }

    fn land_output(&mut self, to: ReplyAddress, output: Output) {
        let mut answer = self.answer_to(to);
        answer.output = output;
        self.land_answer(answer);
    }

    /// Returns the shards that own the keys that a command waits for.
    pub(super) fn shards_of(&self, wait: &Wait) -> Vec<u16> {
        let args = wait.args.as_ref().expect("a blocked command has its arguments");
        let mut shards: Vec<u16> =
            wait.keys.iter().map(|arg| self.env.router.owner_of(&args[*arg])).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }

    /// Returns the blocked command that waits for its reply in this flight; none if its client has
    /// left.
    pub(super) fn blocked_in(&mut self, to: ReplyAddress) -> Option<&mut Blocked> {
        let connection = self.connections.get_same(to.client.conn, to.client.generation)?;
        connection.blocked.as_deref_mut().filter(|blocked| blocked.flight == to.flight)
    }

    /// Records that a command on keys of several shards has blocked. If a forwarded command found
    /// nothing, it stays blocked, unless it must give up.
    pub(in crate::shard) fn block_at_owners(
        &mut self,
        to: ReplyAddress,
        attempt: TransactionAttempt,
        queue: &Queue,
    ) {
        if let Some(wait) = &attempt.wait
            && attempt.woken.is_none()
        {
            let shards = self.shards_of(wait);
            return self.block(to, &attempt.ticket, queue.items[0].entry, wait, shards);
        }
        if let Some(why) = self.blocked_in(to).and_then(|blocked| blocked.giving_up) {
            self.finish_giving_up(to.client.conn, why);
        }
    }

    /// Ends the wait of the connection's command. Returns whether it was blocked.
    pub(in crate::shard) fn give_up(&mut self, conn: ConnId, why: GivingUp) -> bool {
        let Some(connection) = self.connections.get_mut(conn) else { return false };
        let Some(blocked) = &mut connection.blocked else { return false };
        if blocked.wait.is_none() || blocked.giving_up.is_some() {
            return false;
        }
        let mesh = self.port.mesh();
        match blocked.ticket.take(TicketState::Cancelled, || mesh.idle()) {
            Ok(()) => self.finish_giving_up(conn, why),
            Err(TicketState::Moving) => blocked.giving_up = Some(why),
            // The reply is already on its way.
            Err(_) => return false,
        }
        true
    }

    /// Replies to a command that has given up.
    pub(in crate::shard) fn finish_giving_up(&mut self, conn: ConnId, why: GivingUp) {
        let acks = self.acks_of(conn);
        let blocked = self.end_block(conn, None).expect("client is blocked");
        let wait = blocked.wait.as_ref().expect("client is blocked");
        let redirected = match why {
            GivingUp::Redirected => self.redirection_of(wait),
            _ => None,
        };
        let connection = self.connections.get_mut(conn).expect("client is blocked");
        let (generation, flight) = (connection.generation, blocked.flight);
        let protocol = connection.session.protocol;
        let mut output = Output::default();
        let mut reply = Reply::new(&mut output, protocol);
        match (why, wait.on_timeout) {
            (GivingUp::Timeout, TimeoutReply::Null(Null::Bulk)) => reply.null(),
            (GivingUp::Timeout, TimeoutReply::Null(Null::Array)) => reply.null_array(),
            (GivingUp::Timeout, TimeoutReply::Acks) => {
                acks.expect("a WAIT is listed until it ends").reply(&mut reply);
            }
            (GivingUp::NoFile, _) => {
                let error = Error::other(NO_AOF);
                reply.error(&error);
                self.env.board.error_reply(error.bytes());
            }
            (GivingUp::Error | GivingUp::Denied(_) | GivingUp::Redirected, _) => {
                let error = match (why, &connection.session.user) {
                    (GivingUp::Redirected, _) => redirected.unwrap_or(Error::other(UNBLOCKED)),
                    (GivingUp::Denied(reason), Some(user)) => {
                        denial_error(&Denial { reason, at: 0 }, user, wait.entry)
                    }
                    _ => Error::other(UNBLOCKED),
                };
                reply.error(&error);
                self.env.board.commands[usize::from(wait.entry.index)].rejected.add(1);
                self.env.board.error_reply(error.bytes());
            }
        }
        // A command that is not allowed has not run.
        if !matches!(why, GivingUp::Denied(_) | GivingUp::Redirected) {
            self.partition.record_runs(wait.entry, 1, 0);
            self.env.board.counters.commands_processed.add(1);
        }
        let client = ClientRef { conn, generation };
        self.land_output(ReplyAddress { client, flight }, output);
    }

    /// Ends the connection's blocked command, because the connection closes.
    pub(in crate::shard) fn leave_block(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let Some(blocked) = &connection.blocked else { return };
        let mesh = self.port.mesh();
        // A shard that has taken the ticket continues, and its reply is dropped.
        let _ = blocked.ticket.take(TicketState::Cancelled, || mesh.idle());
        self.end_block(conn, None);
    }

    /// Ends the waits whose deadline has passed.
    pub(in crate::shard) fn check_deadlines(&mut self) {
        while let Some(&(deadline_ms, conn)) = self.blocking.deadlines.first()
            && deadline_ms < self.env.now.unix_ms()
        {
            self.blocking.deadlines.pop_first();
            self.give_up(conn, GivingUp::Timeout);
        }
    }

    /// Returns the nanoseconds until the next deadline of a wait or of the pause.
    pub(in crate::shard) fn next_deadline_ns(&self) -> Option<u64> {
        let wait_ms = self.blocking.deadlines.first().map(|(deadline_ms, _)| *deadline_ms);
        let deadline_ms = wait_ms.into_iter().chain(self.pausing.until_ms()).min()?;
        let now_us = self.env.process.clock.unix_us();
        let over_us = deadline_ms.saturating_add(1).saturating_mul(1_000);
        Some(over_us.saturating_sub(now_us).saturating_mul(1_000))
    }

    /// Ends the wait of a client, if the client is on this shard. Returns the number of ended
    /// waits.
    pub(in crate::shard) fn unblock(&mut self, client: u64, is_error: bool) -> i64 {
        let found = self.connections.iter().find(|(_, it)| it.session.id == client);
        let Some(conn) = found.map(|(conn, _)| conn) else { return 0 };
        let why = if is_error { GivingUp::Error } else { GivingUp::Timeout };
        i64::from(self.give_up(conn, why))
    }
}
