#![allow(unsafe_code)]
//! Blocks of up to 1,792 bytes, packed into small pages. Hot.
//!
//! Up to 128 bytes there is a size class every 8 bytes. The allocator's classes are multiples of
//! 16, which would cost a key with an integer or an expiry 8 bytes. Above 128 bytes the classes
//! equal the allocator's. But chunks of buckets change their class often as tables grow, and a few
//! that remain would pin large pages of the allocator. Here a free page serves any class.
//!
//! ```text
//!   region, 2 MiB mapped from the kernel    its `Region` is boxed elsewhere
//!   |page 0      |page 1      | ...         pages of 16 KiB
//!
//!   page    0..64   header: its region, neighbours in a list, class, free and used blocks
//!           64..    blocks of one size; a free one starts with the u16 link to the next:
//!                   its offset in the page divided by 8, 0 = none
//!
//!   a page is   fresh     at or after its region's `fresh` pointer, never touched
//!               free      in the list of free pages; no block in use
//!               partial   in the list of its class: blocks in use and free ones
//!               full      in no list
//! ```
//!
//! The blocks in use count as used memory, not the pages: evicting keys until there is room must
//! see each of them, not only the last one of a page.
//!
//! Housekeeping gives a region whose pages are all free back to the system, one region per step. It
//! keeps the region if few other pages are free.
//!
//! A region is retired to empty it: its pages leave all lists, so that no block is allocated there,
//! and the owners of its blocks move them. `compact.rs` says which regions and when.

use crate::base::alloc::{REGION_BYTES, class_bytes, count_bytes, map_region, unmap_region};
use std::ptr::{NonNull, null_mut};

/// Bytes of the largest block.
pub const SLAB_BYTES_MAX: usize = 1792;

/// Bytes of the largest block whose size class is a multiple of [`STEP`].
const FINE_BYTES_MAX: usize = 128;

/// Bytes of the smallest block, and the distance of the small size classes.
const BLOCK_BYTES_MIN: usize = 16;
const STEP: usize = 8;

const CLASSES: usize = class_of(SLAB_BYTES_MAX) + 1;
const PAGE_BYTES: usize = 16 << 10;
const HEADER_BYTES: usize = 64;

/// Free pages that are kept: a region goes back only if more than these are free without it.
const SPARE_PAGES: usize = 16;

const _: () = assert!(size_of::<Page>() <= HEADER_BYTES);
const _: () = assert!(PAGE_BYTES / STEP <= u16::MAX as usize + 1);

/// Returns the address of the page that a block at this address is in.
#[inline]
pub fn page_of(address: usize) -> usize {
    address & !(PAGE_BYTES - 1)
}

struct Region {
    base: *mut u8,
    /// The first fresh page, and the end of the last page.
    fresh: *mut u8,
    end: *mut u8,
    /// Number of pages that are partial or full.
    used_pages: usize,
    /// Index in the list of regions.
    number: usize,
    /// Whether the region is in the list of regions that were empty.
    is_listed: bool,
    /// Whether the region is retired.
    is_retired: bool,
    /// Bytes of its blocks in use, when they were last counted.
    weight: u32,
}

#[repr(C)]
struct Page {
    region: *mut Region,
    prev: *mut Page,
    next: *mut Page,
    /// Links: the first block of the list of free blocks, and the first block that was never used.
    free: u16,
    fresh: u16,
    /// Number of blocks in use.
    used: u16,
    /// Bytes of a block, divided by [`STEP`].
    stride: u16,
    class: u8,
    /// Whether the page is in no list because its region is retired.
    is_retired: bool,
}

/// An allocator of small blocks in pages.
#[derive(Debug)]
pub struct Slab {
    partial: [*mut Page; CLASSES],
    free: *mut Page,
    free_pages: usize,
    regions: Vec<*mut Region>,
    /// Regions that were empty when they were added here; each at most once.
    empty: Vec<*mut Region>,
    /// The addresses of retired regions, in ascending order.
    retired: Vec<usize>,
    /// Retired regions without blocks in use.
    emptied: Vec<*mut Region>,
}

