//! The shard: its parts, and how it is made.

use super::blocking::Blocking;
use super::blocking::pause::Pausing;
use super::connections::accept::Acceptor;
use super::connections::limits::Clients;
use super::connections::queues::Queues;
use super::connections::table::Connections;
use super::cron::Cron;
use super::local::gather::Batch;
use super::remote::Remote;
use super::replication::Replication;
use super::replication::barrier::Barriers;
use super::telemetry::Telemetry;
use super::transaction::Transactions;
use crate::base::rng::Rng;
use crate::exec::Process;
use crate::feed::Feed;
use crate::io::Driver;
use crate::mesh::Port;
use crate::partition::{Berths, Env, Holding, Partition};
use crate::snapshot;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// A shard, run by one thread.
pub struct Shard {
    pub(super) env: Env,
    /// Its partition, which it holds but while it is parked.
    pub(super) partition: Holding,
    /// Where partitions lie while their shards are parked.
    pub(super) berths: Berths,
    /// Its door to the kernel.
    pub(super) driver: Box<dyn Driver>,
    /// Its way to the other shards.
    pub(super) port: Port,
    pub(super) rng: Rng,
    pub(super) connections: Connections,
    /// Connections with something to do.
    pub(super) queues: Queues,
    /// The batch under work.
    pub(super) batch: Batch,
    /// What is on its way to other shards, or was.
    pub(super) remote: Remote,
    /// Transactions of its connections.
    pub(super) transactions: Transactions,
    /// Its connections' commands that block.
    pub(super) blocking: Blocking,
    /// The pause of clients' commands.
    pub(super) pausing: Pausing,
    /// Barriers over all partitions that it has posted.
    pub(super) barriers: Barriers,
    /// Its replicas, and the feed that they read.
    pub(super) replication: Replication,
    /// Keys of the file that is read at the start.
    pub(super) intake: Option<Receiver<snapshot::Batch>>,
    /// Limits of clients.
    pub(super) clients: Clients,
    /// What it does by the clock.
    pub(super) cron: Cron,
    /// Sockets that wait for their shard.
    pub(super) accept: Acceptor,
    /// Traced requests, and connections that monitor.
    pub(super) telemetry: Telemetry,
}

/// What a shard is made of.
pub struct ShardParts {
    /// Its number.
    pub me: usize,
    /// Its door to the kernel.
    pub driver: Box<dyn Driver>,
    /// Its way to the others.
    pub port: Port,
    /// Where partitions lie while their shards are parked.
    pub berths: Berths,
    /// What it shares with the process.
    pub process: Arc<Process>,
    /// The feed that all shards write to.
    pub feed: Arc<Feed>,
    /// Where its random numbers start.
    pub seed: u64,
    /// The seed of the hash of keys.
    pub hash_seed: [u64; 2],
}

impl Shard {
    /// Returns a shard with an empty partition and no connections.
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
            intake: None,
            clients: Clients::default(),
            cron: Cron::default(),
            accept: Acceptor::default(),
            telemetry: Telemetry::default(),
        };
        shard.settle_settings();
        shard
    }
}
