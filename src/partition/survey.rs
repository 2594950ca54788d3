//! Surveys: commands that read nothing but names, types and expiries of keys, and their number
//! (DBSIZE, KEYS, SCAN, RANDOMKEY). They take no locks.
//!
//! A key whose value is with a transaction has a stub, so a survey sees it. Most units change keys
//! in one step under the sequencer, also a transaction whose only changes come with its last round.
//! So a survey sees all changes of a unit or none. Three kinds of units take effect in several
//! steps:
//!
//! ```text
//!   several parts    a part waits here for locks, while other parts have run on their shards
//!   several rounds   an earlier round than the last has changed keys here
//!   handed over      the unit has the slice, and may have changed it
//! ```
//! The first kind counts even if it only reads. Suppose that its part here waits for a transaction,
//! and its part elsewhere has read a key that was changed since. A survey that saw the change, but
//! not the transaction, would have to come both after and before the transaction.
//!
//! A survey that arrives between these steps is torn. On one shard it then waits for all locks.
//! With parts on other shards that would not help, because those parts may have run already. Such
//! a part replies [`Survey::Torn`], and the home sends the whole unit again. This time all parts
//! wait for locks, and the order of the requests is the same on all shards.
//!
//! A walk in slices promises only the keys that exist throughout. So it is never torn: each slice
//! waits until no unit of the last two kinds is unfinished here, see `walks`.
//!
//! A survey leaves expired keys where they are while any lock exists: the transaction that has
//! locked such a key propagates its own changes later.

use super::partition::Partition;
use super::unfinished::may_have_begun;
use crate::exec::Item;
use crate::mesh::{Envelope, Survey, Work};

/// Returns whether a part runs on arrival, or is torn.
#[inline]
pub(super) fn surveys_at_once(part: &Envelope) -> bool {
    part.survey == Survey::AtOnce && part.parts > 1
}

impl Partition {
    /// Returns whether a survey that ran now could see a unit in part.
    fn is_torn(&self) -> bool {
        self.is_away()
            || !self.unfinished.is_empty()
            || self.waiting.values().any(|part| may_have_begun(part))
    }

    /// Returns whether some of the commands are surveys, which could see a unit in part: one that
    /// is unfinished now, or one that begins while a script among the commands is suspended.
    pub(super) fn surveys_torn(&self, items: &[Item]) -> bool {
        let runs_script = || items.iter().any(|item| item.entry.command.runs_commands);
        items.iter().any(|item| item.entry.surveys_keys()) && (runs_script() || self.is_torn())
    }

    /// Returns whether a part of a batch has surveys that need no locks.
    pub(super) fn surveys_freely(&self, part: &mut Envelope) -> bool {
        if !matches!(part.work, Work::Batch) {
            return false;
        }
        if !part.items.iter().any(|item| item.entry.surveys_keys()) {
            return false;
        }
        if self.is_walk(part) {
            return true;
        }
        // A part with an offloaded command or a script runs its surveys later, when others may have
        // begun.
        let enough = self.long_elements_min();
        let may_stay = part.items.iter().any(|item| {
            let is_walk = item.entry.command.walk.is_some();
            let is_script = item.entry.command.runs_commands;
            is_script || (!is_walk && item.entry.may_be_long(item.argc as usize, enough))
        });
        part.parts <= 1 && !may_stay && !self.is_torn()
    }

    /// Returns whether a part must be sent again because its survey is torn.
    #[inline]
    pub(super) fn is_survey_torn(&self, part: &Envelope) -> bool {
        surveys_at_once(part) && self.is_torn()
    }
}
