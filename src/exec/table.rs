//! The command table: from a name to its entry, built once from the list of commands.
//!
//! Hot: one lookup per command. Names are packed, upper-cased by a mask, into two words, so that
//! a lookup is one probe and one comparison of 16 bytes for all names up to that length.

use super::command::{Command, Handler, InMulti, KeyRouting, Merge, SessionFn};
use crate::resp::Args;
use crate::spec::{Begin, Find, Flag, KeySpec};

/// Probes start at a multiplicative hash of the packed name; the table is at most half full.
const BUCKETS: usize = 1 << 10;

/// Where a command's keys are, precomputed from its first key spec. These are all keys of a command
/// whose routing is `Single` or `PerKey`; other commands may have more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The argument that is the first key; 0: there is none.
    pub first: usize,
    /// The argument that is the last key; negative: counted from the end, -1 is the last argument.
    pub last: isize,
    /// Arguments from key to key.
    pub step: usize,
}

impl KeyRange {
    /// Returns the argument that is the last key in a command of `argc` arguments.
    pub fn last_of(&self, argc: usize) -> usize {
        if self.last < 0 { (argc as isize + self.last) as usize } else { self.last as usize }
    }
}

/// A command as the table holds it.
#[derive(Debug)]
pub struct Entry {
    /// The command.
    pub command: &'static Command,
    /// Its place in statistics; dense from 0.
    pub index: u16,
    /// Its whole name: `get`, `client|list`.
    pub name: String,
    /// Where its keys are.
    pub keys: KeyRange,
    /// Its subcommands.
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
        let subcommands = command
            .subcommands
            .iter()
            .map(|sub| Entry::new(sub, Some(&name), next_index))
            .collect();
        let keys = key_range(command);
        let needs_key = matches!(command.routing, KeyRouting::Single | KeyRouting::PerKey(_));
        assert!(keys.first != 0 || !needs_key, "{name} is routed by a key that it does not have");
        Entry { command, index, keys, name, subcommands }
    }

    /// Returns the subcommand with this name, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&Entry> {
        self.subcommands
            .iter()
            .find(|sub| sub.command.card.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Returns the function that runs it on the session, unless it runs on keys.
    pub fn on_session(&self) -> Option<SessionFn> {
        match self.command.handler {
            Handler::Session(run) => Some(run),
            Handler::Keys(_) | Handler::Container => None,
        }
    }

    /// Returns whether it runs on the session.
    pub fn is_session(&self) -> bool {
        matches!(self.command.handler, Handler::Session(_))
    }

    /// Returns whether it runs on keys.
    #[inline]
    pub fn is_on_keys(&self) -> bool {
        matches!(self.command.handler, Handler::Keys(_))
    }

    /// Returns whether its keys are brought together if several shards own them.
    #[inline]
    pub fn gathers_keys(&self) -> bool {
        matches!(self.command.routing, KeyRouting::Gather | KeyRouting::Discovers(_))
    }

    /// Returns whether it may run on the offload pool.
    #[inline]
    pub fn may_offload(&self) -> bool {
        self.command.may_offload
    }

    /// Returns whether a command with these arguments discovers keys that are not among them.
    #[inline]
    pub fn discovers_keys(&self, args: &Args<'_>) -> bool {
        matches!(self.command.routing, KeyRouting::Discovers(discovers) if discovers(args))
    }

    /// Returns the database of the key at an argument, for a session that has selected `db`.
    #[inline]
    pub fn key_database(&self, args: &Args<'_>, at: usize, db: usize) -> usize {
        self.command.key_database.map_or(db, |database| database(args, at, db))
    }

    /// Returns how the replies of its parts become one, if it runs in parts.
    pub fn merge(&self) -> Option<Merge> {
        match self.command.routing {
            KeyRouting::PerKey(merge) => Some(merge),
            KeyRouting::AllShards(merge) | KeyRouting::Cursor(merge) => Some(merge),
            KeyRouting::Home | KeyRouting::Single => None,
            KeyRouting::Gather | KeyRouting::Discovers(_) => None,
        }
    }

    /// Returns whether each of its parts gets only the keys that its shard owns.
    pub fn is_per_key(&self) -> bool {
        matches!(self.command.routing, KeyRouting::PerKey(_))
    }

    /// Returns whether it is queued between MULTI and EXEC.
    #[inline]
    pub fn is_queued_in_multi(&self) -> bool {
        matches!(self.command.in_multi, InMulti::Queued | InMulti::SelectsDatabase)
    }

    /// Returns whether it selects the database of the commands behind it.
    pub fn selects_database(&self) -> bool {
        self.command.in_multi == InMulti::SelectsDatabase
    }

    /// Returns whether it executes the commands that are queued.
    pub fn executes_queued(&self) -> bool {
        self.command.in_multi == InMulti::Executes
    }

    /// Returns whether its cost hardly depends on its arguments and values.
    #[inline]
    pub fn is_steady(&self) -> bool {
        self.command.card.is_steady
    }

    /// Returns the arguments that are keys in a command with these arguments, each with its spec.
    /// Returns none if the arguments do not fit the specs: such a command is refused where it runs.
    pub fn key_args(&self, args: &Args<'_>) -> Option<Vec<(usize, &'static KeySpec)>> {
        self.command.card.used_args(args.len(), |at| &args[at])
    }

    /// Returns the arguments that are keys, if the first key spec alone tells, by their number.
    #[inline]
    pub fn plain_key_args(&self, argc: usize) -> Option<impl Iterator<Item = usize> + use<>> {
        let keys = self.keys;
        let is_range = matches!(self.command.card.keys, [KeySpec { find: Find::Range { .. }, .. }]);
        // A last key without all of its arguments fits no spec.
        let is_plain = is_range
            && keys.first != 0
            && keys.first < argc
            && (keys.last >= 0 || (argc - keys.first).is_multiple_of(keys.step));
        is_plain.then(|| (keys.first..=keys.last_of(argc)).step_by(keys.step))
    }

    /// Returns whether it may change keys.
    #[inline]
    pub fn is_write(&self) -> bool {
        self.command.card.flags.has(Flag::WRITE)
    }

    /// Returns whether it may block.
    #[inline]
    pub fn may_wait(&self) -> bool {
        self.command.card.flags.has(Flag::BLOCKING)
    }

    /// Returns whether a part runs on every shard, whatever the arguments are.
    pub fn is_everywhere(&self) -> bool {
        matches!(self.command.routing, KeyRouting::AllShards(_))
    }
}

