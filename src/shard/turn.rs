//! The turn: everything that can wake a shard, in the order in which it is dealt with. Hot.

use super::limits::{IDLE_POLLS_MAX, SERVE_NS_MAX};
use super::{Now, OffloadPool, Shard};
use crate::exec::Shutdown;
use crate::io::{Completion, ConnId, Wait};
use std::io;

/// What a turn found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There was something to do.
    Busy,
    /// Nothing was there.
    Idle,
    /// The process stops; the shard has let go of its connections.
    Stopped,
}

impl Shard {
    /// Turns until the process stops.
    pub fn run(&mut self) -> io::Result<()> {
        loop {
            match self.turn() {
                Ok(Turn::Stopped) => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    self.process.stop(Shutdown::Failure);
                    self.port.mesh().ring_all();
                    return Err(error);
                }
            }
        }
    }

    /// Says whether the shard has its core for itself: then it polls for a while for the replies
    /// of other shards before it parks. A poll elsewhere would keep those shards from running.
    pub fn set_core_own(&mut self, is_own: bool) {
        self.idle_polls_max = if is_own { IDLE_POLLS_MAX } else { 0 };
    }

    /// Has long commands run by these threads, and not by its own.
    pub fn set_offload_pool(&mut self, offload_pool: OffloadPool) {
        self.offload_pool = Some(offload_pool);
    }

    /// One turn.
    pub fn turn(&mut self) -> io::Result<Turn> {
        let wait = self.wait_plan();
        self.driver.wait(wait)?;
        self.feed.wake(self.me, &mut self.journal);
        if matches!(wait, Wait::AtMost(_)) {
            self.port.unpark();
            self.board.counters.parks.add(1);
        }
        if self.process.is_stopping() {
            self.stop();
            return Ok(Turn::Stopped);
        }
        self.refresh_settings();
        let mut found = self.reap();
        if self.is_loading() {
            found |= self.load()?;
        }
        // After the completions were taken, and before the inbox's tail is read.
        self.read_clock();
        self.profile.begin_turn(self.now.monotonic_ns);
        self.journal.clock.begin_turn(self.now.monotonic_ns);
        if self.port.mesh().rules().drain_first {
            found |= self.drain_inbox();
            found |= self.receive_done();
            self.journal.clock.drained();
            found |= self.serve_ready();
        } else {
            found |= self.serve_ready();
            found |= self.drain_inbox();
        }
        self.check_deadlines();
        self.check_pause();
        self.hand_over_waiting();
        self.tick();
        self.wake_behind(None);
        self.forwarded.begun.clear();
        self.publish_feed();
        self.serve_links();
        if !self.monitors.is_empty() {
            self.serve_monitors();
        }
        self.check_clients_memory();
        self.board.counters.doorbells_rung.add(self.port.ring());
        found |= self.flush();
        self.finish(found);
        Ok(if found { Turn::Busy } else { Turn::Idle })
    }

    /// How the next wait is to be: not at all while there is something to do, shortly while
    /// replies of other shards are due, else parked until the next tick.
    fn wait_plan(&mut self) -> Wait {
        let can_unstall = !self.stalled.is_empty() && self.port.has_all_credits();
        let due = !self.ready.is_empty() || can_unstall || self.has_waiting();
        let pending = due || self.port.depth() > 0 || self.files.intake.is_some();
        let expecting = self.port.under_way() > 0 && self.idle_turns < self.idle_polls_max;
        if pending || expecting || self.is_feed_behind || self.has_new_stream() {
            return Wait::Poll;
        }
        if self.feed.is_on() && !self.may_park() {
            self.port.ring();
            return Wait::Poll;
        }
        self.port.ring();
        if !self.port.park() {
            return Wait::Poll;
        }
        // Whoever lets the stream grow from here on finds the shard parked, and rings.
        if self.has_new_stream() {
            self.port.unpark();
            return Wait::Poll;
        }
        let now_ns = self.process.clock.monotonic_ns();
        let tick_ns = self.cron.next_ns().saturating_sub(now_ns);
        Wait::AtMost(self.next_deadline_ns().map_or(tick_ns, |ns| ns.min(tick_ns)))
    }

    /// Commands that run from here on see the time of this moment.
    pub(super) fn read_clock(&mut self) {
        let clock = &self.process.clock;
        self.now = Now { monotonic_ns: clock.monotonic_ns(), unix_us: clock.unix_us() };
        self.slice.set_now(self.now.unix_ms());
    }

    /// Takes what the kernel has done: the closed set of things that can happen to a socket.
    fn reap(&mut self) -> bool {
        let mut found = false;
        while let Some(completion) = self.driver.next() {
            found = true;
            match completion {
                Completion::Received { conn, buffer, len } => {
                    self.received(conn, buffer, len);
                }
                Completion::Sent(conn, chunk, result) => self.sent(conn, chunk, result),
                Completion::Hangup(conn, error) => self.hung_up(conn, error),
                Completion::Closed(conn) => self.closed(conn),
                Completion::Accepted(_, socket) => self.accepted(socket),
                Completion::AcceptFailed(_, error) => self.accept_failed(&error),
                Completion::Rung => {}
            }
        }
        found
    }

    /// Serves the connections that were ready when it began, and no longer than its time.
    fn serve_ready(&mut self) -> bool {
        if self.feed.is_on() && self.feed.lane(self.me).is_full() {
            // The merger comes first.
            return false;
        }
        if self.files.is_leaving {
            return false;
        }
        let found = !self.ready.is_empty();
        for _ in 0..self.ready.len() {
            let Some(conn) = self.ready.pop_front() else { break };
            // A number may stand here twice when it was given to another connection meanwhile.
            if let Some(connection) = self.connections.get_mut(conn)
                && std::mem::take(&mut connection.is_queued)
                && !connection.is_stalled
            {
                self.serve(conn);
            }
            let spent_ns = self.process.clock.monotonic_ns() - self.now.monotonic_ns;
            if spent_ns > SERVE_NS_MAX {
                break;
            }
        }
        found
    }

    /// Puts the connection in the list of those to serve, unless it waits for credits.
    pub(super) fn make_ready(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn)
            && !connection.is_queued
            && !connection.is_stalled
        {
            connection.is_queued = true;
            self.ready.push_back(conn);
        }
    }

    /// Puts the connection in the list of those to flush.
    pub(super) fn make_dirty(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn)
            && !connection.is_dirty
        {
            connection.is_dirty = true;
            self.dirty.push(conn);
        }
    }

    fn finish(&mut self, found: bool) {
        self.idle_turns = if found { 0 } else { self.idle_turns.saturating_add(1) };
        let has_ticked = self.cron.take_ticked();
        if !found && !has_ticked {
            return;
        }
        let ns = self.process.clock.monotonic_ns() - self.now.monotonic_ns;
        self.board.counters.cycles.add(1);
        self.board.counters.cycle_ns_sum.add(ns);
        if found {
            self.board.counters.turns.add(1);
            let commands = self.board.counters.commands_processed.get();
            let commands = self.cron.count_commands(commands);
            self.board.turn_commands.see(commands, self.process.boards.generation());
            self.board.turn_ns.see(ns, self.process.boards.generation());
        }
    }
}
