//! Replies that wait until forwarded commands have finished.
//!
//! A command that unblocks clients serves them itself before its reply is sent. If an unblocked
//! client's command uses keys of other shards, its home runs it in several rounds. The reply goes
//! home at once, but it waits in the output of its own connection until these rounds, and all
//! commands that they unblock, have finished. So the client sees the same state as with a single
//! Redis, and no other client waits.
//!
//! ```text
//!   owner   unblocks, Forward --> home   rounds, the last replied --ForwardDone--> owner: Release
//!              '--reply with a hold--> output of the connection: waits --Release--> sent
//! ```
//! At most one hold per unit, and at most one unit per connection: a connection with a hold runs no
//! further command.

use crate::mesh::{ForwardId, HoldId, Holder};
use std::collections::HashMap;

/// A reply that waits at its home.
#[derive(Debug)]
struct Hold {
    /// Number of forwarded commands that have not finished.
    left: usize,
    holder: Holder,
}

/// The forwarded commands of a partition, and the replies that wait for them.
#[derive(Debug, Default)]
pub(super) struct DeferredReplies {
    /// Commands forwarded by the unit that runs now.
    begun: Vec<ForwardId>,
    next_forward: u64,
    /// Number of forwarded commands that have not finished.
    under_way: usize,
    /// Holds, and the hold of each forwarded command.
    holds: HashMap<HoldId, Hold>,
    held_by: HashMap<ForwardId, HoldId>,
    next_hold: u64,
}

impl DeferredReplies {
    /// Begins a unit, which has forwarded no command yet.
    pub(super) fn begin(&mut self) {
        self.begun.clear();
    }

    /// Returns the number of a command that is forwarded now.
    pub(super) fn forward(&mut self) -> ForwardId {
        self.next_forward += 1;
        self.under_way += 1;
        let id = ForwardId(self.next_forward);
        self.begun.push(id);
        id
    }

    /// Returns whether no forwarded command is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    /// Returns a hold on the unit's reply until the commands that the unit has forwarded have
    /// finished; none if there are none.
    #[inline]
    pub(super) fn hold(&mut self, holder: impl FnOnce() -> Option<Holder>) -> Option<HoldId> {
        if self.begun.is_empty() {
            return None;
        }
        let begun = std::mem::take(&mut self.begun);
        let holder = holder()?;
        self.next_hold += 1;
        let id = HoldId(self.next_hold);
        self.holds.insert(id, Hold { left: begun.len(), holder });
        self.held_by.extend(begun.iter().map(|forward| (*forward, id)));
        Some(id)
    }

    /// Records that a forwarded command has finished. Returns the hold that ends with it, and its
    /// holder.
    pub(super) fn end(&mut self, forward: ForwardId) -> Option<(HoldId, Holder)> {
        self.under_way -= 1;
        self.begun.retain(|begun| *begun != forward);
        let id = self.held_by.remove(&forward)?;
        let hold = self.holds.get_mut(&id).expect("a hold lasts until its last command");
        hold.left -= 1;
        if hold.left > 0 {
            return None;
        }
        self.holds.remove(&id).map(|hold| (id, hold.holder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::ClientRef;

    #[test]
    fn a_hold_ends_with_the_last_forwarded_command_of_its_unit() {
        let mut deferred = DeferredReplies::default();
        let holder = |conn| {
            let client = ClientRef { conn, generation: 0 };
            Some(Holder { home: 0, client, transaction: None })
        };
        deferred.begin();
        assert_eq!(deferred.hold(|| holder(0)), None, "nothing was forwarded");
        // Many replies wait at the same time.
        let mut all = Vec::new();
        for conn in 0..1_000 {
            deferred.begin();
            let forwards = [deferred.forward(), deferred.forward()];
            let hold = deferred.hold(|| holder(conn)).expect("two commands were forwarded");
            all.push((forwards, hold, conn));
        }
        for ([first, second], hold, conn) in all {
            assert_eq!(deferred.end(second), None);
            let (ended, holder) = deferred.end(first).expect("it was the last one");
            assert_eq!((ended, holder.client.conn), (hold, conn));
        }
        assert!(deferred.holds.is_empty() && deferred.held_by.is_empty());
    }
}
