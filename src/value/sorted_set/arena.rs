//! Arena of blocks with 32-bit ids, which take half of the bytes of a pointer. Id 0 is never used.
//! Blocks never move; only the chunks of [`CHUNK`] pointers may.

/// Pointers in a chunk.
const CHUNK: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 10;

/// Blocks by id.
#[derive(Clone, Debug)]
pub(super) struct Arena<T> {
    chunks: Vec<Vec<Option<Box<T>>>>,
    /// Ids of removed blocks, which are reused first.
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Arena<T> {
    fn default() -> Arena<T> {
        // Id 0 stands for none.
        Arena { chunks: vec![vec![None]], free: Vec::new(), len: 0 }
    }
}

impl<T> Arena<T> {
    /// Returns the number of blocks.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn cell(&self, id: u32) -> &Option<Box<T>> {
        &self.chunks[id as usize >> CHUNK_BITS][id as usize & (CHUNK - 1)]
    }

    #[inline]
    fn cell_mut(&mut self, id: u32) -> &mut Option<Box<T>> {
        &mut self.chunks[id as usize >> CHUNK_BITS][id as usize & (CHUNK - 1)]
    }

    /// Adds a block and returns its id.
    pub(super) fn add(&mut self, block: Box<T>) -> u32 {
        self.len += 1;
        if let Some(id) = self.free.pop() {
            *self.cell_mut(id) = Some(block);
            return id;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::new());
        }
        let chunks = self.chunks.len() - 1;
        let chunk = &mut self.chunks[chunks];
        chunk.push(Some(block));
        u32::try_from(chunks << CHUNK_BITS | (chunk.len() - 1)).expect("fewer than 2^32 blocks")
    }

    /// Returns the block with this id.
    #[inline]
    pub(super) fn get(&self, id: u32) -> &T {
        self.cell(id).as_deref().expect("the id of a block")
    }

    /// Returns the block with this id, for changes.
    #[inline]
    pub(super) fn get_mut(&mut self, id: u32) -> &mut T {
        self.cell_mut(id).as_deref_mut().expect("the id of a block")
    }

    /// Takes a block out for a while. Its id stays reserved until [`Arena::give_back`].
    pub(super) fn lend(&mut self, id: u32) -> Box<T> {
        self.cell_mut(id).take().expect("the id of a block")
    }

    /// Puts a lent block back.
    pub(super) fn give_back(&mut self, id: u32, block: Box<T>) {
        let cell = self.cell_mut(id);
        debug_assert!(cell.is_none(), "the block was lent");
        *cell = Some(block);
    }

    /// Frees a block and releases its id.
    pub(super) fn remove(&mut self, id: u32) {
        *self.cell_mut(id) = None;
        self.free.push(id);
        self.len -= 1;
    }

    /// Iterates over all blocks with their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let numbered = self.chunks.iter().flatten().enumerate();
        numbered.filter_map(|(id, cell)| Some((id as u32, cell.as_deref()?)))
    }

    /// Frees up to `count` blocks in any order. Returns whether some may be left. The remaining ids
    /// must not be used any more.
    pub(super) fn free_some(&mut self, count: usize) -> bool {
        self.free = Vec::new();
        for _ in 0..count {
            let Some(chunk) = self.chunks.last_mut() else { return false };
            if chunk.pop().is_none() {
                self.chunks.pop();
            }
        }
        true
    }

    /// Returns the bytes of memory of the chunks.
    pub(super) fn table_bytes(&self) -> usize {
        let chunks = self.chunks.iter().map(|chunk| chunk.capacity() * size_of::<Option<Box<T>>>());
        chunks.sum::<usize>()
            + self.chunks.capacity() * size_of::<Vec<Option<Box<T>>>>()
            + self.free.capacity() * size_of::<u32>()
    }
}
