//! A recording server, clients of every kind, and the list of drivers to test.

use crate::base::clock::{Clock, ManualClock};
use crate::io::simulated::{Client, Network};
use crate::io::*;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Turns after which a test gives up; an idle turn takes a millisecond.
const TURNS_MAX: usize = 20_000;

/// The client's end of a connection.
pub enum Peer {
    Tcp { stream: TcpStream, ended: bool, broken: bool },
    Unix { stream: UnixStream, ended: bool },
    Simulated(Client),
}

/// Converts the result of a nonblocking call: `None` if the call would block.
fn nonblocking(result: io::Result<usize>) -> Result<Option<usize>, io::Error> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Peer {
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        match self {
            Peer::Tcp { stream, .. } => nonblocking(stream.write(bytes)).ok().flatten(),
            Peer::Unix { stream, .. } => nonblocking(stream.write(bytes)).ok().flatten(),
            Peer::Simulated(client) => Some(client.write(bytes)),
        }
        .unwrap_or(0)
    }

    pub fn read(&mut self, max: usize) -> Vec<u8> {
        let mut bytes = vec![0; max];
        let count = match self {
            Peer::Tcp { stream, ended, broken } => match nonblocking(stream.read(&mut bytes)) {
                Ok(Some(count)) => {
                    *ended |= count == 0;
                    count
                }
                Ok(None) => 0,
                Err(_) => {
                    (*ended, *broken) = (true, true);
                    0
                }
            },
            Peer::Unix { stream, ended } => match nonblocking(stream.read(&mut bytes)) {
                Ok(Some(count)) => {
                    *ended |= count == 0;
                    count
                }
                Ok(None) => 0,
                Err(_) => {
                    *ended = true;
                    0
                }
            },
            Peer::Simulated(client) => {
                bytes = client.read_some(max);
                bytes.len()
            }
        };
        bytes.truncate(count);
        bytes
    }

    /// Whether the server has closed the connection and the client has read all bytes.
    pub fn is_closed(&mut self) -> bool {
        match self {
            Peer::Tcp { ended, .. } | Peer::Unix { ended, .. } => *ended,
            Peer::Simulated(client) => client.is_closed(),
        }
    }

    /// Whether the connection ended with an error instead of an end of input.
    pub fn is_broken(&self) -> bool {
        matches!(self, Peer::Tcp { broken: true, .. })
    }

    pub fn finish(&mut self) {
        match self {
            Peer::Tcp { stream, .. } => stream.shutdown(Shutdown::Write).unwrap(),
            Peer::Unix { stream, .. } => stream.shutdown(Shutdown::Write).unwrap(),
            Peer::Simulated(client) => client.finish(),
        }
    }

    pub fn close(self) {
        if let Peer::Simulated(client) = self {
            client.close();
        }
    }
}

/// How clients reach the server.
enum Way {
    Tcp(u16),
    Unix(PathBuf),
    Simulated(Network, u32),
}

/// What the server has seen of one connection.
#[derive(Default)]
pub struct Seen {
    pub input: Vec<u8>,
    pub hangup: Option<Option<io::Error>>,
    pub sent: Vec<io::Result<()>>,
    pub closed: bool,
}

/// A driver with a listener, and the completions that it has reported.
pub struct Server {
    pub name: String,
    pub driver: Box<dyn Driver>,
    pub seen: HashMap<ConnId, Seen>,
    /// Accepted connections that the test has not taken, in the order of acceptance.
    pub accepted: Vec<ConnId>,
    pub rung: usize,
    /// Whether receive buffers are kept until the end of the turn.
    pub holds_buffers: bool,
    free: Vec<ConnId>,
    fresh: ConnId,
    way: Way,
}

/// The listener's number in all tests.
pub const LISTENER: ListenerId = 7;

impl Server {
    /// Runs one turn; returns the number of completions.
    pub fn turn(&mut self, wait: Wait) -> usize {
        self.driver.wait(wait).unwrap();
        let mut held = Vec::new();
        let mut count = 0;
        while let Some(completion) = self.driver.next() {
            count += 1;
            match completion {
                Completion::Accepted(listener, socket) => {
                    assert_eq!(listener, LISTENER);
                    let conn = self.open(socket);
                    self.accepted.push(conn);
                }
                Completion::AcceptFailed(_, error) => panic!("{}: accept: {error}", self.name),
                Completion::Received { conn, buffer, len } => {
                    assert!(len > 0);
                    let seen = self.seen.get_mut(&conn).unwrap();
                    assert!(!seen.closed && seen.hangup.is_none());
                    seen.input.extend_from_slice(self.driver.bytes(buffer, len));
                    if self.holds_buffers { held.push(buffer) } else { self.driver.release(buffer) }
                }
                Completion::Hangup(conn, error) => {
                    let seen = self.seen.get_mut(&conn).unwrap();
                    assert!(seen.hangup.is_none() && !seen.closed);
                    seen.hangup = Some(error);
                }
                Completion::Sent(conn, chunk, result) => {
                    assert!(!chunk.as_slice().is_empty());
                    let seen = self.seen.get_mut(&conn).unwrap();
                    assert!(!seen.closed);
                    seen.sent.push(result);
                }
                Completion::Closed(conn) => {
                    let seen = self.seen.get_mut(&conn).unwrap();
                    assert!(!seen.closed);
                    seen.closed = true;
                    self.free.push(conn);
                }
                Completion::Rung => self.rung += 1,
            }
        }
        held.into_iter().for_each(|buffer| self.driver.release(buffer));
        count
    }

