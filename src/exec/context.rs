//! The context of a handler. Handlers decide and the shard acts: no sockets and no other shards
//! here.

use super::batch::Item;
use super::cut::CutOrder;
use super::debug::DebugAsk;
use super::filter::ClientFilter;
use super::process::Process;
use super::publisher::Publisher;
use super::record::Records;
use super::replication::{AckWish, SyncFrom};
use super::scripting::{Scripting, SuspendedScript};
use super::session::Session;
use super::slices::Slices;
use super::table::Entry;
use super::wait::Wait;
use crate::config::{Config, FollowUp};
use crate::keyspace::{Event, Key, Slice};
use crate::pubsub::Sort;
use crate::resp::{Args, Error, Reply};
use crate::value::WrongKind;
use bytes::Bytes;

/// Bytes of unsent output that no limit counts, as in the reference server, where they fit into the
/// client's static buffer.
pub const OUTPUT_BYTES_FREE: u64 = 16 << 10;

/// Bytes of the shortest array element on the wire.
const ELEMENT_BYTES_MIN: u64 = 4;

/// Effects of the commands that ran. The shard settles them once per batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Changes to the keyspace, counted like Valkey (`rdb_changes_since_last_save`).
    pub changes: u64,
    /// Whether keys of databases other than the selected one changed.
    pub other_databases: bool,
    /// Message for the log about the effects; none for most commands.
    pub note: Option<&'static str>,
}

/// Context of a command on keys: one slice of the keyspace at one moment.
pub struct Context<'a> {
    /// Slice with the command's keys.
    pub slice: &'a mut Slice,
    /// The selected database.
    pub db: usize,
    /// Unix time of this turn in milliseconds.
    pub now_ms: u64,
    /// Writer of the reply.
    pub reply: Reply<'a>,
    /// Collects the command's effects.
    pub effects: &'a mut Effects,
    /// The settings.
    pub config: &'a Config,
    /// Collects the commands for the feed; none while the feed is off.
    pub records: Option<&'a mut Records>,
    /// Whether this run is one of several parts on all shards. The replies of the parts are merged.
    /// Otherwise the reply goes to the client.
    pub is_part: bool,
    /// The slices of all other partitions, while a unit holds them all. None: the slice has all
    /// keys that the command may use.
    pub others: Option<&'a mut Slices>,
    /// Publishes messages; none where no command publishes.
    pub publisher: Option<&'a Publisher>,
    /// Whether a script runs the command.
    pub is_scripted: bool,
    /// Whether the command may block instead of replying.
    pub may_wait: bool,
    /// Whether the change of a key has unblocked the command.
    pub is_woken: bool,
    /// What the command waits for, if it blocks. A command that blocks writes no reply.
    pub wait: Option<Wait>,
    /// What scripts run with, if the command runs a script.
    pub scripting: Option<Scripting<'a>>,
    /// The command's script, if it is suspended. A command whose script is suspended writes no
    /// reply.
    pub suspended: Option<Box<SuspendedScript>>,
    /// The command.
    pub(super) item: &'a Item,
    /// Hash of the command's first key, computed before the run.
    pub(super) hint_hash: u64,
}

