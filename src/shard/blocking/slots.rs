//! What clients are told after slots have left this node of a cluster: their subscriptions to
//! channels of these slots end, and commands that wait for their keys are redirected.

use crate::base::slot::slot_of;
use crate::client::{GivingUp, Waiting};
use crate::cluster::{Nodes, Opening};
use crate::exec::Process;
use crate::gate::{SlotUse, UNKNOWN_CLIENT, check_slot};
use crate::io::ConnId;
use crate::pubsub::Sort;
use crate::resp::Error;
use crate::shard::state::Shard;
use bytes::Bytes;

impl Shard {
    /// Looks for clients of slots that have left, if any slot has changed since the last look.
    pub(in crate::shard) fn heed_slots(&mut self) {
        if !self.env.process.is_cluster {
            return;
        }
        let process = std::sync::Arc::clone(&self.env.process);
        let Some(cluster) = process.cluster.get() else { return };
        let version = cluster.version();
        if std::mem::replace(&mut self.blocking.slots_version, version) == version {
            return;
        }
        let nodes = cluster.nodes();
        let has_channels = |channels: &u32| *channels > 0;
        let subscribed = self.connections.iter().filter(|(_, connection)| {
            has_channels(&connection.session.subscriptions[Sort::ShardChannel as usize])
        });
        let subscribed: Vec<ConnId> = subscribed.map(|(conn, _)| conn).collect();
        for conn in subscribed {
            self.end_lost_subscriptions(conn, &nodes);
        }
        let waits = self.connections.iter().filter(|(_, connection)| {
            let wait = connection.blocked.as_ref().and_then(|blocked| blocked.wait.as_ref());
            wait.is_some_and(|wait| refusal_of_wait(wait, &nodes, &process).is_some())
        });
        let waits: Vec<ConnId> = waits.map(|(conn, _)| conn).collect();
        for conn in waits {
            self.give_up(conn, GivingUp::Redirected);
        }
    }

    fn end_lost_subscriptions(&mut self, conn: ConnId, nodes: &Nodes) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(subscriptions) = &connection.subscriptions else { return };
        let mut lost: Vec<Bytes> = subscriptions.of(Sort::ShardChannel);
        lost.retain(|name| !nodes.is_mine(slot_of(name)));
        if lost.is_empty() || connection.is_closing {
            return;
        }
        let told = self.unsubscribe(conn, Sort::ShardChannel, Some(lost), false);
        self.confirm(conn, &told);
    }

    /// Returns the error of a command that waits for keys of a slot which has left.
    pub(super) fn redirection_of(&self, wait: &Waiting) -> Option<Error> {
        let process = &self.env.process;
        let nodes = process.cluster.get()?.nodes();
        refusal_of_wait(wait, &nodes, process)
    }
}

/// Returns why this node does not serve the keys that a command waits for.
fn refusal_of_wait(wait: &Waiting, nodes: &Nodes, process: &Process) -> Option<Error> {
    let args = wait.args.as_ref()?;
    let keys = wait.entry.command.card.used_args(args.len(), |at| &args[at])?;
    let (first, _) = keys.first()?;
    let slot = slot_of(&args[*first]);
    let is_imported = matches!(nodes.opening(slot), Some(Opening::Importing(_)));
    let slot_use = SlotUse::of(wait.entry, slot, is_imported);
    check_slot(nodes, slot_use, process, UNKNOWN_CLIENT).err()
}
