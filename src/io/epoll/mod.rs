//! The epoll driver, for kernels and containers that forbid io_uring. It keeps the contract of
//! [`Driver`].
//!
//! Must not know: what the bytes mean.
//!
//! Sockets are watched edge-triggered. A connection with readable input stays in a queue until a
//! read finds nothing. Reads happen in [`Driver::next`], so that a buffer is still in the cache
//! when its bytes are parsed. One turn makes at most [`limits::READS_PER_WAIT`] reads per
//! connection.
//!
//! ```text
//!   event: input ---> queued ---> read: bytes ---> queued (the buffer was full: there may be more)
//!                       ^            |  \--- short read or EAGAIN ---> not readable
//!     receive(true) ----/            \--- 0 or an error ---> over (`Hangup`)
//! ```
//!
//! A send is tried at once. Bytes that do not fit wait for the event that reports room in the
//! socket.

mod poller;

use self::poller::{Event, Poller};
use super::pool::Pool;
use super::{
    BufferId, Chunk, Completion, ConnId, Driver, ListenerId, Options, Ring, Socket, Statistics,
    Wait, limits, sockets,
};
use crate::base::clock::Clock;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Events that every connection is watched for.
const INPUT: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
/// Bits that announce the end of input: after one of them, reads continue until a read reports the
/// end.
const ENDING: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;

/// Tag of the doorbell's descriptor.
const TAG_DOORBELL: u64 = u64::MAX;
/// First tag of the listeners: a listener's tag is this plus its index. A connection's tag is its
/// number.
const TAG_LISTENERS: u64 = 1 << 32;

/// State of an entry in the connection table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Free,
    Open,
    /// The caller has closed the connection; the entry is free once `Closed` was reported.
    Closing,
}

struct Conn {
    used: Use,
    socket: Option<OwnedFd>,
    /// Whether the caller wants to receive.
    wanted: bool,
    /// Whether the socket may have input.
    readable: bool,
    /// Whether the connection is in the queue of connections to read from.
    queued: bool,
    /// Whether an event has announced the end of input.
    ending: bool,
    /// Whether `Hangup` was reported.
    over: bool,
    /// The chunk that did not fit into the socket, and how many of its bytes were sent.
    sending: Option<(Chunk, usize)>,
}

impl Conn {
    fn free() -> Conn {
        Conn {
            used: Use::Free,
            socket: None,
            wanted: false,
            readable: false,
            queued: false,
            ending: false,
            over: false,
            sending: None,
        }
    }

    fn is_to_read(&self) -> bool {
        self.used == Use::Open && self.wanted && self.readable && !self.over
    }
}

struct Listener {
    id: ListenerId,
    socket: OwnedFd,
    /// Accepting is paused until this time on the monotonic clock, in nanoseconds.
    paused_until_ns: Option<u64>,
}

/// The doorbell: an event counter that epoll watches.
struct Counter(File);

impl Ring for Counter {
    fn ring(&self) {
        // A write fails only if the counter would overflow, after 2^64 rings.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }
}

/// The epoll driver of one thread.
pub struct EpollDriver {
    poller: Poller,
    pool: Pool,
    conns: Vec<Conn>,
    listeners: Vec<Option<Listener>>,
    /// Connections that may have input, the longest waiting first.
    readable: VecDeque<ConnId>,
    /// Connections in `readable` that this turn has still to read from.
    visits: usize,
    /// Reads made in this turn from the connection at the front of `readable`.
    reads: usize,
    ready: VecDeque<Completion>,
    /// Completions of calls made since the last wait; they are reported after the next wait.
    pending: VecDeque<Completion>,
    counter: Arc<Counter>,
    clock: Clock,
    keepalive_s: u32,
    statistics: Statistics,
}

impl EpollDriver {
    /// Creates a driver for one thread.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new(options: &Options) -> io::Result<EpollDriver> {
        let poller = Poller::new()?;
        let counter = Arc::new(Counter(sockets::event_counter()?));
        poller.watch(counter.0.as_fd(), TAG_DOORBELL, libc::EPOLLIN as u32)?;
        Ok(EpollDriver {
            poller,
            pool: Pool::new(options.buffers, options.buffer_bytes),
            conns: Vec::new(),
            listeners: Vec::new(),
            readable: VecDeque::new(),
            visits: 0,
            reads: 0,
            ready: VecDeque::new(),
            pending: VecDeque::new(),
            counter,
            clock: Clock::System,
            keepalive_s: options.keepalive_s,
            statistics: Statistics::default(),
        })
    }

