//! XREAD and XREADGROUP: entries that streams received since the reader's last id.

use super::claim::{Propagated, seen_consumer};
use super::ids::{parse_id, parse_integer};
use super::reply::{limit, write_entries, write_entry, write_id};
use super::weigh;
use crate::base::number::parse_i64;
use crate::exec::{Command, Context, Null, Wait};
use crate::keyspace::Event;
use crate::resp::{Args, Error, Protocol, Reply};
use crate::spec::{Arg, Card, Flag, Group as CardGroup, KeySpec};
use crate::value::Kind;
use crate::value::stream::{ConsumerId, Group, Id, Log, Pending, Stream};

/// The keys, followed by an ID for each.
const STREAMS: Arg =
    Arg::block("streams", &[Arg::key("key").repeated(), Arg::string("id").repeated()])
        .after("STREAMS");

/// Returns the key spec: the keys are the first half of the arguments after STREAMS, and the ids
/// are the second half. The search for STREAMS skips the names after GROUP, which may be any text.
const fn streams(from: i16) -> KeySpec {
    KeySpec::reads().after("STREAMS", from).skipping(&[("GROUP", 2)]).first_half()
}

pub(super) static XREAD: Command = Command::gather(
    xread,
    Card::new("xread", CardGroup::Stream, "5.0.0")
        .summary(
            "Returns messages from multiple streams with IDs greater than the ones requested. \
             Blocks until a message is available otherwise.",
        )
        .arity(-4)
        .flags(Flag::READONLY.and(Flag::BLOCKING).and(Flag::MOVABLEKEYS))
        .keys(&[streams(1)])
        .args(&[
            Arg::integer("count").after("COUNT").optional(),
            Arg::integer("milliseconds").after("BLOCK").optional(),
            STREAMS,
        ]),
)
.offload_by(weigh::read)
.blocks_if(has_block);
pub(super) static XREADGROUP: Command = Command::gather(
    xreadgroup,
    Card::new("xreadgroup", CardGroup::Stream, "5.0.0")
        .summary(
            "Returns new or historical messages from a stream for a consumer in a group. Blocks \
             until a message is available otherwise.",
        )
        .complexity(
            "For each stream mentioned: O(M) with M being the number of elements returned. If M \
             is constant (e.g. always asking for the first 10 elements with COUNT), you can \
             consider it O(1). On the other side when XREADGROUP blocks, XADD will pay the O(N) \
             time in order to serve the N clients blocked on the stream getting new data.",
        )
        .arity(-7)
        .flags(Flag::WRITE.and(Flag::BLOCKING).and(Flag::MOVABLEKEYS))
        .keys(&[streams(4).locked()])
        .args(&[
            Arg::block("group-block", &[Arg::string("group"), Arg::string("consumer")])
                .after("GROUP"),
            Arg::integer("count").after("COUNT").optional(),
            Arg::integer("milliseconds").after("BLOCK").optional(),
            Arg::keyword("NOACK").optional(),
            STREAMS,
        ]),
)
.offload_by(weigh::read_group)
.blocks_if(has_block);

/// Returns whether the options before STREAMS contain BLOCK.
fn has_block(args: &Args<'_>) -> bool {
    let mut at = 1;
    while at < args.len() {
        let is = |name: &str| args[at].eq_ignore_ascii_case(name.as_bytes());
        if is("BLOCK") || is("STREAMS") {
            return is("BLOCK");
        }
        at += if is("GROUP") { 3 } else { 1 };
    }
    false
}

/// Parsed options before the keys.
pub(super) struct Options<'a> {
    /// Deadline of BLOCK in Unix milliseconds; 0 means no timeout. `None` without BLOCK.
    deadline_ms: Option<u64>,
    /// Maximum number of entries per stream; 0 means all.
    pub(super) count: u64,
    /// GROUP: names of the group and the consumer.
    pub(super) group: Option<(&'a [u8], &'a [u8])>,
    /// NOACK: delivered entries do not become pending.
    no_ack: bool,
    /// Argument index of the first key.
    first: usize,
    /// Number of keys.
    streams: usize,
}

