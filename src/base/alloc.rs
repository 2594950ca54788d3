#![allow(unsafe_code)]
//! The counting allocator: mimalloc with a count of the bytes in use.
//!
//! A block counts with its size class, the bytes that the allocator really takes for it:
//!
//! ```text
//!   requested        class                                            waste
//!   1..=8            8
//!   9..=128          next multiple of 16                              < 16 bytes
//!   129..=512 Ki     next of 4 steps per power of two                 < 25 %
//!                    (160 192 224 256, 320 384 448 512, ...)
//!   more             next multiple of the page, 4096
//! ```
//!
//! Blocks from 8 MiB on are mappings of their own (`huge.rs`), which grow without a copy. While too
//! much memory is resident, the pages of larger blocks go back to the system when they are freed
//! (`holes.rs`).
//!
//! With `--cfg system_allocator` the blocks come from the system's allocator instead, which the
//! sanitizers watch (`scripts/sanitize`). The count stays the one of mimalloc's classes.
//!
//! Counting must not make threads contend. Each thread adds to a local counter and moves it to the
//! global one when it reaches [`FLUSH_BYTES`], or in [`flush_local`].

use super::holes::{self, HOLE_BYTES_MIN};
use super::huge::{is_huge, map, mapped_bytes, remap, unmap};
#[cfg(system_allocator)]
use super::system_heap::*;
#[cfg(not(system_allocator))]
use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
#[cfg(not(system_allocator))]
use std::ffi::c_void;
use std::ffi::{c_int, c_long};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicI64, Ordering};

/// Largest number of bytes, of either sign, that a thread counts locally before it updates the
/// global count.
pub const FLUSH_BYTES: i64 = 64 << 10;

/// The largest size that has a class; larger blocks take whole pages.
const CLASS_BYTES_MAX: usize = 512 << 10;

/// Size of a page of the system in bytes.
const PAGE_BYTES: usize = 4096;

/// The strictest alignment that every block of more than 8 bytes has without asking.
const NATURAL_ALIGN: usize = 16;

static GLOBAL_BYTES: AtomicI64 = AtomicI64::new(0);

/// Number of mapped regions.
static REGIONS: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static LOCAL_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// Size in bytes of the mapping that [`map_region`] makes.
pub const REGION_BYTES: usize = 2 << 20;

/// The layout of a region under Miri, which knows no mappings with holes.
const REGION_LAYOUT: Layout = match Layout::from_size_align(REGION_BYTES, REGION_BYTES) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

/// Maps [`REGION_BYTES`] of zeros, aligned to their size, in small pages. The region does not count
/// as used: the caller counts the parts that it hands out, with [`count_bytes`].
///
/// Huge pages would save some TLB misses (GET at pipeline 64: 0.45 instead of 0.48 of the
/// reference's time). But the first touch of a huge page clears 2 MiB at once and may have to
/// compact memory first: turns of 6 to 9 ms were seen while tables grew.
///
/// # Panics
/// If the system has no memory left.
pub fn map_region() -> NonNull<u8> {
    if cfg!(miri) {
        // SAFETY: the layout is not empty.
        let region = unsafe { std::alloc::alloc_zeroed(REGION_LAYOUT) };
        return NonNull::new(region).expect("out of memory");
    }
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping at an address of the kernel's choice.
    let wide = unsafe { libc::mmap(null_mut(), 2 * REGION_BYTES, access, kind, -1, 0) };
    assert_ne!(wide, libc::MAP_FAILED, "out of memory");
    REGIONS.fetch_add(1, Ordering::Relaxed);
    let before = wide.align_offset(REGION_BYTES);
    // SAFETY: twice the size contains one aligned part. The memory before and behind it is
    // unmapped, and no address in it is in use.
    unsafe {
        let base = wide.byte_add(before);
        let after = base.byte_add(REGION_BYTES);
        if before > 0 {
            libc::munmap(wide, before);
        }
        if before < REGION_BYTES {
            libc::munmap(after, REGION_BYTES - before);
        }
        // Advice only: it has no effect where huge pages are not the default.
        libc::madvise(base, REGION_BYTES, libc::MADV_NOHUGEPAGE);
        NonNull::new_unchecked(base.cast())
    }
}

