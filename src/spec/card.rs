//! The card: one static description per command. COMMAND, routing, the gates and ACL categories are
//! derived from it.

use super::Arg;

/// A set of command flags, with the names of COMMAND INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag(pub u32);

#[rustfmt::skip]
#[allow(missing_docs)]
impl Flag {
    pub const NONE: Flag = Flag(0);
    pub const WRITE: Flag = Flag(1 << 0);
    pub const READONLY: Flag = Flag(1 << 1);
    pub const DENYOOM: Flag = Flag(1 << 2);
    pub const ADMIN: Flag = Flag(1 << 3);
    pub const PUBSUB: Flag = Flag(1 << 4);
    pub const NOSCRIPT: Flag = Flag(1 << 5);
    pub const BLOCKING: Flag = Flag(1 << 6);
    pub const LOADING: Flag = Flag(1 << 7);
    pub const STALE: Flag = Flag(1 << 8);
    pub const SKIP_MONITOR: Flag = Flag(1 << 9);
    pub const SKIP_COMMANDLOG: Flag = Flag(1 << 10);
    pub const ASKING: Flag = Flag(1 << 11);
    pub const FAST: Flag = Flag(1 << 12);
    pub const NO_AUTH: Flag = Flag(1 << 13);
    pub const MAY_REPLICATE: Flag = Flag(1 << 14);
    pub const NO_MANDATORY_KEYS: Flag = Flag(1 << 15);
    pub const NO_ASYNC_LOADING: Flag = Flag(1 << 16);
    pub const NO_MULTI: Flag = Flag(1 << 17);
    pub const ALLOW_BUSY: Flag = Flag(1 << 18);
    pub const MOVABLEKEYS: Flag = Flag(1 << 19);

    /// Returns whether all flags of `other` are in this set.
    pub const fn has(self, other: Flag) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the union of both sets.
    pub const fn and(self, other: Flag) -> Flag {
        Flag(self.0 | other.0)
    }
}

/// The group of a command in COMMAND DOCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Strings.
    String,
    /// Strings as arrays of bits.
    Bitmap,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Hashes.
    Hash,
    /// Streams.
    Stream,
    /// HyperLogLogs.
    HyperLogLog,
    /// Geospatial positions.
    Geo,
    /// MULTI, EXEC, DISCARD, WATCH and UNWATCH.
    Transactions,
    /// Keys of any type.
    Generic,
    /// Scripts and functions.
    Scripting,
    /// The client's connection and session.
    Connection,
    /// The server process.
    Server,
    /// Redis Cluster.
    Cluster,
    /// Channels and patterns.
    PubSub,
}

/// An ACL category that neither flags nor group imply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// `@keyspace`
    Keyspace,
    /// `@string`
    String,
    /// `@bitmap`
    Bitmap,
    /// `@list`
    List,
    /// `@set`
    Set,
    /// `@sortedset`
    SortedSet,
    /// `@hash`
    Hash,
    /// `@stream`
    Stream,
    /// `@hyperloglog`
    HyperLogLog,
    /// `@geo`
    Geo,
    /// `@transaction`
    Transaction,
    /// `@connection`
    Connection,
    /// `@scripting`
    Scripting,
    /// `@admin`
    Admin,
    /// `@dangerous`
    Dangerous,
}

/// Where a command's keys begin among its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this argument; argument 0 is the command's name.
    Index(u16),
    /// At the argument after this keyword.
    Keyword {
        /// The keyword, in upper case; the search ignores case.
        name: &'static str,
        /// The argument at which the search starts. A negative number is counted from the end, and
        /// the search then goes backwards.
        from: i16,
        /// Options that a forward search skips. Each has the number of arguments after it that are
        /// its values and could be mistaken for the keyword.
        skips: &'static [(&'static str, u16)],
    },
    /// At the argument after the last option of this name. COMMAND INFO shows such a key spec as
    /// unknown.
    Option {
        /// The option, in upper case; the search ignores case.
        name: &'static str,
        /// The first argument that may be an option.
        from: u16,
        /// Other options, each with the number of arguments after it that are its values.
        skips: &'static [(&'static str, u16)],
    },
    /// Cannot be determined from the arguments alone.
    Unknown,
}

/// Which arguments are keys, counted from the beginning ([`Begin`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Every `step`th argument up to the last key.
    Range {
        /// Distance from the first key to the last. A negative number is counted from the end: -1
        /// is the last argument.
        last: i16,
        /// Number of arguments from one key to the next.
        step: u16,
    },
    /// Every `step`th argument in the first of `limit` equal parts of the remaining arguments.
    Part {
        /// Number of arguments from one key to the next.
        step: u16,
        /// Number of parts.
        limit: u16,
    },
    /// An argument gives the number of keys.
    Count {
        /// The argument with the number of keys, counted from the beginning.
        at: u16,
        /// The first key, counted from the beginning.
        first: u16,
        /// Number of arguments from one key to the next.
        step: u16,
    },
    /// Cannot be determined from the arguments alone.
    Unknown,
}

