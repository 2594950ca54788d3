//! The append-only file: its folder on disk, and the commands in its files.
//!
//! Must not know: sockets, shards, the effect of commands.
//!
//! ```text
//!   appendonlydir/
//!     appendonly.aof.manifest      the list of all files; replaced by a rename
//!     appendonly.aof.2.base.rdb    the keys at the moment of the last rewrite
//!     appendonly.aof.5.incr.aof    the commands since then
//! ```

mod check;
mod folder;
mod group;
mod incr;
mod intakes;
pub mod limits;
mod manifest;
mod reader;
mod rewrite;
#[cfg(test)]
mod simulated;
mod start;
mod storage;
mod sync;
mod writer;

pub use check::{CheckOptions, check_aof};
pub use folder::{Folder, ManifestError, read_manifest_at};
pub use intakes::Intakes;
pub use manifest::{FileEntry, Manifest, ManifestFault, Role};
pub use reader::{AofReader, Found, ReadFault};
pub use writer::{Reloader, Writer};
