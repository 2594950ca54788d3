//! Connections that use TLS: their handshakes in bounded steps, the records that arrive, and the
//! users that certificates name.
//!
//! ```text
//!   bytes --received_records--> handshake: a step is due --continue_handshakes--> established
//!                          '--> established: the plaintext is input
//! ```

use crate::acl::{DenialContext, LogKey, Reason, Refused};
use crate::config::TlsClientUser;
use crate::exec::{Process, count_denial};
use crate::io::{BufferId, ConnId};
use crate::net::tls::{Progress, Reload, TlsError};
use crate::observe::Level;
use crate::shard::limits::{HANDSHAKES_NS_MAX, HANDSHAKES_REST_NS};
use crate::shard::state::Shard;
use std::io;
use std::sync::Arc;

impl Shard {
    /// Takes received records, and returns the receive buffer to the driver.
    pub(in crate::shard) fn received_records(&mut self, conn: ConnId, buffer: BufferId, len: u32) {
        let connection = self.connections.get_mut(conn).expect("checked by the caller");
        let tls = connection.stream.tls().filter(|_| !connection.is_closing);
        let progress =
            tls.map(|tls| tls.receive(self.driver.bytes(buffer, len), &mut connection.input));
        self.driver.release(buffer);
        match progress {
            // It is closing.
            None => {}
            Some(None) => self.schedule_handshake(conn),
            Some(Some(progress)) => self.progressed(conn, progress),
        }
    }

    /// Has the next step of a handshake made.
    fn schedule_handshake(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(tls) = connection.stream.tls() else { return };
        let is_full = tls.is_full();
        if !std::mem::replace(&mut tls.is_scheduled, true) {
            self.clients.handshakes.push_back((conn, connection.generation));
        }
        if is_full && connection.is_receiving {
            connection.is_receiving = false;
            self.driver.receive(conn, false);
        }
    }

    /// Returns whether steps of handshakes are due now. `is_busy` says whether the turn has found
    /// other work, so that they should not be made in each turn.
    #[inline]
    pub(in crate::shard) fn may_shake_hands(&self, is_busy: bool) -> bool {
        let due_ns = self.clients.handshaken_ns + HANDSHAKES_REST_NS;
        !self.clients.handshakes.is_empty() && (!is_busy || self.env.now.monotonic_ns >= due_ns)
    }

    /// Makes due steps of handshakes, for a limited time. Begins at most as many handshakes as
    /// `max-new-tls-connections-per-cycle` says. Returns whether it has made any step.
    #[cold]
    pub(in crate::shard) fn continue_handshakes(&mut self) -> bool {
        let mut now_ns = self.env.clock_ns();
        let until_ns = now_ns + HANDSHAKES_NS_MAX;
        let mut begins_left = self.env.config.max_new_tls_connections_per_cycle;
        let mut found = false;
        while let Some(&(conn, generation)) = self.clients.handshakes.front() {
            let connection = self.connections.get_same(conn, generation);
            let tls = connection.filter(|it| !it.is_closing).and_then(|it| it.stream.tls());
            if let Some(tls) = &tls
                && tls.is_new()
            {
                if begins_left == 0 {
                    break;
                }
                begins_left -= 1;
            }
            if let Some(tls) = tls {
                tls.is_scheduled = false;
                self.step_handshake(conn);
                found = true;
            }
            self.clients.handshakes.pop_front();
            now_ns = self.env.clock_ns();
            if now_ns >= until_ns {
                break;
            }
        }
        self.clients.handshaken_ns = now_ns;
        found
    }

    /// Continues a handshake with the bytes that have arrived.
    fn step_handshake(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(tls) = connection.stream.tls() else { return };
        let progress = tls.step(&mut connection.input);
        if progress.is_ok() && !tls.is_handshaking() {
            self.established(conn);
        }
        self.resume_receiving(conn);
        self.progressed(conn, progress);
        self.make_dirty(conn);
        // The peer has hung up while the step was due.
        if let Some(connection) = self.connections.get_mut(conn)
            && connection.is_hung_up
            && !connection.is_closing
        {
            self.hung_up(conn, None);
        }
    }

    /// Handles what received records have brought.
    fn progressed(&mut self, conn: ConnId, progress: Result<Progress, TlsError>) {
        let Progress { plain_bytes, records, has_ended } = match progress {
            Ok(progress) => progress,
            Err(TlsError(why)) => return self.fail_handshake(conn, &why),
        };
        self.clients.records = self.clients.records.saturating_add(records);
        if plain_bytes > 0 {
            self.took_input(conn, plain_bytes as u64);
        }
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.stream.tls().is_some_and(|tls| tls.has_own_output()) {
            self.make_dirty(conn);
        }
        if has_ended {
            self.hung_up(conn, None);
        }
    }

