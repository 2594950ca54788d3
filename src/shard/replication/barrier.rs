//! Barriers: one unit over all partitions, and the work that follows after all have replied.
//!
//! ```text
//!   post_barrier --> one part to each shard --replies--> complete
//!                                   '--mark in the feed, for some--> offset  --> the goal
//! ```

use super::{Barrier, Goal};
use crate::exec::{AofOrder, LoadStep, Request};
use crate::mesh::{BarrierId, Envelope, ReplyTo, Work};
use crate::shard::state::Shard;

impl Shard {
    /// Posts a barrier for a goal to all shards. Returns its number.
    pub(in crate::shard) fn post_barrier(&mut self, goal: Goal) -> BarrierId {
        self.barriers.next = self.barriers.next.wrapping_add(1);
        let number = BarrierId(self.barriers.next);
        let id = ((self.env.me as u64) << 32) | u64::from(number.0);
        let request = match &goal {
            Goal::FeedOn => Request::FeedOn,
            Goal::Cut => Request::Cut(self.cut_order(id)),
            Goal::FeedOff { .. } => Request::FeedOff,
            Goal::Pause { is_settled: false, .. } => Request::Pause,
            Goal::Pause { is_settled: true, .. } => Request::Passed,
            Goal::Acks => Request::Mark(id),
            Goal::LastMark(_) => Request::LastMark(id),
            Goal::Leave(_) => Request::Leave,
            Goal::Reload { reload, .. } => Request::Reload(*reload),
            Goal::LoadAof { step, .. } => Request::LoadStep(match step {
                LoadStep::Empty(_) => LoadStep::Empty(id),
                other => *other,
            }),
            Goal::Stay => Request::Stay,
            Goal::HoldSlots => Request::HoldSlots,
            Goal::ServeSlots => Request::ServeSlots,
        };
        let shards = self.env.router.shards();
        let need = self.replication.feed.end_offset();
        let bodies = vec![Vec::new(); shards];
        let barrier = Barrier { goal, waiting: shards, bodies, offset: None, need };
        self.barriers.under_way.insert(number, barrier);
        self.note_needs();
        self.send_barrier(number, &request);
        number
    }

    fn send_barrier(&mut self, number: BarrierId, request: &Request) {
        for shard in 0..self.env.router.shards() {
            let mut envelope = self.port.envelope(shard);
            envelope.part = shard as u16;
            envelope.reply_to = ReplyTo::Barrier(number);
            envelope.work = Work::Control { request: request.clone(), at: 0 };
            self.remote.unit.push(envelope);
        }
        self.post_unit();
    }

    /// Takes a reply to a barrier.
    pub(in crate::shard) fn land_barrier(
        &mut self,
        number: BarrierId,
        mut envelope: Box<Envelope>,
    ) {
        if let Some(barrier) = self.barriers.under_way.get_mut(&number) {
            barrier.waiting -= 1;
            barrier.bodies[usize::from(envelope.owner)] = std::mem::take(&mut envelope.body);
        }
        self.port.recycle(envelope);
        self.settle_barrier(number);
    }

    /// Takes the marks of this shard's barriers that the stream has reached.
    pub(super) fn take_marks(&mut self) {
        let me = self.env.me as u64;
        let (marks, merged) =
            self.replication.feed.with_stream(|stream| stream.take_marks(|id| id >> 32 == me));
        self.replication.is_behind |= merged.is_behind;
        if merged.has_grown {
            self.nudge_readers();
        }
        for mark in marks {
            let number = BarrierId(mark.id as u32);
            if let Some(barrier) = self.barriers.under_way.get_mut(&number) {
                barrier.offset = Some(mark.offset);
                if matches!(barrier.goal, Goal::Cut) {
                    self.note_mark(mark.offset);
                }
            }
            self.settle_barrier(number);
        }
    }

    /// Ends the feed if all shards have replied to that and the merger has caught up since.
    pub(super) fn settle_ending(&mut self) {
        let mut all = self.barriers.under_way.iter();
        let ending = all.find(|(_, barrier)| matches!(barrier.goal, Goal::FeedOff { .. }));
        if let Some((&number, _)) = ending {
            self.settle_barrier(number);
        }
    }

    /// Removes and returns a barrier whose goal is reached.
    fn end_barrier(&mut self, number: BarrierId) -> Barrier {
        let barrier = self.barriers.under_way.remove(&number).expect("it is under way");
        self.note_needs();
        barrier
    }

    /// Runs the goal of a barrier once all replies and the mark are there.
    fn settle_barrier(&mut self, number: BarrierId) {
        let Some(barrier) = self.barriers.under_way.get(&number) else { return };
        let has_mark = match barrier.goal {
            Goal::LastMark(_) => true,
            Goal::Cut => self.has_marked_file(),
            // While no journal is on, there is no mark, and the next snapshot has all writes.
            Goal::Acks | Goal::LoadAof { .. } => barrier.bodies.iter().any(|body| !body.is_empty()),
            _ => false,
        };
        if barrier.waiting > 0 || (barrier.offset.is_none() && has_mark) {
            return;
        }
        match barrier.goal {
            Goal::FeedOn => {
                self.barriers.under_way.remove(&number);
                self.post_barrier(Goal::Cut);
            }
            // The next tick looks again.
            Goal::FeedOff { .. } if !self.replication.feed.is_drained() => {}
            Goal::FeedOff { readers } => {
                self.barriers.under_way.remove(&number);
                self.end_feed(readers);
            }
            Goal::Cut => {
                let barrier = self.barriers.under_way.remove(&number).expect("checked above");
                self.end_file_cut(barrier);
            }
            Goal::Pause { waiter, is_settled } => {
                self.end_barrier(number);
                self.go_on_pausing(waiter, is_settled);
            }
            Goal::Reload { waiter, reload } => {
                let bodies = self.end_barrier(number).bodies;
                self.end_reload(waiter, reload, bodies);
            }
            Goal::Stay => _ = self.end_barrier(number),
            Goal::HoldSlots | Goal::ServeSlots => {
                let bodies = self.end_barrier(number).bodies;
                self.go_on_moving(&bodies);
            }
            Goal::LoadAof { waiter, step } => {
                let offset = barrier.offset.unwrap_or(barrier.need);
                self.end_barrier(number);
                self.go_on_loading(waiter, step, offset);
            }
            Goal::Leave(why) => {
                self.end_barrier(number);
                self.stop_now(why);
            }
            Goal::LastMark(why) => {
                let barrier = self.barriers.under_way.remove(&number).expect("checked above");
                let offset = barrier.offset.expect("checked above");
                self.env.process.aof.order(AofOrder::Stop { offset, why });
                self.replication.feed.disk().wake();
            }
            Goal::Acks => {
                let offset = barrier.offset.unwrap_or(barrier.need);
                self.end_barrier(number);
                self.ask_for_acks(number, offset);
            }
        }
    }
}
