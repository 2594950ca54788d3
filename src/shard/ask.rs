//! What commands ask of the shard itself: of this one, or of all.

use super::Shard;
use super::replicas::NO_CONNECTION;
use crate::base::alloc;
use crate::client::describe;
use crate::commands::answer_debug;
use crate::exec::{ClientFilter, Merge, Request, Shutdown};
use crate::gate::Facts;
use crate::io::ConnId;
use crate::keyspace::{ExpiryRole, Frequency};
use crate::mesh::Envelope;
use crate::resp::{Error, Output, Reply};
use bytes::Bytes;

impl Shard {
    /// Carries out a request of a connection's command; the reply comes from here, unless the
    /// request says otherwise.
    pub(super) fn ask(&mut self, conn: ConnId, request: Request) {
        match request {
            Request::Exec => self.exec(conn),
            Request::Monitor => self.begin_monitor(conn),
            Request::Watch(keys) => self.watch(conn, keys),
            Request::Discard => {
                let connection = self.connections.get_mut(conn).expect("it is being served");
                connection.queue = None;
                self.unwatch(conn);
            }
            Request::Unwatch => self.unwatch(conn),
            Request::Sync(from) => self.attach_replica(conn, from),
            Request::Wait { replicas, timeout_ms } => {
                self.wait_for_acks(conn, replicas, timeout_ms);
            }
            Request::Pause => self.pause(conn),
            Request::Save => self.save(conn),
            Request::Reload(reload) => self.reload(conn, reload),
            Request::Shutdown { saves: true, is_forced } => {
                self.stop_saved(Some(conn), Shutdown::Command, is_forced);
            }
            _ => match self.ask_merge(&request) {
                Some(merge) => self.post_ask(conn, &request, merge),
                None => {
                    let mut output = Output::default();
                    self.ask_here(conn, &request, &mut output);
                    let connection = self.connections.get_mut(conn).expect("it is being served");
                    let all = 0..output.mark().offset();
                    connection.outbox.output.append_range(&output, all);
                }
            },
        }
    }

    /// How the answers of all shards to a request become one; none if it is not asked of them.
    pub(super) fn ask_merge(&self, request: &Request) -> Option<Merge> {
        match request {
            Request::ClientKillAddress(_) => Some(Merge::Killed),
            Request::ClientKill(_) | Request::ClientUnblock { .. } => Some(Merge::Sum),
            Request::ClientList(_) => Some(Merge::Text),
            Request::Debug(ask) => Some(ask.merge()),
            Request::DebugSleep(_)
            | Request::ActiveExpire(_)
            | Request::LogTable
            | Request::PurgeMemory
            | Request::Pause
            | Request::Unpause
            | Request::SettingsChanged(_) => Some(Merge::Ok),
            _ => None,
        }
    }

