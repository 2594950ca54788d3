//! Replication from Annulet: a Valkey 9.1 follows it, and has what it has, in every moment.
//!
//! `ANNULET_PEER` names the Valkey server's program, else it is `valkey-server` on the PATH;
//! without one nothing is tested. Further settings from the environment:
//!
//! ```text
//!   ANNULET_REPL_REHEARSAL  1: a second Valkey stands in for Annulet, to test the tests     0
//!   ANNULET_REPL_SEED       what the random commands follow from                            1
//!   ANNULET_REPL_SHARDS     shards of Annulet, divided by commas                            1,4
//!   ANNULET_REPL_SECONDS    how long `a_long_run` writes, which is left out by default      60
//! ```

mod cross_shard;
mod follow;
mod link;
mod load;
mod long;
#[path = "../differential/peer.rs"]
#[allow(dead_code)]
mod peer;
mod primary;
mod resync;
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

/// The numbers in a variable of the environment.
fn numbers(name: &str, default: &str) -> Vec<u64> {
    let text = std::env::var(name).unwrap_or_else(|_| default.to_string());
    let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("{name}: {word:?}"));
    text.split(',').map(number).collect()
}

fn seed() -> u64 {
    numbers("ANNULET_REPL_SEED", "1")[0]
}

/// How many shards Annulet has, in each run of a test.
fn shards() -> Vec<usize> {
    numbers("ANNULET_REPL_SHARDS", "1,4").iter().map(|&number| number as usize).collect()
}
