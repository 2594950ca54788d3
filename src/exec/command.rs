//! A command: its card, and how it travels.

use super::context::{Context, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::Card;

/// Runs a command on the slice that owns its keys.
pub type KeysFn = fn(&mut Context<'_>, &mut Args<'_>) -> Result<(), Error>;

/// Runs a command on the session that sent it.
pub type SessionFn = fn(&mut SessionContext<'_>, &mut Args<'_>) -> Result<(), Error>;

/// A command as the process knows it. Lives in a `static` next to its handler.
#[derive(Debug)]
pub struct Command {
    /// What it is.
    pub card: Card,
    /// How it runs.
    pub run: Run,
    /// The commands under it (`CLIENT LIST`), empty for most.
    pub subcommands: &'static [&'static Command],
}

/// How a command travels.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// All keys lie on one shard, which runs it.
    Keys(KeysFn),
    /// In one round on every shard concerned, each part on its own keys; then the merge.
    Spread(KeysFn, Over, Merge),
    /// At the session's home; it may leave a [`super::Request`] for the shard.
    Session(SessionFn),
    /// Only its subcommands run.
    Container,
}

/// The shards that a spread command runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Those that own its keys; each part gets only its own.
    Keys,
    /// All of them; each part gets all words.
    Shards,
    /// The one that owns the slot in the low bits of the cursor that is its first argument.
    Cursor,
}

/// How the replies of a spread command's parts become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Integers are added.
    Sum,
    /// All parts said OK.
    Ok,
    /// Arrays of one element per key, interleaved again in the order of the keys.
    ByKey,
    /// Arrays are joined.
    Concat,
    /// Bulk texts are joined to one verbatim text.
    Text,
    /// Integers are added: OK when the sum is positive, else "No such client".
    Killed,
    /// Each part is `[weight, element]`; one element is drawn by weight, or null.
    Draw,
}
