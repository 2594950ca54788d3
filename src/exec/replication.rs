//! Replication as commands see it: what a session reports about itself as a replica, and the facts
//! for INFO, ROLE and WAIT. Plain data, which the shards update.

/// Stands for a missing replication id.
pub const NO_REPLID: &str = "0000000000000000000000000000000000000000";

/// The request of SYNC or PSYNC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncFrom {
    /// The replication id that the replica knows (`?` for none), and the first byte of the feed
    /// that it lacks, counted from 1. None for SYNC, whose sender knows no replication ids and
    /// receives none.
    pub psync: Option<(Vec<u8>, i64)>,
}

/// What a session has reported about itself with REPLCONF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaFacts {
    /// Whether SYNC or PSYNC was accepted: the session is a replica and receives the feed.
    pub is_attached: bool,
    /// Whether it attached with SYNC. If so, it sends no acknowledgements.
    pub is_old: bool,
    /// Port that it listens on, as reported. 0 is unknown.
    pub listening_port: i64,
    /// Address that it announces.
    pub address: Option<Vec<u8>>,
    /// Whether it accepts a new replication id after a partial resynchronization.
    pub knows_psync2: bool,
    /// Whether it can read a snapshot of unknown length.
    pub knows_eof: bool,
    /// Version in three bytes: major, minor, patch.
    pub version: Option<u32>,
    /// Whether it wants only a snapshot and no feed.
    pub is_snapshot_only: bool,
    /// Whether its snapshot leaves out the keys.
    pub leaves_out_keys: bool,
    /// Whether its snapshot leaves out the functions.
    pub leaves_out_functions: bool,
    /// Replica offset: bytes of the feed that it has acknowledged.
    pub acked_offset: u64,
    /// Bytes of the feed that it has acknowledged as being on its disk.
    pub acked_disk_offset: u64,
    /// Unix milliseconds of its last acknowledgement. 0 means never.
    pub acked_ms: u64,
}

impl ReplicaFacts {
    /// Records an acknowledgement. Offsets never decrease. A negative offset counts as 0.
    pub fn ack(&mut self, offset: i64, now_ms: u64) {
        self.acked_offset = self.acked_offset.max(u64::try_from(offset).unwrap_or(0));
        self.acked_ms = now_ms;
    }

    /// Records an acknowledgement of bytes on the replica's disk. The offset never decreases.
    pub fn ack_disk(&mut self, offset: i64) {
        let offset = u64::try_from(offset).unwrap_or(0);
        self.acked_disk_offset = self.acked_disk_offset.max(offset);
    }
}

/// State of a replica's synchronization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaState {
    /// Waits for a snapshot.
    Waiting,
    /// Receives the snapshot.
    Sending,
    /// Follows the feed.
    Online,
    /// Has received the snapshot, wanted no feed, and is about to disconnect.
    Done,
}

impl ReplicaState {
    /// Returns the state's name in INFO.
    pub fn word(self) -> &'static str {
        match self {
            ReplicaState::Waiting => "wait_bgsave",
            ReplicaState::Sending => "send_bulk",
            ReplicaState::Online => "online",
            ReplicaState::Done => "rdb_transmitted",
        }
    }
}

/// One replica, as INFO and ROLE show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaLine {
    /// Id of its session.
    pub client_id: u64,
    /// Address without the port.
    pub ip: String,
    /// Port that it listens on, as reported. 0 is unknown.
    pub port: i64,
    /// State of its synchronization.
    pub state: ReplicaState,
    /// Bytes of the feed that it has acknowledged.
    pub acked_offset: u64,
    /// Unix seconds of its last acknowledgement, or of the moment when it came online.
    pub acked_s: u64,
}

impl ReplicaLine {
    /// Returns the seconds since its last acknowledgement. 0 while it does not follow the feed.
    pub fn lag_s(&self, now_s: u64) -> u64 {
        let is_online = self.state == ReplicaState::Online;
        if is_online { now_s.saturating_sub(self.acked_s) } else { 0 }
    }
}

/// The replication backlog: the part of the feed that is kept for replicas that reconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BacklogFacts {
    /// Number of its first byte. The first byte of the feed is 1.
    pub first_byte: u64,
    /// Bytes of the feed that it holds.
    pub len: u64,
    /// Bytes of memory that it uses.
    pub memory_bytes: u64,
}

