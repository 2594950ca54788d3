//! A command: its card, its handler, and everything that decides how it runs.

use super::context::{Context, SessionContext};
use super::debug::DebugMerge;
use crate::resp::{Args, Error};
use crate::spec::{Card, KeySpec};

/// Runs a command on the slice that owns its keys.
pub type KeysFn = fn(&mut Context<'_>, &mut Args<'_>) -> Result<(), Error>;

/// Runs a command on the session that sent it.
pub type SessionFn = fn(&mut SessionContext<'_>, &mut Args<'_>) -> Result<(), Error>;

/// Returns the database of the key at an argument, for a session that has selected `db`.
/// Returns a number that belongs to no database if the arguments are wrong: the handler refuses
/// those.
pub type KeyDatabaseFn = fn(args: &Args<'_>, at: usize, db: usize) -> usize;

/// Returns whether a command with these arguments discovers keys that are not among them.
pub type DiscoversFn = fn(&Args<'_>) -> bool;

/// The arguments of a command, wherever they lie.
pub type ArgAt<'a> = &'a dyn Fn(usize) -> &'a [u8];

/// Returns whether argument `at` of `argc` is a secret, which logs and MONITOR must not show.
pub type SecretFn = fn(argc: usize, arg: ArgAt<'_>, at: usize) -> bool;

/// Returns how a command with `argc` arguments uses its key, where its options decide.
pub type KeyUseFn = fn(argc: usize, arg: ArgAt<'_>) -> KeySpec;

/// A command as the process knows it. Lives in a `static` next to its handler.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// What clients can ask about it.
    pub card: Card,
    /// What runs it.
    pub handler: Handler,
    /// Which shards it runs on.
    pub routing: KeyRouting,
    /// Whether its work grows with the values of its keys: with large values it runs on the
    /// offload pool. Only a command that gathers its keys may set it.
    pub may_offload: bool,
    /// Which database each of its keys is in; none: the selected one.
    pub key_database: Option<KeyDatabaseFn>,
    /// What becomes of it between MULTI and EXEC.
    pub in_multi: InMulti,
    /// Whether it may leave a [`super::Request`] that all shards answer.
    pub asks_shards: bool,
    /// Whether it updates the access clocks of its keys even under CLIENT NO-TOUCH ON.
    pub always_touches: bool,
    /// Which of its arguments are secrets; none: no argument is.
    pub secrets: Option<SecretFn>,
    /// How it uses its key, where a key spec says that the options decide.
    pub key_use: Option<KeyUseFn>,
    /// The commands under it (`CLIENT LIST`), empty for most.
    pub subcommands: &'static [&'static Command],
}

/// What runs a command.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// Runs on a slice that holds its keys.
    Keys(KeysFn),
    /// Runs at the session's home; it may leave a [`super::Request`] for the shard.
    Session(SessionFn),
    /// Nothing: only its subcommands run.
    Container,
}

/// Which shards a command runs on.
#[derive(Clone, Copy, Debug)]
pub enum KeyRouting {
    /// The home of its session.
    Home,
    /// The owner of its key. A command with several keys of this kind has them all in one slot.
    Single,
    /// The owner of its keys, if one shard owns them all. Otherwise the values of all keys are
    /// brought to the home under locks, the handler runs there, and changed values go back.
    Gather,
    /// Like [`KeyRouting::Gather`]. If the function says so, the command also discovers keys that
    /// are not among its arguments, which its handler asks for by [`Context::reaches`].
    Discovers(DiscoversFn),
    /// The owners of its keys, in one round: each part gets only its own keys.
    PerKey(Merge),
    /// All shards, in one round: each part gets all arguments.
    AllShards(Merge),
    /// The owner of the slot in the low bits of the cursor that is its first argument; or all
    /// shards, if one call can walk over all keys.
    Cursor(Merge),
}

/// What becomes of a command between MULTI and EXEC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InMulti {
    /// It is queued.
    Queued,
    /// It is queued, and selects the database of the commands behind it. The planner of the
    /// transaction runs it ahead of time, on a copy of the session.
    SelectsDatabase,
    /// It runs at once.
    AtOnce,
    /// It runs at once, and executes what is queued. If a gate refuses it, nothing is executed and
    /// the transaction is over.
    Executes,
}

