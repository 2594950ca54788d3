//! Commands on lists.

mod blocking;
mod change;
mod ends;
mod moves;
mod read;

use crate::base::number::parse_i64;
use crate::config::Config;
use crate::exec::Command;
use crate::resp::{Error, Reply};
use crate::value::Item;
use crate::value::list::{End, Limits, List};
use std::ops::Range;

/// The list commands.
pub static FAMILY: &[&Command] = &[
    &ends::LPUSH,
    &ends::RPUSH,
    &ends::LPUSHX,
    &ends::RPUSHX,
    &ends::LPOP,
    &ends::RPOP,
    &ends::LMPOP,
    &read::LLEN,
    &read::LINDEX,
    &read::LRANGE,
    &read::LPOS,
    &change::LSET,
    &change::LINSERT,
    &change::LREM,
    &change::LTRIM,
    &moves::LMOVE,
    &moves::RPOPLPUSH,
    &moves::BLMOVE,
    &moves::BRPOPLPUSH,
    &blocking::BLPOP,
    &blocking::BRPOP,
    &blocking::BLMPOP,
];

/// Returns the limits of a list node according to the settings.
pub(super) fn limits(config: &Config) -> Limits {
    Limits { node_size: config.list_max_listpack_size }
}

/// Parses an argument as an integer.
fn integer_at(arg: &[u8]) -> Result<i64, Error> {
    parse_i64(arg).ok_or(Error::NotInteger)
}

/// Parses an argument as an integer that can be negated: `i64::MIN` is an error.
fn signed_at(arg: &[u8]) -> Result<i64, Error> {
    match integer_at(arg)? {
        i64::MIN => Err(Error::not_between(-i64::MAX, i64::MAX)),
        number => Ok(number),
    }
}

/// Parses an argument as an integer of at least `min`. Anything else is an error with `text`.
fn number_from(min: i64, arg: &[u8], text: &'static str) -> Result<i64, Error> {
    parse_i64(arg).filter(|number| *number >= min).ok_or(Error::other(text))
}

/// Parses LEFT or RIGHT.
fn end_at(arg: &[u8]) -> Result<End, Error> {
    if arg.eq_ignore_ascii_case(b"LEFT") {
        Ok(End::Left)
    } else if arg.eq_ignore_ascii_case(b"RIGHT") {
        Ok(End::Right)
    } else {
        Err(Error::Syntax)
    }
}

/// Returns the indexes from `start` to `last`, both included, clamped to a list of `len` items.
/// Negative indexes count from the end.
fn range_of(start: i64, last: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let from_left = |number: i64| if number < 0 { len + number } else { number };
    let (start, last) = (from_left(start).max(0), from_left(last).min(len - 1));
    if start > last { 0..0 } else { start as usize..last as usize + 1 }
}

fn reply_item(reply: &mut Reply<'_>, item: Item<'_>) {
    match item {
        Item::Int(number) => reply.integer_bulk(number),
        Item::Bytes(text) => reply.bulk(text),
    }
}

/// Replies with an array of `count` items from one end, the outermost first, and removes them.
fn reply_and_remove(
    reply: &mut Reply<'_>,
    list: &mut List,
    end: End,
    count: usize,
    limits: &Limits,
) {
    let len = list.len();
    reply.array(count);
    let range = match end {
        End::Left => {
            list.iter_from(0).take(count).for_each(|item| reply_item(reply, item));
            0..count
        }
        End::Right => {
            list.iter_back_from(len - 1).take(count).for_each(|item| reply_item(reply, item));
            len - count..len
        }
    };
    list.remove_range(range, limits);
}

#[cfg(test)]
mod tests;
