//! Pushes to the ends of a list and pops from them.

use super::{end_at, limits, number_from, reply_and_remove, reply_item};
use crate::exec::{Command, Context, Weighing, count_at};
use crate::keyspace::Event;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::list::{End, List};

pub(super) static LPUSH: Command = Command::single(
    lpush,
    Card::new("lpush", Group::List, "1.0.0")
        .summary("Prepends one or more elements to a list. Creates the key if it doesn't exist.")
        .complexity(
            "O(1) for each element added, so O(N) to add N elements when the command is called \
             with multiple arguments.",
        )
        .steady()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::inserts()])
        .history(&[("2.4.0", "Accepts multiple `element` arguments.")])
        .args(&[Arg::key("key"), Arg::string("element").repeated()]),
);

fn lpush(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    push(cx, args, End::Left, false)
}

pub(super) static RPUSH: Command = Command::single(
    rpush,
    Card::new("rpush", Group::List, "1.0.0")
        .summary("Appends one or more elements to a list. Creates the key if it doesn't exist.")
        .complexity(
            "O(1) for each element added, so O(N) to add N elements when the command is called \
             with multiple arguments.",
        )
        .steady()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::inserts()])
        .history(&[("2.4.0", "Accepts multiple `element` arguments.")])
        .args(&[Arg::key("key"), Arg::string("element").repeated()]),
);

fn rpush(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    push(cx, args, End::Right, false)
}

pub(super) static LPUSHX: Command = Command::single(
    lpushx,
    Card::new("lpushx", Group::List, "2.2.0")
        .summary("Prepends one or more elements to a list only when the list exists.")
        .complexity(
            "O(1) for each element added, so O(N) to add N elements when the command is called \
             with multiple arguments.",
        )
        .steady()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::inserts()])
        .history(&[("4.0.0", "Accepts multiple `element` arguments.")])
        .args(&[Arg::key("key"), Arg::string("element").repeated()]),
);

fn lpushx(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    push(cx, args, End::Left, true)
}

pub(super) static RPUSHX: Command = Command::single(
    rpushx,
    Card::new("rpushx", Group::List, "2.2.0")
        .summary("Appends one or more elements to a list only when the list exists.")
        .complexity(
            "O(1) for each element added, so O(N) to add N elements when the command is called \
             with multiple arguments.",
        )
        .steady()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::inserts()])
        .history(&[("4.0.0", "Accepts multiple `element` arguments.")])
        .args(&[Arg::key("key"), Arg::string("element").repeated()]),
);

fn rpushx(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    push(cx, args, End::Right, true)
}

fn push(cx: &mut Context<'_>, args: &Args<'_>, end: End, only_existing: bool) -> Result<(), Error> {
    let (key, limits) = (cx.key(args, 1), limits(cx.config));
    let list = match only_existing {
        true => cx.slice.edit::<List>(cx.db, &key)?,
        false => Some(cx.slice.edit_or_new::<List>(cx.db, &key)?),
    };
    let Some(mut list) = list else {
        cx.reply.integer(0);
        return Ok(());
    };
    let items = args.len() - 2;
    list.expect(items, args.iter_from(2).map(<[u8]>::len).sum(), &limits);
    args.iter_from(2).for_each(|text| list.add(end, text));
    list.raise(pushed(end), items as u64);
    cx.reply.integer(list.len() as i64);
    Ok(())
}

pub(super) static LPOP: Command = Command::single(
    lpop,
    Card::new("lpop", Group::List, "1.0.0")
        .summary(
            "Returns and removes one or more elements from the beginning of a list. Deletes the \
             list if the last element was popped.",
        )
        .complexity("O(N) where N is the number of elements returned")
        .steady()
        .arity(-2)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::deletes().using_data()])
        .history(&[("6.2.0", "Added the `count` argument.")])
        .args(&[Arg::key("key"), Arg::integer("count").since("6.2.0").optional()]),
)
.offload_by(weigh_pop);

fn weigh_pop(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    count_at(args, 2).map_or(0, |count| weighing.part(args, 1, count))
}

fn lpop(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    pop(cx, args, End::Left)
}

pub(super) static RPOP: Command = Command::single(
    rpop,
    Card::new("rpop", Group::List, "1.0.0")
        .summary(
            "Returns and removes one or more elements from the end of a list. Deletes the list if \
             the last element was popped.",
        )
        .complexity("O(N) where N is the number of elements returned")
        .steady()
        .arity(-2)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::deletes().using_data()])
        .history(&[("6.2.0", "Added the `count` argument.")])
        .args(&[Arg::key("key"), Arg::integer("count").since("6.2.0").optional()]),
)
.offload_by(weigh_pop);

fn rpop(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    pop(cx, args, End::Right)
}

