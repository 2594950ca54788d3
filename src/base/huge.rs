#![allow(unsafe_code)]
//! Blocks of [`HUGE_BYTES_MIN`] and more: mappings of their own.
//!
//! Such a block grows by `mremap`, which moves page table entries and copies no byte. A copy would
//! stop its thread: 30 ms for a value that grows from 128 to 256 MiB while it arrives.
//!
//! Whether a block is huge follows from its layout alone, so no block needs a mark.

use std::alloc::Layout;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};

/// The smallest size of a huge block. Below it the allocator reuses memory that is already paged
/// in, and a copy takes less than two milliseconds.
pub const HUGE_BYTES_MIN: usize = 8 << 20;

/// Size of a page of the system in bytes.
const PAGE_BYTES: usize = 4096;

/// Bytes of all huge blocks.
static MAPPED_BYTES: AtomicU64 = AtomicU64::new(0);

/// Returns whether a block of this layout is huge. The system's allocator and Miri have no use for
/// huge blocks.
#[inline]
pub const fn is_huge(layout: Layout) -> bool {
    layout.size() >= HUGE_BYTES_MIN
        && layout.align() <= PAGE_BYTES
        && cfg!(not(any(system_allocator, miri)))
}

/// Returns the bytes of all huge blocks.
pub fn mapped_bytes() -> u64 {
    MAPPED_BYTES.load(Ordering::Relaxed)
}

/// Returns the length of the mapping for a block of `size` bytes.
const fn length(size: usize) -> usize {
    size.next_multiple_of(PAGE_BYTES)
}

/// Maps a huge block, which is all zeros. Null without memory.
pub fn map(size: usize) -> *mut u8 {
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping at an address of the kernel's choice.
    let base = unsafe { libc::mmap(null_mut(), length(size), access, kind, -1, 0) };
    if base == libc::MAP_FAILED {
        return null_mut();
    }
    MAPPED_BYTES.fetch_add(length(size) as u64, Ordering::Relaxed);
    base.cast()
}

/// Unmaps a huge block of `size` bytes.
///
/// # Safety
/// The block came from [`map`] or [`remap`] with this size, and is no longer in use.
pub unsafe fn unmap(block: *mut u8, size: usize) {
    // SAFETY: the caller's contract: a whole mapping of that length.
    let status = unsafe { libc::munmap(block.cast(), length(size)) };
    assert_eq!(status, 0, "a block can be unmapped");
    MAPPED_BYTES.fetch_sub(length(size) as u64, Ordering::Relaxed);
}

/// Changes the size of a huge block from `size` to `wanted` bytes, and returns its new place. New
/// bytes are zeros. Null without memory; the block then stays as it is.
///
/// # Safety
/// The block came from [`map`] or [`remap`] with this size. Nothing refers to its old place later,
/// if the result is not null.
pub unsafe fn remap(block: *mut u8, size: usize, wanted: usize) -> *mut u8 {
    let (from, to) = (length(size), length(wanted));
    // SAFETY: the caller's contract: a whole mapping of that length.
    let base = unsafe { libc::mremap(block.cast(), from, to, libc::MREMAP_MAYMOVE) };
    if base == libc::MAP_FAILED {
        return null_mut();
    }
    MAPPED_BYTES.fetch_add(to as u64, Ordering::Relaxed);
    MAPPED_BYTES.fetch_sub(from as u64, Ordering::Relaxed);
    base.cast()
}

#[cfg(all(test, not(any(system_allocator, miri))))]
mod tests {
    use super::*;

    #[test]
    fn a_huge_block_keeps_its_bytes_when_it_grows_and_shrinks() {
        let sizes = [HUGE_BYTES_MIN, 64 << 20, (100 << 20) + 1, HUGE_BYTES_MIN + 5];
        let mut size = sizes[0];
        let mut block = map(size);
        // SAFETY: each access is within the size that the block has then.
        unsafe {
            assert!(!block.is_null() && block.addr().is_multiple_of(PAGE_BYTES));
            block.write(7);
            block.add(size - 1).write(8);
            for wanted in &sizes[1..] {
                let moved = remap(block, size, *wanted);
                assert!(!moved.is_null());
                (block, size) = (moved, *wanted);
                assert_eq!((block.read(), block.add(HUGE_BYTES_MIN - 1).read()), (7, 8));
            }
            assert_eq!(block.add(size - 1).read(), 0, "new bytes are zeros");
            unmap(block, size);
        }
    }

    #[test]
    fn a_vector_passes_the_limit_in_both_directions() {
        let mut bytes: Vec<u8> = (0..=255).cycle().take(HUGE_BYTES_MIN - 100).collect();
        let expected = bytes.clone();
        bytes.resize(3 * HUGE_BYTES_MIN, 1);
        assert_eq!(bytes[..expected.len()], expected);
        bytes.truncate(expected.len());
        bytes.shrink_to_fit();
        assert_eq!(bytes, expected);
    }
}
