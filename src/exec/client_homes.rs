//! Where the connections of all clients are, by client id.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHome {
    /// The client's home shard.
    pub shard: u16,
    /// Number of the connection at its home.
    pub conn: u32,
    /// Distinguishes a reused connection number from its predecessor.
    pub generation: u32,
}

/// The connections of all clients. Connecting and disconnecting take the lock for an instant.
#[derive(Debug, Default)]
pub struct ClientHomes {
    homes: Mutex<HashMap<u64, ClientHome>>,
}

impl ClientHomes {
    /// Records that a client has connected.
    pub fn add(&self, id: u64, home: ClientHome) {
        self.lock().insert(id, home);
    }

    /// Records that a client's connection is closing.
    pub fn remove(&self, id: u64) {
        self.lock().remove(&id);
    }

    /// Returns the connection of a client, if it is connected.
    pub fn find(&self, id: u64) -> Option<ClientHome> {
        self.lock().get(&id).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, ClientHome>> {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
