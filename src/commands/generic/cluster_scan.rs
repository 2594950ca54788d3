//! CLUSTERSCAN: iteration over the keys of a cluster. Its cursor names a slot, so that clients send
//! it to the node that has the slot, as they do with a key.
//!
//! ```text
//!   cursor   fingerprint - {tag of the slot} - cursor of SCAN
//! ```
//!
//! A call walks over the slots that the node has from there on. The fingerprint stands for the
//! order of keys in this process: with another one the slot begins anew.

use super::scan::{Scan, has_enough, scan_bucket};
use crate::base::hash::hash_of;
use crate::base::number::parse_cursor;
use crate::base::slot::{SLOT_COUNT, slot_of, slot_of_pattern};
use crate::cluster::tag_of_slot;
use crate::commands::cluster::CLUSTER_DISABLED;
use crate::exec::{Command, Context, Walk};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Category, Flag, Group, KeySpec};

/// The most keys of one call, and the most buckets. COUNT may ask for more.
const CALL_KEYS_MAX: u64 = 4096;

/// The fingerprint of a slot that has not begun.
const NOT_BEGUN: &str = "0";

pub(super) static CLUSTERSCAN: Command = Command::on_slot(
    cluster_scan,
    named_slot,
    Card::new("clusterscan", Group::Cluster, "9.1.0")
        .summary("Iterates over the keys in the cluster.")
        .complexity("O(N) where N is the number of elements returned.")
        .arity(-2)
        .flags(Flag::READONLY)
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"])
        .keys(&[KeySpec::channels()])
        .args(&[
            Arg::string("cursor"),
            Arg::pattern("match-pattern").after("MATCH").optional(),
            Arg::integer("count").after("COUNT").optional(),
            Arg::string("type").after("TYPE").optional(),
            Arg::integer("slot").after("SLOT").optional(),
        ]),
)
.uses_scripting();

/// A parsed cursor.
struct Cursor<'a> {
    fingerprint: &'a [u8],
    slot: u16,
    /// The cursor of a SCAN.
    position: u64,
}

impl<'a> Cursor<'a> {
    fn parse(arg: &'a [u8]) -> Option<Cursor<'a>> {
        let mut parts = arg.splitn(3, |byte| *byte == b'-');
        let (fingerprint, tag) = (parts.next()?, parts.next()?);
        let position = parse_cursor(parts.next()?)?;
        Some(Cursor { fingerprint, slot: slot_of(tag), position })
    }

    /// Returns where a SCAN continues.
    fn start(&self) -> u64 {
        let is_here = self.position & u64::from(SLOT_COUNT - 1) == u64::from(self.slot);
        match is_here && self.fingerprint == fingerprint().as_bytes() {
            true => self.position,
            false => u64::from(self.slot),
        }
    }
}

/// Returns the slot that the cursor names, or else the one that a key of this name has.
fn named_slot(args: &Args<'_>) -> u16 {
    let arg = args.get(1).unwrap_or_default();
    Cursor::parse(arg).map_or_else(|| slot_of(arg), |cursor| cursor.slot)
}

/// Returns six characters for the order of keys in this process. None of them is `-`, `{` or `}`.
fn fingerprint() -> String {
    let hash = hash_of(b"clusterscan");
    (0..6).map(|digit| char::from(b'0' + (hash >> (6 * digit)) as u8 % 64)).collect()
}

fn cluster_scan(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if !cx.config.cluster_enabled {
        return Err(Error::other(CLUSTER_DISABLED));
    }
    let scan = Scan::read(args, true)?;
    let of_pattern = scan.pattern.and_then(slot_of_pattern);
    // No key is in the slot SLOT and in the pattern's.
    let is_empty = scan.slot.is_some_and(|slot| of_pattern.is_some_and(|other| other != slot));
    if args[1] == *b"0" {
        let first = scan.slot.or(of_pattern).unwrap_or(0);
        continue_at(cx, (!is_empty).then_some(first));
        cx.reply.array(0);
        return Ok(());
    }
    let cursor = Cursor::parse(&args[1]).ok_or_else(|| Error::other("ERR Invalid cursor"))?;
    if scan.slot.is_some_and(|slot| slot != cursor.slot) {
        return Err(Error::other("ERR Cursor slot mismatch with SLOT argument"));
    }
    if let Some(other) = of_pattern.filter(|other| *other != cursor.slot) {
        continue_at(cx, (!is_empty && other > cursor.slot).then_some(other));
        cx.reply.array(0);
        return Ok(());
    }
    let is_one = scan.slot.is_some() || of_pattern.is_some();
    walk(cx, &scan, &cursor, is_one);
    Ok(())
}

/// Replies with the next keys, of the cursor's slot alone or of the ones behind it, too.
fn walk(cx: &mut Context<'_>, scan: &Scan<'_>, cursor: &Cursor<'_>, is_one: bool) {
    let last = if is_one { cursor.slot } else { last_slot(cx, cursor.slot) };
    let (mut walk, mut position, mut is_over) = (Walk::whole(), cursor.start(), false);
    let (db, count) = (cx.db, scan.count.min(CALL_KEYS_MAX));
    walk.begin();
    while !is_over {
        walk.step();
        let slice = (cx.slice_of(cursor.slot), db);
        position = scan_bucket(&mut walk, slice, scan, position, last);
        is_over = position == 0 || has_enough(&walk, count) || walk.steps() >= CALL_KEYS_MAX;
    }
    if position == 0 {
        continue_at(cx, (!is_one && last + 1 < SLOT_COUNT).then_some(last + 1));
    } else {
        let slot = (position & u64::from(SLOT_COUNT - 1)) as u16;
        write_cursor(cx, &fingerprint(), slot, position);
    }
    walk.reply(&mut cx.reply);
}

/// Returns the last slot of the range from `slot` on that this partition has, and the same node. In
/// a script, `slot`.
fn last_slot(cx: &mut Context<'_>, slot: u16) -> u16 {
    let end = cx.slice_of(slot).slots().run_end(slot);
    let Some(scripting) = &cx.scripting else { return slot };
    let Some(cluster) = scripting.process.cluster.get() else { return slot };
    let nodes = cluster.nodes();
    let owner = nodes.owner(slot);
    (slot + 1..end).take_while(|next| nodes.owner(*next) == owner).last().unwrap_or(slot)
}

/// Begins the reply: the walk continues with a slot, or is over.
fn continue_at(cx: &mut Context<'_>, slot: Option<u16>) {
    match slot {
        Some(slot) => write_cursor(cx, NOT_BEGUN, slot, 0),
        None => {
            cx.reply.array(2);
            cx.reply.bulk(b"0");
        }
    }
}

fn write_cursor(cx: &mut Context<'_>, fingerprint: &str, slot: u16, position: u64) {
    let tag = String::from_utf8_lossy(tag_of_slot(slot));
    cx.reply.array(2);
    cx.reply.bulk(format!("{fingerprint}-{{{tag}}}-{position}").as_bytes());
}
