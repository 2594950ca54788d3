//! What all simulated drivers and clients share: links, listening ports, sleepers, randomness.
//!
//! ```text
//!   client --write--> to_server (bounded) --Received--> driver
//!   client <--read--- to_client (window)  <---send----- driver
//! ```
//!
//! A link's two directions end on their own: `finish` ends the first, `close` of the driver the
//! second; a reset breaks both.

use crate::io::{Chunk, ConnId, ListenerId, Ring, Socket};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that a client can write before the driver receives them.
const TO_SERVER_BYTES_MAX: usize = 256 * 1024;
/// Bytes that a driver can send before the client reads them, unless the client sets it.
const WINDOW_BYTES: usize = 256 * 1024;
/// Connections that wait to be accepted on one port.
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

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0);
        (self.next() % bound as u64) as usize
    }

    /// True once in `n` times.
    pub(super) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// How the client's side of a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientSide {
    Open,
    /// It will write no more, but reads.
    Finished,
    /// It neither writes nor reads.
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
    /// The driver's side was closed.
    pub(super) server_closed: bool,
    /// A driver has opened it, or a client only connected so far.
    pub(super) adopted: bool,
}

impl Link {
    /// Bytes that can be sent to the client now.
    pub(super) fn room(&self) -> usize {
        self.window_bytes.saturating_sub(self.to_client.len())
    }

    /// Why sending to the client fails, if it does.
    pub(super) fn send_error(&self) -> Option<io::Error> {
        match self.client {
            ClientSide::Open | ClientSide::Finished => None,
            ClientSide::Closed => Some(io::Error::from_raw_os_error(libc::EPIPE)),
            ClientSide::Reset => Some(io::Error::from_raw_os_error(libc::ECONNRESET)),
        }
    }

    /// Whether the driver has bytes, or the end of them, to receive.
    pub(super) fn has_input(&self) -> bool {
        !self.to_server.is_empty() || self.client != ClientSide::Open
    }
}

/// A chunk on its way to a client.
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
    /// Until when the driver would sleep, on its clock; `None` when it is at work.
    pub(super) asleep_until_ns: Option<u64>,
    pub(super) gone: bool,
}

/// Something that a driver could report now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Accept(ListenerId, u32),
    Receive(ConnId),
    Sent(ConnId),
    Closed(ConnId),
    Ring,
}

/// All that is shared.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) links: Vec<Link>,
    pub(super) sides: Vec<Side>,
    /// Listening ports with the links that wait to be accepted.
    pub(super) ports: BTreeMap<u32, VecDeque<u32>>,
}

impl World {
    /// What driver `index` could report, in the order of its tables.
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

    /// The server's side of a link ends; what was sent can still be read.
    pub(super) fn close_server_side(&mut self, link: u32) {
        let link = &mut self.links[link as usize];
        link.server_closed = true;
        link.to_server = VecDeque::new();
    }

    /// A port is free again; who waited on it is turned away.
    pub(super) fn close_port(&mut self, port: u32) {
        for link in self.ports.remove(&port).unwrap_or_default() {
            self.close_server_side(link);
        }
    }
}

/// A simulated network; cloning shares it. It may be used from several threads, but repeats only
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
    /// A network without anybody. All that is random in it follows from `seed`.
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
        // A test that failed while it held the lock must not hide its failure behind this one.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A socket for `Driver::listen`; clients reach it by `port`.
    ///
    /// # Panics
    /// The port is in use.
    pub fn bind(&self, port: u32) -> Socket {
        let earlier = self.world().ports.insert(port, VecDeque::new());
        assert!(earlier.is_none(), "port {port} is in use");
        Socket::Simulated(End { network: self.clone(), what: What::Port(port) })
    }

    /// Connects to a port. `None`: nobody listens there, or too many wait.
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

    /// A connection that was not accepted from a port: a socket for `Driver::open`, and its peer.
    pub fn pair(&self) -> (Socket, Client) {
        let link = self.world().new_link();
        let end = End { network: self.clone(), what: What::Link(link) };
        (Socket::Simulated(end), Client { network: self.clone(), link })
    }

    /// Every driver sleeps, and nothing that has happened would wake one.
    pub fn is_idle(&self) -> bool {
        let world = self.world();
        (0..world.sides.len()).all(|index| world.is_idle(index))
    }

    /// When the first sleeper wakes by itself, on the drivers' clock; `None` if nobody sleeps.
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
    /// The number of link or port.
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

/// The client's end of a link; cloning shares it, dropping it leaves the link as it is.
#[derive(Clone, Debug)]
pub struct Client {
    network: Network,
    link: u32,
}

impl Client {
    /// Writes as much as the link holds and returns how much that was.
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

    /// The server has closed and everything that it sent was read.
    pub fn is_closed(&self) -> bool {
        let world = self.network.world();
        let link = &world.links[self.link as usize];
        link.to_client.is_empty() && (link.server_closed || link.client == ClientSide::Reset)
    }

    /// Holds at most `bytes` unread bytes; when they are there, the server's sends stall.
    pub fn set_window(&self, bytes: usize) {
        self.network.world().links[self.link as usize].window_bytes = bytes;
    }

    /// Will write no more; the server sees that after what was written.
    pub fn finish(&self) {
        self.end(ClientSide::Finished);
    }

    /// Neither writes nor reads any more.
    pub fn close(&self) {
        self.end(ClientSide::Closed);
    }

    /// Breaks the link at once: what was written and not received is lost.
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

/// A simulated driver's doorbell.
pub(super) struct Bell {
    pub(super) network: Network,
    pub(super) index: usize,
}

impl Ring for Bell {
    fn ring(&self) {
        self.network.world().sides[self.index].rung = true;
    }
}