impl Default for Slab {
    fn default() -> Slab {
        Slab {
            partial: [null_mut(); CLASSES],
            free: null_mut(),
            free_pages: 0,
            regions: Vec::new(),
            empty: Vec::new(),
            retired: Vec::new(),
            emptied: Vec::new(),
        }
    }
}

/// Returns the bytes of a block for `size` bytes, at most [`SLAB_BYTES_MAX`].
#[inline]
pub const fn block_bytes(size: usize) -> usize {
    if size <= BLOCK_BYTES_MIN {
        BLOCK_BYTES_MIN
    } else if size <= FINE_BYTES_MAX {
        (size + STEP - 1) & !(STEP - 1)
    } else {
        class_bytes(size)
    }
}

/// Returns the index of the size class: the small classes, then 4 classes per power of two.
#[inline]
const fn class_of(bytes: usize) -> usize {
    if bytes <= FINE_BYTES_MAX {
        return bytes / STEP;
    }
    let power = (bytes - 1).ilog2() as usize;
    let quarter = ((bytes - 1) >> (power - 2)) & 3;
    FINE_BYTES_MAX / STEP + 1 + (power - FINE_BYTES_MAX.ilog2() as usize) * 4 + quarter
}

impl Page {
    /// Returns the link just after the last block that fits into the page.
    #[inline]
    fn end(&self) -> usize {
        let bytes = usize::from(self.stride) * STEP;
        (HEADER_BYTES + (PAGE_BYTES - HEADER_BYTES) / bytes * bytes) / STEP
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.free == 0 && usize::from(self.fresh) == self.end()
    }
}

impl Slab {
    /// Allocates a block of at least `size` bytes.
    #[inline]
    pub fn alloc(&mut self, size: usize) -> NonNull<u8> {
        debug_assert!(0 < size && size <= SLAB_BYTES_MAX);
        let bytes = block_bytes(size);
        let class = class_of(bytes);
        count_bytes(bytes as i64);
        let mut page = self.partial[class];
        if page.is_null() {
            page = self.page_new(class, bytes);
        }
        // SAFETY: a page in the list of its class exists and has a free block; links lead to blocks
        // within the page.
        unsafe {
            let link = (*page).free;
            let block;
            if link != 0 {
                block = page.cast::<u8>().add(usize::from(link) * STEP);
                (*page).free = block.cast::<u16>().read();
            } else {
                block = page.cast::<u8>().add(usize::from((*page).fresh) * STEP);
                (*page).fresh += (*page).stride;
            }
            (*page).used += 1;
            if (*page).is_full() {
                unlink(&mut self.partial[class], page);
            }
            NonNull::new_unchecked(block)
        }
    }

    /// Frees a block.
    ///
    /// # Safety
    ///
    /// The block belongs to this slab and is not used any more.
    #[inline]
    pub unsafe fn free(&mut self, block: NonNull<u8>) {
        let block = block.as_ptr();
        let offset = block.addr() & (PAGE_BYTES - 1);
        debug_assert!(offset >= HEADER_BYTES);
        // SAFETY: the block is in a page of this slab, and pages start at a multiple of their size.
        unsafe {
            let page = block.sub(offset).cast::<Page>();
            let was_full = (*page).is_full();
            assert!((*page).used > 0, "the block is counted as used in its page");
            block.cast::<u16>().write((*page).free);
            (*page).free = (offset / STEP) as u16;
            (*page).used -= 1;
            count_bytes(-((usize::from((*page).stride) * STEP) as i64));
            if (*page).is_retired {
                return self.free_retired(page);
            }
            let class = usize::from((*page).class);
            if (*page).used == 0 {
                if !was_full {
                    unlink(&mut self.partial[class], page);
                }
                self.page_free(page);
            } else if was_full {
                link(&mut self.partial[class], page);
            }
        }
    }

