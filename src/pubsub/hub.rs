//! The hub: counts the subscriptions of all shards, and publishes messages. Hot.

use super::published::{Cause, Published, Sort};
use super::registry::Registry;
use super::{BYTES_PER_WEIGHT, WAITING_WEIGHT_MAX};
use ahash::RandomState;
use bytes::Bytes;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::sync::{
    Arc, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError, TryLockResult,
};

/// Posts messages to shards.
pub trait Poster: Send + Sync {
    /// Posts a message to its homes, as one unit, and wakes them. Sets the message's sequence.
    fn post(&self, message: Published);

    /// Waits a little while another shard finishes something short.
    fn idle(&self);
}

/// What waits in the inbox of a shard.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Waiting {
    messages: AtomicU32,
    /// Messages that the shard itself has published.
    own_messages: AtomicU32,
    weight: AtomicUsize,
}

/// A number that INFO shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Names of a sort that have subscriptions.
    Names(Sort),
    /// Clients with subscriptions.
    Clients,
}

/// The subscriptions of a process.
pub struct PubSub {
    registry: RwLock<Registry>,
    hasher: RandomState,
    poster: OnceLock<Arc<dyn Poster>>,
    waiting: Box<[Waiting]>,
    /// Number of names by sort, for readers without the lock.
    names: [AtomicUsize; Sort::COUNT],
    clients: AtomicI64,
}

impl PubSub {
    /// Creates a hub of `shards` shards. The text is secret, so that no client can choose names
    /// with equal hashes.
    pub fn new(shards: usize, secret: &str) -> PubSub {
        let [a, b, c, d] =
            [1, 2, 3, 4].map(|number| RandomState::with_seeds(number, 0, 0, 0).hash_one(secret));
        let hasher = RandomState::with_seeds(a, b, c, d);
        PubSub {
            registry: RwLock::new(Registry::new(&hasher)),
            hasher,
            poster: OnceLock::new(),
            waiting: (0..shards).map(|_| Waiting::default()).collect(),
            names: Default::default(),
            clients: AtomicI64::new(0),
        }
    }

    /// Returns the hash of names.
    pub fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// Sets what posts messages. Only the first call has an effect.
    pub fn connect(&self, poster: Arc<dyn Poster>) {
        let _ = self.poster.set(poster);
    }

    /// Returns whether there may be a subscription to a channel of this sort.
    ///
    /// A client learns of a subscription from the reply to it, which follows the store.
    #[inline]
    pub fn is_used(&self, sort: Sort) -> bool {
        let has = |sort: Sort| self.names[sort as usize].load(Ordering::Acquire) > 0;
        has(sort) || sort == Sort::Channel && has(Sort::Pattern)
    }

    /// Publishes a message from shard `from`, and returns the number of subscriptions that get it.
    /// `payload` is called only if there are any.
    pub fn publish(
        &self,
        (from, cause): (u16, Option<Cause>),
        sort: Sort,
        channel: &[u8],
        payload: impl FnOnce() -> Bytes,
    ) -> usize {
        debug_assert!(sort != Sort::Pattern, "nobody publishes to a pattern");
        if !self.is_used(sort) {
            return 0;
        }
        let registry = self.read();
        let mut found = Found::default();
        found.add(registry.homes(sort, channel));
        if sort == Sort::Channel {
            registry.for_each_match(channel, |pattern, homes| {
                found.patterns.push(pattern.clone());
                found.add(homes);
            });
        }
        let Found { mut homes, count, patterns } = found;
        if count == 0 {
            return 0;
        }
        let payload = payload();
        let bytes_weight = (payload.len() + channel.len()) / BYTES_PER_WEIGHT;
        homes.iter_mut().for_each(|(_, weight)| *weight += bytes_weight);
        for &(home, weight) in &homes {
            let waiting = &self.waiting[usize::from(home)];
            waiting.messages.fetch_add(1, Ordering::AcqRel);
            waiting.weight.fetch_add(weight, Ordering::Relaxed);
            if home == from {
                waiting.own_messages.fetch_add(1, Ordering::Relaxed);
            }
        }
        let message = Published {
            sort,
            channel: Bytes::copy_from_slice(channel),
            payload,
            patterns,
            version: registry.version,
            cause,
            from,
            sequence: 0,
            homes,
        };
        self.poster().post(message);
        count
    }

