//! ZRANGESTORE: a range of members becomes a sorted set of its own.

use super::limits_of;
use super::range::{Form, Selection};
use crate::exec::{Command, Context, Run, same_database};
use crate::keyspace::Expiry;
use crate::resp::{Args, Error};
use crate::spec::{Begin, Card, Category, Find, Flag, Group, KeySpec};
use crate::value::sorted_set::SortedSet;
use crate::value::string::IntText;
use crate::value::{Container, Object};

pub(super) static ZRANGESTORE: Command = Command {
    card: Card {
        name: "zrangestore",
        summary: "Stores a range of members from sorted set in a key.",
        since: "6.2.0",
        group: Group::SortedSet,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the \
            number of elements stored into the destination key.",
        arity: -5,
        flags: Flag::WRITE.and(Flag::DENYOOM),
        categories: &[Category::SortedSet],
        tips: &[],
        keys: &[
            KeySpec::first("OW update"),
            KeySpec {
                flags: "RO access",
                notes: "",
                begin: Begin::Index(2),
                find: Find::Range { last: 0, step: 1 },
            },
        ],
    },
    run: Run::Bulky(zrangestore, same_database),
    subcommands: &[],
};

fn zrangestore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let form = Form { key: 2, by: None, is_reverse: None, is_store: true };
    let selection = Selection::parse(args, form)?;
    let (destination, source) = (cx.key(args, 1), cx.key(args, 2));
    let limits = limits_of(cx.config);
    let mut stored = Box::<SortedSet>::default();
    if let Some(set) = cx.slice.read::<SortedSet>(cx.db, &source)? {
        let ranks = selection.ranks(set);
        if selection.is_by_rank() {
            // The reference knows in advance how many these are, and chooses the form by that.
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
            cx.effects.changes += 1;
        }
    } else {
        let object: Object = stored.into_object();
        cx.slice.set_object(cx.db, &destination, object, Expiry::Clear);
        cx.effects.changes += 1;
    }
    cx.reply.integer(len as i64);
    Ok(())
}