/// Facts about the feed and the replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationFacts {
    /// Replication id of the feed: 40 hexadecimal digits.
    pub replid: String,
    /// Previous replication id, or [`NO_REPLID`].
    pub replid2: String,
    /// Offset up to which the previous history is part of the present one. -1 without a previous
    /// id.
    pub second_offset: i64,
    /// Bytes of the feed so far.
    pub offset: u64,
    /// The backlog; none until the first replica attaches.
    pub backlog: Option<BacklogFacts>,
    /// The replicas, in the order in which they attached.
    pub replicas: Vec<ReplicaLine>,
    /// Number of full synchronizations.
    pub syncs_full: u64,
    /// Number of partial resynchronizations.
    pub syncs_partial: u64,
    /// Number of requests for a partial resynchronization that needed a full one.
    pub syncs_partial_refused: u64,
}

impl ReplicationFacts {
    /// Creates the facts of an empty feed without a previous history.
    pub fn new(replid: String) -> ReplicationFacts {
        ReplicationFacts {
            replid,
            replid2: NO_REPLID.to_string(),
            second_offset: -1,
            offset: 0,
            backlog: None,
            replicas: Vec::new(),
            syncs_full: 0,
            syncs_partial: 0,
            syncs_partial_refused: 0,
        }
    }

    /// Begins a new history with another id. No replica can resume the old history.
    pub fn renew(&mut self, replid: String) {
        assert_eq!(replid.len(), NO_REPLID.len());
        self.replid = replid;
        self.replid2 = NO_REPLID.to_string();
        self.second_offset = -1;
    }

    /// Adds a replica or updates a known one.
    pub fn put(&mut self, line: ReplicaLine) {
        match self.replicas.iter_mut().find(|known| known.client_id == line.client_id) {
            Some(known) => *known = line,
            None => self.replicas.push(line),
        }
    }

    /// Removes a replica.
    pub fn remove(&mut self, client_id: u64) {
        self.replicas.retain(|line| line.client_id != client_id);
    }

    /// Iterates over the replicas that follow the feed.
    fn online(&self) -> impl Iterator<Item = &ReplicaLine> {
        self.replicas.iter().filter(|line| line.state == ReplicaState::Online)
    }

    /// Returns the number of replicas that have acknowledged the first `offset` bytes of the feed.
    pub fn acked(&self, offset: u64) -> usize {
        self.online().filter(|line| line.acked_offset >= offset).count()
    }

    /// Returns the offsets that the online replicas have acknowledged, in descending order.
    pub fn acked_offsets(&self) -> Vec<u64> {
        let mut offsets: Vec<u64> = self.online().map(|line| line.acked_offset).collect();
        offsets.sort_unstable_by(|a, b| b.cmp(a));
        offsets
    }

    /// Returns the number of online replicas that acknowledged in the last `lag_max_s` seconds.
    pub fn good_replicas(&self, now_s: u64, lag_max_s: u64) -> usize {
        self.online().filter(|line| line.lag_s(now_s) <= lag_max_s).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(client_id: u64, state: ReplicaState, acked_offset: u64, acked_s: u64) -> ReplicaLine {
        ReplicaLine { client_id, ip: "10.0.0.2".into(), port: 7, state, acked_offset, acked_s }
    }

    #[test]
    fn replicas_are_added_updated_and_removed() {
        let mut facts = ReplicationFacts::new("a".repeat(40));
        facts.put(line(5, ReplicaState::Waiting, 0, 0));
        facts.put(line(3, ReplicaState::Online, 100, 50));
        facts.put(line(5, ReplicaState::Online, 200, 58));
        assert_eq!(facts.replicas.iter().map(|r| r.client_id).collect::<Vec<_>>(), [5, 3]);
        assert_eq!([100, 101, 200, 201].map(|offset| facts.acked(offset)), [2, 1, 1, 0]);
        assert_eq!([60, 61, 68, 69].map(|now_s| facts.good_replicas(now_s, 10)), [2, 1, 1, 0]);
        facts.put(line(5, ReplicaState::Sending, 200, 58));
        assert_eq!((facts.acked(0), facts.replicas[0].lag_s(90)), (1, 0));
        facts.remove(3);
        assert_eq!(facts.replicas.len(), 1);
        facts.renew("b".repeat(40));
        assert_eq!(facts.replid2, NO_REPLID);
    }

    #[test]
    fn acknowledged_offsets_never_decrease() {
        let mut facts = ReplicaFacts::default();
        for (offset, expected) in [(7, 7), (3, 7), (-1, 7), (9, 9)] {
            facts.ack(offset, 1_000);
            assert_eq!((facts.acked_offset, facts.acked_ms), (expected, 1_000));
        }
        facts.ack_disk(-5);
        assert_eq!(facts.acked_disk_offset, 0);
    }
}
