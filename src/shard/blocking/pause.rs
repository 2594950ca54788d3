//! CLIENT PAUSE on one shard: commands of its connections wait until the pause is over.
//!
//! ```text
//!   PAUSE    set in the process --> every shard reads it --> earlier commands are over --> OK
//!   shard    no pause --reads it--> paused --UNPAUSE, a less strict one, time--> no pause
//!   client   its next command may not run: postponed, with all later input
//!                --the pause ends for it--> ready, in the order in which they were postponed
//! ```
//! The end of the pause is one of the shard's deadlines, so the shard parks until then.

use super::Pausing;
use crate::exec::{Entry, Facts};
use crate::io::ConnId;
use crate::mesh::ReplyAddress;
use crate::resp::{Output, Reply};
use crate::shard::replication::Goal;
use crate::shard::state::Shard;

impl Shard {
    /// CLIENT PAUSE: sends the reply after all commands that the pause delays have finished.
    pub(in crate::shard) fn pause(&mut self, conn: ConnId) {
        let waiter = self.defer(conn);
        self.post_barrier(Goal::Pause { waiter, is_settled: false });
    }

    /// Continues CLIENT PAUSE after a barrier. After the first barrier all shards know the pause.
    /// After the second one their earlier commands are over, and OK is sent.
    pub(in crate::shard) fn go_on_pausing(&mut self, waiter: ReplyAddress, is_settled: bool) {
        if !is_settled {
            self.post_barrier(Goal::Pause { waiter, is_settled: true });
            return;
        }
        let connection = self.connections.get_same(waiter.client.conn, waiter.client.generation);
        let Some(connection) = connection else { return };
        let protocol = connection.session.protocol;
        let mut output = Output::default();
        Reply::new(&mut output, protocol).ok();
        let mut answer = self.answer_to(waiter);
        answer.output = output;
        self.land_answer(answer);
    }

    /// Reads the process's pause and applies it to this shard.
    pub(in crate::shard) fn note_pause(&mut self) {
        let pause = self.env.process.paused(self.env.now.unix_ms());
        if pause == self.pausing.now {
            return;
        }
        self.pausing.now = pause;
        self.apply_pause();
    }

    fn apply_pause(&mut self) {
        let Pausing { now, is_file_behind, .. } = self.pausing;
        let facts = &mut self.env.facts;
        let strength = |facts: &Facts| {
            u8::from(facts.has(Facts::PAUSED_WRITES)) + u8::from(facts.has(Facts::PAUSED_ALL))
        };
        let before = strength(facts);
        facts.set(Facts::PAUSED_WRITES, now.is_some() || is_file_behind);
        facts.set(Facts::PAUSED_ALL, now.is_some_and(|pause| pause.is_all));
        let is_weaker = strength(facts) < before;
        self.partition.env_mut().facts = self.env.facts;
        self.settle_settings();
        if is_weaker {
            self.resume_postponed();
        }
    }

    /// Makes commands on keys wait because hash slots move (`on`), or no longer. Then the shard has
    /// taken the new map.
    pub(in crate::shard) fn note_moving(&mut self, on: bool) {
        self.env.facts.set(Facts::MOVING, on);
        self.partition.env_mut().facts = self.env.facts;
        if !on {
            self.refresh_settings();
            self.resume_postponed();
        }
    }

    /// Ends the pause when its time is over. Also pauses commands that write while the append-only
    /// file is too far behind the stream; while it cannot be written, they are refused instead.
    pub(in crate::shard) fn check_pause(&mut self) {
        let feed = &self.replication.feed;
        if feed.is_on()
            && let Some(bytes) = feed.disk().begin_behind(feed.end_offset())
        {
            self.note_file_behind(bytes);
        }
        let is_behind = self.replication.feed.disk().is_behind();
        let is_file_behind = is_behind && !self.env.facts.has(Facts::DISK_ERROR);
        if is_file_behind != self.pausing.is_file_behind {
            self.pausing.is_file_behind = is_file_behind;
            self.apply_pause();
        }
        if self.pausing.now.is_some_and(|pause| pause.is_over(self.env.now.unix_ms())) {
            self.note_pause();
        }
    }

    #[cold]
    fn note_file_behind(&self, bytes: u64) {
        self.env.process.aof.facts().pauses += 1;
        self.env.process.log.warning(&format!(
            "The append-only file is {bytes} bytes behind (disk is busy?). Commands that write \
             wait until it has caught up."
        ));
    }

    /// Postpones the connection: its next command must not run before the pause is over, or before
    /// hash slots have moved.
    pub(in crate::shard) fn postpone(&mut self, conn: ConnId, entry: &'static Entry) {
        let number = self.pausing.next;
        let connection = self.connections.get_mut(conn).expect("connection is open");
        assert!(connection.postponed.is_none(), "a postponed connection is not served");
        connection.input.consume();
        connection.postponed = Some(number);
        self.pausing.next += 1;
        self.pausing.postponed.insert(number, conn);
        if self.env.facts.has(Facts::MOVING) {
            // For so short a time it does not count as blocked: a peer that has sent its last
            // command gets its replies.
            return;
        }
        connection.session.is_blocked = true;
        connection.session.last_command = Some(entry.index);
        let is_hung_up = connection.is_hung_up;
        self.env.board.gauges.clients_blocked.add(1);
        if is_hung_up {
            return self.close(conn);
        }
        self.resume_receiving(conn);
    }

    /// Ends the postponed state of the connection.
    pub(in crate::shard) fn end_postponed(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(number) = connection.postponed.take() else { return };
        self.pausing.postponed.remove(&number);
        let was_blocked = std::mem::replace(&mut connection.session.is_blocked, false);
        self.env.board.gauges.clients_blocked.add(-i64::from(was_blocked));
    }

    /// Makes all postponed connections ready, in order. A connection is postponed again if its
    /// command still may not run.
    fn resume_postponed(&mut self) {
        for conn in std::mem::take(&mut self.pausing.postponed).into_values() {
            self.end_postponed(conn);
            self.make_ready(conn);
        }
        self.partition.resume_paused_keys();
        self.send_outgoing();
    }
}
