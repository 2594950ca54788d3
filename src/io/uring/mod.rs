//! The io_uring driver: one ring per thread, multishot accept and receive. A wait is one system
//! call, and so is the send of a small reply.
//!
//! Must not know: what the bytes mean. It needs Linux 6.0; [`Refusal`] says why it is not
//! available.
//!
//! Operations are tagged ([`tag`]) with connection and generation. A connection's number is free
//! again (`Closed`) only when the kernel holds none of its operations. The state machines of the
//! table are drawn in [`conn`].
//!
//! Hot file: bench `echo`.
#![allow(unsafe_code)]

mod buffers;
mod conn;
mod doorbell;
mod receive;
mod ring;
mod send;
mod tag;

use self::buffers::Buffers;
use self::conn::{Conn, Receive, Use};
use self::doorbell::Doorbell;
use self::ring::{Block, Done, Ring};
use self::tag::{Kind, Tag, next_generation};
use super::{
    BufferId, Chunk, Completion, ConnId, Driver, ListenerId, Options, Socket, Statistics, Wait,
    limits, sockets,
};
use io_uring::{cqueue, opcode, squeue, types};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Why io_uring is not available.
#[derive(Debug)]
pub struct Refusal {
    reason: String,
    source: io::Error,
}

impl Refusal {
    fn too_old(what: &str) -> Refusal {
        let source = io::Error::from_raw_os_error(libc::EOPNOTSUPP);
        Refusal { reason: format!("the kernel's io_uring is too old: it lacks {what}"), source }
    }

    fn setup(source: io::Error) -> Refusal {
        let reason = match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                "io_uring is forbidden, by kernel.io_uring_disabled or a seccomp filter"
            }
            Some(libc::ENOSYS) => "the kernel has no io_uring, or a seccomp filter hides it",
            Some(libc::EINVAL) => "the kernel's io_uring is too old: Linux 6.0 is needed",
            Some(libc::ENOMEM) => "no memory for a ring, or the locked-memory limit is too low",
            _ => "the ring could not be set up",
        };
        Refusal { reason: reason.to_string(), source }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} ({})", self.reason, self.source)
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> io::Error {
        io::Error::new(refusal.source.kind(), refusal)
    }
}

/// A listening socket.
struct Listener {
    id: ListenerId,
    socket: OwnedFd,
    /// Whether it was asked to stop; the entry is free once its operation has ended.
    closing: bool,
}

/// Pause of accepting after a failure. The kernel reads it when the operation is submitted.
static ACCEPT_PAUSE: types::Timespec =
    types::Timespec::new().nsec(limits::ACCEPT_PAUSE_MS as u32 * 1_000_000);

/// The io_uring driver of one thread.
pub struct UringDriver {
    ring: Ring,
    /// Dropped by hand, because it is leaked if the kernel may still write into it.
    buffers: ManuallyDrop<Buffers>,
    conns: Vec<Conn>,
    listeners: Vec<Option<Listener>>,
    /// Connections to arm again once buffers were released, with their generation.
    starved: VecDeque<(ConnId, u32)>,
    /// Completions to report before the kernel's.
    ready: VecDeque<Completion>,
    /// Completions of calls made since the last wait; they are reported after the next wait.
    pending: VecDeque<Completion>,
    /// Completions in the queue that belong to the last wait and were not reported yet.
    due: usize,
    /// Operations that will still complete, without the doorbell's.
    under_way: usize,
    doorbell: Doorbell,
    keepalive_s: u32,
    zero_copy_own_bytes_min: usize,
    zero_copy_shared_bytes_min: usize,
}

