//! A move of hash slots to another partition: its state between two steps.

use crate::base::slot_map::SlotSet;
use crate::exec::Item;
use crate::mesh::{ReplyAddress, TransactionId};
use crate::resp::{Error, Protocol};

/// What a move is doing, see `transaction/moves`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Phase {
    /// Clients are served. The next step begins later.
    Resting,
    /// The shards are told to hold commands back.
    Holding,
    /// All shards hold commands back. They look whether everything earlier is over.
    Checking,
    /// This unit moves slots.
    Moving(TransactionId),
    /// Slots have moved, and the unit's last round is sent.
    Moved,
    /// The shards take what follows from that.
    Settling,
    /// The shards are told to serve commands again.
    Serving,
}

/// Why a step of a move has to be tried again. A higher number counts more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(in crate::shard) enum Hindrance {
    /// Commands, scripts or transactions are under way.
    Units = 1,
    /// A snapshot is being made.
    Snapshot = 2,
    /// A file is being loaded, or the process stops.
    Loading = 3,
}

impl Hindrance {
    /// Returns the hindrance with this number.
    pub(in crate::shard) fn of(number: u8) -> Option<Hindrance> {
        [Hindrance::Units, Hindrance::Snapshot, Hindrance::Loading]
            .into_iter()
            .find(|hindrance| *hindrance as u8 == number)
    }

    /// Returns the error of a move that has waited for too long.
    pub(in crate::shard) fn error(self) -> Error {
        let why = match self {
            Hindrance::Units => "commands or scripts take too long",
            Hindrance::Snapshot => "a snapshot is being made",
            Hindrance::Loading => "a file is being loaded",
        };
        Error::other(format!("TRYAGAIN Slots cannot move now: {why}"))
    }
}

/// A move that is under way.
#[derive(Debug)]
pub(in crate::shard) struct SlotMove {
    /// Reply that the client waits for.
    pub(super) to: ReplyAddress,
    pub(super) protocol: Protocol,
    /// The client's command, with its arguments.
    pub(super) item: Item,
    pub(super) args: Vec<Box<[u8]>>,
    /// Slots that have not moved yet.
    pub(super) left: SlotSet,
    /// Partition that they move to.
    pub(super) target: u16,
    pub(super) phase: Phase,
    /// Checks since the shards hold commands back.
    pub(super) checks: u32,
    /// Steps that were tried since the last slot has moved.
    pub(super) tries: u32,
    /// What has hindered the last step.
    pub(super) hindrance: Option<Hindrance>,
    /// Why the move ends before all slots have moved.
    pub(super) failure: Option<Error>,
    /// Monotonic nanoseconds at which commands were held back.
    pub(super) held_ns: u64,
    /// Monotonic nanoseconds at which the next step may begin.
    pub(super) rests_until_ns: u64,
    /// Monotonic nanoseconds at which the move has begun, or its last slot has moved.
    pub(super) advanced_ns: u64,
}
