//! One attached replica, as its primary sees it: a source of bytes. The primary asks it for bytes
//! whenever the replica's output has room.
//!
//! ```text
//!      new                                             resume
//!       |                                                |  +CONTINUE
//!       v                                                |
//!    Waiting --begin--> Sending --next: the last byte----+--> Streaming --next: the backlog
//!       | |    |           |  |                                  ^ |       no longer has it--.
//!       '-'    |           '--'                                  '-'                         v
//!      tick:   |          next: a piece of the snapshot        next: a piece of the feed    Lost
//!      a newline   +FULLRESYNC, $length
//!
//!    Sending --next: the last byte, and the replica wants no feed--> Done
//!    Sending --next: the snapshot cannot be read--> Lost
//! ```
//!
//! | state     | holds                                                                    |
//! | ---       | ---                                                                      |
//! | Waiting   | from [`Link::hold`] on, the feed is kept from an offset on               |
//! | Sending   | the feed is kept from the snapshot's offset on                           |
//! | Streaming | the feed is kept from the next byte on, as long as limits allow          |
//! | Done      | no more bytes: the connection closes when all bytes have been sent       |
//! | Lost      | the next byte is not available: the connection closes at once            |
//!
//! An offset counts the bytes of the feed before it; the first byte of the feed has offset 0.

use crate::config::OutputLimit;
use crate::exec::{ReplicaLine, ReplicaState, Session};
use crate::snapshot::{Bell, NextPiece, Snapshot, SnapshotReader};
use bytes::Bytes;
use std::sync::Arc;

/// Bytes that one call of [`Link::next`] returns at most. The checksum is computed in such pieces.
pub const PIECE_BYTES_MAX: usize = 64 << 10;

/// Milliseconds between two newlines to a replica that waits.
const NEWLINE_MS: u64 = 1_000;

/// The link to a replica.
#[derive(Debug)]
pub struct Link {
    state: State,
    /// Bytes to send before all others.
    ahead: Vec<u8>,
    /// Whether the replica attached with SYNC. It gets no replication ID and sends no
    /// acknowledgements.
    is_old: bool,
    is_snapshot_only: bool,
    /// When the last newline or piece of the snapshot was taken, in monotonic milliseconds.
    progress_ms: u64,
    /// When the replica began to follow the feed, in Unix milliseconds.
    online_ms: u64,
    /// Since when the unsent feed exceeds the soft limit, in monotonic milliseconds.
    over_soft_ms: Option<u64>,
}

#[derive(Debug)]
enum State {
    Waiting { held: Option<u64> },
    Sending(SnapshotReader),
    Streaming { next: u64 },
    Done,
    Lost,
}

/// The current time on two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic milliseconds.
    pub monotonic_ms: u64,
    /// Unix milliseconds.
    pub unix_ms: u64,
}

impl Link {
    /// Creates the link of a replica that waits for a snapshot.
    pub fn new(session: &Session, now: Now) -> Link {
        Link {
            state: State::Waiting { held: None },
            ahead: Vec::new(),
            is_old: session.replica.is_old,
            is_snapshot_only: session.replica.is_snapshot_only,
            progress_ms: now.monotonic_ms,
            online_ms: 0,
            over_soft_ms: None,
        }
    }

    /// Creates the link of a replica that has the first `offset` bytes of the feed of `replid` and
    /// continues from there.
    pub fn resume(session: &Session, replid: &str, offset: u64, now: Now) -> Link {
        let mut link = Link::new(session, now);
        assert!(!link.is_old, "only PSYNC can continue a feed");
        let line = if session.replica.knows_psync2 {
            format!("+CONTINUE {replid}\r\n")
        } else {
            "+CONTINUE\r\n".to_string()
        };
        link.ahead.extend_from_slice(line.as_bytes());
        link.go_online(offset, now);
        link
    }

    /// Keeps the feed from this offset on, because the snapshot for the replica is being made
    /// there.
    pub fn hold(&mut self, offset: u64) {
        let State::Waiting { held } = &mut self.state else { panic!("{self:?} does not wait") };
        *held = Some(offset);
    }