impl UringDriver {
    /// Creates a driver for the calling thread; no other thread may use it.
    ///
    /// # Errors
    /// The kernel forbids io_uring or lacks a needed feature.
    pub fn new(options: &Options) -> Result<UringDriver, Refusal> {
        let mut ring = Ring::new(options)?;
        let buffers =
            Buffers::new(&ring, options.buffers, options.buffer_bytes).map_err(Refusal::setup)?;
        let doorbell = Doorbell::new(options.doorbell, &ring).map_err(Refusal::setup)?;
        doorbell.arm(&mut ring);
        Ok(UringDriver {
            ring,
            buffers: ManuallyDrop::new(buffers),
            conns: Vec::new(),
            listeners: Vec::new(),
            starved: VecDeque::new(),
            ready: VecDeque::new(),
            pending: VecDeque::new(),
            due: 0,
            under_way: 0,
            doorbell,
            keepalive_s: options.keepalive_s,
            zero_copy_own_bytes_min: options.zero_copy_own_bytes_min,
            zero_copy_shared_bytes_min: options.zero_copy_shared_bytes_min,
        })
    }

    /// Queues an operation that will complete.
    ///
    /// # Safety
    /// As for [`Ring::push`].
    unsafe fn push(&mut self, entry: squeue::Entry, tag: Tag) {
        self.under_way += 1;
        // SAFETY: the caller's promise.
        unsafe { self.ring.push(entry.user_data(tag.0)) };
    }

    fn conn(&mut self, conn: ConnId) -> &mut Conn {
        let place = &mut self.conns[conn as usize];
        assert_ne!(place.used, Use::Free, "the caller names only opened connections");
        place
    }

    /// Returns the entry of a completion's connection. Its number cannot have been reused while one
    /// of its operations was in progress.
    fn tagged(&mut self, tag: Tag) -> &mut Conn {
        let place = &mut self.conns[tag.id() as usize];
        assert_eq!(place.generation, tag.generation(), "a number is reused only after `Closed`");
        assert_ne!(place.used, Use::Free);
        place
    }

    /// Asks the kernel to end an operation.
    fn cancel(&mut self, target: Tag, tag: Tag) {
        let entry = opcode::AsyncCancel::new(target.0).build();
        // SAFETY: the operation names no memory and no descriptor.
        unsafe { self.push(entry, tag) };
    }

