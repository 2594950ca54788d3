//! A command: its card, and how it travels.

use super::context::{Context, SessionContext};
use super::debug::DebugMerge;
use crate::resp::{Args, Error};
use crate::spec::Card;

/// Runs a command on the slice that owns its keys.
pub type KeysFn = fn(&mut Context<'_>, &mut Args<'_>) -> Result<(), Error>;

/// Runs a command on the session that sent it.
pub type SessionFn = fn(&mut SessionContext<'_>, &mut Args<'_>) -> Result<(), Error>;

impl Run {
    /// The function of a command that runs on the session, whichever way.
    pub fn on_session(&self) -> Option<SessionFn> {
        match self {
            Run::Session(run) | Run::Select(run) | Run::Immediate(run) => Some(*run),
            Run::Keys(_) | Run::Joint(..) | Run::Bulky(..) | Run::Roaming(..) => None,
            Run::Spread(..) | Run::Container => None,
        }
    }

    /// Whether keys of several shards are brought together for it.
    pub fn is_joint(&self) -> bool {
        matches!(self, Run::Joint(..) | Run::Bulky(..) | Run::Roaming(..))
    }

    /// Whether its work grows with the values of its keys.
    pub fn is_bulky(&self) -> bool {
        matches!(self, Run::Bulky(..) | Run::Roaming(..))
    }

    /// Whether a command of these words comes upon keys that are none of them.
    pub fn roams(&self, args: &Args<'_>) -> bool {
        matches!(self, Run::Roaming(_, roams) if roams(args))
    }

    /// The database of the key at a word of a command that brings keys together.
    pub fn key_database(&self, args: &Args<'_>, word: usize, db: usize) -> usize {
        match self {
            Run::Joint(_, database_of) | Run::Bulky(_, database_of) => database_of(args, word, db),
            _ => db,
        }
    }
}

/// The database of the key at a word, for a session that has selected `db`; a number that is none
/// of a database when the words are wrong, which the command's run refuses.
pub type KeyDatabaseFn = fn(args: &Args<'_>, word: usize, db: usize) -> usize;

/// The key lies in the selected database.
pub fn same_database(_: &Args<'_>, _: usize, db: usize) -> usize {
    db
}

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
    /// Keys may lie on several shards. Where all are on one, that shard runs it as any other; else
    /// copies of their values are brought together, it runs on those, and what it changed goes
    /// back, while nobody else touches the keys. The function gives the database of the key at a
    /// word: [`same_database`] for most.
    Joint(KeysFn, KeyDatabaseFn),
    /// The same for a command whose work grows with the values of its keys: on large ones it runs
    /// beside its shard.
    Bulky(KeysFn, KeyDatabaseFn),
    /// The same, all in the selected database; and where the function says so of its words, it
    /// comes upon keys that are none of them, which it asks for by [`Context::reaches`].
    Roaming(KeysFn, fn(&Args<'_>) -> bool),
    /// In one round on every shard concerned, each part on its own keys; then the merge.
    Spread(KeysFn, Over, Merge),
    /// At the session's home; it may leave a [`super::Request`] for the shard.
    Session(SessionFn),
    /// The same for a command that chooses the database of those behind it: a transaction that is
    /// planned runs it ahead, on a copy of the session.
    Select(SessionFn),
    /// The same for a command that is not queued inside a transaction: it begins or ends one.
    Immediate(SessionFn),
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
    /// The one that owns the slot in the low bits of the cursor that is its first argument; or all
    /// of them, where one call can walk over all keys.
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
    /// Arrays are joined, as the second element of a walk that is over.
    Walk,
    /// Bulk texts are joined to one verbatim text.
    Text,
    /// Integers are added: OK when the sum is positive, else "No such client".
    Killed,
    /// Each part is `[weight, element]`; one element is drawn by weight, or null.
    Draw,
    /// The answers to a question of DEBUG, bulk texts, become a reply of their own.
    Debug(DebugMerge),
}
