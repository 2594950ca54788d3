//! XCLAIM and XAUTOCLAIM: move pending entries from one consumer to another.

use super::ids::{parse_id, parse_start};
use super::no_group;
use super::reply::{write_entry, write_id};
use super::weigh;
use crate::base::number::parse_i64;
use crate::exec::{Command, Context};
use crate::keyspace::{Edit, Event};
use crate::resp::{Args, Error, Reply};
use crate::spec::{Arg, Card, Flag, Group as CardGroup, KeySpec};
use crate::value::stream::{ConsumerId, Group, Id, Log, Pending, Stream};

/// Collects the commands that propagate changes of a consumer group.
pub(super) struct Propagated<'a> {
    key: &'a [u8],
    group: &'a [u8],
    /// `None` if the feed has no readers.
    commands: Option<Vec<Vec<Vec<u8>>>>,
}

impl<'a> Propagated<'a> {
    pub(super) fn new(cx: &Context<'_>, key: &'a [u8], group: &'a [u8]) -> Propagated<'a> {
        Propagated { key, group, commands: cx.is_recorded().then(Vec::new) }
    }

    fn push(&mut self, command: &[&[u8]]) {
        if let Some(commands) = &mut self.commands {
            commands.push(command.iter().map(|arg| arg.to_vec()).collect());
        }
    }

    /// Adds the XCLAIM for an entry that is pending now.
    pub(super) fn claim(&mut self, group: &Group, id: &[u8], pending: &Pending) {
        if self.commands.is_none() {
            return;
        }
        let consumer = &group.consumer(pending.consumer).name;
        let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (time, count) = (time.format(pending.delivered_ms), count.format(pending.deliveries));
        let last_id = group.last_id.text();
        let head: [&[u8]; 6] = [b"XCLAIM", self.key, self.group, consumer, b"0", id];
        let times: [&[u8]; 4] = [b"TIME", time.as_bytes(), b"RETRYCOUNT", count.as_bytes()];
        let tail: [&[u8]; 4] = [b"FORCE", b"JUSTID", b"LASTID", last_id.as_bytes()];
        self.push(&[&head[..], &times, &tail].concat());
    }

    /// Adds the XGROUP SETID for a changed last id of the group.
    pub(super) fn set_id(&mut self, group: &Group) {
        let mut read = itoa::Buffer::new();
        let read = read.format(group.entries_read.unwrap_or(-1)).as_bytes();
        let id = group.last_id.text();
        let (key, name) = (self.key, self.group);
        self.push(&[b"XGROUP", b"SETID", key, name, id.as_bytes(), b"ENTRIESREAD", read]);
    }

    /// Returns whether no command was added.
    pub(super) fn is_empty(&self) -> bool {
        self.commands.as_ref().is_none_or(Vec::is_empty)
    }

    /// Adds the XGROUP CREATECONSUMER for a new consumer without any propagated claim, which would
    /// create the consumer elsewhere too.
    pub(super) fn create_consumer(&mut self, consumer: &[u8]) {
        self.push(&[b"XGROUP", b"CREATECONSUMER", self.key, self.group, consumer]);
    }

    /// Propagates the collected commands instead of the client's command.
    pub(super) fn propagate(self, cx: &mut Context<'_>) {
        cx.propagate_nothing();
        for command in self.commands.unwrap_or_default() {
            let command: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            cx.propagate(&command);
        }
    }
}

/// Finds or creates the consumer `name` and sets its seen time to now. Returns it and whether it is
/// new.
pub(super) fn seen_consumer(group: &mut Group, name: &[u8], now_ms: i64) -> (ConsumerId, bool) {
    let found = group.find_consumer(name);
    let is_new = found.is_none();
    let new = || group.add_consumer(name, now_ms, -1).expect("the consumer does not exist yet");
    let consumer = found.unwrap_or_else(new);
    group.consumer_mut(consumer).seen_ms = now_ms;
    (consumer, is_new)
}

/// Parses an integer. Anything else is an error with `text`.
fn integer_or(arg: &[u8], text: &'static str) -> Result<i64, Error> {
    parse_i64(arg).ok_or(Error::other(text))
}

/// State of a running XCLAIM or XAUTOCLAIM.
struct Claiming<'a> {
    log: &'a Log,
    group: &'a mut Group,
    consumer: ConsumerId,
    now_ms: i64,
    just_id: bool,
    min_idle_ms: i64,
    /// Dirty count, as the reference server counts it.
    changes: u64,
    claimed: usize,
}

