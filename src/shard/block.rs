//! Commands that wait, at the homes of their connections: when they begin to, when they give up,
//! and those that use keys of several shards.

use super::Shard;
use super::post::Awaited;
use super::replicas::NO_CONNECTION;
use super::wake::idle;
use crate::client::{
    Blocked, Connection, GivingUp, Transaction, TransactionAttempt, Waiting, Woken,
};
use crate::exec::{Entry, Null, Ticket, TicketState, Wait};
use crate::io::ConnId;
use crate::mesh::{Envelope, Moved, Registration, Work};
use crate::resp::{Error, Output, Reply};
use crate::txn::Queue;
use std::sync::Arc;

/// The number of a shard's ticket in the process: its own in the low bits.
const TICKET_BITS: u32 = 48;

/// The reply of a command that CLIENT UNBLOCK ends with an error.
const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// A command that waits for credits to be run on keys of several shards.
#[derive(Debug)]
pub(super) struct MoveDue {
    awaited: Awaited,
    queue: Box<Queue>,
    ticket: Arc<Ticket>,
    woken: Woken,
}

impl Shard {
    /// The ticket of a command that may wait, which is about to run in this flight.
    pub(super) fn begin_attempt(&mut self, conn: ConnId, flight: u32) -> Arc<Ticket> {
        self.next_ticket += 1;
        let number = ((self.me as u64) << TICKET_BITS) | self.next_ticket;
        let ticket = Arc::new(Ticket::new(number));
        let blocked = Blocked { ticket: Arc::clone(&ticket), flight, wait: None, giving_up: None };
        let connection = self.connections.get_mut(conn).expect("it is being served");
        connection.blocked = Some(Box::new(blocked));
        ticket
    }

    /// A command of the connection has begun to wait. If the client has left, nobody does.
    pub(super) fn block(
        &mut self,
        awaited: Awaited,
        ticket: &Ticket,
        entry: &'static Entry,
        wait: &Wait,
        shards: Vec<u16>,
    ) {
        let connection = self.connections.get_same(awaited.conn, awaited.generation);
        let is_its = |blocked: &Blocked| blocked.ticket.number() == ticket.number();
        let is_there = |it: &&mut Connection| it.blocked.as_deref().is_some_and(is_its);
        let Some(connection) = connection.filter(is_there) else {
            return self.forget_at(ticket.number(), &shards, None);
        };
        let blocked = connection.blocked.as_mut().expect("looked at above");
        let (deadline_ms, null) = (wait.deadline_ms, wait.null);
        blocked.wait = Some(Waiting { entry, deadline_ms, null, shards });
        connection.session.is_blocked = true;
        // It counts when it ends.
        connection.session.commands -= 1;
        let is_hung_up = connection.is_hung_up;
        self.board.gauges.clients_blocked.add(1);
        if let Some(deadline_ms) = deadline_ms {
            self.deadlines.insert((deadline_ms, awaited.conn));
        }
        if is_hung_up {
            self.close(awaited.conn);
        }
    }

    /// The owner of a command's keys says that it waits.
    pub(super) fn land_waits(&mut self, mut part: Box<Envelope>) {
        let Work::Waits(is) = std::mem::replace(&mut part.work, Work::Commands) else {
            unreachable!("looked at before")
        };
        let (awaited, entry) = (awaited_of(&part), part.items[0].entry);
        self.block(awaited, &is.0, entry, &is.1, vec![part.owner]);
        self.port.recycle(part);
    }

    /// The command of a connection waits no more, or never did; the shards that know it, but one,
    /// are told.
    pub(super) fn end_block(
        &mut self,
        conn: ConnId,
        served_by: Option<u16>,
    ) -> Option<Box<Blocked>> {
        let connection = self.connections.get_mut(conn)?;
        let mut blocked = connection.blocked.take()?;
        connection.session.is_blocked = false;
        let Some(wait) = &mut blocked.wait else { return Some(blocked) };
        connection.session.commands += 1;
        self.board.gauges.clients_blocked.add(-1);
        if let Some(deadline_ms) = wait.deadline_ms {
            self.deadlines.remove(&(deadline_ms, conn));
        }
        let shards = std::mem::take(&mut wait.shards);
        self.forget_at(blocked.ticket.number(), &shards, served_by);
        Some(blocked)
    }

    /// Tells shards that a command waits no more.
    fn forget_at(&mut self, ticket: u64, shards: &[u16], but: Option<u16>) {
        for &shard in shards.iter().filter(|shard| Some(**shard) != but) {
            let mut part = self.port.envelope(usize::from(shard));
            part.connection = NO_CONNECTION;
            part.work = Work::Forget(ticket);
            self.send_one_way(part);
        }
    }

