//! A command: its card, its handler, and everything that decides how it runs.

use super::context::{Context, SessionContext};
use super::debug::DebugMerge;
use super::process::Process;
use super::scripting::SuspendedScript;
use super::walk::WalkFn;
use super::weight::{Weight, WeightFn};
use crate::resp::{Args, Error};
use crate::spec::{Card, KeySpec};

/// Runs a command on the slice that owns its keys.
pub type KeysFn = fn(&mut Context<'_>, &mut Args<'_>) -> Result<(), Error>;

/// Continues the suspended script of a command.
pub type ResumeFn = fn(&mut Context<'_>, &mut Args<'_>, Box<SuspendedScript>) -> Result<(), Error>;

/// Runs a command on the session that sent it.
pub type SessionFn = fn(&mut SessionContext<'_>, &mut Args<'_>) -> Result<(), Error>;

/// Returns the database of the key at argument `at` if the session has selected `db`. For invalid
/// arguments it may return a number without a database. The handler then replies with the error.
pub type KeyDatabaseFn = fn(args: &Args<'_>, at: usize, db: usize) -> usize;

/// Returns whether a command with these arguments discovers keys that are not among them.
pub type DiscoversFn = fn(&Args<'_>, &Process) -> bool;

/// Returns whether a command with these arguments changes nothing, although its flags allow it.
pub type OnlyReadsFn = fn(&Args<'_>, &Process) -> bool;

/// Returns the hash slot that an argument of the command names. Returns slot 0 for an argument that
/// the handler refuses.
pub type SlotFn = fn(&Args<'_>) -> u16;

/// Returns whether a command with these arguments may block instead of replying.
pub type BlocksFn = fn(&Args<'_>) -> bool;

/// Returns the argument at an index, wherever it is stored.
pub type ArgAt<'a> = &'a dyn Fn(usize) -> &'a [u8];

/// Returns whether argument `at` of `argc` is a secret, which logs and MONITOR must not show.
pub type SecretFn = fn(argc: usize, arg: ArgAt<'_>, at: usize) -> bool;

/// Returns how a command with `argc` arguments uses its key, if its options determine that.
pub type KeyUseFn = fn(argc: usize, arg: ArgAt<'_>) -> KeySpec;

/// A command as the process knows it, in a `static` next to its handler.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Static description of the command, which clients can request.
    pub card: Card,
    /// Code that runs the command.
    pub handler: Handler,
    /// Shards that the command runs on.
    pub routing: KeyRouting,
    /// What determines its work. A command that would take too long runs on the offload pool.
    pub weight: Weight,
    /// Walks over all keys, slice by slice; none if the command does not do that.
    pub walk: Option<WalkFn>,
    /// Whether it reads nothing but names, types and expiries of keys, and their number. Then it
    /// needs no locks: these do not change before a transaction's last round.
    pub surveys_keys: bool,
    /// Database of each of its keys; none: the selected one.
    pub key_database: Option<KeyDatabaseFn>,
    /// Whether it may block, if its card has [`crate::spec::Flag::BLOCKING`]; none: always.
    pub blocks: Option<BlocksFn>,
    /// Behaviour between MULTI and EXEC.
    pub in_multi: InMulti,
    /// Whether it may leave a [`super::Request`] that all shards answer.
    pub asks_shards: bool,
    /// Whether it runs only when the commands before it in its transaction have run, because it
    /// decides what the client is told of their changes.
    pub follows_commands: bool,
    /// Whether a client with subscriptions may send it in RESP2.
    pub is_for_subscribers: bool,
    /// Whether it is refused like a write while the data cannot be written to disk, so that its
    /// reply shows the fault.
    pub shows_disk_errors: bool,
    /// Whether CLIENT CACHING stays in effect behind it and its subcommands.
    pub keeps_caching: bool,
    /// Whether it updates the access clocks of its keys even under CLIENT NO-TOUCH ON.
    pub always_touches: bool,
    /// Whether a node of a cluster runs it on the keys of an open slot that are here, whichever are
    /// not.
    pub serves_open_slots: bool,
    /// Whether it runs a script, whose commands may change keys.
    pub runs_commands: bool,
    /// Whether it moves hash slots between partitions, which its home shard does step by step.
    pub moves_slots: bool,
    /// Whether it needs what scripts run with.
    pub uses_scripting: bool,
    /// Tells whether a script changes nothing; none: the flags of the command tell.
    pub only_reads: Option<OnlyReadsFn>,
    /// Continues its suspended script; none if it runs no script.
    pub resume: Option<ResumeFn>,
    /// Which of its arguments are secrets; none: no argument is.
    pub secrets: Option<SecretFn>,
    /// How it uses its key, if a key spec says that the options determine that.
    pub key_use: Option<KeyUseFn>,
    /// Subcommands (`CLIENT LIST`). Empty for most commands.
    pub subcommands: &'static [&'static Command],
}

/// Code that runs a command.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// Runs on a slice that holds the command's keys.
    Keys(KeysFn),
    /// Runs at the session's home shard. It may leave a [`super::Request`] for the shard.
    Session(SessionFn),
    /// None: only the subcommands run.
    Container,
}

/// Which shards a command runs on.
#[derive(Clone, Copy, Debug)]
pub enum KeyRouting {
    /// The home shard of its session.
    Home,
    /// The owner of its key. If it has several such keys, all are in one hash slot.
    Single,
    /// The owner of its keys, if one shard owns them all. Otherwise the values of all keys are
    /// brought to the home under locks, the handler runs there, and changed values return to the
    /// owners.
    Gather,
    /// Like [`KeyRouting::Gather`], unless the function returns true. Then the command discovers
    /// keys that are not among its arguments. It locks all partitions, exclusively, and runs on the
    /// slices themselves. Its handler asks for each slice with [`Context::slice_of`].
    Discovers(DiscoversFn),
    /// The owners of its keys, in one round. Each part gets only its own keys.
    PerKey(Merge),
    /// The owner of the hash slot that an argument names. The command uses all keys of the slot.
    Slot {
        /// Returns the slot.
        of: SlotFn,
        /// Whether no other command runs on the partition meanwhile.
        is_exclusive: bool,
    },
    /// All shards, in one round. Each part gets all arguments.
    AllShards(Merge),
    /// The owner of the hash slot in the low bits of the cursor, which is the first argument. All
    /// shards, if one call may walk over all keys.
    Cursor(Merge),
}

/// Behaviour of a command between MULTI and EXEC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InMulti {
    /// It is queued.
    Queued,
    /// It is queued, and selects the database of the following commands. The planner of the
    /// transaction runs it first on a copy of the session.
    SelectsDatabase,
    /// It runs at once.
    AtOnce,
    /// It runs at once and executes the queued commands. If a gate refuses it, no command is
    /// executed and the transaction is over.
    Executes,
}

/// How the replies of a command's parts are merged.
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
    /// Joins the bulk strings to one verbatim string. Each line of it begins with the id of a
    /// client, and the lines are in the order of these.
    Lines,
    /// Adds the integers. The reply is OK for a positive sum, otherwise "No such client".
    Killed,
    /// Each part is `[weight, element]`. Draws one element by weight, or null.
    Draw,
    /// Builds the reply of CLUSTER SLOT-STATS from the parts, which are bulk strings.
    SlotStats,
    /// Builds DEBUG's own reply from the parts, which are bulk strings.
    Debug(DebugMerge),
}

/// Constructors by [`KeyRouting`], and one method for each attribute that most commands lack.
impl Command {
    const fn new(handler: Handler, routing: KeyRouting, card: Card) -> Command {
        let weight = match routing {
            KeyRouting::Single | KeyRouting::Gather if card.arity < 0 => Weight::Args,
            _ => Weight::Light,
        };
        Command {
            card,
            handler,
            routing,
            weight,
            walk: None,
            surveys_keys: false,
            key_database: None,
            blocks: None,
            in_multi: InMulti::Queued,
            asks_shards: false,
            follows_commands: false,
            is_for_subscribers: false,
            shows_disk_errors: false,
            keeps_caching: false,
            always_touches: false,
            serves_open_slots: false,
            runs_commands: false,
            moves_slots: false,
            uses_scripting: false,
            only_reads: None,
            resume: None,
            secrets: None,
            key_use: None,
            subcommands: &[],
        }
    }

    /// Creates a command that runs on its session.
    pub const fn session(run: SessionFn, card: Card) -> Command {
        Command::new(Handler::Session(run), KeyRouting::Home, card)
    }

    /// Creates a command that only has subcommands.
    pub const fn container(card: Card, subcommands: &'static [&'static Command]) -> Command {
        let card = card.container();
        Command::new(Handler::Container, KeyRouting::Home, card).subcommands(subcommands)
    }

    /// Creates a command that runs on the shard that owns its key.
    pub const fn single(run: KeysFn, card: Card) -> Command {
        Command::new(Handler::Keys(run), KeyRouting::Single, card)
    }

    /// Creates a command that gathers its keys.
    pub const fn gather(run: KeysFn, card: Card) -> Command {
        Command::new(Handler::Keys(run), KeyRouting::Gather, card)
    }

    /// Creates a command that gathers its keys and may discover more of them.
    pub const fn discovers(run: KeysFn, discovers: DiscoversFn, card: Card) -> Command {
        Command::new(Handler::Keys(run), KeyRouting::Discovers(discovers), card)
    }

    /// Creates a command that runs in parts, on the owners of its keys.
    pub const fn per_key(run: KeysFn, merge: Merge, card: Card) -> Command {
        Command::new(Handler::Keys(run), KeyRouting::PerKey(merge), card)
    }

    /// Creates a command that runs on the owner of a hash slot that it names.
    pub const fn on_slot(run: KeysFn, of: SlotFn, card: Card) -> Command {
        Command::new(Handler::Keys(run), KeyRouting::Slot { of, is_exclusive: false }, card)
    }

    /// Lets no other command run on the partition meanwhile.
    pub const fn exclusive(self) -> Command {
        let KeyRouting::Slot { of, .. } = self.routing else {
            panic!("other commands lock what they use")
        };
        Command { routing: KeyRouting::Slot { of, is_exclusive: true }, ..self }
    }

    /// Creates a command that runs on all shards.
    pub const fn all_shards(run: KeysFn, merge: Merge, card: Card) -> Command {
        Command::new(Handler::Keys(run), KeyRouting::AllShards(merge), card)
    }

    /// Creates a command that walks over all keys with a cursor.
    pub const fn cursor(run: KeysFn, merge: Merge, card: Card) -> Command {
        Command::new(Handler::Keys(run), KeyRouting::Cursor(merge), card)
    }

    /// Runs the command on the offload pool if the values of its keys are large.
    pub const fn offload(self) -> Command {
        self.weighed(Weight::Values)
    }

    /// Runs the command on the offload pool if this function's result is large.
    pub const fn offload_by(self, weigh: WeightFn) -> Command {
        self.weighed(Weight::Of(weigh))
    }

    /// Runs the command in slices if `weigh` returns much.
    pub const fn slices(self, walk: WalkFn, weigh: WeightFn) -> Command {
        assert!(
            matches!(self.routing, KeyRouting::AllShards(_) | KeyRouting::Cursor(_)),
            "only commands on all keys walk"
        );
        Command { walk: Some(walk), weight: Weight::Of(weigh), ..self }
    }

    const fn weighed(self, weight: Weight) -> Command {
        assert!(
            matches!(
                self.routing,
                KeyRouting::Single | KeyRouting::Gather | KeyRouting::Discovers(_)
            ),
            "the offload pool works on the keys among the arguments"
        );
        Command { weight, ..self }
    }

    /// Lets the home shard move hash slots for the command.
    pub const fn moves_slots(self) -> Command {
        assert!(
            matches!(self.routing, KeyRouting::Discovers(_)),
            "a move needs the slices of all partitions"
        );
        Command { moves_slots: true, ..self }
    }

    /// Declares that the command reads nothing but names, types and expiries of keys, and their
    /// number.
    pub const fn surveys_keys(self) -> Command {
        assert!(
            matches!(self.routing, KeyRouting::AllShards(_) | KeyRouting::Cursor(_)),
            "a survey is over all keys"
        );
        Command { surveys_keys: true, ..self }
    }

    /// Sets what tells whether a script with these arguments changes nothing.
    pub const fn only_reads(self, only_reads: OnlyReadsFn) -> Command {
        Command { only_reads: Some(only_reads), ..self }
    }

    /// Sets the database of each of its keys.
    pub const fn key_database(self, database: KeyDatabaseFn) -> Command {
        assert!(matches!(self.routing, KeyRouting::Gather), "only gathered keys leave a database");
        Command { key_database: Some(database), ..self }
    }

    /// Sets which arguments make the command block.
    pub const fn blocks_if(self, blocks: BlocksFn) -> Command {
        Command { blocks: Some(blocks), ..self }
    }

    /// Sets its behaviour between MULTI and EXEC, if it is not just queued.
    pub const fn in_multi(self, in_multi: InMulti) -> Command {
        assert!(matches!(self.handler, Handler::Session(_)), "commands on keys are queued");
        Command { in_multi, ..self }
    }

    /// Allows the command to leave requests that all shards answer.
    pub const fn asks_shards(self) -> Command {
        assert!(matches!(self.handler, Handler::Session(_)), "requests come from sessions");
        Command { asks_shards: true, ..self }
    }

    /// Makes the command wait for the commands before it in its transaction.
    pub const fn behind_commands(self) -> Command {
        assert!(matches!(self.handler, Handler::Session(_)), "commands on keys keep their order");
        Command { follows_commands: true, ..self }
    }

    /// Allows the command to clients with subscriptions that use RESP2.
    pub const fn for_subscribers(self) -> Command {
        Command { is_for_subscribers: true, ..self }
    }

    /// Refuses the command like a write while the data cannot be written to disk.
    pub const fn shows_disk_errors(self) -> Command {
        Command { shows_disk_errors: true, ..self }
    }

    /// Keeps CLIENT CACHING in effect behind the command and its subcommands.
    pub const fn keeps_caching(self) -> Command {
        Command { keeps_caching: true, ..self }
    }

    /// Makes the command update access clocks even under CLIENT NO-TOUCH ON.
    pub const fn always_touches(self) -> Command {
        Command { always_touches: true, ..self }
    }

    /// Declares that the command runs a script, which `resume` continues.
    pub const fn runs_commands(self, resume: ResumeFn) -> Command {
        assert!(matches!(self.routing, KeyRouting::Discovers(_)), "a script may use any keys");
        Command { runs_commands: true, uses_scripting: true, resume: Some(resume), ..self }
    }

    /// Declares that the command needs what scripts run with, which the offload pool lacks.
    pub const fn uses_scripting(self) -> Command {
        assert!(matches!(self.handler, Handler::Keys(_)), "a session knows the process");
        Command { uses_scripting: true, weight: Weight::Light, ..self }
    }

    /// Runs the command on the keys of an open slot that are here.
    pub const fn serves_open_slots(self) -> Command {
        Command { serves_open_slots: true, ..self }
    }

    /// Sets which of its arguments are secrets.
    pub const fn secrets(self, secrets: SecretFn) -> Command {
        Command { secrets: Some(secrets), ..self }
    }

    /// Sets how it uses its key, if its options determine that.
    pub const fn key_use(self, key_use: KeyUseFn) -> Command {
        Command { key_use: Some(key_use), ..self }
    }

    /// Sets its subcommands.
    pub const fn subcommands(self, subcommands: &'static [&'static Command]) -> Command {
        Command { subcommands, ..self }
    }
}
