//! Hash slots that move from one partition to another: which ones go together, and how many have.

use crate::base::slot_map::{SlotMap, SlotSet};
use crate::keyspace::Slice;
use crate::resp::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The most keys that move in one step, if they are in several slots. An entry is copied out of a
/// table and into another, which takes up to 1 us on a loaded machine; so about 500 us.
pub const STEP_KEYS_MAX: usize = 500;

/// The most slots that move in one step: looking at one in 16 databases is estimated at 100 ns.
pub const STEP_SLOTS_MAX: usize = 1_024;

/// The most keys of a slot that may move; about 5 ms, in which all clients wait. With keys spread
/// over all slots, this many in each are 80 million. A slot with more usually has a hash tag that
/// very many keys share.
pub const SLOT_KEYS_MAX: usize = 5_000;

/// The moves of the process.
#[derive(Debug, Default)]
pub struct SlotMoves {
    is_under_way: AtomicBool,
    moved: AtomicU64,
}

impl SlotMoves {
    /// Begins a move. Returns false if one is under way.
    pub fn begin(&self) -> bool {
        !self.is_under_way.swap(true, Ordering::SeqCst)
    }

    /// Ends the move.
    pub fn end(&self) {
        self.is_under_way.store(false, Ordering::SeqCst);
    }

    /// Returns the number of slots that have moved so far; a slot counts each time.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    fn count(&self, slots: &SlotSet) {
        self.moved.fetch_add(u64::from(slots.len()), Ordering::Relaxed);
    }
}

/// A slot with too many keys to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotTooLarge {
    /// The slot.
    pub slot: u16,
    /// Number of its keys.
    pub keys: usize,
}

impl SlotTooLarge {
    /// Returns the error of a move that ends with this slot.
    pub fn error(self) -> Error {
        let SlotTooLarge { slot, keys } = self;
        Error::other(format!(
            "ERR Slot {slot} has {keys} keys; at most {SLOT_KEYS_MAX} can move at once"
        ))
    }
}

/// Moves the first of some slots, as many as one step may move, to the partition `to`. `slices` are
/// those of all partitions, in the order of their numbers. Returns the slots and the new map.
pub fn move_some(
    slices: &mut [Box<Slice>],
    map: &SlotMap,
    (left, to): (&SlotSet, u16),
    moves: &SlotMoves,
) -> Result<(SlotSet, SlotMap), SlotTooLarge> {
    let chosen = choose(slices, map, left)?;
    let next = map.moved(&chosen, to).expect("each partition keeps a slot");
    for from in (0..slices.len()).filter(|from| *from != usize::from(to)) {
        let mut own = SlotSet::new();
        let leaving = chosen.iter().filter(|slot| usize::from(map.owner(*slot)) == from);
        leaving.for_each(|slot| _ = own.insert(slot));
        if !own.is_empty() {
            let moved = slices[from].take_slots(&own);
            slices[usize::from(to)].put_slots(moved);
        }
    }
    moves.count(&chosen);
    Ok((chosen, next))
}

