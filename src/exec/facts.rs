//! The facts: a 32-bit set of the conditions that currently forbid some commands on a shard. The
//! usual value is zero; one branch on it skips all gates that depend on the facts.

use crate::spec::Flag;

/// A set of facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts(u32);

impl Facts {
    /// No fact holds.
    pub const NONE: Facts = Facts(0);
    /// Memory use exceeds `maxmemory`, and no key may be evicted.
    pub const OUT_OF_MEMORY: Facts = Facts(1 << 0);

    /// There are fewer good replicas than `min-replicas-to-write`.
    pub const FEW_REPLICAS: Facts = Facts(1 << 1);

    /// The server is still loading a file.
    pub const LOADING: Facts = Facts(1 << 2);

    /// CLIENT PAUSE postpones commands that may write.
    pub const PAUSED_WRITES: Facts = Facts(1 << 3);

    /// CLIENT PAUSE postpones all commands of clients.
    pub const PAUSED_ALL: Facts = Facts(1 << 4);

    /// The client is a replica of this server.
    pub const OF_REPLICA: Facts = Facts(1 << 5);

    /// A script has run longer than `busy-reply-threshold`.
    pub const BUSY: Facts = Facts(1 << 6);

    /// The data cannot be written to disk.
    pub const DISK_ERROR: Facts = Facts(1 << 7);

    /// The process is a node of a cluster, or the client has connected to the port of one shard. So
    /// a command may have to go to another node.
    pub const CLUSTER: Facts = Facts(1 << 8);

    /// Hash slots move to other partitions, so commands on keys wait.
    pub const MOVING: Facts = Facts(1 << 9);

    /// Some commands are postponed.
    pub const HELD: Facts = Facts(Facts::PAUSED_WRITES.0 | Facts::MOVING.0);

    /// Returns whether no other fact holds than [`Facts::CLUSTER`].
    #[inline]
    pub const fn is_only_cluster(self) -> bool {
        self.0 & !Facts::CLUSTER.0 == 0
    }

    /// Returns the facts of both sets.
    #[inline]
    pub const fn and(self, other: Facts) -> Facts {
        Facts(self.0 | other.0)
    }

    /// Returns whether a client's command with these flags waits until CLIENT PAUSE ends.
    #[inline]
    pub fn postpones(self, flags: Flag) -> bool {
        let may_write = || flags.has(Flag::WRITE) || flags.has(Flag::MAY_REPLICATE);
        self.has(Facts::PAUSED_WRITES) && (self.has(Facts::PAUSED_ALL) || may_write())
    }

    /// Returns whether the fact holds.
    #[inline]
    pub const fn has(self, fact: Facts) -> bool {
        self.0 & fact.0 != 0
    }

    /// Returns whether no fact holds.
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Sets whether the fact holds.
    pub fn set(&mut self, fact: Facts, holds: bool) {
        if holds {
            self.0 |= fact.0;
        } else {
            self.0 &= !fact.0;
        }
    }
}
