//! What a handler sees. Handlers decide, the shard acts: no sockets and no other shards here.

use super::filter::ClientFilter;
use super::process::Process;
use super::session::Session;
use super::table::Entry;
use crate::keyspace::{Key, Slice};
use crate::resp::{Args, Reply};

/// What running commands has left behind, for the shard to settle once per batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Changes made to the keyspace, in Valkey's counting (`rdb_changes_since_last_save`).
    pub changes: u64,
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
    /// `proto-max-bulk-len`, bytes: no string may grow beyond it.
    pub string_bytes_max: u64,
    /// Whether a command over all shards runs here as one of several parts, whose replies are
    /// merged; else its reply is the client's.
    pub is_part: bool,
    /// Slot and hash of the word at `hint_index`, computed ahead of the run; 0 means none.
    pub(super) hint_index: usize,
    pub(super) hint_slot: u16,
    pub(super) hint_hash: u64,
}

impl Context<'_> {
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
    /// Starts the statistics of all shards from zero.
    ResetStatistics,
    /// Settings changed: all shards take note before the reply leaves.
    SettingsChanged,
    /// Logs the shape of all shards' tables.
    LogTable,
    /// Stops the process.
    Shutdown,
}
