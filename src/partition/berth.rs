//! Berths: a partition's place while its shard is parked, and the shard's hold on its partition.

use super::partition::Partition;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// One berth per partition. The hold word in the mesh determines who may access a berth, so its
/// lock is never contended.
#[derive(Clone)]
pub struct Berths(Arc<[Mutex<Option<Box<Partition>>>]>);

impl Berths {
    /// Creates empty berths: each shard holds its partition.
    pub fn new(shards: usize) -> Berths {
        Berths((0..shards).map(|_| Mutex::new(None)).collect())
    }

    /// Puts a partition into its berth, before its holder lets it go.
    pub fn put(&self, partition: Box<Partition>) {
        let berth = &self.0[partition.env().me];
        let before = berth.lock().unwrap_or_else(PoisonError::into_inner).replace(partition);
        assert!(before.is_none(), "each partition exists once");
    }

    /// Takes a partition out of its berth. Only the holder of its hold word may call it.
    pub fn take(&self, shard: usize) -> Box<Partition> {
        let berth = &self.0[shard];
        let partition = berth.lock().unwrap_or_else(PoisonError::into_inner).take();
        partition.expect("a free partition is in its berth")
    }
}

/// A shard's hold on its own partition. Empty only while the shard is parked.
pub struct Holding(Option<Box<Partition>>);

impl Holding {
    /// Creates the hold on a partition.
    pub fn new(partition: Box<Partition>) -> Holding {
        Holding(Some(partition))
    }

    /// Moves the partition into its berth.
    pub fn put(&mut self, berths: &Berths) {
        berths.put(self.0.take().expect("a shard parks once"));
    }

    /// Takes the partition back out of its berth.
    pub fn take(&mut self, berths: &Berths, shard: usize) {
        assert!(self.0.is_none(), "the partition was let go");
        self.0 = Some(berths.take(shard));
    }

    /// Returns whether the shard holds its partition.
    pub fn is_here(&self) -> bool {
        self.0.is_some()
    }
}

impl Deref for Holding {
    type Target = Partition;

    #[inline]
    fn deref(&self) -> &Partition {
        self.0.as_deref().expect("an awake shard holds its partition")
    }
}

impl DerefMut for Holding {
    #[inline]
    fn deref_mut(&mut self) -> &mut Partition {
        self.0.as_deref_mut().expect("an awake shard holds its partition")
    }
}
