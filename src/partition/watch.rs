//! WATCH: the partition that owns a key keeps the watches on it.

use super::absence::Late;
use super::partition::Partition;
use crate::exec::{KeyLock, Mode, Scope};

impl Partition {
    /// Watches keys for a client.
    pub fn watch(&mut self, client: u64, db: usize, keys: &[Vec<u8>]) {
        for key in keys {
            let key = self.slice.key(key);
            self.slice.watch(client, db, &key);
        }
        self.publish_watched();
    }

    /// Returns the locks under which keys begin to be watched, which are the locks of a reader. So
    /// the watch comes after every unit whose effects the client has seen, also if the unit is not
    /// over here.
    pub(super) fn watch_locks(&self, keys: &[Vec<u8>]) -> Vec<KeyLock> {
        let lock = |key: &Vec<u8>| {
            let scope = Scope::Key { db: 0, hash: self.slice.key(key).hash };
            KeyLock { scope, mode: Mode::Shared }
        };
        keys.iter().map(lock).collect()
    }

    /// Removes the client's watches on this partition.
    pub fn unwatch(&mut self, client: u64) {
        if self.is_away() {
            return self.do_later(Late::Unwatch(client));
        }
        self.slice.unwatch(client);
        self.publish_watched();
    }

    /// Returns whether a key that the client watches here was changed.
    pub fn is_watch_broken(&mut self, client: u64) -> bool {
        self.slice.is_watch_broken(client)
    }

    fn publish_watched(&self) {
        self.env.board.gauges.keys_watched.set(self.slice.watched_keys() as i64);
    }
}
