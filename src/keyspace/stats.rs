//! Counters of a slice.

/// Counters of one slice since its creation or the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Lookups that found their key.
    pub hits: u64,
    /// Lookups that found no key.
    pub misses: u64,
    /// Expired keys removed when a command accessed them.
    pub expired_lazy: u64,
    /// Expired keys removed without an access.
    pub expired_active: u64,
    /// Hash fields that were removed because they had expired, or were replaced after that.
    pub expired_fields: u64,
    /// Keys that were evicted because memory was full.
    pub evicted: u64,
    /// Values that were freed in small steps.
    pub freed_values: u64,
    /// Commands that have removed all keys.
    pub flushes: u64,
    /// Entries that compactions have moved.
    pub moved: u64,
    /// Entries that compactions have passed and not moved.
    pub not_moved: u64,
}

impl Stats {
    /// Returns the number of expired keys that were removed.
    pub fn expired(&self) -> u64 {
        self.expired_lazy + self.expired_active
    }
}