    /// Starts to send the snapshot that the replica waits for. A thread reads it, and rings the
    /// bell when [`Link::is_fed`] becomes true; without a bell the caller's thread reads it.
    pub fn begin(&mut self, snapshot: Arc<Snapshot>, bell: Option<Bell>, now: Now) {
        assert!(matches!(self.state, State::Waiting { .. }), "{self:?} does not wait");
        let (replid, offset) = snapshot.origin().expect("a snapshot for a replica has an offset");
        if !self.is_old {
            let line = format!("+FULLRESYNC {replid} {offset}\r\n");
            self.ahead.extend_from_slice(line.as_bytes());
        }
        self.ahead.extend_from_slice(format!("${}\r\n", snapshot.len()).as_bytes());
        self.progress_ms = now.monotonic_ms;
        self.state = State::Sending(SnapshotReader::new(snapshot, bell));
    }

    /// Queues a newline for a replica that waits, to show that the link is alive; at most one per
    /// second.
    pub fn tick(&mut self, now: Now) {
        let is_waiting = matches!(self.state, State::Waiting { .. });
        if is_waiting && now.monotonic_ms - self.progress_ms >= NEWLINE_MS {
            self.progress_ms = now.monotonic_ms;
            // A newline that is still unsent is enough.
            if self.ahead.is_empty() {
                self.ahead.push(b'\n');
            }
        }
    }

    /// Returns the next bytes for the replica, at most `room_bytes` and [`PIECE_BYTES_MAX`], or
    /// `None` if there are none yet. `backlog` takes an offset and a maximum of bytes, and returns
    /// bytes of the feed. It returns no bytes at the end of the feed, and `None` if the offset is
    /// no longer available.
    pub fn next(
        &mut self,
        room_bytes: usize,
        now: Now,
        backlog: &mut dyn FnMut(u64, usize) -> Option<Bytes>,
    ) -> Option<Bytes> {
        let bytes_max = room_bytes.min(PIECE_BYTES_MAX);
        if bytes_max == 0 {
            return None;
        }
        if !self.ahead.is_empty() {
            let rest = self.ahead.split_off(bytes_max.min(self.ahead.len()));
            return Some(std::mem::replace(&mut self.ahead, rest).into());
        }
        if let State::Sending(reader) = &mut self.state {
            match reader.next_piece(bytes_max) {
                NextPiece::Piece(piece) => {
                    self.progress_ms = now.monotonic_ms;
                    return Some(piece);
                }
                NextPiece::Later => return None,
                NextPiece::Failed(_) => {
                    self.state = State::Lost;
                    return None;
                }
                NextPiece::End => {}
            }
            let (_, offset) =
                reader.snapshot().origin().expect("a snapshot for a replica has an offset");
            if self.is_snapshot_only {
                self.state = State::Done;
            } else {
                self.go_online(offset, now);
            }
        }
        let State::Streaming { next } = &mut self.state else { return None };
        match backlog(*next, bytes_max) {
            None => {
                self.state = State::Lost;
                None
            }
            Some(piece) => {
                assert!(piece.len() <= bytes_max);
                *next += piece.len() as u64;
                (!piece.is_empty()).then_some(piece)
            }
        }
    }

    fn go_online(&mut self, offset: u64, now: Now) {
        self.state = State::Streaming { next: offset };
        self.online_ms = now.unix_ms;
    }

    /// Returns the first offset of the feed that the replica still needs, if it needs any.
    pub fn held_offset(&self) -> Option<u64> {
        match &self.state {
            State::Waiting { held } => *held,
            State::Sending(_) if self.is_snapshot_only => None,
            State::Sending(reader) => reader.snapshot().origin().map(|(_, offset)| offset),
            State::Streaming { next } => Some(*next),
            State::Done | State::Lost => None,
        }
    }

