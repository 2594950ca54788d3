//! XGROUP and XACK: consumer groups and acknowledgements.

use super::ids::{parse_any_id, parse_id, parse_integer};
use super::no_group_of_key;
use super::weigh;
use crate::commands::help::{help_card, help_command};
use crate::exec::{Command, Context};
use crate::keyspace::{Edit, Event};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::Container;
use crate::value::stream::{Id, Stream};

pub(super) static XGROUP: Command = Command::container(
    Card::new("xgroup", Group::Stream, "5.0.0")
        .summary("A container for consumer groups commands.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[&CREATE, &CREATECONSUMER, &DELCONSUMER, &DESTROY, &SETID, &HELP],
);

const NO_KEY: Error = Error::Other(std::borrow::Cow::Borrowed(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to \
     use the MKSTREAM option to create an empty stream automatically.",
));

/// Options of XGROUP CREATE and SETID, which follow the id.
#[derive(Default)]
struct Options {
    makes_stream: bool,
    entries_read: Option<i64>,
}

impl Options {
    fn of(args: &Args<'_>, creates: bool) -> Result<Options, Error> {
        let mut options = Options::default();
        let mut at = 5;
        while at < args.len() {
            if creates && args[at].eq_ignore_ascii_case(b"MKSTREAM") {
                options.makes_stream = true;
                at += 1;
            } else if args[at].eq_ignore_ascii_case(b"ENTRIESREAD") && at + 1 < args.len() {
                let number = parse_integer(&args[at + 1])?;
                if number < -1 {
                    return Err(Error::other("ERR value for ENTRIESREAD must be positive or -1"));
                }
                options.entries_read = (number >= 0).then_some(number);
                at += 2;
            } else {
                return Err(syntax(args));
            }
        }
        Ok(options)
    }
}

fn syntax(args: &Args<'_>) -> Error {
    Error::subcommand_syntax(b"xgroup", &args[1])
}

/// Starts to edit the stream at argument 2; returns `None` if there is no such key.
fn stream_of<'s>(
    cx: &'s mut Context<'_>,
    args: &'s Args<'_>,
) -> Result<Option<Edit<'s, Stream>>, Error> {
    let key = cx.key(args, 2);
    Ok(cx.slice.edit::<Stream>(cx.db, &key)?)
}

static CREATE: Command = Command::single(
    create,
    Card::new("create", Group::Stream, "5.0.0")
        .summary("Creates a consumer group.")
        .constant_time()
        .arity(-5)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::inserts().at(2)])
        .history(&[("7.0.0", "Added the `entries_read` named argument.")])
        .args(&[
            Arg::key("key"),
            Arg::string("group"),
            Arg::one_of("id-selector", &[Arg::string("id"), Arg::keyword("$").named("new-id")]),
            Arg::keyword("MKSTREAM").optional(),
            Arg::integer("entriesread").after("ENTRIESREAD").shown_as("entries-read").optional(),
        ]),
);

fn create(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let options = Options::of(args, true)?;
    let old = stream_of(cx, args)?;
    if old.is_none() && !options.makes_stream {
        return Err(NO_KEY);
    }
    if args.len() > 8 {
        return Err(syntax(args));
    }
    let id = match &args[4] {
        b"$" => old.as_ref().map_or(Id::MIN, |stream| stream.log().last_id()),
        arg => parse_id(arg)?,
    };
    let is_new = old.is_none();
    drop(old);
    let key = cx.key(args, 2);
    let mut stream = cx.slice.edit_or_new::<Stream>(cx.db, &key)?;
    if stream.add_group(&args[3], id, options.entries_read).is_none() {
        return Err(Error::other("BUSYGROUP Consumer Group name already exists"));
    }
    match is_new {
        true => stream.raise(Event::XGroupCreate, 1),
        false => stream.announce(Event::XGroupCreate, 1),
    }
    drop(stream);
    cx.reply.ok();
    Ok(())
}

static SETID: Command = Command::single(
    setid,
    Card::new("setid", Group::Stream, "5.0.0")
        .summary("Sets the last-delivered ID of a consumer group.")
        .constant_time()
        .arity(-5)
        .flags(Flag::WRITE)
        .keys(&[KeySpec::updates().at(2)])
        .history(&[("7.0.0", "Added the optional `entries_read` argument.")])
        .args(&[
            Arg::key("key"),
            Arg::string("group"),
            Arg::one_of("id-selector", &[Arg::string("id"), Arg::keyword("$").named("new-id")]),
            Arg::integer("entriesread").after("ENTRIESREAD").shown_as("entries-read").optional(),
        ]),
);

