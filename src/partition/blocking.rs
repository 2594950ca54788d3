//! Clients blocked on keys of the partition. They are listed here, and served after a command has
//! changed one of their keys.
//!
//! ```text
//!   command runs -> keys are ready -> for each key, its clients in the order of their blocking:
//!     key does not fit         the client is skipped
//!     no lock conflicts        the ticket is taken, the command runs, the reply goes home
//!     keys of other shards     the ticket is taken, the home runs it; the queue is busy
//!     waits for keys of other  the same, if the client is unblocked by a transaction with parts
//!     shards too               there; otherwise the command runs on the keys that are here
//!     a lock conflicts         the queue is busy until its own lock request is granted
//!   until no key is ready
//! ```
//! All of this belongs to the command that made the keys ready. It happens before any other
//! command, and is propagated directly after that command.
//!
//! The merger may write a unit that has waited for locks before units that arrived later, and that
//! have changed other keys since (see `feed`). So such a unit serves only clients whose keys its
//! own locks cover. The other clients request locks of their own, and follow the unit.

use super::absence::Late;
use super::journal::Place;
use super::partition::Partition;
use super::run::{Batch, RunMode, Waker};
use super::timing::BatchTiming;
use crate::exec::{Facts, KeyLock, Mode, Records, Scope, TicketState, Wait, mode_of};
use crate::mesh::{Envelope, Forward, ForwardId, OneWay, Registration, ReplyTo, Work};
use crate::resp::{Output, Protocol};
use crate::txn::{BlockedOn, LockId, Queue, Removed, Waiter, WaiterReply};
use std::collections::HashSet;

impl Partition {
    /// Lists a client that is blocked on keys of this partition, unless the client already has its
    /// reply.
    pub fn block(&mut self, is: Registration, home: u16, protocol: Protocol) {
        let Registration { ticket, item, wait, to } = is;
        if matches!(ticket.state(), TicketState::Served | TicketState::Cancelled) {
            return;
        }
        let Wait { keys, kind, wants_gone, args, .. } = wait;
        let mut queue = Box::<Queue>::default();
        queue.push_args(&item, &args.expect("a blocked command has its arguments"));
        let keys: HashSet<usize> = keys.into_iter().collect();
        let (mut here, others): (Vec<_>, Vec<_>) =
            key_modes(&mut queue).into_iter().partition(|(arg, _)| keys.contains(arg));
        let is_here = |&(arg, _): &(usize, Mode)| {
            self.env.router.owner_of(queue.arg(0, arg)) == self.env.me as u16
        };
        let is_far = !others.iter().all(is_here);
        let awaits = here.clone();
        here.retain(is_here);
        let to = WaiterReply { home, address: to };
        let is_spread = here.len() < keys.len();
        let waiter = Waiter {
            ticket,
            to,
            protocol,
            queue,
            kind,
            wants_gone,
            keys: here,
            others,
            awaits,
            is_far,
            is_spread,
        };
        self.env.process.awaited.add(waiter.awaited(), is_far || is_spread);
        let db = usize::from(item.db);
        for key in self.blocked.add(db, waiter) {
            let key = self.slice.key(&key);
            self.slice.await_key(db, &key);
        }
        self.publish_blocked();
    }

    pub(super) fn publish_blocked(&self) {
        let (keys, want_gone) = self.blocked.keys();
        self.env.board.gauges.keys_awaited.set(keys as i64);
        self.env.board.gauges.keys_awaited_gone.set(want_gone as i64);
    }

    /// Serves the clients blocked on keys that are ready, until no key is ready.
    pub(super) fn serve_blocked(&mut self, mut waker: Waker<'_>) {
        let mut number = 0;
        while let Some((db, key)) = self.slice.take_ready() {
            self.serve_key(db, &key, &mut waker, &mut number);
        }
    }

    /// Serves blocked clients after a unit that is propagated as one. Their commands are propagated
    /// separately.
    pub fn serve_blocked_behind(&mut self) {
        self.serve_behind(false);
    }

    fn serve_behind(&mut self, is_split: bool) {
        if !self.slice.has_ready() {
            return;
        }
        // Keys may have expired since the unit began.
        let turn_us = self.read_clock();
        let mut records = self.journal.records();
        self.serve_blocked(Waker { is_split, ..Waker::new(records.as_mut()) });
        self.set_time(turn_us);
        self.journal.write_following(records);
    }

