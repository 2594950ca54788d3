//! Blocks that are known by small numbers: half of what a pointer takes. No number is ever 0, and
//! nothing moves but tables of [`CHUNK`] pointers.

/// Pointers of one table.
const CHUNK: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 10;

/// Blocks by number.
#[derive(Clone, Debug)]
pub(super) struct Arena<T> {
    chunks: Vec<Vec<Option<Box<T>>>>,
    /// Numbers that are used again before new ones.
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Arena<T> {
    fn default() -> Arena<T> {
        // Number 0 stands for none.
        Arena { chunks: vec![vec![None]], free: Vec::new(), len: 0 }
    }
}

impl<T> Arena<T> {
    /// How many blocks there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn slot(&self, id: u32) -> &Option<Box<T>> {
        &self.chunks[id as usize >> CHUNK_BITS][id as usize & (CHUNK - 1)]
    }

    #[inline]
    fn slot_mut(&mut self, id: u32) -> &mut Option<Box<T>> {
        &mut self.chunks[id as usize >> CHUNK_BITS][id as usize & (CHUNK - 1)]
    }

    /// Takes a block in; its number.
    pub(super) fn add(&mut self, block: Box<T>) -> u32 {
        self.len += 1;
        if let Some(id) = self.free.pop() {
            *self.slot_mut(id) = Some(block);
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

    /// The block of this number.
    #[inline]
    pub(super) fn get(&self, id: u32) -> &T {
        self.slot(id).as_deref().expect("a block of this number")
    }

    /// The block of this number.
    #[inline]
    pub(super) fn get_mut(&mut self, id: u32) -> &mut T {
        self.slot_mut(id).as_deref_mut().expect("a block of this number")
    }

    /// Takes a block out for a while; its number stays its own.
    pub(super) fn lend(&mut self, id: u32) -> Box<T> {
        self.slot_mut(id).take().expect("a block of this number")
    }

    /// Puts it back.
    pub(super) fn give_back(&mut self, id: u32, block: Box<T>) {
        let slot = self.slot_mut(id);
        debug_assert!(slot.is_none(), "it was lent");
        *slot = Some(block);
    }

    /// Frees a block.
    pub(super) fn remove(&mut self, id: u32) {
        *self.slot_mut(id) = None;
        self.free.push(id);
        self.len -= 1;
    }

    /// All blocks with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let numbered = self.chunks.iter().flatten().enumerate();
        numbered.filter_map(|(id, slot)| Some((id as u32, slot.as_deref()?)))
    }

    /// Frees up to so many blocks, whichever; whether some are left. Their numbers are lost.
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

    /// Bytes of memory of the tables.
    pub(super) fn table_bytes(&self) -> usize {
        let chunks = self.chunks.iter().map(|chunk| chunk.capacity() * size_of::<Option<Box<T>>>());
        chunks.sum::<usize>()
            + self.chunks.capacity() * size_of::<Vec<Option<Box<T>>>>()
            + self.free.capacity() * size_of::<u32>()
    }
}
