//! One client's session as its commands see it: plain data, no sockets.

use super::filter::ClientKind;
use super::replication::ReplicaFacts;
use crate::resp::Protocol;

/// A transaction between MULTI and EXEC, as far as its session's commands see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Multi {
    /// A command was refused when it was to be queued: EXEC will run none.
    pub is_doomed: bool,
    /// Commands queued so far.
    pub commands: usize,
    /// Whether one of them may need more memory.
    pub may_grow: bool,
    /// Whether one of them may write.
    pub may_write: bool,
    /// Whether one of them may be told to replicas.
    pub may_replicate: bool,
}

/// Which replies the client is sent.
///
/// ```text
///   All --CLIENT REPLY SKIP--> AllButNext --a command--> AllButThis --the next one--> All
///   any --CLIENT REPLY OFF--> None --CLIENT REPLY ON--> All
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replies {
    /// All.
    #[default]
    All,
    /// All but that to the next command.
    AllButNext,
    /// All but that to the command that has begun last.
    AllButThis,
    /// None.
    None,
}

/// The state that a client's commands read and change.
#[derive(Clone, Debug)]
pub struct Session {
    /// Unique in the life of the process, growing.
    pub id: u64,
    /// The selected database.
    pub db: usize,
    /// The protocol that HELLO chose.
    pub protocol: Protocol,
    /// Whether it has shown the password, or none is asked for.
    pub authenticated: bool,
    /// Whether it has ever shown the password.
    pub was_authenticated: bool,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO lib-name.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO lib-ver.
    pub lib_version: Vec<u8>,
    /// The peer's address, as CLIENT LIST shows it.
    pub address: String,
    /// Our own address of this connection.
    pub local_address: String,
    /// The number of the kernel's descriptor, -1 for none.
    pub descriptor: i32,
    /// Whether it came over a unix socket.
    pub is_unix: bool,
    /// Monotonic milliseconds when it connected.
    pub connected_ms: u64,
    /// Monotonic milliseconds of its last command.
    pub active_ms: u64,
    /// Index of the last command, for CLIENT LIST.
    pub last_command: Option<u16>,
    /// The transaction that MULTI has begun, whose commands are being queued.
    pub multi: Option<Multi>,
    /// READONLY: it would be served by a replica of a cluster.
    pub is_readonly: bool,
    /// Whether it is shown every command.
    pub is_monitor: bool,
    /// Whether a command of it waits for keys.
    pub is_blocked: bool,
    /// Shards on which keys are watched for it.
    pub watched_shards: Vec<u16>,
    /// CLIENT REPLY.
    pub replies: Replies,
    /// CLIENT IMPORT-SOURCE: keys that are due are as others to it, under `import-mode`.
    pub is_import_source: bool,
    /// CLIENT NO-EVICT: it is not ended because clients take too much memory.
    pub is_no_evict: bool,
    /// CLIENT NO-TOUCH: its commands leave the access clocks of keys alone.
    pub is_no_touch: bool,
    /// CLIENT CAPA: it follows redirections.
    pub can_redirect: bool,
    /// The connection ends once its replies have left (QUIT, a protocol error).
    pub close_after_reply: bool,
    /// Commands that it has sent.
    pub commands: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// What it has said of itself as a replica.
    pub replica: ReplicaFacts,
}

impl Session {
    /// A fresh session.
    pub fn new(id: u64, authenticated: bool, now_ms: u64) -> Session {
        Session {
            id,
            db: 0,
            protocol: Protocol::Two,
            authenticated,
            was_authenticated: false,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_version: Vec::new(),
            address: String::new(),
            local_address: String::new(),
            descriptor: -1,
            is_unix: false,
            connected_ms: now_ms,
            active_ms: now_ms,
            last_command: None,
            multi: None,
            is_readonly: false,
            is_monitor: false,
            is_blocked: false,
            watched_shards: Vec::new(),
            replies: Replies::All,
            is_import_source: false,
            is_no_evict: false,
            is_no_touch: false,
            can_redirect: false,
            close_after_reply: false,
            commands: 0,
            received_bytes: 0,
            sent_bytes: 0,
            replica: ReplicaFacts::default(),
        }
    }

    /// Whether the peer is on this machine.
    pub fn is_local(&self) -> bool {
        self.is_unix || self.address.starts_with("127.") || self.address.starts_with("[::1]")
    }

    /// The flags that CLIENT LIST shows.
    pub fn flags(&self) -> String {
        let all = [
            (self.is_monitor, 'O'),
            (self.replica.is_attached, 'S'),
            (self.multi.is_some(), 'x'),
            (self.is_blocked, 'b'),
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

    /// The letters of its capabilities, as CLIENT LIST shows them.
    pub fn capabilities(&self) -> &'static str {
        if self.can_redirect { "r" } else { "" }
    }

    /// Whether nobody knows who it is, and never has.
    pub fn is_stranger(&self) -> bool {
        !self.authenticated && !self.was_authenticated
    }

    /// What it is for.
    pub fn kind(&self) -> ClientKind {
        if self.replica.is_attached { ClientKind::Replica } else { ClientKind::Normal }
    }

    /// Whether one of them is `flag`.
    pub fn has_flag(&self, flag: u8) -> bool {
        self.flags().as_bytes().contains(&flag)
    }

    /// Takes note of commands that were taken from its input; `now_ms` is monotonic.
    #[inline]
    pub fn note_commands(&mut self, count: usize, last: Option<u16>, now_ms: u64) {
        self.commands += count as u64;
        self.active_ms = now_ms;
        self.last_command = last;
    }

    /// RESET: back to how it was when it connected.
    pub fn reset(&mut self, authenticated: bool) {
        self.db = 0;
        self.protocol = Protocol::Two;
        self.was_authenticated |= self.authenticated;
        self.authenticated = authenticated;
        self.name.clear();
        self.multi = None;
        if self.replies != Replies::AllButThis {
            self.replies = Replies::All;
        }
        self.is_import_source = false;
        self.is_readonly = false;
        self.is_monitor = false;
        self.is_no_evict = false;
        self.is_no_touch = false;
    }
}
