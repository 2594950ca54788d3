//! A shard's driver in a simulated network.

use super::network::{Bell, Conn, End, Event, Network, Sending, Side, What, World};
use crate::base::clock::Clock;
use crate::io::pool::Pool;
use crate::io::{
    BufferId, Chunk, Completion, ConnId, Driver, ListenerId, Options, Ring, Socket, Statistics,
    Wait, limits,
};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// One completion in this number is delayed to the next wait.
const DELAYED_ONCE_IN: usize = 4;
/// One receive, or send, in this number moves only a random part of the bytes.
const SPLIT_ONCE_IN: usize = 3;
/// One send in this number starts with the next wait, not at once.
const QUEUED_ONCE_IN: usize = 2;

/// The simulated driver; it may move to another thread with its shard.
pub struct SimulatedDriver {
    network: Network,
    index: usize,
    clock: Clock,
    pool: Pool,
    ready: VecDeque<Completion>,
    statistics: Statistics,
}

impl Network {
    /// Adds a driver to this network; its sleeps are measured on `clock`.
    pub fn driver(&self, clock: Clock, options: &Options) -> SimulatedDriver {
        let mut world = self.world();
        world.sides.push(Side::default());
        let index = world.sides.len() - 1;
        drop(world);
        SimulatedDriver {
            network: self.clone(),
            index,
            clock,
            pool: Pool::new(options.buffers, options.buffer_bytes),
            ready: VecDeque::new(),
            statistics: Statistics::default(),
        }
    }
}

/// Returns the connection `number` of driver `index`, which must be open.
fn conn(world: &mut World, index: usize, number: ConnId) -> &mut Conn {
    let place = world.sides[index].conns[number as usize].as_mut();
    let conn = place.expect("the caller names only opened connections");
    assert!(!conn.closing, "the caller names no closed connections");
    conn
}

/// Moves the bytes of a chunk that fit to the client, or a random part of them if `may_split`; or
/// sets the outcome.
fn push_bytes(world: &mut World, index: usize, number: ConnId, may_split: bool) {
    let World { random, links, sides, .. } = world;
    let Some(conn) = sides[index].conns[number as usize].as_mut() else { return };
    let link = &mut links[conn.link as usize];
    let Some(sending) = conn.sending.as_mut().filter(|sending| sending.outcome.is_none()) else {
        return;
    };
    let rest = &sending.chunk.as_slice()[sending.sent..];
    let mut len = rest.len().min(link.room());
    if may_split && len > 1 && random.once_in(SPLIT_ONCE_IN) {
        len = 1 + random.below(len);
    }
    if let Some(error) = link.send_error() {
        sending.outcome = Some(Err(error));
    } else {
        link.to_client.extend(&rest[..len]);
        sending.sent += len;
        if sending.sent == sending.chunk.as_slice().len() {
            sending.outcome = Some(Ok(()));
        }
    }
}

impl SimulatedDriver {
    /// Converts an event into a completion, if the event is still possible.
    fn report(&mut self, world: &mut World, event: Event) -> Option<Completion> {
        match event {
            Event::Accept(listener, port) => {
                let link = world.ports.get_mut(&port)?.pop_front()?;
                let end = End { network: self.network.clone(), what: What::Link(link) };
                Some(Completion::Accepted(listener, Socket::Simulated(end)))
            }
            Event::Receive(number) => self.receive_some(world, number),
            Event::Sent(number) => {
                push_bytes(world, self.index, number, true);
                let conn = world.sides[self.index].conns[number as usize].as_mut()?;
                let sending = conn.sending.take_if(|sending| sending.outcome.is_some())?;
                let outcome = sending.outcome.expect("the filter has checked it");
                Some(Completion::Sent(number, sending.chunk, outcome))
            }
            Event::Closed(number) => {
                world.sides[self.index].conns[number as usize] = None;
                Some(Completion::Closed(number))
            }
            Event::Ring => {
                world.sides[self.index].rung = false;
                Some(Completion::Rung)
            }
        }
    }

    fn receive_some(&mut self, world: &mut World, number: ConnId) -> Option<Completion> {
        let World { random, links, sides, .. } = world;
        let conn = sides[self.index].conns[number as usize].as_mut()?;
        let link = &mut links[conn.link as usize];
        if link.to_server.is_empty() {
            conn.over = true;
            let reset = link.client == super::network::ClientSide::Reset;
            let error = reset.then(|| io::Error::from_raw_os_error(libc::ECONNRESET));
            return Some(Completion::Hangup(number, error));
        }
        let Some(buffer) = self.pool.take() else {
            self.statistics.buffers_exhausted += 1;
            return None;
        };
        let to = self.pool.bytes_mut(buffer);
        let mut len = link.to_server.len().min(to.len());
        if random.once_in(SPLIT_ONCE_IN) {
            len = 1 + random.below(len);
        }
        for (to, from) in to.iter_mut().zip(link.to_server.drain(..len)) {
            *to = from;
        }
        Some(Completion::Received { conn: number, buffer, len: len as u32 })
    }
}

