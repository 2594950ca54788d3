//! Commands that move an item from one list to another: LMOVE, RPOPLPUSH and their blocking forms.

use super::blocking::wait;
use super::ends::{popped, pushed};
use super::{end_at, limits};
use crate::commands::args::deadline_at;
use crate::exec::{Command, Context};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::list::{End, List};

pub(super) static LMOVE: Command = Command::gather(
    lmove,
    Card::new("lmove", Group::List, "6.2.0")
        .summary(
            "Returns an element after popping it from one list and pushing it to another. Deletes \
             the list if the last element was moved.",
        )
        .constant_time()
        .arity(5)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::deletes().using_data(), KeySpec::inserts().at(2)])
        .args(&[
            Arg::key("source"),
            Arg::key("destination").key_spec(1),
            Arg::choice("wherefrom", &["LEFT", "RIGHT"]),
            Arg::choice("whereto", &["LEFT", "RIGHT"]),
        ]),
);

fn lmove(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let ends = [end_at(&args[3])?, end_at(&args[4])?];
    if !move_item(cx, args, ends)? {
        cx.reply.null();
    }
    Ok(())
}

pub(super) static RPOPLPUSH: Command = Command::gather(
    rpoplpush,
    Card::new("rpoplpush", Group::List, "1.2.0")
        .summary(
            "Returns the last element of a list after removing and pushing it to another list. \
             Deletes the list if the last element was popped.",
        )
        .constant_time()
        .arity(3)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::deletes().using_data(), KeySpec::inserts().at(2)])
        .args(&[Arg::key("source"), Arg::key("destination").key_spec(1)]),
);

fn rpoplpush(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if !move_item(cx, args, [End::Right, End::Left])? {
        cx.reply.null();
    }
    Ok(())
}

pub(super) static BLMOVE: Command = Command::gather(
    blmove,
    Card::new("blmove", Group::List, "6.2.0")
        .summary(
            "Pops an element from a list, pushes it to another list and returns it. Blocks until \
             an element is available otherwise. Deletes the list if the last element was moved.",
        )
        .constant_time()
        .arity(6)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::BLOCKING))
        .keys(&[KeySpec::deletes().using_data(), KeySpec::inserts().at(2)])
        .args(&[
            Arg::key("source"),
            Arg::key("destination").key_spec(1),
            Arg::choice("wherefrom", &["LEFT", "RIGHT"]),
            Arg::choice("whereto", &["LEFT", "RIGHT"]),
            Arg::double("timeout"),
        ]),
);

fn blmove(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let ends = [end_at(&args[3])?, end_at(&args[4])?];
    let deadline_ms = deadline_at(&args[5], cx.now_ms)?;
    if move_item(cx, args, ends)? {
        cx.propagate(&[b"LMOVE", &args[1], &args[2], &args[3], &args[4]]);
    } else {
        wait_for_source(cx, deadline_ms);
    }
    Ok(())
}

pub(super) static BRPOPLPUSH: Command = Command::gather(
    brpoplpush,
    Card::new("brpoplpush", Group::List, "2.2.0")
        .summary(
            "Pops an element from a list, pushes it to another list and returns it. Blocks until \
             an element is available otherwise. Deletes the list if the last element was popped.",
        )
        .constant_time()
        .arity(4)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::BLOCKING))
        .keys(&[KeySpec::deletes().using_data(), KeySpec::inserts().at(2)])
        .history(&[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")])
        .args(&[Arg::key("source"), Arg::key("destination").key_spec(1), Arg::double("timeout")]),
);

fn brpoplpush(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let deadline_ms = deadline_at(&args[3], cx.now_ms)?;
    if move_item(cx, args, [End::Right, End::Left])? {
        cx.propagate(&[b"RPOPLPUSH", &args[1], &args[2]]);
    } else {
        wait_for_source(cx, deadline_ms);
    }
    Ok(())
}

/// Blocks until the key at argument 1 is a list. As in the reference server, a command that may not
/// block replies with a null bulk string, and a timeout with a null array.
fn wait_for_source(cx: &mut Context<'_>, deadline_ms: Option<u64>) {
    if cx.may_wait {
        cx.wait(wait(vec![1], deadline_ms));
    } else {
        cx.reply.null();
    }
}

/// Moves an item from one end of the list at argument 1 to an end of the list at argument 2 and
/// replies with it. Returns false, without a reply, if there is no list at argument 1.
fn move_item(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    [from_end, to_end]: [End; 2],
) -> Result<bool, Error> {
    let (from, to, limits) = (cx.key(args, 1), cx.key(args, 2), limits(cx.config));
    let Some(mut source) = cx.slice.edit::<List>(cx.db, &from)? else { return Ok(false) };
    if from.bytes == to.bytes {
        let text = source.pop(from_end, |item| item.to_vec()).expect("a list has items");
        source.push(to_end, &text, &limits);
        source.settle(&limits);
        source.raise(pushed(to_end), 0);
        source.raise(popped(from_end), 1);
        cx.reply.bulk(&text);
        return Ok(true);
    }
    drop(source);
    if cx.slice.peek(cx.db, &to).is_some_and(|view| view.object::<List>().is_none()) {
        return Err(Error::WrongType);
    }
    let source = cx.slice.edit::<List>(cx.db, &from)?.expect("the same key was found above");
    let last = source.len() - 1;
    let at = if from_end == End::Left { 0 } else { last };
    let text = source.get(at).expect("a list has items").to_vec();
    drop(source);
    // Pushes first, because the reference raises the events in this order.
    let mut target = cx.slice.edit_or_new::<List>(cx.db, &to)?;
    target.push(to_end, &text, &limits);
    target.raise(pushed(to_end), 0);
    drop(target);
    let mut source = cx.slice.edit::<List>(cx.db, &from)?.expect("the same key was found above");
    source.pop(from_end, |_| ());
    source.settle(&limits);
    source.raise(popped(from_end), 1);
    cx.reply.bulk(&text);
    Ok(true)
}
