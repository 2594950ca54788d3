//! Settings of the data files.

use super::card::{Applied, Kind, Setting, Value, any_text, field};
use super::choice::RdbVersionCheck;
use super::number::parse_loose;

/// One point of `save`: a snapshot is taken after this many seconds with this many changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    /// At least 1.
    pub seconds: u64,
    /// Changes since the last snapshot.
    pub changes: u64,
}

const DELAY: Kind = Kind::Int(i32::MIN as i128, i32::MAX as i128);

/// The cards of these settings.
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new("save", Kind::Words(read_save), "3600 1 300 100 60 10000", field!(save)),
    Setting::new("dir", Kind::Directory, "./", field!(dir))
        .apply(Applied::Directory)
        .protected()
        .not_while_loading(),
    Setting::new("dbfilename", Kind::Text(read_dbfilename), "dump.rdb", field!(dbfilename))
        .protected(),
    Setting::new("rdbcompression", Kind::Bool, "yes", field!(rdbcompression)),
    Setting::new(
        "rdb-version-check",
        Kind::Choice(RdbVersionCheck::WORDS),
        "strict",
        field!(rdb_version_check),
    ),
    Setting::new(
        "stop-writes-on-bgsave-error",
        Kind::Bool,
        "yes",
        field!(stop_writes_on_bgsave_error),
    ),
    Setting::new(
        "rdb-save-incremental-fsync",
        Kind::Bool,
        "yes",
        field!(rdb_save_incremental_fsync),
    ),
    Setting::new("rdb-key-save-delay", DELAY, "0", field!(rdb_key_save_delay)).hidden(),
    Setting::new("rdbchecksum", Kind::Bool, "yes", field!(rdbchecksum)).immutable(),
];

/// Parses pairs of seconds and changes; one empty argument means no points.
fn read_save(args: &[&[u8]], _: &Value) -> Result<Value, String> {
    if let [b""] = args {
        return Ok(Value::Save(Vec::new()));
    }
    let read = |pair: &[&[u8]]| {
        let [seconds, changes] = pair else { return None };
        let number = |word| parse_loose(word, 10).and_then(|n| u64::try_from(n).ok());
        let (seconds, changes) = (number(seconds)?, number(changes)?);
        (seconds >= 1).then_some(SavePoint { seconds, changes })
    };
    let points: Option<Vec<SavePoint>> = args.chunks(2).map(read).collect();
    points.map(Value::Save).ok_or_else(|| "Invalid save parameters".to_owned())
}

fn read_dbfilename(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.is_empty() {
        return Err("dbfilename can't be empty");
    }
    if name.contains(&b'/') || name.contains(&b'\\') {
        return Err("dbfilename can't be a path, just a filename");
    }
    any_text(name)
}
