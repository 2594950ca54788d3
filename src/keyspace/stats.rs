//! What a slice counts.

/// Counters of one slice since its start, or since they were reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Lookups that found their key.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Keys removed because somebody asked for them when they were due.
    pub expired_lazy: u64,
    /// Keys removed because they were due, without being asked for.
    pub expired_active: u64,
    /// Fields of hashes removed because they were due, or replaced when they were.
    pub expired_fields: u64,
    /// Values that were freed bit by bit.
    pub freed_values: u64,
}

impl Stats {
    /// Keys removed because they were due.
    pub fn expired(&self) -> u64 {
        self.expired_lazy + self.expired_active
    }
}
