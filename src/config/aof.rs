//! Settings of the append-only file.

use super::card::{Kind, Setting, any_text, field};
use super::choice::AppendFsync;

const PERCENT_MAX: i128 = i32::MAX as i128;
const BYTES_MAX: i128 = i64::MAX as i128;

/// The cards of these settings.
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new("appendonly", Kind::Bool, "no", field!(appendonly))
        .shards_settle()
        .not_while_loading(),
    Setting::new(
        "appendfilename",
        Kind::Text(read_appendfilename),
        "appendonly.aof",
        field!(appendfilename),
    )
    .immutable(),
    Setting::new(
        "appenddirname",
        Kind::Text(read_appenddirname),
        "appendonlydir",
        field!(appenddirname),
    )
    .immutable(),
    Setting::new("appendfsync", Kind::Choice(AppendFsync::WORDS), "everysec", field!(appendfsync)),
    Setting::new("no-appendfsync-on-rewrite", Kind::Bool, "no", field!(no_appendfsync_on_rewrite)),
    Setting::new(
        "aof-rewrite-incremental-fsync",
        Kind::Bool,
        "yes",
        field!(aof_rewrite_incremental_fsync),
    ),
    Setting::new("aof-load-truncated", Kind::Bool, "yes", field!(aof_load_truncated)),
    Setting::new("aof-use-rdb-preamble", Kind::Bool, "yes", field!(aof_use_rdb_preamble)),
    Setting::new("aof-timestamp-enabled", Kind::Bool, "no", field!(aof_timestamp_enabled)),
    Setting::new("aof-disable-auto-gc", Kind::Bool, "no", field!(aof_disable_auto_gc)).hidden(),
    Setting::new(
        "auto-aof-rewrite-percentage",
        Kind::Int(0, PERCENT_MAX),
        "100",
        field!(auto_aof_rewrite_percentage),
    ),
    Setting::new(
        "auto-aof-rewrite-min-size",
        Kind::Memory(0, BYTES_MAX),
        "64mb",
        field!(auto_aof_rewrite_min_size),
    ),
];

fn read_appendfilename(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    let path = "appendfilename can't be a path, just a filename";
    base_name(name, "appendfilename can't be empty", path)
}

fn read_appenddirname(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    let path = "appenddirname can't be a path, just a dirname";
    base_name(name, "appenddirname can't be empty", path)
}

fn base_name(
    name: &[u8],
    empty: &'static str,
    path: &'static str,
) -> Result<Vec<u8>, &'static str> {
    if name.is_empty() {
        return Err(empty);
    }
    if name.contains(&b'/') || name.contains(&b'\\') {
        return Err(path);
    }
    any_text(name)
}
