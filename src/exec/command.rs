//! A command: its card, and where it runs.

use super::context::{Context, SessionContext};
use super::debug::DebugMerge;
use crate::resp::{Args, Error};
use crate::spec::Card;

/// Runs a command on the slice that owns its keys.
pub type KeysFn = fn(&mut Context<'_>, &mut Args<'_>) -> Result<(), Error>;

/// Runs a command on the session that sent it.
pub type SessionFn = fn(&mut SessionContext<'_>, &mut Args<'_>) -> Result<(), Error>;

impl Run {
    /// Returns the function of a command that runs on the session; none for other commands.
    pub fn on_session(&self) -> Option<SessionFn> {
        match self {
            Run::Session(run) | Run::Select(run) | Run::Immediate(run) => Some(*run),
            Run::Keys(_) | Run::Joint(..) | Run::Bulky(..) | Run::Roaming(..) => None,
            Run::Spread(..) | Run::Container => None,
        }
    }

    /// Returns whether the keys are gathered from several shards before the command runs.
    pub fn is_joint(&self) -> bool {
        matches!(self, Run::Joint(..) | Run::Bulky(..) | Run::Roaming(..))
    }

    /// Returns whether the command's work grows with the values of its keys.
    pub fn is_bulky(&self) -> bool {
        matches!(self, Run::Bulky(..) | Run::Roaming(..))
    }

    /// Returns whether the command discovers keys that are not among its arguments `args`.
    pub fn roams(&self, args: &Args<'_>) -> bool {
        matches!(self, Run::Roaming(_, roams) if roams(args))
    }

    /// Returns the database of the key at argument `arg`. `db` is the selected database.
    pub fn key_database(&self, args: &Args<'_>, arg: usize, db: usize) -> usize {
        match self {
            Run::Joint(_, database_of) | Run::Bulky(_, database_of) => database_of(args, arg, db),
            _ => db,
        }
    }
}

/// Returns the database of the key at argument `arg` if the session has selected `db`. For invalid
/// arguments it may return a number without a database. The command's own run then replies with the
/// error.
pub type KeyDatabaseFn = fn(args: &Args<'_>, arg: usize, db: usize) -> usize;

/// Returns the selected database, where the key is.
pub fn same_database(_: &Args<'_>, _: usize, db: usize) -> usize {
    db
}

/// A command as the process knows it, in a `static` next to its handler.
#[derive(Debug)]
pub struct Command {
    /// Static description of the command.
    pub card: Card,
    /// Where and how it runs.
    pub run: Run,
    /// Subcommands (`CLIENT LIST`). Empty for most commands.
    pub subcommands: &'static [&'static Command],
}

/// Where and how a command runs.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// All keys are on one shard, which runs the command.
    Keys(KeysFn),
    /// The keys may be on several shards. If one shard has all of them, it runs the command like
    /// [`Run::Keys`]. Otherwise the keys are locked and copies of their values are gathered. The
    /// command runs on the copies, and changed values return to their owners. The second function
    /// gives the database of the key at an argument: [`same_database`] for most commands.
    Joint(KeysFn, KeyDatabaseFn),
    /// Like [`Run::Joint`], but the work grows with the values of the keys. On large values the
    /// command runs beside its shard, in the offload pool.
    Bulky(KeysFn, KeyDatabaseFn),
    /// Like [`Run::Bulky`], with all keys in the selected database. If the second function returns
    /// true for the arguments, the command discovers keys that are not among them. It asks for
    /// these keys with [`Context::reaches`].
    Roaming(KeysFn, fn(&Args<'_>) -> bool),
    /// Each shard concerned runs one part on its own keys, all in one round. Then the replies are
    /// merged.
    Spread(KeysFn, Over, Merge),
    /// The command runs at the session's home shard. It may leave a [`super::Request`] for the
    /// shard.
    Session(SessionFn),
    /// Like [`Run::Session`], for a command that selects the database of the following commands.
    /// Planning a transaction runs it first on a copy of the session.
    Select(SessionFn),
    /// Like [`Run::Session`], but never queued inside a transaction: the command begins or ends
    /// one.
    Immediate(SessionFn),
    /// Only the subcommands run.
    Container,
}

/// The shards that a spread command runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The shards that own the keys. Each part gets only the keys of its shard.
    Keys,
    /// All shards. Each part gets all arguments.
    Shards,
    /// The shard that owns the hash slot in the low bits of the cursor, which is the first
    /// argument. All shards, if one call may walk over all keys.
    Cursor,
}

/// How the replies of a spread command's parts are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Adds the integers.
    Sum,
    /// All parts replied OK.
    Ok,
    /// Interleaves the arrays, with one element per key, in the order of the keys.
    ByKey,
    /// Concatenates the arrays.
    Concat,
    /// Concatenates the arrays. The result is the second element of a scan that is complete.
    Walk,
    /// Concatenates the bulk strings to one verbatim string.
    Text,
    /// Adds the integers. The reply is OK for a positive sum, otherwise "No such client".
    Killed,
    /// Each part is `[weight, element]`. Draws one element by weight, or null.
    Draw,
    /// Builds DEBUG's own reply from the parts, which are bulk strings.
    Debug(DebugMerge),
}
