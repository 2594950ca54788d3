//! DEBUG LOADAOF: replaces all keys with the ones of the append-only file.
//!
//! ```text
//!   Refuse to all --> Empty to all: a mark, the keys go --mark in the stream--> the thread of the
//!   file writes up to the mark, and loads --> Serve to all --> the reply
//! ```
//! After `Refuse` no shard begins a unit, so nothing comes between the mark and the empty slices.

use super::Goal;
use crate::exec::{AofOrder, LoadStep};
use crate::io::ConnId;
use crate::mesh::ReplyAddress;
use crate::resp::{Error, Reply};
use crate::shard::state::Shard;

const FAILED: &str = "ERR Error trying to load the AOF files, check server logs.";

impl Shard {
    /// Starts DEBUG LOADAOF.
    pub(in crate::shard) fn load_aof(&mut self, conn: ConnId) {
        let process = &self.env.process;
        // Without a thread nobody loads. The second of two that come at once fails.
        let may = process.aof.facts().has_thread && process.loading.begin(process.shards(), true);
        if !may {
            let connection = self.connections.get_mut(conn).expect("connection is open");
            let protocol = connection.session.protocol;
            let mut reply = Reply::new(&mut connection.outbox.output, protocol);
            return reply.error(&Error::other(FAILED));
        }
        let waiter = self.defer(conn);
        self.post_barrier(Goal::LoadAof { waiter, step: LoadStep::Refuse });
    }

    /// Goes on after all shards have taken a step. `offset` is the one of the mark.
    pub(super) fn go_on_loading(&mut self, waiter: ReplyAddress, step: LoadStep, offset: u64) {
        match step {
            LoadStep::Refuse => {
                let step = LoadStep::Empty(0);
                self.post_barrier(Goal::LoadAof { waiter, step });
            }
            LoadStep::Empty(_) => {
                self.replication.reloader = Some(waiter);
                let home = self.env.me;
                self.env.process.aof.order(AofOrder::Load { offset, home });
                self.replication.feed.disk().wake();
            }
            LoadStep::Serve => self.answer_saver(waiter, Ok(())),
        }
    }

    /// Takes the end of the load.
    pub(super) fn check_load(&mut self) {
        let Some(waiter) = self.replication.reloader else { return };
        let Some(is_loaded) = self.env.process.aof.take_loaded() else { return };
        self.replication.reloader = None;
        if is_loaded {
            self.post_barrier(Goal::LoadAof { waiter, step: LoadStep::Serve });
        } else {
            self.answer_saver(waiter, Err(FAILED));
        }
    }
}
