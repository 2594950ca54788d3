//! Which bytes of a connection belong to its last command, so that they count for its hash slot.

use super::connection::Connection;

/// The last command of a connection, and the bytes before it.
#[derive(Debug, Default)]
pub struct SlotTally {
    /// Hash slot of the command; none if it has no keys, or keys of several slots.
    slot: Option<u16>,
    /// Whether its reply counts: QUEUED does not.
    counts_reply: bool,
    /// Bytes that count besides its own: of the MULTI before EXEC.
    more_in: u64,
    /// Bytes received and sent before it.
    seen: (u64, u64),
}

/// Bytes of a command and of its reply, for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotBytes {
    /// The slot.
    pub slot: u16,
    /// Bytes of the command.
    pub bytes_in: u64,
    /// Bytes of the reply.
    pub bytes_out: u64,
}

impl Connection {
    /// Returns the bytes of all commands that were taken from the input, and of all replies.
    fn traffic(&self) -> (u64, u64) {
        let pending = (self.input.pending_bytes() as u64, self.outbox.pending_bytes() as u64);
        let session = &self.session;
        (session.received_bytes.saturating_sub(pending.0), session.sent_bytes + pending.1)
    }

    /// Begins to count for the slot of the next command. `more_in` counts besides its own bytes.
    pub fn begin_tally(&mut self, slot: Option<u16>, counts_reply: bool, more_in: u64) {
        let seen = self.traffic();
        let tally = self.tally.get_or_insert_default();
        let seen = if tally.seen == (0, 0) { seen } else { tally.seen };
        **tally = SlotTally { slot, counts_reply, more_in, seen };
    }

    /// Returns the bytes since the last call, for the slot of the last command. A command that is
    /// blocked counts when it ends.
    pub fn take_tally(&mut self) -> Option<SlotBytes> {
        if self.tally.is_none() || self.blocked.is_some() {
            return None;
        }
        let now = self.traffic();
        let tally = self.tally.as_mut().expect("checked above");
        let before = std::mem::replace(&mut tally.seen, now);
        let bytes_in = now.0.saturating_sub(before.0);
        let bytes_out = now.1.saturating_sub(before.1);
        let slot = tally.slot?;
        let bytes_in = bytes_in + if bytes_in > 0 { std::mem::take(&mut tally.more_in) } else { 0 };
        let bytes_out = if tally.counts_reply { bytes_out } else { 0 };
        Some(SlotBytes { slot, bytes_in, bytes_out })
    }

    /// Ends the counting.
    pub fn end_tally(&mut self) {
        self.tally = None;
    }
}
