//! How much commands on the entries and groups of streams will touch.

use super::claim::AutoClaim;
use super::ids::{parse_end, parse_start};
use super::pending::Range;
use super::read::{Options, Wanted, seen_id, wanted};
use crate::exec::{Weighing, count_at, option_count};
use crate::resp::Args;
use crate::value::stream::{Group, Id, Log, Stream};

/// Elements in whose time an entry is read and written.
const ENTRY_WEIGHT: usize = 4;

/// Elements in whose time a pending entry is found, and changed or listed.
const PENDING_WEIGHT: usize = 8;

/// Returns the weight of XRANGE.
pub(super) fn range(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    between(weighing, args, (2, 3))
}

/// Returns the weight of XREVRANGE.
pub(super) fn range_back(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    between(weighing, args, (3, 2))
}

fn between(weighing: &Weighing<'_>, args: &Args<'_>, (start, end): (usize, usize)) -> usize {
    let Some(view) = weighing.value(args, 1) else { return 0 };
    let Some(stream) = view.object::<Stream>() else { return 0 };
    let (Ok(start), Ok(end)) = (parse_start(&args[start]), parse_end(&args[end])) else {
        return 0;
    };
    let count_max = option_count(args, 4, b"COUNT").filter(|count| *count > 0);
    let count = entries(weighing, stream.log(), (start, end), count_max.unwrap_or(0) as u64);
    weighing.part_of(&view, count).max(count * ENTRY_WEIGHT)
}

/// Returns the number of entries in a range, at most `count_max` if it is not 0, and at most as
/// many as make a command long.
fn entries(weighing: &Weighing<'_>, log: &Log, (start, end): (Id, Id), count_max: u64) -> usize {
    let enough = weighing.enough.div_ceil(ENTRY_WEIGHT) as u64;
    let count_max = if count_max == 0 { enough } else { count_max.min(enough) };
    log.count_between(start, end, count_max).min(count_max) as usize
}

/// Returns the weight of the entries after an id.
fn entries_after(weighing: &Weighing<'_>, log: &Log, seen: Id, count_max: u64) -> usize {
    let Some(start) = seen.next() else { return 0 };
    entries(weighing, log, (start, Id::MAX), count_max) * ENTRY_WEIGHT
}

/// Returns the weight of XREAD.
pub(super) fn read(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let Ok(options) = Options::of(args, false, 0) else { return 0 };
    let weigh = |(key_at, id_at): (usize, usize)| {
        let log = weighing.object::<Stream>(args, key_at)?.log();
        let seen = seen_id(&args[id_at], Some(log)).ok()?;
        Some(entries_after(weighing, log, seen, options.count))
    };
    options.pairs().filter_map(weigh).sum()
}

/// Returns the weight of XREADGROUP.
pub(super) fn read_group(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let Ok(options) = Options::of(args, true, 0) else { return 0 };
    let Some((name, consumer)) = options.group else { return 0 };
    let weigh = |(key_at, id_at): (usize, usize)| {
        let stream = weighing.object::<Stream>(args, key_at)?;
        let group = stream.group(name)?;
        Some(match wanted(&args[id_at]).ok()? {
            Wanted::New => {
                let new = entries_after(weighing, stream.log(), group.last_id, options.count);
                new * (1 + PENDING_WEIGHT / ENTRY_WEIGHT)
            }
            Wanted::Pending(_) => {
                let consumer = group.consumer(group.find_consumer(consumer)?);
                at_most(consumer.pending(), options.count) * PENDING_WEIGHT
            }
        })
    };
    options.pairs().filter_map(weigh).sum()
}

/// Returns `len`, at most `count_max` if it is not 0.
fn at_most(len: usize, count_max: u64) -> usize {
    if count_max == 0 { len } else { len.min(usize::try_from(count_max).unwrap_or(usize::MAX)) }
}

fn group<'a>(
    weighing: &Weighing<'a>,
    args: &Args<'_>,
    (key, name): (usize, usize),
) -> Option<&'a Group> {
    weighing.object::<Stream>(args, key)?.group(args.get(name)?)
}

/// Returns the weight of XPENDING. A filter may skip pending entries, so it may look at all.
pub(super) fn pending(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let Ok(Some(range)) = Range::of(args) else { return 0 };
    let Some(group) = group(weighing, args, (1, 2)) else { return 0 };
    let looks = if range.min_idle_ms > 0 { 0 } else { range.count.max(1) };
    at_most(group.pending_len(), looks) * PENDING_WEIGHT
}

/// Returns the weight of XAUTOCLAIM.
pub(super) fn auto_claim(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let Ok(claim) = AutoClaim::of(args) else { return 0 };
    let Some(group) = group(weighing, args, (1, 2)) else { return 0 };
    at_most(group.pending_len(), claim.looks()) * (PENDING_WEIGHT + ENTRY_WEIGHT)
}

/// Returns the weight of XGROUP DELCONSUMER: the pending entries of the consumer.
pub(super) fn delete_consumer(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let pending = || {
        let group = group(weighing, args, (2, 3))?;
        let consumer = group.find_consumer(args.get(4)?)?;
        Some(group.consumer(consumer).pending() * PENDING_WEIGHT)
    };
    pending().unwrap_or(0)
}

/// Returns the weight of XINFO STREAM: with FULL, entries and the pending entries of all groups.
pub(super) fn info(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    if args.len() < 4 {
        return 0;
    }
    let Some(stream) = weighing.object::<Stream>(args, 2) else { return 0 };
    let count = count_at(args, 5).unwrap_or(10) as u64;
    let listed = |group: &Group| {
        let consumers = group.consumers().map(|consumer| 1 + at_most(consumer.pending(), count));
        at_most(group.pending_len(), count) + consumers.sum::<usize>()
    };
    let of_groups: usize = stream.groups().map(|(_, group)| listed(group)).sum();
    let whole = entries(weighing, stream.log(), (Id::MIN, Id::MAX), count) * ENTRY_WEIGHT;
    whole + of_groups * PENDING_WEIGHT
}
