//! CLUSTER commands on the keys of one slot. They run on the partition that owns the slot.

use super::{CLUSTER_DISABLED, slot_arg};
use crate::base::number::parse_i64;
use crate::base::slot::SLOT_COUNT;
use crate::exec::{Command, Context};
use crate::keyspace::Event;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Category, Flag, Group};

/// Returns the slot that the argument behind the subcommand names; 0 if it names none.
pub(super) fn named_slot(args: &Args<'_>) -> u16 {
    args.get(2).and_then(|arg| slot_arg(arg).ok()).unwrap_or(0)
}

pub(super) static COUNTKEYSINSLOT: Command = Command::on_slot(
    count_keys_in_slot,
    named_slot,
    Card::new("countkeysinslot", Group::Cluster, "3.0.0")
        .summary("Returns the number of keys in a hash slot.")
        .constant_time()
        .arity(3)
        .flags(Flag::STALE)
        .args(&[Arg::integer("slot")]),
);

fn count_keys_in_slot(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    check_nodes(cx)?;
    let slot = parse_i64(&args[2]).ok_or(Error::NotInteger)?;
    if !(0..i64::from(SLOT_COUNT)).contains(&slot) {
        return Err(Error::other("ERR Invalid slot"));
    }
    let (db, slot) = (cx.db, slot as u16);
    let keys = cx.slice_of(slot).slot_len(db, slot);
    cx.reply.integer(keys as i64);
    Ok(())
}

pub(super) static GETKEYSINSLOT: Command = Command::on_slot(
    get_keys_in_slot,
    named_slot,
    Card::new("getkeysinslot", Group::Cluster, "3.0.0")
        .summary("Returns the key names in a hash slot.")
        .complexity("O(N) where N is the number of requested keys")
        .arity(4)
        .flags(Flag::STALE)
        .tips(&["nondeterministic_output"])
        .args(&[Arg::integer("slot"), Arg::integer("count")]),
);

fn get_keys_in_slot(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    check_nodes(cx)?;
    let slot = parse_i64(&args[2]).ok_or(Error::NotInteger)?;
    let max = parse_i64(&args[3]).ok_or(Error::NotInteger)?;
    if !(0..i64::from(SLOT_COUNT)).contains(&slot) || max < 0 {
        return Err(Error::other("ERR Invalid slot or number of keys"));
    }
    let (db, slot) = (cx.db, slot as u16);
    let keys = cx.slice_of(slot).keys_in_slot(db, slot, max as usize);
    cx.reply.array(keys.len());
    keys.iter().for_each(|key| cx.reply.bulk(key));
    Ok(())
}

pub(super) static FLUSHSLOT: Command = Command::on_slot(
    flush_slot,
    named_slot,
    Card::new("flushslot", Group::Cluster, "9.0.0")
        .summary("Removes all keys from the target slot.")
        .complexity("O(N) where N is the number of keys in the target slot")
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::ADMIN).and(Flag::NO_ASYNC_LOADING))
        .categories(&[Category::Keyspace])
        .args(&[Arg::integer("slot"), Arg::choice("flush-type", &["ASYNC", "SYNC"]).optional()]),
);

/// Removes the keys of the slot in all databases. Large values are freed in small steps either way.
fn flush_slot(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if !cx.config.cluster_enabled {
        return Err(Error::other(CLUSTER_DISABLED));
    }
    let slot = slot_arg(&args[2])?;
    match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        _ if args.len() > 4 => return Err(Error::subcommand_syntax(b"cluster", &args[1])),
        None | Some(b"async" | b"sync") => {}
        Some(_) => return Err(Error::Syntax),
    }
    let slice = cx.slice_of(slot);
    for db in 0..slice.databases() {
        for name in slice.keys_in_slot(db, slot, usize::MAX) {
            let key = slice.key_in_slot(&name, slot);
            if slice.remove(db, &key) {
                slice.raise(db, &key, Event::Del, 1);
            }
        }
    }
    cx.effects.other_databases = true;
    cx.propagate_always();
    cx.reply.ok();
    Ok(())
}

/// Refuses a command that only a node answers, to clients of a server that is none.
pub(super) fn check_nodes(cx: &Context<'_>) -> Result<(), Error> {
    if cx.config.has_nodes() { Ok(()) } else { Err(Error::other(CLUSTER_DISABLED)) }
}
