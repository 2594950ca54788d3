//! What a command means to touch, and how: what locks are about.

use super::batch::Item;
use super::command::{Over, Run};
use super::table::Entry;
use crate::base::slot::slot_of;
use crate::keyspace::DetachedValue;
use crate::resp::Args;
use crate::spec::KeySpec;

/// Whether others may do the same meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It reads.
    Shared,
    /// It may write.
    Exclusive,
}

/// What is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One key, by its hash: keys that share one are taken for the same.
    Key {
        /// Its database. [`for_each_key_lock`] gives 0 for all: a command such as MOVE touches a key
        /// of the same name in another one.
        db: u16,
        /// Its hash, the same on every shard.
        hash: u64,
    },
    /// All keys of a database.
    Database(u16),
    /// Everything.
    All,
}

/// One thing that a unit means to touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLock {
    /// What.
    pub scope: Scope,
    /// How.
    pub mode: Mode,
}

/// A key that a command over several shards works on away from its owner: fetched, and put back
/// if it was changed.
#[derive(Debug)]
pub struct RemoteKey {
    /// Its database.
    pub db: u16,
    /// Its slot.
    pub slot: u16,
    /// Whether the command may change it.
    pub mode: Mode,
    /// Its name.
    pub key: Box<[u8]>,
    /// Its value; none if there is no such key, or if it has not been fetched yet.
    pub value: Option<DetachedValue>,
    /// Whether the command changed it; a value that is put back unchanged is no change.
    pub is_changed: bool,
}

/// What a command does to the keys of a spec. A write all of whose specs read changes what it
/// reads: the groups of XREADGROUP's streams.
pub fn mode_of(entry: &Entry, spec: &KeySpec) -> Mode {
    let reads = |spec: &KeySpec| spec.flags.starts_with("RO");
    let changes_all = entry.is_write() && entry.command.card.keys.iter().all(reads);
    if reads(spec) && !changes_all { Mode::Shared } else { Mode::Exclusive }
}

/// The keys of a command's words, each once, to be fetched. One in a database that does not exist
/// is none: the command refuses itself before it looks at it.
pub fn remote_keys_of(item: &Item, args: &Args<'_>, databases: usize) -> Vec<RemoteKey> {
    let run = item.entry.command.run;
    let mut remote_keys: Vec<RemoteKey> = Vec::new();
    for (word, spec) in item.entry.key_args(args).unwrap_or_default() {
        let db = run.key_database(args, word, usize::from(item.db));
        if db >= databases {
            continue;
        }
        let (key, db, mode) = (&args[word], db as u16, mode_of(item.entry, spec));
        match remote_keys
            .iter_mut()
            .find(|remote_key| remote_key.db == db && *remote_key.key == *key)
        {
            Some(remote_key) if mode == Mode::Exclusive => remote_key.mode = mode,
            Some(_) => {}
            None => {
                let (key, slot) = (key.into(), slot_of(key));
                remote_keys.push(RemoteKey { db, slot, mode, key, value: None, is_changed: false });
            }
        }
    }
    remote_keys
}

/// Shows what a command of these words means to touch; keys by the word that they are, wide
/// scopes without one. Words that the command will refuse touch nothing.
pub fn for_each_key_lock(
    entry: &Entry,
    args: &Args<'_>,
    hash: &dyn Fn(&[u8]) -> u64,
    remote_key: &mut dyn FnMut(Option<usize>, KeyLock),
) {
    let write_mode = if entry.is_write() { Mode::Exclusive } else { Mode::Shared };
    match entry.command.run {
        Run::Joint(..) | Run::Bulky(..) | Run::Keys(_) | Run::Spread(_, Over::Keys, _) => {}
        run @ Run::Roaming(..) => {
            if run.roams(args) {
                remote_key(None, KeyLock { scope: Scope::All, mode: Mode::Shared });
            }
        }
        Run::Spread(_, Over::Shards | Over::Cursor, _) => {
            return remote_key(None, KeyLock { scope: Scope::All, mode: write_mode });
        }
        Run::Session(_) | Run::Select(_) | Run::Immediate(_) | Run::Container => return,
    }
    for (word, spec) in entry.key_args(args).unwrap_or_default() {
        let scope = Scope::Key { db: 0, hash: hash(&args[word]) };
        remote_key(Some(word), KeyLock { scope, mode: mode_of(entry, spec) });
    }
}