    fn accept(&mut self, place: usize) {
        let listener = self.listeners[place].as_ref().expect("only a used place accepts");
        let entry = opcode::AcceptMulti::new(types::Fd(listener.socket.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
            .build();
        // SAFETY: the socket stays open until the operation has ended, see `on_accept`.
        unsafe { self.push(entry, Tag::new(Kind::Accept, 0, place as u32)) };
    }

    fn on_accept(&mut self, done: Done) -> Option<Completion> {
        let place = Tag(done.user_data).id() as usize;
        let listener =
            self.listeners[place].as_ref().expect("an entry is used until its operation ends");
        let (id, closing) = (listener.id, listener.closing);
        let ended = !cqueue::more(done.flags);
        // SAFETY: a completed accept returns a new descriptor without another owner.
        let socket = (done.result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(done.result) });
        if closing {
            if ended {
                self.listeners[place] = None;
            }
            return None;
        }
        if let Some(socket) = socket {
            if ended {
                self.accept(place);
            }
            return Some(Completion::Accepted(id, Socket::Kernel(socket)));
        }
        assert!(ended, "a failure ends the operation");
        match -done.result {
            libc::ECONNABORTED | libc::EINTR | libc::EAGAIN | libc::ECANCELED | libc::EPROTO => {
                self.accept(place);
                None
            }
            error => {
                let entry = opcode::Timeout::new(&ACCEPT_PAUSE).build();
                // SAFETY: the time is a static.
                unsafe { self.push(entry, Tag::new(Kind::AcceptPause, 0, place as u32)) };
                Some(Completion::AcceptFailed(id, io::Error::from_raw_os_error(error)))
            }
        }
    }

    fn on_accept_pause(&mut self, tag: Tag) {
        let place = tag.id() as usize;
        let listener =
            self.listeners[place].as_ref().expect("an entry is used until its operation ends");
        if listener.closing {
            self.listeners[place] = None;
        } else {
            self.accept(place);
        }
    }

    /// Converts a completion of the kernel into at most one of ours; further ones go to `ready`.
    fn translate(&mut self, done: Done) -> Option<Completion> {
        let tag = Tag(done.user_data);
        let kind = tag.kind().expect("every operation is tagged");
        if kind == Kind::Doorbell {
            if self.doorbell.is_armed_by_us() && !cqueue::more(done.flags) {
                self.doorbell.arm(&mut self.ring);
            }
            return Some(Completion::Rung);
        }
        if !cqueue::more(done.flags) {
            assert!(self.under_way > 0, "only operations in progress complete");
            self.under_way -= 1;
        }
        match kind {
            Kind::Accept => self.on_accept(done),
            Kind::Receive => self.on_receive(done),
            Kind::Send => self.on_send(done),
            Kind::CancelReceive => {
                self.on_cancel_receive(tag, done.result);
                None
            }
            Kind::CancelSend => {
                self.on_cancel_send(tag, done.result);
                None
            }
            Kind::AcceptPause => {
                self.on_accept_pause(tag);
                None
            }
            Kind::Doorbell => unreachable!("handled above"),
        }
    }

    /// Releases the parts of a closing connection that no operation needs: the socket once none is
    /// in progress, the number once no notice is due either. If the peer does not read, the kernel
    /// would keep the sent bytes, and the notice would stay due, as long as the peer lives. So the
    /// socket is then closed with a reset.
    fn settle(&mut self, conn: ConnId) -> Option<Completion> {
        let place = &mut self.conns[conn as usize];
        assert_eq!(place.used, Use::Closing);
        if place.is_receiving() || place.is_sending() {
            return None;
        }
        if let Some(socket) = place.socket.take() {
            if place.sending.is_some() && sockets::has_unsent(socket.as_fd()) {
                sockets::reset_on_close(socket.as_fd());
            }
            sockets::discard_input(socket.as_fd());
        }
        if place.sending.is_some() {
            return None;
        }
        place.used = Use::Free;
        Some(Completion::Closed(conn))
    }

    /// Closes everything and waits, within bounds, until the kernel holds no operation of this
    /// driver. Returns whether that succeeded.
    fn drain(&mut self) -> bool {
        /// Rounds of at most 10 ms.
        const ROUNDS: usize = 30;
        for conn in 0..self.conns.len() {
            if self.conns[conn].used == Use::Open {
                self.close(conn as ConnId);
            }
        }
        for place in 0..self.listeners.len() {
            if let Some(id) = self.listeners[place].as_ref().map(|listener| listener.id) {
                self.unlisten(id);
            }
        }
        for _ in 0..ROUNDS {
            while let Some(completion) = self.next() {
                if let Completion::Received { buffer, .. } = completion {
                    self.release(buffer);
                }
            }
            if self.under_way == 0 {
                return true;
            }
            if self.wait(Wait::AtMost(10_000_000)).is_err() {
                return false;
            }
        }
        self.under_way == 0
    }
}

impl Driver for UringDriver {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn listen(&mut self, listener: ListenerId, socket: Socket) -> io::Result<()> {
        let Socket::Kernel(socket) = socket else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let place = match self.listeners.iter().position(Option::is_none) {
            Some(place) => place,
            None if self.listeners.len() < limits::LISTENERS_MAX => {
                self.listeners.push(None);
                self.listeners.len() - 1
            }
            None => return Err(io::Error::from(io::ErrorKind::QuotaExceeded)),
        };
        self.listeners[place] = Some(Listener { id: listener, socket, closing: false });
        self.accept(place);
        Ok(())
    }

