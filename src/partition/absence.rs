//! Whether the slice is handed over, and what waits until it is back.

use crate::mesh::{Envelope, MovedWaiter};
use std::collections::VecDeque;

/// The absence of the slice.
#[derive(Debug, Default)]
pub(super) struct Absence {
    is_away: bool,
    /// Whether another partition's slice is in the place of the stand-in, for the length of a call.
    has_guest: bool,
    /// What needs the slice and no lock, in order. At most one request per connection of the
    /// process, and few entries per client that watched keys or was blocked before the slice left.
    /// Empty while the slice is here.
    late: VecDeque<Late>,
}

/// Something that needs the slice and does not wait for locks.
#[derive(Debug)]
pub(super) enum Late {
    /// A request about keys.
    Request(Box<Envelope>),
    /// Ends the watches of the client with this id.
    Unwatch(u64),
    /// Removes the blocked client with this ticket.
    Forget(u64),
    /// Makes the keys ready whose queues are busy with the client with this ticket.
    Idle(u64),
    /// Makes the keys ready that a pause has delayed.
    Resume,
    /// Lists clients that are blocked on keys of slots that have come.
    MovedWaiters(Vec<MovedWaiter>),
}

impl Absence {
    /// Returns whether the slice is away.
    #[inline]
    pub(super) fn is_away(&self) -> bool {
        self.is_away
    }

    /// Returns whether another partition's slice is here.
    pub(super) fn has_guest(&self) -> bool {
        self.has_guest
    }

    /// Records whether another partition's slice is here.
    pub(super) fn set_guest(&mut self, on: bool) {
        assert!(self.is_away && self.has_guest != on, "a guest comes in place of the stand-in");
        self.has_guest = on;
    }

    /// Records that the slice leaves.
    pub(super) fn begin(&mut self) {
        assert!(!self.is_away && self.late.is_empty(), "the slice leaves once");
        self.is_away = true;
    }

    /// Records that the slice is back. The caller then takes what is late.
    pub(super) fn end(&mut self) {
        assert!(self.is_away, "the slice comes home once");
        self.is_away = false;
    }

    /// Keeps something until the slice is back.
    pub(super) fn keep(&mut self, late: Late) {
        assert!(self.is_away, "what the slice is here for is done at once");
        let is_again = matches!((&late, self.late.back()), (Late::Resume, Some(Late::Resume)));
        if !is_again {
            self.late.push_back(late);
        }
    }

    /// Takes the oldest late entry.
    pub(super) fn take_late(&mut self) -> Option<Late> {
        assert!(!self.is_away);
        self.late.pop_front()
    }
}
