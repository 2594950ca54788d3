//! The command table: maps a name to its entry. Built once from the list of commands.
//!
//! Hot: one lookup per command. Names are packed into two machine words, and a bucket stores which
//! of their bytes are letters. A lookup of a name of up to 16 bytes, ignoring case, is one probe
//! and one comparison.

use super::command::{Command, Handler, InMulti, KeyRouting, Merge, SessionFn};
use super::permission::KeyNeeds;
use super::process::Process;
use crate::acl::Catalogue;
use crate::base::short::short_words;
use crate::resp::Args;
use crate::spec::{Begin, Find, Flag, KeySpec};

/// A probe starts at a multiplicative hash of the packed name. The table is at most half full.
const BUCKETS: usize = 1 << 10;

/// Position of a command's keys, precomputed from its first key spec. Covers all keys of a command
/// with the routing `Single` or `PerKey`. Other commands may have more keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// Argument index of the first key. 0: the command has no keys.
    pub first: usize,
    /// Argument index of the last key. Negative indexes count from the end (-1 is the last
    /// argument).
    pub last: isize,
    /// Number of arguments from one key to the next.
    pub step: usize,
}

impl KeyRange {
    /// Returns the argument index of the last key in a command of `argc` arguments.
    pub fn last_of(&self, argc: usize) -> usize {
        if self.last < 0 { (argc as isize + self.last) as usize } else { self.last as usize }
    }
}

/// A command in the table.
#[derive(Debug)]
pub struct Entry {
    /// The command.
    pub command: &'static Command,
    /// Index in statistics, counted from 0 without gaps.
    pub index: u16,
    /// Full name: `get`, `client|list`.
    pub name: String,
    /// Position of its keys.
    pub keys: KeyRange,
    /// The access that it needs to each of its keys.
    pub(super) key_needs: KeyNeeds,
    /// Whether CLIENT CACHING stays in effect behind it.
    pub keeps_caching: bool,
    /// Subcommands.
    pub subcommands: Vec<Entry>,
}

impl Entry {
    fn new(command: &'static Command, parent: Option<&str>, next_index: &mut u16) -> Entry {
        let name = match parent {
            Some(parent) => format!("{parent}|{}", command.card.name),
            None => command.card.name.to_string(),
        };
        let index = *next_index;
        *next_index += 1;
        let keeps_caching = command.keeps_caching;
        let subcommands = command.subcommands.iter().map(|sub| {
            let entry = Entry::new(sub, Some(&name), next_index);
            Entry { keeps_caching, ..entry }
        });
        let subcommands = subcommands.collect();
        let keys = key_range(command);
        let needs_key = matches!(command.routing, KeyRouting::Single | KeyRouting::PerKey(_));
        assert!(keys.first != 0 || !needs_key, "{name} is routed by a key that it does not have");
        let key_needs = KeyNeeds::of(command);
        Entry { command, index, keys, key_needs, name, keeps_caching, subcommands }
    }

