//! A client's session as its commands see it: plain data, no sockets.

use super::facts::Facts;
use super::filter::ClientKind;
use super::key_slots::KeySlots;
use super::replication::ReplicaFacts;
use super::tracking::{Tracking, TrackingMode};
use crate::acl::{Acl, User};
use crate::pubsub::Sort;
use crate::resp::Protocol;
use std::sync::Arc;

/// A transaction between MULTI and EXEC, as far as the session's commands see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Multi {
    /// Whether a command was refused while being queued. If so, EXEC runs none.
    pub is_doomed: bool,
    /// Number of queued commands.
    pub commands: usize,
    /// Database that the queued commands have selected; the session's if EXEC runs none.
    pub db: usize,
    /// Whether a queued command may need more memory.
    pub may_grow: bool,
    /// Whether a queued command may write.
    pub may_write: bool,
    /// Whether a queued command may be propagated to replicas.
    pub may_replicate: bool,
    /// Whether a queued command is of pub/sub.
    pub is_of_pubsub: bool,
    /// Hash slots of the keys of all queued commands. Only a node of a cluster keeps it.
    pub slots: KeySlots,
}

/// Which replies the client receives (CLIENT REPLY).
///
/// ```text
///   All --CLIENT REPLY SKIP--> AllButNext --a command--> AllButThis --the next one--> All
///   any --CLIENT REPLY OFF--> None --CLIENT REPLY ON--> All
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replies {
    /// All replies.
    #[default]
    All,
    /// All replies except the one to the next command.
    AllButNext,
    /// All replies except the one to the command that began last.
    AllButThis,
    /// No replies.
    None,
}

/// Id of the session that sends the commands of the append-only file.
pub const LOADER_ID: u64 = u64::MAX;

/// State that a client's commands read and change.
#[derive(Clone, Debug)]
pub struct Session {
    /// Client id: unique in the process, increasing.
    pub id: u64,
    /// The selected database.
    pub db: usize,
    /// Protocol that HELLO selected.
    pub protocol: Protocol,
    /// Whether the client is authenticated, or no password is required.
    pub authenticated: bool,
    /// Whether the client has authenticated, or no password was required when it connected.
    pub has_logged_in: bool,
    /// Whether the client was ever authenticated.
    pub was_authenticated: bool,
    /// User whose rules apply; none if no rules do.
    pub user: Option<Arc<User>>,
    /// Whether the rules of the user forbid anything.
    is_restricted_by_rules: bool,
    /// Version of the users when `user` was taken.
    pub users_version: u64,
    /// Name by CLIENT SETNAME.
    pub name: Vec<u8>,
    /// Library name by CLIENT SETINFO.
    pub lib_name: Vec<u8>,
    /// Library version by CLIENT SETINFO.
    pub lib_version: Vec<u8>,
    /// Peer address, as CLIENT LIST shows it.
    pub address: String,
    /// Address of the connection on our side.
    pub local_address: String,
    /// File descriptor number; -1 for none.
    pub descriptor: i32,
    /// Whether the connection uses a Unix socket.
    pub is_unix: bool,
    /// Whether the connection uses TLS.
    pub is_tls: bool,
    /// Monotonic milliseconds of the connection's start.
    pub connected_ms: u64,
    /// Monotonic milliseconds of the last command, or of the last bytes in either direction.
    pub active_ms: u64,
    /// Index of the last command, for CLIENT LIST.
    pub last_command: Option<u16>,
    /// Transaction between MULTI and EXEC; none outside of one.
    pub multi: Option<Multi>,
    /// Whether ASKING was sent: the next command may use a slot that this node imports.
    pub is_asking: bool,
    /// Whether the present command is ASKING.
    pub asks_anew: bool,
    /// The shard whose port the client has connected to; none for the main port.
    pub port_of: Option<u16>,
    /// The facts that hold for this client alone.
    pub facts: Facts,
    /// Whether READONLY is set: a replica of a cluster would serve the client's reads.
    pub is_readonly: bool,
    /// Whether the client receives every command (MONITOR).
    pub is_monitor: bool,
    /// Number of the client's subscriptions by [`Sort`].
    pub subscriptions: [u32; Sort::COUNT],
    /// Whether a command of the client is blocked.
    pub is_blocked: bool,
    /// Shards that watch keys for the client.
    pub watched_shards: Vec<u16>,
    /// Epoch of the map of hash slots by which the keys were watched.
    pub watched_epoch: u64,
    /// Which replies the client receives.
    pub replies: Replies,
    /// CLIENT IMPORT-SOURCE: under `import-mode` the client sees expired keys.
    pub is_import_source: bool,
    /// CLIENT NO-EVICT: client eviction does not disconnect the client.
    pub is_no_evict: bool,
    /// CLIENT NO-TOUCH: commands of the client do not update the access clocks of keys.
    pub is_no_touch: bool,
    /// CLIENT CAPA: the client follows redirections.
    pub can_redirect: bool,
    /// Whether the connection closes after its replies were sent (QUIT, a protocol error).
    pub close_after_reply: bool,
    /// Number of commands received.
    pub commands: u64,
    /// Bytes received from the client.
    pub received_bytes: u64,
    /// Bytes sent to the client.
    pub sent_bytes: u64,
    /// CLIENT TRACKING; none if it is off.
    pub tracking: Option<Box<Tracking>>,
    /// What the client has reported about itself as a replica.
    pub replica: ReplicaFacts,
}