impl Claiming<'_> {
    /// Returns whether the entry was delivered at least the minimum idle time ago.
    fn is_idle(&self, pending: &Pending) -> bool {
        let idle_ms = self.now_ms.wrapping_sub(pending.delivered_ms);
        self.min_idle_ms == 0 || idle_ms >= self.min_idle_ms
    }

    /// Removes a deleted entry from the pending entries, if it is pending.
    fn drop_gone(&mut self, id: Id, id_text: &[u8], propagated: &mut Propagated<'_>) {
        if let Some(pending) = self.group.pending(id).copied() {
            propagated.claim(self.group, id_text, &pending);
            self.group.acknowledge(id);
            self.changes += 1;
        }
    }

    /// Assigns an entry to the consumer and replies with the entry or its id.
    fn claim(
        &mut self,
        id: Id,
        id_text: &[u8],
        pending: Pending,
        propagated: &mut Propagated<'_>,
        reply: &mut Reply<'_>,
    ) {
        self.group.set_pending(id, pending);
        if self.just_id {
            write_id(reply, id);
        } else {
            write_entry(reply, self.log.get(id).expect("the caller has found the entry"));
        }
        self.group.consumer_mut(self.consumer).active_ms = self.now_ms;
        propagated.claim(self.group, id_text, &pending);
        self.changes += 1;
        self.claimed += 1;
    }
}

/// Reports what claims have changed in a stream: the new consumer, and `changes` changes that have
/// no event.
fn claimed_from(stream: &mut Option<Edit<'_, Stream>>, is_new: bool, changes: u64) {
    let stream = stream.as_mut().expect("its group was found");
    if is_new {
        stream.announce(Event::XGroupCreateConsumer, 1);
    }
    stream.count_changes(changes);
}

pub(super) static XCLAIM: Command = Command::single(
    xclaim,
    Card::new("xclaim", CardGroup::Stream, "5.0.0")
        .summary(
            "Changes, or acquires, ownership of a message in a consumer group, as if the message \
             was delivered to a consumer group member.",
        )
        .complexity(
            "O(log N) with N being the number of messages in the PEL of the consumer group.",
        )
        .steady()
        .arity(-6)
        .flags(Flag::WRITE.and(Flag::FAST))
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::updates()])
        .args(&[
            Arg::key("key"),
            Arg::string("group"),
            Arg::string("consumer"),
            Arg::string("min-idle-time"),
            Arg::string("id").repeated(),
            Arg::integer("ms").after("IDLE").optional(),
            Arg::unix_time("unix-time-milliseconds").after("TIME").optional(),
            Arg::integer("count").after("RETRYCOUNT").optional(),
            Arg::keyword("FORCE").optional(),
            Arg::keyword("JUSTID").optional(),
            Arg::string("lastid").after("LASTID").optional(),
        ]),
);

/// Parsed arguments of XCLAIM.
struct Claim {
    min_idle_ms: i64,
    ids: Vec<Id>,
    force: bool,
    just_id: bool,
    delivered_ms: Option<i64>,
    deliveries: Option<u64>,
    last_id: Id,
}

impl Claim {
    fn of(args: &Args<'_>, now_ms: i64) -> Result<Claim, Error> {
        let idle = "ERR Invalid min-idle-time argument for XCLAIM";
        let ids: Vec<Id> = args.iter_from(5).map_while(|arg| parse_id(arg).ok()).collect();
        let mut at = 5 + ids.len();
        let mut claim = Claim {
            min_idle_ms: integer_or(&args[4], idle)?.max(0),
            ids,
            force: false,
            just_id: false,
            delivered_ms: None,
            deliveries: None,
            last_id: Id::MIN,
        };
        while at < args.len() {
            at = claim.read(args, at, now_ms)?;
        }
        Ok(claim)
    }