/// Unmaps a region of [`map_region`].
///
/// # Safety
/// `base` came from [`map_region`], and the region is no longer in use.
pub unsafe fn unmap_region(base: NonNull<u8>) {
    if cfg!(miri) {
        // SAFETY: the caller's contract: the region was allocated with this layout.
        return unsafe { std::alloc::dealloc(base.as_ptr(), REGION_LAYOUT) };
    }
    // SAFETY: the caller's contract: a whole mapping of that size.
    let status = unsafe { libc::munmap(base.as_ptr().cast(), REGION_BYTES) };
    assert_eq!(status, 0, "a region can be unmapped");
    REGIONS.fetch_sub(1, Ordering::Relaxed);
}

// The plain calls, because the calls that take an alignment round sizes such as 80 up to the next
// class.
#[cfg(not(system_allocator))]
unsafe extern "C" {
    fn mi_malloc(size: usize) -> *mut c_void;
    fn mi_zalloc(size: usize) -> *mut c_void;
    fn mi_realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn mi_free(block: *mut c_void);
    fn mi_collect(force: bool);
    fn mi_option_set(option: c_int, value: c_long);
    #[cfg(test)]
    fn mi_option_get(option: c_int) -> c_long;
    fn mi_process_info(
        elapsed_ms: *mut usize,
        user_ms: *mut usize,
        system_ms: *mut usize,
        resident: *mut usize,
        resident_peak: *mut usize,
        committed: *mut usize,
        committed_peak: *mut usize,
        faults: *mut usize,
    );
}

/// The number of mimalloc's option `purge_delay`, which its crate does not name.
const OPTION_PURGE_DELAY: c_int = 15;

/// Milliseconds after which the allocator returns free pages to the kernel. With its default of one
/// second, growing small hashes held 15 % more memory than they used. Without any delay, values of
/// 100 KB cost twice the time.
const PURGE_DELAY_MS: c_long = 10;

/// Sets the allocator's options. Call it once, before there are other threads.
pub fn set_up() {
    // SAFETY: the option exists, which a test checks, and takes any number.
    unsafe { mi_option_set(OPTION_PURGE_DELAY, PURGE_DELAY_MS) }
}

/// Returns this thread's free pages whose delay is over to the system. Otherwise the allocator does
/// so only when it allocates.
pub fn collect() {
    // SAFETY: a call without a contract, on the thread's own heap.
    unsafe { mi_collect(false) }
}

/// Returns the bytes that the allocator takes for a request of `size` bytes.
#[inline]
pub const fn class_bytes(size: usize) -> usize {
    if size <= 8 {
        return 8;
    }
    if size <= 128 {
        return (size + 15) & !15;
    }
    if size > CLASS_BYTES_MAX {
        return (size + PAGE_BYTES - 1) & !(PAGE_BYTES - 1);
    }
    let step = 1usize << (usize::BITS - 3 - (size - 1).leading_zeros());
    (size + step - 1) & !(step - 1)
}

/// Returns the bytes that the allocator and [`map_region`] have requested from the system, touched
/// or not.
pub fn committed_bytes() -> u64 {
    let mut committed = 0;
    let none = null_mut();
    // SAFETY: each pointer may be null, and `committed` is valid for writes for the call.
    unsafe { mi_process_info(none, none, none, none, none, &mut committed, none, none) };
    let regions = REGIONS.load(Ordering::Relaxed).max(0) as u64;
    committed as u64 + regions * REGION_BYTES as u64 + mapped_bytes()
}