    fn conn(&mut self, conn: ConnId) -> &mut Conn {
        let place = &mut self.conns[conn as usize];
        assert_eq!(place.used, Use::Open, "the caller names only open connections");
        place
    }

    /// Appends a connection to the queue of connections to read from, unless it is already there.
    fn queue(&mut self, conn: ConnId) {
        let place = &mut self.conns[conn as usize];
        if place.is_to_read() && !place.queued {
            place.queued = true;
            self.readable.push_back(conn);
        }
    }

    fn on_event(&mut self, event: Event) {
        self.statistics.completions += 1;
        if event.tag == TAG_DOORBELL {
            let mut count = [0; 8];
            // If there is nothing to read, an earlier read has taken this ring too.
            let _ = (&self.counter.0).read(&mut count);
            self.ready.push_back(Completion::Rung);
        } else if event.tag >= TAG_LISTENERS {
            self.accept((event.tag - TAG_LISTENERS) as usize);
        } else {
            let conn = event.tag as ConnId;
            if self.conns[conn as usize].used != Use::Open {
                return;
            }
            if event.bits & (libc::EPOLLOUT | libc::EPOLLERR | libc::EPOLLHUP) as u32 != 0 {
                self.continue_send(conn);
            }
            if event.bits & (libc::EPOLLIN as u32 | ENDING) != 0 {
                let place = &mut self.conns[conn as usize];
                place.readable = true;
                place.ending |= event.bits & ENDING != 0;
                self.queue(conn);
            }
        }
    }

