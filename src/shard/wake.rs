//! Commands that wait, at the owners of their keys: they are listed here, and run again when a
//! command has changed one of the keys.
//!
//! ```text
//!   command runs -> keys are ready -> for each, its waiters in their order:
//!     key does not fit           passed over
//!     nothing in the way         the ticket is taken, the command runs, the reply goes home
//!     keys of other shards       the ticket is taken, the home is to run it; the queue is busy
//!     something claimed          the queue is busy until a claim of its own is granted
//!   until no key is ready
//! ```
//! All of it belongs to the command that made the keys ready: it happens before anything else
//! does, and the feed is told of it right behind that command.

use super::Shard;
use super::drain::{Settled, note_failure};
use super::replicas::NO_CONNECTION;
use crate::exec::mode_of;
use crate::exec::{
    BatchArgs, BlockingAttempt, Item, KeyLock, Mode, Records, Runner, Scope, TicketState, Wait,
};
use crate::feed::Unit;
use crate::mesh::{Envelope, Mesh, Registration, Work};
use crate::resp::{Output, Protocol};
use crate::txn::{LockId, Queue, Removed, ReplyTo, Waiter, Waits};

/// The command that woke others.
pub(super) struct Waker<'a> {
    /// Its place, for the feed.
    pub(super) at: u32,
    /// The claim under which it ran.
    pub(super) lock: Option<LockId>,
    /// What the feed is told.
    pub(super) records: Option<&'a mut Records>,
}

impl Waker<'_> {
    /// The same once more.
    pub(super) fn again(&mut self) -> Waker<'_> {
        Waker { at: self.at, lock: self.lock, records: self.records.as_deref_mut() }
    }
}

/// The words of an item, each in its own memory.
pub(super) fn args_of(item: &Item, batch_args: &mut BatchArgs<'_>) -> Vec<Box<[u8]>> {
    batch_args.of(item).iter_from(0).map(Box::from).collect()
}

/// A pause while another shard serves somebody.
pub(super) fn idle(mesh: &Mesh) {
    mesh.point();
    std::thread::yield_now();
}

impl Shard {
    /// A command waits for keys of this shard from now on, unless it is over.
    pub(super) fn register(&mut self, is: Registration, to: ReplyTo, protocol: Protocol) {
        let Registration { ticket, item, wait, .. } = is;
        if matches!(ticket.state(), TicketState::Served | TicketState::Cancelled) {
            return;
        }
        let Wait { keys, kind, wants_gone, args, .. } = wait;
        let mut queue = Box::<Queue>::default();
        queue.push_args(&item, &args.expect("they were written down"));
        let (mut keys_here, others): (Vec<_>, Vec<_>) =
            key_modes(&mut queue).into_iter().partition(|(word, _)| keys.contains(word));
        let is_here = |&(word, _): &(usize, Mode)| {
            self.router.owner_of(queue.word(0, word)) == self.me as u16
        };
        let is_far = !others.iter().all(is_here);
        keys_here.retain(is_here);
        let keys = keys_here;
        let waiter = Waiter { ticket, to, protocol, queue, kind, wants_gone, keys, others, is_far };
        if is_far {
            self.process.count_far_waiter(true);
        }
        let db = usize::from(item.db);
        for key in self.blocked.add(db, waiter) {
            let key = self.slice.key(&key);
            self.slice.await_key(db, &key);
        }
        self.publish_blocked();
    }

    fn publish_blocked(&self) {
        let (keys, want_gone) = self.blocked.keys();
        self.board.gauges.keys_awaited.set(keys as i64);
        self.board.gauges.keys_awaited_gone.set(want_gone as i64);
    }

    /// Serves those who wait for keys that are ready, until no key is.
    pub(super) fn wake(&mut self, mut waker: Waker<'_>) {
        let mut number = 0;
        while let Some((db, key)) = self.slice.take_ready() {
            self.wake_key(db, &key, &mut waker, &mut number);
        }
    }

    /// The same behind what is one unit for the feed, so that this is told by itself.
    pub(super) fn wake_behind(&mut self, lock: Option<LockId>) {
        if !self.slice.has_ready() {
            return;
        }
        // Keys may have fallen due since the unit began that it follows.
        self.read_clock();
        let mut records = self.records_now();
        self.wake(Waker { at: 0, lock, records: records.as_mut() });
        if let Some(mut records) = records {
            if !records.is_empty() {
                let stamp = self.journal.clock.following();
                let unit = Unit::Single { is_transaction: false };
                self.journal.append(stamp, unit, &mut records);
            }
            self.keep_records(records);
        }
    }

