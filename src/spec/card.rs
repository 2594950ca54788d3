//! The card: one static description per command, from which COMMAND, routing, gates and ACL derive.

/// A set of command flags, named as COMMAND INFO names them.
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

/// The family of a command, as COMMAND DOCS names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Strings.
    String,
    /// Strings as rows of bits.
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
    /// Places on the earth.
    Geo,
    /// MULTI and what goes with it.
    Transactions,
    /// Keys of any type.
    Generic,
    /// The session.
    Connection,
    /// The process.
    Server,
    /// Several processes as one.
    Cluster,
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
    /// `@admin`
    Admin,
    /// `@dangerous`
    Dangerous,
}

/// Where a command's keys begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this argument; argument 0 is the command's name.
    Index(u16),
    /// At the argument after this keyword.
    Keyword {
        /// The keyword, in upper case; any case is found.
        name: &'static str,
        /// The argument at which the search starts; negative: the search goes backwards, from
        /// that argument counted from the end.
        from: i16,
        /// Options that a forward search skips, each with the number of arguments after it that
        /// are its values and may look like the keyword.
        skips: &'static [(&'static str, u16)],
    },
    /// At the argument after the last option of this name, which COMMAND INFO does not show.
    Option {
        /// The option, in upper case; any case is found.
        name: &'static str,
        /// The first argument that may be an option.
        from: u16,
        /// Other options, each with the number of arguments after it that are its values.
        skips: &'static [(&'static str, u16)],
    },
    /// The arguments alone do not tell.
    Unknown,
}

/// Which arguments from the beginning on are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Every `step`th argument up to the last key.
    Range {
        /// Distance of the last key from the first; negative: counted from the end, -1 is the
        /// last argument.
        last: i16,
        /// Arguments from one key to the next.
        step: u16,
    },
    /// Every `step`th argument in the first of `limit` equal parts of the remaining arguments.
    Part {
        /// Arguments from one key to the next.
        step: u16,
        /// Number of parts.
        limit: u16,
    },
    /// As many keys as an argument says.
    Count {
        /// The argument with the number, counted from the beginning.
        at: u16,
        /// The first key, counted from the beginning.
        first: u16,
        /// Arguments from one key to the next.
        step: u16,
    },
    /// The arguments alone do not tell.
    Unknown,
}

/// How a command uses the value of a key. Locks and the weight of a command go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads it; RO in COMMAND INFO.
    Read,
    /// Changes it; RW in COMMAND INFO.
    Update,
    /// Replaces it without reading the old one; OW in COMMAND INFO.
    Overwrite,
    /// Removes the key, whatever its value is; RM in COMMAND INFO.
    Remove,
}

/// What a command changes in the value of a key, as COMMAND INFO tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that a client can see.
    Nothing,
    /// It adds data, and changes or removes none.
    Insert,
    /// It changes data.
    Update,
    /// It removes data.
    Delete,
}

/// One run of keys among a command's arguments, and how the command uses them.
///
/// A constructor says how the keys are used, for the first argument alone; other methods say which
/// arguments are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// How the command uses the values.
    pub access: Access,
    /// What it changes in them.
    pub change: Change,
    /// Whether it returns, copies or otherwise uses the data in them.
    pub uses_data: bool,
    /// Whether its options decide about all that.
    pub varies: bool,
    /// Whether it locks the keys exclusively, though it reads them.
    pub is_locked: bool,
    /// COMMAND INFO's note, or empty.
    pub notes: &'static str,
    /// Where the run begins.
    pub begin: Begin,
    /// Which arguments belong to it.
    pub find: Find,
}

/// Constructors: how the keys are used. Each names the flags of COMMAND INFO.
impl KeySpec {
    const fn new(access: Access, change: Change) -> KeySpec {
        KeySpec {
            access,
            change,
            uses_data: false,
            varies: false,
            is_locked: false,
            notes: "",
            begin: Begin::Index(1),
            find: Find::Range { last: 0, step: 1 },
        }
    }

    /// `RO`: reads facts about the value (its type, its length), not its data.
    pub const fn inspects() -> KeySpec {
        KeySpec::new(Access::Read, Change::Nothing)
    }

    /// `RO access`: reads the data.
    pub const fn reads() -> KeySpec {
        KeySpec::inspects().using_data()
    }

    /// `RW access`: reads the data, and may store it in another form.
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

    /// `variable_flags`: the command's options decide how it uses the keys.
    pub const fn varying(self) -> KeySpec {
        KeySpec { varies: true, ..self }
    }

    /// Locks the keys exclusively, though COMMAND INFO says that the command reads them.
    pub const fn locked(self) -> KeySpec {
        KeySpec { is_locked: true, ..self }
    }

    /// Adds COMMAND INFO's note.
    pub const fn note(self, notes: &'static str) -> KeySpec {
        KeySpec { notes, ..self }
    }
}

