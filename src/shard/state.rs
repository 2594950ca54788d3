//! The shard: its parts, and how they are created.

use super::blocking::{Blocking, Pausing};
use super::connections::clients::Clients;
use super::connections::table::Connections;
use super::connections::{Acceptor, Queues};
use super::intake::Intake;
use super::local::gather::Batch;
use super::remote::Remote;
use super::replication::{Barriers, Replication};
use super::schedule::Cron;
use super::telemetry::Telemetry;
use super::transaction::Transactions;
use crate::base::rng::Rng;
use crate::exec::Process;
use crate::feed::Feed;
use crate::io::Driver;
use crate::mesh::Port;
use crate::partition::{Berths, Env, Holding, Partition};
use std::sync::Arc;

/// A shard, run by one thread.
pub struct Shard {
    pub(super) env: Env,
    /// Its partition. The shard holds it except while parked.
    pub(super) partition: Holding,
    /// Where partitions are while their shards are parked.
    pub(super) berths: Berths,
    /// Its I/O driver.
    pub(super) driver: Box<dyn Driver>,
    /// Its access to the other shards.
    pub(super) port: Port,
    pub(super) rng: Rng,
    pub(super) connections: Connections,
    /// Connections with work to do.
    pub(super) queues: Queues,
    /// The batch in progress.
    pub(super) batch: Batch,
    /// Messages to other shards, and buffers for them.
    pub(super) remote: Remote,
    /// Transactions of its connections.
    pub(super) transactions: Transactions,
    /// Commands of its connections that block.
    pub(super) blocking: Blocking,
    /// The pause of clients' commands.
    pub(super) pausing: Pausing,
    /// Barriers over all partitions that this shard has posted.
    pub(super) barriers: Barriers,
    /// Its replicas, and the feed that they read.
    pub(super) replication: Replication,
    /// Keys of the file that is loaded.
    pub(super) intake: Intake,
    /// Limits of clients.
    pub(super) clients: Clients,
    /// Schedule of its periodic work.
    pub(super) cron: Cron,
    /// Sockets that wait for their shard.
    pub(super) accept: Acceptor,
    /// Traced requests, and monitors.
    pub(super) telemetry: Telemetry,
}

/// Inputs for a new shard.
pub struct ShardParts {
    /// Number of the shard.
    pub me: usize,
    /// Its I/O driver.
    pub driver: Box<dyn Driver>,
    /// Its access to the other shards.
    pub port: Port,
    /// Where partitions are while their shards are parked.
    pub berths: Berths,
    /// State that all shards of the process share.
    pub process: Arc<Process>,
    /// The feed that all shards write to.
    pub feed: Arc<Feed>,
    /// Seed of its random numbers.
    pub seed: u64,
    /// Seed of the hash of keys.
    pub hash_seed: [u64; 2],
}

impl Shard {
    /// Creates a shard with an empty partition and no connections.
    pub fn new(parts: ShardParts) -> Shard {
        let ShardParts { me, driver, port, berths, process, feed, seed, hash_seed } = parts;
        let partition = Partition::new(me, &process, port.shared_mesh(), (seed, hash_seed));
        let mut shard = Shard {
            env: Env::new(me, &process),
            partition: Holding::new(Box::new(partition)),
            berths,
            driver,
            port,
            rng: Rng::new(seed),
            connections: Connections::default(),
            queues: Queues::default(),
            batch: Batch::default(),
            remote: Remote::default(),
            transactions: Transactions::default(),
            blocking: Blocking::default(),
            pausing: Pausing::default(),
            barriers: Barriers::default(),
            replication: Replication::new(feed),
            intake: Intake::default(),
            clients: Clients::new(process.pubsub.hasher()),
            cron: Cron::default(),
            accept: Acceptor::default(),
            telemetry: Telemetry::default(),
        };
        shard.settle_settings();
        shard
    }
}