impl<'a> Options<'a> {
    pub(super) fn of(
        args: &'a Args<'_>,
        in_group: bool,
        now_ms: u64,
    ) -> Result<Options<'a>, Error> {
        let mut options = Options {
            deadline_ms: None,
            count: 0,
            group: None,
            no_ack: false,
            first: 0,
            streams: 0,
        };
        let mut at = 1;
        while options.first == 0 {
            at = options.read(args, at, in_group, now_ms)?;
        }
        if in_group && options.group.is_none() {
            return Err(Error::other("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(options)
    }

    /// Parses the option at argument `at`. Returns the index after the option.
    fn read(
        &mut self,
        args: &'a Args<'_>,
        at: usize,
        in_group: bool,
        now_ms: u64,
    ) -> Result<usize, Error> {
        let arg = args.get(at).ok_or(Error::Syntax)?;
        let is = |name: &str| arg.eq_ignore_ascii_case(name.as_bytes());
        if is("NOACK") || (is("GROUP") && at + 2 < args.len()) {
            if !in_group {
                return Err(Error::other(if is("NOACK") { NOACK_ALONE } else { GROUP_ALONE }));
            }
            if is("NOACK") {
                self.no_ack = true;
                return Ok(at + 1);
            }
            self.group = Some((&args[at + 1], &args[at + 2]));
            return Ok(at + 3);
        }
        let value = args.get(at + 1).ok_or(Error::Syntax)?;
        if is("BLOCK") {
            self.deadline_ms = Some(deadline_ms(value, now_ms)?);
        } else if is("COUNT") {
            self.count = parse_integer(value)?.max(0) as u64;
        } else if is("STREAMS") {
            let rest = args.len() - at - 1;
            if !rest.is_multiple_of(2) {
                return Err(Error::other(if in_group { UNBALANCED_IN_GROUP } else { UNBALANCED }));
            }
            self.first = at + 1;
            self.streams = rest / 2;
        } else {
            return Err(Error::Syntax);
        }
        Ok(at + 2)
    }

    /// Returns the argument indexes of each key and its id.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (first, streams) = (self.first, self.streams);
        (first..first + streams).map(move |at| (at, at + streams))
    }
}

const NOACK_ALONE: &str =
    "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.";
const GROUP_ALONE: &str =
    "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.";
const UNBALANCED: &str = "ERR Unbalanced 'xread' list of streams: for each stream key an ID or \
    '$' must be specified.";
const UNBALANCED_IN_GROUP: &str = "ERR Unbalanced 'xreadgroup' list of streams: for each stream \
    key an ID or '>' must be specified.";

/// Parses the timeout of BLOCK. Returns the deadline in Unix milliseconds; 0 means no timeout.
fn deadline_ms(arg: &[u8], now_ms: u64) -> Result<u64, Error> {
    let timeout_ms =
        parse_i64(arg).ok_or(Error::other("ERR timeout is not an integer or out of range"))?;
    let timeout_ms =
        u64::try_from(timeout_ms).map_err(|_| Error::other("ERR timeout is negative"))?;
    if timeout_ms > i64::MAX as u64 - now_ms {
        return Err(Error::other("ERR timeout is out of range"));
    }
    Ok(if timeout_ms == 0 { 0 } else { now_ms + timeout_ms })
}

/// Writer of a reply with streams: the name of each stream and an array of its entries.
struct Answer<'a, 'r> {
    reply: &'a mut Reply<'r>,
    start: crate::resp::Mark,
    streams: usize,
}

impl<'a, 'r> Answer<'a, 'r> {
    fn new(reply: &'a mut Reply<'r>) -> Answer<'a, 'r> {
        let start = reply.mark();
        Answer { reply, start, streams: 0 }
    }

    /// Writes the name of the next stream. The caller writes its entries afterwards.
    fn stream(&mut self, key: &[u8]) {
        if self.reply.protocol() == Protocol::Two {
            self.reply.array(2);
        }
        self.reply.bulk(key);
        self.streams += 1;
    }

