//! CLIENT PAUSE on one shard: commands of its connections that wait until it is over.
//!
//! ```text
//!   PAUSE    the process is told --> every shard takes note --> what came before is over --> OK
//!   shard    no pause --take note--> paused --UNPAUSE, a less strict one, time--> no pause
//!   client   its next command may not run: postponed, with all that it sends behind it
//!                --the pause lets go of it--> ready, in the order in which they were postponed
//! ```
//! The end of the pause is one of the shard's deadlines: it parks until then.

use super::Shard;
use super::post::Awaited;
use super::replicas::Goal;
use crate::exec::{Entry, Pause};
use crate::gate::Facts;
use crate::io::ConnId;
use crate::resp::{Output, Reply};
use std::collections::{BTreeMap, HashSet};

/// The pause as one shard knows it.
#[derive(Debug, Default)]
pub(super) struct Pausing {
    now: Option<Pause>,
    /// Connections whose next command waits, in the order in which they began to.
    postponed: BTreeMap<u64, ConnId>,
    next: u64,
    /// Keys that are ready for commands which wait for keys and must not run: at most as many as
    /// there are keys that somebody waits for.
    keys: HashSet<(usize, Box<[u8]>)>,
}

impl Pausing {
    /// When it ends by itself, Unix milliseconds.
    pub(super) fn until_ms(&self) -> Option<u64> {
        self.now.map(|pause| pause.until_ms)
    }

    /// A key has something for a command that must not run.
    pub(super) fn keep_key(&mut self, db: usize, key: &[u8]) {
        self.keys.insert((db, key.into()));
    }

    /// Connections that wait.
    pub(super) fn postponed(&self) -> usize {
        self.postponed.len()
    }
}

impl Shard {
    /// CLIENT PAUSE: the reply leaves when nothing that it holds up is under way any more.
    pub(super) fn pause(&mut self, conn: ConnId) {
        let waiter = self.defer(conn);
        self.post_barrier(Goal::Pause { waiter, is_settled: false });
    }

    /// All shards have taken note, or what they had begun before is over.
    pub(super) fn go_on_pausing(&mut self, waiter: Awaited, is_settled: bool) {
        if !is_settled {
            return self.post_barrier(Goal::Pause { waiter, is_settled: true });
        }
        let connection = self.connections.get_same(waiter.conn, waiter.generation);
        let Some(connection) = connection else { return };
        let protocol = connection.session.protocol;
        let mut output = Output::default();
        Reply::new(&mut output, protocol).ok();
        let mut answer = self.answer_to(waiter);
        answer.output = output;
        self.land_answer(answer);
    }

    /// Takes note of what the process says of a pause.
    pub(super) fn note_pause(&mut self) {
        let pause = self.process.paused(self.now.unix_ms());
        if pause == self.pausing.now {
            return;
        }
        let strength = |pause: Option<Pause>| pause.map_or(0, |pause| 1 + u8::from(pause.is_all));
        let is_weaker = strength(pause) < strength(self.pausing.now);
        self.pausing.now = pause;
        self.facts.set(Facts::PAUSED_WRITES, pause.is_some());
        self.facts.set(Facts::PAUSED_ALL, pause.is_some_and(|pause| pause.is_all));
        self.settle_settings();
        if is_weaker {
            self.resume_postponed();
        }
    }

    /// Ends the pause when its time is over.
    pub(super) fn check_pause(&mut self) {
        if self.pausing.now.is_some_and(|pause| pause.is_over(self.now.unix_ms())) {
            self.note_pause();
        }
    }

    /// The connection's next command must not run before the pause is over.
    pub(super) fn postpone(&mut self, conn: ConnId, entry: &'static Entry) {
        let number = self.pausing.next;
        let connection = self.connections.get_mut(conn).expect("it is being served");
        assert!(connection.postponed.is_none(), "a postponed connection is not served");
        connection.input.consume();
        connection.postponed = Some(number);
        connection.session.is_blocked = true;
        connection.session.last_command = Some(entry.index);
        let is_hung_up = connection.is_hung_up;
        self.pausing.next += 1;
        self.pausing.postponed.insert(number, conn);
        self.board.gauges.clients_blocked.add(1);
        if is_hung_up {
            self.close(conn);
        }
    }

    /// The connection's next command is not held up any more.
    pub(super) fn end_postponed(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(number) = connection.postponed.take() else { return };
        connection.session.is_blocked = false;
        self.pausing.postponed.remove(&number);
        self.board.gauges.clients_blocked.add(-1);
    }

    /// All who wait look again, in their order.
    fn resume_postponed(&mut self) {
        for conn in std::mem::take(&mut self.pausing.postponed).into_values() {
            self.end_postponed(conn);
            self.make_ready(conn);
        }
        for (db, key) in std::mem::take(&mut self.pausing.keys) {
            let key = self.slice.key(&key);
            self.slice.make_ready(db, &key);
        }
        self.wake_behind(None);
    }
}
