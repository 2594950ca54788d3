//! The real binary, from outside: clients that the world uses, bare sockets, signals, settings.
//!
//! Every test starts servers of its own on free ports. What this machine lacks (io_uring,
//! redis-cli) is skipped with a printed line.

mod background;
mod cli;
mod crash;
mod files;
mod http;
mod library;
mod life;
mod limits;
mod observing;
mod server;
mod settings;
mod sockets;
mod tuning;
mod wire;

use server::{Server, Setup, drivers};
use std::io::{Read, Write};
use std::sync::OnceLock;
use wire::Wire;

/// One and four shards, over each driver of this machine.
fn setups() -> Vec<Setup> {
    static DRIVERS: OnceLock<Vec<&'static str>> = OnceLock::new();
    let drivers = DRIVERS.get_or_init(drivers);
    let with = |driver: &'static str| [1, 4].map(|shards| Setup { shards, driver });
    drivers.iter().copied().flat_map(with).collect()
}

/// Runs a test against a fresh server of each setup.
fn on_each_setup(arguments: &[&str], test: impl Fn(&Server)) {
    for setup in setups() {
        println!("{setup:?}");
        test(&Server::start(setup, arguments));
    }
}

/// Connects to each shard and some more: one connection goes to the shard with the fewest.
fn crowd(server: &Server) -> Vec<Wire> {
    (0..9).map(|_| Wire::connect(server.port)).collect()
}

impl<S: Read + Write> Wire<S> {
    /// All that still comes until the server closes the connection.
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset ends the stream as well as an orderly end does.
        let _ = self.stream.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }
}