    /// Records that shard `home` has taken a message from its inbox.
    pub fn taken(&self, home: usize, message: &Published) {
        let waiting = &self.waiting[home];
        let before = waiting.messages.fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "a message is taken once");
        let weight = message.homes.iter().find(|it| usize::from(it.0) == home);
        let (_, weight) = weight.expect("the message was posted to this shard");
        waiting.weight.fetch_sub(*weight, Ordering::Relaxed);
        if usize::from(message.from) == home {
            waiting.own_messages.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Returns whether messages that shard `home` itself has published are in its inbox.
    #[inline]
    pub fn awaits_own(&self, home: usize) -> bool {
        self.waiting[home].own_messages.load(Ordering::Relaxed) > 0
    }

    /// Returns whether the inbox of a shard has as much as it may have.
    #[inline]
    pub fn is_full(&self) -> bool {
        let is_full = |it: &Waiting| it.weight.load(Ordering::Relaxed) > WAITING_WEIGHT_MAX;
        (self.is_used(Sort::Channel) || self.is_used(Sort::ShardChannel))
            && self.waiting.iter().any(is_full)
    }

    /// Adds subscriptions of shard `home`. Returns their version.
    pub fn subscribe(&self, home: u16, sort: Sort, names: &[Bytes]) -> u64 {
        let mut registry = self.write();
        names.iter().for_each(|name| registry.add(home, sort, name));
        self.count_names(&registry, sort);
        registry.version
    }

    /// Removes subscriptions of shard `home`. Returns the version from which on they get no
    /// messages, and whether the shard's inbox still has messages.
    pub fn unsubscribe(&self, home: u16, sort: Sort, names: &[Bytes]) -> (u64, bool) {
        let mut registry = self.write();
        names.iter().for_each(|name| registry.remove(home, sort, name));
        self.count_names(&registry, sort);
        let waiting = &self.waiting[usize::from(home)];
        (registry.version, waiting.messages.load(Ordering::Acquire) > 0)
    }

    fn count_names(&self, registry: &Registry, sort: Sort) {
        self.names[sort as usize].store(registry.names(sort).len(), Ordering::Release);
    }

    /// Records that a client has got its first subscription, or has lost its last.
    pub fn count_client(&self, has: bool) {
        self.clients.fetch_add(if has { 1 } else { -1 }, Ordering::Relaxed);
    }

    /// Returns a number for INFO.
    pub fn count(&self, what: Count) -> u64 {
        match what {
            Count::Names(sort) => self.names[sort as usize].load(Ordering::Acquire) as u64,
            Count::Clients => self.clients.load(Ordering::Relaxed).max(0) as u64,
        }
    }

    /// Returns the number of subscriptions to each of some names, all at one moment.
    pub fn count_subscriptions<'n>(
        &self,
        sort: Sort,
        names: impl Iterator<Item = &'n [u8]>,
    ) -> Vec<u64> {
        let registry = self.read();
        let sum = |name| registry.homes(sort, name).iter().map(|it| u64::from(it.1)).sum();
        names.map(sum).collect()
    }

    /// Returns the names that have subscriptions and pass the filter.
    pub fn names(&self, sort: Sort, passes: impl Fn(&[u8]) -> bool) -> Vec<Bytes> {
        self.read().names(sort).filter(|name| passes(name)).cloned().collect()
    }

    fn poster(&self) -> &dyn Poster {
        &**self.poster.get().expect("a shard with subscriptions has connected the hub")
    }

    /// Takes the lock without blocking: under a test's scheduler its holder may have to run first.
    fn lock<G>(&self, attempt: impl Fn() -> TryLockResult<G>) -> G {
        loop {
            match attempt() {
                Ok(guard) => return guard,
                // Counts and names are whole wherever a thread could panic.
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => match self.poster.get() {
                    Some(poster) => poster.idle(),
                    None => std::thread::yield_now(),
                },
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Registry> {
        self.lock(|| self.registry.try_read())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Registry> {
        self.lock(|| self.registry.try_write())
    }
}

/// The subscriptions that a message is for.
#[derive(Default)]
struct Found {
    /// The shards, each with its number of subscriptions.
    homes: Vec<(u16, usize)>,
    count: usize,
    patterns: Vec<Bytes>,
}

impl Found {
    fn add(&mut self, homes: &[(u16, u32)]) {
        for &(home, count) in homes {
            self.count += count as usize;
            match self.homes.iter_mut().find(|(other, _)| *other == home) {
                Some((_, sum)) => *sum += count as usize,
                None => self.homes.push((home, count as usize)),
            }
        }
    }
}
