//! Client tracking: what a session has switched on, and what all shards must know about it.

use crate::keyspace::{Prefixes, TrackersView};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The prefixes of a client in broadcasting mode.
pub type PrefixSet = BTreeSet<Arc<[u8]>>;

/// Which keys of its commands are tracked for a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrackingMode {
    /// All keys that the client reads.
    #[default]
    Reads,
    /// Keys of the command behind CLIENT CACHING YES.
    OptIn,
    /// Keys of all commands but the one behind CLIENT CACHING NO.
    OptOut,
    /// None. The client gets the changes of all keys with its prefixes.
    Broadcast,
}

/// State of CLIENT TRACKING ON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracking {
    /// Which keys are tracked.
    pub mode: TrackingMode,
    /// Whether changes by the client itself are not told.
    pub is_noloop: bool,
    /// Id of the client that gets the invalidations instead; 0 for none.
    pub redirect: u64,
    /// Whether that client was found to be gone.
    pub is_redirect_broken: bool,
    /// Whether CLIENT CACHING was given for the next command.
    pub is_caching: bool,
    /// The prefixes in broadcasting mode.
    pub prefixes: PrefixSet,
}

impl Tracking {
    /// Returns whether the keys of the next command are tracked if it reads them.
    #[inline]
    pub fn tracks_reads(&self) -> bool {
        match self.mode {
            TrackingMode::Reads => true,
            TrackingMode::OptIn => self.is_caching,
            TrackingMode::OptOut => !self.is_caching,
            TrackingMode::Broadcast => false,
        }
    }

    /// Returns the bytes that it uses. All clients share the text of a prefix.
    pub fn memory_bytes(&self) -> usize {
        self.prefixes.len() * size_of::<Arc<[u8]>>() + size_of::<Tracking>()
    }
}

/// What all shards must know about tracking clients. Shards compare the version with the version of
/// their copy, which costs one load.
#[derive(Debug, Default)]
pub struct Trackers {
    version: AtomicU64,
    shared: Mutex<Shared>,
    /// Tracked keys of all partitions.
    keys: AtomicI64,
}

#[derive(Debug, Default)]
struct Shared {
    clients: u64,
    prefixes: Arc<Prefixes>,
}

impl Trackers {
    /// Returns the version.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Returns a copy of the present state.
    pub fn view(&self) -> TrackersView {
        let shared = self.lock();
        TrackersView {
            version: self.version(),
            is_used: shared.clients > 0,
            prefixes: Arc::clone(&shared.prefixes),
        }
    }

    /// Returns the number of tracking clients.
    pub fn clients(&self) -> u64 {
        self.lock().clients
    }

    /// Returns the number of different prefixes.
    pub fn prefixes(&self) -> usize {
        self.lock().prefixes.len()
    }

    /// Replaces the prefixes of a client of this shard; none if it is not tracking. From then on,
    /// shards that see the version see the change.
    pub fn replace(&self, shard: usize, old: Option<&PrefixSet>, new: Option<&PrefixSet>) {
        let mut shared = self.lock();
        shared.clients += u64::from(new.is_some());
        shared.clients -= u64::from(old.is_some());
        let none = PrefixSet::new();
        let (old, new) = (old.unwrap_or(&none), new.unwrap_or(&none));
        if old != new {
            let all = Arc::make_mut(&mut shared.prefixes);
            new.difference(old).for_each(|prefix| all.add(prefix, shard as u16));
            old.difference(new).for_each(|prefix| all.remove(prefix, shard as u16));
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Adds to the number of tracked keys of all partitions.
    #[inline]
    pub fn count_keys(&self, more: i64) {
        if more != 0 {
            self.keys.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Takes one from the number of tracked keys if it is above `max`. Returns whether it was. The
    /// caller then stops tracking a key.
    pub fn take_above(&self, max: u64) -> bool {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let less = |keys: i64| (keys > max).then_some(keys - 1);
        self.keys.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
