//! Replies that wait until forwarded commands are over.
//!
//! A command that unblocks clients serves them itself, before its reply leaves. One whose command
//! uses keys of other shards is served by its home, in rounds of its own. Until these are over, and
//! all that they unblock, the reply is kept here: its client sees what a single Redis would show.
//!
//! ```text
//!   owner   unblocks, Forward --> home   rounds, the last answered --ForwardDone--> owner: reply
//!                                             '-- kept while clients that it unblocks are served
//! ```

use super::outgoing::Outgoing;
use super::partition::Partition;
use crate::mesh::{ClientRef, Envelope, ForwardId};
use std::collections::HashMap;

/// Replies that one partition keeps at most. More leave at once: the kept ones hold credits, which
/// the forwarded commands need too.
const DEFERRED_MAX: usize = 64;

/// A reply that is kept.
#[derive(Debug)]
struct Deferred {
    /// Forwarded commands that are not over.
    left: usize,
    reply: Outgoing,
}

/// The forwarded commands of a partition, and the replies that wait for them.
#[derive(Debug, Default)]
pub(super) struct DeferredReplies {
    /// Commands forwarded by the unit that runs now.
    begun: Vec<ForwardId>,
    next_forward: u64,
    /// Kept replies, and the reply that waits for each forwarded command.
    kept: HashMap<u64, Deferred>,
    kept_for: HashMap<ForwardId, u64>,
    next_kept: u64,
}

impl DeferredReplies {
    /// A unit begins: it has forwarded nothing yet.
    pub(super) fn begin(&mut self) {
        self.begun.clear();
    }

    /// Another unit runs inside of this one. [`DeferredReplies::resume`] gets the result back.
    pub(super) fn pause(&mut self) -> Vec<ForwardId> {
        std::mem::take(&mut self.begun)
    }

    /// The unit inside is over; what it has forwarded counts for the outer one too.
    pub(super) fn resume(&mut self, before: Vec<ForwardId>) {
        self.begun.splice(0..0, before);
    }

    /// Returns the number of a command that is forwarded now.
    pub(super) fn forward(&mut self) -> ForwardId {
        self.next_forward += 1;
        let id = ForwardId(self.next_forward);
        self.begun.push(id);
        id
    }

    /// Keeps a reply until the commands forwarded by this unit are over. Gives it back if there are
    /// none, or if too many replies are kept.
    fn keep(&mut self, reply: Outgoing) -> Option<Outgoing> {
        let begun = std::mem::take(&mut self.begun);
        if begun.is_empty() || self.kept.len() >= DEFERRED_MAX {
            return Some(reply);
        }
        self.next_kept += 1;
        self.kept.insert(self.next_kept, Deferred { left: begun.len(), reply });
        self.kept_for.extend(begun.iter().map(|id| (*id, self.next_kept)));
        None
    }

    /// A forwarded command is over. Returns the reply that waited for nothing else.
    fn end(&mut self, id: ForwardId) -> Option<Outgoing> {
        self.begun.retain(|begun| *begun != id);
        let number = self.kept_for.remove(&id)?;
        let kept = self.kept.get_mut(&number).expect("it is kept until the last is over");
        kept.left -= 1;
        if kept.left > 0 {
            return None;
        }
        self.kept.remove(&number).map(|kept| kept.reply)
    }
}

impl Partition {
    /// Answers a part: now, or when the commands that it forwarded are over. A part whose locks
    /// stay does not wait, because those commands might wait for its locks.
    pub(super) fn answer_later(&mut self, part: Box<Envelope>) {
        if part.keeps_credit() {
            self.deferred.begin();
            return self.answer(part);
        }
        match self.deferred.keep(Outgoing::Answer(part)) {
            Some(Outgoing::Answer(part)) => self.answer(part),
            _ => {}
        }
    }

    /// Returns whether a connection whose commands ran here has to wait with its replies until
    /// [`Outgoing::Release`].
    pub fn defer_connection(&mut self, client: ClientRef) -> bool {
        self.deferred.keep(Outgoing::Release(client)).is_none()
    }

    /// A forwarded command is over, and all that it unblocked.
    pub fn end_forward(&mut self, id: ForwardId) {
        match self.deferred.end(id) {
            Some(Outgoing::Answer(part)) => self.answer(part),
            Some(release) => self.outgoing.push_back(release),
            None => {}
        }
    }
}
