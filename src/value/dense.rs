//! The dense table: a hash table for many elements. An element is a key with an optional payload
//! and an optional expiry. Large sets and large hashes use it. Hot.
//!
//! ```text
//!   directory       chunks of 256 pages
//!   page 0 1 2 ..   each one block with up to about 32 elements, see dense/page
//!   slab            the memory of the blocks, without holes, see dense/slab
//!
//!   hash    63..56  tag          31..0  position, reversed: the low bits choose the page
//! ```
//!
//! Linear hashing: the table has one page for 8 to 16 elements. It grows by splitting one page and
//! shrinks by merging one page into another. Each insertion or removal splits or merges at most one
//! page. With 6 pages, pages 0 and 1 have been split by the third bit of the hash, and pages 2 and
//! 3 not yet:
//!
//! ```text
//!   position   0        1/4       2/4                 3/4                 1
//!   page       |   0  |  4  |      2        |   1  |  5  |      3        |
//! ```
//!
//! A page covers an interval of positions, and an element's position never changes. So a scan along
//! the positions visits every element that is present throughout, however the table grows and
//! shrinks meanwhile. The scan cursor is the position where the next page begins; 0 at the end.
//!
//! While elements of a chunk have an expiry, the chunk keeps an expiry bound for itself and for
//! each of its pages. No element of a page or chunk expires before the bound.

mod element;
mod page;
mod slab;
#[cfg(test)]
mod tests;

pub use element::Element;

use super::pack::Item;
use super::string::IntText;
use crate::base::alloc::class_bytes;
use crate::base::hash::hash_of;
use crate::base::rng::Rng;
use element::{Draft, VOLATILE_BYTES, free_apart, unshare_apart};
use page::{Page, PageMut, bytes_for};
use slab::{Block, Slab};

/// Pages in a chunk.
const CHUNK_PAGES: usize = 256;

/// Average elements per page above which the table grows.
const PAGE_ELEMENTS: usize = 16;

/// Number of positions.
const POSITIONS: u64 = 1 << 32;

/// Pages that one call of [`Dense::free_step`] frees.
const FREE_PAGES: usize = 256;

/// The expiry bound of a page or chunk without expiring elements.
const NEVER: u64 = u64::MAX;

#[derive(Clone, Debug)]
struct Chunk {
    pages: Vec<Block>,
    /// For each page, a lower bound on the expiries of its elements (Unix ms). Empty while no
    /// element of the chunk has an expiry.
    expiries: Vec<u64>,
    /// The least of `expiries`.
    expiry_min: u64,
}

/// Elements in no order, each key once.
#[derive(Debug)]
pub struct Dense {
    chunks: Vec<Chunk>,
    slab: Slab,
    pages: usize,
    len: usize,
    /// Bytes of the blocks of elements that are kept apart, see dense/element.
    apart_bytes: usize,
    apart_count: usize,
    /// Upper bound on the elements of any page.
    page_len_max: usize,
    /// Lower bound on the expiries of all elements (Unix ms).
    expiry_min: u64,
    /// Reusable buffer for copies of pages.
    scratch: Vec<u8>,
}

impl Default for Dense {
    fn default() -> Dense {
        Dense::new()
    }
}

/// The page that an element belongs to, and the element's tag there.
#[derive(Clone, Copy)]
struct Aim {
    page: usize,
    tag: u8,
}

fn hash_of_item(item: &Item<'_>) -> u64 {
    hash_of(item.text(&mut IntText::new()))
}

impl Dense {
    /// Creates an empty table.
    pub fn new() -> Dense {
        let mut dense = Dense {
            chunks: Vec::new(),
            slab: Slab::default(),
            pages: 0,
            len: 0,
            apart_bytes: 0,
            apart_count: 0,
            page_len_max: 0,
            expiry_min: NEVER,
            scratch: Vec::new(),
        };
        dense.push_page();
        dense
    }

