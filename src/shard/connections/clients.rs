//! State of the clients of a shard: their bytes, limits and lists in progress.

use super::subscribers::Subscribers;
use super::trackers::TrackingClients;
use crate::client::Connection;
use crate::exec::ClientFilter;
use crate::io::ConnId;
use crate::mesh::Envelope;
use crate::observe::LineLimit;
use crate::shard::limits::{ATTACK_LINES_NS, CLOSE_LINES_MAX, CLOSE_LINES_NS};
use ahash::RandomState;
use std::collections::{BTreeSet, VecDeque};

/// Number of seconds over which INFO reports the largest buffers.
const PEAK_SECONDS: usize = 8;

/// Logarithm of the bytes below which all clients are in the smallest class.
pub(super) const CLASS_LOG_MIN: u32 = 15;

/// Logarithm of the bytes from which on all clients are in the largest class.
pub(super) const CLASS_LOG_MAX: u32 = 33;

pub(super) const CLASSES: usize = (CLASS_LOG_MAX - CLASS_LOG_MIN + 1) as usize;

/// State of client limits on a shard.
#[derive(Debug)]
pub(in crate::shard) struct Clients {
    /// Bytes of all connections and their buffers.
    pub(in crate::shard) buffered_bytes: usize,
    /// Limits the log lines about closed connections.
    pub(in crate::shard) log_limit: LineLimit,
    /// Limits the log lines about HTTP requests.
    pub(in crate::shard) attack_limit: LineLimit,
    /// State of `maxmemory-clients`.
    pub(in crate::shard) evicting: Evicting,
    /// Replies to CLIENT LIST that are being written.
    pub(in crate::shard) listings: VecDeque<Listing>,
    pub(super) peaks: Peaks,
    /// Next connection of the walk over all connections.
    pub(super) next: ConnId,
    /// Next connection whose spare buffers are released when memory is full.
    pub(in crate::shard) next_shrunk: ConnId,
    /// Exempt bytes of all connections: unsent output that no limit counts.
    pub(in crate::shard) passing_bytes: usize,
    /// Exempt amount: bytes of unsent output of a connection that no limit counts.
    pub(in crate::shard) output_bytes_free: usize,
    /// Connections with subscriptions.
    pub(in crate::shard) subscribers: Subscribers,
    /// Its tracking clients.
    pub(in crate::shard) trackers: TrackingClients,
    /// Bytes of unsent output of a connection above which its batches have one command.
    pub(in crate::shard) output_bytes_batched: usize,
    /// Connections whose next step of a handshake is due, with their generations; each once.
    pub(in crate::shard) handshakes: VecDeque<(ConnId, u32)>,
    /// Monotonic nanoseconds of the last step of a handshake.
    pub(in crate::shard) handshaken_ns: u64,
    /// Whether connections by TLS send nothing (DEBUG FORCE-TLS-WRITE-ERROR).
    pub(in crate::shard) is_tls_held: bool,
    /// Records of TLS that were received in this turn.
    pub(in crate::shard) records: u32,
}

impl Clients {
    /// Creates the state of a shard without clients. `hasher` hashes the names of channels.
    pub(in crate::shard) fn new(hasher: &RandomState) -> Clients {
        Clients {
            buffered_bytes: 0,
            log_limit: LineLimit::new(CLOSE_LINES_MAX, CLOSE_LINES_NS),
            attack_limit: LineLimit::new(1, ATTACK_LINES_NS),
            evicting: Evicting::default(),
            listings: VecDeque::new(),
            peaks: Peaks::default(),
            next: 0,
            next_shrunk: 0,
            passing_bytes: 0,
            output_bytes_free: 0,
            subscribers: Subscribers::new(hasher),
            trackers: TrackingClients::default(),
            output_bytes_batched: usize::MAX,
            handshakes: VecDeque::new(),
            handshaken_ns: 0,
            is_tls_held: false,
            records: 0,
        }
    }
}

/// Largest buffers of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Peaks {
    /// Bytes of input and of output, by second.
    seconds: [[usize; 2]; PEAK_SECONDS],
    second: u64,
}

impl Peaks {
    /// Begins a second. Clears the seconds that have passed since the last call.
    pub(super) fn begin(&mut self, second: u64) {
        let passed = (second - self.second).min(PEAK_SECONDS as u64);
        for at in 0..passed {
            self.seconds[(second - at) as usize % PEAK_SECONDS] = [0; 2];
        }
        self.second = second;
    }

    pub(super) fn see(&mut self, connection: &Connection) {
        let bytes = [connection.input.memory_bytes(), connection.outbox.pending_bytes()];
        let now = &mut self.seconds[self.second as usize % PEAK_SECONDS];
        for (most, bytes) in now.iter_mut().zip(bytes) {
            *most = bytes.max(*most);
        }
    }

    /// Returns the most bytes of input and of output.
    pub(super) fn most(&self) -> [usize; 2] {
        let most = |at: usize| self.seconds.iter().map(|second| second[at]).max().unwrap_or(0);
        [most(0), most(1)]
    }
}

/// State of client eviction on one shard.
#[derive(Debug, Default)]
pub(in crate::shard) struct Evicting {
    /// Limit for the bytes of all clients; none: no limit.
    pub(super) bytes_max: Option<u64>,
    /// Clients that may be evicted, by size class.
    pub(super) classes: [BTreeSet<ConnId>; CLASSES],
}

impl Evicting {
    /// Returns whether there is a limit.
    #[inline]
    pub(in crate::shard) fn is_on(&self) -> bool {
        self.bytes_max.is_some()
    }

    /// Returns the number of clients that may be evicted.
    pub(in crate::shard) fn evictable(&self) -> usize {
        self.classes.iter().map(BTreeSet::len).sum()
    }

    /// Returns the largest class with a client, counted from 1, and its first client. Returns 0 and
    /// none without clients.
    pub(super) fn largest(&self) -> (i64, Option<ConnId>) {
        let found = self.classes.iter().rposition(|class| !class.is_empty());
        found.map_or((0, None), |class| (class as i64 + 1, self.classes[class].first().copied()))
    }
}

/// A list in progress. At most one per connection of the process.
#[derive(Debug)]
pub(in crate::shard) struct Listing {
    pub(super) part: Box<Envelope>,
    /// Index of the requesting command in its transaction.
    pub(super) at: u32,
    pub(super) filter: Box<ClientFilter>,
    pub(super) text: Vec<u8>,
    /// The connection at which the next slice begins.
    pub(super) next: ConnId,
    pub(super) spent_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_kept_for_some_seconds() {
        let mut peaks = Peaks::default();
        peaks.begin(100);
        peaks.seconds[100 % PEAK_SECONDS] = [7, 3];
        peaks.begin(104);
        peaks.seconds[104 % PEAK_SECONDS] = [5, 4];
        peaks.begin(107);
        assert_eq!(peaks.most(), [7, 4]);
        peaks.begin(108);
        assert_eq!(peaks.most(), [5, 4]);
        peaks.begin(200);
        assert_eq!(peaks.most(), [0, 0]);
    }
}
