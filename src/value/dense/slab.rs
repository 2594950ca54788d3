#![allow(unsafe_code)]
//! Slab allocator for the pages of a dense table. Hot.
//!
//! ```text
//!   class    blocks of one size: 32, 64, .. 256, then 8 steps per power of two
//!   extent   16 KiB of blocks, side by side      extents of a class: full ones, then the last
//!
//!   | A | B | C | D |   | E | F |   |   |        C is freed: F is moved to its place
//!   | A | B | F | D |   | E |   |   |   |
//! ```
//!
//! Pages grow and shrink all the time. With blocks from the general allocator, a third of the
//! memory was fragmentation. A class has no holes: when a block is freed, the last block of the
//! class moves into its place. Each block begins with the number of its page, so the table can
//! update its directory.

use crate::base::alloc::class_bytes;

/// Bytes of an extent. A class with larger blocks has one block per extent.
const EXTENT_BYTES: usize = 16 << 10;

/// The largest block, in bytes, whose size is a multiple of [`SMALL_STEP`].
const SMALL_BYTES_MAX: usize = 256;
const SMALL_STEP: usize = 32;
const SMALL_CLASSES: usize = SMALL_BYTES_MAX / SMALL_STEP;

/// Size steps per power of two of larger blocks, as a shift.
const STEP_SHIFT: u32 = 3;

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// The most cache lines of a block that are prefetched.
const PREFETCHED_LINES_MAX: usize = 12;

/// Extents that one call of [`Slab::free_step`] frees.
const FREE_EXTENTS: usize = 64;

/// Location of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    extent: u32,
    place: u16,
    class: u16,
}

impl Block {
    /// No block: the page has no elements.
    pub const NONE: Block = Block { extent: 0, place: 0, class: u16::MAX };
}

/// Returns the class of the smallest blocks that hold `bytes` bytes.
fn class_of(bytes: usize) -> usize {
    if bytes <= SMALL_BYTES_MAX {
        return (bytes - 1) / SMALL_STEP;
    }
    let power = (bytes - 1).ilog2();
    let step = (bytes - 1 - (1 << power)) >> (power - STEP_SHIFT);
    let powers = (power - SMALL_BYTES_MAX.ilog2()) as usize;
    SMALL_CLASSES + (powers << STEP_SHIFT) + step
}

/// Returns the size in bytes of the blocks of a class.
fn block_bytes(class: usize) -> usize {
    let Some(large) = class.checked_sub(SMALL_CLASSES) else { return (class + 1) * SMALL_STEP };
    let power = SMALL_BYTES_MAX.ilog2() as usize + (large >> STEP_SHIFT);
    let steps = large % (1 << STEP_SHIFT) + 1;
    (1 << power) + (steps << (power - STEP_SHIFT as usize))
}

/// Returns the size in bytes of the block that [`Slab::alloc`] takes for `bytes` bytes.
pub fn bytes_taken(bytes: usize) -> usize {
    block_bytes(class_of(bytes))
}

/// Returns the number of blocks in a full extent.
fn blocks_per_extent(class: usize) -> usize {
    (EXTENT_BYTES / block_bytes(class)).max(1)
}

#[derive(Clone, Debug, Default)]
struct Class {
    extents: Vec<Box<[u8]>>,
    blocks: usize,
}

/// All blocks of a table.
#[derive(Clone, Debug, Default)]
pub struct Slab {
    classes: Vec<Class>,
    /// Bytes of all extents, as the allocator counts them.
    extent_bytes: usize,
}

impl Slab {
    #[inline]
    fn bounds(block: Block) -> std::ops::Range<usize> {
        let bytes = block_bytes(usize::from(block.class));
        let start = usize::from(block.place) * bytes;
        start..start + bytes
    }

    /// Returns the bytes of a block.
    #[inline]
    pub fn bytes(&self, block: Block) -> &[u8] {
        let extents = &self.classes[usize::from(block.class)].extents;
        &extents[block.extent as usize][Slab::bounds(block)]
    }