    /// Handles the hang-up of a peer whose handshake is not complete.
    #[cold]
    pub(super) fn hung_up_early(&mut self, conn: ConnId, error: Option<io::Error>) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let is_due = connection.stream.tls().is_some_and(|tls| tls.is_scheduled);
        match error {
            // The bytes that wait may complete the handshake.
            None if is_due => {}
            None => self.fail_handshake(conn, "the peer has closed the connection"),
            Some(error) => self.fail_handshake(conn, &error.to_string()),
        }
    }

    /// Logs why a connection cannot continue with TLS, and closes it.
    #[cold]
    pub(super) fn fail_handshake(&mut self, conn: ConnId, why: &str) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.stream.tls().is_some_and(|tls| tls.is_established()) {
            return self.close_for(conn, why);
        }
        let session = &connection.session;
        let (address, local) = (&session.address, &session.local_address);
        let line =
            format!("Error accepting a client connection: {why} (addr={address} laddr={local})");
        self.log_limited_at(Level::Warning, &line);
        self.close(conn);
    }

    /// Sends the last bytes of a connection that closes.
    pub(super) fn bid_farewell(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if let Some(chunk) = connection.stream.farewell()
            && let Some((chunk, _)) = self.driver.send(conn, chunk)
        {
            // If the peer does not take it, there is nobody to tell.
            connection.sent(chunk);
        }
    }

    /// Makes the client of a completed handshake the user that its certificate names.
    fn established(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let by = self.env.config.tls_auth_clients_user;
        if by == TlsClientUser::Off || connection.session.close_after_reply {
            return;
        }
        let Some(peer) = connection.stream.tls().and_then(|tls| tls.peer()) else { return };
        let names = match by {
            TlsClientUser::CommonName => peer.common_name.into_iter().collect(),
            TlsClientUser::Uri => peer.uris,
            TlsClientUser::Off => Vec::new(),
        };
        let process = &self.env.process;
        let version = process.acl.version();
        let mut users = names.iter().filter_map(|name| process.acl.find(name));
        if let Some(user) = users.find(|user| user.is_on()) {
            let hides = self.env.config.hide_user_data_from_log;
            let name = String::from_utf8_lossy(&user.name);
            let shown = if hides { "*redacted*" } else { &name };
            process.log.verbose(&format!("TLS: Auto-authenticated client as {shown}"));
            connection.session.log_in(version, user, &process.acl);
        } else if let Some(name) = names.into_iter().last() {
            self.log_unknown_certificate(conn, name);
        }
    }

    /// Has the files of TLS checked if their time has come.
    pub(in crate::shard) fn check_tls_files(&self) {
        let process = &self.env.process;
        let interval_s = self.env.config.tls_auto_reload_interval;
        if !process.tls.is_check_due(interval_s, &process.clock) {
            return;
        }
        let inside = Arc::clone(process);
        let check = move || reload_tls(&inside);
        if let Err(error) = std::thread::Builder::new().name("tls".to_owned()).spawn(check) {
            process.tls.skip_check();
            process.log.warning(&format!("The TLS files cannot be checked: {error}"));
        }
    }

    /// Adds the name in a certificate that is no user's to ACL LOG.
    fn log_unknown_certificate(&mut self, conn: ConnId, user: Vec<u8>) {
        count_denial(&self.env.board, Reason::Certificate);
        let line = self.client_line(conn);
        let (context, object) = (DenialContext::TopLevel, Vec::new());
        let key = LogKey { reason: Reason::Certificate, context, object, user };
        let entries_max = self.env.config.acllog_max_len;
        let now_ms = self.env.now.unix_ms();
        self.env.process.acl.log.add(key, Refused::Client(line), now_ms, entries_max);
    }
}

/// Loads the files of TLS anew if they have changed.
fn reload_tls(process: &Process) {
    let log = &process.log;
    match process.tls.check(&process.config.snapshot(), &process.clock) {
        Reload::Unchanged => log.debug("TLS reload skipped: materials unchanged"),
        Reload::Done => {
            log.notice("TLS materials changed, reloading in background");
            log.notice("TLS materials reloaded successfully");
        }
        Reload::Failed(why) => {
            log.notice("TLS materials changed, reloading in background");
            log.warning(&why);
            log.warning("Background TLS reload failed");
        }
    }
}