    /// Returns the number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    fn block(&self, number: usize) -> Block {
        self.chunks[number / CHUNK_PAGES].pages[number % CHUNK_PAGES]
    }

    fn set_block(&mut self, number: usize, block: Block) {
        self.chunks[number / CHUNK_PAGES].pages[number % CHUNK_PAGES] = block;
    }

    #[inline]
    fn page(&self, number: usize) -> Page<'_> {
        match self.block(number) {
            Block::NONE => Page::EMPTY,
            block => Page::new(self.slab.bytes(block)),
        }
    }

    /// Returns a page for changes. The page must have elements.
    #[inline]
    fn page_mut(&mut self, number: usize) -> PageMut<'_> {
        PageMut::new(self.slab.bytes_mut(self.block(number)))
    }

    /// Frees the block of a page, if the page has one.
    fn release(&mut self, number: usize) {
        let block = self.block(number);
        if block == Block::NONE {
            return;
        }
        self.set_block(number, Block::NONE);
        if let Some(moved) = self.slab.free(block) {
            self.set_block(moved as usize, block);
        }
    }

    /// Gives a page without a block a new block, for `len` elements of `data_bytes` bytes in all.
    fn begin(&mut self, number: usize, len: usize, data_bytes: usize) -> PageMut<'_> {
        let block = self.slab.alloc(bytes_for(len, data_bytes));
        self.set_block(number, block);
        PageMut::begin(self.slab.bytes_mut(block), number, len, data_bytes)
    }

    /// Moves a page to a new block, for `len` elements of `data_bytes` bytes in all.
    fn rebuild(&mut self, number: usize, len: usize, data_bytes: usize) {
        let old = self.copy_of(number);
        self.release(number);
        self.begin(number, len, data_bytes).copy_from(Page::new(&old));
        self.scratch = old;
    }

    /// Takes the `scratch` buffer and copies a page's block into it. After use the buffer must be
    /// stored in `scratch` again.
    fn copy_of(&mut self, number: usize) -> Vec<u8> {
        let mut copy = std::mem::take(&mut self.scratch);
        copy.clear();
        if self.block(number) != Block::NONE {
            copy.extend_from_slice(self.slab.bytes(self.block(number)));
        }
        copy
    }

    /// Makes room in a page for `len` elements of `data_bytes` bytes in all.
    #[inline]
    fn reserve(&mut self, number: usize, len: usize, data_bytes: usize) {
        if !self.page(number).fits(len, data_bytes) {
            self.rebuild(number, len, data_bytes);
        }
    }

    /// Moves a page to a smaller block if the new block is at most two thirds of the present one.
    fn tighten(&mut self, number: usize) {
        let page = self.page(number);
        let (len, data_bytes) = (page.len(), page.data_bytes());
        let taken = self.slab.bytes(self.block(number)).len();
        if slab::bytes_taken(bytes_for(len, data_bytes)) * 3 <= taken * 2 {
            self.rebuild(number, len, data_bytes);
        }
    }

    /// Returns how many low bits of the hash every page distinguishes.
    #[inline]
    fn level(&self) -> u32 {
        self.pages.ilog2()
    }

    #[inline]
    fn aim(&self, hash: u64) -> Aim {
        let low = |bits: u32| (hash & ((1 << bits) - 1)) as usize;
        let (near, far) = (low(self.level()), low(self.level() + 1));
        Aim { page: if far < self.pages { far } else { near }, tag: (hash >> 56) as u8 }
    }

    /// Returns a page that is about to be read, and prefetches its block.
    #[inline]
    fn page_soon(&self, number: usize) -> Page<'_> {
        match self.block(number) {
            Block::NONE => Page::EMPTY,
            block => {
                self.slab.prefetch(block);
                Page::new(self.slab.bytes(block))
            }
        }
    }

    /// Prefetches the page where `key` would be.
    #[inline]
    pub fn prefetch(&self, key: &[u8]) {
        let block = self.block(self.aim(hash_of(key)).page);
        if block != Block::NONE {
            self.slab.prefetch(block);
        }
    }

    #[inline]
    fn find(&self, key: &[u8]) -> Option<(usize, usize)> {
        let Aim { page, tag } = self.aim(hash_of(key));
        Some((page, self.page_soon(page).find(tag, &Item::of(key))?))
    }

    /// Returns the element with this key.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<Element<'_>> {
        let (page, index) = self.find(key)?;
        Some(self.page(page).stored(index).element())
    }

    /// Returns whether there is an element with this key.
    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    fn count_apart(&mut self, bytes: usize) {
        if bytes > 0 {
            self.apart_count += 1;
            self.apart_bytes += class_bytes(bytes);
        }
    }

    /// Frees the block of an element that is kept apart. Does nothing for other elements.
    fn free_apart(&mut self, number: usize, index: usize) {
        let bytes = self.page(number).stored(index).apart_bytes();
        if bytes > 0 {
            free_apart(self.page_mut(number).raw_mut(index));
            self.apart_count -= 1;
            self.apart_bytes -= class_bytes(bytes);
        }
    }

    /// Inserts an element, or replaces the element with the same key. Returns true if the key is
    /// new.
    pub fn insert(&mut self, key: &[u8], payload: Option<&[u8]>, expiry: Option<u64>) -> bool {
        let Aim { page, tag } = self.aim(hash_of(key));
        let key = Item::of(key);
        let found = self.page_soon(page).find(tag, &key);
        let payload = payload.map(Item::of);
        let draft = Draft::new(&key, payload.as_ref(), expiry);
        if let Some(index) = found {
            self.free_apart(page, index);
            self.replace(page, index, &draft);
        } else {
            self.push(page, tag, &draft);
        }
        self.count_apart(draft.apart_bytes());
        self.note_expiry(page, expiry);
        if found.is_none() {
            self.len += 1;
            self.grow();
        }
        found.is_none()
    }

    /// Adds a key without payload or expiry. Returns false if the key was present; it is left
    /// unchanged.
    #[inline]
    pub fn add(&mut self, key: &[u8]) -> bool {
        let Aim { page, tag } = self.aim(hash_of(key));
        let key = Item::of(key);
        if self.page_soon(page).find(tag, &key).is_some() {
            return false;
        }
        let draft = Draft::new(&key, None, None);
        self.push(page, tag, &draft);
        self.count_apart(draft.apart_bytes());
        self.len += 1;
        self.grow();
        true
    }

    #[inline]
    fn push(&mut self, number: usize, tag: u8, draft: &Draft<'_>) {
        let page = self.page(number);
        let (len, data_bytes, size) = (page.len() + 1, page.data_bytes(), draft.size());
        self.reserve(number, len, data_bytes + size);
        self.page_mut(number).push(tag, size, |out| draft.fill(out));
        self.page_len_max = self.page_len_max.max(len);
    }

    fn replace(&mut self, number: usize, index: usize, draft: &Draft<'_>) {
        let page = self.page(number);
        let (len, old) = (page.len(), page.raw(index).len());
        self.reserve(number, len, page.data_bytes() - old + draft.size());
        self.page_mut(number).replace(index, draft);
        if draft.size() < old {
            self.tighten(number);
        }
    }

    /// Sets or clears the expiry (Unix ms) of an element. Returns false if there is no such
    /// element.
    pub fn set_expiry(&mut self, key: &[u8], expiry: Option<u64>) -> bool {
        let Some((page, index)) = self.find(key) else { return false };
        let bytes = self.page(page).data_bytes() + VOLATILE_BYTES;
        self.reserve(page, self.page(page).len(), bytes);
        self.page_mut(page).set_expiry(index, expiry);
        self.note_expiry(page, expiry);
        true
    }

    /// Removes an element. Returns false if there was none with this key.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let Some((page, index)) = self.find(key) else { return false };
        self.remove_at(page, index);
        self.shrink();
        true
    }

    fn remove_at(&mut self, page: usize, index: usize) {
        self.free_apart(page, index);
        if self.page(page).len() == 1 {
            self.release(page);
        } else {
            self.page_mut(page).remove(index);
            self.tighten(page);
        }
        self.len -= 1;
    }

    /// Returns page and index of a random element, drawn uniformly; none if the table is empty.
    fn draw(&self, rng: &mut Rng) -> Option<(usize, usize)> {
        if self.len == 0 {
            return None;
        }
        // Rejection sampling: draw a place in a page of the largest size, and again if no element
        // is there. Pages have 4 elements or more on average, so this takes a few draws.
        let max = self.page_len_max as u64;
        loop {
            let drawn = rng.below(self.pages as u64 * max);
            let (page, index) = ((drawn / max) as usize, (drawn % max) as usize);
            if index < self.page(page).len() {
                return Some((page, index));
            }
        }
    }

    /// Returns a random element, drawn uniformly; none if the table is empty.
    pub fn random(&self, rng: &mut Rng) -> Option<Element<'_>> {
        let (page, index) = self.draw(rng)?;
        Some(self.page(page).stored(index).element())
    }

    /// Removes a random element, drawn uniformly, after passing it to `show`. Returns the result of
    /// `show`; none if the table is empty.
    pub fn pop_random<R>(
        &mut self,
        rng: &mut Rng,
        show: impl FnOnce(&Element<'_>) -> R,
    ) -> Option<R> {
        let (page, index) = self.draw(rng)?;
        let shown = show(&self.page(page).stored(index).element());
        self.remove_at(page, index);
        self.shrink();
        Some(shown)
    }

    /// Iterates over all elements, each once.
    pub fn iter(&self) -> Iter<'_> {
        Iter { dense: self, number: 0, page: self.page(0), index: 0 }
    }

    /// Passes the elements of one page to `visit` and returns the cursor for the next call; 0 when
    /// the scan is complete. A scan starts with cursor 0, and any number is a valid cursor.
    pub fn scan(&self, cursor: u64, visit: &mut dyn FnMut(Element<'_>)) -> u64 {
        let position = cursor as u32;
        let number = self.aim(u64::from(position.reverse_bits())).page;
        self.page(number).iter().for_each(|stored| visit(stored.element()));
        let first = u64::from((number as u32).reverse_bits());
        let end = first + (POSITIONS >> self.depth(number));
        if end == POSITIONS { 0 } else { end }
    }

    /// Returns how many low bits of the hash the elements of a page have in common.
    fn depth(&self, number: usize) -> u32 {
        let level = self.level();
        let is_split = number >= 1 << level || number + (1 << level) < self.pages;
        level + u32::from(is_split)
    }

    /// Splits one page if the table has more than [`PAGE_ELEMENTS`] elements per page.
    fn grow(&mut self) {
        if self.len <= self.pages * PAGE_ELEMENTS || self.pages as u64 >= POSITIONS / 2 {
            return;
        }
        let bit = self.level();
        let from = self.pages - (1 << bit);
        let bound = self.bound(from);
        self.push_page();
        if self.page(from).len() > 0 {
            self.split(from, bit);
        }
        if bound < NEVER {
            let expiries = [from, self.pages - 1].map(|number| self.expiry_of_page(number));
            self.put_bound(from, expiries[0]);
            self.put_bound(self.pages - 1, expiries[1]);
        }
    }

    /// Moves the elements of page `from` whose hash has bit number `bit` set to the last page.
    fn split(&mut self, from: usize, bit: u32) {
        let copy = self.copy_of(from);
        let old = Page::new(&copy);
        let hashes = old.iter().map(|stored| hash_of_item(&stored.element().key));
        let parts: Vec<usize> = hashes.map(|hash| (hash >> bit & 1) as usize).collect();
        let (mut lens, mut bytes) = ([0; 2], [0; 2]);
        for (at, part) in parts.iter().enumerate() {
            lens[*part] += 1;
            bytes[*part] += old.raw(at).len();
        }
        self.release(from);
        for (part, number) in [from, self.pages - 1].into_iter().enumerate() {
            if lens[part] == 0 {
                continue;
            }
            let mut page = self.begin(number, lens[part], bytes[part]);
            let own = parts.iter().enumerate().filter(|(_, other)| **other == part);
            own.for_each(|(at, _)| page.push_raw(old.tag(at), old.raw(at)));
        }
        self.scratch = copy;
    }

    /// Merges the last page into the page that it was split from, if the table is less than half
    /// full.
    fn shrink(&mut self) {
        if self.pages == 1 || self.len * 2 >= self.pages * PAGE_ELEMENTS {
            return;
        }
        let last = self.pages - 1;
        let into = last - (1 << last.ilog2());
        let bound = self.bound(last).min(self.bound(into));
        if self.page(last).len() > 0 {
            self.merge(last, into);
        }
        self.pop_page();
        if bound < NEVER {
            self.put_bound(into, bound);
        }
    }

    fn merge(&mut self, last: usize, into: usize) {
        let copy = self.copy_of(last);
        let old = Page::new(&copy);
        self.release(last);
        let (len, bytes) = (self.page(into).len(), self.page(into).data_bytes());
        let len = len + old.len();
        self.reserve(into, len, bytes + old.data_bytes());
        let mut page = self.page_mut(into);
        (0..old.len()).for_each(|at| page.push_raw(old.tag(at), old.raw(at)));
        self.page_len_max = self.page_len_max.max(len);
        self.scratch = copy;
    }

    /// Adds an empty page.
    fn push_page(&mut self) {
        if self.pages.is_multiple_of(CHUNK_PAGES) {
            let room = if self.pages == 0 { 1 } else { CHUNK_PAGES };
            let pages = Vec::with_capacity(room);
            if self.chunks.is_empty() {
                self.chunks.reserve_exact(1);
            }
            self.chunks.push(Chunk { pages, expiries: Vec::new(), expiry_min: NEVER });
        }
        let chunk = self.chunks.last_mut().expect("the table has a chunk");
        chunk.pages.push(Block::NONE);
        if !chunk.expiries.is_empty() {
            chunk.expiries.push(NEVER);
        }
        self.pages += 1;
    }

    /// Removes the last page, whose block has already been freed.
    fn pop_page(&mut self) {
        let chunk = self.chunks.last_mut().expect("there is a page");
        chunk.pages.pop();
        chunk.expiries.pop();
        if chunk.pages.len() * 4 <= chunk.pages.capacity() {
            chunk.pages.shrink_to(chunk.pages.len() * 2);
        }
        if chunk.pages.is_empty() {
            self.chunks.pop();
        }
        self.pages -= 1;
    }
}

