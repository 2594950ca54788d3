//! A connection that never waits for long: it sends while the server takes bytes, and reads what
//! has come.

use super::wire::put_request;
use annulet::base::clock::Clock;
use annulet::resp::reply_end;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Bytes of one read from the socket.
const READ_BYTES: usize = 64 << 10;

/// Bytes that are read before they are parsed, if they come without a pause.
const UNPARSED_BYTES_MAX: usize = 4 << 20;

/// Pause when nothing moves.
const REST: Duration = Duration::from_micros(300);

/// The first bytes of all replies.
const HEADS: &[u8] = b"+-:$*%~>,#_(=!|";

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All was sent, or the awaited replies have come.
    Done,
    /// The time is over.
    Late,
    /// The server has closed the connection.
    Closed,
}

/// A port of TLS, and what a client needs for it.
pub type Secured = (u16, Arc<ClientConfig>);

/// A connection that does not wait.
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(bytes),
            Stream::Tls(stream) => stream.read(bytes),
        }
    }
}

pub struct Link {
    stream: Stream,
    buffer: Vec<u8>,
    unread: Vec<u8>,
    /// Replies that have come, pushes and lines of MONITOR included.
    pub replies: u64,
    /// The last reply.
    pub last: Vec<u8>,
    /// What comes is no sequence of replies any more (SYNC).
    pub is_raw: bool,
    /// What came instead of a reply.
    pub malformed: Option<Vec<u8>>,
    /// The local port.
    pub port: u16,
}

impl Link {
    /// Connects; returns nothing if the server refuses.
    pub fn connect(port: u16) -> Option<Link> {
        let (stream, port) = open(port).ok()?;
        Some(Link::of(Stream::Plain(stream), port))
    }

    /// Connects by TLS; returns nothing if the server refuses. The handshake comes with the first
    /// bytes.
    pub fn connect_secured((port, config): &Secured) -> Option<Link> {
        let (stream, port) = open(*port).ok()?;
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(Arc::clone(config), name).expect("valid settings");
        Some(Link::of(Stream::Tls(Box::new(StreamOwned::new(client, stream))), port))
    }

    fn of(stream: Stream, port: u16) -> Link {
        Link {
            stream,
            buffer: vec![0; READ_BYTES],
            unread: Vec::new(),
            replies: 0,
            last: Vec::new(),
            is_raw: false,
            malformed: None,
            port,
        }
    }

    /// Sends bytes within the time. While the server takes none, reads if `reads`.
    pub fn push(&mut self, mut bytes: &[u8], reads: bool, patience_ms: u64) -> End {
        let end_ns = Clock::System.monotonic_ns() + patience_ms * 1_000_000;
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(taken) => {
                    bytes = &bytes[taken..];
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return End::Closed,
            }
            match if reads { self.take() } else { Taken::Nothing } {
                Taken::Closed => return End::Closed,
                Taken::Nothing => thread::sleep(REST),
                Taken::Something => {}
            }
            if Clock::System.monotonic_ns() > end_ns {
                return End::Late;
            }
        }
        End::Done
    }

    /// Reads until `holds` or until the time is over.
    pub fn read_until(&mut self, mut holds: impl FnMut(&Link) -> bool, patience_ms: u64) -> End {
        let end_ns = Clock::System.monotonic_ns() + patience_ms * 1_000_000;
        loop {
            if holds(self) {
                return End::Done;
            }
            match self.take_until(&mut holds) {
                Taken::Closed => return End::Closed,
                Taken::Nothing => thread::sleep(REST),
                Taken::Something => {}
            }
            if Clock::System.monotonic_ns() > end_ns {
                return End::Late;
            }
        }
    }

    /// Returns the number of replies, and of bytes of the next one.
    pub fn progress(&self) -> (u64, usize) {
        (self.replies, self.unread.len())
    }

    /// Sends one command and returns its reply.
    pub fn ask(&mut self, args: &[&str], patience_ms: u64) -> Result<Vec<u8>, End> {
        let mut bytes = Vec::new();
        put_request(&mut bytes, args);
        let sent = self.push(&bytes, true, patience_ms);
        if sent != End::Done {
            return Err(sent);
        }
        let until = self.replies + 1;
        match self.read_until(|link| link.replies >= until, patience_ms) {
            End::Done => Ok(self.last.clone()),
            other => Err(other),
        }
    }

    /// Sends the end of the stream; the server may still reply.
    pub fn finish_sending(&mut self) {
        // The server may have closed the connection, which is fine.
        let _ = match &mut self.stream {
            Stream::Plain(stream) => stream.shutdown(Shutdown::Write),
            Stream::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush()
            }
        };
    }

    fn take(&mut self) -> Taken {
        self.take_until(&mut |_| false)
    }

    /// Reads once, and parses until `holds`.
    fn take_until(&mut self, holds: &mut impl FnMut(&Link) -> bool) -> Taken {
        let taken = match self.stream.read(&mut self.buffer) {
            Ok(0) => Taken::Closed,
            Ok(len) => {
                self.unread.extend_from_slice(&self.buffer[..len]);
                if len == READ_BYTES && self.unread.len() < UNPARSED_BYTES_MAX {
                    // More has come. Parsing a long reply piece by piece would take long.
                    return Taken::Something;
                }
                Taken::Something
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Taken::Nothing,
            Err(error) if error.kind() == ErrorKind::Interrupted => Taken::Something,
            Err(_) => Taken::Closed,
        };
        self.parse(holds);
        taken
    }

    fn parse(&mut self, holds: &mut impl FnMut(&Link) -> bool) {
        if self.is_raw {
            self.unread.clear();
            return;
        }
        let mut at = 0;
        while at < self.unread.len() && !holds(self) {
            if !HEADS.contains(&self.unread[at]) && self.malformed.is_none() {
                let end = self.unread.len().min(at + 200);
                self.malformed = Some(self.unread[at..end].to_vec());
            }
            let Some(len) = reply_end(&self.unread[at..]) else { break };
            self.last.clear();
            self.last.extend_from_slice(&self.unread[at..at + len]);
            self.replies += 1;
            at += len;
        }
        self.unread.drain(..at);
    }
}

/// Connects a stream that does not wait. Returns it with its own port.
fn open(port: u16) -> io::Result<(TcpStream, u16)> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let port = stream.local_addr()?.port();
    Ok((stream, port))
}

enum Taken {
    Something,
    Nothing,
    Closed,
}