    /// Sends a chunk, and records its end if the kernel has taken it at once.
    pub fn send(&mut self, conn: ConnId, chunk: Chunk) {
        if let Some((chunk, result)) = self.driver.send(conn, chunk) {
            assert!(!chunk.as_slice().is_empty());
            self.seen.get_mut(&conn).unwrap().sent.push(result);
        }
    }

    pub fn open(&mut self, socket: Socket) -> ConnId {
        let conn = self.free.pop().unwrap_or_else(|| {
            self.fresh += 1;
            self.fresh
        });
        self.driver.open(conn, socket).unwrap();
        self.seen.insert(conn, Seen::default());
        conn
    }

    /// Runs turns until `done` returns true.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Server) -> bool) {
        for _ in 0..TURNS_MAX {
            if done(self) {
                return;
            }
            self.turn(Wait::AtMost(1_000_000));
        }
        panic!("{}: {what} did not happen", self.name);
    }

    /// Runs turns until nothing has happened for 20 of them.
    pub fn until_quiet(&mut self) {
        let mut quiet = 0;
        while quiet < 20 {
            quiet = if self.turn(Wait::AtMost(1_000_000)) == 0 { quiet + 1 } else { 0 };
        }
    }

    pub fn connect(&self) -> Peer {
        match &self.way {
            Way::Tcp(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port)).unwrap();
                stream.set_nonblocking(true).unwrap();
                Peer::Tcp { stream, ended: false, broken: false }
            }
            Way::Unix(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_nonblocking(true).unwrap();
                Peer::Unix { stream, ended: false }
            }
            Way::Simulated(network, port) => Peer::Simulated(network.connect(*port).unwrap()),
        }
    }

    /// Connects a client; returns it and the number of its accepted connection.
    pub fn accept(&mut self) -> (Peer, ConnId) {
        let peer = self.connect();
        self.until("accepting", |server| !server.accepted.is_empty());
        (peer, self.accepted.remove(0))
    }

    pub fn seen(&mut self, conn: ConnId) -> &mut Seen {
        self.seen.get_mut(&conn).unwrap()
    }

    /// Returns a new listening socket on the same address.
    pub fn bind(&self) -> Socket {
        match &self.way {
            Way::Tcp(port) => Socket::Kernel(sockets::listen_tcp("127.0.0.1", *port, 511).unwrap()),
            Way::Unix(path) => Socket::Kernel(sockets::listen_unix(path, 0o700, 511).unwrap()),
            Way::Simulated(network, port) => network.bind(*port),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Way::Unix(path) = &self.way {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn server(name: String, driver: Box<dyn Driver>, way: Way, socket: Socket) -> Server {
    let mut server = Server {
        name,
        driver,
        seen: HashMap::new(),
        accepted: Vec::new(),
        rung: 0,
        holds_buffers: false,
        free: Vec::new(),
        fresh: 0,
        way,
    };
    server.driver.listen(LISTENER, socket).unwrap();
    server
}

/// Creates a server on the wanted kernel driver, listening on TCP or on a Unix socket.
fn kernel_server(preference: Preference, unix: bool, options: &Options) -> Option<Server> {
    static PATHS: AtomicU32 = AtomicU32::new(0);
    let driver = match open(preference, options) {
        Ok((driver, _)) => driver,
        Err(error) => {
            println!("skipped {preference:?}: {error}");
            return None;
        }
    };
    let name = format!("{} unix={unix} {:?}", driver.name(), options.doorbell);
    if unix {
        let number = PATHS.fetch_add(1, Ordering::Relaxed);
        let file = format!("annulet-io-{}-{number}.sock", std::process::id());
        let path = std::env::temp_dir().join(file);
        let socket = sockets::listen_unix(&path, 0o700, 511).unwrap();
        return Some(server(name, driver, Way::Unix(path), Socket::Kernel(socket)));
    }
    let socket = sockets::listen_tcp("127.0.0.1", 0, 511).unwrap();
    let local = sockets::local_name(socket.as_fd());
    let port = local.rsplit(':').next().unwrap().parse().unwrap();
    Some(server(name, driver, Way::Tcp(port), Socket::Kernel(socket)))
}

/// Runs a test on every driver: both kernel drivers, by TCP and by Unix socket, and the simulated
/// driver with several seeds.
pub fn with_each(options: Options, mut test: impl FnMut(Server)) {
    for preference in [Preference::Uring, Preference::Epoll] {
        for unix in [false, true] {
            if let Some(server) = kernel_server(preference, unix, &options) {
                test(server);
            }
        }
    }
    let message = Options { doorbell: DoorbellKind::MessageRing, ..options.clone() };
    if let Some(server) = kernel_server(Preference::Uring, false, &message) {
        test(server);
    }
    for seed in 1..=8 {
        let network = Network::new(seed);
        let driver = Box::new(network.driver(Clock::Manual(ManualClock::new(0)), &options));
        let socket = network.bind(6379);
        let way = Way::Simulated(network, 6379);
        test(server(format!("simulated seed={seed}"), driver, way, socket));
    }
}

/// Returns bytes in which a swap, loss or repetition shows.
pub fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|index| ((index + seed) % 251) as u8 ^ ((index >> 12) as u8)).collect()
}
