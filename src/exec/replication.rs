//! Replication as commands see it: what a session says of itself as a replica, and the facts that
//! INFO, ROLE and WAIT read. Plain data, which the shards keep up to date.

/// What stands for a replication id where there is none.
pub const NO_REPLID: &str = "0000000000000000000000000000000000000000";

/// What SYNC or PSYNC asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncFrom {
    /// The history that the replica knows (`?` for none) and the first byte of the feed that it
    /// lacks, counted from 1. None for SYNC, whose sender knows no histories, and is told none.
    pub psync: Option<(Vec<u8>, i64)>,
}

/// What a session has said of itself with REPLCONF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaFacts {
    /// SYNC or PSYNC was accepted: the session is a replica, and gets the feed for replies.
    pub is_attached: bool,
    /// It attached with SYNC, and so acknowledges nothing.
    pub is_old: bool,
    /// The port that it listens on, as it was given; 0 is unknown.
    pub listening_port: i64,
    /// The address under which it wants to be known.
    pub address: Option<Vec<u8>>,
    /// It knows that the history may have another name after a partial resynchronization.
    pub knows_psync2: bool,
    /// It can read a snapshot whose length is not known beforehand.
    pub knows_eof: bool,
    /// Its version in three bytes: major, minor, patch.
    pub version: Option<u32>,
    /// It wants a snapshot and no feed.
    pub is_snapshot_only: bool,
    /// The snapshot is to hold no keys.
    pub leaves_out_keys: bool,
    /// The snapshot is to hold no functions.
    pub leaves_out_functions: bool,
    /// Bytes of the feed that it has taken, as far as it has said.
    pub acked_offset: u64,
    /// Bytes of the feed that it has on disk, as far as it has said.
    pub acked_disk_offset: u64,
    /// Unix milliseconds of its last acknowledgement; 0 is never.
    pub acked_ms: u64,
}

impl ReplicaFacts {
    /// Takes note of an acknowledgement. Offsets only grow; a negative one is none.
    pub fn ack(&mut self, offset: i64, now_ms: u64) {
        self.acked_offset = self.acked_offset.max(u64::try_from(offset).unwrap_or(0));
        self.acked_ms = now_ms;
    }

    /// The same for what is on its disk.
    pub fn ack_disk(&mut self, offset: i64) {
        let offset = u64::try_from(offset).unwrap_or(0);
        self.acked_disk_offset = self.acked_disk_offset.max(offset);
    }
}

/// How far a replica has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaState {
    /// It waits for a snapshot.
    Waiting,
    /// The snapshot is on its way.
    Sending,
    /// It follows the feed.
    Online,
    /// It has got the snapshot, wanted nothing else, and is about to go.
    Done,
}

impl ReplicaState {
    /// The word of INFO.
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
    /// Its session.
    pub client_id: u64,
    /// Its address without a port.
    pub ip: String,
    /// The port that it listens on, as it was given; 0 is unknown.
    pub port: i64,
    /// How far it has come.
    pub state: ReplicaState,
    /// Bytes of the feed that it has acknowledged.
    pub acked_offset: u64,
    /// Unix seconds of its last acknowledgement, or of when it came online.
    pub acked_s: u64,
}

impl ReplicaLine {
    /// Seconds since it was last heard of; 0 while it does not follow the feed.
    pub fn lag_s(&self, now_s: u64) -> u64 {
        let is_online = self.state == ReplicaState::Online;
        if is_online { now_s.saturating_sub(self.acked_s) } else { 0 }
    }
}

/// The part of the feed that is kept for replicas that come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BacklogFacts {
    /// The number of its first byte, where the first of all is 1.
    pub first_byte: u64,
    /// How many bytes it holds.
    pub len: u64,
    /// Bytes of memory that it takes.
    pub memory_bytes: u64,
}

/// The feed and the replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationFacts {
    /// The name of the history that the feed writes: 40 hexadecimal digits.
    pub replid: String,
    /// The history that went before, or [`NO_REPLID`].
    pub replid2: String,
    /// Up to which byte the history before is part of this one; -1 without one.
    pub second_offset: i64,
    /// Bytes of the feed so far.
    pub offset: u64,
    /// What of it is kept; none until the first replica comes.
    pub backlog: Option<BacklogFacts>,
    /// The replicas, in the order in which they came.
    pub replicas: Vec<ReplicaLine>,
    /// Snapshots that were asked for by replicas.
    pub syncs_full: u64,
    /// Replicas that went on where they had been.
    pub syncs_partial: u64,
    /// Replicas that wanted to, and had to take a snapshot.
    pub syncs_partial_refused: u64,
}

impl ReplicationFacts {
    /// An empty feed of a history without a past.
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

    /// Begins a history of another name: what came before is not to be had again.
    pub fn renew(&mut self, replid: String) {
        assert_eq!(replid.len(), NO_REPLID.len());
        self.replid = replid;
        self.replid2 = NO_REPLID.to_string();
        self.second_offset = -1;
    }

    /// Takes note of a replica: a new one, or a change of one that is known.
    pub fn put(&mut self, line: ReplicaLine) {
        match self.replicas.iter_mut().find(|known| known.client_id == line.client_id) {
            Some(known) => *known = line,
            None => self.replicas.push(line),
        }
    }

    /// Forgets a replica.
    pub fn remove(&mut self, client_id: u64) {
        self.replicas.retain(|line| line.client_id != client_id);
    }

    /// The replicas that follow the feed.
    fn online(&self) -> impl Iterator<Item = &ReplicaLine> {
        self.replicas.iter().filter(|line| line.state == ReplicaState::Online)
    }

    /// How many replicas have acknowledged the first `offset` bytes of the feed.
    pub fn acked(&self, offset: u64) -> usize {
        self.online().filter(|line| line.acked_offset >= offset).count()
    }

    /// How many replicas were heard of in the last `lag_max_s` seconds.
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
    fn replicas_come_change_and_go() {
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
    fn acknowledgements_only_grow() {
        let mut facts = ReplicaFacts::default();
        for (offset, expected) in [(7, 7), (3, 7), (-1, 7), (9, 9)] {
            facts.ack(offset, 1_000);
            assert_eq!((facts.acked_offset, facts.acked_ms), (expected, 1_000));
        }
        facts.ack_disk(-5);
        assert_eq!(facts.acked_disk_offset, 0);
    }
}