    /// Returns whether the replica waits for a snapshot that has not been started.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { held: None })
    }

    /// Returns whether [`Link::next`] has bytes after it has waited for the thread that reads.
    pub fn is_fed(&self) -> bool {
        matches!(&self.state, State::Sending(reader) if reader.is_fed())
    }

    /// Returns whether the replica waits for the snapshot of this offset.
    pub fn waits_for(&self, offset: u64) -> bool {
        matches!(self.state, State::Waiting { held: Some(held) } if held == offset)
    }

    /// Makes the replica wait for another snapshot, because the one that was made is given up.
    pub fn wait_again(&mut self) {
        if let State::Waiting { held } = &mut self.state {
            *held = None;
        }
    }

    /// Returns whether the replica waits for a snapshot, or for its end.
    pub fn is_waiting_or_held(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// Returns whether a snapshot is being sent.
    pub fn is_sending(&self) -> bool {
        matches!(self.state, State::Sending(_))
    }

    /// Returns whether the connection must close after all bytes have been sent.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done) && self.ahead.is_empty()
    }

    /// Returns whether the connection must close at once, because the next byte is not
    /// available.
    pub fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// Returns what the replica was doing, for the log, if it made no progress for more than
    /// `timeout_s` seconds. While it follows the feed, only its acknowledgements count as progress.
    pub fn timed_out(&self, session: &Session, now: Now, timeout_s: u32) -> Option<&'static str> {
        let timeout_ms = u64::from(timeout_s) * 1_000;
        let (silent_ms, what) = match self.state {
            State::Sending(_) => (now.monotonic_ms - self.progress_ms, "full sync"),
            State::Streaming { .. } if !self.is_old => {
                (now.unix_ms.saturating_sub(self.heard_ms(session)), "streaming sync")
            }
            _ => return None,
        };
        (silent_ms > timeout_ms).then_some(what)
    }

    /// Returns whether the feed that was not yet passed to the replica exceeds `limit`. The hard
    /// limit is at least the size of the backlog. `feed_offset` is the end of the feed.
    pub fn is_over(
        &mut self,
        feed_offset: u64,
        limit: OutputLimit,
        backlog_bytes: u64,
        now: Now,
    ) -> bool {
        let held = self.held_offset().unwrap_or(feed_offset);
        let waiting_bytes = feed_offset.checked_sub(held).expect("the feed only grows");
        let hard_bytes = limit.hard_bytes.max(backlog_bytes);
        let is_over_soft = limit.soft_bytes > 0 && waiting_bytes >= limit.soft_bytes;
        let since_ms = is_over_soft.then(|| self.over_soft_ms.unwrap_or(now.monotonic_ms));
        self.over_soft_ms = since_ms;
        let is_long =
            since_ms.is_some_and(|since| now.monotonic_ms - since > limit.soft_seconds * 1_000);
        (limit.hard_bytes > 0 && waiting_bytes >= hard_bytes) || is_long
    }

    /// Returns when the replica last sent an acknowledgement or went online, in Unix milliseconds.
    fn heard_ms(&self, session: &Session) -> u64 {
        session.replica.acked_ms.max(self.online_ms)
    }

    /// Returns the replica's line in INFO and ROLE.
    pub fn line(&self, session: &Session) -> ReplicaLine {
        let state = match self.state {
            State::Waiting { .. } => ReplicaState::Waiting,
            State::Sending(_) => ReplicaState::Sending,
            State::Streaming { .. } | State::Lost => ReplicaState::Online,
            State::Done => ReplicaState::Done,
        };
        ReplicaLine {
            client_id: session.id,
            ip: ip(session),
            port: session.replica.listening_port,
            state,
            acked_offset: session.replica.acked_offset,
            acked_disk_offset: session.replica.acked_disk_offset,
            acked_s: self.heard_ms(session) / 1_000,
        }
    }
}