    /// Completes the reply. Returns false, with nothing written, if there was no stream.
    fn end(self) -> bool {
        match (self.streams, self.reply.protocol()) {
            (0, _) => return false,
            (streams, Protocol::Two) => self.reply.array_since(self.start, streams),
            (streams, Protocol::Three) => self.reply.map_since(self.start, streams),
        }
        true
    }
}

fn xread(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let args = &*args;
    let options = Options::of(args, false, cx.now_ms)?;
    let is_seen = |pair: &(usize, usize)| cx.looks_at(&args[pair.0]);
    let candidates: Vec<_> = options.pairs().filter(is_seen).collect();
    // The last id that the reader has seen of each stream.
    let mut seen = Vec::new();
    for (key_at, id_at) in &candidates {
        let key = cx.key(args, *key_at);
        let log = cx.slice.read::<Stream>(cx.db, &key)?.map(Stream::log);
        seen.push(seen_id(&args[*id_at], log)?);
    }
    let mut answer = Answer::new(&mut cx.reply);
    for ((key_at, _), seen) in candidates.iter().zip(&seen) {
        let key = cx.slice.key(&args[*key_at]);
        let Some(view) = cx.slice.peek(cx.db, &key) else { continue };
        let log = view.object::<Stream>().expect("the value was read above").log();
        if log.last_entry_id().is_some_and(|last| last > *seen) {
            answer.stream(&args[*key_at]);
            let start = seen.next().unwrap_or(Id::MIN);
            write_entries(answer.reply, log.range(start, Id::MAX), options.count);
        }
    }
    if !answer.end() {
        // `$` means the last id at the time of the call, so the retry uses that id.
        let resolved = candidates.iter().zip(&seen).filter(|((_, at), _)| &args[*at] == b"$");
        let resolved: Vec<_> = resolved.map(|((_, at), seen)| (*at, *seen)).collect();
        wait(cx, args, &options, &resolved);
    }
    Ok(())
}

/// Parses an id of XREAD: the last id that the reader has seen. `$` is the last id of the stream,
/// and `+` the id before it.
pub(super) fn seen_id(arg: &[u8], log: Option<&Log>) -> Result<Id, Error> {
    match arg {
        b"$" => Ok(log.map_or(Id::MIN, Log::last_id)),
        b"+" => match log.filter(|log| !log.is_empty()) {
            None => Ok(Id::MIN),
            Some(log) => {
                let previous = log.last_id().previous();
                previous.ok_or(Error::other("ERR the stream last element ID is 0-0"))
            }
        },
        b">" => Err(Error::other(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
             <consumer> option.",
        )),
        arg => parse_id(arg),
    }
}

/// Blocks if BLOCK was given; otherwise replies with a null array. `resolved` holds the argument
/// indexes of `$` and the ids that replace them in the next run.
fn wait(cx: &mut Context<'_>, args: &Args<'_>, options: &Options<'_>, resolved: &[(usize, Id)]) {
    let Some(deadline_ms) = options.deadline_ms else {
        return cx.reply.null_array();
    };
    let resolved_args = (!resolved.is_empty()).then(|| {
        let mut resolved_args: Vec<Box<[u8]>> = args.iter_from(0).map(Box::from).collect();
        for (at, id) in resolved {
            resolved_args[*at] = id.text().as_bytes().into();
        }
        resolved_args
    });
    cx.wait(Wait {
        deadline_ms: (deadline_ms > 0).then_some(deadline_ms),
        keys: options.pairs().map(|(key, _)| key).collect(),
        kind: Kind::Stream,
        wants_gone: options.group.is_some(),
        null: Null::Array,
        args: resolved_args,
    });
}

/// Entries that XREADGROUP reads from a stream.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    /// Entries that were never delivered to the group.
    New,
    /// Pending entries of the consumer after this id.
    Pending(Id),
}

pub(super) fn wanted(arg: &[u8]) -> Result<Wanted, Error> {
    let meaningless = |id: &str| {
        Error::other(format!(
            "ERR The {id} ID is meaningless in the context of XREADGROUP: you want to read the \
             history of this consumer by specifying a proper ID, or use the > ID to get new \
             messages. The {id} ID would just return an empty result set.",
        ))
    };
    match arg {
        b"$" => Err(meaningless("$")),
        b"+" => Err(meaningless("+")),
        b">" => Ok(Wanted::New),
        arg => parse_id(arg).map(|id| match id {
            // The largest id has the meaning of `>`.
            Id::MAX => Wanted::New,
            id => Wanted::Pending(id),
        }),
    }
}

