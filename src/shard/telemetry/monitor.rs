//! MONITOR: shows the commands of this shard's clients to all monitors, and serves this shard's
//! monitors.
//!
//! The home shard of a client shows each of its commands once. Commands on keys are shown before
//! they run, and session commands afterwards. Commands of a transaction are shown when EXEC runs
//! them, followed by EXEC.

use crate::commands::is_secret;
use crate::config::quote;
use crate::exec::{BatchArgs, Item, Session};
use crate::io::ConnId;
use crate::observe::{Lines, MONITOR_BYTES_MAX, Monitor, REDACTED};
use crate::resp::{Args, Reply};
use crate::shard::state::Shard;
use crate::spec::Flag;
use crate::txn::Queue;

/// Writes the beginning of a line: time, database and address.
fn write_head((db, session): (usize, &Session), unix_us: u64, lines: &mut Vec<u8>) {
    let (seconds, us) = (unix_us / 1_000_000, unix_us % 1_000_000);
    let kind = if session.is_unix { "unix:" } else { "" };
    let address = &session.address;
    lines.extend_from_slice(format!("+{seconds}.{us:06} [{db} {kind}{address}]").as_bytes());
}

/// Writes the line that shows a command, unless the command is never shown.
fn write_line(
    item: &Item,
    args: &Args<'_>,
    (db, session): (usize, &Session),
    unix_us: u64,
    lines: &mut Vec<u8>,
) {
    let flags = item.entry.command.card.flags;
    // A script is shown before its commands.
    let is_skipped = flags.has(Flag::SKIP_MONITOR) && !item.entry.command.runs_commands;
    if flags.has(Flag::ADMIN) || is_skipped {
        return;
    }
    write_head((db, session), unix_us, lines);
    let arg = |at: usize| &args[at];
    for at in 0..args.len() {
        lines.push(b' ');
        let is_hidden = is_secret(item.entry, args.len(), &arg, at);
        quote(if is_hidden { REDACTED } else { &args[at] }, lines);
    }
    lines.extend_from_slice(b"\r\n");
}

impl Shard {
    /// Makes the connection a monitor. Replies nothing if it already is one, or is a replica.
    pub(in crate::shard) fn begin_monitor(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        if connection.session.is_monitor || connection.link.is_some() {
            return;
        }
        Reply::new(&mut connection.outbox.output, connection.session.protocol).ok();
        connection.session.is_monitor = true;
        let client = connection.session.id;
        self.telemetry.monitors.push((conn, Monitor { home: self.env.me, client }));
        self.env.process.monitors.add(Monitor { home: self.env.me, client });
    }

    /// Gives this shard's monitors their waiting lines, and removes monitors that have ended.
    pub(in crate::shard) fn serve_monitors(&mut self) {
        for at in (0..self.telemetry.monitors.len()).rev() {
            let (conn, monitor) = self.telemetry.monitors[at];
            let connection = self.connections.get_mut(conn).filter(|connection| {
                let is_it = connection.session.id == monitor.client;
                is_it && connection.session.is_monitor && !connection.is_closing
            });
            let Some(connection) = connection else {
                self.env.process.monitors.remove(monitor);
                self.telemetry.monitors.swap_remove(at);
                continue;
            };
            // The limits of its class count all its lines. Without limits this one applies.
            if connection.outbox.pending_bytes() > MONITOR_BYTES_MAX {
                self.close_slow_monitor(conn);
                continue;
            }
            match self.env.process.monitors.take(monitor) {
                Lines::Next(lines) if lines.is_empty() => {}
                Lines::Next(lines) => {
                    connection.outbox.output.append_raw(&lines);
                    self.make_dirty(conn);
                    self.check_output(conn);
                }
                Lines::Lost => self.close_slow_monitor(conn),
            }
        }
    }

    fn close_slow_monitor(&mut self, conn: ConnId) {
        self.env.board.counters.output_limit_disconnections.add(1);
        self.close_for(conn, "it reads its MONITOR lines too slowly");
    }

    /// Shows the commands at the head of the connection's input to all monitors.
    #[cold]
    pub(in crate::shard) fn show_batch(&mut self, conn: ConnId, alone: Option<Item>) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let (text, large) = connection.input.parts();
        let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
        let (session, items) = (&connection.session, &self.batch.items);
        let write = |us: u64, lines: &mut Vec<u8>| {
            for item in items.iter().chain(&alone) {
                write_line(item, &batch_args.of(item), (session.db, session), us, lines);
            }
        };
        let mesh = self.port.mesh();
        let now_us = self.env.process.clock.unix_us();
        self.env.process.monitors.show(now_us, write, |home| mesh.ring_bell(home));
    }

    /// Shows the commands of a transaction, if it runs, and then EXEC.
    pub(in crate::shard) fn show_exec(&mut self, conn: ConnId, queue: Option<&mut Queue>) {
        if !self.env.process.monitors.is_on() {
            return;
        }
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let session = &connection.session;
        let write = |us: u64, lines: &mut Vec<u8>| {
            if let Some(queue) = queue {
                let (items, mut batch_args) = queue.parts();
                for item in items.iter() {
                    write_line(item, &batch_args.of(item), (session.db, session), us, lines);
                }
            }
            write_head((session.db, session), us, lines);
            lines.extend_from_slice(b" \"exec\"\r\n");
        };
        let mesh = self.port.mesh();
        let now_us = self.env.process.clock.unix_us();
        self.env.process.monitors.show(now_us, write, |home| mesh.ring_bell(home));
    }
}
