//! Where a partition lies while its shard is parked, and what its shard holds it by.

use super::partition::Partition;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// One berth per partition. The hold word in the mesh says who may look into it, so its lock is
/// never contended.
#[derive(Clone)]
pub struct Berths(Arc<[Mutex<Option<Box<Partition>>>]>);

impl Berths {
    /// Returns empty berths: each shard holds its partition.
    pub fn new(shards: usize) -> Berths {
        Berths((0..shards).map(|_| Mutex::new(None)).collect())
    }

    /// Puts a partition into its berth, before it is let go.
    pub fn put(&self, partition: Box<Partition>) {
        let berth = &self.0[partition.env().me];
        let before = berth.lock().unwrap_or_else(PoisonError::into_inner).replace(partition);
        assert!(before.is_none(), "there is one of each partition");
    }

    /// Takes a partition out of its berth. Only the holder of its hold word does.
    pub fn take(&self, shard: usize) -> Box<Partition> {
        let berth = &self.0[shard];
        let partition = berth.lock().unwrap_or_else(PoisonError::into_inner).take();
        partition.expect("a partition that is free lies in its berth")
    }
}

/// A shard's hold on its own partition. It is there but while the shard is parked.
pub struct Holding(Option<Box<Partition>>);

impl Holding {
    /// Returns the hold on a partition.
    pub fn new(partition: Box<Partition>) -> Holding {
        Holding(Some(partition))
    }

    /// Lets the partition go into its berth.
    pub fn put(&mut self, berths: &Berths) {
        berths.put(self.0.take().expect("a shard parks once"));
    }

    /// Takes the partition back out of its berth.
    pub fn take(&mut self, berths: &Berths, shard: usize) {
        assert!(self.0.is_none(), "it was let go");
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
        self.0.as_deref().expect("a shard that is awake holds its partition")
    }
}

impl DerefMut for Holding {
    #[inline]
    fn deref_mut(&mut self) -> &mut Partition {
        self.0.as_deref_mut().expect("a shard that is awake holds its partition")
    }
}
