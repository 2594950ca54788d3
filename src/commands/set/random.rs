//! Random members: SPOP and SRANDMEMBER.

use super::{limits, reply_item};
use crate::base::number::parse_i64;
use crate::commands::args::weigh_draw;
use crate::exec::{Command, Context, Weighing, count_at, removal_word};
use crate::keyspace::{Event, Key};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::set::Set;

/// Maximum number of members of one propagated SREM.
const FEED_MEMBERS_MAX: usize = 1024;

pub(super) static SPOP: Command = Command::single(
    spop,
    Card::new("spop", Group::Set, "1.0.0")
        .summary(
            "Returns one or more random members from a set after removing them. Deletes the set \
             if the last member was popped.",
        )
        .complexity(
            "Without the count argument O(1), otherwise O(N) where N is the value of the passed \
             count.",
        )
        .steady()
        .arity(-2)
        .flags(Flag::WRITE.and(Flag::FAST))
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::deletes().using_data()])
        .history(&[("3.2.0", "Added the `count` argument.")])
        .args(&[Arg::key("key"), Arg::integer("count").since("3.2.0").optional()]),
)
.offload_by(weigh_spop);

/// Elements in whose time SPOP draws and removes one member.
const POPPED_WEIGHT: usize = 8;

fn weigh_spop(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let Some(count) = count_at(args, 2) else { return 0 };
    weighing.part(args, 1, count.saturating_mul(POPPED_WEIGHT))
}

fn spop(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len() > 3 {
        return Err(Error::Syntax);
    }
    let key = cx.key(args, 1);
    if let Some(count) = args.get(2) {
        let count = parse_i64(count).and_then(|count| usize::try_from(count).ok());
        return pop_many(cx, &key, count.ok_or(Error::NotPositive)?);
    }
    let mut rng = cx.slice.draw_rng();
    let Some(mut set) = cx.slice.edit::<Set>(cx.db, &key)? else {
        cx.reply.null();
        return Ok(());
    };
    let member = set.pop_random(&mut rng).expect("no set is empty");
    set.raise(Event::SPop, 1);
    drop(set);
    cx.propagate(&[b"SREM", key.bytes, &member]);
    cx.reply.bulk(&member);
    Ok(())
}

fn pop_many(cx: &mut Context<'_>, key: &Key<'_>, count: usize) -> Result<(), Error> {
    let limits = limits(cx);
    let mut rng = cx.slice.draw_rng();
    let Some(mut set) = cx.slice.edit::<Set>(cx.db, key)? else {
        cx.reply.set(0);
        return Ok(());
    };
    if count >= set.len() {
        let len = set.len();
        cx.reply.set(len);
        set.iter().for_each(|member| reply_item(&mut cx.reply, &member));
        drop(set);
        cx.slice.remove(cx.db, key);
        cx.raise(key, Event::SPop, len as u64);
        cx.raise(key, Event::Del, 0);
        cx.propagate(&[removal_word(cx.config.lazyfree_lazy_server_del), key.bytes]);
        return Ok(());
    }
    if count == 0 {
        cx.reply.set(0);
        return Ok(());
    }
    let members = set.pop_many(count, &mut rng, &limits);
    set.raise(Event::SPop, count as u64);
    drop(set);
    cx.reply.set(count);
    members.iter().for_each(|member| cx.reply.bulk(member));
    if cx.is_recorded() {
        for some in members.chunks(FEED_MEMBERS_MAX) {
            let mut command: Vec<&[u8]> = vec![b"SREM", key.bytes];
            command.extend(some.iter().map(Vec::as_slice));
            cx.propagate(&command);
        }
    }
    Ok(())
}

pub(super) static SRANDMEMBER: Command = Command::single(
    srandmember,
    Card::new("srandmember", Group::Set, "1.0.0")
        .summary("Gets one or multiple random members from a set.")
        .complexity(
            "Without the count argument O(1), otherwise O(N) where N is the absolute value of the \
             passed count.",
        )
        .arity(-2)
        .flags(Flag::READONLY)
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::reads()])
        .history(&[("2.6.0", "Added the optional `count` argument.")])
        .args(&[Arg::key("key"), Arg::integer("count").since("2.6.0").optional()]),
)
.offload_by(weigh_draw);

fn srandmember(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len() > 3 {
        return Err(Error::Syntax);
    }
    let count = match args.get(2) {
        None => None,
        Some(arg) => match parse_i64(arg).ok_or(Error::NotInteger)? {
            i64::MIN => return Err(Error::not_between(-i64::MAX, i64::MAX)),
            count => Some(count),
        },
    };
    let key = cx.key(args, 1);
    let elements_max = cx.elements_max();
    let mut rng = cx.slice.draw_rng();
    let set = cx.slice.read::<Set>(cx.db, &key)?;
    match (set, count) {
        (None, None) => cx.reply.null(),
        (None, Some(_)) | (Some(_), Some(0)) => cx.reply.array(0),
        (Some(set), None) => {
            let member = set.random(&mut rng).expect("no set is empty");
            reply_item(&mut cx.reply, &member);
        }
        (Some(set), Some(count)) => {
            let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
            if count < 0 {
                let wanted = wanted.min(elements_max);
                cx.reply.array(wanted);
                for _ in 0..wanted {
                    let member = set.random(&mut rng).expect("no set is empty");
                    reply_item(&mut cx.reply, &member);
                }
            } else if wanted >= set.len() {
                cx.reply.array(set.len());
                set.iter().for_each(|member| reply_item(&mut cx.reply, &member));
            } else {
                cx.reply.array(wanted);
                set.sample(wanted, &mut rng, &mut |member| reply_item(&mut cx.reply, &member));
            }
        }
    }
    Ok(())
}