impl Context<'_> {
    /// Returns whether the feed has readers, so that building arguments for it is worthwhile.
    #[inline]
    pub fn is_recorded(&self) -> bool {
        self.records.is_some()
    }

    /// Reports the change of a key of the selected database, which counts as `changes` changes. See
    /// [`Slice::raise`].
    #[inline]
    pub fn raise(&mut self, key: &Key<'_>, event: Event, changes: u64) {
        self.slice.raise(self.db, key, event, changes);
    }

    /// Propagates this command instead of the client's command. A second call adds another command.
    /// A command that changed a key and calls no `propagate` function is propagated as it was sent.
    #[inline]
    pub fn propagate(&mut self, args: &[&[u8]]) {
        if let Some(records) = &mut self.records {
            records.replace(self.db, args);
        }
    }

    /// Propagates a command on a key of database `db`, like [`Context::propagate`].
    pub fn propagate_in(&mut self, db: usize, args: &[&[u8]]) {
        if let Some(records) = &mut self.records {
            records.replace(db, args);
        }
    }

    /// Propagates nothing for this command, whatever it changed.
    pub fn propagate_nothing(&mut self) {
        if let Some(records) = &mut self.records {
            records.drop_own();
        }
    }

    /// Propagates the command as it was sent, even if it changed nothing.
    pub fn propagate_always(&mut self) {
        if let Some(records) = &mut self.records {
            records.keep_own();
        }
    }

    /// Publishes a message now, behind the events of this unit so far. Returns the number of
    /// subscriptions that get it. `payload` is called only if there are any.
    pub fn publish(
        &mut self,
        sort: Sort,
        channel: &[u8],
        payload: impl FnOnce() -> Bytes,
    ) -> usize {
        let Some(publisher) = self.publisher else { return 0 };
        if self.slice.has_events() {
            publisher.tell(self.config, &self.slice.take_events());
        }
        publisher.publish(sort, channel, payload)
    }

    /// Returns the most elements that a reply needs to hold. The bytes of a longer reply exceed the
    /// hard output buffer limit, which disconnects the client.
    pub fn elements_max(&self) -> usize {
        match self.config.client_output_buffer_limit.normal.hard_bytes {
            0 => usize::MAX,
            bytes => (bytes.max(OUTPUT_BYTES_FREE) / ELEMENT_BYTES_MIN + 1) as usize,
        }
    }

    /// Returns whether rules of the client's user restrict what the command does besides using its
    /// own keys.
    pub fn is_restricted(&self) -> bool {
        self.item.user != 0
    }

    /// Returns whether the client sees only the keys of this slice.
    pub fn is_on_port(&self) -> bool {
        self.item.is_on_port
    }

    /// Returns the command.
    pub fn entry(&self) -> &'static Entry {
        self.item.entry
    }

    /// Returns whether the command may use any key, and not just the keys among its arguments.
    pub fn has_all_keys(&self) -> bool {
        self.item.discovers
    }

    /// Returns the slice that owns a hash slot. A command that discovers keys asks for the slice of
    /// each, also of its destination, because its unit may hold the slices of several partitions.
    pub fn slice_of(&mut self, slot: u16) -> &mut Slice {
        slice_of(self.slice, &mut self.others, slot)
    }

    /// Returns the command that propagates an expired key: UNLINK or DEL.
    pub fn expire_word(&self) -> &'static [u8] {
        expire_word(self.config)
    }

    /// Returns the key at argument `index`. The batch has already hashed the first key.
    #[inline]
    pub fn key<'k>(&self, args: &'k Args<'_>, index: usize) -> Key<'k> {
        if index == self.item.entry.keys.first {
            let key = Key { bytes: &args[index], slot: self.item.slot, hash: self.hint_hash };
            debug_assert_eq!(key.hash, self.slice.key(key.bytes).hash);
            return key;
        }
        self.slice.key(&args[index])
    }
}

/// Returns the command that propagates the removal of a key that no client has removed: UNLINK if
/// the setting for such removals says that values are freed lazily, else DEL.
pub fn removal_word(is_lazy: bool) -> &'static [u8] {
    if is_lazy { b"UNLINK" } else { b"DEL" }
}

/// Returns the command that propagates an expired key.
pub fn expire_word(config: &Config) -> &'static [u8] {
    removal_word(config.lazyfree_lazy_expire)
}

/// Returns the slice that owns a hash slot: `slice`, or one of the `others`.
pub(super) fn slice_of<'s>(
    slice: &'s mut Slice,
    others: &'s mut Option<&mut Slices>,
    slot: u16,
) -> &'s mut Slice {
    match others {
        Some(others) if !slice.owns(slot) => others.of(slot),
        _ => slice,
    }
}

impl From<WrongKind> for Error {
    fn from(_: WrongKind) -> Error {
        Error::WrongType
    }
}

/// Context of a command on the session.
pub struct SessionContext<'a> {
    /// Session that sent the command.
    pub session: &'a mut Session,
    /// Process of the session.
    pub process: &'a Process,
    /// Table entry of the command.
    pub entry: &'static Entry,
    /// Unix time of this turn in microseconds.
    pub now_us: u64,
    /// Number of the session's home shard.
    pub shard: usize,
    /// Whether EXEC runs the command.
    pub is_in_exec: bool,
    /// Writer of the reply, unless the command leaves a request.
    pub reply: Reply<'a>,
    /// Request to the shard. If present, the shard sends the reply.
    pub request: Option<Request>,
}

/// A step of DEBUG LOADAOF on every shard.
///
/// ```text
///   Refuse: no new commands --> Empty: the file ends, the keys go --> load --> Serve
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadStep {
    /// The shard refuses commands.
    Refuse,
    /// The partition writes a mark with this number, propagates no more, and drops its keys.
    Empty(u64),
    /// The shard serves commands.
    Serve,
}

