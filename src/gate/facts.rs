//! The facts word: what is true of the shard right now and forbids some commands.
//! Zero, the usual case, skips every gate that depends on it with one branch.

/// A set of facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts(u32);

impl Facts {
    /// Nothing forbids anything.
    pub const NONE: Facts = Facts(0);
    /// More memory is used than `maxmemory`, and nothing may be evicted.
    pub const OUT_OF_MEMORY: Facts = Facts(1 << 0);

    /// There are fewer good replicas than `min-replicas-to-write`.
    pub const FEW_REPLICAS: Facts = Facts(1 << 1);

    /// Keys of a file are still coming.
    pub const LOADING: Facts = Facts(1 << 2);

    /// Whether the fact holds.
    #[inline]
    pub const fn has(self, fact: Facts) -> bool {
        self.0 & fact.0 != 0
    }

    /// Whether no fact holds.
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// States whether the fact holds.
    pub fn set(&mut self, fact: Facts, holds: bool) {
        if holds {
            self.0 |= fact.0;
        } else {
            self.0 &= !fact.0;
        }
    }
}
