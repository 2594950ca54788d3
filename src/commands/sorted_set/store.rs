//! ZRANGESTORE: stores a range of members in another sorted set.

use super::limits_of;
use super::range::{Form, Selection};
use crate::commands::arg_groups::LIMIT;
use crate::exec::{Command, Context};
use crate::keyspace::{Event, Expiry};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::sorted_set::SortedSet;
use crate::value::string::IntText;
use crate::value::{Container, Object};

pub(super) static ZRANGESTORE: Command = Command::gather(
    zrangestore,
    Card::new("zrangestore", Group::SortedSet, "6.2.0")
        .summary("Stores a range of members from sorted set in a key.")
        .complexity(
            "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
             of elements stored into the destination key.",
        )
        .arity(-5)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::overwrites(), KeySpec::reads().at(2)])
        .args(&[
            Arg::key("dst"),
            Arg::key("src").key_spec(1),
            Arg::string("min"),
            Arg::string("max"),
            Arg::choice("sortby", &["BYSCORE", "BYLEX"]).optional(),
            Arg::keyword("REV").optional(),
            LIMIT.optional(),
        ]),
)
.offload();

fn zrangestore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let form = Form { key: 2, by: None, is_reverse: None, is_store: true };
    let selection = Selection::parse(args, form)?;
    let (destination, source) = (cx.key(args, 1), cx.key(args, 2));
    let limits = limits_of(cx.config);
    let mut stored = Box::<SortedSet>::default();
    if let Some(set) = cx.slice.read::<SortedSet>(cx.db, &source)? {
        let ranks = selection.ranks(set);
        if selection.is_by_rank() {
            // For ranks, the reference server knows the length in advance and chooses the form by
            // it.
            stored.prepare(ranks.len(), 0, &limits);
        }
        let mut text = IntText::new();
        selection.for_each(set, ranks, |member, score| {
            stored.put(member.text(&mut text), score, &limits);
        });
    }
    let len = stored.len();
    if len == 0 {
        if cx.slice.remove(cx.db, &destination) {
            cx.raise(&destination, Event::Del, 1);
        }
    } else {
        let object: Object = stored.into_object();
        cx.slice.set_object(cx.db, &destination, object, Expiry::Clear);
        cx.raise(&destination, Event::ZRangeStore, 1);
    }
    cx.reply.integer(len as i64);
    Ok(())
}