/// How a command accesses the value of a key. The lock mode and the estimated cost of a command
/// depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads the value; `RO` in COMMAND INFO.
    Read,
    /// Changes the value; `RW` in COMMAND INFO.
    Update,
    /// Replaces the value without reading the old one; `OW` in COMMAND INFO.
    Overwrite,
    /// Removes the key, regardless of its value; `RM` in COMMAND INFO.
    Remove,
}

/// How a command changes the value of a key, in the terms of COMMAND INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// No change that a client can see.
    Nothing,
    /// Adds data, but neither changes nor removes any.
    Insert,
    /// Changes data.
    Update,
    /// Removes data.
    Delete,
}

/// One group of keys among a command's arguments, and how the command uses them.
///
/// The constructors set how the keys are used, and assume that only argument 1 is a key. The other
/// methods set which arguments are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// How the command accesses the values.
    pub access: Access,
    /// How the command changes the values.
    pub change: Change,
    /// Whether the command returns, copies or otherwise uses the data in the values.
    pub uses_data: bool,
    /// Whether the command's options change how it uses the keys.
    pub varies: bool,
    /// Whether the command locks the keys exclusively although it only reads them.
    pub is_locked: bool,
    /// Whether the command only reads the keys if it has several of them.
    pub is_changed_alone: bool,
    /// Whether the arguments are no keys, but channels whose hash slots decide where a cluster runs
    /// the command.
    pub is_channel: bool,
    /// Whether the keys are the next group's instead, if the argument is empty and there is such a
    /// group. Without the group, the argument is the only key. With both there is no key, because
    /// the command is invalid.
    pub or_next: bool,
    /// Where the search for the keyword starts by COMMAND INFO, which shows that this does not find
    /// all keys; 0: the spec says all.
    pub incomplete_from: i16,
    /// The note in COMMAND INFO, or empty.
    pub notes: &'static str,
    /// Where the group begins.
    pub begin: Begin,
    /// Which arguments are keys, counted from the beginning.
    pub find: Find,
}

/// Constructors, which set how the keys are used. Each comment begins with the flags of COMMAND
/// INFO.
impl KeySpec {
    const fn new(access: Access, change: Change) -> KeySpec {
        KeySpec {
            access,
            change,
            uses_data: false,
            varies: false,
            is_locked: false,
            is_changed_alone: false,
            is_channel: false,
            or_next: false,
            incomplete_from: 0,
            notes: "",
            begin: Begin::Index(1),
            find: Find::Range { last: 0, step: 1 },
        }
    }

    /// `not_key`: channels of a cluster's shards.
    pub const fn channels() -> KeySpec {
        KeySpec { is_channel: true, ..KeySpec::inspects() }
    }

    /// `RO`: reads metadata of the value (its type, its length), not its data.
    pub const fn inspects() -> KeySpec {
        KeySpec::new(Access::Read, Change::Nothing)
    }

    /// `RO access`: reads the data.
    pub const fn reads() -> KeySpec {
        KeySpec::inspects().using_data()
    }

    /// `RW access`: reads the data, and may change its internal encoding.
    pub const fn reforms() -> KeySpec {
        KeySpec::new(Access::Update, Change::Nothing).using_data()
    }

    /// `RW insert`: adds data.
    pub const fn inserts() -> KeySpec {
        KeySpec::new(Access::Update, Change::Insert)
    }

    /// `RW update`: changes data.
    pub const fn updates() -> KeySpec {
        KeySpec::new(Access::Update, Change::Update)
    }

    /// `RW delete`: removes data.
    pub const fn deletes() -> KeySpec {
        KeySpec::new(Access::Update, Change::Delete)
    }

    /// `OW insert`: creates the key.
    pub const fn creates() -> KeySpec {
        KeySpec::new(Access::Overwrite, Change::Insert)
    }

    /// `OW update`: creates or replaces the key.
    pub const fn overwrites() -> KeySpec {
        KeySpec::new(Access::Overwrite, Change::Update)
    }

    /// `RM delete`: removes the key.
    pub const fn removes() -> KeySpec {
        KeySpec::new(Access::Remove, Change::Delete)
    }

    /// `access`: the command also returns, copies or otherwise uses the data.
    pub const fn using_data(self) -> KeySpec {
        KeySpec { uses_data: true, ..self }
    }