    /// Serves those who wait for a key and began to before now.
    fn wake_key(&mut self, db: usize, key: &[u8], waker: &mut Waker<'_>, number: &mut u32) {
        let Some(last) = self.blocked.last(db, key) else { return };
        let mut after = None;
        while let Some(place) = self.blocked.next(db, key, after, last) {
            after = Some(place.order);
            let found = self.slice.key(key);
            let kind = self.slice.kind_of(db, &found);
            if kind.is_none() && !self.blocked.wants_gone(db, key) {
                return;
            }
            let waiter = self.blocked.get_mut(place.number).expect("it has a place");
            let fits = waiter.wants_gone || kind == Some(waiter.kind);
            let flags = waiter.queue.items[0].entry.command.card.flags;
            if fits && self.facts.postpones(flags) {
                self.pausing.keep_key(db, key);
            } else if fits && waiter.is_far {
                self.send_move(db, key, place);
            } else if fits && self.is_held_up(place, waker.lock) {
                self.recheck_later(db, key, place);
            } else if fits && self.serve_waiter(place, waker, *number) {
                *number += 1;
            }
        }
    }

    /// Whether others have claimed what the command would touch.
    fn is_held_up(&mut self, place: Waits, lock: Option<LockId>) -> bool {
        if self.locks.is_empty() {
            return false;
        }
        let waiter = self.blocked.get_mut(place.number).expect("it has a place");
        waiter.touched(place.word).any(|(word, mode)| {
            let hash = self.slice.key(waiter.key(word)).hash;
            let key_lock = KeyLock { scope: Scope::Key { db: 0, hash }, mode };
            self.locks.is_in_the_way(key_lock, lock)
        })
    }

    /// Runs a waiter's command for the key at its place; says whether it has its reply.
    fn serve_waiter(&mut self, place: Waits, waker: &mut Waker<'_>, number: u32) -> bool {
        let waiter = self.blocked.get_mut(place.number).expect("it has a place");
        let mesh = self.port.mesh();
        match waiter.ticket.take(TicketState::Serving, || idle(mesh)) {
            Ok(()) => {}
            Err(TicketState::Cancelled) => {
                self.forget_waiter(place.number);
                return false;
            }
            // Its home tells this shard to forget it.
            Err(_) => return false,
        }
        let started_ns = self.process.clock.monotonic_ns();
        let mut output = Output::default();
        let (items, mut batch_args) = waiter.queue.parts();
        items[0].at = waker.at;
        let item = items[0];
        let woken_by = Some(place.word);
        let mut runner = Runner {
            slice: &mut self.slice,
            now_ms: self.now.unix_ms(),
            protocol: waiter.protocol,
            config: &self.config,
            records: waker.records.as_deref_mut(),
            reach: None,
            is_whole: true,
            attempt: BlockingAttempt { may_wait: true, woken_by, number, wait: None },
            effects: Default::default(),
        };
        let board = &self.board;
        let ready = runner.slice.ready_len();
        runner.run(&[item], &mut batch_args, &mut output, |_, failed, _| {
            if let Some(error) = failed {
                note_failure(board, item.entry, error);
            }
        });
        let (effects, waits_on) = (runner.effects, runner.attempt.wait.is_some());
        waiter.ticket.settle(if waits_on { TicketState::Waiting } else { TicketState::Served });
        if waits_on {
            self.settle_wait(&effects);
            if effects.changes == 0 {
                // What finds nothing wakes nobody: else it might wake itself for ever.
                self.slice.truncate_ready(ready);
            }
            return false;
        }
        let spent_ns = self.process.clock.monotonic_ns() - started_ns;
        self.settle(Settled { effects, spent_ns, db: item.db.into() }, &[item]);
        self.send_served(place.number, output, spent_ns);
        true
    }

    /// A waiter waits no more; those behind it in queues that were busy with it get their turn.
    pub(super) fn forget_waiter(&mut self, number: u64) -> Option<Waiter> {
        let mut idle = Vec::new();
        let Removed { waiter, db, left } = self.blocked.remove(number, &mut idle)?;
        if waiter.is_far {
            self.process.count_far_waiter(false);
        }
        for key in left {
            let key = self.slice.key(&key);
            self.slice.forget_awaited(db, &key);
        }
        for key in idle {
            let key = self.slice.key(&key);
            self.slice.make_ready(db, &key);
        }
        self.publish_blocked();
        Some(waiter)
    }

