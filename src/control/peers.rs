//! Connections to other servers, for work that waits for them on a thread of its own. A connection
//! that was used is kept for some seconds, because the next request often goes to the same server.

use crate::base::clock::Clock;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most connections that are kept.
pub const PEERS_KEPT_MAX: usize = 64;

/// Nanoseconds for which an unused connection is kept.
pub const PEER_KEPT_NS: u64 = 10_000_000_000;

/// The most bytes of a line that a server replies.
pub const PEER_LINE_BYTES_MAX: usize = 1024;

/// The connections that are kept.
static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct Kept {
    peer: Peer,
    used_ns: u64,
}

fn kept() -> MutexGuard<'static, Vec<Kept>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection to another server.
#[derive(Debug)]
pub struct Peer {
    host: String,
    port: String,
    stream: BufReader<TcpStream>,
    /// The database that is selected there; none if it is not known.
    pub db: Option<i64>,
    /// Whether it was used before.
    pub is_kept: bool,
}

impl Peer {
    /// Returns a connection that was kept, or a new one. Each step of its use takes at most
    /// `timeout`.
    pub fn connect(host: &str, port: &str, timeout: Duration) -> io::Result<Peer> {
        let is_it = |it: &Kept| it.peer.host == host && it.peer.port == port;
        let mut all = kept();
        let found = all.iter().position(is_it).map(|at| all.swap_remove(at).peer);
        drop(all);
        let mut peer = match found {
            Some(peer) => Peer { is_kept: true, ..peer },
            None => Peer::open(host, port, timeout)?,
        };
        let stream = peer.stream.get_mut();
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(peer)
    }

    fn open(host: &str, port: &str, timeout: Duration) -> io::Result<Peer> {
        let number: u16 = port.parse().map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        let mut last = io::Error::from(ErrorKind::NotFound);
        for address in (host, number).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let (host, port) = (host.to_string(), port.to_string());
                    let stream = BufReader::new(stream);
                    return Ok(Peer { host, port, stream, db: None, is_kept: false });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Returns the next line without its end.
    pub fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let buffer = self.stream.fill_buf()?;
            if buffer.is_empty() {
                return Err(io::Error::from(ErrorKind::UnexpectedEof));
            }
            let end = memchr::memchr(b'\n', buffer);
            let take = end.map_or(buffer.len(), |end| end + 1);
            line.extend_from_slice(&buffer[..take]);
            self.stream.consume(take);
            if line.len() > PEER_LINE_BYTES_MAX {
                return Err(io::Error::from(ErrorKind::InvalidData));
            }
            if end.is_some() {
                line.truncate(line.len() - 1);
                line.pop_if(|last| *last == b'\r');
                return Ok(line);
            }
        }
    }

    /// Keeps the connection, unless enough are kept.
    pub fn keep(self, clock: &Clock) {
        let mut all = kept();
        if all.len() < PEERS_KEPT_MAX {
            all.push(Kept { peer: self, used_ns: clock.monotonic_ns() });
        }
    }
}

/// Returns whether an operation has taken too long.
pub fn has_timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

/// Returns the number of connections that are kept.
pub fn kept_peers() -> usize {
    kept().len()
}

/// Closes the connections that nobody has used for a while.
pub fn close_idle_peers(clock: &Clock) {
    let now_ns = clock.monotonic_ns();
    kept().retain(|it| now_ns.saturating_sub(it.used_ns) < PEER_KEPT_NS);
}
