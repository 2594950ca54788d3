//! Requests of session commands: to this shard, or to all shards.

use super::connections::listing::list_filter;
use super::state::Shard;
use crate::base::alloc;
use crate::client::describe;
use crate::exec::{ClientFilter, LoadStep, Merge, Request, Shutdown};
use crate::io::ConnId;
use crate::mesh::{ClientRef, Envelope, Work};
use crate::pubsub::Sort;
use crate::resp::{Error, Output, Reply};

impl Shard {
    /// Carries out a request of a connection's command, and writes the reply unless the request has
    /// written it.
    pub(super) fn carry_out(&mut self, conn: ConnId, request: Request) {
        if matches!(request, Request::Shutdown { .. }) {
            self.log_shutdown(conn);
        }
        match request {
            Request::Exec => self.exec(conn),
            Request::Monitor => self.begin_monitor(conn),
            Request::Watch(keys) => self.watch(conn, keys),
            Request::Discard => {
                let connection = self.connections.get_mut(conn).expect("connection is open");
                connection.queue = None;
                self.unwatch(conn);
            }
            Request::Unwatch => self.unwatch(conn),
            Request::Subscribe(sort, names) => {
                let replies = self.subscribe(conn, sort, &names);
                self.confirm(conn, &replies);
            }
            Request::Unsubscribe(sort, names) => {
                let replies = self.unsubscribe(conn, sort, names, false);
                self.confirm(conn, &replies);
            }
            Request::Reset => self.reset(conn),
            Request::Tracking => self.note_tracking(conn),
            Request::Sync(from) => self.attach_replica(conn, from),
            Request::Wait { wish, timeout_ms } => self.wait_for_acks(conn, wish, timeout_ms),
            Request::Pause => self.pause(conn),
            Request::Save => self.save(conn),
            Request::Reload(reload) => self.reload(conn, reload),
            Request::LoadAof => self.load_aof(conn),
            Request::Shutdown { saves, is_forced } => {
                self.stop_in_order(Some(conn), (Shutdown::Command, saves, is_forced));
            }
            _ => match self.request_merge(&request) {
                Some(merge) => self.post_request(conn, &request, merge),
                None => {
                    let mut output = Output::default();
                    self.carry_out_here(conn, &request, &mut output, false);
                    let connection = self.connections.get_mut(conn).expect("connection is open");
                    let all = 0..output.mark().offset();
                    connection.outbox.output.append_range(&output, all);
                }
            },
        }
    }

    /// Returns how the replies of all shards to a request are merged; none if the request is not
    /// sent to all shards.
    pub(super) fn request_merge(&self, request: &Request) -> Option<Merge> {
        match request {
            Request::ClientKillAddress(_) => Some(Merge::Killed),
            Request::ClientKill(_) | Request::ClientUnblock { .. } => Some(Merge::Sum),
            Request::UsersChanged { deleted } if *deleted > 0 => Some(Merge::Sum),
            Request::ClientList(_) => Some(Merge::Lines),
            Request::Debug(ask) => Some(ask.merge()),
            Request::DebugSleep(_)
            | Request::ActiveExpire(_)
            | Request::LogTable
            | Request::PurgeMemory
            | Request::Pause
            | Request::Unpause
            | Request::UsersChanged { .. }
            | Request::SettingsChanged(_) => Some(Merge::Ok),
            _ => None,
        }
    }