    /// Ends a part that has run for the last time: serves the clients that it has unblocked, and
    /// writes its records.
    pub(super) fn end_part(&mut self, place: Place, part: &Envelope, records: Option<Records>) {
        let mut records = records;
        let lock = place.lock();
        // A forwarded command that stays blocked has looked at all keys: it is not forwarded again.
        let is_split = part.parts > 1 && part.txn().is_some_and(|txn| txn.forwarded.is_none());
        if lock.is_some() && self.slice.has_ready() {
            let turn_us = self.read_clock();
            self.serve_blocked(Waker { lock, is_split, ..Waker::new(records.as_mut()) });
            self.set_time(turn_us);
        }
        self.journal.write_part(place, part, records);
        if lock.is_none() {
            self.serve_behind(is_split);
        }
    }

    /// Serves the clients that were already blocked on a key.
    fn serve_key(&mut self, db: usize, key: &[u8], waker: &mut Waker<'_>, number: &mut u32) {
        let Some(last) = self.blocked.last(db, key) else { return };
        let mut after = None;
        while let Some(place) = self.blocked.next(db, key, after, last) {
            after = Some(place.order);
            let found = self.slice.key(key);
            let kind = self.slice.kind_of(db, &found);
            if kind.is_none() && !self.blocked.wants_gone(db, key) {
                return;
            }
            let waiter = self.blocked.get_mut(place.number).expect("waiter has a place");
            let fits = waiter.wants_gone || kind == Some(waiter.kind);
            let flags = waiter.queue.items[0].entry.command.card.flags;
            let is_forwarded = waiter.is_far || waiter.is_spread && waker.is_split;
            let is_held = is_forwarded && self.env.facts.has(Facts::MOVING);
            if fits && (is_held || self.env.facts.postpones(flags)) {
                self.paused_keys.insert((db, key.into()));
            } else if fits && is_forwarded {
                self.forward(db, key, place);
            } else if fits && self.is_locked(place, waker.lock) {
                // Waiters that run in vain would make each other run again for ever.
                if !self.blocked.has_tried(place.number, self.slice.ready_events()) {
                    self.recheck_later(db, key, place);
                }
            } else if fits && self.serve_waiter(place, waker, *number) {
                *number += 1;
            }
        }
    }

    /// Returns whether a blocked command may not run inside the unit that unblocks it. `own` is the
    /// lock request of this unit.
    fn is_locked(&mut self, place: BlockedOn, own: Option<LockId>) -> bool {
        if self.locks.is_empty() {
            return false;
        }
        let waiter = self.blocked.get_mut(place.number).expect("waiter has a place");
        waiter.touched().any(|(arg, mode)| {
            let hash = self.slice.key(waiter.key(arg)).hash;
            let key_lock = KeyLock { scope: Scope::name(hash), mode };
            match own {
                Some(own) => !self.locks.covers(own, key_lock),
                None => self.locks.conflicts([key_lock]),
            }
        })
    }

    /// Sets the ticket of a blocked client to a state. Returns whether that succeeded.
    fn take_ticket(&mut self, number: u64, state: TicketState) -> bool {
        let waiter = self.blocked.get_mut(number).expect("waiter has a place");
        // Serving is one run of a command. The serving shard keeps its core for that time, so the
        // wait is short.
        match waiter.ticket.take(state, || self.mesh.idle()) {
            Ok(()) => true,
            Err(TicketState::Cancelled) => {
                self.unblock(number);
                false
            }
            // The client's home will tell this partition to forget it.
            Err(_) => false,
        }
    }