/// Returns memory that this thread has freed to the system, which may take milliseconds.
pub fn purge() {
    // SAFETY: it takes no arguments that point to memory; any thread may call it at any time.
    unsafe { mi_collect(true) }
}

/// Returns the bytes in use, over all threads. It misses the local counts of other threads, at most
/// [`FLUSH_BYTES`] each, of either sign.
pub fn used_bytes() -> u64 {
    let local = LOCAL_BYTES.with(Cell::get);
    (GLOBAL_BYTES.load(Ordering::Relaxed) + local).max(0) as u64
}

/// Adds this thread's local count to the global one. Call it at the end of a turn, and before a
/// thread ends.
pub fn flush_local() {
    LOCAL_BYTES.with(|local| {
        GLOBAL_BYTES.fetch_add(local.replace(0), Ordering::Relaxed);
    });
}

/// Counts bytes that were allocated (or, negative, freed) without the allocator.
#[inline]
pub fn count_bytes(bytes: i64) {
    LOCAL_BYTES.with(|local| {
        let sum = local.get() + bytes;
        local.set(sum);
        if !(-FLUSH_BYTES..=FLUSH_BYTES).contains(&sum) {
            flush_local();
        }
    });
}

/// Whether every block for this layout has the wanted alignment without asking for it.
#[inline]
const fn is_natural(layout: Layout) -> bool {
    layout.align() <= 8 || (layout.align() <= NATURAL_ALIGN && layout.size() > 8)
}

/// Returns the number of bytes that a block of this layout counts as.
#[inline]
const fn layout_bytes(layout: Layout) -> i64 {
    let size = layout.size();
    let exact = is_natural(layout)
        || (size.is_power_of_two() && size <= PAGE_BYTES)
        || (size.is_multiple_of(PAGE_BYTES) && layout.align() <= PAGE_BYTES);
    let slack = if exact { 0 } else { layout.align() - 1 };
    class_bytes(layout.size() + slack) as i64
}

/// mimalloc with a count of the bytes in use.
pub struct CountingAllocator;

// SAFETY: every call is passed to mimalloc under the same contract, or to `huge` for a layout that
// alone decides this. Counting allocates nothing,
// because the counter is a constant-initialised thread local without a destructor.
unsafe impl GlobalAlloc for CountingAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_bytes(layout_bytes(layout));
        if is_huge(layout) {
            return map(layout.size());
        }
        if is_natural(layout) {
            // SAFETY: the size is not 0, by the caller's contract.
            return unsafe { mi_malloc(layout.size()).cast() };
        }
        // SAFETY: the caller's contract is passed on.
        unsafe { MiMalloc.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_bytes(layout_bytes(layout));
        if is_huge(layout) {
            return map(layout.size());
        }
        if is_natural(layout) {
            // SAFETY: the size is not 0, by the caller's contract.
            return unsafe { mi_zalloc(layout.size()).cast() };
        }
        // SAFETY: the caller's contract is passed on.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count_bytes(-layout_bytes(layout));
        if layout.size() >= HOLE_BYTES_MIN {
            if is_huge(layout) {
                // SAFETY: a block of this layout was mapped, and the caller does not use it any
                // more.
                return unsafe { unmap(block, layout.size()) };
            }
            if holes::are_returned() {
                // SAFETY: the block has this size, and the caller does not use it any more.
                unsafe { holes::give_back(block, layout.size()) };
            }
        }
        // SAFETY: the block came from mimalloc, which frees any of its blocks by this call.
        unsafe { mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's contract: `size` rounded up to the alignment fits an isize.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let (old_bytes, new_bytes) = (layout_bytes(layout), layout_bytes(new));
        // A block of mimalloc has the size of its class. A sanitizer knows the requested size.
        if old_bytes == new_bytes && cfg!(not(system_allocator)) {
            return block;
        }
        if is_huge(layout) && is_huge(new) {
            // SAFETY: a block of this layout was mapped, and the caller uses only the result.
            let moved = unsafe { remap(block, layout.size(), size) };
            if !moved.is_null() {
                count_bytes(new_bytes - old_bytes);
            }
            return moved;
        }
        let is_apart = is_huge(layout)
            || is_huge(new)
            || (layout.size() >= HOLE_BYTES_MIN && holes::are_returned());
        // mimalloc keeps the block when it shrinks by less than half, and the count would not see
        // that.
        if is_apart || !is_natural(new) || !is_natural(layout) || size < layout.size() {
            // SAFETY: both layouts are valid, the blocks are distinct, and the copy is as long
            // as the shorter of the two.
            unsafe {
                let moved = self.alloc(new);
                if !moved.is_null() {
                    moved.copy_from_nonoverlapping(block, size.min(layout.size()));
                    self.dealloc(block, layout);
                }
                return moved;
            }
        }
        // SAFETY: the block came from mimalloc, and its alignment is the natural one.
        let moved: *mut u8 = unsafe { mi_realloc(block.cast(), size).cast() };
        if !moved.is_null() {
            count_bytes(new_bytes - old_bytes);
        }
        moved
    }
}

