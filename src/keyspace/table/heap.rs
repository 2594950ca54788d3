#![allow(unsafe_code)]
//! Memory for entries and buckets: small blocks come from the slab, others from the allocator. Hot.

use super::slab::{SLAB_BYTES_MAX, Slab, block_bytes};
use crate::base::alloc::class_bytes;
use crate::base::holes::release_pages;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// The allocator of one slice's blocks.
#[derive(Debug, Default)]
pub struct Heap {
    pub(super) slab: Slab,
    /// Bytes of the blocks that are in use.
    used_bytes: usize,
    /// Bytes of the blocks that are in use and not in the slab.
    large_bytes: usize,
}

impl Heap {
    /// Returns the bytes that a block for `size` bytes takes.
    #[inline]
    pub fn class(size: usize) -> usize {
        if size <= SLAB_BYTES_MAX { block_bytes(size) } else { class_bytes(size) }
    }

    /// Allocates a block of at least `size` bytes with undefined content, aligned to 8.
    #[inline]
    pub fn alloc(&mut self, size: usize) -> NonNull<u8> {
        self.used_bytes += Heap::class(size);
        if size <= SLAB_BYTES_MAX {
            return self.slab.alloc(size);
        }
        self.large_bytes += Heap::class(size);
        let layout = layout_of(size);
        // SAFETY: the layout is not empty.
        let block = unsafe { alloc(layout) };
        NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout))
    }

    /// Frees a block.
    ///
    /// # Safety
    ///
    /// The block was allocated from this heap for a size of the same class and is not used any
    /// more.
    #[inline]
    pub unsafe fn free(&mut self, block: NonNull<u8>, size: usize) {
        self.used_bytes -= Heap::class(size);
        // SAFETY: the caller's contract; the size tells which allocator the block came from.
        unsafe {
            if size <= SLAB_BYTES_MAX {
                self.slab.free(block);
            } else {
                self.large_bytes -= Heap::class(size);
                dealloc(block.as_ptr(), layout_of(size));
            }
        }
    }

    /// Returns whether [`Heap::release_step`] may have memory to give back.
    pub fn has_spare_region(&self) -> bool {
        self.slab.has_spare_region()
    }

    /// Gives at most one region of free memory back to the system. Returns false if there is none.
    pub fn release_step(&mut self) -> bool {
        self.slab.release_step()
    }

    /// Returns the bytes of the blocks that are in use.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Returns the bytes of the slab's regions.
    pub fn slab_mapped_bytes(&self) -> usize {
        self.slab.mapped_bytes()
    }

    /// Returns the bytes of the slab's blocks that are in use.
    pub fn slab_bytes(&self) -> usize {
        self.used_bytes - self.large_bytes
    }
}

// SAFETY: a heap owns what it points at.
unsafe impl Send for Heap {}

/// Rounds the size up to its class, so that the whole block may be used.
#[inline]
fn layout_of(size: usize) -> Layout {
    Layout::from_size_align(class_bytes(size), 8)
        .expect("a block is smaller than the address space")
}

/// Asks the processor for a cache line.
#[inline]
pub fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program could see, wherever it points.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Gives the whole pages among `bytes` back to the system, while the block that they are of stays
/// in use: freeing that is quick then. What the bytes are after that is not known.
pub fn give_back(bytes: &mut [u8]) {
    // SAFETY: the slice is exclusive, and any value of a byte is valid.
    unsafe { release_pages(bytes.as_mut_ptr(), bytes.len()) }
}
