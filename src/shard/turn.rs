//! The turn: handles everything that can wake a shard, in a fixed order. Hot.

use super::limits::{
    DISK_WAIT_NS, LENT_WAIT_NS_MAX, REAP_WEIGHT_MAX, REAP_WEIGHT_OPENING, RECORDS_PER_TURN_MAX,
    SERVE_NS_MAX,
};
use super::state::Shard;
use crate::exec::{Bell, OffloadPool, Offloads, Shutdown};
use crate::io::{Completion, Wait};
use std::io;
use std::sync::Arc;

/// Result of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The turn found work.
    Busy,
    /// The turn found no work.
    Idle,
    /// The process stops, and the shard has closed its connections.
    Stopped,
}

/// How a shard waits for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitPlan {
    /// It keeps its partition.
    Stay(Wait),
    /// It lets its partition go and offers its core to other threads once: only handshakes are due,
    /// and a client that shares the core would wait for the end of a scheduler's slice.
    Offer,
    /// It lets its partition go and polls, because replies are expected.
    Rest,
    /// It lets its partition go and blocks.
    Park,
}

impl Shard {
    /// Runs turns until the process stops.
    pub fn run(&mut self) -> io::Result<()> {
        loop {
            match self.turn() {
                Ok(Turn::Stopped) => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    self.env.process.stop(Shutdown::Failure);
                    self.port.mesh().ring_all();
                    return Err(error);
                }
            }
        }
    }

    /// Sets how often at most the shard polls for replies of other shards before it parks: not at
    /// all (0) on a shared core, where polling would keep those shards from running.
    pub fn set_polls_max(&mut self, most: u32) {
        self.cron.polling.set_most(most);
    }

    /// Makes commands on large values run on the threads of an offload pool.
    pub fn set_offload_pool(&mut self, pool: &OffloadPool) {
        let (mesh, me) = (self.port.shared_mesh(), self.env.me);
        let bell: Bell = Arc::new(move || mesh.ring_bell(me));
        self.partition.set_offloads(Offloads::new(pool.clone(), Arc::clone(&bell)));
        self.transactions.offloads = Some(Offloads::new(pool.clone(), bell));
    }

    /// Has files written by threads of their own. Otherwise the shard writes them, in tests.
    pub fn write_files_on_threads(&mut self) {
        self.replication.has_threads = true;
    }

    /// Runs one turn.
    pub fn turn(&mut self) -> io::Result<Turn> {
        self.wait()?;
        self.close_failed();
        let feed = &self.replication.feed;
        feed.wake(self.env.me, self.partition.journal_mut());
        if self.env.process.is_stopping() {
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
        self.prefetch_buckets();
        let now_ns = self.env.now.monotonic_ns;
        self.telemetry.profile.begin_turn(now_ns);
        self.partition.journal_mut().clock.begin_turn(now_ns);
        if self.port.mesh().rules().drain_first {
            found |= self.drain_inbox();
            if self.awaits_own_messages() {
                self.drain_inbox();
            }
            found |= self.receive_offloaded();
            found |= self.run_slices();
            found |= self.script_on();
            found |= self.step_on();
            found |= self.list_on();
            self.partition.begin_local(self.env.now.unix_us);
            self.prefetch_entries();
            found |= self.serve_ready();
        } else {
            self.partition.heed_time(self.env.now.unix_us);
            self.prefetch_entries();
            found |= self.serve_ready();
            found |= self.drain_inbox();
        }
        self.check_deadlines();
        self.check_pause();
        self.check_moves();
        self.hand_over_waiting();
        self.tick();
        self.make_room_at_end();
        self.partition.serve_blocked_behind();
        self.send_outgoing();
        self.publish_feed();
        self.serve_links();
        if !self.telemetry.monitors.is_empty() {
            self.serve_monitors();
        }
        self.check_clients_memory();
        if self.see_to_posted() {
            found |= self.take_borrowed_answers();
            // Parts lay between the answers. A shard parks only with an empty journal.
            self.publish_feed();
        }
        self.describe_denied();
        found |= self.flush(self.env.router.shards() > 1);
        if self.may_shake_hands(found) {
            found |= self.continue_handshakes();
            self.flush(false);
        }
        self.finish(found);
        Ok(if found { Turn::Busy } else { Turn::Idle })
    }

    /// Sends what the last turn has left to send, and waits for work. The shard holds its partition
    /// afterwards, but not while it sends: a send wakes a client, which may then get this core.
    fn wait(&mut self) -> io::Result<()> {
        let plan = self.wait_plan();
        let is_let_go = match plan {
            WaitPlan::Stay(_) => false,
            WaitPlan::Offer | WaitPlan::Rest | WaitPlan::Park => {
                self.partition.put(&self.berths);
                if plan == WaitPlan::Park { self.port.park() } else { self.port.rest() }
            }
        };
        if !is_let_go {
            if !self.partition.is_here() {
                self.partition.take(&self.berths, self.env.me);
            }
            self.send_late();
            let wait = if let WaitPlan::Stay(wait) = plan { wait } else { Wait::Poll };
            return self.driver.wait(wait);
        }
        self.send_late();
        match plan {
            WaitPlan::Rest => self.poll()?,
            WaitPlan::Offer => {
                self.port.mesh().idle();
                self.driver.wait(Wait::Poll)?;
            }
            WaitPlan::Park | WaitPlan::Stay(_) => {
                let wait = self.time_to_park();
                self.driver.wait(wait)?;
            }
        }
        self.take_back()?;
        if plan == WaitPlan::Park {
            self.port.unpark();
            self.env.board.counters.parks.add(1);
        }
        Ok(())
    }

    /// Polls the inbox and the sockets, while other shards may borrow the partition.
    fn poll(&mut self) -> io::Result<()> {
        let polls = self.cron.polling.polls();
        for poll in 0..polls {
            self.driver.wait(Wait::Poll)?;
            if self.driver.has_completions() || self.port.depth() > 0 {
                self.cron.polling.polled(Some(poll));
                return Ok(());
            }
            self.port.mesh().point();
            std::hint::spin_loop();
        }
        self.cron.polling.polled(None);
        Ok(())
    }

    /// Takes the partition back, once no other shard has it.
    fn take_back(&mut self) -> io::Result<()> {
        while !self.port.hold_or_ask() {
            // The holder rings. Completions that are there already keep this wait from blocking:
            // then the holder may need this core.
            self.driver.wait(Wait::AtMost(LENT_WAIT_NS_MAX))?;
            self.port.mesh().idle();
        }
        self.partition.take(&self.berths, self.env.me);
        Ok(())
    }

    /// Plans the next wait. While there is work, the shard only looks for more. While replies of
    /// other shards are expected, it polls for a limited time. Otherwise it parks until the next
    /// tick.
    fn wait_plan(&mut self) -> WaitPlan {
        if self.partition.is_behind_disk() {
            // The thread that writes the file may need this core.
            self.ring();
            return WaitPlan::Stay(Wait::AtMost(DISK_WAIT_NS));
        }
        let due = !self.queues.ready.is_empty() || self.can_unstall() || self.has_waiting();
        let due = due || self.can_repeat_surveys() || self.has_steps() || self.has_scripts();
        let due = due || self.can_settle_units() || self.cron.evicts;
        let due = due || self.move_rests_ns() == Some(0);
        let has_messages = self.port.depth() > 0 || self.partition.has_work_for_shard();
        let is_sliced = self.queues.has_completions || !self.clients.listings.is_empty();
        let pending = due || has_messages || is_sliced || self.intake.keys.is_some();
        if pending || self.replication.is_behind || self.has_new_stream() {
            return WaitPlan::Stay(Wait::Poll);
        }
        self.ring();
        if self.replication.feed.is_on() && !self.may_park() {
            return WaitPlan::Stay(Wait::Poll);
        }
        if !self.clients.handshakes.is_empty() {
            return WaitPlan::Offer;
        }
        let is_expecting = self.port.under_way() > 0;
        if is_expecting && self.cron.polling.polls() > 0 { WaitPlan::Rest } else { WaitPlan::Park }
    }

    /// Returns how long the parked shard blocks.
    fn time_to_park(&mut self) -> Wait {
        // A shard that extends the stream from here on finds this shard parked, and rings.
        let now_ns = self.cron.ended_ns.unwrap_or_else(|| self.env.clock_ns());
        let tick_ns = self.cron.next_ns().saturating_sub(now_ns);
        let tick_ns = self.move_rests_ns().map_or(tick_ns, |ns| ns.min(tick_ns));
        if self.has_new_stream() || self.has_marks() || !self.queues.failed.is_empty() {
            return Wait::AtMost(0);
        }
        Wait::AtMost(self.next_deadline_ns().map_or(tick_ns, |ns| ns.min(tick_ns)))
    }

    /// Takes the replies that a borrowed partition has left in the inbox, behind earlier messages.
    fn take_borrowed_answers(&mut self) -> bool {
        if self.port.mesh().rules().own_inbox_first {
            self.drain_inbox()
        } else {
            // The replies have landed before the messages in the inbox.
            self.serve_ready()
        }
    }

    /// Rings for the shards that were posted to since the last ring.
    fn ring(&mut self) {
        self.env.board.counters.doorbells_rung.add(self.port.ring());
    }

    /// Reads the clock. Commands that run from here on see this time.
    fn read_clock(&mut self) {
        self.env.read_clock();
        self.partition.begin_turn(self.env.now, self.env.facts);
    }

    /// Takes completions of the kernel: the closed set of events of a socket. If there are very
    /// many, the next turn takes the others, as if they had come later.
    fn reap(&mut self) -> bool {
        let mut found = false;
        let mut left = REAP_WEIGHT_MAX;
        self.queues.has_completions = false;
        self.clients.records = 0;
        while let Some(completion) = self.driver.next() {
            found = true;
            left = left.saturating_sub(match completion {
                Completion::Received { .. } | Completion::Sent(..) | Completion::Rung => 1,
                _ => REAP_WEIGHT_OPENING,
            });
            match completion {
                Completion::Received { conn, buffer, len } => {
                    self.received(conn, buffer, len);
                }
                Completion::Sent(conn, chunk, result) => self.sent(conn, chunk, result),
                Completion::Hangup(conn, error) => self.hung_up(conn, error),
                Completion::Closed(conn) => self.closed(conn),
                Completion::Accepted(listener, socket) => self.accepted(listener, socket),
                Completion::AcceptFailed(_, error) => self.accept_failed(&error),
                Completion::Rung => {}
            }
            if left == 0 || self.clients.records > RECORDS_PER_TURN_MAX {
                self.queues.has_completions = true;
                break;
            }
        }
        found
    }

    /// Serves the connections that were ready at its start, for a limited time.
    fn serve_ready(&mut self) -> bool {
        let feed = &self.replication.feed;
        if feed.is_on() && feed.lane(self.env.me).is_full() {
            // The merger must catch up first.
            return false;
        }
        let is_behind = self.partition.is_behind_disk() || self.partition.is_leaving();
        if is_behind || self.env.process.pubsub.is_full() || self.port.mesh().has_told_enough() {
            return false;
        }
        let found = !self.queues.ready.is_empty();
        let began_ns = self.env.now.monotonic_ns;
        let mut until_ns = began_ns;
        for _ in 0..self.queues.ready.len() {
            let Some(conn) = self.queues.ready.pop_front() else { break };
            // A number may be listed twice if it was given to another connection meanwhile.
            if let Some(connection) = self.connections.get_mut(conn)
                && std::mem::take(&mut connection.is_queued)
                && connection.stalled_on.is_none()
            {
                self.serve(conn);
            }
            until_ns = self.partition.env().ran_until_ns(until_ns);
            if until_ns - began_ns > SERVE_NS_MAX {
                break;
            }
        }
        found
    }

    fn finish(&mut self, found: bool) {
        if found {
            self.cron.polling.worked();
        }
        self.cron.is_idle = !found;
        let has_ticked = self.cron.take_ticked();
        self.cron.ended_ns = None;
        if !found && !has_ticked {
            return;
        }
        let ended_ns = self.env.clock_ns();
        let ns = ended_ns - self.env.now.monotonic_ns;
        self.cron.ended_ns = Some(ended_ns);
        let board = &self.env.board;
        board.counters.cycles.add(1);
        board.counters.cycle_ns_sum.add(ns);
        if found {
            board.counters.turns.add(1);
            let commands = self.cron.count_commands(board.counters.commands_processed.get());
            let generation = self.env.process.boards.generation();
            board.turn_commands.see(commands, generation);
            board.turn_ns.see(ns, generation);
        }
    }
}