    /// Returns a page without blocks in use and puts it into the list of its class.
    #[cold]
    fn page_new(&mut self, class: usize, bytes: usize) -> *mut Page {
        let page = if self.free.is_null() { self.page_fresh() } else { self.free };
        // SAFETY: the page is free or fresh, and its region exists.
        unsafe {
            if page == self.free {
                unlink(&mut self.free, page);
                self.free_pages -= 1;
            }
            (*(*page).region).used_pages += 1;
            (*page).class = class as u8;
            (*page).stride = (bytes / STEP) as u16;
            (*page).free = 0;
            (*page).fresh = (HEADER_BYTES / STEP) as u16;
            (*page).used = 0;
            (*page).is_retired = false;
            link(&mut self.partial[class], page);
        }
        page
    }

    /// Returns a fresh page, of a new region if necessary; sets only the region of the page.
    fn page_fresh(&mut self) -> *mut Page {
        let has_fresh = |&region: &*mut Region| {
            // SAFETY: the region exists.
            unsafe { (*region).fresh < (*region).end && !(*region).is_retired }
        };
        // Fresh pages are usually in the newest region. Giving a region back may move that one in
        // the list.
        let region = match self.regions.last().copied().filter(has_fresh) {
            Some(region) => region,
            None => self.region_new(),
        };
        // SAFETY: `fresh` is below `end`, so a page is there.
        unsafe {
            let page = (*region).fresh.cast::<Page>();
            (*region).fresh = (*region).fresh.add(PAGE_BYTES);
            (*page).region = region;
            page
        }
    }

    fn region_new(&mut self) -> *mut Region {
        let base = map_region().as_ptr();
        let fresh = base;
        // SAFETY: one past the mapping's last byte.
        let end = unsafe { base.add(REGION_BYTES) };
        let number = self.regions.len();
        let region = Region {
            base,
            fresh,
            end,
            used_pages: 0,
            number,
            is_listed: false,
            is_retired: false,
            weight: REGION_BYTES as u32,
        };
        let region = Box::into_raw(Box::new(region));
        self.regions.push(region);
        region
    }

    /// Puts a page without blocks in use, which is in no list, into the list of free pages.
    #[cold]
    fn page_free(&mut self, page: *mut Page) {
        // SAFETY: the page and its region exist.
        unsafe {
            link(&mut self.free, page);
            self.free_pages += 1;
            let region = (*page).region;
            (*region).used_pages -= 1;
            if (*region).used_pages == 0 && !(*region).is_listed {
                (*region).is_listed = true;
                self.empty.push(region);
            }
        }
    }

    /// Returns whether a retired region is empty, or whether another one may be empty while enough
    /// other pages are free.
    pub fn has_spare_region(&self) -> bool {
        let is_much = self.free_pages > SPARE_PAGES + REGION_BYTES / PAGE_BYTES;
        !self.emptied.is_empty() || (is_much && !self.empty.is_empty())
    }

    /// Gives at most one region back to the system, which takes about 100 us. When a table is
    /// flushed, many regions become empty at nearly the same time. Returns false if no region can
    /// be given back.
    pub fn release_step(&mut self) -> bool {
        if let Some(region) = self.emptied.pop() {
            self.region_free(region);
            return true;
        }
        while self.has_spare_region() {
            let region = self.empty.pop().expect("the list was checked above");
            // SAFETY: regions in the list exist, because only this function gives them back.
            unsafe {
                (*region).is_listed = false;
                if (*region).used_pages == 0 {
                    self.region_free(region);
                    return true;
                }
            }
        }
        false
    }

    /// Gives a region without used pages back to the system.
    fn region_free(&mut self, region: *mut Region) {
        // SAFETY: all pages below `fresh` are in the list of free pages; `region_new` made the
        // region and its memory.
        unsafe {
            if (*region).is_retired {
                self.forget_retired(region);
            } else {
                pages_of(region, |page| {
                    unlink(&mut self.free, page);
                    self.free_pages -= 1;
                });
            }
            let number = (*region).number;
            assert_eq!(self.regions.swap_remove(number), region);
            if let Some(&moved) = self.regions.get(number) {
                (*moved).number = number;
            }
            unmap_region(NonNull::new_unchecked((*region).base));
            drop(Box::from_raw(region));
        }
    }
}

