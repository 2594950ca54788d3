//! Moves hash slots to another partition while they are served, step by step.
//!
//! ```text
//!                 .----------------- not at rest, or slots are left ------------------.
//!                 v                                                                   |
//!   MOVESLOTS -> Resting -> Holding -> Checking -> unit -> Settling -> Serving -------+--> reply
//!                           all hold   all at      moves   all take    all take
//!                           commands   rest        some    waiters     the map, serve
//! ```
//! Each arrow over all shards is a barrier: one message to each, handled by the shard's own thread.
//!
//! # Why no command runs on a partition that has its slot no more
//!
//! 1. From its answer to Holding to the end of Serving, a shard routes nothing: commands on keys,
//!    EXEC and WATCH stay in the input of their connections, a forwarded command goes back to its
//!    owner, and no owner forwards one.
//! 2. A shard is at rest if all envelopes that it has posted have come back, no transaction of its
//!    clients is under way, and no unit holds or awaits a lock on its partition. After Holding no
//!    such work begins (1), so a shard that is at rest stays so. When all have said so in one
//!    Checking, nothing that was routed is left anywhere.
//! 3. The unit that moves the slots locks everything, exclusively, and has all slices. It publishes
//!    the new map before its last round is posted. A shard takes the map before it serves commands
//!    again, so all units that are routed by the new map are behind the last round in each inbox.
//!
//! So what was routed by one map has run before the next map counts, and no message needs to carry
//! the number of its map. What is not routed may go on: expiry, eviction, timeouts, requests of
//! session commands. A unit over all partitions (a cut, a reload) comes before the move or behind
//! it on all of them, because both are units under the sequencer.
//!
//! # What clients notice
//!
//! A step holds commands on keys back for five messages to each shard, and for what its slots take,
//! at most [`crate::exec::SLOT_KEYS_MAX`] keys. If the shards are not at rest soon, because of a
//! long command, script or snapshot, the step is given up, commands are served, and the move tries
//! again later. So nobody waits for a stranger. After each step commands are served for at least
//! as long as they were held back.

use super::moving::{Hindrance, Phase, SlotMove};
use super::planned::Plan;
use super::rounds::{Launch, Task};
use crate::base::slot_map::SlotSet;
use crate::client::{ReplySource, Transaction};
use crate::commands::moved_slots;
use crate::exec::move_some;
use crate::gate::Place;
use crate::io::ConnId;
use crate::keyspace::Slice;
use crate::mesh::{ClientRef, FlightId, ReplyAddress, TransactionId};
use crate::partition::args_of;
use crate::resp::{Error, Output, Reply};
use crate::shard::limits::{MOVE_CHECKS_MAX, MOVE_HELD_NS_MAX, MOVE_PATIENCE_NS, MOVE_RESTS_NS};
use crate::shard::replication::Goal;
use crate::shard::state::Shard;
use crate::txn::Queue;
use bytes::Bytes;

/// The address of the replies of the units that move slots: nobody waits for them.
const NOBODY: ReplyAddress =
    ReplyAddress { client: ClientRef { conn: ConnId::MAX, generation: 0 }, flight: FlightId(0) };

impl Shard {
    /// Begins a move for a client.
    pub(super) fn begin_move(&mut self, conn: ConnId, queue: &mut Queue) {
        let to = self.defer(conn);
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let protocol = connection.session.protocol;
        let (items, mut batch_args) = queue.parts();
        let mut item = items[0];
        let map = self.env.process.slot_map.snapshot();
        let asked = moved_slots(&batch_args.of(&item), map.partitions());
        let args = args_of(&item, &mut batch_args);
        let wished = asked.and_then(|(slots, target)| {
            let mut left = SlotSet::new();
            let moving = slots.filter(|slot| map.owner(*slot) != target);
            moving.for_each(|slot| _ = left.insert(slot));
            match map.moved(&left, target) {
                Some(_) => Ok((left, target)),
                None => Err(Error::other("ERR Each shard keeps at least one slot")),
            }
        });
        item.discovers = true;
        let now_ns = self.env.clock_ns();
        let (left, target, failure) = match wished {
            Ok((left, target)) => (left, target, None),
            Err(error) => (SlotSet::new(), 0, Some(error)),
        };
        let is_over = left.is_empty();
        let mut slot_move = Box::new(SlotMove {
            to,
            protocol,
            item,
            args,
            left,
            target,
            phase: Phase::Resting,
            checks: 0,
            tries: 0,
            hindrance: None,
            failure,
            held_ns: now_ns,
            rests_until_ns: now_ns,
            advanced_ns: now_ns,
        });
        if is_over {
            return self.reply_to_move(*slot_move);
        }
        if !self.env.process.slot_moves.begin() {
            slot_move.failure = Some(Error::other("TRYAGAIN Slots are being moved already"));
            return self.reply_to_move(*slot_move);
        }
        self.transactions.moving = Some(slot_move);
    }