    /// Carries out a request that needs no other shard.
    pub(super) fn ask_here(&mut self, conn: ConnId, request: &Request, output: &mut Output) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let protocol = connection.session.protocol;
        match request {
            Request::ClientInfo => {
                let mut line = Vec::new();
                let now_ms = self.now.monotonic_ms();
                describe(connection, self.process.commands, now_ms, &mut line);
                line.push(b'\n');
                Reply::new(output, protocol).verbatim("txt", &line);
            }
            Request::Shutdown { .. } => {
                self.process.stop(Shutdown::Command);
                self.port.mesh().ring_all();
            }
            Request::ResetStatistics => {
                // A reset is a baseline that readers subtract: no shard takes part.
                self.process.boards.reset();
                Reply::new(output, protocol).ok();
            }
            Request::Save | Request::Reload(_) => {
                let why = "ERR the file is neither written nor loaded inside a transaction";
                Reply::new(output, protocol).error(&Error::other(why));
            }
            Request::Monitor => {
                let why = "ERR MONITOR isn't allowed for DENY BLOCKING client";
                Reply::new(output, protocol).error(&Error::other(why));
            }
            // Nothing waits inside a transaction.
            Request::Wait { .. } => {
                let acked = self.process.replication().acked(self.feed.end_offset());
                Reply::new(output, protocol).integer(acked as i64);
            }
            // Inside a transaction the watches are gone already.
            Request::Unwatch => {}
            _ => unreachable!("{request:?} is not for this shard alone"),
        }
    }

    /// The same, with a look at how long it takes.
    pub(super) fn answer_timed(&mut self, request: &Request, part: &mut Envelope) {
        let started_ns = self.process.clock.monotonic_ns();
        self.answer_ask(request, part);
        let ns = self.process.clock.monotonic_ns() - started_ns;
        if part.connection != NO_CONNECTION {
            let at = part.hold.as_ref().map_or(0, |hold| hold.fetch_at);
            part.spent.push((at, ns));
        }
    }

    /// Answers, as one of all shards, what a command asked of them.
    fn answer_ask(&mut self, request: &Request, part: &mut Envelope) {
        let mut ended = 0;
        let mut text = Vec::new();
        match request {
            Request::ClientList(filter) => self.list(filter, &mut text),
            Request::ClientKill(filter) | Request::ClientKillAddress(filter) => {
                ended = self.kill(filter, part);
            }
            Request::ClientUnblock { client, is_error } => {
                ended = self.unblock(*client, *is_error);
            }
            Request::DebugSleep(us) => self.process.clock.sleep_us(*us),
            Request::ActiveExpire(on) => self.slice.set_active_expiry(*on),
            Request::LogTable => self.log_table(),
            Request::PurgeMemory => alloc::purge(),
            Request::SettingsChanged(follow_up) => {
                self.refresh_settings();
                if follow_up.shards_settle {
                    self.settle_settings();
                    self.check_clients_memory();
                }
                if follow_up.listeners_change {
                    self.change_listeners();
                }
            }
            Request::Pause | Request::Unpause => self.note_pause(),
            Request::FeedOn | Request::Passed => {}
            Request::FeedOff => {
                self.journal.set_on(false);
                self.slice.note_expired(false);
                self.publish_feed();
                let is_empty = self.journal.is_empty();
                part.body = (!is_empty).then(|| Bytes::from_static(b"1"));
            }
            Request::Snapshot(_) => {
                part.body = Some(self.share());
            }
            Request::Cut { is_last } => self.cut(part, *is_last),
            Request::Stay => self.stay(),
            Request::Reload(reload) => self.reload_here(part, *reload),
            Request::Mark(id) => {
                let stamp = self.journal.clock.arrived(part.sent.stamp);
                self.write_mark(stamp, part, *id);
            }
            Request::WatchHere { client, db, keys } => self.watch_here(*client, *db, keys),
            Request::UnwatchHere(client) => self.unwatch_here(*client),
            Request::Debug(ask) => {
                let mut reply = Reply::new(&mut part.output, part.protocol);
                answer_debug(ask, &mut self.slice, &self.config, &mut reply);
                part.ends.push(part.output.mark());
                return self.publish();
            }
            _ => unreachable!("{request:?} is asked of the home only"),
        }
        let mut reply = Reply::new(&mut part.output, part.protocol);
        match request {
            Request::ClientList(_) => reply.bulk(&text),
            Request::ClientKill(_)
            | Request::ClientKillAddress(_)
            | Request::ClientUnblock { .. } => reply.integer(ended),
            _ => reply.ok(),
        }
        part.ends.push(part.output.mark());
    }

    /// How the settings want uses of keys to be counted; none: they do not.
    pub(super) fn frequency(&self) -> Option<Frequency> {
        let frequency = Frequency {
            log_factor: self.config.lfu_log_factor,
            decay_minutes: self.config.lfu_decay_time,
        };
        self.config.maxmemory_policy.counts_uses().then_some(frequency)
    }

    /// What follows from settings for the slice and for the gates.
    pub(super) fn settle_settings(&mut self) {
        // The source of an import is who removes due keys; in a pause nobody does.
        let keeps_due = self.config.import_mode || self.facts.has(Facts::PAUSED_WRITES);
        let role = if keeps_due { ExpiryRole::Replica } else { ExpiryRole::Primary };
        let is_loading = self.files.intake.is_some();
        self.slice.set_role(if is_loading { ExpiryRole::Loading } else { role });
        self.slice.set_frequency(self.frequency());
        let (wanted, lag_max_s) =
            (self.config.min_replicas_to_write, self.config.min_replicas_max_lag);
        let are_few = wanted > 0 && lag_max_s > 0 && {
            let now_s = self.now.unix_ms() / 1_000;
            let good = self.process.replication().good_replicas(now_s, u64::from(lag_max_s));
            (good as u64) < u64::from(wanted)
        };
        self.facts.set(Facts::FEW_REPLICAS, are_few);
        self.settle_limits();
    }

    fn list(&self, filter: &ClientFilter, text: &mut Vec<u8>) {
        let now_ms = self.now.monotonic_ms();
        for (_, connection) in self.connections.iter() {
            if !connection.is_closing && filter.passes(&connection.session, now_ms) {
                describe(connection, self.process.commands, now_ms, text);
                text.push(b'\n');
            }
        }
    }

    /// Ends the connections that pass; the one that asks gets its reply first.
    fn kill(&mut self, filter: &ClientFilter, part: &Envelope) -> i64 {
        let now_ms = self.now.monotonic_ms();
        let passing = self.connections.iter().filter(|(_, connection)| {
            !connection.is_closing && filter.passes(&connection.session, now_ms)
        });
        let doomed: Vec<ConnId> = passing.map(|(conn, _)| conn).collect();
        for &conn in &doomed {
            let connection = self.connections.get_mut(conn).expect("it was just seen");
            let asks = usize::from(part.home) == self.me
                && part.connection == conn
                && part.generation == connection.generation;
            if asks {
                connection.session.close_after_reply = true;
            } else {
                self.close(conn);
            }
        }
        doomed.len() as i64
    }

    fn log_table(&self) {
        for db in 0..self.config.databases as usize {
            if self.slice.len(db) > 0 {
                let info = self.slice.table_info(db);
                self.process.log.notice(&format!("Shard {} db {db}: {info:?}", self.me));
            }
        }
    }
}
