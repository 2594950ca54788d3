//! The gates: small pure functions, in the order in which Valkey checks for reasons to refuse a
//! command.

use super::redirect::redirection;
use super::route::Router;
use crate::acl::{Denial, User};
use crate::exec::{CommandTable, Entry, Facts, Process, Session};
use crate::resp::{Args, Error};
use crate::spec::Flag;

/// The facts that a gate decides by.
pub struct Admission<'a, 'b> {
    /// The command.
    pub entry: &'static Entry,
    /// The arguments, the command's name included.
    pub args: &'a Args<'b>,
    /// The session that sent the command.
    pub session: &'a Session,
    /// The current conditions of the shard and of the client.
    pub facts: Facts,
    /// The process, which knows more about some facts.
    pub process: &'a Process,
    /// Knows the shard of each key.
    pub router: &'a Router,
}

/// A check that refuses a command with an error, or lets it pass.
type Gate = fn(&Admission<'_, '_>) -> Result<(), Error>;

/// The gates in the order in which they run. The first error is the reply.
const GATES: [Gate; 12] = [
    authentication,
    arity,
    nesting,
    permission,
    redirection,
    memory,
    disk,
    replicas,
    subscribed,
    loading,
    busy,
    keyspace,
];

/// Returns the command or subcommand that the arguments name. Returns an error if there is none.
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

/// Returns whether the first argument begins a line that a browser sends. A page in a browser could
/// otherwise make it send commands to this server.
pub fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// Passes the command through all gates. Returns the error of the first gate that refuses it.
#[inline]
pub fn admit(admission: &Admission<'_, '_>) -> Result<(), Error> {
    let session = admission.session;
    let is_plain = session.authenticated && session.multi.is_none() && !session.is_restricted();
    let is_cluster = admission.facts.is_only_cluster();
    if !is_plain || !(admission.facts.is_none() || is_cluster) {
        return pass_all(admission);
    }
    // The other gates decide by other facts.
    arity(admission)?;
    if !session.is_free() {
        permission(admission)?;
    }
    if is_cluster { redirection(admission) } else { Ok(()) }
}

#[inline(never)]
fn pass_all(admission: &Admission<'_, '_>) -> Result<(), Error> {
    GATES.iter().try_for_each(|gate| gate(admission))
}

#[inline]
fn arity(admission: &Admission<'_, '_>) -> Result<(), Error> {
    let entry = admission.entry;
    if entry.command.card.takes(admission.args.len()) {
        return Ok(());
    }
    Err(Error::wrong_arity(&entry.name))
}

fn authentication(admission: &Admission<'_, '_>) -> Result<(), Error> {
    let exempt = admission.entry.command.card.flags.has(Flag::NO_AUTH);
    if admission.session.authenticated || exempt { Ok(()) } else { Err(Error::NoAuth) }
}

/// Refuses commands that are not allowed inside a transaction.
fn nesting(admission: &Admission<'_, '_>) -> Result<(), Error> {
    let entry = admission.entry;
    let is_alone = entry.command.card.flags.has(Flag::NO_MULTI);
    if admission.session.multi.is_some() && is_alone {
        return Err(Error::not_in_transaction(&entry.name));
    }
    Ok(())
}

/// Refuses what the rules of the client's user forbid.
fn permission(admission: &Admission<'_, '_>) -> Result<(), Error> {
    let Admission { entry, args, session, process, .. } = *admission;
    match (session.refusal(entry, args, process.databases), &session.user) {
        (Some(denial), Some(user)) => Err(denial_error(&denial, user, entry)),
        _ => Ok(()),
    }
}

/// Returns the reply to a command that the rules of a user forbid.
pub fn denial_error(denial: &Denial, user: &User, entry: &Entry) -> Error {
    Error::quoting(&[b"NOPERM ", &denial.text(user, &entry.name, None)])
}

fn memory(admission: &Admission<'_, '_>) -> Result<(), Error> {
    let grows = admission.entry.command.card.flags.has(Flag::DENYOOM);
    let refuse = grows && admission.facts.has(Facts::OUT_OF_MEMORY);
    if refuse { Err(Error::OutOfMemory) } else { Ok(()) }
}

/// Refuses writes while the data cannot be written to disk.
fn disk(admission: &Admission<'_, '_>) -> Result<(), Error> {
    let command = admission.entry.command;
    let is_shown = command.card.flags.has(Flag::WRITE) || command.shows_disk_errors;
    let refuse = is_shown && admission.facts.has(Facts::DISK_ERROR);
    if refuse { Err(admission.process.disk_error()) } else { Ok(()) }
}

/// Refuses most commands of a subscriber that uses RESP2.
fn subscribed(admission: &Admission<'_, '_>) -> Result<(), Error> {
    let entry = admission.entry;
    if !admission.session.is_restricted() || entry.command.is_for_subscribers {
        return Ok(());
    }
    Err(Error::not_for_subscribers(&entry.name))
}

fn loading(admission: &Admission<'_, '_>) -> Result<(), Error> {
    let is_allowed = admission.entry.command.card.flags.has(Flag::LOADING);
    let refuse = admission.facts.has(Facts::LOADING) && !is_allowed;
    if refuse { Err(Error::Loading) } else { Ok(()) }
}

/// Refuses most commands while a script makes the server busy.
fn busy(admission: &Admission<'_, '_>) -> Result<(), Error> {
    let is_allowed = admission.entry.command.card.flags.has(Flag::ALLOW_BUSY);
    // The script may have ended since the turn began.
    let is_busy = || admission.process.running.oldest().is_some();
    let refuse = admission.facts.has(Facts::BUSY) && !is_allowed && is_busy();
    if refuse { Err(admission.process.running.busy_error()) } else { Ok(()) }
}

/// Refuses commands on keys from an attached replica: CLIENT PAUSE does not pause replicas, so
/// their commands must not access keys.
fn keyspace(admission: &Admission<'_, '_>) -> Result<(), Error> {
    let flags = admission.entry.command.card.flags;
    let is_of_keys =
        flags.has(Flag::WRITE) || flags.has(Flag::READONLY) || flags.has(Flag::MAY_REPLICATE);
    if admission.facts.has(Facts::OF_REPLICA) && is_of_keys {
        return Err(Error::other("ERR Replica can't interact with the keyspace"));
    }
    Ok(())
}

fn replicas(admission: &Admission<'_, '_>) -> Result<(), Error> {
    let writes = admission.entry.command.card.flags.has(Flag::WRITE);
    let refuse = writes && admission.facts.has(Facts::FEW_REPLICAS);
    if refuse { Err(Error::NoReplicas) } else { Ok(()) }
}