fn setid(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let options = Options::of(args, false)?;
    let mut stream = stream_of(cx, args)?.ok_or(NO_KEY)?;
    let (log, group) =
        stream.group_mut(&args[3]).ok_or_else(|| no_group_of_key(&args[2], &args[3]))?;
    if !matches!(args.len(), 5 | 7) {
        return Err(syntax(args));
    }
    let id = match &args[4] {
        b"$" => log.last_id(),
        arg => parse_any_id(arg, 0)?,
    };
    group.last_id = id;
    group.entries_read = options.entries_read;
    stream.announce(Event::XGroupSetId, 1);
    drop(stream);
    cx.reply.ok();
    Ok(())
}

static DESTROY: Command = Command::single(
    destroy,
    Card::new("destroy", Group::Stream, "5.0.0")
        .summary("Destroys a consumer group.")
        .complexity(
            "O(N) where N is the number of entries in the group's pending entries list (PEL).",
        )
        .arity(4)
        .flags(Flag::WRITE)
        .keys(&[KeySpec::deletes().at(2)])
        .args(&[Arg::key("key"), Arg::string("group")]),
);

fn destroy(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let mut stream = stream_of(cx, args)?.ok_or(NO_KEY)?;
    let removed = stream.remove_group(&args[3]);
    let existed = removed.is_some();
    if existed {
        stream.announce(Event::XGroupDestroy, 1);
    }
    drop(stream);
    if existed {
        // Wakes the clients that are blocked on the group, so that they reply with the error.
        let key = cx.key(args, 2);
        cx.slice.make_ready(cx.db, &key);
    }
    if let Some(group) = removed {
        cx.slice.bury(group.into_object());
    }
    cx.reply.integer(i64::from(existed));
    Ok(())
}

static CREATECONSUMER: Command = Command::single(
    createconsumer,
    Card::new("createconsumer", Group::Stream, "6.2.0")
        .summary("Creates a consumer in a consumer group.")
        .constant_time()
        .arity(5)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::inserts().at(2)])
        .args(&[Arg::key("key"), Arg::string("group"), Arg::string("consumer")]),
);

fn createconsumer(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let now_ms = cx.now_ms as i64;
    let mut stream = stream_of(cx, args)?.ok_or(NO_KEY)?;
    let (_, group) =
        stream.group_mut(&args[3]).ok_or_else(|| no_group_of_key(&args[2], &args[3]))?;
    let is_new = group.add_consumer(&args[4], now_ms, -1).is_some();
    if is_new {
        stream.announce(Event::XGroupCreateConsumer, 1);
    }
    drop(stream);
    cx.reply.integer(i64::from(is_new));
    Ok(())
}

static DELCONSUMER: Command = Command::single(
    delconsumer,
    Card::new("delconsumer", Group::Stream, "5.0.0")
        .summary("Deletes a consumer from a consumer group.")
        .constant_time()
        .arity(5)
        .flags(Flag::WRITE)
        .keys(&[KeySpec::deletes().at(2)])
        .args(&[Arg::key("key"), Arg::string("group"), Arg::string("consumer")]),
)
.offload_by(weigh::delete_consumer);

fn delconsumer(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let mut stream = stream_of(cx, args)?.ok_or(NO_KEY)?;
    let (_, group) =
        stream.group_mut(&args[3]).ok_or_else(|| no_group_of_key(&args[2], &args[3]))?;
    let found = group.find_consumer(&args[4]);
    let pending = found.map_or(0, |consumer| group.remove_consumer(consumer));
    if found.is_some() {
        stream.announce(Event::XGroupDelConsumer, 1);
    }
    drop(stream);
    cx.reply.integer(pending as i64);
    Ok(())
}

static HELP: Command = help_command(help_card(Group::Stream, "5.0.0"));
pub(super) static XACK: Command = Command::single(
    xack,
    Card::new("xack", Group::Stream, "5.0.0")
        .summary(
            "Returns the number of messages that were successfully acknowledged by the consumer \
             group member of a stream.",
        )
        .complexity("O(1) for each message ID processed.")
        .steady()
        .arity(-4)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::updates()])
        .args(&[Arg::key("key"), Arg::string("group"), Arg::string("id").repeated()]),
);

fn xack(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    cx.slice.read::<Stream>(cx.db, &key)?;
    let mut stream = cx.slice.edit::<Stream>(cx.db, &key)?;
    let group = stream.as_mut().and_then(|stream| stream.group_mut(&args[2]));
    let Some((_, group)) = group else {
        cx.reply.integer(0);
        return Ok(());
    };
    let ids: Vec<Id> = args.iter_from(3).map(parse_id).collect::<Result<_, _>>()?;
    let gone = ids.into_iter().filter(|id| group.acknowledge(*id).is_some()).count();
    if let Some(stream) = stream.as_mut().filter(|_| gone > 0) {
        stream.count_changes(gone as u64);
    }
    drop(stream);
    cx.reply.integer(gone as i64);
    Ok(())
}
