//! The tag of an operation: the 64 bits that the kernel returns with its completion.
//!
//! ```text
//!   63    56 55         32 31            0
//!   | kind  | generation  | connection   |     for a listener: its index instead of a connection
//! ```
//!
//! The generation counts the uses of a connection's number, so that a late cancellation cannot hit
//! the next user. Example: kind 2 (receive), generation 5, connection 7 is 0x0200_0005_0000_0007.

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Accept = 1,
    Receive = 2,
    Send = 3,
    CancelReceive = 4,
    CancelSend = 5,
    AcceptPause = 6,
    Doorbell = 7,
}

/// Generations are taken modulo this number.
const GENERATIONS: u32 = 1 << 24;

/// The tag of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(pub(super) u64);

impl Tag {
    pub(super) fn new(kind: Kind, generation: u32, id: u32) -> Tag {
        assert!(generation < GENERATIONS);
        Tag(u64::from(kind as u8) << 56 | u64::from(generation) << 32 | u64::from(id))
    }

    /// Returns the kind, or `None` for a tag that the driver never submitted.
    pub(super) fn kind(self) -> Option<Kind> {
        Some(match self.0 >> 56 {
            1 => Kind::Accept,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::CancelReceive,
            5 => Kind::CancelSend,
            6 => Kind::AcceptPause,
            7 => Kind::Doorbell,
            _ => return None,
        })
    }

    pub(super) fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & (GENERATIONS - 1)
    }

    pub(super) fn id(self) -> u32 {
        self.0 as u32
    }
}

/// Returns the generation after `generation`.
pub(super) fn next_generation(generation: u32) -> u32 {
    (generation + 1) % GENERATIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_as_drawn() {
        let tag = Tag::new(Kind::Receive, 5, 7);
        assert_eq!(tag.0, 0x0200_0005_0000_0007);
        assert_eq!((tag.kind(), tag.generation(), tag.id()), (Some(Kind::Receive), 5, 7));
        let last = Tag::new(Kind::Doorbell, GENERATIONS - 1, u32::MAX);
        assert_eq!((last.kind(), last.generation()), (Some(Kind::Doorbell), GENERATIONS - 1));
        assert_eq!(last.id(), u32::MAX);
        assert_eq!(next_generation(GENERATIONS - 1), 0);
        assert_eq!(Tag(0).kind(), None);
    }
}