    /// Returns how many nanoseconds are left until a move goes on; none if no move waits.
    pub(in crate::shard) fn move_rests_ns(&self) -> Option<u64> {
        let slot_move = self.transactions.moving.as_ref()?;
        match slot_move.phase {
            Phase::Resting => Some(slot_move.rests_until_ns.saturating_sub(self.env.clock_ns())),
            Phase::Moved => Some(0),
            _ => None,
        }
    }

    /// Goes on with a move that waits for nothing.
    pub(in crate::shard) fn check_moves(&mut self) {
        if self.transactions.moving.is_none() || self.move_rests_ns() != Some(0) {
            return;
        }
        let is_held = self.port.mesh().rules().hold_moves;
        let now_ns = self.env.clock_ns();
        let slot_move = self.transactions.moving.as_mut().expect("checked above");
        match slot_move.phase {
            Phase::Resting => {
                (slot_move.checks, slot_move.hindrance) = (0, None);
                slot_move.tries += 1;
                slot_move.held_ns = now_ns;
                if !is_held {
                    return self.launch_move();
                }
                self.pass_phase(Phase::Holding);
            }
            _ if !is_held => self.end_move_step(),
            _ => self.pass_phase(Phase::Settling),
        }
    }

    /// Begins a phase that ends when all shards have answered.
    fn pass_phase(&mut self, phase: Phase) {
        let slot_move = self.transactions.moving.as_mut().expect("a move is under way");
        slot_move.phase = phase;
        let goal = match phase {
            Phase::Serving => Goal::ServeSlots,
            _ => Goal::HoldSlots,
        };
        self.post_barrier(goal);
    }

    /// Goes on with a move after all shards have answered.
    pub(in crate::shard) fn go_on_moving(&mut self, bodies: &[Vec<Bytes>]) {
        let now_ns = self.env.clock_ns();
        let Some(slot_move) = &mut self.transactions.moving else { return };
        match slot_move.phase {
            Phase::Holding => self.pass_phase(Phase::Checking),
            Phase::Checking => {
                let numbers = bodies.iter().flatten().filter_map(|body| body.first());
                slot_move.hindrance = numbers.filter_map(|it| Hindrance::of(*it)).max();
                slot_move.checks += 1;
                let is_late = now_ns.saturating_sub(slot_move.held_ns) > MOVE_HELD_NS_MAX;
                match slot_move.hindrance {
                    None => self.launch_move(),
                    Some(Hindrance::Units) if slot_move.checks < MOVE_CHECKS_MAX && !is_late => {
                        self.pass_phase(Phase::Checking);
                    }
                    Some(_) => self.pass_phase(Phase::Serving),
                }
            }
            Phase::Settling => self.pass_phase(Phase::Serving),
            Phase::Serving => self.end_move_step(),
            phase => unreachable!("{phase:?} waits for no shard"),
        }
    }

    /// Returns what of this shard a move must wait for, as the body of an answer.
    pub(in crate::shard) fn move_hindrance(&self) -> Vec<Bytes> {
        let process = &self.env.process;
        let is_ending = process.is_loading() || self.is_loading() || process.is_stop_pending();
        let is_idle = self.transactions.is_idle() && self.remote.torn.is_empty();
        let is_answered = self.port.under_way() == self.barriers.parts_out();
        let hindrance = if is_ending {
            Hindrance::Loading
        } else if self.partition.has_cut() {
            Hindrance::Snapshot
        } else if !(is_idle && is_answered && self.partition.is_at_rest()) {
            Hindrance::Units
        } else {
            return Vec::new();
        };
        vec![Bytes::copy_from_slice(&[hindrance as u8])]
    }

