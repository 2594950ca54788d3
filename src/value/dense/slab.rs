#![allow(unsafe_code)]
//! The memory of a table's pages. Hot.
//!
//! ```text
//!   class    blocks of one size: 32, 64, .. 256, then 8 steps per power of two
//!   extent   16 KiB of blocks, side by side      extents of a class: full ones, then the last
//!
//!   | A | B | C | D |   | E | F |   |   |        C is freed: F is moved to its place
//!   | A | B | F | D |   | E |   |   |   |
//! ```
//!
//! Pages grow and shrink all the time, each in its own way, and with blocks from the allocator a
//! third of the memory was holes. Here a class has none: its last block is moved to where one is
//! freed. A block begins with the number of its page, so that the directory can be told.

use crate::base::alloc::class_bytes;

/// Bytes of an extent; one of larger blocks is as large as its block.
const EXTENT_BYTES: usize = 16 << 10;

/// Blocks up to this size have classes of [`SMALL_STEP`].
const SMALL_BYTES_MAX: usize = 256;
const SMALL_STEP: usize = 32;
const SMALL_CLASSES: usize = SMALL_BYTES_MAX / SMALL_STEP;

/// Steps per power of two of larger blocks, as a shift.
const STEP_SHIFT: u32 = 3;

/// Bytes of a line of the cache.
const LINE_BYTES: usize = 64;

/// More lines of a block are not asked for ahead.
const PREFETCHED_LINES_MAX: usize = 12;

/// Extents that [`Slab::free_step`] frees.
const FREE_EXTENTS: usize = 64;

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    extent: u32,
    place: u16,
    class: u16,
}

impl Block {
    /// No block: a page without elements.
    pub const NONE: Block = Block { extent: 0, place: 0, class: u16::MAX };
}

/// The class of blocks that hold so many bytes.
fn class_of(bytes: usize) -> usize {
    if bytes <= SMALL_BYTES_MAX {
        return (bytes - 1) / SMALL_STEP;
    }
    let power = (bytes - 1).ilog2();
    let step = (bytes - 1 - (1 << power)) >> (power - STEP_SHIFT);
    let powers = (power - SMALL_BYTES_MAX.ilog2()) as usize;
    SMALL_CLASSES + (powers << STEP_SHIFT) + step
}

/// Bytes of a block of a class.
fn block_bytes(class: usize) -> usize {
    let Some(large) = class.checked_sub(SMALL_CLASSES) else { return (class + 1) * SMALL_STEP };
    let power = SMALL_BYTES_MAX.ilog2() as usize + (large >> STEP_SHIFT);
    let steps = large % (1 << STEP_SHIFT) + 1;
    (1 << power) + (steps << (power - STEP_SHIFT as usize))
}

/// Bytes of the block that is taken for so many.
pub fn bytes_taken(bytes: usize) -> usize {
    block_bytes(class_of(bytes))
}

/// Blocks of a full extent.
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

    /// The bytes of a block.
    #[inline]
    pub fn bytes(&self, block: Block) -> &[u8] {
        let extents = &self.classes[usize::from(block.class)].extents;
        &extents[block.extent as usize][Slab::bounds(block)]
    }

    /// Asks for all lines of a block at once: where an element lies in it is known only after two
    /// of them have been read.
    #[inline]
    pub fn prefetch(&self, block: Block) {
        self.bytes(block).chunks(LINE_BYTES).take(PREFETCHED_LINES_MAX).for_each(prefetch);
    }

    /// The bytes of a block, to be changed.
    #[inline]
    pub fn bytes_mut(&mut self, block: Block) -> &mut [u8] {
        let extents = &mut self.classes[usize::from(block.class)].extents;
        &mut extents[block.extent as usize][Slab::bounds(block)]
    }

    /// A block of at least so many bytes, whatever they are.
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

    /// The block of this number in its class.
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

    /// Gives an extent another length, or makes it.
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

    /// Frees a block. Another one may have been moved to its place: then the number of its page
    /// is given.
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

    /// Gives memory back after the last block of a class has gone.
    fn give_back(&mut self, number: usize, last: Block) {
        let class = &mut self.classes[number];
        let at = last.extent as usize;
        if last.place == 0 {
            let extent = class.extents.pop().expect("the block was in one");
            self.extent_bytes -= class_bytes(extent.len());
            return;
        }
        let used = Slab::bounds(last).start;
        if at == 0 && class.extents[0].len() >= 2 * used + EXTENT_BYTES / 8 {
            self.set_extent(number, 0, class_bytes(used + used / 4));
        }
    }

    /// Bytes of memory, as the allocator counts them.
    pub fn memory_bytes(&self) -> usize {
        let array = |bytes: usize| if bytes == 0 { 0 } else { class_bytes(bytes) };
        let lists = self
            .classes
            .iter()
            .map(|class| array(class.extents.capacity() * size_of::<Box<[u8]>>()));
        let classes = array(self.classes.capacity() * size_of::<Class>());
        classes + lists.sum::<usize>() + self.extent_bytes
    }

    /// Frees a part of the memory, whatever is in it; true when nothing is left.
    pub fn free_step(&mut self) -> bool {
        for _ in 0..FREE_EXTENTS {
            let Some(class) = self.classes.last_mut() else { return true };
            if class.extents.pop().is_none() {
                self.classes.pop();
            }
        }
        self.classes.is_empty()
    }

    /// Asserts what must hold; shows each block.
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

/// Asks for the line in which these bytes begin.
#[inline]
fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which reads nothing.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// The number of a block's page.
fn owner(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(*bytes.first_chunk().expect("a block holds its page's number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn classes_are_dense_and_hold_what_they_are_for() {
        for bytes in 1..20_000 {
            let class = class_of(bytes);
            assert!(block_bytes(class) >= bytes);
            assert!(class == 0 || block_bytes(class - 1) < bytes);
        }
        assert_eq!([1, 32, 33, 256, 257, 288, 512, 513].map(class_of), [0, 0, 1, 7, 8, 8, 15, 16]);
        assert_eq!([0, 7, 8, 15, 16].map(block_bytes), [32, 256, 288, 512, 576]);
    }

    #[test]
    fn blocks_keep_their_bytes_while_others_come_and_go() {
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
                        blocks[moved as usize].as_mut().expect("it is there").0 = block;
                    }
                }
            }
            let mut seen = 0;
            slab.check(&mut |block, bytes| {
                let number = owner(bytes);
                let (known, len) = blocks[number as usize].expect("it was not freed");
                assert_eq!(known, block);
                assert!(bytes[4..len].iter().all(|byte| *byte == number as u8));
                seen += 1;
            });
            assert_eq!(seen, blocks.iter().flatten().count());
        }
        while !slab.free_step() {}
    }
}
