//! The data plane's only door to the kernel: one seam, [`Driver`], and three drivers behind it.
//!
//! Must not know: protocol, commands, keys, shards.
//!
//! A shard's turn is: [`Driver::wait`], then [`Driver::next`] until it is empty, then work, then
//! sends; sends leave with the next wait. A connection has at most one send under way.
//!
//! [`open`] picks a driver: io_uring where the kernel allows it, epoll elsewhere. It is called on
//! the thread that uses the driver, for a ring belongs to the thread that made it.

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

/// The shard's own number for a connection, small and reused; chosen by the caller of `open`.
pub type ConnId = u32;

/// The caller's own number for a listening socket.
pub type ListenerId = u32;

/// A socket before a driver has adopted it.
#[derive(Debug)]
pub enum Socket {
    /// A kernel socket.
    Kernel(OwnedFd),
    /// One end of a simulated connection, or a simulated listening socket.
    Simulated(simulated::End),
}

/// Who talks to whom over a socket, for CLIENT LIST and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketNames {
    /// The other side: `127.0.0.1:1234`, `[::1]:1234`, `/path:0`.
    pub peer: String,
    /// This side, in the same form.
    pub local: String,
    /// The descriptor's number, or that of the simulated connection.
    pub number: i32,
    /// A Unix domain socket.
    pub unix: bool,
}

impl Socket {
    /// Both names of the socket; to be asked before a driver adopts it.
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

/// Bytes on their way out.
#[derive(Debug)]
pub enum Chunk {
    /// Replies written by this shard; the buffer comes back with [`Completion::Sent`].
    Own(Vec<u8>),
    /// A large value, shared with the keyspace: sent without a copy where the kernel can.
    Shared(Bytes),
}

impl Chunk {
    /// What is to be sent.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Chunk::Own(bytes) => bytes,
            Chunk::Shared(bytes) => bytes,
        }
    }
}

/// Where received bytes lie until [`Driver::release`]; never kept over a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferId(pub u32);

/// Something that the kernel (or the simulation) has done.
#[derive(Debug)]
pub enum Completion {
    /// A listener has a new connection.
    Accepted(ListenerId, Socket),
    /// Accepting failed (descriptors ran out, say). The driver goes on accepting, after a pause.
    AcceptFailed(ListenerId, io::Error),
    /// `len` bytes arrived in a buffer; read with [`Driver::bytes`], give back with `release`.
    Received {
        /// Whose bytes.
        conn: ConnId,
        /// Where they lie.
        buffer: BufferId,
        /// How many, never 0.
        len: u32,
    },
    /// The peer has closed its sending side (`None`) or the connection broke. Nothing more will
    /// be received; the caller still has to `close`.
    Hangup(ConnId, Option<io::Error>),
    /// The whole chunk was handed to the kernel, or the send failed; either way its memory may be
    /// used again.
    Sent(ConnId, Chunk, io::Result<()>),
    /// After `close`: the kernel holds nothing of this connection any more, the id may be reused.
    Closed(ConnId),
    /// Another thread rang the doorbell.
    Rung,
}

/// How long [`Driver::wait`] may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Submit what is due, collect what is done, do not block.
    Poll,
    /// Block until something is done, at most so many nanoseconds.
    AtMost(u64),
}

/// What a driver has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Calls into the kernel that submit, collect or wait.
    pub waits: u64,
    /// Completions that the kernel has reported (events, with epoll).
    pub completions: u64,
    /// Times that a connection had bytes to receive and no buffer was free.
    pub buffers_exhausted: u64,
    /// Operations that did not fit into the submission queue at once.
    pub queue_full: u64,
    /// Sends that were asked to go without a copy.
    pub zero_copy_sends: u64,
}

/// Wakes a shard that is blocked in [`Driver::wait`]; usable from any thread, cheap to clone.
pub trait Ring: Send + Sync {
    /// Makes the next (or current) wait return with [`Completion::Rung`].
    fn ring(&self);
}

/// One shard's door to the kernel.
pub trait Driver {
    /// `io_uring`, `epoll` or `simulated`, for the log and INFO.
    fn name(&self) -> &'static str;

    /// Accepts on a bound and listening socket from now on.
    fn listen(&mut self, listener: ListenerId, socket: Socket) -> io::Result<()>;

    /// Stops accepting and closes the listening socket; its address is free when this returns.
    fn unlisten(&mut self, listener: ListenerId);

    /// Adopts a socket under `conn`, and starts to receive from it.
    fn open(&mut self, conn: ConnId, socket: Socket) -> io::Result<()>;

    /// Stops (`false`) or resumes receiving: back-pressure. What is under way may still arrive.
    fn receive(&mut self, conn: ConnId, on: bool);

    /// Sends the whole chunk. One at a time per connection: the next after [`Completion::Sent`].
    fn send(&mut self, conn: ConnId, chunk: Chunk);

    /// Ends the connection. No completion of it follows but a `Sent` for a send under way and
    /// then `Closed`. What was sent before is still delivered by the kernel; a send under way is
    /// tried once more and then given up.
    fn close(&mut self, conn: ConnId);

    /// Submits everything and waits as told. Errors only when the door itself is broken.
    fn wait(&mut self, wait: Wait) -> io::Result<()>;

    /// The next completion, if any is left of the last wait.
    fn next(&mut self) -> Option<Completion>;

    /// The bytes of a [`Completion::Received`].
    fn bytes(&self, buffer: BufferId, len: u32) -> &[u8];

    /// Gives a receive buffer back.
    fn release(&mut self, buffer: BufferId);

    /// A handle with which other threads wake this driver.
    fn doorbell(&self) -> std::sync::Arc<dyn Ring>;

    /// Keepalive probes for sockets that are opened from now on: the first after so many seconds
    /// of silence, 0 for none.
    fn set_keepalive(&mut self, seconds: u32);

    /// What was counted so far.
    fn statistics(&self) -> Statistics;
}
