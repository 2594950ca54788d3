//! A replica of the tests: it asks a simulated server for its stream, and applies the snapshot and
//! all commands of the stream to a copy. The copy is a server with one shard.
//!
//! ```text
//!   server --PSYNC--> snapshot, stream --RESTORE, commands--> copy
//! ```
//! The clock of the copy stands still, so that a key expires there only if the stream says so.

use super::{Client, Server, Setup, World};
use annulet::config::Permission;
use annulet::rdb::{Decoder, Part, seal_payload};
use annulet::resp::Value;

/// Commands of the stream that a failure shows.
const SHOWN_MAX: usize = 60;

/// Time to live in the snapshot of a key: its opcode, and the bytes of opcode and time.
const EXPIRETIME_MS: (u8, usize) = (252, 9);

/// The value of a key, and its expiry in Unix milliseconds.
pub type Seen = Option<(String, Option<u64>)>;

/// The replica.
pub struct Replay {
    /// The connection to the server.
    pub client: Client,
    received: Vec<u8>,
    copy: Server,
    writer: Client,
    has_snapshot: bool,
    /// The offset of the snapshot, and the bytes of the stream behind it.
    offset: u64,
    /// The applied commands.
    pub stream: Vec<String>,
}

fn text(arg: &[u8]) -> String {
    String::from_utf8_lossy(arg).into_owned()
}

impl Replay {
    /// Asks a server for its stream.
    pub fn attach(world: &World) -> Replay {
        let mut setup = Setup::new(1, world.seed);
        setup.config.enable_debug_command = Permission::Yes;
        let mut copy = Server::with(setup);
        let writer = copy.client();
        let mut client = world.connect();
        client.send(&["PSYNC", "?", "-1"]);
        Replay {
            client,
            received: Vec::new(),
            copy,
            writer,
            has_snapshot: false,
            offset: 0,
            stream: Vec::new(),
        }
    }

    /// Whether the snapshot was loaded.
    pub fn has_snapshot(&self) -> bool {
        self.has_snapshot
    }

    /// Sends how much of the stream was applied.
    pub fn acknowledge(&mut self) {
        self.client.send(&["REPLCONF", "ACK", &self.offset.to_string()]);
    }

    /// Receives what has come. Returns the next command of the stream after it was applied.
    pub fn next(&mut self) -> Option<Vec<String>> {
        self.client.pump();
        self.received.append(&mut self.client.received);
        if !self.has_snapshot && !self.load() {
            return None;
        }
        let (value, len) = Value::read(&self.received)?;
        self.received.drain(..len);
        self.offset += len as u64;
        let Value::Array(args) = value else { panic!("{value:?} in the stream") };
        let arg = |arg| match arg {
            Value::Bulk(bytes) => bytes,
            other => panic!("{other:?} in the stream"),
        };
        let args: Vec<Vec<u8>> = args.into_iter().map(arg).collect();
        let shown: Vec<String> = args.iter().map(|arg| text(arg)).collect();
        self.stream.push(shown.join(" "));
        match shown[0].to_ascii_uppercase().as_str() {
            "PING" => {}
            "REPLCONF" => self.acknowledge(),
            _ => self.apply(&args),
        }
        Some(shown)
    }

    /// Loads the snapshot, if all of it has come. Returns whether it has.
    fn load(&mut self) -> bool {
        let received = &self.received;
        let Some(at) = received.windows(3).position(|part| part == b"\r\n$") else { return false };
        let rest = &received[at + 3..];
        let Some(end) = rest.windows(2).position(|part| part == b"\r\n") else { return false };
        let len = text(&rest[..end]).parse::<usize>().expect("the length of the snapshot");
        let start = at + 3 + end + 2;
        if received.len() < start + len {
            return false;
        }
        let reply = text(&received[..at]);
        // Line ends keep the link alive while the snapshot is made.
        let reply = reply.trim_start_matches('\n');
        let offset = reply.strip_prefix("+FULLRESYNC ").and_then(|rest| rest.split(' ').nth(1));
        self.offset = offset
            .and_then(|offset| offset.parse().ok())
            .unwrap_or_else(|| panic!("an offset: {reply:?}"));
        let file = received[start..start + len].to_vec();
        self.received.drain(..start + len);
        self.restore(&file);
        self.has_snapshot = true;
        true
    }