    /// A note has come.
    pub(super) fn take_one_way(&mut self, mut part: Box<Envelope>) {
        match std::mem::replace(&mut part.work, Work::Commands) {
            Work::Served => {
                let awaited = awaited_of(&part);
                let output = std::mem::take(&mut part.output);
                self.log_served(&part);
                self.land_served(awaited, part.home, output);
            }
            Work::Move(ticket, word, kind, number) => {
                let owner = part.home;
                self.begin_move(&mut part, ticket, Woken { word, owner, kind, number });
            }
            Work::Forget(number) => {
                self.forget_waiter(number);
                self.wake_behind(None);
            }
            Work::Moved(number) => self.end_move(number),
            other => unreachable!("{other:?} is no note"),
        }
        part.connection = NO_CONNECTION;
        part.flight = 0;
        if usize::from(part.home) == self.me {
            self.port.recycle(part);
        } else {
            self.send_home(part);
        }
    }

    /// An owner has served the connection's command.
    fn land_served(&mut self, awaited: Awaited, by: u16, output: Output) {
        if self.blocked_in(awaited).is_some() {
            self.end_block(awaited.conn, Some(by));
            self.land_output(awaited, output);
        }
    }

    fn land_output(&mut self, awaited: Awaited, output: Output) {
        let mut answer = self.answer_to(awaited);
        answer.output = output;
        self.land_answer(answer);
    }

    /// An owner could serve the connection's command, but for keys of other shards.
    fn begin_move(&mut self, part: &mut Envelope, ticket: Arc<Ticket>, woken: Woken) {
        let mut queue = Box::<Queue>::default();
        let (items, mut batch_args, ..) = part.parts();
        let item = items[0];
        queue.push(item.entry, item.slot, item.db, &mut batch_args.of(&item));
        self.forwarded.due.push_back(MoveDue { awaited: awaited_of(part), queue, ticket, woken });
        self.run_moves();
    }

    /// Runs the commands that waited for credits to be run on keys of several shards.
    pub(super) fn run_moves(&mut self) {
        while self.port.has_all_credits()
            && let Some(due) = self.forwarded.due.pop_front()
        {
            self.run_move(due);
        }
    }

    fn run_move(&mut self, due: MoveDue) {
        let MoveDue { awaited, queue, ticket, woken } = due;
        let giving_up = self.blocked_in(awaited).map(|blocked| blocked.giving_up);
        if giving_up == Some(None) {
            let attempt =
                TransactionAttempt { ticket, woken: Some(woken), wait: None, waits_on: false };
            return self.start_move(awaited, queue, attempt);
        }
        ticket.settle(TicketState::Cancelled);
        self.send_moved(woken.number, woken.owner);
        match giving_up.flatten() {
            Some(why) => self.finish_giving_up(awaited.conn, why),
            // Its client has left.
            None => self.forget_at(ticket.number(), &[woken.owner], None),
        }
    }

    /// A command that may wait has run on keys of several shards: their owners are told what has
    /// become of it, with the last round.
    pub(super) fn end_attempt(
        &mut self,
        transaction: &mut Transaction,
        awaited: Awaited,
        attempt: &TransactionAttempt,
    ) {
        if let Some(woken) = attempt.woken {
            let blocked = self.blocked_in(awaited).map(|blocked| blocked.giving_up);
            let waits_on = attempt.waits_on && blocked == Some(None);
            attempt.ticket.settle(match (attempt.waits_on, waits_on) {
                (false, _) => TicketState::Served,
                (true, true) => TicketState::Waiting,
                (true, false) => TicketState::Cancelled,
            });
            let moved = Moved { ticket: attempt.ticket.number(), waits_on };
            for part in transaction.parts_of(|shard| shard == woken.owner) {
                transaction.flight.hold_mut(part).moved = Some(moved);
            }
            if !attempt.waits_on && blocked.is_some() {
                self.end_block(awaited.conn, Some(woken.owner));
            }
        } else if let Some(wait) = &attempt.wait {
            let item = transaction.queue.items[0];
            let shards = self.shards_of(wait);
            for part in transaction.parts_of(|shard| shards.contains(&shard)) {
                let (ticket, wait) = (Arc::clone(&attempt.ticket), wait.clone());
                let is = Registration { ticket, item, flight: awaited.flight, wait };
                transaction.flight.hold_mut(part).waits = Some(Box::new(is));
            }
        }
    }

    /// The shards that own the keys that a command waits for.
    fn shards_of(&self, wait: &Wait) -> Vec<u16> {
        let batch_args = wait.args.as_ref().expect("they were written down");
        let mut shards: Vec<u16> =
            wait.keys.iter().map(|word| self.router.owner_of(&batch_args[*word])).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }

    /// The command that waits for its reply in this flight, if its client has not left.
    fn blocked_in(&mut self, awaited: Awaited) -> Option<&mut Blocked> {
        let connection = self.connections.get_same(awaited.conn, awaited.generation)?;
        connection.blocked.as_deref_mut().filter(|blocked| blocked.flight == awaited.flight)
    }

    /// The same for its home: it waits from now on, or waits on unless it is to give up.
    pub(super) fn wait_at_owners(
        &mut self,
        awaited: Awaited,
        attempt: TransactionAttempt,
        queue: &Queue,
    ) {
        if let Some(wait) = &attempt.wait
            && attempt.woken.is_none()
        {
            let shards = self.shards_of(wait);
            return self.block(awaited, &attempt.ticket, queue.items[0].entry, wait, shards);
        }
        if let Some(why) = self.blocked_in(awaited).and_then(|blocked| blocked.giving_up) {
            self.finish_giving_up(awaited.conn, why);
        }
    }

    /// The connection's command is to wait no more. Says whether it did wait.
    pub(super) fn give_up(&mut self, conn: ConnId, why: GivingUp) -> bool {
        let Some(connection) = self.connections.get_mut(conn) else { return false };
        let Some(blocked) = &mut connection.blocked else { return false };
        if blocked.wait.is_none() || blocked.giving_up.is_some() {
            return false;
        }
        let mesh = self.port.mesh();
        match blocked.ticket.take(TicketState::Cancelled, || idle(mesh)) {
            Ok(()) => self.finish_giving_up(conn, why),
            Err(TicketState::Moving) => blocked.giving_up = Some(why),
            // Its reply is on the way.
            Err(_) => return false,
        }
        true
    }

    /// Replies to a command that has given up.
    pub(super) fn finish_giving_up(&mut self, conn: ConnId, why: GivingUp) {
        let blocked = self.end_block(conn, None).expect("it waits");
        let wait = blocked.wait.as_ref().expect("it waits");
        let connection = self.connections.get_mut(conn).expect("it waits");
        let (generation, flight) = (connection.generation, blocked.flight);
        let protocol = connection.session.protocol;
        let mut output = Output::default();
        let mut reply = Reply::new(&mut output, protocol);
        match (why, wait.null) {
            (GivingUp::Timeout, Null::Bulk) => reply.null(),
            (GivingUp::Timeout, Null::Array) => reply.null_array(),
            (GivingUp::Error, _) => {
                let error = Error::other(UNBLOCKED);
                reply.error(&error);
                self.board.commands[usize::from(wait.entry.index)].rejected.add(1);
                self.board.error_reply(error.bytes());
            }
        }
        self.record_runs(wait.entry, 1, 0);
        self.board.counters.commands_processed.add(1);
        self.land_output(Awaited { conn, generation, flight }, output);
    }

    /// The connection ends, and its command with it.
    pub(super) fn leave_block(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("it is there");
        let Some(blocked) = &connection.blocked else { return };
        let mesh = self.port.mesh();
        // Whoever has taken it goes on, and the reply is dropped.
        let _ = blocked.ticket.take(TicketState::Cancelled, || idle(mesh));
        self.end_block(conn, None);
    }

    /// Ends the waits whose time is over.
    pub(super) fn check_deadlines(&mut self) {
        while let Some(&(deadline_ms, conn)) = self.deadlines.first()
            && deadline_ms < self.now.unix_ms()
        {
            self.deadlines.pop_first();
            self.give_up(conn, GivingUp::Timeout);
        }
    }

    /// Nanoseconds until the next wait's time is over, or the pause.
    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        let wait_ms = self.deadlines.first().map(|(deadline_ms, _)| *deadline_ms);
        let deadline_ms = wait_ms.into_iter().chain(self.pausing.until_ms()).min()?;
        let now_us = self.process.clock.unix_us();
        let over_us = deadline_ms.saturating_add(1).saturating_mul(1_000);
        Some(over_us.saturating_sub(now_us).saturating_mul(1_000))
    }

    /// Ends the wait of a client, if it is one of this shard. Gives how many were ended.
    pub(super) fn unblock(&mut self, client: u64, is_error: bool) -> i64 {
        let found = self.connections.iter().find(|(_, it)| it.session.id == client);
        let Some(conn) = found.map(|(conn, _)| conn) else { return 0 };
        let why = if is_error { GivingUp::Error } else { GivingUp::Timeout };
        i64::from(self.give_up(conn, why))
    }
}

/// Whose a note is.
pub(super) fn awaited_of(part: &Envelope) -> Awaited {
    Awaited { conn: part.connection, generation: part.generation, flight: part.flight }
}
