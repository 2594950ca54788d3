//! What a handler sees. Handlers decide, the shard acts: no sockets and no other shards here.

use super::debug::DebugAsk;
use super::filter::ClientFilter;
use super::process::Process;
use super::record::Records;
use super::replication::SyncFrom;
use super::session::Session;
use super::table::Entry;
use super::wait::Wait;
use crate::config::{Config, FollowUp};
use crate::keyspace::{Key, Slice};
use crate::resp::{Args, Error, Reply};
use crate::value::WrongKind;
use std::collections::HashSet;

/// Bytes of unsent output that no limit looks at, as in the reference, where they fit into the
/// buffer that each client has.
pub const OUTPUT_BYTES_FREE: u64 = 16 << 10;

/// Bytes of the shortest element of an array.
const ELEMENT_BYTES_MIN: u64 = 4;

/// What running commands has left behind, for the shard to settle once per batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Changes made to the keyspace, in Valkey's counting (`rdb_changes_since_last_save`).
    pub changes: u64,
    /// Whether keys of other databases than the selected one were among them.
    pub other_databases: bool,
    /// What the log is told, for those who want to know more.
    pub note: Option<&'static str>,
}

/// What a command on keys sees: one slice of the keyspace, at one moment.
pub struct Context<'a> {
    /// The shard's part of the keyspace.
    pub slice: &'a mut Slice,
    /// The selected database.
    pub db: usize,
    /// Unix time of this turn, milliseconds.
    pub now_ms: u64,
    /// Where the reply goes.
    pub reply: Reply<'a>,
    /// What the command leaves behind.
    pub effects: &'a mut Effects,
    /// The settings.
    pub config: &'a Config,
    /// What the feed is told, while somebody reads it.
    pub records: Option<&'a mut Records>,
    /// Whether a command over all shards runs here as one of several parts, whose replies are
    /// merged; else its reply is the client's.
    pub is_part: bool,
    /// Which keys are here beside those of the command's own words, while it runs away from their
    /// owners; none: all keys are.
    pub reach: Option<&'a mut Reach>,
    /// Whether the command may wait in place of a reply.
    pub may_wait: bool,
    /// The word of the key whose change woke a command that waited.
    pub woken_by: Option<usize>,
    /// Left by a command that waits; it has written no reply.
    pub wait: Option<Wait>,
    /// Slot and hash of the word at `hint_index`, computed ahead of the run; 0 means none.
    pub(super) hint_index: usize,
    pub(super) hint_slot: u16,
    pub(super) hint_hash: u64,
}

impl Context<'_> {
    /// Whether somebody reads the feed, so that words for it are worth being made.
    #[inline]
    pub fn is_recorded(&self) -> bool {
        self.records.is_some()
    }

    /// The feed is told this command in place of the one that the client sent; called again, one
    /// more. A command that changed something and calls none of these three goes as it was sent.
    #[inline]
    pub fn propagate(&mut self, words: &[&[u8]]) {
        if let Some(records) = &mut self.records {
            records.replace(self.db, words);
        }
    }

    /// The same for a command on a key of another database.
    pub fn propagate_in(&mut self, db: usize, words: &[&[u8]]) {
        if let Some(records) = &mut self.records {
            records.replace(db, words);
        }
    }

    /// The feed is not told of this command, whatever it changed.
    pub fn propagate_nothing(&mut self) {
        if let Some(records) = &mut self.records {
            records.drop_own();
        }
    }

    /// The feed is told the command as it was sent even if it changed nothing.
    pub fn propagate_always(&mut self) {
        if let Some(records) = &mut self.records {
            records.keep_own();
        }
    }

    /// Elements of a reply that may be made at most: so many end their client, because their bytes
    /// pass the hard limit of its output.
    pub fn elements_max(&self) -> usize {
        match self.config.client_output_buffer_limit.normal.hard_bytes {
            0 => usize::MAX,
            bytes => (bytes.max(OUTPUT_BYTES_FREE) / ELEMENT_BYTES_MIN + 1) as usize,
        }
    }

    /// Whether a key that the command has come upon, and that is none of its words, can be looked
    /// at. If not, the command will run again with it, and what it does and replies now does not
    /// count: it goes on as if there were no such key, so as to come upon more.
    pub fn reaches(&mut self, key: &[u8]) -> bool {
        match &mut self.reach {
            None => true,
            Some(reach) => reach.has(key),
        }
    }

    /// Whether the command is to run again with more keys: it must change nothing now.
    pub fn is_short(&self) -> bool {
        self.reach.as_ref().is_some_and(|reach| reach.is_short())
    }

    /// The command by which the feed is told that a key's time has come: UNLINK or DEL.
    pub fn expire_word(&self) -> &'static [u8] {
        expire_word(self.config)
    }

    /// The key at word `index`. The first key's hash has been computed by the batch already.
    #[inline]
    pub fn key<'k>(&self, args: &'k Args<'_>, index: usize) -> Key<'k> {
        if index == self.hint_index {
            let key = Key { bytes: &args[index], slot: self.hint_slot, hash: self.hint_hash };
            debug_assert_eq!(key.hash, self.slice.key(key.bytes).hash);
            return key;
        }
        self.slice.key(&args[index])
    }
}

/// The command by which the feed is told that a key's time has come.
pub fn expire_word(config: &Config) -> &'static [u8] {
    if config.lazyfree_lazy_expire { b"UNLINK" } else { b"DEL" }
}

