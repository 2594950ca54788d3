//! XINFO: describes a stream, its groups and their consumers.

use super::ids::parse_integer;
use super::no_group_of_key;
use super::reply::{limit, write_entries, write_entry, write_id};
use super::weigh;
use crate::commands::help::{help_card, help_command};
use crate::exec::{Command, Context};
use crate::resp::{Args, Error, Reply};
use crate::spec::{Arg, Card, Flag, Group as CardGroup, KeySpec};
use crate::value::stream::{Consumer, Group, Id, Log, Stream};

pub(super) static XINFO: Command = Command::container(
    Card::new("xinfo", CardGroup::Stream, "5.0.0")
        .summary("A container for stream introspection commands.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[&CONSUMERS, &GROUPS, &STREAM, &HELP],
);

static CONSUMERS: Command = Command::single(
    consumers,
    Card::new("consumers", CardGroup::Stream, "5.0.0")
        .summary("Returns a list of the consumers in a consumer group.")
        .constant_time()
        .arity(4)
        .flags(Flag::READONLY)
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::reads().at(2)])
        .history(&[("7.2.0", "Added the `inactive` field, and changed the meaning of `idle`.")])
        .args(&[Arg::key("key"), Arg::string("group")]),
);

fn consumers(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let now_ms = cx.now_ms as i64;
    let key = cx.key(args, 2);
    let stream = cx.slice.read::<Stream>(cx.db, &key)?.ok_or(Error::NoSuchKey)?;
    let group = stream.group(&args[3]).ok_or_else(|| no_group_of_key(&args[2], &args[3]))?;
    let reply = &mut cx.reply;
    reply.array(group.consumers_len());
    for consumer in group.consumers() {
        let inactive_ms = match consumer.active_ms {
            -1 => -1,
            active_ms => now_ms.wrapping_sub(active_ms),
        };
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(&consumer.name);
        write_integer(reply, "pending", consumer.pending() as i64);
        write_integer(reply, "idle", now_ms.wrapping_sub(consumer.seen_ms).max(0));
        write_integer(reply, "inactive", inactive_ms);
    }
    Ok(())
}

static GROUPS: Command = Command::single(
    groups,
    Card::new("groups", CardGroup::Stream, "5.0.0")
        .summary("Returns a list of the consumer groups of a stream.")
        .constant_time()
        .arity(3)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads().at(2)])
        .history(&[("7.0.0", "Added the `entries-read` and `lag` fields")])
        .args(&[Arg::key("key")]),
);

fn groups(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 2);
    let stream = cx.slice.read::<Stream>(cx.db, &key)?.ok_or(Error::NoSuchKey)?;
    let reply = &mut cx.reply;
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        write_integer(reply, "consumers", group.consumers_len() as i64);
        write_integer(reply, "pending", group.pending_len() as i64);
        write_progress(reply, stream.log(), group);
    }
    Ok(())
}

static STREAM: Command = Command::single(
    stream,
    Card::new("stream", CardGroup::Stream, "5.0.0")
        .summary("Returns information about a stream.")
        .constant_time()
        .arity(-3)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads().at(2)])
        .history(&[
            ("6.0.0", "Added the `FULL` modifier."),
            (
                "7.0.0",
                "Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, \
                 `entries-read` and `lag` fields",
            ),
            ("7.2.0", "Added the `active-time` field, and changed the meaning of `seen-time`."),
        ])
        .args(&[
            Arg::key("key"),
            Arg::block(
                "full-block",
                &[Arg::keyword("FULL"), Arg::integer("count").after("COUNT").optional()],
            )
            .optional(),
        ]),
)
.offload_by(weigh::info);

