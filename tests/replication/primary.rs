//! The primary under test, and the replicas that follow it.

use super::peer::Peer;
use super::server::{Server, Setup};
use super::support::{connect, wait_for_link};
use super::wire::Wire;

/// Arguments of all primaries here: a replica is served at once.
const ARGUMENTS: &[&str] = &["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"];

/// Annulet, or the Valkey that replaces it in a rehearsal.
pub enum Primary {
    Annulet(Server),
    StandIn(Peer),
}

/// Whether a Valkey replaces Annulet: a failure is then a fault of the test.
pub fn is_rehearsal() -> bool {
    std::env::var("ANNULET_REPL_REHEARSAL").is_ok_and(|value| value == "1")
}

impl Primary {
    pub fn start(program: &str, shards: usize, arguments: &[&str]) -> Primary {
        let arguments = [ARGUMENTS, arguments].concat();
        if is_rehearsal() {
            return Primary::StandIn(Peer::start_with(program, &arguments));
        }
        Primary::Annulet(Server::start(Setup { shards, driver: "auto" }, &arguments))
    }

    pub fn port(&self) -> u16 {
        match self {
            Primary::Annulet(server) => server.port,
            Primary::StandIn(peer) => peer.port,
        }
    }

    pub fn log(&self) -> String {
        match self {
            Primary::Annulet(server) => server.log(),
            Primary::StandIn(peer) => peer.log(),
        }
    }

    pub fn connect(&self) -> Wire {
        connect(self.port())
    }

    /// Starts a Valkey that follows this primary, and waits for its link.
    pub fn follow(&self, program: &str) -> (Peer, Wire) {
        let replica =
            Peer::start_with(program, &["--replicaof", "127.0.0.1", &self.port().to_string()]);
        let mut wire = connect(replica.port);
        wait_for_link(&mut wire);
        (replica, wire)
    }
}
