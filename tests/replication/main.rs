//! Replication from Annulet to a Valkey 9.1 replica: every state of the replica is one of the
//! primary's.
//!
//! `ANNULET_PEER` names the program of the Valkey server; the default is `valkey-server` on the
//! PATH. Without one nothing is tested. Further environment variables:
//!
//! ```text
//!   ANNULET_REPL_REHEARSAL  1: a second Valkey replaces Annulet, to test the tests         0
//!   ANNULET_REPL_SEED       seed of the random commands                                    1
//!   ANNULET_REPL_SHARDS     shards of Annulet, separated by commas                         1,4
//!   ANNULET_REPL_SECONDS    duration of `a_long_run`, which is ignored by default          60
//! ```

mod cross_shard;
mod follow;
mod large;
mod link;
mod load;
mod long;
#[path = "../differential/peer.rs"]
#[allow(dead_code)]
mod peer;
mod primary;
mod resync;
mod saved;
#[path = "../process/server.rs"]
#[allow(dead_code)]
mod server;
mod slow;
mod stream;
mod support;
mod tools;
#[path = "../differential/wire.rs"]
#[allow(dead_code)]
mod wire;

/// Returns the numbers in an environment variable.
fn numbers(name: &str, default: &str) -> Vec<u64> {
    let text = std::env::var(name).unwrap_or_else(|_| default.to_string());
    let number = |arg: &str| arg.parse().unwrap_or_else(|_| panic!("{name}: {arg:?}"));
    text.split(',').map(number).collect()
}

fn seed() -> u64 {
    numbers("ANNULET_REPL_SEED", "1")[0]
}

/// Returns the number of shards of Annulet in each run of a test.
fn shards() -> Vec<usize> {
    numbers("ANNULET_REPL_SHARDS", "1,4").iter().map(|&number| number as usize).collect()
}