    /// Returns the subcommand with this name, ignoring case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&Entry> {
        self.subcommands
            .iter()
            .find(|sub| sub.command.card.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Returns the function that runs the command on the session; none if it runs on keys.
    pub fn on_session(&self) -> Option<SessionFn> {
        match self.command.handler {
            Handler::Session(run) => Some(run),
            Handler::Keys(_) | Handler::Container => None,
        }
    }

    /// Returns whether the command runs on the session.
    pub fn is_session(&self) -> bool {
        matches!(self.command.handler, Handler::Session(_))
    }

    /// Returns whether the command runs on keys.
    #[inline]
    pub fn is_on_keys(&self) -> bool {
        matches!(self.command.handler, Handler::Keys(_))
    }

    /// Returns whether the command gathers its keys if several shards own them.
    #[inline]
    pub fn gathers_keys(&self) -> bool {
        matches!(self.command.routing, KeyRouting::Gather | KeyRouting::Discovers(_))
    }

    /// Returns whether the command reads nothing but names, types and expiries of keys, and their
    /// number.
    #[inline]
    pub fn surveys_keys(&self) -> bool {
        self.command.surveys_keys
    }

    /// Returns whether a command with these arguments discovers keys that are not among them.
    #[inline]
    pub fn discovers_keys(&self, args: &Args<'_>, process: &Process) -> bool {
        matches!(self.command.routing, KeyRouting::Discovers(discovers) if discovers(args, process))
    }

    /// Returns the database of the key at argument `at` if the session has selected `db`.
    #[inline]
    pub fn key_database(&self, args: &Args<'_>, at: usize, db: usize) -> usize {
        self.command.key_database.map_or(db, |database| database(args, at, db))
    }

    /// Returns how the replies of its parts are merged; none if it does not run in parts.
    pub fn merge(&self) -> Option<Merge> {
        match self.command.routing {
            KeyRouting::PerKey(merge) => Some(merge),
            KeyRouting::AllShards(merge) | KeyRouting::Cursor(merge) => Some(merge),
            KeyRouting::Home | KeyRouting::Single | KeyRouting::Slot { .. } => None,
            KeyRouting::Gather | KeyRouting::Discovers(_) => None,
        }
    }

    /// Returns whether each of its parts gets only the keys that its shard owns.
    pub fn is_per_key(&self) -> bool {
        matches!(self.command.routing, KeyRouting::PerKey(_))
    }

    /// Returns whether every key of the command has the arguments that belong to it. Otherwise the
    /// handler refuses the command, and no part of it may run elsewhere.
    pub fn has_whole_keys(&self, argc: usize) -> bool {
        (argc - self.keys.first).is_multiple_of(self.keys.step)
    }

    /// Returns whether the command is queued between MULTI and EXEC.
    #[inline]
    pub fn is_queued_in_multi(&self) -> bool {
        matches!(self.command.in_multi, InMulti::Queued | InMulti::SelectsDatabase)
    }

    /// Returns whether the command selects the database of the following commands.
    pub fn selects_database(&self) -> bool {
        self.command.in_multi == InMulti::SelectsDatabase
    }

    /// Returns whether the command executes the queued commands.
    pub fn executes_queued(&self) -> bool {
        self.command.in_multi == InMulti::Executes
    }

    /// Returns whether its cost hardly depends on its arguments and values.
    #[inline]
    pub fn is_steady(&self) -> bool {
        self.command.card.is_steady
    }

    /// Returns whether the command with these arguments runs a script that changes nothing.
    pub fn only_reads(&self, args: &Args<'_>, process: &Process) -> bool {
        self.command.only_reads.is_some_and(|only_reads| only_reads(args, process))
    }

    /// Returns the argument indexes of the keys, each with its spec. Returns none if the arguments
    /// do not match the specs; such a command fails when it runs.
    pub fn key_args(&self, args: &Args<'_>) -> Option<Vec<(usize, &'static KeySpec)>> {
        self.command.card.used_args(args.len(), |at| &args[at])
    }

    /// Returns the arguments that are keys for client tracking. The reference tracks no key of a
    /// command whose keys and further arguments do not match in number, as in XREAD.
    pub fn tracked_args(&self, args: &Args<'_>) -> Vec<(usize, &'static KeySpec)> {
        let keys = self.key_args(args).unwrap_or_default();
        let is_uneven = match (self.command.card.keys, keys.first()) {
            ([KeySpec { find: Find::Part { limit, .. }, .. }], Some((first, _))) => {
                first + keys.len() * usize::from(*limit) != args.len()
            }
            _ => false,
        };
        if is_uneven { Vec::new() } else { keys }
    }

    /// Returns the argument indexes of the keys, if the first key spec covers all keys and depends
    /// only on the number of arguments.
    #[inline]
    pub fn plain_key_args(&self, argc: usize) -> Option<impl Iterator<Item = usize> + use<>> {
        let keys = self.keys;
        let is_range = matches!(self.command.card.keys, [KeySpec { find: Find::Range { .. }, .. }]);
        // A last key whose step is incomplete matches no spec.
        let is_plain = is_range
            && keys.first != 0
            && keys.first < argc
            && (keys.last >= 0 || (argc - keys.first).is_multiple_of(keys.step));
        is_plain.then(|| (keys.first..=keys.last_of(argc)).step_by(keys.step))
    }

    /// Returns whether the command may change keys.
    #[inline]
    pub fn is_write(&self) -> bool {
        self.command.card.flags.has(Flag::WRITE)
    }

    /// Returns whether the command, or a command that it runs, may change keys.
    #[inline]
    pub fn may_change_keys(&self) -> bool {
        self.is_write() || self.command.runs_commands
    }

    /// Returns whether the command publishes messages.
    #[inline]
    pub fn publishes(&self) -> bool {
        self.is_on_keys() && self.command.card.flags.has(Flag::PUBSUB)
    }

    /// Returns whether a tracking client must be told when a key of the command changes.
    pub fn reads_tracked(&self) -> bool {
        let flags = self.command.card.flags;
        flags.has(Flag::READONLY) && !flags.has(Flag::PUBSUB) && !self.command.runs_commands
    }

    /// Returns whether a key that is gathered for the command may have to be tracked: the command
    /// reads it, or may run commands that read it.
    pub fn may_read_tracked(&self) -> bool {
        self.reads_tracked() || self.command.runs_commands
    }

    /// Returns whether the command may leave records for the feed, besides expired keys.
    pub fn may_propagate(&self) -> bool {
        self.is_write() || self.command.card.flags.has(Flag::MAY_REPLICATE)
    }

    /// Returns whether the command with these arguments may block instead of replying.
    #[inline]
    pub fn may_wait(&self, args: &Args<'_>) -> bool {
        self.command.card.flags.has(Flag::BLOCKING)
            && self.command.blocks.is_none_or(|blocks| blocks(args))
    }

    /// Returns the shard on which a command runs that otherwise reads the keys of all shards. None
    /// unless the client has connected to the port of a shard, and so sees the shard as a node.
    #[inline]
    pub fn place_on_port(&self, port_of: Option<u16>) -> Option<u16> {
        let is_wide =
            || matches!(self.command.routing, KeyRouting::AllShards(_) | KeyRouting::Cursor(_));
        port_of.filter(|_| is_wide() && self.command.card.flags.has(Flag::READONLY))
    }

    /// Returns whether a part runs on every shard for any arguments.
    pub fn is_everywhere(&self) -> bool {
        matches!(self.command.routing, KeyRouting::AllShards(_))
    }
}

fn key_range(command: &Command) -> KeyRange {
    let Some(spec) = command.card.keys.first().filter(|spec| !spec.is_channel && !spec.or_next)
    else {
        return KeyRange { first: 0, last: 0, step: 0 };
    };
    match (spec.begin, spec.find) {
        (Begin::Index(begin), Find::Range { last, step }) => {
            let first = usize::from(begin);
            let last = if last < 0 { isize::from(last) } else { isize::from(begin as i16 + last) };
            KeyRange { first, last, step: usize::from(step) }
        }
        (Begin::Index(begin), Find::Count { first, step, .. }) => {
            let first = usize::from(begin + first);
            KeyRange { first, last: first as isize, step: usize::from(step) }
        }
        _ => KeyRange { first: 0, last: 0, step: 0 },
    }
}

/// A bucket with a name of at most 16 bytes, or an empty bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// The packed name in upper case.
    name: [u64; 2],
    /// [`CASE_BIT`] in each byte of the name that is a letter.
    letters: [u64; 2],
    /// Index of the entry + 1. 0: the bucket is empty.
    entry: u16,
    /// Length of the name in bytes.
    len: u8,
}