/// What a command requests from the shard, from all shards, or from the process.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Replies with the CLIENT INFO line of this session.
    ClientInfo,
    /// Replies with the lines of all sessions that pass the filter.
    ClientList(Box<ClientFilter>),
    /// Disconnects the sessions that pass the filter. The reply is their number.
    ClientKill(Box<ClientFilter>),
    /// Disconnects the session with one address (old form of CLIENT KILL). The reply is OK or "No
    /// such client".
    ClientKillAddress(Box<ClientFilter>),
    /// Makes all connections take the present rules of their users. The reply is the number of
    /// deleted users, or OK if it is 0.
    UsersChanged {
        /// Number of deleted users.
        deleted: usize,
    },
    /// Suspends all shards for this number of microseconds.
    DebugSleep(u64),
    /// Turns active expiry on all shards on or off.
    ActiveExpire(bool),
    /// Applies a pause that the process has recorded. Replies OK once no paused command is in
    /// progress.
    Pause,
    /// Ends a pause: all shards read the process's state again.
    Unpause,
    /// Makes commands on keys wait, because hash slots move. The reply's body says what of the
    /// shard the move must wait for.
    HoldSlots,
    /// Ends [`Request::HoldSlots`]: the shard takes the new map.
    ServeSlots,
    /// Waits for earlier writes. The reply comes once each earlier write has finished or has locked
    /// its keys.
    Passed,
    /// Unblocks the client with this id. The reply is the number of unblocked clients.
    ClientUnblock {
        /// Id of the client.
        client: u64,
        /// Whether the blocked command replies with an error instead of its timeout reply.
        is_error: bool,
    },
    /// Resets the statistics of all shards.
    ResetStatistics,
    /// Applies changed settings. All shards take the new snapshot and follow up before the reply
    /// is sent.
    SettingsChanged(FollowUp),
    /// Returns unused memory of all shards to the system.
    PurgeMemory,
    /// Logs the layout of all shards' tables.
    LogTable,
    /// Watches these keys of the selected database.
    Watch(Vec<Vec<u8>>),
    /// Watches some of the keys on their owner, for the client with this id.
    WatchHere {
        /// Id of the client.
        client: u64,
        /// Database of the keys.
        db: usize,
        /// The keys.
        keys: Vec<Vec<u8>>,
    },
    /// Removes all watches of the session. The command has already written its reply.
    Unwatch,
    /// Replies OK and shows the session every command from now on.
    Monitor,
    /// Subscribes the session to these names.
    Subscribe(Sort, Vec<Bytes>),
    /// Ends the session's subscriptions to these names; none: to all names of the sort.
    Unsubscribe(Sort, Option<Vec<Bytes>>),
    /// Ends all subscriptions of the session, and resets it.
    Reset,
    /// Runs the queued commands.
    Exec,
    /// Notes that the session has begun, changed or ended tracking. The command has already written
    /// its reply.
    Tracking,
    /// Discards the queued commands and removes all watches. The command has already written its
    /// reply.
    Discard,
    /// Asks all shards a DEBUG question about their keys.
    Debug(Box<DebugAsk>),
    /// Turns the feed on: all shards read the clock from their next turn on.
    FeedOn,
    /// Turns the feed off: commands are not recorded any more. The reply has a body if a recorded
    /// command is still in progress.
    FeedOff,
    /// Requests one shard's part of a cut. With a mark, the feed begins at this point.
    Cut(CutOrder),
    /// Requests the feed's current offset over all shards. Holds the barrier's number.
    Mark(u64),
    /// Requests the offset at which the process stops, after all shards have ended their service.
    /// Holds the barrier's number.
    LastMark(u64),
    /// Turns the session into a replica of this server.
    Sync(SyncFrom),
    /// Waits until the session's writes are acknowledged, or until the timeout. The reply says who
    /// has acknowledged.
    Wait {
        /// Who must acknowledge. If nobody, the reply is immediate.
        wish: AckWish,
        /// Timeout in milliseconds. 0 means no timeout.
        timeout_ms: u64,
    },
    /// Saves all keys of one moment to the file and replies OK.
    Save,
    /// Ends service on a shard, because the process stops without a save.
    Leave,
    /// BGSAVE: saves the keys of one moment to the file while the server goes on, or cancels that.
    BackgroundSave(BackgroundSave),
    /// BGREWRITEAOF: writes a new base of the append-only file while the server goes on.
    RewriteAof,
    /// Resumes service on a shard, because the process does not stop.
    Stay,
    /// Replaces all keys with the ones of the append-only file.
    LoadAof,
    /// Takes a step of that on one shard.
    LoadStep(LoadStep),
    /// Loads all keys from the file, after a save if requested. On one shard: loads the shard's own
    /// keys.
    Reload(Reload),
    /// Stops the process.
    Shutdown {
        /// Whether to save the keys first.
        saves: bool,
        /// Whether to stop even if the save fails.
        is_forced: bool,
    },
}

/// What BGSAVE wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackgroundSave {
    /// A save that begins now.
    Now,
    /// A save that begins when the append-only file is not being rewritten.
    Scheduled,
    /// The end of the save, or of the plan for one.
    Cancel,
}

/// Options of a reload from the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Whether to write the file first.
    pub saves: bool,
    /// Whether to remove all keys before loading.
    pub flushes: bool,
    /// Whether to replace existing keys. If not, an existing key is an error.
    pub may_replace: bool,
}

impl Request {
    /// Returns whether the request has a place in the order of changes to keys, so that it waits
    /// for locks.
    pub fn is_of_a_moment(&self) -> bool {
        matches!(
            self,
            Request::Cut(_)
                | Request::Leave
                | Request::LoadStep(LoadStep::Empty(_))
                | Request::Reload(_)
                | Request::Passed
                | Request::WatchHere { .. }
        )
    }
}