    /// Carries out a request that needs no other shard, for a command of a transaction if
    /// `is_in_exec`.
    pub(super) fn carry_out_here(
        &mut self,
        conn: ConnId,
        request: &Request,
        output: &mut Output,
        is_in_exec: bool,
    ) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let protocol = connection.session.protocol;
        match request {
            Request::ClientInfo => {
                let mut line = Vec::new();
                let now_ms = self.env.now.monotonic_ms();
                describe(connection, self.env.process.commands, now_ms, &mut line);
                line.push(b'\n');
                Reply::new(output, protocol).verbatim("txt", &line);
            }
            Request::Shutdown { .. } => {
                self.env.process.stop(Shutdown::Command);
                self.port.mesh().ring_all();
            }
            Request::ResetStatistics => {
                // A reset stores a baseline that readers subtract, so no other shard takes part.
                self.env.process.boards.reset();
                self.env.process.persistence().saves = 0;
                self.env.process.room.reset();
                self.env.process.scripts.reset_evicted();
                Reply::new(output, protocol).ok();
            }
            Request::BackgroundSave(wish) => {
                self.background_save(*wish, is_in_exec, (output, protocol));
            }
            Request::RewriteAof => self.rewrite_aof(is_in_exec, (output, protocol)),
            Request::Save | Request::Reload(_) | Request::LoadAof => {
                let why =
                    "ERR SAVE, DEBUG RELOAD and DEBUG LOADAOF are not allowed inside a transaction";
                Reply::new(output, protocol).error(&Error::other(why));
            }
            Request::Monitor => {
                let why = "ERR MONITOR isn't allowed for DENY BLOCKING client";
                Reply::new(output, protocol).error(&Error::other(why));
            }
            // No command waits inside a transaction.
            Request::Wait { wish, .. } => {
                self.acked_so_far(*wish).reply(&mut Reply::new(output, protocol));
            }
            // EXEC has already removed the watches.
            Request::Unwatch => {}
            Request::Subscribe(Sort::ShardChannel, _) => {
                let why = "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client";
                Reply::new(output, protocol).error(&Error::other(why));
            }
            Request::Subscribe(sort, names) => {
                let replies = self.subscribe(conn, *sort, names);
                output.append_range(&replies, 0..replies.mark().offset());
            }
            Request::Unsubscribe(sort, names) => {
                let replies = self.unsubscribe(conn, *sort, names.clone(), true);
                output.append_range(&replies, 0..replies.mark().offset());
            }
            Request::Tracking => self.note_tracking(conn),
            _ => unreachable!("{request:?} is not for this shard alone"),
        }
    }

    /// Replies to a request to all shards that needs the shard itself.
    pub(super) fn answer_request(&mut self, mut part: Box<Envelope>) {
        let Work::Control { request, at } = std::mem::replace(&mut part.work, Work::Batch) else {
            unreachable!("checked before");
        };
        let request = match list_filter(request) {
            Ok(filter) => return self.begin_list(part, at, filter),
            Err(Request::FeedOff) => return self.end_propagation(part),
            Err(other) => other,
        };
        let started_ns = self.env.clock_ns();
        self.write_answer(&request, &mut part);
        let ns = self.env.clock_ns() - started_ns;
        self.send_answer(part, at, ns);
    }

    /// Sends the reply to the request of the command at an index, which took `ns` nanoseconds.
    pub(super) fn send_answer(&mut self, mut part: Box<Envelope>, at: u32, ns: u64) {
        if part.reply_to.client().is_some() {
            part.spent.push((at, ns));
        }
        self.partition.serve_blocked_behind();
        self.send_outgoing();
        part.sent = self.partition.moment();
        if let Some(own) = self.port.answer(part) {
            self.land(own);
        }
    }

    /// Writes the reply to a request into an envelope.
    fn write_answer(&mut self, request: &Request, part: &mut Envelope) {
        let mut ended = 0;
        match request {
            Request::ClientKill(filter) | Request::ClientKillAddress(filter) => {
                let home = usize::from(part.home);
                let asker = part.reply_to.client().filter(|_| home == self.env.me);
                ended = self.kill(filter, asker);
            }
            Request::UsersChanged { deleted } => {
                let is_home = usize::from(part.home) == self.env.me;
                let asker = part.reply_to.client().filter(|_| is_home);
                self.refresh_users(asker);
                ended = if is_home { *deleted as i64 } else { 0 };
            }
            Request::ClientUnblock { client, is_error } => {
                ended = self.unblock(*client, *is_error);
            }
            Request::DebugSleep(us) => self.env.process.clock.sleep_us(*us),
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
            Request::HoldSlots => {
                self.note_moving(true);
                part.body = self.move_hindrance();
            }
            Request::ServeSlots => self.note_moving(false),
            Request::LoadStep(LoadStep::Refuse) => self.refuse_commands(),
            Request::LoadStep(LoadStep::Serve) => {
                if self.is_loading() {
                    self.end_loading();
                }
            }
            Request::Stay => {
                self.partition.stay();
                self.send_outgoing();
            }
            _ => unreachable!("{request:?} is only for the home"),
        }
        let mut reply = Reply::new(&mut part.output, part.protocol);
        match request {
            Request::ClientKill(_)
            | Request::ClientKillAddress(_)
            | Request::ClientUnblock { .. } => reply.integer(ended),
            Request::UsersChanged { deleted } if *deleted > 0 => reply.integer(ended),
            _ => reply.ok(),
        }
        part.ends.push(part.output.mark());
    }

    /// Closes the connections that pass the filter and returns their number. The asking connection
    /// first gets its reply.
    fn kill(&mut self, filter: &ClientFilter, asker: Option<ClientRef>) -> i64 {
        let now_ms = self.env.now.monotonic_ms();
        let passing = self.connections.iter().filter(|(_, connection)| {
            !connection.is_closing && filter.passes(&connection.session, now_ms)
        });
        let doomed: Vec<ConnId> = passing.map(|(conn, _)| conn).collect();
        for &conn in &doomed {
            let connection = self.connections.get_mut(conn).expect("seen above");
            let client = ClientRef { conn, generation: connection.generation };
            if asker == Some(client) {
                connection.session.close_after_reply = true;
            } else {
                self.close(conn);
            }
        }
        doomed.len() as i64
    }
}
