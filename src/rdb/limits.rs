//! The size limits of the compact encodings, for all types.

use crate::config::Config;
use crate::value::{hash, list, set, sorted_set};

/// The limits from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Limits of lists.
    pub list: list::Limits,
    /// Limits of sets.
    pub set: set::Limits,
    /// Limits of sorted sets.
    pub sorted_set: sorted_set::Limits,
    /// Limits of hashes.
    pub hash: hash::Limits,
}

impl Limits {
    /// Returns the limits of a configuration.
    pub fn of(config: &Config) -> Limits {
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Limits {
            list: list::Limits { node_size: config.list_max_listpack_size },
            set: set::Limits {
                intset_entries: size(config.set_max_intset_entries),
                listpack_entries: size(config.set_max_listpack_entries),
                listpack_value: size(config.set_max_listpack_value),
            },
            sorted_set: sorted_set::Limits {
                listpack_entries: size(config.zset_max_listpack_entries),
                listpack_value: size(config.zset_max_listpack_value),
            },
            hash: hash::Limits {
                listpack_entries: size(config.hash_max_listpack_entries),
                listpack_value: size(config.hash_max_listpack_value),
            },
        }
    }
}