/// Which arguments are keys.
impl KeySpec {
    /// The first key is this argument.
    pub const fn at(self, index: u16) -> KeySpec {
        KeySpec { begin: Begin::Index(index), ..self }
    }

    /// Every `step`th argument is a key, up to the last argument.
    pub const fn to_end(self, step: u16) -> KeySpec {
        self.to_last(-1, step)
    }

    /// Every `step`th argument is a key, up to `last` as in [`Find::Range`].
    pub const fn to_last(self, last: i16, step: u16) -> KeySpec {
        assert!(step > 0, "keys do not coincide");
        KeySpec { find: Find::Range { last, step }, ..self }
    }

    /// The beginning is the number of keys; they follow, each `step` arguments after the other.
    pub const fn counted(self, step: u16) -> KeySpec {
        assert!(step > 0, "keys do not coincide");
        KeySpec { find: Find::Count { at: 0, first: 1, step }, ..self }
    }

    /// The keys are the first half of the remaining arguments.
    pub const fn first_half(self) -> KeySpec {
        KeySpec { find: Find::Part { step: 1, limit: 2 }, ..self }
    }

    /// The first key follows this keyword, searched as in [`Begin::Keyword`].
    pub const fn after(self, name: &'static str, from: i16) -> KeySpec {
        KeySpec { begin: Begin::Keyword { name, from, skips: &[] }, ..self }
    }

    /// The search for the keyword skips these options and their values.
    pub const fn skipping(self, skips: &'static [(&'static str, u16)]) -> KeySpec {
        let Begin::Keyword { name, from, .. } = self.begin else {
            panic!("only a keyword is searched for")
        };
        KeySpec { begin: Begin::Keyword { name, from, skips }, ..self }
    }

    /// The key follows the last option of this name, searched as in [`Begin::Option`].
    pub const fn after_option(
        self,
        name: &'static str,
        from: u16,
        skips: &'static [(&'static str, u16)],
    ) -> KeySpec {
        KeySpec { begin: Begin::Option { name, from, skips }, find: Find::Unknown, ..self }
    }

    /// The arguments alone do not tell.
    pub const fn somewhere(self) -> KeySpec {
        KeySpec { begin: Begin::Unknown, find: Find::Unknown, ..self }
    }
}

/// What clients can ask about one command or subcommand.
#[derive(Clone, Copy, Debug)]
pub struct Card {
    /// Lower case; a subcommand's own name only (`setname`).
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The version of Redis or Valkey that brought it.
    pub since: &'static str,
    /// Its family.
    pub group: Group,
    /// Its cost, as COMMAND DOCS words it.
    pub complexity: &'static str,
    /// Whether its cost hardly depends on its arguments and values. Runs of such commands are
    /// timed together for the command log.
    pub is_steady: bool,
    /// Number of its arguments, its name(s) included; negative: the least number.
    pub arity: i16,
    /// Its flags.
    pub flags: Flag,
    /// Categories that are not implied.
    pub categories: &'static [Category],
    /// COMMAND INFO's tips for clients.
    pub tips: &'static [&'static str],
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// Whether only its subcommands run.
    pub is_container: bool,
}

/// A constructor, and one method for each attribute.
impl Card {
    /// A card of a command with this lower-case name, which came with version `since`. It takes no
    /// arguments.
    pub const fn new(name: &'static str, group: Group, since: &'static str) -> Card {
        Card {
            name,
            summary: "",
            since,
            group,
            complexity: "",
            is_steady: false,
            arity: 1,
            flags: Flag::NONE,
            categories: &[],
            tips: &[],
            keys: &[],
            is_container: false,
        }
    }

    /// Says in one sentence what the command does.
    pub const fn summary(self, summary: &'static str) -> Card {
        Card { summary, ..self }
    }

    /// Says what the command costs.
    pub const fn complexity(self, complexity: &'static str) -> Card {
        Card { complexity, ..self }
    }

    /// The command costs the same whatever its arguments and values are.
    pub const fn constant_time(self) -> Card {
        Card { complexity: "O(1)", is_steady: true, ..self }
    }

    /// The command's cost hardly depends on its arguments and values.
    pub const fn steady(self) -> Card {
        Card { is_steady: true, ..self }
    }

    /// The number of arguments, the name(s) included; negative: the least number.
    pub const fn arity(self, arity: i16) -> Card {
        Card { arity, ..self }
    }

    /// The flags.
    pub const fn flags(self, flags: Flag) -> Card {
        Card { flags, ..self }
    }

    /// The ACL categories that are not implied.
    pub const fn categories(self, categories: &'static [Category]) -> Card {
        Card { categories, ..self }
    }

    /// The tips for clients.
    pub const fn tips(self, tips: &'static [&'static str]) -> Card {
        Card { tips, ..self }
    }

    /// Where the keys are, and how they are used.
    pub const fn keys(self, keys: &'static [KeySpec]) -> Card {
        Card { keys, ..self }
    }

    /// Only the subcommands run.
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
