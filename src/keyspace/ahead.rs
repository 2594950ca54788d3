//! Look-ups ahead of their time: what keys lead to is brought closer, all keys step by step. Hot.
//!
//! ```text
//!   slot roots -> buckets -> first lines of entries, or next buckets -> the rest of both
//! ```
//!
//! Most steps miss the processor's translation buffer too, and it works on several such misses at a
//! time only while they lie close together in the program. So each step is a tight loop of its own.

use super::slice::Slice;
use super::table::Trail;

/// Keys of one call at most.
pub const SPOTS_MAX: usize = 64;

/// Where a key leads to; its name does not matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spot {
    /// The key's hash under the slice's seed.
    pub hash: u64,
    /// Its slot. If the slice does not have it (any more), there is nothing to ask for.
    pub slot: u16,
    /// Its database.
    pub db: u16,
}

impl Slice {
    /// Asks for the root of the key's slot.
    #[inline]
    pub fn prefetch_root(&self, spot: Spot) {
        let index = usize::from(spot.slot);
        if let Some(table) = self.databases[usize::from(spot.db)].table(index) {
            table.prefetch();
        }
    }

    /// Asks for the buckets that these keys lead to, after the roots have arrived.
    pub fn prefetch_buckets(&self, spots: &[Spot]) {
        for spot in spots {
            let index = usize::from(spot.slot);
            if let Some(table) = self.databases[usize::from(spot.db)].table(index) {
                table.prefetch_bucket(spot.hash);
            }
        }
    }

    /// Asks for the first lines of these keys' entries, after the buckets have arrived.
    pub fn prefetch_entries(&self, spots: &[Spot]) {
        for spot in spots {
            let index = usize::from(spot.slot);
            if let Some(table) = self.databases[usize::from(spot.db)].table(index) {
                table.prefetch_entry(spot.hash);
            }
        }
    }

    /// Asks for all that look-ups of these keys will read, except the roots of their slots:
    /// [`Slice::prefetch_root`] has asked for those.
    pub fn prefetch(&self, spots: &[Spot]) {
        assert!(spots.len() <= SPOTS_MAX);
        let mut trails = [Trail::End; SPOTS_MAX];
        for (spot, trail) in spots.iter().zip(&mut trails) {
            let index = usize::from(spot.slot);
            if let Some(table) = self.databases[usize::from(spot.db)].table(index) {
                *trail = table.trail(spot.hash);
            }
        }
        for (spot, trail) in spots.iter().zip(&mut trails) {
            *trail = trail.follow(spot.hash);
        }
        for (spot, trail) in spots.iter().zip(&trails) {
            trail.follow(spot.hash);
        }
    }
}
