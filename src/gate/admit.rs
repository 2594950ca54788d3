//! The gates: small pure functions in the order in which Valkey refuses a command.

use super::facts::Facts;
use crate::exec::{CommandTable, Entry, Session};
use crate::resp::{Args, Error};
use crate::spec::Flag;

/// What a gate looks at.
pub struct Admission<'a> {
    /// The command that wants in.
    pub entry: &'static Entry,
    /// How many words it has.
    pub argc: usize,
    /// Who sent it.
    pub session: &'a Session,
    /// What is true of the shard.
    pub facts: Facts,
}

/// Refuses a command, or lets it pass.
type Gate = fn(&Admission<'_>) -> Result<(), Error>;

/// In order: the first refusal is the reply.
const GATES: [Gate; 3] = [arity, authentication, memory];

/// Finds the command that the words name, subcommands included.
pub fn find(table: &'static CommandTable, args: &Args<'_>) -> Result<&'static Entry, Error> {
    let Some(entry) = table.find(&args[0]) else {
        return Err(Error::unknown_command(&args[0], args.iter_from(1)));
    };
    if entry.subcommands.is_empty() {
        return Ok(entry);
    }
    match args.get(1) {
        None => Ok(entry),
        Some(name) => entry
            .subcommand(name)
            .ok_or_else(|| Error::unknown_subcommand(entry.name.as_bytes(), name)),
    }
}

/// Passes the command through all gates.
#[inline]
pub fn admit(admission: &Admission<'_>) -> Result<(), Error> {
    let open = admission.facts.is_none() && admission.session.authenticated;
    if open {
        return arity(admission);
    }
    GATES.iter().try_for_each(|gate| gate(admission))
}

#[inline]
fn arity(admission: &Admission<'_>) -> Result<(), Error> {
    let entry = admission.entry;
    if entry.command.card.takes(admission.argc) && has_whole_keys(entry, admission.argc) {
        return Ok(());
    }
    Err(Error::wrong_arity(&entry.name))
}

/// Whether a command that may be cut between its keys has all words of its last one: no part of
/// an MSET may run when another part would be refused.
#[inline]
fn has_whole_keys(entry: &Entry, argc: usize) -> bool {
    let keys = entry.keys;
    keys.step < 2 || !entry.is_spread() || (argc - keys.first).is_multiple_of(keys.step)
}

fn authentication(admission: &Admission<'_>) -> Result<(), Error> {
    let exempt = admission.entry.command.card.flags.has(Flag::NO_AUTH);
    if admission.session.authenticated || exempt { Ok(()) } else { Err(Error::NoAuth) }
}

fn memory(admission: &Admission<'_>) -> Result<(), Error> {
    let grows = admission.entry.command.card.flags.has(Flag::DENYOOM);
    let refuse = grows && admission.facts.has(Facts::OUT_OF_MEMORY);
    if refuse { Err(Error::OutOfMemory) } else { Ok(()) }
}