    /// Runs a blocked client's command. Returns whether it has a reply.
    fn serve_waiter(&mut self, place: BlockedOn, waker: &mut Waker<'_>, number: u32) -> bool {
        if !self.take_ticket(place.number, TicketState::Serving) {
            self.blocked.set_tried(place.number, self.slice.ready_events());
            return false;
        }
        let waiter = self.blocked.get_mut(place.number).expect("waiter has a place");
        let mut queue = std::mem::take(&mut waiter.queue);
        let (protocol, caller) = (waiter.protocol, waiter.to.address.caller(waiter.to.home));
        let mut output = Output::default();
        let (items, args) = queue.parts();
        items[0].at = waker.at;
        let (ready, events) = (self.slice.ready_len(), self.slice.ready_events());
        let mut timing = BatchTiming::at_owner(&self.env.thresholds, items);
        let mut batch = Batch { items, args, output: &mut output, ends: None, protocol };
        let mode = RunMode::Woken { number };
        let before = self.slice.enter_caller(Some(caller));
        let ran = self.run(&mut batch, mode, &mut waker.again(), &mut timing);
        self.enter_caller(before);
        let waiter = self.blocked.get_mut(place.number).expect("waiter has a place");
        waiter.queue = queue;
        let state = if ran.wait.is_some() { TicketState::Waiting } else { TicketState::Served };
        waiter.ticket.settle(state);
        if ran.wait.is_some() {
            if ran.changes == 0 {
                // A command that finds nothing must unblock no client, because it might unblock
                // itself for ever.
                self.slice.truncate_ready(ready, events);
            }
            self.blocked.set_tried(place.number, self.slice.ready_events());
            return false;
        }
        self.send_served(place.number, output, timing.spent_ns);
        true
    }

    /// Removes a blocked client. Makes the keys ready whose queues were busy with it, so that the
    /// clients behind it are served next.
    pub(super) fn unblock(&mut self, number: u64) {
        let mut idle = Vec::new();
        let Some(removed) = self.blocked.remove(number, &mut idle) else { return };
        let Removed { waiter, db, left } = removed;
        self.env.process.awaited.remove(waiter.awaited(), waiter.is_far || waiter.is_spread);
        for key in left {
            let key = self.slice.key(&key);
            self.slice.forget_awaited(db, &key);
        }
        self.make_ready_again(db, &idle);
        self.publish_blocked();
    }

    /// Removes a blocked client because its home reports that it no longer waits.
    pub fn forget_client(&mut self, number: u64) {
        if self.is_away() {
            return self.do_later(Late::Forget(number));
        }
        self.unblock(number);
        self.serve_blocked_behind();
    }

    /// Makes the keys ready again whose queues were busy with a client.
    pub(super) fn make_idle(&mut self, number: u64) {
        if let Some((db, keys)) = self.blocked.make_idle(number) {
            self.make_ready_again(db, &keys);
        }
    }

    /// Records that a client's forwarded command has not run, because a pause delays it. The
    /// client's keys are ready again, until the pause ends.
    pub fn delay_forwarded(&mut self, id: ForwardId, number: u64) {
        self.end_forward(id);
        if self.is_away() {
            return self.do_later(Late::Idle(number));
        }
        self.make_idle(number);
        self.serve_blocked_behind();
    }

    fn make_ready_again(&mut self, db: usize, keys: &[Box<[u8]>]) {
        for key in keys {
            let key = self.slice.key(key);
            self.slice.make_ready_again(db, &key);
        }
    }

    pub(super) fn make_ready(&mut self, db: usize, keys: &[Box<[u8]>]) {
        for key in keys {
            let key = self.slice.key(key);
            self.slice.make_ready(db, &key);
        }
    }

    /// Makes the keys ready that a pause has delayed, because the pause has become weaker.
    pub fn resume_paused_keys(&mut self) {
        if self.is_away() {
            return self.do_later(Late::Resume);
        }
        self.make_paused_keys_ready();
        self.serve_blocked_behind();
    }

    pub(super) fn make_paused_keys_ready(&mut self) {
        for (db, key) in std::mem::take(&mut self.paused_keys) {
            self.make_ready(db, &[key]);
        }
        // A transaction during the pause may have changed several keys of a client.
        self.serve_behind(true);
    }

    /// Requests the locks of a blocked command, so that the key's clients are served when they are
    /// granted.
    fn recheck_later(&mut self, db: usize, key: &[u8], place: BlockedOn) {
        self.blocked.make_busy(db, key, place.number);
        let mut part = self.envelope(self.env.me as u16);
        self.write_command(place.number, &mut part);
        (part.sequence, part.parts) = (0, 1);
        part.sent = self.moment();
        part.work = Work::OneWay(OneWay::Recheck(place.number));
        let key_locks = self.key_locks_of(&mut part, true);
        let (lock, is_granted) = self.locks.request(&key_locks);
        self.journal.follow(lock);
        self.waiting.insert(lock, part);
        if is_granted {
            self.rechecks.granted.push_back(lock);
        }
    }

