//! The narrow waist: commands as they run, the context in which they run, and one way to run them.
//!
//! Must not know: which commands exist (the list is handed in), sockets, other shards.

mod aof;
mod awaited;
mod batch;
mod client_homes;
mod command;
mod context;
mod cut;
mod debug;
mod facts;
mod filter;
mod functions;
mod key_collector;
mod key_lock;
mod key_set;
mod key_slots;
mod loading;
mod merge;
mod nested;
mod offload;
mod pause;
mod permission;
mod persistence;
mod process;
mod publisher;
mod record;
mod replication;
mod room;
mod running;
mod scripting;
mod session;
mod slices;
mod slot_moves;
mod slot_stats;
mod stage;
mod subscription;
mod table;
mod tracking;
mod wait;
mod walk;
mod weight;
mod workspace;

pub use aof::{AofFacts, AofMode, AofOrder, AofState, BaseForm, RewriteFacts};
pub use awaited::Awaited;
pub use batch::{BATCH_COMMANDS_MAX, BatchArgs, Item, MemoryLimit, Runner};
pub use client_homes::{ClientHome, ClientHomes};
pub use command::{
    ArgAt, BlocksFn, Command, DiscoversFn, Handler, InMulti, KeyDatabaseFn, KeyRouting, KeyUseFn,
    KeysFn, Merge, OnlyReadsFn, SecretFn, SessionFn, SlotFn,
};
pub use context::{
    BackgroundSave, Context, Effects, LoadStep, OUTPUT_BYTES_FREE, Reload, Request, SessionContext,
    expire_word, removal_word,
};
pub use cut::{CutOrder, CutPiece, CutSink, FileHead, LaterKey, LaterValue};
pub use debug::{DebugAsk, DebugMerge};
pub use facts::Facts;
pub use filter::{CLIENT_CAPABILITIES, CLIENT_FLAGS, ClientFilter, ClientKind, Traits};
pub use functions::Functions;
pub use key_collector::KeyCollector;
pub use key_lock::{KeyLock, Mode, RemoteKey, Scope, for_each_key_lock, mode_of, remote_keys_of};
pub use key_set::KeySet;
pub use key_slots::KeySlots;
pub use loading::{LoadProgress, LoadStage};
pub use nested::{Nested, ScriptParts, cursor_slot};
pub use offload::{Bell, OffloadPool, OffloadQueue, Offloads};
pub use pause::Pause;
pub use permission::{Asked, count_denial};
pub use persistence::{
    Loading, PersistenceFacts, SnapshotKind, SnapshotProgress, SnapshotUnderWay,
};
pub use process::{Process, ProcessParts, REPLY_BUFFER_IDLE_MS, ReplyBuffers, Shutdown};
pub use publisher::Publisher;
pub use record::{Glue, Record, Records};
pub use replication::{
    AckCount, AckWish, Acks, BacklogFacts, NO_AOF, NO_REPLID, ReplicaFacts, ReplicaLine,
    ReplicaState, ReplicationFacts, SyncFrom,
};
pub use room::Room;
pub use running::{RunningScript, RunningScripts};
pub use scripting::{ScriptProgress, Scripting, SuspendedScript};
pub use session::{LOADER_ID, Multi, Replies, Session};
pub use slices::Slices;
pub use slot_moves::{SLOT_KEYS_MAX, SlotMoves, SlotTooLarge, move_some};
pub use slot_stats::{SLOT_METRICS, SlotOrder, SlotStats};
pub use subscription::{EventSubscriber, EventSubscription};
pub use table::{CommandTable, Entry, KeyRange};
pub use tracking::{PrefixSet, Trackers, Tracking, TrackingMode};
pub use wait::{BlockingAttempt, Null, Ticket, TicketState, Wait};
pub use walk::{Walk, WalkFn};
pub use weight::{
    COPIED_BYTES, READ_BYTES, Weighing, Weight, WeightFn, count_at, long_weight, long_weight_of,
    option_count, step_weight, weight_of_value,
};
pub use workspace::{Closing, OffloadedRun, Workspace, WorkspaceRun, Workspaces};
