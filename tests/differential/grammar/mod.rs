//! The compared commands, as data: one file per family.
//!
//! Must not know: how commands are generated from this, and how replies are compared.

mod bitmap;
mod connection;
mod expire;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod list;
mod pubsub;
mod set;
mod sorted_set;
mod sorted_set_algebra;
mod stream;
mod string;
mod tracking;
mod transactions;

use super::compare::Check;

/// One command and its forms.
pub struct Command {
    /// The name in upper case: a command, or a container with its subcommand.
    pub name: &'static str,
    /// The weight of the command in the random choice.
    pub weight: u32,
    pub parts: &'static [Part],
    pub check: Check,
}

/// A part of a command's arguments.
pub enum Part {
    /// A literal argument. The literals of each command are counted.
    Word(&'static str),
    /// All of these parts, or none.
    Maybe(&'static [Part]),
    /// One of these alternatives.
    Either(&'static [&'static [Part]]),
    /// Some of these, each at most once, in any order.
    Some(&'static [&'static [Part]]),
    /// These parts, repeated from the first to the second number of times.
    Repeat(u64, u64, &'static [Part]),
    /// These parts repeated, preceded by the number of repetitions.
    Counted(u64, u64, &'static [Part]),
    /// A key, one of a few.
    Key,
    /// Any text, often a number.
    Value,
    /// An integer, also at the bounds of 64 bits.
    Integer,
    /// A member of a set, one of a few, so that sets overlap.
    Member,
    /// An index in a string, from either end.
    Index,
    /// A floating-point number.
    Float,
    /// A longitude in degrees.
    Longitude,
    /// A latitude in degrees.
    Latitude,
    /// The distance of a search.
    Length,
    /// 0, 1, or something else.
    Bit,
    /// The offset of a bit.
    BitOffset,
    /// The offset of a byte.
    ByteOffset,
    /// The type of an integer in `BITFIELD`.
    Encoding,
    /// The offset of a bit or of an integer in `BITFIELD`.
    FieldOffset,
    /// Seconds from now: many, none, or negative.
    Seconds,
    /// Milliseconds from now: many, none, or negative.
    Milliseconds,
    /// Unix seconds, far from now.
    UnixSeconds,
    /// Unix milliseconds, far from now.
    UnixMilliseconds,
    /// A database's number.
    Database,
    /// A pattern of `KEYS` and `SCAN`.
    Pattern,
    /// A cursor: only 0, because the others are specific to each server.
    Cursor,
    /// A count, mostly a small one.
    Count,
    /// The name of a type.
    TypeName,
    /// The id of an entry to append to a stream.
    NewId,
    /// The id of an entry of a stream, in most cases.
    Id,
    /// The id of an entry as the bound of a range.
    IdBound,
    /// The name of a group or of a consumer, one of a few.
    Name,
    /// Milliseconds that have passed at once, or never do.
    MinIdle,
    /// A payload of `DUMP`.
    Payload,
    /// The protocol version of the connection.
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

    /// Returns its literal arguments, each once.
    pub fn options(&self) -> Vec<&'static str> {
        let mut args = Vec::new();
        collect(self.parts, &mut args);
        args
    }
}

fn collect(parts: &'static [Part], args: &mut Vec<&'static str>) {
    for part in parts {
        match part {
            Part::Word(arg) if !args.contains(arg) => args.push(arg),
            Part::Maybe(inner) | Part::Repeat(.., inner) | Part::Counted(.., inner) => {
                collect(inner, args);
            }
            Part::Either(all) | Part::Some(all) => {
                all.iter().for_each(|inner| collect(inner, args));
            }
            _ => {}
        }
    }
}

/// Returns all families.
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
        pubsub::FAMILY,
        tracking::FAMILY,
    ];
    FAMILIES.iter().copied().flatten()
}
