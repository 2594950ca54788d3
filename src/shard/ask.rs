//! What commands ask of the shard itself: of this one, or of all.

use super::Shard;
use crate::client::describe;
use crate::exec::{ClientFilter, Merge, Request, Shutdown};
use crate::io::ConnId;
use crate::mesh::Envelope;
use crate::resp::Reply;

impl Shard {
    /// Carries out a request of a connection's command; the reply comes from here.
    pub(super) fn ask(&mut self, conn: ConnId, request: Request) {
        match request {
            Request::ClientInfo => {
                let connection = self.connections.get_mut(conn).expect("it is being served");
                let mut line = Vec::new();
                let now_ms = self.now.monotonic_ms();
                describe(connection, self.process.commands, now_ms, &mut line);
                line.push(b'\n');
                let protocol = connection.session.protocol;
                Reply::new(&mut connection.outbox.output, protocol).verbatim("txt", &line);
            }
            Request::Shutdown => {
                self.process.stop(Shutdown::Command);
                self.port.mesh().ring_all();
            }
            Request::ClientKillAddress(_) => self.post_ask(conn, &request, Merge::Killed),
            Request::ClientKill(_) => self.post_ask(conn, &request, Merge::Sum),
            Request::ClientList(_) => self.post_ask(conn, &request, Merge::Text),
            Request::ResetStatistics => {
                // A reset is a baseline that readers subtract: no shard takes part.
                self.process.boards.reset();
                let connection = self.connections.get_mut(conn).expect("it is being served");
                let protocol = connection.session.protocol;
                Reply::new(&mut connection.outbox.output, protocol).ok();
            }
            Request::DebugSleep(_)
            | Request::ActiveExpire(_)
            | Request::LogTable
            | Request::SettingsChanged => self.post_ask(conn, &request, Merge::Ok),
        }
    }

    /// Answers, as one of all shards, what a command asked of them.
    pub(super) fn answer_ask(&mut self, request: &Request, part: &mut Envelope) {
        let mut killed = 0;
        let mut text = Vec::new();
        match request {
            Request::ClientList(filter) => self.list(filter, &mut text),
            Request::ClientKill(filter) | Request::ClientKillAddress(filter) => {
                killed = self.kill(filter, part);
            }
            Request::DebugSleep(us) => self.process.clock.sleep_us(*us),
            Request::ActiveExpire(on) => self.slice.set_active_expiry(*on),
            Request::LogTable => self.log_table(),
            Request::SettingsChanged => self.refresh_settings(),
            Request::ClientInfo | Request::ResetStatistics | Request::Shutdown => {
                unreachable!("asked of the home only")
            }
        }
        let mut reply = Reply::new(&mut part.output, part.protocol);
        match request {
            Request::ClientList(_) => reply.bulk(&text),
            Request::ClientKill(_) | Request::ClientKillAddress(_) => reply.integer(killed),
            _ => reply.ok(),
        }
        part.ends.push(part.output.mark());
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