    /// `variable_flags`: the command's options change how it uses the keys.
    pub const fn varying(self) -> KeySpec {
        KeySpec { varies: true, ..self }
    }

    /// Locks the keys exclusively, although COMMAND INFO says that the command only reads them.
    pub const fn locked(self) -> KeySpec {
        KeySpec { is_locked: true, ..self }
    }

    /// Locks the keys shared if the command has several of them, because it then only reads them.
    pub const fn changed_alone(self) -> KeySpec {
        KeySpec { is_changed_alone: true, ..self }
    }

    /// Lets the next group replace the keys if the argument is empty.
    pub const fn or_next(self) -> KeySpec {
        KeySpec { or_next: true, ..self }
    }

    /// Shows the spec as incomplete in COMMAND INFO, with this start of the search.
    pub const fn incomplete(self, from: i16) -> KeySpec {
        KeySpec { incomplete_from: from, ..self }
    }

    /// Sets the note for COMMAND INFO.
    pub const fn note(self, notes: &'static str) -> KeySpec {
        KeySpec { notes, ..self }
    }
}

/// Methods that set which arguments are keys.
impl KeySpec {
    /// Sets the first key to the argument `index`.
    pub const fn at(self, index: u16) -> KeySpec {
        KeySpec { begin: Begin::Index(index), ..self }
    }

    /// Makes every `step`th argument a key, up to the last argument.
    pub const fn to_end(self, step: u16) -> KeySpec {
        self.to_last(-1, step)
    }

    /// Makes every `step`th argument a key, up to `last` as in [`Find::Range`].
    pub const fn to_last(self, last: i16, step: u16) -> KeySpec {
        assert!(step > 0, "the distance between keys is positive");
        KeySpec { find: Find::Range { last, step }, ..self }
    }

    /// Declares that the argument at the beginning is the number of keys. The keys follow it,
    /// `step` arguments apart.
    pub const fn counted(self, step: u16) -> KeySpec {
        assert!(step > 0, "the distance between keys is positive");
        KeySpec { find: Find::Count { at: 0, first: 1, step }, ..self }
    }

    /// Makes the first half of the remaining arguments keys.
    pub const fn first_half(self) -> KeySpec {
        KeySpec { find: Find::Part { step: 1, limit: 2 }, ..self }
    }

    /// Places the first key after this keyword, which is searched for as in [`Begin::Keyword`].
    pub const fn after(self, name: &'static str, from: i16) -> KeySpec {
        KeySpec { begin: Begin::Keyword { name, from, skips: &[] }, ..self }
    }

    /// Makes the search for the keyword skip these options and their values.
    pub const fn skipping(self, skips: &'static [(&'static str, u16)]) -> KeySpec {
        let Begin::Keyword { name, from, .. } = self.begin else {
            panic!("only a search for a keyword skips options")
        };
        KeySpec { begin: Begin::Keyword { name, from, skips }, ..self }
    }

    /// Places the key after the last option of this name, which is searched for as in
    /// [`Begin::Option`].
    pub const fn after_option(
        self,
        name: &'static str,
        from: u16,
        skips: &'static [(&'static str, u16)],
    ) -> KeySpec {
        KeySpec { begin: Begin::Option { name, from, skips }, find: Find::Unknown, ..self }
    }

    /// Declares that the keys cannot be determined from the arguments alone.
    pub const fn somewhere(self) -> KeySpec {
        KeySpec { begin: Begin::Unknown, find: Find::Unknown, ..self }
    }
}

/// Which databases a command accesses, besides the selected database of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Databases {
    /// No others.
    Selected,
    /// Every database.
    All,
    /// The databases that these arguments name.
    At(&'static [u16]),
    /// The database after each option of this name. Only options without values may surround it.
    Option {
        /// The option, in upper case; the search ignores case.
        name: &'static str,
        /// The first argument that may be the option.
        from: u16,
        /// Other options, which have no values.
        others: &'static [&'static str],
    },
}

/// Which arguments of a command are channels that ACL rules restrict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// None.
    None,
    /// The first.
    First,
    /// All are channels.
    All,
    /// All are patterns of channels.
    Patterns,
}