    /// Looks again at those who wait for the keys of a waiter, whose queues were busy with it.
    pub(super) fn make_idle(&mut self, number: u64) {
        let Some((db, keys)) = self.blocked.make_idle(number) else { return };
        for key in keys {
            let key = self.slice.key(&key);
            self.slice.make_ready(db, &key);
        }
    }

    /// Has a key's waiters looked at when what is in the way is over.
    fn recheck_later(&mut self, db: usize, key: &[u8], place: Waits) {
        self.blocked.make_busy(db, key, place.number);
        let mut part = self.port.envelope(self.me);
        self.write_command(place.number, &mut part);
        part.connection = NO_CONNECTION;
        (part.sequence, part.parts) = (0, 1);
        part.sent = self.moment();
        part.work = Work::Recheck(place.number);
        self.arrive(part);
    }

    /// Asks a waiter's home to run its command, which uses keys of other shards too.
    fn send_move(&mut self, db: usize, key: &[u8], place: Waits) {
        let waiter = self.blocked.get_mut(place.number).expect("it has a place");
        let mesh = self.port.mesh();
        match waiter.ticket.take(TicketState::Moving, || idle(mesh)) {
            Ok(()) => {}
            Err(TicketState::Cancelled) => {
                self.forget_waiter(place.number);
                return;
            }
            Err(_) => return,
        }
        let (to, ticket, kind) = (waiter.to, waiter.ticket.clone(), waiter.kind);
        self.blocked.make_busy(db, key, place.number);
        let mut part = self.port.envelope(usize::from(to.home));
        self.write_command(place.number, &mut part);
        address(&mut part, to);
        let number = self.forwarded.begin();
        part.work = Work::Move(ticket, place.word, kind, number);
        self.send_one_way(part);
    }

    /// Sends a waiter's reply home.
    fn send_served(&mut self, number: u64, output: Output, spent_ns: u64) {
        let to = self.blocked.get_mut(number).expect("it was just served").to;
        let mut part = self.port.envelope(usize::from(to.home));
        if spent_ns >= self.thresholds.run_ns {
            self.write_command(number, &mut part);
            part.spent.push((0, spent_ns));
        }
        self.forget_waiter(number);
        address(&mut part, to);
        part.output = output;
        part.work = Work::Served;
        self.send_one_way(part);
    }

    /// Copies a waiter's command into an envelope.
    fn write_command(&mut self, number: u64, part: &mut Envelope) {
        let waiter = self.blocked.get_mut(number).expect("it waits");
        let (items, mut batch_args) = waiter.queue.parts();
        let item = items[0];
        part.begin(&item, item.slot);
        batch_args.of(&item).iter_from(0).for_each(|word| part.push_arg(word));
    }

    /// Sends a note, whose answer nobody waits for, when there is a credit for it.
    pub(super) fn send_one_way(&mut self, part: Box<Envelope>) {
        if usize::from(part.owner) == self.me {
            return self.take_one_way(part);
        }
        self.one_way.push_back(part);
        self.send_one_way_queued();
    }

    /// Sends the notes for which there are credits, in their order.
    pub(super) fn send_one_way_queued(&mut self) {
        for _ in 0..self.one_way.len() {
            let part = self.one_way.pop_front().expect("counted above");
            if self.port.has_credit(usize::from(part.owner)) {
                let sent = self.moment();
                self.port.post(std::iter::once(part), sent);
            } else {
                self.one_way.push_back(part);
            }
        }
    }
}

/// Says whose a note is.
fn address(part: &mut Envelope, to: ReplyTo) {
    part.connection = to.connection;
    part.generation = to.generation;
    part.flight = to.flight;
}

/// The words of a command that are keys, and how it uses them.
fn key_modes(queue: &mut Queue) -> Vec<(usize, Mode)> {
    let (items, mut batch_args) = queue.parts();
    let keys = items[0].entry.key_args(&batch_args.of(&items[0])).unwrap_or_default();
    keys.into_iter().map(|(word, spec)| (word, mode_of(spec))).collect()
}
