#![allow(unsafe_code)]
//! Holes: free blocks in pages of the allocator that other blocks keep.
//!
//! ```text
//!   a page of the allocator, 64 KiB to 4 MiB, with blocks of one size
//!   +-------+-------+-------+-------+
//!   | used  | hole  | used  | used  |     the page stays resident, the hole with it
//!   +-------+-------+-------+-------+
//!           |.|-----|
//!            |   '-- goes back to the system when the block is freed
//!            '------ stays: the allocator links its free blocks in their first bytes
//! ```
//! While the values of a cache change in size, pages of sizes that are rare by now keep many holes.
//! So while much more memory is resident than may be used, a block that is freed goes back to the
//! system except for its first page. That costs a call, and page faults when the block is used
//! again: a value of 100 KB then takes twice the time. So it is off otherwise.

use std::sync::atomic::{AtomicBool, Ordering};

/// The smallest size of a block that goes back. Of this size two of three pages do.
pub const HOLE_BYTES_MIN: usize = 12 << 10;

/// Size of a page of the system in bytes.
const PAGE_BYTES: usize = 4096;

/// Whether blocks that are freed go back to the system.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// Sets whether blocks that are freed go back to the system, on all threads.
pub fn set_returned(is_on: bool) {
    if IS_ON.load(Ordering::Relaxed) != is_on {
        IS_ON.store(is_on, Ordering::Relaxed);
    }
}

/// Returns whether blocks that are freed go back to the system.
#[inline]
pub fn are_returned() -> bool {
    IS_ON.load(Ordering::Relaxed) && cfg!(not(any(system_allocator, miri)))
}

/// Gives the pages of a block back to the system, except for its first one.
///
/// # Safety
/// The block has this size and is about to be freed: nobody uses its bytes any more.
#[cold]
pub unsafe fn give_back(block: *mut u8, size: usize) {
    let kept = PAGE_BYTES.min(size);
    // SAFETY: the caller's contract, for all bytes of the block but the first ones.
    unsafe { release_pages(block.add(kept), size - kept) }
}

/// Gives the whole pages among `size` bytes back to the system. They read as zeros then, unless
/// they are locked in memory.
///
/// # Safety
/// The bytes are within one block, and nobody else uses them during the call. Their contents are
/// not needed.
pub unsafe fn release_pages(start: *mut u8, size: usize) {
    let begin = start.addr().next_multiple_of(PAGE_BYTES);
    let end = (start.addr() + size) & !(PAGE_BYTES - 1);
    if begin < end {
        let first = start.with_addr(begin).cast();
        // SAFETY: the caller's contract. The pages are anonymous memory, stay mapped, and any value
        // of a byte is valid. A failure changes nothing.
        unsafe { libc::madvise(first, end - begin, libc::MADV_DONTNEED) };
    }
}

#[cfg(all(test, not(any(system_allocator, miri))))]
mod tests {
    use super::*;
    use std::alloc::{Layout, alloc, dealloc};

    #[test]
    fn all_but_the_first_page_of_a_block_goes_back() {
        let layout = Layout::from_size_align(4 * PAGE_BYTES, PAGE_BYTES).unwrap();
        // SAFETY: each access is within the block, which is freed with its layout.
        unsafe {
            let block = alloc(layout);
            block.write_bytes(7, layout.size());
            give_back(block, layout.size());
            assert_eq!((block.read(), block.add(PAGE_BYTES - 1).read()), (7, 7));
            assert_eq!(block.add(PAGE_BYTES).read(), 0);
            block.write_bytes(7, layout.size());
            // Of the last three pages only the middle one is whole.
            release_pages(block.add(PAGE_BYTES + 8), 3 * PAGE_BYTES - 16);
            assert_eq!(block.add(2 * PAGE_BYTES - 1).read(), 7);
            assert_eq!(block.add(2 * PAGE_BYTES).read(), 0);
            assert_eq!(block.add(3 * PAGE_BYTES).read(), 7);
            dealloc(block, layout);
        }
    }
}