fn stream(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 2);
    let stream = cx.slice.read::<Stream>(cx.db, &key)?.ok_or(Error::NoSuchKey)?;
    let syntax = || Error::subcommand_syntax(b"xinfo", &args[1]);
    let count = match args.len() {
        3 => None,
        4 | 6 if !args[3].eq_ignore_ascii_case(b"FULL") => return Err(syntax()),
        4 => Some(10),
        6 if args[4].eq_ignore_ascii_case(b"COUNT") => {
            Some(u64::try_from(parse_integer(&args[5])?).unwrap_or(10))
        }
        _ => return Err(syntax()),
    };
    let (reply, log) = (&mut cx.reply, stream.log());
    reply.map(if count.is_some() { 9 } else { 10 });
    write_log(reply, log);
    match count {
        Some(count) => write_full(reply, stream, count),
        None => {
            write_integer(reply, "groups", stream.groups().len() as i64);
            for (name, entry) in [
                ("first-entry", log.iter().next()),
                ("last-entry", log.range_back(Id::MIN, Id::MAX).next()),
            ] {
                reply.bulk(name.as_bytes());
                match entry {
                    None => reply.null(),
                    Some(entry) => write_entry(reply, entry),
                }
            }
        }
    }
    Ok(())
}

fn write_integer(reply: &mut Reply<'_>, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

fn write_named_id(reply: &mut Reply<'_>, name: &str, id: Id) {
    reply.bulk(name.as_bytes());
    write_id(reply, id);
}

/// Writes the seven pairs about the entries and ids of a stream.
fn write_log(reply: &mut Reply<'_>, log: &Log) {
    write_integer(reply, "length", log.len() as i64);
    write_integer(reply, "radix-tree-keys", log.nodes_len() as i64);
    write_integer(reply, "radix-tree-nodes", log.tree_nodes() as i64);
    write_named_id(reply, "last-generated-id", log.last_id());
    write_named_id(reply, "max-deleted-entry-id", log.max_deleted_id());
    write_integer(reply, "entries-added", log.entries_added() as i64);
    write_named_id(reply, "recorded-first-entry-id", log.first_id());
}

/// Writes the three pairs about the progress of a group.
fn write_progress(reply: &mut Reply<'_>, log: &Log, group: &Group) {
    write_named_id(reply, "last-delivered-id", group.last_id);
    for (name, number) in [("entries-read", group.entries_read), ("lag", group.lag(log))] {
        reply.bulk(name.as_bytes());
        match number {
            None => reply.null(),
            Some(number) => reply.integer(number),
        }
    }
}

/// Writes the two pairs of XINFO STREAM FULL: entries and groups, with at most `count` entries per
/// list; 0 means all.
fn write_full(reply: &mut Reply<'_>, stream: &Stream, count: u64) {
    reply.bulk(b"entries");
    write_entries(reply, stream.log().iter(), count);
    reply.bulk(b"groups");
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(name);
        write_progress(reply, stream.log(), group);
        write_integer(reply, "pel-count", group.pending_len() as i64);
        reply.bulk(b"pending");
        reply.array(group.pending_len().min(limit(count)));
        for (id, pending) in group.pending_from(Id::MIN).take(limit(count)) {
            reply.array(4);
            write_id(reply, *id);
            reply.bulk(&group.consumer(pending.consumer).name);
            reply.integer(pending.delivered_ms);
            reply.integer(pending.deliveries as i64);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumers_len());
        group.consumers().for_each(|consumer| write_consumer(reply, group, consumer, count));
    }
}

fn write_consumer(reply: &mut Reply<'_>, group: &Group, consumer: &Consumer, count: u64) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(&consumer.name);
    write_integer(reply, "seen-time", consumer.seen_ms);
    write_integer(reply, "active-time", consumer.active_ms);
    write_integer(reply, "pel-count", consumer.pending() as i64);
    reply.bulk(b"pending");
    reply.array(consumer.pending().min(limit(count)));
    for id in consumer.ids_from(Id::MIN).take(limit(count)) {
        let pending = group.pending(id).expect("a consumer's ids are pending");
        reply.array(3);
        write_id(reply, id);
        reply.integer(pending.delivered_ms);
        reply.integer(pending.deliveries as i64);
    }
}

static HELP: Command = help_command(help_card(CardGroup::Stream, "5.0.0"));