    fn unlisten(&mut self, listener: ListenerId) {
        for place in self.listeners.iter_mut().flatten() {
            if place.id == listener && !place.closing {
                place.closing = true;
                // The accept in progress then ends with an error.
                sockets::stop_listening(place.socket.as_fd());
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
        let zero_copy = tcp && self.ring.has_zero_copy();
        let place = &mut self.conns[conn as usize];
        assert_eq!(place.used, Use::Free, "a number is reused only after `Closed`");
        assert!(place.socket.is_none() && place.sending.is_none());
        *place = Conn {
            used: Use::Open,
            generation: next_generation(place.generation),
            socket: Some(socket),
            receive: Receive::Idle,
            wanted: true,
            zero_copy,
            sending: None,
        };
        self.arm_receive(conn);
        Ok(())
    }

    fn receive(&mut self, conn: ConnId, on: bool) {
        let place = self.conn(conn);
        assert_eq!(place.used, Use::Open);
        place.wanted = on;
        match (place.receive, on) {
            (Receive::Idle, true) => self.arm_receive(conn),
            (Receive::Starved, false) => place.receive = Receive::Idle,
            (Receive::Armed, false) => self.cancel_receive(conn),
            _ => {}
        }
    }

    fn send(&mut self, conn: ConnId, chunk: Chunk) -> Option<(Chunk, io::Result<()>)> {
        self.start_send(conn, chunk)
    }

    fn close(&mut self, conn: ConnId) {
        let place = self.conn(conn);
        assert_eq!(place.used, Use::Open, "a connection is closed once");
        place.used = Use::Closing;
        place.wanted = false;
        match place.receive {
            Receive::Armed => self.cancel_receive(conn),
            Receive::Starved => place.receive = Receive::Idle,
            Receive::Idle | Receive::Cancelling | Receive::Over => {}
        }
        if self.conns[conn as usize].is_sending() {
            self.cancel_send(conn);
        }
        let closed = self.settle(conn);
        self.pending.extend(closed);
    }

    fn wait(&mut self, wait: Wait) -> io::Result<()> {
        self.arm_starved();
        self.ready.append(&mut self.pending);
        let block = match wait {
            _ if !self.ready.is_empty() || self.ring.completions() > 0 => Block::No,
            Wait::Poll => Block::No,
            Wait::AtMost(ns) => Block::UntilOne { at_most_ns: ns },
        };
        self.ring.enter(block)?;
        self.due = self.ring.completions();
        Ok(())
    }

    fn has_completions(&self) -> bool {
        self.due > 0 || !self.ready.is_empty()
    }

    fn next(&mut self) -> Option<Completion> {
        loop {
            if let Some(completion) = self.ready.pop_front() {
                return Some(completion);
            }
            if self.due == 0 {
                return None;
            }
            self.due -= 1;
            let done = self.ring.pop().expect("due completions were counted");
            let completion = self.translate(done);
            if completion.is_some() {
                return completion;
            }
        }
    }

    fn bytes(&self, buffer: BufferId, len: u32) -> &[u8] {
        self.buffers.bytes(buffer, len)
    }

    fn release(&mut self, buffer: BufferId) {
        self.buffers.release(buffer);
    }

    fn doorbell(&self) -> std::sync::Arc<dyn super::Ring> {
        self.doorbell.handle()
    }

    fn set_keepalive(&mut self, seconds: u32) {
        self.keepalive_s = seconds;
    }

    fn statistics(&self) -> Statistics {
        self.ring.statistics
    }
}

impl Drop for UringDriver {
    fn drop(&mut self) {
        if self.drain() {
            // SAFETY: dropped only here, and `self.buffers` is not used after this.
            unsafe { ManuallyDrop::drop(&mut self.buffers) };
        } else {
            // The kernel may still read or write this memory: leak it rather than reuse it.
            std::mem::forget(std::mem::take(&mut self.conns));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_cause_and_keeps_the_error() {
        for (code, word) in [
            (libc::EPERM, "forbidden"),
            (libc::ENOSYS, "no io_uring"),
            (libc::EINVAL, "too old"),
            (libc::ENOMEM, "memory"),
            (libc::EMFILE, "could not be set up"),
        ] {
            let refusal = Refusal::setup(io::Error::from_raw_os_error(code));
            let text = refusal.to_string();
            assert!(text.contains(word) && text.contains(&format!("os error {code}")), "{text}");
            let kind = io::Error::from_raw_os_error(code).kind();
            assert_eq!(io::Error::from(refusal).kind(), kind);
        }
    }
}