/// Retiring regions.
impl Slab {
    /// Returns the bytes of all regions.
    pub fn mapped_bytes(&self) -> usize {
        self.regions.len() * REGION_BYTES
    }

    /// Returns the number of regions.
    pub fn regions(&self) -> usize {
        self.regions.len()
    }

    /// Returns whether the block at this address is in a retired region.
    #[inline]
    pub fn is_retired(&self, address: usize) -> bool {
        self.retired.binary_search(&(address & !(REGION_BYTES - 1))).is_ok()
    }

    /// Counts the bytes of the blocks in use of the region with this index, which takes about
    /// 10 us.
    pub fn weigh(&mut self, index: usize) {
        let region = self.regions[index];
        let mut bytes = 0;
        // SAFETY: the region exists.
        unsafe {
            pages_of(region, |page| {
                bytes += usize::from((*page).used) * usize::from((*page).stride) * STEP;
            });
            (*region).weight = bytes as u32;
        }
    }

    /// Returns the base addresses of all regions with the bytes that were counted.
    pub fn weights(&self) -> Vec<(u32, usize)> {
        // SAFETY: the regions exist.
        let weight = |&region: &*mut Region| unsafe { ((*region).weight, (*region).base.addr()) };
        self.regions.iter().map(weight).collect()
    }

    /// Retires the region at a base address, if it still exists. Takes about 30 us.
    pub fn retire(&mut self, base: usize) {
        // SAFETY: regions in the list exist.
        let is_it = |&region: &*mut Region| unsafe { (*region).base.addr() == base };
        let Some(region) = self.regions.iter().copied().find(is_it) else { return };
        let Err(at) = self.retired.binary_search(&base) else { return };
        self.retired.insert(at, base);
        // SAFETY: the region exists. A page without blocks in use is in the list of free pages, and
        // one that is not full in the list of its class.
        unsafe {
            (*region).is_retired = true;
            if std::mem::take(&mut (*region).is_listed) {
                self.empty.retain(|&it| it != region);
            }
            pages_of(region, |page| {
                (*page).is_retired = true;
                if (*page).used == 0 {
                    unlink(&mut self.free, page);
                    self.free_pages -= 1;
                } else if !(*page).is_full() {
                    unlink(&mut self.partial[usize::from((*page).class)], page);
                }
            });
            if (*region).used_pages == 0 {
                self.emptied.push(region);
            }
        }
    }

    /// Uses the regions again that are still retired, at most one per call. Returns false if there
    /// is none, except empty ones.
    pub fn readmit_step(&mut self) -> bool {
        // SAFETY: regions in the list exist.
        let is_it =
            |&region: &*mut Region| unsafe { (*region).is_retired && (*region).used_pages > 0 };
        let Some(region) = self.regions.iter().copied().find(is_it) else { return false };
        self.forget_retired(region);
        // SAFETY: the region exists, and its pages are in no list.
        unsafe {
            (*region).is_retired = false;
            pages_of(region, |page| {
                (*page).is_retired = false;
                if (*page).used == 0 {
                    link(&mut self.free, page);
                    self.free_pages += 1;
                } else if !(*page).is_full() {
                    link(&mut self.partial[usize::from((*page).class)], page);
                }
            });
        }
        true
    }

    fn forget_retired(&mut self, region: *mut Region) {
        // SAFETY: the region exists.
        let base = unsafe { (*region).base.addr() };
        let at = self.retired.binary_search(&base).expect("a retired region is listed");
        self.retired.remove(at);
    }

    /// Takes note of a block that was freed in a page of a retired region.
    ///
    /// # Safety
    ///
    /// The page is one of this slab.
    #[cold]
    unsafe fn free_retired(&mut self, page: *mut Page) {
        // SAFETY: the caller's contract; the region of a page exists.
        unsafe {
            if (*page).used > 0 {
                return;
            }
            let region = (*page).region;
            (*region).used_pages -= 1;
            if (*region).used_pages == 0 {
                self.emptied.push(region);
            }
        }
    }
}

