//! Entries on their way from the heap of one slice to the heap of another.
//!
//! ```text
//!   put    entry in a block of the old heap --copied--> bytes, side by side; the block is freed
//!   take   bytes --copied--> entry in a block of the new heap
//! ```
//! A boxed value is not copied: the bytes of its entry have its address. So all entries must be
//! taken, or the boxed values would be lost.

use super::entry::Entry;
use super::heap::Heap;

/// Entries without a heap, first in, first out.
#[derive(Debug, Default)]
pub struct LooseEntries {
    bytes: Vec<u8>,
    /// The bytes of each entry.
    sizes: Vec<u32>,
    /// Numbers of the entries and bytes that were taken.
    taken: (usize, usize),
}

impl LooseEntries {
    /// Returns the number of entries that were put and not taken.
    pub fn len(&self) -> usize {
        self.sizes.len() - self.taken.0
    }

    /// Adds an entry and frees its block. The entry must not be used afterwards.
    pub fn put(&mut self, heap: &mut Heap, entry: Entry) {
        assert!(!entry.is_detached(), "the value is here");
        let bytes = entry.bytes();
        self.sizes.push(u32::try_from(bytes.len()).expect("an entry is below 4 GiB"));
        self.bytes.extend_from_slice(bytes);
        entry.free(heap);
    }

    /// Takes the oldest entry, in a block of `heap`.
    pub fn take(&mut self, heap: &mut Heap) -> Option<Entry> {
        let (count, start) = self.taken;
        let end = start + *self.sizes.get(count)? as usize;
        self.taken = (count + 1, end);
        Some(Entry::of_bytes(heap, &self.bytes[start..end]))
    }
}

impl Drop for LooseEntries {
    fn drop(&mut self) {
        debug_assert!(self.len() == 0 || std::thread::panicking(), "all entries are taken");
    }
}
