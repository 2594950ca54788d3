//! Replies that wait until forwarded commands have finished.
//!
//! A command that unblocks clients serves them itself before its reply is sent. If an unblocked
//! client's command uses keys of other shards, its home runs it in several rounds. The reply is
//! kept here until these rounds, and all commands that they unblock, have finished. So the client
//! sees the same state as with a single Redis.
//!
//! ```text
//!   owner   unblocks, Forward --> home   rounds, the last replied --ForwardDone--> owner: reply
//!                                             '-- kept while clients that it unblocks are served
//! ```

use super::message::Outgoing;
use crate::mesh::ForwardId;
use std::collections::HashMap;

/// The most replies that one partition keeps. Further replies are sent at once, because kept
/// replies hold credits, which the forwarded commands also need.
const DEFERRED_MAX: usize = 64;

/// A reply that is kept.
#[derive(Debug)]
struct Deferred {
    /// Number of forwarded commands that have not finished.
    left: usize,
    reply: Outgoing,
}

/// The forwarded commands of a partition, and the replies that wait for them.
#[derive(Debug, Default)]
pub(super) struct DeferredReplies {
    /// Commands forwarded by the unit that runs now.
    begun: Vec<ForwardId>,
    next_forward: u64,
    /// Kept replies, and the number of the kept reply for each forwarded command.
    kept: HashMap<u64, Deferred>,
    kept_for: HashMap<ForwardId, u64>,
    next_kept: u64,
}

impl DeferredReplies {
    /// Begins a unit, which has forwarded no command yet.
    pub(super) fn begin(&mut self) {
        self.begun.clear();
    }

    /// Returns the number of a command that is forwarded now.
    pub(super) fn forward(&mut self) -> ForwardId {
        self.next_forward += 1;
        let id = ForwardId(self.next_forward);
        self.begun.push(id);
        id
    }

    /// Keeps a reply until the commands forwarded by this unit have finished. Returns it at once if
    /// there are none, or if too many replies are kept.
    pub(super) fn keep(&mut self, reply: Outgoing) -> Option<Outgoing> {
        let begun = std::mem::take(&mut self.begun);
        if begun.is_empty() || self.kept.len() >= DEFERRED_MAX {
            return Some(reply);
        }
        self.next_kept += 1;
        self.kept.insert(self.next_kept, Deferred { left: begun.len(), reply });
        self.kept_for.extend(begun.iter().map(|id| (*id, self.next_kept)));
        None
    }

    /// Records that a forwarded command has finished. Returns the reply if it waited for no other
    /// command.
    pub(super) fn end(&mut self, id: ForwardId) -> Option<Outgoing> {
        self.begun.retain(|begun| *begun != id);
        let number = self.kept_for.remove(&id)?;
        let kept = self
            .kept
            .get_mut(&number)
            .expect("a reply is kept until its last command has finished");
        kept.left -= 1;
        if kept.left > 0 {
            return None;
        }
        self.kept.remove(&number).map(|kept| kept.reply)
    }
}
