//! All keys as one file: what each shard gives, how that becomes a file, and how a file becomes
//! keys again.
//!
//! Must not know: sockets, other shards. Slices are handed in one by one.

mod file;
mod image;
mod load;

pub use file::write_file;
#[cfg(test)]
pub(crate) use image::tests as testing;
pub use image::{Share, Snapshot, SnapshotReader, save_slice};
pub use load::{Batch, FileReader, LoadRules, Loaded, Trust, keep_fact, load_batch, load_body};