/// Calls `each` with all pages of a region that are not fresh.
///
/// # Safety
///
/// The region exists.
unsafe fn pages_of(region: *mut Region, mut each: impl FnMut(*mut Page)) {
    // SAFETY: the caller's contract; pages below `fresh` have a header.
    unsafe {
        let mut at = (*region).base;
        while at < (*region).fresh {
            each(at.cast());
            at = at.add(PAGE_BYTES);
        }
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        for region in self.regions.drain(..) {
            // SAFETY: made by `region_new`; all its blocks have been freed.
            unsafe {
                unmap_region(NonNull::new_unchecked((*region).base));
                drop(Box::from_raw(region));
            }
        }
    }
}

/// Puts a page at the head of a list.
///
/// # Safety
///
/// The page exists and is in no list.
unsafe fn link(head: &mut *mut Page, page: *mut Page) {
    // SAFETY: the caller's contract; the head points at a page of the list.
    unsafe {
        (*page).prev = null_mut();
        (*page).next = *head;
        if !head.is_null() {
            (**head).prev = page;
        }
    }
    *head = page;
}

/// Takes a page out of a list.
///
/// # Safety
///
/// The page is in the list that starts at `head`.
unsafe fn unlink(head: &mut *mut Page, page: *mut Page) {
    // SAFETY: the caller's contract; neighbours are pages of the list.
    unsafe {
        let (prev, next) = ((*page).prev, (*page).next);
        if prev.is_null() {
            assert!(*head == page, "a page without a predecessor is the head");
            *head = next;
        } else {
            (*prev).next = next;
        }
        if !next.is_null() {
            (*next).prev = prev;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn classes_are_dense_and_large_enough() {
        let mut last = (0, 1);
        for size in 1..=SLAB_BYTES_MAX {
            let now = (block_bytes(size), class_of(block_bytes(size)));
            assert!(now.0 >= size && now.1 < CLASSES);
            assert!(now == last || (now.0 > last.0 && now.1 == last.1 + 1), "{size}: {now:?}");
            last = now;
        }
        assert_eq!(last, (SLAB_BYTES_MAX, CLASSES - 1));
    }

    #[test]
    fn blocks_do_not_overlap_and_regions_go_back() {
        let mut slab = Slab::default();
        let mut rng = Rng::new(9);
        let mut blocks: Vec<(NonNull<u8>, usize, u8)> = Vec::new();
        let mut most_regions = 0;
        for round in 0..300_000u32 {
            let growing = round % 200_000 < 100_000;
            if blocks.is_empty() || rng.below(10) < if growing { 8 } else { 2 } {
                let size = 1 + rng.below([128, SLAB_BYTES_MAX as u64][round as usize % 2]) as usize;
                let block = slab.alloc(size);
                assert_eq!(block.addr().get() % 8, 0);
                let mark = rng.next_u64() as u8;
                // SAFETY: the block has that many bytes.
                unsafe { block.write_bytes(mark, size) };
                blocks.push((block, size, mark));
            } else {
                let at = rng.below(blocks.len() as u64) as usize;
                let (block, size, mark) = blocks.swap_remove(at);
                // SAFETY: the block has that many bytes, and is freed once.
                unsafe {
                    let bytes = std::slice::from_raw_parts(block.as_ptr(), size);
                    assert!(bytes.iter().all(|&byte| byte == mark));
                    slab.free(block);
                }
            }
            most_regions = most_regions.max(slab.regions.len());
            if round % 1_000 == 0 {
                slab.release_step();
            }
        }
        for (block, ..) in blocks.drain(..) {
            // SAFETY: the block is freed once.
            unsafe { slab.free(block) };
        }
        let before = slab.regions.len();
        assert!(slab.release_step() && slab.regions.len() == before - 1, "one per step");
        while slab.release_step() {}
        assert!(most_regions > 3 && slab.regions.len() <= 2, "{most_regions} regions");
        assert!(!slab.has_spare_region());
        assert!(slab.partial.iter().all(|list| list.is_null()));
    }
}
