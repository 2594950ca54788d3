//! The state that all simulated drivers and clients share: links, ports, sleepers, randomness.
//!
//! ```text
//!   client --write--> to_server (bounded) --Received--> driver
//!   client <--read--- to_client (window)  <---send----- driver
//! ```
//!
//! The two directions of a link end independently: `finish` ends the first, the driver's `close`
//! the second. A reset breaks both.

use crate::io::{Chunk, ConnId, ListenerId, Ring, Socket};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that a client can write before the driver receives them.
const TO_SERVER_BYTES_MAX: usize = 256 * 1024;
/// Default number of bytes that a driver can send before the client reads them.
const WINDOW_BYTES: usize = 256 * 1024;
/// Connections that can wait to be accepted on one port.
const BACKLOG_MAX: usize = 1024;

/// A seeded generator (splitmix64).
pub(super) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0);
        (self.next() % bound as u64) as usize
    }

    /// Returns true once in `n` times on average.
    pub(super) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// State of the client's side of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientSide {
    Open,
    /// The client writes no more, but still reads.
    Finished,
    /// The client neither writes nor reads.
    Closed,
    /// The link broke.
    Reset,
}

/// A connection between a client and a driver.
pub(super) struct Link {
    pub(super) to_server: VecDeque<u8>,
    pub(super) to_client: VecDeque<u8>,
    window_bytes: usize,
    pub(super) client: ClientSide,
    /// Whether the driver's side was closed.
    pub(super) server_closed: bool,
    /// Whether a driver has opened the link; false while only a client has connected.
    pub(super) adopted: bool,
}

impl Link {
    /// Returns the number of bytes that can be sent to the client now.
    pub(super) fn room(&self) -> usize {
        self.window_bytes.saturating_sub(self.to_client.len())
    }

    /// Returns the error of a send to the client, if it would fail.
    pub(super) fn send_error(&self) -> Option<io::Error> {
        match self.client {
            ClientSide::Open | ClientSide::Finished => None,
            ClientSide::Closed => Some(io::Error::from_raw_os_error(libc::EPIPE)),
            ClientSide::Reset => Some(io::Error::from_raw_os_error(libc::ECONNRESET)),
        }
    }

    /// Whether the driver can receive bytes or the end of input.
    pub(super) fn has_input(&self) -> bool {
        !self.to_server.is_empty() || self.client != ClientSide::Open
    }
}

/// A chunk in the course of being sent to a client.
pub(super) struct Sending {
    pub(super) chunk: Chunk,
    pub(super) sent: usize,
    pub(super) outcome: Option<io::Result<()>>,
}

/// A driver's view of one of its connections.
pub(super) struct Conn {
    pub(super) link: u32,
    pub(super) wanted: bool,
    pub(super) over: bool,
    pub(super) closing: bool,
    pub(super) sending: Option<Sending>,
}

/// One driver's part of the network.
#[derive(Default)]
pub(super) struct Side {
    pub(super) conns: Vec<Option<Conn>>,
    pub(super) listeners: Vec<(ListenerId, u32)>,
    pub(super) rung: bool,
    /// The time until which the driver would sleep, on its clock; `None` while it works.
    pub(super) asleep_until_ns: Option<u64>,
    pub(super) gone: bool,
}

/// An event that a driver could report now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Accept(ListenerId, u32),
    Receive(ConnId),
    Sent(ConnId),
    Closed(ConnId),
    Ring,
}

/// The state shared by all drivers and clients.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) links: Vec<Link>,
    pub(super) sides: Vec<Side>,
    /// Listening ports, each with the links that wait to be accepted.
    pub(super) ports: BTreeMap<u32, VecDeque<u32>>,
}

impl World {
    /// Returns the events that driver `index` could report, in the order of its tables.
    pub(super) fn events(&self, index: usize) -> Vec<Event> {
        let side = &self.sides[index];
        let mut events = Vec::new();
        for (listener, port) in &side.listeners {
            let waiting = self.ports.get(port).map_or(0, VecDeque::len);
            events.extend((0..waiting).map(|_| Event::Accept(*listener, *port)));
        }
        for (number, conn) in side.conns.iter().enumerate() {
            let Some(conn) = conn else { continue };
            let number = number as ConnId;
            let link = &self.links[conn.link as usize];
            match &conn.sending {
                Some(sending) => {
                    let done = sending.outcome.is_some();
                    if done || link.room() > 0 || link.send_error().is_some() {
                        events.push(Event::Sent(number));
                    }
                }
                None if conn.closing => events.push(Event::Closed(number)),
                None => {}
            }
            if conn.wanted && !conn.over && !conn.closing && link.has_input() {
                events.push(Event::Receive(number));
            }
        }
        if side.rung {
            events.push(Event::Ring);
        }
        events
    }

    fn is_idle(&self, index: usize) -> bool {
        let side = &self.sides[index];
        if side.gone {
            return true;
        }
        side.asleep_until_ns.is_some() && self.events(index).is_empty()
    }

    fn new_link(&mut self) -> u32 {
        self.links.push(Link {
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            window_bytes: WINDOW_BYTES,
            client: ClientSide::Open,
            server_closed: false,
            adopted: false,
        });
        self.links.len() as u32 - 1
    }

    /// Closes the server's side of a link; the client can still read the bytes sent before.
    pub(super) fn close_server_side(&mut self, link: u32) {
        let link = &mut self.links[link as usize];
        link.server_closed = true;
        link.to_server = VecDeque::new();
    }

    /// Frees a port and closes the links that wait on it.
    pub(super) fn close_port(&mut self, port: u32) {
        for link in self.ports.remove(&port).unwrap_or_default() {
            self.close_server_side(link);
        }
    }
}