fn pop(cx: &mut Context<'_>, args: &Args<'_>, end: End) -> Result<(), Error> {
    let count = match args.len() {
        2 => None,
        3 => Some(number_from(0, &args[2], "ERR value is out of range, must be positive")?),
        _ => {
            let name = if end == End::Left { "lpop" } else { "rpop" };
            return Err(Error::wrong_arity(name));
        }
    };
    let (key, limits) = (cx.key(args, 1), limits(cx.config));
    let Some(mut list) = cx.slice.edit::<List>(cx.db, &key)? else {
        match count {
            None => cx.reply.null(),
            Some(_) => cx.reply.null_array(),
        }
        return Ok(());
    };
    let taken = match count {
        None => {
            list.pop(end, |item| reply_item(&mut cx.reply, item));
            list.settle(&limits);
            1
        }
        Some(0) => {
            cx.reply.array(0);
            return Ok(());
        }
        Some(count) => {
            let count = list.len().min(count as usize);
            reply_and_remove(&mut cx.reply, &mut list, end, count, &limits);
            count
        }
    };
    list.raise(popped(end), taken as u64);
    Ok(())
}

pub(super) static LMPOP: Command = Command::gather(
    lmpop,
    Card::new("lmpop", Group::List, "7.0.0")
        .summary(
            "Returns multiple elements from a list after removing them. Deletes the list if the \
             last element was popped.",
        )
        .complexity(
            "O(N+M) where N is the number of provided keys and M is the number of elements \
             returned.",
        )
        .arity(-4)
        .flags(Flag::WRITE.and(Flag::MOVABLEKEYS))
        .keys(&[KeySpec::deletes().using_data().counted(1)])
        .args(&[
            Arg::integer("numkeys"),
            Arg::key("key").repeated(),
            Arg::choice("where", &["LEFT", "RIGHT"]),
            Arg::integer("count").after("COUNT").optional(),
        ]),
)
.offload_by(weigh_many);

fn weigh_many(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let Ok(many) = ManyPop::parse(args, 1) else { return 0 };
    let keys = many.first..many.first + many.keys;
    keys.map(|at| weighing.part(args, at, many.count)).max().unwrap_or(0)
}

fn lmpop(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let many = ManyPop::parse(args, 1)?;
    if !many.run(cx, args)? {
        cx.reply.null_array();
    }
    Ok(())
}

/// Arguments of LMPOP and BLMPOP: `numkeys key [key ...] LEFT | RIGHT [COUNT count]`.
pub(super) struct ManyPop {
    /// Argument index of the first key.
    pub first: usize,
    /// Number of keys.
    pub keys: usize,
    end: End,
    count: usize,
}

impl ManyPop {
    /// Parses the arguments from index `at` on.
    pub fn parse(args: &Args<'_>, at: usize) -> Result<ManyPop, Error> {
        let text = "ERR numkeys should be greater than 0";
        let keys = number_from(1, &args[at], text)? as usize;
        let first = at + 1;
        let end_index = first.saturating_add(keys);
        let end = end_at(args.get(end_index).ok_or(Error::Syntax)?)?;
        let count = match args.len() - end_index - 1 {
            0 => 1,
            given => {
                let option = &args[end_index + 1];
                if given == 1 || !option.eq_ignore_ascii_case(b"COUNT") {
                    return Err(Error::Syntax);
                }
                let text = "ERR count should be greater than 0";
                let count = number_from(1, &args[end_index + 2], text)? as usize;
                if given > 2 {
                    return Err(Error::Syntax);
                }
                count
            }
        };
        Ok(ManyPop { first, keys, end, count })
    }

    /// Pops from the first key that holds a list and replies. Returns false, without a reply, if
    /// no key does.
    pub fn run(&self, cx: &mut Context<'_>, args: &Args<'_>) -> Result<bool, Error> {
        let limits = limits(cx.config);
        for at in self.first..self.first + self.keys {
            if !cx.looks_at(&args[at]) {
                continue;
            }
            let key = cx.key(args, at);
            let Some(mut list) = cx.slice.edit::<List>(cx.db, &key)? else { continue };
            let count = list.len().min(self.count);
            cx.reply.array(2);
            cx.reply.bulk(key.bytes);
            reply_and_remove(&mut cx.reply, &mut list, self.end, count, &limits);
            list.raise(popped(self.end), count as u64);
            drop(list);
            cx.propagate(&[pop_command(self.end), key.bytes, count.to_string().as_bytes()]);
            return Ok(true);
        }
        Ok(false)
    }
}

/// Returns the event of a push to an end.
pub(super) fn pushed(end: End) -> Event {
    if end == End::Left { Event::LPush } else { Event::RPush }
}

/// Returns the event of a pop from an end.
pub(super) fn popped(end: End) -> Event {
    if end == End::Left { Event::LPop } else { Event::RPop }
}

/// Returns the command that pops from an end.
pub(super) fn pop_command(end: End) -> &'static [u8] {
    match end {
        End::Left => b"LPOP",
        End::Right => b"RPOP",
    }
}