fn key_range(command: &Command) -> KeyRange {
    let Some(spec) = command.card.keys.first() else {
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

/// All commands by name.
#[derive(Debug)]
pub struct CommandTable {
    entries: Vec<Entry>,
    /// Per bucket: the packed name, the entry's index + 1 (0: empty), and the name's length.
    buckets: Vec<([u64; 2], u16, u8)>,
    /// Names that do not fit a bucket, with their entries' indices.
    long_names: Vec<(Vec<u8>, usize)>,
    /// Entries and subcommands together.
    indices: usize,
}

impl CommandTable {
    /// Builds a table of these commands. Panics on a name that is there twice: a fault of the list.
    pub fn new(commands: &[&'static [&'static Command]]) -> CommandTable {
        CommandTable::renamed(commands, &[])
    }

    /// Builds a table where some commands have other names: `renames` are pairs of an old and a new
    /// name, applied in order. A command whose new name is empty cannot be called. Panics on an old
    /// name that is not there, and on a name that is there twice.
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
        let mut buckets = vec![([0, 0], 0, 0); BUCKETS];
        let mut long_names = Vec::new();
        for (i, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let Some(packed) = pack(name) else {
                long_names.push((name.to_vec(), i));
                continue;
            };
            let mut at = bucket_of(packed);
            while buckets[at].1 != 0 {
                assert_ne!(buckets[at].0, packed, "{} is listed twice", entries[i].name);
                at = (at + 1) % BUCKETS;
            }
            buckets[at] = (packed, i as u16 + 1, name.len() as u8);
        }
        CommandTable { entries, buckets, long_names, indices: usize::from(next_index) }
    }

    /// Returns the entry with this name, in any case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Entry> {
        let Some(packed) = pack(name) else { return self.find_long(name) };
        let mut at = bucket_of(packed);
        loop {
            let (have, entry, len) = self.buckets[at];
            if entry == 0 {
                return None;
            }
            if have == packed && usize::from(len) == name.len() {
                return Some(&self.entries[usize::from(entry) - 1]);
            }
            at = (at + 1) % BUCKETS;
        }
    }

    #[cold]
    fn find_long(&self, name: &[u8]) -> Option<&Entry> {
        let found = self.long_names.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, at)| &self.entries[*at])
    }

    /// Returns all commands, without subcommands.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the number of indices: commands and subcommands.
    pub fn len(&self) -> usize {
        self.indices
    }

    /// Returns whether there is no command.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns every entry with its subcommands, in the order of their indices.
    pub fn walk(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flat_map(|e| std::iter::once(e).chain(e.subcommands.iter()))
    }

    /// Returns the command that executes queued commands, whatever it is renamed to.
    pub fn executor(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.executes_queued())
    }

    /// Returns the entry at an index.
    pub fn at(&self, index: u16) -> Option<&Entry> {
        self.walk().find(|entry| entry.index == index)
    }
}

/// Returns the name in upper case in two words, or none if it has no bytes or more than 16.
/// Zero bytes at the end pack like nothing, so the length has to be compared as well.
#[inline]
fn pack(name: &[u8]) -> Option<[u64; 2]> {
    if name.is_empty() || name.len() > 16 {
        return None;
    }
    let mut bytes = [0u8; 16];
    bytes[..name.len()].copy_from_slice(name);
    let low = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
    let high = u64::from_le_bytes(bytes[8..].try_into().expect("8 bytes"));
    Some([upper(low), upper(high)])
}

/// Clears bit 5 of every byte that is an ASCII lower-case letter.
#[inline]
fn upper(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let seven = word & (0x7f * ONES);
    let above_a = seven + (0x80 - u64::from(b'a')) * ONES;
    let above_z = seven + (0x7f - u64::from(b'z')) * ONES;
    let is_lower = above_a & !above_z & !word & (0x80 * ONES);
    word & !(is_lower >> 2)
}

#[inline]
fn bucket_of(packed: [u64; 2]) -> usize {
    let mixed = (packed[0] ^ packed[1].rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 54) as usize
}

const _: () = assert!(BUCKETS == 1 << (64 - 54), "bucket_of keeps the top 10 bits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_changes_only_lower_case_letters() {
        for byte in 0..=255u8 {
            let word = u64::from_le_bytes([byte; 8]);
            assert_eq!(upper(word), u64::from_le_bytes([byte.to_ascii_uppercase(); 8]));
        }
    }

    #[test]
    fn pack_knows_its_bounds() {
        assert_eq!(pack(b""), None);
        assert_eq!(pack(b"12345678901234567"), None);
        assert_eq!(pack(b"get"), pack(b"GET"));
        assert_ne!(pack(b"get"), pack(b"gett"));
    }
}
