//! One connection's entry in the table, and its state machines.
//!
//! ```text
//!  use:      Free --open--> Open --close--> Closing --no operation left--> Free (`Closed`)
//!
//!  receive:  Idle --arm--> Armed --cancel--> Cancelling --ended--> Idle
//!             ^              |  \--end of input, error--> Over
//!             |              \--no buffer--> Starved --next wait--> Armed
//!             \--ended, and the caller has paused receiving--/
//!
//!  send:     none --send--> Copy or ZeroCopy --all sent, error--> done --no notice due--> none
//!                            ^--short, not supported--/                           (`Sent`)
//! ```
//!
//! In Armed and Cancelling exactly one receive operation is in progress. A send operation is in
//! progress until the send is done. Each zero-copy operation may leave a notice due after that.

use crate::io::Chunk;
use std::io;
use std::os::fd::OwnedFd;

/// State of an entry in the connection table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Free,
    Open,
    Closing,
}

/// State of the receiving side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receive {
    /// No operation is in progress.
    Idle,
    /// A multishot receive is in progress.
    Armed,
    /// The receive was asked to end and has not ended yet.
    Cancelling,
    /// The receive ended for lack of a buffer; the next wait arms it again.
    Starved,
    /// No more bytes will be received.
    Over,
}

/// How an operation sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By a copy into the socket's buffer.
    Copy,
    /// From the chunk's own memory.
    ZeroCopy,
}

/// A chunk that is being sent.
pub(super) struct Sending {
    pub(super) chunk: Chunk,
    /// Bytes that the kernel has taken.
    pub(super) sent: usize,
    /// How the operation in progress sends.
    pub(super) way: Way,
    /// Zero-copy operations whose memory the kernel may still read.
    pub(super) notices: u32,
    /// The result, set once no operation is in progress any more.
    pub(super) outcome: Option<io::Result<()>>,
}

/// An entry of the connection table.
pub(super) struct Conn {
    pub(super) used: Use,
    pub(super) generation: u32,
    /// The socket; `None` in a free entry, and while closing once no operation needs it.
    pub(super) socket: Option<OwnedFd>,
    pub(super) receive: Receive,
    /// Whether the caller wants to receive.
    pub(super) wanted: bool,
    /// Whether zero-copy sends are worth trying.
    pub(super) zero_copy: bool,
    pub(super) sending: Option<Sending>,
}

impl Conn {
    /// Creates an entry that was never used.
    pub(super) fn free() -> Conn {
        Conn {
            used: Use::Free,
            generation: 0,
            socket: None,
            receive: Receive::Idle,
            wanted: false,
            zero_copy: false,
            sending: None,
        }
    }

    /// Whether a receive operation is in progress.
    pub(super) fn is_receiving(&self) -> bool {
        matches!(self.receive, Receive::Armed | Receive::Cancelling)
    }

    /// Whether a send operation, not only a notice, is in progress.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.as_ref().is_some_and(|sending| sending.outcome.is_none())
    }
}
