//! WATCH: the partition that owns a key keeps the watches on it.

use super::absence::Late;
use super::partition::Partition;

impl Partition {
    /// Watches keys for a client.
    pub fn watch(&mut self, client: u64, db: usize, keys: &[Vec<u8>]) {
        for key in keys {
            let key = self.slice.key(key);
            self.slice.watch(client, db, &key);
        }
        self.publish_watched();
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