    /// Brings the keys of a snapshot into the copy.
    fn restore(&mut self, file: &[u8]) {
        let (version, mut decoder) = Decoder::open(file, false).expect("a snapshot");
        let mut database_of_stream = "0".to_string();
        loop {
            let before = decoder.rest();
            match decoder.part().expect("a part of the snapshot") {
                Part::Database(number) => self.ask(&["SELECT", &number.to_string()]),
                Part::Entry(entry) => {
                    let at = if before[0] == EXPIRETIME_MS.0 { EXPIRETIME_MS.1 } else { 0 };
                    let mut payload = vec![before[at]];
                    payload.extend_from_slice(entry.value);
                    seal_payload(&mut payload, version);
                    let expiry = entry.expiry.unwrap_or(0).to_string();
                    let key = entry.key.into_bytes();
                    let args = [b"RESTORE", &*key, expiry.as_bytes(), &payload, b"ABSTTL"];
                    self.ask(&args);
                }
                Part::Aux(name, value) if &*name.clone().into_bytes() == b"repl-stream-db" => {
                    database_of_stream = text(&value.into_bytes());
                }
                Part::End(_) => break,
                _ => {}
            }
        }
        self.ask(&["SELECT", &database_of_stream]);
    }

    fn apply(&mut self, args: &[Vec<u8>]) {
        self.writer.send(args);
        let reply = self.writer.read(&mut self.copy);
        let is_refused = |reply: &Value| matches!(reply, Value::Error(_));
        let is_wrong = match &reply {
            Value::Array(replies) => replies.iter().any(is_refused),
            reply => is_refused(reply),
        };
        assert!(!is_wrong, "the stream fails with {reply:?}:\n{}", self.shown());
    }

    fn ask(&mut self, args: &[impl AsRef<[u8]>]) {
        self.writer.send(args);
        let reply = self.writer.read(&mut self.copy);
        assert!(!matches!(reply, Value::Error(_)), "{reply:?}");
    }

    /// Returns the end of the stream, for messages.
    pub fn shown(&self) -> String {
        self.stream[self.stream.len().saturating_sub(SHOWN_MAX)..].join("\n")
    }

    /// Returns the copy, and a new connection to it.
    pub fn copy(&mut self) -> (&mut Server, Client) {
        let reader = self.copy.client();
        (&mut self.copy, reader)
    }

    /// Returns the values of these keys in a database of the copy.
    pub fn keys(&mut self, database: usize, names: &[String]) -> Vec<Seen> {
        let (copy, mut reader) = self.copy();
        reader.send(&["SELECT", &database.to_string()]);
        reader.read(copy);
        names
            .iter()
            .map(|name| {
                seen(name, |args| {
                    reader.send(args);
                    reader.read(copy)
                })
            })
            .collect()
    }
}

/// Returns a key's value and expiry; a list's value is its elements. `ask` runs a command.
pub fn seen(name: &str, mut ask: impl FnMut(&[&str]) -> Value) -> Seen {
    let value = match ask(&["GET", name]) {
        Value::Null => return None,
        Value::Bulk(value) => text(&value),
        Value::Error(_) => format!("{:?}", ask(&["LRANGE", name, "0", "-1"])),
        other => panic!("{other:?} of {name}"),
    };
    let Value::Integer(expiry) = ask(&["PEXPIRETIME", name]) else { panic!("an expiry of {name}") };
    // The key may have expired between the two commands.
    (expiry != -2).then_some((value, u64::try_from(expiry).ok()))
}
