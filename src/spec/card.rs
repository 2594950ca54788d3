//! The card: one static description per command, from which COMMAND, routing, gates and ACL derive.

/// A set of command flags, in the words of COMMAND INFO.
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

    /// Whether all flags of `other` are in this set.
    pub const fn has(self, other: Flag) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
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
    /// At this word.
    Index(u16),
    /// After this word, which is looked for from a place on (negative: from the end backwards).
    Keyword {
        /// The word, in upper case; any case is found.
        word: &'static str,
        /// Where the search starts.
        from: i16,
    },
    /// At the word behind the last option of this name, which COMMAND INFO does not say.
    Option {
        /// The option, in upper case; any case is found.
        word: &'static str,
        /// The first word that may be an option.
        from: u16,
        /// Other options, and how many words behind each are none.
        skips: &'static [(&'static str, u16)],
    },
    /// Nobody can tell from the specs.
    Unknown,
}

/// Which words from the beginning on are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Up to `last` words further (negative: counted from the end), each `step` words.
    Range {
        /// Distance of the last key from the first; -1 is the last word.
        last: i16,
        /// Words from one key to the next.
        step: u16,
    },
    /// Each `step` words among the first of `limit` equal parts of what follows.
    Part {
        /// Words from one key to the next.
        step: u16,
        /// Into how many parts the words are cut.
        limit: u16,
    },
    /// As many as a word says.
    Count {
        /// The word with the number, counted from the beginning.
        at: u16,
        /// The first key, counted from the beginning.
        first: u16,
        /// Words from one key to the next.
        step: u16,
    },
    /// Nobody can tell from the specs.
    Unknown,
}

/// One run of keys among a command's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// In the words of COMMAND INFO: `RW access update`.
    pub flags: &'static str,
    /// COMMAND INFO's note, or empty.
    pub notes: &'static str,
    /// Where the run begins.
    pub begin: Begin,
    /// Which words belong to it.
    pub find: Find,
}

impl KeySpec {
    /// One key, the word after the command's name.
    pub const fn first(flags: &'static str) -> KeySpec {
        KeySpec { flags, notes: "", begin: Begin::Index(1), find: Find::Range { last: 0, step: 1 } }
    }

    /// Every `step`th word after the command's name.
    pub const fn all(flags: &'static str, step: u16) -> KeySpec {
        KeySpec { flags, notes: "", begin: Begin::Index(1), find: Find::Range { last: -1, step } }
    }

    /// The same with a note.
    pub const fn note(self, notes: &'static str) -> KeySpec {
        KeySpec { notes, ..self }
    }
}

/// The static description of one command or subcommand.
#[derive(Debug)]
pub struct Card {
    /// Lower case; a subcommand's own word only (`setname`).
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The version of the protocol's history that brought it.
    pub since: &'static str,
    /// Its family.
    pub group: Group,
    /// Its cost, in COMMAND DOCS' words.
    pub complexity: &'static str,
    /// Words it takes with its name(s); negative: at least so many.
    pub arity: i16,
    /// Its flags.
    pub flags: Flag,
    /// Categories that are not implied.
    pub categories: &'static [Category],
    /// COMMAND INFO's tips for clients.
    pub tips: &'static [&'static str],
    /// Where its keys are.
    pub keys: &'static [KeySpec],
}

impl Card {
    /// Whether a command of `words` words fits the arity.
    pub const fn takes(&self, words: usize) -> bool {
        if self.arity >= 0 {
            words == self.arity as usize
        } else {
            words >= self.arity.unsigned_abs() as usize
        }
    }
}