    fn accept(&mut self, place: usize) {
        for _ in 0..limits::ACCEPTS_PER_WAIT {
            let Some(listener) = &mut self.listeners[place] else { return };
            let error = match poller::accept(listener.socket.as_fd()) {
                Ok(socket) => {
                    let socket = Socket::Kernel(socket);
                    self.ready.push_back(Completion::Accepted(listener.id, socket));
                    continue;
                }
                Err(error) => error,
            };
            match error.raw_os_error() {
                Some(libc::EAGAIN) => return,
                Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO) => continue,
                _ => {}
            }
            let pause_ns = limits::ACCEPT_PAUSE_MS * 1_000_000;
            listener.paused_until_ns = Some(self.clock.monotonic_ns() + pause_ns);
            // Clearing the watched bits does not fail; if it did, the pause would only be shorter.
            let tag = TAG_LISTENERS + place as u64;
            let _ = self.poller.rewatch(listener.socket.as_fd(), tag, 0);
            self.ready.push_back(Completion::AcceptFailed(listener.id, error));
            return;
        }
    }

    /// Resumes accepting on listeners whose pause is over. Returns the nanoseconds to the next end
    /// of a pause.
    fn resume_accepting(&mut self) -> Option<u64> {
        let mut next_ns: Option<u64> = None;
        for (place, listener) in self.listeners.iter_mut().enumerate() {
            let Some(listener) = listener else { continue };
            let Some(until_ns) = listener.paused_until_ns else { continue };
            let left_ns = until_ns.saturating_sub(self.clock.monotonic_ns());
            if left_ns > 0 {
                next_ns = Some(next_ns.map_or(left_ns, |ns| ns.min(left_ns)));
                continue;
            }
            let tag = TAG_LISTENERS + place as u64;
            let resumed =
                self.poller.rewatch(listener.socket.as_fd(), tag, libc::EPOLLIN as u32).is_ok();
            listener.paused_until_ns = if resumed { None } else { Some(until_ns) };
        }
        next_ns
    }

    /// Sends the bytes that fit. Returns `None` when some are left.
    fn push_bytes(
        &mut self,
        conn: ConnId,
        chunk: &Chunk,
        sent: &mut usize,
    ) -> Option<io::Result<()>> {
        let socket = self.conns[conn as usize].socket.as_ref().expect("an open socket");
        let bytes = chunk.as_slice();
        while *sent < bytes.len() {
            match sockets::send_now(socket.as_fd(), &bytes[*sent..]) {
                Ok(count) => *sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(()))
    }

    fn continue_send(&mut self, conn: ConnId) {
        let Some((chunk, mut sent)) = self.conns[conn as usize].sending.take() else { return };
        match self.push_bytes(conn, &chunk, &mut sent) {
            None => self.conns[conn as usize].sending = Some((chunk, sent)),
            Some(outcome) => {
                let socket = self.conns[conn as usize].socket.as_ref().expect("an open socket");
                // If this fails, useless events arrive: that costs time and breaks nothing.
                let _ = self.poller.rewatch(socket.as_fd(), u64::from(conn), INPUT);
                self.ready.push_back(Completion::Sent(conn, chunk, outcome));
            }
        }
    }

    /// Removes the connection at the front of the queue, or moves it to the back if `again`, and
    /// goes on to the next.
    fn visited(&mut self, again: bool) {
        let conn = self.readable.pop_front().expect("the queue has a front");
        self.conns[conn as usize].queued = again;
        if again {
            self.readable.push_back(conn);
        }
        self.visits -= 1;
        self.reads = 0;
    }

    /// Reads once from the connection at the front of the queue.
    fn read(&mut self) -> Option<Completion> {
        let conn = self.readable[0];
        let place = &mut self.conns[conn as usize];
        if !place.is_to_read() {
            self.visited(false);
            return None;
        }
        let Some(buffer) = self.pool.take() else {
            self.statistics.buffers_exhausted += 1;
            self.visits = 0;
            return None;
        };
        let socket = place.socket.as_ref().expect("an open socket");
        let to = self.pool.bytes_mut(buffer);
        let room = to.len();
        let error = match poller::receive(socket.as_fd(), to) {
            Ok(0) => None,
            Ok(len) => {
                // A short read has emptied the socket: later input raises a new event.
                place.readable = len == room || place.ending;
                self.reads += 1;
                if !place.readable {
                    self.visited(false);
                } else if self.reads == limits::READS_PER_WAIT {
                    self.visited(true);
                }
                return Some(Completion::Received { conn, buffer, len: len as u32 });
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.pool.release(buffer);
                return None;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                place.readable = false;
                self.pool.release(buffer);
                self.visited(false);
                return None;
            }
            Err(error) => Some(error),
        };
        place.over = true;
        self.pool.release(buffer);
        self.visited(false);
        Some(Completion::Hangup(conn, error))
    }
}

impl Driver for EpollDriver {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn listen(&mut self, listener: ListenerId, socket: Socket) -> io::Result<()> {
        let Socket::Kernel(socket) = socket else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        sockets::set_nonblocking(socket.as_fd())?;
        let place = match self.listeners.iter().position(Option::is_none) {
            Some(place) => place,
            None if self.listeners.len() < limits::LISTENERS_MAX => self.listeners.len(),
            None => return Err(io::Error::from(io::ErrorKind::QuotaExceeded)),
        };
        let tag = TAG_LISTENERS + place as u64;
        self.poller.watch(socket.as_fd(), tag, libc::EPOLLIN as u32)?;
        if place == self.listeners.len() {
            self.listeners.push(None);
        }
        self.listeners[place] = Some(Listener { id: listener, socket, paused_until_ns: None });
        Ok(())
    }

    fn unlisten(&mut self, listener: ListenerId) {
        for place in &mut self.listeners {
            if let Some(found) = place.take_if(|place| place.id == listener) {
                sockets::stop_listening(found.socket.as_fd());
            }
        }
    }