/// Returns the link or port of a simulated socket.
fn simulated(socket: &Socket) -> io::Result<What> {
    match socket {
        Socket::Simulated(end) => Ok(end.what),
        Socket::Kernel(_) => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}

impl Driver for SimulatedDriver {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn listen(&mut self, listener: ListenerId, socket: Socket) -> io::Result<()> {
        let What::Port(port) = simulated(&socket)? else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let mut world = self.network.world();
        let side = &mut world.sides[self.index];
        assert!(side.listeners.len() < limits::LISTENERS_MAX);
        side.listeners.push((listener, port));
        Ok(())
    }

    fn unlisten(&mut self, listener: ListenerId) {
        let mut world = self.network.world();
        let listeners = &mut world.sides[self.index].listeners;
        let ours = |entry: &(ListenerId, u32)| entry.0 == listener;
        let ports: Vec<u32> = listeners.iter().filter(|entry| ours(entry)).map(|e| e.1).collect();
        listeners.retain(|entry| !ours(entry));
        for port in ports {
            world.close_port(port);
        }
    }

    fn open(&mut self, number: ConnId, socket: Socket) -> io::Result<()> {
        assert!(number < limits::CONNECTIONS_MAX, "connection numbers are bounded");
        let What::Link(link) = simulated(&socket)? else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let mut world = self.network.world();
        assert!(!world.links[link as usize].adopted, "a socket is opened once");
        world.links[link as usize].adopted = true;
        let conns = &mut world.sides[self.index].conns;
        while conns.len() <= number as usize {
            conns.push(None);
        }
        let place = &mut conns[number as usize];
        assert!(place.is_none(), "a number is reused only after `Closed`");
        *place = Some(Conn { link, wanted: true, over: false, closing: false, sending: None });
        Ok(())
    }

    fn receive(&mut self, number: ConnId, on: bool) {
        conn(&mut self.network.world(), self.index, number).wanted = on;
    }

    fn send(&mut self, number: ConnId, chunk: Chunk) -> Option<(Chunk, io::Result<()>)> {
        assert!(!chunk.as_slice().is_empty(), "there is something to send");
        let mut world = self.network.world();
        let place = conn(&mut world, self.index, number);
        assert!(place.sending.is_none(), "one send at a time");
        place.sending = Some(Sending { chunk, sent: 0, outcome: None });
        if !world.random.once_in(QUEUED_ONCE_IN) {
            push_bytes(&mut world, self.index, number, true);
        }
        let place = conn(&mut world, self.index, number);
        let Sending { chunk, outcome, .. } =
            place.sending.take_if(|sending| sending.outcome.is_some())?;
        Some((chunk, outcome.expect("the filter has checked it")))
    }

    fn close(&mut self, number: ConnId) {
        let mut world = self.network.world();
        push_bytes(&mut world, self.index, number, false);
        let conn = conn(&mut world, self.index, number);
        conn.closing = true;
        if let Some(sending) = &mut conn.sending {
            let given_up = || Err(io::Error::from_raw_os_error(libc::ECANCELED));
            sending.outcome.get_or_insert_with(given_up);
        }
        let link = conn.link;
        world.close_server_side(link);
    }

    fn wait(&mut self, wait: Wait) -> io::Result<()> {
        let network = self.network.clone();
        let mut world = network.world();
        self.statistics.waits += 1;
        for number in 0..world.sides[self.index].conns.len() {
            push_bytes(&mut world, self.index, number as ConnId, true);
        }
        let mut events = world.events(self.index);
        let idle = self.ready.is_empty() && events.is_empty();
        let side = &mut world.sides[self.index];
        side.asleep_until_ns = match wait {
            Wait::AtMost(ns) if idle => {
                Some(self.clock.monotonic_ns().saturating_add(ns.min(limits::WAIT_NS_MAX)))
            }
            _ => None,
        };
        while !events.is_empty() {
            let pick = world.random.below(events.len());
            let event = events.swap_remove(pick);
            if world.random.once_in(DELAYED_ONCE_IN) {
                continue;
            }
            let completion = self.report(&mut world, event);
            self.statistics.completions += u64::from(completion.is_some());
            self.ready.extend(completion);
        }
        Ok(())
    }

    fn has_completions(&self) -> bool {
        !self.ready.is_empty()
    }

    fn next(&mut self) -> Option<Completion> {
        while let Some(completion) = self.ready.pop_front() {
            let (Completion::Received { conn: number, .. } | Completion::Hangup(number, _)) =
                completion
            else {
                return Some(completion);
            };
            let world = self.network.world();
            let open = world.sides[self.index].conns[number as usize].as_ref();
            if open.is_some_and(|conn| !conn.closing) {
                return Some(completion);
            }
            if let Completion::Received { buffer, .. } = completion {
                self.pool.release(buffer);
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
        Arc::new(Bell { network: self.network.clone(), index: self.index })
    }

    /// Does nothing: a simulated connection needs no probes.
    fn set_keepalive(&mut self, _seconds: u32) {}

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}

impl Drop for SimulatedDriver {
    fn drop(&mut self) {
        let mut world = self.network.world();
        let side = std::mem::take(&mut world.sides[self.index]);
        world.sides[self.index].gone = true;
        for conn in side.conns.into_iter().flatten() {
            world.close_server_side(conn.link);
        }
        for (_, port) in side.listeners {
            world.close_port(port);
        }
    }
}
