//! The data plane's only door to the kernel: one seam, [`Driver`], and three drivers behind it.
//!
//! Must not know: protocol, commands, keys, shards.
//!
//! A shard's turn is: [`Driver::wait`], then [`Driver::next`] until it is empty, then work, then
//! sends; sends leave with the next wait. A connection has at most one send under way.

use bytes::Bytes;
use std::io;
use std::os::fd::OwnedFd;

/// The shard's own number for a connection, small and reused; chosen by the caller of `open`.
pub type ConnId = u32;

/// The caller's own number for a listening socket.
pub type ListenerId = u32;

/// A socket before a driver has adopted it.
#[derive(Debug)]
pub enum Socket {
    /// A kernel socket.
    Kernel(OwnedFd),
    /// One end of a simulated connection.
    Simulated(u32),
}

/// Bytes on their way out.
#[derive(Debug)]
pub enum Chunk {
    /// Replies written by this shard; the buffer comes back with [`Completion::Sent`].
    Own(Vec<u8>),
    /// A large value, shared with the keyspace: sent without a copy where the kernel can.
    Shared(Bytes),
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
    /// The whole chunk was handed to the kernel and its memory may be used again, or the send failed.
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
    fn listen(&mut self, listener: ListenerId, socket: OwnedFd) -> io::Result<()>;

    /// Stops accepting and closes the listening socket.
    fn unlisten(&mut self, listener: ListenerId);

    /// Adopts a socket under `conn`, and starts to receive from it.
    fn open(&mut self, conn: ConnId, socket: Socket) -> io::Result<()>;

    /// Stops (`false`) or resumes receiving: back-pressure. What is under way may still arrive.
    fn receive(&mut self, conn: ConnId, on: bool);

    /// Sends the whole chunk. One at a time per connection: the next after [`Completion::Sent`].
    fn send(&mut self, conn: ConnId, chunk: Chunk);

    /// Ends the connection. No completion of it follows but a `Sent` for a send under way and
    /// then `Closed`. What was sent before is still delivered by the kernel.
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
}
