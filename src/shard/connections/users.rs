//! The users of the shard's connections: their rules change, and commands are refused by them.
//!
//! A connection takes the present rules of its user when the version of the users has changed: with
//! its next batch, or before the reply to the command that has changed a user. A connection closes
//! if its user is gone, or if a subscription is not allowed any more. A blocked command that is not
//! allowed any more ends with an error.

use crate::acl::{Denial, DenialContext, LogKey, Reason, Refused, User};
use crate::client::{Connection, GivingUp, describe};
use crate::exec::{Asked, Entry, Item, count_denial};
use crate::gate::denial_error;
use crate::io::ConnId;
use crate::mesh::ClientRef;
use crate::pubsub::Sort;
use crate::resp::Args;
use crate::shard::state::Shard;
use crate::txn::Queue;

impl Shard {
    /// Takes the present rules of the connection's user. Returns whether its commands may run.
    #[cold]
    pub(in crate::shard) fn refresh_user(
        &mut self,
        conn: ConnId,
        asker: Option<ClientRef>,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(conn) else { return false };
        let client = ClientRef { conn, generation: connection.generation };
        let acl = &self.env.process.acl;
        if connection.session.user.is_none() {
            connection.session.users_version = acl.version();
            return true;
        }
        let before = connection.session.refresh_user(acl);
        let user = connection.session.user.as_ref().expect("checked above");
        let stays = before.is_some_and(|before| {
            user.keeps_channels_of(&before) || has_allowed_subscriptions(connection, user)
        });
        if !stays {
            connection.session.begin_as_default(acl);
            connection.session.has_logged_in = false;
            if asker == Some(client) {
                connection.session.close_after_reply = true;
            } else {
                self.close(conn);
            }
            return false;
        }
        if let Some(reason) = self.blocked_refusal(conn) {
            self.give_up(conn, GivingUp::Denied(reason));
        }
        true
    }

    /// Takes the present rules of all users. The asking connection first gets its reply.
    pub(in crate::shard) fn refresh_users(&mut self, asker: Option<ClientRef>) {
        let version = self.env.process.acl.version();
        let is_old = |it: &Connection| !it.is_closing && it.session.users_version != version;
        let old = self.connections.iter().filter(|(_, connection)| is_old(connection));
        let old: Vec<ConnId> = old.map(|(conn, _)| conn).collect();
        for conn in old {
            self.refresh_user(conn, asker);
        }
    }

    /// Returns why the connection's blocked command is not allowed any more; none if it is.
    fn blocked_refusal(&mut self, conn: ConnId) -> Option<Reason> {
        let connection = self.connections.get_mut(conn)?;
        let wait = connection.blocked.as_ref()?.wait.as_ref()?;
        let (args, session) = (wait.args.as_ref()?, &connection.session);
        let arg = |at: usize| &args[at][..];
        let (argc, db, databases) = (args.len(), session.db, self.env.process.databases);
        let asked = Asked { entry: wait.entry, argc, arg: &arg, db, databases };
        Some(asked.refusal(session.user.as_ref()?)?.reason)
    }

    /// Refuses a command that the rules of the client's user forbid.
    #[cold]
    pub(in crate::shard) fn deny(
        &mut self,
        conn: ConnId,
        entry: &'static Entry,
        (denial, object): (Denial, Vec<u8>),
    ) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let session = &mut connection.session;
        session.last_command = Some(entry.index);
        let user = session.user.clone().expect("only rules of a user forbid commands");
        let context = match session.multi {
            Some(_) => DenialContext::Multi,
            None => DenialContext::TopLevel,
        };
        self.log_denial(conn, (denial, object), &user, context);
        self.refuse(conn, Some(entry), &denial_error(&denial, &user, entry));
    }

    /// Adds a denial to ACL LOG.
    fn log_denial(
        &mut self,
        conn: ConnId,
        (denial, object): (Denial, Vec<u8>),
        user: &User,
        context: DenialContext,
    ) {
        count_denial(&self.env.board, denial.reason);
        let line = self.client_line(conn);
        let key = LogKey { reason: denial.reason, context, object, user: user.name.to_vec() };
        let entries_max = self.env.config.acllog_max_len;
        let now_ms = self.env.now.unix_ms();
        self.env.process.acl.log.add(key, Refused::Client(line), now_ms, entries_max);
    }

    /// Returns the description of a connection, as CLIENT INFO shows it.
    pub(super) fn client_line(&mut self, conn: ConnId) -> Vec<u8> {
        let mut line = Vec::new();
        if let Some(connection) = self.connections.get_mut(conn) {
            let now_ms = self.env.now.monotonic_ms();
            describe(connection, self.env.process.commands, now_ms, &mut line);
        }
        line
    }

    /// Adds the descriptions of this shard's connections to ACL LOG, where they are missing.
    #[inline]
    pub(in crate::shard) fn describe_denied(&mut self) {
        if self.env.process.acl.log.has_unknown() {
            self.describe_unknown();
        }
    }

    #[cold]
    fn describe_unknown(&mut self) {
        let process = std::sync::Arc::clone(&self.env.process);
        process.acl.log.describe(self.env.me as u16, |client| match *client {
            Refused::Connection(_, conn, generation) => {
                let is_there = self.connections.get_same(conn, generation).is_some();
                if is_there { self.client_line(conn) } else { Vec::new() }
            }
            Refused::Client(_) => unreachable!("it is described"),
        });
    }

    /// Marks the commands of a transaction, from an index on, that the rules of the client's user
    /// forbid by now. Commands get the database that the allowed ones among them select, and the
    /// user whose rules restrict what they do inside.
    pub(in crate::shard) fn check_queued(&mut self, conn: ConnId, queue: &mut Queue, from: usize) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(user) = connection.session.user.clone() else { return };
        if user.is_free() && from == 0 {
            return;
        }
        let databases = self.env.process.databases;
        let mut db = connection.session.db;
        let (items, mut batch_args) = queue.parts();
        for item in items.iter_mut().skip(from) {
            let args = batch_args.of(item);
            let entry = item.entry;
            item.refused = entry.refusal(&user, &args, (db, databases)).map(|denial| denial.reason);
            item.db = db as u16;
            let is_restricted = entry.is_restricted_inside(&user, &args, (db, databases));
            item.user = if is_restricted && !user.is_free() { user.id } else { 0 };
            if item.refused.is_none() {
                db = entry.selected_database(&args, databases).unwrap_or(db);
            }
        }
    }

    /// Adds the refusal of a command of a transaction to ACL LOG. It is the command's turn: earlier
    /// ones have run, and one of them may have changed the user or the database.
    #[cold]
    pub(in crate::shard) fn log_refused(&mut self, conn: ConnId, item: &Item, args: &Args<'_>) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(user) = connection.session.user.clone() else { return };
        let place = (connection.session.db, self.env.process.databases);
        if let Some(denial) = item.entry.refusal(&user, args, place) {
            let object = item.entry.denied_object(denial, args);
            self.log_denial(conn, (denial, object), &user, DenialContext::Multi);
        }
    }
}

/// Returns whether a user may have all subscriptions of a connection.
fn has_allowed_subscriptions(connection: &Connection, user: &User) -> bool {
    let Some(subscriptions) = &connection.subscriptions else { return true };
    Sort::ALL.into_iter().all(|sort| {
        let is_pattern = sort == Sort::Pattern;
        subscriptions.of(sort).iter().all(|name| user.may_subscribe(name, is_pattern))
    })
}
