//! Parts and length of a string: APPEND, STRLEN, GETRANGE, SUBSTR, SETRANGE.

use super::new_value;
use crate::base::number::parse_i64;
use crate::exec::{Command, Context, Weighing};
use crate::keyspace::{Event, Expiry};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::string::{IntText, Str};
use std::ops::Range;

pub(super) static APPEND: Command = Command::single(
    append,
    Card::new("append", Group::String, "2.0.0")
        .summary("Appends a string to the value of a key. Creates the key if it doesn't exist.")
        .complexity(
            "O(1). The amortized time complexity is O(1) assuming the appended value is small and \
             the already present value is of any size, since the dynamic string library used by \
             the server will double the free space available on every reallocation.",
        )
        .steady()
        .arity(3)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::inserts()])
        .args(&[Arg::key("key"), Arg::string("value")]),
)
.offload_by(weigh_append);

fn weigh_append(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let tail = args[2].len();
    if weighing.is_light_string(tail) {
        return 0;
    }
    match weighing.string_bytes(args, 1) {
        // The argument becomes the value.
        0 => 0,
        len => weighing.string_edit(args, 1, len + tail),
    }
}

fn append(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let Some(view) = cx.slice.peek(cx.db, &key) else {
        let (len, large) = (args[2].len(), args.take_large(2));
        let key = cx.key(args, 1);
        cx.slice.set(cx.db, &key, new_value(&args[2], large), Expiry::Clear);
        cx.raise(&key, Event::Append, 1);
        cx.reply.integer(len as i64);
        return Ok(());
    };
    let len = view.string().ok_or(Error::WrongType)?.len() + args[2].len();
    if len as u64 > cx.config.proto_max_bulk_len {
        return Err(Error::StringTooLong);
    }
    let len = cx.slice.append(cx.db, &key, &args[2]);
    cx.raise(&key, Event::Append, 1);
    cx.reply.integer(len as i64);
    Ok(())
}

pub(super) static STRLEN: Command = Command::single(
    strlen,
    Card::new("strlen", Group::String, "2.2.0")
        .summary("Returns the length of a string value.")
        .constant_time()
        .arity(2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::inspects()])
        .args(&[Arg::key("key")]),
);

fn strlen(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let len = match cx.slice.lookup(cx.db, &key) {
        None => 0,
        Some(view) => view.string().ok_or(Error::WrongType)?.len(),
    };
    cx.reply.integer(len as i64);
    Ok(())
}

pub(super) static GETRANGE: Command = Command::single(
    getrange,
    Card::new("getrange", Group::String, "2.4.0")
        .summary("Returns a substring of the string stored at a key.")
        .complexity(
            "O(N) where N is the length of the returned string. The complexity is ultimately \
             determined by the returned length, but because creating a substring from an existing \
             string is very cheap, it can be considered O(1) for small strings.",
        )
        .arity(4)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::integer("start"), Arg::integer("end")]),
);

pub(super) static SUBSTR: Command = Command::single(
    getrange,
    Card::new("substr", Group::String, "1.0.0")
        .summary("Returns a substring from a string value.")
        .complexity(
            "O(N) where N is the length of the returned string. The complexity is ultimately \
             determined by the returned length, but because creating a substring from an existing \
             string is very cheap, it can be considered O(1) for small strings.",
        )
        .arity(4)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::integer("start"), Arg::integer("end")]),
);

/// Returns the range from `start` to `end`, both included, of a string of `len` bytes. Negative
/// indexes count from the end.
fn range(start: i64, end: i64, len: usize) -> Range<usize> {
    // Two negative indexes before the start would both clamp to 0 and return the first byte.
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let len = len as i64;
    let place = |index: i64| if index < 0 { (len + index).max(0) } else { index };
    let (start, end) = (place(start), place(end).min(len - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}

fn getrange(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let start = parse_i64(&args[2]).ok_or(Error::NotInteger)?;
    let end = parse_i64(&args[3]).ok_or(Error::NotInteger)?;
    let key = cx.key(args, 1);
    let Some(view) = cx.slice.lookup(cx.db, &key) else {
        cx.reply.bulk(b"");
        return Ok(());
    };
    let value = view.string().ok_or(Error::WrongType)?;
    let range = range(start, end, value.len());
    match value {
        Str::Large(bytes) => cx.reply.bulk_shared(bytes.slice(range)),
        small => cx.reply.bulk(&small.text(&mut IntText::new())[range]),
    }
    Ok(())
}

pub(super) static SETRANGE: Command = Command::single(
    setrange,
    Card::new("setrange", Group::String, "2.2.0")
        .summary(
            "Overwrites a part of a string value with another by an offset. Creates the key if it \
             doesn't exist.",
        )
        .complexity(
            "O(1), not counting the time taken to copy the new string in place. Usually, this \
             string is very small so the amortized complexity is O(1). Otherwise, complexity is \
             O(M) with M being the length of the value argument.",
        )
        .arity(4)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::updates()])
        .args(&[Arg::key("key"), Arg::integer("offset"), Arg::string("value")]),
)
.offload_by(weigh_setrange);

fn weigh_setrange(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let offset = parse_i64(&args[2]).and_then(|offset| usize::try_from(offset).ok());
    let end = offset.map_or(0, |offset| offset.saturating_add(args[3].len()));
    if args[3].is_empty() { 0 } else { weighing.string_edit(args, 1, end) }
}

fn setrange(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let offset = parse_i64(&args[2]).ok_or(Error::NotInteger)?;
    let offset = u64::try_from(offset).map_err(|_| Error::OffsetOutOfRange)?;
    let key = cx.key(args, 1);
    let old_len = match cx.slice.peek(cx.db, &key) {
        None => 0,
        Some(view) => view.string().ok_or(Error::WrongType)?.len(),
    };
    let part = &args[3];
    if part.is_empty() {
        cx.reply.integer(old_len as i64);
        return Ok(());
    }
    // Cannot overflow: the offset is below 2^63 and the part below 2^32. A value that is already
    // longer than the limit may still change within the limit.
    let end = offset + part.len() as u64;
    if end > cx.config.proto_max_bulk_len {
        return Err(Error::StringTooLong);
    }
    let (offset, end) = (offset as usize, end as usize);
    let value = cx.slice.string_mut(cx.db, &key, end);
    value[offset..end].copy_from_slice(part);
    let len = value.len();
    cx.raise(&key, Event::SetRange, 1);
    cx.reply.integer(len as i64);
    Ok(())
}