impl Session {
    /// Creates a session.
    pub fn new(id: u64, authenticated: bool, now_ms: u64) -> Session {
        Session {
            id,
            db: 0,
            protocol: Protocol::Two,
            authenticated,
            has_logged_in: authenticated,
            was_authenticated: false,
            user: None,
            is_restricted_by_rules: false,
            users_version: 0,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_version: Vec::new(),
            address: String::new(),
            local_address: String::new(),
            descriptor: -1,
            is_unix: false,
            is_tls: false,
            connected_ms: now_ms,
            active_ms: now_ms,
            last_command: None,
            multi: None,
            is_asking: false,
            asks_anew: false,
            port_of: None,
            facts: Facts::NONE,
            is_readonly: false,
            is_monitor: false,
            subscriptions: [0; Sort::COUNT],
            is_blocked: false,
            watched_shards: Vec::new(),
            watched_epoch: 0,
            replies: Replies::All,
            is_import_source: false,
            is_no_evict: false,
            is_no_touch: false,
            can_redirect: false,
            close_after_reply: false,
            commands: 0,
            received_bytes: 0,
            sent_bytes: 0,
            tracking: None,
            replica: ReplicaFacts::default(),
        }
    }

    /// Returns whether the client may send every command.
    #[inline]
    pub fn is_free(&self) -> bool {
        !self.is_restricted_by_rules
    }

    /// Returns the name of the user.
    pub fn user_name(&self) -> &[u8] {
        self.user.as_ref().map_or(b"(superuser)", |user| &user.name)
    }

    /// Makes the client the default user, as every client is at first.
    pub fn begin_as_default(&mut self, acl: &Acl) {
        self.has_logged_in = acl.is_open();
        self.take_user(acl.version(), acl.default_user(), acl);
    }

    /// Makes the client a user whose password it has given. `version` is the version of the users
    /// before the user was looked up.
    pub fn log_in(&mut self, version: u64, user: Arc<User>, acl: &Acl) {
        self.was_authenticated |= self.authenticated;
        self.has_logged_in = true;
        self.take_user(version, user, acl);
    }

    /// Takes the rules of its user, which may have changed. Returns the rules before; none if the
    /// user is gone.
    pub fn refresh_user(&mut self, acl: &Acl) -> Option<Arc<User>> {
        let version = acl.version();
        let before = self.user.clone()?;
        let user = acl.by_id(before.id)?;
        self.take_user(version, user, acl);
        Some(before)
    }

    /// Applies the rules of a user; without one, none.
    pub fn set_user(&mut self, user: Option<Arc<User>>) {
        self.is_restricted_by_rules = user.as_ref().is_some_and(|user| !user.is_free());
        self.user = user;
    }

    fn take_user(&mut self, version: u64, user: Arc<User>, acl: &Acl) {
        self.set_user(Some(user));
        self.users_version = version;
        self.authenticated = self.has_logged_in || acl.is_open();
    }

    /// Returns whether the session sends the commands of the append-only file. No gate refuses
    /// them, and no limit of clients counts for them.
    #[inline]
    pub fn is_loader(&self) -> bool {
        self.id == LOADER_ID
    }

    /// Returns whether the peer is on this machine.
    pub fn is_local(&self) -> bool {
        self.is_unix || self.address.starts_with("127.") || self.address.starts_with("[::1]")
    }