/// The static description of one command or subcommand.
#[derive(Clone, Copy, Debug)]
pub struct Card {
    /// The name in lower case; for a subcommand only its own name (`setname`).
    pub name: &'static str,
    /// One sentence about what the command does.
    pub summary: &'static str,
    /// The version of Redis or Valkey that introduced the command.
    pub since: &'static str,
    /// The group in COMMAND DOCS.
    pub group: Group,
    /// The time complexity in the form of COMMAND DOCS.
    pub complexity: &'static str,
    /// What later versions changed for clients: each version, and one sentence. May have Markdown.
    pub history: &'static [(&'static str, &'static str)],
    /// The version that deprecated the command, and what replaces it.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Whether clients have no use for the command, only the server's own tools and tests.
    pub is_internal: bool,
    /// The arguments after the name, in the terms of COMMAND DOCS.
    pub args: &'static [Arg],
    /// Whether the command's cost hardly depends on its arguments and values. The command log times
    /// consecutive commands of this kind together.
    pub is_steady: bool,
    /// Number of arguments, the name(s) included; if negative, the minimum number.
    pub arity: i16,
    /// The command flags.
    pub flags: Flag,
    /// ACL categories that neither flags nor group imply.
    pub categories: &'static [Category],
    /// The tips for clients in COMMAND INFO.
    pub tips: &'static [&'static str],
    /// Where the keys are among the arguments, and how the command uses them.
    pub keys: &'static [KeySpec],
    /// Which databases the command accesses, besides the selected database of its keys.
    pub databases: Databases,
    /// Which arguments are channels that ACL rules restrict.
    pub channels: Channels,
    /// Whether the command is only a container: it cannot run without a subcommand.
    pub is_container: bool,
}

/// A constructor, and one method for each attribute.
impl Card {
    /// Creates the card of a command with this lower-case name, introduced in version `since`. The
    /// command has no arguments besides its name.
    pub const fn new(name: &'static str, group: Group, since: &'static str) -> Card {
        Card {
            name,
            summary: "",
            since,
            group,
            complexity: "",
            history: &[],
            deprecated: None,
            is_internal: false,
            args: &[],
            is_steady: false,
            arity: 1,
            flags: Flag::NONE,
            categories: &[],
            tips: &[],
            keys: &[],
            databases: Databases::Selected,
            channels: Channels::None,
            is_container: false,
        }
    }

    /// Sets the summary: one sentence about what the command does.
    pub const fn summary(self, summary: &'static str) -> Card {
        Card { summary, ..self }
    }

    /// Sets the time complexity.
    pub const fn complexity(self, complexity: &'static str) -> Card {
        Card { complexity, ..self }
    }

    /// Sets what later versions changed: each version, and one sentence.
    pub const fn history(self, history: &'static [(&'static str, &'static str)]) -> Card {
        Card { history, ..self }
    }

    /// Declares that a version deprecated the command, and what replaces it.
    pub const fn deprecated(self, version: &'static str, by: &'static str) -> Card {
        Card { deprecated: Some((version, by)), ..self }
    }

    /// Declares that clients have no use for the command.
    pub const fn internal(self) -> Card {
        Card { is_internal: true, ..self }
    }

    /// Sets the arguments after the name.
    pub const fn args(self, args: &'static [Arg]) -> Card {
        Card { args, ..self }
    }

    /// Declares that the command takes constant time, whatever its arguments and values are.
    pub const fn constant_time(self) -> Card {
        Card { complexity: "O(1)", is_steady: true, ..self }
    }

    /// Declares that the command's cost hardly depends on its arguments and values.
    pub const fn steady(self) -> Card {
        Card { is_steady: true, ..self }
    }

    /// Sets the number of arguments, the name(s) included; if negative, the minimum number.
    pub const fn arity(self, arity: i16) -> Card {
        Card { arity, ..self }
    }

    /// Sets the command flags.
    pub const fn flags(self, flags: Flag) -> Card {
        Card { flags, ..self }
    }

    /// Sets the ACL categories that neither flags nor group imply.
    pub const fn categories(self, categories: &'static [Category]) -> Card {
        Card { categories, ..self }
    }

    /// Sets the tips for clients.
    pub const fn tips(self, tips: &'static [&'static str]) -> Card {
        Card { tips, ..self }
    }

    /// Sets where the keys are among the arguments, and how the command uses them.
    pub const fn keys(self, keys: &'static [KeySpec]) -> Card {
        Card { keys, ..self }
    }

    /// Sets which databases the command accesses, besides the selected database of its keys.
    pub const fn databases(self, databases: Databases) -> Card {
        Card { databases, ..self }
    }

    /// Sets which arguments are channels that ACL rules restrict.
    pub const fn channels(self, channels: Channels) -> Card {
        Card { channels, ..self }
    }

    /// Declares that the command is a container: it cannot run without a subcommand.
    pub const fn container(self) -> Card {
        Card { is_container: true, ..self }
    }

    /// Returns whether the arity allows `argc` arguments.
    pub const fn takes(&self, argc: usize) -> bool {
        if self.arity >= 0 {
            argc == self.arity as usize
        } else {
            argc >= self.arity.unsigned_abs() as usize
        }
    }
}