impl Bucket {
    const EMPTY: Bucket = Bucket { name: [0; 2], letters: [0; 2], entry: 0, len: 0 };

    /// Returns whether a name is the bucket's name, ignoring case. Leading zero bytes change
    /// nothing in the packed form, so the length is also compared.
    #[inline]
    fn is(&self, packed: [u64; 2], len: usize) -> bool {
        let first = (packed[0] & !self.letters[0]) ^ self.name[0];
        let last = (packed[1] & !self.letters[1]) ^ self.name[1];
        first | last == 0 && usize::from(self.len) == len
    }
}

/// All commands by name.
#[derive(Debug)]
pub struct CommandTable {
    entries: Vec<Entry>,
    buckets: Box<[Bucket; BUCKETS]>,
    /// Names that are too long for a bucket, with the indexes of their entries.
    long_names: Vec<(Vec<u8>, usize)>,
    /// Number of entries and subcommands together.
    indices: usize,
}

impl CommandTable {
    /// Creates a table of these commands. Panics if a name is listed twice, which is an error of
    /// the list.
    pub fn new(commands: &[&'static [&'static Command]]) -> CommandTable {
        CommandTable::renamed(commands, &[])
    }

    /// Creates a table with renamed commands. `renames` are pairs of an old and a new name, applied
    /// in order. A command whose new name is empty cannot be called. Panics if an old name is
    /// unknown or a name is listed twice.
    pub fn renamed(
        commands: &[&'static [&'static Command]],
        renames: &[(Vec<u8>, Vec<u8>)],
    ) -> CommandTable {
        let mut next_index = 0;
        let mut entries: Vec<Entry> = Vec::new();
        for command in commands.iter().flat_map(|family| family.iter()) {
            entries.push(Entry::new(command, None, &mut next_index));
        }
        assert!(entries.len() <= BUCKETS / 2, "the table is at most half full");
        let mut names: Vec<&[u8]> = entries.iter().map(|entry| entry.name.as_bytes()).collect();
        for (old, new) in renames {
            let is_it = |name: &&[u8]| name.eq_ignore_ascii_case(old);
            *names.iter_mut().find(|name| is_it(name)).expect("the old name was checked") = new;
        }
        let mut buckets = Box::new([Bucket::EMPTY; BUCKETS]);
        let mut long_names = Vec::new();
        for (i, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let Some(packed) = short_words(name) else {
                long_names.push((name.to_vec(), i));
                continue;
            };
            let mut at = bucket_of(packed);
            while buckets[at].entry != 0 {
                let is_new = !buckets[at].is(packed, name.len());
                assert!(is_new, "{} is listed twice", entries[i].name);
                at = (at + 1) % BUCKETS;
            }
            let upper = name.to_ascii_uppercase();
            let letters: Vec<u8> =
                name.iter().map(|byte| u8::from(byte.is_ascii_alphabetic()) * CASE_BIT).collect();
            let words = |text: &[u8]| short_words(text).expect("as long as the name");
            buckets[at] = Bucket {
                name: words(&upper),
                letters: words(&letters),
                entry: i as u16 + 1,
                len: name.len() as u8,
            };
        }
        CommandTable { entries, buckets, long_names, indices: usize::from(next_index) }
    }

    /// Returns the entry with this name, ignoring case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Entry> {
        let Some(packed) = short_words(name) else { return self.find_long(name) };
        let mut at = bucket_of(packed);
        loop {
            let bucket = &self.buckets[at];
            if bucket.entry == 0 {
                return None;
            }
            if bucket.is(packed, name.len()) {
                return Some(&self.entries[usize::from(bucket.entry) - 1]);
            }
            at = (at + 1) % BUCKETS;
        }
    }

    #[cold]
    fn find_long(&self, name: &[u8]) -> Option<&Entry> {
        let found = self.long_names.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, at)| &self.entries[*at])
    }

    /// Returns all commands without their subcommands.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the number of indexes: commands and subcommands.
    pub fn len(&self) -> usize {
        self.indices
    }

    /// Returns whether there is no command.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Iterates over all entries and subcommands, in the order of their indexes.
    pub fn walk(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flat_map(|e| std::iter::once(e).chain(e.subcommands.iter()))
    }

    /// Returns the commands as rules of users name them.
    pub fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.walk().map(|entry| (entry.name.as_str(), &entry.command.card)))
    }

    /// Returns the command that executes queued commands, even if it was renamed.
    pub fn executor(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.executes_queued())
    }

    /// Returns the entry or subcommand at an index. The indexes of subcommands follow the index of
    /// their command.
    pub fn at(&self, index: u16) -> Option<&Entry> {
        let behind = self.entries.partition_point(|entry| entry.index <= index);
        let entry = &self.entries[behind.checked_sub(1)?];
        match usize::from(index - entry.index) {
            0 => Some(entry),
            below => entry.subcommands.get(below - 1),
        }
    }
}

