//! XLEN, XRANGE, XREVRANGE and XDEL: count, read and delete entries by id.

use super::ids::{parse_end, parse_id, parse_integer, parse_start};
use super::reply::write_entries;
use super::weigh;
use crate::exec::{Command, Context};
use crate::keyspace::Event;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::stream::{Id, Stream};

pub(super) static XLEN: Command = Command::single(
    xlen,
    Card::new("xlen", Group::Stream, "5.0.0")
        .summary("Returns the number of messages in a stream.")
        .constant_time()
        .arity(2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::inspects()])
        .args(&[Arg::key("key")]),
);

fn xlen(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let stream = cx.slice.read::<Stream>(cx.db, &key)?;
    cx.reply.integer(stream.map_or(0, |stream| stream.log().len() as i64));
    Ok(())
}

pub(super) static XRANGE: Command = Command::single(
    xrange,
    Card::new("xrange", Group::Stream, "5.0.0")
        .summary("Returns the messages from a stream within a range of IDs.")
        .complexity(
            "O(N) with N being the number of elements being returned. If N is constant (e.g. \
             always asking for the first 10 elements with COUNT), you can consider it O(1).",
        )
        .arity(-4)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .history(&[("6.2.0", "Added exclusive ranges.")])
        .args(&[
            Arg::key("key"),
            Arg::string("start"),
            Arg::string("end"),
            Arg::integer("count").after("COUNT").optional(),
        ]),
)
.offload_by(weigh::range);

fn xrange(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    range(cx, args, false)
}

pub(super) static XREVRANGE: Command = Command::single(
    xrevrange,
    Card::new("xrevrange", Group::Stream, "5.0.0")
        .summary("Returns the messages from a stream within a range of IDs in reverse order.")
        .complexity(
            "O(N) with N being the number of elements returned. If N is constant (e.g. always \
             asking for the first 10 elements with COUNT), you can consider it O(1).",
        )
        .arity(-4)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .history(&[("6.2.0", "Added exclusive ranges.")])
        .args(&[
            Arg::key("key"),
            Arg::string("end"),
            Arg::string("start"),
            Arg::integer("count").after("COUNT").optional(),
        ]),
)
.offload_by(weigh::range_back);

fn xrevrange(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    range(cx, args, true)
}

fn range(cx: &mut Context<'_>, args: &mut Args<'_>, is_back: bool) -> Result<(), Error> {
    let (start_at, end_at) = if is_back { (3, 2) } else { (2, 3) };
    let start = parse_start(&args[start_at])?;
    let end = parse_end(&args[end_at])?;
    let mut count = None;
    let mut at = 4;
    while at < args.len() {
        if !args[at].eq_ignore_ascii_case(b"COUNT") || at + 1 == args.len() {
            return Err(Error::Syntax);
        }
        count = Some(parse_integer(&args[at + 1])?.max(0) as u64);
        at += 2;
    }
    let key = cx.key(args, 1);
    let Some(stream) = cx.slice.read::<Stream>(cx.db, &key)? else {
        cx.reply.array(0);
        return Ok(());
    };
    let log = stream.log();
    let reply = &mut cx.reply;
    match count {
        Some(0) => reply.null_array(),
        _ if is_back => write_entries(reply, log.range_back(start, end), count.unwrap_or(0)),
        _ => write_entries(reply, log.range(start, end), count.unwrap_or(0)),
    }
    Ok(())
}

pub(super) static XDEL: Command = Command::single(
    xdel,
    Card::new("xdel", Group::Stream, "5.0.0")
        .summary("Returns the number of messages after removing them from a stream.")
        .complexity(
            "O(1) for each single item to delete in the stream, regardless of the stream size.",
        )
        .steady()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::deletes()])
        .args(&[Arg::key("key"), Arg::string("id").repeated()]),
);

fn xdel(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let Some(mut stream) = cx.slice.edit::<Stream>(cx.db, &key)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    let ids: Vec<Id> = args.iter_from(2).map(parse_id).collect::<Result<_, _>>()?;
    let deleted = stream.log_mut().delete(ids.into_iter());
    if deleted > 0 {
        stream.raise(Event::XDel, deleted);
    }
    drop(stream);
    cx.reply.integer(deleted as i64);
    Ok(())
}