    /// Prefetches the cache lines of a block together. An element's place in the block is known
    /// only after two of them have been read.
    #[inline]
    pub fn prefetch(&self, block: Block) {
        self.bytes(block).chunks(LINE_BYTES).take(PREFETCHED_LINES_MAX).for_each(prefetch);
    }

    /// Returns the bytes of a block, for changes.
    #[inline]
    pub fn bytes_mut(&mut self, block: Block) -> &mut [u8] {
        let extents = &mut self.classes[usize::from(block.class)].extents;
        &mut extents[block.extent as usize][Slab::bounds(block)]
    }

    /// Allocates a block of at least `bytes` bytes, with undefined contents.
    pub fn alloc(&mut self, bytes: usize) -> Block {
        let class = class_of(bytes);
        if self.classes.len() <= class {
            self.classes.resize_with(class + 1, Class::default);
        }
        let index = self.classes[class].blocks;
        let block = Slab::at(class, index);
        self.make_room(class, block);
        self.classes[class].blocks = index + 1;
        block
    }

    /// Returns the location of block number `index` of a class.
    fn at(class: usize, index: usize) -> Block {
        let per_extent = blocks_per_extent(class);
        Block {
            extent: (index / per_extent) as u32,
            place: (index % per_extent) as u16,
            class: class as u16,
        }
    }

    /// Makes the extent of a new block long enough. The first extent of a class grows with its
    /// blocks, so that a small table stays small.
    fn make_room(&mut self, class: usize, block: Block) {
        let extents = &mut self.classes[class].extents;
        let (end, at) = (Slab::bounds(block).end, block.extent as usize);
        if extents.get(at).is_some_and(|extent| extent.len() >= end) {
            return;
        }
        let full = EXTENT_BYTES.max(block_bytes(class));
        let grown = end + end / 4;
        let is_small = at == 0 && grown < full;
        let bytes = if is_small { class_bytes(grown).min(full) } else { full };
        self.set_extent(class, at, bytes);
    }

    /// Resizes or creates an extent.
    fn set_extent(&mut self, class: usize, at: usize, bytes: usize) {
        let extents = &mut self.classes[class].extents;
        if at == extents.len() {
            extents.push(Box::default());
        }
        let mut extent = std::mem::take(&mut extents[at]).into_vec();
        let before = if extent.is_empty() { 0 } else { class_bytes(extent.len()) };
        extent.reserve_exact(bytes.saturating_sub(extent.len()));
        extent.resize(bytes, 0);
        extents[at] = extent.into_boxed_slice();
        self.extent_bytes = self.extent_bytes - before + class_bytes(bytes);
    }

    /// Frees a block. The last block of its class may move into its place; then returns the page
    /// number of the moved block.
    pub fn free(&mut self, block: Block) -> Option<u32> {
        let number = usize::from(block.class);
        let class = &mut self.classes[number];
        class.blocks -= 1;
        let last = Slab::at(number, class.blocks);
        let moved = (last != block).then(|| {
            let (from, to) = (Slab::bounds(last), Slab::bounds(block));
            if last.extent == block.extent {
                class.extents[last.extent as usize].copy_within(from, to.start);
            } else {
                let both = [last.extent as usize, block.extent as usize];
                let [source, target] = class.extents.get_disjoint_mut(both).expect("two extents");
                target[to].copy_from_slice(&source[from]);
            }
            owner(&class.extents[block.extent as usize][Slab::bounds(block)])
        });
        self.give_back(number, last);
        moved
    }

    /// Releases memory after the last block of a class was freed.
    fn give_back(&mut self, number: usize, last: Block) {
        let class = &mut self.classes[number];
        let at = last.extent as usize;
        if last.place == 0 {
            let extent = class.extents.pop().expect("the last block has an extent");
            self.extent_bytes -= class_bytes(extent.len());
            return;
        }
        let used = Slab::bounds(last).start;
        if at == 0 && class.extents[0].len() >= 2 * used + EXTENT_BYTES / 8 {
            self.set_extent(number, 0, class_bytes(used + used / 4));
        }
    }

