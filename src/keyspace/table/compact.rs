//! Compaction of the slab: which regions are emptied, and when.
//!
//! ```text
//!   idle --much is free--> Weigh: counts the blocks in use of each region
//!                          Retire: the lightest regions, so that the others have room for all
//!                          Walk: the slice moves blocks out of retired regions
//!                          Readmit: regions that still have blocks --> idle
//! ```
//! Regions that are empty go back to the system at any time, see `slab.rs`. Blocks are moved into
//! free blocks of the regions that stay, so memory does not grow first.

use super::heap::Heap;
use crate::base::alloc::REGION_BYTES;

/// Regions that one step weighs; about 80 us.
const STEP_WEIGH: usize = 8;

/// Regions that one step retires; about 60 us.
const STEP_RETIRE: usize = 2;

/// Percentage of a region that blocks fill in the regions that stay. The headers of pages and the
/// ends that fit no block take about 2 %.
const FILL_PERCENT: usize = 93;

/// Regions that stay in addition to those with blocks: pages of many sizes are not full.
const SPARE_REGIONS: usize = 2;

/// From which amount on free memory is worth a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of free memory in the regions.
    pub free_bytes_min: usize,
    /// Free memory as a percentage of the memory in use.
    pub free_percent_min: usize,
}

/// How far a compaction has come.
#[derive(Debug, Default)]
pub enum Plan {
    /// None is under way.
    #[default]
    Idle,
    /// Regions from this index on are weighed.
    Weigh(usize),
    /// These regions are retired, the last one first.
    Retire(Vec<usize>),
    /// Blocks are moved out of retired regions.
    Walk,
    /// Regions that were not emptied are used again.
    Readmit,
}

impl Plan {
    /// Begins a compaction if enough memory is free.
    pub fn begin(&mut self, heap: &Heap, limits: Limits) {
        let (used, mapped) = (heap.slab_bytes(), heap.slab_mapped_bytes());
        let free = mapped.saturating_sub(used);
        let is_much = free >= limits.free_bytes_min.max((SPARE_REGIONS + 1) * REGION_BYTES)
            && free / 100 >= used / 100 * limits.free_percent_min / 100;
        if matches!(self, Plan::Idle) && is_much {
            *self = Plan::Weigh(0);
        }
    }

    /// Returns whether none is under way.
    pub fn is_idle(&self) -> bool {
        matches!(self, Plan::Idle)
    }

    /// Takes a step, for about 100 us. Returns whether blocks are to be moved now: the caller then
    /// walks over all tables, and calls [`Plan::end_walk`] after that.
    pub fn step(&mut self, heap: &mut Heap) -> bool {
        match self {
            Plan::Idle => false,
            Plan::Walk => true,
            Plan::Weigh(next) => {
                let end = (*next + STEP_WEIGH).min(heap.slab.regions());
                (*next..end).for_each(|index| heap.slab.weigh(index));
                *next += STEP_WEIGH;
                if *next >= heap.slab.regions() {
                    let bases = lightest(heap.slab.weights());
                    *self = if bases.is_empty() { Plan::Idle } else { Plan::Retire(bases) };
                }
                false
            }
            Plan::Retire(bases) => {
                for _ in 0..STEP_RETIRE {
                    match bases.pop() {
                        Some(base) => heap.slab.retire(base),
                        None => {
                            *self = Plan::Walk;
                            break;
                        }
                    }
                }
                false
            }
            Plan::Readmit => {
                if !heap.slab.readmit_step() {
                    *self = Plan::Idle;
                }
                false
            }
        }
    }

    /// Ends the walk, or stops the compaction.
    pub fn end_walk(&mut self) {
        if !self.is_idle() {
            *self = Plan::Readmit;
        }
    }
}

/// Returns the lightest regions: as many as the others have room for.
fn lightest(mut weights: Vec<(u32, usize)>) -> Vec<usize> {
    let total: usize = weights.iter().map(|(weight, _)| *weight as usize).sum();
    let fill = REGION_BYTES / 100 * FILL_PERCENT;
    let staying = total.div_ceil(fill) + SPARE_REGIONS;
    weights.sort_unstable();
    weights.truncate(weights.len().saturating_sub(staying));
    weights.retain(|(weight, _)| (*weight as usize) < fill);
    weights.into_iter().map(|(_, base)| base).collect()
}
