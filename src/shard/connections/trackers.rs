//! Which connections of a shard are tracking.

use crate::exec::PrefixSet;
use crate::io::ConnId;
use crate::mesh::ClientRef;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The tracking clients of a shard.
#[derive(Debug, Default)]
pub(in crate::shard) struct TrackingClients {
    /// The prefixes of each tracking client; none outside of broadcasting mode.
    clients: HashMap<ConnId, PrefixSet>,
    /// Connections whose replies wait until units have ended, with the last ticket of these units.
    pub(super) unsettled: Vec<(ClientRef, u64)>,
    /// A ticket below which all units had ended when the inbox was last drained.
    pub(super) settled_below: u64,
    /// The clients with each prefix.
    by_prefix: HashMap<Arc<[u8]>, BTreeSet<ConnId>>,
}

impl TrackingClients {
    /// Returns what is noted about a connection: its prefixes, or none if it is not tracking.
    pub(super) fn noted(&self, conn: ConnId) -> Option<&PrefixSet> {
        self.clients.get(&conn)
    }

    /// Notes the prefixes of a connection; none if it is not tracking.
    pub(super) fn note(&mut self, conn: ConnId, new: Option<&PrefixSet>) {
        for prefix in self.clients.remove(&conn).into_iter().flatten() {
            let clients = self.by_prefix.get_mut(&prefix).expect("each prefix is noted");
            clients.remove(&conn);
            if clients.is_empty() {
                self.by_prefix.remove(&prefix);
            }
        }
        let Some(prefixes) = new else { return };
        for prefix in prefixes {
            self.by_prefix.entry(Arc::clone(prefix)).or_default().insert(conn);
        }
        self.clients.insert(conn, prefixes.clone());
    }

    /// Returns the tracking clients, in the order of their connection numbers.
    pub(super) fn all(&self) -> BTreeSet<ConnId> {
        self.clients.keys().copied().collect()
    }

    /// Returns the clients with a prefix, in the order of their connection numbers.
    pub(super) fn with_prefix(&self, prefix: &[u8]) -> Vec<ConnId> {
        self.by_prefix.get(prefix).into_iter().flatten().copied().collect()
    }
}