fn xreadgroup(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let args = &*args;
    let options = Options::of(args, true, cx.now_ms)?;
    let (group, _) = options.group.expect("GROUP was parsed");
    let is_seen = |pair: &(usize, usize)| cx.looks_at(&args[pair.0]);
    let candidates: Vec<_> = options.pairs().filter(is_seen).collect();
    let mut wants = Vec::new();
    for (key_at, id_at) in &candidates {
        let key = cx.key(args, *key_at);
        let stream = cx.slice.read::<Stream>(cx.db, &key)?;
        if stream.and_then(|stream| stream.group(group)).is_none() {
            let no_key: [&[u8]; 3] =
                [b"NOGROUP No such key '", key.bytes, b"' or consumer group '"];
            let tail: [&[u8]; 2] = [group, b"' in XREADGROUP with GROUP option"];
            return Err(Error::quoting(&[&no_key[..], &tail].concat()));
        }
        wants.push(wanted(&args[*id_at])?);
    }
    let mut propagated = Vec::new();
    let start = cx.reply.mark();
    let mut streams = 0;
    for ((key_at, _), wanted) in candidates.iter().zip(&wants) {
        let mut of_key = Propagated::new(cx, &args[*key_at], group);
        streams += usize::from(read_stream(cx, args, *key_at, &options, *wanted, &mut of_key)?);
        propagated.push(of_key);
    }
    let answer = Answer { reply: &mut cx.reply, start, streams };
    let has_some = answer.end();
    cx.propagate_nothing();
    propagated.into_iter().for_each(|propagated| propagated.propagate(cx));
    if !has_some {
        wait(cx, args, &options, &[]);
    }
    Ok(())
}

/// Reads one stream for a group. Returns whether the reply has an item for the stream.
fn read_stream(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    key_at: usize,
    options: &Options<'_>,
    wanted: Wanted,
    propagated: &mut Propagated<'_>,
) -> Result<bool, Error> {
    let now_ms = cx.now_ms as i64;
    let (group, consumer) = options.group.expect("GROUP was parsed");
    let key = cx.key(args, key_at);
    let Some(mut stream) = cx.slice.edit::<Stream>(cx.db, &key)? else { return Ok(false) };
    let Some((log, group)) = stream.group_mut(group) else { return Ok(false) };
    let has_new = log.last_entry_id().is_some_and(|last| last > group.last_id);
    let (id, is_new) = seen_consumer(group, consumer, now_ms);
    if is_new && options.no_ack {
        propagated.create_consumer(consumer);
    }
    let has_some = has_new || matches!(wanted, Wanted::Pending(_));
    if has_some {
        let mut answer = Answer::new(&mut cx.reply);
        answer.stream(key.bytes);
        let reader = Reader { log, consumer: id, now_ms, options };
        match wanted {
            Wanted::New => reader.deliver_new(group, answer.reply, propagated),
            Wanted::Pending(last) => reader.deliver_pending(group, last, answer.reply),
        }
    }
    if is_new && propagated.is_empty() {
        propagated.create_consumer(consumer);
    }
    if is_new {
        stream.announce(Event::XGroupCreateConsumer, 1);
    }
    stream.count_changes(u64::from(has_some));
    Ok(has_some)
}

/// A consumer that reads a stream.
struct Reader<'a> {
    log: &'a Log,
    consumer: ConsumerId,
    now_ms: i64,
    options: &'a Options<'a>,
}

impl Reader<'_> {
    /// Delivers new entries of the group to the consumer.
    fn deliver_new(
        &self,
        group: &mut Group,
        reply: &mut Reply<'_>,
        propagated: &mut Propagated<'_>,
    ) {
        let start = reply.mark();
        let mut given = 0;
        let from = group.last_id.next().unwrap_or(Id::MIN);
        for entry in self.log.range(from, Id::MAX).take(limit(self.options.count)) {
            group.advance(self.log, entry.id);
            write_entry(reply, entry);
            given += 1;
            if !self.options.no_ack {
                let consumer = self.consumer;
                let pending = Pending { delivered_ms: self.now_ms, deliveries: 1, consumer };
                group.set_pending(entry.id, pending);
                group.consumer_mut(consumer).active_ms = self.now_ms;
                propagated.claim(group, entry.id.text().as_bytes(), &pending);
            }
        }
        if given > 0 {
            propagated.set_id(group);
        }
        reply.array_since(start, given);
    }

    /// Delivers the consumer's pending entries after `last` again.
    fn deliver_pending(&self, group: &mut Group, last: Id, reply: &mut Reply<'_>) {
        let start = reply.mark();
        let mut given = 0;
        let from = last.next().unwrap_or(Id::MIN);
        let ids = group.consumer(self.consumer).ids_from(from);
        let ids: Vec<Id> = ids.take(limit(self.options.count)).collect();
        for id in ids {
            match self.log.get(id) {
                None => {
                    reply.array(2);
                    write_id(reply, id);
                    reply.null_array();
                }
                Some(entry) => {
                    write_entry(reply, entry);
                    group.deliver_again(id, self.now_ms);
                }
            }
            given += 1;
        }
        reply.array_since(start, given);
    }
}
