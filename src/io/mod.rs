//! The data plane's only access to the kernel: one interface, [`Driver`], with three
//! implementations.
//!
//! Must not know: protocol, commands, keys, shards.
//!
//! A shard's turn is: [`Driver::wait`], then [`Driver::next`] until it returns `None`, then work,
//! then sends. Sends are submitted with the next wait. A connection has at most one send in
//! progress.
//!
//! [`open`] picks a driver: io_uring where the kernel allows it, epoll elsewhere. Call it on the
//! thread that uses the driver, because a ring belongs to the thread that created it.

pub mod epoll;
pub mod limits;
mod options;
mod pool;
pub mod simulated;
pub mod sockets;
#[cfg(test)]
mod tests;
pub mod uring;

pub use options::{DoorbellKind, Options, Preference, open};

use bytes::Bytes;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// The shard's number for a connection, small and reused; chosen by the caller of `open`.
pub type ConnId = u32;

/// The caller's number for a listening socket.
pub type ListenerId = u32;

/// A socket before a driver has adopted it.
#[derive(Debug)]
pub enum Socket {
    /// A kernel socket.
    Kernel(OwnedFd),
    /// One end of a simulated connection, or a simulated listening socket.
    Simulated(simulated::End),
}

/// Both ends of a socket, for CLIENT LIST and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketNames {
    /// The remote address: `127.0.0.1:1234`, `[::1]:1234`, `/path:0`.
    pub peer: String,
    /// The local address, in the same form.
    pub local: String,
    /// The descriptor's number, or the number of the simulated connection.
    pub number: i32,
    /// Whether it is a Unix domain socket.
    pub unix: bool,
}

impl Socket {
    /// Returns both addresses of the socket; callable only before a driver adopts it.
    pub fn describe(&self) -> SocketNames {
        match self {
            Socket::Kernel(fd) => SocketNames {
                peer: sockets::peer_name(fd.as_fd()),
                local: sockets::local_name(fd.as_fd()),
                number: fd.as_raw_fd(),
                unix: sockets::is_unix(fd.as_fd()),
            },
            Socket::Simulated(end) => SocketNames {
                peer: format!("simulated:{}", end.number()),
                local: "simulated:0".to_string(),
                number: end.number() as i32,
                unix: false,
            },
        }
    }
}

/// Bytes to send.
#[derive(Debug)]
pub enum Chunk {
    /// Replies written by this shard; [`Completion::Sent`] returns the buffer.
    Own(Vec<u8>),
    /// A large value, shared with the keyspace: sent without a copy where the kernel can.
    Shared(Bytes),
}

impl Chunk {
    /// Returns the bytes to send.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Chunk::Own(bytes) => bytes,
            Chunk::Shared(bytes) => bytes,
        }
    }
}

/// A receive buffer, valid until [`Driver::release`]; never kept beyond the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferId(pub u32);

/// An event that the kernel (or the simulation) reports.
#[derive(Debug)]
pub enum Completion {
    /// A listener has a new connection.
    Accepted(ListenerId, Socket),
    /// Accepting failed, for example for lack of descriptors. The driver tries again after a pause.
    AcceptFailed(ListenerId, io::Error),
    /// `len` bytes arrived in a buffer. Read them with [`Driver::bytes`], then call `release`.
    Received {
        /// The connection that received them.
        conn: ConnId,
        /// The buffer that holds them.
        buffer: BufferId,
        /// The number of bytes, never 0.
        len: u32,
    },
    /// The peer has closed its sending side (`None`) or the connection broke. No more bytes will be
    /// received; the caller must still `close` the connection.
    Hangup(ConnId, Option<io::Error>),
    /// The kernel has taken the whole chunk of a send that did not finish at once, or the send
    /// failed. In both cases the chunk's memory may be used again.
    Sent(ConnId, Chunk, io::Result<()>),
    /// Follows `close`: the kernel holds nothing of this connection any more, its number may be
    /// reused.
    Closed(ConnId),
    /// Another thread rang the doorbell.
    Rung,
}

/// How long [`Driver::wait`] may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Submit queued operations and collect completions without blocking.
    Poll,
    /// Block until there is a completion, at most this number of nanoseconds.
    AtMost(u64),
}

/// Counts since the driver was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Calls into the kernel that submit, collect or wait.
    pub waits: u64,
    /// Completions that the kernel has reported (with epoll: events).
    pub completions: u64,
    /// Times that a connection had bytes to receive and no buffer was free.
    pub buffers_exhausted: u64,
    /// Operations that did not fit into the submission queue at once.
    pub queue_full: u64,
    /// Sends submitted without a copy.
    pub zero_copy_sends: u64,
}

/// Wakes a shard that is blocked in [`Driver::wait`]; usable from any thread, cheap to clone.
pub trait Ring: Send + Sync {
    /// Makes the next (or current) wait return with [`Completion::Rung`].
    fn ring(&self);
}

/// One shard's access to the kernel.
pub trait Driver {
    /// Returns `io_uring`, `epoll` or `simulated`, for the log and INFO.
    fn name(&self) -> &'static str;

    /// Starts to accept on a bound and listening socket.
    fn listen(&mut self, listener: ListenerId, socket: Socket) -> io::Result<()>;

    /// Stops accepting and closes the listening socket; its address is free on return.
    fn unlisten(&mut self, listener: ListenerId);

    /// Adopts a socket as connection `conn` and starts to receive from it.
    fn open(&mut self, conn: ConnId, socket: Socket) -> io::Result<()>;

    /// Stops (`false`) or resumes receiving: back-pressure. Bytes already in progress may still
    /// arrive.
    fn receive(&mut self, conn: ConnId, on: bool);

    /// Sends the whole chunk. Returns it with the result if the kernel has taken it at once, or
    /// refused it. Otherwise [`Completion::Sent`] returns it, and the connection's next send must
    /// wait for that.
    fn send(&mut self, conn: ConnId, chunk: Chunk) -> Option<(Chunk, io::Result<()>)>;

    /// Closes the connection. The only completions that follow are `Sent`, if a send is in
    /// progress, and then `Closed`. The kernel still delivers bytes sent before. A send in progress
    /// is tried once more and then cancelled.
    fn close(&mut self, conn: ConnId);

    /// Submits all operations and waits as `wait` says. An error means that the driver is unusable.
    fn wait(&mut self, wait: Wait) -> io::Result<()>;

    /// Returns whether [`Driver::next`] may have a completion of the last wait.
    fn has_completions(&self) -> bool;

    /// Returns the next completion of the last wait, if any is left.
    fn next(&mut self) -> Option<Completion>;

    /// Returns the bytes of a [`Completion::Received`].
    fn bytes(&self, buffer: BufferId, len: u32) -> &[u8];

    /// Returns a receive buffer to the driver.
    fn release(&mut self, buffer: BufferId);

    /// Returns a handle with which other threads wake this driver.
    fn doorbell(&self) -> std::sync::Arc<dyn Ring>;

    /// Sets the keepalive probes of sockets opened later: the first probe after `seconds` of
    /// silence, none if 0.
    fn set_keepalive(&mut self, seconds: u32);

    /// Returns the counts so far.
    fn statistics(&self) -> Statistics;
}