    /// Returns the flags that CLIENT LIST shows.
    pub fn flags(&self) -> String {
        let tracking = self.tracking.as_deref();
        let all = [
            (self.is_monitor, 'O'),
            (self.replica.is_attached, 'S'),
            (self.has_subscriptions(), 'P'),
            (self.multi.is_some(), 'x'),
            (self.is_blocked, 'b'),
            (self.tracking.is_some(), 't'),
            (tracking.is_some_and(|it| it.is_redirect_broken), 'R'),
            (tracking.is_some_and(|it| it.mode == TrackingMode::Broadcast), 'B'),
            (self.close_after_reply, 'c'),
            (self.is_unix, 'U'),
            (self.is_readonly, 'r'),
            (self.is_no_evict, 'e'),
            (self.is_no_touch, 'T'),
            (self.is_import_source, 'I'),
        ];
        let flags: String =
            all.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).collect();
        if flags.is_empty() { "N".to_string() } else { flags }
    }

    /// Returns whether the client has any subscription.
    #[inline]
    pub fn has_subscriptions(&self) -> bool {
        self.subscriptions != [0; Sort::COUNT]
    }

    /// Returns whether the client may run few commands: in RESP2 it cannot tell messages and
    /// replies apart.
    #[inline]
    pub fn is_restricted(&self) -> bool {
        self.has_subscriptions() && self.protocol == Protocol::Two
    }

    /// Returns the number of subscriptions that replies about names of a sort show.
    pub fn shown_subscriptions(&self, sort: Sort) -> u32 {
        let count = |sort: Sort| self.subscriptions[sort as usize];
        match sort {
            Sort::ShardChannel => count(Sort::ShardChannel),
            Sort::Channel | Sort::Pattern => count(Sort::Channel) + count(Sort::Pattern),
        }
    }

    /// Returns whether CLIENT CACHING was given for the next command.
    #[inline]
    pub fn is_caching(&self) -> bool {
        self.tracking.as_ref().is_some_and(|tracking| tracking.is_caching)
    }

    /// Ends the effect of CLIENT CACHING behind a command. In a transaction it lasts until EXEC.
    pub fn end_caching(&mut self) {
        if let Some(tracking) = self.tracking.as_mut().filter(|_| self.multi.is_none()) {
            tracking.is_caching = false;
        }
    }

    /// Makes the client one that has connected to the port of a shard.
    pub fn arrive_at(&mut self, shard: Option<u16>) {
        self.port_of = shard;
        self.facts.set(Facts::CLUSTER, shard.is_some());
    }

    /// Returns whether ASKING applies to the next command.
    #[inline]
    pub fn begin_asking(&mut self) -> bool {
        self.asks_anew = false;
        self.is_asking
    }

    /// Ends the effect of ASKING behind a command, unless this was ASKING again. In a transaction
    /// the effect lasts until EXEC.
    pub fn end_asking(&mut self) {
        self.is_asking &= self.asks_anew || self.multi.is_some();
    }

    /// Returns whether the keys that the next command reads are tracked.
    #[inline]
    pub fn tracks_reads(&self) -> bool {
        self.tracking.as_ref().is_some_and(|tracking| tracking.tracks_reads())
    }

    /// Returns the client that gets the invalidations of CLIENT TRACKING: 0 for this client, -1
    /// without tracking.
    pub fn redirect(&self) -> i64 {
        self.tracking.as_ref().map_or(-1, |tracking| tracking.redirect as i64)
    }

    /// Returns the letters of the capabilities, as CLIENT LIST shows them.
    pub fn capabilities(&self) -> &'static str {
        if self.can_redirect { "r" } else { "" }
    }

    /// Returns whether the client is not and never was authenticated.
    pub fn is_stranger(&self) -> bool {
        !self.authenticated && !self.was_authenticated
    }

    /// Returns the kind of the session.
    pub fn kind(&self) -> ClientKind {
        match self.replica.is_attached {
            true => ClientKind::Replica,
            false if self.has_subscriptions() => ClientKind::Pubsub,
            false => ClientKind::Normal,
        }
    }

    /// Returns whether the session has the flag.
    pub fn has_flag(&self, flag: u8) -> bool {
        self.flags().as_bytes().contains(&flag)
    }

    /// Records commands that were taken from the input. `now_ms` is monotonic.
    #[inline]
    pub fn note_commands(&mut self, count: usize, last: Option<u16>, now_ms: u64) {
        self.commands += count as u64;
        self.active_ms = now_ms;
        self.last_command = last;
    }

    /// RESET: restores the state of a new connection.
    pub fn reset(&mut self, acl: &Acl) {
        self.db = 0;
        self.protocol = Protocol::Two;
        self.was_authenticated |= self.authenticated;
        self.begin_as_default(acl);
        self.name.clear();
        self.multi = None;
        if self.replies != Replies::AllButThis {
            self.replies = Replies::All;
        }
        self.tracking = None;
        self.is_import_source = false;
        self.is_readonly = false;
        self.is_asking = false;
        self.is_monitor = false;
        self.is_no_evict = false;
        self.is_no_touch = false;
    }
}
