//! Replication as commands see it: what a session reports about itself as a replica, and the facts
//! for INFO, ROLE, WAIT and WAITAOF. Plain data, which the shards update.

use crate::resp::Reply;

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

/// The error of WAITAOF if this server must acknowledge and has no append-only file.
pub const NO_AOF: &str =
    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

/// What a client in WAIT or WAITAOF waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckWish {
    /// WAIT: this number of replicas have the writes.
    Memory(usize),
    /// WAITAOF: the writes are on the disk of this server, if `local`, and of `replicas` replicas.
    Disk {
        /// Whether this server counts.
        local: bool,
        /// Number of replicas.
        replicas: usize,
    },
}

impl AckWish {
    /// Returns whether there is nothing to wait for.
    pub fn is_empty(self) -> bool {
        self.replicas() == 0 && !self.needs_local()
    }

    /// Returns the number of replicas.
    pub fn replicas(self) -> usize {
        match self {
            AckWish::Memory(replicas) | AckWish::Disk { replicas, .. } => replicas,
        }
    }

    /// Returns whether the writes must be on the disk of this server.
    pub fn needs_local(self) -> bool {
        matches!(self, AckWish::Disk { local: true, .. })
    }
}

/// Who has which part of the feed, in memory and on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acks {
    /// Offsets that the online replicas have in memory, in descending order.
    memory: Vec<u64>,
    /// Offsets that the online replicas have on disk, in descending order.
    disk: Vec<u64>,
    /// Offset that the append-only file of this server has on disk, if there is one.
    synced: Option<u64>,
}

impl Acks {
    /// Counts who has the first `offset` bytes of the feed where `wish` wants them.
    pub fn count(&self, wish: AckWish, offset: u64) -> AckCount {
        let count = |acked: &[u64]| acked.partition_point(|acked| *acked >= offset);
        match wish {
            AckWish::Memory(_) => AckCount { local: None, replicas: count(&self.memory) },
            AckWish::Disk { .. } => AckCount {
                local: Some(self.synced.is_some_and(|synced| synced >= offset)),
                replicas: count(&self.disk),
            },
        }
    }
}

/// Who has acknowledged: the reply of WAIT or WAITAOF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckCount {
    /// WAITAOF: whether this server has the writes on disk.
    local: Option<bool>,
    /// Number of replicas.
    replicas: usize,
}

impl AckCount {
    /// Returns whether the count is as high as wanted.
    pub fn meets(self, wish: AckWish) -> bool {
        self.replicas >= wish.replicas() && (!wish.needs_local() || self.local == Some(true))
    }

    /// Writes the reply.
    pub fn reply(self, reply: &mut Reply<'_>) {
        if let Some(local) = self.local {
            reply.array(2);
            reply.integer(i64::from(local));
        }
        reply.integer(self.replicas as i64);
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
    /// Bytes of the feed that it has acknowledged as being on its disk.
    pub acked_disk_offset: u64,
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
    /// Bytes of the feed in memory: the backlog, and what is kept for slow readers.
    pub stream_bytes: u64,
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
            stream_bytes: 0,
            replicas: Vec::new(),
            syncs_full: 0,
            syncs_partial: 0,
            syncs_partial_refused: 0,
        }
    }

    /// Returns the bytes of the feed that are the backlog, of at most `backlog_max` bytes, and the
    /// bytes that it keeps for slow readers.
    pub fn stream(&self, backlog_max: u64) -> [u64; 2] {
        let backlog = self.backlog.map_or(0, |_| self.stream_bytes.min(backlog_max));
        [backlog, self.stream_bytes - backlog]
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

    /// Returns the offsets that the online replicas have acknowledged. `synced` is the offset up to
    /// which the append-only file of this server is durable, if it has one.
    pub fn acks(&self, synced: Option<u64>) -> Acks {
        let sorted = |offset_of: fn(&ReplicaLine) -> u64| {
            let mut offsets: Vec<u64> = self.online().map(offset_of).collect();
            offsets.sort_unstable_by(|a, b| b.cmp(a));
            offsets
        };
        let memory = sorted(|line| line.acked_offset);
        Acks { memory, disk: sorted(|line| line.acked_disk_offset), synced }
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
        let (ip, port, acked_disk_offset) = ("10.0.0.2".into(), 7, acked_offset / 2);
        ReplicaLine { client_id, ip, port, state, acked_offset, acked_disk_offset, acked_s }
    }

    fn in_memory_now(facts: &ReplicationFacts) -> usize {
        facts.acks(None).count(AckWish::Memory(1), 0).replicas
    }

    #[test]
    fn the_stream_beyond_the_backlog_is_for_slow_readers() {
        let mut facts = ReplicationFacts::new(NO_REPLID.to_string());
        facts.stream_bytes = 1_000;
        assert_eq!(facts.stream(300), [0, 1_000], "without replicas there is no backlog");
        facts.backlog = Some(BacklogFacts { first_byte: 1, len: 1_000, memory_bytes: 1_000 });
        assert_eq!((facts.stream(300), facts.stream(5_000)), ([300, 700], [1_000, 0]));
    }

    #[test]
    fn replicas_are_added_updated_and_removed() {
        let mut facts = ReplicationFacts::new("a".repeat(40));
        facts.put(line(5, ReplicaState::Waiting, 0, 0));
        facts.put(line(3, ReplicaState::Online, 100, 50));
        facts.put(line(5, ReplicaState::Online, 200, 58));
        assert_eq!(facts.replicas.iter().map(|r| r.client_id).collect::<Vec<_>>(), [5, 3]);
        let acks = facts.acks(Some(70));
        let in_memory = |offset| acks.count(AckWish::Memory(1), offset);
        assert_eq!([100, 101, 200, 201].map(|offset| in_memory(offset).replicas), [2, 1, 1, 0]);
        let wish = AckWish::Disk { local: true, replicas: 1 };
        let on_disk = [50, 51, 71, 101].map(|offset| acks.count(wish, offset));
        let expected = [(true, 2), (true, 1), (false, 1), (false, 0)];
        assert_eq!(on_disk.map(|it| (it.local == Some(true), it.replicas)), expected);
        assert_eq!(on_disk.map(|it| it.meets(wish)), [true, true, false, false]);
        assert!(!facts.acks(None).count(wish, 0).meets(wish), "there is no append-only file");
        let wish = AckWish::Disk { local: false, replicas: 2 };
        assert!(facts.acks(None).count(wish, 50).meets(wish));
        assert_eq!([60, 61, 68, 69].map(|now_s| facts.good_replicas(now_s, 10)), [2, 1, 1, 0]);
        facts.put(line(5, ReplicaState::Sending, 200, 58));
        assert_eq!((in_memory_now(&facts), facts.replicas[0].lag_s(90)), (1, 0));
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
