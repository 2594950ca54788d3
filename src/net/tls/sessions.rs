//! The sessions of clients that may come back without a full handshake.

use super::limits::{SESSION_OVERHEAD_BYTES, SESSIONS_BYTES_MAX, SESSIONS_MAX};
use crate::base::clock::Clock;
use rustls::server::StoresServerSessions;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sessions by name. The oldest one makes room for a new one.
pub(super) struct Sessions {
    clock: Clock,
    /// Number of sessions at most.
    len_max: usize,
    /// Nanoseconds that a session lasts.
    lasts_ns: u64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_name: HashMap<Vec<u8>, Session>,
    /// The names by age, the oldest first. Names of sessions that were taken are still among them.
    names: VecDeque<Vec<u8>>,
    /// Bytes of all sessions.
    bytes: usize,
}

struct Session {
    secrets: Vec<u8>,
    /// Monotonic nanoseconds of its end.
    until_ns: u64,
}

impl Table {
    fn remove(&mut self, name: &[u8]) -> Option<Session> {
        let session = self.by_name.remove(name)?;
        self.bytes -= session.bytes(name);
        Some(session)
    }
}

impl Session {
    fn bytes(&self, name: &[u8]) -> usize {
        2 * name.len() + self.secrets.len() + SESSION_OVERHEAD_BYTES
    }
}

impl Sessions {
    /// Creates an empty table for `len_max` sessions (0: as many as the limit allows) of `lasts_s`
    /// seconds.
    pub(super) fn new(clock: Clock, len_max: u32, lasts_s: u32) -> Sessions {
        let len_max = match len_max as usize {
            0 => SESSIONS_MAX,
            len_max => len_max.min(SESSIONS_MAX),
        };
        let lasts_ns = u64::from(lasts_s) * 1_000_000_000;
        Sessions { clock, len_max, lasts_ns, table: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Without a name in the queue a session only stays longer.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_valid(&self, session: &Session) -> bool {
        self.clock.monotonic_ns() < session.until_ns
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secrets stay out.
        f.debug_struct("Sessions").field("len_max", &self.len_max).finish_non_exhaustive()
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, name: Vec<u8>, secrets: Vec<u8>) -> bool {
        let until_ns = self.clock.monotonic_ns().saturating_add(self.lasts_ns);
        let session = Session { secrets, until_ns };
        let bytes = session.bytes(&name);
        let mut table = self.lock();
        // The library draws names, so none comes twice. If one did, the old session would count.
        table.remove(&name);
        while (table.names.len() >= self.len_max || table.bytes + bytes > SESSIONS_BYTES_MAX)
            && let Some(oldest) = table.names.pop_front()
        {
            table.remove(&oldest);
        }
        table.bytes += bytes;
        table.names.push_back(name.clone());
        table.by_name.insert(name, session);
        true
    }

    fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        let table = self.lock();
        let session = table.by_name.get(name).filter(|session| self.is_valid(session));
        session.map(|session| session.secrets.clone())
    }

    fn take(&self, name: &[u8]) -> Option<Vec<u8>> {
        let session = self.lock().remove(name);
        session.filter(|session| self.is_valid(session)).map(|session| session.secrets)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::ManualClock;
    use std::sync::Arc;

    #[test]
    fn sessions_end_with_their_time_and_make_room() {
        let clock = ManualClock::new(0);
        let sessions = Sessions::new(Clock::Manual(Arc::clone(&clock)), 2, 10);
        let name = |n: u8| vec![n; 32];
        for n in 0..3 {
            assert!(sessions.put(name(n), vec![n]));
        }
        assert_eq!(sessions.get(&name(0)), None, "the oldest made room");
        assert_eq!(sessions.get(&name(1)), Some(vec![1]));
        assert_eq!((sessions.take(&name(1)), sessions.take(&name(1))), (Some(vec![1]), None));
        clock.advance_ms(9_999);
        assert_eq!(sessions.get(&name(2)), Some(vec![2]));
        clock.advance_ms(1);
        assert_eq!((sessions.get(&name(2)), sessions.take(&name(2))), (None, None));
        let table = sessions.lock();
        assert_eq!((table.by_name.len(), table.bytes), (0, 0));
    }

    #[test]
    fn large_sessions_are_bounded_by_their_bytes() {
        let sessions = Sessions::new(Clock::System, 0, 10);
        let name = |n: usize| n.to_be_bytes().to_vec();
        let count = 2 * SESSIONS_BYTES_MAX / 5_000;
        for n in 0..count {
            assert!(sessions.put(name(n), vec![0; 5_000]));
        }
        let table = sessions.lock();
        let (len, bytes) = (table.by_name.len(), table.bytes);
        assert!(bytes <= SESSIONS_BYTES_MAX && bytes > SESSIONS_BYTES_MAX - 6_000);
        assert_eq!(len, table.names.len());
        drop(table);
        assert_eq!(sessions.get(&name(count - len - 1)), None, "the oldest made room");
        assert!(sessions.get(&name(count - len)).is_some());
    }
}