/// Iterator over the elements of a table.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    dense: &'a Dense,
    number: usize,
    page: Page<'a>,
    index: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        while self.index == self.page.len() {
            if self.number + 1 == self.dense.pages {
                return None;
            }
            self.number += 1;
            self.page = self.dense.page(self.number);
            self.index = 0;
        }
        self.index += 1;
        Some(self.page.stored(self.index - 1).element())
    }
}

/// Expiry of elements.
impl Dense {
    /// Returns a lower bound on the first expiry (Unix ms); none if no element expires. The actual
    /// first expiry may be later.
    pub fn next_expiry(&self) -> Option<u64> {
        (self.expiry_min < NEVER).then_some(self.expiry_min)
    }

    fn bound(&self, number: usize) -> u64 {
        let expiries = &self.chunks[number / CHUNK_PAGES].expiries;
        expiries.get(number % CHUNK_PAGES).copied().unwrap_or(NEVER)
    }

    fn put_bound(&mut self, number: usize, bound: u64) {
        let chunk = &mut self.chunks[number / CHUNK_PAGES];
        if chunk.expiries.is_empty() {
            chunk.expiries = vec![NEVER; chunk.pages.len()];
        }
        chunk.expiries[number % CHUNK_PAGES] = bound;
        chunk.expiry_min = chunk.expiry_min.min(bound);
        self.expiry_min = self.expiry_min.min(bound);
    }

