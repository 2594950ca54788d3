//! The commands that are compared, as data: one file per family.
//!
//! Must not know how words are made of it, nor what is done with the replies.

mod bitmap;
mod connection;
mod expire;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod list;
mod set;
mod sorted_set;
mod sorted_set_algebra;
mod stream;
mod string;
mod transactions;

use super::compare::Check;

/// One command and the forms that it has.
pub struct Command {
    /// Its words, upper case: one, or a container's and a subcommand's.
    pub name: &'static str,
    /// How often it is drawn, against the others.
    pub weight: u32,
    pub parts: &'static [Part],
    pub check: Check,
}

/// A part of a command's words.
pub enum Part {
    /// A word of the grammar. Those of each command are counted.
    Word(&'static str),
    /// All of these or nothing.
    Maybe(&'static [Part]),
    /// One of these.
    Either(&'static [&'static [Part]]),
    /// Some of these, each at most once, in any order.
    Some(&'static [&'static [Part]]),
    /// All of these again and again, so many times.
    Repeat(u64, u64, &'static [Part]),
    /// The same, preceded by the number of times.
    Counted(u64, u64, &'static [Part]),
    /// A key, one of a few.
    Key,
    /// Any text, often a number.
    Value,
    /// An integer, also at the bounds of 64 bits.
    Integer,
    /// A member of a set, one of few: much of what is in one is in others.
    Member,
    /// A place in a string, from either end.
    Index,
    /// A floating-point number.
    Float,
    /// Degrees to the east.
    Longitude,
    /// Degrees to the north.
    Latitude,
    /// How far a search goes.
    Length,
    /// 0, 1, or something else.
    Bit,
    /// A bit's place.
    BitOffset,
    /// A byte's place.
    ByteOffset,
    /// An integer's type in `BITFIELD`.
    Encoding,
    /// A bit's place, or an integer's, in `BITFIELD`.
    FieldOffset,
    /// Seconds from now: many, or none, or less.
    Seconds,
    /// The same in milliseconds.
    Milliseconds,
    /// Seconds since 1970: far from now.
    UnixSeconds,
    /// The same in milliseconds.
    UnixMilliseconds,
    /// A database's number.
    Database,
    /// What `KEYS` and `SCAN` match with.
    Pattern,
    /// The place of a walk: only its start, the others are each server's own.
    Cursor,
    /// A count, mostly a small one.
    Count,
    /// The name of a type.
    TypeName,
    /// The id of an entry that is to come to a stream's end.
    NewId,
    /// The id of an entry of a stream, mostly.
    Id,
    /// The same as the bound of a range.
    IdBound,
    /// The name of a group or of a consumer, one of few.
    Name,
    /// Milliseconds that are over at once, or never.
    MinIdle,
    /// What `DUMP` has given.
    Payload,
    /// The protocol's version that the connection has.
    Protocol,
}

/// A command whose replies are compared byte for byte.
const fn exact(name: &'static str, parts: &'static [Part]) -> Command {
    Command { name, weight: 10, parts, check: Check::Exact }
}

impl Command {
    const fn weighs(self, weight: u32) -> Command {
        Command { weight, ..self }
    }

    const fn compared(self, check: Check) -> Command {
        Command { check, ..self }
    }

    /// The words of its grammar, each once.
    pub fn options(&self) -> Vec<&'static str> {
        let mut words = Vec::new();
        collect(self.parts, &mut words);
        words
    }
}

fn collect(parts: &'static [Part], words: &mut Vec<&'static str>) {
    for part in parts {
        match part {
            Part::Word(word) if !words.contains(word) => words.push(word),
            Part::Maybe(inner) | Part::Repeat(.., inner) | Part::Counted(.., inner) => {
                collect(inner, words);
            }
            Part::Either(all) | Part::Some(all) => {
                all.iter().for_each(|inner| collect(inner, words));
            }
            _ => {}
        }
    }
}

/// All families.
pub fn all() -> impl Iterator<Item = &'static Command> {
    const FAMILIES: &[&[Command]] = &[
        string::FAMILY,
        bitmap::FAMILY,
        list::FAMILY,
        hash::FAMILY,
        set::FAMILY,
        hyperloglog::FAMILY,
        geo::FAMILY,
        sorted_set_algebra::FAMILY,
        sorted_set::FAMILY,
        stream::FAMILY,
        generic::FAMILY,
        expire::FAMILY,
        transactions::FAMILY,
        connection::FAMILY,
    ];
    FAMILIES.iter().copied().flatten()
}