/// Returns the slots of the next step.
fn choose(slices: &[Box<Slice>], map: &SlotMap, left: &SlotSet) -> Result<SlotSet, SlotTooLarge> {
    let (mut chosen, mut sum) = (SlotSet::new(), 0);
    for slot in left.iter().take(STEP_SLOTS_MAX) {
        let keys = slices[usize::from(map.owner(slot))].keys_of_slot(slot);
        if !chosen.is_empty() && sum + keys > STEP_KEYS_MAX {
            break;
        }
        if keys > SLOT_KEYS_MAX {
            return Err(SlotTooLarge { slot, keys });
        }
        chosen.insert(slot);
        sum += keys;
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slot::slot_of;
    use crate::keyspace::{Expiry, SliceOptions};
    use crate::value::string::NewStr;

    // As units have them.
    #[allow(clippy::vec_box)]
    fn slices(map: &SlotMap) -> Vec<Box<Slice>> {
        let slice = |at| {
            let slots = map.slots(at).clone();
            let options = SliceOptions { databases: 3, slots, hash_seed: [1, 2], seed: 3 };
            Box::new(Slice::new(options))
        };
        (0..map.partitions()).map(slice).collect()
    }

    fn set(slices: &mut [Box<Slice>], map: &SlotMap, name: &str, db: usize, expiry: Expiry) {
        let slice = &mut slices[usize::from(map.owner(slot_of(name.as_bytes())))];
        let key = slice.key(name.as_bytes());
        slice.set(db, &key, NewStr::from_bytes(name.as_bytes()), expiry);
    }

    #[test]
    fn all_keys_of_all_databases_move_in_steps() {
        let mut map = SlotMap::equal(3);
        let mut slices = slices(&map);
        for number in 0..9_000 {
            let name = format!("key:{number}");
            let expiry = if number % 3 == 0 { Expiry::At(1_000 + number) } else { Expiry::Clear };
            set(&mut slices, &map, &name, number as usize % 2, expiry);
        }
        let before: Vec<_> = (0..2).map(|db| sum(&slices, |it| it.len(db))).collect();
        let volatile = sum(&slices, |it| it.volatile_len(0));
        let (mut left, moves) = (SlotSet::from(100..9_000), SlotMoves::default());
        let mut steps = 0;
        while !left.is_empty() {
            let (moved, next) =
                move_some(&mut slices, &map, (&left, 2), &moves).expect("no slot is large");
            moved.iter().for_each(|slot| _ = left.remove(slot));
            map = next;
            steps += 1;
            for (at, slice) in slices.iter().enumerate() {
                assert_eq!(slice.slots(), map.slots(at));
                slice.check();
            }
        }
        assert!((3..40).contains(&steps), "{steps} steps");
        assert_eq!(moves.moved(), 8_900);
        let after: Vec<_> = (0..2).map(|db| sum(&slices, |it| it.len(db))).collect();
        assert_eq!((before, volatile), (after, sum(&slices, |it| it.volatile_len(0))));
        for number in 0..9_000 {
            let name = format!("key:{number}");
            let slice = &mut slices[usize::from(map.owner(slot_of(name.as_bytes())))];
            let key = slice.key(name.as_bytes());
            let view = slice.peek(number as usize % 2, &key).expect("the key is there");
            assert_eq!(view.expiry(), (number % 3 == 0).then_some(1_000 + number));
        }
    }

    fn sum(slices: &[Box<Slice>], of: impl Fn(&Slice) -> usize) -> usize {
        slices.iter().map(|slice| of(slice)).sum()
    }

    #[test]
    fn what_is_known_of_keys_moves_with_them() {
        let map = SlotMap::equal(2);
        let mut slices = slices(&map);
        let slot = slot_of(b"k");
        let from = usize::from(map.owner(slot));
        for name in ["k", "{k}other"] {
            set(&mut slices, &map, name, 1, Expiry::At(5_000));
        }
        let key = slices[from].key(b"k");
        slices[from].watch(7, 1, &key);
        slices[from].watch(8, 0, &key);
        slices[from].set_use_count(1, &key, 200);
        let left = SlotSet::from(slot..slot + 1);
        let to = 1 - map.owner(slot);
        let moved = move_some(&mut slices, &map, (&left, to), &SlotMoves::default());
        assert!(moved.is_ok());
        slices.iter().for_each(|slice| slice.check());
        let slice = &mut slices[usize::from(to)];
        assert_eq!((slice.len(1), slice.watched_keys(), slice.watchers()), (2, 2, 2));
        let key = slice.key(b"k");
        slice.signal(1, &key);
        assert!(slices[usize::from(to)].is_watch_broken(7));
        assert!(!slices[usize::from(to)].is_watch_broken(8) && !slices[from].is_watch_broken(7));
        slices[usize::from(to)].unwatch(8);
        slices.iter().for_each(|slice| slice.check());
        assert_eq!((slices[from].len(1), slices[from].watched_keys()), (0, 0));
    }

    #[test]
    fn a_slot_with_very_many_keys_stays() {
        let map = SlotMap::equal(2);
        let mut slices = slices(&map);
        for number in 0..=SLOT_KEYS_MAX {
            set(&mut slices, &map, &format!("{{k}}{number}"), 0, Expiry::Clear);
        }
        let slot = slot_of(b"k");
        let (left, to) = (SlotSet::from(slot - 2..slot + 2), 1 - map.owner(slot));
        let moves = SlotMoves::default();
        let (moved, map) =
            move_some(&mut slices, &map, (&left, to), &moves).expect("the slots before are small");
        assert_eq!(moved, SlotSet::from(slot - 2..slot));
        let left = SlotSet::from(slot..slot + 2);
        let refused = move_some(&mut slices, &map, (&left, to), &moves).expect_err("it is large");
        assert_eq!(refused, SlotTooLarge { slot, keys: SLOT_KEYS_MAX + 1 });
    }
}