#[cfg(all(test, not(system_allocator)))]
mod tests {
    use super::*;

    unsafe extern "C" {
        fn mi_good_size(size: usize) -> usize;
        fn mi_usable_size(block: *const c_void) -> usize;
    }

    #[test]
    fn the_option_number_is_the_purge_delay() {
        // SAFETY: the number is within the options.
        let default = unsafe { mi_option_get(OPTION_PURGE_DELAY) };
        assert_eq!(default, 1_000, "no other option has this default");
    }

    #[test]
    fn classes_match_the_allocator() {
        let sizes = (1..10_000).chain((10_000..600_000).step_by(777)).chain([
            CLASS_BYTES_MAX - 1,
            CLASS_BYTES_MAX,
            CLASS_BYTES_MAX + 1,
            1 << 20,
            (5 << 20) + 1,
        ]);
        for size in sizes {
            // SAFETY: a pure function of its argument.
            let good = unsafe { mi_good_size(size) };
            assert_eq!(class_bytes(size), good, "size {size}");
        }
    }

    #[test]
    fn blocks_count_with_their_real_size() {
        for (size, align) in
            [(24, 8), (80, 8), (80, 16), (640, 16), (64, 64), (4096, 4096), (1 << 20, 4096)]
        {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the layout is not empty, and the block is freed with the same one.
            unsafe {
                let block = CountingAllocator.alloc(layout);
                assert_eq!(block.addr() % align, 0);
                assert_eq!(mi_usable_size(block.cast()) as i64, layout_bytes(layout), "{layout:?}");
                CountingAllocator.dealloc(block, layout);
            }
        }
    }

    #[test]
    fn freed_blocks_are_not_counted() {
        flush_local();
        let before = LOCAL_BYTES.with(Cell::get);
        let layout = Layout::from_size_align(1000, 8).unwrap();
        // SAFETY: each block is used within its size and freed with the layout that it has then.
        unsafe {
            let block = CountingAllocator.alloc(layout);
            assert_eq!(LOCAL_BYTES.with(Cell::get) - before, 1024);
            block.write(7);
            let grown = CountingAllocator.realloc(block, layout, 3000);
            assert_eq!(grown.read(), 7);
            assert_eq!(LOCAL_BYTES.with(Cell::get) - before, 3072);
            let large = Layout::from_size_align(3000, 8).unwrap();
            let shrunk = CountingAllocator.realloc(grown, large, 20);
            assert_eq!(shrunk.read(), 7);
            assert_eq!(LOCAL_BYTES.with(Cell::get) - before, 32);
            CountingAllocator.dealloc(shrunk, Layout::from_size_align(20, 8).unwrap());
        }
        assert_eq!(LOCAL_BYTES.with(Cell::get), before);
    }
}