/// The keys that a command comes upon as it runs away from their owners.
#[derive(Debug, Default)]
pub struct Reach {
    known: HashSet<Box<[u8]>>,
    wanted: HashSet<Box<[u8]>>,
}

impl Reach {
    fn has(&mut self, key: &[u8]) -> bool {
        let is_known = self.known.contains(key);
        if !is_known && !self.wanted.contains(key) {
            self.wanted.insert(key.into());
        }
        is_known
    }

    /// Whether the command has come upon keys that were not there.
    pub fn is_short(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// The keys that were come upon and were not there; they are known from now on.
    pub fn take_wanted(&mut self) -> Vec<Box<[u8]>> {
        let wanted: Vec<_> = self.wanted.drain().collect();
        self.known.extend(wanted.iter().cloned());
        wanted
    }
}

impl From<WrongKind> for Error {
    fn from(_: WrongKind) -> Error {
        Error::WrongType
    }
}

/// What a command on the session sees.
pub struct SessionContext<'a> {
    /// The session that sent it.
    pub session: &'a mut Session,
    /// The process that it belongs to.
    pub process: &'a Process,
    /// The command itself.
    pub entry: &'static Entry,
    /// Unix time of this turn, microseconds.
    pub now_us: u64,
    /// The session's home.
    pub shard: usize,
    /// Where the reply goes, unless a request is left.
    pub reply: Reply<'a>,
    /// What the shard is asked to do; its answer is then the reply.
    pub request: Option<Request>,
}

/// What a command asks of the shard, of all shards, or of the process.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The line that CLIENT INFO shows of this session.
    ClientInfo,
    /// The lines of all sessions that pass the filter.
    ClientList(Box<ClientFilter>),
    /// Ends the sessions that pass the filter; the reply is how many.
    ClientKill(Box<ClientFilter>),
    /// The same in the old form, which ends one address: OK or "No such client".
    ClientKillAddress(Box<ClientFilter>),
    /// All shards stand still for so many microseconds.
    DebugSleep(u64),
    /// Turns the active expiry of all shards on or off.
    ActiveExpire(bool),
    /// The process was told of a pause: the reply is OK, when no command that it holds up is under
    /// way any more.
    Pause,
    /// The process was told that a pause is over: all shards take note.
    Unpause,
    /// Answered when all is over that came before and writes, or has claimed what it touches.
    Passed,
    /// Ends the wait of the client with this id; the reply is how many were ended.
    ClientUnblock {
        /// The client.
        client: u64,
        /// Whether its command replies with an error, and not as if its time were over.
        is_error: bool,
    },
    /// Starts the statistics of all shards from zero.
    ResetStatistics,
    /// Settings changed: all shards take the new snapshot and follow up before the reply leaves.
    SettingsChanged(FollowUp),
    /// All shards give memory back to the system that they do not use.
    PurgeMemory,
    /// Logs the shape of all shards' tables.
    LogTable,
    /// Watches these keys of the selected database.
    Watch(Vec<Vec<u8>>),
    /// Watches a part of them on their owner, for the client with this id.
    WatchHere {
        /// The client.
        client: u64,
        /// Their database.
        db: usize,
        /// The keys.
        keys: Vec<Vec<u8>>,
    },
    /// Forgets all watches of the session. The reply has been written.
    Unwatch,
    /// The session is shown every command from now on, behind an OK.
    Monitor,
    /// Runs the queued commands.
    Exec,
    /// Forgets the queued commands and all watches. The reply has been written.
    Discard,
    /// What DEBUG asks of all shards' keys.
    Debug(Box<DebugAsk>),
    /// All shards are to take note of the clock from their next turn on, because the feed goes on.
    FeedOn,
    /// Nothing more is written down for the feed. Answered with a body while something that was
    /// written down before is not over.
    FeedOff,
    /// One shard's part of a snapshot; the feed begins there. The barrier's number.
    Snapshot(u64),
    /// The feed's offset of this moment over all shards is wanted. The barrier's number.
    Mark(u64),
    /// The session becomes a replica of this server.
    Sync(SyncFrom),
    /// The reply is how many replicas have acknowledged what the session has written, once they
    /// are so many or the time is over.
    Wait {
        /// How many are waited for; 0 or less are there already.
        replicas: i64,
        /// Milliseconds; 0 is for ever.
        timeout_ms: u64,
    },
    /// All keys of one moment go to the file; the reply is OK.
    Save,
    /// One shard's share of that; after the last one it serves nothing.
    Cut {
        /// Whether the process is to stop then.
        is_last: bool,
    },
    /// A shard serves again, because the process does not stop.
    Stay,
    /// All keys are taken from the file, which is written first. On one shard: its own.
    Reload(Reload),
    /// Stops the process.
    Shutdown {
        /// Whether its keys are saved first.
        saves: bool,
        /// Whether it stops even if they cannot be.
        is_forced: bool,
    },
}

/// How keys are taken from the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// It is written first.
    pub saves: bool,
    /// All keys are removed before.
    pub flushes: bool,
    /// A key that is there already is replaced; else that is an error.
    pub may_replace: bool,
}

impl Request {
    /// Whether all shards carry it out at one moment, in the order of what changes keys.
    pub fn is_of_a_moment(&self) -> bool {
        matches!(
            self,
            Request::Snapshot(_) | Request::Cut { .. } | Request::Reload(_) | Request::Passed
        )
    }
}
