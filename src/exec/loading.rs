//! The stages of loading, at the start or by DEBUG LOADAOF.
//!
//! ```text
//!   no load --begin--> Keys --all shards have their keys--> Commands --end_commands--> Ending
//!      ^                 '--nothing but keys is loaded--.                                |
//!      '------------------------------------------------'-----all shards record again----'
//! ```

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// A stage of loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LoadStage {
    /// Nothing is loaded.
    None = 0,
    /// Shards receive the keys of a file.
    Keys = 1,
    /// One connection sends the commands of the append-only file.
    Commands = 2,
    /// Shards begin to propagate, because all commands are loaded.
    Ending = 3,
}

/// The stage of loading, and the shards that have not finished it.
#[derive(Debug, Default)]
pub struct LoadProgress {
    stage: AtomicU8,
    pending: AtomicUsize,
    /// Stage that follows the keys.
    after_keys: AtomicU8,
}

impl LoadProgress {
    /// Records that all shards begin to load. With `has_commands` the commands of an append-only
    /// file follow the keys. Returns false if they load already.
    pub fn begin(&self, shards: usize, has_commands: bool) -> bool {
        let (none, keys) = (LoadStage::None as u8, LoadStage::Keys as u8);
        if self.stage.compare_exchange(none, keys, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return false;
        }
        let next = if has_commands { LoadStage::Commands } else { LoadStage::None };
        self.after_keys.store(next as u8, Ordering::SeqCst);
        self.pending.store(shards, Ordering::SeqCst);
        true
    }

    /// Returns whether the commands of an append-only file follow the keys.
    pub fn has_commands(&self) -> bool {
        self.after_keys.load(Ordering::Relaxed) == LoadStage::Commands as u8
    }

    /// Records that all commands are loaded: every shard begins to propagate.
    pub fn end_commands(&self, shards: usize) {
        assert!(self.stage() == LoadStage::Commands, "commands follow the keys");
        self.pending.store(shards, Ordering::SeqCst);
        self.stage.store(LoadStage::Ending as u8, Ordering::SeqCst);
    }

    /// Records that one shard has finished the stage.
    pub fn shard_done(&self) {
        let before = self.pending.fetch_sub(1, Ordering::SeqCst);
        assert!(before > 0, "each shard finishes a stage once");
        if before == 1 {
            let next = match self.stage() {
                LoadStage::Keys => self.after_keys.load(Ordering::SeqCst),
                _ => LoadStage::None as u8,
            };
            self.stage.store(next, Ordering::SeqCst);
        }
    }

    /// Returns the stage.
    pub fn stage(&self) -> LoadStage {
        match self.stage.load(Ordering::SeqCst) {
            0 => LoadStage::None,
            1 => LoadStage::Keys,
            2 => LoadStage::Commands,
            _ => LoadStage::Ending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_follow_each_other() {
        let progress = LoadProgress::default();
        assert_eq!(progress.stage(), LoadStage::None);
        assert!(progress.begin(2, true) && !progress.begin(2, true));
        progress.shard_done();
        assert_eq!(progress.stage(), LoadStage::Keys);
        progress.shard_done();
        assert_eq!(progress.stage(), LoadStage::Commands);
        progress.end_commands(1);
        assert_eq!(progress.stage(), LoadStage::Ending);
        progress.shard_done();
        assert_eq!(progress.stage(), LoadStage::None);
        assert!(progress.begin(1, false));
        progress.shard_done();
        assert_eq!(progress.stage(), LoadStage::None);
    }
}
