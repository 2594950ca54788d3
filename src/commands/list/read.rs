//! Commands that read a list: LLEN, LINDEX, LRANGE, LPOS.

use super::{integer_at, number_from, range_of, reply_item, signed_at};
use crate::exec::{Command, Context, Weighing};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::Item;
use crate::value::list::List;

pub(super) static LLEN: Command = Command::single(
    llen,
    Card::new("llen", Group::List, "1.0.0")
        .summary("Returns the length of a list.")
        .constant_time()
        .arity(2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::inspects()])
        .args(&[Arg::key("key")]),
);

fn llen(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let len = cx.slice.read::<List>(cx.db, &key)?.map_or(0, List::len);
    cx.reply.integer(len as i64);
    Ok(())
}

pub(super) static LINDEX: Command = Command::single(
    lindex,
    Card::new("lindex", Group::List, "1.0.0")
        .summary("Returns an element from a list by its index.")
        .complexity(
            "O(N) where N is the number of elements to traverse to get to the element at index. \
             This makes asking for the first or the last element of the list O(1).",
        )
        .arity(3)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::integer("index")]),
);

fn lindex(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let Some(list) = cx.slice.read::<List>(cx.db, &key)? else {
        cx.reply.null();
        return Ok(());
    };
    let index = integer_at(&args[2])?;
    match range_of_one(index, list.len()).and_then(|index| list.get(index)) {
        Some(item) => reply_item(&mut cx.reply, item),
        None => cx.reply.null(),
    }
    Ok(())
}

/// Returns the index of an item; a negative number counts from the right. Returns `None` if it lies
/// outside of the `len` items.
pub(super) fn range_of_one(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { len as i64 + index } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

pub(super) static LRANGE: Command = Command::single(
    lrange,
    Card::new("lrange", Group::List, "1.0.0")
        .summary("Returns a range of elements from a list.")
        .complexity(
            "O(S+N) where S is the distance of start offset from HEAD for small lists, from \
             nearest end (HEAD or TAIL) for large lists; and N is the number of elements in the \
             specified range.",
        )
        .arity(4)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::integer("start"), Arg::integer("stop")]),
)
.offload_by(weigh_range);

fn weigh_range(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let (Ok(start), Ok(last)) = (integer_at(&args[2]), integer_at(&args[3])) else { return 0 };
    let Some(view) = weighing.value(args, 1) else { return 0 };
    weighing.part_of(&view, range_of(start, last, view.elements()).len())
}

fn lrange(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let (start, last) = (integer_at(&args[2])?, integer_at(&args[3])?);
    let key = cx.key(args, 1);
    let Some(list) = cx.slice.read::<List>(cx.db, &key)? else {
        cx.reply.array(0);
        return Ok(());
    };
    let range = range_of(start, last, list.len());
    cx.reply.array(range.len());
    for item in list.iter_from(range.start).take(range.len()) {
        reply_item(&mut cx.reply, item);
    }
    Ok(())
}

pub(super) static LPOS: Command = Command::gather(
    lpos,
    Card::new("lpos", Group::List, "6.0.6")
        .summary("Returns the index of matching elements in a list.")
        .complexity(
            "O(N) where N is the number of elements in the list, for the average case. When \
             searching for elements near the head or the tail of the list, or when the MAXLEN \
             option is provided, the command may run in constant time.",
        )
        .arity(-3)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .args(&[
            Arg::key("key"),
            Arg::string("element"),
            Arg::integer("rank").after("RANK").optional(),
            Arg::integer("num-matches").after("COUNT").optional(),
            Arg::integer("len").after("MAXLEN").optional(),
        ]),
)
.offload();

/// Options of LPOS.
struct Search {
    /// Number of the first match to return, from 1 on. If negative, the search runs from the right.
    rank: i64,
    /// Maximum number of matches; 0 means all. None: one match, not replied as an array.
    count: Option<i64>,
    /// Maximum number of items to compare; 0 means all.
    len_max: i64,
}

impl Search {
    fn parse(args: &Args<'_>) -> Result<Search, Error> {
        let mut search = Search { rank: 1, count: None, len_max: 0 };
        for at in (3..args.len()).step_by(2) {
            let Some(value) = args.get(at + 1) else { return Err(Error::Syntax) };
            let option = &args[at];
            if option.eq_ignore_ascii_case(b"RANK") {
                search.rank = signed_at(value)?;
                if search.rank == 0 {
                    return Err(Error::other(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                         second ... or use negative to start from the end of the list",
                    ));
                }
            } else if option.eq_ignore_ascii_case(b"COUNT") {
                search.count = Some(number_from(0, value, "ERR COUNT can't be negative")?);
            } else if option.eq_ignore_ascii_case(b"MAXLEN") {
                search.len_max = number_from(0, value, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(search)
    }

    /// Returns the indexes of the matches.
    fn run(&self, list: &List, text: &[u8]) -> Vec<usize> {
        let (wanted, len) = (Item::of(text), list.len());
        let depth = if self.len_max == 0 { len } else { len.min(self.len_max as usize) };
        let skipped = self.rank.unsigned_abs() as usize - 1;
        let matches = match self.count {
            None => 1,
            Some(0) => usize::MAX,
            Some(count) => count as usize,
        };
        let matching = |(at, item): (usize, Item<'_>)| (item == wanted).then_some(at);
        if self.rank > 0 {
            let found = list.iter_from(0).take(depth).enumerate().filter_map(matching);
            return found.skip(skipped).take(matches).collect();
        }
        let found = list.iter_back_from(len - 1).take(depth).enumerate().filter_map(matching);
        found.skip(skipped).take(matches).map(|at| len - 1 - at).collect()
    }
}

fn lpos(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let search = Search::parse(args)?;
    let key = cx.key(args, 1);
    let list = cx.slice.read::<List>(cx.db, &key)?;
    let found = list.map_or(Vec::new(), |list| search.run(list, &args[2]));
    if search.count.is_some() {
        cx.reply.array(found.len());
        found.iter().for_each(|at| cx.reply.integer(*at as i64));
    } else if let Some(at) = found.first() {
        cx.reply.integer(*at as i64);
    } else {
        cx.reply.null();
    }
    Ok(())
}
