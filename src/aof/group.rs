//! Group commit under `appendfsync always`: how long a write waits for further bytes, so that one
//! sync makes the commands of all clients durable.
//!
//! Without a wait the clients fall into two groups. While the commands of one are synced, those of
//! the other collect, and each sync serves half of the clients:
//!
//! ```text
//!   without    sync A | sync B | sync A | sync B |
//!   with       sync A |..sync A and B |..sync A and B |     .. replies leave, commands come
//! ```
//! The wait ends when as many bytes have come since the last sync as that sync made durable: its
//! clients are back. It ends at the latest after a quarter of the time that the sync took.

use super::limits::{GATHER_NS_MAX, GATHERED_SYNC_NS_MIN};
use std::time::Duration;

/// How long the thread sleeps between two looks at the stream.
const LOOK: Duration = Duration::from_micros(50);

/// What is known of the last sync that replies waited for.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Nanoseconds that it took.
    took_ns: u64,
    /// Monotonic nanoseconds at its end.
    ended_ns: u64,
    /// Bytes that it made durable.
    bytes: u64,
    /// The end of the stream then.
    end: u64,
}

impl Group {
    /// Records a sync of `bytes` bytes, during which the stream has grown up to `end`.
    pub(super) fn synced(&mut self, (began_ns, ended_ns): (u64, u64), bytes: u64, end: u64) {
        *self = Group { took_ns: ended_ns - began_ns, ended_ns, bytes, end };
    }

    /// Waits for further bytes of the stream, whose end is `end`. `now_ns` is the present time.
    pub(super) fn gather(&self, now_ns: u64, end: impl Fn() -> u64) {
        for _ in 0..self.looks(now_ns) {
            if end() - self.end >= self.bytes {
                break;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Returns how often it looks at the stream at most.
    fn looks(&self, now_ns: u64) -> u64 {
        if self.took_ns < GATHERED_SYNC_NS_MIN {
            return 0;
        }
        let until_ns = self.ended_ns + (self.took_ns / 4).min(GATHER_NS_MAX);
        until_ns.saturating_sub(now_ns) / LOOK.as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const MS: u64 = 1_000_000;

    /// Returns how often a group looks at a stream that grows by `step` bytes with each look.
    fn looks(group: &Group, now_ns: u64, step: u64) -> u64 {
        let count = Cell::new(0);
        group.gather(now_ns, || {
            count.set(count.get() + 1);
            group.end + count.get() * step
        });
        count.get()
    }

    #[test]
    fn a_write_waits_for_the_clients_of_the_last_sync() {
        let mut group = Group::default();
        assert_eq!(looks(&group, 0, 0), 0, "there was no sync");
        group.synced((10 * MS, 11 * MS), 100, 1_000);
        assert_eq!(looks(&group, 11 * MS, 20), 5, "they have come back");
        assert_eq!(looks(&group, 11 * MS, 0), 5, "a quarter of the time of the sync is over");
        assert_eq!(looks(&group, 11 * MS + MS / 5, 0), 1);
        assert_eq!(looks(&group, 12 * MS, 0), 0, "it is over already");
        group.synced((0, 1_000 * MS), 100, 1_000);
        let most = GATHER_NS_MAX / LOOK.as_nanos() as u64;
        assert_eq!(group.looks(1_000 * MS), most, "a very slow disk");
        group.synced((0, MS / 20), 100, 1_000);
        assert_eq!(looks(&group, MS / 20, 0), 0, "a fast disk needs no groups");
    }
}