/// How the replies of a command's parts become one.
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

/// Constructors by [`KeyRouting`], and one method for each attribute that most commands lack.
impl Command {
    const fn new(handler: Handler, routing: KeyRouting, card: Card) -> Command {
        Command {
            card,
            handler,
            routing,
            may_offload: false,
            key_database: None,
            in_multi: InMulti::Queued,
            asks_shards: false,
            always_touches: false,
            secrets: None,
            key_use: None,
            subcommands: &[],
        }
    }

    /// A command that runs on its session.
    pub const fn session(run: SessionFn, card: Card) -> Command {
        Command::new(Handler::Session(run), KeyRouting::Home, card)
    }

    /// A command of which only the subcommands run.
    pub const fn container(card: Card, subcommands: &'static [&'static Command]) -> Command {
        let card = card.container();
        Command::new(Handler::Container, KeyRouting::Home, card).subcommands(subcommands)
    }

    /// A command that runs on the shard that owns its key.
    pub const fn single(run: KeysFn, card: Card) -> Command {
        Command::new(Handler::Keys(run), KeyRouting::Single, card)
    }

    /// A command whose keys are brought together.
    pub const fn gather(run: KeysFn, card: Card) -> Command {
        Command::new(Handler::Keys(run), KeyRouting::Gather, card)
    }

    /// A command whose keys are brought together, and which may discover more of them.
    pub const fn discovers(run: KeysFn, discovers: DiscoversFn, card: Card) -> Command {
        Command::new(Handler::Keys(run), KeyRouting::Discovers(discovers), card)
    }

    /// A command that runs in parts, on the owners of its keys.
    pub const fn per_key(run: KeysFn, merge: Merge, card: Card) -> Command {
        Command::new(Handler::Keys(run), KeyRouting::PerKey(merge), card)
    }

    /// A command that runs on all shards.
    pub const fn all_shards(run: KeysFn, merge: Merge, card: Card) -> Command {
        Command::new(Handler::Keys(run), KeyRouting::AllShards(merge), card)
    }

    /// A command that walks over all keys by a cursor.
    pub const fn cursor(run: KeysFn, merge: Merge, card: Card) -> Command {
        Command::new(Handler::Keys(run), KeyRouting::Cursor(merge), card)
    }

    /// Lets it run on the offload pool if the values of its keys are large.
    pub const fn offload(self) -> Command {
        assert!(
            matches!(self.routing, KeyRouting::Gather | KeyRouting::Discovers(_)),
            "the offload pool works on gathered keys"
        );
        Command { may_offload: true, ..self }
    }

    /// States the database of each of its keys.
    pub const fn key_database(self, database: KeyDatabaseFn) -> Command {
        assert!(matches!(self.routing, KeyRouting::Gather), "only gathered keys leave a database");
        Command { key_database: Some(database), ..self }
    }

    /// States what becomes of it between MULTI and EXEC, if it is not just queued.
    pub const fn in_multi(self, in_multi: InMulti) -> Command {
        assert!(matches!(self.handler, Handler::Session(_)), "commands on keys are queued");
        Command { in_multi, ..self }
    }

    /// Lets it leave requests that all shards answer.
    pub const fn asks_shards(self) -> Command {
        assert!(matches!(self.handler, Handler::Session(_)), "requests come from sessions");
        Command { asks_shards: true, ..self }
    }

    /// Lets it update access clocks even under CLIENT NO-TOUCH ON.
    pub const fn always_touches(self) -> Command {
        Command { always_touches: true, ..self }
    }

    /// States which of its arguments are secrets.
    pub const fn secrets(self, secrets: SecretFn) -> Command {
        Command { secrets: Some(secrets), ..self }
    }

    /// States how it uses its key, where its options decide.
    pub const fn key_use(self, key_use: KeyUseFn) -> Command {
        Command { key_use: Some(key_use), ..self }
    }

    /// States the commands under it.
    pub const fn subcommands(self, subcommands: &'static [&'static Command]) -> Command {
        Command { subcommands, ..self }
    }
}
