#![allow(unsafe_code)]
//! The counting allocator: mimalloc, and how many bytes it has handed out.
//!
//! A size counts as what the allocator really takes for it, its size class:
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
//! Counting must not make threads meet: each thread adds to a counter of its own and passes that
//! on to the common one when it is off by [`FLUSH_BYTES`], or when asked to.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::{c_int, c_long, c_void};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicI64, Ordering};

/// How far, in bytes, a thread's own count may be ahead of the common one.
pub const FLUSH_BYTES: i64 = 64 << 10;

/// The largest size that has a class; what is larger takes whole pages.
const CLASS_BYTES_MAX: usize = 512 << 10;

/// A page of the system.
const PAGE_BYTES: usize = 4096;

/// The strictest alignment that every block of more than 8 bytes has anyway.
const NATURAL_ALIGN: usize = 16;

static GLOBAL_BYTES: AtomicI64 = AtomicI64::new(0);

/// Regions that are mapped.
static REGIONS: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static LOCAL_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// What [`map_region`] maps.
pub const REGION_BYTES: usize = 2 << 20;

/// Maps [`REGION_BYTES`] of zeros, aligned to their size, in small pages. It does not count as
/// used: the caller counts what it hands out, with [`count_bytes`].
///
/// A huge page would spare lookups some TLB misses (GET at pipeline 64: 0.45 instead of 0.48 of the
/// reference's time), but the first touch of one clears 2 MiB at a stretch and may have to compact
/// memory first: turns of 6 to 9 ms were seen while tables grew.
///
/// # Panics
/// When there is no memory, as every allocation here.
pub fn map_region() -> NonNull<u8> {
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping at an address of the kernel's choice.
    let wide = unsafe { libc::mmap(null_mut(), 2 * REGION_BYTES, access, kind, -1, 0) };
    assert_ne!(wide, libc::MAP_FAILED, "out of memory");
    REGIONS.fetch_add(1, Ordering::Relaxed);
    let before = wide.align_offset(REGION_BYTES);
    // SAFETY: twice the size holds one aligned part; what lies before and behind it is unmapped,
    // and nobody has an address in it.
    unsafe {
        let base = wide.byte_add(before);
        let after = base.byte_add(REGION_BYTES);
        if before > 0 {
            libc::munmap(wide, before);
        }
        if before < REGION_BYTES {
            libc::munmap(after, REGION_BYTES - before);
        }
        // Advice only: where huge pages are not the default it changes nothing.
        libc::madvise(base, REGION_BYTES, libc::MADV_NOHUGEPAGE);
        NonNull::new_unchecked(base.cast())
    }
}

/// Gives back what [`map_region`] mapped.
///
/// # Safety
/// It came from there, and nobody uses it any more.
pub unsafe fn unmap_region(base: NonNull<u8>) {
    // SAFETY: the caller's contract: a whole mapping of that size.
    let status = unsafe { libc::munmap(base.as_ptr().cast(), REGION_BYTES) };
    assert_eq!(status, 0, "a mapping of ours can be unmapped");
    REGIONS.fetch_sub(1, Ordering::Relaxed);
}

// The plain calls: the ones that take an alignment round sizes such as 80 up to the next class.
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

/// Milliseconds that the allocator keeps free pages before the kernel gets them back. Its own
/// default, a second, let small hashes that grew take 15 % more than they use; without any delay
/// values of 100 KB cost twice the time.
const PURGE_DELAY_MS: c_long = 10;

/// Sets the allocator up: once, before there are threads.
pub fn set_up() {
    // SAFETY: the option exists, which a test checks, and takes any number.
    unsafe { mi_option_set(OPTION_PURGE_DELAY, PURGE_DELAY_MS) }
}

/// Gives free pages of this thread back whose delay is over: the allocator itself looks only when
/// it is asked for more.
pub fn collect() {
    // SAFETY: a call without a contract, on the thread's own heap.
    unsafe { mi_collect(false) }
}

/// The bytes that the allocator takes for a request of `size` bytes.
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

/// Bytes of memory that the allocator and the regions of [`map_region`] have asked the system for,
/// touched or not.
pub fn committed_bytes() -> u64 {
    let mut committed = 0;
    let none = null_mut();
    // SAFETY: each pointer may be null, and `committed` is valid for writes for the call.
    unsafe { mi_process_info(none, none, none, none, none, &mut committed, none, none) };
    let regions = REGIONS.load(Ordering::Relaxed).max(0) as u64;
    committed as u64 + regions * REGION_BYTES as u64
}

/// Has the allocator give memory that this thread has freed back to the system, which may take
/// milliseconds.
pub fn purge() {
    // SAFETY: it takes no memory of ours; any thread may call it at any time.
    unsafe { mi_collect(true) }
}

/// Bytes handed out and not yet given back, over all threads; what other threads have not yet
/// passed on (at most [`FLUSH_BYTES`] each, either way) is missing.
pub fn used_bytes() -> u64 {
    let local = LOCAL_BYTES.with(Cell::get);
    (GLOBAL_BYTES.load(Ordering::Relaxed) + local).max(0) as u64
}

/// Passes this thread's count on. To be called at the end of a turn, and before a thread ends.
pub fn flush_local() {
    LOCAL_BYTES.with(|local| {
        GLOBAL_BYTES.fetch_add(local.replace(0), Ordering::Relaxed);
    });
}

/// Counts bytes that were handed out (or, negative, given back) without the allocator.
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

/// Whether every block for this layout is aligned well enough without asking for it.
#[inline]
const fn is_natural(layout: Layout) -> bool {
    layout.align() <= 8 || (layout.align() <= NATURAL_ALIGN && layout.size() > 8)
}

/// What a block of this layout counts as.
#[inline]
const fn layout_bytes(layout: Layout) -> i64 {
    let size = layout.size();
    let exact = is_natural(layout)
        || (size.is_power_of_two() && size <= PAGE_BYTES)
        || (size.is_multiple_of(PAGE_BYTES) && layout.align() <= PAGE_BYTES);
    let slack = if exact { 0 } else { layout.align() - 1 };
    class_bytes(layout.size() + slack) as i64
}

/// mimalloc with a count of the bytes that are in use.
pub struct CountingAllocator;

// SAFETY: every call is passed to mimalloc under the same contract; counting allocates nothing,
// for the counter is a constant-initialised thread local without a destructor.
unsafe impl GlobalAlloc for CountingAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_bytes(layout_bytes(layout));
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
        // SAFETY: the block came from mimalloc, which frees any of its blocks by this call.
        unsafe { mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's contract: `size` rounded up to the alignment fits an isize.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let (old_bytes, new_bytes) = (layout_bytes(layout), layout_bytes(new));
        if old_bytes == new_bytes {
            return block;
        }
        // mimalloc leaves a block where it is when it shrinks by less than half, which the count
        // would not see.
        if !is_natural(new) || !is_natural(layout) || size < layout.size() {
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

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" {
        fn mi_good_size(size: usize) -> usize;
        fn mi_usable_size(block: *const c_void) -> usize;
    }

    #[test]
    fn the_purge_delay_is_the_option_of_that_number() {
        // SAFETY: the number is within the options.
        let default = unsafe { mi_option_get(OPTION_PURGE_DELAY) };
        assert_eq!(default, 1_000, "no other option has this default");
    }

    #[test]
    fn classes_are_the_allocators() {
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
    fn blocks_are_as_large_as_they_count() {
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
    fn what_is_freed_is_not_counted() {
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
