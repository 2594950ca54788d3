//! The cut for a snapshot: the keys of the partition at the snapshot's place in the order of units,
//! encoded in slices while other units run.
//!
//! ```text
//!   part arrives: mark, begin
//!     run_slices --> walk for a limited time --complete--> share --> reply
//!                      |-lent value--> pool: encode --> receive_offloaded -'
//!                      '-with a sink: pieces and lent values as they come --> sink
//! ```
//! The cut takes no lock. The units that have requested locks before are part of it: their places
//! in the stream precede the mark. It is complete only when they are over. If one of them locks
//! exclusively more than single keys, the part waits for it before the cut begins, as a lock
//! request on all keys.
//!
//! A process makes one cut at a time, see [`Feed::begin_cut`](crate::feed::Feed::begin_cut).

use super::part_job::PoolJob;
use super::partition::Partition;
use super::slices::{CUT_NS_MAX, Cut, SLICE_ELEMENTS_MAX};
use crate::exec::Request;
use crate::mesh::{Envelope, Work};
use crate::snapshot::{Lent, ShareWriter};
use crate::txn::LockId;
use std::any::Any;
use std::collections::HashMap;

impl Partition {
    /// Returns the keys that earlier units hold, if a cut can begin beside these units.
    pub(super) fn held_by_units(&self) -> Option<HashMap<u64, usize>> {
        if self.is_away() { None } else { self.locks.exclusive_keys() }
    }

    /// Begins the cut that a part requests. `held` has the hashes of the keys that earlier units
    /// hold, each with the number of its units.
    pub(super) fn begin_cut(&mut self, part: Box<Envelope>, held: HashMap<u64, usize>) {
        assert!(self.slices.cut.is_none(), "a process makes one cut at a time");
        let changes = self.env.board.counters.changes.get();
        // Units that follow the snapshot may see its time, also if the part has waited since.
        let (is_packing, posted_ms) = (self.env.config.rdbcompression, part.sent.unix_us / 1_000);
        let Work::Control { request: Request::Cut(order), .. } = &part.work else {
            unreachable!("a cut has an order");
        };
        let sink = order.sink.clone();
        // A file has the expired keys that are still here, as the reference server's has.
        let due_before_ms = if sink.is_some() { 0 } else { posted_ms };
        if order.is_last {
            self.leaving.begin();
        }
        let writer =
            ShareWriter::new(&self.slice, is_packing, changes, due_before_ms, sink.clone());
        self.slice.begin_cut(held, Box::new(writer));
        if let Some(sink) = sink.as_ref().filter(|sink| sink.join()) {
            sink.set_head(self.file_head(sink.is_aof_base()));
        }
        let until = self.locks.next_id();
        self.slices.cut = Some(Cut { part, encoded: Vec::new(), until, is_waiting: false, sink });
    }

    /// Returns whether a cut can go on.
    pub(super) fn can_cut_on(&self) -> bool {
        let can = |cut: &Cut| !cut.is_waiting && !cut.is_paused();
        self.slices.cut.as_ref().is_some_and(can) && !self.is_away()
    }

    /// Returns whether no client may be served until the disk has taken keys of the cut.
    #[inline]
    pub fn is_behind_disk(&self) -> bool {
        self.slices.is_behind_disk()
    }

    /// Saves the keys of a unit that is over, if a cut has waited for them.
    pub(super) fn free_held(&mut self, lock: LockId) {
        let Some(cut) = self.slices.cut.as_mut().filter(|cut| lock < cut.until) else { return };
        cut.is_waiting = false;
        for hash in self.locks.exclusive_of(lock) {
            self.slice.cut_free(hash);
        }
    }

    /// Takes back a value that the pool has encoded.
    pub(super) fn receive_lent(&mut self, lent: Lent) {
        let cut = self.slices.cut.as_mut().expect("a cut waits for its values");
        cut.encoded.push(lent);
        cut.is_waiting = false;
    }

    /// Goes on with the cut for a limited time. Replies when it is complete. Returns whether there
    /// was anything to do.
    pub(super) fn cut_on(&mut self) -> bool {
        if !self.can_cut_on() {
            return false;
        }
        let encoded = self.slices.cut.as_mut().map(|cut| std::mem::take(&mut cut.encoded));
        for lent in encoded.into_iter().flatten() {
            self.share_writer().put_encoded(lent);
        }
        let env = &self.env;
        let stop_ns = env.clock_ns() + CUT_NS_MAX;
        let mut left = (env.config.offload_elements_min as usize).min(SLICE_ELEMENTS_MAX);
        let is_walked = self.slice.walk_cut(&mut || {
            let is_over = left == 0 || env.clock_ns() >= stop_ns;
            left = left.saturating_sub(1);
            is_over
        });
        self.encode_lent();
        let is_encoded = self.share_writer().is_done();
        let has_all = is_encoded && !self.slice.has_held();
        if is_walked && has_all {
            self.end_cut();
        } else if let Some(cut) = &mut self.slices.cut {
            let is_full = !is_encoded && self.slice.is_cut_full();
            cut.is_waiting = is_walked || is_full;
        }
        true
    }

    fn share_writer(&mut self) -> &mut ShareWriter {
        self.slice.cut_consumer().expect("a cut has begun with a writer")
    }

    /// Passes lent values to the pool. Without a pool, encodes them here.
    fn encode_lent(&mut self) {
        while let Some(mut lent) = self.share_writer().take_lent() {
            let elements = lent.elements();
            if let Some(offloads) = &mut self.offloads {
                offloads.send(PoolJob::Lent(lent), elements, PoolJob::run);
            } else {
                lent.encode();
                self.share_writer().put_encoded(lent);
            }
        }
    }

    fn end_cut(&mut self) {
        let writer: Box<dyn Any> = self.slice.end_cut().expect("the walk is at its end");
        let writer: Box<ShareWriter> = writer.downcast().expect("a cut has begun with a writer");
        let Cut { mut part, .. } = self.slices.cut.take().expect("a cut is under way");
        part.body = writer.into_share().into_pieces();
        self.answer(part);
    }
}
