//! Snapshots: combines the keys of all shards in one file, and loads keys from a file.
//!
//! Must not know: sockets, other shards. Slices are passed in one by one.

mod commands;
mod disk;
mod image;
mod limits;
mod load;
mod share;

pub use disk::{CommandRules, FileOrder, FileWriter, Written};
#[cfg(test)]
pub(crate) use image::tests as testing;
pub use image::{Bell, FileBody, NextPiece, Snapshot, SnapshotReader};
pub use load::{Batch, FileReader, LoadRules, Loaded, Trust, keep_fact, load_batch, load_body};
pub use share::{Lent, Share, ShareWriter, save_slice};

/// Version of Valkey whose behaviour this server has, as files name it.
pub const VALKEY_VERSION: &str = "9.1.0";