    /// Begins the unit of a step.
    fn launch_move(&mut self) {
        let id = TransactionId(self.transactions.next + 1);
        let shards = self.env.router.all_shards().collect();
        let slot_move = self.transactions.moving.as_mut().expect("a move is under way");
        slot_move.phase = Phase::Moving(id);
        let mut queue = Box::<Queue>::default();
        queue.push_args(&slot_move.item, &slot_move.args);
        let plan = Plan { places: vec![Place::Several], shards, gathers: true, ..Plan::default() };
        let (to, watched, watcher, protocol) = (NOBODY, &[][..], 0, slot_move.protocol);
        let task = Task { queue, is_exec: false, attempt: None };
        self.begin_rounds(Launch { to, task, plan, watched, watcher, protocol, steps: None });
    }

    /// Returns whether a transaction is the unit of a step.
    pub(super) fn moves_slots(&self, transaction: &Transaction) -> bool {
        let slot_move = self.transactions.moving.as_ref();
        slot_move.is_some_and(|it| it.phase == Phase::Moving(transaction.id))
    }

    /// Moves the next slots on the slices of all partitions, which are here, and publishes the new
    /// map.
    pub(super) fn move_on_slices(&mut self, mut transaction: Box<Transaction>) -> Box<Transaction> {
        let mut slices: Vec<Box<Slice>> = transaction.take_slices().collect();
        let process = &self.env.process;
        let slot_move = self.transactions.moving.as_mut().expect("checked by moves_slots");
        slot_move.phase = Phase::Moved;
        if slices.iter().any(|slice| slice.has_cut()) {
            slot_move.hindrance = Some(Hindrance::Snapshot);
        } else if process.is_loading() {
            slot_move.hindrance = Some(Hindrance::Loading);
        } else {
            let map = process.slot_map.snapshot();
            let to_move = (&slot_move.left, slot_move.target);
            match move_some(&mut slices, &map, to_move, &process.slot_moves) {
                Ok((moved, next)) => {
                    process.slot_map.publish(next);
                    moved.iter().for_each(|slot| _ = slot_move.left.remove(slot));
                    (slot_move.tries, slot_move.advanced_ns) = (0, self.env.clock_ns());
                }
                Err(large) => slot_move.failure = Some(large.error()),
            }
        }
        transaction.put_slices(slices.into_iter());
        let own = &mut transaction.own;
        Reply::new(&mut own.output, transaction.protocol).ok();
        let end = own.output.mark();
        own.ends.push(end);
        transaction.flight.order.push(ReplySource::One(own.part));
        transaction
    }

    /// Ends a step: commands are served. Goes on later, or ends the move.
    fn end_move_step(&mut self) {
        let now_ns = self.env.clock_ns();
        let slot_move = self.transactions.moving.as_mut().expect("a move is under way");
        let ClientRef { conn, generation } = slot_move.to.client;
        let is_gone = self.connections.get_same(conn, generation).is_none();
        let is_stuck = now_ns.saturating_sub(slot_move.advanced_ns) > MOVE_PATIENCE_NS;
        if is_stuck && let Some(hindrance) = slot_move.hindrance {
            slot_move.failure = Some(hindrance.error());
        }
        if is_gone || slot_move.failure.is_some() || slot_move.left.is_empty() {
            let slot_move = self.transactions.moving.take().expect("a move is under way");
            self.env.process.slot_moves.end();
            return self.reply_to_move(*slot_move);
        }
        let held_ns = now_ns.saturating_sub(slot_move.held_ns);
        let tries = slot_move.tries as usize;
        let rest_ns = MOVE_RESTS_NS[tries.min(MOVE_RESTS_NS.len() - 1)];
        slot_move.phase = Phase::Resting;
        slot_move.rests_until_ns = now_ns + held_ns.max(rest_ns);
    }

    /// Replies to the client of a move that is over.
    fn reply_to_move(&mut self, slot_move: SlotMove) {
        let SlotMove { to, protocol, item, failure, held_ns, .. } = slot_move;
        let (mut output, board) = (Output::default(), &self.env.board);
        let mut reply = Reply::new(&mut output, protocol);
        match &failure {
            None => reply.ok(),
            Some(error) => {
                reply.error(error);
                board.error_reply(error.bytes());
                board.commands[usize::from(item.entry.index)].failed.add(1);
            }
        }
        board.counters.commands_processed.add(1);
        self.partition.record_runs(item.entry, 1, self.env.clock_ns().saturating_sub(held_ns));
        let mut answer = self.answer_to(to);
        answer.output = output;
        self.land_answer(answer);
    }
}
