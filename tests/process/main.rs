//! Tests of the real binary as a process: common clients, bare sockets, signals, settings.
//!
//! Every test starts its own servers on free ports. If the machine lacks something (io_uring,
//! redis-cli), the test prints that it skips.

mod acl;
mod background;
mod certificates;
mod cli;
mod cluster;
mod command_base;
mod crash;
mod durable;
mod files;
mod http;
mod lent;
mod library;
mod life;
mod limits;
mod loadaof;
mod memory;
mod migrate;
mod moved_slots;
mod observing;
mod open_slots;
mod pubsub;
mod server;
mod settings;
mod slow_disk;
mod sockets;
mod tls;
mod tuning;
mod waitaof;
mod wire;

use server::{Server, Setup, drivers, wait_for};
use std::io::{Read, Write};
use std::sync::OnceLock;
use wire::Wire;

/// Waits until the server's log contains this text. The log is read from a pipe, so it may be
/// behind a reply.
fn logs(server: &Server, text: &str) -> bool {
    wait_for(|| server.logged(text))
}

/// Returns the setups: one and four shards, on each driver of this machine.
fn setups() -> Vec<Setup> {
    static DRIVERS: OnceLock<Vec<&'static str>> = OnceLock::new();
    let drivers = DRIVERS.get_or_init(drivers);
    let with = |driver: &'static str| [1, 4].map(|shards| Setup { shards, driver });
    drivers.iter().copied().flat_map(with).collect()
}

/// Runs a test with a fresh server of each setup.
fn on_each_setup(arguments: &[&str], test: impl Fn(&Server)) {
    for setup in setups() {
        println!("{setup:?}");
        test(&Server::start(setup, arguments));
    }
}

/// Connects to every shard, to some more than once: a new connection goes to the shard with the
/// fewest.
fn crowd(server: &Server) -> Vec<Wire> {
    (0..9).map(|_| Wire::connect(server.port)).collect()
}

impl<S: Read + Write> Wire<S> {
    /// Returns all further output until the server closes the connection.
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset ends the stream as well as an orderly close.
        let _ = self.stream.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }
}
