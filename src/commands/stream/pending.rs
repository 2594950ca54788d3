//! XPENDING: entries that were delivered to consumers and are not acknowledged.

use super::ids::{parse_end, parse_integer, parse_start};
use super::no_group;
use super::reply::write_id;
use super::weigh;
use crate::exec::{Command, Context};
use crate::resp::{Args, Error, Reply};
use crate::spec::{Arg, Card, Flag, Group as CardGroup, KeySpec};
use crate::value::stream::{ConsumerId, Group, Id, Pending, Stream};

pub(super) static XPENDING: Command = Command::single(
    xpending,
    Card::new("xpending", CardGroup::Stream, "5.0.0")
        .summary(
            "Returns the information and entries from a stream consumer group's pending entries \
             list.",
        )
        .complexity(
            "O(N) with N being the number of elements returned, so asking for a small fixed \
             number of entries per call is O(1). O(M), where M is the total number of entries \
             scanned when used with the IDLE filter. When the command returns just the summary \
             and the list of consumers is small, it runs in O(1) time; otherwise, an additional \
             O(N) time for iterating every consumer.",
        )
        .arity(-3)
        .flags(Flag::READONLY)
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::reads()])
        .history(&[("6.2.0", "Added the `IDLE` option and exclusive range intervals.")])
        .args(&[
            Arg::key("key"),
            Arg::string("group"),
            Arg::block(
                "filters",
                &[
                    Arg::integer("min-idle-time").after("IDLE").since("6.2.0").optional(),
                    Arg::string("start"),
                    Arg::string("end"),
                    Arg::integer("count"),
                    Arg::string("consumer").optional(),
                ],
            )
            .optional(),
        ]),
)
.offload_by(weigh::pending);

/// Parsed range of pending entries.
pub(super) struct Range<'a> {
    pub(super) min_idle_ms: i64,
    start: Id,
    end: Id,
    pub(super) count: u64,
    /// Restricts the range to one consumer.
    consumer: Option<&'a [u8]>,
}

impl<'a> Range<'a> {
    /// Parses the arguments. Returns `None` if they ask for the summary.
    pub(super) fn of(args: &'a Args<'_>) -> Result<Option<Range<'a>>, Error> {
        let argc = args.len();
        if argc == 3 {
            return Ok(None);
        }
        if !(6..=9).contains(&argc) {
            return Err(Error::Syntax);
        }
        let (mut at, mut min_idle_ms) = (3, 0);
        if args[3].eq_ignore_ascii_case(b"IDLE") {
            min_idle_ms = parse_integer(&args[4])?;
            if argc < 8 {
                return Err(Error::Syntax);
            }
            at = 5;
        }
        let count = parse_integer(&args[at + 2])?.max(0) as u64;
        let start = parse_start(&args[at])?;
        let end = parse_end(&args[at + 1])?;
        Ok(Some(Range { min_idle_ms, start, end, count, consumer: args.get(at + 3) }))
    }
}

fn xpending(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let range = Range::of(args)?;
    let key = cx.key(args, 1);
    let stream = cx.slice.read::<Stream>(cx.db, &key)?;
    let group = stream.and_then(|stream| stream.group(&args[2]));
    let group = group.ok_or_else(|| no_group(&args[1], &args[2]))?;
    match range {
        None => write_summary(&mut cx.reply, group),
        Some(range) => write_range(&mut cx.reply, group, &range, cx.now_ms as i64),
    }
    Ok(())
}

fn write_summary(reply: &mut Reply<'_>, group: &Group) {
    reply.array(4);
    reply.integer(group.pending_len() as i64);
    let first = group.pending_from(Id::MIN).next().map(|(id, _)| *id);
    let (Some(first), Some(last)) = (first, group.pending_last()) else {
        reply.null();
        reply.null();
        return reply.null_array();
    };
    write_id(reply, first);
    write_id(reply, last);
    let with_some = || group.consumers().filter(|consumer| consumer.pending() > 0);
    reply.array(with_some().count());
    for consumer in with_some() {
        reply.array(2);
        reply.bulk(&consumer.name);
        reply.integer_bulk(consumer.pending() as i64);
    }
}

fn write_range(reply: &mut Reply<'_>, group: &Group, range: &Range<'_>, now_ms: i64) {
    let consumer: Option<Option<ConsumerId>> = range.consumer.map(|name| group.find_consumer(name));
    let start = reply.mark();
    let mut written = 0;
    let mut write = |id: Id, pending: &Pending| {
        if written == range.count || id > range.end {
            return false;
        }
        let idle_ms = now_ms.wrapping_sub(pending.delivered_ms);
        if range.min_idle_ms == 0 || idle_ms >= range.min_idle_ms {
            written += 1;
            reply.array(4);
            write_id(reply, id);
            reply.bulk(&group.consumer(pending.consumer).name);
            reply.integer(idle_ms.max(0));
            reply.integer(pending.deliveries as i64);
        }
        true
    };
    match consumer {
        None => {
            group.pending_from(range.start).all(|(id, pending)| write(*id, pending));
        }
        Some(None) => {}
        Some(Some(consumer)) => {
            let pending = |id: Id| group.pending(id).expect("a consumer's ids are pending");
            group.consumer(consumer).ids_from(range.start).all(|id| write(id, pending(id)));
        }
    }
    reply.array_since(start, written as usize);
}
