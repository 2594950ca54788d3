//! Commands that change a list at any index: LSET, LINSERT, LREM, LTRIM.

use super::read::range_of_one;
use super::{integer_at, limits, range_of, signed_at};
use crate::exec::{Command, Context, Weighing};
use crate::keyspace::Event;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::list::{End, List};

pub(super) static LSET: Command = Command::single(
    lset,
    Card::new("lset", Group::List, "1.0.0")
        .summary("Sets the value of an element in a list by its index.")
        .complexity(
            "O(N) where N is the length of the list. Setting either the first or the last element \
             of the list is O(1).",
        )
        .arity(4)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::updates()])
        .args(&[Arg::key("key"), Arg::integer("index"), Arg::string("element")]),
);

fn lset(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let (key, limits) = (cx.key(args, 1), limits(cx.config));
    let mut list = cx.slice.edit::<List>(cx.db, &key)?.ok_or(Error::NoSuchKey)?;
    let (index, text) = (integer_at(&args[2])?, &args[3]);
    list.expect(1, text.len(), &limits);
    let index = range_of_one(index, list.len()).ok_or(Error::IndexOutOfRange)?;
    list.set(index, text);
    list.settle(&limits);
    list.raise(Event::LSet, 1);
    cx.reply.ok();
    Ok(())
}

pub(super) static LINSERT: Command = Command::gather(
    linsert,
    Card::new("linsert", Group::List, "2.2.0")
        .summary("Inserts an element before or after another element in a list.")
        .complexity(
            "O(N) where N is the number of elements to traverse before seeing the value pivot. \
             This means that inserting somewhere on the left end on the list (head) can be \
             considered O(1) and inserting somewhere on the right end (tail) is O(N).",
        )
        .arity(5)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::inserts()])
        .args(&[
            Arg::key("key"),
            Arg::choice("where", &["BEFORE", "AFTER"]),
            Arg::string("pivot"),
            Arg::string("element"),
        ]),
)
.offload();

fn linsert(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let is_after = match &args[2] {
        arg if arg.eq_ignore_ascii_case(b"AFTER") => true,
        arg if arg.eq_ignore_ascii_case(b"BEFORE") => false,
        _ => return Err(Error::Syntax),
    };
    let (key, limits) = (cx.key(args, 1), limits(cx.config));
    let Some(mut list) = cx.slice.edit::<List>(cx.db, &key)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    let text = &args[4];
    list.expect(1, text.len(), &limits);
    if !list.insert_beside(&args[3], is_after, text) {
        cx.reply.integer(-1);
        return Ok(());
    }
    list.raise(Event::LInsert, 1);
    cx.reply.integer(list.len() as i64);
    Ok(())
}

pub(super) static LREM: Command = Command::gather(
    lrem,
    Card::new("lrem", Group::List, "1.0.0")
        .summary("Removes elements from a list. Deletes the list if the last element was removed.")
        .complexity(
            "O(N+M) where N is the length of the list and M is the number of elements removed.",
        )
        .arity(4)
        .flags(Flag::WRITE)
        .keys(&[KeySpec::deletes()])
        .args(&[Arg::key("key"), Arg::integer("count"), Arg::string("element")]),
)
.offload();

fn lrem(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let count = signed_at(&args[2])?;
    let end = if count < 0 { End::Right } else { End::Left };
    let count_max = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let (key, limits) = (cx.key(args, 1), limits(cx.config));
    let Some(mut list) = cx.slice.edit::<List>(cx.db, &key)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    let removed = list.remove_equal(end, count_max, &args[3], &limits);
    if removed > 0 {
        list.raise(Event::LRem, removed as u64);
    }
    cx.reply.integer(removed as i64);
    Ok(())
}

pub(super) static LTRIM: Command = Command::single(
    ltrim,
    Card::new("ltrim", Group::List, "1.0.0")
        .summary(
            "Removes elements from both ends of a list. Deletes the list if all elements were \
             trimmed.",
        )
        .complexity("O(N) where N is the number of elements to be removed by the operation.")
        .arity(4)
        .flags(Flag::WRITE)
        .keys(&[KeySpec::deletes()])
        .args(&[Arg::key("key"), Arg::integer("start"), Arg::integer("stop")]),
)
.offload_by(weigh_trim);

/// Items that LTRIM removes in the time of one element: it removes whole nodes.
const TRIMMED_TOGETHER: usize = 8;

fn weigh_trim(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let (Ok(start), Ok(last)) = (integer_at(&args[2]), integer_at(&args[3])) else { return 0 };
    let len = weighing.len(args, 1);
    (len - range_of(start, last, len).len()) / TRIMMED_TOGETHER
}

fn ltrim(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let (start, last) = (integer_at(&args[2])?, integer_at(&args[3])?);
    let (key, limits) = (cx.key(args, 1), limits(cx.config));
    let Some(mut list) = cx.slice.edit::<List>(cx.db, &key)? else {
        cx.reply.ok();
        return Ok(());
    };
    let len = list.len();
    let kept = range_of(start, last, len);
    list.remove_range(kept.end..len, &limits);
    list.remove_range(0..kept.start, &limits);
    match len - kept.len() {
        // As in the reference, there is an event even if nothing was removed.
        0 => list.announce(Event::LTrim, 0),
        removed => list.raise(Event::LTrim, removed as u64),
    }
    cx.reply.ok();
    Ok(())
}