/// A simulated network; clones share it. Several threads may use it, but a run is reproducible only
/// if they take turns.
#[derive(Clone)]
pub struct Network {
    world: Arc<Mutex<World>>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Network")
    }
}

impl Network {
    /// Creates a network without drivers and clients. All of its randomness follows from `seed`.
    pub fn new(seed: u64) -> Network {
        let world = World {
            random: Random(seed),
            links: Vec::new(),
            sides: Vec::new(),
            ports: BTreeMap::new(),
        };
        Network { world: Arc::new(Mutex::new(world)) }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        // A test that panics while it holds the lock must not hide its own failure.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a listening socket for `Driver::listen`; clients connect to `port`.
    ///
    /// # Panics
    /// The port is in use.
    pub fn bind(&self, port: u32) -> Socket {
        let earlier = self.world().ports.insert(port, VecDeque::new());
        assert!(earlier.is_none(), "port {port} is in use");
        Socket::Simulated(End { network: self.clone(), what: What::Port(port) })
    }

    /// Connects to a port. Returns `None` if nothing listens there or the port's backlog is full.
    pub fn connect(&self, port: u32) -> Option<Client> {
        let mut world = self.world();
        if world.ports.get(&port)?.len() >= BACKLOG_MAX {
            return None;
        }
        let link = world.new_link();
        world.ports.get_mut(&port)?.push_back(link);
        drop(world);
        Some(Client { network: self.clone(), link })
    }

    /// Returns both ends of a connection without a port: a socket for `Driver::open`, and its
    /// client.
    pub fn pair(&self) -> (Socket, Client) {
        let link = self.world().new_link();
        let end = End { network: self.clone(), what: What::Link(link) };
        (Socket::Simulated(end), Client { network: self.clone(), link })
    }

    /// Whether every driver sleeps and no event would wake one.
    pub fn is_idle(&self) -> bool {
        let world = self.world();
        (0..world.sides.len()).all(|index| world.is_idle(index))
    }

    /// Returns when the first sleeping driver wakes by itself, on the drivers' clock.
    pub fn wakes_at_ns(&self) -> Option<u64> {
        self.world().sides.iter().filter_map(|side| side.asleep_until_ns).min()
    }
}

/// What an [`End`] stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Port(u32),
    Link(u32),
}

/// The server's end of a link before a driver has opened it, or a bound port before a driver
/// listens on it. Dropping it closes it.
#[derive(Debug)]
pub struct End {
    pub(super) network: Network,
    pub(super) what: What,
}

impl End {
    /// Returns the number of the link or port.
    pub fn number(&self) -> u32 {
        match self.what {
            What::Port(number) | What::Link(number) => number,
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut world = self.network.world();
        match self.what {
            What::Link(link) if !world.links[link as usize].adopted => {
                world.close_server_side(link);
            }
            What::Port(port) => {
                let taken = |side: &Side| side.listeners.iter().any(|(_, taken)| *taken == port);
                if !world.sides.iter().any(taken) {
                    world.close_port(port);
                }
            }
            What::Link(_) => {}
        }
    }
}

/// The client's end of a link; clones share it, dropping it does not change the link.
#[derive(Clone, Debug)]
pub struct Client {
    network: Network,
    link: u32,
}

impl Client {
    /// Writes the bytes that the link has room for and returns their number.
    pub fn write(&self, bytes: &[u8]) -> usize {
        let mut world = self.network.world();
        let link = &mut world.links[self.link as usize];
        if link.client != ClientSide::Open || link.server_closed {
            return 0;
        }
        let len = bytes.len().min(TO_SERVER_BYTES_MAX - link.to_server.len());
        link.to_server.extend(&bytes[..len]);
        len
    }

    /// Takes at most `max` of the bytes that have arrived.
    pub fn read_some(&self, max: usize) -> Vec<u8> {
        let mut world = self.network.world();
        let link = &mut world.links[self.link as usize];
        let len = link.to_client.len().min(max);
        link.to_client.drain(..len).collect()
    }

    /// Takes all bytes that have arrived.
    pub fn read(&self) -> Vec<u8> {
        self.read_some(usize::MAX)
    }

    /// Whether the server has closed the link and the client has read all bytes.
    pub fn is_closed(&self) -> bool {
        let world = self.network.world();
        let link = &world.links[self.link as usize];
        link.to_client.is_empty() && (link.server_closed || link.client == ClientSide::Reset)
    }

    /// Sets the number of unread bytes that the client holds; when it is reached, sends stall.
    pub fn set_window(&self, bytes: usize) {
        self.network.world().links[self.link as usize].window_bytes = bytes;
    }

    /// Stops writing; the server sees the end of input after the bytes written before.
    pub fn finish(&self) {
        self.end(ClientSide::Finished);
    }

    /// Stops writing and reading.
    pub fn close(&self) {
        self.end(ClientSide::Closed);
    }

    /// Breaks the link at once: bytes written but not received are lost.
    pub fn reset(&self) {
        self.end(ClientSide::Reset);
        self.network.world().links[self.link as usize].to_server.clear();
    }

    fn end(&self, how: ClientSide) {
        let mut world = self.network.world();
        let link = &mut world.links[self.link as usize];
        link.client = how;
        if matches!(how, ClientSide::Closed | ClientSide::Reset) {
            link.to_client.clear();
        }
    }
}

/// The doorbell of a simulated driver.
pub(super) struct Bell {
    pub(super) network: Network,
    pub(super) index: usize,
}

impl Ring for Bell {
    fn ring(&self) {
        self.network.world().sides[self.index].rung = true;
    }
}
