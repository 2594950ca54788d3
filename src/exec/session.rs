//! One client's session as its commands see it: plain data, no sockets.

use crate::resp::Protocol;

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
    /// The connection ends once its replies have left (QUIT, a protocol error).
    pub close_after_reply: bool,
    /// Commands that it has sent.
    pub commands: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
    /// Bytes sent to it.
    pub sent_bytes: u64,
}

impl Session {
    /// A fresh session.
    pub fn new(id: u64, authenticated: bool, now_ms: u64) -> Session {
        Session {
            id,
            db: 0,
            protocol: Protocol::Two,
            authenticated,
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
            close_after_reply: false,
            commands: 0,
            received_bytes: 0,
            sent_bytes: 0,
        }
    }

    /// Whether the peer is on this machine.
    pub fn is_local(&self) -> bool {
        self.is_unix || self.address.starts_with("127.") || self.address.starts_with("[::1]")
    }

    /// The flags that CLIENT LIST shows.
    pub fn flags(&self) -> &'static str {
        match (self.close_after_reply, self.is_unix) {
            (false, false) => "N",
            (false, true) => "U",
            (true, false) => "c",
            (true, true) => "cU",
        }
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
        self.authenticated = authenticated;
        self.name.clear();
    }
}