    /// Parses the option at argument `at`. Returns the index after the option.
    fn read(&mut self, args: &Args<'_>, at: usize, now_ms: i64) -> Result<usize, Error> {
        let arg = &args[at];
        let is = |name: &str| arg.eq_ignore_ascii_case(name.as_bytes());
        if is("FORCE") || is("JUSTID") {
            self.force |= is("FORCE");
            self.just_id |= is("JUSTID");
            return Ok(at + 1);
        }
        let unknown = || Error::quoting(&[b"ERR Unrecognized XCLAIM option '", arg, b"'"]);
        let value = args.get(at + 1).ok_or_else(unknown)?;
        if is("IDLE") {
            let idle_ms = integer_or(value, "ERR Invalid IDLE option argument for XCLAIM")?;
            self.delivered_ms = Some(now_ms.wrapping_sub(idle_ms));
        } else if is("TIME") {
            let time_ms = integer_or(value, "ERR Invalid TIME option argument for XCLAIM")?;
            self.delivered_ms = Some(time_ms);
        } else if is("RETRYCOUNT") {
            let text = "ERR Invalid RETRYCOUNT option argument for XCLAIM";
            self.deliveries = u64::try_from(integer_or(value, text)?).ok();
        } else if is("LASTID") {
            self.last_id = parse_id(value)?;
        } else {
            return Err(unknown());
        }
        Ok(at + 2)
    }
}

fn xclaim(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let now_ms = cx.now_ms as i64;
    let mut propagated = Propagated::new(cx, &args[1], &args[2]);
    let key = cx.key(args, 1);
    cx.slice.read::<Stream>(cx.db, &key)?;
    let mut stream = cx.slice.edit::<Stream>(cx.db, &key)?;
    let found = stream.as_mut().and_then(|stream| stream.group_mut(&args[2]));
    let (log, group) = found.ok_or_else(|| no_group(&args[1], &args[2]))?;
    let claim = Claim::of(args, now_ms)?;
    let mut sets_last_id = claim.last_id > group.last_id;
    group.last_id = group.last_id.max(claim.last_id);
    let in_past = |time_ms: &i64| (0..=now_ms).contains(time_ms);
    let delivered_ms = claim.delivered_ms.filter(in_past).unwrap_or(now_ms);
    let (consumer, is_new) = seen_consumer(group, &args[3], now_ms);
    let (just_id, min_idle_ms) = (claim.just_id, claim.min_idle_ms);
    let (changes, claimed) = (0, 0);
    let mut claiming =
        Claiming { log, group, consumer, now_ms, just_id, min_idle_ms, changes, claimed };
    let start = cx.reply.mark();
    for (id, id_text) in claim.ids.iter().zip(args.iter_from(5)) {
        let before = claiming.changes;
        if log.get(*id).is_none() {
            claiming.drop_gone(*id, id_text, &mut propagated);
        } else {
            let old = claiming.group.pending(*id).copied();
            if old.is_some_and(|old| !claiming.is_idle(&old)) || (old.is_none() && !claim.force) {
                continue;
            }
            let counted = old.map_or(1, |old| old.deliveries);
            let again = if just_id { counted } else { counted.wrapping_add(1) };
            let deliveries = claim.deliveries.unwrap_or(again);
            let pending = Pending { delivered_ms, deliveries, consumer };
            claiming.claim(*id, id_text, pending, &mut propagated, &mut cx.reply);
        }
        // The XCLAIM propagated for an entry sets the group's last id too.
        sets_last_id &= claiming.changes == before;
    }
    if sets_last_id {
        propagated.set_id(claiming.group);
        claiming.changes += 1;
    }
    let (changes, claimed) = (claiming.changes, claiming.claimed);
    if is_new && claimed == 0 {
        propagated.create_consumer(&args[3]);
    }
    claimed_from(&mut stream, is_new, changes);
    drop(stream);
    cx.reply.array_since(start, claimed);
    propagated.propagate(cx);
    Ok(())
}

pub(super) static XAUTOCLAIM: Command = Command::single(
    xautoclaim,
    Card::new("xautoclaim", CardGroup::Stream, "6.2.0")
        .summary(
            "Changes, or acquires, ownership of messages in a consumer group, as if the messages \
             were delivered to a consumer group member.",
        )
        .complexity("O(1) if COUNT is small.")
        .steady()
        .arity(-6)
        .flags(Flag::WRITE.and(Flag::FAST))
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::deletes()])
        .history(&[(
            "7.0.0",
            "Added an element to the reply array, containing deleted entries the command cleared \
             from the PEL",
        )])
        .args(&[
            Arg::key("key"),
            Arg::string("group"),
            Arg::string("consumer"),
            Arg::string("min-idle-time"),
            Arg::string("start"),
            Arg::integer("count").after("COUNT").optional(),
            Arg::keyword("JUSTID").optional(),
        ]),
)
.offload_by(weigh::auto_claim);