    fn open(&mut self, conn: ConnId, socket: Socket) -> io::Result<()> {
        assert!(conn < limits::CONNECTIONS_MAX, "connection numbers are bounded");
        let Socket::Kernel(socket) = socket else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        while self.conns.len() <= conn as usize {
            self.conns.push(Conn::free());
        }
        let tcp = sockets::set_nodelay(socket.as_fd());
        if tcp && self.keepalive_s > 0 {
            sockets::set_keepalive(socket.as_fd(), self.keepalive_s)?;
        }
        assert_eq!(
            self.conns[conn as usize].used,
            Use::Free,
            "a number is reused only after `Closed`"
        );
        self.poller.watch(socket.as_fd(), u64::from(conn), INPUT)?;
        let queued = self.conns[conn as usize].queued;
        self.conns[conn as usize] =
            Conn { used: Use::Open, socket: Some(socket), wanted: true, queued, ..Conn::free() };
        Ok(())
    }

    fn receive(&mut self, conn: ConnId, on: bool) {
        self.conn(conn).wanted = on;
        self.queue(conn);
    }

    fn send(&mut self, conn: ConnId, chunk: Chunk) -> Option<(Chunk, io::Result<()>)> {
        assert!(self.conn(conn).sending.is_none(), "one send at a time");
        assert!(!chunk.as_slice().is_empty(), "there is something to send");
        let mut sent = 0;
        if let Some(outcome) = self.push_bytes(conn, &chunk, &mut sent) {
            return Some((chunk, outcome));
        }
        let socket = self.conns[conn as usize].socket.as_ref().expect("an open socket");
        let bits = INPUT | libc::EPOLLOUT as u32;
        if let Err(error) = self.poller.rewatch(socket.as_fd(), u64::from(conn), bits) {
            return Some((chunk, Err(error)));
        }
        self.conns[conn as usize].sending = Some((chunk, sent));
        None
    }

    fn close(&mut self, conn: ConnId) {
        self.conn(conn);
        if let Some((chunk, mut sent)) = self.conns[conn as usize].sending.take() {
            let outcome = self.push_bytes(conn, &chunk, &mut sent);
            let given_up = Err(io::Error::from_raw_os_error(libc::ECANCELED));
            let outcome = outcome.unwrap_or(given_up);
            self.pending.push_back(Completion::Sent(conn, chunk, outcome));
        }
        let place = self.conn(conn);
        let socket = place.socket.take().expect("an open socket");
        place.used = Use::Closing;
        sockets::discard_input(socket.as_fd());
        self.pending.push_back(Completion::Closed(conn));
    }

    fn wait(&mut self, wait: Wait) -> io::Result<()> {
        let blocks = self.ready.is_empty() && self.readable.is_empty() && self.pending.is_empty();
        let resume_ns = self.resume_accepting().unwrap_or(u64::MAX);
        let at_most_ns = match wait {
            Wait::AtMost(ns) if blocks => ns.min(resume_ns),
            _ => 0,
        };
        let at_most_ms = at_most_ns.min(limits::WAIT_NS_MAX).div_ceil(1_000_000);
        self.ready.append(&mut self.pending);
        self.statistics.waits += 1;
        for index in 0..self.poller.wait(at_most_ms as i32)? {
            self.on_event(self.poller.event(index));
        }
        self.visits = self.readable.len();
        self.reads = 0;
        Ok(())
    }

    fn has_completions(&self) -> bool {
        self.visits > 0 || !self.ready.is_empty()
    }

    fn next(&mut self) -> Option<Completion> {
        let completion = self.ready.pop_front();
        if let Some(Completion::Closed(conn)) = completion {
            self.conns[conn as usize].used = Use::Free;
        }
        if completion.is_some() {
            return completion;
        }
        while self.visits > 0 {
            let completion = self.read();
            if completion.is_some() {
                return completion;
            }
        }
        None
    }

    fn bytes(&self, buffer: BufferId, len: u32) -> &[u8] {
        self.pool.bytes(buffer, len)
    }

    fn release(&mut self, buffer: BufferId) {
        self.pool.release(buffer);
    }

    fn doorbell(&self) -> Arc<dyn Ring> {
        self.counter.clone()
    }

    fn set_keepalive(&mut self, seconds: u32) {
        self.keepalive_s = seconds;
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}