    /// Returns the bytes of memory, as the allocator counts them.
    pub fn memory_bytes(&self) -> usize {
        let array = |bytes: usize| if bytes == 0 { 0 } else { class_bytes(bytes) };
        let lists = self
            .classes
            .iter()
            .map(|class| array(class.extents.capacity() * size_of::<Box<[u8]>>()));
        let classes = array(self.classes.capacity() * size_of::<Class>());
        classes + lists.sum::<usize>() + self.extent_bytes
    }

    /// Frees some extents, whatever they contain. Returns true when nothing is left.
    pub fn free_step(&mut self) -> bool {
        for _ in 0..FREE_EXTENTS {
            let Some(class) = self.classes.last_mut() else { return true };
            if class.extents.pop().is_none() {
                self.classes.pop();
            }
        }
        self.classes.is_empty()
    }

    /// Asserts the invariants of the slab, and passes each block to `show`.
    pub fn check(&self, show: &mut dyn FnMut(Block, &[u8])) {
        let mut bytes = 0;
        for (number, class) in self.classes.iter().enumerate() {
            let per_extent = blocks_per_extent(number);
            assert_eq!(class.extents.len(), class.blocks.div_ceil(per_extent));
            bytes += class.extents.iter().map(|extent| class_bytes(extent.len())).sum::<usize>();
            for index in 0..class.blocks {
                let block = Slab::at(number, index);
                show(block, self.bytes(block));
            }
        }
        assert_eq!(bytes, self.extent_bytes);
    }
}

/// Prefetches the cache line in which `bytes` begins.
#[inline]
fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint and reads no memory.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// Returns the page number in a block.
fn owner(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(*bytes.first_chunk().expect("a block begins with its page's number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn the_chosen_class_is_the_smallest_that_fits() {
        for bytes in 1..20_000 {
            let class = class_of(bytes);
            assert!(block_bytes(class) >= bytes);
            assert!(class == 0 || block_bytes(class - 1) < bytes);
        }
        assert_eq!([1, 32, 33, 256, 257, 288, 512, 513].map(class_of), [0, 0, 1, 7, 8, 8, 15, 16]);
        assert_eq!([0, 7, 8, 15, 16].map(block_bytes), [32, 256, 288, 512, 576]);
    }

    #[test]
    fn blocks_keep_their_bytes_while_others_are_allocated_and_freed() {
        let mut rng = Rng::new(4);
        let (mut slab, mut blocks) = (Slab::default(), Vec::<Option<(Block, usize)>>::new());
        for phase in 0..6 {
            for _ in 0..2_000 {
                let grows = rng.below(10) < if phase % 2 == 0 { 7 } else { 3 };
                if grows || blocks.is_empty() {
                    let bytes = 8 + rng.below([200, 900, 40_000][phase % 3]) as usize;
                    let block = slab.alloc(bytes);
                    let number = blocks.len() as u32;
                    slab.bytes_mut(block).fill(number as u8);
                    slab.bytes_mut(block)[..4].copy_from_slice(&number.to_le_bytes());
                    blocks.push(Some((block, bytes)));
                } else {
                    let drawn = rng.below(blocks.len() as u64) as usize;
                    if let Some((block, _)) = blocks[drawn].take()
                        && let Some(moved) = slab.free(block)
                    {
                        blocks[moved as usize].as_mut().expect("a moved block is allocated").0 =
                            block;
                    }
                }
            }
            let mut seen = 0;
            slab.check(&mut |block, bytes| {
                let number = owner(bytes);
                let (known, len) = blocks[number as usize].expect("the block is allocated");
                assert_eq!(known, block);
                assert!(bytes[4..len].iter().all(|byte| *byte == number as u8));
                seen += 1;
            });
            assert_eq!(seen, blocks.iter().flatten().count());
        }
        while !slab.free_step() {}
    }
}