/// Returns the replica's address without a port: the one that it announced, or its connection's.
fn ip(session: &Session) -> String {
    if let Some(address) = &session.replica.address {
        return String::from_utf8_lossy(address).into_owned();
    }
    let host = session.address.rsplit_once(':').map_or("", |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').to_string()
}

/// Returns the replica's name for the log.
pub fn replica_name(session: &Session) -> String {
    let ip = ip(session);
    match session.replica.listening_port {
        0 => format!("{ip}:<unknown-replica-port>"),
        port if ip.contains(':') => format!("[{ip}]:{port}"),
        port => format!("{ip}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::testing::{read, slices, snapshot};

    fn now(ms: u64) -> Now {
        Now { monotonic_ms: ms, unix_ms: 1_000_000 + ms }
    }

    fn session() -> Session {
        let mut session = Session::new(7, true, 0);
        session.address = "[::1]:40000".to_string();
        session.replica.is_attached = true;
        session.replica.listening_port = 6380;
        session
    }

    /// Returns all bytes of the link, taken in pieces of at most `room` bytes. The offset of the
    /// first available byte of the feed is `kept`.
    fn drain(link: &mut Link, room: usize, feed: &[u8], kept: u64) -> Vec<u8> {
        let mut given = Vec::new();
        let mut backlog = |offset: u64, max: usize| {
            let rest = &feed[offset as usize..];
            (offset >= kept).then(|| Bytes::copy_from_slice(&rest[..rest.len().min(max)]))
        };
        while let Some(piece) = link.next(room, now(0), &mut backlog) {
            assert!((1..=room.min(PIECE_BYTES_MAX)).contains(&piece.len()));
            given.extend_from_slice(&piece);
        }
        given
    }

    /// Splits the link's bytes: the line before the length, if any, the file, and the feed.
    fn split(given: &[u8]) -> (&[u8], &[u8], &[u8]) {
        let dollar = given.iter().position(|&byte| byte == b'$').expect("a length");
        let end = dollar + given[dollar..].iter().position(|&byte| byte == b'\n').expect("a line");
        let digits = std::str::from_utf8(&given[dollar + 1..end - 1]).expect("digits");
        let (file, feed) = given[end + 1..].split_at(digits.parse().expect("a length"));
        (&given[..dollar], file, feed)
    }

    #[test]
    fn a_snapshot_is_sent_before_the_feed() {
        let (mut slices, keys) = slices();
        let replid = "c".repeat(40);
        let snapshot = Arc::new(snapshot(&mut slices, &replid, 5));
        for room in [1, 100, usize::MAX] {
            let session = session();
            let mut link = Link::new(&session, now(0));
            assert!(link.is_waiting() && link.held_offset().is_none());
            assert_eq!(link.line(&session).state, ReplicaState::Waiting);
            link.hold(5);
            assert!(!link.is_waiting());
            link.begin(snapshot.clone(), None, now(0));
            assert_eq!(link.line(&session).state, ReplicaState::Sending);
            assert_eq!(link.held_offset(), Some(5));
            let given = drain(&mut link, room, b"01234feed", 0);
            let (line, file, feed) = split(&given);
            assert_eq!(line, format!("+FULLRESYNC {replid} 5\r\n").as_bytes());
            assert_eq!(read(file), keys);
            assert_eq!(feed, b"feed");
            assert_eq!(link.held_offset(), Some(9));
            let line = link.line(&session);
            assert_eq!((line.state, line.acked_s), (ReplicaState::Online, 1_000));
            assert_eq!((line.ip.as_str(), line.port, line.client_id), ("::1", 6380, 7));
            assert_eq!(drain(&mut link, room, b"01234feed and more", 0), b" and more");
        }
    }

    #[test]
    fn replicas_that_use_sync_get_no_replication_id() {
        let (mut slices, _) = slices();
        let snapshot = Arc::new(snapshot(&mut slices, &"c".repeat(40), 0));
        let mut session = session();
        session.replica.is_old = true;
        let mut link = Link::new(&session, now(0));
        link.begin(snapshot, None, now(0));
        let given = drain(&mut link, 1_000, b"feed", 0);
        let (line, _, feed) = split(&given);
        assert_eq!((line, feed), (&b""[..], &b"feed"[..]));
        assert_eq!(link.timed_out(&session, now(1 << 40), 60), None);
    }

    #[test]
    fn a_replica_that_wants_no_feed_gets_none() {
        let (mut slices, keys) = slices();
        let snapshot = Arc::new(snapshot(&mut slices, &"c".repeat(40), 0));
        let mut session = session();
        session.replica.is_snapshot_only = true;
        let mut link = Link::new(&session, now(0));
        link.begin(snapshot, None, now(0));
        assert_eq!(link.held_offset(), None);
        let given = drain(&mut link, 1_000, b"feed", 0);
        let (_, file, feed) = split(&given);
        assert_eq!((read(file), feed.len()), (keys, 0));
        assert!(link.is_done() && !link.is_lost());
        assert_eq!(link.line(&session).state, ReplicaState::Done);
    }

    #[test]
    fn a_replica_continues_until_the_backlog_lacks_its_next_byte() {
        let mut session = session();
        let mut link = Link::resume(&session, "id", 4, now(0));
        assert_eq!(drain(&mut link, 5, b"0123feed", 4), b"+CONTINUE\r\nfeed");
        session.replica.knows_psync2 = true;
        let mut link = Link::resume(&session, "id", 4, now(0));
        assert_eq!(drain(&mut link, 5, b"0123feed", 4), b"+CONTINUE id\r\nfeed");
        assert_eq!(drain(&mut link, 5, b"0123feed and more", 9), b"");
        assert!(link.is_lost() && link.held_offset().is_none());
        assert_eq!(drain(&mut link, 0, b"", 0), b"");
    }

    #[test]
    fn a_waiting_replica_gets_newlines() {
        let mut link = Link::new(&session(), now(0));
        let mut given = Vec::new();
        for ms in (0..=3_500).step_by(100) {
            link.tick(now(ms));
            given.extend(drain(&mut link, 9, b"", 0));
        }
        assert_eq!(given, b"\n\n\n");
        link.tick(now(5_000));
        link.tick(now(6_000));
        let (mut slices, _) = slices();
        link.begin(Arc::new(snapshot(&mut slices, "id", 0)), None, now(6_000));
        link.tick(now(9_000));
        let given = drain(&mut link, 1_000, b"", 0);
        assert!(given.starts_with(b"\n+FULLRESYNC id 0\r\n$"));
    }

    #[test]
    fn a_silent_replica_times_out() {
        let mut session = session();
        let mut link = Link::new(&session, now(0));
        assert_eq!(link.timed_out(&session, now(1 << 40), 60), None);
        let (mut slices, _) = slices();
        link.begin(Arc::new(snapshot(&mut slices, "id", 0)), None, now(1_000));
        assert_eq!(link.timed_out(&session, now(61_000), 60), None);
        assert_eq!(link.timed_out(&session, now(61_001), 60), Some("full sync"));
        let mut link = Link::resume(&session, "id", 0, now(0));
        assert_eq!(link.timed_out(&session, now(60_000), 60), None);
        assert_eq!(link.timed_out(&session, now(60_001), 60), Some("streaming sync"));
        session.replica.ack(1, now(1_000).unix_ms);
        assert_eq!(link.timed_out(&session, now(61_000), 60), None);
        assert_eq!(drain(&mut link, 100, b"x", 0), b"+CONTINUE\r\nx");
        assert_eq!(link.timed_out(&session, now(61_001), 60), Some("streaming sync"));
    }

    #[test]
    fn the_unsent_feed_has_limits() {
        let mut link = Link::resume(&session(), "id", 100, now(0));
        let limit = OutputLimit { hard_bytes: 50, soft_bytes: 20, soft_seconds: 3 };
        assert!(link.is_over(150, limit, 10, now(0)));
        assert!(!link.is_over(149, limit, 10, now(0)));
        assert!(
            !link.is_over(119, limit, 10, now(1_000)),
            "falling below the soft limit restarts its time"
        );
        assert!(!link.is_over(120, limit, 10, now(2_000)));
        assert!(!link.is_over(120, limit, 10, now(5_000)));
        assert!(link.is_over(120, limit, 10, now(5_001)));
        let limit = OutputLimit { hard_bytes: 50, ..OutputLimit::default() };
        assert!(
            !link.is_over(159, limit, 60, now(0)),
            "the hard limit is at least the backlog's size"
        );
        assert!(link.is_over(160, limit, 60, now(0)));
        assert!(!link.is_over(1 << 40, OutputLimit::default(), 60, now(0)));
    }

    #[test]
    fn replicas_have_names_for_the_log() {
        let mut session = session();
        assert_eq!(replica_name(&session), "[::1]:6380");
        session.replica.address = Some(b"10.0.0.9".to_vec());
        assert_eq!(replica_name(&session), "10.0.0.9:6380");
        session.replica.listening_port = 0;
        assert_eq!(replica_name(&session), "10.0.0.9:<unknown-replica-port>");
    }
}
