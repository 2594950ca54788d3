//! One shard: a slice of the keyspace, its connections, its driver, its inbox, and the turn.
//!
//! The top of the data plane: it owns one of everything, and everything else is called from here.
//!
//! # The turn
//!
//! ```text
//!   wait -> completions -> inbox to its tail -> connections that are ready -> doorbells -> sends
//!     ^                                                                                     |
//!     '-------------------------- housekeeping, once per tick -----------------------------'
//! ```
//! The order matters (see `mesh`): whoever has seen an effect of another shard has that shard's
//! message ahead of it in this inbox, so draining before serving keeps the order that the client
//! saw.

mod accept;
mod ask;
mod block;
mod client_eviction;
mod clients;
mod command_log;
mod connections;
mod cron;
mod deferred;
mod drain;
mod flush;
mod gather;
mod hold;
mod inspect;
mod journal;
pub mod limits;
mod load;
mod monitor;
mod offload_pool;
mod pause;
mod post;
mod profile;
mod replicas;
mod save;
mod serve;
mod slow;
mod together;
mod transaction;
mod turn;
mod wake;
mod watch;

pub use inspect::Inspection;
pub use offload_pool::OffloadPool;
pub use turn::Turn;

use crate::base::clock::Clock;
use crate::base::rng::Rng;
use crate::client::{Flight, Transaction};
use crate::config::Config;
use crate::exec::{Process, Records, Request};
use crate::feed::{Feed, Journal, Reservation};
use crate::gate::{Facts, Router};
use crate::io::{ConnId, Driver};
use crate::keyspace::Slice;
use crate::mesh::{Envelope, Port};
use crate::observe::{Board, LineLimit, Monitor};
use crate::txn::{Blocked, LockId, LockTable};
use connections::Connections;
use gather::Batch;
use replicas::Barrier;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// A shard, run by one thread.
pub struct Shard {
    me: usize,
    driver: Box<dyn Driver>,
    port: Port,
    router: Router,
    slice: Slice,
    process: Arc<Process>,
    board: Arc<Board>,
    config: Arc<Config>,
    config_version: u64,
    thresholds: command_log::Thresholds,
    facts: Facts,
    rng: Rng,
    now: Now,
    connections: Connections,
    /// Connections whose input may hold commands, in the order of their turn.
    ready: VecDeque<ConnId>,
    /// Connections that have something to send.
    dirty: Vec<ConnId>,
    /// Connections whose batch found no credit, served again when replies come in.
    stalled: VecDeque<ConnId>,
    /// The batch under work.
    batch: Batch,
    // Boxed, because connections hold a box.
    #[allow(clippy::vec_box)]
    flights: Vec<Box<Flight>>,
    /// What is claimed here, by transactions and by parts that wait for them.
    locks: LockTable,
    /// The parts that wait, by their claims.
    waiting: HashMap<LockId, Box<Envelope>>,
    /// Who waits for keys of this shard.
    blocked: Blocked,
    /// When commands of this shard's connections that wait give up: Unix milliseconds.
    deadlines: BTreeSet<(u64, ConnId)>,
    /// The pause of clients' commands, and who waits for its end.
    pausing: pause::Pausing,
    next_ticket: u64,
    /// What is to be said to other shards, while there is no credit to say so.
    // Boxed, because an envelope keeps its address on its way.
    #[allow(clippy::vec_box)]
    one_way: VecDeque<Box<Envelope>>,
    /// Commands of clients that waited which need keys of several shards, and who waits for them.
    forwarded: deferred::Moves,
    /// The transactions of this shard's connections that are under way.
    transactions: HashMap<u64, Box<Transaction>>,
    next_transaction: u64,
    /// Where the commands of a transaction run, kept for reuse.
    plan: transaction::Plan,
    /// Holds the keys of a command that runs away from their owners.
    scratch: Option<Box<Slice>>,
    /// Runs commands that would hold up the shard; none: they run here.
    offload_pool: Option<OffloadPool>,
    hash_seed: [u64; 2],
    /// What all shards write down.
    feed: Arc<Feed>,
    /// What this shard writes down for it.
    journal: Journal,
    /// The places of parts and transactions that are not over, by their claims.
    slots: HashMap<LockId, Reservation>,
    /// Empty buffers for what is to be written down.
    records_pool: Vec<Records>,
    /// There is more to merge than the last turn did.
    is_feed_behind: bool,
    /// Where the stream ended when this shard's links were served last.
    stream_seen: u64,
    /// Connections that are shown every command.
    monitors: Vec<(ConnId, Monitor)>,
    /// Connections of replicas.
    links: Vec<ConnId>,
    /// Barriers over all shards that are under way for replicas and WAIT.
    barriers: HashMap<u32, Barrier>,
    /// Those that wait for credits.
    barriers_due: Vec<(u32, Request)>,
    next_barrier: u32,
    /// Monotonic milliseconds when somebody has read the feed last.
    read_ms: u64,
    /// Monotonic milliseconds of the last PING to replicas.
    pinged_ms: u64,
    /// Watches that are to end on other shards, while there is no credit to say so.
    unwatch_due: Vec<(u16, u64)>,
    /// What saving and loading need.
    files: save::Files,
    /// What is kept for the limits of clients.
    clients: clients::Clients,
    /// Bytes that all connections and their buffers take.
    buffered_bytes: usize,
    cron: cron::Cron,
    accept: accept::Acceptor,
    /// Which requests are traced.
    profile: profile::Profile,
    /// Consecutive turns that found nothing to do.
    idle_turns: u32,
    /// How many of them may pass before it parks although replies are due.
    idle_polls_max: u32,
    log_limit: LineLimit,
}

/// The time of a turn: read once, used by all of it.
#[derive(Clone, Copy, Debug, Default)]
struct Now {
    monotonic_ns: u64,
    unix_us: u64,
}

impl Now {
    fn read(clock: &Clock) -> Now {
        Now { monotonic_ns: clock.monotonic_ns(), unix_us: clock.unix_us() }
    }

    fn monotonic_ms(self) -> u64 {
        self.monotonic_ns / 1_000_000
    }

    fn unix_ms(self) -> u64 {
        self.unix_us / 1_000
    }
}

/// What a shard is made of.
pub struct ShardParts {
    /// Its number.
    pub me: usize,
    /// Its door to the kernel.
    pub driver: Box<dyn Driver>,
    /// Its way to the others.
    pub port: Port,
    /// What it shares with the process.
    pub process: Arc<Process>,
    /// The feed that all shards write to.
    pub feed: Arc<Feed>,
    /// Where its random numbers start.
    pub seed: u64,
    /// The hash of its table.
    pub hash_seed: [u64; 2],
}