    #[inline]
    fn note_expiry(&mut self, number: usize, expiry: Option<u64>) {
        if let Some(expiry) = expiry {
            self.put_bound(number, self.bound(number).min(expiry));
        }
    }

    fn expiry_of_page(&self, number: usize) -> u64 {
        self.page(number).iter().filter_map(|stored| stored.expiry).min().unwrap_or(NEVER)
    }

    /// Removes elements that expire before `moment` (Unix ms), after passing each to `show`. Visits
    /// at most `pages_max` pages whose bound is before `moment`. Returns true when no such element
    /// is left.
    pub fn expire_step(
        &mut self,
        moment: u64,
        pages_max: usize,
        show: &mut dyn FnMut(Element<'_>),
    ) -> bool {
        let before = self.len;
        let is_over = self.expire_pages(moment, pages_max, show);
        (self.len..before).for_each(|_| self.shrink());
        is_over
    }

    fn expire_pages(
        &mut self,
        moment: u64,
        pages_max: usize,
        show: &mut dyn FnMut(Element<'_>),
    ) -> bool {
        let mut left = pages_max;
        for at in 0..self.chunks.len() {
            if self.chunks[at].expiry_min >= moment {
                continue;
            }
            for place in 0..self.chunks[at].expiries.len() {
                if self.chunks[at].expiries[place] >= moment {
                    continue;
                }
                if left == 0 {
                    return false;
                }
                left -= 1;
                self.expire_page(at * CHUNK_PAGES + place, moment, show);
            }
            let chunk = &mut self.chunks[at];
            chunk.expiry_min = chunk.expiries.iter().copied().min().unwrap_or(NEVER);
            if chunk.expiry_min == NEVER {
                chunk.expiries = Vec::new();
            }
        }
        self.expiry_min = self.chunks.iter().map(|chunk| chunk.expiry_min).min().unwrap_or(NEVER);
        true
    }

    fn expire_page(&mut self, number: usize, moment: u64, show: &mut dyn FnMut(Element<'_>)) {
        let mut index = 0;
        while index < self.page(number).len() {
            let stored = self.page(number).stored(index);
            if stored.expiry.is_some_and(|expiry| expiry < moment) {
                show(stored.element());
                self.remove_at(number, index);
            } else {
                index += 1;
            }
        }
        let bound = self.expiry_of_page(number);
        self.chunks[number / CHUNK_PAGES].expiries[number % CHUNK_PAGES] = bound;
    }
}

/// Memory.
impl Dense {
    /// Returns the bytes of memory behind the table, as the allocator counts them.
    pub fn memory_bytes(&self) -> usize {
        let pages = |chunk: &Chunk| class_bytes(chunk.pages.capacity() * size_of::<Block>());
        let expiries = |chunk: &Chunk| match chunk.expiries.capacity() {
            0 => 0,
            room => class_bytes(room * size_of::<u64>()),
        };
        let chunks: usize = self.chunks.iter().map(|chunk| pages(chunk) + expiries(chunk)).sum();
        let list = class_bytes(self.chunks.capacity() * size_of::<Chunk>());
        list + chunks + self.slab.memory_bytes() + self.apart_bytes + self.scratch.capacity()
    }

    /// Frees a part of the table: about 100 us of work. Returns true when nothing is left. After
    /// the first call the table must not be used for anything else.
    pub fn free_step(&mut self) -> bool {
        self.len = 0;
        for _ in 0..FREE_PAGES {
            if self.pages == 0 {
                return self.slab.free_step();
            }
            self.free_aparts_of(self.pages - 1);
            self.pop_page();
        }
        false
    }

    fn free_aparts_of(&mut self, number: usize) {
        if self.apart_count > 0 {
            for index in 0..self.page(number).len() {
                self.free_apart(number, index);
            }
        }
    }

    /// Asserts the invariants of all pages and elements. O(n).
    pub fn check(&self) {
        let (mut len, mut aparts, mut bytes, mut blocks) = (0, 0, 0, 0);
        for number in 0..self.pages {
            let page = self.page(number);
            assert!(page.len() <= self.page_len_max);
            for (index, stored) in page.iter().enumerate() {
                let hash = hash_of_item(&stored.element().key);
                let aim = self.aim(hash);
                assert_eq!(
                    (aim.page, aim.tag),
                    (number, page.tag(index)),
                    "the element is in the page of its hash"
                );
                assert_eq!(
                    page.find(aim.tag, &stored.element().key),
                    Some(index),
                    "keys are unique"
                );
                assert!(stored.expiry.unwrap_or(NEVER) >= self.bound(number));
                aparts += usize::from(stored.is_apart);
                bytes += if stored.is_apart { class_bytes(stored.apart_bytes()) } else { 0 };
            }
            len += page.len();
            blocks += usize::from(self.block(number) != Block::NONE);
        }
        assert_eq!((len, aparts, bytes), (self.len, self.apart_count, self.apart_bytes));
        self.slab.check(&mut |block, bytes| {
            let page = Page::new(bytes);
            page.check();
            assert_eq!(self.block(page.number()), block);
            blocks -= 1;
        });
        assert_eq!(blocks, 0, "only pages with elements have blocks");
        for chunk in &self.chunks {
            let lens = [0, chunk.pages.len()];
            assert!(!chunk.pages.is_empty() && lens.contains(&chunk.expiries.len()));
            assert!(chunk.expiries.iter().all(|bound| *bound >= chunk.expiry_min));
            assert!(chunk.expiry_min >= self.expiry_min);
        }
        assert_eq!(self.chunks.iter().map(|chunk| chunk.pages.len()).sum::<usize>(), self.pages);
        assert!(self.pages == 1 || self.len <= self.pages * PAGE_ELEMENTS);
    }
}

impl Clone for Dense {
    fn clone(&self) -> Dense {
        let (chunks, slab) = (self.chunks.clone(), self.slab.clone());
        let mut dense = Dense { chunks, slab, scratch: Vec::new(), ..*self };
        if self.apart_count > 0 {
            for number in 0..dense.pages {
                let len = dense.page(number).len();
                for index in 0..len {
                    unshare_apart(dense.page_mut(number).raw_mut(index));
                }
            }
        }
        dense
    }
}

impl Drop for Dense {
    fn drop(&mut self) {
        if self.apart_count > 0 {
            (0..self.pages).for_each(|number| self.free_aparts_of(number));
        }
    }
}
