//! Replication from Annulet: a Valkey 9.1 follows it, and has what it has, in every moment.
//!
//! `ANNULET_PEER` names the Valkey server's program, else it is `valkey-server` on the PATH;
//! without one nothing is tested. Further settings from the environment:
//!
//! ```text
//!   ANNULET_REPL_REHEARSAL  1: a second Valkey stands in for Annulet, to test the tests
//!   ANNULET_REPL_SECONDS    how long `a_long_run` writes, which is left out by default      60
//! ```

mod between;
mod comeback;
mod follow;
mod link;
mod load;
mod long;
mod look;
#[path = "../differential/peer.rs"]
#[allow(dead_code)]
mod peer;
mod primary;
#[path = "../process/server.rs"]
#[allow(dead_code)]
mod server;
mod slow;
mod stream;
mod tools;
#[path = "../differential/wire.rs"]
#[allow(dead_code)]
mod wire;
