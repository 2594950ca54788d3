//! Settings of the compact encodings of collections: the sizes up to which they are used.

use super::card::{Kind, Setting, field};

const LONG_MAX: i128 = i64::MAX as i128;
const COUNT: Kind = Kind::Int(0, LONG_MAX);
const MEMORY: Kind = Kind::Memory(0, LONG_MAX);
const INT: Kind = Kind::Int(i32::MIN as i128, i32::MAX as i128);

/// The cards of these settings.
#[rustfmt::skip]
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new("hash-max-listpack-entries", COUNT, "512", field!(hash_max_listpack_entries))
        .alias("hash-max-ziplist-entries"),
    Setting::new("hash-max-listpack-value", MEMORY, "64", field!(hash_max_listpack_value))
        .alias("hash-max-ziplist-value"),
    Setting::new("set-max-intset-entries", COUNT, "512", field!(set_max_intset_entries)),
    Setting::new("set-max-listpack-entries", COUNT, "128", field!(set_max_listpack_entries)),
    Setting::new("set-max-listpack-value", COUNT, "64", field!(set_max_listpack_value)),
    Setting::new("zset-max-listpack-entries", COUNT, "128", field!(zset_max_listpack_entries))
        .alias("zset-max-ziplist-entries"),
    Setting::new("zset-max-listpack-value", MEMORY, "64", field!(zset_max_listpack_value))
        .alias("zset-max-ziplist-value"),
    Setting::new("list-max-listpack-size", INT, "-2", field!(list_max_listpack_size))
        .alias("list-max-ziplist-size"),
    Setting::new("stream-node-max-bytes", MEMORY, "4096", field!(stream_node_max_bytes)),
    Setting::new("stream-node-max-entries", COUNT, "100", field!(stream_node_max_entries)),
    Setting::new("hll-sparse-max-bytes", MEMORY, "3000", field!(hll_sparse_max_bytes)),
];