    /// Runs the rechecks whose locks were granted while another unit ran. What they make ready in
    /// turn is rechecked here too, and not inside of them: very many clients may follow each other.
    pub(super) fn run_rechecks(&mut self) {
        let rechecks = &mut self.rechecks;
        if rechecks.granted.is_empty() || std::mem::replace(&mut rechecks.are_running, true) {
            return;
        }
        while let Some(lock) = self.rechecks.granted.pop_front() {
            let part = self.waiting.remove(&lock).expect("a recheck waits for the end of a unit");
            self.work(part, Place::Reserved(lock));
            self.release(lock);
        }
        self.rechecks.are_running = false;
    }

    /// Serves a key's clients again, after the conflicting lock was released.
    pub(super) fn recheck(&mut self, part: Box<Envelope>, place: Place) {
        let Work::OneWay(OneWay::Recheck(number)) = part.work else {
            unreachable!("only a recheck comes here");
        };
        let records = self.records_at(place);
        self.make_idle(number);
        self.end_part(place, &part, records);
        // No shard waits for its reply.
        self.deferred.begin();
    }

    /// Forwards a blocked client's command to its home, because it also uses keys of other shards.
    fn forward(&mut self, db: usize, key: &[u8], place: BlockedOn) {
        if !self.take_ticket(place.number, TicketState::Moving) {
            return;
        }
        let waiter = self.blocked.get_mut(place.number).expect("waiter has a place");
        let (to, ticket, kind) = (waiter.to, waiter.ticket.clone(), waiter.kind);
        let is_one = !waiter.is_spread && waiter.keys.len() == 1;
        let key_arg = is_one.then_some(place.arg);
        self.blocked.make_busy(db, key, place.number);
        let mut message = self.envelope(to.home);
        self.write_command(place.number, &mut message);
        let id = self.deferred.forward();
        let forward = Forward { to: to.address, ticket, key_arg, kind, id };
        self.send_one_way(message, OneWay::Forward(Box::new(forward)));
    }

    /// Sends the reply of a blocked client to its home.
    fn send_served(&mut self, number: u64, output: Output, spent_ns: u64) {
        let to = self.blocked.get_mut(number).expect("just served").to;
        let mut message = self.envelope(to.home);
        if spent_ns >= self.env.thresholds.run_ns {
            self.write_command(number, &mut message);
            message.spent.push((0, spent_ns));
        }
        self.unblock(number);
        message.output = output;
        self.send_one_way(message, OneWay::Served(to.address));
    }

    /// Returns an empty envelope from this partition to a shard.
    pub(super) fn envelope(&self, to: u16) -> Box<Envelope> {
        let mut envelope = Envelope::boxed(self.env.me as u16, to);
        envelope.reply_to = ReplyTo::Nobody;
        envelope
    }

    /// Copies a blocked client's command into an envelope.
    fn write_command(&mut self, number: u64, part: &mut Envelope) {
        let waiter = self.blocked.get_mut(number).expect("client is blocked");
        let (items, mut batch_args) = waiter.queue.parts();
        let item = items[0];
        part.begin(&item, item.slot);
        batch_args.of(&item).iter_from(0).for_each(|arg| part.push_arg(arg));
    }

    /// Finishes a transaction whose command blocks now, or was forwarded by this partition.
    pub(super) fn settle_blocking(&mut self, part: &mut Envelope) {
        let (home, protocol) = (part.home, part.protocol);
        let txn = part.txn_mut();
        let (ready, blocks) = (std::mem::take(&mut txn.ready), txn.blocks.take());
        let forwarded = txn.forwarded;
        for (db, key) in ready {
            self.make_ready(db, &[key]);
        }
        if let Some(registration) = blocks {
            self.block(*registration, home, protocol);
        }
        match forwarded {
            Some(forwarded) if forwarded.stays_blocked => self.make_idle(forwarded.ticket),
            Some(forwarded) => self.unblock(forwarded.ticket),
            None => {}
        }
    }
}

/// Returns the argument indexes of a command's keys, and how the command uses them.
fn key_modes(queue: &mut Queue) -> Vec<(usize, Mode)> {
    let (items, mut batch_args) = queue.parts();
    let keys = items[0].entry.key_args(&batch_args.of(&items[0])).unwrap_or_default();
    let count = keys.len();
    keys.into_iter().map(|(arg, spec)| (arg, mode_of(spec, count))).collect()
}
