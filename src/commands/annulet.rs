//! ANNULET: what only this server has.

use super::cluster::slot_arg;
use super::help::{help_card, help_command};
use crate::base::number::parse_i64;
use crate::exec::{Command, Context, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group};
use std::ops::RangeInclusive;

/// The commands of this file.
pub static FAMILY: &[&Command] = &[&ANNULET];

/// The version with which the commands came.
const SINCE: &str = "0.1.0";

static ANNULET: Command = Command::container(
    Card::new("annulet", Group::Server, SINCE)
        .summary("A container for commands that only Annulet has.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[&HELP, &MOVESLOTS, &SLOTS],
);

static HELP: Command = help_command(help_card(Group::Server, SINCE));

static MOVESLOTS: Command = Command::discovers(
    move_slots,
    |_, _| true,
    Card::new("moveslots", Group::Server, SINCE)
        .summary("Moves hash slots to another shard of the server while they are served.")
        .complexity("O(N) where N is the number of slots and of their keys.")
        .arity(5)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::NO_MULTI))
        .args(&[Arg::integer("first-slot"), Arg::integer("last-slot"), Arg::integer("shard")]),
)
.moves_slots();

/// Returns the slots that are to move, and the shard that they move to.
pub fn moved_slots(args: &Args<'_>, shards: usize) -> Result<(RangeInclusive<u16>, u16), Error> {
    let (first, last) = (slot_arg(&args[2])?, slot_arg(&args[3])?);
    if first > last {
        let why = format!("ERR Start slot number {first} is greater than end slot number {last}");
        return Err(Error::other(why));
    }
    let shard = parse_i64(&args[4]).filter(|shard| (0..shards as i64).contains(shard));
    let shard = shard.ok_or_else(|| Error::other("ERR No such shard"))?;
    Ok((first..=last, shard as u16))
}

/// With one shard all slots are where they should be. With several, the shard of the client does
/// the work.
fn move_slots(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    moved_slots(args, 1)?;
    cx.reply.ok();
    Ok(())
}

static SLOTS: Command = Command::session(
    slots,
    Card::new("slots", Group::Server, SINCE)
        .summary("Returns which shard of the server has which hash slots.")
        .complexity("O(N) where N is the number of ranges of slots.")
        .arity(2)
        .flags(Flag::LOADING.and(Flag::STALE))
        .tips(&["nondeterministic_output"]),
);

/// Replies with one array per range: first slot, last slot, shard.
fn slots(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let map = cx.process.slot_map.snapshot();
    let of = |shard: usize| map.slots(shard).ranges().map(move |range| (range, shard));
    let mut all: Vec<_> = (0..map.partitions()).flat_map(of).collect();
    all.sort_unstable();
    cx.reply.array(all.len());
    for ((first, last), shard) in all {
        cx.reply.array(3);
        cx.reply.integer(i64::from(first));
        cx.reply.integer(i64::from(last));
        cx.reply.integer(shard as i64);
    }
    Ok(())
}
