//! One connection's place in the table, and its two state machines.
//!
//! ```text
//!  use:      Free --open--> Open --close--> Closing --nothing under way--> Free (`Closed`)
//!
//!  receive:  Idle --arm--> Armed --cancel--> Cancelling --ended--> Idle
//!             ^              |  \--end of input, error--> Over
//!             |              \--no buffer--> Starved --next wait--> Armed
//!             \--ended, and the caller wants no more--/
//!
//!  send:     none --send--> Copy or ZeroCopy --all sent, error--> done --no notice due--> none
//!                            ^--short, not supported--/                           (`Sent`)
//! ```
//!
//! Armed, Cancelling: exactly one receive is under way. A send operation is under way unless the
//! send is done; each zero-copy operation may leave a notice due after that.

use crate::io::Chunk;
use std::io;
use std::os::fd::OwnedFd;

/// What a place in the table is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Free,
    Open,
    Closing,
}

/// The receiving side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receive {
    /// Nothing is under way.
    Idle,
    /// A multishot receive is under way.
    Armed,
    /// It was told to end and has not yet.
    Cancelling,
    /// It ended for want of a buffer; the next wait arms it again.
    Starved,
    /// Nothing more will be received.
    Over,
}

/// How an operation sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By a copy into the socket's buffer.
    Copy,
    /// From our memory.
    ZeroCopy,
}

/// A chunk on its way.
pub(super) struct Sending {
    pub(super) chunk: Chunk,
    /// Bytes that the kernel has taken.
    pub(super) sent: usize,
    /// How the operation under way sends.
    pub(super) way: Way,
    /// Zero-copy operations whose memory the kernel may still read.
    pub(super) notices: u32,
    /// Set once no operation is under way any more.
    pub(super) outcome: Option<io::Result<()>>,
}

/// A place in the table.
pub(super) struct Conn {
    pub(super) used: Use,
    pub(super) generation: u32,
    /// The socket; `None` in a free place, and while closing once no operation needs it.
    pub(super) socket: Option<OwnedFd>,
    pub(super) receive: Receive,
    /// Whether the caller wants to receive.
    pub(super) wanted: bool,
    /// Whether sends without a copy are worth trying.
    pub(super) zero_copy: bool,
    pub(super) sending: Option<Sending>,
}

impl Conn {
    /// A place that was never used.
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

    /// Whether a receive is under way.
    pub(super) fn is_receiving(&self) -> bool {
        matches!(self.receive, Receive::Armed | Receive::Cancelling)
    }

    /// Whether a send operation, rather than only a notice, is under way.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.as_ref().is_some_and(|sending| sending.outcome.is_none())
    }
}
