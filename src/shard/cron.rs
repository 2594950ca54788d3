//! Periodic work of a shard: for its partition, its connections, its board.

use super::limits::*;
use super::state::Shard;
use crate::base::alloc;
use crate::io::{Completion, ConnId, Wait};
use std::sync::atomic::Ordering;

impl Shard {
    /// Runs the periodic work if the next tick has come.
    pub(super) fn tick(&mut self) {
        if self.env.now.monotonic_ns < self.cron.next_ns {
            if self.partition.has_removed() && !self.cron.is_freeing {
                self.free_removed();
            }
            return;
        }
        if self.env.process.is_cron_paused.load(Ordering::Relaxed) {
            self.publish();
            self.cron.next_ns = self.env.now.monotonic_ns + TICK_NS;
            return;
        }
        let began_ns = self.env.clock_ns();
        let has_more = self.partition.housekeep(began_ns + HOUSEKEEP_NS_MAX);
        let expire_ns = self.env.clock_ns() - began_ns;
        self.env.board.counters.expire_ns_sum.add(expire_ns);
        self.reporter().event("expire-cycle", expire_ns);
        self.check_connections();
        self.heed_slots();
        self.tick_links();
        self.heed_signals();
        self.heed_save_points();
        self.heed_rewrites();
        self.settle_settings();
        alloc::flush_local();
        if self.cron.begin_round(self.env.now.monotonic_ns) {
            alloc::collect();
            self.batch.shrink();
            self.partition.begin_compaction();
            self.partition.sample_ttls();
            self.partition.tidy_scripts();
            if self.env.me == 0 {
                // Bytes that became durable after the last write are not needed any more.
                self.refresh_facts();
            }
        }
        if self.env.me == 0 {
            self.note_uncounted();
            self.heed_holes();
            self.check_tls_files();
        }
        self.publish();
        if self.env.me == 0 {
            self.env.process.boards.sample_rates(self.env.now.monotonic_ns);
        }
        if !self.cron.has_started && self.intake.keys.is_none() {
            alloc::flush_local();
            self.env.process.memory.note_start(alloc::used_bytes());
        }
        (self.cron.has_started, self.cron.has_ticked) = (true, true);
        self.env.board.counters.tick_ns_sum.add(self.env.clock_ns() - began_ns);
        self.cron.is_freeing = has_more;
        let pause_ns = match has_more || !self.barriers.is_empty() {
            true if has_more && self.cron.is_idle => TICK_IDLE_NS,
            true => TICK_BUSY_NS,
            false => TICK_NS,
        };
        self.cron.next_ns = self.env.now.monotonic_ns + pause_ns;
    }

    /// Frees what the commands of this turn have removed, before their replies are sent: clients
    /// then see the memory of small databases and values free. Ticks free what is left.
    #[cold]
    fn free_removed(&mut self) {
        let began_ns = self.env.clock_ns();
        self.cron.is_freeing = self.partition.free_removed(began_ns + FREE_NS_MAX);
        let ended_ns = self.env.clock_ns();
        self.env.board.counters.expire_ns_sum.add(ended_ns - began_ns);
        if self.cron.is_freeing {
            self.cron.next_ns = self.cron.next_ns.min(ended_ns + TICK_BUSY_NS);
        }
    }

    /// Updates the board from the partition and the connections.
    pub(super) fn publish(&mut self) {
        self.publish_clients();
        let waiting = self.blocking.deadlines.len();
        self.env.board.gauges.clients_in_timeout.set(waiting as i64);
        self.partition.publish();
    }

    /// Closes all connections. Replies are still sent, for a bounded time.
    pub(super) fn stop(&mut self) {
        if self.env.me == 0 {
            // A client that sees its connection end finds nobody who accepts another.
            let numbers = self.env.process.listeners.numbers();
            numbers.into_iter().for_each(|number| self.driver.unlisten(number));
        }
        self.drop_files();
        self.flush(false);
        let stop_ms = self.env.process.clock.unix_ms() + STOP_FLUSH_MS_MAX;
        let all: Vec<ConnId> = self.connections.iter().map(|(conn, _)| conn).collect();
        for conn in all {
            self.close(conn);
        }
        while self.connections.len() > 0 && self.env.process.clock.unix_ms() < stop_ms {
            if self.driver.wait(Wait::AtMost(1_000_000)).is_err() {
                return;
            }
            while let Some(completion) = self.driver.next() {
                match completion {
                    Completion::Closed(conn) => self.closed(conn),
                    Completion::Received { buffer, .. } => self.driver.release(buffer),
                    _ => {}
                }
            }
        }
    }
}