/// Number of pending entries to examine per entry of COUNT.
const LOOKS_PER_CLAIM: i64 = 10;

/// Largest COUNT. The reference server allocates a list of COUNT ids and fails for a longer one.
const COUNT_MAX: i64 = 1 << 43;

/// Parsed arguments of XAUTOCLAIM.
pub(super) struct AutoClaim {
    min_idle_ms: i64,
    start: Id,
    count: i64,
    just_id: bool,
}

impl AutoClaim {
    pub(super) fn of(args: &Args<'_>) -> Result<AutoClaim, Error> {
        let idle = "ERR Invalid min-idle-time argument for XAUTOCLAIM";
        let mut claim = AutoClaim {
            min_idle_ms: integer_or(&args[4], idle)?.max(0),
            start: parse_start(&args[5])?,
            count: 100,
            just_id: false,
        };
        let mut at = 6;
        while at < args.len() {
            if args[at].eq_ignore_ascii_case(b"COUNT") && at + 1 < args.len() {
                let text = "ERR COUNT must be > 0";
                claim.count = integer_or(&args[at + 1], text)?;
                if !(1..=i64::MAX / 16).contains(&claim.count) {
                    return Err(Error::other(text));
                }
                at += 2;
            } else if args[at].eq_ignore_ascii_case(b"JUSTID") {
                claim.just_id = true;
                at += 1;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(claim)
    }

    /// Returns the number of pending entries to examine at most.
    pub(super) fn looks(&self) -> u64 {
        self.count.saturating_mul(LOOKS_PER_CLAIM) as u64
    }
}

fn xautoclaim(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let now_ms = cx.now_ms as i64;
    let claim = AutoClaim::of(args)?;
    let mut looks = claim.looks();
    let AutoClaim { min_idle_ms, start: from, count, just_id } = claim;
    let mut propagated = Propagated::new(cx, &args[1], &args[2]);
    let key = cx.key(args, 1);
    cx.slice.read::<Stream>(cx.db, &key)?;
    let mut stream = cx.slice.edit::<Stream>(cx.db, &key)?;
    let found = stream.as_mut().and_then(|stream| stream.group_mut(&args[2]));
    let (log, group) = found.ok_or_else(|| no_group(&args[1], &args[2]))?;
    if count > COUNT_MAX {
        return Err(Error::other(
            "ERR Insufficient memory, failed allocating transient memory, COUNT too high.",
        ));
    }
    let (consumer, is_new) = seen_consumer(group, &args[3], now_ms);
    let (changes, claimed) = (0, 0);
    let mut claiming =
        Claiming { log, group, consumer, now_ms, just_id, min_idle_ms, changes, claimed };
    let start = cx.reply.mark();
    let mut gone = Vec::new();
    let mut next = Some(from);
    let first_from =
        |group: &Group, id: Id| group.pending_from(id).next().map(|(id, old)| (*id, *old));
    while looks > 0 && ((gone.len() + claiming.claimed) as i64) < count {
        let Some((id, old)) = next.and_then(|next| first_from(claiming.group, next)) else {
            next = None;
            break;
        };
        looks -= 1;
        next = id.next();
        let id_text = id.text();
        if log.get(id).is_none() {
            claiming.drop_gone(id, id_text.as_bytes(), &mut propagated);
            gone.push(id);
        } else if claiming.is_idle(&old) {
            let deliveries = old.deliveries.wrapping_add(u64::from(!just_id));
            let pending = Pending { delivered_ms: now_ms, deliveries, consumer };
            claiming.claim(id, id_text.as_bytes(), pending, &mut propagated, &mut cx.reply);
        }
    }
    let next = next.and_then(|next| first_from(claiming.group, next)).map(|(id, _)| id);
    let (changes, claimed) = (claiming.changes, claiming.claimed);
    if is_new && claimed == 0 {
        propagated.create_consumer(&args[3]);
    }
    claimed_from(&mut stream, is_new, changes);
    drop(stream);
    let reply = &mut cx.reply;
    reply.array_since(start, claimed);
    reply.head_since(start, |reply| {
        reply.array(3);
        write_id(reply, next.unwrap_or(Id::MIN));
    });
    reply.array(gone.len());
    gone.into_iter().for_each(|id| write_id(reply, id));
    propagated.propagate(cx);
    Ok(())
}
