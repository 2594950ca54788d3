//! Connections to other servers, for work that waits for them on a thread of its own. A connection
//! that was used is kept for some seconds, because the next request often goes to the same server.
//!
//! ```text
//!   Peer::connect --kept one, or TCP--> wrap: TLS, or nothing --> send, line ... --> keep
//! ```

use crate::base::clock::Clock;
use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most connections that are kept.
pub const PEERS_KEPT_MAX: usize = 64;

/// Nanoseconds for which an unused connection is kept.
pub const PEER_KEPT_NS: u64 = 10_000_000_000;

/// The most bytes of a line that a server replies.
pub const PEER_LINE_BYTES_MAX: usize = 1024;

/// Bytes that are sent in one step.
const STEP_BYTES: usize = 64 << 10;

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

/// A socket whose operations fail with [`ErrorKind::TimedOut`] at the end of a step, however often
/// the other side sends a byte.
#[derive(Debug)]
pub struct TimedSocket {
    socket: TcpStream,
    timeout: Duration,
    /// Monotonic nanoseconds at which the step ends.
    until_ns: u64,
}

impl TimedSocket {
    fn new(socket: TcpStream, timeout: Duration) -> TimedSocket {
        let mut made = TimedSocket { socket, timeout, until_ns: 0 };
        made.begin_step();
        made
    }

    fn begin_step(&mut self) {
        let timeout_ns = u64::try_from(self.timeout.as_nanos()).unwrap_or(u64::MAX);
        self.until_ns = Clock::System.monotonic_ns().saturating_add(timeout_ns);
    }

    /// Returns the time until the end of the step.
    fn left(&self) -> io::Result<Duration> {
        match self.until_ns.saturating_sub(Clock::System.monotonic_ns()) {
            0 => Err(ErrorKind::TimedOut.into()),
            left_ns => Ok(Duration::from_nanos(left_ns)),
        }
    }
}

impl Read for TimedSocket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        self.socket.read(bytes)
    }
}

impl Write for TimedSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What carries the bytes of a connection: a socket, or encryption on top of one.
pub trait Carrier: Read + Write + Send + fmt::Debug {
    /// Returns the socket.
    fn socket(&mut self) -> &mut TimedSocket;
}

impl Carrier for TimedSocket {
    fn socket(&mut self) -> &mut TimedSocket {
        self
    }
}

/// Makes the carrier of a new connection.
pub type Wrap<'a> = &'a dyn Fn(TimedSocket) -> io::Result<Box<dyn Carrier>>;

/// The server that a connection goes to, and what may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name or address.
    pub host: String,
    /// Its port, as a client has written it.
    pub port: String,
    /// Whether the connection is encrypted.
    pub is_secure: bool,
    /// A digest of the user and the password that it was opened with. A client without them must
    /// not use the connection.
    pub credentials: [u8; 32],
}

/// A connection to another server.
#[derive(Debug)]
pub struct Peer {
    target: Target,
    stream: BufReader<Box<dyn Carrier>>,
    /// The database that is selected there; none if it is not known.
    pub db: Option<i64>,
    /// Whether it was used before.
    pub is_kept: bool,
}

impl Peer {
    /// Returns a connection that was kept, or a new one. Each step of its use takes at most
    /// `timeout`.
    pub fn connect(target: &Target, timeout: Duration, wrap: Wrap<'_>) -> io::Result<Peer> {
        let mut all = kept();
        let found = all.iter().position(|it| it.peer.target == *target);
        let found = found.map(|at| all.swap_remove(at).peer);
        drop(all);
        let mut peer = match found {
            Some(peer) => Peer { is_kept: true, ..peer },
            None => Peer::open(target, timeout, wrap)?,
        };
        peer.socket().timeout = timeout;
        Ok(peer)
    }

    fn open(target: &Target, timeout: Duration, wrap: Wrap<'_>) -> io::Result<Peer> {
        let port: u16 =
            target.port.parse().map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        let mut last = io::Error::from(ErrorKind::NotFound);
        for address in (&target.host[..], port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    let stream = BufReader::new(wrap(TimedSocket::new(socket, timeout))?);
                    return Ok(Peer { target: target.clone(), stream, db: None, is_kept: false });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn socket(&mut self) -> &mut TimedSocket {
        self.stream.get_mut().socket()
    }

    /// Sends bytes, in steps.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(STEP_BYTES) {
            self.socket().begin_step();
            self.stream.get_mut().write_all(piece)?;
            // Encryption may have kept some of it.
            self.stream.get_mut().flush()?;
        }
        Ok(())
    }

    /// Returns the next line without its end, in one step.
    pub fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.socket().begin_step();
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
