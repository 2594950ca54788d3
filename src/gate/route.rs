//! The router: from a command's keys to the shard that owns them.

use crate::base::number::{parse_cursor, parse_i64};
use crate::base::slot::{SLOT_COUNT, slot_of};
use crate::exec::{Entry, Over, Run};
use crate::resp::Args;
use std::ops::Range;

/// Keys that a call of a walk looks for, unless it says how many.
const WALK_COUNT_DEFAULT: i64 = 10;

/// Where a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this one shard.
    Shard(u16),
    /// On several, in parts.
    Several,
}

/// Knows the owner of every slot. Shards own contiguous ranges of nearly equal size.
#[derive(Clone, Copy, Debug)]
pub struct Router {
    shards: u32,
}

impl Router {
    /// A router over so many shards.
    pub fn new(shards: usize) -> Router {
        assert!((1..=usize::from(SLOT_COUNT)).contains(&shards));
        Router { shards: shards as u32 }
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards as usize
    }

    /// The shard that owns a slot.
    #[inline]
    pub fn owner(&self, slot: u16) -> u16 {
        debug_assert!(slot < SLOT_COUNT);
        ((u32::from(slot) * self.shards) >> SLOT_COUNT.trailing_zeros()) as u16
    }

    /// The slots that a shard owns.
    pub fn slots(&self, shard: usize) -> Range<u16> {
        let slots = u32::from(SLOT_COUNT);
        let first = |shard: u32| (shard * slots).div_ceil(self.shards) as u16;
        first(shard as u32)..first(shard as u32 + 1)
    }

    /// Where a command runs, and the slot of its first key (0 without keys).
    #[inline]
    pub fn place(&self, entry: &Entry, args: &Args<'_>, home: u16) -> (Place, u16) {
        let keys = entry.keys;
        let slot = if keys.first == 0 || keys.first >= args.len() {
            0
        } else {
            slot_of(&args[keys.first])
        };
        if self.shards == 1 {
            return (Place::Shard(0), slot);
        }
        match entry.command.run {
            run if run.roams(args) => (Place::Several, slot),
            run if run.is_joint() => self.place_joint(entry, args, home),
            Run::Keys(_) if keys.first != 0 => (Place::Shard(self.owner(slot)), slot),
            Run::Spread(_, over, _) => (self.place_spread(over, entry, args, slot), slot),
            _ => (Place::Shard(home), slot),
        }
    }

    /// Where all keys are, if on one shard. Words that do not fit the key specs are refused
    /// wherever they run.
    fn place_joint(&self, entry: &Entry, args: &Args<'_>, home: u16) -> (Place, u16) {
        if let Some(words) = entry.plain_key_args(args.len()) {
            return self.place_slots(words.map(|at| slot_of(&args[at])), home);
        }
        let keys = entry.key_args(args).unwrap_or_default();
        self.place_slots(keys.iter().map(|(at, _)| slot_of(&args[*at])), home)
    }

    fn place_slots(&self, mut slots: impl Iterator<Item = u16>, home: u16) -> (Place, u16) {
        let Some(slot) = slots.next() else {
            return (Place::Shard(home), self.slots(usize::from(home)).start);
        };
        let owner = self.owner(slot);
        let is_one = slots.all(|slot| self.owner(slot) == owner);
        (if is_one { Place::Shard(owner) } else { Place::Several }, slot)
    }

    /// Where a walk over all keys runs that has this place: a call that would come to the end of
    /// them all, of which there are so many, meets all shards at once.
    pub fn walk_place(
        &self,
        entry: &Entry,
        args: &Args<'_>,
        place: Place,
        keys: &dyn Fn() -> u64,
    ) -> Place {
        if self.shards == 1 || !matches!(entry.command.run, Run::Spread(_, Over::Cursor, _)) {
            return place;
        }
        let is_first = args.get(1).and_then(parse_cursor) == Some(0);
        let option = (2..args.len())
            .step_by(2)
            .rfind(|at| args[*at].eq_ignore_ascii_case(b"COUNT") && args.get(*at + 1).is_some());
        let count = option.map_or(Some(WALK_COUNT_DEFAULT), |at| parse_i64(&args[at + 1]));
        let is_whole = is_first && count.is_some_and(|count| keys() as i64 <= count);
        if is_whole { Place::Several } else { place }
    }

    /// The shard that owns a key.
    pub fn owner_of(&self, key: &[u8]) -> u16 {
        self.owner(slot_of(key))
    }

    /// Shows the shards that a command at a place concerns; one may come several times.
    pub fn for_each_shard(
        &self,
        entry: &Entry,
        args: &Args<'_>,
        place: Place,
        visit: &mut dyn FnMut(u16),
    ) {
        match (place, entry.command.run) {
            (Place::Shard(shard), _) => visit(shard),
            (_, Run::Spread(_, Over::Shards | Over::Cursor, _)) => {
                (0..self.shards as u16).for_each(visit)
            }
            (_, run) if run.roams(args) => (0..self.shards as u16).for_each(visit),
            _ => {
                let keys = entry.key_args(args).unwrap_or_default();
                keys.iter().for_each(|(at, _)| visit(self.owner_of(&args[*at])));
            }
        }
    }

    fn place_spread(&self, over: Over, entry: &Entry, args: &Args<'_>, slot: u16) -> Place {
        match over {
            Over::Shards => Place::Several,
            Over::Cursor => Place::Shard(self.owner(cursor_slot(args))),
            Over::Keys => {
                let first = self.owner(slot);
                if !(args.len() - entry.keys.first).is_multiple_of(entry.keys.step) {
                    // Words of its last key are missing. It is refused where it runs, and no part
                    // of it may run when another would be refused.
                    return Place::Shard(first);
                }
                let last = entry.keys.last_of(args.len());
                let mut others = (entry.keys.first..=last).step_by(entry.keys.step).skip(1);
                if others.all(|at| self.owner(slot_of(&args[at])) == first) {
                    Place::Shard(first)
                } else {
                    Place::Several
                }
            }
        }
    }
}

/// The slot in the low bits of a SCAN cursor; a malformed one is refused where it runs.
fn cursor_slot(args: &Args<'_>) -> u16 {
    let cursor = args.get(1).and_then(parse_cursor).unwrap_or(0);
    (cursor % u64::from(SLOT_COUNT)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_the_owner_whose_range_holds_it() {
        for shards in [1, 2, 3, 4, 7, 16, 100, 16384] {
            let router = Router::new(shards);
            let mut next = 0;
            for shard in 0..shards {
                let slots = router.slots(shard);
                assert_eq!(slots.start, next);
                assert!(slots.clone().all(|slot| router.owner(slot) as usize == shard));
                next = slots.end;
            }
            assert_eq!(next, SLOT_COUNT);
        }
    }
}
