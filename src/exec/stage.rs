//! The stage before a batch runs: prefetches the memory that its first keys lead to. Hot.

use super::batch::{BATCH_COMMANDS_MAX, BatchArgs, Item};
use crate::keyspace::{Key, SPOTS_MAX, Slice, Spot};
use crate::spec::Group;

const _: () = assert!(BATCH_COMMANDS_MAX <= SPOTS_MAX);

/// Hashes the first keys of the commands and prefetches their entries. For a single command only
/// hashes the key, because no other command could use the waiting time.
#[inline]
pub(super) fn stage(
    slice: &Slice,
    items: &[Item],
    batch_args: &mut BatchArgs<'_>,
    hashes: &mut [u64; BATCH_COMMANDS_MAX],
) {
    if let [item] = items {
        hashes[0] = first_key(slice, item, batch_args).map_or(0, |spot| spot.hash);
    } else {
        stage_together(slice, items, batch_args, hashes);
    }
}

/// Returns the spot of the item's first key; none if it has no key.
#[inline]
fn first_key(slice: &Slice, item: &Item, batch_args: &mut BatchArgs<'_>) -> Option<Spot> {
    let first = item.entry.keys.first;
    // A command without keys has no hash slot, and this slice may not own slot 0.
    (first != 0 && first < item.argc as usize).then(|| {
        let args = batch_args.of(item);
        let key = slice.key_in_slot(&args[first], item.slot);
        Spot { hash: key.hash, slot: item.slot, db: item.db }
    })
}

#[inline(never)]
fn stage_together(
    slice: &Slice,
    items: &[Item],
    batch_args: &mut BatchArgs<'_>,
    hashes: &mut [u64; BATCH_COMMANDS_MAX],
) {
    let mut spots = [Spot::default(); BATCH_COMMANDS_MAX];
    let mut count = 0;
    for (item, hash) in items.iter().zip(hashes.iter_mut()) {
        if let Some(spot) = first_key(slice, item, batch_args) {
            *hash = spot.hash;
            slice.prefetch_root(spot);
            spots[count] = spot;
            count += 1;
        }
    }
    slice.prefetch(&spots[..count]);
    if hashes[0] == hashes[1] {
        stage_elements(slice, items, batch_args, hashes);
    }
}

/// Prefetches the elements of a hash or set if all commands of the batch use the same large value.
#[inline(never)]
fn stage_elements(
    slice: &Slice,
    items: &[Item],
    batch_args: &mut BatchArgs<'_>,
    hashes: &[u64; BATCH_COMMANDS_MAX],
) {
    let item = &items[0];
    let is_alike = |(at, other): (usize, &Item)| {
        hashes[at] == hashes[0] && other.argc > 2 && std::ptr::eq(other.entry, item.entry)
    };
    let has_elements = matches!(item.entry.command.card.group, Group::Hash | Group::Set);
    if !has_elements || !items.iter().enumerate().all(is_alike) {
        return;
    }
    let args = batch_args.of(item);
    let key = Key { bytes: &args[1], slot: item.slot, hash: hashes[0] };
    if let Some(elements) = slice.elements(usize::from(item.db), &key) {
        items.iter().for_each(|item| elements.prefetch(&batch_args.of(item)[2]));
    }
}
