//! The router: from a command's keys to the shard that owns them.

use crate::base::number::{parse_cursor, parse_i64};
use crate::base::slot::slot_of;
use crate::base::slot_map::{SlotMap, SlotSet};
use crate::exec::{Entry, Item, KeyRouting, cursor_slot};
use crate::resp::Args;
use std::ops::Range;
use std::sync::Arc;

/// Number of keys that a SCAN without COUNT asks for.
const WALK_COUNT_DEFAULT: i64 = 10;

/// The shards that a command runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The command runs on this one shard.
    Shard(u16),
    /// The command runs in parts on several shards.
    Several,
}

/// Maps each hash slot to the shard that owns it. It keeps a snapshot of the process's map.
#[derive(Clone, Debug)]
pub struct Router {
    map: Arc<SlotMap>,
    shards: usize,
}

impl Router {
    /// Creates a router that reads a map.
    pub fn new(map: Arc<SlotMap>) -> Router {
        Router { shards: map.partitions(), map }
    }

    /// Returns the number of shards.
    #[inline]
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Returns the numbers of all shards.
    pub fn all_shards(&self) -> Range<u16> {
        0..self.shards as u16
    }

    /// Returns the map.
    pub fn map(&self) -> &Arc<SlotMap> {
        &self.map
    }

    /// Returns the shard that owns a hash slot.
    #[inline]
    pub fn owner(&self, slot: u16) -> u16 {
        self.map.owner(slot)
    }

    /// Returns the hash slots that a shard owns.
    pub fn slots(&self, shard: usize) -> &SlotSet {
        self.map.slots(shard)
    }

    /// Returns where a command runs, and the hash slot of its first key (0 without keys).
    /// `discovers` tells whether it discovers keys that are not among its arguments.
    #[inline]
    pub fn place(
        &self,
        (entry, discovers): (&Entry, bool),
        args: &Args<'_>,
        home: u16,
    ) -> (Place, u16) {
        let keys = entry.keys;
        let slot = if keys.first == 0 || keys.first >= args.len() {
            0
        } else {
            slot_of(&args[keys.first])
        };
        if self.shards == 1 {
            return (Place::Shard(0), slot);
        }
        match entry.command.routing {
            KeyRouting::Single => (Place::Shard(self.owner(slot)), slot),
            KeyRouting::Gather => self.place_gather(entry, args, home),
            KeyRouting::PerKey(_) => (self.place_per_key(entry, args, slot), slot),
            KeyRouting::Home => (Place::Shard(home), slot),
            KeyRouting::Slot { of, .. } => (Place::Shard(self.owner(of(args))), slot),
            KeyRouting::AllShards(_) => (Place::Several, slot),
            KeyRouting::Cursor(_) => (Place::Shard(self.owner(cursor_slot(args))), slot),
            KeyRouting::Discovers(_) if discovers => (Place::Several, slot),
            KeyRouting::Discovers(_) => self.place_gather(entry, args, home),
        }
    }

    /// Returns the one shard that owns all keys, or [`Place::Several`]. Returns `home` if there are
    /// no keys, or if the arguments do not fit the key specs; the handler refuses the latter.
    fn place_gather(&self, entry: &Entry, args: &Args<'_>, home: u16) -> (Place, u16) {
        if let Some(keys) = entry.plain_key_args(args.len()) {
            return self.place_slots(keys.map(|at| slot_of(&args[at])), home);
        }
        let keys = entry.key_args(args).unwrap_or_default();
        self.place_slots(keys.iter().map(|(at, _)| slot_of(&args[*at])), home)
    }

    fn place_slots(&self, mut slots: impl Iterator<Item = u16>, home: u16) -> (Place, u16) {
        let Some(slot) = slots.next() else {
            return (Place::Shard(home), self.map.first_slot(usize::from(home)));
        };
        let owner = self.owner(slot);
        let is_one = slots.all(|slot| self.owner(slot) == owner);
        (if is_one { Place::Shard(owner) } else { Place::Several }, slot)
    }

    /// Returns where a command runs that [`Router::place`] put at `place`. A SCAN that starts at
    /// cursor 0, with a COUNT of at least `keys()`, runs on all shards at once. All other commands
    /// stay at `place`. `keys` returns the number of keys.
    pub fn walk_place(
        &self,
        entry: &Entry,
        args: &Args<'_>,
        place: Place,
        keys: &dyn Fn() -> u64,
    ) -> Place {
        if self.shards == 1 || !matches!(entry.command.routing, KeyRouting::Cursor(_)) {
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

    /// Returns the shard that owns a key.
    pub fn owner_of(&self, key: &[u8]) -> u16 {
        self.owner(slot_of(key))
    }

    /// Calls `visit` for each shard that a command at `place` runs on, possibly several times for
    /// one shard.
    pub fn for_each_shard(
        &self,
        item: &Item,
        args: &Args<'_>,
        place: Place,
        visit: &mut dyn FnMut(u16),
    ) {
        let all = self.all_shards();
        let entry = item.entry;
        match (place, entry.command.routing) {
            (Place::Shard(shard), _) => visit(shard),
            (_, KeyRouting::AllShards(_) | KeyRouting::Cursor(_)) => all.for_each(visit),
            (_, KeyRouting::Discovers(_)) if item.discovers => all.for_each(visit),
            _ => {
                let keys = entry.key_args(args).unwrap_or_default();
                keys.iter().for_each(|(at, _)| visit(self.owner_of(&args[*at])));
            }
        }
    }

    fn place_per_key(&self, entry: &Entry, args: &Args<'_>, slot: u16) -> Place {
        let first = self.owner(slot);
        if !entry.has_whole_keys(args.len()) {
            return Place::Shard(first);
        }
        let last = entry.keys.last_of(args.len());
        let mut others = (entry.keys.first..=last).step_by(entry.keys.step).skip(1);
        let is_one = others.all(|at| self.owner(slot_of(&args[at])) == first);
        if is_one { Place::Shard(first) } else { Place::Several }
    }
}