/// The bit that distinguishes a lower-case letter from its upper-case form.
const CASE_BIT: u8 = b'a' ^ b'A';

/// Returns the bucket where the probe for a name begins, ignoring case.
#[inline]
fn bucket_of(packed: [u64; 2]) -> usize {
    const CASE_BITS: u64 = u64::from_le_bytes([CASE_BIT; 8]);
    // Whole bytes are rotated, so the case bits keep their position in each byte.
    let folded = (packed[0].rotate_left(24) ^ packed[1]) & !CASE_BITS;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize
}

const _: () = assert!(BUCKETS == 1 << (64 - 54), "bucket_of keeps the top 10 bits");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Card, Group};

    static GET: Command = command("get");
    static SORT_RO: Command = command("sort_ro");
    static SIXTEEN: Command = command("sixteen.bytes-16");
    static LONGER: Command = command("seventeen.bytes17");

    const fn command(name: &'static str) -> Command {
        Command::container(Card::new(name, Group::Generic, "1.0.0"), &[])
    }

    #[test]
    fn an_index_leads_to_its_entry_or_subcommand() {
        static GROUP: Command =
            Command::container(Card::new("group", Group::Generic, "1.0.0"), &[&GET, &SORT_RO]);
        static FAMILY: &[&Command] = &[&SIXTEEN, &GROUP, &LONGER];
        let table = CommandTable::new(&[FAMILY]);
        let names = (0..table.len() as u16).map(|at| table.at(at).unwrap().command.card.name);
        let wanted = ["sixteen.bytes-16", "group", "get", "sort_ro", "seventeen.bytes17"];
        assert_eq!(names.collect::<Vec<_>>(), wanted);
        assert!(table.walk().all(|entry| std::ptr::eq(table.at(entry.index).unwrap(), entry)));
        assert!(table.at(table.len() as u16).is_none());
    }

    #[test]
    fn only_listed_names_are_found_and_case_is_ignored() {
        static FAMILY: &[&Command] = &[&GET, &SORT_RO, &SIXTEEN, &LONGER];
        let table = CommandTable::new(&[FAMILY]);
        for name in ["get", "sort_ro", "sixteen.bytes-16", "seventeen.bytes17"] {
            let upper = name.to_ascii_uppercase();
            let mixed = format!("{}{}", &upper[..2], &name[2..]);
            for spelled in [name, &upper, &mixed] {
                let found = table.find(spelled.as_bytes()).map(|entry| entry.name.as_str());
                assert_eq!(found, Some(name), "{spelled}");
            }
            // Every changed bit makes another name, except the case bit of a letter.
            for (at, bit) in (0..name.len()).flat_map(|at| (0..8).map(move |bit| (at, 1u8 << bit)))
            {
                let mut other = name.as_bytes().to_vec();
                other[at] ^= bit;
                let is_same = other.eq_ignore_ascii_case(name.as_bytes());
                assert_eq!(table.find(&other).is_some(), is_same, "{other:?}");
            }
        }
        for other in [&b""[..], b"\0get", b"get\0", b"g", b"gett", b"sixteen.bytes-16x"] {
            assert!(table.find(other).is_none(), "{other:?}");
        }
    }
}
